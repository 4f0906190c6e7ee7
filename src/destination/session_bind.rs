//! One `session-bind@openssh.com` (OpenSSH PROTOCOL.agent section 1): a host key's signature over
//! a session id proves which host the connection's session is with.

use crate::ssh::certificate::Certificate;
use crate::ssh::key::{PublicKey, is_certificate_name};
use crate::ssh::signature::Signature;
use crate::ssh::wire::{Cursor, Malformed};

/// `AGENT_MAX_SID_LEN` of OpenSSH.
const MAX_SESSION_ID: usize = 128;

/// A verified binding.
#[derive(Debug)]
pub struct Binding {
    /// The host's key.
    pub host_key: PublicKey,
    /// The host's certificate, where it showed one. Only its key was proved: whether its CA,
    /// window and names mean anything is for others to judge.
    pub host_certificate: Option<Certificate>,
    /// The session identifier of the key exchange.
    pub session_id: Vec<u8>,
    /// Whether the connection is forwarded to that host, not only used to log in to it.
    pub forwarding: bool,
}

/// Why a binding does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not readable as a session-bind, or of a key type we do not verify.
    #[error("malformed session-bind")]
    Malformed,
    /// The host did not sign this session.
    #[error("the host key's signature does not verify")]
    Signature,
    /// The same session under another host key.
    #[error("the session is bound to another host key already")]
    OtherHostKey,
    /// A hop beyond one that was not forwarded.
    #[error("the connection was bound for authentication only")]
    NotForwardable,
    /// More hops than OpenSSH allows.
    #[error("too many session-binds")]
    TooMany,
}

impl From<Malformed> for Refused {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Binding {
    /// Reads `string hostkey, string session id, string signature, bool forwarding` and verifies
    /// the signature.
    pub(super) fn verify(body: &[u8]) -> Result<Self, Refused> {
        let mut cursor = Cursor::new(body);
        let host = cursor.string()?;
        let session_id = cursor.string()?;
        let signature = Signature::from_blob(cursor.string()?)?;
        let forwarding = cursor.boolean()?;
        cursor.end()?;
        if session_id.is_empty() || session_id.len() > MAX_SESSION_ID {
            return Err(Refused::Malformed);
        }
        let (host_key, host_certificate) = read_host(host)?;
        signature.verify(&host_key, session_id).map_err(|_| Refused::Signature)?;
        Ok(Self { host_key, host_certificate, session_id: session_id.to_vec(), forwarding })
    }
}

/// A host key arrives plain, or as the certificate that the host showed.
fn read_host(blob: &[u8]) -> Result<(PublicKey, Option<Certificate>), Malformed> {
    if is_certificate_name(Cursor::new(blob).string()?) {
        let certificate = Certificate::from_blob(blob)?;
        Ok((certificate.public_key.clone(), Some(certificate)))
    } else {
        Ok((PublicKey::from_blob(blob)?, None))
    }
}
