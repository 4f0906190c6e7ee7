//! A configuration read again: all of it comes into force, or none of it.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Agent, Opened};
use crate::config::{self, Config, Environment, Key};
use crate::issuer;
use crate::signer::{self, OpenError, Signer};

/// A configuration that reads well, and yet cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment {environment}: {problem}")]
pub struct NotUsable {
    environment: String,
    problem: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Opens everything that a configuration names. `ledger` is the folder of all ledgers.
///
/// # Errors
/// The first key or CA that cannot be used. Nothing is kept then.
pub fn open(config: &Config, ledger: &Path) -> Result<Vec<Opened>, NotUsable> {
    let opened: Vec<Opened> = config
        .environments
        .iter()
        .map(|environment| open_one(environment, ledger))
        .collect::<Result<_, _>>()?;
    for one in &opened {
        let Some(key) = &one.key else { continue };
        if let Some(ca) = opened.iter().find(|other| other.issuer.ca() == key.public_key()) {
            return Err(NotUsable {
                environment: one.settings.name.clone(),
                problem: format!(
                    "its key {} is the CA key of environment {}",
                    key.public_key().fingerprint(),
                    ca.settings.name
                ),
                hint: Some("a CA key signs nothing but certificates: use another key".to_owned()),
            });
        }
    }
    Ok(opened)
}

fn open_one(environment: &Environment, ledger: &Path) -> Result<Opened, NotUsable> {
    let not_usable = |error: OpenError| NotUsable {
        environment: environment.name.clone(),
        problem: error.message,
        hint: error.hint,
    };
    let key: Option<Arc<dyn Signer>> = match &environment.key {
        Key::File(_) => Some(signer::session_key(&environment.key).map_err(not_usable)?),
        Key::InMemory(_) => None,
    };
    Ok(Opened {
        settings: Arc::new(environment.clone()),
        issuer: issuer::open(environment, ledger).map_err(not_usable)?,
        key,
    })
}

impl Agent {
    /// Reads the configuration again. What cannot be used is told in status and changes nothing.
    pub(super) async fn reload(&self) {
        let places = self.facts.places.clone();
        let read = tokio::task::spawn_blocking(move || {
            let config = config::load(&places.config).map_err(|error| error.to_string())?;
            let opened = open(&config, &places.ledger)
                .map_err(|error| format!("{}: {error}", places.config.display()))?;
            Ok::<_, String>((config.warnings, opened))
        });
        match read.await.unwrap_or_else(|panic| Err(panic.to_string())) {
            Ok((warnings, opened)) => {
                tracing::info!("configuration {} in force", self.facts.places.config.display());
                for warning in &warnings {
                    tracing::warn!("{warning}");
                }
                self.keyring().apply(opened);
                let mut configured = self.configured();
                configured.loaded = SystemTime::now();
                configured.error = None;
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
