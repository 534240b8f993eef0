//! The bootstrap: what other samples of the same kind would have said, drawn from the sample itself with a seed.
//!
//! Neighbours in time resemble each other, so blocks of them are drawn, not single values (moving blocks: H. R. Künsch, 1989).
//! Intervals are those of percentiles.

use super::{Estimate, quantile, sorted};
use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// Work of one bootstrap at most: values looked at over all resamples.
const WORK_MAX: usize = 400_000_000;

/// The usual length of a block for so many values in time: their cube root.
pub fn block_length(n: usize) -> usize {
    ((n as f64).cbrt().ceil() as usize).max(1)
}

/// Calls `take` with the position of each value of one resample of `n` values in blocks of `length`, `n` times. A block that
/// meets the end goes on at the beginning, so that every value is drawn equally often.
pub fn blocks(rng: &mut Pcg64, n: usize, length: usize, mut take: impl FnMut(usize)) {
    let mut drawn = 0;
    while drawn < n {
        let start = rng.random_range(0..n);
        let here = length.clamp(1, n).min(n - drawn);
        for step in 0..here {
            take((start + step) % n);
        }
        drawn += here;
    }
}

/// A statistic of a series with the percentile interval of `resamples` moving-block resamples; `None` of nothing.
pub fn moving_blocks(
    series: &[f64],
    length: usize,
    resamples: usize,
    (seed, confidence): (u64, f64),
    statistic: impl Fn(&[f64]) -> f64,
) -> Option<Estimate> {
    if series.is_empty() {
        return None;
    }
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut sample = Vec::with_capacity(series.len());
    let drawn = (0..resamples).map(|_| {
        sample.clear();
        blocks(&mut rng, series.len(), length, |position| sample.push(series[position]));
        statistic(&sample)
    });
    let drawn = sorted(drawn.collect());
    interval(&drawn, statistic(series), confidence)
}

/// By how much quantile `q` of `b` exceeds that of `a`, for each `q` in ascending order, where `a[i]` and `b[i]` were measured
/// together: pairs are drawn, in blocks of [`block_length`]. A quantile with fewer than ten values beyond it is `None`: nobody knows it.
pub fn paired_shift(a: &[f64], b: &[f64], quantiles: &[f64], seed: u64, confidence: f64) -> Vec<Option<Estimate>> {
    let n = a.len().min(b.len());
    let ends: Vec<usize> = (1..=n).collect();
    grouped_shift(
        &Groups { values: &a[..n], ends: &ends },
        &Groups { values: &b[..n], ends: &ends },
        quantiles,
        seed,
        confidence,
    )
}

/// Values that were measured in groups, such as the gaps of each stream: group `i` ends before position `ends[i]`.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a> {
    /// All values, one group after the other.
    pub values: &'a [f64],
    /// Where groups end.
    pub ends: &'a [usize],
}

/// As [`paired_shift`], where pair `i` brought a group of values on either side: whole pairs are drawn, with all their values.
pub fn grouped_shift(
    a: &Groups<'_>,
    b: &Groups<'_>,
    quantiles: &[f64],
    seed: u64,
    confidence: f64,
) -> Vec<Option<Estimate>> {
    let n = a.ends.len().min(b.ends.len());
    let (mut a, mut b) = (Ranked::new(a, n), Ranked::new(b, n));
    if a.sorted.is_empty() || b.sorted.is_empty() {
        return vec![None; quantiles.len()];
    }
    let resamples = (WORK_MAX / (n + a.sorted.len() + b.sorted.len()) / 2).clamp(200, 1000);
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut drawn = vec![Vec::with_capacity(resamples); quantiles.len()];
    for _ in 0..resamples {
        a.counts.fill(0);
        b.counts.fill(0);
        blocks(&mut rng, n, block_length(n), |group| {
            a.draw(group);
            b.draw(group);
        });
        for ((shifts, from), to) in drawn.iter_mut().zip(a.quantiles(quantiles)).zip(b.quantiles(quantiles)) {
            shifts.push(to - from);
        }
    }
    let fewest = a.sorted.len().min(b.sorted.len()) as f64;
    let shift = |q: f64| Some(quantile(&b.sorted, q)? - quantile(&a.sorted, q)?);
    let each = quantiles.iter().zip(drawn);
    each.map(|(q, shifts)| {
        // A hair below ten, for 0.999 is no float.
        let known = fewest * q.min(1.0 - q) >= BEYOND_MIN - 1e-6;
        interval(&sorted(shifts), shift(*q)?, confidence).filter(|_| known)
    })
    .collect()
}

/// The interval of a difference from two equally long lists of resampled statistics, with the difference's standard error.
pub fn shift_of_resamples(a: &[f64], b: &[f64], value: f64, confidence: f64) -> Option<(Estimate, f64)> {
    let shifts: Vec<f64> = a.iter().zip(b).map(|(from, to)| to - from).collect();
    let error = super::variance(&shifts).sqrt();
    Some((interval(&sorted(shifts), value, confidence)?, error))
}

fn interval(drawn: &[f64], value: f64, confidence: f64) -> Option<Estimate> {
    let tail = (1.0 - confidence) / 2.0;
    Some(Estimate { value, low: quantile(drawn, tail)?, high: quantile(drawn, 1.0 - tail)? })
}

/// Values that must lie beyond a quantile for it to be told.
pub const BEYOND_MIN: f64 = 10.0;

/// Values in order, and where each stands in it: a resample is then a count for each place, and its quantiles need no sorting.
struct Ranked {
    sorted: Vec<f64>,
    rank: Vec<u32>,
    ends: Vec<usize>,
    counts: Vec<u32>,
}

impl Ranked {
    /// The first so many groups.
    fn new(groups: &Groups<'_>, count: usize) -> Self {
        let ends = groups.ends[..count].to_vec();
        let values = &groups.values[..ends.last().copied().unwrap_or(0)];
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_by(|first, second| values[*first as usize].total_cmp(&values[*second as usize]));
        let mut rank = vec![0; values.len()];
        for (place, position) in order.iter().enumerate() {
            rank[*position as usize] = place as u32;
        }
        let sorted = order.iter().map(|position| values[*position as usize]).collect();
        Self { sorted, rank, ends, counts: vec![0; values.len()] }
    }

    /// Adds one group to the resample.
    fn draw(&mut self, group: usize) {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        for place in &self.rank[start..self.ends[group]] {
            self.counts[*place as usize] += 1;
        }
    }

    /// Quantiles of the resample; they must be asked for in ascending order.
    fn quantiles(&self, quantiles: &[f64]) -> Vec<f64> {
        let drawn: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        let (mut place, mut reached) = (0, u64::from(self.counts[0]));
        let each = quantiles.iter().map(|q| {
            let rank = ((q * drawn as f64).ceil() as u64).max(1);
            while reached < rank && place + 1 < self.counts.len() {
                place += 1;
                reached += u64::from(self.counts[place]);
            }
            self.sorted[place]
        });
        each.collect()
    }
}
