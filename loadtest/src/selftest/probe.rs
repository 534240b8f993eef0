//! Runs a plan with the recorder that every result comes from, and keeps every request as a row besides: what is checked against the
//! truth is what a report would say, and the rows tell what it was made of.

use crate::engine::{Done, Driven, Observer, Stop, drive};
use crate::measure::{Collector, Measured, Outcome, Recorder, Stamp};
use crate::workload::{Arrivals, Endpoint, Plan, Secret, Share, Span, Tenant};
use std::time::{Duration, Instant};

/// One request as the engine told it; nanoseconds from the run's start.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) index: u64,
    pub(super) planned: u64,
    pub(super) sent: Option<u64>,
    pub(super) ended: u64,
    pub(super) outcome: Outcome,
}

/// A run that has ended.
pub(super) struct Run {
    /// Every request, in the order of their numbers.
    pub(super) rows: Vec<Row>,
    /// What a report would be made of.
    pub(super) measured: Measured,
    /// What the rig was worth.
    pub(super) stamp: Stamp,
}

impl Run {
    /// How many ended so.
    pub(super) fn ended(&self, outcome: Outcome) -> u64 {
        self.rows.iter().filter(|row| row.outcome == outcome).count() as u64
    }

    /// A time of each request that ended `ok`, nanoseconds.
    pub(super) fn times(&self, of: impl Fn(&Row) -> Option<u64>) -> Vec<f64> {
        let ok = self.rows.iter().filter(|row| row.outcome == Outcome::Ok);
        ok.filter_map(of).map(|nanos| nanos as f64).collect()
    }
}

impl Row {
    /// Planned instant to last byte.
    pub(super) fn e2e(&self) -> Option<u64> {
        Some(self.ended.saturating_sub(self.planned))
    }

    /// Send to last byte.
    pub(super) fn service(&self) -> Option<u64> {
        Some(self.ended.saturating_sub(self.sent?))
    }
}

/// A plan against one server on loopback, to be changed where a check needs more.
pub(super) fn plan(url: &str, arrivals: Arrivals, connections: usize) -> Plan {
    Plan {
        endpoints: vec![Endpoint { url: url.to_owned(), ..Endpoint::default() }],
        tenants: vec![Tenant {
            key: Secret { text: "sk-selftest-0000000000".into(), ..Secret::default() },
            ..Tenant::default()
        }],
        arrivals,
        connections,
        timeout: Span(Duration::from_secs(10)),
        traffic: vec![Share::default()],
        ..Plan::default()
    }
}

/// The same, for streams.
pub(super) fn streaming(plan: Plan) -> Plan {
    Plan { traffic: vec![Share { stream: true, include_usage: true, ..Share::default() }], ..plan }
}

/// Records, and keeps rows; may hold up the loop that tells it, to see whether that is noticed.
struct Rows {
    recorder: Recorder,
    rows: Vec<Row>,
    hold: Duration,
}

/// Rows kept of one run; the runs here are far smaller.
const ROWS_MAX: usize = 2_000_000;

impl Observer for Rows {
    fn gap(&mut self, counts: bool, nanos: u64) {
        self.recorder.gap(counts, nanos);
    }

    fn late(&mut self, nanos: u64) {
        self.recorder.late(nanos);
    }

    fn done(&mut self, done: &Done<'_>) {
        self.recorder.done(done);
        if self.rows.len() < ROWS_MAX {
            self.rows.push(Row {
                index: done.ask.index,
                planned: done.planned,
                sent: done.sent,
                ended: done.ended,
                outcome: done.outcome,
            });
        }
        let until = Instant::now() + self.hold;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }

    fn tick(&mut self, since_start: Duration, in_flight: usize) {
        self.recorder.tick(since_start, in_flight);
    }
}

/// Carries a plan out.
pub(super) fn run(plan: &Plan) -> anyhow::Result<Run> {
    run_held(plan, Duration::ZERO)
}

/// The same by a tester that wastes so much of its own time on every answer.
pub(super) fn run_held(plan: &Plan, hold: Duration) -> anyhow::Result<Run> {
    let collector = Collector::start(plan, |_| {})?;
    let recorder = || Recorder::for_plan(plan, collector.sender());
    let driven = drive(plan, &Stop::default(), |_| Rows { recorder: recorder(), rows: Vec::new(), hold })?;
    let Driven { observers, health, elapsed, stopped } = driven;
    let (mut rows, mut recorders) = (Vec::new(), Vec::new());
    for observer in observers {
        rows.extend(observer.rows);
        recorders.push(observer.recorder);
    }
    rows.sort_by_key(|row| row.index);
    let measured = collector.finish(plan, Driven { observers: recorders, health, elapsed, stopped });
    let stamp = Stamp::judge(plan, &measured);
    Ok(Run { rows, measured, stamp })
}
