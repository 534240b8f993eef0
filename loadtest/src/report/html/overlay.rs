//! Several runs as one document: their curves over each other and their figures side by side. It shows and does not judge:
//! whether one is better than another is `igris-load compare`'s to say.

use super::account::curves;
use super::course::course;
use super::{Block, Card, Document, Section, Table, Tint, Value};
use crate::measure::{Measured, Outcome, Stamp};
use crate::report::svg::{Curve, percentiles, unit};
use crate::report::{Report, utc};
use hdrhistogram::Histogram;

/// What of a run is laid over the same of another, with the way to it.
type Metric = (&'static str, fn(&Measured) -> &Histogram<u64>);

const METRICS: [Metric; 4] = [
    ("TTFT", |run| &run.timings.ttft),
    ("E2E", |run| &run.timings.e2e),
    ("Gap between events", |run| &run.timings.gap),
    ("TPOT", |run| &run.timings.tpot),
];

/// The document of several runs, each with the name it goes by.
pub fn overlay(runs: &[(String, Report)]) -> Document {
    let cards = runs.iter().map(|(name, report)| {
        let ttft = &report.measured.timings.ttft;
        let value = if ttft.is_empty() { "–".into() } else { unit::time(ttft.value_at_quantile(0.5) as f64) };
        let rate = unit::count(report.measured.rate());
        Card { name: format!("{name}: TTFT p50"), value, note: format!("{rate} / s, {}", report.stamp.word()) }
    });
    let plots = METRICS.iter().filter_map(|metric| overlaid(runs, metric)).collect();
    let each = runs.iter().map(|(name, report)| {
        let course = course(&report.plan, &report.measured);
        let mut plots = vec![course.rate(), course.latency()];
        if curves(&report.measured).is_empty() {
            plots.clear();
        }
        Section { title: name.clone(), blocks: plots.into_iter().map(|plot| Block::Plot(Box::new(plot))).collect() }
    });
    let mut sections = vec![
        Section { title: "Percentiles over each other".into(), blocks: plots },
        Section { title: "Side by side".into(), blocks: vec![Block::Table(beside(runs)), Block::Table(stamps(runs))] },
    ];
    sections.extend(each);
    sections.retain(|section| !section.blocks.is_empty());
    let names: Vec<&str> = runs.iter().map(|(name, _)| name.as_str()).collect();
    Document {
        title: format!("{} runs side by side", runs.len()),
        facts: vec![("runs".into(), names.join(", "))],
        stamp: None,
        cards: cards.collect(),
        sections,
    }
}

fn overlaid(runs: &[(String, Report)], (name, of): &Metric) -> Option<Block> {
    let curve = |(tone, (run, report)): (usize, &(String, Report))| Curve::of(run, tone, of(&report.measured));
    let curves: Vec<Curve> = runs.iter().enumerate().filter_map(curve).collect();
    (!curves.is_empty()).then(|| Block::Plot(Box::new(percentiles(&format!("{name} by percentile"), &curves))))
}

fn beside(runs: &[(String, Report)]) -> Table {
    let mut head = vec!["figure".to_owned()];
    head.extend(runs.iter().map(|(name, _)| name.clone()));
    let mut rows = Vec::new();
    let mut row = |name: &str, of: &dyn Fn(&Report) -> String| {
        let mut row = vec![Value::tinted(name, Tint::Words)];
        row.extend(runs.iter().map(|(_, report)| of(report).into()));
        rows.push(row);
    };
    row("requests each second", &|report| unit::count(report.measured.rate()));
    row("planned", &|report| unit::whole(report.measured.planned));
    row("ended ok", &|report| unit::whole(report.measured.sums.ended(Outcome::Ok)));
    row("failed", &|report| unit::percent(report.measured.error_rate().unwrap_or(0.0)));
    row("goodput", &|report| report.measured.goodput().map_or_else(|| "–".into(), unit::percent));
    row("output tokens each second", &|report| {
        unit::count(report.measured.per_second(report.measured.sums.output_tokens))
    });
    for (metric, of) in METRICS {
        if runs.iter().all(|(_, report)| of(&report.measured).is_empty()) {
            continue;
        }
        for (quantile, name) in [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")] {
            row(&format!("{metric} {name}"), &|report| {
                let histogram = of(&report.measured);
                if histogram.is_empty() {
                    "–".into()
                } else {
                    unit::time(histogram.value_at_quantile(quantile) as f64)
                }
            });
        }
    }
    Table { caption: "Figures side by side".into(), head, rows, note: String::new() }
}

fn stamps(runs: &[(String, Report)]) -> Table {
    let rows = runs.iter().map(|(name, report)| {
        let why: Vec<&str> = report.stamp.reasons().iter().map(|reason| reason.says.as_str()).collect();
        let tint = if matches!(report.stamp, Stamp::Valid) { Tint::Good } else { Tint::Bad };
        vec![
            Value::tinted(name.as_str(), Tint::Words),
            Value::tinted(report.stamp.word(), tint),
            Value::tinted(why.join(" "), Tint::Words),
            Value::tinted(report.target(), Tint::Words),
            Value::tinted(utc(report.started), Tint::Words),
        ]
    });
    Table {
        caption: "Whether to believe them".into(),
        head: ["run", "stamp", "why", "target", "started"].map(String::from).into(),
        rows: rows.collect(),
        note: "This page shows and does not judge: `igris-load compare` says whether a difference is more than noise."
            .into(),
    }
}
