//! The index: each entry has to point to a record with a key of that hash.

use std::io::Write;

use protocol::record::Outline;
use protocol::{properties, tags};
use store::disk::Wait;

use super::{Layout, Log, Problems, Seen};

/// Header: ... 36: number of the next entry, from 1. Then slots of 4 bytes, then entries: hash 4, log offset 8, ... of 20.
const HEADER_BYTES: u64 = 40;
const NEXT_AT: u64 = 36;
const SLOT_BYTES: u64 = 4;
const ENTRY_BYTES: u64 = 20;
/// Enough of a record to know its size.
const SIZE_BYTES: usize = 4;

pub(super) fn check(
    layout: &Layout,
    log: &Log,
    seen: &mut Seen,
    problems: &mut Problems<impl Write>,
) -> anyhow::Result<()> {
    let dir = &layout.paths.index_dir;
    if !layout.disk.exists(dir) {
        return Ok(());
    }
    let slots = u64::from(layout.paths.index_slots);
    let whole =
        HEADER_BYTES + slots * SLOT_BYTES + u64::from(layout.paths.index_entries_max) * ENTRY_BYTES;
    for file in layout.disk.list(dir)? {
        let name = &file.name;
        if file.len != whole {
            problems.say(format_args!(
                "index/{name}: {} bytes, expected {whole}; not checked",
                file.len
            ))?;
            continue;
        }
        let next = layout.disk.open_read(&dir.join(name)).and_then(|open| {
            let mut next = [0; 4];
            open.read_exact_at(&mut next, NEXT_AT, Wait::ForDisk)?;
            Ok((open, u32::from_be_bytes(next)))
        });
        let (open, next) = match next {
            Ok((_, next)) if next > layout.paths.index_entries_max => {
                let max = layout.paths.index_entries_max;
                problems.say(format_args!(
                    "index/{name}: its next entry is {next}, it has room for {max}; not checked"
                ))?;
                continue;
            }
            Ok(next) => next,
            Err(error) => {
                problems.say(format_args!("index/{name}: can't be read: {error}"))?;
                continue;
            }
        };
        for number in 1..u64::from(next) {
            let mut entry = [0; ENTRY_BYTES as usize];
            let place = HEADER_BYTES + slots * SLOT_BYTES + number * ENTRY_BYTES;
            if let Err(error) = open.read_exact_at(&mut entry, place, Wait::ForDisk) {
                problems.say(format_args!(
                    "index/{name}: can't be read from entry {number} on: {error}"
                ))?;
                break;
            }
            let [h0, h1, h2, h3, o0, o1, o2, o3, o4, o5, o6, o7, ..] = entry;
            let hash = i32::from_be_bytes([h0, h1, h2, h3]);
            let at = i64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
            seen.index_entries += 1;
            if at < log.min() {
                continue;
            }
            match has_key(log, at, hash) {
                Ok(true) => (),
                Ok(false) => problems.say(format_args!(
                    "index/{name}: entry {number} points to log {at}, no record with such a key"
                ))?,
                Err(error) => problems.say(format_args!(
                    "index/{name}: entry {number} points to log {at}, which can't be read: {error}"
                ))?,
            }
        }
    }
    Ok(())
}

fn has_key(log: &Log, at: i64, hash: i32) -> anyhow::Result<bool> {
    let Some(size) = log
        .read(at, SIZE_BYTES)?
        .first_chunk()
        .map(|size| i32::from_be_bytes(*size))
    else {
        return Ok(false);
    };
    let bytes = log.read(at, usize::try_from(size).unwrap_or(0))?;
    let Ok(record) = Outline::decode(&bytes) else {
        return Ok(false);
    };
    let unique = properties::find(record.properties, properties::UNIQ_KEY).into_iter();
    let keys = properties::find(record.properties, properties::KEYS).into_iter();
    let mut all = unique.chain(keys.flat_map(properties::keys));
    Ok(all.any(|key| key_hash(&format!("{}#{key}", record.topic)) == hash))
}

/// Java's absolute hash; of the one number that has no positive counterpart, 0.
fn key_hash(key: &str) -> i32 {
    tags::java_hash(key).checked_abs().unwrap_or(0)
}
