//! How long a provider asks to wait, out of the many ways to say it.
//!
//! `retry-after-ms`, `retry-after` (seconds, fractions, an HTTP date), a delay in the body, and the reset fields of an exhausted
//! allowance. Zero, negative, unreadable and past hints are absent; long ones are cut to [`RETRY_HINT_MAX`]. Pure: `now` is given.

use crate::domain::clock::UnixMillis;
use crate::limits::RETRY_HINT_MAX;
use std::time::{Duration, UNIX_EPOCH};

/// The provider's hint, the most direct form first. `rate_limited` says whether reset fields may be believed: they stand on good
/// answers too, where they mean nothing to wait for.
pub fn read<'h>(
    header: &dyn Fn(&str) -> Option<&'h [u8]>,
    body_delay: Option<&str>,
    rate_limited: bool,
    now: UnixMillis,
) -> Option<Duration> {
    let text = |name: &str| header(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
    text("retry-after-ms")
        .and_then(|value| decimal(value, 1))
        .or_else(|| text("retry-after").and_then(|value| decimal(value, 1_000).or_else(|| until_http_date(value, now))))
        .or_else(|| body_delay.and_then(duration))
        .or_else(|| if rate_limited { until_reset(&text, now) } else { None })
        .filter(|hint| !hint.is_zero())
        .map(|hint| hint.min(RETRY_HINT_MAX))
}

/// A decimal number of units of `unit_ms` milliseconds: `2`, `0.5`. No sign, no exponent, no `NaN`.
pub fn decimal(text: &str, unit_ms: u64) -> Option<Duration> {
    let (micros, rest) = leading_micros(text.as_bytes())?;
    rest.is_empty().then(|| in_units(micros, unit_ms))
}

/// The decimal number that a text begins with, in millionths, and what follows it.
fn leading_micros(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest {
        [b'.', rest @ ..] => rest.split_at(digits(rest)),
        _ => (&b"0"[..], rest),
    };
    if whole.is_empty() || fraction.is_empty() {
        return None;
    }
    // More digits than a `u64` holds are a very long wait, and cut later.
    let more = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')));
    let millionths = fraction.iter().chain(std::iter::repeat(&b'0')).take(6).fold(0, more);
    Some((whole.iter().fold(0, more).saturating_mul(1_000_000).saturating_add(millionths), rest))
}

/// Millionths of a unit of so many milliseconds.
fn in_units(micros: u64, unit_ms: u64) -> Duration {
    Duration::from_micros(micros.saturating_mul(unit_ms) / 1_000)
}

/// A Go-style duration, as OpenAI writes reset times and Google retry delays: `6m0s`, `1s`, `88ms`, `37.826s`, `1h2m`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.as_bytes().trim_ascii();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (micros, tail) = leading_micros(rest)?;
        let letters = tail.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (unit, next) = tail.split_at(letters);
        let unit_ms = match unit {
            b"h" => 3_600_000,
            b"m" => 60_000,
            b"s" => 1_000,
            b"ms" => 1,
            _ => return None,
        };
        total = total.saturating_add(in_units(micros, unit_ms));
        rest = next;
    }
    Some(total)
}

/// The time until an HTTP date (RFC 9110 §5.6.7); `None` when it has passed.
fn until_http_date(text: &str, now: UnixMillis) -> Option<Duration> {
    let then = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    then.checked_sub(Duration::from_millis(now.0))
}

/// The time until an RFC 3339 instant in UTC (`2026-11-23T06:51:53Z`, fractions allowed), Anthropic's reset form.
pub fn until_rfc3339(text: &str, now: UnixMillis) -> Option<Duration> {
    let (date, clock) = text.strip_suffix(['Z', 'z'])?.split_once(['T', 't'])?;
    let clock = clock.split_once('.').map_or(clock, |(whole, _)| whole);
    let [year, month, day] = three_numbers(date, '-')?;
    let [hour, minute, second] = three_numbers(clock, ':')?;
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Duration::from_secs(seconds).checked_sub(Duration::from_millis(now.0))
}

fn three_numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<u64>().ok() } else { None }
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Days since 1970-01-01, with years counted from March so that the leap day comes last.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The longest reset among the allowances that stand at zero.
fn until_reset<'h>(text: &dyn Fn(&str) -> Option<&'h str>, now: UnixMillis) -> Option<Duration> {
    RESETS
        .iter()
        .filter(|(remaining, _)| text(remaining) == Some("0"))
        .filter_map(|(_, reset)| text(reset))
        .filter_map(|value| duration(value).or_else(|| decimal(value, 1_000)).or_else(|| until_rfc3339(value, now)))
        .max()
}

/// Fields that state what remains of an allowance, and when it is full again (OpenAI and its kin; Anthropic).
const RESETS: &[(&str, &str)] = &[
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-23T06:51:53Z.
    const NOW: UnixMillis = UnixMillis(1_795_416_713_000);

    fn hint(fields: &[(&str, &str)]) -> Option<u128> {
        let header = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
        read(&header, None, true, NOW).map(|hint| hint.as_millis())
    }

    #[test]
    fn every_form_is_read() {
        let cases: [(&[(&str, &str)], u128); 8] = [
            (&[("retry-after-ms", "250"), ("retry-after", "9")], 250),
            (&[("retry-after", "2")], 2_000),
            (&[("retry-after", "0.5")], 500),
            (&[("retry-after", "Mon, 23 Nov 2026 06:52:23 GMT")], 30_000),
            (&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1m0s")], 60_000),
            (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "88ms")], 88),
            (&[("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "7.66s")], 7_660),
            (
                &[
                    ("anthropic-ratelimit-tokens-remaining", "0"),
                    ("anthropic-ratelimit-tokens-reset", "2026-11-23T06:52:03Z"),
                ],
                10_000,
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(hint(fields), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn what_is_no_wait_is_absent() {
        let past = "Mon, 23 Nov 2026 06:51:00 GMT";
        for value in ["0", "0.0", "-1", "NaN", "inf", "1e3", "+5", "", " ", "soon", ".5", "5.", "٣", past] {
            assert_eq!(hint(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(hint(&[("x-ratelimit-remaining-tokens", "12"), ("x-ratelimit-reset-tokens", "6m0s")]), None);
    }

    #[test]
    fn an_unreadable_form_leaves_the_word_to_the_next() {
        assert_eq!(hint(&[("retry-after-ms", "NaN"), ("retry-after", "3")]), Some(3_000));
    }

    #[test]
    fn long_waits_are_cut() {
        let cap = RETRY_HINT_MAX.as_millis();
        for value in ["86400", "99999999999999999999999999", "Tue, 24 Nov 2026 06:52:23 GMT"] {
            assert_eq!(hint(&[("retry-after", value)]), Some(cap), "{value}");
        }
    }

    #[test]
    fn a_delay_in_the_body_counts_when_no_field_says_otherwise() {
        let read = |delay| read(&|_| None, Some(delay), true, NOW).map(|hint| hint.as_micros());
        assert_eq!(read("37s"), Some(37_000_000));
        assert_eq!(read("37.826s"), Some(37_826_000));
        assert_eq!(read("1h"), Some(RETRY_HINT_MAX.as_micros()));
        for delay in ["", "37", "s", "3 s", "-3s", "3d"] {
            assert_eq!(read(delay), None, "{delay}");
        }
    }

    #[test]
    fn instants_agree_with_the_clock_that_prints_them() {
        for seconds in [0, 951_782_400, 1_709_164_800, 1_795_416_713, 4_102_444_799] {
            let printed = UnixMillis(seconds * 1_000).to_rfc3339();
            assert_eq!(until_rfc3339(&printed, UnixMillis(0)), Some(Duration::from_secs(seconds)), "{printed}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader_or_passes_the_cap(value in "\\PC{0,40}|[0-9.:smhTZ-]{0,40}") {
            let fields = [
                ("retry-after", value.as_str()),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", value.as_str()),
            ];
            if let Some(hint) = hint(&fields) {
                prop_assert!(hint <= RETRY_HINT_MAX.as_millis());
            }
        }
    }
}
