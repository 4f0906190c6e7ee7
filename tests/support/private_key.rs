//! What is in an unencrypted OpenSSH private key file (PROTOCOL.key), as it will stand in an add
//! request.

use std::path::{Path, PathBuf};

use super::Home;
use super::wire::{ADD_IDENTITY, Message, Reader, decode_base64};

/// The fields of a private key between its type's name and its comment, as they are in the file.
pub(crate) fn fields(path: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(path).expect("a key file");
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let bytes = decode_base64(&body);
    let mut reader = Reader(bytes.strip_prefix(b"openssh-key-v1\0").expect("OpenSSH's format"));
    assert_eq!(reader.string(), b"none", "no cipher");
    reader.string(); // No key derivation,
    reader.string(); // and no options of it.
    assert_eq!(reader.u32(), 1, "one key");
    reader.string(); // The public key.
    let mut secret = Reader(reader.string());
    assert_eq!(secret.u32(), secret.u32(), "it was read right");
    let count = match secret.string() {
        b"ssh-ed25519" => 2, // public, seed with public
        b"ssh-rsa" => 6,     // n, e, d, iqmp, p, q
        _ => 3,              // curve, point, scalar
    };
    (0..count).map(|_| secret.string().to_vec()).collect()
}

/// Public half and seed of an Ed25519 key.
pub(crate) fn ed25519(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let fields = fields(path);
    (fields[0].clone(), fields[1][..32].to_vec())
}

/// An add request, with the public half of `public` if that is another key.
pub(crate) fn add_ed25519(key: &Path, public: Option<&Path>, comment: &[u8]) -> Vec<u8> {
    let (own, seed) = ed25519(key);
    let shown = public.map_or(own, |other| ed25519(other).0);
    Message::new(ADD_IDENTITY)
        .string("ssh-ed25519")
        .string(&shown)
        .string([seed, shown].concat())
        .string(comment)
        .done()
}

/// A P-521 key whose scalar is shorter than the curve, as every fourth is: a number is written
/// without leading zeros.
pub(crate) fn short_p521(home: &Home, name: &str) -> PathBuf {
    loop {
        let path = home.keygen(name, &["-t", "ecdsa", "-b", "521"]);
        if fields(&path)[2].len() < 66 {
            return path;
        }
        std::fs::remove_file(path).expect("our own file");
    }
}
