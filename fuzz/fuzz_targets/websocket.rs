//! WebSocket frames: a frame that reads is whole, no beginning of it reads otherwise, and written anew it is the same bytes.
#![no_main]

use igris::http::websocket;
use libfuzzer_sys::fuzz_target;

const PAYLOAD_BYTES_MAX: usize = 1 << 12;

fuzz_target!(|input: &[u8]| {
    let Some((side, mut rest)) = input.split_first() else { return };
    let masked = side & 1 == 1;
    while let Ok(Some(frame)) = websocket::read(rest, masked, PAYLOAD_BYTES_MAX) {
        let whole = &rest[..frame.consumed];
        assert_eq!(frame.payload.end, frame.consumed);
        assert!(frame.payload.len() <= PAYLOAD_BYTES_MAX && frame.mask.is_some() == masked);
        for cut in (0..whole.len()).step_by(1 + whole.len() / 64) {
            assert_eq!(websocket::read(&whole[..cut], masked, PAYLOAD_BYTES_MAX), Ok(None), "cut at {cut}");
        }
        let mut payload = whole[frame.payload.clone()].to_vec();
        if let Some(key) = frame.mask {
            websocket::mask(&mut payload, key);
        }
        let mut again = Vec::new();
        websocket::write(&mut again, frame.last, frame.opcode, &payload, frame.mask);
        assert_eq!(again, whole, "there is one form of a frame");
        rest = &rest[frame.consumed..];
    }
});
