//! Metrics as a collector has them: every family of the page under `igris.*`, and what the conventions for generative AI name
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>, read 2026-11-26). Sums and histograms are cumulative.

use super::attributes::{Attributes, SCHEMA, provider, resource, scope};
use super::proto::{
    Buckets, Data, Exponential, ExponentialPoint, Gauge, KeyValue, Metric, Metrics, NumberPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use crate::config::Otlp;
use crate::control_plane::metrics::{
    ATTEMPT_DURATION, FIRST_TOKEN, Family, Kind, Native, Page, Sample, Spread, Value, ZERO,
};
use crate::control_plane::stats::Sizes;
use crate::domain::clock::UnixMillis;

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: i32 = 2;
/// Microseconds in seconds.
const SECONDS: f64 = 1e-6;

/// When figures began, and when they were read; nanoseconds.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    time: u64,
}

/// What is sent.
pub(super) fn request(page: &Page, sizes: &Sizes, terms: &Otlp, began: UnixMillis, now: UnixMillis) -> Metrics {
    let span = Span { start: began.0 * 1_000_000, time: now.0 * 1_000_000 };
    let own = page.families.iter().map(|(family, samples)| {
        let points = samples.iter().map(|sample| (labels(family, &sample.labels), &sample.value));
        metric(name_of(family), family.help, unit(family), family.kind, points.collect(), span)
    });
    let mut metrics: Vec<Metric> = own.collect();
    metrics.extend(conventional(page, span));
    metrics.push(token_usage(sizes, span));
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
    let schema_url = SCHEMA.to_owned();
    Metrics { resource_metrics: vec![ResourceMetrics { resource: Some(resource(terms)), scope_metrics, schema_url }] }
}

/// `igris_requests_total` is `igris.requests`.
fn name_of(family: &Family) -> String {
    let base = family.base();
    let base = family.unit().and_then(|unit| base.strip_suffix(unit)).map_or(base, |base| base.trim_end_matches('_'));
    base.replacen('_', ".", 1)
}

fn unit(family: &Family) -> &'static str {
    match family.unit() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "1",
    }
}

fn labels(family: &Family, values: &[String]) -> Vec<KeyValue> {
    let mut told = Attributes::default();
    for (label, value) in family.labels.iter().zip(values) {
        told.text(&format!("igris.{label}"), value.as_str());
    }
    told.0
}

/// The families that the conventions have names for.
fn conventional(page: &Page, span: Span) -> Vec<Metric> {
    let named = [
        (&ATTEMPT_DURATION, "gen_ai.client.operation.duration", "GenAI operation duration."),
        (&FIRST_TOKEN, "gen_ai.server.time_to_first_token", "Time to generate first token for successful responses."),
    ];
    let metric_of = |(family, name, help): (&Family, &str, &'static str)| {
        let (_, samples) = page.families.iter().find(|(known, _)| known.name == family.name)?;
        let point = |sample: &Sample| {
            let [provider, model] = [0, 1].map(|place| sample.labels.get(place).map_or("", String::as_str));
            genai(provider, model).0
        };
        let points = samples.iter().map(|sample| (point(sample), &sample.value)).collect();
        Some(metric(name.to_owned(), help, "s", Kind::Histogram, points, span))
    };
    named.into_iter().filter_map(metric_of).collect()
}

fn genai(name: &str, model: &str) -> Attributes {
    let mut told = Attributes::default();
    told.text("gen_ai.operation.name", "chat")
        .text("gen_ai.provider.name", provider(name))
        .text("gen_ai.request.model", model);
    told
}

fn token_usage(sizes: &Sizes, span: Span) -> Metric {
    let points = sizes.iter().flat_map(|(name, model, both)| {
        ["input", "output"].into_iter().zip(both).map(move |(kind, sizes)| {
            let mut told = genai(name, model);
            told.text("gen_ai.token.type", kind);
            point(told.0, &Spread::in_units(sizes, 1.0), 1.0, span)
        })
    });
    let data = Exponential { data_points: points.collect(), aggregation_temporality: CUMULATIVE };
    Metric {
        name: "gen_ai.client.token.usage".to_owned(),
        description: "Number of input and output tokens used.".to_owned(),
        unit: "{token}".to_owned(),
        data: Some(Data::Exponential(data)),
    }
}

fn metric(
    name: String,
    help: &str,
    unit: &str,
    kind: Kind,
    points: Vec<(Vec<KeyValue>, &Value)>,
    span: Span,
) -> Metric {
    let (mut numbers, mut spreads) = (Vec::new(), Vec::new());
    for (attributes, value) in points {
        let (as_int, as_double) = match value {
            Value::Count(count) => (Some(i64::try_from(*count).unwrap_or(i64::MAX)), None),
            Value::Number(number) => (None, Some(*number)),
            Value::Spread(spread) => {
                spreads.push(point(attributes, spread, SECONDS, span));
                continue;
            }
        };
        let Span { start, time } = span;
        let start_time_unix_nano = if kind == Kind::Counter { start } else { 0 };
        numbers.push(NumberPoint { start_time_unix_nano, time_unix_nano: time, as_double, as_int, attributes });
    }
    let data = match kind {
        Kind::Histogram => Data::Exponential(Exponential { data_points: spreads, aggregation_temporality: CUMULATIVE }),
        Kind::Counter => {
            Data::Sum(Sum { data_points: numbers, aggregation_temporality: CUMULATIVE, is_monotonic: true })
        }
        Kind::Gauge | Kind::Info => Data::Gauge(Gauge { data_points: numbers }),
    };
    Metric { name, description: help.to_owned(), unit: unit.to_owned(), data: Some(data) }
}

fn point(attributes: Vec<KeyValue>, spread: &Spread, unit: f64, span: Span) -> ExponentialPoint {
    let native = spread.native(unit);
    ExponentialPoint {
        attributes,
        start_time_unix_nano: span.start,
        time_unix_nano: span.time,
        count: spread.count(),
        sum: Some(spread.sum),
        scale: native.schema,
        zero_count: native.zero,
        positive: Some(dense(&native)),
        zero_threshold: ZERO,
    }
}

/// From the first bucket that has any to the last; a bucket is numbered by where it begins, not by where it ends.
fn dense(native: &Native) -> Buckets {
    let Some((first, _)) = native.buckets.first() else { return Buckets { offset: 0, bucket_counts: Vec::new() } };
    let mut bucket_counts = Vec::new();
    for (index, count) in &native.buckets {
        bucket_counts.resize((index - first) as usize, 0);
        bucket_counts.push(*count);
    }
    Buckets { offset: first - 1, bucket_counts }
}
