//! Tests of batches over many queues.

use crate::disk::{CrashKeep, Fault, FaultError, FaultOn, SimDisk};
use crate::testing::{Message, append, batch_of, bodies, config, open};

const QUEUES: i32 = 40;

fn message(round: usize, id: i32) -> Message {
    Message::new("T", id, format!("{id} {round}"))
}

/// Queues that come again when many others have come between, which are not looked for one by one: the offsets of each go on,
/// also where the write fails and the batch is tried again.
#[test]
fn a_queue_that_comes_again_goes_on() {
    let forth = || (0..QUEUES).map(|id| message(1, id));
    let again: [Vec<Message>; 3] = [
        (0..QUEUES).map(|id| message(2, id)).collect(),
        (0..QUEUES).rev().map(|id| message(2, id)).collect(),
        // Every second one comes a third time, at once.
        (0..QUEUES)
            .flat_map(|id| (2..4 - id as usize % 2).map(move |round| message(round, id)))
            .collect(),
    ];
    for again in again {
        // Two writes for each file but the last, of three.
        for failed in [None, Some(0), Some(1), Some(2), Some(4)] {
            let disk = SimDisk::new(1);
            let store = open(&disk, config());
            // Some have had messages before.
            let before: Vec<_> = (0..QUEUES).step_by(3).map(|id| message(0, id)).collect();
            append(&store, &before, 1);
            let messages: Vec<_> = forth().chain(again.iter().cloned()).collect();
            let mut batch = batch_of(&store, &messages);
            assert_eq!(batch.lanes.len(), QUEUES as usize);
            if let Some(after) = failed {
                disk.fail(Fault {
                    on: FaultOn::Write,
                    path: "commitlog".into(),
                    after,
                    error: FaultError::Io,
                    sticky: false,
                });
                store.append(&mut batch, 2).unwrap_err();
                for id in 0..QUEUES {
                    let there = usize::from(id % 3 == 0);
                    assert_eq!(bodies(&store, "T", id).len(), there, "{failed:?}");
                }
                // Others come between.
                append(&store, &[message(9, 1)], 2);
            }
            let appended = store.append(&mut batch, 2).unwrap();
            let mut sent = before;
            sent.extend(failed.map(|_| message(9, 1)));
            let first = sent.len();
            sent.extend(messages);
            let of = |id: i32| sent.iter().filter(move |sent| sent.queue_id == id);
            for (number, (_, queue_offset)) in appended.entries.iter().enumerate() {
                let at = first + number;
                let id = sent[at].queue_id;
                let earlier = sent[..at].iter().filter(|sent| sent.queue_id == id);
                assert_eq!(
                    queue_offset.0,
                    earlier.count() as i64,
                    "{number} {failed:?}"
                );
            }
            let store = open(&disk.crash(CrashKeep::All), config());
            for id in 0..QUEUES {
                let expected: Vec<_> = of(id).map(|sent| sent.body.clone()).collect();
                assert_eq!(bodies(&store, "T", id), expected, "{id} {failed:?}");
            }
        }
    }
}
