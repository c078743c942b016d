//! Milliseconds since 1970 as a date, in UTC.

use std::fmt;

/// Shows as `2026-01-31 23:59:59.123`.
pub(super) struct Utc(pub(super) i64);

impl fmt::Display for Utc {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: i64 = 86_400_000;
        let (year, month, day) = date(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let [hours, minutes, seconds] = [ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60];
        let ms = ms % 1000;
        write!(
            out,
            "{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{ms:03}"
        )
    }
}

/// Year, month and day of a day counted from 1970-01-01. Years are counted from March here, so that the leap day is the
/// last of its year, and in eras of 400 years, which all have the same length.
fn date(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leaps = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[test]
fn dates() {
    for (ms, text) in [
        (0, "1970-01-01 00:00:00.000"),
        (951_782_399_999, "2000-02-28 23:59:59.999"),
        (951_782_400_000, "2000-02-29 00:00:00.000"),
        (4_107_542_400_000, "2100-03-01 00:00:00.000"),
        (1_795_349_684_004, "2026-11-22 12:14:44.004"),
        (-1, "1969-12-31 23:59:59.999"),
    ] {
        assert_eq!(Utc(ms).to_string(), text);
    }
}
