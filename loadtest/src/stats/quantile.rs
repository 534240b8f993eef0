//! Quantiles and what a sample says of them, without any assumption on the shape of its distribution.
//!
//! The interval of a quantile lies between two order statistics whose ranks follow from the binomial distribution
//! (H. A. David, H. N. Nagaraja, "Order Statistics", 3rd edition, section 7.1).

use super::Estimate;
use statrs::distribution::{Binomial, DiscreteCDF as _};

/// The numbers in order.
pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest of the values below or at which the share `q` of them lies; `None` of nothing. `sorted` must be in order.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

/// The ranks, from 1, of the order statistics between which the quantile `q` of `n` values lies with this confidence at least;
/// `None` where the sample is too small to bound it on both sides.
pub fn quantile_ranks(n: u64, q: f64, confidence: f64) -> Option<(u64, u64)> {
    let tail = (1.0 - confidence) / 2.0;
    let binomial = Binomial::new(q, n).ok()?;
    // Both conditions hold up to some rank and not beyond it, or the other way round.
    let low = last_rank(n, |rank| binomial.cdf(rank - 1) <= tail)?;
    let high = last_rank(n, |rank| binomial.cdf(rank - 1) < 1.0 - tail).map_or(1, |rank| rank + 1);
    (high <= n).then_some((low, high))
}

/// The last rank of 1 to `n` for which a condition holds that holds for no rank after the first for which it fails.
fn last_rank(n: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    let (mut good, mut bad) = (0, n + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    (good > 0).then_some(good)
}

/// The quantile `q` with its interval; `None` where the sample is too small for one.
pub fn quantile_interval(sorted: &[f64], q: f64, confidence: f64) -> Option<Estimate> {
    let (low, high) = quantile_ranks(sorted.len() as u64, q, confidence)?;
    Some(Estimate {
        value: quantile(sorted, q)?,
        low: sorted[usize::try_from(low).ok()? - 1],
        high: sorted[usize::try_from(high).ok()? - 1],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let values = sorted(vec![4.0, 1.0, 3.0, 2.0]);
        for (q, expected) in [(0.0, 1.0), (0.25, 1.0), (0.26, 2.0), (0.5, 2.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0)] {
            assert_eq!(quantile(&values, q), Some(expected), "{q}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    /// The classic table of the sign test: for a median at 95 %, ranks 2 and 9 of 10, 6 and 15 of 20, 40 and 61 of 100.
    #[test]
    fn ranks_are_those_of_the_tables() {
        assert_eq!(quantile_ranks(10, 0.5, 0.95), Some((2, 9)));
        assert_eq!(quantile_ranks(20, 0.5, 0.95), Some((6, 15)));
        assert_eq!(quantile_ranks(100, 0.5, 0.95), Some((40, 61)));
        assert_eq!(quantile_ranks(5, 0.5, 0.95), None);
        assert_eq!(quantile_ranks(300, 0.99, 0.95), None);
        assert!(quantile_ranks(1000, 0.99, 0.95).is_some_and(|(low, high)| low < 990 && high > 990));
    }
}
