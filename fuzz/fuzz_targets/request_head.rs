//! Request heads: any split answers alike, and what we accept `httparse` accepts and reads the same.
#![no_main]

use igris::http::head::{HeadFault, HeadLimits, Progress, RequestHead};
use libfuzzer_sys::fuzz_target;

/// What a head answers: its length, then everything else as text.
fn answers(head: &RequestHead, bytes: &[u8], consumed: usize) -> (usize, String) {
    let fields: Vec<_> = head.fields(bytes).collect();
    let target = (head.method(), head.path(bytes), head.query(bytes), head.authority(bytes));
    let verdicts = (head.framing(), head.persist(), head.expect_continue(), head.credentials(bytes));
    (consumed, format!("{target:?} {verdicts:?} {fields:?}"))
}

fn in_steps(bytes: &[u8], step: usize) -> Result<Option<(usize, String)>, HeadFault> {
    let mut head = RequestHead::default();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        if let Progress::Complete { consumed } = head.parse(&bytes[..end], &HeadLimits::REQUEST)? {
            return Ok(Some(answers(&head, bytes, consumed)));
        }
    }
    Ok(None)
}

fn compare_with_peer(bytes: &[u8], consumed: usize) {
    let mut head = RequestHead::default();
    head.parse(bytes, &HeadLimits::REQUEST).expect("it was accepted before");
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut peer = httparse::Request::new(&mut fields);
    let status = peer.parse(bytes).expect("a stricter parser accepted it");
    assert_eq!(status, httparse::Status::Complete(consumed));
    assert_eq!(peer.method, Some(head.method().as_str()));
    let peers = peer.headers.iter().filter(|field| !field.name.contains('_'));
    let ours: Vec<_> = head.fields(bytes).map(|field| (field.name, field.value)).collect();
    assert!(
        peers
            .map(|field| (field.name, field.value.trim_ascii()))
            .eq(ours.iter().map(|(name, value)| (*name, value.trim_ascii())))
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((step, bytes)) = data.split_first() else { return };
    let whole = in_steps(bytes, bytes.len().max(1));
    assert_eq!(in_steps(bytes, usize::from(*step) + 1), whole);
    assert_eq!(in_steps(bytes, 1), whole);
    if let Ok(Some((consumed, _))) = whole {
        compare_with_peer(bytes, consumed);
    }
});
