//! Bodies in JSON as fastjson 1.2.83 writes and reads it, which is not quite JSON.
//!
//! It writes integer map keys without quotes (`{0:"a"}`) and objects as keys (`{{"queueId":0}:1}`), sorts the
//! fields of an object (our structs declare theirs in that order) and leaves out nulls. It reads all of that,
//! and casts: `"1"` where a number is wanted, `1` where a string is, an ordinal where an enum is.
//! Not read: `{"$ref":"…"}`, which fastjson writes for the second sight of one Java object.

mod de;
mod ser;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Text that is not the value expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("JSON, byte {at}: {message}")]
pub struct Error {
    /// How far it was read, in bytes.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads a whole text.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error {
        at: error.valid_up_to(),
        message: "not UTF-8".to_owned(),
    })?;
    de::from_str(text)
}

/// Writes `value` as fastjson does by default.
pub fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    ser::to_vec(value, ser::Style::Fastjson)
}

/// Writes `value` as standard JSON: fastjson with `BrowserCompatible` and `MapSortField`, which also escapes `/`
/// and everything that is not ASCII. Clients from 4.9.4 on get their routes this way.
pub fn to_vec_standard<T: Serialize>(value: &T) -> Vec<u8> {
    ser::to_vec(value, ser::Style::Standard)
}

/// Writes `value` over several lines, indented by tabs, as Apache writes its `config/*.json`.
pub fn to_vec_pretty<T: Serialize>(value: &T) -> Vec<u8> {
    ser::to_vec(value, ser::Style::Pretty)
}

#[cfg(test)]
mod tests;
