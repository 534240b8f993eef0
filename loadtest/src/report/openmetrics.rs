//! A result as OpenMetrics text, for a push gateway or a file collector. It also reads as Prometheus text 0.0.4.
//!
//! All names begin with `igris_load_` and end in their unit. A finished run does not count on, so that counts are gauges.

use super::Report;
use crate::measure::Timings;
use hdrhistogram::Histogram;
use std::fmt::{self, Write as _};

/// Quantiles of each latency.
const QUANTILES: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999];

/// What each of [`Timings::NAMES`] is, in its order.
const MEANINGS: [&str; 9] = [
    "From the planned instant to the first token",
    "From the planned instant to the last byte",
    "Between events with generated tokens of one stream",
    "Per output token after the first, by true token counts",
    "From the planned instant to the first byte sent",
    "From the send to the first token",
    "From the send to the last byte",
    "The gateway's own account of its time",
    "Opening of a connection, TLS included",
];

/// The result as OpenMetrics text.
pub fn write(report: &Report) -> String {
    let mut out = String::new();
    // Writing to memory does not fail.
    let _ = compose(report, &mut out);
    out
}

fn compose(report: &Report, out: &mut String) -> fmt::Result {
    let (run, sums) = (&report.measured, &report.measured.sums);
    let (version, name, target) = (label(&report.version), label(&report.plan.name), label(report.target()));
    head(out, "run_info", "What ran", "")?;
    writeln!(out, "igris_load_run_info{{version=\"{version}\",name=\"{name}\",target=\"{target}\"}} 1")?;
    head(out, "stamp", "Whether to believe the result: 2 valid, 1 degraded, 0 invalid", "")?;
    let stamp = if report.stamp.is_invalid() { 0 } else { 2 - i32::from(!report.stamp.reasons().is_empty()) };
    writeln!(out, "igris_load_stamp {stamp}")?;
    head(out, "requests", "Requests that ended, by outcome", "")?;
    for outcome in crate::measure::Outcome::ALL {
        writeln!(out, "igris_load_requests{{outcome=\"{}\"}} {}", outcome.name(), sums.ended(outcome))?;
    }
    let gauges = [
        ("planned_requests", "Requests that were planned", "", run.planned as f64),
        ("good_requests", "Requests that ended ok and held every objective", "", sums.good as f64),
        ("input_tokens", "Input tokens that answers stated", "", sums.input_tokens as f64),
        ("output_tokens", "Output tokens that answers stated", "", sums.output_tokens as f64),
        ("events", "Events of streams", "", sums.events as f64),
        ("connections_opened", "Connections opened", "", sums.connections as f64),
        ("sent_bytes", "Bytes of requests", "bytes", sums.bytes_out as f64),
        ("received_bytes", "Bytes of answers", "bytes", sums.bytes_in as f64),
        ("elapsed_seconds", "From the start to the last answer", "seconds", run.elapsed.as_secs_f64()),
        ("measured_seconds", "The part of it that counts", "seconds", run.measured.as_secs_f64()),
        ("tester_cpu_seconds", "Processor time of the tester", "seconds", run.tester_cpu().as_secs_f64()),
    ];
    for (name, meaning, unit, value) in gauges {
        gauge(out, name, meaning, unit, value)?;
    }
    if let Some(share) = run.goodput() {
        gauge(out, "goodput_ratio", "Good requests as a part of those that were planned", "ratio", share)?;
    }
    if let Some(share) = run.error_rate() {
        gauge(out, "error_ratio", "Failed requests as a part of those that ended", "ratio", share)?;
    }
    if let Some(watched) = run.watched() {
        gauge(
            out,
            "watched_cpu_seconds",
            "Processor time of the watched process",
            "seconds",
            watched.cpu.as_secs_f64(),
        )?;
        let most = watched.resident_max as f64;
        gauge(out, "watched_resident_bytes", "The most resident bytes of the watched process", "bytes", most)?;
    }
    for ((name, meaning), histogram) in Timings::NAMES.iter().zip(MEANINGS).zip(run.timings.all()) {
        summary(out, name, meaning, histogram)?;
    }
    if let Some(itl) = run.itl() {
        summary(out, "itl", "Between tokens: the gaps between events over their true tokens", &itl)?;
    }
    if !report.thresholds.is_empty() {
        head(out, "threshold_held", "Whether a threshold was held", "")?;
        for judged in &report.thresholds {
            let held = u8::from(judged.held);
            writeln!(out, "igris_load_threshold_held{{threshold=\"{}\"}} {held}", label(&judged.threshold))?;
        }
    }
    writeln!(out, "# EOF")
}

fn head(out: &mut String, name: &str, meaning: &str, unit: &str) -> fmt::Result {
    writeln!(out, "# TYPE igris_load_{name} gauge")?;
    if !unit.is_empty() {
        writeln!(out, "# UNIT igris_load_{name} {unit}")?;
    }
    writeln!(out, "# HELP igris_load_{name} {meaning}.")
}

fn gauge(out: &mut String, name: &str, meaning: &str, unit: &str, value: f64) -> fmt::Result {
    head(out, name, meaning, unit)?;
    writeln!(out, "igris_load_{name} {value}")
}

fn summary(out: &mut String, name: &str, meaning: &str, histogram: &Histogram<u64>) -> fmt::Result {
    if histogram.is_empty() {
        return Ok(());
    }
    let name = format!("igris_load_{name}_seconds");
    writeln!(out, "# TYPE {name} summary\n# UNIT {name} seconds\n# HELP {name} {meaning}.")?;
    for quantile in QUANTILES {
        let value = histogram.value_at_quantile(quantile) as f64 / 1e9;
        writeln!(out, "{name}{{quantile=\"{quantile}\"}} {value}")?;
    }
    writeln!(out, "{name}_sum {}", histogram.mean() * histogram.len() as f64 / 1e9)?;
    writeln!(out, "{name}_count {}", histogram.len())
}

/// A label's value as the format escapes it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
