//! What Java sees in a properties string.

use super::*;

#[test]
fn what_java_drops_is_dropped() {
    let check = |text: &str, expect: &[(&str, &str)]| {
        let found: Vec<_> = iter(text.as_bytes()).collect();
        assert_eq!(found, expect, "{text:?}");
    };
    check("", &[]);
    check("a\u{1}b\u{2}", &[("a", "b")]);
    check("a\u{1}b", &[("a", "b")]);
    check("a\u{1}b\u{2}c\u{1}d\u{2}", &[("a", "b"), ("c", "d")]);
    check("\u{1}b\u{2}a\u{1}\u{2}ab\u{2}\u{2}x\u{1}y", &[("x", "y")]);
    check("a\u{1}b\u{1}c\u{2}", &[("a", "b\u{1}c")]);
}

#[test]
fn the_last_of_equal_names_counts() {
    let properties = b"a\x01b\x02a\x01c\x02";
    assert_eq!(find(properties, "a"), Some("c"));
    assert_eq!(find(properties, "b"), None);
}

#[test]
fn appending_ends_what_was_not_ended() {
    let mut properties = b"a\x01b".to_vec();
    append(&mut properties, "c", "d");
    assert_eq!(properties, b"a\x01b\x02c\x01d\x02");
    assert_eq!(keys(" a  b ").collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_property_is_set_once_whatever_was_there() {
    let mut text = b"a\x01b\x02KEYS\x01k\x02a\x01c\x02".to_vec();
    set(&mut text, "a", "d");
    assert_eq!(text, b"KEYS\x01k\x02a\x01d\x02");
    remove(&mut text, "KEYS");
    remove(&mut text, "KEY");
    assert_eq!(text, b"a\x01d\x02");
}
