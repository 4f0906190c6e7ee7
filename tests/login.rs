//! Every kind of session key with every kind of CA: ssh-keygen reads the certificate, sshd lets it
//! in, and the log says which certificate it was.

use std::fs;

use crate::support;
use crate::support::sshd::{HostKey, Trust, needs_login, offers};
use crate::support::{Agent, Home, KEY_KINDS, Outcome, Sshd};

#[test]
fn every_session_key_logs_in_by_every_authority() {
    needs_login!();
    let home = Home::new();
    let mut config = String::new();
    let mut authorities = String::new();
    for (ca, arguments, _) in KEY_KINDS {
        let path = home.keygen(&format!("ca-{ca}"), arguments);
        authorities += &fs::read_to_string(path.with_file_name(format!("ca-{ca}.pub"))).unwrap();
        for (key, _, _) in KEY_KINDS {
            config += &format!(
                "[environments.{key}_{ca}]\nprincipals = [\"{}\"]\nkey = \"{key}\"\n                 [environments.{key}_{ca}.ca]\nkind = \"file\"\npath = \"{}\"\n",
                support::login_name(),
                path.display()
            );
        }
    }
    home.write_config(&config);
    let agent = Agent::start(&home);
    let server = Sshd::trusting(&authorities);

    for (ca, _, _) in KEY_KINDS {
        for (key, _, name) in KEY_KINDS {
            let environment = format!("{key}_{ca}");
            agent.wait_for(&environment, "a certificate", |now| !now["certificate"].is_null());
            let (certificate, blob) = agent.certificate(&environment);
            let file = home.join(format!("{environment}.pub"));
            fs::write(&file, support::certificate::line(&blob)).unwrap();

            let read = Outcome::of(home.command("ssh-keygen").args(["-L", "-f"]).arg(&file));
            let read = read.succeeds().stdout;
            let serial = format!("Serial: {}", certificate.serial);
            assert!(read.contains("user certificate") && read.contains(&serial), "{read}");

            let login = Outcome::of(
                server
                    .ssh(&home, agent.socket())
                    .args(["-o", "IdentitiesOnly=yes", "-i"])
                    .arg(&file)
                    .arg("true"),
            );
            assert_eq!(login.code, Some(0), "{environment}: {login}");
            assert_eq!(offers(&login), 1, "{environment}: {login}");
            let accepted = server.accepted().pop().unwrap();
            let who = format!("ID {} (serial {})", certificate.key_id, certificate.serial);
            assert!(accepted.contains(&format!("{name} ")), "{environment}: {accepted}");
            assert!(accepted.contains(&who), "{environment}: {accepted}");
        }
    }
}

#[test]
fn the_largest_rsa_key_logs_in() {
    needs_login!();
    let home = Home::with_environment("key = \"rsa-4096\"");
    let agent = Agent::start(&home);
    agent.wait_for("work", "a certificate", |now| !now["certificate"].is_null());
    let server = Sshd::trusting(&fs::read_to_string(home.join("ca.pub")).unwrap());
    server.login(&home, agent.socket()).succeeds();
    assert!(server.accepted()[0].contains("RSA-CERT"));
}

#[test]
fn a_key_file_keeps_its_key() {
    needs_login!();
    for (kind, arguments, name) in KEY_KINDS {
        let home = Home::with_environment("key = \"~/keys/id\"");
        home.keygen("keys/id", arguments);
        let agent = Agent::start(&home);
        let (_, blob) = agent.certificate("work");
        let own = support::wire::public_blob(&home.join("keys/id.pub"));
        let bare = agent.list().pop().unwrap();
        assert_eq!(bare.blob, own, "{kind}: the bare key is listed last");
        assert_ne!(blob, own);
        let server = Sshd::trusting(&fs::read_to_string(home.join("ca.pub")).unwrap());
        server.login(&home, agent.socket()).succeeds();
        assert!(server.accepted()[0].contains(name), "{kind}");
    }
}

#[test]
fn a_server_with_a_host_certificate_lets_us_in() {
    needs_login!();
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let authority = fs::read_to_string(home.join("ca.pub")).unwrap();
    let server = Sshd::start(&Trust::Authorities(&authority), HostKey::Certified, |_| {});
    server.introduce(&home);
    let login = server.login(&home, agent.socket()).succeeds();
    assert!(login.stderr.contains("Server host certificate"), "{login}");
    assert_eq!(offers(&login), 1, "{login}");
}

#[test]
fn the_bare_key_logs_in_where_a_server_knows_it() {
    needs_login!();
    let home = Home::with_environment("key = \"~/id\"");
    home.keygen("id", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let server = Sshd::authorizing(&fs::read_to_string(home.join("id.pub")).unwrap());
    let login = server.login(&home, agent.socket()).succeeds();
    assert_eq!(offers(&login), 2, "the certificate first, then the key: {login}");
}

#[test]
fn several_environments_are_listed_in_the_order_of_the_file() {
    let home = Home::with_environment("");
    let names = ["zulu", "alpha", "mike"];
    let config: String = names.iter().map(|name| home.environment(name, "")).collect();
    home.write_config(&config);
    let agent = Agent::start(&home);
    for name in names {
        agent.wait_for(name, "a certificate", |now| !now["certificate"].is_null());
    }
    let list = agent.list();
    let comments: Vec<String> = list.iter().map(support::wire::Entry::comment).collect();
    assert_eq!(comments, [names, names].concat(), "certificates first, bare keys last");
    let certificates = list.iter().filter(|entry| entry.certificate().is_some()).count();
    assert_eq!(certificates, 3);
    assert!(list[2].certificate().is_some() && list[3].certificate().is_none());
}
