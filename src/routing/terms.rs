//! How an owner wants requests routed: the `[routing]` table and what a tenant has of its own, as meant.

use super::glob::NamePattern;
use super::lane::LaneKey;
use crate::domain::id::TenantId;
use crate::domain::map::Map;
use crate::limits;
use std::time::Duration;

/// What a choice is to be good at. Weighs latency, cost and success in a reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Goal {
    /// All three.
    #[default]
    Balanced,
    /// Speed.
    Latency,
    /// Price.
    Cost,
    /// The owner's ranking of models.
    Quality,
}

/// Every word for a goal.
pub const GOALS: &[(&str, Goal)] =
    &[("balanced", Goal::Balanced), ("latency", Goal::Latency), ("cost", Goal::Cost), ("quality", Goal::Quality)];

impl Goal {
    /// Reads a goal by its name.
    pub fn parse(text: &str) -> Option<Self> {
        GOALS.iter().find(|(word, _)| *word == text).map(|(_, goal)| *goal)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        GOALS.iter().find(|(_, goal)| *goal == self).map_or("", |(word, _)| word)
    }
}

/// Which failures of a request that was sent may be tried elsewhere (rule Q1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// None: only what was not sent, or was refused.
    Refused,
    /// An error status or a connection that breaks before a byte of an answer, too.
    #[default]
    Errors,
    /// Timeouts, too: the provider may bill work that nobody reads.
    All,
}

/// Every word for it.
pub const REPEATS: &[(&str, Repeat)] =
    &[("refused", Repeat::Refused), ("errors", Repeat::Errors), ("all", Repeat::All)];

/// What becomes of an answer whose client has gone (rule L5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnClientGone {
    /// The provider is stopped at once; what it said until then is counted.
    #[default]
    Stop,
    /// It is read to its end, for the provider's own figure.
    Drain,
}

/// Every word for it.
pub const ON_CLIENT_GONE: &[(&str, OnClientGone)] = &[("stop", OnClientGone::Stop), ("drain", OnClientGone::Drain)];

/// How the owner wants all requests routed.
#[derive(Clone, Debug)]
pub struct RoutingTerms {
    /// When a lane is halted, and for how long.
    pub breaker: BreakerTerms,
    /// How often a halted provider is asked whether it lives, without a request waiting; `None`: a request finds out.
    pub probe_interval: Option<Duration>,
    /// Whether prompts of one beginning keep to one credential while its cache is warm.
    pub no_affinity: bool,
    /// The owner's ranking of models, 0 to 1; the first pattern that matches holds.
    pub quality: Vec<(NamePattern, f64)>,
    /// What `model: "auto"` stands for, the first rule that matches.
    pub rules: Vec<super::semantic::Rule>,
    /// Tenants with terms of their own.
    pub tenants: Map<TenantId, TenantTerms>,
    /// Everybody else's.
    pub usual: TenantTerms,
    /// Decisions kept per core for explanations; 0 keeps none.
    pub decisions_kept: usize,
}

impl Default for RoutingTerms {
    /// What holds while the owner says nothing.
    fn default() -> Self {
        Self {
            breaker: BreakerTerms::default(),
            probe_interval: None,
            no_affinity: false,
            quality: Vec::new(),
            rules: Vec::new(),
            tenants: Map::default(),
            usual: TenantTerms::default(),
            decisions_kept: limits::DECISIONS_KEPT,
        }
    }
}

impl RoutingTerms {
    /// The owner's rank of a lane's model, by its name or by `provider/model`; `None` where it has none.
    pub fn rank(&self, lane: &LaneKey) -> Option<f64> {
        if self.quality.is_empty() {
            return None;
        }
        let long = format!("{}/{}", lane.provider, lane.model);
        let found = self.quality.iter().find(|(pattern, _)| pattern.matches(&lane.model) || pattern.matches(&long));
        found.map(|(_, rank)| *rank)
    }

    /// The terms of one tenant.
    pub fn tenant(&self, tenant: &TenantId) -> &TenantTerms {
        self.tenants.get(tenant).unwrap_or(&self.usual)
    }
}

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerTerms {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open before one probe may pass.
    pub open_for: Duration,
}

impl Default for BreakerTerms {
    fn default() -> Self {
        Self { failures: limits::BREAKER_FAILURES, open_for: limits::BREAKER_OPEN }
    }
}

/// What a tenant may have of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TenantTerms {
    /// Which failures may be tried elsewhere.
    pub repeat: Repeat,
    /// What a choice is to be good at, unless the request says so.
    pub goal: Goal,
    /// Whether requests may be hedged and raced at all (rule Q4).
    pub hedging: bool,
    /// Share of requests that may be hedged, 0 to 1 (rule Q4).
    pub hedged_share_max: f64,
    /// Share of the spend that may go to attempts that lose, 0 to 1; above it hedging is off for a while.
    pub waste_share_max: f64,
    /// Whether a stream that breaks off is continued by another provider.
    pub continue_streams: bool,
    /// What becomes of an answer whose client has gone.
    pub on_client_gone: OnClientGone,
}

impl Default for TenantTerms {
    fn default() -> Self {
        Self {
            repeat: Repeat::default(),
            goal: Goal::default(),
            hedging: true,
            hedged_share_max: limits::HEDGED_SHARE_MAX,
            waste_share_max: limits::WASTE_SHARE_MAX,
            continue_streams: false,
            on_client_gone: OnClientGone::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ProviderId;
    use std::sync::Arc;

    #[test]
    fn a_rank_is_by_model_or_by_provider_and_model_and_the_first_holds() {
        let lane = |provider, model| LaneKey {
            provider: ProviderId::new(provider),
            model: Arc::from(model),
            credential: None,
        };
        let quality = vec![(NamePattern::parse("azure/gpt*"), 0.4), (NamePattern::parse("gpt*"), 0.9)];
        let terms = RoutingTerms { quality, ..RoutingTerms::default() };
        let ranks =
            [lane("azure", "gpt-4o"), lane("openai", "gpt-4o"), lane("openai", "o3")].map(|lane| terms.rank(&lane));
        assert_eq!(ranks, [Some(0.4), Some(0.9), None]);
    }
}
