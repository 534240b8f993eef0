//! Limits and budgets over the real gateway: what is refused, in which words, what is left, and what a restart remembers.

mod support;

use igris_load::Simulator;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use support::{
    ACCESS_KEY, Answer, Builder, Client, Gate, Gateway, SHORT_ANSWER, SOON, bearer, chat_of, post_with, wait_until,
};

const KEY: &str = "sk-igris-canary-limited-0123456789abcdef";
const SIBLING_KEY: &str = "sk-igris-canary-sibling-0123456789abcdef";

/// A token of the answer costs a tenth of a cent, the prompt next to nothing.
const PRICES: &str =
    "[[prices]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\ninput = \"$0.001/Mtok\"\noutput = \"$1000/Mtok\"\n";

/// Answers of ten tokens: a cent each.
fn simulator() -> Simulator {
    Simulator::builder().tokens(10).start().expect("a loopback port")
}

/// A gateway with one more access key, `limited`, with these limits.
fn limited(simulator: &Simulator, limits: &str) -> Builder {
    Gateway::builder().provider("openai", simulator).config_toml(PRICES).file("limited.key", KEY).config_toml(&format!(
        "[[access_keys]]\nname = \"limited\"\nkey = {{ file = \"{{home}}/limited.key\" }}\nlimits = {{ {limits} }}\n"
    ))
}

fn chat_bytes(key: &str, members: &str) -> Vec<u8> {
    post_with("/v1/chat/completions", &bearer(key), chat_of("gpt-4o", "hello", members).as_bytes())
}

/// Asks for at most ten tokens, on a connection of its own.
fn ask(gateway: &Gateway) -> Answer {
    gateway.ask(&chat_bytes(KEY, ",\"max_tokens\":10"))
}

fn must_be_served(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn number(answer: &Answer, name: &str) -> u64 {
    let value = answer.header(name).unwrap_or_else(|| panic!("no {name} in {}", answer.text()));
    value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
}

/// What the admin socket shows of the access key `limited`.
fn usage(gateway: &Gateway) -> Value {
    let list = gateway.admin("/access-keys?tenant=default").json();
    let keys = list["data"].as_array().unwrap_or_else(|| panic!("no list in {list}"));
    let own = keys.iter().find(|key| key["name"] == "limited" && key["status"] == "active");
    own.unwrap_or_else(|| panic!("no such key in {list}"))["usage"].clone()
}

fn spent(gateway: &Gateway, place: usize) -> f64 {
    usage(gateway)["budgets"][place]["spent"].as_f64().expect("a number")
}

/// Until all that was used is in the counters and in the books.
fn settle() {
    thread::sleep(Duration::from_secs(1));
}

// ---- Rates ------------------------------------------------------------------------------------------------------------------

#[test]
fn requests_in_a_minute_are_counted_over_all_cores_and_said() {
    let simulator = simulator();
    let gateway = limited(&simulator, "requests_per_minute = 3").workers(2).start();
    for left in [2, 1, 0] {
        let answer = ask(&gateway);
        must_be_served(&answer);
        assert_eq!(number(&answer, "x-ratelimit-limit-requests"), 3);
        assert_eq!(number(&answer, "x-ratelimit-remaining-requests"), left);
        assert!(answer.header("x-ratelimit-reset-requests").is_some_and(|reset| reset.ends_with('s')));
    }
    // Nobody looks into the body of what is refused (rule T6).
    let refused = gateway.ask(&post_with("/v1/chat/completions", &bearer(KEY), b"{ no JSON"));
    refused.must_be_fault(429, "rate_limit_exceeded");
    assert!(refused.message().contains("3 requests per minute"), "{}", refused.text());
    assert!((1..=20).contains(&number(&refused, "retry-after")), "one becomes free in a third of a minute");
    assert_eq!(refused.header("x-should-retry"), Some("true"));
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
    assert_eq!(simulator.truth().counts().requests, 3);
    assert_eq!(gateway.ask(&chat_bytes(ACCESS_KEY, "")).status, 200, "others have limits of their own");
    let metrics = gateway.admin("/metrics").text();
    assert!(metrics.contains("igris_limited_total{limit=\"requests\"} 1"), "{metrics}");
    assert_eq!(usage(&gateway)["requests_remaining"], 0);
}

#[test]
fn tokens_are_held_by_estimate_and_settled_by_use() {
    let simulator = simulator();
    let gateway = limited(&simulator, "tokens_per_minute = 1_000").start();
    let bytes = chat_bytes(KEY, ",\"max_tokens\":900");
    let answer = gateway.ask(&bytes);
    must_be_served(&answer);
    assert_eq!(number(&answer, "x-ratelimit-limit-tokens"), 1_000);
    assert!(number(&answer, "x-ratelimit-remaining-tokens") < 150, "while it is answered, all that it may use is held");
    // What it did not use is there again, an instant after the last byte of its answer.
    let is_settled = || {
        let left = usage(&gateway)["tokens_remaining"].as_u64().expect("a number");
        (900..=1_000).contains(&left)
    };
    wait_until(Duration::from_secs(5), "the tokens come back", is_settled);
    must_be_served(&gateway.ask(&chat_bytes(KEY, ",\"max_tokens\":900")));
    wait_until(Duration::from_secs(5), "the tokens come back", is_settled);
    // More than a minute's worth needs a bucket that is full.
    let refused = gateway.ask(&chat_bytes(KEY, ",\"max_tokens\":5000"));
    refused.must_be_fault(429, "rate_limit_exceeded");
    assert!(refused.message().contains("1000 tokens per minute"), "{}", refused.text());
    assert!((1..=10).contains(&number(&refused, "retry-after")), "{:?}", refused.header("retry-after"));
}

#[test]
fn anthropic_clients_read_their_own_fields() {
    let simulator = simulator();
    let gateway = limited(&simulator, "requests_per_minute = 1").start();
    let body = br#"{"model":"gpt-4o","max_tokens":10,"messages":[{"role":"user","content":"hello"}]}"#;
    let bytes = post_with("/v1/messages", &format!("x-api-key: {KEY}\r\nanthropic-version: 2023-06-01\r\n"), body);
    let answer = gateway.ask(&bytes);
    must_be_served(&answer);
    assert_eq!(number(&answer, "anthropic-ratelimit-requests-limit"), 1);
    assert_eq!(number(&answer, "anthropic-ratelimit-requests-remaining"), 0);
    let reset = answer.header("anthropic-ratelimit-requests-reset").expect("said");
    assert!(reset.ends_with('Z') && reset.len() == 20, "{reset}");
    let refused = gateway.ask(&bytes);
    assert_eq!((refused.status, refused.json()["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    assert!(refused.header("retry-after").is_some());
}

#[test]
fn a_kept_answer_costs_nothing() {
    let simulator = simulator();
    let gateway = limited(&simulator, "requests_per_minute = 1").start();
    let fields = format!("{}Idempotency-Key: once\r\n", bearer(KEY));
    let bytes = post_with("/v1/chat/completions", &fields, chat_of("gpt-4o", "hello", "").as_bytes());
    let first = gateway.ask(&bytes);
    must_be_served(&first);
    let again = gateway.ask(&bytes);
    assert_eq!((again.status, again.text()), (200, first.text()));
    ask(&gateway).must_be_fault(429, "rate_limit_exceeded");
    let preview = post_with("/v1/routing/preview", &bearer(KEY), chat_of("gpt-4o", "hello", "").as_bytes());
    assert_eq!(gateway.ask(&preview).status, 200, "asking who would answer is free");
}

#[test]
fn places_are_given_back_however_an_exchange_ends() {
    let gate = Gate::closed(SHORT_ANSWER);
    let gateway = Gateway::builder()
        .own_provider("slow", &gate.base_url(), "")
        .file("limited.key", KEY)
        .config_toml("[[access_keys]]\nname = \"limited\"\nkey = { file = \"{home}/limited.key\" }\nlimits = { concurrent = 2 }\n")
        .workers(2)
        .start();
    let bytes = chat_bytes(KEY, "");
    let begin = || {
        let mut client = gateway.client();
        client.send(&bytes);
        client
    };
    let (mut stays, leaves): (Client, Client) = (begin(), begin());
    assert!(gate.wait_arrived(2, SOON));
    let refused = gateway.ask(&bytes);
    refused.must_be_fault(429, "rate_limit_exceeded");
    assert_eq!((number(&refused, "retry-after"), refused.header("x-should-retry")), (1, Some("true")));
    assert!(refused.message().contains("2 requests at a time"), "{}", refused.text());
    assert_eq!(usage(&gateway)["concurrent"], 2);
    drop(leaves);
    wait_until(SOON, "who left has no place any more", || usage(&gateway)["concurrent"] == 1);
    gate.open();
    assert_eq!(stays.answer().status, 200);
    wait_until(SOON, "all places are free", || usage(&gateway)["concurrent"] == 0);
    must_be_served(&gateway.ask(&bytes));
}

#[test]
fn keys_of_one_tenant_share_what_it_has() {
    let simulator = simulator();
    let key = |name: &str| {
        format!(
            "[[access_keys]]\nname = \"{name}\"\ntenant = \"team\"\nkey = {{ file = \"{{home}}/{name}.key\" }}\nlimits = {{ requests_per_minute = 2 }}\n"
        )
    };
    let gateway = Gateway::builder()
        .provider("openai", &simulator)
        .file("one.key", KEY)
        .file("two.key", SIBLING_KEY)
        .config_toml(&format!(
            "[[tenants]]\nid = \"team\"\nlimits = {{ requests_per_minute = 3 }}\n{}{}",
            key("one"),
            key("two")
        ))
        .start();
    let ask = |key: &str| gateway.ask(&chat_bytes(key, ""));
    must_be_served(&ask(KEY));
    must_be_served(&ask(KEY));
    let refused = ask(KEY);
    refused.must_be_fault(429, "rate_limit_exceeded");
    assert!(refused.message().contains("this access key,"), "{}", refused.text());
    let last = ask(SIBLING_KEY);
    must_be_served(&last);
    assert_eq!(number(&last, "x-ratelimit-remaining-requests"), 0, "the tighter of the two");
    let refused = ask(SIBLING_KEY);
    refused.must_be_fault(429, "rate_limit_exceeded");
    assert!(refused.message().contains("tenant, 3 requests per minute"), "{}", refused.text());
    let tenants = gateway.admin("/tenants").text();
    assert!(tenants.contains("\"requests_remaining\":0"), "{tenants}");
}

// ---- Money ------------------------------------------------------------------------------------------------------------------

#[test]
fn a_hard_budget_is_refused_before_it_is_overspent() {
    let simulator = simulator();
    let gateway = limited(&simulator, "budgets = [\"$0.035/day\", \"$9/total\"]").workers(2).start();
    let costs: Vec<f64> = (0..3)
        .map(|_| {
            let answer = ask(&gateway);
            must_be_served(&answer);
            answer.header("x-igris-cost-usd").and_then(|cost| cost.parse().ok()).expect("a price")
        })
        .collect();
    let refused = ask(&gateway);
    refused.must_be_fault(402, "budget_exceeded");
    let said = refused.message();
    assert!(said.contains("$0.035/day") && said.contains("T00:00:00Z"), "{said}");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert_eq!(simulator.truth().counts().requests, 3);
    settle();
    let sum: f64 = costs.iter().sum();
    let view = usage(&gateway);
    for (place, period) in [(0, "day"), (1, "total")] {
        let budget = &view["budgets"][place];
        assert_eq!((budget["period"].as_str(), budget["cap"].as_str()), (Some(period), Some("hard")), "{view}");
        assert!((budget["spent"].as_f64().expect("a number") - sum).abs() < 1e-8, "{sum}: {view}");
        assert_eq!(budget["reserved"], 0.0, "{view}");
    }
    assert!(view["budgets"][0]["resets_at"].as_str().is_some_and(|at| at.ends_with("T00:00:00Z")), "{view}");
    assert!(view["budgets"][1]["resets_at"].is_null(), "{view}");
}

#[test]
fn a_soft_budget_is_said_and_refuses_nobody() {
    let simulator = simulator();
    let gateway =
        limited(&simulator, "budgets = [{ amount = \"$0.015\", period = \"month\", cap = \"soft\" }]").start();
    let first = ask(&gateway);
    must_be_served(&first);
    assert_eq!(first.header("x-igris-budget"), None);
    must_be_served(&ask(&gateway));
    settle();
    for _ in 0..2 {
        let answer = ask(&gateway);
        must_be_served(&answer);
        assert_eq!(answer.header("x-igris-budget"), Some("exceeded"));
        settle();
    }
    let said = gateway.stdout() + &gateway.stderr();
    assert_eq!(said.matches(" budget the budget $0.015/month soft of access key").count(), 1, "once a period: {said}");
}

#[test]
fn what_a_client_that_left_had_held_comes_back() {
    let simulator =
        Simulator::builder().tokens(1_000).event_gap(Duration::from_millis(20)).start().expect("a loopback port");
    let gateway = limited(&simulator, "budget = \"$5/day\"").start();
    let mut client = gateway.client();
    client.send(&chat_bytes(KEY, ",\"max_tokens\":1000,\"stream\":true"));
    assert!(client.read_bytes(12).starts_with(b"HTTP/1.1 200"));
    let reserved = || usage(&gateway)["budgets"][0]["reserved"].as_f64().expect("a number");
    assert!(reserved() >= 1.0, "a dollar is what it may cost");
    drop(client);
    wait_until(SOON, "nothing is held any more", || reserved() == 0.0);
    assert!(spent(&gateway, 0) < 1.0, "what it was told by then");
}

// ---- What is remembered -----------------------------------------------------------------------------------------------------

/// Uses up two requests and a part of the money, ends the gateway, and starts it again.
fn must_remember(end: impl FnOnce(&mut Gateway)) {
    let simulator = simulator();
    let mut gateway = limited(&simulator, "requests_per_minute = 2, budgets = [\"$0.5/month\", \"$9/total\"]").start();
    must_be_served(&ask(&gateway));
    must_be_served(&ask(&gateway));
    settle();
    let before = [spent(&gateway, 0), spent(&gateway, 1)];
    assert!(before.iter().all(|spent| *spent >= 0.02), "{before:?}");
    end(&mut gateway);
    gateway.restart();
    assert_eq!([spent(&gateway, 0), spent(&gateway, 1)], before, "money");
    ask(&gateway).must_be_fault(429, "rate_limit_exceeded");
}

#[test]
fn a_restart_forgets_nothing() {
    must_remember(|gateway| {
        gateway.signal("TERM");
        assert!(gateway.wait(SOON).is_some_and(|status| status.success()));
    });
}

#[test]
fn a_kill_forgets_nothing_that_was_in_the_books() {
    must_remember(Gateway::kill);
}

#[test]
fn a_budget_changes_under_load_and_keeps_what_was_spent() {
    let simulator = simulator();
    let gateway = limited(&simulator, "budget = \"$0.015/month\"").workers(2).start();
    let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = gateway.client();
            while !stop.load(Ordering::Relaxed) {
                let answer = client.ask(&chat_bytes(ACCESS_KEY, ""));
                assert_eq!(answer.status, 200, "{}", answer.text());
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
        must_be_served(&ask(&gateway));
        ask(&gateway).must_be_fault(402, "budget_exceeded");
        let change = |from: &str, to: &str| {
            assert!(gateway.config().contains("$0.015/month"));
            let text = gateway.config().replace("budget = \"$0.015/month\"", to).replace("version = 1", from);
            gateway.write_config(&text);
            let answer = gateway.admin_ask("POST", "/reload", "");
            assert_eq!(answer.status, 200, "{}", answer.text());
        };
        change("version = 2", "budget = \"$0.025/month\"");
        must_be_served(&ask(&gateway));
        ask(&gateway).must_be_fault(402, "budget_exceeded");
        // Taken away, and given back: it was spent all the same.
        change("version = 3", "");
        must_be_served(&ask(&gateway));
        settle();
        change("version = 4", "budget = \"$0.025/month\"");
        ask(&gateway).must_be_fault(402, "budget_exceeded");
        assert!(spent(&gateway, 0) >= 0.029, "{}", usage(&gateway));
        stop.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > 0);
}
