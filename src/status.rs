//! What the daemon tells the command line: questions, answers and the [`Snapshot`], as JSON lines
//! on the control socket. Plain data.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest question or answer, in bytes.
pub const MAX_LINE: u64 = 4 * 1024 * 1024;

/// What the command line asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// How is everything?
    Status,
    /// Renew now, and say how it went.
    Renew {
        /// Their names; none means all.
        environments: Vec<String>,
        /// With a fresh session key.
        new_key: bool,
    },
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Snapshot>),
    /// To [`Question::Renew`]: one for each environment that was asked for.
    Renewed(Vec<Renewed>),
    /// The question cannot be answered.
    Refused(Trouble),
}

/// How one renewal went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The environment.
    pub name: String,
    /// The new certificate, or what went wrong.
    pub outcome: Result<Certificate, Trouble>,
}

/// Something went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What failed, on which named thing.
    pub message: String,
    /// The next thing to do.
    pub hint: Option<String>,
}

/// The daemon's state as told to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The daemon's version, not the asking program's.
    pub version: String,
    /// The process.
    pub agent: Agent,
    /// The configuration in force.
    pub config: Config,
    /// In the order of the configuration.
    pub environments: Vec<Environment>,
    /// What is wrong and harms nobody yet.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// The process that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Process id.
    pub pid: u32,
    /// What `SSH_AUTH_SOCK` should be.
    pub socket: PathBuf,
    /// When it started.
    pub started: Timestamp,
    /// Whether `ssh-add -x` locked it.
    pub locked: bool,
    /// How private keys are kept.
    pub memory: String,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// When it was read.
    pub loaded: Timestamp,
    /// Why the file as it is now was refused.
    pub error: Option<String>,
}

/// One environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// In one word.
    pub state: State,
    /// Who signs.
    pub ca: Ca,
    /// The session key; none while it is being made or was dropped.
    pub key: Option<Key>,
    /// The valid certificate.
    pub certificate: Option<Certificate>,
    /// When the next attempt is planned.
    pub next_renewal: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<LastError>,
}

/// An environment in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A valid certificate, and nothing failed.
    Ok,
    /// A certificate is on its way.
    Renewing,
    /// The last renewal failed.
    Degraded,
    /// The certificate ran out and no new one came.
    Expired,
    /// Its keys were dropped; `renew` brings it back.
    Paused,
}

impl State {
    /// As JSON spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Renewing => "renewing",
            Self::Degraded => "degraded",
            Self::Expired => "expired",
            Self::Paused => "paused",
        }
    }
}

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ca {
    /// As the configuration spells it.
    pub kind: String,
    /// As in a `.pub` file.
    pub public_key: String,
    /// `SHA256:` and base64.
    pub fingerprint: String,
}

/// A session key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// As on the wire, `ssh-ed25519` for example.
    #[serde(rename = "type")]
    pub key_type: String,
    /// `SHA256:` and base64.
    pub fingerprint: String,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Decimal.
    pub serial: String,
    /// As sshd logs it.
    pub key_id: String,
    /// Never empty.
    pub principals: Vec<String>,
    /// First second of validity.
    pub valid_after: Timestamp,
    /// First second after it.
    pub valid_before: Timestamp,
}

/// The last failure of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// What failed, and what to do.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// The first failure since the last success.
    pub since: Timestamp,
    /// Nothing will change until somebody changes something.
    #[serde(rename = "final")]
    pub is_final: bool,
}

impl Snapshot {
    /// Whether somebody should look: an environment without a valid certificate, a failed last
    /// renewal, or a refused configuration.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.config.error.is_some()
            || self.environments.iter().any(|environment| {
                environment.certificate.is_none() || environment.last_error.is_some()
            })
    }
}
