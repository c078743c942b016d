package compat;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.OffsetNotFoundException;
import org.apache.rocketmq.client.impl.MQAdminImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.BoundaryType;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Pull consumers of both kinds, where a new group begins, and the questions about offsets that they and tools ask. */
@Execution(ExecutionMode.CONCURRENT)
class PullFamilyTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    @Tag("binary")
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
    @Tag("binary")
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
    @Tag("binary")
    void pullStatusesAndOffsets() throws Exception {
        String topic = Apps.fresh("pull");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = null;
        for (int i = 0; i < 40; i++) {
            queue = Apps.send(producer, new Message(topic, i < 20 ? "low" : "high", ("body " + i).getBytes()), 0).getMessageQueue();
        }
        DefaultMQPullConsumer consumer = apps.pullConsumer(Apps.fresh("pull-group"));

        Apps.awaitEnd(producer, queue, 40);
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
    @Tag("binary")
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
    @Tag("binary")
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
        Apps.awaitEnd(producer, two, 11);
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

    @Test
    void litePullSelectsBySql() throws Exception {
        String topic = Apps.fresh("litesql");
        DefaultMQProducer producer = apps.producer();
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            Message message = new Message(topic, "TagA", ("body " + i).getBytes());
            message.putUserProperty("amount", Integer.toString(i));
            message.putUserProperty("region", i % 2 == 0 ? "EU" : "US");
            Apps.send(producer, message, i % 4);
            if (i >= 10 && i % 2 == 0) {
                wanted.add("body " + i);
            }
        }
        DefaultLitePullConsumer consumer = apps.newLitePullConsumer(Apps.fresh("litesql-group"));
        consumer.subscribe(topic, MessageSelector.bySql("amount >= 10 AND region = 'EU'"));
        consumer.start();
        assertEquals(Inbox.sorted(wanted), poll(consumer, wanted.size()));
        assertEquals(List.of(), consumer.poll(500));

        DefaultMQPullConsumer puller = apps.pullConsumer(Apps.fresh("pullsql-group"));
        MessageQueue queue = new MessageQueue(topic, puller.fetchSubscribeMessageQueues(topic).iterator().next().getBrokerName(), 2);
        // Before its first heartbeat to that broker the client doesn't know whether it can.
        PullResult selected = Apps.eventually(20, () -> puller.pull(queue, MessageSelector.bySql("amount IS NOT NULL AND amount > 10"), 0, 32));
        assertEquals(PullStatus.FOUND, selected.getPullStatus());
        assertEquals(List.of("body 14", "body 18"), selected.getMsgFoundList().stream().map(m -> new String(m.getBody())).toList());
    }

    @Test
    void litePullCommitsWhatItIsTold() throws Exception {
        String topic = Apps.fresh("litecommit");
        String group = Apps.fresh("litecommit-group");
        DefaultMQProducer producer = apps.producer();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("body", 40));
        DefaultLitePullConsumer consumer = apps.newLitePullConsumer(group);
        consumer.setAutoCommit(false);
        consumer.start();
        MessageQueue queue = queue(consumer, topic, 1);
        MessageQueue other = queue(consumer, topic, 2);
        consumer.assign(List.of(queue, other));
        assertEquals(20, poll(consumer, 20).size());
        consumer.commit(Map.of(queue, 4L), true);
        Apps.eventually(10, () -> consumer.committed(queue) == 4 ? true : null);
        consumer.shutdown();

        // The next one goes on there, and in the queue that nothing was committed of at its beginning.
        DefaultLitePullConsumer again = apps.newLitePullConsumer(group);
        again.start();
        again.assign(List.of(queue, other));
        assertEquals(16, poll(again, 16).size());
    }

    @Test
    void litePullSeeksByTime() throws Exception {
        String topic = Apps.fresh("litetime");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = Apps.send(producer, new Message(topic, "early".getBytes()), 0).getMessageQueue();
        awaitClock();
        long between = System.currentTimeMillis();
        awaitClock();
        Apps.send(producer, new Message(topic, "late".getBytes()), 0);
        DefaultLitePullConsumer consumer = apps.newLitePullConsumer(Apps.fresh("litetime-group"));
        consumer.start();
        assertEquals(0L, consumer.offsetForTimestamp(queue, between - 60_000));
        assertEquals(1L, consumer.offsetForTimestamp(queue, between));
        assertEquals(2L, consumer.offsetForTimestamp(queue, between + 60_000));
        consumer.assign(List.of(queue));
        assertEquals(2, poll(consumer, 2).size());
        consumer.seek(queue, consumer.offsetForTimestamp(queue, between));
        assertEquals(List.of("late"), poll(consumer, 1));
    }

    /**
     * While a queue's first message is there and in memory, a new group begins with it, wherever it wants to: nobody can have
     * wanted to leave out what came between the topic's making and the group's.
     */
    @Test
    void newGroupBeginsAtTheBeginningOfAYoungQueue() throws Exception {
        DefaultMQProducer producer = apps.producer();
        for (ConsumeFromWhere where : List.of(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET,
            ConsumeFromWhere.CONSUME_FROM_TIMESTAMP)) {
            String topic = Apps.fresh("where");
            List<String> before = Apps.bodies("before", 30);
            for (int i = 0; i < 30; i++) {
                Apps.send(producer, new Message(topic, before.get(i).getBytes()), i % 3);
            }
            Inbox inbox = new Inbox();
            DefaultMQPushConsumer consumer = apps.newConsumer(Apps.fresh("where-group"));
            consumer.setConsumeFromWhere(where);
            consumer.setConsumeTimestamp("20991231235959");
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(inbox.concurrently());
            consumer.start();
            DefaultLitePullConsumer lite = apps.newLitePullConsumer(Apps.fresh("where-lite"));
            lite.setConsumeFromWhere(where);
            lite.setConsumeTimestamp("20991231235959");
            lite.subscribe(topic, "*");
            lite.start();
            inbox.await(30);
            assertEquals(Inbox.sorted(before), inbox.bodies(), where.toString());
            assertEquals(Inbox.sorted(before), poll(lite, 30), where.toString());
            // Of the queue that was empty it gets what comes from now on.
            Apps.await(20, () -> "all queues", () -> Apps.queuesOf(consumer, topic).size() == 4);
            Apps.send(producer, new Message(topic, "after".getBytes()), 3);
            inbox.await(31);
            assertEquals("after", new String(inbox.messages.get(30).getBody()));
        }
    }

    @Test
    void askedNotToSayZeroTheBrokerSaysNotFound() throws Exception {
        String topic = Apps.fresh("notfound");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = Apps.send(producer, new Message(topic, "one".getBytes()), 0).getMessageQueue();
        QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
        header.setConsumerGroup(Apps.fresh("notfound-group"));
        header.setTopic(topic);
        header.setQueueId(0);
        // Apache shows what was sent a little later.
        assertEquals(0, Apps.eventually(10, () -> Apps.api(producer).queryConsumerOffset(Apps.brokerOf(producer, queue), header, 10_000)));
        header.setSetZeroIfNotFound(false);
        OffsetNotFoundException notFound = assertThrows(OffsetNotFoundException.class, () ->
            Apps.api(producer).queryConsumerOffset(Apps.brokerOf(producer, queue), header, 10_000));
        assertEquals(ResponseCode.QUERY_NOT_FOUND, notFound.getResponseCode());
        // An empty queue has no first message to begin with.
        header.setSetZeroIfNotFound(null);
        header.setQueueId(3);
        assertThrows(OffsetNotFoundException.class, () ->
            Apps.api(producer).queryConsumerOffset(Apps.brokerOf(producer, queue), header, 10_000));
    }

    @Test
    void resetByTimeOfAGroupOnline() throws Exception {
        String topic = Apps.fresh("reset");
        String group = Apps.fresh("reset-group");
        DefaultMQProducer producer = apps.producer();
        long between = sendInTwoLots(producer, topic);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(group, topic, "*", inbox);
        inbox.await(16);
        Apps.settle(topic, 16, consumer);

        DefaultMQAdminExt admin = apps.admin();
        Map<MessageQueue, Long> reset = admin.resetOffsetByTimestamp(topic, group, between, true);
        assertEquals(4, reset.size());
        assertEquals(Set.of(2L), Set.copyOf(reset.values()));
        // Each queue's next pull says so: where one is held, up to 15 s later. Then the client lets go of the queue for 10 s.
        Apps.await(50, () -> "24 messages, got " + inbox.messages.size(), () -> inbox.messages.size() >= 24);
        assertEquals(Inbox.sorted(Apps.bodies("late", 8)), Inbox.sorted(inbox.bodiesFrom(16)));
        Apps.settle(topic, 16, consumer);
        assertEquals(24, inbox.messages.size());
    }

    @Test
    void resetByTimeOfAGroupOffline() throws Exception {
        String topic = Apps.fresh("offline");
        String group = Apps.fresh("offline-group");
        DefaultMQProducer producer = apps.producer();
        long between = sendInTwoLots(producer, topic);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(group, topic, "*", inbox);
        inbox.await(16);
        consumer.shutdown();
        assertEquals(16, inbox.messages.size());

        DefaultMQAdminExt admin = apps.admin();
        assertEquals(Set.of(2L), Set.copyOf(admin.resetOffsetByTimestamp(topic, group, between, true).values()));
        Inbox after = new Inbox();
        apps.consumer(group, topic, "*", after);
        after.await(8);
        assertEquals(Inbox.sorted(Apps.bodies("late", 8)), after.bodies());

        String stranger = Apps.fresh("offline-stranger");
        MQClientException noGroup = assertThrows(MQClientException.class, () ->
            admin.resetOffsetByTimestamp(topic, stranger, between, true));
        assertEquals(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, noGroup.getResponseCode());
        assertTrue(noGroup.getErrorMessage().contains("Group " + stranger + " does not exist"), noGroup.getErrorMessage());
    }

    /** A group that is known but has read nothing of a topic can be told where to begin with it. */
    @Test
    void resetByTimeBeforeTheFirstPull() throws Exception {
        String topic = Apps.fresh("ahead");
        String group = Apps.fresh("ahead-group");
        DefaultMQProducer producer = apps.producer();
        long between = sendInTwoLots(producer, topic);
        String other = Apps.fresh("ahead-other");
        Apps.send(producer, new Message(other, "other".getBytes()), 0);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer known = apps.consumer(group, other, "*", inbox);
        inbox.await(1);
        known.shutdown();

        assertEquals(Set.of(2L), Set.copyOf(apps.admin().resetOffsetByTimestamp(topic, group, between, true).values()));
        Inbox after = new Inbox();
        apps.consumer(group, topic, "*", after);
        after.await(8);
        assertEquals(Inbox.sorted(Apps.bodies("late", 8)), after.bodies());
    }

    /** Eight messages, a moment, eight more, two in each queue; returns that moment. */
    private static long sendInTwoLots(DefaultMQProducer producer, String topic) throws Exception {
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("early", 8));
        awaitClock();
        long between = System.currentTimeMillis();
        awaitClock();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("late", 8));
        return between;
    }

    private static MessageQueue queue(DefaultLitePullConsumer consumer, String topic, int id) throws Exception {
        return consumer.fetchMessageQueues(topic).stream().filter(q -> q.getQueueId() == id).findFirst().orElseThrow();
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
