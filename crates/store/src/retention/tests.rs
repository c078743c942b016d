//! Tests of retention: tables of what Apache decides.

use super::*;

const HOUR: i64 = HOUR_MS;
/// 12:30 at UTC.
const NOW: i64 = 20_000 * 24 * HOUR + 12 * HOUR + HOUR / 2;

fn at(hours: i64) -> LocalTime {
    LocalTime {
        epoch_ms: NOW + hours * HOUR,
        utc_offset_s: 0,
    }
}

/// Last records so many hours ago.
fn ages(hours: &[i64]) -> Vec<Option<i64>> {
    hours.iter().map(|hours| Some(NOW - hours * HOUR)).collect()
}

fn inputs<'a>(limits: &'a Limits, last_ms: &'a [Option<i64>]) -> Inputs<'a> {
    Inputs {
        limits,
        now: at(0),
        asked: false,
        log_used: Some(0),
        queues_used: Some(0),
        full: false,
        last_ms,
    }
}

#[test]
fn by_time() {
    let last_ms = ages(&[100, 73, 72, 71, 1]);
    let on = |delete_when: &[u8]| Limits {
        delete_when: delete_when.to_vec(),
        ..Limits::default()
    };
    for (limits, now, expected) in [
        (on(&[4]), at(0), (0, None)),
        (on(&[12]), at(0), (3, Some(Why::Hour))),
        (on(&[4, 12]), at(0), (3, Some(Why::Hour))),
        (on(&[12]), at(1), (0, None)),
        (on(&[]), at(0), (0, None)),
        // The hour is that of the clock on the wall.
        (
            on(&[20]),
            LocalTime {
                utc_offset_s: 8 * 3600,
                ..at(0)
            },
            (3, Some(Why::Hour)),
        ),
        (
            on(&[12]),
            LocalTime {
                utc_offset_s: 8 * 3600,
                ..at(0)
            },
            (0, None),
        ),
        // A clock that went back deletes nothing.
        (on(&[12]), at(-24), (1, Some(Why::Hour))),
        (on(&[12]), at(-240), (0, Some(Why::Hour))),
        (
            Limits {
                file_reserved_hours: 0,
                ..on(&[12])
            },
            at(0),
            (5, Some(Why::Hour)),
        ),
        (
            Limits {
                file_reserved_hours: 73,
                ..on(&[12])
            },
            at(0),
            (2, Some(Why::Hour)),
        ),
        (
            Limits {
                delete_file_batch_max: 2,
                ..on(&[12])
            },
            at(0),
            (2, Some(Why::Hour)),
        ),
    ] {
        let plan = decide(&Inputs {
            now,
            ..inputs(&limits, &last_ms)
        });
        assert_eq!((plan.delete, plan.why), expected, "{limits:?} {now:?}");
    }
}

#[test]
fn by_space() {
    use Why::{Forced, Space};
    let limits = Limits::default();
    let last_ms = ages(&[100, 73, 50, 1]);
    // Percent in use by log and queues, full before; files to delete, full, why.
    for (log, queues, was_full, delete, full, why) in [
        (Some(75), Some(75), false, 0, false, None),
        (Some(76), Some(20), false, 2, false, Some(Space(Some(76)))),
        (Some(20), Some(76), false, 2, false, Some(Space(Some(76)))),
        (None, Some(20), false, 2, false, Some(Space(None))),
        (Some(20), None, false, 2, false, Some(Space(None))),
        (None, Some(91), false, 4, true, Some(Forced(91))),
        (Some(85), Some(20), true, 2, false, Some(Space(Some(85)))),
        (Some(86), Some(20), false, 4, false, Some(Forced(86))),
        (Some(86), Some(20), true, 4, true, Some(Forced(86))),
        (Some(90), Some(20), false, 4, false, Some(Forced(90))),
        (Some(91), Some(20), false, 4, true, Some(Forced(91))),
        (Some(20), Some(86), true, 4, true, Some(Forced(86))),
        (Some(20), Some(91), false, 4, true, Some(Forced(91))),
        (Some(86), Some(91), false, 4, true, Some(Forced(91))),
    ] {
        let inputs = Inputs {
            log_used: log,
            queues_used: queues,
            full: was_full,
            ..inputs(&limits, &last_ms)
        };
        let expected = Plan { delete, full, why };
        assert_eq!(decide(&inputs), expected, "{log:?} {queues:?} {was_full}");
    }
}

#[test]
fn ratios_have_bounds() {
    let last_ms = ages(&[100, 1]);
    let ratios = |max, forcibly, warning| Limits {
        disk_max_used_ratio: max,
        disk_clean_forcibly_ratio: forcibly,
        disk_warning_ratio: warning,
        ..Limits::default()
    };
    for (limits, used, delete, full) in [
        (ratios(0, 85, 90), 10, 0, false),
        (ratios(0, 85, 90), 11, 1, false),
        (ratios(75, 0, 90), 30, 0, false),
        (ratios(75, 0, 90), 31, 2, false),
        (ratios(75, 99, 90), 86, 2, false),
        (ratios(100, 99, 99), 90, 2, false),
        (ratios(100, 99, 99), 91, 2, true),
        (ratios(75, 85, 0), 35, 0, false),
        (ratios(75, 85, 0), 36, 2, true),
        (
            Limits {
                clean_file_forcibly: false,
                ..Limits::default()
            },
            86,
            1,
            false,
        ),
        (
            Limits {
                clean_file_forcibly: false,
                ..Limits::default()
            },
            91,
            1,
            true,
        ),
        (
            Limits {
                delete_file_batch_max: 1,
                ..Limits::default()
            },
            91,
            1,
            true,
        ),
    ] {
        let plan = decide(&Inputs {
            log_used: Some(used),
            ..inputs(&limits, &last_ms)
        });
        assert_eq!(
            (plan.delete, plan.full),
            (delete, full),
            "{limits:?} {used}"
        );
    }
}

#[test]
fn which_files() {
    let limits = Limits::default();
    let old = Some(NOW - 100 * HOUR);
    let new = Some(NOW - HOUR);
    for (last_ms, delete) in [
        (vec![], 0),
        (vec![new], 0),
        (vec![old], 1),
        (vec![old, new, old], 1),
        (vec![new, old, old], 0),
        (vec![None, old], 2),
        (vec![None, new], 0),
        (vec![old, None, new], 1),
        (vec![old, None], 1),
        (vec![None], 0),
    ] {
        let plan = decide(&Inputs {
            asked: true,
            ..inputs(&limits, &last_ms)
        });
        assert_eq!(
            (plan.delete, plan.why),
            (delete, Some(Why::Asked)),
            "{last_ms:?}"
        );
    }
    let many = vec![old; 25];
    assert_eq!(
        decide(&Inputs {
            asked: true,
            ..inputs(&limits, &many)
        })
        .delete,
        10
    );
}

#[test]
fn reads_delete_when() {
    for (text, expected) in [
        ("04", Some(vec![4])),
        ("02;14", Some(vec![2, 14])),
        (" 4 ; 23;", Some(vec![4, 23])),
        ("", None),
        (";", None),
        ("24", None),
        ("4,5", None),
        ("-1", None),
    ] {
        assert_eq!(hours(text), expected, "{text:?}");
    }
}

/// A store of four log files, the third with its last record at 1,100 h.
mod on_a_store {
    use super::*;
    use crate::Store;
    use crate::disk::SimDisk;
    use crate::testing::{LOG_FILE_BYTES, Message, append, bodies, config, open, try_append};

    fn filled(disk: &std::sync::Arc<SimDisk>) -> Store {
        let store = open(disk, config());
        for hour in 1..=35_i64 {
            let body = vec![hour as u8; 300];
            append(&store, &[Message::new("T", 0, body)], (hour + 1065) * HOUR);
        }
        store.flush().unwrap();
        store.flush_queues(1100 * HOUR).unwrap();
        let now = LocalTime {
            epoch_ms: 0,
            utc_offset_s: 0,
        };
        while store.build_index(now).unwrap() {}
        store
    }

    /// Half past an hour of the first day after `hours` hours.
    fn after(hours: i64, hour: i64) -> LocalTime {
        let midnight = hours - hours % 24 + if hour < hours % 24 { 24 } else { 0 };
        LocalTime {
            epoch_ms: (midnight + hour) * HOUR + HOUR / 2,
            utc_offset_s: 0,
        }
    }

    #[test]
    fn expired_files_go_at_the_hour() {
        let store = filled(&SimDisk::new(1));
        let all = bodies(&store, "T", 0);
        assert_eq!(store.log_file_ages(9).len(), 3);
        assert_eq!(
            store.clean(after(1200, 3), false).unwrap(),
            Cleaned {
                used: Some(1),
                ..Cleaned::default()
            }
        );
        let first = store.log_file_ages(9)[0].unwrap() / HOUR;
        let cleaned = store.clean(after(first + 72, 4), false).unwrap();
        assert!((1..3).contains(&cleaned.log_files), "{cleaned:?}");
        assert_eq!(
            store.log_min().0,
            cleaned.log_files as i64 * LOG_FILE_BYTES as i64
        );
        let cleaned = store.clean(after(2000, 3), true).unwrap();
        assert!(cleaned.log_files > 0, "asked to: {cleaned:?}");
        assert_eq!(store.log_file_ages(9).len(), 0);
        let left = bodies(&store, "T", 0);
        assert!(!left.is_empty());
        assert_eq!(left, all[all.len() - left.len()..]);
    }

    #[test]
    fn a_full_disk_refuses_until_there_is_room() {
        let disk = SimDisk::new(1);
        let store = filled(&disk);
        let now = after(1100, 12);
        let more = [Message::new("T", 0, "x")];
        assert!(!store.clean(now, false).unwrap().full);
        disk.set_capacity(Some(disk.used() * 100 / 95));
        let cleaned = store.clean(now, false).unwrap();
        assert_eq!((cleaned.full, cleaned.log_files), (true, 3));
        assert!(matches!(
            try_append(&store, &more, 1),
            Err(crate::AppendError::DiskFull(_))
        ));
        // Consumption goes on.
        assert!(!bodies(&store, "T", 0).is_empty());
        disk.set_capacity(Some(disk.used() * 100 / 88));
        assert!(store.clean(now, false).unwrap().full, "not enough room yet");
        disk.set_capacity(Some(disk.used() * 2));
        assert!(!store.clean(now, false).unwrap().full);
        append(&store, &more, 1);
    }
}
