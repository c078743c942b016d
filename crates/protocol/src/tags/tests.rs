//! Against Java's `hashCode` and `FilterAPI`.

use super::*;

#[test]
fn hashes_are_javas() {
    for (text, hash) in [
        ("", 0),
        ("a", 97),
        ("TagA", 2598919),
        ("polygenelubricants", i32::MIN),
        ("é😀", 233 * 961 + 0xd83d * 31 + 0xde00),
    ] {
        assert_eq!(java_hash(text), hash, "{text}");
    }
    assert_eq!(tags_code("polygenelubricants"), i64::from(i32::MIN));
}

#[test]
fn expressions_are_split_as_apache_does() {
    let codes = |tags: &[&str]| TagFilter::Codes(tags.iter().map(|tag| java_hash(tag)).collect());
    let check = |text: &str, expect: Result<TagFilter, TagExpressionError>| {
        assert_eq!(TagFilter::parse(text), expect, "{text}");
    };
    check("", Ok(TagFilter::All));
    check("*", Ok(TagFilter::All));
    check("a", Ok(codes(&["a"])));
    check(" a || b\t||", Ok(codes(&["a", "b"])));
    check("a|b", Ok(codes(&["a|b"])));
    check("*||a", Ok(codes(&["*", "a"])));
    check(" || ", Ok(codes(&[])));
    check("||", Err(TagExpressionError));
    check("||||", Err(TagExpressionError));
}

#[test]
fn messages_without_tags_match_only_everything() {
    assert!(TagFilter::All.matches(0));
    assert!(!TagFilter::parse("a").unwrap().matches(0));
    assert!(TagFilter::parse("a").unwrap().matches(tags_code("a")));
    assert!(!TagFilter::parse("a").unwrap().matches(tags_code("b")));
}
