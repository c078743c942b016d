//! Tests of the index.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};

mod crash;

const DIR: &str = "/store/index";
const SLOTS: u32 = 16;
const ENTRIES_MAX: u32 = 24;
const T0: i64 = 1_700_000_000_000;
const ALL: i64 = i64::MAX;

fn now() -> LocalTime {
    LocalTime {
        epoch_ms: T0,
        utc_offset_s: 0,
    }
}

fn open_sized(disk: &Disk, slots: u32, entries_max: u32) -> Index {
    Index::open(
        disk,
        DIR.into(),
        slots,
        entries_max,
        LogOffset(ALL),
        LastExit::Clean,
    )
    .unwrap()
}

fn open(disk: &Disk) -> Index {
    open_sized(disk, SLOTS, ENTRIES_MAX)
}

fn record<'a>(topic: &'a str, keys: &'a str, log_offset: i64, ms: i64) -> IndexRecord<'a> {
    IndexRecord {
        topic,
        uniq_key: None,
        keys: Some(keys),
        sys_flag: 0,
        log_offset: LogOffset(log_offset),
        store_timestamp: T0 + ms,
    }
}

fn offsets(index: &Index, topic: &str, key: &str) -> Vec<i64> {
    let answer = index.query(topic, key, 1000, 0, ALL).unwrap();
    answer.offsets.iter().map(|offset| offset.0).collect()
}

fn files(disk: &Disk) -> Vec<String> {
    disk.list(Path::new(DIR))
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By hand, from the layout: `T#a` hashes to 81906 = 0x13ff2, `T#b` to one more, `T#e` to 0x13ff6.
/// In a table of 4 slots a and e share slot 2.
#[test]
fn bytes() {
    let disk = Disk::Sim(SimDisk::new(1));
    let index = open_sized(&disk, 4, 5);
    let unique = IndexRecord {
        uniq_key: Some("a"),
        ..record("T", " b  ", 0x100, 0)
    };
    index.put(&unique, now()).unwrap();
    index.put(&record("T", "e", 0x200, 2999), now()).unwrap();
    index.close().unwrap();
    assert_eq!(files(&disk), ["20231114221320000"]);
    let bytes = disk
        .read(&Path::new(DIR).join("20231114221320000"))
        .unwrap();
    let expected = [
        // Times of the first and last entry, offsets of both.
        "0000018bcfe56800 0000018bcfe573b7 0000000000000100 0000000000000200",
        // Slots used, entries + 1.
        "00000002 00000004",
        "00000000 00000000 00000003 00000002",
        "00000000 0000000000000000 00000000 00000000",
        "00013ff2 0000000000000100 00000000 00000000",
        "00013ff3 0000000000000100 00000000 00000000",
        "00013ff6 0000000000000200 00000002 00000001",
        "00000000 0000000000000000 00000000 00000000",
    ];
    let hex = hex(&bytes);
    assert!(
        hex.starts_with(&expected.concat().replace(' ', "")[..(40 + 16 + 80) * 2]),
        "{hex}"
    );
    assert_eq!(bytes.len(), 40 + 16 + 5 * 20);
}

#[test]
fn hashes() {
    for (topic, key, hash) in [
        ("T", "a", 81_906),
        ("", "", 35),
        // 31 * (31 * 20027 + 35) + 0xd83d and then 0xde00: UTF-16 units, not code points.
        ("\u{4e3b}", "\u{1f600}", {
            let units = [0x4e3b_i32, 35, 0xd83d, 0xde00];
            units.iter().fold(0_i32, |hash, unit| {
                hash.wrapping_mul(31).wrapping_add(*unit)
            })
        }),
    ] {
        let found = layout::key_hash(layout::hash_start(topic), key);
        assert_eq!(found, hash.checked_abs().unwrap_or(0), "{topic} {key}");
        let java = protocol::tags::java_hash(&format!("{topic}#{key}"));
        assert_eq!(found, java.checked_abs().unwrap_or(0), "{topic} {key}");
    }
    // The least integer of all, which has no absolute value.
    assert_eq!(protocol::tags::java_hash("polygenelubricants"), i32::MIN);
    assert_eq!(layout::key_hash(0, "polygenelubricants"), 0);
}

#[test]
fn what_is_indexed() {
    let disk = Disk::Sim(SimDisk::new(1));
    let index = open(&disk);
    let put = |record: IndexRecord<'_>| index.put(&record, now()).unwrap();
    assert_eq!(index.next_log_offset().unwrap(), None);
    put(IndexRecord {
        keys: None,
        ..record("T", "", 0, 0)
    });
    put(record("T", "  ", 100, 0));
    assert!(files(&disk).is_empty(), "nothing to index, no file");

    let sys_flags = [
        (0, 200),
        (0x4, 300),
        (0x8, 400),
        (0xc, 500),
        (0x4 | 0x30, 600),
    ];
    for (sys_flag, log_offset) in sys_flags {
        put(IndexRecord {
            sys_flag,
            ..record("T", "k", log_offset, 0)
        });
    }
    assert_eq!(
        offsets(&index, "T", "k"),
        [600, 400, 300, 200],
        "all but the rolled back one"
    );
    put(record("T", "k", 599, 0));
    assert_eq!(offsets(&index, "T", "k").len(), 4, "already passed");
    put(record("T", "k k", 600, 0));
    assert_eq!(
        offsets(&index, "T", "k"),
        [600, 400, 300, 200],
        "in the file once more, as Apache has it, but told once"
    );
    assert_eq!(offsets(&index, "T", "K"), [0; 0]);
    assert_eq!(offsets(&index, "T2", "k"), [0; 0]);
    assert_eq!(index.next_log_offset().unwrap(), Some(LogOffset(600)));
}

/// Records 10 s apart, 22 entries a file.
#[test]
fn queries() {
    let disk = Disk::Sim(SimDisk::new(1));
    let index = open(&disk);
    for n in 0..60 {
        let keys = if n % 2 == 0 { "even" } else { "odd" };
        index
            .put(&record("T", keys, n, n * 10_000 + 700), now())
            .unwrap();
    }
    let s = |seconds: i64| T0 + seconds * 1000;
    for (key, max, begin, end, expected) in [
        ("even", 3, 0, ALL, vec![58, 56, 54]),
        ("odd", 0, 0, ALL, vec![]),
        ("odd", 1000, s(0), s(31), vec![3, 1]),
        // Times are counted in whole seconds from the first entry of the file, at 0.7 s.
        ("even", 1000, s(20) + 700, s(40) + 700, vec![4, 2]),
        ("even", 1000, s(20) + 701, s(40) + 699, vec![]),
        ("even", 2, s(100), s(300), vec![28, 26]),
        ("even", 1000, s(700), ALL, vec![]),
        ("even", 1000, 0, s(0), vec![]),
        ("even", 1000, s(300), s(100), vec![]),
        ("neither", 1000, 0, ALL, vec![]),
    ] {
        let check = |index: &Index| {
            let answer = index.query("T", key, max, begin, end).unwrap();
            let found: Vec<_> = answer.offsets.iter().map(|offset| offset.0).collect();
            assert_eq!(found, expected, "{key} {max} {} {}", begin - T0, end - T0);
            assert_eq!(answer.last_update_timestamp, T0 + 590_700);
            assert_eq!(answer.last_update_log_offset, LogOffset(59));
        };
        check(&index);
        index.flush().unwrap();
        check(&index);
        let left = Disk::Sim(match &disk {
            Disk::Sim(sim) => sim.crash(CrashKeep::All),
            Disk::Os => unreachable!(),
        });
        let last_exit = LastExit::Crash { index_ms: 0 };
        let dir = DIR.into();
        let log_end = LogOffset(60);
        let left = Index::open(&left, dir, SLOTS, ENTRIES_MAX, log_end, last_exit).unwrap();
        left.next_log_offset().unwrap();
        check(&left);
    }
    assert_eq!(offsets(&index, "T", "odd").len(), 30);
    assert_eq!(
        files(&disk),
        [
            "20231114221320000",
            "20231114221320001",
            "20231114221320002"
        ]
    );
    assert_eq!(index.total_bytes(), 3 * (40 + 16 * 4 + 24 * 20));
    assert_eq!(index.sealed_timestamp(), s(450) + 700);
}

/// A table is 20 MB: two that take turns are 20 MB more that the allocator keeps.
#[test]
fn a_new_file_gets_the_slot_table_of_the_full_one() {
    let disk = Disk::Sim(SimDisk::new(1));
    let index = open_sized(&disk, 4, 3);
    let table = || {
        let state = index.state.lock();
        assert!(state.sealing.is_none() && state.slots.is_none());
        let active = state.active.as_ref().unwrap();
        (active.slots.as_ptr(), active.slots.clone())
    };
    // Slots as in `bytes`: two files' worth of a and b, then a third that begins with e, of a's slot.
    let put = |key: &str, n| index.put(&record("T", key, n, n), now()).unwrap();
    put("a", 1);
    let (at, _) = table();
    for (key, n) in [("b", 2), ("a", 3), ("b", 4), ("e", 5)] {
        put(key, n);
    }
    assert_eq!(table(), (at, vec![0, 0, 1, 0]));
    assert_eq!(offsets(&index, "T", "a"), [3, 1]);
    assert_eq!(offsets(&index, "T", "e"), [5]);

    // A file whose slots can't be written keeps its table until they are.
    put("e", 6);
    let Disk::Sim(sim) = &disk else {
        unreachable!()
    };
    sim.fail(Fault {
        on: FaultOn::Write,
        path: files(&disk)[2].clone(),
        after: 1,
        error: FaultError::NoSpace,
        sticky: false,
    });
    let seventh = record("T", "b", 7, 7);
    index.put(&seventh, now()).unwrap_err();
    assert_eq!(files(&disk).len(), 3);
    assert_eq!(offsets(&index, "T", "e"), [6, 5]);
    index.put(&seventh, now()).unwrap();
    assert_eq!(table(), (at, vec![0, 0, 0, 1]));
    assert_eq!(offsets(&index, "T", "e"), [6, 5]);
    assert_eq!(offsets(&index, "T", "b"), [7, 4, 2]);
}

#[test]
fn reopens_and_goes_on() {
    let disk = Disk::Sim(SimDisk::new(1));
    for n in 0..100 {
        let index = open(&disk);
        index.put(&record("T", "k", n, n), now()).unwrap();
        index.close().unwrap();
        index.close().unwrap();
    }
    let index = open(&disk);
    // The one at the end comes again after every start, and stays one.
    index.put(&record("T", "k", 99, 99), now()).unwrap();
    assert_eq!(
        offsets(&index, "T", "k"),
        (0..100).rev().collect::<Vec<_>>()
    );
    let names = files(&disk);
    assert_eq!(names.len(), 5);
    assert!(names.is_sorted());
}

#[test]
fn deletes_old_files() {
    let disk = Disk::Sim(SimDisk::new(1));
    let index = open(&disk);
    assert_eq!(index.delete_before(LogOffset(5)).unwrap(), 0);
    for n in 0..69 {
        index.put(&record("T", "k", n, n), now()).unwrap();
    }
    index.flush().unwrap();
    for (log_min, deleted, left) in [(22, 0, 3), (23, 1, 2), (46, 1, 1), (1000, 0, 1)] {
        assert_eq!(
            index.delete_before(LogOffset(log_min)).unwrap(),
            deleted,
            "{log_min}"
        );
        assert_eq!(files(&disk).len(), left, "{log_min}");
    }
    assert_eq!(offsets(&index, "T", "k").last(), Some(&46));
    index.close().unwrap();
    assert_eq!(
        open(&disk).delete_before(LogOffset(1000)).unwrap(),
        0,
        "never the last"
    );
}

#[test]
fn leaves_foreign_files_alone() {
    let disk = Disk::Sim(SimDisk::new(1));
    let index = open_sized(&disk, 8, 8);
    index.put(&record("T", "k", 1, 1), now()).unwrap();
    index.close().unwrap();
    disk.open_write(&Path::new(DIR).join("notes")).unwrap();
    let index = open(&disk);
    assert_eq!(offsets(&index, "T", "k"), [0; 0]);
    let later = LocalTime {
        epoch_ms: T0 + 5,
        utc_offset_s: 0,
    };
    index.put(&record("T", "k", 1, 1), later).unwrap();
    assert_eq!(files(&disk).len(), 3);
}

/// More entries than are kept in memory, and chains longer than one read.
#[test]
fn larger_than_its_buffers() {
    let disk = Disk::Sim(SimDisk::new(1));
    let index = open_sized(&disk, 1000, 200_000);
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    for n in 0..70_000_i64 {
        index
            .put(&record("T", &keys[(n % 50) as usize], n, n), now())
            .unwrap();
    }
    let check = |index: &Index| {
        for n in [0_i64, 7, 49] {
            let found = index
                .query("T", &keys[n as usize], 100_000, 0, ALL)
                .unwrap()
                .offsets;
            let expected: Vec<_> = (0..1400).rev().map(|i| LogOffset(i * 50 + n)).collect();
            assert_eq!(found, expected);
        }
    };
    check(&index);
    index.close().unwrap();
    check(&open_sized(&disk, 1000, 200_000));
}

#[test]
fn a_full_disk_is_waited_out() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    let index = open(&disk);
    for n in 0..23 {
        index.put(&record("T", "k", n, n), now()).unwrap();
    }
    sim.set_capacity(Some(0));
    let split = record("T", "x y", 23, 23);
    assert_eq!(
        index.put(&split, now()).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    index.flush().unwrap();
    assert_eq!(
        offsets(&index, "T", "k").len(),
        23,
        "what is there is still found"
    );
    sim.set_capacity(None);
    index.put(&split, now()).unwrap();
    index.flush().unwrap();
    assert_eq!(
        (offsets(&index, "T", "x"), offsets(&index, "T", "y")),
        (vec![23], vec![23])
    );
}

#[test]
fn after_a_failed_sync_nothing_is_added() {
    let sim = SimDisk::new(1);
    let disk = Disk::Sim(sim.clone());
    let index = open(&disk);
    index.put(&record("T", "k", 1, 1), now()).unwrap();
    index.flush().unwrap();
    index.put(&record("T", "k", 2, 2), now()).unwrap();
    let on = FaultOn::Sync;
    let path = String::new();
    sim.fail(Fault {
        on,
        path,
        after: 0,
        error: FaultError::Io,
        sticky: false,
    });
    index.flush().unwrap_err();
    index.flush().unwrap_err();
    index.put(&record("T", "k", 3, 3), now()).unwrap_err();
    index.close().unwrap_err();
    assert_eq!(offsets(&index, "T", "k"), [2, 1]);
}

/// Of three files the checkpoint knows the first. A question finds what is in it, and leaves the
/// others to the follower.
#[test]
fn a_query_does_not_wait_for_recovery() {
    let sim = SimDisk::new(1);
    let index = open(&Disk::Sim(sim.clone()));
    let mut index_ms = 0;
    for n in 0..60 {
        index.put(&record("T", "k", n, n), now()).unwrap();
        if n == 30 {
            index_ms = index.sealed_timestamp();
        }
    }
    index.flush().unwrap();
    let left = sim.crash(CrashKeep::All);
    let disk = Disk::Sim(left.clone());
    let last_exit = LastExit::Crash { index_ms };
    let dir = DIR.into();
    let index = Index::open(&disk, dir, SLOTS, ENTRIES_MAX, LogOffset(60), last_exit).unwrap();
    let changes = left.changes();
    assert_eq!(offsets(&index, "T", "k"), (0..23).rev().collect::<Vec<_>>());
    assert_eq!(left.changes(), changes, "nothing was put in order for it");
    index.next_log_offset().unwrap();
    assert_eq!(offsets(&index, "T", "k"), (0..60).rev().collect::<Vec<_>>());
}
