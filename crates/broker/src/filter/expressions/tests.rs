//! Which expressions are kept, for how long, and what the file says of them.

use protocol::fastjson;

use super::*;

const DAY_MS: i64 = 24 * 3_600_000;

fn expressions() -> Expressions {
    Expressions::new(Bloom::new(20, 32), DAY_MS)
}

fn sql(topic: &str, expression: &str, version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        sub_string: expression.to_owned(),
        expression_type: "SQL92".to_owned(),
        sub_version: version,
        ..SubscriptionData::default()
    }
}

/// A heartbeat; returns how many expressions had to be compiled and how many of them are wrong.
fn register(
    expressions: &mut Expressions,
    subscriptions: &[SubscriptionData],
    now_ms: i64,
) -> [usize; 2] {
    let Some(unknown) = expressions.unknown("G", subscriptions) else {
        return [0, 0];
    };
    let (count, mut wrong) = (unknown.len(), 0);
    let news = News::compile(unknown, &Compiled::default(), |_, _| wrong += 1);
    expressions.register("G", subscriptions, &news, now_ms);
    [count, wrong]
}

/// Text, version, and whether it is dead.
fn found<'a>(expressions: &'a Expressions, topic: &str) -> Option<(&'a str, i64, bool)> {
    let found = expressions.find("G", topic)?;
    assert!(found.sql.is_some());
    Some((&found.text, found.version, found.is_dead()))
}

#[test]
fn newer_replaces_older_and_what_is_known_is_not_compiled_again() {
    let mut all = expressions();
    let tags = SubscriptionData {
        expression_type: "TAG".to_owned(),
        ..sql("Tags", "a", 1)
    };
    assert_eq!(
        register(&mut all, &[tags.clone(), sql("Empty", "", 1)], 1),
        [0, 0]
    );
    assert_eq!(all.changes(), 0);
    assert_eq!(register(&mut all, &[tags, sql("T", "a > 1", 5)], 1), [1, 0]);
    assert_eq!(found(&all, "T"), Some(("a > 1", 5, false)));
    assert_eq!(found(&all, "Tags"), None);
    assert_eq!(all.changes(), 1);
    for (expression, version, compiled, expected) in [
        ("a > 1", 5, 0, ("a > 1", 5, false)),
        ("a > 2", 4, 0, ("a > 1", 5, false)),
        ("a > 2", 5, 0, ("a > 1", 5, false)),
        ("a > 1", 6, 0, ("a > 1", 6, false)),
        ("a > 2", 7, 1, ("a > 2", 7, false)),
    ] {
        let counted = register(&mut all, &[sql("T", expression, version)], 2);
        assert_eq!(counted, [compiled, 0], "{expression} {version}");
        assert_eq!(found(&all, "T"), Some(expected), "{expression} {version}");
    }
    assert_eq!(all.changes(), 3);
}

#[test]
fn a_broken_expression_takes_the_old_one_away() {
    let mut all = expressions();
    assert_eq!(register(&mut all, &[sql("T", "a >", 1)], 1), [1, 1]);
    assert_eq!(found(&all, "T"), None);
    assert_eq!(all.changes(), 0);
    register(&mut all, &[sql("T", "a > 1", 1)], 1);
    assert_eq!(register(&mut all, &[sql("T", "a >", 2)], 1), [1, 1]);
    assert_eq!(found(&all, "T"), None);
    assert_eq!(all.changes(), 2);
    assert_eq!(all.bytes, 0);
    let other_kind = SubscriptionData {
        expression_type: "sql92".to_owned(),
        ..sql("T", "a > 1", 3)
    };
    assert_eq!(register(&mut all, &[other_kind], 1), [1, 1]);
}

#[test]
fn the_dead_are_kept_for_a_day_and_come_back() {
    let mut all = expressions();
    register(
        &mut all,
        &[sql("T", "a > 1", 1), sql("U", "b > 1", 1)],
        1_000,
    );
    register(&mut all, &[sql("U", "b > 1", 1)], 2_000);
    assert_eq!(found(&all, "T"), Some(("a > 1", 1, true)), "still known");
    all.unregister("G", 3_000);
    assert_eq!(found(&all, "U"), Some(("b > 1", 1, true)));
    all.unregister("unknown", 3_000);
    let changes = all.changes();
    all.unregister("G", 4_000);
    assert_eq!(all.changes(), changes, "it is dead already");

    all.clean(2_000 + DAY_MS - 1);
    assert!(found(&all, "T").is_some());
    all.clean(2_000 + DAY_MS);
    assert_eq!(found(&all, "T"), None);
    assert!(found(&all, "U").is_some());
    assert_eq!(
        register(&mut all, &[sql("U", "b > 1", 1)], 5_000),
        [0, 0],
        "it is back"
    );
    assert_eq!(found(&all, "U"), Some(("b > 1", 1, false)));
    all.clean(10 * DAY_MS);
    assert!(found(&all, "U").is_some(), "what is in use stays");
    assert_eq!(all.clean_at_ms, i64::MAX, "nothing to clean for");
}

#[test]
fn room_is_bounded_and_the_dead_make_some() {
    let mut all = expressions();
    let long = "x".repeat(limits::EXPRESSION_BYTES_MAX - 100);
    let many: Vec<SubscriptionData> = (0..500)
        .map(|number| sql(&format!("T{number}"), &format!("a = '{long}'"), 1))
        .collect();
    register(&mut all, &many[..50], 1);
    all.unregister("G", 2);
    register(&mut all, &many[50..], 3);
    assert!(all.bytes <= limits::EXPRESSIONS_BYTES_MAX);
    assert_eq!(found(&all, "T0"), None);
    assert!(found(&all, "T50").is_some());
    assert_eq!(found(&all, "T499"), None);
    let full = &many[499..];
    let unknown = all.unknown("H", full).expect("news");
    let news = News::compile(unknown, &Compiled::default(), |_, _| {});
    assert!(
        !all.register("H", full, &news, 4),
        "which its client may repeat"
    );
}

/// Written by Apache 5.3.3, whose bloom filter was of other settings.
const APACHE: &str = r#"{"filterDataByTopic":{"T1":{"groupFilterData":{
    "G":{"bloomFilterData":{"bitNum":216,"bitPos":[68,60,52]},"bornTime":1000,"clientVersion":1700,"consumerGroup":"G","dead":false,
         "deadTime":0,"expression":"a > 5 AND b = 'x\"y'","expressionType":"SQL92","topic":"T1"},
    "G2":{"bloomFilterData":{"bitNum":216,"bitPos":[167,132,97]},"bornTime":1000,"clientVersion":1701,"consumerGroup":"G2","dead":true,
         "deadTime":2000,"expression":"a is","expressionType":"SQL92","topic":"T1"}},"topic":"T1"}}}"#;

#[test]
fn the_file_is_apaches() {
    let mut all = expressions();
    let file = fastjson::from_slice(APACHE.as_bytes()).unwrap();
    all.load(file, &Compiled::default(), 100_000);
    assert_eq!(
        found(&all, "T1"),
        Some(("a > 5 AND b = 'x\"y'", 1_700, true)),
        "nobody is there"
    );
    let wrong = all.find("G2", "T1").unwrap();
    assert!(wrong.sql.is_none(), "and filters nothing");
    assert_eq!(all.clean_at_ms, 2_000 + DAY_MS);
    assert_eq!(all.changes(), 0);

    let written = String::from_utf8(fastjson::to_vec_pretty(&all.to_table())).unwrap();
    expect_test::expect_file!["consumer_filter.json"].assert_eq(&written);
    let mut again = expressions();
    again.load(
        fastjson::from_slice(written.as_bytes()).unwrap(),
        &Compiled::default(),
        100_000,
    );
    assert_eq!(
        fastjson::to_vec_pretty(&again.to_table()),
        written.as_bytes()
    );
}

#[test]
fn a_group_that_was_there_at_the_end_died_half_a_minute_before_the_start() {
    let mut all = expressions();
    let file = || fastjson::from_slice(APACHE.as_bytes()).unwrap();
    all.load(file(), &Compiled::default(), 100_000);
    assert_eq!(all.find("G", "T1").unwrap().dead_ms, 70_000);
    let mut soon = expressions();
    soon.load(file(), &Compiled::default(), 1_500);
    assert_eq!(
        soon.find("G", "T1").unwrap().dead_ms,
        1_000,
        "not before it was born"
    );
}
