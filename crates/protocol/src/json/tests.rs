//! JSON headers that are odd, and such that are none.

use bytes::BytesMut;

use crate::command::json_head;
use crate::json::put_escaped;

/// Code, opaque and fields of a header, or what is wrong with it.
fn read(text: &str) -> Result<(i32, i32, Vec<String>), String> {
    let head = json_head(text.as_bytes()).map_err(|error| error.to_string())?;
    let fields = head
        .fields
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    Ok((head.code, head.opaque, fields.collect()))
}

#[test]
fn other_ways_to_write_a_header_are_read() {
    let check = |text: &str, expect: &[&str]| {
        let (code, opaque, fields) = read(text).unwrap();
        assert_eq!((code, opaque), (10, -1), "{text}");
        assert_eq!(fields, expect, "{text}");
    };
    check(r#"{"code":10,"opaque":-1}"#, &[]);
    check(r#"{"code":10,"opaque":-1,"extFields":null}"#, &[]);
    check(r#"{"code":10,"opaque":-1,"extFields":{}}"#, &[]);
    check(
        " { \"opaque\" : -1 ,\n\t\"extFields\" : { \"a\" : \"b\" , \"c\" : 7,\"d\":true , \"e\":null } , \"code\" : \"10\" } \n",
        &["a=b", "c=7", "d=true"],
    );
    check(
        r#"{"code":10,"opaque":-1,"x":[1,{"y":[]},"z\""],"extFields":{"k\u0001":"\"}"}}"#,
        &["k\u{1}=\"}"],
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let check = |text: &str, expect: &str| assert_eq!(read(text).unwrap_err(), expect, "{text}");
    check("", "JSON header, byte 0: expected '{', found the end");
    check("[]", "JSON header, byte 0: expected '{', found '['");
    check(
        "{\"code\" 1}",
        "JSON header, byte 8: expected ':', found '1'",
    );
    check(
        "{\"code\":1,}",
        "JSON header, byte 10: expected '\"', found '}'",
    );
    check(
        "{\"code\":1 \"x\":2}",
        "JSON header, byte 10: expected ',' or '}', found '\"'",
    );
    check(
        "{\"co\\de\":1}",
        "JSON header, byte 5: expected a JSON escape, found 'd'",
    );
    check(
        "{\"x\":\"\\u00g0\"}",
        "JSON header, byte 7: expected a JSON escape, found 'u'",
    );
    check(
        "{\"x\":\"\\",
        "JSON header, byte 7: expected a JSON escape, found the end",
    );
    check(
        "{\"code\":1,\"opaque\":2} x",
        "JSON header, byte 22: expected the end, found 'x'",
    );
    check(
        "{\"code\":1}",
        "JSON header: \"opaque\" is missing, expected a 32-bit integer",
    );
    check(
        "{\"code\":1.5}",
        "JSON header: \"code\" is 1.5, expected a 32-bit integer",
    );
    check(
        "{\"code\":2147483648}",
        "JSON header: \"code\" is 2147483648, expected a 32-bit integer",
    );
    check(
        "{\"extFields\":{\"a\":{}}}",
        "JSON header, byte 18: expected a string, number, true, false or null, found '{'",
    );
    let nested = format!("{{\"x\":{}", "[".repeat(1 << 20));
    check(
        &nested,
        "JSON header, byte 21: expected less nesting, found '['",
    );
}

/// What fastjson 1.2.83 made of U+0000 to U+00A0 and some others.
#[test]
fn strings_are_escaped_as_fastjson_does() {
    let text: String = ('\0'..='\u{a0}')
        .chain("\u{2027}\u{2028}\u{2029}\u{202a}/😀".chars())
        .collect();
    let mut out = BytesMut::new();
    put_escaped(&mut out, text.as_bytes());
    let expect = concat!(
        r"\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000B\f\r\u000E\u000F",
        r"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001A\u001B\u001C\u001D\u001E\u001F",
        r##" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\u007F"##,
        r"\u0080\u0081\u0082\u0083\u0084\u0085\u0086\u0087\u0088\u0089\u008A\u008B\u008C\u008D\u008E\u008F",
        r"\u0090\u0091\u0092\u0093\u0094\u0095\u0096\u0097\u0098\u0099\u009A\u009B\u009C\u009D\u009E\u009F",
        "\u{a0}\u{2027}",
        r"\u2028\u2029",
        "\u{202a}/😀",
    );
    assert_eq!(std::str::from_utf8(&out).unwrap(), expect);
}
