//! Both directions against what fastjson 1.2.83 was seen to do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    broker_name: String,
    queue_id: i32,
    topic: String,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Stats {
    consume_tps: f64,
    offset_table: BTreeMap<Queue2, BTreeMap<i32, String>>,
    zone: Option<String>,
}

type Queue2 = Queue;

fn stats() -> Stats {
    let queue = Queue {
        broker_name: "b".to_owned(),
        queue_id: 0,
        topic: "t/é\u{1}".to_owned(),
    };
    let inner = BTreeMap::from([(0, "x".to_owned()), (1, "\u{1F600}".to_owned())]);
    Stats {
        consume_tps: 0.0,
        offset_table: BTreeMap::from([(queue, inner)]),
        zone: None,
    }
}

#[test]
fn writes_as_fastjson_does() {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    expect_test::expect![[r#"{"consumeTps":0.0,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"t/é\u0001"}:{0:"x",1:"😀"}}}"#]]
        .assert_eq(&text(to_vec(&stats())));
    let table = BTreeMap::from([
        ("T@g", BTreeMap::from([(0, 5), (1, 6)])),
        ("T@h", BTreeMap::new()),
    ]);
    let file = BTreeMap::from([("offsetTable", table)]);
    expect_test::expect![[r#"
        {
        	"offsetTable":{
        		"T@g":{0:5,1:6
        		},
        		"T@h":{}
        	}
        }"#]]
    .assert_eq(&text(to_vec_pretty(&file)));
    expect_test::expect![[r#"{"0":"t\/\u00E9\u0001\uD83D\uDE00"}"#]].assert_eq(&text(
        to_vec_standard(&BTreeMap::from([(0, "t/é\u{1}\u{1F600}")])),
    ));
}

#[test]
fn reads_what_it_writes() {
    assert_eq!(from_slice::<Stats>(&to_vec(&stats())).unwrap(), stats());
    assert_eq!(
        from_slice::<Stats>(&to_vec_pretty(&stats())).unwrap(),
        stats()
    );
}

#[test]
fn casts_as_fastjson_does() {
    let text = r#"{ consumeTps : "1.5", 'zone':7, "more":[{a:[1,{}]}], "offsetTable":null, }"#;
    let stats: Stats = from_slice(text.as_bytes()).unwrap();
    assert_eq!((stats.consume_tps, stats.zone.as_deref()), (1.5, Some("7")));
    let quoted = br#"{"0":"a",1:"b"}"#;
    let map: BTreeMap<i32, String> = from_slice(quoted).unwrap();
    assert_eq!((&*map[&0], &*map[&1]), ("a", "b"));
}

#[test]
fn says_what_is_wrong_and_where() {
    let check = |text: &str, expect: &str| {
        let error = from_slice::<Stats>(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expect);
    };
    check("", "JSON, byte 0: expected '{', found the end");
    check("{\"zone\" 1}", "JSON, byte 8: expected ':', found '1'");
    check(
        "{\"zone\":\"x}",
        "JSON, byte 11: expected a closing quote, found the end",
    );
    check(
        "{\"consumeTps\":\"x\"}",
        "JSON, byte 17: expected a number, found \"x\"",
    );
    check("{} x", "JSON, byte 3: expected the end, found 'x'");
    check(&"[".repeat(1000), "JSON, byte 0: expected '{', found '['");
    let nested = format!("{{\"x\":{}", "{[".repeat(100_000));
    check(&nested, "JSON, byte 68: expected less nesting, found '['");
}
