//! Where things live: configuration, CA, ledger, sockets.

use std::env;
use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};

/// The folders and files of one user, resolved once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The configuration file in force.
    pub config: PathBuf,
    /// Whether `config` is the default place, where a first run may write one.
    pub config_is_default: bool,
    /// The CA of the first run.
    pub first_ca: PathBuf,
    /// One folder for each CA, one file for each serial.
    pub ledger: PathBuf,
    /// Sockets and lock.
    pub runtime: PathBuf,
}

impl Places {
    /// Resolves everything; a configuration that was named wins over the default place. `None`
    /// without a home directory.
    #[must_use]
    pub fn resolve(config: Option<&Path>) -> Option<Self> {
        let project = ProjectDirs::from("", "", "evercert")?;
        let state = match project.state_dir() {
            Some(state) => state.to_owned(),
            // macOS knows no state directory, and its data directory has a blank in its name.
            None => home()?.join(".local/state/evercert"),
        };
        let named_runtime = env::var_os("EVERCERT_RUNTIME_DIR").filter(|dir| !dir.is_empty());
        Some(Self {
            config: match config {
                Some(path) => std::path::absolute(path).ok()?,
                None => project.config_dir().join("config.toml"),
            },
            config_is_default: config.is_none(),
            first_ca: project.data_dir().join("ca/local"),
            ledger: state.join("ledger"),
            runtime: match (named_runtime, project.runtime_dir()) {
                (Some(named), _) => std::path::absolute(named).ok()?,
                (None, Some(runtime)) => runtime.to_owned(),
                (None, None) => state.join("run"),
            },
        })
    }

    /// The agent's socket, unless another was asked for.
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.runtime.join("agent.sock")
    }

    /// The socket of `status` and `renew`; never the agent's, which may be forwarded.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// Decides who is the one agent of this runtime directory.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.runtime.join("agent.lock")
    }
}

/// The user's home directory.
#[must_use]
pub fn home() -> Option<PathBuf> {
    BaseDirs::new().map(|dirs| dirs.home_dir().to_owned())
}
