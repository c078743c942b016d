package compat;

import java.util.List;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Finding a message again: by its place in the log, by its unique id, and by its keys. */
class QueryMessageTest {
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
