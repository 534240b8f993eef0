//! How far a core is from being overloaded, judged from four measures (rule O2). Pure: percentages in, a stage out.
//!
//! ```text
//!            80 %             90 %               95 %
//!   Calm ----------> Tight ----------> Shedding ----------> Closed        by the worst of memory, descriptors, lag, in flight
//!        <----------       <----------          <----------
//!         below 75 %        below 85 %           below 90 %               five points of room, so that nothing flaps
//! ```
//!
//! A stage may be entered from any other at once. The number of exchanges in flight never closes the door: shedding bounds it by itself, and
//! a connection that asks for its health costs no place (rule O3).

use crate::domain::pressure::{Pressure, Stage, Strain};
use crate::limits;
use std::time::{Duration, Instant};

/// What is in use of each measure, percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Resident memory against its limit.
    pub memory: u32,
    /// Descriptors against their limit.
    pub descriptors: u32,
    /// Smoothed lateness of the core's tick against [`limits::LOOP_LAG_MAX`].
    pub lag: u32,
    /// Exchanges against the core's places.
    pub in_flight: u32,
}

/// The stage of a core, with the loads that it was judged from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overload {
    loads: Loads,
    pressure: Pressure,
}

/// How late the core's tick fires, smoothed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    smoothed_us: u64,
}

/// A part of a whole in percent; anything of nothing is all of it.
pub fn percent(part: u64, whole: u64) -> u32 {
    match (part.checked_mul(100), whole) {
        (_, 0) => 100,
        (Some(hundredfold), _) => u32::try_from(hundredfold / whole).unwrap_or(u32::MAX),
        (None, _) => u32::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u32::MAX),
    }
}

// === impl Loads ===

impl Loads {
    fn of(&self, strain: Strain) -> u32 {
        match strain {
            Strain::Memory => self.memory,
            Strain::Descriptors => self.descriptors,
            Strain::Lag => self.lag,
            Strain::InFlight => self.in_flight,
        }
    }

    /// The highest stage whose threshold, lowered by `margin` points, a measure has reached.
    fn reached(&self, margin: u32) -> Stage {
        let stages = Strain::ALL.map(|strain| stage_at(self.of(strain).saturating_add(margin)).min(ceiling(strain)));
        stages.into_iter().max().unwrap_or_default()
    }

    /// The measure that is worst.
    fn worst(&self) -> Strain {
        // Of equals the first: `max_by_key` would take the last.
        Strain::ALL.into_iter().rev().max_by_key(|strain| self.of(*strain)).unwrap_or_default()
    }
}

/// The stage that a measure asks for by itself.
fn stage_at(percent: u32) -> Stage {
    match percent {
        limits::CLOSED_PERCENT.. => Stage::Closed,
        limits::SHEDDING_PERCENT.. => Stage::Shedding,
        limits::TIGHT_PERCENT.. => Stage::Tight,
        _ => Stage::Calm,
    }
}

/// How far a measure may bring a core.
fn ceiling(strain: Strain) -> Stage {
    match strain {
        Strain::InFlight => Stage::Shedding,
        _ => Stage::Closed,
    }
}

// === impl Overload ===

impl Overload {
    /// What it is judged from.
    pub fn loads(&self) -> Loads {
        self.loads
    }

    /// Where it stands.
    pub fn pressure(&self) -> Pressure {
        self.pressure
    }

    /// Judges anew; whether the stage changed.
    pub fn judge(&mut self, loads: Loads) -> bool {
        let (entered, kept) = (loads.reached(0), loads.reached(limits::STAGE_RETURN_POINTS));
        let before = self.pressure.stage;
        // Up as far as a threshold says, down no further than five points below one.
        let stage = before.max(entered).min(kept);
        let strain = loads.worst();
        self.loads = loads;
        self.pressure = Pressure { stage, strain, percent: loads.of(strain) };
        stage != before
    }
}

// === impl Lag ===

impl Lag {
    /// Takes in a tick that was due at one instant and came at another.
    pub fn note(&mut self, due: Instant, came: Instant) {
        // However long it was, one hiccup counts for one.
        let late = came.saturating_duration_since(due).min(limits::LOOP_LAG_MAX * 2);
        let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.smoothed_us =
            (self.smoothed_us * (limits::LAG_SMOOTHING - 1)).saturating_add(late) / limits::LAG_SMOOTHING;
    }

    /// How late it is, smoothed.
    pub fn smoothed(&self) -> Duration {
        Duration::from_micros(self.smoothed_us)
    }

    /// Against [`limits::LOOP_LAG_MAX`].
    pub fn percent(&self) -> u32 {
        percent(self.smoothed_us, u64::try_from(limits::LOOP_LAG_MAX.as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(strain: Strain, percent: u32) -> Loads {
        let mut loads = Loads::default();
        match strain {
            Strain::Memory => loads.memory = percent,
            Strain::Descriptors => loads.descriptors = percent,
            Strain::Lag => loads.lag = percent,
            Strain::InFlight => loads.in_flight = percent,
        }
        loads
    }

    fn after(loads: &[u32], strain: Strain) -> Stage {
        let mut overload = Overload::default();
        for percent in loads {
            overload.judge(with(strain, *percent));
        }
        overload.pressure().stage
    }

    #[test]
    fn every_threshold_holds_at_one_below_at_and_one_above() {
        let table = [
            (79, Stage::Calm),
            (80, Stage::Tight),
            (81, Stage::Tight),
            (89, Stage::Tight),
            (90, Stage::Shedding),
            (91, Stage::Shedding),
            (94, Stage::Shedding),
            (95, Stage::Closed),
            (96, Stage::Closed),
            (500, Stage::Closed),
        ];
        for strain in [Strain::Memory, Strain::Descriptors, Strain::Lag] {
            for (percent, stage) in table {
                assert_eq!(after(&[percent], strain), stage, "{strain:?} {percent}");
            }
        }
    }

    #[test]
    fn a_stage_is_left_five_points_below_where_it_was_entered() {
        let table = [
            (vec![80, 76], Stage::Tight),
            (vec![80, 75], Stage::Tight),
            (vec![80, 74], Stage::Calm),
            (vec![90, 86], Stage::Shedding),
            (vec![90, 85], Stage::Shedding),
            (vec![90, 84], Stage::Tight),
            (vec![95, 91], Stage::Closed),
            (vec![95, 90], Stage::Closed),
            (vec![95, 89], Stage::Shedding),
            (vec![95, 84], Stage::Tight),
            (vec![95, 74], Stage::Calm),
            // A way down is no way up: 85 keeps what was entered and enters no more than Tight.
            (vec![95, 84, 85], Stage::Tight),
            (vec![95, 74, 79], Stage::Calm),
        ];
        for (loads, stage) in table {
            assert_eq!(after(&loads, Strain::Memory), stage, "{loads:?}");
        }
    }

    #[test]
    fn what_swings_within_five_points_changes_nothing() {
        let mut overload = Overload::default();
        assert!(overload.judge(with(Strain::Memory, 90)));
        for percent in [86, 90, 87, 94, 85, 91].repeat(50) {
            assert!(!overload.judge(with(Strain::Memory, percent)), "{percent}");
        }
    }

    #[test]
    fn the_worst_of_the_four_decides_and_is_named() {
        let mut overload = Overload::default();
        overload.judge(Loads { memory: 81, descriptors: 92, lag: 3, in_flight: 50 });
        let expected = Pressure { stage: Stage::Shedding, strain: Strain::Descriptors, percent: 92 };
        assert_eq!(overload.pressure(), expected);
    }

    #[test]
    fn exchanges_in_flight_alone_never_close_the_door() {
        for percent in [95, 100, 1_000] {
            assert_eq!(after(&[percent], Strain::InFlight), Stage::Shedding, "{percent}");
        }
        let mut overload = Overload::default();
        overload.judge(with(Strain::Memory, 97));
        overload.judge(Loads { in_flight: 100, ..Loads::default() });
        assert_eq!(overload.pressure().stage, Stage::Shedding, "nor do they keep it closed");
    }

    #[test]
    fn lag_is_smoothed_and_a_single_hiccup_is_forgiven() {
        let (mut lag, due) = (Lag::default(), Instant::now());
        lag.note(due, due + 100 * limits::LOOP_LAG_MAX);
        assert!(lag.percent() < limits::TIGHT_PERCENT, "{}", lag.percent());
        for _ in 0..50 {
            lag.note(due, due + limits::LOOP_LAG_MAX);
        }
        assert!(lag.percent() >= limits::CLOSED_PERCENT, "{}", lag.percent());
        for _ in 0..50 {
            lag.note(due, due);
        }
        assert_eq!(lag.percent(), 0);
        lag.note(due + Duration::from_secs(1), due);
        assert_eq!(lag.smoothed(), Duration::ZERO, "a tick that comes early is not late");
    }

    #[test]
    fn percentages_do_not_overflow() {
        assert_eq!((percent(1, 3), percent(3, 3), percent(0, 5)), (33, 100, 0));
        assert_eq!((percent(7, 0), percent(u64::MAX, 1)), (100, u32::MAX));
    }
}
