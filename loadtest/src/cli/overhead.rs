//! `igris-load overhead`.

use super::outputs::write;
use super::signals::Signals;
use super::{Fault, Verdict};
use anyhow::{Context as _, ensure};
use clap::Args;
use igris_load::Simulator;
use igris_load::dialect::Dialect;
use igris_load::engine::Stop;
use igris_load::measure::Stamp;
use igris_load::overhead::{Limit, Overhead, Pace, Place, Provider, Question, Schedule, Target, document, measure};
use igris_load::report::html::page;
use igris_load::report::png::picture;
use igris_load::simulator::{Latency, Surface, duration};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct OverheadArguments {
    /// URL of the provider itself; that of --mock unless given.
    #[arg(long, required_unless_present = "mock")]
    direct: Option<String>,
    /// URL of a gateway in front of it (repeatable), with a name if you like: NAME=URL.
    #[arg(long, required = true, value_name = "[NAME=]URL")]
    through: Vec<String>,
    /// Pairs a second: one request to each target, apart from each other.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Pairs to send; or say --duration.
    #[arg(long, conflicts_with = "duration")]
    pairs: Option<u64>,
    /// How long to send pairs, such as 60s; 30s unless --pairs is given.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Ask for streams: first token and gaps are timed.
    #[arg(long)]
    stream: bool,
    /// Wire format: openai, responses, anthropic, gemini, bedrock or cohere.
    #[arg(long, default_value_t)]
    dialect: Dialect,
    /// Model to ask for; a usual one of the dialect unless given.
    #[arg(long)]
    model: Option<String>,
    /// Access key to show to the gateways; one alone may be given its own: NAME=KEY (repeatable).
    #[arg(long, env = "IGRIS_LOAD_KEY", hide_env_values = true, default_value = "sk-load-0000000000000000")]
    key: Vec<String>,
    /// Key to show to the provider itself.
    #[arg(long, env = "IGRIS_LOAD_DIRECT_KEY", hide_env_values = true, default_value = "sk-load-0000000000000000")]
    direct_key: String,
    /// A file of PEM certificates to trust besides the usual roots, for https URLs.
    #[arg(long)]
    ca: Option<String>,
    /// Be the provider, listening here, where the gateways' provider points to; without it, an igris-load mock at --direct is asked for its stamps.
    #[arg(long, value_name = "ADDR")]
    mock: Option<SocketAddr>,
    /// The provider's wait before its first byte, with --mock.
    #[arg(long, value_parser = duration, default_value = "0ms", requires = "mock")]
    latency: Duration,
    /// Log-normal spread of that wait, with --mock.
    #[arg(long, requires = "mock")]
    latency_sigma: Option<f64>,
    /// The provider's wait between events of a stream, with --mock.
    #[arg(long, value_parser = duration, default_value = "0ms", requires = "mock")]
    event_gap: Duration,
    /// Words of an answer, where the provider is simulated.
    #[arg(long)]
    tokens: Option<u32>,
    /// Bytes of a prompt, about.
    #[arg(long, default_value_t = 200)]
    prompt_bytes: usize,
    /// Requests to each target over each connection before those that count.
    #[arg(long, default_value_t = 20)]
    warm_up: u64,
    /// Connections to each target; enough to keep the schedule unless given.
    #[arg(long)]
    lanes: Option<usize>,
    /// Decides the order within pairs, and all resampling.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long one answer may take.
    #[arg(long, value_parser = duration, default_value = "30s")]
    timeout: Duration,
    /// What a gateway may add at the median, such as 100us; exit code 3 if it surely adds more, 6 if the data cannot tell.
    #[arg(long, value_parser = duration)]
    max_p50: Option<Duration>,
    /// What it may add at the 90th percentile.
    #[arg(long, value_parser = duration)]
    max_p90: Option<Duration>,
    /// What it may add at the 99th percentile.
    #[arg(long, value_parser = duration)]
    max_p99: Option<Duration>,
    /// What it may add at the 99.9th percentile.
    #[arg(long, value_parser = duration)]
    max_p999: Option<Duration>,
    /// Write the result as JSON to this file; `-` is standard output, in place of the text.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the result as one self-contained page.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Write the result as a picture.
    #[arg(long)]
    png: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  # nginx and igris in front of one simulated provider, which this command itself plays
  igris-load overhead --mock 127.0.0.1:9090 --through nginx=http://127.0.0.1:8080 --through igris=http://127.0.0.1:8081 --rate 100 --duration 60s

  # the same for streams, with a bound that fails a build
  igris-load overhead --mock 127.0.0.1:9090 --through http://127.0.0.1:8081 --stream --max-p50 60us --max-p99 150us

  # is the method sound? The provider against itself must add nothing
  igris-load overhead --mock 127.0.0.1:9090 --through null=http://127.0.0.1:9090 --pairs 2000

Exit codes: 0 fine, 1 requests failed, 2 wrong usage, 3 a limit is broken, 4 the rig was not fit, 6 the data cannot tell.
How figures are reckoned: docs/load-overhead.md.";

impl OverheadArguments {
    pub(super) fn execute(self) -> Result<Verdict, Fault> {
        let pairs = self.pair_count().map_err(Fault::Usage)?;
        let simulator = self.simulator().map_err(Fault::Failure)?;
        let targets = self.targets(simulator.as_ref()).map_err(Fault::Usage)?;
        let schedule = Schedule { pairs, targets: targets.len(), rate: self.rate, seed: self.seed };
        let pace = Pace { schedule, lanes: self.lanes, warm_up: self.warm_up, timeout: self.timeout };
        let question = Question {
            dialect: self.dialect,
            model: self.model().to_owned(),
            stream: self.stream,
            tokens: self.tokens,
            prompt_bytes: self.prompt_bytes,
        };
        let provider = simulator.as_ref().map_or_else(|| Provider::There(targets[0].place.clone()), Provider::Here);
        let stop = stop_on_signal().map_err(Fault::Failure)?;
        let mut result = measure(&targets, &question, &pace, Some(&provider), &stop).map_err(Fault::Failure)?;
        result.rerun = self.rerun();
        result.limits = self.limits(&result);
        self.deliver(&result).map_err(Fault::Failure)?;
        Ok(verdict(&result))
    }

    fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(self.dialect.default_model())
    }

    fn pair_count(&self) -> anyhow::Result<u64> {
        ensure!(self.rate.is_finite() && self.rate > 0.0, "--rate must be above zero, such as 100");
        let duration = self.duration.unwrap_or(Duration::from_secs(30));
        Ok(self.pairs.unwrap_or_else(|| (self.rate * duration.as_secs_f64()).round() as u64))
    }

    fn simulator(&self) -> anyhow::Result<Option<Simulator>> {
        let Some(listen) = self.mock else { return Ok(None) };
        let latency = match self.latency_sigma {
            Some(sigma) => Latency::LogNormal { median: self.latency, sigma },
            None => Latency::from(self.latency),
        };
        let mut builder = Simulator::builder()
            .listen(listen)
            .models(Vec::<String>::new())
            .latency(latency)
            .event_gap(self.event_gap)
            .seed(self.seed)
            .counters_only();
        for surface in [Surface::OpenAi, Surface::Anthropic, Surface::Gemini, Surface::Bedrock, Surface::Cohere] {
            builder = builder.dialect(surface);
        }
        let place =
            || format!("cannot listen on {listen}; choose a free port with --mock, or leave it out if a mock is there");
        builder.start().map(Some).with_context(place)
    }

    /// The direct target first.
    fn targets(&self, simulator: Option<&Simulator>) -> anyhow::Result<Vec<Target>> {
        let own = simulator.map(Simulator::origin);
        let direct = self.direct.clone().or(own).context("say where the provider is with --direct or --mock")?;
        let ca = self.ca.as_deref();
        let place = Place::parse(&direct, ca)?;
        let mut targets = vec![Target { name: "direct".into(), place, url: direct, key: self.direct_key.clone() }];
        for through in &self.through {
            let (name, url) = split_name(through);
            ensure!(!name.is_empty(), "--through {through:?} has an empty name; write NAME=URL or the URL alone");
            let twice = targets.iter().any(|target| target.name == name);
            ensure!(!twice, "--through names {name:?} twice; give each its own name: NAME=URL");
            let target =
                Target { name: name.into(), url: url.into(), place: Place::parse(url, ca)?, key: self.key_for(name)? };
            targets.push(target);
        }
        Ok(targets)
    }

    /// The names of the gateways.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.through.iter().map(|through| split_name(through).0)
    }

    /// The key of one gateway: that with its name, else the one without a name.
    fn key_for(&self, name: &str) -> anyhow::Result<String> {
        let named = |key: &str| key.split_once('=').is_some_and(|(whose, _)| self.names().any(|known| known == whose));
        let own = self.key.iter().find_map(|key| key.strip_prefix(name)?.strip_prefix('='));
        let common = self.key.iter().map(String::as_str).find(|key| !named(key));
        let key = own.or(common).unwrap_or("sk-load-0000000000000000");
        let visible = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(visible, "--key for {name} must be visible ASCII characters without spaces");
        Ok(key.to_owned())
    }

    fn limits(&self, result: &Overhead) -> Vec<Limit> {
        let bounds = [(0.5, self.max_p50), (0.9, self.max_p90), (0.99, self.max_p99), (0.999, self.max_p999)];
        let mut limits = Vec::new();
        for added in result.headline().into_iter().flat_map(|measure| &measure.added) {
            for (quantile, bound) in bounds {
                let Some(bound) = bound else { continue };
                let max_us = bound.as_secs_f64() * 1e6;
                limits.push(Limit::judge(&added.name, quantile, max_us, added.shift(quantile)));
            }
        }
        limits
    }

    /// The arguments that matter, without keys.
    fn rerun(&self) -> String {
        let mut line = String::from("igris-load overhead");
        let mut add = |name: &str, value: &str| {
            line.push_str(&format!(" --{name} {value}"));
        };
        if let Some(direct) = &self.direct {
            add("direct", direct);
        }
        for through in &self.through {
            add("through", through);
        }
        if let Some(listen) = self.mock {
            add("mock", &listen.to_string());
            add("latency", &format!("{}us", self.latency.as_micros()));
            add("event-gap", &format!("{}us", self.event_gap.as_micros()));
            if let Some(sigma) = self.latency_sigma {
                add("latency-sigma", &sigma.to_string());
            }
        }
        add("rate", &self.rate.to_string());
        add("pairs", &self.pair_count().unwrap_or_default().to_string());
        add("model", self.model());
        add("prompt-bytes", &self.prompt_bytes.to_string());
        if let Some(tokens) = self.tokens {
            add("tokens", &tokens.to_string());
        }
        add("dialect", self.dialect.name());
        add("warm-up", &self.warm_up.to_string());
        add("timeout", &format!("{}us", self.timeout.as_micros()));
        if let Some(lanes) = self.lanes {
            add("lanes", &lanes.to_string());
        }
        if let Some(ca) = &self.ca {
            add("ca", ca);
        }
        add("seed", &self.seed.to_string());
        if self.stream {
            line.push_str(" --stream");
        }
        line
    }

    fn deliver(&self, result: &Overhead) -> anyhow::Result<()> {
        if self.json.as_ref().is_none_or(|path| path.as_os_str() != "-") {
            print!("{result}");
        }
        if let Some(path) = &self.json {
            let json = serde_json::to_string_pretty(result).context("the result is no JSON")?;
            write(path, format!("{json}\n"))?;
        }
        if let Some(path) = &self.html {
            write(path, page(&document(result)))?;
        }
        if let Some(path) = &self.png {
            write(path, picture(&document(result))?)?;
        }
        Ok(())
    }
}

/// `NAME=URL`, or a URL alone, which is its own name.
fn split_name(through: &str) -> (&str, &str) {
    match through.split_once('=') {
        Some((name, url)) if !name.contains("://") => (name, url),
        _ => (through.trim_start_matches("http://").trim_start_matches("https://"), through),
    }
}

/// A word that ends the run, said by SIGINT or SIGTERM; what was measured until then is reported.
fn stop_on_signal() -> anyhow::Result<Stop> {
    let (signals, stop) = (Signals::listen()?, Stop::default());
    let word = stop.clone();
    std::thread::spawn(move || {
        signals.wait();
        word.stop();
    });
    Ok(stop)
}

fn verdict(result: &Overhead) -> Verdict {
    let holds = |state| result.limits.iter().any(|limit| limit.holds == state);
    match () {
        () if matches!(result.stamp, Stamp::Invalid(_)) => Verdict::Invalid,
        () if result.failed() > 0 => Verdict::Failed,
        () if holds(Some(false)) => Verdict::Missed,
        () if holds(None) => Verdict::Inconclusive,
        () => Verdict::Fine,
    }
}
