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
        Scan::from(bytes, 0)
    }

    /// From a place on.
    pub(crate) fn from(bytes: &'a [u8], at: usize) -> Scan<'a> {
        Scan { bytes, at }
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
    #[inline]
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
    #[inline]
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

    /// A string, quotes taken off.
    pub(crate) fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.expect(b'"', "'\"'")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = end_of_plain(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(_) => {
                    escaped = true;
                    let Some(length) = escape(self.bytes, self.at) else {
                        self.at += 1;
                        return self.wrong("a JSON escape");
                    };
                    self.at += length;
                }
                None => return self.wrong("'\"'"),
            }
        }
        let raw = self.bytes.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Ok(Text::raw(raw, escaped))
    }

    /// Takes exactly these bytes.
    #[inline]
    pub(crate) fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        let found = self.bytes.get(self.at..)?.first_chunk::<N>()? == literal;
        if found {
            self.at += N;
        }
        found.then_some(())
    }

    /// Takes a number that is not negative.
    #[inline]
    pub(crate) fn digits(&mut self) -> Option<i32> {
        let start = self.at;
        let mut number = 0_i32;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            number = number
                .checked_mul(10)?
                .checked_add(i32::from(digit - b'0'))?;
            self.at += 1;
        }
        (self.at != start).then_some(number)
    }

    /// Takes a `"key":"value"` if it is [`compact`] and stands right here.
    pub(crate) fn compact(&mut self) -> bool {
        let found = compact(self.bytes, self.at);
        if let Some(entry) = &found {
            self.at = entry.end;
        }
        found.is_some()
    }

    /// A string, or a number, `true` or `false` as it is written. `None` is JSON's `null`.
    pub(crate) fn scalar(&mut self) -> Result<Option<Text<'a>>, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(Some),
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
            _ => return self.scalar().map(drop),
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
                self.string()?;
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

/// Length of the escape at `at`; `None` if it is none of JSON's.
fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Some(2),
        Some(b'u') if hex_unit(&bytes[at..]).is_some() => Some(6),
        _ => None,
    }
}

/// See [`compact`].
pub(crate) struct Compact<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// The value holds escapes.
    pub(crate) escaped: bool,
    /// Behind the value's closing quote.
    pub(crate) end: usize,
}

/// The short way through `"key":"value"` without blanks and without escapes in the key, which is how nearly
/// all fields arrive. `None`: read it the long way.
#[inline]
pub(crate) fn compact(bytes: &[u8], at: usize) -> Option<Compact<'_>> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let key_end = end_of_plain(bytes, at + 1);
    if bytes.get(key_end..key_end + 3)? != b"\":\"" {
        return None;
    }
    let start = key_end + 3;
    let mut end = end_of_plain(bytes, start);
    let mut escaped = false;
    while *bytes.get(end)? == b'\\' {
        escaped = true;
        end = end_of_plain(bytes, end + escape(bytes, end)?);
    }
    Some(Compact {
        key: &bytes[at + 1..key_end],
        value: &bytes[start..end],
        escaped,
        end: end + 1,
    })
}

/// Eight times the same byte.
const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte of `word` that is zero; bits above the lowest one found may be wrong.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(eight(1)) & !word & eight(0x80)
}

/// Where the next `"` or backslash is, from `at` on; the length if there is none. Eight bytes at a time:
/// the strings of a header are too short for memchr to pay off.
#[inline]
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let found = zeros(word ^ eight(b'"')) | zeros(word ^ eight(b'\\'));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes
        .get(at)
        .is_some_and(|byte| !matches!(byte, b'"' | b'\\'))
    {
        at += 1;
    }
    at.min(bytes.len())
}

/// Whether eight bytes are ASCII that is written as it is.
fn all_plain(chunk: [u8; 8]) -> bool {
    let word = u64::from_le_bytes(chunk);
    let high_or_delete = (word | word.wrapping_add(eight(1))) & eight(0x80);
    let control = word.wrapping_sub(eight(0x20)) & !word & eight(0x80);
    let quoted = zeros(word ^ eight(b'"')) | zeros(word ^ eight(b'\\'));
    high_or_delete | control | quoted == 0
}

/// Appends the inside of a JSON string the way fastjson 1.2.83 writes it: two-letter escapes where JSON has
/// them, `\u` for the other control characters and U+2028/9, everything else as it is (`/` included).
pub(crate) fn put_escaped(out: &mut impl BufMut, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut done = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if PLAIN[usize::from(byte)] {
            at += match bytes[at..].first_chunk::<8>() {
                Some(chunk) if all_plain(*chunk) => 8,
                _ => 1,
            };
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
