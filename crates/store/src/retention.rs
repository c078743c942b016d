//! Retention: which old files of the log go, and whether the disk is too full to write.
//!
//! | what | when | which files |
//! |---|---|---|
//! | by time | in the hours of `deleteWhen` | expired ones |
//! | on request | when asked | expired ones |
//! | short of space | above `diskMaxUsedSpaceRatio`, or if the ratio is not known | expired ones |
//! | forced | above `diskSpaceCleanForciblyRatio`, with `cleanFileForciblyEnable` | the oldest |
//! | full | above `diskSpaceWarningLevelRatio`: nothing is stored until the ratio is back under the one before | the oldest |
//!
//! Expired: the last record is older than `fileReservedTime`. Never the file being written, at most
//! `deleteFileBatchMax` at once. What consumers have read plays no part, as with Apache.

use std::sync::atomic::Ordering;
use std::{fmt, io};

use crate::Store;
use crate::local_time::LocalTime;

#[cfg(test)]
mod tests;

const HOUR_MS: i64 = 3_600_000;

/// How long and how much is kept. Ratios are in percent of the file system; out of Apache's bounds,
/// the nearest bound counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `fileReservedTime`.
    pub file_reserved_hours: u32,
    /// `deleteWhen`: hours of the day, local time.
    pub delete_when: Vec<u8>,
    /// `diskMaxUsedSpaceRatio`, 10 to 95.
    pub disk_max_used_ratio: u32,
    /// `diskSpaceCleanForciblyRatio`, 30 to 85.
    pub disk_clean_forcibly_ratio: u32,
    /// `diskSpaceWarningLevelRatio`, 35 to 90.
    pub disk_warning_ratio: u32,
    /// `cleanFileForciblyEnable`.
    pub clean_file_forcibly: bool,
    /// `deleteFileBatchMax`.
    pub delete_file_batch_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            file_reserved_hours: 72,
            delete_when: vec![4],
            disk_max_used_ratio: 75,
            disk_clean_forcibly_ratio: 85,
            disk_warning_ratio: 90,
            clean_file_forcibly: true,
            delete_file_batch_max: 10,
        }
    }
}

/// Reads `deleteWhen`: hours from 0 to 23, separated by `;`. `None` if it is anything else.
pub fn hours(text: &str) -> Option<Vec<u8>> {
    let hours = text
        .split(';')
        .map(str::trim)
        .filter(|hour| !hour.is_empty());
    let hours: Option<Vec<u8>> = hours
        .map(|hour| hour.parse().ok().filter(|hour| *hour < 24))
        .collect();
    hours.filter(|hours| !hours.is_empty())
}

impl Limits {
    fn warning(&self) -> u32 {
        self.disk_warning_ratio.clamp(35, 90)
    }

    fn forcibly(&self) -> u32 {
        self.disk_clean_forcibly_ratio.clamp(30, 85)
    }

    fn max_used(&self) -> u32 {
        self.disk_max_used_ratio.clamp(10, 95)
    }

    /// Up to here nothing is done about the disk's use.
    pub(crate) fn least(&self) -> u32 {
        self.max_used().min(self.forcibly()).min(self.warning())
    }
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// How long and how much is kept.
    pub limits: &'a Limits,
    /// Now.
    pub now: LocalTime,
    /// Somebody asked for it (request code 329).
    pub asked: bool,
    /// Percent in use where the log is; `None`: not known.
    pub log_used: Option<u32>,
    /// Percent in use where the queues are.
    pub queues_used: Option<u32>,
    /// What [`Plan::full`] was the last time.
    pub full: bool,
    /// Store time (ms) of the last record of each file but the newest, oldest first, where known.
    pub last_ms: &'a [Option<i64>],
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// So many of the oldest files go.
    pub delete: usize,
    /// Nothing may be stored.
    pub full: bool,
    /// Why files go, or would if any had expired.
    pub why: Option<Why>,
}

/// Why old files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the hour.
    Hour,
    /// Somebody asked for it.
    Asked,
    /// So many percent of the disk are in use (`None`: not known): expired files go.
    Space(Option<u32>),
    /// So many percent are in use: the oldest files go, expired or not.
    Forced(u32),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Hour => f.write_str("it is the hour of deleteWhen"),
            Why::Asked => f.write_str("asked to"),
            Why::Space(Some(used)) => write!(f, "{used}% of the disk are in use"),
            Why::Space(None) => f.write_str("it is not known how full the disk is"),
            Why::Forced(used) => write!(f, "{used}% of the disk are in use, too much to wait"),
        }
    }
}

/// What [`Store::clean`] did and saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Log files removed.
    pub log_files: usize,
    /// Consume queue files removed.
    pub queue_files: usize,
    /// Index files removed.
    pub index_files: usize,
    /// Appends are refused until there is room.
    pub full: bool,
    /// Percent of the disk in use before messages were deleted, the log's or the queues', whichever is fuller.
    pub used: Option<u32>,
}

impl Store {
    /// Removes what has expired, and refuses appends while the disk is too full. To be called
    /// every 10 s (`cleanResourceInterval`). `asked`: somebody wants it now (request code 329).
    pub fn clean(&self, now: LocalTime, asked: bool) -> io::Result<Cleaned> {
        let limits = &self.config.retention;
        let used_in = |dir| {
            self.disk
                .space(dir)
                .ok()
                .and_then(|space| space.used_percent())
        };
        let used = || [&self.config.commit_log_dir, &self.config.queue_dir].map(|dir| used_in(dir));
        let was_full = self.disk_full.load(Ordering::Relaxed);
        // One more than can go: where the age of the last one is not known, the next one tells.
        let last_ms = self.log_file_ages(limits.delete_file_batch_max.saturating_add(1));
        let [log_used, queues_used] = used();
        let mut inputs = Inputs {
            limits,
            now,
            asked,
            log_used,
            queues_used,
            full: was_full,
            last_ms: &last_ms,
        };
        let mut plan = decide(&inputs);
        // Files that nobody has used go before those that somebody may want to read.
        if matches!(plan.why, Some(Why::Forced(_))) && self.remove_made_ahead()? > 0 {
            [inputs.log_used, inputs.queues_used] = used();
            plan = decide(&inputs);
        }
        let mut cleaned = Cleaned {
            full: plan.full,
            used: inputs.log_used.max(inputs.queues_used),
            ..Cleaned::default()
        };
        let used = cleaned.used.unwrap_or(0);
        if plan.full != was_full {
            self.refuse_appends(plan.full);
            match plan.full {
                true => tracing::error!(
                    used,
                    "disk too full, messages are refused until there is room"
                ),
                false => tracing::info!(used, "disk has room, messages are taken again"),
            }
        }
        if let Some(why) = plan.why.filter(|_| plan.delete > 0) {
            let expired = self.expire(plan.delete)?;
            cleaned.log_files = expired.log_files;
            cleaned.queue_files = expired.queue_files;
            cleaned.index_files = expired.index_files;
            let (files, log_min) = (expired.log_files, self.log_min().0);
            match why {
                // Nobody knows whether it has been consumed.
                Why::Forced(_) => tracing::warn!(files, log_min, "old messages deleted: {why}"),
                _ => tracing::info!(files, log_min, "expired messages deleted: {why}"),
            }
        } else if plan.full {
            tracing::warn!(used, "disk too full, and no log file that could be deleted");
        }
        Ok(cleaned)
    }
}

/// What to delete, and whether the disk is full. Apache's rules (`CleanCommitLogService`).
pub fn decide(inputs: &Inputs<'_>) -> Plan {
    let limits = inputs.limits;
    let (space, full) = space(inputs);
    let hour = limits
        .delete_when
        .contains(&inputs.now.hour())
        .then_some(Why::Hour);
    let why = space.or(inputs.asked.then_some(Why::Asked)).or(hour);
    let delete = match why {
        None => 0,
        Some(Why::Forced(_)) if limits.clean_file_forcibly => inputs.last_ms.len(),
        Some(_) => expired(inputs),
    };
    Plan {
        delete: delete.min(limits.delete_file_batch_max),
        full,
        why,
    }
}

/// Whether files have to go for want of space, and whether nothing may be stored. The fuller of the
/// two disks counts. (5.3.3 forgets that the log's disk was full as soon as it looks at the queues'.)
fn space(inputs: &Inputs<'_>) -> (Option<Why>, bool) {
    let limits = inputs.limits;
    let disks = [inputs.log_used, inputs.queues_used];
    let used = disks.into_iter().flatten().max().unwrap_or(0);
    if used > limits.forcibly() || used > limits.warning() {
        // Between the two it stays as it was: full until there is room again, and no back and forth.
        return (
            Some(Why::Forced(used)),
            used > limits.warning() || inputs.full,
        );
    }
    let why = if used > limits.max_used() {
        Some(Why::Space(Some(used)))
    } else {
        disks.contains(&None).then_some(Why::Space(None))
    };
    (why, false)
}

/// How many of the oldest files have expired.
fn expired(inputs: &Inputs<'_>) -> usize {
    let reserved = i64::from(inputs.limits.file_reserved_hours) * HOUR_MS;
    let limit = inputs.now.epoch_ms.saturating_sub(reserved);
    // Records are in order of time: where a file's is not known, the next one's is a bound.
    let mut known = i64::MAX;
    let mut count = 0;
    for (at, last_ms) in inputs.last_ms.iter().enumerate().rev() {
        known = last_ms.unwrap_or(known);
        if known <= limit && count == 0 {
            count = at + 1;
        } else if known > limit {
            count = 0;
        }
    }
    count
}
