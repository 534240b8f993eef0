//! Steps that cargo does: format, lints, tests, documentation, and the example configuration.
//!
//! All of them share one target directory and the dev profile. Tests run under cargo-nextest where it is installed and
//! under `cargo test` where it is not. Integration tests that start the gateway or drive its runtime run twice, once per
//! I/O driver (`IGRIS_TEST_IO`); the rest have no driver and run once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::place::{Place, names_in};
use crate::process::{self, ask};
use crate::steps::{Outcome, Steps};

const BUILD_LIMIT: Duration = Duration::from_secs(900);
const TEST_LIMIT: Duration = Duration::from_secs(1_500);

/// Words that show that a test binary reaches the gateway or its runtime.
const DRIVER_WORDS: [&str; 3] = ["IGRIS_TEST_IO", "CARGO_BIN_EXE_igris", "igris::rt"];

/// `cargo` in the root of the repository.
pub fn cargo(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(&place.root).args(words);
    command
}

/// Formatting is what rustfmt.toml says.
pub fn format(place: &Place, steps: &mut Steps) {
    steps.step("format", || {
        let ran = process::run(&mut cargo(place, &["fmt", "--all", "--check"]), BUILD_LIMIT)?;
        Ok(Outcome::of(&ran))
    });
}

/// No lint of clippy or rustc stands.
pub fn lint(place: &Place, steps: &mut Steps) {
    steps.step("lint", || {
        let words = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        Ok(Outcome::of(&process::run(&mut cargo(place, &words), BUILD_LIMIT)?))
    });
}

/// Every test of the workspace, and those with a driver once more on the other one.
pub fn tests_on_both_drivers(place: &Place, steps: &mut Steps) {
    let io_uring = io_uring::IoUring::new(8);
    let first = if io_uring.is_ok() { "io_uring" } else { "epoll" };
    steps.step(&format!("tests ({first})"), || {
        let mut command = test_command(place, &["--workspace", "--lib", "--bins", "--tests"]);
        Ok(Outcome::of(&process::run(command.env("IGRIS_TEST_IO", first), TEST_LIMIT)?))
    });
    if let Err(error) = io_uring {
        let why = format!("this kernel gives us no io_uring ({error})");
        return steps.step("tests (io_uring)", || Ok(Outcome::Skipped(why)));
    }
    steps.step("tests (epoll)", || {
        let binaries = binaries_with_a_driver(&place.root.join("tests"));
        if binaries.is_empty() {
            return Ok(Outcome::Skipped("no integration test starts the gateway".to_owned()));
        }
        let words: Vec<&str> = binaries.iter().flat_map(|name| ["--test", name]).collect();
        let mut command = test_command(place, &words);
        Ok(Outcome::of(&process::run(command.env("IGRIS_TEST_IO", "epoll"), TEST_LIMIT)?))
    });
}

/// Tests inside `src/`, of the whole workspace.
pub fn unit_tests(place: &Place, steps: &mut Steps) {
    steps.step("unit tests", || {
        Ok(Outcome::of(&process::run(&mut test_command(place, &["--workspace", "--lib", "--bins"]), TEST_LIMIT)?))
    });
}

/// The rules of the house (`tests/tidy.rs`).
pub fn tidy(place: &Place, steps: &mut Steps) {
    steps.step("tidy", || Ok(Outcome::of(&process::run(&mut test_command(place, &["--test", "tidy"]), TEST_LIMIT)?)));
}

/// Examples in the documentation: nextest does not run them.
pub fn doc_tests(place: &Place, steps: &mut Steps) {
    steps.step("doc tests", || {
        let words = ["test", "--locked", "--workspace", "--doc"];
        Ok(Outcome::of(&process::run(&mut cargo(place, &words), TEST_LIMIT)?))
    });
}

/// The documentation builds without a warning.
pub fn docs(place: &Place, steps: &mut Steps) {
    steps.step("docs", || {
        let mut command = cargo(place, &["doc", "--locked", "--workspace", "--no-deps"]);
        Ok(Outcome::of(&process::run(command.env("RUSTDOCFLAGS", "-D warnings"), BUILD_LIMIT)?))
    });
}

/// The commented example is a configuration that the program itself accepts.
pub fn example_config(place: &Place, steps: &mut Steps) {
    steps.step("example configuration", || {
        build_programs(place)?;
        let mut command = Command::new(place.built("debug", "igris"));
        command.current_dir(&place.root).args(["check", "config/igris.toml"]);
        Ok(Outcome::of(&process::run(&mut command, Duration::from_secs(30))?))
    });
}

/// Builds `igris` and `igris-load` as the steps with real clients use them.
///
/// # Errors
/// The build fails.
pub fn build_programs(place: &Place) -> Result<()> {
    let ran = process::run(&mut cargo(place, &["build", "--locked", "--workspace", "--bins"]), BUILD_LIMIT)?;
    anyhow::ensure!(ran.ok, "the programs do not build");
    Ok(())
}

/// `cargo nextest run` or `cargo test` with the same selection of targets.
fn test_command(place: &Place, selection: &[&str]) -> Command {
    let nextest = ask(&mut cargo(place, &["nextest", "--version"])).is_ok_and(|ran| ran.ok);
    let mut command = if nextest {
        let mut command = cargo(place, &["nextest", "run", "--locked", "--no-tests", "pass", "--no-fail-fast"]);
        command.args(["--status-level", "fail", "--final-status-level", "slow"]);
        command.args(["--tool-config-file", &format!("xtask:{}", place.root.join("xtask/nextest.toml").display())]);
        command
    } else {
        println!("    cargo-nextest is not installed: `cargo test` runs instead");
        cargo(place, &["test", "--locked", "--no-fail-fast"])
    };
    command.args(selection);
    command
}

/// Integration test binaries that read the driver, start the gateway or use the runtime, themselves or by a module they
/// share.
fn binaries_with_a_driver(tests: &Path) -> Vec<String> {
    let mut binaries = Vec::new();
    for name in names_in(tests) {
        let (binary, text) = match name.strip_suffix(".rs") {
            Some(stem) => (stem.to_owned(), fs::read_to_string(tests.join(&name)).unwrap_or_default()),
            None if tests.join(&name).join("main.rs").is_file() => (name.clone(), text_of(&tests.join(&name))),
            None => continue,
        };
        if binary != "tidy" && names_a_driver(tests, &text) {
            binaries.push(binary);
        }
    }
    binaries
}

fn names_a_driver(tests: &Path, text: &str) -> bool {
    let has = |text: &str| DRIVER_WORDS.iter().any(|word| text.contains(word));
    let modules = text.lines().filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod "));
    let mut shared = modules.filter_map(|rest| rest.strip_suffix(';')).map(|name| text_of(&tests.join(name)));
    has(text) || shared.any(|text| has(&text))
}

fn text_of(folder: &Path) -> String {
    names_in(folder).iter().filter_map(|name| fs::read_to_string(folder.join(name)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_has_a_driver_by_its_own_words_or_by_a_shared_module() {
        let tests = std::env::temp_dir().join(format!("igris-xtask-{}", std::process::id()));
        fs::create_dir_all(tests.join("support")).unwrap();
        fs::create_dir_all(tests.join("golden")).unwrap();
        fs::write(tests.join("support/mod.rs"), "pub fn gateway() { env!(\"CARGO_BIN_EXE_igris\"); }").unwrap();
        fs::write(tests.join("streaming.rs"), "mod support;\n").unwrap();
        fs::write(tests.join("wire.rs"), "use igris::rt::Driver;\n").unwrap();
        fs::write(tests.join("prices.rs"), "use igris::metering::Price;\n").unwrap();
        fs::write(tests.join("tidy.rs"), "// names IGRIS_TEST_IO\n").unwrap();
        let found = binaries_with_a_driver(&tests);
        fs::remove_dir_all(&tests).unwrap();
        assert_eq!(found, ["streaming", "wire"]);
    }
}
