//! A power cut with async flush: what was acknowledged in the last flush interval may come again, but nothing is passed.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use store::disk::CrashKeep;

use super::{POP, Pop, advance, bodies};
use crate::testing::{Fixture, config, send};

#[tokio::test]
async fn offsets_do_not_pass_what_the_log_lost() {
    let by_hand = Duration::from_secs(3_600);
    let fixture = Fixture::with(|config| config.flush_interval = by_hand).await;
    let client = fixture.client().await;
    send(&client, 0, "a", "1").await;
    fixture.broker().flush();
    assert_eq!(POP.now(&client).await.len(), 1);
    let broker = fixture.running.broker().clone();
    let saving = tokio::task::spawn_blocking(move || broker.save_metadata());
    saving.await.expect("saves");
    let after = fixture.sim.crash(CrashKeep::None);
    fixture.stop().await;

    let fixture = Fixture::on(after, config()).await;
    let client = fixture.client().await;
    advance(&fixture, 10_000).await;
    assert_eq!(bodies(&POP.now(&client).await), ["1"]);
    fixture.stop().await;
}

/// A reset that was saved is not undone by check points from before.
#[tokio::test]
async fn a_reset_stays() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in ["1", "2", "3"] {
        send(&client, 0, "a", body).await;
    }
    let got = POP.now(&client).await;
    for got in &got[1..] {
        super::ack(&client, "g", got, (0, "")).await;
    }
    fixture
        .broker()
        .commit_offset("g", "Orders", 0, protocol::QueueOffset(1));
    let broker = fixture.running.broker().clone();
    let saving = tokio::task::spawn_blocking(move || broker.save_metadata());
    saving.await.expect("saves");
    let after = fixture.sim.crash(CrashKeep::All);
    fixture.stop().await;

    let fixture = Fixture::on(after, config()).await;
    let client = fixture.client().await;
    assert_eq!(bodies(&POP.now(&client).await), ["2", "3"]);
    fixture.stop().await;
}

/// What the offsets are said to know of, while a pop has stored its check points and its group did not go on yet.
#[tokio::test]
async fn check_points_are_known_once_their_group_went_on() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    send(&client, 0, "a", "1").await;
    assert_eq!(POP.now(&client).await.len(), 1);
    let broker = fixture.running.broker().clone();
    let known = || {
        broker.committed(
            "CID_RMQ_SYS_REVIVE_KNOWN",
            "rmq_sys_REVIVE_LOG_DefaultCluster",
            0,
        )
    };
    let settling = broker.pops.settling.read();
    std::thread::scope(|scope| {
        scope.spawn(|| broker.note_revive_offsets());
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(known(), None);
        drop(settling);
    });
    assert_eq!(known(), Some(protocol::QueueOffset(1)));
    fixture.stop().await;
}

/// Queues of the revive topic that are not used any more still hold messages.
#[tokio::test]
async fn fewer_revive_queues_lose_nothing() {
    let fixture = Fixture::start().await;
    let client = fixture.client().await;
    for body in ["1", "2", "3"] {
        send(&client, 0, "a", body).await;
        assert_eq!(POP.now(&client).await.len(), 1);
    }
    let sim = fixture.stop().await;
    let mut config = config();
    config.pop.revive_queues = 1;
    let fixture = Fixture::on(sim, config).await;
    let client = fixture.client().await;
    advance(&fixture, 10_000).await;
    assert_eq!(bodies(&POP.now(&client).await), ["1", "2", "3"]);
    fixture.stop().await;
}

/// No groups are saved until it ends.
struct SlowDisk {
    release: Sender<()>,
    thread: JoinHandle<()>,
}

impl SlowDisk {
    fn of_groups(fixture: &Fixture) -> SlowDisk {
        let (release, released) = channel();
        let (holding, held) = channel();
        let broker = fixture.running.broker().clone();
        let thread = std::thread::spawn(move || {
            let _groups = broker.groups.file.hold_up();
            holding.send(()).expect("it waits");
            released.recv().expect("it ends");
        });
        held.recv().expect("it holds");
        SlowDisk { release, thread }
    }

    fn end(self) {
        self.release.send(()).expect("it waits");
        self.thread.join().expect("it ends");
    }
}

/// A group's first pop takes nothing before the group is saved: the reviver gives up what belongs to no group.
#[tokio::test]
async fn check_points_are_of_groups_that_a_crash_leaves() {
    let (fixture, client) = super::with_messages(&["1"]).await;
    let slow = SlowDisk::of_groups(&fixture);
    let popping = tokio::spawn(async move { POP.now(&client).await });
    while fixture.broker().groups.state.read().find("g").is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let early = fixture.sim.crash(CrashKeep::All);
    slow.end();
    assert_eq!(bodies(&popping.await.expect("it ends")), ["1"]);
    let late = fixture.sim.crash(CrashKeep::All);
    fixture.stop().await;

    for after in [early, late] {
        let fixture = Fixture::on(after, config()).await;
        advance(&fixture, 10_000).await;
        let client = fixture.client().await;
        assert_eq!(bodies(&POP.now(&client).await), ["1"]);
        fixture.stop().await;
    }
}

/// Nor does a pop wait for that longer than for messages.
#[tokio::test]
async fn a_pop_whose_group_is_not_saved_ends_with_its_time() {
    let (fixture, client) = super::with_messages(&["1"]).await;
    let slow = SlowDisk::of_groups(&fixture);
    let polling = Pop {
        poll_ms: 10_000,
        ..POP
    };
    let refused = (14, Some("subscription group [g] is not saved yet"));
    let late = async {
        while fixture.broker().holds.count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fixture.clock.advance(10_500);
    };
    let (reply, ()) = tokio::join!(polling.call(&client), late);
    assert_eq!((reply.code, reply.remark.as_deref()), refused);
    let stopping = async {
        while fixture.broker().holds.count() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fixture.broker().holds.stop().await;
    };
    let (reply, ()) = tokio::join!(polling.call(&client), stopping);
    assert_eq!((reply.code, reply.remark.as_deref()), refused);
    slow.end();
    let broker = fixture.running.broker().clone();
    let saving = tokio::task::spawn_blocking(move || broker.save_metadata());
    saving.await.expect("saves");
    assert_eq!(bodies(&polling.now(&client).await), ["1"]);
    fixture.stop().await;
}
