//! The nameserver's configuration: Apache's keys for `mqnamesrv -c`.

use std::time::Duration;

use protocol::options::Positive;
use remoting::Limits;

protocol::options! {
    /// Configuration of a nameserver.
    pub struct Config {
        /// Port to listen on; 0: any free one.
        listen_port: u16 = "listenPort" or 9876;
        /// Address to listen on.
        bind_address: String = "bindAddress" or "0.0.0.0".to_owned();
        /// File that keeps the key-value configuration; by default `namesrv/kvConfig.json` in the home directory.
        kv_config_path: Option<String> = "kvConfigPath" or None;
        /// Routes of ordered topics name their queues, as configured under `ORDER_TOPIC_CONFIG`.
        order_message_enable: bool = "orderMessageEnable" or false;
        /// Brokers get the configuration of ordered topics when they register.
        return_order_topic_config_to_broker: bool = "returnOrderTopicConfigToBroker" or true;
        /// How often brokers that went silent are looked for.
        scan_not_active_broker_interval: Positive = "scanNotActiveBrokerInterval" or Positive(5000), unit "ms";
        /// A slave is given out as master, for reading, while its master is away and it says it may.
        support_acting_master: bool = "supportActingMaster" or false;
        /// Answer requests for the list of all topics.
        enable_all_topic_list: bool = "enableAllTopicList" or true;
        /// Answer requests for the topics of a cluster or unit.
        enable_topic_list: bool = "enableTopicList" or true;
        /// After a start, give out no routes until brokers have had time to register.
        need_wait_for_service: bool = "needWaitForService" or false;
        /// That time.
        wait_seconds_for_service: i32 = "waitSecondsForService" or 45, unit "s";
        /// A topic that is missing from a broker's registration is gone from that broker.
        delete_topic_with_broker_registration: bool = "deleteTopicWithBrokerRegistration" or false;
        /// A connection on which nothing moves for so long is closed; 0: never.
        server_channel_max_idle_time_seconds: i32 = "serverChannelMaxIdleTimeSeconds" or 120, unit "s";
        /// Connections that may wait to be accepted.
        server_socket_backlog: u32 = "serverSocketBacklog" or 1024;
    }
}

impl Config {
    pub(crate) fn scan_every(&self) -> Duration {
        let ms = self.scan_not_active_broker_interval.0.unsigned_abs();
        Duration::from_millis(ms.into())
    }

    pub(crate) fn limits(&self) -> Limits {
        // Netty takes 0, and less, for never.
        let idle = match u64::try_from(self.server_channel_max_idle_time_seconds) {
            Ok(0) | Err(_) => i32::MAX.unsigned_abs().into(),
            Ok(seconds) => seconds,
        };
        Limits {
            idle: Duration::from_secs(idle),
            backlog: self.server_socket_backlog,
            ..Limits::default()
        }
    }
}
