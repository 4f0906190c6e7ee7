//! Clients of every temper at once: slow, half gone, greedy, of another user. Nobody pays for them
//! but they themselves.

use std::time::{Duration, Instant};

use crate::support;
use crate::support::wire::{
    EXTENSION, EXTENSION_RESPONSE, IDENTITIES_ANSWER, MAX_FRAME, Message, REQUEST_IDENTITIES,
    SIGN_REQUEST, SIGN_RESPONSE, Wire, frame, parse_list, public_blob,
};
use crate::support::{Agent, Home, needs, needs_root};
use rustix::process::Signal;

/// An empty list.
const NOTHING: [u8; 5] = [IDENTITIES_ANSWER, 0, 0, 0, 0];

#[test]
fn bytes_may_come_one_at_a_time() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut wire = agent.wire();
    let mut other = agent.wire();
    let request = Message::new(EXTENSION).string("query").done();
    for byte in frame(&request) {
        wire.send_raw(&[byte]);
        assert_eq!(other.ask(&[REQUEST_IDENTITIES]), NOTHING, "others need not wait");
    }
    assert_eq!(wire.receive().unwrap()[0], EXTENSION_RESPONSE);
}

#[test]
fn a_client_that_closed_its_side_still_gets_its_answers() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let blob = added_key(&home, &agent, &["-t", "ed25519"]);
    let sign = Message::new(SIGN_REQUEST).string(&blob).string("data").u32(0).done();
    for _ in 0..20 {
        let mut wire = agent.wire();
        wire.send_raw(&[frame(&[REQUEST_IDENTITIES]), frame(&sign)].concat());
        wire.half_close();
        assert_eq!(parse_list(&wire.receive().expect("the list")).len(), 1);
        assert_eq!(wire.receive().expect("the signature")[0], SIGN_RESPONSE);
        assert_eq!(wire.receive(), None);
    }
}

#[test]
fn half_a_request_harms_nobody() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut parked = Vec::new();
    for _ in 0..50 {
        drop(agent.wire()); // Opened and closed without a byte: ordinary.
        let mut wire = agent.wire();
        wire.send_raw(&u32::try_from(MAX_FRAME).unwrap().to_be_bytes());
        wire.send_raw(&[REQUEST_IDENTITIES; 1000]);
        parked.push(wire);
    }
    assert_eq!(agent.wire().ask(&[REQUEST_IDENTITIES]), NOTHING);
}

#[test]
fn a_client_that_never_reads_stalls_nobody_else() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    for name in ["a", "b", "c"] {
        let key = home.keygen(name, &["-t", "rsa", "-b", "2048"]);
        agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    }
    let socket = agent.socket().to_owned();
    let greedy = std::thread::spawn(move || {
        let mut wire = Wire::connect(&socket);
        wire.limit_writing(Duration::from_secs(2));
        wire.send_raw(&frame(&[REQUEST_IDENTITIES]).repeat(200_000));
        wire
    });
    let mut slowest = Duration::ZERO;
    while !greedy.is_finished() {
        let start = Instant::now();
        assert_eq!(agent.wire().list().len(), 3);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "somebody else waited {slowest:?}");
    drop(greedy.join().unwrap());
    assert!(resident_kib(agent.pid()) < 64 * 1024, "{} KiB", resident_kib(agent.pid()));
}

#[test]
fn a_flood_of_signatures_takes_turns_with_everybody_else() {
    const FLOOD: usize = 1000;
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let blob = added_key(&home, &agent, &["-t", "ecdsa", "-b", "521"]);
    let sign = Message::new(SIGN_REQUEST).string(&blob).string("data").u32(0).done();
    let mut other = agent.wire();
    assert_eq!(other.list().len(), 1);

    let mut replies = agent.wire();
    let mut requests = replies.twin();
    let sender = std::thread::spawn(move || requests.send_raw(&frame(&sign).repeat(FLOOD)));
    let (begun, begins) = std::sync::mpsc::channel();
    let receiver = std::thread::spawn(move || {
        for _ in 0..FLOOD {
            assert_eq!(replies.receive().expect("a signature")[0], SIGN_RESPONSE);
            let _ = begun.send(());
        }
    });
    begins.recv().expect("a first signature");
    // Not a question of time: whoever must wait for the end of the flood gets an answer or two by
    // then, whoever has a turn between signatures gets hundreds.
    let mut lists = 0;
    while !receiver.is_finished() {
        assert_eq!(other.list().len(), 1);
        lists += 1;
    }
    receiver.join().unwrap();
    sender.join().unwrap();
    assert!(lists >= 20, "{lists} lists during {FLOOD} signatures");
}

#[test]
fn an_agent_that_is_told_to_end_leaves_no_half_answer() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let mut agent = Agent::start(&home);
    let blob = added_key(&home, &agent, &["-t", "ed25519"]);
    let sign = Message::new(SIGN_REQUEST).string(&blob).string("data").u32(0).done();
    let mut busy: Vec<Wire> = (0..20).map(|_| agent.wire()).collect();
    for wire in &mut busy {
        wire.send_raw(&frame(&sign).repeat(50));
    }
    agent.signal(Signal::TERM);
    for wire in &mut busy {
        while let Some(reply) = wire.receive() {
            assert_eq!(reply[0], SIGN_RESPONSE);
        }
    }
    assert_eq!(agent.wait().code(), Some(0));
    assert!(!home.socket().exists());
}

#[test]
fn another_users_process_is_cut_off() {
    needs_root!();
    needs!("setpriv", "ssh-add");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    open_the_way(&home);

    let stranger = support::Outcome::of(
        agent
            .client("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["ssh-add", "-l"]),
    );
    // Connected, then closed: the file modes let it in, the agent did not. Where the agent was quick,
    // its request met a closed pipe, and it died of that.
    let cut_off = stranger.code.is_none() || stranger.stderr.contains("error fetching identities");
    assert!(cut_off, "{stranger}");
    assert_eq!(stranger.stdout, "");
    agent.ssh_add(&["-l"]).exits(1);
}

/// A key of our own in the agent.
fn added_key(home: &Home, agent: &Agent<'_>, kind: &[&str]) -> Vec<u8> {
    let key = home.keygen("id", kind);
    agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    public_blob(&home.join("id.pub"))
}

/// Opens the socket and every directory above it to all, as a careless administrator might.
fn open_the_way(home: &Home) {
    let socket = home.socket();
    for directory in socket.ancestors().skip(1).take_while(|path| path.starts_with(home.path())) {
        support::home::set_mode(directory, 0o755);
    }
    support::home::set_mode(&socket, 0o777);
}

fn resident_kib(pid: u32) -> u64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
