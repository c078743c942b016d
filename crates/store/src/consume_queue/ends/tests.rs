//! What a start believes of the note of queue ends, and what it does not.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use crate::testing::{LOG_FILE_BYTES, Message, append, bodies, config, open, snapshot};

/// Queues of several files, of one, of a half message alone, and one that was only asked for.
fn fill(store: &Store, round: usize) {
    for index in 0..70 {
        let topic = ["A", "B", "A", "A", "C"][index % 5];
        let message = Message::new(topic, (index % 2) as i32, format!("{round} {index}"));
        append(store, &[message], (100 * round + index) as i64);
    }
    append(store, &[Message::new("D", 0, "half").prepared()], 1000);
    store.queue_or_create("E", 0).unwrap();
}

fn closed(seed: u64) -> Arc<SimDisk> {
    let disk = SimDisk::new(seed);
    let store = open(&disk, config());
    fill(&store, 0);
    store.close().unwrap();
    drop(store);
    disk
}

fn copy(disk: &Arc<SimDisk>) -> Arc<SimDisk> {
    disk.crash(CrashKeep::All)
}

fn files(disk: &Arc<SimDisk>) -> Disk {
    Disk::Sim(disk.clone())
}

/// Whether a start opens and lists nothing of the queues.
fn believes(disk: &Arc<SimDisk>, config: Config) -> bool {
    let disk = copy(disk);
    disk.fail(Fault {
        on: FaultOn::Read,
        path: "consumequeue".into(),
        after: 0,
        error: FaultError::Io,
        sticky: true,
    });
    Store::open(config, files(&disk)).is_ok()
}

#[track_caller]
fn assert_same_both_ways(disk: &Arc<SimDisk>) {
    assert!(believes(disk, config()));
    let by_ends = snapshot(&open(&copy(disk), config()));
    let by_files = copy(disk);
    remove(&config(), &files(&by_files)).unwrap();
    assert!(!believes(&by_files, config()));
    assert_eq!(by_ends, snapshot(&open(&by_files, config())));
}

fn queue_path(name: &str) -> PathBuf {
    config().queue_dir.join(name)
}

#[test]
fn a_start_after_a_close_opens_no_queue_file() {
    let disk = closed(1);
    assert_same_both_ways(&disk);
    // Nothing has changed: the next close notes the same, also of what is new, and what has gone.
    let store = open(&disk, config());
    assert!(!files(&disk).exists(&path(&config())), "used once");
    store.close().unwrap();
    drop(store);
    assert_same_both_ways(&disk);
    let store = open(&disk, config());
    fill(&store, 1);
    append(&store, &[Message::new("New", 7, "x")], 2000);
    let expired = store.expire(3).unwrap();
    assert!(expired.log_files > 0 && expired.queue_files > 0);
    store.close().unwrap();
    drop(store);
    assert_same_both_ways(&disk);
    assert_eq!(bodies(&open(&disk, config()), "New", 7), [b"x"]);
}

#[test]
fn an_empty_store_notes_nothing() {
    let disk = SimDisk::new(1);
    open(&disk, config()).close().unwrap();
    assert!(!files(&disk).exists(&path(&config())));
}

#[test]
fn what_was_changed_by_hand_is_seen() {
    let rewritten = |disk: &Disk, path: PathBuf| {
        let bytes = disk.read(&path).unwrap();
        let file = disk.open_existing(&path).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    };
    type Meddle<'a> = (&'a str, &'a dyn Fn(&Disk));
    let log_file = config().commit_log_dir.join(file_name(0));
    let changes: &[Meddle<'_>] = &[
        ("topic removed", &|disk| {
            disk.remove_dir_all(&queue_path("B")).unwrap();
        }),
        ("topic added", &|disk| {
            disk.create_dir(&queue_path("F")).unwrap();
        }),
        ("queue removed", &|disk| {
            disk.remove_dir_all(&queue_path("A/1")).unwrap();
        }),
        ("queue added", &|disk| {
            disk.create_dir(&queue_path("A/2")).unwrap();
        }),
        ("first file removed", &|disk| {
            let path = queue_path("A/0").join(file_name(0));
            disk.remove_file(&path).unwrap();
        }),
        ("only file removed", &|disk| {
            let path = queue_path("B/1").join(file_name(0));
            disk.remove_file(&path).unwrap();
        }),
        ("file added", &|disk| {
            let path = queue_path("B/1").join(file_name(400));
            disk.open_write(&path).unwrap();
        }),
        ("last file overwritten", &|disk| {
            rewritten(disk, queue_path("B/1").join(file_name(0)));
        }),
        ("topic replaced by a copy", &|disk| {
            let path = queue_path("B/1").join(file_name(0));
            let bytes = disk.read(&path).unwrap();
            disk.remove_dir_all(&queue_path("B/1")).unwrap();
            disk.create_dir(&queue_path("B/1")).unwrap();
            let file = disk.open_write(&path).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
        }),
        ("log overwritten", &|disk| rewritten(disk, log_file.clone())),
        ("log file removed", &|disk| {
            disk.remove_file(&log_file).unwrap();
        }),
        ("log file added", &|disk| {
            let path = config().commit_log_dir.join(file_name(1 << 20));
            disk.open_write(&path).unwrap();
        }),
        ("checkpoint of another time", &|disk| {
            let path = config().checkpoint_path;
            let file = disk.open_existing(&path).unwrap();
            file.write_all_at(&1_i64.to_be_bytes(), 0).unwrap();
        }),
        ("no checkpoint", &|disk| {
            disk.remove_file(&config().checkpoint_path).unwrap();
        }),
        ("killed since", &|disk| {
            disk.replace(&config().abort_path, b"1").unwrap();
        }),
    ];
    for (name, change) in changes {
        let disk = closed(1);
        change(&files(&disk));
        assert!(!believes(&disk, config()), "{name}");
    }
}

#[test]
fn another_size_is_seen() {
    let disk = closed(1);
    let of = |queue_file_bytes, log_file_bytes| Config {
        queue_file_bytes,
        log_file_bytes,
        ..config()
    };
    // What is there wins, and to find that out some files are looked at.
    assert!(!believes(&disk, of(800, LOG_FILE_BYTES)));
    let store = open(&copy(&disk), of(800, LOG_FILE_BYTES));
    assert_eq!(store.config().queue_file_bytes, 400);
    assert_eq!(snapshot(&store), snapshot(&open(&copy(&disk), config())));
    assert!(Store::open(of(400, 2048), files(&copy(&disk))).is_err());
    assert!(!believes(&disk, of(400, 2 * LOG_FILE_BYTES)));
}

#[test]
fn what_is_torn_is_not_believed() {
    let disk = closed(1);
    let (path, disk) = (path(&config()), files(&disk));
    let bytes = disk.read(&path).unwrap();
    let checkpoint = Checkpoint::read(&disk, &config().checkpoint_path);
    let checkpoint = checkpoint.unwrap().unwrap();
    let noted = || Ends::noted(&config(), &disk, &checkpoint);
    assert!(noted().is_some());
    let mut other = checkpoint.clone();
    other.extra.as_mut().unwrap().log_durable.0 += 1;
    assert!(Ends::noted(&config(), &disk, &other).is_none());
    let file = disk.open_existing(&path).unwrap();
    for at in 0..bytes.len() {
        file.set_len(at as u64).unwrap();
        assert!(noted().is_none(), "ends at {at}");
        file.write_all_at(&bytes[at..], at as u64).unwrap();
        file.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
        assert!(noted().is_none(), "other at {at}");
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    assert!(noted().is_some());
}

/// A note that comes back, or that an older Skylark has left there, is not that of the last close.
#[test]
fn that_of_an_earlier_close_or_another_store_is_not_believed() {
    let disk = closed(1);
    let note = files(&disk).read(&path(&config())).unwrap();
    let put_back = |disk: &Arc<SimDisk>| {
        files(disk).replace(&path(&config()), &note).unwrap();
    };
    let store = open(&disk, config());
    append(&store, &[Message::new("A", 0, "one more")], 3000);
    let killed = copy(&disk);
    put_back(&killed);
    assert!(!believes(&killed, config()));
    files(&killed).remove_file(&config().abort_path).unwrap();
    assert!(
        !believes(&killed, config()),
        "an abort file removed by hand"
    );
    store.close().unwrap();
    drop(store);
    assert_same_both_ways(&disk);
    put_back(&disk);
    assert!(!believes(&disk, config()));

    let other = SimDisk::new(1);
    let store = open(&other, config());
    for index in 0..9 {
        append(&store, &[Message::new("A", index, "x")], 1);
    }
    fill(&store, 0);
    store.close().unwrap();
    drop(store);
    put_back(&other);
    assert!(!believes(&other, config()));
}

/// Power may go at any moment of a close, and of the start after it.
#[test]
fn after_a_power_cut_queues_are_whole() {
    let mut seen = [false; 2];
    for after in 0.. {
        let disk = SimDisk::new(after);
        let store = open(&disk, config());
        fill(&store, 0);
        store.flush().unwrap();
        let expected = snapshot(&store);
        off(&disk, after);
        let stopped = store.close();
        drop(store);
        disk.heal();
        let cut = disk.crash(CrashKeep::Random);
        seen[usize::from(believes(&cut, config()))] = true;
        let start = copy(&cut);
        off(&start, after);
        let started = Store::open(config(), files(&start));
        drop(started);
        for disk in [cut, start.crash(CrashKeep::Random)] {
            let store = open(&disk, config());
            for (found, expected) in snapshot(&store).queues.iter().zip(&expected.queues) {
                assert_eq!(found.ends(), expected.ends(), "off after {after}");
            }
            append(&store, &[Message::new("B", 1, "goes on")], 9999);
            store.close().unwrap();
            drop(store);
            assert_same_both_ways(&disk);
        }
        if stopped.is_ok() && after > 150 {
            break;
        }
    }
    assert_eq!(seen, [true; 2], "both ways of starting");
}

fn off(disk: &Arc<SimDisk>, after: u64) {
    disk.fail(Fault {
        on: FaultOn::AnyChange,
        path: String::new(),
        after,
        error: FaultError::Io,
        sticky: true,
    });
}

/// Queues that did not follow when the log lost old files are not as they say.
#[test]
fn what_did_not_expire_is_found_by_the_files() {
    let fails = [
        (FaultOn::Remove, "consumequeue/A/0", 0),
        (FaultOn::Remove, "commitlog", 1),
    ];
    for (on, path, after) in fails {
        let disk = closed(1);
        let store = open(&disk, config());
        fill(&store, 1);
        disk.fail(Fault {
            on,
            path: path.into(),
            after,
            error: FaultError::Io,
            sticky: false,
        });
        assert!(store.expire(3).is_err());
        store.close().unwrap();
        drop(store);
        assert!(!believes(&disk, config()), "{path}");
    }
}

/// Apache's broker, or a disk that is full, may leave anything there; it is no reason to fail.
#[test]
fn a_note_that_cannot_be_written_or_read_is_none() {
    for on in [FaultOn::Write, FaultOn::Create, FaultOn::Sync] {
        let disk = SimDisk::new(1);
        let store = open(&disk, config());
        fill(&store, 0);
        disk.fail(Fault {
            on,
            path: "queueends".into(),
            after: 0,
            error: FaultError::NoSpace,
            sticky: true,
        });
        store.close().unwrap();
        let expected = snapshot(&store);
        drop(store);
        disk.heal();
        assert_eq!(
            snapshot(&open(&disk, config())).queues,
            expected.queues,
            "{on:?}"
        );
    }
    let disk = closed(1);
    let expected = snapshot(&open(&copy(&disk), config()));
    disk.fail(Fault {
        on: FaultOn::Read,
        path: "queueends".into(),
        after: 0,
        error: FaultError::Io,
        sticky: true,
    });
    assert_eq!(snapshot(&open(&disk, config())), expected);
}
