//! Durations in the two forms in which scrapers read them: classic buckets with upper ends of ours, and native ones, sparse and exponential
//! (<https://prometheus.io/docs/specs/native_histograms/>).
//!
//! Both are made of the fine log-linear buckets in which everything is kept, within 0.4 percent. Native buckets are of schema 3: eight to
//! a doubling, each 9 percent wider than the one before. Where that takes more than [`BUCKETS_MAX`] of them, two become one.

use hdrhistogram::Histogram;

/// Durations by fine bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    /// The least value of each bucket that has any, microseconds, ascending, with how many.
    counts: Vec<(u64, u64)>,
    /// Sum of all, seconds.
    pub sum: f64,
}

/// The same in native buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Native {
    /// Doublings are divided into 2^schema buckets.
    pub schema: i32,
    /// Values at [`ZERO`] and below.
    pub zero: u64,
    /// Buckets that have any: index and count. Bucket `i` ends at 2^(i / 2^schema) seconds.
    pub buckets: Vec<(i32, u64)>,
}

/// The finest schema that is told.
const SCHEMA: i32 = 3;
/// Native buckets of a series, at most.
const BUCKETS_MAX: usize = 160;
/// Values up to this are taken for nothing, seconds: less than a microsecond is not measured.
pub const ZERO: f64 = 5e-7;

impl Spread {
    /// From counts by the least value of their bucket, microseconds.
    #[cfg(test)]
    pub fn of(counts: Vec<(u64, u64)>, sum_us: u64) -> Self {
        Self { counts, sum: sum_us as f64 / 1e6 }
    }

    /// From a histogram of microseconds, whose sum is known within 0.4 percent.
    pub fn of_histogram(histogram: &Histogram<u64>) -> Self {
        Self::in_units(histogram, 1e-6)
    }

    /// The same where its values are not microseconds but whole numbers: `unit` is what one is worth in the sum.
    pub fn in_units(histogram: &Histogram<u64>, unit: f64) -> Self {
        let least = |value: u64| histogram.lowest_equivalent(value);
        let counts = histogram.iter_recorded().map(|step| (least(step.value_iterated_to()), step.count_at_value()));
        Self { counts: counts.collect(), sum: histogram.mean() * histogram.len() as f64 * unit }
    }

    /// Adds another.
    pub fn merge(&mut self, other: (Vec<(u64, u64)>, u64)) {
        for (value, count) in other.0 {
            match self.counts.binary_search_by_key(&value, |(known, _)| *known) {
                Ok(place) => self.counts[place].1 += count,
                Err(place) => self.counts.insert(place, (value, count)),
            }
        }
        self.sum += other.1 as f64 / 1e6;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// How many are at or below each of these ends, seconds, ascending.
    pub fn below<'s>(&'s self, ends: &'s [f64]) -> impl Iterator<Item = (f64, u64)> + 's {
        let (mut place, mut below) = (0, 0);
        ends.iter().map(move |end| {
            while let Some((value, count)) = self.counts.get(place)
                && *value as f64 <= (end * 1e6).round()
            {
                (place, below) = (place + 1, below + count);
            }
            (*end, below)
        })
    }

    /// The same in native buckets; `unit` is what one is worth, 1e-6 for microseconds in seconds.
    pub fn native(&self, unit: f64) -> Native {
        let mut native = Native { schema: SCHEMA, zero: 0, buckets: Vec::new() };
        let per_doubling = f64::from(1 << SCHEMA);
        for (value, count) in &self.counts {
            // The middle of its bucket, which has one 128th of the value as its width.
            let middle = if *value < 128 { *value as f64 } else { *value as f64 * (1.0 + 1.0 / 512.0) };
            match middle * unit {
                small if small <= ZERO => native.zero += count,
                middle => add(&mut native.buckets, (middle.log2() * per_doubling).ceil() as i32, *count),
            }
        }
        while native.buckets.len() > BUCKETS_MAX {
            native.halve();
        }
        native
    }
}

impl Native {
    /// Two buckets become one.
    fn halve(&mut self) {
        let fine = std::mem::take(&mut self.buckets);
        self.schema -= 1;
        for (index, count) in fine {
            // Bucket i ends where bucket ceil(i / 2) of the coarser schema ends, or in it.
            add(&mut self.buckets, (index + 1).div_euclid(2), count);
        }
    }

    /// Runs of buckets that follow each other: the gap before each, and the counts in it.
    pub fn spans(&self) -> Vec<(i32, Vec<u64>)> {
        let mut spans: Vec<(i32, Vec<u64>)> = Vec::new();
        let mut next = 0;
        for (index, count) in &self.buckets {
            match spans.last_mut() {
                Some((_, counts)) if *index == next => counts.push(*count),
                _ => spans.push((index - next, vec![*count])),
            }
            next = index + 1;
        }
        spans
    }
}

fn add(buckets: &mut Vec<(i32, u64)>, index: i32, count: u64) {
    match buckets.last_mut() {
        Some((last, known)) if *last == index => *known += count,
        _ => buckets.push((index, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classic_buckets_count_up_to_their_ends() {
        let spread = Spread::of(vec![(0, 1), (10, 2), (11, 3), (99_000, 4)], 400_000);
        let below: Vec<(f64, u64)> = spread.below(&[0.00001, 0.0001, 0.1]).collect();
        assert_eq!(below, [(0.00001, 3), (0.0001, 6), (0.1, 10)]);
        assert_eq!((spread.count(), spread.sum), (10, 0.4));
    }

    #[test]
    fn native_buckets_hold_their_values_and_lose_none() {
        let mut dice = fastrand::Rng::with_seed(5);
        let mut counts: Vec<(u64, u64)> = (0..400).map(|_| (1 << dice.u64(0..31), dice.u64(1..9))).collect();
        counts.sort_unstable();
        counts.dedup_by_key(|(value, _)| *value);
        counts.insert(0, (0, 7));
        let spread = Spread::of(counts.clone(), 0);
        let native = spread.native(1e-6);
        assert_eq!(native.zero, 7);
        assert_eq!(native.zero + native.buckets.iter().map(|(_, count)| count).sum::<u64>(), spread.count());
        for (value, _) in &counts[1..] {
            let seconds = *value as f64 / 1e6;
            let holds = |(index, _): &(i32, u64)| {
                let end = |index: i32| (f64::from(index) / 8.0).exp2();
                end(index - 1) < seconds * 1.01 && seconds <= end(*index) * 1.000_001
            };
            assert!(native.buckets.iter().any(holds), "{value}");
        }
        let spread = native.spans();
        assert_eq!(spread.iter().map(|(_, counts)| counts.len()).sum::<usize>(), native.buckets.len());
        assert_eq!(spread[0].0, native.buckets[0].0, "the first gap is the first index");
    }

    #[test]
    fn too_many_buckets_become_coarser_ones() {
        let counts: Vec<(u64, u64)> = (0..900).map(|step| ((1.022_f64.powi(step) * 100.0) as u64, 1)).collect();
        let native = Spread::of(counts, 0).native(1e-6);
        assert!(native.buckets.len() <= BUCKETS_MAX && native.schema < SCHEMA, "{native:?}");
        assert_eq!(native.buckets.iter().map(|(_, count)| count).sum::<u64>(), 900);
        let mut fine = Native { schema: 3, zero: 0, buckets: vec![(-3, 1), (-2, 1), (-1, 1), (0, 1), (1, 1), (2, 1)] };
        fine.halve();
        assert_eq!(fine.buckets, [(-1, 2), (0, 2), (1, 2)]);
    }
}
