//! A new binary takes over under load: no connection is refused, no request is cut, no token is lost or counted twice, and a new one that
//! is no good changes nothing (rules S2, S3, S5).

#[path = "upgrade/load.rs"]
mod load;
#[path = "upgrade/service.rs"]
mod service;
#[path = "upgrade/successor.rs"]
mod successor;
mod support;

use igris_load::Simulator;
use load::Load;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Gateway, SOON, bare, chat, chat_of, post, stream_of, wait_until};

/// How long an old process may take to end when it has nothing left: idle connections are kept for ten seconds.
const ENDS: Duration = Duration::from_secs(30);

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

/// Drivers that work here.
fn drivers() -> Vec<&'static str> {
    let ring = igris::rt::resolve(igris::rt::DriverChoice::IoUring);
    if let Err(why) = &ring {
        println!("without io_uring: {why}");
    }
    ["epoll", "io_uring"].into_iter().filter(|driver| *driver == "epoll" || ring.is_ok()).collect()
}

fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Requests, attempts and tokens of the books.
fn books(gateway: &Gateway) -> (u64, u64, u64, u64) {
    let answer = gateway.page("/v1/tenants/default/usage?period=day");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let usage = answer.json();
    let number = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("no {name} in {usage}"));
    (number("requests"), number("attempts"), number("input_tokens"), number("output_tokens"))
}

fn balance(gateway: &Gateway, simulator: &Simulator) {
    assert!(simulator.truth().wait_settled(SOON));
    let counts = simulator.truth().counts();
    let seen = (counts.requests, counts.requests, counts.prompt_tokens, counts.completion_tokens);
    let end = Instant::now() + SOON;
    while books(gateway) != seen {
        assert!(Instant::now() < end, "the books say {:?}, the provider saw {seen:?}", books(gateway));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A program in the gateway's folder.
fn script(gateway: &Gateway, name: &str, text: &str) -> PathBuf {
    let path = gateway.home().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the home folder can be written to");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the mode can be set");
    path
}

fn with_binary(path: &Path) -> String {
    format!(r#"{{"binary":{:?},"timeout_ms":1500}}"#, path.to_str().expect("text"))
}

/// What a gateway must still be able to do: serve, write its store, answer its operator.
fn goes_on(gateway: &Gateway, pid: u32, tenant: &str) {
    assert_eq!(gateway.pid(), pid);
    assert_eq!(gateway.chat(&chat("still there")).status, 200);
    let made = gateway.admin_ask("POST", "/tenants", &format!(r#"{{"id":"{tenant}"}}"#));
    assert_eq!(made.status, 201, "the store takes changes: {}", made.text());
    assert_eq!(gateway.admin("/status").json()["pid"].as_u64(), Some(u64::from(pid)));
}

#[test]
fn three_upgrades_under_load_lose_nothing_on_either_driver() {
    for driver in drivers() {
        let simulator = simulator();
        let mut gateway = Gateway::builder().provider("openai", &simulator).workers(2).io(driver).start();
        let first = gateway.pid();
        assert_eq!(gateway.chat(&chat("x")).status, 200);
        let load = Load::on(gateway.address());
        let mut pids = vec![first];
        for round in 0..3 {
            load.let_flow(Duration::from_millis(700));
            let began = Instant::now();
            let answer = gateway.upgrade("{}");
            assert_eq!(answer.status, 200, "{driver}, round {round}: {}\n{}", answer.text(), gateway.stderr());
            println!("{driver}: upgrade {round} took {:?}", began.elapsed());
            pids.push(gateway.pid());
            assert_eq!(gateway.admin("/status").json()["pid"].as_u64(), Some(u64::from(gateway.pid())));
        }
        load.let_flow(Duration::from_millis(700));
        let served = load.end();
        println!("{driver}: {served:?}");
        assert!(served.kept_alive > 20 && served.anew > 20 && served.streams > 2, "{served:?}");
        assert_eq!(served.failures, Vec::<String>::new(), "{driver}: {served:?}");
        let status = gateway.wait(ENDS).expect("the first process ends");
        assert_eq!(status.code(), Some(0), "{}", gateway.stderr());
        for pid in &pids[..3] {
            wait_until(ENDS, "an old process ends", || !is_running(*pid));
        }
        balance(&gateway, &simulator);
        pids.dedup();
        assert_eq!(pids.len(), 4);
    }
}

#[test]
fn a_stream_ends_on_the_process_that_began_it_and_is_booked_by_the_next() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let mut streaming = gateway.client();
    streaming.send(&post(&stream_of("long", r#","user":"sim:tokens=60;gap=50ms""#)));
    let mut waiting = gateway.client();
    waiting.send(&post(&chat_of("gpt-4o", "slow", r#","user":"sim:latency=2s""#)));
    let mut idle = gateway.client();
    assert_eq!(idle.ask(&bare("GET", "/v1/health/ready", "")).status, 200);
    assert!(simulator.truth().wait_arrived(2, SOON));
    assert_eq!(gateway.upgrade("{}").status, 200, "{}", gateway.stderr());
    assert!(gateway.is_ready(), "the gateway never says that it is not ready");
    let last = idle.ask(&bare("GET", "/v1/health/ready", ""));
    assert_eq!((last.status, last.header("connection")), (200, Some("close")), "one more request on the old process");
    assert!(idle.closes_within(SOON));
    assert!(gateway.wait(Duration::from_millis(100)).is_none(), "the old process has a stream to finish");
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.whole, answer.header("connection")), (200, true, Some("close")));
    let stream = streaming.stream();
    assert!(stream.answer.whole, "{}", stream.answer.text());
    assert_eq!(stream.events.last().expect("events").bytes, b"data: [DONE]\n\n");
    let status = gateway.wait(ENDS).expect("it ends with its last exchange");
    assert_eq!(status.code(), Some(0), "{}", gateway.stderr());
    balance(&gateway, &simulator);
    gateway.signal("TERM");
    let pid = gateway.pid();
    wait_until(SOON, "SIGTERM is for the process that serves", || !is_running(pid));
}

#[test]
fn a_new_binary_that_is_no_good_changes_nothing() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let pid = gateway.pid();
    let hangs = script(&gateway, "hangs", "exec sleep 1000");
    let babbles = script(&gateway, "babbles", "echo 'not an igris' >&0\nexec sleep 1000");
    let missing = gateway.home().join("missing");
    let bad = [Path::new("/bin/false"), Path::new("/bin/cat"), &hangs, &babbles, &missing];
    for (number, path) in bad.into_iter().enumerate() {
        let mut streaming = gateway.client();
        streaming.send(&post(&stream_of("meanwhile", r#","user":"sim:tokens=20;gap=20ms""#)));
        let answer = gateway.upgrade(&with_binary(path));
        assert_eq!(answer.status, 409, "{}: {}", path.display(), answer.text());
        assert_eq!(answer.code(), "upgrade_refused");
        println!("{}: {}", path.display(), answer.message());
        assert!(streaming.stream().answer.whole);
        goes_on(&gateway, pid, &format!("after-{number}"));
        let said = || gateway.stderr().matches("the upgrade failed and this process goes on").count();
        wait_until(SOON, "an event says so", || said() > number);
    }
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    assert_eq!(children, "", "nothing is left of them");
    balance(&gateway, &simulator);
}

#[test]
fn a_configuration_that_got_bad_changes_nothing_until_it_is_repaired() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let (pid, good) = (gateway.pid(), gateway.config().to_owned());
    for (number, bad) in ["version = 1\nno toml", "version = 1\n[server]\nlisten = \"nowhere\"\n"].iter().enumerate() {
        gateway.write_config(bad);
        let answer = gateway.upgrade("{}");
        assert_eq!((answer.status, answer.code().as_str()), (409, "upgrade_refused"), "{}", answer.text());
        assert!(answer.message().contains("igris.toml"), "it says what is wrong: {}", answer.message());
        goes_on(&gateway, pid, &format!("bad-{number}"));
    }
    gateway.write_config(&good);
    let answer = gateway.upgrade("{}");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let new = gateway.pid();
    goes_on(&gateway, new, "repaired");
}

#[test]
fn a_successor_that_is_killed_at_any_step_changes_nothing() {
    let simulator = simulator();
    let mut gateway = Gateway::builder().provider("openai", &simulator).workers(2).start();
    let pid = gateway.pid();
    // Connections to the provider are kept, so the first load decides how many there are.
    let load = Load::on(gateway.address());
    load.let_flow(Duration::from_millis(500));
    assert_eq!(load.end().failures, Vec::<String>::new());
    let before = gateway.descriptors();
    for step in successor::STEPS {
        let load = Load::on(gateway.address());
        let program = script(&gateway, step, &successor::program(step));
        let answer = gateway.upgrade(&with_binary(&program));
        println!("killed at `{step}`: {}", answer.text());
        assert_eq!(answer.status, 409, "{step}");
        load.let_flow(Duration::from_millis(200));
        let served = load.end();
        assert_eq!(served.failures, Vec::<String>::new(), "{step}: {served:?}");
        goes_on(&gateway, pid, &format!("step-{step}"));
    }
    wait_until(SOON, "no descriptor is left behind", || gateway.descriptors() <= before + 8);
    balance(&gateway, &simulator);
    assert_eq!(gateway.upgrade("{}").status, 200, "and a good one is taken");
    let new = gateway.pid();
    goes_on(&gateway, new, "good");
}

#[test]
fn a_real_successor_that_is_killed_at_any_instant_leaves_one_gateway() {
    let simulator = simulator();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..6 {
        let mut gateway = Gateway::before(&simulator);
        let old = gateway.pid();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let after = Duration::from_micros(dice % 120_000);
        let killer = std::thread::spawn(move || {
            let children = format!("/proc/{old}/task/{old}/children");
            let end = Instant::now() + SOON;
            let child = loop {
                let found = fs::read_to_string(&children).unwrap_or_default();
                if let Ok(pid) = found.trim().parse::<u32>() {
                    break pid;
                }
                assert!(Instant::now() < end, "no child came");
                std::thread::yield_now();
            };
            std::thread::sleep(after);
            let _ = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {child}")]).output();
        });
        let answer = gateway.upgrade("{}");
        killer.join().expect("it kills");
        println!("round {round}: killed after {after:?}: {} {}", answer.status, answer.text());
        if answer.status == 200 {
            // It served already; what it died of is another matter, and the one before has left.
            continue;
        }
        goes_on(&gateway, old, "after");
    }
}

#[test]
fn an_old_process_that_is_killed_while_it_drains_takes_only_its_own_exchanges_along() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    for _ in 0..10 {
        assert_eq!(gateway.chat(&chat("counted")).status, 200);
    }
    let mut streaming = gateway.client();
    streaming.send(&post(&stream_of("long", r#","user":"sim:tokens=2000;gap=20ms""#)));
    streaming.read_bytes(400);
    let old = gateway.pid();
    assert_eq!(gateway.upgrade("{}").status, 200);
    let status = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {old}")]).status();
    assert!(status.expect("there is a shell").success());
    let _ = gateway.wait(SOON).expect("it is dead");
    let new = gateway.pid();
    goes_on(&gateway, new, "alone");
    // Ten before, one just now, and the cut stream: its run is replayed by the process that serves, which closes it as interrupted.
    wait_until(SOON, "the books have every attempt", || books(&gateway).1 == 12);
    let (requests, attempts, _, output) = books(&gateway);
    assert!((11..=12).contains(&requests) && attempts == 12, "{:?}", books(&gateway));
    let said = gateway.stderr();
    assert!(output > 0 && said.contains("closed as interrupted"), "an event says so: {said}");
    gateway.restart();
    assert_eq!(books(&gateway).1, 12, "once");
}

#[test]
fn without_a_journal_usage_is_still_handed_over() {
    let simulator = simulator();
    let mut gateway =
        Gateway::builder().provider("openai", &simulator).config_toml("[ledger]\ndurability = \"none\"\n").start();
    let mut streaming = gateway.client();
    streaming.send(&post(&stream_of("long", r#","user":"sim:tokens=40;gap=30ms""#)));
    assert!(streaming.is_readable(SOON));
    assert_eq!(gateway.upgrade("{}").status, 200, "{}", gateway.stderr());
    assert_eq!(gateway.chat(&chat("on the new one")).status, 200);
    assert!(streaming.stream().answer.whole);
    assert_eq!(gateway.wait(ENDS).and_then(|status| status.code()), Some(0), "{}", gateway.stderr());
    balance(&gateway, &simulator);
    assert!(!gateway.home().join("data/ledger").exists(), "none was asked for");
}

#[test]
fn a_successor_that_dies_during_the_drain_leaves_its_books_to_the_old_one() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let mut streaming = gateway.client();
    streaming.send(&post(&stream_of("long", r#","user":"sim:tokens=60;gap=50ms""#)));
    assert!(streaming.is_readable(SOON));
    assert_eq!(gateway.upgrade("{}").status, 200);
    assert_eq!(gateway.chat(&chat("on the new one")).status, 200);
    wait_until(SOON, "it is in the books", || books(&gateway).0 == 1);
    gateway.signal("KILL");
    assert!(streaming.stream().answer.whole, "the stream does not care");
    let status = gateway.wait(ENDS).expect("it ends");
    assert_eq!(status.code(), Some(0), "the store was free, and took the stream: {}", gateway.stderr());
    gateway.restart();
    balance(&gateway, &simulator);
}

#[test]
fn what_the_old_process_was_told_before_it_handed_over_is_known_to_the_next() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    assert_eq!(gateway.admin_ask("POST", "/tenants", r#"{"id":"kept"}"#).status, 201);
    gateway.signal("USR2");
    let old = gateway.pid();
    let served_by = |gateway: &Gateway| gateway.admin("/status").json()["pid"].as_u64().unwrap_or(0);
    wait_until(SOON, "SIGUSR2 hands over as well", || served_by(&gateway) != u64::from(old));
    let new = served_by(&gateway);
    assert_eq!(gateway.admin("/tenants/kept").status, 200);
    assert_eq!(gateway.wait(ENDS).and_then(|status| status.code()), Some(0), "{}", gateway.stderr());
    assert_eq!(gateway.chat(&chat("x")).status, 200);
    let _ = std::process::Command::new("sh").args(["-c", &format!("kill -TERM {new}")]).status();
}
