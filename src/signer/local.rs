//! Private keys in this process's memory. The bytes stay in one wiped-on-drop allocation; the
//! cryptography library's key object is built for one signature and dropped.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsBigEndian, AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use crypto_bigint::{Encoding, NonZero, U8192};
use ssh_key::public::{EcdsaPublicKey, KeyData};
use tokio::sync::Semaphore;
use zeroize::{Zeroize, Zeroizing};

use super::{Problem, Signer, fits};
use crate::config::KeyKind;
use crate::ssh::key::{KeyType, PublicKey};
use crate::ssh::private::PrivateKey;
use crate::ssh::signature::{Signature, SignatureAlgorithm};
use crate::ssh::wire::Put;

/// RSA signatures take most of a millisecond: they run on other threads, as many at a time as
/// there are cores, so that lists and quick signatures pass them by.
static RSA_TURNS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// A private key in memory.
pub struct LocalKey {
    public: PublicKey,
    secret: Arc<Secret>,
}

/// Ed25519: the seed. ECDSA: the scalar, padded to the curve's width. RSA: PKCS#8.
struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    fn new(bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self(Zeroizing::new(bytes.into())))
    }
}

/// The private half is unusable: it does not fit its public half, or is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the private half does not fit the public one, or its size is not supported")]
pub struct Misfit;

/// Makes a key that lives in memory only.
///
/// # Errors
/// When the library cannot.
pub fn generate(kind: KeyKind) -> Result<LocalKey, Problem> {
    let made = match kind {
        KeyKind::Ed25519 => generate_ed25519(),
        KeyKind::EcdsaP256 => generate_ecdsa(KeyType::EcdsaP256),
        KeyKind::EcdsaP384 => generate_ecdsa(KeyType::EcdsaP384),
        KeyKind::EcdsaP521 => generate_ecdsa(KeyType::EcdsaP521),
        KeyKind::Rsa3072 => generate_rsa(KeySize::Rsa3072),
        KeyKind::Rsa4096 => generate_rsa(KeySize::Rsa4096),
    };
    made.map_err(|Misfit| Problem::passing(format_args!("cannot make a {kind} session key")))
}

fn generate_ed25519() -> Result<LocalKey, Misfit> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut seed[..]).map_err(|_| Misfit)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).map_err(|_| Misfit)?;
    LocalKey::ed25519(&seed[..], pair.public_key().as_ref())
}

fn generate_ecdsa(kind: KeyType) -> Result<LocalKey, Misfit> {
    let pair = EcdsaKeyPair::generate(curve(kind).ok_or(Misfit)?).map_err(|_| Misfit)?;
    let scalar = pair.private_key().as_be_bytes().map_err(|_| Misfit)?;
    LocalKey::ecdsa(scalar.as_ref(), pair.public_key().as_ref())
}

fn generate_rsa(size: KeySize) -> Result<LocalKey, Misfit> {
    LocalKey::rsa(&RsaKeyPair::generate(size).map_err(|_| Misfit)?)
}

impl LocalKey {
    /// Takes over a key pair that was read from a file or sent by a client, once the private half
    /// is shown to belong to the public one.
    ///
    /// # Errors
    /// [`Misfit`] also for sizes that the library does not sign with.
    pub fn from_private(key: &PrivateKey<'_>) -> Result<Self, Misfit> {
        match *key {
            PrivateKey::Ed25519 { public, seed } => Self::ed25519(seed, public),
            PrivateKey::Ecdsa { point, scalar } => Self::ecdsa(scalar, point),
            PrivateKey::Rsa { n, e, d, iqmp, p, q } => {
                let (dp, dq) = (crt_exponent(d, p)?, crt_exponent(d, q)?);
                let pair = RsaKeyPair::from_components(&KeyPairComponents {
                    public_key: PublicKeyComponents { n, e },
                    d,
                    p,
                    q,
                    dP: &dp,
                    dQ: &dq,
                    qInv: iqmp,
                });
                Self::rsa(&pair.map_err(|_| Misfit)?)
            }
        }
    }

    fn ed25519(seed: &[u8], public: &[u8]) -> Result<Self, Misfit> {
        Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| Misfit)?;
        let mut blob = Vec::new();
        blob.put_string(KeyType::Ed25519.name().as_bytes());
        blob.put_string(public);
        Self::new(&blob, seed)
    }

    /// A scalar may come without its leading zeros: every other one on P-521 does.
    fn ecdsa(scalar: &[u8], point: &[u8]) -> Result<Self, Misfit> {
        let public = EcdsaPublicKey::from_sec1_bytes(point).map_err(|_| Misfit)?;
        let public = PublicKey::try_from(&KeyData::Ecdsa(public)).map_err(|_| Misfit)?;
        let curve = curve(public.key_type()).ok_or(Misfit)?;
        // An uncompressed point is a byte and two coordinates, each as wide as the scalar.
        let padded = padded(scalar, point.len() / 2)?;
        EcdsaKeyPair::from_private_key_and_public_key(curve, &padded, point).map_err(|_| Misfit)?;
        Ok(Self { public, secret: Secret::new(&padded) })
    }

    fn rsa(pair: &RsaKeyPair) -> Result<Self, Misfit> {
        let public = pair.public_key();
        let mut blob = Vec::new();
        blob.put_string(KeyType::Rsa.name().as_bytes());
        blob.put_unsigned(public.exponent().big_endian_without_leading_zero());
        blob.put_unsigned(public.modulus().big_endian_without_leading_zero());
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Misfit)?;
        Self::new(&blob, pkcs8.as_ref())
    }

    fn new(blob: &[u8], secret: &[u8]) -> Result<Self, Misfit> {
        let public = PublicKey::from_blob(blob).map_err(|_| Misfit)?;
        Ok(Self { public, secret: Secret::new(secret) })
    }
}

/// `d mod (prime - 1)` (RFC 8017 section 3.2), which SSH leaves out. Constant time.
fn crt_exponent(d: &[u8], prime: &[u8]) -> Result<Zeroizing<Vec<u8>>, Misfit> {
    let mut d = U8192::from_be_slice(&padded(d, U8192::BYTES)?);
    let mut modulus = U8192::from_be_slice(&padded(prime, U8192::BYTES)?).wrapping_sub(&U8192::ONE);
    let nonzero = Option::<NonZero<U8192>>::from(NonZero::new(modulus)).ok_or(Misfit)?;
    let mut exponent = d.rem(&nonzero);
    let mut bytes = exponent.to_be_bytes();
    let kept = Zeroizing::new(bytes.to_vec());
    bytes.zeroize();
    d.zeroize();
    modulus.zeroize();
    exponent.zeroize();
    Ok(kept)
}

fn padded(number: &[u8], width: usize) -> Result<Zeroizing<Vec<u8>>, Misfit> {
    let zeros = width.checked_sub(number.len()).ok_or(Misfit)?;
    let mut bytes = Zeroizing::new(vec![0; width]);
    bytes.get_mut(zeros..).ok_or(Misfit)?.copy_from_slice(number);
    Ok(bytes)
}

fn curve(kind: KeyType) -> Option<&'static EcdsaSigningAlgorithm> {
    match kind {
        KeyType::EcdsaP256 => Some(&ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyType::EcdsaP384 => Some(&ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyType::EcdsaP521 => Some(&ECDSA_P521_SHA512_FIXED_SIGNING),
        KeyType::Ed25519 | KeyType::Rsa => None,
    }
}

#[async_trait]
impl Signer for LocalKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(
        &self,
        message: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Result<Signature, Problem> {
        fits(&self.public, algorithm)?;
        let key = self.public.key_type();
        match curve(key) {
            Some(curve) => self.sign_ecdsa(message, algorithm, curve),
            None if key == KeyType::Ed25519 => self.sign_ed25519(message),
            None => self.sign_rsa(message.to_vec(), algorithm).await,
        }
    }
}

impl LocalKey {
    fn sign_ed25519(&self, message: &[u8]) -> Result<Signature, Problem> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.secret.0).map_err(failed)?;
        let bytes = pair.try_sign(message).map_err(failed)?.as_ref().to_vec();
        Ok(Signature { algorithm: SignatureAlgorithm::Ed25519, bytes })
    }

    fn sign_ecdsa(
        &self,
        message: &[u8],
        algorithm: SignatureAlgorithm,
        curve: &'static EcdsaSigningAlgorithm,
    ) -> Result<Signature, Problem> {
        let KeyData::Ecdsa(point) = self.public.data() else { return Err(failed(())) };
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            curve,
            &self.secret.0,
            point.as_sec1_bytes(),
        )
        .map_err(failed)?;
        let fixed = pair.sign(&SystemRandom::new(), message).map_err(failed)?;
        Ok(Signature::from_r_and_s(algorithm, fixed.as_ref()))
    }

    async fn sign_rsa(
        &self,
        message: Vec<u8>,
        algorithm: SignatureAlgorithm,
    ) -> Result<Signature, Problem> {
        let _turn = RSA_TURNS.acquire().await.map_err(failed)?;
        let secret = Arc::clone(&self.secret);
        let signed = tokio::task::spawn_blocking(move || sign_rsa(&secret, &message, algorithm));
        signed.await.map_err(failed)?
    }
}

fn failed<E>(_: E) -> Problem {
    Problem::passing("the cryptography library did not sign")
}

fn sign_rsa(
    secret: &Secret,
    message: &[u8],
    algorithm: SignatureAlgorithm,
) -> Result<Signature, Problem> {
    let padding = match algorithm {
        SignatureAlgorithm::RsaSha256 => &RSA_PKCS1_SHA256,
        _ => &RSA_PKCS1_SHA512,
    };
    let pair = RsaKeyPair::from_pkcs8(&secret.0).map_err(failed)?;
    let mut bytes = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut bytes).map_err(failed)?;
    Ok(Signature { algorithm, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_kind_of_key_signs_what_its_public_half_verifies() {
        for kind in KeyKind::ALL {
            let key = generate(kind).unwrap();
            for flags in [2, 4] {
                let key_type = key.public_key().key_type();
                let algorithm = SignatureAlgorithm::requested(key_type, flags).unwrap();
                let signature = key.sign(b"message", algorithm).await.unwrap();
                assert!(signature.verify(key.public_key(), b"message").is_ok(), "{kind}");
                assert!(signature.verify(key.public_key(), b"massage").is_err(), "{kind}");
            }
        }
    }

    #[test]
    fn a_private_half_of_another_key_is_refused() {
        for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::EcdsaP521] {
            let (one, two) = (generate_ecdsa(kind).unwrap(), generate_ecdsa(kind).unwrap());
            let KeyData::Ecdsa(point) = two.public.data() else { panic!() };
            assert!(LocalKey::ecdsa(&one.secret.0, point.as_sec1_bytes()).is_err());
        }
        let (one, two) = (generate_ed25519().unwrap(), generate_ed25519().unwrap());
        let KeyData::Ed25519(point) = two.public.data() else { panic!() };
        assert!(LocalKey::ed25519(&one.secret.0, &point.0).is_err());
    }
}
