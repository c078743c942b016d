package compat;

import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.body.CMResult;
import org.apache.rocketmq.remoting.protocol.body.ConsumeMessageDirectlyResult;
import org.apache.rocketmq.remoting.protocol.body.ConsumerRunningInfo;
import org.apache.rocketmq.remoting.protocol.body.ProcessQueueInfo;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** What the broker asks of clients, for the tools that ask the broker: 40, 221, 307, 309; and when the client has gone. */
@Execution(ExecutionMode.CONCURRENT)
class BrokerCallsTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void runningInfoOfTheClientThatIsMeant() throws Exception {
        String topic = Apps.fresh("running");
        String group = Apps.fresh("running-group");
        DefaultMQProducer producer = apps.producer();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("body", 40));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer one = apps.consumer(group, topic, "TagA", inbox);
        inbox.await(40);
        DefaultMQPushConsumer two = apps.consumer(group, topic, "TagA", inbox);
        // Told by the broker (40), they share the queues.
        Apps.await(30, () -> "two queues each", () -> Apps.queuesOf(one, topic).size() == 2 && Apps.queuesOf(two, topic).size() == 2);

        DefaultMQAdminExt admin = apps.admin();
        for (DefaultMQPushConsumer consumer : Set.of(one, two)) {
            ConsumerRunningInfo info = admin.getConsumerRunningInfo(group, clientId(consumer), false);
            Set<Integer> queues = new TreeSet<>();
            for (MessageQueue queue : info.getMqTable().keySet()) {
                if (queue.getTopic().equals(topic)) {
                    queues.add(queue.getQueueId());
                }
            }
            assertEquals(Apps.queuesOf(consumer, topic), queues);
            assertTrue(info.getSubscriptionSet().stream().anyMatch(s -> s.getTopic().equals(topic) && s.getSubString().equals("TagA")));
            assertEquals("CONSUME_PASSIVELY", info.getProperties().getProperty(ConsumerRunningInfo.PROP_CONSUME_TYPE));
            assertEquals(Apps.NAMESRV + ";", info.getProperties().getProperty(ConsumerRunningInfo.PROP_NAMESERVER_ADDR));
            assertEquals(null, info.getJstack());
        }
        ConsumerRunningInfo first = admin.getConsumerRunningInfo(group, clientId(one), true);
        assertTrue(first.getJstack().contains("PullMessageService"), "the stacks of all threads: a large answer passed on whole");
        ProcessQueueInfo queue = first.getMqTable().entrySet().stream().filter(e -> e.getKey().getTopic().equals(topic)).findFirst().orElseThrow().getValue();
        assertEquals(0, queue.getCachedMsgCount());
    }

    @Test
    void consumerStatus() throws Exception {
        String topic = Apps.fresh("status");
        String group = Apps.fresh("status-group");
        DefaultMQProducer producer = apps.producer();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("body", 40));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer one = apps.consumer(group, topic, "*", inbox);
        inbox.await(40);
        Apps.settle(topic, 40, one);
        DefaultMQAdminExt admin = apps.admin();
        String client = clientId(one);
        Map<String, Map<MessageQueue, Long>> status = admin.getConsumeStatus(topic, group, client);
        assertEquals(Set.of(client), status.keySet());
        assertEquals(4, status.get(client).size());
        assertEquals(Set.of(10L), Set.copyOf(status.get(client).values()));
        // With no client named, all of the group.
        assertEquals(Set.of(client), admin.getConsumeStatus(topic, group, "").keySet());
        // With a stranger named, nobody.
        assertEquals(Map.of(), admin.getConsumeStatus(topic, group, "stranger@1"));
    }

    @Test
    void consumesAMessageDirectly() throws Exception {
        String topic = Apps.fresh("direct");
        String group = Apps.fresh("direct-group");
        DefaultMQProducer producer = apps.producer();
        SendResult sent = Apps.send(producer, new Message(topic, "TagA", "key", "direct".getBytes()), 2);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            inbox.messages.addAll(batch);
            return switch (inbox.messages.size()) {
                case 1, 2 -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
                case 3 -> ConsumeConcurrentlyStatus.RECONSUME_LATER;
                case 4 -> null;
                default -> throw new IllegalStateException("the listener's own");
            };
        });
        consumer.start();
        inbox.await(1);

        DefaultMQAdminExt admin = apps.admin();
        String client = clientId(consumer);
        // By both ids that a message has; the result is the listener's.
        ConsumeMessageDirectlyResult success = Apps.eventually(10, () -> admin.consumeMessageDirectly(group, client, topic, sent.getMsgId()));
        assertEquals(CMResult.CR_SUCCESS, success.getConsumeResult());
        assertEquals(false, success.isOrder());
        assertEquals(true, success.isAutoCommit());
        assertTrue(success.getSpentTimeMills() >= 0);
        assertEquals(CMResult.CR_LATER, admin.consumeMessageDirectly(group, client, topic, sent.getOffsetMsgId()).getConsumeResult());
        assertEquals(CMResult.CR_RETURN_NULL, admin.consumeMessageDirectly(group, client, topic, sent.getOffsetMsgId()).getConsumeResult());
        ConsumeMessageDirectlyResult thrown = admin.consumeMessageDirectly(group, client, topic, sent.getOffsetMsgId());
        assertEquals(CMResult.CR_THROW_EXCEPTION, thrown.getConsumeResult());
        assertTrue(thrown.getRemark().contains("the listener's own"), thrown.getRemark());
        assertEquals(5, inbox.messages.size());
        for (var message : inbox.messages) {
            assertEquals("direct", new String(message.getBody()));
            assertEquals(sent.getMsgId(), message.getMsgId());
            assertEquals(topic, message.getTopic());
            assertEquals(2, message.getQueueId());
        }
    }

    @Test
    void consumesAMessageDirectlyInOrder() throws Exception {
        String topic = Apps.fresh("directorder");
        String group = Apps.fresh("directorder-group");
        DefaultMQProducer producer = apps.producer();
        SendResult sent = Apps.send(producer, new Message(topic, "direct".getBytes()), 0);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            inbox.messages.addAll(batch);
            return inbox.messages.size() == 2 ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        inbox.await(1);
        ConsumeMessageDirectlyResult later = apps.admin().consumeMessageDirectly(group, clientId(consumer), topic, sent.getOffsetMsgId());
        assertEquals(CMResult.CR_LATER, later.getConsumeResult());
        assertEquals(true, later.isOrder());
    }

    @Test
    void clientGone() throws Exception {
        String topic = Apps.fresh("goneclient");
        String group = Apps.fresh("goneclient-group");
        DefaultMQProducer producer = apps.producer();
        SendResult sent = Apps.send(producer, new Message(topic, "one".getBytes()), 0);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(group, topic, "*", inbox);
        inbox.await(1);
        DefaultMQAdminExt admin = apps.admin();
        String client = clientId(consumer);
        admin.getConsumerRunningInfo(group, client, false);
        consumer.shutdown();

        MQClientException running = assertThrows(MQClientException.class, () -> admin.getConsumerRunningInfo(group, client, false));
        assertEquals(ResponseCode.SYSTEM_ERROR, running.getResponseCode());
        assertTrue(running.getErrorMessage().contains("The Consumer <" + group + "> <" + client + "> not online"), running.getErrorMessage());
        MQClientException direct = assertThrows(MQClientException.class, () ->
            admin.consumeMessageDirectly(group, client, topic, sent.getOffsetMsgId()));
        assertEquals(ResponseCode.SYSTEM_ERROR, direct.getResponseCode());
        assertTrue(direct.getErrorMessage().contains("The Consumer <" + group + "> <" + client + "> not online"), direct.getErrorMessage());
        MQClientException status = assertThrows(MQClientException.class, () -> admin.getConsumeStatus(topic, group, client));
        assertEquals(ResponseCode.SYSTEM_ERROR, status.getResponseCode());
    }

    /** A client that leaves while it works on the call is as one that was never there: the caller is told, in time. */
    @Test
    void clientLeavesInTheMiddle() throws Exception {
        String topic = Apps.fresh("leaves");
        String group = Apps.fresh("leaves-group");
        DefaultMQProducer producer = apps.producer();
        SendResult sent = Apps.send(producer, new Message(topic, "one".getBytes()), 0);
        CountDownLatch inside = new CountDownLatch(2);
        CountDownLatch go = new CountDownLatch(1);
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.setAwaitTerminationMillisWhenShutdown(0);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            inside.countDown();
            if (inside.getCount() == 0) {
                try {
                    go.await(30, TimeUnit.SECONDS);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Apps.await(30, () -> "the message", () -> inside.getCount() == 1);
        DefaultMQAdminExt admin = apps.admin(20_000);
        String client = clientId(consumer);
        Thread leaver = new Thread(() -> {
            try {
                inside.await(30, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            consumer.shutdown();
        });
        leaver.start();
        long begin = System.nanoTime();
        MQClientException gone = assertThrows(MQClientException.class, () ->
            admin.consumeMessageDirectly(group, client, topic, sent.getOffsetMsgId()));
        long waited = (System.nanoTime() - begin) / 1_000_000;
        // Apache waits all of its 10 s for the answer. Whoever sees the connection end may say so at once.
        assertTrue(Set.of(ResponseCode.CONSUME_MSG_TIMEOUT, ResponseCode.SYSTEM_ERROR).contains(gone.getResponseCode()), gone.getErrorMessage());
        assertTrue(gone.getErrorMessage().contains("consumer <" + group + "> <" + client + ">"), gone.getErrorMessage());
        assertTrue(waited < 13_000, waited + " ms");
        go.countDown();
        leaver.join();
    }

    private static String clientId(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
    }
}
