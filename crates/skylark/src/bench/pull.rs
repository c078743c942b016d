//! Pulls what is there, over and over, as many at a time as Java clients ask for; and pulls that wait for what comes.

use std::time::Duration;

use anyhow::bail;
use bytes::BytesMut;
use protocol::QueueOffset;
use protocol::codes::{request, response};
use protocol::command::{CommandOut, Header, encode_command};
use protocol::headers::pull::{PullMessage, PullMessageResponse};
use protocol::record::Outline;
use protocol::text::Text;
use remoting::clock::monotonic;

use super::connection::{Connection, Reply, remark};
use super::report::{Live, Tally};
use super::target::Target;
use super::window::Span;

/// `pullBatchSize` of Java consumers.
const MESSAGES_MAX: i32 = 32;
/// `pullBatchSizeInBytes` of Java consumers.
const BYTES_MAX: i32 = 256 << 10;
/// A broker that refuses so many pulls in a row will not give in.
const REFUSED_MAX: u32 = 100;
/// How long Java consumers let the broker hold a pull.
const HOLD_MS: i64 = 15_000;
const CONSUMER_GROUP: &str = "skylark-bench";
const SUSPEND: i32 = 2;
const SUBSCRIPTION: i32 = 4;

/// One queue, what there is in it, and where the next pull begins.
pub(super) struct Reader {
    pub(super) queue_id: i32,
    pub(super) first: QueueOffset,
    pub(super) end: QueueOffset,
    pub(super) next: QueueOffset,
}

impl Reader {
    /// To read only what comes from now on.
    pub(super) fn starting_at_end(self) -> Reader {
        Reader {
            next: self.end,
            ..self
        }
    }
}

/// How pulls are written; a queue's place among the connection's readers is its request's opaque.
pub(super) struct Puller<'a> {
    pub(super) target: &'a Target,
    /// Ask the broker to hold a pull that finds nothing.
    pub(super) hold: bool,
    pub(super) sub_version: i64,
}

impl Puller<'_> {
    pub(super) fn put(
        &self,
        out: &mut BytesMut,
        place: usize,
        reader: &Reader,
    ) -> anyhow::Result<()> {
        let header = PullMessage {
            consumer_group: Text::plain(CONSUMER_GROUP),
            topic: Text::plain(&self.target.topic),
            queue_id: reader.queue_id,
            queue_offset: reader.next,
            max_msg_nums: MESSAGES_MAX,
            sys_flag: SUBSCRIPTION | if self.hold { SUSPEND } else { 0 },
            commit_offset: QueueOffset(0),
            suspend_timeout_millis: HOLD_MS,
            subscription: Some(Text::plain("*")),
            sub_version: Some(self.sub_version),
            expression_type: Some(Text::plain("TAG")),
            max_msg_bytes: Some(BYTES_MAX),
            request_source: None,
            proxy_forward_client_id: None,
        };
        let code = request::PULL_MESSAGE;
        let command = CommandOut {
            code,
            opaque: i32::try_from(place)?,
            ..CommandOut::default()
        };
        encode_command(out, self.target.codec, &command, &header, 0)?;
        Ok(())
    }
}

/// What a pull brought.
pub(super) enum Pulled {
    /// Records, and where to go on.
    Found(QueueOffset),
    /// Nothing, and where to go on.
    Nothing(QueueOffset),
    Refused,
}

/// Reads the answer to a pull; a refusal goes to the tally.
pub(super) fn pulled(reply: &Reply<'_>, tally: &mut Tally) -> anyhow::Result<(usize, Pulled)> {
    let head = reply.head()?;
    let place = usize::try_from(head.opaque)?;
    let next = || anyhow::Ok(PullMessageResponse::decode(head.fields)?.next_begin_offset);
    let pulled = match head.code {
        response::SUCCESS => Pulled::Found(next()?),
        response::PULL_NOT_FOUND
        | response::PULL_RETRY_IMMEDIATELY
        | response::PULL_OFFSET_MOVED => Pulled::Nothing(next()?),
        code => {
            tally.fail(code, || remark(&head));
            Pulled::Refused
        }
    };
    Ok((place, pulled))
}

/// The records of a pull's body, one behind the other.
pub(super) fn records(body: &[u8]) -> impl Iterator<Item = anyhow::Result<Outline<'_>>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let record = (!rest.is_empty()).then(|| Outline::decode(rest))?;
        rest = record.as_ref().map_or(&[], |record| &rest[record.size..]);
        Some(record.map_err(anyhow::Error::from))
    })
}

/// Pulls all queues at once, one request under way for each, from their first message to their last: once, or over and
/// over until the span ends; no faster than `rate` messages a second, if there is one.
pub(super) fn read(
    mut connection: Connection,
    mut readers: Vec<Reader>,
    puller: &Puller<'_>,
    span: Span,
    rate: Option<f64>,
    live: &Live,
) -> anyhow::Result<Tally> {
    let begun = monotonic();
    let mut read_in_all = 0;
    let mut tally = Tally::new()?;
    let mut out = BytesMut::new();
    for (place, reader) in readers.iter().enumerate() {
        puller.put(&mut out, place, reader)?;
    }
    let mut sent_at = vec![monotonic(); readers.len()];
    let mut under_way = readers.len();
    let mut refused = 0;
    while under_way > 0 {
        connection.write(&out)?;
        out.clear();
        connection.read()?;
        let now = monotonic();
        let mut read = 0;
        while let Some(reply) = connection.next()? {
            let (place, pulled) = pulled(&reply, &mut tally)?;
            let Some(reader) = readers.get_mut(place) else {
                bail!("the broker answered a pull that nobody had sent");
            };
            match pulled {
                Pulled::Found(next) => {
                    refused = 0;
                    reader.next = next;
                    let (messages, bytes) = count(reply.body)?;
                    read += messages;
                    read_in_all += messages;
                    if span.counts(now) {
                        tally.messages += messages;
                        tally.bytes += bytes;
                        tally.record(now - sent_at[place]);
                        tally.last = Some(now);
                    }
                }
                Pulled::Nothing(next) => {
                    // All of it was there when the run began.
                    let (id, at, end) = (reader.queue_id, reader.next.0, reader.end.0);
                    tally.fail(reply.head()?.code, || {
                        format!("queue {id} has nothing at {at}, though it should reach to {end}")
                    });
                    reader.next = if next > reader.next { next } else { reader.end };
                }
                Pulled::Refused if refused == REFUSED_MAX => bail!("the broker refuses pulls"),
                Pulled::Refused => refused += 1,
            }
            if reader.next >= reader.end && span.until.is_some() {
                reader.next = reader.first;
            }
            if reader.next < reader.end && !span.is_over(now) && !live.stopped() {
                if let Some(rate) = rate {
                    let due = begun + Duration::from_secs_f64(read_in_all as f64 / rate);
                    std::thread::sleep(due - monotonic());
                }
                puller.put(&mut out, place, reader)?;
                sent_at[place] = if rate.is_some() { monotonic() } else { now };
            } else {
                under_way -= 1;
            }
        }
        live.add(read, 0);
    }
    Ok(tally)
}

fn count(body: &[u8]) -> anyhow::Result<(u64, u64)> {
    let mut messages = 0;
    for record in records(body) {
        record?;
        messages += 1;
    }
    Ok((messages, body.len() as u64))
}

#[cfg(test)]
mod tests;
