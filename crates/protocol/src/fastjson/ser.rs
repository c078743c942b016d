//! The writer: a serde serializer that knows fastjson's styles.

use std::fmt;

use bytes::BufMut;
use serde::ser::{self, Serialize};

use crate::json::put_escaped;

/// How to write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Fastjson,
    Standard,
    Pretty,
}

/// What a type's `Serialize` can complain about; none of ours does.
#[derive(Debug)]
pub(super) struct SerError(String);

impl fmt::Display for SerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SerError {}

impl ser::Error for SerError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        SerError(message.to_string())
    }
}

type Result<T> = std::result::Result<T, SerError>;

pub(super) fn to_vec<T: Serialize>(value: &T, style: Style) -> Vec<u8> {
    let mut writer = Writer {
        out: Vec::new(),
        style,
        depth: 0,
        is_key: false,
    };
    let result = value.serialize(&mut writer);
    assert!(result.is_ok(), "a body can't be written: {result:?}");
    writer.out
}

pub(super) struct Writer {
    out: Vec<u8>,
    style: Style,
    depth: usize,
    /// The value being written is a map's key.
    is_key: bool,
}

impl Writer {
    /// A number or `true`: bare, but quoted as a key of standard JSON.
    fn bare(&mut self, text: &str) {
        let quote = self.is_key && self.style == Style::Standard;
        if quote {
            self.out.push(b'"');
        }
        self.out.extend_from_slice(text.as_bytes());
        if quote {
            self.out.push(b'"');
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        if self.style == Style::Standard {
            put_ascii(&mut self.out, text);
        } else {
            put_escaped(&mut self.out, text.as_bytes());
        }
        self.out.push(b'"');
    }

    fn line(&mut self) {
        if self.style == Style::Pretty {
            self.out.push(b'\n');
            self.out.put_bytes(b'\t', self.depth);
        }
    }

    fn open(&mut self, bracket: u8, one_line: bool) -> Open<'_> {
        self.out.push(bracket);
        self.depth += 1;
        let is_key = std::mem::take(&mut self.is_key);
        let start = self.out.len();
        Open {
            start,
            entry: start,
            one_line: one_line || is_key,
            is_key,
            writer: self,
        }
    }
}

/// BrowserCompatible: `/` and everything outside ASCII escaped too.
fn put_ascii(out: &mut Vec<u8>, text: &str) {
    let mut plain = text;
    while let Some(at) = plain.find(|character: char| character == '/' || !character.is_ascii()) {
        put_escaped(out, &plain.as_bytes()[..at]);
        let mut rest = plain[at..].chars();
        match rest.next() {
            Some('/') => out.extend_from_slice(b"\\/"),
            Some(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04X}").as_bytes());
                }
            }
            None => {}
        }
        plain = rest.as_str();
    }
    put_escaped(out, plain.as_bytes());
}

/// An object or array being written.
pub(super) struct Open<'w> {
    writer: &'w mut Writer,
    /// Where its first entry begins.
    start: usize,
    /// Where the current entry begins, to take it back if its value is null.
    entry: usize,
    /// Stays on one line: arrays of sets, and what comes within a key.
    one_line: bool,
    is_key: bool,
}

impl Open<'_> {
    /// Separates the next entry from the one before; gives where its line break begins.
    fn entry(&mut self) -> usize {
        self.entry = self.writer.out.len();
        if self.entry != self.start {
            self.writer.out.push(b',');
        }
        let line = self.writer.out.len();
        if !self.one_line {
            self.writer.line();
        }
        line
    }

    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        let line = self.entry();
        let start = self.writer.out.len();
        self.writer.is_key = true;
        key.serialize(&mut *self.writer)?;
        self.writer.is_key = false;
        // fastjson starts no line before a key that is not a string.
        if self.writer.out.get(start) != Some(&b'"') {
            self.writer.out.drain(line..start);
        }
        self.writer.out.push(b':');
        Ok(())
    }

    /// A value behind its key; nothing is left of both if it is null.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let before = self.writer.out.len();
        value.serialize(&mut *self.writer)?;
        if self.writer.out.len() == before {
            self.writer.out.truncate(self.entry);
        }
        Ok(())
    }

    fn close(self, bracket: u8) {
        self.writer.depth -= 1;
        self.writer.is_key = self.is_key;
        if self.writer.out.len() != self.start && !self.one_line {
            self.writer.line();
        }
        self.writer.out.push(bracket);
    }
}

macro_rules! numbers {
    ($($name:ident $type:ty,)*) => {
        $(fn $name(self, value: $type) -> Result<()> {
            self.bare(itoa::Buffer::new().format(value));
            Ok(())
        })*
    };
}

impl<'w> ser::Serializer for &'w mut Writer {
    type Ok = ();
    type Error = SerError;
    type SerializeSeq = Open<'w>;
    type SerializeTuple = Open<'w>;
    type SerializeTupleStruct = ser::Impossible<(), SerError>;
    type SerializeTupleVariant = ser::Impossible<(), SerError>;
    type SerializeMap = Open<'w>;
    type SerializeStruct = Open<'w>;
    type SerializeStructVariant = ser::Impossible<(), SerError>;

    numbers! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64,
    }

    fn serialize_bool(self, value: bool) -> Result<()> {
        self.bare(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        if value.is_finite() {
            self.bare(&format!("{value:?}"));
        } else {
            self.bare("null");
        }
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        self.text(value);
        Ok(())
    }

    /// fastjson writes bytes in base 64; no body we know has any.
    fn serialize_bytes(self, _: &[u8]) -> Result<()> {
        Err(ser::Error::custom("bytes"))
    }

    /// Nothing: [`Open::value`] then drops the key.
    fn serialize_none(self) -> Result<()> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.open(b'{', true).close(b'}');
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<()> {
        Err(ser::Error::custom("an enum with fields"))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq> {
        Ok(self.open(b'[', true))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple> {
        Ok(self.open(b'[', true))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct> {
        Err(ser::Error::custom("a struct without field names"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        Err(ser::Error::custom("an enum with fields"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap> {
        Ok(self.open(b'{', false))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct> {
        Ok(self.open(b'{', false))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant> {
        Err(ser::Error::custom("an enum with fields"))
    }
}

impl ser::SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = SerError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.entry();
        let before = self.writer.out.len();
        value.serialize(&mut *self.writer)?;
        if self.writer.out.len() == before {
            self.writer.out.extend_from_slice(b"null");
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.close(b']');
        Ok(())
    }
}

impl ser::SerializeTuple for Open<'_> {
    type Ok = ();
    type Error = SerError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<()> {
        ser::SerializeSeq::end(self)
    }
}

impl ser::SerializeMap for Open<'_> {
    type Ok = ();
    type Error = SerError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close(b'}');
        Ok(())
    }
}

impl ser::SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = SerError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<()> {
        self.key(key)?;
        self.value(value)
    }

    fn end(self) -> Result<()> {
        self.close(b'}');
        Ok(())
    }
}
