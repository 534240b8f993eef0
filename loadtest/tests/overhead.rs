//! What a gateway adds is found with its size, told apart by way and back; and nothing is found where there is nothing.

use igris_load::Simulator;
use igris_load::dialect::Dialect;
use igris_load::engine::Stop;
use igris_load::overhead::{Overhead, Pace, Place, Provider, Question, Schedule, Target, measure};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// These tests time things: one at a time, lest they measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the slow relay holds a request back for: far more than a machine under load adds by itself.
const DELAY: Duration = Duration::from_millis(25);
/// The least that must be found of it, microseconds.
const FOUND_US: f64 = 20_000.0;

/// A relay that holds every piece of a request back for a while, and passes answers on at once. It ends with the test's process.
fn slow_relay(provider: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let addr = listener.local_addr().expect("a bound socket");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(provider).expect("the provider listens");
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("a TCP socket");
            }
            let (back, forth) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
            std::thread::spawn(move || pump(client, server, delay));
            std::thread::spawn(move || pump(back, forth, Duration::ZERO));
        }
    });
    addr
}

fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut room = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut room) {
        std::thread::sleep(delay);
        if to.write_all(&room[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

fn target(name: &str, addr: SocketAddr) -> Target {
    let url = format!("http://{addr}");
    Target { name: name.into(), place: Place::parse(&url, None).expect("a URL"), url, key: "sk-test-0001".into() }
}

fn question(stream: bool) -> Question {
    let dialect = Dialect::OpenAi;
    Question { dialect, model: "gpt-4o".into(), stream, tokens: Some(8), prompt_bytes: 200 }
}

fn pace(pairs: u64, targets: usize) -> Pace {
    let schedule = Schedule { pairs, targets, rate: 40.0, seed: 3 };
    Pace { schedule, lanes: Some(16), warm_up: 3, timeout: Duration::from_secs(20) }
}

fn run(simulator: &Simulator, targets: &[Target], stream: bool, pairs: u64) -> Overhead {
    let provider = Provider::Here(simulator);
    let pace = pace(pairs, targets.len());
    measure(targets, &question(stream), &pace, Some(&provider), &Stop::default()).expect("all listen")
}

#[test]
fn the_provider_against_itself_adds_nothing() {
    let _turn = alone();
    let simulator = Simulator::builder().latency(Duration::from_millis(1)).start().expect("a loopback port");
    let addr = simulator.addr();
    let found = run(&simulator, &[target("direct", addr), target("null", addr)], false, 150);
    assert_eq!((found.failed(), found.targets[1].ok), (0, 150));
    for name in ["net", "e2e", "request_path", "provider", "answer_path"] {
        let added = &found.measure(name).expect(name).added[0];
        let typical = added.typical.expect("enough pairs");
        // Three half-widths are six standard errors: an interval of 95 % alone would fail one test in twenty.
        assert!(typical.value.abs() <= 3.0 * typical.half_width() + 30.0, "{name}: {typical:?}");
        assert_eq!(added.pairs, 150);
    }
    assert!(found.headline().is_some_and(|measure| measure.name == "net"), "the provider's own time is taken out");
    assert!(found.untold.iter().any(|line| line.starts_with("p99 ")), "150 pairs know no p99: {:?}", found.untold);
    let provider = &found.measure("provider").expect("there are stamps").at[0];
    assert!(provider.min >= 1000.0, "the provider waits a millisecond: {provider:?}");
}

#[test]
fn an_injected_delay_is_found_on_the_way_in() {
    let _turn = alone();
    let simulator = Simulator::builder().start().expect("a loopback port");
    let addr = simulator.addr();
    let slow = slow_relay(addr, DELAY);
    let targets = [target("direct", addr), target("null", addr), target("slow", slow)];
    let found = run(&simulator, &targets, false, 80);
    let typical = |name: &str| found.measure(name).expect(name).added[1].typical.expect("enough pairs").value;
    for name in ["net", "e2e", "request_path"] {
        assert!(typical(name) > FOUND_US, "{name}: {}", typical(name));
    }
    assert!(typical("answer_path") < typical("request_path") / 2.0, "{}", typical("answer_path"));
    let median = found.measure("net").expect("stamps").added[1].shift(0.5).expect("enough pairs");
    assert!(median.value > FOUND_US && median.low > 0.0, "{median:?}");
    let between = &found.between[0];
    assert_eq!((between.from.as_str(), between.to.as_str()), ("null", "slow"));
    assert!(between.typical.is_some_and(|shift| shift.value > FOUND_US), "{between:?}");
    let page = igris_load::report::html::page(&igris_load::overhead::document(&found));
    assert!(page.contains("slow adds at p50") && page.contains("Added latency: null and slow"), "{page:.2000}");
    let text = found.to_string();
    assert!(text.contains("slow less null: typical"), "{text}");
}

#[test]
fn streams_show_first_tokens_and_gaps() {
    let _turn = alone();
    let gap = Duration::from_millis(3);
    let simulator = Simulator::builder().event_gap(gap).start().expect("a loopback port");
    let slow = slow_relay(simulator.addr(), DELAY);
    let found = run(&simulator, &[target("direct", simulator.addr()), target("slow", slow)], true, 60);
    assert_eq!(found.failed(), 0);
    let ttft = found.measure("ttft").expect("streams").added[0].typical.expect("enough pairs");
    assert!(ttft.value > FOUND_US, "{ttft:?}");
    let gaps = found.measure("gap").expect("streams");
    assert!(gaps.at[0].count >= 60 * 6, "{:?}", gaps.at[0].count);
    assert!(gaps.at[0].mean > 2000.0, "{:?}", gaps.at[0].mean);
    let typical = gaps.added[0].typical.expect("enough pairs");
    assert!(typical.value.abs() < 5000.0, "requests are held back, events are not: {typical:?}");
    assert!(found.measure("answer_end").is_some());
}

#[test]
fn stamps_come_over_loopback_too_and_are_missed_with_words() {
    let _turn = alone();
    let simulator = Simulator::builder().control(true).start().expect("a loopback port");
    let targets = [target("direct", simulator.addr()), target("null", simulator.addr())];
    let there = Provider::There(targets[0].place.clone());
    let stop = Stop::default();
    let found = measure(&targets, &question(false), &pace(40, 2), Some(&there), &stop).expect("all listen");
    assert_eq!(found.measure("provider").map(|measure| measure.added[0].pairs), Some(40));
    let silent = Simulator::builder().start().expect("a loopback port");
    let there = Provider::There(target("silent", silent.addr()).place);
    let found = measure(&targets, &question(false), &pace(40, 2), Some(&there), &stop).expect("all listen");
    assert!(found.measure("provider").is_none() && found.measure("e2e").is_some());
    assert!(found.untold.iter().any(|line| line.contains("igris-load mock")), "{:?}", found.untold);
    // Stamps of another provider than the one that was asked do not fit.
    let found = measure(&targets, &question(false), &pace(40, 2), Some(&Provider::Here(&silent)), &stop);
    let found = found.expect("all listen");
    assert!(found.measure("provider").is_none());
    assert!(found.untold.iter().any(|line| line.contains("did not reach the provider")), "{:?}", found.untold);
}

#[test]
fn a_target_that_does_not_answer_is_named() {
    let _turn = alone();
    let simulator = Simulator::builder().keys(["sk-other-0001"]).start().expect("a loopback port");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a loopback port");
    let stop = Stop::default();
    let refused = measure(
        &[target("direct", simulator.addr()), target("gate", closed)],
        &question(false),
        &pace(9, 2),
        None,
        &stop,
    );
    let said = refused.expect_err("the key is wrong").to_string();
    assert!(said.contains("direct at http") && said.contains("401"), "{said}");
    simulator.set_keys(["sk-test-0001"]);
    let absent = measure(
        &[target("direct", simulator.addr()), target("gate", closed)],
        &question(false),
        &pace(9, 2),
        None,
        &stop,
    );
    let said = absent.expect_err("nobody listens").to_string();
    assert!(said.contains("gate at http") && said.contains("start it first"), "{said}");
}

fn igris_load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_igris-load")).arg("overhead").args(arguments).output().expect("it was built")
}

/// Whether a command ended as it should, or found the machine so busy that it would not judge.
fn fits(done: &Output, code: i32) -> bool {
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let unfit = done.status.code() == Some(4) && (text.contains("INVALID") || text.contains(r#""verdict": "invalid""#));
    done.status.code() == Some(code) || unfit
}

#[test]
fn the_command_measures_and_judges() {
    let _turn = alone();
    let place = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a loopback port");
    let (listen, through) = (place.to_string(), format!("null=http://{place}"));
    let common =
        ["--mock", &listen, "--through", &through, "--pairs", "40", "--rate", "20", "--lanes", "16", "--json", "-"];
    let done = igris_load(&[&common[..], &["--max-p50", "1s"]].concat());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(fits(&done, 0), "{said}");
    let result: Value = serde_json::from_slice(&done.stdout).expect("JSON on standard output");
    assert_eq!((&result["targets"][1]["name"], &result["limits"][0]["holds"]), (&"null".into(), &true.into()));
    assert_eq!(result["measures"][0]["name"], "net");
    assert!(result["rerun"].as_str().is_some_and(|line| line.contains("--pairs 40") && !line.contains("sk-load")));

    let provider = Simulator::builder().control(true).start().expect("a loopback port");
    let slow = format!("slow=http://{}", slow_relay(provider.addr(), DELAY));
    let direct = provider.origin();
    let slow = ["--direct", &direct, "--through", &slow, "--pairs", "40", "--rate", "20", "--lanes", "16"];
    let done = igris_load(&[&slow[..], &["--max-p50", "100us"]].concat());
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(fits(&done, 3), "{text}");
    assert!(text.contains("slow adds at most 100 us at p50: BROKEN"), "{text}");
    let done = igris_load(&[&slow[..], &["--max-p99", "1s"]].concat());
    assert!(fits(&done, 6), "40 pairs know no p99");
}

#[test]
fn wrong_use_names_the_fix() {
    let wrong: [(&[&str], &str); 5] = [
        (&["--through", "http://127.0.0.1:1"], "--direct"),
        (&["--direct", "http://127.0.0.1:1"], "--through"),
        (&["--direct", "127.0.0.1:1", "--through", "http://127.0.0.1:1"], "http://"),
        (
            &[
                "--direct",
                "http://127.0.0.1:1",
                "--through",
                "a=http://127.0.0.1:1",
                "--through",
                "a=http://127.0.0.1:2",
            ],
            "NAME=URL",
        ),
        (&["--direct", "http://127.0.0.1:1", "--through", "http://127.0.0.1:2", "--rate", "0"], "--rate"),
    ];
    for (arguments, remedy) in wrong {
        let done = igris_load(arguments);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(remedy), "{arguments:?}: {said}");
    }
}
