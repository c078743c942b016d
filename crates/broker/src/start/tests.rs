//! Starting: what is refused with one line, what comes back after a stop.

use protocol::codes::request::{
    GET_MAX_OFFSET, HEART_BEAT, QUERY_CONSUMER_OFFSET, SEND_MESSAGE_V2, UPDATE_CONSUMER_OFFSET,
};
use store::disk::{CrashKeep, Disk, Fault, FaultError, FaultOn, SimDisk};

use super::StartError;
use crate::config::{Config, Role};
use crate::testing::{self, Fixture};
use crate::{Broker, Running};
use remoting::clock::Clock;

async fn start(change: impl FnOnce(&mut Config)) -> Result<Running, StartError> {
    let mut config = testing::config();
    change(&mut config);
    Broker::start(
        config,
        Disk::Sim(SimDisk::new(1)),
        Clock::manual(testing::NOW_MS),
    )
    .await
}

async fn refused(change: impl FnOnce(&mut Config)) -> String {
    match start(change).await {
        Ok(_) => panic!("it started"),
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains('\n'), "{line}");
            line
        }
    }
}

#[tokio::test]
async fn what_can_not_work_is_explained_in_one_line() {
    let slave = refused(|config| config.role = Role::Slave).await;
    assert!(
        slave.starts_with("brokerRole=SLAVE: this build does not replicate yet"),
        "{slave}"
    );
    let replicas = refused(|config| config.in_sync_replicas = 2).await;
    assert!(
        replicas.starts_with("inSyncReplicas=2: this build does not replicate yet"),
        "{replicas}"
    );
    let address = refused(|config| config.advertised_host = Some("0.0.0.0".into())).await;
    assert!(
        address.starts_with("brokerIP1=0.0.0.0: clients can't connect"),
        "{address}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let fixture = Fixture::start().await;
    let port = fixture.running.addrs()[0].port();
    let line = refused(|config| config.listen_port = port).await;
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    fixture.stop().await;
}

#[tokio::test]
async fn a_store_in_use_is_named() {
    let fixture = Fixture::start().await;
    let second = Broker::start(
        testing::config(),
        Disk::Sim(fixture.sim.clone()),
        fixture.clock.clone(),
    )
    .await;
    let line = second.err().expect("it is locked").to_string();
    assert!(
        line.starts_with("store /store: the store is in use by another process"),
        "{line}"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn unreadable_metadata_is_named() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    disk.create_dir_all("/store/config".as_ref()).unwrap();
    for file in ["topics.json", "topics.json.bak"] {
        disk.replace(
            format!("/store/config/{file}").as_ref(),
            b"{\"topicConfigTable\":{",
        )
        .unwrap();
    }
    let failed = Broker::start(testing::config(), disk, Clock::manual(0)).await;
    let line = failed.err().expect("it can't start").to_string();
    assert!(
        line.starts_with("/store/config/topics.json: JSON, byte"),
        "{line}"
    );
    assert!(
        line.contains("its copy /store/config/topics.json.bak: JSON, byte"),
        "{line}"
    );
}

const OFFSET: [(&str, &str); 4] = [
    ("consumerGroup", "G"),
    ("topic", "Orders"),
    ("queueId", "0"),
    ("commitOffset", "2"),
];

/// Three messages, a group, a committed offset.
async fn work(fixture: &Fixture) {
    let client = fixture.client().await;
    for body in ["a", "b", "c"] {
        testing::send(&client, 0, "t", body).await;
    }
    client
        .ask(HEART_BEAT, &testing::beat("c", "G", "*", 1))
        .await;
    client
        .check(UPDATE_CONSUMER_OFFSET, &OFFSET, "", (0, ""))
        .await;
}

async fn messages(fixture: &Fixture) -> String {
    let client = fixture.client().await;
    let reply = client.check(GET_MAX_OFFSET, &OFFSET, "", (0, "")).await;
    testing::field(&reply, "offset").unwrap()
}

#[tokio::test]
async fn a_restart_brings_everything_back() {
    let fixture = Fixture::start().await;
    work(&fixture).await;
    let sim = fixture.stop().await;
    let fixture = Fixture::on(sim, testing::config()).await;
    assert_eq!(messages(&fixture).await, "3");
    assert_eq!(
        fixture.broker().topic("Orders").unwrap().write_queue_nums,
        4
    );
    assert!(fixture.broker().topic("%RETRY%G").is_some());
    assert!(fixture.broker().groups.state.read().find("G").is_some());
    let client = fixture.client().await;
    let reply = client
        .check(QUERY_CONSUMER_OFFSET, &OFFSET, "", (0, ""))
        .await;
    assert_eq!(testing::field(&reply, "offset").as_deref(), Some("2"));
    drop(client);
    fixture.stop().await;
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_promised() {
    for (sync_flush, keep) in [
        (false, CrashKeep::All),
        (true, CrashKeep::All),
        (true, CrashKeep::None),
        (true, CrashKeep::Random),
    ] {
        let config = || {
            let mut config = testing::config();
            config.store.sync_flush = sync_flush;
            config
        };
        let fixture = Fixture::on(SimDisk::new(5), config()).await;
        work(&fixture).await;
        fixture.broker().save_metadata();
        let after = fixture.sim.crash(keep);
        fixture.stop().await;

        let fixture = Fixture::on(after, config()).await;
        assert_eq!(
            messages(&fixture).await,
            "3",
            "sync flush {sync_flush}, kept {keep:?}"
        );
        assert!(fixture.broker().topic("Orders").is_some());
        assert!(fixture.broker().groups.state.read().find("G").is_some());
        let offsets = fixture
            .broker()
            .offsets
            .state
            .read()
            .committed("G", "Orders", 0);
        assert_eq!(offsets.map(|offset| offset.0), Some(2));
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_slow_topics_file_holds_up_nobody_but_the_first_senders() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    testing::send(&client, 0, "t", "x").await;
    let (holding, held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let broker = fixture.running.broker().clone();
    let slow = std::thread::spawn(move || {
        let _topics = broker.topics.file.hold_up();
        let _groups = broker.groups.file.hold_up();
        holding.send(()).unwrap();
        released.recv().unwrap();
    });
    held.recv().unwrap();

    let names: Vec<String> = (0..100).map(|number| format!("New{number}")).collect();
    let timeout = std::time::Duration::from_secs(20);
    let sends = names.iter().map(|name| {
        let fields = [("a", "g"), ("b", name), ("c", "TBW102"), ("d", "4")];
        let rest = [("e", "0"), ("f", "0"), ("g", "1700000000000"), ("h", "0")];
        let fields: Vec<_> = fields.into_iter().chain(rest).collect();
        let header = testing::Raw(&fields);
        client
            .connection
            .call(SEND_MESSAGE_V2, &header, b"x".to_vec(), timeout)
    });
    let mut sends: Vec<_> = sends.map(Box::pin).collect();
    let other = fixture.client().await;
    let beat = testing::beat("c", "G", "*", 1);
    assert_eq!(other.ask(HEART_BEAT, &beat).await.code, 0);
    testing::send(&other, 0, "t", "y").await;
    tokio::select! {
        biased;
        _ = &mut sends[0] => panic!("answered, and its topic is not saved"),
        () = std::future::ready(()) => {}
    }

    // Two renames a save: what came while the file was held up is written together.
    fixture.sim.fail(Fault {
        on: FaultOn::Rename,
        path: "topics.json".into(),
        after: 4,
        error: FaultError::Io,
        sticky: true,
    });
    release.send(()).unwrap();
    slow.join().unwrap();
    for send in sends {
        assert_eq!(send.await.unwrap().code, 0);
    }
    let killed = fixture.sim.crash(CrashKeep::All);
    fixture.sim.heal();
    fixture.stop().await;
    let fixture = Fixture::on(killed, testing::config()).await;
    for name in names {
        assert!(fixture.broker().topic(&name).is_some(), "{name}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn offsets_beyond_what_a_power_cut_left_go_back_to_it() {
    let by_hand = std::time::Duration::from_secs(3_600);
    let fixture = Fixture::with(|config| config.flush_interval = by_hand).await;
    work(&fixture).await;
    let broker = fixture.broker();
    broker.flush();
    let client = fixture.client().await;
    testing::send(&client, 0, "t", "d").await;
    testing::send(&client, 1, "t", "e").await;
    for (queue_id, offset) in [("0", "4"), ("1", "1")] {
        let offset = [
            OFFSET[0],
            OFFSET[1],
            ("queueId", queue_id),
            ("commitOffset", offset),
        ];
        let done = client.check(UPDATE_CONSUMER_OFFSET, &offset, "", (0, ""));
        done.await;
    }
    // As Apache's broker saves them: Skylark's flushes the log first.
    broker.offsets.file.save_changes(|_| {
        let offsets = broker.offsets.state.read();
        Some((offsets.commits(), offsets.snapshot().to_table()))
    });
    let after = fixture.sim.crash(CrashKeep::None);
    fixture.stop().await;

    let fixture = Fixture::on(after, testing::config()).await;
    assert_eq!(messages(&fixture).await, "3", "two were not flushed");
    for (queue_id, expected) in [(0, 3), (1, 0)] {
        let offsets = fixture.broker().offsets.state.read();
        let offset = offsets.committed("G", "Orders", queue_id);
        assert_eq!(offset.map(|offset| offset.0), Some(expected), "{queue_id}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn a_master_has_id_0_and_files_may_be_anywhere() {
    let fixture = Fixture::with(|config| {
        config.broker_id = 3;
        config.store.checkpoint_path = "/elsewhere/checkpoint".into();
        config.store.abort_path = "/somewhere/abort".into();
    })
    .await;
    assert_eq!(fixture.broker().identity.broker_id, 0);
    fixture.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_index() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker();
    let held = std::sync::Arc::strong_count(&broker.index_bell);
    broker.index_bell.stop();
    while std::sync::Arc::strong_count(&broker.index_bell) == held {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let client = fixture.client().await;
    for _ in 0..12 {
        testing::send(&client, 0, "t", &"x".repeat(1 << 20)).await;
    }
    broker.index(&mut false);
    let more = broker.store.build_index(broker.local_time());
    assert!(more.unwrap(), "it did one step only");
    fixture.stop().await;
}

#[tokio::test]
async fn a_topic_that_can_not_be_saved_is_told() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    fixture.sim.fail(Fault {
        on: FaultOn::Write,
        path: "topics.json".into(),
        after: 0,
        error: FaultError::NoSpace,
        sticky: true,
    });
    let fields = [("a", "g"), ("b", "Orders"), ("c", "TBW102"), ("d", "4")];
    let rest = [("e", "0"), ("f", "0"), ("g", "1700000000000"), ("h", "0")];
    let fields: Vec<_> = fields.into_iter().chain(rest).collect();
    for _ in 0..2 {
        client.check(SEND_MESSAGE_V2, &fields, "x", (10, "")).await;
    }
    fixture.sim.heal();
    fixture.broker().save_metadata();
    client.check(SEND_MESSAGE_V2, &fields, "x", (0, "")).await;
    fixture.stop().await;
}

#[tokio::test]
async fn metadata_files_are_written_as_apache_writes_them() {
    let fixture = Fixture::start().await;
    work(&fixture).await;
    let sim = fixture.stop().await;
    let disk = Disk::Sim(sim);
    let read = |name: &str| {
        String::from_utf8(disk.read(format!("/store/config/{name}").as_ref()).unwrap()).unwrap()
    };
    expect_test::expect![[r#"
        {
        	"dataVersion":{
        		"counter":0,
        		"stateVersion":0,
        		"timestamp":0
        	},
        	"offsetTable":{
        		"Orders@G":{0:2
        		}
        	}
        }"#]]
    .assert_eq(&read("consumerOffset.json"));
    let topics = read("topics.json");
    let orders = topics.find("\t\t\"Orders\"").unwrap();
    let end = orders + topics[orders..].find("\t\t},").unwrap();
    expect_test::expect![[r#"
        "Orders":{
        			"attributes":{},
        			"order":false,
        			"perm":6,
        			"readQueueNums":4,
        			"topicFilterType":"SINGLE_TAG",
        			"topicName":"Orders",
        			"topicSysFlag":0,
        			"writeQueueNums":4
    "#]]
    .assert_eq(topics[orders..end].trim_start());
    let groups = read("subscriptionGroup.json");
    let group = groups.find("\t\t\"G\"").unwrap();
    let end = group + groups[group..].find("\n\t\t},").unwrap();
    expect_test::expect![[r#"
        "G":{
        			"attributes":{},
        			"brokerId":0,
        			"consumeBroadcastEnable":true,
        			"consumeEnable":true,
        			"consumeFromMinEnable":true,
        			"consumeMessageOrderly":false,
        			"consumeTimeoutMinute":15,
        			"groupName":"G",
        			"groupRetryPolicy":{
        				"type":"CUSTOMIZED"
        			},
        			"groupSysFlag":0,
        			"notifyConsumerIdsChangedEnable":true,
        			"retryMaxTimes":16,
        			"retryQueueNums":1,
        			"whichBrokerWhenConsumeSlowly":1"#]]
    .assert_eq(groups[group..end].trim_start());
}
