//! Why a request went where it went: decisions, previews, receipts, and replays of what was recorded.

mod support;

use igris_load::Simulator;
use igris_load::certs::Authority;
use igris_load::simulator::{Fault, When};
use serde_json::{Value, json};
use std::process::{Command, Output};
use std::time::Instant;
use support::{
    ACCESS_KEY, Answer, BOOKS_KEY, Builder, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, bare, bearer, chat_of, post,
    post_with, stream_of, wait_until,
};

const MARK: &str = "a-prompt-that-nobody-may-keep";

fn healthy() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

fn failing(fault: Fault) -> Simulator {
    Simulator::builder().fault(fault, When::Always).start().expect("a loopback port")
}

/// The model `any` asks these simulators in order; they are called p1, p2 ….
fn chain(simulators: &[&Simulator]) -> Builder {
    let names: Vec<String> = (1..=simulators.len()).map(|number| format!("p{number}")).collect();
    let mut builder = Gateway::builder();
    for (name, simulator) in names.iter().zip(simulators) {
        builder = builder.own_provider(name, &simulator.base_url(), "");
    }
    builder.ordered(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn any(members: &str) -> String {
    chat_of("any", MARK, members)
}

fn ask_as(gateway: &Gateway, key: &str) -> Answer {
    gateway.ask(&post_with("/v1/chat/completions", &bearer(key), any("").as_bytes()))
}

fn explained_to(gateway: &Gateway, key: &str, id: &str) -> Answer {
    gateway.ask(&bare("GET", &format!("/v1/routing/decisions/{id}"), &bearer(key)))
}

fn id_of(answer: &Answer) -> String {
    answer.header("x-request-id").expect("on every answer").to_owned()
}

/// The decision behind an answer: it is kept right after the client has its last byte.
fn decision(gateway: &Gateway, id: &str) -> Value {
    wait_until(SOON, "the decision is there", || gateway.admin(&format!("/decisions/{id}")).status == 200);
    gateway.admin(&format!("/decisions/{id}")).json()
}

fn micros(value: &Value) -> u64 {
    value.as_u64().expect("microseconds")
}

#[test]
fn a_failover_is_explained_attempt_by_attempt() {
    let (first, second) = (failing(Fault::status(503)), healthy());
    let gateway = chain(&[&first, &second]).start();
    let began = Instant::now();
    let answer = gateway.chat(&any(""));
    assert_eq!(answer.header("x-igris-provider"), Some("p2"), "{}", answer.text());
    let decision = decision(&gateway, &id_of(&answer));
    // An exchange ends after its client has the last byte, on a busy machine by milliseconds; it has ended once its decision is there.
    let took = began.elapsed().as_micros() as u64;
    assert_eq!(
        (&decision["model"], &decision["policy"], &decision["status"]),
        (&json!("any"), &json!("ordered"), &json!(200))
    );
    assert!(
        decision["reason"].as_str().is_some_and(|why| why.starts_with("ordered: the first as listed")),
        "{decision}"
    );
    assert_eq!(decision["tenant"], "default");
    assert!(decision["need"]["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{decision}");
    let providers = |list: &str| -> Vec<String> {
        let list = decision[list].as_array().expect("a list");
        list.iter().map(|one| one["provider"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(providers("candidates"), ["p1", "p2"]);
    assert_eq!(providers("attempts"), ["p1", "p2"]);
    let attempts = &decision["attempts"];
    assert_eq!((&attempts[0]["outcome"], &attempts[0]["status"]), (&json!("refused"), &json!(503)));
    assert_eq!((&attempts[1]["outcome"], &attempts[1]["status"]), (&json!("completed"), &json!(200)));
    for attempt in [&attempts[0], &attempts[1]] {
        let [connect, first_byte, total] =
            ["connect_us", "first_byte_us", "total_us"].map(|name| micros(&attempt[name]));
        assert!(0 < connect && connect <= first_byte && first_byte <= total, "{attempt}");
        assert_eq!(attempt["tls_us"], 0, "plain text");
        assert!(attempt["credential"].as_str().is_some_and(|id| id.starts_with("key_")), "{attempt}");
    }
    // Our own phases and the waits are parts of what the client saw.
    let phases = decision["phases"].as_object().expect("phases");
    let own: u64 = phases.values().map(micros).sum();
    let waited: u64 = [0, 1].map(|place| micros(&attempts[place]["first_byte_us"])).iter().sum();
    assert!(own > 0 && own + waited <= took, "{own} and {waited} of {took}: {decision}");
    assert!(!decision.to_string().contains(MARK), "rule R1: {decision}");
}

#[test]
fn a_request_that_nobody_answered_is_explained_too() {
    let (first, second) = (failing(Fault::status(503)), failing(Fault::status(429)));
    let gateway = chain(&[&first, &second]).start();
    let answer = gateway.chat(&any(""));
    answer.must_be_fault(503, "all_providers_unavailable");
    let decision = decision(&gateway, &id_of(&answer));
    assert_eq!(decision["status"], 503);
    assert_eq!(decision["attempts"].as_array().map(Vec::len), Some(2));
    // Before there was a plan there is nothing to explain.
    let unknown = gateway.chat(&chat_of("no-such-model", "hello", ""));
    unknown.must_be_fault(404, "model_not_found");
    assert_eq!(gateway.admin(&format!("/decisions/{}", id_of(&unknown))).status, 404);
}

#[test]
fn a_stream_is_explained_with_its_first_token() {
    let only = healthy();
    let gateway = chain(&[&only]).start();
    let stream = gateway.stream(&stream_of(MARK, "").replace("gpt-4o", "any"));
    assert!(stream.answer.whole);
    let decision = decision(&gateway, &id_of(&stream.answer));
    let attempt = &decision["attempts"][0];
    let [first_byte, first_token, total] =
        ["first_byte_us", "first_token_us", "total_us"].map(|name| micros(&attempt[name]));
    assert!(0 < first_byte && first_byte <= first_token && first_token <= total, "{attempt}");
}

#[test]
fn the_time_that_tls_took_is_told_apart() {
    let authority = Authority::new("own").expect("the crypto library makes keys");
    let pair = authority.issue(&["localhost", "127.0.0.1"]).expect("the crypto library signs");
    let simulator = Simulator::builder().tls(&pair.cert_pem, &pair.key_pem).start().expect("a loopback port");
    let builder = Gateway::builder().own_provider("p1", &simulator.base_url(), "ca = \"{home}/ca.pem\"");
    let gateway = builder.file("ca.pem", &authority.cert_pem()).ordered(&["p1"]).start();
    let mut client = gateway.client();
    let connected = |answer: &Answer| {
        let decision = decision(&gateway, &id_of(answer));
        let attempt = &decision["attempts"][0];
        (micros(&attempt["connect_us"]), micros(&attempt["tls_us"]))
    };
    let (connect, tls) = connected(&client.ask(&post(&any(""))));
    assert!(0 < tls && tls < connect, "{tls} of {connect}");
    assert_eq!(connected(&client.ask(&post(&any("")))), (0, 0), "it stood already");
}

#[test]
fn a_tenant_sees_its_own_decisions_and_no_others() {
    let only = healthy();
    let gateway = chain(&[&only]).start();
    let (ours, theirs) = (id_of(&ask_as(&gateway, ACCESS_KEY)), id_of(&ask_as(&gateway, STRANGER_KEY)));
    for id in [&ours, &theirs] {
        decision(&gateway, id);
    }
    let seen = explained_to(&gateway, STRANGER_KEY, &theirs);
    assert_eq!((seen.status, seen.json()["tenant"].as_str()), (200, Some("other")), "{}", seen.text());
    assert!(!seen.text().contains("key_"), "the credential is the operator's: {}", seen.text());
    let foreign = explained_to(&gateway, STRANGER_KEY, &ours);
    let unknown = explained_to(&gateway, STRANGER_KEY, "req_00000000000000000000000000");
    assert_eq!((foreign.status, &foreign.body), (404, &unknown.body), "{}", foreign.text());
    assert_eq!(explained_to(&gateway, INFERENCE_KEY, &ours).status, 200);
    assert_eq!(explained_to(&gateway, INFERENCE_KEY, &theirs).status, 404, "no admin, no other tenants");
    assert_eq!(explained_to(&gateway, BOOKS_KEY, &ours).status, 403);
    assert_eq!(explained_to(&gateway, ACCESS_KEY, &theirs).status, 200, "the operator sees all");
    let listed = gateway.admin("/decisions?tenant=other").json();
    assert_eq!((listed["data"].as_array().map(Vec::len), &listed["data"][0]["id"]), (Some(1), &json!(theirs)));
    for (query, status) in
        [("tenant=a/b", 400), ("status=ok", 400), ("format=xml", 400), ("since=1", 400), ("limit=1", 200)]
    {
        assert_eq!(gateway.admin(&format!("/decisions?{query}")).status, status, "{query}");
    }
}

#[test]
fn a_preview_asks_nobody_and_says_what_a_request_will_do() {
    let (first, second) = (healthy(), healthy());
    let gateway = chain(&[&first, &second]).start();
    let preview = |body: &str| gateway.ask(&post_with("/v1/routing/preview", &bearer(INFERENCE_KEY), body.as_bytes()));
    let answer = preview(&any(""));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let planned = answer.json();
    assert_eq!((&planned["selected_provider"], &planned["selected_model"]), (&json!("p1"), &json!("gpt-4o")));
    assert_eq!((&planned["policy"], &planned["confidence"]), (&json!("ordered"), &json!(1.0)));
    assert_eq!(planned["alternatives"].as_array().map(Vec::len), Some(1));
    assert_eq!(planned["alternatives"][0]["provider"], "p2");
    for member in
        ["reason", "optimization", "estimated_cost_usd", "estimated_latency_ms", "semantic_classification", "need"]
    {
        assert!(planned.get(member).is_some(), "{member}: {planned}");
    }
    assert!(!answer.text().contains(MARK));
    assert_eq!((first.truth().counts().requests, second.truth().counts().requests), (0, 0), "nobody was asked");
    let served = gateway.chat(&any(""));
    assert_eq!(served.header("x-igris-provider"), planned["selected_provider"].as_str());
    // A model alone, and other dialects' bodies, are questions enough.
    for body in [
        json!({ "model": "any" }),
        json!({ "model": "any", "input": "hi" }),
        json!({ "model": "any", "contents": [] }),
        json!({ "model": "any", "provider": "p2" }),
    ] {
        let planned = preview(&body.to_string());
        let expected = if body.get("provider").is_some() { "p2" } else { "p1" };
        assert_eq!((planned.status, planned.json()["selected_provider"].as_str()), (200, Some(expected)), "{body}");
    }
    preview(&chat_of("no-such-model", "hi", "")).must_be_fault(404, "model_not_found");
    preview("{").must_be_fault(400, "invalid_request");
    let unread = gateway.ask(&post_with("/v1/routing/preview", &bearer(BOOKS_KEY), any("").as_bytes()));
    unread.must_be_fault(403, "insufficient_scope");
    assert_eq!(gateway.page("/v1/routing/preview").status, 405);
    assert_eq!(first.truth().counts().requests, 1);
}

/// The entries of a `server-timing` field, milliseconds.
fn receipt(answer: &Answer) -> Vec<(String, f64)> {
    let field = answer.header("server-timing").unwrap_or_else(|| panic!("no receipt: {:?}", answer.headers));
    let entry = |entry: &str| {
        let (name, duration) = entry.split_once(";dur=").unwrap_or_else(|| panic!("{entry} of {field}"));
        (name.to_owned(), duration.parse().unwrap_or_else(|_| panic!("{entry} of {field}")))
    };
    field.split(", ").map(entry).collect()
}

#[test]
fn a_receipt_comes_to_whoever_asks_for_it() {
    let only = healthy();
    let gateway = chain(&[&only]).start();
    let wish = |body: &str, value: &str| {
        let fields = format!("{}x-igris-timing: {value}\r\n", bearer(ACCESS_KEY));
        gateway.ask(&post_with("/v1/chat/completions", &fields, body.as_bytes()))
    };
    let names = |answer: &Answer| -> Vec<String> { receipt(answer).into_iter().map(|(name, _)| name).collect() };
    let whole = ["queue", "auth", "read", "parse", "plan", "connect", "tls", "ttfb", "igris"];
    assert_eq!(names(&wish(&any(""), "1")), whole);
    let stream = wish(&any(r#","stream":true"#), "true");
    assert_eq!(names(&stream), whole);
    let of = |name: &str| receipt(&stream).iter().find(|(known, _)| known == name).expect("an entry").1;
    assert!(of("ttfb") > 0.0 && of("igris") > 0.0, "{:?}", receipt(&stream));
    // Errors have what was known by then.
    let refused = wish("{", "1");
    assert_eq!(
        (refused.status, names(&refused)),
        (400, ["queue", "auth", "read", "parse", "plan", "igris"].map(str::to_owned).to_vec())
    );
    let fields = "Authorization: Bearer sk-igris-of-nobody-0123456789abcdef\r\nx-igris-timing: 1\r\n";
    let unknown = gateway.ask(&post_with("/v1/chat/completions", fields, any("").as_bytes()));
    assert_eq!((unknown.status, receipt(&unknown).len()), (401, 6));
    for value in ["0", "false"] {
        assert_eq!(wish(&any(""), value).header("server-timing"), None);
    }
    assert_eq!(gateway.chat(&any("")).header("server-timing"), None);
}

#[test]
fn the_oldest_decisions_are_forgotten() {
    let only = healthy();
    let gateway = chain(&[&only]).start();
    let mut client = gateway.client();
    let request = post(&any(""));
    let first = id_of(&client.ask(&request));
    decision(&gateway, &first);
    for _ in 0..1_100 {
        assert_eq!(client.ask(&request).status, 200);
    }
    assert_eq!(gateway.admin(&format!("/decisions/{first}")).status, 404);
    let dump = gateway.admin("/decisions?format=jsonl").text();
    assert_eq!(dump.lines().count(), 1_024);
    let metrics = gateway.admin("/metrics").text();
    let line = metrics.lines().find(|line| line.starts_with("igris_routing_decisions_total{policy=\"ordered\"}"));
    assert_eq!(line, Some("igris_routing_decisions_total{policy=\"ordered\"} 1101"));
}

// ---- The command line ----------------------------------------------------------------------------------------------------------

fn admin(gateway: &Gateway, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igris"));
    command.arg("admin").args(words).arg("--socket").arg(gateway.home().join("admin.sock"));
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

#[test]
fn a_person_reads_why() {
    let (first, second) = (failing(Fault::status(503)), healthy());
    let gateway = chain(&[&first, &second]).start();
    let id = id_of(&gateway.chat(&any("")));
    decision(&gateway, &id);
    let (code, report, said) = admin(&gateway, &["explain", &id]);
    assert_eq!(code, 0, "{said}");
    for part in
        [&*id, "ordered: the first as listed", "p1/gpt-4o refused 503", "p2/gpt-4o completed 200", "our own time"]
    {
        assert!(report.contains(part), "{part}\n{report}");
    }
    let (code, raw, _) = admin(&gateway, &["explain", &id, "--json"]);
    let raw: Value = serde_json::from_str(&raw).expect("JSON");
    assert_eq!((code, raw["id"].as_str()), (0, Some(&*id)));
    let (code, table, _) = admin(&gateway, &["decisions", "--provider", "p2"]);
    assert!(code == 0 && table.contains(&id) && table.contains("p2/gpt-4o"), "{table}");
    let (code, _, said) = admin(&gateway, &["explain", "req_00000000000000000000000000"]);
    assert!(code == 1 && said.contains("x-request-id") && said.lines().count() == 1, "{said}");
}

#[test]
fn recorded_decisions_are_replayed_under_another_policy() {
    let (first, second) = (healthy(), healthy());
    let gateway = chain(&[&first, &second]).start();
    let mut ids = Vec::new();
    for number in 0..12 {
        // Every other request asks the second one, so that there is evidence of both.
        let members = if number % 2 == 0 { "" } else { r#","provider":"p2""# };
        ids.push(id_of(&gateway.chat(&any(members))));
    }
    ids.iter().for_each(|id| drop(decision(&gateway, id)));
    let (code, dump, _) = admin(&gateway, &["decisions", "--jsonl"]);
    assert_eq!((code, dump.lines().count()), (0, 12));
    let place = |name: &str| gateway.home().join(name).display().to_string();
    let (facts, same, other) = (place("facts.jsonl"), place("same.toml"), place("other.toml"));
    std::fs::write(&facts, &dump).expect("written");
    std::fs::write(&same, "policy = \"ordered\"\n").expect("written");
    std::fs::write(&other, "policy = \"ordered\"\norder = [\"p2/*\"]\n").expect("written");
    let replayed = |words: &[&str]| {
        let (code, text, said) = admin(&gateway, words);
        assert_eq!(code, 0, "{said}");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let live = replayed(&["replay", "--policy", &same, "--json"]);
    assert_eq!((&live["judged"], &live["moved"], &live["without_evidence"]), (&json!(12), &json!(0), &json!(0)));
    assert_eq!(live["recorded"], live["replayed"], "who decides alike has the same figures");
    // Those that had to be asked of p2 had no other candidate; the others have both.
    let moved = replayed(&["replay", "--policy", &other, "--facts", &facts, "--json"]);
    assert_eq!((&moved["judged"], &moved["moved"]), (&json!(12), &json!(6)));
    assert_eq!(moved["first_asked"][1]["replayed"], 12, "{moved}");
    assert_eq!(moved, replayed(&["replay", "--policy", &other, "--facts", &facts, "--json"]), "the same seed");
    let (code, table, _) = admin(&gateway, &["replay", "--policy", &other, "--facts", &facts]);
    assert!(code == 0 && table.contains("latency_ms_p99") && table.contains("asked first: p2/gpt-4o"), "{table}");
    std::fs::write(&other, "policy = \"best\"\n").expect("written");
    let (code, _, said) = admin(&gateway, &["replay", "--policy", &other]);
    assert!(code == 1 && said.contains("`policy` must be") && said.lines().count() == 1, "{said}");
}
