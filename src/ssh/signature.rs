//! Signatures as SSH writes them, and their verification.

use aws_lc_rs::{digest, signature as lc};
use ssh_key::public::KeyData;

use super::key::{KeyType, PublicKey};
use super::wire::{Cursor, Malformed, Put};

/// How a signature is made. SHA-1 (`ssh-rsa`) cannot be expressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// `ssh-ed25519` (RFC 8709 section 6)
    Ed25519,
    /// `ecdsa-sha2-nistp256` (RFC 5656 section 3.1.2)
    EcdsaP256,
    /// `ecdsa-sha2-nistp384`
    EcdsaP384,
    /// `ecdsa-sha2-nistp521`
    EcdsaP521,
    /// `rsa-sha2-256` (RFC 8332 section 3)
    RsaSha256,
    /// `rsa-sha2-512`
    RsaSha512,
}

/// `SSH_AGENT_RSA_SHA2_256` (RFC 9987).
const FLAG_RSA_SHA2_256: u32 = 2;
/// `SSH_AGENT_RSA_SHA2_512` (RFC 9987).
const FLAG_RSA_SHA2_512: u32 = 4;

impl SignatureAlgorithm {
    const ALL: [Self; 6] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::RsaSha256,
        Self::RsaSha512,
    ];

    /// The name inside the signature blob.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha2-256",
            Self::RsaSha512 => "rsa-sha2-512",
            Self::Ed25519 | Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => {
                self.key_type().name()
            }
        }
    }

    /// The keys that sign this way.
    #[must_use]
    pub fn key_type(self) -> KeyType {
        match self {
            Self::Ed25519 => KeyType::Ed25519,
            Self::EcdsaP256 => KeyType::EcdsaP256,
            Self::EcdsaP384 => KeyType::EcdsaP384,
            Self::EcdsaP521 => KeyType::EcdsaP521,
            Self::RsaSha256 | Self::RsaSha512 => KeyType::Rsa,
        }
    }

    /// What a sign request's flags ask of a key. `None` is SHA-1, which we never make. Both flags
    /// set mean SHA-256, as in OpenSSH.
    #[must_use]
    pub fn requested(key: KeyType, flags: u32) -> Option<Self> {
        match key {
            KeyType::Rsa if flags & FLAG_RSA_SHA2_256 != 0 => Some(Self::RsaSha256),
            KeyType::Rsa if flags & FLAG_RSA_SHA2_512 != 0 => Some(Self::RsaSha512),
            KeyType::Rsa => None,
            other => Some(Self::strongest(other)),
        }
    }

    /// The flags that ask for this algorithm.
    #[must_use]
    pub fn flags(self) -> u32 {
        match self {
            Self::RsaSha256 => FLAG_RSA_SHA2_256,
            Self::RsaSha512 => FLAG_RSA_SHA2_512,
            Self::Ed25519 | Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => 0,
        }
    }

    /// What a key signs with when nobody asks for anything else.
    #[must_use]
    pub fn strongest(key: KeyType) -> Self {
        match key {
            KeyType::Ed25519 => Self::Ed25519,
            KeyType::EcdsaP256 => Self::EcdsaP256,
            KeyType::EcdsaP384 => Self::EcdsaP384,
            KeyType::EcdsaP521 => Self::EcdsaP521,
            KeyType::Rsa => Self::RsaSha512,
        }
    }
}

/// A signature: its algorithm, and the bytes after the algorithm's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// How it was made.
    pub algorithm: SignatureAlgorithm,
    /// Ed25519: 64 bytes. ECDSA: `mpint r || mpint s`. RSA: the bytes of the number.
    pub bytes: Vec<u8>,
}

/// The signature does not belong to this key and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl Signature {
    /// From ECDSA's two numbers, each big-endian and of one width, r first.
    #[must_use]
    pub fn from_r_and_s(algorithm: SignatureAlgorithm, r_and_s: &[u8]) -> Self {
        let (r, s) = r_and_s.split_at(r_and_s.len() / 2);
        let mut bytes = Vec::with_capacity(r_and_s.len() + 10);
        bytes.put_unsigned(r);
        bytes.put_unsigned(s);
        Self { algorithm, bytes }
    }

    /// Reads `string name || string bytes` and nothing more.
    pub fn from_blob(blob: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(blob);
        let name = cursor.string()?;
        let bytes = cursor.string()?.to_vec();
        cursor.end()?;
        let algorithm = SignatureAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().as_bytes() == name)
            .ok_or(Malformed)?;
        Ok(Self { algorithm, bytes })
    }

    /// `string name || string bytes` (RFC 4253 section 6.6).
    #[must_use]
    pub fn to_blob(&self) -> Vec<u8> {
        let name = self.algorithm.name();
        let mut blob = Vec::with_capacity(8 + name.len() + self.bytes.len());
        blob.put_string(name.as_bytes());
        blob.put_string(&self.bytes);
        blob
    }

    /// Checks the signature over `message` against a public key.
    pub fn verify(&self, key: &PublicKey, message: &[u8]) -> Result<(), BadSignature> {
        use SignatureAlgorithm as A;
        let verified = match (self.algorithm, key.data()) {
            (A::Ed25519, KeyData::Ed25519(point)) => {
                lc::UnparsedPublicKey::new(&lc::ED25519, &point.0).verify(message, &self.bytes)
            }
            (A::EcdsaP256 | A::EcdsaP384 | A::EcdsaP521, KeyData::Ecdsa(point)) => {
                let point = point.as_sec1_bytes();
                // A byte and two coordinates, each as wide as r and s.
                let fixed = self.r_and_s(point.len() / 2)?;
                let curve = match self.algorithm {
                    A::EcdsaP256 => &lc::ECDSA_P256_SHA256_FIXED,
                    A::EcdsaP384 => &lc::ECDSA_P384_SHA384_FIXED,
                    _ => &lc::ECDSA_P521_SHA512_FIXED,
                };
                lc::UnparsedPublicKey::new(curve, point).verify(message, &fixed)
            }
            (A::RsaSha256 | A::RsaSha512, KeyData::Rsa(numbers)) => {
                let n = numbers.n.as_positive_bytes().ok_or(BadSignature)?;
                let e = numbers.e.as_positive_bytes().ok_or(BadSignature)?;
                let parameters = if self.algorithm == A::RsaSha256 {
                    &lc::RSA_PKCS1_2048_8192_SHA256
                } else {
                    &lc::RSA_PKCS1_2048_8192_SHA512
                };
                lc::RsaPublicKeyComponents { n, e }.verify(parameters, message, &self.bytes)
            }
            _ => return Err(BadSignature),
        };
        verified.map_err(|_| BadSignature)
    }

    /// ECDSA's numbers as r and s of `width` bytes each.
    fn r_and_s(&self, width: usize) -> Result<Vec<u8>, BadSignature> {
        let mut cursor = Cursor::new(&self.bytes);
        let mut fixed = Vec::with_capacity(2 * width);
        for _ in 0..2 {
            let number = cursor.unsigned().map_err(|_| BadSignature)?;
            let padding = width.checked_sub(number.len()).ok_or(BadSignature)?;
            fixed.resize(fixed.len() + padding, 0);
            fixed.extend_from_slice(number);
        }
        cursor.end().map_err(|_| BadSignature)?;
        Ok(fixed)
    }
}

/// Verifies the signature of a FIDO key, `sk-ssh-ed25519@openssh.com` or
/// `sk-ecdsa-sha2-nistp256@openssh.com` (OpenSSH PROTOCOL.u2f): it is over the hash of the
/// application, flags, a counter, and the hash of the message.
pub fn verify_fido(key: &[u8], signature: &[u8], message: &[u8]) -> Result<(), BadSignature> {
    fido(key, signature, message).unwrap_or(Err(BadSignature))
}

fn fido(key: &[u8], blob: &[u8], message: &[u8]) -> Result<Result<(), BadSignature>, Malformed> {
    let (mut key, mut blob) = (Cursor::new(key), Cursor::new(blob));
    let name = key.string()?;
    if blob.string()? != name {
        return Err(Malformed);
    }
    let mut plain = Vec::new();
    let algorithm = match name {
        b"sk-ssh-ed25519@openssh.com" => SignatureAlgorithm::Ed25519,
        b"sk-ecdsa-sha2-nistp256@openssh.com" => SignatureAlgorithm::EcdsaP256,
        _ => return Err(Malformed),
    };
    plain.put_string(algorithm.name().as_bytes());
    if algorithm == SignatureAlgorithm::EcdsaP256 {
        plain.put_string(key.string()?);
    }
    plain.put_string(key.string()?);
    let application = key.string()?;
    key.end()?;
    let signature = Signature { algorithm, bytes: blob.string()?.to_vec() };
    let flags_and_counter = blob.bytes(5)?;
    blob.end()?;
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
    let signed = [hash(application).as_ref(), flags_and_counter, hash(message).as_ref()].concat();
    Ok(signature.verify(&PublicKey::from_blob(&plain)?, &signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_choose_the_hash_and_never_sha1() {
        use SignatureAlgorithm as A;
        for (flags, wanted) in [
            (0, None),
            (1, None),
            (2, Some(A::RsaSha256)),
            (4, Some(A::RsaSha512)),
            (6, Some(A::RsaSha256)),
        ] {
            assert_eq!(A::requested(KeyType::Rsa, flags), wanted, "flags {flags}");
            assert_eq!(A::requested(KeyType::Ed25519, flags), Some(A::Ed25519));
        }
    }

    #[test]
    fn r_and_s_survive_the_wire_with_leading_zeros() {
        let mut fixed = vec![0; 64];
        fixed[5] = 0x80;
        fixed[63] = 1;
        let signature = Signature::from_r_and_s(SignatureAlgorithm::EcdsaP256, &fixed);
        let again = Signature::from_blob(&signature.to_blob()).unwrap();
        assert_eq!(again, signature);
        assert_eq!(again.r_and_s(32).unwrap(), fixed);
        assert_eq!(again.r_and_s(26), Err(BadSignature));
    }
}
