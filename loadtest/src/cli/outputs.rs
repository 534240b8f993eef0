//! What becomes of a result: files for people and programs, thresholds, and the exit code.

use super::{Fault, Verdict};
use anyhow::Context as _;
use clap::Args;
use igris_load::live::Show;
use igris_load::measure::{Threshold, Timings};
use igris_load::report::{Report, hdr, html, junit, markdown, openmetrics, png, tolerates_failures};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where a result goes and what it must hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "What becomes of the result (- is standard output, in place of the summary)")]
pub(super) struct OutputArguments {
    /// Everything, as JSON: what report, compare and --scenario read.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A page with plots and tables: one file that asks the network for nothing.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A picture of the main figures and plots.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// The seconds as an interval log of HdrHistogram, tagged ttft, e2e and gap.
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// The percentiles of a figure for HdrHistogram's plotter (repeatable): ttft.hgrm, or e2e=FILE.
    #[arg(long, value_name = "[FIGURE=]FILE", value_parser = Percentiles::parse)]
    hgrm: Vec<Percentiles>,
    /// What was held and missed, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The figures as OpenMetrics text.
    #[arg(long, value_name = "FILE")]
    openmetrics: Option<PathBuf>,
    /// A summary as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// A bound on the whole run (repeatable): 'p99(ttft)<800ms', 'error_rate<1%', 'goodput>95%', 'rate>=190', 'tokens_per_s>1000'.
    /// Missing one is exit code 3.
    #[arg(long, value_name = "BOUND")]
    threshold: Vec<Threshold>,
    /// Show the run while it runs: auto is a full screen in a terminal and a line each second elsewhere; always, never.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    live: Show,
    /// Show nothing while it runs, and write no summary.
    #[arg(long, short)]
    quiet: bool,
}

/// A figure and the file for its percentiles.
#[derive(Clone, Debug, PartialEq)]
struct Percentiles {
    figure: String,
    path: PathBuf,
}

impl Percentiles {
    fn parse(text: &str) -> Result<Self, String> {
        let (figure, path) = text.split_once('=').unwrap_or(("ttft", text));
        let known = Timings::NAMES.contains(&figure) || ["itl", "gap", "overhead"].contains(&figure);
        if !known || path.is_empty() {
            let names = Timings::NAMES.join(", ");
            return Err(format!("'{text}' names no figure and file; write e2e=e2e.hgrm with one of itl, {names}"));
        }
        Ok(Self { figure: figure.to_owned(), path: path.into() })
    }
}

impl OutputArguments {
    /// Judges the report by the thresholds, writes all that was asked for, and says how it went.
    ///
    /// # Errors
    /// A file could not be written.
    pub(super) fn deliver(&self, mut report: Report) -> Result<Verdict, Fault> {
        if !self.threshold.is_empty() {
            report.judge(&self.threshold);
        }
        if !self.quiet && !self.takes_standard_output() {
            print!("{report}");
        }
        self.write(&report).map_err(Fault::Failure)?;
        Ok(verdict(&report))
    }

    /// How the run is shown meanwhile.
    pub(super) fn live(&self) -> Show {
        if self.quiet { Show::Never } else { self.live }
    }

    /// Whether standard output belongs to a file's bytes, so that nothing else may be written there.
    pub(super) fn takes_standard_output(&self) -> bool {
        let single = [&self.json, &self.html, &self.png, &self.hlog, &self.junit, &self.openmetrics, &self.markdown];
        let percentiles = self.hgrm.iter().map(|percentiles| &percentiles.path);
        single.into_iter().flatten().chain(percentiles).any(|path| is_standard_output(path))
    }

    /// Whether a page or a picture was asked for.
    pub(super) fn wants_document(&self) -> bool {
        self.html.is_some() || self.png.is_some()
    }

    /// Whether it was asked for anything that tells of one run only.
    pub(super) fn wants_one_run(&self) -> bool {
        let single = [&self.json, &self.hlog, &self.junit, &self.openmetrics, &self.markdown];
        single.into_iter().any(Option::is_some) || !self.hgrm.is_empty() || self.has_thresholds()
    }

    /// Whether the result shall be judged.
    pub(super) fn has_thresholds(&self) -> bool {
        !self.threshold.is_empty()
    }

    /// Writes the page and the picture that were asked for.
    ///
    /// # Errors
    /// A file could not be written.
    pub(super) fn write_document(&self, document: &html::Document) -> anyhow::Result<()> {
        if let Some(path) = &self.html {
            write(path, html::page(document))?;
        }
        if let Some(path) = &self.png {
            write(path, png::picture(document)?)?;
        }
        Ok(())
    }

    fn write(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            write(path, format!("{:#}\n", report.to_json()))?;
        }
        if self.wants_document() {
            self.write_document(&html::document(report))?;
        }
        if let Some(path) = &self.hlog {
            write(path, hdr::interval_log(report)?)?;
        }
        for Percentiles { figure, path } in &self.hgrm {
            let nothing = || format!("the run has no {figure}, so that {} was not written", path.display());
            write(path, hdr::percentiles(report, figure).with_context(nothing)?)?;
        }
        if let Some(path) = &self.junit {
            write(path, junit::write(report).context("cannot make JUnit XML")?)?;
        }
        if let Some(path) = &self.openmetrics {
            write(path, openmetrics::write(report))?;
        }
        if let Some(path) = &self.markdown {
            write(path, markdown::write(report))?;
        }
        Ok(())
    }
}

/// How a run ended: where it was to be judged, an unfit rig comes first, since then no figure means anything; a run in which nothing
/// succeeded has failed whatever its thresholds; then thresholds; then failed requests, unless a threshold judged them. A run that nobody
/// asked to judge says by its stamp alone that the rig was unfit.
pub(super) fn verdict(report: &Report) -> Verdict {
    let is_judged = !report.thresholds.is_empty() || !report.plan.objectives.is_empty();
    let missed = report.thresholds.iter().any(|judged| !judged.held);
    let succeeded = report.measured.sums.ended(igris_load::measure::Outcome::Ok) > 0;
    match () {
        () if report.stamp.is_invalid() && (is_judged || report.measured.sums.total() == 0) => Verdict::Invalid,
        () if !succeeded => Verdict::Failed,
        () if missed => Verdict::Missed,
        () if report.measured.failed() > 0 && !tolerates_failures(&report.thresholds) => Verdict::Failed,
        () => Verdict::Fine,
    }
}

/// Writes a file whole or not at all: beside its place first, then moved there. `-` is standard output.
pub(super) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let bytes = bytes.as_ref();
    if is_standard_output(path) {
        let mut out = std::io::stdout().lock();
        return out.write_all(bytes).and_then(|()| out.flush()).context("cannot write to standard output");
    }
    let why =
        || format!("cannot write {}; give a file in a directory that exists and that you may write to", path.display());
    // What is no plain file (/dev/null, a pipe) cannot be replaced: it is written to.
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return std::fs::write(path, bytes).with_context(why);
    }
    let mut name = path.file_name().with_context(why)?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let placed = File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path));
    if placed.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    placed.with_context(why)
}

fn is_standard_output(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use igris_load::engine::{Driven, Health};
    use igris_load::measure::{Collector, histogram};
    use igris_load::workload::Plan;
    use std::time::{Duration, SystemTime};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        outputs: OutputArguments,
    }

    fn outputs(words: &[&str]) -> Result<OutputArguments, String> {
        let line = Line::try_parse_from([&["igris-load"], words].concat()).map_err(|wrong| wrong.to_string())?;
        Ok(line.outputs)
    }

    /// A run of so many requests that ended well and so many that timed out.
    fn report(ok: u64, timeouts: u64) -> Report {
        let plan = Plan::default();
        let collector = Collector::start(&plan, |_| {}).expect("a thread");
        let health = Health { late: histogram(), turn: histogram(), cpu: Duration::ZERO, queued: 0, unsent: 0 };
        let elapsed = Duration::from_secs(1);
        let driven = Driven { observers: Vec::new(), health: vec![health], elapsed, stopped: false };
        let mut measured = collector.finish(&plan, driven);
        measured.planned = ok + timeouts;
        measured.sums.outcomes[igris_load::measure::Outcome::Ok as usize] = ok;
        measured.sums.outcomes[igris_load::measure::Outcome::Timeout as usize] = timeouts;
        measured.sums.good = ok;
        measured.timings.ttft.saturating_record_n(5_000_000, ok);
        measured.timings.e2e.saturating_record_n(5_000_000, ok);
        Report::new(plan, measured, SystemTime::now())
    }

    #[test]
    fn each_ending_has_its_exit_code() {
        let ended = |ok, timeouts, thresholds: &[&str]| {
            let words: Vec<_> = thresholds.iter().flat_map(|bound| ["--threshold", bound]).chain(["--quiet"]).collect();
            outputs(&words)
                .expect("good bounds")
                .deliver(report(ok, timeouts))
                .unwrap_or_else(|_| panic!("nothing to write"))
        };
        assert_eq!(ended(10, 0, &[]), Verdict::Fine);
        assert_eq!(ended(10, 1, &[]), Verdict::Failed);
        assert_eq!(ended(90, 10, &["error_rate<=10%"]), Verdict::Fine);
        assert_eq!(ended(90, 11, &["error_rate<=10%"]), Verdict::Missed);
        assert_eq!(ended(10, 0, &["p99(ttft)<6ms", "goodput>99%"]), Verdict::Fine);
        assert_eq!(ended(10, 0, &["p99(ttft)<4ms", "rate>=5"]), Verdict::Missed);
        assert_eq!(ended(10, 0, &["p99(tpot)<4ms"]), Verdict::Missed, "nothing recorded holds nothing");
        assert_eq!(ended(0, 10, &["error_rate<=100%"]), Verdict::Failed);
        assert_eq!(ended(0, 0, &[]), Verdict::Invalid, "a run without a request is none");
    }

    #[test]
    fn files_are_whole_or_not_there() {
        let place = std::env::temp_dir().join(format!("igris-load-outputs-{}", std::process::id()));
        std::fs::create_dir_all(&place).expect("a directory");
        let at = |name: &str| place.join(name).display().to_string();
        let e2e = format!("e2e={}", at("e2e.hgrm"));
        let (json, hlog, junit, metrics, markdown) = (at("a.json"), at("a.hlog"), at("a.xml"), at("a.txt"), at("a.md"));
        let words = [
            "--json",
            &json,
            "--hlog",
            &hlog,
            "--hgrm",
            &e2e,
            "--junit",
            &junit,
            "--openmetrics",
            &metrics,
            "--markdown",
            &markdown,
            "--quiet",
        ];
        let report = report(3, 0);
        let ended = outputs(&words).expect("good words").deliver(report.clone());
        assert!(ended.is_ok_and(|verdict| verdict == Verdict::Fine));
        let mut names: Vec<_> =
            std::fs::read_dir(&place).expect("it").map(|entry| entry.expect("it").file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.hlog", "a.json", "a.md", "a.txt", "a.xml", "e2e.hgrm"]);
        assert_eq!(Report::read(Path::new(&json)).expect("a report").measured.sums, report.measured.sums);
        let missing = place.join("no/such/place.json");
        assert!(write(&missing, b"x").expect_err("no directory").to_string().contains("a directory that exists"));
        write(Path::new("/dev/null"), b"x").expect("it takes all");
        std::fs::remove_dir_all(&place).expect("it was there");
    }

    #[test]
    fn wrong_use_names_the_fix() {
        let said = |words: &[&str]| outputs(words).expect_err("wrong");
        assert!(said(&["--threshold", "p99<5ms"]).contains("p99(ttft)"));
        assert!(said(&["--hgrm", "tttf=a.hgrm"]).contains("e2e=e2e.hgrm"));
        assert!(outputs(&["--json", "-"]).expect("a dash").takes_standard_output());
        assert!(!outputs(&["--json", "x"]).expect("a file").takes_standard_output());
    }
}
