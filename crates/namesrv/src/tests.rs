//! Requests and answers over real sockets, with a clock that is turned by hand.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::BytesMut;
use expect_test::{Expect, expect};
use parking_lot::Mutex;
use protocol::bodies::{RegisterBrokerBody, TopicConfig};
use protocol::command::{
    CommandOut, FieldSink, Fields, Header, HeaderError, VERSION, encode_command,
};
use protocol::frame::{Codec, split};
use protocol::options::{OptionSet, Positive};
use protocol::text::Text;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

mod kv;
mod liveness;
mod registering;
mod routing;
mod topics;

const START_MS: i64 = 1_700_000_000_000;

/// A nameserver under test.
struct Running {
    nameserver: Nameserver,
    clock: Clock,
    /// `kvConfig.json` as last written.
    kv_file: Arc<Mutex<Vec<u8>>>,
}

/// Where errors are logged: nobody must log one. Panics in the task that does, which the test awaits
/// by shutting down.
struct Alarm;

impl std::io::Write for Alarm {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        panic!("{}", String::from_utf8_lossy(line))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn start(config: Config, kv_content: &str) -> Running {
    // Fails when another test has done so.
    let _ = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::ERROR)
        .with_writer(|| Alarm)
        .try_init();
    let config = Config {
        listen_port: 0,
        bind_address: "127.0.0.1".to_owned(),
        scan_not_active_broker_interval: Positive(5),
        ..config
    };
    let kv_file = Arc::new(Mutex::new(kv_content.as_bytes().to_vec()));
    let written = Arc::clone(&kv_file);
    let replace = Box::new(move |bytes: &[u8]| {
        if bytes.ends_with(b"fail\"}}}") {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        // A test that holds it is a slow disk.
        let mut written = written
            .try_lock_for(Duration::from_secs(5))
            .ok_or(std::io::ErrorKind::TimedOut)?;
        *written = bytes.to_vec();
        Ok(())
    });
    let content = Some(kv_content.as_bytes().to_vec());
    let file = KvFile {
        path: "kvConfig.json".to_owned(),
        content,
        replace,
    };
    let clock = Clock::manual(START_MS);
    let nameserver = Nameserver::start(config, file, clock.clone())
        .await
        .unwrap();
    Running {
        nameserver,
        clock,
        kv_file,
    }
}

async fn plain() -> Running {
    start(Config::default(), "").await
}

impl Running {
    async fn connect(&self) -> Client {
        let addr = self.nameserver.addrs()[0].to_string();
        let stream = net::connect(&addr, Duration::from_secs(5)).await.unwrap();
        Client {
            stream,
            read: BytesMut::new(),
            version: VERSION,
        }
    }
}

/// A connection that says what the test wants.
struct Client {
    stream: net::Stream,
    read: BytesMut,
    version: i32,
}

/// `key=value` pairs as a header.
struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Header<'a> for Pairs<'a> {
    fn decode(_: Fields<'a>) -> Result<Self, HeaderError> {
        unreachable!("only sent")
    }

    fn encode(&self, out: &mut FieldSink<'_>) {
        self.0
            .iter()
            .for_each(|(key, value)| out.echo(Text::plain(key), Text::plain(value)));
    }
}

impl Client {
    /// Sends `CODE key=value …` with a body; gives the answer as
    /// `CODE remark` / `key=value …` / body, a line for each that is there.
    async fn ask(&mut self, request: &str, body: &[u8]) -> String {
        let mut words = request.split(' ');
        let code = words.next().unwrap().parse().unwrap();
        let pairs = Pairs(words.map(|word| word.split_once('=').unwrap()).collect());
        let command = CommandOut {
            code,
            opaque: 7,
            version: self.version,
            ..CommandOut::default()
        };
        let mut frame = BytesMut::new();
        encode_command(&mut frame, Codec::Json, &command, &pairs, body.len()).unwrap();
        frame.extend_from_slice(body);
        self.stream.write_all(&frame).await.unwrap();

        let answer = loop {
            if let Some(answer) = split(&mut self.read, 16 << 20).unwrap() {
                break answer;
            }
            assert!(
                self.stream.read_buf(&mut self.read).await.unwrap() > 0,
                "closed instead of {request}"
            );
        };
        let head = answer.head().unwrap();
        assert!(head.is_response() && head.opaque == 7);
        let mut shown = head.code.to_string();
        head.remark
            .iter()
            .for_each(|remark| write!(shown, " {remark}").unwrap());
        let mut fields: Vec<String> = head
            .fields
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        fields.sort();
        if !fields.is_empty() {
            write!(shown, "\n{}", fields.join(" ")).unwrap();
        }
        if !answer.body.is_empty() {
            write!(shown, "\n{}", String::from_utf8_lossy(&answer.body)).unwrap();
        }
        shown
    }

    /// A request without a body, and what must come back.
    async fn check(&mut self, request: &str, expect: Expect) {
        expect.assert_eq(&self.ask(request, b"").await);
    }

    /// Registers a broker with topics given as `name`, `name:perm` or `name:perm:flag`.
    async fn register(&mut self, broker: &str, topics: &[&str]) {
        let body = registration(topics).encode();
        let answer = self
            .ask(&format!("103 {}", broker_fields(broker)), &body)
            .await;
        assert!(answer == "0" || answer.starts_with("0\n"), "{answer}");
    }
}

/// `cluster/name/id` as the fields of a registration; the address is made of the name and id.
fn broker_fields(broker: &str) -> String {
    let parts: Vec<&str> = broker.split('/').collect();
    let [cluster, name, id] = parts[..] else {
        panic!("{broker}")
    };
    format!(
        "brokerName={name} brokerAddr={name}.{id}:10911 clusterName={cluster} haServerAddr={name}.{id}:10912 brokerId={id}"
    )
}

fn registration(topics: &[&str]) -> RegisterBrokerBody {
    let mut body = RegisterBrokerBody::default();
    let wrapper = &mut body.topic_config_serialize_wrapper;
    wrapper.data_version.counter = 1;
    for topic in topics {
        let mut parts = topic.split(':');
        let name = parts.next().unwrap().to_owned();
        let perm = parts.next().map_or(6, |perm| perm.parse().unwrap());
        let flag = parts.next().map_or(0, |flag| flag.parse().unwrap());
        let config = TopicConfig {
            topic_name: name.clone(),
            perm,
            topic_sys_flag: flag,
            read_queue_nums: 4,
            write_queue_nums: 4,
            ..TopicConfig::default()
        };
        wrapper.topic_config_table.insert(name, config);
    }
    body
}

#[tokio::test]
async fn unknown_codes() {
    let server = plain().await;
    let mut client = server.connect().await;
    client
        .check("10", expect!["3  request type 10 not supported"])
        .await;
    client
        .check("-1", expect!["3  request type -1 not supported"])
        .await;
    client
        .check("105", expect!["1 the custom field <topic> is null"])
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[tokio::test]
async fn configuration() {
    let server = plain().await;
    let mut client = server.connect().await;
    client
        .check(
            "319",
            expect![[r#"
        0
        bindAddress=127.0.0.1
        deleteTopicWithBrokerRegistration=false
        enableAllTopicList=true
        enableTopicList=true
        kvConfigPath=
        listenPort=0
        needWaitForService=false
        orderMessageEnable=false
        returnOrderTopicConfigToBroker=true
        scanNotActiveBrokerInterval=5
        serverChannelMaxIdleTimeSeconds=120
        serverSocketBacklog=1024
        supportActingMaster=false
        waitSecondsForService=45
    "#]],
        )
        .await;
    client
        .check(
            "318",
            expect!["16 configuration can't be changed while running: change the file and restart"],
        )
        .await;
    drop(client);
    server.nameserver.shutdown().await;
}

#[test]
fn limits_of_the_configuration() {
    for (key, text, taken) in [
        ("scanNotActiveBrokerInterval", "0", false),
        ("scanNotActiveBrokerInterval", "1", true),
        ("waitSecondsForService", "9223372036854775807", false),
        (
            "serverChannelMaxIdleTimeSeconds",
            "18446744073709551615",
            false,
        ),
        ("serverChannelMaxIdleTimeSeconds", "2147483647", true),
    ] {
        let mut config = Config::default();
        let declared = config.declared();
        let index = declared.iter().position(|option| option.key == key);
        let set = config.set(index.unwrap(), text);
        assert_eq!(set.is_some(), taken, "{key}={text}");
    }
}

#[tokio::test]
async fn extreme_idle_times_leave_connections_alone() {
    for seconds in [i32::MIN, 0, i32::MAX] {
        let config = Config {
            server_channel_max_idle_time_seconds: seconds,
            need_wait_for_service: true,
            wait_seconds_for_service: i32::MAX,
            ..Config::default()
        };
        let server = start(config, "").await;
        let mut client = server.connect().await;
        for _ in 0..2 {
            client
                .check("105 topic=t", expect!["1 name server not ready"])
                .await;
        }
        drop(client);
        server.nameserver.shutdown().await;
    }
}

#[tokio::test]
async fn several_nameservers_are_independent() {
    let (left, right) = (plain().await, plain().await);
    let (mut to_left, mut to_right) = (left.connect().await, right.connect().await);
    to_left.register("c/b/0", &["t", "u"]).await;
    to_left
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","u"]}"#]],
        )
        .await;
    to_right
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":[]}"#]],
        )
        .await;
    drop(to_left);
    left.nameserver.shutdown().await;
    to_right.register("c/b/0", &["t", "u"]).await;
    to_right
        .check(
            "206",
            expect![[r#"
        0
        {"topicList":["t","u"]}"#]],
        )
        .await;
    drop(to_right);
    right.nameserver.shutdown().await;
}
