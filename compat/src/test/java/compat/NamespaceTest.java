package compat;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Namespaces, which are prefixes of topics and groups (and in their second form, a word in every request), and units. */
@Execution(ExecutionMode.CONCURRENT)
class NamespaceTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void namespacesAreApart() throws Exception {
        String topic = Apps.fresh("tenants");
        String group = Apps.fresh("tenants-group");
        // Two tenants with the same names of topic and group, and somebody with no namespace.
        for (String namespace : List.of("NS_ONE", "NS_TWO", "")) {
            DefaultMQProducer producer = apps.newProducer();
            producer.setNamespace(namespace);
            producer.start();
            // The client looks for the queue by its name without the namespace.
            SendResult sent = producer.send(new Message(topic, "TagA", ("for " + namespace).getBytes()));
            assertEquals(topic, sent.getMessageQueue().getTopic());
        }
        for (String namespace : List.of("NS_ONE", "NS_TWO", "")) {
            List<String> seen = new CopyOnWriteArrayList<>();
            DefaultMQPushConsumer consumer = apps.newConsumer(group);
            consumer.setNamespace(namespace);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
                for (MessageExt message : batch) {
                    seen.add(new String(message.getBody()) + " in " + message.getTopic() + " try " + message.getReconsumeTimes());
                }
                context.setDelayLevelWhenNextConsume(1);
                return batch.get(0).getReconsumeTimes() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            Apps.startWithRetry(consumer);
            Apps.await(20, () -> "two tries, got " + seen, () -> seen.size() >= 2);
            assertEquals(List.of("for " + namespace + " in " + topic + " try 0", "for " + namespace + " in " + topic + " try 1"), seen);
        }
        // On the broker the names are the long ones.
        DefaultMQProducer asker = apps.producer();
        assertEquals(4, asker.fetchPublishMessageQueues("NS_ONE%" + topic).size());
        assertEquals(1, asker.fetchPublishMessageQueues(MixAll.RETRY_GROUP_TOPIC_PREFIX + "NS_ONE%" + group).size());
        assertEquals(4, asker.fetchPublishMessageQueues(topic).size());
    }

    @Test
    void namespaceInEveryRequest() throws Exception {
        String topic = Apps.fresh("second");
        DefaultMQProducer producer = apps.newProducer();
        producer.setNamespaceV2("ns-v2");
        producer.start();
        MessageQueue queue = Apps.send(producer, new Message(topic, "TagA", "v2".getBytes()), 0).getMessageQueue();
        assertEquals(topic, queue.getTopic());
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.newConsumer(Apps.fresh("second-group"));
        consumer.setNamespaceV2("ns-v2");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(1);
        assertEquals(topic, inbox.messages.get(0).getTopic());
        // A broker that is not behind a proxy doesn't care.
        Inbox plain = new Inbox();
        apps.consumer(Apps.fresh("second-plain"), topic, "*", plain);
        plain.await(1);
    }

    @Test
    void units() throws Exception {
        String topic = Apps.fresh("unit");
        String group = Apps.fresh("unit-group");
        DefaultMQProducer producer = apps.newProducer();
        producer.setUnitName("unit1");
        producer.setUnitMode(true);
        producer.start();
        Apps.send(producer, new Message(topic, "TagA", "in the unit".getBytes()), 0);
        assertTrue(producer.getDefaultMQProducerImpl().getMqClientFactory().getClientId().endsWith("@unit1"));
        // The topic that this send made is a unit's, and the nameserver can list it.
        Apps.eventually(20, () -> Apps.api(producer).getUnitTopicList(false, 10_000).getTopicList().contains(topic) ? true : null);

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.setUnitName("unit1");
        consumer.setUnitMode(true);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(1);
        assertEquals("in the unit", new String(inbox.messages.get(0).getBody()));
        // The retry topic that its heartbeat made has subscribers in units.
        Apps.eventually(20, () -> Apps.api(producer).getHasUnitSubTopicList(true, 10_000).getTopicList().contains(MixAll.getRetryTopic(group)) ? true : null);
        String plain = Apps.fresh("no-unit");
        Apps.send(apps.producer(), new Message(plain, "elsewhere".getBytes()), 0);
        assertTrue(!Apps.api(producer).getUnitTopicList(false, 10_000).getTopicList().contains(plain));

        DefaultLitePullConsumer lite = apps.newLitePullConsumer(Apps.fresh("unit-lite"));
        lite.setUnitMode(true);
        lite.subscribe(topic, "*");
        lite.start();
        assertEquals(1, Apps.eventually(20, () -> {
            List<MessageExt> polled = lite.poll(500);
            return polled.isEmpty() ? null : polled;
        }).size());
    }
}
