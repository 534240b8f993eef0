//! The frames of `application/vnd.amazon.eventstream`: a prelude, headers, a payload, and two checksums.
//!
//! Layout: AWS event stream encoding (Smithy specification, read 2026-11); all numbers are big-endian.

/// A header's value is a string.
const STRING: u8 = 7;

/// One frame with string headers around a payload.
pub(super) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    for (name, value) in headers {
        coded.push(name.len() as u8);
        coded.extend_from_slice(name.as_bytes());
        coded.push(STRING);
        coded.extend_from_slice(&(value.len() as u16).to_be_bytes());
        coded.extend_from_slice(value.as_bytes());
    }
    let total = 12 + coded.len() + payload.len() + 4;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&(total as u32).to_be_bytes());
    out.extend_from_slice(&(coded.len() as u32).to_be_bytes());
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out.extend_from_slice(&coded);
    out.extend_from_slice(payload);
    out.extend_from_slice(&crc32(&out).to_be_bytes());
    out
}

/// An event of this type.
pub(super) fn event(kind: &str, payload: &str) -> Vec<u8> {
    let headers = [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")];
    frame(&headers, payload.as_bytes())
}

/// An exception, after which nothing comes.
pub(super) fn exception(kind: &str, message: &str) -> Vec<u8> {
    let headers = [(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")];
    frame(&headers, format!(r#"{{"message":"{message}"}}"#).as_bytes())
}

/// The checksum of ISO 3309, as in gzip (RFC 1952 §8).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn an_empty_frame_has_sixteen_bytes() {
        // The published example of an empty message.
        assert_eq!(frame(&[], b""), [0, 0, 0, 0x10, 0, 0, 0, 0, 5, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff]);
    }
}
