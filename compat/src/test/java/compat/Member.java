package compat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * A push consumer in a process of its own, which can die as an application does whose machine fails: without a word to anybody.
 * It writes a line for each message that it has consumed.
 */
final class Member {
    private final Process process;
    private final Thread reader;
    /** The bodies, in the order they were consumed in. */
    final List<String> bodies = new CopyOnWriteArrayList<>();

    /** Starts one; `how` is orderly or concurrently. */
    Member(String group, String topic, String how) throws IOException {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        for (String argument : ManagementFactory.getRuntimeMXBean().getInputArguments()) {
            if (argument.startsWith("--add-")) {
                command.add(argument);
            }
        }
        for (String name : List.of("rocketmq.client.rebalance.waitInterval", "rocketmq.client.localOffsetStoreDir")) {
            command.add("-D" + name + "=" + System.getProperty(name));
        }
        command.addAll(List.of("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-DnamesrvAddr=" + Apps.NAMESRV,
            Member.class.getName(), group, topic, how));
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
        builder.environment().put("CLASSPATH", System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")));
        process = builder.start();
        reader = new Thread(() -> {
            try (BufferedReader lines = new BufferedReader(new InputStreamReader(process.getInputStream()))) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    bodies.add(line);
                }
            } catch (IOException e) {
                // The pipe of a killed process.
            }
        });
        reader.start();
    }

    /** Returns when it's gone and all that it wrote is in `bodies`. */
    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
        reader.join();
    }

    public static void main(String[] arguments) throws Exception {
        DefaultMQPushConsumer consumer = new Apps().newConsumer(arguments[0]);
        consumer.subscribe(arguments[1], "*");
        if (arguments[2].equals("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
                batch.forEach(Member::print);
                return ConsumeOrderlyStatus.SUCCESS;
            });
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (batch, context) -> {
                batch.forEach(Member::print);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        consumer.start();
        new CountDownLatch(1).await();
    }

    private static synchronized void print(MessageExt message) {
        System.out.println(new String(message.getBody()));
        System.out.flush();
    }
}
