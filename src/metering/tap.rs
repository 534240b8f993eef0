//! One look at one event of an OpenAI-shaped stream, while its bytes go by: is it content, the end, usage, an error?
//!
//! Nearly every event is a plain delta, so three searches for the keys that make an event special come first; they and the
//! `delta` object are all that is read of a plain one, and the rest of such an event is not validated (it is relayed as it came).
//! An event with one of those keys is scanned whole. A key that a vendor spells with `\u` escapes is not seen by the searches: its
//! usage would be estimated, nothing more. Pure, no allocation; the bytes are never changed here (rule H18).

use super::usage::{self, Accounting};
use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::shape::{HOLES_MAX, Values};
use crate::json::{Element, Kind, Member, ObjectSpan, Span, text};
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// What an event is to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A piece of the answer, or the frame of one.
    Delta {
        /// A choice ended here: its `finish_reason` is neither `null` nor empty.
        finish: bool,
        /// Something that a user waits for is in it: text, reasoning or a tool call. The first of these is the first token.
        content: bool,
    },
    /// No choice, only usage: what `stream_options.include_usage` asks for.
    UsageOnly,
    /// The provider failed after its 200: a top-level or per-choice `error`, or MiniMax's `base_resp` with a status.
    Error,
    /// `[DONE]`: nothing follows.
    Done,
    /// None of these, or not JSON.
    Opaque,
}

/// What one event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    /// What it is.
    pub kind: EventKind,
    /// What it says was used so far; of several events the last one counts.
    pub usage: Option<Usage>,
    /// Bytes of generated text in it, as written in JSON: what [`estimate_tokens`] takes, summed over the stream.
    pub content_bytes: usize,
    /// The event's object, for another member before its closing brace; known if the event was scanned whole.
    pub object: Option<ObjectSpan>,
    /// Whether the object already has a `metadata` member.
    pub has_metadata: bool,
}

/// Looks at the `data` of one event, without its line ends.
#[must_use]
pub fn look(data: &[u8], accounting: Accounting) -> EventFacts {
    if data.trim_ascii() == b"[DONE]" {
        return EventFacts::of(EventKind::Done);
    }
    plain_delta(data).unwrap_or_else(|| whole_event(data, accounting))
}

/// Tokens that about `text_bytes` of generated text make, for a stream that ended before its usage came.
///
/// Four bytes a token is the vendors' own rule of thumb for English (OpenAI help page "What are tokens"); other scripts give fewer
/// bytes a token in some tokenizers and more in others. The figure is marked as estimated wherever it is kept.
#[must_use]
pub fn estimate_tokens(text_bytes: usize) -> u64 {
    text_bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

const BYTES_PER_TOKEN: usize = 4;

// === impl EventFacts ===

impl EventFacts {
    fn of(kind: EventKind) -> Self {
        Self { kind, usage: None, content_bytes: 0, object: None, has_metadata: false }
    }
}

// === Plain deltas ===

/// The keys that may be in every event with `null`, and mean something otherwise.
static SPECIAL: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [r#""usage""#, r#""finish_reason""#, r#""error""#].map(Finder::new));
static DELTA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""delta""#));

/// The facts of an event with deltas and nothing else worth knowing.
fn plain_delta(data: &[u8]) -> Option<EventFacts> {
    for finder in SPECIAL.iter() {
        // Inside a string its quotes would be escaped, so a hit is a key, or a string that is this word.
        if finder.find_iter(data).any(|at| !null_follows(data, at + finder.needle().len())) {
            return None;
        }
    }
    let mut content_bytes = None;
    for at in DELTA.find_iter(data) {
        let value = member_value(data, at + DELTA.needle().len())?;
        *content_bytes.get_or_insert(0) += delta_bytes(data, value)?;
    }
    let content_bytes = content_bytes?;
    let kind = EventKind::Delta { finish: false, content: content_bytes > 0 };
    Some(EventFacts { content_bytes, ..EventFacts::of(kind) })
}

fn null_follows(data: &[u8], key_end: usize) -> bool {
    let value = member_value(data, key_end).and_then(|at| data.get(at..));
    value.is_some_and(|value| value.starts_with(b"null"))
}

/// Where the value of the key that ended at `key_end` begins, if a colon follows.
fn member_value(data: &[u8], key_end: usize) -> Option<usize> {
    let colon = key_end + spaces(data, key_end);
    (data.get(colon) == Some(&b':')).then(|| colon + 1 + spaces(data, colon + 1))
}

fn spaces(data: &[u8], at: usize) -> usize {
    data.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Bytes of generated text in the delta that begins at `start`.
fn delta_bytes(data: &[u8], start: usize) -> Option<usize> {
    static NAMES: Names = Names::new(&[
        "content",
        "refusal",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "tool_calls",
        "function_call",
        "audio",
    ]);
    let mut found = [None; 8];
    scan::members_from(data, start, &NAMES, &mut found).ok()?;
    let [content, refusal, reasoning_content, reasoning, details, tool_calls, function_call, audio] = found;
    // The same reasoning comes under several names at some vendors: it is counted once.
    let thought = [reasoning_content, reasoning, details].map(|member| text_bytes(data, member)).into_iter().max()?;
    let called = function_call.map_or(0, |call| call_bytes(data, call.value));
    let spoken = audio.filter(|audio| audio.kind == Kind::Object).map_or(0, |audio| audio.value.len());
    Some(
        text_bytes(data, content)
            + text_bytes(data, refusal)
            + thought
            + calls_bytes(data, tool_calls)
            + called
            + spoken,
    )
}

/// Bytes of a string, or of the texts in a list of parts (Mistral's `content`, OpenRouter's and MiniMax's `reasoning_details`).
fn text_bytes(data: &[u8], member: Option<Member>) -> usize {
    match member {
        Some(Member { kind: Kind::String, value, .. }) => string_bytes(value),
        Some(Member { kind: Kind::Array, value, .. }) => objects(data, value).map(|part| part_bytes(data, part)).sum(),
        _ => 0,
    }
}

/// Bytes of a part's text; Mistral puts a list of parts under `thinking` once more.
fn part_bytes(data: &[u8], part: Span) -> usize {
    let [text, thinking] = part_members(data, part);
    let inner: usize = match thinking {
        Some(Member { kind: Kind::Array, value, .. }) => objects(data, value)
            .map(|part| part_members(data, part)[0].map_or(0, |text| string_bytes(text.value)))
            .sum(),
        _ => 0,
    };
    inner + text.map_or(0, |text| string_bytes(text.value))
}

fn part_members(data: &[u8], part: Span) -> [Option<Member>; 2] {
    static NAMES: Names = Names::new(&["text", "thinking"]);
    let mut found = [None; 2];
    let object = scan::members_at(data, part, &NAMES, &mut found);
    object.map_or([None; 2], |_| found)
}

fn calls_bytes(data: &[u8], calls: Option<Member>) -> usize {
    static NAMES: Names = Names::new(&["function"]);
    let Some(Member { kind: Kind::Array, value, .. }) = calls else { return 0 };
    let mut bytes = 0;
    for call in objects(data, value) {
        let mut found = [None; 1];
        let function = scan::members_at(data, call, &NAMES, &mut found).ok().and(found[0]);
        // A call of another kind (`custom`) is counted as it is written.
        bytes += function.map_or(call.len(), |function| call_bytes(data, function.value));
    }
    bytes
}

/// Bytes of a call's name and arguments.
fn call_bytes(data: &[u8], function: Span) -> usize {
    static NAMES: Names = Names::new(&["name", "arguments"]);
    let mut found = [None; 2];
    match scan::members_at(data, function, &NAMES, &mut found) {
        Ok(_) => found.into_iter().map(|member| text_bytes(data, member)).sum(),
        Err(_) => 0,
    }
}

/// The objects of an array.
fn objects(data: &[u8], array: Span) -> impl Iterator<Item = Span> {
    let values = scan::elements(data, array).filter_map(Result::ok);
    values.filter(|element| element.kind == Kind::Object).map(|element| element.value)
}

/// Bytes between the quotes, if it is a string; `null` has none.
fn string_bytes(value: Span) -> usize {
    value.len().saturating_sub(2)
}

// === Events like another ===

/// What may differ in an event for the facts to be `seen` but for its words: nothing, unless it is a plain delta whose content is one string
/// and whose every byte is valid.
#[must_use]
pub fn values(data: &[u8], seen: &EventFacts, accounting: Accounting) -> Option<Values> {
    static NAMES: Names = Names::new(&["choices", "created", "obfuscation"]);
    let whole = whole_event(data, accounting);
    if (whole.kind, whole.usage, whole.content_bytes) != (seen.kind, None, seen.content_bytes) {
        return None;
    }
    let mut found = [None; 3];
    scan::members(data, &NAMES, &mut found).ok()?;
    let [choices, created, obfuscation] = found;
    let mut all = scan::elements(data, choices?.value);
    let choice = all.next()?.ok()?;
    if all.next().is_some() {
        return None;
    }
    let mut others = [None; HOLES_MAX - 1];
    others[0] = created.filter(|it| it.kind == Kind::Number).map(|it| it.value);
    others[1] = obfuscation.filter(|it| it.kind == Kind::String).map(|it| it.value);
    Some(Values { words: only_words(data, choice.value)?, others })
}

/// The one string that all content of a choice is in.
fn only_words(data: &[u8], choice: Span) -> Option<Span> {
    static CHOICE: Names = Names::new(&["delta", "text"]);
    static DELTA: Names = Names::new(&["content", "reasoning_content", "reasoning", "tool_calls"]);
    static SAME: Names = Names::new(&["reasoning_details"]);
    static CALL: Names = Names::new(&["function"]);
    static FUNCTION: Names = Names::new(&["arguments"]);
    let filled = |member: &Member| member.kind != Kind::Null && member.value.len() > 2;
    let mut found = [None; 2];
    scan::members_at(data, choice, &CHOICE, &mut found).ok()?;
    let [delta, text] = found.map(|member| member.filter(filled));
    let mut inner = [None; 4];
    let mut twice = [None];
    if let Some(delta) = delta {
        scan::members_at(data, delta.value, &DELTA, &mut inner).ok()?;
        scan::members_at(data, delta.value, &SAME, &mut twice).ok()?;
    }
    let [content, thought, also_thought, calls] = inner.map(|member| member.filter(filled));
    // Thinking that is there under several names is counted once: its length is not that of one string.
    let is_twice = twice[0].is_some_and(|it| filled(&it));
    let mut candidates = [text, content, thought, also_thought].into_iter().flatten();
    let words = match (candidates.next(), calls) {
        (Some(words), None) if !is_twice && candidates.next().is_none() => words,
        (None, Some(calls)) if calls.kind == Kind::Array => {
            let mut all = objects(data, calls.value);
            let (call, None) = (all.next()?, all.next()) else { return None };
            let mut function = [None];
            scan::members_at(data, call, &CALL, &mut function).ok()?;
            let mut arguments = [None];
            scan::members_at(data, function[0]?.value, &FUNCTION, &mut arguments).ok()?;
            arguments[0].filter(filled)?
        }
        _ => return None,
    };
    (words.kind == Kind::String).then_some(words.value)
}

// === Every other event ===

fn whole_event(data: &[u8], accounting: Accounting) -> EventFacts {
    static NAMES: Names = Names::new(&["choices", "usage", "x_groq", "error", "object", "base_resp", "metadata"]);
    let mut found = [None; 7];
    let Ok(object) = scan::members(data, &NAMES, &mut found) else {
        return EventFacts::of(EventKind::Opaque);
    };
    let [choices, usage, x_groq, error, shape, base_resp, metadata] = found;
    let answered = choices.map(|choices| Choices::read(data, choices.value, accounting)).unwrap_or_default();
    let usage = usage::stated_in(data, usage, accounting)
        .or_else(|| usage::nested_usage(data, usage::object(x_groq)?, accounting))
        .or(answered.usage);
    let failed = truthy(data, error) || is_error_object(data, shape) || bad_status(data, base_resp) || answered.failed;
    let kind = match (answered.any, usage) {
        _ if failed => EventKind::Error,
        (false, Some(_)) => EventKind::UsageOnly,
        (false, None) if choices.is_none() => EventKind::Opaque,
        // Azure opens with an event without choices: the frame of an answer.
        _ => EventKind::Delta { finish: answered.finished, content: answered.content_bytes > 0 },
    };
    let content_bytes = answered.content_bytes;
    EventFacts { kind, usage, content_bytes, object: Some(object), has_metadata: metadata.is_some() }
}

/// What the choices of an event say together.
#[derive(Default)]
struct Choices {
    any: bool,
    finished: bool,
    failed: bool,
    content_bytes: usize,
    usage: Option<Usage>,
}

// === impl Choices ===

impl Choices {
    fn read(data: &[u8], choices: Span, accounting: Accounting) -> Self {
        static NAMES: Names = Names::new(&["delta", "finish_reason", "error", "usage", "text"]);
        let mut all = Self::default();
        for Element { value, .. } in scan::elements(data, choices).filter_map(Result::ok) {
            all.any = true;
            let mut found = [None; 5];
            if scan::members_at(data, value, &NAMES, &mut found).is_err() {
                continue;
            }
            // `text` is where the older completions answer has it.
            let [delta, finish_reason, error, usage, text] = found;
            let reason = finish_reason.and_then(|reason| text::text(data, reason.value)).unwrap_or_default();
            all.finished |= !reason.is_empty();
            // OpenRouter and Mistral end a choice with this reason when their own upstream failed.
            all.failed |= truthy(data, error) || reason == "error";
            let bytes = usage::object(delta).and_then(|delta| delta_bytes(data, delta.start));
            all.content_bytes += bytes.unwrap_or(0) + text_bytes(data, text);
            all.usage = usage::stated_in(data, usage, accounting).or(all.usage);
        }
        all
    }
}

/// Whether a client would take the member for something: the SDKs raise on an `error` that is true as Python has it.
fn truthy(data: &[u8], member: Option<Member>) -> bool {
    let Some(Member { kind, value, .. }) = member else { return false };
    match kind {
        Kind::Null => false,
        Kind::Bool => text::as_bool(data, value) == Some(true),
        Kind::Number => text::as_f64(data, value) != Some(0.0),
        Kind::String => string_bytes(value) > 0,
        Kind::Array => scan::elements(data, value).next().is_some(),
        Kind::Object => scan::members_at(data, value, &NOTHING, &mut []).is_ok_and(|object| !object.empty),
    }
}

static NOTHING: Names = Names::new(&[]);

/// Older vLLM servers send the error itself as the event.
fn is_error_object(data: &[u8], shape: Option<Member>) -> bool {
    shape.is_some_and(|shape| text::text(data, shape.value) == Some("error"))
}

/// MiniMax says everything in a status of its own; 0 is fine.
fn bad_status(data: &[u8], base_resp: Option<Member>) -> bool {
    static NAMES: Names = Names::new(&["status_code"]);
    let mut found = [None; 1];
    let read = usage::object(base_resp).map(|span| scan::members_at(data, span, &NAMES, &mut found));
    matches!(read, Some(Ok(_))) && truthy(data, found[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELTA_PLAIN: EventKind = EventKind::Delta { finish: false, content: true };
    const DELTA_FRAME: EventKind = EventKind::Delta { finish: false, content: false };
    const DELTA_LAST: EventKind = EventKind::Delta { finish: true, content: false };

    /// Vendor, event, kind, content bytes, input and output tokens.
    type Row = (&'static str, &'static str, EventKind, usize, Option<(u64, u64)>);

    #[rustfmt::skip]
    const EVENTS: &[Row] = &[
        ("openai first", r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x9"}"#, DELTA_FRAME, 0, None),
        ("openai plain", r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" said \"usage\": \"error\""},"finish_reason":null}],"usage":null}"#, DELTA_PLAIN, 26, None),
        ("openai two choices", r#"{"choices":[{"index":0,"delta":{"content":"ab"},"finish_reason":null},{"index":1,"delta":{"content":"c"},"finish_reason":null}]}"#, DELTA_PLAIN, 3, None),
        ("openai tool call", r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"q"}}]},"finish_reason":null}]}"#, DELTA_PLAIN, 8, None),
        ("openai refusal", r#"{"choices":[{"index":0,"delta":{"refusal":"No."},"finish_reason":null}]}"#, DELTA_PLAIN, 3, None),
        ("openai finish", r#"{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}"#, DELTA_LAST, 0, None),
        ("openai usage", r#"{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#, EventKind::UsageOnly, 0, Some((19, 10))),
        ("openai error", r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#, EventKind::Error, 0, None),
        ("azure filter results", r#"{"id":"","object":"","model":"","choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#, DELTA_FRAME, 0, None),
        ("xai finish with usage", r#"{"choices":[{"index":0,"delta":{"content":"x","role":"assistant"},"finish_reason":"stop"}],"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}}"#, EventKind::Delta { finish: true, content: true }, 1, Some((32, 103))),
        ("mistral thinking", r#"{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hmm"}]},{"type":"text","text":"So"}]},"finish_reason":null}]}"#, DELTA_PLAIN, 5, None),
        ("deepseek reasoning", r#"{"choices":[{"index":0,"delta":{"content":null,"reasoning_content":"We"},"logprobs":null,"finish_reason":null}]}"#, DELTA_PLAIN, 2, None),
        ("kimi usage in the choice", r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":19,"completion_tokens":21,"cached_tokens":3}}]}"#, DELTA_LAST, 0, Some((19, 21))),
        ("groq usage", r#"{"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"x_groq":{"id":"req_1","usage":{"queue_time":0.1,"prompt_tokens":18,"completion_tokens":5}}}"#, DELTA_LAST, 0, Some((18, 5))),
        ("groq reasoning", r#"{"choices":[{"index":0,"delta":{"reasoning":"Let"},"logprobs":null,"finish_reason":null}],"x_groq":{"id":"req_1"}}"#, DELTA_PLAIN, 3, None),
        ("openrouter counted once", r#"{"choices":[{"index":0,"delta":{"content":"","reasoning":"abcd","reasoning_details":[{"type":"reasoning.text","text":"abcd"}]},"finish_reason":null}]}"#, DELTA_PLAIN, 4, None),
        ("openrouter error", r#"{"id":"gen-1","error":{"code":502,"message":"Provider disconnected"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#, EventKind::Error, 0, None),
        ("openrouter choice error", r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":null,"error":{"code":429,"message":"slow"}}]}"#, EventKind::Error, 0, None),
        ("minimax status", r#"{"id":"1","choices":null,"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#, EventKind::Error, 0, None),
        ("minimax fine", r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"usage":{"total_tokens":9,"prompt_tokens":4,"completion_tokens":5},"base_resp":{"status_code":0,"status_msg":""}}"#, DELTA_LAST, 0, Some((4, 5))),
        ("older vllm error", r#"{"object":"error","message":"boom","type":"BadRequestError","param":null,"code":400}"#, EventKind::Error, 0, None),
        ("ollama error text", r#"{"error":"model runner has stopped"}"#, EventKind::Error, 0, None),
        ("spaced", "{ \"choices\" : [ { \"delta\" : { \"content\" : \"hi\" } , \"finish_reason\" : null } ] , \"usage\" : null }", DELTA_PLAIN, 2, None),
        ("falsy error", r#"{"error":{},"choices":[{"delta":{"content":"hi"}}]}"#, DELTA_PLAIN, 2, None),
        ("empty finish reason", r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":""}]}"#, DELTA_PLAIN, 2, None),
        ("older completions", r#"{"object":"text_completion","choices":[{"text":"abc","index":0,"logprobs":null,"finish_reason":null}]}"#, DELTA_PLAIN, 3, None),
        ("done", "[DONE]", EventKind::Done, 0, None),
        ("done, spaced", " [DONE]\r", EventKind::Done, 0, None),
        ("not json", "keep-alive", EventKind::Opaque, 0, None),
        ("empty", "", EventKind::Opaque, 0, None),
        ("other object", r#"{"type":"ping"}"#, EventKind::Opaque, 0, None),
        ("cut short", r#"{"choices":[{"delta":{"content":"hi"#, EventKind::Opaque, 0, None),
    ];

    #[test]
    fn events_of_every_vendor() {
        for (vendor, event, kind, content_bytes, usage) in EVENTS {
            let accounting = if vendor.starts_with("xai") { Accounting::Xai } else { Accounting::OpenAi };
            let facts = look(event.as_bytes(), accounting);
            assert_eq!(facts.kind, *kind, "{vendor}");
            assert_eq!(facts.content_bytes, *content_bytes, "{vendor}");
            assert_eq!(facts.usage.map(|usage| (usage.input, usage.output)), *usage, "{vendor}");
        }
    }

    /// What the searches settle, the whole scan says too.
    #[test]
    fn the_short_way_agrees_with_the_long_one() {
        let mut short = 0;
        for (vendor, event, ..) in EVENTS {
            let Some(plain) = plain_delta(event.as_bytes()) else { continue };
            short += 1;
            let whole = whole_event(event.as_bytes(), Accounting::OpenAi);
            assert_eq!(EventFacts { object: None, has_metadata: false, ..whole }, plain, "{vendor}");
        }
        assert!(short >= 10, "the short way is taken for plain deltas: {short}");
    }

    /// A cut event is never an error, never usage and never makes it panic.
    #[test]
    fn every_prefix_is_harmless() {
        for (vendor, event, ..) in EVENTS {
            for end in 0..event.len() {
                let Some(cut) = event.get(..end) else { continue };
                let facts = look(cut.as_bytes(), Accounting::OpenAi);
                assert!(
                    matches!(facts.kind, EventKind::Opaque | EventKind::Delta { finish: false, .. })
                        || cut.contains("DONE")
                );
                assert_eq!(facts.usage, None, "{vendor} cut at {end}");
            }
        }
    }

    #[test]
    fn a_member_can_be_added_to_the_last_event() {
        use crate::json::splice::Edits;
        let event = br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}} "#;
        let facts = look(event, Accounting::OpenAi);
        assert!(!facts.has_metadata);
        let mut edits = Edits::new();
        edits.append_member(facts.object.expect("scanned whole"), br#""metadata":{"provider":"openai"}"#);
        let mut out = Vec::new();
        edits.write(event, &mut out);
        assert_eq!(
            out,
            br#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2},"metadata":{"provider":"openai"}} "#
        );
        assert!(look(&out, Accounting::OpenAi).has_metadata);
    }

    #[test]
    fn estimates_round_up() {
        assert_eq!([0, 1, 4, 5, 4000].map(estimate_tokens), [0, 1, 1, 2, 1000]);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(pieces in proptest::collection::vec(proptest::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"usage\"", "\"error\"", "\"delta\"", "\"choices\"", "\"finish_reason\"", "\"content\"",
            "null", "\"x\"", "1", " ", "\"tool_calls\"", "\"", "\\",
        ]), 0..24)) {
            let facts = look(pieces.concat().as_bytes(), Accounting::OpenAi);
            proptest::prop_assert!(facts.usage.is_none(), "no count is among the pieces");
        }
    }
}
