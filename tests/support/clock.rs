//! A wall clock that can be moved while programs look at it.
//!
//! libfaketime, preloaded into the agent and into sshd, reads the step from one file. It moves the
//! wall clock only, as waking from suspend and `settimeofday` do; the monotonic clocks go on.

use std::path::PathBuf;
use std::process::Command;

pub(crate) struct Clock {
    library: PathBuf,
    file: tempfile::NamedTempFile,
}

impl Clock {
    /// A clock that is right, for now; `None` where libfaketime is not installed.
    pub(crate) fn new() -> Option<Self> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let clock = Self { library: library()?, file };
        clock.step(0);
        Some(clock)
    }

    /// Puts the clock this many seconds ahead of (or behind) the true time.
    pub(crate) fn step(&self, seconds: i64) {
        let new = self.file.path().with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).expect("a file");
        std::fs::rename(&new, self.file.path()).expect("a file");
    }

    /// Makes a program look at this clock.
    pub(crate) fn govern(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", self.file.path())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_NO_CACHE", "1");
    }
}

fn library() -> Option<PathBuf> {
    let below_lib = super::home::entries("/usr/lib".as_ref());
    let places = std::iter::once(PathBuf::from("/usr/lib")).chain(below_lib);
    places.map(|place| place.join("faketime/libfaketime.so.1")).find(|path| path.is_file())
}
