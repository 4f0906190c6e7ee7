//! The configuration that a first run writes.

use std::path::Path;

/// A commented file with the single environment `local`, whose CA is a file.
#[must_use]
pub fn first(principal: &str, ca: &Path) -> String {
    let principal = toml::Value::from(principal);
    let ca = toml::Value::from(ca.to_string_lossy().as_ref());
    format!(
        "\
# evercert: one [environments.NAME] for each group of hosts. After a change:
#   evercert config check && pkill -HUP -x evercert

[environments.local]
# The accounts, or roles, to log in as. Never empty.
principals = [{principal}]
# How long a certificate lasts. It is renewed when a third is left.
lifetime = \"1h\"

# The rest is as if it stood here like this:
#key = \"ed25519\"      # or ecdsa-p256, ecdsa-p384, ecdsa-p521, rsa-3072, rsa-4096, or a key file
#hosts = []           # which hosts this is for
#extensions = [\"permit-X11-forwarding\", \"permit-agent-forwarding\",
#              \"permit-port-forwarding\", \"permit-pty\", \"permit-user-rc\"]
#key_id = \"{{user}}@{{host}}/{{environment}}\"   # what sshd logs; {{serial}} is known, too
#wait = \"3s\"          # how long ssh may wait for a certificate that is on its way
#max_lifetime = \"24h\" # lifetime may not be longer
# These are off unless they are set:
#force_command = \"/usr/bin/true\"
#source_address = [\"192.0.2.0/24\"]
#verify_required = true

[environments.local.ca]
# The key that signs: an OpenSSH private key file that nobody else may read.
kind = \"file\"
path = {ca}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_first_configuration_is_a_good_one() {
        let text = first("o'neil", Path::new("/home/a \"b\"/ca"));
        let error = config::parse(&text, Path::new("/x/config.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/x/config.toml:6:15: principal"), "{error}");
        let text = first("me", Path::new("/home/a \"b\"/ca"));
        let config = config::parse(&text, Path::new("/x/config.toml")).unwrap();
        let [local] = config.environments.as_slice() else { panic!("one environment") };
        assert_eq!(
            (local.name.as_str(), local.principals.as_slice()),
            ("local", &["me".to_owned()][..])
        );
        assert_eq!(
            local.ca,
            config::Ca::File { path: "/home/a \"b\"/ca".into(), public_key: None }
        );
        assert!(config.warnings.is_empty());
        // Uncommented, the defaults say what leaving them out says.
        let told = text.replace("\n#key", "\nkey").replace("\n#hosts", "\nhosts");
        let told = told.replace("\n#extensions", "\nextensions").replace("\n#    ", "\n    ");
        let told = told.replace("\n#wait", "\nwait").replace("\n#max", "\nmax");
        assert_eq!(config::parse(&told, Path::new("/x/config.toml")).unwrap(), config);
    }
}
