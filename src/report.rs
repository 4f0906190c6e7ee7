//! How we speak. What was asked for goes to stdout; everything else, for people, to stderr: lower
//! case, no full stop, the name of the thing, and in a `hint:` the next command to type. Only this
//! file prints.
use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// How a verb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done = 0,
    /// It failed, or something needs a look.
    Failed = 1,
    /// No agent runs.
    NotRunning = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A verb that failed: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed, on which named thing.
    pub message: String,
    /// The next command to type.
    pub hint: Option<String>,
    /// What the shell is told.
    pub exit: Exit,
}

impl Failure {
    /// A failure that says no more than this.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: Exit::Failed }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.advice(Some(hint.into()))
    }

    /// Adds what to do, where that is known.
    #[must_use]
    pub fn advice(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

/// Tells people, on stderr, why a verb failed.
pub fn failure(failure: &Failure) {
    error(&failure.message, failure.hint.as_deref());
}

/// Tells people, on stderr, what went wrong and what to do.
pub fn error(message: &str, hint: Option<&str>) {
    say(&format!("evercert: error: {message}"));
    if let Some(hint) = hint {
        say(&format!("hint: {hint}"));
    }
}

/// Tells people something, on stderr.
pub fn note(message: &str) {
    say(&format!("evercert: {message}"));
}

/// Gives people a line to copy, on stderr.
pub fn line_to_copy(line: &str) {
    say(&format!("\n    {line}\n"));
}

/// Where nobody can be told, there is nothing to do about it.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints what was asked for, on stdout. A reader that left is no error.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether stdout is somebody's terminal that wants colours.
#[must_use]
pub fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// Sends the daemon's log to stderr, as `EVERCERT_LOG` filters it: a level, or `target=level`
/// pairs with commas between.
#[must_use]
pub fn log() -> Log {
    let usual = Targets::new().with_target("evercert", Level::INFO).with_default(Level::WARN);
    let filter = match std::env::var("EVERCERT_LOG") {
        Ok(wanted) if !wanted.is_empty() => wanted.parse().unwrap_or_else(|error| {
            note(&format!("EVERCERT_LOG {wanted:?} is not understood: {error}"));
            usual
        }),
        _ => usual,
    };
    let (lines, waiting) = mpsc::sync_channel::<Option<Vec<u8>>>(MAX_LINES);
    let (ending, ended) = mpsc::channel();
    thread::spawn(move || {
        for line in waiting.iter().map_while(|line| line) {
            let _ = io::stderr().write_all(&line);
        }
        drop::<mpsc::Sender<Infallible>>(ending);
    });
    let last = lines.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || Line { lines: lines.clone(), line: Vec::new() })
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(layer).with(filter).init();
    Log { last, ended }
}

/// The log, for as long as this lives. Its last lines get a moment to be written.
pub struct Log {
    last: mpsc::SyncSender<Option<Vec<u8>>>,
    ended: mpsc::Receiver<Infallible>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.last.try_send(None).is_ok() {
            let _ = self.ended.recv_timeout(LAST_MOMENT);
        }
    }
}

/// How long the end of the program waits for the end of the log.
const LAST_MOMENT: Duration = Duration::from_millis(200);
/// Lines of the log that may wait for stderr.
const MAX_LINES: usize = 1024;

/// One line of the log on its way to the thread that writes. A stderr that nobody reads costs
/// lines, and never a moment of the agent's time.
struct Line {
    lines: mpsc::SyncSender<Option<Vec<u8>>>,
    line: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.lines.try_send(Some(std::mem::take(&mut self.line)));
    }
}
