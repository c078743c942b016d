//! The load generator against our own broker, and what is in the store afterwards.

use serde_json::Value;

use crate::process::{Server, run, skylark};
use crate::start::standalone;

fn bench(namesrv: &str, args: &[&str]) -> Value {
    let mut command = skylark();
    command
        .args(["bench", args[0], "-n", namesrv, "--json"])
        .args(&args[1..]);
    let (code, screen, said) = run(&mut command);
    assert_eq!(code, Some(0), "{said}");
    let report: Value = serde_json::from_str(&screen).unwrap();
    assert_eq!(report["mode"], args[0]);
    assert_eq!(report["errors"], serde_json::json!([]), "{report}");
    report
}

#[test]
fn what_is_sent_is_counted_stored_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&mut standalone(dir.path()));
    let namesrv = server
        .word_after("nameserver")
        .replace("0.0.0.0", "127.0.0.1");

    let sent = bench(
        &namesrv,
        &["produce", "--messages", "1000", "--header", "rocketmq"],
    );
    assert_eq!(sent["messages"], 1000);
    let sent = bench(
        &namesrv,
        &[
            "produce",
            "--messages",
            "1000",
            "--batch",
            "10",
            "--connections",
            "2",
        ],
    );
    assert_eq!(sent["messages"], 1000);
    let sent = bench(
        &namesrv,
        &["produce", "--messages", "100", "--rate", "1000"],
    );
    assert_eq!(sent["messages"], 100);
    // Each run began with a message to each of the four queues.
    let read = bench(&namesrv, &["consume", "--messages", "2500"]);
    let expected = 2100 + 4 * 4;
    let read = read["messages"].as_u64().unwrap();
    assert!(
        (2500..2510).contains(&read),
        "{read} read, {expected} were there"
    );
    let seen = bench(
        &namesrv,
        &["latency", "--messages", "200", "--rate", "2000"],
    );
    assert_eq!((&seen["messages"], &seen["lost"]), (&200.into(), &0.into()));
    for quantile in ["p50", "p99", "p999", "max"] {
        assert!(
            seen["latency_us"][quantile].as_f64().unwrap() > 0.0,
            "{seen}"
        );
    }
    let all_at_once = [
        "latency",
        "--messages",
        "200",
        "--rate",
        "0",
        "--connections",
        "3",
        "--consumers",
        "2",
        "--topic",
        "Shared",
    ];
    let seen = bench(&namesrv, &all_at_once);
    assert_eq!((&seen["messages"], &seen["lost"]), (&200.into(), &0.into()));
    assert!(
        seen["received_per_second"].as_f64().unwrap() > 0.0,
        "{seen}"
    );
    server.stop();

    let (code, screen, said) = run(skylark().args(["store", "verify"]).arg(dir.path()));
    assert_eq!(code, Some(0), "{screen}{said}");
    let (_, screen, _) = run(skylark().args(["store", "queues"]).arg(dir.path()));
    assert_eq!(
        screen
            .lines()
            .filter(|line| line.starts_with("SkylarkBench/"))
            .count(),
        4,
        "{screen}"
    );
}

#[test]
fn nobody_there() {
    let (code, screen, said) = run(skylark().args(["bench", "produce", "--broker", "127.0.0.1:1"]));
    assert_eq!((code, screen.as_str()), (Some(1), ""));
    assert_eq!(
        said,
        "skylark: can't connect to 127.0.0.1:1: Connection refused (os error 111)\n"
    );
}
