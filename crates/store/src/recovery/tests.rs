//! Tests of recovery: shapes of damage one by one; the model test does the combinations.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use crate::testing::{
    LOG_FILE_BYTES, Message, QUEUE_FILE_BYTES, append, bodies, config, open, open_with_report,
    peek, poke, queue_entries, sync_config,
};
use crate::{Config, Store};

const TOPICS: [&str; 3] = ["A", "B", "C"];

/// Messages for three topics of two queues, half messages between, over three log files.
fn messages() -> Vec<Message> {
    (0..80_usize)
        .map(|index| {
            let topic = TOPICS[index * 7 % 3];
            let body = format!("{index} {}", "x".repeat(index % 40));
            let message = Message::new(topic, (index / 3 % 2) as i32, body).tagged("tag");
            match index % 10 {
                9 => message.prepared(),
                _ => message,
            }
        })
        .collect()
}

fn filled(disk: &Arc<SimDisk>, config: Config) -> Store {
    let store = open(disk, config);
    for (index, message) in messages().into_iter().enumerate() {
        append(&store, &[message], index as i64);
        if index == 30 {
            store.flush().unwrap();
            store.flush_queues(100_000).unwrap();
        }
    }
    store
}

type Content = BTreeMap<(String, i32), Vec<Vec<u8>>>;

fn content(store: &Store) -> Content {
    let topics = store.topics().into_iter();
    let queues = topics.flat_map(|topic| store.queues(&topic));
    queues
        .map(|queue| {
            let name = (queue.topic().to_owned(), queue.id());
            let found = bodies(store, queue.topic(), queue.id());
            (name, found)
        })
        .collect()
}

fn expected() -> Content {
    let mut content = Content::new();
    for message in messages().into_iter().filter(|message| message.flags == 0) {
        let name = (message.topic.to_owned(), message.queue_id);
        content.entry(name).or_default().push(message.body);
    }
    content
}

/// Every queue has exactly the entries that reading the log from its beginning gives.
#[track_caller]
fn assert_queues_agree_with_log(store: &Store) {
    let mut from_log: BTreeMap<(String, i32), Vec<QueueEntry>> = BTreeMap::new();
    let mut scan = LogScan::new(&store.log, store.log.min());
    loop {
        match scan.next().unwrap() {
            Step::Record(outline) if is_queued(&outline) => {
                let entry = crate::dispatch::entry_of(&store.config, &outline);
                let name = (outline.topic.to_owned(), outline.queue_id);
                from_log.entry(name).or_default().push(entry);
            }
            Step::Record(_) | Step::Bad(_) => {}
            Step::End(end) => {
                assert_eq!(end, store.log_end());
                break;
            }
        }
    }
    for topic in store.topics() {
        for queue in store.queues(&topic) {
            let name = (topic.clone(), queue.id());
            let expected = from_log.remove(&name).unwrap_or_default();
            assert_eq!(queue_entries(store, &queue), expected, "{name:?}");
        }
    }
    assert!(from_log.is_empty(), "queues are missing: {from_log:?}");
}

#[track_caller]
fn assert_whole(store: &Store) {
    assert_eq!(content(store), expected());
    assert_queues_agree_with_log(store);
}

fn log_file(start: u64) -> PathBuf {
    config().commit_log_dir.join(format!("{start:020}"))
}

fn queue_file(queue: &str, start: u64) -> PathBuf {
    config().queue_dir.join(format!("{queue}/{start:020}"))
}

#[test]
fn a_closed_store_is_as_it_was() {
    let disk = SimDisk::new(1);
    let store = filled(&disk, config());
    let end = store.log_end();
    store.close().unwrap();
    drop(store);
    assert!(!Disk::Sim(disk.clone()).exists(&config().abort_path));
    let (store, report) = open_with_report(&disk, config());
    let expected = Recovery {
        clean: true,
        scanned_from: end,
        end,
        ..Recovery::default()
    };
    assert_eq!(report, expected);
    assert_whole(&store);
    assert_eq!(store.durable().at(), end.0);
    let appended = append(&store, &[Message::new("A", 0, "next")], 0);
    assert_eq!(
        appended.store_timestamp, 79,
        "time goes on from the last record"
    );
    assert_eq!(bodies(&store, "A", 0).last().unwrap(), b"next");
}

#[test]
fn after_kill_nothing_is_missing() {
    for flushed in [false, true] {
        let disk = SimDisk::new(1);
        let store = filled(&disk, config());
        if flushed {
            store.flush_queues(100_001).unwrap();
        }
        let end = store.log_end();
        let (store, report) = open_with_report(&disk.crash(CrashKeep::All), config());
        assert!(!report.clean && !report.cut && report.bad.is_empty());
        assert_eq!(
            report.scanned_from == end,
            flushed,
            "only what is new is read"
        );
        assert_whole(&store);
        assert!(store.durable().at() < end.0);
        store.flush().unwrap();
        assert_eq!(store.durable().at(), end.0);
        store.close().unwrap();
    }
}

#[test]
fn java_that_closed_left_no_marks_of_ours() {
    let disk = SimDisk::new(1);
    let store = filled(&disk, config());
    store.close().unwrap();
    let end = store.log_end();
    drop(store);
    let mut checkpoint = Checkpoint::read(&Disk::Sim(disk.clone()), &config().checkpoint_path)
        .unwrap()
        .unwrap();
    checkpoint.extra = None;
    let on = Disk::Sim(disk.clone());
    checkpoint
        .write(&on, &config().checkpoint_path, true)
        .unwrap();
    let (store, report) = open_with_report(&disk, config());
    assert!(report.scanned_from > LogOffset(end.0 - 400) && report.scanned_from < end);
    assert_whole(&store);
}

#[test]
fn java_that_crashed_is_recovered_by_time() {
    for (flushed_ms, from) in [(3010, 0), (3079, 2), (9000, 2), (0, 0)] {
        let disk = SimDisk::new(1);
        let store = filled(&disk, config());
        store.flush_queues(1_000_000).unwrap();
        let on = Disk::Sim(disk.clone());
        let checkpoint = Checkpoint {
            physic_ms: flushed_ms,
            logics_ms: 9999,
            ..Checkpoint::default()
        };
        checkpoint
            .write(&on, &config().checkpoint_path, true)
            .unwrap();
        let (store, report) = open_with_report(&disk.crash(CrashKeep::All), config());
        let from = LogOffset(from * LOG_FILE_BYTES as i64);
        assert_eq!(report.scanned_from, from, "{flushed_ms}");
        assert_whole(&store);
    }
}

/// A record cut anywhere is a torn tail: it goes, all before it stays. (What is cut within its
/// properties, the last nine bytes, nothing tells.)
#[test]
fn a_torn_tail_is_cut() {
    let size = 140;
    for missing in 10..=size {
        let disk = SimDisk::new(1);
        let store = filled(&disk, config());
        let before = store.log_end();
        let torn = Message::new("A", 0, vec![b'!'; size - 101]).tagged("tag");
        let end = append(&store, &[torn], 99).end.0;
        poke(&store, end - missing as i64, &vec![0; missing]);
        let (store, report) = open_with_report(&disk.crash(CrashKeep::All), config());
        assert_eq!(report.end, before, "{missing}");
        // The first three bytes of a record this short are zero.
        assert!(report.cut == (missing < size - 3) && report.bad.is_empty());
        assert_whole(&store);
        let again = append(&store, &[Message::new("A", 0, "again")], 100);
        assert_eq!(again.entries[0].0, before);
        drop(store);
    }
}

/// What was cut off must not come back when new records end where it begins.
#[test]
fn nothing_behind_the_cut_comes_back() {
    let disk = SimDisk::new(1);
    let store = filled(&disk, config());
    let end = store.log_end().0;
    let appended = append(
        &store,
        &[Message::new("A", 0, "torn"), Message::new("A", 0, "good")],
        99,
    );
    // The first of the two is damaged, the second is made a stranger to its place.
    poke(&store, end, &[0; 4]);
    poke(&store, appended.entries[1].0.0 + 30, &[9]);
    let (store, report) = open_with_report(&disk.crash(CrashKeep::All), config());
    assert!(report.cut);
    assert_eq!(report.end.0, end);
    let rest = peek(&store, end, LOG_FILE_BYTES as usize);
    assert!(rest.iter().all(|byte| *byte == 0));
}

/// One damaged record costs that message and no other, whatever byte it is.
#[test]
fn a_flip_in_the_middle_costs_one_message() {
    let probe = filled(&SimDisk::new(1), config());
    let queue = probe.queue("B", 1).unwrap();
    let victim = queue_entries(&probe, &queue)[4];
    let all = expected();
    let lost = all[&("B".to_owned(), 1)][4].clone();
    for byte in 0..victim.size as i64 {
        let disk = SimDisk::new(1);
        let store = filled(&disk, config());
        let at = victim.log_offset.0 + byte;
        let found = peek(&store, at, 1);
        poke(&store, at, &[found[0] ^ 1]);
        // The log is read from its beginning: there is no checkpoint to go by.
        let on = Disk::Sim(disk.clone());
        on.remove_file(&config().checkpoint_path).unwrap();
        let (store, report) = open_with_report(&disk.crash(CrashKeep::All), config());
        let found = content(&store);
        for (name, bodies) in &all {
            let mut left = bodies.clone();
            if !found[name].contains(&lost) {
                left.retain(|body| *body != lost);
            }
            assert_eq!(found[name], left, "byte {byte}, {name:?}, {report:?}");
            let next = store.queue(&name.0, name.1).unwrap().next();
            assert_eq!(next, bodies.len() as i64, "byte {byte}: offsets stay");
        }
        // The same again: recovery has nothing more to find.
        store.flush_queues(0).unwrap();
        let again = open(&disk.crash(CrashKeep::All), config());
        assert_eq!(content(&again), found, "byte {byte}");
        drop(store);
    }
}

/// What looks like a record within the body of a damaged one is not taken for a message.
#[test]
fn a_body_that_holds_a_record_is_stepped_over_whole() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    append(&store, &[Message::new("T", 0, "first")], 1);
    let at = store.log_end().0;
    // Its sender knows where it will be.
    let mut forged = crate::testing::batch_of(&store, &[Message::new("T", 0, "forged")]);
    let place = LogOffset(at + 88);
    protocol::record::stamp(&mut forged.buffer, protocol::QueueOffset(2), place, 1);
    append(&store, &[Message::new("T", 0, forged.buffer.to_vec())], 1);
    append(&store, &[Message::new("T", 0, "last")], 1);
    poke(&store, at + 10, &[0xff]);
    let (store, report) = open_with_report(&disk.crash(CrashKeep::All), config());
    assert_eq!(report.bad.len(), 1);
    assert_eq!(
        bodies(&store, "T", 0),
        [b"first".to_vec(), b"last".to_vec()]
    );
}

#[test]
fn a_lost_sector_in_the_middle_costs_what_was_in_it() {
    for sector in 0..2 * LOG_FILE_BYTES / 512 {
        let disk = SimDisk::new(1);
        let store = filled(&disk, config());
        let at = sector * 512;
        let hurt: Vec<Vec<u8>> = TOPICS
            .iter()
            .flat_map(|topic| store.queues(topic))
            .flat_map(|queue| queue_entries(&store, &queue))
            .filter(|entry| entry.log_end() > at as i64 && entry.log_offset.0 < at as i64 + 512)
            .map(|entry| store.record_at(entry.log_offset).unwrap().unwrap())
            .map(|record| Outline::decode(&record).unwrap().body.to_vec())
            .collect();
        poke(&store, at as i64, &[0; 512]);
        let (store, report) = open_with_report(&disk.crash(CrashKeep::All), config());
        assert!(report.bad.len() <= 2 && !report.cut);
        for (name, bodies) in expected() {
            // Those that were hurt only in what nothing guards are still there.
            let found = &content(&store)[&name];
            let mut left = bodies.clone();
            left.retain(|body| !hurt.contains(body) || found.contains(body));
            assert_eq!(*found, left, "sector {sector}");
            let next = store.queue(&name.0, name.1).unwrap().next();
            assert_eq!(next, bodies.len() as i64);
        }
    }
}

#[test]
fn queues_are_rebuilt_from_the_log() {
    type Damage = fn(&Disk);
    let damage: [(&str, Damage); 6] = [
        ("all", |disk| {
            disk.remove_dir_all(&config().queue_dir).unwrap()
        }),
        ("first file", |disk| {
            disk.remove_file(&queue_file("A/0", 0)).unwrap()
        }),
        ("a topic", |disk| {
            disk.remove_dir_all(&config().queue_dir.join("B")).unwrap()
        }),
        ("half a file", |disk| {
            let file = disk.open_write(&queue_file("C/1", 0)).unwrap();
            file.set_len(50).unwrap();
        }),
        ("zeros", |disk| {
            let file = disk.open_write(&queue_file("C/1", 0)).unwrap();
            file.write_all_at(&[0; 60], 60).unwrap();
        }),
        ("junk", |disk| {
            let file = disk.open_write(&queue_file("C/1", 0)).unwrap();
            file.write_all_at(&[0x11; 40], QUEUE_FILE_BYTES - 60)
                .unwrap();
        }),
    ];
    for (what, damage) in damage {
        for clean in [false, true] {
            let disk = SimDisk::new(1);
            let store = filled(&disk, config());
            if clean {
                store.close().unwrap();
            } else {
                store.flush_queues(100_001).unwrap();
                let on = Disk::Sim(disk.clone());
                on.remove_file(&config().checkpoint_path).unwrap();
            }
            drop(store);
            damage(&Disk::Sim(disk.clone()));
            let store = open(&disk, config());
            if !clean || what == "all" {
                assert_whole(&store);
            }
        }
    }
}

#[test]
fn a_log_file_cut_short_or_gone_costs_what_was_in_it() {
    for gone in [false, true] {
        let disk = SimDisk::new(1);
        let store = filled(&disk, config());
        store.close().unwrap();
        drop(store);
        let on = Disk::Sim(disk.clone());
        let second = log_file(LOG_FILE_BYTES);
        match gone {
            true => on.remove_file(&second).unwrap(),
            false => on.open_write(&second).unwrap().set_len(0).unwrap(),
        }
        on.remove_dir_all(&config().queue_dir).unwrap();
        let (store, report) = open_with_report(&disk, config());
        assert_eq!(report.bad.len(), 1);
        let found = content(&store);
        for (name, bodies) in expected() {
            let left = &found[&name];
            assert!(left.len() < bodies.len() && left.len() > 3);
            assert!(left.iter().all(|body| bodies.contains(body)));
            assert_eq!(left.last(), bodies.last());
            let next = store.queue(&name.0, name.1).unwrap().next();
            assert_eq!(next, bodies.len() as i64);
        }
    }
}

#[test]
fn sizes_that_do_not_fit_stop_the_start() {
    let disk = SimDisk::new(1);
    filled(&disk, config()).close().unwrap();
    let disk = disk.crash(CrashKeep::All);
    let open = |config| Store::open(config, Disk::Sim(disk.clone())).map(|_| ());
    let smaller_log = Config {
        log_file_bytes: 2048,
        ..config()
    };
    let larger_log = Config {
        log_file_bytes: 3 * 4096,
        ..config()
    };
    for config in [smaller_log, larger_log] {
        let error = open(config).unwrap_err();
        assert!(matches!(error, OpenError::FileSize { .. }), "{error}");
    }
    let no_multiple = Config {
        queue_file_bytes: 30,
        ..config()
    };
    assert!(matches!(open(no_multiple), Err(OpenError::Size { .. })));
    let taken = Disk::Sim(disk.clone())
        .lock(&config().root.join("lock"))
        .unwrap();
    assert!(matches!(open(config()), Err(OpenError::Locked(_))));
    drop(taken);
    // None of them has changed a file.
    open(config()).unwrap();
}

#[test]
fn with_sync_flush_what_was_acknowledged_survives_any_power_cut() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, sync_config());
        let all = messages();
        let acknowledged = seed as usize * 37 % all.len();
        for (index, message) in all.iter().enumerate() {
            append(&store, std::slice::from_ref(message), index as i64);
            if index == acknowledged || index % 17 == 5 && index < acknowledged {
                store.flush().unwrap();
            }
            if index % 11 == 3 {
                store.flush_queues(index as i64 * 3000).unwrap();
            }
        }
        let keep = [CrashKeep::Random, CrashKeep::None][seed as usize % 2];
        let disk = disk.crash(keep);
        let (store, _) = open_with_report(&disk, sync_config());
        let found = content(&store);
        let mut survivors = BTreeMap::new();
        for message in all[..=acknowledged]
            .iter()
            .filter(|message| message.flags == 0)
        {
            let place = survivors
                .entry((message.topic.to_owned(), message.queue_id))
                .or_insert(0_usize);
            let name = (message.topic.to_owned(), message.queue_id);
            assert_eq!(found[&name].get(*place), Some(&message.body), "seed {seed}");
            *place += 1;
        }
        assert_eq!(store.durable().at(), store.log_end().0);
        let again = open(&disk.crash(CrashKeep::None), sync_config());
        assert_eq!(
            content(&again),
            found,
            "what was shown is durable, seed {seed}"
        );
    }
}

#[test]
fn with_async_flush_a_power_cut_takes_only_the_newest() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, config());
        let all = messages();
        let flushed = seed as usize * 37 % all.len();
        for (index, message) in all.iter().enumerate() {
            append(&store, std::slice::from_ref(message), index as i64);
            if index == flushed {
                store.flush().unwrap();
            }
            if index % 11 == 3 {
                store.flush_queues(index as i64 * 3000).unwrap();
            }
        }
        let (store, _) = open_with_report(&disk.crash(CrashKeep::Random), config());
        let found = content(&store);
        // Some prefix of all messages, at least those flushed, and nothing else.
        let left: usize = found.values().map(Vec::len).sum();
        let queued: Vec<_> = all.iter().filter(|message| message.flags == 0).collect();
        let mut prefix = Content::new();
        for message in &queued[..left] {
            let name = (message.topic.to_owned(), message.queue_id);
            prefix.entry(name).or_default().push(message.body.clone());
        }
        let found: Content = found
            .into_iter()
            .filter(|(_, bodies)| !bodies.is_empty())
            .collect();
        assert_eq!(found, prefix, "seed {seed}");
        let kept = all[..=flushed].iter().filter(|message| message.flags == 0);
        assert!(left >= kept.count(), "seed {seed}");
    }
}

/// Recovery dies at each of its steps, by a kill or a power cut, and the next one does as well.
#[test]
fn recovery_can_be_cut_off_anywhere() {
    for keep in [CrashKeep::All, CrashKeep::Random] {
        for step in 0.. {
            let disk = SimDisk::new(step);
            let store = filled(&disk, sync_config());
            store.flush().unwrap();
            let torn = append(&store, &[Message::new("A", 0, "torn")], 99).end.0;
            poke(&store, torn - 20, &[0; 20]);
            drop(store);
            let disk = disk.crash(keep);
            disk.fail(Fault {
                on: FaultOn::AnyChange,
                path: String::new(),
                after: step,
                error: FaultError::Io,
                sticky: true,
            });
            let first = Store::open(sync_config(), Disk::Sim(disk.clone()));
            let done = first.is_ok();
            drop(first);
            let store = open(&disk.crash(keep), sync_config());
            if keep == CrashKeep::All {
                assert_whole(&store);
            } else {
                for (name, bodies) in expected() {
                    assert_eq!(
                        content(&store)[&name][..bodies.len()],
                        bodies,
                        "step {step}"
                    );
                }
            }
            if done {
                assert!(step > 2, "recovery changes something");
                break;
            }
        }
    }
}

#[test]
fn a_topic_begun_again_is_told_from_a_damaged_number() {
    let disk = SimDisk::new(1);
    let store = open(&disk, config());
    for index in 0..5 {
        append(&store, &[Message::new("T", 0, format!("old {index}"))], 1);
    }
    store
        .queue("T", 0)
        .unwrap()
        .next
        .store(0, std::sync::atomic::Ordering::Relaxed);
    store
        .queues
        .cut(&store.queue("T", 0).unwrap(), 0, true)
        .unwrap();
    for index in 0..3 {
        append(&store, &[Message::new("T", 0, format!("new {index}"))], 1);
    }
    let store = open(&disk.crash(CrashKeep::All), config());
    assert_eq!(bodies(&store, "T", 0), [b"new 0", b"new 1", b"new 2"]);
}

/// The same where the old messages had begun to expire: what the new ones' queue has is seen from its first on.
#[test]
fn a_topic_begun_again_has_its_own_minimum() {
    let disk = SimDisk::new(1);
    let store = filled(&disk, config());
    for index in 0..60 {
        append(&store, &[Message::new("T", 0, format!("old {index}"))], 100);
    }
    append(&store, &[Message::new("T", 0, vec![b'.'; 3000])], 100);
    store.flush_queues(200_000).unwrap();
    store.expire(3).unwrap();
    let queue = store.queue("T", 0).unwrap();
    assert!((1..60).contains(&queue.min().0), "{queue:?}");
    // The queue's files were removed, and a power cut brought them back.
    store.queues.begin_at(&queue, 0);
    for index in 0..3 {
        append(&store, &[Message::new("T", 0, format!("new {index}"))], 101);
    }
    let store = open(&disk.crash(CrashKeep::All), config());
    let queue = store.queue("T", 0).unwrap();
    assert_eq!((queue.min().0, queue.max_visible().0), (0, 3));
    assert_eq!(bodies(&store, "T", 0), [b"new 0", b"new 1", b"new 2"]);
}

/// A failed sync leaves in memory what is not on disk, and the kernel takes it for written. The
/// next start shows it to consumers only once it is.
#[test]
fn after_a_failed_sync_a_restart_trusts_nothing_in_memory() {
    for seed in 0..50 {
        for shown in [sync_config(), config()] {
            let disk = SimDisk::new(seed);
            let store = open(&disk, shown.clone());
            append(&store, &[Message::new("T", 0, "good")], 1);
            store.flush().unwrap();
            store.flush_queues(1).unwrap();
            append(&store, &[Message::new("T", 0, vec![b'.'; 1500])], 2);
            disk.fail(Fault {
                on: FaultOn::Sync,
                path: "commitlog".into(),
                after: 0,
                error: FaultError::Io,
                sticky: false,
            });
            store.flush().unwrap_err();
            let disk = disk.crash(CrashKeep::All);
            let store = open(&disk, shown.clone());
            let seen = bodies(&store, "T", 0);
            assert_eq!(seen.len(), 2);
            store.flush().unwrap();
            let store = open(&disk.crash(CrashKeep::None), shown);
            assert_eq!(bodies(&store, "T", 0), seen, "seed {seed}");
        }
    }
}

/// Some file systems make holes of zeros, as copying tools do: they are part of the record.
#[test]
fn a_record_that_ends_in_a_hole_is_whole() {
    let config = Config {
        log_file_bytes: 4 * 4096,
        ..config()
    };
    let disk = SimDisk::new(1);
    let store = open(&disk, config.clone());
    // The length of its properties, zero, is the last thing in a record.
    let end = append(&store, &[Message::new("T", 0, vec![1; 4097 - 92])], 1).end;
    assert_eq!(end.0, 4097);
    let on = Disk::Sim(disk.crash(CrashKeep::All));
    on.remove_file(&log_file(0)).unwrap();
    let file = on.open_write(&log_file(0)).unwrap();
    file.allocate(4 * 4096).unwrap();
    file.write_all_at(&peek(&store, 0, 4096), 0).unwrap();
    let (store, report) = Store::open(config, on).unwrap();
    assert_eq!(report.end, end);
    assert_eq!(bodies(&store, "T", 0).len(), 1);
}

/// A crash cuts short what was just made ahead, and the disk has filled up since: it holds nothing, so it needs no space.
#[test]
fn a_file_made_ahead_and_cut_short_is_removed() {
    const WHOLE: u64 = LOG_FILE_BYTES;
    // Lengths of the files behind the last data, and which of them stay.
    for (made, stay) in [
        (vec![0], vec![]),
        (vec![100], vec![]),
        (vec![WHOLE, 0], vec![3]),
        (vec![0, 100], vec![]),
        // As a power cut may leave them.
        (vec![0, WHOLE, 0], vec![4]),
    ] {
        let disk = SimDisk::new(1);
        let store = filled(&disk, config());
        let end = store.log_end();
        assert_eq!(end.0 as u64 / LOG_FILE_BYTES, 2);
        store.flush_queues(200_000).unwrap();
        drop(store);
        let disk = disk.crash(CrashKeep::All);
        let on = Disk::Sim(disk.clone());
        for (number, len) in (3..).zip(&made) {
            let file = on.open_write(&log_file(number * LOG_FILE_BYTES)).unwrap();
            file.set_len(0).unwrap();
            file.allocate(*len).unwrap();
        }
        disk.set_capacity(Some(disk.used()));
        let (store, report) = open_with_report(&disk, config());
        assert_eq!((report.end, report.bad.len()), (end, 0), "{made:?}");
        assert_whole(&store);
        let found = store.log.segments().into_iter().skip(3);
        let found: Vec<_> = found
            .map(|file| file.start as u64 / LOG_FILE_BYTES)
            .collect();
        assert_eq!(found, stay, "{made:?}");
        disk.set_capacity(None);
        for _ in 0..20 {
            append(&store, &[Message::new("Z", 0, vec![b'.'; 1000])], 100);
        }
        assert_eq!(bodies(&store, "Z", 0).len(), 20);
    }
}

/// The first file says where the log goes on, though all before it has expired: it stays, whatever it has.
#[test]
fn the_first_file_is_made_whole_again() {
    let disk = SimDisk::new(1);
    let store = filled(&disk, config());
    store.flush_queues(100_001).unwrap();
    store.expire(9).unwrap();
    let first = store.log_min().0;
    assert!(first > 0);
    drop(store);
    let disk = disk.crash(CrashKeep::All);
    let file = Disk::Sim(disk.clone())
        .open_write(&log_file(first as u64))
        .unwrap();
    file.set_len(0).unwrap();
    let store = open(&disk, config());
    assert_eq!(store.log_min().0, first);
}

/// The names of new queues' files and directories are not durable one by one, but once a checkpoint
/// vouches for their entries they are: whether few are synced each or many with the file system.
#[test]
fn a_checkpoint_vouches_for_the_names_of_new_queues_too() {
    const NAMES: [&str; 4] = ["N0", "N1", "N2", "N3"];
    for queues in [1, crate::limits::SYNC_FILES_MAX as i32] {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            let store = filled(&disk, sync_config());
            store.flush().unwrap();
            store.flush_queues(200_000).unwrap();
            let mut expected = expected();
            let mut send = |store: &Store, topic: &'static str| {
                for id in 0..queues {
                    let body = format!("{topic} {id}").into_bytes();
                    append(store, &[Message::new(topic, id, body.clone())], 100);
                    expected.insert((topic.to_owned(), id), vec![body]);
                }
                store.flush().unwrap();
            };
            for topic in NAMES {
                send(&store, topic);
            }
            store.flush_queues(300_000).unwrap();
            let vouched = store.log_end();
            // Written too, but nobody vouches for these.
            send(&store, "Later");
            store.flush_queues(300_001).unwrap();
            let keep = match seed % 2 {
                0 => CrashKeep::None,
                _ => CrashKeep::Random,
            };
            let (store, report) = open_with_report(&disk.crash(keep), sync_config());
            assert_eq!(report.scanned_from, vouched, "{queues} queues, seed {seed}");
            assert_eq!(content(&store), expected, "{queues} queues, seed {seed}");
            assert_queues_agree_with_log(&store);
        }
    }
}

/// A topic's directory may be on another disk, which the sync of the first one's file system leaves out.
#[test]
fn a_checkpoint_vouches_for_queues_on_another_file_system() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let far = config().queue_dir.join("Far");
        Disk::Sim(disk.clone()).create_dir_all(&far).unwrap();
        disk.mount(&far);
        let store = open(&disk, sync_config());
        for id in 0..crate::limits::SYNC_FILES_MAX as i32 {
            append(&store, &[Message::new("Near", id, "x")], 1);
        }
        append(&store, &[Message::new("Far", 0, "x")], 1);
        store.flush().unwrap();
        store.flush_queues(100_000).unwrap();
        let end = store.log_end();
        let keep = match seed % 2 {
            0 => CrashKeep::None,
            _ => CrashKeep::Random,
        };
        let (store, report) = open_with_report(&disk.crash(keep), sync_config());
        assert_eq!(report.scanned_from, end, "seed {seed}");
        assert_eq!(bodies(&store, "Far", 0).len(), 1, "seed {seed}");
        assert_queues_agree_with_log(&store);
    }
}

/// What no queue entry can say is not followed into the log, whatever it asks for.
#[test]
fn an_entry_with_a_negative_size_names_no_record() {
    for count in 2..24 {
        let disk = SimDisk::new(1);
        let store = open(&disk, config());
        let mut last = 0;
        for number in 0..count {
            let appended = append(&store, &[Message::new("A", 0, [number])], 1);
            last = appended.entries[0].0.0;
        }
        append(&store, &[Message::new("B", 0, "follows")], 1);
        store.close().unwrap();
        drop(store);
        let files = Disk::Sim(disk.clone());
        let flip = |path: PathBuf, at: u64, bit: u8| {
            let file = files.open_existing(&path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at, Wait::ForDisk).unwrap();
            file.write_all_at(&[byte[0] ^ bit], at).unwrap();
        };
        // Its record is none, so that the entry before it is asked.
        let start = last - last % LOG_FILE_BYTES as i64;
        flip(log_file(start as u64), (last - start) as u64 + 4, 1);
        let at = (u64::from(count) - 2) * 20 + 8;
        let start = at - at % QUEUE_FILE_BYTES;
        flip(queue_file("A/0", start), at - start, 0x80);
        let store = open(&disk, config());
        let expected: Vec<_> = (0..count - 1).map(|number| vec![number]).collect();
        assert_eq!(bodies(&store, "A", 0), expected, "{count}");
    }
}
