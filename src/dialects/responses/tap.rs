//! One look at one event, or one answer, while its bytes pass from a provider of this format to a client of it.
//!
//! Events say by name what they are, so most cost no scan at all; of a delta its one string is measured, and only the
//! final event is read for what was used. The bytes are never changed here, but for the gateway's own metadata in the
//! final event ([`with_metadata`]).

use super::object::joined;
use super::read_usage::{self, object};
use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::shape::{HOLES_MAX, Values};
use crate::json::splice::Edits;
use crate::json::{Kind as Json, Member, Span, text};
use crate::metering::answer::Answer;

/// What one event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    /// Something that a user waits for is in it: text, reasoning, a call. The first of these is the first token.
    pub content: bool,
    /// Bytes of generated text in it, as written in JSON: for an estimate when no usage comes.
    pub content_bytes: usize,
    /// What it is.
    pub kind: Kind,
    /// What the final event says was used.
    pub usage: Option<Usage>,
}

/// What an event is to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of the answer, or the frame of one.
    Plain,
    /// The provider failed: `error` or `response.failed`.
    Error,
    /// The answer is whole, or ended where a limit wanted it: `response.completed` or `response.incomplete`.
    Done,
}

/// Looks at one event: its name, if it has one, and its data, the lines joined.
#[must_use]
pub fn look(name: Option<&[u8]>, data: &[u8]) -> EventFacts {
    match name.filter(|name| name.starts_with(b"response.") || *name == b"error") {
        Some(name) => named(name, data),
        None => match kind_of(data) {
            Some(kind) => named(kind, data),
            None => EventFacts::of(if is_bare_error(data) { Kind::Error } else { Kind::Plain }),
        },
    }
}

/// What may differ in a delta that says the same as this one: its words, its place in the stream, and what pads it.
#[must_use]
pub fn values(data: &[u8]) -> Option<Values> {
    static NAMES: Names = Names::new(&["type", "delta", "sequence_number", "obfuscation"]);
    let mut found = [None; 4];
    scan::members(data, &NAMES, &mut found).ok()?;
    let [kind, delta, sequence, padding] = found;
    let is_delta = text::text(data, kind?.value).is_some_and(|kind| kind.ends_with(".delta"));
    let mut others = [None; HOLES_MAX - 1];
    others[0] = sequence.filter(|it| it.kind == Json::Number).map(|it| it.value);
    others[1] = padding.filter(|it| it.kind == Json::String).map(|it| it.value);
    let words = delta.filter(|it| is_delta && it.kind == Json::String)?;
    Some(Values { words: words.value, others })
}

/// What a whole answer says it used, and all else that one pass over it finds.
#[must_use]
pub fn read_answer(body: &[u8]) -> Answer {
    read_usage::of_answer(body)
}

/// The data of a final event with the gateway's metadata in `response.metadata`: beside what is there, ours winning, or
/// alone. `members` is the inside of our object, without braces. On one line, whatever it was before. Nothing if there
/// is no `response` object, or nothing to add.
#[must_use]
pub fn with_metadata(data: &[u8], members: &[u8]) -> Option<Vec<u8>> {
    static NAMES: Names = Names::new(&["metadata"]);
    if members.is_empty() {
        return None;
    }
    let mut found = [None];
    let response = scan::members_at(data, response(data)?, &NAMES, &mut found).ok()?;
    let mut edits = Edits::new();
    match found[0] {
        Some(Member { kind: Json::Object, value, .. }) => edits.replace(value, &joined(value.of(data), members)),
        Some(Member { value, .. }) => edits.replace(value, &[b"{", members, b"}"].concat()),
        None => edits.append_member(response, &[b"\"metadata\":{", members, b"}"].concat()),
    }
    let mut out = Vec::with_capacity(edits.edited_len(data));
    edits.write(data, &mut out);
    // Between tokens a line end is only space; in strings JSON has none.
    out.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    Some(out)
}

// === impl EventFacts ===

impl EventFacts {
    fn of(kind: Kind) -> Self {
        Self { content: false, content_bytes: 0, kind, usage: None }
    }

    fn content(content_bytes: usize) -> Self {
        Self { content: true, content_bytes, ..Self::of(Kind::Plain) }
    }
}

/// The facts of an event of this name or type.
fn named(name: &[u8], data: &[u8]) -> EventFacts {
    match name {
        b"error" | b"response.failed" => EventFacts::of(Kind::Error),
        // One that cannot be read is no end: the stream then counts as cut.
        b"response.completed" | b"response.incomplete" => match response(data) {
            Some(span) => EventFacts { usage: read_usage::in_object(data, span), ..EventFacts::of(Kind::Done) },
            None => EventFacts::of(Kind::Plain),
        },
        b"response.output_item.added" | b"response.output_item.done" => item(name, data),
        b"response.image_generation_call.partial_image" => EventFacts::content(0),
        // Every kind of generated text has a delta of its own: answers, reasoning, inputs of tools wherever they run.
        name if name.ends_with(b".delta") => match member(data, &DELTA) {
            Some(Member { kind: Json::String, value, .. }) if value.len() > 2 => EventFacts::content(value.len() - 2),
            _ => EventFacts::of(Kind::Plain),
        },
        _ => EventFacts::of(Kind::Plain),
    }
}

static DELTA: Names = Names::new(&["delta"]);
static RESPONSE: Names = Names::new(&["response"]);
static TYPE: Names = Names::new(&["type"]);
static ERROR: Names = Names::new(&["error"]);
static ITEM: Names = Names::new(&["item"]);

/// A call begins with its item, and thinking that may not be seen ends with one.
fn item(event: &[u8], data: &[u8]) -> EventFacts {
    static NAMES: Names = Names::new(&["type", "name", "encrypted_content"]);
    let mut found = [None; 3];
    let item = object(member(data, &ITEM)).map(|span| scan::members_at(data, span, &NAMES, &mut found));
    if !matches!(item, Some(Ok(_))) {
        return EventFacts::of(Kind::Plain);
    }
    let [kind, name, sealed] = found;
    let filled = |member: Option<Member>| member.filter(|it| it.kind == Json::String && it.value.len() > 2);
    let kind = kind.and_then(|kind| text::text(data, kind.value)).unwrap_or_default();
    match (kind, event.ends_with(b".added")) {
        ("function_call" | "custom_tool_call", true) => {
            EventFacts::content(filled(name).map_or(0, |name| name.value.len() - 2))
        }
        ("reasoning", false) if filled(sealed).is_some() => EventFacts::content(0),
        _ => EventFacts::of(Kind::Plain),
    }
}

/// The first of `names` in the event.
fn member(data: &[u8], names: &Names) -> Option<Member> {
    let mut found = [None];
    scan::members(data, names, &mut found).ok()?;
    found[0]
}

/// The `response` object of an event.
fn response(data: &[u8]) -> Option<Span> {
    object(member(data, &RESPONSE))
}

/// The event's type, for one that lost its name.
fn kind_of(data: &[u8]) -> Option<&[u8]> {
    text::text(data, member(data, &TYPE)?.value).map(str::as_bytes)
}

/// Whether it is an error as other formats have it, which a proxy between may send.
fn is_bare_error(data: &[u8]) -> bool {
    member(data, &ERROR).is_some_and(|error| matches!(error.kind, Json::Object | Json::String))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(name: &str, data: &str) -> (bool, usize, Kind) {
        let facts = look(Some(name.as_bytes()), data.as_bytes());
        // A name that got lost changes nothing, where the data can say it too.
        if data.contains("\"type\"") && data.ends_with('}') {
            assert_eq!(look(None, data.as_bytes()), facts, "{data}");
        }
        (facts.content, facts.content_bytes, facts.kind)
    }

    #[test]
    fn events_are_told_apart() {
        let rows: &[(&str, &str, (bool, usize, Kind))] = &[
            ("response.created", r#"{"type":"response.created","response":{}}"#, (false, 0, Kind::Plain)),
            ("response.created", "not read", (false, 0, Kind::Plain)),
            (
                "response.output_text.delta",
                r#"{"type":"response.output_text.delta","delta":"ab\n"}"#,
                (true, 4, Kind::Plain),
            ),
            (
                "response.output_text.delta",
                r#"{"type":"response.output_text.delta","delta":""}"#,
                (false, 0, Kind::Plain),
            ),
            ("response.output_text.delta", "{", (false, 0, Kind::Plain)),
            (
                "response.function_call_arguments.delta",
                r#"{"type":"response.function_call_arguments.delta","delta":"{"}"#,
                (true, 1, Kind::Plain),
            ),
            (
                "response.reasoning_summary_text.delta",
                r#"{"type":"response.reasoning_summary_text.delta","delta":"Hm"}"#,
                (true, 2, Kind::Plain),
            ),
            (
                "response.output_item.added",
                r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"look"}}"#,
                (true, 4, Kind::Plain),
            ),
            (
                "response.output_item.added",
                r#"{"type":"response.output_item.added","item":{"type":"reasoning","encrypted_content":"g"}}"#,
                (false, 0, Kind::Plain),
            ),
            (
                "response.output_item.done",
                r#"{"type":"response.output_item.done","item":{"type":"reasoning","encrypted_content":"g"}}"#,
                (true, 0, Kind::Plain),
            ),
            (
                "response.output_item.done",
                r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"look"}}"#,
                (false, 0, Kind::Plain),
            ),
            ("response.completed", r#"{"type":"response.completed","response":{}}"#, (false, 0, Kind::Done)),
            ("response.completed", r#"{"type":"response.completed","response":{"#, (false, 0, Kind::Plain)),
            ("response.incomplete", r#"{"type":"response.incomplete","response":{}}"#, (false, 0, Kind::Done)),
            ("response.failed", r#"{"type":"response.failed","response":{}}"#, (false, 0, Kind::Error)),
            ("error", r#"{"type":"error","message":"x"}"#, (false, 0, Kind::Error)),
            ("message", r#"{"error":{"message":"x"}}"#, (false, 0, Kind::Error)),
            ("message", r#"{"error":null}"#, (false, 0, Kind::Plain)),
            ("message", "[DONE]", (false, 0, Kind::Plain)),
        ];
        for (name, data, expected) in rows {
            assert_eq!(facts(name, data), *expected, "{name} {data}");
        }
    }

    #[test]
    fn usage_comes_from_the_final_event_and_from_answers() {
        let response = r#"{"id":"resp_1","usage":{"input_tokens":9,
            "input_tokens_details":{"cached_tokens":4,"cache_write_tokens":9},"output_tokens":3,
            "output_tokens_details":{"reasoning_tokens":2},"total_tokens":12}}"#;
        let expected =
            Some(Usage { input: 9, output: 3, cached_input: 4, cache_write: 5, reasoning: 2, ..Usage::default() });
        assert_eq!(read_answer(response.as_bytes()).usage, expected);
        let data = format!(r#"{{"type":"response.completed","response":{response}}}"#);
        assert_eq!(look(Some(b"response.completed"), data.as_bytes()).usage, expected);
        for none in ["", "{}", r#"{"usage":null}"#, r#"{"usage":{}}"#, r#"{"usage":{"input_tokens":-1}}"#] {
            assert_eq!(read_answer(none.as_bytes()).usage, None, "{none}");
        }
    }

    #[test]
    fn metadata_joins_what_is_there() {
        let with =
            |data: &str| with_metadata(data.as_bytes(), br#""a":9"#).map(|out| String::from_utf8(out).expect("text"));
        for (data, expected) in [
            (r#"{"response":{"id":1}}"#, r#"{"response":{"id":1,"metadata":{"a":9}}}"#),
            (r#"{"response":{}}"#, r#"{"response":{"metadata":{"a":9}}}"#),
            (r#"{"response":{"metadata":null,"z":1.0}}"#, r#"{"response":{"metadata":{"a":9},"z":1.0}}"#),
            (r#"{"response":{"metadata":{}}}"#, r#"{"response":{"metadata":{"a":9}}}"#),
            (
                r#"{"response":{"metadata":{"a":"1","b":"2"}},"n":7}"#,
                r#"{"response":{"metadata":{"a":9,"b":"2"}},"n":7}"#,
            ),
            (
                r#"{"metadata":1,"response":{"x":{"metadata":2}}}"#,
                r#"{"metadata":1,"response":{"x":{"metadata":2},"metadata":{"a":9}}}"#,
            ),
            ("{\n\"response\":\r\n{}}", r#"{ "response":  {"metadata":{"a":9}}}"#),
        ] {
            assert_eq!(with(data).as_deref(), Some(expected));
        }
        for none in ["", "{}", "[]", r#"{"response":null}"#, r#"{"response":{"#] {
            assert_eq!(with(none), None, "{none}");
        }
        assert_eq!(with_metadata(b"{\"response\":{}}", b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(
            name in "response\\.[a-z_.]{0,20}|error",
            data in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = look(Some(name.as_bytes()), &data);
            let _ = look(None, &data);
            let _ = with_metadata(&data, b"\"a\":1");
            let _ = read_answer(&data);
        }
    }
}
