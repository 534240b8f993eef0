//! What a streamed event costs on its way through: finding it, reading it for the bill, relaying it, framing it again.
//!
//! `cargo bench --bench sse`. Criterion's throughput of elements is events. `look` reads every event in full, which happens to the first of a
//! kind alone; `relay` is what a stream pays, one event a read or thirty-two. No figure here has system calls in it.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use igris::data_plane::native_stream::NativeRelay;
use igris::data_plane::stream::{StreamRelay, StreamWishes};
use igris::dialects::{Wire, anthropic, gemini, responses};
use igris::http::body::{ChunkedReader, Step};
use igris::http::sse::{self, EventScanner};
use igris::http::write;
use igris::metering::tap;
use igris::metering::usage::Accounting;
use std::hint::black_box;

const EVENTS: usize = 256;
const READS: [usize; 2] = [1, 32];
const WIRES: [Wire; 4] = [Wire::Chat, Wire::Responses, Wire::Messages, Wire::Gemini];

fn word(at: usize) -> &'static str {
    [" the", " gateway", " reads", " an event", ",", " with \\\"quotes\\\"", "\\n", " größer"][at % 8]
}

fn event(wire: Wire, at: usize) -> Vec<u8> {
    let word = word(at);
    let text = match wire {
        Wire::Responses => format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{at},\"item_id\":\"msg_0a1b2c3d4e5f\",\"output_index\":0,\"content_index\":0,\"delta\":\"{word}\",\"logprobs\":[],\"obfuscation\":\"{}\"}}\n\n",
            "x".repeat(at % 9)
        ),
        Wire::Messages => format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{word}\"}}}}\n\n"
        ),
        Wire::Gemini => format!(
            "data: {{\"candidates\": [{{\"content\": {{\"parts\": [{{\"text\": \"{word}\"}}],\"role\": \"model\"}},\"index\": 0}}],\"usageMetadata\": {{\"promptTokenCount\": 12,\"candidatesTokenCount\": {at},\"totalTokenCount\": {},\"promptTokensDetails\": [{{\"modality\": \"TEXT\",\"tokenCount\": 12}}]}},\"modelVersion\": \"gemini-3.8-flash\",\"responseId\": \"r-1Aab\"}}\r\n\r\n",
            at + 12
        ),
        _ => format!(
            "data: {{\"id\":\"chatcmpl-CfJ1\",\"object\":\"chat.completion.chunk\",\"created\":1795416713,\"model\":\"gpt-5.4\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"logprobs\":null,\"finish_reason\":null}}],\"usage\":null,\"obfuscation\":\"{}\"}}\n\n",
            "x".repeat(at % 9)
        ),
    };
    text.into_bytes()
}

/// The reads of a stream, each of so many events.
fn reads(wire: Wire, together: usize) -> Vec<Vec<u8>> {
    let events: Vec<Vec<u8>> = (0..EVENTS).map(|at| event(wire, at)).collect();
    events.chunks(together).map(<[Vec<u8>]>::concat).collect()
}

fn scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("event scan");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for wire in WIRES {
        let stream = reads(wire, EVENTS).concat();
        group.bench_with_input(BenchmarkId::from_parameter(format!("{wire:?}")), &stream, |b, stream| {
            b.iter(|| {
                let mut scanner = EventScanner::new();
                while let Some(range) = scanner.next_event(black_box(stream)) {
                    black_box(range);
                }
            });
        });
    }
}

fn look(c: &mut Criterion) {
    let mut group = c.benchmark_group("look");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for wire in WIRES {
        let events = reads(wire, 1);
        group.bench_with_input(BenchmarkId::from_parameter(format!("{wire:?}")), &events, |b, events| {
            let (mut messages, mut google) = (anthropic::tap::UsageTap::default(), gemini::tap::UsageTap::default());
            b.iter(|| {
                for event in events {
                    let event = black_box(&event[..]);
                    let mut spare = Vec::new();
                    let Some(data) = sse::data(event).joined(&mut spare) else { continue };
                    match wire {
                        Wire::Responses => {
                            black_box(responses::tap::look(sse::name(event), data));
                        }
                        Wire::Messages => {
                            black_box(messages.look(sse::name(event), data));
                        }
                        Wire::Gemini => {
                            black_box(google.look(data));
                        }
                        _ => {
                            black_box(tap::look(data, Accounting::OpenAi));
                        }
                    }
                }
            });
        });
    }
}

fn relay(c: &mut Criterion) {
    let mut group = c.benchmark_group("relay");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for wire in WIRES {
        for together in READS {
            let reads = reads(wire, together);
            let id = BenchmarkId::new(format!("{wire:?}"), format!("{together} a read"));
            let mut out = Vec::with_capacity(1 << 17);
            group.bench_with_input(id, &reads, |b, reads| {
                b.iter(|| {
                    out.clear();
                    let wishes = StreamWishes { metadata: true, usage_event: false, accounting: Accounting::OpenAi };
                    match NativeRelay::new(wire, false, false) {
                        Some(mut relay) => {
                            reads.iter().for_each(|read| relay.feed(black_box(read), &mut out, &mut |_, _| {}));
                        }
                        None => {
                            let mut relay = StreamRelay::new(wishes);
                            reads.iter().for_each(|read| relay.feed(black_box(read), &mut out, &mut |_, _| {}));
                        }
                    }
                    black_box(&out);
                });
            });
        }
    }
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunks");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let events = reads(Wire::Chat, 1);
    let mut framed = Vec::new();
    events.iter().for_each(|event| write::chunk(&mut framed, event));
    group.bench_function("written", |b| {
        let mut out = Vec::with_capacity(1 << 17);
        b.iter(|| {
            out.clear();
            events.iter().for_each(|event| write::chunk(&mut out, black_box(event)));
            black_box(&out);
        });
    });
    group.bench_function("read", |b| {
        b.iter(|| {
            let (mut reader, mut at) = (ChunkedReader::new(), 0);
            loop {
                let step = reader.feed(black_box(&framed[at..])).expect("well framed");
                at += step.consumed();
                if !matches!(step, Step::Data { .. }) {
                    break;
                }
            }
        });
    });
}

criterion_group!(benches, scan, look, relay, chunks);
criterion_main!(benches);
