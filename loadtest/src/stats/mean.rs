//! Means with Student's intervals, of one sample and of the difference of two (Welch).

use super::{Estimate, student};

/// The arithmetic mean; not a number of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample's variance, with n - 1 below; not a number of fewer than two values.
pub fn variance(values: &[f64]) -> f64 {
    let middle = mean(values);
    let squares: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
    squares / (values.len() as f64 - 1.0)
}

/// The mean with Student's t interval; `None` of fewer than two values.
pub fn mean_interval(values: &[f64], confidence: f64) -> Option<Estimate> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    let half = student(n - 1.0, f64::midpoint(1.0, confidence)) * (variance(values) / n).sqrt();
    let value = mean(values);
    Some(Estimate { value, low: value - half, high: value + half })
}

/// The mean of `b` less that of `a` with Welch's interval, its standard error and its degrees of freedom (Satterthwaite); `None` where one
/// side has fewer than two values.
pub fn welch(a: &[f64], b: &[f64], confidence: f64) -> Option<(Estimate, f64, f64)> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    let (first, second) = (variance(a) / a.len() as f64, variance(b) / b.len() as f64);
    let error = (first + second).sqrt();
    let below = first.powi(2) / (a.len() as f64 - 1.0) + second.powi(2) / (b.len() as f64 - 1.0);
    // Two samples without any spread: any freedom does, for the error is zero.
    let freedom = if below > 0.0 { (first + second).powi(2) / below } else { (a.len() + b.len()) as f64 - 2.0 };
    let half = student(freedom, f64::midpoint(1.0, confidence)) * error;
    let value = mean(b) - mean(a);
    Some((Estimate { value, low: value - half, high: value + half }, error, freedom))
}
