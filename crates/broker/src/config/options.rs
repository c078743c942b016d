//! The broker's keys in a properties file, each declared once: name, type, default, unit, words.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::bodies::MessageRequestMode;
use protocol::options::{OptionValue, Positive};
use protocol::{option_enum, options};

use super::{Config, PopConfig, Role};
use crate::limits;
use crate::timer::TimerSettings;

#[cfg(test)]
mod tests;

option_enum! {
    /// What the broker is to its replica group.
    pub enum BrokerRole {
        /// Acknowledges without waiting for slaves.
        AsyncMaster = "ASYNC_MASTER",
        /// Waits for `inSyncReplicas`, itself included.
        SyncMaster = "SYNC_MASTER",
        /// Follows a master.
        Slave = "SLAVE",
    }
}

option_enum! {
    /// When an acknowledged message is on disk.
    pub enum FlushDiskType {
        /// Before the acknowledgement.
        SyncFlush = "SYNC_FLUSH",
        /// Within `flushIntervalCommitLog`.
        AsyncFlush = "ASYNC_FLUSH",
    }
}

option_enum! {
    /// How the members of a group get messages.
    pub enum RequestMode {
        /// Each from its own queues.
        Pull = "PULL",
        /// From shared queues.
        Pop = "POP",
    }
}

/// `host:port` of each nameserver, separated by `;`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nameservers(pub Vec<String>);

impl OptionValue for Nameservers {
    fn kind() -> String {
        "host:port, several of them separated by ;".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        let addresses = text
            .split(';')
            .map(str::trim)
            .filter(|address| !address.is_empty());
        let checked = addresses.map(|address| {
            let (host, port) = address.rsplit_once(':')?;
            let known = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
            known.then(|| address.to_owned())
        });
        checked.collect::<Option<Vec<_>>>().map(Nameservers)
    }

    fn show(&self) -> String {
        self.0.join(";")
    }
}

/// An address of this machine to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(pub IpAddr);

impl OptionValue for Address {
    fn kind() -> String {
        "an IP address".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Address)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// Hours of the day, separated by `;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(pub Vec<u8>);

impl OptionValue for Hours {
    fn kind() -> String {
        "hours from 00 to 23, separated by ;".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        store::retention::hours(text).map(Hours)
    }

    fn show(&self) -> String {
        self.0
            .iter()
            .map(|hour| format!("{hour:02}"))
            .collect::<Vec<_>>()
            .join(";")
    }
}

/// Delays in ms, the first for level 1, as `1s 5s 10s 30s 1m 2h 1d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels(pub Vec<i64>);

/// Units of a delay, the longest first.
const DELAY_UNITS: [(char, i64); 4] = [
    ('d', 86_400_000),
    ('h', 3_600_000),
    ('m', 60_000),
    ('s', 1_000),
];

impl OptionValue for DelayLevels {
    fn kind() -> String {
        format!(
            "delays like 30s, 5m, 2h or 1d, separated by blanks, at most {} of them",
            limits::DELAY_LEVELS_MAX
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let delay = |text: &str| {
            let unit = text.chars().next_back()?;
            let number = text.strip_suffix(unit)?;
            let (_, unit_ms) = DELAY_UNITS.iter().find(|(known, _)| *known == unit)?;
            i64::from(number.parse::<u32>().ok()?).checked_mul(*unit_ms)
        };
        let levels: Vec<i64> = text.split_whitespace().map(delay).collect::<Option<_>>()?;
        let known = (1..=limits::DELAY_LEVELS_MAX).contains(&levels.len());
        known.then_some(DelayLevels(levels))
    }

    fn show(&self) -> String {
        let delay = |ms: &i64| {
            let fits = |(_, unit_ms): &&(char, i64)| *ms != 0 && ms % unit_ms == 0;
            let (unit, unit_ms) = DELAY_UNITS.iter().find(fits).unwrap_or(&('s', 1_000));
            format!("{}{unit}", ms / unit_ms)
        };
        self.0.iter().map(delay).collect::<Vec<_>>().join(" ")
    }
}

options! {
    /// The broker's part of a configuration file.
    pub struct Options {
        /// Cluster that the broker belongs to.
        cluster: String = "brokerClusterName" or "DefaultCluster".to_owned();
        /// Name that a master and its slaves share. The host's name if not given.
        broker_name: Option<String> = "brokerName" or None;
        /// 0 for a master, more for its slaves.
        broker_id: i64 = "brokerId" or 0;
        /// What the broker is to its replica group. A slave does not start yet: replication comes with a later release.
        broker_role: BrokerRole = "brokerRole" or BrokerRole::AsyncMaster;
        /// Replicas that must have a message before it is acknowledged, the master included. More than 1 does not start yet.
        in_sync_replicas: Positive = "inSyncReplicas" or Positive(1);
        /// Host that clients are told to connect to: an address or a name. This machine's first address that is not loopback if not
        /// given.
        advertised_host: Option<String> = "brokerIP1" or None;
        /// Host that slaves are told to connect to; `brokerIP1` if not given.
        ha_host: Option<String> = "brokerIP2" or None;
        /// Port that slaves are told to connect to; the one after `listenPort` if not given.
        ha_listen_port: Option<u16> = "haListenPort" or None;
        /// Address to listen on.
        bind_address: Address = "bindAddress" or Address(IpAddr::from([0, 0, 0, 0]));
        /// Port for clients. The one two below it is open too, for old clients' fast lane.
        listen_port: u16 = "listenPort" or 10911;
        /// Nameservers to register with, each of them. `$NAMESRV_ADDR` if not given.
        nameservers: Nameservers = "namesrvAddr" or Nameservers::default();
        /// Time between two registrations, kept within 10000 to 60000. Changed topics are told at once.
        register_period: u64 = "registerNameServerPeriod" or 30_000, unit "ms";
        /// How long a nameserver may take to answer.
        register_timeout: u64 = "registerBrokerTimeoutMills" or 24_000, unit "ms";
        /// What clients may do here: 6 read and write, 4 read, 2 write.
        broker_permission: i32 = "brokerPermission" or 6;
        /// Topics are made by sending to them.
        auto_create_topics: bool = "autoCreateTopicEnable" or true;
        /// Consumer groups are made by consuming.
        auto_create_groups: bool = "autoCreateSubscriptionGroup" or true;
        /// Queues of a topic made by sending to it, if the client does not want fewer.
        default_topic_queues: Positive = "defaultTopicQueueNums" or Positive(8);
        /// The broker has a topic for message traces.
        trace_topic_enabled: bool = "traceTopicEnable" or false;
        /// That topic's name.
        trace_topic: String = "msgTraceTopicName" or "RMQ_SYS_TRACE_TOPIC".to_owned();
        /// Region that messages are marked with.
        region: String = "regionId" or "DefaultRegion".to_owned();
        /// Clients that can trace their messages shall do so.
        trace_on: bool = "traceOn" or true;
        /// Largest body of a message or a batch.
        message_bytes_max: Positive = "maxMessageSize" or Positive(4 << 20), unit "bytes";
        /// Messages that a query by unique id returns at most.
        query_messages_max: Positive = "defaultQueryMaxNum" or Positive(32);
        /// Pulls wait for messages as long as clients ask for.
        long_polling_enabled: bool = "longPollingEnable" or true;
        /// How long they wait otherwise.
        short_polling_ms: u32 = "shortPollingTimeMills" or 1_000, unit "ms";
        /// Lite pull consumers may pull.
        lite_pull_enabled: bool = "litePullMessageEnable" or true;
        /// Where a group is set by an operator takes effect with its next pull; false: its members are told, and commit it.
        server_side_reset: bool = "useServerSideResetOffset" or true;
        /// Replies of request-reply are stored too, in the cluster's reply topic.
        store_replies: bool = "storeReplyMessageEnable" or true;
        /// Delays of the levels that a message may ask for, the first for level 1.
        delay_levels: DelayLevels = "messageDelayLevel" or DelayLevels(store::Config::new("").delay_levels_ms);
        /// Time between two writes of how far each delay level is delivered, at most 100: what was delivered since is delivered
        /// again after `kill -9`.
        delay_offsets_interval: Positive = "flushDelayOffsetInterval" or Positive(10_000), unit "ms";
        /// Consumers may filter by SQL92 expressions on properties; they are refused otherwise.
        property_filter_enabled: bool = "enablePropertyFilter" or false;
        /// Retried messages are filtered again, where a group subscribes to its retry topic with an expression.
        filter_retries: bool = "filterSupportRetry" or false;
        /// Without effect: Apache notes beside each message which groups may want it, to read fewer of them. Here each message that an
        /// expression is asked about is read.
        filter_bit_map: bool = "enableCalcFilterBitMap" or false;
        /// How long the expression of a group that is gone is kept.
        filter_dead_span: u64 = "filterDataCleanTimeSpan" or 86_400_000, unit "ms";
        /// Error rate of Apache's notes, kept within 1 to 99. Apache's broker only reads a `consumerFilter.json` written with the value
        /// that it has itself.
        filter_error_rate: i32 = "maxErrorRateOfBloomFilter" or 20, unit "percent";
        /// Groups with expressions that Apache's notes have room for; the same holds.
        filter_groups: Positive = "expectConsumerNumUseFilter" or Positive(32);
        /// Transactional messages are refused.
        reject_transactions: bool = "rejectTransactionMessage" or false;
        /// Time after which a producer is asked how a transaction ended, if the message does not set its own
        /// (`CHECK_IMMUNITY_TIME_IN_SECONDS`).
        transaction_timeout: u32 = "transactionTimeOut" or 6_000, unit "ms";
        /// Time from one such question to the next.
        transaction_check_interval: Positive = "transactionCheckInterval" or Positive(30_000), unit "ms";
        /// How often a producer is asked before the message is put aside (`TRANS_CHECK_MAX_TIME_TOPIC`).
        transaction_checks_max: u32 = "transactionCheckMax" or 15;
        /// Size from which on a message about ended transactions is full. They are written at once, whatever `transactionOpBatchInterval`.
        transaction_op_bytes_max: Positive = "transactionOpMsgMaxSize" or Positive(4_096), unit "bytes";
        /// Queues of the topic that remembers which popped messages are not acknowledged.
        revive_queues: Positive = "reviveQueueNum" or Positive(8);
        /// Pops that wait for messages of one topic and group at most.
        pop_waiting_per_queue_max: u32 = "popPollingSize" or 1_024;
        /// Pops that wait for messages at most.
        pop_waiting_max: u32 = "maxPopPollingSize" or 100_000;
        /// How many pops look for messages to be tried again first.
        pop_retry_first_percent: u32 = "popFromRetryProbability" or 20, unit "percent";
        /// Popped messages come back in topics named `%RETRY%group+topic` rather than `%RETRY%group_topic`.
        pop_retry_topic_v2: bool = "enableRetryTopicV2" or false;
        /// With those, messages in topics of the old name are popped too.
        pop_retry_topic_v1_too: bool = "retrieveMessageFromPopRetryTopicV1" or true;
        /// Messages that came back show the topic they came back in.
        pop_show_retry_topic: bool = "popResponseReturnActualRetryTopic" or false;
        /// Groups without an offset start at the first message of a queue that still has it in memory.
        pop_young_from_start: bool = "initPopOffsetByCheckMsgInMem" or true;
        /// The broker shares queues among the members of a group that let it.
        share_queues: bool = "serverLoadBalancerEnable" or true;
        /// How members of such groups get messages, where it was not set for the group and the topic.
        default_request_mode: RequestMode = "defaultMessageRequestMode" or RequestMode::Pull;
        /// How many other members' queues they take from, with POP; 0 or less for all.
        default_pop_share_queues: i32 = "defaultPopShareQueueNum" or -1;
        /// Messages may be sent for any time (`TIMER_DELAY_SEC`, `TIMER_DELAY_MS`, `TIMER_DELIVER_MS`).
        timer_enabled: bool = "timerWheelEnable" or true;
        /// A message may be for so much later.
        timer_delay_max: Positive = "timerMaxDelaySec" or Positive(259_200), unit "s";
        /// What the timer's slots are cut into: 100, 200, 500 or 1000. Other values are rounded down to one of these. Messages are
        /// delivered to the millisecond all the same; Apache's broker delivers at the end of a slot.
        timer_precision: Positive = "timerPrecisionMs" or Positive(1_000), unit "ms";
        /// Slots that the timer looks ahead; a message for later is stored anew on the way.
        timer_roll_window: i64 = "timerRollWindowSlot" or 172_800;
        /// Size of a file of the timer log.
        timer_log_file_bytes: Positive = "mappedFileSizeTimerLog" or Positive(100 << 20), unit "bytes";
        /// Messages for one slot from which on some are refused; from twice as many all are.
        timer_slot_max: Positive = "timerCongestNumEachSlot" or Positive(i32::MAX);
        /// Time between two flushes of the timer's files.
        timer_flush_interval: Positive = "timerFlushIntervalMs" or Positive(1_000), unit "ms";
        /// Timed messages stay in their queue.
        timer_stop_enqueue: bool = "timerStopEnqueue" or false;
        /// Timed messages are not delivered.
        timer_stop_dequeue: bool = "timerStopDequeue" or false;
        /// Producers may call timed messages off.
        recall_enabled: bool = "recallMessageEnable" or false;
        /// They may when the broker can't be written to by clients, too.
        recall_when_not_writeable: bool = "allowRecallWhenBrokerNotWriteable" or true;
        /// Consumers are told when one of their group comes or goes.
        notify_members: bool = "notifyConsumerIdsChangedEnable" or true;
        /// Bytes that one pull returns at most while what it reads is new.
        hot_bytes_max: Positive = "maxTransferBytesOnMessageInMemory" or Positive(256 << 10), unit "bytes";
        /// Messages that one pull returns at most while what it reads is new.
        hot_messages_max: Positive = "maxTransferCountOnMessageInMemory" or Positive(32);
        /// Bytes that one pull returns at most of what is old.
        cold_bytes_max: Positive = "maxTransferBytesOnMessageInDisk" or Positive(64 << 10), unit "bytes";
        /// Messages that one pull returns at most of what is old.
        cold_messages_max: Positive = "maxTransferCountOnMessageInDisk" or Positive(8);
        /// Bytes of a consume queue that one filtered pull looks at, at least.
        scan_bytes_max: Positive = "maxFilterMessageSize" or Positive(16_000), unit "bytes";
        /// When an acknowledged message is on disk.
        flush_disk_type: FlushDiskType = "flushDiskType" or FlushDiskType::AsyncFlush;
        /// Time between two flushes with ASYNC_FLUSH: what a power cut may cost.
        flush_interval: Positive = "flushIntervalCommitLog" or Positive(500), unit "ms";
        /// How long a producer waits for the flush with SYNC_FLUSH before it is told of the delay (code 10).
        sync_flush_timeout: Positive = "syncFlushTimeout" or Positive(5_000), unit "ms";
        /// Time between two writes of committed offsets.
        offsets_interval: Positive = "flushConsumerOffsetInterval" or Positive(5_000), unit "ms";
        /// Time between two looks for old files and at the space left.
        clean_interval: Positive = "cleanResourceInterval" or Positive(10_000), unit "ms";
        /// Directory of the store. `~/store` if not given.
        store_root: Option<String> = "storePathRootDir" or None;
        /// Directory of the commit log; `commitlog` in the store's if not given.
        commit_log_dir: Option<String> = "storePathCommitLog" or None;
        /// Directory of the consume queues; `consumequeue` in the store's if not given.
        queue_dir: Option<String> = "storePathConsumeQueue" or None;
        /// Directory of the index; `index` in the store's if not given.
        index_dir: Option<String> = "storePathIndex" or None;
        /// The checkpoint file; `checkpoint` in the store's if not given.
        checkpoint: Option<String> = "storeCheckpoint" or None;
        /// The file that is there while the broker runs; `abort` in the store's if not given.
        abort_file: Option<String> = "abortFile" or None;
        /// Size of a commit log file.
        log_file_bytes: Positive = "mappedFileSizeCommitLog" or Positive(1 << 30), unit "bytes", also "mapedFileSizeCommitLog";
        /// Size of a consume queue file, made a multiple of 20. In bytes, though many a handbook counts entries here.
        queue_file_bytes: Positive = "mappedFileSizeConsumeQueue" or Positive(6_000_000), unit "bytes",
            also "mapedFileSizeConsumeQueue";
        /// Messages can be found by key and unique id.
        index_enabled: bool = "messageIndexEnable" or true;
        /// Hash slots of an index file.
        index_slots: Positive = "maxHashSlotNum" or Positive(5_000_000);
        /// Entries of an index file at most.
        index_entries_max: Positive = "maxIndexNum" or Positive(20_000_000);
        /// How long messages are kept.
        file_reserved_hours: Positive = "fileReservedTime" or Positive(72), unit "hours";
        /// Hours of the day, local time, in which expired files are deleted.
        delete_when: Hours = "deleteWhen" or Hours(vec![4]);
        /// Part of the disk in use from which on expired files are deleted at any hour, kept within 10 to 95.
        disk_max_used_ratio: Positive = "diskMaxUsedSpaceRatio" or Positive(75), unit "percent";
        /// Part of the disk in use from which on the oldest files are deleted though they have not expired, kept within 30 to 85.
        disk_clean_forcibly_ratio: Positive = "diskSpaceCleanForciblyRatio" or Positive(85), unit "percent";
        /// Part of the disk in use from which on nothing more is stored, kept within 35 to 90.
        disk_warning_ratio: Positive = "diskSpaceWarningLevelRatio" or Positive(90), unit "percent";
        /// Files may be deleted before they expire.
        clean_file_forcibly: bool = "cleanFileForciblyEnable" or true;
        /// Files deleted in one go at most.
        delete_file_batch_max: Positive = "deleteFileBatchMax" or Positive(10);
        /// Which engine keeps consume queues. Only `default` is there yet.
        store_type: String = "storeType" or "default".to_owned();
        /// A replicated commit log. Not there yet.
        dleger_enabled: bool = "enableDLegerCommitLog" or false;
        /// Masters chosen by a controller. Not there yet.
        controller_mode: bool = "enableControllerMode" or false;
    }
}

/// Values that ask for what is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// A feature to come, without which the broker would not keep what the configuration promises.
    #[error("{key}={value}: {what} not there yet; leave the key out to start without")]
    NotYet {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is missing, with its verb.
        what: &'static str,
    },
}

impl Options {
    /// The configuration that these values make, with the store in `default_root` if they don't say where.
    pub fn config(&self, default_root: &Path) -> Result<Config, OptionsError> {
        self.check()?;
        let ms = |ms: Positive| Duration::from_millis(u64::from(ms.0.unsigned_abs()));
        let root = self
            .store_root
            .as_ref()
            .map_or_else(|| default_root.to_path_buf(), PathBuf::from);
        let mut config = Config::new(&root);
        config.cluster.clone_from(&self.cluster);
        if let Some(name) = &self.broker_name {
            config.broker_name.clone_from(name);
        }
        config.broker_id = self.broker_id;
        config.role = match self.broker_role {
            BrokerRole::AsyncMaster => Role::AsyncMaster,
            BrokerRole::SyncMaster => Role::SyncMaster,
            BrokerRole::Slave => Role::Slave,
        };
        config.in_sync_replicas = self.in_sync_replicas.0;
        config.advertised_host.clone_from(&self.advertised_host);
        config.ha_host.clone_from(&self.ha_host);
        config.ha_listen_port = self.ha_listen_port;
        config.bind_address = self.bind_address.0;
        config.listen_port = self.listen_port;
        config.nameservers.clone_from(&self.nameservers.0);
        config.register_period = Duration::from_millis(self.register_period.clamp(10_000, 60_000));
        config.register_timeout = Duration::from_millis(self.register_timeout);
        config.broker_permission = self.broker_permission;
        config.auto_create_topics = self.auto_create_topics;
        config.auto_create_groups = self.auto_create_groups;
        config.default_topic_queues = self.default_topic_queues.0;
        config.trace_topic = self.trace_topic_enabled.then(|| self.trace_topic.clone());
        config.region.clone_from(&self.region);
        config.trace_on = self.trace_on;
        config.message_bytes_max = size(self.message_bytes_max);
        config.query_messages_max = self.query_messages_max.0;
        config.long_polling_enabled = self.long_polling_enabled;
        config.short_polling_ms = i64::from(self.short_polling_ms);
        config.lite_pull_enabled = self.lite_pull_enabled;
        config.server_side_reset = self.server_side_reset;
        config.store_replies = self.store_replies;
        config
            .store
            .delay_levels_ms
            .clone_from(&self.delay_levels.0);
        config.delay_offsets_interval =
            ms(self.delay_offsets_interval).min(DELAY_OFFSETS_INTERVAL_MAX);
        config.property_filter_enabled = self.property_filter_enabled;
        config.filter_retries = self.filter_retries;
        config.filter_dead_ms_max = i64::try_from(self.filter_dead_span).unwrap_or(i64::MAX);
        config.filter_error_rate = self.filter_error_rate;
        config.filter_groups = self.filter_groups.0;
        config.reject_transactions = self.reject_transactions;
        config.transaction_timeout = Duration::from_millis(u64::from(self.transaction_timeout));
        config.transaction_check_interval = ms(self.transaction_check_interval);
        config.transaction_checks_max =
            i32::try_from(self.transaction_checks_max).unwrap_or(i32::MAX);
        config.transaction_op_bytes_max = size(self.transaction_op_bytes_max);
        config.pop = self.pop();
        config.notify_members = self.notify_members;
        config.timer = self.timer();
        config.flush_interval = ms(self.flush_interval);
        config.sync_flush_timeout = ms(self.sync_flush_timeout);
        config.offsets_interval = ms(self.offsets_interval);
        config.clean_interval = ms(self.clean_interval);
        self.read_limits(&mut config.read_limits);
        self.retention(&mut config.store.retention);
        self.store(&mut config.store);
        Ok(config)
    }

    fn check(&self) -> Result<(), OptionsError> {
        let not_yet = |key, value: &str, what| {
            Err(OptionsError::NotYet {
                key,
                value: value.to_owned(),
                what,
            })
        };
        if self.controller_mode {
            return not_yet("enableControllerMode", "true", "the controller is");
        }
        if self.dleger_enabled {
            return not_yet(
                "enableDLegerCommitLog",
                "true",
                "the replicated commit log is",
            );
        }
        if self.store_type != "default" {
            return not_yet(
                "storeType",
                &self.store_type,
                "other engines than the default one are",
            );
        }
        let paths = self.commit_log_dir.iter().find(|paths| paths.contains(','));
        if let Some(paths) = paths {
            return not_yet(
                "storePathCommitLog",
                paths,
                "a commit log in several directories is",
            );
        }
        Ok(())
    }

    fn pop(&self) -> PopConfig {
        PopConfig {
            revive_queues: self.revive_queues.0,
            waiting_per_queue_max: self.pop_waiting_per_queue_max as usize,
            waiting_max: self.pop_waiting_max as usize,
            retry_first_percent: self.pop_retry_first_percent,
            retry_topic_v2: self.pop_retry_topic_v2,
            retry_topic_v1_too: self.pop_retry_topic_v1_too,
            show_retry_topic: self.pop_show_retry_topic,
            young_from_start: self.pop_young_from_start,
            share_queues: self.share_queues,
            default_mode: match self.default_request_mode {
                RequestMode::Pull => MessageRequestMode::Pull,
                RequestMode::Pop => MessageRequestMode::Pop,
            },
            default_share_queues: self.default_pop_share_queues,
        }
    }

    fn timer(&self) -> TimerSettings {
        // As Apache rounds it.
        let precisions = [1_000, 500, 200];
        let precision = precisions.iter().find(|ms| self.timer_precision.0 >= **ms);
        let flush_interval_ms = self.timer_flush_interval.0.unsigned_abs();
        TimerSettings {
            enabled: self.timer_enabled,
            delay_ms_max: i64::from(self.timer_delay_max.0) * 1_000,
            precision_ms: i64::from(precision.copied().unwrap_or(100)),
            roll_window_slots: self.timer_roll_window,
            log_file_bytes: size(self.timer_log_file_bytes) as u64,
            slot_messages_max: self.timer_slot_max.0,
            flush_interval: Duration::from_millis(u64::from(flush_interval_ms)),
            stop_enqueue: self.timer_stop_enqueue,
            stop_dequeue: self.timer_stop_dequeue,
            recall_enabled: self.recall_enabled,
            recall_when_not_writeable: self.recall_when_not_writeable,
        }
    }

    fn read_limits(&self, limits: &mut store::ReadLimits) {
        limits.hot_bytes_max = size(self.hot_bytes_max);
        limits.hot_messages_max = size(self.hot_messages_max);
        limits.cold_bytes_max = size(self.cold_bytes_max);
        limits.cold_messages_max = size(self.cold_messages_max);
        limits.scan_bytes_max = size(self.scan_bytes_max);
    }

    fn retention(&self, limits: &mut store::retention::Limits) {
        limits.file_reserved_hours = self.file_reserved_hours.0.unsigned_abs();
        limits.delete_when.clone_from(&self.delete_when.0);
        limits.disk_max_used_ratio = self.disk_max_used_ratio.0.unsigned_abs();
        limits.disk_clean_forcibly_ratio = self.disk_clean_forcibly_ratio.0.unsigned_abs();
        limits.disk_warning_ratio = self.disk_warning_ratio.0.unsigned_abs();
        limits.clean_file_forcibly = self.clean_file_forcibly;
        limits.delete_file_batch_max = size(self.delete_file_batch_max);
    }

    fn store(&self, store: &mut store::Config) {
        for (path, given) in [
            (&mut store.commit_log_dir, &self.commit_log_dir),
            (&mut store.queue_dir, &self.queue_dir),
            (&mut store.index_dir, &self.index_dir),
            (&mut store.checkpoint_path, &self.checkpoint),
            (&mut store.abort_path, &self.abort_file),
        ] {
            if let Some(given) = given {
                *path = PathBuf::from(given);
            }
        }
        store.log_file_bytes = size(self.log_file_bytes) as u64;
        store.queue_file_bytes =
            size(self.queue_file_bytes).next_multiple_of(QUEUE_ENTRY_BYTES) as u64;
        store.index_enabled = self.index_enabled;
        store.index_slots = self.index_slots.0.unsigned_abs();
        store.index_entries_max = self.index_entries_max.0.unsigned_abs();
        store.sync_flush = self.flush_disk_type == FlushDiskType::SyncFlush;
    }
}

/// Apache's default of ten seconds would be so many seconds of messages delivered twice.
const DELAY_OFFSETS_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// A consume queue file holds whole entries.
const QUEUE_ENTRY_BYTES: usize = 20;

fn size(number: Positive) -> usize {
    number.0.unsigned_abs() as usize
}
