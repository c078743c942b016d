package compat;

import java.nio.ByteBuffer;
import java.util.List;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Finding a message again: by its place in the log, by its unique id, by its keys and the time, wherever retries have taken it. */
@Execution(ExecutionMode.CONCURRENT)
class QueriesTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void byOffsetMessageId() throws Exception {
        String topic = Apps.fresh("byid");
        DefaultMQProducer producer = apps.producer();
        Apps.send(producer, new Message(topic, "other".getBytes()), 1);
        SendResult result = Apps.send(producer, new Message(topic, "TagA", "key", "wanted".getBytes()), 1);

        MessageExt found = producer.viewMessage(topic, result.getOffsetMsgId());
        assertEquals("wanted", new String(found.getBody()));
        assertEquals(topic, found.getTopic());
        assertEquals(1, found.getQueueId());
        assertEquals(1, found.getQueueOffset());
        assertEquals("key", found.getKeys());

        MessageId id = MessageDecoder.decodeMessageId(result.getOffsetMsgId());
        assertEquals(id.getOffset(), found.getCommitLogOffset());
        String beyond = MessageDecoder.createMessageId(id.getAddress(), id.getOffset() + (1L << 40));
        MQBrokerException refused = assertThrows(MQBrokerException.class, () ->
            Apps.api(producer).viewMessage(Apps.brokerOf(producer, result.getMessageQueue()), topic, id.getOffset() + (1L << 40), 10_000));
        assertEquals(ResponseCode.SYSTEM_ERROR, refused.getResponseCode());
        assertTrue(refused.getErrorMessage().startsWith("can not find message by the offset"), refused.getErrorMessage());
        assertEquals(32, beyond.length());
    }

    @Test
    void byUniqueId() throws Exception {
        String topic = Apps.fresh("byuniq");
        DefaultMQProducer producer = apps.producer();
        SendResult result = null;
        for (int i = 0; i < 10; i++) {
            SendResult sent = Apps.send(producer, new Message(topic, ("body " + i).getBytes()), i % 4);
            result = i == 6 ? sent : result;
        }
        String wanted = result.getMsgId();
        // The index is built behind the append.
        MessageExt found = Apps.eventually(15, () -> producer.viewMessage(topic, wanted));
        assertEquals("body 6", new String(found.getBody()));
        assertEquals(wanted, found.getMsgId());
        assertEquals(2, found.getQueueId());
    }

    @Test
    void byKey() throws Exception {
        String topic = Apps.fresh("bykey");
        String elsewhere = Apps.fresh("bykey-other");
        DefaultMQProducer producer = apps.producer();
        long begin = System.currentTimeMillis() - 60_000;
        for (int i = 0; i < 10; i++) {
            Message message = new Message(topic, "TagA", ("body " + i).getBytes());
            message.setKeys(List.of("order", i % 2 == 0 ? "even" : "odd", "no" + i));
            Apps.send(producer, message, i % 4);
        }
        Apps.send(producer, new Message(elsewhere, "TagA", "order", "elsewhere".getBytes()), 0);
        long end = System.currentTimeMillis() + 60_000;

        assertEquals(Inbox.sorted(Apps.bodies("body", 10)), bodies(awaitQuery(producer, topic, "order", 32, begin, end, 10)));
        assertEquals(List.of("body 0", "body 2", "body 4", "body 6", "body 8"), bodies(awaitQuery(producer, topic, "even", 32, begin, end, 5)));
        assertEquals(List.of("body 7"), bodies(awaitQuery(producer, topic, "no7", 32, begin, end, 1)));
        assertEquals(List.of("elsewhere"), bodies(awaitQuery(producer, elsewhere, "order", 32, begin, end, 1)));
        // No more than asked for, and these are the newest.
        assertEquals(List.of("body 7", "body 8", "body 9"), bodies(awaitQuery(producer, topic, "order", 3, begin, end, 3)));

        for (String key : List.of("Order", "no", "none")) {
            MQClientException nothing = assertThrows(MQClientException.class, () -> producer.queryMessage(topic, key, 32, begin, end));
            assertEquals(ResponseCode.NO_MESSAGE, nothing.getResponseCode());
        }
        MQClientException tooEarly = assertThrows(MQClientException.class, () -> producer.queryMessage(topic, "order", 32, begin - 120_000, begin));
        assertEquals(ResponseCode.NO_MESSAGE, tooEarly.getResponseCode());
        MQClientException tooLate = assertThrows(MQClientException.class, () -> producer.queryMessage(topic, "order", 32, end, end + 120_000));
        assertEquals(ResponseCode.NO_MESSAGE, tooLate.getResponseCode());
    }

    @Test
    void byKeyAndTime() throws Exception {
        String topic = Apps.fresh("bytime");
        DefaultMQProducer producer = apps.producer();
        // Places in the index are told apart by the second.
        long[] stored = new long[3];
        for (int i = 0; i < 3; i++) {
            if (i > 0) {
                long next = stored[i - 1] + 2100;
                Apps.await(10, () -> "the clock", () -> System.currentTimeMillis() >= next);
            }
            SendResult sent = Apps.send(producer, new Message(topic, "TagA", "order", ("body " + i).getBytes()), 0);
            stored[i] = producer.viewMessage(topic, sent.getOffsetMsgId()).getStoreTimestamp();
        }
        awaitQuery(producer, topic, "order", 32, stored[0] - 5000, stored[2] + 5000, 3);
        assertEquals(List.of("body 0"), bodies(producer.queryMessage(topic, "order", 32, stored[0] - 5000, stored[0] + 1000)));
        assertEquals(List.of("body 1"), bodies(producer.queryMessage(topic, "order", 32, stored[0] + 1100, stored[1] + 1000)));
        assertEquals(List.of("body 1", "body 2"), bodies(producer.queryMessage(topic, "order", 32, stored[0] + 1100, stored[2] + 5000)));
    }

    /** A message's way over the retry topic to the dead letters: each copy can be found, and each says whose copy it is. */
    @Test
    void retriesAndDeadLetters() throws Exception {
        String topic = Apps.fresh("byretry");
        String group = Apps.fresh("byretry-group");
        String key = Apps.fresh("order");
        DefaultMQProducer producer = apps.producer();
        long begin = System.currentTimeMillis() - 60_000;
        Message message = new Message(topic, "TagA", key, "idempotent".getBytes());
        message.putUserProperty("amount", "42");
        SendResult sent = Apps.send(producer, message, 3);
        MessageExt original = producer.viewMessage(topic, sent.getOffsetMsgId());

        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.setMaxReconsumeTimes(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        Apps.startWithRetry(consumer);

        DefaultMQAdminExt admin = apps.admin();
        String retryTopic = MixAll.getRetryTopic(group);
        String deadTopic = MixAll.getDLQTopic(group);
        long end = begin + 120_000;
        MessageExt dead = Apps.eventually(40, () -> admin.queryMessage(deadTopic, key, 32, begin, end)).getMessageList().get(0);
        MessageExt retry = Apps.eventually(10, () -> admin.queryMessage(retryTopic, key, 32, begin, end)).getMessageList().get(0);

        // The key and the unique id are indexed again under the topic of each copy, and only there.
        for (String name : List.of(topic, retryTopic, deadTopic)) {
            assertEquals(1, admin.queryMessage(name, key, 32, begin, end).getMessageList().size(), name);
            assertEquals(1, admin.queryMessageByUniqKey(null, name, sent.getMsgId(), 32, begin, end).getMessageList().size(), name);
            MessageExt found = producer.viewMessage(name, sent.getMsgId());
            assertEquals(name, found.getTopic());
            assertEquals(sent.getMsgId(), found.getMsgId());
        }
        for (MessageExt copy : List.of(original, retry, dead)) {
            String offsetId = MessageDecoder.createMessageId(ByteBuffer.allocate(16), copy.getStoreHostBytes(), copy.getCommitLogOffset());
            MessageExt viewed = admin.viewMessage(copy.getTopic(), offsetId);
            for (MessageExt same : List.of(copy, viewed)) {
                assertEquals(sent.getMsgId(), same.getProperty("UNIQ_KEY"));
                assertEquals(key, same.getKeys());
                assertEquals("TagA", same.getTags());
                assertEquals("42", same.getUserProperty("amount"));
                assertEquals("idempotent", new String(same.getBody()));
                assertEquals(original.getBornTimestamp(), same.getBornTimestamp());
                assertEquals(original.getBornHost(), same.getBornHost());
                assertEquals(original.getStoreHost(), same.getStoreHost());
                assertEquals(copy.getReconsumeTimes(), same.getReconsumeTimes());
                assertEquals(copy.getStoreTimestamp(), same.getStoreTimestamp());
                assertEquals(copy.getQueueOffset(), same.getQueueOffset());
            }
        }
        assertEquals(0, original.getReconsumeTimes());
        assertEquals(1, retry.getReconsumeTimes());
        assertEquals(2, dead.getReconsumeTimes());
        for (MessageExt copy : List.of(retry, dead)) {
            assertEquals(topic, copy.getProperty("RETRY_TOPIC"));
            assertEquals(sent.getOffsetMsgId(), copy.getProperty("ORIGIN_MESSAGE_ID"));
        }
        assertTrue(retry.getStoreTimestamp() >= original.getStoreTimestamp() + 980);
        assertTrue(dead.getStoreTimestamp() >= retry.getStoreTimestamp());
    }

    private static QueryResult awaitQuery(DefaultMQProducer producer, String topic, String key, int max, long begin, long end, int count)
        throws Exception {
        return Apps.eventually(15, () -> {
            QueryResult result = producer.queryMessage(topic, key, max, begin, end);
            return result.getMessageList().size() >= count ? result : null;
        });
    }

    private static List<String> bodies(QueryResult result) {
        assertTrue(result.getIndexLastUpdateTimestamp() > 0);
        return Inbox.sorted(result.getMessageList().stream().map(m -> new String(m.getBody())).toList());
    }
}
