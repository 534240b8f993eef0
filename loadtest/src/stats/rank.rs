//! Methods that look at ranks only, and so do not mind heavy tails.
//!
//! Hodges and Lehmann's shift is the median of all Walsh averages of paired differences (or of all differences between two
//! samples); its interval inverts Wilcoxon's test (M. Hollander, D. A. Wolfe, "Nonparametric Statistical Methods", 3.2-3.3 and
//! 4.2-4.3). A million pairs have 5e11 averages: they are counted, never written down.

use super::{Estimate, normal};
use statrs::distribution::{ContinuousCDF as _, Normal};

/// Pairs up to which Wilcoxon's distribution is counted out; beyond, it is as good as normal.
const EXACT_PAIRS: usize = 50;
/// Values of either sample up to which Mann and Whitney's distribution is counted out.
const EXACT_SIDE: usize = 25;

/// The shift of paired differences with the interval of Wilcoxon's signed-rank test; `None` where there are too few pairs for
/// that confidence (fewer than 6 at 95 %). It assumes that differences scatter alike on both sides of their middle.
pub fn hodges_lehmann(differences: &[f64], confidence: f64) -> Option<Estimate> {
    let values = super::sorted(differences.iter().copied().filter(|value| value.is_finite()).collect());
    let n = values.len() as u64;
    let averages = n * (n + 1) / 2;
    let low = signed_rank_cut(values.len(), (1.0 - confidence) / 2.0)?;
    let at = |rank: u64| select(&values, rank, count_walsh);
    let value = if averages.is_multiple_of(2) {
        f64::midpoint(at(averages / 2), at(averages / 2 + 1))
    } else {
        at(averages / 2 + 1)
    };
    Some(Estimate { value, low: at(low), high: at(averages + 1 - low) })
}

/// The rank, from 1, of the Walsh average that begins the interval.
fn signed_rank_cut(pairs: usize, tail: f64) -> Option<u64> {
    if pairs > EXACT_PAIRS {
        let n = pairs as f64;
        let middle = n * (n + 1.0) / 4.0;
        let spread = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
        return Some((middle + normal(tail) * spread).floor().max(1.0) as u64);
    }
    // How many of the 2^n signs give each rank sum: each rank is in the sum or not.
    let most = pairs * (pairs + 1) / 2;
    let mut ways = vec![0.0_f64; most + 1];
    ways[0] = 1.0;
    for rank in 1..=pairs {
        for sum in (rank..=most).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    last_within(&ways, tail)
}

/// How many sums from 0 on together stay within the tail, where there is one.
fn last_within(ways: &[f64], tail: f64) -> Option<u64> {
    let all: f64 = ways.iter().sum();
    let mut below = 0.0;
    let inside = ways.iter().take_while(|count| {
        below += **count / all;
        below <= tail
    });
    let count = inside.count() as u64;
    (count > 0).then_some(count)
}

/// Walsh averages of ordered values at or below `bound`, each pair once and each value with itself.
fn count_walsh(values: &[f64], bound: f64) -> u64 {
    let (mut count, mut partner) = (0, values.len());
    for (index, value) in values.iter().enumerate() {
        while partner > 0 && f64::midpoint(*value, values[partner - 1]) > bound {
            partner -= 1;
        }
        if partner <= index {
            break;
        }
        count += (partner - index) as u64;
    }
    count
}

/// The smallest number at or below which at least `rank` of what `count` counts lie, by halving over all floats between the ends.
fn select(values: &[f64], rank: u64, count: impl Fn(&[f64], f64) -> u64) -> f64 {
    let (first, last) = (values[0], values[values.len() - 1]);
    search(first, last, |bound| count(values, bound) >= rank)
}

/// The smallest float of `low..=high` that satisfies a condition which, once true, stays true; `high` must satisfy it.
fn search(low: f64, high: f64, enough: impl Fn(f64) -> bool) -> f64 {
    // Floats in the order of their keys are floats in order of size, so halving the keys ends after 64 steps.
    let (mut low, mut high) = (order_key(low), order_key(high));
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(from_order_key(middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    from_order_key(high)
}

fn order_key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn from_order_key(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// What Mann and Whitney's test says of two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MannWhitney {
    /// Pairs of one value each in which that of `b` is larger; ties count half.
    pub u: f64,
    /// The probability that a value of `b` exceeds one of `a`, ties half: 0.5 where neither is larger.
    pub superiority: f64,
    /// Two-sided p value: exact for small samples without ties, else normal with corrections for ties and continuity.
    pub p: f64,
}

/// Mann and Whitney's test of two samples; `None` where one is empty.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> Option<MannWhitney> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let mut all: Vec<(f64, bool)> = a.iter().map(|value| (*value, false)).collect();
    all.extend(b.iter().map(|value| (*value, true)));
    all.sort_by(|first, second| first.0.total_cmp(&second.0));
    let (mut rank_sum, mut ties, mut start) = (0.0, 0.0, 0);
    for group in all.chunk_by(|first, second| first.0 == second.0) {
        let size = group.len() as f64;
        let rank = start as f64 + f64::midpoint(1.0, size);
        rank_sum += rank * group.iter().filter(|(_, of_b)| *of_b).count() as f64;
        ties += size.powi(3) - size;
        start += group.len();
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let u = rank_sum - m * (m + 1.0) / 2.0;
    let exact = ties == 0.0 && a.len() <= EXACT_SIDE && b.len() <= EXACT_SIDE;
    let p = if exact { exact_p(a.len(), b.len(), u) } else { normal_p(n, m, ties, u) };
    Some(MannWhitney { u, superiority: u / (n * m), p })
}

fn exact_p(n: usize, m: usize, u: f64) -> f64 {
    let ways = rank_sums(n, m);
    let all: f64 = ways.iter().sum();
    let smaller = u.min((n * m) as f64 - u) as usize;
    (2.0 * ways[..=smaller].iter().sum::<f64>() / all).min(1.0)
}

/// How many orders of two samples give each U.
fn rank_sums(n: usize, m: usize) -> Vec<f64> {
    // One value after the other of the first sample; so many of the second lie below it, never fewer than below the one before.
    let mut ways = vec![vec![0.0_f64; n * m + 1]; m + 1];
    for row in &mut ways {
        row[0] = 1.0;
    }
    for _ in 0..n {
        let mut next = vec![vec![0.0; n * m + 1]; m + 1];
        for below in 0..=m {
            for sum in 0..=n * m {
                let lower = if below > 0 { next[below - 1][sum] } else { 0.0 };
                let here = if sum >= below { ways[below][sum - below] } else { 0.0 };
                next[below][sum] = lower + here;
            }
        }
        ways = next;
    }
    ways.swap_remove(m)
}

fn normal_p(n: f64, m: f64, ties: f64, u: f64) -> f64 {
    let all = n + m;
    let spread = (n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)))).sqrt();
    let off = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    if spread > 0.0 { (2.0 * Normal::standard().sf(off / spread)).min(1.0) } else { 1.0 }
}

/// The shift from `a` to `b` with the interval of Mann and Whitney's test; `None` where the samples are too small for that
/// confidence (three against three at 95 %). It assumes two distributions of one shape.
pub fn two_sample_shift(a: &[f64], b: &[f64], confidence: f64) -> Option<Estimate> {
    let (a, b) = (super::sorted(a.to_vec()), super::sorted(b.to_vec()));
    let (first, last) = (b.first()? - a.last()?, b.last()? - a.first()?);
    let (n, m) = (a.len(), b.len());
    let pairs = (n * m) as u64;
    let tail = (1.0 - confidence) / 2.0;
    let low = if n <= EXACT_SIDE && m <= EXACT_SIDE {
        last_within(&rank_sums(n, m), tail)?
    } else {
        let spread = (n as f64 * m as f64 * (n + m + 1) as f64 / 12.0).sqrt();
        (pairs as f64 / 2.0 + normal(tail) * spread).floor().max(1.0) as u64
    };
    let at = |rank: u64| search(first, last, |bound| count_differences(&a, &b, bound) >= rank);
    let value =
        if pairs.is_multiple_of(2) { f64::midpoint(at(pairs / 2), at(pairs / 2 + 1)) } else { at(pairs / 2 + 1) };
    Some(Estimate { value, low: at(low), high: at(pairs + 1 - low) })
}

/// Differences of one value of `b` and one of `a`, both in order, at or below `bound`.
fn count_differences(a: &[f64], b: &[f64], bound: f64) -> u64 {
    let (mut count, mut below) = (0, 0);
    for value in a {
        while below < b.len() && b[below] - value <= bound {
            below += 1;
        }
        count += below as u64;
    }
    count
}
