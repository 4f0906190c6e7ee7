//! The agent protocol in raw bytes: every request has an answer, every bad one a refusal, and
//! nothing a client sends ends the agent or another client's connection.

use crate::support::wire::{
    EXTENSION, EXTENSION_FAILURE, EXTENSION_RESPONSE, FAILURE, IDENTITIES_ANSWER, MAX_FRAME,
    Message, REQUEST_IDENTITIES, SIGN_REQUEST, SIGN_RESPONSE, frame, parse_list, public_blob,
};
use crate::support::{Agent, Home, needs};

/// An empty list.
const NOTHING: [u8; 5] = [IDENTITIES_ANSWER, 0, 0, 0, 0];

#[test]
fn what_is_not_served_is_refused_and_the_connection_goes_on() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut wire = agent.wire();
    let mut refused: Vec<Vec<u8>> = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 16, 24, 28, 29]
        .into_iter()
        .chain(30..=255)
        .map(|kind| vec![kind])
        .collect();
    for kind in [20, 26] {
        // A library to load: never.
        let library = "/usr/lib/x86_64-linux-gnu/libc.so.6";
        refused.push(Message::new(kind).string(library).string("1234").done());
    }
    refused.push(Message::new(21).string("/usr/lib/x.so").string("").done());
    for kind in [22, 23] {
        refused.push(Message::new(kind).string("passphrase").done());
        refused.push(Message::new(kind).string("").done());
        refused.push(vec![kind, 0, 0, 0, 200, 1]);
    }
    for kind in [13, 17, 18, 25] {
        refused.push(vec![kind]);
        refused.push(vec![kind, 0, 0]);
        refused.push(vec![kind, 255, 255, 255, 255]);
        refused.push(Message::new(kind).string("ssh-ed25519").u32(0xffff_ffff).done());
    }
    refused.push(vec![EXTENSION]);
    refused.push(Message::new(EXTENSION).string("nobody@example.org").bytes(b"body").done());
    for request in refused {
        assert_eq!(wire.ask(&request), [FAILURE], "{request:?}");
        assert_eq!(wire.ask(&[REQUEST_IDENTITIES]), NOTHING, "after {request:?}");
    }
}

#[test]
fn a_query_names_the_extensions() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let reply = agent.wire().ask(&Message::new(EXTENSION).string("query").done());
    let expected =
        Message::new(EXTENSION_RESPONSE).string("query").string("session-bind@openssh.com").done();
    assert_eq!(reply, expected);
}

#[test]
fn a_frame_of_no_length_or_too_much_ends_the_connection_without_a_word() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut other = agent.wire();
    let too_long = u32::try_from(MAX_FRAME + 1).unwrap();
    for length in [0, too_long, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut wire = agent.wire();
        wire.send_raw(&length.to_be_bytes());
        assert_eq!(wire.receive(), None, "length {length}");
        assert_eq!(other.ask(&[REQUEST_IDENTITIES]), NOTHING);
    }
}

#[test]
fn the_largest_frame_is_served() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut wire = agent.wire();
    let mut list = vec![0; MAX_FRAME];
    list[0] = REQUEST_IDENTITIES;
    assert_eq!(wire.ask(&list), NOTHING, "bytes after a list request are ignored");
    assert_eq!(wire.ask(&vec![99; MAX_FRAME]), [FAILURE]);
}

#[test]
fn the_largest_message_is_signed() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let blob = added_key(&home, &agent);
    let overhead = Message::new(SIGN_REQUEST).string(&blob).string("").u32(0).done().len();
    let data = vec![0x5a; MAX_FRAME - overhead];
    assert!(agent.wire().sign(&blob, &data, 0).is_some());
}

#[test]
fn requests_may_be_queued_and_are_answered_in_order() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let blob = added_key(&home, &agent);
    let sign = Message::new(SIGN_REQUEST).string(&blob).string("data").u32(0).done();
    let requests: [&[u8]; 3] = [&[REQUEST_IDENTITIES], &sign, &[99]];
    let mut wire = agent.wire();
    let once: Vec<u8> = requests.iter().flat_map(|request| frame(request)).collect();
    wire.send_raw(&once.repeat(20));
    for _ in 0..20 {
        assert_eq!(parse_list(&wire.receive().unwrap()).len(), 1);
        assert_eq!(wire.receive().unwrap()[0], SIGN_RESPONSE);
        assert_eq!(wire.receive().unwrap(), [FAILURE]);
    }
}

#[test]
fn an_unbound_bind_is_a_failed_extension() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let request = Message::new(EXTENSION).string("session-bind@openssh.com").done();
    assert_eq!(agent.wire().ask(&request), [EXTENSION_FAILURE]);
}

/// A key of our own in the agent.
fn added_key(home: &Home, agent: &Agent<'_>) -> Vec<u8> {
    let key = home.keygen("id", &["-t", "ed25519"]);
    agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    public_blob(&home.join("id.pub"))
}
