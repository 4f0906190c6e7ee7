//! The power goes at any moment: the agent starts again, and the ledger tells the truth. No serial
//! is used twice, no record is lost or torn, no certificate exists without its record.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::support;
use crate::support::{Agent, Home};
use serde_json::Value;

/// How often the agent is killed, unless `EVERCERT_CRASH_ROUNDS` says otherwise.
const ROUNDS: u32 = 20;

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let rounds = std::env::var("EVERCERT_CRASH_ROUNDS")
        .map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let home = Home::with_environment("lifetime = \"1m\"\nrenew_at = \"1s\"");
    let mut seen = Seen::default();
    for round in 0..rounds {
        let mut agent = Agent::launch(&home, |_| {});
        let end = Instant::now() + random_moment();
        while Instant::now() < end {
            // Between renewals and in the middle of them: ask all the time, but do not insist.
            seen.certificates_of(&agent);
            if round % 4 == 3 {
                let _ = home.run(&["renew"]);
            }
        }
        agent.kill();
        seen.check_ledger(&home);
    }

    let agent = Agent::start(&home);
    agent.certificate("work");
    seen.certificates_of(&agent);
    seen.check_ledger(&home);
    assert!(
        seen.certificates.len() > usize::try_from(rounds / 4).unwrap(),
        "only {} certificates in {rounds} rounds",
        seen.certificates.len()
    );
}

/// All that was ever seen from outside.
#[derive(Default)]
struct Seen {
    /// Every certificate ever listed, by serial.
    certificates: BTreeMap<u64, Vec<u8>>,
    /// Every record ever found.
    records: BTreeMap<PathBuf, Vec<u8>>,
}

impl Seen {
    fn certificates_of(&mut self, agent: &Agent<'_>) {
        if std::os::unix::net::UnixStream::connect(agent.socket()).is_err() {
            std::thread::sleep(Duration::from_millis(1)); // Not up yet.
            return;
        }
        for entry in agent.list() {
            let Some(certificate) = entry.certificate() else {
                continue;
            };
            let serial = certificate.serial;
            let before = self.certificates.entry(serial).or_insert_with(|| entry.blob.clone());
            assert_eq!(*before, entry.blob, "serial {serial} is used twice");
        }
    }

    fn check_ledger(&mut self, home: &Home) {
        let now: BTreeMap<PathBuf, Vec<u8>> = home.records().into_iter().collect();
        for (path, bytes) in &now {
            let record: Value = serde_json::from_slice(bytes)
                .unwrap_or_else(|error| panic!("{} is torn: {error}", path.display()));
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(record["serial"], name, "{}", path.display());
            for field in ["key_id", "principals", "valid_after", "valid_before"] {
                assert!(!record[field].is_null(), "{} lacks {field}", path.display());
            }
        }
        for (path, bytes) in &self.records {
            assert_eq!(now.get(path), Some(bytes), "{} is lost or changed", path.display());
        }
        for (serial, blob) in &self.certificates {
            let record = now
                .iter()
                .find(|(path, _)| path.ends_with(format!("{serial}.json")))
                .unwrap_or_else(|| panic!("certificate {serial} has no record"));
            let record: Value = serde_json::from_slice(record.1).unwrap();
            let certificate = support::Certificate::read(blob).unwrap();
            assert_eq!(record["key_id"], certificate.key_id);
            assert_eq!(record["principals"], serde_json::json!(certificate.principals));
            for (field, seconds) in [
                ("valid_after", certificate.valid_after),
                ("valid_before", certificate.valid_before),
            ] {
                let recorded: jiff::Timestamp = record[field].as_str().unwrap().parse().unwrap();
                assert_eq!(recorded.as_second(), i64::try_from(seconds).unwrap(), "{field}");
            }
        }
        self.records = now;
    }
}

/// Somewhere in a start, a first certificate, or one of the renewals that follow each second.
fn random_moment() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Duration::from_micros(u64::from(now.subsec_nanos()) / 10 * 7919 % 2_200_000)
}
