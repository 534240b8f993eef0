//! Whether a result may be believed: VALID, DEGRADED or INVALID, and each reason with its figure, its limit and what to do.
//!
//! It judges the rig, never the target: a slow or failing server is a result, a tester that could not keep its own schedule is
//! none. All limits stand in [`limits`], each with why it is there. What merely narrows a figure (a p99.9 of 500 requests) is a
//! [`note`](notes) and changes no stamp.

use super::{Measured, Outcome};
use crate::engine::Health;
use crate::workload::{Arrivals, Plan};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// The limits of the judgement, in one place.
pub mod limits {
    /// Share of a latency that the tester's own lateness may be before the figure is degraded: within the run-to-run noise of most targets.
    pub const LATE_SHARE_DEGRADED: f64 = 0.05;
    /// Share from which the figure tells more of the tester than of the target.
    pub const LATE_SHARE_INVALID: f64 = 0.25;
    /// Lateness that shows a starved tester whatever the target's latency: twenty times the kernel's timer slack of 50 us.
    pub const LATE_DEGRADED_NS: f64 = 1e6;
    /// ... unless it is less than this share of the latency, where nobody could see it.
    pub const LATE_SHARE_UNSEEN: f64 = 0.01;
    /// Lateness of a healthy timer: below this a result is degraded at most, since the error is small in absolute terms and stated.
    pub const LATE_HEALTHY_NS: f64 = 100e3;
    /// Share of one core from which a thread's answers begin to wait for it.
    pub const CPU_SHARE_DEGRADED: f64 = 0.80;
    /// Share from which it is the bottleneck.
    pub const CPU_SHARE_INVALID: f64 = 0.95;
    /// A run shorter than this says nothing about shares of CPU time: clocks of threads are counted in ticks on some kernels.
    pub const CPU_RUN_MIN_S: f64 = 0.5;
    /// Share of arrivals that may wait for a connection: one in a thousand still touches p99.9 only.
    pub const QUEUED_SHARE_DEGRADED: f64 = 0.001;
    /// Share of planned requests that may be missing.
    pub const UNSENT_SHARE_DEGRADED: f64 = 0.01;
    /// Share from which another load was measured than the planned one.
    pub const UNSENT_SHARE_INVALID: f64 = 0.10;
    /// Requests that must lie beyond a quantile before it is more than an anecdote.
    pub const SAMPLES_BEYOND: f64 = 10.0;
}

/// Whether a result may be believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "reasons", rename_all = "snake_case")]
pub enum Stamp {
    /// Nothing about the rig was found to disturb the figures.
    Valid,
    /// The figures stand, with an error that the reasons size.
    Degraded(Vec<Reason>),
    /// The figures tell more of the tester than of the target.
    Invalid(Vec<Reason>),
}

/// What a stamp is judged by: the engine's account of itself, beside the latencies that its faults would be contained in.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Whether there were planned instants.
    pub open: bool,
    /// Connections the plan allowed.
    pub connections: usize,
    /// Requests that were planned and count.
    pub planned: u64,
    /// Of those, how many ended.
    pub ended: u64,
    /// Of those, how many were in flight when it was stopped.
    pub abandoned: u64,
    /// Planned instant to first token, nanoseconds.
    pub ttft: &'a Histogram<u64>,
    /// How each thread did.
    pub health: &'a [Health],
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// What no sane clock does, where it did.
    pub oddity: Option<&'static str>,
}

impl<'a> Facts<'a> {
    /// The facts of a measured run.
    pub fn of(plan: &Plan, measured: &'a Measured) -> Self {
        Self {
            open: plan.arrivals != Arrivals::Closed,
            connections: plan.connections,
            planned: measured.planned,
            ended: measured.sums.total(),
            abandoned: measured.sums.ended(Outcome::Abandoned),
            ttft: &measured.timings.ttft,
            health: &measured.health,
            elapsed: measured.elapsed,
            stopped: measured.stopped,
            oddity: oddity(measured),
        }
    }
}

/// How much a reason weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Worth knowing; changes no stamp.
    Note,
    /// Degrades.
    Degrades,
    /// Invalidates.
    Invalidates,
}

/// One thing about the rig that disturbs the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// A short name that does not change: `late`, `turn`, `cpu`, `queued`, `unsent`, `stopped`, `empty`, `clock`, `samples`.
    pub check: String,
    /// How much it weighs.
    pub weight: Weight,
    /// What was found, in `unit`.
    pub figure: f64,
    /// What it should have stayed below (`samples`: above), in `unit`.
    pub limit: f64,
    /// `share`, `us`, `requests` or `s`.
    pub unit: String,
    /// The finding as a sentence.
    pub says: String,
    /// What to do.
    pub remedy: String,
}

impl Stamp {
    /// Judges a run by what the engine says of itself and by what it measured.
    pub fn judge(plan: &Plan, measured: &Measured) -> Self {
        Self::weigh(&Facts::of(plan, measured))
    }

    /// The same from the facts alone.
    pub fn weigh(facts: &Facts<'_>) -> Self {
        let mut reasons = Vec::new();
        if facts.ended == 0 {
            reasons.push(empty());
        }
        if facts.open {
            reasons.extend(lateness(facts));
            reasons.extend(queued(facts));
        }
        reasons.extend(turn(facts));
        reasons.extend(cpu(facts));
        reasons.extend(unsent(facts));
        reasons.extend(facts.oddity.map(odd));
        Self::of(reasons)
    }

    /// The stamp that these reasons make together, the gravest of each check first; notes are dropped.
    pub fn of(mut reasons: Vec<Reason>) -> Self {
        reasons.retain(|reason| reason.weight > Weight::Note);
        reasons.sort_by(|left, right| right.weight.cmp(&left.weight).then(right.figure.total_cmp(&left.figure)));
        let mut seen = BTreeSet::new();
        reasons.retain(|reason| seen.insert(reason.check.clone()));
        match reasons.first().map(|reason| reason.weight) {
            None | Some(Weight::Note) => Self::Valid,
            Some(Weight::Degrades) => Self::Degraded(reasons),
            Some(Weight::Invalidates) => Self::Invalid(reasons),
        }
    }

    /// The same stamp with more reasons, such as those that only the caller can see.
    #[must_use]
    pub fn and(self, more: Vec<Reason>) -> Self {
        let mut reasons = match self {
            Self::Valid => Vec::new(),
            Self::Degraded(reasons) | Self::Invalid(reasons) => reasons,
        };
        reasons.extend(more);
        Self::of(reasons)
    }

    /// Why it is not valid; the gravest first.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Valid => &[],
            Self::Degraded(reasons) | Self::Invalid(reasons) => reasons,
        }
    }

    /// `VALID`, `DEGRADED` or `INVALID`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Degraded(_) => "DEGRADED",
            Self::Invalid(_) => "INVALID",
        }
    }

    /// Whether the figures mean nothing.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }
}

impl fmt::Display for Stamp {
    /// The word alone on its line, then a line for each reason with what to do.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())?;
        for reason in self.reasons() {
            write!(out, "\n  {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} {}", self.check, self.says, self.remedy)
    }
}

/// What narrows a result without disturbing it: quantiles that rest on too few requests.
pub fn notes(samples: u64) -> Vec<Reason> {
    let thin = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")]
        .into_iter()
        .filter(|_| samples > 0)
        .find(|(quantile, _)| (samples as f64) < samples_for(*quantile));
    thin.map(|(quantile, name)| {
        let needed = samples_for(quantile);
        Reason {
            check: "samples".into(),
            weight: Weight::Note,
            figure: samples as f64,
            limit: needed,
            unit: "requests".into(),
            says: format!("{samples} answers are few for {name} and beyond: it wants {needed:.0}."),
            remedy: "Send longer (--duration), or read no quantile beyond it.".into(),
        }
    })
    .into_iter()
    .collect()
}

/// Answers that a quantile between 0 and 1 wants, so that enough of them lie beyond it.
pub fn samples_for(quantile: f64) -> f64 {
    (limits::SAMPLES_BEYOND / (1.0 - quantile).max(1e-9)).round()
}

fn empty() -> Reason {
    Reason {
        check: "empty".into(),
        weight: Weight::Invalidates,
        figure: 0.0,
        limit: 1.0,
        unit: "requests".into(),
        says: "No request that counts has ended.".into(),
        remedy: "Send longer than the warm-up: raise --duration or lower --warm-up.".into(),
    }
}

/// How late the loop came to its arrivals, against the latencies that contain this lateness.
fn lateness(facts: &Facts<'_>) -> Option<Reason> {
    let late = merged(facts.health.iter().map(|health| &health.late))?;
    let (late_p50, late_p99) = (late.value_at_quantile(0.5) as f64, late.value_at_quantile(0.99) as f64);
    let shares = shares_of(facts.ttft, [(0.5, late_p50), (0.99, late_p99)]);
    let share = shares.unwrap_or(0.0);
    let seen = shares.is_none_or(|share| share > limits::LATE_SHARE_UNSEEN);
    let weight = if share > limits::LATE_SHARE_INVALID && late_p99 > limits::LATE_HEALTHY_NS {
        Weight::Invalidates
    } else if share > limits::LATE_SHARE_DEGRADED || (late_p99 > limits::LATE_DEGRADED_NS && seen) {
        Weight::Degrades
    } else {
        return None;
    };
    Some(Reason {
        check: "late".into(),
        weight,
        figure: share,
        limit: if weight == Weight::Invalidates { limits::LATE_SHARE_INVALID } else { limits::LATE_SHARE_DEGRADED },
        unit: "share".into(),
        says: format!(
            "The tester came to its arrivals {} late at p50 and {} at p99: {:.1} % of the times to first token.",
            micros(late_p50),
            micros(late_p99),
            share * 100.0
        ),
        remedy: "Give it a core of its own, raise --threads up to the free cores, or lower --rate; `igris-load doctor` says what disturbs it."
            .into(),
    })
}

/// The larger of two ratios: each lateness over the latency at the same quantile. `None` without a latency.
fn shares_of(latency: &Histogram<u64>, late: [(f64, f64); 2]) -> Option<f64> {
    if latency.is_empty() {
        return None;
    }
    let share = |(quantile, late): (f64, f64)| late / (latency.value_at_quantile(quantile) as f64).max(1.0);
    Some(late.into_iter().map(share).fold(0.0, f64::max))
}

/// How long sockets waited for the loop: every received instant may be late by so much.
fn turn(facts: &Facts<'_>) -> Option<Reason> {
    let turn = merged(facts.health.iter().map(|health| &health.turn))?;
    let p99 = turn.value_at_quantile(0.99) as f64;
    let share = shares_of(facts.ttft, [(0.99, p99), (0.5, turn.value_at_quantile(0.5) as f64)])?;
    let weight = if share > limits::LATE_SHARE_INVALID && p99 > limits::LATE_DEGRADED_NS {
        Weight::Invalidates
    } else if share > limits::LATE_SHARE_DEGRADED && p99 > limits::LATE_HEALTHY_NS {
        Weight::Degrades
    } else {
        return None;
    };
    Some(Reason {
        check: "turn".into(),
        weight,
        figure: share,
        limit: if weight == Weight::Invalidates { limits::LATE_SHARE_INVALID } else { limits::LATE_SHARE_DEGRADED },
        unit: "share".into(),
        says: format!(
            "Sockets waited up to {} (p99) for the tester's loop: {:.1} % of the times to first token.",
            micros(p99),
            share * 100.0
        ),
        remedy: "Raise --threads up to the free cores, or lower --rate.".into(),
    })
}

/// The busiest thread's share of a core. In a closed loop a busy tester limits the rate, not the latencies: it degrades at most.
fn cpu(facts: &Facts<'_>) -> Option<Reason> {
    let (seconds, open) = (facts.elapsed.as_secs_f64(), facts.open);
    if seconds < limits::CPU_RUN_MIN_S {
        return None;
    }
    let share = facts.health.iter().map(|health| health.cpu.as_secs_f64() / seconds).fold(0.0, f64::max);
    let weight = match share {
        _ if share > limits::CPU_SHARE_INVALID && open => Weight::Invalidates,
        _ if share > limits::CPU_SHARE_DEGRADED => Weight::Degrades,
        _ => return None,
    };
    let says = if open {
        format!("The busiest thread of the tester used {:.0} % of a core: answers waited for it.", share * 100.0)
    } else {
        format!(
            "The busiest thread of the tester used {:.0} % of a core: the rate is the tester's own limit.",
            share * 100.0
        )
    };
    Some(Reason {
        check: "cpu".into(),
        weight,
        figure: share,
        limit: if weight == Weight::Invalidates { limits::CPU_SHARE_INVALID } else { limits::CPU_SHARE_DEGRADED },
        unit: "share".into(),
        says,
        remedy: "Raise --threads up to the free cores, lower --rate, or run the target on another machine.".into(),
    })
}

/// Arrivals that found no free connection: their wait is counted, but it is the tester's queue and not the target's.
fn queued(facts: &Facts<'_>) -> Option<Reason> {
    let queued: u64 = facts.health.iter().map(|health| health.queued).sum();
    let share = queued as f64 / facts.planned.max(queued).max(1) as f64;
    (share > limits::QUEUED_SHARE_DEGRADED).then(|| Reason {
        check: "queued".into(),
        weight: Weight::Degrades,
        figure: share,
        limit: limits::QUEUED_SHARE_DEGRADED,
        unit: "share".into(),
        says: format!(
            "{queued} arrivals ({:.1} %) found all {} connections taken and waited inside the tester; the wait is counted.",
            share * 100.0,
            facts.connections
        ),
        remedy: "Raise --connections, unless a client with so few is what you measure.".into(),
    })
}

/// Requests that were planned and never sent, and a run that did not reach its end.
fn unsent(facts: &Facts<'_>) -> Vec<Reason> {
    let unsent: u64 = facts.health.iter().map(|health| health.unsent).sum();
    let abandoned = facts.abandoned;
    let share = unsent as f64 / facts.planned.max(unsent).max(1) as f64;
    let mut reasons = Vec::new();
    if share > limits::UNSENT_SHARE_DEGRADED && !facts.stopped {
        let invalid = share > limits::UNSENT_SHARE_INVALID;
        reasons.push(Reason {
            check: "unsent".into(),
            weight: if invalid { Weight::Invalidates } else { Weight::Degrades },
            figure: share,
            limit: if invalid { limits::UNSENT_SHARE_INVALID } else { limits::UNSENT_SHARE_DEGRADED },
            unit: "share".into(),
            says: format!(
                "{unsent} planned requests were never sent ({:.1} %): the load was not the planned one.",
                share * 100.0
            ),
            remedy: "Raise --connections and --threads, or lower --rate.".into(),
        });
    }
    if facts.stopped {
        reasons.push(Reason {
            check: "stopped".into(),
            weight: Weight::Degrades,
            figure: facts.elapsed.as_secs_f64(),
            limit: 0.0,
            unit: "s".into(),
            says: format!(
                "It was stopped after {:.1} s with {abandoned} requests in flight and {unsent} not sent: the slowest answers are missing.",
                facts.elapsed.as_secs_f64()
            ),
            remedy: "Let it run to its end before you quote it.".into(),
        });
    }
    reasons
}

/// What no sane clock does: the part that counts longer than the whole, an answer faster from its plan than from its send, seconds
/// out of order.
fn oddity(measured: &Measured) -> Option<&'static str> {
    let timings = &measured.timings;
    // Histograms keep three digits: a thousandth more is no oddity.
    let faster = timings.service_ttft.max() as f64 > timings.ttft.max() as f64 * 1.002 + 1000.0;
    let longer = measured.measured > measured.elapsed + Duration::from_millis(1);
    let disordered = measured.seconds.windows(2).any(|pair| pair[1].second <= pair[0].second);
    match (faster, longer, disordered) {
        (true, ..) => Some("An answer took longer from its send than from its planned instant."),
        (_, true, _) => Some("The part that counts is longer than the whole run."),
        (.., true) => Some("The seconds of the run are out of order."),
        _ => None,
    }
}

fn odd(says: &'static str) -> Reason {
    Reason {
        check: "clock".into(),
        weight: Weight::Invalidates,
        figure: 1.0,
        limit: 0.0,
        unit: "share".into(),
        says: says.into(),
        remedy: "Run `igris-load doctor` and look at the clock source; then run it again.".into(),
    }
}

/// All threads' histograms as one; `None` when there is nothing in them.
fn merged<'a>(mut parts: impl Iterator<Item = &'a Histogram<u64>>) -> Option<Histogram<u64>> {
    let mut sum = parts.next()?.clone();
    for part in parts {
        // Histograms of one engine have one range; a value outside it is its largest, which is as bad as a lateness gets.
        if sum.add(part).is_err() {
            for value in part.iter_recorded() {
                sum.saturating_record_n(value.value_iterated_to(), value.count_since_last_iteration());
            }
        }
    }
    (!sum.is_empty()).then_some(sum)
}

fn micros(nanos: f64) -> String {
    match nanos {
        _ if nanos < 1e6 => format!("{:.0} us", nanos / 1e3),
        _ if nanos < 1e9 => format!("{:.1} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("a valid range");
        for &value in values {
            histogram.saturating_record(value);
        }
        histogram
    }

    /// A run of 1000 answers in 10 s.
    struct Run {
        ttft: Histogram<u64>,
        health: Vec<Health>,
        elapsed: Duration,
        stopped: bool,
        open: bool,
        oddity: Option<&'static str>,
    }

    fn health(late_us: u64, turn_us: u64) -> Health {
        Health {
            late: histogram(&[late_us * 1000; 100]),
            turn: histogram(&[turn_us * 1000; 100]),
            cpu: Duration::from_millis(100),
            queued: 0,
            unsent: 0,
        }
    }

    /// Answers of 1 ms by a tester that is late by so much.
    fn run(late_us: u64, turn_us: u64) -> Run {
        Run {
            ttft: histogram(&[1_000_000; 1000]),
            health: vec![health(late_us, turn_us)],
            elapsed: Duration::from_secs(10),
            stopped: false,
            open: true,
            oddity: None,
        }
    }

    impl Run {
        fn stamp(&self) -> Stamp {
            Stamp::weigh(&Facts {
                open: self.open,
                connections: 8,
                planned: 1000,
                ended: self.ttft.len(),
                abandoned: 0,
                ttft: &self.ttft,
                health: &self.health,
                elapsed: self.elapsed,
                stopped: self.stopped,
                oddity: self.oddity,
            })
        }

        fn judged(&self) -> (&'static str, Vec<String>) {
            let stamp = self.stamp();
            for reason in stamp.reasons() {
                assert!(reason.says.ends_with('.') && !reason.remedy.is_empty(), "{reason:?}");
            }
            (stamp.word(), stamp.reasons().iter().map(|reason| reason.check.clone()).collect())
        }
    }

    #[test]
    fn a_quiet_rig_is_valid() {
        assert_eq!(run(20, 10).stamp(), Stamp::Valid);
        assert_eq!(Stamp::Valid.to_string(), "VALID");
    }

    #[test]
    fn lateness_is_judged_against_what_it_is_contained_in() {
        for (late, word) in [(40, "VALID"), (60, "DEGRADED"), (240, "DEGRADED"), (300, "INVALID")] {
            assert_eq!(run(late, 10).judged().0, word, "{late} us of 1 ms");
        }
        // Two milliseconds late: seen in answers of 100 ms, unseen in answers of a second.
        for (answer, word) in [(100, "DEGRADED"), (1000, "VALID")] {
            let run = Run { ttft: histogram(&[answer * 1_000_000; 1000]), ..run(2000, 10) };
            assert_eq!(run.judged().0, word, "2 ms of {answer} ms");
        }
        // A healthy timer never invalidates, however fast the target.
        let fast = Run { ttft: histogram(&[60_000; 1000]), ..run(80, 10) };
        assert_eq!(fast.judged(), ("DEGRADED", vec!["late".into()]));
        // Without planned instants nothing can be late.
        assert_eq!(Run { open: false, ..run(5000, 10) }.stamp(), Stamp::Valid);
    }

    #[test]
    fn the_worst_thread_counts() {
        let mut run = run(20, 10);
        run.health.push(health(20, 10));
        for (millis, word) in [(7900, "VALID"), (8500, "DEGRADED"), (9900, "INVALID")] {
            run.health[1].cpu = Duration::from_millis(millis);
            assert_eq!(run.judged().0, word, "{millis} ms of 10 s");
        }
        run.open = false;
        assert_eq!(run.judged(), ("DEGRADED", vec!["cpu".into()]), "a closed loop may be busy");
        run.elapsed = Duration::from_millis(100);
        assert_eq!(run.judged().0, "VALID", "too short to say");
    }

    #[test]
    fn a_slow_loop_a_queue_and_missing_requests_are_told_apart() {
        let mut run = run(20, 3000);
        assert_eq!(run.judged(), ("INVALID", vec!["turn".into()]));
        run.health = vec![health(20, 10)];
        run.health[0].queued = 2;
        assert_eq!(run.judged(), ("DEGRADED", vec!["queued".into()]));
        run.health[0].queued = 1;
        run.health[0].unsent = 200;
        assert_eq!(run.judged(), ("INVALID", vec!["unsent".into()]));
        run.stopped = true;
        assert_eq!(run.judged(), ("DEGRADED", vec!["stopped".into()]), "it was asked to");
    }

    #[test]
    fn an_empty_run_and_an_odd_clock_are_invalid() {
        let odd = Run { oddity: Some("The seconds of the run are out of order."), ..run(20, 10) };
        assert_eq!(odd.judged(), ("INVALID", vec!["clock".into()]));
        assert_eq!(Run { ttft: histogram(&[]), ..run(20, 10) }.judged(), ("INVALID", vec!["empty".into()]));
    }

    #[test]
    fn few_samples_are_a_note_and_no_stamp() {
        let found = notes(1000);
        assert_eq!((found.len(), found[0].figure, found[0].limit), (1, 1000.0, 10_000.0));
        assert!(found[0].says.contains("p99.9"), "{}", found[0]);
        assert_eq!(Stamp::of(found), Stamp::Valid);
        assert!(notes(10_000).is_empty() && notes(0).is_empty());
    }

    #[test]
    fn reasons_of_others_join() {
        let stamp = run(60, 10).stamp().and(run(20, 3000).stamp().reasons().to_vec());
        let checks: Vec<_> = stamp.reasons().iter().map(|reason| reason.check.as_str()).collect();
        assert_eq!((stamp.word(), checks), ("INVALID", vec!["turn", "late"]), "the gravest first");
        let worse = run(200, 10).stamp().and(run(60, 10).stamp().reasons().to_vec());
        assert_eq!((worse.reasons().len(), worse.reasons()[0].figure > 0.19), (1, true), "one of each check");
    }

    #[test]
    fn stamps_read_back() {
        let stamp = run(300, 3000).stamp();
        let text = serde_json::to_string(&stamp).expect("plain data");
        assert_eq!(serde_json::from_str::<Stamp>(&text).expect(&text), stamp);
        let valid = serde_json::to_string(&Stamp::Valid).expect("plain data");
        assert_eq!(valid, r#"{"verdict":"valid"}"#);
        assert_eq!(serde_json::from_str::<Stamp>(&valid).expect("it"), Stamp::Valid);
    }
}
