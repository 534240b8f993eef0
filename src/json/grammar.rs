//! The grammar of JSON (RFC 8259) as a walk over offsets: where a value, a key, a string or a number ends, or where it stops being JSON.
//!
//! What is open is one bit per level in a word, so that depth costs neither stack nor allocation. A body of an LLM is mostly strings: those
//! are walked 16 and 64 bytes at a time ([`lanes`]). Whether any byte is above ASCII is noted on the way; only then is the text checked as
//! UTF-8, once and whole, for outside a string no such byte can pass. Results are one word and a tag, so that they stay in registers.

use super::lanes::{self, BLOCK, LANES};
use super::{JsonFault, Kind, Span, text};
use crate::limits::JSON_DEPTH_MAX;

/// Why a walk went no further: the offset of the first byte that cannot be, or too many open brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop(usize);

impl Stop {
    pub(super) const DEPTH: Self = Self(usize::MAX);

    /// The byte at this offset cannot be.
    pub(super) const fn at(offset: usize) -> Self {
        Self(offset)
    }
}

/// A text under the walk.
#[derive(Clone, Debug)]
pub(super) struct Text<'t> {
    bytes: &'t [u8],
    /// Not zero if a byte of 128 or more was in what was looked at: perhaps just behind a string, and then the check is for nothing.
    above_ascii: u64,
    /// Bytes that escapes took beyond those of the characters they stand for (as UTF-8, two for a `\u`).
    surplus: usize,
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

struct StringEnd {
    /// Offset after the closing quote.
    end: usize,
    escaped: bool,
}

/// The arrays and objects that are open, as one bit each: 1 for an object. The innermost is the lowest bit.
struct Open {
    objects: u64,
    depth: usize,
    depth_max: usize,
}

// === impl Open ===

impl Open {
    #[inline(always)]
    fn push(&mut self, object: bool) -> Result<(), Stop> {
        if self.depth >= self.depth_max {
            return Err(Stop::DEPTH);
        }
        self.objects = self.objects << 1 | u64::from(object);
        self.depth += 1;
        Ok(())
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    #[inline(always)]
    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

// === impl Text ===

impl<'t> Text<'t> {
    /// A text of which nothing was looked at yet.
    #[inline]
    pub(super) fn new(bytes: &'t [u8]) -> Self {
        Self { bytes, above_ascii: 0, surplus: 0 }
    }

    /// All of it.
    #[inline(always)]
    pub(super) fn bytes(&self) -> &'t [u8] {
        self.bytes
    }

    /// Bytes that escapes took, in all strings that were walked over, beyond those of the characters they stand for (as UTF-8, two for a `\u`).
    #[inline(always)]
    pub(super) fn surplus(&self) -> usize {
        self.surplus
    }

    /// The byte at `at`; a NUL behind the end, which nothing in JSON begins with either.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Offset after the value that begins at `at`.
    pub(super) fn value_end(&mut self, mut at: usize, depth_max: usize) -> Result<usize, Stop> {
        let mut open = Open { objects: 0, depth: 0, depth_max: depth_max.min(JSON_DEPTH_MAX) };
        loop {
            at = match self.byte(at) {
                b'"' => self.string(at)?.end,
                b'{' => {
                    open.push(true)?;
                    let inside = self.skip_space(at + 1);
                    if self.byte(inside) != b'}' {
                        at = self.key(inside)?.value_start;
                        continue;
                    }
                    open.pop();
                    inside + 1
                }
                b'[' => {
                    open.push(false)?;
                    let inside = self.skip_space(at + 1);
                    if self.byte(inside) != b']' {
                        at = inside;
                        continue;
                    }
                    open.pop();
                    inside + 1
                }
                b'-' | b'0'..=b'9' => self.number_end(at)?,
                b't' => self.literal_end(at, b"true")?,
                b'f' => self.literal_end(at, b"false")?,
                b'n' => self.literal_end(at, b"null")?,
                _ => return Err(Stop(at)),
            };
            // What closes behind the value, and where the next one begins.
            loop {
                if open.depth == 0 {
                    return Ok(at);
                }
                at = self.skip_space(at);
                match self.byte(at) {
                    b',' if open.in_object() => {
                        let next = self.skip_space(at + 1);
                        at = self.key(next)?.value_start;
                        break;
                    }
                    b',' => {
                        at = self.skip_space(at + 1);
                        break;
                    }
                    b'}' if open.in_object() => open.pop(),
                    b']' if !open.in_object() => open.pop(),
                    _ => return Err(Stop(at)),
                }
                at += 1;
            }
        }
    }

    /// The key that begins at `at`.
    #[inline(always)]
    pub(super) fn key(&mut self, at: usize) -> Result<Key, Stop> {
        if self.byte(at) != b'"' {
            return Err(Stop(at));
        }
        let StringEnd { end, escaped } = self.string(at)?;
        let colon = self.skip_space(end);
        if self.byte(colon) != b':' {
            return Err(Stop(colon));
        }
        Ok(Key { span: Span { start: at, end }, escaped, value_start: self.skip_space(colon + 1) })
    }

    /// The end of the string whose opening quote is at `at`.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Result<StringEnd, Stop> {
        let mut at = at + 1;
        let mut escaped = false;
        loop {
            at = self.skip_plain(at);
            match self.byte(at) {
                b'"' => return Ok(StringEnd { end: at + 1, escaped }),
                b'\\' => {
                    escaped = true;
                    // A line end or a quote is most of what prose escapes.
                    at = match self.byte(at + 1) {
                        b'n' | b'"' | b'\\' | b'/' | b't' | b'r' | b'b' | b'f' => {
                            self.surplus += 1;
                            at + 2
                        }
                        _ => self.escape_by_number(at)?,
                    };
                }
                // The end of the text, or a control character, which RFC 8259 section 7 wants escaped.
                _ => return Err(Stop(at)),
            }
        }
    }

    /// Offset after the escape at `at`, which is none by letter.
    fn escape_by_number(&mut self, at: usize) -> Result<usize, Stop> {
        let (_, end) = text::escape(self.bytes, at).map_err(|_| Stop(at))?;
        // Six bytes for two, or twelve for four.
        self.surplus += (end - at) / 6 * 4;
        Ok(end)
    }

    /// Offset of the next byte that needs attention inside a string (the quote, the backslash, control characters), or of the end.
    #[inline(always)]
    pub(super) fn skip_plain(&mut self, at: usize) -> usize {
        // Nearly every key, and most values that are short, end within one chunk.
        let Some(chunk) = chunk::<LANES>(self.bytes, at) else { return self.skip_rest(at) };
        let look = lanes::look(chunk);
        self.above_ascii |= look.above_ascii;
        if look.special != 0 {
            return at + look.special.trailing_zeros() as usize;
        }
        self.skip_far(at + LANES)
    }

    /// The same behind the first chunk.
    fn skip_far(&mut self, mut at: usize) -> usize {
        if let Some(chunk) = chunk::<LANES>(self.bytes, at) {
            let look = lanes::look(chunk);
            self.above_ascii |= look.above_ascii;
            if look.special != 0 {
                return at + look.special.trailing_zeros() as usize;
            }
            at += LANES;
        }
        while let Some(block) = chunk::<BLOCK>(self.bytes, at) {
            let look = lanes::look_far(block);
            self.above_ascii |= look.above_ascii;
            if look.special != 0 {
                return at + look.special.trailing_zeros() as usize;
            }
            at += BLOCK;
        }
        while let Some(chunk) = chunk::<LANES>(self.bytes, at) {
            let look = lanes::look(chunk);
            self.above_ascii |= look.above_ascii;
            if look.special != 0 {
                return at + look.special.trailing_zeros() as usize;
            }
            at += LANES;
        }
        self.skip_rest(at)
    }

    /// The same where less than a chunk is left of the text.
    #[cold]
    fn skip_rest(&mut self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
        self.above_ascii |= u64::from(!rest[..plain].is_ascii());
        at + plain
    }

    /// Offset after the number that begins at `at`: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?` (RFC 8259 section 6).
    #[inline]
    pub(super) fn number_end(&self, at: usize) -> Result<usize, Stop> {
        let mut at = at + usize::from(self.byte(at) == b'-');
        at = if self.byte(at) == b'0' { at + 1 } else { self.digits_end(at)? };
        if self.byte(at) == b'.' {
            at = self.digits_end(at + 1)?;
        }
        if matches!(self.byte(at), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(at + 1), b'+' | b'-'));
            at = self.digits_end(at + 1 + sign)?;
        }
        Ok(at)
    }

    /// Offset after one or more digits.
    #[inline]
    pub(super) fn digits_end(&self, start: usize) -> Result<usize, Stop> {
        let mut at = start;
        while let Some(word) = chunk::<8>(self.bytes, at) {
            let others = no_digits(u64::from_le_bytes(*word));
            if others != 0 {
                at += (others.trailing_zeros() / 8) as usize;
                return if at == start { Err(Stop(start)) } else { Ok(at) };
            }
            at += 8;
        }
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        if at == start { Err(Stop(start)) } else { Ok(at) }
    }

    #[inline(always)]
    fn literal_end(&self, at: usize, literal: &[u8]) -> Result<usize, Stop> {
        let end = at + literal.len();
        if self.bytes.get(at..end) == Some(literal) { Ok(end) } else { Err(Stop(at)) }
    }

    /// What kind of value begins at `at`.
    #[inline]
    pub(super) fn kind_at(&self, at: usize) -> Result<Kind, Stop> {
        match self.byte(at) {
            b'"' => Ok(Kind::String),
            b'{' => Ok(Kind::Object),
            b'[' => Ok(Kind::Array),
            b'-' | b'0'..=b'9' => Ok(Kind::Number),
            b't' | b'f' => Ok(Kind::Bool),
            b'n' => Ok(Kind::Null),
            _ => Err(Stop(at)),
        }
    }

    /// Offset of the first byte from `at` on that is not whitespace (RFC 8259 section 2).
    #[inline(always)]
    pub(super) fn skip_space(&self, at: usize) -> usize {
        // Nearly every place has none; of what has some, much has the one blank that a serialiser puts there.
        if self.byte(at) > b' ' {
            at
        } else if self.byte(at + 1) > b' ' && self.byte(at) == b' ' {
            at + 1
        } else {
            self.skip_indent(at)
        }
    }

    /// The same where there is more of it: a line end and what the next line is indented by.
    fn skip_indent(&self, mut at: usize) -> usize {
        while let Some(chunk) = chunk::<LANES>(self.bytes, at) {
            let ink = lanes::ink(chunk);
            if ink != 0 {
                return at + ink.trailing_zeros() as usize;
            }
            at += LANES;
        }
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// Nothing but whitespace may follow a JSON text.
    pub(super) fn at_end(&self, end: usize) -> Result<(), Stop> {
        let offset = self.skip_space(end);
        if offset == self.bytes.len() { Ok(()) } else { Err(Stop(offset)) }
    }

    /// Checks that what was walked over, from `start` to `end`, is UTF-8; the walk itself has only noted whether that may fail.
    #[inline]
    pub(super) fn check_utf8(&self, start: usize, end: usize) -> Result<(), JsonFault> {
        if self.above_ascii == 0 { Ok(()) } else { self.check_letters(start, end) }
    }

    #[cold]
    fn check_letters(&self, start: usize, end: usize) -> Result<(), JsonFault> {
        let walked = Span { start, end }.of(self.bytes);
        std::str::from_utf8(walked).map_err(|fault| JsonFault::Utf8 { offset: start + fault.valid_up_to() })?;
        Ok(())
    }

    /// What is wrong with a text whose walk began at `start`, in words: the first fault, reading from the left.
    #[cold]
    pub(super) fn fault(&self, start: usize, stop: Stop) -> JsonFault {
        if stop == Stop::DEPTH {
            return JsonFault::Depth;
        }
        let walked = self.bytes.get(start..stop.0.min(self.bytes.len())).unwrap_or_default();
        match std::str::from_utf8(walked) {
            Err(fault) if fault.error_len().is_some() => JsonFault::Utf8 { offset: start + fault.valid_up_to() },
            _ => JsonFault::Syntax { offset: stop.0 },
        }
    }
}

#[inline(always)]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// The high bit of each byte of a word that is no decimal digit. Bits above the lowest one may be wrong (a carry), the lowest is exact.
#[inline(always)]
fn no_digits(word: u64) -> u64 {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    // A digit becomes 0 to 9; with 118 more, anything above it reaches the high bit.
    let figures = word ^ (LOW_BITS * b'0' as u64);
    (figures.wrapping_add(LOW_BITS * 118) | figures) & (LOW_BITS << 7)
}

/// Offset of the first byte from `at` on that is not whitespace (RFC 8259 section 2).
#[inline]
pub(super) fn skip_space(bytes: &[u8], at: usize) -> usize {
    Text::new(bytes).skip_space(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::json::scan::validate;

    fn whole(text: &[u8]) -> Result<(), JsonFault> {
        validate(text, JSON_DEPTH_MAX)
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

    /// Whatever the place of the first special byte and of the end, chunks, blocks and the rest find the same one.
    #[test]
    fn special_bytes_are_found_at_every_offset() {
        for length in 0..200 {
            for place in 0..length {
                for special in [b'"', b'\\', 0x00, 0x1f] {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = special;
                    assert_eq!(Text::new(&bytes).skip_plain(0), place, "{special:#x} in {length}");
                }
                for plain in [0x20, 0x7f, b'!', b'#', b'[', b']', 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = plain;
                    let mut text = Text::new(&bytes);
                    assert_eq!(text.skip_plain(0), length, "{plain:#x} at {place} in {length}");
                    assert_eq!(text.above_ascii != 0, plain >= 0x80, "{plain:#x} at {place} in {length}");
                }
            }
        }
    }

    #[test]
    fn whitespace_and_digits_end_at_every_offset() {
        for length in 0..60 {
            for end in [&b""[..], b"x", b"/", b":", b"\xb0", b"\x00\x00\x00\x00\x00\x00\x00\x00\x00"] {
                let space: Vec<u8> =
                    b" \n\r\t".iter().copied().cycle().take(length).chain(end.iter().copied()).collect();
                assert_eq!(skip_space(&space, 0), length, "{end:?}");
                let digits: Vec<u8> =
                    b"1234567890".iter().copied().cycle().take(length).chain(end.iter().copied()).collect();
                let expected = if length == 0 { Err(Stop(0)) } else { Ok(length) };
                assert_eq!(Text::new(&digits).number_end(0), expected, "{end:?} behind {length}");
            }
        }
    }

    #[test]
    fn the_first_fault_from_the_left_is_told() {
        assert_eq!(whole(b"[\"\xC3\",}"), Err(JsonFault::Utf8 { offset: 2 }));
        assert_eq!(whole(b"[},\"\xC3\"]"), Err(JsonFault::Syntax { offset: 1 }));
        assert_eq!(whole(b"[\"\xC3"), Err(JsonFault::Syntax { offset: 3 }), "a letter that is cut is no broken one");
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
