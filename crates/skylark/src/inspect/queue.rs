//! Consume queues read from their files as they are.

use std::path::Path;

use store::disk::{Disk, File, Wait};

use super::log::start_of;

/// Bytes of an entry: log offset 8, size 4, tags code 8, big-endian.
pub(super) const ENTRY_BYTES: i64 = 20;
/// Size in entries that fill a queue up to where it begins.
const FILLER_SIZE: i32 = i32::MAX;
const READ_ENTRIES: usize = 4096;

/// One queue of a topic, as far as its files say.
pub(super) struct Queue {
    /// Its files, and the byte of the queue each begins at.
    files: Vec<(i64, i64, File)>,
    /// The first entry there is a file for.
    pub(super) first: i64,
    /// Behind the last entry.
    pub(super) end: i64,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) log_offset: i64,
    pub(super) size: i32,
    pub(super) tags_code: i64,
}

impl Entry {
    fn decode(bytes: &[u8]) -> Option<Entry> {
        let (log_offset, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        Some(Entry {
            log_offset: i64::from_be_bytes(*log_offset),
            size: i32::from_be_bytes(*size),
            tags_code: i64::from_be_bytes(*rest.first_chunk()?),
        })
    }

    fn is_written(&self) -> bool {
        self.size > 0
    }

    /// Points to no record: it stands before the first entry of a queue that lost its beginning.
    pub(super) fn is_filler(&self) -> bool {
        self.size == FILLER_SIZE
    }
}

/// A queue's topic and number, and the queue if it can be read.
type Opened = ((String, i32), anyhow::Result<Queue>);

/// All queues under a directory, by topic and number.
pub(super) fn open_all(disk: &Disk, dir: &Path) -> anyhow::Result<Vec<Opened>> {
    let mut queues = Vec::new();
    if !disk.exists(dir) {
        return Ok(queues);
    }
    for topic in disk.list(dir)?.into_iter().filter(|entry| entry.is_dir) {
        let topic_dir = dir.join(&topic.name);
        for queue in disk
            .list(&topic_dir)?
            .into_iter()
            .filter(|entry| entry.is_dir)
        {
            let Ok(id) = queue.name.parse() else { continue };
            let opened = Queue::open(disk, &topic_dir.join(&queue.name));
            queues.push(((topic.name.clone(), id), opened));
        }
    }
    queues.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(queues)
}

impl Queue {
    fn open(disk: &Disk, dir: &Path) -> anyhow::Result<Queue> {
        let mut files = Vec::new();
        for entry in disk.list(dir)? {
            let Some(start) = start_of(&entry.name) else {
                continue;
            };
            let file = disk.open_read(&dir.join(&entry.name))?;
            files.push((
                start,
                i64::try_from(entry.len)? / ENTRY_BYTES * ENTRY_BYTES,
                file,
            ));
        }
        let first = files.first().map_or(0, |(start, ..)| start / ENTRY_BYTES);
        let mut queue = Queue {
            files,
            first,
            end: first,
        };
        queue.end = queue.find_end()?;
        Ok(queue)
    }

    /// Entries are written in order: what follows the first that isn't is empty.
    fn find_end(&self) -> anyhow::Result<i64> {
        for (start, len, _) in self.files.iter().rev() {
            let (mut low, mut high) = (start / ENTRY_BYTES, (start + len) / ENTRY_BYTES);
            while low < high {
                let middle = low + (high - low) / 2;
                match self.entry(middle)? {
                    Some(_) => low = middle + 1,
                    None => high = middle,
                }
            }
            if low > start / ENTRY_BYTES {
                return Ok(low);
            }
        }
        Ok(self.first)
    }

    /// The entry of one message, if it is written.
    pub(super) fn entry(&self, queue_offset: i64) -> anyhow::Result<Option<Entry>> {
        Ok(self.read(queue_offset, 1)?.first().copied())
    }

    /// Entries from an offset on, up to `count` or the end of a file.
    fn read(&self, queue_offset: i64, count: usize) -> anyhow::Result<Vec<Entry>> {
        // An offset that was misread may be any number.
        let Some((at, (start, len, file))) = queue_offset.checked_mul(ENTRY_BYTES).and_then(|at| {
            let mut files = self.files.iter();
            Some((
                at,
                files.find(|(start, len, _)| (*start..start + len).contains(&at))?,
            ))
        }) else {
            return Ok(Vec::new());
        };
        let room = usize::try_from(start + len - at)?;
        let mut bytes = vec![0; room.min(count * ENTRY_BYTES as usize)];
        file.read_exact_at(&mut bytes, u64::try_from(at - start)?, Wait::ForDisk)?;
        let entries = bytes
            .chunks_exact(ENTRY_BYTES as usize)
            .filter_map(Entry::decode);
        Ok(entries.take_while(Entry::is_written).collect())
    }

    /// All entries with their queue offsets, fillers left out.
    pub(super) fn entries(&self) -> impl Iterator<Item = anyhow::Result<(i64, Entry)>> {
        let mut next = self.first;
        let mut block = Vec::new().into_iter();
        let mut all = std::iter::from_fn(move || {
            loop {
                if let Some(entry) = block.next() {
                    next += 1;
                    return Some(Ok((next - 1, entry)));
                }
                if next >= self.end {
                    return None;
                }
                match self.read(next, READ_ENTRIES) {
                    Ok(entries) if entries.is_empty() => return None,
                    Ok(entries) => block = entries.into_iter(),
                    Err(error) => {
                        next = self.end;
                        return Some(Err(error));
                    }
                }
            }
        });
        std::iter::from_fn(move || {
            all.find(|entry| {
                !entry
                    .as_ref()
                    .is_ok_and(|(_, entry): &(i64, Entry)| entry.is_filler())
            })
        })
    }
}
