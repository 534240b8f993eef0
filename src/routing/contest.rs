//! Who wins a race: weighted speed, quality and price, as the mode of the race has it.
//!
//! Pure. Every part is between 0 and 1: how the runner's time compares with the fastest, the owner's ranking of its model, how its price
//! compares with the cheapest. Where nothing is known of a part, runners are alike in it.

use std::time::Duration;

/// What a race is won by, and how much each part weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// Speed.
    pub latency: f64,
    /// The owner's ranking.
    pub quality: f64,
    /// Price.
    pub cost: f64,
}

impl Weights {
    /// The first token wins nearly always.
    pub const LATENCY: Self = Self { latency: 0.7, quality: 0.2, cost: 0.1 };
    /// Speed and quality.
    pub const BALANCED: Self = Self { latency: 0.4, quality: 0.4, cost: 0.2 };
    /// Quality before all.
    pub const QUALITY: Self = Self { latency: 0.2, quality: 0.6, cost: 0.2 };
    /// Price before all.
    pub const COST: Self = Self { latency: 0.2, quality: 0.2, cost: 0.6 };
}

/// One of those who run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Runner {
    /// When its first content was there, from the start; `None` while it is not.
    pub arrived: Option<Duration>,
    /// The owner's ranking of its model, 0 to 1.
    pub quality: f64,
    /// What it is expected to cost, in any unit; `None` where nobody knows.
    pub cost: Option<i128>,
}

/// What a runner is worth if its first content was there at `at`, 0 to 1; more is better.
fn worth(runner: &Runner, at: Duration, runners: &[Runner], weights: &Weights) -> f64 {
    let fastest = runners.iter().filter_map(|other| other.arrived).min().unwrap_or(at).min(at);
    let speed = ratio(fastest.as_secs_f64(), at.as_secs_f64());
    let cheapest = runners.iter().filter_map(|other| other.cost).min();
    let price = match (cheapest, runner.cost) {
        (Some(cheapest), Some(own)) => ratio(cheapest as f64, own as f64),
        _ => 1.0,
    };
    weights.latency * speed + weights.quality * runner.quality + weights.cost * price
}

fn ratio(best: f64, own: f64) -> f64 {
    if own <= best { 1.0 } else { (best / own).max(0.0) }
}

/// The best of those who have arrived; the earlier one where two are alike. `None` while nobody has.
pub fn leader(runners: &[Runner], weights: &Weights) -> Option<usize> {
    let mut best: Option<(usize, f64, Duration)> = None;
    for (place, runner) in runners.iter().enumerate() {
        let Some(at) = runner.arrived else { continue };
        let own = worth(runner, at, runners, weights);
        let better = best.is_none_or(|(_, known, earlier)| own > known || (own == known && at < earlier));
        if better {
            best = Some((place, own, at));
        }
    }
    best.map(|(place, ..)| place)
}

/// Whether one who is still running (`runs`) could win if it arrived right now: while none could, there is nothing to wait for.
pub fn is_open(runners: &[Runner], runs: impl Fn(usize) -> bool, now: Duration, weights: &Weights) -> bool {
    let Some(leader) = leader(runners, weights) else { return true };
    let lead = runners[leader].arrived.map_or(0.0, |at| worth(&runners[leader], at, runners, weights));
    let hopeful = |(place, runner): (usize, &Runner)| {
        runner.arrived.is_none() && runs(place) && worth(runner, now, runners, weights) > lead
    };
    runners.iter().enumerate().any(hopeful)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(arrived: Option<u64>, quality: f64, cost: i128) -> Runner {
        Runner { arrived: arrived.map(Duration::from_millis), quality, cost: Some(cost) }
    }

    #[test]
    fn every_mode_has_its_winner() {
        // Fast and plain, slower and good, in between and cheap.
        let runners = [runner(Some(100), 0.3, 20), runner(Some(200), 0.9, 30), runner(Some(180), 0.3, 2)];
        for (weights, winner) in
            [(Weights::LATENCY, 0), (Weights::BALANCED, 1), (Weights::QUALITY, 1), (Weights::COST, 2)]
        {
            let total = weights.latency + weights.quality + weights.cost;
            assert!((total - 1.0).abs() < 1e-9);
            assert_eq!(leader(&runners, &weights), Some(winner), "{weights:?}");
        }
        assert_eq!(leader(&[runner(None, 1.0, 1)], &Weights::LATENCY), None);
    }

    #[test]
    fn what_nobody_knows_decides_nothing() {
        let unknown = |arrived| Runner { cost: None, ..runner(Some(arrived), 0.5, 0) };
        assert_eq!(leader(&[unknown(20), unknown(10)], &Weights::COST), Some(1));
        assert_eq!(leader(&[unknown(10), unknown(10)], &Weights::COST), Some(0));
    }

    #[test]
    fn only_who_could_still_win_is_waited_for() {
        let runners = [runner(Some(100), 0.5, 10), runner(None, 0.9, 10)];
        let at = Duration::from_millis;
        assert!(is_open(&runners, |_| true, at(110), &Weights::QUALITY));
        assert!(!is_open(&runners, |place| place != 1, at(110), &Weights::QUALITY), "it has failed");
        assert!(!is_open(&runners, |_| true, at(5_000), &Weights::LATENCY), "it is too late");
        assert!(is_open(&[runner(None, 0.5, 10)], |_| true, at(5_000), &Weights::LATENCY), "nobody has arrived");
    }
}
