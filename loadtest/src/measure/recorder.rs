//! The observer of a run: one a thread while it runs, in memory that does not grow with what it records.

use super::interval::Interval;
use super::timings::{Sums, Timings, histogram, tpot};
use super::{Objective, Outcome};
use crate::engine::{Done, Observer};
use crate::workload::Plan;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Shares or tenants that are told apart; the last one takes in all beyond.
pub const LABELS_MAX: usize = 32;
/// Failures of one outcome described in words.
const SAMPLES_EACH_MAX: usize = 2;
/// Failures described in words.
pub(super) const SAMPLES_MAX: usize = 10;
/// Letters of such a description.
const SAMPLE_CHARS_MAX: usize = 300;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Sums and latencies of one part of the traffic.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) sums: Sums,
    pub(super) timings: Timings,
}

/// Records what one thread's requests became.
pub struct Recorder {
    objectives: Vec<Objective>,
    seconds: Sender<Interval>,
    interval: Interval,
    in_flight: u64,
    cpu: Duration,
    /// Together they are the whole; always at least one.
    pub(super) by_share: Vec<Cell>,
    /// Empty where there is but one tenant.
    pub(super) by_tenant: Vec<Cell>,
    pub(super) gap: Histogram<u64>,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) failures: Vec<(Outcome, String)>,
}

impl Recorder {
    /// A recorder that sends each finished second away, for traffic of one share and one tenant.
    pub fn new(objectives: &[Objective], seconds: Sender<Interval>) -> Self {
        Self {
            objectives: objectives.to_vec(),
            seconds,
            interval: Interval::new(0),
            in_flight: 0,
            cpu: Duration::ZERO,
            by_share: cells(1),
            by_tenant: Vec::new(),
            gap: histogram(),
            statuses: BTreeMap::new(),
            failures: Vec::new(),
        }
    }

    /// A recorder that also tells a plan's shares and tenants apart.
    pub fn for_plan(plan: &Plan, seconds: Sender<Interval>) -> Self {
        let tenants = if plan.tenants.len() > 1 { plan.tenants.len() } else { 0 };
        Self {
            by_share: cells(plan.traffic.len().max(1)),
            by_tenant: cells(tenants),
            ..Self::new(&plan.objectives, seconds)
        }
    }

    /// Sends the last second away, which is not whole.
    pub(super) fn finish(&mut self) {
        self.turn_to(self.interval.second + 1);
    }

    /// Sends the present second away if another one has begun.
    fn turn_to(&mut self, second: u64) {
        if second <= self.interval.second {
            return;
        }
        let cpu = thread_cpu();
        let mut past = std::mem::replace(&mut self.interval, Interval::new(second));
        past.in_flight = self.in_flight;
        past.cpu = cpu.saturating_sub(self.cpu);
        self.cpu = cpu;
        // Nobody may be listening; what a run measured as a whole is kept here all the same.
        let _ = self.seconds.send(past);
    }

    /// Keeps a description of a failure, if there is room for one more of its kind.
    fn sample(&mut self, done: &Done<'_>) {
        let alike = self.failures.iter().filter(|(outcome, _)| *outcome == done.outcome).count();
        if alike >= SAMPLES_EACH_MAX || self.failures.len() >= SAMPLES_MAX {
            return;
        }
        let reason: String = done.reason.chars().take(SAMPLE_CHARS_MAX).collect();
        let mut text = format!("request {}: {}", done.ask.index, done.outcome.name());
        if done.status != 0 && done.status != 200 {
            text.push_str(&format!(", status {}", done.status));
        }
        if !reason.is_empty() {
            text.push_str(": ");
            text.push_str(&reason);
        }
        self.failures.push((done.outcome, text));
    }
}

impl Observer for Recorder {
    fn gap(&mut self, counts: bool, nanos: u64) {
        self.interval.timings.gap.saturating_record(nanos);
        if counts {
            self.gap.saturating_record(nanos);
        }
    }

    fn late(&mut self, nanos: u64) {
        self.interval.late.saturating_record(nanos);
    }

    fn done(&mut self, done: &Done<'_>) {
        self.turn_to(done.ended / NANOS_PER_SECOND);
        let good = done.outcome == Outcome::Ok && self.objectives.iter().all(|objective| objective.is_held(done));
        let tpot = if done.outcome == Outcome::Ok { tpot(done) } else { None };
        let by_events = tpot.is_some_and(|(_, by_events)| by_events);
        let tpot = tpot.map(|(nanos, _)| nanos);
        let record = |sums: &mut Sums, timings: &mut Timings| {
            sums.count(done, good, by_events);
            if done.outcome == Outcome::Ok {
                timings.record(done, tpot);
            }
        };
        record(&mut self.interval.sums, &mut self.interval.timings);
        if !done.counts {
            return;
        }
        for (cells, label) in [(&mut self.by_share, done.ask.share), (&mut self.by_tenant, done.ask.tenant)] {
            let last = cells.len().saturating_sub(1);
            if let Some(cell) = cells.get_mut(label.min(last)) {
                record(&mut cell.sums, &mut cell.timings);
            }
        }
        if done.status != 0 {
            *self.statuses.entry(done.status).or_default() += 1;
        }
        if !matches!(done.outcome, Outcome::Ok | Outcome::Abandoned) {
            self.sample(done);
        }
    }

    fn tick(&mut self, since_start: Duration, in_flight: usize) {
        self.turn_to(since_start.as_secs());
        self.in_flight = in_flight as u64;
    }
}

fn cells(labels: usize) -> Vec<Cell> {
    vec![Cell::default(); labels.min(LABELS_MAX)]
}

/// Processor time the calling thread has used.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Driven, Health};
    use crate::measure::{Collector, Measured};
    use crate::workload::{Share, Source, Span, Tenant};

    const MS: u64 = 1_000_000;

    fn plan(objectives: &[&str]) -> Plan {
        Plan {
            traffic: vec![Share::default(), Share::default()],
            tenants: vec![Tenant::default(), Tenant::default()],
            objectives: objectives.iter().map(|text| text.parse().expect(text)).collect(),
            ..Plan::default()
        }
    }

    /// A stream that was planned at 1 s, left 2 ms later, brought its first token at 10 ms and its fifth at 50 ms, and ended at 60.
    fn stream(ask: &crate::workload::Ask) -> Done<'_> {
        let planned = 1000 * MS;
        Done {
            ask,
            counts: true,
            planned,
            sent: Some(planned + 2 * MS),
            first_byte: Some(planned + 8 * MS),
            first_token: Some(planned + 10 * MS),
            last_token: Some(planned + 50 * MS),
            longest_gap: Some(25 * MS),
            ended: planned + 60 * MS,
            outcome: Outcome::Ok,
            status: 200,
            reason: String::new(),
            events: 7,
            generated: 5,
            input_tokens: Some(11),
            output_tokens: Some(9),
            bytes_out: 400,
            bytes_in: 2000,
            connect_ns: None,
            overhead_us: Some(45),
            verified: false,
        }
    }

    fn ask() -> crate::workload::Ask {
        Source::new(&Plan::default(), 0, 1).expect("a plan").next_arrival().expect("an arrival").ask
    }

    fn measured(plan: &Plan, unsent: u64, record: impl FnOnce(&mut Recorder)) -> Measured {
        let collector = Collector::start(plan, |_| {}).expect("a thread");
        let mut recorder = Recorder::for_plan(plan, collector.sender());
        record(&mut recorder);
        let health = Health { late: histogram(), turn: histogram(), cpu: Duration::ZERO, queued: 0, unsent };
        let elapsed = Duration::from_secs(2);
        collector.finish(plan, Driven { observers: vec![recorder], health: vec![health], elapsed, stopped: unsent > 0 })
    }

    fn near(histogram: &Histogram<u64>, millis: u64) {
        assert_eq!(histogram.len(), 1);
        assert!(histogram.equivalent(histogram.max(), millis * MS), "{} is not {millis} ms", histogram.max());
    }

    #[test]
    fn each_time_is_counted_from_where_its_definition_says() {
        let ask = ask();
        let found = measured(&plan(&[]), 0, |recorder| {
            recorder.gap(true, 25 * MS);
            recorder.done(&stream(&ask));
        });
        near(&found.timings.ttft, 10);
        near(&found.timings.e2e, 60);
        near(&found.timings.send_delay, 2);
        near(&found.timings.service_ttft, 8);
        near(&found.timings.service, 58);
        near(&found.timings.gap, 25);
        // 40 ms between the first and the ninth token.
        near(&found.timings.tpot, 5);
        assert!(found.timings.connect.is_empty());
        assert_eq!((found.sums.tokens_per_event(), found.sums.tpot_by_events), (Some(1.8), 0));
        assert_eq!((found.seconds.len(), found.seconds[1].sums.total(), found.seconds[1].ttft.count()), (2, 1, 1));
        let itl = found.itl().expect("tokens and a gap");
        assert_eq!((itl.len(), (itl.max() as f64 / MS as f64 - 25.0 / 1.8).abs() < 0.05), (2, true));
    }

    #[test]
    fn without_usage_events_stand_for_tokens_and_that_is_told() {
        let ask = ask();
        let found = measured(&plan(&[]), 0, |recorder| {
            recorder.done(&Done { output_tokens: None, ..stream(&ask) });
            // One event with all the tokens has no time between them, and a single token has none either.
            recorder.done(&Done { generated: 1, last_token: Some(1010 * MS), ..stream(&ask) });
            recorder.done(&Done { output_tokens: Some(1), ..stream(&ask) });
        });
        near(&found.timings.tpot, 10);
        assert_eq!((found.sums.tpot_by_events, found.sums.with_usage), (1, 2));
    }

    #[test]
    fn goodput_is_a_part_of_what_was_planned() {
        let ask = ask();
        let found = measured(&plan(&["ttft<10ms", "gap<25ms", "tpot<5ms"]), 4, |recorder| {
            recorder.done(&stream(&ask));
            recorder.done(&Done { first_token: Some(1011 * MS), ..stream(&ask) });
            recorder.done(&Done { longest_gap: Some(26 * MS), ..stream(&ask) });
            recorder.done(&Done { outcome: Outcome::RateLimited, status: 429, ..stream(&ask) });
            recorder.done(&Done { outcome: Outcome::Abandoned, status: 0, ..stream(&ask) });
            recorder.done(&Done { counts: false, ..stream(&ask) });
        });
        assert_eq!((found.sums.good, found.planned, found.goodput()), (1, 9, Some(1.0 / 9.0)));
        assert_eq!((found.failed(), found.error_rate(), found.is_success()), (1, Some(0.25), false));
        assert_eq!(found.statuses, BTreeMap::from([(200, 3), (429, 1)]));
        assert_eq!(found.failures, ["request 0: rate_limited, status 429"]);
        assert_eq!(found.seconds[1].sums.total(), 6, "a row knows its warm-up too");
    }

    #[test]
    fn shares_and_tenants_add_up_and_have_an_end() {
        let mut plan = plan(&[]);
        plan.tenants = vec![Tenant::default(); 1000];
        let mut ask = ask();
        let found = measured(&plan, 0, |recorder| {
            for number in 0..1000 {
                (ask.share, ask.tenant) = (number % 2, number);
                recorder.done(&stream(&ask));
            }
        });
        assert_eq!((found.by_share.len(), found.by_tenant.len()), (2, LABELS_MAX));
        assert_eq!((found.by_share[1].0.total(), found.by_tenant[0].0.total()), (500, 1));
        assert_eq!((found.by_tenant[LABELS_MAX - 1].0.total(), found.sums.total()), (969, 1000));
        assert_eq!(found.by_tenant.iter().map(|(_, timings)| timings.e2e.len()).sum::<u64>(), 1000);
    }

    #[test]
    fn failures_are_told_in_bounded_words_each_kind_a_few_times() {
        let ask = ask();
        let found = measured(&plan(&[]), 0, |recorder| {
            for number in 0..10_000 {
                let outcome = if number < 9_000 { Outcome::Timeout } else { Outcome::Closed };
                recorder.done(&Done { outcome, status: 0, reason: "ä".repeat(5000), ..stream(&ask) });
            }
        });
        assert_eq!(found.failures.len(), 2 * SAMPLES_EACH_MAX);
        assert!(found.failures.iter().all(|text| text.chars().count() < SAMPLE_CHARS_MAX + 60));
    }

    #[test]
    fn warm_up_is_not_in_the_part_that_counts() {
        let plan = Plan { warm_up: Span(Duration::from_millis(500)), ..plan(&[]) };
        let found = measured(&plan, 0, |_| {});
        assert_eq!((found.measured, found.goodput(), found.error_rate()), (Duration::from_millis(1500), None, None));
        assert!(!found.is_success());
    }
}
