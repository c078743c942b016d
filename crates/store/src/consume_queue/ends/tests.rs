//! What a start believes of the note of queue ends, and what it does not.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use crate::testing::{LOG_FILE_BYTES, Message, Snapshot, append, bodies, config, open, snapshot};

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

/// What consumers know of all queues.
fn ends_of(snapshot: &Snapshot) -> Vec<(&(String, i32), [i64; 2])> {
    snapshot.queues.iter().map(|queue| queue.ends()).collect()
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

type Change = (&'static str, fn(&Disk));

/// Writes to it what it has.
fn rewrite(disk: &Disk, path: PathBuf) {
    let bytes = disk.read(&path).unwrap();
    let file = disk.open_existing(&path).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
}

/// As `cp -r` does.
fn copy_queue(disk: &Disk, from: &str, to: &str) {
    disk.create_dir_all(&queue_path(to)).unwrap();
    for entry in disk.list(&queue_path(from)).unwrap() {
        let bytes = disk.read(&queue_path(from).join(&entry.name)).unwrap();
        let file = disk.open_write(&queue_path(to).join(&entry.name)).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    }
}

const CHANGES: &[Change] = &[
    ("topic removed", |disk| {
        disk.remove_dir_all(&queue_path("B")).unwrap();
    }),
    ("topic added", |disk| {
        disk.create_dir(&queue_path("F")).unwrap();
    }),
    ("topic put back", |disk| copy_queue(disk, "A/1", "F/0")),
    ("queue removed", |disk| {
        disk.remove_dir_all(&queue_path("A/1")).unwrap();
    }),
    ("queue added", |disk| {
        disk.create_dir(&queue_path("A/2")).unwrap();
    }),
    ("queue put back", |disk| copy_queue(disk, "A/1", "A/2")),
    ("known queue put back", |disk| {
        copy_queue(disk, "A/1", "E/0");
    }),
    ("first file removed", |disk| {
        let path = queue_path("A/0").join(file_name(0));
        disk.remove_file(&path).unwrap();
    }),
    ("second file removed", |disk| {
        let path = queue_path("A/0").join(file_name(400));
        disk.remove_file(&path).unwrap();
    }),
    ("only file removed", |disk| {
        let path = queue_path("B/1").join(file_name(0));
        disk.remove_file(&path).unwrap();
    }),
    ("file added", |disk| {
        let path = queue_path("B/1").join(file_name(400));
        disk.open_write(&path).unwrap();
    }),
    ("second file cut short", |disk| {
        let path = queue_path("A/0").join(file_name(400));
        disk.open_existing(&path).unwrap().set_len(0).unwrap();
    }),
    ("only file cut short", |disk| {
        let path = queue_path("B/1").join(file_name(0));
        disk.open_existing(&path).unwrap().set_len(0).unwrap();
    }),
    ("only file overwritten", |disk| {
        rewrite(disk, queue_path("B/1").join(file_name(0)));
    }),
    ("queue replaced by a copy", |disk| {
        copy_queue(disk, "B/1", "B/9");
        disk.remove_dir_all(&queue_path("B/1")).unwrap();
        copy_queue(disk, "B/9", "B/1");
        disk.remove_dir_all(&queue_path("B/9")).unwrap();
    }),
    ("log overwritten", |disk| {
        rewrite(disk, config().commit_log_dir.join(file_name(0)));
    }),
    ("log file removed", |disk| {
        let path = config().commit_log_dir.join(file_name(0));
        disk.remove_file(&path).unwrap();
    }),
    ("log file added", |disk| {
        let path = config().commit_log_dir.join(file_name(1 << 20));
        disk.open_write(&path).unwrap();
    }),
    ("checkpoint of another time", |disk| {
        let path = config().checkpoint_path;
        let file = disk.open_existing(&path).unwrap();
        file.write_all_at(&1_i64.to_be_bytes(), 0).unwrap();
    }),
    ("no checkpoint", |disk| {
        disk.remove_file(&config().checkpoint_path).unwrap();
    }),
    ("killed since", |disk| {
        disk.replace(&config().abort_path, b"1").unwrap();
    }),
];

/// In place and not the last, it has no stamp.
const OLDER: Change = ("first file cut short", |disk| {
    let path = queue_path("A/0").join(file_name(0));
    disk.open_existing(&path).unwrap().set_len(0).unwrap();
});

#[test]
fn what_was_changed_by_hand_is_seen() {
    for (name, change) in CHANGES {
        let disk = closed(1);
        change(&files(&disk));
        assert!(!believes(&disk, config()), "{name}");
    }
}

/// A close does not note what it did not leave there itself: that would be believed from then on.
#[test]
fn what_was_changed_while_the_store_was_open_is_not_noted() {
    let mut noted = Vec::new();
    for (name, change) in CHANGES.iter().chain([&OLDER]) {
        for goes_on in [false, true] {
            let disk = SimDisk::new(1);
            let store = open(&disk, config());
            fill(&store, 0);
            fill(&store, 1);
            store.flush().unwrap();
            store.queues.write_all_out().unwrap();
            change(&files(&disk));
            if goes_on {
                append(&store, &[Message::new("B", 1, "goes on")], 9999);
                append(&store, &[Message::new("A", 0, "goes on")], 9999);
            }
            let closed = store.close();
            drop(store);
            let without = copy(&disk);
            remove(&config(), &files(&without)).unwrap();
            let start = |disk: Arc<SimDisk>| {
                let opened = Store::open(config(), files(&disk));
                let store = opened.map_err(|error| error.to_string())?.0;
                Ok::<_, String>(snapshot(&store))
            };
            if closed.is_ok() && believes(&disk, config()) {
                noted.push(*name);
            }
            assert_eq!(start(copy(&disk)), start(without), "{name}, {goes_on}");
        }
    }
    // What is left harms nobody, or the close has made it good.
    noted.dedup();
    let harmless = [
        "topic added",
        "file added",
        "only file overwritten",
        "queue replaced by a copy",
        "log overwritten",
        "checkpoint of another time",
        "no checkpoint",
        "killed since",
    ];
    assert_eq!(noted, harmless);
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
            let found = snapshot(&store);
            assert_eq!(ends_of(&found), ends_of(&expected), "off after {after}");
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

/// A write within the second of the close would not be told by the stamps.
#[test]
fn where_times_are_whole_seconds_nothing_is_noted() {
    let disk = SimDisk::new(1);
    disk.coarsen();
    let store = open(&disk, config());
    fill(&store, 0);
    store.close().unwrap();
    assert!(!files(&disk).exists(&path(&config())));
}

#[test]
fn without_stamps_nothing_is_noted_or_believed() {
    let expected = snapshot(&open(&closed(1), config()));
    for after in 0.. {
        let fail = |disk: &SimDisk| {
            disk.fail(Fault {
                on: FaultOn::Stamp,
                path: String::new(),
                after,
                error: FaultError::Io,
                sticky: false,
            });
        };
        let disk = SimDisk::new(1);
        let store = open(&disk, config());
        fill(&store, 0);
        fail(&disk);
        store.close().unwrap();
        let is_noted = files(&disk).exists(&path(&config()));
        let start = closed(1);
        fail(&start);
        assert_eq!(snapshot(&open(&start, config())), expected);
        if is_noted {
            assert!(after > 10, "stamps are asked for");
            break;
        }
    }
}

/// Two stores may have their checkpoints in one directory.
#[test]
fn each_checkpoint_has_a_note_of_its_own() {
    let of = |name: &str| {
        path(&Config {
            checkpoint_path: name.into(),
            ..config()
        })
    };
    assert_eq!(of("/d/a.ckpt"), PathBuf::from("/d/a.ckpt-queueends"));
    assert_ne!(of("/d/a.ckpt"), of("/d/b.ckpt"));
}

/// What the stamps could not tell: the log goes on behind where it ended.
#[test]
fn a_log_that_goes_on_is_read() {
    let disk = closed(1);
    let then = files(&disk);
    let at_close = then.read(&config().checkpoint_path).unwrap();
    let mut ends = Ends::decode(&then.read(&path(&config())).unwrap()).unwrap();
    let store = open(&disk, config());
    append(&store, &[Message::new("B", 1, "behind")], 9999);
    append(&store, &[Message::new("New", 0, "behind")], 9999);
    store.close().unwrap();
    let expected = snapshot(&store);
    drop(store);
    let now = Ends::decode(&then.read(&path(&config())).unwrap()).unwrap();
    ends.log_dir = now.log_dir;
    ends.log_files = now.log_files;
    ends.queue_dir = now.queue_dir;
    let stamps = now
        .topics
        .into_iter()
        .map(|topic| (topic.name.clone(), topic));
    let mut stamps: std::collections::HashMap<_, _> = stamps.collect();
    for topic in &mut ends.topics {
        let now = stamps.remove(&topic.name).unwrap();
        topic.dir = now.dir;
        for (then, now) in topic.queues.iter_mut().zip(now.queues) {
            then.dir = now.dir;
            if let (Some(then), Some(now)) = (&mut then.files, now.files) {
                then.last = now.last;
            }
        }
    }
    then.replace(&config().checkpoint_path, &at_close).unwrap();
    then.replace(&path(&config()), &ends.encode()).unwrap();
    let checkpoint = Checkpoint::read(&then, &config().checkpoint_path);
    let checkpoint = checkpoint.unwrap().unwrap();
    assert!(Ends::noted(&config(), &then, &checkpoint).is_some());
    assert!(!believes(&disk, config()), "not enough to go by");
    let found = snapshot(&open(&disk, config()));
    assert_eq!(ends_of(&found), ends_of(&expected));
}

#[test]
fn many_are_asked_in_order() {
    let all: Vec<u32> = (0..1001).collect();
    let tenfold = |number: &u32| Ok(number * 10);
    let answers = for_each(&all, tenfold).unwrap();
    assert!(answers.into_iter().eq((0..1001).map(|number| number * 10)));
    let fails = |number: &u32| match number {
        777 => Err(io::Error::other("777")),
        _ => Ok(()),
    };
    assert_eq!(for_each(&all, fails).unwrap_err().to_string(), "777");
}
