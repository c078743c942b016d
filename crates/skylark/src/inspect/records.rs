//! `skylark store records`: the records of the log, in the order they were written or of one queue.

use std::io::Write;

use clap::Args;
use protocol::record::Decoded;
use protocol::{properties, record::Record};

use super::Dir;
use super::log::{Log, Step};
use super::queue::{self, Queue};
use super::time::Utc;

/// Characters of a body that are shown.
const BODY_CHARS: usize = 60;

#[derive(Args)]
pub(super) struct Records {
    #[command(flatten)]
    dir: Dir,
    /// Only this topic's
    #[arg(long)]
    topic: Option<String>,
    /// Only this queue's, by its offsets
    #[arg(long, requires = "topic")]
    queue: Option<i32>,
    /// Begin at this log offset; with --queue at this queue offset
    #[arg(long, default_value_t = 0)]
    from: i64,
    /// Show at most so many
    #[arg(long, default_value_t = 100)]
    count: usize,
}

impl Records {
    pub(super) fn list(&self, mut out: impl Write) -> anyhow::Result<()> {
        let layout = self.dir.find_or_warn()?;
        let log = Log::open(&layout.disk, &layout.paths.commit_log_dir)?;
        let queue = match (&self.topic, self.queue) {
            (Some(topic), Some(id)) => {
                let queues = queue::open_all(&layout.disk, &layout.paths.queue_dir)?;
                let (_, queue) = queues
                    .into_iter()
                    .find(|((of, number), _)| of == topic && *number == id)
                    .ok_or_else(|| anyhow::anyhow!("there is no queue {topic}/{id}"))?;
                Some((topic, id, queue?))
            }
            _ => None,
        };
        let columns = [
            "log offset",
            "size",
            "queue",
            "stored",
            "keys, tags and body",
        ];
        writeln!(
            out,
            "{:>16} {:>8}  {:<32}  {:<23}  {}",
            columns[0], columns[1], columns[2], columns[3], columns[4]
        )?;
        match queue {
            Some((topic, id, queue)) => {
                self.of_queue(&log, &format!("{topic}/{id}"), &queue, &mut out)?;
            }
            None => self.of_log(&log, &mut out)?,
        }
        Ok(out.flush()?)
    }

    fn of_log(&self, log: &Log, out: &mut impl Write) -> anyhow::Result<()> {
        let mut walk = log.walk(self.from);
        let mut left = self.count;
        while left > 0 {
            match walk.step()? {
                Some(Step::Record(found)) => {
                    if self
                        .topic
                        .as_ref()
                        .is_some_and(|topic| topic != found.record.topic)
                    {
                        continue;
                    }
                    show(&found, out)?;
                    left -= 1;
                }
                Some(Step::Bad { at, until, error }) => {
                    writeln!(out, "{at:>16} {:>8}  {error}", until - at)?;
                }
                Some(Step::End { .. }) | None => break,
            }
        }
        Ok(())
    }

    fn of_queue(
        &self,
        log: &Log,
        name: &str,
        queue: &Queue,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let entries = queue
            .entries()
            .skip_while(|entry| entry.as_ref().is_ok_and(|(at, _)| *at < self.from));
        for entry in entries.take(self.count) {
            let (queue_offset, entry) = entry?;
            let bytes = log.read(entry.log_offset, usize::try_from(entry.size)?)?;
            match Record::decode(&bytes, true) {
                Ok(found) => show(&found, out)?,
                Err(error) => {
                    let (at, size) = (entry.log_offset, entry.size);
                    writeln!(out, "{at:>16} {size:>8}  {name}/{queue_offset}: {error}")?;
                }
            }
        }
        Ok(())
    }
}

fn show(found: &Decoded<'_>, out: &mut impl Write) -> std::io::Result<()> {
    let Record {
        topic,
        queue_id,
        queue_offset,
        log_offset,
        properties,
        ..
    } = found.record;
    let queue = format!("{topic}/{queue_id}/{}", queue_offset.0);
    let stored = Utc(found.record.store_timestamp).to_string();
    write!(
        out,
        "{:>16} {:>8}  {queue:<32}  {stored}  ",
        log_offset.0, found.size
    )?;
    for name in [properties::KEYS, properties::TAGS] {
        if let Some(value) = properties::find(properties, name) {
            write!(out, "{name}={value} ")?;
        }
    }
    writeln!(out, "{}", preview(found.record.body))
}

/// The beginning of a body, or its length if it is no text.
fn preview(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains(char::is_control) => {
            let more = if text.chars().count() > BODY_CHARS {
                "…"
            } else {
                ""
            };
            text.chars().take(BODY_CHARS).chain(more.chars()).collect()
        }
        _ => format!("{} bytes", body.len()),
    }
}
