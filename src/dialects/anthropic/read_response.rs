//! A whole Messages answer into the inner one.
//!
//! Blocks of tools that the provider ran itself are left out, and so is every kind of block that is not known; web citations become annotations
//! on the text before them. The input of [`ANSWER_TOOL`] is the answer's text, and that of a function whose name ends in [`FREE_TEXT`] a free
//! text.

use super::walk::Text;
use super::{ANSWER_TOOL, FREE_TEXT, usage};
use crate::chat::request::{Maker, Seal, Thinking, ToolCall};
use crate::chat::response::{Choice, Finish, Piece, Response, Unreadable};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The members of an answer that are read.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow)]
    stop_sequence: Option<Text<'a>>,
    stop_details: Option<StopDetails>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Why the model refused.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StopDetails {
    pub(super) explanation: Option<String>,
}

/// A content block. Every member that any known kind has; other kinds may use the same names otherwise and are not read this far.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) signature: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) data: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    pub(super) citations: Option<Vec<Value>>,
}

/// A content block by its kind.
pub(super) enum Known<'a> {
    Text(Block<'a>),
    Thinking(Block<'a>),
    Redacted(Block<'a>),
    ToolUse(Block<'a>),
    /// Left out.
    Other,
}

/// Reads a block.
pub(super) fn block(raw: &RawValue) -> Result<Known<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        r#type: Option<Text<'a>>,
    }
    let kind: Kind<'_> = serde_json::from_str(raw.get())?;
    let read = || serde_json::from_str::<Block<'_>>(raw.get());
    Ok(match kind.r#type.as_ref().map(|kind| kind.0.as_ref()) {
        Some("text") => Known::Text(read()?),
        Some("thinking") => Known::Thinking(read()?),
        Some("redacted_thinking") => Known::Redacted(read()?),
        Some("tool_use") => Known::ToolUse(read()?),
        _ => Known::Other,
    })
}

/// Reads the answer.
pub(super) fn read(body: &[u8]) -> Result<Response, Unreadable> {
    let message: Message<'_> =
        serde_json::from_slice(body).map_err(|_| Unreadable("it is not a Messages answer in JSON"))?;
    let content = message.content.ok_or(Unreadable("it has no content"))?;
    let id = message.id.unwrap_or_default().into_owned();
    let mut reading = Reading { id: &id, ..Reading::default() };
    for raw in content {
        reading.take(block(raw).map_err(|_| Unreadable("a content block has members of the wrong type"))?);
    }
    let stop = message.stop_reason.as_ref().map_or("", |reason| reason.0.as_ref());
    let finish = reading.finish(stop, message.stop_sequence.map(Text::into_owned));
    if finish == Finish::ContentFilter && reading.chars == 0 {
        let explanation = message.stop_details.and_then(|details| details.explanation);
        reading.pieces.extend(explanation.filter(|text| !text.is_empty()).map(Piece::Refusal));
    }
    let pieces = reading.pieces;
    Ok(Response {
        model: message.model.unwrap_or_default().into_owned(),
        choices: vec![Choice { index: 0, pieces, finish, logprobs: None }],
        usage: usage::of_answer(body).usage,
        service_tier: message.usage.and_then(tier),
        id,
    })
}

#[derive(Default)]
struct Reading<'i> {
    /// The answer's id, for calls that have none.
    id: &'i str,
    pieces: Vec<Piece>,
    /// Characters of text so far: where a citation's text lies.
    chars: usize,
    calls: usize,
    /// The answer came as the input of the answer tool.
    answered: bool,
}

impl Reading<'_> {
    fn take(&mut self, block: Known<'_>) {
        match block {
            Known::Text(block) => self.text(block.text.unwrap_or_default().into_owned(), block.citations),
            Known::Thinking(block) => {
                let text = block.thinking.unwrap_or_default().into_owned();
                let seal = block.signature.map(Text::into_owned).and_then(|data| seal(data, false));
                if !text.is_empty() || seal.is_some() {
                    self.pieces.push(Piece::Thinking(Thinking { text, seal }));
                }
            }
            Known::Redacted(block) => {
                if let Some(seal) = seal(block.data.unwrap_or_default().into_owned(), true) {
                    self.pieces.push(Piece::Thinking(Thinking { text: String::new(), seal: Some(seal) }));
                }
            }
            Known::ToolUse(block) => {
                let name = block.name.unwrap_or_default().into_owned();
                let input = block.input.map_or("{}", input).to_owned();
                if name == ANSWER_TOOL {
                    self.answered = true;
                    return self.text(input, None);
                }
                let id = call_id(block.id, self.id, self.calls);
                self.calls += 1;
                let call = match name.strip_suffix(FREE_TEXT) {
                    Some(own) => {
                        let input = free_text(&input).unwrap_or(input);
                        ToolCall { id, name: own.to_owned(), input, custom: true, seal: None }
                    }
                    None => ToolCall { id, name, input, custom: false, seal: None },
                };
                self.pieces.push(Piece::ToolCall(call));
            }
            Known::Other => {}
        }
    }

    fn text(&mut self, text: String, citations: Option<Vec<Value>>) {
        let start = self.chars;
        self.chars += text.chars().count();
        if !text.is_empty() {
            self.pieces.push(Piece::Text(text));
        }
        let notes = citations.iter().flatten().filter_map(|citation| annotation(citation, start, self.chars));
        self.pieces.extend(notes.map(Piece::Annotation));
    }

    fn finish(&self, stop: &str, stop_sequence: Option<String>) -> Finish {
        match finish(stop, stop_sequence) {
            Finish::ToolCalls if self.answered && self.calls == 0 => Finish::Stop,
            finish => finish,
        }
    }
}

/// A seal of Anthropic's; `None` for an empty one.
pub(super) fn seal(data: String, redacted: bool) -> Option<Seal> {
    (!data.is_empty()).then_some(Seal { maker: Maker::Anthropic, data, redacted })
}

/// The text of a call's input; `null` is none.
pub(super) fn input(raw: &RawValue) -> &str {
    match raw.get() {
        "null" => "{}",
        text => text,
    }
}

/// The text inside of a free-text tool's input; `None` if the model did not keep to the form.
pub(super) fn free_text(input: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Input {
        input: String,
    }
    serde_json::from_str::<Input>(input).ok().map(|read| read.input)
}

/// A call's id; where the provider gave none, one that depends on the answer's.
pub(super) fn call_id(id: Option<Text<'_>>, answer: &str, call: usize) -> String {
    match id.map(Text::into_owned) {
        Some(id) if !id.is_empty() => id,
        _ => format!("toolu_{answer}_{call}"),
    }
}

/// Why an answer ended, by Anthropic's word; unknown words are an ordinary end.
pub(super) fn finish(stop: &str, stop_sequence: Option<String>) -> Finish {
    match stop {
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "stop_sequence" => Finish::StopText(stop_sequence),
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::ContentFilter,
        "pause_turn" => Finish::Pause,
        _ => Finish::Stop,
    }
}

/// A web citation of the text between two characters, in OpenAI's form. Citations of documents have no such form.
pub(super) fn annotation(citation: &Value, start: usize, end: usize) -> Option<Value> {
    let url = citation.get("url")?.as_str()?;
    let title = citation.get("title").and_then(Value::as_str).unwrap_or_default();
    let place = json!({ "url": url, "title": title, "start_index": start, "end_index": end });
    Some(json!({ "type": "url_citation", "url_citation": place }))
}

/// The class of service that was given, by its OpenAI name.
fn tier(usage: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Tier {
        service_tier: Option<String>,
    }
    let tier = serde_json::from_str::<Tier>(usage.get()).ok()?.service_tier?;
    Some(if tier == "standard" { "default".to_owned() } else { tier })
}
