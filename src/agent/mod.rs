//! The running daemon. [`run`] starts its tasks and waits for the end; a caller brings sockets,
//! settings and the wish to stop.

mod clock;
mod connection;
mod control;
mod environment;
mod keyring;
mod listener;
mod listing;
mod reload;
mod renewal;
mod schedule;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::net::UnixListener;
use tokio::sync::{Notify, watch};

use crate::config::places::Places;
use crate::profile::Requester;
use crate::status;
use clock::Clocks;
use connection::Connection;
use keyring::{Keyring, List};

pub use environment::Opened;
pub use reload::open;

/// A configuration with everything in it opened.
pub struct Loaded {
    /// In the order of the file.
    pub environments: Vec<Opened>,
    /// Allowed, and yet worth a word.
    pub warnings: Vec<String>,
}

/// What the agent is told once, at its start.
pub struct Facts {
    /// Where its files are.
    pub places: Places,
    /// What `SSH_AUTH_SOCK` should be.
    pub socket: PathBuf,
    /// Who runs it.
    pub requester: Requester,
}

/// The sockets that the agent serves.
pub struct Sockets {
    /// The agent protocol.
    pub agent: UnixListener,
    /// `status` and `renew`.
    pub control: UnixListener,
}

/// What comes from outside while the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// End, after what is being answered.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Drop all keys.
    Drop,
}

/// The state that all tasks share: a handle, locked for moments and never across an await.
struct Agent {
    facts: Facts,
    started: SystemTime,
    keyring: Mutex<Keyring>,
    configured: Mutex<Configured>,
    /// What is wrong with records of the past, once they were read.
    damage: OnceLock<Vec<String>>,
    /// The renewal loop should look again.
    due: Notify,
    /// The configuration should be read again.
    reload: Notify,
    /// A renewal ended, or keys changed: whoever waits should look again.
    settled: watch::Sender<()>,
}

/// How the configuration in force came about.
struct Configured {
    loaded: SystemTime,
    error: Option<String>,
    warnings: Vec<String>,
}

impl Configured {
    fn now(warnings: Vec<String>) -> Self {
        Self { loaded: SystemTime::now(), error: None, warnings }
    }
}

/// Serves until [`Event::Stop`], then lets what is being answered end, for two seconds at most.
/// `check_records` looks for damage in what was recorded before, in words, and may take its time.
///
/// # Errors
/// Only at the start, where the system refuses a timer.
pub async fn run(
    facts: Facts,
    sockets: Sockets,
    loaded: Loaded,
    check_records: impl FnOnce() -> Vec<String> + Send + 'static,
    mut events: impl AsyncFnMut() -> Event,
) -> std::io::Result<()> {
    let keyring = Keyring::new(loaded.environments, Clocks::read());
    let agent = Arc::new(Agent {
        facts,
        started: SystemTime::now(),
        keyring: Mutex::new(keyring),
        configured: Mutex::new(Configured::now(loaded.warnings)),
        damage: OnceLock::new(),
        due: Notify::new(),
        reload: Notify::new(),
        settled: watch::Sender::new(()),
    });
    let jumps = clock::JumpWatch::new()?;
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(renewal::run(Arc::clone(&agent), jumps));
    tokio::spawn(reload::run(Arc::clone(&agent)));
    let controlled =
        tokio::spawn(control::serve(Arc::clone(&agent), sockets.control, stopping.clone()));
    tokio::task::spawn_blocking({
        let agent = Arc::clone(&agent);
        move || {
            let damage = check_records();
            damage.iter().for_each(|one| tracing::warn!("{one}"));
            agent.damage.get_or_init(|| damage);
        }
    });
    let served = tokio::spawn(listener::serve(sockets.agent, stopping, {
        let agent = Arc::clone(&agent);
        move |stream, stopping| Connection::new(Arc::clone(&agent)).serve(stream, stopping)
    }));
    loop {
        match events().await {
            Event::Stop => break,
            Event::Reload => agent.reload.notify_one(),
            Event::Drop => {
                tracing::info!("all keys dropped");
                agent.keyring().remove_all();
                agent.settle();
            }
        }
    }
    stop.send_replace(true);
    // A panicked listener has nothing left to wait for.
    let _ = tokio::join!(served, controlled);
    Ok(())
}

impl Agent {
    /// A panic under the lock leaves whole values behind: every change is one assignment.
    fn keyring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configured(&self) -> MutexGuard<'_, Configured> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits that something ended.
    fn settle(&self) {
        self.settled.send_replace(());
    }

    /// The list as one frame. Waits only where an environment has nothing to show and something on
    /// its way, and then for its `wait` at most.
    async fn list(&self) -> Arc<[u8]> {
        let first = self.keyring().list(&Clocks::read());
        let List::Wait(limit) = first else { return self.ready(first) };
        let begun = Instant::now();
        let mut settled = self.settled.subscribe();
        loop {
            self.due.notify_one();
            let answer = self.keyring().list(&Clocks::read());
            if let List::Ready(_) = answer {
                return self.ready(answer);
            }
            let left = limit.saturating_sub(begun.elapsed());
            if tokio::time::timeout(left, settled.changed()).await.is_err() {
                return self.ready(answer);
            }
        }
    }

    fn ready(&self, answer: List) -> Arc<[u8]> {
        match answer {
            List::Ready(frame) => frame,
            List::Wait(_) => self.keyring().list_now(&Clocks::read()),
        }
    }

    /// Asks for renewals and waits until each has ended.
    async fn renew(
        &self,
        names: &[String],
        new_key: bool,
    ) -> Result<Vec<status::Renewed>, status::Trouble> {
        let mut settled = self.settled.subscribe();
        let tickets = self.keyring().want(names, new_key)?;
        self.due.notify_one();
        let mut renewed = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            renewed.push(loop {
                if let Some(outcome) = self.keyring().outcome(&ticket, &Clocks::read()) {
                    break outcome;
                }
                // The sender lives as long as the agent.
                let _ = settled.changed().await;
            });
        }
        Ok(renewed)
    }

    fn snapshot(&self) -> status::Snapshot {
        let (environments, left_out) = self.keyring().snapshot(&Clocks::read());
        let configured = self.configured();
        let mut warnings = configured.warnings.clone();
        warnings.extend(self.damage.get().into_iter().flatten().cloned());
        if left_out > 0 {
            warnings.push(format!("the list is too long for ssh: {left_out} identities left out"));
        }
        status::Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agent: status::Agent {
                pid: std::process::id(),
                socket: self.facts.socket.clone(),
                started: clock::shown(self.started),
                locked: false,
                memory: "wiped when dropped; not locked into memory".to_owned(),
            },
            config: status::Config {
                path: self.facts.places.config.clone(),
                loaded: clock::shown(configured.loaded),
                error: configured.error.clone(),
            },
            environments,
            warnings,
        }
    }
}
