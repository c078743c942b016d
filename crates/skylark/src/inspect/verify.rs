//! `skylark store verify`: log, queues, index and metadata checked against each other, without the code that wrote them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use protocol::record::{Decoded, Record, sys_flag};
use protocol::{properties, tags};
use store::checkpoint::Checkpoint;

use super::Layout;
use super::log::{Log, Step};
use super::queue::{self, Entry, Queue};

mod index;

/// More problems than this are counted, not shown.
const SHOWN_MAX: u64 = 100;
/// Topic whose tags codes are delivery times.
const DELAY_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// What is wrong, said as it is found.
struct Problems<W> {
    out: W,
    count: u64,
}

impl<W: Write> Problems<W> {
    fn say(&mut self, problem: impl std::fmt::Display) -> std::io::Result<()> {
        self.count += 1;
        if self.count <= SHOWN_MAX {
            writeln!(self.out, "{problem}")?;
        }
        Ok(())
    }
}

/// What was looked at.
#[derive(Default)]
struct Seen {
    records: u64,
    entries: u64,
    index_entries: u64,
    log_end: i64,
}

pub(super) fn verify(layout: &Layout, out: impl Write) -> anyhow::Result<ExitCode> {
    if layout.is_in_use()? {
        bail!(
            "a broker is running on {}; stop it first",
            layout.paths.root.display()
        );
    }
    let unclean = layout.disk.exists(&layout.paths.abort_path);
    let mut problems = Problems { out, count: 0 };
    let mut seen = Seen::default();
    let log = Log::open(&layout.disk, &layout.paths.commit_log_dir)?;
    check_files(&log, &mut problems)?;
    let mut queues = open_queues(layout, &mut problems)?;
    check_log(&log, &mut queues, unclean, &mut seen, &mut problems)?;
    check_queues(&log, &queues, &mut seen, &mut problems)?;
    index::check(layout, &log, &mut seen, &mut problems)?;
    if !unclean {
        check_checkpoint(layout, &mut problems)?;
    }
    check_metadata(layout, &mut problems)?;

    let Problems { mut out, count } = problems;
    if count > SHOWN_MAX {
        writeln!(out, "... and {} more", count - SHOWN_MAX)?;
    }
    let Seen {
        records,
        entries,
        index_entries,
        log_end,
    } = seen;
    writeln!(
        out,
        "log {} to {log_end}: {records} records, {} queues with {entries} entries, {index_entries} index entries",
        log.min(),
        queues.len()
    )?;
    if unclean {
        writeln!(
            out,
            "the store was not closed: the next start completes queues and index from the log"
        )?;
    }
    match count {
        0 => writeln!(out, "all sound")?,
        1 => writeln!(out, "1 problem")?,
        count => writeln!(out, "{count} problems")?,
    }
    out.flush()?;
    Ok(if count == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The queues by topic and number, each with the number of its entries that a record has asked for; `None` if it can't be
/// read.
type Queues = BTreeMap<(String, i32), Option<(Queue, u64)>>;

fn open_queues(layout: &Layout, problems: &mut Problems<impl Write>) -> anyhow::Result<Queues> {
    let mut queues = Queues::new();
    for ((topic, id), queue) in queue::open_all(&layout.disk, &layout.paths.queue_dir)? {
        if let Err(error) = &queue {
            problems.say(format_args!("{topic}/{id}: can't be read: {error}"))?;
        }
        queues.insert((topic, id), queue.ok().map(|queue| (queue, 0)));
    }
    Ok(queues)
}

fn check_files(log: &Log, problems: &mut Problems<impl Write>) -> anyhow::Result<()> {
    for pair in log.segments.windows(2) {
        let [before, after] = pair else { continue };
        if before.end() != after.start {
            let (name, end) = (&after.name, before.end());
            problems.say(format_args!(
                "commitlog/{name} should begin at {end}, where the file before it ends"
            ))?;
        }
    }
    Ok(())
}

fn check_log(
    log: &Log,
    queues: &mut Queues,
    unclean: bool,
    seen: &mut Seen,
    problems: &mut Problems<impl Write>,
) -> anyhow::Result<()> {
    let mut walk = log.walk(log.min());
    while let Some(step) = walk.step()? {
        match step {
            Step::Record(found) => {
                seen.records += 1;
                seen.log_end = found.record.log_offset.0 + found.size as i64;
                check_entry(&found, queues, unclean, problems)?;
            }
            Step::Bad { at, until, error } => {
                problems.say(format_args!("log {at} to {until}: {error}"))?;
            }
            Step::End { at } => {
                seen.log_end = at;
                break;
            }
        }
    }
    Ok(())
}

/// A record has to have the entry of its queue that it names.
fn check_entry(
    found: &Decoded<'_>,
    queues: &mut Queues,
    unclean: bool,
    problems: &mut Problems<impl Write>,
) -> anyhow::Result<()> {
    let record = &found.record;
    let transaction = record.sys_flag & sys_flag::TRANSACTION;
    if transaction == sys_flag::TRANSACTION_PREPARED
        || transaction == sys_flag::TRANSACTION_ROLLBACK
    {
        return Ok(());
    }
    let (topic, id, at, offset) = (
        record.topic,
        record.queue_id,
        record.log_offset.0,
        record.queue_offset.0,
    );
    let (queue, matched) = match queues.get_mut(&(topic.to_owned(), id)) {
        Some(Some(queue)) => queue,
        None if !unclean => {
            problems.say(format_args!(
                "log {at}: its queue {topic}/{id} has no files"
            ))?;
            return Ok(());
        }
        Some(None) | None => return Ok(()),
    };
    let entry = match queue.entry(offset) {
        Ok(entry) => entry,
        Err(error) => {
            problems.say(format_args!(
                "log {at}: entry {topic}/{id}/{offset} can't be read: {error}"
            ))?;
            return Ok(());
        }
    };
    match entry {
        Some(entry) if entry == entry_of(found) || is_delayed(record, entry, found) => *matched += 1,
        Some(Entry { log_offset, size, tags_code }) => problems.say(format_args!(
            "log {at}: entry {topic}/{id}/{offset} says log {log_offset}, {size} bytes, tags code {tags_code}"
        ))?,
        None if unclean && offset >= queue.end => (),
        None => problems.say(format_args!("log {at}: {topic}/{id} has no entry {offset}"))?,
    }
    Ok(())
}

fn entry_of(found: &Decoded<'_>) -> Entry {
    let tags = properties::find(found.record.properties, properties::TAGS);
    Entry {
        log_offset: found.record.log_offset.0,
        size: found.size as i32,
        tags_code: tags.map_or(0, tags::tags_code),
    }
}

/// Delayed messages have the time of their delivery where others have their tag's hash.
fn is_delayed(record: &Record<'_>, entry: Entry, found: &Decoded<'_>) -> bool {
    let tags_code = entry.tags_code;
    record.topic == DELAY_TOPIC
        && entry
            == Entry {
                tags_code,
                ..entry_of(found)
            }
}

/// Entries that no record has asked for point to nothing.
fn check_queues(
    log: &Log,
    queues: &Queues,
    seen: &mut Seen,
    problems: &mut Problems<impl Write>,
) -> anyhow::Result<()> {
    for ((topic, id), queue) in queues {
        let Some((queue, matched)) = queue else {
            continue;
        };
        let mut live = 0;
        for entry in queue.entries() {
            match entry {
                Ok((_, entry)) => live += u64::from(entry.log_offset >= log.min()),
                Err(error) => problems.say(format_args!(
                    "{topic}/{id}: not all entries can be read: {error}"
                ))?,
            }
        }
        seen.entries += live;
        if live == *matched {
            continue;
        }
        for (offset, entry) in queue.entries().map_while(Result::ok) {
            let Entry {
                log_offset, size, ..
            } = entry;
            if log_offset < log.min() {
                continue;
            }
            match points_here(log, topic, *id, offset, entry) {
                Ok(true) => (),
                Ok(false) => problems.say(format_args!(
                    "{topic}/{id}/{offset}: no such record at log {log_offset}, {size} bytes"
                ))?,
                Err(error) => problems.say(format_args!(
                    "{topic}/{id}/{offset}: its record at log {log_offset} can't be read: {error}"
                ))?,
            }
        }
    }
    Ok(())
}

fn points_here(log: &Log, topic: &str, id: i32, offset: i64, entry: Entry) -> anyhow::Result<bool> {
    let bytes = log.read(entry.log_offset, usize::try_from(entry.size)?)?;
    Ok(Record::decode(&bytes, true).is_ok_and(|found| {
        let record = found.record;
        (record.topic, record.queue_id, record.queue_offset.0) == (topic, id, offset)
    }))
}

fn check_checkpoint(layout: &Layout, problems: &mut Problems<impl Write>) -> anyhow::Result<()> {
    match Checkpoint::read(&layout.disk, &layout.paths.checkpoint_path) {
        Ok(Some(_)) => (),
        Ok(None) => problems.say("checkpoint: missing or too short")?,
        Err(error) => problems.say(format_args!("checkpoint: can't be read: {error}"))?,
    }
    Ok(())
}

/// What brokers keep as JSON has to be JSON.
fn check_metadata(layout: &Layout, problems: &mut Problems<impl Write>) -> anyhow::Result<()> {
    let dir = layout.paths.root.join("config");
    if !layout.disk.exists(&dir) {
        return Ok(());
    }
    for entry in layout.disk.list(&dir)? {
        if entry.is_dir || !entry.name.ends_with(".json") {
            continue;
        }
        let name = entry.name;
        match layout.disk.read(&dir.join(&name)) {
            Ok(bytes) => {
                if let Err(error) = protocol::fastjson::from_slice::<serde_json::Value>(&bytes) {
                    problems.say(format_args!("config/{name}: {error}"))?;
                }
            }
            Err(error) => problems.say(format_args!("config/{name}: can't be read: {error}"))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
