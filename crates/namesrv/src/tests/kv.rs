//! 100, 101, 102, 219 and `kvConfig.json`.

use super::*;

#[tokio::test]
async fn keys_come_and_go_and_are_kept() {
    let server = plain().await;
    let mut client = server.connect().await;
    for (request, expect) in [
        (
            "101 namespace=n key=k",
            expect!["22 No config item, Namespace: n Key: k"],
        ),
        (
            "219 namespace=n",
            expect!["22 No config item, Namespace: n"],
        ),
        ("100 namespace=n key=k value=v", expect!["0"]),
        ("100 namespace=n key=l value=ö\"\\", expect!["0"]),
        ("100 namespace=m key=k value=", expect!["0"]),
        (
            "101 namespace=n key=k",
            expect![[r#"
            0
            value=v"#]],
        ),
        (
            "101 namespace=n key=l",
            expect![[r#"
            0
            value=ö"\"#]],
        ),
        (
            "101 namespace=n key=m",
            expect!["22 No config item, Namespace: n Key: m"],
        ),
        (
            "219 namespace=n",
            expect![[r#"
            0
            {"table":{"k":"v","l":"ö\"\\"}}"#]],
        ),
        ("100 namespace=n key=k value=w", expect!["0"]),
        (
            "101 namespace=n key=k",
            expect![[r#"
            0
            value=w"#]],
        ),
        ("102 namespace=n key=l", expect!["0"]),
        ("102 namespace=nowhere key=l", expect!["0"]),
        (
            "219 namespace=n",
            expect![[r#"
            0
            {"table":{"k":"w"}}"#]],
        ),
        ("100 key=k value=v", expect!["1 namespace or key is null"]),
        (
            "100 namespace=n value=v",
            expect!["1 namespace or key is null"],
        ),
        (
            "100 namespace=n key=k",
            expect!["1 the custom field <value> is null"],
        ),
        (
            "101 namespace=n",
            expect!["1 the custom field <key> is null"],
        ),
        ("102", expect!["1 the custom field <namespace> is null"]),
        ("219", expect!["1 the custom field <namespace> is null"]),
    ] {
        client.check(request, expect).await;
    }
    let kept = String::from_utf8(server.kv_file.lock().clone()).unwrap();
    expect![[r#"{"configTable":{"m":{"k":""},"n":{"k":"w"}}}"#]].assert_eq(&kept);
    drop(client);
    server.nameserver.shutdown().await;

    let again = start(Config::default(), &kept).await;
    let mut client = again.connect().await;
    client
        .check(
            "219 namespace=n",
            expect![[r#"
        0
        {"table":{"k":"w"}}"#]],
        )
        .await;
    drop(client);
    again.nameserver.shutdown().await;
}

#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "so the disk is slow for as long as the test wants"
)]
async fn nobody_waits_for_a_slow_disk_but_who_changes_something() {
    let server = plain().await;
    let (mut writer, mut reader) = (server.connect().await, server.connect().await);
    let slow = server.kv_file.lock();
    let mut put = Box::pin(writer.ask("100 namespace=n key=k value=v", b""));
    for _ in 0..20 {
        tokio::select! {
            answer = &mut put => panic!("answered before it was on the disk: {answer}"),
            () = reader.check("101 namespace=n key=k", expect!["22 No config item, Namespace: n Key: k"]) => {}
        }
    }
    drop(slow);
    assert_eq!(put.await, "0");
    reader
        .check(
            "101 namespace=n key=k",
            expect![[r#"
                0
                value=v"#]],
        )
        .await;
    drop((writer, reader));
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn what_is_not_on_disk_is_not_there() {
    let server = start(Config::default(), r#"{"configTable":{"n":{"k":"v"}}}"#).await;
    let mut client = server.connect().await;
    client
        .check(
            "100 namespace=n key=k value=fail",
            expect!["1 kvConfig.json could not be written: no storage space"],
        )
        .await;
    client
        .check(
            "101 namespace=n key=k",
            expect![[r#"
        0
        value=v"#]],
        )
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_no_kv_configuration_stops_the_start() {
    let file = KvFile {
        path: "/x/kvConfig.json".to_owned(),
        content: Some(b"{\"configTable\":3}".to_vec()),
        replace: Box::new(|_| Ok(())),
    };
    let error = Nameserver::start(Config::default(), file, Clock::System)
        .await
        .unwrap_err();
    expect!["/x/kvConfig.json: JSON, byte 15: expected '{', found '3'"]
        .assert_eq(&error.to_string());
}
