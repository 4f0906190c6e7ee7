//! Whoever turns a request into a certificate: our own CA, later a signing service elsewhere.

mod authority;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::Environment;
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

    /// Looks for damage in what was recorded before, in words. Blocks for as long as it takes to
    /// read every record.
    fn check_records(&self) -> Vec<String>;
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

/// Opens the issuer that an environment names. `ledger` is the folder of all ledgers.
///
/// # Errors
/// When the CA's key cannot be had as it is configured.
pub fn open(environment: &Environment, ledger: &Path) -> Result<Arc<dyn Issuer>, OpenError> {
    let signer = signer::open_ca(&environment.ca)?;
    Ok(Arc::new(Authority::new(signer, ledger)))
}
