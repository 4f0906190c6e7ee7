//! `evercert ca`

use super::{config, places};
use crate::cli::{CaCheck, CaPublicKey, KeyFormat};
use crate::config::{Ca, Environment};
use crate::issuer;
use crate::report::{self, Exit, Failure};
use crate::signer::{self, Problem};
use crate::ssh::key::PublicKey;

pub(super) fn public_key(arguments: &CaPublicKey) -> Result<Exit, Failure> {
    let places = places(arguments.config.config.as_deref())?;
    let config = config::load(&places.config)?;
    let environment = choose(&config.environments, arguments.environment.as_deref())?;
    let ca =
        signer::open_ca(&environment.ca).map_err(|problem| not_usable(environment, problem))?;
    let line = match arguments.format {
        KeyFormat::PublicKey => line(ca.public_key(), &environment.name),
        KeyFormat::AuthorizedKeys => authorized_keys(ca.public_key(), &environment.name),
    };
    report::print(&format!("{line}\n"));
    Ok(Exit::Done)
}

pub(super) fn check(arguments: &CaCheck) -> Result<Exit, Failure> {
    let places = places(arguments.config.config.as_deref())?;
    let config = config::load(&places.config)?;
    let environment = choose(&config.environments, arguments.environment.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let checked = runtime
        .block_on(issuer::check(environment, &places.ledger))
        .map_err(|problem| not_usable(environment, problem))?;
    report::print(&format!(
        "{}: the CA signs\n  key         {} {}\n  algorithm   {}\n  round trip  {} ms\n  \
         recorded    serial {}\n  proved      {}\n",
        environment.name,
        checked.ca.key_type().name(),
        checked.ca.fingerprint(),
        checked.algorithm.name(),
        checked.took.as_millis(),
        checked.serial,
        proof(&environment.ca),
    ));
    Ok(Exit::Done)
}

/// What a signature shows that we are allowed to do.
fn proof(ca: &Ca) -> String {
    match ca {
        Ca::File { path, .. } => format!("{} can be read", path.display()),
        Ca::SshAgent { socket, .. } => {
            format!("the agent on {} signs with this key", socket.display())
        }
    }
}

fn not_usable(environment: &Environment, problem: Problem) -> Failure {
    Failure::new(format!("environment {}: {problem}", environment.name)).advice(problem.hint)
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
