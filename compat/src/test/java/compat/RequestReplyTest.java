package compat;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/**
 * A request is a message whose consumer answers to the very client that sent it (codes 324, 325 and 326).
 * Only with a callback: this client's blocking request() stops waiting when the broker has the request.
 */
@Tag("binary")
@Execution(ExecutionMode.CONCURRENT)
class RequestReplyTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void theReplyComesToTheRequester() throws Exception {
        String topic = Apps.fresh("request");
        DefaultMQProducer requester = apps.producer();
        // Another client of the same program: it must not get the reply.
        DefaultMQProducer bystander = apps.producer();
        create(bystander, topic);
        List<SendResult> replies = replier(topic, Apps.fresh("request-group"), request -> "re: " + new String(request.getBody()));

        Message request = new Message(topic, "TagA", "order", "question".getBytes());
        request.putUserProperty("colour", "blue");
        MessageExt reply = (MessageExt) ask(requester, request).get(20, TimeUnit.SECONDS);
        assertEquals("re: question", new String(reply.getBody()));
        assertEquals("DefaultCluster_REPLY_TOPIC", reply.getTopic());
        assertEquals(request.getProperty("CORRELATION_ID"), reply.getProperty("CORRELATION_ID"));
        String client = requester.getDefaultMQProducerImpl().getMqClientFactory().getClientId();
        assertEquals(client, reply.getProperty("REPLY_TO_CLIENT"));
        assertEquals("reply", reply.getProperty("MSG_TYPE"));
        assertEquals("kept", reply.getUserProperty("replied"));
        long pushed = Long.parseLong(reply.getProperty("PUSH_REPLY_TIME"));
        assertTrue(pushed <= Long.parseLong(reply.getProperty("ARRIVE_TIME")));
        assertTrue(reply.getBornTimestamp() <= pushed);
        assertTrue(reply.getBornHostString().length() > 0);

        // What the replier sees of its send: the reply is kept in the cluster's reply topic as well.
        Apps.await(10, () -> "the replier's result", () -> replies.size() == 1);
        SendResult result = replies.get(0);
        assertEquals(SendStatus.SEND_OK, result.getSendStatus());
        MessageExt stored = bystander.viewMessage(reply.getTopic(), result.getOffsetMsgId());
        assertEquals("re: question", new String(stored.getBody()));
        assertEquals(reply.getTopic(), stored.getTopic());
        assertEquals(result.getQueueOffset(), stored.getQueueOffset());
        assertEquals(client, stored.getProperty("REPLY_TO_CLIENT"));
    }

    @Test
    void eachReplyMeetsItsRequest() throws Exception {
        String topic = Apps.fresh("requests");
        DefaultMQProducer one = apps.producer();
        DefaultMQProducer two = apps.producer();
        create(one, topic);
        replier(topic, Apps.fresh("requests-group"), request -> "re: " + new String(request.getBody()));
        Map<String, CompletableFuture<Message>> pending = new ConcurrentHashMap<>();
        for (int i = 0; i < 50; i++) {
            pending.put("one " + i, ask(one, new Message(topic, ("one " + i).getBytes())));
            pending.put("two " + i, ask(two, new Message(topic, ("two " + i).getBytes())));
        }
        for (Map.Entry<String, CompletableFuture<Message>> entry : pending.entrySet()) {
            assertEquals("re: " + entry.getKey(), new String(entry.getValue().get(20, TimeUnit.SECONDS).getBody()));
        }
    }

    @Test
    void toAQueueOfTheRequestersChoice() throws Exception {
        String topic = Apps.fresh("requestq");
        DefaultMQProducer requester = apps.producer();
        MessageQueue queue = create(requester, topic);
        replier(topic, Apps.fresh("requestq-group"), request -> "queue " + request.getQueueId());
        CompletableFuture<Message> chosen = new CompletableFuture<>();
        requester.request(new Message(topic, "q".getBytes()), new MessageQueue(topic, queue.getBrokerName(), 2), callback(chosen), 20_000);
        assertEquals("queue 2", new String(chosen.get(20, TimeUnit.SECONDS).getBody()));
        CompletableFuture<Message> selected = new CompletableFuture<>();
        requester.request(new Message(topic, "q".getBytes()), (queues, message, id) -> new MessageQueue(topic, queue.getBrokerName(), (int) id), 3,
            callback(selected), 20_000);
        assertEquals("queue 3", new String(selected.get(20, TimeUnit.SECONDS).getBody()));
    }

    @Test
    void nobodyReplies() throws Exception {
        String topic = Apps.fresh("unanswered");
        DefaultMQProducer requester = apps.producer();
        create(requester, topic);
        CompletableFuture<Message> reply = new CompletableFuture<>();
        requester.request(new Message(topic, "anybody?".getBytes()), callback(reply), 1000);
        ExecutionException late = assertThrows(ExecutionException.class, () -> reply.get(20, TimeUnit.SECONDS));
        assertInstanceOf(RequestTimeoutException.class, late.getCause());
    }

    @Test
    void requesterGone() throws Exception {
        String topic = Apps.fresh("gone");
        DefaultMQProducer requester = apps.producer();
        create(requester, topic);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("gone-group"), topic, "*", inbox);
        requester.request(new Message(topic, "I'm leaving".getBytes()), callback(new CompletableFuture<>()), 20_000);
        Apps.await(20, () -> "the request", () -> inbox.messages.stream().anyMatch(m -> m.getProperty("CORRELATION_ID") != null));
        String client = requester.getDefaultMQProducerImpl().getMqClientFactory().getClientId();
        requester.shutdown();

        MessageExt request = inbox.messages.stream().filter(m -> m.getProperty("CORRELATION_ID") != null).findFirst().orElseThrow();
        assertEquals(client, request.getProperty("REPLY_TO_CLIENT"));
        assertEquals("20000", request.getProperty("TTL"));
        assertNotNull(request.getProperty("CLUSTER"));
        DefaultMQProducer replier = apps.producer();
        Message reply = MessageUtil.createReplyMessage(request, "too late".getBytes());
        MQBrokerException refused = refusal(replier, reply);
        assertEquals(ResponseCode.SYSTEM_ERROR, refused.getResponseCode());
        assertTrue(refused.getErrorMessage().contains("push reply message fail, channel of <" + client + "> not found."), refused.getErrorMessage());

        // A reply that says nobody to reply to.
        Message lost = MessageUtil.createReplyMessage(request, "lost".getBytes());
        lost.getProperties().remove("REPLY_TO_CLIENT");
        MQBrokerException nobody = refusal(replier, lost);
        assertEquals(ResponseCode.SYSTEM_ERROR, nobody.getResponseCode());
        assertTrue(nobody.getErrorMessage().contains("reply message properties[REPLY_TO_CLIENT] is null"), nobody.getErrorMessage());
    }

    /** Makes the topic, of four queues, with one message in queue 0 that nobody answers. */
    private static MessageQueue create(DefaultMQProducer producer, String topic) throws Exception {
        return Apps.send(producer, new Message(topic, "not a request".getBytes()), 0).getMessageQueue();
    }

    private interface Answer {
        String to(MessageExt request);
    }

    /** A consumer that answers requests; returns what its replies' sends say. */
    private List<SendResult> replier(String topic, String group, Answer answer) throws Exception {
        List<SendResult> results = new CopyOnWriteArrayList<>();
        DefaultMQProducer producer = apps.producer();
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
            for (MessageExt request : batch) {
                if (request.getProperty("CORRELATION_ID") == null) {
                    continue;
                }
                try {
                    Message reply = MessageUtil.createReplyMessage(request, answer.to(request).getBytes());
                    reply.putUserProperty("replied", "kept");
                    results.add(producer.send(reply));
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return results;
    }

    private static MQBrokerException refusal(DefaultMQProducer producer, Message message) {
        MQClientException failed = assertThrows(MQClientException.class, () -> producer.send(message));
        return assertInstanceOf(MQBrokerException.class, failed.getCause());
    }

    private static CompletableFuture<Message> ask(DefaultMQProducer producer, Message request) throws Exception {
        CompletableFuture<Message> reply = new CompletableFuture<>();
        producer.request(request, callback(reply), 20_000);
        return reply;
    }

    private static RequestCallback callback(CompletableFuture<Message> reply) {
        return new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                // This client says so, without a message, when the broker has the request, too.
                if (message != null) {
                    reply.complete(message);
                }
            }

            @Override
            public void onException(Throwable e) {
                reply.completeExceptionally(e);
            }
        };
    }
}
