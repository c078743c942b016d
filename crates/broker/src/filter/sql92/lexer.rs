//! The words of an expression, one at a time: text behind the end of a complete expression is never looked at.

use super::{Cause, SqlError};

/// A word, with the place of its first byte and that behind its last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) at: usize,
    pub(super) end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    /// Digits, perhaps with an `l` behind.
    Whole(&'a str),
    /// With a point or an exponent.
    Decimal(&'a str),
    /// With its quotes, and quotes within doubled.
    Text(&'a str),
    Name(&'a str),
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    Open,
    Comma,
    Close,
    Plus,
    Minus,
    End,
}

const KEYWORDS: [(&str, Kind<'static>); 12] = [
    ("NOT", Kind::Not),
    ("AND", Kind::And),
    ("OR", Kind::Or),
    ("BETWEEN", Kind::Between),
    ("IN", Kind::In),
    ("TRUE", Kind::True),
    ("FALSE", Kind::False),
    ("NULL", Kind::Null),
    ("IS", Kind::Is),
    ("CONTAINS", Kind::Contains),
    ("STARTSWITH", Kind::StartsWith),
    ("ENDSWITH", Kind::EndsWith),
];

pub(super) struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a str) -> Lexer<'a> {
        Lexer { source, at: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, SqlError> {
        self.skip();
        let at = self.at;
        let rest = &self.source[at..];
        let (kind, length) = match rest.as_bytes() {
            [] => (Kind::End, 0),
            [b'<', b'>', ..] => (Kind::NotEqual, 2),
            [b'<', b'=', ..] => (Kind::LessEqual, 2),
            [b'>', b'=', ..] => (Kind::GreaterEqual, 2),
            [b'=', ..] => (Kind::Equal, 1),
            [b'<', ..] => (Kind::Less, 1),
            [b'>', ..] => (Kind::Greater, 1),
            [b'(', ..] => (Kind::Open, 1),
            [b',', ..] => (Kind::Comma, 1),
            [b')', ..] => (Kind::Close, 1),
            [b'+', ..] => (Kind::Plus, 1),
            [b'-', ..] => (Kind::Minus, 1),
            [b'\'', ..] => {
                let length = text_length(rest).ok_or_else(|| self.unclosed("text", at))?;
                (Kind::Text(&rest[..length]), length)
            }
            [b'0'..=b'9' | b'.', ..] => {
                let number = number(rest);
                let kind = number.ok_or_else(|| self.error(at, Cause::Character('.')))?;
                match kind {
                    Kind::Whole(text) | Kind::Decimal(text) => (kind, text.len()),
                    _ => (kind, 0),
                }
            }
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$', ..] => {
                let end = rest.bytes().position(|byte| !is_name(byte));
                let name = &rest[..end.unwrap_or(rest.len())];
                let keyword = KEYWORDS
                    .iter()
                    .find(|(text, _)| text.eq_ignore_ascii_case(name));
                (
                    keyword.map_or(Kind::Name(name), |(_, kind)| *kind),
                    name.len(),
                )
            }
            [b'/', b'*', ..] => return Err(self.unclosed("comment", at)),
            _ => {
                let character = rest.chars().next().unwrap_or_default();
                return Err(self.error(at, Cause::Character(character)));
            }
        };
        self.at += length;
        let end = self.at;
        Ok(Token { kind, at, end })
    }

    /// Blanks and comments. What only begins like a comment is none: a line comment needs the end of its line.
    fn skip(&mut self) {
        loop {
            let rest = &self.source[self.at..];
            let blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c);
            let blanks = rest.bytes().take_while(|byte| blank(*byte)).count();
            let comment = match rest.as_bytes() {
                [b'-', b'-', ..] => rest.find(['\n', '\r']).map(|end| end + 1),
                [b'/', b'*', ..] => rest[2..].find("*/").map(|end| end + 4),
                _ => None,
            };
            let length = blanks.max(comment.unwrap_or(0));
            if length == 0 {
                return;
            }
            self.at += length;
        }
    }

    /// What is between two places, or its beginning if it is long.
    pub(super) fn text(&self, from: usize, to: usize) -> String {
        const CHARACTERS_MAX: usize = 60;
        self.source[from..to].chars().take(CHARACTERS_MAX).collect()
    }

    fn unclosed(&self, what: &'static str, at: usize) -> SqlError {
        let (_, column) = self.place(at);
        self.error(self.source.len(), Cause::Unclosed(what, column))
    }

    pub(super) fn error(&self, at: usize, cause: Cause) -> SqlError {
        let (line, column) = self.place(at);
        SqlError {
            line,
            column,
            cause: Box::new(cause),
        }
    }

    /// The end, which Apache says is where the last character is.
    pub(super) fn error_at_end(&self, cause: Cause) -> SqlError {
        let last = self.source.char_indices().next_back();
        self.error(last.map_or(0, |(at, _)| at), cause)
    }

    /// Line and column, in characters, from 1 on.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = &self.source[..at];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (
            before.matches('\n').count() + 1,
            before[start..].chars().count() + 1,
        )
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// Bytes of the text in quotes that `rest` starts with. Of an unclosed one with doubled quotes within, what is before them is one.
fn text_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut closed = None;
    let mut at = 1;
    while let Some(quote) = memchr::memchr(b'\'', &bytes[at..]) {
        at += quote + 1;
        closed = Some(at);
        if bytes.get(at) != Some(&b'\'') {
            break;
        }
        at += 1;
    }
    closed
}

/// The longest number that `rest` starts with. `007` is three of them.
fn number(rest: &str) -> Option<Kind<'_>> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| {
        let digits = bytes
            .iter()
            .skip(from)
            .take_while(|byte| byte.is_ascii_digit());
        digits.count()
    };
    let exponent = |from: usize| {
        let marked = matches!(bytes.get(from), Some(b'e' | b'E'));
        let signed = usize::from(matches!(bytes.get(from + 1), Some(b'+' | b'-')));
        match digits(from + 1 + signed) {
            count if marked && count > 0 => 1 + signed + count,
            _ => 0,
        }
    };
    let whole = digits(0);
    let point = bytes.get(whole) == Some(&b'.');
    let decimal = if point {
        let fraction = digits(whole + 1);
        let length = whole + 1 + fraction;
        (whole + fraction > 0).then(|| length + exponent(length))
    } else {
        match exponent(whole) {
            0 => None,
            length => Some(whole + length),
        }
    };
    if let Some(length) = decimal {
        return Some(Kind::Decimal(&rest[..length]));
    }
    let length = match bytes.first() {
        Some(b'0') => 1,
        Some(b'1'..=b'9') => whole + usize::from(matches!(bytes.get(whole), Some(b'l' | b'L'))),
        _ => return None,
    };
    Some(Kind::Whole(&rest[..length]))
}
