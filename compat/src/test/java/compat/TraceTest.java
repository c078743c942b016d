package compat;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.trace.TraceContext;
import org.apache.rocketmq.client.trace.TraceDataEncoder;
import org.apache.rocketmq.client.trace.TraceType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Clients that trace leave what became of each message in a topic, where tools find it by the message's id and keys. */
@Execution(ExecutionMode.CONCURRENT)
class TraceTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void inTheTopicForIt() throws Exception {
        traced("");
    }

    @Test
    void inATopicOfTheApplications() throws Exception {
        traced(Apps.fresh("my-traces"));
    }

    private void traced(String traceTopic) throws Exception {
        String topic = Apps.fresh("traced");
        String group = Apps.fresh("traced-group");
        DefaultMQProducer producer = apps.newProducer();
        producer.setEnableTrace(true);
        producer.setTraceTopic(traceTopic);
        producer.setTraceMsgBatchNum(1);
        producer.start();
        String key = Apps.fresh("order");
        SendResult sent = Apps.send(producer, new Message(topic, "TagA", key, "followed".getBytes()), 1);
        assertEquals("DefaultRegion", sent.getRegionId());
        assertTrue(sent.isTraceOn());

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.newConsumer(group);
        consumer.setEnableTrace(true);
        consumer.setTraceTopic(traceTopic);
        consumer.setTraceMsgBatchNum(1);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.await(1);

        String where = traceTopic.isEmpty() ? "RMQ_SYS_TRACE_TOPIC" : traceTopic;
        DefaultMQProducer asker = apps.producer();
        for (String by : List.of(sent.getMsgId(), key)) {
            Map<TraceType, TraceContext> traces = Apps.eventually(30, () -> traces(asker, where, by, sent.getMsgId()));
            TraceContext pub = traces.get(TraceType.Pub);
            assertEquals(producer.getProducerGroup(), pub.getGroupName());
            assertEquals("DefaultRegion", pub.getRegionId());
            assertEquals(topic, pub.getTraceBeans().get(0).getTopic());
            assertEquals(key, pub.getTraceBeans().get(0).getKeys());
            assertEquals(sent.getOffsetMsgId(), pub.getTraceBeans().get(0).getOffsetMsgId());
            assertTrue(pub.isSuccess());
            assertEquals(group, traces.get(TraceType.SubBefore).getGroupName());
            assertEquals(0, traces.get(TraceType.SubBefore).getTraceBeans().get(0).getRetryTimes());
            assertTrue(traces.get(TraceType.SubAfter).isSuccess());
            assertEquals(traces.get(TraceType.SubBefore).getRequestId(), traces.get(TraceType.SubAfter).getRequestId());
        }
    }

    /** What is known of a message, found by its id or key: null until it is sent, taken and done with. */
    private static Map<TraceType, TraceContext> traces(DefaultMQProducer asker, String topic, String by, String id) throws Exception {
        long now = System.currentTimeMillis();
        QueryResult result = asker.queryMessage(topic, by, 64, now - 3_600_000, now + 60_000);
        Map<TraceType, TraceContext> traces = new TreeMap<>();
        for (MessageExt message : result.getMessageList()) {
            assertEquals(topic, message.getTopic());
            for (TraceContext context : TraceDataEncoder.decoderFromTraceDataString(new String(message.getBody()))) {
                if (context.getTraceBeans().get(0).getMsgId().equals(id)) {
                    traces.put(context.getTraceType(), context);
                }
            }
        }
        return traces.size() == 3 ? traces : null;
    }
}
