//! A request under an `Idempotency-Key` is worked on once, whoever sends it how often and to whichever core (rule Q5).

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Fault, When};
use std::time::Duration;
use support::{
    ACCESS_KEY, Answer, Gate, Gateway, SHORT_ANSWER, SOON, STRANGER_KEY, bearer, chat, chat_of, post_with, stream_of,
    wait_until,
};

const PATH: &str = "/v1/chat/completions";
const REPLAYED: &str = "x-igris-idempotent-replay";

fn keyed(access_key: &str, key: &str, body: &str) -> Vec<u8> {
    post_with(PATH, &format!("{}Idempotency-Key: {key}\r\n", bearer(access_key)), body.as_bytes())
}

fn ask(gateway: &Gateway, key: &str, body: &str) -> Answer {
    gateway.ask(&keyed(ACCESS_KEY, key, body))
}

fn must_be_replayed(answer: &Answer, first: &Answer) {
    assert_eq!(answer.status, first.status, "{}", answer.text());
    assert_eq!(answer.header(REPLAYED), Some("true"), "{:?}", answer.headers);
    assert_eq!(answer.header("content-type"), first.header("content-type"));
    assert_eq!(answer.text(), first.text());
    assert_ne!(answer.header("x-request-id"), first.header("x-request-id"), "it is a request of its own");
}

fn attempts(gateway: &Gateway) -> u64 {
    let page = gateway.admin("/metrics").text();
    let lines = page.lines().filter(|line| line.starts_with("igris_attempts_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn the_same_request_again_gets_the_same_answer_without_work_or_bill() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let first = ask(&gateway, "order-1", &chat("once"));
    assert_eq!((first.status, first.header(REPLAYED)), (200, None), "{}", first.text());
    let mut client = gateway.client();
    for _ in 0..3 {
        must_be_replayed(&client.ask(&keyed(ACCESS_KEY, "order-1", &chat("once"))), &first);
    }
    assert_eq!(simulator.truth().counts().requests, 1);
    wait_until(SOON, "the one attempt is in the books", || attempts(&gateway) >= 1);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(attempts(&gateway), 1, "nothing is billed twice");
    // Without the header, and under another key, it is another request.
    assert_eq!(gateway.chat(&chat("once")).header(REPLAYED), None);
    assert_eq!(ask(&gateway, "order-2", &chat("once")).header(REPLAYED), None);
    assert_eq!(simulator.truth().counts().requests, 3);
}

#[test]
fn another_request_under_the_same_key_is_refused() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    assert_eq!(ask(&gateway, "order-1", &chat("this")).status, 200);
    let answer = ask(&gateway, "order-1", &chat("that"));
    answer.must_be_fault(422, "idempotency_key_reused");
    assert!(answer.message().contains("new key"), "{}", answer.text());
    let fields = format!("{}Idempotency-Key: order-1\r\n", bearer(ACCESS_KEY));
    let elsewhere = gateway.ask(&post_with("/v1/completions", &fields, chat("this").as_bytes()));
    elsewhere.must_be_fault(422, "idempotency_key_reused");
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn the_same_request_while_it_is_at_work_is_told_to_come_back() {
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = Gateway::builder().own_provider("p1", &gate.base_url(), "").workers(2).start();
    let mut first = gateway.client();
    first.send(&keyed(ACCESS_KEY, "order-1", &chat("slow")));
    assert!(gate.wait_arrived(1, SOON));
    // On whichever core it comes in.
    for _ in 0..12 {
        let answer = ask(&gateway, "order-1", &chat("slow"));
        answer.must_be_fault(409, "idempotency_conflict");
        assert_eq!((answer.header("retry-after"), answer.header("x-should-retry")), (Some("1"), Some("true")));
    }
    ask(&gateway, "order-1", &chat("other")).must_be_fault(422, "idempotency_key_reused");
    gate.open();
    let answer = first.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The answer may be read before it is kept.
    wait_until(SOON, "it is kept", || ask(&gateway, "order-1", &chat("slow")).status == 200);
    for _ in 0..12 {
        must_be_replayed(&ask(&gateway, "order-1", &chat("slow")), &answer);
    }
    assert_eq!(gate.arrived(), 1);
}

#[test]
fn tenants_have_keys_of_their_own() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let mine = gateway.ask(&keyed(ACCESS_KEY, "order-1", &chat("mine")));
    let theirs = gateway.ask(&keyed(STRANGER_KEY, "order-1", &chat("theirs")));
    assert_eq!((mine.status, theirs.status), (200, 200), "{}", theirs.text());
    must_be_replayed(&gateway.ask(&keyed(ACCESS_KEY, "order-1", &chat("mine"))), &mine);
    must_be_replayed(&gateway.ask(&keyed(STRANGER_KEY, "order-1", &chat("theirs"))), &theirs);
    assert_eq!(simulator.truth().counts().requests, 2);
}

#[test]
fn a_failure_frees_its_key() {
    let simulator = Simulator::builder().fault(Fault::status(400), When::First(1)).start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    assert_eq!(ask(&gateway, "order-1", &chat("try")).status, 400);
    let second = ask(&gateway, "order-1", &chat("try"));
    assert_eq!((second.status, second.header(REPLAYED)), (200, None), "{}", second.text());
    must_be_replayed(&ask(&gateway, "order-1", &chat("try")), &second);
}

#[test]
fn a_client_that_left_may_try_again() {
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = Gateway::builder().own_provider("p1", &gate.base_url(), "").start();
    let mut gone = gateway.client();
    gone.send(&keyed(ACCESS_KEY, "order-1", &chat("leave")));
    assert!(gate.wait_arrived(1, SOON));
    drop(gone);
    wait_until(SOON, "its attempt is in the books", || attempts(&gateway) == 1);
    gate.open();
    let answer = ask(&gateway, "order-1", &chat("leave"));
    assert_eq!((answer.status, answer.header(REPLAYED)), (200, None), "{}", answer.text());
    assert_eq!(gate.arrived(), 2);
}

#[test]
fn a_whole_stream_is_given_again_and_a_broken_one_is_not() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let body = stream_of("count", r#","user":"sim:tokens=40""#);
    let first = ask(&gateway, "stream-1", &body);
    assert_eq!(first.status, 200);
    assert!(first.text().ends_with("data: [DONE]\n\n"), "{}", first.text());
    wait_until(SOON, "it is kept", || ask(&gateway, "stream-1", &body).status == 200);
    let again = ask(&gateway, "stream-1", &body);
    must_be_replayed(&again, &first);
    assert_eq!(simulator.truth().counts().requests, 1);

    let broken = stream_of("break", r#","user":"sim:fault=reset@200""#);
    for round in 0..2 {
        let mut client = gateway.client();
        client.send(&keyed(ACCESS_KEY, "stream-2", &broken));
        let answer = client.stream().answer;
        assert_eq!(answer.header(REPLAYED), None, "round {round}: what broke off is not given again");
        // The key is free a moment after the client has seen the end.
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn an_answer_too_large_to_keep_is_not_kept() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let body = chat_of("gpt-4o", "at length", r#","user":"sim:tokens=300000""#);
    for _ in 0..2 {
        let answer = ask(&gateway, "large", &body);
        assert_eq!((answer.status, answer.header(REPLAYED)), (200, None));
        assert!(answer.body.len() > 1024 * 1024, "{}", answer.body.len());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(simulator.truth().counts().requests, 2);
}

#[test]
fn a_key_that_is_none_is_refused() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    assert_eq!(ask(&gateway, &"k".repeat(255), &chat("long")).status, 200);
    for key in [String::new(), "k".repeat(256)] {
        let answer = ask(&gateway, &key, &chat("no"));
        answer.must_be_fault(400, "invalid_request");
        assert!(answer.message().contains("Idempotency-Key"), "{}", answer.text());
    }
    assert_eq!(simulator.truth().counts().requests, 1);
}
