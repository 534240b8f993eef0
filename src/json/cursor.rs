//! A cursor over a text that nobody has checked: one pass that reads what is wanted, in as many depths as are wanted, and validates all of it.
//!
//! It refuses what [`scan`](super::scan) refuses, with one difference: of a wanted name that is there twice (rule H20) it tells, and the
//! reader decides, since a text may be sound although a part of it says something twice. The text is only known to be valid when
//! [`Cursor::end`] has said so; until then what was read may be from the sound beginning of a broken text.

use super::grammar::Text;
use super::scan::Names;
use super::{Element, JsonFault, Kind, ObjectSpan, Span, text};
use crate::limits::JSON_DEPTH_MAX;

pub use super::grammar::Stop;

/// Where the walk stands: in front of a value, or behind one.
#[derive(Clone, Debug)]
pub struct Cursor<'t> {
    text: Text<'t>,
    start: usize,
    at: usize,
    /// Objects and arrays that are open.
    depth: usize,
    /// The key that was met last.
    key: Span,
}

/// A visit to an object or an array.
struct Visit {
    /// Where its bracket is.
    start: usize,
    /// Where the member or element that is visited has its value; its bracket before the first one.
    value: usize,
    /// Bit `i` is set if the name of index `i` was there.
    seen: u64,
    /// Bit `i` is set if it was there again.
    twice: u64,
}

/// What a visit to all members of an object found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visited {
    /// Where it was.
    pub object: ObjectSpan,
    /// Bit `i` is set if the name of index `i` was there more than once; the visit saw the first of them.
    pub twice: u64,
}

// === impl Cursor ===

impl<'t> Cursor<'t> {
    /// Stands in front of the first value at or after `start`.
    pub fn new(bytes: &'t [u8], start: usize) -> Self {
        let text = Text::new(bytes);
        let at = text.skip_space(start);
        Self { text, start: at, at, depth: 0, key: Span { start: at, end: at } }
    }

    /// The whole text.
    pub fn bytes(&self) -> &'t [u8] {
        self.text.bytes()
    }

    /// What the next value is, by its first byte.
    ///
    /// # Errors
    /// [`Stop`] where no value begins.
    #[inline]
    pub fn kind(&self) -> Result<Kind, Stop> {
        self.text.kind_at(self.at)
    }

    /// Passes over the next value, whatever it is.
    ///
    /// # Errors
    /// [`Stop`] where it is not JSON.
    #[inline]
    pub fn skip(&mut self) -> Result<Element, Stop> {
        let (start, kind) = (self.at, self.kind()?);
        self.at = self.text.value_end(start, JSON_DEPTH_MAX.saturating_sub(self.depth))?;
        Ok(Element { value: Span { start, end: self.at }, kind })
    }

    /// Reads the next value as a whole number; `None` for anything else (`null`, a fraction, one that is negative or does not fit).
    ///
    /// # Errors
    /// As [`Self::skip`].
    #[inline]
    pub fn count(&mut self) -> Result<Option<u64>, Stop> {
        let value = self.skip()?.value;
        Ok(text::as_u64(self.bytes(), value))
    }

    /// Offset of the byte in front of which the cursor stands.
    #[inline]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Reads the next value as a string; `None` for anything else, and for one with escapes.
    ///
    /// # Errors
    /// As [`Self::skip`].
    #[inline]
    pub fn text(&mut self) -> Result<Option<&'t str>, Stop> {
        let value = self.skip()?.value;
        Ok(text::text(self.bytes(), value))
    }

    /// Visits each member of the next value that has one of `names`, the first time it is there: the index of the name, with the cursor in
    /// front of the value. What a visit leaves is passed over, and so is every other member. `None` if the value is no object: then it is
    /// passed over whole.
    ///
    /// # Errors
    /// As [`Self::skip`].
    #[inline]
    pub fn members<E>(&mut self, names: &Names, mut each: E) -> Result<Option<Visited>, Stop>
    where
        E: FnMut(&mut Self, usize) -> Result<(), Stop>,
    {
        let Some(mut visit) = self.enter(b'{')? else { return Ok(None) };
        while let Some(index) = self.next_member(names, &mut visit)? {
            each(self, index)?;
        }
        let object = ObjectSpan { span: Span { start: visit.start, end: self.at }, empty: visit.value == visit.start };
        Ok(Some(Visited { object, twice: visit.twice }))
    }

    /// Visits each element of the next value, with its place from 0; as [`Self::members`]. Whether the value is an array.
    ///
    /// # Errors
    /// As [`Self::skip`].
    #[inline]
    pub fn elements<E>(&mut self, mut each: E) -> Result<bool, Stop>
    where
        E: FnMut(&mut Self, usize) -> Result<(), Stop>,
    {
        let Some(mut visit) = self.enter(b'[')? else { return Ok(false) };
        let mut place = 0;
        while self.next_element(&mut visit)? {
            each(self, place)?;
            place += 1;
        }
        Ok(true)
    }

    /// The key of the member that is visited, quotes included: to be asked for before anything inside its value is.
    #[inline]
    pub fn key(&self) -> Span {
        self.key
    }

    /// Bytes that escapes took, so far, beyond those of the characters they stand for (as UTF-8, two for a `\u`).
    #[inline]
    pub fn surplus(&self) -> usize {
        self.text.surplus()
    }

    /// The end of the text: nothing but whitespace may be left of it, and what was walked over has to be UTF-8.
    ///
    /// # Errors
    /// The first fault that is left.
    pub fn end(&self) -> Result<(), JsonFault> {
        self.text.at_end(self.at).map_err(|stop| self.fault(stop))?;
        self.text.check_utf8(self.start, self.at)
    }

    /// Why it went no further.
    #[must_use]
    pub fn fault(&self, stop: Stop) -> JsonFault {
        self.text.fault(self.start, stop)
    }

    // The steps of a visit stay functions of their own: there is one of each, however many readers there are.

    /// Begins a visit to the next value if that opens with `bracket`; passes over it if not.
    #[inline(never)]
    fn enter(&mut self, bracket: u8) -> Result<Option<Visit>, Stop> {
        let start = self.at;
        if self.text.byte(start) != bracket {
            self.skip()?;
            return Ok(None);
        }
        if self.depth >= JSON_DEPTH_MAX {
            return Err(Stop::DEPTH);
        }
        self.depth += 1;
        Ok(Some(Visit { start, value: start, seen: 0, twice: 0 }))
    }

    /// Moves in front of the value of the next member with one of the names that was not there before, or behind the object.
    #[inline(never)]
    fn next_member(&mut self, names: &Names, visit: &mut Visit) -> Result<Option<usize>, Stop> {
        while let Some(at) = self.next_place(b'}', visit)? {
            let key = self.text.key(at)?;
            (self.key, self.at, visit.value) = (key.span, key.value_start, key.value_start);
            if let Some(index) = names.position(key.span.of(self.bytes()), key.escaped) {
                let bit = 1 << index;
                if visit.seen & bit == 0 {
                    visit.seen |= bit;
                    return Ok(Some(index));
                }
                visit.twice |= bit;
            }
        }
        Ok(None)
    }

    /// Moves in front of the next element, or behind the array.
    #[inline(never)]
    fn next_element(&mut self, visit: &mut Visit) -> Result<bool, Stop> {
        let Some(at) = self.next_place(b']', visit)? else { return Ok(false) };
        (self.at, visit.value) = (at, at);
        Ok(true)
    }

    /// Where the next member or element begins; moves behind the closing bracket if there is none. A value that the visit left is passed over.
    #[inline]
    fn next_place(&mut self, bracket: u8, visit: &Visit) -> Result<Option<usize>, Stop> {
        if visit.value == visit.start {
            let at = self.text.skip_space(visit.start + 1);
            if self.text.byte(at) != bracket {
                return Ok(Some(at));
            }
            self.at = at;
        } else {
            if self.at == visit.value {
                self.skip()?;
            }
            self.at = self.text.skip_space(self.at);
            match self.text.byte(self.at) {
                b',' => return Ok(Some(self.text.skip_space(self.at + 1))),
                byte if byte == bracket => {}
                _ => return Err(Stop::at(self.at)),
            }
        }
        self.depth -= 1;
        self.at += 1;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan;
    use proptest::prelude::*;

    static AB: Names = Names::new(&["a", "b"]);

    /// The numbers called `a`, in any depth of objects called `b` and of arrays, in order.
    fn numbers(text: &str) -> Result<Vec<u64>, JsonFault> {
        fn value(cursor: &mut Cursor<'_>, found: &mut Vec<u64>) -> Result<(), Stop> {
            match cursor.kind()? {
                Kind::Array => cursor.elements(|cursor, _| value(cursor, found)).map(|_| ()),
                _ => cursor
                    .members(&AB, |cursor, index| match index {
                        0 => cursor.count().map(|number| found.extend(number)),
                        _ => value(cursor, found),
                    })
                    .map(|_| ()),
            }
        }
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let mut found = Vec::new();
        value(&mut cursor, &mut found).map_err(|stop| cursor.fault(stop))?;
        cursor.end().map(|()| found)
    }

    #[test]
    fn what_is_wanted_is_read_in_every_depth() {
        let rows: &[(&str, &[u64])] = &[
            ("{}", &[]),
            (" { \"a\" : 1 } ", &[1]),
            (r#"{"x":{"a":9},"b":{"a":2,"b":{"\u0061":3}},"a":"no"}"#, &[2, 3]),
            (r#"[{"a":1},[],[{"a":2},{"b":[{"a":3}]}],7,"a"]"#, &[1, 2, 3]),
            (r#"{"a":18446744073709551616,"b":{"a":18446744073709551615}}"#, &[u64::MAX]),
        ];
        for (text, expected) in rows {
            assert_eq!(numbers(text).as_deref(), Ok(*expected), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_there_twice_is_told_and_the_first_is_read() {
        let mut cursor = Cursor::new(br#"{"b":1,"a":2,"c":0,"\u0062":3,"b":4}"#, 0);
        let mut found = Vec::new();
        let visited = cursor.members(&AB, |cursor, index| {
            found.push((index, cursor.count()?));
            Ok(())
        });
        let visited = visited.expect("valid").expect("an object");
        assert_eq!((visited.twice, found), (0b10, vec![(1, Some(1)), (0, Some(2))]));
        assert_eq!(cursor.end(), Ok(()));
    }

    #[test]
    fn escapes_are_weighed_and_keys_are_told() {
        let text = br#"{"x":"\n\u00e4","a":["\uD83D\uDE00", {"k\t":"\\"}], "b" :"\/"}"#;
        let mut cursor = Cursor::new(text, 0);
        let mut seen = Vec::new();
        let visited = cursor.members(&AB, |cursor, _| {
            let (key, before) = (cursor.key().of(text), cursor.surplus());
            cursor.skip()?;
            seen.push((key, cursor.surplus() - before));
            Ok(())
        });
        assert!(visited.expect("valid").is_some());
        assert_eq!(seen, [(&b"\"a\""[..], 8 + 1 + 1), (b"\"b\"", 1)]);
        assert_eq!(cursor.surplus(), 1 + 4 + 10 + 1);
    }

    #[test]
    fn depth_is_capped_whoever_walks() {
        let nested = |depth: usize| format!("{}1{}", "{\"b\":[".repeat(depth), "]}".repeat(depth));
        assert_eq!(numbers(&nested(32)), Ok(vec![]));
        assert_eq!(numbers(&nested(33)), Err(JsonFault::Depth));
        let skipped = |depth: usize| format!("[[{{\"x\":{}{}}}]]", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(numbers(&skipped(61)), Ok(vec![]));
        assert_eq!(numbers(&skipped(62)), Err(JsonFault::Depth));
    }

    proptest! {
        /// It refuses what a scan refuses, and for the same reason.
        #[test]
        fn texts_are_judged_as_a_scan_judges_them(tokens in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", " ", "\n  ", "\"a\"", "\"b\":", "\"a\":1", "\"b\":{", "\"\\u00e9\"", "\"é\"", "\"", "-1.5e3", "00", "true", "nul", "\u{1}",
        ]), 0..12)) {
            let text = tokens.concat();
            let judged = scan::validate(text.as_bytes(), JSON_DEPTH_MAX);
            prop_assert_eq!(numbers(&text).map(|_| ()), judged, "{}", text);
        }
    }
}
