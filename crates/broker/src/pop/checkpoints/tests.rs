//! The revive topic folded.

use protocol::bodies::CheckPoint;

use super::{Checkpoints, Key, Taken};
use crate::limits;

fn taken(start: i64, distances: &[i32]) -> Taken {
    Taken {
        key: Key {
            topic: "Orders".into(),
            group: "g".into(),
            queue_id: 0,
            start,
            pop_ms: 1_000,
        },
        invisible_ms: 500,
        distances: distances.into(),
        acked: 0,
    }
}

fn with(all: &[(&Taken, i64)]) -> Checkpoints {
    let mut checkpoints = Checkpoints::new([0, 0]);
    for (taken, at) in all {
        checkpoints.add((*taken).clone(), (0, *at), taken.due_ms());
    }
    checkpoints
}

#[test]
fn the_oldest_open_record_is_needed() {
    let (first, second) = (taken(0, &[0, 3]), taken(4, &[0]));
    let mut checkpoints = with(&[(&first, 0), (&second, 1)]);
    assert_eq!(checkpoints.needed_from(0), Some(0));
    checkpoints.acked(&first.key, &[0], (0, 2));
    assert_eq!(checkpoints.needed_from(0), Some(0));
    checkpoints.acked(&first.key, &[3], (0, 3));
    assert_eq!(
        (checkpoints.needed_from(0), checkpoints.len()),
        (Some(1), 1)
    );
    checkpoints.acked(&second.key, &[4], (0, 4));
    assert_eq!(
        (checkpoints.needed_from(0), checkpoints.len()),
        (Some(5), 0)
    );
    assert_eq!(checkpoints.next_due(), None);
    assert_eq!(checkpoints.needed_from(1), Some(0));
    assert_eq!(checkpoints.needed_from(2), None);
}

#[test]
fn a_record_counts_once_and_gaps_are_remembered() {
    let (first, second) = (taken(0, &[0]), taken(1, &[0]));
    let mut checkpoints = with(&[(&second, 1)]);
    assert_eq!(checkpoints.applied(0), Some(0));
    checkpoints.acked(&second.key, &[1], (0, 2));
    // Read again by the one who follows the topic.
    checkpoints.add(second, (0, 1), 1_500);
    assert_eq!(checkpoints.len(), 0);
    checkpoints.add(first, (0, 0), 1_500);
    assert_eq!((checkpoints.applied(0), checkpoints.len()), (Some(3), 1));
    checkpoints.skip_to(0, 9);
    assert_eq!(checkpoints.applied(0), Some(9));
}

#[test]
fn what_is_being_acknowledged_is_not_due() {
    let one = taken(0, &[0, 1]);
    let mut checkpoints = with(&[(&one, 0)]);
    assert!(checkpoints.take_due(1_499, 9).is_empty());
    let acking = checkpoints
        .begin_ack(&one.key, &[1, 7])
        .expect("it is open");
    assert_eq!(acking.mask, 0b10);
    assert!(checkpoints.take_due(1_500, 9).is_empty());
    checkpoints.end_ack(&one.key, acking.mask, Some((0, 1)));
    let due = checkpoints.take_due(1_500, 9);
    assert_eq!(due[0].open_offsets().collect::<Vec<_>>(), [0]);
    // Now it is too late.
    assert_eq!(checkpoints.begin_ack(&one.key, &[0]), None);
    checkpoints.postpone(&one.key, Some(2_000));
    assert_eq!(checkpoints.next_due(), Some(2_000));
    assert!(checkpoints.begin_ack(&one.key, &[0]).is_some());
}

#[test]
fn what_is_being_acknowledged_is_nobody_elses() {
    let one = taken(0, &[0, 1]);
    let mut checkpoints = with(&[(&one, 0)]);
    let acking = checkpoints.begin_ack(&one.key, &[0]).expect("it is open");
    assert_eq!((&*acking.offsets, acking.is_last), (&[0][..], false));
    assert_eq!(checkpoints.begin_ack(&one.key, &[0]), None);
    let other = checkpoints.begin_ack(&one.key, &[0, 1]).expect("1 is open");
    assert_eq!((&*other.offsets, other.mask), (&[1][..], 0b10));
    checkpoints.end_ack(&one.key, acking.mask, None);
    assert!(checkpoints.take_due(1_500, 9).is_empty());
    checkpoints.end_ack(&one.key, other.mask, Some((0, 1)));
    assert_eq!(checkpoints.take_due(1_500, 9).len(), 1);
}

#[test]
fn one_group_does_not_take_all_places() {
    let mut checkpoints = with(&[]);
    let count = limits::CHECKPOINTS_PER_GROUP_MAX as i64;
    for start in 0..count {
        checkpoints.add(taken(start, &[0]), (0, start), 1_500);
    }
    assert!(checkpoints.is_full("g"));
    assert!(!checkpoints.is_full("h"));
    checkpoints.acked(&taken(7, &[0]).key, &[7], (0, count));
    assert!(!checkpoints.is_full("g"));
}

#[test]
fn an_acknowledgement_that_was_not_stored_is_none() {
    let one = taken(0, &[0]);
    let mut checkpoints = with(&[(&one, 0)]);
    let acking = checkpoints.begin_ack(&one.key, &[0]).expect("it is open");
    checkpoints.end_ack(&one.key, acking.mask, None);
    assert_eq!(checkpoints.take_due(1_500, 9).len(), 1);
}

#[test]
fn one_put_again_keeps_what_is_acknowledged() {
    let one = taken(0, &[0, 1]);
    let mut checkpoints = with(&[(&one, 0)]);
    checkpoints.acked(&one.key, &[0], (0, 1));
    let [old] = &checkpoints.open_before(0, 1, 9)[..] else {
        panic!("it is old");
    };
    checkpoints.add(old.clone(), (0, 2), 1_500);
    assert_eq!(checkpoints.needed_from(0), Some(2));
    let due = checkpoints.take_due(1_500, 9);
    assert_eq!(due[0].open_offsets().collect::<Vec<_>>(), [1]);
}

#[test]
fn an_early_acknowledgement_waits_for_its_check_point() {
    let (one, two) = (taken(0, &[0, 1]), taken(2, &[0]));
    let mut checkpoints = with(&[]);
    for _ in 0..100 {
        checkpoints.ack_early(one.key.clone(), &[1], 1_500, 1_200);
    }
    assert_eq!(checkpoints.early[&one.key].offsets, [1]);
    let many: Vec<i64> = (0..100).collect();
    checkpoints.ack_early(two.key.clone(), &many, 1_500, 1_200);
    assert_eq!(checkpoints.early[&two.key].offsets.len(), 32);
    checkpoints.add(one, (0, 0), 1_500);
    let due = checkpoints.take_due(1_500, 9);
    assert_eq!(due[0].open_offsets().collect::<Vec<_>>(), [0]);
}

#[test]
fn records_that_can_not_be_are_none() {
    let good = taken(5, &[0, 2]).to_record("b");
    assert_eq!(Taken::of_record(&good), Some(taken(5, &[0, 2])));
    // Old brokers do not write distances.
    let dense = CheckPoint {
        distances: Vec::new(),
        ..good.clone()
    };
    assert_eq!(Taken::of_record(&dense), Some(taken(5, &[0, 1])));
    let bad: [fn(&mut CheckPoint); 7] = [
        |record| record.count = 0,
        |record| record.count = 33,
        |record| record.count = 3,
        |record| record.start_offset = -1,
        |record| record.queue_id = -1,
        |record| record.group.clear(),
        |record| record.distances[1] = -1,
    ];
    for (index, change) in bad.iter().enumerate() {
        let mut record = good.clone();
        change(&mut record);
        assert_eq!(Taken::of_record(&record), None, "{index}");
    }
}
