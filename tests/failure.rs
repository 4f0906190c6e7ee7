//! When renewing fails: the valid certificate stays, the reason is everywhere it is looked for, and
//! the way back is the command it names.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::sshd::needs_login;
use crate::support::wire::{Entry, public_blob};
use crate::support::{Agent, Home, Sshd, eventually, needs};
use rustix::process::Signal;

#[test]
fn a_failed_renewal_keeps_the_certificate_and_tells_why() {
    needs_login!();
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let (before, _) = agent.certificate("work");
    home.break_ledger();

    let failed = home.run(&["renew"]).exits(1);
    assert!(failed.stderr.contains("work"), "{failed}");
    assert_eq!(failed.stdout, "");

    let now = agent.environment("work");
    assert_eq!(now["state"], "degraded", "{now:#}");
    let error = &now["last_error"];
    for part in ["message", "hint", "since"] {
        assert!(error[part].as_str().is_some_and(|text| !text.is_empty()), "{part}: {now:#}");
    }
    assert!(error["final"].is_boolean(), "{now:#}");
    assert!(error["since"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{now:#}");
    assert_eq!(home.run(&["status"]).code, Some(1), "degraded is a failure to scripts");

    let listed = agent.ssh_add(&["-l"]).succeeds().stdout;
    let comment = listed.lines().find(|line| line.contains("ED25519-CERT")).unwrap();
    assert!(comment.contains(" work: ") && comment.contains("; run "), "{comment}");
    let (after, _) = agent.certificate("work");
    assert_eq!(before.serial, after.serial);
    let server = Sshd::trusting(&fs::read_to_string(home.join("ca.pub")).unwrap());
    server.login(&home, agent.socket()).succeeds();

    home.mend_ledger();
    home.run(&["renew"]).succeeds();
    let now = agent.environment("work");
    assert_eq!((&now["state"], &now["last_error"]), (&"ok".into(), &serde_json::Value::Null));
    assert!(agent.ssh_add(&["-l"]).stdout.contains(" work (ED25519-CERT)"));
    home.run(&["status"]).succeeds();
}

#[test]
fn it_tries_again_by_itself() {
    let home = Home::with_environment("renew_at = \"1s\"");
    let agent = Agent::start(&home);
    let (first, _) = agent.certificate("work");
    home.break_ledger();
    let now = agent.wait_for("work", "a failure", |now| !now["last_error"].is_null());
    assert_eq!(now["state"], "degraded");
    let next = now["next_renewal"].as_str().expect("it says when it tries again");
    assert!(next.parse::<jiff::Timestamp>().is_ok(), "{next}");
    home.mend_ledger();
    let now = agent.wait_for("work", "recovery", |now| now["last_error"].is_null());
    assert_ne!(now["certificate"]["serial"], first.serial.to_string());
}

#[test]
fn a_listing_waits_for_nothing_that_is_in_back_off() {
    let home = Home::with_environment("wait = \"20s\"");
    home.break_ledger();
    let agent = Agent::start(&home);
    agent.wait_for("work", "a failure", |now| !now["last_error"].is_null());
    // An attempt may just be on its way: the quickest of a few lists counts.
    let quickest = (0..3)
        .map(|_| {
            let start = Instant::now();
            agent.list();
            start.elapsed()
        })
        .min()
        .unwrap();
    assert!(quickest < Duration::from_secs(2), "it waited {quickest:?}");
}

#[test]
fn one_environments_failure_is_not_anothers() {
    let home = Home::new();
    home.keygen("ca", &["-t", "ed25519"]);
    home.keygen("other", &["-t", "ed25519"]);
    let other = home.environment("other", "").replace("/ca\"", "/other\"");
    home.write_config(&[home.environment("work", ""), other].concat());
    let agent = Agent::start(&home);
    agent.wait_for("other", "a certificate", |now| !now["certificate"].is_null());
    let serial = agent.certificate("other").0.serial;
    let others_ledger = home
        .records()
        .into_iter()
        .find(|(path, _)| path.ends_with(format!("{serial}.json")))
        .map(|(path, _)| path.parent().unwrap().to_owned())
        .expect("a record of the certificate");
    fs::rename(&others_ledger, home.join("away")).unwrap();
    fs::write(&others_ledger, "").unwrap();

    let both = home.run(&["renew"]).exits(1);
    assert!(both.stdout.starts_with("work: serial "), "{both}");
    assert!(both.stderr.contains("other"), "{both}");
    assert_eq!(agent.environment("work")["state"], "ok");
    assert_eq!(agent.environment("other")["state"], "degraded");
}

#[test]
fn dropping_all_keys_pauses_until_renewed() {
    needs!("ssh-add");
    let home = Home::with_environment("renew_at = \"1s\"");
    let mut agent = Agent::start(&home);
    let key = home.keygen("own", &["-t", "ed25519"]);
    let drops: [&dyn Fn(&Agent<'_>); 2] = [
        &|agent| {
            agent.ssh_add(&["-D"]).succeeds();
        },
        &|agent| agent.signal(Signal::USR1),
    ];
    for drop_all in drops {
        agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
        let (_, blob) = agent.certificate("work");
        drop_all(&agent);
        eventually("an empty list", || agent.list().is_empty().then_some(()));
        assert!(agent.wire().sign(&blob, b"data", 0).is_none(), "a dropped key signs");
        agent.wait_for("work", "the pause", |now| now["state"] == "paused");
        home.run(&["renew"]).succeeds();
        agent.certificate("work");
        assert_eq!(agent.environment("work")["state"], "ok");
        assert_eq!(agent.list().len(), 2, "what ssh-add brought stays gone");
        assert!(agent.is_running());
    }
}

#[test]
fn deleting_a_key_takes_it_from_everybody_who_has_it() {
    needs!("ssh-add");
    let home = Home::new();
    home.keygen("ca", &["-t", "ed25519"]);
    let key = home.keygen("id", &["-t", "ed25519"]);
    let shared = ["one", "two"].map(|name| home.environment(name, "key = \"~/id\"")).concat();
    home.write_config(&[shared, home.environment("other", "")].concat());
    let agent = Agent::start(&home);
    for name in ["one", "two", "other"] {
        agent.wait_for(name, "a certificate", |now| !now["certificate"].is_null());
    }
    agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    let mut gone: Vec<Vec<u8>> =
        ["one", "two"].iter().map(|name| agent.certificate(name).1).collect();
    gone.push(public_blob(&home.join("id.pub")));

    agent.ssh_add(&["-d", key.to_str().unwrap()]).succeeds();
    for name in ["one", "two"] {
        assert_eq!(agent.environment(name)["state"], "paused", "{name}");
    }
    assert_eq!(agent.environment("other")["state"], "ok");
    let comments: Vec<String> = agent.list().iter().map(Entry::comment).collect();
    assert_eq!(comments, ["other", "other"]);
    for blob in &gone {
        assert!(agent.wire().sign(blob, b"data", 0).is_none(), "a deleted key signs");
    }
    home.run(&["renew", "one"]).succeeds();
    agent.certificate("one");
    assert_eq!(agent.environment("two")["state"], "paused");
}

#[test]
fn deleting_one_environments_key_pauses_that_one() {
    needs!("ssh-add");
    let home = Home::with_environment("key = \"~/id\"");
    home.keygen("id", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    agent.certificate("work");
    agent.ssh_add(&["-d", home.join("id").to_str().unwrap()]).succeeds();
    agent.wait_for("work", "the pause", |now| now["state"] == "paused");
    assert_eq!(agent.list(), []);
    home.run(&["renew", "work"]).succeeds();
    agent.certificate("work");
}
