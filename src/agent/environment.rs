//! One environment while the agent runs: its key, its certificate, and how its renewals fare.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::clock::{Clocks, shown, timestamp};
use super::schedule::{Next, Schedule, Worth, due};
use crate::config;
use crate::issuer::Issuer;
use crate::signer::{Problem, Retry, Signer};
use crate::ssh::certificate::Certificate;
use crate::status;

/// How long a certificate that was renewed away goes on signing: an ssh that listed it may still
/// be on its way. Its own expiry comes first.
const GRACE: Duration = Duration::from_secs(600);
/// More than that many are not remembered.
const MAX_RETIRED: usize = 64;

/// Settings made usable: everything they name has been opened.
pub struct Opened {
    /// What was configured.
    pub settings: Arc<config::Environment>,
    /// Who signs.
    pub issuer: Arc<dyn Issuer>,
    /// The session key where it comes from a file. One in memory is made with the first renewal.
    pub key: Option<Arc<dyn Signer>>,
}

/// See the module.
pub(super) struct Environment {
    pub(super) settings: Arc<config::Environment>,
    pub(super) issuer: Arc<dyn Issuer>,
    pub(super) key: Option<Arc<dyn Signer>>,
    pub(super) schedule: Schedule,
    /// Ended renewals, good or bad: what a waiter watches.
    pub(super) attempts: u64,
    /// Changes when key or settings do: a renewal that began before does not count.
    pub(super) epoch: u64,
    /// The epoch in which the renewal on its way began: its result counts if that is still this one.
    pub(super) job: Option<u64>,
    /// The next renewal makes a fresh session key.
    pub(super) fresh_key: bool,
    pub(super) last_error: Option<LastError>,
    certificate: Option<Held>,
    retired: VecDeque<Retired>,
    lapsed: bool,
}

/// A certificate in service.
struct Held {
    certificate: Arc<Certificate>,
    due: SystemTime,
}

/// A certificate that was renewed away.
struct Retired {
    certificate: Arc<Certificate>,
    /// On the boot clock.
    until: Duration,
}

impl Retired {
    fn signs_at(&self, now: &Clocks) -> bool {
        self.certificate.is_valid_at(now.seconds()) && now.boot < self.until
    }
}

/// Why the last renewal failed, and since when they do.
pub(super) struct LastError {
    pub(super) error: Problem,
    since: SystemTime,
}

impl Environment {
    pub(super) fn new(opened: Opened, epoch: u64) -> Self {
        Self {
            settings: opened.settings,
            issuer: opened.issuer,
            key: opened.key,
            schedule: Schedule::default(),
            attempts: 0,
            epoch,
            job: None,
            fresh_key: false,
            last_error: None,
            certificate: None,
            retired: VecDeque::new(),
            lapsed: false,
        }
    }

    /// Carries over what a new configuration left unchanged. With the same key, CA and rights that
    /// is everything, and a renewal follows where the next certificate should look different. With
    /// other rights it is the session key alone, where that is still asked for. What rests goes on
    /// resting, and what is on its way is waited for.
    pub(super) fn take_over(&mut self, mut old: Self) {
        let (new, before) = (&self.settings, &old.settings);
        let same_key = new.key == before.key
            && match (&self.key, &old.key) {
                (Some(new), Some(old)) => new.public_key() == old.public_key(),
                _ => true,
            };
        let same_rights = self.issuer.ca() == old.issuer.ca()
            && new.principals == before.principals
            && new.extensions == before.extensions
            && new.critical_options == before.critical_options;
        if same_key && same_rights {
            let other_look = new.lifetime != before.lifetime
                || new.key_id != before.key_id
                || new.renew_at != before.renew_at;
            if other_look {
                // As if it were due, so that failures are tried again like any other.
                old.schedule.wanted |= old.schedule.in_flight && !old.schedule.paused;
                if let Some(held) = &mut old.certificate {
                    held.due = SystemTime::UNIX_EPOCH;
                }
            }
            old.settings = Arc::clone(&self.settings);
            old.issuer = Arc::clone(&self.issuer);
            *self = old;
            return;
        }
        self.job = old.job;
        self.schedule.in_flight = old.schedule.in_flight;
        if old.schedule.paused {
            self.key = None;
            self.schedule.paused = true;
        } else if same_key {
            self.key = old.key;
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Says why this environment's key cannot be made anew, where it comes from a file.
    pub(super) fn key_file(&self) -> Option<status::Trouble> {
        let config::Key::File(path) = &self.settings.key else { return None };
        Some(status::Trouble {
            message: format!(
                "environment {} has its key from {}: it cannot be made anew",
                self.name(),
                path.display()
            ),
            // A renewal keeps the key in hand; a reload reads the file.
            hint: Some(format!("replace the file, then: kill -HUP {}", std::process::id())),
        })
    }

    /// When the certificate in hand begins and ends.
    pub(super) fn window(&self) -> Option<(u64, u64)> {
        let held = self.certificate.as_ref()?;
        Some((held.certificate.valid_after, held.certificate.valid_before))
    }

    /// The certificate that may be served now.
    pub(super) fn certificate(&self, now: &Clocks) -> Option<&Arc<Certificate>> {
        let held = self.certificate.as_ref()?;
        held.certificate.is_valid_at(now.seconds()).then_some(&held.certificate)
    }

    /// Drops what has expired, for good: should the clock step back, it stays gone.
    pub(super) fn expire(&mut self, now: &Clocks) {
        let seconds = now.seconds();
        self.retired.retain(|old| seconds < old.certificate.valid_before && now.boot < old.until);
        let expired = |held: &Held| held.certificate.valid_before <= seconds;
        let gone = self.certificate.take_if(|held| expired(held)).is_some();
        self.lapsed |= gone;
    }

    pub(super) fn worth(&self, now: &Clocks) -> Worth {
        match &self.certificate {
            Some(held) if held.certificate.is_valid_at(now.seconds()) => Worth::Valid {
                due: held.due,
                until: SystemTime::UNIX_EPOCH + Duration::from_secs(held.certificate.valid_before),
            },
            _ => Worth::Nothing,
        }
    }

    pub(super) fn next(&self, now: &Clocks) -> Next {
        self.schedule.next(self.worth(now), now)
    }

    /// Whether a listing should wait for this one: nothing to show, and something on its way that
    /// is likely to come. What failed before is not waited for, unless somebody asked for it.
    pub(super) fn is_awaited(&self, now: &Clocks) -> bool {
        let Schedule { wanted, paused, failures, in_flight, .. } = self.schedule;
        self.worth(now) == Worth::Nothing
            && (wanted || !paused && failures == 0)
            && (in_flight || self.next(now) == Next::Now)
    }

    /// Whether this blob is ours to sign with: the bare key, the certificate, or one that was
    /// renewed away a moment ago. Nothing expired.
    pub(super) fn signs_for(&self, blob: &[u8], now: &Clocks) -> Option<&Arc<dyn Signer>> {
        let key = self.key.as_ref()?;
        let ours = self.holds(blob, now)
            || self.retired.iter().any(|old| old.certificate.blob() == blob && old.signs_at(now));
        ours.then_some(key)
    }

    /// Whether this blob names the bare key or the certificate as they stand now.
    pub(super) fn holds(&self, blob: &[u8], now: &Clocks) -> bool {
        self.key.as_ref().is_some_and(|key| key.public_key().blob() == blob)
            || self.certificate(now).is_some_and(|certificate| certificate.blob() == blob)
    }

    /// Puts a new certificate and its key into service, in one step.
    pub(super) fn replace(
        &mut self,
        key: Arc<dyn Signer>,
        certificate: Arc<Certificate>,
        now: &Clocks,
        chance: f64,
    ) {
        let same_key = self.key.as_ref().is_some_and(|old| old.public_key() == key.public_key());
        if !same_key {
            self.retired.clear();
        } else if let Some(old) = self.certificate.take() {
            if self.retired.len() == MAX_RETIRED {
                self.retired.pop_front();
            }
            self.retired.push_back(Retired {
                certificate: old.certificate,
                until: now.boot.saturating_add(GRACE),
            });
        }
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(certificate.valid_before);
        let due = due(now.wall, end, self.settings.lifetime, self.settings.renew_at, chance);
        self.key = Some(key);
        self.certificate = Some(Held { certificate, due });
        self.lapsed = false;
        self.last_error = None;
        self.schedule.succeeded();
    }

    /// Notes a failed renewal; what is valid stays in service.
    pub(super) fn failed(&mut self, error: Problem, now: &Clocks, chance: f64) {
        self.schedule.failed(error.retry, now, chance);
        let since = self.last_error.take().map_or(now.wall, |earlier| earlier.since);
        self.last_error = Some(LastError { error, since });
    }

    /// Drops key and certificates, and rests until somebody asks for a renewal.
    pub(super) fn drop_keys(&mut self, epoch: u64) {
        self.key = None;
        self.certificate = None;
        self.retired.clear();
        self.lapsed = false;
        self.last_error = None;
        self.epoch = epoch;
        self.fresh_key = false;
        let in_flight = self.schedule.in_flight;
        self.schedule = Schedule { paused: true, in_flight, ..Schedule::default() };
    }

    /// What `ssh-add -l` shows: the name when all is well, else why not and what to type.
    pub(super) fn comment(&self, now: &Clocks) -> String {
        let name = self.name();
        match (&self.last_error, self.certificate(now)) {
            (None, Some(_)) => name.to_owned(),
            (None, None) => format!("{name}: no certificate yet; run evercert status"),
            (Some(LastError { error, .. }), _) => {
                format!("{name}: {}; run evercert renew {name}", error.message)
            }
        }
    }

    pub(super) fn snapshot(&self, now: &Clocks) -> status::Environment {
        let certificate = self.certificate(now);
        let ca = self.issuer.ca();
        status::Environment {
            name: self.name().to_owned(),
            state: self.state(certificate.is_some()),
            ca: status::Ca {
                kind: self.settings.ca.kind().to_owned(),
                public_key: ca.to_line(""),
                fingerprint: ca.fingerprint(),
            },
            key: self.key.as_ref().map(|key| status::Key {
                key_type: key.public_key().key_type().name().to_owned(),
                fingerprint: key.public_key().fingerprint(),
            }),
            certificate: certificate.map(|certificate| told(certificate)),
            next_renewal: match self.next(now) {
                Next::Nothing => None,
                Next::Now => Some(shown(now.wall)),
                Next::In(wait) => now.wall.checked_add(wait).map(shown),
            },
            last_error: self.last_error.as_ref().map(|last| status::LastError {
                trouble: trouble(&last.error),
                since: shown(last.since),
                is_final: last.error.retry == Retry::Final,
            }),
        }
    }

    fn state(&self, valid: bool) -> status::State {
        if self.schedule.paused {
            status::State::Paused
        } else if self.lapsed {
            status::State::Expired
        } else if self.last_error.is_some() {
            status::State::Degraded
        } else if self.schedule.in_flight || !valid {
            status::State::Renewing
        } else {
            status::State::Ok
        }
    }

    /// How the last renewal ended, for whoever waited for it.
    pub(super) fn outcome(&self, now: &Clocks) -> Result<status::Certificate, status::Trouble> {
        match (&self.last_error, self.certificate(now)) {
            (Some(last), _) => Err(trouble(&last.error)),
            (None, Some(certificate)) => Ok(told(certificate)),
            (None, None) => Err(status::Trouble {
                message: "the new certificate is not valid any more".to_owned(),
                hint: Some("see whether the clock was set".to_owned()),
            }),
        }
    }
}

fn trouble(error: &Problem) -> status::Trouble {
    status::Trouble { message: error.message.clone(), hint: error.hint.clone() }
}

fn told(certificate: &Certificate) -> status::Certificate {
    status::Certificate {
        serial: certificate.serial.to_string(),
        key_id: certificate.key_id.clone(),
        principals: certificate.principals.clone(),
        valid_after: timestamp(certificate.valid_after),
        valid_before: timestamp(certificate.valid_before),
    }
}
