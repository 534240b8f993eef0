//! `cargo xtask gate`: instructions on the request path, counted under valgrind and held against what is written down.
//!
//! Time on a shared machine says nothing about a change; counts do. Two kinds are taken with the profile `probe`: pieces alone
//! (`benches/instructions`, the same count on every run), and whole requests through the gateway's worker thread (a few in a hundred
//! apart from run to run, since its clock ticks too). `written.txt` there has what each may take; `gate --write` takes it anew, in
//! the commit that changes it. Other compilers make other code: with another one than the written one the step is skipped.
//!
//! Every run of the tests counts the pieces as well, in the build that is there by then, whose profile optimises nothing
//! (`written-dev.txt`): that tells a second pass or a copy more, and costs no build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::counts::Counts;
use crate::debian;
use crate::parties::{free_port, wait_for};
use crate::place::Place;
use crate::process::{self, Background, ask};
use crate::rust;
use crate::steps::{Outcome, Steps};

const PROFILE: &str = "probe";

/// What is counted, and in which build.
struct Way {
    /// What each may take, below the root of the repository.
    written: &'static str,
    profile: &'static str,
    /// Rounds of a piece in the two runs that are subtracted.
    rounds: [u64; 2],
    /// Whether whole requests are counted too.
    whole: bool,
}

/// With the optimiser's help, as it is served.
const SERVED: Way =
    Way { written: "benches/instructions/written.txt", profile: PROFILE, rounds: [10, 110], whole: true };
/// As the tests have built it.
const TESTED: Way =
    Way { written: "benches/instructions/written-dev.txt", profile: "dev", rounds: [2, 12], whole: false };
/// The gateway and the pieces in one go: two selections would have cargo unify features twice, and build the gateway twice. The loader is
/// the one of the other checks: nobody counts it.
const BUILD: [&str; 9] =
    ["build", "--profile", PROFILE, "--locked", "-p", "igris-overture", "-p", "igris-instructions", "--bins"];
const BUILD_LIMIT: Duration = Duration::from_secs(1_500);
const RUN_LIMIT: Duration = Duration::from_secs(240);
/// Rounds of whole requests until one counts.
const TRIES: usize = 3;
/// Requests of a whole round.
const REQUESTS: u64 = 300;
/// What a count may be above the written one.
const PIECE_SLACK: f64 = 1.02;
const WHOLE_SLACK: f64 = 1.08;
/// What it must be below for the written one to be too generous.
const STALE: f64 = 0.85;

const ACCESS_KEY: &str = "sk-gate-access-key-0123456789";
const CREDENTIAL: &str = "sk-gate-credential-0123456789";

/// Counts by name.
type Figures = BTreeMap<String, u64>;

/// Runs the gate as steps of the checks; `--write` takes the figures anew, `--tested` counts in the build of the tests alone.
pub fn run(place: &Place, steps: &mut Steps, words: &[&str]) {
    let write = words.contains(&"--write");
    if !words.contains(&"--tested") {
        held(place, steps, write, &SERVED);
    }
    held(place, steps, write, &TESTED);
}

/// The pieces alone, in the build of the tests.
pub fn tested(place: &Place, steps: &mut Steps) {
    held(place, steps, false, &TESTED);
}

fn held(place: &Place, steps: &mut Steps, write: bool, way: &Way) {
    steps.step(&format!("instructions ({})", way.profile), || {
        for (program, package) in [("valgrind", "valgrind"), ("callgrind_control", "valgrind")] {
            if let Err(why) = debian::program(program, package) {
                return Ok(Outcome::Skipped(why));
            }
        }
        let compiler = compiler()?;
        let file = place.root.join(way.written);
        let (made_with, allowed) = read(&fs::read_to_string(&file).unwrap_or_default())?;
        if !write && made_with != compiler {
            return Ok(Outcome::Skipped(format!("{} is for {made_with}, and this is {compiler}", way.written)));
        }
        let figures = count(place, way)?;
        if write {
            fs::write(&file, print(way.profile, &compiler, &figures))?;
            return Ok(Outcome::Passed(Counts { passed: figures.len() as u64, ..Counts::default() }));
        }
        Ok(judge(&allowed, &figures))
    });
}

fn compiler() -> Result<String> {
    let said = ask(Command::new("rustc").arg("--version"))?.output;
    let words: Vec<&str> = said.split_whitespace().take(2).collect();
    ensure!(words.len() == 2, "rustc does not say its version");
    Ok(words.join(" "))
}

// ---- Judging ----------------------------------------------------------------------------------------------------------------

fn judge(allowed: &Figures, figures: &Figures) -> Outcome {
    let mut counts = Counts::default();
    println!("{:<44} {:>12} {:>12}", "instructions", "counted", "written");
    for (name, counted) in figures {
        let may = allowed.get(name).copied();
        let verdict = verdict(name, *counted, may);
        let may = may.map_or_else(|| "none".to_owned(), |may| may.to_string());
        println!("{name:<44} {counted:>12} {may:>12}{}", verdict.map_or(String::new(), |why| format!("   {why}")));
        match verdict {
            None => counts.passed += 1,
            Some(_) => counts.failed += 1,
        }
    }
    match counts.failed {
        0 => Outcome::Passed(counts),
        _ => Outcome::Failed(
            counts,
            "see above; a change that is meant is written by `cargo xtask gate --write`".to_owned(),
        ),
    }
}

/// What is wrong with a count, if anything.
fn verdict(name: &str, counted: u64, written: Option<u64>) -> Option<&'static str> {
    let Some(written) = written else { return Some("is not written down") };
    let slack = if is_whole(name) { WHOLE_SLACK } else { PIECE_SLACK };
    match counted as f64 / (written as f64).max(1.0) {
        ratio if ratio > slack => Some("takes more"),
        ratio if ratio < STALE => Some("takes much less: write that down, so that it stays so"),
        _ => None,
    }
}

fn is_whole(name: &str) -> bool {
    name.starts_with("whole: ")
}

fn read(text: &str) -> Result<(String, Figures)> {
    let mut compiler = "nothing".to_owned();
    let mut figures = Figures::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (name, value) = line.rsplit_once(" = ").with_context(|| format!("`{line}` has no ` = `"))?;
        match name {
            "compiler" => compiler = value.to_owned(),
            _ => {
                let count = value.parse().with_context(|| format!("`{value}` is no count"))?;
                figures.insert(name.to_owned(), count);
            }
        }
    }
    Ok((compiler, figures))
}

fn print(profile: &str, compiler: &str, figures: &Figures) -> String {
    let mut text = format!(
        "# Instructions on the request path, profile `{profile}`, by `cargo xtask gate --write`. Held by `cargo xtask gate`.\n\
         compiler = {compiler}\n"
    );
    figures.iter().for_each(|(name, count)| text.push_str(&format!("{name} = {count}\n")));
    text
}

// ---- Counting ---------------------------------------------------------------------------------------------------------------

fn count(place: &Place, way: &Way) -> Result<Figures> {
    rust::build_programs(place)?;
    ensure!(process::run(&mut rust::patient(build(place, way)), BUILD_LIMIT)?.ok, "the programs do not build");
    let pieces = place.built(if way.profile == "dev" { "debug" } else { way.profile }, "instructions");
    let folder = place.scratch("gate");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let mut figures = Figures::new();
    let names = ask(&mut Command::new(&pieces))?.output;
    for name in names.lines().filter(|line| !line.is_empty()) {
        let [few, many] = way.rounds.map(|rounds| piece(&pieces, name, rounds, &folder));
        figures.insert(name.to_owned(), many?.saturating_sub(few?) / (way.rounds[1] - way.rounds[0]));
    }
    ensure!(!figures.is_empty(), "benches/instructions lists no piece");
    if !way.whole {
        return Ok(figures);
    }
    for (name, stream) in [("whole: a unary request", false), ("whole: a stream of 64 words", true)] {
        // A gateway that valgrind slows down beside others may turn requests away; such a round counts nothing.
        let counted = (0..TRIES).find_map(|_| {
            whole(place, &folder, stream).inspect_err(|error| println!("    {name}: not counted: {error:#}")).ok()
        });
        if let Some(counted) = counted {
            figures.insert(name.to_owned(), counted);
        }
    }
    Ok(figures)
}

/// Never in increments: these cut the code into other pieces, and counts would depend on who has built before.
fn build(place: &Place, way: &Way) -> Command {
    if way.profile == "dev" {
        // Among the programs of the tests, which are all built by now but for this small one.
        return rust::cargo(place, &["build", "--locked", "--bin", "instructions"]);
    }
    let mut command = rust::cargo(place, &BUILD);
    command.env("CARGO_INCREMENTAL", "0");
    command
}

/// Instructions of a program that does one piece so many times.
fn piece(program: &Path, name: &str, rounds: u64, folder: &Path) -> Result<u64> {
    let out = folder.join("piece.out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", &format!("--callgrind-out-file={}", out.display())]);
    command.arg(program).args([name, &rounds.to_string()]);
    let ran = ask(&mut command)?;
    ensure!(ran.ok, "`{name}` failed under valgrind:\n{}", ran.output);
    total(&fs::read_to_string(&out)?).with_context(|| format!("valgrind counted nothing for `{name}`"))
}

/// The sum in a file of callgrind's: its last line has it, where the head knows of no more than one part of a thread.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}

/// Instructions of the worker thread for one request, everything on.
fn whole(place: &Place, folder: &Path, stream: bool) -> Result<u64> {
    let home = folder.join(if stream { "stream" } else { "unary" });
    fs::remove_dir_all(&home).ok();
    fs::create_dir_all(&home)?;
    let (provider_port, port) = (free_port()?, free_port()?);
    let mut mock = Command::new(place.built("debug", "igris-load"));
    mock.args(["mock", "--listen", &format!("127.0.0.1:{provider_port}"), "--name", "openai", "--key", CREDENTIAL]);
    mock.args(["--model", "gpt-4o-mini", "--threads", "1", "--latency", "0ms"]);
    let mut mock = Background::start(&mut mock, &home.join("mock.log"))?;
    wait_for(&mut mock, provider_port, "the simulated provider", RUN_LIMIT)?;
    fs::write(home.join("igris.toml"), configuration(&home, provider_port))?;
    let out = home.join("callgrind");
    let mut gateway = Command::new("valgrind");
    gateway.args(["--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]);
    gateway.arg(format!("--callgrind-out-file={}", out.display())).arg(place.built(PROFILE, "igris"));
    gateway.arg("serve").arg("--config").arg(home.join("igris.toml")).arg("--data-dir").arg(&home);
    gateway.args(["--listen", &format!("127.0.0.1:{port}"), "--io", "epoll", "--workers", "1"]);
    gateway.env("GATE_ACCESS_KEY", ACCESS_KEY).env("GATE_CREDENTIAL", CREDENTIAL);
    let mut gateway = Background::start(&mut gateway, &home.join("gateway.log"))?;
    wait_for(&mut gateway, port, "the gateway under valgrind", RUN_LIMIT)?;
    load(place, port, stream, REQUESTS / 3)?;
    let id = gateway.id().to_string();
    instrument(&id, "on")?;
    load(place, port, stream, REQUESTS)?;
    instrument(&id, "off")?;
    ask(Command::new("kill").args(["-TERM", &id]))?;
    let begun = Instant::now();
    while gateway.alive() {
        ensure!(begun.elapsed() < RUN_LIMIT, "the gateway does not end:\n{}", gateway.output());
        thread::sleep(Duration::from_millis(100));
    }
    Ok(of_worker(&home)? / REQUESTS)
}

fn instrument(id: &str, how: &str) -> Result<()> {
    let ran = ask(Command::new("callgrind_control").args(["-i", how, id]))?;
    ensure!(ran.ok, "valgrind does not listen:\n{}", ran.output);
    Ok(())
}

/// The count of the thread that ran the data plane.
fn of_worker(home: &Path) -> Result<u64> {
    for entry in fs::read_dir(home)? {
        let path = entry?.path();
        let is_out = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("callgrind"));
        let text = if is_out { fs::read_to_string(&path)? } else { String::new() };
        if text.contains("data_plane::exchange") {
            return total(&text).context("callgrind's file has no sum");
        }
    }
    bail!("callgrind has no file of a worker thread")
}

fn load(place: &Place, port: u16, stream: bool, requests: u64) -> Result<()> {
    let mut command = Command::new(place.built("debug", "igris-load"));
    command.args(["run", "--url", &format!("http://127.0.0.1:{port}/v1"), "--model", "gpt-4o-mini"]);
    command.args(["--key", ACCESS_KEY, "--connections", "4", "--requests", &requests.to_string()]);
    command.args(["--tokens", "64", "--verify"]);
    if stream {
        command.arg("--stream");
    }
    let ran = ask(&mut command)?;
    ensure!(ran.ok, "the load failed:\n{}", ran.output);
    Ok(())
}

fn configuration(home: &Path, provider_port: u16) -> String {
    let home = home.display();
    format!(
        "version = 1
[admin]
socket = \"{home}/admin.sock\"
[store]
url = \"sqlite:{home}/igris.db\"
[vault]
root_key = {{ file = \"{home}/root.key\" }}
[[providers]]
name = \"openai\"
base_url = \"http://127.0.0.1:{provider_port}/v1\"
allow_private_address = true
api_key = {{ env = \"GATE_CREDENTIAL\" }}
[[tenants]]
id = \"default\"
[[access_keys]]
name = \"gate\"
tenant = \"default\"
key = {{ env = \"GATE_ACCESS_KEY\" }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let figures =
            Figures::from([("head of a request".to_owned(), 4_100), ("whole: a unary request".to_owned(), 60_000)]);
        let (compiler, again) = read(&print("dev", "rustc 1.95.0", &figures)).unwrap();
        assert_eq!((compiler.as_str(), again), ("rustc 1.95.0", figures));
        assert!(read("no count here").is_err());
        assert!(read("a piece = many").is_err());
        assert_eq!(read("").unwrap().0, "nothing");
    }

    #[test]
    fn more_is_refused_and_much_less_is_to_be_written_down() {
        assert_eq!(verdict("piece", 1_000, Some(1_000)), None);
        assert_eq!(verdict("piece", 1_015, Some(1_000)), None);
        assert!(verdict("piece", 1_030, Some(1_000)).is_some());
        assert!(verdict("piece", 700, Some(1_000)).is_some());
        assert!(verdict("piece", 1, None).is_some());
        assert_eq!(verdict("whole: x", 1_050, Some(1_000)), None, "the gateway's clock ticks too");
        assert!(verdict("whole: x", 1_100, Some(1_000)).is_some());
    }

    #[test]
    fn a_count_is_found_in_what_valgrind_says() {
        assert_eq!(total("events: Ir\nsummary: 0\n\ntotals: 12\n"), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }
}
