//! Scores: takes in what the cores observed, makes the table of it, and publishes that.
//!
//! Twice a second, and only what differs from what is published by enough to matter. The control plane's lock is taken for moments:
//! to read names and to swap the snapshot; merging and reckoning happen outside of it. Nothing here is stored: after a restart the first
//! minute of traffic teaches more than yesterday's latencies would.

use super::stats::OTHER;
use super::ticks::lock;
use super::{Control, is_listed};
use crate::domain::id::ProviderId;
use crate::limits::fleet::LANES_TOLD_MAX;
use crate::limits::{SCORE_AGE_TICK, STATS_SERIES_MAX};
use crate::report::CoreReports;
use crate::routing::lane::LaneKey;
use crate::routing::observed::{Lap, Observed};
use crate::routing::reward::Alternatives;
use crate::routing::score::ScoreTable;
use crate::routing::scorekeeper::Scorekeeper;
use crate::snapshot::Snapshot;
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What is kept between two tables. Where both locks are needed, the control plane's is taken first.
#[derive(Default)]
pub(super) struct Scores {
    keeper: Scorekeeper,
    alternatives: Alternatives,
    /// The snapshot that the alternatives are from.
    generation: Option<u64>,
    /// When what has faded was last looked at.
    aged: Option<Instant>,
    series: BTreeMap<(String, String), Laps>,
    /// What was seen since it was last passed on to other machines, by provider and model; nothing is kept where there are none.
    untold: Option<HashMap<(ProviderId, Arc<str>), Observed>>,
}

/// Durations since start, of answered attempts, in the order of [`Lap::ALL`]; microseconds.
pub(super) type Laps = [Histogram<u64>; Lap::ALL.len()];

/// How the scores are shared with those who show them.
pub(super) type SharedScores = Arc<Mutex<Scores>>;

/// One step: takes in what waits and publishes if that changed anything. Answers whether it did.
pub fn score_due(control: &Mutex<Control>, now: Instant) -> bool {
    let (scores, reports, published) = {
        let control = lock(control);
        (control.scores.clone(), control.reports.clone(), control.published.clone())
    };
    let observed = take(&reports);
    let snapshot = published.load_full();
    let fresh = shared(&scores).generation != Some(snapshot.generation);
    let (models, alternatives) = {
        let control = lock(control);
        let models: Vec<bool> = observed.keys().map(|lane| control.lists(lane)).collect();
        (models, fresh.then(|| control.alternatives()))
    };
    let table = {
        let mut scores = shared(&scores);
        if let Some(alternatives) = alternatives {
            (scores.alternatives, scores.generation) = (alternatives, Some(snapshot.generation));
        }
        for ((lane, seen), listed) in observed.iter().zip(models) {
            scores.take(lane, seen, listed, now);
        }
        scores.table(!observed.is_empty() || fresh, &snapshot.scores, now)
    };
    let changed = table.is_some();
    if let Some(table) = table {
        lock(control).publish_scores(table);
    }
    changed
}

/// What all cores observed, by lane. The emptied memory goes back to them.
fn take(reports: &[Arc<CoreReports>]) -> HashMap<LaneKey, Observed> {
    let mut merged: HashMap<LaneKey, Observed> = HashMap::new();
    for core in reports {
        while let Some(handed) = core.pop_observed() {
            for (lane, seen) in &handed {
                match merged.get_mut(lane) {
                    Some(known) => known.merge(seen),
                    None => drop(merged.insert(lane.clone(), seen.clone())),
                }
            }
            core.push_spare(handed);
        }
    }
    merged
}

/// A panic elsewhere must not stop the scores; every step leaves them whole.
pub(super) fn shared(scores: &Mutex<Scores>) -> MutexGuard<'_, Scores> {
    scores.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Scores ===

impl Scores {
    fn take(&mut self, lane: &LaneKey, seen: &Observed, listed: bool, now: Instant) {
        self.keeper.take(lane, seen, now);
        // A name that clients made up is nobody else's business (rule R5).
        if let Some(untold) = self.untold.as_mut().filter(|untold| listed && untold.len() < LANES_TOLD_MAX) {
            untold.entry((lane.provider.clone(), lane.model.clone())).or_default().merge(seen);
        }
        if seen.good == 0 {
            return;
        }
        let mut key = (lane.provider.as_str().to_owned(), if listed { &*lane.model } else { OTHER }.to_owned());
        if self.series.len() >= STATS_SERIES_MAX && !self.series.contains_key(&key) {
            key.1 = OTHER.to_owned();
        }
        let empty = || Histogram::new(2).expect("two significant digits are allowed");
        let laps = self.series.entry(key).or_insert_with(|| std::array::from_fn(|_| empty()));
        for (lap, seen) in laps.iter_mut().zip(seen.laps()) {
            for (value, count) in Observed::durations(seen) {
                // It grows as needed; what 32 bits of microseconds hold always fits.
                let _ = lap.record_n(u64::from(value), u64::from(count));
            }
        }
    }

    /// What was seen since the last call, to be passed on; from the first call on it is kept.
    pub(super) fn take_untold(&mut self) -> HashMap<(ProviderId, Arc<str>), Observed> {
        self.untold.replace(HashMap::new()).unwrap_or_default()
    }

    /// Takes in what other machines saw of a model at a provider.
    pub(super) fn hear(&mut self, provider: ProviderId, model: Arc<str>, seen: &Observed, now: Instant) {
        self.keeper.take(&LaneKey::elsewhere(provider, model), seen, now);
    }

    /// A table to publish, if there is anything new to say.
    fn table(&mut self, learnt: bool, published: &ScoreTable, now: Instant) -> Option<ScoreTable> {
        let aged = self.aged.is_none_or(|last| now.saturating_duration_since(last) >= SCORE_AGE_TICK);
        if aged {
            self.keeper.forget(now);
            self.aged = Some(now);
        }
        let known = !self.keeper.is_empty() || !published.lanes.is_empty();
        if !known || !(learnt || aged) {
            return None;
        }
        let mut table = self.keeper.table(&self.alternatives, now);
        table.settle(published).then_some(table)
    }

    /// Durations since start of a provider's model, or of all that are not kept apart.
    pub(super) fn laps(&self, provider: &str, model: &str) -> Option<&Laps> {
        self.series.get(&(provider.to_owned(), model.to_owned()))
    }

    /// Durations since start by provider and model.
    pub(super) fn series(&self) -> impl Iterator<Item = (&str, &str, &Laps)> {
        self.series.iter().map(|((provider, model), laps)| (provider.as_str(), model.as_str(), laps))
    }

    /// Attempts on lanes for which there was no room, since start.
    pub(super) fn unscored(&self) -> u64 {
        self.keeper.unscored()
    }
}

// === impl Control ===

impl Control {
    /// Whether a lane's model is in a list of ours.
    pub(super) fn lists(&self, lane: &LaneKey) -> bool {
        is_listed(&self.configured, &self.catalogue, &lane.provider, &lane.model)
    }

    /// Which models stand in for one another, by the owner's entries. A target that passes the client's name on is an alternative by
    /// that name.
    fn alternatives(&self) -> Alternatives {
        let several = self.config.models.iter().filter(|entry| entry.targets.len() > 1);
        Alternatives::new(several.map(|entry| {
            let named = entry.targets.iter().filter_map(|target| Some((target, target.model.as_deref()?)));
            named.map(|(target, model)| (target.provider.clone(), Arc::from(model))).collect()
        }))
    }

    /// Publishes scores; everything else stays as it is published, and so does the generation.
    fn publish_scores(&mut self, table: ScoreTable) {
        let published: Arc<Snapshot> = self.published.load_full();
        self.published.store(Arc::new(published.with_scores(Arc::new(table))));
    }
}

#[cfg(test)]
#[path = "scores_tests.rs"]
mod tests;
