//! What a server said, in words that can be compared: times, hosts and ids are masked.
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use protocol::record::Record;
use protocol::{fastjson, properties};
use regex::Regex;
use serde_json::Value;

/// The outcome of a request.
#[derive(Debug)]
pub(crate) enum Said {
    Reply(Reply),
    /// Not a word for as long as we waited.
    Nothing,
    /// The connection was closed.
    Closed,
}

/// A reply as it came, but for its records, which are texts of `FIELD=value`.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    code: i64,
    remark: String,
    fields: BTreeMap<String, String>,
    body: String,
    first_record: BTreeMap<String, String>,
}

impl Reply {
    pub(crate) fn new(header: &Value, body: &[u8]) -> Result<Reply> {
        let fields = header["extFields"].as_object();
        let fields = fields.into_iter().flatten().map(|(name, value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        });
        let mut reply = Reply {
            code: header["code"].as_i64().context("a reply without a code")?,
            remark: header["remark"].as_str().unwrap_or_default().to_owned(),
            fields: fields.collect(),
            ..Reply::default()
        };
        reply.read_body(body);
        Ok(reply)
    }

    fn read_body(&mut self, body: &[u8]) {
        if let Ok(json) = fastjson::from_slice::<Value>(body) {
            self.body = sorted(&json).to_string();
            return;
        }
        let mut rest = body;
        let mut texts = Vec::new();
        while let Ok(decoded) = Record::decode(rest, true) {
            let record = words(&decoded.record);
            texts.push(format!("{record:?}"));
            if self.first_record.is_empty() {
                self.first_record = record;
            }
            rest = &rest[decoded.size..];
        }
        if !rest.is_empty() {
            texts.push(String::from_utf8_lossy(rest).into_owned());
        }
        self.body = texts.join("\n");
    }

    /// A field's value, or `record.NAME` of the first record in the body.
    fn find(&self, name: &str) -> Option<String> {
        match name.strip_prefix("record.") {
            Some(name) => self.first_record.get(name).cloned(),
            None => self.fields.get(name).cloned(),
        }
    }
}

fn words(record: &Record<'_>) -> BTreeMap<String, String> {
    let properties: BTreeMap<_, _> = properties::iter(record.properties).collect();
    let words = [
        ("topic", record.topic.to_owned()),
        ("queueId", record.queue_id.to_string()),
        ("queueOffset", record.queue_offset.0.to_string()),
        ("logOffset", record.log_offset.0.to_string()),
        ("flag", record.flag.to_string()),
        ("sysFlag", record.sys_flag.to_string()),
        ("born", record.born_timestamp.to_string()),
        ("bornHost", record.born_host.to_string()),
        ("storeHost", record.store_host.to_string()),
        ("reconsumeTimes", record.reconsume_times.to_string()),
        (
            "prepared",
            (record.prepared_transaction_offset != 0).to_string(),
        ),
        ("properties", format!("{properties:?}")),
        ("body", String::from_utf8_lossy(record.body).into_owned()),
    ];
    words.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The order of an object's members says nothing, nor does that of names in a list: they come out of hash sets.
fn sorted(json: &Value) -> Value {
    match json {
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .map(|(name, value)| (name.clone(), sorted(value)))
                .collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(values) => {
            let mut values: Vec<Value> = values.iter().map(sorted).collect();
            if values.iter().all(Value::is_string) {
                values.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            }
            Value::Array(values)
        }
        other => other.clone(),
    }
}

/// Replaces what can't be the same on two systems.
fn masked(text: &str) -> String {
    static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let masks = [
            (r"\b[0-9A-F]{32}\b|\b[0-9A-F]{56}\b", "<id>"),
            (r"\b1[6-9]\d{11}\b", "<ms>"),
            (r"/?\b(127\.0\.0\.1|localhost):\d+\b", "<host>"),
            (r#""logOffset": "\d+""#, "<log offset>"),
            (r#""(counter|timestamp|storeTimestamp)":\d+"#, "\"$1\":<n>"),
        ];
        let compiled = masks
            .into_iter()
            .filter_map(|(pattern, mask)| Some((Regex::new(pattern).ok()?, mask)));
        compiled.collect()
    });
    let mask = |text: String, (pattern, mask): &(Regex, &str)| {
        pattern.replace_all(&text, *mask).into_owned()
    };
    MASKS.iter().fold(text.to_owned(), mask)
}

impl Said {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Said::Reply(reply) if reply.code == 0)
    }

    pub(crate) fn find(&self, field: &str) -> Option<String> {
        match self {
            Said::Reply(reply) => reply.find(field),
            Said::Nothing | Said::Closed => None,
        }
    }

    /// Part by part, masked.
    fn parts(&self) -> BTreeMap<String, String> {
        let reply = match self {
            Said::Nothing => return [("answer".to_owned(), "nothing".to_owned())].into(),
            Said::Closed => return [("answer".to_owned(), "closed".to_owned())].into(),
            Said::Reply(reply) => reply,
        };
        let fields = reply.fields.iter();
        let mut parts: BTreeMap<String, String> = fields
            .map(|(name, value)| (name.clone(), masked(value)))
            .collect();
        parts.insert("code".to_owned(), reply.code.to_string());
        parts.insert("remark".to_owned(), masked(reply.remark.trim()));
        parts.insert("body".to_owned(), masked(&reply.body));
        parts
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .parts()
            .into_iter()
            .filter(|(_, value)| !value.is_empty());
        let shown: Vec<String> = shown
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        f.write_str(&shown.join(" "))
    }
}

/// What differs though it should not, or does not though it is said to.
pub(crate) fn compare(theirs: &Said, ours: &Said, differences: &[(String, String)]) -> Vec<String> {
    let (theirs, ours) = (theirs.parts(), ours.parts());
    let mut names: Vec<&String> = theirs.keys().chain(ours.keys()).collect();
    names.sort();
    names.dedup();
    let mut wrong = Vec::new();
    for name in &names {
        let (their, our) = (theirs.get(*name), ours.get(*name));
        let same = match name.as_str() {
            "remark" => same_remark(
                their,
                our,
                theirs.get("code").is_some_and(|code| code == "0"),
            ),
            _ => their == our,
        };
        let expected = differences.iter().any(|(part, _)| part == *name);
        match (same, expected) {
            (false, false) => wrong.push(format!(
                "{name}: Apache {}, Skylark {}",
                their.map_or("has none", String::as_str),
                our.map_or("has none", String::as_str)
            )),
            (true, true) => wrong.push(format!("{name}: is said to differ, and does not")),
            _ => {}
        }
    }
    for (part, _) in differences
        .iter()
        .filter(|(part, _)| !names.contains(&part))
    {
        wrong.push(format!("{part}: is said to differ, and neither has it"));
    }
    wrong
}

/// Ours may say more of what went wrong. Where Java shows an exception, ours only has to say something.
fn same_remark(theirs: Option<&String>, ours: Option<&String>, success: bool) -> bool {
    /// Apache's advice where to read on.
    const ADVICE: &str = "See https://rocketmq.apache.org";
    let (theirs, ours) = (theirs.map_or("", |text| text), ours.map_or("", |text| text));
    let of_java = ["Exception", "org.apache.", "Cannot invoke"];
    if of_java.iter().any(|words| theirs.contains(words)) {
        return !ours.is_empty();
    }
    let said = theirs.split(ADVICE).next().unwrap_or_default().trim();
    match said.is_empty() {
        true => ours.is_empty() || !success,
        false => ours.contains(said.trim_end_matches(['.', ','])),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(code: i64, remark: &str, fields: &[(&str, &str)], body: &str) -> Said {
        let fields: serde_json::Map<String, Value> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
            .collect();
        let header = json!({"code": code, "remark": remark, "extFields": fields});
        Said::Reply(Reply::new(&header, body.as_bytes()).unwrap())
    }

    fn check(theirs: &Said, ours: &Said, differences: &[&str], wrong: &[&str]) {
        let differences: Vec<_> = differences
            .iter()
            .map(|part| ((*part).to_owned(), "a reason".to_owned()))
            .collect();
        let found = compare(theirs, ours, &differences);
        assert_eq!(found.len(), wrong.len(), "{found:?}");
        for (found, wrong) in found.iter().zip(wrong) {
            assert!(found.starts_with(wrong), "{found:?}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        let theirs = said(
            0,
            "",
            &[("a", "1"), ("t", "1795348800000")],
            r#"{0:"127.0.0.1:99",b:1}"#,
        );
        let same = said(
            0,
            "",
            &[("a", "1"), ("t", "1795348800001")],
            r#"{"b":1,"0":"127.0.0.1:7"}"#,
        );
        check(&theirs, &same, &[], &[]);
        let other = said(1, "x", &[("a", "2")], "{}");
        check(
            &theirs,
            &other,
            &[],
            &["a:", "body:", "code:", "remark:", "t:"],
        );
        check(&theirs, &other, &["a", "body", "code", "remark", "t"], &[]);
        check(&theirs, &same, &["a", "z"], &["a: is said", "z: is said"]);
        check(
            &theirs,
            &Said::Closed,
            &[],
            &["a:", "answer:", "body:", "code:", "t:"],
        );
    }

    #[test]
    fn offsets_of_queues_are_compared() {
        let at = |offset| {
            said(
                0,
                "",
                &[],
                &format!(r#"[{{"offset":{offset},"counter":{offset}}}]"#),
            )
        };
        check(&at(2), &at(2), &[], &[]);
        check(&at(2), &at(3), &[], &["body:"]);
    }

    #[test]
    fn our_remarks_may_say_more() {
        let check = |theirs: &str, ours: &str, same: bool| {
            let (theirs, ours) = (theirs.to_owned(), ours.to_owned());
            assert_eq!(
                same_remark(Some(&theirs), Some(&ours), false),
                same,
                "{theirs} {ours}"
            );
        };
        check("no such topic", "no such topic: T", true);
        check("no such topic", "another", false);
        check(
            "java.lang.NullPointerException, a.b.C",
            "field topic is missing",
            true,
        );
        check("java.lang.NullPointerException, a.b.C", "", false);
        check("", "something", true);
        assert!(!same_remark(None, Some(&"something".to_owned()), true));
        check("x\nSee https://rocketmq.apache.org/docs/a", "x", true);
    }
}
