//! From send to receive: paced sends with the time in their bodies, and held pulls on all queues that read it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::bail;
use bytes::BytesMut;
use remoting::clock::{Instant, monotonic};

use super::connection::Connection;
use super::pull::{Pulled, Puller, Reader, pulled, records};
use super::report::{Live, Tally};
use super::send::read_stamp;

/// How long a message may be under way after the last one was sent.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The receiving side of a run.
pub(super) struct Arrivals {
    /// Tells this run's messages from others.
    pub(super) run: i64,
    /// Times in the bodies count from here.
    pub(super) origin: Instant,
    /// What was sent before is warm-up.
    pub(super) counted_from: Duration,
    /// Messages of this run so far, warm-up included.
    pub(super) arrived: AtomicU64,
}

impl Arrivals {
    /// Waits for `sent` messages to arrive, but not for ever nor for a receiver that is gone; returns how many did not.
    pub(super) fn wait_for<T>(&self, sent: u64, receivers: &[ScopedJoinHandle<'_, T>]) -> u64 {
        let deadline = monotonic() + ARRIVAL_TIMEOUT;
        loop {
            let missing = sent.saturating_sub(self.arrived.load(Ordering::Acquire));
            let gone = receivers.iter().any(ScopedJoinHandle::is_finished);
            if missing == 0 || gone || monotonic() > deadline {
                return missing;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Holds a pull on every queue until the run is stopped.
    pub(super) fn receive(
        &self,
        mut connection: Connection,
        mut readers: Vec<Reader>,
        puller: &Puller<'_>,
        live: &Live,
    ) -> anyhow::Result<Tally> {
        let mut tally = Tally::new()?;
        let mut out = BytesMut::new();
        for (place, reader) in readers.iter().enumerate() {
            puller.put(&mut out, place, reader)?;
        }
        loop {
            connection.write(&out)?;
            out.clear();
            match connection.read() {
                Ok(()) => (),
                Err(_) if live.stopped() => return Ok(tally),
                Err(error) => return Err(error),
            }
            let now = monotonic();
            while let Some(reply) = connection.next()? {
                let (place, pulled) = pulled(&reply, &mut tally)?;
                let Some(reader) = readers.get_mut(place) else {
                    bail!("the broker answered a pull that nobody had sent");
                };
                match pulled {
                    Pulled::Found(next) => {
                        reader.next = next;
                        self.take(reply.body, now, &mut tally)?;
                    }
                    Pulled::Nothing(next) => reader.next = next,
                    Pulled::Refused => bail!("the broker refuses pulls"),
                }
                puller.put(&mut out, place, reader)?;
            }
        }
    }

    fn take(&self, body: &[u8], at: Instant, tally: &mut Tally) -> anyhow::Result<()> {
        let now = at - self.origin;
        let mut arrived = 0;
        for record in records(body) {
            let body = record?.body;
            let Some((run, sent)) = read_stamp(body) else {
                continue;
            };
            let (true, Ok(sent)) = (run == self.run, u64::try_from(sent)) else {
                continue;
            };
            arrived += 1;
            let sent = Duration::from_nanos(sent);
            if sent >= self.counted_from {
                tally.messages += 1;
                tally.bytes += body.len() as u64;
                tally.last = Some(at);
                tally.record(now.saturating_sub(sent));
            }
        }
        self.arrived.fetch_add(arrived, Ordering::Release);
        Ok(())
    }
}
