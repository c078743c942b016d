package compat;

import java.io.File;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.store.DefaultMessageStore;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.store.stats.BrokerStatsManager;

/**
 * Opens Apache's store with files so small that a few thousand messages roll all of them:
 *
 *   mappedFileSizeCommitLog       1048576   (1 MiB)
 *   mappedFileSizeConsumeQueue       2000   (100 entries)
 *   maxHashSlotNum                    500
 *   maxIndexNum                      2000   (a file is 40 + 500 * 4 + 2000 * 20 = 42040 bytes)
 *
 * Whoever opens such a directory with another program gives it the same sizes.
 */
final class Stores {
    private Stores() {
    }

    /** Loads, which recovers, and starts the store; returns when everything in the log is in the queues and the index. */
    static DefaultMessageStore open(String directory) throws Exception {
        // A nearly full disk is no reason to refuse or to delete anything here.
        System.setProperty("rocketmq.broker.diskSpaceWarningLevelRatio", "0.99");
        MessageStoreConfig config = new MessageStoreConfig();
        config.setStorePathRootDir(directory);
        config.setStorePathCommitLog(directory + File.separator + "commitlog");
        config.setMappedFileSizeCommitLog(1024 * 1024);
        config.setMappedFileSizeConsumeQueue(100 * 20);
        config.setMaxHashSlotNum(500);
        config.setMaxIndexNum(2000);
        config.setDiskMaxUsedSpaceRatio(95);
        config.setCleanFileForciblyEnable(false);
        config.setFileReservedTime(24 * 365);
        config.setHaListenPort(0);
        DefaultMessageStore store = new DefaultMessageStore(config, new BrokerStatsManager("compat", true),
            (topic, queueId, logicOffset, tagsCode, timestamp, bitmap, properties) -> { }, new BrokerConfig(),
            new ConcurrentHashMap<>());
        if (!store.load()) {
            throw new IllegalStateException("the store in " + directory + " does not load");
        }
        store.start();
        awaitDispatch(store);
        return store;
    }

    static void awaitDispatch(DefaultMessageStore store) throws InterruptedException {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (store.dispatchBehindBytes() > 0) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException(store.dispatchBehindBytes() + " bytes not dispatched after 60 s");
            }
            Thread.sleep(5);
        }
    }
}
