//! Each check of the sources fails on what it is there to catch, and on nothing beside it.
use super::*;

fn complaints(path: &str, text: &str) -> Vec<String> {
    check(&File {
        path: path.to_owned(),
        text: text.to_owned(),
    })
}

fn refused(path: &str, text: &str) {
    let complaints = complaints(path, text);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
}

fn accepted(path: &str, text: &str) {
    assert_eq!(complaints(path, text), [""; 0]);
}

#[test]
fn first_line() {
    refused("crates/store/src/log.rs", "use std::io;\n");
    accepted("crates/store/src/log.rs", "//! The log.\nuse std::io;\n");
}

#[test]
fn length() {
    let long = |lines: usize| format!("//! Long.\n{}", "\n".repeat(lines - 1));
    refused("crates/store/src/log.rs", &long(1001));
    accepted("crates/store/src/log.rs", &long(1000));
    refused("compat/src/test/java/compat/Long.java", &"\n".repeat(1001));
}

#[test]
fn licence_headers() {
    refused(
        "compat/src/test/java/compat/A.java",
        "/*\n * Licensed to the Apache Software Foundation\n */\n",
    );
    refused(
        "xtask/src/a.rs",
        "//! SPDX-License-Identifier: Apache-2.0\n",
    );
    accepted("Cargo.toml", "license = \"Apache-2.0\"\n");
}

#[test]
fn left_behind() {
    refused("xtask/src/a.rs", "//! A.\nfn a() { todo!() }\n");
    refused(
        "crates/store/src/log/tests.rs",
        "//! A.\nfn a() { dbg!(1); }\n",
    );
    accepted(
        "xtask/src/a.rs",
        "//! A.\n// what todo!() means\nconst A: &str = \"dbg!\";\n",
    );
}

#[test]
fn seams() {
    for line in [
        "use std::fs::File;",
        "let options = OpenOptions::new();",
        "use tokio::net::{TcpListener};",
        "TcpStream::connect(address)",
        "let now = SystemTime::now();",
        "let now = std::time::Instant::now();",
        "#[expect(clippy::disallowed_types, reason = \"because\")]",
    ] {
        let text = format!("//! A.\n{line}\n");
        refused("crates/broker/src/a.rs", &text);
        accepted("crates/broker/src/a/tests.rs", &text);
        accepted("crates/broker/tests/a.rs", &text);
        accepted("xtask/src/a.rs", &text);
    }
    accepted("crates/store/src/disk.rs", "//! A.\nuse std::fs::File;\n");
    accepted(
        "crates/store/src/disk/sim.rs",
        "//! A.\nuse std::fs::File;\n",
    );
    refused(
        "crates/store/src/disk.rs",
        "//! A.\nuse std::net::TcpStream;\n",
    );
    accepted(
        "crates/remoting/src/net.rs",
        "//! A.\nuse tokio::net::TcpStream;\n",
    );
    accepted(
        "crates/remoting/src/clock.rs",
        "//! A.\nSystemTime::now()\n",
    );
}

#[test]
fn seams_end_where_tests_begin() {
    let inline = "//! A.\n#[cfg(test)]\nmod tests {\n    use std::fs::File;\n}\n";
    accepted("crates/broker/src/a.rs", inline);
    let beside = "//! A.\n#[cfg(test)]\nmod tests;\nuse std::fs::File;\n";
    refused("crates/broker/src/a.rs", beside);
}

#[test]
fn comments_and_literals_are_not_code() {
    assert_eq!(blank("a // b\nc").trim_end(), "a     \nc");
    assert_eq!(blank("a /* b\n */ c"), "a     \n    c");
    assert_eq!(blank(r#"f("b\"c") d"#), "f(      ) d");
    assert_eq!(blank("f(r#\"b\"c\"#) d"), "f(        ) d");
    assert_eq!(blank("'\"' a '\\'' b 'x'"), "    a      b 'x'");
    assert_eq!(blank("fn f<'a>(b: &'a str)"), "fn f<'a>(b: &'a str)");
    assert_eq!(blank("writer\"x\""), "writer   ");
}
