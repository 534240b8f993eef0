//! Samples of this core, between two hand-overs to the control plane.
//!
//! Bounded: a lane beyond [`LANES_MAX`] is counted and not observed, so that no client can make lanes without end; and one that only ever
//! sends requests back as the client's fault makes no entry at all. What the control plane has no room for is kept and goes with the
//! next hand-over. Memory goes around: what was handed over comes back empty, so that the steady state allocates nothing.

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
    /// In the order in which lanes were first seen; handed over as it is.
    seen: RefCell<HandOver>,
    /// How many lists have been handed over: a [`Place`] of another round is one in a list that has gone.
    round: Cell<u64>,
    spare: RefCell<HandOver>,
    unobserved: Cell<u64>,
    handed_over: Cell<Option<Instant>>,
}

/// Where the samples of one lane are gathered, kept with what else is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The round, counted from one; so that the default is nowhere.
    round: u64,
    at: usize,
}

impl Observations {
    /// Records one closed attempt on the lane whose samples are gathered at `place`.
    pub fn record(&self, lane: &LaneKey, place: &Cell<Place>, sample: &Sample) {
        let Place { round, at } = place.get();
        if round == self.round.get() + 1
            && let Some((_, known)) = self.seen.borrow_mut().get_mut(at)
        {
            return known.record(sample);
        }
        self.record_first(lane, place, sample);
    }

    #[cold]
    #[inline(never)]
    fn record_first(&self, lane: &LaneKey, place: &Cell<Place>, sample: &Sample) {
        let mut seen = self.seen.borrow_mut();
        if sample.verdict == Verdict::Neutral {
            return;
        }
        if seen.len() >= LANES_MAX {
            self.unobserved.set(self.unobserved.get() + 1);
            return;
        }
        let mut fresh = self.spare.borrow_mut().pop().map_or_else(Observed::new, |(_, empty)| empty);
        fresh.record(sample);
        place.set(Place { round: self.round.get() + 1, at: seen.len() });
        seen.push((lane.clone(), fresh));
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
        let taken = self.seen.take();
        // As many empty ones as were just needed: a burst of lanes does not hold its memory for ever.
        if let Some(mut empty) = reports.pop_spare() {
            empty.truncate(taken.len());
            self.spare.replace(empty);
        }
        if taken.is_empty() {
            return;
        }
        match reports.push_observed(taken) {
            Ok(()) => self.round.set(self.round.get() + 1),
            // Every place still holds.
            Err(refused) => drop(self.seen.replace(refused)),
        }
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

    /// Observations, with the places of numbered lanes.
    struct Desk {
        observations: Observations,
        places: Vec<Cell<Place>>,
    }

    impl Default for Desk {
        fn default() -> Self {
            Self { observations: Observations::default(), places: vec![Cell::default(); LANES_MAX + 1] }
        }
    }

    impl Desk {
        fn record(&self, number: usize, verdict: Verdict) {
            self.observations.record(&lane(number), &self.places[number], &sample(verdict));
        }
    }

    #[test]
    fn lanes_are_bounded_and_counted() {
        let (desk, reports) = (Desk::default(), CoreReports::new(1));
        let observations = &desk.observations;
        (0..LANES_MAX - 1).for_each(|number| desk.record(number, Verdict::Good));
        desk.record(LANES_MAX, Verdict::Neutral);
        desk.record(LANES_MAX - 1, Verdict::Good);
        assert_eq!((observations.seen.borrow().len(), observations.unobserved.get()), (LANES_MAX, 0));
        desk.record(LANES_MAX, Verdict::Good);
        desk.record(0, Verdict::Good);
        assert_eq!((observations.seen.borrow().len(), observations.unobserved.get()), (LANES_MAX, 1));
        observations.hand_over(&reports);
        assert_eq!(reports.pop_observed().map(|lanes| lanes.len()), Some(LANES_MAX));
        assert_eq!(reports.gauges.unobserved.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_finds_no_room_goes_with_the_next() {
        let (desk, reports) = (Desk::default(), CoreReports::new(1));
        let observations = &desk.observations;
        for _ in 0..OBSERVED_WAITING_MAX + 2 {
            desk.record(1, Verdict::Good);
            observations.hand_over(&reports);
        }
        let good = |lanes: HandOver| lanes.iter().map(|(_, seen)| seen.good).sum::<u64>();
        for _ in 0..OBSERVED_WAITING_MAX {
            assert_eq!(reports.pop_observed().map(good), Some(1));
        }
        assert!(reports.pop_observed().is_none());
        desk.record(1, Verdict::Good);
        observations.hand_over(&reports);
        assert_eq!(reports.pop_observed().map(good), Some(3), "two that found no room, and one more");
    }

    #[test]
    fn hand_overs_keep_their_distance_and_are_never_empty() {
        let (desk, reports, start) = (Desk::default(), CoreReports::new(1), Instant::now());
        let observations = &desk.observations;
        observations.hand_over_due(&reports, start);
        assert!(reports.pop_observed().is_none());
        desk.record(1, Verdict::Bad);
        observations.hand_over_due(&reports, start + SCORE_TICK - std::time::Duration::from_millis(1));
        assert!(reports.pop_observed().is_none());
        observations.hand_over_due(&reports, start + SCORE_TICK);
        assert!(reports.pop_observed().is_some());
    }

    #[test]
    fn memory_comes_back_empty_and_is_used_again() {
        let (desk, reports) = (Desk::default(), CoreReports::new(1));
        let observations = &desk.observations;
        desk.record(1, Verdict::Good);
        observations.hand_over(&reports);
        reports.push_spare(reports.pop_observed().expect("handed over"));
        desk.record(2, Verdict::Good);
        observations.hand_over(&reports);
        assert_eq!(observations.spare.borrow().len(), 1);
        desk.record(3, Verdict::Bad);
        assert!(observations.spare.borrow().is_empty());
        let taken = observations.seen.take();
        assert!(taken.len() == 1 && taken[0].0 == lane(3), "{taken:?}");
        assert_eq!((taken[0].1.good, taken[0].1.bad, taken[0].1.total.len()), (0, 1, 0));
    }
}
