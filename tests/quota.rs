//! Rate limits are foreseen: traffic moves before the refusal, comes back with the reset, and a client hears the soonest way back at once.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Fault, When};
use std::thread;
use std::time::{Duration, Instant};
use support::{Answer, Gateway, SOON, chat_of};

fn healthy() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

fn with_quota(requests: u32, refill: Duration) -> Simulator {
    Simulator::builder().quota(requests, refill).start().expect("a loopback port")
}

fn limited(seconds: u64) -> Simulator {
    let fault = Fault::Status { code: 429, retry_after: Some(Duration::from_secs(seconds)), body: None };
    Simulator::builder().fault(fault, When::Always).start().expect("a loopback port")
}

/// The model `any` asks `p1`, then `p2`, on two cores.
fn before(simulators: &[&Simulator]) -> Gateway {
    start(simulators, 2)
}

/// The same on one core, which alone must know what it sends.
fn alone(simulators: &[&Simulator]) -> Gateway {
    start(simulators, 1)
}

fn start(simulators: &[&Simulator], cores: usize) -> Gateway {
    let mut builder = Gateway::builder().workers(cores);
    for (name, simulator) in ["p1", "p2"].iter().zip(simulators) {
        builder = builder.own_provider(name, &simulator.base_url(), "");
    }
    builder.ordered(&["p1", "p2"][..simulators.len()]).start()
}

/// Asks on a connection of its own, which any core may take.
fn ask(gateway: &Gateway) -> Answer {
    gateway.chat(&chat_of("any", "hello", ""))
}

fn requests(simulator: &Simulator) -> (u64, u64) {
    assert!(simulator.truth().wait_settled(SOON));
    let counts = simulator.truth().counts();
    (counts.requests, counts.by_status.get(&429).copied().unwrap_or(0))
}

#[test]
fn a_429_moves_traffic_of_every_core_before_the_second() {
    let (first, second) = (limited(60), healthy());
    let gateway = before(&[&first, &second]);
    for _ in 0..24 {
        let answer = ask(&gateway);
        assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some("p2")), "{}", answer.text());
    }
    assert_eq!(requests(&first), (1, 1));
}

#[test]
fn traffic_moves_before_the_quota_is_spent() {
    let (first, second) = (with_quota(6, Duration::from_secs(3_600)), healthy());
    let gateway = before(&[&first, &second]);
    for number in 1..=24 {
        let answer = ask(&gateway);
        let provider = if number <= 5 { "p1" } else { "p2" };
        assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some(provider)), "request {number}");
        assert_eq!(answer.header("x-igris-attempts"), Some("1"), "request {number}");
    }
    // Two cores leave the last request alone: neither can know whether the other sends it.
    assert_eq!(requests(&first), (5, 0));
}

#[test]
fn a_burst_does_not_overrun_what_the_last_answer_left() {
    let second = healthy();
    let first = Simulator::builder().quota(8, Duration::from_secs(3_600)).latency(Duration::from_millis(300));
    let first = first.start().expect("a loopback port");
    let gateway = alone(&[&first, &second]);
    assert_eq!(ask(&gateway).status, 200);
    let served = thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| ask(&gateway).status)).collect();
        asked.into_iter().map(|asked| asked.join().expect("an answer")).filter(|status| *status == 200).count()
    });
    assert_eq!((served, requests(&first), requests(&second)), (16, (8, 0), (9, 0)));
}

#[test]
fn the_reset_brings_traffic_back() {
    let (first, second) = (with_quota(2, Duration::from_secs(2)), healthy());
    let gateway = alone(&[&first, &second]);
    let began = Instant::now();
    let mut served = Vec::new();
    while began.elapsed() < SOON && served.iter().filter(|by| *by == "p1").count() < 4 {
        let answer = ask(&gateway);
        assert_eq!(answer.status, 200, "{}", answer.text());
        served.push(answer.header("x-igris-provider").unwrap_or_default().to_owned());
        thread::sleep(Duration::from_millis(20));
    }
    let (asked, refused) = requests(&first);
    assert_eq!((asked, refused), (4, 0), "{served:?}");
    assert!(served.iter().any(|by| by == "p2"), "traffic had moved before it came back: {served:?}");
}

#[test]
fn when_all_asked_to_wait_the_client_hears_the_soonest_at_once() {
    let (first, second) = (limited(40), limited(20));
    let gateway = before(&[&first, &second]);
    ask(&gateway).must_be_fault(429, "rate_limit_exceeded");
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        let began = Instant::now();
        let answer = ask(&gateway);
        longest = longest.max(began.elapsed());
        answer.must_be_fault(429, "rate_limit_exceeded");
        assert_eq!(answer.header("x-igris-provider"), None);
        let wait: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
        assert!((1..=20).contains(&wait), "{wait}");
    }
    println!("a foreseen refusal, connection included: {longest:?} at most");
    assert!(longest < Duration::from_secs(5), "nobody was waited for");
    assert_eq!((requests(&first), requests(&second)), ((1, 1), (1, 1)), "nobody was asked again");
}

#[test]
fn a_lone_provider_is_used_to_the_last_and_then_left_alone() {
    let only = with_quota(3, Duration::from_secs(300));
    let gateway = before(&[&only]);
    for number in 1..=3 {
        assert_eq!(ask(&gateway).status, 200, "request {number}");
    }
    for _ in 0..6 {
        let answer = ask(&gateway);
        answer.must_be_fault(429, "rate_limit_exceeded");
        let wait: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
        assert!((80..=100).contains(&wait), "a third of the refill: {wait}");
    }
    assert_eq!(requests(&only), (3, 0), "the refusal was foreseen");
}
