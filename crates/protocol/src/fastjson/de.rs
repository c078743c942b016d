//! The reader: a serde deserializer over fastjson's idea of JSON, casting as fastjson does.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};

use super::Error;
use crate::text::Text;

/// Nesting allowed; RocketMQ's deepest body has 6.
const DEPTH_MAX: u32 = 64;

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error {
            at: 0,
            message: message.to_string(),
        }
    }
}

type Result<T> = std::result::Result<T, Error>;

pub(super) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: DEPTH_MAX,
    };
    let value = T::deserialize(&mut reader).and_then(|value| match reader.peek() {
        None => Ok(value),
        Some(_) => reader.wrong("the end"),
    });
    // What serde or a type complains about has no place yet.
    value.map_err(|error| Error {
        at: error.at.max(reader.at),
        ..error
    })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
}

impl<'t> Reader<'t> {
    fn wrong<T>(&self, expected: &str) -> Result<T> {
        let message = match self.text[self.at..].chars().next() {
            Some(found) => format!("expected {expected}, found {found:?}"),
            None => format!("expected {expected}, found the end"),
        };
        Err(Error {
            at: self.at,
            message,
        })
    }

    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
        self.at += blanks.count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    /// A string in either kind of quotes, at its quote.
    fn string(&mut self) -> Result<Cow<'t, str>> {
        let bytes = self.text.as_bytes();
        let quote = bytes[self.at];
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            let Some(found) = memchr::memchr2(quote, b'\\', &bytes[at..]) else {
                self.at = bytes.len();
                return self.wrong("a closing quote");
            };
            at += found;
            if bytes[at] == quote {
                break;
            }
            escaped = true;
            at += 2;
            if at > bytes.len() {
                self.at = bytes.len();
                return self.wrong("a closing quote");
            }
        }
        self.at = at + 1;
        let raw = &self.text[start..at];
        Ok(match escaped {
            false => Cow::Borrowed(raw),
            true => Cow::Owned(Text::raw(raw.as_bytes(), true).to_str().into_owned()),
        })
    }

    /// A number, `true`, `false`, `null` or an unquoted key.
    fn word(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let is_word = |c: char| c.is_alphanumeric() || "+-._$@".contains(c);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The text of a scalar, or of a whole object or array where fastjson would turn it into a string.
    fn scalar(&mut self) -> Result<Cow<'t, str>> {
        match self.peek() {
            Some(b'"' | b'\'') => self.string(),
            Some(b'{' | b'[') => {
                let start = self.at;
                self.skip()?;
                Ok(Cow::Borrowed(&self.text[start..self.at]))
            }
            _ => match self.word() {
                "" => self.wrong("a value"),
                word => Ok(Cow::Borrowed(word)),
            },
        }
    }

    /// Takes `null`.
    fn null(&mut self) -> bool {
        self.peek();
        let rest = &self.text[self.at..];
        let null = rest
            .strip_prefix("null")
            .is_some_and(|behind| !behind.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        if null {
            self.at += 4;
        }
        null
    }

    /// Steps over a value, or over an object that is a key.
    fn skip(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'{') => self.nested(|reader| reader.skip_entries(b'}')),
            Some(b'[') => self.nested(|reader| reader.skip_entries(b']')),
            _ => self.scalar().map(drop),
        }
    }

    fn skip_entries(&mut self, close: u8) -> Result<()> {
        self.at += 1;
        let mut entries = Entries {
            reader: self,
            close,
            first: true,
        };
        while entries.next()? {
            entries.reader.skip()?;
            if close == b'}' {
                entries.reader.colon()?;
                entries.reader.skip()?;
            }
        }
        Ok(())
    }

    fn colon(&mut self) -> Result<()> {
        match self.take(b':') {
            true => Ok(()),
            false => self.wrong("':'"),
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == 0 {
            return self.wrong("less nesting");
        }
        self.depth -= 1;
        let result = read(self);
        self.depth += 1;
        result
    }

    fn number<T: std::str::FromStr>(&mut self, kind: &str) -> Result<T> {
        let at = self.at;
        let text = self.scalar()?;
        text.parse().map_err(|_| Error {
            at,
            message: format!("expected {kind}, found {:?}", Shown(&text)),
        })
    }
}

/// At most 64 characters of a bad value.
struct Shown<'a>(&'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut: String = self.0.chars().take(64).collect();
        fmt::Debug::fmt(&cut, f)
    }
}

/// Walks over the entries of an object or array whose bracket is taken.
struct Entries<'r, 't> {
    reader: &'r mut Reader<'t>,
    close: u8,
    first: bool,
}

impl Entries<'_, '_> {
    /// Goes to the next entry; false after the last. Commas too many are passed over, as in fastjson.
    fn next(&mut self) -> Result<bool> {
        let mut comma = std::mem::take(&mut self.first);
        while self.reader.take(b',') {
            comma = true;
        }
        if self.reader.take(self.close) {
            return Ok(false);
        }
        match comma {
            true => Ok(true),
            false => self.reader.wrong(if self.close == b'}' {
                "',' or '}'"
            } else {
                "',' or ']'"
            }),
        }
    }
}

impl<'de> de::SeqAccess<'de> for Entries<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        match self.next()? {
            true => seed.deserialize(&mut *self.reader).map(Some),
            false => Ok(None),
        }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_> {
    type Error = Error;

    /// Entries whose value is null are passed over, so that a null leaves a field at its default.
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        while self.next()? {
            let start = self.reader.at;
            self.reader.skip()?;
            self.reader.colon()?;
            if self.reader.null() {
                continue;
            }
            self.reader.at = start;
            return seed.deserialize(&mut *self.reader).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        self.reader.colon()?;
        seed.deserialize(&mut *self.reader)
    }
}

macro_rules! numbers {
    ($($name:ident $visit:ident $kind:literal,)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            if self.null() {
                return visitor.$visit(Default::default());
            }
            let number = self.number($kind)?;
            visitor.$visit(number)
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Reader<'_> {
    type Error = Error;

    numbers! {
        deserialize_i8 visit_i8 "an integer",
        deserialize_i16 visit_i16 "an integer",
        deserialize_i32 visit_i32 "a 32-bit integer",
        deserialize_i64 visit_i64 "a 64-bit integer",
        deserialize_u8 visit_u8 "an integer",
        deserialize_u16 visit_u16 "an integer",
        deserialize_u32 visit_u32 "an integer",
        deserialize_u64 visit_u64 "an integer",
        deserialize_f32 visit_f32 "a number",
        deserialize_f64 visit_f64 "a number",
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.peek() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'"' | b'\'') => self.deserialize_str(visitor),
            _ => match &*self.scalar()? {
                "null" => visitor.visit_unit(),
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                word => match (word.parse(), word.parse()) {
                    (Ok(integer), _) => visitor.visit_i64(integer),
                    (_, Ok(number)) => visitor.visit_f64(number),
                    _ => visitor.visit_str(word),
                },
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let at = self.at;
        let text = self.scalar()?;
        match &*text {
            "true" | "1" | "TRUE" | "True" => visitor.visit_bool(true),
            "false" | "0" | "FALSE" | "False" | "null" | "" => visitor.visit_bool(false),
            other => Err(Error {
                at,
                message: format!("expected true or false, found {:?}", Shown(other)),
            }),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.null() {
            return visitor.visit_str("");
        }
        match self.scalar()? {
            Cow::Borrowed(text) => visitor.visit_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.null() {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if !self.take(b'[') {
            return self.wrong("'['");
        }
        self.nested(|reader| {
            visitor.visit_seq(Entries {
                reader,
                close: b']',
                first: true,
            })
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if !self.take(b'{') {
            return self.wrong("'{'");
        }
        self.nested(|reader| {
            visitor.visit_map(Entries {
                reader,
                close: b'}',
                first: true,
            })
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_map(visitor)
    }

    /// By name, or by its ordinal as other clients send it.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let name = self.scalar()?;
        match name.parse::<u32>() {
            Ok(ordinal) => visitor.visit_enum(ordinal.into_deserializer()),
            Err(_) => visitor.visit_enum(name.as_ref().into_deserializer()),
        }
    }
}
