//! What the control plane makes of all that was observed: one score per lane, published in a table.
//!
//! Pure values. The data plane only reads them.

use super::lane::LaneKey;
use crate::domain::id::TenantId;
use std::collections::HashMap;
use std::sync::Arc;

/// Some percentiles of a duration, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Values at [`Quantiles::POINTS`].
    pub at: [u32; Quantiles::POINTS.len()],
}

impl Quantiles {
    /// The percentiles that are kept, as shares.
    pub const POINTS: [f64; 7] = [0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99];

    /// The value at a share between 0 and 1, interpolated; beyond the last point, the last point's.
    pub fn value(&self, share: f64) -> u32 {
        let after = Self::POINTS.iter().position(|point| share <= *point).unwrap_or(Self::POINTS.len() - 1);
        let Some(before) = after.checked_sub(1) else { return self.at[0] };
        let (low, high) = (Self::POINTS[before], Self::POINTS[after]);
        let part = ((share - low) / (high - low)).clamp(0.0, 1.0);
        let (from, to) = (f64::from(self.at[before]), f64::from(self.at[after]));
        (from + part * (to - from)) as u32
    }

    /// The share of durations that are no longer than `value`, 0 to 1, interpolated.
    pub fn share_within(&self, value: u32) -> f64 {
        let after = self.at.iter().position(|known| value < *known);
        match after {
            Some(0) => Self::POINTS[0] * f64::from(value) / f64::from(self.at[0].max(1)),
            None => 1.0,
            Some(after) => {
                let (from, to) = (f64::from(self.at[after - 1]), f64::from(self.at[after]));
                let part = (f64::from(value) - from) / (to - from).max(1.0);
                Self::POINTS[after - 1] + part * (Self::POINTS[after] - Self::POINTS[after - 1])
            }
        }
    }
}

/// A Beta distribution over the chance of a good answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beta {
    /// Successes, and the prior's.
    pub alpha: f64,
    /// Failures, and the prior's.
    pub beta: f64,
}

impl Default for Beta {
    /// Nothing known: uniform.
    fn default() -> Self {
        Self { alpha: 1.0, beta: 1.0 }
    }
}

/// What is known of one lane. Windows are decayed: recent attempts weigh more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Weight of the attempts behind this, decayed; 0 where all is from siblings.
    pub samples: f64,
    /// Share of attempts that failed, 0 to 1.
    pub error_rate: f64,
    /// Share of attempts that were sent away, 0 to 1.
    pub limited_rate: f64,
    /// Until a connection stood.
    pub connect_us: Option<Quantiles>,
    /// To the first byte.
    pub first_byte_us: Option<Quantiles>,
    /// To the first content of a stream.
    pub first_token_us: Option<Quantiles>,
    /// Between two tokens.
    pub inter_token_us: Option<Quantiles>,
    /// Whole answered attempts.
    pub total_us: Option<Quantiles>,
    /// Share of prompt tokens that came from the provider's cache, 0 to 1; `None` while nothing is known.
    pub cache_hit_rate: Option<f64>,
    /// Generated tokens of an answer, on average; `None` while nothing is known.
    pub output_tokens: Option<f64>,
    /// The reward's posterior over all tenants, under balanced weights.
    pub posterior: Beta,
    /// The same of tenants that asked often enough to have their own.
    pub by_tenant: HashMap<TenantId, Beta>,
    /// Whether the figures are those of siblings: the same model under another credential, or another model there.
    pub is_prior: bool,
}

impl Score {
    /// The posterior that holds for a tenant.
    pub fn posterior_of(&self, tenant: &TenantId) -> Beta {
        self.by_tenant.get(tenant).copied().unwrap_or(self.posterior)
    }
}

/// The scores of all lanes that were ever asked, as published.
#[derive(Clone, Debug, Default)]
pub struct ScoreTable {
    /// By lane.
    pub lanes: HashMap<LaneKey, Arc<Score>>,
}

impl ScoreTable {
    /// A lane's score, or its siblings'.
    pub fn score(&self, lane: &LaneKey) -> Option<&Score> {
        self.lanes.get(lane).map(|score| &**score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_both_ways() {
        let known = Quantiles { at: [10, 25, 50, 75, 90, 95, 99] };
        for value in [10, 30, 50, 60, 80, 92, 97] {
            let share = known.share_within(value);
            assert!(known.value(share).abs_diff(value) <= 1, "{value}: {share}");
        }
        assert_eq!((known.value(0.01), known.value(1.0)), (10, 99));
        assert_eq!((known.share_within(0), known.share_within(1_000)), (0.0, 1.0));
    }
}
