//! The table of open half messages: copies, ends, times.

use std::sync::Arc;

use super::{Move, Place, Read, Table};
use crate::limits;

fn read(table: &mut Table, at: i64, origin: i64, due_ms: i64) -> Read {
    table.read(at, at * 100, origin, due_ms, 0, Arc::from("Orders"))
}

#[test]
fn a_half_message_is_open_until_it_ends() {
    let mut table = Table::from(5);
    assert_eq!((table.low(), table.wake_ms()), (5, None));
    assert_eq!(table.find(5, 5), Place::Ahead);
    assert_eq!(read(&mut table, 5, 5, 50), Read::New);
    assert_eq!(read(&mut table, 6, 6, 40), Read::New);
    assert_eq!(table.wake_ms(), Some(40));
    assert_eq!(table.due(49, 10), [6]);
    assert_eq!(table.due(50, 10), [6, 5]);
    assert_eq!(table.due(50, 1), [6]);
    assert_eq!(table.find(5, 5), Place::Open(5));
    assert_eq!(table.end(6).map(|half| half.log_offset), Some(600));
    assert_eq!(table.find(6, 6), Place::Gone);
    assert_eq!(table.low(), 5);
    table.end(5);
    assert_eq!((table.low(), table.next(), table.len()), (7, 7, 0));
    assert_eq!(table.end(5), None);
    assert_eq!(table.find(4, 4), Place::Gone);
}

#[test]
fn a_copy_takes_the_place_of_what_it_is_a_copy_of() {
    let mut table = Table::from(0);
    read(&mut table, 0, 0, 10);
    table.moving(0, Move::Ask);
    assert_eq!(table.wake_ms(), None);
    assert_eq!(table.find(0, 0), Place::Ahead, "until the copy is read");
    assert_eq!(table.low(), 0);
    read(&mut table, 1, 1, 10);
    assert_eq!(read(&mut table, 2, 0, 30), Read::Ask);
    for named in [0, 2] {
        assert_eq!(table.find(named, 0), Place::Open(2));
    }
    assert_eq!(table.low(), 1);

    table.moving(2, Move::Along);
    assert_eq!(read(&mut table, 3, 0, 99), Read::Copy);
    assert_eq!(table.get(3).map(|half| half.due_ms), Some(30), "as it was");
    for named in [0, 2, 3] {
        assert_eq!(table.find(named, 0), Place::Open(3));
    }
    table.end(3);
    for named in [0, 2, 3] {
        assert_eq!(table.find(named, 0), Place::Gone);
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn a_copy_found_at_a_start_is_not_asked_after_at_once() {
    let mut table = Table::from(0);
    read(&mut table, 0, 0, 10);
    assert_eq!(read(&mut table, 1, 0, 40), Read::Copy);
    assert_eq!(read(&mut table, 2, -7, 40), Read::New, "of one long gone");
    assert_eq!(table.find(0, 0), Place::Open(1));
    assert_eq!(table.find(1, 0), Place::Open(1));
}

#[test]
fn stragglers_are_few_or_far_back() {
    let mut table = Table::from(0);
    read(&mut table, 0, 0, 10);
    read(&mut table, 1, 1, 10);
    table.set_next(limits::HALVES_SPAN_MIN);
    assert!(table.stragglers(10).is_empty());
    table.set_next(limits::HALVES_SPAN_MIN + 1);
    assert_eq!(table.stragglers(10), [0]);
    table.set_next(limits::HALVES_SPAN_MIN + 9);
    assert_eq!(table.stragglers(1), [0]);
    table.moving(0, Move::Along);
    assert_eq!(table.stragglers(10), [1]);
}

#[test]
fn what_is_far_off_is_looked_after_before() {
    let mut table = Table::from(0);
    read(&mut table, 0, 0, i64::MAX);
    assert_eq!(table.wake_ms(), Some(limits::HALF_STAYS_MS_MAX));
    table.postpone(0, 5);
    assert_eq!((table.wake_ms(), table.due(4, 9).len()), (Some(5), 0));
    assert_eq!(table.due(5, 9), [0]);
}
