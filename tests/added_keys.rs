//! What an add request may say, byte by byte: replacing, lying, and what this agent does not keep.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::support;
use crate::support::home::with_suffix;
use crate::support::private_key::{add_ed25519, ed25519};
use crate::support::wire::{ADD_CONSTRAINED, ADD_IDENTITY, FAILURE, Message, SUCCESS, public_blob};
use crate::support::{Agent, Home, needs, private_key, sshsig};

#[test]
fn the_flags_choose_the_rsa_hash_and_sha1_is_refused() {
    needs!("ssh-add", "ssh-keygen", "sha512sum");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "rsa", "-b", "2048"]);
    agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    let blob = public_blob(&with_suffix(&key, ".pub"));
    let mut wire = agent.wire();
    for (flags, algorithm) in [
        (2, "rsa-sha2-256"),
        (4, "rsa-sha2-512"),
        (6, "rsa-sha2-256"),
        (3, "rsa-sha2-256"),
        (0x100 | 4, "rsa-sha2-512"),
    ] {
        let signature = sshsig::signs(&home, &mut wire, &blob, &blob, flags).unwrap();
        assert_eq!(signature.algorithm, algorithm, "flags {flags}");
    }
    assert!(wire.sign(&blob, b"data", 0).is_none(), "signs with SHA-1");
    assert_eq!(wire.list().len(), 1, "the connection goes on");
}

#[test]
fn flags_mean_nothing_to_other_keys() {
    needs!("ssh-add", "ssh-keygen", "sha512sum");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    for (name, arguments, algorithm) in [
        ("a", &["-t", "ed25519"][..], "ssh-ed25519"),
        ("b", &["-t", "ecdsa", "-b", "256"], "ecdsa-sha2-nistp256"),
        ("c", &["-t", "ecdsa", "-b", "384"], "ecdsa-sha2-nistp384"),
        ("d", &["-t", "ecdsa", "-b", "521"], "ecdsa-sha2-nistp521"),
    ] {
        let key = home.keygen(name, arguments);
        agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
        let blob = public_blob(&with_suffix(&key, ".pub"));
        for flags in [0, 2, 4, u32::MAX] {
            let signature = sshsig::signs(&home, &mut agent.wire(), &blob, &blob, flags).unwrap();
            assert_eq!(signature.algorithm, algorithm, "flags {flags}");
        }
    }
}

#[test]
fn a_short_ecdsa_scalar_is_as_good_as_a_long_one() {
    needs!("ssh-add", "ssh-keygen", "sha512sum");
    let home = Home::with_config("");
    home.keygen("ca", &["-t", "ed25519"]);
    let agent = Agent::start(&home);
    let key = private_key::short_p521(&home, "id");
    home.certify(&home.ca(), &key, &["-n", "somebody", "-V", "+1h"]);
    agent.ssh_add(&["-q", key.to_str().unwrap()]).succeeds();
    let plain = public_blob(&with_suffix(&key, ".pub"));
    for entry in agent.list() {
        sshsig::signs(&home, &mut agent.wire(), &entry.blob, &plain, 0).unwrap();
    }
    assert_eq!(agent.list().len(), 2);
}

#[test]
fn adding_again_replaces_in_place() {
    needs!("ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut wire = agent.wire();
    for (name, comment) in [("a", "first"), ("b", "second"), ("a", "first again")] {
        let key = home.join(name);
        if !key.exists() {
            home.keygen(name, &["-t", "ed25519"]);
        }
        assert_eq!(wire.ask(&add_ed25519(&key, None, comment.as_bytes())), [SUCCESS]);
    }
    let comments: Vec<String> = wire.list().iter().map(support::wire::Entry::comment).collect();
    assert_eq!(comments, ["first again", "second"]);
}

#[test]
fn a_comment_need_not_be_utf_8() {
    needs!("ssh-keygen", "ssh-add");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    let comment = b"caf\xe9 \xff\xfe";
    assert_eq!(agent.wire().ask(&add_ed25519(&key, None, comment)), [SUCCESS]);
    assert_eq!(agent.list()[0].comment, comment);
    agent.ssh_add(&["-l"]).succeeds();
}

#[test]
fn a_public_half_that_is_another_keys_is_refused() {
    needs!("ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut wire = agent.wire();

    let (key, other) = (home.keygen("a", &["-t", "ed25519"]), home.keygen("b", &["-t", "ed25519"]));
    assert_eq!(wire.ask(&add_ed25519(&key, Some(&other), b"lie")), [FAILURE]);

    let curve = ["-t", "ecdsa", "-b", "256"];
    let (key, other) = (home.keygen("c", &curve), home.keygen("d", &curve));
    assert_eq!(wire.ask(&add_p256(&key, &other)), [FAILURE]);
    assert_eq!(wire.ask(&add_p256(&key, &key)), [SUCCESS], "the truth is accepted");
    assert_eq!(wire.list().len(), 1);
}

#[test]
fn a_private_half_of_the_wrong_size_is_refused() {
    needs!("ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let public = ed25519(&home.keygen("id", &["-t", "ed25519"])).0;
    for length in [0, 3, 32, 63, 65, 4096] {
        let request = Message::new(ADD_IDENTITY)
            .string("ssh-ed25519")
            .string(&public)
            .string(vec![7; length])
            .string("short")
            .done();
        assert_eq!(agent.wire().ask(&request), [FAILURE], "{length} bytes");
    }
    assert_eq!(agent.list(), []);
}

#[test]
fn kinds_of_key_it_does_not_keep_are_refused() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let mut wire = agent.wire();
    let number = vec![0x55; 20];
    let dsa = Message::new(ADD_IDENTITY)
        .string("ssh-dss")
        .string(&number)
        .string(&number)
        .string(&number)
        .string(&number)
        .string(&number)
        .string("dsa");
    let hardware = Message::new(ADD_IDENTITY)
        .string("sk-ssh-ed25519@openssh.com")
        .string(vec![9; 32])
        .string("ssh:")
        .byte(1)
        .string("handle")
        .string("")
        .string("token");
    let unheard = Message::new(ADD_IDENTITY).string("ssh-mldsa44@example.org").string(&number);
    for request in [dsa, hardware, unheard] {
        assert_eq!(wire.ask(&request.done()), [FAILURE]);
    }
    assert_eq!(wire.list(), []);
}

#[test]
fn a_certificate_by_a_hardware_ca_is_held_like_any_other() {
    needs!("ssh-add", "ssh-keygen", "sha512sum");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    let (request, certificate) = ByHardware::good().request(&key);
    let mut wire = agent.wire();
    assert_eq!(wire.ask(&request), [SUCCESS]);
    let list = wire.list();
    assert_eq!(list.len(), 1);
    assert_eq!((&list[0].blob, list[0].comment()), (&certificate, "by hardware".to_owned()));
    let listed = agent.ssh_add(&["-l"]).succeeds().stdout;
    assert!(listed.contains("by hardware (ED25519-CERT)"), "{listed}");
    let plain = public_blob(&with_suffix(&key, ".pub"));
    sshsig::signs(&home, &mut wire, &certificate, &plain, 0).expect("a signature");
    assert_eq!(wire.remove(&certificate), [SUCCESS]);
    assert_eq!(wire.list(), []);
}

#[test]
fn a_damaged_certificate_does_not_cost_the_others_the_list() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    for (what, damaged) in [
        ("no key as CA", ByHardware { authority: b"junk".to_vec(), ..ByHardware::good() }),
        ("a signature of nothing", ByHardware { damage: 1, ..ByHardware::good() }),
        ("no options", ByHardware { options: &[1, 2], ..ByHardware::good() }),
        ("a zero in the key id", ByHardware { key_id: b"a\0b", ..ByHardware::good() }),
    ] {
        let (request, _) = damaged.request(&key);
        assert_eq!(agent.wire().ask(&request), [FAILURE], "{what}");
        let listed = agent.ssh_add(&["-l"]).succeeds().stdout;
        assert!(listed.contains("work (ED25519-CERT)"), "{what}: {listed}");
    }
}

#[test]
fn a_constraint_is_refused_and_the_key_not_kept() {
    needs!("ssh-add", "ssh-keygen");
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let key = home.keygen("id", &["-t", "ed25519"]);
    for arguments in [&["-t", "60"][..], &["-c"]] {
        agent.ssh_add(&[arguments, &[key.to_str().unwrap()]].concat()).exits(1);
        assert_eq!(agent.list(), [], "{arguments:?}");
    }
    let plain = add_ed25519(&key, None, b"limited");
    for constraint in [&b"\x01\x00\x00\x00\x3c"[..], b"\x02", b"\xff\x00\x00\x00\x01x", b"\x63"] {
        let mut request = plain.clone();
        request[0] = ADD_CONSTRAINED;
        request.extend_from_slice(constraint);
        assert_eq!(agent.wire().ask(&request), [FAILURE], "{constraint:?}");
        assert_eq!(agent.list(), [], "{constraint:?}");
    }
}

/// What a certificate by the Ed25519 key of a security key is made of, each part to be damaged.
struct ByHardware {
    key_id: &'static [u8],
    options: &'static [u8],
    authority: Vec<u8>,
    damage: u8,
}

impl ByHardware {
    const HARDWARE: &str = "sk-ssh-ed25519@openssh.com";

    fn good() -> Self {
        let point = Self::pair().public_key().as_ref().to_vec();
        let authority = Message::inner().string(Self::HARDWARE).string(point).string("ssh:").done();
        Self { key_id: b"signed by hardware", options: b"", authority, damage: 0 }
    }

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap()
    }

    /// The certificate, valid for ever.
    fn certificate(&self, subject: &[u8]) -> Vec<u8> {
        let body = Message::inner()
            .string("ssh-ed25519-cert-v01@openssh.com")
            .string([1; 32]) // The nonce.
            .string(subject)
            .bytes(&42_u64.to_be_bytes()) // The serial.
            .u32(1) // A user's.
            .string(self.key_id)
            .string(Message::inner().string("somebody").done())
            .bytes(&0_u64.to_be_bytes())
            .bytes(&u64::MAX.to_be_bytes())
            .string(self.options)
            .string("") // No extensions,
            .string("") // and nothing reserved.
            .string(&self.authority)
            .done();
        let hash = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
        let touched = [0b101, 0, 0, 0, 7]; // Flags and counter.
        let signed = [hash(b"ssh:"), touched.to_vec(), hash(&body)].concat();
        let mut signature = Self::pair().sign(&signed).as_ref().to_vec();
        signature[0] ^= self.damage;
        let signature =
            Message::inner().string(Self::HARDWARE).string(signature).bytes(&touched).done();
        Message::inner().bytes(&body).string(signature).done()
    }

    /// A request to add it.
    fn request(&self, key: &Path) -> (Vec<u8>, Vec<u8>) {
        let (public, seed) = ed25519(key);
        let certificate = self.certificate(&public);
        let request = Message::new(ADD_IDENTITY)
            .string("ssh-ed25519-cert-v01@openssh.com")
            .string(&certificate)
            .string(&public)
            .string([seed, public].concat())
            .string("by hardware")
            .done();
        (request, certificate)
    }
}

/// An add request with the scalar of one key and the point of another.
fn add_p256(key: &Path, public: &Path) -> Vec<u8> {
    Message::new(ADD_IDENTITY)
        .string("ecdsa-sha2-nistp256")
        .string("nistp256")
        .string(&private_key::fields(public)[1])
        .string(&private_key::fields(key)[2])
        .string("curve")
        .done()
}
