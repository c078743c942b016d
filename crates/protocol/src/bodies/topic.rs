//! Topics: a topic's configuration, `topics.json`, and the version that configuration tables carry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fastjson;

/// Version of a configuration table (`DataVersion`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Changes so far.
    pub counter: i64,
    /// Term of the broker's role; 0 without a controller.
    pub state_version: i64,
    /// Time of the last change, ms since the epoch.
    pub timestamp: i64,
}

impl DataVersion {
    /// The version after a change at `now_ms`.
    pub fn next(self, now_ms: i64) -> DataVersion {
        DataVersion {
            counter: self.counter + 1,
            timestamp: now_ms,
            ..self
        }
    }
}

/// Whether a topic's messages have one tag or several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TopicFilterType {
    /// One tag.
    #[default]
    SingleTag,
    /// Several.
    MultiTag,
}

/// What a broker knows of a topic (`TopicConfig`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfig {
    /// Further settings, such as `message.type`.
    pub attributes: BTreeMap<String, String>,
    /// Messages keep their order when brokers come and go.
    pub order: bool,
    /// 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Queues that consumers see.
    pub read_queue_nums: i32,
    /// One tag or several.
    pub topic_filter_type: TopicFilterType,
    /// Its name.
    pub topic_name: String,
    /// Flags.
    pub topic_sys_flag: i32,
    /// Queues that producers see.
    pub write_queue_nums: i32,
}

impl Default for TopicConfig {
    fn default() -> Self {
        TopicConfig {
            attributes: BTreeMap::new(),
            order: false,
            perm: 6,
            read_queue_nums: 16,
            topic_filter_type: TopicFilterType::SingleTag,
            topic_name: String::new(),
            topic_sys_flag: 0,
            write_queue_nums: 16,
        }
    }
}

impl TopicConfig {
    /// The one-line form of compressed registrations: `name read write perm filterType attributes`. It has no
    /// place for `order` and `topic_sys_flag`.
    pub fn to_line(&self) -> String {
        let filter = match self.topic_filter_type {
            TopicFilterType::SingleTag => "SINGLE_TAG",
            TopicFilterType::MultiTag => "MULTI_TAG",
        };
        let attributes = fastjson::to_vec(&self.attributes);
        format!(
            "{} {} {} {} {filter} {}",
            self.topic_name,
            self.read_queue_nums,
            self.write_queue_nums,
            self.perm,
            String::from_utf8_lossy(&attributes),
        )
    }

    /// Reads [`TopicConfig::to_line`]; `None` if a part is missing or no number. Attributes that can't be read
    /// (a blank in them cuts them off) are dropped, as Apache does.
    pub fn from_line(line: &str) -> Option<TopicConfig> {
        let mut parts = line.split(' ');
        let mut config = TopicConfig {
            topic_name: parts.next()?.to_owned(),
            read_queue_nums: parts.next()?.parse().ok()?,
            write_queue_nums: parts.next()?.parse().ok()?,
            perm: parts.next()?.parse().ok()?,
            topic_filter_type: match parts.next()? {
                "SINGLE_TAG" => TopicFilterType::SingleTag,
                "MULTI_TAG" => TopicFilterType::MultiTag,
                _ => return None,
            },
            ..TopicConfig::default()
        };
        if let Some(attributes) = parts.next() {
            config.attributes = fastjson::from_slice(attributes.as_bytes()).unwrap_or_default();
        }
        Some(config)
    }
}

/// `topics.json`, and the body of GET_ALL_TOPIC_CONFIG (`TopicConfigSerializeWrapper`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicConfigTable {
    /// Version of the table.
    pub data_version: DataVersion,
    /// The topics by name.
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}
