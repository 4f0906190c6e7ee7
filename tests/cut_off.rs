//! The first run, cut off at any moment: the next start finishes the work, and a CA key that is
//! there already is kept, for a server may trust it.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::support;
use crate::support::home::{entries, mode, set_mode, with_suffix};
use crate::support::wire::public_blob;
use crate::support::{Agent, Home, Outcome, PATIENCE, needs};

#[test]
fn half_a_ca_key_is_made_again() {
    let home = Home::new();
    let draft = with_suffix(&home.first_ca(), ".new");
    fs::create_dir_all(draft.parent().unwrap()).unwrap();
    fs::write(&draft, "-----BEGIN OPENSSH PRIV").unwrap();
    set_mode(&draft, 0o600);
    whole_after_a_start(&home);
    assert_eq!(mode(&home.first_ca()), 0o600);
}

#[test]
fn a_ca_key_without_its_public_half_is_kept() {
    needs!("ssh-keygen");
    let home = Home::new();
    drop(Agent::start(&home));
    let key = fs::read(home.first_ca()).unwrap();
    let public = with_suffix(&home.first_ca(), ".pub");
    let blob = public_blob(&public);
    for leftover in [None, Some(with_suffix(&public, ".new"))] {
        fs::remove_file(&public).unwrap();
        fs::remove_file(home.config()).unwrap();
        if let Some(draft) = &leftover {
            fs::write(draft, "ssh-ed2").unwrap();
        }
        whole_after_a_start(&home);
        assert_eq!(fs::read(home.first_ca()).unwrap(), key, "the CA key was replaced");
        assert_eq!(public_blob(&public), blob);
    }
}

#[test]
fn half_a_configuration_is_written_again() {
    let home = Home::with_config("");
    fs::rename(home.config(), with_suffix(&home.config(), ".new")).unwrap();
    fs::write(with_suffix(&home.config(), ".new"), "# The first\n[environments.lo").unwrap();
    whole_after_a_start(&home);
}

#[test]
fn a_kill_at_any_step_is_made_good_by_the_next_start() {
    // Whatever the first run makes, in its order, and at last the socket.
    let steps: [fn(&Home) -> PathBuf; 8] = [
        |home| home.first_ca().parent().unwrap().to_owned(),
        |home| with_suffix(&home.first_ca(), ".new"),
        Home::first_ca,
        |home| with_suffix(&home.first_ca(), ".pub"),
        |home| home.config().parent().unwrap().to_owned(),
        |home| with_suffix(&home.config(), ".new"),
        Home::config,
        Home::socket,
    ];
    for step in steps {
        let home = Home::new();
        let (step, last) = (step(&home), home.socket());
        let mut agent = Agent::launch(&home, |_| {});
        let start = Instant::now();
        // Not a moment is lost between two looks; a step that was there too short is missed.
        while !step.exists() && !last.exists() {
            assert!(start.elapsed() < PATIENCE, "{} never came", step.display());
        }
        agent.kill();
        let key = fs::read(home.first_ca()).ok();
        whole_after_a_start(&home);
        if key.is_some() {
            assert_eq!(fs::read(home.first_ca()).ok(), key, "the CA key was replaced");
        }
    }
}

/// Starts the agent: everything must be there, fit together, and nothing else.
fn whole_after_a_start(home: &Home) {
    let agent = Agent::start(home);
    agent.certificate("local");
    let (key, public) = (home.first_ca(), with_suffix(&home.first_ca(), ".pub"));
    assert_eq!(entries(key.parent().unwrap()), [key.clone(), public.clone()]);
    assert_eq!(entries(home.config().parent().unwrap()), [home.config()]);
    home.run(&["config", "check"]).succeeds();
    if support::program("ssh-keygen").is_some() {
        let derived = Outcome::of(home.command("ssh-keygen").arg("-yf").arg(&key)).succeeds();
        let derived = derived.stdout.split_whitespace().nth(1).unwrap().to_owned();
        let written = fs::read_to_string(&public).unwrap();
        assert_eq!(written.split_whitespace().nth(1), Some(&*derived), "two halves of two keys");
    }
}
