//! Random scripts against a model: who pops what, acknowledges, changes times, while the clock goes on and the broker is
//! stopped, killed or loses power. An acknowledged message never comes again; one that is not comes when its time is over,
//! and says how often.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::record::Record;
use store::disk::CrashKeep;

use super::advance;
use crate::Config;
use crate::pop::{Acked, Change, PopRequest};
use crate::testing::{Fixture, NOW_MS, config, send};

/// A small generator: the same seed, the same script.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// Where a message is that somebody has.
#[derive(Clone, Debug)]
struct Out {
    acked: Acked,
    due_ms: i64,
}

/// What must be true of a message.
#[derive(Clone, Debug, Default)]
struct Model {
    out: Option<Out>,
    acked: bool,
    times: i32,
}

struct Script {
    fixture: Fixture,
    random: Random,
    messages: BTreeMap<String, Model>,
    /// Handles that are worth nothing any more.
    spent: Vec<Acked>,
    sync_flush: bool,
    v2: bool,
    now_ms: i64,
    log: Vec<String>,
}

const GROUP: &str = "g";

impl Script {
    async fn new(seed: u64) -> Script {
        let mut random = Random(seed);
        let (sync_flush, v2) = (random.below(2) == 0, random.below(2) == 0);
        let fixture = Fixture::with(|config| configure(config, sync_flush, v2)).await;
        Script {
            fixture,
            random,
            messages: BTreeMap::new(),
            spent: Vec::new(),
            sync_flush,
            v2,
            now_ms: NOW_MS,
            log: Vec::new(),
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    async fn step(&mut self) {
        match self.random.below(20) {
            0..=3 => self.send().await,
            4..=8 => self.pop().await,
            9..=12 => self.ack().await,
            13 => self.ack_spent().await,
            14 | 15 => self.change().await,
            16 | 17 => {
                let ms = [1, 500, 999, 1_000, 3_000][self.random.below(5) as usize];
                self.advance(ms).await;
            }
            18 => {
                self.note("save");
                let broker = self.fixture.running.broker().clone();
                tokio::task::spawn_blocking(move || broker.save_metadata())
                    .await
                    .expect("saves");
            }
            _ => self.restart().await,
        }
    }

    async fn send(&mut self) {
        let client = self.fixture.client().await;
        for _ in 0..=self.random.below(3) {
            let body = format!("m{}", self.messages.len());
            send(&client, self.random.below(2) as i32, "a", &body).await;
            self.note(format!("send {body}"));
            self.messages.insert(body, Model::default());
        }
    }

    async fn pop(&mut self) {
        let invisible_ms = 1_000 * (1 + self.random.below(4)) as i64;
        let max = 1 + self.random.below(5) as i32;
        let queue_id = self.random.below(3) as i32 - 1;
        self.take(max, invisible_ms, queue_id).await;
    }

    /// Pops; returns how many there were.
    async fn take(&mut self, max: i32, invisible_ms: i64, queue_id: i32) -> usize {
        let request = PopRequest {
            group: GROUP.into(),
            topic: "Orders".into(),
            queue_id,
            messages_max: max,
            invisible_ms,
            poll_ms: 0,
            born_ms: self.now_ms,
            from_newest: false,
            expression_type: String::new(),
            expression: String::new(),
            order: false,
            attempt_id: None,
            consumer: "test".into(),
        };
        let broker = self.fixture.running.broker().clone();
        let popped = match broker.pop(request).await {
            Ok(popped) => popped,
            // Nothing was sent yet.
            Err(refusal) if refusal.code == 17 => return 0,
            Err(refusal) => panic!("{refusal:?}"),
        };
        let mut count = 0;
        for claim in &popped.claims {
            for (record, offset) in claim.records.iter().zip(&claim.offsets) {
                let record = Record::decode(record, true).expect("a record").record;
                let body = String::from_utf8_lossy(record.body).into_owned();
                self.log.push(format!("pop {body} for {invisible_ms}"));
                let model = self.messages.get_mut(&body).expect("it was sent");
                assert!(!model.acked, "{body} was acknowledged: {:#?}", self.log);
                assert!(model.out.is_none(), "{body} is somebody's: {:#?}", self.log);
                assert_eq!(
                    record.reconsume_times, model.times,
                    "{body}: {:#?}",
                    self.log
                );
                let handle = protocol::receipt::Handle {
                    start_offset: claim.start,
                    pop_time: popped.pop_ms,
                    invisible_time: invisible_ms,
                    revive_queue: popped.revive_queue,
                    broker: "broker-a".into(),
                };
                model.out = Some(Out {
                    acked: Acked {
                        group: GROUP.into(),
                        topic: claim.topic.clone(),
                        queue_id: claim.queue_id,
                        offset: *offset,
                        handle: handle.write(claim.retry, claim.queue_id, *offset),
                        consumer: "test".into(),
                    },
                    due_ms: popped.pop_ms + invisible_ms,
                });
                count += 1;
            }
        }
        count
    }

    /// One of the messages that somebody has.
    fn any_out(&mut self) -> Option<(String, Out)> {
        let out: Vec<(String, Out)> = self
            .messages
            .iter()
            .filter_map(|(body, model)| Some((body.clone(), model.out.clone()?)))
            .collect();
        let index = self.random.below(out.len().max(1) as u64) as usize;
        out.get(index).cloned()
    }

    async fn ack(&mut self) {
        let Some((body, out)) = self.any_out() else {
            return;
        };
        self.note(format!("ack {body}"));
        let broker = self.fixture.running.broker().clone();
        broker.ack(out.acked.clone()).await.expect("acknowledged");
        let model = self.messages.get_mut(&body).expect("it was sent");
        (model.acked, model.out) = (true, None);
        self.spent.push(out.acked);
    }

    async fn ack_spent(&mut self) {
        let index = self.random.below(self.spent.len().max(1) as u64) as usize;
        let Some(acked) = self.spent.get(index).cloned() else {
            return;
        };
        self.note(format!("spent {}", acked.handle));
        let broker = self.fixture.running.broker().clone();
        broker.clone().ack(acked.clone()).await.expect("no effect");
        let change = Change {
            message: acked,
            invisible_ms: 0,
        };
        let refused = broker.change_invisible(change).await;
        assert_eq!(refused.expect_err("nothing to change").code, 208);
    }

    async fn change(&mut self) {
        let Some((body, out)) = self.any_out() else {
            return;
        };
        let invisible_ms = 500 * self.random.below(8) as i64;
        self.note(format!("change {body} to {invisible_ms}"));
        let change = Change {
            message: out.acked.clone(),
            invisible_ms,
        };
        let broker = self.fixture.running.broker().clone();
        let changed = broker.change_invisible(change).await.expect("changed");
        let mut acked = out.acked.clone();
        let words: Vec<&str> = out.acked.handle.split(' ').collect();
        acked.handle = format!(
            "{} {} {invisible_ms} {} {} broker-a {} {}",
            acked.offset, changed.pop_ms, changed.revive_queue, words[4], words[6], acked.offset
        );
        let model = self.messages.get_mut(&body).expect("it was sent");
        model.out = Some(Out {
            acked,
            due_ms: changed.pop_ms + invisible_ms,
        });
        self.spent.push(out.acked);
        self.advance(0).await;
    }

    async fn advance(&mut self, ms: i64) {
        self.note(format!("advance {ms}"));
        self.now_ms += ms;
        advance(&self.fixture, ms).await;
        for (body, model) in &mut self.messages {
            if let Some(out) = model.out.take_if(|out| out.due_ms <= self.now_ms) {
                self.log.push(format!("{body} is back"));
                model.times += 1;
                self.spent.push(out.acked);
            }
        }
    }

    async fn restart(&mut self) {
        let how = self.random.below(3);
        self.note(["stop", "kill", "power cut"][how as usize]);
        let keep = match (how, self.sync_flush) {
            (0, _) => None,
            (2, true) => Some(CrashKeep::Random),
            _ => Some(CrashKeep::All),
        };
        let crashed = keep.map(|keep| self.fixture.sim.crash(keep));
        let mut config = config();
        configure(&mut config, self.sync_flush, self.v2);
        let other = Fixture::with(|_| {}).await;
        let before = std::mem::replace(&mut self.fixture, other);
        let stopped = before.stop().await;
        let sim = crashed.unwrap_or(stopped);
        let idle = std::mem::replace(&mut self.fixture, Fixture::on(sim, config).await);
        idle.stop().await;
        self.fixture.clock.advance(self.now_ms - NOW_MS);
        self.fixture.broker().revived().await;
    }

    /// Whatever is not acknowledged can be popped after its time, once.
    async fn end(mut self) {
        self.advance(100_000).await;
        while self.take(32, 1_000, -1).await > 0 {}
        for (body, model) in &self.messages {
            assert!(
                model.acked || model.out.is_some(),
                "{body} is lost: {:#?}",
                self.log
            );
        }
        while let Some((body, out)) = self.any_out() {
            let broker = self.fixture.running.broker().clone();
            broker.ack(out.acked).await.expect("acknowledged");
            let model = self.messages.get_mut(&body).expect("it was sent");
            (model.acked, model.out) = (true, None);
        }
        assert_eq!(self.fixture.broker().pops.open(), 0);
        self.fixture.stop().await;
    }
}

fn configure(config: &mut Config, sync_flush: bool, v2: bool) {
    config.store.sync_flush = sync_flush;
    config.pop.retry_topic_v2 = v2;
    config.pop.revive_queues = 3;
}

async fn run(seed: u64, steps: usize) {
    let mut script = Script::new(seed).await;
    for _ in 0..steps {
        script.step().await;
    }
    script.end().await;
}

#[tokio::test]
async fn scripts() {
    for seed in 1..=25 {
        println!("seed {seed}");
        run(seed, 80).await;
    }
}

/// The reviver does not lose its way where many pop at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for index in 0..400 {
        send(&client, index % 4, "a", &index.to_string()).await;
    }
    let seen = Arc::new(parking_lot::Mutex::new(BTreeMap::<String, usize>::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (broker, seen) = (fixture.running.broker().clone(), seen.clone());
        tasks.spawn(async move {
            loop {
                let request = PopRequest {
                    group: GROUP.into(),
                    topic: "Orders".into(),
                    queue_id: -1,
                    messages_max: 7,
                    invisible_ms: 60_000,
                    poll_ms: 0,
                    born_ms: NOW_MS,
                    from_newest: false,
                    expression_type: String::new(),
                    expression: String::new(),
                    order: false,
                    attempt_id: None,
                    consumer: "test".into(),
                };
                let popped = broker.clone().pop(request).await.expect("pops");
                if popped.claims.is_empty() {
                    if seen.lock().len() == 400 {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                for record in popped.claims.iter().flat_map(|claim| &claim.records) {
                    let record = Record::decode(record, true).expect("a record").record;
                    let body = String::from_utf8_lossy(record.body).into_owned();
                    *seen.lock().entry(body).or_default() += 1;
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a consumer");
    }
    assert!(seen.lock().values().all(|count| *count == 1));
    fixture.stop().await;
}
