package compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.body.UnlockBatchRequestBody;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** Orderly consumption: one consumer at a time has a queue, under the broker's lock, and gets it in order. */
class OrderlyTest {
    @RegisterExtension
    final Apps apps = new Apps();

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
