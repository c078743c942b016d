package compat;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMachineRoomNearby;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragelyByCircle;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueByConfig;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueByMachineRoom;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueConsistentHash;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

/**
 * Consumers of one group share a topic's queues, or, broadcasting, each gets everything. Rebalances here follow the broker's notification alone: the client's own
 * timer is set far beyond the test's patience (see the build file).
 */
@Execution(ExecutionMode.CONCURRENT)
class ClusteringTest {
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

    /** Each strategy of the client, three members, then two: who has which queues of eight. */
    @ParameterizedTest
    @MethodSource
    void strategiesShareOutAllQueues(String name, List<AllocateMessageQueueStrategy> strategies, Set<Set<Integer>> three, Set<Set<Integer>> two)
        throws Exception {
        String topic = Apps.fresh("strategy");
        String group = Apps.fresh("strategy-group");
        DefaultMQProducer producer = apps.newProducer();
        producer.setDefaultTopicQueueNums(8);
        producer.start();
        List<String> sent = new ArrayList<>();
        sendEach(producer, topic, sent, "before");

        Inbox inbox = new Inbox();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            DefaultMQPushConsumer member = apps.newConsumer(group);
            member.setInstanceName((i == 2 ? "room-b-" : "room-a-") + Apps.fresh("instance"));
            member.setAllocateMessageQueueStrategy(strategies.get(i));
            member.subscribe(topic, "*");
            member.registerMessageListener(inbox.concurrently());
            member.start();
            members.add(member);
        }
        List<Set<Integer>> shares = awaitShares(topic, members, three);
        sendEach(producer, topic, sent, "three");
        Apps.await(30, () -> "all, got " + inbox.bodies(), () -> new TreeSet<>(inbox.bodies()).containsAll(sent));
        Apps.settle(topic, sent.size(), members.toArray(DefaultMQPushConsumer[]::new));
        int before = inbox.messages.size();

        members.remove(2).shutdown();
        List<Set<Integer>> later = awaitShares(topic, members, two);
        if (two == null) {
            assertTrue(later.get(0).containsAll(shares.get(0)) && later.get(1).containsAll(shares.get(1)),
                "those who stay keep what they had: " + shares + " then " + later);
        }
        sendEach(producer, topic, sent, "two");
        Apps.await(30, () -> "all, got " + inbox.bodies(), () -> new TreeSet<>(inbox.bodies()).containsAll(sent));
        assertEquals(before + 8, inbox.messages.size());
    }

    static Stream<Arguments> strategiesShareOutAllQueues() {
        Set<Set<Integer>> anyShares = null;
        AllocateMachineRoomNearby.MachineRoomResolver rooms = new AllocateMachineRoomNearby.MachineRoomResolver() {
            @Override
            public String brokerDeployIn(MessageQueue queue) {
                return queue.getQueueId() % 2 == 0 ? "a" : "b";
            }

            @Override
            public String consumerDeployIn(String clientId) {
                return clientId.contains("@room-a-") ? "a" : "b";
            }
        };
        return Stream.of(
            arguments("averagely", same(new AllocateMessageQueueAveragely()),
                Set.of(Set.of(0, 1, 2), Set.of(3, 4, 5), Set.of(6, 7)), Set.of(Set.of(0, 1, 2, 3), Set.of(4, 5, 6, 7))),
            arguments("by circle", same(new AllocateMessageQueueAveragelyByCircle()),
                Set.of(Set.of(0, 3, 6), Set.of(1, 4, 7), Set.of(2, 5)), Set.of(Set.of(0, 2, 4, 6), Set.of(1, 3, 5, 7))),
            arguments("consistent hash", same(new AllocateMessageQueueConsistentHash()), anyShares, anyShares),
            // The third is alone in its room; when it's gone the others share its queues.
            arguments("machine room nearby", same(new AllocateMachineRoomNearby(new AllocateMessageQueueAveragely(), rooms)),
                Set.of(Set.of(0, 2), Set.of(4, 6), Set.of(1, 3, 5, 7)), Set.of(Set.of(0, 1, 2, 3), Set.of(4, 5, 6, 7))));
    }

    private static List<AllocateMessageQueueStrategy> same(AllocateMessageQueueStrategy strategy) {
        return List.of(strategy, strategy, strategy);
    }

    /** Queues by name: what nobody is configured for has no owner, whoever joins. By machine room: a broker in none has nothing to give. */
    @Test
    void configuredStrategiesTakeWhatTheyName() throws Exception {
        String topic = Apps.fresh("configured");
        String group = Apps.fresh("configured-group");
        DefaultMQProducer producer = apps.producer();
        MessageQueue zero = Apps.send(producer, new Message(topic, "for the first".getBytes()), 0).getMessageQueue();
        Apps.send(producer, new Message(topic, "for the second".getBytes()), 3);
        Inbox firstInbox = new Inbox();
        Inbox secondInbox = new Inbox();
        DefaultMQPushConsumer first = configured(group, topic, firstInbox, zero);
        DefaultMQPushConsumer second = configured(group, topic, secondInbox, new MessageQueue(topic, zero.getBrokerName(), 3));
        firstInbox.await(1);
        secondInbox.await(1);
        assertEquals(Set.of(0), Apps.queuesOf(first, topic));
        assertEquals(Set.of(3), Apps.queuesOf(second, topic));
        assertEquals(List.of("for the first"), firstInbox.bodies());
        assertEquals(List.of("for the second"), secondInbox.bodies());

        // The other group's consumer had its first rebalance when it heard from itself that its group has a member.
        AllocateMessageQueueByMachineRoom room = new AllocateMessageQueueByMachineRoom();
        room.setConsumeridcs(Set.of("room-a"));
        AtomicInteger asked = new AtomicInteger();
        DefaultMQPushConsumer third = apps.newConsumer(Apps.fresh("room-group"));
        third.setAllocateMessageQueueStrategy(new AllocateMessageQueueStrategy() {
            @Override
            public List<MessageQueue> allocate(String group, String client, List<MessageQueue> queues, List<String> clients) {
                List<MessageQueue> taken = room.allocate(group, client, queues, clients);
                if (queues.get(0).getTopic().equals(topic) && queues.size() == 4 && clients.equals(List.of(client))) {
                    asked.incrementAndGet();
                }
                return taken;
            }

            @Override
            public String getName() {
                return room.getName();
            }
        });
        third.subscribe(topic, "*");
        third.registerMessageListener(new Inbox().concurrently());
        third.start();
        Apps.await(20, () -> "a rebalance", () -> asked.get() > 0);
        assertEquals(Set.of(), Apps.queuesOf(third, topic));
    }

    /** When a member has left, another has its queues and consumes from them within a second: of three times in two, for others use this machine too. */
    @Test
    void newOwnerStartsWithinSecondOfCleanLeave() throws Exception {
        String topic = Apps.fresh("leave");
        String group = Apps.fresh("leave-group");
        DefaultMQProducer producer = apps.producer();
        List<String> sent = new ArrayList<>();
        sendMore(producer, topic, sent, "before");
        Inbox stays = new Inbox();
        DefaultMQPushConsumer first = consumer(group, topic, stays);
        List<Long> tookMs = new ArrayList<>();
        for (int round = 0; round < 3; round++) {
            DefaultMQPushConsumer second = consumer(group, topic, new Inbox());
            awaitShared(topic, first, second);
            Set<Integer> moving = Apps.queuesOf(second, topic);
            second.shutdown();
            long left = System.nanoTime();
            Set<String> moved = new TreeSet<>();
            for (int queueId : moving) {
                String body = "moved " + queueId + " in round " + round;
                Apps.send(producer, new Message(topic, body.getBytes()), queueId);
                moved.add(body);
            }
            Apps.await(20, () -> "both queues' messages", () -> stays.bodies().containsAll(moved));
            tookMs.add((System.nanoTime() - left) / 1_000_000);
        }
        assertTrue(tookMs.stream().filter(took -> took < 1000).count() >= 2, "took ms: " + tookMs);
    }

    /** Members join, leave and die while messages come: each of these is consumed, and each queue has an owner again at once. */
    @Test
    void nothingIsLostWhenMembersDieUnderLoad() throws Exception {
        String topic = Apps.fresh("crash");
        String group = Apps.fresh("crash-group");
        DefaultMQProducer producer = apps.producer();
        Set<String> sent = ConcurrentHashMap.newKeySet();
        AtomicBoolean enough = new AtomicBoolean();
        AtomicReference<Exception> failed = new AtomicReference<>();
        Apps.send(producer, new Message(topic, "first".getBytes()), 0);
        Thread sender = new Thread(() -> {
            try {
                for (int i = 0; !enough.get(); i++) {
                    Apps.send(producer, new Message(topic, ("load " + i).getBytes()), i % 4);
                    sent.add("load " + i);
                    Thread.sleep(5);
                }
            } catch (Exception e) {
                failed.set(e);
            }
        });
        sender.start();
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer stays = consumer(group, topic, inbox);
        List<Member> dead = new ArrayList<>();
        for (int round = 0; round < 2; round++) {
            Member dying = apps.member(group, topic, "concurrently");
            Apps.await(40, () -> "the other process's share", () -> dying.bodies.size() >= 20 && Apps.queuesOf(stays, topic).size() == 2);
            DefaultMQPushConsumer guest = consumer(group, topic, inbox);
            Apps.await(40, () -> "a queue for the guest", () -> !Apps.queuesOf(guest, topic).isEmpty());
            dying.kill();
            dead.add(dying);
            long died = System.nanoTime();
            Apps.await(20, () -> "an owner of each queue", () -> {
                Set<Integer> owned = new TreeSet<>(Apps.queuesOf(stays, topic));
                owned.addAll(Apps.queuesOf(guest, topic));
                return owned.equals(ALL);
            });
            long tookMs = (System.nanoTime() - died) / 1_000_000;
            assertTrue(tookMs < 10_000, "its connection ends with a process, but its queues were without an owner for " + tookMs + " ms");
            guest.shutdown();
        }
        enough.set(true);
        sender.join();
        assertNull(failed.get());
        Apps.await(30, () -> "everything", () -> {
            Set<String> consumed = new HashSet<>(inbox.bodies());
            dead.forEach(member -> consumed.addAll(member.bodies));
            return consumed.containsAll(sent);
        });
    }

    @Test
    void everyBroadcastingConsumerGetsEverything() throws Exception {
        String topic = Apps.fresh("broadcast");
        String group = Apps.fresh("broadcast-group");
        DefaultMQProducer producer = apps.producer();
        Apps.sendAll(producer, topic, "TagA", Apps.bodies("before", 4));

        Inbox one = new Inbox();
        Inbox other = new Inbox();
        String instance = Apps.fresh("instance");
        DefaultMQPushConsumer first = broadcasting(group, topic, instance, one);
        DefaultMQPushConsumer second = broadcasting(group, topic, Apps.fresh("instance"), other);
        for (DefaultMQPushConsumer consumer : List.of(first, second)) {
            Apps.await(20, () -> "all queues, has " + Apps.queuesOf(consumer, topic), () -> Apps.queuesOf(consumer, topic).equals(ALL));
        }
        List<String> sent = Apps.bodies("broadcast", 100);
        Apps.sendAll(producer, topic, "TagA", sent);
        one.await(100);
        other.await(100);
        first.shutdown();
        second.shutdown();
        assertEquals(Inbox.sorted(sent), one.bodies());
        assertEquals(Inbox.sorted(sent), other.bodies());

        // It keeps its offsets itself, in a file by its name, and goes on there.
        List<String> meanwhile = Apps.bodies("meanwhile", 8);
        Apps.sendAll(producer, topic, "TagA", meanwhile);
        Inbox rest = new Inbox();
        DefaultMQPushConsumer again = broadcasting(group, topic, instance, rest);
        rest.await(8);
        again.shutdown();
        assertEquals(Inbox.sorted(meanwhile), rest.bodies());
    }

    private DefaultMQPushConsumer broadcasting(String group, String topic, String instance, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.setMessageModel(MessageModel.BROADCASTING);
        consumer.setInstanceName(instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        return consumer;
    }

    private DefaultMQPushConsumer configured(String group, String topic, Inbox inbox, MessageQueue queue) throws Exception {
        AllocateMessageQueueByConfig strategy = new AllocateMessageQueueByConfig();
        strategy.setMessageQueueList(List.of(queue));
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.setAllocateMessageQueueStrategy(strategy);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        return consumer;
    }

    /** Waits until each of eight queues has exactly one owner and, unless null, the members' shares are these; returns the members' shares. */
    private static List<Set<Integer>> awaitShares(String topic, List<DefaultMQPushConsumer> members, Set<Set<Integer>> expected)
        throws Exception {
        AtomicReference<List<Set<Integer>>> shares = new AtomicReference<>();
        Apps.await(30, () -> "shares " + expected + ", are " + shares.get(), () -> {
            shares.set(members.stream().map(member -> Apps.queuesOf(member, topic)).toList());
            Set<Integer> union = new TreeSet<>();
            shares.get().forEach(union::addAll);
            return union.size() == 8 && shares.get().stream().mapToInt(Set::size).sum() == 8
                && (expected == null || expected.equals(new HashSet<>(shares.get())));
        });
        return shares.get();
    }

    /** One message to each of eight queues. */
    private static void sendEach(DefaultMQProducer producer, String topic, List<String> sent, String prefix) throws Exception {
        for (int queueId = 0; queueId < 8; queueId++) {
            Apps.send(producer, new Message(topic, (prefix + " " + queueId).getBytes()), queueId);
            sent.add(prefix + " " + queueId);
        }
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
