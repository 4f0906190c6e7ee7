//! The laptop slept, or somebody set the clock: the next login succeeds all the same.

use std::fs;

use crate::support::clock::Clock;
use crate::support::sshd::{HostKey, Trust, needs_login};
use crate::support::{Agent, Home, Sshd, skip};

const HOUR: i64 = 3600;

#[test]
fn eight_hours_later_the_next_login_has_a_new_certificate() {
    needs_login!();
    let Some(clock) = Clock::new() else {
        skip!("faketime is not installed");
    };
    let home = Home::with_environment("");
    let (agent, server) = scene(&home, &clock);
    let (old, old_blob) = agent.certificate("work");
    server.login(&home, agent.socket()).succeeds();

    clock.step(8 * HOUR);
    server.login(&home, agent.socket()).succeeds();
    let (new, _) = agent.certificate("work");
    assert_ne!(old.serial, new.serial);
    assert!(new.valid_before > old.valid_before + 6 * 3600, "by the moved clock");
    assert!(agent.list().iter().all(|entry| entry.blob != old_blob), "the old one is listed");
    assert!(agent.wire().sign(&old_blob, b"data", 0).is_none(), "the old one signs");
    let last = server.accepted().pop().unwrap();
    assert!(last.contains(&format!("(serial {})", new.serial)), "{last}");
}

#[test]
fn the_servers_clock_really_moves() {
    // Or else the logins above would prove nothing.
    needs_login!();
    let Some(clock) = Clock::new() else {
        skip!("faketime is not installed");
    };
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let authority = fs::read_to_string(home.join("ca.pub")).unwrap();
    let server = Sshd::start(&Trust::Authorities(&authority), HostKey::Plain, |command| {
        clock.govern(command);
    });
    server.login(&home, agent.socket()).succeeds();
    clock.step(8 * HOUR);
    server.login(&home, agent.socket()).exits(255);
    assert!(server.log().contains("Certificate invalid: expired"));
}

#[test]
fn an_expired_certificate_is_not_in_the_very_next_list() {
    let Some(clock) = Clock::new() else {
        skip!("faketime is not installed");
    };
    let home = Home::with_environment("");
    let agent = Agent::start_with(&home, |command| clock.govern(command));
    let (_, old_blob) = agent.certificate("work");
    let mut wire = agent.wire();
    home.break_ledger();

    clock.step(8 * HOUR);
    assert!(wire.sign(&old_blob, b"data", 0).is_none(), "an expired certificate signs");
    assert!(wire.list().iter().all(|entry| entry.certificate().is_none()));
    assert_eq!(agent.environment("work")["state"], "expired");

    // By the clock it is valid again, but it was seen to be over.
    clock.step(0);
    assert!(wire.list().iter().all(|entry| entry.blob != old_blob), "it came back");
    assert!(wire.sign(&old_blob, b"data", 0).is_none(), "it came back to sign");
}

#[test]
fn a_clock_set_back_ten_minutes_does_no_harm() {
    needs_login!();
    let Some(clock) = Clock::new() else {
        skip!("faketime is not installed");
    };
    let home = Home::with_environment("");
    let (agent, server) = scene(&home, &clock);
    server.login(&home, agent.socket()).succeeds();

    clock.step(-600);
    // What was issued at the later time is not valid yet.
    server.login(&home, agent.socket()).succeeds();
    let (certificate, _) = agent.certificate("work");
    let now = jiff::Timestamp::now().as_second() - 600;
    assert!(i64::try_from(certificate.valid_after).unwrap() <= now);
}

#[test]
fn a_certificate_from_the_future_is_not_shown() {
    let Some(clock) = Clock::new() else {
        skip!("faketime is not installed");
    };
    let home = Home::with_environment("wait = \"0s\"");
    let agent = Agent::start_with(&home, |command| clock.govern(command));
    agent.wait_for("work", "a certificate", |now| !now["certificate"].is_null());
    let (_, blob) = agent.certificate("work");
    home.break_ledger();
    clock.step(-600);
    assert!(agent.wire().sign(&blob, b"data", 0).is_none(), "signs before it is valid");
    assert!(agent.list().iter().all(|entry| entry.certificate().is_none()));
}

#[test]
fn a_certificate_renewed_away_signs_only_within_its_window() {
    let Some(clock) = Clock::new() else {
        skip!("faketime is not installed");
    };
    let home = Home::with_environment("");
    let agent = Agent::start_with(&home, |command| clock.govern(command));
    let (old, old_blob) = agent.certificate("work");
    home.run(&["renew"]).succeeds();
    assert_ne!(agent.certificate("work").0.serial, old.serial);
    let mut wire = agent.wire();
    assert!(wire.sign(&old_blob, b"data", 0).is_some(), "a login that began is cut off");
    home.break_ledger();
    clock.step(-HOUR);
    assert!(wire.sign(&old_blob, b"data", 0).is_none(), "signs before it is valid");
    clock.step(0);
    assert!(wire.sign(&old_blob, b"data", 0).is_some(), "within its window again");
    clock.step(2 * HOUR);
    assert!(wire.sign(&old_blob, b"data", 0).is_none(), "signs after its end");
}

#[test]
fn logins_go_on_while_the_clock_jumps_about() {
    needs_login!();
    let Some(clock) = Clock::new() else {
        skip!("faketime is not installed");
    };
    let home = Home::with_environment("");
    let (agent, server) = scene(&home, &clock);
    for hours in [1, 2, 30, 24 * 400, 24 * 400 + 3] {
        clock.step(hours * HOUR);
        server.login(&home, agent.socket()).succeeds();
    }
    assert_eq!(server.accepted().len(), 5);
}

/// The agent and a server that trusts its CA, both under one clock.
fn scene<'home>(home: &'home Home, clock: &Clock) -> (Agent<'home>, Sshd) {
    let agent = Agent::start_with(home, |command| clock.govern(command));
    let authority = fs::read_to_string(home.join("ca.pub")).unwrap();
    let server = Sshd::start(&Trust::Authorities(&authority), HostKey::Plain, |command| {
        clock.govern(command);
    });
    (agent, server)
}
