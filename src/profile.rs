//! What a certificate may say: the request made of an environment's settings, and the judgement of
//! what came back. Pure: no clock, no I/O.

use std::time::Duration;

use crate::config::Environment;
use crate::ssh::certificate::{Certificate, Kind, Options};
use crate::ssh::key::PublicKey;

/// A new certificate begins this long before now, for servers whose clock is behind.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Who runs the agent, and where: what a key id may be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// Login name.
    pub user: String,
    /// This machine's name.
    pub host: String,
}

/// "Certify this public key under this profile."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The environment that asks.
    pub environment: String,
    /// The key to certify.
    pub public_key: PublicKey,
    /// The key id, but for `{serial}`, which the issuer fills in.
    pub key_id: String,
    /// Never empty.
    pub principals: Vec<String>,
    /// From now to the end.
    pub lifetime: Duration,
    /// Exactly these.
    pub critical_options: Options,
    /// Exactly these.
    pub extensions: Options,
}

/// Builds the request for a key under an environment's settings.
#[must_use]
pub fn request(
    environment: &Environment,
    public_key: PublicKey,
    requester: &Requester,
) -> CertificateRequest {
    let key_id = environment
        .key_id
        .replace("{user}", &requester.user)
        .replace("{host}", &requester.host)
        .replace("{environment}", &environment.name);
    CertificateRequest {
        environment: environment.name.clone(),
        public_key,
        key_id,
        principals: environment.principals.clone(),
        lifetime: environment.lifetime,
        critical_options: environment.critical_options.clone(),
        extensions: environment.extensions.clone(),
    }
}

/// Why a certificate that came back is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// For somebody else.
    #[error("the certificate is for another key")]
    Key,
    /// Not by the CA we know.
    #[error("the certificate was signed by {found}, not by the CA {pinned}")]
    Ca {
        /// Fingerprint of the CA in the certificate.
        found: String,
        /// Fingerprint of the CA that was configured.
        pinned: String,
    },
    /// The signature is wrong.
    #[error("the CA's signature on the certificate does not verify")]
    Signature,
    /// A host certificate.
    #[error("the certificate is not a user certificate")]
    Kind,
    /// Not valid now, or for longer than asked.
    #[error("the certificate's validity is not what was asked for")]
    Window,
    /// No principals, or others than asked for.
    #[error("the certificate's principals are not those asked for")]
    Principals,
    /// Other critical options or extensions than asked for.
    #[error("the certificate's options are not those asked for")]
    Options,
    /// Serial 0 cannot be revoked.
    #[error("the certificate has serial 0, which cannot be revoked")]
    Serial,
}

/// Judges a certificate before it is served. `now` is seconds since 1970.
///
/// # Errors
/// The first way in which it is not what was asked for.
pub fn accept(
    certificate: &Certificate,
    request: &CertificateRequest,
    ca: &PublicKey,
    now: u64,
) -> Result<(), Unacceptable> {
    if certificate.public_key != request.public_key {
        return Err(Unacceptable::Key);
    }
    if certificate.ca() != ca.blob() {
        let found = PublicKey::from_blob(certificate.ca());
        let found = found.map_or("a key of unknown type".to_owned(), |key| key.fingerprint());
        return Err(Unacceptable::Ca { found, pinned: ca.fingerprint() });
    }
    certificate.verify(ca).map_err(|_| Unacceptable::Signature)?;
    if certificate.kind != Kind::User {
        return Err(Unacceptable::Kind);
    }
    // A minute of slack for a CA whose clock is ahead of ours.
    let longest = request.lifetime.as_secs().saturating_add(60);
    if !certificate.is_valid_at(now) || certificate.valid_before > now.saturating_add(longest) {
        return Err(Unacceptable::Window);
    }
    let asked = |name| request.principals.contains(name);
    if certificate.principals.is_empty() || !certificate.principals.iter().all(asked) {
        return Err(Unacceptable::Principals);
    }
    if !certificate.has_critical_options(&request.critical_options)
        || !certificate.has_extensions(&request.extensions)
    {
        return Err(Unacceptable::Options);
    }
    if certificate.serial == 0 {
        return Err(Unacceptable::Serial);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, KeyKind};
    use crate::signer::Signer;
    use crate::signer::local::{LocalKey, generate};
    use crate::ssh::certificate::{Draft, join};
    use crate::ssh::signature::SignatureAlgorithm;
    use std::path::Path;

    const NOW: u64 = 1_000_000;

    fn environment() -> Environment {
        let text = "[environments.prod]\nprincipals = [\"deploy\", \"root\"]\nlifetime = \"1h\"\n\
                    force_command = \"/bin/true\"\nextensions = [\"permit-pty\"]\n\
                    key_id = \"{user}@{host}/{environment}#{serial}\"\n\
                    [environments.prod.ca]\nkind = \"file\"\npath = \"ca\"\n";
        config::parse(text, Path::new("/c.toml")).unwrap().environments.remove(0)
    }

    fn requested(key: &LocalKey) -> CertificateRequest {
        let requester = Requester { user: "me".to_owned(), host: "here".to_owned() };
        request(&environment(), key.public_key().clone(), &requester)
    }

    fn draft<'a>(request: &'a CertificateRequest, ca: &'a LocalKey) -> Draft<'a> {
        Draft {
            nonce: [0; 32],
            subject: &request.public_key,
            serial: 1,
            key_id: "me@here/prod",
            principals: &request.principals,
            valid_after: NOW - 300,
            valid_before: NOW + 3600,
            critical_options: &request.critical_options,
            extensions: &request.extensions,
            ca: ca.public_key(),
        }
    }

    async fn signed(draft: &Draft<'_>, signer: &LocalKey) -> Certificate {
        let body = draft.to_be_signed().unwrap();
        let signature = signer.sign(&body, SignatureAlgorithm::Ed25519).await.unwrap();
        join(body, &signature).unwrap()
    }

    #[test]
    fn a_request_says_what_the_environment_says() {
        let key = generate(KeyKind::Ed25519).unwrap();
        let request = requested(&key);
        assert_eq!(request.key_id, "me@here/prod#{serial}");
        assert_eq!(request.principals, ["deploy", "root"]);
        assert_eq!(request.critical_options.len(), 1);
        assert_eq!(request.extensions.len(), 1);
    }

    #[tokio::test]
    async fn a_certificate_is_served_only_as_it_was_asked_for() {
        let make = || generate(KeyKind::Ed25519).unwrap();
        let (key, other, ca, stranger) = (make(), make(), make(), make());
        let request = requested(&key);
        let fit = draft(&request, &ca);
        let judge = async |draft: Draft<'_>, signer: &LocalKey| {
            accept(&signed(&draft, signer).await, &request, ca.public_key(), NOW)
        };
        assert_eq!(judge(fit.clone(), &ca).await, Ok(()));
        let fewer = ["root".to_owned()];
        assert_eq!(judge(Draft { principals: &fewer, ..fit.clone() }, &ca).await, Ok(()));

        let more = ["root".to_owned(), "admin".to_owned()];
        let none = Options::new();
        for (draft, error) in [
            (Draft { subject: other.public_key(), ..fit.clone() }, Unacceptable::Key),
            (Draft { principals: &more, ..fit.clone() }, Unacceptable::Principals),
            (Draft { critical_options: &none, ..fit.clone() }, Unacceptable::Options),
            (Draft { extensions: &none, ..fit.clone() }, Unacceptable::Options),
            (Draft { valid_after: NOW + 1, ..fit.clone() }, Unacceptable::Window),
            (Draft { valid_before: NOW, ..fit.clone() }, Unacceptable::Window),
            (Draft { valid_before: NOW + 3661, ..fit.clone() }, Unacceptable::Window),
        ] {
            assert_eq!(judge(draft, &ca).await, Err(error));
        }
        assert_eq!(judge(fit.clone(), &stranger).await, Err(Unacceptable::Signature));
        let foreign = judge(Draft { ca: stranger.public_key(), ..fit }, &stranger).await;
        assert!(matches!(foreign, Err(Unacceptable::Ca { .. })));
    }
}
