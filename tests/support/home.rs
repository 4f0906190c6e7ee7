//! A home directory of a test's own, and commands that know no other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Outcome;

/// A temporary home directory. Its path is short: a socket's must stay below 108 bytes.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("e")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .expect("a temporary directory can be made");
        Self { directory }
    }

    /// A home with this configuration in the usual place.
    pub(crate) fn with_config(text: &str) -> Self {
        let home = Self::new();
        home.write_config(text);
        home
    }

    /// A home with a CA key at [`Home::ca`] and one environment `work`, which `settings` completes.
    pub(crate) fn with_environment(settings: &str) -> Self {
        let home = Self::new();
        home.keygen("ca", &["-t", "ed25519"]);
        home.write_config(&home.environment("work", settings));
        home
    }

    /// The text of an environment signed by the key at [`Home::ca`], for whoever runs the tests.
    pub(crate) fn environment(&self, name: &str, settings: &str) -> String {
        format!(
            "[environments.{name}]\nprincipals = [\"{}\"]\n{settings}\n\
             [environments.{name}.ca]\nkind = \"file\"\npath = \"{}\"\n\n",
            super::login_name(),
            self.ca().display(),
        )
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path().join(relative)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.join(".config/evercert/config.toml")
    }

    /// Where a test keeps the CA key it made itself.
    pub(crate) fn ca(&self) -> PathBuf {
        self.join("ca")
    }

    /// Where the first run keeps the CA key it makes.
    pub(crate) fn first_ca(&self) -> PathBuf {
        self.join(".local/share/evercert/ca/local")
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.join(".local/state/evercert/run")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.runtime().join("agent.sock")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.join(".local/state/evercert/ledger")
    }

    /// Every record of the ledger as (path, bytes). A name with `#` is a record still being written.
    pub(crate) fn records(&self) -> Vec<(PathBuf, Vec<u8>)> {
        entries(&self.ledger())
            .iter()
            .flat_map(|authority| entries(authority))
            .filter(|path| !path.to_string_lossy().contains('#'))
            .map(|path| {
                let bytes = fs::read(&path).expect("a record can be read");
                (path, bytes)
            })
            .collect()
    }

    /// Makes issuing impossible, for root too: the ledger is no directory any more.
    pub(crate) fn break_ledger(&self) {
        let ledger = self.ledger();
        fs::create_dir_all(&ledger).expect("a directory");
        fs::rename(&ledger, ledger.with_extension("away")).expect("our own directory");
        fs::write(&ledger, "").expect("a file");
    }

    /// Undoes [`Home::break_ledger`].
    pub(crate) fn mend_ledger(&self) {
        fs::remove_file(self.ledger()).expect("our own file");
        fs::rename(self.ledger().with_extension("away"), self.ledger()).expect("our own directory");
    }

    /// Writes the configuration in one step, as an editor would.
    pub(crate) fn write_config(&self, text: &str) {
        let path = self.config();
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        let new = path.with_extension("new");
        fs::write(&new, text).expect("the configuration can be written");
        fs::rename(&new, &path).expect("the configuration can be put in place");
    }

    /// Makes a key pair without passphrase by `ssh-keygen`; the comment is the file's name.
    pub(crate) fn keygen(&self, name: &str, kind: &[&str]) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        Outcome::of(
            self.command("ssh-keygen")
                .args(kind)
                .args(["-q", "-N", "", "-C", name, "-f"])
                .arg(&path),
        )
        .succeeds();
        path
    }

    /// Puts a named pipe, which nobody will write to, in the place of whatever is there.
    pub(crate) fn make_pipe(&self, path: &Path) {
        let _ = fs::remove_file(path);
        Outcome::of(self.command("mkfifo").args(["-m", "600"]).arg(path)).succeeds();
    }

    /// Signs `subject`.pub with the key file `ca` by `ssh-keygen`; gives the certificate's path.
    pub(crate) fn certify(&self, ca: &Path, subject: &Path, arguments: &[&str]) -> PathBuf {
        let public = with_suffix(subject, ".pub");
        Outcome::of(
            self.command("ssh-keygen")
                .args(["-q", "-I", "made by hand"])
                .args(arguments)
                .arg("-s")
                .arg(ca)
                .arg(&public),
        )
        .succeeds();
        with_suffix(subject, "-cert.pub")
    }

    /// A program that lives in this home and sees nothing of the tester's own settings.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let name = super::login_name();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", super::search_path())
            .env("HOME", self.path())
            .env("USER", &name)
            .env("LOGNAME", &name)
            .env("LC_ALL", "C")
            .current_dir(self.path());
        command
    }

    /// The program under test.
    pub(crate) fn evercert(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_evercert"));
        command.args(arguments);
        command
    }

    /// Runs the program under test to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.evercert(arguments))
    }
}

/// A path with something appended to its last part.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o7777
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}

/// What is in a directory, sorted; nothing if there is none.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}
