//! Chunked bodies: any split gives the same payload, end and fault, and a slow reader agrees on what we accept.
#![no_main]

use igris::http::body::{BodyFault, ChunkedReader, Step};
use libfuzzer_sys::fuzz_target;

/// Payload, and how much of the input the whole message took if it ended.
type Outcome = Result<(Vec<u8>, Option<usize>), BodyFault>;

fn in_steps(input: &[u8], step: usize) -> Outcome {
    let mut reader = ChunkedReader::new();
    let mut payload = Vec::new();
    let (mut at, mut end) = (0, 0);
    while end < input.len() {
        end = (end + step).min(input.len());
        loop {
            let found = reader.feed(&input[at..end])?;
            let from = at;
            at += found.consumed();
            match found {
                Step::Data { data, .. } => payload.extend_from_slice(&input[from..][data]),
                Step::NeedMore { .. } => break,
                Step::End { .. } => return Ok((payload, Some(at))),
            }
        }
        assert_eq!(at, end, "what needs more has taken all");
    }
    Ok((payload, None))
}

/// A whole body by the grammar, for messages already accepted: sizes up to `;`, data, trailers up to an empty line.
fn by_the_book(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line_end = |from: usize| input[from..].windows(2).position(|pair| pair == b"\r\n").map(|found| from + found);
    let mut payload = Vec::new();
    let mut at = 0;
    loop {
        let end = line_end(at)?;
        let size = input[at..end].split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        at = end + 2;
        if size == 0 {
            break;
        }
        payload.extend_from_slice(input.get(at..at + size)?);
        at += size + 2;
    }
    loop {
        let end = line_end(at)?;
        let is_empty = end == at;
        at = end + 2;
        if is_empty {
            return Some((payload, at));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((step, input)) = data.split_first() else { return };
    let whole = in_steps(input, input.len().max(1));
    assert_eq!(in_steps(input, usize::from(*step) + 1), whole);
    assert_eq!(in_steps(input, 1), whole);
    if let Ok((payload, Some(consumed))) = whole {
        assert_eq!(by_the_book(input), Some((payload, consumed)));
    }
});
