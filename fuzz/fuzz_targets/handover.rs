//! Messages between two processes: no bytes panic, and what reads as a message is written and read the same again.
#![no_main]

use igris::handover::{decode, frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(Some((message, bytes))) = decode(input) {
        assert!(bytes <= input.len());
        let again = frame(&message).expect("what was read fits a frame");
        assert_eq!(decode(&again).expect("our own frame"), Some((message, again.len())));
    }
});
