//! What translation costs: a streamed text event, a request and an answer, for every client format before every provider format, beside the
//! relays of streams that only pass.
//!
//! `cargo bench --bench dialects`. A stream is 200 text events shaped as the provider sends them; each comes in a read of its own, and reader
//! and writer are made anew for each stream, as the gateway does. Criterion's throughput of elements is events.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use igris::chat::ability::Abilities;
use igris::data_plane::native_stream::NativeRelay;
use igris::data_plane::stream::{StreamRelay, StreamWishes};
use igris::data_plane::translate_stream::TranslateRelay;
use igris::dialects::{Aim, Setting, Wire};
use igris::metering::usage::Accounting;
use serde_json::json;
use std::hint::black_box;

const EVENTS: usize = 200;
const CLIENTS: [Wire; 4] = [Wire::Chat, Wire::Responses, Wire::Messages, Wire::Gemini];
const PROVIDERS: [Wire; 6] = [Wire::Chat, Wire::Responses, Wire::Messages, Wire::Gemini, Wire::Converse, Wire::Cohere];

fn setting() -> Setting<'static> {
    Setting { id: "01JDW3Z6YQ", model: "a-model", created: 1_795_416_713, usage_event: true, request: b"{}" }
}

// ---- Streams ------------------------------------------------------------------------------------------------------------

/// The words of one event: plain ones, and now and then one that JSON escapes.
fn word(at: usize) -> &'static str {
    [
        " the",
        " gateway",
        " reads",
        " an event",
        " and writes",
        " another",
        ",",
        " with \\\"quotes\\\"",
        "\\n",
        " größer",
    ][at % 10]
}

fn named(name: &str, data: &str) -> Vec<u8> {
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}

fn chat_event(at: usize) -> Vec<u8> {
    format!(
        r#"data: {{"id":"chatcmpl-CfJ1","object":"chat.completion.chunk","created":1795416713,"model":"gpt-5.4","service_tier":"default","system_fingerprint":"fp_1","choices":[{{"index":0,"delta":{{"content":"{}"}},"logprobs":null,"finish_reason":null}}],"usage":null,"obfuscation":"Zk3"}}"#,
        word(at)
    )
    .into_bytes()
    .into_iter()
    .chain(*b"\n\n")
    .collect()
}

fn responses_event(at: usize) -> Vec<u8> {
    named(
        "response.output_text.delta",
        &format!(
            r#"{{"type":"response.output_text.delta","sequence_number":{},"item_id":"msg_0a1b2c3d4e5f","output_index":0,"content_index":0,"delta":"{}","logprobs":[],"obfuscation":"Zk3"}}"#,
            at + 4,
            word(at)
        ),
    )
}

fn messages_event(at: usize) -> Vec<u8> {
    let data =
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{}"}}}}"#, word(at));
    named("content_block_delta", &data)
}

fn gemini_event(at: usize) -> Vec<u8> {
    format!(
        r#"data: {{"candidates": [{{"content": {{"parts": [{{"text": "{}"}}],"role": "model"}},"index": 0}}],"usageMetadata": {{"promptTokenCount": 12,"candidatesTokenCount": {at},"totalTokenCount": {},"promptTokensDetails": [{{"modality": "TEXT","tokenCount": 12}}]}},"modelVersion": "gemini-3.8-flash","responseId": "r-1Aab"}}"#,
        word(at),
        at + 12
    )
    .into_bytes()
    .into_iter()
    .chain(*b"\r\n\r\n")
    .collect()
}

fn cohere_event(at: usize) -> Vec<u8> {
    let data = format!(
        r#"{{"type":"content-delta","index":0,"delta":{{"message":{{"content":{{"text":"{}"}}}}}}}}"#,
        word(at)
    );
    named("content-delta", &data)
}

/// The frames of a Converse stream: those of the golden, its first text again and again.
fn converse_events() -> Vec<Vec<u8>> {
    let hex = include_str!("../tests/golden/bedrock/stream-text.hex");
    let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let mut frames = Vec::new();
    let mut rest = &bytes[..];
    while let Some(length) = rest.first_chunk::<4>() {
        let (frame, next) = rest.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(frame.to_vec());
        rest = next;
    }
    let is_text = |frame: &Vec<u8>| frame.windows(17).any(|part| part == b"contentBlockDelta");
    let text = frames.iter().position(is_text).expect("a text");
    let ending = frames.split_off(text + 1);
    frames.extend(std::iter::repeat_n(frames[text].clone(), EVENTS - 1));
    frames.extend(ending.into_iter().filter(|frame| !is_text(frame)));
    frames
}

/// The events of a stream that a provider of the format sends, its beginning and end included.
fn events(wire: Wire) -> Vec<Vec<u8>> {
    let (golden, middle): (&str, fn(usize) -> Vec<u8>) = match wire {
        Wire::Chat => (
            "data: {\"id\":\"chatcmpl-CfJ1\",\"model\":\"gpt-5.4\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n\
            data: {\"id\":\"chatcmpl-CfJ1\",\"model\":\"gpt-5.4\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
            data: {\"id\":\"chatcmpl-CfJ1\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":200,\"total_tokens\":212}}\n\ndata: [DONE]\n\n",
            chat_event,
        ),
        Wire::Responses => (
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-5.4\",\"output\":[]}}\n\n\
            event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"id\":\"msg_0a1b2c3d4e5f\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}}\n\n\
            event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":12,\"output_tokens\":200,\"total_tokens\":212}}}\n\n",
            responses_event,
        ),
        Wire::Messages => (
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-opus-5\",\"content\":[],\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n\
            event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
            event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
            event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":200}}\n\n\
            event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            messages_event,
        ),
        Wire::Gemini => (
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"\"}],\"role\": \"model\"},\"index\": 0}],\"responseId\": \"r-1Aab\"}\n\n\
            data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \".\"}],\"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 12,\"candidatesTokenCount\": 200,\"totalTokenCount\": 212},\"responseId\": \"r-1Aab\"}\n\n",
            gemini_event,
        ),
        Wire::Cohere => (
            "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"29f14a5a\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[]}}}\n\n\
            event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}\n\n\
            event: content-end\ndata: {\"type\":\"content-end\",\"index\":0}\n\n\
            event: message-end\ndata: {\"type\":\"message-end\",\"id\":\"29f14a5a\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":71.0,\"output_tokens\":200.0}}}}\n\n",
            cohere_event,
        ),
        Wire::Converse => return converse_events(),
    };
    let frame: Vec<Vec<u8>> = golden.split_inclusive("\n\n").map(|event| event.as_bytes().to_vec()).collect();
    // What comes before the text, the text, what comes after it.
    let before = if matches!(wire, Wire::Chat | Wire::Gemini) { 1 } else { 2 };
    let text = (0..EVENTS).map(middle);
    frame[..before].iter().cloned().chain(text).chain(frame[before..].iter().cloned()).collect()
}

/// A whole stream through reader and writer; the bytes for the client.
fn translate(provider: Wire, client: Wire, events: &[Vec<u8>], out: &mut Vec<u8>) {
    let reader = (provider.provider_side().stream_reader)();
    let writer = (client.client_side().expect("a client format").stream_writer)(&setting());
    let mut relay = TranslateRelay::new(reader, writer, false);
    out.clear();
    for event in events {
        relay.feed(event, out);
    }
    relay.finish(out, &mut |_, _| {});
    assert_eq!(relay.facts().usage.map(|usage| usage.output > 0), Some(true), "{provider:?} is read to its end");
}

fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("stream event, translated");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let mut out = Vec::new();
    for provider in PROVIDERS {
        let events = events(provider);
        for client in CLIENTS {
            let id = BenchmarkId::new(format!("{client:?}"), format!("{provider:?}"));
            group.bench_function(id, |b| b.iter(|| translate(provider, client, black_box(&events), &mut out)));
        }
    }
    group.finish();
}

fn passing(c: &mut Criterion) {
    let mut group = c.benchmark_group("stream event, passed");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let mut out = Vec::new();
    let chat = events(Wire::Chat);
    let wishes = StreamWishes { metadata: true, usage_event: true, accounting: Accounting::OpenAi };
    group.bench_function("Chat", |b| {
        b.iter(|| {
            let mut relay = StreamRelay::new(wishes);
            out.clear();
            for event in black_box(&chat) {
                relay.feed(event, &mut out, &mut |_, _| {});
            }
            relay.finish(&mut out, &mut |_, _| {});
            assert!(relay.facts().usage.is_some());
        });
    });
    for wire in [Wire::Responses, Wire::Messages, Wire::Gemini] {
        let events = events(wire);
        group.bench_function(format!("{wire:?}"), |b| {
            b.iter(|| {
                let mut relay = NativeRelay::new(wire, false, false).expect("a format that passes");
                out.clear();
                for event in black_box(&events) {
                    relay.feed(event, &mut out, &mut |_, _| {});
                }
                relay.finish(&mut out);
                assert!(relay.facts().usage.is_some());
            });
        });
    }
    group.finish();
}

// ---- Requests -----------------------------------------------------------------------------------------------------------

/// A conversation of about so many bytes in a client's format: short turns of text, with a tool on offer.
fn request(client: Wire, bytes: usize) -> Vec<u8> {
    let text = "The quick brown fox \"jumps\" over the lazy dog and asks why.\n".repeat(4);
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let turns = 1 + 2 * (bytes / 600).max(1);
    let role = |at: usize, model: &'static str| if at.is_multiple_of(2) { "user" } else { model };
    let body = match client {
        Wire::Chat => json!({ "model": "m", "max_completion_tokens": 1000,
            "messages": (0..turns).map(|at| json!({ "role": role(at, "assistant"),
                "content": text })).collect::<Vec<_>>(),
            "tools": [{ "type": "function", "function": { "name": "weather", "parameters": schema } }] }),
        Wire::Responses => json!({ "model": "m", "max_output_tokens": 1000,
            "input": (0..turns).map(|at| json!({ "role": role(at, "assistant"), "content": text })).collect::<Vec<_>>(),
            "tools": [{ "type": "function", "name": "weather", "parameters": schema }] }),
        Wire::Messages => json!({ "model": "m", "max_tokens": 1000,
            "messages": (0..turns).map(|at| json!({ "role": role(at, "assistant"),
                "content": text })).collect::<Vec<_>>(),
            "tools": [{ "name": "weather", "input_schema": schema }] }),
        _ => json!({ "generationConfig": { "maxOutputTokens": 1000 },
            "contents": (0..turns).map(|at| json!({ "role": role(at, "model"),
                "parts": [{ "text": text }] })).collect::<Vec<_>>(),
            "tools": [{ "functionDeclarations": [{ "name": "weather", "parametersJsonSchema": schema }] }] }),
    };
    serde_json::to_vec(&body).expect("JSON")
}

/// The provider and the model for whom a request is written.
fn aim(provider: Wire, abilities: &Abilities) -> Aim<'_> {
    let (provider, model) = match provider {
        Wire::Chat => ("openai", "gpt-4.1"),
        Wire::Responses => ("openai", "gpt-5.3-codex"),
        Wire::Messages => ("anthropic", "claude-opus-5"),
        Wire::Gemini => ("google", "gemini-3.8-flash"),
        Wire::Converse => ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        Wire::Cohere => ("cohere", "command-a-03-2025"),
    };
    Aim { model, provider, abilities }
}

fn requests(c: &mut Criterion) {
    let abilities = Abilities::default();
    for kib in [2, 50] {
        let mut group = c.benchmark_group(format!("request of {kib} KiB, translated"));
        for client in CLIENTS {
            let body = request(client, kib * 1024);
            group.throughput(Throughput::Bytes(body.len() as u64));
            let read = client.client_side().expect("a client format").read_request;
            for provider in PROVIDERS.into_iter().filter(|provider| *provider != client) {
                let aim = aim(provider, &abilities);
                group.bench_function(BenchmarkId::new(format!("{client:?}"), format!("{provider:?}")), |b| {
                    b.iter(|| {
                        let request = read(black_box(&body)).expect("a good request");
                        (provider.provider_side().write_request)(&request, &aim).expect("it can be said")
                    });
                });
            }
        }
        group.finish();
    }
}

// ---- Answers ------------------------------------------------------------------------------------------------------------

fn answers(c: &mut Criterion) {
    let goldens: [(Wire, &str); 6] = [
        (Wire::Chat, include_str!("../tests/golden/openai/response-tools.json")),
        (Wire::Responses, include_str!("../tests/golden/openai-responses/response-calls.json")),
        (Wire::Messages, include_str!("../tests/golden/anthropic/response-tools.json")),
        (Wire::Gemini, include_str!("../tests/golden/google/response-tool-calls.json")),
        (Wire::Converse, include_str!("../tests/golden/bedrock/response-tools.json")),
        (Wire::Cohere, include_str!("../tests/golden/cohere/response-tools.json")),
    ];
    let mut group = c.benchmark_group("answer with tool calls, translated");
    for (provider, golden) in goldens {
        let golden: serde_json::Value = serde_json::from_str(golden).expect("a golden is JSON");
        let body = golden["body"].to_string();
        for client in CLIENTS.into_iter().filter(|client| *client != provider) {
            let write = client.client_side().expect("a client format").write_response;
            group.bench_function(BenchmarkId::new(format!("{client:?}"), format!("{provider:?}")), |b| {
                b.iter_batched_ref(
                    Vec::new,
                    |out| {
                        let answer = (provider.provider_side().read_response)(black_box(body.as_bytes()));
                        write(&answer.expect("a good answer"), &setting(), out);
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(benches, streams, passing, requests, answers);
criterion_main!(benches);
