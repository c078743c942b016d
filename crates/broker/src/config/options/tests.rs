//! Configuration files: a handbook's, the defaults, and what they refuse.

use std::path::Path;

use protocol::options::{Note, OptionSet, apply, parse};

use super::{Options, OptionsError};
use crate::{Config, Role};

fn load(text: &str) -> Result<(Options, Vec<String>), String> {
    let entries = parse(text.as_bytes()).map_err(|error| error.to_string())?;
    let mut options = Options::default();
    let notes = apply("broker.conf", &entries, &mut [&mut options], &[])
        .map_err(|error| error.to_string())?;
    Ok((options, notes.iter().map(Note::to_string).collect()))
}

fn config(text: &str) -> Config {
    load(text)
        .unwrap()
        .0
        .config(Path::new("/home/user/store"))
        .unwrap()
}

/// Two masters and two slaves, as handbooks copy it, oddities and all.
const HANDBOOK: &str = "brokerClusterName=rocketmq-cluster
brokerName=broker-a
brokerId=0
namesrvAddr=rocketmq-nameserver1:9876;rocketmq-nameserver2:9876
defaultTopicQueueNums=4
autoCreateTopicEnable=true
autoCreateSubscriptionGroup=true
listenPort=10911
deletewhen=04
fileReservedTime=120
mapedFileSizeCommitLog=1073741824
mapedFileSizeConsumeQueue=300000
diskMaxUsedSpaceRatio=88
storePathRootDir=/rocketmq/store
storePathCommitLog=/rocketmq/store/commitlog
storePathConsumeQueue=/rocketmq/store/consumequeue
storePathIndex=/rocketmq/store/index
storeCheckpoint=/rocketmq/store/checkpoint
abortFile=/rocketmq/store/abort
maxMessageSize= 65536
brokerRole=SYNC_MASTER
flushDiskType=SYNC_fLUSH
";

#[test]
fn a_handbooks_file_means_what_it_says() {
    let (options, notes) = load(HANDBOOK).unwrap();
    expect_test::expect![[r#"
        broker.conf:9: deletewhen is taken for deleteWhen
        broker.conf:11: mapedFileSizeCommitLog is taken for mappedFileSizeCommitLog
        broker.conf:12: mapedFileSizeConsumeQueue is taken for mappedFileSizeConsumeQueue
        broker.conf:22: flushDiskType=SYNC_fLUSH is taken for SYNC_FLUSH"#]]
    .assert_eq(&notes.join("\n"));

    let config = options.config(Path::new("/elsewhere")).unwrap();
    assert_eq!(
        (config.cluster.as_str(), config.broker_name.as_str()),
        ("rocketmq-cluster", "broker-a")
    );
    assert_eq!(
        config.nameservers,
        ["rocketmq-nameserver1:9876", "rocketmq-nameserver2:9876"]
    );
    assert_eq!(
        (
            config.default_topic_queues,
            config.message_bytes_max,
            config.role
        ),
        (4, 65_536, Role::SyncMaster)
    );
    assert_eq!(
        (
            config.store.retention.file_reserved_hours,
            config.store.retention.disk_max_used_ratio
        ),
        (120, 88)
    );
    assert_eq!(
        config.store.queue_dir,
        Path::new("/rocketmq/store/consumequeue")
    );
    assert_eq!(
        (config.store.log_file_bytes, config.store.queue_file_bytes),
        (1 << 30, 300_000)
    );
    assert!(config.store.sync_flush);
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = config("");
    let defaults = Config::new("/home/user/store");
    assert_eq!(
        format!("{config:?}"),
        format!("{defaults:?}"),
        "declared defaults and those in code are the same"
    );
    assert!(!defaults.broker_name.is_empty());
}

#[test]
fn values_are_kept_within_bounds() {
    assert_eq!(
        config("registerNameServerPeriod=1")
            .register_period
            .as_secs(),
        10
    );
    assert_eq!(
        config("registerNameServerPeriod=100000")
            .register_period
            .as_secs(),
        60
    );
    assert_eq!(
        config("mappedFileSizeConsumeQueue=999")
            .store
            .queue_file_bytes,
        1_000
    );
    assert_eq!(
        config("traceTopicEnable=true").trace_topic.as_deref(),
        Some("RMQ_SYS_TRACE_TOPIC")
    );
    assert_eq!(config("namesrvAddr=a:1; b:2 ;").nameservers, ["a:1", "b:2"]);
}

#[test]
fn what_can_not_be_is_refused_with_its_place() {
    for (text, expected) in [
        (
            "\nflushDiskType=SYNC",
            "broker.conf:2: flushDiskType=SYNC, expected SYNC_FLUSH or ASYNC_FLUSH",
        ),
        (
            "brokerRole=MASTER",
            "broker.conf:1: brokerRole=MASTER, expected ASYNC_MASTER or SYNC_MASTER or SLAVE",
        ),
        (
            "listenPort=70000",
            "broker.conf:1: listenPort=70000, expected an integer from 0 to 65535",
        ),
        (
            "maxMessageSize=4M",
            "broker.conf:1: maxMessageSize=4M, expected an integer from 1 to 2147483647",
        ),
        (
            "deleteWhen=24",
            "broker.conf:1: deleteWhen=24, expected hours from 00 to 23, separated by ;",
        ),
        (
            "namesrvAddr=host",
            "broker.conf:1: namesrvAddr=host, expected host:port, several of them separated by ;",
        ),
        (
            "bindAddress=here",
            "broker.conf:1: bindAddress=here, expected an IP address",
        ),
    ] {
        assert_eq!(load(text).map(|_| ()), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn what_is_not_there_yet_does_not_start() {
    for (text, expected) in [
        (
            "enableControllerMode=true",
            "enableControllerMode=true: the controller is not there yet",
        ),
        (
            "enableDLegerCommitLog=true",
            "enableDLegerCommitLog=true: the replicated commit log is not there yet",
        ),
        (
            "storeType=defaultRocksDB",
            "storeType=defaultRocksDB: other engines than the default one are not there yet",
        ),
        (
            "storePathCommitLog=/a,/b",
            "storePathCommitLog=/a,/b: a commit log in several directories is not there yet",
        ),
    ] {
        let error: OptionsError = load(text)
            .unwrap()
            .0
            .config(Path::new("/store"))
            .unwrap_err();
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn a_message_size_that_fits_no_log_file_is_told_but_starts_as_on_apache() {
    assert_eq!(config("").doubt(), None);
    assert_eq!(
        config("maxMessageSize=1048568\nmappedFileSizeCommitLog=1048576").doubt(),
        None
    );
    let doubt = config("mappedFileSizeCommitLog=1048576").doubt().unwrap();
    assert!(
        doubt.starts_with("maxMessageSize=4194304 is more than a file of the log holds (mappedFileSizeCommitLog=1048576): a message"),
        "{doubt}"
    );
}

#[test]
fn every_option_has_words_and_no_two_share_a_name() {
    let options = Options::default();
    let mut names = Vec::new();
    for option in options.declared() {
        assert!(option.doc.trim().ends_with('.'), "{}", option.key);
        names.extend(
            option
                .aliases
                .iter()
                .chain([&option.key])
                .map(|name| name.to_ascii_lowercase()),
        );
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn delay_levels_are_counted_from_the_first() {
    let config = config("messageDelayLevel= 0s 30s  5m 2h 1d\n");
    assert_eq!(
        config.store.delay_levels_ms,
        [0, 30_000, 300_000, 7_200_000, 86_400_000]
    );
    let many = "1s ".repeat(65);
    for bad in [
        "1",
        "1x",
        "s",
        "-1s",
        "1s,2s",
        "1.5s",
        "99999999999s",
        &many,
    ] {
        let error = load(&format!("messageDelayLevel={bad}\n")).unwrap_err();
        assert!(error.contains("delays like 30s"), "{bad}: {error}");
    }
    let default = Options::default().config(Path::new("/x")).unwrap();
    assert_eq!(default.store.delay_levels_ms.len(), 18);
    assert_eq!(default.delay_offsets_interval.as_millis(), 100);
}
