//! Registration with nameservers that are there, are not, and come back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::bodies::{DataVersion, RegisterBrokerBody, TopicConfig, TopicRoute};
use protocol::codes::request::{
    QUERY_DATA_VERSION, REGISTER_BROKER, REGISTER_TOPIC_IN_NAMESRV, UNREGISTER_BROKER,
};
use protocol::command::NoHeader;
use protocol::fastjson;
use protocol::headers::nameserver::{QueryDataVersionResponse, RegisterBroker, RegisterTopic};
use protocol::record::crc31;
use remoting::{Body, Limits, Peer, Request, Server, Service};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::{Link, encode};
use crate::limits;
use crate::testing::{Fixture, send};

/// What a nameserver heard.
#[derive(Debug)]
enum Heard {
    Registered {
        addr: String,
        topics: Vec<String>,
    },
    /// One topic, and its queues and permissions.
    Topic(String, i32, i32),
    /// A sign of life.
    Version(DataVersion),
    Unregistered,
}

struct Nameserver {
    addr: SocketAddr,
    heard: mpsc::Receiver<Heard>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

struct Ear {
    said: mpsc::Sender<Heard>,
    answer: Mutex<Vec<u8>>,
    /// What it answers to single topics.
    topic_code: i32,
    /// Of the last registration.
    version: Mutex<Option<DataVersion>>,
}

impl Service for Ear {
    fn handle(&self, _: &Arc<Peer>, requests: Vec<Request>) {
        for request in requests {
            let heard = match request.code {
                REGISTER_BROKER => {
                    let header: RegisterBroker<'_> = request.header().unwrap();
                    assert_eq!(
                        (header.broker_name.to_str().as_ref(), header.broker_id),
                        ("broker-a", 0)
                    );
                    assert_eq!(header.body_crc32, crc31(request.body()) as i32);
                    let body = match header.compressed {
                        false => RegisterBrokerBody::decode(request.body()),
                        true => {
                            RegisterBrokerBody::decode_compressed(request.body(), request.version)
                        }
                    };
                    let body = body.unwrap();
                    *self.version.lock() = Some(body.topic_config_serialize_wrapper.data_version);
                    let topics = body
                        .topic_config_serialize_wrapper
                        .topic_config_table
                        .into_keys()
                        .collect();
                    Heard::Registered {
                        addr: header.broker_addr.to_str().into_owned(),
                        topics,
                    }
                }
                REGISTER_TOPIC_IN_NAMESRV => {
                    let header: RegisterTopic<'_> = request.header().unwrap();
                    let route: TopicRoute = fastjson::from_slice(request.body()).unwrap();
                    let [queue] = &route.queue_datas[..] else {
                        panic!("{route:?}")
                    };
                    assert_eq!(queue.broker_name, "broker-a");
                    Heard::Topic(
                        header.topic.to_str().into_owned(),
                        queue.write_queue_nums,
                        queue.perm,
                    )
                }
                QUERY_DATA_VERSION => {
                    let theirs = fastjson::from_slice(request.body()).unwrap();
                    let changed = *self.version.lock() != Some(theirs);
                    self.said.try_send(Heard::Version(theirs)).unwrap();
                    request.reply(0, None, &QueryDataVersionResponse { changed }, Body::None);
                    continue;
                }
                UNREGISTER_BROKER => Heard::Unregistered,
                other => panic!("code {other}"),
            };
            let code = match heard {
                Heard::Topic(..) => self.topic_code,
                _ => 0,
            };
            self.said.try_send(heard).unwrap();
            let answer = self.answer.lock().clone();
            request.reply(
                code,
                None,
                &NoHeader,
                if answer.is_empty() {
                    Body::None
                } else {
                    answer.into()
                },
            );
        }
    }

    fn closed(&self, _: &Arc<Peer>) {}
}

impl Nameserver {
    fn start(addr: SocketAddr, answer: &str) -> Nameserver {
        Nameserver::answering(addr, answer, 0)
    }

    fn answering(addr: SocketAddr, answer: &str, topic_code: i32) -> Nameserver {
        let server = Server::bind(&[addr], Limits::default()).unwrap();
        let addr = server.local_addrs()[0];
        let (said, heard) = mpsc::channel(1_000);
        let (stop, stopped) = oneshot::channel::<()>();
        let ear = Arc::new(Ear {
            said,
            answer: Mutex::new(answer.as_bytes().to_vec()),
            topic_code,
            version: Mutex::default(),
        });
        let task = tokio::spawn(server.run(ear, async {
            let _ = stopped.await;
        }));
        Nameserver {
            addr,
            heard,
            stop,
            task,
        }
    }

    async fn next(&mut self) -> Heard {
        let heard = tokio::time::timeout(Duration::from_secs(20), self.heard.recv()).await;
        heard
            .expect("a request in time")
            .expect("the nameserver runs")
    }

    /// The topics of the next registration.
    async fn topics(&mut self) -> Vec<String> {
        match self.next().await {
            Heard::Registered { topics, .. } => topics,
            other => panic!("{other:?}"),
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn broker_with(nameservers: &[&Nameserver], period: Duration) -> Fixture {
    let addrs: Vec<String> = nameservers
        .iter()
        .map(|nameserver| format!("localhost:{}", nameserver.addr.port()))
        .collect();
    Fixture::with(|config| {
        config.nameservers = addrs;
        config.register_period = period;
    })
    .await
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn every_nameserver_hears_of_the_broker_its_topics_and_its_end() {
    let (mut one, mut two) = (
        Nameserver::start(anywhere(), ""),
        Nameserver::start(anywhere(), ""),
    );
    let fixture = broker_with(&[&one, &two], HOUR).await;
    for nameserver in [&mut one, &mut two] {
        let Heard::Registered { addr, topics } = nameserver.next().await else {
            panic!("not registered")
        };
        assert_eq!(addr, fixture.running.advertised());
        assert!(topics.contains(&"TBW102".to_owned()));
    }
    let client = fixture.client().await;
    send(&client, 0, "t", "x").await;
    for nameserver in [&mut one, &mut two] {
        let heard = nameserver
            .heard
            .try_recv()
            .expect("told before the producer was answered");
        assert!(
            matches!(heard, Heard::Registered { topics, .. } if topics.contains(&"Orders".to_owned()))
        );
    }
    send(&client, 0, "t", "x").await;
    drop(client);
    fixture.stop().await;
    for mut nameserver in [one, two] {
        assert!(
            matches!(nameserver.next().await, Heard::Unregistered),
            "nothing new to tell before the end"
        );
        nameserver.stop().await;
    }
}

#[tokio::test]
async fn one_that_is_down_is_tried_until_it_is_there_and_nobody_waits_for_it() {
    let down = Nameserver::start(anywhere(), "");
    let addr = down.addr;
    let mut up = Nameserver::start(anywhere(), "");
    let fixture = broker_with(&[&down, &up], Duration::from_millis(20)).await;
    down.stop().await;
    up.topics().await;
    let client = fixture.client().await;
    send(&client, 0, "t", "x").await;

    let mut back = Nameserver::start(addr, "");
    assert!(back.topics().await.contains(&"Orders".to_owned()));
    assert!(
        back.topics().await.contains(&"Orders".to_owned()),
        "again after each period"
    );
    drop(client);
    fixture.stop().await;
    back.stop().await;
    up.stop().await;
}

#[tokio::test]
async fn a_nameserver_says_which_topics_are_ordered() {
    let mut nameserver =
        Nameserver::start(anywhere(), r#"{"table":{"BenchmarkTest":"broker-a:4"}}"#);
    let fixture = broker_with(&[&nameserver], HOUR).await;
    nameserver.topics().await;
    nameserver.topics().await;
    assert!(fixture.broker().topic("BenchmarkTest").unwrap().order);
    fixture.stop().await;
    nameserver.stop().await;
}

/// As many topics as there may be, with the longest names, no two alike.
fn full() -> RegisterBrokerBody {
    let mut registration = RegisterBrokerBody::default();
    let wrapper = &mut registration.topic_config_serialize_wrapper;
    for number in 0..limits::TOPICS_MAX as u64 {
        let noise = |part: u64| (number * 4 + part).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let name: String = (0..8).map(|part| format!("{:016x}", noise(part))).collect();
        let config = TopicConfig {
            topic_name: name[..limits::TOPIC_NAME_MAX].to_owned(),
            ..TopicConfig::default()
        };
        let table = &mut wrapper.topic_config_table;
        table.insert(config.topic_name.clone(), config);
    }
    registration
}

#[test]
fn as_many_topics_as_there_may_be_fit_a_registration() {
    let registration = full();
    let encoded = encode(&registration, limits::REGISTRATION_BYTES_MAX).unwrap();
    assert!(encoded.compressed);
    let decoded = RegisterBrokerBody::decode_compressed(&encoded.body, 479).unwrap();
    assert_eq!(decoded, registration);
    let limit = encoded.body.len() - 1;
    let error = encode(&registration, limit).err().unwrap().to_string();
    assert!(
        error.starts_with("the registration of 110000 topics takes")
            && error.contains(&format!("a frame holds {limit}")),
        "{error}"
    );
}

/// Makes them behind the back of the nameservers.
fn make_topics(fixture: &Fixture, count: usize) {
    let mut topics = fixture.broker().topics.state.write();
    for number in 0..count {
        let created = topics.create(&format!("Topic{number}"), 8, false, 0, 0);
        created.unwrap();
    }
}

/// Makes one and says so.
fn make_topic(fixture: &Fixture, name: &str) {
    let broker = fixture.broker();
    let mut topics = broker.topics.state.write();
    topics.create(name, 8, false, 0, 0).unwrap();
    drop(topics);
    broker.topics_changed();
}

#[tokio::test]
async fn many_topics_are_told_compressed() {
    let mut nameserver = Nameserver::start(anywhere(), "");
    let fixture = broker_with(&[&nameserver], HOUR).await;
    nameserver.topics().await;
    make_topics(&fixture, 10_000);
    fixture.broker().topics_changed();
    assert!(nameserver.topics().await.len() > 10_000);
    fixture.stop().await;
    nameserver.stop().await;
}

#[tokio::test]
async fn of_many_topics_those_that_changed_are_told_one_by_one() {
    let mut nameserver = Nameserver::start(anywhere(), "");
    let fixture = broker_with(&[&nameserver], HOUR).await;
    nameserver.topics().await;
    make_topics(&fixture, 2_000);
    fixture.broker().topics_changed();
    assert!(nameserver.topics().await.len() > 2_000);
    let client = fixture.client().await;
    send(&client, 0, "t", "x").await;
    let heard = nameserver.heard.try_recv();
    let heard = heard.expect("told before the producer was answered");
    assert!(
        matches!(&heard, Heard::Topic(topic, 4, 6) if topic == "Orders"),
        "{heard:?}"
    );
    drop(client);
    fixture.stop().await;
    let heard = nameserver.next().await;
    assert!(matches!(heard, Heard::Unregistered), "once: {heard:?}");
    nameserver.stop().await;
}

/// A nameserver that takes no single topics is told all at once instead, and not asked again while it stays connected.
#[tokio::test]
async fn a_nameserver_that_refuses_single_topics_is_told_all() {
    let mut nameserver = Nameserver::answering(anywhere(), "", 3);
    let fixture = broker_with(&[&nameserver], HOUR).await;
    nameserver.topics().await;
    make_topics(&fixture, 2_000);
    fixture.broker().topics_changed();
    assert!(nameserver.topics().await.len() > 2_000);
    let client = fixture.client().await;
    send(&client, 0, "t", "x").await;
    let heard = [(); 2].map(|()| nameserver.heard.try_recv());
    assert!(
        matches!(
            &heard,
            [Ok(Heard::Topic(topic, ..)), Ok(Heard::Registered { topics, .. })]
                if topic == "Orders" && topics.contains(topic)
        ),
        "told before the producer was answered"
    );
    for name in ["Second", "Third"] {
        make_topic(&fixture, name);
        assert!(nameserver.topics().await.contains(&name.to_owned()));
    }
    drop(client);
    fixture.stop().await;
    nameserver.stop().await;
}

/// It may be another one then.
#[tokio::test]
async fn single_topics_are_tried_again_over_another_connection() {
    let mut nameserver = Nameserver::answering(anywhere(), "", 3);
    let fixture = Fixture::start().await;
    make_topics(&fixture, 2_000);
    let (broker, addr) = (fixture.running.broker(), nameserver.addr.to_string());
    let mut link = Link::new(&addr);
    for refused in ["First", "Second"] {
        link.tell_changes(broker).await.unwrap();
        nameserver.topics().await;
        make_topic(&fixture, refused);
        link.tell_changes(broker).await.unwrap();
        let heard = nameserver.next().await;
        assert!(
            matches!(&heard, Heard::Topic(topic, ..) if topic == refused),
            "{heard:?}"
        );
        assert!(nameserver.topics().await.contains(&refused.to_owned()));
        link.connection = None;
    }
    fixture.stop().await;
    nameserver.stop().await;
}

/// The version is a sign of life. A nameserver that has another one, because it is new or because topics came one by one,
/// is told all; so is one whose connection was lost.
#[tokio::test]
async fn of_many_topics_the_version_is_told_while_it_is_the_same() {
    let mut nameserver = Nameserver::start(anywhere(), "");
    let addr = nameserver.addr;
    let fixture = broker_with(&[&nameserver], Duration::from_millis(50)).await;
    make_topics(&fixture, 2_000);
    while nameserver.topics().await.len() < 2_000 {}
    let version = fixture.broker().topics.state.read().version();
    for _ in 0..3 {
        let heard = nameserver.next().await;
        assert!(
            matches!(heard, Heard::Version(told) if told == version),
            "{heard:?}"
        );
    }
    let client = fixture.client().await;
    send(&client, 0, "t", "x").await;
    loop {
        match nameserver.next().await {
            Heard::Registered { topics, .. } => {
                assert!(topics.contains(&"Orders".to_owned()));
                break;
            }
            Heard::Topic(topic, ..) => assert_eq!(topic, "Orders"),
            Heard::Version(told) => assert_eq!(told, version),
            Heard::Unregistered => panic!("unregistered"),
        }
    }
    nameserver.stop().await;
    let mut back = Nameserver::start(addr, "");
    let heard = back.next().await;
    assert!(
        matches!(&heard, Heard::Registered { topics, .. } if topics.len() > 2_000),
        "{heard:?}"
    );
    drop(client);
    fixture.stop().await;
    back.stop().await;
}
