package compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.header.RecallMessageRequestHeader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Messages that come later: by level, by a delay or a time of their own, and those taken back before. */
@Execution(ExecutionMode.CONCURRENT)
class DelayTest {
    @RegisterExtension
    final Apps apps = new Apps();

    /** When a message with this body may come at the earliest, and when it should have come at the latest were nothing ever late. */
    private record Due(long earliestMs, long latestMs, SendResult result) {
    }

    private final Map<String, Due> due = new HashMap<>();

    @Test
    void everyLevelComesAfterItsTime() throws Exception {
        String topic = Apps.fresh("levels");
        DefaultMQProducer producer = apps.producer();
        Apps.send(producer, new Message(topic, "TagA", "first".getBytes()), 0);
        for (int level = -1; level <= 18; level++) {
            Message message = new Message(topic, "TagA", "key" + level, ("level " + level).getBytes());
            message.setFlag(level);
            message.putUserProperty("colour", "blue");
            message.setDelayTimeLevel(level);
            SendResult result = sendDelayed(producer, message, level % 4 + 1 & 3, Math.max(level, 0) * 1000L);
            assertNull(result.getRecallHandle(), "only timers are taken back");
        }
        Message clamped = new Message(topic, "TagA", "level 99".getBytes());
        clamped.setDelayTimeLevel(99);
        sendDelayed(producer, clamped, 2, 18_000);

        MessageExt waiting = producer.viewMessage(topic, due.get("level 18").result.getOffsetMsgId());
        assertEquals("SCHEDULE_TOPIC_XXXX", waiting.getTopic());
        assertEquals(17, waiting.getQueueId());
        assertEquals(topic, waiting.getProperty(MessageConst.PROPERTY_REAL_TOPIC));

        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("levels-group"), topic, "TagA", inbox);
        inbox.await(22);
        Map<String, MessageExt> byBody = checkTimes(inbox, 1000, 4000);
        for (int level = 1; level <= 18; level++) {
            MessageExt message = byBody.get("level " + level);
            SendResult result = due.get("level " + level).result;
            assertEquals(result.getMsgId(), message.getMsgId());
            assertEquals(result.getMessageQueue().getQueueId(), message.getQueueId());
            assertEquals("key" + level, message.getKeys());
            assertEquals(level, message.getFlag());
            assertEquals("blue", message.getUserProperty("colour"));
            assertEquals(0, message.getReconsumeTimes());
            assertTrue(message.getBornTimestamp() <= due.get("level " + level).latestMs - level * 1000L, "born when it was sent");
            assertEquals(level, message.getDelayTimeLevel(), "stays to be seen");
            assertEquals(topic, message.getProperty(MessageConst.PROPERTY_REAL_TOPIC));
            assertEquals(String.valueOf(message.getQueueId()), message.getProperty(MessageConst.PROPERTY_REAL_QUEUE_ID));
        }
        assertEquals(18, byBody.get("level 99").getDelayTimeLevel());
        assertNull(byBody.get("level 0").getProperty(MessageConst.PROPERTY_REAL_TOPIC));
    }

    @Test
    void timersComeAtTheirTime() throws Exception {
        String topic = Apps.fresh("timers");
        DefaultMQProducer producer = apps.producer();
        Apps.send(producer, new Message(topic, "first".getBytes()), 0);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("timers-group"), topic, "*", inbox);

        Message message = new Message(topic, "TagA", "key", "2 s".getBytes());
        message.setDelayTimeSec(2);
        SendResult result = sendDelayed(producer, message, 1, 2000);
        String[] handle = new String(Base64.getUrlDecoder().decode(result.getRecallHandle()), StandardCharsets.UTF_8).split(" ");
        assertEquals(List.of("v1", topic, result.getMessageQueue().getBrokerName(), result.getMsgId()),
            List.of(handle[0], handle[1], handle[2], handle[4]));

        message = new Message(topic, "2500 ms".getBytes());
        message.setDelayTimeMs(2500);
        sendDelayed(producer, message, 2, 2500);

        long at = System.currentTimeMillis() + 3210;
        message = new Message(topic, "a time".getBytes());
        message.setDeliverTimeMs(at);
        sendAt(producer, message, at);

        at = (System.currentTimeMillis() / 1000 + 4) * 1000;
        message = new Message(topic, "a full second".getBytes());
        message.setDeliverTimeMs(at);
        sendAt(producer, message, at);

        // What is due is sent as if it had no delay at all.
        at = System.currentTimeMillis() - 5000;
        message = new Message(topic, "past".getBytes());
        message.setDeliverTimeMs(at);
        assertNull(sendAt(producer, message, at).getRecallHandle());
        message = new Message(topic, "no seconds".getBytes());
        message.setDelayTimeSec(0);
        assertNull(sendDelayed(producer, message, 0, 0).getRecallHandle());
        message = new Message(topic, "seconds ago".getBytes());
        message.setDelayTimeSec(-5);
        sendDelayed(producer, message, 0, 0);

        // Of several, seconds win over milliseconds over a time, and a level over all.
        message = new Message(topic, "seconds of all".getBytes());
        message.setDelayTimeSec(3);
        message.setDelayTimeMs(600_000);
        message.setDeliverTimeMs(System.currentTimeMillis() + 600_000);
        sendDelayed(producer, message, 0, 3000);
        message = new Message(topic, "milliseconds of two".getBytes());
        message.setDelayTimeMs(3000);
        message.setDeliverTimeMs(System.currentTimeMillis() + 600_000);
        sendDelayed(producer, message, 0, 3000);
        message = new Message(topic, "level of two".getBytes());
        message.setDelayTimeLevel(2);
        message.setDelayTimeSec(600);
        assertNull(sendDelayed(producer, message, 0, 2000).getRecallHandle());

        inbox.await(11);
        Map<String, MessageExt> byBody = checkTimes(inbox, 2000, 5000);
        MessageExt timer = byBody.get("2 s");
        assertEquals(result.getMsgId(), timer.getMsgId());
        assertEquals(1, timer.getQueueId());
        assertEquals("TagA", timer.getTags());
        assertEquals("key", timer.getKeys());
        assertEquals("2", timer.getProperty(MessageConst.PROPERTY_TIMER_DELAY_SEC));
        assertNotNull(timer.getProperty(MessageConst.PROPERTY_TIMER_OUT_MS));
        assertNotNull(timer.getProperty(MessageConst.PROPERTY_TIMER_ENQUEUE_MS));
        assertNotNull(timer.getProperty(MessageConst.PROPERTY_TIMER_DEQUEUE_MS));
        assertEquals(topic, timer.getProperty(MessageConst.PROPERTY_REAL_TOPIC));
        assertEquals("1", timer.getProperty(MessageConst.PROPERTY_REAL_QUEUE_ID));
        assertNull(byBody.get("level of two").getProperty(MessageConst.PROPERTY_TIMER_DELAY_SEC));
    }

    @Test
    void manyTimersComeOnceAndNoneEarly() throws Exception {
        String topic = Apps.fresh("manytimers");
        DefaultMQProducer producer = apps.producer();
        Apps.send(producer, new Message(topic, "first".getBytes()), 0);
        for (int i = 0; i < 400; i++) {
            Message message = new Message(topic, ("timer " + i).getBytes());
            int delayMs = 1000 + i * 37 % 5000;
            message.setDelayTimeMs(delayMs);
            sendDelayed(producer, message, i % 4, delayMs);
        }
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("manytimers-group"), topic, "*", inbox);
        inbox.await(401);
        checkTimes(inbox, 2000, 5000);
    }

    @Test
    void recalledMessageNeverComes() throws Exception {
        String topic = Apps.fresh("recall");
        DefaultMQProducer producer = apps.producer();
        Apps.send(producer, new Message(topic, "first".getBytes()), 0);
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("recall-group"), topic, "*", inbox);
        List<SendResult> results = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            Message message = new Message(topic, ("timer " + i).getBytes());
            message.setDelayTimeSec(4);
            results.add(sendDelayed(producer, message, i, 4000));
        }
        assertEquals(results.get(1).getMsgId(), producer.recallMessage(topic, results.get(1).getRecallHandle()));
        assertEquals(results.get(2).getMsgId(), producer.recallMessage(topic, results.get(2).getRecallHandle()));
        assertEquals(results.get(2).getMsgId(), producer.recallMessage(topic, results.get(2).getRecallHandle()), "again, and nothing happens");
        Message after = new Message(topic, "after".getBytes());
        after.setDelayTimeSec(6);
        sendDelayed(producer, after, 0, 6000);

        // Each of these names something else than a message that is waiting here.
        String broker = results.get(0).getMessageQueue().getBrokerName();
        String address = Apps.brokerOf(producer, results.get(0).getMessageQueue());
        long soon = System.currentTimeMillis() + 5000;
        refused(producer, address, topic, "nonsense", "recall handle is invalid");
        refused(producer, address, topic, "", "recall handle is invalid");
        refused(producer, address, topic, forged("v2", topic, broker, soon, "A1"), "recall handle is invalid");
        refused(producer, address, topic, Base64.getUrlEncoder().encodeToString("v1 a b".getBytes()), "recall handle is invalid");
        refused(producer, address, topic, forged("v1", "other", broker, soon, "A1"), "recall failed, topic not match");
        refused(producer, address, topic, forged("v1", topic, "other", soon, "A1"), "recall failed, broker service not available");
        refused(producer, address, topic, forged("v1", topic, broker, soon - 60_000, "A1"), "recall failed, timestamp invalid");
        refused(producer, address, topic, forged("v1", topic, broker, soon + 259_200_000, "A1"), "recall failed, timestamp invalid");
        String unknown = Apps.fresh("unknown");
        MQBrokerException noTopic = assertThrows(MQBrokerException.class,
            () -> recall(producer, address, unknown, forged("v1", unknown, broker, soon, "A1")));
        assertEquals(17, noTopic.getResponseCode());
        assertEquals("recall failed, the topic[" + unknown + "] not exist", noTopic.getErrorMessage().split("\\R")[0].trim());
        // A well-formed handle of a message that isn't there does nothing.
        assertEquals("A1", recall(producer, address, topic, forged("v1", topic, broker, soon, "A1")));
        assertThrows(MQClientException.class, () -> producer.recallMessage(topic, "nonsense"), "the client looks at it too");

        Apps.await(30, () -> "the last, got " + inbox.bodies(), () -> inbox.bodies().contains("after"));
        assertEquals(List.of("after", "first", "timer 0", "timer 3"), inbox.bodies());
        refused(producer, address, topic, results.get(0).getRecallHandle(), "recall failed, timestamp invalid");
    }

    @Test
    void impossibleTimesAreRefused() throws Exception {
        String topic = Apps.fresh("impossible");
        DefaultMQProducer producer = apps.producer();
        Apps.send(producer, new Message(topic, "first".getBytes()), 0);
        Message far = new Message(topic, "far".getBytes());
        far.setDelayTimeSec(3 * 24 * 3600 + 60);
        Message farther = new Message(topic, "farther".getBytes());
        farther.setDeliverTimeMs(System.currentTimeMillis() + 3 * 24 * 3600 * 1000L + 60_000);
        List<Message> bad = new ArrayList<>(List.of(far, farther));
        for (String property : List.of(MessageConst.PROPERTY_TIMER_DELAY_SEC, MessageConst.PROPERTY_TIMER_DELAY_MS,
            MessageConst.PROPERTY_TIMER_DELIVER_MS)) {
            Message unread = new Message(topic, property.getBytes());
            MessageAccessor.putProperty(unread, property, "soon");
            bad.add(unread);
        }
        for (Message message : bad) {
            MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(message));
            assertEquals(13, refused.getResponseCode(), new String(message.getBody()));
            assertTrue(refused.getErrorMessage().startsWith("timer message illegal, the delay time should not be bigger than the max delay 259200000ms"),
                refused.getErrorMessage());
        }
        Message level = new Message(topic, "level".getBytes());
        MessageAccessor.putProperty(level, MessageConst.PROPERTY_DELAY_TIME_LEVEL, "soon");
        // A code that makes a client try another broker, which is why it comes wrapped.
        MQClientException refused = assertThrows(MQClientException.class, () -> producer.send(level));
        assertEquals(1, refused.getResponseCode());
        assertTrue(refused.getCause().getMessage().contains("\"soon\""), refused.getCause().getMessage());
    }

    private static void refused(DefaultMQProducer producer, String address, String topic, String handle, String remark) {
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> recall(producer, address, topic, handle), handle);
        assertEquals(604, refused.getResponseCode(), refused.getErrorMessage());
        assertTrue(refused.getErrorMessage().startsWith(remark), refused.getErrorMessage());
    }

    private static String recall(DefaultMQProducer producer, String address, String topic, String handle) throws Exception {
        RecallMessageRequestHeader header = new RecallMessageRequestHeader();
        header.setProducerGroup(producer.getProducerGroup());
        header.setTopic(topic);
        header.setRecallHandle(handle);
        return Apps.api(producer).recallMessage(address, header, 10_000);
    }

    private static String forged(String version, String topic, String broker, long timeMs, String id) {
        String text = String.join(" ", version, topic, broker, String.valueOf(timeMs), id);
        return Base64.getUrlEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Sends what should come after a delay and notes between which times it is due. */
    private SendResult sendDelayed(DefaultMQProducer producer, Message message, int queueId, long delayMs) throws Exception {
        long before = System.currentTimeMillis();
        SendResult result = Apps.send(producer, message, queueId);
        due.put(new String(message.getBody()), new Due(before + delayMs, System.currentTimeMillis() + delayMs, result));
        return result;
    }

    private SendResult sendAt(DefaultMQProducer producer, Message message, long atMs) throws Exception {
        SendResult result = Apps.send(producer, message, 3);
        due.put(new String(message.getBody()), new Due(atMs, Math.max(atMs, System.currentTimeMillis()), result));
        return result;
    }

    /**
     * Everything came once and nothing early, and by this much half of it and all of it was late at most.
     * A message is stored again when its time has come, and that's the time that it shows.
     */
    private Map<String, MessageExt> checkTimes(Inbox inbox, long halfMs, long allMs) {
        Map<String, MessageExt> byBody = inbox.messages.stream().filter(m -> !new String(m.getBody()).equals("first"))
            .collect(Collectors.toMap(m -> new String(m.getBody()), m -> m));
        assertEquals(Set.copyOf(due.keySet()), byBody.keySet());
        Map<Long, String> late = new TreeMap<>();
        List<Long> lateness = new ArrayList<>();
        byBody.forEach((body, message) -> {
            assertTrue(message.getStoreTimestamp() >= due.get(body).earliestMs,
                body + " came " + (due.get(body).earliestMs - message.getStoreTimestamp()) + " ms early");
            long lateMs = message.getStoreTimestamp() - due.get(body).latestMs;
            late.put(lateMs, body);
            lateness.add(lateMs);
        });
        lateness.sort(null);
        assertTrue(lateness.get(lateness.size() / 2) <= halfMs && lateness.get(lateness.size() - 1) <= allMs, "late by ms: " + late);
        return byBody;
    }
}
