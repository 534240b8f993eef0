//! `igris-load compare`.

use super::outputs::write;
use super::{Fault, Verdict};
use anyhow::{Context as _, ensure};
use clap::Args;
use igris_load::compare::{Comparison, Metric, Run, Tolerance, Word, compare, differences, invalid, usual_metrics};
use igris_load::report::Report;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompareArguments {
    /// Results of `igris-load run --json`: the first is the baseline A and the second is B.
    #[arg(value_name = "A.json B.json", num_args = 0..=2)]
    files: Vec<PathBuf>,
    /// One more result of the baseline (repeatable): several runs a side are the better evidence.
    #[arg(long = "a", value_name = "FILE")]
    a: Vec<PathBuf>,
    /// One more result of the other side (repeatable).
    #[arg(long = "b", value_name = "FILE")]
    b: Vec<PathBuf>,
    /// What to compare (repeatable): p99(ttft), p50(e2e), mean(gap), error_rate, goodput, rate, tokens_per_s; the usual ones unless given.
    #[arg(long)]
    metric: Vec<Metric>,
    /// How much latencies and rates may change and still count as the same, per cent of A.
    #[arg(long, value_parser = percent, default_value = "5%")]
    tolerance: f64,
    /// How much shares (error_rate, goodput) may change and still count as the same, percentage points.
    #[arg(long, value_parser = percent, default_value = "0.5%")]
    share_tolerance: f64,
    /// Compare although plans differ or a rig was not fit.
    #[arg(long)]
    force: bool,
    /// Decides what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the comparison as JSON to this file; `-` is standard output, in place of the text.
    #[arg(long)]
    json: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  igris-load run --url http://127.0.0.1:8081 --rate 200 --duration 60s --json before.json
  igris-load compare before.json after.json --metric 'p99(ttft)' --tolerance 5%
  igris-load compare --a a1.json --a a2.json --a a3.json --b b1.json --b b2.json --b b3.json

B is better or worse only if the whole interval of the change says so and the change is beyond the tolerance; the same only if the
whole interval lies within it; else inconclusive, with the smallest change that would have been found.
Exit codes: 0 better or same, 2 not comparable, 4 a rig was not fit, 5 worse, 6 inconclusive. More: docs/load-compare.md.";

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let value = number.parse::<f64>().ok().filter(|value| (0.0..=1000.0).contains(value));
    value.ok_or_else(|| format!("{text:?} is no tolerance; type a share such as 5%"))
}

impl CompareArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let (a, b) = self.sides().map_err(Fault::Usage)?;
        let unfit = invalid(a.iter().chain(&b));
        if !unfit.is_empty() && !self.force {
            eprintln!("igris-load: {}; measure again, or compare all the same with --force", unfit.join("; "));
            return Ok(Verdict::Invalid);
        }
        let mut overlooked = unfit;
        let first = &a[0];
        for other in a[1..].iter().chain(&b) {
            overlooked.extend(differences(first, other).into_iter().map(|what| format!("{}: {what}", other.name)));
        }
        if !overlooked.is_empty() && !self.force {
            let what = overlooked.join("; ");
            return Err(Fault::Usage(anyhow::anyhow!(
                "the plans differ from that of {}, so their figures do not compare: {what}; measure with one plan, or use --force",
                first.name
            )));
        }
        let metrics = if self.metric.is_empty() { usual_metrics(&a, &b) } else { self.metric.clone() };
        let tolerance = Tolerance { percent: self.tolerance, points: self.share_tolerance };
        let mut found = compare(&a, &b, &metrics, tolerance, self.seed);
        found.overlooked = overlooked;
        self.deliver(&found).map_err(Fault::Failure)?;
        Ok(match found.verdict {
            Word::Better | Word::Same => Verdict::Fine,
            Word::Worse => Verdict::Regression,
            Word::Inconclusive => Verdict::Inconclusive,
        })
    }

    fn sides(&self) -> anyhow::Result<(Vec<Run>, Vec<Run>)> {
        let of = |files: &mut dyn Iterator<Item = &PathBuf>| -> anyhow::Result<Vec<Run>> {
            files.map(|path| Ok(Run::of(path.display().to_string(), &Report::read(path)?))).collect()
        };
        ensure!(self.files.len() != 1, "name two results, A.json and B.json, or use --a and --b");
        let a = of(&mut self.files.iter().take(1).chain(&self.a))?;
        let b = of(&mut self.files.iter().skip(1).chain(&self.b))?;
        ensure!(
            !a.is_empty() && !b.is_empty(),
            "there must be a result on either side: name A.json B.json, or use --a and --b"
        );
        Ok((a, b))
    }

    fn deliver(&self, found: &Comparison) -> anyhow::Result<()> {
        if self.json.as_ref().is_none_or(|path| path.as_os_str() != "-") {
            print!("{found}");
        }
        let Some(path) = &self.json else { return Ok(()) };
        let json = serde_json::to_string_pretty(found).context("the comparison is no JSON")?;
        write(path, format!("{json}\n"))
    }
}
