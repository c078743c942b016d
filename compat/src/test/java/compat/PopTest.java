package compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.KeyBuilder;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.constant.ConsumeInitMode;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageQueueAssignment;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.NotificationRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.NotificationResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/**
 * POP: the broker says who gets which message and for how long nobody else does; what is acknowledged is done with, what isn't
 * comes back over a retry topic of the group and topic.
 */
@Execution(ExecutionMode.CONCURRENT)
class PopTest {
    /** How long after the end of its invisible time a message may be back in the retry topic. Apache, whose revive goes by turns, takes 2 to 4 s. */
    private static final long REVIVE_LATE_MAX = System.getProperty("against", "").equals("skylark") ? 1000 : 7000;

    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void acknowledgedNeverComesBack() throws Exception {
        Popper popper = popper("popack");
        List<String> sent = Apps.bodies("body", 40);
        Apps.sendAll(popper.producer, popper.topic, "TagA", sent);
        List<MessageExt> got = popper.popAll(40, 6000);
        assertEquals(Inbox.sorted(sent), bodies(got));
        for (MessageExt message : got) {
            assertEquals(0, message.getReconsumeTimes());
            assertEquals(popper.topic, message.getTopic());
            String[] handle = ExtraInfoUtil.split(message.getProperty("POP_CK"));
            assertEquals(6000, ExtraInfoUtil.getInvisibleTime(handle));
            assertEquals(message.getQueueId(), ExtraInfoUtil.getQueueId(handle));
            assertEquals(message.getQueueOffset(), ExtraInfoUtil.getQueueOffset(handle));
            assertEquals(popper.queue.getBrokerName(), ExtraInfoUtil.getBrokerName(handle));
            assertEquals(handle[1], message.getProperty("1ST_POP_TIME"));
            assertEquals(AckStatus.OK, popper.ack(message));
        }
        long acked = System.currentTimeMillis();
        // Twice is as good as once.
        assertEquals(AckStatus.OK, popper.ack(got.get(0)));
        // Beyond the time when it would be back, on Apache too.
        while (System.currentTimeMillis() < acked + 6000 + 5000) {
            assertEquals(List.of(), popper.pop(32, 2000, 1000).messages);
        }
        // The group is through, as everybody can see.
        Apps.eventually(20, () -> popper.committed() == 41 ? true : null);
    }

    @Test
    void whatIsNotAcknowledgedComesBack() throws Exception {
        Popper popper = popper("popback");
        SendResult sent = Apps.send(popper.producer, new Message(popper.topic, "TagA", "key", "back".getBytes()), 1);
        MessageExt first = popper.popAll(1, 2000).get(0);
        MessageExt message = first;
        for (int attempt = 1; attempt <= 3; attempt++) {
            String[] handle = ExtraInfoUtil.split(message.getProperty("POP_CK"));
            long visible = ExtraInfoUtil.getPopTime(handle) + ExtraInfoUtil.getInvisibleTime(handle);
            MessageExt again = popper.popAll(1, attempt < 3 ? 2000 : 30_000).get(0);
            assertEquals(attempt, again.getReconsumeTimes(), "attempts are exact");
            assertEquals("back", new String(again.getBody()));
            assertEquals(sent.getMsgId(), again.getMsgId());
            assertEquals("key", again.getKeys());
            assertEquals("TagA", again.getTags());
            assertEquals(popper.topic, again.getTopic());
            assertEquals(first.getBornTimestamp(), again.getBornTimestamp());
            assertEquals(first.getProperty("1ST_POP_TIME"), again.getProperty("1ST_POP_TIME"));
            assertEquals("1", ExtraInfoUtil.getRetry(ExtraInfoUtil.split(again.getProperty("POP_CK"))), "from the retry topic, version 1");
            long late = again.getStoreTimestamp() - visible;
            assertTrue(late >= -5 && late <= REVIVE_LATE_MAX, "back " + late + " ms after its time");
            message = again;
        }
        assertEquals(AckStatus.OK, popper.ack(message));

        // The retry topic is one, named after group and topic; what's in it is the original but for what the broker notes.
        DefaultMQPullConsumer reader = apps.pullConsumer(Apps.fresh("reader"));
        MessageQueue retry = new MessageQueue(KeyBuilder.buildPopRetryTopicV1(popper.topic, popper.group), popper.queue.getBrokerName(), 0);
        List<MessageExt> copies = Apps.eventually(20, () -> reader.pull(retry, "*", 0, 32).getMsgFoundList());
        assertEquals(List.of(1, 2, 3), copies.stream().map(MessageExt::getReconsumeTimes).toList());
    }

    @Test
    void invisibleTimeIsChanged() throws Exception {
        Popper popper = popper("popchange");
        Apps.send(popper.producer, new Message(popper.topic, "shorter".getBytes()), 0);
        Apps.send(popper.producer, new Message(popper.topic, "longer".getBytes()), 1);
        List<MessageExt> got = popper.popAll(2, 5000);
        MessageExt shorter = got.stream().filter(m -> new String(m.getBody()).equals("shorter")).findFirst().orElseThrow();
        MessageExt longer = got.stream().filter(m -> new String(m.getBody()).equals("longer")).findFirst().orElseThrow();
        AckResult renewed = popper.change(longer, 30_000);
        assertEquals(AckStatus.OK, renewed.getStatus());
        AckResult soon = popper.change(shorter, 1000);
        assertEquals(AckStatus.OK, soon.getStatus());
        assertNotEquals(shorter.getProperty("POP_CK"), soon.getExtraInfo());

        // The shorter comes back by its new time; the longer doesn't by its old.
        MessageExt back = popper.popAll(1, 10_000).get(0);
        assertEquals("shorter", new String(back.getBody()));
        assertEquals(1, back.getReconsumeTimes());
        long late = back.getStoreTimestamp() - (soon.getPopTime() + 1000);
        assertTrue(late >= -5 && late <= REVIVE_LATE_MAX, "back " + late + " ms after its time");
        assertEquals(AckStatus.OK, popper.ack(back));
        assertEquals(List.of(), popper.pop(32, 2000, 6000).messages);
        assertEquals(AckStatus.OK, popper.ack(longer, renewed.getExtraInfo()));
    }

    @Test
    void batchAcknowledges() throws Exception {
        Popper popper = popper("popbatch");
        Apps.sendAll(popper.producer, popper.topic, "TagA", Apps.bodies("body", 40));
        List<MessageExt> got = popper.popAll(40, 6000);
        List<String> kept = new ArrayList<>();
        List<String> handles = new ArrayList<>();
        for (MessageExt message : got) {
            if (message.getQueueOffset() % 4 == 3) {
                kept.add(new String(message.getBody()));
            } else {
                handles.add(message.getProperty("POP_CK"));
            }
        }
        assertEquals(8, kept.size());
        assertEquals(AckStatus.OK, popper.batchAck(handles));
        List<MessageExt> back = popper.popAll(8, 10_000);
        assertEquals(Inbox.sorted(kept), bodies(back));
        assertEquals(AckStatus.OK, popper.batchAck(back.stream().map(m -> m.getProperty("POP_CK")).toList()));
        assertEquals(List.of(), popper.pop(32, 2000, 3000).messages);
    }

    @Test
    void waitsForArrival() throws Exception {
        Popper popper = popper("popwait");
        long begin = System.nanoTime();
        PopAnswer nothing = popper.pop(32, 10_000, 1500);
        long waited = (System.nanoTime() - begin) / 1_000_000;
        assertEquals(PopStatus.POLLING_NOT_FOUND, nothing.status);
        assertTrue(waited >= 1000 && waited < 5000, "waited " + waited + " ms");

        CompletableFuture<PopAnswer> held = popper.popLater(-1, 32, 10_000, 15_000, false, null, "*", ExpressionType.TAG);
        Apps.send(popper.producer, new Message(popper.topic, "at last".getBytes()), 3);
        PopAnswer answer = held.get(20, TimeUnit.SECONDS);
        assertEquals(List.of("at last"), bodies(answer.messages));
        assertTrue(answer.result.getPopTime() - answer.messages.get(0).getStoreTimestamp() < 3000);
        assertEquals(AckStatus.OK, popper.ack(answer.messages.get(0)));
    }

    /** Four at once, each tenth message left lying the first time: that one comes twice, all others once. */
    @Test
    void nothingLostNothingTwice() throws Exception {
        Popper popper = popper("popload");
        int count = 400;
        List<Message> lot = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            lot.add(new Message(popper.topic, Integer.toString(i).getBytes()));
            if (lot.size() == 50) {
                popper.producer.send(lot, new MessageQueue(popper.topic, popper.queue.getBrokerName(), i / 50 % 4));
                lot.clear();
            }
        }
        Map<String, Integer> attempts = new ConcurrentHashMap<>();
        List<String> wrong = new CopyOnWriteArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Thread thread = new Thread(() -> {
                long deadline = System.currentTimeMillis() + 60_000;
                try {
                    while (attempts.values().stream().mapToInt(n -> n).sum() < count + count / 10 && System.currentTimeMillis() < deadline) {
                        for (MessageExt message : popper.pop(8, 10_000, 500).messages) {
                            String body = new String(message.getBody());
                            int attempt = attempts.merge(body, 1, Integer::sum);
                            if (attempt != message.getReconsumeTimes() + 1) {
                                wrong.add(body + " is said to be tried " + message.getReconsumeTimes() + " times, but came " + attempt);
                            }
                            if ((attempt > 1 || Integer.parseInt(body) % 10 != 0) && popper.ack(message) != AckStatus.OK) {
                                wrong.add(body + " was not acknowledged");
                            }
                        }
                    }
                } catch (Exception e) {
                    wrong.add(e.toString());
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(List.of(), wrong);
        assertEquals(count, attempts.size());
        attempts.forEach((body, attempt) -> assertEquals(Integer.parseInt(body) % 10 == 0 ? 2 : 1, attempt, body));
        assertEquals(List.of(), popper.pop(32, 10_000, 0).messages);
    }

    @Test
    void oneQueueOrAll() throws Exception {
        Popper popper = popper("popqueue");
        Apps.sendAll(popper.producer, popper.topic, "TagA", Apps.bodies("body", 8));
        popper.awaitVisible(2, 2);
        popper.awaitVisible(1, 2);
        List<MessageExt> two = popper.popLater(2, 32, 10_000, 1000, false, null, "*", ExpressionType.TAG).get(20, TimeUnit.SECONDS).messages;
        assertEquals(List.of("body 2", "body 6"), bodies(two));
        List<MessageExt> one = popper.popLater(1, 1, 10_000, 1000, false, null, "*", ExpressionType.TAG).get(20, TimeUnit.SECONDS).messages;
        assertEquals(List.of("body 1"), bodies(one), "no more than asked for");
        List<MessageExt> rest = popper.popAll(5, 10_000);
        assertEquals(List.of("body 0", "body 3", "body 4", "body 5", "body 7"), bodies(rest));
        for (List<MessageExt> batch : List.of(two, one, rest)) {
            assertEquals(AckStatus.OK, popper.batchAck(batch.stream().map(m -> m.getProperty("POP_CK")).toList()));
        }
    }

    @Test
    void filters() throws Exception {
        Popper popper = popper("popfilter");
        for (int i = 0; i < 12; i++) {
            Message message = new Message(popper.topic, i % 3 == 0 ? "TagA" : "TagB", ("body " + i).getBytes());
            message.putUserProperty("amount", Integer.toString(i));
            Apps.send(popper.producer, message, i % 4);
        }
        List<MessageExt> tagged = popper.popAll(4, 20_000, "TagA", ExpressionType.TAG);
        assertEquals(List.of("body 0", "body 3", "body 6", "body 9"), bodies(tagged));
        assertEquals(AckStatus.OK, popper.batchAck(tagged.stream().map(m -> m.getProperty("POP_CK")).toList()));

        Popper sql = new Popper(popper.topic, Apps.fresh("popsql-group"), popper.producer, popper.queue);
        List<MessageExt> selected = sql.popAll(3, 20_000, "amount > 8", ExpressionType.SQL92);
        assertEquals(List.of("body 10", "body 11", "body 9"), bodies(selected));
        assertEquals(AckStatus.OK, sql.batchAck(selected.stream().map(m -> m.getProperty("POP_CK")).toList()));
        assertEquals(ResponseCode.SUBSCRIPTION_PARSE_FAILED, refusal(sql.popLater(-1, 1, 10_000, 0, false, null, "amount >", ExpressionType.SQL92)));
    }

    @Test
    void inOrder() throws Exception {
        Popper popper = popper("poporder");
        for (int i = 0; i < 6; i++) {
            Apps.send(popper.producer, new Message(popper.topic, ("body " + i).getBytes()), 0);
        }
        popper.awaitVisible(0, 6);
        List<MessageExt> first = popper.popOrdered(2, 4000, "attempt-1");
        assertEquals(List.of("body 0", "body 1"), inOrder(first));
        assertEquals(999, ExtraInfoUtil.getReviveQid(ExtraInfoUtil.split(first.get(0).getProperty("POP_CK"))));
        // Nobody gets what comes after them, but who asks with the same attempt gets them again.
        assertEquals(List.of(), popper.popOrdered(2, 4000, "attempt-2"));
        List<MessageExt> same = popper.popOrdered(2, 4000, "attempt-1");
        assertEquals(List.of("body 0", "body 1"), inOrder(same));

        // Not acknowledged in time they come again, in order, and say so.
        long visible = ExtraInfoUtil.getPopTime(ExtraInfoUtil.split(same.get(0).getProperty("POP_CK"))) + 4000;
        List<MessageExt> again = popper.awaitOrdered(2, 20_000, "attempt-3");
        assertTrue(System.currentTimeMillis() >= visible);
        assertEquals(List.of("body 0", "body 1"), inOrder(again));
        assertEquals(List.of(1, 1), again.stream().map(MessageExt::getReconsumeTimes).toList());
        // The second alone isn't enough for the queue to go on; after the first it is.
        assertEquals(AckStatus.OK, popper.ack(again.get(1)));
        assertEquals(List.of(), popper.popOrdered(2, 20_000, "attempt-4"));
        assertEquals(AckStatus.OK, popper.ack(again.get(0)));
        List<MessageExt> next = popper.popOrdered(2, 60_000, "attempt-5");
        assertEquals(List.of("body 2", "body 3"), inOrder(next));
        assertEquals(List.of(0, 0), next.stream().map(MessageExt::getReconsumeTimes).toList());

        // Given back before their time: the first now, the second done with.
        assertEquals(AckStatus.OK, popper.ack(next.get(1)));
        assertEquals(AckStatus.OK, popper.change(next.get(0), 1000).getStatus());
        List<MessageExt> given = popper.awaitOrdered(2, 60_000, "attempt-6");
        assertEquals("body 2", new String(given.get(0).getBody()));
        assertEquals(1, given.get(0).getReconsumeTimes());
    }

    @Test
    void notification() throws Exception {
        Popper popper = popper("popnotify");
        assertEquals(false, popper.notification(500));
        CompletableFuture<Boolean> held = CompletableFuture.supplyAsync(() -> {
            try {
                return popper.notification(15_000);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        Thread.sleep(200);
        Apps.send(popper.producer, new Message(popper.topic, "here".getBytes()), 0);
        long sent = System.nanoTime();
        assertEquals(true, held.get(20, TimeUnit.SECONDS));
        assertTrue((System.nanoTime() - sent) / 1_000_000 < 3000);
        assertEquals(true, popper.notification(0), "asking takes nothing");
        assertEquals(AckStatus.OK, popper.ack(popper.popAll(1, 10_000).get(0)));
        assertEquals(false, popper.notification(0));
    }

    @Test
    void refusals() throws Exception {
        Popper popper = popper("popbad");
        Apps.send(popper.producer, new Message(popper.topic, "one".getBytes()), 0);
        assertEquals(ResponseCode.INVALID_PARAMETER, refusal(popper.popLater(-1, 33, 10_000, 0, false, null, "*", ExpressionType.TAG)));
        assertEquals(ResponseCode.INVALID_PARAMETER, refusal(popper.popLater(9, 1, 10_000, 0, false, null, "*", ExpressionType.TAG)));
        Popper nowhere = new Popper(Apps.fresh("pop-nowhere"), popper.group, popper.producer, popper.queue);
        assertEquals(ResponseCode.TOPIC_NOT_EXIST, refusal(nowhere.popLater(-1, 1, 10_000, 0, false, null, "*", ExpressionType.TAG)));

        MessageExt message = popper.popAll(1, 30_000).get(0);
        RemotingCommand beyond = popper.rawAck(popper.topic, 0, 1000, message.getProperty("POP_CK"));
        assertEquals(ResponseCode.NO_MESSAGE, beyond.getCode());
        assertTrue(beyond.getRemark().contains("offset is illegal, key:" + popper.topic + "@0, commit:1000"), beyond.getRemark());
        assertEquals(ResponseCode.MESSAGE_ILLEGAL, popper.rawAck(popper.topic, 9, 0, message.getProperty("POP_CK")).getCode());
        assertEquals(ResponseCode.TOPIC_NOT_EXIST, popper.rawAck(nowhere.topic, 0, 0, message.getProperty("POP_CK")).getCode());
        assertEquals(ResponseCode.SYSTEM_ERROR, popper.rawAck(popper.topic, 0, 0, "no handle").getCode());
        assertEquals(ResponseCode.NO_MESSAGE, popper.invoke(RemotingCommand.createRequestCommand(RequestCode.BATCH_ACK_MESSAGE, null)).getCode());
        // None of that acknowledged it.
        assertEquals(AckStatus.OK, popper.change(message, 100).getStatus());
        assertEquals(1, popper.popAll(1, 10_000).get(0).getReconsumeTimes());
    }

    @Test
    void assignments() throws Exception {
        Popper popper = popper("popassign");
        String broker = Apps.brokerOf(popper.producer, popper.queue);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(popper.group, popper.topic, "*", inbox);
        String client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        Set<MessageQueueAssignment> pulled = Apps.eventually(10, () -> popper.api.queryAssignment(broker, popper.topic, popper.group, client, "AVG",
            MessageModel.CLUSTERING, 10_000));
        assertEquals(Set.of(0, 1, 2, 3), pulled.stream().map(a -> a.getMessageQueue().getQueueId()).collect(Collectors.toSet()));
        assertEquals(Set.of(MessageRequestMode.PULL), pulled.stream().map(MessageQueueAssignment::getMode).collect(Collectors.toSet()));

        apps.admin().setMessageRequestMode(broker, popper.topic, popper.group, MessageRequestMode.POP, 0, 10_000);
        Set<MessageQueueAssignment> popped = popper.api.queryAssignment(broker, popper.topic, popper.group, client, "AVG",
            MessageModel.CLUSTERING, 10_000);
        assertEquals(1, popped.size());
        MessageQueueAssignment one = popped.iterator().next();
        assertEquals(-1, one.getMessageQueue().getQueueId(), "all of the broker's queues");
        assertEquals(popper.queue.getBrokerName(), one.getMessageQueue().getBrokerName());
        assertEquals(MessageRequestMode.POP, one.getMode());
        // Broadcasting gives every queue to everybody.
        assertEquals(4, popper.api.queryAssignment(broker, popper.topic, popper.group, client, "AVG", MessageModel.BROADCASTING, 10_000).size());
        // A strategy that the broker doesn't have, or a topic: no answer, so the client leaves things as they are.
        assertEquals(null, popper.api.queryAssignment(broker, popper.topic, popper.group, client, "MINE", MessageModel.CLUSTERING, 10_000));
        assertEquals(null, popper.api.queryAssignment(broker, Apps.fresh("pop-nowhere"), popper.group, client, "AVG", MessageModel.CLUSTERING, 10_000));

        MQClientException retry = assertThrows(MQClientException.class, () -> apps.admin().setMessageRequestMode(broker,
            MixAll.getRetryTopic(popper.group), popper.group, MessageRequestMode.POP, 0, 10_000));
        assertEquals(ResponseCode.NO_PERMISSION, retry.getResponseCode());
        MQClientException nowhere = assertThrows(MQClientException.class, () -> apps.admin().setMessageRequestMode(broker,
            Apps.fresh("pop-nowhere"), popper.group, MessageRequestMode.POP, 0, 10_000));
        assertEquals(ResponseCode.TOPIC_NOT_EXIST, nowhere.getResponseCode());
    }

    @Test
    void pushConsumersShareByPop() throws Exception {
        Popper popper = popper("poppush");
        List<String> sent = Apps.bodies("body", 100);
        Apps.sendAll(popper.producer, popper.topic, "TagA", sent);
        Inbox inbox = new Inbox();
        for (int i = 0; i < 3; i++) {
            popConsumer(popper, inbox);
        }
        inbox.await(100);
        // These come one by one to three that wait.
        List<String> more = Apps.bodies("more", 200);
        Apps.sendAll(popper.producer, popper.topic, "TagA", more);
        inbox.await(300);
        List<String> all = new ArrayList<>(sent);
        all.addAll(more);
        assertEquals(Inbox.sorted(all), inbox.bodies());
        for (MessageExt message : inbox.messages) {
            assertEquals(popper.topic, message.getTopic());
            assertEquals(0, message.getReconsumeTimes());
        }
        // All acknowledged: nothing is held back and nothing is left.
        assertEquals(List.of(), popper.pop(32, 10_000, 0).messages);
        Apps.eventually(20, () -> popper.committed() == 301 ? true : null);
    }

    @Test
    void pushConsumerByPopTriesAgain() throws Exception {
        Popper popper = popper("poplater");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = newPopConsumer(popper);
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            inbox.messages.addAll(batch);
            return batch.get(0).getReconsumeTimes() == 0 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        SendResult sent = Apps.send(popper.producer, new Message(popper.topic, "TagA", "key", "later".getBytes()), 0);
        // This client asks for 10 s at first. A pop that waits isn't woken by the retry topic on Apache: up to 15 s more.
        Apps.await(50, () -> "2 attempts, got " + inbox.messages, () -> inbox.messages.size() >= 2);
        MessageExt first = inbox.messages.get(0);
        MessageExt again = inbox.messages.get(1);
        assertEquals(1, again.getReconsumeTimes());
        assertEquals(sent.getMsgId(), again.getMsgId());
        assertEquals("key", again.getKeys());
        assertEquals(popper.topic, again.getTopic());
        long after = again.getStoreTimestamp() - first.getStoreTimestamp();
        assertTrue(after >= 9_900 && after < 12_000 + REVIVE_LATE_MAX, "again after " + after + " ms");
    }

    /** A dead letter is the consumer's decision (or the proxy's): it sends back with a level below zero, and acknowledges. */
    @Test
    void popRetriesEndAsDeadLetter() throws Exception {
        Popper popper = popper("popdead");
        SendResult sent = Apps.send(popper.producer, new Message(popper.topic, "TagA", "key", "dead".getBytes()), 0);
        popper.popAll(1, 1000);
        MessageExt retry = popper.popAll(1, 5000).get(0);
        assertEquals(1, retry.getReconsumeTimes());
        popper.api.consumerSendMessageBack(popper.addr, popper.queue.getBrokerName(), retry, popper.group, -1, 10_000, 16);
        assertEquals(AckStatus.OK, popper.ack(retry));
        DefaultMQPullConsumer reader = apps.pullConsumer(Apps.fresh("reader"));
        MessageQueue queue = new MessageQueue(MixAll.getDLQTopic(popper.group), popper.queue.getBrokerName(), 0);
        MessageExt letter = Apps.eventually(20, () -> reader.pull(queue, "*", 0, 32).getMsgFoundList()).get(0);
        assertEquals("dead", new String(letter.getBody()));
        assertEquals(sent.getMsgId(), letter.getMsgId());
        assertEquals(2, letter.getReconsumeTimes());
        assertEquals(List.of(), popper.pop(32, 5000, 10_000).messages);
    }

    private void popConsumer(Popper popper, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = newPopConsumer(popper);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
    }

    /** A push consumer as applications have it, told to let the broker say what it gets, after the broker was told: by POP. */
    private DefaultMQPushConsumer newPopConsumer(Popper popper) throws Exception {
        apps.admin().setMessageRequestMode(popper.addr, popper.topic, popper.group, MessageRequestMode.POP, 0, 10_000);
        DefaultMQPushConsumer consumer = apps.newConsumer(popper.group);
        consumer.setClientRebalance(false);
        consumer.subscribe(popper.topic, "*");
        return consumer;
    }

    /** A new topic of four queues, empty for a new group, and what pops it. */
    private Popper popper(String name) throws Exception {
        DefaultMQProducer producer = apps.producer();
        String topic = Apps.fresh(name);
        String group = Apps.fresh(name + "-group");
        MessageQueue queue = Apps.send(producer, new Message(topic, "setup".getBytes()), 3).getMessageQueue();
        Popper popper = new Popper(topic, group, producer, queue);
        assertEquals(AckStatus.OK, popper.ack(popper.popAll(1, 60_000).get(0)));
        return popper;
    }

    private static int refusal(CompletableFuture<PopAnswer> future) {
        Exception failed = assertThrows(Exception.class, () -> future.get(20, TimeUnit.SECONDS));
        return assertInstanceOf(MQBrokerException.class, failed.getCause()).getResponseCode();
    }

    private static List<String> bodies(List<MessageExt> messages) {
        return Inbox.sorted(inOrder(messages));
    }

    private static List<String> inOrder(List<MessageExt> messages) {
        return messages.stream().map(m -> new String(m.getBody())).toList();
    }

    /** What a pop brought. */
    record PopAnswer(PopStatus status, List<MessageExt> messages, PopResult result) { }

    /** The client's request layer, as its push consumer and the proxy use it. */
    private static final class Popper {
        final String topic;
        final String group;
        final DefaultMQProducer producer;
        final MessageQueue queue;
        final MQClientAPIImpl api;
        final String addr;

        Popper(String topic, String group, DefaultMQProducer producer, MessageQueue queue) {
            this.topic = topic;
            this.group = group;
            this.producer = producer;
            this.queue = queue;
            this.api = Apps.api(producer);
            this.addr = Apps.brokerOf(producer, queue);
        }

        PopAnswer pop(int max, long invisible, long poll) throws Exception {
            return popLater(-1, max, invisible, poll, false, null, "*", ExpressionType.TAG).get(30, TimeUnit.SECONDS);
        }

        CompletableFuture<PopAnswer> popLater(int queueId, int max, long invisible, long poll, boolean order, String attempt, String expression,
            String type) throws Exception {
            PopMessageRequestHeader header = new PopMessageRequestHeader();
            header.setConsumerGroup(group);
            header.setTopic(topic);
            header.setQueueId(queueId);
            header.setMaxMsgNums(max);
            header.setInvisibleTime(invisible);
            header.setPollTime(poll);
            header.setBornTime(System.currentTimeMillis());
            header.setInitMode(ConsumeInitMode.MIN);
            header.setOrder(order);
            header.setAttemptId(attempt);
            header.setExp(expression);
            header.setExpType(type);
            CompletableFuture<PopAnswer> future = new CompletableFuture<>();
            api.popMessageAsync(queue.getBrokerName(), addr, header, poll + 15_000, new PopCallback() {
                @Override
                public void onSuccess(PopResult result) {
                    List<MessageExt> messages = result.getMsgFoundList() == null ? List.of() : result.getMsgFoundList();
                    future.complete(new PopAnswer(result.getPopStatus(), messages, result));
                }

                @Override
                public void onException(Throwable e) {
                    future.completeExceptionally(e);
                }
            });
            return future;
        }

        /** Until a queue shows so many: Apache shows what was sent a little later. */
        void awaitVisible(int queueId, long count) throws Exception {
            MessageQueue one = new MessageQueue(topic, queue.getBrokerName(), queueId);
            Apps.eventually(10, () -> producer.maxOffset(one) == count ? true : null);
        }

        List<MessageExt> popAll(int count, long invisible) throws Exception {
            return popAll(count, invisible, "*", ExpressionType.TAG);
        }

        /** Pops until it has so many; a pop is short, for one that waits isn't woken by the retry topic on Apache. */
        List<MessageExt> popAll(int count, long invisible, String expression, String type) throws Exception {
            List<MessageExt> messages = new ArrayList<>();
            long deadline = System.currentTimeMillis() + 30_000;
            while (messages.size() < count && System.currentTimeMillis() < deadline) {
                messages.addAll(popLater(-1, 32, invisible, 500, false, null, expression, type).get(30, TimeUnit.SECONDS).messages);
            }
            assertEquals(count, messages.size());
            return messages;
        }

        List<MessageExt> popOrdered(int max, long invisible, String attempt) throws Exception {
            return popLater(0, max, invisible, 0, true, attempt, "*", ExpressionType.TAG).get(20, TimeUnit.SECONDS).messages;
        }

        List<MessageExt> awaitOrdered(int max, long invisible, String attempt) throws Exception {
            return Apps.eventually(20, () -> {
                List<MessageExt> messages = popOrdered(max, invisible, attempt);
                return messages.isEmpty() ? null : messages;
            });
        }

        AckStatus ack(MessageExt message) throws Exception {
            return ack(message, message.getProperty("POP_CK"));
        }

        AckStatus ack(MessageExt message, String handle) throws Exception {
            String[] parts = ExtraInfoUtil.split(handle);
            AckMessageRequestHeader header = new AckMessageRequestHeader();
            header.setConsumerGroup(group);
            header.setTopic(ExtraInfoUtil.getRealTopic(ExtraInfoUtil.split(message.getProperty("POP_CK")), topic, group));
            header.setQueueId(ExtraInfoUtil.getQueueId(parts));
            header.setOffset(ExtraInfoUtil.getQueueOffset(parts));
            header.setExtraInfo(handle);
            Acks acks = new Acks();
            api.ackMessageAsync(addr, 10_000, acks, header);
            return acks.result.get(20, TimeUnit.SECONDS).getStatus();
        }

        AckStatus batchAck(List<String> handles) throws Exception {
            Acks acks = new Acks();
            api.batchAckMessageAsync(addr, 10_000, acks, topic, group, handles);
            return acks.result.get(20, TimeUnit.SECONDS).getStatus();
        }

        AckResult change(MessageExt message, long invisible) throws Exception {
            String[] parts = ExtraInfoUtil.split(message.getProperty("POP_CK"));
            ChangeInvisibleTimeRequestHeader header = new ChangeInvisibleTimeRequestHeader();
            header.setConsumerGroup(group);
            header.setTopic(ExtraInfoUtil.getRealTopic(parts, topic, group));
            header.setQueueId(ExtraInfoUtil.getQueueId(parts));
            header.setOffset(ExtraInfoUtil.getQueueOffset(parts));
            header.setExtraInfo(message.getProperty("POP_CK"));
            header.setInvisibleTime(invisible);
            Acks acks = new Acks();
            api.changeInvisibleTimeAsync(queue.getBrokerName(), addr, header, 10_000, acks);
            return acks.result.get(20, TimeUnit.SECONDS);
        }

        /** What the broker holds as the group's offsets, added up. */
        long committed() throws Exception {
            long sum = 0;
            for (int queueId = 0; queueId < 4; queueId++) {
                QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
                header.setConsumerGroup(group);
                header.setTopic(topic);
                header.setQueueId(queueId);
                sum += api.queryConsumerOffset(addr, header, 10_000);
            }
            return sum;
        }

        RemotingCommand rawAck(String topic, int queueId, long offset, String handle) throws Exception {
            AckMessageRequestHeader header = new AckMessageRequestHeader();
            header.setConsumerGroup(group);
            header.setTopic(topic);
            header.setQueueId(queueId);
            header.setOffset(offset);
            header.setExtraInfo(handle);
            return invoke(RemotingCommand.createRequestCommand(RequestCode.ACK_MESSAGE, header));
        }

        boolean notification(long poll) throws Exception {
            NotificationRequestHeader header = new NotificationRequestHeader();
            header.setConsumerGroup(group);
            header.setTopic(topic);
            header.setQueueId(-1);
            header.setPollTime(poll);
            header.setBornTime(System.currentTimeMillis());
            RemotingCommand response = invoke(RemotingCommand.createRequestCommand(RequestCode.NOTIFICATION, header));
            assertEquals(ResponseCode.SUCCESS, response.getCode(), response.getRemark());
            return ((NotificationResponseHeader) response.decodeCommandCustomHeader(NotificationResponseHeader.class)).isHasMsg();
        }

        RemotingCommand invoke(RemotingCommand request) throws Exception {
            return api.getRemotingClient().invokeSync(addr, request, 20_000);
        }
    }

    private static final class Acks implements AckCallback {
        final CompletableFuture<AckResult> result = new CompletableFuture<>();

        @Override
        public void onSuccess(AckResult ack) {
            result.complete(ack);
        }

        @Override
        public void onException(Throwable e) {
            result.completeExceptionally(e);
        }
    }
}
