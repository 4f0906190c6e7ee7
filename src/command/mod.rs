//! One file a verb; the only place where rooms are wired together.

mod agent;
mod ca;
mod client;
mod config;
mod env;
mod first_run;
mod renew;
mod runtime_directory;
mod status;

use std::path::Path;

use crate::cli::{Ca, Command, Config};
use crate::config::places::Places;
use crate::report::{Exit, Failure};

/// Runs one verb.
///
/// # Errors
/// [`Failure`] says what to tell people and the shell.
pub fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Renew(arguments) => renew::run(arguments),
        Command::Env(arguments) => env::run(&arguments),
        Command::Config(Config::Check { file }) => config::check(file.as_deref()),
        Command::Config(Config::Path(file)) => config::path(&file),
        Command::Ca(Ca::PublicKey(arguments)) => ca::public_key(&arguments),
        Command::Ca(Ca::Check(arguments)) => ca::check(&arguments),
    }
}

/// Where things live; a configuration file that was named wins.
fn places(config: Option<&Path>) -> Result<Places, Failure> {
    let places = Places::resolve(config).ok_or_else(|| {
        Failure::new("there is no home directory").hint("set HOME to a directory that is yours")
    })?;
    for path in [&places.config, &places.first_ca, &places.ledger, &places.runtime] {
        check_utf8(path)?;
    }
    Ok(places)
}

/// Configuration, JSON and shells could not name another path.
fn check_utf8(path: &Path) -> Result<(), Failure> {
    if path.to_str().is_some() {
        return Ok(());
    }
    Err(Failure::new(format!("the path {} is not UTF-8", path.display())))
}
