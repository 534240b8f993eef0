//! The command line: what was typed, checked and turned into a plan.

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use igris_load::Simulator;
use igris_load::load::{Plan, Prompts, Shape, Target, run};
use igris_load::simulator::{KeyTerms, Latency, Surface, duration};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Measures an LLM gateway under load, and plays the provider behind it.
#[derive(Debug, Parser)]
#[command(name = "igris-load", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send chat requests and report latencies and outcomes.
    Run(Box<RunArguments>),
    /// Be a strict simulated provider until interrupted.
    Mock(Box<MockArguments>),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Origin, base or whole URL: http://127.0.0.1:8081, …/v1, …/v1/chat/completions.
    #[arg(long)]
    url: String,
    /// Model to ask for.
    #[arg(long, default_value = "gpt-4o")]
    model: String,
    /// Access key to show.
    #[arg(long, env = "IGRIS_LOAD_KEY", hide_env_values = true, default_value = "sk-load-0000000000000000")]
    key: String,
    /// Connections, and so requests in flight, at most; 64 on a schedule and 1 otherwise unless given.
    #[arg(long)]
    connections: Option<usize>,
    /// Closed loop: this many requests, each sent when a connection is free.
    #[arg(long, conflicts_with = "rate", required_unless_present_any = ["rate", "duration"])]
    requests: Option<u64>,
    /// Open loop: this many requests a second on a fixed schedule; needs --duration.
    #[arg(long, requires = "duration")]
    rate: Option<f64>,
    /// How long to send, such as 30s; with --requests, whichever comes first.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Ask for streams.
    #[arg(long)]
    stream: bool,
    /// Ask for usage at the end of streams.
    #[arg(long, requires = "stream")]
    include_usage: bool,
    /// Words the simulator shall answer with.
    #[arg(long)]
    tokens: Option<u32>,
    /// Bytes of a prompt, about.
    #[arg(long, default_value_t = 200)]
    prompt_bytes: usize,
    /// Makes two runs ask different questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long one answer may take.
    #[arg(long, value_parser = duration, default_value = "30s")]
    timeout: Duration,
    /// Check that every answer is what the simulator sent, but for the gateway's metadata.
    #[arg(long)]
    verify: bool,
    /// The model that answers, where the gateway maps the one asked for.
    #[arg(long, requires = "verify")]
    verify_model: Option<String>,
    /// Write the report as JSON to this file; `-` is standard output, in place of the summary.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct MockArguments {
    /// Whose wire format to speak (repeatable); the first names the printed URL.
    #[arg(long = "dialect", value_parser = Surface::parse, default_value = "openai")]
    dialects: Vec<Surface>,
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9090")]
    listen: SocketAddr,
    /// The provider's name, shown in its answers' heads; that of its dialect unless given.
    #[arg(long)]
    name: Option<String>,
    /// A key to accept (repeatable), with periods from the start if not always: KEY@..60s, KEY@10s.., KEY@..5s,20s..30s; none accepts any.
    #[arg(long = "key")]
    keys: Vec<KeyTerms>,
    /// A model to have (repeatable); none has any.
    #[arg(long = "model")]
    models: Vec<String>,
    /// Wait before the first byte.
    #[arg(long, value_parser = duration, default_value = "0ms")]
    latency: Duration,
    /// Spread of the wait: log-normal with --latency as its median and this sigma.
    #[arg(long)]
    latency_sigma: Option<f64>,
    /// Wait between events of a stream.
    #[arg(long, value_parser = duration, default_value = "0ms")]
    event_gap: Duration,
    /// Words of an answer.
    #[arg(long, default_value_t = 16)]
    tokens: u32,
    /// Events that leave in one write when there is no gap.
    #[arg(long, default_value_t = 1)]
    events_per_write: u32,
    /// Serving threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seed of drawn latencies.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the log of all requests to this file at the end, as JSON; without it only sums are kept.
    #[arg(long)]
    truth: Option<PathBuf>,
}

/// What went wrong and whose it is.
enum Fault {
    Usage(anyhow::Error),
    Failure(anyhow::Error),
}

impl Arguments {
    /// Does what was asked and says how it went.
    pub fn execute(self) -> ExitCode {
        let done = match self.command {
            Command::Run(arguments) => arguments.execute(),
            Command::Mock(arguments) => arguments.execute().map_err(Fault::Failure).map(|()| true),
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(Fault::Usage(reason)) => complain(&reason, 2),
            Err(Fault::Failure(reason)) => complain(&reason, 1),
        }
    }
}

fn complain(reason: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("igris-load: {reason:#}");
    ExitCode::from(code)
}

impl RunArguments {
    fn execute(self) -> Result<bool, Fault> {
        let plan = self.plan().map_err(Fault::Usage)?;
        let report = run(&plan).map_err(Fault::Failure)?;
        let json = format!("{:#}\n", report.to_json());
        match &self.json {
            Some(path) if path.as_os_str() == "-" => print!("{json}"),
            Some(path) => {
                print!("{report}");
                let written = std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()));
                written.map_err(Fault::Failure)?;
            }
            None => print!("{report}"),
        }
        Ok(report.is_success())
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        let shape = match (self.rate, self.duration) {
            (Some(rate), Some(duration)) => {
                anyhow::ensure!(rate.is_finite() && rate > 0.0, "--rate must be above zero");
                Shape::Open { rate, duration }
            }
            _ => Shape::Closed { requests: self.requests.unwrap_or(u64::MAX), at_most: self.duration },
        };
        let unless_given = if self.rate.is_some() { 64 } else { 1 };
        let connections = self.connections.unwrap_or(unless_given);
        anyhow::ensure!((1..=100_000).contains(&connections), "--connections must be between 1 and 100000");
        let visible = !self.key.is_empty() && self.key.bytes().all(|byte| byte.is_ascii_graphic());
        anyhow::ensure!(visible, "--key must be visible ASCII characters without spaces");
        Ok(Plan {
            target: Target::parse(&self.url)?,
            prompts: Prompts {
                model: self.model.clone(),
                stream: self.stream,
                include_usage: self.include_usage,
                tokens: self.tokens,
                prompt_bytes: self.prompt_bytes,
                seed: self.seed,
            },
            key: self.key.clone(),
            connections,
            shape,
            timeout: self.timeout,
            verify: self.verify,
            verify_model: self.verify_model.clone(),
        })
    }
}

impl MockArguments {
    fn execute(self) -> anyhow::Result<()> {
        let latency = match self.latency_sigma {
            Some(sigma) => Latency::LogNormal { median: self.latency, sigma },
            None => Latency::from(self.latency),
        };
        let mut builder = Simulator::builder()
            .listen(self.listen)
            .models(self.models)
            .latency(latency)
            .event_gap(self.event_gap)
            .tokens(self.tokens)
            .events_per_write(self.events_per_write)
            .threads(self.threads)
            .seed(self.seed);
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        for key in self.keys {
            builder = builder.key(key);
        }
        for dialect in self.dialects {
            builder = builder.dialect(dialect);
        }
        if self.truth.is_none() {
            builder = builder.counters_only();
        }
        let simulator = builder.start().with_context(|| format!("cannot listen on {}", self.listen))?;
        // Whoever reads the URL may signal at once: listen for that first.
        let signals = Signals::listen()?;
        println!("{}", simulator.base_url());
        std::io::stdout().flush()?;
        signals.wait();
        let truth = simulator.truth_shared();
        simulator.stop();
        let log = truth.to_json();
        if let Some(path) = &self.truth {
            std::fs::write(path, format!("{log:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        }
        eprintln!("{}", log["counts"]);
        Ok(())
    }
}

/// SIGINT and SIGTERM, caught from the moment this exists.
struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (interrupt, terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Returns at the first of them.
    fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        });
    }
}
