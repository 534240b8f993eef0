//! `bench ledger`: what the journal costs a request, in processor time of the gateway and in latency, by what its records survive.
//!
//! One gateway for each durability, `none` among them, before the same provider. They are loaded one after the other in every round, so that
//! whatever else the machine does falls on all of them; medians over the rounds are shown. Each round has two parts: a fixed rate below what
//! a core can do, for latency, and as many requests as go through a few connections, for throughput.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use crate::account;
use crate::bench;
use crate::bench_overload::{Round, closed, open, round};
use crate::parties;
use crate::place::Place;
use crate::process::Background;

/// What is compared; the first is the measure.
const DURABILITIES: [&str; 3] = ["none", "process", "power"];
/// What the provider takes for an answer: what a sync may hide behind, and less than any real one takes.
const LATENCY: &str = "20ms";
/// Connections of the fixed rate: more than there are ever requests waiting.
const CONNECTIONS: u64 = 64;
/// Connections of the closed loop.
const CLOSED: u64 = 32;

struct Options {
    rate: u64,
    seconds: u64,
    rounds: u64,
    profile: String,
    stream: bool,
}

struct Side {
    durability: &'static str,
    port: u16,
    process: Background,
    /// Processor microseconds a request, p50, p99 and p99.9 in microseconds, of each round at the fixed rate.
    paced: Vec<[f64; 4]>,
    /// Processor microseconds a request, and answers a second, of each round in a closed loop.
    flat_out: Vec<[f64; 2]>,
}

/// Runs `bench ledger`.
///
/// # Errors
/// The options are wrong, a program does not start, or a round fails.
pub fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    bench::build(place, &options.profile)?;
    let folder = place.scratch("bench-ledger");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let provider_port = parties::free_port()?;
    let _provider = parties::start_provider(place, &options.profile, &folder, provider_port, LATENCY)?;
    let mut sides = Vec::new();
    for durability in DURABILITIES {
        let (home, port) = (folder.join(durability), parties::free_port()?);
        let lines = format!("[ledger]\ndurability = \"{durability}\"\n");
        let ports = (port, provider_port);
        let process = parties::start_gateway(place, &options.profile, &home, ports, "epoll", &lines, durability)?;
        sides.push(Side { durability, port, process, paced: Vec::new(), flat_out: Vec::new() });
    }
    for side in &sides {
        measured(place, &options, &folder, side, &closed(CLOSED, 1))?;
    }
    for number in 1..=options.rounds {
        println!("\n==> round {number} of {}", options.rounds);
        for side in &mut sides {
            let words = open(CONNECTIONS, options.rate as f64, options.seconds);
            let (cpu, round) = measured(place, &options, &folder, side, &words)?;
            side.paced.push([cpu, round.p50_us, round.p99_us, round.p999_us]);
            let (cpu, round) = measured(place, &options, &folder, side, &closed(CLOSED, options.seconds))?;
            side.flat_out.push([cpu, round.goodput()]);
        }
    }
    print(&options, &sides);
    Ok(ExitCode::SUCCESS)
}

/// A round with the processor microseconds that the gateway took for each answer.
fn measured(place: &Place, options: &Options, folder: &Path, side: &Side, words: &[String]) -> Result<(f64, Round)> {
    let mut words = words.to_vec();
    if options.stream {
        words.push("--stream".to_owned());
    }
    let before = account::cpu_time(side.process.id())?;
    let round = round(place, &options.profile, folder, side.port, side.durability, &words)?;
    let after = account::cpu_time(side.process.id())?;
    ensure!(round.ok > 0.0, "{} answered nothing:\n{}", side.durability, side.process.output());
    let ticks = (after.0 + after.1).saturating_sub(before.0 + before.1);
    Ok((ticks as f64 * account::tick_us() / round.ok, round))
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options { rate: 400, seconds: 5, rounds: 3, profile: "fast".to_owned(), stream: false };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let value = words.next().with_context(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<u64>().with_context(|| format!("{flag} needs a number, and `{value}` is none"));
        match *flag {
            "--rate" => options.rate = number()?,
            "--seconds" => options.seconds = number()?,
            "--rounds" => options.rounds = number()?,
            "--profile" => options.profile = (*value).to_owned(),
            "--stream" => options.stream = *value == "yes",
            other => bail!("`bench ledger` has no option {other}"),
        }
    }
    ensure!(options.rate > 0 && options.seconds > 0 && options.rounds > 0, "numbers must be above zero");
    Ok(options)
}

fn print(options: &Options, sides: &[Side]) {
    let Options { rate, seconds, rounds, profile, stream } = options;
    let stream = if *stream { "yes" } else { "no" };
    println!(
        "\n{}; gateway on one core, epoll, a provider that takes {LATENCY}; medians of {rounds} rounds",
        bench::machine()
    );
    println!(
        "cargo xtask bench ledger --rate {rate} --seconds {seconds} --rounds {rounds} --profile {profile} --stream {stream}\n"
    );
    println!(
        "| durability | CPU µs a request at {rate}/s | p50 µs | p99 µs | p99.9 µs | CPU µs flat out | answers/s flat out |"
    );
    println!("|---|---|---|---|---|---|---|");
    for Side { durability, paced, flat_out, .. } in sides {
        let paced = |place: usize| bench::median(paced.iter().map(|figures| figures[place]));
        let flat_out = |place: usize| bench::median(flat_out.iter().map(|figures| figures[place]));
        println!(
            "| {durability} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} |",
            paced(0),
            paced(1),
            paced(2),
            paced(3),
            flat_out(0),
            flat_out(1)
        );
    }
    println!("\nEach round, CPU µs a request at {rate}/s and flat out (the spread is the noise):");
    for Side { durability, paced, flat_out, .. } in sides {
        let rounds = paced.iter().zip(flat_out).map(|(paced, flat)| format!("{:.1}/{:.1}", paced[0], flat[0]));
        println!("{durability:<8} {}", rounds.collect::<Vec<_>>().join("  "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--rate", "50", "--stream", "yes", "--profile", "release"]).unwrap();
        assert_eq!((options.rate, options.stream, options.profile.as_str()), (50, true, "release"));
        for words in [&["--rate"][..], &["--rate", "0"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
