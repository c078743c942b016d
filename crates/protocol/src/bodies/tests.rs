//! Bodies against what the Java classes write: the texts below come from Apache's own classes and fastjson 1.2.83.

use std::fmt::Debug;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::fastjson::{from_slice, to_vec};

/// Reads what Java wrote and writes it again, byte for byte.
fn check<T: Serialize + DeserializeOwned + Debug>(java: &str) -> T {
    let value: T = from_slice(java.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), java);
    value
}

#[test]
fn bodies_are_written_as_java_writes_them() {
    let heartbeat: Heartbeat = check(
        r#"{"clientID":"c@1","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"g","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[97,98],"expressionType":"TAG","subString":"a||b","subVersion":1795348937895,"tagsSet":["a","b"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"pg"}],"withoutSub":false}"#,
    );
    assert_eq!(
        heartbeat.consumer_data_set[0].subscription_data_set[0].sub_version,
        1_795_348_937_895
    );
    let route: TopicRoute = check(
        r#"{"brokerDatas":[{"brokerAddrs":{0:"1.1.1.1:1",1:"x"},"brokerName":"b","cluster":"DefaultCluster","enableActingMaster":true,"zoneName":"z"}],"filterServerTable":{"x":[]},"orderTopicConf":"b:4","queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#,
    );
    assert_eq!(route.broker_datas[0].broker_addrs[&1], "x");
    check::<ClusterInfo>(
        r#"{"brokerAddrTable":{"b":{"brokerAddrs":{0:"1.1.1.1:1",1:"x"},"brokerName":"b","cluster":"DefaultCluster","enableActingMaster":true,"zoneName":"z"}},"clusterAddrTable":{"DefaultCluster":["b","c"]}}"#,
    );
    check::<TopicList>(r#"{"topicList":["a"]}"#);
    check::<TopicList>(r#"{"brokerAddr":"x","topicList":["a"]}"#);
    check::<RegisterBrokerBody>(
        r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":1795348937977},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":1795348937977},"topicConfigTable":{"T":{"attributes":{"+a":"b"},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"T","topicSysFlag":0,"writeQueueNums":4}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}}"#,
    );
    check::<KvTable>(r#"{"table":{"k":"v"}}"#);
    check::<LockBatch>(
        r#"{"clientId":"c","consumerGroup":"g","mqSet":[{"brokerName":"b","queueId":1,"topic":"t"}],"onlyThisBroker":false}"#,
    );
    check::<LockBatchResponse>(r#"{"lockOKMQSet":[{"brokerName":"b","queueId":1,"topic":"t"}]}"#);
    check::<CheckClientConfig>(
        r#"{"clientId":"c","group":"g","subscriptionData":{"classFilterMode":false,"codeSet":[97,98],"expressionType":"TAG","subString":"a||b","subVersion":1795348937895,"tagsSet":["a","b"],"topic":"T"}}"#,
    );
    check::<ConsumerIdList>(r#"{"consumerIdList":["a","b"]}"#);
    check::<SubscriptionGroup>(
        r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"g","groupRetryPolicy":{"customizedRetryPolicy":{"next":[1000,5000]},"exponentialRetryPolicy":{"initial":5000,"max":7200000,"multiplier":2},"type":"EXPONENTIAL"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"subscriptionDataSet":[{"expression":"*","expressionType":"TAG","topic":"t","version":1}],"whichBrokerWhenConsumeSlowly":1}"#,
    );
    check::<ConsumerOffsets>(
        r#"{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":7},"offsetTable":{"t@g":{0:1,1:2}}}"#,
    );
    check::<DelayOffsets>(
        r#"{"dataVersion":{"counter":6,"stateVersion":0,"timestamp":7},"offsetTable":{1:7,3:4,18:0}}"#,
    );
}

#[test]
fn offsets_and_connections_are_written_as_java_writes_them() {
    let reset: ResetOffsetBody = check(
        r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":1,"topic":"T"}:0}}"#,
    );
    assert_eq!(reset.offset_table.values().next().unwrap().0, 5);
    check::<ResetOffsetBodyForC>(
        r#"{"offsetTable":[{"brokerName":"b","offset":7,"queueId":1,"topic":"T"}]}"#,
    );
    let status: ConsumerStatus = check(
        r#"{"consumerTable":{},"messageQueueTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":1,"topic":"T"}:0}}"#,
    );
    assert_eq!(status.message_queue_table.len(), 2);
    check::<ConsumerStatus>(
        r#"{"consumerTable":{"c@1":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":1,"topic":"T"}:0}},"messageQueueTable":{}}"#,
    );
    check::<ConsumeStats>(
        r#"{"consumeTps":1.5,"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"brokerOffset":9,"consumerOffset":3,"lastTimestamp":17,"pullOffset":5}}}"#,
    );
    check::<TopicStats>(
        r#"{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":3,"maxOffset":2,"minOffset":1}},"topicPutTps":0.5}"#,
    );
    check::<ConsumerConnection>(
        r#"{"connectionSet":[{"clientAddr":"127.0.0.1:1","clientId":"c@1","language":"JAVA","version":479}],"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","subscriptionTable":{"T":{"classFilterMode":false,"codeSet":[97,98],"expressionType":"TAG","subString":"a||b","subVersion":7,"tagsSet":["a","b"],"topic":"T"}}}"#,
    );
    check::<ProducerConnection>(
        r#"{"connectionSet":[{"clientAddr":"127.0.0.1:1","clientId":"c@1","language":"JAVA","version":479}]}"#,
    );
    check::<GroupList>(r#"{"groupList":["g"]}"#);
    check::<SubscriptionByConsumer>(r#"{"group":"g","topic":"T"}"#);
    check::<SubscriptionByConsumer>(
        r#"{"group":"g","subscriptionData":{"classFilterMode":false,"codeSet":[97,98],"expressionType":"TAG","subString":"a||b","subVersion":7,"tagsSet":["a","b"],"topic":"T"},"topic":"T"}"#,
    );
}

#[test]
fn a_new_group_is_written_as_java_writes_it() {
    let group = SubscriptionGroup {
        group_name: "g".to_owned(),
        ..SubscriptionGroup::default()
    };
    assert_eq!(
        String::from_utf8(to_vec(&group)).unwrap(),
        r#"{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"g","groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}"#
    );
}

#[test]
fn heartbeats_of_other_clients_are_read() {
    // The C++ client sends ordinals for enums and strings for numbers; Go sends null for empty lists.
    let heartbeat: Heartbeat = from_slice(
        br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":1,"messageModel":1,"consumeFromWhere":4,"subscriptionDataSet":[{"topic":"T","subString":"*","subVersion":"15","codeSet":["97"],"tagsSet":null}]}],"producerDataSet":null}"#,
    )
    .unwrap();
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(
        consumer.consume_from_where,
        ConsumeFromWhere::ConsumeFromFirstOffset
    );
    assert_eq!(consumer.subscription_data_set[0].sub_version, 15);
    assert_eq!(consumer.subscription_data_set[0].expression_type, "TAG");
    assert!(consumer.subscription_data_set[0].code_set.contains(&97));
}

/// What `RegisterBrokerBody.encode(true)` of 5.3.3 gives for one topic.
const JAVA_COMPRESSED: &str = "78da636060b0a8564ace2fcd2b492d52b232d0512a2e492c490d4b2d2acecccf030b9464e6a60205730b94ac0ccd2d4d8d4d2c2c8dcd2dcdcd6b1918181881583644c10408cd14823dfddc7d5ce3431cdd15aa95b41395ac949294408a98a263812403002f151a0c";

#[test]
fn compressed_registrations_are_read_and_written() {
    let bytes: Vec<u8> = (0..JAVA_COMPRESSED.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&JAVA_COMPRESSED[at..at + 2], 16).unwrap())
        .collect();
    let body = RegisterBrokerBody::decode_compressed(&bytes, crate::command::VERSION).unwrap();
    let topic = &body.topic_config_serialize_wrapper.topic_config_table["T"];
    assert_eq!(topic.to_line(), r#"T 4 4 6 SINGLE_TAG {"+a":"b"}"#);
    let again = body.encode_compressed().unwrap();
    let read = RegisterBrokerBody::decode_compressed(&again, crate::command::VERSION).unwrap();
    assert_eq!(read, body);
    // The last bytes are zlib's own checksum, which comes behind all that is read.
    for end in 0..bytes.len() - 12 {
        RegisterBrokerBody::decode_compressed(&bytes[..end], crate::command::VERSION).unwrap_err();
    }
}

#[test]
fn a_compressed_registration_of_too_many_topics_is_not_unpacked() {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
    out.write_all(&2_i32.to_be_bytes()).unwrap();
    out.write_all(b"{}").unwrap();
    out.write_all(&500_001_i32.to_be_bytes()).unwrap();
    for _ in 0..500_001 {
        out.write_all(b"\0\0\0\x12a 1 1 6 SINGLE_TAG").unwrap();
    }
    let bytes = out.finish().unwrap();
    let error = RegisterBrokerBody::decode_compressed(&bytes, crate::command::VERSION).unwrap_err();
    let expect = "compressed registration: 500001 topics, limit 500000";
    assert_eq!(error.to_string(), expect);
}
