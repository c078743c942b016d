//! Handles and infos as Java writes and reads them.

use super::{Handle, Info, Retry, normal_topic};

#[test]
fn a_handle_is_what_java_makes() {
    let handle = Handle {
        start_offset: 10,
        pop_time: 1_795_348_800_000,
        invisible_time: 60_000,
        revive_queue: 3,
        broker: "broker-a".into(),
    };
    let text = handle.write(Retry::V1, 2, 12);
    assert_eq!(text, "10 1795348800000 60000 3 1 broker-a 2 12");
    assert_eq!(Handle::parse(&text), Ok(handle.clone()));
    assert_eq!(
        Handle::parse("10 1795348800000 60000 3 1 broker-a"),
        Ok(handle)
    );
}

#[test]
fn what_is_no_handle_says_why() {
    for (text, expect) in [
        ("", "has 1 parts"),
        (
            "1 2 3",
            "receipt handle \"1 2 3\" has 3 parts, expected at least 6",
        ),
        ("1 2 3 4 0 ", "has 5 parts"),
        ("x 2 3 4 0 b", "start offset is \"x\""),
        ("1 2.5 3 4 0 b", "pop time is \"2.5\""),
        (
            "1 2 9223372036854775808 4 0 b",
            "invisible time is \"9223372036854775808\"",
        ),
        ("1 2 3 4294967296 0 b", "revive queue is \"4294967296\""),
    ] {
        let error = Handle::parse(text).expect_err(text).to_string();
        assert!(error.contains(expect), "{text}: {error}");
    }
}

#[test]
fn infos_are_joined() {
    let mut info = Info::default();
    info.add(Retry::No, 0, 5);
    info.add_offsets(Retry::V2, 1, &[7, 9]);
    info.add_message_count(Retry::V1, 3, 11, 2);
    assert_eq!(info.as_str(), "0 0 5;2 1 7,9;1 qo3%11 2");
}

#[test]
fn topics_of_retries() {
    for (retry, name) in [
        (Retry::No, "Orders"),
        (Retry::V1, "%RETRY%g_Orders"),
        (Retry::V2, "%RETRY%g+Orders"),
    ] {
        assert_eq!(retry.topic("Orders", "g"), name);
        assert_eq!(normal_topic(name, "g"), "Orders");
        assert_eq!(Retry::parse(retry.mark()), Some(retry));
    }
    assert_eq!(
        normal_topic("%RETRY%other_Orders", "g"),
        "%RETRY%other_Orders"
    );
}
