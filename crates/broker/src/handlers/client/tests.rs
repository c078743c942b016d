//! Clients over a socket: heartbeats, who is told of whom, leaving.

use std::time::Duration;

use protocol::bodies::ConsumerIdList;
use protocol::codes::request::{
    CHECK_CLIENT_CONFIG, GET_CONSUMER_LIST_BY_GROUP, HEART_BEAT, NOTIFY_CONSUMER_IDS_CHANGED,
    UNREGISTER_CLIENT,
};
use protocol::fastjson;

use crate::limits::CLIENT_MS_MAX;
use crate::testing::{Client, Fixture, beat, field};

async fn told(client: &mut Client) -> String {
    let heard = tokio::time::timeout(Duration::from_secs(10), client.heard.recv()).await;
    let (code, group) = heard
        .expect("a notification in time")
        .expect("the connection is open");
    assert_eq!(code, NOTIFY_CONSUMER_IDS_CHANGED);
    group
}

async fn members(client: &Client) -> Vec<String> {
    let reply = client
        .check(
            GET_CONSUMER_LIST_BY_GROUP,
            &[("consumerGroup", "G")],
            "",
            (0, ""),
        )
        .await;
    fastjson::from_slice::<ConsumerIdList>(reply.body())
        .unwrap()
        .consumer_id_list
}

#[tokio::test]
async fn a_heartbeat_makes_the_group_its_retry_topic_and_its_member_known() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    let no_group = (1, "no consumer for this group, G");
    client
        .check(
            GET_CONSUMER_LIST_BY_GROUP,
            &[("consumerGroup", "G")],
            "",
            no_group,
        )
        .await;
    let reply = client.ask(HEART_BEAT, &beat("c1", "G", "*", 1)).await;
    assert_eq!((reply.code, reply.version), (0, 479));
    assert_eq!(
        field(&reply, "IS_SUPPORT_HEART_BEAT_V2").as_deref(),
        Some("true")
    );
    assert_eq!(field(&reply, "IS_SUB_CHANGE").as_deref(), Some("true"));
    assert_eq!(members(&client).await, ["c1"]);
    let retry = fixture.broker().topic("%RETRY%G").unwrap();
    assert_eq!(
        (retry.read_queue_nums, retry.write_queue_nums, retry.perm),
        (1, 1, 6)
    );
    client
        .check(
            HEART_BEAT,
            &[],
            "{\"clientID\":",
            (1, "HEART_BEAT body: JSON"),
        )
        .await;
    fixture.stop().await;
}

#[tokio::test]
async fn members_are_told_when_one_comes_and_when_one_goes() {
    let fixture = Fixture::start().await;
    let mut one = fixture.client().await;
    one.ask(HEART_BEAT, &beat("c1", "G", "*", 1)).await;
    assert_eq!(told(&mut one).await, "G");
    one.ask(HEART_BEAT, &beat("c1", "G", "*", 1)).await;
    assert!(one.heard.try_recv().is_err(), "nothing changed");

    let mut two = fixture.client().await;
    two.ask(HEART_BEAT, &beat("c2", "G", "*", 1)).await;
    assert_eq!([told(&mut one).await, told(&mut two).await], ["G", "G"]);
    assert_eq!(members(&one).await, ["c1", "c2"]);

    two.check(
        UNREGISTER_CLIENT,
        &[("clientID", "c2"), ("consumerGroup", "G")],
        "",
        (0, ""),
    )
    .await;
    assert_eq!(told(&mut one).await, "G");
    assert_eq!(members(&one).await, ["c1"]);

    two.ask(HEART_BEAT, &beat("c2", "G", "*", 1)).await;
    assert_eq!(told(&mut one).await, "G");
    drop(two);
    assert_eq!(
        told(&mut one).await,
        "G",
        "a lost connection is noticed at once"
    );
    assert_eq!(members(&one).await, ["c1"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_client_without_a_heartbeat_is_let_go() {
    let fixture = Fixture::start().await;
    let mut client = fixture.client().await;
    client.ask(HEART_BEAT, &beat("c1", "G", "*", 1)).await;
    told(&mut client).await;
    fixture.clock.advance(CLIENT_MS_MAX);
    fixture.broker().expire_clients();
    assert_eq!(members(&client).await, ["c1"]);
    fixture.clock.advance(1);
    fixture.broker().expire_clients();
    let end = tokio::time::timeout(Duration::from_secs(10), client.heard.recv()).await;
    assert_eq!(end.expect("the connection is closed"), None);
    fixture.stop().await;
}

#[tokio::test]
async fn groups_are_not_made_where_that_is_off() {
    let fixture = Fixture::with(|config| config.auto_create_groups = false).await;
    let client = fixture.client().await;
    assert_eq!(
        client.ask(HEART_BEAT, &beat("c1", "G", "*", 1)).await.code,
        0
    );
    assert!(fixture.broker().topic("%RETRY%G").is_none());
    client
        .ask(HEART_BEAT, &beat("c1", "TOOLS_CONSUMER", "*", 1))
        .await;
    assert!(fixture.broker().topic("%RETRY%TOOLS_CONSUMER").is_some());
    fixture.stop().await;
}

#[tokio::test]
async fn only_tag_subscriptions_can_be_served() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for (kind, expect) in [
        ("TAG", (0, "")),
        ("", (0, "")),
        (
            "SQL92",
            (
                1,
                "The broker does not support consumer to filter message by SQL92",
            ),
        ),
    ] {
        let body = format!(
            r#"{{"clientId":"c","group":"G","subscriptionData":{{"topic":"T","subString":"a > 1","expressionType":"{kind}"}}}}"#
        );
        client.check(CHECK_CLIENT_CONFIG, &[], &body, expect).await;
    }
    client.check(CHECK_CLIENT_CONFIG, &[], "", (0, "")).await;
    fixture.stop().await;
}
