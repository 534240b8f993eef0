//! A result of overhead as a page and as a picture: what each gateway adds at every percentile, and where on the way it does.

use super::result::{Added, Measure, Overhead, Spread};
use crate::report::html::{Block, Card, Document, Section, Table, Tint, Value};
use crate::report::svg::{Curve, Shift, paths, shifts, unit};
use crate::stats::{BEYOND_MIN, Estimate};

/// Microseconds to the nanoseconds that plots take.
const NANOS: f64 = 1e3;

/// The document of a result.
pub fn document(result: &Overhead) -> Document {
    let names: Vec<&str> = result.targets.iter().skip(1).map(|target| target.name.as_str()).collect();
    let kind = if result.stream { "streams" } else { "unary requests" };
    let mut sections = Vec::new();
    if let Some(headline) = result.headline() {
        let plot = shift_plot("Added latency", headline, result.confidence);
        sections.push(Section {
            title: "What each adds".into(),
            blocks: vec![plot, path_plot(headline), Block::Table(added_table(result))],
        });
    }
    let mut blocks = Vec::new();
    for (name, title) in [
        ("request_path", "Added on the way in"),
        ("answer_path", "Added on the way back"),
        ("gap", "Added to gaps between events"),
    ] {
        blocks.extend(result.measure(name).map(|measure| shift_plot(title, measure, result.confidence)));
    }
    blocks.push(Block::Table(point_table(result)));
    sections.push(Section { title: "Where it is spent".into(), blocks });
    sections.push(Section { title: "How it was measured".into(), blocks: how(result) });
    Document {
        title: format!("Added latency: {}", names.join(" and ")),
        facts: vec![
            ("pairs".into(), format!("{} pairs of {kind}, direct and through", unit::whole(result.pairs))),
            ("rate".into(), format!("{} pairs / s", unit::count(result.rate))),
            ("took".into(), unit::clock(result.elapsed_s)),
            ("connections".into(), format!("{} connections a target", result.lanes)),
        ],
        stamp: Some(result.stamp.clone()),
        cards: cards(result),
        sections,
    }
}

/// What each gateway adds at the median and at p99.
fn cards(result: &Overhead) -> Vec<Card> {
    let added = result.headline().into_iter().flat_map(|measure| &measure.added);
    let card = |added: &Added, q: f64| {
        let shift = added.shift(q)?;
        let (low, high) = (unit::time(shift.low * NANOS), unit::time(shift.high * NANOS));
        let name = format!("{} adds at {}", added.name, quantile_name(q));
        Some(Card { name, value: unit::time(shift.value * NANOS), note: format!("{low} … {high}") })
    };
    added.flat_map(|added| [card(added, 0.5), card(added, 0.99)]).flatten().collect()
}

fn shift_plot(title: &str, measure: &Measure, confidence: f64) -> Block {
    let shift = |added: &Added| Shift {
        name: added.name.clone(),
        points: added
            .shifts
            .iter()
            .filter_map(|(q, shift)| shift.map(|s| (*q, s.value * NANOS, s.low * NANOS, s.high * NANOS)))
            .collect(),
    };
    let all: Vec<Shift> = measure.added.iter().map(shift).filter(|shift| !shift.points.is_empty()).collect();
    let mut plot = shifts("latency", confidence, &all);
    plot.about = plot.about.replace(&plot.title, title);
    plot.title = format!("{title}, with {} intervals", unit::percent(confidence));
    // A target has one colour in all plots; the first is that of the direct path.
    plot.layers.iter_mut().for_each(|layer| layer.tone += 1);
    Block::Plot(Box::new(plot))
}

fn path_plot(measure: &Measure) -> Block {
    let names = std::iter::once("direct").chain(measure.added.iter().map(|added| added.name.as_str()));
    let curve = |(tone, (name, spread)): (usize, (&str, &Spread))| Curve {
        name: name.into(),
        tone,
        count: spread.count,
        points: points(spread),
    };
    let curves: Vec<Curve> = names.zip(&measure.at).enumerate().map(curve).filter(|curve| curve.count > 0).collect();
    Block::Plot(Box::new(paths(&measure.name, &curves)))
}

/// 1 / (1 - quantile) and the value, up to the largest one of all.
fn points(spread: &Spread) -> Vec<(f64, f64)> {
    let last = (spread.count as f64).max(1.0);
    let inner = spread.curve.iter().map(|(q, value)| (1.0 / (1.0 - q).max(1e-12), value * NANOS));
    let mut points: Vec<(f64, f64)> = inner.filter(|(x, _)| *x < last).collect();
    points.push((last, spread.max * NANOS));
    points
}

fn added_table(result: &Overhead) -> Table {
    let quantiles = [0.5, 0.9, 0.99, 0.999];
    let mut head: Vec<String> = ["target", "quantity", "typical", "mean"].map(String::from).into();
    head.extend(quantiles.map(quantile_name));
    let mut rows = Vec::new();
    for number in 0..result.targets.len().saturating_sub(1) {
        for measure in &result.measures {
            let Some(added) = measure.added.get(number) else { continue };
            let mut row = vec![Value::tinted(&*added.name, Tint::Words), Value::tinted(&*measure.name, Tint::Words)];
            row.extend([added.typical, added.mean].map(interval));
            row.extend(quantiles.map(|q| interval(added.shift(q))));
            rows.push(row);
        }
    }
    let percent = unit::percent(result.confidence);
    Table {
        caption: "Added to the direct path".into(),
        head,
        rows,
        note: format!(
            "Intervals cover the truth in {percent} of runs. Typical is the shift within pairs (Hodges and Lehmann); under \
             p50 to p99.9 stand differences of quantiles (bootstrap). A dash: fewer than ten values lie beyond."
        ),
    }
}

fn point_table(result: &Overhead) -> Table {
    let mut head: Vec<String> = ["quantity", "target"].map(String::from).into();
    head.extend(["p50", "p90", "p99", "p99.9", "mean"].map(String::from));
    let mut rows = Vec::new();
    for measure in &result.measures {
        for (target, spread) in result.targets.iter().zip(&measure.at) {
            let mut row = vec![Value::tinted(&*measure.name, Tint::Words), Value::tinted(&*target.name, Tint::Words)];
            row.extend([0.5, 0.9, 0.99, 0.999].map(|q| {
                let known = spread.at(q).filter(|_| spread.count as f64 * (1.0 - q) >= BEYOND_MIN - 1e-6);
                Value::from(known.map_or_else(|| "–".to_owned(), |value| unit::time(value * NANOS)))
            }));
            row.push(unit::time(spread.mean * NANOS).into());
            rows.push(row);
        }
    }
    let what: Vec<String> =
        result.measures.iter().map(|measure| format!("{}: {}", measure.name, measure.what)).collect();
    Table { caption: "Every quantity at every target".into(), head, rows, note: format!("{}.", what.join("; ")) }
}

fn how(result: &Overhead) -> Vec<Block> {
    let mut blocks = vec![Block::Words(
        "Each pair is one request to every target, in an order drawn for the pair, over warm connections. Its clock starts at \
         the send, or at the planned instant where its connection was still busy."
            .into(),
    )];
    blocks.extend(result.untold.iter().map(|line| Block::Words(format!("Not told: {line}."))));
    let rows = result.targets.iter().map(|target| {
        let failed = target.sent - target.ok;
        vec![
            Value::tinted(&*target.name, Tint::Words),
            Value::tinted(&*target.url, Tint::Words),
            unit::whole(target.sent).into(),
            unit::whole(target.ok).into(),
            Value::tinted(unit::whole(failed), if failed > 0 { Tint::Bad } else { Tint::Plain }),
            unit::whole(target.held).into(),
        ]
    });
    blocks.push(Block::Table(Table {
        caption: "Requests".into(),
        head: ["target", "URL", "sent", "ok", "failed", "held"].map(String::from).into(),
        rows: rows.collect(),
        note: "Held: its connection was still busy when it was due.".into(),
    }));
    if !result.limits.is_empty() {
        blocks.push(Block::Table(limit_table(result)));
    }
    blocks.push(Block::Copy("To run it again".into(), result.rerun.clone()));
    blocks
}

fn limit_table(result: &Overhead) -> Table {
    let rows = result.limits.iter().map(|limit| {
        let (word, tint) = match limit.holds {
            Some(true) => ("holds", Tint::Good),
            Some(false) => ("broken", Tint::Bad),
            None => ("cannot be told", Tint::Words),
        };
        vec![
            Value::tinted(&*limit.name, Tint::Words),
            quantile_name(limit.quantile).into(),
            unit::time(limit.max_us * NANOS).into(),
            interval(limit.found),
            Value::tinted(word, tint),
        ]
    });
    Table {
        caption: "Limits".into(),
        head: ["target", "quantile", "at most", "found", ""].map(String::from).into(),
        rows: rows.collect(),
        note: String::new(),
    }
}

fn interval(estimate: Option<Estimate>) -> Value {
    let time = |micros: f64| unit::time(micros * NANOS);
    let text = estimate.map(|Estimate { value, low, high }| format!("{} [{}, {}]", time(value), time(low), time(high)));
    text.unwrap_or_else(|| "–".into()).into()
}

fn quantile_name(q: f64) -> String {
    format!("p{}", (q * 1000.0).round() / 10.0)
}
