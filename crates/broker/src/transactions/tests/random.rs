//! Random scripts against a model: a message is seen once if its transaction is committed, and never if it is not,
//! whatever crashes come between.

use std::collections::VecDeque;

use proptest::prelude::*;
use store::disk::{CrashKeep, SimDisk};

use super::{Asked, COMMIT, Half, Producer, ROLLBACK, after, bodies};
use crate::Config;
use crate::testing::{Fixture, config};

#[derive(Clone, Debug)]
enum Step {
    /// A half message, whose producer will decide so.
    Half {
        commit: bool,
    },
    /// The producer says what it decided, by the names it got with the send.
    End(prop::sample::Index),
    /// The same, and the broker dies before it can answer.
    EndAndCrash(prop::sample::Index, CrashKeep),
    /// Time passes; so many of the questions are answered.
    Pass {
        ms: i64,
        answers: usize,
    },
    /// Offsets are saved.
    Save,
    Crash(CrashKeep),
    Restart,
}

fn keep() -> impl Strategy<Value = CrashKeep> {
    prop_oneof![
        Just(CrashKeep::All),
        Just(CrashKeep::None),
        Just(CrashKeep::Random)
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => any::<bool>().prop_map(|commit| Step::Half { commit }),
        4 => index().prop_map(Step::End),
        2 => (index(), keep()).prop_map(|(index, keep)| Step::EndAndCrash(index, keep)),
        4 => (0_i64..40_000, 0_usize..4).prop_map(|(ms, answers)| Step::Pass { ms, answers }),
        1 => Just(Step::Save),
        1 => keep().prop_map(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

/// The producer's side of a transaction.
struct Transaction {
    half: Half,
    commit: bool,
    /// The broker has confirmed the end.
    ended: bool,
}

struct World {
    fixture: Fixture,
    producer: Producer,
    transactions: Vec<Transaction>,
    /// Questions not answered.
    questions: VecDeque<Asked>,
    config: Config,
}

fn decision(commit: bool) -> i32 {
    if commit { COMMIT } else { ROLLBACK }
}

impl World {
    async fn new(seed: u64) -> World {
        let mut config = config();
        config.store.sync_flush = true;
        config.transaction_checks_max = 1_000;
        let fixture = Fixture::on(SimDisk::new(seed), config.clone()).await;
        World {
            producer: Producer::of(&fixture).await,
            fixture,
            transactions: Vec::new(),
            questions: VecDeque::new(),
            config,
        }
    }

    async fn after(self, keep: CrashKeep) -> World {
        let fixture = after(self.fixture, keep, self.config.clone()).await;
        World {
            producer: Producer::of(&fixture).await,
            fixture,
            ..self
        }
    }

    async fn step(mut self, step: &Step) -> World {
        match step {
            Step::Half { commit } => {
                let key = format!("K{}", self.transactions.len());
                let now_ms = self.fixture.clock.now_ms();
                self.transactions.push(Transaction {
                    half: self.producer.half(&key, "", now_ms).await,
                    commit: *commit,
                    ended: false,
                });
            }
            Step::End(index) if !self.transactions.is_empty() => {
                let transaction = index.get_mut(&mut self.transactions);
                let decision = decision(transaction.commit);
                let half = transaction.half.clone();
                self.end(&half, decision, false).await;
            }
            Step::EndAndCrash(index, keep) if !self.transactions.is_empty() => {
                let transaction = index.get(&self.transactions);
                let decision = decision(transaction.commit);
                let end = self.producer.end(&transaction.half, decision, false);
                // As far as it comes.
                let _ = tokio::time::timeout(std::time::Duration::from_micros(300), end).await;
                return self.after(*keep).await;
            }
            Step::End(_) | Step::EndAndCrash(..) => {}
            Step::Pass { ms, answers } => {
                self.fixture.clock.advance(*ms);
                for _ in 0..3 {
                    self.producer.beat("producers").await;
                }
                self.answer(*answers).await;
            }
            Step::Save => self.fixture.broker().save_metadata(),
            Step::Crash(keep) => return self.after(*keep).await,
            Step::Restart => {
                let clock = self.fixture.clock.clone();
                let sim = self.fixture.stop().await;
                let fixture = super::on(sim, self.config.clone(), clock).await;
                let producer = Producer::of(&fixture).await;
                return World {
                    fixture,
                    producer,
                    ..self
                };
            }
        }
        self
    }

    async fn end(&mut self, half: &Half, decision: i32, checked: bool) {
        let reply = self.producer.end(half, decision, checked).await;
        assert_eq!(reply.code, 0, "{:?}", reply.remark);
        // What is asked from now on is asked needlessly.
        self.hear();
        let ended = self.transactions.iter_mut();
        for transaction in ended.filter(|transaction| transaction.half.key == half.key) {
            transaction.ended = true;
        }
    }

    /// Takes the questions that are there.
    fn hear(&mut self) {
        while let Ok(asked) = self.producer.asked.try_recv() {
            let is_it = |transaction: &&Transaction| transaction.half.key == asked.half.key;
            let transaction = self.transactions.iter().find(is_it).unwrap();
            assert!(!transaction.ended, "{} had ended", asked.half.key);
            self.questions.push_back(asked);
        }
    }

    /// Answers questions that are there.
    async fn answer(&mut self, count: usize) {
        self.hear();
        for _ in 0..count.min(self.questions.len()) {
            let Some(asked) = self.questions.pop_front() else {
                return;
            };
            let is_it = |transaction: &&Transaction| transaction.half.key == asked.half.key;
            let transaction = self.transactions.iter().find(is_it).unwrap();
            let decision = decision(transaction.commit);
            self.end(&asked.half, decision, true).await;
        }
    }

    /// Nothing is seen twice, nothing that was rolled back, and all whose commit was confirmed.
    fn check(&self) {
        let seen = bodies(&self.fixture, "Orders");
        for pair in seen.windows(2) {
            assert_ne!(pair[0], pair[1], "twice");
        }
        for transaction in &self.transactions {
            let is_seen = seen.contains(&transaction.half.key);
            let expected = transaction.commit && transaction.ended;
            assert!(
                is_seen == expected || is_seen && transaction.commit,
                "{}: seen {is_seen}, commit {}, confirmed {}",
                transaction.half.key,
                transaction.commit,
                transaction.ended
            );
        }
    }

    /// All that is still open is asked after, answered, and then everything is as decided.
    async fn finish(mut self) {
        for _ in 0..400 {
            self.fixture.clock.advance(10_000);
            self.producer.beat("producers").await;
            self.answer(usize::MAX).await;
        }
        let mut wanted: Vec<String> = self
            .transactions
            .iter()
            .filter(|transaction| transaction.commit)
            .map(|transaction| transaction.half.key.clone())
            .collect();
        wanted.sort();
        assert_eq!(bodies(&self.fixture, "Orders"), wanted);
        assert_eq!(self.fixture.broker().transactions.open(), 0);
        self.fixture.stop().await;
    }
}

fn run(seed: u64, steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed).await;
        for step in steps {
            world = world.step(step).await;
            world.check();
        }
        world.finish().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn committed_once_or_never(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..30)) {
        run(seed, &steps);
    }
}
