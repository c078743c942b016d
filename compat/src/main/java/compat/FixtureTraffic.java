package compat;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.OffsetNotFoundException;
import org.apache.rocketmq.client.impl.CommunicationMode;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.impl.consumer.PullResultExt;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.BoundaryType;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.PullSysFlag;
import org.apache.rocketmq.remoting.InvokeCallback;
import org.apache.rocketmq.remoting.netty.ResponseFuture;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.body.UnlockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.filter.FilterAPI;
import org.apache.rocketmq.remoting.protocol.header.PullMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.QueryMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.UpdateConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.ConsumeType;
import org.apache.rocketmq.remoting.protocol.heartbeat.ConsumerData;
import org.apache.rocketmq.remoting.protocol.heartbeat.HeartbeatData;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.heartbeat.ProducerData;
import org.apache.rocketmq.remoting.protocol.heartbeat.SubscriptionData;

/**
 * Drives one client through every request code that a client of the first issue sends, one after the other and each by the
 * client's own classes, so that a recording proxy between it and Apache's servers gets golden frames.
 *
 *   java -cp CLASSPATH compat.FixtureTraffic NAMESRV_ADDR [JSON|ROCKETMQ]
 *
 * JSON (the default) or ROCKETMQ is the codec of the headers it sends. The broker is found by its route, so the address
 * that it advertises has to be the proxy's too (README.md says how). The servers should be fresh: topic FixtureTopic and
 * group FixtureGroup are used as they are. Prints a line for each step, `code what`, before it, and `done` at the end;
 * anything that isn't answered as expected ends it with status 1. Client id, unique keys and times of birth are fixed;
 * opaque, store times and ports are not.
 *
 * Frames to and from the servers that no step asks for: the client's heartbeat and route polls (34, 105) within the
 * first second and every 30 s, and the broker's 40 after the step that registers a consumer.
 */
public final class FixtureTraffic {
    private static final String TOPIC = "FixtureTopic";
    private static final String GROUP = "FixtureGroup";
    private static final String PRODUCERS = "FixtureProducers";
    private static final long TIMEOUT = 10_000;
    private static int unique;

    private FixtureTraffic() {
    }

    public static void main(String[] args) throws Exception {
        if (args.length > 1) {
            System.setProperty("rocketmq.serialize.type", args[1]);
        }
        try {
            run(args[0]);
            System.out.println("done");
        } catch (Throwable e) {
            e.printStackTrace();
            System.exit(1);
        }
        System.exit(0);
    }

    private static void run(String namesrv) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(PRODUCERS);
        producer.setNamesrvAddr(namesrv);
        producer.setClientIP("127.0.0.1");
        producer.setInstanceName("fixture");
        producer.setSendMsgTimeout((int) TIMEOUT);
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        MQClientInstance client = producer.getDefaultMQProducerImpl().getMqClientFactory();
        MQClientAPIImpl api = client.getMQClientAPIImpl();

        step(105, "route of a topic that isn't there");
        refused(17, () -> api.getTopicRouteInfoFromNameServer(TOPIC, TIMEOUT));
        step(310, "send V2, which makes the topic");
        SendResult first = producer.send(message("TagA", "key1", "first"));
        MessageQueue queue = new MessageQueue(TOPIC, first.getMessageQueue().getBrokerName(), 0);
        String broker = client.findBrokerAddressInPublish(queue.getBrokerName());
        step(105, "route of a topic that is there");
        String cluster = api.getTopicRouteInfoFromNameServer(TOPIC, TIMEOUT).getBrokerDatas().get(0).getCluster();

        sends(producer, api, broker, queue);
        heartbeats(api, broker);
        long logOffset = pulls(api, broker, queue);
        offsets(api, broker, queue);
        locks(api, broker, queue);
        queries(api, broker, logOffset);
        unregister(api, broker);
        nameserver(api, namesrv, queue.getBrokerName(), cluster);
        step(3, "unknown request code, to both");
        expect(3, api.getRemotingClient().invokeSync(broker, RemotingCommand.createRequestCommand(9999, null), TIMEOUT).getCode());
        expect(3, api.getRemotingClient().invokeSync(namesrv, RemotingCommand.createRequestCommand(9999, null), TIMEOUT).getCode());
        step(35, "shutdown");
        producer.shutdown();
    }

    private static void sends(DefaultMQProducer producer, MQClientAPIImpl api, String broker, MessageQueue queue) throws Exception {
        step(310, "send V2 to one queue");
        expect(queue, producer.send(message("TagA", "key1 key2", "second"), queue).getMessageQueue());
        step(310, "send V2 with a body over 4 KiB, compressed");
        producer.send(message("TagB", null, "z".repeat(5000)), queue);
        step(310, "send V2, neither tag nor key, non-ASCII property");
        Message bare = message(null, null, "bare");
        bare.putUserProperty("name", "\u00e4\u4e2d");
        producer.send(bare, queue);
        step(310, "send V2, async");
        CountDownLatch answered = new CountDownLatch(1);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        producer.send(message("TagA", null, "async"), queue, new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                answered.countDown();
            }

            @Override
            public void onException(Throwable e) {
                failure.set(e);
                answered.countDown();
            }
        });
        expect(true, answered.await(TIMEOUT, TimeUnit.MILLISECONDS));
        expect(null, failure.get());
        step(310, "send V2, one-way");
        producer.sendOneway(message("TagA", null, "one-way"), queue);

        step(10, "send V1, as a client with sendSmartMsg=false does");
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup(PRODUCERS);
        header.setTopic(TOPIC);
        header.setDefaultTopic("TBW102");
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(queue.getQueueId());
        header.setSysFlag(0);
        header.setBornTimestamp(1_700_000_000_000L);
        header.setFlag(0);
        header.setProperties(MessageDecoder.messageProperties2String(message("TagA", "key1", "").getProperties()));
        header.setReconsumeTimes(0);
        header.setUnitMode(false);
        header.setBatch(false);
        header.setBrokerName(queue.getBrokerName());
        RemotingCommand v1 = RemotingCommand.createRequestCommand(RequestCode.SEND_MESSAGE, header);
        v1.setBody("v1".getBytes(StandardCharsets.UTF_8));
        expect(0, api.getRemotingClient().invokeSync(broker, v1, TIMEOUT).getCode());

        step(320, "send a batch");
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            batch.add(message("TagA", "batchkey" + i, "batch " + i));
        }
        expect(3, producer.send(batch, queue).getOffsetMsgId().split(",").length);

        step(310, "send V2 to a queue that isn't there");
        refused(29, () -> producer.send(message("TagA", null, "nowhere"), new MessageQueue(TOPIC, queue.getBrokerName(), 99)));
        step(10, "send V1 to a system topic");
        SendMessageRequestHeader system = new SendMessageRequestHeader();
        system.setProducerGroup(PRODUCERS);
        system.setTopic("SCHEDULE_TOPIC_XXXX");
        system.setDefaultTopic("TBW102");
        system.setDefaultTopicQueueNums(4);
        system.setQueueId(0);
        system.setSysFlag(0);
        system.setBornTimestamp(1_700_000_000_000L);
        system.setFlag(0);
        RemotingCommand forbidden = RemotingCommand.createRequestCommand(RequestCode.SEND_MESSAGE, system);
        forbidden.setBody("no".getBytes(StandardCharsets.UTF_8));
        expect(16, api.getRemotingClient().invokeSync(broker, forbidden, TIMEOUT).getCode());
    }

    private static void heartbeats(MQClientAPIImpl api, String broker) throws Exception {
        step(38, "consumers of a group nobody is in");
        refused(1, () -> {
            if (api.getConsumerIdListByGroup(broker, GROUP, TIMEOUT).isEmpty()) {
                throw new MQBrokerException(1, "empty");
            }
        });
        step(34, "heartbeat of a producer and a consumer; 40 follows from the broker");
        SubscriptionData all = FilterAPI.buildSubscriptionData(TOPIC, "*");
        all.setSubVersion(1_700_000_000_000L);
        SubscriptionData retry = FilterAPI.buildSubscriptionData("%RETRY%" + GROUP, "TagA || TagB");
        retry.setSubVersion(1_700_000_000_000L);
        ConsumerData consumer = new ConsumerData();
        consumer.setGroupName(GROUP);
        consumer.setConsumeType(ConsumeType.CONSUME_PASSIVELY);
        consumer.setMessageModel(MessageModel.CLUSTERING);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.setSubscriptionDataSet(Set.of(all, retry));
        ProducerData producing = new ProducerData();
        producing.setGroupName(PRODUCERS);
        HeartbeatData heartbeat = new HeartbeatData();
        heartbeat.setClientID("127.0.0.1@fixture");
        heartbeat.setProducerDataSet(Set.of(producing));
        heartbeat.setConsumerDataSet(Set.of(consumer));
        api.sendHeartbeat(broker, heartbeat, TIMEOUT);
        step(34, "the same again: nothing changed");
        api.sendHeartbeat(broker, heartbeat, TIMEOUT);
        step(38, "consumers of the group");
        expect(List.of("127.0.0.1@fixture"), api.getConsumerIdListByGroup(broker, GROUP, TIMEOUT));
        step(46, "client configuration, tags");
        api.checkClientInBroker(broker, GROUP, "127.0.0.1@fixture", all, TIMEOUT);
        step(46, "client configuration, SQL, which is off");
        SubscriptionData sql = FilterAPI.build(TOPIC, "a > 5", ExpressionType.SQL92);
        sql.setSubVersion(1_700_000_000_000L);
        refused(1, () -> api.checkClientInBroker(broker, GROUP, "127.0.0.1@fixture", sql, TIMEOUT));
    }

    /** Gives back the log offset of the first message of queue 0. */
    private static long pulls(MQClientAPIImpl api, String broker, MessageQueue queue) throws Exception {
        step(11, "pull from the beginning");
        PullResult found = pull(api, broker, queue, 0, "*", false, 0);
        expect(PullStatus.FOUND, found.getPullStatus());
        step(11, "pull with a tag that no message has");
        expect(PullStatus.NO_MATCHED_MSG, pull(api, broker, queue, 0, "TagX", false, 0).getPullStatus());
        step(11, "pull at the end, without waiting");
        long end = api.getMaxOffset(broker, queue, TIMEOUT);
        expect(PullStatus.NO_NEW_MSG, pull(api, broker, queue, end, "*", false, 0).getPullStatus());
        step(11, "pull at the end, held for half a second");
        expect(PullStatus.NO_NEW_MSG, pull(api, broker, queue, end, "*", false, 500).getPullStatus());
        step(11, "pull far beyond the end");
        expect(PullStatus.OFFSET_ILLEGAL, pull(api, broker, queue, end + 1000, "*", false, 0).getPullStatus());
        step(11, "pull from a queue that isn't there");
        refused(29, () -> pull(api, broker, new MessageQueue(TOPIC, queue.getBrokerName(), 99), 0, "*", false, 0));
        step(11, "pull from a topic that isn't there");
        refused(17, () -> pull(api, broker, new MessageQueue("NoSuchTopic", queue.getBrokerName(), 0), 0, "*", false, 0));
        step(361, "lite pull from the beginning");
        expect(PullStatus.FOUND, pull(api, broker, queue, 0, "TagA || TagB", true, 0).getPullStatus());
        return MessageDecoder.decodesBatch(ByteBuffer.wrap(
            ((PullResultExt) found).getMessageBinary()), false, false, false)
            .get(0).getCommitLogOffset();
    }

    private static PullResult pull(MQClientAPIImpl api, String broker, MessageQueue queue, long offset, String tags, boolean lite,
        long holdMillis) throws Exception {
        PullMessageRequestHeader header = new PullMessageRequestHeader();
        header.setConsumerGroup(GROUP);
        header.setTopic(queue.getTopic());
        header.setQueueId(queue.getQueueId());
        header.setQueueOffset(offset);
        header.setMaxMsgNums(4);
        header.setMaxMsgBytes(Integer.MAX_VALUE);
        header.setSysFlag(PullSysFlag.buildSysFlag(offset == 0, holdMillis > 0, true, false, lite));
        header.setCommitOffset(0L);
        header.setSuspendTimeoutMillis(holdMillis);
        header.setSubscription(tags);
        header.setSubVersion(1_700_000_000_000L);
        header.setExpressionType(ExpressionType.TAG);
        header.setBrokerName(queue.getBrokerName());
        return api.pullMessage(broker, header, TIMEOUT, CommunicationMode.SYNC, null);
    }

    private static void offsets(MQClientAPIImpl api, String broker, MessageQueue queue) throws Exception {
        step(14, "consumer offset of a queue never consumed");
        QueryConsumerOffsetRequestHeader ask = new QueryConsumerOffsetRequestHeader();
        ask.setConsumerGroup(GROUP);
        ask.setTopic(TOPIC);
        ask.setQueueId(1);
        ask.setBrokerName(queue.getBrokerName());
        ask.setSetZeroIfNotFound(false);
        try {
            api.queryConsumerOffset(broker, ask, TIMEOUT);
            throw new IllegalStateException("an offset where none should be");
        } catch (OffsetNotFoundException e) {
            expect(22, e.getResponseCode());
        }
        UpdateConsumerOffsetRequestHeader commit = new UpdateConsumerOffsetRequestHeader();
        commit.setConsumerGroup(GROUP);
        commit.setTopic(TOPIC);
        commit.setQueueId(0);
        commit.setCommitOffset(3L);
        commit.setBrokerName(queue.getBrokerName());
        step(15, "commit an offset");
        api.updateConsumerOffset(broker, commit, TIMEOUT);
        step(15, "commit an offset, one-way");
        api.updateConsumerOffsetOneway(broker, commit, TIMEOUT);
        step(14, "consumer offset");
        ask.setQueueId(0);
        ask.setSetZeroIfNotFound(null);
        expect(3L, api.queryConsumerOffset(broker, ask, TIMEOUT));
        step(29, "offset by time, lower and upper boundary");
        expect(0L, api.searchOffset(broker, queue, 1_700_000_000_000L, BoundaryType.LOWER, TIMEOUT));
        expect(0L, api.searchOffset(broker, queue, 1_700_000_000_000L, BoundaryType.UPPER, TIMEOUT));
        step(30, "largest offset");
        long end = api.getMaxOffset(broker, queue, TIMEOUT);
        step(31, "smallest offset");
        expect(true, end > api.getMinOffset(broker, queue, TIMEOUT));
    }

    private static void locks(MQClientAPIImpl api, String broker, MessageQueue queue) throws Exception {
        step(41, "lock queues");
        LockBatchRequestBody lock = new LockBatchRequestBody();
        lock.setConsumerGroup(GROUP);
        lock.setClientId("127.0.0.1@fixture");
        lock.getMqSet().add(queue);
        expect(Set.of(queue), api.lockBatchMQ(broker, lock, TIMEOUT));
        step(42, "unlock queues");
        UnlockBatchRequestBody unlock = new UnlockBatchRequestBody();
        unlock.setConsumerGroup(GROUP);
        unlock.setClientId("127.0.0.1@fixture");
        unlock.getMqSet().add(queue);
        api.unlockBatchMQ(broker, unlock, TIMEOUT, false);
        api.unlockBatchMQ(broker, unlock, TIMEOUT, true);
    }

    private static void queries(MQClientAPIImpl api, String broker, long logOffset) throws Exception {
        step(33, "message by log offset");
        expect(TOPIC, api.viewMessage(broker, TOPIC, logOffset, TIMEOUT).getTopic());
        step(33, "no message at this log offset");
        refused(1, () -> api.viewMessage(broker, TOPIC, 1L << 40, TIMEOUT));
        step(12, "messages by key, by unique key, and none");
        // The index is built behind the log: the first question may have to be asked again.
        long deadline = System.currentTimeMillis() + TIMEOUT;
        while (query(api, broker, "key1", false) != 0) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("key1 isn't found");
            }
            Thread.sleep(50);
        }
        expect(0, query(api, broker, uniqueKey(1), true));
        expect(22, query(api, broker, "nokey", false));
    }

    private static int query(MQClientAPIImpl api, String broker, String key, boolean isUnique) throws Exception {
        QueryMessageRequestHeader header = new QueryMessageRequestHeader();
        header.setTopic(TOPIC);
        header.setKey(key);
        header.setMaxNum(32);
        header.setBeginTimestamp(0L);
        header.setEndTimestamp(Long.MAX_VALUE);
        CountDownLatch answered = new CountDownLatch(1);
        AtomicReference<RemotingCommand> answer = new AtomicReference<>();
        api.queryMessage(broker, header, TIMEOUT, new InvokeCallback() {
            @Override
            public void operationComplete(ResponseFuture future) {
            }

            @Override
            public void operationSucceed(RemotingCommand response) {
                answer.set(response);
                answered.countDown();
            }

            @Override
            public void operationFail(Throwable e) {
                answered.countDown();
            }
        }, isUnique);
        expect(true, answered.await(TIMEOUT, TimeUnit.MILLISECONDS));
        return answer.get().getCode();
    }

    private static void unregister(MQClientAPIImpl api, String broker) throws Exception {
        step(35, "unregister the consumer");
        api.unregisterClient(broker, "127.0.0.1@fixture", null, GROUP, TIMEOUT);
        step(35, "unregister the producer");
        api.unregisterClient(broker, "127.0.0.1@fixture", PRODUCERS, null, TIMEOUT);
    }

    private static void nameserver(MQClientAPIImpl api, String namesrv, String brokerName, String cluster) throws Exception {
        step(106, "clusters");
        expect(true, api.getBrokerClusterInfo(TIMEOUT).getBrokerAddrTable().containsKey(brokerName));
        step(206, "all topics");
        expect(true, api.getTopicListFromNameServer(TIMEOUT).getTopicList().contains(TOPIC));
        step(224, "topics of a cluster");
        expect(true, api.getTopicsByCluster(cluster, TIMEOUT).getTopicList().contains(TOPIC));
        step(304, "system topics of the nameserver, then 305, those of a broker");
        api.getSystemTopicList(TIMEOUT);
        step(100, "put a value");
        api.putKVConfigValue("FixtureNamespace", "key", "value", TIMEOUT);
        step(101, "get a value, and none");
        expect("value", api.getKVConfigValue("FixtureNamespace", "key", TIMEOUT));
        refused(22, () -> api.getKVConfigValue("FixtureNamespace", "nokey", TIMEOUT));
        step(219, "values of a namespace");
        expect(Map.of("key", "value"), api.getKVListByNamespace("FixtureNamespace", TIMEOUT).getTable());
        step(102, "delete a value");
        api.deleteKVConfigValue("FixtureNamespace", "key", TIMEOUT);
        step(205, "take write permission from a broker");
        expect(true, api.wipeWritePermOfBroker(namesrv, brokerName, TIMEOUT) > 0);
        step(105, "route without write permission");
        expect(4, api.getTopicRouteInfoFromNameServer(TOPIC, TIMEOUT).getQueueDatas().get(0).getPerm());
        step(327, "give it back");
        expect(true, api.addWritePermOfBroker(namesrv, brokerName, TIMEOUT) > 0);
        step(319, "configuration of the nameserver");
        api.getNameServerConfig(List.of(namesrv), TIMEOUT);
        step(216, "delete a topic in the nameserver");
        api.deleteTopicInNameServer(namesrv, TOPIC, TIMEOUT);
    }

    private static Message message(String tag, String keys, String body) {
        Message message = new Message(TOPIC, body.getBytes(StandardCharsets.UTF_8));
        if (tag != null) {
            message.setTags(tag);
        }
        if (keys != null) {
            message.setKeys(keys);
        }
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, uniqueKey(++unique));
        return message;
    }

    private static String uniqueKey(int number) {
        return String.format("7F0000010001000000000000%08X", number);
    }

    private static void step(int code, String what) {
        System.out.println(code + " " + what);
        System.out.flush();
    }

    private interface Call {
        void run() throws Exception;
    }

    private static void refused(int code, Call call) throws Exception {
        int got;
        try {
            call.run();
            got = 0;
        } catch (MQClientException e) {
            got = e.getResponseCode();
        } catch (MQBrokerException e) {
            got = e.getResponseCode();
        }
        expect(code, got);
    }

    private static void expect(Object expected, Object got) {
        if (!Objects.equals(expected, got)) {
            throw new IllegalStateException("expected " + expected + ", got " + got);
        }
    }
}
