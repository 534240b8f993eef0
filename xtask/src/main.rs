//! `cargo xtask`: everything a machine can do for this repository, in one place and in one language.
//!
//! `test` is what the build machine runs; `check` is the short loop of a person at work; `sdk`, `fuzz` and `bench` run one
//! part alone. A step that cannot run here says why and is counted as skipped; a step that fails makes the exit code 1.
//! Nothing is written outside `target/`.

mod bench;
mod bench_estate;
mod bench_ledger;
mod bench_load;
mod bench_overload;
mod bench_telemetry;
mod browser;
mod counts;
mod debian;
mod fuzz;
mod mutants;
mod nginx;
mod place;
mod process;
mod promtool;
mod rust;
mod sdk;
mod steps;

use std::process::ExitCode;

use place::Place;
use steps::{Outcome, Steps};

const HELP: &str = "\
cargo xtask <command>

  test                       everything: format, lints, tests on both I/O drivers, docs, SDK clients, browser, fuzz smoke
  check                      the short loop: format, lints, unit tests, tidy
  sdk                        real clients and coding agents against the gateway and the simulator
  browser                    every page of the dashboard in a real browser, before a live demo
  fuzz [SECONDS]             every fuzz target for SECONDS (10)
  mutants [OPTIONS]          what of the vault no test would miss; options go on to cargo-mutants
  bench estate               memory, publications and reloads of a large estate
      --profile NAME         programs of this build profile (fast)
  bench hedging              Latency and spend with and without second attempts, on a provider with two modes
  bench proxy [OPTIONS]      CPU per request of igris and of nginx as a bare proxy, in interleaved rounds
      --requests N           requests of one round (20000)
      --connections C        keep-alive connections (64)
      --rounds R             rounds (5)
  bench telemetry [OPTIONS]  CPU per request with nothing told and with traces, metrics and the access log on; options as for `proxy`
  bench overload [OPTIONS]   what is delivered at twice the capacity, and what turning a request away costs
      --seconds N            of one round (10)
      --profile NAME         programs of this build profile (release)
  bench ledger [OPTIONS]     what the journal costs: CPU per request and latency, by durability, in interleaved rounds
      --rate N               requests a second, below what a core can do (400)
      --seconds N            of one round (5)
      --rounds R             rounds (3)
      --profile NAME         programs of this build profile (fast)
      --stream yes|no        streams instead of whole answers (no)
  bench load [OPTIONS]       the load tester itself: beside wrk and another SSE client, 10 000 streams, nginx and igris in pairs
      --seconds N            of one round (5)
      --rounds R             rounds (3)
      --streams N            streams at once (10000)
      --pairs-seconds N      how long pairs are sent through the gateways (60)
      --profile NAME         programs of this build profile (release)
  bench books                latency and CPU with a million rows of books, while nobody and while somebody looks at them
  help                       this text";

fn main() -> ExitCode {
    if let Some(error) = fuzz::instrument() {
        eprintln!("xtask: rustc cannot be started: {error}");
        return ExitCode::from(1);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn dispatch(words: &[&str]) -> anyhow::Result<ExitCode> {
    let (command, rest) = words.split_first().map_or(("help", &[][..]), |(command, rest)| (*command, rest));
    match command {
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            return Ok(ExitCode::SUCCESS);
        }
        "test" | "check" | "sdk" | "browser" | "fuzz" | "bench" | "mutants" => {}
        other => {
            eprintln!("xtask: there is no command `{other}`\n\n{HELP}");
            return Ok(ExitCode::from(2));
        }
    }
    let place = Place::find()?;
    if command == "bench" {
        return bench::run(&place, rest);
    }
    if command == "mutants" {
        return mutants::run(&place, rest);
    }
    let mut steps = Steps::new();
    match command {
        "test" => test(&place, &mut steps),
        "check" => check(&place, &mut steps),
        "sdk" => sdk::run(&place, &mut steps),
        "browser" => browser::run(&place, &mut steps),
        _ => fuzz::run(&place, &mut steps, fuzz::seconds(rest)?),
    }
    Ok(steps.finish())
}

/// What the build machine runs: cheap answers first.
fn test(place: &Place, steps: &mut Steps) {
    rust::format(place, steps);
    rust::lint(place, steps);
    // tests/signed_config.rs signs with the stock tool where it is there.
    steps.step("minisign", || {
        Ok(match debian::program("minisign", "minisign") {
            Ok(_) => Outcome::Passed(counts::Counts::default()),
            Err(why) => Outcome::Skipped(why),
        })
    });
    rust::tests_on_both_drivers(place, steps);
    promtool::run(place, steps);
    rust::example_config(place, steps);
    // Real clients wait more than they compute; compilers fill the rest, and give way.
    let compilers = |steps: &mut Steps| {
        rust::doc_tests(place, steps);
        rust::docs(place, steps);
        fuzz::run(place, steps, fuzz::SMOKE_SECONDS);
    };
    let clients = |steps: &mut Steps| {
        sdk::run(place, steps);
        browser::run(place, steps);
    };
    steps.beside(compilers, clients);
}

/// The short loop of a person at work.
fn check(place: &Place, steps: &mut Steps) {
    rust::format(place, steps);
    rust::lint(place, steps);
    rust::unit_tests(place, steps);
    rust::tidy(place, steps);
}
