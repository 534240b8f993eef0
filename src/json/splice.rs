//! Small edits to a text that stays as it is otherwise: another value, a member less, a member more.
//!
//! Edits are noted against the spans of a scanned text and applied in one go; every byte outside them is copied as it came, so
//! unknown fields, number spellings and key order survive. Of two edits that touch the same bytes the one that begins first wins,
//! and a removal before all others at its place. An [`Edits`] keeps its buffers when cleared, so that a warm one allocates nothing.

use super::grammar::skip_space;
use super::lanes;
use super::{Member, ObjectSpan, Span};

/// Edits of one text, in any order. They belong to the text whose spans they name.
#[derive(Debug, Default)]
pub struct Edits {
    /// Sorted by where they begin; edits of one place keep the order in which they were noted.
    edits: Vec<Edit>,
    /// The replacing and appended bytes of all edits.
    written: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Edit {
    /// The bytes of the source that go away; empty for an appended member.
    source: Span,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// These bytes of `written` stand there instead.
    Replace(Span),
    /// The member goes, with a comma.
    Remove,
    /// These bytes of `written` come before the closing brace at the source offset.
    Append { member: Span, empty: bool },
}

// === impl Edits ===

impl Edits {
    /// No edits yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all edits but keeps the buffers.
    pub fn clear(&mut self) {
        self.edits.clear();
        self.written.clear();
    }

    /// Whether the text would stay as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Puts `bytes`, a JSON value, where `span` is.
    pub fn replace(&mut self, span: Span, bytes: &[u8]) {
        let written = self.keep(bytes);
        self.note(span, What::Replace(written));
    }

    /// Takes out a member, its value and the comma that joined it to a neighbour.
    pub fn remove_member(&mut self, member: Member) {
        self.note(Span { start: member.key.start, end: member.value.end }, What::Remove);
    }

    /// Adds `member`, written as `"key":value`, at the end of an object.
    pub fn append_member(&mut self, object: ObjectSpan, member: &[u8]) {
        let member = self.keep(member);
        let brace = object.closing_brace();
        self.note(Span { start: brace, end: brace }, What::Append { member, empty: object.empty });
    }

    /// Appends the edited text to `out`.
    pub fn write(&self, source: &[u8], out: &mut Vec<u8>) {
        self.each_piece(source, |piece| out.extend_from_slice(piece));
    }

    /// Length of the edited text in bytes.
    #[must_use]
    pub fn edited_len(&self, source: &[u8]) -> usize {
        let mut length = 0;
        self.each_piece(source, |piece| length += piece.len());
        length
    }

    /// Hands out the edited text piece by piece, in order: slices of `source` and of the edits, for a vectored write.
    pub fn each_piece<'a>(&'a self, source: &'a [u8], mut piece: impl FnMut(&'a [u8])) {
        let mut copied = 0;
        let mut last_removal = None;
        let mut added = 0;
        let mut index = 0;
        while let Some(edit) = self.edits.get(index) {
            index += 1;
            if edit.source.start < copied || edit.source.end > source.len() {
                continue;
            }
            match edit.what {
                What::Replace(written) => {
                    piece(source.get(copied..edit.source.start).unwrap_or_default());
                    piece(written.of(&self.written));
                    copied = edit.source.end;
                }
                What::Remove => {
                    let (removal, next) = self.removal(source, index - 1);
                    index = next;
                    piece(source.get(copied..removal.start).unwrap_or_default());
                    copied = removal.end.max(copied);
                    last_removal = Some(removal);
                }
                What::Append { member, empty } => {
                    let brace = edit.source.start;
                    piece(source.get(copied..brace).unwrap_or_default());
                    let alone = empty || last_removal.is_some_and(|removal| was_all(source, removal, brace));
                    let first = alone && added != brace;
                    piece(if first { b"" } else { b"," });
                    piece(member.of(&self.written));
                    copied = brace;
                    added = brace;
                }
            }
        }
        piece(source.get(copied..).unwrap_or_default());
    }

    /// What goes with the removed member at `index` and the removed neighbours that follow it, and the index of the edit after.
    ///
    /// The comma after the run goes; after the last member of an object there is none, and then it is the one before the run.
    fn removal(&self, source: &[u8], mut index: usize) -> (Span, usize) {
        let mut run = self.edits[index].source;
        loop {
            index += 1;
            // A comma ends the member even if the next one stays, so it always goes with this one.
            let after = skip_space(source, run.end);
            if source.get(after) != Some(&b',') {
                return (Span { start: comma_before(source, run.start), end: run.end }, index);
            }
            let next_key = skip_space(source, after + 1);
            // Edits inside the removed value go with it.
            while self.edits.get(index).is_some_and(|edit| edit.source.start < next_key) {
                index += 1;
            }
            match self.edits.get(index) {
                Some(edit) if edit.source.start == next_key && matches!(edit.what, What::Remove) => {
                    run.end = edit.source.end
                }
                _ => return (Span { start: run.start, end: next_key }, index),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Span {
        let start = self.written.len();
        self.written.extend_from_slice(bytes);
        Span { start, end: self.written.len() }
    }

    fn note(&mut self, source: Span, what: What) {
        let last = !matches!(what, What::Remove);
        let place = self
            .edits
            .partition_point(|edit| edit.source.start < source.start || (last && edit.source.start == source.start));
        self.edits.insert(place, Edit { source, what });
    }
}

/// Where the comma before `at` is, or `at` if another byte than a comma stands there.
fn comma_before(source: &[u8], at: usize) -> usize {
    let before = space_start(source, at);
    if before > 0 && source.get(before - 1) == Some(&b',') { before - 1 } else { at }
}

/// Whether nothing but `removal` and whitespace lies between a `{` and its closing brace.
fn was_all(source: &[u8], removal: Span, brace: usize) -> bool {
    let before = space_start(source, removal.start);
    skip_space(source, removal.end) == brace && before > 0 && source.get(before - 1) == Some(&b'{')
}

/// Where the whitespace that ends at `at` begins.
fn space_start(source: &[u8], at: usize) -> usize {
    let before = source.get(..at).unwrap_or_default();
    before.iter().rposition(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).map_or(0, |last| last + 1)
}

/// Appends `text` as a JSON string, quotes included: only what RFC 8259 section 7 wants escaped is.
pub fn escape_into(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(lanes::plain_len(rest));
        out.extend_from_slice(plain);
        let Some((&byte, behind)) = special.split_first() else { break };
        escape_byte(byte, out);
        rest = behind;
    }
    out.push(b'"');
}

/// Appends the escape of a quote, a backslash or a control character.
fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        0..0x20 => b'u',
        _ => byte,
    };
    out.extend_from_slice(&[b'\\', short]);
    if short == b'u' {
        let digits = b"0123456789abcdef";
        out.extend_from_slice(&[b'0', b'0', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan::{self, Names};

    const ABC: Names = Names::new(&["a", "b", "c", "d"]);

    /// Applies `what` to `source`: `-a` removes, `a=1` replaces, `+"x":1` appends.
    fn edited(source: &str, what: &[&str]) -> String {
        let mut found = [None; 4];
        let object = scan::members(source.as_bytes(), &ABC, &mut found).expect("valid source");
        let member = |name: &str| found[usize::from(name.as_bytes()[0] - b'a')].expect("there");
        let mut edits = Edits::new();
        for edit in what {
            match (edit.strip_prefix('-'), edit.strip_prefix('+'), edit.split_once('=')) {
                (Some(name), ..) => edits.remove_member(member(name)),
                (_, Some(text), _) => edits.append_member(object, text.as_bytes()),
                (.., Some((name, value))) => edits.replace(member(name).value, value.as_bytes()),
                _ => panic!("no such edit: {edit}"),
            }
        }
        let mut out = Vec::new();
        edits.write(source.as_bytes(), &mut out);
        assert_eq!(edits.edited_len(source.as_bytes()), out.len());
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn edits_table() {
        let abc = r#"{"a":1, "b":[2] ,"c":{"x":3}}"#;
        let rows: &[(&str, &[&str], &str)] = &[
            (abc, &[], abc),
            (abc, &["b=null"], r#"{"a":1, "b":null ,"c":{"x":3}}"#),
            (abc, &["-a"], r#"{"b":[2] ,"c":{"x":3}}"#),
            (abc, &["-b"], r#"{"a":1, "c":{"x":3}}"#),
            (abc, &["-c"], r#"{"a":1, "b":[2] }"#),
            (abc, &["-a", "-b"], r#"{"c":{"x":3}}"#),
            (abc, &["-c", "-b"], r#"{"a":1}"#),
            (abc, &["-a", "-c"], r#"{"b":[2] }"#),
            (abc, &["-b", "-c", "-a"], "{}"),
            (abc, &["-b", "-c", "-a", "+\"x\":1", "+\"y\":2"], r#"{"x":1,"y":2}"#),
            (abc, &["-b", "-c", "+\"x\":1"], r#"{"a":1,"x":1}"#),
            (abc, &["+\"x\":1", "c=9", "-a"], r#"{"b":[2] ,"c":9,"x":1}"#),
            (abc, &["b=0", "-b", "-b"], r#"{"a":1, "c":{"x":3}}"#),
            (abc, &["a=0", "a=5"], r#"{"a":0, "b":[2] ,"c":{"x":3}}"#),
            ("{}", &["+\"x\":1"], r#"{"x":1}"#),
            (" { } ", &["+\"x\":1", "+\"y\":2"], r#" { "x":1,"y":2} "#),
            ("{ \"a\":1 }", &["-a"], "{  }"),
            ("{ \"a\":1 }", &["-a", "+\"x\":1"], "{  \"x\":1}"),
            ("{\"d\":{},\"a\":1}", &["-a", "+\"x\":1"], "{\"d\":{},\"x\":1}"),
        ];
        for (source, what, target) in rows {
            assert_eq!(edited(source, what), *target, "{source} {what:?}");
        }
    }

    #[test]
    fn edits_inside_a_removed_member_go_with_it() {
        let source = br#"{"a":{"b":1,"c":2},"d":3}"#;
        let mut outer = [None; 4];
        scan::members(source, &ABC, &mut outer).expect("valid");
        let [a, _, _, d] = outer;
        let mut inner = [None; 4];
        let object = scan::members_at(source, a.expect("there").value, &ABC, &mut inner).expect("valid");
        let mut edits = Edits::new();
        edits.append_member(object, b"\"e\":0");
        edits.remove_member(inner[1].expect("there"));
        let mut out = Vec::new();
        edits.write(source, &mut out);
        assert_eq!(out, br#"{"a":{"c":2,"e":0},"d":3}"#);
        edits.remove_member(a.expect("there"));
        out.clear();
        edits.write(source, &mut out);
        assert_eq!(out, br#"{"d":3}"#);
        edits.remove_member(d.expect("there"));
        out.clear();
        edits.write(source, &mut out);
        assert_eq!(out, b"{}");
        edits.clear();
        assert!(edits.is_empty());
        assert_eq!(edits.edited_len(source), source.len());
    }

    #[test]
    fn spans_of_another_text_do_no_harm() {
        let mut edits = Edits::new();
        edits.replace(Span { start: 50, end: 60 }, b"x");
        edits.replace(Span { start: 3, end: 1 }, b"y");
        edits.append_member(ObjectSpan { span: Span { start: 70, end: 80 }, empty: true }, b"z");
        for source in [&b""[..], b"{}", b"{\"a\":1}"] {
            assert!(edits.edited_len(source) <= source.len() + 3);
        }
    }

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        let all: String = (0..0x300).filter_map(char::from_u32).chain("😀\u{2028}\u{ffff}".chars()).collect();
        for text in ["", "plain", "\"", "\\", all.as_str()] {
            let mut out = Vec::new();
            escape_into(text, &mut out);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), serde_json::to_string(text).expect("a string"));
        }
    }
}
