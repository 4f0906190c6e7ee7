//! Private keys in OpenSSH's own file format: CA keys and session keys that live on disk.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::local::LocalKey;
use super::{Problem, Retry};
use crate::config::places::write_new;
use crate::ssh::key::PublicKey;
use crate::ssh::private::{KeyFile, Unreadable};

/// No key file comes near this size.
const MAX_FILE: u64 = 64 * 1024;

/// Reads an unencrypted private key that nobody else may read.
///
/// # Errors
/// Each way a file can be unfit, by name and with the next command to type.
pub fn open(path: &Path) -> Result<LocalKey, Problem> {
    let text = read(path)?;
    let file = KeyFile::from_text(&text).map_err(|why| unusable(path, why))?;
    let key = file.key().map_err(|why| unusable(path, why))?;
    LocalKey::from_private(&key).map_err(|misfit| Problem {
        retry: Retry::Final,
        message: format!("key file {}: {misfit}", path.display()),
        hint: None,
    })
}

fn unusable(path: &Path, why: Unreadable) -> Problem {
    let shown = path.display();
    let (message, hint) = match why {
        Unreadable::NotAKey => (
            format!("{shown} is not an OpenSSH private key file"),
            Some(format!("another format is rewritten by: ssh-keygen -p -N '' -f {shown}")),
        ),
        Unreadable::Encrypted => (
            format!("key file {shown} is protected by a passphrase"),
            Some(format!("take it off: ssh-keygen -p -N '' -f {shown}")),
        ),
        Unreadable::KeyType => {
            (format!("key file {shown} holds no Ed25519, ECDSA or RSA key"), None)
        }
    };
    Problem { retry: Retry::Final, message, hint }
}

/// Makes an Ed25519 key pair in `path` (0600) and `path.pub`, on the disk before this returns.
///
/// # Errors
/// When `path` exists already, or cannot be written.
pub fn create(path: &Path, comment: &str) -> std::io::Result<PublicKey> {
    let mut seed = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut seed[..]).map_err(std::io::Error::other)?;
    let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&seed[..])
        .map_err(std::io::Error::other)?;
    let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref();
    let public = Ed25519PublicKey(public.try_into().map_err(std::io::Error::other)?);
    let private = Ed25519PrivateKey::from_bytes(&seed);
    let pair = KeypairData::Ed25519(Ed25519Keypair { public, private });
    let key = PrivateKey::new(pair, comment).map_err(std::io::Error::other)?;
    let public = PublicKey::try_from(key.public_key().key_data()).map_err(std::io::Error::other)?;
    let pem = key.to_openssh(LineEnding::LF).map_err(std::io::Error::other)?;

    // Where another key's public half is in the way, nothing is made.
    let beside = public_path(path);
    if beside.symlink_metadata().is_ok() {
        return Err(another_key(&beside));
    }
    write_new(path, pem.as_bytes())?;
    write_public(path, &public, comment)?;
    Ok(public)
}

/// Writes the public half of a key file beside it, where it is missing.
///
/// # Errors
/// When it cannot be written, or another key's is there.
pub fn write_public(path: &Path, public: &PublicKey, comment: &str) -> std::io::Result<()> {
    let line = format!("{}\n", public.to_line(comment));
    let beside = public_path(path);
    match write_new(&beside, line.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let known = std::fs::read_to_string(&beside)?;
            match PublicKey::from_line(&known) {
                Ok(known) if known == *public => Ok(()),
                _ => Err(another_key(&beside)),
            }
        }
        written => written,
    }
}

fn another_key(beside: &Path) -> std::io::Error {
    std::io::Error::other(format!("{} holds another key: move it away", beside.display()))
}

/// Where the public half of a key file lies: its name and `.pub`.
#[must_use]
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let shown = path.display();
    let failed = |error: std::io::Error| Problem {
        retry: Retry::Final,
        message: match error.kind() {
            ErrorKind::NotFound => format!("key file {shown} does not exist"),
            _ => format!("cannot read key file {shown}: {error}"),
        },
        hint: (error.kind() == ErrorKind::NotFound)
            .then(|| format!("make one: ssh-keygen -t ed25519 -N '' -f {shown}")),
    };
    // A pipe in its place is refused below, not waited for.
    let waits_for_nobody = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file =
        OpenOptions::new().read(true).custom_flags(waits_for_nobody).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(Problem {
            retry: Retry::Final,
            message: format!("{shown} is not a file"),
            hint: None,
        });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Problem {
            retry: Retry::Final,
            message: format!("key file {shown} is open to others (mode {mode:04o})"),
            hint: Some(format!("close it: chmod 600 {shown}")),
        });
    }
    if metadata.len() > MAX_FILE {
        return Err(unusable(path, Unreadable::NotAKey));
    }
    // Sized beforehand: a buffer that grows leaves its old bytes behind.
    let capacity = usize::try_from(metadata.len()).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(metadata.len()).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}
