//! All identities in memory: the environments' and those that clients added. Lists, finds,
//! replaces. A plain value behind one lock; nothing in here waits for anything.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::clock::Clocks;
use super::environment::{Environment, Opened};
use super::schedule::Next;
use crate::issuer::{IssueError, Issuer, Retry};
use crate::signer::Signer;
use crate::ssh::certificate::Certificate;
use crate::ssh::message;
use crate::{config, status};

/// ssh refuses a longer list, and then has no keys at all (`MAX_AGENT_IDENTITIES`).
const MAX_IDENTITIES: usize = 2048;
/// ssh refuses a longer list; some room is left for environments.
const MAX_LIST: usize = 250 * 1024;

/// See the module.
pub(super) struct Keyring {
    environments: Vec<Environment>,
    added: IndexMap<Vec<u8>, Added>,
    listing: Option<Listing>,
    clocks: Clocks,
    epochs: u64,
}

/// A key, or a key under a certificate, that a client added.
pub(super) struct Added {
    pub(super) signer: Arc<dyn Signer>,
    pub(super) certificate: Option<Box<Certificate>>,
    pub(super) comment: Vec<u8>,
}

/// A ready-made answer, good from one second to another.
struct Listing {
    frame: Arc<[u8]>,
    from: u64,
    until: u64,
}

/// What a client that asks for the list gets.
pub(super) enum List {
    /// The whole reply frame.
    Ready(Arc<[u8]>),
    /// Something is on its way; so long at most may be waited for it, counted from the question.
    Wait(Duration),
}

/// One renewal, handed out to be done outside the lock.
pub(super) struct Job {
    pub(super) settings: Arc<config::Environment>,
    pub(super) issuer: Arc<dyn Issuer>,
    /// None: a fresh one is to be had.
    pub(super) key: Option<Arc<dyn Signer>>,
    epoch: u64,
}

/// What a renewal brings back.
pub(super) type Done = Result<(Arc<dyn Signer>, Arc<Certificate>), IssueError>;

/// A renewal that somebody asked for and waits for.
pub(super) struct Ticket {
    name: String,
    attempts: u64,
}

/// A client may not add this.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list would grow too long for ssh")]
pub(super) struct Full;

impl Keyring {
    pub(super) fn new(environments: Vec<Opened>, clocks: Clocks) -> Self {
        let mut keyring = Self {
            environments: Vec::new(),
            added: IndexMap::new(),
            listing: None,
            clocks,
            epochs: 0,
        };
        keyring.apply(environments);
        keyring
    }

    /// Puts a configuration into force: what did not change keeps its key and certificate, what is
    /// gone goes at once, what clients added stays.
    pub(super) fn apply(&mut self, environments: Vec<Opened>) {
        let mut before = std::mem::take(&mut self.environments);
        for opened in environments {
            let known = before.iter().position(|old| old.name() == opened.settings.name);
            let known = known.map(|index| before.swap_remove(index));
            self.epochs += 1;
            let mut environment = Environment::new(opened, self.epochs);
            if let Some(old) = known {
                environment.take_over(old);
            }
            self.environments.push(environment);
        }
        self.listing = None;
    }

    /// Reads the clocks into what follows: notices jumps, and drops what has expired. True when
    /// the renewal loop should look again.
    fn observe(&mut self, now: &Clocks) -> bool {
        let jumped = now.jumped_since(&self.clocks);
        self.clocks = *now;
        for environment in &mut self.environments {
            environment.expire(now);
            if jumped {
                let worth = environment.worth(now);
                environment.schedule.jumped(worth, now, chance());
            }
        }
        let seconds = now.seconds();
        let alive = |added: &Added| {
            added.certificate.as_ref().is_none_or(|held| seconds < held.valid_before)
        };
        self.added.retain(|_, added| alive(added));
        self.listing = None;
        jumped
    }

    /// Answers a list request. A ready answer goes out as it is while it holds.
    pub(super) fn list(&mut self, now: &Clocks) -> List {
        let seconds = now.seconds();
        if let Some(listing) = &self.listing
            && (listing.from..listing.until).contains(&seconds)
            && !now.jumped_since(&self.clocks)
        {
            return List::Ready(Arc::clone(&listing.frame));
        }
        self.observe(now);
        let awaited = self.environments.iter().filter(|one| one.is_awaited(now));
        match awaited.map(|environment| environment.settings.wait).max() {
            Some(wait) if !wait.is_zero() => List::Wait(wait),
            _ => List::Ready(self.list_now(now)),
        }
    }

    /// Answers with what there is. Certificates first: the environments', in the order of the
    /// configuration, then those that were added; then added keys; the environments' bare keys last.
    pub(super) fn list_now(&mut self, now: &Clocks) -> Arc<[u8]> {
        let seconds = now.seconds();
        let comments: Vec<String> =
            self.environments.iter().map(|environment| environment.comment(now)).collect();
        let ours = || self.environments.iter().zip(&comments);
        let mut entries: Vec<(&[u8], &[u8])> = Vec::new();
        for (environment, comment) in ours() {
            if let Some(certificate) = environment.certificate(now) {
                entries.push((certificate.blob(), comment.as_bytes()));
            }
        }
        for (blob, added) in &self.added {
            if added.certificate.as_ref().is_some_and(|held| held.is_valid_at(seconds)) {
                entries.push((blob, &added.comment));
            }
        }
        for (blob, added) in &self.added {
            if added.certificate.is_none() {
                entries.push((blob, &added.comment));
            }
        }
        let first_bare = entries.len();
        for (environment, comment) in ours() {
            if let Some(key) = &environment.key {
                let blob = key.public_key().blob();
                let known = self.added.contains_key(blob)
                    || entries.iter().skip(first_bare).any(|(listed, _)| *listed == blob);
                if !known {
                    entries.push((blob, comment.as_bytes()));
                }
            }
        }
        fit(&mut entries);
        let mut frame = Vec::with_capacity(64 + entries.iter().map(entry_length).sum::<usize>());
        message::write_identities(&mut frame, entries.into_iter());
        let frame: Arc<[u8]> = frame.into();
        let (from, until) = self.listing_window(seconds);
        self.listing = Some(Listing { frame: Arc::clone(&frame), from, until });
        frame
    }

    /// From when to when nothing in the list begins or ends.
    fn listing_window(&self, seconds: u64) -> (u64, u64) {
        let ours = self.environments.iter().filter_map(Environment::window);
        let added = self.added.values().filter_map(|added| {
            added.certificate.as_ref().map(|held| (held.valid_after, held.valid_before))
        });
        let (mut from, mut until) = (0, u64::MAX);
        for edge in ours.chain(added).flat_map(|(after, before)| [after, before]) {
            if edge <= seconds {
                from = from.max(edge);
            } else {
                until = until.min(edge);
            }
        }
        (from, until)
    }

    /// Who signs for a blob that was listed, judged by the clock and not by any timer.
    pub(super) fn find(&self, blob: &[u8], now: &Clocks) -> Option<Arc<dyn Signer>> {
        if let Some(added) = self.added.get(blob) {
            let valid = |held: &Certificate| held.is_valid_at(now.seconds());
            let good = added.certificate.as_deref().is_none_or(valid);
            return good.then(|| Arc::clone(&added.signer));
        }
        self.environments.iter().find_map(|one| one.signs_for(blob, now)).map(Arc::clone)
    }

    /// Adds an identity, or replaces the one of the same blob in its place.
    pub(super) fn add(&mut self, blob: Vec<u8>, added: Added) -> Result<(), Full> {
        let entry = |blob: &[u8], comment: &[u8]| 8 + blob.len() + comment.len();
        let others = self.added.iter().filter(|(held, _)| **held != blob);
        let length: usize = others.map(|(held, one)| entry(held, &one.comment)).sum();
        let full = self.added.len() >= MAX_IDENTITIES && !self.added.contains_key(&blob);
        if full || length + entry(&blob, &added.comment) > MAX_LIST {
            return Err(Full);
        }
        self.added.insert(blob, added);
        self.listing = None;
        Ok(())
    }

    /// Removes what has exactly this blob. An environment loses all its keys and rests.
    pub(super) fn remove(&mut self, blob: &[u8], now: &Clocks) -> bool {
        self.listing = None;
        if self.added.shift_remove(blob).is_some() {
            return true;
        }
        self.epochs += 1;
        let epoch = self.epochs;
        match self.environments.iter_mut().find(|environment| environment.holds(blob, now)) {
            Some(environment) => {
                environment.drop_keys(epoch);
                true
            }
            None => false,
        }
    }

    /// Removes everything; environments rest until somebody asks for a renewal.
    pub(super) fn remove_all(&mut self) {
        self.listing = None;
        self.added.clear();
        for environment in &mut self.environments {
            self.epochs += 1;
            environment.drop_keys(self.epochs);
        }
    }

    /// Marks every renewal that is due as begun and hands it out, and says when to look again.
    pub(super) fn take_due(&mut self, now: &Clocks) -> (Vec<Job>, Option<Duration>) {
        self.observe(now);
        let mut jobs = Vec::new();
        let mut next: Option<Duration> = None;
        for environment in &mut self.environments {
            match environment.next(now) {
                Next::Nothing => {}
                Next::In(wait) => next = Some(next.map_or(wait, |least| least.min(wait))),
                Next::Now => {
                    environment.schedule.started();
                    let fresh = std::mem::take(&mut environment.fresh_key);
                    jobs.push(Job {
                        settings: Arc::clone(&environment.settings),
                        issuer: Arc::clone(&environment.issuer),
                        key: environment.key.clone().filter(|_| !fresh),
                        epoch: environment.epoch,
                    });
                }
            }
        }
        (jobs, next)
    }

    /// Takes a renewal's result, unless the environment changed meanwhile. True when it counts.
    pub(super) fn finish(&mut self, job: &Job, done: Done, now: &Clocks) -> bool {
        let same = |one: &&mut Environment| one.epoch == job.epoch;
        let Some(environment) = self.environments.iter_mut().find(same) else { return false };
        match done {
            Ok((key, certificate)) => environment.replace(key, certificate, now, chance()),
            Err(error) => environment.failed(error, now, chance()),
        }
        environment.attempts = environment.attempts.wrapping_add(1);
        self.listing = None;
        true
    }

    /// Asks for renewals now. None named means all.
    ///
    /// # Errors
    /// Nothing is asked for when a name is unknown, or a fresh key cannot be made.
    pub(super) fn want(
        &mut self,
        names: &[String],
        new_key: bool,
    ) -> Result<Vec<Ticket>, status::Trouble> {
        for name in names {
            if !self.environments.iter().any(|environment| environment.name() == name) {
                return Err(self.unknown(name));
            }
        }
        let wanted =
            |one: &&mut Environment| names.is_empty() || names.iter().any(|n| n == one.name());
        let mut chosen: Vec<_> = self.environments.iter_mut().filter(wanted).collect();
        if let Some(fixed) = chosen.iter().find_map(|one| one.key_file().filter(|_| new_key)) {
            return Err(fixed);
        }
        Ok(chosen
            .iter_mut()
            .map(|environment| {
                // A renewal on its way serves everybody, but not with the key it began with.
                let running = environment.schedule.in_flight;
                let again = !running || new_key;
                environment.schedule.wanted |= again;
                environment.fresh_key |= new_key;
                Ticket {
                    name: environment.name().to_owned(),
                    attempts: environment
                        .attempts
                        .wrapping_add(u64::from(running) + u64::from(again)),
                }
            })
            .collect())
    }

    /// How a renewal that was asked for went, once it ended.
    pub(super) fn outcome(&self, ticket: &Ticket, now: &Clocks) -> Option<status::Renewed> {
        let outcome = match self.environments.iter().find(|one| one.name() == ticket.name) {
            Some(environment) if environment.attempts < ticket.attempts => return None,
            Some(environment) => environment.outcome(now),
            None => Err(status::Trouble {
                message: "it was removed from the configuration meanwhile".to_owned(),
                hint: None,
            }),
        };
        Some(status::Renewed { name: ticket.name.clone(), outcome })
    }

    pub(super) fn snapshot(&mut self, now: &Clocks) -> Vec<status::Environment> {
        self.observe(now);
        self.environments.iter().map(|environment| environment.snapshot(now)).collect()
    }

    pub(super) fn issuers(&self) -> Vec<Arc<dyn Issuer>> {
        self.environments.iter().map(|environment| Arc::clone(&environment.issuer)).collect()
    }

    fn unknown(&self, name: &str) -> status::Trouble {
        let known: Vec<&str> = self.environments.iter().map(Environment::name).collect();
        status::Trouble {
            message: format!("there is no environment {name}"),
            hint: Some(match known.as_slice() {
                [] => "the configuration has none".to_owned(),
                names => format!("known are {}", names.join(", ")),
            }),
        }
    }
}

/// A renewal that panicked or was lost: as an error like any other.
pub(super) fn lost(reason: &dyn std::fmt::Display) -> IssueError {
    IssueError {
        message: format!("the renewal broke off: {reason}"),
        hint: None,
        retry: Retry::Soon,
    }
}

/// Bare keys at the end go first where the list would grow too long for ssh.
fn fit(entries: &mut Vec<(&[u8], &[u8])>) {
    let mut length: usize = entries.iter().map(entry_length).sum();
    while entries.len() > MAX_IDENTITIES || length > MAX_LIST {
        let Some(last) = entries.pop() else { return };
        length -= entry_length(&last);
    }
}

fn entry_length((blob, comment): &(&[u8], &[u8])) -> usize {
    8 + blob.len() + comment.len()
}

/// Uniform in 0 .. 1. Without random numbers there is no spread, and no harm.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
