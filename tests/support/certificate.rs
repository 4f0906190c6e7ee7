//! What a certificate says, read by hand (PROTOCOL.certkeys): libraries refuse some that OpenSSH
//! accepts, such as one without end.

use std::collections::BTreeMap;

use super::wire::{Message, Reader, encode_base64};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The type's name, `ssh-ed25519-cert-v01@openssh.com` for example.
    pub(crate) kind: String,
    pub(crate) serial: u64,
    pub(crate) key_id: String,
    pub(crate) principals: Vec<String>,
    /// In seconds since 1970.
    pub(crate) valid_after: u64,
    /// In seconds since 1970; the first second after it.
    pub(crate) valid_before: u64,
    pub(crate) critical_options: BTreeMap<String, String>,
    pub(crate) extensions: BTreeMap<String, String>,
    /// The plain key that is certified, as in a `.pub` file.
    pub(crate) subject: Vec<u8>,
}

impl Certificate {
    /// Reads a blob; `None` if it is no certificate.
    pub(crate) fn read(blob: &[u8]) -> Option<Self> {
        let mut reader = Reader(blob);
        let kind = text(reader.string());
        let plain = kind.strip_suffix("-cert-v01@openssh.com")?;
        reader.string(); // The nonce.
        // An Ed25519 key is one string; an RSA key is two numbers, an ECDSA key a curve and a point.
        let parts = if plain == "ssh-ed25519" { 1 } else { 2 };
        let subject = (0..parts)
            .fold(Message::inner().string(plain), |subject, _| subject.string(reader.string()));
        let serial = reader.u64();
        assert_eq!(reader.u32(), 1, "a user's certificate");
        let key_id = text(reader.string());
        let mut names = Reader(reader.string());
        let mut principals = Vec::new();
        while !names.0.is_empty() {
            principals.push(text(names.string()));
        }
        Some(Self {
            serial,
            key_id,
            principals,
            valid_after: reader.u64(),
            valid_before: reader.u64(),
            critical_options: options(reader.string()),
            extensions: options(reader.string()),
            subject: subject.done(),
            kind,
        })
    }
}

/// A line for a `.pub` file.
pub(crate) fn line(blob: &[u8]) -> String {
    let kind = text(Reader(blob).string());
    format!("{kind} {}\n", encode_base64(blob))
}

/// Names and values; they must be sorted, and a value is a string within a string.
fn options(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut reader = Reader(bytes);
    let mut options = BTreeMap::new();
    while !reader.0.is_empty() {
        let name = text(reader.string());
        let mut value = Reader(reader.string());
        let value = if value.0.is_empty() { String::new() } else { text(value.string()) };
        assert!(options.keys().all(|before| *before < name), "options are not sorted");
        options.insert(name, value);
    }
    options
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}
