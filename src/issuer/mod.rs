//! Whoever turns a request into a certificate: our own CA, later a signing service elsewhere.

mod authority;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::{self, Environment};
use crate::profile::CertificateRequest;
use crate::signer::{self, Problem};
use crate::ssh::certificate::Certificate;
use crate::ssh::key::PublicKey;
use crate::ssh::signature::SignatureAlgorithm;
use authority::Authority;

/// Turns requests into certificates. Nobody retries in here: the renewal loop does.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// The CA's public key, known since the issuer was opened.
    fn ca(&self) -> &PublicKey;

    /// Issues one certificate.
    ///
    /// # Errors
    /// [`Problem`] says what failed, what to do, and when to try again.
    async fn issue(&self, request: &CertificateRequest) -> Result<Certificate, Problem>;
}

/// What a CA proved about itself.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The key that signs.
    pub ca: PublicKey,
    /// How it signs.
    pub algorithm: SignatureAlgorithm,
    /// The record of the check.
    pub serial: u64,
    /// From the request to sign to the signature.
    pub took: Duration,
}

/// Has a CA sign something that no server can accept, records and verifies it.
///
/// # Errors
/// Where a certificate could not be had either, and for the same reasons.
pub async fn check(environment: &Environment, ledger: &Path) -> Result<Checked, Problem> {
    Authority::new(signer::open_ca(&environment.ca)?, ledger).check(&environment.name).await
}

/// Opens the issuer that a configuration names. `ledger` is the folder of all ledgers.
///
/// # Errors
/// When the CA's key cannot be had as it is configured.
pub fn open(ca: &config::Ca, ledger: &Path) -> Result<Arc<dyn Issuer>, Problem> {
    let signer = signer::open_ca(ca)?;
    Ok(Arc::new(Authority::new(signer, ledger)))
}
