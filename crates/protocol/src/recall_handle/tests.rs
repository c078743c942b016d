//! Handles that call a message off.

use super::RecallHandle;

fn handle() -> RecallHandle {
    RecallHandle {
        topic: "Orders".into(),
        broker: "broker-a".into(),
        time: "1795348805001".into(),
        unique_key: "7F00000100002A139A6E0001".into(),
    }
}

#[test]
fn a_handle_is_javas_text() {
    let text = "djEgT3JkZXJzIGJyb2tlci1hIDE3OTUzNDg4MDUwMDEgN0YwMDAwMDEwMDAwMkExMzlBNkUwMDAx";
    assert_eq!(handle().encode(), text);
    assert_eq!(RecallHandle::decode(text), Some(handle()));
}

#[test]
fn padding_is_written_and_may_be_left_out() {
    for unique_key in ["A", "AB", "ABC", "\u{e9}\u{4e2d}~?"] {
        let unique_key = unique_key.to_owned();
        let handle = RecallHandle {
            unique_key,
            ..handle()
        };
        let text = handle.encode();
        assert!(text.len().is_multiple_of(4));
        assert_eq!(RecallHandle::decode(&text).as_ref(), Some(&handle));
        let bare = text.trim_end_matches('=');
        assert_eq!(RecallHandle::decode(bare), Some(handle));
    }
}

#[test]
fn what_is_no_handle_is_none() {
    let v2 = super::base64(b"v2 a b 1 c");
    let short = super::base64(b"v1 a b 1");
    let empty = super::base64(b"v1 a b 1 ");
    let binary = super::base64(&[0xff, 0xfe, 0x00]);
    let marks = super::base64(b"v1 a b 1 x\x02TIMER_OUT_MS\x011\x02");
    for text in [
        &marks, "", "x", "djE", "dj+E", "a b", "====", "YQ=", &v2, &short, &empty, &binary,
    ] {
        assert_eq!(RecallHandle::decode(text), None, "{text}");
    }
}
