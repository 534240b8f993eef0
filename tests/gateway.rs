//! What a client of the public listener is promised: whole answers with what they cost, and refusals that say what to do.

mod support;

use igris_load::Simulator;
use igris_load::dialect::{Expectation, without_metadata};
use igris_load::simulator::{Answer as SimulatedAnswer, Behaviour, Body, Fault, When};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{
    ACCESS_KEY, BOOKS_KEY, Client, Gateway, INFERENCE_KEY, SOON, bare, bearer, chat, chat_of, chunked, post, post_with,
    provider_key, stream_of,
};

fn simulator() -> Simulator {
    Simulator::builder().keys([provider_key("openai")]).keep_bodies().start().expect("a loopback port")
}

fn last_body(simulator: &Simulator) -> String {
    let record = simulator.truth().last().expect("a request arrived");
    String::from_utf8(record.body.expect("bodies are kept")).expect("what we send is text")
}

fn must_be_clean(simulator: &Simulator) {
    assert_eq!(simulator.truth().violations(), []);
}

// ---- The answer -------------------------------------------------------------------------------------------------------------

#[test]
fn an_answer_is_the_providers_to_the_byte_beside_its_metadata() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for extra in ["", r#","n":3,"seed":7"#, r#","user":"sim:tokens=400;reasoning=9""#, r#","max_tokens":1"#] {
        let body = chat_of("gpt-4o", "line one\nline \"two\" naïve ☂", extra);
        let answer = gateway.chat(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        Expectation::new(body.as_bytes(), None).expect("a good request").check(&answer.body).expect("the same bytes");
        let request = Body::parse(body.as_bytes()).and_then(|body| body.check()).expect("a good request");
        let mut expected = Vec::new();
        SimulatedAnswer::new(&request, Behaviour::default().tokens).unary(&mut expected);
        assert_eq!(without_metadata(&answer.body), expected, "also white space stays: {}", answer.text());
        assert_ne!(answer.body, expected, "the metadata is there");
    }
    must_be_clean(&simulator);
}

#[test]
fn metadata_says_who_answered_and_what_it_cost() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let answer = gateway.chat(&chat("hello"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let metadata = answer.json()["metadata"].clone();
    let members: BTreeSet<&str> = metadata.as_object().expect("an object").keys().map(String::as_str).collect();
    let promised = [
        "provider",
        "model_used",
        "cost_usd",
        "cost_breakdown",
        "latency_ms",
        "trace_id",
        "routing_decision",
        "attempts",
    ];
    let beyond: BTreeSet<&str> = members.difference(&BTreeSet::from(promised)).copied().collect();
    assert!(promised.iter().all(|name| members.contains(name)), "{metadata}");
    let more = ["alternatives", "exploration", "model_requested", "tenant_id", "thompson_sampling_score"];
    assert_eq!(beyond, BTreeSet::from(more), "a new member is a promise, too");
    assert_eq!(metadata["provider"], "openai");
    assert_eq!(metadata["model_used"], "gpt-4o");
    assert_eq!(metadata["attempts"], 1);
    assert!(metadata["cost_usd"].is_number(), "{metadata}");
    assert!(metadata["latency_ms"].as_u64().is_some_and(|latency| latency < 5_000), "{metadata}");
    assert!(metadata["routing_decision"].as_str().is_some_and(|why| !why.is_empty()), "{metadata}");
    assert_eq!(metadata["trace_id"].as_str(), answer.header("x-request-id"), "one id for logs, client and provider");
    let breakdown: BTreeSet<&str> =
        metadata["cost_breakdown"].as_object().expect("an object").keys().map(String::as_str).collect();
    let parts = ["input_tokens", "output_tokens", "cached_tokens", "input_cost", "output_cost"];
    assert_eq!(breakdown, BTreeSet::from(parts));
    simulator.truth().wait_settled(SOON);
    let record = simulator.truth().last().expect("a request arrived");
    assert_eq!(record.header("x-request-id"), answer.header("x-request-id"));
}

#[test]
fn the_cost_is_exact_to_the_last_digit() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    // gpt-4o: $2.50 a million tokens in, $1.25 of them from the cache, $10 out.
    let table = [
        (4_000, "sim:tokens=100", (1_000, 100, 0), (0.0025, 0.001), 0.0035),
        (4_000, "sim:tokens=100;cached=200", (1_000, 100, 200), (0.00225, 0.001), 0.00325),
        (4, "sim:tokens=1", (1, 1, 0), (0.000_002_5, 0.000_01), 0.000_012_5),
        (4, "sim:tokens=3;reasoning=4", (1, 7, 0), (0.000_002_5, 0.000_07), 0.000_072_5),
    ];
    for (bytes, user, (input, output, cached), (input_cost, output_cost), total) in table {
        let answer = gateway.chat(&chat_of("gpt-4o", &"x".repeat(bytes), &format!(r#","user":"{user}""#)));
        let body = answer.json();
        let (usage, metadata) = (&body["usage"], &body["metadata"]);
        assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(input), &json!(output)), "{user}");
        let breakdown = &metadata["cost_breakdown"];
        assert_eq!(breakdown["input_tokens"], input, "{metadata}");
        assert_eq!(breakdown["output_tokens"], output, "{metadata}");
        assert_eq!(breakdown["cached_tokens"], cached, "{metadata}");
        assert_eq!(breakdown["input_cost"].as_f64(), Some(input_cost), "{metadata}");
        assert_eq!(breakdown["output_cost"].as_f64(), Some(output_cost), "{metadata}");
        assert_eq!(metadata["cost_usd"].as_f64(), Some(total), "{metadata}");
        let header = answer.header("x-igris-cost-usd").and_then(|cost| cost.parse::<f64>().ok());
        assert_eq!(header, Some(total), "{:?}", answer.headers);
    }
}

#[test]
fn every_answer_carries_the_headers_that_are_always_there() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let answer = gateway.chat(&chat("hello"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-igris-provider"), Some("openai"));
    assert_eq!(answer.header("x-igris-model"), Some("gpt-4o"));
    assert_eq!(answer.header("x-igris-attempts"), Some("1"));
    assert!(answer.header("x-igris-overhead-us").is_some_and(|us| us.parse::<u64>().is_ok_and(|us| us < 2_000_000)));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.starts_with("req_0000")), "ours, not the provider's");
    assert_eq!(answer.header("x-ratelimit-limit-requests"), Some("10000"), "the provider's limits are kept");
    assert_eq!(answer.header("x-ratelimit-remaining-requests"), Some("9999"));
    assert!(answer.header("date").is_some());
    let stream = gateway.stream(&stream_of("hello", "")).answer;
    assert_eq!(stream.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.header("cache-control"), Some("no-cache"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("x-igris-provider"), Some("openai"));
    assert_ne!(stream.header("x-request-id"), answer.header("x-request-id"));
}

// ---- The request ------------------------------------------------------------------------------------------------------------

#[test]
fn what_we_do_not_know_reaches_the_provider_untouched() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let odd = "{ \"model\" :\t\"gpt-4o\",\n\"messages\":[{\"role\":\"user\",\"content\":\"caf\\u00e9 \\ud83d\\ude00 /\\/\"}],\r\n \
               \"temperature\":0.10000000000000000001 , \"seed\":9007199254740993, \"logit_bias\":{ }\n}\n";
    let answer = gateway.chat(odd);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(last_body(&simulator), odd);
    let unknown = chat_of("gpt-4o", "x", r#", "frobnicate" : {"a":[1e300,-0.0,"é"]}"#);
    let answer = gateway.chat(&unknown);
    assert_eq!(last_body(&simulator), unknown);
    assert_eq!(answer.status, 400, "the provider does not know it either");
    assert!(answer.message().contains("Unknown parameter: 'frobnicate'"), "{}", answer.text());
    must_be_clean(&simulator);
}

#[test]
fn an_alias_changes_the_models_name_and_nothing_else() {
    let simulator = simulator();
    let models = "[[models]]\nname = \"house\"\npolicy = \"ordered\"\ntargets = [{ provider = \"openai\", model = \"gpt-4o\" }]\n";
    let gateway = Gateway::builder().provider("openai", &simulator).config_toml(models).start();
    let body = "{\"messages\":[{\"role\":\"user\",\"content\":\"the \\\"house\\\"\"}] , \"model\": \"ho\\u0075se\" }";
    let answer = gateway.chat(body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(last_body(&simulator), body.replace("\"ho\\u0075se\"", "\"gpt-4o\""));
    Expectation::new(body.as_bytes(), Some("gpt-4o")).expect("good").check(&answer.body).expect("the same bytes");
    assert_eq!(answer.json()["metadata"]["model_used"], "gpt-4o");
    // A retired name is carried on to its living successor by the built-in table.
    let answer = gateway.chat(&chat_of("gpt-4", "hello", ""));
    assert_eq!((answer.status, answer.header("x-igris-model")), (200, Some("gpt-5.6-sol")), "{}", answer.text());
    // A name with its provider in front.
    let answer = gateway.chat(&chat_of("openai/gpt-4o", "hello", ""));
    assert_eq!((answer.status, answer.header("x-igris-model")), (200, Some("gpt-4o")), "{}", answer.text());
}

#[test]
fn native_fields_are_ours_alone() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let native = r#""routing_policy":"ordered","provider":"openai","optimization":"balanced","speculative_mode":false,"deadline_ms":5000,"council_mode":null"#;
    for body in [
        format!(r#"{{{native},"model":"gpt-4o","messages":[{{"role":"user","content":"x"}}]}}"#),
        format!(r#"{{"model":"gpt-4o",{native},"messages":[{{"role":"user","content":"x"}}]}}"#),
        format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"x"}}],{native}}}"#),
    ] {
        for path in ["/v1/chat/completions", "/v1/infer"] {
            let answer = gateway.ask(&post_with(path, &bearer(ACCESS_KEY), body.as_bytes()));
            assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text());
            assert_eq!(
                last_body(&simulator),
                r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}"#,
                "{body}"
            );
        }
    }
    let fields = "X-Igris-Routing-Policy: ordered\r\nX-Igris-Provider: openai\r\nX-Igris-Deadline-Ms: 5000\r\nX-Igris-Anything: 1\r\n";
    let answer = gateway.ask(&post_with("/v1/infer", &(bearer(ACCESS_KEY) + fields), chat("x").as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    must_be_clean(&simulator);
    let answer = gateway.chat(&chat_of("gpt-4o", "x", r#","routing_policy":"astrology""#));
    answer.must_be_fault(400, "invalid_request");
    assert_eq!(answer.json()["error"]["param"], "routing_policy");
}

#[test]
fn a_client_may_name_its_provider() {
    let (first, second) = (simulator(), Simulator::builder().start().expect("a loopback port"));
    let gateway = Gateway::builder().provider("openai", &first).own_provider("second", &second.base_url(), "").start();
    let named = |fields: &str, body: &str| {
        gateway.ask(&post_with("/v1/infer", &(bearer(ACCESS_KEY) + fields), body.as_bytes()))
    };
    for provider in ["second", "openai", "second"] {
        let answer = named(&format!("x-igris-provider: {provider}\r\n"), &chat("x"));
        assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some(provider)), "{}", answer.text());
        let answer = named("", &chat_of("gpt-4o", "x", &format!(r#","provider":"{provider}""#)));
        assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some(provider)), "{}", answer.text());
    }
    assert_eq!((first.truth().counts().requests, second.truth().counts().requests), (2, 4));
    let answer = named("x-igris-provider: nobody\r\n", &chat("x"));
    assert!(matches!(answer.status, 400 | 403 | 404), "{}", answer.text());
    // Rule T4: a field of the client picks neither destination nor credential.
    let tricks = "x-provider-host: evil\r\nX-Custom-Host: evil\r\nX-Forwarded-Host: evil\r\n";
    assert_eq!(named(tricks, &chat("x")).status, 200);
    must_be_clean(&first);
}

#[test]
fn a_refused_request_is_told_in_the_providers_words_without_its_secrets() {
    let secret = provider_key("openai");
    let message = format!("Your prompt is odd. Key {secret} and Bearer {secret} were shown.");
    let body = json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": "odd_prompt" } });
    let fault = Fault::Status { code: 400, retry_after: None, body: Some(body.to_string()) };
    let simulator = Simulator::builder().fault(fault, When::Always).start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    let answer = client.ask(&post(&chat("x")));
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.message().contains("Your prompt is odd."), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    let received = String::from_utf8_lossy(&client.received).into_owned();
    assert!(!received.contains(&secret) && !received.contains("0123456789abcdef"), "{received}");
}

// ---- Pages ------------------------------------------------------------------------------------------------------------------

#[test]
fn models_and_providers_are_listed_in_the_shapes_that_clients_read() {
    let simulator = simulator();
    let models = "[[models]]\nname = \"house\"\npolicy = \"ordered\"\ntargets = [{ provider = \"openai\", model = \"gpt-4o\" }]\n";
    let gateway = Gateway::builder().provider("openai", &simulator).config_toml(models).start();
    let list = gateway.page("/v1/models");
    assert_eq!((list.status, list.json()["object"].as_str()), (200, Some("list")), "{}", list.text());
    let ids: Vec<String> =
        list.json()["data"].as_array().expect("a list").iter().map(|model| model["id"].to_string()).collect();
    assert!(ids.contains(&"\"house\"".into()) && ids.contains(&"\"gpt-4o\"".into()), "{ids:?}");
    for model in list.json()["data"].as_array().expect("a list") {
        assert!(model["id"].is_string() && model["created"].is_u64() && model["owned_by"].is_string(), "{model}");
        assert_eq!(model["object"], "model");
    }
    let one = gateway.page("/v1/models/gpt-4o");
    assert_eq!((one.status, one.json()["id"].as_str()), (200, Some("gpt-4o")), "{}", one.text());
    gateway.page("/v1/models/gpt-none").must_be_fault(404, "model_not_found");
    let providers = gateway.page("/v1/providers");
    assert_eq!(providers.status, 200);
    let openai = providers.json()["providers"][0].clone();
    assert_eq!((openai["name"].as_str(), openai["status"].as_str()), (Some("openai"), Some("active")), "{openai}");
    assert_eq!(openai["health"], "healthy");
    assert!(openai["models"].as_array().is_some_and(|models| models.contains(&json!("gpt-4o"))), "{openai}");
    for page in ["/v1/models", "/v1/models/gpt-4o", "/v1/providers"] {
        gateway.ask(&bare("GET", page, "")).must_be_fault(401, "invalid_api_key");
    }
}

#[test]
fn health_needs_no_key_and_head_has_no_body() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for page in ["/v1/health", "/v1/health/live", "/v1/health/ready", "/", "/v1/health/"] {
        let answer = gateway.ask(&bare("GET", page, ""));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{page}");
        assert!(answer.json().is_object(), "{page}: {}", answer.text());
    }
    assert!(gateway.ask(&bare("GET", "/v1/health", "")).json()["version"].is_string());
    let mut client = gateway.client();
    client.send(&[bare("HEAD", "/", ""), bare("GET", "/v1/health/live", "")].concat());
    assert_eq!(client.answer_to_head().status, 200);
    assert_eq!(client.answer().json()["status"], "ok", "the answer to HEAD had no body");
}

#[test]
fn a_wrong_path_or_method_is_told_the_right_one() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let ask = |method: &str, path: &str| gateway.ask(&bare(method, path, &bearer(ACCESS_KEY)));
    let answer = ask("POST", "/v1/chat/completion");
    answer.must_be_fault(404, "not_found");
    assert!(answer.message().contains("/v1/chat/completion") && answer.message().contains("POST"), "{}", answer.text());
    let answer = ask("POST", "/v1/v1/chat/completions");
    answer.must_be_fault(404, "not_found");
    assert!(answer.message().contains("/v1 twice"), "{}", answer.text());
    let answer = ask("GET", "/v1/chat/completions");
    answer.must_be_fault(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = ask("DELETE", "/v1/models");
    answer.must_be_fault(405, "method_not_allowed");
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")));
    // Query strings and a trailing slash are no obstacle; Claude Code sends `?beta=true`.
    let answer = gateway.ask(&post_with("/v1/chat/completions/?beta=true", &bearer(ACCESS_KEY), chat("x").as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = gateway.chat(&chat_of("gpt-4oo", "x", ""));
    answer.must_be_fault(404, "model_not_found");
    assert!(answer.message().contains("gpt-4o"), "a near name is shown: {}", answer.text());
}

// ---- Who may ask ------------------------------------------------------------------------------------------------------------

#[test]
fn exactly_one_good_key_opens() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let ask = |path: &str, fields: &str| gateway.ask(&post_with(path, fields, chat("x").as_bytes()));
    let path = "/v1/chat/completions";
    for fields in [
        bearer(INFERENCE_KEY),
        format!("x-api-key: {INFERENCE_KEY}\r\n"),
        format!("X-Goog-Api-Key: {INFERENCE_KEY}\r\n"),
        format!("api-key: {INFERENCE_KEY}\r\n"),
        format!("authorization: bearer {INFERENCE_KEY}\r\n"),
    ] {
        let answer = ask(path, &fields);
        assert_eq!(answer.status, 200, "{fields}: {}", answer.text());
    }
    let reached = simulator.truth().counts().requests;
    let shorter = &INFERENCE_KEY[..INFERENCE_KEY.len() - 1];
    for fields in [
        String::new(),
        bearer("sk-igris-wrong-0123456789abcdef-0123456789"),
        bearer(shorter),
        bearer(&format!("{INFERENCE_KEY}0")),
        bearer(&INFERENCE_KEY.to_uppercase()),
        bearer(""),
        format!("Authorization: Basic {INFERENCE_KEY}\r\n"),
        bearer(INFERENCE_KEY).repeat(2),
        format!("{}x-api-key: {INFERENCE_KEY}\r\n", bearer(INFERENCE_KEY)),
        format!("x-api-key: {INFERENCE_KEY}\r\nx-goog-api-key: {INFERENCE_KEY}\r\n"),
        bearer(&format!("{INFERENCE_KEY}, {INFERENCE_KEY}")),
    ] {
        let answer = ask(path, &fields);
        answer.must_be_fault(401, "invalid_api_key");
        assert!(!answer.text().contains("canary"), "the key is not repeated: {}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "authentication_error");
    }
    for query in ["key=", "api_key=", "access_token=", "x=1&key=", "%6bey="] {
        ask(&format!("{path}?{query}{INFERENCE_KEY}"), "").must_be_fault(401, "invalid_api_key");
        ask(&format!("{path}?{query}{INFERENCE_KEY}"), &bearer(INFERENCE_KEY)).must_be_fault(401, "invalid_api_key");
    }
    assert_eq!(simulator.truth().counts().requests, reached, "nothing of it reached the provider");
}

#[test]
fn a_key_without_the_scope_is_told_which_one_it_lacks() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let answer = gateway.ask(&post_with("/v1/chat/completions", &bearer(BOOKS_KEY), chat("x").as_bytes()));
    answer.must_be_fault(403, "insufficient_scope");
    assert!(answer.message().contains("inference"), "{}", answer.text());
    assert_eq!(simulator.truth().counts().requests, 0);
}

#[test]
fn a_key_is_held_to_its_models_and_providers_and_time() {
    let (first, second) = (simulator(), Simulator::builder().start().expect("a loopback port"));
    let keys = [
        ("models", r#"limits = { models = ["gpt-4o-m*"] }"#),
        ("providers", r#"limits = { providers = ["second"] }"#),
        ("past", "expires_at = 2020-01-01T00:00:00Z"),
    ];
    let text = |name: &str| format!("sk-igris-canary-limited-by-{name}-0123456789");
    let mut builder = Gateway::builder().provider("openai", &first).own_provider("second", &second.base_url(), "");
    for (name, line) in keys {
        let section = format!(
            "[[access_keys]]\nname = \"{name}\"\ntenant = \"default\"\nkey = {{ file = \"{{home}}/{name}\" }}\n{line}\n"
        );
        builder = builder.file(name, &text(name)).config_toml(&section);
    }
    let gateway = builder.start();
    let ask = |name: &str, model: &str| {
        gateway.ask(&post_with("/v1/infer", &bearer(&text(name)), chat_of(model, "x", "").as_bytes()))
    };
    ask("models", "gpt-4o").must_be_fault(403, "model_not_allowed");
    assert_eq!(ask("models", "gpt-4o-mini").status, 200);
    for _ in 0..3 {
        let answer = ask("providers", "gpt-4o");
        assert_eq!((answer.status, answer.header("x-igris-provider")), (200, Some("second")), "{}", answer.text());
    }
    ask("providers", "gpt-4.1").must_be_fault(403, "model_not_allowed");
    ask("past", "gpt-4o").must_be_fault(401, "invalid_api_key");
    let models = gateway.ask(&bare("GET", "/v1/models", &bearer(&text("models"))));
    assert!(models.text().contains("gpt-4o-mini") && !models.text().contains("\"gpt-4o\""), "{}", models.text());
}

// ---- Bodies -----------------------------------------------------------------------------------------------------------------

/// A chat body of exactly so many bytes.
fn sized(bytes: usize) -> String {
    let empty = chat("").len();
    let body = chat(&"x".repeat(bytes - empty));
    assert_eq!(body.len(), bytes);
    body
}

#[test]
fn a_body_above_the_limit_is_refused_before_it_is_read() {
    const LIMIT: usize = 4_096;
    let simulator = simulator();
    let gateway = Gateway::builder().provider("openai", &simulator).limits("body_bytes = \"4KiB\"").start();
    for bytes in [LIMIT - 1, LIMIT] {
        let answer = gateway.chat(&sized(bytes));
        assert_eq!(answer.status, 200, "{bytes}: {}", answer.text());
        let framed =
            "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n".to_owned() + &bearer(ACCESS_KEY);
        let request = [bare("POST", "/v1/infer", &framed), chunked(sized(bytes).as_bytes(), 1_000)].concat();
        assert_eq!(gateway.ask(&request).status, 200, "{bytes} in chunks");
    }
    let reached = simulator.truth().counts().requests;
    let mut client = gateway.client();
    let length = format!("{}Content-Length: {}\r\n", bearer(ACCESS_KEY), LIMIT + 1);
    client.send(&bare("POST", "/v1/infer", &length));
    let answer = client.answer();
    answer.must_be_fault(413, "request_too_large");
    assert!(answer.message().contains("4096"), "{}", answer.text());
    assert!(client.closes_within(SOON), "the body that is not read must not be taken for a request");
    let framed = "Transfer-Encoding: chunked\r\n".to_owned() + &bearer(ACCESS_KEY);
    let request = [bare("POST", "/v1/infer", &framed), chunked(sized(LIMIT + 1).as_bytes(), 1_000)].concat();
    gateway.ask(&request).must_be_fault(413, "request_too_large");
    assert_eq!(simulator.truth().counts().requests, reached);
}

#[test]
fn a_body_that_is_no_chat_request_is_refused_with_the_member_at_fault() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    let table: [(String, Option<&str>); 16] = [
        (String::new(), None),
        ("{".into(), None),
        ("nonsense".into(), None),
        ("[]".into(), None),
        (format!(r#"{{"model":"gpt-4o",{messages}}} trailing"#), None),
        (format!(r#"{{"model":"gpt-4o",{messages},}}"#), None),
        (format!(r#"{{"model":"gpt-4o",{messages},"x":01}}"#), None),
        (format!(r#"{{"model":"gpt-4o",{messages},"x":"\x"}}"#), None),
        (format!(r#"{{{messages}}}"#), Some("model")),
        (format!(r#"{{"model":5,{messages}}}"#), Some("model")),
        (format!(r#"{{"model":"gpt-4o",{messages},"model":"gpt-4o"}}"#), Some("model")),
        (format!(r#"{{"model":"gpt-4o",{messages},"m\u006fdel":"gpt-4o-mini"}}"#), Some("model")),
        (format!(r#"{{"model":"gpt-4o",{messages},"stream":false,"stream":true}}"#), Some("stream")),
        (format!(r#"{{"model":"gpt-4o",{messages},"stream":"true"}}"#), Some("stream")),
        (r#"{"model":"gpt-4o"}"#.into(), Some("messages")),
        (r#"{"model":"gpt-4o","messages":"x"}"#.into(), Some("messages")),
    ];
    let mut client = gateway.client();
    for (body, param) in table {
        let answer = client.ask(&post(&body));
        answer.must_be_fault(400, "invalid_request");
        assert_eq!(answer.json()["error"]["param"].as_str(), param, "{body}: {}", answer.text());
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    let mut broken = chat("x").into_bytes();
    let place = broken.len() - 5;
    broken[place] = 0xff;
    client.ask(&post_with("/v1/infer", &bearer(ACCESS_KEY), &broken)).must_be_fault(400, "invalid_request");
    assert_eq!(simulator.truth().counts().requests, 0);
    assert_eq!(client.ask(&post(&chat("x"))).status, 200, "the connection lived through all of it");
}

#[test]
fn nesting_has_a_limit_and_just_below_it_passes() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    // Rule H20: 64 levels, the object itself among them.
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        chat_of("gpt-4o", "x", &format!(r#","deep":{open}{close}"#))
    };
    for (levels, arrives) in [(63, 1), (64, 2), (65, 2), (60_000, 2)] {
        let answer = gateway.chat(&nested(levels));
        assert_eq!(answer.status, 400, "nobody knows `deep`: {}", answer.text());
        assert_eq!(simulator.truth().counts().requests, arrives, "{levels} levels");
    }
}

#[test]
fn a_compressed_body_is_refused() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for coding in ["gzip", "br", "identity, gzip", "deflate"] {
        let fields = format!("{}Content-Encoding: {coding}\r\n", bearer(ACCESS_KEY));
        let answer = gateway.ask(&post_with("/v1/chat/completions", &fields, chat("x").as_bytes()));
        answer.must_be_fault(415, "invalid_request");
    }
    assert_eq!(simulator.truth().counts().requests, 0);
}

// ---- HTTP as clients speak it -------------------------------------------------------------------------------------------------

#[test]
fn an_old_client_is_served_and_its_connection_closed() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let old = |body: &str| {
        let length = body.len();
        let key = bearer(ACCESS_KEY);
        format!("POST /v1/chat/completions HTTP/1.0\r\n{key}Content-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    let mut client = gateway.client();
    let body = chat("old");
    let answer = client.ask(&old(&body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("the same bytes");
    assert!(client.closes_within(SOON));
    let mut client = gateway.client();
    let body = stream_of("old", "");
    client.send(&old(&body));
    let stream = client.stream();
    assert_eq!(stream.answer.header("transfer-encoding"), None, "HTTP/1.0 has no chunks");
    assert_eq!(stream.events.last().expect("events").bytes, b"data: [DONE]\n\n");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let bodies: Vec<String> = (0..6)
        .map(|number| {
            let wait = if number % 2 == 0 { "sim:latency=40ms" } else { "sim:latency=0ms" };
            chat_of("gpt-4o", &format!("number {number}"), &format!(r#","user":"{wait}""#))
        })
        .collect();
    let mut client = gateway.client();
    client.send(&bodies.iter().flat_map(|body| post(body)).collect::<Vec<u8>>());
    client.send(&bare("GET", "/v1/health/live", ""));
    for body in &bodies {
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
        Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("its own answer");
    }
    assert_eq!(client.answer().json()["status"], "ok");
    must_be_clean(&simulator);
}

#[test]
fn bodies_may_come_in_chunks_of_any_size() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let body = chat("in pieces, with an emoji \u{1f600}");
    let mut client = gateway.client();
    for size in [1, 2, 3, 7, 64, 100_000] {
        let fields = "Transfer-Encoding: Chunked\r\n".to_owned() + &bearer(ACCESS_KEY);
        let answer =
            client.ask(&[bare("POST", "/v1/chat/completions", &fields), chunked(body.as_bytes(), size)].concat());
        assert_eq!(answer.status, 200, "chunks of {size}: {}", answer.text());
        assert_eq!(last_body(&simulator), body, "chunks of {size}");
    }
    must_be_clean(&simulator);
    let record = simulator.truth().last().expect("a request arrived");
    assert!(!record.header_names().contains(&"x-trailer"), "trailers are dropped");
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let body = chat("slow");
    let mut client = gateway.client();
    for byte in post(&body) {
        client.send(&[byte]);
    }
    let answer = client.answer();
    Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("the same bytes");
}

#[test]
fn a_client_that_waits_to_be_asked_is_asked() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let body = chat("patient");
    let head = |key: &str| {
        let length = body.len();
        let fields = format!("{}Expect: 100-continue\r\nContent-Length: {length}\r\n", bearer(key));
        bare("POST", "/v1/chat/completions", &fields)
    };
    let mut client = gateway.client();
    client.send(&head(ACCESS_KEY));
    assert_eq!(client.next_answer().status, 100);
    assert_eq!(simulator.truth().counts().requests, 0);
    let answer = client.ask(body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut client = gateway.client();
    client.send(&[head(ACCESS_KEY), body.as_bytes().to_vec()].concat());
    assert_eq!(client.next_answer().status, 200, "the body was there already: nobody had to be asked");
    let mut client = gateway.client();
    client.send(&head("sk-igris-wrong-0123456789abcdef-0123456789"));
    client.next_answer().must_be_fault(401, "invalid_api_key");
    assert!(client.closes_within(SOON), "whether the body still comes cannot be known");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    for number in 0..25 {
        let body = if number % 5 == 4 { stream_of("x", "") } else { chat(&format!("number {number}")) };
        let answer = client.ask(&post(&body));
        assert_eq!((answer.status, answer.whole), (200, true), "{number}");
        assert_eq!(answer.header("connection"), None);
    }
    assert_eq!(simulator.truth().connections_opened(), 1, "one connection served all");
    for _ in 0..5 {
        assert_eq!(gateway.chat(&chat("another client")).status, 200);
    }
    assert_eq!(simulator.truth().connections_opened(), 1, "other clients share it");
    let answer =
        client.ask(&post_with("/v1/infer", &(bearer(ACCESS_KEY) + "Connection: close\r\n"), chat("x").as_bytes()));
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(client.closes_within(SOON));
}

#[test]
fn a_connection_serves_so_many_exchanges_and_heads_are_as_long_as_configured() {
    let simulator = simulator();
    let limits = "exchanges_per_connection = 3\nhead_bytes = \"2KiB\"\nfields = 10";
    let gateway = Gateway::builder().provider("openai", &simulator).limits(limits).start();
    let mut client = gateway.client();
    let closing = (1..=3).map(|_| client.ask(&post(&chat("x"))).header("connection").map(str::to_owned));
    assert_eq!(closing.collect::<Vec<_>>(), [None, None, Some("close".to_owned())]);
    assert!(client.closes_within(SOON));
    let health = |fields: &str| gateway.ask(&bare("GET", "/v1/health", fields)).status;
    assert_eq!((health(&"X-A: a\r\n".repeat(9)), health(&"X-A: a\r\n".repeat(10))), (200, 431));
    let empty = bare("GET", "/v1/health", "X-A: \r\n").len();
    let long = |bytes: usize| health(&format!("X-A: {}\r\n", "a".repeat(bytes - empty)));
    assert_eq!((long(2_047), long(2_048), long(2_049)), (200, 200, 431));
}

#[test]
fn the_driver_is_the_one_that_was_asked_for() {
    let gateway = Gateway::before(&simulator());
    let status = gateway.admin("/status");
    assert_eq!(status.status, 200, "{}", status.text());
    let asked = std::env::var("IGRIS_TEST_IO").unwrap_or_else(|_| "auto".into());
    let driver = status.json()["driver"].as_str().unwrap_or_default().to_owned();
    assert!(
        driver == asked || (asked == "auto" && ["io_uring", "epoll"].contains(&driver.as_str())),
        "{}",
        status.text()
    );
}

#[test]
fn two_workers_serve_as_one_does() {
    let simulator = simulator();
    let gateway = Gateway::builder().provider("openai", &simulator).workers(2).start();
    let mut clients: Vec<Client> = (0..16).map(|_| gateway.client()).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let body = chat(&format!("round {round}, client {number}"));
            let answer = client.ask(&post(&body));
            Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("its own answer");
        }
    }
    let record = simulator.truth().last().expect("requests arrived");
    let allowed = BTreeSet::from([
        "host",
        "authorization",
        "content-type",
        "accept",
        "accept-encoding",
        "user-agent",
        "via",
        "x-request-id",
        "content-length",
        "idempotency-key",
    ]);
    let sent: BTreeSet<&str> = record.header_names().into_iter().collect();
    assert_eq!(sent, allowed, "rule H11: an allow-list");
    assert_eq!(record.key, Some(igris_load::simulator::masked(&provider_key("openai"))));
    assert!(matches!(record.header("user-agent"), Some(agent) if agent.starts_with("igris/")));
    assert_eq!(record.header("content-type"), Some("application/json"));
    let _: Value = serde_json::from_slice(&record.body.expect("kept")).expect("what we send is JSON");
}
