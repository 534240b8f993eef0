//! What has been read of an answer so far, whatever its dialect.

use super::text::Metadata;
use super::{Flaw, Told};
use serde::Deserialize;
use serde_json::Value;

/// Notes on one answer.
#[derive(Debug, Default)]
pub(super) struct Notes {
    keep_text: bool,
    told: Told,
    /// Places of the calls counted, where a stream tells them by place.
    calls: Vec<(u32, u32)>,
    /// Whether words came since this was last set to false.
    pub(super) spoke: bool,
    /// Whether a stream that ends in two steps has taken the first one.
    pub(super) stopped: bool,
    /// Whether the end of the stream has been said.
    pub(super) ended: bool,
    /// What is wrong; the first finding stands.
    pub(super) flaw: Option<Flaw>,
}

impl Notes {
    pub(super) fn new(keep_text: bool) -> Self {
        Self { keep_text, ..Self::default() }
    }

    /// Reads JSON; what is no JSON, or has not this shape, is a flaw.
    pub(super) fn parse<'a, T: Deserialize<'a>>(&mut self, json: &'a [u8]) -> Option<T> {
        match serde_json::from_slice(json) {
            Ok(value) => Some(value),
            Err(reason) => {
                let flaw = match reason.classify() {
                    serde_json::error::Category::Eof => Flaw::Truncated,
                    serde_json::error::Category::Data => Flaw::Malformed("JSON of another shape than the dialect's"),
                    // A number that is cut off, such as `1.`, is no error of the end to the parser.
                    _ if json.trim_ascii_start().starts_with(b"{") && !json.trim_ascii_end().ends_with(b"}") => {
                        Flaw::Truncated
                    }
                    _ => Flaw::Malformed("not JSON"),
                };
                self.flaw.get_or_insert(flaw);
                None
            }
        }
    }

    /// Notes a breach of the dialect.
    pub(super) fn malformed(&mut self, what: &'static str) {
        self.flaw.get_or_insert(Flaw::Malformed(what));
    }

    /// Notes an error where an answer should be.
    pub(super) fn fail(&mut self, error: &Value) {
        self.flaw.get_or_insert(Flaw::StreamError(sentence(error)));
    }

    /// Keeps words of the answer.
    pub(super) fn say(&mut self, text: &str) {
        self.spoke |= !text.is_empty();
        if self.keep_text && self.told.text.len() < TEXT_BYTES_MAX {
            self.told.text.push_str(text);
        }
    }

    /// Notes input tokens; a later statement replaces an earlier one.
    pub(super) fn count_input(&mut self, tokens: Option<u64>) {
        self.told.input_tokens = tokens.or(self.told.input_tokens);
    }

    /// Notes output tokens; a later statement replaces an earlier one.
    pub(super) fn count_output(&mut self, tokens: Option<u64>) {
        self.told.output_tokens = tokens.or(self.told.output_tokens);
    }

    /// Counts the call of a tool; one that tells its place, such as choice and index, is counted once.
    pub(super) fn call(&mut self, place: Option<(u32, u32)>) {
        if let Some(place) = place {
            if self.calls.contains(&place) {
                return;
            }
            if self.calls.len() < CALLS_MAX {
                self.calls.push(place);
            }
        }
        self.told.tool_calls = self.told.tool_calls.saturating_add(1);
    }

    /// Notes the gateway's price.
    pub(super) fn charge(&mut self, metadata: Option<Metadata>) {
        self.told.cost_usd = metadata.and_then(|metadata| metadata.cost_usd).or(self.told.cost_usd);
    }

    /// The words, where they are all that was noted and the answer goes on.
    pub(super) fn text_alone(self) -> Option<String> {
        let goes_on = !self.ended && !self.stopped && self.flaw.is_none() && self.calls.is_empty();
        let more = Told { text: String::new(), ..self.told.clone() };
        (goes_on && more == Told::default()).then_some(self.told.text)
    }

    /// All that was noted, or what was wrong.
    pub(super) fn conclude(self) -> Result<Told, Flaw> {
        match self.flaw {
            Some(flaw) => Err(flaw),
            None => Ok(self.told),
        }
    }
}

/// The sentence in an error's value, wherever its provider puts it.
pub(super) fn sentence(error: &Value) -> String {
    let places = ["/message", "/error/message", "/error", "/detail", "/errors/0"];
    let found = places.iter().find_map(|place| error.pointer(place)?.as_str()).or(error.as_str());
    let mut text = found.map_or_else(|| error.to_string(), str::to_owned);
    if text.len() > SENTENCE_BYTES_MAX {
        let end = (0..=SENTENCE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Text kept of one answer.
const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Calls whose places are remembered.
const CALLS_MAX: usize = 1024;
/// Of an error's message, enough to know it by.
const SENTENCE_BYTES_MAX: usize = 400;
