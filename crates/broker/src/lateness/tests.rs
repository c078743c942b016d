//! Percentiles of lateness.

use super::{Lateness, LatenessReport};

fn check(noted: &[i64], expect: (u64, u64, u64)) {
    let lateness = Lateness::default();
    noted.iter().for_each(|late_ms| lateness.note(*late_ms));
    let (count, p99_ms, worst_ms) = expect;
    assert_eq!(
        lateness.report(),
        LatenessReport {
            count,
            p99_ms,
            worst_ms
        },
        "{noted:?}"
    );
}

#[test]
fn reports_what_was_noted() {
    check(&[], (0, 0, 0));
    check(&[-5, 0], (2, 0, 0));
    check(&[0, 3], (2, 3, 3));
    check(&[40], (1, 40, 40));
    check(&[1_000_000], (1, 1_000_000, 1_000_000));
}

#[test]
fn one_in_a_hundred_may_be_later() {
    let mut noted = vec![4; 99];
    noted.push(900);
    check(&noted, (100, 5, 900));
    noted.push(900);
    check(&noted, (101, 900, 900));
}
