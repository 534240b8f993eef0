//! `bench overload`: what the gateway still delivers at twice its capacity, how long that takes, and what turning a request away costs.
//!
//! Capacity is made small and known: a provider that takes a fixed time, and few places. First the peak is measured with as many clients
//! as there are places, then requests come on a schedule at twice that rate (rule O5). Last the places are all taken by a client that
//! never finishes its request, and the processor time of what is turned away is measured (rule O3).

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::account;
use crate::bench::{self, ROUND_LIMIT};
use crate::parties::{self, ACCESS_KEY, MODEL, Side};
use crate::place::Place;
use crate::process::{self, Background};

/// What the provider takes for an answer.
const LATENCY: &str = "100ms";
/// Places of the gateway's one core, and how many of them are given away before it sheds.
const PLACES: u64 = 64;
const GIVEN: u64 = 57;
/// A client with more connections than there will ever be requests waiting.
const CROWD: u64 = 512;
/// Requests that are turned away while their cost is measured.
const SHED_REQUESTS: u64 = 20_000;

struct Options {
    seconds: u64,
    profile: String,
}

/// What a round of load came to.
pub(crate) struct Round {
    pub(crate) ok: f64,
    turned_away: f64,
    elapsed_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// Runs `bench overload`.
///
/// # Errors
/// The options are wrong, a program does not start, or a round fails.
pub fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    bench::build(place, &options.profile)?;
    let folder = place.scratch("bench-overload");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let provider_port = parties::free_port()?;
    let _provider = parties::start_provider(place, &options.profile, &folder, provider_port, LATENCY)?;
    let serve = |name: &str, places: u64| -> Result<(Background, u16)> {
        let (home, port) = (folder.join(name), parties::free_port()?);
        let limits = format!("[server.limits]\nexchanges_per_core = {places}\n");
        let gateway =
            parties::start_gateway(place, &options.profile, &home, (port, provider_port), "epoll", &limits, name)?;
        Ok((gateway, port))
    };

    let (gateway, port) = serve("capacity", PLACES)?;
    let load = |name: &str, words: &[String]| round(place, &options.profile, &folder, port, name, words);
    load("warm-up", &closed(GIVEN, 2))?;
    let peak = load("peak", &closed(GIVEN, options.seconds))?;
    let rate = peak.goodput();
    let twice = load("twice", &open(CROWD, 2.0 * rate, options.seconds))?;
    drop(gateway);

    let (gateway, port) = serve("shedding", 1)?;
    let mut holder = TcpStream::connect(("127.0.0.1", port)).context("the gateway does not take connections")?;
    // The body never comes whole: the one place stays taken until the deadline for bodies.
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {ACCESS_KEY}\r\ncontent-length: 1000\r\n\r\n{{"
    );
    holder.write_all(head.as_bytes())?;
    std::thread::sleep(Duration::from_millis(200));
    let before = account::cpu_time(gateway.id())?;
    let words = ["--connections".to_owned(), "8".to_owned(), "--requests".to_owned(), SHED_REQUESTS.to_string()];
    let shed = round(place, &options.profile, &folder, port, "shed", &words)?;
    let after = account::cpu_time(gateway.id())?;
    let ticks = (after.0 + after.1).saturating_sub(before.0 + before.1);
    print(&options, &peak, &twice, &shed, ticks as f64 * account::tick_us());
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options { seconds: 10, profile: "release".to_owned() };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let value = words.next().with_context(|| format!("{flag} needs a value"))?;
        match *flag {
            "--seconds" => options.seconds = value.parse().with_context(|| format!("`{value}` is no number"))?,
            "--profile" => options.profile = (*value).to_owned(),
            other => bail!("`bench overload` has no option {other}"),
        }
    }
    ensure!((1..=600).contains(&options.seconds), "--seconds must be between 1 and 600");
    Ok(options)
}

pub(crate) fn closed(connections: u64, seconds: u64) -> Vec<String> {
    ["--connections", &connections.to_string(), "--duration", &format!("{seconds}s")].map(str::to_owned).to_vec()
}

pub(crate) fn open(connections: u64, rate: f64, seconds: u64) -> Vec<String> {
    let mut words = closed(connections, seconds);
    words.extend(["--rate".to_owned(), format!("{rate:.0}")]);
    words
}

/// One round of load. Requests that were turned away are no failure here.
pub(crate) fn round(
    place: &Place,
    profile: &str,
    folder: &Path,
    port: u16,
    name: &str,
    words: &[String],
) -> Result<Round> {
    let report = folder.join(format!("{name}.json"));
    let mut command = Command::new(place.built(profile, "igris-load"));
    command.args(["run", "--url", &format!("http://127.0.0.1:{port}/v1"), "--model", MODEL, "--key", ACCESS_KEY]);
    command.arg("--json").arg(&report).args(words);
    process::run(&mut parties::pinned(command, Side::Load), ROUND_LIMIT)?;
    let text = fs::read_to_string(&report).with_context(|| format!("the round `{name}` left no report"))?;
    read(&text).with_context(|| format!("the report of `{name}` has another form"))
}

fn read(text: &str) -> Option<Round> {
    let all = number(text, "\"requests\":")?;
    let ok = number(text.get(text.find("\"outcomes\":")?..)?, "\"ok\":")?;
    let times = text.get(text.find("\"e2e\":")?..)?;
    let time = |name| number(times, name).unwrap_or_default();
    Some(Round {
        ok,
        turned_away: all - ok,
        elapsed_s: number(text, "\"elapsed_s\":")?,
        p50_us: time("\"p50\":"),
        p99_us: time("\"p99\":"),
        p999_us: time("\"p999\":"),
    })
}

/// The number after the first such name.
fn number(text: &str, name: &str) -> Option<f64> {
    let rest = text.get(text.find(name)? + name.len()..)?.trim_start();
    let end = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

impl Round {
    /// Answers a second.
    pub(crate) fn goodput(&self) -> f64 {
        self.ok / self.elapsed_s.max(1e-9)
    }
}

fn print(options: &Options, peak: &Round, twice: &Round, shed: &Round, shed_us: f64) {
    println!("\n{}; one core, epoll, {PLACES} places, a provider that takes {LATENCY}", bench::machine());
    println!("cargo xtask bench overload --seconds {} --profile {}\n", options.seconds, options.profile);
    for (name, round) in [("peak", peak), ("twice the peak", twice)] {
        println!(
            "{name:<16} {:>8.0} answers/s, {:>7.0} turned away, p50 {:>6.1} ms, p99 {:>6.1} ms",
            round.goodput(),
            round.turned_away,
            round.p50_us / 1e3,
            round.p99_us / 1e3
        );
    }
    println!(
        "{:<16} {:>8.1} % of the peak (rule O5: at least 90)",
        "goodput",
        100.0 * twice.goodput() / peak.goodput()
    );
    println!("{:<16} {:>8.2} x the peak's (rule O5: at most 2)", "median latency", twice.p50_us / peak.p50_us.max(1.0));
    println!(
        "{:<16} {:>8.1} us of processor time each, its connection included (rule O3: at most 50)",
        "turning away",
        shed_us / shed.turned_away.max(1.0)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = r#"{"elapsed_s": 2.5, "requests": 30, "outcomes": {"ok": 20, "status_5xx": 10},
            "ttft": {"p50": 1.0, "p99": 2.0}, "e2e": {"count": 20, "p50": 41.5, "p99": 52.0}}"#;
        let round = read(text).expect("it has all");
        assert_eq!((round.ok, round.turned_away, round.p50_us, round.p99_us), (20.0, 10.0, 41.5, 52.0));
        assert!((round.goodput() - 8.0).abs() < 1e-9);
        assert!(read("{}").is_none());
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--seconds", "3", "--profile", "fast"]).unwrap();
        assert_eq!((options.seconds, options.profile.as_str()), (3, "fast"));
        for words in [&["--seconds"][..], &["--seconds", "0"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
