//! Draws from the distributions that exploring needs. The dice are the caller's, so that a seed repeats a draw.

use crate::routing::score::Beta;
use fastrand::Rng;

/// One draw from a standard normal distribution (Marsaglia's polar method).
pub fn normal(dice: &mut Rng) -> f64 {
    loop {
        let (x, y) = (dice.f64() * 2.0 - 1.0, dice.f64() * 2.0 - 1.0);
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * square.ln() / square).sqrt();
        }
    }
}

/// One draw from a Beta distribution. A parameter that is no positive number counts as the uniform one.
pub fn beta(posterior: Beta, dice: &mut Rng) -> f64 {
    let parameter = |value: f64| if value.is_finite() && value > 0.0 { value } else { 1.0 };
    let good = gamma(parameter(posterior.alpha), dice);
    let bad = gamma(parameter(posterior.beta), dice);
    if good + bad > 0.0 { good / (good + bad) } else { 0.5 }
}

/// The mean of a Beta distribution.
pub fn mean(posterior: Beta) -> f64 {
    let share = posterior.alpha / (posterior.alpha + posterior.beta);
    if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 }
}

/// One draw from a Gamma distribution of scale 1 (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000).
fn gamma(shape: f64, dice: &mut Rng) -> f64 {
    if shape < 1.0 {
        let lift = dice.f64().max(f64::MIN_POSITIVE).powf(1.0 / shape);
        return gamma(shape + 1.0, dice) * lift;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(dice);
        let v = (1.0 + c * x).powi(3);
        let u = dice.f64();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of many draws.
    fn moments(count: u32, mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let draws: Vec<f64> = (0..count).map(|_| draw()).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(count);
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / f64::from(count);
        (mean, variance)
    }

    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        let mut dice = Rng::with_seed(7);
        let (average, variance) = moments(20_000, || normal(&mut dice));
        assert!(average.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{average} {variance}");
        for (alpha, beta_) in [(1.0, 1.0), (0.5, 0.5), (30.0, 2.0), (2.5, 400.0), (5_000.0, 50.0)] {
            let posterior = Beta { alpha, beta: beta_ };
            let (average, variance) = moments(20_000, || beta(posterior, &mut dice));
            let sum = alpha + beta_;
            let expected = alpha * beta_ / (sum * sum * (sum + 1.0));
            assert!(
                (average - mean(posterior)).abs() < 5.0 * (expected / 20_000.0).sqrt(),
                "{alpha} {beta_}: {average}"
            );
            assert!((variance / expected - 1.0).abs() < 0.1, "{alpha} {beta_}: {variance} for {expected}");
        }
    }

    #[test]
    fn senseless_parameters_draw_something() {
        let mut dice = Rng::with_seed(1);
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-9] {
            let posterior = Beta { alpha, beta: 1.0 };
            let drawn = beta(posterior, &mut dice);
            assert!((0.0..=1.0).contains(&drawn), "{alpha}: {drawn}");
            assert!((0.0..=1.0).contains(&mean(posterior)), "{alpha}");
        }
    }
}
