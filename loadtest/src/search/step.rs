//! One step of a search: an open-loop run at one rate, and what its middle part says of each objective.

use super::Quest;
use super::judge::{Block, Verdict, hopeless_from, share, verdict};
use super::slo::{Metric, Slo};
use crate::engine::{Done, Health, Observer, Stop, drive};
use crate::measure::stamp::Facts;
use crate::measure::{Outcome, Stamp, Weight};
use crate::stats::{Estimate, quantile_ranks};
use crate::workload::{Arrivals, Plan, Span};
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Stretches of a step whose spread says how alike neighbours fare.
const BLOCKS: usize = 20;
/// The longest time that is told apart from longer ones, and from none: one hour, nanoseconds.
const LONGEST: u64 = 3_600_000_000_000;

/// What a step said of one objective.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The objective.
    pub slo: Slo,
    /// The share of requests that missed it, with its interval.
    pub missed: Option<Estimate>,
    /// The quantile it is about with its interval, nanoseconds; infinite where it fell on failed requests.
    pub quantile: Option<Estimate>,
    /// What that says.
    pub verdict: Verdict,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// The planned rate, requests a second.
    pub rate: f64,
    /// Requests that count.
    pub requests: u64,
    /// Answers a second that ended `ok` within the part that counts.
    pub achieved: f64,
    /// How often the run was repeated until it was clear.
    pub runs: usize,
    /// By objective.
    pub findings: Vec<Finding>,
    /// All together.
    pub verdict: Verdict,
    /// What the rig was worth.
    pub stamp: Stamp,
}

/// What all runs of a step counted.
struct Tally {
    /// By objective, then by block.
    blocks: Vec<Vec<Block>>,
    /// By objective: its metric; failed requests count as the longest time.
    times: Vec<Histogram<u64>>,
    ttft: Histogram<u64>,
    ended: u64,
    ok: u64,
}

impl Tally {
    fn new(slos: usize) -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(100, LONGEST, 3);
        let times = (0..slos).map(|_| histogram()).collect::<Result<_, _>>()?;
        Ok(Self { blocks: vec![vec![Block::default(); BLOCKS]; slos], times, ttft: histogram()?, ended: 0, ok: 0 })
    }

    fn join(&mut self, other: &Self, other_run: bool) -> anyhow::Result<()> {
        for (mine, theirs) in self.blocks.iter_mut().zip(&other.blocks) {
            if other_run {
                mine.extend(theirs);
            } else {
                for (mine, theirs) in mine.iter_mut().zip(theirs) {
                    mine.all += theirs.all;
                    mine.missed += theirs.missed;
                }
            }
        }
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            mine.add(theirs)?;
        }
        self.ttft.add(&other.ttft)?;
        self.ended += other.ended;
        self.ok += other.ok;
        Ok(())
    }
}

/// Counts on one thread; ends the run once an objective is missed beyond hope.
struct Counter {
    slos: Vec<Slo>,
    /// The part that counts, nanoseconds from the run's start.
    from: u64,
    until: u64,
    tally: Tally,
    misses: Arc<Vec<AtomicU64>>,
    hopeless: Vec<Option<u64>>,
    stop: Stop,
}

impl Observer for Counter {
    fn gap(&mut self, _counts: bool, _nanos: u64) {}

    fn done(&mut self, done: &Done<'_>) {
        if done.planned < self.from || done.planned >= self.until || done.outcome == Outcome::Abandoned {
            return;
        }
        let block = (done.planned - self.from) as usize * BLOCKS / (self.until - self.from).max(1) as usize;
        let ok = done.outcome == Outcome::Ok;
        self.tally.ended += 1;
        self.tally.ok += u64::from(ok);
        if let Some(nanos) = Metric::Ttft.nanos(done).filter(|_| ok) {
            self.tally.ttft.saturating_record(nanos);
        }
        for (at, slo) in self.slos.iter().enumerate() {
            let missed = slo.is_missed(done);
            let counted = &mut self.tally.blocks[at][block.min(BLOCKS - 1)];
            counted.all += 1;
            counted.missed += u64::from(missed);
            if let Slo::Quantile { metric, .. } = slo {
                let time = if ok { metric.nanos(done) } else { Some(LONGEST) };
                time.into_iter().for_each(|nanos| self.tally.times[at].saturating_record(nanos));
            }
            let misses = self.misses[at].fetch_add(u64::from(missed), Ordering::Relaxed) + u64::from(missed);
            if self.hopeless[at].is_some_and(|from| misses >= from) {
                self.stop.stop();
            }
        }
    }

    fn tick(&mut self, _since_start: Duration, _in_flight: usize) {}
}

/// Tries one rate, again where the first runs leave it open.
///
/// # Errors
/// The plan cannot be carried out.
pub(super) fn take(quest: &Quest, rate: f64, interrupted: &Stop) -> anyhow::Result<Step> {
    let counted = quest.counted_for(rate);
    let mut sum = Tally::new(quest.slos.len())?;
    let (mut runs, mut reasons) = (0, Vec::new());
    loop {
        let (tally, stamp) = once(quest, rate, counted, interrupted)?;
        sum.join(&tally, runs > 0)?;
        reasons.extend(stamp.reasons().to_vec());
        runs += 1;
        let findings: Vec<_> = quest.slos.iter().enumerate().map(|(at, slo)| find(quest, *slo, &sum, at)).collect();
        let verdict = Verdict::of_all(findings.iter().map(|finding| finding.verdict));
        let stamp = Stamp::of(reasons.clone());
        if verdict != Verdict::Unclear || runs >= quest.repeats.max(1) || stamp.is_invalid() || interrupted.is_stopped()
        {
            let achieved = sum.ok as f64 / (counted.as_secs_f64() * runs as f64);
            return Ok(Step { rate, requests: sum.ended, achieved, runs, findings, verdict, stamp });
        }
    }
}

fn find(quest: &Quest, slo: Slo, sum: &Tally, at: usize) -> Finding {
    let confidence = quest.confidence_each();
    let missed = share(&sum.blocks[at], confidence);
    let quantile = match slo {
        Slo::Quantile { quantile, .. } => quantile_of(&sum.times[at], quantile, confidence),
        Slo::Errors { .. } => None,
    };
    Finding { slo, missed, quantile, verdict: verdict(missed, slo.allowed()) }
}

/// A quantile of a histogram with the interval between two ranks; `None` where there are too few values for one.
fn quantile_of(times: &Histogram<u64>, q: f64, confidence: f64) -> Option<Estimate> {
    let (low, high) = quantile_ranks(times.len(), q, confidence)?;
    let at = |share: f64| {
        let nanos = times.value_at_quantile(share);
        if nanos >= LONGEST { f64::INFINITY } else { nanos as f64 }
    };
    let rank = |rank: u64| at((rank as f64 / times.len() as f64).min(1.0));
    Some(Estimate { value: at(q), low: rank(low), high: rank(high) })
}

/// One run.
fn once(quest: &Quest, rate: f64, counted: Duration, interrupted: &Stop) -> anyhow::Result<(Tally, Stamp)> {
    let plan = Plan {
        arrivals: Arrivals::Constant { rate },
        requests: None,
        duration: Some(Span(quest.warm_up + counted + quest.cool_down)),
        warm_up: Span(quest.warm_up),
        ..quest.plan.clone()
    };
    let planned = (rate * counted.as_secs_f64()) as u64;
    let confidence = quest.confidence_each();
    let hopeless: Vec<_> = quest.slos.iter().map(|slo| hopeless_from(planned, slo.allowed(), confidence)).collect();
    let misses: Arc<Vec<_>> = Arc::new(quest.slos.iter().map(|_| AtomicU64::new(0)).collect());
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    // The caller's wish to end is the run's too; the run's own wish is not the caller's.
    let stop = Stop::default();
    let (tallies, driven) = std::thread::scope(|scope| -> anyhow::Result<_> {
        let ended = std::sync::mpsc::channel::<()>();
        let relay = stop.clone();
        scope.spawn(move || {
            while ended.1.recv_timeout(Duration::from_millis(50)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                if interrupted.is_stopped() {
                    relay.stop();
                }
            }
        });
        let mut tallies =
            (0..plan.threads.max(1)).map(|_| Tally::new(quest.slos.len())).collect::<Result<Vec<_>, _>>()?;
        let driven = drive(&plan, &stop, |_| Counter {
            slos: quest.slos.clone(),
            from: nanos(quest.warm_up),
            until: nanos(quest.warm_up + counted),
            tally: tallies.pop().expect("one for each thread"),
            misses: Arc::clone(&misses),
            hopeless: hopeless.clone(),
            stop: stop.clone(),
        });
        drop(ended.0);
        let mut driven = driven?;
        let tallies: Vec<_> = std::mem::take(&mut driven.observers).into_iter().map(|counter| counter.tally).collect();
        Ok((tallies, driven))
    })?;
    let mut sum = Tally::new(quest.slos.len())?;
    for tally in &tallies {
        sum.join(tally, false)?;
    }
    let stamp = Stamp::weigh(&Facts {
        open: true,
        connections: plan.connections,
        planned: planned.max(sum.ended),
        ended: sum.ended,
        abandoned: 0,
        ttft: &sum.ttft,
        health: &driven.health,
        elapsed: driven.elapsed,
        stopped: driven.stopped,
        oddity: None,
    });
    Ok((sum, for_bounds(&stamp, &quest.slos, disturbance(&driven.health))))
}

/// The longest that the tester was late or away, at p99 of its worst thread, nanoseconds.
fn disturbance(health: &[Health]) -> u64 {
    let p99 = |times: &Histogram<u64>| if times.is_empty() { 0 } else { times.value_at_quantile(0.99) };
    health.iter().flat_map(|health| [p99(&health.late), p99(&health.turn)]).max().unwrap_or(0)
}

/// Lateness that a bound hardly notices.
const UNNOTICED_SHARE: f64 = 0.1;

/// The stamp as far as it touches these objectives: lateness that is large beside fast answers may still be nothing beside a bound, and
/// makes no request fail. A step that was ended for being hopeless is none the worse for it.
fn for_bounds(stamp: &Stamp, slos: &[Slo], disturbance: u64) -> Stamp {
    let bounds = slos.iter().filter_map(|slo| match slo {
        // What is timed between two tokens holds no lateness.
        Slo::Quantile { metric: Metric::Tpot, .. } | Slo::Errors { .. } => None,
        Slo::Quantile { max, .. } => Some(max.0.as_nanos() as f64),
    });
    let unnoticed = bounds.fold(f64::INFINITY, f64::min) * UNNOTICED_SHARE >= disturbance as f64;
    let mut reasons: Vec<_> = stamp.reasons().iter().filter(|reason| reason.check != "stopped").cloned().collect();
    for reason in reasons.iter_mut().filter(|reason| unnoticed && matches!(reason.check.as_str(), "late" | "turn")) {
        reason.weight = Weight::Degrades;
    }
    Stamp::of(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Reason;

    #[test]
    fn lateness_matters_where_a_bound_could_notice_it() {
        let reason = |check: &str| Reason {
            check: check.into(),
            weight: Weight::Invalidates,
            figure: 0.5,
            limit: 0.25,
            unit: "share".into(),
            says: "It was.".into(),
            remedy: "Try again.".into(),
        };
        let late = Stamp::of(vec![reason("late")]);
        let judged = |slo: &str, stamp: &Stamp| for_bounds(stamp, &[slo.parse().expect(slo)], 5_000_000).word();
        assert_eq!(judged("p99(ttft)<20ms", &late), "INVALID", "5 ms of 20 ms");
        assert_eq!(judged("p99(ttft)<200ms", &late), "DEGRADED", "5 ms of 200 ms");
        assert_eq!(judged("error_rate<1%", &late), "DEGRADED");
        assert_eq!(judged("error_rate<1%", &Stamp::of(vec![reason("cpu")])), "INVALID");
        assert_eq!(judged("error_rate<1%", &Stamp::of(vec![reason("stopped")])), "VALID");
    }
}
