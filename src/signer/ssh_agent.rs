//! A CA key that lives in another agent: a security key's, a forwarded one, the stock ssh-agent.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Problem, Signer, fits};
use crate::ssh::key::PublicKey;
use crate::ssh::message::{self, Answer};
use crate::ssh::signature::{Signature, SignatureAlgorithm};

/// To accept a connection takes an agent no time.
const CONNECT: Duration = Duration::from_secs(3);
/// A signature may want a touch.
const TOTAL: Duration = Duration::from_secs(10);

/// One key in another agent.
pub(super) struct SshAgent {
    socket: PathBuf,
    public: PublicKey,
}

impl SshAgent {
    /// Nothing is asked of the agent before there is something to sign.
    pub(super) fn new(socket: PathBuf, public: PublicKey) -> Self {
        Self { socket, public }
    }
}

#[async_trait]
impl Signer for SshAgent {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(
        &self,
        message: &[u8],
        algorithm: SignatureAlgorithm,
    ) -> Result<Signature, Problem> {
        fits(&self.public, algorithm)?;
        let answered = timeout(TOTAL, self.ask(message, algorithm)).await;
        let answer = answered.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
        match answer.map_err(|error| self.unreachable(&error))? {
            Answer::Signature(blob) => match Signature::from_blob(&blob) {
                Ok(signature) if signature.algorithm == algorithm => Ok(signature),
                _ => Err(self.wrong(&format!("did not sign with {}", algorithm.name()))),
            },
            Answer::Failure => Err(self.refused().await),
            Answer::Identities(_) => Err(self.wrong("answered something else than a signature")),
        }
    }
}

impl SshAgent {
    async fn ask(&self, message: &[u8], algorithm: SignatureAlgorithm) -> io::Result<Answer> {
        let mut request = Vec::new();
        message::write_sign_request(&mut request, self.public.blob(), message, algorithm);
        self.converse(&request).await
    }

    /// Why the agent does not sign: it has no such key, or has its reasons.
    async fn refused(&self) -> Problem {
        let mut request = Vec::new();
        message::write_list_request(&mut request);
        let listed = timeout(CONNECT, self.converse(&request)).await;
        let fingerprint = self.public.fingerprint();
        match listed {
            Ok(Ok(Answer::Identities(blobs))) if !blobs.iter().any(|b| b == self.public.blob()) => {
                self.wrong(&format!("does not hold the CA key {fingerprint}, or is locked"))
                    .hint(format!("SSH_AUTH_SOCK={} ssh-add -l", self.socket.display()))
            }
            _ => self.wrong(&format!("refused to sign with the CA key {fingerprint}")),
        }
    }

    async fn converse(&self, request: &[u8]) -> io::Result<Answer> {
        let mut stream = timeout(CONNECT, UnixStream::connect(&self.socket)).await??;
        stream.write_all(request).await?;
        let length = stream.read_u32().await? as usize;
        if length > message::MAX_MESSAGE {
            return Err(io::Error::new(ErrorKind::InvalidData, "its answer is too long"));
        }
        let mut frame = vec![0; length];
        stream.read_exact(&mut frame).await?;
        Answer::read(&frame).map_err(|malformed| io::Error::new(ErrorKind::InvalidData, malformed))
    }

    fn unreachable(&self, error: &io::Error) -> Problem {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                self.wrong("does not run: nobody listens there").hint("start it, and add the key")
            }
            ErrorKind::TimedOut => self.wrong("did not answer in time"),
            ErrorKind::UnexpectedEof => self.wrong("hung up instead of answering"),
            _ => self.wrong(&format!("cannot be asked: {error}")),
        }
    }

    fn wrong(&self, what: &str) -> Problem {
        Problem::passing(format_args!("the agent on {} {what}", self.socket.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyKind;
    use crate::signer::local::generate;

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_never_answers_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let public = generate(KeyKind::Ed25519).unwrap().public_key().clone();
        let asked = SshAgent::new(socket, public).sign(b"x", SignatureAlgorithm::Ed25519).await;
        let problem = asked.unwrap_err();
        assert!(problem.message.ends_with("did not answer in time"), "{problem}");
    }
}
