//! The JSON of command headers: a scanner that borrows, and fastjson's way of writing a string.

use bytes::BufMut;

use crate::text::{Text, hex_unit};

/// Nesting allowed in the parts of a header that nobody reads.
const DEPTH_MAX: u32 = 16;

/// Text that is not the JSON expected here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: expected {expected}, found {}", Found(*.found))]
pub struct JsonError {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What could have stood there.
    pub expected: &'static str,
    /// What did; `None` at the end of the text.
    pub found: Option<u8>,
}

struct Found(Option<u8>);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(byte @ b' '..=b'~') => write!(f, "'{}'", char::from(byte)),
            Some(byte) => write!(f, "'{}'", byte.escape_ascii()),
            None => f.write_str("the end"),
        }
    }
}

/// A place in a JSON text.
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Scan<'a> {
        Scan { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn wrong<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError {
            at: self.at,
            expected,
            found: self.bytes.get(self.at).copied(),
        })
    }

    /// The next byte that is not blank, left in place.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(*byte),
            }
        }
        None
    }

    /// Takes `byte`.
    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return self.wrong(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// Between two entries, or at the end of an object or array: takes `,` (true) or `close` (false).
    pub(crate) fn more(&mut self, close: u8) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.wrong(if close == b'}' {
                "',' or '}'"
            } else {
                "',' or ']'"
            }),
        }
    }

    /// After an opening bracket: takes `close` if nothing stands between them.
    pub(crate) fn closes(&mut self, close: u8) -> bool {
        let closes = self.peek() == Some(close);
        if closes {
            self.at += 1;
        }
        closes
    }

    /// A string, quotes taken off. `CHECK` says whether its escapes have still to be checked.
    pub(crate) fn string<const CHECK: bool>(&mut self) -> Result<Text<'a>, JsonError> {
        self.expect(b'"', "'\"'")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(found) => self.at += found,
                None => {
                    self.at = self.bytes.len();
                    return self.wrong("'\"'");
                }
            }
            if self.bytes[self.at] == b'"' {
                let raw = &self.bytes[start..self.at];
                self.at += 1;
                return Ok(Text::raw(raw, escaped));
            }
            escaped = true;
            self.at += if CHECK { self.escape()? } else { 2 };
        }
    }

    fn escape(&mut self) -> Result<usize, JsonError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u') if hex_unit(&self.bytes[self.at..]).is_some() => Ok(6),
            _ => {
                self.at += 1;
                self.wrong("a JSON escape")
            }
        }
    }

    /// A string, or a number, `true` or `false` as it is written. `None` is JSON's `null`.
    pub(crate) fn scalar<const CHECK: bool>(&mut self) -> Result<Option<Text<'a>>, JsonError> {
        match self.peek() {
            Some(b'"') => self.string::<CHECK>().map(Some),
            _ => {
                let start = self.at;
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                while self.bytes.get(self.at).is_some_and(word) {
                    self.at += 1;
                }
                match &self.bytes[start..self.at] {
                    b"" => self.wrong("a string, number, true, false or null"),
                    b"null" => Ok(None),
                    raw => Ok(Some(Text::raw(raw, false))),
                }
            }
        }
    }

    /// Steps over any value.
    pub(crate) fn skip(&mut self) -> Result<(), JsonError> {
        self.skip_nested(DEPTH_MAX)
    }

    fn skip_nested(&mut self, depth: u32) -> Result<(), JsonError> {
        let close = match self.peek() {
            Some(b'{') => b'}',
            Some(b'[') => b']',
            _ => return self.scalar::<true>().map(drop),
        };
        if depth == 0 {
            return self.wrong("less nesting");
        }
        self.at += 1;
        if self.closes(close) {
            return Ok(());
        }
        loop {
            if close == b'}' {
                self.string::<true>()?;
                self.expect(b':', "':'")?;
            }
            self.skip_nested(depth - 1)?;
            if !self.more(close)? {
                return Ok(());
            }
        }
    }

    /// Nothing but blanks may follow.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.wrong("the end"),
        }
    }
}

/// Appends the inside of a JSON string the way fastjson 1.2.83 writes it: two-letter escapes where JSON has
/// them, `\u` for the other control characters and U+2028/9, everything else as it is (`/` included).
pub(crate) fn put_escaped(out: &mut impl BufMut, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut done = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if PLAIN[usize::from(byte)] {
            at += 1;
            continue;
        }
        let (unit, used) = match (byte, &bytes[at + 1..]) {
            // U+0080 to U+009F, U+2028 and U+2029 in UTF-8.
            (0xc2, [low @ 0x80..=0x9f, ..]) => (u16::from(*low), 2),
            (0xe2, [0x80, low @ 0xa8..=0xa9, ..]) => (0x2000 | u16::from(low & 0x3f), 3),
            (0xc2 | 0xe2, _) => {
                at += 1;
                continue;
            }
            _ => (u16::from(byte), 1),
        };
        out.put_slice(&bytes[done..at]);
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            _ => 0,
        };
        if short != 0 {
            out.put_slice(&[b'\\', short]);
        } else {
            let digit = |shift: u16| HEX[usize::from(unit >> shift & 15)];
            out.put_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
        }
        at += used;
        done = at;
    }
    out.put_slice(&bytes[done..]);
}

/// Bytes that are written as they are without a second look.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain[0x7f] = false;
    plain[0xc2] = false;
    plain[0xe2] = false;
    plain
};

#[cfg(test)]
mod tests;
