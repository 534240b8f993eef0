//! All that a run measured, and the figures that follow from it.

use super::interval::Second;
use super::recorder::{Cell, Recorder, SAMPLES_MAX};
use super::timings::{Sums, Timings, add, histogram};
use super::{Outcome, timings};
use crate::engine::{Driven, Health};
use crate::workload::Plan;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// All that a run measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Requests that were planned and count, whether or not they were sent.
    pub planned: u64,
    /// Sums over all of them.
    pub sums: Sums,
    /// Their latencies.
    pub timings: Timings,
    /// The same by share of the traffic, by [`crate::workload::Plan::traffic`], of at most [`super::LABELS_MAX`]; without gaps.
    pub by_share: Vec<(Sums, Timings)>,
    /// The same by tenant, by [`crate::workload::Plan::tenants`], of at most [`super::LABELS_MAX`]; empty with fewer than two.
    pub by_tenant: Vec<(Sums, Timings)>,
    /// Statuses of answers.
    pub statuses: BTreeMap<u16, u64>,
    /// Every second, in order, warm-up included.
    pub seconds: Vec<Second>,
    /// What the first few failures looked like.
    pub failures: Vec<String>,
    /// How each thread of the tester did.
    pub health: Vec<Health>,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Of that, the part that counts.
    pub measured: Duration,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// What a watched process used outside of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    /// Processor time.
    pub cpu: Duration,
    /// Processor time for each request that ended meanwhile; `None` if none did.
    pub cpu_per_request: Option<Duration>,
    /// Resident bytes at the end.
    pub resident: u64,
    /// The most resident bytes at any second's end.
    pub resident_max: u64,
}

impl Measured {
    /// What the recorders of a run hold; its seconds are still to come.
    pub(super) fn of(plan: &Plan, driven: Driven<Recorder>) -> Self {
        let mut sum = Merged::default();
        driven.observers.into_iter().for_each(|recorder| sum.take(recorder));
        let mut whole = Cell::default();
        for cell in &sum.by_share {
            whole.sums.add(&cell.sums);
            whole.timings.add(&cell.timings);
        }
        if let Some(gap) = &sum.gap {
            add(&mut whole.timings.gap, gap);
        }
        let unsent: u64 = driven.health.iter().map(|health| health.unsent).sum();
        let pairs = |cells: Vec<Cell>| cells.into_iter().map(|cell| (cell.sums, cell.timings)).collect();
        Self {
            planned: whole.sums.total() + unsent,
            sums: whole.sums,
            timings: whole.timings,
            by_share: pairs(sum.by_share),
            by_tenant: pairs(sum.by_tenant),
            statuses: sum.statuses,
            seconds: Vec::new(),
            failures: sum.failures,
            health: driven.health,
            elapsed: driven.elapsed,
            measured: driven.elapsed.saturating_sub(plan.warm_up.0),
            stopped: driven.stopped,
        }
    }

    /// Whether there was something to count and nothing failed; what a stopped run abandoned is no failure.
    pub fn is_success(&self) -> bool {
        self.failed() == 0 && self.sums.ended(Outcome::Ok) > 0
    }

    /// Requests that ended otherwise than `ok`, without those that were abandoned when the run was stopped.
    pub fn failed(&self) -> u64 {
        self.sums.failed() - self.sums.ended(Outcome::Abandoned)
    }

    /// Failed requests as a part of those that ended, abandoned ones left out; `None` if none ended.
    pub fn error_rate(&self) -> Option<f64> {
        part(self.failed(), self.sums.total() - self.sums.ended(Outcome::Abandoned))
    }

    /// Good requests as a part of those that were *planned*, sent or not; `None` if none was.
    pub fn goodput(&self) -> Option<f64> {
        part(self.sums.good, self.planned)
    }

    /// So many a second of the part that counts.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.measured.as_secs_f64().max(1e-9)
    }

    /// Requests that ended, per second.
    pub fn rate(&self) -> f64 {
        self.per_second(self.sums.total())
    }

    /// Latency between tokens: each gap divided by the true tokens per event, and counted once for each of those tokens.
    /// Exact where all streams of a run have the same tokens per event; `None` where none stated its tokens or had a gap.
    pub fn itl(&self) -> Option<Histogram<u64>> {
        let ratio = self.sums.tokens_per_event()?;
        if self.timings.gap.is_empty() {
            return None;
        }
        let mut itl = histogram();
        for step in self.timings.gap.iter_recorded() {
            let gap = self.timings.gap.median_equivalent(step.value_iterated_to());
            let tokens = (step.count_at_value() as f64 * ratio).round() as u64;
            itl.saturating_record_n((gap as f64 / ratio) as u64, tokens);
        }
        Some(itl)
    }

    /// What the watched process used; `None` without one.
    pub fn watched(&self) -> Option<Watched> {
        let rows = || self.seconds.iter().filter(|row| !row.warm_up);
        let looks = || rows().filter_map(|row| row.watched);
        let (_, resident) = looks().next_back()?;
        let cpu: Duration = looks().map(|(cpu, _)| cpu).sum();
        let ended: u64 = rows().map(|row| row.sums.total()).sum();
        Some(Watched {
            cpu,
            cpu_per_request: (ended > 0).then(|| cpu.div_f64(ended as f64)),
            resident,
            resident_max: looks().map(|(_, resident)| resident).max().unwrap_or(resident),
        })
    }

    /// The latencies of a name in [`Timings::NAMES`] or of `itl`; `gap` and `overhead` are understood too.
    pub fn histogram(&self, name: &str) -> Option<Histogram<u64>> {
        let name = match name {
            "itl" => return self.itl(),
            "gap" => "event_gap",
            "overhead" => "gateway_overhead",
            _ => name,
        };
        let at = Timings::NAMES.iter().position(|known| *known == name)?;
        Some(self.timings.all()[at].clone())
    }

    /// By how much later than planned the tester came to arrivals, all threads together, nanoseconds.
    pub fn late(&self) -> Histogram<u64> {
        let mut late = histogram();
        self.health.iter().for_each(|health| timings::add(&mut late, &health.late));
        late
    }

    /// How long a loop of the tester was away from its sockets, all threads together, nanoseconds.
    pub fn turn(&self) -> Histogram<u64> {
        let mut turn = histogram();
        self.health.iter().for_each(|health| timings::add(&mut turn, &health.turn));
        turn
    }

    /// Processor time of the tester's threads.
    pub fn tester_cpu(&self) -> Duration {
        self.health.iter().map(|health| health.cpu).sum()
    }
}

fn part(some: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

/// The recorders of all threads together.
#[derive(Default)]
struct Merged {
    by_share: Vec<Cell>,
    by_tenant: Vec<Cell>,
    gap: Option<Histogram<u64>>,
    statuses: BTreeMap<u16, u64>,
    failures: Vec<String>,
}

impl Merged {
    fn take(&mut self, recorder: Recorder) {
        for (sums, parts) in [(&mut self.by_share, recorder.by_share), (&mut self.by_tenant, recorder.by_tenant)] {
            if sums.is_empty() {
                *sums = parts;
                continue;
            }
            for (sum, part) in sums.iter_mut().zip(&parts) {
                sum.sums.add(&part.sums);
                sum.timings.add(&part.timings);
            }
        }
        match &mut self.gap {
            Some(sum) => add(sum, &recorder.gap),
            None => self.gap = Some(recorder.gap),
        }
        for (status, count) in recorder.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        let room = SAMPLES_MAX.saturating_sub(self.failures.len());
        self.failures.extend(recorder.failures.into_iter().map(|(_, text)| text).take(room));
    }
}
