//! Whoever holds a private key: a file, this process's memory, another agent, later a KMS.

pub mod file;
pub mod local;
mod ssh_agent;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config;
use crate::ssh::key::PublicKey;
use crate::ssh::signature::{Signature, SignatureAlgorithm};
use ssh_agent::SshAgent;

/// A private key that signs. The seam speaks SSH: a whole message goes in, an SSH signature comes
/// out; hashing and encodings are the holder's business. Nobody retries in here: the renewal loop
/// does.
#[async_trait]
pub trait Signer: Send + Sync {
    /// The public half, known since the key was opened: asking is free.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message`.
    ///
    /// # Errors
    /// When the algorithm does not fit the key, or the holder cannot sign.
    async fn sign(
        &self,
        message: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Result<Signature, Problem>;
}

/// Why a key cannot be had, does not sign, or why no certificate came of it: one shape, so that what
/// a holder of keys knows reaches the people unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What failed, on which named thing.
    pub message: String,
    /// What to do about it, where the command to type is not simply `renew`.
    pub hint: Option<String>,
    /// When another attempt makes sense.
    pub retry: Retry,
}

/// When another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// With the usual back-off.
    Soon,
    /// No sooner than that.
    After(Duration),
    /// Somebody must change something first.
    Final,
}

impl Problem {
    /// A failure that says no more than this, and may pass.
    pub fn passing(what: impl Display) -> Self {
        Self { message: what.to_string(), hint: None, retry: Retry::Soon }
    }

    /// A failure that lasts until somebody changes something.
    pub fn lasting(what: impl Display) -> Self {
        Self { retry: Retry::Final, ..Self::passing(what) }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Opens the signer of a CA, and holds it to the public key that the configuration pins.
///
/// # Errors
/// When the key cannot be had as it is configured.
pub fn open_ca(ca: &config::Ca) -> Result<Arc<dyn Signer>, Problem> {
    match ca {
        config::Ca::File { path, public_key } => {
            let key = file::open(path)?;
            pinned(key.public_key(), public_key.as_ref(), &path.display())?;
            Ok(Arc::new(key))
        }
        config::Ca::SshAgent { socket, public_key } => {
            Ok(Arc::new(SshAgent::new(socket.clone(), public_key.clone())))
        }
    }
}

/// Another key than the pinned one is an error, never a silent change of the CA.
fn pinned(found: &PublicKey, pin: Option<&PublicKey>, place: &dyn Display) -> Result<(), Problem> {
    match pin {
        Some(pin) if pin != found => Err(Problem::lasting(format_args!(
            "the CA key in {place} is {}, not the pinned {}",
            found.fingerprint(),
            pin.fingerprint()
        ))
        .hint("if the CA was replaced on purpose, change public_key, and what servers trust")),
        _ => Ok(()),
    }
}

/// Opens an environment's session key from its file, or makes a new one in memory. Making an RSA
/// key takes up to seconds: not on a thread that serves connections.
///
/// # Errors
/// When the file cannot be used, or the library made no key.
pub fn session_key(key: &config::Key) -> Result<Arc<dyn Signer>, Problem> {
    match key {
        config::Key::File(path) => Ok(Arc::new(file::open(path)?)),
        config::Key::InMemory(kind) => Ok(Arc::new(local::generate(*kind)?)),
    }
}

/// A key signs with its own algorithms only.
fn fits(key: &PublicKey, algorithm: SignatureAlgorithm) -> Result<(), Problem> {
    if algorithm.key_type() == key.key_type() {
        return Ok(());
    }
    let (key, algorithm) = (key.key_type().name(), algorithm.name());
    Err(Problem::lasting(format_args!("a {key} key cannot sign with {algorithm}")))
}
