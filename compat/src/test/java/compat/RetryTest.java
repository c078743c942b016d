package compat;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.body.CMResult;
import org.apache.rocketmq.remoting.protocol.body.ConsumeMessageDirectlyResult;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** What could not be consumed comes again, later and later, and in the end is a dead letter. Level n takes n seconds here. */
@Execution(ExecutionMode.CONCURRENT)
class RetryTest {
    @RegisterExtension
    final Apps apps = new Apps();

    /** One call of a listener: what it got, as it got it, and when. */
    record Attempt(MessageExt message, String topic, int times, long at) { }

    /** What a listener's calls saw. */
    private final List<Attempt> attempts = new CopyOnWriteArrayList<>();

    @Test
    void comesAgainAtGrowingIntervals() throws Exception {
        String topic = Apps.fresh("retry");
        String group = Apps.fresh("retry-group");
        DefaultMQPushConsumer consumer = failing(group, topic, 0, 3);
        DefaultMQProducer producer = apps.producer();
        Message message = new Message(topic, "TagA", "order-1", "again".getBytes());
        message.setFlag(7);
        message.putUserProperty("colour", "blue");
        SendResult sent = Apps.send(producer, message, 2);
        Apps.startWithRetry(consumer);

        Apps.await(40, () -> "4 attempts, got " + attempts, () -> attempts.size() >= 4);
        for (int i = 0; i < 4; i++) {
            Attempt attempt = attempts.get(i);
            assertEquals(i, attempt.times, "attempt");
            assertEquals(topic, attempt.topic, "the listener sees the original topic");
            assertEquals(sent.getMsgId(), attempt.message.getMsgId());
            assertEquals("order-1", attempt.message.getKeys());
            assertEquals("TagA", attempt.message.getTags());
            assertEquals(7, attempt.message.getFlag());
            assertEquals("blue", attempt.message.getUserProperty("colour"));
            assertEquals("again", new String(attempt.message.getBody()));
            assertEquals(attempts.get(0).message.getBornTimestamp(), attempt.message.getBornTimestamp());
            assertEquals(attempts.get(0).message.getBornHost(), attempt.message.getBornHost());
            if (i > 0) {
                assertEquals(sent.getOffsetMsgId(), attempt.message.getProperty("ORIGIN_MESSAGE_ID"));
                assertEquals(topic, attempt.message.getProperty("RETRY_TOPIC"));
                assertEquals(MixAll.getRetryTopic(group), attempt.message.getProperty("REAL_TOPIC"));
                // Times count from level 3 on: 3, 4 and 5 s, never early.
                assertEquals(Integer.toString(2 + i), attempt.message.getProperty("DELAY"));
                long interval = attempt.message.getStoreTimestamp() - attempts.get(i - 1).at;
                long wanted = (2 + i) * 1000L;
                assertTrue(interval >= wanted && interval < wanted + 5000, "retry " + i + " after " + interval + " ms");
            }
        }
        Apps.settle(MixAll.getRetryTopic(group), 3, consumer);
        assertEquals(4, attempts.size());
    }

    @Test
    void listenerChoosesTheDelayLevel() throws Exception {
        String topic = Apps.fresh("level");
        // The first failure is a status, the second an exception, the third no status: all of them say level 1.
        DefaultMQPushConsumer consumer = apps.newConsumer(Apps.fresh("level-group"));
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            note(batch);
            context.setDelayLevelWhenNextConsume(1);
            return switch (batch.get(0).getReconsumeTimes()) {
                case 0 -> ConsumeConcurrentlyStatus.RECONSUME_LATER;
                case 1 -> throw new IllegalStateException("the listener's");
                case 2 -> null;
                default -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            };
        });
        Apps.send(apps.producer(), new Message(topic, "soon".getBytes()), 0);
        Apps.startWithRetry(consumer);
        Apps.await(30, () -> "4 attempts, got " + attempts, () -> attempts.size() >= 4);
        for (int i = 1; i < 4; i++) {
            assertEquals(i, attempts.get(i).times);
            assertEquals("1", attempts.get(i).message.getProperty("DELAY"));
            long interval = attempts.get(i).message.getStoreTimestamp() - attempts.get(i - 1).at;
            assertTrue(interval >= 1000 && interval < 6000, "retry " + i + " after " + interval + " ms");
        }
    }

    @Test
    void onlyWhatFailedOfABatchComesAgain() throws Exception {
        String topic = Apps.fresh("ackindex");
        String group = Apps.fresh("ackindex-group");
        DefaultMQProducer producer = apps.producer();
        for (int i = 0; i < 10; i++) {
            Apps.send(producer, new Message(topic, ("body " + i).getBytes()), 0);
        }
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.setConsumeMessageBatchMaxSize(10);
        List<String> first = new CopyOnWriteArrayList<>();
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            note(batch);
            context.setDelayLevelWhenNextConsume(1);
            if (batch.get(0).getReconsumeTimes() == 0) {
                // All but the first of each batch failed.
                context.setAckIndex(0);
                batch.stream().skip(1).forEach(m -> first.add(new String(m.getBody())));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        Apps.startWithRetry(consumer);
        Apps.await(30, () -> "each failure again: " + first + ", got " + attempts, () -> attempts.size() >= 10 + first.size() && attempts.size() > 10);
        List<String> again = attempts.stream().filter(a -> a.times == 1).map(a -> new String(a.message.getBody())).sorted().toList();
        assertEquals(Inbox.sorted(first), again);
        Apps.settle(topic, 10, consumer);
    }

    @Test
    void deadLetterAfterMaxReconsumeTimes() throws Exception {
        String topic = Apps.fresh("dead");
        String group = Apps.fresh("dead-group");
        DefaultMQPushConsumer consumer = failing(group, topic, 1, 100);
        consumer.setMaxReconsumeTimes(2);
        DefaultMQProducer producer = apps.producer();
        Message message = new Message(topic, "TagA", "order-2", "bad".getBytes());
        message.setFlag(7);
        message.putUserProperty("colour", "blue");
        SendResult sent = Apps.send(producer, message, 1);
        Apps.startWithRetry(consumer);

        MessageExt letter = deadLetter(producer, group);
        assertEquals(List.of(0, 1, 2), attempts.stream().map(Attempt::times).toList());
        MessageExt original = attempts.get(0).message;
        assertEquals(MixAll.getDLQTopic(group), letter.getTopic());
        assertEquals(0, letter.getQueueId());
        assertEquals(0, letter.getQueueOffset());
        assertEquals(3, letter.getReconsumeTimes());
        assertEquals("bad", new String(letter.getBody()));
        assertEquals("TagA", letter.getTags());
        assertEquals("order-2", letter.getKeys());
        assertEquals(7, letter.getFlag());
        assertEquals("blue", letter.getUserProperty("colour"));
        assertEquals(sent.getMsgId(), letter.getMsgId());
        assertEquals(topic, letter.getProperty("RETRY_TOPIC"));
        assertEquals(sent.getOffsetMsgId(), letter.getProperty("ORIGIN_MESSAGE_ID"));
        assertEquals(original.getBornTimestamp(), letter.getBornTimestamp());
        assertEquals(original.getBornHost(), letter.getBornHost());
        assertEquals(original.getStoreHost(), letter.getStoreHost());
        assertTrue(letter.getStoreTimestamp() > original.getStoreTimestamp() + 1900);
        assertEquals(1, producer.fetchPublishMessageQueues(MixAll.getDLQTopic(group)).size(), "one queue, readable and writable");

        // By its id, into the listener of one client, as the console does it.
        String client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        ConsumeMessageDirectlyResult later = apps.admin().consumeMessageDirectly(group, client, letter.getTopic(), letter.getMsgId());
        assertEquals(CMResult.CR_LATER, later.getConsumeResult());
        Attempt direct = attempts.get(3);
        assertEquals(letter.getTopic(), direct.topic, "not the original one");
        assertEquals(sent.getMsgId(), direct.message.getMsgId());
        assertArrayEquals(letter.getBody(), direct.message.getBody());

        // As a new message into the topic it came from.
        Message resent = new Message(letter.getProperty("RETRY_TOPIC"), letter.getTags(), letter.getKeys(), letter.getBody());
        SendResult anew = Apps.send(producer, resent, 0);
        Apps.await(20, () -> "the resent one, got " + attempts, () -> attempts.size() >= 5);
        assertEquals(0, attempts.get(4).times);
        assertEquals(anew.getMsgId(), attempts.get(4).message.getMsgId());
    }

    @Test
    void levelBelowZeroIsADeadLetterAtOnce() throws Exception {
        String topic = Apps.fresh("hopeless");
        String group = Apps.fresh("hopeless-group");
        DefaultMQPushConsumer consumer = failing(group, topic, -1, 100);
        DefaultMQProducer producer = apps.producer();
        SendResult sent = Apps.send(producer, new Message(topic, "hopeless".getBytes()), 0);
        Apps.startWithRetry(consumer);
        MessageExt letter = deadLetter(producer, group);
        assertEquals(1, letter.getReconsumeTimes());
        assertEquals(sent.getMsgId(), letter.getMsgId());
        assertEquals(1, attempts.size());

        // A dead letter topic is a topic: who subscribes to it gets them.
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("undertaker"), MixAll.getDLQTopic(group), "*", inbox);
        inbox.await(1);
        assertEquals(sent.getMsgId(), inbox.messages.get(0).getMsgId());
        assertEquals(letter.getTopic(), inbox.messages.get(0).getTopic());
    }

    @Test
    void sixteenRetriesByDefault() throws Exception {
        String topic = Apps.fresh("sixteen");
        String group = Apps.fresh("sixteen-group");
        DefaultMQPushConsumer consumer = failing(group, topic, 1, 100);
        DefaultMQProducer producer = apps.producer();
        consumer.subscribe(topic, "TagA");
        Apps.send(producer, new Message(topic, "TagB", "not for this group".getBytes()), 0);
        Apps.startWithRetry(consumer);
        // As the client sends back when the broker refuses that: an ordinary message into the retry topic, with its history.
        Message message = new Message(MixAll.getRetryTopic(group), "fifteen".getBytes());
        MessageAccessor.putProperty(message, "RETRY_TOPIC", topic);
        MessageAccessor.setReconsumeTime(message, "15");
        MessageAccessor.setMaxReconsumeTimes(message, "16");
        producer.send(message);
        MessageExt letter = deadLetter(producer, group);
        assertEquals(List.of(15, 16), attempts.stream().map(Attempt::times).toList());
        assertEquals(17, letter.getReconsumeTimes());
        assertEquals(topic, attempts.get(0).topic);

        // Beyond its own limit that message is a dead letter without another try.
        Message beyond = new Message(MixAll.getRetryTopic(group), "beyond".getBytes());
        MessageAccessor.putProperty(beyond, "RETRY_TOPIC", topic);
        MessageAccessor.setReconsumeTime(beyond, "3");
        MessageAccessor.setMaxReconsumeTimes(beyond, "2");
        producer.send(beyond);
        MessageExt second = pull(apps.pullConsumer(Apps.fresh("reader")), new MessageQueue(letter.getTopic(), letter.getBrokerName(), 0), 1);
        assertEquals("beyond", new String(second.getBody()));
        assertEquals(3, second.getReconsumeTimes());
        assertEquals(2, attempts.size());
    }

    @Test
    void pullConsumerSendsBack() throws Exception {
        String topic = Apps.fresh("pullback");
        String group = Apps.fresh("pullback-group");
        DefaultMQProducer producer = apps.producer();
        SendResult sent = Apps.send(producer, new Message(topic, "TagA", "back".getBytes()), 0);
        DefaultMQPullConsumer consumer = apps.pullConsumer(group);
        MessageExt message = pull(consumer, sent.getMessageQueue(), 0);
        consumer.sendMessageBack(message, 1, message.getBrokerName());
        MessageQueue retry = new MessageQueue(MixAll.getRetryTopic(group), message.getBrokerName(), 0);
        MessageExt back = pull(consumer, retry, 0);
        assertEquals(1, back.getReconsumeTimes());
        assertEquals(sent.getMsgId(), back.getMsgId());
        assertEquals(topic, back.getProperty("RETRY_TOPIC"));
        assertEquals("TagA", back.getTags());
        // A message that was sent back may be sent back again: it keeps the id and the topic of the first.
        consumer.sendMessageBack(back, 1, message.getBrokerName());
        MessageExt twice = pull(consumer, retry, 1);
        assertEquals(2, twice.getReconsumeTimes());
        assertEquals(sent.getOffsetMsgId(), twice.getProperty("ORIGIN_MESSAGE_ID"));
        assertEquals(topic, twice.getProperty("RETRY_TOPIC"));
    }

    @Test
    void refusals() throws Exception {
        String topic = Apps.fresh("refused");
        DefaultMQProducer producer = apps.producer();
        SendResult sent = Apps.send(producer, new Message(topic, "one".getBytes()), 0);
        DefaultMQPullConsumer consumer = apps.pullConsumer(Apps.fresh("refused-group"));
        MessageExt message = pull(consumer, sent.getMessageQueue(), 0);
        MQClientAPIImpl api = Apps.api(producer);
        String broker = Apps.brokerOf(producer, sent.getMessageQueue());
        String group = consumer.getConsumerGroup();

        message.setCommitLogOffset(1L << 40);
        MQBrokerException unknown = assertThrows(MQBrokerException.class, () ->
            api.consumerSendMessageBack(broker, "broker", message, group, 0, 10_000, 16));
        assertEquals(ResponseCode.SYSTEM_ERROR, unknown.getResponseCode());
        assertEquals("look message by offset failed, " + (1L << 40), unknown.getErrorMessage());

        MQBrokerException noGroup = assertThrows(MQBrokerException.class, () ->
            api.consumerSendMessageBack(broker, "broker", message, "no group/", 0, 10_000, 16));
        assertEquals(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, noGroup.getResponseCode());
        assertTrue(noGroup.getErrorMessage().startsWith("subscription group not exist, no group/"), noGroup.getErrorMessage());
    }

    /** A consumer, not started, whose listener notes its calls and fails the first so many tries of a message, saying this level. */
    private DefaultMQPushConsumer failing(String group, String topic, int level, int failures) throws Exception {
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            note(batch);
            context.setDelayLevelWhenNextConsume(level);
            return batch.get(0).getReconsumeTimes() < failures ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        return consumer;
    }

    private void note(List<MessageExt> batch) {
        for (MessageExt message : batch) {
            attempts.add(new Attempt(message, message.getTopic(), message.getReconsumeTimes(), System.currentTimeMillis()));
        }
    }

    /** The first dead letter of a group. */
    private MessageExt deadLetter(DefaultMQProducer producer, String group) throws Exception {
        MessageQueue queue = Apps.eventually(40, () -> producer.fetchPublishMessageQueues(MixAll.getDLQTopic(group)).get(0));
        return pull(apps.pullConsumer(Apps.fresh("reader")), queue, 0);
    }

    private static MessageExt pull(DefaultMQPullConsumer consumer, MessageQueue queue, long offset) throws Exception {
        return Apps.eventually(20, () -> {
            PullResult result = consumer.pull(queue, "*", offset, 1);
            return result.getPullStatus() == PullStatus.FOUND ? result.getMsgFoundList().get(0) : null;
        });
    }
}
