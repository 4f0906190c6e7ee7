//! Where the sockets lie: only in a directory that is ours and closed, and never over anything that
//! is not a dead socket of our own.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support;
use crate::support::home::{mode, set_mode};
use crate::support::{Agent, Home, Outcome, needs_root};

#[test]
fn a_directory_open_to_others_is_refused() {
    for open in [0o755, 0o711, 0o770, 0o707, 0o777, 0o1777] {
        let home = Home::with_environment("");
        let place = directory(&home);
        set_mode(&place, open);
        refused(&home, &place);
        assert_eq!(mode(&place), open, "its mode was changed");
        assert_eq!(support::home::entries(&place), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_symlink_is_refused() {
    let home = Home::with_environment("");
    let target = home.join("target");
    fs::create_dir(&target).unwrap();
    set_mode(&target, 0o700);
    let place = home.join("run");
    symlink(&target, &place).unwrap();
    refused(&home, &place);
    // Nor does a slash behind it make it a directory.
    let told = with_runtime_directory(&home, &place.join("")).exits(1);
    assert!(told.stderr.contains(place.to_str().unwrap()), "{told}");
    assert_eq!(support::home::entries(&target), Vec::<std::path::PathBuf>::new());
}

#[test]
fn somebody_elses_directory_is_refused() {
    needs_root!();
    let home = Home::with_environment("");
    let place = directory(&home);
    std::os::unix::fs::chown(&place, Some(65534), Some(65534)).unwrap();
    refused(&home, &place);
}

#[test]
fn a_file_in_its_place_is_refused() {
    let home = Home::with_environment("");
    let place = home.join("run");
    fs::write(&place, "precious").unwrap();
    refused(&home, &place);
    assert_eq!(fs::read(&place).unwrap(), b"precious");
}

#[test]
fn a_foreign_file_in_the_sockets_place_stays() {
    for make in [
        |path: &Path| fs::write(path, "precious").unwrap(),
        |path: &Path| fs::create_dir(path).unwrap(),
        |path: &Path| symlink("/nowhere", path).unwrap(),
    ] {
        let home = Home::with_environment("");
        let place = directory(&home);
        let socket = place.join("agent.sock");
        make(&socket);
        let kind = fs::symlink_metadata(&socket).unwrap().file_type();
        refused(&home, &socket);
        assert_eq!(fs::symlink_metadata(&socket).unwrap().file_type(), kind, "it was replaced");
    }
}

#[test]
fn a_socket_that_somebody_listens_on_stays() {
    let home = Home::with_environment("");
    let place = directory(&home);
    let socket = place.join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    refused(&home, &socket);
    listener.set_nonblocking(true).unwrap();
    std::os::unix::net::UnixStream::connect(&socket).expect("it is still there");
}

#[test]
fn a_dead_socket_is_replaced() {
    let home = Home::with_environment("");
    let mut first = Agent::start(&home);
    first.kill();
    assert!(home.socket().exists(), "SIGKILL leaves it behind");
    let second = Agent::start(&home);
    second.certificate("work");
    assert_eq!(mode(&home.socket()), 0o600);
}

#[test]
fn a_path_too_long_for_a_socket_is_told_with_the_figure() {
    let home = Home::with_environment("");
    let place = home.join("d".repeat(120));
    let told = with_runtime_directory(&home, &place).exits(1);
    let figure = if cfg!(target_os = "linux") { "allows 107" } else { "allows 103" };
    assert!(told.stderr.contains(figure), "{told}");
    assert!(!place.exists(), "it was made all the same");

    let socket = home.join("s".repeat(120));
    let told = home.run(&["agent", "--socket", socket.to_str().unwrap()]).exits(1);
    assert!(told.stderr.contains(figure), "{told}");
}

#[test]
fn a_socket_where_others_may_write_is_refused() {
    for (open, good) in [(0o777, false), (0o770, false), (0o722, false), (0o1777, true)] {
        let home = Home::with_environment("");
        let place = home.join("shared");
        fs::create_dir(&place).unwrap();
        set_mode(&place, open);
        let socket = place.join("agent");
        if good {
            // Others cannot replace what is ours in there.
            let agent = Agent::start_with(&home, |command| {
                command.arg("--socket").arg(&socket);
            });
            assert_eq!(agent.socket(), socket);
            continue;
        }
        let told = home.run(&["agent", "--socket", socket.to_str().unwrap()]).exits(1);
        assert!(told.stderr.starts_with("evercert: error: "), "{open:o}: {told}");
        assert!(told.stderr.contains(place.to_str().unwrap()), "{open:o}: {told}");
        assert_eq!(support::home::entries(&place), Vec::<std::path::PathBuf>::new());
        assert!(home.records().is_empty(), "a certificate was issued");
    }
}

#[test]
fn the_runtime_directory_may_be_chosen() {
    let home = Home::with_environment("");
    for variable in ["EVERCERT_RUNTIME_DIR", "XDG_RUNTIME_DIR"] {
        let place = home.join(variable);
        fs::create_dir(&place).unwrap();
        set_mode(&place, 0o700);
        let expected = match variable {
            "XDG_RUNTIME_DIR" => place.join("evercert/agent.sock"),
            _ => place.join("agent.sock"),
        };
        let agent = Agent::start_with(&home, |command| {
            command.env(variable, &place);
        });
        assert_eq!(agent.socket(), expected);
        agent.certificate("work");
        let mut status = home.evercert(&["status"]);
        Outcome::of(status.env(variable, &place)).succeeds();
    }
}

/// A private directory to run in.
fn directory(home: &Home) -> std::path::PathBuf {
    let place = home.join("run");
    fs::create_dir(&place).unwrap();
    set_mode(&place, 0o700);
    place
}

/// The agent refuses with exit status 1 and names the path.
fn refused(home: &Home, named: &Path) {
    let refused = with_runtime_directory(home, &home.join("run")).exits(1);
    assert!(refused.stderr.starts_with("evercert: error: "), "{refused}");
    assert!(refused.stderr.contains(named.to_str().unwrap()), "{refused}");
    assert_eq!(refused.stdout, "");
    assert!(home.records().is_empty(), "a certificate was issued");
}

fn with_runtime_directory(home: &Home, place: &Path) -> Outcome {
    Outcome::of(home.evercert(&["agent"]).env("EVERCERT_RUNTIME_DIR", place))
}
