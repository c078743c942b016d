//! The topics of this broker: those it is born with, those that sending or consuming creates, and topics.json.

use std::borrow::Borrow;
use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use protocol::bodies::{DataVersion, TopicConfig, TopicConfigTable};

use self::snapshot::Snapshot;

use crate::limits;

pub(crate) mod snapshot;
#[cfg(test)]
mod tests;

/// Permission bits of a topic or a broker.
pub(crate) mod perm {
    /// May be pulled from.
    pub(crate) const READ: i32 = 4;
    /// May be sent to.
    pub(crate) const WRITE: i32 = 2;
    /// New topics may be made in its image.
    pub(crate) const INHERIT: i32 = 1;

    /// `RWX`, with `-` for what is not allowed, as remarks spell it.
    pub(crate) fn text(perm: i32) -> String {
        let bit = |mask, letter| if perm & mask != 0 { letter } else { '-' };
        [bit(READ, 'R'), bit(WRITE, 'W'), bit(INHERIT, 'X')]
            .iter()
            .collect()
    }
}

/// Bits of a topic's sys flag for deployments in units: sent to, and consumed, across units.
pub(crate) const UNIT: i32 = 1;
pub(crate) const UNIT_SUBSCRIBED: i32 = 2;

/// The topic whose queues and permissions new topics inherit.
pub(crate) const AUTO_CREATE: &str = "TBW102";
/// Prefix of the topic that holds a group's failed messages until they are tried again.
pub(crate) const RETRY_PREFIX: &str = "%RETRY%";
/// Prefix of the topic that holds a group's messages that failed too often.
pub(crate) const DEAD_LETTER_PREFIX: &str = "%DLQ%";

const SELF_TEST: &str = "SELF_TEST_TOPIC";
const BENCHMARK: &str = "BenchmarkTest";
const OFFSET_MOVED: &str = "OFFSET_MOVED_EVENT";
/// Where delayed messages wait, a queue for each level.
pub(crate) const SCHEDULE: &str = "SCHEDULE_TOPIC_XXXX";
/// Half messages, before their transaction ends.
pub(crate) const HALF: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// What says that half messages have ended.
pub(crate) const HALF_DONE: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Half messages that nobody ended however often asked.
pub(crate) const CHECKED_TOO_OFTEN: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Messages that wait for a time of day.
pub(crate) const TIMER: &str = "rmq_sys_wheel_timer";

/// Begins the name of the topic that remembers which popped messages are not acknowledged.
const REVIVE_PREFIX: &str = "rmq_sys_REVIVE_LOG_";

/// Topics that clients may not send to. Apache lets them send to the timer's: a forged record there could become anything.
const SEND_FORBIDDEN: [&str; 7] = [
    TIMER,
    SCHEDULE,
    HALF,
    HALF_DONE,
    CHECKED_TOO_OFTEN,
    SELF_TEST,
    OFFSET_MOVED,
];

/// Why a topic name is refused; Apache's remarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    #[error("The specified topic is blank.")]
    Blank,
    #[error("The specified topic contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$")]
    Characters,
    #[error("The specified topic is longer than topic max length.")]
    Length,
}

/// Whether topic and group names may contain it; nothing else ever reaches a path.
pub(crate) fn allowed_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'-' | b'_')
}

/// Accepts `^[%|a-zA-Z0-9_-]+$` of at most 127 characters.
pub(crate) fn check_name(topic: &str) -> Result<(), NameError> {
    if topic.trim().is_empty() {
        return Err(NameError::Blank);
    }
    if !topic.bytes().all(allowed_in_name) {
        return Err(NameError::Characters);
    }
    if topic.len() > limits::TOPIC_NAME_MAX {
        return Err(NameError::Length);
    }
    Ok(())
}

/// The topic that remembers which popped messages are not acknowledged.
pub(crate) fn revive_topic(cluster: &str) -> String {
    format!("{REVIVE_PREFIX}{cluster}")
}

pub(crate) fn send_forbidden(topic: &str) -> bool {
    SEND_FORBIDDEN.contains(&topic) || topic.starts_with(REVIVE_PREFIX)
}

/// Whether messages are kept there that nobody may consume yet, or ever: nothing is delivered to such a topic.
pub(crate) fn is_hidden(topic: &str) -> bool {
    matches!(topic, SCHEDULE | TIMER | HALF | HALF_DONE) || topic.starts_with(REVIVE_PREFIX)
}

/// What the boot topics depend on.
pub(crate) struct Boot<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) broker: &'a str,
    pub(crate) default_queues: i32,
    pub(crate) revive_queues: i32,
    pub(crate) auto_create: bool,
    pub(crate) trace_topic: Option<&'a str>,
}

/// Why no topic was made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotCreated {
    /// The topic to inherit from is missing or does not pass its settings on.
    NoTemplate,
    /// The table is full.
    TooMany,
}

/// Topic configurations by name. Reading takes an [`Arc`]; a change puts a new one in its place.
pub(crate) struct Topics {
    table: HashSet<Topic>,
    version: DataVersion,
    /// Changes since the start.
    changes: u64,
    /// The newest changes, each the one after the one before, up to `changes`: whoever knows the topics as they were
    /// before these need not be told of all again.
    recent: VecDeque<Arc<TopicConfig>>,
    auto_create: bool,
}

/// A topic as it is since that many changes: saved when they are. One is found by its name, which is kept once.
struct Topic {
    config: Arc<TopicConfig>,
    since: u64,
}

impl Topic {
    /// One that topics.json need not hold, or held when it was read.
    fn old(config: TopicConfig) -> Topic {
        Topic {
            config: Arc::new(config),
            since: 0,
        }
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.config.topic_name
    }
}

impl Hash for Topic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.config.topic_name.as_str().hash(state);
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Topic) -> bool {
        self.config.topic_name == other.config.topic_name
    }
}

impl Eq for Topic {}

fn config(name: &str, queues: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm,
        ..TopicConfig::default()
    }
}

impl Topics {
    /// The topics every broker has, before topics.json is read.
    pub(crate) fn boot(boot: &Boot<'_>) -> Topics {
        const READ_WRITE: i32 = perm::READ | perm::WRITE;
        const ALL: i32 = perm::READ | perm::WRITE | perm::INHERIT;
        let mut configs = vec![
            config(SELF_TEST, 1, READ_WRITE),
            config(BENCHMARK, 1024, READ_WRITE),
            config(boot.cluster, 16, ALL),
            config(boot.broker, 1, ALL),
            config(OFFSET_MOVED, 1, READ_WRITE),
            config(SCHEDULE, 18, READ_WRITE),
            config(&format!("{}_REPLY_TOPIC", boot.cluster), 1, READ_WRITE),
            config(&revive_topic(boot.cluster), boot.revive_queues, READ_WRITE),
            config(
                &format!("rmq_sys_SYNC_BROKER_MEMBER_{}", boot.broker),
                1,
                perm::INHERIT,
            ),
            config(HALF, 1, READ_WRITE),
            config(HALF_DONE, 1, READ_WRITE),
            config(TIMER, 1, READ_WRITE),
        ];
        if boot.auto_create {
            configs.push(config(AUTO_CREATE, boot.default_queues, ALL));
        }
        if let Some(topic) = boot.trace_topic {
            configs.push(config(topic, 1, READ_WRITE));
        }
        Topics {
            table: configs.into_iter().map(Topic::old).collect(),
            version: DataVersion::default(),
            changes: 0,
            recent: VecDeque::new(),
            auto_create: boot.auto_create,
        }
    }

    /// Lays topics.json over the boot topics: what was changed by hand survives a restart.
    pub(crate) fn load(&mut self, file: TopicConfigTable) {
        self.table.reserve(file.topic_config_table.len());
        for (name, config) in file.topic_config_table {
            // As everywhere the key counts.
            let config = TopicConfig {
                topic_name: name,
                ..config
            };
            self.table.replace(Topic::old(config));
        }
        self.version = file.data_version;
    }

    pub(crate) fn find(&self, topic: &str) -> Option<&Arc<TopicConfig>> {
        self.table.get(topic).map(|topic| &topic.config)
    }

    /// A topic, and the number of changes that must be saved for it to be so after a restart.
    pub(crate) fn find_since(&self, topic: &str) -> Option<(&Arc<TopicConfig>, u64)> {
        let topic = self.table.get(topic)?;
        Some((&topic.config, topic.since))
    }

    /// Changes since the start.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// All topics and their version, to be written or told without the lock that guards this.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let configs = self.table.iter().map(|topic| topic.config.clone());
        Snapshot::new(self.version, configs.collect())
    }

    /// What has changed since there were so many changes; `None` if that is too long ago.
    pub(crate) fn changed_since(&self, changes: u64) -> Option<Vec<Arc<TopicConfig>>> {
        let count = usize::try_from(self.changes.checked_sub(changes)?).ok()?;
        let before = self.recent.len().checked_sub(count)?;
        Some(self.recent.range(before..).cloned().collect())
    }

    pub(crate) fn version(&self) -> DataVersion {
        self.version
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// A topic made by sending to it, in the image of `template` (normally [`AUTO_CREATE`]).
    pub(crate) fn create_like(
        &mut self,
        topic: &str,
        template: &str,
        queues: i32,
        sys_flag: i32,
        now_ms: i64,
    ) -> Result<Arc<TopicConfig>, NotCreated> {
        if let Some(existing) = self.find(topic) {
            return Ok(existing.clone());
        }
        let model = self.find(template).ok_or(NotCreated::NoTemplate)?.clone();
        let disabled = template == AUTO_CREATE && !self.auto_create;
        if disabled || model.perm & perm::INHERIT == 0 {
            return Err(NotCreated::NoTemplate);
        }
        let queues = queues.min(model.write_queue_nums).max(0);
        self.insert(
            TopicConfig {
                topic_filter_type: model.topic_filter_type,
                topic_sys_flag: sys_flag,
                ..config(topic, queues, model.perm & !perm::INHERIT)
            },
            now_ms,
        )
    }

    /// A topic the broker needs itself: a group's retry or dead letter topic.
    pub(crate) fn create(
        &mut self,
        topic: &str,
        queues: i32,
        order: bool,
        sys_flag: i32,
        now_ms: i64,
    ) -> Result<Arc<TopicConfig>, NotCreated> {
        match self.find(topic) {
            Some(existing) if existing.order == order => Ok(existing.clone()),
            Some(existing) => {
                let changed = TopicConfig {
                    order,
                    ..(**existing).clone()
                };
                self.insert(changed, now_ms)
            }
            None => {
                let config = config(topic, queues, perm::READ | perm::WRITE);
                self.insert(
                    TopicConfig {
                        order,
                        topic_sys_flag: sys_flag,
                        ..config
                    },
                    now_ms,
                )
            }
        }
    }

    /// Marks the topics that a nameserver calls ordered; returns whether any was not.
    pub(crate) fn mark_ordered<'a>(
        &mut self,
        topics: impl Iterator<Item = &'a str>,
        now_ms: i64,
    ) -> bool {
        let mut changed = false;
        for topic in topics {
            let known = self.find(topic).filter(|config| !config.order);
            if let Some(config) = known.cloned() {
                let config = TopicConfig {
                    order: true,
                    ..(*config).clone()
                };
                self.put(Arc::new(config), now_ms);
                changed = true;
            }
        }
        changed
    }

    fn insert(&mut self, config: TopicConfig, now_ms: i64) -> Result<Arc<TopicConfig>, NotCreated> {
        if self.table.len() >= limits::TOPICS_MAX && self.find(&config.topic_name).is_none() {
            return Err(NotCreated::TooMany);
        }
        let config = Arc::new(config);
        self.put(config.clone(), now_ms);
        Ok(config)
    }

    fn put(&mut self, config: Arc<TopicConfig>, now_ms: i64) {
        self.version = self.version.next(now_ms);
        self.changes += 1;
        self.recent.push_back(config.clone());
        if self.recent.len() > limits::TOPIC_CHANGES_KEPT {
            self.recent.pop_front();
        }
        let since = self.changes;
        self.table.replace(Topic { config, since });
    }
}
