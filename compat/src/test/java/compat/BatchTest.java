package compat;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Lists of messages in one send, made by the application or by the client itself. */
@Execution(ExecutionMode.CONCURRENT)
class BatchTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    @Tag("binary")
    void listArrivesWhole() throws Exception {
        String topic = Apps.fresh("batch");
        DefaultMQProducer producer = apps.producer();
        List<SendResult> results = new ArrayList<>();
        List<String> sent = new ArrayList<>();
        for (int batch = 0; batch < 4; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 25; i++) {
                String body = "batch " + batch + " message " + i;
                Message message = new Message(topic, i % 2 == 0 ? "even" : "odd", "key" + i, body.getBytes());
                message.setFlag(i);
                message.putUserProperty("number", String.valueOf(i));
                messages.add(message);
                sent.add(body);
            }
            SendResult result = batch == 0
                ? producer.send(messages)
                : producer.send(messages, results.get(0).getMessageQueue());
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            assertEquals(batch * 25, result.getQueueOffset(), "the first message's");
            String[] unique = result.getMsgId().split(",");
            assertEquals(25, unique.length);
            assertEquals(25, new HashSet<>(Arrays.asList(unique)).size());
            String[] offsetIds = result.getOffsetMsgId().split(",");
            assertEquals(25, offsetIds.length);
            long last = -1;
            for (String id : offsetIds) {
                long offset = MessageDecoder.decodeMessageId(id).getOffset();
                assertTrue(offset > last);
                last = offset;
            }
            assertEquals("batch " + batch + " message 7", new String(producer.viewMessage(topic, offsetIds[7]).getBody()));
            results.add(result);
        }

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(Apps.fresh("batch-group"), topic, "*", inbox);
        inbox.await(100);
        consumer.shutdown();
        assertEquals(Inbox.sorted(sent), inbox.bodies());
        for (MessageExt message : inbox.messages) {
            int i = Integer.parseInt(message.getUserProperty("number"));
            assertEquals(i, message.getFlag());
            assertEquals(i % 2 == 0 ? "even" : "odd", message.getTags());
            assertEquals("key" + i, message.getKeys());
            assertEquals(i, message.getQueueOffset() % 25, "one after the other in the queue");
        }

        Inbox tagged = new Inbox();
        DefaultMQPushConsumer odd = apps.consumer(Apps.fresh("batch-odd"), topic, "odd", tagged);
        tagged.await(48);
        odd.shutdown();
        assertEquals(48, tagged.messages.size());
    }

    /** As an application sends more than fits: list after list, each below the limit. */
    @Test
    void longListIsSentInParts() throws Exception {
        String topic = Apps.fresh("parts");
        DefaultMQProducer producer = apps.producer();
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 500; i++) {
            messages.add(new Message(topic, "TagA", "key" + i, (i + "-" + "x".repeat(10_000)).getBytes()));
        }
        int sends = 0;
        for (int from = 0; from < messages.size(); sends++) {
            int to = from;
            for (int size = 0; to < messages.size() && size + messages.get(to).getBody().length + 200 < 1024 * 1024; to++) {
                size += messages.get(to).getBody().length + 200;
            }
            SendResult result = producer.send(messages.subList(from, to));
            assertEquals(SendStatus.SEND_OK, result.getSendStatus());
            assertEquals(to - from, result.getMsgId().split(",").length);
            from = to;
        }
        assertEquals(5, sends);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("parts-group"), topic, "*", inbox);
        inbox.await(500);
        assertEquals(messages.stream().map(m -> new String(m.getBody())).sorted().toList(), inbox.bodies());
    }

    @Test
    void listIsSentWithCallback() throws Exception {
        String topic = Apps.fresh("asyncbatch");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = Apps.send(producer, new Message(topic, "setup".getBytes()), 2).getMessageQueue();
        List<CompletableFuture<SendResult>> results = new ArrayList<>();
        for (int batch = 0; batch < 20; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                messages.add(new Message(topic, ("batch " + batch + " message " + i).getBytes()));
            }
            CompletableFuture<SendResult> result = new CompletableFuture<>();
            results.add(result);
            producer.send(messages, queue, callback(result));
        }
        for (CompletableFuture<SendResult> result : results) {
            assertEquals(queue, result.get(20, TimeUnit.SECONDS).getMessageQueue());
        }
        Apps.awaitEnd(producer, queue, 201);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("asyncbatch-group"), topic, "*", inbox);
        inbox.await(201);
        // Each list is in one piece.
        List<String> bodies = inbox.messages.stream().sorted(Comparator.comparingLong(MessageExt::getQueueOffset)).map(m -> new String(m.getBody())).toList();
        for (int i = 1; i < bodies.size(); i++) {
            String batch = bodies.get(i).split(" message ")[0];
            assertEquals(batch + " message " + (i - 1) % 10, bodies.get(i));
        }
    }

    /** The client gathers what several threads send, and each of them has its own answer. */
    @Test
    void clientMakesBatchesItself() throws Exception {
        String topic = Apps.fresh("autobatch");
        DefaultMQProducer producer = apps.newProducer();
        producer.setAutoBatch(true);
        producer.start();
        producer.batchMaxDelayMs(50);
        Set<String> ids = ConcurrentHashMap.newKeySet();
        Set<String> sent = ConcurrentHashMap.newKeySet();
        List<CompletableFuture<Void>> threads = new ArrayList<>();
        ExecutorService senders = Executors.newFixedThreadPool(8);
        for (int t = 0; t < 8; t++) {
            int thread = t;
            threads.add(CompletableFuture.runAsync(() -> {
                for (int i = 0; i < 10; i++) {
                    String body = "thread " + thread + " message " + i;
                    try {
                        SendResult result = producer.send(new Message(topic, "TagA", body.getBytes()));
                        assertEquals(SendStatus.SEND_OK, result.getSendStatus());
                        ids.add(result.getMsgId());
                        assertEquals(body, new String(producer.viewMessage(topic, result.getOffsetMsgId()).getBody()));
                    } catch (Exception e) {
                        throw new IllegalStateException(e);
                    }
                    sent.add(body);
                }
            }, senders));
        }
        for (int i = 0; i < 100; i++) {
            String body = "async " + i;
            CompletableFuture<SendResult> result = new CompletableFuture<>();
            producer.send(new Message(topic, "TagA", body.getBytes()), callback(result));
            threads.add(result.thenAccept(r -> {
                ids.add(r.getMsgId());
                sent.add(body);
            }));
        }
        for (CompletableFuture<Void> thread : threads) {
            thread.get(30, TimeUnit.SECONDS);
        }
        senders.shutdown();
        assertEquals(180, ids.size());
        assertEquals(180, sent.size());

        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("autobatch-group"), topic, "TagA", inbox);
        inbox.await(180);
        assertEquals(sent.stream().sorted().toList(), inbox.bodies());
        // Messages of one batch show the batch's unique id, so there are fewer of those than messages.
        Set<String> batches = inbox.messages.stream().map(MessageExt::getMsgId).collect(Collectors.toSet());
        assertTrue(batches.size() < 180, batches.size() + " sends for 180 messages");
    }

    /** Lists that the client itself takes no further. */
    @Test
    void clientRefusesMixedLists() throws Exception {
        String topic = Apps.fresh("mixed");
        DefaultMQProducer producer = apps.producer();
        Message plain = new Message(topic, "plain".getBytes());
        Message delayed = new Message(topic, "delayed".getBytes());
        delayed.setDelayTimeLevel(1);
        Message unawaited = new Message(topic, "unawaited".getBytes());
        unawaited.setWaitStoreMsgOK(false);
        refusedByClient(producer, List.of(plain, delayed), "TimeDelayLevel is not supported for batching");
        refusedByClient(producer, List.of(plain, new Message(topic + "-2", "other".getBytes())), "The topic of the messages in one batch should be the same");
        refusedByClient(producer, List.of(plain, unawaited), "The waitStoreMsgOK of the messages in one batch should the same");
        refusedByClient(producer, List.of(new Message("%RETRY%group", "retry".getBytes())), "Retry Group is not supported for batching");
        refusedByClient(producer, List.of(plain, new Message(topic, new byte[0])), "the message body length is zero");
    }

    /** Batches that the broker refuses, with nothing of them stored. */
    @Test
    void brokerRefusesBadBatches() throws Exception {
        String topic = Apps.fresh("badbatch");
        DefaultMQProducer producer = apps.newProducer();
        producer.setMaxMessageSize(16 * 1024 * 1024);
        producer.start();
        MessageQueue queue = Apps.send(producer, new Message(topic, "setup".getBytes()), 0).getMessageQueue();
        String broker = Apps.brokerOf(producer, queue);
        byte[] good = MessageDecoder.encodeMessages(List.of(new Message(topic, "one".getBytes()), new Message(topic, "two".getBytes())));

        List<Message> large = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            large.add(new Message(topic, new byte[1024 * 1024]));
        }
        // Code 1 makes a client try another broker, which is why it comes wrapped. A single message of that size gets 13.
        MQClientException tooLarge = assertThrows(MQClientException.class, () -> producer.send(large));
        assertEquals(1, tooLarge.getResponseCode());
        assertTrue(tooLarge.getCause().getMessage().contains("message body size exceeded"), tooLarge.getCause().getMessage());

        Map<String, byte[]> bodies = new LinkedHashMap<>();
        bodies.put("nothing", new byte[0]);
        bodies.put("text", "nonsense".getBytes());
        bodies.put("long text", "nonsense".repeat(20).getBytes());
        bodies.put("cut", Arrays.copyOf(good, good.length - 3));
        bodies.put("cut in the second", Arrays.copyOf(good, good.length / 2 + 6));
        bodies.put("more", Arrays.copyOf(good, good.length + 3));
        byte[] negative = good.clone();
        ByteBuffer.wrap(negative).putInt(16, -5);
        bodies.put("body of -5", negative);
        byte[] huge = good.clone();
        ByteBuffer.wrap(huge).putInt(16, Integer.MAX_VALUE);
        bodies.put("huge body", huge);
        for (Map.Entry<String, byte[]> entry : bodies.entrySet()) {
            RemotingCommand refused = batch(producer, broker, entry.getValue(), "b", topic);
            assertEquals(1, refused.getCode(), entry.getKey());
            assertTrue(refused.getRemark() != null && !refused.getRemark().isBlank(), entry.getKey());
        }
        refused(producer, broker, good, 13, "batch request does not support retry group %RETRY%group", "b", "%RETRY%group");
        refused(producer, broker, good, 29, "request queueId[99] is illegal", "b", topic, "e", "99");
        refused(producer, broker, good, 29, "The specified topic contains illegal characters", "b", "bad topic!");
        refused(producer, broker, good, 13, "the message is illegal", "b", topic, "f", "4");
        refused(producer, broker, good, 13, "the message is illegal", "b", topic, "i", "DELAY\u00012\u0002");
        refused(producer, broker, good, 1, "", "b", topic, "i", "p\u0001" + "x".repeat(33000) + "\u0002");
        assertEquals(1, producer.maxOffset(queue));

        // Delays within a batch mean nothing, nor does the size that each message begins with.
        Message delayed = new Message(topic, "delayed".getBytes());
        delayed.setDelayTimeLevel(5);
        Message timer = new Message(topic, "timer".getBytes());
        timer.setDelayTimeSec(5);
        byte[] sized = MessageDecoder.encodeMessages(List.of(delayed, timer));
        ByteBuffer.wrap(sized).putInt(0, 5000);
        assertEquals(0, batch(producer, broker, sized, "b", topic).getCode());
        Apps.awaitEnd(producer, queue, 3);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("badbatch-group"), topic, "*", inbox);
        inbox.await(3);
        assertEquals(List.of("delayed", "setup", "timer"), inbox.bodies());
    }

    private static void refused(DefaultMQProducer producer, String broker, byte[] body, int code, String remark, String... changes) throws Exception {
        RemotingCommand response = batch(producer, broker, body, changes);
        assertEquals(code, response.getCode(), response.getRemark());
        assertTrue(response.getRemark().startsWith(remark), response.getRemark());
    }

    private static RemotingCommand batch(DefaultMQProducer producer, String broker, byte[] body, String... changes) throws Exception {
        Map<String, String> header = new HashMap<>(Map.of("a", "batch-producer", "c", "TBW102", "d", "4", "e", "0", "f", "0",
            "g", "1700000000000", "h", "0", "i", "", "j", "0", "k", "false"));
        header.put("m", "true");
        for (int i = 0; i < changes.length; i += 2) {
            header.put(changes[i], changes[i + 1]);
        }
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.SEND_BATCH_MESSAGE, null);
        request.setExtFields(new HashMap<>(header));
        request.setBody(body);
        return Apps.api(producer).getRemotingClient().invokeSync(broker, request, 10_000);
    }

    private static void refusedByClient(DefaultMQProducer producer, List<Message> messages, String why) {
        MQClientException refused = assertThrows(MQClientException.class, () -> producer.send(messages));
        assertTrue(refused.getCause().getMessage().contains(why), refused.getCause().getMessage());
    }

    private static SendCallback callback(CompletableFuture<SendResult> future) {
        return new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                future.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                future.completeExceptionally(e);
            }
        };
    }
}
