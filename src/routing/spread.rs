//! Durations in buckets: counts that fade, and the distributions that are made of them.
//!
//! Buckets are log-linear, as those of HDR histograms: each octave has the same number of them, so that the error is a share of the value.
//! An outlier is one count in one bucket: it moves no percentile, and a mean of something bounded by its own weight alone.

use super::score::Quantiles;

/// Sub-buckets of an octave, as a power of two, of the histograms of two digits that cores keep: within 0.4 percent.
pub const HDR: u32 = 7;
/// The same where percentiles are read for scores: within 1.6 percent, for a quarter of the memory and time.
pub const FINE: u32 = 5;
/// The same where a mean is enough: within 6 percent.
pub const COARSE: u32 = 3;
/// Buckets of [`COARSE`] that any 32-bit value falls into.
pub const COARSE_BUCKETS: usize = bucket(u32::MAX, COARSE) + 1;

/// The bucket of a value. Values below two octaves of sub-buckets have one each.
pub const fn bucket(value: u32, bits: u32) -> usize {
    let octave = (31 - (value | 1).leading_zeros()).saturating_sub(bits);
    ((octave << bits) + (value >> octave)) as usize
}

/// The least value of a bucket.
pub const fn least(bucket: usize, bits: u32) -> u64 {
    let bucket = bucket as u64;
    let octave = (bucket >> bits).saturating_sub(1);
    (bucket - (octave << bits)) << octave
}

/// The least value of a bucket, and how many share it.
const fn range(bucket: usize, bits: u32) -> (f64, f64) {
    let octave = (bucket as u64 >> bits).saturating_sub(1);
    (least(bucket, bits) as f64, (1_u64 << octave) as f64)
}

/// Counts by bucket, only as wide as what was seen.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    first: usize,
    counts: Vec<f32>,
    sum: f64,
}

/// Shares by bucket; they sum to one.
#[derive(Clone, Debug)]
pub struct Distribution {
    bits: u32,
    first: usize,
    shares: Vec<f32>,
}

// === impl Spread ===

impl Spread {
    /// Adds to a bucket.
    pub fn add(&mut self, bucket: usize, count: f64) {
        widen(&mut self.first, &mut self.counts, bucket, bucket + 1);
        self.counts[bucket - self.first] += count as f32;
        self.sum += count;
    }

    /// All counts.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Multiplies every count; what has faded away at the ends is left out, so that an outlier takes no room for long.
    pub fn scale(&mut self, factor: f64, negligible: f64) {
        self.counts.iter_mut().for_each(|count| *count *= factor as f32);
        let counts = |count: &f32| f64::from(*count) > negligible;
        let (Some(from), Some(to)) = (self.counts.iter().position(counts), self.counts.iter().rposition(counts)) else {
            return *self = Self::default();
        };
        self.counts.truncate(to + 1);
        self.counts.drain(..from);
        self.counts.shrink_to_fit();
        self.first += from;
        self.sum = self.counts.iter().map(|count| f64::from(*count)).sum();
    }
}

/// Makes room for buckets `from..to` in counts that begin at `first`.
fn widen(first: &mut usize, counts: &mut Vec<f32>, from: usize, to: usize) {
    if counts.is_empty() {
        *first = from;
    }
    if from < *first {
        counts.splice(0..0, std::iter::repeat_n(0.0, *first - from));
        *first = from;
    }
    if counts.len() < to - *first {
        counts.resize(to - *first, 0.0);
    }
}

// === impl Distribution ===

impl Distribution {
    /// Nothing yet; parts are mixed in with weights that sum to one.
    pub fn empty(bits: u32) -> Self {
        Self { bits, first: 0, shares: Vec::new() }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Mixes in what was counted.
    pub fn mix_spread(&mut self, spread: &Spread, weight: f64) {
        if spread.sum > 0.0 && weight > 0.0 {
            self.mix(spread.first, &spread.counts, weight / spread.sum);
        }
    }

    /// Mixes in another distribution of the same buckets.
    pub fn mix_in(&mut self, other: &Self, weight: f64) {
        if !other.shares.is_empty() && weight > 0.0 {
            self.mix(other.first, &other.shares, weight);
        }
    }

    fn mix(&mut self, first: usize, counts: &[f32], factor: f64) {
        widen(&mut self.first, &mut self.shares, first, first + counts.len());
        let from = first - self.first;
        let places = self.shares[from..].iter_mut().zip(counts);
        places.for_each(|(share, count)| *share += *count * factor as f32);
    }

    /// The value at a share between 0 and 1, interpolated within its bucket; `None` where there is nothing.
    pub fn value(&self, share: f64) -> Option<f64> {
        let mut values = self.values([share]);
        values.next().flatten()
    }

    /// The percentiles that are published.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let mut at = [0; Quantiles::POINTS.len()];
        for (place, value) in at.iter_mut().zip(self.values(Quantiles::POINTS)) {
            *place = value?.round().min(f64::from(u32::MAX)) as u32;
        }
        Some(Quantiles { at })
    }

    /// Values at ascending shares, found in one pass.
    fn values<const N: usize>(&self, shares: [f64; N]) -> impl Iterator<Item = Option<f64>> {
        let whole: f64 = self.shares.iter().map(|share| f64::from(*share)).sum();
        let (mut below, mut place) = (0.0, 0);
        shares.into_iter().map(move |share| {
            let target = share.clamp(0.0, 1.0) * whole;
            while place < self.shares.len() {
                let own = f64::from(self.shares[place]);
                if own > 0.0 && below + own >= target {
                    let (low, width) = range(self.first + place, self.bits);
                    // A bucket of one value has no inside.
                    let part = if width > 1.0 { ((target - below) / own).clamp(0.0, 1.0) } else { 0.0 };
                    return Some(low + width * part);
                }
                below += own;
                place += 1;
            }
            // Rounding may leave the last share a hair above the sum.
            let last = self.shares.iter().rposition(|share| *share > 0.0)?;
            let (low, width) = range(self.first + last, self.bits);
            Some(low + width - 1.0)
        })
    }

    /// The mean of what `of` makes of a value, microseconds; `None` where there is nothing.
    pub fn mean(&self, of: impl Fn(f64) -> f64) -> Option<f64> {
        let (mut sum, mut whole) = (0.0, 0.0);
        for (place, share) in self.shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (low, width) = range(self.first + place, self.bits);
            sum += f64::from(*share) * of(low + (width - 1.0) / 2.0);
            whole += f64::from(*share);
        }
        (whole > 0.0).then(|| sum / whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_are_those_of_hdr() {
        for bits in [COARSE, FINE, HDR] {
            let mut last = 0;
            for value in (0..70_000).chain([1 << 24, (1 << 24) + 1, u32::MAX - 1, u32::MAX]) {
                let found = bucket(value, bits);
                let (low, width) = range(found, bits);
                assert!((low..low + width).contains(&f64::from(value)), "{value}: {found}, {low}, {width}");
                assert!(found >= last, "{value}");
                last = found;
            }
        }
        assert_eq!(bucket(u32::MAX, COARSE), COARSE_BUCKETS - 1);
    }

    fn of(values: &[u32]) -> Spread {
        let mut spread = Spread::default();
        values.iter().for_each(|value| spread.add(bucket(*value, FINE), 1.0));
        spread
    }

    fn distribution(spread: &Spread) -> Distribution {
        let mut distribution = Distribution::empty(FINE);
        distribution.mix_spread(spread, 1.0);
        distribution
    }

    #[test]
    fn an_outlier_moves_no_percentile_and_goes_with_time() {
        let mut spread = of(&[100_000; 200]);
        let before = distribution(&spread).quantiles().expect("something");
        spread.add(bucket(60_000_000, FINE), 1.0);
        let after = distribution(&spread).quantiles().expect("something");
        assert!(before.at.iter().zip(after.at).all(|(before, after)| before.abs_diff(after) <= 2_000), "{after:?}");
        let bounded = |value: f64| (100_000.0 / value).min(1.0);
        assert!(distribution(&spread).mean(bounded).expect("something") > 0.99);
        let wide = spread.counts.len();
        spread.scale(0.25, 0.5);
        assert!(
            spread.counts.len() < wide / 50 && (spread.sum() - 50.0).abs() < 0.1,
            "{} of {wide}",
            spread.counts.len()
        );
        spread.scale(0.0, 0.0);
        assert!(spread.sum() == 0.0 && distribution(&spread).quantiles().is_none());
    }

    #[test]
    fn a_mixture_is_between_its_parts() {
        let (fast, slow) = (of(&[10_000; 7]), of(&[90_000; 70]));
        let mut mixed = Distribution::empty(FINE);
        mixed.mix_spread(&fast, 0.8);
        mixed.mix_spread(&slow, 0.2);
        let quantiles = mixed.quantiles().expect("something");
        assert!(quantiles.value(0.5) < 11_000 && quantiles.value(0.95) > 80_000, "{quantiles:?}");
        let mean = mixed.mean(|value| value).expect("something");
        assert!((25_000.0..27_000.0).contains(&mean), "{mean}");
    }

    proptest! {
        #[test]
        fn percentiles_agree_with_sorted_values(mut values in prop::collection::vec(0_u32..200_000_000, 1..300)) {
            let found = distribution(&of(&values));
            values.sort_unstable();
            for share in Quantiles::POINTS {
                // Where a share falls between two values, rounding decides which one it is.
                let place = share * values.len() as f64;
                let at = |place: f64| f64::from(values[(place.ceil() as usize).clamp(1, values.len()) - 1]);
                let (low, high) = (at(place - 0.01), at(place + 0.01));
                let value = found.value(share).expect("something");
                prop_assert!((low * 0.967 - 1.0..=high * 1.033 + 1.0).contains(&value), "{share}: {value} for {low} to {high}");
            }
        }
    }
}
