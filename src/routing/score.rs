//! What the control plane makes of all that was observed: one score per lane, published in a table.
//!
//! Pure values. The data plane only reads them, and no lookup allocates.

use super::lane::LaneKey;
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::map::Map;
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

    fn is_like(&self, other: &Self) -> bool {
        self.at.iter().zip(other.at).all(|(one, other)| near(f64::from(*one), f64::from(other)))
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
    /// How long clients waited for something to read, connecting aside: to the first content of a stream, to the first byte of anything
    /// else. Within 6 percent; it is what rewards are made of.
    pub wait_us: Option<Quantiles>,
    /// Share of prompt tokens that came from the provider's cache, 0 to 1; `None` while nothing is known.
    pub cache_hit_rate: Option<f64>,
    /// Generated tokens of an answer, on average; `None` while nothing is known.
    pub output_tokens: Option<f64>,
    /// What a unit of work cost, picodollars: a prompt token is one, a generated one four. `None` while no price is known.
    pub work_cost: Option<f64>,
    /// The reward's posterior over all tenants, under balanced weights.
    pub posterior: Beta,
    /// The same of tenants that asked often enough to have their own.
    pub by_tenant: Map<TenantId, Beta>,
    /// Whether the figures are mostly those of siblings: the same model under another credential, or other models there.
    pub is_prior: bool,
}

impl Score {
    /// The posterior that holds for a tenant.
    pub fn posterior_of(&self, tenant: &TenantId) -> Beta {
        self.by_tenant.get(tenant).copied().unwrap_or(self.posterior)
    }

    /// Whether nobody could tell this from another score: no figure differs by more than a thirtieth.
    pub fn is_like(&self, other: &Self) -> bool {
        let figures = |score: &Self| {
            let Beta { alpha, beta } = score.posterior;
            [score.samples, score.error_rate, score.limited_rate, alpha, beta]
        };
        let optional = |score: &Self| [score.cache_hit_rate, score.output_tokens, score.work_cost];
        let laps = |score: &Self| {
            let Self { connect_us, first_byte_us, first_token_us, inter_token_us, total_us, wait_us, .. } = score;
            [*connect_us, *first_byte_us, *first_token_us, *inter_token_us, *total_us, *wait_us]
        };
        let both = |pair: (Option<f64>, Option<f64>)| match pair {
            (Some(one), Some(other)) => near(one, other),
            (one, other) => one == other,
        };
        self.is_prior == other.is_prior
            && figures(self).iter().zip(figures(other)).all(|(one, other)| near(*one, other))
            && optional(self).into_iter().zip(optional(other)).all(both)
            && laps(self).iter().zip(laps(other)).all(|pair| match pair {
                (Some(one), Some(other)) => one.is_like(&other),
                (one, other) => one.is_none() && other.is_none(),
            })
            && self.by_tenant.len() == other.by_tenant.len()
            && self.by_tenant.iter().all(|(tenant, own)| {
                let known = other.by_tenant.get(tenant);
                known.is_some_and(|known| near(own.alpha, known.alpha) && near(own.beta, known.beta))
            })
    }
}

/// The scores of all lanes that were asked lately, as published, and what to expect of those that were not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoreTable {
    /// By lane. A lane with few attempts leans on its siblings.
    pub lanes: Map<LaneKey, Arc<Score>>,
    /// What to expect of a lane that was not asked yet.
    pub siblings: Map<ProviderId, Siblings>,
}

/// What is known of the lanes of one provider together. Their `samples` are 0: nothing was seen of the lane that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Siblings {
    /// A model over all credentials.
    pub by_model: Map<Arc<str>, Arc<Score>>,
    /// All models, each counting the same.
    pub any_model: Option<Arc<Score>>,
}

impl ScoreTable {
    /// A lane's score; else that of the same model under other credentials; else that of the provider's other models.
    pub fn score(&self, lane: &LaneKey) -> Option<&Score> {
        self.shared(lane).map(|score| &**score)
    }

    /// The same for one who keeps it.
    pub fn shared(&self, lane: &LaneKey) -> Option<&Arc<Score>> {
        if let Some(own) = self.lanes.get(lane) {
            return Some(own);
        }
        let siblings = self.siblings.get(&lane.provider)?;
        siblings.by_model.get(&lane.model).or(siblings.any_model.as_ref())
    }

    /// Takes over what is published wherever the new score is much like it, so that the exchanges that still hold old tables share most
    /// of them. Answers whether anything is left that need be published.
    pub fn settle(&mut self, published: &Self) -> bool {
        let mut differs = self.lanes.len() != published.lanes.len() || self.siblings.len() != published.siblings.len();
        for (lane, score) in &mut self.lanes {
            differs |= settled(score, published.lanes.get(lane));
        }
        for (provider, own) in &mut self.siblings {
            let known = published.siblings.get(provider);
            differs |= known.is_none_or(|known| known.by_model.len() != own.by_model.len());
            for (model, score) in &mut own.by_model {
                differs |= settled(score, known.and_then(|known| known.by_model.get(model)));
            }
            if let Some(score) = &mut own.any_model {
                differs |= settled(score, known.and_then(|known| known.any_model.as_ref()));
            }
        }
        differs
    }
}

/// Takes over the published score if the new one is much like it; answers whether it is not.
fn settled(score: &mut Arc<Score>, published: Option<&Arc<Score>>) -> bool {
    match published {
        Some(known) if score.is_like(known) => {
            *score = known.clone();
            false
        }
        _ => true,
    }
}

/// Within a thirtieth of each other, or both next to nothing.
fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= (one.abs().max(other.abs()) / 30.0).max(1e-3)
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

    #[test]
    fn a_lane_without_a_score_has_its_siblings() {
        let lane = |provider: &str, model: &str, key: u128| LaneKey {
            provider: ProviderId::new(provider),
            model: Arc::from(model),
            credential: Some(crate::domain::id::CredentialId::from_bits(key)),
        };
        let score = |samples: f64| Arc::new(Score { samples, ..Score::default() });
        let siblings =
            Siblings { by_model: Map::from_iter([(Arc::from("m"), score(2.0))]), any_model: Some(score(3.0)) };
        let table = ScoreTable {
            lanes: Map::from_iter([(lane("p", "m", 1), score(1.0))]),
            siblings: Map::from_iter([(ProviderId::new("p"), siblings)]),
        };
        let samples = |lane| table.score(&lane).map(|score| score.samples);
        assert_eq!(samples(lane("p", "m", 1)), Some(1.0), "its own");
        assert_eq!(samples(lane("p", "m", 2)), Some(2.0), "the same model under another credential");
        assert_eq!(samples(lane("p", "n", 1)), Some(3.0), "another model");
        assert_eq!(samples(lane("q", "m", 1)), None);
    }

    #[test]
    fn what_is_much_like_the_published_is_taken_over() {
        let lane = LaneKey { provider: ProviderId::new("p"), model: Arc::from("m"), credential: None };
        let table = |samples, p50| {
            let total_us = Some(Quantiles { at: [10_000, 10_000, p50, 90_000, 90_000, 90_000, 90_000] });
            let score = Arc::new(Score { samples, total_us, ..Score::default() });
            let siblings =
                Siblings { by_model: Map::from_iter([(lane.model.clone(), score.clone())]), any_model: None };
            ScoreTable {
                lanes: Map::from_iter([(lane.clone(), score)]),
                siblings: Map::from_iter([(lane.provider.clone(), siblings)]),
            }
        };
        let published = table(100.0, 50_000);
        let mut alike = table(98.0, 51_000);
        assert!(!alike.settle(&published));
        assert!(Arc::ptr_eq(&alike.lanes[&lane], &published.lanes[&lane]), "one score in both tables");
        for mut other in [table(96.0, 50_000), table(100.0, 52_000), ScoreTable::default()] {
            assert!(other.settle(&published), "{other:?}");
        }
        assert!(table(100.0, 50_000).settle(&ScoreTable::default()));
    }
}
