//! Where things live: configuration, CA, ledger, sockets.

use std::env;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
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
    /// Resolves everything. A configuration that was named, on the command line or in
    /// `EVERCERT_CONFIG`, wins over the default place. `None` without a home directory.
    #[must_use]
    pub fn resolve(config: Option<&Path>) -> Option<Self> {
        let project = ProjectDirs::from("", "", "evercert")?;
        let state = match project.state_dir() {
            Some(state) => state.to_owned(),
            // macOS knows no state directory, and its data directory has a blank in its name.
            None => home()?.join(".local/state/evercert"),
        };
        let config = config.map(Path::to_owned).or_else(|| named_in("EVERCERT_CONFIG"));
        Some(Self {
            config_is_default: config.is_none(),
            config: match config {
                Some(path) => std::path::absolute(path).ok()?,
                None => project.config_dir().join("config.toml"),
            },
            first_ca: project.data_dir().join("ca/local"),
            ledger: state.join("ledger"),
            runtime: match (named_in("EVERCERT_RUNTIME_DIR"), project.runtime_dir()) {
                // A slash at the end would hide a symbolic link.
                (Some(named), _) => std::path::absolute(named).ok()?.components().collect(),
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

/// A path in the environment; an empty one is none.
fn named_in(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The user's home directory.
#[must_use]
pub fn home() -> Option<PathBuf> {
    BaseDirs::new().map(|dirs| dirs.home_dir().to_owned())
}

/// Makes a folder and those above it, closed to others, and on the disk before this returns.
///
/// # Errors
/// What the system says.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let missing = folder.ancestors().take_while(|above| above.symlink_metadata().is_err());
    let missing: Vec<&Path> = missing.collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    missing.iter().try_for_each(|made| sync_parent(made))
}

/// Writes a new file that only its owner may read: all of it or nothing, never over one that is
/// there, and on the disk before this returns.
///
/// # Errors
/// What the system says; `AlreadyExists` where something is in its place.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new().prefix(DRAFT).tempfile_in(folder)?;
    draft.write_all(content)?;
    draft.as_file().sync_all()?;
    draft.persist_noclobber(path)?;
    sync_parent(path)
}

/// How the name of a file begins that is being written. One that a crash leaves behind is of no use
/// to anyone, and in nobody's way.
const DRAFT: &str = ".evercert-";

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
