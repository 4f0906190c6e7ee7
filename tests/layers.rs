//! Who may name whom.
//!
//! The rooms of `src/` and what each of them may know, as three tables. The checker reads every source
//! file with comments, strings and test modules taken out, and fails by naming the file, the line and the
//! rule. `docs/architecture.md` explains the layers; a change here belongs in the same commit as a change
//! there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A room, and the other rooms it may name. A room without a row is an error: add the row first.
#[rustfmt::skip]
const ARROWS: &[(&str, &[&str])] = &[
    // edge: prints, wires, picks exit codes
    ("main",        &["cli", "command", "process", "report"]),
    ("lib",         &[]),
    ("command",     &["agent", "cli", "config", "issuer", "ledger", "profile", "report", "signer", "ssh",
                      "status"]),
    ("cli",         &[]),
    ("report",      &[]),
    // running: tasks, sockets, timers
    ("agent",       &["config", "destination", "issuer", "profile", "signer", "ssh", "status"]),
    // issuing: may reach the network
    ("issuer",      &["config", "ledger", "profile", "signer", "ssh"]),
    ("ledger",      &["config", "ssh"]),
    // holding: one file per holder of keys
    ("signer",      &["config", "ssh"]),
    // deciding: pure
    ("destination", &["ssh"]),
    ("profile",     &["config", "ssh"]),
    ("status",      &[]),
    // formats: pure; config alone reads its own file
    ("config",      &["ssh"]),
    ("ssh",         &[]),
    // the operating system's protections of this process, called first of all
    ("process",     &[]),
];

/// Words, the only places that may contain them, and why.
#[rustfmt::skip]
const ONLY_IN: &[(&[&str], &[&str], &str)] = &[
    (&["println!", "eprintln!", "print!", "eprint!", "io::stdout", "io::stderr"],
        &["report.rs"], "only report speaks"),
    (&["process::exit", "process::abort"],
        &["main.rs"], "only main exits"),
    (&["ExitCode"],
        &["main.rs", "report.rs"], "only report knows exit codes, and only main returns one"),
    (&["unsafe"],
        &["process.rs"], "the one place with unsafe code"),
    (&["object_store::"],
        &["ledger.rs"], "a vendor crate is named in one file"),
    (&["aws_lc_rs::signature", "aws_lc_rs::rsa", "aws_lc_rs::encoding"],
        &["signer/", "ssh/signature.rs"], "a vendor crate is named where it signs and verifies"),
    (&["aws_lc_rs::"],
        &["signer/", "ssh/signature.rs", "issuer/authority.rs", "agent/keyring.rs"],
        "and where random bytes are drawn"),
    (&["issuer::open", "signer::open_ca"],
        &["agent/reload.rs", "command/", "issuer/mod.rs"], "only command and agent/reload open a backend"),
    (&["signer::session_key"],
        &["agent/reload.rs", "agent/renewal.rs"], "and a session key is had where it is put to use"),
    (&["clap::"],
        &["cli.rs", "main.rs"], "a vendor crate is named in one room"),
    (&["toml::"],
        &["config/"], "a vendor crate is named in one room"),
];

/// Places, the words they may not contain, and why.
#[rustfmt::skip]
const NEVER: &[(&[&str], &[&str], &str)] = &[
    (&["ssh/", "destination/", "profile.rs", "status.rs"],
        &["tokio::", "std::fs", "std::env", "std::process", "std::thread", "std::os::unix::net",
          "std::net::TcpStream", "std::net::TcpListener", "std::net::UdpSocket", "std::net::ToSocketAddrs",
          "SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"],
        "a pure room: no tasks, files, sockets or clock"),
    (&["config/"],
        &["tokio::", "std::net::TcpStream", "std::net::TcpListener", "std::os::unix::net",
          "SystemTime::now", "Instant::now", "Timestamp::now", "Zoned::now"],
        "plain data: config reads its own file and nothing else"),
    (&["agent/"],
        &["issuer::authority", "Authority", "Ledger", "signer::file"],
        "the daemon knows the traits Issuer and Signer, not who implements them"),
];

/// A type with one of these inside holds a secret.
const SECRETS: &[&str] = &["Zeroizing", "Secret"];

/// What a type with a secret inside may not derive: each makes a copy, or prints one.
const LEAKS: &[&str] = &["Clone", "Copy", "Debug", "Serialize"];

#[test]
fn rooms_name_only_what_lies_below_them() {
    let broken = check(&sources());
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn every_place_in_the_tables_exists() {
    let files = sources();
    let places = ONLY_IN.iter().flat_map(|(_, places, _)| places.iter());
    let gone: Vec<_> = places
        .chain(NEVER.iter().flat_map(|(places, ..)| places.iter()))
        .filter(|place| !files.iter().any(|(path, _)| is_in(path, place)))
        .collect();
    assert!(gone.is_empty(), "named in the tables, not in src/: {gone:?}");
    let rooms: BTreeSet<_> = files.iter().map(|(path, _)| room(path)).collect();
    let gone: Vec<_> = ARROWS.iter().filter(|(name, _)| !rooms.contains(name)).collect();
    assert!(gone.is_empty(), "rooms with a row but no file: {gone:?}");
}

#[test]
fn a_planted_violation_of_each_rule_is_found() {
    let names: Vec<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (from, may) in ARROWS {
        for to in names.iter().filter(|to| *to != from && !may.contains(to)) {
            for line in
                [format!("use crate::{to}::Thing;"), format!("fn f() {{ crate::{to}::thing() }}")]
            {
                let broken = plant(&format!("{from}.rs"), &line);
                assert_eq!(broken.len(), 1, "{from} may not name {to}: {line}: {broken:?}");
                assert!(broken[0].starts_with(&format!("src/{from}.rs:3: ")), "{broken:?}");
            }
        }
    }
    for (words, places, _) in ONLY_IN {
        for word in *words {
            let line = format!("fn f() {{ {word} }}");
            assert!(!plant("report/elsewhere.rs", &line).is_empty(), "{word}");
            let home = if places[0].ends_with('/') {
                format!("{}mod.rs", places[0])
            } else {
                places[0].to_owned()
            };
            assert_eq!(plant(&home, &line), Vec::<String>::new(), "{word} at home in {home}");
        }
    }
    for (places, words, _) in NEVER {
        for (place, word) in
            places.iter().flat_map(|place| words.iter().map(move |word| (place, word)))
        {
            let path =
                if place.ends_with('/') { format!("{place}new.rs") } else { (*place).to_owned() };
            assert!(!plant(&path, &format!("fn f() {{ {word} }}")).is_empty(), "{word} in {path}");
        }
    }
    assert_eq!(plant("attic.rs", "fn f() {}").len(), 1, "a room without a row");
    for secret in [
        "#[derive(Debug)]\npub struct Key(Zeroizing<Vec<u8>>);",
        "#[derive(PartialEq, Clone)]\n#[must_use]\nenum Key {\n    Seed(Arc<Secret>),\n}",
    ] {
        assert_eq!(plant("signer/new.rs", secret).len(), 1, "{secret}");
    }
    let harmless = "#[derive(Debug)]\nstruct Misfit;\nstruct Key(Zeroizing<Vec<u8>>);";
    assert_eq!(plant("signer/new.rs", harmless), Vec::<String>::new());
}

#[test]
fn imports_are_seen_however_they_are_written() {
    for line in [
        "use std::{collections::BTreeMap, fs};",
        "pub(crate) use std::fs as files;",
        "use std::{\n    io,\n    fs::{self, File},\n};",
        "use crate::{ssh, agent};",
        "use super::super::agent::keyring;",
        "use evercert::agent;",
        "type T = super::super::agent::Keyring;",
        "use tokio;",
        "fn f() { let now = std::time::Instant::now(); }",
        "fn f<'a>(_: &'a str) -> char { tokio::x(); 'a' }",
        "const S: &str = r#\"a \" b\"#; use tokio::net;",
    ] {
        assert_eq!(plant("ssh/key.rs", line).len(), 1, "{line}");
    }
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    for line in [
        "// use tokio::net;",
        "/* unsafe /* nested */ tokio::x */",
        "/// Like [`crate::agent`], but pure.\nfn f() {}",
        "const S: &str = \"tokio::net \\\" unsafe\";",
        "const S: &[u8] = br##\"crate::agent \"# unsafe\"##;",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() { unsafe { } }\n}",
        "#[cfg(test)]\n#[allow(missing_docs)]\nuse tokio::net;",
        "#[cfg(all(test, unix))]\nfn f() { tokio::x() }",
        "#![deny(unsafe_code)]",
        "fn tokio_like() { let not_tokio = 1; }",
    ] {
        assert_eq!(plant("ssh/key.rs", line), Vec::<String>::new(), "{line}");
    }
    let after = plant("ssh/key.rs", "#[cfg(test)]\nmod tests { }\nuse tokio::net;");
    assert_eq!(after.len(), 1, "code after a test module counts");
    let split = [
        ("ssh/mod.rs".to_owned(), "#[cfg(test)]\nmod proof;\n".to_owned()),
        ("ssh/proof.rs".to_owned(), "use std::fs;\n".to_owned()),
    ];
    assert_eq!(check(&split), Vec::<String>::new(), "a test module in a file of its own");
}

/// Checks one made-up file whose third line is `line`.
fn plant(path: &str, line: &str) -> Vec<String> {
    check(&[(path.to_owned(), format!("//! A room.\n\n{line}\n"))])
}

/// Every file below `src/`: its path from there, and its text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no sources below {}", root.display());
    found
}

/// One line per broken rule.
fn check(files: &[(String, String)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(path, text)| (path, read(path, text))).collect();
    let only_for_tests: BTreeSet<_> =
        files.iter().flat_map(|(_, source)| source.test_files.iter()).collect();
    let mut broken = BTreeSet::new();
    for (path, source) in files.iter().filter(|(path, _)| !only_for_tests.contains(path)) {
        let here = room(path);
        let Some((_, may)) = ARROWS.iter().find(|(name, _)| *name == here) else {
            broken.insert((
                path.as_str(),
                1,
                format!("the room `{here}` has no row in tests/layers.rs"),
            ));
            continue;
        };
        for (line, leak) in &source.leaks {
            let rule = format!("a type that holds a secret may not derive {leak}");
            broken.insert((path, *line, rule));
        }
        for (line, text) in &source.code {
            for (other, _) in ARROWS.iter().filter(|(name, _)| *name != here && !may.contains(name))
            {
                if ["crate", "evercert"].iter().any(|top| has(text, &format!("{top}::{other}"))) {
                    broken.insert((path, *line, format!("`{here}` may not name `{other}`")));
                }
            }
            for (words, places, why) in ONLY_IN {
                for word in words.iter().filter(|word| has(text, word)) {
                    if !places.iter().any(|place| is_in(path, place)) {
                        let homes = places.join(" and ");
                        broken.insert((path, *line, format!("`{word}` belongs in {homes}: {why}")));
                    }
                }
            }
            for (places, words, why) in
                NEVER.iter().filter(|(places, ..)| places.iter().any(|place| is_in(path, place)))
            {
                for word in words.iter().filter(|word| has(text, word)) {
                    broken.insert((
                        path,
                        *line,
                        format!("`{word}` may not stand in {}: {why}", places.join(", ")),
                    ));
                }
            }
        }
    }
    broken.into_iter().map(|(path, line, rule)| format!("src/{path}:{line}: {rule}")).collect()
}

/// The room a file belongs to: its top folder, or its own name.
fn room(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Whether the file is the place, or lies in it.
fn is_in(path: &str, place: &str) -> bool {
    if place.ends_with('/') { path.starts_with(place) } else { path == place }
}

/// Whether the word stands in the text, not as a part of a longer name.
fn has(text: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        let runs_on = word.ends_with(part_of_name) && after.is_some_and(part_of_name);
        !before.is_some_and(part_of_name) && !runs_on
    })
}

/// What is left of a source file for the rules to look at.
struct Source {
    /// Lines of code with their numbers, each import once more as a whole path ending in `::`.
    code: Vec<(usize, String)>,
    /// Files that hold a module for tests only.
    test_files: Vec<String>,
    /// Where a type with a secret inside derives what it may not.
    leaks: Vec<(usize, &'static str)>,
}

fn read(path: &str, text: &str) -> Source {
    let mut code: Vec<char> = without_comments_and_strings(text);
    let test_files = blank_test_items(&mut code, path);
    let code: String = code.into_iter().collect();
    let mut lines: Vec<_> =
        code.lines().enumerate().map(|(n, line)| (n + 1, without_super(line, path))).collect();
    for (at, tree) in imports(&code) {
        let line = code[..at].matches('\n').count() + 1;
        // The keyword's line tells the reader enough, and one finding per import is enough.
        for (number, old) in &mut lines {
            if (line..=line + tree.matches('\n').count()).contains(number) {
                old.clear();
            }
        }
        let flat = without_super(&tree.split_whitespace().collect::<Vec<_>>().join(" "), path);
        lines.extend(branches(&flat).into_iter().map(|import| (line, import + "::")));
    }
    Source { code: lines, test_files, leaks: leaks(&code) }
}

fn leaks(code: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("#[derive(") {
        let rest: Vec<char> = code[at..].chars().collect();
        let item: String = rest[..end_of_item(&rest, 0)].iter().collect();
        let derived = item[mark.len()..].split(')').next().unwrap();
        if SECRETS.iter().any(|secret| has(&item, secret)) {
            let line = code[..at].matches('\n').count() + 1;
            found.extend(LEAKS.iter().filter(|leak| has(derived, leak)).map(|leak| (line, *leak)));
        }
    }
    found
}

/// The same text, with a blank for each character of a comment or of a string's contents.
fn without_comments_and_strings(text: &str) -> Vec<char> {
    let from: Vec<char> = text.chars().collect();
    let mut to = from.clone();
    let blank = |to: &mut Vec<char>, range: std::ops::Range<usize>| {
        for at in range {
            if to[at] != '\n' {
                to[at] = ' ';
            }
        }
    };
    let at = |n: usize| from.get(n).copied().unwrap_or('\0');
    let mut n = 0;
    while n < from.len() {
        let start = n;
        match (at(n), at(n + 1)) {
            ('/', '/') => {
                while n < from.len() && at(n) != '\n' {
                    n += 1;
                }
                blank(&mut to, start..n);
            }
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (at(n), at(n + 1)) {
                        ('/', '*') => (depth, n) = (depth + 1, n + 2),
                        ('*', '/') => (depth, n) = (depth - 1, n + 2),
                        _ => n += 1,
                    }
                    if depth == 0 || n >= from.len() {
                        break;
                    }
                }
                blank(&mut to, start..n.min(from.len()));
            }
            ('r', '"' | '#') if is_raw_string(&from, n) => {
                n += 1;
                let hashes = from[n..].iter().take_while(|c| **c == '#').count();
                n += hashes + 1;
                let closes = |n: usize| at(n) == '"' && (1..=hashes).all(|h| at(n + h) == '#');
                while n < from.len() && !closes(n) {
                    n += 1;
                }
                blank(&mut to, start..n.min(from.len()));
                n += hashes + 1;
            }
            ('"', _) => {
                n += 1;
                while n < from.len() && at(n) != '"' {
                    n += if at(n) == '\\' { 2 } else { 1 };
                }
                n = n.min(from.len());
                blank(&mut to, start + 1..n);
                n += 1;
            }
            // A character, not a lifetime: closed by a quote, or escaped.
            ('\'', '\\') => {
                n += 3;
                while n < from.len() && at(n) != '\'' {
                    n += 1;
                }
                blank(&mut to, start..n.min(from.len()));
                n += 1;
            }
            ('\'', _) if at(n + 2) == '\'' => {
                blank(&mut to, n..n + 3);
                n += 3;
            }
            _ => n += 1,
        }
    }
    to
}

/// Whether `r` at this place opens a raw string: no name before it, but for `b` or `c`, and a quote after it.
fn is_raw_string(text: &[char], at: usize) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let before: Vec<char> = text[..at].iter().rev().copied().take_while(|c| name(*c)).collect();
    let opens = text[at + 1..].iter().find(|c| **c != '#') == Some(&'"');
    matches!(before.as_slice(), [] | ['b' | 'c']) && opens
}

/// Blanks each item under `#[cfg(test)]`; tells the files of modules declared so.
fn blank_test_items(code: &mut [char], path: &str) -> Vec<String> {
    let mut files = Vec::new();
    loop {
        let text: String = code.iter().collect();
        let marks = ["#[cfg(test)]", "#[cfg(all(test,"];
        let Some(at) = marks.iter().filter_map(|mark| text.find(mark)).min() else {
            return files;
        };
        let start = text[..at].chars().count();
        let end = end_of_item(code, start);
        let item: String = code[start..end].iter().collect();
        if let Some(name) = item.split_once("mod ").and_then(|(_, tail)| tail.strip_suffix(';')) {
            files.push(child_file(path, name.trim()));
        }
        for c in &mut code[start..end] {
            if *c != '\n' {
                *c = ' ';
            }
        }
    }
}

/// Where the item that begins here with its attributes ends.
fn end_of_item(code: &[char], start: usize) -> usize {
    let mut depth = 0_i32;
    for (n, c) in code.iter().enumerate().skip(start) {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if depth == 0 && *c == '}' {
                    return n + 1;
                }
            }
            ';' | ',' if depth == 0 => return n + 1,
            _ => {}
        }
        if depth < 0 {
            return n;
        }
    }
    code.len()
}

/// The file of the module `name` declared in the file at `path`.
fn child_file(path: &str, name: &str) -> String {
    let (folder, file) = path
        .rsplit_once('/')
        .map_or((String::new(), path), |(folder, file)| (format!("{folder}/"), file));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => format!("{folder}{name}.rs"),
        _ => format!("{folder}{}/{name}.rs", file.trim_end_matches(".rs")),
    }
}

/// `super::` written as the path from `crate`. Modules inside a file are taken for the file itself.
fn without_super(line: &str, path: &str) -> String {
    let mut here: Vec<&str> =
        path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").collect();
    let Some(at) = line.find("super::") else {
        return line.to_owned();
    };
    let chain = line[at..].len() - line[at..].trim_start_matches("super::").len();
    for _ in 0..chain / "super::".len() {
        here.pop();
    }
    let base: String = here.iter().map(|part| format!("{part}::")).collect();
    let rest = without_super(&line[at + chain..], path);
    format!("{}crate::{base}{rest}", &line[..at])
}

/// Where each `use` stands, and what stands between it and its semicolon.
fn imports(code: &str) -> Vec<(usize, &str)> {
    code.match_indices("use ")
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        .filter_map(|(at, word)| {
            let from = at + word.len();
            let length = code[from..].find(';')?;
            Some((at, &code[from..from + length]))
        })
        .collect()
}

/// `a::{b, c::{self, d}}` as `a::b`, `a::c::self`, `a::c::d`.
fn branches(tree: &str) -> Vec<String> {
    let Some((stem, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let full = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    full.flat_map(branches).map(|part| format!("{}{part}", stem.trim())).collect()
}
