//! A simulated file's bytes: what is visible, what is durable, and each sector's versions between.

use std::collections::{BTreeMap, BTreeSet};

use super::Random;
use crate::disk::Stamp;

const PAGE: u64 = 4096;
const SECTOR: usize = super::SECTOR as usize;

/// Older versions of a page's sectors, or lengths of a file, are forgotten beyond this.
const VERSIONS_MAX: usize = 64;

type Bytes = Box<[u8; PAGE as usize]>;

/// Sparse: pages never written take no memory.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) id: u64,
    len: u64,
    durable_len: u64,
    /// Lengths since the last sync, oldest first, `len` last.
    lens: Vec<u64>,
    /// Bytes from the start whose blocks are reserved.
    reserved: u64,
    pages: BTreeMap<u64, Page>,
    dirty: BTreeSet<u64>,
    changes: i64,
}

#[derive(Clone, Debug, Default)]
struct Page {
    /// `None` is zeros.
    durable: Option<Bytes>,
    /// `None` is as durable.
    visible: Option<Bytes>,
    /// Since the last sync, oldest first: sector number within the page and its content.
    versions: Vec<(usize, [u8; SECTOR])>,
}

impl Content {
    pub(super) fn new(id: u64) -> Content {
        Content {
            id,
            len: 0,
            durable_len: 0,
            lens: Vec::new(),
            reserved: 0,
            pages: BTreeMap::new(),
            dirty: BTreeSet::new(),
            changes: 0,
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            number: self.id << 1 | 1,
            changed: self.changes,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of disk in use.
    pub(super) fn used(&self) -> u64 {
        let reserved = self.reserved.div_ceil(PAGE);
        (reserved + self.pages.range(reserved..).count() as u64) * PAGE
    }

    /// Bytes of disk that `len` bytes at `pos` would take more than now.
    pub(super) fn growth(&self, len: u64, pos: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let first = (pos / PAGE).max(self.reserved.div_ceil(PAGE));
        let end = (pos + len).div_ceil(PAGE);
        if first >= end {
            return 0;
        }
        (end - first - self.pages.range(first..end).count() as u64) * PAGE
    }

    pub(super) fn read(&self, buf: &mut [u8], pos: u64) -> usize {
        let count = self.len.saturating_sub(pos).min(buf.len() as u64) as usize;
        for (page, within, part) in parts(pos, count) {
            let buf = &mut buf[part];
            match self.pages.get(&page).and_then(Page::current) {
                Some(bytes) => buf.copy_from_slice(&bytes[within..within + buf.len()]),
                None => buf.fill(0),
            }
        }
        count
    }

    pub(super) fn data_from(&self, pos: u64) -> Option<u64> {
        let page = *self.pages.range(pos / PAGE..).next()?.0;
        let found = pos.max(page * PAGE);
        (found < self.len).then_some(found)
    }

    pub(super) fn data_end(&self) -> u64 {
        let last = self.pages.last_key_value();
        last.map_or(0, |(page, _)| ((page + 1) * PAGE).min(self.len))
    }

    pub(super) fn write(&mut self, bytes: &[u8], pos: u64) {
        self.changes += 1;
        for (page, within, part) in parts(pos, bytes.len()) {
            let bytes = &bytes[part];
            self.pages.entry(page).or_default().change(
                within,
                |page| page[..bytes.len()].copy_from_slice(bytes),
                bytes.len(),
            );
            self.dirty.insert(page);
        }
        if !bytes.is_empty() && pos + bytes.len() as u64 > self.len {
            self.change_len(pos + bytes.len() as u64);
        }
    }

    pub(super) fn allocate(&mut self, len: u64) {
        self.changes += 1;
        self.reserved = self.reserved.max(len);
        if len > self.len {
            self.change_len(len);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.changes += 1;
        if len < self.len {
            self.reserved = self.reserved.min(len);
            // The cut bytes become zeros that are written like any others, so that they may come
            // back after a crash until the cut is synced.
            for (&page, content) in self.pages.range_mut(len / PAGE..) {
                let from = len.saturating_sub(page * PAGE) as usize;
                if content
                    .current()
                    .is_some_and(|bytes| bytes[from..].iter().any(|byte| *byte != 0))
                {
                    content.change(from, |page| page.fill(0), PAGE as usize - from);
                    self.dirty.insert(page);
                }
            }
        }
        if len != self.len {
            self.change_len(len);
        }
    }

    fn change_len(&mut self, len: u64) {
        self.len = len;
        push_bounded(&mut self.lens, len);
    }

    pub(super) fn sync(&mut self) {
        for page in std::mem::take(&mut self.dirty) {
            let Some(content) = self.pages.get_mut(&page) else {
                continue;
            };
            content.durable = content.visible.take().or(content.durable.take());
            content.versions.clear();
            if page * PAGE >= self.len {
                self.pages.remove(&page);
            }
        }
        self.durable_len = self.len;
        self.lens.clear();
    }

    /// As Linux does it: what could not be written is clean afterwards, still visible, and lost.
    pub(super) fn sync_failed(&mut self, random: &mut Random) {
        let keep = random.keep();
        for page in std::mem::take(&mut self.dirty) {
            let Some(content) = self.pages.get_mut(&page) else {
                continue;
            };
            let visible = content.current().cloned();
            content.crash(keep, random);
            content.visible = visible;
        }
        self.durable_len = self.crash_len(keep, random);
        self.lens.clear();
    }

    /// What a power cut leaves, each unsynced sector kept with `keep` quarters.
    pub(super) fn crash(&self, keep: u64, random: &mut Random) -> Content {
        let mut left = self.clone();
        for page in left.pages.values_mut() {
            page.crash(keep, random);
        }
        left.dirty.clear();
        left.lens.clear();
        left.len = self.crash_len(keep, random);
        left.durable_len = left.len;
        left.reserved = self.reserved.min(left.len);
        // Bytes beyond the end can't come back.
        let len = left.len;
        left.pages.retain(|page, _| page * PAGE < len);
        if let Some(mut last) = left.pages.last_entry() {
            let from = len.saturating_sub(last.key() * PAGE).min(PAGE) as usize;
            if let Some(bytes) = &mut last.get_mut().durable {
                bytes[from..].fill(0);
            }
        }
        left
    }

    fn crash_len(&self, keep: u64, random: &mut Random) -> u64 {
        if self.lens.is_empty() || !random.kept(keep) {
            return self.durable_len;
        }
        self.lens[random.below(self.lens.len() as u64) as usize]
    }
}

impl Page {
    fn current(&self) -> Option<&Bytes> {
        self.visible.as_ref().or(self.durable.as_ref())
    }

    fn change(&mut self, within: usize, edit: impl FnOnce(&mut [u8]), len: usize) {
        let visible = self.visible.get_or_insert_with(|| {
            self.durable
                .clone()
                .unwrap_or_else(|| Box::new([0; PAGE as usize]))
        });
        edit(&mut visible[within..]);
        for sector in within / SECTOR..(within + len).div_ceil(SECTOR) {
            let mut bytes = [0; SECTOR];
            bytes.copy_from_slice(&visible[sector * SECTOR..(sector + 1) * SECTOR]);
            push_bounded(&mut self.versions, (sector, bytes));
        }
    }

    /// Settles for each changed sector on one of its versions or the durable one.
    fn crash(&mut self, keep: u64, random: &mut Random) {
        self.visible = None;
        for sector in 0..PAGE as usize / SECTOR {
            let versions = self.versions.iter().filter(|(of, _)| *of == sector);
            let count = versions.clone().count();
            if count == 0 || !random.kept(keep) {
                continue;
            }
            // Most often the last: the others show only when the disk wrote in between.
            let choice = if random.kept(3) {
                count - 1
            } else {
                random.below(count as u64) as usize
            };
            if let Some((_, bytes)) = versions.clone().nth(choice) {
                let durable = self
                    .durable
                    .get_or_insert_with(|| Box::new([0; PAGE as usize]));
                durable[sector * SECTOR..(sector + 1) * SECTOR].copy_from_slice(bytes);
            }
        }
        self.versions.clear();
    }
}

/// The pages that `count` bytes at `pos` touch: page number, position in it, range of the bytes.
fn parts(pos: u64, count: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done >= count {
            return None;
        }
        let at = pos + done as u64;
        let within = (at % PAGE) as usize;
        let end = count.min(done + PAGE as usize - within);
        let part = done..end;
        done = end;
        Some((at / PAGE, within, part))
    })
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() == VERSIONS_MAX {
        list.remove(0);
    }
    list.push(item);
}
