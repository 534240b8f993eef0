//! The goldens of `tests/golden/anthropic`: requests as clients send them and as the provider gets them, answers and streams as it gives them.
//!
//! Shapes: `request-*.json` {client, request, aim, expect | refused, dropped}, where `dropped` is what reader and writer left out together;
//! `response-*.json` {body, expect} and `stream-*.txt` with `stream-*.json` {complete, deltas}, in the dumps below.

use super::{CLIENT, PROVIDER, write_for_bedrock_invoke, write_for_vertex};
use crate::chat::ability::Abilities;
use crate::chat::delta::Delta;
use crate::chat::request::{Effort, Maker, Refusal, Request, Seal};
use crate::chat::response::{Finish, Piece, Response};
use crate::dialects::{Aim, Setting, Written};
use crate::domain::token::Usage;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

fn folder() -> PathBuf {
    let goldens = option_env!("IGRIS_GOLDEN").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    PathBuf::from(goldens).join("anthropic")
}

/// Name and text of every golden that begins with `start` and ends with `end`; there is at least one.
fn goldens(start: &str, end: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder()).expect("the golden folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let named = paths.map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path));
    let chosen = named.filter(|(name, _)| name.starts_with(start) && name.ends_with(end));
    let mut goldens: Vec<_> =
        chosen.map(|(name, path)| (name, std::fs::read(path).expect("a readable golden"))).collect();
    goldens.sort();
    assert!(!goldens.is_empty(), "no golden {start}*{end}");
    goldens
}

fn parsed(name: &str, text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(super) fn setting() -> Setting<'static> {
    Setting { id: "01", model: "claude-opus-5", created: 1, usage_event: false, request: b"{}" }
}

fn abilities(stated: &Value) -> Abilities {
    let flag = |name: &str| stated[name].as_bool();
    let efforts = stated["efforts"].as_array().into_iter().flatten();
    Abilities {
        vision: flag("vision"),
        pdf_input: flag("pdf_input"),
        json_schema: flag("json_schema"),
        reasoning: flag("reasoning"),
        efforts: efforts.filter_map(|effort| Effort::parse(effort.as_str()?)).collect(),
        thinking_always_on: flag("thinking_always_on"),
        sampling_params: flag("sampling_params"),
        assistant_prefill: flag("assistant_prefill"),
        output_max: stated["output_max"].as_u64(),
        ..Abilities::default()
    }
}

fn written(golden: &Value) -> Result<(Request, Written), Refusal> {
    let request = (CLIENT.read_request)(golden["request"].to_string().as_bytes())?;
    let aim = &golden["aim"];
    let abilities = abilities(&aim["abilities"]);
    let provider = aim["provider"].as_str().expect("a provider");
    let aim = Aim { model: aim["model"].as_str().expect("a model"), abilities: &abilities, provider };
    let write = match provider {
        "vertex" => write_for_vertex,
        "bedrock" => write_for_bedrock_invoke,
        _ => PROVIDER.write_request,
    };
    let written = write(&request, &aim)?;
    Ok((request, written))
}

#[test]
fn every_request_is_written_as_its_golden_says() {
    let mut wrong = Vec::new();
    for (name, text) in goldens("request-", ".json") {
        let golden = parsed(&name, &text);
        if golden["client"] != "messages" {
            continue;
        }
        match written(&golden) {
            Ok((request, written)) => {
                compare(&name, parsed(&name, &written.body), &golden["expect"], &mut wrong);
                let dropped = [request.dropped, written.dropped].concat();
                compare(&name, json!(dropped), &golden["dropped"], &mut wrong);
            }
            Err(refusal) => compare(&name, json!({ "param": refusal.param }), &golden["refused"], &mut wrong),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Notes a golden that says otherwise, with what was found.
fn compare(name: &str, found: Value, expected: &Value, wrong: &mut Vec<String>) {
    if found != *expected {
        wrong.push(format!("{name}\n  found    {found}\n  expected {expected}"));
    }
}

fn dump_seal(seal: &Seal) -> Value {
    let maker = match seal.maker {
        Maker::OpenAi => "openai",
        Maker::Anthropic => "anthropic",
        Maker::Google => "google",
    };
    json!({ "maker": maker, "data": seal.data, "redacted": seal.redacted })
}

fn dump_finish(finish: &Finish) -> Value {
    match finish {
        Finish::Stop => json!("stop"),
        Finish::StopText(text) => json!({ "stop_text": text }),
        Finish::Length => json!("length"),
        Finish::ToolCalls => json!("tool_calls"),
        Finish::ContentFilter => json!("content_filter"),
        Finish::Pause => json!("pause"),
    }
}

fn dump_usage(usage: &Usage) -> Value {
    let figures = [
        ("input", usage.input),
        ("output", usage.output),
        ("cached_input", usage.cached_input),
        ("cache_write", usage.cache_write),
        ("cache_write_long", usage.cache_write_long),
        ("reasoning", usage.reasoning),
    ];
    let stated = figures.into_iter().filter(|(_, figure)| *figure > 0);
    stated.map(|(name, figure)| (name.to_owned(), json!(figure))).collect::<Map<_, _>>().into()
}

fn dump_piece(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({ "text": text }),
        Piece::Refusal(text) => json!({ "refusal": text }),
        Piece::Thinking(thinking) => {
            json!({ "thinking": thinking.text, "seal": thinking.seal.as_ref().map(dump_seal) })
        }
        Piece::ToolCall(call) => {
            json!({ "tool_call": { "id": call.id, "name": call.name, "input": call.input } })
        }
        Piece::Image { media_type, data } => json!({ "image": data, "media_type": media_type }),
        Piece::Audio(audio) => json!({ "audio": audio }),
        Piece::Annotation(annotation) => json!({ "annotation": annotation }),
    }
}

fn dump_response(response: &Response) -> Value {
    let choice = &response.choices[0];
    json!({
        "id": response.id,
        "model": response.model,
        "pieces": choice.pieces.iter().map(dump_piece).collect::<Vec<_>>(),
        "finish": dump_finish(&choice.finish),
        "usage": response.usage.as_ref().map(dump_usage),
        "service_tier": response.service_tier,
    })
}

pub(super) fn dump_delta(delta: &Delta<'_>) -> Value {
    match delta {
        Delta::Start { id, model } => json!({ "start": { "id": id, "model": model } }),
        Delta::Text { text, .. } => json!({ "text": text }),
        Delta::Refusal { text, .. } => json!({ "refusal": text }),
        Delta::Thinking { text, .. } => json!({ "thinking": text }),
        Delta::Seal { seal, .. } => json!({ "seal": dump_seal(seal) }),
        Delta::ToolStart { index, id, name, .. } => {
            json!({ "tool_start": { "index": index, "id": id, "name": name } })
        }
        Delta::ToolInput { index, json, .. } => json!({ "tool_input": json, "index": index }),
        Delta::ToolEnd { index, .. } => json!({ "tool_end": index }),
        Delta::Image { data, media_type, .. } => json!({ "image": data, "media_type": media_type }),
        Delta::Logprobs { logprobs, .. } => json!({ "logprobs": logprobs }),
        Delta::Annotation { annotation, .. } => json!({ "annotation": annotation }),
        Delta::Finish { reason, .. } => json!({ "finish": dump_finish(reason) }),
        Delta::Usage(usage) => json!({ "usage": dump_usage(usage) }),
        Delta::Ping => json!("ping"),
        Delta::Error { body } => json!({ "error": String::from_utf8_lossy(body) }),
    }
}

#[test]
fn every_answer_is_read_as_its_golden_says_and_survives_being_written() {
    let mut wrong = Vec::new();
    for (name, text) in goldens("response-", ".json") {
        let golden = parsed(&name, &text);
        let response = (PROVIDER.read_response)(golden["body"].to_string().as_bytes()).expect("an answer");
        compare(&name, dump_response(&response), &golden["expect"], &mut wrong);
        let mut out = Vec::new();
        (CLIENT.write_response)(&response, &setting(), &mut out);
        let again = (PROVIDER.read_response)(&out).expect("an answer of our own");
        // Citations have no way back, and a refusal's words become its text.
        let shown = |response: &Response| -> Vec<Value> {
            let pieces = response.choices[0].pieces.iter().filter(|piece| !matches!(piece, Piece::Annotation(_)));
            let as_text = |piece: &Piece| match piece {
                Piece::Refusal(text) => json!({ "text": text }),
                piece => dump_piece(piece),
            };
            pieces.map(as_text).collect()
        };
        assert_eq!(shown(&again), shown(&response), "{name}");
        assert_eq!(again.choices[0].finish, response.choices[0].finish, "{name}");
        assert_eq!(again.usage.unwrap_or_default(), response.usage.unwrap_or_default(), "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The deltas of a stream that comes in reads of so many bytes, and whether its end was seen.
pub(super) fn deltas(stream: &[u8], step: usize) -> (Vec<Value>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    for read in stream.chunks(step) {
        reader.push(read, &mut |delta| deltas.push(dump_delta(&delta)));
    }
    (deltas, reader.is_complete())
}

#[test]
fn every_stream_is_read_as_its_golden_says_however_it_is_cut() {
    let mut wrong = Vec::new();
    for (name, stream) in goldens("stream-", ".txt") {
        let expected_name = name.replace(".txt", ".json");
        let expected = std::fs::read(folder().join(&expected_name)).expect("the deltas of the stream");
        let expected = parsed(&expected_name, &expected);
        for step in [1, 2, 3, 7, 64, stream.len()] {
            let (deltas, complete) = deltas(&stream, step);
            compare(&expected_name, json!({ "complete": complete, "deltas": deltas }), &expected, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_stream_survives_being_written() {
    for (name, stream) in goldens("stream-", ".txt") {
        let (mut reader, mut writer) = ((PROVIDER.stream_reader)(), (CLIENT.stream_writer)(&setting()));
        let (mut out, mut usage) = (Vec::new(), None);
        reader.push(&stream, &mut |delta| {
            if let Delta::Usage(stated) = &delta {
                usage = Some(*stated);
            }
            writer.write(&delta, &mut out);
        });
        if !reader.is_complete() {
            continue;
        }
        writer.finish(usage.as_ref(), None, &mut out);
        let content = |stream: &[u8]| -> Vec<Value> {
            let invisible = ["start", "annotation", "usage"];
            let (deltas, complete) = deltas(stream, stream.len());
            assert!(complete, "{name}");
            let kept = |delta: &Value| delta != "ping" && invisible.iter().all(|name| delta.get(name).is_none());
            deltas.into_iter().filter(kept).collect()
        };
        let as_text = |mut deltas: Vec<Value>| {
            deltas.iter_mut().for_each(|delta| {
                if let Some(text) = delta.get("refusal").cloned() {
                    *delta = json!({ "text": text });
                }
            });
            deltas
        };
        assert_eq!(content(&out), as_text(content(&stream)), "{name}");
    }
}
