//! `bench http2`: what HTTP/2 costs beside HTTP/1.1, on either side of the gateway, by processor time of the whole process.
//!
//! Towards clients h2load sends the same requests over HTTP/1.1, over HTTP/2 with one stream a connection, and over a few connections with
//! many streams each; one gateway answers all three. Towards providers two gateways, told to speak the one and the other, ask a third
//! gateway, which stands for a provider and is not counted. Rounds are interleaved.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::account::{Cost, cpu_time};
use crate::bench::{self, ROUND_LIMIT, machine, median};
use crate::bench_proxy_report::insert;
use crate::load::Load;
use crate::parties::{self, ACCESS_KEY, Gateway, MODEL, Proxy, Side, Upstream, free_port, pinned};
use crate::place::Place;
use crate::plot::figure;
use crate::{debian, process};

/// Speaks HTTP/2 with and without TLS, and lets h2load, which opens no second connection, stay on its first.
const SERVER: &str = "[server]\nhttp2 = \"all\"\n[server.limits]\nexchanges_per_connection = 1000000\n";
/// The page with the tables.
const PAGE: &str = "docs/http2.md";
/// Words of an answer, and so events of a stream.
const WORDS: u64 = 64;
/// Streams in a round, where so many whole answers are.
const STREAMS_OF: u64 = 10;

/// How h2load talks to the gateway.
struct Way {
    name: &'static str,
    words: &'static [&'static str],
}

const WAYS: [Way; 4] = [
    Way { name: "HTTP/1.1, 64 connections", words: &["--h1", "-c", "64", "-m", "1"] },
    Way { name: "HTTP/2, 64 connections of 1 stream", words: &["-c", "64", "-m", "1"] },
    Way { name: "HTTP/2, 8 connections of 8 streams", words: &["-c", "8", "-m", "8"] },
    Way { name: "HTTP/2, 1 connection of 64 streams", words: &["-c", "1", "-m", "64"] },
];

/// What the command line asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    profile: String,
    driver: String,
    requests: u64,
    rounds: usize,
    build: bool,
    docs: bool,
}

/// Costs of one row, by round.
struct Row {
    name: String,
    rounds: Vec<Cost>,
}

struct Stand<'a> {
    place: &'a Place,
    options: &'a Options,
    folder: PathBuf,
}

/// Runs `bench http2`.
///
/// # Errors
/// The options are wrong, a program does not start, or a round fails.
pub(crate) fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    let h2load = match debian::program("h2load", "nghttp2-client") {
        Ok(program) => program,
        Err(why) => {
            println!("bench http2: skipped: {why}");
            return Ok(ExitCode::SUCCESS);
        }
    };
    if options.build {
        bench::build(place, &options.profile)?;
    }
    let folder = place.scratch("bench-http2");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let upstream = Upstream::plain(free_port()?);
    let _provider = parties::start_mock(
        place,
        &options.profile,
        &folder,
        &upstream,
        &["--latency", "0ms", "--tokens", &WORDS.to_string()],
    )?;
    let stand = Stand { place, options: &options, folder };
    let mut table =
        format!("`{}`; {}.\n", format!("cargo xtask bench http2 {}", words.join(" ")).trim_end(), machine());
    for stream in [false, true] {
        let what = if stream { format!("a stream of {WORDS} events") } else { format!("an answer of {WORDS} words") };
        let rows = stand.clients(&h2load, &upstream, stream)?;
        table.push_str(&printed(&format!("towards clients: {what}"), &rows));
        let rows = stand.providers(&upstream, stream)?;
        table.push_str(&printed(&format!("towards providers: {what}"), &rows));
    }
    println!("\n{table}");
    fs::write(stand.folder.join("http2.md"), &table)?;
    if options.docs {
        insert(&place.root.join(PAGE), "http2", &table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options {
        profile: "release".to_owned(),
        driver: "io_uring".to_owned(),
        requests: 20_000,
        rounds: 5,
        build: true,
        docs: false,
    };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        match *flag {
            "--no-build" => options.build = false,
            "--docs" => options.docs = true,
            "--quick" => (options.requests, options.rounds) = (1_000, 1),
            flag => options.set(flag, words.next().with_context(|| format!("{flag} needs a value"))?)?,
        }
    }
    Ok(options)
}

impl Options {
    fn set(&mut self, flag: &str, value: &str) -> Result<()> {
        let number = || value.parse::<u64>().ok().filter(|number| *number > 0);
        let number = || number().with_context(|| format!("{flag} needs a number above zero"));
        match flag {
            "--profile" => value.clone_into(&mut self.profile),
            "--driver" => {
                ensure!(["io_uring", "epoll"].contains(&value), "--driver is io_uring or epoll");
                value.clone_into(&mut self.driver);
            }
            "--requests" => self.requests = number()?,
            "--rounds" => self.rounds = usize::try_from(number()?)?,
            other => bail!("`bench http2` has no option {other}"),
        }
        Ok(())
    }

    /// Requests of a round.
    fn count(&self, stream: bool) -> u64 {
        if stream { (self.requests / STREAMS_OF).max(64) } else { self.requests }
    }
}

impl Stand<'_> {
    /// One gateway, asked by h2load in every way.
    fn clients(&self, h2load: &Path, upstream: &Upstream, stream: bool) -> Result<Vec<Row>> {
        let gateway = self.gateway(if stream { "clients-stream" } else { "clients" }, upstream, |usual| usual)?;
        let body = self.folder.join("body.json");
        fs::write(&body, body_of(stream))?;
        let mut rows: Vec<Row> = WAYS.iter().map(|way| Row::new(way.name)).collect();
        let count = self.options.count(stream);
        for round in 0..=self.options.rounds {
            for (row, way) in rows.iter_mut().zip(&WAYS) {
                let before = cpu_time(gateway.process.id())?;
                self.sent(h2load, &gateway, way, &body, count)?;
                row.note(round, Cost::between(before, cpu_time(gateway.process.id())?, count as f64));
            }
        }
        Ok(rows)
    }

    /// Two gateways before a third, which speaks both.
    fn providers(&self, upstream: &Upstream, stream: bool) -> Result<Vec<Row>> {
        let suffix = if stream { "-stream" } else { "" };
        let relay = self
            .gateway(&format!("provider{suffix}"), upstream, |usual| Gateway { processors: parties::LOAD, ..usual })?;
        let provider = Upstream::plain(relay.port);
        let mut members = Vec::new();
        for (name, http) in [("HTTP/1.1", "http = \"1.1\"\n"), ("HTTP/2", "http = \"2\"\n")] {
            let home = format!("{}{suffix}", name.replace(['/', '.'], "-"));
            let member = self.gateway(&home, &provider, |usual| Gateway {
                provider_lines: http,
                credential: ACCESS_KEY,
                ..usual
            })?;
            members.push((Row::new(&format!("{name}, 64 requests at once")), member));
        }
        let load =
            Load { requests: self.options.count(stream), stream, words: WORDS, ..Load::usual(&self.options.profile) };
        for round in 0..=self.options.rounds {
            for (row, member) in &mut members {
                let before = cpu_time(member.process.id())?;
                let returned = load.send(self.place, &self.folder, member)?;
                row.note(round, Cost::between(before, cpu_time(member.process.id())?, returned.answers));
            }
        }
        Ok(members.into_iter().map(|(row, _)| row).collect())
    }

    fn gateway<'s>(
        &'s self,
        name: &str,
        upstream: &'s Upstream,
        with: impl FnOnce(Gateway<'_>) -> Gateway<'_>,
    ) -> Result<Proxy> {
        let (home, port) = (self.folder.join(name), free_port()?);
        let usual =
            Gateway::usual(&self.options.profile, &home, (&["127.0.0.1"], port), upstream, &self.options.driver);
        let process = with(Gateway { lines: SERVER, name, ..usual }).start(self.place)?;
        Ok(Proxy { name: name.to_owned(), port, key: ACCESS_KEY, process, rounds: Vec::new() })
    }

    /// So many requests by h2load; every one is answered with success.
    fn sent(&self, h2load: &Path, gateway: &Proxy, way: &Way, body: &Path, count: u64) -> Result<()> {
        let mut command = Command::new(h2load);
        command.args(way.words).args(["-t", "1", "-n", &count.to_string(), "-d"]).arg(body);
        command.args(["-H", "content-type: application/json"]);
        command.args(["-H", &format!("authorization: Bearer {}", gateway.key)]);
        command.arg(format!("http://127.0.0.1:{}/v1/chat/completions", gateway.port));
        let ran = process::run_still(&mut pinned(command, Side::Load), ROUND_LIMIT)?;
        let succeeded = succeeded(&ran.output).context("h2load says something else than it did")?;
        ensure!(
            ran.ok && succeeded == count,
            "{}: {succeeded} of {count} requests succeeded:\n{}",
            way.name,
            ran.output
        );
        Ok(())
    }
}

// === impl Row ===

impl Row {
    fn new(name: &str) -> Row {
        Row { name: name.to_owned(), rounds: Vec::new() }
    }

    /// The first round warms up.
    fn note(&mut self, round: usize, cost: Cost) {
        if round > 0 {
            println!("    {:<36} {:>8.2} us, round {round}", self.name, cost.total());
            self.rounds.push(cost);
        }
    }

    fn median(&self, of: fn(&Cost) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }
}

/// A question of the usual form.
fn body_of(stream: bool) -> String {
    let content = "How does a reverse proxy keep its connections to an upstream alive?";
    let stream = if stream { ",\"stream\":true" } else { "" };
    format!("{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{content}\"}}]{stream}}}")
}

/// Requests with a status of 2xx, from the line `requests: 10 total, 10 started, 10 done, 10 succeeded, …`.
fn succeeded(output: &str) -> Option<u64> {
    let line = output.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let part = line.split(", ").find_map(|part| part.strip_suffix(" succeeded"))?;
    part.parse().ok()
}

fn printed(title: &str, rows: &[Row]) -> String {
    let mut table = format!("\n| {title} | user us | system us | total us | of HTTP/1.1 |\n|---|---|---|---|---|\n");
    let first = rows.first().map_or(0.0, |row| row.median(|cost| cost.total()));
    for row in rows {
        let total = row.median(|cost| cost.total());
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {:.2} |",
            row.name,
            figure(row.median(|cost| cost.user)),
            figure(row.median(|cost| cost.system)),
            figure(total),
            total / first.max(1e-9)
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--driver", "epoll", "--quick", "--docs"]).expect("good ones");
        assert_eq!((options.driver.as_str(), options.count(false), options.count(true)), ("epoll", 1_000, 100));
        assert!(options.docs && options.build);
        for words in [&["--rounds", "0"][..], &["--driver", "kqueue"], &["--requests"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn what_h2load_says_is_read() {
        let output =
            "finished in 1s\nrequests: 20 total, 20 started, 20 done, 19 succeeded, 1 failed, 0 errored, 0 timeout\n";
        assert_eq!(succeeded(output), Some(19));
        assert_eq!(succeeded("nothing\n"), None);
    }

    #[test]
    fn rows_are_held_against_the_first() {
        let mut rows = [Row::new("one"), Row::new("two")];
        for (row, user) in rows.iter_mut().zip([10.0, 15.0]) {
            row.note(0, Cost { user: 1e6, system: 0.0 });
            row.note(1, Cost { user, system: 10.0 });
        }
        let table = printed("towards clients", &rows);
        assert!(table.contains("| two | 15.0 | 10.0 | 25.0 | 1.25 |"), "{table}");
    }
}
