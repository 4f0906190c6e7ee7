//! Under a service manager: it takes the socket it is given, says when it is ready, and the units
//! that come with it are in order.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Stdio;

use crate::support;
use crate::support::home::entries;
use crate::support::wire::{REQUEST_IDENTITIES, Wire};
use crate::support::{Agent, Home, Outcome, eventually, needs};
use rustix::process::Signal;

#[test]
fn it_serves_the_socket_it_is_given_and_leaves_it_in_place() {
    needs!("systemd-socket-activate");
    let home = Home::with_environment("");
    let socket = home.join("given.sock");
    let log = home.join("activate.err");
    let mut child = home
        .command("systemd-socket-activate")
        .arg("-l")
        .arg(&socket)
        .args([env!("CARGO_BIN_EXE_evercert"), "agent"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    eventually("the given socket", || socket.exists().then_some(()));

    // The first client is what starts the agent; it need not know.
    let list = Wire::connect(&socket).list();
    assert_eq!(list.len(), 2, "{}", fs::read_to_string(&log).unwrap());
    let status = home.run(&["status", "--json"]).succeeds().stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["agent"]["socket"], socket.to_str().unwrap());
    let line = home.run(&["env", "--shell", "sh"]).succeeds().stdout;
    assert!(line.contains(socket.to_str().unwrap()), "{line}");
    assert!(!home.socket().exists(), "it made a second socket");

    let pid = u32::try_from(status["agent"]["pid"].as_u64().unwrap()).unwrap();
    support::signal(pid, Signal::TERM);
    let ended = eventually("the agent's end", || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
    assert!(socket.exists(), "it removed a socket that is not its own");
}

#[test]
fn two_sockets_are_one_too_many() {
    needs!("systemd-socket-activate");
    let home = Home::with_environment("");
    let sockets = [home.join("a.sock"), home.join("b.sock")];
    let log = home.join("activate.err");
    let mut child = home
        .command("systemd-socket-activate")
        .args(sockets.iter().flat_map(|socket| ["-l".as_ref(), socket.as_os_str()]))
        .args([env!("CARGO_BIN_EXE_evercert"), "agent"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    // The first client is what starts the agent.
    let client = eventually("the given socket", || UnixStream::connect(&sockets[0]).ok());
    let ended = support::within_or(support::PATIENCE, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    drop(client);
    let said = fs::read_to_string(&log).unwrap();
    assert_eq!(ended.expect("it ends").code(), Some(1), "{said}");
    assert!(said.contains("evercert: error: ") && said.contains("LISTEN_FDS"), "{said}");
    assert!(home.records().is_empty(), "a certificate was issued");
}

#[test]
fn variables_for_another_process_are_not_ours() {
    for process in [None, Some(""), Some("1")] {
        let home = Home::with_environment("");
        let agent = Agent::start_with(&home, |command| {
            command.env("LISTEN_FDS", "1");
            process.map(|id| command.env("LISTEN_PID", id));
        });
        assert_eq!(agent.socket(), home.socket());
        agent.certificate("work");
    }
}

#[test]
fn it_says_when_it_is_ready() {
    let home = Home::with_environment("");
    let notify = home.join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let mut agent = Agent::launch(&home, |command| {
        command.env("NOTIFY_SOCKET", &notify);
    });
    receive(&manager, "READY=1");
    // Ready means that a client may come, and finds what it came for.
    assert_ne!(agent.wire().ask(&[REQUEST_IDENTITIES]), [5]);
    agent.certificate("work");

    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn a_wrong_configuration_is_never_called_ready() {
    let home = Home::with_config("[environments.work]\n");
    let notify = home.join("notify");
    let manager = UnixDatagram::bind(&notify).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut command = home.evercert(&["agent"]);
    command.env("NOTIFY_SOCKET", &notify);
    Outcome::of(&mut command).exits(1);
    let mut buffer = [0; 4096];
    while let Ok(length) = manager.recv(&mut buffer) {
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(!said.contains("READY=1"), "{said}");
    }
}

#[test]
fn the_units_are_in_order() {
    needs!("systemd-analyze");
    let home = Home::new();
    let program = home.join(".cargo/bin/evercert");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_evercert"), program).unwrap();
    let units = entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd"));
    assert!(units.len() >= 2, "{units:?}");
    let mut command = home.command("systemd-analyze");
    command.env("XDG_RUNTIME_DIR", home.path());
    command.args(["verify", "--user", "--man=no"]).args(&units);
    let said = Outcome::of(&mut command).succeeds();
    let about_ours: Vec<&str> =
        said.stderr.lines().filter(|line| line.contains("evercert")).collect();
    assert!(about_ours.is_empty(), "{said}");
}

fn receive(manager: &UnixDatagram, wanted: &str) {
    let mut buffer = [0; 4096];
    eventually(wanted, || {
        let length = manager.recv(&mut buffer).expect("a message to the service manager");
        let said = String::from_utf8_lossy(&buffer[..length]);
        said.lines().any(|line| line == wanted).then_some(())
    });
}
