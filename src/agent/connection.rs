//! One client: its bindings, its requests, its replies.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use zeroize::{Zeroize, Zeroizing};

use super::Agent;
use super::clock::Clocks;
use super::keyring::Added;
use crate::destination::Bindings;
use crate::signer::Signer;
use crate::signer::local::LocalKey;
use crate::ssh::message::{
    Addition, MAX_MESSAGE, REQUEST_IDENTITIES, Reply, Request, SESSION_BIND,
};
use crate::ssh::signature::SignatureAlgorithm;

/// Replies are sent when so many bytes wait; nothing more is read until they are taken.
const MAX_REPLIES: usize = 64 * 1024;
/// How long half a request may stand still.
const HALF_REQUEST: Duration = Duration::from_secs(30);
/// Buffers that grew beyond this are given back when they are empty.
const IDLE_BUFFER: usize = 8 * 1024;

/// See the module.
pub(super) struct Connection {
    agent: Arc<Agent>,
    bindings: Bindings,
}

impl Connection {
    pub(super) fn new(agent: Arc<Agent>) -> Self {
        Self { agent, bindings: Bindings::default() }
    }

    /// Answers requests in order until the client leaves, breaks the framing, or the agent stops.
    pub(super) async fn serve(mut self, mut stream: UnixStream, stopping: watch::Receiver<bool>) {
        if let Err(error) = self.converse(&mut stream, stopping).await {
            tracing::debug!("connection ended: {error}");
        }
    }

    async fn converse(
        &mut self,
        stream: &mut UnixStream,
        mut stopping: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let mut inbox = Inbox::new();
        let mut replies = Vec::new();
        loop {
            let framing = loop {
                match inbox.next_frame() {
                    Ok(Some(frame)) => {
                        let is_cheap = frame.first() == Some(&REQUEST_IDENTITIES);
                        let secret = self.answer(frame, &mut replies).await;
                        inbox.consume(secret);
                        if !is_cheap {
                            // One thread serves all: after each signature it is the others' turn.
                            tokio::task::yield_now().await;
                        }
                    }
                    end => break end.map(|_| ()),
                }
                if replies.len() > MAX_REPLIES {
                    send(stream, &mut replies).await?;
                }
            };
            send(stream, &mut replies).await?;
            framing?;
            tokio::select! {
                more = inbox.fill(stream) => if !more? { return Ok(()) },
                _ = stopping.wait_for(|stop| *stop) => return Ok(()),
            }
        }
    }

    /// Appends the reply to one request. True when the request's bytes are secret.
    async fn answer(&mut self, frame: &[u8], replies: &mut Vec<u8>) -> bool {
        let Ok(request) = Request::read(frame) else {
            Reply::Failure.write(replies);
            // An addition that we cannot read carries a key all the same.
            return true;
        };
        let secret = matches!(request, Request::Add(_));
        let reply = match request {
            Request::List => {
                replies.extend_from_slice(&self.agent.list().await);
                return false;
            }
            Request::Sign { blob, data, flags } => self.sign(blob, data, flags).await,
            Request::Add(addition) => self.add(addition),
            Request::Remove { blob } => {
                let removed = self.agent.keyring().remove(blob, &Clocks::read());
                self.agent.settle();
                if removed { Reply::Success } else { Reply::Failure }
            }
            Request::RemoveAll => {
                self.agent.keyring().remove_all();
                self.agent.settle();
                Reply::Success
            }
            Request::Extension { name, body } => self.extension(name, body),
        };
        reply.write(replies);
        secret
    }

    async fn sign(&self, blob: &[u8], data: &[u8], flags: u32) -> Reply {
        let Some(signer) = self.agent.keyring().find(blob, &Clocks::read()) else {
            return Reply::Failure;
        };
        let key = signer.public_key().key_type();
        let Some(algorithm) = SignatureAlgorithm::requested(key, flags) else {
            tracing::info!("refused an RSA signature with SHA-1");
            return Reply::Failure;
        };
        match signer.sign(data, algorithm).await {
            Ok(signature) => Reply::Signature(signature.to_blob()),
            Err(error) => {
                tracing::warn!("cannot sign: {error}");
                Reply::Failure
            }
        }
    }

    fn add(&self, addition: Addition<'_>) -> Reply {
        let Addition { key, certificate, comment } = addition;
        let held = match LocalKey::from_private(&key) {
            Ok(held) => held,
            Err(misfit) => {
                tracing::info!("refused to add a key: {misfit}");
                return Reply::Failure;
            }
        };
        let blob = match &certificate {
            Some(certificate) => certificate.blob().to_vec(),
            None => held.public_key().blob().to_vec(),
        };
        let added = Added { signer: Arc::new(held), certificate, comment: comment.to_vec() };
        match self.agent.keyring().add(blob, added) {
            Ok(()) => Reply::Success,
            Err(full) => {
                tracing::warn!("refused to add a key: {full}");
                Reply::Failure
            }
        }
    }

    fn extension(&mut self, name: &[u8], body: &[u8]) -> Reply {
        if name == b"query" {
            return Reply::Extensions(&[SESSION_BIND]);
        }
        if name != SESSION_BIND.as_bytes() {
            return Reply::Failure;
        }
        match self.bindings.bind(body) {
            Ok(()) => Reply::Success,
            Err(refused) => {
                tracing::debug!("refused a session-bind: {refused}");
                Reply::ExtensionFailure
            }
        }
    }
}

async fn send(stream: &mut UnixStream, replies: &mut Vec<u8>) -> io::Result<()> {
    if !replies.is_empty() {
        stream.write_all(replies).await?;
        replies.clear();
        replies.shrink_to(IDLE_BUFFER);
    }
    Ok(())
}

/// Received bytes, cut into frames. The buffer grows with what arrives, not with what a header
/// announces, and is wiped wherever it may have held a key.
struct Inbox {
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
}

const HEADER: usize = 4;

impl Inbox {
    fn new() -> Self {
        Self { buffer: Zeroizing::new(Vec::new()), start: 0, end: 0 }
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The content of the first frame, once all of it is here.
    fn next_frame(&self) -> io::Result<Option<&[u8]>> {
        let Some((header, rest)) = self.pending().split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header) as usize;
        if length == 0 || length > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of forbidden length"));
        }
        Ok(rest.get(..length))
    }

    /// Drops the first frame, and wipes it where it was secret.
    fn consume(&mut self, secret: bool) {
        let length = self.next_frame().ok().flatten().map_or(0, <[u8]>::len);
        let next = self.start + HEADER + length;
        if secret && let Some(frame) = self.buffer.get_mut(self.start..next) {
            frame.zeroize();
        }
        self.start = next;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > IDLE_BUFFER {
                self.buffer = Zeroizing::new(Vec::new());
            }
        }
    }

    /// Waits for more bytes. False at the end of the stream, or when half a frame stands still.
    async fn fill(&mut self, stream: &mut UnixStream) -> io::Result<bool> {
        self.make_room();
        let half = self.end > self.start;
        let Some(room) = self.buffer.get_mut(self.end..) else { return Ok(false) };
        let read = if half {
            match tokio::time::timeout(HALF_REQUEST, stream.read(room)).await {
                Ok(read) => read?,
                Err(_) => return Ok(false),
            }
        } else {
            stream.read(room).await?
        };
        self.end += read;
        Ok(read > 0)
    }

    /// Moves what is pending to the front, into a larger buffer where it fills this one. The old
    /// one is wiped when it is dropped.
    fn make_room(&mut self) {
        if self.end < self.buffer.len() {
            return;
        }
        let pending = self.end - self.start;
        let size = (2 * pending).clamp(IDLE_BUFFER / 2, HEADER + MAX_MESSAGE);
        let mut larger = Zeroizing::new(vec![0; size]);
        if let Some(front) = larger.get_mut(..pending) {
            front.copy_from_slice(self.pending());
        }
        self.buffer = larger;
        (self.start, self.end) = (0, pending);
    }
}
