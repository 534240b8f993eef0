//! The golden files of this format, each read and compared whole.
//!
//! `client-request-*`: `request`, and the inner request it means (`expect`) or `refused`. `client-stream-*`: `deltas`,
//! and the events of the stream. `request-*` and `response-*` are the same towards a provider, and `stream-*.txt` is
//! what one sends. With `IGRIS_GOLDEN_WRITE` set, what is there now is written into the files, to be read by a person
//! before it is kept.

use super::{CLIENT, PROVIDER, dump};
use crate::chat::ability::Abilities;
use crate::chat::request::{Effort, Refusal};
use crate::chat::shown::Shown;
use crate::dialects::{Aim, Setting};
use crate::http::sse::{self, EventAssembler};
use serde_json::{Value, json};
use std::path::PathBuf;

fn folder() -> PathBuf {
    let root = std::env::var_os("IGRIS_GOLDEN")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")), PathBuf::from);
    root.join("openai-responses")
}

/// The files whose names begin with `prefix`, parsed. At least `least` must be there.
pub(super) fn cases(prefix: &str, least: usize) -> Vec<(PathBuf, Value)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the golden folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(".json")
        })
        .collect();
    paths.sort();
    assert!(paths.len() >= least, "only {} files {prefix}*", paths.len());
    let read = |path: PathBuf| {
        let text = std::fs::read(&path).expect("a readable file");
        let value = serde_json::from_slice(&text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        (path, value)
    };
    paths.into_iter().map(read).collect()
}

/// Compares the member `name` of a case with what came out.
pub(super) fn check(path: &PathBuf, case: &Value, name: &str, actual: Value) {
    if case[name] == actual {
        return;
    }
    if std::env::var_os("IGRIS_GOLDEN_WRITE").is_some() {
        // Another member may have been written since the case was read.
        let mut case: Value = serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
        case[name] = actual;
        let text = serde_json::to_string_pretty(&case).expect("JSON");
        std::fs::write(path, text + "\n").expect("a writable file");
        return;
    }
    let pretty = serde_json::to_string_pretty(&actual).expect("JSON");
    panic!("{}: `{name}` is now\n{pretty}", path.display());
}

pub(super) fn refused(refusal: &Refusal) -> Value {
    json!({"param": refusal.param})
}

/// The events in bytes of a stream, as name and data.
pub(super) fn events(bytes: &[u8]) -> Vec<Value> {
    let mut events = Vec::new();
    let mut spare = Vec::new();
    let mut assembler = EventAssembler::new(1 << 20);
    assembler.push(bytes, |event| {
        let name = sse::name(event).map(|name| String::from_utf8_lossy(name).into_owned());
        let data = sse::data(event).joined(&mut spare).expect("data");
        let data: Value = serde_json::from_slice(data).expect("JSON on one line");
        assert_eq!(name.as_deref(), data["type"].as_str());
        assert_eq!(data["sequence_number"], events.len());
        events.push(data);
    });
    assert!(assembler.unfinished().is_empty(), "whole events only");
    events
}

pub(super) fn setting(request: &[u8]) -> Setting<'_> {
    Setting { id: "01J", model: "claude-opus-5-5", created: 1_795_416_713, usage_event: false, request }
}

#[test]
fn client_requests() {
    for (path, case) in cases("client-request-", 8) {
        let body = serde_json::to_vec(&case["request"]).expect("JSON");
        match (CLIENT.read_request)(&body) {
            Ok(request) => check(&path, &case, "expect", dump::request(&request)),
            Err(refusal) => {
                assert!(refusal.message.ends_with('.'), "{}: {}", path.display(), refusal.message);
                check(&path, &case, "refused", refused(&refusal));
            }
        }
    }
}

#[test]
fn client_streams() {
    for (path, case) in cases("client-stream-", 6) {
        let request = serde_json::to_vec_pretty(&case["request"]).expect("JSON");
        let mut writer = (CLIENT.stream_writer)(&setting(&request));
        let mut out = Vec::new();
        for delta in case["deltas"].as_array().expect("deltas") {
            writer.write(&dump::delta_of(delta), &mut out);
        }
        if let Some(fault) = case.get("fault") {
            let status = u16::try_from(fault["status"].as_u64().expect("a status")).expect("small");
            let message = fault["message"].as_str().expect("a message");
            writer.fail(&Shown { status, code: "x", kind: "y", message, param: None, request_id: "req_1" }, &mut out);
        } else {
            let metadata = case.get("metadata").map(Value::to_string);
            let inside = metadata.as_deref().and_then(|text| text.strip_prefix('{')?.strip_suffix('}'));
            writer.finish(dump::usage_of(&case["usage"]).as_ref(), inside.map(str::as_bytes), &mut out);
        }
        // An end is an end: nothing follows it.
        let length = out.len();
        writer.finish(None, None, &mut out);
        assert_eq!(out.len(), length, "{}", path.display());
        check(&path, &case, "expect", events(&out).into());
    }
}

// ---- Towards a provider ----

/// `null` is "nobody says".
fn abilities(value: &Value) -> Abilities {
    let efforts = value["efforts"].as_array().into_iter().flatten();
    Abilities {
        reasoning: value["reasoning"].as_bool(),
        sampling_params: value["sampling_params"].as_bool(),
        parallel_tools: value["parallel_tools"].as_bool(),
        output_max: value["output_max"].as_u64(),
        efforts: efforts.filter_map(|word| Effort::parse(word.as_str()?)).collect(),
        ..Abilities::default()
    }
}

/// Here every case comes from a client of this same format: the readers of the others have their own.
#[test]
fn provider_requests() {
    for (path, case) in cases("request-", 5) {
        if case["client"] != "responses" {
            continue;
        }
        let body = serde_json::to_vec(&case["request"]).expect("JSON");
        let request = (CLIENT.read_request)(&body).expect("a readable request");
        let abilities = abilities(&case["aim"]["abilities"]);
        let model = case["aim"]["model"].as_str().expect("a model");
        match (PROVIDER.write_request)(&request, &Aim { model, abilities: &abilities, provider: "openai" }) {
            Ok(written) => {
                check(&path, &case, "expect", serde_json::from_slice(&written.body).expect("JSON"));
                check(&path, &case, "dropped", json!(written.dropped));
            }
            Err(refusal) => check(&path, &case, "refused", refused(&refusal)),
        }
    }
}

#[test]
fn provider_responses() {
    for (path, case) in cases("response-", 5) {
        let body = serde_json::to_vec(&case["body"]).expect("JSON");
        match (PROVIDER.read_response)(&body) {
            Ok(response) => check(&path, &case, "expect", dump::response(&response)),
            Err(fault) => check(&path, &case, "unreadable", json!(fault.0)),
        }
    }
}

/// The deltas of a stream that comes in pieces of `size` bytes.
fn deltas(bytes: &[u8], size: usize) -> (Vec<Value>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    for piece in bytes.chunks(size) {
        reader.push(piece, &mut |delta| deltas.push(dump::delta(&delta)));
    }
    (deltas, reader.is_complete())
}

#[test]
fn provider_streams() {
    for (path, case) in cases("stream-", 5) {
        let bytes = std::fs::read(path.with_extension("txt")).expect("the stream beside it");
        let (whole, complete) = deltas(&bytes, bytes.len());
        for size in [1, 2, 3, 7, 64, 1_000] {
            assert_eq!(deltas(&bytes, size), (whole.clone(), complete), "{} in {size}", path.display());
        }
        check(&path, &case, "deltas", whole.into());
        check(&path, &case, "complete", json!(complete));
    }
}
