//! Nothing ticks while nothing is due: an agent that nobody asks does not run at all.

use std::fs;
use std::time::{Duration, Instant};

use crate::support;
use crate::support::{Agent, Home, needs};

#[test]
fn an_agent_that_nobody_asks_sleeps() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let key = home.keygen("own", &["-t", "rsa", "-b", "2048"]);
    agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    for entry in agent.list() {
        assert!(agent.wire().sign(&entry.blob, b"data", 4).is_some());
    }

    // What was busy may take a while to lie down; then nothing wakes for ten seconds.
    let mut since = Instant::now();
    let mut before = wakings(agent.pid());
    support::within(Duration::from_secs(40), "ten seconds of sleep", || {
        let now = wakings(agent.pid());
        if now != before {
            (since, before) = (Instant::now(), now);
        }
        (since.elapsed() > Duration::from_secs(10)).then_some(())
    });
    assert!(agent.list().len() == 3, "and it is still there");
}

/// How often each thread of a process has given up the processor of its own accord.
fn wakings(pid: u32) -> Vec<(String, String)> {
    let mut threads: Vec<(String, String)> = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|thread| {
            let thread = thread.ok()?;
            let facts = fs::read_to_string(thread.path().join("status")).ok()?;
            let line = facts.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
            Some((thread.file_name().into_string().ok()?, line.to_owned()))
        })
        .collect();
    threads.sort();
    threads
}
