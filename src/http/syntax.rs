//! The character classes of RFC 9110 §5.6 that both directions need: tokens, field values, whitespace, lists.
//!
//! One table and three loops, shared by the parsers and by the writers, so that what we send obeys what we accept.

const TCHAR: u8 = 1;
const UNDERSCORE: u8 = 2;

static CLASS: [u8; 256] = classes();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)] // Evaluated by the compiler; a mistake is a build error.
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() {
            table[byte] = TCHAR;
        }
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = TCHAR;
        at += 1;
    }
    table[b'_' as usize] |= UNDERSCORE;
    table
}

/// Whether the byte may stand in a token (RFC 9110 §5.6.2).
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|class| class & TCHAR != 0)
}

/// Whether the bytes are a token: at least one, all of the token class.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// Length of the token at the start of `bytes`, and whether it holds an underscore.
#[inline]
pub(super) fn leading_token(bytes: &[u8]) -> (usize, bool) {
    let mut seen = 0;
    for (length, byte) in bytes.iter().enumerate() {
        let class = CLASS.get(usize::from(*byte)).copied().unwrap_or(0);
        if class == 0 {
            return (length, seen & UNDERSCORE != 0);
        }
        seen |= class;
    }
    (bytes.len(), seen & UNDERSCORE != 0)
}

/// Whether a field value may hold these bytes: no control but tab (RFC 9110 §5.5, rule H4).
///
/// Eight bytes at a time look for any control at all; only text that has one, a tab most likely, is read byte by byte.
#[inline]
pub(super) fn is_field_text(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [b' '; 8];
    for (slot, byte) in last.iter_mut().zip(rest) {
        *slot = *byte;
    }
    let plain = words.iter().fold(controls(last), |seen, word| seen | controls(*word)) == 0;
    plain || bytes.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t')
}

/// Not zero if one of the bytes is below 0x20 or is 0x7f ("Bit Twiddling Hacks", zero and less-than tests). A borrow can only
/// spread upwards from a true hit, so the answer for the word as a whole is exact.
#[inline]
fn controls(bytes: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    const SPACES: u64 = u64::from_le_bytes([0x20; 8]);
    const DELETES: u64 = u64::from_le_bytes([0x7f; 8]);
    let word = u64::from_le_bytes(bytes);
    let below = word.wrapping_sub(SPACES) & !word;
    let delete = word ^ DELETES;
    (below | (delete.wrapping_sub(ONES) & !delete)) & TOPS
}

/// Eight bytes from `at` on, the first in the lowest place; `None` where fewer are left.
#[inline]
pub(super) fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|word| u64::from_le_bytes(*word))
}

/// Where the first control character from `at` on stands, eight bytes at a time; `None` where there is none.
#[inline]
pub(super) fn next_control(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at;
    while let Some(word) = bytes.get(from..).and_then(<[u8]>::first_chunk::<8>) {
        // The lowest mark is a true hit; only those above it may be borrowed.
        let marks = controls(*word);
        if marks != 0 {
            return from.checked_add(marks.trailing_zeros() as usize / 8);
        }
        from = from.checked_add(8)?;
    }
    let rest = bytes.get(from..)?.iter().position(u8::is_ascii_control)?;
    from.checked_add(rest)
}

/// Where the first byte `wanted` from `at` on stands, eight bytes at a time, for short distances where a call would cost more than it
/// finds; `None` where there is none.
#[inline]
pub(super) fn next_byte(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let pattern = u64::from_le_bytes([wanted; 8]);
    let mut from = at;
    while let Some(word) = word_at(bytes, from) {
        let gone = word ^ pattern;
        let marks = gone.wrapping_sub(ONES) & !gone & TOPS;
        if marks != 0 {
            return from.checked_add(marks.trailing_zeros() as usize / 8);
        }
        from = from.checked_add(8)?;
    }
    let rest = bytes.get(from..)?.iter().position(|byte| *byte == wanted)?;
    from.checked_add(rest)
}

/// Eight bytes with their ASCII letters in lower case, all others as they are ("Bit Twiddling Hacks", less-than tests): no byte of a sum
/// of two seven-bit numbers carries into the next.
#[inline]
pub(super) const fn lower(word: u64) -> u64 {
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    const FROM_A: u64 = u64::from_le_bytes([0x80 - b'A'; 8]);
    const BEHIND_Z: u64 = u64::from_le_bytes([0x7f - b'Z'; 8]);
    let low = word & !TOPS;
    let is_upper = low.wrapping_add(FROM_A) & !low.wrapping_add(BEHIND_Z) & !word & TOPS;
    word | is_upper.wrapping_shr(2)
}

/// Whether a name of eight bytes and more is letters, digits and hyphens alone, as nearly all field names are: a token without underscores.
#[inline]
pub(super) fn is_plain_name(name: &[u8]) -> bool {
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    const fn within(word: u64, least: u8, most: u8) -> u64 {
        let from = u64::from_le_bytes([0x80_u8.wrapping_sub(least); 8]);
        let behind = u64::from_le_bytes([0x7f_u8.wrapping_sub(most); 8]);
        word.wrapping_add(from) & !word.wrapping_add(behind) & TOPS
    }
    let is_plain = |word: &[u8; 8]| {
        let word = lower(u64::from_le_bytes(*word));
        let low = word & !TOPS;
        let known = within(low, b'a', b'z') | within(low, b'0', b'9') | within(low, b'-', b'-');
        known & !word == TOPS
    };
    name.last_chunk::<8>().is_some_and(is_plain) && name.as_chunks::<8>().0.iter().all(is_plain)
}

/// Cuts optional whitespace (SP, HTAB) off both ends (RFC 9110 §5.6.3).
pub(super) fn trim_whitespace(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [b' ' | b'\t', tail @ ..] = rest {
        rest = tail;
    }
    while let [head @ .., b' ' | b'\t'] = rest {
        rest = head;
    }
    rest
}

/// The elements of a comma-separated list, trimmed; empty ones are skipped (RFC 9110 §5.6.1.2).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim_whitespace).filter(|element| !element.is_empty())
}

/// The value of a hexadecimal digit.
#[inline]
pub(super) fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_seventy_seven_bytes_of_the_rfc() {
        assert_eq!((0..=255).filter(|byte| is_token_byte(*byte)).count(), 10 + 52 + 15);
        assert_eq!(leading_token(b"a_b: c"), (3, true));
        assert_eq!(leading_token(b"ab: c_d"), (2, false));
        assert_eq!(leading_token(b"ab"), (2, false));
        assert!(is_token(b"x-igris-provider") && !is_token(b"") && !is_token(b"a b") && !is_token(b"a:b"));
    }

    #[test]
    fn field_text_refuses_every_control_but_tab() {
        for byte in 0..=255_u8 {
            let refused = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
            for (before, after) in [(0, 0), (1, 1), (7, 0), (8, 3), (3, 20)] {
                let text = [vec![b'\xff'; before], vec![byte], vec![b'~'; after]].concat();
                assert_eq!(is_field_text(&text), !refused, "byte {byte:#x} after {before}");
            }
        }
        assert!(is_field_text(b"") && is_field_text(b"\ta\tbcdefghijkl\t"));
        assert!(!is_field_text(b"\tabcdefghijkl\x01"));
    }

    #[test]
    fn words_find_what_bytes_find() {
        for length in 0..40_usize {
            for place in 0..=length {
                for byte in [b'\r', b'\t', 0, 0x1f, 0x7f, b':'] {
                    let mut text = vec![b'\x80'; length];
                    text.splice(place..place, [byte, b' ', b'\n', b':']);
                    let control = text.iter().position(u8::is_ascii_control);
                    let colon = text.iter().position(|byte| *byte == b':');
                    assert_eq!(next_control(&text, 0), control, "{byte:#x} at {place} of {length}");
                    assert_eq!(next_byte(&text, 0, b':'), colon, "{byte:#x} at {place} of {length}");
                    assert_eq!(next_control(&text, place), control, "{byte:#x} from {place} of {length}");
                }
            }
        }
        assert_eq!(
            (next_control(b"abc", 0), next_control(b"abc", 9), next_byte(b"abcdefghi", 0, b':')),
            (None, None, None)
        );
    }

    #[test]
    fn plain_names_are_tokens_without_underscores() {
        for byte in 0..=255_u8 {
            let plain = byte.is_ascii_alphanumeric() || byte == b'-';
            for place in 0..19 {
                let mut name = *b"x-ratelimit-Limit-9";
                name[place] = byte;
                assert_eq!(is_plain_name(&name), plain, "{byte:#x} at {place}");
            }
        }
        assert!(!is_plain_name(b"x-igris") && !is_plain_name(b""), "shorter ones are not looked at");
    }

    #[test]
    fn letters_of_a_word_are_lowered_and_nothing_else() {
        for byte in 0..=255_u8 {
            let word = [byte, b'Z', byte, b'@', byte, b'[', 0xff, byte];
            let wanted = word.map(|byte| byte.to_ascii_lowercase());
            assert_eq!(lower(u64::from_le_bytes(word)), u64::from_le_bytes(wanted), "{byte:#x}");
        }
    }

    #[test]
    fn lists_skip_empty_elements_and_whitespace() {
        let elements: Vec<&[u8]> = list(b" , close,\t keep-alive ,,").collect();
        assert_eq!(elements, [b"close".as_slice(), b"keep-alive"]);
        assert_eq!(trim_whitespace(b" \t "), b"");
    }
}
