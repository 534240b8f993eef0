//! `igris-load report`: a saved result shown again, in any form; several of them on one page.

use super::outputs::OutputArguments;
use super::{Fault, Verdict};
use clap::Args;
use igris_load::report::{Report, html};
use std::collections::BTreeSet;
use std::path::Path;

/// Shows results that `igris-load run --json FILE` has saved, in any form that `run` can write.
///
/// Several files make one page, with their curves over each other and their figures side by side. Whether one is better than
/// another is `igris-load compare`'s to say.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArguments {
    /// Saved results; NAME=FILE gives one a name on a page of several.
    #[arg(required = true, value_name = "[NAME=]FILE")]
    files: Vec<String>,
    #[command(flatten)]
    outputs: OutputArguments,
}

const EXAMPLES: &str = "\
Examples:
  igris-load report result.json
  igris-load report result.json --html result.html --png result.png --hgrm e2e=e2e.hgrm
  igris-load report before=monday.json after=tuesday.json --html both.html

Exit codes:
  0 shown · 1 a file could not be read or written · 2 wrong usage · with --threshold also 3 missed and 4 the rig was not fit";

impl ReportArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let mut runs = Vec::new();
        for file in &self.files {
            let (name, path) = named(file);
            runs.push((name, Report::read(Path::new(path)).map_err(Fault::Failure)?));
        }
        if runs.len() > 1 {
            return self.show_all(&distinct(runs));
        }
        let Some((_, report)) = runs.pop() else { return Ok(Verdict::Fine) };
        let judged = self.outputs.has_thresholds();
        let verdict = self.outputs.deliver(report)?;
        // Showing a bad result is no failure; judging it is what thresholds are for.
        Ok(if judged { verdict } else { Verdict::Fine })
    }

    fn show_all(&self, runs: &[(String, Report)]) -> Result<Verdict, Fault> {
        let usage = |says: &str| Err(Fault::Usage(anyhow::anyhow!("{says}")));
        if self.outputs.wants_one_run() {
            return usage(
                "several results make one page; of these outputs give --html and --png only, or one file at a time",
            );
        }
        if !self.outputs.wants_document() {
            return usage("several results make one page; add --html FILE, or use igris-load compare for a verdict");
        }
        self.outputs.write_document(&html::overlay(runs)).map_err(Fault::Failure)?;
        Ok(Verdict::Fine)
    }
}

/// The name of a result and the path to it: the file's own name without its ending, unless one is given.
fn named(text: &str) -> (String, &str) {
    let stem =
        |path: &str| Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into());
    match text.split_once('=') {
        // A file whose own name has such a sign is meant as it stands.
        Some((name, path)) if !name.is_empty() && !Path::new(text).exists() => (name.to_owned(), path),
        _ => (stem(text), text),
    }
}

/// The same with a number behind names that came before.
fn distinct(runs: Vec<(String, Report)>) -> Vec<(String, Report)> {
    let mut taken = BTreeSet::new();
    let apart = runs.into_iter().map(|(name, report)| {
        let others = (2..).map(|number| format!("{name} {number}"));
        let free = std::iter::once(name.clone()).chain(others).find(|name| !taken.contains(name)).unwrap_or(name);
        taken.insert(free.clone());
        (free, report)
    });
    apart.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_names() {
        assert_eq!(named("runs/monday.json"), ("monday".into(), "runs/monday.json"));
        assert_eq!(named("before=runs/a.json"), ("before".into(), "runs/a.json"));
        assert_eq!(named("=a.json").1, "=a.json");
    }
}
