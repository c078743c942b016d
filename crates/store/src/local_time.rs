//! Wall-clock time, for what RocketMQ does by it: index file names, the hour of deletion.

/// A moment and where the clock on the wall is. The store has no clock: it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Milliseconds since 1970 in UTC.
    pub epoch_ms: i64,
    /// Seconds to add for local time.
    pub utc_offset_s: i32,
}

impl LocalTime {
    /// `yyyyMMddHHmmssSSS` as a number.
    pub(crate) fn digits(self) -> u64 {
        let ms = self
            .epoch_ms
            .saturating_add(i64::from(self.utc_offset_s) * 1000)
            .max(0);
        let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
        // Counting years from March puts the leap day last; 400 years are 146,097 days, and day 0
        // is 719,468 days after 1 March of the year 0.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 {
            from_march + 3
        } else {
            from_march - 9
        };
        let year = era * 400 + year + i64::from(month <= 2);
        let date = year * 10_000 + month * 100 + day_of_month;
        let (minutes, ms_of_minute) = (ms_of_day / 60_000, ms_of_day % 60_000);
        let time = (minutes / 60 * 100 + minutes % 60) * 100_000 + ms_of_minute;
        date.unsigned_abs() * 1_000_000_000 + time.unsigned_abs()
    }

    /// Hour of the day, 0 to 23.
    pub fn hour(self) -> u8 {
        let seconds = self.epoch_ms.div_euclid(1000) + i64::from(self.utc_offset_s);
        (seconds.rem_euclid(86_400) / 3600) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_hours() {
        for (epoch_ms, utc_offset_s, digits, hour) in [
            (0, 0, 19_700_101_000_000_000, 0),
            (951_782_400_000, 0, 20_000_229_000_000_000, 0),
            (951_868_799_999, 0, 20_000_229_235_959_999, 23),
            (951_868_800_000, 0, 20_000_301_000_000_000, 0),
            (1_709_210_096_789, 8 * 3600, 20_240_229_203_456_789, 20),
            (1_735_689_599_999, 0, 20_241_231_235_959_999, 23),
            (
                1_735_689_599_999,
                5 * 3600 + 1800,
                20_250_101_052_959_999,
                5,
            ),
            (1_735_700_000_000, -8 * 3600, 20_241_231_185_320_000, 18),
            (4_107_542_400_000, 0, 21_000_301_000_000_000, 0),
        ] {
            let time = LocalTime {
                epoch_ms,
                utc_offset_s,
            };
            assert_eq!((time.digits(), time.hour()), (digits, hour), "{time:?}");
        }
    }
}
