//! Units in values: `"30s"`, `"32MiB"`, `"1M"`, `"$5.00"`, `"$50/month"`, RFC 3339 instants.
//!
//! Pure: typed text in, exact integers out, or a complaint with the remedy. Nothing is rounded, nothing overflows, and a bare number
//! where a unit belongs is refused rather than guessed.

use super::problem::{Complaint, quoted};
use crate::domain::budget::{Budget, Cap, Period};
use crate::domain::clock::UnixMillis;
use crate::domain::money::Money;
use std::time::Duration;

const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const BYTES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const COUNTS: &[(&str, u64)] = &[("", 1), ("k", 1_000), ("K", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];

/// Reads `"500ms"`, `"30s"`, `"15m"`, `"2h"`, `"1d"`.
pub fn duration(text: &str) -> Result<Duration, Complaint> {
    scaled(text, DURATIONS, "a duration", "write a whole number and `ms`, `s`, `m`, `h` or `d`, as in \"30s\"")
        .map(Duration::from_millis)
}

/// Reads `"512KiB"`, `"32MiB"` (powers of 1024) and `"1MB"` (powers of 1000), in bytes.
pub fn bytes(text: &str) -> Result<u64, Complaint> {
    scaled(text, BYTES, "a size", "write a whole number and `B`, `KiB`, `MiB` or `GiB`, as in \"32MiB\"")
}

/// Reads `"600"`, `"10k"`, `"1M"`.
pub fn count(text: &str) -> Result<u64, Complaint> {
    scaled(text, COUNTS, "a count", "write a whole number, or one with `k` or `M`, as in \"1M\"")
}

/// Reads `"5%"` and `"0.5%"` as a share of one.
pub fn percent(text: &str) -> Result<f64, Complaint> {
    const REMEDY: &str = "write a number and `%`, as in \"5%\"";
    let refused = |why: &str| Complaint::new(format!("is {}, {why}", quoted(text)), REMEDY);
    let number = text.strip_suffix('%').ok_or_else(|| refused("a share without its percent sign"))?;
    let plain = number.len() <= 16 && number.starts_with(|first: char| first.is_ascii_digit());
    let plain = plain && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = plain.then(|| number.parse::<f64>().ok()).flatten();
    value.map(|value| value / 100.0).ok_or_else(|| refused("not a share"))
}

/// Reads `"$5.00"`.
pub fn money(text: &str) -> Result<Money, Complaint> {
    text.strip_prefix('$').and_then(Money::parse_usd).ok_or_else(|| {
        Complaint::new(format!("is {}, not an amount of dollars", quoted(text)), "write it as in \"$5.00\"")
    })
}

/// Reads `"$50/month"`, `"$100/total"`, and with what happens when it is spent `"$5/day soft"`.
pub fn budget(text: &str) -> Result<Budget, Complaint> {
    const REMEDY: &str = "write an amount and `/hour`, `/day`, `/week`, `/month` or `/total`, as in \"$50/month\", and ` soft` behind it \
                          if requests beyond it are to be served";
    let refused = |why: &str| Complaint::new(format!("is {}, {why}", quoted(text)), REMEDY);
    let (amount, rest) = text.split_once('/').ok_or_else(|| refused("a budget without a period"))?;
    let amount = money(amount.trim_end()).map_err(|_| refused("a budget without an amount of dollars"))?;
    let mut words = rest.split_ascii_whitespace();
    let period = words.next().and_then(Period::parse).ok_or_else(|| refused("a budget with an unknown period"))?;
    let cap = words.next().map_or(Some(Cap::Hard), Cap::parse);
    match (cap, words.next()) {
        (Some(cap), None) => Ok(Budget { amount, period, cap }),
        _ => Err(refused("a budget that is neither `hard` nor `soft`")),
    }
}

/// Reads an RFC 3339 instant with its offset, as in `2026-11-23T06:51:53Z` (RFC 3339 §5.6); parts of a millisecond are dropped.
pub fn instant(text: &str) -> Result<UnixMillis, Complaint> {
    parse_rfc3339(text).ok_or_else(|| {
        let what = format!("is {}, not an instant since 1970 with its offset", quoted(text));
        Complaint::new(what, "write date, time and offset, as in 2027-01-31T00:00:00Z")
    })
}

fn scaled(text: &str, units: &[(&str, u64)], noun: &str, remedy: &str) -> Result<u64, Complaint> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let refused = |why: String| Complaint::new(format!("is {}, {why}", quoted(text)), remedy);
    if number.is_empty() {
        return Err(refused(format!("not {noun}")));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit.trim_start_matches(' ')) else {
        let why = if unit.is_empty() { "a number without a unit".to_owned() } else { format!("not {noun}") };
        return Err(refused(why));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| refused("too large".to_owned()))
}

fn parse_rfc3339(text: &str) -> Option<UnixMillis> {
    let (date, rest) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes()[10], b'T' | b't' | b' ') {
        return None;
    }
    let days = days_since_epoch(date)?;
    let clock = rest.get(..8)?;
    let [hour, minute, second] = split_numbers(clock, ':')?;
    // Second 60 is a leap second, told as the next minute's first.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (millis, offset) = split_fraction(rest.get(8..)?)?;
    let offset_minutes = parse_offset(offset)?;
    let minutes = i64::try_from(days * 1_440 + hour * 60 + minute).ok()? - offset_minutes;
    let millis = minutes * 60_000 + i64::try_from(second * 1_000 + millis).ok()?;
    u64::try_from(millis).ok().map(UnixMillis)
}

fn days_since_epoch(date: &str) -> Option<u64> {
    let bytes = date.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let [year, month, day] = split_numbers(date, '-')?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if year < 1970 || day == 0 || day > length {
        return None;
    }
    let past_years = year - 1970;
    // Leap days in 1970..year: every fourth year but the centuries, except those divisible by 400 (RFC 3339 appendix C).
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let leap_days = leaps(year - 1) - leaps(1969);
    let past_months: u64 = lengths.iter().take(usize::try_from(month - 1).ok()?).sum();
    Some(past_years * 365 + leap_days + past_months + day - 1)
}

/// Three numbers of two digits (four for a year) between separators.
fn split_numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut next = |first: bool| {
        let part = parts.next()?;
        let width_ok = part.len() == 2 || (first && separator == '-' && part.len() == 4);
        (width_ok && part.bytes().all(|byte| byte.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let numbers = [next(true)?, next(false)?, next(false)?];
    parts.next().is_none().then_some(numbers)
}

/// Milliseconds of `.123…`, and what follows.
fn split_fraction(text: &str) -> Option<(u64, &str)> {
    let Some(fraction) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = fraction.split_at(digits);
    let padded = format!("{digits:0<3}");
    (!digits.is_empty()).then(|| padded.get(..3)?.parse().ok().map(|millis| (millis, rest)))?
}

/// Minutes east of UTC of `Z`, `+02:00`, `-05:30`.
fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes, _] = split_numbers(&format!("{}:00", text.get(1..)?), ':')?;
    (hours <= 23 && minutes <= 59).then(|| i64::try_from(hours * 60 + minutes).ok().map(|m| sign * m))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_counts_read_exactly() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(bytes("32MiB"), Ok(32 << 20));
        assert_eq!(bytes("1MB"), Ok(1_000_000));
        assert_eq!(count("1M"), Ok(1_000_000));
        assert_eq!(count("600"), Ok(600));
    }

    #[test]
    fn numbers_without_units_nonsense_and_overflow_are_refused() {
        for text in
            ["30", "", "s", "-1s", "+1s", "1.5s", "30 sec", "1m30s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["32", "32mib", "MiB", "18446744073709551615KiB", "0x10B"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "1.5M", "M", "-1", "+5", "1e3", "1 000"] {
            assert!(count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_have_their_percent_sign() {
        assert_eq!((percent("5%"), percent("0.5%"), percent("100%")), (Ok(0.05), Ok(0.005), Ok(1.0)));
        for text in ["", "%", "5", "5 %", "-5%", "+5%", ".5%", "1e2%", "five%", "inf%", "5%%", "1.2.3%", "0x5%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn money_and_budgets_are_exact() {
        let fifty = Money::parse_usd("50").expect("a valid amount");
        assert_eq!(money("$50.00"), Ok(fifty));
        let hard = |period| Budget { amount: fifty, period, cap: Cap::Hard };
        assert_eq!(budget("$50/month"), Ok(hard(Period::Month)));
        assert_eq!(budget("$50 / day"), Ok(hard(Period::Day)));
        assert_eq!(budget("$50/total hard"), Ok(hard(Period::Total)));
        let soft = Budget { cap: Cap::Soft, ..hard(Period::Hour) };
        assert_eq!((budget("$50/hour soft"), budget(&soft.to_string())), (Ok(soft), Ok(soft)));
        for text in ["50", "$", "$-1", "€5", "$1,000", "$1e3"] {
            assert!(money(text).is_err(), "{text}");
        }
        for text in ["$50", "50/month", "$50/year", "$/month", "$50/", "$50/day firm", "$50/day soft soft", "$-5/day"] {
            assert!(budget(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants_agree_with_their_printing() {
        for text in ["1970-01-01T00:00:00Z", "2000-02-29T00:00:00Z", "2026-11-23T06:51:53Z", "2100-03-01T23:59:59Z"] {
            assert_eq!(instant(text).map(UnixMillis::to_rfc3339).as_deref(), Ok(text));
        }
        assert_eq!(instant("2026-11-23T08:51:53.25+02:00"), instant("2026-11-23T06:51:53.250Z"));
        assert_eq!(instant("2026-11-23T06:51:53.9876Z").map(|at| at.0 % 1_000), Ok(987));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in [
            "2026-11-23",
            "2026-11-23T06:51:53",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00+2:00",
            "",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00Zx",
            "1970-01-01T00:00:00+01:00",
            "2026-1-011T00:00:00Z",
            "20260-1-01T00:00:00Z",
        ] {
            assert!(instant(text).is_err(), "{text}");
        }
    }
}
