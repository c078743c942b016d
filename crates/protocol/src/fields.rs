//! The named strings of a command (Apache's `extFields`): read where they lie, written one after the other.

use bytes::{BufMut, BytesMut};

use crate::frame::Codec;
use crate::json::{Compact, JsonError, Scan, compact, put_escaped};
use crate::text::Text;

/// The `extFields` of a command, a stretch of the frame's header in either codec. Where they begin and end is known from the
/// head; JSON ones are read, and checked, whenever somebody asks for them. Java's nulls are no fields.
///
/// To keep the fields of a stored [`crate::frame::Frame`], keep [`Fields::span`] and give it to
/// [`Fields::at`] later.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    codec: Codec,
    bytes: &'a [u8],
    start: usize,
    /// False if the command has no `extFields` at all, which fastjson tells apart from an empty map.
    present: bool,
}

impl<'a> Fields<'a> {
    /// Fields lying at `start` in their header.
    pub(crate) fn new(codec: Codec, bytes: &'a [u8], start: usize, present: bool) -> Fields<'a> {
        Fields {
            codec,
            bytes,
            start,
            present,
        }
    }

    /// No fields.
    pub fn none() -> Fields<'a> {
        Fields::new(Codec::Json, &[], 0, false)
    }

    /// Where these fields lie in the header they were taken from.
    pub fn span(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.bytes.len()
    }

    /// The fields at a span got from [`Fields::span`] of the same header. A span from elsewhere gives
    /// nonsense fields, not a panic.
    pub fn at(codec: Codec, header: &'a [u8], span: std::ops::Range<usize>) -> Fields<'a> {
        let bytes = header.get(span.clone()).unwrap_or_default();
        Fields::new(codec, bytes, span.start, true)
    }

    /// All fields in the order they arrived; it ends where they can't be read. (As a [`Header`] they are read to the end first.)
    pub fn iter(&self) -> FieldIter<'a> {
        FieldIter {
            codec: self.codec,
            bytes: self.bytes,
            at: 0,
            broken: None,
        }
    }

    /// For the `header!` macro: shows all fields to `visit`, key and raw value apart. (Handing
    /// out pairs of `Text` costs twice the time: they travel through memory.)
    pub(crate) fn each(&self, visit: &mut Visit<'_, 'a>) -> Result<(), JsonError> {
        let mut fields = self.iter();
        // Nearly always these are all.
        while let Some(entry) = fields.compact() {
            visit(entry.key, entry.value, entry.escaped);
        }
        for (key, value) in fields.by_ref() {
            let (value, escaped) = value.into_raw();
            match key.into_raw() {
                (key, false) => visit(key, value, escaped),
                (_, true) => visit(key.to_str().as_bytes(), value, escaped),
            }
        }
        fields.broken.map_or(Ok(()), Err)
    }

    /// The value of the field `name`; the last one if it is there several times, as in a Java map.
    pub fn find(&self, name: &str) -> Option<Text<'a>> {
        let mut found = None;
        let read = self.each(&mut |key, value, escaped| {
            if key == name.as_bytes() {
                found = Some(Text::raw(value, escaped));
            }
        });
        read.ok().and(found)
    }
}

/// Takes a field's name, its raw value, and whether the value holds JSON escapes.
pub(crate) type Visit<'v, 'a> = dyn FnMut(&[u8], &'a [u8], bool) + 'v;

/// See [`Fields::iter`].
#[derive(Clone, Debug)]
pub struct FieldIter<'a> {
    codec: Codec,
    bytes: &'a [u8],
    at: usize,
    /// Why it ended before the end.
    broken: Option<JsonError>,
}

impl<'a> FieldIter<'a> {
    /// The next field of a JSON header, if it is written as fastjson writes it.
    #[inline]
    fn compact(&mut self) -> Option<Compact<'a>> {
        let comma = usize::from(self.at > 0);
        if self.codec != Codec::Json || (comma > 0 && *self.bytes.get(self.at)? != b',') {
            return None;
        }
        let entry = compact(self.bytes, self.at + comma)?;
        self.at = entry.end;
        Some(entry)
    }

    /// The next field of a JSON header that is not written as fastjson writes it; `None` at the end.
    #[cold]
    fn any_json(&mut self) -> Result<Option<(Text<'a>, Text<'a>)>, JsonError> {
        let mut scan = Scan::from(self.bytes, self.at);
        while scan.peek().is_some() {
            if self.at > 0 {
                scan.expect(b',', "','")?;
            }
            let key = scan.string()?;
            scan.expect(b':', "':'")?;
            let value = scan.scalar()?;
            self.at = scan.at();
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = (Text<'a>, Text<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.codec {
            Codec::Json => {
                if let Some(entry) = self.compact() {
                    let key = Text::raw(entry.key, false);
                    return Some((key, Text::raw(entry.value, entry.escaped)));
                }
                if self.at == self.bytes.len() || self.broken.is_some() {
                    return None;
                }
                self.any_json().unwrap_or_else(|error| {
                    self.broken = Some(error);
                    None
                })
            }
            Codec::Rocketmq => loop {
                let (key, used) = short_string(self.bytes.get(self.at..)?)?;
                self.at += used;
                let (value, used) = long_string(self.bytes.get(self.at..)?)?;
                self.at += used;
                // This codec writes no null in another way.
                if !value.is_empty() {
                    return Some((Text::raw(key, false), Text::raw(value, false)));
                }
            },
        }
    }
}

/// `i16` length and as many bytes; the string and what it takes.
pub(crate) fn short_string(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = i16::from_be_bytes(bytes.get(..2)?.try_into().ok()?);
    let end = 2 + usize::try_from(length).ok()?;
    Some((bytes.get(2..end)?, end))
}

/// `i32` length and as many bytes; the string and what it takes.
pub(crate) fn long_string(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let length = i32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    let end = 4 + usize::try_from(length).ok()?;
    Some((bytes.get(4..end)?, end))
}

/// A typed command header: decoded from, and encoded as, named strings.
pub trait Header<'a>: Sized {
    /// Reads the fields in one pass. Unknown ones are ignored.
    fn decode(fields: Fields<'a>) -> Result<Self, HeaderError>;

    /// Writes the fields.
    fn encode(&self, out: &mut FieldSink<'_>);

    /// False if the command carries no `extFields` at all.
    fn present(&self) -> bool {
        true
    }
}

impl<'a> Header<'a> for Fields<'a> {
    fn decode(fields: Fields<'a>) -> Result<Self, HeaderError> {
        fields.each(&mut |_, _, _| {})?;
        Ok(fields)
    }

    fn encode(&self, out: &mut FieldSink<'_>) {
        for (key, value) in self.iter() {
            out.echo(key, value);
        }
    }

    fn present(&self) -> bool {
        self.present
    }
}

/// The header of commands that have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoHeader;

impl Header<'_> for NoHeader {
    fn decode(_: Fields<'_>) -> Result<Self, HeaderError> {
        Ok(NoHeader)
    }

    fn encode(&self, _: &mut FieldSink<'_>) {}

    fn present(&self) -> bool {
        false
    }
}

/// A header that lacks a field or has one that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A field that must be there is not. (The wording is Apache's.)
    #[error("the custom field <{field}> is null")]
    Missing {
        /// Name on the wire.
        field: &'static str,
    },
    /// A field's value is not of its type.
    #[error("the custom field <{field}> is \"{value}\", expected {expected}")]
    Invalid {
        /// Name on the wire.
        field: &'static str,
        /// The value, cut after 64 characters.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// The fields are no JSON.
    #[error("JSON fields, {0}")]
    Broken(#[from] JsonError),
}

/// Characters of a bad value that an error repeats.
const VALUE_SHOWN_MAX: usize = 64;

impl HeaderError {
    /// For the `header!` macro: `value` of `field` is not `expected`.
    #[cold]
    pub fn invalid(field: &'static str, value: Text<'_>, expected: &'static str) -> HeaderError {
        HeaderError::Invalid {
            field,
            value: value.to_str().chars().take(VALUE_SHOWN_MAX).collect(),
            expected,
        }
    }
}

/// A type that a header field can have.
pub trait FieldValue<'a>: Sized {
    /// What [`HeaderError::Invalid`] calls it.
    const EXPECTED: &'static str;

    /// Reads it; `None` if the text is something else.
    fn read(value: Text<'a>) -> Option<Self>;

    /// The value of a field that is not there; `None` if it has to be.
    fn absent() -> Option<Self> {
        None
    }

    /// Writes it as the field `name`.
    fn write(&self, name: &'static str, out: &mut FieldSink<'_>);
}

impl<'a> FieldValue<'a> for Text<'a> {
    const EXPECTED: &'static str = "UTF-8 text";

    fn read(value: Text<'a>) -> Option<Self> {
        value.is_utf8().then_some(value)
    }

    fn write(&self, name: &'static str, out: &mut FieldSink<'_>) {
        out.text(name, *self);
    }
}

impl FieldValue<'_> for i32 {
    const EXPECTED: &'static str = "a 32-bit integer";

    fn read(value: Text<'_>) -> Option<Self> {
        integer(value)?.try_into().ok()
    }

    fn write(&self, name: &'static str, out: &mut FieldSink<'_>) {
        out.plain(name, itoa::Buffer::new().format(*self));
    }
}

impl FieldValue<'_> for i64 {
    const EXPECTED: &'static str = "a 64-bit integer";

    fn read(value: Text<'_>) -> Option<Self> {
        integer(value)
    }

    fn write(&self, name: &'static str, out: &mut FieldSink<'_>) {
        out.plain(name, itoa::Buffer::new().format(*self));
    }
}

/// A number as Java's `Long.parseLong` reads it.
pub(crate) fn integer(value: Text<'_>) -> Option<i64> {
    match value.unescaped_bytes() {
        // So many digits can't overflow.
        Some(digits)
            if (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) =>
        {
            let number = |number, digit: &u8| number * 10 + i64::from(digit - b'0');
            Some(digits.iter().fold(0, number))
        }
        _ => value.to_str().parse().ok(),
    }
}

/// As Java's `Boolean.parseBoolean`: `true` without regard to case, everything else is false.
impl FieldValue<'_> for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(value: Text<'_>) -> Option<Self> {
        Some(match value.unescaped_bytes() {
            Some(bytes) => bytes.eq_ignore_ascii_case(b"true"),
            None => value.to_str().eq_ignore_ascii_case("true"),
        })
    }

    fn write(&self, name: &'static str, out: &mut FieldSink<'_>) {
        out.plain(name, if *self { "true" } else { "false" });
    }
}

/// A field that may be missing; `None` is not written.
impl<'a, T: FieldValue<'a>> FieldValue<'a> for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(value: Text<'a>) -> Option<Self> {
        T::read(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn write(&self, name: &'static str, out: &mut FieldSink<'_>) {
        if let Some(value) = self {
            value.write(name, out);
        }
    }
}

/// Where a header writes its fields; knows the codec and the separators.
pub struct FieldSink<'o> {
    out: &'o mut BytesMut,
    codec: Codec,
    first: bool,
}

impl<'o> FieldSink<'o> {
    pub(crate) fn new(out: &'o mut BytesMut, codec: Codec) -> FieldSink<'o> {
        FieldSink {
            out,
            codec,
            first: true,
        }
    }

    /// Writes one field as it came off the wire, whatever its name is made of.
    pub fn echo(&mut self, name: Text<'_>, value: Text<'_>) {
        let (name, value) = (name.to_str(), value.to_str());
        match self.codec {
            Codec::Json => {
                self.json_name(|out| put_escaped(out, name.as_bytes()));
                put_escaped(self.out, value.as_bytes());
                self.out.put_u8(b'"');
            }
            Codec::Rocketmq => self.binary(&name, value.as_bytes()),
        }
    }

    /// Writes one field. Its name is ours, so that it needs no escapes; others: [`FieldSink::echo`].
    pub fn text(&mut self, name: &'static str, value: Text<'_>) {
        let unescaped;
        let bytes = match value.unescaped_bytes() {
            Some(bytes) => bytes,
            None => {
                unescaped = value.to_str();
                unescaped.as_bytes()
            }
        };
        match self.codec {
            Codec::Json => {
                self.json_name(|out| out.put_slice(name.as_bytes()));
                put_escaped(self.out, bytes);
                self.out.put_u8(b'"');
            }
            Codec::Rocketmq => self.binary(name, bytes),
        }
    }

    /// Writes one field; neither its name nor its value needs escapes.
    pub(crate) fn plain(&mut self, name: &'static str, value: &str) {
        match self.codec {
            Codec::Json => {
                self.json_name(|out| out.put_slice(name.as_bytes()));
                self.out.put_slice(value.as_bytes());
                self.out.put_u8(b'"');
            }
            Codec::Rocketmq => self.binary(name, value.as_bytes()),
        }
    }

    /// The name, written by `put`, and all up to where the value goes.
    #[inline]
    fn json_name(&mut self, put: impl FnOnce(&mut BytesMut)) {
        self.out.put_slice(if self.first { b"\"" } else { b",\"" });
        self.first = false;
        put(self.out);
        self.out.put_slice(b"\":\"");
    }

    fn binary(&mut self, name: &str, value: &[u8]) {
        // Only an echoed name can be too long for this codec; it is left out.
        let Ok(length) = i16::try_from(name.len()) else {
            return;
        };
        self.out.put_i16(length);
        self.out.put_slice(name.as_bytes());
        put_long_string(self.out, value);
    }
}

/// `i32` length and the bytes.
pub(crate) fn put_long_string(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

/// For the `header!` macro: which of `names` is `key`. They mostly arrive in one order, so `from`, the one behind
/// the last one found, is tried first.
#[inline]
pub(crate) fn position(names: &[&str], key: &[u8], from: usize) -> Option<usize> {
    match names.get(from) {
        Some(name) if key == name.as_bytes() => Some(from),
        _ => names.iter().position(|name| key == name.as_bytes()),
    }
}
