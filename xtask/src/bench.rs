//! The benches by name, and what they share: builds, medians, the machine in words. `bench telemetry` is here: processor time per request with
//! nothing told and with everything told. `bench hedging` and `bench books` are tests of the gateway that print figures.
//!
//! All of them stand between the same loader and the same simulated provider. Rounds are interleaved, so that whatever else
//! the machine does falls on each alike, and the median is what counts.

use std::fs;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::account::{Cost, alive, cpu_time};
use crate::parties::{MODEL, Proxy, Side, free_port, pinned, start_provider};
use crate::place::Place;
use crate::process;
use crate::{
    bench_estate, bench_http2, bench_ledger, bench_load, bench_overload, bench_proxy, bench_scale, bench_telemetry,
    rust,
};

const BUILD_LIMIT: Duration = Duration::from_secs(1_800);
pub(crate) const ROUND_LIMIT: Duration = Duration::from_secs(300);

/// Words of an answer, asked for by the loader so that it can check every byte.
const ANSWER_WORDS: &str = "64";

/// What the command line of `bench telemetry` asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    requests: u64,
    connections: u64,
    rounds: usize,
}

/// Runs a bench.
///
/// # Errors
/// The options are wrong, a program does not start, or a round fails.
pub fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    // Idle connections and streams are descriptors of ours, and of the programs that we start.
    rlimit::increase_nofile_limit(u64::MAX).ok();
    match words.split_first() {
        Some((&"proxy", rest)) => bench_proxy::run(place, rest),
        Some((&"scale", rest)) => bench_scale::run(place, rest),
        Some((&"http2", rest)) => bench_http2::run(place, rest),
        Some((&"telemetry", rest)) => telemetry(place, rest),
        Some((&"overload", rest)) => bench_overload::run(place, rest),
        Some((&"estate", rest)) => bench_estate::run(place, rest),
        Some((&"load", rest)) => bench_load::run(place, rest),
        Some((&"ledger", rest)) => bench_ledger::run(place, rest),
        Some((&"hedging", [])) => hedging(place),
        Some((&"books", [])) => books(place),
        _ => bail!(
            "the benches are `cargo xtask bench proxy`, `… scale`, `… http2`, `… telemetry`, `… hedging`, `… overload`, `… estate`, `… ledger`, `… books` and `… load`"
        ),
    }
}

/// Runs `bench telemetry`.
fn telemetry(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    build(place, "release")?;

    let folder = place.scratch("bench-telemetry");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let provider_port = free_port()?;
    let _provider = start_provider(place, "release", &folder, provider_port, "0ms")?;
    let mut proxies = bench_telemetry::start(place, &folder, provider_port)?;

    let warm_up = (options.requests / 10).max(options.connections);
    for proxy in &mut proxies {
        load(place, proxy, options.connections, warm_up)?;
    }
    for round in 1..=options.rounds {
        println!("\n==> round {round} of {}", options.rounds);
        for proxy in &mut proxies {
            let before = cpu_time(proxy.process.id())?;
            load(place, proxy, options.connections, options.requests)?;
            let after = cpu_time(proxy.process.id())?;
            proxy.rounds.push(Cost::between(before, after, options.requests as f64));
        }
    }
    print_table(&options, &proxies);
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs that are measured.
pub(crate) fn build(place: &Place, profile: &str) -> Result<()> {
    let mut build = rust::cargo(place, &["build", "--profile", profile, "--locked", "--bins"]);
    ensure!(process::run(&mut build, BUILD_LIMIT)?.ok, "the programs do not build");
    Ok(())
}

/// Runs `bench hedging`.
fn hedging(place: &Place) -> Result<ExitCode> {
    let words =
        ["test", "--locked", "--profile", "fast", "--test", "hedging", "--", "--ignored", "--nocapture", "figures"];
    let ran = process::run(&mut rust::cargo(place, &words), BUILD_LIMIT)?;
    ensure!(ran.ok, "the figures were not taken");
    Ok(ExitCode::SUCCESS)
}

/// Runs `bench books`: tests/books_load.rs at its full size.
fn books(place: &Place) -> Result<ExitCode> {
    println!("{}", machine());
    let words = ["test", "--locked", "--profile", "fast", "--test", "books_load", "--", "--nocapture"];
    let mut command = rust::cargo(place, &words);
    for (name, value) in [("ROWS", "1000000"), ("RATE", "300"), ("SECONDS", "10"), ("ROUNDS", "3")] {
        let name = format!("IGRIS_BOOKS_{name}");
        if std::env::var_os(&name).is_none() {
            command.env(name, value);
        }
    }
    ensure!(process::run(&mut command, BUILD_LIMIT)?.ok, "the figures were not taken");
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options { requests: 20_000, connections: 64, rounds: 5 };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let value = words.next().with_context(|| format!("{flag} needs a number"))?;
        let number: u64 = value.parse().with_context(|| format!("{flag} needs a number, and `{value}` is none"))?;
        ensure!(number > 0, "{flag} must be above zero");
        match *flag {
            "--requests" => options.requests = number,
            "--connections" => options.connections = number,
            "--rounds" => options.rounds = usize::try_from(number)?,
            other => bail!("`bench telemetry` has no option {other}"),
        }
    }
    Ok(options)
}

fn load(place: &Place, proxy: &mut Proxy, connections: u64, requests: u64) -> Result<()> {
    println!("    {}", proxy.name);
    let mut command = Command::new(place.built("release", "igris-load"));
    command.args([
        "run",
        "--url",
        &format!("http://127.0.0.1:{}/v1", proxy.port),
        "--model",
        MODEL,
        "--key",
        proxy.key,
    ]);
    command.args(["--connections", &connections.to_string(), "--requests", &requests.to_string()]);
    command.args(["--tokens", ANSWER_WORDS, "--verify"]);
    let ran = process::run(&mut pinned(command, Side::Load), ROUND_LIMIT)?;
    ensure!(ran.ok, "the load on {} failed", proxy.name);
    alive(&mut proxy.process, &proxy.name)
}

// ---- Figures ----------------------------------------------------------------------------------------------------------------

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn print_table(options: &Options, proxies: &[Proxy]) {
    println!("\nProcessor time per request, microseconds (user + system = total); {}", machine());
    println!(
        "cargo xtask bench telemetry --requests {} --connections {} --rounds {}\n",
        options.requests, options.connections, options.rounds
    );
    let row = |label: &str, cost: Cost| {
        println!("{label:<26} {:>8.2} + {:>8.2} = {:>8.2}", cost.user, cost.system, cost.total());
    };
    for proxy in proxies {
        for (index, cost) in proxy.rounds.iter().enumerate() {
            row(&format!("{}, round {}", proxy.name, index + 1), *cost);
        }
    }
    println!();
    let medians = proxies.iter().map(|proxy| {
        let user = median(proxy.rounds.iter().map(|cost| cost.user));
        let system = median(proxy.rounds.iter().map(|cost| cost.system));
        (proxy, Cost { user, system }, median(proxy.rounds.iter().map(|cost| cost.total())))
    });
    for (proxy, cost, total) in medians {
        println!("{:<26} {:>8.2}   {:>8.2}   {total:>8.2}", format!("{}, median", proxy.name), cost.user, cost.system);
    }
}

pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let count = thread::available_parallelism().map_or(1, usize::from);
    format!("{} x {}, Linux {}", count, model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--requests", "50", "--rounds", "3"]).unwrap();
        assert_eq!(options, Options { requests: 50, connections: 64, rounds: 3 });
        for words in [&["--requests"][..], &["--requests", "many"], &["--rounds", "0"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
