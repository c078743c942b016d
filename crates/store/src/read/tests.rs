//! Tests of reading: Apache's statuses, next offsets and limits; from memory, from files.

use super::*;
use crate::disk::{FaultOn, SimDisk};
use crate::testing::{Message, append, bodies, config, open};
use crate::{Config, Disk, Store};

fn store_with(count: usize) -> Store {
    let store = open(&SimDisk::new(1), config());
    for index in 0..count {
        let tag = if index % 3 == 0 { "three" } else { "other" };
        let body = format!("message {index}");
        append(&store, &[Message::new("T", 0, body).tagged(tag)], 1);
    }
    store.queue_or_create("T", 0).unwrap();
    store
}

/// `getMessage` of Apache 5.3.3: status and next offset by offset asked for.
#[test]
fn statuses_and_next_offsets() {
    let check = |store: &Store, from, status, next| {
        let read = crate::testing::read(store, "T", 0, from);
        assert_eq!((read.status, read.next.0), (status, next), "from {from}");
    };
    let empty = store_with(0);
    check(&empty, 0, ReadStatus::NoMessageInQueue, 0);
    check(&empty, 5, ReadStatus::NoMessageInQueue, 0);
    check(&empty, -1, ReadStatus::NoMessageInQueue, 0);
    let five = store_with(5);
    check(&five, -1, ReadStatus::OffsetTooSmall, 0);
    check(&five, 0, ReadStatus::Found, 5);
    check(&five, 4, ReadStatus::Found, 5);
    check(&five, 5, ReadStatus::OffsetOverflowOne, 5);
    check(&five, 6, ReadStatus::OffsetOverflowBadly, 5);
}

#[test]
fn filters_on_the_entry() {
    let store = store_with(10);
    let queue = store.queue("T", 0).unwrap();
    let read = |from, tag: &str| {
        let code = protocol::tags::tags_code(tag);
        let wanted = |entry: &QueueEntry| entry.tags_code == code;
        let limits = ReadLimits::default();
        store
            .read(&queue, QueueOffset(from), &limits, wanted)
            .unwrap()
    };
    let found = read(1, "three");
    assert_eq!(found.status, ReadStatus::Found);
    assert_eq!(found.records.len(), 3);
    assert_eq!(found.next, QueueOffset(10), "what did not match is passed");
    let none = read(0, "nobody");
    assert_eq!(none.status, ReadStatus::NoMatchedMessage);
    assert_eq!(none.next, QueueOffset(10));
    assert_eq!(read(7, "three").records.len(), 1);
}

#[test]
fn filters_on_the_record() {
    let store = store_with(10);
    let queue = store.queue("T", 0).unwrap();
    let mut seen = 0;
    let mut read = |from, wanted: &dyn Fn(&str) -> bool| {
        let three = protocol::tags::tags_code("three");
        let limits = ReadLimits::default();
        let read = store.read_where(
            &queue,
            QueueOffset(from),
            &limits,
            |entry| entry.tags_code == three,
            |record| {
                seen += 1;
                let body = Outline::decode(record).unwrap().body;
                wanted(std::str::from_utf8(body).unwrap())
            },
        );
        let read = read.unwrap();
        (read.status, read.records.len(), read.bytes > 0, read.next.0)
    };
    let found = read(0, &|body| body == "message 3");
    assert_eq!(
        found,
        (ReadStatus::Found, 1, true, 10),
        "what did not match is passed"
    );
    let none = read(0, &|_| false);
    assert_eq!(none, (ReadStatus::NoMatchedMessage, 0, false, 10));
    assert_eq!(seen, 8, "only records whose entry is wanted are looked at");
}

#[test]
fn limits_of_one_read() {
    let store = store_with(40);
    let queue = store.queue("T", 0).unwrap();
    let count = |limits: ReadLimits| {
        let read = store.read(&queue, QueueOffset(0), &limits, |_| true);
        let read = read.unwrap();
        assert_eq!(read.next.0, read.records.len() as i64);
        assert_eq!(
            read.bytes,
            read.records
                .iter()
                .map(|record| record.len())
                .sum::<usize>()
        );
        read.records.len()
    };
    let base = ReadLimits::default();
    assert_eq!(count(base), 32);
    assert_eq!(
        count(ReadLimits {
            messages_max: 5,
            ..base
        }),
        5
    );
    assert_eq!(
        count(ReadLimits {
            messages_max: 0,
            ..base
        }),
        1
    );
    assert_eq!(
        count(ReadLimits {
            bytes_max: 1,
            ..base
        }),
        1
    );
    let size = store.record_at(LogOffset(0)).unwrap().unwrap().len();
    assert_eq!(
        count(ReadLimits {
            hot_bytes_max: 3 * size,
            ..base
        }),
        3
    );
    let cold = ReadLimits {
        hot_window_bytes: -1,
        ..base
    };
    assert_eq!(count(cold), 8);
    assert_eq!(
        count(ReadLimits {
            cold_bytes_max: 2 * size,
            ..cold
        }),
        2
    );
}

#[test]
fn looks_at_a_bounded_part_of_the_queue() {
    let store = store_with(30);
    let queue = store.queue("T", 0).unwrap();
    let limits = ReadLimits {
        messages_max: 3,
        scan_bytes_max: 7 * 20,
        ..ReadLimits::default()
    };
    let read = store
        .read(&queue, QueueOffset(2), &limits, |_| false)
        .unwrap();
    assert_eq!(read.status, ReadStatus::NoMatchedMessage);
    assert_eq!(read.next, QueueOffset(9));
    let limits = ReadLimits {
        messages_max: 11,
        ..limits
    };
    let read = store
        .read(&queue, QueueOffset(2), &limits, |_| false)
        .unwrap();
    assert_eq!(read.next, QueueOffset(13));
}

/// A filter that nothing fits must not read much of the log for one request.
#[test]
fn a_read_looks_at_few_bytes_in_vain() {
    let config = Config {
        log_file_bytes: 8 << 20,
        ..config()
    };
    let store = open(&SimDisk::new(1), config);
    for _ in 0..7 {
        append(&store, &[Message::new("T", 0, vec![7; 1 << 20])], 1);
    }
    let queue = store.queue("T", 0).unwrap();
    let read = |from, fit: fn(&[u8]) -> bool| {
        let limits = ReadLimits {
            hot_bytes_max: 8 << 20,
            ..ReadLimits::default()
        };
        let read = store.read_where(&queue, QueueOffset(from), &limits, |_| true, fit);
        let read = read.unwrap();
        (read.status, read.next.0)
    };
    assert_eq!(read(0, |_| false), (ReadStatus::NoMatchedMessage, 4));
    assert_eq!(read(4, |_| false), (ReadStatus::NoMatchedMessage, 7));
    assert_eq!(read(0, |_| true), (ReadStatus::Found, 7));
}

/// Entries come from memory, from one file, from several and from both, all the same.
#[test]
fn entries_come_from_memory_and_from_files() {
    let store = open(&SimDisk::new(1), config());
    let mut expected = Vec::new();
    for index in 0..70_u32 {
        let body = index.to_be_bytes().to_vec();
        append(&store, &[Message::new("T", 0, body.clone())], 1);
        expected.push(body);
        if index % 13 == 0 {
            store.flush_queues(0).unwrap();
        }
        assert_eq!(bodies(&store, "T", 0), expected);
    }
    let dir = config().queue_dir.join("T/0");
    let files = store.disk.list(&dir).unwrap();
    let seen: Vec<_> = files
        .iter()
        .map(|file| (file.name.as_str(), file.len))
        .collect();
    let names = [
        format!("{:020}", 0),
        format!("{:020}", 400),
        format!("{:020}", 800),
        format!("{:020}", 1200),
    ];
    assert_eq!(seen, names.each_ref().map(|name| (name.as_str(), 400)));
}

#[test]
fn a_corrupt_record_on_disk_is_never_served() {
    let disk = SimDisk::new(1);
    let store = store_with(0);
    drop(store);
    let store = open(&disk, config());
    let sent: Vec<_> = (0..8)
        .map(|index| Message::new("T", 0, format!("message {index}")))
        .collect();
    let appended = append(&store, &sent, 1);
    store.log.tail.clear();
    let path = config().commit_log_dir.join(format!("{:020}", 0));
    let good = Disk::Sim(disk.clone()).read(&path).unwrap();
    let file = Disk::Sim(disk).open_write(&path).unwrap();
    let third = appended.entries[2].0;
    let size = (appended.entries[3].0.0 - third.0) as usize;
    for byte in 0..size {
        let at = third.0 as usize + byte;
        file.write_all_at(&[good[at] ^ 0x10], at as u64).unwrap();
        let served = bodies(&store, "T", 0);
        let by_place = store.record_at(third).unwrap();
        if served.len() == 8 {
            // Only fields that nothing guards: flag, times, hosts, counters, properties.
            assert_eq!(served[2], sent[2].body);
        } else {
            assert_eq!(served.len(), 7);
            assert!(!served.contains(&sent[2].body));
        }
        if let Some(record) = by_place {
            assert_eq!(Outline::decode(&record).unwrap().body, sent[2].body);
        }
        file.write_all_at(&[good[at]], at as u64).unwrap();
    }
    assert_eq!(bodies(&store, "T", 0).len(), 8);
}

#[test]
fn no_record_starts_in_the_middle_of_one() {
    let store = store_with(3);
    let end = store.log_end().0;
    let mut starts = 0;
    for at in -1..=end {
        let record = store.record_at(LogOffset(at)).unwrap();
        starts += usize::from(record.is_some());
    }
    assert_eq!(starts, 3);
    store.log.tail.clear();
    let found = (-1..=end).filter(|at| store.record_at(LogOffset(*at)).unwrap().is_some());
    assert_eq!(found.count(), 3);
}

/// A slow consumer's small replies must not keep large batches in memory.
#[test]
fn a_small_record_does_not_keep_a_large_buffer() {
    let config = Config {
        log_file_bytes: 1 << 20,
        ..config()
    };
    for (others, shared) in [(10, true), (2000, false)] {
        let store = open(&SimDisk::new(1), config.clone());
        let mut batch = vec![Message::new("U", 0, "x"); others];
        batch.push(Message::new("T", 0, "wanted"));
        let at = append(&store, &batch, 1).entries[others].0;
        for from_disk in [false, true] {
            if from_disk {
                store.log.tail.clear();
            }
            let read = crate::testing::read(&store, "T", 0, 0);
            let kept = [
                read.records.iter().next().unwrap(),
                store.record_at(at).unwrap().unwrap(),
            ];
            let held = store.log.tail.rest_of_chunk(at.0);
            for record in kept {
                assert!(record.ends_with(b"wanted\x01T\0\0"));
                if let Some(held) = &held {
                    let is_slice = record.as_ptr() == held.bytes.as_ptr();
                    assert_eq!(is_slice, shared, "{others}");
                }
            }
        }
    }
}

/// Sizes that no record has are not asked of the disk.
#[test]
fn an_entry_with_an_absurd_size_is_passed_over() {
    let store = store_with(2);
    let queue = store.queue("T", 0).unwrap();
    for size in [
        i32::MAX,
        i32::MAX - 1,
        limits::RECORD_BYTES_MAX as i32 + 1,
        90,
        1,
        0,
        -5,
    ] {
        let entry = QueueEntry {
            queue_offset: QueueOffset(0),
            log_offset: LogOffset(0),
            size,
            tags_code: 0,
        };
        let mut window = Window::default();
        assert_eq!(
            store
                .record_of(&queue, &[entry], &mut window, Wait::ForDisk)
                .unwrap(),
            None
        );
        assert_eq!(window.slice(0, 1), None, "nothing was read for {size}");
    }
}

#[test]
fn what_is_not_in_memory_is_not_waited_for() {
    let sim = SimDisk::new(1);
    let store = open(&sim, config());
    append(&store, &[Message::new("T", 0, "old")], 1);
    store.log.tail.clear();
    append(&store, &[Message::new("T", 0, "new")], 2);
    let queue = store.queue("T", 0).unwrap();
    let patient = ReadLimits::default();
    let hasty = ReadLimits {
        wait: Wait::No,
        ..patient
    };
    sim.hold(FaultOn::Read, "/commitlog/");
    let old = store.read(&queue, QueueOffset(0), &hasty, |_| true);
    assert!(old.unwrap_err().would_wait());
    let new = store.read(&queue, QueueOffset(1), &hasty, |_| true);
    assert_eq!(new.unwrap().records.len(), 1);

    store.flush_queues(0).unwrap();
    sim.release();
    sim.hold(FaultOn::Read, "/consumequeue/");
    let unread = store.read(&queue, QueueOffset(1), &hasty, |_| true);
    assert!(unread.unwrap_err().would_wait());

    sim.release();
    let all = store.read(&queue, QueueOffset(0), &hasty, |_| true);
    assert_eq!(all.unwrap().records.len(), 2);
}

/// From memory and from files, in order, with a record between that is larger than a read takes from a file at a time.
#[test]
fn what_is_given_is_in_few_pieces_and_in_order() {
    let config = Config {
        log_file_bytes: 4 << 20,
        ..config()
    };
    let store = open(&SimDisk::new(1), config);
    let mut sent = Vec::new();
    let mut add = |names: &[(&'static str, String)]| {
        let batch = names
            .iter()
            .map(|(topic, body)| Message::new(topic, 0, body.as_str()));
        let appended = append(&store, &batch.collect::<Vec<_>>(), 1);
        let bodies = names.iter().filter(|(topic, _)| *topic == "T");
        sent.extend(bodies.map(|(_, body)| body.clone().into_bytes()));
        appended.entries[0].0
    };
    let mixed: Vec<_> = (0..16)
        .map(|number| (["T", "U", "U"][number % 3], format!("mixed {number}")))
        .collect();
    add(&mixed);
    add(&[("T", "x".repeat(limits::READ_WINDOW_BYTES))]);
    add(&mixed);
    add(&[("U", "x".repeat(limits::READ_WINDOW_BYTES))]);
    store.log.tail.clear();
    let dense: Vec<_> = (0..4)
        .map(|number| ("T", format!("dense {number}")))
        .collect();
    let at = add(&dense);
    let queue = store.queue("T", 0).unwrap();
    let limits = ReadLimits {
        hot_bytes_max: 1 << 20,
        ..ReadLimits::default()
    };
    let read = store
        .read(&queue, QueueOffset(0), &limits, |_| true)
        .unwrap();
    assert_eq!(read.records.len(), sent.len());
    let bodies = read.records.iter().map(|record| {
        let outline = Outline::decode(&record).unwrap();
        assert_eq!(crc31(outline.body), outline.body_crc);
        outline.body.to_vec()
    });
    assert!(bodies.eq(sent), "in order");
    let tail = store.log.tail.rest_of_chunk(at.0).unwrap();
    let pieces = read.records.into_pieces();
    assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), read.bytes);
    let sizes: Vec<_> = pieces.iter().map(Bytes::len).collect();
    assert_eq!(
        pieces.len(),
        4,
        "copies, the large one, copies, a slice: {sizes:?}"
    );
    assert_eq!(pieces[3], tail.bytes);
    assert_eq!(pieces[3].as_ptr(), tail.bytes.as_ptr());
}

/// The place in a queue's file may be damaged, so that its size is not the record's.
#[test]
fn records_of_absurd_sizes_end() {
    for size in [0, 1, 90, 91, 4000, u32::MAX] {
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.resize(200, 0);
        let mut records = Records::default();
        records.push(bytes.clone().into());
        let found: Vec<_> = records.iter().collect();
        assert_eq!(found.concat(), bytes, "{size}");
        assert!(found.len() <= 3, "{size}");
    }
}
