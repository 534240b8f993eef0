//! The simulator speaks Cohere's version 2 as the real service does: chat with its events, vectors, the order of documents.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::Surface;
use serde_json::{Value, json};
use wire::{Reply, Request, SOON, with};

const KEY: &str = "0123456789abcdefghijABCDEFGHIJ0123456789";
const PLAIN: &str = "command-a-03-2025";
const THINKER: &str = "command-a-reasoning-08-2025";

fn simulator() -> Simulator {
    Simulator::builder().dialect(Surface::Cohere).keys([KEY]).start().expect("a loopback port")
}

fn post(path: &str, body: &Value) -> Request {
    Request::post(path, body).field("authorization", &format!("Bearer {KEY}"))
}

fn chat(extra: Value) -> Value {
    with(&json!({ "model": PLAIN, "messages": [{ "role": "user", "content": "hello" }] }), &extra)
}

fn saying(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }] })
}

fn ask(simulator: &Simulator, body: &Value) -> Reply {
    post("/v2/chat", body).send(simulator)
}

fn good(simulator: &Simulator, path: &str, body: &Value) -> Value {
    let reply = post(path, body).send(simulator);
    assert_eq!(reply.status, 200, "{body} gave {}", reply.text());
    reply.json()
}

fn weather() -> Value {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    json!({ "type": "function", "function": { "name": "weather", "description": "x", "parameters": schema } })
}

#[test]
fn transcripts_are_kept() {
    let simulator = simulator();
    assert_eq!(simulator.base_url(), simulator.origin());
    post("/v2/chat", &chat(saying("sim:tokens=6;cached=1"))).transcript(&simulator, "cohere-unary");
    let body = with(&chat(saying("sim:preface=2 use the tool")), &json!({ "tools": [weather()], "stream": true }));
    let stream = post("/v2/chat", &body).transcript(&simulator, "cohere-stream");
    assert_eq!(stream.events().last().expect("events").0, "message-end");
    post("/v2/chat", &chat(json!({ "colour": 1 }))).transcript(&simulator, "cohere-refusal");
}

#[test]
fn wrong_requests_are_refused_in_its_words() {
    let simulator = simulator();
    let table = [
        (json!({ "colour": 1 }), "unknown field: parameter colour is not a valid field"),
        (json!({ "temperature": "hot" }), "parameter temperature is of type string but should be of type number."),
        (json!({ "temperature": 1.5 }), "temperature must be between 0 and 1, got 1.5"),
        (json!({ "max_tokens": 0 }), "max_tokens must be between 1 and"),
        (json!({ "messages": null }), "messages is a required field"),
        (json!({ "messages": [] }), "messages must be at least 1 long"),
        (json!({ "messages": [{ "role": "wizard", "content": "x" }] }), "messages[0].role must be one of system, user"),
        (json!({ "messages": [{ "role": "user", "content": "x", "mood": 1 }] }), "parameter messages[0].mood"),
        (json!({ "messages": [{ "role": "assistant", "content": "x" }] }), "the last message must be of role"),
        (
            json!({ "messages": [{ "role": "tool", "tool_call_id": "a", "content": "x" }] }),
            "does not match any tool call",
        ),
        (json!({ "tool_choice": "REQUIRED" }), "tool_choice requires tools"),
        (json!({ "tool_choice": "auto" }), "tool_choice must be one of REQUIRED, NONE"),
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "f" } }] }),
            "tools[0].function.parameters is a required",
        ),
        (json!({ "tools": [weather()], "response_format": { "type": "json_object" } }), "not supported with tools"),
        (json!({ "stop_sequences": ["a", "b", "c", "d", "e", "f"] }), "at most 5"),
        (json!({ "thinking": { "type": "enabled" } }), "thinking is not supported by model"),
        (saying("sim:fault=nonsense"), "sim: unknown fault"),
    ];
    for (extra, words) in table {
        let reply = ask(&simulator, &chat(extra.clone()));
        let error = reply.json();
        assert_eq!(reply.status, 400, "{extra} gave {error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(words)), "{extra} gave {error}");
        assert_eq!(error["id"].as_str(), reply.field("x-debug-trace-id"), "the id is in both places");
    }
    let bare = post("/v2/chat", &chat(json!({}))).without("authorization");
    assert_eq!(bare.send(&simulator).json()["message"], "no api key supplied");
    let wrong = bare.field("authorization", "Bearer wrong").send(&simulator);
    assert_eq!((wrong.status, &wrong.json()["message"]), (401, &json!("invalid api token")));
    let none = ask(&simulator, &chat(json!({ "model": "command-none" })));
    assert_eq!(none.status, 404);
    assert!(none.text().contains("model 'command-none' not found"), "{}", none.text());
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let simulator = simulator();
    for extra in [
        json!({}),
        json!({ "max_tokens": 3 }),
        json!({ "model": THINKER }),
        with(&saying("use the tools"), &json!({ "tools": [weather()] })),
        with(&saying("sim:preface=2 use the tool"), &json!({ "tools": [weather()] })),
    ] {
        let whole = good(&simulator, "/v2/chat", &chat(extra.clone()));
        let reply = ask(&simulator, &with(&chat(extra.clone()), &json!({ "stream": true })));
        assert!(reply.whole);
        assert_eq!(assemble(&reply), whole, "{extra}");
    }
}

/// The answer that a client puts together from a stream.
fn assemble(reply: &Reply) -> Value {
    let mut answer = json!({ "message": { "role": "assistant" } });
    let (mut content, mut calls, mut plan) = (Vec::<Value>::new(), Vec::<Value>::new(), String::new());
    let add = |text: &mut Value, piece: &Value| {
        *text = json!(text.as_str().expect("text").to_owned() + piece.as_str().expect("a piece"));
    };
    for (name, data) in reply.events() {
        assert_eq!(data["type"], name);
        let message = &data["delta"]["message"];
        let index = data["index"].as_u64().unwrap_or_default() as usize;
        match name.as_str() {
            "message-start" => answer["id"] = data["id"].clone(),
            "content-start" => content.push(message["content"].clone()),
            "content-delta" => {
                let (kind, piece) = message["content"].as_object().expect("an object").iter().next().expect("a piece");
                add(&mut content[index][kind.as_str()], piece);
            }
            "tool-plan-delta" => plan.push_str(message["tool_plan"].as_str().expect("a piece")),
            "tool-call-start" => calls.push(message["tool_calls"].clone()),
            "tool-call-delta" => {
                add(&mut calls[index]["function"]["arguments"], &message["tool_calls"]["function"]["arguments"]);
            }
            "message-end" => {
                answer["finish_reason"] = data["delta"]["finish_reason"].clone();
                answer["usage"] = data["delta"]["usage"].clone();
            }
            _ => assert!(["content-end", "tool-call-end"].contains(&name.as_str()), "{name}"),
        }
    }
    for (member, value) in [("content", json!(content)), ("tool_calls", json!(calls))] {
        if value != json!([]) {
            answer["message"][member] = value;
        }
    }
    if !plan.is_empty() {
        answer["message"]["tool_plan"] = json!(plan);
    }
    answer
}

#[test]
fn a_tool_conversation_must_be_whole() {
    let simulator = simulator();
    let answer = good(&simulator, "/v2/chat", &with(&chat(saying("use the tool")), &json!({ "tools": [weather()] })));
    assert_eq!(answer["finish_reason"], "TOOL_CALL");
    let user = json!({ "role": "user", "content": "use the tool" });
    let call = answer["message"].clone();
    let result = json!({ "role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": [
        { "type": "document", "document": { "data": "{\"degrees\":7}" } }] });
    let go_on = |messages: Value| ask(&simulator, &chat(json!({ "messages": messages, "tools": [weather()] })));
    let done = go_on(json!([user, call, result]));
    assert_eq!((done.status, &done.json()["finish_reason"]), (200, &json!("COMPLETE")));
    assert!(go_on(json!([user, call, user])).text().contains("all tool calls must be answered"));
    assert_eq!(go_on(json!([user, call, result, result])).status, 400);
    assert!(simulator.truth().wait_settled(SOON));
    let first = simulator.truth().requests()[0].clone();
    let usage = &answer["usage"]["billed_units"];
    assert_eq!(first.surface, "cohere");
    assert_eq!(usage, &json!({ "input_tokens": first.prompt_tokens, "output_tokens": first.completion_tokens }));
}

#[test]
fn vectors_and_orders_are_served() {
    let simulator = simulator();
    let body = json!({ "model": "embed-v4.0", "input_type": "search_query", "texts": ["a", "b"], "output_dimension": 256,
        "embedding_types": ["float", "int8", "ubinary", "base64"] });
    let answer = good(&simulator, "/v2/embed", &body);
    let length = |kind: &str| answer["embeddings"][kind][1].as_array().map(Vec::len);
    assert_eq!((length("float"), length("int8"), length("ubinary")), (Some(256), Some(256), Some(32)));
    assert_eq!((&answer["response_type"], &answer["texts"]), (&json!("embeddings_by_type"), &json!(["a", "b"])));
    for extra in
        [json!({ "input_type": null }), json!({ "texts": [] }), json!({ "images": ["x"] }), json!({ "model": PLAIN })]
    {
        assert_eq!(post("/v2/embed", &with(&body, &extra)).send(&simulator).status, 400, "{extra}");
    }
    let body = json!({ "model": "rerank-v4.0-pro", "query": "green tea", "documents": ["coal", "tea", "green tea"], "top_n": 2 });
    let order = good(&simulator, "/v2/rerank", &body);
    let found: Vec<_> = order["results"].as_array().expect("results").iter().map(|one| one["index"].as_u64()).collect();
    assert_eq!((found, &order["meta"]["billed_units"]["search_units"]), (vec![Some(2), Some(1)], &json!(1)));
    assert_eq!(post("/v2/rerank", &with(&body, &json!({ "return_documents": true }))).send(&simulator).status, 400);
}

#[test]
fn faults_speak_its_words() {
    let simulator = simulator();
    let wish = |directives: &str| {
        ask(&simulator, &with(&chat(saying(&format!("sim:{directives}"))), &json!({ "stream": true })))
    };
    assert!(wish("fault=429/1").text().contains("per minute request limit"));
    assert!(wish("fault=429-quota").text().contains("1000 API calls / month"));
    assert_eq!((wish("fault=498").status, wish("fault=498").json()["message"].clone()), (498, json!("invalid token")));
    let broken = wish("fault=error@3").events();
    assert_eq!((broken.len(), &broken[3].1["delta"]["finish_reason"]), (4, &json!("ERROR")));
    let cut = wish("fault=cut@3");
    assert!(!cut.whole && cut.text().matches("\n\n").count() == 3, "{}", cut.text());
}
