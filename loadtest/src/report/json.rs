//! A report as JSON: figures for people and scripts, in microseconds, and beside them whole histograms for the next tool.
//!
//! Field by field it is described in `docs/load-metrics.md`; [`super::Report::from_json`] reads it back.

use super::{Report, SCHEMA, encode, utc};
use crate::engine::Health;
use crate::measure::{LABELS_MAX, Measured, Second, Sparse, Sums, Timings};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::time::Duration;

impl Report {
    /// The report as JSON; all times in microseconds, but for those whose name ends in `_s`.
    pub fn to_json(&self) -> Value {
        let (plan, run) = (&self.plan, &self.measured);
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("tool", "igris-load".into());
        put("version", self.version.as_str().into());
        put("schema", SCHEMA.into());
        put("name", plan.name.as_str().into());
        put("started", utc(self.started).into());
        put("target", self.target().into());
        put("mode", if plan.arrivals.is_open() { "open" } else { "closed" }.into());
        put("stream", plan.traffic.iter().any(|share| share.stream).into());
        put("connections", plan.connections.into());
        put("planned_rate", plan.planned_rate().into());
        put("elapsed_s", run.elapsed.as_secs_f64().into());
        put("measured_s", run.measured.as_secs_f64().into());
        put("stopped", run.stopped.into());
        put("planned", run.planned.into());
        put("requests", run.sums.total().into());
        put("rate", run.rate().into());
        put("error_rate", run.error_rate().into());
        sums(&run.sums).into_iter().for_each(|(name, value)| put(&name, value));
        put("body_bytes", run.sums.bytes_in.into());
        put("goodput", self.goodput());
        put("tokens", tokens(run));
        for (name, histogram) in Timings::NAMES.iter().zip(run.timings.all()) {
            put(name, figures(histogram));
        }
        put("itl", run.itl().map_or(Value::Null, |itl| figures(&itl)));
        put("failures", json!(run.failures));
        put("statuses", json!(run.statuses));
        put("objectives", plan.objectives.iter().map(ToString::to_string).collect());
        put("thresholds", json!(self.thresholds));
        put("by_share", parts(&run.by_share, plan.traffic.len(), |number| self.share_name(number)));
        put("by_tenant", parts(&run.by_tenant, plan.tenants.len(), |number| self.tenant_name(number)));
        put("watched", watched(run));
        put("health", health(run));
        put("stamp", json!(self.stamp));
        put("machine", json!(self.machine));
        put("plan", json!(plan));
        put("seconds", run.seconds.iter().map(second).collect());
        put("histograms", histograms(&run.timings));
        Value::Object(fields)
    }

    fn goodput(&self) -> Value {
        let run = &self.measured;
        json!({
            "good": run.sums.good, "planned": run.planned, "share": run.goodput(), "per_s": run.per_second(run.sums.good),
        })
    }
}

/// The figures of one histogram in microseconds; null where it is empty.
pub(super) fn figures(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let at = |quantile| micros(histogram.value_at_quantile(quantile));
    json!({
        "count": histogram.len(), "min": micros(histogram.min()), "mean": histogram.mean() / 1e3,
        "stddev": histogram.stdev() / 1e3,
        "p50": at(0.5), "p75": at(0.75), "p90": at(0.9), "p95": at(0.95), "p99": at(0.99), "p999": at(0.999),
        "p9999": at(0.9999), "max": micros(histogram.max()),
    })
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

fn micros_of(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

fn sums(sums: &Sums) -> Map<String, Value> {
    match json!(sums) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn tokens(run: &Measured) -> Value {
    let sums = &run.sums;
    let (input, output) = (sums.input_tokens, sums.output_tokens);
    let each = |tokens: u64| (sums.with_usage > 0).then(|| tokens as f64 / sums.with_usage as f64);
    json!({
        "input": input, "output": output, "total": input + output,
        "input_per_s": run.per_second(input), "output_per_s": run.per_second(output),
        "total_per_s": run.per_second(input + output),
        "input_per_request": each(input), "output_per_request": each(output),
        "answers_with_usage": sums.with_usage, "per_event": sums.tokens_per_event(),
        "tpot_by_events": sums.tpot_by_events,
    })
}

fn histograms(timings: &Timings) -> Value {
    let named = Timings::NAMES.iter().zip(timings.all()).filter(|(_, histogram)| !histogram.is_empty());
    Value::Object(named.map(|(name, histogram)| ((*name).to_owned(), encode(histogram).into())).collect())
}

/// Parts of the traffic; the last one is that of all others where there are more than are told apart.
fn parts(parts: &[(Sums, Timings)], known: usize, name: impl Fn(usize) -> String) -> Value {
    let part = |(number, (part, timings)): (usize, &(Sums, Timings))| {
        let rest = known > LABELS_MAX && number + 1 == LABELS_MAX;
        let name = if rest { "others".to_owned() } else { name(number) };
        let mut fields =
            Map::from_iter([("name".to_owned(), name.into()), ("requests".to_owned(), part.total().into())]);
        fields.extend(sums(part));
        for (name, histogram) in Timings::NAMES.iter().zip(timings.all()) {
            fields.insert((*name).to_owned(), figures(histogram));
        }
        fields.insert("histograms".to_owned(), histograms(timings));
        Value::Object(fields)
    };
    parts.iter().enumerate().map(part).collect()
}

fn watched(run: &Measured) -> Value {
    run.watched().map_or(Value::Null, |watched| {
        json!({
            "cpu": micros_of(watched.cpu), "cpu_per_request": watched.cpu_per_request.map(micros_of),
            "rss": watched.resident, "rss_max": watched.resident_max,
        })
    })
}

fn health(run: &Measured) -> Value {
    let thread = |thread: &Health| {
        json!({
            "cpu": micros_of(thread.cpu), "queued": thread.queued, "unsent": thread.unsent,
            "histograms": { "late": encode(&thread.late), "turn": encode(&thread.turn) },
        })
    };
    json!({
        "late": figures(&run.late()), "turn": figures(&run.turn()), "cpu": micros_of(run.tester_cpu()),
        "queued": run.health.iter().map(|thread| thread.queued).sum::<u64>(),
        "unsent": run.health.iter().map(|thread| thread.unsent).sum::<u64>(),
        "threads": run.health.iter().map(thread).collect::<Vec<_>>(),
    })
}

/// A row of the time series. Outcomes that did not happen are left out.
fn second(row: &Second) -> Value {
    let mut fields = Map::from_iter([
        ("second".to_owned(), Value::from(row.second)),
        ("span_s".to_owned(), row.span.into()),
        ("warm_up".to_owned(), row.warm_up.into()),
        ("requests".to_owned(), row.sums.total().into()),
    ]);
    let mut sums = sums(&row.sums);
    sums.retain(|_, value| value.as_u64() != Some(0));
    if let Some(Value::Object(outcomes)) = sums.get_mut("outcomes") {
        outcomes.retain(|_, value| value.as_u64() != Some(0));
    }
    fields.extend(sums);
    fields.insert("in_flight".into(), row.in_flight.into());
    fields.insert("cpu".into(), micros_of(row.cpu).into());
    if let Some((cpu, resident)) = row.watched {
        fields.insert("watched".into(), json!({ "cpu": micros_of(cpu), "rss": resident }));
    }
    let series = row.series();
    for (name, sparse) in series.iter().filter(|(_, sparse)| sparse.count() > 0) {
        let at = |quantile: f64| sparse.quantile(quantile).map(micros);
        fields.insert((*name).into(), json!({ "p50": at(0.5), "p99": at(0.99), "max": at(1.0) }));
    }
    let whole = series.iter().filter(|(_, sparse)| sparse.count() > 0);
    let whole = whole.map(|(name, sparse): &(&str, &Sparse)| ((*name).to_owned(), encode(&sparse.whole()).into()));
    fields.insert("histograms".into(), Value::Object(whole.collect()));
    Value::Object(fields)
}
