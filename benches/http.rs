//! What the HTTP codec costs: a request head, a chunked body, a stream of events; with `httparse` raw and the decoder of `monoio-http` as peers.
//!
//! `cargo bench --bench http`. The head is what openai-python sends. `httparse` tokenizes only: no framing, no duplicate, target or
//! credential checks, and it takes bare LF. The decoder is made for each head and reads it from memory in its own runtime, as fields of the
//! `http` crate; what its buffer costs is in it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use igris::http::body::{ChunkedReader, Step};
use igris::http::head::{HeadLimits, KnownField, RequestHead};
use igris::http::sse::{self, EventAssembler};
use igris::http::write;
use monoio::io::stream::Stream;
use monoio_http::h1::codec::decoder::RequestDecoder;
use std::hint::black_box;
use std::time::{Duration, Instant};

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nAccept-Encoding: gzip, deflate\r\n\
Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.1\r\n\
X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.8.1\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n\
X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.13.1\r\n\
Authorization: Bearer sk-igris-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG012345\r\nX-Stainless-Async: false\r\n\
x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\nContent-Length: 2048\r\n\r\n";

fn heads(c: &mut Criterion) {
    let mut group = c.benchmark_group("head");
    group.throughput(Throughput::Bytes(HEAD.len() as u64));
    let mut head = RequestHead::default();
    group.bench_function("request, parsed and read", |b| {
        b.iter(|| {
            head.parse(black_box(HEAD), &HeadLimits::REQUEST).expect("a good head");
            black_box((
                head.path(HEAD),
                head.framing(),
                head.credentials(HEAD),
                head.find(HEAD, KnownField::ContentType),
            ));
        });
    });
    group.bench_function("request, httparse raw", |b| {
        b.iter(|| {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut peer = httparse::Request::new(&mut fields);
            black_box(peer.parse(black_box(HEAD)).expect("a good head"));
        });
    });
    group.bench_function("request, the decoder of monoio-http", |b| b.iter_custom(decoded));
    group.finish();
}

/// How long the peer's decoder takes for so many heads, its runtime started before.
fn decoded(rounds: u64) -> Duration {
    let built = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build();
    built.expect("the epoll driver is always there").block_on(async {
        let began = Instant::now();
        for _ in 0..rounds {
            let mut decoder = RequestDecoder::new(black_box(HEAD));
            let request = decoder.next().await.expect("a request").expect("a good head");
            black_box(request.headers().len());
        }
        began.elapsed()
    })
}

fn bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunked 64 KiB");
    group.throughput(Throughput::Bytes(64 * 1024));
    for chunk_bytes in [200, 16 * 1024] {
        let mut wire = Vec::new();
        vec![b'x'; 64 * 1024].chunks(chunk_bytes).for_each(|part| write::chunk(&mut wire, part));
        wire.extend_from_slice(write::LAST_CHUNK);
        group.bench_function(format!("in chunks of {chunk_bytes} B"), |b| {
            b.iter(|| {
                let mut reader = ChunkedReader::new();
                let (mut at, mut payload) = (0, 0);
                loop {
                    let step = reader.feed(black_box(&wire[at..])).expect("a good body");
                    at += step.consumed();
                    match step {
                        Step::Data { data, .. } => payload += data.len(),
                        Step::NeedMore { .. } | Step::End { .. } => break,
                    }
                }
                assert_eq!(payload, 64 * 1024);
            });
        });
    }
    group.finish();
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("sse, 100 events of 200 B");
    let event = format!("data: {:a<192}\n\n", r#"{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":""#);
    assert_eq!(event.len(), 200);
    let stream = event.repeat(100).into_bytes();
    group.throughput(Throughput::Elements(100));
    for read_bytes in [16 * 1024, 200, 190] {
        group.bench_function(format!("in reads of {read_bytes} B"), |b| {
            let mut assembler = EventAssembler::new(1 << 20);
            let mut spare = Vec::new();
            b.iter(|| {
                assembler.reset();
                let mut seen = 0;
                for read in stream.chunks(read_bytes) {
                    assembler.push(black_box(read), |event| {
                        seen += sse::data(event).joined(&mut spare).map_or(0, <[u8]>::len);
                    });
                }
                assert_eq!(seen, 100 * 192);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, heads, bodies, events);
criterion_main!(benches);
