//! Bedrock: any split gives the same frames and deltas, a slow reader finds the same frames, and nothing follows an error.
#![no_main]

use igris::chat::delta::Delta;
use igris::dialects::bedrock::PROVIDER;
use igris::dialects::bedrock::frames::{FrameFault, Frames};
use libfuzzer_sys::fuzz_target;

type Read = Vec<Result<(Vec<(String, String)>, Vec<u8>), FrameFault>>;

const FRAME_BYTES_MAX: usize = 1024 * 1024;
const EVENTS: [&str; 7] =
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "later"];

fn frames_in_steps(stream: &[u8], step: usize) -> (Read, bool) {
    let mut frames = Frames::new();
    let mut read = Vec::new();
    for part in stream.chunks(step) {
        frames.push(part, |frame| {
            read.push(frame.map(|frame| {
                let headers = frame.headers().map(|(name, value)| (name.to_owned(), format!("{value:?}")));
                (headers.collect(), frame.payload.to_vec())
            }));
        });
    }
    (read, frames.gave_up())
}

fn deltas_in_steps(stream: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    let mut failed = false;
    for part in stream.chunks(step) {
        reader.push(part, &mut |delta| {
            assert!(!failed, "nothing follows an error");
            failed = matches!(delta, Delta::Error { .. });
            deltas.push(format!("{delta:?}"));
        });
    }
    assert!(!(failed && reader.is_complete()), "a failed stream is not whole");
    (deltas, reader.is_complete())
}

/// Payloads of the frames up to the first fault, the checksum by its polynomial, a bit at a time.
fn by_the_book(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let mut payloads = Vec::new();
    while stream.len() >= 16 {
        let (total, headers) = (number(&stream[..4]) as usize, number(&stream[4..8]) as usize);
        let possible = (16..=FRAME_BYTES_MAX).contains(&total) && headers <= total - 16;
        if number(&stream[8..12]) != crc(&stream[..8]) || !possible || stream.len() < total {
            break;
        }
        if number(&stream[total - 4..total]) != crc(&stream[..total - 4]) {
            break;
        }
        payloads.push(stream[12 + headers..total - 4].to_vec());
        stream = &stream[total..];
    }
    payloads
}

fn crc(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 };
        }
    }
    !sum
}

fn push_frame(headers: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend((16 + headers.len() as u32 + payload.len() as u32).to_be_bytes());
    out.extend((headers.len() as u32).to_be_bytes());
    out.extend(crc(&out[start..]).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(crc(&out[start..]).to_be_bytes());
}

fn push_header(name: &str, text: &str, out: &mut Vec<u8>) {
    out.push(name.len() as u8);
    out.extend(name.bytes());
    out.push(7);
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.bytes());
}

/// Right frames out of lines: the first byte of a line chooses the event, the rest is its payload; `!` an exception, `#` raw headers.
fn framed(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((first, payload)) = line.split_first() else { continue };
        let mut headers = Vec::new();
        match first {
            b'#' => headers.extend(payload),
            b'!' => {
                push_header(":message-type", "exception", &mut headers);
                push_header(":exception-type", "throttlingException", &mut headers);
            }
            first => {
                push_header(":message-type", "event", &mut headers);
                push_header(":event-type", EVENTS[usize::from(*first) % EVENTS.len()], &mut headers);
            }
        }
        push_frame(&headers, if *first == b'#' { b"" } else { payload }, &mut out);
    }
    out
}

fn check(stream: &[u8], step: usize) {
    let whole = frames_in_steps(stream, stream.len().max(1));
    assert_eq!(frames_in_steps(stream, step), whole);
    assert_eq!(frames_in_steps(stream, 1), whole);
    let payloads: Vec<_> = whole.0.iter().filter_map(|frame| Some(frame.as_ref().ok()?.1.clone())).collect();
    let slow = by_the_book(stream);
    assert!(slow.starts_with(&payloads), "a frame that is none");
    let headers_only = whole.0.last() == Some(&Err(FrameFault::Headers));
    assert!(slow.len() == payloads.len() || headers_only, "a frame was missed");
    let deltas = deltas_in_steps(stream, stream.len().max(1));
    assert_eq!(deltas_in_steps(stream, step), deltas);
    assert_eq!(deltas_in_steps(stream, 1), deltas);
}

fuzz_target!(|input: &[u8]| {
    let Some((step, rest)) = input.split_first() else { return };
    let step = usize::from(*step) + 1;
    check(rest, step);
    check(&framed(rest), step);
    let _ = (PROVIDER.read_response)(rest);
});
