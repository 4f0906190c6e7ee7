//! Who is at the other end of a connection: what its session-binds prove. Pure.

mod session_bind;

pub use session_bind::{Binding, Refused};

/// `AGENT_MAX_SESSION_IDS` of OpenSSH.
const MAX_BINDINGS: usize = 16;

/// What one connection has proved so far, oldest first.
#[derive(Default)]
pub struct Bindings {
    proved: Vec<Binding>,
    failed: bool,
}

impl Bindings {
    /// Verifies one `session-bind@openssh.com` and remembers it, or remembers that there was a
    /// failed one (OpenSSH PROTOCOL.agent section 1).
    ///
    /// # Errors
    /// [`Refused`] says why the binding does not count.
    pub fn bind(&mut self, body: &[u8]) -> Result<(), Refused> {
        let outcome = self.judge(body);
        self.failed |= outcome.is_err();
        self.proved.extend(outcome?);
        Ok(())
    }

    /// The binding to remember, or none where it is known already.
    fn judge(&self, body: &[u8]) -> Result<Option<Binding>, Refused> {
        let binding = Binding::verify(body)?;
        for known in &self.proved {
            if known.session_id == binding.session_id {
                let same = known.host_key == binding.host_key;
                return if same { Ok(None) } else { Err(Refused::OtherHostKey) };
            }
            if !known.forwarding {
                return Err(Refused::NotForwardable);
            }
        }
        if self.proved.len() == MAX_BINDINGS {
            return Err(Refused::TooMany);
        }
        Ok(Some(binding))
    }

    /// The hosts of this connection, nearest first.
    #[must_use]
    pub fn proved(&self) -> &[Binding] {
        &self.proved
    }

    /// Whether anything was ever bound, well or badly: such a connection serves a session on some
    /// host, not this machine's user directly.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.failed || !self.proved.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::wire::Put;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    fn bind(host: u8, id: &[u8], signed_id: &[u8], forwarding: bool) -> Vec<u8> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[host; 32]).unwrap();
        let mut key = Vec::new();
        key.put_string(b"ssh-ed25519");
        key.put_string(pair.public_key().as_ref());
        let mut signature = Vec::new();
        signature.put_string(b"ssh-ed25519");
        signature.put_string(pair.sign(signed_id).as_ref());
        let mut body = Vec::new();
        body.put_string(&key);
        body.put_string(id);
        body.put_string(&signature);
        body.push(u8::from(forwarding));
        body
    }

    #[test]
    fn bindings_chain_over_forwarding_hops_only() {
        let mut bindings = Bindings::default();
        assert!(!bindings.is_remote());
        assert_eq!(bindings.bind(&bind(1, b"one", b"one", true)), Ok(()));
        assert_eq!(bindings.bind(&bind(1, b"one", b"one", true)), Ok(()));
        assert_eq!(bindings.bind(&bind(2, b"one", b"one", true)), Err(Refused::OtherHostKey));
        assert_eq!(bindings.bind(&bind(2, b"two", b"two", false)), Ok(()));
        assert_eq!(
            bindings.bind(&bind(3, b"three", b"three", false)),
            Err(Refused::NotForwardable)
        );
        assert_eq!(bindings.proved().len(), 2);
    }

    #[test]
    fn a_wrong_signature_proves_nothing_and_is_remembered() {
        let mut bindings = Bindings::default();
        assert_eq!(bindings.bind(&bind(1, b"one", b"two", false)), Err(Refused::Signature));
        assert!(bindings.proved().is_empty() && bindings.is_remote());
    }

    #[test]
    fn bindings_are_bounded() {
        let mut bindings = Bindings::default();
        for id in 0..16 {
            assert_eq!(bindings.bind(&bind(1, &[id], &[id], true)), Ok(()));
        }
        assert_eq!(bindings.bind(&bind(1, &[99], &[99], true)), Err(Refused::TooMany));
        let long = [0; 129];
        assert_eq!(bindings.bind(&bind(1, &long, &long, true)), Err(Refused::Malformed));
    }
}
