//! The JSON scanner: accepts what `serde_json` accepts up to the depth limit, and nothing else. And answers, with a NUL between two: read by
//! the mould of one before, they say what they say to a reader in full.
#![no_main]

use igris::json::scan;
use igris::metering::mould::Recall;
use igris::metering::usage::{Accounting, answer_of_body};
use libfuzzer_sys::fuzz_target;

const DEPTH_MAX: usize = 64;

/// Deepest nesting of arrays and objects in a text known to be JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn recalled(bytes: &[u8]) {
    let mut recall = Recall::default();
    for answer in bytes.split(|byte| *byte == 0) {
        assert_eq!(recall.read(answer, Accounting::OpenAi), answer_of_body(answer, Accounting::OpenAi));
    }
}

fuzz_target!(|bytes: &[u8]| {
    recalled(bytes);
    let ours = scan::validate(bytes, DEPTH_MAX).is_ok();
    // `IgnoredAny` checks the grammar without building or bounding anything, but neither UTF-8 nor surrogate pairs.
    let text = std::str::from_utf8(bytes).ok();
    let theirs = text.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    match theirs {
        None => assert!(!ours, "we accept what is no JSON"),
        Some(text) if depth(text) > DEPTH_MAX => assert!(!ours, "we accept what is too deep"),
        Some(text) if text.contains("\\u") => {}
        Some(_) => assert!(ours, "we refuse what is JSON"),
    }
});
