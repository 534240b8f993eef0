//! The shape of a text: what stays as it is while a few of its strings and numbers change.
//!
//! Events of one stream differ in their words and in a count or two. Whoever has understood one of them makes its [`Shape`], with those
//! values as holes; a text that fits is the first one with other values of the same kinds in the holes, so that whatever was found out about
//! the structure of the first is true of it. Fitting compares bytes and walks over the values: no scan, no allocation.

use super::Span;
use super::grammar::Text;

/// Holes that a shape has at most.
pub const SHAPE_HOLES_MAX: usize = 24;
/// Holes that a shape of an event has at most.
pub const HOLES_MAX: usize = 6;

/// Digits that a number in a hole has at most: any such number is exact in 64 bits.
const DIGITS_MAX: usize = 15;

/// Where the values of an event that fits lie, as many as the shape has holes: a string without its quotes, a number's digits.
pub type Found = [Span; HOLES_MAX];

/// Nothing found yet.
pub const NOTHING_FOUND: Found = [Span { start: 0, end: 0 }; HOLES_MAX];

/// What may differ between an event and one like it: offsets into its data.
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// The string whose bytes are content, quotes included.
    pub words: Span,
    /// Strings and whole numbers that mean nothing, or are read again each time.
    pub others: [Option<Span>; HOLES_MAX - 1],
}

/// A text with holes.
#[derive(Debug)]
pub struct Shape {
    /// The text without what stood in its holes.
    fixed: Vec<u8>,
    /// In the order of the text.
    holes: [Hole; SHAPE_HOLES_MAX],
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    /// Bytes of the fixed text before it.
    at: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Between the quotes of a string.
    Words,
    /// A whole number without sign.
    Number,
}

impl Shape {
    /// The shape of `text`, which is or holds valid JSON, with these of its values as holes, in the order in which they stand: strings with
    /// their quotes, and whole numbers. `None` if one of them is of another kind, or out of order, or there are too many.
    #[must_use]
    pub fn of(text: &[u8], values: &[Span]) -> Option<Self> {
        let in_holes: usize = values.iter().map(|value| value.len()).sum();
        // Of a string the quotes stay.
        let mut fixed = Vec::with_capacity(text.len().saturating_sub(in_holes) + 2 * values.len());
        let mut holes = [Hole { at: 0, kind: Kind::Number }; SHAPE_HOLES_MAX];
        let mut done = 0;
        for (place, value) in values.iter().enumerate() {
            let (span, kind) = match value.of(text) {
                [b'"', .., b'"'] => (Span { start: value.start + 1, end: value.end - 1 }, Kind::Words),
                digits if is_number(digits) => (*value, Kind::Number),
                _ => return None,
            };
            fixed.extend_from_slice(text.get(done..span.start)?);
            done = span.end;
            *holes.get_mut(place)? = Hole { at: u32::try_from(fixed.len()).ok()?, kind };
        }
        fixed.extend_from_slice(text.get(done..)?);
        Some(Self { fixed, holes, count: values.len() })
    }

    /// Whether `bytes` begins with a text of this shape; then where that ends. Each value is told on the way, with its place among the holes:
    /// what was told of a text that does not fit means nothing.
    #[inline]
    pub fn fit(&self, bytes: &[u8], mut tell: impl FnMut(usize, Span)) -> Option<usize> {
        let (mut at, mut done) = (0, 0);
        for (place, hole) in self.holes.iter().take(self.count).enumerate() {
            let hole_at = hole.at as usize;
            at = fixed_end(bytes, at, self.fixed.get(done..hole_at)?)?;
            let end = match hole.kind {
                Kind::Words => words_end(bytes, at)?,
                Kind::Number => number_end(bytes, at)?,
            };
            tell(place, Span { start: at, end });
            (at, done) = (end, hole_at);
        }
        fixed_end(bytes, at, self.fixed.get(done..)?)
    }
}

/// Tells each string and each number of `text`, a valid JSON text, with the key that it belongs to as it is written, quotes included. An element
/// of an array comes with the last key before it.
pub fn scalars<'t>(text: &'t [u8], mut tell: impl FnMut(&'t [u8], Span)) {
    let mut walk = Text::new(text);
    let (mut at, mut key) = (0, &text[..0]);
    while at < text.len() {
        let end = match walk.byte(at) {
            b'"' | b'-' | b'0'..=b'9' => walk.value_end(at, 0).unwrap_or(text.len()),
            _ => {
                at += 1;
                continue;
            }
        };
        let span = Span { start: at, end };
        at = walk.skip_space(end);
        match walk.byte(at) {
            b':' => key = span.of(text),
            _ => tell(key, span),
        }
    }
}

/// Whether a hole may take this for a number.
#[must_use]
pub fn is_number(digits: &[u8]) -> bool {
    number_end(digits, 0) == Some(digits.len())
}

#[inline]
fn fixed_end(bytes: &[u8], at: usize, fixed: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(fixed).then_some(at + fixed.len())
}

/// Where the string whose first byte after its quote is at `at` has its closing quote; `None` if it has none, is malformed, or has an escape
/// by number, which is rare enough to be left to a scan.
#[inline]
fn words_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut text, mut end) = (Text::new(bytes), at);
    loop {
        end = text.skip_plain(end);
        match text.byte(end) {
            b'"' => break,
            b'\\' if matches!(text.byte(end + 1), b'n' | b'"' | b'\\' | b'/' | b't' | b'r' | b'b' | b'f') => end += 2,
            _ => return None,
        }
    }
    text.check_utf8(at, end).is_ok().then_some(end)
}

/// Where the number ends whose digits begin at `at`; `None` if it is written in another way, or is too long.
#[inline]
fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let end = Text::new(bytes).digits_end(at).ok()?;
    let leads_with_zero = end - at > 1 && bytes.get(at) == Some(&b'0');
    (end - at <= DIGITS_MAX && !leads_with_zero).then_some(end)
}

/// The number that these digits, found in a hole, are; zero for anything else.
#[must_use]
pub fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::{self, Names};
    use proptest::prelude::*;

    static NAMES: Names = Names::new(&["n", "words"]);
    const TEXT: &[u8] = br#"{"n":12,"kind":"x","words":"one","rest":[1,{"words":"two"}]}"#;

    fn shape() -> Shape {
        let mut found = [None; 2];
        scan::members(TEXT, &NAMES, &mut found).expect("valid");
        Shape::of(TEXT, &found.map(|member| member.expect("there").value)).expect("both kinds fit")
    }

    fn fit(text: &str) -> Option<(String, u64)> {
        let mut found = NOTHING_FOUND;
        let end = shape().fit(text.as_bytes(), |place, span| found[place] = span)?;
        assert!(end <= text.len());
        let words = String::from_utf8(found[1].of(text.as_bytes()).to_vec()).expect("text");
        Some((words, number(found[0].of(text.as_bytes()))))
    }

    fn with(n: &str, words: &str) -> String {
        format!(r#"{{"n":{n},"kind":"x","words":"{words}","rest":[1,{{"words":"two"}}]}}"#)
    }

    #[test]
    fn a_text_fits_if_only_its_values_differ() {
        for (n, words) in [("12", "one"), ("0", ""), ("999999999999999", "größer \\n \\\" and longer than a word")] {
            assert_eq!(fit(&with(n, words)), Some((words.to_owned(), n.parse().expect("a number"))), "{n} {words}");
        }
        assert!(fit(&(with("1", "a") + " and more")).is_some(), "what follows is not looked at");
        for other in [
            with("-1", "a"),
            with("01", "a"),
            with("1.5", "a"),
            with("1e3", "a"),
            with("1234567890123456", "a"),
            with("\"1\"", "a"),
            with("", "a"),
            with("1", "a\\u0041"),
            with("1", "a\\x"),
            with("1", "a\u{1}"),
            with("1", "a\""),
            with("1", "a\\"),
            with("1", "a\",\"error\":\"b"),
            with("1", "a").replace("two", "three"),
            with("1", "a").replace("}]}", "}]"),
            String::new(),
        ] {
            assert_eq!(fit(&other), None, "{other}");
        }
        assert_eq!(shape().fit(&[&with("1", "a").into_bytes()[..30], b"\xff\"}"].concat(), |_, _| {}), None);
    }

    #[test]
    fn scalars_come_with_their_keys() {
        let text = br#" {"a":1, "b" : "x:\"y" ,"c":[ -2.5, "z",{"d":true}, {"e":null,"f":[]}],"":"" } "#;
        let mut found = Vec::new();
        scalars(text, |key, span| found.push((key, span.of(text))));
        let expected: [(&[u8], &[u8]); 5] = [
            (b"\"a\"", b"1"),
            (b"\"b\"", br#""x:\"y""#),
            (b"\"c\"", b"-2.5"),
            (b"\"c\"", b"\"z\""),
            (b"\"\"", b"\"\""),
        ];
        assert_eq!(found, expected);
        // Of a text that is not JSON it tells something, and ends.
        for broken in [&b"\""[..], b"-", b"{\"a", b"\"a\\", b"1.", b""] {
            scalars(broken, |_, span| assert!(span.end <= broken.len()));
        }
    }

    #[test]
    fn only_strings_and_whole_numbers_in_order_make_holes() {
        let of = |values: &[(usize, usize)]| {
            let spans: Vec<Span> = values.iter().map(|(start, end)| Span { start: *start, end: *end }).collect();
            Shape::of(br#"{"a":1,"b":"x","c":null}"#, &spans).is_some()
        };
        assert!(of(&[]) && of(&[(5, 6)]) && of(&[(5, 6), (11, 14)]));
        assert!(!of(&[(11, 14), (5, 6)]), "out of order");
        assert!(!of(&[(19, 23)]), "null");
        assert!(!of(&[(5, 99)]), "of another text");
        assert!(!of(&[(5, 6), (5, 6)]), "twice the same");
        let (text, spans): (Vec<u8>, Vec<Span>) = (
            b"1,".repeat(SHAPE_HOLES_MAX + 1),
            (0..=SHAPE_HOLES_MAX).map(|at| Span { start: 2 * at, end: 2 * at + 1 }).collect(),
        );
        assert!(Shape::of(&text, &spans).is_none() && Shape::of(&text, &spans[1..]).is_some(), "too many");
    }

    proptest! {
        /// What fits is valid JSON with the same structure, and what is found is what a scan finds.
        #[test]
        fn what_fits_is_what_a_scan_says(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "a", "some words", "\\n", "\\\"", "\\", "\"", "ß", "漢字", "\u{1}", "\\u00e4", "\\u", ",", "}", "\",\"n\":1,\"x\":\"",
            ]), 0..8).prop_map(|pieces| pieces.concat()),
            n in "[0-9]{0,4}|-?[0-9.e+]{1,6}",
        ) {
            let text = with(&n, &words);
            let mut members = [None; 2];
            let scanned = scan::members(text.as_bytes(), &NAMES, &mut members);
            if let Some((words, number)) = fit(&text) {
                prop_assert!(scanned.is_ok());
                let [n, found] = members.map(|member| member.expect("there").value.of(text.as_bytes()));
                prop_assert_eq!(found.to_vec(), format!("\"{words}\"").into_bytes());
                prop_assert_eq!(n.to_vec(), number.to_string().into_bytes());
            }
        }

        #[test]
        fn words_end_where_a_slow_walk_says(bytes in proptest::collection::vec(
            proptest::sample::select(b"ab\"\\n\x01 \xc3\xa4".to_vec()), 0..40))
        {
            let slow = (0..bytes.len()).find(|end| {
                bytes[*end] == b'"' && scan::validate(&[b"\"", &bytes[..=*end]].concat(), 2).is_ok()
            });
            prop_assert_eq!(words_end(&bytes, 0), slow);
        }
    }
}
