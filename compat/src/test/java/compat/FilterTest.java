package compat;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.SubscriptionData;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Subscriptions by tag and by SQL92 expression. */
@Execution(ExecutionMode.CONCURRENT)
class FilterTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void eachGroupGetsItsTags() throws Exception {
        String topic = Apps.fresh("tags");
        DefaultMQProducer producer = apps.producer();
        List<String> a = Apps.bodies("a", 30);
        List<String> b = Apps.bodies("b", 30);
        List<String> c = Apps.bodies("c", 30);
        List<String> none = Apps.bodies("none", 10);
        for (String body : none) {
            Apps.send(producer, new Message(topic, body.getBytes()), 0);
        }
        for (int i = 0; i < 30; i++) {
            Apps.send(producer, new Message(topic, "tag1", a.get(i).getBytes()), i % 4);
            Apps.send(producer, new Message(topic, "tag2", b.get(i).getBytes()), i % 4);
            Apps.send(producer, new Message(topic, "tag3", c.get(i).getBytes()), i % 4);
        }

        Inbox all = new Inbox();
        Inbox two = new Inbox();
        Inbox one = new Inbox();
        DefaultMQPushConsumer takesAll = apps.consumer(Apps.fresh("all"), topic, "*", all);
        DefaultMQPushConsumer takesTwo = apps.consumer(Apps.fresh("two"), topic, "tag1 || tag2", two);
        DefaultMQPushConsumer takesOne = apps.newConsumer(Apps.fresh("one"));
        takesOne.subscribe(topic, MessageSelector.byTag("tag3||tag4||"));
        takesOne.registerMessageListener(one.concurrently());
        takesOne.start();
        all.await(100);
        two.await(60);
        one.await(30);
        takesAll.shutdown();
        takesTwo.shutdown();
        takesOne.shutdown();

        List<String> everything = new ArrayList<>(a);
        everything.addAll(b);
        everything.addAll(c);
        everything.addAll(none);
        assertEquals(Inbox.sorted(everything), all.bodies());
        List<String> aAndB = new ArrayList<>(a);
        aAndB.addAll(b);
        assertEquals(Inbox.sorted(aAndB), two.bodies());
        assertEquals(Inbox.sorted(c), one.bodies());
        two.messages.forEach(m -> assertEquals(new String(m.getBody()).startsWith("a") ? "tag1" : "tag2", m.getTags()));
    }

    @Test
    void sameHashIsNotSameTag() throws Exception {
        assertEquals("AaAa".hashCode(), "BBBB".hashCode());
        String topic = Apps.fresh("hash");
        DefaultMQProducer producer = apps.producer();
        for (int i = 0; i < 8; i++) {
            Apps.send(producer, new Message(topic, "BBBB", ("wrong " + i).getBytes()), i % 4);
            Apps.send(producer, new Message(topic, "AaAa", ("right " + i).getBytes()), i % 4);
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(Apps.fresh("hash-group"), topic, "AaAa", inbox);
        inbox.await(8);
        consumer.shutdown();
        assertEquals(Inbox.sorted(Apps.bodies("right", 8)), inbox.bodies());
    }

    /** As the RocketMQ documentation has it, and the expression changed while the consumer runs. */
    @Test
    void pushConsumerGetsWhatItsExpressionSays() throws Exception {
        String topic = Apps.fresh("sql");
        DefaultMQProducer producer = apps.producer();
        for (int i = 0; i < 40; i++) {
            numbered(producer, topic, i);
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.newConsumer(Apps.fresh("sql-group"));
        consumer.subscribe(topic, MessageSelector.bySql("(TAGS is not null and TAGS in ('TagA', 'TagB')) and (a is not null and a between 0 and 17)"));
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        List<String> expected = new ArrayList<>();
        for (int i = 0; i <= 17; i++) {
            if (i % 3 != 2) {
                expected.add("number " + i);
            }
        }
        inbox.await(expected.size());
        assertEquals(Inbox.sorted(expected), inbox.bodies());

        // A held pull goes on being held past what doesn't match and ends at once with what does.
        numbered(producer, topic, 100);
        long sent = System.nanoTime();
        numbered(producer, topic, 16);
        expected.add("number 16");
        inbox.await(expected.size());
        long tookMs = (System.nanoTime() - sent) / 1_000_000;
        assertTrue(tookMs < 4000, "held pulls are looked at every 5 s; this one took " + tookMs + " ms");
        assertEquals(Inbox.sorted(expected), inbox.bodies());

        // Until something matches it, a held pull keeps the expression that it came with; so there's something for both.
        consumer.subscribe(topic, MessageSelector.bySql("a > 1000"));
        Apps.await(30, () -> "an a above 1000", () -> {
            try {
                numbered(producer, topic, 16);
                numbered(producer, topic, 2000);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
            return inbox.bodies().contains("number 2000");
        });
        long changed = inbox.messages.stream().filter(m -> new String(m.getBody()).equals("number 2000"))
            .mapToLong(MessageExt::getQueueOffset).min().orElseThrow();
        numbered(producer, topic, 16);
        numbered(producer, topic, 4000);
        Apps.await(30, () -> "4000", () -> inbox.bodies().contains("number 4000"));
        for (MessageExt message : inbox.messages) {
            assertTrue(message.getQueueId() != 0 || message.getQueueOffset() <= changed
                || Integer.parseInt(message.getUserProperty("a")) > 1000, "after the change came " + message);
        }
    }

    /** What an expression lets through, of messages that differ in their properties. */
    @Test
    void expressionsAndWhatTheyMatch() throws Exception {
        String topic = Apps.fresh("grammar");
        DefaultMQProducer producer = apps.producer();
        Map<String, Map<String, String>> messages = new LinkedHashMap<>();
        messages.put("none", Map.of());
        messages.put("low", Map.of("n", "3", "s", "apple", "flag", "true", "d", "2.5"));
        messages.put("mid", Map.of("n", "5", "s", "apricot", "flag", "false", "d", "5.0", "_x$1", "y"));
        messages.put("high", Map.of("n", "10", "s", "banana", "flag", "TRUE", "d", "10.25"));
        messages.put("minus", Map.of("n", "-7", "s", "it's", "flag", "no"));
        messages.put("text", Map.of("n", "abc", "s", "Apple"));
        messages.put("big", Map.of("n", "3000000000", "s", "3000000000"));
        MessageQueue queue = null;
        for (Map.Entry<String, Map<String, String>> entry : messages.entrySet()) {
            Message message = new Message(topic, entry.getKey().equals("low") ? "TagA" : "TagB", entry.getKey(), entry.getKey().getBytes());
            entry.getValue().forEach(message::putUserProperty);
            queue = Apps.send(producer, message, 0).getMessageQueue();
        }
        String everything = "none low mid high minus text big";
        String[][] table = {
            // Equality. A property is text; beside a number it is read as one, and what can't be read so makes no match of the whole.
            {"n = 5", "mid"},
            {"n = '5'", "mid"},
            {"5 = n", "mid"},
            {"n = +5", "mid"},
            {"n = -7", "minus"},
            {"n = - -5", "mid"},
            {"n = 5L", "mid"},
            {"n = 5l", "mid"},
            {"n <> 5", "low high minus"},
            {"n <> '5'", "low high minus text big"},
            {"n = s", "none big"},
            {"n = 3000000000", "big"},
            {"n = 9223372036854775807", ""},
            {"s = 'apple'", "low"},
            {"'apple' = s", "low"},
            {"s = 'it''s'", "minus"},
            {"s = ''", ""},
            {"s <> ''", "low mid high minus text big"},
            {"_x$1 = 'y'", "mid"},
            {"N = 5", ""},
            {"missing = 1", ""},
            {"missing <> 1", ""},
            {"n = 5.0", "mid"},
            {"d = 5", ""},
            {"d = 5.00", "mid"},
            {"d = 5.", "mid"},
            {"d = 50E-1", "mid"},
            {"d = .5e1", "mid"},
            {"1 = 1", everything},
            {"1 = 1.0", everything},
            {"1 = 2", ""},
            {"'a' = 'a'", everything},
            {"'s' = TRUE", ""},
            // Order. Only numbers have one.
            {"n > 3", "mid high"},
            {"n >= 3", "low mid high"},
            {"n < 5", "low minus"},
            {"n <= 5", "low mid minus"},
            {"n > -8", "low mid high minus"},
            {"n > 4.5", "mid high big"},
            {"n > 2147483648", "big"},
            {"5 < n", "high"},
            {"3 >= n", "low minus"},
            {"d > 2.4", "low mid high"},
            {"d > 2", ""},
            {"n > d", "low"},
            {"n > s", ""},
            {"n >= s", "big"},
            {"-n > 0", ""},
            {"1 < 2", everything},
            {"missing > 1", ""},
            // BETWEEN and IN.
            {"n BETWEEN 3 AND 5", "low mid"},
            {"n NOT BETWEEN 3 AND 5", "high minus"},
            {"n BETWEEN 5 AND 5", "mid"},
            {"n BETWEEN 2.5 AND 10.0", "low mid high"},
            {"n BETWEEN -10 AND 0", "minus"},
            {"4 BETWEEN n AND d", ""},
            {"n BETWEEN d AND 10", "low mid"},
            {"missing NOT BETWEEN 3 AND 5", ""},
            {"s IN ('apple', 'banana')", "low high"},
            {"s NOT IN ('apple', 'banana')", "mid minus text big"},
            {"n IN ('5', '10')", "mid high"},
            {"s IN ('1', '2', '3', '4', '5', 'it''s')", "minus"},
            {"missing IN ('a')", ""},
            {"missing NOT IN ('a')", ""},
            // CONTAINS, STARTSWITH, ENDSWITH: false where the property is missing or nothing is looked for, NOT or not.
            {"s CONTAINS 'an'", "high"},
            {"s NOT CONTAINS 'an'", "low mid minus text big"},
            {"NOT (s CONTAINS 'an')", "none low mid minus text big"},
            {"s CONTAINS ''", ""},
            {"s NOT CONTAINS ''", ""},
            {"s STARTSWITH 'ap'", "low mid"},
            {"s NOT STARTSWITH 'ap'", "high minus text big"},
            {"NOT (s STARTSWITH 'ap')", "none high minus text big"},
            {"s ENDSWITH 'e'", "low text"},
            {"s NOT ENDSWITH 'e'", "mid high minus big"},
            {"s ENDSWITH ''", ""},
            {"missing NOT STARTSWITH 'a'", ""},
            {"n STARTSWITH '3'", "low big"},
            {"5 CONTAINS '5'", ""},
            {"'banana' CONTAINS 'nan'", everything},
            // IS NULL.
            {"n IS NULL", "none"},
            {"n IS NOT NULL", "low mid high minus text big"},
            {"missing IS NULL", everything},
            {"NULL IS NULL", everything},
            {"1 IS NULL", ""},
            // Booleans. A property alone is text and so not true; nor is it false.
            {"flag = TRUE", "low high"},
            {"flag = false", "mid minus"},
            {"flag <> TRUE", "mid minus"},
            {"TRUE = flag", ""},
            {"flag", ""},
            {"NOT flag", "low mid high minus"},
            {"TRUE", everything},
            {"NOT FALSE", everything},
            {"FALSE", ""},
            {"NULL", ""},
            {"NOT NULL", ""},
            {"n > 3 = TRUE", "mid high"},
            {"(n > 4) = (flag = TRUE)", "none high minus"},
            // AND, OR, NOT with what is neither true nor false.
            {"n = 5 AND s = 'apricot'", "mid"},
            {"n = 5 OR s = 'apple'", "low mid"},
            {"missing = 1 OR TRUE", everything},
            {"missing = 1 AND TRUE", ""},
            {"NOT (missing = 1)", ""},
            {"NOT (missing = 1 AND FALSE)", everything},
            {"NOT (missing = 1 OR FALSE)", ""},
            {"NOT (missing = 1 OR TRUE)", ""},
            {"(missing = 1) IS NULL", everything},
            {"NOT (n = 5)", "low high minus"},
            {"NOT n = 5", ""},
            {"NOT NOT (n = 5)", "mid"},
            {"s = 'Apple' OR n > 4", "mid high text"},
            {"n > 4 OR s = 'Apple'", "mid high"},
            {"n = 3 OR n = 5 AND s = 'banana'", "low"},
            {"(n = 3 OR n = 5) AND s = 'apricot'", "mid"},
            {"a=1 or b<>2 Or n>5 OR d<=4.0", "low high"},
            // Spelling.
            {"n BeTween 3 and 5 aNd s iN ('apple')", "low"},
            {" \t\r\n\f n\n=\n5 ", "mid"},
            {"n /* a comment * / */ = 5", "mid"},
            {"n = 5 -- a comment\n OR n = 3", "low mid"},
            {"TAGS = 'TagA'", "low"},
            {"KEYS IN ('mid', 'high')", "mid high"},
            {"((((n = 5))))", "mid"},
            // What follows a whole expression is not read.
            {"n = 5 nonsense (", "mid"},
            {"n = 5)", "mid"},
            {"n = 3 5 OR n = 5", "low"},
            {"n = 50 0", ""},
            {"s = 'apple' IS NOT NULL AND n", ""},
            {"n LIKE '5'", ""},
            // A pull that brings a broken expression with it is not filtered.
            {"n =", everything},
        };
        DefaultMQPullConsumer consumer = apps.newPullConsumer(Apps.fresh("grammar-group"));
        consumer.start();
        MessageQueue from = queue;
        // Before its first heartbeat is answered a client doesn't know that the broker can filter.
        Apps.eventually(20, () -> consumer.pull(from, MessageSelector.bySql("TRUE"), 0, 32));
        List<String> wrong = new ArrayList<>();
        for (String[] row : table) {
            PullResult result = consumer.pull(queue, MessageSelector.bySql(row[0]), 0, 32);
            List<String> matched = new ArrayList<>();
            if (result.getMsgFoundList() != null) {
                for (MessageExt message : result.getMsgFoundList()) {
                    matched.add(new String(message.getBody()));
                }
            }
            if (!String.join(" ", matched).equals(row[1])) {
                wrong.add(row[0] + "  should match [" + row[1] + "] and matched " + matched);
            }
            if (result.getNextBeginOffset() != messages.size()) {
                wrong.add(row[0] + "  went on at " + result.getNextBeginOffset());
            }
        }
        assertEquals("", String.join("\n", wrong));
    }

    /** Expressions that mean nothing. A consumer learns it at its start. */
    @Test
    void brokenExpressions() throws Exception {
        String topic = Apps.fresh("broken");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = numbered(producer, topic, 0);
        String broker = Apps.brokerOf(producer, queue);
        String[][] broken = {
            // What is missing or out of place: where; what ends too soon, Apache says at its last character.
            {"AND", "line 1, column 1"},
            {"n >", "line 1, column "},
            {"> 5", "line 1, column 1"},
            {"n = 5 OR", "line 1, column "},
            {"(n = 5", "line 1, column "},
            {"n = 5 AND", "line 1, column "},
            {"NOT", "line 1, column "},
            {"n BETWEEN 3", "line 1, column "},
            {"n BETWEEN 3 AND", "line 1, column "},
            {"n NOT 5", "line 1, column "},
            {"n IS 5", "line 1, column 6"},
            {"n IS NOT 5", "line 1, column 10"},
            {"n IN", "line 1, column "},
            {"n IN ()", "line 1, column 7"},
            {"n IN ('5'", "line 1, column "},
            {"n IN 5", "line 1, column 6"},
            {"n IN (5)", "line 1, column 7"},
            {"n IN (s)", "line 1, column 7"},
            {"s CONTAINS", "line 1, column "},
            {"s CONTAINS 5", "line 1, column 12"},
            {"s STARTSWITH s", "line 1, column 14"},
            {"n == 5", "line 1, column 4"},
            {"n = = 5", "line 1, column 5"},
            {"n < > 5", "line 1, column 5"},
            // What no token begins with or has no end: where.
            {"n != 5", "line 1, column 3"},
            {"n # 5", "line 1, column 3"},
            {"n = 5 #", "line 1, column "},
            {"n = \"5\"", "line 1, column 5"},
            {"n = 'five", "line 1, column "},
            {"n = 5 /* no end", "line 1, column "},
            // What can't be chosen by or compared, and numbers that there are none of: which.
            {"5", "5"},
            {"'five'", "'five'"},
            {"5.5", "5.5"},
            {"-n", "n"},
            {"n AND 5", "5"},
            {"5 OR n", "5"},
            {"NOT 5", "5"},
            {"s > 'b'", "'b'"},
            {"n > TRUE", "TRUE"},
            {"n > NULL", "NULL"},
            {"n = NULL", "NULL"},
            {"NULL = n", "NULL"},
            {"n <> NULL", "NULL"},
            {"TRUE = 's'", "TRUE"},
            {"(n = 5) > 3", "5"},
            {"s BETWEEN 'a' AND 'b'", "'a'"},
            {"n BETWEEN 5 AND 2", "2"},
            {"n BETWEEN NULL AND 5", ""},
            {"n BETWEEN 's' AND 5", "s"},
            {"5 IN ('5')", "5"},
            {"'5' NOT IN ('5')", "'5'"},
            {"n = 9223372036854775808", "9223372036854775808"},
            {"n = -9223372036854775808", "9223372036854775808"},
            {"d = 1E400", "1E400"},
            {"d = 0.0", "0.0"},
            {"d = 1E-400", "1E-400"},
        };
        List<String> wrong = new ArrayList<>();
        for (String[] row : broken) {
            try {
                check(producer, broker, topic, row[0]);
                wrong.add(row[0] + "  was taken");
            } catch (MQClientException refused) {
                if (refused.getResponseCode() != 23 || !refused.getErrorMessage().contains(row[1])) {
                    wrong.add(row[0] + "  should name [" + row[1] + "] and says " + refused.getResponseCode() + " " + refused.getErrorMessage());
                }
            }
        }
        assertEquals("", String.join("\n", wrong));
        check(producer, broker, topic, "n > 5");

        DefaultMQPushConsumer consumer = apps.newConsumer(Apps.fresh("broken-group"));
        consumer.subscribe(topic, MessageSelector.bySql("n between 5 and"));
        consumer.registerMessageListener(new Inbox().concurrently());
        MQClientException refused = assertThrows(MQClientException.class, consumer::start);
        assertEquals(23, refused.getResponseCode());
        assertTrue(refused.getErrorMessage().contains("line 1, column 1"), refused.getErrorMessage());
    }

    /** What a consumer asks at its start. */
    private static void check(DefaultMQProducer producer, String broker, String topic, String expression) throws Exception {
        SubscriptionData subscription = new SubscriptionData(topic, expression);
        subscription.setExpressionType(ExpressionType.SQL92);
        Apps.api(producer).checkClientInBroker(broker, "checking", "client", subscription, 10_000);
    }

    /** Tags TagA, TagB, TagC in turn and the property a. */
    private static MessageQueue numbered(DefaultMQProducer producer, String topic, int number) throws Exception {
        Message message = new Message(topic, List.of("TagA", "TagB", "TagC").get(number % 3), ("number " + number).getBytes());
        message.putUserProperty("a", String.valueOf(number));
        return Apps.send(producer, message, number % 4).getMessageQueue();
    }
}
