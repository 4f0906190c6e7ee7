//! Key files that cannot be used, or should not be: the error names the file, nothing is made.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support;
use crate::support::home::{entries, mode, set_mode};
use crate::support::{Agent, Home, Outcome, needs, private_key, skip};

#[test]
fn an_unfit_ca_key_is_told_by_name() {
    needs!("ssh-keygen");
    for (fault, spoil) in FAULTS {
        let home = Home::with_environment("");
        spoil(&home, &home.ca());
        refused(&home, &home.ca(), fault);
    }
}

#[test]
fn an_unfit_session_key_is_told_by_name() {
    needs!("ssh-keygen");
    for (fault, spoil) in FAULTS {
        let home = Home::with_environment("key = \"~/id\"");
        let key = home.keygen("id", &["-t", "ed25519"]);
        spoil(&home, &key);
        refused(&home, &key, fault);
    }
}

#[test]
fn the_same_key_is_not_both_authority_and_subject() {
    needs!("ssh-keygen");
    let home = Home::with_environment("key = \"~/ca\"");
    refused(&home, &home.ca(), "the CA's own key");
    let home = Home::with_environment("key = \"~/copy\"");
    fs::copy(home.ca(), home.join("copy")).unwrap();
    refused(&home, &home.join("copy"), "a copy of the CA's key");
}

#[test]
fn a_key_that_only_its_owner_may_read_is_fine() {
    needs!("ssh-keygen");
    for private in [0o600, 0o400] {
        let home = Home::with_environment("");
        set_mode(&home.ca(), private);
        home.run(&["config", "check"]).succeeds();
        let agent = Agent::start(&home);
        agent.certificate("work");
        assert_eq!(mode(&home.ca()), private, "the mode was changed");
    }
}

#[test]
fn an_ecdsa_key_with_a_short_scalar_is_fine() {
    needs!("ssh-keygen");
    let home = Home::with_environment("key = \"~/id\"");
    fs::remove_file(home.ca()).unwrap();
    private_key::short_p521(&home, "ca");
    private_key::short_p521(&home, "id");
    home.run(&["config", "check"]).succeeds();
    let agent = Agent::start(&home);
    agent.certificate("work");
}

#[test]
fn an_unreadable_key_is_told_by_name() {
    needs!("ssh-keygen");
    if support::is_root() {
        // Root reads everything; a folder in the key's place is unreadable to root too.
        let home = Home::with_environment("");
        fs::remove_file(home.ca()).unwrap();
        fs::create_dir(home.ca()).unwrap();
        refused(&home, &home.ca(), "a folder");
    } else {
        let home = Home::with_environment("");
        set_mode(&home.ca(), 0o000);
        refused(&home, &home.ca(), "no permission");
    }
}

#[test]
fn the_ledger_says_which_record_is_corrupt_and_goes_on() {
    needs!("ssh-keygen");
    let home = Home::with_environment("");
    let mut agent = Agent::start(&home);
    agent.certificate("work");
    agent.kill();
    let (record, content) = home.records().pop().expect("a record of the first certificate");
    fs::write(&record, &content[..content.len() / 2]).unwrap();
    let foreign = record.with_file_name("5.json");
    fs::write(&foreign, "{}").unwrap();

    let agent = Agent::start(&home);
    agent.certificate("work");
    let warnings = agent.status()["warnings"].to_string();
    for path in [&record, &foreign] {
        assert!(warnings.contains(path.to_str().unwrap()), "{warnings}");
    }
    assert_eq!(fs::read(&record).unwrap(), content[..content.len() / 2], "it was changed");
    assert_eq!(fs::read(&foreign).unwrap(), b"{}", "it was changed");
}

#[test]
fn a_full_disk_stops_issuing_and_says_so() {
    needs!("ssh-keygen", "mount", "umount");
    let home = Home::with_environment("");
    fs::create_dir_all(home.ledger()).unwrap();
    let Some(_disk) = SmallDisk::mount(&home, home.ledger()) else {
        skip!("no small disk can be mounted here");
    };
    let agent = Agent::start(&home);
    let (before, _) = agent.certificate("work");
    let filler = home.ledger().join("filler");
    let filled = fs::write(&filler, vec![0; 1024 * 1024]);
    assert!(filled.is_err(), "the disk is not small");

    let failed = home.run(&["renew"]).exits(1);
    assert!(failed.stderr.contains("No space left"), "{failed}");
    assert_eq!(agent.certificate("work").0.serial, before.serial);
    assert_eq!(agent.environment("work")["state"], "degraded");

    fs::remove_file(&filler).unwrap();
    home.run(&["renew"]).succeeds();
    assert_eq!(home.records().len(), 2, "two certificates, two records");
}

/// Makes the key file at this path unfit.
type Spoil = fn(&Home, &Path);

/// What may be wrong with a key file.
const FAULTS: [(&str, Spoil); 9] = [
    ("missing", |_, key| fs::remove_file(key).unwrap()),
    ("open to the group", |_, key| set_mode(key, 0o640)),
    ("open to others", |_, key| set_mode(key, 0o604)),
    ("protected", |home, key| {
        Outcome::of(home.command("ssh-keygen").args(["-q", "-p", "-N", "a secret", "-f"]).arg(key))
            .succeeds();
    }),
    ("the public half", |_, key| {
        let public: PathBuf = support::home::with_suffix(key, ".pub");
        fs::copy(public, key).unwrap();
        set_mode(key, 0o600);
    }),
    ("a pipe", |home, key| home.make_pipe(key)),
    ("empty", |_, key| fs::write(key, "").unwrap()),
    ("cut off", |_, key| {
        let text = fs::read_to_string(key).unwrap();
        fs::write(key, &text[..text.len() / 2]).unwrap();
    }),
    ("another format", |home, key| {
        fs::remove_file(key).unwrap();
        let made = home.keygen("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
        fs::rename(made, key).unwrap();
    }),
];

/// `config check` and `agent` refuse and name the file; the agent makes nothing.
fn refused(home: &Home, key: &Path, fault: &str) {
    let before = entries(home.path());
    for arguments in [&["config", "check"][..], &["agent"]] {
        let refused = home.run(arguments);
        assert_eq!(refused.code, Some(1), "{fault}: {arguments:?}: {refused}");
        assert!(refused.stderr.starts_with("evercert: error: "), "{fault}: {refused}");
        assert!(refused.stderr.contains(key.to_str().unwrap()), "{fault}: {refused}");
        assert_eq!(entries(home.path()), before, "{fault}: something was made");
    }
}

/// A file system of 64 KiB, unmounted when dropped.
struct SmallDisk<'a>(&'a Home, PathBuf);

impl<'a> SmallDisk<'a> {
    fn mount(home: &'a Home, place: PathBuf) -> Option<Self> {
        let mut command = home.command("mount");
        command.args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"]).arg(&place);
        (Outcome::of(&mut command).code == Some(0)).then_some(Self(home, place))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: the agent may still be there.
        let _ = Outcome::of(self.0.command("umount").arg("-l").arg(&self.1));
    }
}
