//! `evercert config`

use std::path::Path;

use super::places;
use crate::agent::{self, Loaded};
use crate::cli::ConfigFile;
use crate::config::places::Places;
use crate::config::{self, Config};
use crate::report::{self, Exit, Failure};

pub(super) fn check(file: Option<&Path>) -> Result<Exit, Failure> {
    let places = places(file)?;
    let count = open(&places, &places.agent_socket())?.environments.len();
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

/// Reads a configuration and opens everything that it names; prints its warnings. `own` is the
/// agent's socket.
pub(super) fn open(places: &Places, own: &Path) -> Result<Loaded, Failure> {
    let loaded = agent::open(load(&places.config)?, &places.ledger, own).map_err(|error| {
        Failure::new(format!("{}: {}", places.config.display(), error.message)).advice(error.hint)
    })?;
    for warning in &loaded.warnings {
        report::note(&format!("warning: {warning}"));
    }
    Ok(loaded)
}
