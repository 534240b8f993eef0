//! Tables of a run's figures.

use super::{Table, Tint, Value};
use crate::measure::stamp::samples_for;
use crate::measure::{Measured, Outcome, Sums, Timings};
use crate::report::svg::unit;
use hdrhistogram::Histogram;

/// Quantiles of the tables, with their names.
const QUANTILES: [(f64, &str); 7] =
    [(0.5, "p50"), (0.75, "p75"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

/// The latencies of a run that have values, each with what people call it.
pub fn latencies(measured: &Measured) -> Vec<(&'static str, Histogram<u64>)> {
    let timings = &measured.timings;
    let mut all = vec![
        ("TTFT: planned to first token", timings.ttft.clone()),
        ("E2E: planned to last byte", timings.e2e.clone()),
        ("gap between events with tokens", timings.gap.clone()),
        ("TPOT: time per output token", timings.tpot.clone()),
    ];
    all.extend(measured.itl().map(|itl| ("ITL: between tokens", itl)));
    all.extend([
        ("send delay: planned to sent", timings.send_delay.clone()),
        ("sent to first token", timings.service_ttft.clone()),
        ("sent to last byte", timings.service.clone()),
        ("the gateway's own account", timings.overhead.clone()),
        ("opening a connection", timings.connect.clone()),
    ]);
    all.retain(|(_, histogram)| !histogram.is_empty());
    all
}

/// All latencies of a run.
pub fn latency_table(measured: &Measured) -> Table {
    let mut head: Vec<String> = ["latency", "count", "mean", "sd", "min"].map(String::from).into();
    head.extend(QUANTILES.iter().map(|(_, name)| (*name).into()));
    head.push("max".into());
    let rows = latencies(measured).into_iter().map(|(name, histogram)| {
        let mut row = vec![Value::tinted(name, Tint::Words), unit::whole(histogram.len()).into()];
        row.extend(
            [unit::time(histogram.mean()), unit::time(histogram.stdev()), told(histogram.min())].map(Value::from),
        );
        row.extend(QUANTILES.iter().map(|(quantile, _)| at(&histogram, *quantile)));
        row.push(told(histogram.max()).into());
        row
    });
    Table {
        caption: "Latencies of requests that ended ok".into(),
        head,
        rows: rows.collect(),
        note: "~ marks a percentile that fewer than ten values lie beyond: read it as an anecdote.".into(),
    }
}

/// A recorded time in words: histograms tell nothing apart below 100 ns.
fn told(nanos: u64) -> String {
    if nanos < 100 { "< 100 ns".into() } else { unit::time(nanos as f64) }
}

/// A quantile, marked where few values lie beyond it.
fn at(histogram: &Histogram<u64>, quantile: f64) -> Value {
    if histogram.is_empty() {
        return "–".into();
    }
    let text = told(histogram.value_at_quantile(quantile));
    let thin = (histogram.len() as f64) < samples_for(quantile);
    Value::tinted(text, if thin { Tint::Thin } else { Tint::Plain })
}

/// Parts of the traffic beside each other: shares or tenants.
pub fn parts(caption: &str, first: &str, names: &[String], parts: &[(Sums, Timings)]) -> Table {
    let head = [first, "ended", "ok", "failed", "TTFT p50", "TTFT p99", "E2E p50", "E2E p99", "output tokens", "good"];
    let rows = parts.iter().enumerate().map(|(number, (sums, timings))| {
        let name = names.get(number).cloned().unwrap_or_else(|| format!("number {}", number + 1));
        let ok = sums.ended(Outcome::Ok);
        let failed = sums.total() - ok;
        vec![
            Value::tinted(name, Tint::Words),
            unit::whole(sums.total()).into(),
            unit::whole(ok).into(),
            Value::tinted(unit::whole(failed), if failed > 0 { Tint::Bad } else { Tint::Plain }),
            at(&timings.ttft, 0.5),
            at(&timings.ttft, 0.99),
            at(&timings.e2e, 0.5),
            at(&timings.e2e, 0.99),
            unit::whole(sums.output_tokens).into(),
            unit::percent(sums.good as f64 / sums.total().max(1) as f64).into(),
        ]
    });
    Table { caption: caption.into(), head: head.map(String::from).into(), rows: rows.collect(), note: String::new() }
}

/// Statuses of answers; empty where all were 200.
pub fn statuses(measured: &Measured) -> Option<Table> {
    let rows: Vec<_> = measured
        .statuses
        .iter()
        .map(|(status, count)| vec![status.to_string().into(), unit::whole(*count).into()])
        .collect();
    (measured.statuses.keys().any(|status| *status != 200)).then(|| Table {
        caption: "Statuses of answers".into(),
        head: vec!["status".into(), "answers".into()],
        rows,
        note: String::new(),
    })
}

/// How each thread of the tester did.
pub fn health(measured: &Measured) -> Table {
    let head =
        ["thread", "late p50", "late p99", "late max", "loop away p99", "CPU", "waited for a connection", "never sent"];
    let elapsed = measured.elapsed.as_secs_f64().max(1e-9);
    let rows = measured.health.iter().enumerate().map(|(number, health)| {
        vec![
            (number + 1).to_string().into(),
            at(&health.late, 0.5),
            at(&health.late, 0.99),
            at(&health.late, 1.0 - 1e-12),
            at(&health.turn, 0.99),
            unit::percent(health.cpu.as_secs_f64() / elapsed).into(),
            unit::whole(health.queued).into(),
            unit::whole(health.unsent).into(),
        ]
    });
    Table {
        caption: "The tester itself, by thread".into(),
        head: head.map(String::from).into(),
        rows: rows.map(|mut row| { row.iter_mut().for_each(untint); row }).collect(),
        note: "Late: by how much the tester came to an arrival after its planned instant. Loop away: how long a socket may have waited \
               to be looked at."
            .into(),
    }
}

/// A table about the tester claims nothing of the target: no mark for few values.
fn untint(value: &mut Value) {
    value.tint = Tint::Plain;
}

/// Totals: tokens, events, bytes, connections.
pub fn volumes(measured: &Measured) -> Table {
    let sums = &measured.sums;
    let each = |count: u64| unit::count(measured.per_second(count));
    let row =
        |name: &str, count: u64, text: String| vec![Value::tinted(name, Tint::Words), text.into(), each(count).into()];
    let plain = |name: &str, count: u64| row(name, count, unit::whole(count));
    let mut rows = vec![
        plain("requests ended", sums.total()),
        plain("input tokens", sums.input_tokens),
        plain("output tokens", sums.output_tokens),
        plain("events of streams", sums.events),
        plain("connections opened", sums.connections),
    ];
    for (name, count) in [("bytes sent", sums.bytes_out), ("bytes received", sums.bytes_in)] {
        let each = unit::bytes(measured.per_second(count));
        rows.push(vec![Value::tinted(name, Tint::Words), unit::bytes(count as f64).into(), each.into()]);
    }
    let ok = sums.ended(Outcome::Ok);
    let unstated = ok.saturating_sub(sums.with_usage);
    let note = match unstated {
        0 => String::new(),
        _ => format!("{} answers stated no token counts; their tokens are not in here.", unit::whole(unstated)),
    };
    Table { caption: "Volumes".into(), head: ["what", "in all", "each second"].map(String::from).into(), rows, note }
}
