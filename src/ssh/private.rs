//! Private keys as SSH writes them, in files and in agent messages alike: borrowed from the buffer
//! they came in, so that wiping that buffer wipes them.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::key::KeyType;
use super::wire::{Cursor, Malformed};

/// A key pair. The numbers are big-endian without leading zeros.
pub enum PrivateKey<'a> {
    /// RFC 8709, RFC 8032
    Ed25519 {
        /// 32 bytes.
        public: &'a [u8],
        /// 32 bytes.
        seed: &'a [u8],
    },
    /// RFC 5656
    Ecdsa {
        /// The public point in SEC 1 form.
        point: &'a [u8],
        /// At most as wide as the curve.
        scalar: &'a [u8],
    },
    /// RFC 8017
    #[allow(missing_docs, reason = "the names are the standard's")]
    Rsa { n: &'a [u8], e: &'a [u8], d: &'a [u8], iqmp: &'a [u8], p: &'a [u8], q: &'a [u8] },
}

impl<'a> PrivateKey<'a> {
    /// Reads what follows the type's name in a key file and in an added plain key.
    pub fn read(kind: KeyType, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        match kind {
            KeyType::Ed25519 => Self::ed25519(cursor.string()?, cursor),
            KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => {
                cursor.string()?; // the curve, which the type names already
                Ok(Self::Ecdsa { point: cursor.string()?, scalar: cursor.unsigned()? })
            }
            KeyType::Rsa => {
                let (n, e) = (cursor.unsigned()?, cursor.unsigned()?);
                Self::rsa(n, e, cursor)
            }
        }
    }

    /// Reads what follows the certificate in an added certified key: the private half, and once
    /// more what OpenSSH repeats of the public one. The rest stands in `certificate`, a blob.
    pub fn read_certified(
        kind: KeyType,
        certificate: &'a [u8],
        cursor: &mut Cursor<'a>,
    ) -> Result<Self, Malformed> {
        let mut public = Cursor::new(certificate);
        public.string()?; // type
        public.string()?; // nonce
        match kind {
            KeyType::Ed25519 => {
                let certified = public.string()?;
                let repeated = cursor.string()?;
                if certified == repeated { Self::ed25519(repeated, cursor) } else { Err(Malformed) }
            }
            KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => {
                public.string()?; // curve
                Ok(Self::Ecdsa { point: public.string()?, scalar: cursor.unsigned()? })
            }
            KeyType::Rsa => {
                let (e, n) = (public.unsigned()?, public.unsigned()?);
                Self::rsa(n, e, cursor)
            }
        }
    }

    /// The secret is 64 bytes: the seed, and the public half again.
    fn ed25519(public: &'a [u8], cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let (seed, again) = cursor.string()?.split_at_checked(32).ok_or(Malformed)?;
        if again == public { Ok(Self::Ed25519 { public, seed }) } else { Err(Malformed) }
    }

    fn rsa(n: &'a [u8], e: &'a [u8], cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let mut next = || cursor.unsigned();
        Ok(Self::Rsa { n, e, d: next()?, iqmp: next()?, p: next()?, q: next()? })
    }
}

/// Why a file holds no key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Not `-----BEGIN OPENSSH PRIVATE KEY-----`, or damaged.
    NotAKey,
    /// Protected by a passphrase.
    Encrypted,
    /// Of a type that evercert does not sign with.
    KeyType,
}

impl From<Malformed> for Unreadable {
    fn from(Malformed: Malformed) -> Self {
        Self::NotAKey
    }
}

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The binary content of an OpenSSH private key file (OpenSSH PROTOCOL.key).
pub struct KeyFile(Zeroizing<Vec<u8>>);

impl KeyFile {
    /// Takes the armour off.
    pub fn from_text(text: &[u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(text).map_err(|_| Unreadable::NotAKey)?;
        let inside = text.trim().strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END));
        let inside = inside.ok_or(Unreadable::NotAKey)?;
        // Sized beforehand: a buffer that grows leaves its old bytes behind.
        let mut digits = Zeroizing::new(Vec::with_capacity(inside.len()));
        digits.extend(inside.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let mut binary = Zeroizing::new(vec![0; digits.len()]);
        let length =
            Base64::decode(&digits[..], &mut binary).map_err(|_| Unreadable::NotAKey)?.len();
        binary.truncate(length);
        Ok(Self(binary))
    }

    /// The one key in it, if nothing protects it.
    pub fn key(&self) -> Result<PrivateKey<'_>, Unreadable> {
        let mut cursor = Cursor::new(&self.0);
        if cursor.bytes(MAGIC.len())? != MAGIC {
            return Err(Unreadable::NotAKey);
        }
        let cipher = cursor.string()?;
        cursor.string()?; // key derivation
        cursor.string()?; // its options
        if cursor.u32()? != 1 {
            return Err(Unreadable::NotAKey);
        }
        if cipher != b"none" {
            return Err(Unreadable::Encrypted);
        }
        cursor.string()?; // the public key, which the private section repeats
        let mut section = Cursor::new(cursor.string()?);
        cursor.end()?;
        if section.u32()? != section.u32()? {
            return Err(Unreadable::NotAKey);
        }
        let kind = KeyType::from_name(section.string()?).ok_or(Unreadable::KeyType)?;
        let key = PrivateKey::read(kind, &mut section)?;
        section.string()?; // comment
        let padding = section.rest();
        if padding.len() >= 16 || padding.iter().zip(1..).any(|(byte, wanted)| *byte != wanted) {
            return Err(Unreadable::NotAKey);
        }
        Ok(key)
    }
}
