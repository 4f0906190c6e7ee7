//! Who is at the other end: a bind is believed only with the host's signature, and remembered.

use std::fs;

use crate::support::home::with_suffix;
use crate::support::wire::{
    EXTENSION, EXTENSION_FAILURE, FAILURE, Message, SUCCESS, Wire, public_blob,
};
use crate::support::{Agent, Home, KEY_KINDS, needs};

const SESSION: [u8; 32] = [0x42; 32];

#[test]
fn every_kind_of_host_key_binds_plain_and_certified() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    home.keygen("host_ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    for (kind, arguments, _) in KEY_KINDS {
        let host = Host::new(&home, &agent, kind, arguments);
        for blob in [&host.public, &host.certificate] {
            let mut wire = agent.wire();
            let bind = bind(blob, &SESSION, &host.sign(&agent, &SESSION), true);
            assert_eq!(wire.ask(&bind), [SUCCESS], "{kind}");
            assert_eq!(wire.ask(&bind), [SUCCESS], "{kind}: saying it again is no harm");
        }
    }
}

#[test]
fn a_bind_that_the_host_did_not_sign_is_refused() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    home.keygen("host_ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let host = Host::new(&home, &agent, "host", &["-t", "ed25519"]);
    let other = Host::new(&home, &agent, "other", &["-t", "ed25519"]);
    let good = host.sign(&agent, &SESSION);
    let mut bent = good.clone();
    *bent.last_mut().unwrap() ^= 1;
    let long = [7; 129];
    for (why, request) in [
        ("bent signature", bind(&host.public, &SESSION, &bent, false)),
        ("another session", bind(&host.public, &[1; 32], &good, false)),
        ("another key", bind(&other.public, &SESSION, &good, false)),
        ("another key's certificate", bind(&other.certificate, &SESSION, &good, false)),
        ("no signature", bind(&host.public, &SESSION, b"", false)),
        ("no key", bind(b"", &SESSION, &good, false)),
        ("long session id", bind(&host.public, &long, &host.sign(&agent, &long), false)),
        ("cut off", {
            let mut request = bind(&host.public, &SESSION, &good, false);
            request.truncate(request.len() - 1);
            request
        }),
    ] {
        let mut wire = agent.wire();
        assert_eq!(wire.ask(&request), [EXTENSION_FAILURE], "{why}");
        assert_eq!(wire.list().len(), 2, "{why}: the connection goes on");
        assert!(wire.sign(&host.public, b"data", 0).is_some(), "{why}: unlimited keys sign");
    }
}

#[test]
fn binds_follow_one_another_only_through_forwarding() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    home.keygen("host_ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let first = Host::new(&home, &agent, "first", &["-t", "ed25519"]);
    let second = Host::new(&home, &agent, "second", &["-t", "ecdsa"]);
    let bound = |wire: &mut Wire, host: &Host, session: &[u8], forwarding| {
        wire.ask(&bind(&host.public, session, &host.sign(&agent, session), forwarding))
    };

    let mut wire = agent.wire();
    assert_eq!(bound(&mut wire, &first, b"one", true), [SUCCESS]);
    assert_eq!(bound(&mut wire, &second, b"one", false), [EXTENSION_FAILURE], "one session");
    assert_eq!(bound(&mut wire, &second, b"two", false), [SUCCESS]);
    assert_eq!(bound(&mut wire, &first, b"three", false), [EXTENSION_FAILURE], "after the last");

    let mut wire = agent.wire();
    for hop in 0..16_u8 {
        assert_eq!(bound(&mut wire, &first, &[hop; 32], true), [SUCCESS], "hop {hop}");
    }
    assert_eq!(bound(&mut wire, &first, &[16; 32], true), [EXTENSION_FAILURE], "too many");
    assert_eq!(wire.ask(&[99]), [FAILURE]);
}

/// A host with a key, a host certificate, and its private key lent to the agent for signing.
struct Host {
    public: Vec<u8>,
    certificate: Vec<u8>,
}

impl Host {
    fn new(home: &Home, agent: &Agent<'_>, name: &str, kind: &[&str]) -> Self {
        let path = home.keygen(&format!("hosts/{name}"), kind);
        agent.ssh_add(&["-q", path.to_str().unwrap()]).succeeds();
        let made = home.certify(&home.join("host_ca"), &path, &["-h", "-n", "host.example.org"]);
        let certificate = public_blob(&made);
        fs::remove_file(&made).unwrap();
        Self { public: public_blob(&with_suffix(&path, ".pub")), certificate }
    }

    fn sign(&self, agent: &Agent<'_>, session: &[u8]) -> Vec<u8> {
        agent.wire().sign(&self.public, session, 4).unwrap().whole
    }
}

fn bind(host: &[u8], session: &[u8], signature: &[u8], forwarding: bool) -> Vec<u8> {
    Message::new(EXTENSION)
        .string("session-bind@openssh.com")
        .string(host)
        .string(session)
        .string(signature)
        .byte(u8::from(forwarding))
        .done()
}
