package compat;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.OffsetNotFoundException;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.MixAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.NamespaceUtil;
import org.apache.rocketmq.logging.org.slf4j.LoggerFactory;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

/**
 * The applications of one test: producers and consumers on the system under test, shut down when the test ends.
 * Says where that system is, makes names nobody else uses, and waits for things that Java gives no event for.
 */
final class Apps implements AfterEachCallback {
    /** From -DnamesrvAddr, else the environment's namesrvAddr, else RocketMQ's port on this machine. */
    static final String NAMESRV = namesrvAddr();

    private static final String RUN = Long.toString(System.currentTimeMillis(), 36)
        + Long.toString(ProcessHandle.current().pid(), 36);
    private static final AtomicInteger COUNTER = new AtomicInteger();

    static {
        // Two threads that come to it first at the same time make it write everything.
        LoggerFactory.getLogger(Apps.class);
    }

    private final Deque<Runnable> running = new ArrayDeque<>();

    private static String namesrvAddr() {
        String property = System.getProperty("namesrvAddr", "");
        if (!property.isBlank()) {
            return property;
        }
        return System.getenv().getOrDefault("namesrvAddr", "127.0.0.1:9876");
    }

    /** A name for a topic or a group that no other test, run or process uses. */
    static String fresh(String name) {
        return name + "-" + RUN + "-" + COUNTER.incrementAndGet();
    }

    /** A producer, started, whose sends are tried once: a retry would hide a refusal or double a message. */
    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = newProducer();
        producer.start();
        return producer;
    }

    /** The same, not started, to be configured further. */
    DefaultMQProducer newProducer() {
        DefaultMQProducer producer = new DefaultMQProducer(fresh("producer"));
        producer.setNamesrvAddr(NAMESRV);
        producer.setSendMsgTimeout(20_000);
        producer.setMqClientApiTimeout(10_000);
        producer.setRetryTimesWhenSendFailed(0);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        running.push(producer::shutdown);
        return producer;
    }

    TransactionMQProducer newTransactionProducer(String group, TransactionListener listener) {
        TransactionMQProducer producer = new TransactionMQProducer(group);
        producer.setNamesrvAddr(NAMESRV);
        producer.setSendMsgTimeout(20_000);
        producer.setMqClientApiTimeout(10_000);
        producer.setRetryTimesWhenSendFailed(0);
        // The broker asks producers that a heartbeat has told it of; one that has just begun to send is known to it by the next.
        producer.setHeartbeatBrokerInterval(1000);
        producer.setTransactionListener(listener);
        running.push(producer::shutdown);
        return producer;
    }

    /** A push consumer, not started, that begins where a queue begins. */
    DefaultMQPushConsumer newConsumer(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setMqClientApiTimeout(10_000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // A stock client's first rebalance, a second after its start, renews its subscription's version and tells the broker by a
        // heartbeat, unless the scheduled one is under way at that moment with the old version. The broker then refuses
        // its pulls (code 25) until the next heartbeat, which is 30 s later by default.
        consumer.setHeartbeatBrokerInterval(1000);
        // Shutdown returns when what was being consumed has been, and its offsets with it.
        consumer.setAwaitTerminationMillisWhenShutdown(10_000);
        running.push(consumer::shutdown);
        return consumer;
    }

    /** A push consumer, started, with all that it gets in the inbox. */
    DefaultMQPushConsumer consumer(String group, String topic, String tags, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = newConsumer(group);
        consumer.subscribe(topic, tags);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        return consumer;
    }

    /**
     * Starts a push consumer, whose topic must exist, and waits until it also pulls from its group's retry topic. The broker makes that topic at the
     * group's first heartbeat, after the client has asked for its route: a stock client finds it 20 to 30 s later.
     */
    static void startWithRetry(DefaultMQPushConsumer consumer) throws Exception {
        consumer.start();
        MQClientInstance client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory();
        String retry = MixAll.getRetryTopic(NamespaceUtil.wrapNamespace(consumer.getNamespace(), consumer.getConsumerGroup()));
        eventually(20, () -> client.updateTopicRouteInfoFromNameServer(retry) || client.getTopicRouteTable().containsKey(retry) ? true : null);
        eventually(20, () -> {
            client.rebalanceImmediately();
            return queuesOf(consumer, retry).isEmpty() ? null : true;
        });
    }

    /** A push consumer in a process of its own. */
    Member member(String group, String topic, String how) throws Exception {
        Member member = new Member(group, topic, how);
        running.push(() -> {
            try {
                member.kill();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        return member;
    }

    DefaultLitePullConsumer newLitePullConsumer(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setMqClientApiTimeout(10_000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1000);
        running.push(consumer::shutdown);
        return consumer;
    }

    DefaultMQPullConsumer newPullConsumer(String group) {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(NAMESRV);
        consumer.setMqClientApiTimeout(10_000);
        consumer.setHeartbeatBrokerInterval(1000);
        running.push(consumer::shutdown);
        return consumer;
    }

    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = newPullConsumer(group);
        consumer.start();
        return consumer;
    }

    DefaultMQAdminExt admin() throws Exception {
        return admin(10_000);
    }

    DefaultMQAdminExt admin(long timeoutMillis) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(fresh("admin"), timeoutMillis);
        admin.setNamesrvAddr(NAMESRV);
        admin.setInstanceName(fresh("admin"));
        running.push(admin::shutdown);
        admin.start();
        return admin;
    }

    /** The client's own request layer, for what no public method reaches. */
    static MQClientAPIImpl api(DefaultMQProducer producer) {
        return producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
    }

    /** The address of the broker behind a queue that this producer has sent to. */
    static String brokerOf(DefaultMQProducer producer, MessageQueue queue) {
        return producer.getDefaultMQProducerImpl().getMqClientFactory().findBrokerAddressInPublish(queue.getBrokerName());
    }

    /** Sends to a queue of a topic, which the first send creates, and insists on SEND_OK. */
    static SendResult send(DefaultMQProducer producer, Message message, int queueId) throws Exception {
        SendResult result = producer.send(message, (queues, m, id) ->
            queues.stream().filter(q -> q.getQueueId() == (int) id).findFirst().orElseThrow(), queueId);
        assertEquals(SendStatus.SEND_OK, result.getSendStatus());
        return result;
    }

    /** Sends one after the other, each to the queue after the last one's, and insists on SEND_OK. */
    static void sendAll(DefaultMQProducer producer, String topic, String tags, List<String> bodies) throws Exception {
        int queueId = 0;
        for (String body : bodies) {
            Message message = new Message(topic, tags, body.getBytes());
            send(producer, message, queueId++ % 4);
        }
    }

    /** The bodies `prefix 0`, `prefix 1`, and so on. */
    static List<String> bodies(String prefix, int count) {
        return IntStream.range(0, count).mapToObj(i -> prefix + " " + i).toList();
    }

    /** The queue ids of a topic that a consumer holds now. */
    static Set<Integer> queuesOf(DefaultMQPushConsumer consumer, String topic) {
        Set<Integer> ids = new TreeSet<>();
        for (MessageQueue queue : consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet()) {
            if (queue.getTopic().equals(topic)) {
                ids.add(queue.getQueueId());
            }
        }
        return ids;
    }

    /** The sum of what the broker holds as this consumer's group's offsets on a topic, asked past the client's own memory. */
    static long committed(DefaultMQPushConsumer consumer, String topic) throws Exception {
        MQClientInstance client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory();
        long sum = 0;
        for (MessageQueue queue : consumer.fetchSubscribeMessageQueues(topic)) {
            QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
            header.setConsumerGroup(consumer.getConsumerGroup());
            header.setTopic(topic);
            header.setQueueId(queue.getQueueId());
            header.setSetZeroIfNotFound(false);
            try {
                sum += client.getMQClientAPIImpl().queryConsumerOffset(
                    client.findBrokerAddressInPublish(queue.getBrokerName()), header, 10_000);
            } catch (OffsetNotFoundException e) {
                // Nothing is consumed of this queue yet.
            }
        }
        return sum;
    }

    /** Waits until a queue ends here: Apache's broker answers a send before the queue shows it. */
    static void awaitEnd(DefaultMQProducer producer, MessageQueue queue, long end) throws Exception {
        eventually(20, () -> producer.maxOffset(queue) == end ? true : null);
    }

    /**
     * Waits until the broker knows that this many messages of a topic are consumed by these consumers of a group:
     * from then on a queue may move from one to another and nothing comes twice.
     */
    static void settle(String topic, long count, DefaultMQPushConsumer... consumers) throws Exception {
        eventually(30, () -> {
            for (DefaultMQPushConsumer consumer : consumers) {
                consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
            }
            long committed = committed(consumers[0], topic);
            if (committed != count) {
                throw new IllegalStateException("committed " + committed + " of " + count);
            }
            return committed;
        });
    }

    /** Waits until the condition holds; fails after this many seconds with what was awaited. */
    static void await(int seconds, Supplier<String> what, BooleanSupplier condition) throws InterruptedException {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                fail("waited " + seconds + " s for " + what.get());
            }
            Thread.sleep(10);
        }
    }

    /** What may fail while it's not there yet. */
    interface Attempt<T> {
        T get() throws Exception;
    }

    /** Tries until nothing is thrown and the answer isn't null; fails after this many seconds with the last failure. */
    static <T> T eventually(int seconds, Attempt<T> attempt) throws Exception {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        while (true) {
            Exception last = null;
            try {
                T value = attempt.get();
                if (value != null) {
                    return value;
                }
            } catch (Exception e) {
                last = e;
            }
            if (System.nanoTime() > deadline) {
                throw new AssertionError("not within " + seconds + " s", last);
            }
            Thread.sleep(10);
        }
    }

    @Override
    public void afterEach(ExtensionContext context) {
        while (!running.isEmpty()) {
            running.pop().run();
        }
    }
}
