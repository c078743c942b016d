//! What `skylark bench` said of a load, and whether that is a figure at all.
use anyhow::{Context, Result};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report(pub(super) Value);

impl Report {
    /// By a JSON pointer.
    pub(super) fn number(&self, at: &str) -> Result<f64> {
        let value = self.0.pointer(at).and_then(Value::as_f64);
        value.with_context(|| format!("no {at} in {}", self.0))
    }

    /// What was refused: an object for each code.
    pub(super) fn errors(&self) -> impl Iterator<Item = &Value> {
        self.0["errors"].as_array().into_iter().flatten()
    }

    pub(super) fn refused(&self) -> u64 {
        self.errors().map(count).sum()
    }

    /// Why it is no figure: how fast some messages were says nothing where others were refused or lost.
    pub(super) fn failure(&self) -> Option<String> {
        let words = |error: &Value| {
            let [code, remark] = [&error["code"], &error["remark"]];
            format!("{} x code {code} {remark}", count(error))
        };
        let mut failures: Vec<String> = self.errors().map(words).collect();
        match self.0["lost"].as_u64() {
            Some(0) | None => (),
            Some(lost) => failures.push(format!("{lost} lost")),
        }
        (!failures.is_empty()).then(|| failures.join(", "))
    }
}

pub(super) fn count(error: &Value) -> u64 {
    error["count"].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_refused_or_lost_is_no_figure() {
        let report = |errors, lost| Report(json!({ "errors": errors, "lost": lost }));
        let refused = json!([{ "code": 2, "name": "SYSTEM_BUSY", "remark": "full", "count": 3 }]);
        assert_eq!(report(json!([]), json!(0)).failure(), None);
        assert_eq!(Report(json!({ "errors": [] })).failure(), None);
        assert_eq!(
            report(refused, json!(0)).failure().as_deref(),
            Some("3 x code 2 \"full\"")
        );
        assert_eq!(
            report(json!([]), json!(7)).failure().as_deref(),
            Some("7 lost")
        );
        assert!(report(json!([]), json!(0)).number("/nowhere").is_err());
    }
}
