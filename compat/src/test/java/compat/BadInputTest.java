package compat;

import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.route.QueueData;
import org.apache.rocketmq.remoting.protocol.route.TopicRouteData;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** What clients are told when something is wrong: the codes they act on and the remarks people search for. */
class BadInputTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void bodyOverTheLimit() throws Exception {
        String topic = Apps.fresh("toolarge");
        DefaultMQProducer producer = apps.newProducer();
        // The client checks its own limit first, which is the same by default.
        producer.setMaxMessageSize(8 * 1024 * 1024);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        byte[] body = new byte[4 * 1024 * 1024 + 1];
        new Random(7).nextBytes(body);
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(new Message(topic, body)));
        assertEquals(13, refused.getResponseCode());
        assertTrue(refused.getErrorMessage().contains("4194304"), refused.getErrorMessage());
        Apps.send(producer, new Message(topic, "the connection lives on".getBytes()), 0);
    }

    @Test
    void propertiesOverTheLimit() throws Exception {
        String topic = Apps.fresh("toomanyproperties");
        DefaultMQProducer producer = apps.producer();
        Message message = new Message(topic, "body".getBytes());
        message.putUserProperty("big", "x".repeat(33_000));
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(message));
        assertEquals(13, refused.getResponseCode());
        assertTrue(refused.getErrorMessage().contains("properties length"), refused.getErrorMessage());
    }

    @Test
    void unknownTopicIsMadeByItsFirstSend() throws Exception {
        String topic = Apps.fresh("auto");
        DefaultMQAdminExt admin = apps.admin();
        MQClientException unknown = assertThrows(MQClientException.class, () -> admin.examineTopicRouteInfo(topic));
        assertEquals(17, unknown.getResponseCode());
        assertTrue(unknown.getErrorMessage().startsWith("No topic route info in name server for the topic: " + topic),
            unknown.getErrorMessage());

        DefaultMQProducer producer = apps.newProducer();
        producer.setDefaultTopicQueueNums(3);
        producer.start();
        producer.send(new Message(topic, "first".getBytes()));
        // The nameservers know it before the send is answered.
        TopicRouteData route = admin.examineTopicRouteInfo(topic);
        assertEquals(1, route.getQueueDatas().size());
        QueueData queues = route.getQueueDatas().get(0);
        assertEquals(3, queues.getWriteQueueNums());
        assertEquals(3, queues.getReadQueueNums());
        assertEquals(6, queues.getPerm());
        assertEquals(0, queues.getTopicSysFlag());
        assertEquals(queues.getBrokerName(), route.getBrokerDatas().get(0).getBrokerName());

        String wide = Apps.fresh("wide");
        DefaultMQProducer greedy = apps.newProducer();
        greedy.setDefaultTopicQueueNums(16);
        greedy.start();
        greedy.send(new Message(wide, "first".getBytes()));
        assertEquals(8, admin.examineTopicRouteInfo(wide).getQueueDatas().get(0).getWriteQueueNums(),
            "no more than the default topic has");
    }

    @Test
    void sendsThatAreRefused() throws Exception {
        DefaultMQProducer producer = apps.producer();
        String topic = Apps.fresh("refused");
        String broker = broker(producer, topic);

        check(producer, broker, 310, send("b", "bad topic!"), 29, "The specified topic contains illegal characters");
        check(producer, broker, 310, send("b", ""), 29, "The specified topic is blank.");
        check(producer, broker, 310, send("b", "t".repeat(128)), 29, "The specified topic is longer than topic max length.");
        check(producer, broker, 310, send("b", "SCHEDULE_TOPIC_XXXX"), 16, "Sending message to topic[SCHEDULE_TOPIC_XXXX] is forbidden.");
        check(producer, broker, 310, send("b", topic, "e", "99"), 29, "request queueId[99] is illegal");
        String orphan = Apps.fresh("orphan");
        check(producer, broker, 310, send("b", orphan, "c", "no-such-default"), 17, "topic[" + orphan + "] not exist, apply first please!");
        // Java's own words here name a null pointer; the code is what counts.
        check(producer, broker, 310, send("b", null), 1, "");
        check(producer, broker, 310, send("b", topic, "e", null), 1, "");
        check(producer, broker, 310, send("b", topic, "e", "one"), 1, "");
        check(producer, broker, 10, Map.of(), 1, "");
        check(producer, broker, 320, send("b", topic, "m", "true"), 1, "");

        // A negative queue is no fault: the broker chooses one.
        RemotingCommand chosen = check(producer, broker, 310, send("b", topic, "e", "-1"), 0, null);
        int queueId = Integer.parseInt(chosen.getExtFields().get("queueId"));
        assertTrue(queueId >= 0 && queueId < 4);
        assertEquals("DefaultRegion", chosen.getExtFields().get("MSG_REGION"));
        assertEquals("true", chosen.getExtFields().get("TRACE_ON"));
    }

    @Test
    void pullsThatAreRefused() throws Exception {
        DefaultMQProducer producer = apps.producer();
        String topic = Apps.fresh("refusedpull");
        String broker = broker(producer, topic);
        String group = Apps.fresh("nobody");
        Map<String, String> pull = new HashMap<>(Map.of("consumerGroup", group, "topic", topic, "queueId", "0",
            "queueOffset", "0", "maxMsgNums", "1", "sysFlag", "0", "commitOffset", "0", "suspendTimeoutMillis", "0", "subVersion", "0"));
        check(producer, broker, 11, pull, 24, "the consumer's group info not exist");
        pull.put("sysFlag", "4");
        pull.put("subscription", "*");
        RemotingCommand found = check(producer, broker, 11, pull, 0, "FOUND");
        assertEquals(Map.of("nextBeginOffset", "1", "minOffset", "0", "maxOffset", "1", "suggestWhichBrokerId", "0"),
            picked(found, "nextBeginOffset", "minOffset", "maxOffset", "suggestWhichBrokerId"));
        pull.put("queueOffset", "1");
        check(producer, broker, 11, pull, 19, "OFFSET_OVERFLOW_ONE");
        pull.put("queueOffset", "2");
        check(producer, broker, 11, pull, 21, "OFFSET_OVERFLOW_BADLY");
        pull.put("queueId", "99");
        check(producer, broker, 11, pull, 29, "queueId[99] is illegal, topic:[" + topic + "] topicConfig.readQueueNums:[4] consumer:[");
        String unknown = Apps.fresh("unknown");
        pull.put("topic", unknown);
        check(producer, broker, 11, pull, 17, "topic[" + unknown + "] not exist, apply first please!");
        // The pulls have made the group known, so that a commit gets as far as the topic.
        check(producer, broker, 15, Map.of("consumerGroup", group, "topic", unknown, "queueId", "0", "commitOffset", "3"), 17,
            "Topic " + unknown + " not exist!");
    }

    @Test
    void questionsWithoutAnAnswer() throws Exception {
        DefaultMQProducer producer = apps.producer();
        String topic = Apps.fresh("questions");
        String broker = broker(producer, topic);
        String nobody = Apps.fresh("nobody");
        String unknown = Apps.fresh("unknown");

        check(producer, broker, 14, Map.of("consumerGroup", nobody, "topic", topic, "queueId", "3"), 22, "Not found");
        RemotingCommand young = check(producer, broker, 14, Map.of("consumerGroup", nobody, "topic", topic, "queueId", "0"), 0, null);
        assertEquals("0", young.getExtFields().get("offset"), "a new group begins at 0 while the queue's first message is in memory");
        check(producer, broker, 14, Map.of("consumerGroup", nobody, "topic", topic, "queueId", "0", "setZeroIfNotFound", "false"), 22, "Not found");
        check(producer, broker, 15, Map.of("consumerGroup", nobody, "topic", topic, "queueId", "0", "commitOffset", "3"), 26,
            "Group " + nobody + " not exist!");
        for (int code : new int[] {30, 31}) {
            RemotingCommand none = check(producer, broker, code, Map.of("topic", unknown, "queueId", "0"), 0, null);
            assertEquals("0", none.getExtFields().get("offset"));
        }
        RemotingCommand none = check(producer, broker, 29, Map.of("topic", unknown, "queueId", "0", "timestamp", "0"), 0, null);
        assertEquals("0", none.getExtFields().get("offset"));
        check(producer, broker, 38, Map.of("consumerGroup", nobody), 1, "no consumer for this group, " + nobody);
        check(producer, broker, 33, Map.of("offset", "99999999999999"), 1, "can not find message by the offset, 99999999999999");
        check(producer, broker, 12, Map.of("topic", topic, "key", "nokey", "maxNum", "10", "beginTimestamp", "0",
            "endTimestamp", "9999999999999"), 22, "can not find message");
        check(producer, broker, 34, Map.of(), 1, "");
        check(producer, broker, 35, Map.of("clientID", "nobody", "producerGroup", nobody, "consumerGroup", nobody), 0, null);
        check(producer, broker, 9999, Map.of(), 3, " request type 9999 not supported");

        check(producer, Apps.NAMESRV, 105, Map.of("topic", unknown), 17, "No topic route info in name server for the topic: " + unknown);
        check(producer, Apps.NAMESRV, 9999, Map.of(), 3, " request type 9999 not supported");
    }

    /** The address of the broker that has the topic, which exists from here on with one message in queue 0. */
    private static String broker(DefaultMQProducer producer, String topic) throws Exception {
        MessageQueue queue = Apps.send(producer, new Message(topic, "good".getBytes()), 0).getMessageQueue();
        Apps.awaitEnd(producer, queue, 1);
        return Apps.brokerOf(producer, queue);
    }

    /** A good header of a V2 send, with some fields changed or, where null, left out. */
    private static Map<String, String> send(String... changes) {
        Map<String, String> header = new HashMap<>(Map.of("a", "refused-producer", "c", "TBW102", "d", "4", "e", "0", "f", "0",
            "g", "1700000000000", "h", "0", "i", "", "j", "0", "k", "false"));
        header.put("m", "false");
        for (int i = 0; i < changes.length; i += 2) {
            if (changes[i + 1] == null) {
                header.remove(changes[i]);
            } else {
                header.put(changes[i], changes[i + 1]);
            }
        }
        return header;
    }

    /** Sends the request and expects this code and a remark that begins so; with null the remark doesn't matter. */
    private static RemotingCommand check(DefaultMQProducer producer, String address, int code, Map<String, String> header,
        int expected, String remark) throws Exception {
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        request.setExtFields(new HashMap<>(header));
        if (code == 310 || code == 10 || code == 320) {
            request.setBody("body".getBytes());
        }
        RemotingCommand response = Apps.api(producer).getRemotingClient().invokeSync(address, request, 10_000);
        assertEquals(expected, response.getCode(), response.getRemark());
        if (remark != null) {
            assertNotNull(response.getRemark());
            assertTrue(response.getRemark().startsWith(remark), response.getRemark());
            assertTrue(!response.getRemark().isBlank());
        }
        return response;
    }

    private static Map<String, String> picked(RemotingCommand response, String... names) {
        Map<String, String> picked = new HashMap<>();
        for (String name : names) {
            picked.put(name, response.getExtFields().get(name));
        }
        return picked;
    }
}
