package compat;

import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;

/** A group that comes back goes on where it was. */
class ResumeTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void restartedConsumerGetsOnlyTheRest() throws Exception {
        String topic = Apps.fresh("resume");
        String group = Apps.fresh("resume-group");
        DefaultMQProducer producer = apps.producer();
        List<String> early = Apps.bodies("early", 50);
        Apps.sendAll(producer, topic, "TagA", early);

        Inbox before = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(group, topic, "*", before);
        before.await(50);
        // Shutdown is what writes the offsets: the client's own timer would take 5 s.
        consumer.shutdown();
        assertEquals(Inbox.sorted(early), before.bodies());

        List<String> late = Apps.bodies("late", 50);
        Apps.sendAll(producer, topic, "TagA", late);
        Inbox after = new Inbox();
        DefaultMQPushConsumer again = apps.consumer(group, topic, "*", after);
        after.await(50);
        again.shutdown();
        assertEquals(Inbox.sorted(late), after.bodies());

        // Another group knows nothing of that.
        Inbox other = new Inbox();
        DefaultMQPushConsumer stranger = apps.consumer(Apps.fresh("other-group"), topic, "*", other);
        other.await(100);
        stranger.shutdown();
        assertEquals(100, other.messages.size());
    }
}
