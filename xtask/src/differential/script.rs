//! The script: a request a line. Its grammar is at the top of compat/differential.script.
use anyhow::{Context, Result, bail, ensure};

/// One request and what is known of its replies.
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) section: String,
    pub(crate) text: String,
    pub(crate) step: Step,
    /// What is kept of the reply for later: name, and field of the reply (or of its first record, as `record.FIELD`).
    pub(crate) keeps: Vec<(String, String)>,
    /// Parts of the reply that differ, and shall: each with the reason.
    pub(crate) differences: Vec<(String, String)>,
}

pub(crate) struct Step {
    /// It is meant to be wrong in some way.
    pub(crate) bad: bool,
    /// Asked again until it succeeds.
    pub(crate) awaits: bool,
    /// `broker`, `namesrv`, either with `@NAME` for a connection of its own.
    pub(crate) target: String,
    pub(crate) code: i32,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: String,
}

pub(crate) fn parse(text: &str) -> Result<Vec<Line>> {
    let mut lines: Vec<Line> = Vec::new();
    let mut section = String::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let place = || format!("line {}: {line}", index + 1);
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(title) = line.strip_prefix("== ") {
            section = title.to_owned();
        } else if let Some(keep) = line.strip_prefix("keep ") {
            let (name, field) = keep.split_once(" = ").with_context(place)?;
            let last = lines.last_mut().with_context(place)?;
            last.keeps.push((name.to_owned(), field.to_owned()));
        } else if let Some(difference) = line.strip_prefix("differs ") {
            let (part, reason) = difference.split_once(" because ").with_context(place)?;
            let last = lines.last_mut().with_context(place)?;
            last.differences.push((part.to_owned(), reason.to_owned()));
        } else {
            lines.push(Line {
                number: index + 1,
                section: section.clone(),
                text: line.to_owned(),
                step: step(line).with_context(place)?,
                keeps: Vec::new(),
                differences: Vec::new(),
            });
        }
    }
    Ok(lines)
}

fn step(line: &str) -> Result<Step> {
    let (head, body) = line.split_once(" <- ").unwrap_or((line, ""));
    let mut words = head.split_whitespace().peekable();
    let bad = words.next_if_eq(&"bad").is_some();
    let awaits = words.next_if_eq(&"await").is_some();
    let target = words.next().context("who is asked?")?;
    let server = target.split('@').next().unwrap_or_default();
    if !matches!(server, "broker" | "namesrv") {
        bail!("{target}: neither broker nor namesrv");
    }
    let code = words.next().context("no request code")?;
    let fields = words.map(|word| {
        let (name, value) = word.split_once('=').context("a field without =")?;
        Ok((name.to_owned(), value.to_owned()))
    });
    Ok(Step {
        bad,
        awaits,
        target: target.to_owned(),
        code: code.parse().context("a request code is a number")?,
        fields: fields.collect::<Result<_>>()?,
        body: body.to_owned(),
    })
}

/// A value as it is sent: `{name}` is what was kept, `\1`, `\2`, `\n` and `\s` are what they stand for, `hex:` begins bytes.
pub(crate) fn value(text: &str, kept: impl Fn(&str) -> Option<String>) -> Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("hex:") {
        ensure!(hex.len() % 2 == 0, "half a byte: {hex}");
        let bytes = (0..hex.len()).step_by(2);
        return Ok(bytes
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16))
            .collect::<Result<_, _>>()?);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '<']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(escaped) = rest.strip_prefix('\\') {
            let letter = escaped.chars().next().context("a \\ at the end")?;
            out.push(match letter {
                '1' => '\u{1}',
                '2' => '\u{2}',
                's' => ' ',
                'n' => '\n',
                _ => bail!("\\{letter} stands for nothing"),
            });
            rest = &escaped[letter.len_utf8()..];
        } else {
            let end = rest.find('>').context("a < without its >")?;
            let name = &rest[1..end];
            out.push_str(&kept(name).with_context(|| format!("nothing was kept as {name}"))?);
            rest = &rest[end + 1..];
        }
    }
    out.push_str(rest);
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request() {
        let text = "# why\n== sends\nbad broker@b 310 a=p i=x\\1y <- {\"a\": 1}\nkeep id = msgId\ndiffers remark because it says more\n";
        let lines = parse(text).unwrap();
        let line = &lines[0];
        assert_eq!((line.number, &*line.section, lines.len()), (3, "sends", 1));
        assert!(line.step.bad && !line.step.awaits);
        assert_eq!((&*line.step.target, line.step.code), ("broker@b", 310));
        assert_eq!(line.step.fields[1], ("i".to_owned(), "x\\1y".to_owned()));
        assert_eq!(line.step.body, "{\"a\": 1}");
        assert_eq!(line.keeps, [("id".to_owned(), "msgId".to_owned())]);
        assert_eq!(line.differences[0].1, "it says more");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for text in [
            "broker",
            "proxy 10",
            "broker x",
            "broker 10 a",
            "keep a = b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_stand_for_bytes() {
        let kept = |name: &str| (name == "id").then(|| "7".to_owned());
        assert_eq!(value("a\\1b\\2<id>\\s", kept).unwrap(), b"a\x01b\x027 ");
        assert_eq!(value("hex:0aFF", kept).unwrap(), [10, 255]);
        assert!(value("<other>", kept).is_err());
        assert!(value("hex:1", kept).is_err());
    }
}
