//! Chunks of any OpenAI-shaped vendor, read into deltas.
//!
//! What vendors do differently is evened out here, for streams and, through the same code, for whole answers: thinking under four names or
//! inside the content, contents in lists, calls in odd pieces, reasons to end in many words, usage in three places. An answer that ends
//! without a reason ends with `[DONE]`; an error anywhere ends everything.
//!
//! ```text
//! Fresh --chunk--> Running --[DONE]--> Done
//!   +----------------+------error----> Failed
//! ```

use super::calls::Calls;
use super::finish;
use super::heard::{Choice, Content, Detail, Heard, Message, Part};
use super::think::{Said, Think};
use super::{reasoning, usage};
use crate::chat::delta::Delta;
use crate::chat::request::Seal;
use crate::dialects::sse::{EventDecoder, EventReader};
use crate::dialects::{Sink, StreamReader};
use crate::json::scan::{self, Names};
use crate::json::shape::{HOLES_MAX, Values};
use crate::json::{Kind, Member};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Makes the reader of one stream.
pub(super) fn reader() -> Box<dyn StreamReader> {
    Box::new(EventReader::new(Reading::default()))
}

/// How far an answer has been read.
#[derive(Default)]
pub(super) struct Reading {
    state: State,
    answers: Vec<Answer>,
    /// Whose words the event has that the next may be like.
    speaker: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Fresh,
    Running,
    Done,
    Failed,
}

/// One of several answers.
struct Answer {
    index: u32,
    think: Think,
    calls: Calls,
    finished: bool,
}

impl EventDecoder for Reading {
    fn event(&mut self, name: Option<&[u8]>, data: &[u8], sink: Sink<'_>) {
        let data = data.trim_ascii();
        if data.is_empty() || matches!(self.state, State::Done | State::Failed) {
            return;
        }
        if data.starts_with(b"[DONE]") {
            self.end(sink);
            self.state = State::Done;
            return;
        }
        // Checked once as a whole, which is faster than string by string.
        let heard = std::str::from_utf8(data).ok().and_then(|text| serde_json::from_str::<Heard<'_>>(text).ok());
        match heard {
            Some(heard) if name != Some(b"error") && !fails(&heard) => self.take(heard, data, sink),
            _ => {
                self.state = State::Failed;
                sink(Delta::Error { body: data });
            }
        }
    }

    fn values(&mut self, data: &[u8]) -> Option<Values> {
        if self.state != State::Running {
            return None;
        }
        let (index, values) = plain_words(data)?;
        self.speaker = self.answers.iter().position(|answer| answer.index == index)?;
        Some(values)
    }

    fn again(&mut self, words: Cow<'_, str>, _number: &dyn Fn(usize) -> Option<u64>, sink: Sink<'_>) {
        let answer = self.answers.get_mut(self.speaker).filter(|answer| !answer.finished);
        if let (Some(answer), State::Running) = (answer, self.state) {
            answer.text(words, sink);
        }
    }

    fn comment(&mut self, sink: Sink<'_>) {
        if !matches!(self.state, State::Done | State::Failed) {
            sink(Delta::Ping);
        }
    }

    fn is_complete(&self) -> bool {
        match self.state {
            State::Done => true,
            State::Running => !self.answers.is_empty() && self.answers.iter().all(|answer| answer.finished),
            State::Fresh | State::Failed => false,
        }
    }
}

/// Of a chunk that says one answer's words and nothing else: which answer's, and what may differ in another that does.
fn plain_words(data: &[u8]) -> Option<(u32, Values)> {
    static TOP: Names = Names::new(&[
        "choices",
        "created",
        "obfuscation",
        "usage",
        "x_groq",
        "error",
        "detail",
        "code",
        "base_resp",
        "object",
    ]);
    static CHOICE: Names = Names::new(&["index", "delta", "message", "finish_reason", "logprobs", "usage", "error"]);
    static DELTA: Names = Names::new(&[
        "content",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "refusal",
        "tool_calls",
        "function_call",
        "annotations",
        "images",
    ]);
    let said = |member: &Option<Member>| member.is_some_and(|member| member.kind != Kind::Null);
    let mut top = [None; 10];
    scan::members(data, &TOP, &mut top).ok()?;
    let [choices, created, padding, others @ .., object] = top;
    let is_chunk = object.is_none_or(|object| object.kind == Kind::String);
    let mut all = scan::elements(data, choices?.value);
    let (choice, None) = (all.next()?.ok()?, all.next()) else { return None };
    let mut choice_members = [None; 7];
    scan::members_at(data, choice.value, &CHOICE, &mut choice_members).ok()?;
    let [index, delta, rest @ ..] = choice_members;
    let mut words = [None; 9];
    scan::members_at(data, delta?.value, &DELTA, &mut words).ok()?;
    let [content, more @ ..] = words;
    if !is_chunk || others.iter().chain(&rest).chain(&more).any(said) {
        return None;
    }
    let index = match index {
        None => 0,
        Some(index) => std::str::from_utf8(index.value.of(data)).ok()?.parse().ok()?,
    };
    let mut others = [None; HOLES_MAX - 1];
    others[0] = created.filter(|it| it.kind == Kind::Number).map(|it| it.value);
    others[1] = padding.filter(|it| it.kind == Kind::String).map(|it| it.value);
    let content = content.filter(|content| content.kind == Kind::String)?;
    Some((index, Values { words: content.value, others }))
}

/// Whether the vendor says that it failed, in any of the places where they say it.
pub(super) fn fails(heard: &Heard<'_>) -> bool {
    let in_choice = |choice: &Choice<'_>| {
        let word = choice.finish_reason.as_ref().map(|word| word.0.as_ref());
        choice.error.is_some() || word.is_some_and(finish::is_failure)
    };
    let status = heard.base_resp.as_ref().and_then(|base| base.status_code);
    heard.error.is_some()
        || status.is_some_and(|status| !matches!(status.get(), "0" | "\"0\""))
        || heard.object.as_ref().is_some_and(|object| object.0 == "error")
        || (heard.choices.is_none() && (heard.code.is_some() || heard.detail.is_some()))
        || heard.choices.iter().flatten().any(in_choice)
}

// === impl Reading ===

impl Reading {
    /// Takes a chunk, or a whole answer. `bytes` are what it came in.
    pub(super) fn take(&mut self, heard: Heard<'_>, bytes: &[u8], sink: Sink<'_>) {
        let (id, model) = (heard.id.unwrap_or_default().0, heard.model.unwrap_or_default().0);
        let choices = heard.choices.unwrap_or_default();
        if self.state == State::Fresh {
            // What Azure says of the prompt before anything else begins no answer.
            if id.is_empty() && model.is_empty() && choices.is_empty() {
                return;
            }
            self.state = State::Running;
            sink(Delta::Start { id, model });
        }
        let mut used = heard.usage.and_then(|raw| usage::stated(raw.get()));
        used = used.or_else(|| usage::nested(heard.x_groq?.get()));
        for (place, choice) in choices.into_iter().enumerate() {
            used = used.or_else(|| usage::stated(choice.usage?.get()));
            self.choice(choice, place, bytes, sink);
        }
        if let Some(used) = used {
            sink(Delta::Usage(used));
        }
    }

    /// Ends what has not ended by itself.
    pub(super) fn end(&mut self, sink: Sink<'_>) {
        for answer in &mut self.answers {
            answer.finish("", sink);
        }
    }

    fn choice(&mut self, choice: Choice<'_>, place: usize, bytes: &[u8], sink: Sink<'_>) {
        let index = choice.index.0.unwrap_or(u32::try_from(place).unwrap_or(u32::MAX));
        let known = self.answers.iter().position(|answer| answer.index == index);
        let at = known.unwrap_or_else(|| {
            self.answers.push(Answer { index, think: Think::default(), calls: Calls::default(), finished: false });
            self.answers.len() - 1
        });
        let Some(answer) = self.answers.get_mut(at).filter(|answer| !answer.finished) else { return };
        if let Some(message) = choice.delta.or(choice.message) {
            answer.message(message, bytes, sink);
        }
        if let Some(logprobs) = choice.logprobs.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
            sink(Delta::Logprobs { choice: index, logprobs });
        }
        // An empty word is no reason yet: some send it with every chunk.
        if let Some(word) = choice.finish_reason.filter(|word| !word.0.is_empty()) {
            answer.finish(&word.0, sink);
        }
    }
}

// === impl Answer ===

impl Answer {
    fn message(&mut self, message: Message<'_>, bytes: &[u8], sink: Sink<'_>) {
        self.reasoning(
            message.reasoning_content.or(message.reasoning).map(|words| words.0),
            message.reasoning_details,
            sink,
        );
        match message.content {
            Content::None => {}
            Content::Text(text) => self.text(text, sink),
            Content::Parts(parts) => parts.into_iter().for_each(|part| self.part(part, sink)),
        }
        let choice = self.index;
        if let Some(refusal) = message.refusal.filter(|words| !words.0.is_empty()) {
            self.settle(sink);
            sink(Delta::Refusal { choice, text: refusal.0 });
        }
        for raw in message.annotations.unwrap_or_default() {
            if let Ok(annotation) = serde_json::from_str(raw.get()) {
                sink(Delta::Annotation { choice, annotation });
            }
        }
        message.images.unwrap_or_default().into_iter().for_each(|part| self.part(part, sink));
        let by_old_name = message.function_call.map(super::heard::Call::of_function);
        for call in message.tool_calls.unwrap_or_default().into_iter().chain(by_old_name) {
            self.settle(sink);
            self.calls.take(call, choice, bytes, sink);
        }
    }

    /// Thinking in members of its own. Where the words come twice, those of the details are left out and only their seals count.
    fn reasoning(&mut self, words: Option<Cow<'_, str>>, details: Option<Vec<Detail<'_>>>, sink: Sink<'_>) {
        let choice = self.index;
        let words = words.filter(|words| !words.is_empty());
        let twice = words.is_some();
        if let Some(text) = words {
            self.settle(sink);
            sink(Delta::Thinking { choice, text });
        }
        for detail in details.unwrap_or_default() {
            let text = detail.text.or(detail.summary).unwrap_or_default().0;
            if !twice && !text.is_empty() {
                self.settle(sink);
                sink(Delta::Thinking { choice, text });
            }
            let format = detail.format.as_ref().map(|format| format.0.as_ref());
            let Some(maker) = reasoning::maker_of(format) else { continue };
            for (data, redacted) in [(detail.signature, false), (detail.data, true)] {
                if let Some(data) = data.filter(|data| !data.0.is_empty()) {
                    sink(Delta::Seal { choice, seal: Seal { maker, data: data.0.into_owned(), redacted } });
                }
            }
        }
    }

    fn text(&mut self, text: Cow<'_, str>, sink: Sink<'_>) {
        let choice = self.index;
        self.think.push(text, &mut |said| sink(delta_of(said, choice)));
    }

    /// Content that comes now is what it says it is, and what was held back comes first.
    fn settle(&mut self, sink: Sink<'_>) {
        let choice = self.index;
        self.think.settle(&mut |said| sink(delta_of(said, choice)));
    }

    fn part(&mut self, part: Part<'_>, sink: Sink<'_>) {
        let choice = self.index;
        match part.kind.0.as_ref() {
            "text" | "output_text" => self.text(part.text.unwrap_or_default().0, sink),
            "thinking" => {
                self.settle(sink);
                let mut think = |text: Cow<'_, str>| {
                    if !text.is_empty() {
                        sink(Delta::Thinking { choice, text });
                    }
                };
                match part.thinking {
                    Content::None => {}
                    Content::Text(text) => think(text),
                    Content::Parts(parts) => parts.into_iter().for_each(|part| think(part.text.unwrap_or_default().0)),
                }
            }
            "refusal" => {
                self.settle(sink);
                sink(Delta::Refusal { choice, text: part.refusal.unwrap_or_default().0 });
            }
            "image_url" => {
                if let Some((media_type, data)) = part.image_url.and_then(picture) {
                    self.settle(sink);
                    sink(Delta::Image { choice, media_type: media_type.into(), data: data.into() });
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, word: &str, sink: Sink<'_>) {
        if self.finished {
            return;
        }
        self.finished = true;
        self.settle(sink);
        self.calls.end(self.index, sink);
        sink(Delta::Finish { choice: self.index, reason: finish::read(word, !self.calls.is_empty()) });
    }
}

fn delta_of(said: Said<'_>, choice: u32) -> Delta<'_> {
    match said {
        Said::Text(text) => Delta::Text { choice, text },
        Said::Thinking(text) => Delta::Thinking { choice, text },
    }
}

/// Media type and data of a picture in place; one at an address cannot be shown.
fn picture(raw: &RawValue) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(raw.get()).ok()?;
    let url = value.as_str().or_else(|| value.get("url")?.as_str())?;
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    Some((head.strip_suffix(";base64")?.to_owned(), data.to_owned()))
}
