package compat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.message.MessageExt;

/** What a consumer got, in the order it got it. */
final class Inbox {
    final List<MessageExt> messages = new CopyOnWriteArrayList<>();
    /** The most calls that an orderly listener saw at the same time on one queue; 1 is right. */
    final AtomicInteger overlap = new AtomicInteger();
    private final Map<Integer, AtomicInteger> inQueue = new ConcurrentHashMap<>();

    MessageListenerConcurrently concurrently() {
        return (batch, context) -> {
            messages.addAll(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    MessageListenerOrderly orderly() {
        return (batch, context) -> {
            AtomicInteger inside = inQueue.computeIfAbsent(context.getMessageQueue().getQueueId(), q -> new AtomicInteger());
            overlap.accumulateAndGet(inside.incrementAndGet(), Math::max);
            messages.addAll(batch);
            inside.decrementAndGet();
            return ConsumeOrderlyStatus.SUCCESS;
        };
    }

    void await(int count) throws InterruptedException {
        Apps.await(30, () -> count + " messages, got " + messages.size(), () -> messages.size() >= count);
    }

    /** The bodies, sorted: two of one show, and so does one that's missing. */
    List<String> bodies() {
        return messages.stream().map(m -> new String(m.getBody())).sorted().toList();
    }

    /** The bodies of all but the first so many. */
    List<String> bodiesFrom(int index) {
        return messages.stream().skip(index).map(m -> new String(m.getBody())).toList();
    }

    /** The bodies of each queue in the order of arrival. */
    Map<Integer, List<String>> bodiesByQueue() {
        Map<Integer, List<String>> byQueue = new TreeMap<>();
        for (MessageExt message : messages) {
            byQueue.computeIfAbsent(message.getQueueId(), q -> new ArrayList<>()).add(new String(message.getBody()));
        }
        return byQueue;
    }

    static List<String> sorted(List<String> bodies) {
        return bodies.stream().sorted().toList();
    }
}
