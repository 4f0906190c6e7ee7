//! The first run, cut off at any moment: the next start finishes the work, and a CA key that is
//! there already is kept, for a server may trust it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::support;
use crate::support::home::{entries, mode, with_suffix};
use crate::support::wire::public_blob;
use crate::support::{Agent, Home, Outcome, PATIENCE, needs};

#[test]
fn what_lies_beside_is_left_alone() {
    let home = Home::new();
    let beside = [home.first_ca(), home.config()].map(|file| with_suffix(&file, ".new"));
    for mine in &beside {
        fs::create_dir_all(mine.parent().unwrap()).unwrap();
        fs::write(mine, "mine").unwrap();
    }
    drop(Agent::start(&home));
    for mine in &beside {
        assert_eq!(fs::read_to_string(mine).unwrap(), "mine");
    }
}

#[test]
fn a_ca_key_without_its_public_half_is_kept() {
    needs!("ssh-keygen");
    let home = Home::new();
    drop(Agent::start(&home));
    let key = fs::read(home.first_ca()).unwrap();
    let public = with_suffix(&home.first_ca(), ".pub");
    let blob = public_blob(&public);
    fs::remove_file(&public).unwrap();
    fs::remove_file(home.config()).unwrap();
    whole_after_a_start(&home);
    assert_eq!(fs::read(home.first_ca()).unwrap(), key, "the CA key was replaced");
    assert_eq!(public_blob(&public), blob);
}

#[test]
fn the_public_half_of_another_key_is_not_passed_off_as_ours() {
    let home = Home::new();
    drop(Agent::start(&home));
    let public = with_suffix(&home.first_ca(), ".pub");
    let before = fs::read(&public).unwrap();
    fs::remove_file(home.first_ca()).unwrap();
    fs::remove_file(home.config()).unwrap();
    let refused = home.run(&["agent"]).exits(1);
    assert!(refused.stderr.contains("local.pub holds another key"), "{refused}");
    assert!(!home.first_ca().exists() && !home.config().exists());
    assert_eq!(fs::read(&public).unwrap(), before);
}

#[test]
fn a_kill_at_any_step_is_made_good_by_the_next_start() {
    // Whatever the first run makes, in its order, and at last the socket.
    let steps: [fn(&Home) -> PathBuf; 6] = [
        |home| home.first_ca().parent().unwrap().to_owned(),
        Home::first_ca,
        |home| with_suffix(&home.first_ca(), ".pub"),
        |home| home.config().parent().unwrap().to_owned(),
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
    assert_eq!(whole(key.parent().unwrap()), [key.clone(), public.clone()]);
    assert_eq!(whole(home.config().parent().unwrap()), [home.config()]);
    home.run(&["config", "check"]).succeeds();
    if support::program("ssh-keygen").is_some() {
        let derived = Outcome::of(home.command("ssh-keygen").arg("-yf").arg(&key)).succeeds();
        let derived = derived.stdout.split_whitespace().nth(1).unwrap().to_owned();
        let written = fs::read_to_string(&public).unwrap();
        assert_eq!(written.split_whitespace().nth(1), Some(&*derived), "two halves of two keys");
    }
}

/// What lies in a folder, but for drafts: they are of no use, and closed to others.
fn whole(folder: &Path) -> Vec<PathBuf> {
    let is_draft = |path: &PathBuf| {
        path.file_name().unwrap().to_str().unwrap().starts_with(".evercert-") && mode(path) == 0o600
    };
    entries(folder).into_iter().filter(|path| !is_draft(path)).collect()
}
