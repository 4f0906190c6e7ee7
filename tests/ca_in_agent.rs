//! The CA's key lives in another agent, the stock one here: evercert has certificates signed there,
//! real servers let them in, and each thing that can go wrong has its sentence.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support;
use crate::support::home::with_suffix;
use crate::support::sshd::needs_login;
use crate::support::{Agent, Home, KEY_KINDS, Outcome, Sshd, eventually, needs};

#[test]
fn a_certificate_signed_in_another_agent_logs_in() {
    needs_login!();
    needs!("ssh-agent", "ssh-add");
    for (kind, arguments, _) in KEY_KINDS {
        let home = Home::new();
        let ca = home.keygen("ca", arguments);
        let other = Stock::holding(&home, &[&ca]);
        home.write_config(&environment(&other.socket, &public(&ca)));
        let agent = Agent::start(&home);
        let (certificate, _) = agent.certificate("work");
        let server = Sshd::trusting(&public(&ca));
        server.login(&home, agent.socket()).succeeds();
        let accepted = server.accepted();
        assert!(accepted[0].contains(&format!("(serial {})", certificate.serial)), "{kind}");
        let status = agent.environment("work");
        assert_eq!(status["ca"]["kind"], "ssh-agent", "{kind}");
        assert_eq!(home.records().len(), 1, "{kind}: one record for one signature");
    }
}

#[test]
fn a_renewal_that_the_other_agent_does_not_serve_says_why_and_recovers() {
    needs!("ssh-agent", "ssh-add");
    let home = Home::new();
    let ca = home.keygen("ca", &["-t", "ed25519"]);
    let socket = home.join("stock.sock");
    home.write_config(&environment(&socket, &public(&ca)));
    let agent = Agent::start(&home);
    says(&home, &["renew"], &["does not run", socket.to_str().unwrap(), "hint: start it"]);
    let listed = agent.ssh_add(&["-l"]).succeeds().stdout;
    assert!(
        listed.contains("does not run") && listed.contains("run evercert renew work"),
        "{listed}"
    );

    let other = Stock::holding(&home, &[]);
    says(&home, &["renew"], &["does not hold the CA key SHA256:", "ssh-add -l"]);
    other.add(&home, &ca);
    home.run(&["renew"]).succeeds();
    assert_eq!(agent.environment("work")["state"], "ok");
    drop(other);
    says(&home, &["renew"], &["does not run"]);
    assert_eq!(agent.environment("work")["state"], "degraded");
    assert!(agent.find_certificate("work").is_some(), "the valid certificate stays");
}

#[test]
fn our_own_socket_is_no_other_agent() {
    needs!("ssh-keygen");
    let home = Home::new();
    let ca = home.keygen("ca", &["-t", "ed25519"]);
    home.write_config(&environment(&home.socket(), &public(&ca)));
    for arguments in [&["config", "check"][..], &["agent"]] {
        says(&home, arguments, &["environment work", "is our own socket"]);
    }
}

#[test]
fn a_check_shows_that_a_ca_signs_and_leaves_a_record() {
    needs!("ssh-agent", "ssh-add");
    for (kind, arguments, _) in KEY_KINDS {
        let home = Home::new();
        let ca = home.keygen("ca", arguments);
        let other = Stock::holding(&home, &[&ca]);
        let in_file = home.environment("file", "");
        home.write_config(&(environment(&other.socket, &public(&ca)) + &in_file));
        for name in ["work", "file"] {
            let said = home.run(&["ca", "check", name]).succeeds().stdout;
            let fingerprint =
                Outcome::of(home.command("ssh-keygen").arg("-lf").arg(&ca)).succeeds();
            let fingerprint = fingerprint.stdout.split_whitespace().nth(1).unwrap().to_owned();
            for part in [&format!("{name}: the CA signs"), &fingerprint, "round trip", "proved"] {
                assert!(said.contains(part), "{kind}: no {part:?} in {said}");
            }
        }
        let records = home.records();
        assert_eq!(records.len(), 2, "{kind}");
        for (path, bytes) in records {
            let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(record["kind"], "check", "{}", path.display());
            assert_eq!(record["key_id"], "evercert check");
            assert_eq!(record["principals"], serde_json::json!([]));
        }
        drop(other);
        says(&home, &["ca", "check", "work"], &["environment work", "does not run"]);
    }
}

#[test]
fn a_ca_key_other_than_the_pinned_one_is_refused() {
    needs!("ssh-keygen");
    let home = Home::new();
    let ca = home.keygen("ca", &["-t", "ed25519"]);
    let pinned = home.keygen("pinned", &["-t", "ed25519"]);
    let pin = |key: &Path| {
        format!(
            "{}public_key = \"{}\"\n",
            home.environment("work", "").trim_end().to_owned() + "\n",
            public(key)
        )
    };
    home.write_config(&pin(&ca));
    home.run(&["config", "check"]).succeeds();
    home.write_config(&pin(&pinned));
    says(&home, &["config", "check"], &["SHA256:", "not the pinned SHA256:", "hint: "]);
}

/// A verb fails, and says all of this on stderr.
#[track_caller]
fn says(home: &Home, arguments: &[&str], parts: &[&str]) {
    let refused = home.run(arguments).exits(1);
    for part in parts {
        assert!(refused.stderr.contains(part), "no {part:?}: {refused}");
    }
}

fn public(key: &Path) -> String {
    fs::read_to_string(with_suffix(key, ".pub")).unwrap().trim().to_owned()
}

fn environment(socket: &Path, public_key: &str) -> String {
    format!(
        "[environments.work]\nprincipals = [\"{}\"]\n[environments.work.ca]\n\
         kind = \"ssh-agent\"\nsocket = \"{}\"\npublic_key = \"{public_key}\"\n\n",
        support::login_name(),
        socket.display()
    )
}

/// The stock agent, ended when dropped.
struct Stock {
    child: Child,
    socket: PathBuf,
}

impl Stock {
    fn holding(home: &Home, keys: &[&Path]) -> Self {
        let socket = home.join("stock.sock");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let stock = Self { child, socket };
        eventually("the stock agent", || {
            std::os::unix::net::UnixStream::connect(&stock.socket).ok()
        });
        keys.iter().for_each(|key| stock.add(home, key));
        stock
    }

    fn add(&self, home: &Home, key: &Path) {
        let mut add = home.command("ssh-add");
        Outcome::of(add.env("SSH_AUTH_SOCK", &self.socket).arg("-q").arg(key)).succeeds();
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}
