//! Limits of requests and tokens are kept for every key and model, and told in each provider's own fields and words.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Quota, Surface};
use serde_json::json;
use std::time::Duration;
use wire::{Reply, Request, SOON};

const KEY: &str = "sk-sim-0123456789abcdef";
/// Long enough that nothing comes back while a test runs.
const REFILL: Duration = Duration::from_secs(3_600);

fn simulator(surface: Surface, requests: u32, tokens: u32) -> Simulator {
    let limits = Quota { requests, tokens, refill: REFILL };
    Simulator::builder().dialect(surface).limits(limits).tokens(10).start().expect("a loopback port")
}

fn openai(simulator: &Simulator, key: &str, content: &str) -> Reply {
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": content }] });
    Request::post("/v1/chat/completions", &body).field("authorization", &format!("Bearer {key}")).send(simulator)
}

fn number(reply: &Reply, name: &str) -> u64 {
    let value = reply.field(name).unwrap_or_else(|| panic!("{name} in {}", reply.head));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

#[test]
fn tokens_of_prompt_and_answer_are_spent_together() {
    // Four characters are a token: 2 of prompt and 10 of answer for each request, and 30 in the bucket.
    let simulator = simulator(Surface::OpenAi, 100, 30);
    let first = openai(&simulator, KEY, "12345678");
    assert_eq!((first.status, number(&first, "x-ratelimit-limit-tokens")), (200, 30));
    assert_eq!(number(&first, "x-ratelimit-remaining-tokens"), 18);
    assert_eq!(number(&first, "x-ratelimit-remaining-requests"), 99);
    assert_eq!(number(&openai(&simulator, KEY, "12345678"), "x-ratelimit-remaining-tokens"), 6);
    let refused = openai(&simulator, KEY, "12345678");
    let error = &refused.json()["error"];
    assert_eq!(
        (refused.status, &error["type"], &error["code"]),
        (429, &"tokens".into(), &"rate_limit_exceeded".into())
    );
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains("Limit 30, Used 24, Requested 12. Please try again in"), "{message}");
    // Six more tokens at thirty an hour.
    assert!((700..=720).contains(&number(&refused, "retry-after")), "{}", refused.head);
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 98, "a refusal costs nothing");
    assert_eq!(openai(&simulator, "sk-another-key-0001", "12345678").status, 200, "every key has its own");
    assert!(simulator.truth().wait_settled(SOON));
    let counts = simulator.truth().counts();
    assert_eq!((counts.completed, counts.faulted, counts.by_status[&429]), (3, 1, 1));
}

#[test]
fn what_no_waiting_cures_names_no_wait() {
    let simulator = simulator(Surface::OpenAi, 0, 11);
    let refused = openai(&simulator, KEY, "12345678");
    assert_eq!((refused.status, refused.field("retry-after")), (429, None), "{}", refused.head);
    assert!(refused.text().contains("too large"), "{}", refused.text());
    assert_eq!(refused.field("x-ratelimit-limit-requests"), None, "there is no limit of requests");
}

#[test]
fn requests_run_out_before_tokens_in_the_providers_words() {
    let simulator = simulator(Surface::OpenAi, 1, 1_000);
    assert_eq!(openai(&simulator, KEY, "hello").status, 200);
    let refused = openai(&simulator, KEY, "hello");
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (429, &"requests".into()));
}

#[test]
fn anthropic_and_gemini_tell_it_their_own_way() {
    let simulator = simulator(Surface::Anthropic, 50, 16);
    let body =
        json!({ "model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{ "role": "user", "content": "hello" }] });
    let request = Request::post("/v1/messages", &body).field("x-api-key", KEY).field("anthropic-version", "2023-06-01");
    let first = request.send(&simulator);
    assert_eq!((first.status, number(&first, "anthropic-ratelimit-tokens-limit")), (200, 16));
    assert_eq!(number(&first, "anthropic-ratelimit-tokens-remaining"), 4);
    assert!(first.field("anthropic-ratelimit-tokens-reset").is_some_and(|reset| reset.ends_with('Z')));
    let refused = request.send(&simulator);
    assert_eq!((refused.status, &refused.json()["error"]["type"]), (429, &"rate_limit_error".into()));
    assert!(refused.text().contains("rate limit of 16 tokens per minute") && refused.text().contains("req_"));
    assert!(number(&refused, "retry-after") > 0);

    let simulator = self::simulator(Surface::Gemini, 1, 0);
    let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] });
    let request = Request::post("/v1beta/models/gemini-2.5-flash:generateContent", &body).field("x-goog-api-key", KEY);
    assert_eq!(request.send(&simulator).status, 200);
    let refused = request.send(&simulator);
    let error = &refused.json()["error"];
    assert_eq!((refused.status, &error["status"]), (429, &"RESOURCE_EXHAUSTED".into()));
    assert!(
        refused.text().contains("google.rpc.RetryInfo") && refused.text().contains("retryDelay"),
        "{}",
        refused.text()
    );
}

#[test]
fn buckets_fill_up_again() {
    let limits = Quota { requests: 0, tokens: 24, refill: Duration::from_millis(400) };
    let simulator = Simulator::builder().limits(limits).tokens(10).start().expect("a loopback port");
    let statuses = [(); 2].map(|()| openai(&simulator, KEY, "12345678").status);
    assert_eq!(statuses[0], 200);
    std::thread::sleep(Duration::from_millis(450));
    assert_eq!(openai(&simulator, KEY, "12345678").status, 200);
}
