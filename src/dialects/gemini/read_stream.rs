//! A stream of `:streamGenerateContent?alt=sse`: every event a whole `GenerateContentResponse`, no names, no
//! terminator.
//!
//! Calls of tools come whole. Counts come with every event and the last ones count. Nothing but a finish reason says
//! that a choice is whole, so a stream is complete when every choice that began has one, or the prompt was blocked.

use super::answer::{self, Answer, Candidate, Part};
use super::finish::Ending;
use super::read_response::googles;
use super::tap::{self, Said};
use crate::chat::delta::Delta;
use crate::chat::response::Finish;
use crate::dialects::Sink;
use crate::dialects::sse::EventDecoder;
use crate::json::shape::Values;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Choices of one stream at most; the interface gives eight.
const CHOICES_MAX: usize = 64;

/// Where the stream is.
///
/// ```text
/// Waiting --first event--> Running --every choice ended, or the prompt blocked--> Ended
///    |                        |
///    +--error, no JSON--------+--> Failed
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Waiting,
    Running,
    Ended,
    Failed,
}

/// Events in, deltas out.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    choices: Vec<Progress>,
    /// Of the event that the next may be like: whose words, and whether thought.
    speaker: (usize, bool),
    counts: tap::UsageTap,
}

/// How far one choice is.
#[derive(Debug, Default)]
struct Progress {
    index: u32,
    calls: u32,
    /// Characters of text so far, and whether all of them are one byte long: citations count bytes.
    characters: usize,
    beyond_ascii: bool,
    said_something: bool,
    ended: bool,
}

impl EventDecoder for Decoder {
    fn event(&mut self, _name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) {
        if self.state == State::Failed {
            return;
        }
        let Some(answer) = Answer::read(data).filter(|answer| answer.error.is_none()) else {
            self.state = State::Failed;
            return sink(Delta::Error { body: data });
        };
        self.answer(answer, sink);
    }

    fn values(&mut self, data: &[u8]) -> Option<Values> {
        if self.state != State::Running {
            return None;
        }
        let Said { values, index, thought } = self.counts.said(data)?;
        self.speaker = (self.choices.iter().position(|choice| choice.index == index)?, thought);
        Some(values)
    }

    fn again(&mut self, words: Cow<'_, str>, number: &dyn Fn(usize) -> Option<u64>, sink: Sink<'_>) {
        let (speaker, thought) = self.speaker;
        if self.state == State::Failed {
            return;
        }
        if let Some(progress) = self.choices.get_mut(speaker).filter(|progress| !progress.ended) {
            progress.words(words, thought, sink);
        }
        if let Some(counts) = self.counts.again(number) {
            sink(Delta::Usage(counts.usage()));
        }
    }

    fn comment(&mut self, sink: Sink<'_>) {
        // Nothing follows an error, a sign of life no more than words.
        if self.state != State::Failed {
            sink(Delta::Ping);
        }
    }

    fn is_complete(&self) -> bool {
        self.state == State::Ended
    }
}

impl Decoder {
    fn answer(&mut self, mut answer: Answer<'_>, sink: Sink<'_>) {
        if self.state == State::Waiting {
            self.state = State::Running;
            let id = answer::or_empty(answer.response_id.take());
            sink(Delta::Start { id, model: answer::or_empty(answer.model_version.take()) });
        }
        let blocked = answer.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some());
        for candidate in answer.candidates.unwrap_or_default() {
            if let Err(message) = self.candidate(candidate, sink) {
                self.state = State::Failed;
                return sink(Delta::Error { body: message.as_bytes() });
            }
        }
        if blocked && self.choices.is_empty() {
            self.choices.push(Progress { ended: true, ..Progress::default() });
            sink(Delta::Finish { choice: 0, reason: Finish::ContentFilter });
        }
        if let Some(counts) = answer.usage_metadata {
            sink(Delta::Usage(counts.usage()));
        }
        if !self.choices.is_empty() && self.choices.iter().all(|choice| choice.ended) {
            self.state = State::Ended;
        } else if self.state == State::Ended {
            self.state = State::Running;
        }
    }

    /// One choice's share of an event; an error's body if the model broke down before it said anything.
    fn candidate(&mut self, candidate: Candidate<'_>, sink: Sink<'_>) -> Result<(), String> {
        let index = candidate.index.unwrap_or(0);
        let Some(progress) = self.progress(index) else { return Ok(()) };
        if progress.ended {
            return Ok(());
        }
        for part in candidate.content.and_then(|content| content.parts).unwrap_or_default() {
            progress.part(part, sink);
        }
        if let Some(logprobs) = candidate.logprobs_result.and_then(answer::logprobs) {
            sink(Delta::Logprobs { choice: index, logprobs });
        }
        if let Some(grounding) = candidate.grounding_metadata {
            progress.annotate(grounding, sink);
        }
        let Some(reason) = candidate.finish_reason else { return Ok(()) };
        let ending = Ending::of(&reason.0);
        if ending == Ending::Broken && !progress.said_something {
            let message = answer::or_empty(candidate.finish_message);
            let message = format!("The model ended with {}. {message}", reason.0);
            return Err(json!({"error": {"code": 502, "message": message, "status": "INTERNAL"}}).to_string());
        }
        progress.ended = true;
        sink(Delta::Finish { choice: index, reason: ending.finish(progress.calls > 0) });
        Ok(())
    }

    fn progress(&mut self, index: u32) -> Option<&mut Progress> {
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_none() {
            if self.choices.len() >= CHOICES_MAX {
                return None;
            }
            self.choices.push(Progress { index, ..Progress::default() });
        }
        let at = known.unwrap_or(self.choices.len().saturating_sub(1));
        self.choices.get_mut(at)
    }
}

impl Progress {
    fn part(&mut self, mut part: Part<'_>, sink: Sink<'_>) {
        let choice = self.index;
        let seal = part.thought_signature.take().map(|text| googles(text.0));
        if let Some(mut call) = part.function_call.take() {
            let (id, index) = (answer::id_of(&mut call), self.calls);
            self.calls = self.calls.saturating_add(1);
            self.said_something = true;
            let json = Cow::Borrowed(answer::input_of(&call));
            sink(Delta::ToolStart { choice, index, id, name: answer::or_empty(call.name), custom: false, seal });
            sink(Delta::ToolInput { choice, index, json });
            return sink(Delta::ToolEnd { choice, index });
        }
        let thought = part.thought == Some(true);
        if let Some(text) = part.text.take().map(|text| text.0).or_else(|| part.fenced().map(Cow::Owned)) {
            self.words(text, thought, sink);
        } else if let Some(blob) = part.inline_data.take() {
            self.said_something = true;
            let media_type = answer::or_empty(blob.mime_type);
            sink(Delta::Image { choice, media_type, data: answer::or_empty(blob.data) });
        }
        if let Some(seal) = seal {
            self.said_something = true;
            sink(Delta::Seal { choice, seal });
        }
    }

    fn words(&mut self, text: Cow<'_, str>, thought: bool, sink: Sink<'_>) {
        let choice = self.index;
        if text.is_empty() {
            return;
        }
        self.said_something = true;
        if thought {
            return sink(Delta::Thinking { choice, text });
        }
        self.beyond_ascii |= !text.is_ascii();
        self.characters = self.characters.saturating_add(text.chars().count());
        sink(Delta::Text { choice, text });
    }

    /// Where bytes are not characters and the text is gone, a citation covers all of it.
    fn annotate(&self, grounding: &RawValue, sink: Sink<'_>) {
        let whole = (0, self.characters);
        let place = |start: usize, end: usize| if self.beyond_ascii { whole } else { (start, end) };
        for annotation in answer::citations(grounding, place) {
            sink(Delta::Annotation { choice: self.index, annotation });
        }
    }
}
