//! Signature files and public keys (rule X4): of all texts only those that hold a signature which the trusted key made are accepted, and
//! a key that is read is written as it was.
#![no_main]

use igris::vault::signature::{PublicKey, Signatures, TrustSet};
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

/// The stock tool's example key and its two signatures of `test`.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const GOOD: [&str; 2] = [
    "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==
",
    "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1556193335\tfile:test
y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==
",
];

fn trust() -> &'static TrustSet {
    static TRUST: OnceLock<TrustSet> = OnceLock::new();
    TRUST.get_or_init(|| TrustSet::new(vec![PublicKey::parse(KEY).expect("a key")], None).expect("a trust"))
}

fn judge(text: &str) {
    let Ok(signatures) = Signatures::parse(text) else { return };
    assert!((1..=16).contains(&signatures.count()));
    assert!(trust().verify(b"Test", &signatures).is_err(), "nobody signed that");
    if trust().verify(b"test", &signatures).is_ok() {
        let signed = |good: &&str| good.lines().skip(1).all(|line| text.contains(line));
        assert!(GOOD.iter().any(signed), "nobody made that signature: {text}");
    }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    judge(&text);
    if let Ok(key) = PublicKey::parse(&text) {
        assert!(text.contains(key.text()) && PublicKey::parse(key.text()).as_ref() == Ok(&key));
        let set = TrustSet::new(vec![key], Some(1)).expect("one key");
        assert_eq!(TrustSet::from_line(&set.line()), Ok(set));
    }
    // Edits of a good one: pairs of a place and what to flip there.
    for good in GOOD {
        let mut edited = good.as_bytes().to_vec();
        for pair in data.chunks_exact(2) {
            let at = usize::from(pair[0]) * 2 % edited.len();
            edited[at] ^= pair[1];
        }
        judge(&String::from_utf8_lossy(&edited));
    }
});
