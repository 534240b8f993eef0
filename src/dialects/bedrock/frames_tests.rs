//! Tests of the frames: a frame from the specification's own arithmetic, every header type, every split, every fault.

use super::*;
use proptest::prelude::*;

/// A frame with headers as given.
pub(in super::super) fn frame(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = PRELUDE_BYTES + headers.len() + payload.len() + CHECKSUM_BYTES;
    let mut out = u32::try_from(total).expect("small").to_be_bytes().to_vec();
    out.extend(u32::try_from(headers.len()).expect("small").to_be_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(headers);
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

/// A header of type 7.
pub(in super::super) fn text_header(name: &str, text: &str) -> Vec<u8> {
    let mut out = vec![u8::try_from(name.len()).expect("short")];
    out.extend(name.bytes());
    out.push(7);
    out.extend(u16::try_from(text.len()).expect("short").to_be_bytes());
    out.extend(text.bytes());
    out
}

type Read = Vec<Result<(Vec<u8>, Vec<u8>), FrameFault>>;

fn in_steps(bytes: &[u8], step: usize) -> (Read, bool) {
    let mut frames = Frames::new();
    let mut read = Vec::new();
    for part in bytes.chunks(step.max(1)) {
        frames.push(part, |frame| read.push(frame.map(|frame| (frame.headers.to_vec(), frame.payload.to_vec()))));
    }
    (read, frames.gave_up())
}

fn faults(bytes: &[u8]) -> Vec<FrameFault> {
    in_steps(bytes, bytes.len()).0.into_iter().filter_map(Result::err).collect()
}

#[test]
fn an_empty_frame_is_sixteen_known_bytes() {
    // 05c248eb and 7d98c8ff are the checksums of the empty message in the specification's own test vectors.
    let bytes = [0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff];
    assert_eq!(frame(b"", b""), bytes);
    assert_eq!(in_steps(&bytes, 16), (vec![Ok((vec![], vec![]))], false));
}

#[test]
fn every_type_of_header_is_read() {
    let mut headers = Vec::new();
    let values: [(u8, &[u8]); 10] = [
        (0, b""),
        (1, b""),
        (2, b"\xff"),
        (3, b"\xff\xfe"),
        (4, b"\x00\x00\x01\x00"),
        (5, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        (6, b"\x00\x02\x80\x81"),
        (7, b"\x00\x03\xe2\x82\xac"),
        (8, b"\x00\x00\x00\x00\x00\x00\x03\xe8"),
        (9, b"0123456789abcdef"),
    ];
    for (kind, raw) in values {
        headers.extend([2, b'h', b'0' + kind, kind]);
        headers.extend(raw);
    }
    let bytes = frame(&headers, b"payload");
    let (read, length) = first_frame(&bytes).expect("right").expect("whole");
    assert_eq!((read.payload, length), (&b"payload"[..], bytes.len()));
    let found: Vec<_> = read.headers().collect();
    let expected = [
        ("h0", HeaderValue::Bool(true)),
        ("h1", HeaderValue::Bool(false)),
        ("h2", HeaderValue::Byte(-1)),
        ("h3", HeaderValue::Short(-2)),
        ("h4", HeaderValue::Integer(256)),
        ("h5", HeaderValue::Long(-1)),
        ("h6", HeaderValue::Bytes(&[0x80, 0x81])),
        ("h7", HeaderValue::Text("€")),
        ("h8", HeaderValue::Timestamp(1000)),
        ("h9", HeaderValue::Uuid(*b"0123456789abcdef")),
    ];
    assert_eq!(found, expected);
    assert_eq!((read.text("h7"), read.text("h6"), read.text("no")), (Some("€"), None, None));
}

#[test]
fn a_flipped_bit_is_a_fault_wherever_it_is() {
    let good = frame(&text_header(":event-type", "messageStop"), br#"{"stopReason":"end_turn"}"#);
    for at in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert_eq!(faults(&bad), [FrameFault::Checksum], "bit {at}");
    }
}

#[test]
fn lengths_that_cannot_be_are_faults() {
    let prelude = |total: u32, headers: u32| {
        let mut out = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        out.extend(crc32fast::hash(&out).to_be_bytes());
        out
    };
    let largest = u32::try_from(EVENT_FRAME_BYTES_MAX).expect("small");
    for (total, headers) in [(0, 0), (15, 0), (16, 1), (100, 85), (largest + 1, 0), (u32::MAX, 0), (100, u32::MAX)] {
        assert_eq!(faults(&prelude(total, headers)), [FrameFault::Length], "{total} {headers}");
    }
    assert_eq!(in_steps(&prelude(largest, 0), 1), (vec![], false), "the largest may still come");
}

#[test]
fn headers_that_cannot_be_are_faults() {
    let cut: [&[u8]; 9] = [
        b"\x00\x07",
        b"\x05ab",
        b"\x01a",
        b"\x01a\x0a",
        b"\x01a\x07\x00",
        b"\x01a\x07\x00\x05ab",
        b"\x01a\x09",
        b"\x01a\x05abc",
        b"\x01\xff\x00",
    ];
    for headers in cut {
        assert_eq!(faults(&frame(headers, b"")), [FrameFault::Headers], "{headers:?}");
    }
}

#[test]
fn nothing_follows_a_fault() {
    let good = frame(b"", b"one");
    let mut bytes = [good.clone(), good.clone()].concat();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.extend(&good);
    for step in 1..=bytes.len() {
        let (read, gave_up) = in_steps(&bytes, step);
        assert_eq!(read, [Ok((vec![], b"one".to_vec())), Err(FrameFault::Checksum)], "steps of {step}");
        assert!(gave_up);
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_frames(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..20),
        step in 1_usize..40,
    ) {
        let headers = text_header(":event-type", "metadata");
        let mut bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(&headers, payload)).collect();
        bytes.extend(tail);
        let whole = in_steps(&bytes, bytes.len());
        prop_assert_eq!(in_steps(&bytes, step), whole.clone());
        let read: Vec<_> = whole.0.into_iter().filter_map(Result::ok).map(|(_, payload)| payload).collect();
        prop_assert!(read.starts_with(&payloads));
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(in_steps(&bytes, 1), in_steps(&bytes, bytes.len()));
    }
}
