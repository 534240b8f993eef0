//! Stopping: what is in flight finishes, nothing new begins, the second word cuts, and a kill is a supported way to stop (rules S1, S5).

mod support;

use igris_load::Simulator;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{Gateway, SOON, bare, chat, chat_of, post, stream_of, wait_until};

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

#[test]
fn a_stream_in_flight_finishes_and_nothing_new_begins() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let mut idle = gateway.client();
    assert_eq!(idle.ask(&bare("GET", "/v1/health/ready", "")).status, 200);
    let mut streaming = gateway.client();
    streaming.send(&post(&stream_of("long", r#","user":"sim:tokens=40;gap=40ms""#)));
    let mut waiting = gateway.client();
    waiting.send(&post(&chat_of("gpt-4o", "slow", r#","user":"sim:latency=1s""#)));
    assert!(simulator.truth().wait_arrived(2, SOON));
    gateway.signal("TERM");
    wait_until(Duration::from_secs(1), "new connections are refused", || {
        TcpStream::connect(gateway.address()).is_err()
    });
    assert!(!gateway.is_ready());
    assert!(idle.closes_within(Duration::from_secs(1)), "an idle connection is closed");
    let answer = waiting.answer();
    assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.text());
    let stream = streaming.stream();
    assert!(stream.answer.whole, "{}", stream.answer.text());
    assert_eq!(stream.events.last().expect("events").bytes, b"data: [DONE]\n\n");
    assert_eq!(stream.events.iter().filter(|event| event.bytes.starts_with(b"data: {")).count(), 42);
    let status = gateway.wait(SOON).expect("it ends when the last exchange has ended");
    assert_eq!(status.code(), Some(0), "{}", gateway.stderr());
}

#[test]
fn an_answer_during_the_drain_says_that_it_is_the_last() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(&post(&chat_of("gpt-4o", "slow", r#","user":"sim:latency=600ms""#)));
    assert!(simulator.truth().wait_arrived(1, SOON));
    gateway.signal("TERM");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("connection"), Some("close"), "rule S1");
    assert!(client.closes_within(SOON));
}

#[test]
fn an_idle_gateway_stops_at_once() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let _idle: Vec<_> = (0..8).map(|_| gateway.client()).collect();
    let began = Instant::now();
    gateway.signal("TERM");
    let status = gateway.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", gateway.stderr());
    println!("an idle gateway stopped after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn an_interrupt_stops_it_as_well() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    gateway.signal("INT");
    let status = gateway.wait(SOON).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", gateway.stderr());
}

#[test]
fn the_second_word_cuts_what_is_left() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    client.send(&post(&stream_of("endless", r#","user":"sim:tokens=4000;gap=30ms""#)));
    client.read_bytes(1_500);
    gateway.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    gateway.signal("TERM");
    let status = gateway.wait(SOON).expect("it ends");
    println!("the second word was obeyed after {:?}", began.elapsed());
    assert_eq!(status.code(), Some(0), "cut, but in order: {}", gateway.stderr());
    assert!(began.elapsed() < Duration::from_secs(4));
    let mut rest = Vec::new();
    while !client.closes_within(Duration::from_millis(50)) {
        rest.extend(client.read_bytes(1));
    }
    let text = String::from_utf8_lossy(&rest);
    assert!(!text.contains("[DONE]") && !text.ends_with("0\r\n\r\n"), "a cut stream does not look complete: {text}");
    assert!(simulator.truth().wait_settled(SOON), "the provider was told");
}

#[test]
fn the_drain_has_an_end() {
    let simulator = simulator();
    let mut gateway = Gateway::builder().provider("openai", &simulator).server("drain_timeout = \"500ms\"").start();
    let mut client = gateway.client();
    client.send(&post(&chat_of("gpt-4o", "slow", r#","user":"sim:latency=60s""#)));
    assert!(simulator.truth().wait_arrived(1, SOON));
    let began = Instant::now();
    gateway.signal("TERM");
    let status = gateway.wait(SOON).expect("it ends although an exchange does not");
    assert_eq!(status.code(), Some(0), "{}", gateway.stderr());
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
}

#[test]
fn a_kill_leaves_a_state_that_starts_again() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    for round in 0..3 {
        let mut client = gateway.client();
        client.send(&post(&stream_of("cut by a kill", r#","user":"sim:tokens=4000;gap=5ms""#)));
        client.read_bytes(1_000);
        assert_eq!(gateway.chat(&chat("x")).status, 200, "round {round}");
        let began = Instant::now();
        gateway.restart();
        println!("ready again after {:?}", began.elapsed());
        assert_eq!(gateway.chat(&chat("x")).status, 200, "round {round}");
        assert_eq!(gateway.admin("/status").status, 200, "the stale admin socket was replaced");
    }
}

#[test]
fn what_was_used_adds_up_also_after_an_orderly_stop() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let usage = |gateway: &Gateway| {
        let answer = gateway.page("/v1/tenants/default/usage?period=day");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let usage = answer.json();
        let number = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("no {name} in {usage}"));
        (number("requests"), number("attempts"), number("input_tokens"), number("output_tokens"))
    };
    for number in 0..20 {
        let body = if number % 3 == 0 { stream_of("counted", "") } else { chat("counted") };
        assert_eq!(gateway.chat(&body).status, 200);
    }
    assert!(simulator.truth().wait_settled(SOON));
    let counts = simulator.truth().counts();
    let seen = (20, counts.requests, counts.prompt_tokens, counts.completion_tokens);
    wait_until(SOON, "the books show what the provider saw", || usage(&gateway) == seen);
    assert_eq!(gateway.chat(&chat("the last one")).status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(SOON).and_then(|status| status.code()), Some(0));
    gateway.restart();
    let (requests, attempts, ..) = usage(&gateway);
    assert_eq!((requests, attempts), (21, 21), "the last one was stored on the way down");
}

#[test]
fn a_second_gateway_on_the_same_state_is_refused() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_igris"))
        .arg("serve")
        .args(["--listen", "127.0.0.1:0", "--workers", "1", "--data-dir"])
        .arg(gateway.home().join("data"))
        .env("OPENAI_API_KEY", support::provider_key("openai"))
        .stdin(std::process::Stdio::null())
        .output();
    // One writer at a time (rule S3); it ends by itself, so that waiting for its output comes to an end.
    let second = second.expect("the binary starts");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!said.contains("panicked") && said.trim().len() > 20, "{said}");
    assert_eq!(gateway.chat(&chat("x")).status, 200, "the first one goes on");
}
