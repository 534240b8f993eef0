//! `bench scale`: what the same request costs beside more and more idle connections, among more access keys and more routes, and on two
//! workers instead of one. A cost that grows with any of them would not be that of the request. Last, what an atomic addition costs where
//! every processor makes it on one cache line, which is what `docs/scaling.md` reckons with.
//!
//! Each part has a gateway for each size, all loaded in interleaved rounds; processor time of the whole process is compared with that of
//! the smallest size. Where this machine has too few descriptors, fewer connections are held, and the table says how many.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::account::{Cost, cpu_time, resident_kib};
use crate::bench::{self, machine, median};
use crate::bench_proxy::list;
use crate::bench_proxy_report::insert;
use crate::load::Load;
use crate::parties::{self, ACCESS_KEY, Gateway, MODEL, Proxy, Upstream, free_port};
use crate::place::Place;
use crate::plot::figure;
use crate::{hold, process};

/// Loopback addresses, each with its own ports towards the gateway.
const ADDRESSES: [&str; 8] =
    ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8"];
/// Idle connections outlive the bench.
const PATIENT: &str = "[server.limits]\nkeep_alive_idle = \"600s\"\n";
/// Descriptors of a process for everything but what is held.
const OTHER_DESCRIPTORS: u64 = 300;
/// A core has no more places than 100 000; the load needs some.
const CONNECTIONS_MAX: u64 = 99_000;
/// How long a gateway may take to end before its store is filled.
const END_LIMIT: Duration = Duration::from_secs(60);
/// Adds access keys that nobody has, as a gateway would store them.
const FILL: &str = "import sqlite3, sys
store = sqlite3.connect(sys.argv[1])
store.execute('''WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
INSERT INTO access_keys (id, tenant, name, pepper_version, digest, last4, scopes, limits, created)
SELECT randomblob(16), 'default', 'app', 1, randomblob(32), 'abcd', 1, '{}', 0 FROM n''', [int(sys.argv[2])])
store.commit()";
/// The page with the table.
const PAGE: &str = "docs/scaling.md";

const PARTS: [&str; 5] = ["connections", "keys", "routes", "workers", "line"];
/// Additions of each thread.
const ADDITIONS: u64 = 10_000_000;

/// What the command line asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    profile: String,
    driver: String,
    requests: u64,
    rounds: usize,
    parts: Vec<&'static str>,
    idle: Vec<u64>,
    keys: Vec<u64>,
    routes: Vec<u64>,
    build: bool,
    docs: bool,
}

/// One gateway of a part.
struct Member {
    /// What there is so much of.
    label: String,
    model: String,
    proxy: Proxy,
    /// Answers a second, by round.
    rates: Vec<f64>,
    /// Held for as long as the part lasts.
    #[expect(dead_code, reason = "an open connection does its work by being there")]
    idle_held: Vec<TcpStream>,
}

struct Stand<'a> {
    place: &'a Place,
    options: &'a Options,
    folder: PathBuf,
    upstream: Upstream,
}

/// Runs `bench scale`.
///
/// # Errors
/// The options are wrong, a program does not start, or a round fails.
pub(crate) fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    if options.build {
        bench::build(place, &options.profile)?;
    }
    let folder = place.scratch("bench-scale");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let upstream = Upstream::plain(free_port()?);
    let _provider = parties::start_mock(place, &options.profile, &folder, &upstream, &["--latency", "0ms"])?;
    let stand = Stand { place, options: &options, folder, upstream };
    let mut table =
        format!("`{}`; {}.\n", format!("cargo xtask bench scale {}", words.join(" ")).trim_end(), machine());
    table.push_str(
        "\n| what | user us | system us | total us | of the first | answers a second | resident MiB |\n|---|---|---|---|---|---|---|\n",
    );
    for part in options.parts.iter().filter(|part| **part != "line") {
        println!("\n==> {part}");
        let mut members = match *part {
            "connections" => stand.connections()?,
            "keys" => stand.keys()?,
            "routes" => stand.routes()?,
            _ => stand.workers()?,
        };
        stand.rounds(&mut members)?;
        rows(&members, &mut table)?;
    }
    if options.parts.contains(&"line") {
        table.push_str(&line(ADDITIONS));
    }
    println!("\n{table}");
    fs::write(stand.folder.join("scale.md"), &table)?;
    if options.docs {
        insert(&place.root.join(PAGE), "scale", &table)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options {
        profile: "release".to_owned(),
        driver: "epoll".to_owned(),
        requests: 20_000,
        rounds: 5,
        parts: PARTS.to_vec(),
        idle: vec![1, 1_000, 10_000, 100_000],
        keys: vec![1, 1_000, 100_000, 1_000_000],
        routes: vec![1, 100, 10_000],
        build: true,
        docs: false,
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
        (self.requests, self.rounds) = (1_000, 1);
        (self.idle, self.keys, self.routes) = (vec![1, 100], vec![1, 1_000], vec![1, 100]);
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<()> {
        let above_zero = |word: &str| word.parse::<u64>().ok().filter(|number| *number > 0);
        let number = || above_zero(value).with_context(|| format!("{flag} needs a number above zero"));
        match flag {
            "--profile" => value.clone_into(&mut self.profile),
            "--driver" => {
                ensure!(["io_uring", "epoll"].contains(&value), "--driver is io_uring or epoll");
                value.clone_into(&mut self.driver);
            }
            "--requests" => self.requests = number()?,
            "--rounds" => self.rounds = usize::try_from(number()?)?,
            "--idle" => self.idle = list(flag, value, above_zero)?,
            "--keys" => self.keys = list(flag, value, above_zero)?,
            "--routes" => self.routes = list(flag, value, above_zero)?,
            "--parts" => self.parts = list(flag, value, |word| PARTS.into_iter().find(|part| *part == word))?,
            other => bail!("`bench scale` has no option {other}"),
        }
        Ok(())
    }
}

// ---- Parts ------------------------------------------------------------------------------------------------------------------

impl Stand<'_> {
    /// A gateway with further lines of configuration, on so many workers.
    fn gateway(&self, name: &str, lines: &str, (workers, processors): (u32, &str)) -> Result<Proxy> {
        let (home, port) = (self.folder.join(name), free_port()?);
        let (profile, driver) = (self.options.profile.as_str(), self.options.driver.as_str());
        let usual = Gateway::usual(profile, &home, (&ADDRESSES, port), &self.upstream, driver);
        let process = Gateway { lines, workers, processors, name, ..usual }.start(self.place)?;
        Ok(Proxy { name: name.to_owned(), port, key: ACCESS_KEY, process, rounds: Vec::new() })
    }

    fn connections(&self) -> Result<Vec<Member>> {
        let limit = rlimit::Resource::NOFILE.get().map_or(1_024, |(soft, _)| soft);
        let mut members = Vec::new();
        for size in held(&self.options.idle, limit) {
            let proxy = self.gateway(&format!("idle-{size}"), PATIENT, (1, parties::PROXY))?;
            let idle = hold::idle(&ADDRESSES, proxy.port, proxy.key, usize::try_from(size)?)?;
            members.push(Member { idle_held: idle, ..Member::new(format!("{size} idle connections"), MODEL, proxy) });
        }
        Ok(members)
    }

    fn keys(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for size in &self.options.keys {
            let name = format!("keys-{size}");
            let mut proxy = self.gateway(&name, "", (1, parties::PROXY))?;
            if *size > 1 {
                proxy.process.end(END_LIMIT)?;
                fill(&self.folder.join(&name).join("igris.db"), size - 1)?;
                proxy = self.gateway(&name, "", (1, parties::PROXY))?;
            }
            members.push(Member::new(format!("{size} access keys"), MODEL, proxy));
        }
        Ok(members)
    }

    fn routes(&self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for size in &self.options.routes {
            let proxy = self.gateway(&format!("routes-{size}"), &routes(*size), (1, parties::PROXY))?;
            members.push(Member::new(format!("{size} routes"), &format!("route-{}", size / 2), proxy));
        }
        Ok(members)
    }

    /// With four processors or more nobody shares one with the loader; with two the second worker does.
    fn workers(&self) -> Result<Vec<Member>> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let sets = if processors >= 4 { [(1, "2"), (2, "2,3")] } else { [(1, "1"), (2, "0,1")] };
        if processors < 4 {
            println!(
                "{processors} processors: the loader shares them with the workers; compare cost, not answers a second"
            );
        }
        let member = |(workers, set): (u32, &str)| {
            let proxy = self.gateway(&format!("workers-{workers}"), "", (workers, set))?;
            Ok(Member::new(format!("{workers} worker{}", if workers == 1 { "" } else { "s" }), MODEL, proxy))
        };
        sets.into_iter().map(member).collect()
    }

    fn rounds(&self, members: &mut [Member]) -> Result<()> {
        let usual = Load { requests: self.options.requests, ..Load::usual(&self.options.profile) };
        for round in 0..=self.options.rounds {
            for member in members.iter_mut() {
                // The first round warms up.
                let requests = if round == 0 { (usual.requests / 10).max(usual.connections) } else { usual.requests };
                let load = Load { requests, model: &member.model, ..usual.clone() };
                let before = cpu_time(member.proxy.process.id())?;
                let returned = load.send(self.place, &self.folder, &mut member.proxy)?;
                let cost = Cost::between(before, cpu_time(member.proxy.process.id())?, returned.answers);
                if round > 0 {
                    println!("    {:<26} {:>8.2} us, round {round}", member.label, cost.total());
                    member.proxy.rounds.push(cost);
                    member.rates.push(returned.answers / returned.elapsed_s.max(1e-9));
                }
            }
        }
        Ok(())
    }
}

// === impl Member ===

impl Member {
    fn new(label: String, model: &str, proxy: Proxy) -> Member {
        Member { label, model: model.to_owned(), proxy, rates: Vec::new(), idle_held: Vec::new() }
    }
}

/// A counter that no other shares a cache line with; processors fetch lines in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Counter(AtomicU64);

/// What additions cost on one line, in words.
fn line(additions: u64) -> String {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let own: Vec<Counter> = (0..processors).map(|_| Counter::default()).collect();
    let shared = Counter::default();
    let alone = additions_ns(additions, &own.iter().collect::<Vec<_>>());
    let together = additions_ns(additions, &vec![&shared; processors]);
    format!(
        "\nAn atomic addition, {processors} threads at once: {alone:.1} ns on a cache line of one's own, {together:.1} ns on one that all \
         of them change, so {:.0} million a second on that line.\n",
        processors as f64 / together.max(1e-9) * 1e3
    )
}

/// Nanoseconds of one addition, where each thread makes so many on its counter.
fn additions_ns(additions: u64, counters: &[&Counter]) -> f64 {
    let began = Instant::now();
    thread::scope(|scope| {
        for counter in counters {
            scope.spawn(move || {
                for _ in 0..additions {
                    counter.0.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
    });
    began.elapsed().as_nanos() as f64 / additions as f64
}

/// The sizes as far as processes with so many descriptors can go: a gateway keeps one for a provider beside each client's, and all that is held
/// is held by this process.
fn held(sizes: &[u64], limit: u64) -> Vec<u64> {
    let mut left = limit.saturating_sub(OTHER_DESCRIPTORS);
    let mut held = Vec::new();
    for size in sizes {
        let most = (left.min(limit / 2)).saturating_sub(OTHER_DESCRIPTORS).min(CONNECTIONS_MAX);
        let size = if *size > most {
            println!("{size} idle connections: {most} of them, for a process may have {limit} descriptors here");
            most
        } else {
            *size
        };
        if held.last().is_none_or(|last| size > *last) && size > 0 {
            held.push(size);
            left -= size;
        }
    }
    held
}

/// So many routes to the one model.
fn routes(count: u64) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let _ = write!(
            lines,
            "[[models]]\nname = \"route-{number}\"\ntargets = [{{ provider = \"openai\", model = \"{MODEL}\" }}]\n"
        );
    }
    lines
}

/// Adds access keys to the store of a gateway that has ended.
fn fill(store: &Path, count: u64) -> Result<()> {
    let mut command = Command::new("python3");
    command.arg("-c").arg(FILL).arg(store).arg(count.to_string());
    let ran = process::ask(&mut command).context("access keys are added by python3")?;
    ensure!(ran.ok, "the store took no access keys:\n{}", ran.output);
    Ok(())
}

fn rows(members: &[Member], table: &mut String) -> Result<()> {
    let total = |member: &Member| median(member.proxy.rounds.iter().map(|cost| cost.total()));
    let first = members.first().map_or(0.0, total);
    for member in members {
        let part = |of: fn(&Cost) -> f64| median(member.proxy.rounds.iter().map(of));
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {:.2} | {:.0} | {} |",
            member.label,
            figure(part(|cost| cost.user)),
            figure(part(|cost| cost.system)),
            figure(total(member)),
            total(member) / first.max(1e-9),
            median(member.rates.iter().copied()),
            figure(resident_kib(member.proxy.process.id())? / 1024.0)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let options =
            parse(&["--idle", "1,500", "--driver", "io_uring", "--parts", "keys,workers"]).expect("good ones");
        assert_eq!(
            (options.idle, options.driver.as_str(), options.parts),
            (vec![1, 500], "io_uring", vec!["keys", "workers"])
        );
        assert_eq!(parse(&["--quick"]).expect("good ones").routes, [1, 100]);
        for words in
            [&["--idle"][..], &["--idle", "0"], &["--keys", "many"], &["--driver", "kqueue"], &["--speed", "1"]]
        {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn no_more_is_held_than_there_are_descriptors_for() {
        assert_eq!(held(&[1, 1_000, 10_000, 100_000], 1 << 20), [1, 1_000, 10_000, 99_000]);
        assert_eq!(held(&[1, 1_000, 10_000, 100_000], 20_000), [1, 1_000, 9_700]);
        assert_eq!(held(&[1, 1_000], 256), Vec::<u64>::new());
    }

    #[test]
    fn additions_are_all_made() {
        let counter = Counter::default();
        additions_ns(1_000, &[&counter, &counter]);
        assert_eq!(counter.0.load(Ordering::Relaxed), 2_000);
        assert!(line(10).contains("million a second"));
    }

    #[test]
    fn routes_are_tables_of_the_configuration() {
        let lines = routes(2);
        assert_eq!(lines.matches("[[models]]").count(), 2);
        assert!(lines.contains("name = \"route-1\""), "{lines}");
    }
}
