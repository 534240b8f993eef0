//! The golden files of `tests/golden/google/`: requests, answers and streams as Google has them, and what they mean.
//!
//! A `response-` file has the body of an answer and what is read out of it; a `stream-` pair the raw bytes and the
//! deltas, neighbouring words of one kind joined; a `request-` file what a client sends and what the provider gets. Ids
//! that the reader made are shown as `call_*`.

use super::{CLIENT, PROVIDER, read_stream};
use crate::chat::ability::Abilities;
use crate::chat::delta::Delta;
use crate::chat::fault;
use crate::chat::request::{Effort, Maker, Seal, Thinking};
use crate::chat::response::{Finish, Piece, Response};
use crate::dialects::Aim;
use crate::domain::clock::UnixMillis;
use crate::domain::token::Usage;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

fn folder() -> PathBuf {
    let golden = std::env::var_os("IGRIS_GOLDEN")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")), PathBuf::from);
    golden.join("google")
}

/// The files whose names begin so, with their content.
pub(super) fn files(prefix: &str, ending: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder())
        .expect("the golden files are there")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            (name.starts_with(prefix) && name.ends_with(ending))
                .then(|| (name, std::fs::read(&path).expect("readable")))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no golden file {prefix}*{ending}");
    files
}

pub(super) fn json_of(name: &str, bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

#[test]
fn answers_are_read_as_their_golden_files_say() {
    for (name, bytes) in files("response-", ".json") {
        let golden = json_of(&name, &bytes);
        let body = serde_json::to_vec(&golden["body"]).expect("JSON");
        match (PROVIDER.read_response)(&body) {
            Ok(response) => assert_eq!(dump_response(&response), golden["expect"], "{name}"),
            Err(_) => assert_eq!(golden["expect"], "unreadable", "{name}"),
        }
    }
}

#[test]
fn streams_are_read_as_their_golden_files_say_however_they_are_cut() {
    for (name, bytes) in files("stream-", ".txt") {
        let expected = files(&name.replace(".txt", ".json"), "").remove(0);
        let expected = json_of(&expected.0, &expected.1);
        for step in [bytes.len(), 1, 2, 3, 7, 64, 1_000] {
            let (deltas, complete) = deltas_of(&bytes, step);
            assert_eq!(json!({"deltas": deltas, "complete": complete}), expected, "{name} in steps of {step}");
        }
    }
}

fn deltas_of(bytes: &[u8], step: usize) -> (Vec<Value>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    for read in bytes.chunks(step.max(1)) {
        reader.push(read, &mut |delta| push_delta(&delta, &mut deltas));
    }
    (deltas, reader.is_complete())
}

#[test]
fn requests_are_written_as_their_golden_files_say() {
    for (name, bytes) in files("request-", ".json") {
        let golden = json_of(&name, &bytes);
        assert_eq!(golden["client"], "gemini", "{name}: no other client's reader is here");
        let request = serde_json::to_vec(&golden["request"]).expect("JSON");
        let abilities = abilities(&golden["aim"]["abilities"]);
        let text = |member: &str| golden["aim"][member].as_str().expect("a string").to_owned();
        let (model, provider) = (text("model"), text("provider"));
        let aim = Aim { model: &model, abilities: &abilities, provider: &provider };
        let written = (CLIENT.read_request)(&request).and_then(|request| (PROVIDER.write_request)(&request, &aim));
        match written {
            Ok(written) => {
                assert_eq!(json_of(&name, &written.body), golden["expect"], "{name}");
                assert_eq!(json!(written.dropped), golden["dropped"], "{name}");
            }
            Err(refusal) => assert_eq!(json!({"param": refusal.param}), golden["refused"], "{name}: {refusal}"),
        }
    }
}

fn abilities(golden: &Value) -> Abilities {
    let flag = |name: &str| golden.get(name).and_then(Value::as_bool);
    let efforts = golden.get("efforts").and_then(Value::as_array).into_iter().flatten();
    Abilities {
        vision: flag("vision"),
        pdf_input: flag("pdf_input"),
        audio_input: flag("audio_input"),
        tools: flag("tools"),
        json_schema: flag("json_schema"),
        reasoning: flag("reasoning"),
        sampling_params: flag("sampling_params"),
        efforts: efforts.map(|word| Effort::parse(word.as_str().expect("a word")).expect("an effort")).collect(),
        ..Abilities::default()
    }
}

#[test]
fn faults_are_read_as_their_golden_files_say() {
    let mut wrong = Vec::new();
    for (name, bytes) in files("fault-", ".json") {
        let golden = json_of(&name, &bytes);
        let status = golden["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
        let body = golden["body"].to_string();
        let read = fault::classify(&super::FAULTS, status, &|_| None, body.as_bytes(), UnixMillis(0));
        let retry = read.retry_after.map(|wait| wait.as_millis() as u64);
        let read = json!({"class": read.class.as_str(), "code": read.code, "retry_after_ms": retry});
        if read != golden["expect"] {
            wrong.push(format!("{name}: {read}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_follows_an_error_and_no_bytes_panic() {
    let broken: [&[u8]; 8] = [
        b"data: {\n\ndata: {}\n\n",
        b"data: [{\"error\":{}}]\n\n",
        b"data: 1\n\n",
        b"data: {\"candidates\":{}}\n\n",
        b"data: {\"candidates\":[null]}\n\n",
        b"data: {\"candidates\":[{\"index\":-1}]}\n\n",
        b"data: {\"candidates\":[{\"content\":{\"parts\":\"x\"}}]}\n\n",
        b"data: \xff\n\n",
    ];
    for bytes in broken {
        let again =
            [bytes, b": alive\n\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}\n\n"].concat();
        let (deltas, complete) = deltas_of(&again, again.len());
        assert_eq!(deltas.len(), 1, "{deltas:?}");
        assert!(deltas[0].get("error").is_some() && !complete, "{deltas:?}");
    }
}

#[test]
fn a_stream_may_name_many_choices_but_not_without_end() {
    let mut decoder = read_stream::Decoder::default();
    let mut count = 0_usize;
    for index in 0..1_000 {
        let data = format!("{{\"candidates\":[{{\"index\":{index},\"content\":{{\"parts\":[{{\"text\":\"x\"}}]}}}}]}}");
        crate::dialects::sse::EventDecoder::event(&mut decoder, None, data.as_bytes(), &mut |_| count += 1);
    }
    assert!(count < 100, "{count}");
}

proptest::proptest! {
    #[test]
    fn any_cut_of_any_stream_gives_the_same_deltas(
        cuts in proptest::collection::vec(1_usize..200, 1..40),
        salt in 0_usize..50,
    ) {
        for (_, mut bytes) in files("stream-", ".txt") {
            // A wrong byte somewhere: still no panic, still the same deltas.
            let at = salt * 31 % bytes.len();
            bytes[at] = bytes[at].wrapping_add(u8::try_from(salt % 3).expect("small"));
            let whole = deltas_of(&bytes, bytes.len());
            let mut reader = (PROVIDER.stream_reader)();
            let mut deltas = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let (read, next) = rest.split_at((*cut).min(rest.len()));
                reader.push(read, &mut |delta| push_delta(&delta, &mut deltas));
                rest = next;
                if rest.is_empty() {
                    break;
                }
            }
            proptest::prop_assert_eq!((deltas, reader.is_complete()), whole);
        }
    }
}

// === Dumps ===

pub(super) fn dump_response(response: &Response) -> Value {
    let choices: Vec<Value> = response
        .choices
        .iter()
        .map(|choice| {
            let pieces: Vec<Value> = choice.pieces.iter().map(dump_piece).collect();
            let mut dump = json!({"index": choice.index, "pieces": pieces, "finish": finish(&choice.finish)});
            if let Some(logprobs) = &choice.logprobs {
                dump["logprobs"] = logprobs.clone();
            }
            dump
        })
        .collect();
    json!({"id": response.id, "model": response.model, "choices": choices, "usage": response.usage.as_ref().map(usage)})
}

fn dump_piece(piece: &Piece) -> Value {
    match piece {
        Piece::Text(text) => json!({"text": text}),
        Piece::Refusal(text) => json!({"refusal": text}),
        Piece::Thinking(Thinking { text, seal }) => json!({"thinking": text, "seal": seal.as_ref().map(dump_seal)}),
        Piece::ToolCall(call) => json!({"call": {
            "id": masked(&call.id), "name": call.name, "input": call.input, "seal": call.seal.as_ref().map(dump_seal),
        }}),
        Piece::Image { media_type, data } => json!({"image": {"media_type": media_type, "data": data}}),
        Piece::Audio(audio) => json!({"audio": audio}),
        Piece::Annotation(annotation) => json!({"annotation": annotation}),
    }
}

fn dump_seal(seal: &Seal) -> Value {
    let maker = match seal.maker {
        Maker::OpenAi => "openai",
        Maker::Anthropic => "anthropic",
        Maker::Google => "google",
    };
    json!({"maker": maker, "data": seal.data, "redacted": seal.redacted})
}

/// Ids of 16 hexadecimal digits are the reader's own, and other each time.
fn masked(id: &str) -> &str {
    let made =
        id.strip_prefix("call_").is_some_and(|rest| rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if made { "call_*" } else { id }
}

fn finish(finish: &Finish) -> Value {
    match finish {
        Finish::Stop => json!("stop"),
        Finish::StopText(text) => json!({"stop_text": text}),
        Finish::Length => json!("length"),
        Finish::ToolCalls => json!("tool_calls"),
        Finish::ContentFilter => json!("content_filter"),
        Finish::Pause => json!("pause"),
    }
}

/// The counts that are not zero.
fn usage(usage: &Usage) -> Value {
    let counts = [
        ("input", usage.input),
        ("output", usage.output),
        ("cached_input", usage.cached_input),
        ("cache_write", usage.cache_write),
        ("audio_input", usage.audio_input),
        ("audio_output", usage.audio_output),
        ("reasoning", usage.reasoning),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    Value::Object(counts.map(|(name, count)| (name.to_owned(), Value::from(count))).collect::<Map<_, _>>())
}

/// Adds a delta to a dump; words join the words of the same kind before them.
pub(super) fn push_delta(delta: &Delta<'_>, dump: &mut Vec<Value>) {
    let entry = match delta {
        Delta::Start { id, model } => json!({"start": {"id": id, "model": model}}),
        Delta::Text { choice, text } => return push_words("text", *choice, text, dump),
        Delta::Refusal { choice, text } => return push_words("refusal", *choice, text, dump),
        Delta::Thinking { choice, text } => return push_words("thinking", *choice, text, dump),
        Delta::Seal { choice, seal } => json!({"choice": choice, "seal": dump_seal(seal)}),
        Delta::ToolStart { choice, index, id, name, seal, .. } => json!({
            "choice": choice, "call": index, "id": masked(id), "name": name, "seal": seal.as_ref().map(dump_seal),
        }),
        Delta::ToolInput { choice, index, json } => json!({"choice": choice, "call": index, "input": json}),
        Delta::ToolEnd { choice, index } => json!({"choice": choice, "call": index, "end": true}),
        Delta::Image { choice, media_type, data } => {
            json!({"choice": choice, "image": {"media_type": media_type, "data": data}})
        }
        Delta::Logprobs { choice, logprobs } => json!({"choice": choice, "logprobs": logprobs}),
        Delta::Annotation { choice, annotation } => json!({"choice": choice, "annotation": annotation}),
        Delta::Finish { choice, reason } => json!({"choice": choice, "finish": finish(reason)}),
        Delta::Usage(counts) => json!({"usage": usage(counts)}),
        Delta::Ping => json!("ping"),
        Delta::Error { body } => json!({"error": String::from_utf8_lossy(body)}),
    };
    dump.push(entry);
}

fn push_words(kind: &str, choice: u32, words: &str, dump: &mut Vec<Value>) {
    if let Some(last) = dump.last_mut().filter(|last| last["choice"] == choice)
        && let Some(Value::String(text)) = last.get_mut(kind)
    {
        text.push_str(words);
        return;
    }
    dump.push(json!({"choice": choice, (kind): words}));
}
