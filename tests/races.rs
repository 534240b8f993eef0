//! Several providers at one request: a race ends with its winner and closes the losers at once, a council makes one answer of several, and
//! every attempt is in the books once.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Fault, Outcome, When};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Answer, Builder, Gateway, SOON, Scripted, chat_of, post, wait_until};

/// So slow that a test which waits for it has failed.
const NEVER: Duration = Duration::from_secs(60);

fn simulator(latency: Duration) -> Simulator {
    Simulator::builder().latency(latency).start().expect("a loopback port")
}

fn failing(fault: Fault) -> Simulator {
    Simulator::builder().fault(fault, When::Always).start().expect("a loopback port")
}

/// The model `any` asks these addresses in order; they are called p1, p2 ….
fn chain(addresses: &[String]) -> Builder {
    let names: Vec<String> = (1..=addresses.len()).map(|number| format!("p{number}")).collect();
    let mut builder = Gateway::builder();
    for (name, address) in names.iter().zip(addresses) {
        builder = builder.own_provider(name, address, "");
    }
    builder.ordered(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn raced(simulators: &[&Simulator]) -> Gateway {
    chain(&simulators.iter().map(|simulator| simulator.base_url()).collect::<Vec<_>>()).start()
}

fn race(members: &str) -> String {
    chat_of("any", "hello", &format!(r#","speculative_mode":"latency"{members}"#))
}

#[track_caller]
fn must_be_served_by(answer: &Answer, provider: &str, attempts: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-igris-provider"), Some(provider), "{:?}", answer.headers);
    assert_eq!(answer.header("x-igris-attempts"), Some(attempts), "{:?}", answer.headers);
}

/// The loser's connection was closed long before it would have answered.
#[track_caller]
fn must_have_been_hung_up_on(simulator: &Simulator, ended: u64) {
    assert!(simulator.truth().wait_ended(ended, SOON), "the loser was never told");
    let record = simulator.truth().last().expect("a request arrived");
    assert!(matches!(record.outcome, Outcome::ClientClosed { .. }), "{:?}", record.outcome);
}

/// Attempts in the books of the tenant.
fn attempts_in_books(gateway: &Gateway) -> u64 {
    gateway.page("/v1/tenants/default/usage?period=day").json()["attempts"].as_u64().unwrap_or(0)
}

#[test]
fn the_first_token_wins_and_the_loser_is_closed_at_once() {
    // Time enough for the loser to hear the question.
    let (slow, fast) = (simulator(NEVER), simulator(Duration::from_millis(200)));
    let gateway = raced(&[&slow, &fast]);
    for (round, members) in ["", r#","stream":true"#].into_iter().enumerate() {
        let began = Instant::now();
        let stream = gateway.stream(&race(members));
        must_be_served_by(&stream.answer, "p2", "2");
        assert!(stream.answer.whole && began.elapsed() < SOON, "{}", stream.answer.text());
        must_have_been_hung_up_on(&slow, round as u64 + 1);
        assert!(
            stream.answer.text().contains(r#""speculative":{"winner_provider":"p2","providers_raced":["p1","p2"]"#)
        );
    }
    assert!(fast.truth().wait_settled(SOON));
    assert_eq!(fast.truth().counts().completed, 2);
    wait_until(SOON, "both attempts of both races are in the books", || attempts_in_books(&gateway) == 4);
    let metrics = gateway.admin("/metrics").text();
    let superseded = metrics.lines().filter(|line| line.contains(r#"outcome="superseded""#) && line.ends_with(" 2"));
    assert_eq!(superseded.count(), 1, "{metrics}");
}

#[test]
fn who_fails_is_out_of_the_race_and_another_wins() {
    for fault in
        [Fault::status(503), Fault::status(429), Fault::CloseBeforeResponse, Fault::ErrorInStream { after_events: 0 }]
    {
        let name = fault.name();
        let (broken, slow) = (failing(fault), simulator(Duration::from_millis(300)));
        let gateway = raced(&[&broken, &slow]);
        let stream = gateway.stream(&race(r#","stream":true"#));
        must_be_served_by(&stream.answer, "p2", "2");
        assert!(stream.answer.whole && !stream.answer.text().contains("\"error\""), "{name}");
    }
}

#[test]
fn when_all_who_race_fail_the_budget_goes_on() {
    let (first, second) = (failing(Fault::status(503)), failing(Fault::status(503)));
    // The same provider's other key would be a third attempt; a third provider is.
    let third = simulator(Duration::ZERO);
    let gateway = raced(&[&first, &second, &third]);
    let answer = gateway.chat(&race(""));
    must_be_served_by(&answer, "p3", "3");
    let all_down = raced(&[&first, &second]);
    let answer = all_down.chat(&race(""));
    answer.must_be_fault(503, "all_providers_unavailable");
    assert_eq!(answer.header("x-igris-attempts"), Some("2"));
}

#[test]
fn a_client_that_leaves_during_a_race_closes_all_of_it() {
    let runners = [simulator(NEVER), simulator(NEVER), simulator(NEVER)];
    let gateway = raced(&[&runners[0], &runners[1], &runners[2]]);
    let mut client = gateway.client();
    client.send(&post(&race("")));
    for runner in &runners {
        assert!(runner.truth().wait_arrived(1, SOON));
    }
    drop(client);
    for runner in &runners {
        must_have_been_hung_up_on(runner, 1);
    }
    wait_until(SOON, "three attempts are in the books", || attempts_in_books(&gateway) == 3);
    assert_eq!(gateway.admin("/metrics").text().matches(r#"outcome="client_gone""#).count(), 3);
}

#[test]
fn without_ranks_and_prices_the_first_wins_in_every_mode() {
    let (fast, slow) = (simulator(Duration::ZERO), simulator(NEVER));
    let gateway = raced(&[&slow, &fast]);
    for mode in ["balanced", "quality", "cost"] {
        let answer = gateway.chat(&chat_of("any", "hello", &format!(r#","speculative_mode":"{mode}""#)));
        must_be_served_by(&answer, "p2", "2");
    }
}

#[test]
fn a_lone_provider_and_a_small_wish_go_the_plain_way() {
    let only = simulator(Duration::ZERO);
    let gateway = raced(&[&only]);
    let answer = gateway.chat(&race(""));
    must_be_served_by(&answer, "p1", "1");
    assert!(answer.json()["metadata"].get("speculative").is_none());
    let (first, second) = (simulator(Duration::ZERO), simulator(Duration::ZERO));
    let gateway = raced(&[&first, &second]);
    let answer = gateway.chat(&chat_of("any", "hello", r#","speculative_mode":null"#));
    must_be_served_by(&answer, "p1", "1");
    assert_eq!(second.truth().counts().requests, 0);
}

#[test]
fn an_owner_who_wants_no_hedging_gets_no_race_and_still_a_council() {
    let (first, second) = (simulator(Duration::ZERO), simulator(Duration::ZERO));
    let addresses = [first.base_url(), second.base_url()];
    let gateway = chain(&addresses).config_toml("[routing]\nhedging = false\n").start();
    must_be_served_by(&gateway.chat(&race("")), "p1", "1");
    assert_eq!(second.truth().counts().requests, 0);
    let answer = gateway.chat(&asked(""));
    assert_eq!((answer.status, second.truth().counts().requests), (200, 1), "{}", answer.text());
}

// ---- Councils ---------------------------------------------------------------------------------------------------------------

fn said(text: &str) -> Vec<u8> {
    let body = json!({ "id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 } })
    .to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// A member that says this; as a judge it says that it merged what it was shown.
fn member(text: &'static str) -> Scripted {
    Scripted::answering(move |request| match request.contains("=== Answer 1 ===") {
        true => said("merged"),
        false => said(text),
    })
}

fn council(members: &[&Scripted]) -> Gateway {
    chain(&members.iter().map(|member| member.base_url()).collect::<Vec<_>>()).start()
}

fn asked(members: &str) -> String {
    chat_of("any", "Which is the capital of France?", &format!(r#","council_mode":true{members}"#))
}

fn words(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap_or_default()
}

#[test]
fn a_council_that_agrees_needs_no_judge() {
    let members = [member("The capital of France is Paris."), member("the capital of France is Paris")];
    let gateway = council(&[&members[0], &members[1]]);
    let answer = gateway.chat(&asked(""));
    must_be_served_by(&answer, "p1", "2");
    let answer = answer.json();
    assert_eq!(words(&answer), "The capital of France is Paris.");
    let told = &answer["metadata"]["council"];
    assert_eq!((&told["response_count"], &told["judge"]), (&json!(2), &Value::Null), "{told}");
    assert_eq!((&told["winner_provider"], &told["agreement"]), (&json!("p1"), &json!(1.0)), "{told}");
    assert_eq!(members.each_ref().map(Scripted::requests), [1, 1]);
    wait_until(SOON, "both members are in the books", || attempts_in_books(&gateway) == 2);
}

#[test]
fn a_council_that_disagrees_asks_a_judge() {
    let members = [member("It is Paris."), member("Lyon, without any doubt!")];
    let gateway = council(&[&members[0], &members[1]]);
    let answer = gateway.chat(&asked(""));
    must_be_served_by(&answer, "p1", "3");
    let answer = answer.json();
    assert_eq!(words(&answer), "merged");
    let told = &answer["metadata"]["council"];
    assert_eq!((&told["response_count"], &told["judge"]["provider"]), (&json!(2), &json!("p1")), "{told}");
    let judged = String::from_utf8_lossy(&members[0].last_body()).into_owned();
    assert!(judged.contains("It is Paris.") && judged.contains("Lyon, without any doubt!"), "{judged}");
    assert!(!judged.contains("council_mode"), "what is ours stays here: {judged}");
    wait_until(SOON, "members and judge are in the books", || attempts_in_books(&gateway) == 3);
    // A low threshold is met by any two answers.
    let answer = gateway.chat(&asked(r#","consensus_threshold":0.0"#));
    must_be_served_by(&answer, "p1", "2");
}

#[test]
fn three_members_decide_by_majority() {
    let members = [member("Lyon it is"), member("The capital is Paris"), member("The capital is Paris.")];
    let gateway = council(&[&members[0], &members[1], &members[2]]);
    let answer = gateway.chat(&asked(r#","council_providers":["p3","p1","p2"]"#));
    must_be_served_by(&answer, "p2", "3");
    assert_eq!(answer.json()["metadata"]["council"]["members"].as_array().map(Vec::len), Some(3));
    gateway.chat(&asked(r#","council_providers":["p1","nobody"]"#)).must_be_fault(400, "invalid_request");
}

#[test]
fn a_stream_gets_the_councils_answer_at_its_end() {
    let members = [member("It is Paris."), member("Lyon, without any doubt!")];
    let gateway = council(&[&members[0], &members[1]]);
    let stream = gateway.stream(&asked(r#","stream":true,"stream_options":{"include_usage":true}"#));
    must_be_served_by(&stream.answer, "p1", "3");
    let text = stream.answer.text();
    assert!(stream.answer.whole && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(text.contains("merged") && text.contains(r#""council":{"members""#), "{text}");
}

#[test]
fn a_member_that_fails_leaves_the_others() {
    let (broken, well) = (failing(Fault::status(503)), member("Paris"));
    let gateway = chain(&[broken.base_url(), well.base_url()]).start();
    let answer = gateway.chat(&asked(""));
    must_be_served_by(&answer, "p2", "2");
    let told = answer.json()["metadata"]["council"].clone();
    assert_eq!((&told["response_count"], &told["members"][0]["answered"]), (&json!(1), &json!(false)), "{told}");
}
