//! The index against a plain map, over restarts and crashes at every step.

use super::*;

/// So many that header and entries lie in different sectors.
const SLOTS: u32 = 100;

/// A log whose index is under test. Record `n` is at offset `n * 10`.
#[derive(Default)]
struct Log {
    /// Keys of each record.
    records: Vec<Vec<u8>>,
}

impl Log {
    fn put(&self, index: &Index, n: usize) -> io::Result<()> {
        let keys: Vec<String> = self.records[n]
            .iter()
            .map(|key| format!("key{key}"))
            .collect();
        let (first, rest) = keys
            .split_first()
            .map_or((None, &keys[..]), |(a, b)| (Some(a), b));
        let rest = rest.join(" ");
        let at = n as i64 * 10;
        let uniq_key = first.map(String::as_str);
        index.put(
            &IndexRecord {
                uniq_key,
                ..record("T", &rest, at, at * 100)
            },
            now(),
        )
    }

    /// As the follower does after a start.
    fn follow(&self, index: &Index) -> io::Result<()> {
        let next = index.next_log_offset()?.unwrap_or_default();
        let from = usize::try_from(next.0 / 10).unwrap();
        (from..self.records.len()).try_for_each(|n| self.put(index, n))
    }

    fn check(&self, index: &Index) {
        let mut expected: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
        for (n, keys) in self.records.iter().enumerate().rev() {
            for key in keys {
                expected.entry(*key).or_default().push(n as i64 * 10);
            }
        }
        for key in 0..KEYS {
            let mut found = offsets(index, "T", &format!("key{key}"));
            // Other keys may have the hash.
            found.retain(|at| self.records[*at as usize / 10].contains(&key));
            let mut expected = expected.remove(&key).unwrap_or_default();
            // A key named twice.
            expected.dedup();
            assert_eq!(found, expected, "key{key}");
        }
    }
}

const KEYS: u8 = 12;

fn open_after(disk: &Disk, log: &Log, last_exit: LastExit) -> Index {
    let log_end = LogOffset(log.records.len() as i64 * 10);
    Index::open(disk, DIR.into(), SLOTS, ENTRIES_MAX, log_end, last_exit).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<Vec<u8>>),
    Flush,
    Reopen,
    /// The log loses up to so many records, too.
    Crash(bool, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let keys = prop::collection::vec(0..KEYS, 0..5);
    prop_oneof![
        4 => prop::collection::vec(keys, 1..12).prop_map(Step::Put),
        3 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => (any::<bool>(), prop_oneof![Just(0), 0_usize..40]).prop_map(|(power, lost)| Step::Crash(power, lost)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]
    #[test]
    fn as_a_map(seed: u64, steps in prop::collection::vec(step(), 1..40)) {
        let mut sim = SimDisk::new(seed);
        let mut log = Log::default();
        let mut index_ms = 0;
        let mut index = open_after(&Disk::Sim(sim.clone()), &log, LastExit::Clean);
        for step in steps {
            match step {
                Step::Put(records) => for keys in records {
                    log.records.push(keys);
                    log.put(&index, log.records.len() - 1).unwrap();
                },
                Step::Flush => {
                    index.flush().unwrap();
                    index_ms = index.sealed_timestamp();
                }
                Step::Reopen => {
                    index.close().unwrap();
                    index_ms = index.sealed_timestamp();
                    index = open_after(&Disk::Sim(sim.clone()), &log, LastExit::Clean);
                    log.check(&index);
                    log.follow(&index).unwrap();
                }
                Step::Crash(power, lost) => {
                    sim = sim.crash(if power { CrashKeep::Random } else { CrashKeep::All });
                    let kept = log.records.len() - if power { lost.min(log.records.len()) } else { 0 };
                    log.records.truncate(kept);
                    index = open_after(&Disk::Sim(sim.clone()), &log, LastExit::Crash { index_ms });
                    if lost == 0 {
                        nothing_is_cut(&index);
                    }
                    log.follow(&index).unwrap();
                }
            }
            log.check(&index);
        }
    }
}

/// If the log is whole, so is all that the headers count.
fn nothing_is_cut(index: &Index) {
    let unrecovered = index
        .state
        .lock()
        .unrecovered
        .as_ref()
        .map(|files| files.counted());
    let Some(counted) = unrecovered else { return };
    index.next_log_offset().unwrap();
    let state = index.state.lock();
    let kept = |name| {
        let active = state
            .active
            .as_ref()
            .filter(|active| active.file.name == name);
        let file = state.files.iter().find(|file| file.name == name);
        active
            .map(|active| active.header.next)
            .or(file.map(|file| file.header.next))
    };
    let (name, next) = counted[0];
    assert_eq!(kept(name).unwrap_or(1), next);
}

/// Puts, rolls, closes and reopens, until the disk is gone.
fn run(sim: &Arc<SimDisk>, log: &mut Log, index_ms: &mut i64) -> io::Result<()> {
    let disk = Disk::Sim(sim.clone());
    for _ in 0..2 {
        let log_end = LogOffset(log.records.len() as i64 * 10);
        let index = Index::open(
            &disk,
            DIR.into(),
            SLOTS,
            ENTRIES_MAX,
            log_end,
            LastExit::Clean,
        )?;
        for n in 0..22_u8 {
            log.records.push(vec![n % KEYS, n % 5, n % 3]);
            log.put(&index, log.records.len() - 1)?;
            if n % 7 == 0 {
                index.flush()?;
                *index_ms = index.sealed_timestamp();
            }
        }
        index.close()?;
    }
    Ok(())
}

fn run_until(changes: u64, seed: u64) -> (Arc<SimDisk>, Log, i64) {
    let sim = SimDisk::new(seed);
    let on = FaultOn::AnyChange;
    let path = String::new();
    sim.fail(Fault {
        on,
        path,
        after: changes,
        error: FaultError::Io,
        sticky: true,
    });
    let (mut log, mut index_ms) = (Log::default(), 0);
    let result = run(&sim, &mut log, &mut index_ms);
    assert_eq!(result.is_ok(), sim.changes() <= changes);
    (sim, log, index_ms)
}

#[test]
fn a_crash_at_every_change() {
    let (all, ..) = run_until(u64::MAX, 0);
    for changes in 0..=all.changes() {
        for seed in 0..20 {
            let (sim, log, index_ms) = run_until(changes, seed);
            let keep = if seed == 0 {
                CrashKeep::None
            } else {
                CrashKeep::Random
            };
            let mut disk = Disk::Sim(sim.crash(keep));
            // The second time it dies while it recovers, wherever it was.
            if let Disk::Sim(sim) = &disk
                && seed % 2 == 1
            {
                let on = FaultOn::AnyChange;
                let path = String::new();
                sim.fail(Fault {
                    on,
                    path,
                    after: seed / 2,
                    error: FaultError::Io,
                    sticky: true,
                });
                let log_end = LogOffset(log.records.len() as i64 * 10);
                let exit = LastExit::Crash { index_ms };
                let index = Index::open(&disk, DIR.into(), SLOTS, ENTRIES_MAX, log_end, exit);
                let _ = index.and_then(|index| log.follow(&index).and_then(|()| index.flush()));
                disk = Disk::Sim(sim.crash(CrashKeep::Random));
            }
            let index = open_after(&disk, &log, LastExit::Crash { index_ms });
            log.follow(&index).unwrap();
            log.check(&index);
            index.close().unwrap();
            let index = open_after(&disk, &log, LastExit::Clean);
            log.check(&index);
        }
    }
}

/// Slots built again from the entries are what an undisturbed run writes.
#[test]
fn rebuilt_files_are_the_same() {
    let fill = |sim: &Arc<SimDisk>| {
        let index = open_sized(&Disk::Sim(sim.clone()), SLOTS, ENTRIES_MAX);
        for n in 0..50 {
            let keys = format!("a{n} b{}", n % 4);
            index.put(&record("T", &keys, n, n * 700), now()).unwrap();
        }
        index.flush().unwrap();
        index
    };
    let content = |sim: &Arc<SimDisk>| {
        let disk = Disk::Sim(sim.clone());
        files(&disk)
            .iter()
            .map(|name| hex(&disk.read(&Path::new(DIR).join(name)).unwrap()))
            .collect::<Vec<_>>()
    };
    let undisturbed = SimDisk::new(1);
    fill(&undisturbed).close().unwrap();
    let crashed = SimDisk::new(1);
    fill(&crashed);
    let crashed = crashed.crash(CrashKeep::Random);
    let last_exit = LastExit::Crash { index_ms: 0 };
    let index = Index::open(
        &Disk::Sim(crashed.clone()),
        DIR.into(),
        SLOTS,
        ENTRIES_MAX,
        LogOffset(50),
        last_exit,
    )
    .unwrap();
    assert_eq!(index.next_log_offset().unwrap(), Some(LogOffset(49)));
    index.close().unwrap();
    assert_eq!(content(&crashed), content(&undisturbed));
    assert_eq!(content(&crashed).len(), 5);
}

/// A file whose header counts more than its entries, as a crash of Java's may leave it.
#[test]
fn entries_that_are_not_there_are_not_counted() {
    for damaged in 1..20 {
        let sim = SimDisk::new(1);
        let disk = Disk::Sim(sim.clone());
        let index = open_sized(&disk, SLOTS, ENTRIES_MAX);
        let log = Log {
            records: (0..20).map(|n| vec![n % KEYS]).collect(),
        };
        log.follow(&index).unwrap();
        index.close().unwrap();
        let path = Path::new(DIR).join(&files(&disk)[0]);
        let at = index.layout.entry_at(damaged);
        disk.open_write(&path)
            .unwrap()
            .write_all_at(&[0; 20], at)
            .unwrap();
        let index = open_after(&disk, &log, LastExit::Crash { index_ms: 0 });
        let next = index
            .next_log_offset()
            .unwrap()
            .map_or(-1, |offset| offset.0);
        assert_eq!(
            next,
            if damaged == 1 {
                -1
            } else {
                i64::from(damaged - 2) * 10
            }
        );
        log.follow(&index).unwrap();
        log.check(&index);
    }
}
