//! Who has a turn, and who is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A connection.
#[derive(Default)]
struct Member {
    place: Place,
    woken: Arc<Woken>,
}

impl Member {
    fn queue_up(&mut self, turns: &Turns) {
        let task = Waker::from(Arc::clone(&self.woken));
        turns.queue_up(&mut self.place, &task);
    }

    /// Was woken since last asked.
    fn is_woken(&self) -> bool {
        self.woken.0.swap(0, Ordering::SeqCst) > 0
    }

    fn begins(&mut self, turns: &Turns) -> bool {
        self.is_woken() && turns.has_come(&mut self.place)
    }

    fn leave(&mut self, turns: &Turns) {
        turns.leave(&mut self.place);
    }
}

#[test]
fn turns_go_round() {
    let turns = Turns::new(1);
    let mut members: [Member; 3] = Default::default();
    for member in &mut members {
        member.queue_up(&turns);
    }
    for round in 0..6 {
        let (now, next) = (round % 3, (round + 1) % 3);
        assert!(members[now].begins(&turns), "round {round}");
        assert!(!members[next].begins(&turns));
        assert_eq!(members[now].place, Place::AtWork);
        members[now].queue_up(&turns);
    }
}

#[test]
fn no_more_than_there_are() {
    let turns = Turns::new(2);
    let mut members: [Member; 4] = Default::default();
    members
        .iter_mut()
        .for_each(|member| member.queue_up(&turns));
    let begun = members.iter_mut().map(|member| member.begins(&turns));
    assert_eq!(begun.collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn a_turn_is_not_lost_with_who_has_it() {
    let turns = Turns::new(1);
    let mut members: [Member; 4] = Default::default();
    members
        .iter_mut()
        .for_each(|member| member.queue_up(&turns));
    let [at_work, called, in_line, last] = &mut members;
    assert!(at_work.begins(&turns));
    in_line.leave(&turns);
    at_work.leave(&turns);
    // Called, but gone before it came.
    assert!(called.is_woken());
    called.leave(&turns);
    assert!(!in_line.is_woken());
    assert!(last.begins(&turns));
    last.leave(&turns);
    // Back again at the end of an empty line.
    in_line.queue_up(&turns);
    assert!(in_line.begins(&turns));
}

#[test]
fn who_is_woken_for_something_else_stays_in_line() {
    let turns = Turns::new(1);
    let mut members: [Member; 2] = Default::default();
    members
        .iter_mut()
        .for_each(|member| member.queue_up(&turns));
    let [first, second] = &mut members;
    assert!(first.begins(&turns));
    assert!(!turns.has_come(&mut second.place));
    first.leave(&turns);
    assert!(second.begins(&turns));
    second.leave(&turns);
    assert!(!first.is_woken() && !second.is_woken());
    assert!(turns.state.lock().line.is_empty() && turns.state.lock().free == 1);
}

#[test]
fn who_left_and_came_back_has_one_place() {
    let turns = Turns::new(1);
    let mut members: [Member; 3] = Default::default();
    for member in &mut members {
        member.queue_up(&turns);
    }
    for _ in 0..2 {
        members[1].leave(&turns);
        members[1].queue_up(&turns);
    }
    let mut begun = [0; 3];
    for _ in 0..9 {
        let now = members
            .iter_mut()
            .position(|member| member.begins(&turns))
            .unwrap();
        begun[now] += 1;
        members[now].queue_up(&turns);
    }
    assert_eq!(begun, [3, 3, 3]);
}
