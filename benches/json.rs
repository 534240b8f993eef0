//! The JSON scanner on bodies as clients send them, beside parsers that do more.
//!
//! Run with `cargo bench --bench json`; say the machine and run twice, for a shared one moves by a tenth.
//! `members` finds the routing fields of a request in one validating pass, which is what every exchange pays.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use igris::domain::money::Money;
use igris::json::scan::{self, Names};
use igris::json::splice::Edits;
use igris::limits::JSON_DEPTH_MAX;
use igris::metering::mould::Recall;
use igris::metering::tap;
use igris::metering::usage::{Accounting, answer_of_body};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::hint::black_box;
use std::io::Write as _;

/// What every exchange asks of a request's body.
const POLICY_WORDS: [&str; 7] =
    ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "provider", "routing_policy"];
static POLICY: Names = Names::new(&POLICY_WORDS);

/// A chat of `turns` turns: escapes as prose has them, and in every third turn some text above ASCII if wanted.
fn chat(turns: usize, above_ascii: bool) -> String {
    let mut messages = Vec::new();
    for turn in 0..turns {
        let mut content = String::from(
            "Explain how a reverse proxy keeps its connections to an upstream alive, what happens when one is closed under a \
             request, and which requests may be sent again.\nQuote the \"idempotent\" methods and say why POST is not one. Keep \
             it under two hundred words, and give one example from the field with its timings in milliseconds.",
        );
        if above_ascii && turn % 3 == 0 {
            content.push_str(" Antworte bitte auf Französisch – zum Beispiel über die Brücke in Köln, 漢字も少し。");
        }
        messages
            .push(serde_json::json!({"role": if turn % 2 == 0 { "user" } else { "assistant" }, "content": content}));
    }
    serde_json::json!({
        "model": "gpt-4o-mini", "temperature": 0.7, "max_tokens": 512, "stream": true, "messages": messages,
    })
    .to_string()
}

/// An answer with one embedding of so many numbers.
fn vector(length: usize) -> String {
    let numbers: Vec<f64> = (0..length).map(|place| f64::from(place as u32).sin() / 31.0).collect();
    serde_json::json!({"object": "list", "data": [{"index": 0, "embedding": numbers}]}).to_string()
}

fn requests(criterion: &mut Criterion) {
    let bodies = [
        ("chat 2.4 KB", chat(6, false)),
        ("chat 2.6 KB, some above ASCII", chat(6, true)),
        ("chat 40 KB", chat(100, false)),
        ("chat 1 MB", chat(2_600, false)),
        ("chat 1 MB, some above ASCII", chat(2_300, true)),
        ("vector of 1,536 numbers", vector(1_536)),
    ];
    for (name, body) in &bodies {
        let bytes = body.as_bytes();
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("validate", |bench| bench.iter(|| scan::validate(black_box(bytes), JSON_DEPTH_MAX)));
        group.bench_function("members", |bench| {
            let mut found = [None; 7];
            bench.iter(|| scan::members(black_box(bytes), &POLICY, &mut found).is_ok());
        });
        group.bench_function("members and splice", |bench| {
            let mut found = [None; 7];
            let mut edits = Edits::new();
            let mut out = Vec::new();
            bench.iter(|| {
                edits.clear();
                out.clear();
                let object = scan::members(black_box(bytes), &POLICY, &mut found).expect("valid");
                if let Some(model) = found[0] {
                    edits.replace(model.value, b"\"gpt-5.6-terra\"");
                }
                edits.append_member(object, br#""stream_options":{"include_usage":true}"#);
                edits.write(bytes, &mut out);
                out.len()
            });
        });
        group.bench_function("serde_json ignored", |bench| {
            bench.iter(|| serde_json::from_slice::<IgnoredAny>(black_box(bytes)).is_ok());
        });
        group.bench_function("serde_json raw", |bench| {
            bench.iter(|| serde_json::from_slice::<&RawValue>(black_box(bytes)).is_ok());
        });
        group.bench_function("sonic-rs raw", |bench| {
            bench.iter(|| sonic_rs::from_slice::<sonic_rs::LazyValue<'_>>(black_box(bytes)).is_ok());
        });
        group.bench_function("sonic-rs members", |bench| {
            // Checks UTF-8 and the members that it passes, as `members` does; it stops at the last one that is asked for.
            let paths = POLICY_WORDS.map(|word| [word]);
            let mut tree = sonic_rs::PointerTree::new();
            paths.iter().for_each(|path| tree.add_path(path));
            bench.iter(|| sonic_rs::get_many(black_box(bytes), &tree).is_ok());
        });
        group.bench_function("simd-json tape", |bench| {
            let mut scratch = bytes.to_vec();
            let mut buffers = simd_json::Buffers::new(bytes.len());
            bench.iter(|| {
                // It unescapes in place, so each round needs the text afresh.
                scratch.copy_from_slice(black_box(bytes));
                simd_json::to_tape_with_buffers(&mut scratch, &mut buffers).is_ok()
            });
        });
        group.finish();
    }
}

fn answers(criterion: &mut Criterion) {
    let delta = br#"{"id":"chatcmpl-Bx1aZ9QmYt3wE","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_44added55e","choices":[{"index":0,"delta":{"content":" connection"},"logprobs":null,"finish_reason":null}],"usage":null}"#;
    let last = br#"{"id":"chatcmpl-Bx1aZ9QmYt3wE","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_44added55e","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#;
    let body = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1764000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"A reverse proxy keeps a pool of connections.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#;
    let mut group = criterion.benchmark_group("answers");
    group.bench_function("tap: plain delta", |bench| bench.iter(|| tap::look(black_box(delta), Accounting::OpenAi)));
    group.bench_function("tap: usage event", |bench| bench.iter(|| tap::look(black_box(last), Accounting::OpenAi)));
    group.bench_function("one pass over an answer", |bench| {
        bench.iter(|| answer_of_body(black_box(body), Accounting::OpenAi));
    });
    let mut recall = Recall::default();
    group.bench_function("an answer like the last one", |bench| {
        bench.iter(|| recall.read(black_box(body), Accounting::OpenAi));
    });
    let cost = Money::from_pico(1_234_567_890);
    let mut out = Vec::with_capacity(64);
    group.bench_function("money by hand", |bench| {
        bench.iter(|| {
            out.clear();
            black_box(cost).append(&mut out);
        });
    });
    group.bench_function("money by core::fmt", |bench| {
        bench.iter(|| {
            out.clear();
            let pico = black_box(cost).pico();
            write!(out, "{}.{:012}", pico / 1_000_000_000_000, pico % 1_000_000_000_000)
        });
    });
    group.finish();
}

criterion_group!(benches, requests, answers);
criterion_main!(benches);
