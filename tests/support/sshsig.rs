//! Is this raw signature good? `ssh-keygen` is the judge: the signature is dressed as a file
//! signature (PROTOCOL.sshsig) over a digest that `sha512sum` made.

use super::wire::{Message, Signature, Wire, encode_base64};
use super::{Home, Outcome};

const NAMESPACE: &str = "test";

/// Has the agent sign a message with the key `blob`; `None` if it refuses. Fails the test unless
/// `ssh-keygen` finds the signature good for the plain key `public`.
pub(crate) fn signs(
    home: &Home,
    wire: &mut Wire,
    blob: &[u8],
    public: &[u8],
    flags: u32,
) -> Option<Signature> {
    let message = b"a message to sign";
    let digest = digest(home, message);
    let data = Message::inner()
        .bytes(b"SSHSIG")
        .string(NAMESPACE)
        .string("")
        .string("sha512")
        .string(&digest)
        .done();
    let signature = wire.sign(blob, &data, flags)?;
    let file = Message::inner()
        .bytes(b"SSHSIG")
        .u32(1)
        .string(public)
        .string(NAMESPACE)
        .string("")
        .string("sha512")
        .string(&signature.whole)
        .done();
    check(home, &armour(&file), message);
    Some(signature)
}

fn digest(home: &Home, message: &[u8]) -> Vec<u8> {
    let said = Outcome::with_input(&mut home.command("sha512sum"), message).succeeds().stdout;
    let hex = said.split_whitespace().next().expect("a digest");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn armour(bytes: &[u8]) -> String {
    let text = encode_base64(bytes);
    let lines: Vec<&str> =
        (0..text.len()).step_by(70).map(|at| &text[at..text.len().min(at + 70)]).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// `ssh-keygen` must find the signature good.
pub(crate) fn check(home: &Home, signature: &str, message: &[u8]) {
    let file = tempfile::NamedTempFile::new_in(home.path()).expect("a file");
    std::fs::write(file.path(), signature).expect("a file");
    let mut command = home.command("ssh-keygen");
    command.args(["-Y", "check-novalidate", "-n", NAMESPACE, "-s"]).arg(file.path());
    Outcome::with_input(&mut command, message).succeeds();
}
