//! What a broker is started with: plain values, and the keys of its properties file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use protocol::bodies::MessageRequestMode;
use store::ReadLimits;

use crate::timer::TimerSettings;
use crate::transactions::half::Rules;

pub mod options;

/// What the broker is to its replica group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Acknowledges without waiting for slaves.
    #[default]
    AsyncMaster,
    /// Would wait for slaves; there are none yet, so it acknowledges as inSyncReplicas=1 allows.
    SyncMaster,
    /// Replicates a master: not in this build.
    Slave,
}

/// Everything a broker is started with. Names of keys are Apache's; see [`options`].
#[derive(Clone, Debug)]
pub struct Config {
    /// brokerClusterName.
    pub cluster: String,
    /// brokerName.
    pub broker_name: String,
    /// brokerId.
    pub broker_id: i64,
    /// brokerRole.
    pub role: Role,
    /// inSyncReplicas.
    pub in_sync_replicas: i32,
    /// brokerIP1: the host clients are told to connect to; `None` chooses one.
    pub advertised_host: Option<String>,
    /// brokerIP2: the host slaves would connect to.
    pub ha_host: Option<String>,
    /// haListenPort; `None` is the port after `listen_port`.
    pub ha_listen_port: Option<u16>,
    /// bindAddress.
    pub bind_address: IpAddr,
    /// listenPort; 0 takes a free one.
    pub listen_port: u16,
    /// namesrvAddr, split.
    pub nameservers: Vec<String>,
    /// registerNameServerPeriod, kept within 10 to 60 s.
    pub register_period: Duration,
    /// registerBrokerTimeoutMills.
    pub register_timeout: Duration,
    /// brokerPermission: 4 read, 2 write.
    pub broker_permission: i32,
    /// autoCreateTopicEnable.
    pub auto_create_topics: bool,
    /// autoCreateSubscriptionGroup.
    pub auto_create_groups: bool,
    /// defaultTopicQueueNums.
    pub default_topic_queues: i32,
    /// msgTraceTopicName if traceTopicEnable.
    pub trace_topic: Option<String>,
    /// regionId.
    pub region: String,
    /// traceOn.
    pub trace_on: bool,
    /// maxMessageSize: bytes of a body, or of a batch.
    pub message_bytes_max: usize,
    /// defaultQueryMaxNum.
    pub query_messages_max: i32,
    /// longPollingEnable.
    pub long_polling_enabled: bool,
    /// shortPollingTimeMills, where long polling is off.
    pub short_polling_ms: i64,
    /// litePullMessageEnable.
    pub lite_pull_enabled: bool,
    /// useServerSideResetOffset.
    pub server_side_reset: bool,
    /// storeReplyMessageEnable.
    pub store_replies: bool,
    /// How long a client may take to answer what it is asked or told. Fixed in Apache.
    pub client_call_timeout: Duration,
    /// flushDelayOffsetInterval.
    pub delay_offsets_interval: Duration,
    /// enablePropertyFilter.
    pub property_filter_enabled: bool,
    /// filterSupportRetry.
    pub filter_retries: bool,
    /// filterDataCleanTimeSpan.
    pub filter_dead_ms_max: i64,
    /// maxErrorRateOfBloomFilter.
    pub filter_error_rate: i32,
    /// expectConsumerNumUseFilter.
    pub filter_groups: i32,
    /// rejectTransactionMessage.
    pub reject_transactions: bool,
    /// transactionTimeOut.
    pub transaction_timeout: Duration,
    /// transactionCheckInterval.
    pub transaction_check_interval: Duration,
    /// transactionCheckMax.
    pub transaction_checks_max: i32,
    /// transactionOpMsgMaxSize.
    pub transaction_op_bytes_max: usize,
    /// The keys of consumption by pop.
    pub pop: PopConfig,
    /// Messages for any time.
    pub timer: TimerSettings,
    /// notifyConsumerIdsChangedEnable.
    pub notify_members: bool,
    /// The maxTransfer… keys.
    pub read_limits: ReadLimits,
    /// flushIntervalCommitLog, with async flush.
    pub flush_interval: Duration,
    /// syncFlushTimeout.
    pub sync_flush_timeout: Duration,
    /// flushConsumerOffsetInterval.
    pub offsets_interval: Duration,
    /// cleanResourceInterval.
    pub clean_interval: Duration,
    /// Paths, sizes, flush mode and retention.
    pub store: store::Config,
}

/// Consumption by pop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopConfig {
    /// reviveQueueNum.
    pub revive_queues: i32,
    /// popPollingSize: pops that wait for one queue, or all queues, of a group's topic.
    pub waiting_per_queue_max: usize,
    /// maxPopPollingSize: pops that wait.
    pub waiting_max: usize,
    /// popFromRetryProbability, percent.
    pub retry_first_percent: u32,
    /// enableRetryTopicV2.
    pub retry_topic_v2: bool,
    /// retrieveMessageFromPopRetryTopicV1: with `retry_topic_v2`, messages that still are in the old retry topic too.
    pub retry_topic_v1_too: bool,
    /// popResponseReturnActualRetryTopic.
    pub show_retry_topic: bool,
    /// initPopOffsetByCheckMsgInMem.
    pub young_from_start: bool,
    /// serverLoadBalancerEnable.
    pub share_queues: bool,
    /// defaultMessageRequestMode.
    pub default_mode: MessageRequestMode,
    /// defaultPopShareQueueNum.
    pub default_share_queues: i32,
}

impl Default for PopConfig {
    fn default() -> PopConfig {
        PopConfig {
            revive_queues: 8,
            waiting_per_queue_max: 1_024,
            waiting_max: 100_000,
            retry_first_percent: 20,
            retry_topic_v2: false,
            retry_topic_v1_too: true,
            show_retry_topic: false,
            young_from_start: true,
            share_queues: true,
            default_mode: MessageRequestMode::Pull,
            default_share_queues: -1,
        }
    }
}

impl Config {
    /// Apache's defaults, with the store in `root`. The listening port is Apache's `mqbroker`'s.
    pub fn new(root: impl AsRef<std::path::Path>) -> Config {
        Config {
            cluster: "DefaultCluster".to_owned(),
            broker_name: host_name(),
            broker_id: 0,
            role: Role::AsyncMaster,
            in_sync_replicas: 1,
            advertised_host: None,
            ha_host: None,
            ha_listen_port: None,
            bind_address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            listen_port: 10911,
            nameservers: Vec::new(),
            register_period: Duration::from_secs(30),
            register_timeout: Duration::from_secs(24),
            broker_permission: 6,
            auto_create_topics: true,
            auto_create_groups: true,
            default_topic_queues: 8,
            trace_topic: None,
            region: "DefaultRegion".to_owned(),
            trace_on: true,
            message_bytes_max: 4 << 20,
            query_messages_max: 32,
            long_polling_enabled: true,
            short_polling_ms: 1_000,
            lite_pull_enabled: true,
            server_side_reset: true,
            store_replies: true,
            client_call_timeout: Duration::from_secs(10),
            delay_offsets_interval: Duration::from_millis(100),
            property_filter_enabled: false,
            filter_retries: false,
            filter_dead_ms_max: 24 * 3_600_000,
            filter_error_rate: 20,
            filter_groups: 32,
            reject_transactions: false,
            transaction_timeout: Duration::from_secs(6),
            transaction_check_interval: Duration::from_secs(30),
            transaction_checks_max: 15,
            transaction_op_bytes_max: 4_096,
            pop: PopConfig::default(),
            timer: TimerSettings::default(),
            notify_members: true,
            read_limits: ReadLimits::default(),
            flush_interval: Duration::from_millis(500),
            sync_flush_timeout: Duration::from_secs(5),
            offsets_interval: Duration::from_secs(5),
            clean_interval: Duration::from_secs(10),
            store: store::Config::new(root),
        }
    }

    /// When producers are asked how a transaction ended.
    pub(crate) fn transaction_rules(&self) -> Rules {
        Rules::new(
            self.transaction_timeout,
            self.transaction_check_interval,
            self.transaction_checks_max,
            self.store.retention.file_reserved_hours,
        )
    }

    /// What a message's record may be at most: the log's files end with a filler of 8 bytes.
    pub(crate) fn record_bytes_max(&self) -> usize {
        usize::try_from(self.store.log_file_bytes.saturating_sub(8)).unwrap_or(usize::MAX)
    }

    /// Whether messages that maxMessageSize allows will be refused, in the words of a log line. Apache starts with such values too.
    pub(crate) fn doubt(&self) -> Option<String> {
        (self.message_bytes_max > self.record_bytes_max()).then(|| {
            format!(
                "maxMessageSize={} is more than a file of the log holds (mappedFileSizeCommitLog={}): a message whose body, \
                 properties and some 100 bytes more do not fit one is refused with code 13",
                self.message_bytes_max, self.store.log_file_bytes
            )
        })
    }

    /// The port, and the one two below it that old clients use as their fast lane.
    pub(crate) fn listen_addrs(&self) -> Vec<SocketAddr> {
        let mut addrs = vec![SocketAddr::new(self.bind_address, self.listen_port)];
        if let Some(fast @ 1..) = self.listen_port.checked_sub(2) {
            addrs.push(SocketAddr::new(self.bind_address, fast));
        }
        addrs
    }
}

/// What this machine is called; Apache's name for a broker whose host has none.
fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    if name.is_empty() {
        "DEFAULT_BROKER".to_owned()
    } else {
        name
    }
}
