//! Send requests, encoded once for each place in the window: what differs between two uses of a place (unique keys, born
//! time, a stamp in the body) has a fixed width and is written over.

use bytes::{BufMut, BytesMut};
use memchr::memmem;
use protocol::codes::request;
use protocol::command::{CommandOut, encode_command};
use protocol::frame::Codec;
use protocol::headers::send::SendMessageV2;
use protocol::properties;
use protocol::record::BatchMessage;
use protocol::text::Text;
use remoting::clock::Clock;

use super::target::Target;

/// As the Java client makes them: address, process, loader, time and counter in hex; the second half is written over.
const UNIQ_KEY: &str = "7F00000153C05E4B2D8A5C1D0A9B3F7E";
const KEY_DIGITS: usize = 16;
const PRODUCER_GROUP: &str = "skylark-bench";
const BORN_DIGITS: usize = 13;
/// Of the number that tells topics apart.
pub(super) const TOPIC_DIGITS: usize = 6;
/// Bytes of a stamp: the run's number and the time it was sent.
pub(super) const STAMP_BYTES: usize = 16;

/// A window of requests; a place's number is its request's opaque.
pub(super) struct Frames {
    places: Vec<Place>,
    /// The next unique key's second half.
    key: u64,
    /// Where each request goes, if not all go to one topic.
    spread: Option<Spread>,
}

/// Sends that go to many topics, whose names differ in a number of [`TOPIC_DIGITS`] digits.
pub(super) struct Spread {
    topics: u32,
    queues: u16,
    order: Order,
}

enum Order {
    /// The state of a generator.
    Random(u64),
    /// Every queue of every topic in turn: the next one, and by how much topics go on.
    InTurn { next: u64, step: u32 },
}

struct Place {
    bytes: Vec<u8>,
    /// Where the topic's number is ...
    topic: Option<usize>,
    /// ... and its queue's.
    queue: usize,
    /// Where the second halves of its unique keys are.
    keys: Vec<usize>,
    born: usize,
    body: usize,
}

impl Frames {
    /// `count` requests of `batch` messages each, going round the queues, each window on from where the one before ends.
    /// `number` tells the windows of a run apart.
    pub(super) fn new(
        target: &Target,
        batch: usize,
        count: usize,
        number: usize,
    ) -> anyhow::Result<Frames> {
        let now_ms = Clock::System.now_ms();
        let places = (0..count).map(|place| {
            let queue = (number * count + place) % usize::from(target.queues);
            Place::new(target, batch, place, queue, now_ms)
        });
        let key = (now_ms as u64) << 40 | (number as u64 & 0xff) << 32;
        Ok(Frames {
            places: places.collect::<anyhow::Result<_>>()?,
            key,
            spread: (target.topics > 1).then(|| Spread::random(target, key)),
        })
    }

    /// The same over all queues of the target's topics, one after the other: window `number` of `step` that share them.
    pub(super) fn in_turn(
        target: &Target,
        count: usize,
        number: u16,
        step: u16,
    ) -> anyhow::Result<Frames> {
        let mut frames = Frames::new(target, 1, count, usize::from(number))?;
        frames.spread = Some(Spread {
            order: Order::InTurn {
                next: u64::from(number) * u64::from(target.queues),
                step: u32::from(step),
            },
            ..Spread::random(target, 0)
        });
        Ok(frames)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Makes the request of `place` a new one and returns it.
    pub(super) fn renew(&mut self, place: usize, now_ms: i64) -> &[u8] {
        let Place {
            bytes,
            keys,
            born,
            topic,
            queue,
            ..
        } = &mut self.places[place];
        if let (Some(spread), Some(at)) = (&mut self.spread, *topic) {
            let (topic, queue_id) = spread.next();
            put_decimal(&mut bytes[at..at + TOPIC_DIGITS], topic.into());
            put_decimal(&mut bytes[*queue..*queue + 1], queue_id.into());
        }
        for at in keys {
            put_hex(&mut bytes[*at..*at + KEY_DIGITS], self.key);
            self.key += 1;
        }
        put_decimal(&mut bytes[*born..*born + BORN_DIGITS], now_ms);
        bytes
    }

    /// Puts a run's number and a time, in nanoseconds, at the front of the body of `place`.
    pub(super) fn stamp(&mut self, place: usize, run: i64, nanos: i64) {
        let Place { bytes, body, .. } = &mut self.places[place];
        bytes[*body..*body + 8].copy_from_slice(&run.to_be_bytes());
        bytes[*body + 8..*body + STAMP_BYTES].copy_from_slice(&nanos.to_be_bytes());
    }
}

/// The run's number and the time of a stamped body.
pub(super) fn read_stamp(body: &[u8]) -> Option<(i64, i64)> {
    let (run, rest) = body.split_first_chunk()?;
    Some((
        i64::from_be_bytes(*run),
        i64::from_be_bytes(*rest.first_chunk()?),
    ))
}

impl Spread {
    fn random(target: &Target, seed: u64) -> Spread {
        Spread {
            topics: target.topics,
            queues: target.queues,
            order: Order::Random(seed | 1),
        }
    }

    /// The number of a topic, and a queue of it.
    fn next(&mut self) -> (u32, u16) {
        let queues = u64::from(self.queues);
        let at = match &mut self.order {
            Order::Random(state) => {
                // xorshift64: every place in the table is as likely, and none is foreseen.
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                *state % (u64::from(self.topics) * queues)
            }
            Order::InTurn { next, step } => {
                let at = *next;
                *next += 1;
                if next.is_multiple_of(queues) {
                    *next += u64::from(*step - 1) * queues;
                }
                at
            }
        };
        let topic = at / queues % u64::from(self.topics);
        (topic as u32, (at % queues) as u16)
    }
}

impl Place {
    fn new(
        target: &Target,
        batch: usize,
        place: usize,
        queue: usize,
        now_ms: i64,
    ) -> anyhow::Result<Place> {
        let message = vec![b'.'; target.size];
        let mut properties = Vec::new();
        for (name, value) in [
            (properties::UNIQ_KEY, UNIQ_KEY),
            (properties::WAIT, "true"),
            (properties::TAGS, "TagA"),
        ] {
            properties::append(&mut properties, name, value);
        }
        let mut body = BytesMut::new();
        if batch > 1 {
            let message = BatchMessage {
                flag: 0,
                body: &message,
                properties: &properties,
            };
            (0..batch).try_for_each(|_| message.encode(&mut body))?;
        } else {
            body.put_slice(&message);
        }
        let topic = target.topic_name(0);
        let header = SendMessageV2 {
            producer_group: Text::plain(PRODUCER_GROUP),
            topic: Text::plain(&topic),
            default_topic: Text::plain("TBW102"),
            default_topic_queue_nums: i32::from(target.queues),
            queue_id: i32::try_from(queue)?,
            sys_flag: 0,
            born_timestamp: now_ms,
            flag: 0,
            properties: Some(Text::plain(std::str::from_utf8(&properties)?)),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            max_reconsume_times: None,
            batch: Some(batch > 1),
            broker_name: None,
        };
        let code = if batch > 1 {
            request::SEND_BATCH_MESSAGE
        } else {
            request::SEND_MESSAGE_V2
        };
        let command = CommandOut {
            code,
            opaque: i32::try_from(place)?,
            ..CommandOut::default()
        };
        let mut bytes = BytesMut::new();
        encode_command(&mut bytes, target.codec, &command, &header, body.len())?;
        let queue = queue_digit(&bytes, target.codec, &command, header, body.len())?;
        let body_at = bytes.len();
        let born = memmem::find(&bytes, now_ms.to_string().as_bytes());
        bytes.put_slice(&body);
        let keys = memmem::find_iter(&bytes, UNIQ_KEY).map(|at| at + UNIQ_KEY.len() - KEY_DIGITS);
        Ok(Place {
            keys: keys.collect(),
            topic: (target.topics > 1)
                .then(|| memmem::find(&bytes, topic.as_bytes()))
                .flatten()
                .map(|at| at + topic.len() - TOPIC_DIGITS),
            queue,
            born: born.ok_or_else(|| anyhow::anyhow!("the header holds no born time"))?,
            body: body_at,
            bytes: bytes.to_vec(),
        })
    }
}

/// Where the queue's id is, if it has one digit: where the header changes with it.
fn queue_digit(
    bytes: &[u8],
    codec: Codec,
    command: &CommandOut<'_>,
    mut header: SendMessageV2<'_>,
    body_bytes: usize,
) -> anyhow::Result<usize> {
    header.queue_id = (header.queue_id + 1) % 10;
    let mut other = BytesMut::new();
    encode_command(&mut other, codec, command, &header, body_bytes)?;
    let differ = bytes
        .iter()
        .zip(&other)
        .position(|(one, other)| one != other);
    differ.ok_or_else(|| anyhow::anyhow!("the header holds no queue"))
}

fn put_hex(digits: &mut [u8], number: u64) {
    for (at, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789ABCDEF"[(number >> (4 * at) & 0xf) as usize];
    }
}

fn put_decimal(digits: &mut [u8], mut number: i64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests;
