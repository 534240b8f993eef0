//! Steps that cargo does: format, lints, tests, documentation, and the example configuration.
//!
//! All of them share one target directory and the dev profile. Tests run under cargo-nextest where it is installed and
//! under `cargo test` where it is not, every time with the same selection of packages: another one would have cargo unify
//! features anew and build everything once more. Integration tests that start the gateway or drive its runtime run twice,
//! once per I/O driver (`IGRIS_TEST_IO`); the rest have no driver, or ask nothing that it decides, and run once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::counts::Counts;
use crate::place::{Place, names_in};
use crate::postgres;
use crate::process::{self, ask};
use crate::steps::{Outcome, Steps};

/// Set once the tests have built everything that they run, the programs included.
static TESTS_BUILT: AtomicBool = AtomicBool::new(false);

const BUILD_LIMIT: Duration = Duration::from_secs(900);
const TEST_LIMIT: Duration = Duration::from_secs(1_500);

/// Words that show that a test binary reaches the gateway or its runtime.
const DRIVER_WORDS: [&str; 3] = ["IGRIS_TEST_IO", "CARGO_BIN_EXE_igris", "igris::rt"];

/// Suites that start the gateway and ask it nothing that its driver decides: what they hold is said in configuration, books and snapshots,
/// and their bytes take the roads that the suites of the data plane go on both drivers.
const DRIVER_BLIND: [&str; 27] = [
    "access_keys",
    "admin",
    "alerts",
    "analytics",
    "bad_disk",
    "balance",
    "books_load",
    "command_line",
    "config",
    "crash",
    "dialects",
    "estate",
    "explain",
    "fleet_stand",
    "isolation",
    "keys_api",
    "ledger_cli",
    "observability",
    "policies",
    "providers",
    "readme",
    "rotation_api",
    "scores",
    "secrets",
    "semantic",
    "signed_config",
    "vault",
];

/// `cargo` in the root of the repository.
pub fn cargo(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(&place.root).args(words);
    command
}

/// The same command, giving way to whatever else runs: for what takes long beside tests that look at the clock.
pub fn patient(command: Command) -> Command {
    let mut patient = Command::new("nice");
    patient.args(["-n", "10"]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        patient.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => patient.env(name, value),
            None => patient.env_remove(name),
        };
    }
    patient
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
        let mut command = test_command(place, &["--lib", "--bins", "--tests"], &[]);
        let ran = process::run(command.env("IGRIS_TEST_IO", first), TEST_LIMIT)?;
        TESTS_BUILT.store(!Counts::read(&ran.output).is_empty(), Ordering::Relaxed);
        Ok(Outcome::of(&ran))
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
        let mut command = test_command(place, &["--lib", "--bins", "--tests"], &binaries);
        Ok(Outcome::of(&process::run(command.env("IGRIS_TEST_IO", "epoll"), TEST_LIMIT)?))
    });
}

/// The store's own tests once more, where machines share what is in it: each has a database of its own in one cluster, and at its
/// end another copy of that must be the same.
pub fn store_on_postgres(place: &Place, steps: &mut Steps) {
    steps.step("store (PostgreSQL)", || {
        let Some(bin) = postgres::bin() else {
            return Ok(Outcome::Skipped("there is no PostgreSQL on this machine".to_owned()));
        };
        let cluster = Cluster::start(&bin)?;
        // The same selection of targets as before, so that nothing is built again.
        let mut command = runner_command(place, &["--lib", "--bins", "--tests"], &[]);
        command
            .args(["--filterset", &format!("package(igris-overture) & kind(lib) & ({STORE_TESTS})")])
            .env("IGRIS_TEST_STORE_URL", cluster.url());
        Ok(match Outcome::of(&process::run(&mut command, TEST_LIMIT)?) {
            // What was not selected is not skipped: it ran before.
            Outcome::Passed(counts) => Outcome::Passed(Counts { skipped: 0, ..counts }),
            other => other,
        })
    });
}

/// Left out are those that write past the store, which a copy refuses, and those of the lock of one file.
const STORE_TESTS: &str = "test(/^(store|fleet)::/) - test(/shared::tests::/) \
    - test(/audit::tests::(who_rewrites|taking_the_key|a_log_cut|rows_from_before)/) \
    - test(/store::tests::(many_openers|a_second_opener|a_released_store|the_audit_chain)/)";

/// Tests inside `src/`, of the whole workspace.
pub fn unit_tests(place: &Place, steps: &mut Steps) {
    steps.step("unit tests", || {
        Ok(Outcome::of(&process::run(&mut test_command(place, &["--lib", "--bins"], &[]), TEST_LIMIT)?))
    });
}

/// The rules of the house (`tests/tidy.rs`).
pub fn tidy(place: &Place, steps: &mut Steps) {
    steps.step("tidy", || {
        Ok(Outcome::of(&process::run(&mut test_command(place, &["--test", "tidy"], &[]), TEST_LIMIT)?))
    });
}

/// Examples in the documentation: nextest does not run them.
pub fn doc_tests(place: &Place, steps: &mut Steps) {
    steps.step("doc tests", || {
        let words = ["test", "--locked", "--doc"];
        Ok(Outcome::of(&process::run(&mut patient(cargo(place, &words)), TEST_LIMIT)?))
    });
}

/// The documentation builds without a warning.
pub fn docs(place: &Place, steps: &mut Steps) {
    steps.step("docs", || {
        let mut command = patient(cargo(place, &["doc", "--locked", "--no-deps"]));
        Ok(Outcome::of(&process::run(command.env("RUSTDOCFLAGS", "-D warnings"), BUILD_LIMIT)?))
    });
}

/// The commented examples are configurations that the program itself accepts. The tests have built it.
pub fn example_config(place: &Place, steps: &mut Steps) {
    for file in ["config/igris.toml", "config/fleet.toml"] {
        steps.step(&format!("example: {file}"), || {
            let mut command = Command::new(place.built("debug", "igris"));
            command.current_dir(&place.root).args(["check", file]);
            Ok(Outcome::of(&process::run(&mut command, Duration::from_secs(30))?))
        });
    }
}

/// Builds `igris` and `igris-load` as the steps with real clients use them, unless the tests have just done that.
///
/// # Errors
/// The build fails.
pub fn build_programs(place: &Place) -> Result<()> {
    let there = ["igris", "igris-load"].iter().all(|name| place.built("debug", name).is_file());
    if TESTS_BUILT.load(Ordering::Relaxed) && there {
        return Ok(());
    }
    let ran = process::run(&mut cargo(place, &["build", "--locked", "--bins"]), BUILD_LIMIT)?;
    anyhow::ensure!(ran.ok, "the programs do not build");
    Ok(())
}

/// `cargo nextest run` or `cargo test` with the same selection of targets; of these only the integration tests named, if any are.
/// They are told where PostgreSQL is.
fn test_command(place: &Place, selection: &[&str], only: &[String]) -> Command {
    let mut command = runner_command(place, selection, only);
    if let Some(bin) = postgres::bin() {
        command.env(postgres::VARIABLE, bin);
    }
    command
}

fn runner_command(place: &Place, selection: &[&str], only: &[String]) -> Command {
    let nextest = ask(&mut cargo(place, &["nextest", "--version"])).is_ok_and(|ran| ran.ok);
    if !nextest {
        println!("    cargo-nextest is not installed: `cargo test` runs instead");
        let mut command = cargo(place, &["test", "--locked", "--no-fail-fast"]);
        let named = only.iter().flat_map(|name| ["--test", name]);
        if only.is_empty() {
            command.args(selection)
        } else {
            command.args(named)
        };
        return command;
    }
    let mut command = cargo(place, &["nextest", "run", "--locked", "--no-tests", "pass", "--no-fail-fast"]);
    command.args(["--status-level", "fail", "--final-status-level", "slow"]);
    command.args(["--tool-config-file", &format!("xtask:{}", place.root.join("xtask/nextest.toml").display())]);
    command.args(selection);
    if !only.is_empty() {
        let names: Vec<String> = only.iter().map(|name| format!("binary(={name})")).collect();
        command.args(["--filterset", &names.join(" | ")]);
    }
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
        if binary != "tidy" && !DRIVER_BLIND.contains(&binary.as_str()) && names_a_driver(tests, &text) {
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
        fs::write(tests.join("vault.rs"), "mod support;\n").unwrap();
        let found = binaries_with_a_driver(&tests);
        fs::remove_dir_all(&tests).unwrap();
        assert_eq!(found, ["streaming", "wire"]);
    }
}
