//! Sends at a given rate whatever the broker does, so that a broker that stalls is charged for all that should have been
//! sent meanwhile: a request that could not leave in time counts from when it was due. One that left late only because
//! our own timer was late counts from when it left. A run that is stopped sends one more request on each connection.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use remoting::clock::{Clock, Instant, monotonic};

use super::connection::Connection;
use super::report::{Live, Tally};
use super::send::Frames;
use super::share;
use super::window::Seen;

#[cfg(test)]
mod tests;

/// What is to be sent, and when.
pub(super) struct Pace {
    /// Times are counted from here.
    pub(super) origin: Instant,
    /// Messages a second over all connections.
    pub(super) rate: u64,
    /// Messages over all connections.
    pub(super) messages: u64,
    /// Messages in a request.
    pub(super) batch: u64,
    pub(super) connections: u16,
    /// What is sent before is warm-up.
    pub(super) counted_from: Duration,
    /// Put into the bodies together with the time.
    pub(super) run: Option<i64>,
}

impl Pace {
    /// Requests that connection `number` sends.
    fn requests(&self, number: u16) -> u64 {
        share(self.messages.div_ceil(self.batch), self.connections, number)
    }

    /// When it sends the `nth` of them: the connections take turns.
    fn due(&self, number: u16, nth: u64) -> Duration {
        let before = (nth * u64::from(self.connections) + u64::from(number)) * self.batch;
        Duration::from_secs_f64(before as f64 / self.rate as f64)
    }

    /// How long the counted part lasted.
    pub(super) fn length(&self, tally: &Tally) -> Duration {
        tally.last.map_or(Duration::ZERO, |last| {
            last - (self.origin + self.counted_from)
        })
    }
}

/// A place nothing was sent from, or whose request is answered.
const FREE: i64 = -1;
/// How often a full window is looked at again.
const FULL_WAIT: Duration = Duration::from_micros(20);
/// Requests that are late are written together, up to so many bytes.
const WRITE_BYTES_MAX: usize = 64 << 10;

pub(super) fn send(
    mut connection: Connection,
    mut frames: Frames,
    pace: &Pace,
    number: u16,
    live: &Live,
) -> anyhow::Result<Tally> {
    let reader = connection.share()?;
    // When the request in each place was sent, in ns since the origin.
    let sent_at: Vec<AtomicI64> = (0..frames.len()).map(|_| AtomicI64::new(FREE)).collect();
    let requests = AtomicU64::new(pace.requests(number));
    std::thread::scope(|scope| {
        // A window that is full would wait for ever for answers that nobody reads any more.
        let replies = scope.spawn(|| {
            receive(reader, &sent_at, pace, &requests, live).inspect_err(|_| {
                requests.store(0, Ordering::Relaxed);
                live.stop();
            })
        });
        let window = (&mut frames, &sent_at[..]);
        let sent = write_all(&mut connection, window, pace, number, &requests, live);
        if sent.is_err() {
            connection.close();
        }
        let tally = replies
            .join()
            .map_err(|_| anyhow!("the reading thread panicked"))??;
        sent.map(|()| tally)
    })
}

fn write_all(
    connection: &mut Connection,
    (frames, sent_at): (&mut Frames, &[AtomicI64]),
    pace: &Pace,
    number: u16,
    requests: &AtomicU64,
    live: &Live,
) -> anyhow::Result<()> {
    let mut out = Vec::new();
    for nth in 0..pace.requests(number) {
        if nth >= requests.load(Ordering::Relaxed) {
            break;
        }
        if live.stopped() {
            // Known before this one leaves: whoever waits for answers is woken by its answer, and sees that it is the last.
            requests.fetch_min(nth + 1, Ordering::Release);
        }
        let mut at = pace.due(number, nth);
        let now = monotonic() - pace.origin;
        if now < at {
            flush(connection, &mut out)?;
            std::thread::sleep(at - now);
            at = monotonic() - pace.origin;
        }
        let place = (nth % sent_at.len() as u64) as usize;
        while sent_at[place].load(Ordering::Acquire) != FREE {
            flush(connection, &mut out)?;
            if requests.load(Ordering::Relaxed) == 0 {
                return Err(anyhow!("nobody reads the answers any more"));
            }
            std::thread::sleep(FULL_WAIT);
        }
        let nanos = at.as_nanos() as i64;
        sent_at[place].store(nanos, Ordering::Release);
        if let Some(run) = pace.run {
            frames.stamp(place, run, nanos);
        }
        out.extend_from_slice(frames.renew(place, Clock::System.now_ms()));
        if out.len() >= WRITE_BYTES_MAX {
            flush(connection, &mut out)?;
        }
    }
    flush(connection, &mut out)
}

fn flush(connection: &mut Connection, out: &mut Vec<u8>) -> anyhow::Result<()> {
    connection.write(out)?;
    out.clear();
    Ok(())
}

fn receive(
    mut connection: Connection,
    sent_at: &[AtomicI64],
    pace: &Pace,
    requests: &AtomicU64,
    live: &Live,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::new()?;
    let mut answered = 0;
    while answered < requests.load(Ordering::Acquire) {
        connection.read()?;
        let now = monotonic();
        let since_origin = now - pace.origin;
        let mut seen = Seen::default();
        while let Some(reply) = connection.next()? {
            seen.reply(&reply, &mut tally, |place| {
                let sent = sent_at.get(place)?.swap(FREE, Ordering::AcqRel);
                let sent = Duration::from_nanos(u64::try_from(sent).ok()?);
                let waited = since_origin.saturating_sub(sent);
                Some((sent >= pace.counted_from).then_some(waited))
            })?;
        }
        answered += seen.good + seen.bad;
        seen.finish(&mut tally, pace.batch, now, live);
    }
    Ok(tally)
}
