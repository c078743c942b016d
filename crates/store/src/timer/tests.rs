//! The timer against a model: random sends, clocks, kills and power cuts, whole and in the middle of a write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use protocol::record::Outline;

use super::*;
use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk, Wait};
use crate::testing::{self, Message};
use crate::{ReadLimits, Store};

const START_MS: i64 = 1_795_348_800_123;
const WHEEL: &str = "wheel";
const OUT: &str = "out";
const BATCH: usize = 3;

/// `PROPTEST_CASES` is not read where a number is given.
const CASES: u32 = 200;

fn timer_config() -> TimerConfig {
    TimerConfig {
        // 19 units and the end.
        log_file_bytes: 19 * 52 + 16,
        roll_window_slots: 6,
        ..TimerConfig::new(Path::new("/store"))
    }
}

/// A broker's timer without the broker.
struct World {
    disk: Arc<SimDisk>,
    store: Store,
    timer: Option<Timer>,
    now_ms: i64,
    next_id: i64,
    /// The clock was set: Java would find what was delivered in between.
    rewound: bool,
    /// The latest time that was shown: what is late already when it comes into the wheel is due then.
    shown_ms: i64,
    /// Deliveries that may have been repeated.
    in_flight: usize,
    power_cut: bool,
}

fn parse(body: &[u8]) -> (i64, i64) {
    let text = std::str::from_utf8(body).unwrap();
    let (id, due) = text.split_once(',').unwrap();
    (id.parse().unwrap(), due.parse().unwrap())
}

fn body(id: i64, due_ms: i64) -> Vec<u8> {
    format!("{id},{due_ms}").into_bytes()
}

fn store_config() -> crate::Config {
    crate::Config {
        log_file_bytes: 64 << 10,
        queue_file_bytes: 20_000,
        index_enabled: false,
        ..testing::config()
    }
}

impl World {
    fn new(seed: u64) -> World {
        World::on(SimDisk::new(seed), START_MS)
    }

    fn on(disk: Arc<SimDisk>, now_ms: i64) -> World {
        let store = testing::open(&disk, store_config());
        let timer = Timer::open(timer_config(), &store, WHEEL).unwrap();
        World {
            disk,
            store,
            timer: Some(timer),
            now_ms,
            next_id: 0,
            rewound: false,
            shown_ms: now_ms,
            in_flight: 0,
            power_cut: false,
        }
    }

    fn timer(&mut self) -> &mut Timer {
        self.timer.as_mut().unwrap()
    }

    fn send(&mut self, delay_ms: i64) -> bool {
        let due_ms = self.now_ms + delay_ms;
        let message = Message::new(WHEEL, 0, body(self.next_id, due_ms));
        self.next_id += 1;
        testing::try_append(&self.store, &[message], self.now_ms).is_ok()
    }

    /// What the owner task does, to the end or to the first error.
    fn turn(&mut self) -> io::Result<()> {
        self.shown_ms = self.shown_ms.max(self.now_ms);
        loop {
            let queue = self.store.queue_or_create(WHEEL, 0).unwrap();
            let from = self.timer().queue_offset();
            if from < queue.max_visible() {
                let limits = ReadLimits {
                    messages_max: 5,
                    ..ReadLimits::default()
                };
                let read = self.store.read(&queue, from, &limits, |_| true);
                let read = read.map_err(|error| error.0)?;
                let messages: Vec<_> = read
                    .records
                    .iter()
                    .map(|record| message_of(&record))
                    .collect();
                let now_ms = self.now_ms;
                if self.timer().enqueue(&messages, now_ms)? == Enqueued::ClockBack {
                    let (mut timer, now_ms) = (self.timer.take().unwrap(), self.now_ms);
                    let done = timer.rewind(&self.store, now_ms);
                    self.timer = Some(timer);
                    done?;
                }
                continue;
            }
            let now_ms = self.now_ms;
            let loaded = self.timer().load(now_ms, 2)?;
            let due = self.timer().take_due(now_ms, BATCH);
            if due.is_empty() && loaded {
                self.timer().forget_past(now_ms);
                return Ok(());
            }
            if let Err(error) = self.deliver(&due) {
                self.timer().put_back(due);
                return Err(error);
            }
        }
    }

    fn deliver(&mut self, due: &[Due]) -> io::Result<()> {
        let mut messages = Vec::new();
        for due in due {
            let record = self.store.record_at(due.log_offset);
            let record = record
                .map_err(|error| error.0)?
                .expect("pending records are there");
            let outline = Outline::decode(&record).unwrap();
            assert_eq!(outline.topic, WHEEL);
            let (id, due_ms) = parse(outline.body);
            assert!(due.due_ms <= self.now_ms);
            assert!(
                due.roll || due_ms <= self.now_ms,
                "early: {id} {due_ms} {}",
                self.now_ms
            );
            let topic = if due.roll { WHEEL } else { OUT };
            messages.push(Message::new(topic, 0, body(id, due_ms)));
        }
        if messages.is_empty() {
            return Ok(());
        }
        testing::try_append(&self.store, &messages, self.now_ms).map_err(io::Error::other)?;
        self.in_flight = messages.len();
        let end = self.store.log_end();
        self.timer().delivered(due, end)?;
        self.in_flight = 0;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (mut timer, now_ms) = (self.timer.take().unwrap(), self.now_ms);
        let done = (|| {
            let Some(flush) = timer.start_flush(&self.store, now_ms)? else {
                return Ok(());
            };
            self.store.flush().map_err(io::Error::other)?;
            flush.run().map_err(io::Error::other)?;
            timer.flushed(&flush, now_ms)?;
            flush.finish().map_err(io::Error::other)
        })();
        self.timer = Some(timer);
        done
    }

    /// Starts again on what a crash leaves.
    fn crash(self, keep: CrashKeep) -> World {
        let disk = self.disk.crash(keep);
        World {
            next_id: self.next_id,
            rewound: self.rewound,
            shown_ms: self.shown_ms,
            in_flight: self.in_flight,
            power_cut: self.power_cut || keep != CrashKeep::All,
            ..World::on(disk, self.now_ms)
        }
    }

    /// Stops in order, looks at the files with Java's eyes, and starts again.
    fn restart(mut self) -> World {
        let timer = self.timer.take().unwrap();
        timer.close(&self.store, self.now_ms).unwrap();
        if !self.rewound && !self.power_cut {
            assert_eq!(
                java_pending(&self.disk, self.now_ms),
                self.in_wheel(),
                "as Java sees it"
            );
        }
        self.store.close().unwrap();
        let (disk, now_ms) = (self.disk.clone(), self.now_ms);
        let (next_id, rewound, power_cut) = (self.next_id, self.rewound, self.power_cut);
        let shown_ms = self.shown_ms;
        drop(self);
        World {
            next_id,
            rewound,
            shown_ms,
            power_cut,
            ..World::on(disk, now_ms)
        }
    }

    /// Log offsets of the messages of the queue that came into the wheel and were neither delivered nor put back into the queue.
    fn in_wheel(&self) -> BTreeSet<i64> {
        let mut pending = BTreeMap::new();
        for (id, log_offset) in ids(&self.store, WHEEL) {
            pending.insert(id, log_offset);
        }
        for (id, _) in ids(&self.store, OUT) {
            pending.remove(&id);
        }
        pending.into_values().collect()
    }

    /// All that is overdue has been delivered. A unit that a power cut tore may have lost its millisecond: like one of Java's
    /// it is due at the end of its slot.
    fn punctual(&self) {
        let slot_ms = if self.power_cut { 1_000 } else { 0 };
        let out: BTreeSet<i64> = ids(&self.store, OUT)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        for body in testing::bodies(&self.store, WHEEL, 0) {
            let (id, due_ms) = parse(&body);
            let late_ms = self.now_ms - due_ms;
            let behind = self.now_ms < self.shown_ms || late_ms <= 20 * STEP_BACK_MS;
            assert!(
                late_ms < slot_ms || self.rewound && behind || out.contains(&id),
                "{id} is {late_ms} ms late"
            );
        }
    }

    /// Everything comes in the end, and once.
    fn finish(mut self) -> Result<(), TestCaseError> {
        let repeats = self.in_flight;
        for _ in 0..80 {
            self.turn().unwrap();
            self.now_ms += 1_000;
        }
        // Wherever it jumped to.
        self.now_ms = self.now_ms.max(START_MS) + 8 * 3_600_000;
        for _ in 0..8 {
            self.turn().unwrap();
            self.now_ms += 1_000;
        }
        let mut counts = BTreeMap::<i64, usize>::new();
        for (id, _) in ids(&self.store, OUT) {
            *counts.entry(id).or_default() += 1;
        }
        for (id, _) in ids(&self.store, WHEEL) {
            prop_assert!(counts.contains_key(&id), "{id} is lost");
        }
        if !self.power_cut {
            let repeated: usize = counts.values().map(|count| count - 1).sum();
            prop_assert!(repeated <= repeats, "{repeated} repeated: {counts:?}");
        }
        Ok(())
    }
}

fn message_of(record: &[u8]) -> TimerMessage {
    let outline = Outline::decode(record).unwrap();
    let (_, due_ms) = parse(outline.body);
    TimerMessage {
        queue_offset: outline.queue_offset,
        log_offset: outline.log_offset,
        size: outline.size as i32,
        slot_ms: (due_ms - 1) / 1_000 * 1_000,
        due_ms: Some(due_ms),
        delete: false,
        topic_hash: 7,
    }
}

/// Ids of a queue's messages with their places.
fn ids(store: &Store, topic: &str) -> Vec<(i64, i64)> {
    let Some(queue) = store.queue(topic, 0) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut from = queue.min();
    while from < queue.max_visible() {
        let read = store.read(&queue, from, &ReadLimits::default(), |_| true);
        let read = read.unwrap();
        for record in read.records.iter() {
            let outline = Outline::decode(&record).unwrap();
            found.push((parse(outline.body).0, outline.log_offset.0));
        }
        from = read.next;
    }
    found
}

/// What Java finds pending: its recovery (the wheel file, then the units of the last files) and its walk over the slots.
fn java_pending(disk: &Arc<SimDisk>, now_ms: i64) -> BTreeSet<i64> {
    let disk = Disk::Sim(disk.clone());
    let config = timer_config();
    let mut pending = BTreeSet::new();
    if !disk.exists(&config.checkpoint_path) {
        return pending;
    }
    let long = |bytes: &[u8], at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().unwrap());
    let int = |bytes: &[u8], at: usize| i32::from_be_bytes(*bytes[at..].first_chunk().unwrap());
    let read_ms = long(&disk.read(&config.checkpoint_path).unwrap(), 0);
    let wheel = disk.open_read(&config.wheel_path).unwrap();
    assert_eq!(wheel.len().unwrap(), 38_707_200);
    let mut slots = BTreeMap::new();
    for turn in now_ms / 1_000 - 200..now_ms / 1_000 + 200 {
        let mut slot = [0; 32];
        let place = turn % 1_209_600 * 32;
        wheel
            .read_exact_at(&mut slot, place as u64, Wait::ForDisk)
            .unwrap();
        if long(&slot, 0) == turn {
            slots.insert(turn * 1_000, long(&slot, 16));
        }
    }
    let mut units = BTreeMap::new();
    'files: for entry in disk.list(&config.log_dir).unwrap() {
        let bytes = disk.read(&config.log_dir.join(&entry.name)).unwrap();
        assert_eq!(bytes.len() as u64, config.log_file_bytes);
        let start: i64 = entry.name.parse().unwrap();
        for (index, unit) in bytes.chunks(52).enumerate() {
            if unit.len() < 16 || int(unit, 12) == 0xCBD4_3194_u32 as i32 {
                break;
            }
            if int(unit, 0) != 52 || !(0..16).contains(&int(unit, 12)) {
                break 'files;
            }
            let position = start + index as i64 * 52;
            let slot_ms = long(unit, 16) + i64::from(int(unit, 24));
            slots.insert(slot_ms, position);
            units.insert(position, unit.to_vec());
        }
    }
    assert!(read_ms < now_ms);
    for (_, last) in slots.range(read_ms..) {
        let mut at = *last;
        while at != -1 {
            let Some(unit) = units.get(&at) else { break };
            if int(unit, 12) & 4 == 0 {
                pending.insert(long(unit, 28));
            }
            at = long(unit, 4);
        }
    }
    pending
}

#[derive(Clone, Debug)]
enum Op {
    Send(i64),
    Turn,
    Flush,
    Pass(i64),
    Restart,
    Kill,
    PowerCut(CrashKeep),
    /// The clock is set.
    Jump(i64),
    /// The next turn or flush dies at a change of the disk; then a crash.
    DieIn(bool, u64, CrashKeep),
}

fn keep() -> impl Strategy<Value = CrashKeep> {
    prop_oneof![
        Just(CrashKeep::All),
        Just(CrashKeep::None),
        Just(CrashKeep::Random)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..9_000i64).prop_map(Op::Send),
        2 => (9_000..25_000i64).prop_map(Op::Send),
        5 => Just(Op::Turn),
        3 => Just(Op::Flush),
        5 => (1..1_700i64).prop_map(Op::Pass),
        1 => Just(Op::Restart),
        1 => Just(Op::Kill),
        1 => keep().prop_map(Op::PowerCut),
    ]
}

fn wild_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => op(),
        1 => (any::<bool>(), 0..25u64, keep()).prop_map(|(turn, after, keep)| Op::DieIn(turn, after, keep)),
    ]
}

fn jumping_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => op(),
        1 => prop_oneof![-2_000..0i64, -3_600_000..0i64, 0..3_600_000i64].prop_map(Op::Jump),
    ]
}

fn run(seed: u64, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut world = World::new(seed);
    for op in ops {
        match op {
            Op::Send(delay_ms) => {
                world.send(delay_ms);
            }
            Op::Turn => {
                world.turn().unwrap();
                world.punctual();
            }
            Op::Flush => world.flush().unwrap(),
            Op::Pass(ms) => world.now_ms += ms,
            Op::Restart => {
                world.turn().unwrap();
                world = world.restart();
            }
            Op::Kill => world = world.crash(CrashKeep::All),
            Op::PowerCut(keep) => world = world.crash(keep),
            Op::Jump(ms) => {
                world.now_ms += ms;
                world.rewound = true;
            }
            Op::DieIn(turn, after, keep) => {
                world.disk.fail(Fault {
                    on: FaultOn::AnyChange,
                    path: String::new(),
                    after,
                    error: FaultError::Io,
                    sticky: true,
                });
                let done = if turn { world.turn() } else { world.flush() };
                let died = done.is_err();
                world = world.crash(keep);
                if died {
                    return world.finish();
                }
            }
        }
    }
    world.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_early_or_repeated(seed: u64, ops in prop::collection::vec(op(), 1..60)) {
        run(seed, ops)?;
    }

    #[test]
    fn nothing_is_lost_when_it_dies_in_between(seed: u64, ops in prop::collection::vec(wild_op(), 1..60)) {
        run(seed, ops)?;
    }

    #[test]
    fn nothing_is_early_when_the_clock_jumps(seed: u64, ops in prop::collection::vec(jumping_op(), 1..60)) {
        run(seed, ops)?;
    }
}

/// Damages a unit of the first log file.
fn corrupt(disk: &Arc<SimDisk>, unit: usize) {
    let disk = Disk::Sim(disk.clone());
    let config = timer_config();
    let path = config.log_dir.join(crate::config::file_name(0));
    let file = disk.open_existing(&path).unwrap();
    file.write_all_at(&[0xff; 8], unit as u64 * 52 + 20)
        .unwrap();
    file.sync_data().unwrap();
}

/// Ids of what was delivered, sorted.
fn out(world: &World) -> Vec<i64> {
    let mut out: Vec<i64> = ids(&world.store, OUT).iter().map(|(id, _)| *id).collect();
    out.sort_unstable();
    out
}

fn pass(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.now_ms += 1_000;
        world.turn().unwrap();
    }
}

/// A world in whose slots several messages wait, on disk.
fn waiting() -> World {
    let mut world = World::new(1);
    for delay_ms in [4_100, 4_200, 3_000, 4_300, 4_400, 5_000] {
        assert!(world.send(delay_ms));
    }
    world.turn().unwrap();
    world.flush().unwrap();
    world
}

#[test]
fn a_damaged_unit_costs_its_message_only() {
    let mut world = waiting();
    corrupt(&world.disk, 3);
    pass(&mut world, 10);
    assert_eq!(out(&world), [0, 1, 2, 4, 5]);

    let world = waiting();
    let disk = Disk::Sim(world.disk.clone());
    disk.remove_file(&timer_config().wheel_path).unwrap();
    corrupt(&world.disk, 3);
    let mut world = world.crash(CrashKeep::All);
    assert!(world.send(5_000));
    pass(&mut world, 10);
    assert_eq!(out(&world), [0, 1, 2, 4, 5, 6], "wheel made anew");
}

#[test]
fn what_waits_survives_the_loss_of_the_timer_log() {
    let mut world = waiting();
    pass(&mut world, 3);
    assert_eq!(out(&world), [2]);
    world.flush().unwrap();
    let disk = Disk::Sim(world.disk.clone());
    disk.remove_dir_all(&timer_config().log_dir).unwrap();
    let mut world = world.crash(CrashKeep::All);
    for after in 0..12 {
        world.disk.fail(Fault {
            on: FaultOn::AnyChange,
            path: String::new(),
            after,
            error: FaultError::Io,
            sticky: true,
        });
        let _ = world.turn();
        world = world.crash(CrashKeep::All);
    }
    pass(&mut world, 10);
    let mut out = out(&world);
    out.dedup();
    assert_eq!(out, [0, 1, 2, 3, 4, 5]);
    world.flush().unwrap();
    let mut world = world.crash(CrashKeep::All);
    let before = ids(&world.store, OUT).len();
    pass(&mut world, 10);
    assert_eq!(ids(&world.store, OUT).len(), before, "not again");
}

#[test]
fn another_precision_waits_until_no_message_does() {
    let mut world = waiting().crash(CrashKeep::All);
    let config = TimerConfig {
        precision_ms: 100,
        ..timer_config()
    };
    let open = |world: &mut World| {
        let timer = Timer::open(config.clone(), &world.store, WHEEL).unwrap();
        world.timer = Some(timer);
        world.timer().precision_ms()
    };
    assert_eq!(open(&mut world), 1_000);
    pass(&mut world, 3);
    world.flush().unwrap();
    assert_eq!(open(&mut world), 1_000);
    pass(&mut world, 10);
    assert_eq!(out(&world), [0, 1, 2, 3, 4, 5]);
    world.flush().unwrap();
    assert_eq!(open(&mut world), 100);
    pass(&mut world, 10);
    world.flush().unwrap();
    assert_eq!(open(&mut world), 100);
    pass(&mut world, 10);
    assert_eq!(out(&world), [0, 1, 2, 3, 4, 5]);
}
