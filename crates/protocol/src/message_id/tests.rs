//! Ids that Java made, and text that is none.

use super::*;

#[test]
fn ids_are_javas() {
    // From a recorded send response.
    let text = "7F00000100006ABE0000000000000209";
    let id = MessageId {
        host: "127.0.0.1:27326".parse().unwrap(),
        offset: LogOffset(521),
    };
    assert_eq!(MessageId::decode(text), Ok(id));
    assert_eq!(id.encode(), text);
    assert_eq!(MessageId::decode(&text.to_lowercase()), Ok(id));
}

#[test]
fn other_text_is_refused() {
    let check =
        |text: &str, expect: MessageIdError| assert_eq!(MessageId::decode(text), Err(expect));
    check("", MessageIdError::Length(0));
    check(
        "7F00000100006ABE000000000000020",
        MessageIdError::Length(31),
    );
    check(
        "7F00000100006ABE000000000000020G",
        MessageIdError::Digit('G'),
    );
    check(
        "7F00000100006ABE00000000000002é",
        MessageIdError::Digit('é'),
    );
    check(
        "7F000001FFFF6ABE0000000000000209",
        MessageIdError::Port(0xffff_6abe),
    );
}
