//! Where `metadata` goes into a JSON answer without building a tree: before the last brace.
//!
//! OpenAI's own answers may have a `metadata` object, the echo of what the caller had stored; then ours joins it, and on a name that both
//! use ours wins. Everything else of the answer keeps its bytes.

use crate::json::scan::{self, Names};
use crate::json::{Element, Kind, Span};
use memchr::memmem;

/// What to do to one answer.
pub enum Splice {
    /// Nothing: it is no object, or nothing is to be added.
    Leave,
    /// Our members, wrapped in a new `metadata` member, before this brace.
    Append {
        /// Offset of the closing brace.
        brace: usize,
        /// Whether a comma goes first.
        comma: bool,
    },
    /// This text in place of the value of the `metadata` member that is there.
    Replace {
        /// The old value.
        value: Span,
        /// The new one.
        text: Vec<u8>,
    },
}

const OPEN: &[u8] = b"\"metadata\":{";

impl Splice {
    /// Looks at an answer; `theirs` is the `metadata` member that it has, `members` the inside of our object.
    pub fn plan(body: &[u8], theirs: Option<Element>, members: &[u8]) -> Self {
        if members.is_empty() {
            return Splice::Leave;
        }
        let end = body.trim_ascii_end().len();
        let is_object = body.trim_ascii_start().first() == Some(&b'{') && end > 1 && body[end - 1] == b'}';
        if !is_object {
            return Splice::Leave;
        }
        let brace = end - 1;
        match theirs {
            Some(Element { value, kind: Kind::Object }) => {
                return Splice::Replace { value, text: merged(value.of(body), members) };
            }
            Some(Element { value, .. }) => {
                return Splice::Replace { value, text: [b"{", members, b"}"].concat() };
            }
            None => {}
        }
        let comma = body[..brace].trim_ascii_end().last() != Some(&b'{');
        Splice::Append { brace, comma }
    }

    /// Bytes of the spliced answer.
    pub fn length(&self, body: &[u8], members: &[u8]) -> usize {
        match self {
            Splice::Leave => body.len(),
            Splice::Append { comma, .. } => body.len() + usize::from(*comma) + OPEN.len() + members.len() + 1,
            Splice::Replace { value, text } => body.len() - value.len() + text.len(),
        }
    }

    /// Appends the spliced answer.
    pub fn write(&self, body: &[u8], members: &[u8], out: &mut Vec<u8>) {
        match self {
            Splice::Leave => out.extend_from_slice(body),
            Splice::Append { brace, comma } => {
                out.extend_from_slice(&body[..*brace]);
                if *comma {
                    out.push(b',');
                }
                out.extend_from_slice(OPEN);
                out.extend_from_slice(members);
                out.push(b'}');
                out.extend_from_slice(&body[*brace..]);
            }
            Splice::Replace { value, text } => {
                out.extend_from_slice(&body[..value.start]);
                out.extend_from_slice(text);
                out.extend_from_slice(&body[value.end..]);
            }
        }
    }
}

/// The `metadata` member of an answer that no pass was made over.
pub fn existing(body: &[u8]) -> Option<Element> {
    static METADATA: Names = Names::new(&["metadata"]);
    // Inside a string its quotes would be escaped: no hit means that there is no such key.
    memmem::find(body, b"\"metadata\"")?;
    let mut found = [None];
    scan::members(body, &METADATA, &mut found).ok()?;
    found[0].map(|member| Element { value: member.value, kind: member.kind })
}

/// Their object with our members over it. Rare and small, so a tree is fine here.
fn merged(theirs: &[u8], members: &[u8]) -> Vec<u8> {
    let ours = [b"{", members, b"}"].concat();
    let parse = |text: &[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(text).ok();
    let (Some(mut joined), Some(over)) = (parse(theirs), parse(&ours)) else { return ours };
    joined.extend(over);
    serde_json::to_vec(&joined).unwrap_or(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(body: &str, members: &str) -> String {
        let splice = Splice::plan(body.as_bytes(), existing(body.as_bytes()), members.as_bytes());
        let mut out = Vec::new();
        splice.write(body.as_bytes(), members.as_bytes(), &mut out);
        assert_eq!(out.len(), splice.length(body.as_bytes(), members.as_bytes()));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn metadata_becomes_the_last_member() {
        assert_eq!(spliced(r#"{"id":1}"#, r#""a":2"#), r#"{"id":1,"metadata":{"a":2}}"#);
        assert_eq!(spliced("{ \"id\":1 }\n", r#""a":2"#), "{ \"id\":1 ,\"metadata\":{\"a\":2}}\n");
        assert_eq!(spliced("{}", r#""a":2"#), r#"{"metadata":{"a":2}}"#);
    }

    #[test]
    fn an_existing_member_is_joined_and_ours_wins() {
        let joined = spliced(r#"{"metadata":{"a":1,"b":2},"z":0}"#, r#""a":9"#);
        assert_eq!(joined, r#"{"metadata":{"a":9,"b":2},"z":0}"#);
        assert_eq!(spliced(r#"{"metadata":null}"#, r#""a":9"#), r#"{"metadata":{"a":9}}"#);
        // The word inside a string or deeper down is no member of ours.
        assert_eq!(
            spliced(r#"{"x":{"metadata":1},"y":"metadata"}"#, r#""a":9"#),
            r#"{"x":{"metadata":1},"y":"metadata","metadata":{"a":9}}"#
        );
    }

    #[test]
    fn what_is_no_object_stays() {
        for body in ["[1]", "", "  ", "\"text\"", "{", "}"] {
            assert_eq!(spliced(body, r#""a":9"#), body);
        }
        assert_eq!(spliced(r#"{"id":1}"#, ""), r#"{"id":1}"#);
    }
}
