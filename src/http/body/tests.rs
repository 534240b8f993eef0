//! Bodies: the four framings, the adversarial table of rule H8, its limits at n-1, n, n+1, and any split.

use super::*;
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX};
use proptest::prelude::*;

/// Payload, whether the end was seen, and how much input was left over.
type Outcome = Result<(Vec<u8>, bool, usize), BodyFault>;

fn read(mut reader: BodyReader, input: &[u8], cuts: &[usize]) -> Outcome {
    let mut payload = Vec::new();
    let mut at = 0;
    for end in cuts.iter().copied().filter(|cut| *cut < input.len()).chain([input.len()]) {
        loop {
            let step = reader.feed(&input[at..end])?;
            let from = at;
            at += step.consumed();
            match step {
                Step::Data { data, .. } => {
                    assert!(!data.is_empty());
                    payload.extend_from_slice(&input[from..][data]);
                }
                Step::NeedMore { .. } => {
                    assert_eq!(at, end, "what needs more has taken all");
                    break;
                }
                Step::End { .. } => {
                    assert!(reader.is_end());
                    return Ok((payload, true, input.len() - at));
                }
            }
        }
    }
    Ok((payload, false, 0))
}

fn chunked(input: &[u8]) -> Outcome {
    read(BodyReader::Chunked(ChunkedReader::new()), input, &[])
}

#[test]
fn plain_chunks_are_joined_and_the_rest_is_left() {
    let input = b"5\r\nhello\r\n0a;x=y;z=\"q \\\" ;\";w\r\n, world!!!\r\n000\r\nX-T: v\r\nY:\r\n\r\nGET";
    assert_eq!(chunked(input), Ok((b"hello, world!!!".to_vec(), true, 3)));
    assert_eq!(chunked(b"0\r\n\r\n"), Ok((Vec::new(), true, 0)));
    assert_eq!(chunked(b"5\r\nhel"), Ok((b"hel".to_vec(), false, 0)));
}

/// Rule H8.
#[test]
fn broken_chunks_are_refused() {
    let cases: [(&[u8], BodyFault); 30] = [
        (b"\r\n", BodyFault::ChunkSize),
        (b"\n", BodyFault::ChunkSize),
        (b";x\r\n", BodyFault::ChunkSize),
        (b"+5\r\n", BodyFault::ChunkSize),
        (b"-5\r\n", BodyFault::ChunkSize),
        (b"0x5\r\n", BodyFault::ChunkSize),
        (b" 5\r\n", BodyFault::ChunkSize),
        (b"5 \r\n", BodyFault::ChunkSize),
        (b"5\t;a\r\n", BodyFault::ChunkSize),
        (b"5_0\r\n", BodyFault::ChunkSize),
        (b"g\r\n", BodyFault::ChunkSize),
        (b"00000000000000005\r\n", BodyFault::ChunkSize),
        (b"8000000000000000\r\n", BodyFault::ChunkSize),
        (b"ffffffffffffffff\r\n", BodyFault::ChunkSize),
        (b"5\nhello", BodyFault::ChunkDelimiter),
        (b"5\rhello", BodyFault::ChunkDelimiter),
        (b"5;a\nhello", BodyFault::ChunkDelimiter),
        (b"5;a=\"\r\n\"\r\n", BodyFault::ChunkDelimiter),
        (b"5;\r\n", BodyFault::ChunkDelimiter),
        (b"5; a\r\n", BodyFault::ChunkExtension),
        (b"5;a=b c\r\n", BodyFault::ChunkExtension),
        (b"5;a=\"b\"c\r\n", BodyFault::ChunkExtension),
        (b"5;a=\0\r\n", BodyFault::ChunkExtension),
        (b"5\r\nhelloX", BodyFault::ChunkDelimiter),
        (b"5\r\nhello\n", BodyFault::ChunkDelimiter),
        (b"5\r\nhello\rX", BodyFault::ChunkDelimiter),
        (b"0\r\n\rX", BodyFault::ChunkDelimiter),
        (b"0\r\n folded: x\r\n\r\n", BodyFault::Trailer),
        (b"0\r\nX : y\r\n\r\n", BodyFault::Trailer),
        (b"0\r\nX: y\n\r\n", BodyFault::Trailer),
    ];
    for (input, fault) in cases {
        assert_eq!(chunked(input), Err(fault), "{:?}", String::from_utf8_lossy(input));
    }
    assert_eq!(chunked(b"0\r\n\n"), Err(BodyFault::Trailer));
    assert_eq!(chunked(b"0\r\nX: a\0\r\n\r\n"), Err(BodyFault::Trailer));
}

#[test]
fn sizes_are_summed_without_overflow() {
    assert_eq!(chunked(b"7fffffffffffffff\r\nab"), Ok((b"ab".to_vec(), false, 0)), "announced, not stored");
    let mut reader = ChunkedReader::new();
    let step = reader.feed(b"1\r\na\r\n").unwrap();
    assert_eq!(step, Step::Data { consumed: 4, data: 3..4 });
    assert_eq!(reader.feed(b"\r\n7fffffffffffffff\r\n"), Err(BodyFault::Overflow));
    assert_eq!(reader.feed(b"0\r\n\r\n"), Err(BodyFault::Overflow), "a failed reader stays failed");
}

#[test]
fn a_size_is_announced_before_its_payload_comes() {
    let mut reader = ChunkedReader::new();
    assert_eq!(reader.feed(b"100000\r\n"), Ok(Step::NeedMore { consumed: 8 }));
    assert_eq!(reader.announced(), 0x10_0000);
}

#[test]
fn limits_hold_to_the_byte() {
    for past in [-1_isize, 0, 1] {
        let near = |limit: usize| limit.checked_add_signed(past).unwrap();
        let refused = past > 0;

        let line = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(near(CHUNK_LINE_BYTES_MAX) - 2));
        assert_eq!(chunked(line.as_bytes()).err(), refused.then_some(BodyFault::ChunkExtensionTooLong));

        // 128 bytes of extension a line, and the last line takes what is left up to the limit.
        let lines = CHUNK_EXTENSION_BYTES_MAX / 128 - 1;
        let mut body = format!("1;{}\r\nx\r\n", "a".repeat(127)).repeat(lines);
        let rest = near(CHUNK_EXTENSION_BYTES_MAX) - lines * 128;
        body.push_str(&format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(rest - 1)));
        assert_eq!(chunked(body.as_bytes()).err(), refused.then_some(BodyFault::ChunkExtensionTooLong));

        let trailers = format!("0\r\nX: {}\r\n\r\n", "a".repeat(near(TRAILER_BYTES_MAX) - 5));
        assert_eq!(chunked(trailers.as_bytes()).err(), refused.then_some(BodyFault::TrailerTooLong));

        let digits = format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(near(16) - 1));
        assert_eq!(chunked(digits.as_bytes()).err(), refused.then_some(BodyFault::ChunkSize));
    }
}

#[test]
fn a_length_ends_on_its_last_byte() {
    let mut reader = BodyReader::from(RequestFraming::Length(5));
    assert_eq!(reader.feed(b""), Ok(Step::NeedMore { consumed: 0 }));
    assert_eq!(reader.feed(b"hel"), Ok(Step::Data { consumed: 3, data: 0..3 }));
    assert_eq!((reader.remaining(), reader.is_end()), (Some(2), false));
    assert_eq!(reader.close(), Err(BodyFault::Incomplete));
    assert_eq!(reader.feed(b"loGET"), Ok(Step::Data { consumed: 2, data: 0..2 }));
    assert!(reader.is_end());
    assert_eq!(reader.feed(b"GET"), Ok(Step::End { consumed: 0 }));
    assert_eq!(reader.close(), Ok(()));
    let mut none = BodyReader::from(RequestFraming::None);
    assert_eq!(none.feed(b"GET"), Ok(Step::End { consumed: 0 }));
}

/// Rule H17: a cut body is a fault, except where the close is the end.
#[test]
fn a_close_ends_only_what_a_close_may_end() {
    let mut open = BodyReader::from(ResponseFraming::UntilClose);
    assert_eq!(open.feed(b"abc"), Ok(Step::Data { consumed: 3, data: 0..3 }));
    assert_eq!((open.remaining(), open.is_end()), (None, false));
    assert_eq!((open.close(), open.is_end()), (Ok(()), true));
    let mut cut = BodyReader::from(ResponseFraming::Chunked);
    cut.feed(b"0\r\n\r").unwrap();
    assert_eq!(cut.close(), Err(BodyFault::Incomplete));
    cut.feed(b"\n").unwrap();
    assert_eq!((cut.close(), cut.remaining()), (Ok(()), Some(0)));
    assert_eq!(BodyReader::from(ResponseFraming::None).close(), Ok(()));
}

fn near_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "1\r\nx\r\n", "5\r\nhello\r\n", "5;a=b\r\nhello\r\n", "3;q=\"\\\"\"\r\nabc\r\n", "0\r\n", "\r\n", "X: y\r\n", "\n", "5", "hello", ";",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_split_gives_the_same_body(input in near_chunked(), mut cuts in prop::collection::vec(0_usize..80, 0..12)) {
        cuts.sort_unstable();
        prop_assert_eq!(read(BodyReader::Chunked(ChunkedReader::new()), &input, &cuts), chunked(&input));
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(read(BodyReader::Chunked(ChunkedReader::new()), &input, &every), chunked(&input));
    }

    #[test]
    fn what_the_writer_chunks_the_reader_joins(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6)) {
        let mut wire = Vec::new();
        for part in &parts {
            crate::http::write::chunk(&mut wire, part);
        }
        wire.extend_from_slice(crate::http::write::LAST_CHUNK);
        prop_assert_eq!(chunked(&wire), Ok((parts.concat(), true, 0)));
    }
}
