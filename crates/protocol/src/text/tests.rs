//! JSON escapes undone.

use super::*;

#[test]
fn escapes_are_undone() {
    let check = |raw: &str, expect: &str| {
        let text = Text::raw(raw.as_bytes(), true);
        assert_eq!(text.to_str(), expect, "{raw}");
        assert_eq!(text, expect);
        let mut bytes = Vec::new();
        text.append_to(&mut bytes);
        assert_eq!(bytes, expect.as_bytes());
    };
    check(r"a\u0001b\u0002", "a\u{1}b\u{2}");
    check(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t");
    check(r"\u00e9\u00E9é", "ééé");
    check(r"\uD83D\uDE00", "😀");
    // Half a pair is '?', as in Java's UTF-8.
    check(r"\uD83Dx\uDE00", "?x?");
    check(r"\uD83D\uD83D\uDE00", "?😀");
    // Nothing but a checked text gets here; the rest must only do no harm.
    check(r"\u12", r"\u12");
    check(r"\q\", r"\q\");
}

#[test]
fn plain_text_is_borrowed() {
    assert!(matches!(
        Text::plain("a\\n").to_str(),
        Cow::Borrowed("a\\n")
    ));
    assert_eq!(Text::raw(b"\xff", false).to_str(), "\u{fffd}");
    assert!(!Text::raw(b"\xff", false).is_utf8());
    assert_eq!(Text::plain("a"), Text::raw(br"\u0061", true));
}
