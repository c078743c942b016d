package shop;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.ConsumeMode;
import org.apache.rocketmq.spring.annotation.MessageModel;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.annotation.RocketMQTransactionListener;
import org.apache.rocketmq.spring.annotation.SelectorType;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionListener;
import org.apache.rocketmq.spring.core.RocketMQLocalTransactionState;
import org.apache.rocketmq.spring.core.RocketMQPushConsumerLifecycleListener;
import org.apache.rocketmq.spring.core.RocketMQReplyListener;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.springframework.messaging.Message;
import org.springframework.stereotype.Component;

/** Every kind of listener, each with what it received. */
public final class Listeners {
    private Listeners() {
    }

    /** The first message may be older than its group, and a group older than its topic: it looks for the topic each second. */
    abstract static class FromFirst<T> implements RocketMQPushConsumerLifecycleListener {
        public final Received<T> received = new Received<>();

        @Override
        public void prepareStart(DefaultMQPushConsumer consumer) {
            settle(consumer);
        }
    }

    static void settle(DefaultMQPushConsumer consumer) {
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1_000);
        consumer.setHeartbeatBrokerInterval(1_000);
    }

    @Component
    @RocketMQMessageListener(topic = "notes-${run.id}", consumerGroup = "notes-${run.id}")
    public static class Notes extends FromFirst<String> implements RocketMQListener<String> {
        @Override
        public void onMessage(String message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "orders-${run.id}", consumerGroup = "orders-${run.id}")
    public static class Orders extends FromFirst<Order> implements RocketMQListener<Order> {
        @Override
        public void onMessage(Order message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "events-${run.id}", consumerGroup = "paid-${run.id}", selectorExpression = "paid || shipped")
    public static class PaidOrShipped extends FromFirst<MessageExt> implements RocketMQListener<MessageExt> {
        @Override
        public void onMessage(MessageExt message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "events-${run.id}", consumerGroup = "large-${run.id}", selectorType = SelectorType.SQL92,
        selectorExpression = "amount > 10 AND region IN ('north', 'south')")
    public static class Large extends FromFirst<MessageExt> implements RocketMQListener<MessageExt> {
        @Override
        public void onMessage(MessageExt message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "prices-${run.id}", consumerGroup = "prices-${run.id}", messageModel = MessageModel.BROADCASTING)
    public static class Prices extends FromFirst<String> implements RocketMQListener<String> {
        @Override
        public void onMessage(String message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "steps-${run.id}", consumerGroup = "steps-${run.id}", consumeMode = ConsumeMode.ORDERLY)
    public static class Steps extends FromFirst<MessageExt> implements RocketMQListener<MessageExt> {
        @Override
        public void onMessage(MessageExt message) {
            received.add(message);
        }
    }

    /** Never succeeds. */
    @Component
    @RocketMQMessageListener(topic = "broken-${run.id}", consumerGroup = "broken-${run.id}", maxReconsumeTimes = 1)
    public static class Broken extends FromFirst<MessageExt> implements RocketMQListener<MessageExt> {
        @Override
        public void onMessage(MessageExt message) {
            received.add(message);
            throw new IllegalStateException("on purpose");
        }
    }

    @Component
    @RocketMQMessageListener(topic = "%DLQ%broken-${run.id}", consumerGroup = "undertaker-${run.id}")
    public static class Undertaker extends FromFirst<MessageExt> implements RocketMQListener<MessageExt> {
        @Override
        public void onMessage(MessageExt message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "later-${run.id}", consumerGroup = "later-${run.id}")
    public static class Later extends FromFirst<String> implements RocketMQListener<String> {
        @Override
        public void onMessage(String message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "payments-${run.id}", consumerGroup = "payments-${run.id}")
    public static class Payments extends FromFirst<String> implements RocketMQListener<String> {
        @Override
        public void onMessage(String message) {
            received.add(message);
        }
    }

    @Component
    @RocketMQMessageListener(topic = "questions-${run.id}", consumerGroup = "questions-${run.id}")
    public static class Clerk implements RocketMQReplyListener<String, Order>, RocketMQPushConsumerLifecycleListener {
        @Override
        public Order onMessage(String question) {
            return new Order(question, "clerk", question.length());
        }

        @Override
        public void prepareStart(DefaultMQPushConsumer consumer) {
            settle(consumer);
        }
    }

    /** Decides as the message's header says; what it left open it commits when asked again. */
    @RocketMQTransactionListener
    public static class Bank implements RocketMQLocalTransactionListener {
        public final AtomicInteger checks = new AtomicInteger();
        public final Map<String, String> arguments = new ConcurrentHashMap<>();

        @Override
        public RocketMQLocalTransactionState executeLocalTransaction(Message message, Object argument) {
            String decision = String.valueOf(message.getHeaders().get("decision"));
            arguments.put(decision, String.valueOf(argument));
            return RocketMQLocalTransactionState.valueOf(decision);
        }

        @Override
        public RocketMQLocalTransactionState checkLocalTransaction(Message message) {
            checks.incrementAndGet();
            return RocketMQLocalTransactionState.COMMIT;
        }
    }
}
