//! What was seen of a lane, as text that one machine passes on to others: counts, and durations in coarse buckets.
//!
//! ```text
//! 1 GOOD LIMITED BAD INPUT OUTPUT CACHED COST PRICED CONNECT FIRST_BYTE FIRST_TOKEN INTER_TOKEN TOTAL WAITS
//! ```
//! Each of the last six is `bucket:count,…` or `-`. Durations are within 6 percent of what was measured, which is enough for a hint. Nothing says
//! whose requests they were (rule T3).

use super::observed::{Lap, Observed};
use super::spread::{COARSE, COARSE_BUCKETS, bucket, least};
use crate::domain::money::Money;
use crate::domain::token::Usage;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The version of the text: one of another version is not read.
const VERSION: &str = "1";
/// More of one bucket is not believed: it bounds what a text may make this process count.
const COUNT_MAX: u64 = 1_000_000;

/// As text.
pub fn write(seen: &Observed) -> String {
    let Observed { good, limited, bad, usage, cost, priced_work, .. } = seen;
    let Usage { input, output, cached_input, .. } = usage;
    let mut text =
        format!("{VERSION} {good} {limited} {bad} {input} {output} {cached_input} {} {priced_work}", cost.pico());
    for lap in seen.laps() {
        let mut buckets: BTreeMap<usize, u64> = BTreeMap::new();
        for (value, count) in Observed::durations(lap) {
            *buckets.entry(bucket(value, COARSE)).or_default() += u64::from(count);
        }
        list(&mut text, buckets.into_iter());
    }
    list(&mut text, seen.waits.counts().map(|(bucket, count)| (bucket, u64::from(count))));
    text
}

/// Reads it; `None` for what this build does not understand.
pub fn read(text: &str) -> Option<Observed> {
    let mut words = text.split(' ');
    (words.next()? == VERSION).then_some(())?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let mut seen = Observed::new();
    (seen.good, seen.limited, seen.bad) = (number()?, number()?, number()?);
    (seen.usage.input, seen.usage.output, seen.usage.cached_input) = (number()?, number()?, number()?);
    (seen.cost, seen.priced_work) = (Money::from_pico(number()?.into()), number()?);
    for lap in Lap::ALL {
        for (bucket, count) in buckets(words.next()?)? {
            // The middle of the bucket; 32 bits of microseconds always fit.
            let (from, to) = (least(bucket, COARSE), least(bucket + 1, COARSE));
            let value = u32::try_from(from + (to - from) / 2).unwrap_or(u32::MAX);
            seen.record_lap(lap, value, count);
        }
    }
    for (bucket, count) in buckets(words.next()?)? {
        seen.waits.add(bucket, count);
    }
    words.next().is_none().then_some(seen)
}

fn list(text: &mut String, buckets: impl Iterator<Item = (usize, u64)>) {
    let mut mark = ' ';
    for (bucket, count) in buckets {
        // Writing to a string does not fail.
        let _ = write!(text, "{mark}{bucket}:{count}");
        mark = ',';
    }
    if mark == ' ' {
        text.push_str(" -");
    }
}

fn buckets(word: &str) -> Option<Vec<(usize, u64)>> {
    if word == "-" {
        return Some(Vec::new());
    }
    let one = |part: &str| {
        let (bucket, count) = part.split_once(':')?;
        let (bucket, count): (usize, u64) = (bucket.parse().ok()?, count.parse().ok()?);
        (bucket < COARSE_BUCKETS && count <= COUNT_MAX).then_some((bucket, count))
    };
    let read: Option<Vec<_>> = word.split(',').map(one).collect();
    read.filter(|read| read.len() <= COARSE_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::TenantId;
    use crate::routing::observed::{Sample, Verdict};

    fn sample(verdict: Verdict, wait_us: u32) -> Sample {
        Sample {
            tenant: TenantId::new("acme"),
            verdict,
            connect_us: Some(900),
            first_byte_us: Some(wait_us),
            first_token_us: None,
            inter_token_us: None,
            total_us: wait_us.saturating_mul(3),
            usage: Usage { input: 100, output: 10, cached_input: 40, ..Usage::default() },
            cost: Some(Money::from_pico(700)),
        }
    }

    #[test]
    fn what_is_passed_on_comes_back_but_for_a_little_of_its_durations() {
        let mut seen = Observed::new();
        for wait in [0, 1, 40_000, 41_000, 250_000, u32::MAX] {
            seen.record(&sample(Verdict::Good, wait));
        }
        seen.record(&sample(Verdict::Bad, 1));
        seen.record(&sample(Verdict::Limited, 1));
        let text = write(&seen);
        assert!(!text.contains("acme"), "{text}");
        let heard = read(&text).expect("understood");
        assert_eq!((heard.good, heard.limited, heard.bad, heard.usage.cached_input), (6, 1, 1, 240));
        assert_eq!((heard.cost, heard.priced_work), (seen.cost, seen.priced_work));
        assert!(heard.waits.counts().eq(seen.waits.counts()));
        assert_eq!(heard.laps().map(|lap| lap.len()), seen.laps().map(|lap| lap.len()));
        let (heard, seen) = (heard.first_byte.value_at_quantile(0.5), seen.first_byte.value_at_quantile(0.5));
        assert!(heard.abs_diff(seen) * 100 <= seen * 7, "{heard} {seen}");
        assert_eq!(read(&write(&Observed::new())).map(|empty| empty.is_empty()), Some(true));
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let good = write(&Observed::new());
        for text in [
            "",
            "2 0 0 0 0 0 0 0 0 - - - - - -",
            &format!("{good} 1"),
            &good.replacen(" 0", " -1", 1),
            &good.replacen('-', "999:1", 1),
            &good.replacen('-', "1:1000001", 1),
            &good.replacen('-', "1", 1),
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
