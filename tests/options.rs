//! What a certificate says is what the configuration says: sshd obeys it, ssh-keygen reads it.

use std::collections::BTreeMap;
use std::fs;

use crate::support;
use crate::support::sshd::{needs_login, offers};
use crate::support::{Agent, Home, Sshd};

#[test]
fn a_forced_command_runs_instead_of_the_asked_one() {
    needs_login!();
    let home = Home::with_environment("force_command = \"echo forced\"");
    let agent = Agent::start(&home);
    let login = server(&home).login(&home, agent.socket()).succeeds();
    assert_eq!(login.stdout, "forced\n");
}

#[test]
fn a_source_address_is_enforced() {
    needs_login!();
    let here = Home::with_environment("source_address = [\"127.0.0.0/8\", \"::1\"]");
    let agent = Agent::start(&here);
    server(&here).login(&here, agent.socket()).succeeds();

    let elsewhere = Home::with_environment("source_address = [\"192.0.2.0/24\"]");
    let agent = Agent::start(&elsewhere);
    let server = server(&elsewhere);
    server.login(&elsewhere, agent.socket()).exits(255);
    assert!(server.log().contains("not from a permitted source address"), "{}", server.log());
}

#[test]
fn extensions_are_exactly_those_asked_for() {
    for (settings, expected) in [
        ("extensions = []", &[][..]),
        ("extensions = [\"permit-pty\"]", &["permit-pty"]),
        ("extensions = [\"permit-user-rc\", \"permit-pty\"]", &["permit-pty", "permit-user-rc"]),
    ] {
        let home = Home::with_environment(settings);
        let agent = Agent::start(&home);
        let (certificate, _) = agent.certificate("work");
        let extensions: Vec<&str> = certificate.extensions.keys().map(String::as_str).collect();
        assert_eq!(extensions, expected, "{settings}");
    }
}

#[test]
fn critical_options_are_exactly_those_asked_for() {
    let home = Home::with_environment(
        "force_command = \"/bin/true\"\nsource_address = [\"127.0.0.1\", \"192.0.2.0/24\"]\n         verify_required = true",
    );
    let agent = Agent::start(&home);
    let (certificate, _) = agent.certificate("work");
    let options: BTreeMap<&str, &str> = certificate
        .critical_options
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let expected = BTreeMap::from([
        ("force-command", "/bin/true"),
        ("source-address", "127.0.0.1,192.0.2.0/24"),
        ("verify-required", ""),
    ]);
    assert_eq!(options, expected);
}

#[test]
fn principals_lifetime_and_key_id_are_those_asked_for() {
    needs_login!();
    let home = Home::new();
    home.keygen("ca", &["-t", "ed25519"]);
    home.write_config(&format!(
        "[environments.work]\nprincipals = [\"deploy\", \"{}\"]\nlifetime = \"20m\"\n         key_id = \"{{environment}}/{{user}}/{{serial}}\"\n         [environments.work.ca]\nkind = \"file\"\npath = \"{}\"\n",
        support::login_name(),
        home.ca().display()
    ));
    let agent = Agent::start(&home);
    let (certificate, _) = agent.certificate("work");
    assert_eq!(certificate.principals, ["deploy".to_owned(), support::login_name()]);
    assert_eq!(certificate.valid_before - certificate.valid_after, 1200 + 300);
    let key_id = format!("work/{}/{}", support::login_name(), certificate.serial);
    assert_eq!(certificate.key_id, key_id);
    let server = server(&home);
    let login = server.login(&home, agent.socket()).succeeds();
    assert_eq!(offers(&login), 1);
    assert!(server.accepted()[0].contains(&format!("ID {key_id} (serial")));
}

#[test]
fn a_certificate_for_somebody_else_does_not_log_in() {
    needs_login!();
    let home = Home::new();
    home.keygen("ca", &["-t", "ed25519"]);
    home.write_config(
        &home
            .environment("work", "")
            .replace(&format!("[\"{}\"]", support::login_name()), "[\"nobody-here\"]"),
    );
    let agent = Agent::start(&home);
    let server = server(&home);
    server.login(&home, agent.socket()).exits(255);
    assert!(
        server.log().contains("not contain an authorized principal")
            || server.log().contains("name is not a listed principal"),
        "{}",
        server.log()
    );
}

/// A server that trusts the home's CA.
fn server(home: &Home) -> Sshd {
    Sshd::trusting(&fs::read_to_string(home.join("ca.pub")).unwrap())
}
