package compat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Lists of messages in one send. */
@Tag("binary")
class BatchSendTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void listArrivesWhole() throws Exception {
        String topic = Apps.fresh("batch");
        DefaultMQProducer producer = apps.producer();
        List<SendResult> results = new ArrayList<>();
        List<String> sent = new ArrayList<>();
        for (int batch = 0; batch < 4; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 25; i++) {
                String body = "batch " + batch + " message " + i;
                Message message = new Message(topic, i % 2 == 0 ? "even" : "odd", "key" + i, body.getBytes());
                message.setFlag(i);
                message.putUserProperty("number", String.valueOf(i));
                messages.add(message);
                sent.add(body);
            }
            SendResult result = batch == 0
                ? producer.send(messages)
                : producer.send(messages, results.get(0).getMessageQueue());
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            assertEquals(batch * 25, result.getQueueOffset(), "the first message's");
            String[] unique = result.getMsgId().split(",");
            assertEquals(25, unique.length);
            assertEquals(25, new HashSet<>(Arrays.asList(unique)).size());
            String[] offsetIds = result.getOffsetMsgId().split(",");
            assertEquals(25, offsetIds.length);
            long last = -1;
            for (String id : offsetIds) {
                long offset = MessageDecoder.decodeMessageId(id).getOffset();
                assertTrue(offset > last);
                last = offset;
            }
            assertEquals("batch " + batch + " message 7", new String(producer.viewMessage(topic, offsetIds[7]).getBody()));
            results.add(result);
        }

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(Apps.fresh("batch-group"), topic, "*", inbox);
        inbox.await(100);
        consumer.shutdown();
        assertEquals(Inbox.sorted(sent), inbox.bodies());
        for (MessageExt message : inbox.messages) {
            int i = Integer.parseInt(message.getUserProperty("number"));
            assertEquals(i, message.getFlag());
            assertEquals(i % 2 == 0 ? "even" : "odd", message.getTags());
            assertEquals("key" + i, message.getKeys());
            assertEquals(i, message.getQueueOffset() % 25, "one after the other in the queue");
        }

        Inbox tagged = new Inbox();
        DefaultMQPushConsumer odd = apps.consumer(Apps.fresh("batch-odd"), topic, "odd", tagged);
        tagged.await(48);
        odd.shutdown();
        assertEquals(48, tagged.messages.size());
    }
}
