package compat;

import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** Subscriptions to everything, to some tags, to messages with no tag, and to tags whose hash is the same. */
class TagSubscriptionTest {
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
        DefaultMQPushConsumer takesOne = apps.consumer(Apps.fresh("one"), topic, "tag3", one);
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
}
