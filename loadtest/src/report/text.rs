//! The summary that a run ends with on a terminal.

use super::Report;
use crate::measure::{LABELS_MAX, Measured, Outcome, Sums, Timings, duration};
use hdrhistogram::Histogram;
use std::fmt::{self, Write as _};

/// Quantiles of the table, and how they are called.
pub(super) const COLUMNS: [(&str, f64); 7] =
    [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Parts of the traffic that the summary names; the rest are in the JSON.
const PARTS_MAX: usize = 8;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(self, out)?;
        for (outcome, count) in self.outcomes() {
            writeln!(out, "  {:<16}{count:>10}", outcome.name())?;
        }
        if self.measured.sums.verified > 0 {
            writeln!(out, "  {:<16}{:>10}", "(verified)", self.measured.sums.verified)?;
        }
        table(&self.measured, out)?;
        tokens(self, out)?;
        goodput(self, out)?;
        parts(self, out)?;
        watched(&self.measured, out)?;
        rig(self, out)?;
        thresholds(self, out)?;
        self.measured.failures.iter().try_for_each(|sample| writeln!(out, "failure: {sample}"))
    }
}

fn head(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let run = &report.measured;
    let seconds = run.elapsed.as_secs_f64();
    write!(out, "{} requests in {seconds:.3} s, {:.1} a second", run.sums.total(), run.rate())?;
    if let Some(planned) = report.plan.planned_rate() {
        write!(out, " of {planned:.1} planned")?;
    }
    if run.measured < run.elapsed {
        write!(out, "; {} of warm-up not counted", report.plan.warm_up)?;
    }
    if run.stopped {
        write!(out, "; stopped, {} of {} planned requests sent", run.sums.total(), run.planned)?;
    }
    writeln!(out)
}

/// What the rows of a table of latencies are called for people, in order.
pub(super) fn rows(run: &Measured) -> Vec<(&'static str, Histogram<u64>)> {
    let timings = &run.timings;
    let rows = [
        ("first token", Some(timings.ttft.clone())),
        ("whole answer", Some(timings.e2e.clone())),
        ("between events", Some(timings.gap.clone())),
        ("between tokens", run.itl()),
        ("per output token", Some(timings.tpot.clone())),
        ("sent late by", Some(timings.send_delay.clone())),
        ("sent to 1st token", Some(timings.service_ttft.clone())),
        ("connecting", Some(timings.connect.clone())),
        ("gateway's own", Some(timings.overhead.clone())),
    ];
    let there = |(name, histogram): (_, Option<Histogram<u64>>)| Some((name, histogram?));
    rows.into_iter().filter_map(there).filter(|(_, histogram)| !histogram.is_empty()).collect()
}

fn table(run: &Measured, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let rows = rows(run);
    if rows.is_empty() {
        return Ok(());
    }
    write!(out, "{:<18}", "")?;
    COLUMNS.iter().try_for_each(|(name, _)| write!(out, "{name:>11}"))?;
    writeln!(out, "  us")?;
    for (name, histogram) in rows {
        write!(out, "{name:<18}")?;
        for (_, quantile) in COLUMNS {
            write!(out, "{:>11.1}", histogram.value_at_quantile(quantile) as f64 / 1e3)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn tokens(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let run = &report.measured;
    let sums = &run.sums;
    if sums.with_usage > 0 {
        write!(
            out,
            "tokens: {} in, {} out; {:.1} out a second",
            sums.input_tokens,
            sums.output_tokens,
            run.per_second(sums.output_tokens)
        )?;
        if let Some(ratio) = sums.tokens_per_event() {
            write!(out, "; {ratio:.2} an event")?;
        }
        writeln!(out)?;
    } else if sums.generated > 0 {
        writeln!(
            out,
            "tokens: no answer stated its usage; {} events with tokens, {:.1} a second (ask for usage with --include-usage)",
            sums.generated,
            run.per_second(sums.generated)
        )?;
    }
    if sums.tpot_by_events > 0 {
        writeln!(
            out,
            "        in {} streams an event stood for a token in the time per output token",
            sums.tpot_by_events
        )?;
    }
    Ok(())
}

fn goodput(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (objectives, run) = (&report.plan.objectives, &report.measured);
    let Some(share) = run.goodput().filter(|_| !objectives.is_empty()) else {
        return Ok(());
    };
    let bounds: Vec<_> = objectives.iter().map(ToString::to_string).collect();
    writeln!(
        out,
        "goodput: {:.2} % of {} planned hold {}; {:.1} a second",
        share * 100.0,
        run.planned,
        bounds.join(" "),
        run.per_second(run.sums.good)
    )
}

fn parts(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let run = &report.measured;
    for (what, parts, known) in
        [("share", &run.by_share, report.plan.traffic.len()), ("tenant", &run.by_tenant, report.plan.tenants.len())]
    {
        if parts.len() < 2 {
            continue;
        }
        for (number, part) in parts.iter().enumerate().take(PARTS_MAX) {
            let rest = known > LABELS_MAX && number + 1 == LABELS_MAX;
            let name = match what {
                _ if rest => "others".to_owned(),
                "share" => report.share_name(number),
                _ => report.tenant_name(number),
            };
            writeln!(out, "{what} {name}: {}", part_line(part))?;
        }
        if parts.len() > PARTS_MAX {
            writeln!(out, "        and {} more, in the JSON", parts.len() - PARTS_MAX)?;
        }
    }
    Ok(())
}

fn part_line((sums, timings): &(Sums, Timings)) -> String {
    let mut line = format!("{} requests, {} ok", sums.total(), sums.ended(Outcome::Ok));
    for (name, histogram) in [("first token", &timings.ttft), ("whole", &timings.e2e)] {
        if !histogram.is_empty() {
            let at = |quantile| duration(histogram.value_at_quantile(quantile) as f64 / 1e3);
            // Writing to memory does not fail.
            let _ = write!(line, "; {name} p50 {}, p99 {}", at(0.5), at(0.99));
        }
    }
    line
}

fn watched(run: &Measured, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(watched) = run.watched() else {
        return Ok(());
    };
    write!(out, "watched process: {:.2} s of CPU", watched.cpu.as_secs_f64())?;
    if let Some(each) = watched.cpu_per_request {
        write!(out, ", {:.1} us a request", each.as_secs_f64() * 1e6)?;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(out, "; {:.1} MiB resident, {:.1} at most", mib(watched.resident), mib(watched.resident_max))
}

fn rig(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let run = &report.measured;
    let (late, turn) = (run.late(), run.turn());
    let p99 = |histogram: &Histogram<u64>| duration(histogram.value_at_quantile(0.99) as f64 / 1e3);
    let cpu = run.tester_cpu().as_secs_f64() / run.elapsed.as_secs_f64().max(1e-9) * 100.0;
    write!(out, "tester: {cpu:.0} % of a core")?;
    if !late.is_empty() {
        write!(out, ", arrivals late by {} (p99)", p99(&late))?;
    }
    if !turn.is_empty() {
        write!(out, ", a turn of its loop {} (p99)", p99(&turn))?;
    }
    let queued: u64 = run.health.iter().map(|thread| thread.queued).sum();
    if queued > 0 {
        write!(out, ", {queued} waited for a connection")?;
    }
    if run.sums.connections > 0 {
        write!(out, ", {} connections opened", run.sums.connections)?;
    }
    writeln!(out)?;
    writeln!(out, "result: {}", report.stamp)
}

fn thresholds(report: &Report, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if report.thresholds.is_empty() {
        return Ok(());
    }
    let width = report.thresholds.iter().map(|judged| judged.threshold.len()).max().unwrap_or(0);
    for judged in &report.thresholds {
        let word = if judged.held { "held" } else { "MISSED" };
        writeln!(out, "{word:<7}{:<width$}  {}", judged.threshold, judged.says)?;
    }
    Ok(())
}
