//! One validating pass over a text, and where the wanted members lie.
//!
//! The grammar is that of RFC 8259, refused and accepted as `serde_json` does it for a `Value` from a slice: control characters,
//! lone surrogates, invalid UTF-8 and trailing text are faults. Two differences: nesting is capped lower, and a number too large
//! for an `f64` (`1e999`) is grammar here, for nobody reads it.

use super::grammar::{Stop, Text};
use super::{Element, JsonFault, Member, ObjectSpan, Span, text};
use crate::limits::JSON_DEPTH_MAX;

/// Whether `bytes` is one JSON text with at most `depth_max` arrays and objects inside one another (never more than
/// [`JSON_DEPTH_MAX`]). Whitespace around it is fine.
///
/// # Errors
/// The first [`JsonFault`] met, reading from the left.
pub fn validate(bytes: &[u8], depth_max: usize) -> Result<(), JsonFault> {
    let mut text = Text::new(bytes);
    let end = text.value_end(text.skip_space(0), depth_max);
    match end.and_then(|end| text.at_end(end)) {
        Ok(()) => text.check_utf8(0, bytes.len()),
        Err(stop) => Err(text.fault(0, stop)),
    }
}

/// Validates `bytes` as one JSON object and notes in `found[i]` its top-level member called `names[i]`, compared after unescaping.
///
/// `found` is cleared first; names beyond its length are not looked for.
///
/// # Errors
/// [`JsonFault::NotAnObject`] if another kind of value begins there, [`JsonFault::DuplicateKey`] if a wanted name is there twice,
/// else the first fault met, reading from the left.
pub fn members(bytes: &[u8], names: &Names, found: &mut [Option<Member>]) -> Result<ObjectSpan, JsonFault> {
    members_of(bytes, 0, true, names, found)
}

/// As [`members`], for the object that fills `span` of `bytes`; offsets count from the start of `bytes`.
///
/// # Errors
/// As [`members`]. A span that came from a scan of the same bytes can only fail for `NotAnObject` and `DuplicateKey`.
pub fn members_at(
    bytes: &[u8],
    span: Span,
    names: &Names,
    found: &mut [Option<Member>],
) -> Result<ObjectSpan, JsonFault> {
    members_of(bytes.get(..span.end).unwrap_or(bytes), span.start, true, names, found)
}

/// As [`members`], for the object that begins at offset `start`; what follows it is not looked at.
///
/// # Errors
/// As [`members`].
pub fn members_from(
    bytes: &[u8],
    start: usize,
    names: &Names,
    found: &mut [Option<Member>],
) -> Result<ObjectSpan, JsonFault> {
    match bytes.get(start) {
        Some(b'{') => members_of(bytes, start, false, names, found),
        Some(_) => Err(JsonFault::NotAnObject),
        None => Err(JsonFault::Syntax { offset: start }),
    }
}

/// The object at or after `start`; whether it has to be the last thing of the text.
fn members_of(
    bytes: &[u8],
    start: usize,
    alone: bool,
    names: &Names,
    found: &mut [Option<Member>],
) -> Result<ObjectSpan, JsonFault> {
    found.fill(None);
    let mut text = Text::new(bytes);
    let at = text.skip_space(start);
    match bytes.get(at) {
        Some(b'{') => {}
        Some(_) => return Err(JsonFault::NotAnObject),
        None => return Err(JsonFault::Syntax { offset: at }),
    }
    let walked = walk_members(&mut text, at, names, found);
    let ended = walked.and_then(|walked| match walked {
        Walked::Object(object) if alone => text.at_end(object.span.end).map(|()| walked),
        _ => Ok(walked),
    });
    match ended {
        Ok(Walked::Object(object)) => text.check_utf8(start, object.span.end).map(|()| object),
        Ok(Walked::Twice(index)) => Err(JsonFault::DuplicateKey { name: names.names[index] }),
        Err(stop) => Err(text.fault(start, stop)),
    }
}

enum Walked {
    Object(ObjectSpan),
    /// The name of this index was there a second time.
    Twice(usize),
}

/// The members of the object whose brace is at `start`.
fn walk_members(
    text: &mut Text<'_>,
    start: usize,
    names: &Names,
    found: &mut [Option<Member>],
) -> Result<Walked, Stop> {
    let mut at = text.skip_space(start + 1);
    if text.byte(at) == b'}' {
        return Ok(Walked::Object(ObjectSpan { span: Span { start, end: at + 1 }, empty: true }));
    }
    loop {
        let key = text.key(at)?;
        let kind = text.kind_at(key.value_start)?;
        let end = text.value_end(key.value_start, JSON_DEPTH_MAX - 1)?;
        if let Some(index) = names.position(key.span.of(text.bytes()), key.escaped)
            && let Some(slot) = found.get_mut(index)
        {
            let member = Member { key: key.span, value: Span { start: key.value_start, end }, kind };
            if slot.replace(member).is_some() {
                return Ok(Walked::Twice(index));
            }
        }
        at = text.skip_space(end);
        match text.byte(at) {
            b',' => at = text.skip_space(at + 1),
            b'}' => return Ok(Walked::Object(ObjectSpan { span: Span { start, end: at + 1 }, empty: false })),
            _ => return Err(Stop::at(at)),
        }
    }
}

/// The values of the array that fills `span` of `bytes`, in order. A fault is the last item; no item if it is not an array.
#[must_use]
pub fn elements(bytes: &[u8], span: Span) -> Elements<'_> {
    let bytes = bytes.get(..span.end).unwrap_or(bytes);
    let text = Text::new(bytes);
    let start = text.skip_space(span.start);
    let first = text.skip_space(start + 1);
    let some = text.byte(start) == b'[' && text.byte(first) != b']';
    Elements { text, next: some.then_some(first) }
}

/// Iterator of [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    text: Text<'a>,
    /// Where the next value begins; nothing after the last one or a fault.
    next: Option<usize>,
}

// === impl Elements ===

impl Elements<'_> {
    /// The value at `start`, and where the one after it begins.
    fn step(&mut self, start: usize) -> Result<(Element, Option<usize>), Stop> {
        let text = &mut self.text;
        let kind = text.kind_at(start)?;
        let end = text.value_end(start, JSON_DEPTH_MAX - 1)?;
        let element = Element { value: Span { start, end }, kind };
        let after = text.skip_space(end);
        match text.byte(after) {
            b',' => Ok((element, Some(text.skip_space(after + 1)))),
            b']' => Ok((element, None)),
            _ => Err(Stop::at(after)),
        }
    }
}

impl Iterator for Elements<'_> {
    type Item = Result<Element, JsonFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next.take()?;
        Some(match self.step(start) {
            Ok((element, next)) => self.text.check_utf8(start, element.value.end).map(|()| {
                self.next = next;
                element
            }),
            Err(stop) => Err(self.text.fault(start, stop)),
        })
    }
}

/// Up to 64 member names to look for, with a table that refuses most other keys at a glance. Make it a `static` or `const`.
#[derive(Clone, Debug)]
pub struct Names {
    names: &'static [&'static str],
    /// Bit `i` of `by_length[n % 32]`: name `i` has length `n`.
    by_length: [u64; 32],
    /// Bit `i` of `by_first[b % 32]`: name `i` begins with byte `b`.
    by_first: [u64; 32],
}

// === impl Names ===

impl Names {
    /// The table of `names`.
    ///
    /// # Panics
    /// If there are more than 64 names or an empty one: at compile time when used for a `static` or `const`.
    #[must_use]
    pub const fn new(names: &'static [&'static str]) -> Self {
        assert!(names.len() <= 64, "a name table holds 64 names");
        let mut table = Self { names, by_length: [0; 32], by_first: [0; 32] };
        let mut index = 0;
        while index < names.len() {
            let name = names[index].as_bytes();
            assert!(!name.is_empty(), "a name has a first byte");
            table.by_length[name.len() % 32] |= 1 << index;
            table.by_first[name[0] as usize % 32] |= 1 << index;
            index += 1;
        }
        table
    }

    /// How many names there are: the length that `found` should have.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Which name the quoted key is, if any.
    #[inline]
    pub(super) fn position(&self, quoted: &[u8], escaped: bool) -> Option<usize> {
        if escaped {
            return self.names.iter().position(|name| text::equals(quoted, name));
        }
        let key = quoted.get(1..quoted.len() - 1)?;
        let first = *key.first()?;
        let mut candidates = self.by_length[key.len() % 32] & self.by_first[usize::from(first) % 32];
        while candidates != 0 {
            let index = candidates.trailing_zeros() as usize;
            if self.names[index].as_bytes() == key {
                return Some(index);
            }
            candidates &= candidates - 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::json::Kind;

    const CHAT: Names = Names::new(&["model", "stream", "messages"]);

    fn find(text: &str) -> Result<[Option<Member>; 3], JsonFault> {
        let mut found = [None; 3];
        members(text.as_bytes(), &CHAT, &mut found).map(|_| found)
    }

    #[test]
    fn wanted_members_are_found_with_their_spans() {
        let text =
            " { \"other\":{\"model\":1}, \"stream\" : true ,\"mod\\u0065l\":\"gpt\\n\",\"messages\":[{\"model\":2}]}\n";
        let [model, stream, messages] = find(text).expect("valid").map(|member| member.expect("found"));
        assert_eq!(model.key.of(text.as_bytes()), br#""mod\u0065l""#);
        assert_eq!(model.value.of(text.as_bytes()), br#""gpt\n""#);
        assert_eq!((stream.value.of(text.as_bytes()), stream.kind), (&b"true"[..], Kind::Bool));
        assert_eq!((messages.value.of(text.as_bytes()), messages.kind), (&br#"[{"model":2}]"#[..], Kind::Array));
    }

    #[test]
    fn a_wanted_name_twice_is_a_fault_in_any_spelling() {
        let twice = [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","x":0,"mod\u0065l":"b"}"#,
            r#"{"\u006dodel":null,"model":null}"#,
        ];
        for text in twice {
            assert_eq!(find(text), Err(JsonFault::DuplicateKey { name: "model" }), "{text}");
        }
        assert_eq!(
            find(r#"{"x":1,"x":2,"Model":3,"y":{"model":1,"model":2}}"#),
            Ok([None; 3]),
            "nobody decides on these"
        );
    }

    #[test]
    fn faults_of_an_object() {
        for other in ["[]", "1", "\"{}\"", "null"] {
            assert_eq!(find(other), Err(JsonFault::NotAnObject), "{other}");
        }
        let bad = [("", 0), ("{", 1), ("{}x", 2), ("{\"a\":1", 6), ("{\"a\":1}{", 7), ("{\"a\":1,}", 7), ("{1:1}", 1)];
        for (text, offset) in bad {
            assert_eq!(find(text), Err(JsonFault::Syntax { offset }), "{text}");
        }
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(find(&deep(63)), Ok([None; 3]));
        assert_eq!(find(&deep(64)), Err(JsonFault::Depth));
    }

    #[test]
    fn objects_say_whether_they_are_empty() {
        let mut found = [None; 3];
        let object = members(b" {\n} ", &CHAT, &mut found).expect("valid");
        assert_eq!(object, ObjectSpan { span: Span { start: 1, end: 4 }, empty: true });
        assert_eq!(object.closing_brace(), 3);
        assert!(!members(b"{\"a\":1}", &CHAT, &mut found).expect("valid").empty);
    }

    #[test]
    fn nested_objects_and_arrays_by_span() {
        const CHOICE: Names = Names::new(&["index", "delta"]);
        let text = r#"{"stream":[ {"index":0,"delta":{}} , {"index":1} ],"messages":[ ]}"#.as_bytes();
        let mut found = [None; 3];
        members(text, &CHAT, &mut found).expect("valid");
        let [_, stream, messages] = found;
        let mut inner = [None; 2];
        let indexes: Vec<&[u8]> = elements(text, stream.expect("found").value)
            .map(|element| {
                members_at(text, element.expect("valid").value, &CHOICE, &mut inner).expect("valid");
                inner[0].expect("found").value.of(text)
            })
            .collect();
        assert_eq!(indexes, [b"0", b"1"]);
        assert_eq!(elements(text, messages.expect("found").value).count(), 0);
        assert_eq!(elements(b"{}", Span { start: 0, end: 2 }).count(), 0, "not an array");
        let broken: Vec<_> = elements(b"[1,]", Span { start: 0, end: 4 }).map(|element| element.is_ok()).collect();
        assert_eq!(broken, [true, false], "a fault is the last item");
    }

    #[test]
    fn spans_of_another_text_do_no_harm() {
        let mut found = [None; 3];
        let far = Span { start: 7, end: 99 };
        assert_eq!(members_at(b"{}", far, &CHAT, &mut found), Err(JsonFault::Syntax { offset: 7 }));
        assert_eq!(elements(b"[]", far).count(), 0);
        let backwards = Span { start: 2, end: 1 };
        assert!(members_at(b"{}", backwards, &CHAT, &mut found).is_err());
    }

    #[test]
    fn a_full_table_finds_each_of_its_names() {
        static NAMES: &[&str] = &[
            "a",
            "b",
            "aa",
            "ab",
            "ba",
            "bb",
            "aaa",
            "aab",
            "aba",
            "abb",
            "baa",
            "bab",
            "bba",
            "bbb",
            "A",
            "B",
            "max_tokens",
            "max_token5",
            "n",
            "N",
            "x-very-long-name-of-more-than-32-bytes-a",
            "x-very-long-name-of-more-than-32-bytes-b",
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "7",
            "8",
            "9",
            "é",
        ];
        static TABLE: Names = Names::new(NAMES);
        for (index, name) in NAMES.iter().enumerate() {
            let mut found = [None; 32];
            members(format!("{{\"{name}\":1}}").as_bytes(), &TABLE, &mut found).expect("valid");
            let hits: Vec<usize> = (0..32).filter(|slot| found[*slot].is_some()).collect();
            assert_eq!(hits, [index], "{name}");
        }
    }
}
