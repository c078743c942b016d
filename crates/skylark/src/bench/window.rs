//! Sends as many requests as a window lets go: the next one leaves when one is answered.

use std::time::Duration;

use anyhow::Context;
use protocol::codes::response;
use remoting::clock::{Clock, Instant, monotonic};

use super::connection::{Connection, Reply, remark};
use super::report::{Live, Tally};
use super::send::Frames;

/// Requests under way on one connection at most: with more, both sides could wait for the other to read.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// When a run counts, and when it ends.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// What is answered before is warm-up.
    pub(super) counted_from: Instant,
    /// Nothing is sent after, and what is answered after does not count.
    pub(super) until: Option<Instant>,
}

impl Span {
    pub(super) fn counts(&self, now: Instant) -> bool {
        now >= self.counted_from && !self.is_over(now)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now > until)
    }

    /// How long the counted part lasted.
    pub(super) fn length(&self, tally: &Tally) -> Duration {
        self.until
            .or(tally.last)
            .map_or(Duration::ZERO, |end| end - self.counted_from)
    }
}

/// What tells receivers when a message was sent.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    /// Tells this run's messages from others.
    pub(super) run: i64,
    /// Times are counted from here.
    pub(super) origin: Instant,
}

impl Stamp {
    fn put(stamp: Option<Stamp>, frames: &mut Frames, place: usize, now: Instant) {
        if let Some(Stamp { run, origin }) = stamp {
            frames.stamp(place, run, (now - origin).as_nanos() as i64);
        }
    }
}

/// Keeps all places of `frames` under way until the span or `requests` of them are over.
pub(super) fn send(
    mut connection: Connection,
    mut frames: Frames,
    batch: u64,
    mut requests: u64,
    span: Span,
    stamp: Option<Stamp>,
    live: &Live,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    let mut out = Vec::new();
    let window = frames
        .len()
        .min(usize::try_from(requests).unwrap_or(usize::MAX));
    let (now, now_ms) = (monotonic(), Clock::System.now_ms());
    for place in 0..window {
        Stamp::put(stamp, &mut frames, place, now);
        out.extend_from_slice(frames.renew(place, now_ms));
    }
    requests -= window as u64;
    let mut sent_at = vec![now; window];
    let mut under_way = window;
    while under_way > 0 {
        connection.write(&out)?;
        out.clear();
        connection.read()?;
        let now = monotonic();
        let now_ms = Clock::System.now_ms();
        let mut seen = Seen::default();
        while let Some(reply) = connection.next()? {
            let place = seen.reply(&reply, &mut tally, |place| {
                let waited = now - *sent_at.get(place)?;
                Some(span.counts(now).then_some(waited))
            })?;
            if requests > 0 && !span.is_over(now) && !live.stopped() {
                Stamp::put(stamp, &mut frames, place, now);
                out.extend_from_slice(frames.renew(place, now_ms));
                sent_at[place] = now;
                requests -= 1;
            } else {
                under_way -= 1;
            }
        }
        seen.finish(&mut tally, batch, now, live);
    }
    Ok(tally)
}

/// The answers that one read brought.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) good: u64,
    pub(super) bad: u64,
    /// Of the good ones, those outside of warm-up.
    counted: u64,
}

impl Seen {
    /// Counts an answer and returns its place. `waited` knows which places are under way, and how long one waited if it is
    /// to be counted.
    pub(super) fn reply(
        &mut self,
        reply: &Reply<'_>,
        tally: &mut Tally,
        waited: impl FnOnce(usize) -> Option<Option<Duration>>,
    ) -> anyhow::Result<usize> {
        let (opaque, refused) = match reply.success() {
            Some(opaque) => (opaque, None),
            None => {
                let head = reply.head()?;
                (
                    head.opaque,
                    (head.code != response::SUCCESS).then_some(head),
                )
            }
        };
        let place = usize::try_from(opaque).ok();
        let known = place.and_then(|place| Some((place, waited(place)?)));
        let (place, waited) = known.context("the broker answered what nobody had asked")?;
        if let Some(head) = refused {
            self.bad += 1;
            tally.fail(head.code, || remark(&head));
            return Ok(place);
        }
        self.good += 1;
        if let Some(waited) = waited {
            self.counted += 1;
            tally.record(waited);
        }
        Ok(place)
    }

    pub(super) fn finish(self, tally: &mut Tally, batch: u64, now: Instant, live: &Live) {
        tally.messages += self.counted * batch;
        if self.counted > 0 {
            tally.last = Some(now);
        }
        live.add(self.good * batch, self.bad);
    }
}
