//! Thinking carried in ids of tool calls: any id comes apart without loss, and what was packed comes out again.
#![no_main]

use igris::chat::carry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (own, carried) = carry::unpack(input);
    assert!(input.starts_with(own));
    if carried.is_empty() && own.len() == input.len() {
        return;
    }
    // Packed anew it means the same, whatever its base64 looked like before.
    let packed = carry::pack(own, &carried);
    let (own_again, again) = carry::unpack(&packed);
    if carried.is_empty() {
        assert_eq!(packed, own);
    } else {
        assert_eq!((own_again, &again), (own, &carried));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(packed[own.len()..].bytes().all(plain), "{packed}");
    }
});
