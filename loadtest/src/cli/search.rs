//! `igris-load search`.

use super::plan::{AskArguments, PlanArguments, RigArguments, TargetArguments};
use super::signals::Signals;
use super::{Fault, Verdict};
use anyhow::Context as _;
use clap::Args;
use igris_load::engine::Stop;
use igris_load::search::{Bounds, Ending, Found, Quest, Slo, Step, Verdict as Said, find};
use igris_load::simulator::duration;
use igris_load::workload::{Arrivals, Span};
use std::path::PathBuf;
use std::time::Duration;

/// Finds the highest rate that meets an objective, as an interval: the highest rate that was confirmed and the lowest that was refuted.
/// It doubles the rate until a step misses, halves the gap, and tries both ends twice. A failed request has missed every bound on its
/// time. Exit code 0 when a rate was confirmed, 3 when even --min misses, 4 when the tester was the limit, 6 when nobody can tell.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  igris-load search --url http://127.0.0.1:8081 --slo 'p99(ttft)<500ms' --min 10 --max 2000\n  \
                        igris-load search --url http://127.0.0.1:8081 --stream --slo 'p95(e2e)<2s' --slo 'error_rate<1%' --min 5 --max 200 \
                        --step-duration 30s"
)]
pub(super) struct SearchArguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    asked: AskArguments,
    /// What must hold (repeatable, all of them): pN(ttft)<TIME, pN(e2e)<TIME, pN(tpot)<TIME, error_rate<SHARE.
    #[arg(long = "slo", required = true)]
    slos: Vec<Slo>,
    /// The first rate to try, requests a second.
    #[arg(long)]
    min: f64,
    /// The highest rate to try.
    #[arg(long)]
    max: f64,
    /// The part of each step that counts; longer at rates whose requests would be too few to tell.
    #[arg(long, value_parser = duration, default_value = "10s")]
    step_duration: Duration,
    /// Sent before that part.
    #[arg(long, value_parser = duration, default_value = "2s")]
    warm_up: Duration,
    /// Sent after it, so that its last requests have company too.
    #[arg(long, value_parser = duration, default_value = "1s")]
    cool_down: Duration,
    /// Rest between steps.
    #[arg(long, value_parser = duration, default_value = "1s")]
    rest: Duration,
    /// Stop when the refuted rate is no more than this above the confirmed one.
    #[arg(long, value_parser = percent, default_value = "5%")]
    resolution: f64,
    /// Runs of one step at most, until it is clear.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Steps at most.
    #[arg(long, default_value_t = 40)]
    steps: usize,
    /// How sure a step must be.
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// A plan in a file (TOML, or the JSON result of an earlier run); flags overrule it, and its rhythm is not used.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Connections at most; enough that the target's queue is not the tester's.
    #[arg(long, default_value_t = 1024)]
    connections: usize,
    /// Threads of the tester.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How long one answer may take.
    #[arg(long, default_value = "10s")]
    timeout: Span,
    /// Write the result with every step as JSON to this file; `-` is standard output, in place of the text.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `5%` or `0.05`.
fn percent(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    number.map_err(|_| format!("'{text}' is no share; write 5% or 0.05"))
}

impl SearchArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let quest = self.quest().map_err(Fault::Usage)?;
        quest.check().map_err(Fault::Usage)?;
        let text = self.json.as_ref().is_none_or(|path| path.as_os_str() != "-");
        let tell = |step: &Step| {
            if text {
                println!("{step}");
            }
        };
        let stop = Stop::default();
        Signals::listen().and_then(|signals| signals.end(stop.clone())).map_err(Fault::Failure)?;
        let found = find(&quest, &stop, tell).map_err(Fault::Failure)?;
        let json = format!("{:#}\n", found.to_json());
        if text {
            print!("\n{found}");
        } else {
            print!("{json}");
        }
        if let Some(path) = self.json.as_ref().filter(|_| text) {
            let written = std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()));
            written.map_err(Fault::Failure)?;
        }
        Ok(verdict(&found))
    }

    fn quest(&self) -> anyhow::Result<Quest> {
        let rig = RigArguments {
            scenario: self.scenario.clone(),
            connections: Some(self.connections),
            threads: Some(self.threads),
            timeout: Some(self.timeout),
            ..RigArguments::default()
        };
        let (target, asked) = (self.target.clone(), self.asked.clone());
        let mut plan = PlanArguments { target, asked, rig, ..PlanArguments::default() }.unchecked()?;
        // The rhythm is the search's own; this one is only for the plan to be checked with.
        plan.arrivals = Arrivals::Constant { rate: self.min };
        plan.duration = Some(Span(self.step_duration));
        (plan.requests, plan.warm_up) = (None, Span::default());
        plan.validate()?;
        Ok(Quest {
            plan,
            slos: self.slos.clone(),
            bounds: Bounds { min: self.min, max: self.max, resolution: self.resolution, steps: self.steps },
            step: self.step_duration,
            warm_up: self.warm_up,
            cool_down: self.cool_down,
            rest: self.rest,
            repeats: self.repeats,
            confidence: self.confidence,
        })
    }
}

fn verdict(found: &Found) -> Verdict {
    match (found.ending, found.verdict()) {
        (Ending::TesterIsTheLimit, _) => Verdict::Invalid,
        (_, Said::Confirmed) => Verdict::Fine,
        (_, Said::Refuted) => Verdict::Missed,
        (_, Said::Unclear) => Verdict::Inconclusive,
    }
}
