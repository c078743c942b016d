package shop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.spring.annotation.MessageModel;
import org.apache.rocketmq.spring.annotation.RocketMQMessageListener;
import org.apache.rocketmq.spring.core.RocketMQListener;
import org.apache.rocketmq.spring.core.RocketMQLocalRequestCallback;
import org.apache.rocketmq.spring.core.RocketMQTemplate;
import org.apache.rocketmq.spring.support.RocketMQHeaders;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.messaging.Message;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.test.context.DynamicPropertyRegistry;
import org.springframework.test.context.DynamicPropertySource;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** The application, started once, used in every way that its template and listeners offer. */
@SpringBootTest(classes = ShopApplication.class)
@Execution(ExecutionMode.CONCURRENT)
class ShopTest {
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final String RUN = UUID.randomUUID().toString();

    @Autowired
    private RocketMQTemplate template;
    @Autowired
    private Listeners.Notes notes;
    @Autowired
    private Listeners.Orders orders;
    @Autowired
    private Listeners.PaidOrShipped paidOrShipped;
    @Autowired
    private Listeners.Large large;
    @Autowired
    private Listeners.Prices prices;
    @Autowired
    private Listeners.Steps steps;
    @Autowired
    private Listeners.Broken broken;
    @Autowired
    private Listeners.Undertaker undertaker;
    @Autowired
    private Listeners.Later later;
    @Autowired
    private Listeners.Payments payments;
    @Autowired
    private Listeners.Bank bank;
    @Value("${run.id}")
    private String run;

    /** Another application, which only wants the prices. */
    @Configuration
    @EnableAutoConfiguration
    @Import(BranchPrices.class)
    static class Branch {
    }

    /** In the shop's JVM its client needs a name of its own. */
    @RocketMQMessageListener(topic = "prices-${run.id}", consumerGroup = "prices-${run.id}", messageModel = MessageModel.BROADCASTING,
        instanceName = "branch")
    static class BranchPrices extends Listeners.FromFirst<String> implements RocketMQListener<String> {
        @Override
        public void onMessage(String message) {
            received.add(message);
        }
    }

    @DynamicPropertySource
    static void oneRun(DynamicPropertyRegistry registry) {
        registry.add("run.id", () -> RUN);
    }

    private String topic(String name) {
        return name + "-" + run;
    }

    @Test
    void everyWayToSendText() throws Exception {
        template.convertAndSend(topic("notes"), "converted");
        SendResult sent = template.syncSend(topic("notes"), "sync");
        assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
        CompletableFuture<SendResult> async = new CompletableFuture<>();
        template.asyncSend(topic("notes"), "async", callback(async));
        assertEquals(SendStatus.SEND_OK, async.get(20, TimeUnit.SECONDS).getSendStatus());
        template.sendOneWay(topic("notes"), "one-way");
        List<Message<String>> batch = List.of(MessageBuilder.withPayload("batch 1").build(), MessageBuilder.withPayload("batch 2").build());
        assertEquals(SendStatus.SEND_OK, template.syncSend(topic("notes"), batch).getSendStatus());
        Set<String> expected = Set.of("converted", "sync", "async", "one-way", "batch 1", "batch 2");
        assertEquals(new TreeSet<>(expected), new TreeSet<>(notes.received.next(6, LIMIT)));
    }

    @Test
    void objectsTravelAsJson() throws Exception {
        Order order = new Order("o1", "Zoë", 12);
        template.convertAndSend(topic("orders"), order);
        assertEquals(order, orders.received.next(LIMIT).message());
    }

    @Test
    void tagsSqlAndHeaders() throws Exception {
        for (String event : List.of("placed", "paid", "shipped")) {
            for (int amount : List.of(5, 50)) {
                Message<String> message = MessageBuilder.withPayload(event + " " + amount)
                    .setHeader(RocketMQHeaders.KEYS, "key-" + event + amount)
                    .setHeader("amount", amount)
                    .setHeader("region", event.equals("placed") ? "west" : "north")
                    .build();
                template.syncSend(topic("events") + ":" + event, message);
            }
        }
        Map<String, MessageExt> tagged = byBody(paidOrShipped.received.next(4, LIMIT));
        assertEquals(Set.of("paid 5", "paid 50", "shipped 5", "shipped 50"), tagged.keySet());
        MessageExt paid = tagged.get("paid 50");
        assertEquals("paid", paid.getTags());
        assertEquals("key-paid50", paid.getKeys());
        assertEquals("50", paid.getUserProperty("amount"));
        assertEquals("north", paid.getUserProperty("region"));
        assertEquals(Set.of("paid 50", "shipped 50"), byBody(large.received.next(2, LIMIT)).keySet());
        assertTrue(large.received.isEmpty() && paidOrShipped.received.isEmpty());
    }

    @Test
    void everyInstanceHearsABroadcast() throws Exception {
        SpringApplicationBuilder builder = new SpringApplicationBuilder(Branch.class);
        try (ConfigurableApplicationContext second = builder.run("--run.id=" + run, "--rocketmq.producer.group=branch-" + run)) {
            template.syncSend(topic("prices"), "cheap");
            assertEquals("cheap", prices.received.next(LIMIT).message());
            assertEquals("cheap", second.getBean(BranchPrices.class).received.next(LIMIT).message());
        }
    }

    @Test
    void oneCustomersStepsStayInOrder() throws Exception {
        for (int step = 0; step < 20; step++) {
            for (String customer : List.of("ann", "bob", "cyd")) {
                Message<String> message = MessageBuilder.withPayload(Integer.toString(step)).setHeader("customer", customer).build();
                template.syncSendOrderly(topic("steps"), message, customer);
            }
        }
        Map<String, List<String>> seen = new HashMap<>();
        for (MessageExt message : steps.received.next(60, LIMIT)) {
            seen.computeIfAbsent(message.getUserProperty("customer"), key -> new ArrayList<>()).add(new String(message.getBody()));
        }
        List<String> expected = java.util.stream.IntStream.range(0, 20).mapToObj(Integer::toString).toList();
        assertEquals(Map.of("ann", expected, "bob", expected, "cyd", expected), seen);
    }

    @Test
    void whatNeverSucceedsBecomesADeadLetter() throws Exception {
        template.syncSend(topic("broken"), MessageBuilder.withPayload("hopeless").setHeader(RocketMQHeaders.KEYS, "dead").build());
        assertEquals(0, broken.received.next(LIMIT).message().getReconsumeTimes());
        assertEquals(1, broken.received.next(LIMIT).message().getReconsumeTimes());
        MessageExt dead = undertaker.received.next(LIMIT).message();
        assertEquals("hopeless", new String(dead.getBody()));
        assertEquals("dead", dead.getKeys());
        assertTrue(broken.received.isEmpty());
    }

    @Test
    void delaysByLevelAndByTime() throws Exception {
        long now = System.currentTimeMillis();
        template.syncSend(topic("later"), MessageBuilder.withPayload("level").build(), 20_000, 1);
        template.syncSendDelayTimeSeconds(topic("later"), "seconds", 4);
        template.syncSendDelayTimeMills(topic("later"), "millis", 6_000);
        template.syncSendDeliverTimeMills(topic("later"), "at", now + 8_000);
        Map<String, Long> waited = new HashMap<>();
        for (int count = 0; count < 4; count++) {
            Received.Item<String> item = later.received.next(LIMIT);
            waited.put(item.message(), item.atMillis() - now);
        }
        // The timer's wheel turns once a second and times are rounded down to it.
        Map<String, Long> least = Map.of("level", 1_000L, "seconds", 3_000L, "millis", 5_000L, "at", 7_000L);
        least.forEach((what, millis) -> assertTrue(waited.get(what) >= millis, what + " after " + waited.get(what)));
    }

    @Test
    void transactions() throws Exception {
        for (String decision : List.of("COMMIT", "ROLLBACK", "UNKNOWN")) {
            Message<String> message = MessageBuilder.withPayload(decision).setHeader("decision", decision).build();
            TransactionSendResult sent = template.sendMessageInTransaction(topic("payments"), message, "argument");
            assertEquals(SendStatus.SEND_OK, sent.getSendStatus());
        }
        assertEquals(Set.of("COMMIT", "UNKNOWN"), Set.copyOf(payments.received.next(2, LIMIT)));
        assertTrue(bank.checks.get() >= 1);
        assertEquals("argument", bank.arguments.get("ROLLBACK"));
        assertTrue(payments.received.isEmpty());
    }

    @Test
    void aQuestionGetsItsAnswer() throws Exception {
        CompletableFuture<Order> answer = new CompletableFuture<>();
        template.sendAndReceive(topic("questions"), "why", new RocketMQLocalRequestCallback<Order>() {
            @Override
            public void onSuccess(Order order) {
                answer.complete(order);
            }

            @Override
            public void onException(Throwable error) {
                answer.completeExceptionally(error);
            }
        }, 30_000);
        assertEquals(new Order("why", "clerk", 3), answer.get(40, TimeUnit.SECONDS));
    }

    private static Map<String, MessageExt> byBody(List<MessageExt> messages) {
        Map<String, MessageExt> found = new HashMap<>();
        messages.forEach(message -> found.put(new String(message.getBody()), message));
        return found;
    }

    private static SendCallback callback(CompletableFuture<SendResult> future) {
        return new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                future.complete(result);
            }

            @Override
            public void onException(Throwable error) {
                future.completeExceptionally(error);
            }
        };
    }
}
