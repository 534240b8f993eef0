//! The simulator speaks Anthropic's Messages as the real service does: its refusals, its sequence of events, its seals.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Fault, Outcome, Surface, When};
use serde_json::{Value, json};
use wire::{Reply, Request, SOON, with};

const KEY: &str = "sk-ant-api03-0123456789abcdef";
const OLD: &str = "claude-sonnet-4-5";
const NEW: &str = "claude-opus-5-5";

fn simulator() -> Simulator {
    Simulator::builder().dialect(Surface::Anthropic).keys([KEY]).start().expect("a loopback port")
}

fn request(body: &Value) -> Request {
    Request::post("/v1/messages", body).field("x-api-key", KEY).field("anthropic-version", "2023-06-01")
}

fn chat(extra: Value) -> Value {
    let base = json!({ "model": OLD, "max_tokens": 100, "messages": [{ "role": "user", "content": "hello" }] });
    with(&base, &extra)
}

fn ask(simulator: &Simulator, body: &Value) -> Reply {
    request(body).send(simulator)
}

fn good(simulator: &Simulator, body: &Value) -> Value {
    let reply = ask(simulator, body);
    assert_eq!(reply.status, 200, "{body} gave {}", reply.text());
    reply.json()
}

fn weather() -> Value {
    json!({ "name": "weather", "input_schema": { "type": "object", "properties": { "city": { "type": "string" } } } })
}

/// The kinds of a stream's events in order, runs of deltas as one.
fn kinds(reply: &Reply) -> Vec<String> {
    let mut kinds: Vec<String> = Vec::new();
    for (name, data) in reply.events() {
        assert_eq!(data["type"], name, "the name of an event is its type");
        let kind = data["delta"]["type"].as_str().unwrap_or(&name).to_owned();
        if kinds.last() != Some(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

#[test]
fn transcripts_are_kept() {
    let simulator = simulator();
    assert_eq!(simulator.base_url(), simulator.origin());
    let unary = request(&chat(json!({ "metadata": { "user_id": "sim:tokens=6;cached=1" } })));
    let answer = unary.transcript(&simulator, "anthropic-unary").json();
    assert_eq!(answer["usage"]["cache_read_input_tokens"], 1);
    assert_eq!(answer["usage"]["input_tokens"], 1, "two prompt tokens, one of them from the cache");
    let body = json!({ "model": "claude-sonnet-4-6", "max_tokens": 2000, "stream": true, "tools": [weather()],
        "thinking": { "type": "adaptive" },
        "messages": [{ "role": "user", "content": "please use the tool" }] });
    let stream = request(&body).transcript(&simulator, "anthropic-stream");
    assert_eq!(stream.events().last().expect("events").0, "message_stop");
    request(&chat(json!({ "colour": 1 }))).transcript(&simulator, "anthropic-refusal");
}

#[test]
fn wrong_requests_are_refused_in_its_words() {
    let simulator = simulator();
    let said = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let table = [
        (json!({ "colour": 1 }), "colour: Extra inputs are not permitted"),
        (json!({ "max_tokens": null }), "max_tokens: Field required"),
        (json!({ "messages": null }), "messages: Field required"),
        (json!({ "max_tokens": "many" }), "max_tokens: Input should be a valid integer"),
        (json!({ "max_tokens": 900_000 }), "max_tokens: 900000 > 64000"),
        (json!({ "temperature": 1.5 }), "temperature: Input should be less than or equal to 1"),
        (json!({ "temperature": 0.5, "top_p": 0.5 }), "cannot both be specified"),
        (json!({ "stream": "yes" }), "stream: Input should be a valid boolean"),
        (json!({ "stop_sequences": [" "] }), "stop_sequences: each stop sequence must contain non-whitespace"),
        (json!({ "messages": [] }), "messages: at least one message is required"),
        (json!({ "messages": [{ "role": "system", "content": "x" }] }), "messages.0.role: Input should be 'user', "),
        (said(json!("")), "messages.0: all messages must have non-empty content"),
        (said(json!([{ "type": "text", "text": " " }])), "text content blocks must contain non-whitespace text"),
        (said(json!([{ "type": "text", "text": "x", "mood": 1 }])), "messages.0.content.0.text.mood: Extra inputs"),
        (said(json!([{ "type": "film" }])), "messages.0.content.0: Input tag 'film' found using 'type'"),
        (
            said(json!([{ "type": "image", "source": { "type": "base64", "media_type": "image/bmp", "data": "" } }])),
            "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', ",
        ),
        (said(json!([{ "type": "tool_use", "id": "a", "name": "b", "input": {} }])), "only be in `assistant` messages"),
        (json!({ "messages": [{ "role": "assistant", "content": "x" }] }), "first message must use the \"user\" role"),
        (json!({ "system": 4 }), "system: Input should be a valid list"),
        (json!({ "tools": [{ "name": "f" }] }), "tools.0.custom.input_schema: Field required"),
        (json!({ "tools": [{ "name": "f", "input_schema": {} }] }), "tools.0.custom.input_schema.type: Field required"),
        (json!({ "tools": [weather(), weather()] }), "tools: Tool names must be unique."),
        (json!({ "tool_choice": { "type": "auto" } }), "may only be specified while providing tools"),
        (json!({ "tools": [weather()], "tool_choice": { "type": "tool", "name": "g" } }), "Tool 'g' not found"),
        (json!({ "thinking": { "type": "enabled", "budget_tokens": 5 } }), "thinking.enabled.budget_tokens: Input"),
        (json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }), "`max_tokens` must be greater than"),
        (json!({ "thinking": { "type": "adaptive" } }), "adaptive thinking is not supported on this model"),
        (json!({ "output_config": { "effort": "high" } }), "output_config.effort: 'high' is not supported"),
        (json!({ "metadata": { "user_id": "a@b.example" } }), "appears to contain an email address"),
        (json!({ "metadata": { "user_id": "sim:fault=nonsense" } }), "sim: unknown fault"),
        (
            json!({ "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } } }),
            "'additionalProperties' must be explicitly set to false",
        ),
    ];
    for (extra, words) in table {
        let reply = ask(&simulator, &chat(extra.clone()));
        let error = reply.json();
        assert_eq!(reply.status, 400, "{extra} gave {error}");
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("invalid_request_error")));
        let message = error["error"]["message"].as_str().expect("a sentence");
        assert!(message.contains(words), "{extra} gave {message:?}");
        assert_eq!(error["request_id"].as_str(), reply.field("request-id"), "the id is in both places");
    }
    assert!(simulator.truth().wait_settled(SOON));
    assert_eq!(simulator.truth().counts().prompt_tokens, 0, "refusals cost nothing");
}

#[test]
fn every_model_has_its_own_limits() {
    let simulator = simulator();
    let forced = json!({ "type": "any" });
    let table = [
        (json!({ "model": "claude-opus-4-7", "temperature": 0.5 }), 400),
        (json!({ "model": "claude-sonnet-5-5", "top_k": 5 }), 400),
        (json!({ "model": "claude-sonnet-4-6", "temperature": 0.5 }), 200),
        (json!({ "model": "claude-opus-4-7", "thinking": { "type": "enabled", "budget_tokens": 1024 } }), 400),
        (json!({ "model": "claude-opus-4-7", "thinking": { "type": "adaptive" } }), 200),
        (json!({ "model": NEW, "thinking": { "type": "disabled" } }), 400),
        (json!({ "model": NEW, "tools": [weather()], "tool_choice": forced }), 400),
        (json!({ "model": "claude-fable-5-1", "tools": [weather()], "tool_choice": forced }), 400),
        (json!({ "model": "claude-haiku-5-5", "tools": [weather()], "tool_choice": forced }), 200),
        (json!({ "model": "claude-sonnet-5-5", "tools": [weather()], "tool_choice": forced }), 200),
        (json!({ "model": "claude-sonnet-4-6", "output_config": { "effort": "xhigh" } }), 400),
        (json!({ "model": "claude-opus-4-7", "output_config": { "effort": "xhigh" } }), 200),
        (json!({ "model": "claude-nobody" }), 404),
    ];
    for (extra, status) in table {
        let reply = ask(&simulator, &chat(extra.clone()));
        assert_eq!(reply.status, status, "{extra} gave {}", reply.text());
    }
    let prefill = json!([{ "role": "user", "content": "x" }, { "role": "assistant", "content": "Well" }]);
    assert_eq!(ask(&simulator, &chat(json!({ "messages": prefill }))).status, 200);
    assert_eq!(ask(&simulator, &chat(json!({ "messages": prefill, "model": "claude-sonnet-4-6" }))).status, 400);
    let trailing = json!([{ "role": "user", "content": "x" }, { "role": "assistant", "content": "Well " }]);
    assert_eq!(ask(&simulator, &chat(json!({ "messages": trailing }))).status, 400);
}

#[test]
fn keys_and_versions_are_checked() {
    let simulator = simulator();
    let body = chat(json!({}));
    let bare = request(&body).without("x-api-key");
    let bearer = format!("Bearer {KEY}");
    assert_eq!(bare.clone().field("authorization", &bearer).send(&simulator).status, 200);
    for wrong in
        [bare.clone(), bare.clone().field("x-api-key", "sk-ant-wrong"), bare.field("authorization", "Bearer x")]
    {
        let reply = wrong.send(&simulator);
        assert_eq!((reply.status, &reply.json()["error"]["type"]), (401, &json!("authentication_error")));
    }
    let wins = request(&body).without("x-api-key").field("x-api-key", "wrong").field("authorization", &bearer);
    assert_eq!(wins.send(&simulator).status, 401, "x-api-key wins over a bearer key");
    let unversioned = request(&body).without("anthropic-version");
    assert!(unversioned.send(&simulator).text().contains("anthropic-version: header is required"));
    let strict = |extra| request(&chat(extra)).without("anthropic-version").field("anthropic-version", "2026-10-21");
    assert_eq!(strict(json!({})).send(&simulator).status, 200);
    let reply = strict(json!({ "temperature": 1 })).send(&simulator);
    assert!(reply.text().contains("temperature: Extra inputs are not permitted"), "{}", reply.text());
    let beta = request(&chat(json!({ "context_management": { "edits": [] } })));
    assert!(beta.send(&simulator).text().contains("context_management: Extra inputs are not permitted"));
    let beta = beta.field("anthropic-beta", "other-2025-01-01, context-management-2025-06-27");
    assert_eq!(beta.send(&simulator).status, 200, "a beta makes its members known");
    let other = Request::new("GET", "/v1/nothing").field("x-api-key", KEY).field("anthropic-version", "2023-06-01");
    assert_eq!(other.send(&simulator).json()["error"]["type"], "not_found_error");
}

#[test]
fn a_stream_says_what_the_unary_answer_says() {
    let simulator = simulator();
    for extra in [
        json!({}),
        json!({ "max_tokens": 3 }),
        json!({ "tools": [weather()], "messages": [{ "role": "user", "content": "use the tools" }] }),
        json!({ "model": "claude-sonnet-4-6", "max_tokens": 5000, "thinking": { "type": "enabled", "budget_tokens": 1024 } }),
        json!({ "model": NEW }),
        json!({ "model": NEW, "messages": [{ "role": "user", "content": "think in secret" }] }),
        json!({ "metadata": { "user_id": "sim:block=1" } }),
    ] {
        let whole = good(&simulator, &chat(extra.clone()));
        let reply = ask(&simulator, &with(&chat(extra.clone()), &json!({ "stream": true })));
        assert!(reply.whole && kinds(&reply).contains(&"ping".to_owned()));
        assert_eq!(assemble(&reply), whole, "{extra}");
    }
}

/// The message that a client puts together from a stream.
fn assemble(reply: &Reply) -> Value {
    let mut message = Value::Null;
    let mut input = String::new();
    for (name, data) in reply.events() {
        let index = data["index"].as_u64().unwrap_or_default() as usize;
        match name.as_str() {
            "message_start" => message = data["message"].clone(),
            "content_block_start" => {
                assert_eq!(message["content"].as_array().map(Vec::len), Some(index), "blocks come one after the other");
                message["content"].as_array_mut().expect("a list").push(data["content_block"].clone());
                input.clear();
            }
            "content_block_delta" => {
                let block = &mut message["content"][index];
                let delta = &data["delta"];
                for (kind, member) in
                    [("text_delta", "text"), ("thinking_delta", "thinking"), ("signature_delta", "signature")]
                {
                    if delta["type"] == kind {
                        let text = block[member].as_str().expect("text").to_owned();
                        block[member] = json!(text + delta[member].as_str().expect("a piece"));
                    }
                }
                input.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" if !input.is_empty() => {
                message["content"][index]["input"] = serde_json::from_str(&input).expect("whole JSON");
                input.clear();
            }
            "message_delta" => {
                message["usage"] = data["usage"].clone();
                for (member, value) in data["delta"].as_object().expect("an object") {
                    message[member] = value.clone();
                }
            }
            _ => {}
        }
    }
    message
}

#[test]
fn events_come_in_their_order() {
    let simulator = simulator();
    let body = json!({ "model": "claude-sonnet-4-6", "max_tokens": 5000, "stream": true, "tools": [weather()],
        "thinking": { "type": "adaptive" }, "metadata": { "user_id": "sim:preface=2" },
        "messages": [{ "role": "user", "content": "use the tool" }] });
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "thinking_delta",
        "signature_delta",
        "content_block_stop",
        "content_block_start",
        "text_delta",
        "content_block_stop",
        "content_block_start",
        "input_json_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds(&ask(&simulator, &body)), expected);
}

#[test]
fn answers_end_for_a_reason() {
    let simulator = simulator();
    let reason = |extra| good(&simulator, &chat(extra))["stop_reason"].as_str().expect("a reason").to_owned();
    assert_eq!(reason(json!({})), "end_turn");
    assert_eq!(reason(json!({ "max_tokens": 2 })), "max_tokens");
    assert_eq!(reason(json!({ "metadata": { "user_id": "sim:block=1" } })), "refusal");
    assert_eq!(reason(json!({ "tools": [weather()], "tool_choice": { "type": "any" } })), "tool_use");
    let text = good(&simulator, &chat(json!({})))["content"][0]["text"].as_str().expect("text").to_owned();
    let word = text.split_whitespace().nth(4).expect("many words");
    let stopped = good(&simulator, &chat(json!({ "stop_sequences": [word] })));
    assert_eq!((&stopped["stop_reason"], &stopped["stop_sequence"]), (&json!("stop_sequence"), &json!(word)));
    assert!(!stopped["content"][0]["text"].as_str().expect("text").contains(word));
}

#[test]
fn a_call_must_be_answered_at_once_and_in_place() {
    let simulator = simulator();
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "weather", "input": {} });
    let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": "42" });
    let text = json!({ "type": "text", "text": "x" });
    let user = |content: Value| json!({ "role": "user", "content": content });
    let assistant = |content: Value| json!({ "role": "assistant", "content": content });
    let both = assistant(json!([call("a"), call("b")]));
    let table = [
        (json!([user(json!("x")), both, user(json!([result("b"), result("a"), text]))]), ""),
        (json!([user(json!("x")), both, user(json!([result("a")])), user(json!([result("b")]))]), ""),
        (json!([user(json!("x")), both, user(json!([result("a")]))]), "ids were found without `tool_result`"),
        (json!([user(json!("x")), both]), "ids were found without `tool_result`"),
        (json!([user(json!("x")), both, user(json!([text, result("a"), result("b")]))]), "ids were found without"),
        (json!([user(json!([result("a")]))]), "unexpected `tool_use_id`"),
        (json!([user(json!("x")), both, user(json!([result("a"), result("b"), result("a")]))]), "a single result"),
        (json!([user(json!("x")), assistant(json!([call("a:b")])), user(json!([result("a:b")]))]), "match pattern"),
    ];
    for (messages, words) in table {
        let reply = ask(&simulator, &chat(json!({ "messages": messages, "tools": [weather()] })));
        assert_eq!(reply.status, if words.is_empty() { 200 } else { 400 }, "{messages} gave {}", reply.text());
        assert!(reply.text().contains(words), "{messages} gave {}", reply.text());
    }
}

#[test]
fn a_thought_must_come_back_as_it_was() {
    let simulator = simulator();
    for (model, extra) in [
        (OLD, json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } })),
        ("claude-sonnet-4-6", json!({ "thinking": { "type": "adaptive" } })),
        (NEW, json!({})),
        (NEW, json!({ "thinking": { "type": "adaptive", "display": "summarized" } })),
    ] {
        let question = json!({ "role": "user", "content": "use the tool" });
        let base = chat(json!({ "model": model, "max_tokens": 5000, "tools": [weather()], "messages": [question] }));
        let base = with(&base, &extra);
        let answer = good(&simulator, &base);
        let content = answer["content"].clone();
        assert_eq!((&content[0]["type"], &content[1]["type"]), (&json!("thinking"), &json!("tool_use")));
        let result = json!([{ "type": "tool_result", "tool_use_id": content[1]["id"], "content": "42" }]);
        let go_on = |content: Value| {
            let assistant = json!({ "role": "assistant", "content": content });
            let messages = json!([question, assistant, { "role": "user", "content": result }]);
            ask(&simulator, &with(&base, &json!({ "messages": messages })))
        };
        assert_eq!(go_on(content.clone()).status, 200, "{model}");
        let lost = go_on(json!([content[1]]));
        assert_eq!(lost.status, 400, "{model}");
        assert!(lost.text().contains("Expected `thinking` or `redacted_thinking`, but found `tool_use`"));
        let mut bent = content.clone();
        bent[0]["thinking"] = json!("something else");
        assert!(go_on(bent).text().contains("Invalid `signature` in `thinking` block"), "{model}");
        let mut unsigned = content.clone();
        unsigned[0].as_object_mut().expect("a block").remove("signature");
        assert!(go_on(unsigned).text().contains("thinking.signature: Field required"), "{model}");
    }
}

#[test]
fn a_call_made_elsewhere_needs_no_thought_where_thinking_is_free() {
    let simulator = simulator();
    let messages = json!([
        { "role": "user", "content": "x" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "call_1", "name": "weather", "input": {} }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "call_1", "content": "42" }] },
    ]);
    let body = |model, thinking| {
        chat(
            json!({ "model": model, "max_tokens": 5000, "tools": [weather()], "messages": messages, "thinking": thinking }),
        )
    };
    assert_eq!(ask(&simulator, &body(NEW, json!({ "type": "adaptive" }))).status, 200);
    assert_eq!(ask(&simulator, &body(OLD, json!({ "type": "enabled", "budget_tokens": 1024 }))).status, 400);
}

#[test]
fn formats_counts_and_models_are_served() {
    let simulator = simulator();
    let schema = json!({ "type": "object", "additionalProperties": false, "properties": {
        "list": { "type": "array", "items": { "type": "number" } } } });
    let answer =
        good(&simulator, &chat(json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } })));
    assert_eq!(answer["content"][0]["text"], r#"{"list":[2.5]}"#);
    let headed = |request: Request| request.field("x-api-key", KEY).field("anthropic-version", "2023-06-01");
    let count = json!({ "model": OLD, "messages": [{ "role": "user", "content": "x".repeat(40) }] });
    let counted = headed(Request::post("/v1/messages/count_tokens", &count)).send(&simulator);
    assert_eq!((counted.status, counted.text()), (200, r#"{"input_tokens":10}"#.to_owned()));
    let refused = headed(Request::post("/v1/messages/count_tokens", &with(&count, &json!({ "max_tokens": 4 }))));
    assert!(refused.send(&simulator).text().contains("max_tokens: Extra inputs are not permitted"));
    let list = headed(Request::new("GET", "/v1/models?limit=2")).send(&simulator).json();
    assert_eq!((list["data"].as_array().map(Vec::len), &list["has_more"]), (Some(2), &json!(true)));
    assert_eq!((&list["data"][0]["type"], &list["data"][0]["id"]), (&json!("model"), &json!(NEW)));
    let next = format!("/v1/models?after_id={}", list["last_id"].as_str().expect("an id"));
    assert_eq!(headed(Request::new("GET", &next)).send(&simulator).json()["has_more"], false);
    assert_eq!(headed(Request::new("GET", "/v1/models/claude-nobody")).send(&simulator).status, 404);
}

#[test]
fn faults_speak_its_words() {
    let simulator = simulator();
    let wish = |directives: &str, stream: bool| {
        let user = format!("sim:{directives}");
        ask(&simulator, &chat(json!({ "metadata": { "user_id": user }, "stream": stream })))
    };
    let table = [
        ("fault=429/2", 429, "rate_limit_error"),
        ("fault=529", 529, "overloaded_error"),
        ("fault=500", 500, "api_error"),
        ("fault=401", 401, "authentication_error"),
        ("fault=429-quota", 429, "rate_limit_error"),
    ];
    for (directives, status, kind) in table {
        let reply = wish(directives, true);
        assert_eq!((reply.status, &reply.json()["error"]["type"]), (status, &json!(kind)), "{directives}");
        assert_eq!(reply.field("retry-after"), (directives == "fault=429/2").then_some("2"));
    }
    let spent = wish("fault=429-quota", false).json();
    assert_eq!(spent["error"]["details"]["error_code"], "enforced_spend_limit_reached");
    let broken = wish("fault=error@5", true);
    let events = broken.events();
    assert_eq!((events.len(), events[5].0.as_str()), (6, "error"));
    assert_eq!(events[5].1["error"]["type"], "overloaded_error");
    let cut = wish("fault=cut@4", true);
    assert!(!cut.whole && cut.text().matches("\n\n").count() == 4, "{}", cut.text());
    let reset = wish("fault=reset@600", true);
    assert_eq!((reset.raw.len(), reset.reset), (600, true));
}

#[test]
fn the_log_knows_whose_request_it_was() {
    let simulator = Simulator::builder()
        .dialect(Surface::Anthropic)
        .dialect(Surface::OpenAi)
        .fault(Fault::status(503), When::Nth(3))
        .start()
        .expect("a loopback port");
    let body = chat(json!({ "stream": true }));
    assert_eq!(request(&body).send(&simulator).status, 200);
    let openai = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "hello" }] });
    let openai = Request::post("/v1/chat/completions", &openai).field("authorization", "Bearer sk-any-key-at-all");
    assert_eq!(openai.send(&simulator).status, 200);
    let third = openai.send(&simulator);
    assert_eq!((third.status, &third.json()["error"]["code"]), (503, &json!("engine_overloaded")));
    assert!(simulator.truth().wait_settled(SOON));
    let records = simulator.truth().requests();
    assert_eq!(records.iter().map(|record| record.surface).collect::<Vec<_>>(), ["anthropic", "openai", "openai"]);
    let first = &records[0];
    assert_eq!((first.model.as_deref(), first.stream, first.status), (Some(OLD), true, 200));
    assert_eq!((first.prompt_tokens, first.completion_tokens, &first.outcome), (2, 16, &Outcome::Completed));
}
