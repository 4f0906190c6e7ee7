//! The process keeps to itself: no core files, and another program of the same user cannot look
//! into it.

use std::fs;
use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use crate::support;
use crate::support::home::set_mode;
use crate::support::{Agent, Home, Outcome, eventually, needs, needs_root};

const NOBODY: u32 = 65534;

#[test]
fn it_leaves_no_core_file() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let figures: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(figures, ["0", "0"], "{core}");
}

#[test]
fn its_own_user_cannot_look_into_it() {
    if !support::is_root() {
        let home = Home::with_config("");
        let agent = Agent::start(&home);
        for secret in ["environ", "maps", "mem"] {
            let path = format!("/proc/{}/{secret}", agent.pid());
            assert!(fs::File::open(&path).is_err(), "{path} is open");
        }
        return;
    }
    needs_root!();
    needs!("setpriv", "sleep", "cat");
    let home = Home::with_config("");
    let program = home.join("evercert");
    fs::copy(env!("CARGO_BIN_EXE_evercert"), &program).unwrap();
    set_mode(&program, 0o755);
    give_away(&home);
    let mut agent = as_nobody(&home);
    let mut child = agent
        .arg(&program)
        .arg("agent")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut control = as_nobody(&home).args(["sleep", "60"]).spawn().unwrap();
    eventually("the agent", || home.socket().exists().then_some(()));
    let look = |pid: u32, secret: &str| {
        let path = format!("/proc/{pid}/{secret}");
        Outcome::of(as_nobody(&home).arg("cat").arg(path)).code
    };
    let seen = ["environ", "maps"].map(|secret| look(child.id(), secret));
    let of_another = look(control.id(), "environ");
    for process in [&mut child, &mut control] {
        let _ = process.kill();
        let _ = process.wait();
    }
    assert_eq!(seen, [Some(1), Some(1)], "it can be looked into");
    assert_eq!(of_another, Some(0), "nothing can be looked into here, so this proves nothing");
}

/// Hands the whole home to nobody.
fn give_away(home: &Home) {
    let mut command = home.command("chown");
    command.arg("-R").arg(format!("{NOBODY}:{NOBODY}")).arg(home.path());
    Outcome::of(&mut command).succeeds();
    chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
}

fn as_nobody(home: &Home) -> Command {
    let mut command = home.command("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command
}
