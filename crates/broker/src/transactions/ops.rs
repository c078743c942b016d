//! What says that half messages have ended: op messages, each with the queue offsets of some.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use protocol::properties;
use protocol::record::Outline;

use crate::message::Message;
use crate::topics;

#[cfg(test)]
mod tests;

/// The tag of op messages.
const REMOVE: &str = "d";

/// Op messages for half messages at these queue offsets, each with the highest of its own. A body has up to `bytes_max` and the
/// last offset.
pub(crate) fn messages(
    ended: &[i64],
    bytes_max: usize,
    host: SocketAddr,
    now_ms: i64,
) -> Vec<(Message, i64)> {
    let mut made = Vec::new();
    let mut rest = ended;
    while !rest.is_empty() {
        let (mut body, mut highest, mut count) = (String::new(), i64::MIN, 0);
        for offset in rest {
            if body.len() >= bytes_max {
                break;
            }
            body.push_str(&offset.to_string());
            body.push(',');
            highest = highest.max(*offset);
            count += 1;
        }
        rest = &rest[count.max(1)..];
        made.push((message(body, host, now_ms), highest));
    }
    made
}

fn message(body: String, host: SocketAddr, now_ms: i64) -> Message {
    let mut text = Vec::new();
    properties::append(&mut text, properties::TAGS, REMOVE);
    Message {
        topic: topics::HALF_DONE.to_owned(),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: now_ms,
        born_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from(body),
        properties: text,
    }
}

/// The queue offsets in an op message. What is no number is passed over, as in Apache.
pub(crate) fn offsets<'a>(op: &Outline<'a>) -> impl Iterator<Item = i64> + use<'a> {
    let is_removal = properties::find(op.properties, properties::TAGS) == Some(REMOVE);
    let body = match is_removal {
        true => std::str::from_utf8(op.body).unwrap_or_default(),
        false => "",
    };
    body.split(',').filter_map(|offset| offset.parse().ok())
}

/// The op messages that are still needed: those with an offset at or above the first open half message.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Queue offset of each, and the highest offset in it.
    ops: VecDeque<(i64, i64)>,
    next: i64,
}

impl Written {
    /// None yet; the first one to come is at `next`.
    pub(crate) fn from(next: i64) -> Written {
        Written {
            ops: VecDeque::new(),
            next,
        }
    }

    pub(crate) fn push(&mut self, at: i64, highest: i64) {
        self.ops.push_back((at, highest));
        self.next = at + 1;
    }

    /// The first op message that is needed if no half message below `halves_from` is.
    pub(crate) fn needed_from(&mut self, halves_from: i64) -> i64 {
        while let Some((_, highest)) = self.ops.front()
            && *highest < halves_from
        {
            self.ops.pop_front();
        }
        self.ops.front().map_or(self.next, |(at, _)| *at)
    }
}

/// Half messages that have ended, a bit each, from a queue offset on.
#[derive(Debug)]
pub(crate) struct Ended {
    from: i64,
    to: i64,
    bits: Vec<u64>,
}

impl Ended {
    /// None of the half messages from `from` to before `to`.
    pub(crate) fn none(from: i64, to: i64) -> Ended {
        Ended {
            from,
            to,
            bits: Vec::new(),
        }
    }

    /// What is out of range is nobody's.
    pub(crate) fn add(&mut self, offset: i64) {
        if let Some((word, bit)) = self.place(offset) {
            if word >= self.bits.len() {
                self.bits.resize(word + 1, 0);
            }
            self.bits[word] |= bit;
        }
    }

    pub(crate) fn contains(&self, offset: i64) -> bool {
        self.place(offset)
            .and_then(|(word, bit)| Some(self.bits.get(word)? & bit != 0))
            .unwrap_or(false)
    }

    fn place(&self, offset: i64) -> Option<(usize, u64)> {
        if !(self.from..self.to).contains(&offset) {
            return None;
        }
        let index = usize::try_from(offset - self.from).ok()?;
        Some((index / 64, 1 << (index % 64)))
    }
}
