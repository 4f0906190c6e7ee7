//! The harness: a home directory of its own for each test, the agent under test in it, a private
//! sshd to log in to, a clock that can be moved, and a client that speaks raw agent protocol.
//!
//! Everything is judged from outside, by the real ssh, sshd, ssh-add and ssh-keygen. Nothing waits
//! a fixed time: [`eventually`] polls, and gives up loudly.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) mod agent;
pub(crate) mod certificate;
pub(crate) mod clock;
pub(crate) mod home;
pub(crate) mod outcome;
pub(crate) mod private_key;
pub(crate) mod sshd;
pub(crate) mod sshsig;
pub(crate) mod wire;

pub(crate) use agent::Agent;
pub(crate) use certificate::Certificate;
pub(crate) use home::Home;
pub(crate) use outcome::Outcome;
pub(crate) use sshd::Sshd;

/// How long anything may take on a busy machine before a test calls it broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The five kinds of key both `ssh-keygen` and a configuration know: (configuration's name,
/// arguments of `ssh-keygen`, what sshd's log calls a certificate of it).
pub(crate) const KEY_KINDS: [(&str, &[&str], &str); 5] = [
    ("ed25519", &["-t", "ed25519"], "ED25519-CERT"),
    ("ecdsa-p256", &["-t", "ecdsa", "-b", "256"], "ECDSA-CERT"),
    ("ecdsa-p384", &["-t", "ecdsa", "-b", "384"], "ECDSA-CERT"),
    ("ecdsa-p521", &["-t", "ecdsa", "-b", "521"], "ECDSA-CERT"),
    ("rsa-3072", &["-t", "rsa", "-b", "3072"], "RSA-CERT"),
];

/// Ends the test here as skipped, or fails it where everything is wanted (`EVERCERT_TEST_ALL=1`).
macro_rules! skip {
    ($($why:tt)*) => {{
        $crate::support::skipped(&format!($($why)*));
        return;
    }};
}
pub(crate) use skip;

/// Skips the test unless every named program is installed.
macro_rules! needs {
    ($($program:expr),+ $(,)?) => {
        $(if $crate::support::program($program).is_none() {
            $crate::support::skip!("{} is not installed", $program);
        })+
    };
}
pub(crate) use needs;

/// Skips the test unless it runs as root.
macro_rules! needs_root {
    () => {
        if !$crate::support::is_root() {
            $crate::support::skip!("not root");
        }
    };
}
pub(crate) use needs_root;

pub(crate) fn skipped(why: &str) {
    assert!(
        std::env::var_os("EVERCERT_TEST_ALL").is_none_or(|all| all != "1"),
        "would be skipped, but EVERCERT_TEST_ALL=1: {why}"
    );
    println!("skipped: {why}");
}

/// Where a program is: on the PATH, or where system programs are kept.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    search_path()
        .split(':')
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
}

/// The PATH for every program a test starts. A normal user's may lack the directories of sshd.
pub(crate) fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The login name of whoever runs the tests.
pub(crate) fn login_name() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .expect("the user database can be read")
        .expect("whoever runs the tests has an account")
        .name
}

/// Asks until there is an answer; fails the test when there is none in [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

/// Asks until there is an answer; fails the test when there is none in `limit`.
pub(crate) fn within<T>(limit: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within_or(limit, ask).unwrap_or_else(|| panic!("waited {limit:?} in vain for: {what}"))
}

/// Asks until there is an answer; `None` when there is none in `limit`.
pub(crate) fn within_or<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let answer = ask();
        if answer.is_some() || start.elapsed() > limit {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a process id"))
        .expect("a process id is not 0");
    rustix::process::kill_process(pid, signal).expect("the process is there and ours");
}

/// The OpenSSH release installed, as (major, minor).
pub(crate) fn openssh_version() -> (u32, u32) {
    let said = Outcome::of(std::process::Command::new("ssh").arg("-V")).stderr;
    let version = said.trim_start_matches("OpenSSH_");
    let mut numbers = version
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
