//! The configuration changes under a running agent: all or nothing, and what did not change is not
//! disturbed.

use crate::support;
use crate::support::{Agent, Home, Outcome, eventually, needs};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_changed_configuration_takes_effect_and_leaves_the_rest_alone() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_environment("");
    home.write_config(&[home.environment("stays", ""), home.environment("goes", "")].concat());
    let agent = Agent::start(&home);
    agent.wait_for("goes", "a certificate", |now| !now["certificate"].is_null());
    let (_, stays) = agent.certificate("stays");
    let (_, goes) = agent.certificate("goes");
    let own = home.keygen("own", &["-t", "ed25519"]);
    agent.ssh_add(&["-q", own.to_str().unwrap()]).succeeds();

    home.write_config(&[home.environment("comes", ""), home.environment("stays", "")].concat());
    agent.signal(Signal::HUP);
    agent.wait_for("comes", "a certificate", |now| !now["certificate"].is_null());
    assert!(agent.environment("goes").is_null());
    assert_eq!(agent.certificate("stays").1, stays, "an unchanged environment keeps all it has");
    assert!(agent.wire().sign(&goes, b"data", 0).is_none(), "a removed environment signs");
    let comments: Vec<String> = agent.list().iter().map(support::wire::Entry::comment).collect();
    assert_eq!(comments, ["comes", "stays", "own", "comes", "stays"]);
}

#[test]
fn a_changed_environment_gets_a_new_certificate() {
    let home = Home::with_environment("lifetime = \"1h\"");
    let agent = Agent::start(&home);
    let (old, _) = agent.certificate("work");
    home.write_config(&home.environment("work", "lifetime = \"2h\""));
    agent.signal(Signal::HUP);
    let new = eventually("a longer certificate", || {
        let (new, _) = agent.find_certificate("work")?;
        (new.serial != old.serial).then_some(new)
    });
    assert_eq!(new.valid_before - new.valid_after, 7200 + 300);
}

#[test]
fn a_wrong_configuration_is_refused_as_a_whole() {
    let home = Home::with_environment("");
    let mut agent = Agent::start(&home);
    let (_, before) = agent.certificate("work");
    let loaded = agent.status()["config"]["loaded"].clone();
    let unusable = home.environment("extra", "").replace("/ca\"", "/missing\"");
    for (text, says) in [
        ("[environments.work]\nlifetme = \"1h\"\n".to_owned(), "config.toml:2:1: "),
        (home.environment("work", "lifetime = \"0s\""), "config.toml:3:12: "),
        ([home.environment("work", "lifetime = \"2h\""), unusable].concat(), "/missing"),
    ] {
        home.write_config(&text);
        agent.signal(Signal::HUP);
        eventually(says, || {
            let error = agent.status()["config"]["error"].as_str()?.to_owned();
            error.contains(says).then_some(())
        });
        assert_eq!(home.run(&["status"]).code, Some(1), "a refused configuration is a failure");
        assert_eq!(agent.certificate("work").1, before, "the old one stays in force");
        assert_eq!(agent.environment("work")["state"], "ok");
        assert!(agent.is_running());
    }
    assert_eq!(agent.status()["config"]["loaded"], loaded);

    home.write_config(&home.environment("work", ""));
    agent.signal(Signal::HUP);
    eventually("the error to go", || agent.status()["config"]["error"].is_null().then_some(()));
    assert_eq!(agent.certificate("work").1, before);
    home.run(&["status"]).succeeds();
}

#[test]
fn a_certificate_that_would_say_the_same_stays() {
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let (_, before) = agent.certificate("work");
    home.break_ledger();
    for settings in ["wait = \"1s\"", "hosts = [\"*.example.org\"]", "wait = \"2s\"\nhosts = []"] {
        reload(&home, &agent, settings);
        assert_eq!(agent.certificate("work").1, before, "{settings}");
        let now = agent.environment("work");
        assert_eq!((&now["state"], &now["last_error"]), (&"ok".into(), &Value::Null), "{settings}");
    }
}

#[test]
fn a_certificate_of_the_same_rights_stays_until_the_next_is_there() {
    let home = Home::with_environment("lifetime = \"1h\"");
    let agent = Agent::start(&home);
    let (old, before) = agent.certificate("work");
    home.break_ledger();
    reload(&home, &agent, "lifetime = \"2h\"");
    agent.wait_for("work", "a failure", |now| now["state"] == "degraded");
    assert_eq!(agent.certificate("work").1, before);
    assert!(agent.wire().sign(&before, b"data", 0).is_some(), "it does not sign any more");

    home.mend_ledger();
    home.run(&["renew", "work"]).succeeds();
    let (new, _) = agent.certificate("work");
    assert_ne!(new.serial, old.serial);
    assert_eq!(new.valid_before - new.valid_after, 7200 + 300);
}

#[test]
fn a_certificate_of_other_rights_goes_at_once() {
    let home = Home::with_environment("wait = \"0s\"");
    let agent = Agent::start(&home);
    agent.wait_for("work", "a certificate", |now| !now["certificate"].is_null());
    let (_, before) = agent.certificate("work");
    home.break_ledger();
    let name = support::login_name();
    let other = home
        .environment("work", "wait = \"0s\"")
        .replace(&format!("[\"{name}\"]"), "[\"somebody-else\"]");
    reload_text(&home, &agent, &other);
    assert!(agent.find_certificate("work").is_none(), "the old principals are still offered");
    assert!(agent.wire().sign(&before, b"data", 0).is_none(), "the old principals still sign");
}

#[test]
fn a_pipe_in_the_place_of_a_file_keeps_nobody_waiting() {
    needs!("mkfifo", "ssh-keygen");
    for place in [Home::config, Home::ca] {
        let home = Home::with_environment("");
        let mut agent = Agent::start(&home);
        agent.certificate("work");
        let pipe = place(&home);
        home.make_pipe(&pipe);

        agent.signal(Signal::HUP);
        agent.signal(Signal::USR1);
        eventually("an empty list", || agent.list().is_empty().then_some(()));
        eventually("the error", || {
            let error = agent.status()["config"]["error"].as_str()?.to_owned();
            error.contains(pipe.to_str().unwrap()).then_some(())
        });
        agent.signal(Signal::HUP);
        agent.signal(Signal::TERM);
        assert_eq!(agent.wait().code(), Some(0), "{}", pipe.display());
    }
}

#[test]
fn a_deleted_configuration_changes_nothing() {
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let (_, before) = agent.certificate("work");
    std::fs::remove_file(home.config()).unwrap();
    agent.signal(Signal::HUP);
    eventually("the error", || agent.status()["config"]["error"].as_str().map(str::to_owned));
    assert_eq!(agent.certificate("work").1, before);
    assert!(!home.config().exists(), "it was written anew");
}

#[test]
fn many_reloads_in_a_row_do_no_harm() {
    let home = Home::with_environment("");
    let mut agent = Agent::start(&home);
    let (_, before) = agent.certificate("work");
    for _ in 0..200 {
        agent.signal(Signal::HUP);
    }
    assert_eq!(agent.certificate("work").1, before);
    assert!(agent.is_running());
    let status: Outcome = home.run(&["status"]);
    status.succeeds();
}

/// Puts other settings of the one environment into force.
fn reload(home: &Home, agent: &Agent<'_>, settings: &str) {
    reload_text(home, agent, &home.environment("work", settings));
}

/// Puts this configuration into force, and waits until it is: until an environment of a name that
/// never was there before shows up behind the others.
fn reload_text(home: &Home, agent: &Agent<'_>, text: &str) {
    let known = agent.status()["environments"].as_array().unwrap().len();
    let marks: String = (0..known)
        .map(|number| home.environment(&format!("mark{number}"), "wait = \"0s\""))
        .collect();
    home.write_config(&[text, &marks].concat());
    agent.signal(Signal::HUP);
    agent.wait_for(&format!("mark{}", known - 1), "the reload", |now| !now.is_null());
}
