//! What was issued: one record for each serial, whole and on the disk before its certificate is
//! signed. Creating the record is the claim on the serial, so a serial may be claimed and never
//! used, but is never used twice.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

use crate::config::places::make_folder;
use crate::ssh::certificate::Options;
use crate::ssh::key::PublicKey;

/// One CA's records.
pub struct Ledger {
    folder: PathBuf,
}

/// What is recorded of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Decimal, as a string: JSON numbers are not that long everywhere.
    #[serde(with = "decimal")]
    pub serial: u64,
    /// `user`, or `check` for what was signed only to see whether the CA signs.
    pub kind: String,
    /// As in the certificate.
    pub key_id: String,
    /// As in the certificate.
    pub principals: Vec<String>,
    /// As in the certificate.
    pub valid_after: Timestamp,
    /// As in the certificate.
    pub valid_before: Timestamp,
    /// As in the certificate.
    pub critical_options: Options,
    /// As in the certificate.
    pub extensions: Options,
    /// The certified key, as in a `.pub` file.
    pub public_key: String,
    /// The CA's key, as in a `.pub` file.
    pub ca: String,
    /// The environment that asked.
    pub environment: String,
    /// When the serial was claimed.
    pub recorded: Timestamp,
}

/// Why a record could not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The serial has a record already.
    #[error("serial {0} is taken")]
    Taken(u64),
    /// The folder or the disk refuses.
    #[error("cannot record the certificate in the ledger {folder}: {reason}")]
    Unwritable {
        /// The CA's folder.
        folder: String,
        /// What the system said.
        reason: String,
    },
}

impl Ledger {
    /// The ledger of a CA below `root`. Nothing is touched until the first record.
    #[must_use]
    pub fn of(root: &Path, ca: &PublicKey) -> Self {
        Self { folder: root.join(ca.fingerprint_hex()) }
    }

    /// Claims the record's serial and makes the record durable: file and folder are synced before
    /// this returns.
    ///
    /// # Errors
    /// [`LedgerError::Taken`] when the serial has a record; [`LedgerError::Unwritable`] when
    /// nothing durable could be written.
    pub async fn record(&self, record: &Record) -> Result<(), LedgerError> {
        let store = self.open().await?;
        let mut content =
            serde_json::to_vec_pretty(record).map_err(|error| self.unwritable(&error))?;
        content.push(b'\n');
        let key = Key::from(format!("{}.json", record.serial));
        let create = PutOptions::from(PutMode::Create);
        match store.put_opts(&key, PutPayload::from(content), create).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => {
                Err(LedgerError::Taken(record.serial))
            }
            Err(error) => Err(self.unwritable(&root_cause(&error))),
        }
    }

    /// Anew for each record: the folder may have gone meanwhile, or its disk.
    async fn open(&self) -> Result<LocalFileSystem, LedgerError> {
        let folder = self.folder.clone();
        let opened = tokio::task::spawn_blocking(move || {
            make_folder(&folder).map_err(|error| error.to_string())?;
            LocalFileSystem::new_with_prefix(&folder).map_err(|error| root_cause(&error))
        });
        match opened.await {
            Ok(Ok(store)) => Ok(store.with_fsync(true)),
            Ok(Err(reason)) => Err(self.unwritable(&reason)),
            Err(panic) => Err(self.unwritable(&panic)),
        }
    }

    fn unwritable(&self, reason: &dyn std::fmt::Display) -> LedgerError {
        LedgerError::Unwritable {
            folder: self.folder.display().to_string(),
            reason: reason.to_string(),
        }
    }
}

/// Reads every record of every CA below `root`, and says what is wrong with which file. A serial with
/// a bad record stays taken. Blocks for as long as that takes: not for a thread that serves
/// connections.
#[must_use]
pub fn check(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    for folder in entries(root, &mut problems) {
        for path in entries(&folder, &mut problems) {
            if path.extension().is_some_and(|extension| extension == "json")
                && let Err(reason) = check_record(&path)
            {
                problems.push(format!("ledger record {} is corrupt: {reason}", path.display()));
            }
        }
    }
    problems
}

/// What lies in a folder, by name; one that does not exist yet is empty.
fn entries(folder: &Path, problems: &mut Vec<String>) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    let mut paths: Vec<PathBuf> = read.unwrap_or_else(|error: std::io::Error| {
        if error.kind() != ErrorKind::NotFound {
            problems.push(format!("cannot read the ledger {}: {error}", folder.display()));
        }
        Vec::new()
    });
    paths.sort();
    paths
}

fn check_record(path: &Path) -> Result<(), String> {
    let content = std::fs::read(path).map_err(|error| error.to_string())?;
    let record: Record = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    let named = path.file_stem().and_then(|stem| stem.to_str());
    if named == Some(record.serial.to_string().as_str()) {
        Ok(())
    } else {
        Err(format!("it holds serial {}", record.serial))
    }
}

/// The storage library wraps what the system said in its own words; the last cause says it.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

mod decimal {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
        String::deserialize(source)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(root: &Path) -> Ledger {
        Ledger { folder: root.join("ca") }
    }

    fn record(serial: u64) -> Record {
        Record {
            serial,
            kind: "user".to_owned(),
            key_id: "me".to_owned(),
            principals: vec!["root".to_owned()],
            valid_after: Timestamp::UNIX_EPOCH,
            valid_before: Timestamp::UNIX_EPOCH,
            critical_options: Options::new(),
            extensions: Options::new(),
            public_key: String::new(),
            ca: String::new(),
            environment: "local".to_owned(),
            recorded: Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn a_serial_is_claimed_once_even_if_its_record_is_corrupt() {
        let root = tempfile::tempdir().unwrap();
        let ledger = ledger(root.path());
        assert_eq!(check(root.path()), [""; 0]);
        ledger.record(&record(7)).await.unwrap();
        assert_eq!(ledger.record(&record(7)).await, Err(LedgerError::Taken(7)));
        std::fs::write(root.path().join("ca/8.json"), "{\"serial\"").unwrap();
        assert_eq!(ledger.record(&record(8)).await, Err(LedgerError::Taken(8)));
        std::fs::copy(root.path().join("ca/7.json"), root.path().join("ca/9.json")).unwrap();
        let problems = check(root.path());
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("8.json is corrupt"));
        assert!(problems[1].contains("it holds serial 7"));
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("ca"), "").unwrap();
        let error = ledger(root.path()).record(&record(1)).await.unwrap_err().to_string();
        assert_eq!(check(root.path()).len(), 1, "not a folder");
        assert!(error.contains("/ca: "), "{error}");
    }
}
