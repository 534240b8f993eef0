//! One run as a document.

use super::course::course;
use super::figures;
use super::{Block, Card, Document, Section, Table, Tint, Value};
use crate::measure::stamp::notes;
use crate::measure::{Measured, Outcome};
use crate::report::svg::{Bar, Course, Curve, Plot, percentiles, unit};
use crate::report::{Report, utc};

/// The document of a run.
pub fn document(report: &Report) -> Document {
    let course = course(&report.plan, &report.measured);
    Document {
        title: title(report),
        facts: facts(report),
        stamp: Some(report.stamp.clone()),
        cards: cards(report),
        sections: vec![plots(report, &course), judgements(report), tables(report), rig(report), again(report)],
    }
    .without_empty()
}

impl Document {
    /// Without sections that have nothing to show.
    fn without_empty(mut self) -> Self {
        self.sections.retain(|section| !section.blocks.is_empty());
        self
    }
}

fn title(report: &Report) -> String {
    let plan = &report.plan;
    let what = if plan.name.is_empty() { "Load" } else { &plan.name };
    match plan.planned_rate() {
        Some(rate) => format!("{what} at {} requests a second", unit::count(rate)),
        None if plan.arrivals.is_open() => format!("{what} on a schedule"),
        None => format!("{what} in a closed loop of {}", unit::whole(plan.connections as u64)),
    }
}

fn facts(report: &Report) -> Vec<(String, String)> {
    let mut models: Vec<&str> = report.plan.traffic.iter().map(|share| share.model.as_str()).collect();
    models.dedup();
    let streams = report.plan.traffic.iter().filter(|share| share.stream).count();
    let kind = match streams {
        0 => "whole answers",
        _ if streams == report.plan.traffic.len() => "streams",
        _ => "streams and whole answers",
    };
    let measured = report.measured.measured.as_secs_f64();
    let mut length = format!("{} measured", unit::clock(measured));
    if report.measured.stopped {
        length.push_str(", stopped early");
    }
    let machine = &report.machine;
    let pairs = [
        ("target", report.target().to_owned()),
        ("model", models.join(", ")),
        ("answers", kind.to_owned()),
        ("length", length),
        ("started", utc(report.started)),
        ("machine", format!("{}, {} cores", machine.cpu, machine.cores)),
        ("igris-load", report.version.clone()),
    ];
    pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(word, value)| (word.into(), value)).collect()
}

fn cards(report: &Report) -> Vec<Card> {
    let run = &report.measured;
    let card = |name: &str, value: String, note: String| Card { name: name.into(), value, note };
    let mut cards = Vec::new();
    for (name, histogram) in
        [("TTFT p50", &run.timings.ttft), ("E2E p50", &run.timings.e2e), ("TPOT p50", &run.timings.tpot)]
    {
        if !histogram.is_empty() {
            let [p50, p99] = [0.5, 0.99].map(|quantile| unit::time(histogram.value_at_quantile(quantile) as f64));
            cards.push(card(name, p50, format!("p99 {p99}")));
        }
    }
    let planned = format!("{} ended of {} planned", unit::whole(run.sums.total()), unit::whole(run.planned));
    cards.push(card("requests", format!("{} / s", unit::count(run.rate())), planned));
    if let (Some(goodput), false) = (run.goodput(), report.plan.objectives.is_empty()) {
        let bounds: Vec<_> = report.plan.objectives.iter().map(ToString::to_string).collect();
        cards.push(card("goodput", unit::percent(goodput), bounds.join(", ")));
    }
    if run.sums.output_tokens > 0 {
        let each = run.sums.output_tokens as f64 / run.sums.with_usage.max(1) as f64;
        let rate = format!("{} / s", unit::count(run.per_second(run.sums.output_tokens)));
        cards.push(card("output tokens", rate, format!("{} an answer", unit::count(each))));
    }
    cards.push(card("failed", unit::percent(run.error_rate().unwrap_or(0.0)), failures_in_words(run)));
    if let Some(watched) = run.watched() {
        let each = watched.cpu_per_request.map_or_else(|| "–".into(), |time| unit::time(time.as_nanos() as f64));
        let memory = format!("at most {} resident", unit::bytes(watched.resident_max as f64));
        cards.push(card("CPU a request", each, memory));
    }
    cards
}

/// The kinds of failures there were, the most frequent first.
fn failures_in_words(run: &Measured) -> String {
    let mut kinds: Vec<_> =
        Outcome::ALL.into_iter().filter(|kind| *kind != Outcome::Ok && run.sums.ended(*kind) > 0).collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(run.sums.ended(*kind)));
    if kinds.is_empty() {
        return "every request ended ok".into();
    }
    let named: Vec<_> =
        kinds.iter().map(|kind| format!("{} {}", unit::whole(run.sums.ended(*kind)), kind.name())).collect();
    named.join(", ")
}

/// The curves of a run's latencies, as far as there are any.
pub(super) fn curves(run: &Measured) -> Vec<Curve> {
    let timings = &run.timings;
    let all = [("TTFT", &timings.ttft), ("E2E", &timings.e2e), ("gap", &timings.gap), ("TPOT", &timings.tpot)];
    let curves = all.into_iter().enumerate().filter_map(|(tone, (name, histogram))| Curve::of(name, tone, histogram));
    let mut curves: Vec<Curve> = curves.collect();
    // The first token of a whole answer comes with its last byte: one line says so.
    if let [ttft, e2e, ..] = curves.as_mut_slice()
        && ttft.points == e2e.points
    {
        ttft.name = "TTFT = E2E".into();
        curves.remove(1);
    }
    curves
}

fn plots(report: &Report, course: &Course) -> Section {
    let mut blocks = Vec::new();
    let curves = curves(&report.measured);
    if !curves.is_empty() {
        let mut plot = percentiles("Latency by percentile", &curves);
        plot.strip = Some(course.strip());
        blocks.push(Block::Plot(Box::new(plot)));
    }
    let boxed = |plot: Plot| Block::Plot(Box::new(plot));
    if !course.moments.is_empty() {
        blocks.extend(course.plots().into_iter().map(boxed));
    }
    let bars: Vec<Bar> = Outcome::ALL
        .into_iter()
        .filter(|outcome| *outcome == Outcome::Ok || report.measured.sums.ended(*outcome) > 0)
        .enumerate()
        .map(|(tone, outcome)| Bar { name: outcome.name().into(), count: report.measured.sums.ended(outcome), tone })
        .collect();
    blocks.push(Block::Bars("Outcomes, warm-up left out".into(), bars));
    Section { title: "Plots".into(), blocks }
}

/// Thresholds, and what is worth knowing before a figure is quoted.
fn judgements(report: &Report) -> Section {
    let mut blocks = Vec::new();
    if !report.thresholds.is_empty() {
        let rows = report.thresholds.iter().map(|judged| {
            let (word, tint) = if judged.held { ("held", Tint::Good) } else { ("missed", Tint::Bad) };
            vec![
                Value::tinted(judged.threshold.as_str(), Tint::Words),
                Value::tinted(judged.says.as_str(), Tint::Words),
                Value::tinted(word, tint),
            ]
        });
        blocks.push(Block::Table(Table {
            caption: "Thresholds".into(),
            head: ["threshold", "found", "verdict"].map(String::from).into(),
            rows: rows.collect(),
            note: String::new(),
        }));
    }
    for note in notes(report.measured.timings.e2e.len()) {
        blocks.push(Block::Words(format!("{} {}", note.says, note.remedy)));
    }
    Section { title: "Judgement".into(), blocks }
}

fn tables(report: &Report) -> Section {
    let (plan, run) = (&report.plan, &report.measured);
    let mut blocks = vec![Block::Table(figures::latency_table(run)), Block::Table(figures::volumes(run))];
    if run.by_share.len() > 1 {
        let names: Vec<String> = (0..run.by_share.len()).map(|number| report.share_name(number)).collect();
        blocks.push(Block::Table(figures::parts("By share of the traffic", "share", &names, &run.by_share)));
    }
    if run.by_tenant.len() > 1 {
        let names: Vec<String> = (0..plan.tenants.len()).map(|number| report.tenant_name(number)).collect();
        blocks.push(Block::Table(figures::parts("By tenant", "tenant", &names, &run.by_tenant)));
    }
    blocks.extend(figures::statuses(run).map(Block::Table));
    if !run.failures.is_empty() {
        let rows = run.failures.iter().enumerate();
        let rows =
            rows.map(|(number, text)| vec![(number + 1).to_string().into(), Value::tinted(text.as_str(), Tint::Words)]);
        blocks.push(Block::Table(Table {
            caption: "What the first failures looked like".into(),
            head: ["number", "failure"].map(String::from).into(),
            rows: rows.collect(),
            note: String::new(),
        }));
    }
    Section { title: "Figures".into(), blocks }
}

fn rig(report: &Report) -> Section {
    let machine = &report.machine;
    let rows = [
        ("processor", machine.cpu.clone()),
        ("cores the tester may use", machine.cores.to_string()),
        ("kernel", machine.kernel.clone()),
        ("frequency governor", machine.governor.clone()),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    let machine = Table {
        caption: "The machine it ran on".into(),
        head: ["what", "value"].map(String::from).into(),
        rows: rows
            .map(|(name, value)| vec![Value::tinted(name, Tint::Words), Value::tinted(value, Tint::Words)])
            .collect(),
        note: String::new(),
    };
    Section {
        title: "The rig".into(),
        blocks: vec![Block::Table(figures::health(&report.measured)), Block::Table(machine)],
    }
}

fn again(report: &Report) -> Section {
    let words = "Save this as FILE.toml and run: igris-load run --scenario FILE.toml. Access keys are named by their variables only.";
    let text = report.plan.resolved();
    let blocks = vec![Block::Words(words.into()), Block::Copy("The plan of this run".into(), text)];
    Section { title: "Run it again".into(), blocks }
}
