//! The first minute: an empty home, one command, and the next login uses a certificate.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::home::{entries, mode};
use crate::support::sshd::{needs_login, offers};
use crate::support::{Agent, Home, Sshd, needs};
use rustix::process::Signal;

#[test]
fn an_empty_home_becomes_a_login_with_one_offer() {
    needs_login!();
    let home = Home::new();
    let agent = Agent::start(&home);
    let (certificate, _) = agent.certificate("local");
    let authority = printed_authority(&agent);

    let by_authority = Sshd::trusting(&authority);
    let by_account = Sshd::authorizing(&format!("cert-authority {authority}\n"));
    for server in [by_authority, by_account] {
        let login = server.login(&home, agent.socket()).succeeds();
        assert_eq!(login.stdout, "in\n");
        assert_eq!(offers(&login), 1, "{login}");
        let accepted = server.accepted();
        assert_eq!(accepted.len(), 1, "{accepted:?}");
        for part in
            ["ED25519-CERT", &format!("ID {} (serial {})", certificate.key_id, certificate.serial)]
        {
            assert!(accepted[0].contains(part), "no {part:?} in {:?}", accepted[0]);
        }
    }
}

#[test]
fn the_first_run_says_what_it_made_and_where() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::new();
    let agent = Agent::start(&home);

    assert_eq!(agent.socket(), home.socket());
    assert_eq!(
        agent.stdout(),
        format!("SSH_AUTH_SOCK={}; export SSH_AUTH_SOCK;\n", home.socket().display())
    );
    let said = agent.stderr();
    for made in [home.config(), home.first_ca()] {
        assert!(made.is_file(), "{} is missing", made.display());
        let name = made.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name), "{name} is not mentioned in {said}");
    }
    let public = fs::read_to_string(home.join(".local/share/evercert/ca/local.pub")).unwrap();
    let blob = public.split_whitespace().nth(1).unwrap();
    assert!(printed_authority(&agent).contains(blob), "{said}");

    let listed = agent.ssh_add(&["-l"]).succeeds().stdout;
    assert!(listed.contains(" local (ED25519-CERT)"), "{listed}");
}

#[test]
fn what_the_first_run_makes_is_private() {
    let home = Home::new();
    let agent = Agent::start(&home);
    assert_eq!(mode(&home.first_ca()), 0o600);
    assert_eq!(mode(home.first_ca().parent().unwrap()), 0o700);
    assert_eq!(mode(&home.runtime()), 0o700);
    for socket in [home.socket(), home.runtime().join("control.sock")] {
        assert_eq!(mode(&socket), 0o600, "{}", socket.display());
    }
    drop(agent);
}

#[test]
fn the_first_certificate_is_modest() {
    needs!("ssh-keygen");
    let home = Home::new();
    let agent = Agent::start(&home);
    let (certificate, _) = agent.certificate("local");

    let name = support::login_name();
    assert_eq!(certificate.principals, std::slice::from_ref(&name));
    let lifetime = certificate.valid_before - certificate.valid_after;
    assert_eq!(lifetime, 3600 + 300, "an hour, and five minutes of back-dating");
    assert!(certificate.serial > 0 && certificate.serial < 1 << 63);
    assert!(certificate.key_id.starts_with(&format!("{name}@")));
    assert!(certificate.key_id.ends_with("/local"));
    assert!(certificate.critical_options.is_empty());
    let extensions: Vec<&str> = certificate.extensions.keys().map(String::as_str).collect();
    assert_eq!(
        extensions,
        [
            "permit-X11-forwarding",
            "permit-agent-forwarding",
            "permit-port-forwarding",
            "permit-pty",
            "permit-user-rc"
        ]
    );
}

#[test]
fn the_configuration_it_writes_is_explained_and_valid() {
    let home = Home::new();
    drop(Agent::start(&home));
    let written = fs::read_to_string(home.config()).unwrap();
    assert!(written.lines().filter(|line| line.starts_with('#')).count() >= 3, "{written}");
    assert!(written.contains("[environments.local]"), "{written}");
    home.run(&["config", "check"]).succeeds();
    let path = home.run(&["config", "path"]).succeeds().stdout;
    assert_eq!(path, format!("{}\n", home.config().display()));
}

#[test]
fn a_second_run_finds_everything_as_it_was() {
    let home = Home::new();
    let mut first = Agent::start(&home);
    let made = fingerprint_of_what_was_made(&home);
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0));
    assert!(!home.socket().exists(), "the socket stays behind");

    let second = Agent::start(&home);
    assert_eq!(fingerprint_of_what_was_made(&home), made);
    second.certificate("local");
}

#[test]
fn ctrl_c_ends_it_cleanly() {
    let home = Home::new();
    let mut agent = Agent::start(&home);
    agent.signal(Signal::INT);
    assert_eq!(agent.wait().code(), Some(0));
    assert_eq!(entries(&home.runtime()).iter().filter(|path| is_socket(path)).count(), 0);
}

#[test]
fn a_second_agent_names_the_first_and_touches_nothing() {
    let home = Home::new();
    let agent = Agent::start(&home);
    let socket = fs::metadata(home.socket()).unwrap().ino();
    let made = fingerprint_of_what_was_made(&home);

    let elsewhere = home.join("other.sock");
    for arguments in [&["agent"][..], &["agent", "--socket", elsewhere.to_str().unwrap()]] {
        let second = home.run(arguments).exits(1);
        assert!(second.stderr.contains(&agent.pid().to_string()), "{second}");
        assert_eq!(second.stdout, "");
    }
    assert!(!elsewhere.exists());
    assert_eq!(fs::metadata(home.socket()).unwrap().ino(), socket);
    assert_eq!(fingerprint_of_what_was_made(&home), made);
    agent.certificate("local");
}

#[test]
fn an_empty_configuration_is_an_agent_without_environments() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    assert_eq!(agent.list(), []);
    assert!(!home.first_ca().exists(), "a CA was made that nobody asked for");
    assert_eq!(agent.status()["environments"], serde_json::json!([]));
}

#[test]
fn the_socket_and_the_configuration_may_be_elsewhere() {
    let home = Home::new();
    let config = home.join("empty.toml");
    fs::write(&config, "").unwrap();
    let socket = home.join("s/agent");
    fs::create_dir(home.join("s")).unwrap();
    support::home::set_mode(&home.join("s"), 0o700);
    let agent = Agent::start_with(&home, |command| {
        command.arg("--config").arg(&config).arg("--socket").arg(&socket);
    });
    assert_eq!(agent.socket(), socket);
    assert_eq!(agent.list(), []);
    assert!(!home.config().exists());
    assert_eq!(agent.status()["config"]["path"], config.to_str().unwrap());
}

#[test]
fn the_first_certificate_is_there_within_a_second() {
    // A shared machine may be busy: the fastest of a few fresh starts counts.
    let fastest = (0..5)
        .map(|_| {
            let home = Home::new();
            let start = Instant::now();
            let agent = Agent::start(&home);
            agent.certificate("local");
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

/// The CA key a person would copy to a server: after `cert-authority` on the agent's stderr.
fn printed_authority(agent: &Agent<'_>) -> String {
    let said = agent.stderr();
    let line = said
        .lines()
        .find_map(|line| line.split("cert-authority ").nth(1).filter(|key| key.starts_with("ssh-")))
        .unwrap_or_else(|| panic!("no line for a server in {said}"));
    line.to_owned()
}

/// The configuration and the CA: contents, and which files they are.
fn fingerprint_of_what_was_made(home: &Home) -> Vec<(u64, i64, Vec<u8>)> {
    [home.config(), home.first_ca()]
        .iter()
        .map(|path| {
            let facts = fs::metadata(path).unwrap();
            (facts.ino(), facts.mtime_nsec(), fs::read(path).unwrap())
        })
        .collect()
}

fn is_socket(path: &std::path::Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket())
}
