//! How small an effect the data at hand could have shown.

use super::{normal, student, variance};

/// How often an effect of the size told would be found.
pub const POWER: f64 = 0.8;

/// The smallest true shift of paired differences that a two-sided test at this confidence finds four times out of five, from the
/// spread of the differences themselves; `None` of fewer than two.
pub fn detectable(differences: &[f64], confidence: f64) -> Option<f64> {
    let n = differences.len() as f64;
    (differences.len() >= 2).then(|| detectable_by_error((variance(differences) / n).sqrt(), n - 1.0, confidence))
}

/// The same from an estimate's standard error and its degrees of freedom; infinite freedom means the normal distribution.
pub fn detectable_by_error(error: f64, freedom: f64, confidence: f64) -> f64 {
    let outer = f64::midpoint(1.0, confidence);
    if freedom.is_finite() {
        (student(freedom, outer) + student(freedom, POWER)) * error
    } else {
        (normal(outer) + normal(POWER)) * error
    }
}
