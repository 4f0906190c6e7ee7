//! An ordinary agent too: ssh-add brings keys and certificates of every type, ssh-keygen signs with
//! them, and what is taken away is gone.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support;
use crate::support::home::with_suffix;
use crate::support::wire::{FAILURE, SUCCESS, public_blob};
use crate::support::{Agent, Home, KEY_KINDS, Outcome, needs, sshsig};

#[test]
fn keys_and_certificates_of_every_type_are_added_used_and_removed() {
    needs!("ssh-add", "ssh-keygen", "sha512sum");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    for (kind, arguments, shown) in KEY_KINDS {
        let key = home.keygen(kind, arguments);
        let certificate = home.certify(&home.ca(), &key, &["-n", "somebody"]);
        add(&agent, &key);
        fs::rename(&key, with_suffix(&key, ".away")).unwrap();

        let listed = agent.ssh_add(&["-l"]).succeeds().stdout;
        assert!(listed.contains(&format!("{kind} ({shown})")), "{listed}");
        let public = with_suffix(&key, ".pub");
        let plain = public_blob(&public);
        for path in [&public, &certificate] {
            if kind != "rsa-3072" {
                // Of an RSA key, ssh-add asks for a SHA-1 signature, which is refused.
                agent.ssh_add(&["-T", path.to_str().unwrap()]).succeeds();
            }
            file_signature_is_good(&home, &agent, path);
            sshsig::signs(&home, &mut agent.wire(), &public_blob(path), &plain, 4).unwrap();
        }

        agent.ssh_add(&["-d", key.to_str().unwrap()]).succeeds();
        assert_eq!(agent.list(), []);
        assert!(agent.wire().sign(&plain, b"data", 4).is_none(), "{kind} signs after removal");
    }
}

#[test]
fn certificates_come_first_then_plain_keys_in_order_of_addition() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let plain = home.keygen("plain", &["-t", "ed25519"]);
    add(&agent, &plain);
    let certified = home.keygen("certified", &["-t", "ecdsa"]);
    home.certify(&home.ca(), &certified, &["-n", "somebody"]);
    add(&agent, &certified);
    let listed: Vec<(bool, String)> =
        agent.list().iter().map(|entry| (entry.certificate().is_some(), entry.comment())).collect();
    let expected = [(true, "certified"), (false, "plain"), (false, "certified")];
    assert_eq!(listed, expected.map(|(certificate, name)| (certificate, name.to_owned())));
}

#[test]
fn environments_stand_around_the_added_ones() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let key = home.keygen("own", &["-t", "ed25519"]);
    home.certify(&home.ca(), &key, &["-n", "somebody"]);
    add(&agent, &key);
    let comments: Vec<String> = agent.list().iter().map(support::wire::Entry::comment).collect();
    assert_eq!(comments, ["work", "own", "own", "work"]);
}

#[test]
fn several_certificates_for_one_key_stand_side_by_side() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    for serial in ["1", "2"] {
        home.certify(&home.ca(), &key, &["-n", "somebody", "-z", serial]);
        add(&agent, &key);
    }
    let serials: Vec<u64> =
        agent.list().iter().filter_map(|entry| Some(entry.certificate()?.serial)).collect();
    assert_eq!(serials, [1, 2]);
    assert_eq!(agent.list().len(), 3);
}

#[test]
fn a_certificate_without_end_is_listed_and_signs() {
    needs!("ssh-add", "ssh-keygen", "sha512sum");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    let certificate = public_blob(&home.certify(&home.ca(), &key, &["-n", "somebody"]));
    add(&agent, &key);
    let plain = public_blob(&with_suffix(&key, ".pub"));
    sshsig::signs(&home, &mut agent.wire(), &certificate, &plain, 0).unwrap();
    assert!(agent.list().iter().any(|entry| entry.blob == certificate));
}

#[test]
fn an_expired_or_future_certificate_is_neither_listed_nor_signed_with() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    for (name, window) in [("expired", "-2h:-1h"), ("future", "+1h:+2h")] {
        let key = home.keygen(name, &["-t", "ed25519"]);
        let path = home.certify(&home.ca(), &key, &["-n", "somebody", "-V", window]);
        // Whether the agent takes it or not: the list and the signature count.
        let _ = ssh_add(&agent, &key);
        let certificate = public_blob(&path);
        assert!(agent.list().iter().all(|entry| entry.blob != certificate), "{name}");
        assert!(agent.wire().sign(&certificate, b"data", 0).is_none(), "{name}");
    }
    assert_eq!(agent.list().len(), 2, "the plain keys are there");
}

#[test]
fn removing_what_is_not_there_fails_and_removing_all_never_does() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    let blob = public_blob(&with_suffix(&key, ".pub"));
    assert_eq!(agent.wire().remove(&blob), [FAILURE]);
    for kind in [19, 9] {
        assert_eq!(agent.wire().ask(&[kind]), [SUCCESS]);
        add(&agent, &key);
        assert_eq!(agent.wire().ask(&[kind]), [SUCCESS], "type {kind}");
        assert_eq!(agent.list(), [], "type {kind}");
    }
    agent.ssh_add(&["-D"]).succeeds();
    assert!(agent.ssh_add(&["-l"]).exits(1).stdout.contains("no identities"));
}

#[test]
fn removing_a_key_leaves_its_certificate_and_the_other_way_round() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    let certificate = public_blob(&home.certify(&home.ca(), &key, &["-n", "somebody"]));
    let plain = public_blob(&with_suffix(&key, ".pub"));
    for (gone, left) in [(&plain, &certificate), (&certificate, &plain)] {
        add(&agent, &key);
        assert_eq!(agent.wire().remove(gone), [SUCCESS]);
        let list = agent.list();
        assert_eq!(list.len(), 1);
        assert_eq!(&list[0].blob, left);
        assert!(agent.wire().sign(left, b"data", 0).is_some());
        assert!(agent.wire().sign(gone, b"data", 0).is_none());
    }
}

/// Adds a key file and, if there is one, its certificate.
fn add(agent: &Agent<'_>, key: &Path) {
    ssh_add(agent, key).succeeds();
}

fn ssh_add(agent: &Agent<'_>, key: &Path) -> Outcome {
    // Newer ones limit a certificate's stay in the agent, unless told not to.
    let unlimited: &[&str] = if support::openssh_version() >= (10, 1) { &["-N"] } else { &[] };
    agent.ssh_add(&[unlimited, &["-q", key.to_str().unwrap()]].concat())
}

/// `ssh-keygen -Y sign` through the agent, and its own check of the result.
fn file_signature_is_good(home: &Home, agent: &Agent<'_>, public: &Path) {
    let document: PathBuf = home.join("document");
    fs::write(&document, "words").unwrap();
    let _ = fs::remove_file(with_suffix(&document, ".sig"));
    Outcome::of(
        agent
            .client("ssh-keygen")
            .args(["-Y", "sign", "-n", "test", "-f"])
            .arg(public)
            .arg(&document),
    )
    .succeeds();
    let signature = fs::read_to_string(with_suffix(&document, ".sig")).unwrap();
    sshsig::check(home, &signature, b"words");
}
