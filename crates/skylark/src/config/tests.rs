//! Files with all their oddities, and what is said about them.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

fn check(program: Program, options: &mut dyn OptionSet, text: &str, expect: Expect) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    std::fs::write(&file, text).unwrap();
    let mut said = String::new();
    match load(&file, program, options) {
        Ok(remarks) => remarks
            .iter()
            .for_each(|remark| writeln!(said, "{}", remark.text).unwrap()),
        Err(error) => writeln!(said, "error: {error:#}").unwrap(),
    }
    expect.assert_eq(&said.replace(dir.path().to_str().unwrap(), "DIR"));
}

fn check_broker(text: &str, expect: Expect) {
    check(
        Program::Broker,
        &mut broker::Options::default(),
        text,
        expect,
    );
}

#[test]
fn what_is_clear_is_taken_and_noted() {
    check_broker(
        "brokerName = b\nlistenport=10911\nflushDiskType=SYNC_fLUSH\nmapedFileSizeCommitLog=1048576\n",
        expect![[r#"
            DIR/broker.conf:2: listenport is taken for listenPort
            DIR/broker.conf:3: flushDiskType=SYNC_fLUSH is taken for SYNC_FLUSH
            DIR/broker.conf:4: mapedFileSizeCommitLog is taken for mappedFileSizeCommitLog
        "#]],
    );
}

#[test]
fn keys_without_effect_and_keys_nobody_knows() {
    check_broker(
        "# comment\nsendMessageThreadPoolNums=4\n\nflushDiskTyp=SYNC_FLUSH\nsomethingElse=1\nbrokerName=a\nbrokerName=b\n",
        expect![[r#"
            DIR/broker.conf:2: sendMessageThreadPoolNums has no effect in Skylark
            DIR/broker.conf:4: unknown key flushDiskTyp, ignored; did you mean flushDiskType?
            DIR/broker.conf:5: unknown key somethingElse, ignored
            DIR/broker.conf:7: brokerName was given in line 6 already, this one holds
        "#]],
    );
    check(
        Program::Namesrv,
        &mut namesrv::Config::default(),
        "listenPort=9876\nserverWorkerThreads=8\nbrokerName=x\n",
        expect![[r#"
            DIR/broker.conf:2: serverWorkerThreads has no effect in Skylark
            DIR/broker.conf:3: unknown key brokerName, ignored
        "#]],
    );
}

#[test]
fn what_is_not_clear_stops_the_start() {
    check_broker(
        "listenPort=1091l\n",
        expect![[r#"
        error: DIR/broker.conf:1: listenPort=1091l, expected an integer from 0 to 65535
    "#]],
    );
    check_broker(
        "\nflushDiskType=SYNC\n",
        expect![[r#"
        error: DIR/broker.conf:2: flushDiskType=SYNC, expected SYNC_FLUSH or ASYNC_FLUSH
    "#]],
    );
    check_broker(
        "autoCreateTopicEnable=yes",
        expect![[r#"
        error: DIR/broker.conf:1: autoCreateTopicEnable=yes, expected true or false
    "#]],
    );
    check_broker(
        "brokerName=\\u12\n",
        expect![[r#"
        error: DIR/broker.conf: line 1: \u without four hex digits
    "#]],
    );
}

#[test]
fn what_would_promise_too_much_is_refused() {
    check_broker(
        "brokerName=a\nauthenticationEnabled = TRUE\n",
        expect![[r#"
            error: DIR/broker.conf:2: authenticationEnabled=TRUE: authentication is not there yet, and the broker would serve everybody; leave the key out to start without
        "#]],
    );
    check_broker(
        "authenticationEnabled=false\n",
        expect![[r#"
        DIR/broker.conf:1: authenticationEnabled has no effect in Skylark
    "#]],
    );
}

#[test]
fn a_closed_installation_does_not_become_an_open_one() {
    check_broker(
        "aclEnable=true\n",
        expect![[r#"
            error: DIR/broker.conf:1: aclEnable=true: access control is not there yet, and the broker would serve everybody; leave the key out to start without
        "#]],
    );
    check_broker(
        "useTLS=true\n",
        expect![[r#"
        error: DIR/broker.conf:1: useTLS=true: TLS is not there yet, and what is sent could be read on its way; leave the key out to start without
    "#]],
    );
    check_broker(
        "messageStorePlugIn=org.apache.rocketmq.tieredstore.TieredMessageStore\n",
        expect![[r#"
            error: DIR/broker.conf:1: messageStorePlugIn=org.apache.rocketmq.tieredstore.TieredMessageStore: plug-ins can't be loaded, and messages would be kept in the usual files only; leave the key out to start without
        "#]],
    );
    check(
        Program::Namesrv,
        &mut namesrv::Config::default(),
        "enableControllerInNamesrv=true\n",
        expect![[r#"
            error: DIR/broker.conf:1: enableControllerInNamesrv=true: the controller is not there yet, and nobody would elect masters; leave the key out to start without
        "#]],
    );
    check_broker(
        "aclEnable=false\nmessageStorePlugIn=\nuseTLS=False\n",
        expect![[r#"
            DIR/broker.conf:1: aclEnable has no effect in Skylark
            DIR/broker.conf:2: messageStorePlugIn has no effect in Skylark
            DIR/broker.conf:3: useTLS has no effect in Skylark
        "#]],
    );
}

#[test]
fn what_is_not_done_is_a_warning() {
    check_broker(
        "enableSlaveActingMaster=true\nrejectPullConsumerEnable = TRUE\nminInSyncReplicas=2\nmetricsExporterType=PROM\nenableLmq=false\nminInSyncReplicas=1\n",
        expect![[r#"
            DIR/broker.conf:1: enableSlaveActingMaster=true: there is no replication yet, no slave acts for its master
            DIR/broker.conf:2: rejectPullConsumerEnable=TRUE: pull consumers are served all the same
            DIR/broker.conf:3: minInSyncReplicas=2: there is no replication yet, this broker alone acknowledges a message
            DIR/broker.conf:4: metricsExporterType=PROM: metrics are not exported yet
            DIR/broker.conf:5: enableLmq has no effect in Skylark
            DIR/broker.conf:6: minInSyncReplicas has no effect in Skylark
        "#]],
    );
}

#[test]
fn a_store_may_be_looked_into_whatever_its_broker_promised() {
    check(
        Program::Store,
        &mut broker::Options::default(),
        "aclEnable=true\nenableSlaveActingMaster=true\n",
        expect![[r#"
            DIR/broker.conf:1: aclEnable has no effect in Skylark
            DIR/broker.conf:2: enableSlaveActingMaster has no effect in Skylark
        "#]],
    );
}

#[test]
fn a_file_that_is_not_there() {
    let error = load(
        Path::new("/no/such.conf"),
        Program::Broker,
        &mut broker::Options::default(),
    );
    let error = format!("{:#}", error.unwrap_err());
    expect!["can't read the configuration: /no/such.conf: No such file or directory (os error 2)"]
        .assert_eq(&error);
}

#[test]
fn arguments_are_checked_like_values() {
    let mut options = broker::Options::default();
    set(&mut options, "namesrvAddr", "a:9876;b:9876", "-n").unwrap();
    assert_eq!(options.nameservers.0, ["a:9876", "b:9876"]);
    let error = set(&mut options, "namesrvAddr", "nonsense", "-n").unwrap_err();
    expect!["-n=nonsense: expected host:port, several of them separated by ;"]
        .assert_eq(&error.to_string());
}

#[test]
fn important_options() {
    expect![[r#"
        brokerClusterName=DefaultCluster
        brokerName=
        brokerId=0
        brokerRole=ASYNC_MASTER
        inSyncReplicas=1
        brokerIP1=
        listenPort=10911
        namesrvAddr=
        autoCreateTopicEnable=true
        autoCreateSubscriptionGroup=true
        traceTopicEnable=false
        msgTraceTopicName=RMQ_SYS_TRACE_TOPIC
        rejectTransactionMessage=false
        transactionTimeOut=6000
        transactionCheckInterval=30000
        transactionCheckMax=15
        maxTransferBytesOnMessageInMemory=262144
        maxTransferCountOnMessageInMemory=32
        maxTransferBytesOnMessageInDisk=65536
        maxTransferCountOnMessageInDisk=8
        flushDiskType=ASYNC_FLUSH
        flushIntervalCommitLog=500
        storePathRootDir=
        storePathCommitLog=
        messageIndexEnable=true
        fileReservedTime=72
        deleteWhen=04
        cleanFileForciblyEnable=true
        deleteFileBatchMax=10
        storeType=default
    "#]]
    .assert_eq(&print(&broker::Options::default(), true));
}
