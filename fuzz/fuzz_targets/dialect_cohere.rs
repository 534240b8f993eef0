//! Cohere: any split of a stream gives the same deltas, nothing follows an error or an end, and embeddings of ours are JSON.
#![no_main]

use igris::chat::delta::Delta;
use igris::dialects::cohere::embeddings::{self, Encoding};
use igris::dialects::cohere::{PROVIDER, rerank};
use libfuzzer_sys::fuzz_target;

fn in_steps(stream: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    let mut over = false;
    for part in stream.chunks(step) {
        reader.push(part, &mut |delta| {
            assert!(!over || delta == Delta::Ping, "something follows the end");
            over |= matches!(delta, Delta::Error { .. } | Delta::Finish { .. });
            deltas.push(format!("{delta:?}"));
        });
    }
    (deltas, reader.is_complete())
}

/// Events out of lines.
fn events(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n\n");
    }
    out
}

fn check(stream: &[u8], step: usize) {
    let whole = in_steps(stream, stream.len().max(1));
    assert_eq!(in_steps(stream, step), whole);
    assert_eq!(in_steps(stream, 1), whole);
}

fuzz_target!(|input: &[u8]| {
    let Some((step, rest)) = input.split_first() else { return };
    check(rest, usize::from(*step) + 1);
    check(&events(rest), usize::from(*step) + 1);
    let _ = (PROVIDER.read_response)(rest);
    let _ = rerank::search_units(rest);
    if let Ok((written, _)) = embeddings::write_request(rest, "m") {
        serde_json::from_slice::<serde::de::IgnoredAny>(&written.body).expect("a request of our own");
    }
    for encoding in [Encoding::Float, Encoding::Base64] {
        let mut out = Vec::new();
        if embeddings::read_response(rest, encoding, "m", &mut out).is_ok() {
            serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("a list of our own");
        } else {
            assert!(out.is_empty(), "something of a failure stays behind");
        }
    }
});
