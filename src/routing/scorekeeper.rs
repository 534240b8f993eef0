//! Keeps what was observed of every lane and makes the table of scores of it.
//!
//! Pure and bounded: `now` is an argument; lanes and tenants beyond their bounds are counted and not scored, and whoever has faded away
//! makes room. A lane with few attempts of its own leans on its siblings, the fewer the more: first on the same model under other
//! credentials, else on the provider's other models, each of which counts the same, so that a busy one does not speak for all. What other
//! machines saw of a model is such a sibling: it counts while little was seen here, and no lane is measured against it.

use super::lane::LaneKey;
use super::observed::{Lap, Observed};
use super::reward::{self, Alternatives, BALANCED, Bests, Earnings};
use super::score::{Score, ScoreTable, Siblings};
use super::window::{Counted, Figures, Memory, Record, View};
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::map::Map;
use crate::limits::{LANES_MAX, TENANTS_SCORED_MAX};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Attempts of its own at which a lane leans on its siblings by half.
const LEAN_EVEN: f64 = 10.0;
/// A lane that leans less than this stands alone.
const LEAN_MIN: f64 = 0.02;
/// Attempts that the same model under other credentials stands for.
const SIBLING_SAMPLES: f64 = 10.0;
/// Attempts that other models of a provider stand for.
const COUSIN_SAMPLES: f64 = 4.0;
/// Attempts of its own that a tenant must have for a posterior of its own.
const TENANT_SAMPLES_MIN: f64 = 20.0;
/// Attempts that the whole lane stands for in a tenant's posterior.
const TENANT_PRIOR_SAMPLES: f64 = 10.0;
/// Whoever has faded to less than this many attempts is forgotten.
const FORGOTTEN_BELOW: f64 = 0.1;

/// Everything that is remembered.
#[derive(Debug, Default)]
pub struct Scorekeeper {
    lanes: HashMap<LaneKey, Remembered>,
    tenants: usize,
    unscored: u64,
}

#[derive(Debug)]
struct Remembered {
    memory: Memory<Figures>,
    tenants: HashMap<TenantId, Memory<Record>>,
}

/// Views of lanes that stand in for one another.
type Pools<'v> = HashMap<&'v ProviderId, Pool<'v>>;

struct Pool<'v> {
    models: HashMap<&'v Arc<str>, PooledModel>,
    /// All models, each counting the same.
    whole: Option<View>,
}

struct PooledModel {
    lanes: usize,
    view: View,
}

// === impl Scorekeeper ===

impl Scorekeeper {
    /// Takes in what was seen of a lane up to now.
    pub fn take(&mut self, lane: &LaneKey, seen: &Observed, now: Instant) {
        if seen.attempts() == seen.neutral {
            return;
        }
        if !self.lanes.contains_key(lane) {
            if self.lanes.len() >= LANES_MAX {
                self.unscored = self.unscored.saturating_add(seen.attempts());
                return;
            }
            self.lanes.insert(lane.clone(), Remembered { memory: Memory::new(now), tenants: HashMap::new() });
        }
        let Some(known) = self.lanes.get_mut(lane) else { return };
        known.memory.take(&Counted::new(seen), now);
        for (tenant, earned) in &seen.tenants {
            if !known.tenants.contains_key(tenant) {
                if self.tenants >= TENANTS_SCORED_MAX {
                    continue;
                }
                self.tenants += 1;
                known.tenants.insert(tenant.clone(), Memory::new(now));
            }
            if let Some(own) = known.tenants.get_mut(tenant) {
                own.take(earned, now);
            }
        }
    }

    /// Attempts on lanes for which there was no room, since start.
    pub fn unscored(&self) -> u64 {
        self.unscored
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Forgets who has faded away.
    pub fn forget(&mut self, now: Instant) {
        let mut tenants = 0;
        self.lanes.retain(|_, known| {
            known.tenants.retain(|_, own| own.weight(now) >= FORGOTTEN_BELOW);
            let kept = known.memory.weight(now) >= FORGOTTEN_BELOW;
            tenants += if kept { known.tenants.len() } else { 0 };
            kept
        });
        self.tenants = tenants;
    }

    /// The scores as they are now.
    pub fn table(&self, alternatives: &Alternatives, now: Instant) -> ScoreTable {
        let views: Vec<(&LaneKey, &Remembered, View)> =
            self.lanes.iter().map(|(lane, known)| (lane, known, known.memory.view(now))).collect();
        let own = || views.iter().filter(|(lane, ..)| !lane.is_elsewhere());
        let bests = alternatives.bests(own().map(|(lane, _, view)| (*lane, view)));
        let pools = pools(&views);
        let mut lanes = Map::with_capacity_and_hasher(views.len(), Default::default());
        for (lane, known, view) in own() {
            let leaning = Leaning::of(lane, view, &pools);
            lanes.insert((*lane).clone(), Arc::new(own_score(lane, known, view, &leaning, &bests, now)));
        }
        let siblings = pools.iter().map(|(provider, pool)| ((*provider).clone(), pool.siblings(provider, &bests)));
        ScoreTable { lanes, siblings: siblings.collect() }
    }
}

fn own_score(
    lane: &LaneKey,
    known: &Remembered,
    view: &View,
    leaning: &Leaning<'_>,
    bests: &Bests<'_>,
    now: Instant,
) -> Score {
    let best = bests.of(lane);
    let own = reward::earnings(&view.outlook, view.work_cost, &best, &BALANCED);
    let (figures, hint) = match leaning.on {
        None => (None, Earnings::default()),
        Some((sibling, samples)) => {
            let hint = reward::earnings(&sibling.outlook, sibling.work_cost, &best, &BALANCED);
            let parts = [(1.0 - leaning.share, view), (leaning.share, sibling)];
            (View::blend(parts.iter().copied()), hint.at_most(samples * leaning.share))
        }
    };
    let figures = figures.as_ref().unwrap_or(view);
    let whole = own.plus(hint);
    let tenants = known.tenants.iter().map(|(tenant, memory)| (tenant, memory.outlook_of_tenant(now)));
    let frequent = tenants.filter(|(_, outlook)| outlook.samples >= TENANT_SAMPLES_MIN);
    let by_tenant = frequent.map(|(tenant, outlook)| {
        let own = reward::earnings(&outlook, view.work_cost, &best, &BALANCED);
        (tenant.clone(), own.plus(whole.at_most(TENANT_PRIOR_SAMPLES)).posterior())
    });
    Score {
        samples: view.outlook.samples,
        posterior: whole.posterior(),
        by_tenant: by_tenant.collect(),
        is_prior: leaning.share > 0.5,
        ..figures_of(figures)
    }
}

/// The figures of a view, without a verdict on it.
fn figures_of(view: &View) -> Score {
    Score {
        error_rate: view.outlook.bad,
        limited_rate: view.outlook.limited,
        connect_us: view.quantiles(Lap::Connect),
        first_byte_us: view.quantiles(Lap::FirstByte),
        first_token_us: view.quantiles(Lap::FirstToken),
        inter_token_us: view.quantiles(Lap::InterToken),
        total_us: view.quantiles(Lap::Total),
        wait_us: view.outlook.waits.quantiles(),
        cache_hit_rate: view.cache_hit_rate,
        output_tokens: view.output_tokens,
        work_cost: view.work_cost,
        ..Score::default()
    }
}

// === Siblings ===

/// On whom a lane leans, and how much.
struct Leaning<'v> {
    share: f64,
    /// Whose view, and as how many attempts it counts at most.
    on: Option<(&'v View, f64)>,
}

impl<'v> Leaning<'v> {
    fn of(lane: &LaneKey, view: &View, pools: &'v Pools<'_>) -> Self {
        let share = LEAN_EVEN / (LEAN_EVEN + view.outlook.samples);
        let pool = pools.get(&lane.provider).filter(|_| share >= LEAN_MIN);
        let on = pool.and_then(|pool| {
            let model = pool.models.get(&lane.model);
            // The lane is itself among them, with little weight: that is why it leans.
            let same = model.filter(|model| model.lanes > 1).map(|model| (&model.view, SIBLING_SAMPLES));
            let others = pool.whole.as_ref().filter(|_| pool.models.len() > 1);
            same.or(others.map(|view| (view, COUSIN_SAMPLES)))
        });
        Self { share: if on.is_some() { share } else { 0.0 }, on }
    }
}

fn pools<'v>(views: &'v [(&'v LaneKey, &'v Remembered, View)]) -> Pools<'v> {
    let mut grouped: HashMap<&ProviderId, HashMap<&Arc<str>, Vec<&View>>> = HashMap::new();
    for (lane, _, view) in views {
        grouped.entry(&lane.provider).or_default().entry(&lane.model).or_default().push(view);
    }
    let pooled = grouped.into_iter().map(|(provider, models)| {
        let models: HashMap<_, _> = models
            .into_iter()
            .filter_map(|(model, views)| {
                let view = View::blend(views.iter().map(|view| (view.outlook.samples, *view)))?;
                Some((model, PooledModel { lanes: views.len(), view }))
            })
            .collect();
        // Use and price of one model say nothing of another's.
        let whole = View::blend(models.values().map(|model| (1.0, &model.view)));
        let whole = whole.map(|view| View { cache_hit_rate: None, output_tokens: None, work_cost: None, ..view });
        (provider, Pool { models, whole })
    });
    pooled.collect()
}

impl Pool<'_> {
    fn siblings(&self, provider: &ProviderId, bests: &Bests<'_>) -> Siblings {
        let score = |view: &View, model: &Arc<str>, samples: f64| {
            let lane = LaneKey { provider: provider.clone(), model: model.clone(), credential: None };
            let earnings = reward::earnings(&view.outlook, view.work_cost, &bests.of(&lane), &BALANCED);
            Score { posterior: earnings.at_most(samples).posterior(), is_prior: true, ..figures_of(view) }
        };
        let models = self.models.iter();
        let by_model =
            models.map(|(model, pooled)| ((*model).clone(), Arc::new(score(&pooled.view, model, SIBLING_SAMPLES))));
        let any_model = self.whole.as_ref().map(|view| {
            // Nothing is measured against a model that nobody named.
            Arc::new(score(view, &Arc::from(""), COUSIN_SAMPLES))
        });
        Siblings { by_model: by_model.collect(), any_model }
    }
}

#[cfg(test)]
#[path = "scorekeeper_tests.rs"]
mod tests;
