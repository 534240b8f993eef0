//! `cargo xtask`: everything a machine can do for this repository, in one place and in one language.
//!
//! `test` is what the build machine runs; `check` is the short loop of a person at work; `sdk`, `deployment`, `fuzz` and `bench` run one
//! part alone; `package` makes a release. A step that cannot run here says why and is counted as skipped; a step that fails makes the exit code 1.
//! Nothing is written outside `target/`, but for pages and pictures that `bench … --docs` and `flame` are asked for.

mod account;
mod bench;
mod bench_estate;
mod bench_http2;
mod bench_ledger;
mod bench_load;
mod bench_overload;
mod bench_proxy;
mod bench_proxy_report;
mod bench_scale;
mod bench_telemetry;
mod browser;
mod certs;
mod cluster;
mod counts;
mod debian;
mod deployment;
mod flame;
mod fuzz;
mod gate;
mod haproxy;
mod hold;
mod load;
mod mutants;
mod nginx;
mod package;
mod package_deb;
mod parties;
mod pgo;
mod place;
mod plot;
mod postgres;
mod process;
mod promtool;
mod rust;
mod sbom;
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
  deployment                 the Debian package, units, image, chart and bill of materials, each tried
  fuzz [SECONDS]             every fuzz target for SECONDS (10)
  gate [--write] [--tested]  instructions of the request path under valgrind, against benches/instructions/written*.txt;
                             --tested: in the build of the tests alone, as every run of the tests counts them
  mutants [OPTIONS]          what of the vault no test would miss; options go on to cargo-mutants
  bench estate               memory, publications and reloads of a large estate
      --profile NAME         programs of this build profile (fast)
  bench hedging              Latency and spend with and without second attempts, on a provider with two modes
  bench proxy [OPTIONS]      igris, nginx and HAProxy as proxies, in interleaved rounds: CPU, system calls, latency added, memory
      --profile NAME         programs of this build profile (release)
      --connections LIST     keep-alive connections (1,8,64,512)
      --requests N           requests of one round (20000); streams are a fiftieth of it
      --rounds R             rounds (5)
      --stream WHICH         streams: yes, no or both (both)
      --tls WHICH            a provider behind TLS: yes, no or both (both)
      --drivers LIST         who takes part (nginx,haproxy,io_uring,epoll)
      --parts LIST           what is measured (cost,calls,latency,memory)
      --gap TIME             what the provider waits between events (0ms: several come in one read)
      --streams N            streams that wait while memory is read (2000)
      --pairs-seconds N      how long pairs are sent for latency (110)
      --quick                everything once and small, to try it out
      --no-build             take the programs that are there
      --out DIR              where proxy.json and the pictures go (below target/)
      --docs                 put tables and pictures into docs/ as well
  bench scale [OPTIONS]      CPU per request beside idle connections, among access keys and routes, on two workers
      --profile NAME         programs of this build profile (release)
      --driver NAME          io_uring or epoll (epoll)
      --requests N           requests of one round (20000)
      --rounds R             rounds (5)
      --parts LIST           what grows (connections,keys,routes,workers,line)
      --idle LIST            idle connections (1,1000,10000,100000)
      --keys LIST            access keys (1,1000,100000,1000000)
      --routes LIST          routes (1,100,10000)
      --quick, --no-build, --docs
  bench http2 [OPTIONS]      CPU of HTTP/2 beside HTTP/1.1, towards clients (by h2load) and towards providers
      --profile NAME         programs of this build profile (release)
      --driver NAME          io_uring or epoll (io_uring)
      --requests N           requests of one round (20000); streams are a tenth of it
      --rounds R             rounds (5)
      --quick, --no-build, --docs
  bench telemetry [OPTIONS]  CPU per request with nothing told and with traces, metrics and the access log on
      --requests N           requests of one round (20000)
      --connections C        keep-alive connections (64)
      --rounds R             rounds (5)
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
  flame [OPTIONS]            flame graphs of a request and of a stream, into docs/
      --profile NAME         as it is built, with frame pointers (fast)
      --driver NAME          io_uring or epoll (epoll)
      --requests N           requests that are sampled (100000); streams are a fiftieth of it
      --out DIR              another folder than docs/
      --no-build             take the programs that are there
  pgo [OPTIONS]              the gateway optimised by a training run and across all crates, as target/pgo/igris
      --profile NAME         build profile (release)
      --requests N           requests of each part of the training (100000)
      --tool-only            only look for an llvm-profdata that fits
  package [OPTIONS]          a release: static programs, Debian package, bill of materials, checksums; the same commit gives the same bytes
      --profile NAME         build profile (release)
      --programs DIR         take the programs of this folder instead of building them
      --parts LIST           what is made (programs,deb,sbom,sums)
      --key FILE             sign the checksums with this secret key; its password is in IGRIS_SIGN_PASSWORD or asked for
      --quick                compress the Debian package in a moment rather than well
      --out DIR              where it goes (target/package)
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
        "test" | "check" | "sdk" | "browser" | "fuzz" | "gate" | "bench" | "mutants" | "flame" | "pgo"
        | "deployment" | "package" => {}
        other => {
            eprintln!("xtask: there is no command `{other}`\n\n{HELP}");
            return Ok(ExitCode::from(2));
        }
    }
    let place = Place::find()?;
    match command {
        "bench" => return bench::run(&place, rest),
        "mutants" => return mutants::run(&place, rest),
        "flame" => return flame::run(&place, rest),
        "pgo" => return pgo::run(&place, rest),
        "package" => return package::run(&place, rest),
        _ => {}
    }
    let mut steps = Steps::new();
    match command {
        "test" => test(&place, &mut steps),
        "check" => check(&place, &mut steps),
        "sdk" => sdk::run(&place, &mut steps),
        "browser" => browser::run(&place, &mut steps),
        "deployment" => deployment::run(&place, &mut steps),
        "gate" => gate::run(&place, &mut steps, rest),
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
    postgres::run(steps);
    postgres::network(steps);
    rust::tests_on_both_drivers(place, steps);
    rust::store_on_postgres(place, steps);
    gate::tested(place, steps);
    promtool::run(place, steps);
    rust::example_config(place, steps);
    deployment::run(place, steps);
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
    postgres::run(steps);
    rust::unit_tests(place, steps);
    rust::tidy(place, steps);
}
