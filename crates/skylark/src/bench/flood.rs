//! `skylark bench flood`: sends at a rate that no broker keeps up with, without waiting for answers. What a socket does
//! not take when it is due is given up, not put off: that is the broker pushing back. One thread for all connections, so
//! that on few cores the flood costs as little as it can.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use protocol::codes::response;
use remoting::clock::{Clock, monotonic};
use serde::Serialize;

use super::connection::{Connection, remark};
use super::send::Frames;
use super::target::TargetArgs;
use crate::say;

/// How often a connection's turn comes.
const TICK: Duration = Duration::from_millis(2);
/// How long answers may take after the last request.
const STRAGGLE: Duration = Duration::from_secs(10);
/// Bytes that are made ready for one write.
const WRITE_BYTES: usize = 64 << 10;
/// Requests made anew and again; their answers are counted, not matched.
const FRAMES: usize = 64;

#[derive(Args)]
pub(super) struct Flood {
    #[command(flatten)]
    target: TargetArgs,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Messages a second that are due over all connections
    #[arg(long, default_value_t = 1_000_000, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    rate: u64,
    /// Seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

/// What came of it, in messages.
#[derive(Default, Serialize)]
struct Outcome {
    /// Were due.
    offered: u64,
    /// Left.
    sent: u64,
    /// Were due when the socket was full, and never left.
    pushed_back: u64,
    acknowledged: u64,
    /// Had no answer in the end.
    unanswered: u64,
    /// Connections that the broker closed.
    closed: u64,
    seconds: f64,
    acknowledged_per_second: f64,
    errors: Vec<Refusals>,
}

#[derive(Serialize)]
struct Refusals {
    code: i32,
    name: &'static str,
    remark: String,
    count: u64,
}

/// Answers with an error: code, and the remark with its digits left out.
type Errors = BTreeMap<(i32, String), Refusals>;

struct Sender {
    /// None: closed.
    connection: Option<Connection>,
    frames: Frames,
    next: usize,
    /// Made ready; up to `written` it has left.
    out: Vec<u8>,
    written: usize,
    /// Requests in `out`.
    ready: u64,
    due: u64,
    pushed_back: u64,
    sent: u64,
    answered: u64,
}

impl Flood {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let target = self.target.find()?;
        let mut senders = (0..self.connections)
            .map(|number| {
                let connection = target.connect()?;
                connection.set_nonblocking()?;
                Ok(Sender {
                    connection: Some(connection),
                    frames: Frames::new(&target, 1, FRAMES, usize::from(number))?,
                    next: 0,
                    out: Vec::new(),
                    written: 0,
                    ready: 0,
                    due: 0,
                    pushed_back: 0,
                    sent: 0,
                    answered: 0,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut outcome = Outcome::default();
        let mut errors = Errors::new();
        let started = monotonic();
        let until = started + Duration::from_secs(self.seconds.into());
        let mut counted = None;
        loop {
            let now = monotonic();
            let sending = now < until;
            for sender in &mut senders {
                if sending {
                    sender.due = self.due(now - started);
                }
                sender.turn(sending, &mut outcome, &mut errors);
            }
            if !sending {
                counted.get_or_insert((outcome.acknowledged, now - started));
            }
            let quiet = senders.iter().all(Sender::is_quiet);
            if !sending && (quiet || now > until + STRAGGLE) {
                break;
            }
            std::thread::sleep((now + TICK).saturating_duration_since(monotonic()));
        }
        for sender in &senders {
            outcome.offered += sender.due;
            outcome.sent += sender.sent;
            outcome.pushed_back += sender.pushed_back;
            outcome.unanswered += sender.sent - sender.answered;
            outcome.closed += u64::from(sender.connection.is_none());
        }
        if let Some((acknowledged, after)) = counted {
            outcome.seconds = after.as_secs_f64();
            outcome.acknowledged_per_second = acknowledged as f64 / outcome.seconds;
        }
        outcome.errors = errors.into_values().collect();
        outcome.say(self.json)
    }

    /// Messages a connection should have sent by then.
    fn due(&self, after: Duration) -> u64 {
        let all = after.as_secs_f64() * self.rate as f64;
        (all / f64::from(self.connections)) as u64
    }
}

impl Sender {
    /// Writes what is due and reads what has come. A broker that closes the connection ends its part.
    fn turn(&mut self, sending: bool, outcome: &mut Outcome, errors: &mut Errors) {
        let Some(mut connection) = self.connection.take() else {
            self.pushed_back = self.due - self.sent;
            return;
        };
        let went = self
            .write(&mut connection, sending)
            .and_then(|()| self.read(&mut connection, outcome, errors));
        if went.is_ok() {
            self.connection = Some(connection);
        }
    }

    fn write(&mut self, connection: &mut Connection, sending: bool) -> anyhow::Result<()> {
        loop {
            while self.written < self.out.len() {
                match connection.try_write(&self.out[self.written..])? {
                    Some(count) => self.written += count,
                    None => {
                        // What is ready leaves later; the rest of what is due does not.
                        self.pushed_back = self.due.saturating_sub(self.sent + self.ready);
                        return Ok(());
                    }
                }
            }
            self.sent += self.ready;
            (self.written, self.ready) = (0, 0);
            self.out.clear();
            let left = self.due - self.pushed_back.min(self.due);
            if !sending || self.sent >= left {
                return Ok(());
            }
            let now_ms = Clock::System.now_ms();
            while self.sent + self.ready < left && self.out.len() < WRITE_BYTES {
                let frame = self.frames.renew(self.next, now_ms);
                self.out.extend_from_slice(frame);
                self.next = (self.next + 1) % FRAMES;
                self.ready += 1;
            }
        }
    }

    fn read(
        &mut self,
        connection: &mut Connection,
        outcome: &mut Outcome,
        errors: &mut Errors,
    ) -> anyhow::Result<()> {
        while connection.try_read()? {
            while let Some(reply) = connection.next()? {
                self.answered += 1;
                if reply.success().is_some() {
                    outcome.acknowledged += 1;
                    continue;
                }
                let head = reply.head()?;
                if head.code == response::SUCCESS {
                    outcome.acknowledged += 1;
                    continue;
                }
                let remark = remark(&head);
                let kind = remark.chars().filter(|letter| !letter.is_ascii_digit());
                let refusals = errors.entry((head.code, kind.collect()));
                refusals
                    .or_insert_with(|| Refusals {
                        code: head.code,
                        name: response::name(head.code).unwrap_or("unknown"),
                        remark,
                        count: 0,
                    })
                    .count += 1;
            }
        }
        Ok(())
    }

    /// Everything that left was answered, as far as somebody is there.
    fn is_quiet(&self) -> bool {
        self.connection.is_none() || (self.ready == 0 && self.answered == self.sent)
    }
}

impl Outcome {
    fn say(&self, json: bool) -> anyhow::Result<()> {
        if json {
            return Ok(say(&format!("{}\n", serde_json::to_string(self)?))?);
        }
        let mut text = format!(
            "flood: {} offered in {:.1} s, {} pushed back, {} sent, {} acknowledged ({:.0}/s), {} unanswered, {} connections closed\n",
            self.offered,
            self.seconds,
            self.pushed_back,
            self.sent,
            self.acknowledged,
            self.acknowledged_per_second,
            self.unanswered,
            self.closed
        );
        for Refusals {
            code,
            name,
            remark,
            count,
        } in &self.errors
        {
            text.push_str(&format!("{count} x {code} {name}: {remark}\n"));
        }
        Ok(say(&text)?)
    }
}
