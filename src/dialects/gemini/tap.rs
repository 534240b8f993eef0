//! A look at the events of a stream that passes unchanged, client and provider both speaking Gemini: usage, content,
//! error, end.
//!
//! An event is scanned once and its members are found as spans: no tree is built, nothing is allocated. The bytes are
//! never changed here (rule H18). What is no JSON, or has a member twice that matters, says nothing.

use super::usage::Counts;
use crate::domain::token::Usage;
use crate::json::cursor::{Cursor, Stop};
use crate::json::scan::{self, Names};
use crate::json::shape::{HOLES_MAX, Values};
use crate::json::{self, Kind as Json, Member, Span};
use crate::metering::answer::{Answer, Bill, Part};
use crate::metering::terms::Tier;

/// What an event is to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One that goes on, known or not.
    Plain,
    /// A choice has ended, or the prompt was blocked. Counts may still follow.
    Finish,
    /// The provider failed after its 200.
    Error,
}

/// What one event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventFacts {
    /// Something that a user waits for is in it; the first of these is the first token.
    pub content: bool,
    /// Bytes of generated text in it, as written in JSON: for an estimate when no usage comes.
    pub content_bytes: usize,
    /// What it is.
    pub kind: Kind,
}

/// Takes the events of one stream in order and keeps the last usage, which is cumulative in this format.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsageTap {
    counts: Option<Counts>,
    /// Those of the event that [`values`](Self::values) was asked about last.
    learnt: Option<Counts>,
}

static TOP: Names = Names::new(&["candidates", "usageMetadata", "promptFeedback", "error"]);
static CANDIDATE: Names = Names::new(&["content", "finishReason"]);
static CONTENT: Names = Names::new(&["parts"]);
static PART: Names = Names::new(&["text", "functionCall", "inlineData", "thoughtSignature"]);
/// Counts that differ from event to event; the last one is their sum, which nobody here reads.
static COUNTED: Names =
    Names::new(&["candidatesTokenCount", "thoughtsTokenCount", "promptTokenCount", "totalTokenCount"]);
/// What a candidate has in whose event there are words alone, and what it must not have then.
static WHOSE: Names = Names::new(&["content", "index", "finishReason", "groundingMetadata", "logprobsResult"]);
static WORDS: Names = Names::new(&[
    "text",
    "thought",
    "functionCall",
    "inlineData",
    "thoughtSignature",
    "executableCode",
    "codeExecutionResult",
]);
static FEEDBACK: Names = Names::new(&["blockReason"]);

/// Words of one candidate.
pub(super) struct Said {
    /// Where they are, and what else may differ.
    pub values: Values,
    /// Whose they are.
    pub index: u32,
    /// Whether they are thought.
    pub thought: bool,
}

impl UsageTap {
    /// Takes an event like the one last given to [`values`](Self::values): the same but for its counts.
    pub fn repeat(&mut self, number: impl Fn(usize) -> Option<u64>) {
        self.again(number);
    }

    /// Looks at the data of one event; events have no names in this format.
    pub fn look(&mut self, data: &[u8]) -> EventFacts {
        let mut facts = EventFacts { content: false, content_bytes: 0, kind: Kind::Plain };
        let mut found = [None; 4];
        if scan::members(data, &TOP, &mut found).is_err() {
            return facts;
        }
        let [candidates, usage, feedback, error] = found.map(stated);
        if error.is_some() {
            return EventFacts { kind: Kind::Error, ..facts };
        }
        self.counts = usage.and_then(|usage| counts(data, usage.value)).or(self.counts);
        if let Some(candidates) = candidates {
            for candidate in scan::elements(data, candidates.value).flatten() {
                look_at_candidate(data, candidate.value, &mut facts);
            }
        }
        let mut reason = [None; 1];
        let blocked =
            feedback.is_some_and(|feedback| scan::members_at(data, feedback.value, &FEEDBACK, &mut reason).is_ok());
        if blocked && stated(reason[0]).is_some() {
            facts.kind = Kind::Finish;
        }
        facts
    }

    /// What may differ in an event that says the same as this one, which was just looked at: its words, and counts that
    /// [`repeat`](Self::repeat) takes. Nothing, unless all that it says is words of one candidate, and counts.
    pub fn values(&mut self, data: &[u8]) -> Option<Values> {
        self.said(data).map(|said| said.values)
    }

    /// The same, with whose words they are.
    pub(super) fn said(&mut self, data: &[u8]) -> Option<Said> {
        let mut found = [None; 4];
        scan::members(data, &TOP, &mut found).ok()?;
        let [candidates, usage, feedback, error] = found.map(stated);
        if feedback.is_some() || error.is_some() {
            return None;
        }
        let candidate = only(data, candidates?)?;
        let mut found = [None; 5];
        scan::members_at(data, candidate, &WHOSE, &mut found).ok()?;
        let [content, index, rest @ ..] = found.map(stated);
        let mut parts = [None; 1];
        scan::members_at(data, content?.value, &CONTENT, &mut parts).ok()?;
        let mut found = [None; 7];
        scan::members_at(data, only(data, parts[0]?)?, &WORDS, &mut found).ok()?;
        let [Some(text), thought, None, None, None, None, None] = found else { return None };
        if rest.iter().any(Option::is_some) {
            return None;
        }
        let index = match index {
            None => 0,
            Some(index) => std::str::from_utf8(index.value.of(data)).ok()?.parse().ok()?,
        };
        let mut others = [None; HOLES_MAX - 1];
        if let Some(usage) = usage {
            let mut stated = [None; COUNTED.len()];
            scan::members_at(data, usage.value, &COUNTED, &mut stated).ok()?;
            for (other, count) in others.iter_mut().zip(stated) {
                *other = count.filter(|count| count.kind == Json::Number).map(|count| count.value);
            }
        }
        self.learnt = usage.and_then(|usage| counts(data, usage.value));
        let is_read = usage.is_none() || self.learnt.is_some();
        let thought = thought.is_some_and(|thought| json::text::as_bool(data, thought.value) == Some(true));
        let values = Values { words: text.value, others };
        (is_read && text.kind == Json::String).then_some(Said { values, index, thought })
    }

    /// Takes an event like the one last given to [`values`](Self::values): `number` has what stands in its place of
    /// [`Values::others`]. The counts that it states, if it states any.
    pub(super) fn again(&mut self, number: impl Fn(usize) -> Option<u64>) -> Option<Counts> {
        let mut counts = self.learnt?;
        let places =
            [&mut counts.candidates_token_count, &mut counts.thoughts_token_count, &mut counts.prompt_token_count];
        for (place, count) in places.into_iter().enumerate() {
            count.0 = number(place).unwrap_or(count.0);
        }
        self.counts = Some(counts);
        self.counts
    }

    /// What was used so far; `None` before anything was stated.
    pub fn usage(&self) -> Option<Usage> {
        self.counts.map(|counts| counts.usage())
    }
}

/// What a whole answer says it used, and all else that one pass over it finds; nothing if it is no answer of this format.
pub fn read_answer(body: &[u8]) -> Answer {
    struct Generated(Option<Counts>);
    impl Bill for Generated {
        const PARTS: &'static [Part] = &[Part::UsageMetadata, Part::Candidates, Part::PromptFeedback, Part::Error];

        fn part(&mut self, part: Part, cursor: &mut Cursor<'_>) -> Result<Option<Option<Tier>>, Stop> {
            if part == Part::UsageMetadata {
                let metadata = cursor.skip()?;
                let is_stated = metadata.kind != Json::Null;
                self.0 = is_stated.then(|| counts(cursor.bytes(), metadata.value)).flatten();
            }
            Ok(None)
        }

        fn usage(&self) -> Option<Usage> {
            self.0.map(|counts| counts.usage())
        }
    }
    Answer::read(body, &mut Generated(None))
}

fn look_at_candidate(data: &[u8], candidate: Span, facts: &mut EventFacts) {
    let mut found = [None; 2];
    if scan::members_at(data, candidate, &CANDIDATE, &mut found).is_err() {
        return;
    }
    let [content, finish] = found.map(stated);
    if finish.is_some() {
        facts.kind = Kind::Finish;
    }
    let mut parts = [None; 1];
    let Some(content) = content else { return };
    if scan::members_at(data, content.value, &CONTENT, &mut parts).is_err() {
        return;
    }
    let Some(parts) = stated(parts[0]) else { return };
    for part in scan::elements(data, parts.value).flatten() {
        let mut found = [None; 4];
        if scan::members_at(data, part.value, &PART, &mut found).is_err() {
            continue;
        }
        let [text, call, inline, signature] = found.map(stated);
        let text_bytes =
            text.filter(|text| text.kind == Json::String).map_or(0, |text| text.value.len().saturating_sub(2));
        let call_bytes = call.map_or(0, |call| call.value.len());
        facts.content_bytes = facts.content_bytes.saturating_add(text_bytes).saturating_add(call_bytes);
        facts.content |= text_bytes > 0 || call.is_some() || inline.is_some() || signature.is_some();
    }
}

/// The only element of an array.
fn only(data: &[u8], array: Member) -> Option<Span> {
    let mut all = scan::elements(data, array.value);
    match (all.next()?, all.next()) {
        (Ok(element), None) => Some(element.value),
        _ => None,
    }
}

fn counts(data: &[u8], usage: Span) -> Option<Counts> {
    serde_json::from_slice(usage.of(data)).ok()
}

/// A member that is there and not `null`.
fn stated(member: Option<Member>) -> Option<Member> {
    member.filter(|member| member.kind != Json::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::delta::Delta;
    use crate::dialects::gemini::PROVIDER;
    use crate::dialects::gemini::golden_tests::files;

    fn facts(data: &str) -> EventFacts {
        UsageTap::default().look(data.as_bytes())
    }

    #[test]
    fn events_say_what_they_are() {
        let plain = EventFacts { content: false, content_bytes: 0, kind: Kind::Plain };
        let rows = [
            ("{}", plain),
            ("[", plain),
            (r#"{"candidates":[{"content":{"parts":[{"text":""}]},"finishReason":null}],"error":null}"#, plain),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"a\n"},{"text":"b","thought":true}]}}]}"#,
                EventFacts { content: true, content_bytes: 4, ..plain },
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{"n":1}}]},"finishReason":"STOP"}]}"#,
                EventFacts { content: true, content_bytes: 7, kind: Kind::Finish },
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"Ci"}]}}]}"#,
                EventFacts { content: true, ..plain },
            ),
            (r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#, EventFacts { kind: Kind::Finish, ..plain }),
            (r#"{"error":{"code":503}}"#, EventFacts { kind: Kind::Error, ..plain }),
        ];
        for (data, expected) in rows {
            assert_eq!(facts(data), expected, "{data}");
        }
    }

    #[test]
    fn the_last_counts_are_kept() {
        let mut tap = UsageTap::default();
        assert_eq!(tap.usage(), None);
        for data in [
            r#"{"usageMetadata":{"promptTokenCount":3}}"#,
            r#"{"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"thoughtsTokenCount":1}}"#,
            r#"{"usageMetadata":null}"#,
        ] {
            tap.look(data.as_bytes());
        }
        assert_eq!(tap.usage(), Some(Usage { input: 3, output: 3, reasoning: 1, ..Usage::default() }));
        let body = br#"{"candidates":[],"usageMetadata":{"promptTokenCount":3}}"#;
        assert_eq!(read_answer(body).usage, Some(Usage { input: 3, ..Usage::default() }));
        assert_eq!(read_answer(b"{}").usage, None);
        assert_eq!(read_answer(b"<html>").usage, None);
    }

    #[test]
    fn it_agrees_with_the_reader_on_every_golden_stream() {
        for (name, bytes) in files("stream-", ".txt") {
            let text = String::from_utf8(bytes).expect("UTF-8");
            let mut tap = UsageTap::default();
            let (mut usage, mut content, mut seen) = (None, false, false);
            let mut reader = (PROVIDER.stream_reader)();
            let mut failed = false;
            for event in text
                .replace("\r\n", "\n")
                .split("\n\n")
                .filter(|event| !event.is_empty() && !name.contains("malformed"))
            {
                if failed {
                    break;
                }
                let facts = tap.look(event.strip_prefix("data: ").expect("data").as_bytes());
                seen |= facts.content;
                reader.push(format!("{event}\n\n").as_bytes(), &mut |delta| {
                    content |= delta.is_content();
                    failed |= matches!(delta, Delta::Error { .. });
                    if let Delta::Usage(counts) = delta {
                        usage = Some(counts);
                    }
                });
                assert_eq!((tap.usage(), seen), (usage, content), "{name}: {event}");
                assert_eq!(facts.kind == Kind::Error, failed, "{name}: {event}");
            }
        }
    }
}
