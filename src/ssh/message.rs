//! The agent protocol (RFC 9987; OpenSSH PROTOCOL.agent): requests read from one frame, replies
//! written as one. What we only pass on or compare stays bytes.

use super::certificate::Certificate;
use super::key::{KeyType, is_certificate_name};
use super::private::PrivateKey;
use super::signature::SignatureAlgorithm;
use super::wire::{Cursor, Malformed, Put};

/// The longest message either way, without its length (`AGENT_MAX_LEN` of OpenSSH).
pub const MAX_MESSAGE: usize = 256 * 1024;

/// The name of OpenSSH's session-bind extension.
pub const SESSION_BIND: &str = "session-bind@openssh.com";

/// `SSH_AGENTC_REQUEST_IDENTITIES`
pub const REQUEST_IDENTITIES: u8 = 11;
/// `SSH_AGENTC_SIGN_REQUEST`
const SIGN_REQUEST: u8 = 13;
/// `SSH_AGENT_FAILURE`
const FAILURE: u8 = 5;
/// `SSH_AGENT_SUCCESS`
const SUCCESS: u8 = 6;
/// `SSH_AGENT_IDENTITIES_ANSWER`
const IDENTITIES_ANSWER: u8 = 12;
/// `SSH_AGENT_SIGN_RESPONSE`
const SIGN_RESPONSE: u8 = 14;
/// `SSH_AGENT_EXTENSION_FAILURE`
const EXTENSION_FAILURE: u8 = 28;
/// `SSH2_AGENT_FAILURE` of OpenSSH
const AGENT2_FAILURE: u8 = 30;
/// `SSH_COM_AGENT2_FAILURE` of OpenSSH
const COM_AGENT2_FAILURE: u8 = 102;
/// `SSH_AGENT_EXTENSION_RESPONSE`
const EXTENSION_RESPONSE: u8 = 29;

/// What a client asks.
pub enum Request<'a> {
    /// `SSH_AGENTC_REQUEST_IDENTITIES`; what follows the type is ignored, as OpenSSH does.
    List,
    /// `SSH_AGENTC_SIGN_REQUEST`
    Sign {
        /// Key or certificate, exactly as it was listed.
        blob: &'a [u8],
        /// What to sign.
        data: &'a [u8],
        /// The wanted RSA hash.
        flags: u32,
    },
    /// `SSH_AGENTC_ADD_IDENTITY`
    Add(Addition<'a>),
    /// `SSH_AGENTC_REMOVE_IDENTITY`
    Remove {
        /// Key or certificate, exactly as it was listed.
        blob: &'a [u8],
    },
    /// `SSH_AGENTC_REMOVE_ALL_IDENTITIES`, or its namesake of SSH 1, which `ssh-add -D` also sends.
    RemoveAll,
    /// `SSH_AGENTC_EXTENSION`
    Extension {
        /// Which one.
        name: &'a [u8],
        /// Its own data.
        body: &'a [u8],
    },
}

/// A private key to hold, alone or under a certificate.
pub struct Addition<'a> {
    /// The key pair.
    pub key: PrivateKey<'a>,
    /// The certificate for it.
    pub certificate: Option<Box<Certificate>>,
    /// Bytes: OpenSSH does not ask for UTF-8.
    pub comment: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads one frame's content. Everything that evercert does not serve, constraints and smart
    /// cards among it, reads as malformed and is answered with a failure: what cannot be enforced
    /// is refused, never ignored.
    pub fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(frame);
        let request = match cursor.u8()? {
            REQUEST_IDENTITIES => return Ok(Self::List),
            SIGN_REQUEST => {
                let (blob, data) = (cursor.string()?, cursor.string()?);
                Self::Sign { blob, data, flags: cursor.u32()? }
            }
            17 => return Addition::read(cursor.rest()).map(Self::Add),
            18 => Self::Remove { blob: cursor.string()? },
            9 | 19 => return Ok(Self::RemoveAll),
            27 => {
                return Ok(Self::Extension { name: cursor.string()?, body: cursor.rest() });
            }
            _ => return Err(Malformed),
        };
        cursor.end()?;
        Ok(request)
    }
}

impl<'a> Addition<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(body);
        let name = cursor.string()?;
        let (key, certificate) = if is_certificate_name(name) {
            let kind = KeyType::from_certificate_name(name).ok_or(Malformed)?;
            let blob = cursor.string()?;
            if Cursor::new(blob).string()? != name {
                return Err(Malformed);
            }
            let certificate = Certificate::from_blob(blob)?;
            certificate.check_listable()?;
            let key = PrivateKey::read_certified(kind, blob, &mut cursor)?;
            (key, Some(Box::new(certificate)))
        } else {
            let kind = KeyType::from_name(name).ok_or(Malformed)?;
            (PrivateKey::read(kind, &mut cursor)?, None)
        };
        let comment = cursor.string()?;
        cursor.end()?;
        Ok(Self { key, certificate, comment })
    }
}

/// What the agent answers.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// `SSH_AGENT_FAILURE`: no more is ever said to a client.
    Failure,
    /// `SSH_AGENT_SUCCESS`
    Success,
    /// A signature blob.
    Signature(Vec<u8>),
    /// An extension that we know failed.
    ExtensionFailure,
    /// The answer to `query`: the names of the extensions we know.
    Extensions(&'static [&'static str]),
}

impl Reply {
    /// Appends the whole frame, length included.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Failure => frame(out, |out| out.push(FAILURE)),
            Self::Success => frame(out, |out| out.push(SUCCESS)),
            Self::ExtensionFailure => frame(out, |out| out.push(EXTENSION_FAILURE)),
            Self::Signature(blob) => frame(out, |out| {
                out.push(SIGN_RESPONSE);
                out.put_string(blob);
            }),
            Self::Extensions(names) => frame(out, |out| {
                out.push(EXTENSION_RESPONSE);
                out.put_string(b"query");
                for name in *names {
                    out.put_string(name.as_bytes());
                }
            }),
        }
    }
}

/// What another agent answers us.
pub enum Answer {
    /// `SSH_AGENT_FAILURE`, or another code that OpenSSH takes for it.
    Failure,
    /// `SSH_AGENT_SIGN_RESPONSE`: the signature blob, of whatever algorithm.
    Signature(Vec<u8>),
    /// `SSH_AGENT_IDENTITIES_ANSWER`: the blobs alone.
    Identities(Vec<Vec<u8>>),
}

impl Answer {
    /// Reads one frame's content.
    pub fn read(frame: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(frame);
        let answer = match cursor.u8()? {
            FAILURE | EXTENSION_FAILURE | AGENT2_FAILURE | COM_AGENT2_FAILURE => Self::Failure,
            SIGN_RESPONSE => Self::Signature(cursor.string()?.to_vec()),
            IDENTITIES_ANSWER => {
                let mut blobs = Vec::new();
                for _ in 0..cursor.u32()? {
                    blobs.push(cursor.string()?.to_vec());
                    cursor.string()?; // comment
                }
                Self::Identities(blobs)
            }
            _ => return Err(Malformed),
        };
        cursor.end()?;
        Ok(answer)
    }
}

/// Appends a request for the list of identities as one frame.
pub fn write_list_request(out: &mut Vec<u8>) {
    frame(out, |out| out.push(REQUEST_IDENTITIES));
}

/// Appends a request to sign `data` with the key that `blob` names as one frame.
pub fn write_sign_request(
    out: &mut Vec<u8>,
    blob: &[u8],
    data: &[u8],
    algorithm: SignatureAlgorithm,
) {
    frame(out, |out| {
        out.push(SIGN_REQUEST);
        out.put_string(blob);
        out.put_string(data);
        out.put_u32(algorithm.flags());
    });
}

/// Appends a list of (blob, comment) as one frame, length included.
pub fn write_identities(out: &mut Vec<u8>, identities: &[(&[u8], &[u8])]) {
    frame(out, |out| {
        out.push(IDENTITIES_ANSWER);
        out.put_u32(u32::try_from(identities.len()).unwrap_or(u32::MAX));
        for (blob, comment) in identities {
            out.put_string(blob);
            out.put_string(comment);
        }
    });
}

fn frame(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    content(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(header) = out.get_mut(start..start + 4) {
        header.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_served_is_refused_whole() {
        // Unknown types, those of SSH 1, lock and unlock, smart cards, constrained adds.
        for kind in [0, 1, 3, 7, 8, 20, 21, 22, 23, 24, 25, 26, 99, 255] {
            assert!(Request::read(&[kind, 0, 0, 0, 0]).is_err(), "type {kind}");
        }
        assert!(Request::read(&[]).is_err());
    }

    #[test]
    fn trailing_bytes_after_a_signature_request_are_refused() {
        let mut frame = vec![13];
        frame.put_string(b"blob");
        frame.put_string(b"data");
        frame.put_u32(4);
        assert!(matches!(Request::read(&frame), Ok(Request::Sign { flags: 4, .. })));
        frame.push(0);
        assert!(Request::read(&frame).is_err());
    }

    #[test]
    fn replies_are_framed() {
        let mut out = Vec::new();
        Reply::Failure.write(&mut out);
        Reply::Extensions(&["a"]).write(&mut out);
        write_identities(&mut out, &[(b"k", b"c")]);
        let mut cursor = Cursor::new(&out);
        assert_eq!(cursor.string(), Ok(&[FAILURE][..]));
        assert_eq!(cursor.string(), Ok(&b"\x1d\0\0\0\x05query\0\0\0\x01a"[..]));
        assert_eq!(cursor.string(), Ok(&b"\x0c\0\0\0\x01\0\0\0\x01k\0\0\0\x01c"[..]));
        assert!(cursor.is_empty());
    }
}
