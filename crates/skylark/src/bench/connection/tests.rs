//! The short way to an answer's opaque agrees with the long one, or leaves it alone.

use super::*;

fn success(header: &str) -> Option<i32> {
    Reply {
        codec: Codec::Json,
        header: header.as_bytes(),
        body: &[],
    }
    .success()
}

#[test]
fn the_opaque_of_a_success() {
    let apache = r#"{"code":0,"extFields":{"msgId":"7F","queueId":"1"},"flag":1,"language":"JAVA","opaque":77,"serializeTypeCurrentRPC":"JSON","version":479}"#;
    assert_eq!(success(apache), Some(77));
    assert_eq!(json_head(apache.as_bytes()).unwrap().opaque, 77);
}

#[test]
fn what_is_unusual_takes_the_long_way() {
    for header in [
        r#"{"code":2,"opaque":77,"flag":1}"#,
        r#"{"opaque":77,"code":0}"#,
        r#"{"code":0,"opaque" : 77}"#,
        r#"{"code":0,"opaque":77"#,
        r#"{"code":0,"opaque":-7}"#,
        r#"{"code":0,"remark":"\"opaque\":3,"}"#,
    ] {
        assert_eq!(success(header), None, "{header}");
    }
}
