package compat;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.header.ViewMessageRequestHeader;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

/** Every field of a message as it comes to a consumer. */
@Tag("binary")
class MessageFieldsTest {
    @RegisterExtension
    final Apps apps = new Apps();

    @Test
    void everyFieldArrives() throws Exception {
        String topic = Apps.fresh("fields");
        DefaultMQProducer producer = apps.producer();
        byte[] body = "body with ümläut \u4e2d\u6587".getBytes("UTF-8");
        Message message = new Message(topic, "TagA", "key1 key2", 4711, body, true);
        message.putUserProperty("colour", "blue");
        message.putUserProperty("unicode", "\u4e2d\u6587");
        message.setBuyerId("buyer");
        long before = System.currentTimeMillis();
        SendResult result = Apps.send(producer, message, 3);
        long after = System.currentTimeMillis();

        MessageExt got = receiveOne(topic);
        assertEquals(topic, got.getTopic());
        assertEquals("TagA", got.getTags());
        assertEquals("key1 key2", got.getKeys());
        assertEquals(4711, got.getFlag());
        assertArrayEquals(body, got.getBody());
        assertEquals(crc(body), got.getBodyCRC());
        assertEquals("blue", got.getUserProperty("colour"));
        assertEquals("\u4e2d\u6587", got.getUserProperty("unicode"));
        assertEquals("buyer", got.getBuyerId());
        assertTrue(got.isWaitStoreMsgOK());
        assertEquals(0, got.getSysFlag() & ~MessageSysFlag.MULTI_TAGS_FLAG);
        assertEquals(0, got.getReconsumeTimes());
        assertEquals(0, got.getPreparedTransactionOffset());
        assertEquals(3, got.getQueueId());
        assertEquals(0, got.getQueueOffset());
        assertEquals(result.getMessageQueue().getBrokerName(), got.getBrokerName());

        assertEquals(result.getMsgId(), got.getMsgId());
        assertEquals(result.getOffsetMsgId(), ((MessageClientExt) got).getOffsetMsgId());
        MessageId id = MessageDecoder.decodeMessageId(result.getOffsetMsgId());
        assertEquals(id.getOffset(), got.getCommitLogOffset());
        assertEquals(id.getAddress(), got.getStoreHost());

        assertTrue(got.getBornTimestamp() >= before && got.getBornTimestamp() <= after);
        assertTrue(got.getStoreTimestamp() >= before && got.getStoreTimestamp() <= after, "all on one clock");
        InetSocketAddress bornHost = (InetSocketAddress) got.getBornHost();
        assertTrue(bornHost.getAddress().isLoopbackAddress() || bornHost.getAddress().equals(InetAddress.getLocalHost()), bornHost.toString());
        assertTrue(bornHost.getPort() > 0);

        // What the broker adds, and nothing but that beside what was sent.
        assertEquals("DefaultRegion", got.getProperty("MSG_REGION"));
        assertEquals("true", got.getProperty("TRACE_ON"));
        String cluster = producer.getDefaultMQProducerImpl().getMqClientFactory().getTopicRouteTable().get(topic)
            .getBrokerDatas().get(0).getCluster();
        assertEquals(cluster, got.getProperty("CLUSTER"));
        assertEquals(Set.of("KEYS", "TAGS", "WAIT", "UNIQ_KEY", "BUYER_ID", "colour", "unicode",
            "MSG_REGION", "TRACE_ON", "CLUSTER",
            // These two the consuming client adds.
            "MIN_OFFSET", "MAX_OFFSET", "CONSUME_START_TIME"), got.getProperties().keySet());

        // The size that the log takes: fixed part 91, then body, topic and properties (v4 addresses, one byte of topic length).
        MessageExt stored = producer.viewMessage(topic, result.getOffsetMsgId());
        int properties = MessageDecoder.messageProperties2String(stored.getProperties()).getBytes("UTF-8").length;
        int slack = got.getStoreSize() - (91 + body.length + topic.length() + properties);
        assertTrue(slack == 0 || slack == -1, "size " + got.getStoreSize() + ", off by " + slack);
        assertEquals(got.getStoreSize(), stored.getStoreSize());
    }

    @Test
    void nullKeysAndTagsStayNull() throws Exception {
        String topic = Apps.fresh("bare");
        DefaultMQProducer producer = apps.producer();
        Apps.send(producer, new Message(topic, new byte[] {0}), 0);
        MessageExt got = receiveOne(topic);
        assertEquals(null, got.getTags());
        assertEquals(null, got.getKeys());
        assertArrayEquals(new byte[] {0}, got.getBody());
    }

    @Test
    void largeBodyTravelsCompressed() throws Exception {
        String topic = Apps.fresh("large");
        DefaultMQProducer producer = apps.producer();
        byte[] body = new byte[100_000];
        Arrays.fill(body, (byte) 'x');
        SendResult result = Apps.send(producer, new Message(topic, body), 0);
        MessageExt got = receiveOne(topic);
        assertArrayEquals(body, got.getBody());
        assertEquals(0, got.getSysFlag() & MessageSysFlag.COMPRESSED_FLAG, "the client unfolds it and clears the flag");
        assertTrue(got.getStoreSize() < 2000, "stored as sent, " + got.getStoreSize() + " bytes");
        // The stored record is as the producer sent it: flagged, and the sum is over the compressed body.
        ViewMessageRequestHeader header = new ViewMessageRequestHeader();
        header.setOffset(got.getCommitLogOffset());
        RemotingCommand view = Apps.api(producer).getRemotingClient().invokeSync(Apps.brokerOf(producer, result.getMessageQueue()),
            RemotingCommand.createRequestCommand(RequestCode.VIEW_MESSAGE_BY_ID, header), 10_000);
        assertEquals(0, view.getCode(), view.getRemark());
        ByteBuffer record = ByteBuffer.wrap(view.getBody());
        assertEquals(MessageSysFlag.COMPRESSED_FLAG, record.getInt(MessageDecoder.SYSFLAG_POSITION) & MessageSysFlag.COMPRESSED_FLAG);
        // Body length and body are at 84 and 88 of a record with v4 addresses.
        byte[] compressed = new byte[record.getInt(84)];
        record.get(88, compressed);
        assertTrue(compressed.length < 1000);
        assertEquals(crc(compressed), got.getBodyCRC());
        assertArrayEquals(body, producer.viewMessage(topic, result.getOffsetMsgId()).getBody());
    }

    @Test
    void incompressibleBodyOfTheLargestSizeArrives() throws Exception {
        String topic = Apps.fresh("largest");
        DefaultMQProducer producer = apps.newProducer();
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        byte[] body = new byte[4 * 1024 * 1024 - 1024];
        new Random(7).nextBytes(body);
        Apps.send(producer, new Message(topic, body), 0);
        MessageExt got = receiveOne(topic);
        assertArrayEquals(body, got.getBody());
        assertEquals(crc(body), got.getBodyCRC());
        assertEquals(0, got.getSysFlag() & MessageSysFlag.COMPRESSED_FLAG);
    }

    @Test
    void userPropertiesUpToTheLimit() throws Exception {
        String topic = Apps.fresh("properties");
        DefaultMQProducer producer = apps.producer();
        Message message = new Message(topic, "body".getBytes());
        for (int i = 0; i < 500; i++) {
            message.putUserProperty("property-" + i, "value " + i);
        }
        message.putUserProperty("spaces and signs", " =;\t\n\"{}|@% ");
        message.putUserProperty("rest", "x");
        MessageExt stored = producer.viewMessage(topic, Apps.send(producer, message, 0).getOffsetMsgId());
        for (int i = 0; i < 500; i++) {
            assertEquals("value " + i, stored.getUserProperty("property-" + i));
        }
        assertEquals(" =;\t\n\"{}|@% ", stored.getUserProperty("spaces and signs"));
        // All of them together, the broker's own included, may be 32767 bytes.
        int room = 32767 - MessageDecoder.messageProperties2String(stored.getProperties()).length();
        Message full = new Message(topic, "body".getBytes());
        full.getProperties().putAll(message.getProperties());
        full.getProperties().remove("UNIQ_KEY");
        full.putUserProperty("rest", "x".repeat(room));
        MessageExt kept = producer.viewMessage(topic, Apps.send(producer, full, 0).getOffsetMsgId());
        assertEquals(room, kept.getUserProperty("rest").length());
        full.getProperties().remove("UNIQ_KEY");
        full.putUserProperty("rest", "x".repeat(room + 3));
        MQBrokerException refused = assertThrows(MQBrokerException.class, () -> producer.send(full));
        assertEquals(13, refused.getResponseCode());
    }

    @Test
    void everyCompressionPassesUntouched() throws Exception {
        String topic = Apps.fresh("compressions");
        byte[] body = "compress me, ".repeat(10_000).getBytes();
        Map<CompressionType, Integer> bits = Map.of(CompressionType.LZ4, 0x100, CompressionType.ZSTD, 0x200, CompressionType.ZLIB, 0x300);
        Map<String, CompressionType> sent = new HashMap<>();
        DefaultMQProducer asker = apps.producer();
        for (CompressionType type : CompressionType.values()) {
            DefaultMQProducer producer = apps.newProducer();
            producer.setCompressType(type);
            producer.start();
            SendResult result = Apps.send(producer, new Message(topic, body), 0);
            sent.put(result.getMsgId(), type);
            ViewMessageRequestHeader header = new ViewMessageRequestHeader();
            header.setOffset(MessageDecoder.decodeMessageId(result.getOffsetMsgId()).getOffset());
            RemotingCommand view = Apps.api(producer).getRemotingClient().invokeSync(Apps.brokerOf(producer, result.getMessageQueue()),
                RemotingCommand.createRequestCommand(RequestCode.VIEW_MESSAGE_BY_ID, header), 10_000);
            ByteBuffer record = ByteBuffer.wrap(view.getBody());
            int sysFlag = record.getInt(MessageDecoder.SYSFLAG_POSITION);
            assertEquals(MessageSysFlag.COMPRESSED_FLAG | bits.get(type), sysFlag & (MessageSysFlag.COMPRESSED_FLAG | 0x700), type.toString());
            byte[] stored = new byte[record.getInt(84)];
            record.get(88, stored);
            assertTrue(stored.length < body.length / 10);
            assertArrayEquals(body, CompressorFactory.getCompressor(type).decompress(stored));
            assertArrayEquals(body, asker.viewMessage(topic, result.getOffsetMsgId()).getBody());
        }
        Inbox inbox = new Inbox();
        apps.consumer(Apps.fresh("compressions-group"), topic, "*", inbox);
        inbox.await(sent.size());
        assertEquals(sent.keySet(), inbox.messages.stream().map(MessageExt::getMsgId).collect(Collectors.toSet()));
        for (MessageExt message : inbox.messages) {
            assertArrayEquals(body, message.getBody(), sent.get(message.getMsgId()).toString());
        }
    }

    private MessageExt receiveOne(String topic) throws Exception {
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = apps.consumer(Apps.fresh("fields-group"), topic, "*", inbox);
        inbox.await(1);
        consumer.shutdown();
        assertEquals(1, inbox.messages.size());
        return inbox.messages.get(0);
    }

    private static int crc(byte[] bytes) {
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return (int) (crc.getValue() & 0x7fffffff);
    }
}
