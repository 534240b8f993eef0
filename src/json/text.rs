//! Scalars out of spans: strings with and without escapes, booleans and numbers.
//!
//! Everything here takes a span of a text that was scanned before, answers "no" where the span is something else, and never
//! panics on a span of another text.

use super::grammar::Text;
use super::{JsonFault, Span};

/// The text of the string at `span`, borrowed, if it is a string without escapes.
#[must_use]
pub fn text(bytes: &[u8], span: Span) -> Option<&str> {
    let inside = unquoted(span.of(bytes))?;
    if memchr::memchr(b'\\', inside).is_some() {
        return None;
    }
    std::str::from_utf8(inside).ok()
}

/// Appends the text of the string at `span` to `out`, escapes resolved.
///
/// Returns whether it was a string; if not, `out` is as before.
pub fn unescape(bytes: &[u8], span: Span, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    let done = unquoted(span.of(bytes)).is_some_and(|inside| unescape_into(inside, out));
    if !done {
        out.truncate(before);
    }
    done
}

fn unescape_into(inside: &[u8], out: &mut Vec<u8>) -> bool {
    let mut at = 0;
    while let Some(plain) = memchr::memchr(b'\\', &inside[at..]) {
        out.extend_from_slice(&inside[at..at + plain]);
        let Ok((character, next)) = escape(inside, at + plain) else { return false };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        at = next;
    }
    out.extend_from_slice(&inside[at..]);
    true
}

/// Whether the quoted string, escapes resolved, is `name`. Looks no further than the first difference and allocates nothing.
#[must_use]
pub fn equals(quoted: &[u8], name: &str) -> bool {
    let Some(inside) = unquoted(quoted) else { return false };
    let mut wanted = name.as_bytes();
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        let mut buffer = [byte, 0, 0, 0];
        let piece = if byte == b'\\' {
            let Ok((character, next)) = escape(inside, at) else { return false };
            at = next;
            character.encode_utf8(&mut buffer).as_bytes()
        } else {
            at += 1;
            &buffer[..1]
        };
        match wanted.strip_prefix(piece) {
            Some(rest) => wanted = rest,
            None => return false,
        }
    }
    wanted.is_empty()
}

/// The boolean at `span`.
#[must_use]
pub fn as_bool(bytes: &[u8], span: Span) -> Option<bool> {
    match span.of(bytes) {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// The whole number at `span`, if it is written in digits only and fits.
#[must_use]
pub fn as_u64(bytes: &[u8], span: Span) -> Option<u64> {
    let digits = span.of(bytes);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // So many digits always fit.
    let (sure, rest) = digits.split_at(digits.len().min(19));
    let number = sure.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
    rest.iter().try_fold(number, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// The number at `span`, if it is finite.
#[must_use]
pub fn as_f64(bytes: &[u8], span: Span) -> Option<f64> {
    let number = span.of(bytes);
    // Rust also reads `inf`, `+1` and `.5`; JSON does not.
    if Text::new(number).number_end(0) != Ok(number.len()) {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The character of the escape whose backslash is at `at`, and the offset after it (RFC 8259 section 7). Surrogates must pair.
pub(super) fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), JsonFault> {
    let fault = JsonFault::Syntax { offset: at };
    let simple = match bytes.get(at + 1).ok_or(fault)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(bytes, at).ok_or(fault),
        _ => return Err(fault),
    };
    Ok((simple, at + 2))
}

fn unicode_escape(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let first = hex4(bytes, at + 2)?;
    if !(0xD800..0xDC00).contains(&first) {
        // A low surrogate alone is no character, and `from_u32` says so.
        return char::from_u32(first).map(|character| (character, at + 6));
    }
    if bytes.get(at + 6..at + 8) != Some(b"\\u") {
        return None;
    }
    let second = hex4(bytes, at + 8).filter(|unit| (0xDC00..0xE000).contains(unit))?;
    let character = char::from_u32(0x1_0000 + ((first - 0xD800) << 10 | (second - 0xDC00)))?;
    Some((character, at + 12))
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..)?.first_chunk::<4>()?;
    let [a, b, c, d] = digits.map(|byte| u32::from(HEX[usize::from(byte)]));
    (a | b | c | d < 16).then_some(a << 12 | b << 8 | c << 4 | d)
}

/// The value of each byte as a hexadecimal digit; 16 and more if it is none.
static HEX: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        values[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// What lies between the quotes.
fn unquoted(quoted: &[u8]) -> Option<&[u8]> {
    quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Span {
        Span { start: 0, end: text.len() }
    }

    #[test]
    fn text_is_borrowed_only_without_escapes() {
        assert_eq!(text(b"\"gpt-4o\"", whole("\"gpt-4o\"")), Some("gpt-4o"));
        assert_eq!(text("\"é漢\"".as_bytes(), whole("\"é漢\"")), Some("é漢"));
        assert_eq!(text(b"\"\"", whole("\"\"")), Some(""));
        for other in ["\"a\\n\"", "12", "null", "\"", ""] {
            assert_eq!(text(other.as_bytes(), whole(other)), None, "{other}");
        }
        assert_eq!(text(b"\"a\"", Span { start: 2, end: 9 }), None, "a span of another text");
    }

    #[test]
    fn unescape_resolves_every_escape() {
        let quoted = r#""\"\\\/\b\f\n\r\tA\u00e9\uD83D\uDE00z""#;
        let mut out = b"kept:".to_vec();
        assert!(unescape(quoted.as_bytes(), whole(quoted), &mut out));
        assert_eq!(out, "kept:\"\\/\u{8}\u{c}\n\r\tAé😀z".as_bytes());
        for bad in [r#""\q""#, r#""\uD83D""#, r#""\uDE00""#, r#""\uD83D\u0041""#, r#""\u12""#, "true"] {
            let mut out = b"kept".to_vec();
            assert!(!unescape(bad.as_bytes(), whole(bad), &mut out), "{bad}");
            assert_eq!(out, b"kept", "{bad}");
        }
    }

    #[test]
    fn keys_compare_after_unescaping() {
        for same in [r#""model""#, r#""mod\u0065l""#, r#""\u006d\u006F\u0064el""#] {
            assert!(equals(same.as_bytes(), "model"), "{same}");
        }
        for other in [r#""models""#, r#""mode""#, r#""mod\u0045l""#, r#""mod\\u0065l""#, "model"] {
            assert!(!equals(other.as_bytes(), "model"), "{other}");
        }
    }

    #[test]
    fn numbers_are_read_strictly() {
        let rows = [
            ("0", Some(0), Some(0.0)),
            ("18446744073709551615", Some(u64::MAX), Some(18_446_744_073_709_551_615.0)),
            ("18446744073709551616", None, Some(18_446_744_073_709_551_616.0)),
            ("-1", None, Some(-1.0)),
            ("1.5e2", None, Some(150.0)),
            ("1e999", None, None),
            ("inf", None, None),
            ("+1", None, None),
            (".5", None, None),
            ("", None, None),
            ("1 ", None, None),
        ];
        for (number, integer, float) in rows {
            assert_eq!(as_u64(number.as_bytes(), whole(number)), integer, "{number}");
            assert_eq!(as_f64(number.as_bytes(), whole(number)), float, "{number}");
        }
        assert_eq!(as_bool(b"true", whole("true")), Some(true));
        assert_eq!(as_bool(b"false", whole("false")), Some(false));
        assert_eq!(as_bool(b"\"true\"", whole("\"true\"")), None);
    }
}
