//! Where stderr goes is not the agent's affair: a pipe that nobody reads, a disk that is full. It
//! costs lines of the log, never an answer.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::support::wire::public_blob;
use crate::support::{Agent, Home, needs, skip};
use rustix::process::Signal;

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_environment("");
    // The reading end stays open for as long as the agent, and nobody looks at it.
    let mut agent = Agent::start_with(&home, |command| {
        command.stderr(Stdio::piped());
    });
    let key = home.keygen("id", &["-t", "rsa", "-b", "2048"]);
    agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    let blob = public_blob(&home.join("id.pub"));
    let mut wire = agent.wire();
    // A line each: far more than a pipe holds, and than anybody would keep for it.
    for _ in 0..10_000 {
        assert!(wire.sign(&blob, b"data", 0).is_none(), "signs with SHA-1");
    }
    assert!(wire.sign(&blob, b"data", 4).is_some());
    assert_eq!(agent.list().len(), 3);
    home.run(&["renew"]).succeeds();
    home.run(&["status"]).succeeds();

    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0));
    assert!(!home.socket().exists());
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    if full().is_none() {
        skip!("there is no /dev/full");
    }
    let home = Home::new();
    let mut agent = Agent::start_with(&home, |command| {
        command.stderr(full().unwrap());
    });
    assert!(home.config().is_file() && home.first_ca().is_file(), "the first run is not complete");
    agent.certificate("local");
    home.run(&["config", "check"]).succeeds();
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn an_error_that_cannot_be_told_has_its_exit_status() {
    if full().is_none() {
        skip!("there is no /dev/full");
    }
    let home = Home::with_config("[environments.work]\nlifetme = \"1h\"\n");
    for (arguments, status) in
        [(&["config", "check"][..], 1), (&["agent"], 1), (&["status"], 3), (&["renew"], 3)]
    {
        let mut command: Command = home.evercert(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full().unwrap());
        assert_eq!(command.status().unwrap().code(), Some(status), "{arguments:?}");
    }
}

/// A file that takes nothing.
fn full() -> Option<File> {
    File::options().write(true).open("/dev/full").ok()
}
