package compat;

import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** Broadcasting: each consumer of the group gets everything that comes after its start. */
class BroadcastTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void everyConsumerGetsEverything() throws Exception {
        String topic = Apps.fresh("broadcast");
        String group = Apps.fresh("broadcast-group");
        DefaultMQProducer producer = apps.producer();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("before", 4));

        Inbox one = new Inbox();
        Inbox other = new Inbox();
        DefaultMQPushConsumer first = consumer(group, topic, one);
        DefaultMQPushConsumer second = consumer(group, topic, other);
        for (DefaultMQPushConsumer consumer : List.of(first, second)) {
            Apps.await(20, () -> "all queues, has " + Apps.queuesOf(consumer, topic),
                () -> Apps.queuesOf(consumer, topic).equals(Set.of(0, 1, 2, 3)));
        }
        List<String> sent = Apps.bodies("broadcast", 100);
        Apps.sendAll(producer, topic, "TagA", sent);
        one.await(100);
        other.await(100);
        first.shutdown();
        second.shutdown();
        assertEquals(Inbox.sorted(sent), one.bodies());
        assertEquals(Inbox.sorted(sent), other.bodies());
    }

    private DefaultMQPushConsumer consumer(String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.setMessageModel(MessageModel.BROADCASTING);
        // Offsets are kept in a file by client id; a new client begins at the end.
        consumer.setInstanceName(Apps.fresh("instance"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        return consumer;
    }
}
