//! A configuration read again: all of it comes into force, or none of it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::{Agent, Configured, Loaded, Opened};
use crate::config::{self, Ca, Config, Environment, Key};
use crate::issuer;
use crate::signer::{self, Problem, Signer};

/// Opens everything that a configuration names. `ledger` is the folder of all ledgers, `own` the
/// agent's own socket.
///
/// # Errors
/// The first key or CA that cannot be used. Nothing is kept then.
pub fn open(config: Config, ledger: &Path, own: &Path) -> Result<Loaded, Problem> {
    let environments: Vec<Opened> = config
        .environments
        .into_iter()
        .map(|environment| open_one(environment, ledger, own))
        .collect::<Result<_, _>>()?;
    for one in &environments {
        let (Some(key), Key::File(path)) = (&one.key, &one.settings.key) else { continue };
        if let Some(ca) = environments.iter().find(|other| other.issuer.ca() == key.public_key()) {
            return Err(Problem::lasting(format_args!(
                "environment {}: its key {} is the CA key of environment {}",
                one.settings.name,
                path.display(),
                ca.settings.name
            ))
            .hint("a CA key signs nothing but certificates: use another key"));
        }
    }
    Ok(Loaded { environments, warnings: config.warnings })
}

fn open_one(environment: Environment, ledger: &Path, own: &Path) -> Result<Opened, Problem> {
    let named = |error: Problem| Problem {
        message: format!("environment {}: {}", environment.name, error.message),
        ..error
    };
    if let Ca::SshAgent { socket, .. } = &environment.ca
        && is_same(socket, own)
    {
        let loop_ = format_args!("{} is our own socket, not another agent's", socket.display());
        return Err(named(Problem::lasting(loop_)));
    }
    let key: Option<Arc<dyn Signer>> = match &environment.key {
        Key::File(_) => Some(signer::session_key(&environment.key).map_err(named)?),
        Key::InMemory(_) => None,
    };
    let issuer = issuer::open(&environment.ca, ledger).map_err(named)?;
    Ok(Opened { settings: Arc::new(environment), issuer, key })
}

/// Whether two paths lead to one thing, by whatever way, or would once it is there.
fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|it| (it.dev(), it.ino())).ok();
    let place = |path: &Path| Some((id(path.parent()?)?, path.file_name()?.to_owned()));
    one == other
        || id(one).is_some_and(|one| Some(one) == id(other))
        || place(one).is_some_and(|one| Some(one) == place(other))
}

/// Reads the configuration again whenever that is asked for, beside everything else: a file that
/// cannot be read, on a disk that does not answer, keeps nobody waiting.
pub(super) async fn run(agent: Arc<Agent>) {
    loop {
        agent.reload.notified().await;
        agent.read_again().await;
    }
}

impl Agent {
    /// What cannot be used is told in status and changes nothing.
    async fn read_again(&self) {
        let (places, own) = (self.facts.places.clone(), self.facts.socket.clone());
        let read = tokio::task::spawn_blocking(move || {
            let config = config::load(&places.config).map_err(|error| error.to_string())?;
            open(config, &places.ledger, &own)
                .map_err(|error| format!("{}: {error}", places.config.display()))
        });
        match read.await.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok(loaded) => {
                tracing::info!("configuration {} in force", self.facts.places.config.display());
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                self.keyring().apply(loaded.environments);
                *self.configured() = Configured::now(loaded.warnings);
            }
            Err(error) => {
                tracing::warn!("configuration refused, the old one stays in force: {error}");
                self.configured().error = Some(error);
            }
        }
        self.settle();
        self.due.notify_one();
    }
}
