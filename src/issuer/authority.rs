//! Our own CA: a request becomes a record, the record a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Checked, Issuer};
use crate::config::KeyKind;
use crate::ledger::{Ledger, LedgerError, Record};
use crate::profile::{BACKDATE, CertificateRequest};
use crate::signer::{Problem, Signer, local};
use crate::ssh::certificate::{self, CHECK_KEY_ID, Certificate, Draft, Options};
use crate::ssh::key::PublicKey;
use crate::ssh::signature::SignatureAlgorithm;

const WRONG_SIGNATURE: &str = "the CA's signature does not verify with its public key";

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

    async fn issue(&self, request: &CertificateRequest) -> Result<Certificate, Problem> {
        let to_be_signed = self.claim(request).await?;
        let algorithm = SignatureAlgorithm::strongest(self.ca().key_type());
        let signature = self.signer.sign(&to_be_signed, algorithm).await?;
        let certificate = certificate::join(to_be_signed, &signature)
            .map_err(|_| Problem::passing(WRONG_SIGNATURE))?;
        certificate.verify(self.ca()).map_err(|_| Problem::passing(WRONG_SIGNATURE))?;
        Ok(certificate)
    }
}

impl Authority {
    pub(super) async fn check(&self, environment: &str) -> Result<Checked, Problem> {
        let (ca, serial) = (self.ca(), random_serial()?);
        let subject = local::generate(KeyKind::Ed25519)?;
        let body = certificate::check_body(random()?, subject.public_key(), serial, ca);
        let record = Record {
            serial,
            kind: "check".to_owned(),
            key_id: CHECK_KEY_ID.to_owned(),
            principals: Vec::new(),
            valid_after: Timestamp::UNIX_EPOCH,
            valid_before: Timestamp::UNIX_EPOCH + Duration::from_secs(1),
            critical_options: Options::new(),
            extensions: Options::new(),
            public_key: subject.public_key().to_line(""),
            ca: ca.to_line(""),
            environment: environment.to_owned(),
            recorded: Timestamp::now(),
        };
        self.ledger.record(&record).await.map_err(unrecorded)?;
        let algorithm = SignatureAlgorithm::strongest(ca.key_type());
        let asked = Instant::now();
        let signature = self.signer.sign(&body, algorithm).await?;
        let took = asked.elapsed();
        signature.verify(ca, &body).map_err(|_| Problem::passing(WRONG_SIGNATURE))?;
        Ok(Checked { ca: ca.clone(), algorithm, serial, took })
    }

    /// Writes the certificate but for its signature, and records it under a serial of its own.
    async fn claim(&self, request: &CertificateRequest) -> Result<Vec<u8>, Problem> {
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

fn unfit(error: certificate::Unfit) -> Problem {
    Problem::lasting(error).hint("mend the configuration")
}

fn unrecorded(error: LedgerError) -> Problem {
    let problem = Problem::passing(&error);
    match error {
        LedgerError::Taken(_) => problem,
        LedgerError::Unwritable { folder, .. } => {
            problem.hint(format!("make {folder} writable, with room on its disk"))
        }
    }
}

fn record(
    draft: &Draft<'_>,
    request: &CertificateRequest,
    now: Duration,
) -> Result<Record, Problem> {
    let time = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .ok_or_else(|| Problem::passing("the clock is outside the years of any calendar"))
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
fn random_serial() -> Result<u64, Problem> {
    loop {
        let serial = u64::from_be_bytes(random()?) >> 1;
        if serial != 0 {
            return Ok(serial);
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Problem::passing("the system has no random numbers to give"))?;
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
