//! Whoever holds a private key: a file, this process's memory, later a KMS or another agent.

pub mod file;
pub mod local;

use std::sync::Arc;

use async_trait::async_trait;

use crate::config;
use crate::ssh::key::PublicKey;
use crate::ssh::signature::{Signature, SignatureAlgorithm};

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
    ) -> Result<Signature, SignError>;
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The algorithm is not one of this key's.
    #[error("a {key} key cannot sign with {algorithm}")]
    Unsuitable {
        /// The key's type.
        key: &'static str,
        /// The wanted algorithm.
        algorithm: &'static str,
    },
    /// The cryptography library refused.
    #[error("signing failed")]
    Failed,
}

/// Why a key could not be opened. Each message names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpenError {
    /// What is wrong with which file.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Opens the signer of a CA.
///
/// # Errors
/// When the key cannot be had as it is configured.
pub fn open_ca(ca: &config::Ca) -> Result<Arc<dyn Signer>, OpenError> {
    match ca {
        config::Ca::File { path } => Ok(Arc::new(file::open(path)?)),
    }
}

/// Opens an environment's session key from its file, or makes a new one in memory. Making an RSA
/// key takes up to seconds: not on a thread that serves connections.
///
/// # Errors
/// When the file cannot be used, or the library made no key.
pub fn session_key(key: &config::Key) -> Result<Arc<dyn Signer>, OpenError> {
    match key {
        config::Key::File(path) => Ok(Arc::new(file::open(path)?)),
        config::Key::InMemory(kind) => Ok(Arc::new(local::generate(*kind)?)),
    }
}
