//! `evercert status`: the daemon's snapshot, for people and for programs.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::client;
use crate::cli::Status;
use crate::config::show_duration;
use crate::report::{self, Exit, Failure};
use crate::status::{Environment, Snapshot, State};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const BAR: usize = 20;

pub(super) fn run(arguments: &Status) -> Result<Exit, Failure> {
    let snapshot = match client::snapshot() {
        Err(failure) if arguments.json && failure.exit == Exit::NotRunning => {
            report::print("{\"agent\":null}\n");
            return Ok(Exit::NotRunning);
        }
        told => told?,
    };
    if arguments.json {
        let json = serde_json::to_string_pretty(&snapshot)
            .map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
        report::print(&format!("{json}\n"));
    } else {
        let page =
            Page { now: Timestamp::now(), zone: TimeZone::system(), colours: report::colours() };
        report::print(&page.render(&snapshot));
        if let Some(advice) = other_version(&snapshot.version, VERSION) {
            report::note(&advice);
        }
    }
    Ok(if snapshot.is_degraded() { Exit::Failed } else { Exit::Done })
}

/// What to say when the daemon is not of this program's version.
fn other_version(running: &str, own: &str) -> Option<String> {
    (running != own).then(|| {
        format!("the running agent is {running}, this program {own}: restart it to use this one")
    })
}

/// How a snapshot is laid out.
struct Page {
    now: Timestamp,
    zone: TimeZone,
    colours: bool,
}

impl Page {
    fn render(&self, snapshot: &Snapshot) -> String {
        let agent = &snapshot.agent;
        let config = &snapshot.config;
        let mut page = table(&[
            vec![
                plain("agent"),
                plain(format!("pid {}, since {}", agent.pid, self.time(agent.started))),
            ],
            vec![plain("socket"), plain(agent.socket.display().to_string())],
            vec![
                plain("config"),
                plain(format!("{}, read {}", config.path.display(), self.time(config.loaded))),
            ],
            vec![plain("memory"), plain(&agent.memory)],
        ]);
        if let Some(error) = &config.error {
            page += &format!("\n{} {error}\n", self.paint(RED, "configuration refused:"));
        }
        if snapshot.environments.is_empty() {
            page += "\nno environments\n";
        } else {
            page.push('\n');
            page += &self.environments(&snapshot.environments);
        }
        for environment in &snapshot.environments {
            page += &self.details(environment);
        }
        for warning in &snapshot.warnings {
            page += &format!("\n{} {warning}\n", self.paint(YELLOW, "warning:"));
        }
        page
    }

    fn environments(&self, environments: &[Environment]) -> String {
        let heads =
            ["ENVIRONMENT", "STATE", "LIFE", "LEFT", "VALID UNTIL", "NEXT RENEWAL", "SERIAL"];
        let mut rows = vec![Vec::from(heads.map(plain))];
        for environment in environments {
            let colour = colour(environment.state);
            let next = environment.next_renewal.map_or_else(dash, |next| plain(self.time(next)));
            let mut row = vec![
                plain(&environment.name),
                self.cell(colour, environment.state.word().to_owned()),
            ];
            match &environment.certificate {
                None => row.extend([plain("no certificate"), dash(), dash(), next, dash()]),
                Some(held) => {
                    let left = held.valid_before.duration_since(self.now);
                    let whole = held.valid_before.duration_since(held.valid_after);
                    row.extend([
                        self.cell(colour, bar(left, whole)),
                        plain(show_duration(left.try_into().unwrap_or_default())),
                        plain(self.time(held.valid_before)),
                        next,
                        plain(&held.serial),
                    ]);
                }
            }
            rows.push(row);
        }
        table(&rows)
    }

    fn details(&self, environment: &Environment) -> String {
        let mut rows = vec![vec![
            plain("  ca"),
            plain(format!("{} {}", environment.ca.kind, environment.ca.fingerprint)),
        ]];
        if let Some(key) = &environment.key {
            rows.push(vec![plain("  key"), plain(format!("{} {}", key.key_type, key.fingerprint))]);
        }
        if let Some(held) = &environment.certificate {
            rows.push(vec![plain("  principals"), plain(held.principals.join(" "))]);
            rows.push(vec![plain("  key id"), plain(&held.key_id)]);
        }
        if let Some(last) = &environment.last_error {
            let message = &last.trouble.message;
            let since = format!("{message} (since {})", self.time(last.since));
            rows.push(vec![self.cell(RED, "  error".to_owned()), plain(since)]);
            let usual = format!("evercert renew {}", environment.name);
            let hint = last.trouble.hint.as_deref().unwrap_or(&usual);
            rows.push(vec![plain("  hint"), plain(hint)]);
        } else if environment.state == State::Paused {
            let hint = format!("its keys were dropped; evercert renew {}", environment.name);
            rows.push(vec![plain("  hint"), plain(hint)]);
        }
        format!("\n{}\n{}", environment.name, table(&rows))
    }

    fn time(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn cell(&self, colour: &'static str, text: String) -> Cell {
        Cell { text, colour: if self.colours { colour } else { "" } }
    }

    fn paint(&self, colour: &'static str, text: &str) -> String {
        self.cell(colour, text.to_owned()).painted()
    }
}

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";

fn colour(state: State) -> &'static str {
    match state {
        State::Ok | State::Renewing => GREEN,
        State::Degraded | State::Paused => YELLOW,
        State::Expired => RED,
    }
}

/// What is left of a life, as a bar.
fn bar(left: SignedDuration, whole: SignedDuration) -> String {
    let share = left.as_secs_f64() / whole.as_secs_f64().max(1.0);
    let full = (0..BAR).filter(|part| share * BAR as f64 > *part as f64).count();
    "█".repeat(full) + &"░".repeat(BAR - full)
}

/// One field of a table, perhaps coloured.
struct Cell {
    text: String,
    colour: &'static str,
}

fn plain(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), colour: "" }
}

fn dash() -> Cell {
    plain("-")
}

impl Cell {
    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn painted(&self) -> String {
        match self.colour {
            "" => self.text.clone(),
            colour => format!("{colour}{}\x1b[0m", self.text),
        }
    }
}

/// Rows with their columns aligned, two blanks between.
fn table(rows: &[Vec<Cell>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &cell.painted();
            line += &" ".repeat(width - cell.width() + 2);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_drawn_as_what_is_left_of_it() {
        let s = SignedDuration::from_secs;
        assert_eq!(bar(s(60), s(60)), "█".repeat(20));
        assert_eq!(bar(s(30), s(60)), "█".repeat(10) + &"░".repeat(10));
        assert_eq!(bar(s(1), s(60)), "█".to_owned() + &"░".repeat(19));
        assert_eq!(bar(s(-5), s(60)), "░".repeat(20));
    }

    #[test]
    fn another_version_of_the_daemon_is_told() {
        assert_eq!(other_version("1.2.0", "1.2.0"), None);
        let advice = other_version("1.2.0", "1.10.0").unwrap();
        assert!(advice.contains("agent is 1.2.0, this program 1.10.0"), "{advice}");
    }

    #[test]
    fn columns_align_whatever_their_colour() {
        let red = |text: &str| Cell { text: text.to_owned(), colour: RED };
        let rows = vec![
            vec![plain("a"), plain("bb"), plain("c")],
            vec![red("aaa"), plain("b"), plain("c")],
        ];
        assert_eq!(table(&rows), "a    bb  c\n\x1b[31maaa\x1b[0m  b   c\n");
    }
}
