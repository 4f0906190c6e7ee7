//! A small agent client that speaks in bytes, so that it can also say what no client should.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

pub(crate) const FAILURE: u8 = 5;
pub(crate) const SUCCESS: u8 = 6;
pub(crate) const REQUEST_IDENTITIES: u8 = 11;
pub(crate) const IDENTITIES_ANSWER: u8 = 12;
pub(crate) const SIGN_REQUEST: u8 = 13;
pub(crate) const SIGN_RESPONSE: u8 = 14;
pub(crate) const ADD_IDENTITY: u8 = 17;
pub(crate) const REMOVE_IDENTITY: u8 = 18;
pub(crate) const ADD_CONSTRAINED: u8 = 25;
pub(crate) const EXTENSION: u8 = 27;
pub(crate) const EXTENSION_FAILURE: u8 = 28;
pub(crate) const EXTENSION_RESPONSE: u8 = 29;
pub(crate) const MAX_FRAME: usize = 262_144;

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) blob: Vec<u8>,
    pub(crate) comment: Vec<u8>,
}

impl Entry {
    pub(crate) fn comment(&self) -> String {
        String::from_utf8_lossy(&self.comment).into_owned()
    }

    /// The certificate, if this is one.
    pub(crate) fn certificate(&self) -> Option<super::Certificate> {
        super::Certificate::read(&self.blob)
    }
}

/// One connection to an agent.
pub(crate) struct Wire {
    stream: UnixStream,
}

impl Wire {
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket)
            .unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        stream.set_read_timeout(Some(super::PATIENCE)).expect("a timeout can be set");
        Self { stream }
    }

    /// The same connection once more, so that one thread can send while another receives.
    pub(crate) fn twin(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("a stream has room for two") }
    }

    /// Gives up sending after a while, for a client that means not to read.
    pub(crate) fn limit_writing(&self, limit: std::time::Duration) {
        self.stream.set_write_timeout(Some(limit)).expect("a timeout can be set");
    }

    /// Sends bytes as they are. The other end may have hung up; the next read tells.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        self.send_raw(&frame(message));
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a connected stream");
    }

    /// The next message, or `None` when the agent has closed the connection without one.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                return None;
            }
            Err(error) => panic!("no reply: {error}"),
        }
        let mut message = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("64 bit")];
        self.stream.read_exact(&mut message).expect("a whole reply");
        Some(message)
    }

    /// Sends a message and takes its reply.
    pub(crate) fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.send(message);
        self.receive().expect("a reply, not a closed connection")
    }

    pub(crate) fn list(&mut self) -> Vec<Entry> {
        parse_list(&self.ask(&[REQUEST_IDENTITIES]))
    }

    /// The signature (algorithm's name, raw bytes), or `None` if the agent refuses.
    pub(crate) fn sign(&mut self, blob: &[u8], data: &[u8], flags: u32) -> Option<Signature> {
        let reply =
            self.ask(&Message::new(SIGN_REQUEST).string(blob).string(data).u32(flags).done());
        if reply == [FAILURE] {
            return None;
        }
        let mut reader = Reader(&reply);
        assert_eq!(reader.byte(), SIGN_RESPONSE);
        let whole = reader.string().to_vec();
        assert!(reader.0.is_empty(), "bytes after the signature");
        let algorithm = String::from_utf8(Reader(&whole).string().to_vec()).expect("a name");
        Some(Signature { algorithm, whole })
    }

    pub(crate) fn remove(&mut self, blob: &[u8]) -> Vec<u8> {
        self.ask(&Message::new(REMOVE_IDENTITY).string(blob).done())
    }
}

/// A signature as it travels: a string with the algorithm's name, a string with the rest.
pub(crate) struct Signature {
    pub(crate) algorithm: String,
    pub(crate) whole: Vec<u8>,
}

pub(crate) fn parse_list(reply: &[u8]) -> Vec<Entry> {
    let mut reader = Reader(reply);
    assert_eq!(reader.byte(), IDENTITIES_ANSWER, "a list is never refused");
    let count = reader.u32();
    let entries = (0..count)
        .map(|_| Entry { blob: reader.string().to_vec(), comment: reader.string().to_vec() })
        .collect();
    assert!(reader.0.is_empty(), "bytes after the list");
    entries
}

/// A message with its length in front.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(message.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    bytes
}

/// A message being put together.
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    /// A structure inside a message: no type byte.
    pub(crate) fn inner() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn string(mut self, value: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(&frame(value.as_ref()));
        self
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// What is left to read of a message.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    pub(crate) fn string(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.u32()).expect("64 bit");
        self.take(length)
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at_checked(count).expect("a whole message");
        self.0 = tail;
        head
    }
}

/// The blob in a public key or certificate file, or in one line of `ssh-add -L`.
pub(crate) fn public_blob(path: &Path) -> Vec<u8> {
    let line = std::fs::read_to_string(path).expect("a public key file");
    decode_base64(line.split_whitespace().nth(1).expect("a key after its type"))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn decode_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.bytes().filter(|symbol| *symbol != b'=') {
        let value = ALPHABET.iter().position(|known| *known == symbol).expect("base64");
        bits = (bits << 6) | u32::try_from(value).expect("below 64");
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).expect("a byte"));
        }
    }
    bytes
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| (group << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let symbol =
                ALPHABET[usize::try_from((group >> (18 - 6 * place)) & 63).expect("6 bit")];
            text.push(if place > chunk.len() { '=' } else { char::from(symbol) });
        }
    }
    text
}
