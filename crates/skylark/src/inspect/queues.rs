//! `skylark store queues`: the consume queues, how many messages each has and where in the log they are.

use std::io::Write;

use super::Layout;
use super::log::Log;
use super::queue;

pub(super) fn list(layout: &Layout, mut out: impl Write) -> anyhow::Result<()> {
    let log = Log::open(&layout.disk, &layout.paths.commit_log_dir)?;
    let columns = [
        "queue",
        "min offset",
        "max offset",
        "messages",
        "log offset of min",
        "of max - 1",
    ];
    let [queue, min, max, messages, first, last] = columns;
    writeln!(
        out,
        "{queue:<40} {min:>12} {max:>12} {messages:>12} {first:>18} {last:>18}"
    )?;
    for ((topic, id), queue) in queue::open_all(&layout.disk, &layout.paths.queue_dir)? {
        let name = format!("{topic}/{id}");
        let queue = match queue {
            Ok(queue) => queue,
            Err(error) => {
                writeln!(out, "{name:<40} can't be read: {error}")?;
                continue;
            }
        };
        // Entries outlive their records until their file is deleted.
        let mut live = queue.entries().skip_while(|entry| {
            entry
                .as_ref()
                .is_ok_and(|(_, entry)| entry.log_offset < log.min())
        });
        let end = queue.end;
        let Some((min, first)) = live.next().transpose()? else {
            writeln!(out, "{name:<40} {end:>12} {end:>12} {:>12}", 0)?;
            continue;
        };
        let last = queue.entry(end - 1)?.map_or(0, |entry| entry.log_offset);
        let (messages, first) = (end - min, first.log_offset);
        writeln!(
            out,
            "{name:<40} {min:>12} {end:>12} {messages:>12} {first:>18} {last:>18}"
        )?;
    }
    Ok(out.flush()?)
}
