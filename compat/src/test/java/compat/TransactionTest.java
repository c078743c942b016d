package compat;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/**
 * Messages that exist once a local transaction has been committed. A broker asks for the fate of one after 3 s, then every 3 s,
 * and gives up after 5 times (see apache/broker.conf.template).
 */
@Execution(ExecutionMode.CONCURRENT)
class TransactionTest {
    @RegisterExtension
    final Apps apps = new Apps();

    /** An application's local transactions: what a body begins with says how one ends, and what the broker is told when it asks. */
    private static final class Ledger implements TransactionListener {
        /** When each body was asked for, with the message that it was asked with. */
        final Map<String, List<MessageExt>> asked = new ConcurrentHashMap<>();
        final Map<String, List<Long>> times = new ConcurrentHashMap<>();

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return switch (new String(message.getBody()).split(" ")[0]) {
                case "commit" -> LocalTransactionState.COMMIT_MESSAGE;
                case "rollback" -> LocalTransactionState.ROLLBACK_MESSAGE;
                case "throw" -> throw new IllegalStateException("who knows");
                default -> LocalTransactionState.UNKNOW;
            };
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            String body = new String(message.getBody());
            List<MessageExt> before = asked.computeIfAbsent(body, b -> new CopyOnWriteArrayList<>());
            before.add(message);
            times.computeIfAbsent(body, b -> new CopyOnWriteArrayList<>()).add(System.currentTimeMillis());
            return switch (body.split(" ")[0]) {
                case "commit-later", "throw" -> LocalTransactionState.COMMIT_MESSAGE;
                case "commit-much-later" -> before.size() < 3 ? LocalTransactionState.UNKNOW : LocalTransactionState.COMMIT_MESSAGE;
                case "rollback-later" -> LocalTransactionState.ROLLBACK_MESSAGE;
                default -> LocalTransactionState.UNKNOW;
            };
        }
    }

    @Test
    void onlyCommittedMessagesAreSeen() throws Exception {
        String topic = Apps.fresh("tx");
        Ledger ledger = new Ledger();
        TransactionMQProducer producer = producer(Apps.fresh("tx-producer"), topic, ledger);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("tx-group"), topic, "TagA", inbox);
        Map<String, TransactionSendResult> results = new HashMap<>();
        for (int i = 0; i < 10; i++) {
            for (String how : List.of("commit", "rollback", "commit-later", "rollback-later")) {
                String body = how + " " + i;
                Message message = new Message(topic, "TagA", "key of " + body, body.getBytes());
                message.setFlag(i);
                message.putUserProperty("colour", "blue");
                TransactionSendResult result = producer.sendMessageInTransaction(message, i);
                assertEquals(SendStatus.SEND_OK, result.getSendStatus());
                assertEquals(switch (how) {
                    case "commit" -> LocalTransactionState.COMMIT_MESSAGE;
                    case "rollback" -> LocalTransactionState.ROLLBACK_MESSAGE;
                    default -> LocalTransactionState.UNKNOW;
                }, result.getLocalTransactionState());
                assertEquals(result.getMsgId(), result.getTransactionId());
                results.put(body, result);
            }
        }
        Message thrown = new Message(topic, "TagA", "throw 0".getBytes());
        assertEquals(LocalTransactionState.UNKNOW, producer.sendMessageInTransaction(thrown, null).getLocalTransactionState());
        Message slow = new Message(topic, "TagA", "commit-much-later 0".getBytes());
        producer.sendMessageInTransaction(slow, null);

        Apps.await(60, () -> "22 committed, got " + inbox.bodies(), () -> inbox.messages.size() >= 22);
        Apps.await(30, () -> "a question for each of the undecided, were for " + ledger.asked.keySet(), () -> ledger.asked.size() == 22);
        assertTrue(ledger.asked.keySet().stream().noneMatch(body -> body.startsWith("commit ") || body.startsWith("rollback ")),
            "what was decided is not asked for: " + ledger.asked.keySet());
        assertEquals(1, ledger.asked.get("commit-later 0").size());
        assertEquals(3, ledger.asked.get("commit-much-later 0").size());
        List<Long> times = ledger.times.get("commit-much-later 0");
        assertTrue(times.get(0) - inbox.messages.get(0).getBornTimestamp() >= 3000, "asked no sooner than after 3 s");

        assertEquals(22, inbox.messages.size());
        Map<String, MessageExt> byBody = inbox.messages.stream().collect(Collectors.toMap(m -> new String(m.getBody()), m -> m));
        for (int i = 0; i < 10; i++) {
            for (String how : List.of("commit", "commit-later")) {
                MessageExt message = byBody.get(how + " " + i);
                TransactionSendResult result = results.get(how + " " + i);
                assertEquals(result.getMsgId(), message.getMsgId());
                assertEquals(result.getMsgId(), message.getTransactionId());
                assertEquals(result.getMessageQueue().getQueueId(), message.getQueueId());
                assertEquals("key of " + how + " " + i, message.getKeys());
                assertEquals("blue", message.getUserProperty("colour"));
                assertEquals(0, message.getReconsumeTimes());
                assertEquals(producer.getProducerGroup(), message.getProperty(MessageConst.PROPERTY_PRODUCER_GROUP));
                if (how.equals("commit")) {
                    // Apache forgets the flag of a message that it has asked for.
                    assertEquals(i, message.getFlag());
                    assertTrue(message.getPreparedTransactionOffset() > 0 && message.getPreparedTransactionOffset() < message.getCommitLogOffset());
                }
            }
        }
        assertEquals("3", byBody.get("commit-much-later 0").getProperty(MessageConst.PROPERTY_TRANSACTION_CHECK_TIMES));
        assertNull(byBody.get("commit 0").getProperty(MessageConst.PROPERTY_TRANSACTION_CHECK_TIMES));

        MessageExt question = ledger.asked.get("rollback-later 3").get(0);
        assertEquals(topic, question.getTopic());
        assertEquals("TagA", question.getTags());
        assertEquals(3, question.getFlag());
        assertEquals("blue", question.getUserProperty("colour"));
        assertEquals(results.get("rollback-later 3").getTransactionId(), question.getTransactionId());
    }

    /** While the local transaction runs nobody can see the message in its topic, however one looks. */
    @Test
    void halfMessageIsNotInItsTopic() throws Exception {
        String topic = Apps.fresh("half");
        TransactionMQProducer producer = producer(Apps.fresh("half-producer"), topic, new Ledger());
        DefaultMQPullConsumer reader = apps.pullConsumer(Apps.fresh("half-reader"));
        SendResult first = Apps.send(producer, new Message(topic, "first".getBytes()), 0);
        MessageQueue queue = first.getMessageQueue();
        long end = first.getQueueOffset() + 1;
        Apps.awaitEnd(producer, queue, end);
        SendResult half = half(producer, queue, "undecided half");
        assertEquals(end, producer.maxOffset(queue));
        assertEquals(PullStatus.NO_NEW_MSG, reader.pull(queue, "*", end, 32).getPullStatus());
        assertThrows(MQClientException.class, () -> producer.queryMessage(topic, "half", 10, 0, Long.MAX_VALUE));
        // Who knows its id finds it where it waits.
        MessageExt waiting = producer.viewMessage(topic, half.getOffsetMsgId());
        assertEquals("RMQ_SYS_TRANS_HALF_TOPIC", waiting.getTopic());
        assertEquals(topic, waiting.getProperty(MessageConst.PROPERTY_REAL_TOPIC));

        RemotingCommand response = end(producer, half, Map.of());
        assertEquals(0, response.getCode(), response.getRemark());
        Apps.awaitEnd(producer, queue, end + 1);
        MessageExt message = reader.pull(queue, "*", end, 32).getMsgFoundList().get(0);
        assertEquals("undecided half", new String(message.getBody()));
        assertEquals(waiting.getCommitLogOffset(), message.getPreparedTransactionOffset());
        Apps.eventually(20, () -> producer.queryMessage(topic, "half", 10, 0, Long.MAX_VALUE).getMessageList().size() == 1 ? true : null);
    }

    /** The producer is gone: any other of its group is asked, and none of another group. */
    @Test
    void anotherProducerOfGroupIsAsked() throws Exception {
        String topic = Apps.fresh("heir");
        String group = Apps.fresh("heir-producer");
        TransactionMQProducer first = producer(group, topic, new Ledger());
        first.sendMessageInTransaction(new Message(topic, "commit-later 0".getBytes()), null);
        first.sendMessageInTransaction(new Message(topic, "rollback-later 0".getBytes()), null);
        first.shutdown();
        Ledger heir = new Ledger();
        producer(group, topic, heir);
        Ledger stranger = new Ledger();
        producer(Apps.fresh("stranger-producer"), topic, stranger);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("heir-group"), topic, "*", inbox);
        Apps.await(60, () -> "questions, were " + heir.asked.keySet(), () -> heir.asked.size() == 2);
        inbox.await(4);
        assertEquals(List.of("commit-later 0", "setup", "setup", "setup"), inbox.bodies());
        assertEquals(Map.of(), stranger.asked);
    }

    /** Nobody ever decides: the broker asks as often as it's told to and puts the message aside. */
    @Test
    void undecidedMessageIsPutAside() throws Exception {
        String topic = Apps.fresh("aside");
        Ledger ledger = new Ledger();
        TransactionMQProducer producer = producer(Apps.fresh("aside-producer"), topic, ledger);
        DefaultMQPullConsumer reader = apps.pullConsumer(Apps.fresh("aside-reader"));
        TransactionSendResult result = producer.sendMessageInTransaction(new Message(topic, "TagA", "key", "never decided".getBytes()), null);
        MessageQueue aside = new MessageQueue("TRANS_CHECK_MAX_TIME_TOPIC", result.getMessageQueue().getBrokerName(), 0);
        MessageExt message = Apps.eventually(80, () -> {
            long offset = 0;
            for (PullResult pulled = reader.pull(aside, "*", offset, 32); pulled.getPullStatus() == PullStatus.FOUND; pulled = reader.pull(aside, "*", offset, 32)) {
                for (MessageExt found : pulled.getMsgFoundList()) {
                    if (found.getMsgId().equals(result.getMsgId())) {
                        return found;
                    }
                }
                offset = pulled.getNextBeginOffset();
            }
            return null;
        });
        assertEquals(5, ledger.asked.get("never decided").size());
        List<Long> times = ledger.times.get("never decided");
        for (int i = 1; i < 5; i++) {
            assertTrue(times.get(i) - times.get(i - 1) >= 2000, "asked at " + times);
        }
        assertEquals("never decided", new String(message.getBody()));
        assertEquals("TagA", message.getTags());
        assertEquals(topic, message.getProperty(MessageConst.PROPERTY_REAL_TOPIC));
        assertEquals("5", message.getProperty(MessageConst.PROPERTY_TRANSACTION_CHECK_TIMES));
    }

    /** A message may say how long nobody is to be asked; who decides later than that must wait to be asked. */
    @Test
    void messageSaysWhenItIsAskedFor() throws Exception {
        String topic = Apps.fresh("immune");
        Ledger ledger = new Ledger();
        TransactionMQProducer producer = producer(Apps.fresh("immune-producer"), topic, ledger);
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        long before = System.currentTimeMillis();
        SendResult result = half(producer, queue, "commit-later immune", MessageConst.PROPERTY_CHECK_IMMUNITY_TIME_IN_SECONDS, "8");
        Apps.await(60, () -> "a question", () -> ledger.asked.containsKey("commit-later immune"));
        long waited = ledger.times.get("commit-later immune").get(0) - before;
        assertTrue(waited >= 8000 && waited < 30_000, "asked after " + waited + " ms");
        RemotingCommand late = end(producer, result, Map.of());
        assertEquals(604, late.getCode(), late.getRemark());
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("immune-group"), topic, "*", inbox);
        Apps.await(20, () -> "the message, got " + inbox.bodies(), () -> inbox.bodies().contains("commit-later immune"));
    }

    /** Ends of transactions that are nobody's, or somebody else's, change nothing. */
    @Test
    void falseEndsAreRefused() throws Exception {
        String topic = Apps.fresh("ends");
        TransactionMQProducer producer = producer(Apps.fresh("ends-producer"), topic, new Ledger());
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        SendResult half = half(producer, queue, "undecided end");
        long offset = MessageDecoder.decodeMessageId(half.getOffsetMsgId()).getOffset();
        SendResult sent = producer.send(new Message(topic, "plain".getBytes()), queue);
        long plain = MessageDecoder.decodeMessageId(sent.getOffsetMsgId()).getOffset();
        long end = sent.getQueueOffset() + 1;
        Apps.awaitEnd(producer, queue, end);
        refused(producer, half, "producerGroup", "stranger", "The producer group wrong");
        refused(producer, half, "tranStateTableOffset", "99999", "The transaction state table offset wrong");
        for (long none : new long[] {99_999_999_999L, offset + 1, -1}) {
            refused(producer, half, "commitLogOffset", String.valueOf(none), "Find prepared transaction message failed");
        }
        refused(producer, half, "commitLogOffset", String.valueOf(plain), "");
        refused(producer, half, "commitOrRollback", "5", "");
        refused(producer, half, "tranStateTableOffset", "x", "");
        assertEquals(end, producer.maxOffset(queue));

        // None of them has decided it.
        assertEquals(0, end(producer, half, Map.of()).getCode());
        Apps.awaitEnd(producer, queue, end + 1);
    }

    private static void refused(TransactionMQProducer producer, SendResult half, String field, String value, String remark) throws Exception {
        RemotingCommand response = end(producer, half, Map.of(field, value));
        assertEquals(1, response.getCode(), field + "=" + value);
        assertTrue(response.getRemark().contains(remark) && !response.getRemark().isBlank(), response.getRemark());
    }

    /** Sends a half message as the client does it, and returns the whole of the answer, of which a transaction's result has but a part. */
    private static SendResult half(TransactionMQProducer producer, MessageQueue queue, String body, String... properties) throws Exception {
        Message message = new Message(queue.getTopic(), "TagA", body, body.getBytes());
        for (int i = 0; i < properties.length; i += 2) {
            message.putUserProperty(properties[i], properties[i + 1]);
        }
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_TRANSACTION_PREPARED, "true");
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_PRODUCER_GROUP, producer.getProducerGroup());
        return producer.send(message, queue);
    }

    /** Commits as the client does it, but waits for the answer. */
    private static RemotingCommand end(TransactionMQProducer producer, SendResult result, Map<String, String> changes) throws Exception {
        Map<String, String> header = new HashMap<>(Map.of("producerGroup", producer.getProducerGroup(), "tranStateTableOffset",
            String.valueOf(result.getQueueOffset()), "commitLogOffset",
            String.valueOf(MessageDecoder.decodeMessageId(result.getOffsetMsgId()).getOffset()), "commitOrRollback", "8",
            "fromTransactionCheck", "false", "msgId", result.getMsgId(), "transactionId", result.getTransactionId()));
        header.putAll(changes);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.END_TRANSACTION, null);
        request.setExtFields(new HashMap<>(header));
        return Apps.api(producer).getRemotingClient().invokeSync(Apps.brokerOf(producer, result.getMessageQueue()), request, 5000);
    }

    /** A started producer that the broker knows for one of its group: a message and a heartbeat of it have been there. */
    private TransactionMQProducer producer(String group, String topic, TransactionListener listener) throws Exception {
        TransactionMQProducer producer = apps.newTransactionProducer(group, listener);
        producer.start();
        producer.send(new Message(topic, "TagSetup", "setup".getBytes()));
        producer.getDefaultMQProducerImpl().getMqClientFactory().sendHeartbeatToAllBrokerWithLock();
        return producer;
    }
}
