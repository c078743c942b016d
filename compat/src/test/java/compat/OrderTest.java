package compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.MessageQueueSelector;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.body.UnlockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Messages chosen a queue by what they belong to, and orderly consumption: one consumer at a time has a queue, under the broker's lock. */
@Execution(ExecutionMode.CONCURRENT)
class OrderTest {
    @RegisterExtension
    final Apps apps = new Apps();

    private static final List<String> STEPS = List.of("created", "paid", "packed", "sent", "delivered");

    /** Five steps of each of twenty orders: an order's steps are consumed as they were sent, whoever chose the queue. */
    @Test
    void selectorsKeepWhatBelongsTogether() throws Exception {
        String topic = Apps.fresh("orders");
        DefaultMQProducer producer = apps.producer();
        MessageQueueSelector own = (queues, message, order) -> queues.get((int) order % queues.size());
        CountDownLatch answered = new CountDownLatch(20);
        for (String what : STEPS) {
            for (int order = 0; order < 60; order++) {
                Message message = new Message(topic, what, "order" + order, (order + " " + what).getBytes());
                if (order < 20) {
                    SendResult result = producer.send(message, own, order);
                    assertEquals(SendStatus.SEND_OK, result.getSendStatus());
                    assertEquals(order % 4, result.getMessageQueue().getQueueId());
                } else if (order < 40) {
                    producer.send(message, new SelectMessageQueueByHash(), order);
                } else if (what.equals("created")) {
                    producer.send(message, new SelectMessageQueueByHash(), order, new SendCallback() {
                        @Override
                        public void onSuccess(SendResult result) {
                            answered.countDown();
                        }

                        @Override
                        public void onException(Throwable e) {
                        }
                    });
                } else {
                    assertTrue(answered.await(20, TimeUnit.SECONDS), "answers of " + answered.getCount() + " missing");
                    producer.sendOneway(message, new SelectMessageQueueByHash(), order);
                }
            }
        }

        Inbox inbox = new Inbox();
        consumer(Apps.fresh("orders-group"), topic, inbox);
        inbox.await(300);
        Map<Integer, List<String>> steps = new TreeMap<>();
        Map<Integer, Set<Integer>> queues = new TreeMap<>();
        for (MessageExt message : inbox.messages) {
            int order = Integer.parseInt(message.getKeys().substring("order".length()));
            steps.computeIfAbsent(order, o -> new ArrayList<>()).add(message.getTags());
            queues.computeIfAbsent(order, o -> new TreeSet<>()).add(message.getQueueId());
        }
        assertEquals(60, steps.size());
        // One-way sends, each answered by nothing, may be stored in any order; so of these only the first is certain.
        steps.forEach((order, seen) -> assertEquals(order < 40 ? STEPS : STEPS.subList(0, 1),
            order < 40 ? seen : seen.subList(0, 1), "order " + order));
        queues.forEach((order, ids) -> assertEquals(Set.of(order % 4), ids, "order " + order));
        assertEquals(1, inbox.overlap.get());
    }

    /** Said by a status or by throwing: the queue waits, other queues don't, and the message comes again before what follows it. */
    @Test
    void suspendedQueueWaitsWithItsMessage() throws Exception {
        String topic = Apps.fresh("suspend");
        DefaultMQProducer producer = apps.producer();
        for (int i = 0; i < 5; i++) {
            for (int queueId = 0; queueId < 4; queueId++) {
                Apps.send(producer, new Message(topic, (queueId + " " + i).getBytes()), queueId);
            }
        }
        List<String> seen = new CopyOnWriteArrayList<>();
        List<Long> times = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = apps.newConsumer(Apps.fresh("suspend-group"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            MessageExt message = batch.get(0);
            String body = new String(message.getBody());
            seen.add(body + " " + message.getReconsumeTimes());
            if (body.equals("1 2")) {
                times.add(System.nanoTime());
            }
            if (body.equals("1 2") && message.getReconsumeTimes() < 3) {
                context.setSuspendCurrentQueueTimeMillis(400);
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            if (body.equals("2 1") && message.getReconsumeTimes() < 1) {
                throw new IllegalStateException("not yet");
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.start();
        Apps.await(30, () -> "24 calls, got " + seen, () -> seen.size() == 24);
        assertEquals(List.of("0 0 0", "0 1 0", "0 2 0", "0 3 0", "0 4 0"), ofQueue(seen, 0));
        assertEquals(List.of("1 0 0", "1 1 0", "1 2 0", "1 2 1", "1 2 2", "1 2 3", "1 3 0", "1 4 0"), ofQueue(seen, 1));
        assertEquals(List.of("2 0 0", "2 1 0", "2 1 1", "2 2 0", "2 3 0", "2 4 0"), ofQueue(seen, 2));
        for (int i = 1; i < times.size(); i++) {
            long waited = (times.get(i) - times.get(i - 1)) / 1_000_000;
            assertTrue(waited >= 399 && waited < 3000, "came again after " + waited + " ms");
        }
        assertTrue(seen.indexOf("3 4 0") < seen.indexOf("1 2 3"), "another queue did not wait");
        Apps.settle(topic, 20, consumer);
    }

    /** With a limit of two retries the third refusal is the last: the message becomes a dead letter and the queue goes on. */
    @Test
    void orderlyRetriesEndAsDeadLetter() throws Exception {
        String topic = Apps.fresh("orderly-dead");
        String group = Apps.fresh("orderly-dead-group");
        DefaultMQProducer producer = apps.producer();
        Message bad = new Message(topic, "TagA", "key of the bad", "bad".getBytes());
        bad.setFlag(7);
        bad.putUserProperty("colour", "blue");
        SendResult sent = Apps.send(producer, bad, 0);
        Apps.send(producer, new Message(topic, "good".getBytes()), 0);
        List<String> seen = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.setMaxReconsumeTimes(2);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            seen.add(new String(batch.get(0).getBody()) + " " + batch.get(0).getReconsumeTimes());
            return seen.get(seen.size() - 1).startsWith("bad") ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Apps.await(30, () -> "the good one, got " + seen, () -> seen.contains("good 0"));
        Apps.settle(topic, 2, consumer);

        MessageQueue deadLetters = new MessageQueue(MixAll.getDLQTopic(group), sent.getMessageQueue().getBrokerName(), 0);
        DefaultMQPullConsumer reader = apps.pullConsumer(Apps.fresh("dead-reader"));
        PullResult dead = Apps.eventually(20, () -> {
            PullResult result = reader.pull(deadLetters, "*", 0, 32);
            return result.getPullStatus() == PullStatus.FOUND ? result : null;
        });
        assertEquals(List.of("bad 0", "bad 1", "bad 2", "good 0"), seen);
        assertEquals(1, dead.getMaxOffset());
        MessageExt letter = dead.getMsgFoundList().get(0);
        assertEquals("bad", new String(letter.getBody()));
        assertEquals(7, letter.getFlag());
        assertEquals("TagA", letter.getTags());
        assertEquals("key of the bad", letter.getKeys());
        assertEquals("blue", letter.getUserProperty("colour"));
        assertEquals(topic, letter.getProperty(MessageConst.PROPERTY_RETRY_TOPIC));
        assertEquals(sent.getMsgId(), letter.getProperty(MessageConst.PROPERTY_ORIGIN_MESSAGE_ID));
        assertEquals(sent.getMsgId(), letter.getMsgId());
        assertEquals(3, letter.getReconsumeTimes());
    }

    /** A member that dies can't give its locks back: they expire after a minute, until which nobody else has its queues. */
    @Test
    @Timeout(150)
    void locksOfDeadMemberExpire() throws Exception {
        String topic = Apps.fresh("orderly-crash");
        String group = Apps.fresh("orderly-crash-group");
        DefaultMQProducer producer = apps.producer();
        Map<Integer, List<String>> sent = new TreeMap<>();
        sendInOrder(producer, topic, sent, 0, 5);
        Member dying = apps.member(group, topic, "orderly");
        Apps.await(30, () -> "20 consumed by the other process, got " + dying.bodies, () -> dying.bodies.size() == 20);
        Apps.eventually(20, () -> committed(producer, group, topic) == 20 ? true : null);

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer survivor = consumer(group, topic, inbox);
        Apps.await(30, () -> "two queues, has " + Apps.queuesOf(survivor, topic), () -> Apps.queuesOf(survivor, topic).size() == 2);
        Set<Integer> shared = Apps.queuesOf(survivor, topic);
        sendInOrder(producer, topic, sent, 5, 10);
        Apps.await(30, () -> "half of it, got " + inbox.messages.size() + " and " + dying.bodies.size(),
            () -> inbox.messages.size() == 10 && dying.bodies.size() == 30);
        long died = System.nanoTime();
        dying.kill();
        sendInOrder(producer, topic, sent, 10, 15);
        inbox.await(20);
        Apps.await(80, () -> "all queues, has " + Apps.queuesOf(survivor, topic), () -> Apps.queuesOf(survivor, topic).size() == 4);
        long waited = (System.nanoTime() - died) / 1_000_000;
        // A member renews its locks every 20 s, so the last time was up to 20 s before it died.
        assertTrue(waited > 35_000, "taken over after " + waited + " ms though the lock was another's");

        // What the dead one had consumed comes again as far as its offset was not yet with the broker, and then all the rest.
        Apps.await(20, () -> "the rest, got " + inbox.bodiesByQueue(), () -> inbox.bodiesByQueue().entrySet().stream()
            .filter(queue -> !shared.contains(queue.getKey())).filter(queue -> queue.getValue().contains("queue " + queue.getKey() + " number 14")).count() == 2);
        inbox.bodiesByQueue().forEach((queueId, bodies) -> {
            List<String> all = sent.get(queueId);
            assertEquals(all.subList(all.size() - bodies.size(), all.size()), bodies);
            assertTrue(bodies.size() == (shared.contains(queueId) ? 10 : bodies.size()) && bodies.size() <= 10);
        });
        assertEquals(1, inbox.overlap.get());
    }

    @Test
    void queueOrderIsKeptAndLocksMove() throws Exception {
        String topic = Apps.fresh("orderly");
        String group = Apps.fresh("orderly-group");
        DefaultMQProducer producer = apps.producer();
        Map<Integer, List<String>> sent = new TreeMap<>();
        sendInOrder(producer, topic, sent, 0, 50);

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer first = consumer(group, topic, inbox);
        inbox.await(200);
        assertEquals(sent, inbox.bodiesByQueue());
        Apps.settle(topic, 200, first);

        DefaultMQPushConsumer second = consumer(group, topic, inbox);
        Apps.await(30, () -> "two queues each, have " + Apps.queuesOf(first, topic) + " and " + Apps.queuesOf(second, topic), () -> {
            Set<Integer> union = new TreeSet<>(Apps.queuesOf(first, topic));
            union.addAll(Apps.queuesOf(second, topic));
            return union.size() == 4 && Apps.queuesOf(first, topic).size() == 2 && Apps.queuesOf(second, topic).size() == 2;
        });
        sendInOrder(producer, topic, sent, 50, 100);
        inbox.await(400);
        assertEquals(sent, inbox.bodiesByQueue());
        Apps.settle(topic, 400, first, second);

        // Leaving gives the locks back; without that the other would wait 60 s for them to expire.
        second.shutdown();
        Apps.await(30, () -> "all queues, has " + Apps.queuesOf(first, topic), () -> Apps.queuesOf(first, topic).size() == 4);
        sendInOrder(producer, topic, sent, 100, 120);
        inbox.await(480);
        first.shutdown();
        assertEquals(sent, inbox.bodiesByQueue());
        assertEquals(1, inbox.overlap.get());
    }

    @Test
    void lockIsExclusiveWithinGroup() throws Exception {
        String topic = Apps.fresh("lock");
        String group = Apps.fresh("lock-group");
        DefaultMQProducer producer = apps.producer();
        MessageQueue zero = Apps.send(producer, new Message(topic, "a".getBytes()), 0).getMessageQueue();
        MessageQueue one = new MessageQueue(topic, zero.getBrokerName(), 1);
        String broker = Apps.brokerOf(producer, zero);
        MQClientAPIImpl api = Apps.api(producer);

        assertEquals(Set.of(zero), lock(api, broker, group, "client-a", zero));
        assertEquals(Set.of(zero), lock(api, broker, group, "client-a", zero), "its holder renews it");
        assertEquals(Set.of(one), lock(api, broker, group, "client-b", zero, one), "of two, only the free one");
        assertEquals(Set.of(zero), lock(api, broker, Apps.fresh("other"), "client-b", zero), "another group has its own locks");

        unlock(api, broker, group, "client-b", zero);
        assertEquals(Set.of(), lock(api, broker, group, "client-b", zero), "only its holder gives it back");
        unlock(api, broker, group, "client-a", zero);
        assertEquals(Set.of(zero), lock(api, broker, group, "client-b", zero));
    }

    private static List<String> ofQueue(List<String> seen, int queueId) {
        return seen.stream().filter(line -> line.startsWith(queueId + " ")).toList();
    }

    /** The sum of the offsets that the broker holds for a group. */
    private static long committed(DefaultMQProducer producer, String group, String topic) throws Exception {
        long sum = 0;
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
            header.setConsumerGroup(group);
            header.setTopic(topic);
            header.setQueueId(queue.getQueueId());
            header.setSetZeroIfNotFound(false);
            sum += Apps.api(producer).queryConsumerOffset(Apps.brokerOf(producer, queue), header, 10_000);
        }
        return sum;
    }

    private static Set<MessageQueue> lock(MQClientAPIImpl api, String broker, String group, String client, MessageQueue... queues)
        throws Exception {
        LockBatchRequestBody body = new LockBatchRequestBody();
        body.setConsumerGroup(group);
        body.setClientId(client);
        body.getMqSet().addAll(List.of(queues));
        return api.lockBatchMQ(broker, body, 10_000);
    }

    private static void unlock(MQClientAPIImpl api, String broker, String group, String client, MessageQueue queue) throws Exception {
        UnlockBatchRequestBody body = new UnlockBatchRequestBody();
        body.setConsumerGroup(group);
        body.setClientId(client);
        body.getMqSet().add(queue);
        api.unlockBatchMQ(broker, body, 10_000, false);
    }

    private DefaultMQPushConsumer consumer(String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.orderly());
        consumer.start();
        return consumer;
    }

    private static void sendInOrder(DefaultMQProducer producer, String topic, Map<Integer, List<String>> sent, int from, int to)
        throws Exception {
        for (int i = from; i < to; i++) {
            for (int queueId = 0; queueId < 4; queueId++) {
                String body = "queue " + queueId + " number " + i;
                Apps.send(producer, new Message(topic, body.getBytes()), queueId);
                sent.computeIfAbsent(queueId, q -> new ArrayList<>()).add(body);
            }
        }
    }
}
