//! Samples of this core, between two hand-overs to the control plane.
//!
//! Bounded: a lane beyond [`LANES_MAX`] is counted and not observed, so that no client can make lanes without end; and one that only ever
//! sends requests back as the client's fault makes no entry at all. What the control plane has no room for is kept and goes with the
//! next hand-over. Memory goes around: what was handed over comes back empty, so that the steady state allocates nothing.

use crate::domain::map::Map;
use crate::limits::{LANES_MAX, SCORE_TICK};
use crate::report::{CoreReports, HandOver};
use crate::routing::lane::LaneKey;
use crate::routing::observed::{Observed, Sample, Verdict};
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What was seen since the last hand-over.
#[derive(Default)]
pub struct Observations {
    seen: RefCell<Map<LaneKey, Observed>>,
    spare: RefCell<HandOver>,
    unobserved: Cell<u64>,
    handed_over: Cell<Option<Instant>>,
}

impl Observations {
    /// Records one closed attempt.
    pub fn record(&self, lane: &LaneKey, sample: &Sample) {
        let mut seen = self.seen.borrow_mut();
        if let Some(known) = seen.get_mut(lane) {
            return known.record(sample);
        }
        if sample.verdict == Verdict::Neutral {
            return;
        }
        if seen.len() >= LANES_MAX {
            self.unobserved.set(self.unobserved.get() + 1);
            return;
        }
        let mut fresh = self.spare.borrow_mut().pop().map_or_else(Observed::new, |(_, empty)| empty);
        fresh.record(sample);
        seen.insert(lane.clone(), fresh);
    }

    /// Hands everything over if it is time.
    pub fn hand_over_due(&self, reports: &CoreReports, now: Instant) {
        if self.handed_over.get().is_some_and(|last| now.saturating_duration_since(last) < SCORE_TICK) {
            return;
        }
        self.handed_over.set(Some(now));
        self.hand_over(reports);
    }

    /// Hands everything over; what finds no room stays for the next time.
    pub fn hand_over(&self, reports: &CoreReports) {
        reports.gauges.unobserved.fetch_add(self.unobserved.take(), Ordering::Relaxed);
        let taken = self.take();
        // As many empty ones as were just needed: a burst of lanes does not hold its memory for ever.
        if let Some(mut empty) = reports.pop_spare() {
            empty.truncate(taken.len());
            self.spare.replace(empty);
        }
        if taken.is_empty() {
            return;
        }
        if let Err(refused) = reports.push_observed(taken) {
            self.seen.borrow_mut().extend(refused);
        }
    }

    /// Takes everything.
    pub fn take(&self) -> HandOver {
        self.seen.borrow_mut().drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::{ProviderId, TenantId};
    use crate::domain::token::Usage;
    use crate::limits::OBSERVED_WAITING_MAX;
    use std::sync::Arc;

    fn lane(number: usize) -> LaneKey {
        LaneKey { provider: ProviderId::new("p"), model: Arc::from(number.to_string().as_str()), credential: None }
    }

    fn sample(verdict: Verdict) -> Sample {
        Sample {
            tenant: TenantId::new("acme"),
            verdict,
            connect_us: None,
            first_byte_us: Some(1_000),
            first_token_us: None,
            inter_token_us: None,
            total_us: 2_000,
            usage: Usage::default(),
            cost: None,
        }
    }

    #[test]
    fn lanes_are_bounded_and_counted() {
        let (observations, reports) = (Observations::default(), CoreReports::new(1));
        (0..LANES_MAX - 1).for_each(|number| observations.record(&lane(number), &sample(Verdict::Good)));
        observations.record(&lane(LANES_MAX), &sample(Verdict::Neutral));
        observations.record(&lane(LANES_MAX - 1), &sample(Verdict::Good));
        assert_eq!((observations.seen.borrow().len(), observations.unobserved.get()), (LANES_MAX, 0));
        observations.record(&lane(LANES_MAX), &sample(Verdict::Good));
        observations.record(&lane(0), &sample(Verdict::Good));
        assert_eq!((observations.seen.borrow().len(), observations.unobserved.get()), (LANES_MAX, 1));
        observations.hand_over(&reports);
        assert_eq!(reports.pop_observed().map(|lanes| lanes.len()), Some(LANES_MAX));
        assert_eq!(reports.gauges.unobserved.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_finds_no_room_goes_with_the_next() {
        let (observations, reports) = (Observations::default(), CoreReports::new(1));
        for _ in 0..OBSERVED_WAITING_MAX + 2 {
            observations.record(&lane(1), &sample(Verdict::Good));
            observations.hand_over(&reports);
        }
        let good = |lanes: HandOver| lanes.iter().map(|(_, seen)| seen.good).sum::<u64>();
        for _ in 0..OBSERVED_WAITING_MAX {
            assert_eq!(reports.pop_observed().map(good), Some(1));
        }
        assert!(reports.pop_observed().is_none());
        observations.record(&lane(1), &sample(Verdict::Good));
        observations.hand_over(&reports);
        assert_eq!(reports.pop_observed().map(good), Some(3), "two that found no room, and one more");
    }

    #[test]
    fn hand_overs_keep_their_distance_and_are_never_empty() {
        let (observations, reports, start) = (Observations::default(), CoreReports::new(1), Instant::now());
        observations.hand_over_due(&reports, start);
        assert!(reports.pop_observed().is_none());
        observations.record(&lane(1), &sample(Verdict::Bad));
        observations.hand_over_due(&reports, start + SCORE_TICK - std::time::Duration::from_millis(1));
        assert!(reports.pop_observed().is_none());
        observations.hand_over_due(&reports, start + SCORE_TICK);
        assert!(reports.pop_observed().is_some());
    }

    #[test]
    fn memory_comes_back_empty_and_is_used_again() {
        let (observations, reports) = (Observations::default(), CoreReports::new(1));
        observations.record(&lane(1), &sample(Verdict::Good));
        observations.hand_over(&reports);
        reports.push_spare(reports.pop_observed().expect("handed over"));
        observations.record(&lane(2), &sample(Verdict::Good));
        observations.hand_over(&reports);
        assert_eq!(observations.spare.borrow().len(), 1);
        observations.record(&lane(3), &sample(Verdict::Bad));
        assert!(observations.spare.borrow().is_empty());
        let taken = observations.take();
        assert!(taken.len() == 1 && taken[0].0 == lane(3), "{taken:?}");
        assert_eq!((taken[0].1.good, taken[0].1.bad, taken[0].1.total.len()), (0, 1, 0));
    }
}
