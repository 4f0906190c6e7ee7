//! From what was written to what may be used: every rule about a single configuration file.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::raw::{self, File};
use super::{Ca, Environment, Key, KeyKind, Problem, duration, nearest, places};
use crate::ssh::certificate::{MAX_PRINCIPALS, MAX_TEXT, Options, is_key_id, is_principal};
use crate::ssh::key::PublicKey;

const LIFETIME: Duration = Duration::from_secs(60 * 60);
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
const SHORT_LIFETIME: Duration = Duration::from_secs(5 * 60);
const WAIT: Duration = Duration::from_secs(3);
/// sshd gives up on a login after LoginGraceTime, 120 s.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Beyond a certificate of this kind nobody's patience goes.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The longest command that sshd is asked to force, in bytes.
const MAX_COMMAND: usize = 4096;
/// The most addresses and networks in one certificate.
const MAX_NETWORKS: usize = 256;
const KEY_ID: &str = "{user}@{host}/{environment}";

/// What `ssh-keygen -s` grants when it is not told otherwise.
const DEFAULT_EXTENSIONS: [&str; 5] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

/// Checks the whole file; warnings come back beside it. `folder` is what relative paths start from.
pub(super) fn check(raw: File, folder: &Path) -> Result<(Vec<Environment>, Vec<Problem>), Problem> {
    let mut warnings = Vec::new();
    let mut environments = Vec::new();
    for (name, environment) in raw.environments {
        environments.push(check_environment(&name, environment, folder, &mut warnings)?);
    }
    Ok((environments, warnings))
}

fn check_environment(
    name: &Spanned<String>,
    raw: raw::Environment,
    folder: &Path,
    warnings: &mut Vec<Problem>,
) -> Result<Environment, Problem> {
    check_name(name)?;
    let missing = |what: &str| at(name, format!("environment {} has no {what}", name.as_ref()));
    let principals = raw.principals.ok_or_else(|| missing("principals: name at least one"))?;
    let lifetime = check_lifetime(name, raw.lifetime, raw.max_lifetime, warnings)?;
    let ca =
        raw.ca.ok_or_else(|| missing("[ca] table: say who signs, for example kind = \"file\""))?;
    Ok(Environment {
        name: name.as_ref().clone(),
        principals: check_principals(principals)?,
        lifetime,
        key: check_key(raw.key, folder)?,
        hosts: check_hosts(raw.hosts.unwrap_or_default())?,
        extensions: check_extensions(raw.extensions)?,
        critical_options: check_critical_options(
            raw.force_command,
            raw.source_address,
            raw.verify_required,
        )?,
        key_id: check_key_id(raw.key_id)?,
        renew_at: check_renew_at(raw.renew_at, lifetime)?,
        wait: check_wait(raw.wait)?,
        ca: check_ca(name, ca, folder)?,
    })
}

fn check_name(name: &Spanned<String>) -> Result<(), Problem> {
    let text = name.as_ref();
    let good = (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if good {
        return Ok(());
    }
    Err(at(
        name,
        format!(
            "environment name {text:?}: 1 to 64 of A-Z a-z 0-9 . _ - are allowed, a letter or digit in front"
        ),
    ))
}

fn check_principals(raw: Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, Problem> {
    let count = raw.as_ref().len();
    if !(1..=MAX_PRINCIPALS).contains(&count) {
        return Err(at(&raw, format!("{count} principals: 1 to {MAX_PRINCIPALS} are allowed")));
    }
    let mut principals = Vec::with_capacity(count);
    for principal in raw.into_inner() {
        let text = principal.as_ref();
        if !is_principal(text) {
            return Err(at(
                &principal,
                format!(
                    "principal {text:?}: 1 to {MAX_TEXT} of A-Z a-z 0-9 . _ @ + - are allowed, no - in front"
                ),
            ));
        }
        if principals.contains(text) {
            return Err(at(&principal, format!("principal {text:?} stands here twice")));
        }
        principals.push(principal.into_inner());
    }
    Ok(principals)
}

fn check_lifetime(
    name: &Spanned<String>,
    raw: Option<Spanned<String>>,
    raw_max: Option<Spanned<String>>,
    warnings: &mut Vec<Problem>,
) -> Result<Duration, Problem> {
    let max = match &raw_max {
        Some(raw) => positive("max_lifetime", raw)?,
        None => MAX_LIFETIME,
    };
    let Some(raw) = raw else {
        if LIFETIME <= max {
            return Ok(LIFETIME);
        }
        return Err(at(
            raw_max.as_ref().unwrap_or(name),
            format!("max_lifetime is below the default lifetime, {}", duration::show(LIFETIME)),
        ));
    };
    let lifetime = positive("lifetime", &raw)?;
    if lifetime > max {
        return Err(at(
            &raw,
            format!(
                "lifetime {} is above max_lifetime, {}; raise max_lifetime if you mean it",
                raw.as_ref(),
                duration::show(max)
            ),
        ));
    }
    if lifetime < SHORT_LIFETIME {
        warnings.push(at(
            &raw,
            format!(
                "lifetime {} is below 5m: a short outage of the CA locks you out",
                raw.as_ref()
            ),
        ));
    }
    Ok(lifetime)
}

fn check_key(raw: Option<Spanned<String>>, folder: &Path) -> Result<Key, Problem> {
    let Some(raw) = raw else { return Ok(Key::InMemory(KeyKind::Ed25519)) };
    let text = raw.as_ref();
    if text.contains('/') {
        return Ok(Key::File(check_path(&raw, folder)?));
    }
    KeyKind::ALL.into_iter().find(|kind| kind.name() == text).map(Key::InMemory).ok_or_else(|| {
        let known = KeyKind::ALL.map(KeyKind::name);
        at(&raw, unknown("key", text, &known, "; a path has a / in it"))
    })
}

fn check_hosts(raw: Vec<Spanned<String>>) -> Result<Vec<String>, Problem> {
    for pattern in &raw {
        let text = pattern.as_ref();
        let bare = text.strip_prefix('!').unwrap_or(text);
        let good = !bare.is_empty()
            && bare.bytes().all(|byte| byte.is_ascii_graphic() && !b",\"'#!".contains(&byte))
            && brackets_fit(bare);
        if !good {
            return Err(at(
                pattern,
                format!(
                    "host pattern {text:?}: a name, an address or a network is expected, \
                     with * and ? as wildcards, ! in front to exclude, [name]:port for a port"
                ),
            ));
        }
    }
    Ok(raw.into_iter().map(Spanned::into_inner).collect())
}

/// `[name]:port` has one pair of brackets and a port, everything else none.
fn brackets_fit(pattern: &str) -> bool {
    let Some(rest) = pattern.strip_prefix('[') else { return !pattern.contains(['[', ']']) };
    rest.split_once("]:").is_some_and(|(name, port)| {
        !name.is_empty() && !name.contains(['[', ']']) && port.parse::<u16>().is_ok_and(|p| p > 0)
    })
}

fn check_extensions(raw: Option<Vec<Spanned<String>>>) -> Result<Options, Problem> {
    let Some(raw) = raw else {
        return Ok(DEFAULT_EXTENSIONS.map(|name| (name.to_owned(), String::new())).into());
    };
    let mut extensions = Options::new();
    for extension in raw {
        let text = extension.as_ref();
        let own = text.split_once('@').is_some_and(|(name, domain)| {
            is_principal(name) && is_principal(domain) && text.len() <= MAX_TEXT
        });
        if !own && !DEFAULT_EXTENSIONS.contains(&text.as_str()) && text != "no-touch-required" {
            let known = [&DEFAULT_EXTENSIONS[..], &["no-touch-required"]].concat();
            return Err(at(
                &extension,
                unknown("extension", text, &known, "; one of your own is spelt name@domain"),
            ));
        }
        if extensions.insert(text.clone(), String::new()).is_some() {
            return Err(at(&extension, format!("extension {text:?} stands here twice")));
        }
    }
    Ok(extensions)
}

fn check_critical_options(
    force_command: Option<Spanned<String>>,
    source_address: Option<Spanned<Vec<Spanned<String>>>>,
    verify_required: bool,
) -> Result<Options, Problem> {
    let mut options = Options::new();
    if let Some(command) = force_command {
        let text = command.as_ref();
        let fits = (1..=MAX_COMMAND).contains(&text.len());
        if !fits || text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(at(
                &command,
                format!("force_command: one line of 1 to {MAX_COMMAND} bytes is expected"),
            ));
        }
        options.insert("force-command".to_owned(), command.into_inner());
    }
    if let Some(networks) = source_address {
        let count = networks.as_ref().len();
        if !(1..=MAX_NETWORKS).contains(&count) {
            return Err(at(
                &networks,
                format!(
                    "source_address has {count} entries: 1 to {MAX_NETWORKS} are allowed; leave it out to allow every address"
                ),
            ));
        }
        if let Some(wrong) = networks.as_ref().iter().find(|network| !is_network(network.as_ref()))
        {
            return Err(at(
                wrong,
                format!(
                    "source_address {:?}: an address or a network such as 192.0.2.0/24, without host bits, is expected",
                    wrong.as_ref()
                ),
            ));
        }
        let networks: Vec<String> =
            networks.into_inner().into_iter().map(Spanned::into_inner).collect();
        options.insert("source-address".to_owned(), networks.join(","));
    }
    if verify_required {
        options.insert("verify-required".to_owned(), String::new());
    }
    Ok(options)
}

fn check_key_id(raw: Option<Spanned<String>>) -> Result<String, Problem> {
    let Some(raw) = raw else { return Ok(KEY_ID.to_owned()) };
    let mut rest = raw.as_ref().clone();
    for name in ["{user}", "{host}", "{environment}", "{serial}"] {
        rest = rest.replace(name, "");
    }
    let longest = raw.as_ref().replace("{serial}", &u64::MAX.to_string());
    if rest.contains(['{', '}']) || !is_key_id(raw.as_ref()) || longest.len() > MAX_TEXT {
        return Err(at(
            &raw,
            format!(
                "key_id {:?}: 1 to {MAX_TEXT} printable bytes are expected, with {{user}}, {{host}}, {{environment}} and {{serial}} filled in",
                raw.as_ref()
            ),
        ));
    }
    Ok(raw.into_inner())
}

fn check_renew_at(
    raw: Option<Spanned<String>>,
    lifetime: Duration,
) -> Result<Option<Duration>, Problem> {
    let Some(raw) = raw else { return Ok(None) };
    let renew_at = positive("renew_at", &raw)?;
    if renew_at >= lifetime {
        return Err(at(
            &raw,
            format!(
                "renew_at {} is not before the end of the lifetime, {}",
                raw.as_ref(),
                duration::show(lifetime)
            ),
        ));
    }
    Ok(Some(renew_at))
}

fn check_wait(raw: Option<Spanned<String>>) -> Result<Duration, Problem> {
    let Some(raw) = raw else { return Ok(WAIT) };
    match duration::parse(raw.as_ref()) {
        Some(wait) if wait <= MAX_WAIT => Ok(wait),
        _ => {
            Err(at(&raw, format!("wait {:?}: a duration from 0s to 1m is expected", raw.as_ref())))
        }
    }
}

fn check_ca(name: &Spanned<String>, raw: raw::Ca, folder: &Path) -> Result<Ca, Problem> {
    let missing =
        |what: &str| at(name, format!("the ca of environment {} has no {what}", name.as_ref()));
    let kind = raw.kind.ok_or_else(|| missing("kind: file and ssh-agent are known"))?;
    let public_key = raw.public_key.as_ref().map(check_public_key).transpose()?;
    let foreign = |key: &str, value: &Option<Spanned<String>>| match value {
        Some(value) => {
            Err(at(value, format!("{key} means nothing for the ca kind {:?}", kind.as_ref())))
        }
        None => Ok(()),
    };
    match kind.as_ref().as_str() {
        "file" => {
            foreign("socket", &raw.socket)?;
            let path = raw.path.ok_or_else(|| missing("path: name the CA's private key file"))?;
            Ok(Ca::File { path: check_path(&path, folder)?, public_key })
        }
        "ssh-agent" => {
            foreign("path", &raw.path)?;
            let socket = raw.socket.ok_or_else(|| missing("socket: where the other agent is"))?;
            let public_key = public_key
                .ok_or_else(|| missing("public_key: say which of the other agent's keys"))?;
            Ok(Ca::SshAgent { socket: check_path(&socket, folder)?, public_key })
        }
        other => Err(at(&kind, unknown("ca kind", other, &["file", "ssh-agent"], ""))),
    }
}

fn check_public_key(raw: &Spanned<String>) -> Result<PublicKey, Problem> {
    PublicKey::from_line(raw.as_ref()).map_err(|_| {
        at(
            raw,
            "public_key: a line as in a .pub file is expected, of an Ed25519, ECDSA or RSA key"
                .to_owned(),
        )
    })
}

fn check_path(raw: &Spanned<String>, folder: &Path) -> Result<PathBuf, Problem> {
    let text = raw.as_ref();
    if text.is_empty() || text.contains('\0') {
        return Err(at(raw, "an empty path".to_owned()));
    }
    match text.strip_prefix("~/") {
        Some(rest) => places::home()
            .map(|home| home.join(rest))
            .ok_or_else(|| at(raw, format!("{text}: there is no home directory"))),
        None if text.starts_with('~') => {
            Err(at(raw, format!("{text}: only ~/ is expanded, write the path out")))
        }
        None => Ok(folder.join(text)),
    }
}

fn positive(name: &str, raw: &Spanned<String>) -> Result<Duration, Problem> {
    match duration::parse(raw.as_ref()) {
        Some(Duration::ZERO) => Err(at(raw, format!("{name} is 0: it must be longer"))),
        Some(duration) if duration > LONGEST => Err(at(
            raw,
            format!(
                "{name} {}: at most {} can be asked for",
                raw.as_ref(),
                duration::show(LONGEST)
            ),
        )),
        Some(duration) => Ok(duration),
        None => Err(at(
            raw,
            format!("{name} {:?}: a duration such as 90s, 30m, 8h or 1d is expected", raw.as_ref()),
        )),
    }
}

fn unknown(what: &str, wrong: &str, known: &[&str], more: &str) -> String {
    match nearest(wrong, known.iter().copied()) {
        Some(name) => format!("unknown {what} {wrong:?}: did you mean {name:?}?"),
        None => format!("unknown {what} {wrong:?}: known are {}{more}", known.join(", ")),
    }
}

fn at<T>(value: &Spanned<T>, message: String) -> Problem {
    Problem { message, at: Some(value.span().start) }
}

/// An address, or a network in CIDR notation without host bits, as sshd's source-address takes it.
fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse::<IpAddr>().is_ok();
    };
    let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    // The standard library reads a sign, sshd does not.
    if text.contains('+') {
        return false;
    }
    match address {
        IpAddr::V4(v4) => {
            bits <= 32 && u32::from(v4) & u32::MAX.checked_shr(bits).unwrap_or(0) == 0
        }
        IpAddr::V6(v6) => {
            bits <= 128 && u128::from(v6) & u128::MAX.checked_shr(bits).unwrap_or(0) == 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_carry_no_host_bits() {
        for (text, good) in [
            ("192.0.2.1", true),
            ("192.0.2.0/24", true),
            ("0.0.0.0/0", true),
            ("2001:db8::/32", true),
            ("2001:db8::1/128", true),
            ("192.0.2.1/24", false),
            ("192.0.2.0/33", false),
            ("2001:db8::1/32", false),
            ("host", false),
            ("", false),
            ("192.0.2.0/", false),
            ("192.0.2.0/+24", false),
        ] {
            assert_eq!(is_network(text), good, "{text}");
        }
    }
}
