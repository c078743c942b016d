//! Queues are shared as Apache shares them.

use protocol::codes::request;

use super::{Strategy, queues_of};
use crate::testing::{Fixture, beat, send};

fn check(strategy: Strategy, queues: i32, members: usize, share: Option<i32>, expect: &[&[i32]]) {
    let all = queues_of("Orders", "b", queues);
    let members: Vec<String> = (0..members).map(|index| format!("c{index}")).collect();
    for (member, expect) in members.iter().zip(expect) {
        let got = strategy
            .share(&all, &members, member, share)
            .expect("shares");
        let got: Vec<i32> = got.iter().map(|queue| queue.queue_id).collect();
        assert_eq!(got, *expect, "{strategy:?} {queues} {member} {share:?}");
    }
}

#[test]
fn pull() {
    use Strategy::{Average, Circle};
    check(Average, 8, 3, None, &[&[0, 1, 2], &[3, 4, 5], &[6, 7]]);
    check(Average, 2, 3, None, &[&[0], &[1], &[]]);
    check(Average, 4, 2, None, &[&[0, 1], &[2, 3]]);
    check(Circle, 8, 3, None, &[&[0, 3, 6], &[1, 4, 7], &[2, 5]]);
    check(Circle, 1, 2, None, &[&[0], &[]]);
}

#[test]
fn pop() {
    use Strategy::{Average, Circle};
    check(Average, 2, 2, Some(-1), &[&[-1, -1], &[-1, -1]]);
    check(Average, 2, 2, Some(1), &[&[-1, -1], &[-1, -1]]);
    check(
        Average,
        4,
        4,
        Some(1),
        &[&[0, 1], &[1, 2], &[2, 3], &[3, 0]],
    );
    check(
        Circle,
        4,
        4,
        Some(2),
        &[&[0, 1, 2], &[1, 2, 3], &[2, 3, 0], &[3, 0, 1]],
    );
    check(Average, 2, 5, Some(1), &[&[0], &[1], &[0], &[1], &[0]]);
}

#[test]
fn who_is_no_member_has_none() {
    let all = queues_of("Orders", "b", 2);
    let members = ["a".to_owned()];
    assert_eq!(
        Strategy::Average.share(&all, &members, "x", None),
        Some(Vec::new())
    );
    assert_eq!(Strategy::Average.share(&all, &members, "", None), None);
    assert_eq!(Strategy::Average.share(&[], &members, "a", None), None);
}

#[tokio::test]
async fn the_mode_is_asked_set_and_kept() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "a", "1").await;
    client
        .ask(request::HEART_BEAT, &beat("c1", "g", "*", 1))
        .await;
    let ask = |strategy: &str, topic: &str| {
        format!(
            r#"{{"clientId":"c1","consumerGroup":"g","messageModel":"CLUSTERING","strategyName":"{strategy}","topic":"{topic}"}}"#
        )
    };
    let reply = client
        .ask(request::QUERY_ASSIGNMENT, &ask("AVG", "Orders"))
        .await;
    let body = String::from_utf8_lossy(reply.body()).into_owned();
    assert!(
        body.contains(
            r#""messageQueue":{"brokerName":"broker-a","queueId":3,"topic":"Orders"},"mode":"PULL""#
        ),
        "{body}"
    );
    for unknown in [ask("NEAREST", "Orders"), ask("AVG", "Nothing")] {
        let reply = client.ask(request::QUERY_ASSIGNMENT, &unknown).await;
        assert_eq!(
            (reply.code, &reply.body()[..]),
            (0, &b"{}"[..]),
            "{unknown}"
        );
    }
    let set = |topic: &str, group: &str| {
        format!(
            r#"{{"consumerGroup":"{group}","mode":"POP","popShareQueueNum":0,"topic":"{topic}"}}"#
        )
    };
    for (topic, expect) in [
        ("%RETRY%g", (16, "retry topic is not allowed to set mode")),
        ("Nothing", (17, "topic[Nothing] not exist")),
        ("Orders", (0, "")),
    ] {
        client
            .check(
                request::SET_MESSAGE_REQUEST_MODE,
                &[],
                &set(topic, "g"),
                expect,
            )
            .await;
    }
    client
        .check(
            request::QUERY_ASSIGNMENT,
            &[],
            "",
            (1, "QUERY_ASSIGNMENT body"),
        )
        .await;
    let sim = fixture.stop().await;
    let fixture = Fixture::on(sim, crate::testing::config()).await;
    let client = fixture.client().await;
    client
        .ask(request::HEART_BEAT, &beat("c1", "g", "*", 1))
        .await;
    let reply = client
        .ask(request::QUERY_ASSIGNMENT, &ask("AVG", "Orders"))
        .await;
    assert_eq!(
        String::from_utf8_lossy(reply.body()),
        r#"{"messageQueueAssignments":[{"messageQueue":{"brokerName":"broker-a","queueId":-1,"topic":"Orders"},"mode":"POP"}]}"#
    );
    fixture.stop().await;
}
