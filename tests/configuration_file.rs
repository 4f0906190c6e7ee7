//! The configuration file as a whole: where it is looked for, what it may name, that the examples
//! are right, and that a wrong one leaves no trace.

use std::fs;
use std::path::Path;

use crate::support::home::entries;
use crate::support::{Agent, Home, Outcome, needs};

#[test]
fn an_agent_with_a_wrong_configuration_touches_nothing() {
    for (text, says) in [
        ("[environments.work]\nlifetme = \"1h\"\n", "config.toml:2:1: "),
        (
            "[environments.work]\nprincipals = []\n[environments.work.ca]\nkind = \"file\"\npath = \"ca\"\n",
            "config.toml:2:14: ",
        ),
    ] {
        let home = Home::with_config(text);
        let refused = home.run(&["agent"]).exits(1);
        assert!(refused.stderr.starts_with("evercert: error: "), "{refused}");
        assert!(refused.stderr.contains(says), "{refused}");
        assert_eq!(refused.stdout, "");
        assert_eq!(entries(home.path()), [home.join(".config")]);
        assert_eq!(entries(&home.join(".config/evercert")), [home.config()]);
    }
}

#[test]
fn a_named_configuration_must_be_there() {
    let home = Home::new();
    for arguments in [&["agent", "--config", "none.toml"][..], &["config", "check", "none.toml"]] {
        let refused = home.run(arguments).exits(1);
        assert!(refused.stderr.contains("none.toml"), "{refused}");
        assert_eq!(entries(home.path()), Vec::<std::path::PathBuf>::new());
    }
    let mut by_variable = home.evercert(&["agent"]);
    by_variable.env("EVERCERT_CONFIG", home.join("other.toml"));
    let refused = Outcome::of(&mut by_variable).exits(1);
    assert!(refused.stderr.contains("other.toml"), "{refused}");
}

#[test]
fn a_variable_without_a_value_names_no_configuration() {
    let home = Home::new();
    let said = Outcome::of(home.evercert(&["config", "path"]).env("EVERCERT_CONFIG", ""));
    assert_eq!(said.succeeds().stdout, format!("{}\n", home.config().display()));
    let agent = Agent::start_with(&home, |command| {
        command.env("EVERCERT_CONFIG", "");
    });
    agent.certificate("local");
    assert!(home.config().is_file(), "no first run took place");
}

#[test]
fn a_link_that_leads_nowhere_is_no_first_run() {
    let home = Home::with_config("");
    fs::remove_file(home.config()).unwrap();
    std::os::unix::fs::symlink("elsewhere.toml", home.config()).unwrap();
    let refused = home.run(&["agent"]).exits(1);
    assert!(refused.stderr.contains(home.config().to_str().unwrap()), "{refused}");
    assert_eq!(refused.stdout, "");
    assert!(!home.first_ca().exists(), "a CA was made");
    assert_eq!(entries(&home.join(".config/evercert")), [home.config()]);
}

#[test]
fn a_pipe_is_no_configuration() {
    needs!("mkfifo");
    let home = Home::with_config("");
    home.make_pipe(&home.config());
    let pipe = home.config();
    for arguments in [&["config", "check"][..], &["config", "check", pipe.to_str().unwrap()]] {
        let refused = home.run(arguments).exits(1);
        assert!(refused.stderr.contains(pipe.to_str().unwrap()), "{refused}");
    }
    home.run(&["agent"]).exits(1);
}

#[test]
fn every_example_is_right() {
    needs!("ssh-keygen");
    let examples = entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"));
    let examples: Vec<_> =
        examples.iter().filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let text = fs::read_to_string(example).unwrap();
        let home = Home::new();
        for name in named_files(&text) {
            home.keygen(&name, &["-t", "ed25519"]);
        }
        home.run(&["config", "check", example.to_str().unwrap()]).succeeds();
        // And as somebody would use it.
        home.write_config(&text);
        home.run(&["config", "check"]).succeeds();
        let agent = Agent::start(&home);
        for environment in agent.status()["environments"].as_array().unwrap() {
            let name = environment["name"].as_str().unwrap();
            if environment["ca"]["kind"] == "file" {
                agent.wait_for(name, "a certificate", |now| !now["certificate"].is_null());
            } else {
                // Whoever holds that key is not here, and the reason says so.
                agent.wait_for(name, "a reason", |now| !now["last_error"].is_null());
            }
        }
    }
}

#[test]
fn a_good_configuration_is_called_good_and_a_short_life_warned_of() {
    let home = Home::with_environment("lifetime = \"4m\"");
    let checked = home.run(&["config", "check"]).succeeds();
    assert!(checked.stdout.contains("ok"), "{checked}");
    assert!(checked.stderr.contains("warning") && checked.stderr.contains("4m"), "{checked}");

    home.write_config(&home.environment("work", "lifetime = \"8h\""));
    let checked = home.run(&["config", "check"]).succeeds();
    assert_eq!(checked.stderr, "");

    home.write_config(&home.environment("work", "lifetime = \"2d\"\nmax_lifetime = \"7d\""));
    home.run(&["config", "check"]).succeeds();
}

#[test]
fn relative_paths_start_at_the_file() {
    let home = Home::new();
    home.keygen("etc/keys/ca", &["-t", "ed25519"]);
    let file = home.join("etc/evercert.toml");
    fs::write(&file, home.environment("work", "").replace(home.ca().to_str().unwrap(), "keys/ca"))
        .unwrap();
    home.run(&["config", "check", "etc/evercert.toml"]).succeeds();
}

/// The files below the home directory that a configuration names, without `~/`.
fn named_files(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split("\"~/").nth(1)?.split('"').next().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}
