package compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/**
 * Consumers of one group share a topic's queues. Rebalances here follow the broker's notification alone: the client's own
 * timer is set far beyond the test's patience (see the build file).
 */
class SharedGroupTest {
    @RegisterExtension
    final Apps apps = new Apps();

    private static final Set<Integer> ALL = Set.of(0, 1, 2, 3);

    @Test
    void queuesMoveAsConsumersComeAndGo() throws Exception {
        String topic = Apps.fresh("shared");
        String group = Apps.fresh("shared-group");
        DefaultMQProducer producer = apps.producer();
        List<String> sent = new ArrayList<>();
        sendMore(producer, topic, sent, "before");

        Inbox firstInbox = new Inbox();
        DefaultMQPushConsumer first = consumer(group, topic, firstInbox);
        Apps.await(20, () -> "the first to hold all, has " + Apps.queuesOf(first, topic), () -> Apps.queuesOf(first, topic).equals(ALL));
        Apps.settle(topic, sent.size(), first);

        Inbox secondInbox = new Inbox();
        DefaultMQPushConsumer second = consumer(group, topic, secondInbox);
        awaitShared(topic, first, second);
        Set<Integer> firstQueues = Apps.queuesOf(first, topic);
        int before = firstInbox.messages.size();
        sendMore(producer, topic, sent, "both");
        Apps.await(20, () -> "100 shared", () -> firstInbox.messages.size() + secondInbox.messages.size() == sent.size());
        Apps.settle(topic, sent.size(), first, second);
        assertEquals(before + 50, firstInbox.messages.size(), "each has two of the four queues");
        firstInbox.messages.stream().skip(before).forEach(m -> assertTrue(firstQueues.contains(m.getQueueId())));

        second.shutdown();
        Apps.await(20, () -> "the first to hold all again, has " + Apps.queuesOf(first, topic), () -> Apps.queuesOf(first, topic).equals(ALL));
        sendMore(producer, topic, sent, "alone");
        Apps.await(20, () -> "100 alone", () -> firstInbox.messages.size() + secondInbox.messages.size() >= sent.size());
        Apps.settle(topic, sent.size(), first);

        Inbox thirdInbox = new Inbox();
        DefaultMQPushConsumer third = consumer(group, topic, thirdInbox);
        awaitShared(topic, first, third);
        sendMore(producer, topic, sent, "again");
        Apps.await(20, () -> "100 shared again, have " + firstInbox.messages.size() + " " + secondInbox.messages.size() + " " + thirdInbox.messages.size(), () ->
            firstInbox.messages.size() + secondInbox.messages.size() + thirdInbox.messages.size() >= sent.size());
        assertEquals(50, thirdInbox.messages.size());
        first.shutdown();
        third.shutdown();

        List<String> received = new ArrayList<>(firstInbox.bodies());
        received.addAll(secondInbox.bodies());
        received.addAll(thirdInbox.bodies());
        assertEquals(Inbox.sorted(sent), Inbox.sorted(received), "nothing lost, nothing twice");
    }

    @Test
    void nothingIsLostWhileConsumersComeAndGo() throws Exception {
        String topic = Apps.fresh("moving");
        String group = Apps.fresh("moving-group");
        DefaultMQProducer producer = apps.producer();
        List<String> sent = new ArrayList<>();
        sendMore(producer, topic, sent, "round 0");
        Inbox inbox = new Inbox();
        consumer(group, topic, inbox);
        for (int round = 1; round <= 3; round++) {
            DefaultMQPushConsumer guest = consumer(group, topic, inbox);
            sendMore(producer, topic, sent, "round " + round);
            guest.shutdown();
        }
        // Messages in hand when their queue moved may come twice; that is the contract. None may be missing.
        Set<String> expected = new TreeSet<>(sent);
        Apps.await(30, () -> "all of " + sent.size() + ", got " + new TreeSet<>(inbox.bodies()).size(),
            () -> new TreeSet<>(inbox.bodies()).equals(expected));
    }

    private DefaultMQPushConsumer consumer(String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        return consumer;
    }

    private static void sendMore(DefaultMQProducer producer, String topic, List<String> sent, String prefix) throws Exception {
        List<String> bodies = Apps.bodies(prefix, 100);
        Apps.sendAll(producer, topic, "TagA", bodies);
        sent.addAll(bodies);
    }

    private static void awaitShared(String topic, DefaultMQPushConsumer one, DefaultMQPushConsumer other) throws Exception {
        Apps.await(20, () -> "two queues each, have " + Apps.queuesOf(one, topic) + " and " + Apps.queuesOf(other, topic), () -> {
            Set<Integer> union = new TreeSet<>(Apps.queuesOf(one, topic));
            union.addAll(Apps.queuesOf(other, topic));
            return union.equals(ALL) && Apps.queuesOf(one, topic).size() == 2 && Apps.queuesOf(other, topic).size() == 2;
        });
    }
}
