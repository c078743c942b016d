//! `skylark store files`: every file of the directory and what it holds.

use std::io::Write;
use std::path::Path;

use store::checkpoint::Checkpoint;

use super::Layout;
use super::log::{Log, Step, start_of};
use super::queue::ENTRY_BYTES;
use super::time::Utc;

pub(super) fn list(layout: &Layout, mut out: impl Write) -> anyhow::Result<()> {
    let log = Log::open(&layout.disk, &layout.paths.commit_log_dir)?;
    let in_use = layout.is_in_use()?;
    walk(layout, &layout.paths.root.clone(), &mut |path, len| {
        let name = path.strip_prefix(&layout.paths.root).unwrap_or(path);
        let what = describe(layout, &log, path, len, in_use)?;
        writeln!(out, "{len:>14}  {:<56}  {what}", name.display())?;
        Ok(())
    })?;
    Ok(out.flush()?)
}

/// Shows all files below `dir` to `each`, with their lengths.
fn walk(
    layout: &Layout,
    dir: &Path,
    each: &mut impl FnMut(&Path, u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for entry in layout.disk.list(dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            walk(layout, &path, each)?;
        } else {
            each(&path, entry.len)?;
        }
    }
    Ok(())
}

fn describe(
    layout: &Layout,
    log: &Log,
    path: &Path,
    len: u64,
    in_use: bool,
) -> anyhow::Result<String> {
    let paths = &layout.paths;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let start = start_of(&name);
    Ok(if path == paths.checkpoint_path {
        describe_checkpoint(layout)?
    } else if path == paths.abort_path {
        let reason = if in_use {
            "a broker is running"
        } else {
            "not closed: the next start recovers"
        };
        reason.to_owned()
    } else if path == paths.root.join("lock") {
        if in_use { "held by a broker" } else { "free" }.to_owned()
    } else if let (true, Some(start)) = (path.starts_with(&paths.commit_log_dir), start) {
        let first = match log.walk(start).step()? {
            Some(Step::Record(found)) => {
                format!(", first record of {}", Utc(found.record.store_timestamp))
            }
            Some(Step::Bad { error, .. }) => format!(", {error}"),
            Some(Step::End { .. }) | None => ", empty".to_owned(),
        };
        format!("log from {start}{first}")
    } else if let (true, Some(start)) = (path.starts_with(&paths.queue_dir), start) {
        format!(
            "entries {} to {}",
            start / ENTRY_BYTES,
            (start + i64::try_from(len)?) / ENTRY_BYTES - 1
        )
    } else if path.starts_with(&paths.index_dir) {
        "hash index".to_owned()
    } else {
        String::new()
    })
}

fn describe_checkpoint(layout: &Layout) -> anyhow::Result<String> {
    let Some(checkpoint) = Checkpoint::read(&layout.disk, &layout.paths.checkpoint_path)? else {
        return Ok("checkpoint, empty".to_owned());
    };
    let Checkpoint {
        physic_ms,
        logics_ms,
        index_ms,
        extra,
        ..
    } = checkpoint;
    let written = match extra {
        Some(extra) => format!(", log durable to {}", extra.log_durable.0),
        None => String::new(),
    };
    let [log, queues, index] = [physic_ms, logics_ms, index_ms].map(Utc);
    Ok(format!(
        "flushed: log {log}, queues {queues}, index {index}{written}"
    ))
}
