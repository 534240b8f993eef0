//! Server-sent events: any split gives the same events, and a slow reader finds the same data in them.
#![no_main]

use igris::http::sse::{self, EventAssembler};
use libfuzzer_sys::fuzz_target;

fn in_steps(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut assembler = EventAssembler::new(1 << 20);
    let mut events = Vec::new();
    for read in stream.chunks(step) {
        assembler.push(read, |event| events.push(event.to_vec()));
    }
    (events, assembler.unfinished().to_vec())
}

/// Lines first, then events, then data: the text of the standard, with copies.
fn by_the_book(stream: &[u8]) -> Vec<Option<Vec<u8>>> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let mut events = Vec::new();
    let (mut line, mut lines) = (Vec::new(), Vec::new());
    for (at, byte) in stream.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && stream[at - 1] == b'\r' => {}
            b'\r' | b'\n' if line.is_empty() => {
                if !lines.is_empty() {
                    events.push(data_of(&lines));
                }
                lines.clear();
            }
            b'\r' | b'\n' => lines.push(std::mem::take(&mut line)),
            _ => line.push(*byte),
        }
    }
    events
}

fn data_of(lines: &[Vec<u8>]) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = lines
        .iter()
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
            let value = line.get(colon + 1..).unwrap_or_default();
            (&line[..colon] == b"data").then(|| value.strip_prefix(b" ").unwrap_or(value))
        })
        .collect();
    (!values.is_empty()).then(|| values.join(&b'\n'))
}

fuzz_target!(|input: &[u8]| {
    let Some((step, stream)) = input.split_first() else { return };
    let whole = in_steps(stream, stream.len().max(1));
    assert_eq!(in_steps(stream, usize::from(*step) + 1), whole);
    assert_eq!(in_steps(stream, 1), whole);
    let data: Vec<_> =
        whole.0.iter().map(|event| sse::data(event).joined(&mut Vec::new()).map(<[u8]>::to_vec)).collect();
    assert_eq!(data, by_the_book(stream));
});
