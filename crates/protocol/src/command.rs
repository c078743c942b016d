//! A command: the head that every request and response has, in both codecs (Apache's `RemotingCommand`).
//!
//! JSON: `{"code":0,"extFields":{"k":"v"},"flag":1,"language":"JAVA","opaque":7,"remark":"…",
//! "serializeTypeCurrentRPC":"JSON","version":479}`; absent values are left out.
//!
//! Binary (ROCKETMQ), big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 2 | code |
//! | 1 | language |
//! | 2 | version |
//! | 4 | opaque |
//! | 4 | flag |
//! | 4 + n | remark: length, UTF-8 |
//! | 4 + n | fields: length in bytes, then for each `i16` length, name, `i32` length, value |

use bytes::{BufMut, BytesMut};

pub(crate) use crate::fields::position;
pub use crate::fields::{FieldIter, FieldSink, FieldValue, Fields, Header, HeaderError, NoHeader};
use crate::fields::{long_string, put_long_string, short_string};
use crate::frame::{Codec, Frame};
use crate::json::{JsonError, Scan, put_escaped};
use crate::text::Text;

/// RocketMQ 5.3.3 as commands carry it (`MQVersion` ordinal).
pub const VERSION: i32 = 479;

/// Bit of `flag`: the command answers a request.
pub const RESPONSE: i32 = 1;
/// Bit of `flag`: nobody waits for an answer.
pub const ONEWAY: i32 = 2;

/// What a peer is written in (`LanguageCode`); the number is the binary codec's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Language {
    #[default]
    Java,
    Cpp,
    Dotnet,
    Python,
    Delphi,
    Erlang,
    Ruby,
    Other,
    Http,
    Go,
    Php,
    Oms,
    Rust,
    NodeJs,
}

/// In the order of their numbers.
const LANGUAGES: [(Language, &str); 14] = [
    (Language::Java, "JAVA"),
    (Language::Cpp, "CPP"),
    (Language::Dotnet, "DOTNET"),
    (Language::Python, "PYTHON"),
    (Language::Delphi, "DELPHI"),
    (Language::Erlang, "ERLANG"),
    (Language::Ruby, "RUBY"),
    (Language::Other, "OTHER"),
    (Language::Http, "HTTP"),
    (Language::Go, "GO"),
    (Language::Php, "PHP"),
    (Language::Oms, "OMS"),
    (Language::Rust, "RUST"),
    (Language::NodeJs, "NODE_JS"),
];

impl Language {
    /// Its name in JSON headers and bodies.
    pub fn name(self) -> &'static str {
        LANGUAGES[self as usize].1
    }

    /// The language called `name`; [`Language::Other`] for one we don't know.
    pub fn from_name(name: &str) -> Language {
        let known = LANGUAGES.iter().find(|(_, known)| *known == name);
        known.map_or(Language::Other, |(language, _)| *language)
    }

    /// The language with this number; [`Language::Other`] for one we don't know.
    pub fn from_code(code: u8) -> Language {
        let known = LANGUAGES.get(usize::from(code));
        known.map_or(Language::Other, |(language, _)| *language)
    }
}

/// A command's head as it arrived, borrowed from the frame.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Request code or response code: see [`crate::codes`].
    pub code: i32,
    /// What the peer is written in.
    pub language: Language,
    /// The peer's version, `MQVersion` ordinal; 0 if it doesn't say.
    pub version: i32,
    /// Number that ties a response to its request, chosen by the one who asks.
    pub opaque: i32,
    /// [`RESPONSE`] and [`ONEWAY`].
    pub flag: i32,
    /// Words for people, mostly in error responses.
    pub remark: Option<Text<'a>>,
    /// The header's fields.
    pub fields: Fields<'a>,
}

/// A header that can't be read; the connection is closed. JSON fields need not be readable: that is found when a typed header
/// is read ([`HeaderError::Broken`]), and never if nobody reads one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not a JSON object with fields of the right kind.
    #[error("JSON header, {0}")]
    Json(#[from] JsonError),
    /// A number of the head is missing or not a 32-bit integer.
    #[error("JSON header: \"{field}\" is {value}, expected a 32-bit integer")]
    Number {
        /// Key in the JSON object.
        field: &'static str,
        /// What was there, cut after 64 characters.
        value: String,
    },
    /// The binary header ends inside a value.
    #[error("binary header: {what} of {wanted} bytes at {at}, but only {left} left")]
    Truncated {
        /// The value.
        what: &'static str,
        /// Its length as claimed; negative if it claims so.
        wanted: i64,
        /// Where it begins.
        at: usize,
        /// Bytes there are.
        left: usize,
    },
    /// The binary header goes on behind its last field.
    #[error("binary header: {0} bytes behind the last field")]
    Trailing(usize),
}

impl Frame {
    /// Parses the head. The fields of a header that is written as fastjson writes it are not read yet.
    pub fn head(&self) -> Result<Head<'_>, HeadError> {
        match self.codec {
            Codec::Json => json_head(&self.header),
            Codec::Rocketmq => binary_head(&self.header),
        }
    }

    /// The typed header whose fields lie at [`Fields::span`] of this frame's head.
    pub fn header<'a, H: Header<'a>>(
        &'a self,
        fields: std::ops::Range<usize>,
    ) -> Result<H, HeaderError> {
        H::decode(Fields::at(self.codec, &self.header, fields))
    }
}

impl Head<'_> {
    /// It answers a request.
    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    /// Nobody waits for an answer.
    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY != 0
    }
}

/// Parses a JSON header.
pub fn json_head(header: &[u8]) -> Result<Head<'_>, HeadError> {
    match fastjson_head(header) {
        Some(head) => Ok(head),
        None => any_json_head(header),
    }
}

/// The short way through a header written by fastjson, whose order of keys is fixed: what stands before and behind the
/// fields. These are checked when they are read, or every send would be scanned twice. `None` for everything else.
fn fastjson_head(header: &[u8]) -> Option<Head<'_>> {
    const BEHIND: &[u8; 8] = b",\"flag\":";
    let mut scan = Scan::new(header);
    scan.literal(b"{\"code\":")?;
    let code = scan.digits()?;
    let fields = match scan.literal(b",\"extFields\":{") {
        Some(()) => {
            let start = scan.at();
            // The first brace ends them, unless one stands in a value.
            let end = start + memchr::memchr(b'}', &header[start..])?;
            if header[end + 1..].starts_with(BEHIND) {
                scan = Scan::from(header, end + 1);
                Fields::new(Codec::Json, &header[start..end], start, true)
            } else {
                scan = Scan::from(header, start - 1);
                json_fields(header, &mut scan).ok()?
            }
        }
        None => Fields::none(),
    };
    scan.literal(BEHIND)?;
    let flag = scan.digits()?;
    scan.literal(b",\"language\":\"JAVA\",\"opaque\":")?;
    let opaque = scan.digits()?;
    let remark = match scan.literal(b",\"remark\":") {
        Some(()) => Some(scan.string().ok()?),
        None => None,
    };
    scan.literal(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":")?;
    let version = scan.digits()?;
    scan.literal(b"}")?;
    (scan.at() == header.len()).then_some(Head {
        code,
        language: Language::Java,
        version,
        opaque,
        flag,
        remark,
        fields,
    })
}

fn any_json_head(header: &[u8]) -> Result<Head<'_>, HeadError> {
    let mut code = None;
    let mut opaque = None;
    let mut head = Head {
        code: 0,
        language: Language::Java,
        version: 0,
        opaque: 0,
        flag: 0,
        remark: None,
        fields: Fields::none(),
    };
    let mut scan = Scan::new(header);
    scan.expect(b'{', "'{'")?;
    let mut more = !scan.closes(b'}');
    while more {
        let key = scan.string()?;
        scan.expect(b':', "':'")?;
        if key == "code" {
            code = number(&mut scan, "code")?;
        } else if key == "opaque" {
            opaque = number(&mut scan, "opaque")?;
        } else if key == "flag" {
            head.flag = number(&mut scan, "flag")?.unwrap_or_default();
        } else if key == "version" {
            head.version = number(&mut scan, "version")?.unwrap_or_default();
        } else if key == "language" {
            if let Some(name) = scan.scalar()? {
                head.language = Language::from_name(&name.to_str());
            }
        } else if key == "remark" {
            head.remark = scan.scalar()?;
        } else if key == "extFields" && scan.peek() == Some(b'{') {
            head.fields = json_fields(header, &mut scan)?;
        } else {
            scan.skip()?;
        }
        more = scan.more(b'}')?;
    }
    scan.end()?;
    let missing = |field| HeadError::Number {
        field,
        value: "missing".to_owned(),
    };
    head.code = code.ok_or_else(|| missing("code"))?;
    head.opaque = opaque.ok_or_else(|| missing("opaque"))?;
    Ok(head)
}

fn number(scan: &mut Scan<'_>, field: &'static str) -> Result<Option<i32>, HeadError> {
    match scan.scalar()? {
        None => Ok(None),
        Some(text) => match i32::read(text) {
            Some(number) => Ok(Some(number)),
            None => Err(HeadError::Number {
                field,
                value: text.to_str().chars().take(64).collect(),
            }),
        },
    }
}

fn json_fields<'a>(header: &'a [u8], scan: &mut Scan<'a>) -> Result<Fields<'a>, JsonError> {
    scan.expect(b'{', "'{'")?;
    let start = scan.at();
    let mut more = !scan.closes(b'}');
    while more {
        if !scan.compact() {
            scan.string()?;
            scan.expect(b':', "':'")?;
            scan.scalar()?;
        }
        more = scan.more(b'}')?;
    }
    let bytes = &header[start..scan.at() - 1];
    Ok(Fields::new(Codec::Json, bytes, start, true))
}

/// Parses a binary (ROCKETMQ) header.
pub fn binary_head(header: &[u8]) -> Result<Head<'_>, HeadError> {
    let truncated = |what, wanted, at| HeadError::Truncated {
        what,
        wanted,
        at,
        left: header.len().saturating_sub(at),
    };
    let Some((fixed, _)) = header.split_first_chunk::<13>() else {
        return Err(truncated("fixed part", 13, 0));
    };
    let [c0, c1, language, v0, v1, o0, o1, o2, o3, f0, f1, f2, f3] = *fixed;

    let (remark, used) = long_string(&header[13..])
        .ok_or_else(|| truncated("remark", claimed(&header[13..]), 13))?;
    let at = 13 + used;
    let (bytes, used) = long_string(&header[at..])
        .ok_or_else(|| truncated("fields", claimed(&header[at..]), at))?;
    let start = at + 4;
    if start - 4 + used != header.len() {
        return Err(HeadError::Trailing(header.len() - at - used));
    }
    let mut at = 0;
    while at < bytes.len() {
        let used = short_string(&bytes[at..])
            .ok_or_else(|| truncated("field name", claimed_short(&bytes[at..]), start + at))?
            .1;
        at += used;
        let used = long_string(&bytes[at..])
            .ok_or_else(|| truncated("field value", claimed(&bytes[at..]), start + at))?
            .1;
        at += used;
    }
    Ok(Head {
        code: i32::from(i16::from_be_bytes([c0, c1])),
        language: Language::from_code(language),
        version: i32::from(i16::from_be_bytes([v0, v1])),
        opaque: i32::from_be_bytes([o0, o1, o2, o3]),
        flag: i32::from_be_bytes([f0, f1, f2, f3]),
        remark: (!remark.is_empty()).then_some(Text::raw(remark, false)),
        fields: Fields::new(Codec::Rocketmq, bytes, start, !bytes.is_empty()),
    })
}

/// The length field at the front of `bytes`, for an error; 4 if not even that is there.
fn claimed(bytes: &[u8]) -> i64 {
    let length = bytes.first_chunk::<4>();
    length.map_or(4, |length| i64::from(i32::from_be_bytes(*length)))
}

/// The same for a field name's two-byte length.
fn claimed_short(bytes: &[u8]) -> i64 {
    let length = bytes.first_chunk::<2>();
    length.map_or(2, |length| i64::from(i16::from_be_bytes(*length)))
}

/// A command to write. `..CommandOut::default()` fills in what we always say: Java (old clients know no
/// other server) and [`VERSION`].
#[derive(Clone, Copy, Debug)]
pub struct CommandOut<'a> {
    /// Request or response code. The binary codec keeps only its low 16 bits, as Apache's does.
    pub code: i32,
    /// What the writer says it is written in.
    pub language: Language,
    /// The writer's version.
    pub version: i32,
    /// Number of the request.
    pub opaque: i32,
    /// [`RESPONSE`] and [`ONEWAY`].
    pub flag: i32,
    /// Words for people.
    pub remark: Option<&'a str>,
}

impl Default for CommandOut<'_> {
    fn default() -> Self {
        CommandOut {
            code: 0,
            language: Language::Java,
            version: VERSION,
            opaque: 0,
            flag: 0,
            remark: None,
        }
    }
}

/// A command that no frame can hold; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The header's length has 24 bits.
    #[error("header of {0} bytes, limit 16777215")]
    HeaderTooLong(usize),
    /// The frame's length has 31 bits.
    #[error("body of {0} bytes, limit 2 GiB with its header")]
    BodyTooLong(usize),
}

/// Appends the frame's lengths and its header to `out`. The caller appends `body_len` bytes of body, or sends
/// them behind.
pub fn encode_command<'h>(
    out: &mut BytesMut,
    codec: Codec,
    command: &CommandOut<'_>,
    header: &impl Header<'h>,
    body_len: usize,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.reserve(256);
    out.put_u64(0);
    match codec {
        Codec::Json => put_json_head(out, command, header),
        Codec::Rocketmq => put_binary_head(out, command, header),
    }
    let header_len = out.len() - start - 8;
    let length = 4 + header_len + body_len;
    let error = match (header_len < 1 << 24, i32::try_from(length)) {
        (true, Ok(length)) => {
            let mark = (codec as u32) << 24 | header_len as u32;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            out[start + 4..start + 8].copy_from_slice(&mark.to_be_bytes());
            return Ok(());
        }
        (false, _) => EncodeError::HeaderTooLong(header_len),
        (true, Err(_)) => EncodeError::BodyTooLong(body_len),
    };
    out.truncate(start);
    Err(error)
}

fn put_json_head<'h>(out: &mut BytesMut, command: &CommandOut<'_>, header: &impl Header<'h>) {
    let mut digits = itoa::Buffer::new();
    out.put_slice(b"{\"code\":");
    out.put_slice(digits.format(command.code).as_bytes());
    if header.present() {
        out.put_slice(b",\"extFields\":{");
        header.encode(&mut FieldSink::new(out, Codec::Json));
        out.put_u8(b'}');
    }
    out.put_slice(b",\"flag\":");
    out.put_slice(digits.format(command.flag).as_bytes());
    out.put_slice(b",\"language\":\"");
    out.put_slice(command.language.name().as_bytes());
    out.put_slice(b"\",\"opaque\":");
    out.put_slice(digits.format(command.opaque).as_bytes());
    if let Some(remark) = command.remark {
        out.put_slice(b",\"remark\":\"");
        put_escaped(out, remark.as_bytes());
        out.put_u8(b'"');
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    out.put_slice(digits.format(command.version).as_bytes());
    out.put_u8(b'}');
}

fn put_binary_head<'h>(out: &mut BytesMut, command: &CommandOut<'_>, header: &impl Header<'h>) {
    out.put_i16(command.code as i16);
    out.put_u8(command.language as u8);
    out.put_i16(command.version as i16);
    out.put_i32(command.opaque);
    out.put_i32(command.flag);
    put_long_string(out, command.remark.unwrap_or_default().as_bytes());
    let length_at = out.len();
    out.put_i32(0);
    header.encode(&mut FieldSink::new(out, Codec::Rocketmq));
    let length = (out.len() - length_at - 4) as i32;
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests;
