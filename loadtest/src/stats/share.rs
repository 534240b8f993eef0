//! Shares, such as that of failed requests: how sure `k` of `n` makes us.

use super::{Estimate, normal};
use statrs::function::beta::checked_beta_reg;

/// Wilson's interval: on average as wide as it should be; for tables and for telling two shares apart. `None` of nothing.
pub fn wilson(k: u64, n: u64, confidence: f64) -> Option<Estimate> {
    if n == 0 || k > n {
        return None;
    }
    let (count, share) = (n as f64, k as f64 / n as f64);
    let z = normal(f64::midpoint(1.0, confidence));
    let below = 1.0 + z * z / count;
    let middle = (share + z * z / (2.0 * count)) / below;
    let half = z / below * (share * (1.0 - share) / count + z * z / (4.0 * count * count)).sqrt();
    Some(Estimate { value: share, low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
}

/// Clopper and Pearson's interval: never covers less often than asked; for a bound that somebody relies on. `None` of nothing.
pub fn clopper_pearson(k: u64, n: u64, confidence: f64) -> Option<Estimate> {
    if n == 0 || k > n {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let (hits, misses) = (k as f64, (n - k) as f64);
    let low = if k == 0 { 0.0 } else { beta_quantile(hits, misses + 1.0, tail) };
    let high = if k == n { 1.0 } else { beta_quantile(hits + 1.0, misses, 1.0 - tail) };
    Some(Estimate { value: hits / n as f64, low, high })
}

/// Where the beta distribution reaches a probability, by halving: sixty steps are beyond what a float can tell.
fn beta_quantile(a: f64, b: f64, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if checked_beta_reg(a, b, middle).is_ok_and(|reached| reached < probability) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}
