//! `bench proxy`: what igris, nginx and HAProxy cost as proxies before one simulated provider: processor time and system calls a request and an
//! event, what they add to latency, and the memory of a stream that waits; before a plaintext provider and before one behind TLS.
//!
//! Rounds are interleaved, so that whatever else the machine does falls on each alike, and medians are told beside the spread. Processor time is
//! utime and stime of the whole process; loader and provider share one processor, the proxies have another. strace slows a process down,
//! so system calls are counted in a round of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::account::{Cost, calls_during, cpu_time, resident_kib};
use crate::bench;
use crate::bench_proxy_report::{Added, CostRow, Figures, Memory, Situation};
use crate::certs::{self, Certs};
use crate::load::Load;
use crate::parties::{self, ACCESS_KEY, CREDENTIAL, Kind, MODEL, Proxy, Side, Upstream, free_port};
use crate::place::{Place, on_path};
use crate::{hold, process};

/// Words of a whole answer.
const WORDS: u64 = 64;
/// Events of a stream.
const EVENTS: u64 = 200;
/// A stream costs as much as some fifty whole answers.
const STREAM_WORTH: u64 = 50;
/// Requests that strace slows down, of whole answers.
const TRACED: u64 = 2_000;
/// Pairs a second of the latency part: what the design's figures are stated for.
const PAIRS_PER_SECOND: u64 = 100;
/// Streams that are open before memory is first read: pools and tables have their size then.
const STREAMS_BEFORE: usize = 200;
/// How long memory is given to come to rest.
const SETTLE: Duration = Duration::from_secs(2);

/// The parts of the bench.
const PARTS: [&str; 4] = ["cost", "calls", "latency", "memory"];

/// What the command line asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    profile: String,
    connections: Vec<u64>,
    requests: u64,
    rounds: usize,
    stream: Vec<bool>,
    tls: Vec<bool>,
    kinds: Vec<Kind>,
    parts: Vec<&'static str>,
    streams: usize,
    gap: String,
    pairs_seconds: u64,
    build: bool,
    docs: bool,
    out: Option<PathBuf>,
}

/// Where one part of the bench stands.
struct Stand<'a> {
    place: &'a Place,
    options: &'a Options,
    folder: PathBuf,
    upstream: Upstream,
}

/// Runs `bench proxy`.
///
/// # Errors
/// The options are wrong, a program does not start, or a round fails.
pub(crate) fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    if options.build {
        bench::build(place, &options.profile)?;
    }
    let folder = place.scratch("bench-proxy");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let certs = certs::make(&folder);
    let mut figures = Figures::new(format!("cargo xtask bench proxy {}", words.join(" ")).trim_end().to_owned());
    for tls in &options.tls {
        let certs = match (tls, &certs) {
            (false, _) => None,
            (true, Ok(certs)) => Some(certs.clone()),
            (true, Err(why)) => {
                println!("TLS: skipped: {why:#}");
                continue;
            }
        };
        before_one_provider(place, &options, &folder, certs, &mut figures)?;
    }
    let out = options.out.clone().unwrap_or_else(|| folder.clone());
    figures.deliver(&out, options.docs.then_some(place.root.as_path()))?;
    Ok(ExitCode::SUCCESS)
}

// ---- Options ----------------------------------------------------------------------------------------------------------------

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options {
        profile: "release".to_owned(),
        connections: vec![1, 8, 64, 512],
        requests: 20_000,
        rounds: 5,
        stream: vec![false, true],
        tls: vec![false, true],
        kinds: Kind::ALL.to_vec(),
        parts: PARTS.to_vec(),
        streams: 2_000,
        gap: "0ms".to_owned(),
        pairs_seconds: 110,
        build: true,
        docs: false,
        out: None,
    };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        match *flag {
            "--no-build" => options.build = false,
            "--docs" => options.docs = true,
            "--quick" => options.hurry(),
            flag => options.set(flag, words.next().with_context(|| format!("{flag} needs a value"))?)?,
        }
    }
    Ok(options)
}

impl Options {
    /// Sizes at which everything is tried and nothing is measured.
    fn hurry(&mut self) {
        self.connections = vec![1, 8];
        (self.requests, self.rounds, self.streams, self.pairs_seconds) = (1_000, 1, 200, 3);
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<()> {
        let number = || match value.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => bail!("{flag} needs a number above zero, and `{value}` is none"),
        };
        match flag {
            "--profile" => value.clone_into(&mut self.profile),
            "--requests" => self.requests = number()?,
            "--rounds" => self.rounds = usize::try_from(number()?)?,
            "--streams" => self.streams = usize::try_from(number()?)?,
            "--pairs-seconds" => self.pairs_seconds = number()?,
            "--connections" => {
                self.connections = list(flag, value, |word| word.parse().ok().filter(|count| *count > 0))?
            }
            "--stream" => self.stream = either(flag, value)?,
            "--tls" => self.tls = either(flag, value)?,
            "--drivers" => self.kinds = list(flag, value, Kind::parse)?,
            "--parts" => self.parts = list(flag, value, |word| PARTS.into_iter().find(|part| *part == word))?,
            "--gap" => value.clone_into(&mut self.gap),
            "--out" => self.out = Some(PathBuf::from(value)),
            other => bail!("`bench proxy` has no option {other}"),
        }
        Ok(())
    }

    fn has(&self, part: &str) -> bool {
        self.parts.contains(&part)
    }

    /// How many requests one round has; with few of them the clock tick would show.
    fn round(&self, situation: Situation) -> u64 {
        let least = situation.connections * 4;
        if situation.stream { (self.requests / STREAM_WORTH).max(least) } else { self.requests.max(least) }
    }
}

/// Words with commas between them, each of which means something.
pub(crate) fn list<T>(flag: &str, value: &str, meaning: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let words = value.split(',').map(|word| meaning(word).with_context(|| format!("{flag} cannot have `{word}`")));
    words.collect()
}

fn either(flag: &str, value: &str) -> Result<Vec<bool>> {
    match value {
        "yes" => Ok(vec![true]),
        "no" => Ok(vec![false]),
        "both" => Ok(vec![false, true]),
        _ => bail!("{flag} is yes, no or both, and not `{value}`"),
    }
}

// ---- Parts ------------------------------------------------------------------------------------------------------------------

fn before_one_provider(
    place: &Place,
    options: &Options,
    folder: &Path,
    certs: Option<Certs>,
    figures: &mut Figures,
) -> Result<()> {
    let tls = certs.is_some();
    let stand = |name: &str| -> Result<Stand> {
        let folder = folder.join(format!("{name}-{}", if tls { "tls" } else { "plain" }));
        fs::create_dir_all(&folder)?;
        Ok(Stand { place, options, folder, upstream: Upstream { port: free_port()?, certs: certs.clone() } })
    };
    for stream in &options.stream {
        let stand = stand(if *stream { "streams" } else { "answers" })?;
        let manners = ["--latency", "0ms", "--gap", &options.gap];
        let _provider = parties::start_mock(place, &options.profile, &stand.folder, &stand.upstream, &manners)?;
        let mut proxies = stand.proxies(*stream)?;
        if options.has("memory") && !stream && !tls {
            thread::sleep(SETTLE);
            for proxy in &proxies {
                figures.idle.push((proxy.name.clone(), resident_kib(proxy.process.id())?));
            }
        }
        if options.has("cost") || options.has("calls") {
            stand.costs(&mut proxies, *stream, figures)?;
        }
        if options.has("latency") && !stream {
            figures.added.extend(stand.added(&proxies)?);
        }
    }
    if options.has("memory") {
        let stand = stand("held")?;
        let manners = ["--fault", "stream -> stall after 2 events"];
        let _provider = parties::start_mock(place, &options.profile, &stand.folder, &stand.upstream, &manners)?;
        figures.memory.extend(stand.memory(&stand.proxies(true)?)?);
    }
    Ok(())
}

impl Stand<'_> {
    fn proxies(&self, stream: bool) -> Result<Vec<Proxy>> {
        let wanted = (self.options.kinds.as_slice(), stream);
        parties::start_proxies(self.place, &self.options.profile, &self.folder, &self.upstream, wanted)
    }

    fn load(&self, situation: Situation, requests: u64) -> Load<'_> {
        let Situation { stream, connections, .. } = situation;
        let words = if stream { EVENTS } else { WORDS };
        Load { connections, requests, stream, words, ..Load::usual(&self.options.profile) }
    }

    /// Processor time and system calls, for each number of connections.
    fn costs(&self, proxies: &mut [Proxy], stream: bool, figures: &mut Figures) -> Result<()> {
        let tls = self.upstream.certs.is_some();
        let situations =
            self.options.connections.iter().map(|connections| Situation { stream, tls, connections: *connections });
        let situations: Vec<Situation> = situations.collect();
        let row = |situation: Situation, proxy: &Proxy| CostRow::new(situation, proxy.name.clone());
        let mut rows: Vec<Vec<CostRow>> = Vec::new();
        for situation in &situations {
            println!("\n==> {situation}: warm-up");
            for proxy in proxies.iter_mut() {
                let requests = (self.options.round(*situation) / 10).max(situation.connections * 2);
                self.load(*situation, requests).send(self.place, &self.folder, proxy)?;
            }
            rows.push(proxies.iter().map(|proxy| row(*situation, proxy)).collect());
        }
        let rounds = if self.options.has("cost") { self.options.rounds } else { 0 };
        for round in 1..=rounds {
            for (situation, rows) in situations.iter().zip(&mut rows) {
                println!("\n==> {situation}: round {round} of {rounds}");
                for (proxy, row) in proxies.iter_mut().zip(rows) {
                    self.round(proxy, row)?;
                }
            }
        }
        if self.options.has("calls") {
            self.calls(proxies, &situations, &mut rows)?;
        }
        figures.costs.extend(rows.into_iter().flatten());
        Ok(())
    }

    fn round(&self, proxy: &mut Proxy, row: &mut CostRow) -> Result<()> {
        let load = self.load(row.situation, self.options.round(row.situation));
        let before = cpu_time(proxy.process.id())?;
        let returned = load.send(self.place, &self.folder, proxy)?;
        let after = cpu_time(proxy.process.id())?;
        let cost = Cost::between(before, after, returned.answers);
        let Cost { user, system } = cost;
        println!("    {:<14} {user:>8.2} + {system:>8.2} = {:>8.2} us", proxy.name, cost.total());
        row.rounds.push(cost);
        row.events = returned.events / returned.answers.max(1.0);
        Ok(())
    }

    fn calls(&self, proxies: &mut [Proxy], situations: &[Situation], rows: &mut [Vec<CostRow>]) -> Result<()> {
        if on_path("strace").is_none() {
            println!("system calls: skipped: they need the Debian package strace");
            return Ok(());
        }
        for (situation, rows) in situations.iter().zip(rows) {
            println!("\n==> {situation}: system calls");
            let worth = if situation.stream { STREAM_WORTH } else { 1 };
            let requests = (TRACED.min(self.options.requests) / worth).max(situation.connections * 2);
            let load = self.load(*situation, requests);
            for (proxy, row) in proxies.iter_mut().zip(rows) {
                let counted = calls_during(proxy.process.id(), &self.folder, || {
                    load.send(self.place, &self.folder, proxy).map(drop)
                });
                match counted {
                    Ok(calls) => {
                        row.calls = Some(calls / requests as f64);
                        println!("    {:<14} {:>8.2} a request", proxy.name, calls / requests as f64);
                    }
                    Err(why) => println!("    {}: skipped: {why:#}", proxy.name),
                }
            }
        }
        Ok(())
    }

    /// What each adds to latency: pairs of requests, one direct and one through each, at a fixed low rate.
    fn added(&self, proxies: &[Proxy]) -> Result<Vec<Added>> {
        println!("\n==> latency added, {PAIRS_PER_SECOND} pairs a second for {} s", self.options.pairs_seconds);
        let result = self.folder.join("overhead.json");
        let mut command = Command::new(self.place.built(&self.options.profile, "igris-load"));
        command.args(["overhead", "--direct", &self.upstream.url(), "--direct-key", CREDENTIAL, "--model", MODEL]);
        command.args(["--rate", &PAIRS_PER_SECOND.to_string(), "--tokens", &WORDS.to_string()]);
        command
            .args(["--duration", &format!("{}s", self.options.pairs_seconds), "--key", CREDENTIAL, "--json"])
            .arg(&result);
        if let Some(certs) = &self.upstream.certs {
            command.arg("--ca").arg(&certs.authority);
        }
        for proxy in proxies {
            let name = proxy.name.replace(' ', "-");
            command.args(["--through", &format!("{name}=http://127.0.0.1:{}/v1", proxy.port)]);
            if proxy.key == ACCESS_KEY {
                command.args(["--key", &format!("{name}={ACCESS_KEY}")]);
            }
        }
        let limit = Duration::from_secs(self.options.pairs_seconds + 120);
        let ran = process::run_still(&mut parties::pinned(command, Side::Load), limit)?;
        let text = fs::read_to_string(&result).with_context(|| format!("no pairs were measured:\n{}", ran.output))?;
        added_of(&text, self.upstream.certs.is_some()).context("the result of `igris-load overhead` has another form")
    }

    /// What one more waiting stream costs: the difference of resident memory, shared out.
    fn memory(&self, proxies: &[Proxy]) -> Result<Vec<Memory>> {
        let mut rows = Vec::new();
        for proxy in proxies {
            let id = proxy.process.id();
            let before = hold::streams(proxy.port, proxy.key, STREAMS_BEFORE)?;
            thread::sleep(SETTLE);
            let first = resident_kib(id)?;
            let streams = hold::streams(proxy.port, proxy.key, self.options.streams)?;
            thread::sleep(SETTLE);
            let each_kib = (resident_kib(id)? - first) / streams.len() as f64;
            println!("    {:<14} {each_kib:>8.2} KiB a stream", proxy.name);
            let tls = self.upstream.certs.is_some();
            rows.push(Memory { proxy: proxy.name.clone(), tls, streams: streams.len(), each_kib });
            drop((before, streams));
        }
        Ok(rows)
    }
}

/// The headline of a result of `igris-load overhead`: what each adds at p50, p99 and p99.9, microseconds with its interval.
fn added_of(text: &str, tls: bool) -> Option<Vec<Added>> {
    let result: Value = serde_json::from_str(text).ok()?;
    let rows = result.get("measures")?.as_array()?.first()?.get("added")?.as_array()?;
    let added = |row: &Value| {
        let shifts = row.get("shifts")?.as_array()?;
        let at = |wanted: f64| {
            let shift = shifts.iter().find(|pair| pair[0].as_f64().is_some_and(|q| (q - wanted).abs() < 1e-9))?;
            let part = |name: &str| shift[1].get(name).and_then(Value::as_f64);
            Some([part("value")?, part("low")?, part("high")?])
        };
        let proxy = row.get("name")?.as_str()?.replace("igris-", "igris ");
        Some(Added { proxy, tls, pairs: row.get("pairs")?.as_u64()?, at: [at(0.5), at(0.99), at(0.999)] })
    };
    rows.iter().map(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--requests", "60000", "--connections", "64", "--rounds", "5"]).expect("good ones");
        assert_eq!((options.requests, &options.connections[..], options.rounds), (60_000, &[64][..], 5));
        assert_eq!((&options.stream[..], &options.tls[..]), (&[false, true][..], &[false, true][..]));
        let options = parse(&["--quick", "--no-build", "--drivers", "epoll,nginx", "--tls", "no", "--parts", "cost"]);
        let options = options.expect("good ones");
        assert_eq!((options.kinds, options.tls, options.build), (vec![Kind::Epoll, Kind::Nginx], vec![false], false));
        assert_eq!(options.parts, ["cost"]);
        let wrong: [&[&str]; 8] = [
            &["--requests"],
            &["--requests", "many"],
            &["--rounds", "0"],
            &["--connections", "1,,8"],
            &["--drivers", "apache"],
            &["--tls", "perhaps"],
            &["--parts", "speed"],
            &["--speed", "1"],
        ];
        for words in wrong {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_round_has_a_few_requests_for_each_connection() {
        let options = parse(&[]).expect("the usual ones");
        let at = |stream, connections| options.round(Situation { stream, tls: false, connections });
        assert_eq!([at(false, 64), at(true, 8), at(true, 512)], [20_000, 400, 2_048]);
    }

    #[test]
    fn what_is_added_is_read() {
        let text = r#"{"measures": [{"name": "net", "added": [
            {"name": "igris-epoll", "pairs": 900, "shifts": [[0.5, {"value": 60.0, "low": 58.5, "high": 61}], [0.99, {"value": 150.0, "low": 140, "high": 160}], [0.999, null]]}
        ]}]}"#;
        let rows = added_of(text, true).expect("it has all");
        assert_eq!((rows[0].proxy.as_str(), rows[0].tls, rows[0].pairs), ("igris epoll", true, 900));
        assert_eq!(rows[0].at, [Some([60.0, 58.5, 61.0]), Some([150.0, 140.0, 160.0]), None]);
        assert_eq!(added_of("{}", false).map(|rows| rows.len()), None);
    }
}
