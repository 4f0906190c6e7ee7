//! The runtime directory: ours alone, one agent in it, sockets that replace nothing of value.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::report::Failure;

/// `sun_path` without its closing zero.
const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Makes the directory where it is missing, and refuses one that others could reach into.
pub(super) fn prepare(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .or_else(|error| {
            // A symlink to nowhere, or a file: told below, by what it is.
            if path.symlink_metadata().is_ok() { Ok(()) } else { Err(error) }
        })
        .map_err(|error| {
            Failure::new(format!("cannot make the runtime directory {shown}: {error}"))
        })?;
    let metadata = path
        .symlink_metadata()
        .map_err(|error| Failure::new(format!("cannot look at {shown}: {error}")))?;
    let refuse = |why: &str| Failure::new(format!("the runtime directory {shown} {why}"));
    if metadata.is_symlink() {
        return Err(refuse("is a symbolic link")
            .hint("remove it, or name another directory in EVERCERT_RUNTIME_DIR"));
    }
    if !metadata.is_dir() {
        return Err(refuse("is not a directory"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse(&format!("belongs to somebody else (uid {})", metadata.uid()))
            .hint("name another directory in EVERCERT_RUNTIME_DIR"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(&format!("is open to others (mode {mode:04o})"))
            .hint(format!("close it: chmod 700 {shown}")));
    }
    Ok(())
}

/// The right to be the one agent of this runtime directory, for as long as this lives.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(super) fn take(path: &Path) -> Result<Self, Failure> {
        let broken =
            |error: io::Error| Failure::new(format!("cannot lock {}: {error}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(broken)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(running(&mut file)),
            Err(TryLockError::Error(error)) => return Err(broken(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(broken)?;
        Ok(Self { _file: file })
    }
}

fn running(file: &mut File) -> Failure {
    let mut pid = String::new();
    let told = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
    let pid = if told { format!(" (pid {})", pid.trim()) } else { String::new() };
    Failure::new(format!("an agent is running already{pid}"))
        .hint("use it: eval \"$(evercert env)\"")
}

/// A socket of ours, removed when this is dropped.
pub(super) struct Bound {
    path: PathBuf,
    inode: u64,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Not ours any more where somebody put another in its place.
        if self.path.symlink_metadata().is_ok_and(|now| now.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A path that fits into a socket address.
pub(super) fn check_length(path: &Path) -> Result<(), Failure> {
    let length = path.as_os_str().len();
    if length <= MAX_SOCKET_PATH {
        return Ok(());
    }
    Err(Failure::new(format!(
        "socket path {} is {length} bytes long: this system allows {MAX_SOCKET_PATH}",
        path.display()
    ))
    .hint("choose a shorter one with --socket or EVERCERT_RUNTIME_DIR"))
}

/// A folder where others may write, and no sticky bit keeps them from what is ours, is no place for
/// a socket.
pub(super) fn check_folder(socket: &Path) -> Result<(), Failure> {
    let Some(folder) = socket.parent() else { return Ok(()) };
    match folder.metadata() {
        Ok(metadata) if metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0 => {
            Err(Failure::new(format!(
                "others may write to {}, where the socket is to be",
                folder.display()
            ))
            .hint("choose another place with --socket"))
        }
        _ => Ok(()),
    }
}

/// Listens on `path`, for us alone. A socket that nobody answers is replaced, anything else is left.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, Bound), Failure> {
    let failed =
        |error: io::Error| Failure::new(format!("cannot listen on {}: {error}", path.display()));
    make_way(path)?;
    // Closed to others from its first moment: this process began with umask 077.
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    let inode = path.symlink_metadata().map_err(failed)?.ino();
    listener.set_nonblocking(true).map_err(failed)?;
    Ok((listener, Bound { path: path.to_owned(), inode }))
}

fn make_way(path: &Path) -> Result<(), Failure> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
    let in_the_way = |what: &str| {
        Failure::new(format!("{} {what}", path.display()))
            .hint("move it away, or choose another path with --socket")
    };
    if !metadata.file_type().is_socket() {
        return Err(in_the_way("exists and is not a socket"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(in_the_way("is in use by another program")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| {
                Failure::new(format!("cannot remove the old socket {}: {error}", path.display()))
            }),
        Err(error) => Err(in_the_way(&format!("is a socket that cannot be tried: {error}"))),
    }
}
