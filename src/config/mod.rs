//! What the user wrote, made trustworthy. Raw settings live in `raw`; what stands here has been
//! checked, and everything after it trusts the types.

mod check;
mod duration;
mod first;
pub mod places;
mod raw;

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use duration::show as show_duration;
pub use first::first;

use rustix::fs::OFlags;

use crate::ssh::certificate::Options;
use crate::ssh::key::PublicKey;

/// Thousands of environments fit.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A whole configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One environment each.
    pub environments: Vec<Environment>,
    /// Allowed, and yet worth a word: each names its place.
    pub warnings: Vec<String>,
}

/// A named group of hosts with its key, its CA and what its certificates say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `[A-Za-z0-9._-]{1,64}`, first a letter or digit.
    pub name: String,
    /// Never empty, each of the strict alphabet.
    pub principals: Vec<String>,
    /// From now to the end of a new certificate.
    pub lifetime: Duration,
    /// Where the session key comes from.
    pub key: Key,
    /// Patterns of the hosts that this environment is for. Checked, not used yet.
    pub hosts: Vec<String>,
    /// What sshd may allow.
    pub extensions: Options,
    /// What sshd must enforce.
    pub critical_options: Options,
    /// Template: `{user}`, `{host}`, `{environment}`, `{serial}`.
    pub key_id: String,
    /// Renew so long after issue, instead of when a third of the lifetime is left.
    pub renew_at: Option<Duration>,
    /// How long a listing may wait for a certificate that is on its way.
    pub wait: Duration,
    /// Who signs.
    pub ca: Ca,
}

/// Where a session key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Made when the agent starts, gone when it ends.
    InMemory(KeyKind),
    /// An unencrypted OpenSSH private key file.
    File(PathBuf),
}

/// The kinds of key that evercert makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named by its Display")]
pub enum KeyKind {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Rsa3072,
    Rsa4096,
}

impl KeyKind {
    /// Every kind, the default first.
    pub const ALL: [Self; 6] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// As the configuration spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::EcdsaP521 => "ecdsa-p521",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who signs an environment's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ca {
    /// A private key file on this machine.
    File {
        /// Absolute.
        path: PathBuf,
        /// The key that must be in it, where that is pinned.
        public_key: Option<PublicKey>,
    },
    /// A key in another agent.
    SshAgent {
        /// Where that agent listens: absolute.
        socket: PathBuf,
        /// Which of its keys.
        public_key: PublicKey,
    },
}

impl Ca {
    /// As the configuration spells it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::SshAgent { .. } => "ssh-agent",
        }
    }
}

/// Why a configuration cannot be used: one line that names the file and the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    message: String,
    /// The file does not exist at all.
    pub missing: bool,
}

/// Reads and checks a configuration file. Relative paths in it are relative to its folder.
///
/// # Errors
/// [`ConfigError`] with file, line, column and what was expected.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = read(path).map_err(|error| ConfigError {
        message: match error.kind() {
            ErrorKind::NotFound => format!("configuration {} does not exist", path.display()),
            _ => format!("cannot read configuration {}: {error}", path.display()),
        },
        missing: error.kind() == ErrorKind::NotFound,
    })?;
    parse(&text, path)
}

/// The whole of a file, of which there is an end.
fn read(path: &Path) -> std::io::Result<String> {
    // A pipe in its place is refused, not waited for.
    let waits_for_nobody = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(waits_for_nobody).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("it is longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// Checks the text of a configuration that stands, or is going to stand, at `path`.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    raw::read(text)
        .and_then(|raw| check::check(raw, path.parent().unwrap_or(Path::new("."))))
        .map_err(|problem| ConfigError { message: problem.place(text, path), missing: false })
        .map(|(environments, warnings)| Config {
            environments,
            warnings: warnings.iter().map(|warning| warning.place(text, path)).collect(),
        })
}

/// Something wrong at a place in the text.
struct Problem {
    message: String,
    at: Option<usize>,
}

impl Problem {
    /// `file:line:column: message`, counted from 1, columns in characters.
    fn place(&self, text: &str, path: &Path) -> String {
        let shown = path.display();
        let Some(before) = self.at.and_then(|at| text.get(..at)) else {
            return format!("{shown}: {}", self.message);
        };
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{shown}:{line}:{column}: {}", self.message)
    }
}

/// The known name that `wrong` was probably meant to be.
fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour_and_a_strange_one_does_not() {
        let known = ["lifetime", "principals", "key"];
        assert_eq!(nearest("lifetme", known), Some("lifetime"));
        assert_eq!(nearest("pricipals", known), Some("principals"));
        assert_eq!(nearest("colour", known), None);
    }
}
