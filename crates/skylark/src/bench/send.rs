//! Send requests, encoded once for each place in the window: what differs between two uses of a place (unique keys, born
//! time, a stamp in the body) has a fixed width and is written over.

use bytes::{BufMut, BytesMut};
use memchr::memmem;
use protocol::codes::request;
use protocol::command::{CommandOut, encode_command};
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
/// Bytes of a stamp: the run's number and the time it was sent.
pub(super) const STAMP_BYTES: usize = 16;

/// A window of requests; a place's number is its request's opaque.
pub(super) struct Frames {
    places: Vec<Place>,
    /// The next unique key's second half.
    key: u64,
}

struct Place {
    bytes: Vec<u8>,
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
        })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Makes the request of `place` a new one and returns it.
    pub(super) fn renew(&mut self, place: usize, now_ms: i64) -> &[u8] {
        let Place {
            bytes, keys, born, ..
        } = &mut self.places[place];
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
        let header = SendMessageV2 {
            producer_group: Text::plain(PRODUCER_GROUP),
            topic: Text::plain(&target.topic),
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
        let body_at = bytes.len();
        let born = memmem::find(&bytes, now_ms.to_string().as_bytes());
        bytes.put_slice(&body);
        let keys = memmem::find_iter(&bytes, UNIQ_KEY).map(|at| at + UNIQ_KEY.len() - KEY_DIGITS);
        Ok(Place {
            keys: keys.collect(),
            born: born.ok_or_else(|| anyhow::anyhow!("the header holds no born time"))?,
            body: body_at,
            bytes: bytes.to_vec(),
        })
    }
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
