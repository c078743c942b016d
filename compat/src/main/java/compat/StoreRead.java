package compat;

import java.io.PrintStream;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.QueryMessageResult;
import org.apache.rocketmq.store.SelectMappedBufferResult;
import org.apache.rocketmq.store.queue.ConsumeQueueInterface;
import org.apache.rocketmq.store.queue.CqUnit;

/**
 * Opens a directory with Apache's store, which recovers it if need be, and prints all that is in it as JSON lines; then
 * shuts the store down.
 *
 *   java -cp CLASSPATH compat.StoreRead DIR
 *
 * `skylark store dump` prints the same lines, byte for byte. UTF-8, \n after each line, no blank outside of strings,
 * members in this order, integers in decimal. In strings " and \ are escaped with \, characters below U+0020 are a backslash and u00xx
 * (lower-case hex), all else is itself. In this order of lines:
 *
 * 1. For each topic that has queues, by name (as UTF-16 code units, which is byte order for ASCII), for each of its queues
 *    by number: a queue line, then its messages by queue offset from min to max - 1.
 *
 *      {"kind":"queue","topic":S,"queueId":I,"min":I,"max":I}
 *      {"kind":"message","topic":S,"queueId":I,"queueOffset":I,"logOffset":I,"size":I,"tagsCode":I,
 *       "storeTimestamp":I,"bornTimestamp":I,"bornHost":S,"storeHost":S,"sysFlag":I,"flag":I,"reconsumeTimes":I,
 *       "preparedTransactionOffset":I,"bodyCrc":I,"body":S,"properties":{S:S,...}}          (one line)
 *
 *    min       the first entry whose record is still in the log
 *    logOffset, size, tagsCode   from the queue's entry; everything else from the record at logOffset
 *    topic, queueId, queueOffset  the record's own, so that an entry that points to the wrong record shows
 *    bornHost, storeHost   "192.0.2.1:4000"; IPv6 as eight groups without leading zeros or "::": "[2001:db8:0:0:0:0:0:1]:4000"
 *    bodyCrc   as stored (31 bits); body as stored (compressed if the record says so), lower-case hex
 *    properties by name, in the order of topics above
 *    An entry whose record can't be read is {"kind":"missing","topic":S,"queueId":I,"queueOffset":I,"logOffset":I,"size":I}
 *
 * 2. For each pair of topic and key (of KEYS, split at single blanks, and of UNIQ_KEY) seen in these messages, by topic and then by key:
 *
 *      {"kind":"key","topic":S,"key":S,"logOffsets":[I,...]}
 *
 *    logOffsets  what the index finds for that key at any time, at most 64, ascending. The index knows hashes only: what has
 *                the same hash is listed too. Prepared messages are in the index though in no queue.
 *
 * 3. {"kind":"log","min":I,"max":I}   the first log file's offset and the end of what is written
 */
public final class StoreRead {
    private StoreRead() {
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8);
        StringBuilder lines = new StringBuilder();
        DefaultMessageStore store = Stores.open(args[0]);
        Map<String, TreeSet<String>> keys = new TreeMap<>();
        new TreeMap<>(store.getConsumeQueueTable()).forEach((topic, queues) ->
            new TreeMap<>(queues).forEach((queueId, queue) -> queue(store, topic, queueId, queue, keys, lines)));
        keys.forEach((topic, ofTopic) -> ofTopic.forEach(key -> key(store, topic, key, lines)));
        lines.append("{\"kind\":\"log\",\"min\":").append(store.getMinPhyOffset())
            .append(",\"max\":").append(store.getMaxPhyOffset()).append("}\n");
        out.print(lines);
        out.flush();
        store.shutdown();
        // Some of the store's threads are no daemons and stay.
        System.exit(0);
    }

    private static void queue(DefaultMessageStore store, String topic, int queueId, ConsumeQueueInterface queue,
        Map<String, TreeSet<String>> keys, StringBuilder lines) {
        long min = queue.getMinOffsetInQueue();
        long max = queue.getMaxOffsetInQueue();
        lines.append("{\"kind\":\"queue\",\"topic\":").append(string(topic)).append(",\"queueId\":").append(queueId)
            .append(",\"min\":").append(min).append(",\"max\":").append(max).append("}\n");
        for (long offset = min; offset < max; offset++) {
            CqUnit entry = queue.get(offset);
            SelectMappedBufferResult record = store.selectOneMessageByOffset(entry.getPos(), entry.getSize());
            MessageExt message = record == null ? null : decode(record.getByteBuffer());
            if (record != null) {
                record.release();
            }
            if (message == null) {
                lines.append("{\"kind\":\"missing\",\"topic\":").append(string(topic)).append(",\"queueId\":").append(queueId)
                    .append(",\"queueOffset\":").append(offset).append(",\"logOffset\":").append(entry.getPos())
                    .append(",\"size\":").append(entry.getSize()).append("}\n");
                continue;
            }
            message(entry, message, lines);
            TreeSet<String> ofTopic = keys.computeIfAbsent(message.getTopic(), t -> new TreeSet<>());
            if (message.getKeys() != null) {
                for (String key : message.getKeys().split(MessageConst.KEY_SEPARATOR)) {
                    ofTopic.add(key);
                }
            }
            String unique = message.getProperty(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
            if (unique != null) {
                ofTopic.add(unique);
            }
        }
    }

    private static MessageExt decode(ByteBuffer record) {
        return MessageDecoder.decode(record, true, false);
    }

    private static void message(CqUnit entry, MessageExt message, StringBuilder lines) {
        lines.append("{\"kind\":\"message\",\"topic\":").append(string(message.getTopic()))
            .append(",\"queueId\":").append(message.getQueueId())
            .append(",\"queueOffset\":").append(message.getQueueOffset())
            .append(",\"logOffset\":").append(entry.getPos())
            .append(",\"size\":").append(entry.getSize())
            .append(",\"tagsCode\":").append(entry.getTagsCode())
            .append(",\"storeTimestamp\":").append(message.getStoreTimestamp())
            .append(",\"bornTimestamp\":").append(message.getBornTimestamp())
            .append(",\"bornHost\":").append(host(message.getBornHost()))
            .append(",\"storeHost\":").append(host(message.getStoreHost()))
            .append(",\"sysFlag\":").append(message.getSysFlag())
            .append(",\"flag\":").append(message.getFlag())
            .append(",\"reconsumeTimes\":").append(message.getReconsumeTimes())
            .append(",\"preparedTransactionOffset\":").append(message.getPreparedTransactionOffset())
            .append(",\"bodyCrc\":").append(message.getBodyCRC())
            .append(",\"body\":\"").append(message.getBody() == null ? "" : HexFormat.of().formatHex(message.getBody()))
            .append("\",\"properties\":{");
        String separator = "";
        for (Map.Entry<String, String> property : new TreeMap<>(message.getProperties()).entrySet()) {
            lines.append(separator).append(string(property.getKey())).append(':').append(string(property.getValue()));
            separator = ",";
        }
        lines.append("}}\n");
    }

    private static void key(DefaultMessageStore store, String topic, String key, StringBuilder lines) {
        QueryMessageResult result = store.queryMessage(topic, key, 64, 0, Long.MAX_VALUE);
        TreeSet<Long> offsets = new TreeSet<>();
        for (ByteBuffer record : result.getMessageBufferList()) {
            offsets.add(record.getLong(MessageDecoder.MESSAGE_PHYSIC_OFFSET_POSITION));
        }
        result.release();
        lines.append("{\"kind\":\"key\",\"topic\":").append(string(topic)).append(",\"key\":").append(string(key))
            .append(",\"logOffsets\":").append(offsets.toString().replace(" ", "")).append("}\n");
    }

    private static String host(SocketAddress address) {
        InetSocketAddress host = (InetSocketAddress) address;
        String name = host.getAddress().getHostAddress();
        return string((name.contains(":") ? "[" + name + "]" : name) + ":" + host.getPort());
    }

    private static String string(String value) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : value.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < 0x20) {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
