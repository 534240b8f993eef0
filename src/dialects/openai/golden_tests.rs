//! Golden files of every vendor: requests as they are sent, answers and streams as they are read.
//!
//! `request-*.json` holds a client's request, the aim, and the body that must come out or the member that is refused; `response-*.json` an
//! answer and what a Chat client is shown of it; `stream-*.txt` the bytes of a stream and `stream-*.json` its deltas.

use super::{CLIENT, PROVIDER};
use crate::chat::ability::Abilities;
use crate::chat::delta::Delta;
use crate::chat::request::{Effort, Maker, Seal};
use crate::dialects::{Aim, Setting};
use serde_json::{Value, json};
use std::path::PathBuf;

const VENDORS: [&str; 13] = [
    "openai",
    "azure",
    "mistral",
    "deepseek",
    "kimi",
    "qwen",
    "zai",
    "minimax",
    "groq",
    "xai",
    "together",
    "openrouter",
    "vllm",
];

fn folder() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    std::env::var("IGRIS_GOLDEN").unwrap_or_else(|_| own.to_owned()).into()
}

/// The files of one kind, of all vendors; at least one a vendor.
fn goldens(kind: &str, ending: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for vendor in VENDORS {
        let folder = folder().join(vendor);
        let before = found.len();
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(kind) && name.ends_with(ending) {
                found.push((path.clone(), std::fs::read(&path).expect("reads")));
            }
        }
        assert!(found.len() > before, "{vendor} has no {kind}*{ending}");
    }
    found
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("a golden file is JSON")
}

// === Requests ===

fn abilities(value: &Value) -> Abilities {
    let flag = |name: &str| value[name].as_bool();
    let efforts = value["efforts"].as_array().map(Vec::as_slice).unwrap_or_default();
    Abilities {
        vision: flag("vision"),
        pdf_input: flag("pdf_input"),
        audio_input: flag("audio_input"),
        tools: flag("tools"),
        parallel_tools: flag("parallel_tools"),
        json_schema: flag("json_schema"),
        reasoning: flag("reasoning"),
        efforts: efforts.iter().filter_map(|effort| Effort::parse(effort.as_str()?)).collect(),
        thinking_always_on: flag("thinking_always_on"),
        sampling_params: flag("sampling_params"),
        assistant_prefill: flag("assistant_prefill"),
        output_max: value["output_max"].as_u64(),
        context_window: value["context_window"].as_u64(),
        endpoints: Vec::new(),
    }
}

#[test]
fn requests_are_sent_as_each_vendor_takes_them() {
    for (path, bytes) in goldens("request-", ".json") {
        let golden = json_of(&bytes);
        if golden["client"] != "chat" {
            continue;
        }
        let request = (CLIENT.read_request)(golden["request"].to_string().as_bytes());
        let request = request.unwrap_or_else(|refusal| panic!("{}: {refusal}", path.display()));
        let aim = &golden["aim"];
        let abilities = abilities(&aim["abilities"]);
        let text = |name: &str| aim[name].as_str().expect("text");
        let aim = Aim { model: text("model"), provider: text("provider"), abilities: &abilities };
        match (PROVIDER.write_request)(&request, &aim) {
            Ok(written) => {
                assert_eq!(json_of(&written.body), golden["expect"], "{}", path.display());
                assert_eq!(json!(written.dropped), golden["dropped"], "{}", path.display());
            }
            Err(refusal) => assert_eq!(golden["refused"]["param"], refusal.param.as_ref(), "{}", path.display()),
        }
    }
}

// === Answers ===

/// What a Chat client is shown of an answer.
pub(super) fn shown(body: &[u8]) -> Value {
    let response = (PROVIDER.read_response)(body).expect("the answer reads");
    let setting = Setting { id: "golden", model: &response.model, created: 0, usage_event: false, request: b"{}" };
    let mut out = Vec::new();
    (CLIENT.write_response)(&response, &setting, &mut out);
    json_of(&out)
}

#[test]
fn answers_of_every_vendor_are_shown_alike() {
    for (path, bytes) in goldens("response-", ".json") {
        let golden = json_of(&bytes);
        assert_eq!(shown(golden["body"].to_string().as_bytes()), golden["expect"], "{}", path.display());
    }
}

// === Streams ===

/// The deltas of a stream that comes in reads of `step` bytes, and whether it came to its end.
pub(super) fn stream_in_steps(bytes: &[u8], step: usize) -> (Vec<Value>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    for read in bytes.chunks(step) {
        reader.push(read, &mut |delta| deltas.push(dump(&delta)));
    }
    (deltas, reader.is_complete())
}

#[test]
fn streams_of_every_vendor_read_alike_in_any_pieces() {
    for (path, bytes) in goldens("stream-", ".txt") {
        let golden = json_of(&std::fs::read(path.with_extension("json")).expect("its deltas"));
        for step in [bytes.len(), 1, 7, 64] {
            let (deltas, complete) = stream_in_steps(&bytes, step);
            assert_eq!(json!({"deltas": deltas, "complete": complete}), golden, "{} by {step}", path.display());
        }
    }
}

/// A delta as JSON.
pub(super) fn dump(delta: &Delta<'_>) -> Value {
    match delta {
        Delta::Start { id, model } => json!({"start": {"id": id, "model": model}}),
        Delta::Text { choice, text } => json!({"text": [choice, text]}),
        Delta::Refusal { choice, text } => json!({"refusal": [choice, text]}),
        Delta::Thinking { choice, text } => json!({"thinking": [choice, text]}),
        Delta::Seal { choice, seal } => json!({"seal": [choice, seal_dump(seal)]}),
        Delta::ToolStart { choice, index, id, name, custom, seal } => {
            let seal = seal.as_ref().map(seal_dump);
            json!({"tool_start": {"choice": choice, "index": index, "id": id, "name": name, "custom": custom, "seal": seal}})
        }
        Delta::ToolInput { choice, index, json } => {
            json!({"tool_input": {"choice": choice, "index": index, "json": json}})
        }
        Delta::ToolEnd { choice, index } => json!({"tool_end": {"choice": choice, "index": index}}),
        Delta::Image { choice, media_type, data } => json!({"image": [choice, media_type, data]}),
        Delta::Logprobs { choice, logprobs } => json!({"logprobs": [choice, logprobs]}),
        Delta::Annotation { choice, annotation } => json!({"annotation": [choice, annotation]}),
        Delta::Finish { choice, reason } => json!({"finish": {"choice": choice, "reason": format!("{reason:?}")}}),
        Delta::Usage(usage) => {
            json!({"usage": {"input": usage.input, "output": usage.output, "cached_input": usage.cached_input,
            "cache_write": usage.cache_write, "reasoning": usage.reasoning, "audio_input": usage.audio_input, "audio_output": usage.audio_output}})
        }
        Delta::Ping => json!("ping"),
        Delta::Error { body } => json!({"error": String::from_utf8_lossy(body)}),
    }
}

fn seal_dump(seal: &Seal) -> Value {
    let maker = match seal.maker {
        Maker::OpenAi => "openai",
        Maker::Anthropic => "anthropic",
        Maker::Google => "google",
    };
    json!({"maker": maker, "data": seal.data, "redacted": seal.redacted})
}
