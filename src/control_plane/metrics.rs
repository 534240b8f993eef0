//! The figures as Prometheus reads them (text format 0.0.4, <https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Labels are names of ours: providers, listed models, outcomes. No tenant, no key, nothing a client chose (rule R5).

use super::overload::Room;
use super::stats::{BUCKETS_SECONDS, OUTCOMES, Stats};
use crate::domain::limit::LimitKind;
use crate::domain::pressure::ShedReason;
use crate::routing::policy::Policy;
use std::fmt::Write;

/// Figures that are read off at the moment of asking.
pub(super) struct Gauges {
    pub(super) connections: u64,
    pub(super) connections_accepted: u64,
    pub(super) exchanges: u64,
    pub(super) requests: u64,
    pub(super) streams: u64,
    pub(super) refused: u64,
    pub(super) upstream_connections: u64,
    pub(super) hedging_pauses: u64,
    pub(super) reports_waiting: u64,
    pub(super) snapshot_generation: u64,
    pub(super) config_version: u64,
    pub(super) uptime_seconds: u64,
    pub(super) decisions: [(Policy, u64); Policy::ALL.len()],
}

/// The whole page.
pub(super) fn page(gauges: &Gauges, room: &Room, stats: &Stats) -> String {
    let mut page = String::with_capacity(16 * 1024);
    let version = env!("CARGO_PKG_VERSION");
    family(&mut page, "igris_build_info", "gauge", "What runs.");
    line(&mut page, format_args!("igris_build_info{{version=\"{version}\"}} 1"));
    for (name, kind, help, value) in gauges.rows() {
        family(&mut page, name, kind, help);
        line(&mut page, format_args!("{name} {value}"));
    }
    let name = "igris_routing_decisions_total";
    family(&mut page, name, "counter", "Plans carried out, by the policy that ordered the candidates.");
    for (policy, count) in gauges.decisions {
        line(&mut page, format_args!("{name}{{policy=\"{}\"}} {count}", policy.as_str()));
    }
    overload(&mut page, room);
    attempts(&mut page, stats);
    sums(&mut page, stats);
    latency(&mut page, stats);
    page
}

impl Gauges {
    fn rows(&self) -> [(&'static str, &'static str, &'static str, u64); 12] {
        [
            ("igris_uptime_seconds", "gauge", "Since the process started.", self.uptime_seconds),
            ("igris_connections", "gauge", "Downstream connections open.", self.connections),
            (
                "igris_connections_accepted_total",
                "counter",
                "Downstream connections accepted.",
                self.connections_accepted,
            ),
            ("igris_exchanges", "gauge", "Exchanges under way.", self.exchanges),
            ("igris_requests_total", "counter", "Exchanges begun.", self.requests),
            ("igris_streams", "gauge", "Streamed answers under way.", self.streams),
            (
                "igris_requests_refused_total",
                "counter",
                "Requests refused before they reached a provider.",
                self.refused,
            ),
            (
                "igris_hedging_pauses_total",
                "counter",
                "Times that a tenant's hedges and races paused for wasting too much.",
                self.hedging_pauses,
            ),
            (
                "igris_upstream_connections_total",
                "counter",
                "Connections opened to providers.",
                self.upstream_connections,
            ),
            ("igris_reports_waiting", "gauge", "Closed attempts not yet in the books.", self.reports_waiting),
            ("igris_snapshot_generation", "gauge", "Publications since start.", self.snapshot_generation),
            ("igris_config_version", "gauge", "Version of the live configuration.", self.config_version),
        ]
    }
}

fn overload(page: &mut String, room: &Room) {
    family(page, "igris_overload_stage", "gauge", "Room of each core: 0 calm, 1 tight, 2 shedding, 3 closed.");
    for (core, pressure) in room.pressures.iter().enumerate() {
        line(page, format_args!("igris_overload_stage{{core=\"{core}\"}} {}", pressure.stage as u8));
    }
    family(page, "igris_shed_total", "counter", "Requests turned away before anything was done for them.");
    for (reason, count) in ShedReason::ALL.iter().zip(room.shed) {
        line(page, format_args!("igris_shed_total{{reason=\"{}\"}} {count}", reason.name()));
    }
    family(page, "igris_limited_total", "counter", "Requests refused by limits of access keys and tenants.");
    for (kind, count) in LimitKind::ALL.iter().zip(room.limited) {
        line(page, format_args!("igris_limited_total{{limit=\"{}\"}} {count}", kind.name()));
    }
}

fn attempts(page: &mut String, stats: &Stats) {
    family(page, "igris_attempts_total", "counter", "Attempts closed, by how they ended.");
    for (provider, model, series) in stats.series() {
        for (outcome, count) in OUTCOMES.iter().zip(series.outcomes).filter(|(_, count)| *count > 0) {
            let (labels, outcome) = (labels(provider, model), outcome.name());
            line(page, format_args!("igris_attempts_total{{{labels},outcome=\"{outcome}\"}} {count}"));
        }
    }
}

fn sums(page: &mut String, stats: &Stats) {
    family(page, "igris_tokens_total", "counter", "Tokens, by direction.");
    for (provider, model, series) in stats.series() {
        let labels = labels(provider, model);
        line(page, format_args!("igris_tokens_total{{{labels},direction=\"input\"}} {}", series.input_tokens));
        line(page, format_args!("igris_tokens_total{{{labels},direction=\"output\"}} {}", series.output_tokens));
    }
    family(
        page,
        "igris_cost_usd_total",
        "counter",
        "List price of what was used, US dollars; unknown prices are left out, see igris_unpriced_attempts_total.",
    );
    for (provider, model, series) in stats.series() {
        line(page, format_args!("igris_cost_usd_total{{{}}} {}", labels(provider, model), series.cost));
    }
    family(page, "igris_unpriced_attempts_total", "counter", "Attempts that used tokens without a known price.");
    for (provider, count) in stats.unpriced() {
        line(page, format_args!("igris_unpriced_attempts_total{{provider=\"{}\"}} {count}", escaped(provider)));
    }
}

fn latency(page: &mut String, stats: &Stats) {
    family(page, "igris_request_duration_seconds", "histogram", "Whole attempts that were answered.");
    for (provider, model, series) in stats.series() {
        let labels = labels(provider, model);
        let mut below = 0;
        for (end, count) in BUCKETS_SECONDS.iter().zip(series.buckets) {
            below += count;
            line(page, format_args!("igris_request_duration_seconds_bucket{{{labels},le=\"{end}\"}} {below}"));
        }
        let all: u64 = series.buckets.iter().sum();
        line(page, format_args!("igris_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {all}"));
        let seconds = series.total_us as f64 / 1e6;
        line(page, format_args!("igris_request_duration_seconds_sum{{{labels}}} {seconds}"));
        line(page, format_args!("igris_request_duration_seconds_count{{{labels}}} {all}"));
    }
}

pub(super) fn family(page: &mut String, name: &str, kind: &str, help: &str) {
    line(page, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

pub(super) fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{text}");
}

pub(super) fn labels(provider: &str, model: &str) -> String {
    format!("provider=\"{}\",model=\"{}\"", escaped(provider), escaped(model))
}

pub(super) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
