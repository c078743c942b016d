//! Queues blocked and freed, and the file that says so.

use protocol::bodies::OrderInfos;
use protocol::fastjson;

use super::{GroupQueue, OrderAck, Orders};

fn key() -> GroupQueue {
    GroupQueue {
        topic: "Orders".into(),
        group: "g".into(),
        queue_id: 3,
    }
}

fn blocked(orders: &Orders, now_ms: i64) -> bool {
    orders.is_blocked(&key(), Some("x"), 0, now_ms)
}

#[test]
fn it_is_free_when_all_is_acknowledged() {
    let mut orders = Orders::default();
    assert_eq!(orders.ack(&key(), 5, 1_000, 1_000), OrderAck::Unknown);
    orders.take(key(), Some("a"), 1_000, 500, &[5, 7]);
    assert!(blocked(&orders, 1_499));
    assert_eq!(orders.ack(&key(), 6, 1_000, 1_000), OrderAck::Illegal);
    assert_eq!(orders.ack(&key(), 7, 999, 1_000), OrderAck::Stale);
    assert_eq!(orders.ack(&key(), 7, 1_001, 1_001), OrderAck::Unknown);
    assert_eq!(orders.ack(&key(), 7, 1_000, 1_000), OrderAck::Next(5));
    assert!(blocked(&orders, 1_499));
    assert_eq!(orders.ack(&key(), 5, 1_000, 1_000), OrderAck::Next(8));
    assert!(!blocked(&orders, 1_000));
    assert_eq!(orders.next_release(), None);
}

#[test]
fn it_is_free_when_its_last_time_is_over() {
    let mut orders = Orders::default();
    orders.take(key(), None, 1_000, 500, &[5, 6]);
    assert_eq!(orders.next_release(), Some(1_500));
    assert!(orders.change(&key(), 6, 1_000, 2_000, 1_100));
    assert!(!orders.change(&key(), 9, 1_000, 2_000, 1_100));
    assert_eq!(orders.next_release(), Some(2_000));
    assert!(blocked(&orders, 1_999));
    assert!(!blocked(&orders, 2_000));
    assert!(orders.take_released(1_999).is_empty());
    assert_eq!(orders.take_released(2_000), [key()]);
    assert_eq!(
        orders.take(key(), Some("b"), 2_000, 500, &[5, 6, 7]),
        [1, 1, 0]
    );
    // The same try: the same counts.
    assert_eq!(
        orders.take(key(), Some("b"), 2_100, 500, &[5, 6, 7]),
        [1, 1, 0]
    );
    assert_eq!(
        orders.take(key(), Some("c"), 2_700, 500, &[5, 6, 7]),
        [2, 2, 1]
    );
}

#[test]
fn apaches_file() {
    let text = r#"{"table":{"Orders@g":{3:{"a":"t1","cm":2,"i":60000,"l":1000,"o":[5,1,2],"oc":{5:1},"ot":{5:9000},"popTime":1000}}}}"#;
    let file: OrderInfos = fastjson::from_slice(text.as_bytes()).expect("it is Apache's");
    let orders = Orders::load(file, 1_000);
    assert!(orders.is_blocked(&key(), None, 0, 60_999));
    assert!(!orders.is_blocked(&key(), Some("t1"), 0, 60_999));
    assert!(!orders.is_blocked(&key(), None, 0, 61_000));
    assert_eq!(
        String::from_utf8_lossy(&fastjson::to_vec(&orders.to_file())),
        text
    );
    assert_eq!(orders.changes(), 0);
}
