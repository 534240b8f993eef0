//! `bench proxy`: processor time per request of igris, on each I/O driver, and of nginx as a bare proxy. `bench hedging`: what a second
//! attempt makes of a provider with a slow tail; its rounds are a test of the gateway that prints figures.
//!
//! All of them stand between the same loader and the same simulated provider. Rounds are interleaved, so that whatever else
//! the machine does falls on each alike, and the median is what counts. What is measured is utime and stime of the proxy
//! process alone (`/proc/PID/stat`, all its threads); loader and provider share one processor, the proxies have another.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::place::{Place, on_path};
use crate::process::{self, Background, ask};
use crate::{bench_estate, bench_ledger, bench_load, bench_overload, bench_telemetry, nginx, rust};

const BUILD_LIMIT: Duration = Duration::from_secs(1_800);
pub(crate) const ROUND_LIMIT: Duration = Duration::from_secs(300);
const START_LIMIT: Duration = Duration::from_secs(10);

pub(crate) const ACCESS_KEY: &str = "sk-bench-access-key-0123456789";
pub(crate) const CREDENTIAL: &str = "sk-bench-credential-0123456789";
pub(crate) const MODEL: &str = "gpt-4o-mini";
/// Words of an answer, asked for by the loader so that it can check every byte.
const ANSWER_WORDS: &str = "64";

/// What the command line asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    requests: u64,
    connections: u64,
    rounds: usize,
}

/// One proxy under test.
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) port: u16,
    /// What the loader shows it: nginx passes the provider's credential through, igris puts it in.
    pub(crate) key: &'static str,
    pub(crate) process: Background,
    pub(crate) rounds: Vec<Cost>,
}

/// Processor time per request, microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    user: f64,
    system: f64,
}

/// Runs a bench.
///
/// # Errors
/// The options are wrong, a program does not start, or a round fails.
pub fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let (rest, telemetry) = match words.split_first() {
        Some((&"proxy", rest)) => (rest, false),
        Some((&"telemetry", rest)) => (rest, true),
        Some((&"overload", rest)) => return bench_overload::run(place, rest),
        Some((&"estate", rest)) => return bench_estate::run(place, rest),
        Some((&"load", rest)) => return bench_load::run(place, rest),
        Some((&"ledger", rest)) => return bench_ledger::run(place, rest),
        Some((&"hedging", [])) => return hedging(place),
        Some((&"books", [])) => return books(place),
        _ => bail!(
            "there are eight benches: `cargo xtask bench proxy`, `… telemetry`, `… hedging`, `… overload`, `… estate`, `… ledger`, `… books` and `… load`"
        ),
    };
    let options = parse(rest)?;
    build(place, "release")?;

    let folder = place.scratch("bench");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    let provider_port = free_port()?;
    let _provider = start_provider(place, "release", &folder, provider_port, "0ms")?;
    let mut proxies = match telemetry {
        true => bench_telemetry::start(place, &folder, provider_port)?,
        false => start_proxies(place, "release", &folder, provider_port)?,
    };

    let warm_up = (options.requests / 10).max(options.connections);
    for proxy in &mut proxies {
        load(place, proxy, options.connections, warm_up)?;
    }
    for round in 1..=options.rounds {
        println!("\n==> round {round} of {}", options.rounds);
        for proxy in &mut proxies {
            let before = cpu_time(proxy.process.id())?;
            load(place, proxy, options.connections, options.requests)?;
            let after = cpu_time(proxy.process.id())?;
            proxy.rounds.push(Cost::between(before, after, options.requests));
        }
    }
    print_table(if telemetry { "telemetry" } else { "proxy" }, &options, &proxies);
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs that are measured.
pub(crate) fn build(place: &Place, profile: &str) -> Result<()> {
    let mut build = rust::cargo(place, &["build", "--profile", profile, "--locked", "--bins"]);
    ensure!(process::run(&mut build, BUILD_LIMIT)?.ok, "the programs do not build");
    Ok(())
}

/// Runs `bench hedging`.
fn hedging(place: &Place) -> Result<ExitCode> {
    let words =
        ["test", "--locked", "--profile", "fast", "--test", "hedging", "--", "--ignored", "--nocapture", "figures"];
    let ran = process::run(&mut rust::cargo(place, &words), BUILD_LIMIT)?;
    ensure!(ran.ok, "the figures were not taken");
    Ok(ExitCode::SUCCESS)
}

/// Runs `bench books`: tests/books_load.rs at its full size.
fn books(place: &Place) -> Result<ExitCode> {
    println!("{}", machine());
    let words = ["test", "--locked", "--profile", "fast", "--test", "books_load", "--", "--nocapture"];
    let mut command = rust::cargo(place, &words);
    for (name, value) in [("ROWS", "1000000"), ("RATE", "300"), ("SECONDS", "10"), ("ROUNDS", "3")] {
        let name = format!("IGRIS_BOOKS_{name}");
        if std::env::var_os(&name).is_none() {
            command.env(name, value);
        }
    }
    ensure!(process::run(&mut command, BUILD_LIMIT)?.ok, "the figures were not taken");
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options { requests: 20_000, connections: 64, rounds: 5 };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let value = words.next().with_context(|| format!("{flag} needs a number"))?;
        let number: u64 = value.parse().with_context(|| format!("{flag} needs a number, and `{value}` is none"))?;
        ensure!(number > 0, "{flag} must be above zero");
        match *flag {
            "--requests" => options.requests = number,
            "--connections" => options.connections = number,
            "--rounds" => options.rounds = usize::try_from(number)?,
            other => bail!("`bench proxy` has no option {other}"),
        }
    }
    Ok(options)
}

// ---- The three parties ------------------------------------------------------------------------------------------------------

/// A simulated provider that takes so long for an answer.
pub(crate) fn start_provider(
    place: &Place,
    profile: &str,
    folder: &Path,
    port: u16,
    latency: &str,
) -> Result<Background> {
    start_mock(place, profile, folder, port, &["--latency", latency])
}

/// A simulated provider with these manners.
pub(crate) fn start_mock(
    place: &Place,
    profile: &str,
    folder: &Path,
    port: u16,
    manners: &[&str],
) -> Result<Background> {
    let mut command = Command::new(place.built(profile, "igris-load"));
    command.args(["mock", "--listen", &format!("127.0.0.1:{port}"), "--name", "openai", "--key", CREDENTIAL]);
    command.args(["--model", MODEL, "--threads", "1"]).args(manners);
    let mut provider = Background::start(&mut pinned(command, Side::Load), &folder.join("provider.log"))?;
    wait_for(&mut provider, port, "the simulated provider")?;
    Ok(provider)
}

pub(crate) fn start_proxies(place: &Place, profile: &str, folder: &Path, provider_port: u16) -> Result<Vec<Proxy>> {
    let mut proxies = Vec::new();
    if let Some(program) =
        on_path("nginx").or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|file| file.is_file()))
    {
        let port = free_port()?;
        let pin = |command| pinned(command, Side::Proxy);
        let mut process = nginx::start(&program, &folder.join("nginx"), port, provider_port, pin)?;
        wait_for(&mut process, port, "nginx")?;
        proxies.push(Proxy { name: "nginx".to_owned(), port, key: CREDENTIAL, process, rounds: Vec::new() });
    } else {
        println!("nginx: skipped: it is not installed (Debian package nginx-light)");
    }
    for driver in ["io_uring", "epoll"] {
        if driver == "io_uring" && io_uring::IoUring::new(8).is_err() {
            println!("igris io_uring: skipped: this kernel gives us no io_uring");
            continue;
        }
        proxies.push(start_igris(place, profile, folder, provider_port, driver)?);
    }
    Ok(proxies)
}

fn start_igris(place: &Place, profile: &str, folder: &Path, provider_port: u16, driver: &str) -> Result<Proxy> {
    let (port, name) = (free_port()?, format!("igris {driver}"));
    let process = start_gateway(place, profile, &folder.join(driver), (port, provider_port), driver, "", &name)?;
    Ok(Proxy { name, port, key: ACCESS_KEY, process, rounds: Vec::new() })
}

/// A gateway on one core before a provider, with further lines of configuration.
pub(crate) fn start_gateway(
    place: &Place,
    profile: &str,
    home: &Path,
    (port, provider_port): (u16, u16),
    driver: &str,
    lines: &str,
    name: &str,
) -> Result<Background> {
    fs::create_dir_all(home)?;
    let config = home.join("igris.toml");
    fs::write(&config, configuration(home, provider_port, lines))?;
    let mut command = Command::new(place.built(profile, "igris"));
    command.arg("serve").arg("--config").arg(&config).arg("--data-dir").arg(home);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--io", driver, "--workers", "1"]);
    command.env("BENCH_ACCESS_KEY", ACCESS_KEY).env("BENCH_CREDENTIAL", CREDENTIAL);
    let mut process = Background::start(&mut pinned(command, Side::Proxy), &home.join("output.log"))?;
    wait_for(&mut process, port, name)?;
    Ok(process)
}

fn configuration(home: &Path, provider_port: u16, lines: &str) -> String {
    let home = home.display();
    format!(
        "version = 1
{lines}[admin]
socket = \"{home}/admin.sock\"
[store]
url = \"sqlite:{home}/igris.db\"
[vault]
root_key = {{ file = \"{home}/root.key\" }}
[[providers]]
name = \"openai\"
base_url = \"http://127.0.0.1:{provider_port}/v1\"
allow_private_address = true
api_key = {{ env = \"BENCH_CREDENTIAL\" }}
[[tenants]]
id = \"default\"
[[access_keys]]
name = \"bench\"
tenant = \"default\"
key = {{ env = \"BENCH_ACCESS_KEY\" }}
"
    )
}

fn load(place: &Place, proxy: &mut Proxy, connections: u64, requests: u64) -> Result<()> {
    println!("    {}", proxy.name);
    let mut command = Command::new(place.built("release", "igris-load"));
    command.args([
        "run",
        "--url",
        &format!("http://127.0.0.1:{}/v1", proxy.port),
        "--model",
        MODEL,
        "--key",
        proxy.key,
    ]);
    command.args(["--connections", &connections.to_string(), "--requests", &requests.to_string()]);
    command.args(["--tokens", ANSWER_WORDS, "--verify"]);
    let ran = process::run(&mut pinned(command, Side::Load), ROUND_LIMIT)?;
    ensure!(ran.ok, "the load on {} failed", proxy.name);
    ensure!(proxy.process.alive(), "{} ended during the load:\n{}", proxy.name, proxy.process.output());
    Ok(())
}

// ---- Measuring --------------------------------------------------------------------------------------------------------------

/// User and system time of a process so far, clock ticks: fields 14 and 15 of `/proc/PID/stat` (proc(5)).
pub(crate) fn cpu_time(id: u32) -> Result<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("the proxy's times cannot be read")?;
    times_of(&stat).context("/proc/PID/stat has another form than proc(5) says")
}

fn times_of(stat: &str) -> Option<(u64, u64)> {
    // The second field is the program's name in parentheses and may hold spaces; counting starts after it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11).map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

impl Cost {
    fn between(before: (u64, u64), after: (u64, u64), requests: u64) -> Cost {
        let each = |ticks: u64| ticks as f64 * tick_us() / requests as f64;
        Cost { user: each(after.0.saturating_sub(before.0)), system: each(after.1.saturating_sub(before.1)) }
    }

    fn total(self) -> f64 {
        self.user + self.system
    }
}

/// Microseconds of a clock tick: 10 000 wherever USER_HZ is Linux' usual 100.
pub(crate) fn tick_us() -> f64 {
    let answer = ask(Command::new("getconf").arg("CLK_TCK")).ok();
    let per_second = answer.and_then(|ran| ran.output.trim().parse::<f64>().ok()).filter(|ticks| *ticks >= 1.0);
    1_000_000.0 / per_second.unwrap_or(100.0)
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn print_table(bench: &str, options: &Options, proxies: &[Proxy]) {
    println!("\nProcessor time per request, microseconds (user + system = total); {}", machine());
    println!(
        "cargo xtask bench {bench} --requests {} --connections {} --rounds {}\n",
        options.requests, options.connections, options.rounds
    );
    let row = |label: &str, cost: Cost| {
        println!("{label:<26} {:>8.2} + {:>8.2} = {:>8.2}", cost.user, cost.system, cost.total());
    };
    for proxy in proxies {
        for (index, cost) in proxy.rounds.iter().enumerate() {
            row(&format!("{}, round {}", proxy.name, index + 1), *cost);
        }
    }
    println!();
    let medians = proxies.iter().map(|proxy| {
        let user = median(proxy.rounds.iter().map(|cost| cost.user));
        let system = median(proxy.rounds.iter().map(|cost| cost.system));
        (proxy, Cost { user, system }, median(proxy.rounds.iter().map(|cost| cost.total())))
    });
    for (proxy, cost, total) in medians {
        println!("{:<26} {:>8.2}   {:>8.2}   {total:>8.2}", format!("{}, median", proxy.name), cost.user, cost.system);
    }
}

pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let count = thread::available_parallelism().map_or(1, usize::from);
    format!("{} x {}, Linux {}", count, model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}

// ---- Places and ports -------------------------------------------------------------------------------------------------------

pub(crate) enum Side {
    Load,
    Proxy,
}

/// Loader and provider on processor 0, the proxies on processor 1.
pub(crate) fn pinned(command: Command, side: Side) -> Command {
    let processor = match side {
        Side::Load => "0",
        Side::Proxy => "1",
    };
    pinned_at(command, processor)
}

/// On this processor, where there are two and `taskset` is there.
pub(crate) fn pinned_at(command: Command, processor: &str) -> Command {
    let enough = thread::available_parallelism().is_ok_and(|count| count.get() >= 2);
    if !enough || on_path("taskset").is_none() {
        return command;
    }
    // taskset replaces itself with the program: the process id stays the program's own.
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", processor]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no loopback port is free")?.local_addr()?.port())
}

fn wait_for(process: &mut Background, port: u16, name: &str) -> Result<()> {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(process.alive(), "{name} ended at once:\n{}", process.output());
        ensure!(started.elapsed() < START_LIMIT, "{name} does not listen after {} s", START_LIMIT.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_the_name() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 3 0 100 1000 10 0";
        assert_eq!(times_of(stat), Some((123, 45)));
        assert_eq!(times_of("42 (short) S 1"), None);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--requests", "50", "--rounds", "3"]).unwrap();
        assert_eq!(options, Options { requests: 50, connections: 64, rounds: 3 });
        for words in [&["--requests"][..], &["--requests", "many"], &["--rounds", "0"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
