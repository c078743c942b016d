//! The arrows between our crates: only those that ARCHITECTURE.md's table has.
use anyhow::Result;
use serde_json::Value;

use crate::shell::{cargo, output};

/// Each crate with what it may depend on; what these may depend on, it may as well.
const ARROWS: [(&str, &[&str]); 11] = [
    ("protocol", &[]),
    ("store", &["protocol"]),
    ("remoting", &["protocol"]),
    ("auth", &["protocol"]),
    ("client", &["remoting"]),
    ("namesrv", &["remoting", "auth"]),
    ("broker", &["store", "remoting", "auth"]),
    ("admin", &["client"]),
    ("proxy", &["client", "broker", "auth"]),
    ("console", &["admin"]),
    ("skylark", &["namesrv", "proxy", "console"]),
];

/// Crates that test and build the others: they may use any, and none may use them.
const BESIDE: [&str; 3] = ["xtask", "sim", "fuzz"];

pub(super) fn metadata() -> Result<Value> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    Ok(serde_json::from_str(&text)?)
}

pub(super) fn check(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let ours: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut complaints = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        if BESIDE.contains(&name) {
            continue;
        }
        if !ARROWS.iter().any(|(known, _)| *known == name) {
            complaints.push(format!(
                "crate {name}: not in the table of layers (xtask/src/tidy/layers.rs)"
            ));
            continue;
        }
        for dependency in package["dependencies"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
        {
            let on = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(&on) && !may_use(name, on) {
                complaints.push(format!(
                    "crate {name}: must not depend on {on}; arrows only go to a lower layer"
                ));
            }
        }
    }
    complaints
}

fn may_use(name: &str, on: &str) -> bool {
    let direct = ARROWS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(&[][..], |(_, direct)| direct);
    direct
        .iter()
        .any(|direct| *direct == on || may_use(direct, on))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(name: &str, on: &str) -> Vec<String> {
        check(&json!({ "packages": [
            { "name": name, "dependencies": [{ "name": on }, { "name": "bytes" }] },
            { "name": "protocol", "dependencies": [] },
            { "name": "store", "dependencies": [] },
            { "name": "broker", "dependencies": [] },
            { "name": "xtask", "dependencies": [{ "name": "broker" }] },
        ] }))
    }

    #[test]
    fn arrows_of_the_table_pass() {
        assert_eq!(complaints("remoting", "protocol"), [""; 0]);
        assert_eq!(complaints("skylark", "store"), [""; 0]);
    }

    #[test]
    fn other_arrows_do_not() {
        assert_eq!(complaints("namesrv", "store").len(), 1);
        assert_eq!(complaints("namesrv", "broker").len(), 1);
        assert_eq!(complaints("remoting", "xtask").len(), 1);
    }

    #[test]
    fn an_unknown_crate_is_named() {
        assert_eq!(complaints("common", "protocol").len(), 1);
    }
}
