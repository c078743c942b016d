//! Clients: who is told of whom, and what is forgotten when.

use protocol::bodies::{ConsumerData, MessageModel, SubscriptionData};
use protocol::command::{Language, VERSION};

use super::{Beat, Clients, Member, Mismatch};
use crate::limits::{CLIENT_BYTES_MAX, CLIENT_MS_MAX};

const UNCHANGED: Beat = Beat {
    changed: false,
    send_subscriptions: true,
    mismatch: None,
};
const CHANGED: Beat = Beat {
    changed: true,
    send_subscriptions: true,
    mismatch: None,
};

fn member(id: u64, seen_ms: i64) -> Member<u64> {
    Member {
        client_id: format!("client-{id}"),
        peer: id,
        language: Language::Java,
        version: VERSION,
        seen_ms,
    }
}

fn subscriptions(topics: &[(&str, &str, i64)]) -> ConsumerData {
    let subscription = |(topic, expression, version): &(&str, &str, i64)| SubscriptionData {
        topic: topic.to_string(),
        sub_string: expression.to_string(),
        sub_version: *version,
        ..SubscriptionData::default()
    };
    ConsumerData {
        group_name: "G".into(),
        message_model: MessageModel::Clustering,
        subscription_data_set: topics.iter().map(subscription).collect(),
        ..ConsumerData::default()
    }
}

fn beat(clients: &mut Clients<u64>, id: u64, topics: &[(&str, &str, i64)]) -> Beat {
    Beat {
        mismatch: None,
        ..beat_compared(clients, id, topics)
    }
}

fn beat_compared(clients: &mut Clients<u64>, id: u64, topics: &[(&str, &str, i64)]) -> Beat {
    clients.consumer_beat(id, member(id, 0), &subscriptions(topics), 0, false)
}

#[test]
fn a_new_member_and_a_new_topic_are_changes_and_a_new_expression_is_not() {
    let mut clients = Clients::default();
    assert_eq!(beat(&mut clients, 1, &[("Orders", "*", 1)]), CHANGED);
    assert_eq!(beat(&mut clients, 1, &[("Orders", "*", 1)]), UNCHANGED);
    assert_eq!(beat(&mut clients, 2, &[("Orders", "*", 1)]), CHANGED);
    assert_eq!(beat(&mut clients, 1, &[("Orders", "paid", 2)]), UNCHANGED);
    let subscription = clients
        .group("G")
        .and_then(|group| group.subscription("Orders"))
        .expect("subscribed")
        .clone();
    assert_eq!(subscription.data.sub_string, "paid");
    assert_eq!(beat(&mut clients, 1, &[("Orders", "old", 1)]), UNCHANGED);
    assert_eq!(
        clients
            .group("G")
            .unwrap()
            .subscription("Orders")
            .unwrap()
            .data
            .sub_string,
        "paid"
    );
    assert_eq!(beat(&mut clients, 1, &[("Bills", "*", 3)]), CHANGED);
    assert!(clients.group("G").unwrap().subscription("Orders").is_none());
}

#[test]
fn ids_are_sorted_and_each_is_there_once() {
    let mut clients = Clients::default();
    for id in [3, 1, 2] {
        beat(&mut clients, id, &[]);
    }
    clients.consumer_beat(
        9,
        Member {
            peer: 9,
            ..member(1, 0)
        },
        &subscriptions(&[]),
        0,
        false,
    );
    assert_eq!(
        clients.consumer_ids("G"),
        ["client-1", "client-2", "client-3"]
    );
    assert!(clients.consumer_ids("other").is_empty());
}

#[test]
fn a_closed_connection_leaves_its_groups() {
    let mut clients = Clients::default();
    beat(&mut clients, 1, &[("Orders", "*", 1)]);
    beat(&mut clients, 2, &[("Orders", "*", 1)]);
    clients.producer_beat(1, member(1, 0), "P");
    assert_eq!(clients.closed(1), ["G"]);
    assert_eq!(clients.sharing("G"), [2]);
    assert!(clients.producers.is_empty());
    assert!(clients.closed(1).is_empty());

    assert!(clients.leave_consumers(2, "G"));
    assert!(!clients.leave_consumers(2, "G"));
    assert!(
        clients.group("G").is_none(),
        "the last member takes the group along"
    );
    assert!(clients.memberships.is_empty());
}

#[test]
fn members_that_all_get_everything_are_not_told_of_each_other() {
    let mut clients = Clients::default();
    let data = ConsumerData {
        message_model: MessageModel::Broadcasting,
        ..subscriptions(&[])
    };
    clients.consumer_beat(1, member(1, 0), &data, 0, false);
    assert!(clients.sharing("G").is_empty());
    beat(&mut clients, 2, &[]);
    assert_eq!(clients.sharing("G").len(), 2);
}

#[test]
fn a_heartbeat_may_leave_out_what_the_broker_knows() {
    let mut clients = Clients::default();
    let full = subscriptions(&[("Orders", "*", 1)]);
    let short = subscriptions(&[]);
    let known = Beat {
        changed: false,
        send_subscriptions: false,
        mismatch: None,
    };
    assert_eq!(
        clients.consumer_beat(1, member(1, 0), &short, 77, true),
        CHANGED,
        "nothing known yet"
    );
    assert!(
        clients
            .consumer_beat(1, member(1, 0), &full, 77, false)
            .changed
    );
    assert_eq!(
        clients.consumer_beat(1, member(1, 0), &short, 77, true),
        known
    );
    assert!(clients.group("G").unwrap().subscription("Orders").is_some());
    assert_eq!(
        clients.consumer_beat(1, member(1, 0), &short, 78, true),
        UNCHANGED
    );
}

#[test]
fn silent_clients_expire_by_their_latest_heartbeat() {
    let mut clients = Clients::default();
    beat(&mut clients, 1, &[]);
    beat(&mut clients, 2, &[]);
    clients.producer_beat(2, member(2, 500), "P");
    assert!(clients.expired(CLIENT_MS_MAX).is_empty());
    assert_eq!(clients.expired(CLIENT_MS_MAX + 1), [1]);
    assert_eq!(clients.expired(CLIENT_MS_MAX + 501).len(), 2);
}

#[test]
fn a_connection_can_not_make_us_remember_without_bound() {
    let mut clients = Clients::default();
    let long = "x".repeat(CLIENT_BYTES_MAX / 2);
    assert_eq!(beat(&mut clients, 1, &[("Orders", &long, 1)]), CHANGED);
    for version in 2..10 {
        let again = beat(&mut clients, 1, &[("Orders", &long, version)]);
        assert_eq!(again, UNCHANGED, "the new one takes the old one's place");
    }
    let mut other = subscriptions(&[("Orders", &long, 1)]);
    other.group_name = "H".into();
    let refused = clients.consumer_beat(1, member(1, 0), &other, 0, false);
    assert_eq!(refused, UNCHANGED);
    assert!(clients.group("H").is_none());
    clients.producer_beat(1, member(1, 0), &long);
    assert!(clients.producers.is_empty());
    assert!(clients.leave_consumers(1, "G"));
    let taken = clients.consumer_beat(1, member(1, 0), &other, 0, false);
    assert_eq!(taken, CHANGED, "there is room again");
    assert_eq!(clients.closed(1), ["H"]);
    assert!(clients.memberships.is_empty());
}

#[test]
fn replies_go_to_the_last_connection_of_a_producer() {
    let mut clients = Clients::default();
    let same_client = |id| Member {
        client_id: "same".to_owned(),
        ..member(id, 0)
    };
    clients.producer_beat(1, same_client(1), "P");
    clients.producer_beat(1, same_client(1), "Q");
    assert_eq!(clients.producer("same"), Some(&1));
    clients.leave_producers(1, "P");
    assert_eq!(clients.producer("same"), Some(&1), "it is still in Q");
    // It reconnects before its old connection is known to be gone.
    clients.producer_beat(2, same_client(2), "Q");
    assert_eq!(clients.producer("same"), Some(&2));
    clients.closed(1);
    assert_eq!(clients.producer("same"), Some(&2));
    clients.producer_beat(2, member(2, 0), "Q");
    assert_eq!(clients.producer("same"), None, "it calls itself otherwise");
    assert_eq!(clients.producer("client-2"), Some(&2));
    clients.closed(2);
    assert_eq!(clients.producer("client-2"), None);
    assert!(clients.producers("Q").is_none());
}

#[test]
fn members_that_want_different_messages_are_noticed_once() {
    let mut clients = Clients::default();
    let mut mismatch =
        |id, topics: &[(&str, &str, i64)]| beat_compared(&mut clients, id, topics).mismatch;
    let of = |topic: &str, this: Option<&str>, other: Option<&str>| {
        Some(Mismatch {
            topic: topic.to_owned(),
            this: this.map(str::to_owned),
            other: other.map(str::to_owned),
        })
    };
    assert_eq!(mismatch(1, &[("Orders", "red", 1)]), None);
    assert_eq!(
        mismatch(2, &[("Orders", "red", 9)]),
        None,
        "versions may differ"
    );
    let blue = [("Orders", "blue", 2)];
    assert_eq!(mismatch(3, &blue), of("Orders", Some("blue"), Some("red")));
    assert_eq!(mismatch(3, &blue), None, "it was told");
    assert_eq!(mismatch(1, &[("Orders", "red", 1)]), None, "as was this");
    let more = [("Orders", "red", 1), ("Payments", "*", 1)];
    let found = mismatch(1, &more).expect("another topic, and the other tag");
    assert!(
        ["Orders", "Payments"].contains(&found.topic.as_str()),
        "{found:?}"
    );
    clients.leave_consumers(3, "G");
    clients.leave_consumers(2, "G");
    let alone = beat_compared(&mut clients, 1, &[("Payments", "*", 1)]);
    assert_eq!(alone.mismatch, None, "nobody else is left");
}

#[test]
fn a_client_that_came_back_does_not_differ_from_itself() {
    let mut clients = Clients::default();
    let mut beat = |connection, client: u64, expression| {
        let data = subscriptions(&[("Orders", expression, 1)]);
        clients
            .consumer_beat(connection, member(client, 0), &data, 0, false)
            .mismatch
            .is_some()
    };
    assert!(!beat(1, 1, "red"));
    assert!(!beat(2, 1, "blue"), "its new connection");
    assert!(beat(3, 2, "green"));
}
