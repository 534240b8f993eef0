//! `igris admin replay`: recorded decisions under another policy, offline, as two columns.
//!
//! The facts come from a running gateway or from a file that was saved before; the policy from a small TOML file. What is estimated, and
//! how, is in `routing::replay`.

use super::client::{self, Request};
use super::print;
use crate::config::unit;
use crate::limits::{CONFIG_BYTES_MAX, CONTROL_DEADLINE};
use crate::routing::decision::Decision;
use crate::routing::glob::NamePattern;
use crate::routing::policy::Policy;
use crate::routing::record;
use crate::routing::replay::{self, Comparison, Tally, Terms, mean, quantile};
use crate::routing::terms::Goal;
use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `igris admin replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The other policy: TOML with `policy` and what it needs
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// Decisions saved before by `igris admin decisions --jsonl`, instead of those of the running gateway
    #[arg(long, value_name = "FILE")]
    pub facts: Option<PathBuf>,
}

/// How far from a request evidence may lie, unless the file says otherwise.
const WINDOW: Duration = Duration::from_secs(600);

/// The file, as typed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    policy: String,
    optimization: Option<String>,
    percentile: Option<f64>,
    window: Option<String>,
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    quality: Vec<Ranked>,
    #[serde(default)]
    weights: Vec<Weighted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ranked {
    model: String,
    score: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weighted {
    target: String,
    weight: u32,
}

/// Replays and answers what to print.
///
/// # Errors
/// A file cannot be read or makes no sense, or the gateway is not there.
pub(super) fn run(args: &ReplayArgs, socket: &Path, json: bool) -> anyhow::Result<String> {
    let terms = terms(&text_of(&args.policy)?).with_context(|| format!("in {}", args.policy.display()))?;
    let facts = match &args.facts {
        Some(path) => facts(&std::fs::read_to_string(path).with_context(|| unreadable(path))?)
            .with_context(|| format!("in {}", path.display()))?,
        None => facts(&dump(socket)?)?,
    };
    let comparison = replay::replay(&facts, &terms);
    Ok(if json { written(&comparison, &terms).to_string() } else { shown(&comparison, &terms) })
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {}; check the path", path.display())
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(path).with_context(|| unreadable(path))?.len();
    if length > CONFIG_BYTES_MAX {
        bail!("{} is larger than {CONFIG_BYTES_MAX} bytes; a policy has a few lines", path.display());
    }
    std::fs::read_to_string(path).with_context(|| unreadable(path))
}

/// All that a running gateway remembers, the oldest first.
fn dump(socket: &Path) -> anyhow::Result<String> {
    let request = Request { method: "GET", target: "/decisions?format=jsonl", body: None };
    let answer = client::send(socket, &request, Some(CONTROL_DEADLINE + Duration::from_secs(1)))?;
    let status = answer.status;
    let bytes = answer.whole()?;
    if status != 200 {
        bail!("the gateway answered {status} to a dump of its decisions; are both igris of one version?");
    }
    Ok(String::from_utf8(bytes)?)
}

/// Decisions, one a line.
fn facts(text: &str) -> anyhow::Result<Vec<Decision>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        let number = number + 1;
        let value: Value = serde_json::from_str(line)
            .with_context(|| format!("line {number} is not JSON; save facts with `igris admin decisions --jsonl`"))?;
        record::read(&value).map_err(|member| anyhow!("line {number} is no decision: `{member}` is missing or wrong"))
    };
    lines.map(read).collect()
}

fn terms(text: &str) -> anyhow::Result<Terms> {
    let file: PolicyFile = toml::from_str(text).map_err(|error| anyhow!("{}", error.to_string().trim_end()))?;
    let words = "thompson, latency, cost, quality, weighted, ordered or hedged";
    let policy = Policy::parse(&file.policy).ok_or_else(|| anyhow!("`policy` must be {words}"))?;
    let goal = file.optimization.as_deref().map_or(Some(Goal::default()), Goal::parse);
    let goal = goal.ok_or_else(|| anyhow!("`optimization` must be balanced, latency, cost or quality"))?;
    let is_share = |share: &f64| (0.0..=1.0).contains(share);
    if !file.percentile.iter().chain(file.quality.iter().map(|ranked| &ranked.score)).all(is_share) {
        bail!("`percentile` and every `score` must be numbers from 0 to 1");
    }
    let window = file.window.as_deref().map(unit::duration).transpose();
    let window = window.map_err(|complaint| anyhow!("`window` {}; {}", complaint.what, complaint.remedy))?;
    Ok(Terms {
        policy,
        goal,
        percentile: file.percentile,
        quality: file.quality.iter().map(|ranked| (NamePattern::parse(&ranked.model), ranked.score)).collect(),
        order: file.order.iter().map(|target| NamePattern::parse(target)).collect(),
        weights: file.weights.iter().map(|one| (NamePattern::parse(&one.target), one.weight)).collect(),
        window: window.unwrap_or(WINDOW),
        seed: file.seed,
        origin: Instant::now(),
    })
}

/// A figure of one side.
type Figure = (&'static str, fn(&Tally) -> Value);

/// Durations are milliseconds.
const FIGURES: [Figure; 10] = [
    ("cost_usd", |tally| json!(tally.cost.to_usd())),
    ("first_byte_ms_mean", |tally| millis(mean(&tally.first_byte_us))),
    ("first_byte_ms_p50", |tally| millis(quantile(&tally.first_byte_us, 0.50))),
    ("first_byte_ms_p99", |tally| millis(quantile(&tally.first_byte_us, 0.99))),
    ("latency_ms_mean", |tally| millis(mean(&tally.whole_us))),
    ("latency_ms_p50", |tally| millis(quantile(&tally.whole_us, 0.50))),
    ("latency_ms_p99", |tally| millis(quantile(&tally.whole_us, 0.99))),
    ("rate_limited", |tally| json!(tally.limited)),
    ("failovers", |tally| json!(tally.failovers)),
    ("errors", |tally| json!(tally.errors)),
];

fn millis(micros: u64) -> Value {
    json!(micros as f64 / 1_000.0)
}

fn side(tally: &Tally) -> Value {
    FIGURES.iter().map(|(name, figure)| ((*name).to_owned(), figure(tally))).collect()
}

fn written(comparison: &Comparison, terms: &Terms) -> Value {
    let first_asked = comparison.first_asked.iter().map(|((provider, model), (recorded, replayed))| {
        json!({ "provider": provider, "model": model, "recorded": recorded, "replayed": replayed })
    });
    json!({
        "policy": terms.policy.as_str(),
        "optimization": terms.goal.as_str(),
        "seed": terms.seed,
        "window_seconds": terms.window.as_secs_f64(),
        "decisions": comparison.decisions,
        "unasked": comparison.unasked,
        "without_evidence": comparison.without_evidence,
        "judged": comparison.judged,
        "moved": comparison.moved,
        "recorded": side(&comparison.recorded),
        "replayed": side(&comparison.replayed),
        "first_asked": first_asked.collect::<Vec<_>>(),
    })
}

fn shown(comparison: &Comparison, terms: &Terms) -> String {
    let Comparison { decisions, unasked, without_evidence, judged, moved, .. } = comparison;
    let policy = terms.policy.as_str();
    let mut text = format!(
        "{judged} of {decisions} recorded requests compared; {moved} would have asked another first\n\
         left out: {without_evidence} that need a lane nobody asked within {} s of them, {unasked} that asked nobody\n\n",
        terms.window.as_secs_f64()
    );
    let titles = ["".to_owned(), "RECORDED".to_owned(), policy.to_uppercase()];
    let mut rows = Vec::new();
    for (name, figure) in FIGURES {
        let (recorded, replayed) = (figure(&comparison.recorded), figure(&comparison.replayed));
        let cell = if name == "cost_usd" { print::dollars } else { print::cell };
        rows.push(vec![name.to_owned(), cell(&recorded), cell(&replayed)]);
    }
    for ((provider, model), (recorded, replayed)) in &comparison.first_asked {
        let name = format!("asked first: {}", print::safe(&format!("{provider}/{model}")));
        rows.push(vec![name, recorded.to_string(), replayed.to_string()]);
    }
    text.push_str(&print::aligned(&titles, &rows));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::record::{View, write};

    #[test]
    fn a_policy_file_is_read_strictly() {
        let text = "policy = \"quality-optimized\"\nseed = 9\nwindow = \"5m\"\npercentile = 0.9\norder = [\"a/*\"]\n\
                    [[quality]]\nmodel = \"gpt-*\"\nscore = 0.5\n[[weights]]\ntarget = \"a/*\"\nweight = 3\n";
        let read = terms(text).expect("a policy");
        assert_eq!((read.policy, read.seed, read.window), (Policy::Quality, 9, Duration::from_secs(300)));
        assert_eq!((read.quality.len(), read.weights.len(), read.order.len()), (1, 1, 1));
        for (text, expected) in [
            ("policy = \"best\"", "thompson"),
            ("optimization = \"cost\"", "policy"),
            ("policy = \"cost\"\nplan = 1", "plan"),
            ("policy = \"cost\"\npercentile = 95", "from 0 to 1"),
            ("policy = \"cost\"\nwindow = \"5 parsecs\"", "window"),
            ("policy = \"cost\"\noptimization = \"speed\"", "balanced"),
        ] {
            let error = terms(text).expect_err(text);
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
    }

    #[test]
    fn facts_are_lines_of_decisions() {
        let decision = record::tests::sample();
        let line = write(&decision, View::Operator).to_string();
        assert_eq!(facts(&format!("{line}\n\n{line}\n")).expect("facts"), [decision.clone(), decision.clone()]);
        for (text, expected) in [("no", "line 1 is not JSON"), ("{}", "line 1 is no decision")] {
            assert!(format!("{:#}", facts(text).expect_err(text)).contains(expected), "{text}");
        }
        let terms = terms("policy = \"ordered\"").expect("a policy");
        let comparison = replay::replay(&[decision], &terms);
        let value = written(&comparison, &terms);
        assert_eq!((&value["judged"], &value["recorded"]["failovers"]), (&json!(1), &json!(1)));
        assert_eq!(value["recorded"], value["replayed"]);
        let text = shown(&comparison, &terms);
        assert!(text.starts_with("1 of 1 recorded requests compared; 0 would"), "{text}");
        assert!(text.contains("latency_ms_p99") && text.contains("asked first: a/gpt-4o"), "{text}");
    }
}
