//! Certificates renew themselves: logins go on across any number of renewals, nobody does anything.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::support;
use crate::support::sshd::needs_login;
use crate::support::{Agent, Home, Sshd, eventually, needs, sshsig};

#[test]
fn logins_go_on_across_renewals_and_none_fails() {
    needs_login!();
    let home = Home::with_environment("lifetime = \"15s\"\nrenew_at = \"2s\"");
    let agent = Agent::start(&home);
    let server = server(&home);
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    server.login(&home, agent.socket()).succeeds();
                }
            });
        }
        let seen =
            support::within_or(support::PATIENCE, || (used(&server).len() >= 5).then_some(()));
        enough.store(true, Ordering::Relaxed);
        seen.expect("logins by five certificates");
    });
}

#[test]
fn a_renewed_certificate_replaces_the_old_one_which_still_signs() {
    needs!("ssh-keygen", "sha512sum");
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let (old, old_blob) = agent.certificate("work");
    home.run(&["renew"]).succeeds();
    let (new, new_blob) = agent.certificate("work");
    assert_ne!(old.serial, new.serial);
    assert_eq!(old.subject, new.subject, "renewals keep the key");
    let list = agent.list();
    assert!(list.iter().all(|entry| entry.blob != old_blob), "the old one is listed");
    assert_eq!(list.len(), 2, "one certificate, one bare key");
    let bare = list[1].blob.clone();
    for blob in [&old_blob, &new_blob, &bare] {
        sshsig::signs(&home, &mut agent.wire(), blob, &bare, 0).unwrap();
    }
}

#[test]
fn renewing_by_hand_says_serial_and_expiry() {
    let home = Home::with_environment("");
    home.write_config(&[home.environment("one", ""), home.environment("two", "")].concat());
    let agent = Agent::start(&home);
    let said = home.run(&["renew"]).succeeds().stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    for (line, name) in lines.iter().zip(["one", "two"]) {
        let (certificate, _) = agent.certificate(name);
        let start = format!("{name}: serial {}, valid until ", certificate.serial);
        assert!(line.starts_with(&start), "{line:?} does not start with {start:?}");
    }

    let (untouched, _) = agent.certificate("two");
    let said = home.run(&["renew", "one"]).succeeds().stdout;
    assert!(said.starts_with("one: serial ") && said.lines().count() == 1, "{said}");
    assert_eq!(agent.certificate("two").0.serial, untouched.serial);

    let unknown = home.run(&["renew", "one", "three"]).exits(1);
    assert!(unknown.stderr.contains("three"), "{unknown}");
}

#[test]
fn what_is_said_of_a_key_file_when_a_new_key_is_asked_for_is_true() {
    let home = Home::with_environment("key = \"~/id\"");
    let key = home.keygen("id", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let (before, _) = agent.certificate("work");

    let refused = home.run(&["renew", "--new-key"]).exits(1);
    let hint = format!("hint: replace the file, then: kill -HUP {}", agent.pid());
    assert!(refused.stderr.contains(key.to_str().unwrap()), "{refused}");
    assert!(refused.stderr.contains(&hint), "{refused}");

    fs::remove_file(&key).unwrap();
    fs::remove_file(support::home::with_suffix(&key, ".pub")).unwrap();
    home.keygen("id", &["-t", "ed25519"]);
    agent.signal(Signal::HUP);
    eventually("a certificate for the new key", || {
        let (now, _) = agent.find_certificate("work")?;
        (now.serial != before.serial).then_some(())
    });
    let listed = agent.list();
    let new = support::wire::public_blob(&support::home::with_suffix(&key, ".pub"));
    assert!(listed.iter().any(|entry| entry.blob == new), "the new key is not there");
}

#[test]
fn a_new_key_is_made_when_asked_for() {
    needs_login!();
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let (old, old_blob) = agent.certificate("work");
    home.run(&["renew", "work", "--new-key"]).succeeds();
    let (new, _) = agent.certificate("work");
    assert_ne!(old.subject, new.subject);
    let list = agent.list();
    assert_eq!(list.len(), 2, "the old key is gone from the list");
    assert_eq!(list[1].blob, new.subject, "the bare key is the new one");
    assert!(agent.wire().sign(&old_blob, b"data", 0).is_none(), "a key replaced is a key gone");
    server(&home).login(&home, agent.socket()).succeeds();
}

#[test]
fn status_foretells_the_renewal() {
    let home = Home::with_environment("lifetime = \"1h\"");
    let agent = Agent::start(&home);
    let now = agent.wait_for("work", "a certificate", |now| !now["certificate"].is_null());
    let next: jiff::Timestamp = now["next_renewal"].as_str().unwrap().parse().unwrap();
    let end: jiff::Timestamp =
        now["certificate"]["valid_before"].as_str().unwrap().parse().unwrap();
    let left = end.duration_since(next).as_secs();
    // A third of the lifetime is left, and up to a tenth of it more.
    assert!((1200 - 2..=1560 + 2).contains(&left), "{left} s before the end: {now:#}");
}

#[test]
fn an_environment_without_a_certificate_shows_its_bare_key_only() {
    let home = Home::with_environment("");
    home.break_ledger();
    let agent = Agent::start(&home);
    let now = agent.wait_for("work", "the failure", |now| !now["last_error"].is_null());
    assert!(now["certificate"].is_null(), "{now:#}");
    let list = agent.list();
    assert!(list.iter().all(|entry| entry.certificate().is_none()));
    assert_eq!(list.len(), 1, "its bare key, to tell the reason");
    assert!(list[0].comment().starts_with("work: "), "{}", list[0].comment());
    home.mend_ledger();
    home.run(&["renew"]).succeeds();
    agent.certificate("work");
}

#[test]
fn a_certificate_that_ends_without_renewal_disappears() {
    let home = Home::with_environment("lifetime = \"3s\"\nrenew_at = \"1s\"\nwait = \"1s\"");
    let agent = Agent::start(&home);
    let (_, mut blob) = agent.certificate("work");
    home.break_ledger();
    eventually("the certificate's end", || match agent.find_certificate("work") {
        Some((_, newer)) => {
            blob = newer;
            None
        }
        None => Some(()),
    });
    assert!(agent.wire().sign(&blob, b"data", 0).is_none(), "an expired certificate signs");
    assert_eq!(agent.environment("work")["state"], "expired");
    assert_eq!(home.run(&["status"]).code, Some(1));
    assert_eq!(agent.list().len(), 1, "the bare key stays");
    home.mend_ledger();
    eventually("a certificate by itself", || agent.find_certificate("work"));
}

/// A server that trusts the home's CA.
fn server(home: &Home) -> Sshd {
    Sshd::trusting(&fs::read_to_string(home.join("ca.pub")).unwrap())
}

/// The serials that the server has let in.
fn used(server: &Sshd) -> BTreeSet<String> {
    server
        .accepted()
        .iter()
        .filter_map(|line| Some(line.split("(serial ").nth(1)?.split(')').next()?.to_owned()))
        .collect()
}
