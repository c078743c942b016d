//! What a send is checked for and how its properties are rewritten, as pure functions.

use protocol::bodies::{TopicConfig, TopicFilterType};
use protocol::properties;
use protocol::record::{SIZE_MIN, sys_flag};
use protocol::tags::tags_code;

use crate::limits;
use crate::topics::{self, NameError, perm};

#[cfg(test)]
mod tests;

/// Why a message is not stored, before the store has seen it. The words are Apache's where it has any for the case,
/// and then what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unacceptable {
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("Sending message to topic[{0}] is forbidden.")]
    SystemTopic(String),
    #[error("the broker[{0}] sending message is forbidden")]
    BrokerForbidden(String),
    #[error("request queueId[{queue_id}] is illegal, {config} Producer: {producer}")]
    Queue {
        queue_id: i32,
        config: String,
        producer: String,
    },
    #[error(
        "the message is illegal, maybe msg body or properties length not matched. msg body length limit {body_max}B, \
         msg properties length limit 32KB. This one has a body of {body}B and properties of {properties}B."
    )]
    Length {
        body_max: usize,
        body: usize,
        properties: usize,
    },
    #[error(
        "the message is illegal: stored it would take {record}B, and a file of the log holds {record_max}B (mappedFileSizeCommitLog)"
    )]
    Record { record: usize, record_max: usize },
    #[error("message size exceeded: stored, the messages of the batch would take more than {0}B")]
    BatchRecords(usize),
    #[error("message body size exceeded: a batch of {body}B, limit {body_max}B")]
    BatchLength { body_max: usize, body: usize },
    #[error("batch request does not support retry group {0}")]
    BatchToRetry(String),
    #[error("{0}")]
    Batch(String),
    #[error("property DELAY: \"{0}\" is no delay level, expected an integer")]
    DelayLevel(String),
    #[error(
        "the message is illegal: a batch with a delay level (DELAY={0}); delays are for single messages"
    )]
    BatchDelayed(String),
    #[error(
        "the message is illegal: sysFlag says that it is part of a transaction ({0}), but it is no half message"
    )]
    Transaction(i32),
    #[error("the broker[{0}] sending transaction message is forbidden")]
    TransactionForbidden(String),
    #[error(
        "{what} ({property}={value}) are not supported by this build of Skylark yet; the message was not stored"
    )]
    Unsupported {
        what: &'static str,
        property: &'static str,
        value: String,
    },
}

/// Checks the name of a topic that is sent to.
pub(crate) fn topic(name: &str) -> Result<(), Unacceptable> {
    topics::check_name(name)?;
    if topics::send_forbidden(name) {
        return Err(Unacceptable::SystemTopic(name.to_owned()));
    }
    Ok(())
}

/// The queue to store in: the one asked for, or one chosen by `random` if that is negative.
/// A queue may be written that is only readable any more, so that a topic can be shrunk without losing messages under way.
pub(crate) fn queue(
    queue_id: i32,
    config: &TopicConfig,
    random: impl FnOnce() -> u32,
    producer: impl FnOnce() -> String,
) -> Result<i32, Unacceptable> {
    let illegal = || Unacceptable::Queue {
        queue_id,
        config: describe(config),
        producer: producer(),
    };
    if queue_id >= config.write_queue_nums.max(config.read_queue_nums) {
        return Err(illegal());
    }
    if queue_id >= 0 {
        return Ok(queue_id);
    }
    match u32::try_from(config.write_queue_nums) {
        Ok(queues @ 1..) => Ok((random() % queues) as i32),
        _ => Err(illegal()),
    }
}

/// Batches of some topics are kept as one record, which this build can't do.
pub(crate) fn queue_type(config: &TopicConfig) -> Result<(), Unacceptable> {
    const QUEUE_TYPE: &str = "queue.type";
    match config.attributes.get(QUEUE_TYPE) {
        Some(kind) if kind != "SimpleCQ" => Err(Unacceptable::Unsupported {
            what: "messages to topics of this kind",
            property: QUEUE_TYPE,
            value: kind.clone(),
        }),
        _ => Ok(()),
    }
}

/// A topic's configuration as Apache's remarks spell it.
fn describe(config: &TopicConfig) -> String {
    let attributes: Vec<String> = config
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "TopicConfig [topicName={}, readQueueNums={}, writeQueueNums={}, perm={}, topicFilterType={}, topicSysFlag={}, order={}, attributes={{{}}}]",
        config.topic_name,
        config.read_queue_nums,
        config.write_queue_nums,
        perm::text(config.perm),
        match config.topic_filter_type {
            TopicFilterType::SingleTag => "SINGLE_TAG",
            TopicFilterType::MultiTag => "MULTI_TAG",
        },
        config.topic_sys_flag,
        config.order,
        attributes.join(", "),
    )
}

/// Checks what a record is made of against what clients may send.
pub(crate) fn lengths(body: usize, properties: usize, body_max: usize) -> Result<(), Unacceptable> {
    if body == 0 || body > body_max || properties > limits::PROPERTIES_BYTES_MAX {
        return Err(Unacceptable::Length {
            body_max,
            body,
            properties,
        });
    }
    Ok(())
}

/// Checks that a record fits a file; returns what it takes at most.
pub(crate) fn record(
    topic: &str,
    body: usize,
    properties: usize,
    record_max: usize,
) -> Result<usize, Unacceptable> {
    /// Two IPv6 addresses instead of IPv4 ones.
    const HOSTS_EXTRA: usize = 24;
    let record = SIZE_MIN + HOSTS_EXTRA + topic.len() + body + properties;
    if record > record_max {
        return Err(Unacceptable::Record { record, record_max });
    }
    Ok(record)
}

/// Checks a batch as a whole; its messages are checked one by one.
pub(crate) fn batch(topic: &str, body: usize, body_max: usize) -> Result<(), Unacceptable> {
    if topic.starts_with(topics::RETRY_PREFIX) {
        return Err(Unacceptable::BatchToRetry(topic.to_owned()));
    }
    if body > body_max {
        return Err(Unacceptable::BatchLength { body_max, body });
    }
    if body == 0 {
        return Err(Unacceptable::Batch("a batch without messages".to_owned()));
    }
    Ok(())
}

/// Checks what applies to every message of a batch. Apache takes a delay of a single one of them, and does not delay it.
pub(crate) fn batch_properties(bytes: usize, seen: &Seen) -> Result<(), Unacceptable> {
    if let Some(level) = &seen.delay_level {
        return Err(Unacceptable::BatchDelayed(level.clone()));
    }
    if seen.timed {
        return Err(Unacceptable::Batch(
            "a batch can't be for a time of day".to_owned(),
        ));
    }
    if bytes > limits::PROPERTIES_BYTES_MAX {
        let bytes_max = limits::PROPERTIES_BYTES_MAX;
        let cause = "Properties size of messageExtBatch exceeded!";
        let cause = format!("{cause} The batch has {bytes}B of them, limit {bytes_max}B");
        return Err(Unacceptable::Batch(cause));
    }
    Ok(())
}

/// Checks one message of a batch; it may be empty.
pub(crate) fn batched(body: usize, properties: usize, body_max: usize) -> Result<(), Unacceptable> {
    lengths(body.max(1), properties, body_max)
}

/// A send whose sys flag says that its body is a batch to be kept as one record.
pub(crate) fn inner_batch(flag: i32) -> Result<(), Unacceptable> {
    match flag & sys_flag::INNER_BATCH {
        0 => Ok(()),
        bits => Err(Unacceptable::Unsupported {
            what: "batches kept as one record",
            property: "sysFlag",
            value: bits.to_string(),
        }),
    }
}

/// A sys flag that would hide from consumers a message that is no half message. Apache stores it, and nobody ever gets it.
pub(crate) fn visible(flag: i32) -> Result<(), Unacceptable> {
    match flag & sys_flag::TRANSACTION {
        bits @ (sys_flag::TRANSACTION_PREPARED | sys_flag::TRANSACTION_ROLLBACK) => {
            Err(Unacceptable::Transaction(bits))
        }
        _ => Ok(()),
    }
}

/// Batches are never part of a transaction, not even committed.
pub(crate) fn no_transaction(flag: i32) -> Result<(), Unacceptable> {
    match flag & sys_flag::TRANSACTION {
        0 => Ok(()),
        bits => Err(Unacceptable::Transaction(bits)),
    }
}

/// What the broker puts into every message.
pub(crate) struct Own<'a> {
    pub(crate) region: &'a str,
    pub(crate) trace_on: bool,
    pub(crate) cluster: &'a str,
}

/// What a message's properties say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) unique_key: Option<String>,
    pub(crate) tags_code: i64,
    /// It is for later.
    pub(crate) delay_level: Option<String>,
    /// It is for a time of day, unless it has a level.
    pub(crate) timed: bool,
    /// It may be a half message.
    pub(crate) half: bool,
}

/// Reads properties as a client sent them; refuses what must not be stored like an ordinary message.
pub(crate) fn inspect(incoming: &[u8]) -> Result<(Seen, bool), Unacceptable> {
    let mut seen = Seen {
        unique_key: None,
        tags_code: 0,
        delay_level: None,
        timed: false,
        half: false,
    };
    let mut overridden = false;
    for (name, value) in properties::iter(incoming) {
        let unsupported = |what, property| Unacceptable::Unsupported {
            what,
            property,
            value: value.to_owned(),
        };
        match name {
            properties::UNIQ_KEY => seen.unique_key = Some(value.to_owned()),
            properties::TAGS => seen.tags_code = tags_code(value),
            properties::MSG_REGION
            | properties::TRACE_ON
            | properties::CLUSTER
            | properties::POP_CK => overridden = true,
            properties::TRAN_MSG => seen.half = value.eq_ignore_ascii_case("true"),
            properties::DELAY => {
                let level = value.parse::<i32>();
                let level = level.map_err(|_| Unacceptable::DelayLevel(value.to_owned()))?;
                seen.delay_level = (level > 0).then(|| value.to_owned());
            }
            properties::INNER_NUM => {
                return Err(unsupported(
                    "batches kept as one record",
                    properties::INNER_NUM,
                ));
            }
            properties::TIMER_DELAY_SEC
            | properties::TIMER_DELAY_MS
            | properties::TIMER_DELIVER_MS => seen.timed = true,
            _ => {}
        }
    }
    Ok((seen, overridden))
}

/// Rewrites `text`, the properties as a client sent them, to what is stored: without what only the broker may say, with
/// what it says about every message, and with a unique key. `fresh_key` makes one where there has to be one.
pub(crate) fn rewrite(
    text: &mut Vec<u8>,
    own: &Own<'_>,
    fresh_key: Option<impl FnOnce() -> String>,
) -> Result<Seen, Unacceptable> {
    let (mut seen, overridden) = inspect(text)?;
    if overridden {
        *text = without_own(text);
    }
    properties::append(text, properties::MSG_REGION, own.region);
    properties::append(
        text,
        properties::TRACE_ON,
        if own.trace_on { "true" } else { "false" },
    );
    if let (None, Some(fresh_key)) = (&seen.unique_key, fresh_key) {
        let key = fresh_key();
        properties::append(text, properties::UNIQ_KEY, &key);
        seen.unique_key = Some(key);
    }
    properties::append(text, properties::CLUSTER, own.cluster);
    Ok(seen)
}

/// Puts the properties of a batch behind those of one of its messages.
pub(crate) fn join(properties: &mut Vec<u8>, more: &[u8]) {
    if lacks_end(properties) {
        properties.push(properties::VALUE_END);
    }
    properties.extend_from_slice(more);
}

/// The length of what [`join`] makes.
pub(crate) fn joined_len(properties: &[u8], more: &[u8]) -> usize {
    properties.len() + usize::from(lacks_end(properties)) + more.len()
}

fn lacks_end(properties: &[u8]) -> bool {
    (properties.last()).is_some_and(|last| *last != properties::VALUE_END)
}

fn without_own(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    for (name, value) in properties::iter(text) {
        if !matches!(
            name,
            properties::MSG_REGION
                | properties::TRACE_ON
                | properties::CLUSTER
                | properties::POP_CK
        ) {
            properties::append(&mut kept, name, value);
        }
    }
    kept
}

/// Replaces the delay level, as Apache does when it turns a retry into a dead letter.
pub(crate) fn as_dead_letter(text: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    for (name, value) in properties::iter(text).filter(|(name, _)| *name != properties::DELAY) {
        properties::append(&mut kept, name, value);
    }
    properties::append(&mut kept, properties::DELAY, "-1");
    kept
}
