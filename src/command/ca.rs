//! `evercert ca`

use super::{config, places};
use crate::cli::{CaPublicKey, KeyFormat};
use crate::config::Environment;
use crate::report::{self, Exit, Failure};
use crate::signer;
use crate::ssh::key::PublicKey;

pub(super) fn public_key(arguments: &CaPublicKey) -> Result<Exit, Failure> {
    let places = places(arguments.config.config.as_deref())?;
    let config = config::load(&places.config)?;
    let environment = choose(&config.environments, arguments.environment.as_deref())?;
    let ca = signer::open_ca(&environment.ca).map_err(|error| {
        Failure::new(format!("environment {}: {}", environment.name, error.message))
            .advice(error.hint)
    })?;
    let line = match arguments.format {
        KeyFormat::PublicKey => line(ca.public_key(), &environment.name),
        KeyFormat::AuthorizedKeys => authorized_keys(ca.public_key(), &environment.name),
    };
    report::print(&format!("{line}\n"));
    Ok(Exit::Done)
}

/// What goes into a server's authorized_keys file.
pub(super) fn authorized_keys(ca: &PublicKey, environment: &str) -> String {
    format!("cert-authority {}", line(ca, environment))
}

fn line(ca: &PublicKey, environment: &str) -> String {
    ca.to_line(&format!("evercert-ca-{environment}"))
}

fn choose<'a>(
    environments: &'a [Environment],
    name: Option<&str>,
) -> Result<&'a Environment, Failure> {
    let known: Vec<&str> = environments.iter().map(|one| one.name.as_str()).collect();
    let hint = format!("known are {}", known.join(", "));
    match (name, environments) {
        (_, []) => Err(Failure::new("the configuration has no environments")),
        (None, [only]) => Ok(only),
        (None, _) => Err(Failure::new("several environments: name one").hint(hint)),
        (Some(name), _) => environments
            .iter()
            .find(|environment| environment.name == name)
            .ok_or_else(|| Failure::new(format!("there is no environment {name}")).hint(hint)),
    }
}
