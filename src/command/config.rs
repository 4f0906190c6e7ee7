//! `evercert config`

use std::path::Path;

use super::places;
use crate::agent;
use crate::cli::ConfigFile;
use crate::config::{self, Config};
use crate::report::{self, Exit, Failure};

pub(super) fn check(file: Option<&Path>) -> Result<Exit, Failure> {
    let places = places(file)?;
    let config = load(&places.config)?;
    let loaded =
        agent::open(config, &places.ledger).map_err(|error| not_usable(&places.config, error))?;
    for warning in &loaded.warnings {
        report::note(&format!("warning: {warning}"));
    }
    let count = loaded.environments.len();
    let environments = if count == 1 { "environment" } else { "environments" };
    report::print(&format!("{}: ok, {count} {environments}\n", places.config.display()));
    Ok(Exit::Done)
}

pub(super) fn path(file: &ConfigFile) -> Result<Exit, Failure> {
    report::print(&format!("{}\n", places(file.config.as_deref())?.config.display()));
    Ok(Exit::Done)
}

/// Reads a configuration; says what to do where there is none.
pub(super) fn load(path: &Path) -> Result<Config, Failure> {
    config::load(path).map_err(|error| {
        let failure = Failure::new(error.to_string());
        if error.missing {
            failure.hint("evercert agent, without --config, writes one in the default place")
        } else {
            failure
        }
    })
}

/// A key or CA that the configuration names cannot be used.
pub(super) fn not_usable(path: &Path, error: agent::NotUsable) -> Failure {
    let failure = Failure::new(format!("{}: {error}", path.display()));
    Failure { hint: error.hint, ..failure }
}
