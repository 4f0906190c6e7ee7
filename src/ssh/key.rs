//! Public keys, with the blob that names them on the wire.

use std::fmt;
use std::sync::Arc;

use ssh_encoding::Decode;
use ssh_key::HashAlg;
use ssh_key::public::KeyData;

use super::wire::{Cursor, Malformed};

/// The suffix of every certificate's key type (PROTOCOL.certkeys).
const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";

/// The kinds of key that evercert signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `ssh-ed25519` (RFC 8709)
    Ed25519,
    /// `ecdsa-sha2-nistp256` (RFC 5656)
    EcdsaP256,
    /// `ecdsa-sha2-nistp384` (RFC 5656)
    EcdsaP384,
    /// `ecdsa-sha2-nistp521` (RFC 5656)
    EcdsaP521,
    /// `ssh-rsa` keys, which sign with SHA-2 only (RFC 8332)
    Rsa,
}

impl KeyType {
    const ALL: [Self; 5] =
        [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::EcdsaP521, Self::Rsa];

    /// The type's name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Rsa => "ssh-rsa",
        }
    }

    /// The name of a certificate for such a key.
    #[must_use]
    pub fn certificate_name(self) -> String {
        format!("{}{CERTIFICATE_SUFFIX}", self.name())
    }

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }

    /// The type that a certificate of that name certifies.
    #[must_use]
    pub fn from_certificate_name(name: &[u8]) -> Option<Self> {
        Self::from_name(name.strip_suffix(CERTIFICATE_SUFFIX.as_bytes())?)
    }
}

/// Whether a key type's name is that of a certificate of any kind.
#[must_use]
pub fn is_certificate_name(name: &[u8]) -> bool {
    name.ends_with(CERTIFICATE_SUFFIX.as_bytes())
}

/// A public key: parsed, and as the blob that names it (RFC 4253 section 6.6). Cheap to clone.
#[derive(Clone)]
pub struct PublicKey {
    key_type: KeyType,
    data: Arc<KeyData>,
    blob: Arc<[u8]>,
}

impl PublicKey {
    /// Reads a blob. A certificate is not a key: it is refused by its name, before anything in it
    /// is looked at, and so is every type that evercert does not sign with.
    pub fn from_blob(blob: &[u8]) -> Result<Self, Malformed> {
        let key_type = KeyType::from_name(Cursor::new(blob).string()?).ok_or(Malformed)?;
        let mut reader = blob;
        let data = KeyData::decode(&mut reader).map_err(|_| Malformed)?;
        if !reader.is_empty() {
            return Err(Malformed);
        }
        Ok(Self { key_type, data: Arc::new(data), blob: blob.into() })
    }

    /// Reads a line as in a `.pub` file: type, base64, and perhaps a comment.
    pub fn from_line(line: &str) -> Result<Self, Malformed> {
        let key = ssh_key::PublicKey::from_openssh(line.trim()).map_err(|_| Malformed)?;
        Self::try_from(key.key_data())
    }

    /// The blob on the wire.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// What kind of key this is.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The parsed numbers and points.
    pub(crate) fn data(&self) -> &KeyData {
        &self.data
    }

    /// The blob without the type's name: what a certificate repeats of the key it certifies.
    pub(crate) fn fields(&self) -> &[u8] {
        let mut cursor = Cursor::new(&self.blob);
        cursor.string().map(|_| cursor.rest()).unwrap_or_default()
    }

    /// `SHA256:` and unpadded base64, as OpenSSH prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.data.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The SHA-256 of the blob in lower-case hexadecimal: a name that fits a file system.
    #[must_use]
    pub fn fingerprint_hex(&self) -> String {
        let fingerprint = self.data.fingerprint(HashAlg::Sha256);
        fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// One line as in a `.pub` file: type and base64, and the comment when there is one.
    #[must_use]
    pub fn to_line(&self, comment: &str) -> String {
        let key = ssh_key::PublicKey::new((*self.data).clone(), comment);
        key.to_openssh().unwrap_or_default()
    }
}

impl TryFrom<&KeyData> for PublicKey {
    type Error = Malformed;

    fn try_from(data: &KeyData) -> Result<Self, Malformed> {
        let mut blob = Vec::new();
        ssh_encoding::Encode::encode(data, &mut blob).map_err(|_| Malformed)?;
        Self::from_blob(&blob)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.blob == other.blob
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key_type.name(), self.fingerprint())
    }
}
