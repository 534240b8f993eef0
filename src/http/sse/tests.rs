//! Events against the text of the standard, the bounds of rule H18, and any split.

use super::*;
use proptest::prelude::*;

const EVENT_MAX: usize = 1 << 20;

fn assembled(stream: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut assembler = EventAssembler::new(EVENT_MAX);
    let mut events = Vec::new();
    let mut at = 0;
    for end in cuts.iter().copied().filter(|cut| *cut < stream.len()).chain([stream.len()]) {
        assembler.push(&stream[at..end], |event| events.push(event.to_vec()));
        at = end;
    }
    (events, assembler.unfinished().to_vec())
}

/// The standard's own way, byte by byte: lines first, then events of lines. Slow and obvious.
fn by_the_book(stream: &[u8]) -> Vec<Option<Vec<u8>>> {
    let stream = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(stream);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = stream.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\r' && bytes.peek() == Some(&b'\n') {
            bytes.next();
        }
        match byte {
            b'\r' | b'\n' => lines.push(Vec::new()),
            _ => lines.last_mut().unwrap().push(byte),
        }
    }
    lines.pop();
    let mut events = Vec::new();
    let mut open = false;
    let mut joined: Option<Vec<u8>> = None;
    for line in lines {
        if line.is_empty() {
            if open {
                events.push(joined.take());
            }
            open = false;
            continue;
        }
        open = true;
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if &line[..colon] == b"data" {
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            joined = Some(joined.map_or_else(|| value.to_vec(), |before| [&before, &b"\n"[..], value].concat()));
        }
    }
    events
}

fn data_of(event: &[u8]) -> Option<Vec<u8>> {
    data(event).joined(&mut Vec::new()).map(<[u8]>::to_vec)
}

#[test]
fn events_end_at_an_empty_line_of_any_kind() {
    for end in ["\n", "\r", "\r\n"] {
        let stream = format!(
            "data: a{end}{end}: ping{end}{end}{end}event: x{end}data:b{end}data:  c{end}id: 1{end}{end}data: cut"
        );
        let (events, unfinished) = assembled(stream.as_bytes(), &[]);
        assert_eq!(events.len(), 3, "{stream:?}");
        assert_eq!(data(&events[0]), DataLines::One(b"a"));
        assert!(is_comment(&events[1]) && data(&events[1]) == DataLines::None);
        assert_eq!((name(&events[2]), data_of(&events[2])), (Some(&b"x"[..]), Some(b"b\n c".to_vec())));
        assert!(!is_comment(&events[2]));
        assert_eq!(unfinished, b"data: cut");
    }
}

#[test]
fn an_event_is_told_before_the_line_feed_of_its_last_return() {
    let mut scanner = EventScanner::new();
    assert_eq!(scanner.next_event(b"data: a\r\n\r"), Some(0..9));
    assert_eq!(scanner.consumed(), 10);
    scanner.discard_consumed();
    assert_eq!(scanner.next_event(b"\ndata: b\n\n"), Some(1..9), "the line feed is no line of its own");
}

#[test]
fn one_mark_at_the_start_is_ignored() {
    let stream = b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n";
    let every: Vec<usize> = (0..stream.len()).collect();
    for cuts in [&[][..], &every] {
        let (events, _) = assembled(stream, cuts);
        assert_eq!(data(&events[0]), DataLines::One(b"a"));
        assert_eq!(data(&events[1]), DataLines::None, "a mark inside is part of the field name");
    }
}

#[test]
fn field_lines_follow_the_standard() {
    let cases: [(&[u8], Option<&[u8]>); 8] = [
        (b"data\n", Some(b"")),
        (b"data:\n", Some(b"")),
        (b"data:a\n", Some(b"a")),
        (b"data:\ta\n", Some(b"\ta")),
        (b"data : a\n", None),
        (b"Data: a\n", None),
        (b"database: a\n", None),
        (b"event: e\r\ndata: a: b\r\n", Some(b"a: b")),
    ];
    for (event, wanted) in cases {
        assert_eq!(data_of(event).as_deref(), wanted, "{:?}", String::from_utf8_lossy(event));
    }
    assert_eq!(name(b"event: a\nevent:b\n"), Some(&b"b"[..]));
}

#[test]
fn a_single_data_line_is_lent_and_leaves_the_spare_alone() {
    let event = b"event: e\ndata: {}\n";
    let mut spare = b"kept".to_vec();
    let lent = data(event).joined(&mut spare).unwrap();
    assert!(event.as_ptr_range().contains(&lent.as_ptr()));
    assert_eq!(spare, b"kept");
}

/// Rule H18: at the limit it holds, beyond it gives up and stays quiet.
#[test]
fn the_event_limit_holds_to_the_byte() {
    for (past, gives_up) in [(-1_isize, false), (0, false), (1, true)] {
        let length = 64_usize.checked_add_signed(past).unwrap();
        let event = [b"data: ".to_vec(), vec![b'a'; length - 7], b"\n\n".to_vec()].concat();
        for pieces in [1, 7, event.len()] {
            let mut assembler = EventAssembler::new(64);
            let mut seen = 0;
            event.chunks(event.len().div_ceil(pieces)).for_each(|piece| assembler.push(piece, |_| seen += 1));
            assembler.push(b"data: next\n\n", |_| seen += 1);
            assert_eq!((assembler.gave_up(), seen), (gives_up, if gives_up { 0 } else { 2 }), "{length} in {pieces}");
        }
    }
    let mut endless = EventAssembler::new(64);
    endless.push(&[b'a'; 65], |_| ());
    assert!(endless.gave_up() && endless.unfinished().is_empty());
    endless.reset();
    let mut seen = 0;
    endless.push(b"data: a\n\n", |_| seen += 1);
    assert_eq!(seen, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_split_gives_the_same_events_as_the_book(
        pieces in prop::collection::vec(
            prop::sample::select(vec!["data: a", "data:b", "data", ": c", "event: e", "\r", "\n", "\r\n", "\n\n", "\r\n\r\n", "é", "\u{feff}", "x"]),
            0..24,
        ),
        mut cuts in prop::collection::vec(0_usize..120, 0..12),
    ) {
        let stream = pieces.concat().into_bytes();
        cuts.sort_unstable();
        let (whole, unfinished) = assembled(&stream, &[]);
        let every: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(&assembled(&stream, &cuts), &(whole.clone(), unfinished.clone()));
        prop_assert_eq!(&assembled(&stream, &every), &(whole.clone(), unfinished));
        let data: Vec<_> = whole.iter().map(|event| data_of(event)).collect();
        prop_assert_eq!(data, by_the_book(&stream));
    }
}
