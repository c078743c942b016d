//! Unique keys: layout and calendar.

use store::LocalTime;

use super::{UniqueKeys, ms_since_month_began};

fn utc(epoch_ms: i64) -> LocalTime {
    LocalTime {
        epoch_ms,
        utc_offset_s: 0,
    }
}

#[test]
fn a_key_has_the_layout_clients_decode() {
    let keys = UniqueKeys::new("127.0.0.1".parse().unwrap(), 0x1_2345, 0x0102_0304);
    // 2024-02-29T00:00:00.001Z: 28 days into the month.
    let now = utc(1_709_164_800_001);
    assert_eq!(keys.next(now), "7F000001234501020304903210010000");
    assert!(keys.next(now).ends_with("0001"));
    assert_eq!(
        UniqueKeys::new("::1".parse().unwrap(), 1, 1)
            .next(utc(0))
            .len(),
        56
    );
}

#[test]
fn months_begin_on_their_first_day() {
    const DAY_MS: i64 = 86_400_000;
    for (date, days_since_1970, day_of_month) in [
        ("1970-01-01", 0, 1),
        ("1970-01-31", 30, 31),
        ("1970-02-01", 31, 1),
        ("2000-02-29", 11_016, 29),
        ("2000-03-01", 11_017, 1),
        ("2024-02-29", 19_782, 29),
        ("2024-12-31", 20_088, 31),
        ("2026-11-22", 20_779, 22),
        ("2100-02-28", 47_540, 28),
        ("2100-03-01", 47_541, 1),
    ] {
        let now_ms = days_since_1970 * DAY_MS + 77;
        assert_eq!(
            i64::from(ms_since_month_began(utc(now_ms))),
            (day_of_month - 1) * DAY_MS + 77,
            "{date}"
        );
    }
}

#[test]
fn a_month_begins_at_local_midnight() {
    // Half an hour before the year 1970 in UTC, and half an hour into it an hour to the east.
    let now = LocalTime {
        epoch_ms: -1_800_000,
        utc_offset_s: 3_600,
    };
    assert_eq!(ms_since_month_began(now), 1_800_000);
}
