//! The highest rate that still meets an objective, as an interval: the highest rate that was confirmed, the lowest that was refuted.
//!
//! Each step is an open-loop run at one rate whose first and last parts do not count. A step confirms or refutes with a stated
//! confidence, or is repeated, or remains unclear; both ends of the interval are tried twice. Where the tester itself was not fit,
//! no step refutes a target: the search ends and says so.

pub mod judge;
mod ladder;
mod result;
mod slo;
mod step;

pub use judge::Verdict;
pub use ladder::{Bounds, Ladder};
pub use result::{Ending, Found};
pub use slo::{Metric, Slo};
pub use step::{Finding, Step};

use crate::engine::Stop;
use crate::workload::Plan;
use std::time::Duration;

/// What is searched, and how.
#[derive(Clone, Debug)]
pub struct Quest {
    /// What is sent; its rhythm and bounds are the search's own.
    pub plan: Plan,
    /// What must hold, all of it.
    pub slos: Vec<Slo>,
    /// Which rates are tried.
    pub bounds: Bounds,
    /// The part of a step that counts, at least.
    pub step: Duration,
    /// Before it.
    pub warm_up: Duration,
    /// After it: requests that keep the load up while the last ones that count are answered.
    pub cool_down: Duration,
    /// Between two steps, for the target to come to rest.
    pub rest: Duration,
    /// Runs of one step at most, until it is clear.
    pub repeats: usize,
    /// How sure a step must be.
    pub confidence: f64,
}

/// By how much a step may be longer than asked, to have requests enough.
const LONGER_MAX: f64 = 10.0;

impl Quest {
    /// The confidence of one objective, so that all of them together have the asked one (Bonferroni).
    pub(crate) fn confidence_each(&self) -> f64 {
        1.0 - (1.0 - self.confidence) / self.slos.len().max(1) as f64
    }

    /// Requests that a step needs to be able to confirm its strictest objective, with some to spare for a few misses.
    fn needed(&self) -> f64 {
        let each = |slo: &Slo| judge::requests_for(slo.allowed(), self.confidence_each());
        self.slos.iter().map(each).max().unwrap_or(1) as f64 * 1.5
    }

    /// The part of a step that counts at this rate: as asked, or longer where so few requests could never confirm.
    pub(crate) fn counted_for(&self, rate: f64) -> Duration {
        self.step.max(Duration::from_secs_f64((self.needed() / rate).min(self.step.as_secs_f64() * LONGER_MAX)))
    }

    /// Refuses what could never find anything.
    ///
    /// # Errors
    /// One sentence that says what to type instead.
    pub fn check(&self) -> anyhow::Result<()> {
        let Bounds { min, max, resolution, steps } = self.bounds;
        anyhow::ensure!(
            !self.slos.is_empty(),
            "there is nothing to meet: name an objective with --slo 'p99(ttft)<500ms'"
        );
        anyhow::ensure!(min.is_finite() && min > 0.0, "--min must be a rate above zero, such as --min 10");
        anyhow::ensure!(max.is_finite() && max >= min, "--max must be at least --min: try --max {}", min * 100.0);
        anyhow::ensure!(resolution >= 0.001 && steps > 0, "--resolution must be at least 0.1%, and --steps at least 1");
        anyhow::ensure!(
            self.step >= Duration::from_millis(100),
            "--step-duration must be at least 100ms; 10s is usual"
        );
        anyhow::ensure!(
            self.confidence > 0.5 && self.confidence < 1.0,
            "--confidence must be above 0.5 and below 1; 0.95 is usual"
        );
        let seconds = self.needed() / min;
        anyhow::ensure!(
            seconds <= self.step.as_secs_f64() * LONGER_MAX,
            "at --min {min} a step would need {seconds:.0} s for {:.0} requests: raise --min or --step-duration, or ask for a lower percentile",
            self.needed()
        );
        Ok(())
    }
}

/// Searches, telling each step as it ends.
///
/// # Errors
/// The quest makes no sense, or the engine could not do its work.
pub fn find(quest: &Quest, stop: &Stop, mut tell: impl FnMut(&Step)) -> anyhow::Result<Found> {
    quest.check()?;
    let mut ladder = Ladder::new(quest.bounds);
    let mut steps = Vec::new();
    let mut ending = Ending::Found;
    while let Some(rate) = ladder.next_rate() {
        if !steps.is_empty() {
            std::thread::sleep(quest.rest);
        }
        let step = step::take(quest, rate, stop)?;
        if stop.is_stopped() {
            ending = Ending::Stopped;
            break;
        }
        tell(&step);
        // Lateness only adds to latencies: a tester that was late and still saw the objective met has confirmed it all the more.
        // But what it refuted or left open may be its own doing.
        let unfit = step.stamp.is_invalid() && step.verdict != Verdict::Confirmed;
        if !unfit {
            ladder.note(rate, step.verdict);
        }
        steps.push(step);
        if unfit {
            ending = Ending::TesterIsTheLimit;
            break;
        }
    }
    Ok(Found::of(quest, &ladder, steps, ending))
}
