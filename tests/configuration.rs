//! Every mistake in a configuration is told with its place: file, line, column, and what was
//! expected.

use std::fs;
use std::path::Path;

use crate::support::{Home, Outcome};

/// What is written, with `‸` where the error is (no mark: the line is enough), and what
/// the message says (`!`: whatever the reader of TOML says).
const MISTAKES: &[(&str, &str)] = &[
    // The whole file.
    ("[‸environmnts.work]\n", "did you mean `environments`?"),
    ("[environments.work\n", "!"),
    ("[environments.work]\nprincipals = [\n", "!"),
    ("environments = ‸7\n", "table"),
    // Keys.
    ("[environments.work]\n‸lifetme = \"1h\"\n", "did you mean `lifetime`?"),
    ("[environments.work]\n‸colour = \"red\"\n", "unknown key `colour`"),
    (
        "[environments.work]\nprincipals = [\"a\"]\n[environments.work.ca]\nkind = \"file\"\npath = \"ca\"\n‸pth = \"ca\"\n",
        "did you mean `path`?",
    ),
    // Names.
    ("[environments.‸\"\"]\nprincipals = [\"a\"]\n", "name"),
    ("[environments.‸\"a b\"]\nprincipals = [\"a\"]\n", "a b"),
    ("[environments.‸\".a\"]\nprincipals = [\"a\"]\n", ".a"),
    ("[environments.‸\"../a\"]\nprincipals = [\"a\"]\n", "../a"),
    (
        "[environments.‸aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nprincipals = [\"a\"]\n",
        "64",
    ),
];

/// A wrong setting of an otherwise good environment, `‸` where the error is, and what is said.
const WRONG_SETTINGS: &[(&str, &str)] = &[
    ("principals = ‸[]", "principal"),
    ("principals = [‸\"\"]", "principal"),
    ("principals = [\"a\", ‸\"a,root\"]", "a,root"),
    ("principals = [‸\"a b\"]", "a b"),
    ("principals = [‸\"*\"]", "*"),
    ("principals = [‸\"-a\"]", "-a"),
    ("principals = [‸\"a\\n\"]", "principal"),
    ("principals = [‸\"é\"]", "é"),
    ("principals = ‸\"a\"", "!"),
    ("principals = [‸1]", "!"),
    ("lifetime = ‸\"0s\"", "lifetime"),
    ("lifetime = ‸\"25h\"", "max_lifetime"),
    ("lifetime = ‸\"1 hour\"", "1 hour"),
    ("lifetime = ‸\"-1h\"", "-1h"),
    ("lifetime = ‸\"\"", "8h"),
    ("lifetime = ‸\"99999999999999999999h\"", "lifetime"),
    ("lifetime = ‸\"99999999d\"\nmax_lifetime = \"1d\"", "99999999d"),
    ("lifetime = ‸3600", "!"),
    ("max_lifetime = ‸\"soon\"", "soon"),
    ("max_lifetime = ‸\"99999999d\"", "max_lifetime"),
    ("lifetime = \"99999999d\"\nmax_lifetime = ‸\"99999999d\"", "max_lifetime"),
    ("lifetime = ‸\"2h\"\nmax_lifetime = \"1h\"", "max_lifetime"),
    ("key = ‸\"ed25518\"", "ed25519"),
    ("key = ‸\"rsa-1024\"", "rsa-3072"),
    ("key = ‸\"\"", "key"),
    ("hosts = [‸\"\"]", "host"),
    ("hosts = [‸\"a b\"]", "a b"),
    ("extensions = [‸\"permit-everything\"]", "permit-everything"),
    ("extensions = [‸\"\"]", "extension"),
    ("force_command = ‸\"\"", "force_command"),
    ("source_address = ‸[]", "source_address"),
    ("source_address = [‸\"192.0.2.1/24\"]", "192.0.2.1/24"),
    ("source_address = [‸\"192.0.2.0/+24\"]", "192.0.2.0/+24"),
    ("source_address = [‸\"example.org\"]", "example.org"),
    ("verify_required = ‸\"yes\"", "!"),
    ("key_id = ‸\"\"", "key_id"),
    ("key_id = ‸\"{person}\"", "person"),
    ("key_id = ‸\"{user\"", "key_id"),
    ("renew_at = ‸\"0s\"", "renew_at"),
    ("renew_at = ‸\"later\"", "later"),
    ("lifetime = \"1h\"\nrenew_at = ‸\"2h\"", "renew_at"),
    ("wait = ‸\"long\"", "long"),
];

/// A wrong `[environments.work.ca]`, with `‸` where the error is.
const WRONG_AUTHORITIES: &[(&str, &str)] = &[
    ("kind = ‸\"fil\"\npath = \"ca\"", "file"),
    ("kind = ‸\"\"\npath = \"ca\"", "file"),
    ("kind = \"file\"\npath = ‸\"\"", "path"),
    ("kind = \"file\"\npath = ‸7", "!"),
    ("kind = \"file\"\npath = \"ca\"\nsocket = ‸\"/s\"", "socket means nothing"),
    ("kind = \"file\"\npath = \"ca\"\npublic_key = ‸\"ssh-ed25519 AAAA\"", "public_key"),
    ("kind = \"ssh-agent\"\nsocket = \"/s\"\npath = ‸\"ca\"", "path means nothing"),
    ("kind = ‸\"ssh-agnt\"\nsocket = \"/s\"", "did you mean \"ssh-agent\"?"),
];

#[test]
fn every_mistake_is_told_with_its_place() {
    let home = Home::new();
    home.keygen("ca", &["-t", "ed25519"]);
    let mut table: Vec<(String, &str)> =
        MISTAKES.iter().map(|(text, says)| ((*text).to_owned(), *says)).collect();
    let endless = format!("force_command = ‸\"{}\"", "x".repeat(5000));
    for (setting, says) in WRONG_SETTINGS.iter().chain(&[(&*endless, "force_command")]) {
        let principals =
            if setting.starts_with("principals") { "" } else { "principals = [\"a\"]\n" };
        table.push((
            format!(
                "# Öffnen\n[environments.work]\n{principals}{setting}\n\
                 [environments.work.ca]\nkind = \"file\"\npath = \"~/ca\"\n"
            ),
            says,
        ));
    }
    for (settings, says) in WRONG_AUTHORITIES {
        let environment = "[environments.work]\nprincipals = [\"a\"]\n[environments.work.ca]\n";
        table.push((format!("{environment}{settings}\n"), says));
    }

    let file = home.join("c.toml");
    let mut wrong = Vec::new();
    for (marked, says) in table {
        let text = marked.replace('‸', "");
        fs::write(&file, &text).unwrap();
        let checked = home.run(&["config", "check", file.to_str().unwrap()]);
        if let Err(why) = told(&checked, &place(&file, &marked), says) {
            wrong.push(format!("{why}\n{marked}\n{checked}"));
        }
    }
    assert!(wrong.is_empty(), "{} are not told:\n{}", wrong.len(), wrong.join("\n========\n"));
}

#[test]
fn what_must_be_there_is_asked_for() {
    let home = Home::new();
    let file = home.join("c.toml");
    for (text, says) in [
        (
            "[environments.work]\nlifetime = \"1h\"\n[environments.work.ca]\nkind = \"file\"\npath = \"ca\"\n",
            "principals",
        ),
        ("[environments.work]\nprincipals = [\"a\"]\n", "ca"),
        (
            "[environments.work]\nprincipals = [\"a\"]\n[environments.work.ca]\npath = \"ca\"\n",
            "kind",
        ),
        (
            "[environments.work]\nprincipals = [\"a\"]\n[environments.work.ca]\nkind = \"file\"\n",
            "path",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let refused = home.run(&["config", "check", file.to_str().unwrap()]).exits(1);
        let line = format!("{}:", file.display());
        assert!(refused.stderr.contains(&line) && refused.stderr.contains(says), "{refused}");
    }
}

/// Was it refused, with exit status 1, at this place and in these words?
fn told(checked: &Outcome, place: &str, says: &str) -> Result<(), String> {
    if checked.code != Some(1) {
        return Err("not refused with exit 1".into());
    }
    let Some(at) = checked.stderr.find(place) else {
        return Err(format!("not at {place}"));
    };
    let message = &checked.stderr[at + place.len()..];
    if says != "!" && !message.contains(says) {
        return Err(format!("does not say {says:?}"));
    }
    Ok(())
}

/// `FILE:LINE:COLUMN: ` of the mark, columns in characters; `FILE:` where there is no mark.
fn place(file: &Path, marked: &str) -> String {
    let Some((before, _)) = marked.split_once('‸') else {
        return format!("{}:", file.display());
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    format!("{}:{line}:{column}: ", file.display())
}
