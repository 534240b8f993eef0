//! Streams that go on at another provider when the first one's breaks off, for tenants that want that.
//!
//! ```text
//!  kept ──break, nothing but text so far──▶ interrupted ──next candidate answers──▶ resumed (kept again)
//!    │                                           │
//!    └── end, or a break beyond repair           └── no candidate left: the error event
//! ```
//!
//! The client's stream is written by one writer from its first event to its last, whoever provides: so it has one id, one beginning and one
//! end. What was said is kept, up to a bound, and replayed to the next candidate as the beginning of its own answer. Only words can be
//! replayed: a call of a tool, a sealed thought, a picture or a second choice ends the matter, and the stream then breaks off as any other.
//! Every leg is an attempt with a report and a bill of its own; the client is told the sum, and who spoke before.

use super::exchange::Exchange;
use super::relay::Passage;
use super::surface::{Delivery, Task};
use crate::chat::ability::Abilities;
use crate::chat::delta::Delta;
use crate::chat::request::{Block, Format, Request, ToolKind, Turn};
use crate::dialects::{StreamWriter, Wire};
use crate::domain::id::ProviderId;
use crate::domain::token::Usage;
use crate::limits;
use crate::metering::price::Cost;
use crate::metering::tap;
use std::borrow::Cow;

/// What a model that takes no beginning of its own answer is told after it.
const GO_ON: &str = "Your answer above was cut off. Continue it exactly where it stops, in the middle of a word if need be: repeat \
                     nothing, and do not mention the interruption.";

/// A client's stream between two providers.
pub struct Continuation {
    /// Writes the client's stream, from its first event to its last.
    pub writer: Box<dyn StreamWriter>,
    /// What has been said.
    pub kept: Kept,
}

/// What of a stream is kept in case that it must go on elsewhere.
#[derive(Debug)]
pub struct Kept {
    text: String,
    /// Whether the text is all that there was.
    is_all: bool,
    /// Whether another provider spoke before.
    is_resumed: bool,
    /// Whether blanks at the beginning have been said already.
    drops_blanks: bool,
}

/// The attempts whose answers broke off in this exchange.
#[derive(Clone, Debug, Default)]
pub struct Legs {
    /// What they used, estimated where their providers did not come to say.
    pub usage: Usage,
    /// What that cost; `None` if one of the prices is unknown.
    cost: Option<Cost>,
    /// Who spoke.
    pub from: Vec<ProviderId>,
}

/// Whether this answer is to be kept: its tenant wants that, and words are all that was asked for.
pub fn keeps(exchange: &Exchange<'_>, passage: &Passage<'_>) -> bool {
    let (inquiry, ask) = (passage.inquiry, passage.inquiry.ask);
    let wanted = exchange.snapshot.settings.routing.tenant(&inquiry.key.tenant).continue_streams;
    wanted
        && ask.stream
        && ask.task == Task::Generate
        && ask.delivery != Delivery::Whole
        && inquiry.body().len() <= limits::REPLAY_BYTES_MAX
        && inquiry.request().is_ok_and(wants_words)
}

fn wants_words(request: &Request) -> bool {
    let hosted = request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::Hosted { .. }));
    let one = request.choices.is_none_or(|choices| choices <= 1);
    one && !hosted && request.format == Format::Text && request.audio.is_none() && request.logprobs.is_none()
}

/// The request that makes a candidate go on from `said`.
pub fn replay(request: &Request, said: &str, wire: Wire, abilities: &Abilities) -> Request {
    let mut request = request.clone();
    let said = said.trim_end();
    if said.is_empty() {
        return request;
    }
    request.turns.push(Turn::Assistant(vec![Block::text(said)]));
    // Chat has no common word for a last turn to be continued: each vendor that takes one has its own.
    let takes_prefix = matches!(wire, Wire::Messages | Wire::Converse | Wire::Gemini);
    if !takes_prefix || abilities.assistant_prefill != Some(true) {
        request.turns.push(Turn::User(vec![Block::text(GO_ON)]));
    }
    let spoken = tap::estimate_tokens(said.len());
    request.output_max = request.output_max.map(|most| most.saturating_sub(spoken).max(1));
    request
}

// === impl Kept ===

impl Kept {
    /// Nothing has been said.
    pub fn nothing() -> Self {
        Self { text: String::new(), is_all: true, is_resumed: false, drops_blanks: false }
    }

    /// The same for the next provider.
    pub fn resumed(self) -> Self {
        let drops_blanks = self.text.ends_with(char::is_whitespace);
        Self { is_resumed: true, drops_blanks, ..self }
    }

    /// What has been said.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether another provider could go on from here.
    pub fn can_go_on(&self) -> bool {
        self.is_all
    }

    /// Notes a delta, and makes of it what the client is to have.
    pub fn admit<'d>(&mut self, delta: Delta<'d>) -> Option<Delta<'d>> {
        match delta {
            // The client's answer has begun long ago, and its thoughts are behind it.
            Delta::Start { .. } | Delta::Thinking { .. } | Delta::Seal { .. } if self.is_resumed => None,
            Delta::Text { choice: 0, text } => {
                let text = self.without_blanks(text);
                if text.is_empty() {
                    return None;
                }
                self.is_all &= self.text.len() + text.len() <= limits::CONTINUED_TEXT_BYTES_MAX;
                if self.is_all {
                    self.text.push_str(&text);
                }
                Some(Delta::Text { choice: 0, text })
            }
            delta @ (Delta::Start { .. }
            | Delta::Thinking { .. }
            | Delta::Annotation { .. }
            | Delta::Usage(_)
            | Delta::Ping
            | Delta::Error { .. }) => Some(delta),
            delta => {
                self.is_all = false;
                Some(delta)
            }
        }
    }

    fn without_blanks<'d>(&mut self, text: Cow<'d, str>) -> Cow<'d, str> {
        if !self.drops_blanks {
            return text;
        }
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim_start()),
            Cow::Owned(text) => Cow::Owned(text.trim_start().to_owned()),
        };
        self.drops_blanks = text.is_empty();
        text
    }
}

// === impl Legs ===

impl Legs {
    /// One more that broke off.
    pub fn add(&mut self, usage: &Usage, cost: Option<Cost>, from: ProviderId) {
        self.cost = if self.from.is_empty() { cost } else { sum(self.cost, cost) };
        self.usage = self.usage.plus(usage);
        self.from.push(from);
    }

    /// What the last leg's cost makes in all.
    pub fn with_cost(&self, last: Option<Cost>) -> Option<Cost> {
        if self.from.is_empty() { last } else { sum(self.cost, last) }
    }
}

fn sum(one: Option<Cost>, other: Option<Cost>) -> Option<Cost> {
    let (one, other) = (one?, other?);
    Some(Cost { input: one.input + other.input, output: one.output + other.output, total: one.total + other.total })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &str) -> Delta<'_> {
        Delta::Text { choice: 0, text: words.into() }
    }

    #[test]
    fn words_are_kept_and_everything_else_ends_the_matter() {
        let mut kept = Kept::nothing();
        for delta in [text("Hello "), Delta::Ping, text("world"), Delta::Thinking { choice: 0, text: "hm".into() }] {
            assert_eq!(kept.admit(delta.clone()), Some(delta));
        }
        assert_eq!((kept.text(), kept.can_go_on()), ("Hello world", true));
        let call = Delta::ToolInput { choice: 0, index: 0, json: "{".into() };
        assert_eq!(kept.admit(call.clone()), Some(call));
        assert!(!kept.can_go_on());
        let mut kept = Kept::nothing();
        kept.admit(Delta::Text { choice: 1, text: "a".into() });
        assert!(!kept.can_go_on(), "a second choice");
        let mut kept = Kept::nothing();
        let long = "x".repeat(limits::CONTINUED_TEXT_BYTES_MAX);
        kept.admit(text(&long));
        assert!(kept.can_go_on());
        kept.admit(text("x"));
        assert!(!kept.can_go_on() && kept.text().len() == long.len(), "beyond the bound");
    }

    #[test]
    fn the_next_leg_begins_where_the_last_one_stopped() {
        let mut kept = Kept::nothing();
        kept.admit(text("one "));
        let mut kept = kept.resumed();
        assert_eq!(kept.admit(Delta::Start { id: "x".into(), model: "m".into() }), None);
        assert_eq!(kept.admit(Delta::Thinking { choice: 0, text: "hm".into() }), None);
        assert_eq!((kept.admit(text("  ")), kept.admit(text(" two "))), (None, Some(text("two "))));
        assert_eq!(kept.admit(text(" three")), Some(text(" three")));
        assert_eq!((kept.text(), kept.can_go_on()), ("one two  three", true));
    }

    #[test]
    fn a_replay_ends_as_the_model_takes_it() {
        let asked = Request { output_max: Some(100), ..Request::default() };
        let able = |prefill| Abilities { assistant_prefill: prefill, ..Abilities::default() };
        let turns = |wire, prefill| replay(&asked, "said \n", wire, &able(prefill)).turns;
        let said = Turn::Assistant(vec![Block::text("said")]);
        assert_eq!(turns(Wire::Messages, Some(true)), std::slice::from_ref(&said));
        for (wire, prefill) in [(Wire::Messages, None), (Wire::Messages, Some(false)), (Wire::Chat, Some(true))] {
            let turns = turns(wire, prefill);
            assert_eq!(turns[0], said);
            assert!(matches!(&turns[1..], [Turn::User(_)]), "{wire:?} {prefill:?}");
        }
        let spoken = tap::estimate_tokens(4);
        assert_eq!(replay(&asked, "said", Wire::Chat, &able(None)).output_max, Some(100 - spoken));
        assert_eq!(replay(&asked, " ", Wire::Chat, &able(None)), asked, "nothing said, nothing replayed");
    }

    #[test]
    fn a_sum_with_an_unknown_price_is_unknown() {
        let mut legs = Legs::default();
        assert_eq!(legs.with_cost(None), None);
        let usage = Usage { input: 3, output: 2, ..Usage::default() };
        legs.add(&usage, None, ProviderId::new("p"));
        assert_eq!((legs.usage, legs.with_cost(None)), (usage, None));
    }
}
