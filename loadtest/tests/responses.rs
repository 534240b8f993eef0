//! The simulator speaks OpenAI's Responses as the real service does: its items, its numbered events, its encrypted reasoning.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::Surface;
use serde_json::{Value, json};
use wire::{Reply, Request, SOON, with};

const KEY: &str = "sk-sim-0123456789abcdef";
const PLAIN: &str = "gpt-4o";
const THINKER: &str = "gpt-5.6-sol";

fn simulator() -> Simulator {
    Simulator::builder().keys([KEY]).models([PLAIN, THINKER, "gpt-5.5-pro"]).start().expect("a loopback port")
}

fn request(body: &Value) -> Request {
    Request::post("/v1/responses", body).field("authorization", &format!("Bearer {KEY}"))
}

fn base(extra: Value) -> Value {
    with(&json!({ "model": PLAIN, "input": "hello" }), &extra)
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
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    json!({ "type": "function", "name": "weather", "parameters": schema })
}

#[test]
fn transcripts_are_kept() {
    let simulator = simulator();
    let unary = request(&base(json!({ "user": "sim:tokens=6;cached=1" }))).transcript(&simulator, "responses-unary");
    assert_eq!(unary.json()["usage"]["input_tokens_details"]["cached_tokens"], 1);
    let body = json!({ "model": THINKER, "stream": true, "store": false, "input": "use the tool", "tools": [weather()],
        "reasoning": { "effort": "low", "summary": "auto" }, "include": ["reasoning.encrypted_content"] });
    let stream = request(&body).transcript(&simulator, "responses-stream");
    assert_eq!(stream.events().last().expect("events").0, "response.completed");
    request(&base(json!({ "colour": 1 }))).transcript(&simulator, "responses-refusal");
}

#[test]
fn wrong_requests_are_refused_in_its_words() {
    let simulator = simulator();
    let said = |role: &str, part: Value| json!({ "input": [{ "role": role, "content": [part] }] });
    let item = |item: Value| json!({ "input": [item] });
    let table = [
        (json!({ "colour": 1 }), "colour", json!("unknown_parameter"), "Unknown parameter: 'colour'."),
        (json!({ "model": null }), "model", json!("missing_required_parameter"), ""),
        (json!({ "input": null }), "input", json!("missing_required_parameter"), ""),
        (json!({ "input": 4 }), "input", json!("invalid_type"), ""),
        (json!({ "temperature": "hot" }), "temperature", json!("invalid_type"), "expected a decimal, but got a string"),
        (json!({ "max_output_tokens": 5 }), "max_output_tokens", json!("integer_below_min_value"), ">= 16"),
        (json!({ "messages": [] }), "messages", json!("unsupported_parameter"), "has moved to 'input'"),
        (json!({ "response_format": {} }), "response_format", json!("unsupported_parameter"), "'text.format'"),
        (json!({ "max_tokens": 5 }), "max_tokens", json!("unsupported_parameter"), "'max_output_tokens'"),
        (json!({ "include": ["x"] }), "include[0]", json!("invalid_value"), "Supported values are: 'file_search"),
        (json!({ "truncation": "some" }), "truncation", json!("invalid_value"), "'auto' and 'disabled'"),
        (said("wizard", json!({})), "input[0].role", json!("invalid_value"), ""),
        (said("user", json!({ "type": "text", "text": "x" })), "input[0].content[0].type", json!("invalid_value"), ""),
        (
            said("user", json!({ "type": "input_text", "text": "x", "mood": 1 })),
            "input[0].content[0].mood",
            json!("unknown_parameter"),
            "",
        ),
        (
            said("assistant", json!({ "type": "input_text", "text": "x" })),
            "input[0].content[0].type",
            json!("invalid_value"),
            "'output_text' and 'refusal'",
        ),
        (
            said("user", json!({ "type": "input_image", "image_url": { "url": "x" } })),
            "input[0].content[0].image_url",
            json!("invalid_type"),
            "expected a string, but got an object",
        ),
        (item(json!({ "type": "film" })), "input[0].type", json!("invalid_value"), ""),
        (
            item(json!({ "type": "function_call_output", "call_id": "c", "output": "x" })),
            "input",
            Value::Null,
            "No tool call found for function call output with call_id c.",
        ),
        (
            item(json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" })),
            "input",
            Value::Null,
            "No tool output found for function call c.",
        ),
    ];
    refuses(&simulator, &table);
    for (extra, param) in [
        (json!({ "conversation": "conv_x" }), "conversation"),
        (json!({ "prompt": { "id": "pmpt_x" } }), "prompt"),
        (item(json!({ "type": "item_reference", "id": "msg_x" })), "input"),
        (item(json!({ "type": "reasoning", "id": "rs_x", "summary": [] })), "input"),
    ] {
        let reply = ask(&simulator, &base(extra.clone()));
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (404, &json!(param)), "{extra}");
    }
    assert!(simulator.truth().wait_settled(SOON));
    assert_eq!(simulator.truth().counts().prompt_tokens, 0, "refusals cost nothing");
}

#[test]
fn tools_formats_and_models_have_their_rules() {
    let simulator = simulator();
    let table = [
        (
            json!({ "tools": [{ "type": "function", "function": { "name": "f" } }] }),
            "tools[0].name",
            json!("missing_required_parameter"),
            "",
        ),
        (
            json!({ "tools": [with(&weather(), &json!({ "strict": true }))] }),
            "tools[0].parameters",
            json!("invalid_function_parameters"),
            "additionalProperties",
        ),
        (json!({ "tool_choice": "required" }), "tool_choice", Value::Null, "must be specified with 'tools'"),
        (
            json!({ "tools": [weather()], "tool_choice": { "type": "function", "name": "g" } }),
            "tool_choice",
            Value::Null,
            "not found in 'tools'",
        ),
        (
            json!({ "text": { "format": { "type": "json_object" } } }),
            "input",
            Value::Null,
            "must contain the word 'json'",
        ),
        (json!({ "reasoning": { "effort": "low" } }), "reasoning.effort", json!("unsupported_parameter"), ""),
        (json!({ "include": ["reasoning.encrypted_content"] }), "include", Value::Null, "Encrypted content is not"),
        (json!({ "model": THINKER, "temperature": 0 }), "temperature", json!("unsupported_parameter"), ""),
        (
            json!({ "model": THINKER, "reasoning": { "effort": "max" } }),
            "reasoning.effort",
            json!("unsupported_value"),
            "",
        ),
        (json!({ "background": true }), "background", json!("unsupported_parameter"), ""),
        (json!({ "previous_response_id": "resp_x" }), "previous_response_id", json!("previous_response_not_found"), ""),
        (json!({ "user": "sim:fault=nonsense" }), "sim", json!("invalid_value"), ""),
    ];
    refuses(&simulator, &table);
}

/// Every row is refused with its parameter, its code and these words.
fn refuses(simulator: &Simulator, table: &[(Value, &str, Value, &str)]) {
    for (extra, param, code, words) in table {
        let reply = ask(simulator, &base(extra.clone()));
        let error = reply.json()["error"].clone();
        assert_eq!(reply.status, 400, "{extra} gave {error}");
        assert_eq!((&error["param"], &error["code"]), (&json!(param), code), "{extra} gave {error}");
        assert!(error["message"].as_str().expect("a sentence").contains(words), "{extra} gave {error}");
    }
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let simulator = simulator();
    for extra in [
        json!({}),
        json!({ "max_output_tokens": 16, "user": "sim:tokens=20" }),
        json!({ "input": "use the tools", "tools": [weather(), { "type": "custom", "name": "talk" }] }),
        json!({ "model": THINKER, "reasoning": { "summary": "auto" }, "include": ["reasoning.encrypted_content"] }),
        json!({ "model": THINKER, "input": "use the tool", "tools": [weather()], "user": "sim:preface=2" }),
        json!({ "user": "sim:block=1" }),
    ] {
        let whole = good(&simulator, &base(extra.clone()));
        let reply = ask(&simulator, &with(&base(extra.clone()), &json!({ "stream": true })));
        assert_eq!(assemble(&reply), whole, "{extra}");
    }
}

/// The response that a client puts together from a stream, every event checked on the way.
fn assemble(reply: &Reply) -> Value {
    assert!(reply.whole && !reply.text().contains("\ndata: [DONE]\n"));
    let events = reply.events();
    let mut items: Vec<Value> = Vec::new();
    let mut text = String::new();
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(name), &json!(number)));
        let item = items.last().map_or(Value::Null, |item| item["id"].clone());
        if let Some(id) = data.get("item_id") {
            assert_eq!((id, &data["output_index"]), (&item, &json!(items.len() - 1)), "{data}");
        }
        match name.rsplit_once('.').expect("a dotted name") {
            ("response.output_item", "added") => {
                assert_eq!(data["output_index"], items.len());
                items.push(data["item"].clone());
                text.clear();
            }
            ("response.output_item", "done") => *items.last_mut().expect("an item") = data["item"].clone(),
            (_, "delta") => text.push_str(data["delta"].as_str().expect("a piece")),
            ("response.output_text", "done") | ("response.reasoning_summary_text", "done") => {
                assert_eq!(data["text"], text);
            }
            ("response.function_call_arguments", "done") => assert_eq!(data["arguments"], text),
            ("response.custom_tool_call_input", "done") => assert_eq!(data["input"], text),
            _ => {}
        }
    }
    assert_eq!((events[0].0.as_str(), events[1].0.as_str()), ("response.created", "response.in_progress"));
    let last = events.last().expect("events").1["response"].clone();
    assert_eq!(last["output"], json!(items));
    last
}

#[test]
fn usage_and_status_say_how_it_went() {
    let simulator = simulator();
    let answer = good(&simulator, &base(json!({ "model": THINKER, "user": "sim:tokens=5;reasoning=9;cached=1" })));
    let usage = json!({ "input_tokens": 2, "input_tokens_details": { "cached_tokens": 1, "cache_write_tokens": 0 },
        "output_tokens": 14, "output_tokens_details": { "reasoning_tokens": 9 }, "total_tokens": 16 });
    assert_eq!((&answer["status"], &answer["usage"]), (&json!("completed"), &usage));
    let cut = good(&simulator, &base(json!({ "max_output_tokens": 16, "user": "sim:tokens=20" })));
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(cut["output"][0]["status"], "incomplete");
    let format = json!({ "type": "json_schema", "name": "s", "strict": true, "schema": { "type": "object",
        "additionalProperties": false, "required": ["n"], "properties": { "n": { "type": "integer" } } } });
    let answer = good(&simulator, &base(json!({ "text": { "format": format } })));
    assert_eq!(answer["output"][0]["content"][0]["text"], r#"{"n":3}"#);
    assert_eq!(answer["text"]["format"], format, "the request is echoed");
    assert!(simulator.truth().wait_settled(SOON));
    let first = simulator.truth().requests()[0].clone();
    assert_eq!((first.prompt_tokens, first.completion_tokens, first.surface), (2, 14, "openai"));
}

#[test]
fn reasoning_must_come_back_as_it_was() {
    let simulator = simulator();
    let question = json!({ "role": "user", "content": "use the tool" });
    let body = json!({ "model": THINKER, "store": false, "input": [question], "tools": [weather()],
        "include": ["reasoning.encrypted_content"] });
    let output = good(&simulator, &body)["output"].clone();
    assert_eq!((&output[0]["type"], &output[1]["type"]), (&json!("reasoning"), &json!("function_call")));
    let result = json!({ "type": "function_call_output", "call_id": output[1]["call_id"], "output": "42" });
    let go_on = |items: Value| ask(&simulator, &with(&body, &json!({ "input": items })));
    assert_eq!(go_on(json!([question, output[0], output[1], result])).status, 200);
    let lost = go_on(json!([question, output[1], result]));
    assert!(lost.status == 400 && lost.text().contains("without its required 'reasoning' item"), "{}", lost.text());
    let alone = go_on(json!([question, output[0], question]));
    assert_eq!(alone.status, 200, "a message may follow reasoning");
    let last = go_on(json!([question, output[0]]));
    assert!(last.text().contains("without its required following item"), "{}", last.text());
    let bent = with(&output[0], &json!({ "encrypted_content": "gAAAAAsomething" }));
    let bent = go_on(json!([question, bent, output[1], result]));
    assert_eq!((bent.status, &bent.json()["error"]["code"]), (400, &json!("invalid_encrypted_content")));
    let nameless = with(&output[1], &json!({ "id": null }));
    assert_eq!(go_on(json!([question, nameless, result])).status, 200, "a call without its id came from elsewhere");
}

#[test]
fn a_conversation_goes_on_by_its_response() {
    let simulator = simulator();
    let first = good(&simulator, &base(json!({ "input": "use the tool", "tools": [weather()] })));
    let id = first["id"].as_str().expect("an id");
    let call = &first["output"][0]["call_id"];
    let output = json!([{ "type": "function_call_output", "call_id": call, "output": "42" }]);
    let next = base(json!({ "input": output, "previous_response_id": id, "tools": [weather()] }));
    assert_eq!(good(&simulator, &next)["output"][0]["type"], "message");
    let headed = |method: &str, path: &str| {
        Request::new(method, path).field("authorization", &format!("Bearer {KEY}")).send(&simulator)
    };
    let path = format!("/v1/responses/{id}");
    assert_eq!(headed("GET", &path).json(), first);
    assert_eq!(headed("DELETE", &path).json(), json!({ "id": id, "object": "response", "deleted": true }));
    assert_eq!(headed("GET", &path).status, 404);
    assert_eq!(ask(&simulator, &next).json()["error"]["code"], "previous_response_not_found");
    let fleeting = good(&simulator, &base(json!({ "store": false, "input": "gone" })));
    assert_eq!(headed("GET", &format!("/v1/responses/{}", fleeting["id"].as_str().expect("an id"))).status, 404);
}

#[test]
fn faults_break_streams_in_their_own_form() {
    let simulator = simulator();
    let wish =
        |directives: &str| ask(&simulator, &base(json!({ "user": format!("sim:{directives}"), "stream": true })));
    let events = wish("fault=error@4").events();
    assert_eq!((events.len(), events[4].0.as_str()), (5, "error"));
    assert_eq!((&events[4].1["sequence_number"], &events[4].1["code"]), (&json!(4), &json!("server_error")));
    let cut = wish("fault=cut@3");
    assert!(!cut.whole && cut.text().matches("\n\n").count() == 3, "{}", cut.text());
    assert_eq!(wish("fault=429/1").field("retry-after-ms"), Some("1000"));
}

#[test]
fn only_the_real_one_serves_it_and_some_models_nothing_else() {
    let simulator = simulator();
    let pro = json!({ "model": "gpt-5.5-pro", "messages": [{ "role": "user", "content": "x" }] });
    let chat = Request::post("/v1/chat/completions", &pro).field("authorization", &format!("Bearer {KEY}"));
    let refused = chat.send(&simulator);
    assert!(refused.status == 404 && refused.text().contains("only supported in v1/responses"), "{}", refused.text());
    let copy = Simulator::builder().dialect(Surface::Compatible).start().expect("a loopback port");
    assert!(copy.base_url().ends_with("/v1"));
    assert_eq!(ask(&copy, &base(json!({}))).status, 404);
    let plain = json!({ "model": PLAIN, "messages": [{ "role": "user", "content": "x" }] });
    assert_eq!(chat_to(&copy, &plain).status, 200);
}

fn chat_to(simulator: &Simulator, body: &Value) -> Reply {
    Request::post("/v1/chat/completions", body).field("authorization", &format!("Bearer {KEY}")).send(simulator)
}
