package compat;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.impl.MQAdminImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.BoundaryType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Pull consumers of both kinds, and the questions about offsets that they and tools ask. */
@Tag("binary")
class PullTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void litePullPollsSubscription() throws Exception {
        String topic = Apps.fresh("litepull");
        String group = Apps.fresh("litepull-group");
        DefaultMQProducer producer = apps.producer();
        List<String> sent = Apps.bodies("poll", 40);
        Apps.sendAll(producer, topic, "TagA", sent);

        DefaultLitePullConsumer consumer = apps.newLitePullConsumer(group);
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "TagA");
        consumer.start();
        assertEquals(Inbox.sorted(sent), poll(consumer, 40));
        consumer.commit();
        Apps.await(20, () -> "offsets of 10 each", () -> {
            try {
                for (MessageQueue queue : consumer.fetchMessageQueues(topic)) {
                    if (consumer.committed(queue) != 10) {
                        return false;
                    }
                }
                return true;
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        consumer.shutdown();

        List<String> more = Apps.bodies("more", 8);
        Apps.sendAll(producer, topic, "TagA", more);
        DefaultLitePullConsumer again = apps.newLitePullConsumer(group);
        again.subscribe(topic, "*");
        again.start();
        assertEquals(Inbox.sorted(more), poll(again, 8));
    }

    @Test
    void litePullAssignsAndSeeks() throws Exception {
        String topic = Apps.fresh("assign");
        DefaultMQProducer producer = apps.producer();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("body", 40));

        DefaultLitePullConsumer consumer = apps.newLitePullConsumer(Apps.fresh("assign-group"));
        consumer.start();
        Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
        assertEquals(4, queues.size());
        MessageQueue queue = queues.stream().filter(q -> q.getQueueId() == 1).findFirst().orElseThrow();
        consumer.assign(List.of(queue));
        // A seek doesn't take back what a pull under way brings, so each of these begins when all is read.
        assertEquals(10, poll(consumer, 10).size());
        consumer.seek(queue, 7);
        assertEquals(List.of("body 29", "body 33", "body 37"), poll(consumer, 3));
        consumer.seekToBegin(queue);
        assertEquals(10, poll(consumer, 10).size());
        consumer.seekToEnd(queue);
        Apps.send(producer, new Message(topic, "TagA", "at the end".getBytes()), 1);
        assertEquals(List.of("at the end"), poll(consumer, 1));
    }

    @Test
    void pullStatusesAndOffsets() throws Exception {
        String topic = Apps.fresh("pull");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = null;
        for (int i = 0; i < 40; i++) {
            queue = Apps.send(producer, new Message(topic, i < 20 ? "low" : "high", ("body " + i).getBytes()), 0).getMessageQueue();
        }
        DefaultMQPullConsumer consumer = apps.pullConsumer(Apps.fresh("pull-group"));

        PullResult found = consumer.pull(queue, "*", 0, 10);
        assertEquals(PullStatus.FOUND, found.getPullStatus());
        assertEquals(10, found.getMsgFoundList().size());
        assertEquals(10, found.getNextBeginOffset());
        assertEquals(0, found.getMinOffset());
        assertEquals(40, found.getMaxOffset());
        for (int i = 0; i < 10; i++) {
            assertEquals("body " + i, new String(found.getMsgFoundList().get(i).getBody()));
            assertEquals(i, found.getMsgFoundList().get(i).getQueueOffset());
        }

        PullResult capped = consumer.pull(queue, "*", 0, 40);
        assertEquals(32, capped.getMsgFoundList().size(), "no more than 32 at once, whatever is asked for");
        assertEquals(32, capped.getNextBeginOffset());

        PullResult tagged = consumer.pull(queue, "high", 0, 10);
        assertEquals(PullStatus.FOUND, tagged.getPullStatus());
        assertEquals("body 20", new String(tagged.getMsgFoundList().get(0).getBody()));
        assertEquals(10, tagged.getMsgFoundList().size());
        assertEquals(30, tagged.getNextBeginOffset());

        PullResult unmatched = consumer.pull(queue, "none", 0, 10);
        assertEquals(PullStatus.NO_MATCHED_MSG, unmatched.getPullStatus());
        assertEquals(40, unmatched.getNextBeginOffset(), "what didn't match is skipped");

        PullResult atEnd = consumer.pull(queue, "*", 40, 10);
        assertEquals(PullStatus.NO_NEW_MSG, atEnd.getPullStatus());
        assertEquals(40, atEnd.getNextBeginOffset());

        PullResult beyond = consumer.pull(queue, "*", 1000, 10);
        assertEquals(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus());
        assertEquals(40, beyond.getNextBeginOffset());

        PullResult empty = consumer.pull(new MessageQueue(topic, queue.getBrokerName(), 3), "*", 0, 10);
        assertEquals(PullStatus.NO_NEW_MSG, empty.getPullStatus());
        assertEquals(0, empty.getMaxOffset());

        consumer.updateConsumeOffset(queue, 25);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 25, false);
        assertEquals(25, consumer.fetchConsumeOffset(queue, true));
        assertEquals(-1, consumer.fetchConsumeOffset(new MessageQueue(topic, queue.getBrokerName(), 3), true));
    }

    @Test
    void heldPullEndsWithArrival() throws Exception {
        String topic = Apps.fresh("held");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = Apps.send(producer, new Message(topic, "first".getBytes()), 0).getMessageQueue();
        DefaultMQPullConsumer consumer = apps.pullConsumer(Apps.fresh("held-group"));
        // The send starts the clock of the answer: with nothing to wake it the hold would last 20 s.
        Thread sender = new Thread(() -> {
            try {
                Thread.sleep(300);
                producer.send(new Message(topic, "second".getBytes()), queue);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        sender.start();
        PullResult result = consumer.pullBlockIfNotFound(queue, "*", 1, 10);
        sender.join();
        assertEquals(PullStatus.FOUND, result.getPullStatus());
        MessageExt message = result.getMsgFoundList().get(0);
        assertEquals("second", new String(message.getBody()));
        long waited = System.currentTimeMillis() - message.getStoreTimestamp();
        assertTrue(waited < 3000, "held for " + waited + " ms after the append");
    }

    @Test
    void minMaxAndTimeBoundaries() throws Exception {
        String topic = Apps.fresh("boundary");
        DefaultMQProducer producer = apps.producer();
        // A batch is stored in one instant: five messages, one, five, with time between them.
        MessageQueue queue = Apps.send(producer, new Message(topic, "setup".getBytes()), 0).getMessageQueue();
        MessageQueue two = new MessageQueue(topic, queue.getBrokerName(), 2);
        sendBatch(producer, two, 5);
        awaitClock();
        sendBatch(producer, two, 1);
        awaitClock();
        sendBatch(producer, two, 5);
        TreeMap<Long, Long> times = new TreeMap<>();
        List<MessageExt> all = apps.pullConsumer(Apps.fresh("boundary-group")).pull(two, "*", 0, 32).getMsgFoundList();
        all.forEach(m -> times.put(m.getQueueOffset(), m.getStoreTimestamp()));
        assertEquals(11, times.size());
        long first = times.get(0L);
        long second = times.get(5L);
        long third = times.get(6L);
        assertEquals(first, times.get(4L));
        assertEquals(third, times.get(10L));

        assertEquals(0, producer.minOffset(two));
        assertEquals(11, producer.maxOffset(two));
        assertEquals(0, producer.maxOffset(new MessageQueue(topic, queue.getBrokerName(), 3)));
        assertEquals(0, producer.minOffset(new MessageQueue(topic, queue.getBrokerName(), 3)));
        assertEquals(first, producer.earliestMsgStoreTime(two));

        assertEquals(0, producer.searchOffset(two, first));
        assertEquals(5, producer.searchOffset(two, second));
        assertEquals(6, producer.searchOffset(two, third));
        assertEquals(0, producer.searchOffset(two, first - 60_000));
        assertEquals(5, producer.searchOffset(two, first + 1), "between two: the next one");
        assertEquals(11, producer.searchOffset(two, third + 60_000), "past the last: the end");
        assertEquals(0, producer.searchOffset(new MessageQueue(topic, queue.getBrokerName(), 3), first), "an empty queue");

        MQAdminImpl admin = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQAdminImpl();
        assertEquals(0, admin.searchOffset(two, first, BoundaryType.LOWER));
        assertEquals(4, admin.searchOffset(two, first, BoundaryType.UPPER));
        assertEquals(5, admin.searchOffset(two, second, BoundaryType.UPPER));
        assertEquals(10, admin.searchOffset(two, third, BoundaryType.UPPER));
        assertEquals(4, admin.searchOffset(two, first + 1, BoundaryType.UPPER), "between two: the one before");
        assertEquals(0, admin.searchOffset(two, first - 60_000, BoundaryType.UPPER));
        assertEquals(10, admin.searchOffset(two, third + 60_000, BoundaryType.UPPER));
    }

    private static void sendBatch(DefaultMQProducer producer, MessageQueue queue, int count) throws Exception {
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            messages.add(new Message(queue.getTopic(), ("batch " + i).getBytes()));
        }
        SendResult result = producer.send(messages, queue);
        assertEquals(count, result.getOffsetMsgId().split(",").length);
    }

    /** Until the clock has moved on, so that what is stored next has a later time. */
    private static void awaitClock() throws InterruptedException {
        long from = System.currentTimeMillis();
        Apps.await(5, () -> "the clock to move", () -> System.currentTimeMillis() > from + 20);
    }

    private static List<String> poll(DefaultLitePullConsumer consumer, int count) {
        List<String> bodies = new ArrayList<>();
        long deadline = System.currentTimeMillis() + 30_000;
        while (bodies.size() < count && System.currentTimeMillis() < deadline) {
            consumer.poll(500).forEach(m -> bodies.add(new String(m.getBody())));
        }
        return Inbox.sorted(bodies);
    }
}
