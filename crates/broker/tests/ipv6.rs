//! A broker on an IPv6 address: in what it tells nameservers and clients, in the records it keeps, and in their ids.
#![expect(clippy::expect_used, reason = "a test")]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use broker::{Broker, Config};
use protocol::QueueOffset;
use protocol::codes::request::{
    GET_CONSUMER_CONNECTION_LIST, HEART_BEAT, PULL_MESSAGE, PUSH_REPLY_MESSAGE_TO_CLIENT,
    SEND_MESSAGE_V2, SEND_REPLY_MESSAGE_V2, VIEW_MESSAGE_BY_ID,
};
use protocol::command::{Header, NoHeader};
use protocol::headers::group::ConsumerConnections;
use protocol::headers::message::ViewMessage;
use protocol::headers::pull::{PullMessage, PullMessageResponse};
use protocol::headers::reply::ReplyMessage;
use protocol::headers::send::{SendMessageResponse, SendMessageV2};
use protocol::message_id::MessageId;
use protocol::record::Record;
use protocol::text::Text;
use remoting::clock::Clock;
use remoting::{Body, Connection, Limits, Peer, Reply, Request, Service};
use store::disk::{Disk, SimDisk};
use tokio::sync::mpsc;

const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Takes replies, and tells whence they come.
struct Asker(mpsc::Sender<[String; 2]>);

impl Service for Asker {
    fn handle(&self, _: &Arc<Peer>, requests: Vec<Request>) {
        for request in requests {
            if request.code == PUSH_REPLY_MESSAGE_TO_CLIENT {
                let pushed: ReplyMessage<'_> = request.header().expect("its header");
                let hosts = [pushed.born_host, pushed.store_host];
                let _ = self
                    .0
                    .try_send(hosts.map(|host| host.to_str().into_owned()));
            }
            request.reply(0, None, &NoHeader, Body::None);
        }
    }

    fn closed(&self, _: &Arc<Peer>) {}
}

async fn call<'h>(
    connection: &Connection,
    code: i32,
    header: &impl Header<'h>,
    body: &[u8],
) -> Reply {
    let timeout = Duration::from_secs(10);
    let reply = connection
        .call(code, header, body.to_vec(), timeout)
        .await
        .expect("an answer");
    assert_eq!(reply.code, 0, "{code}: {:?}", reply.remark);
    reply
}

fn send<'a>(topic: &'a str, properties: &'a str) -> SendMessageV2<'a> {
    SendMessageV2 {
        producer_group: Text::plain("P"),
        topic: Text::plain(topic),
        default_topic: Text::plain("TBW102"),
        default_topic_queue_nums: 1,
        queue_id: 0,
        sys_flag: 0,
        born_timestamp: 1,
        flag: 0,
        properties: Some(Text::plain(properties)),
        reconsume_times: None,
        unit_mode: None,
        max_reconsume_times: None,
        batch: None,
        broker_name: None,
    }
}

#[tokio::test]
async fn hosts_of_16_bytes_go_everywhere() {
    let mut config = Config::new("/store");
    config.bind_address = HERE;
    config.advertised_host = Some("::1".to_owned());
    config.listen_port = 0;
    config.store.log_file_bytes = 8 << 20;
    let running = Broker::start(config, Disk::Sim(SimDisk::new(1)), Clock::System)
        .await
        .expect("a machine with IPv6");
    let addr = running.addrs()[0];
    assert_eq!(running.advertised(), format!("[::1]:{}", addr.port()));
    let (tell, mut told) = mpsc::channel(1);
    let service = Arc::new(Asker(tell));
    let client = remoting::connect(running.advertised(), service, &Limits::default())
        .await
        .expect("it listens there");
    let beat = br#"{"clientID":"asker","producerDataSet":[{"groupName":"P"}],"consumerDataSet":[{"groupName":"G",
        "subscriptionDataSet":[{"topic":"Orders","subString":"*","subVersion":1}]}]}"#;
    call(&client, HEART_BEAT, &NoHeader, beat).await;

    let sent = call(&client, SEND_MESSAGE_V2, &send("Orders", ""), b"x").await;
    let sent: SendMessageResponse<'_> = sent.header().expect("its header");
    let id = sent.msg_id.to_str().into_owned();
    assert_eq!(id.len(), 56);
    let id = MessageId::decode(&id).expect("an id");
    assert_eq!(id.host, addr);

    let view = ViewMessage {
        topic: None,
        offset: id.offset,
    };
    let viewed = call(&client, VIEW_MESSAGE_BY_ID, &view, b"").await;
    let pull = PullMessage {
        consumer_group: Text::plain("G"),
        topic: Text::plain("Orders"),
        queue_id: 0,
        queue_offset: QueueOffset(0),
        max_msg_nums: 32,
        sys_flag: 0,
        commit_offset: QueueOffset(0),
        suspend_timeout_millis: 0,
        subscription: None,
        sub_version: Some(1),
        expression_type: None,
        max_msg_bytes: None,
        request_source: None,
        proxy_forward_client_id: None,
    };
    let pulled = call(&client, PULL_MESSAGE, &pull, b"").await;
    let header: PullMessageResponse = pulled.header().expect("its header");
    assert_eq!(header.max_offset, QueueOffset(1));
    assert_eq!(viewed.body(), pulled.body());
    let record = Record::decode(pulled.body(), true)
        .expect("a record")
        .record;
    assert_eq!((record.born_host.ip(), record.store_host), (HERE, addr));
    assert_eq!(record.sys_flag, 0x30, "both hosts are said to be IPv6");

    let group = ConsumerConnections {
        consumer_group: Text::plain("G"),
    };
    let members = call(&client, GET_CONSUMER_CONNECTION_LIST, &group, b"").await;
    let members = String::from_utf8_lossy(members.body()).into_owned();
    assert!(members.contains(r#""clientAddr":"[::1]:"#), "{members}");

    let reply = send(
        "DefaultCluster_REPLY_TOPIC",
        "REPLY_TO_CLIENT\u{1}asker\u{2}",
    );
    call(&client, SEND_REPLY_MESSAGE_V2, &reply, b"y").await;
    // Java clients look for the last colon, and don't know brackets here.
    let [born, store] = told.recv().await.expect("it was pushed");
    assert!(born.starts_with("::1:"), "{born}");
    assert_eq!(store, format!("::1:{}", addr.port()));
    client.close().await;
    running.shutdown().await.expect("the store closes");
}
