//! Our own CA: a request becomes a record, the record a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{IssueError, Issuer, Retry};
use crate::ledger::{Ledger, LedgerError, Record};
use crate::profile::{BACKDATE, CertificateRequest};
use crate::signer::Signer;
use crate::ssh::certificate::{self, Certificate, Draft};
use crate::ssh::key::PublicKey;
use crate::ssh::signature::SignatureAlgorithm;

/// A CA key and what it signed.
pub(super) struct Authority {
    signer: Arc<dyn Signer>,
    ledger: Ledger,
}

impl Authority {
    pub(super) fn new(signer: Arc<dyn Signer>, ledger: &Path) -> Self {
        let ledger = Ledger::of(ledger, signer.public_key());
        Self { signer, ledger }
    }
}

#[async_trait]
impl Issuer for Authority {
    fn ca(&self) -> &PublicKey {
        self.signer.public_key()
    }

    async fn issue(&self, request: &CertificateRequest) -> Result<Certificate, IssueError> {
        let to_be_signed = self.claim(request).await?;
        let algorithm = SignatureAlgorithm::strongest(self.ca().key_type());
        let signature =
            self.signer.sign(&to_be_signed, algorithm).await.map_err(|error| {
                IssueError::passing(format_args!("the CA did not sign: {error}"))
            })?;
        let wrong = "the CA's signature does not verify with its public key";
        let certificate =
            certificate::join(to_be_signed, &signature).map_err(|_| IssueError::passing(wrong))?;
        certificate.verify(self.ca()).map_err(|_| IssueError::passing(wrong))?;
        Ok(certificate)
    }
}

impl Authority {
    /// Writes the certificate but for its signature, and records it under a serial of its own.
    async fn claim(&self, request: &CertificateRequest) -> Result<Vec<u8>, IssueError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut taken = false;
        loop {
            let serial = random_serial()?;
            let key_id = request.key_id.replace("{serial}", &serial.to_string());
            let draft = Draft {
                nonce: random()?,
                subject: &request.public_key,
                serial,
                key_id: &key_id,
                principals: &request.principals,
                valid_after: now.saturating_sub(BACKDATE).as_secs(),
                valid_before: now.saturating_add(request.lifetime).as_secs(),
                critical_options: &request.critical_options,
                extensions: &request.extensions,
                ca: self.ca(),
            };
            let to_be_signed = draft.to_be_signed().map_err(unfit)?;
            match self.ledger.record(&record(&draft, request, now)?).await {
                Ok(()) => return Ok(to_be_signed),
                // By chance that happens once; twice in a row is no chance.
                Err(LedgerError::Taken(_)) if !taken => taken = true,
                Err(error) => return Err(unrecorded(error)),
            }
        }
    }
}

fn unfit(error: certificate::Unfit) -> IssueError {
    let hint = Some("mend the configuration".to_owned());
    IssueError { message: error.to_string(), hint, retry: Retry::Final }
}

fn unrecorded(error: LedgerError) -> IssueError {
    let message = error.to_string();
    let hint = match error {
        LedgerError::Taken(_) => None,
        LedgerError::Unwritable { folder, .. } => {
            Some(format!("make {folder} writable, with room on its disk"))
        }
    };
    IssueError { message, hint, retry: Retry::Soon }
}

fn record(
    draft: &Draft<'_>,
    request: &CertificateRequest,
    now: Duration,
) -> Result<Record, IssueError> {
    let time = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .ok_or_else(|| IssueError::passing("the clock is outside the years of any calendar"))
    };
    Ok(Record {
        serial: draft.serial,
        kind: "user".to_owned(),
        key_id: draft.key_id.to_owned(),
        principals: draft.principals.to_vec(),
        valid_after: time(draft.valid_after)?,
        valid_before: time(draft.valid_before)?,
        critical_options: draft.critical_options.clone(),
        extensions: draft.extensions.clone(),
        public_key: draft.subject.to_line(""),
        ca: draft.ca.to_line(""),
        environment: request.environment.clone(),
        recorded: time(now.as_secs())?,
    })
}

/// 1 ..= 2^63 - 1: a serial needs no counter, and fits every signed reader.
fn random_serial() -> Result<u64, IssueError> {
    loop {
        let serial = u64::from_be_bytes(random()?) >> 1;
        if serial != 0 {
            return Ok(serial);
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], IssueError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| IssueError::passing("the system has no random numbers to give"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_never_zero_nor_negative() {
        for _ in 0..1000 {
            let serial = random_serial().unwrap();
            assert!(serial > 0 && i64::try_from(serial).is_ok());
        }
    }
}
