//! Source files: the first line, the seams, the length, and what must not stay behind.
use super::tree::File;

const LINES_MAX: usize = 1000;

/// A seam: what may be named only in files that begin with one of `homes`.
struct Seam {
    needles: &'static [&'static str],
    homes: &'static [&'static str],
    why: &'static str,
}

const SEAMS: [Seam; 4] = [
    Seam {
        needles: &["fs::File", "OpenOptions", "File::open", "File::create"],
        homes: &["crates/store/src/disk.rs", "crates/store/src/disk/"],
        why: "files are opened in store/src/disk.rs",
    },
    Seam {
        needles: &[
            "TcpListener",
            "TcpStream",
            "TcpSocket",
            "UdpSocket",
            "UnixListener",
            "UnixStream",
        ],
        homes: &["crates/remoting/src/net.rs", "crates/remoting/src/net/"],
        why: "sockets are opened in remoting/src/net.rs",
    },
    Seam {
        needles: &["SystemTime::now", "Instant::now"],
        homes: &["crates/remoting/src/clock.rs"],
        why: "time comes from remoting/src/clock.rs",
    },
    Seam {
        needles: &["disallowed_types", "disallowed_methods"],
        homes: &[
            "crates/store/src/disk",
            "crates/remoting/src/net",
            "crates/remoting/src/clock.rs",
        ],
        why: "only the seams may lift this lint",
    },
];

const LEFT_BEHIND: [&str; 3] = ["todo!", "dbg!", "unimplemented!"];

const LICENCE_MARKS: [&str; 4] = [
    "licensed to the apache",
    "licensed under the",
    "copyright (c)",
    "spdx-license-identifier",
];

pub(super) fn check(file: &File) -> Vec<String> {
    let mut complaints = Vec::new();
    let path = &file.path;
    if file.extension() == "rs" || file.extension() == "java" {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!(
                "{path}: {lines} lines; more than {LINES_MAX} can't be read in one sitting"
            ));
        }
    }
    if file.extension() != "md" && file.text.lines().take(20).any(is_licence) {
        complaints.push(format!(
            "{path}: a licence header; the licence is in LICENSE"
        ));
    }
    if file.extension() == "rs" {
        if !file.text.starts_with("//!") {
            complaints.push(format!(
                "{path}:1: the first line is `//!` and says what the file is for"
            ));
        }
        complaints.extend(code_of(file));
    }
    complaints
}

fn is_licence(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    LICENCE_MARKS.iter().any(|mark| line.contains(mark))
}

/// The checks that look at code only, not at comments, strings or tests.
fn code_of(file: &File) -> Vec<String> {
    let path = &file.path;
    let mut complaints = Vec::new();
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    let seams_hold = path.starts_with("crates/") && path.contains("/src/") && !is_test;
    let blanked = blank(&file.text);
    let mut in_tests = false;
    for (number, (line, next)) in blanked
        .lines()
        .zip(blanked.lines().skip(1).chain([""]))
        .enumerate()
    {
        let number = number + 1;
        in_tests |= line.trim() == "#[cfg(test)]"
            && next.trim_end().ends_with('{')
            && next.contains("mod ");
        for word in LEFT_BEHIND.iter().filter(|word| line.contains(**word)) {
            complaints.push(format!("{path}:{number}: {word} was left behind"));
        }
        if !seams_hold || in_tests {
            continue;
        }
        for seam in SEAMS
            .iter()
            .filter(|seam| !seam.homes.iter().any(|home| path.starts_with(home)))
        {
            if let Some(needle) = seam.needles.iter().find(|needle| line.contains(**needle)) {
                complaints.push(format!("{path}:{number}: {needle}: {}", seam.why));
            }
        }
    }
    complaints
}

/// The text with comments and the insides of string literals replaced by blanks, line by line.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if c == '"' {
            string_end(rest, 1, "\"", true)
        } else if c == 'r'
            && !(previous.is_alphanumeric() || previous == '_')
            && raw_hashes(rest).is_some()
        {
            let hashes = raw_hashes(rest).unwrap_or(0);
            string_end(
                rest,
                hashes + 2,
                &format!("\"{}", "#".repeat(hashes)),
                false,
            )
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\") {
            rest.get(3..)
                .and_then(|rest| rest.find('\''))
                .map_or(rest.len(), |end| end + 4)
        } else {
            out.push(c);
            previous = c;
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(
            rest[..length]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        previous = ' ';
        rest = &rest[length..];
    }
    out
}

/// The number of `#` of a raw string that begins here.
fn raw_hashes(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Where the string that begins at 0, its contents at `from`, is over.
fn string_end(text: &str, from: usize, close: &str, escapes: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        if escapes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at..].starts_with(close.as_bytes()) {
            return at + close.len();
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests;
