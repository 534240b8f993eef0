//! A second attempt when the first is in danger of being late: it cuts the slow tail, costs little, is bounded, and its loser is closed.
//!
//! Figures come from `cargo xtask bench hedging`; here only what must hold on any machine is asserted.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, When};
use std::time::{Duration, Instant};
use support::{Builder, Gateway, SOON, chat_of, wait_until};

/// The usual wait of a provider, and the rare one: far enough apart that a busy machine does not blur them.
const FAST: Duration = Duration::from_millis(40);
const SLOW: Duration = Duration::from_secs(3);
/// What no answer of the fast mode takes, a hedge included.
const LATE: Duration = Duration::from_millis(1_500);
/// Share of requests that get the rare wait.
const SLOW_SHARE: f64 = 0.03;
/// Answers by which the gateway gets to know both providers.
const WARM_UP: usize = 60;

fn steady() -> Simulator {
    Simulator::builder().latency(FAST).counters_only().start().expect("a loopback port")
}

/// From now on one in so many answers is slow.
fn two_modes(simulator: &Simulator, when: When) {
    let rare = Fault::SlowFirstByte { delay: SLOW };
    simulator.set_behaviour(Behaviour { latency: FAST.into(), ..Behaviour::default() }.with_fault(rare, when));
}

fn before(policy: &str, simulators: [&Simulator; 2]) -> Builder {
    let target = |name: &str| format!(r#"{{ provider = "{name}", model = "gpt-4o" }}"#);
    let model = |name: &str, policy: &str, targets: &str| {
        format!("[[models]]\nname = \"{name}\"\npolicy = \"{policy}\"\ntargets = [{targets}]\n")
    };
    let (p1, p2) = (target("p1"), target("p2"));
    Gateway::builder()
        .own_provider("p1", &simulators[0].base_url(), "")
        .own_provider("p2", &simulators[1].base_url(), "")
        .config_toml(&model("any", policy, &format!("{p1}, {p2}")))
        .config_toml(&model("one", "ordered", &p1))
        .config_toml(&model("other", "ordered", &p2))
}

/// Lets the gateway get to know both lanes.
fn warm_up(gateway: &Gateway) {
    let mut client = gateway.client();
    for _ in 0..WARM_UP {
        for model in ["one", "other"] {
            assert_eq!(client.ask(&support::post(&chat_of(model, "hello", ""))).status, 200);
        }
    }
    wait_until(SOON, "both lanes are known", || {
        let page = gateway.admin("/scores").json();
        let rows = page["data"].as_array().expect("a list");
        rows.iter().filter(|row| row["samples"].as_f64().is_some_and(|known| known > 30.0)).count() == 2
    });
}

/// Whole answers, one after another on a connection.
fn ask(gateway: &Gateway, model: &str, members: &str, count: usize) -> Vec<Duration> {
    ask_words(gateway, &chat_of(model, "hello", members), count)
}

fn ask_words(gateway: &Gateway, body: &str, count: usize) -> Vec<Duration> {
    let mut client = gateway.client();
    let body = support::post(body);
    let one = |_| {
        let began = Instant::now();
        let answer = client.ask(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        began.elapsed()
    };
    (0..count).map(one).collect()
}

fn late(waits: &[Duration]) -> usize {
    waits.iter().filter(|wait| **wait > LATE).count()
}

/// Attempts that lost, by the books.
fn superseded(gateway: &Gateway) -> u64 {
    let metrics = gateway.admin("/metrics").text();
    let lost = metrics.lines().filter(|line| line.contains(r#"outcome="superseded""#) && !line.starts_with('#'));
    lost.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[test]
fn a_hedge_cuts_the_slow_tail_within_its_share() {
    const REQUESTS: usize = 240;
    let simulators = [steady(), steady()];
    let gateway = before("hedged", [&simulators[0], &simulators[1]]).start();
    warm_up(&gateway);
    simulators.iter().for_each(|simulator| two_modes(simulator, When::Probability(SLOW_SHARE)));
    let asked = |simulators: &[Simulator; 2]| simulators.iter().map(|one| one.truth().counts().requests).sum::<u64>();
    let without = ask(&gateway, "one", "", REQUESTS);
    let before = asked(&simulators);
    let with = ask(&gateway, "any", "", REQUESTS);
    let extra = asked(&simulators) - before - REQUESTS as u64;
    println!("late: {} of {REQUESTS} without, {} with; {extra} second attempts", late(&without), late(&with));
    assert!(late(&without) >= 2, "the slow mode was never met");
    assert!(late(&with) * 2 <= late(&without), "{} against {}", late(&with), late(&without));
    assert!(extra as usize <= REQUESTS / 20, "{extra} second attempts are more than the share");
    wait_until(SOON, "every loser is in the books", || superseded(&gateway) == extra);
}

#[test]
fn a_deadline_in_danger_starts_a_second_attempt_and_closes_the_first() {
    let simulators = [steady(), steady()];
    let gateway = before("ordered", [&simulators[0], &simulators[1]]).start();
    warm_up(&gateway);
    // Twenty requests with a deadline earn one hedge.
    assert_eq!(late(&ask(&gateway, "any", r#","deadline_ms":1400"#, 25)), 0);
    let before = simulators[1].truth().counts().requests;
    two_modes(&simulators[0], When::Always);
    let waits = ask(&gateway, "any", r#","deadline_ms":1400"#, 1);
    assert_eq!(late(&waits), 0, "{waits:?}");
    assert_eq!(simulators[1].truth().counts().requests, before + 1);
    assert!(simulators[0].truth().wait_settled(SOON));
    assert_eq!(simulators[0].truth().counts().client_closed, 1, "the first was closed when the second had won");
    // Nothing is left to hedge with: the plain way waits.
    let waits = ask(&gateway, "any", r#","deadline_ms":1400"#, 1);
    assert_eq!((late(&waits), simulators[1].truth().counts().requests), (1, before + 1), "{waits:?}");
}

#[test]
fn what_is_not_known_is_not_hedged() {
    let simulators = [steady(), steady()];
    let gateway = before("hedged", [&simulators[0], &simulators[1]]).start();
    two_modes(&simulators[0], When::Always);
    let waits = ask(&gateway, "any", r#","deadline_ms":100"#, 1);
    assert_eq!((late(&waits), simulators[1].truth().counts().requests), (1, 0));
}

// ---- Figures ----------------------------------------------------------------------------------------------------------------

/// Requests of each round of the figures, and clients that share them.
const FIGURE_REQUESTS: usize = 2_000;
const FIGURE_CLIENTS: usize = 8;
/// Words of a prompt: with the simulator's 16 words of answer, most of a request's price is its prompt, which a loser may be billed for.
const FIGURE_WORDS: usize = 400;
/// What a provider charges for a generated token, in prompt tokens.
const OUTPUT_PRICE: u64 = 4;

/// Answers asked for by several clients at once, in order of their waits, and what the providers would bill for them.
fn round(gateway: &Gateway, model: &str, simulators: [&Simulator; 2]) -> (Vec<Duration>, u64, u64) {
    let sum = || {
        simulators.iter().fold((0, 0), |(spend, requests), simulator| {
            assert!(simulator.truth().wait_settled(SOON));
            let counts = simulator.truth().counts();
            (spend + counts.prompt_tokens + OUTPUT_PRICE * counts.completion_tokens, requests + counts.requests)
        })
    };
    let before = sum();
    let share = FIGURE_REQUESTS / FIGURE_CLIENTS;
    let body = chat_of(model, &"word ".repeat(FIGURE_WORDS), "");
    let mut waits = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..FIGURE_CLIENTS).map(|_| scope.spawn(|| ask_words(gateway, &body, share))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client ends")).collect::<Vec<_>>()
    });
    waits.sort();
    let after = sum();
    (waits, after.0 - before.0, after.1 - before.1)
}

/// The figures of the documents; `cargo xtask bench hedging` runs this in a release build.
#[test]
#[ignore = "takes a minute and prints figures"]
fn figures() {
    let simulators = [steady(), steady()];
    let gateway = before("hedged", [&simulators[0], &simulators[1]]).start();
    warm_up(&gateway);
    for simulator in &simulators {
        let rare = Fault::SlowFirstByte { delay: Duration::from_secs(1) };
        let usual = Behaviour { latency: Duration::from_millis(50).into(), ..Behaviour::default() };
        simulator.set_behaviour(usual.with_fault(rare, When::Probability(SLOW_SHARE)));
    }
    let pair = [&simulators[0], &simulators[1]];
    // A round that nobody counts, so that the rare wait is known, too.
    round(&gateway, "any", pair);
    println!(
        "97 % of answers after 50 ms, 3 % after 1 s; {FIGURE_REQUESTS} requests a row, {FIGURE_CLIENTS} at a time"
    );
    println!("{:<10}{:>8}{:>8}{:>8}{:>8}  ms{:>10}{:>12}", "", "p50", "p95", "p99", "max", "attempts", "spend");
    let mut spends = Vec::new();
    for (name, model) in [("plain", "one"), ("hedged", "any"), ("plain", "one"), ("hedged", "any")] {
        let (waits, spend, attempts) = round(&gateway, model, pair);
        let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_millis();
        let max = waits[waits.len() - 1].as_millis();
        println!("{name:<10}{:>8}{:>8}{:>8}{max:>8}    {attempts:>10}{spend:>12}", at(0.5), at(0.95), at(0.99));
        spends.push(spend as f64);
    }
    let extra = (spends[1] + spends[3]) / (spends[0] + spends[2]) - 1.0;
    println!("extra spend {:.2} %, {} hedges in the books as lost", 100.0 * extra, superseded(&gateway));
}
