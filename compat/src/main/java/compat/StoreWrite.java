package compat;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.compression.CompressorFactory;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExtBatch;
import org.apache.rocketmq.common.message.MessageExtBrokerInner;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.PutMessageResult;

/**
 * Writes messages with Apache's store. What message number i is depends on i alone, so that two directories written with
 * the same numbers differ in store times only (and in what follows from them: tags codes of the schedule topic).
 *
 *   java -cp CLASSPATH compat.StoreWrite DIR COUNT [--from I] [--crash]
 *
 *   DIR       the store's root; made if it isn't there, appended to if it is
 *   COUNT     how many steps; each is one message, but every 50th is a batch of 5
 *   --from I  the first step's number, 0 if not given
 *   --crash   halt when all is written, dispatched and flushed, as a kill would: the abort file stays
 *
 * Prints one line: {"steps":N,"logEnd":N}
 *
 * Of the steps:  i % 7 chooses the topic: alpha (0-2), beta (3, 4), a name of 200 characters (5; record version 2),
 *                SCHEDULE_TOPIC_XXXX (6; its tags code is the time of delivery)
 *                i % 4 is the queue (of the schedule topic i % 3 + 2, which is delay level - 1)
 *   i % 3        tag: none, TagA, TagB
 *   i % 5 = 0    IPv6 born host;  i % 15 = 0 IPv6 store host too
 *   i % 40 = 20  body of 30,000 bytes, so that log files end in blank space;  i % 60 = 30 an empty body's neighbour: one byte
 *   i % 64 = 40  zlib-compressed body, flagged so
 *   i % 97 = 50  prepared transactional message, i % 97 = 60 rolled back, i % 97 = 70 committed: of these three only the
 *                committed one is in a queue, and the rolled back one isn't indexed either
 *   always       UNIQ_KEY, KEYS "k<i> g<i / 30>", property n=i, flag i, reconsumeTimes i % 3
 */
public final class StoreWrite {
    private static final String LONG_TOPIC = "long-" + "x".repeat(195);

    private StoreWrite() {
    }

    public static void main(String[] args) throws Exception {
        String directory = args[0];
        int count = Integer.parseInt(args[1]);
        int from = 0;
        boolean crash = false;
        for (int i = 2; i < args.length; i++) {
            switch (args[i]) {
                case "--from" -> from = Integer.parseInt(args[++i]);
                case "--crash" -> crash = true;
                default -> throw new IllegalArgumentException("unknown argument " + args[i]);
            }
        }

        DefaultMessageStore store = Stores.open(directory);
        for (int i = from; i < from + count; i++) {
            PutMessageResult result = i % 50 == 49 ? store.putMessages(batch(i)) : store.putMessage(message(i));
            if (!result.isOk()) {
                throw new IllegalStateException("step " + i + ": " + result.getPutMessageStatus());
            }
        }
        Stores.awaitDispatch(store);
        System.out.println("{\"steps\":" + count + ",\"logEnd\":" + store.getMaxPhyOffset() + "}");
        System.out.flush();
        if (crash) {
            store.flush();
            Runtime.getRuntime().halt(0);
        }
        store.shutdown();
        // Some of the store's threads are no daemons and stay.
        System.exit(0);
    }

    private static MessageExtBrokerInner message(int i) throws Exception {
        MessageExtBrokerInner message = new MessageExtBrokerInner();
        fill(message, i, 0);
        message.setFlag(i);
        message.setReconsumeTimes(i % 3);
        message.setBody(body(i));
        if (i % 64 == 40) {
            message.setBody(CompressorFactory.getCompressor(CompressionType.ZLIB).compress(message.getBody(), 5));
            message.setSysFlag(message.getSysFlag() | MessageSysFlag.COMPRESSED_FLAG | CompressionType.ZLIB.getCompressionFlag());
        }
        switch (i % 97) {
            case 50 -> message.setSysFlag(message.getSysFlag() | MessageSysFlag.TRANSACTION_PREPARED_TYPE);
            case 60 -> message.setSysFlag(message.getSysFlag() | MessageSysFlag.TRANSACTION_ROLLBACK_TYPE);
            case 70 -> {
                message.setSysFlag(message.getSysFlag() | MessageSysFlag.TRANSACTION_COMMIT_TYPE);
                message.setPreparedTransactionOffset(1000L + i);
            }
            default -> { }
        }
        switch (i % 7) {
            case 0, 1, 2 -> message.setTopic("alpha");
            case 3, 4 -> message.setTopic("beta");
            case 5 -> message.setTopic(LONG_TOPIC);
            default -> {
                message.setTopic("SCHEDULE_TOPIC_XXXX");
                message.setQueueId(i % 3 + 2);
                message.setDelayTimeLevel(i % 3 + 3);
                MessageAccessor.putProperty(message, MessageConst.PROPERTY_REAL_TOPIC, "alpha");
                MessageAccessor.putProperty(message, MessageConst.PROPERTY_REAL_QUEUE_ID, String.valueOf(i % 4));
            }
        }
        message.setPropertiesString(MessageDecoder.messageProperties2String(message.getProperties()));
        return message;
    }

    /** Five messages in one put, of topic batch, in queue 0 and 1. */
    private static MessageExtBatch batch(int i) throws Exception {
        List<Message> messages = new ArrayList<>();
        for (int n = 0; n < 5; n++) {
            MessageExtBrokerInner message = new MessageExtBrokerInner();
            fill(message, i, n);
            message.setTopic("batch");
            message.setFlag(n);
            message.setBody(("batch " + i + " message " + n).getBytes(StandardCharsets.UTF_8));
            messages.add(message);
        }
        MessageExtBatch batch = new MessageExtBatch();
        batch.setTopic("batch");
        batch.setQueueId(i / 50 % 2);
        batch.setBornTimestamp(1_700_000_000_000L + i);
        batch.setBornHost(new InetSocketAddress(InetAddress.getByName("192.0.2.2"), 5000 + i % 1000));
        batch.setStoreHost(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 10911));
        batch.setBody(MessageDecoder.encodeMessages(messages));
        return batch;
    }

    private static void fill(MessageExtBrokerInner message, int i, int n) throws Exception {
        message.setQueueId(i % 4);
        message.setBornTimestamp(1_700_000_000_000L + i);
        message.setBornHost(new InetSocketAddress(InetAddress.getByName(i % 5 == 0 ? "2001:db8::" + Integer.toHexString(i + 1) : "192.0.2.1"), 4000 + i % 1000));
        message.setStoreHost(new InetSocketAddress(InetAddress.getByName(i % 15 == 0 ? "::1" : "127.0.0.1"), 10911));
        if (i % 3 != 0) {
            message.setTags(i % 3 == 1 ? "TagA" : "TagB");
        }
        message.setKeys("k" + i + " g" + i / 30);
        message.setWaitStoreMsgOK(true);
        message.putUserProperty("n", i + "." + n + " \u00e4\u4e2d\"\\");
        MessageAccessor.putProperty(message, MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
            "7F00000100010000" + HexFormat.of().withUpperCase().toHexDigits(i) + HexFormat.of().withUpperCase().toHexDigits(n));
    }

    private static byte[] body(int i) {
        int size = i % 40 == 20 ? 30_000 : i % 60 == 30 ? 1 : 20 + i * 7919 % 1500;
        byte[] body = new byte[size];
        new Random(i).nextBytes(body);
        return body;
    }
}
