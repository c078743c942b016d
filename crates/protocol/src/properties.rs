//! A message's properties: `name 0x01 value 0x02` one after the other.

use std::ops::Range;

/// Ends a name.
pub const NAME_END: u8 = 1;
/// Ends a value.
pub const VALUE_END: u8 = 2;

/// Separates the keys within [`KEYS`].
pub const KEY_SEPARATOR: char = ' ';

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $(
            $(#[$doc])*
            #[doc = concat!(" `", $text, "`.")]
            pub const $name: &str = $text;
        )*
    };
}

names! {
    /// Keys to find the message by, separated by blanks.
    KEYS = "KEYS";
    /// Tags to subscribe to.
    TAGS = "TAGS";
    /// The producer waits until the message is stored as safely as configured.
    WAIT = "WAIT";
    /// Delay level.
    DELAY = "DELAY";
    /// Original topic of a retried message.
    RETRY_TOPIC = "RETRY_TOPIC";
    /// Topic to deliver to in the end.
    REAL_TOPIC = "REAL_TOPIC";
    /// Queue to deliver to in the end.
    REAL_QID = "REAL_QID";
    /// Half message of a transaction.
    TRAN_MSG = "TRAN_MSG";
    /// Producer group of a half message.
    PGROUP = "PGROUP";
    /// Lowest offset of the queue, put in by clients.
    MIN_OFFSET = "MIN_OFFSET";
    /// Highest offset of the queue, put in by clients.
    MAX_OFFSET = "MAX_OFFSET";
    /// Id of the message that this one is a retry of.
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
    /// Tries so far, as a retry carries it.
    RECONSUME_TIME = "RECONSUME_TIME";
    /// Region of the broker.
    MSG_REGION = "MSG_REGION";
    /// Whether to trace.
    TRACE_ON = "TRACE_ON";
    /// The client's own id of the message.
    UNIQ_KEY = "UNIQ_KEY";
    /// Tries allowed.
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
    /// When consumption began.
    CONSUME_START_TIME = "CONSUME_START_TIME";
    /// Queue offset of the half message.
    TRAN_PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
    /// How often a transaction was asked after.
    TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
    /// Time before the first check of a transaction, s.
    CHECK_IMMUNITY_TIME_IN_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Ties a reply to its request.
    CORRELATION_ID = "CORRELATION_ID";
    /// Client that waits for the reply.
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
    /// How long it waits, ms.
    TTL = "TTL";
    /// When a reply arrived.
    ARRIVE_TIME = "ARRIVE_TIME";
    /// When a reply was pushed.
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
    /// Cluster of the broker.
    CLUSTER = "CLUSTER";
    /// Kind of the message: `reply`.
    MSG_TYPE = "MSG_TYPE";
    /// Check data of a popped message.
    POP_CK = "POP_CK";
    /// First pop, ms since the epoch.
    FIRST_POP_TIME = "1ST_POP_TIME";
    /// Sharding key of ordered messages.
    SHARDING_KEY = "__SHARDINGKEY";
    /// Transaction's id.
    TRANSACTION_ID = "__transactionId__";
    /// Queues that the message is also in.
    INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
    /// Its offsets there.
    INNER_MULTI_QUEUE_OFFSET = "INNER_MULTI_QUEUE_OFFSET";
    /// Messages within an inner batch.
    INNER_NUM = "INNER_NUM";
    /// First queue offset of an inner batch.
    INNER_BASE = "INNER_BASE";
    /// Delay, s.
    TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
    /// Delay, ms.
    TIMER_DELAY_MS = "TIMER_DELAY_MS";
    /// When to deliver, ms since the epoch.
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
    /// When it leaves the timer, ms since the epoch.
    TIMER_OUT_MS = "TIMER_OUT_MS";
    /// How often it went round the timer.
    TIMER_ROLL_TIMES = "TIMER_ROLL_TIMES";
    /// When it came into the timer's wheel, ms since the epoch.
    TIMER_ENQUEUE_MS = "TIMER_ENQUEUE_MS";
    /// When it left the wheel, ms since the epoch.
    TIMER_DEQUEUE_MS = "TIMER_DEQUEUE_MS";
    /// Topic, `+` and unique key of the message that this one calls off.
    TIMER_DEL_UNIQKEY = "TIMER_DEL_UNIQKEY";
    /// When the client says it made the message.
    BORN_TIMESTAMP = "BORN_TIMESTAMP";
    /// Checksum over a whole record.
    CRC32 = "__CRC32#";
}

/// All properties in order. What Java drops is dropped: entries under three bytes, without a name, or
/// without a value. A missing [`VALUE_END`] at the very end is no error. Bytes that are not UTF-8 make a
/// property invisible.
pub fn iter(properties: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    // Nearly always all of them are UTF-8, and one look at all costs a fraction of one at each.
    let whole = std::str::from_utf8(properties);
    spans(properties).filter_map(move |(name, value)| match whole {
        Ok(text) => Some((text.get(name)?, text.get(value)?)),
        Err(_) => Some((
            std::str::from_utf8(&properties[name]).ok()?,
            std::str::from_utf8(&properties[value]).ok()?,
        )),
    })
}

/// The value of `name`; the last one if it is there several times, as in a Java map.
pub fn find<'a>(properties: &'a [u8], name: &str) -> Option<&'a str> {
    let found = entries(properties).filter(|(known, _)| *known == name.as_bytes());
    found
        .filter_map(|(_, value)| std::str::from_utf8(value).ok())
        .last()
}

fn entries(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    spans(properties).map(|(name, value)| (&properties[name], &properties[value]))
}

/// Where names and values lie.
fn spans(properties: &[u8]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut marks = memchr::memchr2_iter(NAME_END, VALUE_END, properties);
    let (mut start, mut name_end) = (0, None);
    std::iter::from_fn(move || {
        while start < properties.len() {
            let end = match marks.next() {
                Some(at) if properties[at] == NAME_END => {
                    // A value may hold more of these.
                    name_end.get_or_insert(at);
                    continue;
                }
                Some(at) => at,
                None => properties.len(),
            };
            let name = start..name_end.take().unwrap_or(start);
            let value = name.end + 1..end;
            start = end + 1;
            // Neither may be empty.
            if !name.is_empty() && !value.is_empty() {
                return Some((name, value));
            }
        }
        None
    })
}

/// Appends one property.
pub fn append(out: &mut Vec<u8>, name: &str, value: &str) {
    // An end mark is needed behind what a client sent without one.
    if out.last().is_some_and(|last| *last != VALUE_END) {
        out.push(VALUE_END);
    }
    out.extend_from_slice(name.as_bytes());
    out.push(NAME_END);
    out.extend_from_slice(value.as_bytes());
    out.push(VALUE_END);
}

/// Takes all properties of that name out.
pub fn remove(text: &mut Vec<u8>, name: &str) {
    if !entries(text).any(|(known, _)| known == name.as_bytes()) {
        return;
    }
    let mut kept = Vec::with_capacity(text.len());
    for (known, value) in entries(text).filter(|(known, _)| *known != name.as_bytes()) {
        kept.extend_from_slice(known);
        kept.push(NAME_END);
        kept.extend_from_slice(value);
        kept.push(VALUE_END);
    }
    *text = kept;
}

/// Gives a property a value, whatever value it had.
pub fn set(text: &mut Vec<u8>, name: &str, value: &str) {
    remove(text, name);
    append(text, name, value);
}

/// The keys of a [`KEYS`] value.
pub fn keys(value: &str) -> impl Iterator<Item = &str> {
    value.split(KEY_SEPARATOR).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests;
