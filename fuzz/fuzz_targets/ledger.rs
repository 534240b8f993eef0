//! Segments of the ledger journal: any bytes are read without a panic, what reads as a record is written as the same bytes, and in a whole
//! segment one changed byte ends the reading at or before the record that it is in (rule L7).
#![no_main]

use igris::ledger::record::{self, Entry};
use igris::ledger::segment::{self, HEAD_BYTES, Head, HeadState, Place};
use libfuzzer_sys::fuzz_target;

/// Where records end, in order.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut borders) = (HEAD_BYTES.min(bytes.len()), Vec::new());
    while let Place::Record(frame) = segment::place(&bytes[at..]) {
        assert!(frame.bytes >= frame.content.len() && frame.bytes.is_multiple_of(8));
        at += frame.bytes;
        borders.push(at);
    }
    borders
}

fn content(bytes: &[u8]) {
    let Some(entry) = record::read(bytes) else { return };
    let mut again = Vec::new();
    match &entry {
        Entry::Intent(intent) => record::write_intent(&intent.report, intent.input_tokens, intent.rates, &mut again),
        Entry::Mark(mark) => record::write_mark(mark, &mut again),
        Entry::Close(report) => record::write_close(report, &mut again),
    }
    // Texts beyond their bound, and figures beside a flag that says there are none, are not kept.
    let read = record::read(&again).expect("what is written is read");
    let mut twice = Vec::new();
    match &read {
        Entry::Intent(intent) => record::write_intent(&intent.report, intent.input_tokens, intent.rates, &mut twice),
        Entry::Mark(mark) => record::write_mark(mark, &mut twice),
        Entry::Close(report) => record::write_close(report, &mut twice),
    }
    assert_eq!(again, twice);
}

fuzz_target!(|data: &[u8]| {
    content(data);
    let _ = segment::synced_of(data);
    if let HeadState::Good(head) = Head::read(data) {
        assert_eq!(Head::read(&head.write()), HeadState::Good(head));
    }
    let whole = borders(data);
    let mut start = HEAD_BYTES;
    for end in &whole {
        if let Place::Record(frame) = segment::place(&data[start..]) {
            content(frame.content);
        }
        start = *end;
    }
    // The first two bytes choose one to change.
    let (Some(last), Some(chosen)) = (whole.last(), data.first_chunk::<2>()) else { return };
    let at = HEAD_BYTES + usize::from(u16::from_le_bytes(*chosen)) % (last - HEAD_BYTES);
    let mut changed = data.to_vec();
    changed[at] ^= 1 | chosen[0];
    let found = borders(&changed);
    let intact = whole.iter().filter(|end| **end <= at).count();
    assert!(found.len() == intact, "a changed byte at {at} is not noticed");
    assert_eq!(found, whole[..intact]);
});
