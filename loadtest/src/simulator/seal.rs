//! Seals on thoughts: what a provider hands out with its reasoning and wants back unchanged.
//!
//! A seal is a keyed checksum. It resists accidents, not adversaries: enough to show that a gateway lost or bent a thought.

use super::text::{digest, mix};

const KEY: u64 = 0x5ea1_0f7a_0b1d_2026;
/// Bytes of a seal before it is encoded.
const SEAL_BYTES: usize = 48;
const MARK: &[u8; 4] = b"seal";

/// A seal on `text` for `purpose`, such as a surface and a model it is bound to, in base64.
pub(super) fn seal(purpose: &str, text: &str) -> String {
    let mut bytes = MARK.to_vec();
    let mut state = mix(mix(KEY, digest(purpose.as_bytes())), digest(text.as_bytes()));
    while bytes.len() < SEAL_BYTES {
        state = mix(state, bytes.len() as u64);
        bytes.extend_from_slice(&state.to_le_bytes()[..4]);
    }
    base64(&bytes)
}

/// Whether a seal is the one that was put on this text.
pub(super) fn is_sealed(purpose: &str, text: &str, found: &str) -> bool {
    seal(purpose, text) == found
}

/// Wraps a text so that only we can read it: the text itself is not secret, but any change shows.
pub(super) fn wrap(purpose: &str, text: &str) -> String {
    format!("{}{}", seal(purpose, text), base64(text.as_bytes()))
}

/// The text that was wrapped, if nothing changed since.
pub(super) fn unwrap(purpose: &str, wrapped: &str) -> Option<String> {
    let (found, text) = wrapped.split_at_checked(SEAL_BYTES / 3 * 4)?;
    let text = String::from_utf8(unbase64(text)?).ok()?;
    is_sealed(purpose, &text, found).then_some(text)
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding (RFC 4648 §4).
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// The bytes of standard base64; padding may be missing.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for letter in four {
            word = word << 6 | LETTERS.iter().position(|known| known == letter)? as u32;
        }
        word <<= 6 * (4 - four.len());
        out.extend_from_slice(word.to_be_bytes().get(1..four.len())?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_both_ways() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(unbase64(coded).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(unbase64("Zm9*"), None);
    }

    #[test]
    fn any_change_breaks_a_seal() {
        let wrapped = wrap("a", "a thought");
        assert_eq!(unwrap("a", &wrapped).as_deref(), Some("a thought"));
        assert_eq!(unwrap("b", &wrapped), None);
        let bent = wrapped.replacen(&base64(b"a thought"), &base64(b"a thoughT"), 1);
        assert_eq!(unwrap("a", &bent), None);
        assert_eq!(unwrap("a", &wrapped[1..]), None);
        assert!(is_sealed("a", "x", &seal("a", "x")) && !is_sealed("a", "y", &seal("a", "x")));
    }
}
