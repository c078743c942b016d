//! END_TRANSACTION over a socket: what is refused, in which words, without effect.

use protocol::codes::request::END_TRANSACTION;
use protocol::message_id::MessageId;

use crate::testing::{Client, Fixture, field, send};

async fn half(client: &Client) -> (i64, i64) {
    let text = "UNIQ_KEY\u{1}K\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}producers\u{2}";
    let fields = [
        ("a", "producers"),
        ("b", "Orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "4"),
        ("g", "1795348800000"),
        ("h", "0"),
        ("i", text),
    ];
    let code = protocol::codes::request::SEND_MESSAGE_V2;
    let reply = client.check(code, &fields, "half", (0, "")).await;
    place(&reply)
}

fn place(reply: &remoting::Reply) -> (i64, i64) {
    let id = MessageId::decode(&field(reply, "msgId").unwrap()).unwrap();
    let at = field(reply, "queueOffset").unwrap().parse().unwrap();
    (at, id.offset.0)
}

#[tokio::test]
async fn what_is_wrong_is_named_and_has_no_effect() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let (_, ordinary) = place(&send(&client, 0, "a", "ordinary").await);
    let (at, log_offset) = half(&client).await;
    let (at, log_offset) = (at.to_string(), log_offset.to_string());
    let ordinary = ordinary.to_string();
    let between = (log_offset.parse::<i64>().unwrap() + 1).to_string();
    let right = [
        ("producerGroup", "producers"),
        ("tranStateTableOffset", at.as_str()),
        ("commitLogOffset", log_offset.as_str()),
        ("commitOrRollback", "8"),
        ("msgId", "K"),
        ("transactionId", "K"),
    ];
    for (name, value, words) in [
        (
            "producerGroup",
            None,
            "the custom field <producerGroup> is null",
        ),
        ("msgId", None, "the custom field <msgId> is null"),
        (
            "commitLogOffset",
            Some("here"),
            "the custom field <commitLogOffset> is \"here\"",
        ),
        (
            "commitOrRollback",
            Some("4"),
            "commitOrRollback field wrong: 4",
        ),
        (
            "commitLogOffset",
            Some(&*between),
            "Find prepared transaction message failed",
        ),
        (
            "commitLogOffset",
            Some("-1"),
            "Find prepared transaction message failed: no half message at -1",
        ),
        (
            "commitLogOffset",
            Some("9223372036854775807"),
            "no half message at 9223372036854775807",
        ),
        (
            "commitLogOffset",
            Some(&*ordinary),
            "Find prepared transaction message failed",
        ),
        (
            "producerGroup",
            Some("strangers"),
            "The producer group wrong: strangers",
        ),
        (
            "tranStateTableOffset",
            Some("7"),
            "The transaction state table offset wrong: 7, the half message is at 0",
        ),
        ("transactionId", Some("X"), "The transaction id wrong: X"),
    ] {
        let mut fields = right.to_vec();
        fields.retain(|(known, _)| *known != name);
        fields.extend(value.map(|value| (name, value)));
        client.check(END_TRANSACTION, &fields, "", (1, words)).await;
    }
    let queue = fixture.broker().store.queue("Orders", 0).unwrap();
    assert_eq!(queue.max_visible().0, 1, "only the ordinary one");
    client.check(END_TRANSACTION, &right, "", (0, "")).await;
    assert_eq!(queue.max_visible().0, 2);
    // What is delivered is no half message any more.
    let (at, log_offset) = (at, log_offset);
    let again = [
        ("producerGroup", "producers"),
        ("tranStateTableOffset", at.as_str()),
        ("commitLogOffset", log_offset.as_str()),
        ("commitOrRollback", "12"),
        ("msgId", "K"),
    ];
    let expect = (0, "it has been ended before");
    client.check(END_TRANSACTION, &again, "", expect).await;
    assert_eq!(queue.max_visible().0, 2);
    fixture.stop().await;
}
