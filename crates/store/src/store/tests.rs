//! The store against a plain list of messages, over restarts, crashes, power cuts and disk faults.
//!
//! What is checked after each step: every visible message is the one that was appended there, none
//! is missing, and every key leads to its messages. After a power cut: nothing acknowledged is lost
//! with sync flush, and with async flush what is left is all that came before some point of the log.
//! After a close: a start by what it has noted of the queues finds the same as one by their files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use proptest::prelude::*;
use protocol::record::{Outline, crc31};

use crate::checkpoint::Checkpoint;
use crate::consume_queue::ends;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use crate::testing::{Message, config, snapshot, try_append};
use crate::{AppendError, Config, Disk, LocalTime, ReadLimits, Store};

/// More than a batch looks for one by one, but most messages go to the first four.
const QUEUES: [(&str, i32); 24] = {
    let mut queues = [("W", 0); 24];
    let mut id = 0;
    while id < queues.len() {
        queues[id].1 = id as i32;
        id += 1;
    }
    queues[0] = ("T", 0);
    queues[1] = ("T", 3);
    queues[2] = ("U", 0);
    queues[3] = ("V", 0);
    queues
};
const KEYS: [&str; 5] = ["", "a", "b", "a b", "c"];

/// A message the store took.
#[derive(Clone, PartialEq, Eq)]
struct Sent {
    queue: usize,
    queue_offset: i64,
    at: i64,
    body: Vec<u8>,
    key: usize,
    /// End of its batch: acknowledged once that is durable.
    end: i64,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = String::from_utf8_lossy(&self.body);
        let number = number.trim_end_matches('.');
        let (topic, id) = QUEUES[self.queue];
        let Sent {
            queue_offset,
            at,
            end,
            ..
        } = self;
        write!(f, "{number}{topic}/{id}@{queue_offset} {at}..{end}")
    }
}

#[derive(Clone)]
enum Step {
    /// Queue, key, size of each message.
    Append(Vec<(usize, usize, usize)>),
    Flush,
    WriteBehind,
    /// Remove all that may go.
    Clean,
    Reopen,
    /// The same, but what an earlier close has noted of the queues has come back.
    Mislead,
    Crash(CrashKeep),
    /// What fails, where, after how many calls.
    Fail(FaultOn, &'static str, FaultError, u64),
    /// After so many more changes the disk takes no other.
    Off(u64),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Append(messages) => write!(f, "Append({messages:?})"),
            Step::Fail(on, path, error, after) => {
                write!(f, "Fail({on:?}, {path:?}, {error:?}, {after})")
            }
            Step::Crash(keep) => write!(f, "Crash({keep:?})"),
            Step::Off(after) => write!(f, "Off({after})"),
            Step::Flush => f.write_str("Flush"),
            Step::WriteBehind => f.write_str("WriteBehind"),
            Step::Clean => f.write_str("Clean"),
            Step::Reopen => f.write_str("Reopen"),
            Step::Mislead => f.write_str("Mislead"),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let message = (0..4_usize, 0..KEYS.len(), 1..700_usize);
    let anywhere = (0..QUEUES.len(), 0..KEYS.len(), 1..20_usize);
    let keep = prop_oneof![
        2 => Just(CrashKeep::All),
        1 => Just(CrashKeep::None),
        4 => Just(CrashKeep::Random)
    ];
    let fault = (
        prop_oneof![
            Just(FaultOn::Write),
            Just(FaultOn::Sync),
            Just(FaultOn::Allocate),
            Just(FaultOn::Create),
            Just(FaultOn::SyncDir),
            Just(FaultOn::Remove),
        ],
        prop_oneof![
            3 => Just("commitlog"),
            2 => Just("consumequeue"),
            1 => Just("index"),
            1 => Just("checkpoint"),
        ],
        prop_oneof![Just(FaultError::Io), Just(FaultError::NoSpace)],
        0..4_u64,
    );
    prop_oneof![
        10 => prop::collection::vec(message, 1..6).prop_map(Step::Append),
        1 => prop::collection::vec(anywhere, 40..60).prop_map(Step::Append),
        4 => Just(Step::Flush),
        4 => Just(Step::WriteBehind),
        1 => Just(Step::Clean),
        1 => Just(Step::Reopen),
        1 => Just(Step::Mislead),
        3 => keep.prop_map(Step::Crash),
        1 => (0..40_u64).prop_map(Step::Off),
        1 => fault.prop_map(|(on, path, error, after)| Step::Fail(on, path, error, after)),
    ]
}

struct World {
    sim: Arc<SimDisk>,
    config: Config,
    /// `None` between two runs.
    store: Option<Store>,
    /// In the order of the log.
    sent: Vec<Sent>,
    /// Bodies whose append failed: nobody was told that they are there.
    failed: Vec<Vec<u8>>,
    count: u64,
    now_ms: i64,
    /// Up to where the log was durable when the store was last open.
    durable: i64,
    /// Files before it were removed; a power cut may bring some back.
    expired: i64,
    /// What the last close has noted of the queues, and the one before.
    notes: [Vec<u8>; 2],
}

impl World {
    fn new(seed: u64, sync_flush: bool) -> World {
        let config = Config {
            sync_flush,
            ..config()
        };
        let sim = SimDisk::new(seed);
        // Nothing may depend on what the kernel has in memory.
        sim.forget();
        let mut world = World {
            sim,
            config,
            store: None,
            sent: Vec::new(),
            failed: Vec::new(),
            count: 0,
            now_ms: 1000,
            durable: 0,
            expired: 0,
            notes: [Vec::new(), Vec::new()],
        };
        world.open();
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Opens what is on the disk. If that fails, the machine is started again.
    fn open(&mut self) {
        self.close();
        let disk = Disk::Sim(self.sim.clone());
        match Store::open(self.config.clone(), disk) {
            Ok((store, _)) => self.store = Some(store),
            Err(_) => self.crash(CrashKeep::Random),
        }
    }

    fn close(&mut self) {
        if let Some(store) = self.store.take() {
            self.durable = store.durable().at();
            self.expired = self.expired.max(store.log_min().0);
        }
    }

    fn now(&self) -> LocalTime {
        LocalTime {
            epoch_ms: self.now_ms,
            utc_offset_s: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        self.now_ms += 3000;
        match step {
            Step::Append(messages) => self.append(messages),
            Step::Flush => {
                if self.store().flush().is_err() {
                    self.after_failed_sync();
                }
            }
            Step::WriteBehind => {
                let _ = self.store().flush_queues(self.now_ms);
            }
            Step::Clean => {
                let later = LocalTime {
                    epoch_ms: self.now_ms + (100 << 32),
                    utc_offset_s: 0,
                };
                let _ = self.store().clean(later, true);
                // If it failed half way, nobody knows what is still there.
                let end = self.store().log_end().0;
                let newest = end - end % self.config.log_file_bytes as i64;
                self.expired = self.expired.max(newest);
            }
            Step::Reopen => match self.store().close() {
                Ok(()) => {
                    self.check_both_ways();
                    self.open();
                }
                // Somebody starts it again; if a sync failed, only after the machine.
                Err(_) => self.after_failed_sync(),
            },
            Step::Mislead => match self.store().close() {
                Ok(()) => {
                    self.check_both_ways();
                    let disk = Disk::Sim(self.sim.clone());
                    let _ = disk.replace(&ends::path(&self.config), &self.notes[1]);
                    self.open();
                }
                Err(_) => self.after_failed_sync(),
            },
            Step::Crash(keep) => self.crash(*keep),
            Step::Off(after) => self.sim.fail(Fault {
                on: FaultOn::AnyChange,
                path: String::new(),
                after: *after,
                error: FaultError::Io,
                sticky: true,
            }),
            Step::Fail(on, path, error, after) => self.sim.fail(Fault {
                on: *on,
                path: (*path).to_owned(),
                after: *after,
                error: *error,
                sticky: false,
            }),
        }
        self.check();
    }

    /// Of a store that was just closed.
    fn check_both_ways(&mut self) {
        let open = |by_files: bool| {
            let disk = Disk::Sim(self.sim.crash(CrashKeep::All));
            let note = disk.read(&ends::path(&self.config)).unwrap_or_default();
            if by_files {
                ends::remove(&self.config, &disk).unwrap();
            }
            let store = Store::open(self.config.clone(), disk).unwrap().0;
            (snapshot(&store), note)
        };
        let (by_ends, note) = open(false);
        assert_eq!(by_ends, open(true).0);
        let [last, _] = std::mem::replace(&mut self.notes, [note, Vec::new()]);
        self.notes[1] = last;
    }

    fn append(&mut self, messages: &[(usize, usize, usize)]) {
        let messages: Vec<_> = messages
            .iter()
            .map(|&(queue, key, size)| {
                self.count += 1;
                let mut body = format!("{}:", self.count).into_bytes();
                body.resize(body.len() + size, b'.');
                (queue, key, body)
            })
            .collect();
        let batch: Vec<_> = messages
            .iter()
            .map(|(queue, key, body)| {
                let (topic, id) = QUEUES[*queue];
                Message::new(topic, id, body.clone()).keyed(KEYS[*key])
            })
            .collect();
        match try_append(self.store(), &batch, self.now_ms) {
            Ok(appended) => {
                for ((queue, key, body), (at, queue_offset)) in
                    messages.into_iter().zip(appended.entries)
                {
                    let (at, queue_offset, end) = (at.0, queue_offset.0, appended.end.0);
                    self.sent.push(Sent {
                        queue,
                        queue_offset,
                        at,
                        body,
                        key,
                        end,
                    });
                }
            }
            Err(AppendError::TooLarge { .. }) => unreachable!(),
            Err(_) => self
                .failed
                .extend(messages.into_iter().map(|(.., body)| body)),
        }
    }

    /// The log is sealed: nothing more is taken, what is durable stays readable. What the kernel
    /// still shows of the rest is not to be relied on, so the machine is started again.
    fn after_failed_sync(&mut self) {
        let sealed = self.store().flush().is_err();
        if sealed {
            let refused = try_append(self.store(), &[Message::new("T", 0, "late")], self.now_ms);
            assert!(matches!(refused, Err(AppendError::Sealed(_))));
        }
        self.crash(CrashKeep::Random);
    }

    fn crash(&mut self, keep: CrashKeep) {
        self.close();
        self.sim = self.sim.crash(keep);
        let disk = Disk::Sim(self.sim.clone());
        self.store = Some(Store::open(self.config.clone(), disk).unwrap().0);
        let found = self.found();
        let newest = found.iter().map(|sent| sent.at).max().unwrap_or(0);
        for sent in self.sent.iter().filter(|sent| sent.at >= self.expired) {
            let must = keep == CrashKeep::All || sent.end <= self.durable;
            let prefix = !self.config.sync_flush && sent.at < newest;
            let kept = found.contains(sent);
            assert!(kept || !must, "lost: {sent:?}");
            assert!(kept || !prefix, "a gap: {sent:?} before {newest}");
        }
        self.sent
            .retain(|sent| sent.at < self.expired || found.contains(sent));
        // From here on each stands for itself: of a batch some may be left.
        self.sent.iter_mut().for_each(|sent| sent.end = sent.at + 1);
    }

    /// All visible messages; each must be one that was sent.
    fn found(&self) -> Vec<Sent> {
        let store = self.store();
        let mut found = Vec::new();
        for (number, (topic, id)) in QUEUES.iter().enumerate() {
            let Some(queue) = store.queue(topic, *id) else {
                continue;
            };
            let mut from = queue.min();
            while from < queue.max_visible() {
                let read = twice(|| store.read(&queue, from, &ReadLimits::default(), |_| true));
                assert!(read.next > from, "no progress: {read:?}");
                for record in read.records.iter() {
                    let outline = Outline::decode(&record).unwrap();
                    assert_eq!(crc31(outline.body), outline.body_crc);
                    assert_eq!((outline.topic, outline.queue_id), (*topic, *id));
                    assert!((from..read.next).contains(&outline.queue_offset));
                    if let Some(sent) = self.sent_as(number, &outline) {
                        found.push(sent);
                    }
                }
                from = read.next;
            }
        }
        found
    }

    fn sent_as(&self, queue: usize, outline: &Outline<'_>) -> Option<Sent> {
        let sent = self.sent.iter().find(|sent| sent.body == outline.body);
        if sent.is_none() {
            let known = self.failed.iter().any(|body| body == outline.body);
            assert!(known, "never sent: {outline:?}");
            return None;
        }
        let sent = sent.cloned()?;
        let where_it_is = (queue, outline.queue_offset.0, outline.log_offset.0);
        assert_eq!(where_it_is, (sent.queue, sent.queue_offset, sent.at));
        Some(sent)
    }

    fn check(&mut self) {
        let store = self.store();
        let expired = self.expired.max(store.log_min().0);
        let visible = match self.config.sync_flush {
            true => store.durable().at(),
            false => i64::MAX,
        };
        let mut found = self.found();
        found.retain(|sent| sent.at >= expired);
        found.sort_by_key(|sent| sent.at);
        let expected = self
            .sent
            .iter()
            .filter(|sent| (expired..visible).contains(&sent.at));
        let expected: Vec<_> = expected
            .filter(|sent| sent.end <= visible)
            .cloned()
            .collect();
        assert!(found == expected, "expected {expected:?}, found {found:?}");
        self.expired = expired;
        self.check_keys(&expected);
    }

    fn check_keys(&self, visible: &[Sent]) {
        let store = self.store();
        while store.build_index(self.now()).is_ok_and(|more| more) {}
        // A failed disk call may hold it up; it goes on with the next step.
        if store.build_index(self.now()).is_err() {
            return;
        }
        let mut expected: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
        for sent in visible {
            for key in KEYS[sent.key].split(' ').filter(|key| !key.is_empty()) {
                expected
                    .entry((QUEUES[sent.queue].0, key))
                    .or_default()
                    .push(sent.at);
            }
        }
        for topic in ["T", "U", "V", "W"] {
            for key in ["a", "b", "c"] {
                let found = twice(|| store.query(topic, key, 1000, 0, i64::MAX));
                let bodies = found
                    .records
                    .iter()
                    .map(|record| Outline::decode(record).unwrap());
                let mut found: Vec<_> = bodies
                    .filter(|outline| !self.failed.iter().any(|body| body == outline.body))
                    .map(|outline| outline.log_offset.0)
                    .filter(|at| *at >= self.expired)
                    .collect();
                found.dedup();
                let expected = expected.remove(&(topic, key)).unwrap_or_default();
                assert_eq!(found, expected, "{topic} {key}");
            }
        }
    }
}

/// The disk may fail one call.
fn twice<T, E: fmt::Debug>(call: impl Fn() -> Result<T, E>) -> T {
    call().or_else(|_| call()).unwrap()
}

fn run(seed: u64, sync_flush: bool, steps: &[Step]) {
    let mut world = World::new(seed, sync_flush);
    for step in steps {
        world.step(step);
    }
    world.step(&Step::Crash(CrashKeep::Random));
    world.step(&Step::Append(vec![(0, 1, 10)]));
    world.sim.heal();
    world.step(&Step::Reopen);
}

fn cases() -> ProptestConfig {
    // More with PROPTEST_CASES.
    let cases = ProptestConfig::default().cases;
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn async_flush(seed: u64, steps in prop::collection::vec(step(), 1..50)) {
        run(seed, false, &steps);
    }

    #[test]
    fn sync_flush(seed: u64, steps in prop::collection::vec(step(), 1..50)) {
        run(seed, true, &steps);
    }
}

/// As Apache, which makes the directories.
#[test]
fn checkpoint_and_abort_file_may_lie_elsewhere() {
    let config = Config {
        checkpoint_path: "/other/dir/checkpoint".into(),
        abort_path: "/third/abort".into(),
        ..config()
    };
    let disk = SimDisk::new(1);
    let store = Store::open(config.clone(), Disk::Sim(disk.clone()))
        .unwrap()
        .0;
    let files = Disk::Sim(disk);
    assert!(files.exists(&config.checkpoint_path) && files.exists(&config.abort_path));
    store.close().unwrap();
    assert!(!files.exists(&config.abort_path));
}

/// Where very many queues have an entry each, they wait for more; but not for long, not for ever at a
/// close, and a start after a crash reads what was not written from the log.
#[test]
fn many_queues_with_little_to_write_wait() {
    let queues = crate::limits::QUEUES_DIRTY_MANY as i32 + 1;
    let sim = SimDisk::new(1);
    let open = |sim: &Arc<SimDisk>| {
        let config = Config {
            log_file_bytes: 1 << 20,
            ..config()
        };
        Store::open(config, Disk::Sim(sim.clone())).unwrap()
    };
    let all_once = |store: &Store, round: usize| {
        for id in 0..queues {
            assert_eq!(store.queue("T", id).unwrap().max_visible().0, round as i64);
        }
    };
    let send = |store: &Store| {
        let messages: Vec<_> = (0..queues).map(|id| Message::new("T", id, "x")).collect();
        for messages in messages.chunks(500) {
            try_append(store, messages, 1).unwrap();
        }
    };
    let (store, _) = open(&sim);
    try_append(&store, &[Message::new("U", 0, "x")], 1).unwrap();
    store.flush_queues(100_000).unwrap();
    send(&store);
    store.flush().unwrap();
    store.flush_queues(101_000).unwrap();
    assert!(store.queues.unwritten() > 0, "they wait");
    let noted = Checkpoint::read(&store.disk, &store.config.checkpoint_path).unwrap();
    let noted = noted.unwrap().extra.unwrap();
    assert_eq!(
        noted.log_durable,
        store.log_end(),
        "the next start must know"
    );
    assert!(noted.queues_written < noted.log_durable);
    let (killed, report) = open(&sim.crash(CrashKeep::All));
    assert!(report.scanned_from < report.end);
    all_once(&killed, 1);
    drop(killed);
    store.flush_queues(110_000).unwrap();
    assert_eq!(store.queues.unwritten(), 0, "not longer than this");
    send(&store);
    store.flush_queues(111_000).unwrap();
    assert!(store.queues.unwritten() > 0);
    store.close().unwrap();
    drop(store);
    let (store, report) = open(&sim);
    assert!(report.clean && report.scanned_from == report.end);
    all_once(&store, 2);
}
