//! A result as Markdown: for a pull request, a wiki or a chat.

use super::text::{COLUMNS, rows};
use super::{Report, utc};
use std::fmt::Write as _;

/// The result as Markdown: tables that also read as plain text.
pub fn write(report: &Report) -> String {
    let mut out = String::new();
    // Writing to memory does not fail.
    let _ = compose(report, &mut out);
    out
}

fn compose(report: &Report, out: &mut String) -> std::fmt::Result {
    let run = &report.measured;
    writeln!(out, "## {}\n", escape(report.title()))?;
    writeln!(
        out,
        "**{}** · {} requests in {:.1} s, {:.1} a second · {} · {} · igris-load {}\n",
        report.stamp.word(),
        run.sums.total(),
        run.elapsed.as_secs_f64(),
        run.rate(),
        escape(report.target()),
        utc(report.started),
        escape(&report.version)
    )?;
    for reason in report.stamp.reasons() {
        writeln!(out, "- {}", escape(&reason.to_string()))?;
    }
    write!(out, "\n| ms |")?;
    COLUMNS.iter().try_for_each(|(name, _)| write!(out, " {name} |"))?;
    writeln!(out, "\n|---|{}", "---:|".repeat(COLUMNS.len()))?;
    for (name, histogram) in rows(run) {
        write!(out, "| {name} |")?;
        for (_, quantile) in COLUMNS {
            write!(out, " {:.3} |", histogram.value_at_quantile(quantile) as f64 / 1e6)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "\n| outcome | requests |\n|---|---:|")?;
    for (outcome, count) in report.outcomes() {
        writeln!(out, "| {} | {count} |", outcome.name())?;
    }
    let sums = &run.sums;
    if sums.with_usage > 0 {
        let each = run.per_second(sums.output_tokens);
        writeln!(out, "\n{} tokens in, {} out, {each:.1} out a second.", sums.input_tokens, sums.output_tokens)?;
    }
    if let Some(share) = run.goodput().filter(|_| !report.plan.objectives.is_empty()) {
        let bounds: Vec<_> = report.plan.objectives.iter().map(|bound| format!("`{bound}`")).collect();
        writeln!(out, "\nGoodput: {:.2} % of {} planned hold {}.", share * 100.0, run.planned, bounds.join(" "))?;
    }
    if !report.thresholds.is_empty() {
        writeln!(out, "\n| threshold | | found |\n|---|---|---|")?;
        for judged in &report.thresholds {
            let word = if judged.held { "held" } else { "**missed**" };
            writeln!(out, "| `{}` | {word} | {} |", judged.threshold, escape(&judged.says))?;
        }
    }
    let machine = &report.machine;
    writeln!(out, "\n{}, {} cores, Linux {}.", escape(&machine.cpu), machine.cores, escape(&machine.kernel))
}

/// Words from elsewhere, so that none of them is markup.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => out.push(' '),
            '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '#' | '\\' => out.extend(['\\', letter]),
            _ => out.push(letter),
        }
    }
    out
}
