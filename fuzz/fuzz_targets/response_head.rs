//! Response heads: any split answers alike, and what we accept `httparse` accepts and reads the same.
#![no_main]

use igris::http::head::{HeadFault, HeadLimits, Method, Progress, ResponseHead};
use libfuzzer_sys::fuzz_target;

fn in_steps(bytes: &[u8], step: usize) -> Result<Option<(usize, String)>, HeadFault> {
    let mut head = ResponseHead::default();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step).min(bytes.len());
        if let Progress::Complete { consumed } = head.parse(&bytes[..end], &HeadLimits::UPSTREAM)? {
            let fields: Vec<_> = head.fields(bytes).collect();
            let framing = [Method::Get, Method::Head].map(|method| (head.framing(method), head.persist(method)));
            return Ok(Some((consumed, format!("{} {:?} {framing:?} {fields:?}", head.status(), head.reason(bytes)))));
        }
    }
    Ok(None)
}

fn compare_with_peer(bytes: &[u8], consumed: usize) {
    let mut head = ResponseHead::default();
    head.parse(bytes, &HeadLimits::UPSTREAM).expect("it was accepted before");
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut peer = httparse::Response::new(&mut fields);
    let status = peer.parse(bytes).expect("a stricter parser accepted it");
    assert_eq!(status, httparse::Status::Complete(consumed));
    assert_eq!(peer.code, Some(head.status()));
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
