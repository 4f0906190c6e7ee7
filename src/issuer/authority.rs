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
        match self.issue_once(request).await {
            // Once in the life of a fleet, by chance; twice in a row is no chance.
            Err(Failure::Ledger(LedgerError::Taken(_))) => {
                self.issue_once(request).await.map_err(IssueError::from)
            }
            issued => issued.map_err(IssueError::from),
        }
    }

    fn check_records(&self) -> Vec<String> {
        self.ledger.check().unwrap_or_else(|error| vec![error.to_string()])
    }
}

impl Authority {
    async fn issue_once(&self, request: &CertificateRequest) -> Result<Certificate, Failure> {
        let serial = random_serial()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
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
        let to_be_signed = draft.to_be_signed().map_err(Failure::Unfit)?;
        self.ledger.record(&record(&draft, request, now)?).await.map_err(Failure::Ledger)?;
        let algorithm = SignatureAlgorithm::strongest(self.ca().key_type());
        let signature =
            self.signer.sign(&to_be_signed, algorithm).await.map_err(Failure::Signer)?;
        let certificate =
            certificate::join(to_be_signed, &signature).map_err(|_| Failure::BadSignature)?;
        certificate.verify().map_err(|_| Failure::BadSignature)?;
        Ok(certificate)
    }
}

fn record(
    draft: &Draft<'_>,
    request: &CertificateRequest,
    now: Duration,
) -> Result<Record, Failure> {
    let time = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|s| Timestamp::from_second(s).ok())
            .ok_or(Failure::Clock)
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
fn random_serial() -> Result<u64, Failure> {
    loop {
        let serial = u64::from_be_bytes(random()?) >> 1;
        if serial != 0 {
            return Ok(serial);
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::Random)?;
    Ok(bytes)
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the system has no random numbers to give")]
    Random,
    #[error("the clock is outside the years that a record can hold")]
    Clock,
    #[error("{0}")]
    Unfit(certificate::Unfit),
    #[error("{0}")]
    Ledger(LedgerError),
    #[error("the CA did not sign: {0}")]
    Signer(crate::signer::SignError),
    #[error("the CA's signature does not verify with its public key")]
    BadSignature,
}

impl From<Failure> for IssueError {
    fn from(failure: Failure) -> Self {
        let (retry, hint) = match &failure {
            Failure::Unfit(_) => (Retry::Final, Some("mend the configuration".to_owned())),
            Failure::Ledger(LedgerError::Unwritable { folder, .. }) => {
                (Retry::Soon, Some(format!("make {folder} writable, with room on its disk")))
            }
            _ => (Retry::Soon, None),
        };
        Self { message: failure.to_string(), hint, retry }
    }
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
