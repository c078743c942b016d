//! The ids that Java clients give their messages (UNIQ_KEY), made here for messages that come without one.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use store::LocalTime;

#[cfg(test)]
mod tests;

/// Makes ids unique among all that share an address and a process id.
///
/// | bytes | what, in upper case hex |
/// |---|---|
/// | 4 or 16 | address |
/// | 2 | process id |
/// | 4 | a number of this start; Java has its class loader's hash here |
/// | 4 | milliseconds since the month began, local time |
/// | 2 | counter |
pub(crate) struct UniqueKeys {
    prefix: String,
    counter: AtomicU16,
}

impl UniqueKeys {
    pub(crate) fn new(address: IpAddr, process_id: u32, start: u32) -> UniqueKeys {
        let mut bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.extend_from_slice(&(process_id as u16).to_be_bytes());
        bytes.extend_from_slice(&start.to_be_bytes());
        let prefix = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        UniqueKeys {
            prefix,
            counter: AtomicU16::new(0),
        }
    }

    pub(crate) fn next(&self, now: LocalTime) -> String {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        format!(
            "{}{:08X}{counter:04X}",
            self.prefix,
            ms_since_month_began(now)
        )
    }
}

/// Milliseconds since the first of the month.
fn ms_since_month_began(now: LocalTime) -> u32 {
    const DAY_MS: i64 = 86_400_000;
    let now_ms = now.epoch_ms + i64::from(now.utc_offset_s) * 1_000;
    let day = now_ms.div_euclid(DAY_MS);
    let ms_of_month = (i64::from(day_of_month(day)) - 1) * DAY_MS + now_ms.rem_euclid(DAY_MS);
    u32::try_from(ms_of_month).unwrap_or(0)
}

/// Day of the month, from 1, of a number of days since 1970 in the Gregorian calendar (days counted from 1 March 2000,
/// so that leap days come last in their cycles of 400, 100, 4 and 1 years).
fn day_of_month(day: i64) -> u32 {
    const DAYS_TO_MARCH_2000: i64 = 11_017;
    const DAYS_IN_400_YEARS: i64 = 146_097;
    let day_of_era = (day - DAYS_TO_MARCH_2000).rem_euclid(DAYS_IN_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32
}
