//! All identities in memory: the environments' and those that clients added. Lists, finds,
//! replaces. A plain value behind one lock; nothing in here waits for anything.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::clock::Clocks;
use super::environment::{Environment, Opened};
use super::listing::{Listing, MAX_IDENTITIES, MAX_LIST, entry_length};
use super::schedule::Next;
use crate::issuer::Issuer;
use crate::signer::{Problem, Signer};
use crate::ssh::certificate::Certificate;
use crate::ssh::key::PublicKey;
use crate::{config, status};

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
pub(super) type Done = Result<(Arc<dyn Signer>, Arc<Certificate>), Problem>;

/// A renewal that somebody asked for and waits for.
pub(super) struct Ticket {
    name: String,
    epoch: u64,
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

    /// Reads the clocks into what follows: notices jumps, and drops what has expired.
    fn observe(&mut self, now: &Clocks) {
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
    }

    /// Answers a list request. A ready answer goes out as it is while it holds.
    pub(super) fn list(&mut self, now: &Clocks) -> List {
        let seconds = now.seconds();
        if let Some(listing) = &self.listing
            && listing.holds_at(seconds)
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

    /// Answers with what there is, whatever is on its way.
    pub(super) fn list_now(&mut self, now: &Clocks) -> Arc<[u8]> {
        let listing = Listing::of(&self.environments, &self.added, now);
        let frame = Arc::clone(&listing.frame);
        // Whoever asks while something is on its way waits for it, and gets no answer of before.
        let awaited = self.environments.iter().any(|environment| environment.is_awaited(now));
        self.listing = Some(listing).filter(|_| !awaited);
        frame
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
        let others = self.added.iter().filter(|(held, _)| **held != blob);
        let length: usize = others.map(|(held, one)| entry_length(&(held, &one.comment))).sum();
        let full = self.added.len() >= MAX_IDENTITIES && !self.added.contains_key(&blob);
        if full || length + entry_length(&(&blob, &added.comment)) > MAX_LIST {
            return Err(Full);
        }
        self.added.insert(blob, added);
        self.listing = None;
        Ok(())
    }

    /// Removes what has exactly this blob, wherever it is. An environment loses all its keys and
    /// rests. False when nobody had it.
    pub(super) fn remove(&mut self, blob: &[u8], now: &Clocks) -> bool {
        self.listing = None;
        let mut removed = self.added.shift_remove(blob).is_some();
        for environment in self.environments.iter_mut().filter(|one| one.holds(blob, now)) {
            self.epochs += 1;
            environment.drop_keys(self.epochs);
            removed = true;
        }
        removed
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
                    environment.job = Some(environment.epoch);
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

    /// Keeps a key that was made for an environment that had none, whether or not a certificate
    /// for it comes.
    pub(super) fn adopt(&mut self, job: &Job, key: &Arc<dyn Signer>) {
        if let Some(environment) = self.environments.iter_mut().find(|one| one.epoch == job.epoch) {
            environment.key.get_or_insert_with(|| Arc::clone(key));
            self.listing = None;
        }
    }

    /// Takes a renewal's result, unless the environment changed meanwhile. True when it counts.
    pub(super) fn finish(&mut self, job: &Job, done: Done, now: &Clocks) -> bool {
        self.listing = None;
        let begun = |one: &&mut Environment| one.job == Some(job.epoch);
        let Some(environment) = self.environments.iter_mut().find(begun) else { return false };
        environment.job = None;
        environment.schedule.in_flight = false;
        if environment.epoch != job.epoch {
            return false;
        }
        match done {
            Ok((key, certificate)) => environment.replace(key, certificate, now, chance()),
            Err(error) => environment.failed(error, now, chance()),
        }
        environment.attempts += 1;
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
        self.listing = None;
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
                let running = environment.job == Some(environment.epoch);
                let again = !running || new_key;
                environment.schedule.wanted |= again;
                environment.fresh_key |= new_key;
                Ticket {
                    name: environment.name().to_owned(),
                    epoch: environment.epoch,
                    attempts: environment.attempts + u64::from(running) + u64::from(again),
                }
            })
            .collect())
    }

    /// How a renewal that was asked for went, once it ended.
    pub(super) fn outcome(&self, ticket: &Ticket, now: &Clocks) -> Option<status::Renewed> {
        let outcome = match self.environments.iter().find(|one| one.epoch == ticket.epoch) {
            Some(environment) if environment.attempts < ticket.attempts => return None,
            Some(environment) => environment.outcome(now),
            None => Err(status::Trouble {
                message: "its keys were dropped or its settings changed meanwhile".to_owned(),
                hint: Some("see evercert status".to_owned()),
            }),
        };
        Some(status::Renewed { name: ticket.name.clone(), outcome })
    }

    /// How every environment fares, and how many identities no list has room for.
    pub(super) fn snapshot(&mut self, now: &Clocks) -> (Vec<status::Environment>, usize) {
        self.observe(now);
        let told = self.environments.iter().map(|environment| environment.snapshot(now)).collect();
        (told, Listing::of(&self.environments, &self.added, now).left_out)
    }

    /// Whether this is the CA key of an environment, which is never offered to anyone.
    pub(super) fn has_ca(&self, key: &PublicKey) -> bool {
        self.environments.iter().any(|environment| environment.issuer.ca() == key)
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

/// Uniform in 0 .. 1. Without random numbers there is no spread, and no harm.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{KeyKind, parse};
    use crate::profile::CertificateRequest;
    use crate::signer::local::generate;
    use crate::ssh::certificate::{Draft, Options, join};
    use crate::ssh::signature::SignatureAlgorithm;
    use crate::ssh::wire::{Cursor, Put};
    use std::path::Path;
    use std::time::SystemTime;

    /// A CA that is never asked: these tests hand in its certificates themselves.
    struct Idle(Arc<dyn Signer>);

    #[async_trait::async_trait]
    impl Issuer for Idle {
        fn ca(&self) -> &PublicKey {
            self.0.public_key()
        }
        async fn issue(&self, _: &CertificateRequest) -> Result<Certificate, Problem> {
            Err(Problem::passing("never"))
        }
    }

    fn key() -> Arc<dyn Signer> {
        Arc::new(generate(KeyKind::Ed25519).unwrap())
    }

    fn opened(ca: &Arc<dyn Signer>, text: &str) -> Vec<Opened> {
        let config = parse(text, Path::new("/c.toml")).unwrap();
        let open = |settings| Opened {
            settings: Arc::new(settings),
            issuer: Arc::new(Idle(Arc::clone(ca))),
            key: None,
        };
        config.environments.into_iter().map(open).collect()
    }

    fn settings(name: &str, more: &str) -> String {
        format!(
            "[environments.{name}]\nprincipals = [\"me\"]\n{more}\n\
             [environments.{name}.ca]\nkind = \"file\"\npath = \"ca\"\n"
        )
    }

    async fn certificate(ca: &Arc<dyn Signer>, key: &PublicKey, at: u64) -> Arc<Certificate> {
        let (principals, none) = (["me".to_owned()], Options::new());
        let draft = Draft {
            nonce: [0; 32],
            subject: key,
            serial: at,
            key_id: "id",
            principals: &principals,
            valid_after: at - 300,
            valid_before: at + 3600,
            critical_options: &none,
            extensions: &none,
            ca: ca.public_key(),
        };
        let body = draft.to_be_signed().unwrap();
        let signature = ca.sign(&body, SignatureAlgorithm::Ed25519).await.unwrap();
        Arc::new(join(body, &signature).unwrap())
    }

    fn at(seconds: u64) -> Clocks {
        let time = Duration::from_secs(seconds);
        Clocks { wall: SystemTime::UNIX_EPOCH + time, boot: time, awake: time }
    }

    fn blobs(list: List) -> Vec<Vec<u8>> {
        let List::Ready(frame) = list else { panic!("the list waits") };
        let mut cursor = Cursor::new(&frame[5..]);
        (0..cursor.u32().unwrap())
            .map(|_| (cursor.string().unwrap().to_vec(), cursor.string().unwrap()).0)
            .collect()
    }

    const START: u64 = 1_000_000;

    /// A keyring with one environment and its first certificate, issued at START.
    async fn served() -> (Keyring, Arc<dyn Signer>, Arc<dyn Signer>, Arc<Certificate>) {
        let (ca, key) = (key(), key());
        let mut keyring = Keyring::new(opened(&ca, &settings("one", "")), at(START));
        let first = certificate(&ca, key.public_key(), START).await;
        let (jobs, _) = keyring.take_due(&at(START));
        assert!(keyring.finish(&jobs[0], Ok((Arc::clone(&key), Arc::clone(&first))), &at(START)));
        (keyring, ca, key, first)
    }

    #[tokio::test]
    async fn an_expired_certificate_is_not_served_and_never_comes_back() {
        let (mut keyring, _, key, first) = served().await;
        let both = vec![first.blob().to_vec(), key.public_key().blob().to_vec()];
        assert_eq!(blobs(keyring.list(&at(START + 1))), both);
        assert!(keyring.find(first.blob(), &at(START + 3599)).is_some());
        assert!(keyring.find(first.blob(), &at(START + 3600)).is_none(), "judged by the clock");

        let bare = vec![key.public_key().blob().to_vec()];
        let listed = |frame| blobs(List::Ready(frame));
        assert!(matches!(keyring.list(&at(START + 3600)), List::Wait(_)));
        assert_eq!(listed(keyring.list_now(&at(START + 3600))), bare);
        assert!(
            matches!(keyring.list(&at(START + 3600)), List::Wait(_)),
            "the next one waits, too"
        );
        assert_eq!(listed(keyring.list_now(&at(START + 3500))), bare, "the clock stepped back");
        assert!(keyring.find(first.blob(), &at(START + 3500)).is_none());
    }

    #[tokio::test]
    async fn a_certificate_not_yet_valid_is_not_served() {
        let (mut keyring, _, _, first) = served().await;
        let early = at(START - 301);
        assert!(keyring.find(first.blob(), &early).is_none());
        assert!(matches!(keyring.list(&early), List::Wait(_)), "a new one is asked for");
        assert!(keyring.find(first.blob(), &at(START + 5)).is_some(), "it was not dropped");
    }

    #[tokio::test]
    async fn the_certificate_before_signs_for_ten_minutes() {
        let (mut keyring, ca, key, first) = served().await;
        keyring.want(&[], false).unwrap();
        let (jobs, _) = keyring.take_due(&at(START + 100));
        let second = certificate(&ca, key.public_key(), START + 100).await;
        keyring.finish(&jobs[0], Ok((key, Arc::clone(&second))), &at(START + 100));
        assert_eq!(blobs(keyring.list(&at(START + 101)))[0], second.blob());
        assert!(keyring.find(first.blob(), &at(START + 699)).is_some());
        assert!(keyring.find(first.blob(), &at(START + 700)).is_none());
    }

    #[tokio::test]
    async fn a_renewal_that_ends_after_its_keys_were_dropped_does_not_count() {
        let (mut keyring, ca, key, _) = served().await;
        let ticket = keyring.want(&[], false).unwrap().remove(0);
        let (jobs, _) = keyring.take_due(&at(START + 1));
        keyring.remove_all();
        let late = certificate(&ca, key.public_key(), START + 1).await;
        assert!(!keyring.finish(&jobs[0], Ok((key, late)), &at(START + 2)));
        assert!(blobs(keyring.list(&at(START + 2))).is_empty());
        assert!(keyring.outcome(&ticket, &at(START + 2)).unwrap().outcome.is_err());
        let (jobs, next) = keyring.take_due(&at(START + 9999));
        assert!(jobs.is_empty() && next.is_none(), "it rests until somebody asks");
        let ticket = keyring.want(&[], false).unwrap().remove(0);
        assert!(keyring.outcome(&ticket, &at(START + 9999)).is_none(), "not before it was tried");
        keyring.want(&["one".to_owned()], false).unwrap();
        assert_eq!(keyring.take_due(&at(START + 9999)).0.len(), 1);
    }

    #[tokio::test]
    async fn a_failed_renewal_keeps_the_valid_certificate_and_says_why() {
        let (mut keyring, _, _, first) = served().await;
        keyring.want(&[], false).unwrap();
        let (jobs, _) = keyring.take_due(&at(START + 1));
        keyring.finish(&jobs[0], Err(Problem::passing("no disk")), &at(START + 1));
        let List::Ready(frame) = keyring.list(&at(START + 1)) else {
            panic!("nothing to wait for")
        };
        let text = String::from_utf8_lossy(&frame).into_owned();
        assert!(text.contains("one: no disk; run evercert renew one"));
        assert!(keyring.find(first.blob(), &at(START + 1)).is_some());
    }

    #[tokio::test]
    async fn a_new_configuration_keeps_what_did_not_change() {
        let (mut keyring, ca, key, first) = served().await;
        keyring.apply(opened(&ca, &(settings("two", "") + &settings("one", ""))));
        assert!(keyring.find(first.blob(), &at(START + 1)).is_some());
        assert!(keyring.take_due(&at(START + 1)).0.iter().all(|job| job.settings.name == "two"));
        keyring.apply(opened(&ca, &settings("one", "wait = \"1s\"")));
        assert!(keyring.take_due(&at(START + 1)).0.is_empty());
        keyring.apply(opened(&ca, &settings("one", "lifetime = \"2h\"")));
        assert!(keyring.find(first.blob(), &at(START + 1)).is_some(), "until the new one is there");
        assert_eq!(keyring.take_due(&at(START + 1)).0.len(), 1);
        keyring.apply(opened(&ca, &settings("one", "extensions = []")));
        assert!(keyring.find(first.blob(), &at(START + 1)).is_none(), "other rights");
        assert!(keyring.find(key.public_key().blob(), &at(START + 1)).is_some());
        keyring.apply(opened(&ca, &settings("one", "key = \"ecdsa-p256\"")));
        assert!(keyring.find(key.public_key().blob(), &at(START + 1)).is_none());
        keyring.apply(Vec::new());
        assert!(blobs(keyring.list(&at(START + 1))).is_empty());
    }

    #[tokio::test]
    async fn dropped_keys_stay_dropped_when_the_configuration_is_read_again() {
        let (mut keyring, ca, _, _) = served().await;
        keyring.remove_all();
        for more in ["", "lifetime = \"2h\""] {
            keyring.apply(opened(&ca, &settings("one", more)));
            assert!(keyring.take_due(&at(START + 1)).0.is_empty());
        }
    }

    #[tokio::test]
    async fn another_lifetime_is_asked_for_until_it_is_there() {
        let (mut keyring, ca, _, first) = served().await;
        keyring.apply(opened(&ca, &settings("one", "lifetime = \"2h\"")));
        let (jobs, _) = keyring.take_due(&at(START + 1));
        keyring.finish(&jobs[0], Err(Problem::passing("no disk")), &at(START + 1));
        let (jobs, next) = keyring.take_due(&at(START + 1));
        let soon = jobs.len() == 1 || next.is_some_and(|next| next <= Duration::from_secs(1));
        assert!(soon, "not only when the old certificate is due: {next:?}");
        assert!(keyring.find(first.blob(), &at(START + 1)).is_some());
    }

    #[tokio::test]
    async fn a_listing_does_not_wait_for_what_failed_nor_for_what_was_dropped() {
        let ca = key();
        let mut keyring = Keyring::new(opened(&ca, &settings("one", "")), at(START));
        let (jobs, _) = keyring.take_due(&at(START));
        assert!(matches!(keyring.list(&at(START)), List::Wait(_)), "the first attempt");
        keyring.finish(&jobs[0], Err(Problem::passing("no")), &at(START));
        assert_eq!(keyring.take_due(&at(START + 1)).0.len(), 1);
        assert!(matches!(keyring.list(&at(START + 1)), List::Ready(_)), "the second");
        keyring.want(&[], false).unwrap();
        keyring.remove_all();
        assert!(matches!(keyring.list(&at(START + 1)), List::Ready(_)), "dropped");
        keyring.want(&[], false).unwrap();
        assert!(matches!(keyring.list(&at(START + 1)), List::Wait(_)), "asked for");
    }

    #[test]
    fn added_keys_are_replaced_in_place_and_bounded() {
        let mut keyring = Keyring::new(Vec::new(), at(START));
        let add = |comment: &str| Added {
            signer: key(),
            certificate: None,
            comment: comment.as_bytes().to_vec(),
        };
        for blob in ["a", "b", "a"] {
            keyring.add(blob.into(), add("")).unwrap();
        }
        assert_eq!(blobs(keyring.list(&at(START))), [b"a", b"b"]);
        let mut long = Vec::new();
        long.put_string(&vec![0; MAX_LIST]);
        assert_eq!(keyring.add(long, add("")), Err(Full));
        assert!(keyring.remove(b"a", &at(START)) && !keyring.remove(b"a", &at(START)));
        assert_eq!(blobs(keyring.list(&at(START))), [b"b"]);
    }
}
