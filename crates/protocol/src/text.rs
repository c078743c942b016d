//! A string of a command header as it arrived: borrowed from the frame, JSON escapes not yet undone.

use std::borrow::Cow;
use std::fmt;

/// A header string, borrowed from the frame. With the JSON codec its escapes are still in place
/// (they were checked before it was handed out), so that most fields are never copied.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    bytes: &'a [u8],
    escapes: Escapes,
}

/// Whether the bytes hold JSON escapes that `to_str` and `append_to` undo. Eight bytes wide, since copying the
/// padding behind a `bool` stalls on the store before it and made decoding a header half as fast.
#[derive(Clone, Copy, PartialEq)]
#[repr(u64)]
enum Escapes {
    None,
    Some,
}

impl<'a> Text<'a> {
    /// A string that needs no unescaping.
    pub const fn plain(text: &'a str) -> Text<'a> {
        Text {
            bytes: text.as_bytes(),
            escapes: Escapes::None,
        }
    }

    /// The inside of a JSON string (`escaped` if it holds a backslash) or a string of the binary codec.
    pub(crate) const fn raw(bytes: &'a [u8], escaped: bool) -> Text<'a> {
        let escapes = if escaped {
            Escapes::Some
        } else {
            Escapes::None
        };
        Text { bytes, escapes }
    }

    /// No characters at all.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the bytes are UTF-8. True for every `Text` in a decoded header; only what comes straight
    /// from [`crate::command::Fields`] may be something else.
    pub fn is_utf8(&self) -> bool {
        std::str::from_utf8(self.bytes).is_ok()
    }

    /// The string; copied only if it holds escapes. Bytes that are not UTF-8 become U+FFFD.
    pub fn to_str(&self) -> Cow<'a, str> {
        if self.escapes == Escapes::None {
            return String::from_utf8_lossy(self.bytes);
        }
        let mut out = Vec::with_capacity(self.bytes.len());
        unescape(self.bytes, &mut out);
        Cow::Owned(match String::from_utf8(out) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        })
    }

    /// Appends the string's bytes, escapes undone.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        if self.escapes == Escapes::Some {
            unescape(self.bytes, out);
        } else {
            out.extend_from_slice(self.bytes);
        }
    }

    /// What [`Text::raw`] was given.
    #[inline]
    pub(crate) fn into_raw(self) -> (&'a [u8], bool) {
        (self.bytes, self.escapes == Escapes::Some)
    }

    #[cold]
    fn eq_unescaped(&self, other: &str) -> bool {
        self.to_str() == other
    }

    /// The bytes, if no escape has to be undone to read them.
    #[inline]
    pub(crate) fn unescaped_bytes(&self) -> Option<&'a [u8]> {
        (self.escapes == Escapes::None).then_some(self.bytes)
    }
}

impl Default for Text<'_> {
    fn default() -> Self {
        Text::plain("")
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::plain(text)
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Text::plain(text)
    }
}

impl PartialEq<str> for Text<'_> {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        match self.unescaped_bytes() {
            Some(bytes) => bytes == other.as_bytes(),
            None => self.eq_unescaped(other),
        }
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Text<'_>) -> bool {
        match (self.unescaped_bytes(), other.unescaped_bytes()) {
            (Some(left), Some(right)) => left == right,
            _ => self.to_str() == other.to_str(),
        }
    }
}

impl Eq for Text<'_> {}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_str())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_str(), f)
    }
}

/// Undoes JSON escapes. `raw` was checked by [`crate::json`]; an escape that is not well formed is copied as it is.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (character, used) = escape(rest);
        match character {
            Some(character) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            None => out.extend_from_slice(&rest[..used]),
        }
        rest = &rest[used..];
    }
    out.extend_from_slice(rest);
}

/// The character that `rest` (starting at a backslash) stands for and how many bytes it takes.
fn escape(rest: &[u8]) -> (Option<char>, usize) {
    let simple = match rest.get(1) {
        Some(b'u') => {
            let Some(unit) = hex_unit(rest) else {
                return (None, rest.len().min(2));
            };
            if let Some(character) = char::from_u32(unit) {
                return (Some(character), 6);
            }
            // A surrogate: half of a pair, or alone, which Java's UTF-8 encoder writes as '?'.
            let low = if unit < 0xdc00 {
                hex_unit(&rest[6..])
            } else {
                None
            };
            return match low {
                Some(low @ 0xdc00..=0xdfff) => {
                    let character = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    (char::from_u32(character), 12)
                }
                _ => (Some('?'), 6),
            };
        }
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(byte @ (b'"' | b'\\' | b'/' | b'\'')) => char::from(*byte),
        _ => return (None, rest.len().min(2)),
    };
    (Some(simple), 2)
}

/// The UTF-16 unit of `\uXXXX` at the start of `rest`.
pub(crate) fn hex_unit(rest: &[u8]) -> Option<u32> {
    let (b'\\', b'u') = (*rest.first()?, *rest.get(1)?) else {
        return None;
    };
    rest.get(2..6)?.iter().try_fold(0, |unit, digit| {
        Some(unit << 4 | char::from(*digit).to_digit(16)?)
    })
}

#[cfg(test)]
mod tests;
