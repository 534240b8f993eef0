//! The account of a run: for people, for programs, for pictures.
//!
//! [`Report`] is all of it. It writes itself as text ([`Display`](std::fmt::Display)) and as JSON, and reads that JSON back whole, so that a
//! result can be shown again, compared or rerun later. The other modules each write one form for one kind of reader.

mod encoded;
pub mod hdr;
pub mod html;
mod json;
pub mod junit;
mod machine;
pub mod markdown;
pub mod openmetrics;
pub mod png;
mod read;
pub mod svg;
mod text;

pub use encoded::{decode, encode};
pub use machine::{Machine, instant, utc};

use crate::engine::Stop;
use crate::measure::{Interval, Judged, Measured, Outcome, Stamp, Threshold, run};
use crate::workload::Plan;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The form of the JSON that [`Report::to_json`] writes; one more for every change that an older reader would get wrong.
pub const SCHEMA: u64 = 1;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was to be done.
    pub plan: Plan,
    /// What was measured.
    pub measured: Measured,
    /// Whether to believe it.
    pub stamp: Stamp,
    /// When it began.
    pub started: SystemTime,
    /// Where it was measured.
    pub machine: Machine,
    /// The version of the tester.
    pub version: String,
    /// Thresholds and what was found.
    pub thresholds: Vec<Judged>,
}

impl Report {
    /// The account of a run that has just ended on this machine.
    pub fn new(plan: Plan, measured: Measured, started: SystemTime) -> Self {
        let stamp = Stamp::judge(&plan, &measured);
        // To the millisecond, as it is written.
        let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let whole = Duration::new(since.as_secs(), since.subsec_millis() * 1_000_000);
        Self {
            plan,
            measured,
            stamp,
            started: UNIX_EPOCH + whole,
            machine: Machine::here(),
            version: env!("CARGO_PKG_VERSION").into(),
            thresholds: Vec::new(),
        }
    }

    /// Carries a plan out and gives its account. `on_second` sees each second, as with [`run`].
    ///
    /// # Errors
    /// The plan cannot be carried out.
    pub fn measure(
        plan: &Plan,
        stop: &Stop,
        on_second: impl FnMut(&Interval) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let started = SystemTime::now();
        let measured = run(plan, stop, on_second)?;
        Ok(Self::new(plan.clone(), measured, started))
    }

    /// Judges the run by thresholds, in place of those it was judged by before.
    pub fn judge(&mut self, thresholds: &[Threshold]) {
        self.thresholds = thresholds.iter().map(|threshold| threshold.judge(&self.measured)).collect();
    }

    /// Whether there was something to count and nothing failed.
    pub fn is_success(&self) -> bool {
        self.measured.is_success()
    }

    /// Where requests went: the first endpoint's URL.
    pub fn target(&self) -> &str {
        self.plan.endpoints.first().map_or("", |endpoint| &endpoint.url)
    }

    /// What reports call the run: the plan's name, or where requests went.
    pub fn title(&self) -> &str {
        if self.plan.name.is_empty() { self.target() } else { &self.plan.name }
    }

    /// How a share of the traffic is called.
    fn share_name(&self, number: usize) -> String {
        self.plan.traffic.get(number).map_or_else(|| number.to_string(), |share| share.label(number))
    }

    /// How a tenant is called.
    fn tenant_name(&self, number: usize) -> String {
        match self.plan.tenants.get(number) {
            Some(tenant) if !tenant.name.is_empty() => tenant.name.clone(),
            _ => number.to_string(),
        }
    }

    /// Requests by outcome, those that there were.
    fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let ended = |outcome: Outcome| (outcome, self.measured.sums.ended(outcome));
        Outcome::ALL.into_iter().map(ended).filter(|(_, count)| *count > 0)
    }
}

/// A bound on goodput, or on failures, decides about them in place of the rule that nothing may fail.
pub fn tolerates_failures(judged: &[Judged]) -> bool {
    judged.iter().any(|one| one.threshold.parse::<Threshold>().is_ok_and(|known| known.is_about_failures()))
}
