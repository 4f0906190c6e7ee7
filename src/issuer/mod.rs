//! Whoever turns a request into a certificate: our own CA, later a signing service elsewhere.

mod authority;

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config;
use crate::profile::CertificateRequest;
use crate::signer::{self, OpenError};
use crate::ssh::certificate::Certificate;
use crate::ssh::key::PublicKey;
use authority::Authority;

/// Turns requests into certificates. Nobody retries in here: the renewal loop does.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// The CA's public key, known since the issuer was opened.
    fn ca(&self) -> &PublicKey;

    /// Issues one certificate.
    ///
    /// # Errors
    /// [`IssueError`] says what failed, what to do, and when to try again.
    async fn issue(&self, request: &CertificateRequest) -> Result<Certificate, IssueError>;
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct IssueError {
    /// What failed, on which named thing.
    pub message: String,
    /// What to do about it, where the command to type is not simply `renew`.
    pub hint: Option<String>,
    /// When another attempt makes sense.
    pub retry: Retry,
}

impl IssueError {
    /// A failure that says no more than this, and may pass.
    pub fn passing(what: impl Display) -> Self {
        Self { message: what.to_string(), hint: None, retry: Retry::Soon }
    }
}

impl From<OpenError> for IssueError {
    fn from(OpenError { message, hint }: OpenError) -> Self {
        Self { message, hint, retry: Retry::Soon }
    }
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

/// Opens the issuer that a configuration names. `ledger` is the folder of all ledgers.
///
/// # Errors
/// When the CA's key cannot be had as it is configured.
pub fn open(ca: &config::Ca, ledger: &Path) -> Result<Arc<dyn Issuer>, OpenError> {
    let signer = signer::open_ca(ca)?;
    Ok(Arc::new(Authority::new(signer, ledger)))
}
