//! Filters over a socket: heartbeats, pulls and holds with SQL92 expressions, restarts, and what a group's members disagree on.

use std::time::Duration;

use protocol::codes::request::{
    CHECK_CLIENT_CONFIG, HEART_BEAT, PULL_MESSAGE, SEND_MESSAGE_V2, UNREGISTER_CLIENT,
};
use remoting::{Body, Reply};

use crate::config::Config;
use crate::testing::{Client, Fixture, Raw, beat, bodies, config, field};

fn enabled(config: &mut Config) {
    config.property_filter_enabled = true;
}

/// Sends to queue 0 of a topic.
async fn send_to(client: &Client, topic: &str, properties: &[(&str, &str)], body: &str) {
    let pair = |(name, value): &(&str, &str)| format!("{name}\u{1}{value}\u{2}");
    let properties: String = properties.iter().map(pair).collect();
    let fields = [
        ("a", "producers"),
        ("b", topic),
        ("c", "TBW102"),
        ("d", "1"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties.as_str()),
    ];
    client.check(SEND_MESSAGE_V2, &fields, body, (0, "")).await;
}

async fn send(client: &Client, properties: &[(&str, &str)], body: &str) {
    send_to(client, "Orders", properties, body).await;
}

/// A heartbeat of a group that filters `Orders`.
fn sql_beat(client_id: &str, group: &str, expression: &str, version: i64) -> String {
    beat(client_id, group, expression, version).replace("\"TAG\"", "\"SQL92\"")
}

fn fields<'a>(group: &'a str, offset: &'a str, version: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("consumerGroup", group),
        ("topic", "Orders"),
        ("queueId", "0"),
        ("queueOffset", offset),
        ("maxMsgNums", "32"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "15000"),
        ("subVersion", version),
    ]
}

/// A pull by the subscription of the heartbeats.
async fn pull(client: &Client, version: &str, expect: (i32, &str)) -> Reply {
    let fields = [fields("G", "0", version), vec![("sysFlag", "0")]].concat();
    client.check(PULL_MESSAGE, &fields, "", expect).await
}

/// A pull that brings its own subscription.
async fn bare(client: &Client, expression: &str, expect: (i32, &str)) -> Reply {
    let own = vec![
        ("sysFlag", "4"),
        ("subscription", expression),
        ("expressionType", "SQL92"),
    ];
    let fields = [fields("bare", "0", "0"), own].concat();
    client.check(PULL_MESSAGE, &fields, "", expect).await
}

async fn orders(client: &Client) {
    for (body, region, amount) in [
        ("a", "north", "5"),
        ("b", "south", "50"),
        ("c", "north", "500"),
        ("d", "east", "many"),
    ] {
        send(client, &[("region", region), ("amount", amount)], body).await;
    }
    send(client, &[("TAGS", "plain")], "e").await;
}

#[tokio::test]
async fn a_group_gets_what_its_expression_wants() {
    let fixture = Fixture::with(enabled).await;
    let client = fixture.client().await;
    orders(&client).await;
    for (version, expression, expected) in [
        ("1", "region = 'north'", "a c"),
        ("2", "amount > 10", "b c"),
        ("3", "amount > 10 OR region = 'east'", "b c"),
        ("4", "region = 'east' OR amount > 10", "b c d"),
        ("5", "NOT (region IN ('north', 'south'))", "d"),
        ("6", "amount IS NULL OR amount BETWEEN 5 AND 50", "a b e"),
        ("7", "TAGS = 'plain'", "e"),
        ("8", "region STARTSWITH 'n' AND UNIQ_KEY IS NOT NULL", "a c"),
        ("9", "TRUE", "a b c d e"),
    ] {
        let beat = sql_beat("c", "G", expression, version.parse().unwrap());
        client.ask(HEART_BEAT, &beat).await;
        let reply = pull(&client, version, (0, "FOUND")).await;
        assert_eq!(bodies(&reply).join(" "), expected, "{expression}");
        assert_eq!(field(&reply, "nextBeginOffset").as_deref(), Some("5"));
    }
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "region = 'west'", 10))
        .await;
    let none = pull(&client, "10", (20, "NO_MATCHED_MESSAGE")).await;
    assert_eq!(field(&none, "nextBeginOffset").as_deref(), Some("5"));
    fixture.stop().await;
}

#[tokio::test]
async fn what_the_broker_does_not_know_of_an_expression_is_refused() {
    let fixture = Fixture::with(enabled).await;
    let client = fixture.client().await;
    orders(&client).await;
    pull(&client, "1", (24, "the consumer's group info not exist")).await;
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "amount >", 1))
        .await;
    let wrong = "filter data is not exist!Your expression may be wrong! Encountered the end at line 1, column 8.";
    pull(&client, "1", (27, wrong)).await;
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "amount > 1", 2))
        .await;
    pull(&client, "2", (0, "")).await;
    pull(&client, "3", (25, "the consumer's subscription not latest")).await;
    // The group's last member goes, and one with an older subscription comes: the expression is the newer one.
    client
        .check(
            UNREGISTER_CLIENT,
            &[("clientID", "c"), ("consumerGroup", "G")],
            "",
            (0, ""),
        )
        .await;
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "amount > 100", 1))
        .await;
    let reply = pull(&client, "1", (0, "")).await;
    assert_eq!(bodies(&reply), ["a", "b", "c"]);
    fixture.stop().await;
}

#[tokio::test]
async fn switched_off_expressions_are_refused() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    orders(&client).await;
    let off = "The broker does not support consumer to filter message by SQL92";
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "amount > 1", 1))
        .await;
    pull(&client, "1", (1, off)).await;
    bare(&client, "amount > 1", (1, off)).await;
    bare(&client, "amount >", (1, off)).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_pull_may_bring_its_own_expression() {
    let fixture = Fixture::with(enabled).await;
    let client = fixture.client().await;
    orders(&client).await;
    for _ in 0..2 {
        let reply = bare(&client, "amount > 10", (0, "FOUND")).await;
        assert_eq!(bodies(&reply), ["b", "c"]);
    }
    let all = bare(&client, "amount >", (0, "FOUND")).await;
    assert_eq!(bodies(&all).len(), 5, "as from Apache");
    bare(
        &client,
        "",
        (23, "an expression of type SQL92 can't be empty"),
    )
    .await;
    bare(&client, "region = 'west'", (20, "NO_MATCHED_MESSAGE")).await;
    fixture.stop().await;
}

#[tokio::test]
async fn a_held_pull_waits_for_what_its_expression_wants() {
    let fixture = Fixture::with(enabled).await;
    let client = fixture.client().await;
    orders(&client).await;
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "amount > 100", 1))
        .await;
    let fields = [fields("G", "5", "1"), vec![("sysFlag", "2")]].concat();
    let held = || {
        let raw = Raw(&fields);
        client
            .connection
            .call(PULL_MESSAGE, &raw, Body::None, Duration::from_secs(20))
    };
    let waiting = held();
    send(&client, &[("amount", "7")], "cheap").await;
    send(&client, &[("amount", "700")], "dear").await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.code, bodies(&reply)), (0, vec!["dear".to_owned()]));
    assert_eq!(field(&reply, "nextBeginOffset").as_deref(), Some("7"));

    // Another expression ends the wait without skipping what it may want.
    let fields = [self::fields("G", "7", "1"), vec![("sysFlag", "2")]].concat();
    let raw = Raw(&fields);
    let waiting = client
        .connection
        .call(PULL_MESSAGE, &raw, Body::None, Duration::from_secs(20));
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "amount < 10", 2))
        .await;
    send(&client, &[("amount", "8")], "cheap").await;
    let reply = waiting.await.unwrap();
    assert_eq!(reply.code, 20);
    assert_eq!(field(&reply, "nextBeginOffset").as_deref(), Some("7"));
    fixture.stop().await;
}

#[tokio::test]
async fn check_client_config_says_what_is_wrong_and_where() {
    let fixture = Fixture::with(enabled).await;
    let client = fixture.client().await;
    for (kind, expression, expect) in [
        ("TAG", "a ||", (0, "")),
        ("SQL92", "a > 1", (0, "")),
        (
            "SQL92",
            "a > 'x'",
            (
                23,
                "Value ''x'' cannot be compared. (line 1, column 5), in \"a > 'x'\"",
            ),
        ),
        (
            "SQL92",
            "a = 1 AND",
            (23, "Encountered the end at line 1, column 9"),
        ),
        ("SQL92", "", (23, "line 1, column 1")),
        ("SQL93", "a > 1", (23, "there is no filter of type SQL93")),
    ] {
        let body = format!(
            r#"{{"clientId":"c","group":"G","subscriptionData":{{"topic":"T","subString":"{expression}","expressionType":"{kind}"}}}}"#
        );
        client.check(CHECK_CLIENT_CONFIG, &[], &body, expect).await;
    }
    fixture.stop().await;
}

#[tokio::test]
async fn expressions_outlive_a_restart_for_a_day() {
    let fixture = Fixture::with(enabled).await;
    let client = fixture.client().await;
    client
        .ask(HEART_BEAT, &sql_beat("c", "G", "amount > 1", 5))
        .await;
    let sim = fixture.stop().await;

    let mut settings = config();
    enabled(&mut settings);
    let fixture = Fixture::on(sim, settings.clone()).await;
    let version = |fixture: &Fixture| {
        let expressions = fixture.broker().expressions.state.read();
        expressions.find("G", "Orders").map(|found| found.version)
    };
    assert_eq!(version(&fixture), Some(5));
    fixture.broker().save_metadata();
    assert_eq!(version(&fixture), Some(5));
    fixture.clock.advance(settings.filter_dead_ms_max);
    fixture.broker().save_metadata();
    assert_eq!(version(&fixture), None);
    let sim = fixture.stop().await;
    let fixture = Fixture::on(sim, settings).await;
    assert_eq!(version(&fixture), None);
    fixture.stop().await;
}

/// filterSupportRetry takes effect only where a retry topic is subscribed to with an expression, as stock clients never do.
#[tokio::test]
async fn retried_messages_are_filtered_by_the_expression_of_their_topic() {
    for (retries, expected) in [(true, "mine unknown"), (false, "mine other unknown")] {
        let fixture = Fixture::with(|config| {
            enabled(config);
            config.filter_retries = retries;
        })
        .await;
        let client = fixture.client().await;
        let retry = "%RETRY%G";
        let beat = sql_beat("c", "G", "amount > 10", 1);
        client.ask(HEART_BEAT, &beat).await;
        for (body, topic, amount) in [
            ("mine", "Orders", "50"),
            ("other", "Orders", "5"),
            ("unknown", "Payments", "5"),
        ] {
            send_to(
                &client,
                retry,
                &[("RETRY_TOPIC", topic), ("amount", amount)],
                body,
            )
            .await;
        }
        let mut fields = fields("G", "0", "0");
        fields.retain(|(name, _)| *name != "topic");
        fields.extend([
            ("topic", retry),
            ("sysFlag", "4"),
            ("subscription", "TRUE"),
            ("expressionType", "SQL92"),
        ]);
        let reply = client.check(PULL_MESSAGE, &fields, "", (0, "")).await;
        assert_eq!(bodies(&reply).join(" "), expected);
        fixture.stop().await;
    }
}

#[tokio::test]
async fn members_that_disagree_are_counted() {
    let fixture = Fixture::with(enabled).await;
    let (one, two) = (fixture.client().await, fixture.client().await);
    let mismatches = || fixture.broker().subscription_mismatches();
    one.ask(HEART_BEAT, &sql_beat("c1", "G", "amount > 1", 1))
        .await;
    two.ask(HEART_BEAT, &sql_beat("c2", "G", "amount > 1", 2))
        .await;
    assert_eq!(mismatches(), 0);
    two.ask(HEART_BEAT, &sql_beat("c2", "G", "amount > 2", 3))
        .await;
    two.ask(HEART_BEAT, &sql_beat("c2", "G", "amount > 2", 3))
        .await;
    one.ask(HEART_BEAT, &sql_beat("c1", "G", "amount > 1", 1))
        .await;
    assert_eq!(mismatches(), 1);
    one.ask(HEART_BEAT, &beat("c1", "G", "amount > 2", 4)).await;
    assert_eq!(mismatches(), 2, "the type counts as well");
    fixture.stop().await;
}
