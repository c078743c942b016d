//! Bad input: Apache's codes, remarks that name the value, and no effect.

use protocol::codes::request;

use super::{POP, Pop, ack, advance, bodies, with_messages};

/// Longer than an attempt id may be.
const LONG: &str = match str::from_utf8(&[b'x'; 257]) {
    Ok(text) => text,
    Err(_) => "",
};

#[tokio::test]
async fn pops() {
    let (fixture, client) = with_messages(&["1"]).await;
    let fields = |change: (&'static str, &'static str)| {
        let all = [
            ("consumerGroup", "g"),
            ("topic", "Orders"),
            ("queueId", "-1"),
            ("maxMsgNums", "32"),
            ("invisibleTime", "10000"),
            ("pollTime", "0"),
            ("bornTime", "0"),
            ("initMode", "0"),
            ("exp", "*"),
            ("attemptId", "a"),
        ];
        all.map(|field| if field.0 == change.0 { change } else { field })
    };
    for (change, expect) in [
        (("topic", "Nothing"), (17, "topic[Nothing] not exist")),
        (
            ("queueId", "4"),
            (
                29,
                "queueId[4] is illegal, topic:[Orders] topicConfig.readQueueNums:[4]",
            ),
        ),
        (
            ("maxMsgNums", "33"),
            (29, "pop message's num is greater than 32"),
        ),
        (
            ("invisibleTime", "259200001"),
            (29, "invisibleTime 259200001 is greater than 259200000"),
        ),
        (
            ("bornTime", "1795348799000"),
            (210, "pop message is timeout too much"),
        ),
        (
            ("exp", "||"),
            (23, "parse the consumer's subscription failed"),
        ),
        (("queueId", "x"), (1, "queueId")),
        (
            ("attemptId", LONG),
            (29, "attemptId has 257 bytes, limit 256"),
        ),
        (("maxMsgNums", "0"), (210, "")),
        (("maxMsgNums", "-1"), (210, "")),
    ] {
        client
            .check(request::POP_MESSAGE, &fields(change), "", expect)
            .await;
    }
    assert_eq!(bodies(&POP.now(&client).await), ["1"]);
    fixture.stop().await;
}

#[tokio::test]
async fn acknowledgements() {
    let (fixture, client) = with_messages(&["1", "2"]).await;
    let got = POP.now(&client).await;
    let fields = |change: (&'static str, &str)| {
        let all = [
            ("consumerGroup", "g"),
            ("topic", "Orders"),
            ("queueId", "0"),
            ("offset", "0"),
            ("extraInfo", got[0].handle.as_str()),
            ("invisibleTime", "60000"),
        ];
        all.map(|(name, value)| match name == change.0 {
            true => (name, change.1.to_owned()),
            false => (name, value.to_owned()),
        })
    };
    let forged = "0 1795348799999 10000 3 0 broker-a 0 0";
    let elsewhere = got[0].handle.replace("broker-a", "broker-b");
    for (change, ack, time) in [
        (
            ("topic", "Nothing"),
            (17, "topic[Nothing]"),
            (17, "topic[Nothing]"),
        ),
        (
            ("queueId", "4"),
            (13, "queueId[4] is illegal"),
            (13, "queueId[4] is illegal"),
        ),
        (
            ("queueId", "-1"),
            (13, "queueId[-1] is illegal"),
            (13, "queueId[-1] is illegal"),
        ),
        (
            ("offset", "3"),
            (208, "key:Orders@0, commit:3, store:0~2"),
            (208, "commit:3"),
        ),
        (("offset", "-1"), (208, "commit:-1"), (208, "commit:-1")),
        (("offset", "2"), (0, ""), (208, "commit:2")),
        (
            ("extraInfo", "nonsense"),
            (1, "\"nonsense\" has 1 parts"),
            (1, "\"nonsense\""),
        ),
        (
            ("extraInfo", "0 x 10000 3 0 broker-a"),
            (1, "pop time is \"x\""),
            (1, "pop time is \"x\""),
        ),
        (("extraInfo", forged), (0, ""), (208, forged)),
        (("extraInfo", &elsewhere), (0, ""), (208, &elsewhere)),
        (
            ("consumerGroup", "h"),
            (0, ""),
            (208, "no message is taken by"),
        ),
    ] {
        let fields = fields(change);
        let fields = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        client
            .check(request::ACK_MESSAGE, &fields[..5], "", ack)
            .await;
        client
            .check(request::CHANGE_MESSAGE_INVISIBLETIME, &fields, "", time)
            .await;
    }
    let batch = |retry: &str, bits: &str, pop: &str| {
        format!(
            r#"{{"brokerName":"broker-a","acks":[{{"c":"g","t":"Orders","r":"{retry}","so":0,"q":0,"rq":0,"pt":{pop},"it":10000,"b":"{bits}"}}]}}"#
        )
    };
    for (body, expect) in [
        ("".to_owned(), (208, "no acks")),
        (
            r#"{"brokerName":"broker-a","acks":[]}"#.to_owned(),
            (208, "no acks"),
        ),
        ("[".to_owned(), (1, "BATCH_ACK_MESSAGE body")),
        (batch("7", "Aw==", "1795348800000"), (1, "retry is \"7\"")),
        (batch("0", "?", "1795348800000"), (1, "bit set \"?\"")),
        (batch("0", "Aw==", "1795348700000"), (0, "")),
        (batch("1", "Aw==", "1795348800000"), (0, "")),
    ] {
        client
            .check(request::BATCH_ACK_MESSAGE, &[], &body, expect)
            .await;
    }
    // Nothing of it had an effect.
    advance(&fixture, 10_000).await;
    assert_eq!(bodies(&POP.now(&client).await), ["1", "2"]);
    fixture.stop().await;
}

#[tokio::test]
async fn batches() {
    let (fixture, client) = with_messages(&["1", "2", "3"]).await;
    let got = POP.now(&client).await;
    let word = |index| {
        got[0]
            .handle
            .split(' ')
            .nth(index)
            .unwrap_or_default()
            .to_owned()
    };
    // Long names too; bits 0 and 2.
    let body = format!(
        r#"{{"brokerName":"broker-a","acks":[{{"consumerGroup":"g","topic":"Orders","retry":"0","startOffset":0,"queueId":0,"reviveQueueId":{},"popTime":{},"invisibleTime":10000,"bitSet":"BQ=="}}]}}"#,
        word(3),
        word(1)
    );
    client
        .check(request::BATCH_ACK_MESSAGE, &[], &body, (0, ""))
        .await;
    client
        .check(request::BATCH_ACK_MESSAGE, &[], &body, (0, ""))
        .await;
    advance(&fixture, 10_000).await;
    let again = POP.now(&client).await;
    assert_eq!(bodies(&again), ["2"]);
    ack(&client, "g", &again[0], (0, "")).await;
    fixture.stop().await;
}

#[tokio::test]
async fn an_ordered_ack_of_nothing_moves_nothing() {
    let (fixture, client) = with_messages(&["1", "2"]).await;
    let mut forged = POP.now(&client).await.remove(0);
    forged.handle = "0 1795348800000 10000 999 0 broker-a 0 0".into();
    let other = Pop {
        group: "other",
        ..POP
    };
    ack(&client, "other", &forged, (0, "")).await;
    assert_eq!(bodies(&other.now(&client).await), ["1", "2"]);
    fixture.stop().await;
}

/// Binary headers cut the codes to 16 bits.
#[tokio::test]
async fn cut_codes_mean_the_same() {
    let (fixture, client) = with_messages(&["1"]).await;
    let fields = [
        ("consumerGroup", "g"),
        ("topic", "Nothing"),
        ("queueId", "0"),
        ("offset", "0"),
        ("extraInfo", ""),
        ("invisibleTime", "1"),
    ];
    for code in [3442, 3443, 3445, 3446] {
        client
            .check(code, &fields, "", (17, "topic[Nothing]"))
            .await;
    }
    client.check(3543, &[], "", (208, "no acks")).await;
    client
        .check(3441, &[], "", (3, "request type 3441 not supported"))
        .await;
    fixture.stop().await;
}

/// Acknowledgements of check points that may still come are kept for what there is, and not for ever.
#[tokio::test]
async fn early_acknowledgements() {
    let (fixture, client) = with_messages(&["1"]).await;
    let ack = |topic: &str, group: &str, queue: &str, invisible: &str| {
        format!(
            r#"{{"brokerName":"broker-a","acks":[{{"c":"{group}","t":"{topic}","r":"0","so":0,"q":{queue},"rq":0,"pt":1795348799999,"it":{invisible},"b":"AQ=="}}]}}"#
        )
    };
    // Makes the group.
    assert_eq!(POP.now(&client).await.len(), 1);
    for (body, early) in [
        (ack("Nothing", "g", "0", "10000"), 0),
        (ack("Orders", "nobody", "0", "10000"), 0),
        (ack("Orders", "g", "-1", "10000"), 0),
        (ack("Orders", "g", "0", "9000000000000000000"), 0),
        (ack("Orders", "g", "0", "10000"), 1),
        (ack("Orders", "g", "0", "10000"), 1),
    ] {
        client
            .check(request::BATCH_ACK_MESSAGE, &[], &body, (0, ""))
            .await;
        let kept = fixture.broker().pops.checkpoints.lock().early();
        assert_eq!(kept, early, "{body}");
    }
    fixture.stop().await;
}
