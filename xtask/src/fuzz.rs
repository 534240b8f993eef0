//! The fuzz targets of `fuzz/`, built on the stable compiler and each run for a bounded time.
//!
//! libFuzzer's instrumentation is asked for by hand, so no nightly toolchain is needed. The target triple is explicit: that
//! keeps the flags away from build scripts. Seeds are copied, so a run never changes the corpus in git; what a failure
//! leaves behind stays in `target/xtask/fuzz/`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::counts::Counts;
use crate::place::{Place, names_in, on_path};
use crate::process;
use crate::steps::{Outcome, Steps};

/// Seconds a target runs inside `cargo xtask test`.
pub const SMOKE_SECONDS: u64 = 10;

const BUILD_LIMIT: Duration = Duration::from_secs(1_200);
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 -Ccodegen-units=1";
/// Runs of a target in one second that no machine reaches: bounds the run besides its time.
const RUNS_PER_SECOND: u64 = 2_000_000;

/// Reads the optional number of seconds of `cargo xtask fuzz`.
///
/// # Errors
/// The word is not a number above zero.
pub fn seconds(words: &[&str]) -> Result<u64> {
    let Some(word) = words.first() else { return Ok(SMOKE_SECONDS) };
    let seconds: u64 = word.parse().with_context(|| format!("`{word}` is not a number of seconds"))?;
    anyhow::ensure!(seconds > 0, "a target runs for one second at least");
    Ok(seconds)
}

/// Builds the targets and runs each over its corpus.
pub fn run(place: &Place, steps: &mut Steps, seconds: u64) {
    let manifest = place.root.join("fuzz/Cargo.toml");
    let targets = fs::read_to_string(&manifest).map(|text| targets_of(&text)).unwrap_or_default();
    if let Some(why) = reason_to_skip(&targets) {
        return steps.step("fuzz", || Ok(Outcome::Skipped(why)));
    }
    let mut built = false;
    steps.step("fuzz: build", || {
        let ran = process::run(&mut build_command(place, &manifest), BUILD_LIMIT)?;
        built = ran.ok;
        Ok(Outcome::of(&ran))
    });
    if !built {
        return;
    }
    for target in targets {
        steps.step(&format!("fuzz: {target}"), || run_one(place, &target, seconds));
    }
}

fn reason_to_skip(targets: &[String]) -> Option<String> {
    if targets.is_empty() {
        return Some("fuzz/Cargo.toml names no target".to_owned());
    }
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some(format!("the instrumentation is set up for {TRIPLE} alone"));
    }
    let compiler = ["c++", "g++", "clang++"].iter().find_map(|name| on_path(name));
    compiler.is_none().then(|| "libFuzzer needs a C++ compiler, and there is none here".to_owned())
}

fn build_command(place: &Place, manifest: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(&place.root).args(["build", "--bins", "--target", TRIPLE, "--manifest-path"]).arg(manifest);
    command.arg("--target-dir").arg(place.target.join("fuzz"));
    if manifest.with_file_name("Cargo.lock").is_file() {
        command.arg("--locked");
    }
    // Slightly optimised: targets run ten times faster for little build time. Overflow checks and assertions stay on.
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1").env("CARGO_INCREMENTAL", "0");
    command.env("RUSTFLAGS", INSTRUMENTATION).env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

fn run_one(place: &Place, target: &str, seconds: u64) -> Result<Outcome> {
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
    let program = place.target.join("fuzz").join(TRIPLE).join("debug").join(target);
    let mut command = Command::new(&program);
    command.arg(&corpus).arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-runs={}", seconds.saturating_mul(RUNS_PER_SECOND)));
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1"]);
    command.current_dir(&work);
    let ran = process::run(&mut command, Duration::from_secs(seconds + 120))?;
    if ran.ok {
        return Ok(Outcome::Passed(Counts { passed: 1, ..Counts::default() }));
    }
    let why = format!("the input is in {}; give it to {} to see it again", artifacts.display(), program.display());
    Ok(Outcome::Failed(Counts { failed: 1, ..Counts::default() }, why))
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
        assert_eq!(seconds(&[]).unwrap(), SMOKE_SECONDS);
        assert_eq!(seconds(&["60"]).unwrap(), 60);
        assert!(seconds(&["0"]).is_err());
        assert!(seconds(&["ten"]).is_err());
    }
}
