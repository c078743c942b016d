//! The words and numbers of a report.

use expect_test::expect;

use super::*;
use crate::bench::target::Target;

fn target() -> Target {
    Target {
        broker: "127.0.0.1:10911".to_owned(),
        topic: "T".to_owned(),
        topics: 1,
        queues: 4,
        size: 128,
        codec: protocol::frame::Codec::Json,
    }
}

fn run(rate: u64) -> Run {
    let seconds = Duration::from_secs(2);
    Run {
        mode: "produce",
        connections: 4,
        in_flight: 64,
        batch: 1,
        rate,
        seconds,
    }
}

fn tally() -> Tally {
    let mut tally = Tally::new().unwrap();
    for micros in 1..=1000 {
        tally.record(Duration::from_micros(micros));
    }
    tally.messages = 1000;
    tally.bytes = 1 << 21;
    tally
}

#[test]
fn a_report_in_words() {
    expect![[r#"
        produce: T on 127.0.0.1:10911, 128 B, 4 connections x 64 in flight
        messages    1,000 in 2.0 s
        throughput  500/s  1.0 MiB/s
        latency     p50 0.500 ms  p99 0.990 ms  p99.9 0.999 ms  max 1.000 ms
        errors      none"#]]
    .assert_eq(&run(0).report(&target(), tally()).to_string());
}

#[test]
fn a_report_with_errors_names_each_code_once() {
    let mut sum = tally();
    let mut other = tally();
    other.fail(2, || "[TIMEOUT_CLEAN_QUEUE]broker busy".to_owned());
    other.fail(2, || unreachable!("only the first remark is kept"));
    other.fail(14, || "disk full".to_owned());
    sum.add(other);
    expect![[r#"
        produce: T on 127.0.0.1:10911, 128 B, 4 connections at 20,000/s
        messages    2,000 in 2.0 s
        throughput  1,000/s  2.0 MiB/s
        latency     p50 0.500 ms  p99 0.990 ms  p99.9 0.999 ms  max 1.000 ms
        errors      2 x 2 SYSTEM_BUSY: [TIMEOUT_CLEAN_QUEUE]broker busy
                    1 x 14 SERVICE_NOT_AVAILABLE: disk full"#]]
    .assert_eq(&run(20_000).report(&target(), sum).to_string());
}

#[test]
fn a_report_as_json() {
    let json = serde_json::to_string_pretty(&run(0).report(&target(), tally())).unwrap();
    expect![[r#"
        {
          "mode": "produce",
          "broker": "127.0.0.1:10911",
          "topic": "T",
          "size": 128,
          "connections": 4,
          "in_flight": 64,
          "batch": 1,
          "rate": 0,
          "messages": 1000,
          "seconds": 2.0,
          "messages_per_second": 500.0,
          "bytes_per_second": 1048576.0,
          "latency_us": {
            "p50": 500.223,
            "p99": 990.207,
            "p999": 999.423,
            "max": 1000.447,
            "mean": 500.504858
          },
          "errors": []
        }"#]]
    .assert_eq(&json);
}

#[test]
fn a_stall_lasts_from_the_first_request_to_the_last_answer() {
    let mut tally = tally();
    let answers = [(1_000, 30), (1_050, 90), (1_099, 25), (1_100, 21)];
    for (now_ms, latency_ms) in answers {
        tally.stall(now_ms, Duration::from_millis(latency_ms));
    }
    let stalls = tally.stalls.iter();
    let stalls = stalls.map(|stall| (stall.at_ms, stall.from_ms, stall.to_ms, stall.worst_us));
    assert_eq!(
        stalls.collect::<Vec<_>>(),
        [(1_000, 960, 1_099, 90_000), (1_100, 1_079, 1_100, 21_000)]
    );
}

#[test]
fn numbers_are_grouped() {
    for (number, words) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (123_456, "123,456"),
        (1_234_567, "1,234,567"),
    ] {
        assert_eq!(grouped(number), words);
    }
}
