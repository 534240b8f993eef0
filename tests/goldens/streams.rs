//! Every stream golden in every split and cut: the same deltas however the bytes come, and no end before the format's own.

use super::adds_up;
use super::files::{self, Golden};
use igris::chat::delta::Delta;
use igris::dialects::Wire;

/// What a reader made of some bytes: its deltas, and whether it saw the end.
fn read<'b>(wire: Wire, pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<String>, bool) {
    let mut reader = (wire.provider_side().stream_reader)();
    let mut deltas = Vec::new();
    for piece in pieces {
        reader.push(piece, &mut |delta| deltas.push(masked(&format!("{delta:?}"))));
    }
    (deltas, reader.is_complete())
}

/// Ids that readers make where a provider gave none are other each time.
fn masked(delta: &str) -> String {
    let mut out = String::with_capacity(delta.len());
    let mut rest = delta;
    while let Some(at) = rest.find("call_") {
        let (before, id) = rest.split_at(at + "call_".len());
        out.push_str(before);
        let digits = id.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(if digits == 16 { "*" } else { &id[..digits] });
        rest = &id[digits..];
    }
    out + rest
}

fn streams() -> Vec<Golden> {
    let streams = files::everywhere("stream-", &[".txt", ".hex"]);
    assert!(streams.len() > 40, "only {} streams were found", streams.len());
    streams
}

#[test]
fn every_stream_gives_the_same_deltas_at_every_split() {
    for golden in streams() {
        let bytes = golden.stream();
        let whole = read(golden.wire, std::iter::once(&bytes[..]));
        assert!(!whole.0.is_empty(), "{} says nothing", golden.name);
        for size in 1..=64 {
            let (deltas, complete) = read(golden.wire, bytes.chunks(size));
            assert_eq!((&deltas, complete), (&whole.0, whole.1), "{} in pieces of {size}", golden.name);
        }
        let expected = std::fs::read(golden.path.with_extension("json")).expect("the deltas beside it");
        let expected: serde_json::Value = serde_json::from_slice(&expected).expect("JSON");
        assert_eq!(expected["complete"], whole.1, "{}", golden.name);
    }
}

/// What must be among the bytes before a stream may count as ended.
fn ends(wire: Wire) -> &'static [&'static str] {
    match wire {
        // `[DONE]`, or a finish reason for servers that forget it.
        Wire::Chat => &["[DONE]", "\"finish_reason\":\"", "\"finish_reason\": \""],
        Wire::Responses => &["response.completed", "response.incomplete"],
        Wire::Messages => &["\"message_stop\""],
        Wire::Gemini => &["finishReason", "blockReason"],
        Wire::Converse => &["messageStop"],
        Wire::Cohere => &["message-end"],
    }
}

/// Where the first word that may end it is over; the length where there is none.
fn end_of(wire: Wire, bytes: &[u8]) -> usize {
    let place =
        |word: &&str| bytes.windows(word.len()).position(|part| part == word.as_bytes()).map(|at| at + word.len());
    ends(wire).iter().filter_map(place).min().unwrap_or(bytes.len() + 1)
}

#[test]
fn a_stream_cut_anywhere_is_a_beginning_and_not_whole_before_its_end() {
    for golden in streams() {
        let bytes = golden.stream();
        let end = end_of(golden.wire, &bytes);
        let (whole, _) = read(golden.wire, std::iter::once(&bytes[..]));
        for cut in 0..bytes.len() {
            let (deltas, complete) = read(golden.wire, std::iter::once(&bytes[..cut]));
            assert!(whole.starts_with(&deltas), "{} cut at {cut}: {deltas:?}", golden.name);
            assert!(!complete || cut >= end, "{} cut at {cut} counts as whole", golden.name);
            let failed = deltas.last().is_some_and(|delta| delta.starts_with("Error"));
            assert!(!(complete && failed), "{} cut at {cut} is both whole and failed", golden.name);
        }
    }
}

#[test]
fn the_usage_of_every_stream_adds_up_and_starts_come_first() {
    let mut stated = 0;
    for golden in streams() {
        let mut reader = (golden.wire.provider_side().stream_reader)();
        let (mut begun, mut failed) = (false, false);
        reader.push(&golden.stream(), &mut |delta| {
            assert!(!failed, "{}: {delta:?} follows an error", golden.name);
            match &delta {
                Delta::Start { .. } => assert!(!std::mem::replace(&mut begun, true), "{}: starts twice", golden.name),
                Delta::Usage(usage) => {
                    assert!(adds_up(usage), "{}: {usage:?}", golden.name);
                    stated += 1;
                }
                Delta::Error { .. } => failed = true,
                Delta::Ping => {}
                other => assert!(begun, "{}: {other:?} comes before the start", golden.name),
            }
        });
    }
    assert!(stated > 30, "only {stated} usages are stated");
}
