//! The script has every request code that docs/compat.md says is answered, well-formed and malformed.
use std::collections::HashSet;

use anyhow::{Result, ensure};

use super::script::Line;

pub(crate) fn check(table: &str, lines: &[Line]) -> Result<()> {
    let asked = |bad: bool| -> HashSet<(&str, i32)> {
        let steps = lines.iter().map(|line| &line.step);
        steps
            .filter(|step| step.bad == bad)
            .map(|step| (step.target.split('@').next().unwrap_or_default(), step.code))
            .collect()
    };
    let (good, bad) = (asked(false), asked(true));
    let mut missing = Vec::new();
    for (server, code) in answered(table) {
        for (asked, what) in [(&good, "well-formed"), (&bad, "malformed")] {
            if !asked.contains(&(server, code)) {
                missing.push(format!("{server} {code} {what}"));
            }
        }
    }
    ensure!(
        missing.is_empty(),
        "compat/differential.script lacks: {}",
        missing.join(", ")
    );
    Ok(())
}

/// Server and code of every row of docs/compat.md that says that it is answered.
fn answered(table: &str) -> Vec<(&'static str, i32)> {
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        let [code, _, servers, "done" | "partial", ..] = cells[..] else {
            return None;
        };
        let code: i32 = code.parse().ok()?;
        let known = [("broker", "broker"), ("nameserver", "namesrv")];
        Some(known.into_iter().filter_map(move |(name, target)| {
            let has = servers.split(", ").any(|server| server == name);
            has.then_some((target, code))
        }))
    });
    rows.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::script::parse;
    use super::*;

    const TABLE: &str = "| code | name | server | status | notes |\n|---|---|---|---|---|\n\
        | 10 | A | broker, proxy | partial | x |\n| 40 | B | client | done | x |\n| 105 | C | nameserver | done |  |\n\
        | 11 | D | broker | later |  |\n";

    #[test]
    fn rows_that_are_answered_are_asked() {
        assert_eq!(answered(TABLE), [("broker", 10), ("namesrv", 105)]);
        let whole = "broker 10\nbad broker 10\nnamesrv 105\nbad namesrv@2 105\n";
        check(TABLE, &parse(whole).unwrap()).unwrap();
        let lacking = check(
            TABLE,
            &parse("broker 10\nbad broker 10\nbad namesrv 105\n").unwrap(),
        );
        let lacking = lacking.unwrap_err().to_string();
        assert!(
            lacking.ends_with("lacks: namesrv 105 well-formed"),
            "{lacking}"
        );
    }
}
