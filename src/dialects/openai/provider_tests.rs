//! The provider's side: what vendors send differently reads alike, and any split of a stream gives the same deltas.

use super::golden_tests::{dump, stream_in_steps};
use super::{CLIENT, PROVIDER};
use crate::chat::ability::Abilities;
use crate::chat::request::{Maker, Seal, Thinking};
use crate::chat::response::{Finish, Piece};
use crate::dialects::{Aim, sse};
use proptest::prelude::*;
use serde_json::{Value, json};

/// The deltas of a stream of these chunks, and whether it came to its end.
fn heard(chunks: &[Value]) -> (Vec<Value>, bool) {
    let mut bytes = Vec::new();
    for chunk in chunks {
        match chunk.as_str() {
            Some(data) => sse::event(&mut bytes, None, |out| out.extend_from_slice(data.as_bytes())),
            None => sse::event(&mut bytes, None, |out| out.extend_from_slice(chunk.to_string().as_bytes())),
        }
    }
    stream_in_steps(&bytes, bytes.len().max(1))
}

fn chunk(delta: Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]})
}

fn last(reason: &str) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn read(body: &Value) -> Result<crate::chat::response::Response, crate::chat::response::Unreadable> {
    (PROVIDER.read_response)(body.to_string().as_bytes())
}

fn message(message: Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
}

fn calls_of(deltas: &[Value]) -> Vec<(String, String, String)> {
    let mut calls: Vec<(String, String, String)> = Vec::new();
    for delta in deltas {
        if let Some(start) = delta.get("tool_start") {
            let text = |name: &str| start[name].as_str().unwrap_or_default().to_owned();
            calls.push((text("id"), text("name"), String::new()));
        }
        if let Some(input) = delta.get("tool_input") {
            let index = input["index"].as_u64().expect("an index") as usize;
            calls[index].2.push_str(input["json"].as_str().expect("text"));
        }
    }
    calls
}

/// The body that a vendor gets for a Chat client's request with these members, or the member that is refused.
fn written(vendor: &str, model: &str, members: Value) -> Result<Value, String> {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    let request = (CLIENT.read_request)(body.to_string().as_bytes()).expect("reads");
    let abilities = Abilities::default();
    match (PROVIDER.write_request)(&request, &Aim { model, abilities: &abilities, provider: vendor }) {
        Ok(written) => Ok(serde_json::from_slice(&written.body).expect("JSON")),
        Err(refusal) => Err(refusal.param.into_owned()),
    }
}

#[test]
fn a_choice_without_a_word_is_said_otherwise() {
    let tools =
        json!([{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]);
    let with = |vendor: &str, choice: Value| written(vendor, "m", json!({"tools": tools, "tool_choice": choice}));
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    assert_eq!(with("openai", json!("none")).expect("is written")["tool_choice"], "none");
    let hidden = with("zai", json!("none")).expect("is written");
    assert!(hidden.get("tools").is_none() && hidden.get("tool_choice").is_none());
    let told = with("zai", named("g")).expect("is written");
    assert_eq!((told["tools"].as_array().map(Vec::len), &told["tool_choice"]), (Some(1), &json!("auto")));
    assert!(told["messages"][0]["content"].as_str().is_some_and(|text| text.contains("`g`")));
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("f")]}});
    let fewer = with("mistral", allowed).expect("is written");
    assert_eq!((fewer["tools"].as_array().map(Vec::len), &fewer["tool_choice"]), (Some(1), &json!("any")));
    for vendor in ["openai", "zai"] {
        assert_eq!(with(vendor, named("h")), Err("tool_choice".to_owned()), "{vendor}");
    }
}

#[test]
fn a_tool_with_free_text_becomes_a_function_where_there_are_only_those() {
    let tools = json!([{"type": "custom", "custom": {"name": "sh", "format": {"type": "text"}}}]);
    let said = json!([{"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls \"a\""}}]},
        {"role": "tool", "tool_call_id": "c", "content": "b"}]);
    let sent = written("vllm", "m", json!({"tools": tools, "messages": said})).expect("is written");
    assert_eq!(sent["tools"][0]["function"]["parameters"]["required"], json!(["input"]));
    let arguments = sent["messages"][1]["tool_calls"][0]["function"]["arguments"].as_str().expect("a string");
    assert_eq!(serde_json::from_str::<Value>(arguments).expect("JSON"), json!({"input": "ls \"a\""}));
    let sent = written("openai", "gpt-4o", json!({"tools": tools, "messages": said})).expect("is written");
    assert_eq!(sent["messages"][1]["tool_calls"][0]["custom"]["input"], "ls \"a\"");
}

#[test]
fn thinking_is_wished_for_in_each_vendors_words() {
    let effort = |word: &str| json!({"reasoning_effort": word});
    let switch = |on: bool| json!({"thinking": {"type": if on { "enabled" } else { "disabled" }}});
    let rows = [
        ("openai", "gpt-5.6", effort("high"), json!({"reasoning_effort": "high"})),
        ("openai", "gpt-5.6", switch(true), json!({"reasoning_effort": "medium"})),
        ("openai", "gpt-5.6", switch(false), json!({"reasoning_effort": "none"})),
        ("openai", "gpt-4o", effort("high"), json!({})),
        ("mistral", "mistral-medium-latest", effort("low"), json!({"reasoning_effort": "high"})),
        ("mistral", "mistral-medium-latest", effort("none"), json!({"reasoning_effort": "none"})),
        ("deepseek", "deepseek-flash", effort("none"), json!({"thinking": {"type": "disabled"}})),
        (
            "deepseek",
            "deepseek-flash",
            effort("max"),
            json!({"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ),
        ("kimi", "kimi-k2.6", effort("low"), json!({"thinking": {"type": "enabled"}})),
        ("kimi", "kimi-k2.7-code", switch(false), json!({})),
        ("kimi", "kimi-k3", effort("xhigh"), json!({"reasoning_effort": "high"})),
        ("qwen", "qwen3-max", switch(false), json!({"enable_thinking": false})),
        (
            "qwen",
            "qwen3-max",
            json!({"thinking": {"type": "enabled", "budget_tokens": 500}}),
            json!({"enable_thinking": true, "thinking_budget": 500}),
        ),
        ("zai", "glm-5.3", effort("high"), json!({"thinking": {"type": "enabled"}})),
        ("minimax", "MiniMax-M3", effort("high"), json!({"reasoning_split": true})),
        ("minimax", "MiniMax-M3", json!({}), json!({"reasoning_split": true})),
    ];
    for (vendor, model, members, expected) in rows {
        let mut sent = written(vendor, model, members.clone()).expect("is written");
        let sent = sent.as_object_mut().expect("an object");
        sent.retain(|name, _| !matches!(name.as_str(), "model" | "messages"));
        assert_eq!(Value::Object(sent.clone()), expected, "{vendor} {model} {members}");
    }
}

#[test]
fn pictures_in_results_follow_the_results() {
    use crate::chat::request::{Block, Body, Media, Request, Source, ToolResult, Turn};
    let source = Source::Base64 { media_type: "image/png".to_owned(), data: "AAAA".to_owned() };
    let picture = Block::of(Body::Image(Media { source, name: None, detail: None }));
    let result = |id: &str, content: Vec<Block>| {
        Block::of(Body::ToolResult(ToolResult { id: id.to_owned(), name: None, content, is_error: id == "b" }))
    };
    let turn =
        vec![result("a", vec![Block::text("see"), picture]), result("b", vec![Block::text("no")]), Block::text("So?")];
    let request = Request { turns: vec![Turn::User(turn)], ..Request::default() };
    let abilities = Abilities::default();
    let aim = Aim { model: "m", abilities: &abilities, provider: "somebody" };
    let sent: Value =
        serde_json::from_slice(&(PROVIDER.write_request)(&request, &aim).expect("is written").body).expect("JSON");
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    assert_eq!(
        sent["messages"],
        json!([{"role": "tool", "tool_call_id": "a", "content": "see"}, {"role": "tool", "tool_call_id": "b", "content": "Error: no"},
            {"role": "user", "content": [picture, {"type": "text", "text": "So?"}]}])
    );
}

#[test]
fn calls_in_odd_pieces_are_the_same_calls() {
    let f = |id: Value, index: Value, name: Value, arguments: Value| {
        chunk(json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}))
    };
    let (n, none) = (json!("f"), Value::Null);
    let two = |first: &str, second: &str| {
        vec![
            (first.to_owned(), "f".to_owned(), "{\"a\":1}".to_owned()),
            (second.to_owned(), "f".to_owned(), "{}".to_owned()),
        ]
    };
    let cases = [
        (
            "by the book",
            vec![
                f(json!("x"), json!(0), n.clone(), json!("")),
                f(none.clone(), json!(0), none.clone(), json!("{\"a\"")),
                f(none.clone(), json!(0), none.clone(), json!(":1}")),
                f(json!("y"), json!(1), n.clone(), json!("{}")),
            ],
            "x",
            "y",
        ),
        (
            "interleaved",
            vec![
                f(json!("x"), json!(0), n.clone(), json!("{\"a\"")),
                f(json!("y"), json!(1), n.clone(), json!("{")),
                f(none.clone(), json!(0), none.clone(), json!(":1}")),
                f(none.clone(), json!(1), none.clone(), json!("}")),
            ],
            "x",
            "y",
        ),
        (
            "names and ids repeated",
            vec![
                f(json!("x"), json!(0), n.clone(), json!("{\"a\"")),
                f(json!("x"), json!(0), n.clone(), json!(":1}")),
                f(json!("y"), json!(1), n.clone(), json!("{}")),
            ],
            "x",
            "y",
        ),
        (
            "no index",
            vec![
                f(json!("x"), none.clone(), n.clone(), json!("{\"a\"")),
                f(none.clone(), none.clone(), none.clone(), json!(":1}")),
                f(json!("y"), none.clone(), n.clone(), json!("{}")),
            ],
            "x",
            "y",
        ),
        (
            "one index for all",
            vec![
                f(json!("x"), json!(0), n.clone(), json!("{\"a\":1}")),
                f(json!("y"), json!(0), n.clone(), json!("{}")),
            ],
            "x",
            "y",
        ),
        (
            "the name comes late",
            vec![
                f(json!("x"), json!(0), none.clone(), json!("{\"a\"")),
                f(none.clone(), json!(0), n.clone(), json!(":1}")),
                f(json!("y"), json!(1), n.clone(), json!("{}")),
            ],
            "x",
            "y",
        ),
        (
            "arguments are an object",
            vec![f(json!("x"), json!(0), n.clone(), json!({"a": 1})), f(json!("y"), json!(1), n.clone(), json!({}))],
            "x",
            "y",
        ),
    ];
    for (name, mut chunks, first, second) in cases {
        chunks.push(last("stop"));
        let (deltas, complete) = heard(&chunks);
        assert_eq!(calls_of(&deltas), two(first, second), "{name}: {deltas:?}");
        assert!(complete);
        assert_eq!(deltas.last().expect("deltas")["finish"]["reason"], "ToolCalls", "{name}");
    }
}

#[test]
fn calls_without_ids_get_ids_that_differ() {
    let call = |arguments: &str| chunk(json!({"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}));
    let (deltas, _) = heard(&[
        call("{\"a\":"),
        chunk(json!({"tool_calls": [{"function": {"name": "f", "arguments": "1}"}}]})),
        call("{}"),
        last(""),
    ]);
    let calls = calls_of(&deltas);
    assert_eq!(calls.iter().map(|call| call.2.as_str()).collect::<Vec<_>>(), ["{\"a\":1}", "{}"]);
    assert!(calls.iter().all(|call| call.0.starts_with("call_")) && calls[0].0 != calls[1].0, "{calls:?}");
    let old = [
        chunk(json!({"function_call": {"name": "f", "arguments": ""}})),
        chunk(json!({"function_call": {"arguments": "{}"}})),
    ];
    assert_eq!(calls_of(&heard(&old).0).len(), 1);
}

#[test]
fn thinking_reads_alike_whatever_its_name() {
    let expected = json!([{"start": {"id": "c", "model": "m"}}, {"thinking": [0, "Hm."]}, {"text": [0, "Yes"]}, {"finish": {"choice": 0, "reason": "Stop"}}]);
    let cases = [
        vec![chunk(json!({"reasoning_content": "Hm."})), chunk(json!({"content": "Yes"}))],
        vec![
            chunk(json!({"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]})),
            chunk(json!({"content": "Yes"})),
        ],
        vec![chunk(json!({"content": "", "reasoning_details": [{"text": "Hm."}]})), chunk(json!({"content": "Yes"}))],
        vec![chunk(
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes"}]}),
        )],
        vec![chunk(json!({"content": "<think>Hm.</think>\n\nYes"}))],
        vec![
            chunk(json!({"content": "\n<th"})),
            chunk(json!({"content": "ink>Hm.</"})),
            chunk(json!({"content": "think>\n"})),
            chunk(json!({"content": "Yes"})),
        ],
        vec![
            chunk(json!({"role": "assistant", "content": null, "reasoning_content": "Hm.", "tool_calls": null})),
            chunk(json!({"content": "Yes", "reasoning_content": null})),
        ],
    ];
    for mut chunks in cases {
        chunks.push(last("stop"));
        assert_eq!(Value::from(heard(&chunks).0), expected, "{chunks:?}");
    }
}

#[test]
fn seals_come_by_their_maker() {
    let details = json!([
        {"type": "reasoning.text", "text": "Hm.", "signature": "s", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "d", "format": "google-gemini-v1"},
        {"type": "reasoning.encrypted", "data": "e", "format": "xai-responses-v1"}
    ]);
    let response = read(&message(json!({"content": "Yes", "reasoning_details": details}))).expect("reads");
    let seal = |maker, data: &str, redacted| Some(Seal { maker, data: data.to_owned(), redacted });
    assert_eq!(
        response.choices[0].pieces,
        [
            Piece::Thinking(Thinking { text: "Hm.".to_owned(), seal: seal(Maker::Anthropic, "s", false) }),
            Piece::Thinking(Thinking { text: String::new(), seal: seal(Maker::Google, "d", true) }),
            Piece::Text("Yes".to_owned())
        ]
    );
}

#[test]
fn failures_end_a_stream_wherever_they_are_said() {
    let failures = [
        json!({"error": {"message": "overloaded"}}),
        json!({"id": "c", "choices": [{"index": 0, "delta": {}, "error": {"code": 502}, "finish_reason": "error"}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "insufficient_system_resource"}]}),
        json!({"id": "c", "choices": null, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
        json!({"object": "error", "message": "no"}),
        json!({"code": "Throttling", "message": "no", "request_id": "r"}),
        json!([{"error": {"code": 400}}]),
        json!("{\"choices\":[{"),
    ];
    for failure in failures {
        let (deltas, complete) = heard(&[
            chunk(json!({"content": "Hal"})),
            failure.clone(),
            chunk(json!({"content": "lo"})),
            json!("[DONE]"),
        ]);
        let body = failure.as_str().map_or_else(|| failure.to_string(), str::to_owned);
        let expected = json!([{"start": {"id": "c", "model": "m"}}, {"text": [0, "Hal"]}, {"error": body}]);
        assert_eq!((Value::from(deltas), complete), (expected, false));
        if failure.is_object() {
            assert!(read(&failure).is_err(), "{failure}");
        }
    }
    let harmless = json!({"choices": [{"message": {"content": "Hi"}}], "base_resp": {"status_code": 0}, "error": null});
    assert!(read(&harmless).is_ok());
    assert!(read(&json!({"choices": []})).is_err() && (PROVIDER.read_response)(b"<html>").is_err());
}

#[test]
fn a_stream_is_whole_at_its_end_and_not_before() {
    let text = || chunk(json!({"content": "Hi"}));
    assert!(!heard(&[text()]).1);
    assert!(heard(&[text(), last("stop")]).1);
    let (deltas, complete) = heard(&[text(), json!("[DONE]")]);
    assert!(complete && deltas.last().expect("deltas")["finish"]["reason"] == "Stop");
    let two = json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}, {"index": 1, "delta": {"content": "b"}}]});
    assert!(!heard(&[two]).1);
    assert!(!heard(&[]).1);
    assert_eq!(heard(&[last("stop"), last("stop"), text(), json!("[DONE]"), text()]).0.len(), 2, "start and finish");
}

#[test]
fn usage_is_found_under_every_name() {
    let rows = [
        (
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3, "audio_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 1}}}),
            [10, 5, 4, 3, 2, 1, 1],
        ),
        (
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22, "completion_tokens_details": {"reasoning_tokens": 7}}}),
            [10, 12, 0, 0, 7, 0, 0],
        ),
        (json!({"x_groq": {"id": "r", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}}), [1, 2, 0, 0, 0, 0, 0]),
        (json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 6}}), [10, 5, 6, 0, 0, 0, 0]),
        (
            json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 3}}),
            [10, 5, 7, 0, 0, 0, 0],
        ),
        (
            json!({"usage": {"input_tokens": 3, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 9}}}),
            [3, 4, 3, 0, 0, 0, 0],
        ),
    ];
    for (members, expected) in rows {
        let mut body = message(json!({"content": "x"}));
        body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        let usage = read(&body).expect("reads").usage.expect("usage");
        let found = [
            usage.input,
            usage.output,
            usage.cached_input,
            usage.cache_write,
            usage.reasoning,
            usage.audio_input,
            usage.audio_output,
        ];
        assert_eq!(found, expected, "{members}");
    }
    let in_choice = json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}]});
    assert!(heard(&[in_choice]).0.iter().any(|delta| delta["usage"]["input"] == 1));
    assert_eq!(read(&message(json!({"content": "x"}))).expect("reads").usage, None);
}

#[test]
fn whole_answers_keep_what_streams_have_no_word_for() {
    let audio = json!({"id": "a", "data": "AAAA", "transcript": "Hi"});
    let body = json!({"id": "c", "service_tier": "flex", "choices": [
        {"index": 1, "message": {"content": null, "audio": audio}, "finish_reason": "length"},
        {"index": 0, "message": {"content": "Hi", "annotations": [{"type": "url_citation"}], "refusal": null,
            "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}, "logprobs": {"content": []}, "finish_reason": ""}
    ]});
    let response = read(&body).expect("reads");
    assert_eq!(response.service_tier.as_deref(), Some("flex"));
    let [first, second] = &response.choices[..] else { panic!("two choices") };
    assert_eq!((first.index, &first.finish, &first.logprobs), (0, &Finish::Stop, &Some(json!({"content": []}))));
    let image = Piece::Image { media_type: "image/png".to_owned(), data: "AAAA".to_owned() };
    assert_eq!(first.pieces, [Piece::Text("Hi".to_owned()), Piece::Annotation(json!({"type": "url_citation"})), image]);
    assert_eq!((&second.pieces[..], &second.finish), (&[Piece::Audio(audio)][..], &Finish::Length));
}

#[test]
fn blank_lines_and_marks_before_an_answer_are_nothing() {
    let body = format!("\u{feff}\n\n\n{}", message(json!({"content": "Hi"})));
    assert!((PROVIDER.read_response)(body.as_bytes()).is_ok());
}

fn any_chunk() -> impl Strategy<Value = String> {
    let delta = prop_oneof![
        "[a-z<>/ think\\\\n\"é]{0,12}".prop_map(|text| json!({"content": text})),
        Just(json!({"reasoning_content": "é"})),
        (0u32..3, "[{}a\":1]{0,6}").prop_map(|(index, input)| json!({"tool_calls": [{"index": index, "id": null, "function": {"name": "f", "arguments": input}}]})),
        Just(json!({"content": null, "role": "assistant"})),
        Just(json!({"content": [{"type": "text", "text": "x"}, 5]})),
    ];
    let data = prop_oneof![
        8 => delta.prop_map(|delta| chunk(delta).to_string()),
        1 => Just(last("stop").to_string()),
        1 => Just("[DONE]".to_owned()),
        1 => Just("{\"usage\":{\"prompt_tokens\":1}}".to_owned()),
        1 => "[\\PC]{0,20}",
    ];
    prop_oneof![9 => data.prop_map(|data| format!("data: {data}\n\n")), 1 => Just(": ping\r\n\r\n".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_split_gives_the_same_deltas(chunks in prop::collection::vec(any_chunk(), 0..12), step in 1usize..40) {
        let bytes = chunks.concat().into_bytes();
        let whole = stream_in_steps(&bytes, bytes.len().max(1));
        prop_assert_eq!(&stream_in_steps(&bytes, step), &whole);
        prop_assert_eq!(&stream_in_steps(&bytes, 1), &whole);
        let after_error = whole.0.iter().skip_while(|delta| delta.get("error").is_none()).count();
        prop_assert!(after_error <= 1, "nothing follows an error");
    }

    #[test]
    fn no_answer_breaks_the_reader(body in "\\PC{0,80}|(\\{\"choices\":\\[\\{\"message\":\\{\"content\":)[\\PC]{0,40}") {
        let _ = (PROVIDER.read_response)(body.as_bytes());
    }
}

/// The dump is what goldens are compared by: it must tell deltas apart.
#[test]
fn the_dump_tells_text_from_thinking() {
    use crate::chat::delta::Delta;
    assert_ne!(
        dump(&Delta::Text { choice: 0, text: "x".into() }),
        dump(&Delta::Thinking { choice: 0, text: "x".into() })
    );
}
