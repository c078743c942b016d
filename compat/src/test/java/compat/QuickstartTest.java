package compat;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.remoting.common.RemotingHelper;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** The first thing that anyone does: a thousand sends, and a push consumer that gets exactly these. */
@Tag("binary")
class QuickstartTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void thousandSendsArriveOnce() throws Exception {
        String topic = Apps.fresh("quickstart");
        DefaultMQProducer producer = apps.producer();
        Set<String> sent = new HashSet<>();
        List<String> bodies = new ArrayList<>();
        int turnsBroken = 0;
        int last = -1;
        for (int i = 0; i < 1000; i++) {
            String body = "Hello RocketMQ " + i;
            SendResult result = producer.send(new Message(topic, "TagA", body.getBytes(RemotingHelper.DEFAULT_CHARSET)));
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            sent.add(result.getMsgId());
            bodies.add(body);
            int queue = result.getMessageQueue().getQueueId();
            assertTrue(queue >= 0 && queue < 4, "queue " + queue);
            turnsBroken += last >= 0 && queue != (last + 1) % 4 ? 1 : 0;
            last = queue;
        }
        assertEquals(1000, sent.size());
        // The client begins anywhere, and again where a route of its own (the topic's, after that of TBW102) replaces the one it had.
        assertTrue(turnsBroken <= 2, "the client takes the queues in turn, but left the row " + turnsBroken + " times");

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(Apps.fresh("quickstart-group"), topic, "*", inbox);
        inbox.await(1000);
        consumer.shutdown();

        assertEquals(Inbox.sorted(bodies), inbox.bodies());
        Set<String> received = new HashSet<>();
        inbox.messages.forEach(m -> received.add(m.getMsgId()));
        assertEquals(sent, received);
    }

    @Test
    void messagesReachWaitingConsumer() throws Exception {
        String topic = Apps.fresh("waiting");
        DefaultMQProducer producer = apps.producer();
        Inbox inbox = new Inbox();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("first", 4));
        DefaultMQPushConsumer consumer = apps.consumer(Apps.fresh("waiting-group"), topic, "*", inbox);
        inbox.await(4);
        // Every queue is pulled and nothing is left there, so each of these meets a held pull. Without a wake-up by
        // the append it would lie for up to 5 s (the broker's re-check) or 15 s (the hold): 20 of these take far longer than 30 s.
        for (int i = 0; i < 20; i++) {
            Apps.sendAll(producer, topic, "TagA", List.of("next " + i));
            inbox.await(5 + i);
        }
        consumer.shutdown();
        List<String> expected = new ArrayList<>(Apps.bodies("first", 4));
        expected.addAll(Apps.bodies("next", 20));
        assertEquals(Inbox.sorted(expected), inbox.bodies());
        // Apache may miss the wake-up of a pull that is on its way to be held, so a few may be late.
        long prompt = inbox.messages.stream().skip(4)
            .mapToLong(m -> Long.parseLong(m.getProperty("CONSUME_START_TIME")) - m.getBornTimestamp())
            .filter(millis -> millis < 1500).count();
        assertTrue(prompt >= 15, "a held pull is answered by the append, but of 20 only " + prompt + " came within 1.5 s");
    }
}
