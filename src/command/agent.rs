//! `evercert agent`: configuration, lock, sockets, and then the daemon.

use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::runtime_directory::{self, Lock, bind};
use super::{check_utf8, config, env, first_run, places};
use crate::agent::{self, Event, Facts, Loaded, Sockets};
use crate::cli::{Agent, Shell};
use crate::ledger;
use crate::profile::Requester;
use crate::report::{self, Exit, Failure};

pub(super) fn run(arguments: &Agent) -> Result<Exit, Failure> {
    let _log = report::log();
    let places = places(arguments.config.config.as_deref())?;
    let given = systemd_socket()?;
    let control = places.control_socket();
    let socket = match (&given, &arguments.socket) {
        (Some((_, path)), _) => path.clone(),
        (None, Some(path)) => absolute(path)?,
        (None, None) => places.agent_socket(),
    };
    check_utf8(&socket)?;
    runtime_directory::check_length(&socket)?;
    runtime_directory::check_length(&control)?;
    if arguments.socket.is_some() {
        runtime_directory::check_folder(&socket)?;
    }

    // A configuration that cannot be used leaves nothing behind.
    let is_first_run = places.config_is_default && is_missing(&places.config);
    let configured = if is_first_run { None } else { Some(config::open(&places, &socket)?) };

    runtime_directory::prepare(&places.runtime)?;
    let _lock = Lock::take(&places.lock())?;
    let requester = requester()?;
    let loaded = match configured {
        Some(loaded) => loaded,
        None => {
            first_run::set_up(&places, &requester.user)?;
            config::open(&places, &socket)?
        }
    };
    let (control, _bound_control) = bind(&control)?;
    let (listener, _bound) = match given {
        Some((listener, _)) => (listener, None),
        None => bind(&socket).map(|(listener, bound)| (listener, Some(bound)))?,
    };
    let facts = Facts { places, socket, requester };
    serve(facts, listener, control, loaded)
}

/// One thread for all connections; slow signatures and disk go to others, which end when idle.
fn serve(
    facts: Facts,
    listener: UnixListener,
    control: UnixListener,
    loaded: Loaded,
) -> Result<Exit, Failure> {
    let cannot = |error: std::io::Error| Failure::new(format!("cannot start: {error}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    runtime
        .block_on(async {
            let sockets = Sockets {
                agent: tokio::net::UnixListener::from_std(listener)?,
                control: tokio::net::UnixListener::from_std(control)?,
            };
            let mut signals = Signals::new()?;
            report::print(&env::export(&facts.socket, Shell::Sh));
            tell_systemd(NotifyState::Ready);
            let ledger = facts.places.ledger.clone();
            let check_records = move || ledger::check(&ledger);
            agent::run(facts, sockets, loaded, check_records, async || signals.next().await).await
        })
        .map_err(cannot)?;
    // What still runs on another thread is not waited for.
    runtime.shutdown_background();
    Ok(Exit::Done)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Event {
        let event = tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.hangup.recv() => Event::Reload,
            _ = self.user.recv() => Event::Drop,
        };
        if event == Event::Stop {
            tell_systemd(NotifyState::Stopping);
        }
        event
    }
}

/// Nobody listens unless systemd started us; a manager that cannot be told is no reason to stop.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("cannot tell the service manager: {error}");
    }
}

/// The listening socket that systemd passed on (sd_listen_fds(3)), and its path.
fn systemd_socket() -> Result<Option<(UnixListener, PathBuf)>, Failure> {
    // Variables that were meant for another process are no business of ours.
    if std::env::var("LISTEN_PID").ok() != Some(std::process::id().to_string()) {
        return Ok(None);
    }
    let cannot = |why: &str| {
        Failure::new(format!("the socket passed by the service manager (LISTEN_FDS) {why}"))
    };
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => return Ok(None),
        1 => {}
        several => return Err(cannot(&format!("is one of {several}: pass a single one"))),
    }
    let listener = passed
        .take_unix_listener(0)
        .map_err(|error| cannot(&format!("is not a Unix socket: {error}")))?
        .ok_or_else(|| cannot("is missing"))?;
    let address = listener
        .set_nonblocking(true)
        .and_then(|()| listener.local_addr())
        .map_err(|error| cannot(&format!("is unusable: {error}")))?;
    let path = address.as_pathname().ok_or_else(|| cannot("has no path"))?;
    Ok(Some((listener, path.to_owned())))
}

/// Nothing is there, not even a link that leads nowhere.
fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::new(format!("socket path {}: {error}", path.display())))
}

fn requester() -> Result<Requester, Failure> {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map(|user| user.name)
        .or_else(|| std::env::var("USER").ok())
        .ok_or_else(|| Failure::new("you have no login name").hint("set USER"))?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(Requester { user, host })
}
