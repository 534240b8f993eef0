//! Intervals, pairs and differences: pure functions of numbers and a seed, the same on every machine.
//!
//! Nothing here knows what a latency is. Every estimate comes with an interval that says how sure it is, and what the data
//! cannot tell is `None`, never a guess. The tests hold each method to known answers and to its promised coverage.

mod bootstrap;
mod detect;
mod holm;
mod mean;
mod quantile;
mod rank;
mod share;

pub use bootstrap::{
    BEYOND_MIN, Groups, block_length, blocks, grouped_shift, moving_blocks, paired_shift, shift_of_resamples,
};
pub use detect::{detectable, detectable_by_error};
pub use holm::holm;
pub use mean::{mean, mean_interval, variance, welch};
pub use quantile::{quantile, quantile_interval, quantile_ranks, sorted};
pub use rank::{MannWhitney, hodges_lehmann, mann_whitney, two_sample_shift};
pub use share::{clopper_pearson, wilson};

use serde::{Deserialize, Serialize};

/// An estimate and the interval that covers the truth as often as its method was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The best single number.
    pub value: f64,
    /// Where the interval begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

impl Estimate {
    /// Whether the interval contains a number.
    pub fn covers(&self, truth: f64) -> bool {
        self.low <= truth && truth <= self.high
    }

    /// Whether the whole interval lies in a band.
    pub fn within(&self, low: f64, high: f64) -> bool {
        low <= self.low && self.high <= high
    }

    /// Half of the interval's width.
    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// The same in another unit.
    #[must_use]
    pub fn scaled(&self, by: f64) -> Self {
        Self { value: self.value * by, low: self.low * by, high: self.high * by }
    }
}

/// The share of intervals that shall cover the truth, unless a caller says otherwise.
pub const CONFIDENCE: f64 = 0.95;

/// The point that a standard normal value stays below with this probability.
fn normal(probability: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, Normal};
    Normal::standard().inverse_cdf(probability)
}

/// The point that Student's t with so many degrees of freedom stays below with this probability.
fn student(freedom: f64, probability: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, StudentsT};
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |t| t.inverse_cdf(probability))
}

#[cfg(test)]
mod coverage;
