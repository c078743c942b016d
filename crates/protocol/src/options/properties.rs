//! Java's `.properties` text (`java.util.Properties.load`).
//!
//! A line is `key=value`, `key:value` or `key value`; blanks around the separator are dropped. `#` or `!` at the
//! beginning makes a comment, a backslash at the end joins the next line. Escapes: `\t \n \r \f \uXXXX`; a
//! backslash before anything else goes.

/// One entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, escapes undone.
    pub key: String,
    /// The value, escapes undone, blanks at its end still there.
    pub value: String,
    /// Where it begins, from 1.
    pub line: usize,
}

/// Text that Java doesn't read either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: \\u without four hex digits")]
pub struct PropertiesError {
    /// Line of the entry, from 1.
    pub line: usize,
}

/// Reads a file's entries in order. Bytes that are not UTF-8 are taken for Latin-1, which is what Java expects.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, PropertiesError> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut entries = Vec::new();
    let mut lines = text
        .split('\n')
        .map(|line| line.trim_end_matches('\r'))
        .enumerate();
    while let Some((at, first)) = lines.next() {
        let mut logical = first.trim_start_matches(is_blank).to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while ends_in_backslash(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        let line = at + 1;
        let (key, value) = split(&logical);
        entries.push(Entry {
            key: unescape(key).ok_or(PropertiesError { line })?,
            value: unescape(value).ok_or(PropertiesError { line })?,
            line,
        });
    }
    Ok(entries)
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

fn ends_in_backslash(line: &str) -> bool {
    let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\');
    backslashes.count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|character| {
        let ends = !escaped && (is_blank(character) || character == '=' || character == ':');
        escaped = !escaped && character == '\\';
        ends
    });
    let end = end.unwrap_or(line.len());
    let rest = line[end..].trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], rest.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Option<String> {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let character = match character {
            '\\' => match rest.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    units.push(hex_unit(rest.as_str())?);
                    rest = rest.as_str()[4..].chars();
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(character.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

fn hex_unit(text: &str) -> Option<u16> {
    let digits = text.get(..4)?;
    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| u16::from_str_radix(digits, 16).ok())?
}
