//! The grammar of JSON (RFC 8259) as a walk over offsets: where a value, a key, a string or a number ends, or the fault that it has.
//!
//! What is open is one bit per level in a word, so that depth costs neither stack nor allocation. A body of an LLM is mostly long
//! strings: those are walked 64 bytes at a time, and only a string that has a byte above ASCII is checked as UTF-8.

use super::{JsonFault, Kind, Span, text};
use crate::limits::JSON_DEPTH_MAX;

/// The arrays and objects that are open, as one bit each: 1 for an object. The innermost is the lowest bit.
struct Open {
    objects: u64,
    depth: usize,
    depth_max: usize,
}

impl Open {
    fn push(&mut self, object: bool) -> Result<(), JsonFault> {
        if self.depth >= self.depth_max {
            return Err(JsonFault::Depth);
        }
        self.objects = self.objects << 1 | u64::from(object);
        self.depth += 1;
        Ok(())
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

/// Offset after the value that begins at `at`.
pub(super) fn value_end(bytes: &[u8], mut at: usize, depth_max: usize) -> Result<usize, JsonFault> {
    let mut open = Open { objects: 0, depth: 0, depth_max: depth_max.min(JSON_DEPTH_MAX) };
    loop {
        at = match bytes.get(at) {
            Some(b'"') => string(bytes, at)?.end,
            Some(b'{') => {
                open.push(true)?;
                let inside = skip_space(bytes, at + 1);
                if bytes.get(inside) != Some(&b'}') {
                    at = key(bytes, inside)?.value_start;
                    continue;
                }
                open.pop();
                inside + 1
            }
            Some(b'[') => {
                open.push(false)?;
                let inside = skip_space(bytes, at + 1);
                if bytes.get(inside) != Some(&b']') {
                    at = inside;
                    continue;
                }
                open.pop();
                inside + 1
            }
            Some(b'-' | b'0'..=b'9') => number_end(bytes, at)?,
            Some(b't') => literal_end(bytes, at, b"true")?,
            Some(b'f') => literal_end(bytes, at, b"false")?,
            Some(b'n') => literal_end(bytes, at, b"null")?,
            _ => return Err(JsonFault::Syntax { offset: at }),
        };
        match next_value(bytes, at, &mut open)? {
            Next::Value(start) => at = start,
            Next::End(end) => return Ok(end),
        }
    }
}

/// What comes after a complete value.
enum Next {
    /// Another value begins here.
    Value(usize),
    /// The outermost value ended here.
    End(usize),
}

/// Closes what closes after a value that ended at `at`, and finds the next one.
fn next_value(bytes: &[u8], mut at: usize, open: &mut Open) -> Result<Next, JsonFault> {
    while open.depth > 0 {
        at = skip_space(bytes, at);
        match bytes.get(at) {
            Some(b',') => {
                let next = skip_space(bytes, at + 1);
                let start = if open.in_object() { key(bytes, next)?.value_start } else { next };
                return Ok(Next::Value(start));
            }
            Some(b'}') if open.in_object() => open.pop(),
            Some(b']') if !open.in_object() => open.pop(),
            _ => return Err(JsonFault::Syntax { offset: at }),
        }
        at += 1;
    }
    Ok(Next::End(at))
}

/// A key with its colon.
pub(super) struct Key {
    /// Quotes included.
    pub(super) span: Span,
    /// Whether an escape is in it.
    pub(super) escaped: bool,
    /// Where its value begins.
    pub(super) value_start: usize,
}

/// The key that begins at `at`.
pub(super) fn key(bytes: &[u8], at: usize) -> Result<Key, JsonFault> {
    if bytes.get(at) != Some(&b'"') {
        return Err(JsonFault::Syntax { offset: at });
    }
    let StringEnd { end, escaped } = string(bytes, at)?;
    let colon = skip_space(bytes, end);
    if bytes.get(colon) != Some(&b':') {
        return Err(JsonFault::Syntax { offset: colon });
    }
    Ok(Key { span: Span { start: at, end }, escaped, value_start: skip_space(bytes, colon + 1) })
}

struct StringEnd {
    /// Offset after the closing quote.
    end: usize,
    escaped: bool,
}

/// The end of the string whose opening quote is at `at`.
fn string(bytes: &[u8], at: usize) -> Result<StringEnd, JsonFault> {
    let start = at + 1;
    let mut run = Run { at: start, above_ascii: false };
    let mut escaped = false;
    loop {
        run.skip_plain(bytes);
        match bytes.get(run.at) {
            Some(b'"') => break,
            Some(b'\\') => {
                escaped = true;
                // A line end or a quote is most of what prose escapes.
                run.at = match bytes.get(run.at + 1) {
                    Some(b'n' | b'"' | b'\\' | b'/' | b't' | b'r' | b'b' | b'f') => run.at + 2,
                    _ => text::escape(bytes, run.at)?.1,
                };
            }
            // The end of the text, or a control character, which RFC 8259 section 7 wants escaped.
            _ => return Err(JsonFault::Syntax { offset: run.at }),
        }
    }
    if run.above_ascii {
        let inside = Span { start, end: run.at }.of(bytes);
        std::str::from_utf8(inside).map_err(|fault| JsonFault::Utf8 { offset: start + fault.valid_up_to() })?;
    }
    Ok(StringEnd { end: run.at + 1, escaped })
}

/// A walk over bytes that need no attention inside a string: anything but the quote, the backslash and control characters.
struct Run {
    at: usize,
    /// Whether a byte of 128 or more was in what was looked at: perhaps just behind the string, which then is checked for nothing.
    above_ascii: bool,
}

// === impl Run ===

impl Run {
    /// Moves to the next byte that needs attention, or to the end.
    #[inline]
    fn skip_plain(&mut self, bytes: &[u8]) {
        // Most keys and small values end within two words; only after them does a block pay.
        if self.skip_word(bytes) && self.skip_word(bytes) {
            self.skip_blocks(bytes);
            while self.skip_word(bytes) {}
        }
    }

    /// Moves over eight bytes, or up to the one among them that needs attention: then, and at the end, the answer is no.
    #[inline]
    fn skip_word(&mut self, bytes: &[u8]) -> bool {
        let rest = bytes.get(self.at..).unwrap_or_default();
        let Some(word) = rest.first_chunk::<8>() else {
            let plain = rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len());
            self.above_ascii |= !rest[..plain].is_ascii();
            self.at += plain;
            return false;
        };
        let word = u64::from_le_bytes(*word);
        self.above_ascii |= word & HIGH_BITS != 0;
        let special = special_bits(word);
        self.at += if special == 0 { 8 } else { (special.trailing_zeros() / 8) as usize };
        special == 0
    }

    /// Moves over whole blocks without a byte that needs attention. The compiler makes vector compares of the inner loop.
    #[inline]
    fn skip_blocks(&mut self, bytes: &[u8]) {
        while let Some(block) = bytes.get(self.at..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
            let mut special = false;
            let mut above_ascii = false;
            for &byte in block {
                special |= is_special(byte);
                above_ascii |= byte >= 0x80;
            }
            if special {
                return;
            }
            self.above_ascii |= above_ascii;
            self.at += BLOCK;
        }
    }
}

const BLOCK: usize = 64;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

#[inline]
fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The high bit of each special byte of a word. Bits above the lowest one may be wrong (a borrow), the lowest is exact.
#[inline]
fn special_bits(word: u64) -> u64 {
    let quote = word ^ (LOW_BITS * b'"' as u64);
    let backslash = word ^ (LOW_BITS * b'\\' as u64);
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    let quote = quote.wrapping_sub(LOW_BITS) & !quote;
    let backslash = backslash.wrapping_sub(LOW_BITS) & !backslash;
    (control | quote | backslash) & HIGH_BITS
}

/// Offset after the number that begins at `at`: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?` (RFC 8259 section 6).
pub(super) fn number_end(bytes: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits_end(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits_end(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits_end(bytes, at + 1 + sign)?;
    }
    Ok(at)
}

/// Offset after one or more digits.
fn digits_end(bytes: &[u8], start: usize) -> Result<usize, JsonFault> {
    let rest = bytes.get(start..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 { Err(JsonFault::Syntax { offset: start }) } else { Ok(start + count) }
}

fn literal_end(bytes: &[u8], at: usize, literal: &[u8]) -> Result<usize, JsonFault> {
    let end = at + literal.len();
    if bytes.get(at..end) == Some(literal) { Ok(end) } else { Err(JsonFault::Syntax { offset: at }) }
}

/// What kind of value begins at `at`.
pub(super) fn kind_at(bytes: &[u8], at: usize) -> Result<Kind, JsonFault> {
    match bytes.get(at) {
        Some(b'"') => Ok(Kind::String),
        Some(b'{') => Ok(Kind::Object),
        Some(b'[') => Ok(Kind::Array),
        Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
        Some(b't' | b'f') => Ok(Kind::Bool),
        Some(b'n') => Ok(Kind::Null),
        _ => Err(JsonFault::Syntax { offset: at }),
    }
}

/// Offset of the first byte from `at` on that is not whitespace (RFC 8259 section 2).
#[inline]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Nothing but whitespace may follow a JSON text.
pub(super) fn at_end(bytes: &[u8], end: usize) -> Result<(), JsonFault> {
    let offset = skip_space(bytes, end);
    if offset == bytes.len() { Ok(()) } else { Err(JsonFault::Syntax { offset }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &[u8]) -> Result<(), JsonFault> {
        at_end(text, value_end(text, skip_space(text, 0), JSON_DEPTH_MAX)?)
    }

    #[test]
    fn grammar_table() {
        let good = [
            "0",
            "-0",
            "-0.0",
            "10.25e+3",
            "1E-9",
            "1e999",
            " true ",
            "\n\nfalse",
            "null\t",
            "\"\"",
            "[]",
            "[ ]",
            "{}",
            "{ }",
            "[1,[2,{\"a\":[]}],{}]",
            "{\"a\":1,\"a\":2}",
            "{ \"a\" : [ 1 , 2 ] }",
            "\"\u{7f}é漢😀\"",
            r#""\u0000\uD834\udd1e""#,
        ];
        for text in good {
            assert_eq!(whole(text.as_bytes()), Ok(()), "{text}");
        }
        let bad = [
            ("", 0),
            (" ", 1),
            ("01", 1),
            ("-", 1),
            ("-a", 1),
            ("1.", 2),
            (".5", 0),
            ("1e", 2),
            ("1e+", 3),
            ("+1", 0),
            ("tru", 0),
            ("nulL", 0),
            ("true false", 5),
            ("[1,]", 3),
            ("[,1]", 1),
            ("[1 2]", 3),
            ("[1}", 2),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("{\"a\":1]", 6),
            ("[", 1),
            ("{\"a\":1", 6),
            ("\"", 1),
            ("\"a\nb\"", 2),
            (r#""\x""#, 1),
            (r#""\u12g4""#, 1),
            (r#""\ud800""#, 1),
            (r#""\udc00""#, 1),
            (r#""\ud800\u0041""#, 1),
            ("\u{feff}{}", 0),
        ];
        for (text, offset) in bad {
            assert_eq!(whole(text.as_bytes()), Err(JsonFault::Syntax { offset }), "{text}");
        }
    }

    #[test]
    fn depth_is_capped_at_the_limit() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(whole(nested(64).as_bytes()), Ok(()));
            assert_eq!(whole(nested(65).as_bytes()), Err(JsonFault::Depth));
            // Deep enough to overflow any stack, were there recursion.
            assert_eq!(whole(nested(1_000_000).as_bytes()), Err(JsonFault::Depth));
        }
    }

    /// Whatever the place of the first special byte and of the end, words, blocks and the rest find the same one.
    #[test]
    fn special_bytes_are_found_at_every_offset() {
        for length in 0..200 {
            for place in 0..length {
                for special in [b'"', b'\\', 0x00, 0x1f] {
                    let mut text = vec![b'x'; length];
                    text[place] = special;
                    let mut run = Run { at: 0, above_ascii: false };
                    run.skip_plain(&text);
                    assert_eq!(run.at, place, "{special:#x} in {length}");
                }
                for plain in [0x20, 0x7f, b'!', b'#', b'[', b']', 0x80, 0xa2, 0xdc, 0xff] {
                    let mut text = vec![b'x'; length];
                    text[place] = plain;
                    let mut run = Run { at: 0, above_ascii: false };
                    run.skip_plain(&text);
                    assert_eq!(run.at, length, "{plain:#x} at {place} in {length}");
                    assert!(run.above_ascii || plain < 0x80, "{plain:#x} at {place} in {length}");
                }
            }
        }
    }

    #[test]
    fn broken_utf8_is_told_from_broken_syntax() {
        for filler in [0, 7, 8, 63, 64, 130] {
            let mut text = vec![b'"'];
            text.extend(std::iter::repeat_n(b'x', filler));
            text.extend(b"\xC3\"\"");
            assert_eq!(whole(&text), Err(JsonFault::Utf8 { offset: filler + 1 }));
        }
        assert_eq!(whole(b"[\xC3\xA9]"), Err(JsonFault::Syntax { offset: 1 }), "outside a string no such byte may be");
    }
}
