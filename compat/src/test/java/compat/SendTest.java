package compat;

import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Sync, async and one-way sends, and each field of the result. */
@Tag("binary")
class SendTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void syncResultFields() throws Exception {
        String topic = Apps.fresh("sync");
        DefaultMQProducer producer = apps.producer();
        long lastLogOffset = -1;
        for (int i = 0; i < 5; i++) {
            Message message = new Message(topic, "TagA", "key" + i, ("sync " + i).getBytes());
            SendResult result = Apps.send(producer, message, 2);
            String broker = Apps.brokerOf(producer, result.getMessageQueue());

            assertEquals(topic, result.getMessageQueue().getTopic());
            assertEquals(2, result.getMessageQueue().getQueueId());
            assertEquals(i, result.getQueueOffset());
            assertEquals(message.getProperty(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX), result.getMsgId());
            assertEquals(result.getMsgId(), result.getTransactionId(), "carries the unique key on ordinary sends too");
            assertEquals("DefaultRegion", result.getRegionId());
            assertTrue(result.isTraceOn());
            assertNull(result.getRecallHandle());

            assertTrue(result.getOffsetMsgId().matches("[0-9A-F]{32}"), result.getOffsetMsgId());
            MessageId id = MessageDecoder.decodeMessageId(result.getOffsetMsgId());
            InetSocketAddress host = (InetSocketAddress) id.getAddress();
            assertEquals(broker, host.getAddress().getHostAddress() + ":" + host.getPort());
            assertTrue(id.getOffset() > lastLogOffset, "the log only grows");
            lastLogOffset = id.getOffset();
        }
    }

    @Test
    void oldHeaderIsServedAlike() throws Exception {
        String topic = Apps.fresh("v1");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = Apps.send(producer, new Message(topic, "a".getBytes()), 0).getMessageQueue();
        SendResult result = producer.send(new Message(topic, "b".getBytes()), queue);
        assertEquals(1, result.getQueueOffset());

        // The same send as an old client makes it: full header names and request code 10.
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup(producer.getProducerGroup());
        header.setTopic(topic);
        header.setDefaultTopic("TBW102");
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(0);
        header.setSysFlag(0);
        header.setBornTimestamp(System.currentTimeMillis());
        header.setFlag(0);
        header.setProperties("");
        header.setReconsumeTimes(0);
        header.setUnitMode(false);
        header.setBatch(false);
        RemotingCommand request = RemotingCommand.createRequestCommand(
            RequestCode.SEND_MESSAGE, header);
        request.setBody("c".getBytes());
        RemotingCommand response = Apps.api(producer).getRemotingClient().invokeSync(Apps.brokerOf(producer, queue), request, 10_000);
        assertEquals(0, response.getCode(), response.getRemark());
        assertEquals("2", response.getExtFields().get("queueOffset"));
        assertEquals("0", response.getExtFields().get("queueId"));
        assertTrue(response.getExtFields().get("msgId").matches("[0-9A-F]{32}"));
        assertEquals("DefaultRegion", response.getExtFields().get("MSG_REGION"));
        assertEquals("true", response.getExtFields().get("TRACE_ON"));
        assertNotNull(response.getExtFields().get("transactionId"), "the broker makes a unique key where there is none");
    }

    @Test
    void asyncCallbacksAllCome() throws Exception {
        String topic = Apps.fresh("async");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = Apps.send(producer, new Message(topic, "first".getBytes()), 1).getMessageQueue();
        int count = 200;
        CountDownLatch answered = new CountDownLatch(count);
        Set<Long> offsets = new ConcurrentSkipListSet<>();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, ("async " + i).getBytes()), queue, new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    if (result.getSendStatus() == SendStatus.SEND_OK) {
                        offsets.add(result.getQueueOffset());
                    }
                    answered.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failure.set(e);
                    answered.countDown();
                }
            });
        }
        assertTrue(answered.await(30, TimeUnit.SECONDS));
        assertNull(failure.get());
        List<Long> expected = new ArrayList<>();
        for (long offset = 1; offset <= count; offset++) {
            expected.add(offset);
        }
        assertEquals(expected, List.copyOf(offsets), "each got an offset of its own, without a gap");
    }

    @Test
    void oneWayArrives() throws Exception {
        String topic = Apps.fresh("oneway");
        DefaultMQProducer producer = apps.producer();
        MessageQueue queue = Apps.send(producer, new Message(topic, "body 0".getBytes()), 0).getMessageQueue();
        for (int i = 1; i < 50; i++) {
            producer.sendOneway(new Message(topic, "TagA", ("body " + i).getBytes()), queue);
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(Apps.fresh("oneway-group"), topic, "*", inbox);
        inbox.await(50);
        consumer.shutdown();
        assertEquals(Inbox.sorted(Apps.bodies("body", 50)), inbox.bodies());
        assertEquals(50, producer.maxOffset(queue));
    }
}
