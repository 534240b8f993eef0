//! The fuzz targets of `fuzz/`, built on the stable compiler and each run for a bounded time.
//!
//! libFuzzer's instrumentation is asked for by hand, so no nightly toolchain is needed: this program stands before rustc
//! (`RUSTC_WORKSPACE_WRAPPER`) and adds it for the crates of the workspace alone. Everything else is what the tests were
//! built with. Seeds are copied, so a run never changes the corpus in git; what a failure leaves behind stays in
//! `target/xtask/fuzz/`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::counts::Counts;
use crate::place::{Place, names_in, on_path};
use crate::steps::{Outcome, Steps};
use crate::{process, rust};

/// Seconds a target runs inside `cargo xtask test`: its corpus, and a little chance.
pub const SMOKE_SECONDS: u64 = 4;

/// Seconds a target runs where nobody says how many.
const USUAL_SECONDS: u64 = 10;
const BUILD_LIMIT: Duration = Duration::from_secs(1_200);
/// Set for the compiler that cargo starts here: this program is to pass it on with the instrumentation.
const WRAPS: &str = "IGRIS_XTASK_INSTRUMENTS";
/// Slightly optimised: targets run ten times faster for little build time. Overflow checks and assertions stay on.
const INSTRUMENTATION: [&str; 10] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Copt-level=1",
    "-Cdebug-assertions=on",
    "-Ccodegen-units=16",
];
/// Runs of a target in one second that no machine reaches: bounds the run besides its time.
const RUNS_PER_SECOND: u64 = 2_000_000;

/// Reads the optional number of seconds of `cargo xtask fuzz`.
///
/// # Errors
/// The word is not a number above zero.
pub fn seconds(words: &[&str]) -> Result<u64> {
    let Some(word) = words.first() else { return Ok(USUAL_SECONDS) };
    let seconds: u64 = word.parse().with_context(|| format!("`{word}` is not a number of seconds"))?;
    anyhow::ensure!(seconds > 0, "a target runs for one second at least");
    Ok(seconds)
}

/// Builds the targets and runs each over its corpus, as many at a time as there are cores.
pub fn run(place: &Place, steps: &mut Steps, seconds: u64) {
    let manifest = place.root.join("fuzz/Cargo.toml");
    let targets = fs::read_to_string(&manifest).map(|text| targets_of(&text)).unwrap_or_default();
    if let Some(why) = reason_to_skip(&targets) {
        return steps.step("fuzz", || Ok(Outcome::Skipped(why)));
    }
    let mut built = false;
    steps.step("fuzz: build", || {
        let ran = process::run(&mut build_command(place)?, BUILD_LIMIT)?;
        built = ran.ok;
        Ok(Outcome::of(&ran))
    });
    if built {
        steps.step("fuzz: targets", || Ok(run_all(place, &targets, seconds)));
    }
}

/// Where cargo started this program as a compiler: it becomes rustc, with the instrumentation where a crate is compiled. Returns otherwise,
/// or with the reason why it could not.
pub fn instrument() -> Option<std::io::Error> {
    std::env::var_os(WRAPS)?;
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (rustc, rest) = words.split_first()?;
    let is = |word: &str| rest.iter().any(|given| given == word);
    // Cargo's questions about the compiler are answered as without us.
    let compiles = is("--crate-name") && !is("--print") && !is("build_script_build");
    let added = if compiles { &INSTRUMENTATION[..] } else { &[] };
    Some(Command::new(rustc).args(rest).args(added).env_remove(WRAPS).exec())
}

fn reason_to_skip(targets: &[String]) -> Option<String> {
    if targets.is_empty() {
        return Some("fuzz/Cargo.toml names no target".to_owned());
    }
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("the instrumentation is set up for x86-64 Linux alone".to_owned());
    }
    let compiler = ["c++", "g++", "clang++"].iter().find_map(|name| on_path(name));
    compiler.is_none().then(|| "libFuzzer needs a C++ compiler, and there is none here".to_owned())
}

fn build_command(place: &Place) -> Result<Command> {
    let words = ["build", "--locked", "--package", "igris-fuzz", "--bins"];
    let mut command = rust::patient(rust::cargo(place, &words));
    let wrapper = std::env::current_exe().context("this program does not know where it lies")?;
    command.env("RUSTC_WORKSPACE_WRAPPER", wrapper).env(WRAPS, "1");
    Ok(command)
}

fn run_all(place: &Place, targets: &[String], seconds: u64) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, trouble) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let why = run_one(place, target, seconds).unwrap_or_else(|error| Some(format!("{error:#}")));
                    println!(
                        "    {target}: {} in {:.1} s",
                        why.as_deref().unwrap_or("ok"),
                        began.elapsed().as_secs_f64()
                    );
                    let mut trouble = trouble.lock().expect("no target panics while it holds the list");
                    trouble.extend(why.map(|why| format!("{target}: {why}")));
                }
            });
        }
    });
    let trouble = trouble.into_inner().expect("all targets have ended");
    let (all, failed) = (targets.len() as u64, trouble.len() as u64);
    let counts = Counts { passed: all - failed, failed, skipped: 0 };
    if trouble.is_empty() { Outcome::Passed(counts) } else { Outcome::Failed(counts, trouble.join("; ")) }
}

/// Says what is wrong, if anything is.
fn run_one(place: &Place, target: &str, seconds: u64) -> Result<Option<String>> {
    let work = place.scratch("fuzz");
    let corpus = work.join("corpus").join(target);
    let artifacts = work.join("artifacts").join(target);
    fs::remove_dir_all(&corpus).ok();
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let seeds = place.root.join("fuzz/corpus").join(target);
    for name in names_in(&seeds) {
        fs::copy(seeds.join(&name), corpus.join(&name)).with_context(|| format!("the seed {name} cannot be copied"))?;
    }
    let program = place.built("debug", target);
    let mut command = Command::new(&program);
    command.arg(&corpus).arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-runs={}", seconds.saturating_mul(RUNS_PER_SECOND)));
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"]);
    command.current_dir(&work);
    let ran = process::run(&mut rust::patient(command), Duration::from_secs(seconds + 120))?;
    Ok((!ran.ok)
        .then(|| format!("the input is in {}; give it to {} to see it again", artifacts.display(), program.display())))
}

/// The `name` of every `[[bin]]` of a manifest, in order.
fn targets_of(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_bin = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_bin = line.starts_with("[[bin]]");
        } else if let (true, Some((key, value))) = (in_bin, line.split_once('='))
            && key.trim() == "name"
        {
            names.push(value.trim().trim_matches('"').to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_bins_of_the_manifest() {
        let manifest = "[package]\nname = \"igris-fuzz\"\n[[bin]]\nname = \"head\"\npath = \"head.rs\"\n\n[[bin]]\npath = \"sse.rs\"\nname=\"sse\"\n[profile.dev]\nname = \"x\"\n";
        assert_eq!(targets_of(manifest), ["head", "sse"]);
        assert!(targets_of("[package]\nname = \"x\"\n").is_empty());
    }

    #[test]
    fn seconds_are_a_number_above_zero() {
        assert_eq!(seconds(&[]).unwrap(), USUAL_SECONDS);
        assert_eq!(seconds(&["60"]).unwrap(), 60);
        assert!(seconds(&["0"]).is_err());
        assert!(seconds(&["ten"]).is_err());
    }
}
