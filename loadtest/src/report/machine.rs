//! Where a result comes from: the machine, and the moment.

use serde::{Deserialize, Serialize};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The machine that measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor as it calls itself; empty where it does not say.
    pub cpu: String,
    /// Cores that the tester may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// Who governs the processor's frequency; empty where nobody says.
    pub governor: String,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let line = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let cpuinfo = line("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            cpu: model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            kernel: line("/proc/sys/kernel/osrelease"),
            governor: line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        }
    }
}

/// An instant as RFC 3339 writes it, in UTC to the millisecond.
pub fn utc(instant: SystemTime) -> String {
    let since = instant.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// The instant that such a text names; `None` of another form.
pub fn instant(text: &str) -> Option<SystemTime> {
    let digits = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let months = months(year);
    let before = months.get(..usize::try_from(month).ok()?.checked_sub(1)?)?;
    let years: u64 = (1970..year).map(|year| self::months(year).iter().sum::<u64>()).sum();
    let days = years + before.iter().sum::<u64>() + day.checked_sub(1)?;
    let seconds = days * 86_400 + digits(11..13)? * 3600 + digits(14..16)? * 60 + digits(17..19)?;
    UNIX_EPOCH.checked_add(Duration::from_millis(seconds * 1000 + digits(20..23)?))
}

/// Days of each month of a year in the Gregorian calendar.
fn months(year: u64) -> [u64; 12] {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    [31, 28 + u64::from(is_leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Year, month and day of a day since 1970, by counting off whole months.
fn civil(mut days: u64) -> (u64, u64, u64) {
    for year in 1970.. {
        for (month, length) in (1..).zip(months(year)) {
            if days < length {
                return (year, month, days + 1);
            }
            days -= length;
        }
    }
    (1970, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_and_read_in_utc() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_798_761_599_001, "2026-12-31T23:59:59.001Z"),
        ] {
            let then = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!((utc(then).as_str(), instant(text)), (text, Some(then)));
        }
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn this_machine_has_cores_and_a_kernel() {
        let here = Machine::here();
        assert!(here.cores > 0 && !here.kernel.is_empty(), "{here:?}");
    }
}
