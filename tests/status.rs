//! How is it? The same answer for people and for programs, with an exit status for scripts.

use crate::support;
use crate::support::wire::{SUCCESS, public_blob};
use crate::support::{Agent, Home, Outcome, needs, private_key};
use jiff::Timestamp;
use serde_json::{Value, json};

#[test]
fn programs_get_one_object_with_all_there_is() {
    let home = Home::with_environment("lifetime = \"1h\"");
    let agent = Agent::start(&home);
    let (certificate, _) = agent.certificate("work");
    home.run(&["status", "--json"]).succeeds();
    let status = agent.status();

    assert_eq!(keys(&status), ["agent", "config", "environments", "version", "warnings"]);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["warnings"], json!([]));

    let daemon = &status["agent"];
    assert_eq!(keys(daemon), ["locked", "memory", "pid", "socket", "started"]);
    assert_eq!(daemon["pid"], agent.pid());
    assert_eq!(daemon["socket"], home.socket().to_str().unwrap());
    assert_eq!(daemon["locked"], false);
    assert!(daemon["memory"].is_string(), "{daemon}");
    recent(&daemon["started"]);

    let config = &status["config"];
    assert_eq!(keys(config), ["error", "loaded", "path"]);
    assert_eq!(config["path"], home.config().to_str().unwrap());
    assert!(config["error"].is_null());
    recent(&config["loaded"]);

    assert_eq!(status["environments"].as_array().unwrap().len(), 1);
    let work = agent.environment("work");
    assert_eq!(
        keys(&work),
        ["ca", "certificate", "key", "last_error", "name", "next_renewal", "state"]
    );
    assert_eq!(work["state"], "ok");
    assert!(work["last_error"].is_null());
    let public = std::fs::read_to_string(home.join("ca.pub")).unwrap();
    let blob = public.split_whitespace().nth(1).unwrap();
    assert_eq!(work["ca"]["kind"], "file");
    assert!(work["ca"]["public_key"].as_str().unwrap().contains(blob));
    assert!(work["ca"]["fingerprint"].as_str().unwrap().starts_with("SHA256:"));
    assert_eq!(work["key"]["type"], "ssh-ed25519");
    assert!(work["key"]["fingerprint"].as_str().unwrap().starts_with("SHA256:"));

    let told = &work["certificate"];
    assert_eq!(told["serial"], certificate.serial.to_string());
    assert_eq!(told["key_id"], certificate.key_id);
    assert_eq!(told["principals"], json!(certificate.principals));
    for (field, seconds) in
        [("valid_after", certificate.valid_after), ("valid_before", certificate.valid_before)]
    {
        assert_eq!(time(&told[field]).as_second(), i64::try_from(seconds).unwrap(), "{field}");
    }
    assert!(time(&work["next_renewal"]) < time(&told["valid_before"]));
}

#[test]
fn people_get_a_table_in_plain_letters_when_it_is_no_terminal() {
    let home = Home::with_environment("");
    home.write_config(&[home.environment("one", ""), home.environment("second", "")].concat());
    let agent = Agent::start(&home);
    agent.wait_for("second", "a certificate", |now| !now["certificate"].is_null());
    let said = home.run(&["status"]).succeeds().stdout;
    assert!(!said.contains('\u{1b}'), "coloured off a terminal: {said:?}");
    for name in ["one", "second"] {
        let (certificate, _) = agent.certificate(name);
        let serial = certificate.serial.to_string();
        assert!(said.contains(name) && said.contains(&serial), "{said}");
    }
    assert!(said.contains(&agent.pid().to_string()), "{said}");
    assert!(said.contains(home.config().to_str().unwrap()), "{said}");
}

#[test]
fn without_an_agent_every_client_says_so() {
    let home = Home::with_config("");
    for arguments in [&["status"][..], &["renew"], &["renew", "work"], &["env"]] {
        let said = home.run(arguments).exits(3);
        assert!(said.stderr.starts_with("evercert: "), "{said}");
        assert!(said.stderr.contains("evercert agent"), "no way out is named: {said}");
    }
    let said = home.run(&["status", "--json"]).exits(3);
    let status: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(status, json!({ "agent": null }));
}

#[test]
fn a_file_where_the_sockets_should_be_is_no_agent_either() {
    let home = Home::with_config("");
    let place = home.join("run");
    std::fs::write(&place, "precious").unwrap();
    let mut status = home.evercert(&["status", "--json"]);
    let said = Outcome::of(status.env("EVERCERT_RUNTIME_DIR", &place)).exits(3);
    let status: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(status, json!({ "agent": null }));
}

#[test]
fn whoever_waits_for_an_agent_that_ends_is_told() {
    // A key that takes its time. Should it be ready too soon all the same: once more.
    for _ in 0..50 {
        let home = Home::with_environment("key = \"rsa-4096\"");
        let mut agent = Agent::start(&home);
        agent.wait_for("work", "a certificate", |now| now["state"] == "ok");
        let renew = std::thread::scope(|scope| {
            let renew = scope.spawn(|| home.run(&["renew", "--new-key"]));
            support::eventually("the renewal", || {
                let begun = agent.environment("work")["state"] == "renewing";
                (begun || renew.is_finished()).then_some(())
            });
            agent.kill();
            renew.join().unwrap()
        });
        if renew.code == Some(0) {
            continue;
        }
        let renew = renew.exits(3);
        assert!(renew.stderr.contains("ended before it answered"), "{renew}");
        assert!(renew.stderr.contains("evercert agent"), "no way out is named: {renew}");
        return;
    }
    panic!("no renewal was ever seen on its way");
}

#[test]
fn what_no_list_has_room_for_is_told() {
    needs!("ssh-keygen");
    let home = Home::with_environment("");
    let agent = Agent::start(&home);
    agent.certificate("work");
    // Two keys that just fit; with the environment's certificate in front they do not.
    let mut wire = agent.wire();
    for (name, length) in [("a", 128_000), ("b", 127_800)] {
        let key = home.keygen(name, &["-t", "ed25519"]);
        let request = private_key::add_ed25519(&key, None, &vec![b'x'; length]);
        assert_eq!(wire.ask(&request), [SUCCESS], "{name}");
    }
    // The last ones stay away: the second key, and the environment's bare one behind it.
    assert_eq!(wire.list().len(), 2);
    let warnings = agent.status()["warnings"].to_string();
    assert!(warnings.contains("2 identities"), "{warnings}");
    let said = home.run(&["status"]).stdout;
    assert!(said.contains("2 identities"), "{said}");

    assert_eq!(wire.remove(&public_blob(&home.join("a.pub"))), [SUCCESS]);
    assert_eq!(wire.list().len(), 3);
    assert_eq!(agent.status()["warnings"], json!([]));
}

#[test]
fn after_a_crash_it_is_known_to_be_gone() {
    let home = Home::with_config("");
    let mut agent = Agent::start(&home);
    home.run(&["status"]).succeeds();
    agent.kill();
    assert!(home.socket().exists(), "a stale socket");
    home.run(&["status"]).exits(3);
    home.run(&["env"]).exits(3);
}

#[test]
fn shells_get_their_own_line() {
    let home = Home::with_config("");
    let agent = Agent::start(&home);
    let path = agent.socket().display();
    for (shell, line) in [
        ("sh", format!("SSH_AUTH_SOCK={path}; export SSH_AUTH_SOCK;\n")),
        ("csh", format!("setenv SSH_AUTH_SOCK {path};\n")),
        ("fish", format!("set -gx SSH_AUTH_SOCK {path};\n")),
    ] {
        assert_eq!(home.run(&["env", "--shell", shell]).succeeds().stdout, line);
    }
    home.run(&["env", "--shell", "powershell"]).exits(2);

    let mut shell = home.command("sh");
    shell.arg("-c").arg(format!(
        "eval \"$('{}' env --shell sh)\"; printf %s \"$SSH_AUTH_SOCK\"",
        env!("CARGO_BIN_EXE_evercert")
    ));
    assert_eq!(Outcome::of(&mut shell).succeeds().stdout, path.to_string());
}

#[test]
fn the_ca_is_shown_as_a_server_wants_it() {
    needs!("ssh-keygen");
    let home = Home::with_environment("");
    home.keygen("other", &["-t", "ecdsa"]);
    let public = std::fs::read_to_string(home.join("ca.pub")).unwrap();
    let key = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let only = home.run(&["ca", "public-key"]).succeeds().stdout;
    assert!(only.starts_with(&key) && only.lines().count() == 1, "{only}");
    let plain = home.run(&["ca", "public-key", "work", "--format", "public-key"]).succeeds().stdout;
    assert_eq!(plain, only);
    let line = home.run(&["ca", "public-key", "--format", "authorized-keys"]).succeeds().stdout;
    assert_eq!(line, format!("cert-authority {only}"));

    let file = home.join("printed.pub");
    std::fs::write(&file, &only).unwrap();
    Outcome::of(home.command("ssh-keygen").arg("-lf").arg(&file)).succeeds();

    let other = home.environment("other", "").replace("/ca\"", "/other\"");
    home.write_config(&[home.environment("work", ""), other].concat());
    let which = home.run(&["ca", "public-key"]);
    assert_ne!(which.code, Some(0));
    assert!(which.stderr.contains("work") && which.stderr.contains("other"), "{which}");
    let other = home.run(&["ca", "public-key", "other"]).succeeds().stdout;
    assert!(other.starts_with("ecdsa-sha2-nistp256 "), "{other}");
    let nobody = home.run(&["ca", "public-key", "nobody"]).exits(1);
    assert!(nobody.stderr.contains("nobody"), "{nobody}");
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn time(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    assert!(text.ends_with('Z'), "not UTC: {text}");
    text.parse().unwrap()
}

fn recent(value: &Value) {
    let age = Timestamp::now().duration_since(time(value)).as_secs();
    assert!((0..60).contains(&age), "{value} is {age} s ago");
}
