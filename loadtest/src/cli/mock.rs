//! `igris-load mock`: the simulated provider as a server, until it is interrupted.

use super::signals::Signals;
use super::{Fault, Verdict};
use anyhow::{Context as _, bail};
use clap::Args;
use igris_load::Simulator;
use igris_load::simulator::{Builder, FaultRule, KeyTerms, Latency, Quota, Surface, duration};
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What follows the flags in `--help`.
const MORE: &str = "\
A fault rule says WHEN -> WHAT. What is left out before the arrow does not matter:
  every 10th -> 429 retry-after=2 header x-foo=bar     always, nth 7, 7th, first 3, every 10th, 5%, after 100 requests
  5% of stream model=gpt-4* -> stall after 3 events    stream, unary, model=, key=, dialect=, header NAME=VALUE (* for anything)
  from 10s to 20s -> 503                               from, to, until: from the start, or since the rules were changed
  first 3 -> reset after 200 bytes                     close, garbage, stale keep-alive, drip 10 bytes every 5ms
  always -> cut inside utf8                            cut mid event, cut inside utf8 after 4 events
  -> slow first token 2s                               slow first byte 2s
  -> error in stream after 2 events overloaded_error   garbage after 2 events, 500 body='{\"error\":{}}'

A request may ask for its own fate: a user field or a last user message that starts with sim:, such as
  {\"model\":\"gpt-4o\",\"user\":\"sim:tokens=40;latency=5ms;gap=2ms;fault=stall@3\",\"messages\":[…]}

While it runs, on the same port and for callers on this machine:
  curl localhost:9090/_mock/counts         also health, keys, faults
  curl -d 'from 0s to 30s -> 503' localhost:9090/_mock/faults
  curl -d 'sk-new@10s..' localhost:9090/_mock/keys

Every answer is a pure function of its request. docs/load-mock.md has the grammar, the log's fields, and what each dialect refuses.";

#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct MockArguments {
    /// Whose wire format to speak (repeatable): openai, anthropic, gemini, bedrock, cohere, azure, compatible, or all; the first
    /// names the printed URL.
    #[arg(long = "dialect", value_parser = dialects, default_value = "openai", value_name = "NAME")]
    dialects: Vec<Dialects>,
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// The provider's name, shown in its answers' heads; that of its dialect unless given.
    #[arg(long)]
    name: Option<String>,
    /// A model to have (repeatable); none has any.
    #[arg(long = "model")]
    models: Vec<String>,
    /// Serving threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seed of all chance: drawn latencies, faults by percentage.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Serve TLS with this certificate chain, PEM.
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Write a JSON object with the URL of every dialect here once it listens.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Do not answer paths below /_mock/.
    #[arg(long)]
    no_control: bool,
    #[command(flatten)]
    answers: AnswerArguments,
    #[command(flatten)]
    access: AccessArguments,
    #[command(flatten)]
    faults: FaultArguments,
    #[command(flatten)]
    log: LogArguments,
}

/// What an answer is and when it leaves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answers")]
struct AnswerArguments {
    /// Wait before the first byte: 300ms, lognormal:300ms,0.5, uniform:100ms,300ms, bimodal:200ms,2s,0.05 (usual, rare, share of the
    /// rare), or recorded:FILE (JSON or CSV of milliseconds, or a saved report).
    #[arg(long, default_value = "0ms", value_name = "DIST")]
    latency: Latency,
    /// Spread of the wait: log-normal with --latency, a plain time, as its median and this sigma.
    #[arg(long, value_name = "SIGMA")]
    latency_sigma: Option<f64>,
    /// Further wait before the first byte for every prompt token, such as 20us.
    #[arg(long, value_parser = duration, default_value = "0ms", value_name = "TIME")]
    prefill_per_token: Duration,
    /// Wait between events of a stream, in the same words as --latency.
    #[arg(long = "gap", visible_alias = "event-gap", default_value = "0ms", value_name = "DIST")]
    gap: Latency,
    /// Words of an answer.
    #[arg(long, default_value_t = 16)]
    tokens: u32,
    /// Events that leave in one write when there is no gap.
    #[arg(long, default_value_t = 1)]
    events_per_write: u32,
}

/// Who may ask, and how much.
#[derive(Debug, Args)]
#[command(next_help_heading = "Keys and limits")]
struct AccessArguments {
    /// A key to accept (repeatable), with periods from the start if not always: KEY@..60s, KEY@10s.., KEY@..5s,20s..30s; none
    /// accepts any.
    #[arg(long = "key")]
    keys: Vec<KeyTerms>,
    /// Requests a minute for each key and model; more are answered 429 with the provider's own fields. 0 sets no limit.
    #[arg(long, default_value_t = 0, value_name = "N")]
    requests_per_minute: u32,
    /// Tokens a minute for each key and model, prompts and answers together.
    #[arg(long, default_value_t = 0, value_name = "N")]
    tokens_per_minute: u32,
}

/// What goes wrong.
#[derive(Debug, Args)]
#[command(next_help_heading = "Faults")]
struct FaultArguments {
    /// A fault rule, WHEN -> WHAT (repeatable); the first that strikes wins.
    #[arg(long = "fault", value_name = "RULE")]
    rules: Vec<FaultRule>,
    /// More rules, one to a line; # starts a comment.
    #[arg(long = "faults", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What is kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Truth")]
struct LogArguments {
    /// Write the log of all requests to this file at the end, as JSON; without it only sums are kept.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Write a line of JSON to this file for every request as it ends.
    #[arg(long, value_name = "FILE")]
    truth_log: Option<PathBuf>,
    /// Megabytes of that file at most; later requests are counted only.
    #[arg(long, default_value_t = 256, requires = "truth_log", value_name = "MB")]
    truth_log_max: u64,
}

/// One dialect, or all that can be spoken at once.
type Dialects = Vec<Surface>;

fn dialects(text: &str) -> Result<Dialects, String> {
    match text {
        "all" => Ok(Surface::all().collect()),
        _ => Surface::parse(text).map(|surface| vec![surface]).map_err(|reason| format!("{reason}, or all")),
    }
}

impl MockArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let surfaces = self.surfaces();
        let builder = self.builder(&surfaces).map_err(Fault::Usage)?;
        self.serve(builder, &surfaces).map_err(Fault::Failure).map(|()| Verdict::Fine)
    }

    fn surfaces(&self) -> Vec<Surface> {
        let mut surfaces = Vec::new();
        for surface in self.dialects.iter().flatten().copied() {
            if !surfaces.contains(&surface) {
                surfaces.push(surface);
            }
        }
        surfaces
    }

    fn builder(&self, surfaces: &[Surface]) -> anyhow::Result<Builder> {
        let answers = &self.answers;
        let mut builder = Simulator::builder()
            .listen(self.listen)
            .models(self.models.iter().cloned())
            .latency(answers.latency()?)
            .gap(answers.gap.clone())
            .prefill_per_token(answers.prefill_per_token)
            .tokens(answers.tokens)
            .events_per_write(answers.events_per_write)
            .threads(self.threads)
            .seed(self.seed)
            .control(!self.no_control)
            .rules(self.faults.all()?);
        builder = surfaces.iter().fold(builder, |builder, surface| builder.dialect(*surface));
        builder = self.access.keys.iter().cloned().fold(builder, Builder::key);
        if let Some(name) = &self.name {
            builder = builder.name(name.as_str());
        }
        let (requests, tokens) = (self.access.requests_per_minute, self.access.tokens_per_minute);
        if requests > 0 || tokens > 0 {
            builder = builder.limits(Quota { requests, tokens, refill: Duration::from_secs(60) });
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            builder = builder.tls(read(cert)?, read(key)?);
        }
        if self.log.truth.is_none() {
            builder = builder.counters_only();
        }
        if let Some(path) = &self.log.truth_log {
            builder = builder.journal(path, self.log.truth_log_max.saturating_mul(1 << 20));
        }
        Ok(builder)
    }

    fn serve(&self, builder: Builder, surfaces: &[Surface]) -> anyhow::Result<()> {
        let simulator = builder.start().with_context(|| {
            format!(
                "cannot serve on {}; is the port free, and are the certificate and the log's folder there?",
                self.listen
            )
        })?;
        // Whoever reads the URL may signal at once: listen for that first.
        let signals = Signals::listen()?;
        self.announce(&simulator, surfaces)?;
        signals.wait();
        let truth = simulator.truth_shared();
        simulator.stop();
        if let Some(path) = &self.log.truth {
            let log = truth.to_json();
            std::fs::write(path, format!("{log:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        }
        eprintln!("{}", truth.counts().to_json());
        if truth.journal_lost() > 0 {
            eprintln!(
                "igris-load: {} requests found no room in the truth log; raise --truth-log-max",
                truth.journal_lost()
            );
        }
        Ok(())
    }

    /// Prints the URL, and with several dialects a line for each; then writes the ready file.
    fn announce(&self, simulator: &Simulator, surfaces: &[Surface]) -> anyhow::Result<()> {
        let mut lines = format!("{}\n", simulator.base_url());
        if surfaces.len() > 1 {
            lines.extend(surfaces.iter().map(|surface| {
                let name = surface.name();
                format!("{name:<10} {}\n", simulator.base_url_of(*surface))
            }));
        }
        // All at once: some read the first line and close the pipe.
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()).context("cannot print the URL")?;
        let Some(path) = &self.ready_file else { return Ok(()) };
        let urls = surfaces.iter().map(|surface| (surface.name(), simulator.base_url_of(*surface)));
        let urls: serde_json::Map<_, _> = urls.map(|(name, url)| (name.to_owned(), url.into())).collect();
        let ready = json!({ "addr": simulator.addr().to_string(), "url": simulator.base_url(), "urls": urls });
        // Whoever waits for the file must not see half of it.
        let half = path.with_extension("part");
        std::fs::write(&half, format!("{ready}\n"))
            .and_then(|()| std::fs::rename(&half, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl AnswerArguments {
    fn latency(&self) -> anyhow::Result<Latency> {
        match (&self.latency, self.latency_sigma) {
            (latency, None) => Ok(latency.clone()),
            (Latency::Fixed(median), Some(sigma)) => Ok(Latency::LogNormal { median: *median, sigma }),
            (Latency::None, Some(_)) => Ok(Latency::None),
            _ => bail!("--latency-sigma spreads a plain time; write --latency lognormal:300ms,0.5 instead of both"),
        }
    }
}

impl FaultArguments {
    /// The rules of the flags, then those of the file.
    fn all(&self) -> anyhow::Result<Vec<FaultRule>> {
        let mut rules = self.rules.clone();
        if let Some(path) = &self.file {
            let more = FaultRule::parse_all(&read(path)?);
            rules.extend(more.with_context(|| format!("cannot use {}", path.display()))?);
        }
        Ok(rules)
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
