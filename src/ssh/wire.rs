//! The data types of RFC 4251 section 5, borrowed from a buffer and appended to one.

/// A message ended early, or went on where it should have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

/// Reads one message from front to back without copying.
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes exactly `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Takes a `boolean`: any value but 0 is true.
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        Ok(self.u8()? != 0)
    }

    /// Takes a `uint32`.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a `uint64`.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes a `string`: its length, then that many bytes.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()?;
        self.bytes(usize::try_from(length).map_err(|_| Malformed)?)
    }

    /// Takes a `string` that must be UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed)
    }

    /// Takes an `mpint` that is not negative, without its leading zero.
    pub fn unsigned(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.string()?;
        match bytes {
            [0, high, ..] if high & 0x80 == 0 => Err(Malformed),
            [0] => Err(Malformed),
            [0, rest @ ..] => Ok(rest),
            [high, ..] if high & 0x80 != 0 => Err(Malformed),
            _ => Ok(bytes),
        }
    }

    /// What has not been taken yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left over.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes(N)?.try_into().map_err(|_| Malformed)
    }
}

/// Appends the data types of RFC 4251 section 5.
pub trait Put {
    /// Appends a `uint32`.
    fn put_u32(&mut self, value: u32);
    /// Appends a `uint64`.
    fn put_u64(&mut self, value: u64);
    /// Appends a `string`. Longer than `u32::MAX` cannot be said; nothing here comes near it.
    fn put_string(&mut self, bytes: &[u8]);
    /// Appends an `mpint` from big-endian bytes of any width, read as not negative.
    fn put_unsigned(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn put_string(&mut self, bytes: &[u8]) {
        self.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.extend_from_slice(bytes);
    }

    fn put_unsigned(&mut self, bytes: &[u8]) {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let digits = bytes.get(zeros..).unwrap_or_default();
        let pad = digits.first().is_some_and(|high| high & 0x80 != 0);
        self.put_u32(u32::try_from(digits.len() + usize::from(pad)).unwrap_or(u32::MAX));
        if pad {
            self.push(0);
        }
        self.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_integers_come_back_without_padding() {
        for (given, kept) in [
            (&[0, 0, 1][..], &[1][..]),
            (&[0x80], &[0x80]),
            (&[0, 0xff, 0], &[0xff, 0]),
            (&[0, 0], &[]),
            (&[], &[]),
        ] {
            let mut wire = Vec::new();
            wire.put_unsigned(given);
            let mut cursor = Cursor::new(&wire);
            assert_eq!(cursor.unsigned(), Ok(kept));
            assert_eq!(cursor.end(), Ok(()));
        }
    }

    #[test]
    fn integers_written_two_ways_are_refused() {
        for wire in [
            &[0, 0, 0, 2, 0, 1][..], // a zero that says nothing
            &[0, 0, 0, 1, 0],        // zero is the empty string
            &[0, 0, 0, 1, 0x80],     // negative
        ] {
            assert_eq!(Cursor::new(wire).unsigned(), Err(Malformed));
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 1]).string(), Err(Malformed));
        assert_eq!(Cursor::new(&[0, 0, 0]).u32(), Err(Malformed));
    }
}
