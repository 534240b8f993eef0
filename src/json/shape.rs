//! The shape of a text: what stays as it is while a few of its strings and numbers change.
//!
//! Events of one stream differ in their words and in a count or two. Whoever has understood one of them makes its [`Shape`], with those
//! values as holes; a text that fits is the first one with other values of the same kinds in the holes, so that whatever was found out about
//! the structure of the first is true of it. Fitting compares bytes and walks over the values: no scan, no allocation.

use super::Span;

/// Holes of a shape at most.
pub const HOLES_MAX: usize = 6;

/// Digits that a number in a hole has at most: any such number is exact in 64 bits.
const DIGITS_MAX: usize = 15;

/// Where the values of a text that fits lie, as many as the shape has holes: a string without its quotes, a number's digits.
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
    text: Vec<u8>,
    /// In the order of the text, none reaching into another, each inside of it.
    holes: [Hole; HOLES_MAX],
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    span: Span,
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
        let mut holes = [Hole { span: Span { start: 0, end: 0 }, kind: Kind::Number }; HOLES_MAX];
        let mut done = 0;
        for (place, value) in values.iter().enumerate() {
            let hole = match value.of(text) {
                [b'"', .., b'"'] => {
                    Hole { span: Span { start: value.start + 1, end: value.end - 1 }, kind: Kind::Words }
                }
                digits if number_end(digits, 0) == Some(digits.len()) => Hole { span: *value, kind: Kind::Number },
                _ => return None,
            };
            if hole.span.start < done {
                return None;
            }
            done = hole.span.end;
            *holes.get_mut(place)? = hole;
        }
        Some(Self { text: text.to_vec(), holes, count: values.len() })
    }

    /// Whether `bytes` begins with a text of this shape; then where that ends, with its values in `found`.
    #[inline]
    pub fn fit(&self, bytes: &[u8], found: &mut Found) -> Option<usize> {
        let (mut at, mut done) = (0, 0);
        for (hole, place) in self.holes.iter().take(self.count).zip(found.iter_mut()) {
            at = fixed_end(bytes, at, self.text.get(done..hole.span.start)?)?;
            let end = match hole.kind {
                Kind::Words => words_end(bytes, at)?,
                Kind::Number => number_end(bytes, at)?,
            };
            *place = Span { start: at, end };
            (at, done) = (end, hole.span.end);
        }
        fixed_end(bytes, at, self.text.get(done..)?)
    }
}

#[inline]
fn fixed_end(bytes: &[u8], at: usize, fixed: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(fixed).then_some(at + fixed.len())
}

/// Where the string whose first byte after its quote is at `at` has its closing quote; `None` if it has none, is malformed, or has an escape
/// by number, which is rare enough to be left to a scan.
#[inline]
fn words_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (mut end, mut above_ascii) = (at, false);
    loop {
        while let Some(word) =
            bytes.get(end..).and_then(|rest| rest.first_chunk::<8>()).map(|it| u64::from_le_bytes(*it))
        {
            if special_bits(word) != 0 {
                break;
            }
            above_ascii |= word & HIGH_BITS != 0;
            end += 8;
        }
        match *bytes.get(end)? {
            b'"' => break,
            b'\\' => match bytes.get(end + 1)? {
                b'n' | b'"' | b'\\' | b'/' | b't' | b'r' | b'b' | b'f' => end += 2,
                _ => return None,
            },
            0..=0x1f => return None,
            byte => {
                above_ascii |= byte >= 0x80;
                end += 1;
            }
        }
    }
    if above_ascii {
        std::str::from_utf8(bytes.get(at..end)?).ok()?;
    }
    Some(end)
}

/// Where the number ends whose digits begin at `at`; `None` if it is written in another way, or is too long.
#[inline]
fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = bytes.get(at..)?.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let leads_with_zero = digits > 1 && bytes.get(at) == Some(&b'0');
    (digits > 0 && digits <= DIGITS_MAX && !leads_with_zero).then_some(at + digits)
}

/// The number that these digits, found in a hole, are; zero for anything else.
#[must_use]
pub fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0'))))
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Not zero if one of the eight bytes is a quote, a backslash or a control character.
#[inline]
fn special_bits(word: u64) -> u64 {
    let zero_of = |bytes: u64| bytes.wrapping_sub(LOW_BITS) & !bytes;
    let control = word.wrapping_sub(LOW_BITS * 0x20) & !word;
    (control | zero_of(word ^ (LOW_BITS * b'"' as u64)) | zero_of(word ^ (LOW_BITS * b'\\' as u64))) & HIGH_BITS
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
        let end = shape().fit(text.as_bytes(), &mut found)?;
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
        assert_eq!(
            shape().fit(&[&with("1", "a").into_bytes()[..30], b"\xff\"}"].concat(), &mut NOTHING_FOUND.clone()),
            None
        );
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
        assert!(!of(&[(5, 6); HOLES_MAX + 1]));
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
