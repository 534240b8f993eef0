//! `bench load`: what the load tester itself costs and by how much it errs, beside other tools on the same simulated provider.
//!
//! Client and provider have a processor each. The client's processor time and its highest resident memory come from the kernel's account of
//! the finished process (getrusage(2)), for every client alike.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::{self, ROUND_LIMIT, median};
use crate::parties::{self, ACCESS_KEY, CREDENTIAL, Kind, MODEL, Side, Upstream, free_port};
use crate::place::{Place, on_path};
use crate::process;

/// Runs a program, puts its output into a file, and prints what it cost: seconds of user and system time, KiB of resident memory.
const WRAPPER: &str = "import resource, subprocess, sys
ran = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], 'wb'))
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime, used.ru_stime, used.ru_maxrss, ran.returncode)";
/// Connections of the unary comparison: wrk's own example has as many.
const CONNECTIONS: u32 = 64;

struct Options {
    seconds: u32,
    pairs_seconds: u32,
    rounds: usize,
    streams: u32,
    profile: String,
}

/// What one run of a client cost.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    cpu_s: f64,
    resident_kib: f64,
}

/// Runs the bench.
///
/// # Errors
/// The options are wrong, a program is missing or does not start, or a round fails.
pub(crate) fn run(place: &Place, words: &[&str]) -> Result<ExitCode> {
    let options = parse(words)?;
    bench::build(place, &options.profile)?;
    let folder = place.scratch("bench-load");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder)?;
    println!("{}", bench::machine());
    unary(place, &folder, &options)?;
    events(place, &folder, &options)?;
    streams(place, &folder, &options)?;
    first_token(place, &folder, &options)?;
    gateways(place, &folder, &options)?;
    Ok(ExitCode::SUCCESS)
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options =
        Options { seconds: 5, pairs_seconds: 60, rounds: 3, streams: 10_000, profile: "release".to_owned() };
    let mut words = words.iter();
    while let Some(flag) = words.next() {
        let value = words.next().with_context(|| format!("{flag} needs a value"))?;
        let number = || value.parse::<u32>().with_context(|| format!("{flag} needs a number, and `{value}` is none"));
        match *flag {
            "--seconds" => options.seconds = number()?,
            "--pairs-seconds" => options.pairs_seconds = number()?,
            "--rounds" => options.rounds = number()? as usize,
            "--streams" => options.streams = number()?,
            "--profile" => options.profile = (*value).to_owned(),
            other => bail!("`bench load` has no option {other}"),
        }
    }
    ensure!((1..=60).contains(&options.seconds), "--seconds must be between 1 and 60");
    ensure!((10..=600).contains(&options.pairs_seconds), "--pairs-seconds must be between 10 and 600");
    ensure!((1..=20).contains(&options.rounds), "--rounds must be between 1 and 20");
    ensure!((100..=30_000).contains(&options.streams), "--streams must be between 100 and 30000");
    Ok(options)
}

// ---- Parts ------------------------------------------------------------------------------------------------------------------

/// Requests per second of the client's processor time, beside wrk.
fn unary(place: &Place, folder: &Path, options: &Options) -> Result<()> {
    println!("\n==> whole answers, {CONNECTIONS} connections, flat out");
    let port = free_port()?;
    let _mock = parties::start_provider(place, &options.profile, folder, port, "0ms")?;
    let script = folder.join("post.lua");
    let body = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"What does a request cost?"}}]}}"#);
    fs::write(
        &script,
        format!(
            "wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n\
         wrk.headers['Authorization'] = 'Bearer {CREDENTIAL}'\n"
        ),
    )?;
    let seconds = format!("{}s", options.seconds);
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        if let Some(wrk) = on_path("wrk") {
            let mut command = Command::new(wrk);
            command.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}"), "-s"]).arg(&script);
            command.arg(format!("http://127.0.0.1:{port}/v1/chat/completions"));
            let (cost, said) = measured(folder, command)?;
            ensure!(!said.contains("Non-2xx"), "wrk met refusals:\n{said}");
            let count = said.split(" requests in ").next().and_then(|text| text.split_whitespace().next_back());
            let count: f64 = count.and_then(|text| text.parse().ok()).context("wrk says how many requests it made")?;
            theirs.push(count / cost.cpu_s);
        }
        let mut command = tester(place, options, port);
        command.args(["--connections", &CONNECTIONS.to_string(), "--duration", &seconds]);
        let (cost, said) = measured(folder, command)?;
        ours.push(number(&said, "\"requests\":")? / cost.cpu_s);
    }
    let ours = median(ours.into_iter());
    println!("igris-load run: {ours:.0} requests per second of its processor time");
    if theirs.is_empty() {
        println!("wrk: skipped: it is not installed (Debian package wrk)");
    } else {
        let theirs = median(theirs.into_iter());
        println!("wrk:            {theirs:.0}; igris-load does {:.2} of that", ours / theirs);
    }
    Ok(())
}

/// Events per second of the client's processor time.
fn events(place: &Place, folder: &Path, options: &Options) -> Result<()> {
    println!("\n==> streams of 400 tokens, 16 connections, flat out");
    let port = free_port()?;
    let _mock = parties::start_provider(place, &options.profile, folder, port, "0ms")?;
    let mut command = tester(place, options, port);
    command.args([
        "--stream",
        "--tokens",
        "400",
        "--connections",
        "16",
        "--duration",
        &format!("{}s", options.seconds),
    ]);
    let (cost, said) = measured(folder, command)?;
    let events = number(&said, "\"events\":")?;
    println!("{:.0} events per second of its processor time ({events:.0} events)", events / cost.cpu_s);
    Ok(())
}

/// Memory of one waiting stream.
fn streams(place: &Place, folder: &Path, options: &Options) -> Result<()> {
    println!("\n==> {} streams at once, an event each second", options.streams);
    let port = free_port()?;
    let _mock = parties::start_mock(place, &options.profile, folder, &Upstream::plain(port), &["--event-gap", "1s"])?;
    let mut resident = Vec::new();
    for count in [100, options.streams] {
        let mut command = tester(place, options, port);
        let count = count.to_string();
        // With a second between events they all wait at the same time.
        command.args(["--stream", "--prompt-bytes", "64", "--tokens", "20", "--timeout", "120s"]);
        command.args(["--connections", &count, "--requests", &count]);
        let (cost, said) = measured(folder, command)?;
        ensure!(number(&said, "\"ok\":")? as u64 == count.parse::<u64>()?, "not every stream came through");
        resident.push(cost.resident_kib);
    }
    let each = (resident[1] - resident[0]) * 1024.0 / f64::from(options.streams - 100);
    println!("{:.1} MiB resident at its highest, {each:.0} bytes a stream beside 100 of them", resident[1] / 1024.0);
    Ok(())
}

/// The time to the first token beside that of another client.
fn first_token(place: &Place, folder: &Path, options: &Options) -> Result<()> {
    println!("\n==> 300 streams one after the other, a provider that takes 20 ms");
    let port = free_port()?;
    let _mock = parties::start_provider(place, &options.profile, folder, port, "20ms")?;
    let mut command = tester(place, options, port);
    command.args(["--stream", "--tokens", "4", "--connections", "1", "--requests", "300"]);
    let ours = p50_p99(&measured(folder, command)?.1)?;
    let mut command = Command::new("python3");
    command.arg(place.root.join("loadtest/tests/independent/sse_client.py"));
    command.args([&port.to_string(), "300", MODEL, CREDENTIAL]);
    let theirs = p50_p99(&measured(folder, command)?.1)?;
    println!(
        "TTFT p50 and p99: igris-load {:.0} and {:.0} us, Python's http.client {:.0} and {:.0} us",
        ours.0, ours.1, theirs.0, theirs.1
    );
    Ok(())
}

/// What nginx and igris add, in one run, with the picture of the README.
fn gateways(place: &Place, folder: &Path, options: &Options) -> Result<()> {
    println!("\n==> what gateways add: pairs of requests, one direct and one through each");
    let port = free_port()?;
    let proxies = {
        let (kinds, upstream) = ([Kind::Nginx, Kind::IoUring, Kind::Epoll], Upstream::plain(port));
        parties::start_proxies(place, &options.profile, folder, &upstream, (&kinds, false))?
    };
    let picture = folder.join("overhead.png");
    let mut command = Command::new(place.built(&options.profile, "igris-load"));
    command.args(["overhead", "--mock", &format!("127.0.0.1:{port}"), "--model", MODEL, "--key", CREDENTIAL]);
    command.args(["--rate", "100", "--duration", &format!("{}s", options.pairs_seconds)]);
    for proxy in &proxies {
        let name = proxy.name.replace(' ', "-");
        command.args(["--through", &format!("{name}=http://127.0.0.1:{}/v1", proxy.port)]);
        if proxy.key == ACCESS_KEY {
            command.args(["--key", &format!("{name}={ACCESS_KEY}")]);
        }
    }
    command.arg("--png").arg(&picture);
    let ran = process::run(&mut parties::pinned(command, Side::Load), ROUND_LIMIT)?;
    ensure!(ran.ok, "the pairs were not measured");
    println!("picture: {}", picture.display());
    Ok(())
}

// ---- Measuring --------------------------------------------------------------------------------------------------------------

/// `igris-load run` against the provider itself, its report on standard output.
fn tester(place: &Place, options: &Options, port: u16) -> Command {
    let mut command = Command::new(place.built(&options.profile, "igris-load"));
    command.args(["run", "--url", &format!("http://127.0.0.1:{port}/v1"), "--model", MODEL, "--key", CREDENTIAL]);
    command.args(["--json", "-"]);
    command
}

/// Runs a client to its end on the client's processor: what it cost, and what it said.
fn measured(folder: &Path, command: Command) -> Result<(Cost, String)> {
    let output = folder.join("said");
    let mut wrapped = Command::new("python3");
    wrapped.arg("-c").arg(WRAPPER).arg(&output).arg(command.get_program()).args(command.get_args());
    let ran = process::ask(&mut parties::pinned_at(wrapped, "1"))?;
    let said = fs::read_to_string(&output).unwrap_or_default();
    let cost = cost_of(&ran.output).with_context(|| format!("the client failed: {}\n{said}", ran.output))?;
    Ok((cost, said))
}

/// The wrapper's line; nothing where the client failed.
fn cost_of(line: &str) -> Option<Cost> {
    let mut words = line.split_whitespace().map(|word| word.parse::<f64>().ok());
    let [user, system, resident, code] = [words.next()??, words.next()??, words.next()??, words.next()??];
    (code == 0.0).then_some(Cost { cpu_s: (user + system).max(1e-9), resident_kib: resident })
}

fn p50_p99(said: &str) -> Result<(f64, f64)> {
    let times = said.get(said.find("\"ttft\":").context("the client says its times")?..).unwrap_or_default();
    Ok((number(times, "\"p50\":")?, number(times, "\"p99\":")?))
}

/// The number behind the first such name.
fn number(text: &str, name: &str) -> Result<f64> {
    let found = text.find(name).and_then(|at| text.get(at + name.len()..)).map(str::trim_start);
    let rest = found.with_context(|| format!("the report has no {name}"))?;
    let end = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).unwrap_or(rest.len());
    rest[..end].parse().with_context(|| format!("{name} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_cost_is_read() {
        assert_eq!(cost_of("1.5 0.5 2048 0\n"), Some(Cost { cpu_s: 2.0, resident_kib: 2048.0 }));
        assert_eq!(cost_of("1.5 0.5 2048 1"), None, "it failed");
        assert_eq!(cost_of("Traceback"), None);
    }

    #[test]
    fn times_are_found() {
        let said = r#"{"requests": 3, "ttft": {"count": 3, "p50": 20123.5, "p99": 20400}}"#;
        assert_eq!(p50_p99(said).expect("there are"), (20123.5, 20400.0));
        assert!(number(said, "\"events\":").is_err());
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = parse(&["--seconds", "2", "--profile", "fast"]).expect("good ones");
        assert_eq!((options.seconds, options.profile.as_str()), (2, "fast"));
        for words in [&["--seconds"][..], &["--seconds", "0"], &["--streams", "many"], &["--speed", "1"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
