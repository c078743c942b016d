//! Configuration: Java's `.properties` text, and keys declared once with type, default, unit and words.
//!
//! A key is declared in [`options!`](crate::options!), which makes a struct of typed fields; [`apply`] fills such
//! structs from a file. What is odd but clear is honoured and noted; what is not clear stops the start.

use std::fmt;

mod declare;
mod properties;

pub use properties::{Entry, PropertiesError, parse};

/// A type that an option can have.
pub trait OptionValue: Sized {
    /// What a value has to be, for errors and documentation: `an integer from 0 to 65535`.
    fn kind() -> String;

    /// Reads trimmed text; `None` if it is something else.
    fn parse(text: &str) -> Option<Self>;

    /// Writes it in the canonical spelling.
    fn show(&self) -> String;
}

/// A declared option.
pub struct Declared {
    /// The key as Apache spells it. It matches without regard to case.
    pub key: &'static str,
    /// Other spellings that mean the same.
    pub aliases: &'static [&'static str],
    /// See [`OptionValue::kind`].
    pub kind: fn() -> String,
    /// Value of an option that is not given.
    pub default: fn() -> String,
    /// What a number counts: `ms`, `bytes`.
    pub unit: Option<&'static str>,
    /// What it does, in Markdown.
    pub doc: &'static str,
}

/// A struct of options, made by [`options!`](crate::options!).
pub trait OptionSet {
    /// Its options, in the order of their declaration.
    fn declared(&self) -> &'static [Declared];

    /// Sets the option with this number in the order of [`OptionSet::declared`]; gives the canonical spelling of
    /// the value, or `None` if the text is no such value.
    fn set(&mut self, index: usize, text: &str) -> Option<String>;

    /// The value of the option with this number.
    fn show(&self, index: usize) -> String;
}

/// Something odd in a configuration that doesn't stop the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub file: String,
    /// Line of the entry, from 1.
    pub line: usize,
    /// What is odd.
    pub oddity: Oddity,
}

/// What is odd about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// No such key; it does nothing.
    Unknown {
        /// The key as written.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A key of Apache's that means nothing here.
    NoEffect {
        /// The key.
        key: &'static str,
    },
    /// Another spelling of a key.
    Key {
        /// The key as written.
        written: String,
        /// The key it is taken for.
        key: &'static str,
    },
    /// Another spelling of a value.
    Value {
        /// The key.
        key: &'static str,
        /// The value as written.
        written: String,
        /// The value it is taken for.
        value: String,
    },
    /// No value, so the default holds.
    Empty {
        /// The key.
        key: &'static str,
        /// The default.
        default: String,
    },
    /// Given before; the last one holds, as in Java.
    Again {
        /// The key.
        key: &'static str,
        /// Line where it was given before.
        before: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        match &self.oddity {
            Oddity::Unknown {
                key,
                nearest: Some(nearest),
            } => write!(f, "unknown key {key}, ignored; did you mean {nearest}?"),
            Oddity::Unknown { key, nearest: None } => write!(f, "unknown key {key}, ignored"),
            Oddity::NoEffect { key } => write!(f, "{key} has no effect in Skylark"),
            Oddity::Key { written, key } => write!(f, "{written} is taken for {key}"),
            Oddity::Value {
                key,
                written,
                value,
            } => write!(f, "{key}={written} is taken for {value}"),
            Oddity::Empty { key, default } if default.is_empty() => {
                write!(f, "{key} has no value, ignored")
            }
            Oddity::Empty { key, default } => {
                write!(f, "{key} has no value, the default {default} holds")
            }
            Oddity::Again { key, before } => {
                write!(
                    f,
                    "{key} was given in line {before} already, this one holds"
                )
            }
        }
    }
}

/// A value that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {key}={value}, expected {expected}")]
pub struct ValueError {
    /// The file.
    pub file: String,
    /// Line of the entry, from 1.
    pub line: usize,
    /// The key.
    pub key: &'static str,
    /// The value as written.
    pub value: String,
    /// What it should have been.
    pub expected: String,
}

/// Fills `sets` from the entries of `file`; a key that several sets declare goes to all of them.
/// `without_effect` are keys to take note of and ignore.
pub fn apply(
    file: &str,
    entries: &[Entry],
    sets: &mut [&mut dyn OptionSet],
    without_effect: &[&'static str],
) -> Result<Vec<Note>, ValueError> {
    let mut notes = Vec::new();
    let mut seen: Vec<(&'static str, usize)> = Vec::new();
    for entry in entries {
        let mut note = |oddity| {
            notes.push(Note {
                file: file.to_owned(),
                line: entry.line,
                oddity,
            });
        };
        let written = entry.key.trim();
        let text = entry.value.trim();
        let mut taken = None;
        for set in &mut *sets {
            let Some((index, option)) = lookup(set.declared(), written) else {
                continue;
            };
            let first = taken.replace(option.key).is_none();
            if text.is_empty() {
                if first {
                    note(Oddity::Empty {
                        key: option.key,
                        default: (option.default)(),
                    });
                }
                continue;
            }
            let value = set.set(index, text).ok_or_else(|| ValueError {
                file: file.to_owned(),
                line: entry.line,
                key: option.key,
                value: text.to_owned(),
                expected: (option.kind)(),
            })?;
            // Only a case that differs is worth a word; 04 for 4 is not.
            if first && value != text && value.eq_ignore_ascii_case(text) {
                note(Oddity::Value {
                    key: option.key,
                    written: text.to_owned(),
                    value,
                });
            }
        }
        let Some(key) = taken else {
            let known = without_effect
                .iter()
                .find(|key| key.eq_ignore_ascii_case(written));
            note(match known {
                Some(key) => Oddity::NoEffect { key },
                None => Oddity::Unknown {
                    key: written.to_owned(),
                    nearest: nearest(written, sets, without_effect),
                },
            });
            continue;
        };
        if key != written {
            note(Oddity::Key {
                written: written.to_owned(),
                key,
            });
        }
        if let Some((_, before)) = seen.iter().find(|(seen, _)| *seen == key) {
            note(Oddity::Again {
                key,
                before: *before,
            });
        }
        seen.push((key, entry.line));
    }
    Ok(notes)
}

fn lookup(declared: &'static [Declared], written: &str) -> Option<(usize, &'static Declared)> {
    declared.iter().enumerate().find(|(_, option)| {
        let mut spellings = option.aliases.iter().chain([&option.key]);
        spellings.any(|spelling| spelling.eq_ignore_ascii_case(written))
    })
}

/// The known key most like `written`, unless even that is rather another word.
fn nearest(
    written: &str,
    sets: &[&mut dyn OptionSet],
    without_effect: &[&'static str],
) -> Option<&'static str> {
    let lower = written.to_ascii_lowercase();
    let declared = sets.iter().flat_map(|set| set.declared());
    let keys = declared
        .map(|option| option.key)
        .chain(without_effect.iter().copied());
    let distance = |key: &str| strsim::damerau_levenshtein(&lower, &key.to_ascii_lowercase());
    let (distance, key) = keys.map(|key| (distance(key), key)).min()?;
    (distance <= lower.len() / 3).then_some(key)
}

impl OptionValue for String {
    fn kind() -> String {
        "text".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl OptionValue for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl OptionValue for $type {
            fn kind() -> String {
                format!("an integer from {} to {}", <$type>::MIN, <$type>::MAX)
            }

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

integers!(u16 u32 u64 i32 i64);

/// A number that can't be 0 or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positive(pub i32);

impl OptionValue for Positive {
    fn kind() -> String {
        format!("an integer from 1 to {}", i32::MAX)
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number > 0).map(Positive)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// An option that need not be given.
impl<T: OptionValue> OptionValue for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn parse(text: &str) -> Option<Self> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
