//! A cursor over a text that a scan has found valid: one pass into known places, over everything else, with no second validation.
//!
//! Nothing is checked again: on a text that is not JSON the cursor gives nonsense, but it always ends, never panics and never leaves the
//! text. Keys are compared as written; one spelt with escapes is not found, and its value is passed over.

use super::{Kind, Span};

/// Where the walk stands: in front of a value, or behind one.
#[derive(Clone, Debug)]
pub struct Walk<'t> {
    bytes: &'t [u8],
    at: usize,
}

// === impl Walk ===

impl<'t> Walk<'t> {
    /// Stands in front of the value at or after `start`.
    pub fn new(bytes: &'t [u8], start: usize) -> Self {
        let mut walk = Self { bytes, at: start };
        walk.skip_space();
        walk
    }

    /// What the next value is.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self.bytes.get(self.at)? {
            b'"' => Kind::String,
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        })
    }

    /// Visits each member of the object that comes next: the key without its quotes, with the walk in front of the value. What a visit
    /// leaves is passed over. A value that is no object is passed over whole.
    pub fn members(&mut self, mut visit: impl FnMut(&mut Self, &'t [u8])) {
        if self.kind() != Some(Kind::Object) {
            self.skip();
            return;
        }
        self.at += 1;
        self.skip_space();
        while self.peek() == Some(b'"') {
            let key = self.string_span();
            self.skip_space();
            if self.peek() != Some(b':') {
                break;
            }
            self.at += 1;
            self.skip_space();
            let before = self.at;
            visit(self, self.bytes.get(key.start + 1..key.end.saturating_sub(1)).unwrap_or_default());
            self.pass(before);
            if !self.comma() {
                break;
            }
        }
        self.close(b'}');
    }

    /// Visits each element of the array that comes next, with the walk in front of it; as [`Self::members`].
    pub fn elements(&mut self, mut visit: impl FnMut(&mut Self)) {
        if self.kind() != Some(Kind::Array) {
            self.skip();
            return;
        }
        self.at += 1;
        self.skip_space();
        while self.at < self.bytes.len() && self.peek() != Some(b']') {
            let before = self.at;
            visit(self);
            self.pass(before);
            // A text that is not JSON may leave the walk where it was.
            if !self.comma() || self.at <= before {
                break;
            }
        }
        self.close(b']');
    }

    /// Passes over the next value, whatever it is, and says where it was.
    pub fn skip(&mut self) -> Span {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => break,
                Some(b'"') => {
                    self.string_span();
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                Some(b'}' | b']') => {
                    // At the outset this is the end of what the value should have been in: nothing is passed over.
                    if depth == 0 {
                        break;
                    }
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth == 0 => break,
                Some(_) => self.at += 1,
            }
            if depth == 0 && self.at > start && self.value_ended() {
                break;
            }
        }
        let end = self.at;
        self.skip_space();
        Span { start, end }
    }

    /// Whether what stands here cannot belong to the scalar before it.
    fn value_ended(&self) -> bool {
        let last = self.at.checked_sub(1).and_then(|before| self.bytes.get(before));
        matches!(last, Some(b'"' | b'}' | b']'))
            || !matches!(self.peek(), Some(b'a'..=b'z' | b'0'..=b'9' | b'.' | b'+' | b'-' | b'E'))
    }

    /// Whether the visit moved; if not, its value is passed over.
    fn pass(&mut self, before: usize) {
        if self.at == before {
            self.skip();
        }
        self.skip_space();
    }

    fn comma(&mut self) -> bool {
        let there = self.peek() == Some(b',');
        if there {
            self.at += 1;
            self.skip_space();
        }
        there
    }

    fn close(&mut self, bracket: u8) {
        if self.peek() == Some(bracket) {
            self.at += 1;
        }
        self.skip_space();
    }

    /// The string that begins here, quotes included.
    fn string_span(&mut self) -> Span {
        let start = self.at;
        self.at += 1;
        loop {
            self.skip_plain();
            match self.peek() {
                None => break,
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(_) => {}
            }
            let unicode = self.bytes.get(self.at + 1) == Some(&b'u');
            let length = if unicode { 6 } else { 2 };
            self.at = (self.at + length).min(self.bytes.len());
        }
        Span { start, end: self.at }
    }

    /// Moves to the next quote or backslash, or to the end.
    #[inline]
    fn skip_plain(&mut self) {
        // Most keys and small values end within two words; only behind them does a vector search pay.
        for _ in 0..2 {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(word) = rest.first_chunk::<8>() else {
                self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
                return;
            };
            let ends = ends(u64::from_le_bytes(*word));
            if ends != 0 {
                self.at += (ends.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }
}

/// The high bit of each quote and backslash of a word. Bits above the lowest one may be wrong (a borrow), the lowest is exact.
#[inline]
fn ends(word: u64) -> u64 {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    let quote = word ^ (LOW_BITS * b'"' as u64);
    let backslash = word ^ (LOW_BITS * b'\\' as u64);
    let zero = |word: u64| word.wrapping_sub(LOW_BITS) & !word;
    (zero(quote) | zero(backslash)) & (LOW_BITS << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(text: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        Walk::new(text.as_bytes(), 0).members(|walk, key| {
            let span = walk.skip();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            found.push((text(key), text(span.of(text_of(walk)))));
        });
        found
    }

    fn text_of<'t>(walk: &Walk<'t>) -> &'t [u8] {
        walk.bytes
    }

    #[test]
    fn members_are_visited_with_their_values() {
        let text = " { \"a\" : 1.5e3 , \"b\":\"x\\\"}\", \"c\": [ {\"d\": [1,2]} , null ] ,\"e\":{},\"f\":true } ";
        let found = keys(text);
        let expected =
            [("a", "1.5e3"), ("b", "\"x\\\"}\""), ("c", "[ {\"d\": [1,2]} , null ]"), ("e", "{}"), ("f", "true")];
        let expected: Vec<_> = expected.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        assert_eq!(found, expected);
        assert!(keys("{}").is_empty() && keys("[1]").is_empty() && keys("").is_empty());
    }

    #[test]
    fn elements_are_visited_and_what_a_visit_leaves_is_passed_over() {
        let text = br#"{"list":[ {"n":1,"rest":[[]]}, 2, "three", {"n":4} ],"after":5}"#;
        let (mut numbers, mut count, mut after) = (Vec::new(), 0, false);
        Walk::new(text, 0).members(|walk, key| match key {
            b"list" => walk.elements(|walk| {
                count += 1;
                if walk.kind() == Some(Kind::Object) {
                    walk.members(|walk, key| {
                        if key == b"n" {
                            numbers.push(walk.skip().of(text).to_vec());
                        }
                    });
                }
            }),
            _ => after = key == b"after",
        });
        assert_eq!((numbers, count, after), (vec![b"1".to_vec(), b"4".to_vec()], 4, true));
    }

    #[test]
    fn texts_that_are_no_json_end_the_walk() {
        for text in [
            "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":]", "[", "[1", "[,", "[}", "{\"a\":}", "\"\\",
            "[\"\\u",
        ] {
            let mut walk = Walk::new(text.as_bytes(), 0);
            walk.clone().members(|walk, _| walk.elements(|_| {}));
            walk.elements(|walk| walk.members(|_, _| {}));
            assert!(walk.at <= text.len(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\u1 at-".to_vec()), 0..40)) {
            let mut walk = Walk::new(&bytes, 0);
            walk.skip();
            prop_assert!(walk.at <= bytes.len());
            let mut walk = Walk::new(&bytes, 0);
            walk.members(|walk, _| walk.elements(|walk| walk.members(|_, _| {})));
            prop_assert!(walk.at <= bytes.len());
        }

        #[test]
        fn a_value_is_passed_over_whole(value in values(3)) {
            let text = serde_json::json!({ "v": value, "end": 1 }).to_string();
            let mut spans = Vec::new();
            Walk::new(text.as_bytes(), 0).members(|walk, _| spans.push(walk.skip()));
            prop_assert_eq!(spans.len(), 2);
            let read: serde_json::Value = serde_json::from_slice(spans[0].of(text.as_bytes())).expect("a whole value");
            prop_assert_eq!(read, value);
        }
    }

    fn values(depth: u32) -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(depth, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
