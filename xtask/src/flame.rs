//! `cargo xtask flame`: where the processor time of a request and of a stream goes, as flame graphs in `docs/`.
//!
//! The gateway is built once more with frame pointers, in a target directory of its own. perf(1) samples it by the clock of the processor, so
//! that it works where a virtual machine hides the hardware's counters; its stacks are folded here and drawn by the `inferno` crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use inferno::flamegraph;

use crate::load::Load;
use crate::parties::{self, Kind, Upstream, free_port};
use crate::place::Place;
use crate::process::{self, ask};
use crate::{debian, rust};

const BUILD_LIMIT: Duration = Duration::from_secs(3_600);
/// Samples a second; a prime, so that nothing periodic hides between them.
const FREQUENCY: &str = "1999";
/// How long perf is given to begin.
const ATTACH: Duration = Duration::from_millis(500);
/// Characters of a function's name that are kept.
const NAME_MAX: usize = 120;

/// What the command line asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    profile: String,
    driver: Kind,
    requests: u64,
    build: bool,
    out: Option<PathBuf>,
}

/// Runs `cargo xtask flame`.
///
/// # Errors
/// The options are wrong, perf may not look, or a program fails.
pub(crate) fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    if let Err(why) = debian::program("perf", "linux-perf") {
        println!("flame: skipped: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    // Frame pointers change every crate: builds of both kinds in one directory would throw each other out.
    let place = Place { root: place.root.clone(), target: place.target.join("flame") };
    if options.build {
        let mut build = rust::cargo(&place, &["build", "--profile", &options.profile, "--locked", "--bins"]);
        build.env("CARGO_TARGET_DIR", &place.target).env("RUSTFLAGS", "-C force-frame-pointers=yes");
        ensure!(process::run(&mut build, BUILD_LIMIT)?.ok, "the programs do not build");
    }
    let folder = place.scratch("flame");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let out = options.out.clone().unwrap_or_else(|| place.root.join("docs"));
    fs::create_dir_all(&out)?;
    for (name, stream, requests) in [("unary", false, options.requests), ("stream", true, options.requests / 50)] {
        let stacks = sampled(&place, &options, &folder, (stream, requests.max(64)))?;
        let file = out.join(format!("flame-{name}.svg"));
        fs::write(&file, drawn(&format!("igris, {name}, {}", options.driver.name()), &stacks)?)?;
        fs::write(folder.join(format!("{name}.folded")), stacks.join("\n") + "\n")?;
        println!("{}: {} different stacks", file.display(), stacks.len());
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let (profile, driver) = ("fast".to_owned(), Kind::Epoll);
    let mut options = Options { profile, driver, requests: 100_000, build: true, out: None };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        if *flag == "--no-build" {
            options.build = false;
            continue;
        }
        let value = words.next().with_context(|| format!("{flag} needs a value"))?;
        match *flag {
            "--profile" => options.profile = (*value).to_owned(),
            "--requests" => options.requests = value.parse().with_context(|| format!("`{value}` is no number"))?,
            "--driver" => match Kind::parse(value) {
                Some(kind @ (Kind::IoUring | Kind::Epoll)) => options.driver = kind,
                _ => bail!("--driver is io_uring or epoll"),
            },
            "--out" => options.out = Some(PathBuf::from(value)),
            other => bail!("`flame` has no option {other}"),
        }
    }
    ensure!(options.requests >= 1_000, "--requests must be at least 1000");
    Ok(options)
}

/// Loads a gateway under perf: its stacks, folded.
fn sampled(place: &Place, options: &Options, folder: &Path, (stream, requests): (bool, u64)) -> Result<Vec<String>> {
    let upstream = Upstream::plain(free_port()?);
    let _provider = parties::start_mock(place, &options.profile, folder, &upstream, &["--latency", "0ms"])?;
    let mut proxies = parties::start_proxies(place, &options.profile, folder, &upstream, (&[options.driver], stream))?;
    let proxy = proxies.first_mut().context("this machine has not the driver that was asked for")?;
    let words = if stream { 200 } else { 64 };
    let load = Load { requests, stream, words, ..Load::usual(&options.profile) };
    Load { requests: (requests / 10).max(64), ..load.clone() }.send(place, folder, proxy)?;

    let data = folder.join("perf.data");
    let mut recorder = Command::new("perf");
    recorder.args(["record", "-e", "cpu-clock", "-F", FREQUENCY, "--call-graph", "fp", "-p"]);
    recorder.arg(proxy.process.id().to_string()).arg("-o").arg(&data);
    let mut recorder = recorder.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    thread::sleep(ATTACH);
    let attached = matches!(recorder.try_wait(), Ok(None));
    let sent = if attached { load.send(place, folder, proxy).map(drop) } else { Ok(()) };
    ask(Command::new("kill").args(["-INT", &recorder.id().to_string()])).ok();
    recorder.wait().ok();
    sent?;
    ensure!(attached, "perf may not look at other processes; see /proc/sys/kernel/perf_event_paranoid");
    // Its warnings go to stderr and are none of the stacks.
    let script = Command::new("perf").args(["script", "-i"]).arg(&data).stdin(Stdio::null()).output()?;
    let stacks = folded(&String::from_utf8_lossy(&script.stdout));
    ensure!(!stacks.is_empty(), "perf took no samples:\n{}", String::from_utf8_lossy(&script.stderr));
    Ok(stacks)
}

/// `perf script`'s text as folded stacks: thread and functions from the outermost in, then how often; the least often seen left to the drawer.
fn folded(script: &str) -> Vec<String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for sample in script.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let Some(thread) = lines.next().and_then(thread_of) else { continue };
        let mut frames: Vec<String> = lines.filter_map(function_of).collect();
        frames.push(thread);
        frames.reverse();
        *counts.entry(frames.join(";")).or_default() += 1;
    }
    counts.into_iter().map(|(stack, count)| format!("{stack} {count}")).collect()
}

/// The thread's name at the start of a sample's first line, before its id and the time; threads that differ by a number are one.
fn thread_of(line: &str) -> Option<String> {
    let (before, _) = line.split_once(": ")?;
    let words: Vec<&str> = before.split_whitespace().filter(|word| !word.starts_with('[')).collect();
    let name = words.get(..words.len().checked_sub(2)?)?.join(" ");
    Some(name.trim_end_matches(|letter: char| letter.is_ascii_digit() || "- ".contains(letter)).to_owned())
}

/// The function of one frame, `address name+offset (file)`.
fn function_of(line: &str) -> Option<String> {
    let (_, rest) = line.trim_start().split_once(' ')?;
    let (name, file) = rest.rsplit_once(" (").unwrap_or((rest, ""));
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    if name == "[unknown]" {
        let file = file.trim_end_matches(')').rsplit('/').next().unwrap_or_default();
        return Some(format!("[{}]", file.trim_matches(['[', ']'])));
    }
    // Rust's names end in a hash that tells instances apart, and a semicolon separates frames.
    let hashed = name
        .rsplit_once("::h")
        .filter(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let name = hashed.map_or(name, |(name, _)| name).replace(';', ":");
    Some(name.chars().take(NAME_MAX).collect())
}

fn drawn(title: &str, stacks: &[String]) -> Result<Vec<u8>> {
    let mut options = flamegraph::Options::default();
    title.clone_into(&mut options.title);
    "samples".clone_into(&mut options.count_name);
    // Pictures of the same stacks are the same bytes.
    options.deterministic = true;
    options.min_width = 0.3;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, stacks.iter().map(String::as_str), &mut svg)
        .context("the picture was not drawn")?;
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
core 0  4242  1234.500000:     500250 cpu-clock:u: 
\t    55d0aa igris::json::scan::h0123456789abcdef+0x12 (/opt/igris)
\t    55d0bb <igris::A as core::ops::Fn<(u8;)>>::call+0x1f (/opt/igris)
\t    7f0001 [unknown] (/lib/x86_64-linux-gnu/libc.so.6)

core 0  4242  1234.500500:     500250 cpu-clock:u: 
\t    55d0ac igris::json::scan::h0123456789abcdef+0x2 (/opt/igris)
\t    55d0bb <igris::A as core::ops::Fn<(u8;)>>::call+0x1f (/opt/igris)
\t    7f0001 [unknown] (/lib/x86_64-linux-gnu/libc.so.6)

control  4243  1234.600000:     500250 cpu-clock:u: 
\tffffffff81 do_syscall_64+0x3d ([kernel.kallsyms])
";

    #[test]
    fn stacks_are_folded_from_the_outermost_in() {
        let stacks = folded(SCRIPT);
        let expected = [
            "control;do_syscall_64 1",
            "core;[libc.so.6];<igris::A as core::ops::Fn<(u8:)>>::call;igris::json::scan 2",
        ];
        assert_eq!(stacks, expected);
        assert!(folded("# a header alone\n").is_empty());
    }

    #[test]
    fn a_picture_is_drawn() {
        let svg = String::from_utf8(drawn("title", &folded(SCRIPT)).expect("drawn")).expect("text");
        assert!(svg.contains("<svg") && svg.contains("igris::json::scan"), "{svg}");
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--driver", "io_uring", "--requests", "5000", "--no-build"]).expect("good ones");
        assert_eq!((options.driver, options.requests, options.build), (Kind::IoUring, 5_000, false));
        for words in [&["--driver", "nginx"][..], &["--requests", "1"], &["--requests"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
