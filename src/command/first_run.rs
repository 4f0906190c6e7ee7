//! What `evercert agent` does where nobody configured anything: a CA, a configuration, and a word
//! on how a server comes to trust it.

use std::path::Path;

use super::ca::authorized_keys;
use crate::config;
use crate::config::places::{Places, make_folder, write_new};
use crate::report::{self, Failure};
use crate::signer::{Signer, file};
use crate::ssh::certificate::is_principal;
use crate::ssh::key::PublicKey;

/// The one environment of a first run.
const ENVIRONMENT: &str = "local";

/// Makes what is missing. A CA key that is there already is kept.
pub(super) fn set_up(places: &Places, user: &str) -> Result<(), Failure> {
    if !is_principal(user) {
        return Err(Failure::new(format!("your login name {user:?} cannot be a principal")).hint(
            format!("write {} yourself; see evercert agent --help", places.config.display()),
        ));
    }
    let ca = ca_key(&places.first_ca)?;
    let text = config::first(user, &places.first_ca);
    make_parent(&places.config)?;
    write_new(&places.config, text.as_bytes()).map_err(|error| {
        Failure::new(format!("cannot write {}: {error}", places.config.display()))
    })?;
    report::note(&format!("wrote the configuration {}", places.config.display()));
    report::note("a server lets you in with this line in ~/.ssh/authorized_keys:");
    report::line_to_copy(&authorized_keys(&ca, ENVIRONMENT));
    report::note(&format!(
        "or trusts this CA for every account, with {} copied there and named in sshd_config: \
         TrustedUserCAKeys FILE",
        file::public_path(&places.first_ca).display()
    ));
    Ok(())
}

fn ca_key(path: &Path) -> Result<PublicKey, Failure> {
    let comment = format!("evercert-ca-{ENVIRONMENT}");
    let cannot = |error| Failure::new(format!("cannot make {}: {error}", path.display()));
    if path.symlink_metadata().is_ok() {
        let known =
            file::open(path).map_err(|error| Failure::new(error.message).advice(error.hint))?;
        file::write_public(path, known.public_key(), &comment).map_err(cannot)?;
        report::note(&format!("kept the CA key {}", path.display()));
        return Ok(known.public_key().clone());
    }
    make_parent(path)?;
    let made = file::create(path, &comment).map_err(cannot)?;
    report::note(&format!("made the CA key {}", path.display()));
    Ok(made)
}

fn make_parent(path: &Path) -> Result<(), Failure> {
    let Some(folder) = path.parent() else { return Ok(()) };
    make_folder(folder)
        .map_err(|error| Failure::new(format!("cannot make {}: {error}", folder.display())))
}
