//! OpenSSH certificates (OpenSSH PROTOCOL.certkeys): a [`Draft`] is written, signed by somebody,
//! and joined with the signature into a [`Certificate`], which is read back and verified.

use std::collections::BTreeMap;
use std::fmt;

use super::key::{KeyType, PublicKey, is_certificate_name};
use super::signature::{self, BadSignature, Signature};
use super::wire::{Cursor, Malformed, Put};

/// `SSHKEY_CERT_MAX_PRINCIPALS` of OpenSSH.
pub const MAX_PRINCIPALS: usize = 256;

/// The longest text in a certificate that we write: a key id or one principal, in bytes.
pub const MAX_TEXT: usize = 255;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `SSH_CERT_TYPE_USER`: who logs in.
    User = 1,
    /// `SSH_CERT_TYPE_HOST`: who is logged in to.
    Host = 2,
}

/// Names and values of critical options or extensions. An empty value is a bare flag.
pub type Options = BTreeMap<String, String>;

/// A user certificate about to be signed. Times are seconds since 1970.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// 32 random bytes.
    pub nonce: [u8; 32],
    /// The key to certify.
    pub subject: &'a PublicKey,
    /// Never 0: OpenSSH cannot revoke that one.
    pub serial: u64,
    /// Free text that sshd logs.
    pub key_id: &'a str,
    /// The accounts, or roles, that the subject may log in as.
    pub principals: &'a [String],
    /// First second of validity.
    pub valid_after: u64,
    /// First second after it.
    pub valid_before: u64,
    /// What sshd must enforce or refuse.
    pub critical_options: &'a Options,
    /// What sshd may allow.
    pub extensions: &'a Options,
    /// Who is going to sign.
    pub ca: &'a PublicKey,
}

/// Why a draft may not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Serial 0 cannot be revoked.
    #[error("serial 0 cannot be revoked")]
    Serial,
    /// No principal, or too many.
    #[error("{0} principals: a certificate needs 1 to {MAX_PRINCIPALS}")]
    PrincipalCount(usize),
    /// A principal outside the alphabet.
    #[error(
        "principal {0:?}: 1 to {MAX_TEXT} of the characters A-Z a-z 0-9 . _ @ + - are allowed, and no - in front"
    )]
    Principal(String),
    /// The key id is empty, too long or not printable.
    #[error("key id {0:?}: 1 to {MAX_TEXT} printable bytes are allowed")]
    KeyId(String),
    /// An empty or endless window.
    #[error("the certificate would be valid for no time, or forever")]
    Window,
    /// A CA that certifies itself.
    #[error("the CA key and the key to certify are the same")]
    SelfSigned,
}

/// Whether a text may stand as a principal: one strict alphabet, so that no reader takes it for a
/// list, a pattern, an option or several names.
#[must_use]
pub fn is_principal(name: &str) -> bool {
    (1..=MAX_TEXT).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte))
}

/// Whether a text may stand as a key id.
#[must_use]
pub fn is_key_id(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl Draft<'_> {
    /// The bytes that the CA signs: the whole certificate but the signature.
    pub fn to_be_signed(&self) -> Result<Vec<u8>, Unfit> {
        self.check()?;
        let mut body = Vec::with_capacity(1024);
        body.put_string(self.subject.key_type().certificate_name().as_bytes());
        body.put_string(&self.nonce);
        body.extend_from_slice(self.subject.fields());
        body.put_u64(self.serial);
        body.put_u32(Kind::User as u32);
        body.put_string(self.key_id.as_bytes());
        let mut principals = Vec::new();
        for principal in self.principals {
            principals.put_string(principal.as_bytes());
        }
        body.put_string(&principals);
        body.put_u64(self.valid_after);
        body.put_u64(self.valid_before);
        body.put_string(&options_to_wire(self.critical_options));
        body.put_string(&options_to_wire(self.extensions));
        body.put_string(b""); // reserved
        body.put_string(self.ca.blob());
        Ok(body)
    }

    fn check(&self) -> Result<(), Unfit> {
        if self.serial == 0 {
            return Err(Unfit::Serial);
        }
        if !(1..=MAX_PRINCIPALS).contains(&self.principals.len()) {
            return Err(Unfit::PrincipalCount(self.principals.len()));
        }
        if let Some(name) = self.principals.iter().find(|name| !is_principal(name)) {
            return Err(Unfit::Principal(name.clone()));
        }
        if !is_key_id(self.key_id) {
            return Err(Unfit::KeyId(self.key_id.to_owned()));
        }
        if self.valid_after >= self.valid_before || self.valid_before == u64::MAX {
            return Err(Unfit::Window);
        }
        if self.subject == self.ca {
            return Err(Unfit::SelfSigned);
        }
        Ok(())
    }
}

/// The key id of a body that only shows that a CA signs.
pub const CHECK_KEY_ID: &str = "evercert check";

/// The bytes of a certificate that no server can accept, to see whether a CA signs: of type 0, for
/// nobody, valid for the first second of 1970.
#[must_use]
pub fn check_body(nonce: [u8; 32], subject: &PublicKey, serial: u64, ca: &PublicKey) -> Vec<u8> {
    let mut body = Vec::with_capacity(512);
    body.put_string(subject.key_type().certificate_name().as_bytes());
    body.put_string(&nonce);
    body.extend_from_slice(subject.fields());
    body.put_u64(serial);
    body.put_u32(0); // neither user nor host
    body.put_string(CHECK_KEY_ID.as_bytes());
    body.put_string(b""); // principals
    body.put_u64(0);
    body.put_u64(1);
    body.put_string(b""); // critical options
    body.put_string(b""); // extensions
    body.put_string(b""); // reserved
    body.put_string(ca.blob());
    body
}

/// Joins the signed bytes and their signature, and reads the result as anyone else would.
pub fn join(mut to_be_signed: Vec<u8>, signature: &Signature) -> Result<Certificate, Malformed> {
    to_be_signed.put_string(&signature.to_blob());
    Certificate::from_blob(&to_be_signed)
}

/// A certificate: the blob as it came, and what it says. Reading one proves nothing:
/// [`Certificate::verify`] does.
#[derive(Clone)]
pub struct Certificate {
    blob: Vec<u8>,
    signed_length: usize,
    signature: Vec<u8>,
    /// The certified key.
    pub public_key: PublicKey,
    /// Chosen by the CA.
    pub serial: u64,
    /// User or host.
    pub kind: Kind,
    /// Free text; bytes that are not UTF-8 are replaced.
    pub key_id: String,
    /// Empty in some foreign certificates, never in ours.
    pub principals: Vec<String>,
    /// First second of validity, since 1970.
    pub valid_after: u64,
    /// First second after it; `u64::MAX` is forever.
    pub valid_before: u64,
    ca: Vec<u8>,
    critical_options: Vec<u8>,
    extensions: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate for one of the key types that evercert signs with. A CA that is itself
    /// a certificate is refused by its name, before anything in it is looked at.
    pub fn from_blob(blob: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(blob);
        let key_type = KeyType::from_certificate_name(cursor.string()?).ok_or(Malformed)?;
        cursor.string()?; // nonce
        let public_key = read_subject(key_type, &mut cursor)?;
        let serial = cursor.u64()?;
        let kind = match cursor.u32()? {
            1 => Kind::User,
            2 => Kind::Host,
            _ => return Err(Malformed),
        };
        let key_id = String::from_utf8_lossy(cursor.string()?).into_owned();
        let principals = read_principals(cursor.string()?)?;
        let valid_after = cursor.u64()?;
        let valid_before = cursor.u64()?;
        let critical_options = cursor.string()?.to_vec();
        let extensions = cursor.string()?.to_vec();
        cursor.string()?; // reserved
        let ca = cursor.string()?.to_vec();
        if is_certificate_name(Cursor::new(&ca).string()?) {
            return Err(Malformed);
        }
        let signed_length = blob.len() - cursor.rest().len();
        let signature = cursor.string()?.to_vec();
        cursor.end()?;
        Ok(Self {
            blob: blob.to_vec(),
            signed_length,
            signature,
            public_key,
            serial,
            kind,
            key_id,
            principals,
            valid_after,
            valid_before,
            ca,
            critical_options,
            extensions,
        })
    }

    /// The blob on the wire.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The blob of the CA's key: of any type, a FIDO key's among them, but no certificate.
    #[must_use]
    pub fn ca(&self) -> &[u8] {
        &self.ca
    }

    /// Checks the signature of a CA that the caller trusts.
    pub fn verify(&self, ca: &PublicKey) -> Result<(), BadSignature> {
        let signed = self.blob.get(..self.signed_length).ok_or(BadSignature)?;
        if self.ca != ca.blob() {
            return Err(BadSignature);
        }
        Signature::from_blob(&self.signature).map_err(|_| BadSignature)?.verify(ca, signed)
    }

    /// Whether OpenSSH can read this certificate in a list, where a single one that it cannot read
    /// costs it all others: well-formed texts and options, and a signature that verifies.
    pub fn check_listable(&self) -> Result<(), Malformed> {
        for options in [&self.critical_options, &self.extensions] {
            let mut cursor = Cursor::new(options);
            while !cursor.is_empty() {
                cursor.text()?;
                cursor.string()?;
            }
        }
        let texts = self.principals.iter().chain([&self.key_id]);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(Malformed);
        }
        let signed = self.blob.get(..self.signed_length).ok_or(Malformed)?;
        match PublicKey::from_blob(&self.ca) {
            Ok(ca) => self.verify(&ca),
            Err(Malformed) => signature::verify_fido(&self.ca, &self.signature, signed),
        }
        .map_err(|_| Malformed)
    }

    /// Whether `now` (seconds since 1970) lies inside the window, as sshd judges it.
    #[must_use]
    pub fn is_valid_at(&self, now: u64) -> bool {
        (self.valid_after..self.valid_before).contains(&now)
    }

    /// Whether the critical options are exactly these, in the one order and encoding allowed.
    #[must_use]
    pub fn has_critical_options(&self, options: &Options) -> bool {
        self.critical_options == options_to_wire(options)
    }

    /// Whether the extensions are exactly these, in the one order and encoding allowed.
    #[must_use]
    pub fn has_extensions(&self, options: &Options) -> bool {
        self.extensions == options_to_wire(options)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "certificate {} {:?} of {:?}", self.serial, self.key_id, self.public_key)
    }
}

/// The certified key's fields stand in the certificate as in its own blob, but for the type name.
fn read_subject(key_type: KeyType, cursor: &mut Cursor<'_>) -> Result<PublicKey, Malformed> {
    let fields = if key_type == KeyType::Ed25519 { 1 } else { 2 };
    let mut blob = Vec::with_capacity(256);
    blob.put_string(key_type.name().as_bytes());
    for _ in 0..fields {
        blob.put_string(cursor.string()?);
    }
    PublicKey::from_blob(&blob)
}

fn read_principals(list: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut cursor = Cursor::new(list);
    let mut principals = Vec::new();
    while !cursor.is_empty() {
        if principals.len() == MAX_PRINCIPALS {
            return Err(Malformed);
        }
        principals.push(cursor.text()?.to_owned());
    }
    Ok(principals)
}

/// Sorted by name, each once; a value is a string within a string, no value an empty one.
fn options_to_wire(options: &Options) -> Vec<u8> {
    let mut wire = Vec::new();
    for (name, value) in options {
        wire.put_string(name.as_bytes());
        if value.is_empty() {
            wire.put_string(b"");
        } else {
            let mut inner = Vec::with_capacity(4 + value.len());
            inner.put_string(value.as_bytes());
            wire.put_string(&inner);
        }
    }
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PublicKey {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap();
        let mut blob = Vec::new();
        blob.put_string(b"ssh-ed25519");
        blob.put_string(aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref());
        PublicKey::from_blob(&blob).unwrap()
    }

    fn signed(body: Vec<u8>, byte: u8) -> Certificate {
        let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap();
        let bytes = pair.sign(&body).as_ref().to_vec();
        let algorithm = crate::ssh::signature::SignatureAlgorithm::Ed25519;
        join(body, &Signature { algorithm, bytes }).unwrap()
    }

    #[test]
    fn a_draft_comes_back_as_the_certificate_it_describes() {
        let (subject, ca, none) = (key(1), key(2), Options::new());
        let forced = Options::from([("force-command".to_owned(), "/bin/true".to_owned())]);
        let principals = ["root".to_owned(), "deploy".to_owned()];
        let draft = Draft {
            nonce: [7; 32],
            subject: &subject,
            serial: 9,
            key_id: "me@here",
            principals: &principals,
            valid_after: 100,
            valid_before: 200,
            critical_options: &forced,
            extensions: &none,
            ca: &ca,
        };
        let certificate = signed(draft.to_be_signed().unwrap(), 2);
        assert_eq!(certificate.verify(&ca), Ok(()));
        assert_eq!(certificate.verify(&subject), Err(BadSignature));
        assert_eq!(certificate.public_key, subject);
        assert_eq!((certificate.serial, certificate.kind), (9, Kind::User));
        assert_eq!(certificate.principals, principals);
        assert!(certificate.has_critical_options(&forced) && certificate.has_extensions(&none));
        assert!(!certificate.has_critical_options(&none));
        for (now, valid) in [(99, false), (100, true), (199, true), (200, false)] {
            assert_eq!(certificate.is_valid_at(now), valid, "at {now}");
        }
        assert_eq!(signed(draft.to_be_signed().unwrap(), 3).verify(&ca), Err(BadSignature));
    }

    #[test]
    fn an_unfit_draft_is_never_written() {
        let (subject, ca, none) = (key(1), key(2), Options::new());
        let fit = Draft {
            nonce: [0; 32],
            subject: &subject,
            serial: 1,
            key_id: "id",
            principals: &["root".to_owned()],
            valid_after: 1,
            valid_before: 2,
            critical_options: &none,
            extensions: &none,
            ca: &ca,
        };
        assert!(fit.to_be_signed().is_ok());
        let many = vec!["a".to_owned(); MAX_PRINCIPALS + 1];
        for (draft, error) in [
            (Draft { serial: 0, ..fit.clone() }, Unfit::Serial),
            (Draft { principals: &[], ..fit.clone() }, Unfit::PrincipalCount(0)),
            (Draft { principals: &many, ..fit.clone() }, Unfit::PrincipalCount(257)),
            (Draft { key_id: "a\nb", ..fit.clone() }, Unfit::KeyId("a\nb".to_owned())),
            (Draft { key_id: "", ..fit.clone() }, Unfit::KeyId(String::new())),
            (Draft { valid_before: 1, ..fit.clone() }, Unfit::Window),
            (Draft { valid_before: u64::MAX, ..fit.clone() }, Unfit::Window),
            (Draft { ca: &subject, ..fit.clone() }, Unfit::SelfSigned),
        ] {
            assert_eq!(draft.to_be_signed(), Err(error));
        }
        for name in ["", "a,b", "a b", "*", "-x", "a\"", "a\n", "\u{e9}", &"x".repeat(256)] {
            assert!(!is_principal(name), "{name:?}");
        }
    }

    #[test]
    fn a_certificate_as_ca_is_refused_however_deep() {
        let mut blob = key(1).blob().to_vec();
        for _ in 0..1000 {
            let mut outer = Vec::new();
            outer.put_string(b"ssh-ed25519-cert-v01@openssh.com");
            outer.put_string(&[0; 32]);
            outer.put_string(&[1; 32]);
            outer.put_u64(1);
            outer.put_u32(1);
            for empty in [b"", b""] {
                outer.put_string(empty);
            }
            outer.put_u64(0);
            outer.put_u64(10);
            for empty in [b"", b"", b""] {
                outer.put_string(empty);
            }
            outer.put_string(&blob);
            outer.put_string(b"");
            blob = outer;
        }
        assert!(Certificate::from_blob(&blob).is_err());
        assert!(PublicKey::from_blob(&blob).is_err());
    }
}
