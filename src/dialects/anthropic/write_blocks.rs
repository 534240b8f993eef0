//! One inner block to one content block of a Messages request.
//!
//! What the format has no block for is refused, for the caller would lose content; empty text and other makers' thinking are left out.

use super::FREE_TEXT;
use super::outgoing::{Input, Marks, Notes, Piece, Source};
use crate::chat::ability::Abilities;
use crate::chat::carry;
use crate::chat::request::{self, Block, Body, Maker, Media, Refusal, ToolCall, ToolResult};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Text that stands where the format wants some and the client sent none: blank text is refused.
pub(super) const NOTHING_SAID: &str = "…";

const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// Writes blocks, in the order of the prompt.
pub(super) struct BlockWriter<'w> {
    pub(super) abilities: &'w Abilities,
    pub(super) marks: &'w mut Marks,
    pub(super) notes: &'w mut Notes,
}

impl BlockWriter<'_> {
    /// The block for the user's side; `None` for what is left out.
    pub(super) fn of_user<'r>(&mut self, block: &'r Block) -> Result<Option<Piece<'r>>, Refusal> {
        let piece = match &block.body {
            Body::Text(text) | Body::Refusal(text) => return Ok(self.text(text, block)),
            Body::Image(media) => {
                let source = self.image(media)?;
                Piece::Image { source, cache_control: self.marks.next(block.cache) }
            }
            Body::Document(media) => {
                let source = self.document(media)?;
                let title = media.name.as_deref().filter(|name| !name.is_empty());
                Piece::Document { source, title, cache_control: self.marks.next(block.cache) }
            }
            Body::ToolResult(result) => self.result(result, block)?,
            Body::Audio(_) => return Err(refused("Claude takes no sound: send a transcript as text.")),
            Body::Video(_) => return Err(refused("Claude takes no video: send single pictures of it.")),
            Body::Thinking(_) | Body::ToolCall(_) => {
                return Err(refused("Thinking and tool calls belong to assistant messages."));
            }
        };
        Ok(Some(piece))
    }

    /// The block for the model's side; `None` for what is left out.
    pub(super) fn of_assistant<'r>(&mut self, block: &'r Block) -> Result<Option<Piece<'r>>, Refusal> {
        match &block.body {
            Body::Text(text) | Body::Refusal(text) => Ok(self.text(text, block)),
            Body::Thinking(thinking) => Ok(own_thinking(thinking)),
            Body::ToolCall(call) => self.call(call, block).map(Some),
            Body::ToolResult(_) => Err(refused("A tool's result belongs to the message after the call.")),
            Body::Image(_) | Body::Document(_) | Body::Audio(_) | Body::Video(_) => {
                Err(refused("Claude takes only text and tool calls in assistant messages: send the rest as the user."))
            }
        }
    }

    /// Blank text is refused by the provider, and says nothing.
    fn text<'r>(&mut self, text: &'r str, block: &Block) -> Option<Piece<'r>> {
        let cache_control = self.marks.next(block.cache);
        (!text.trim().is_empty()).then_some(Piece::Text { text: Cow::Borrowed(text), cache_control })
    }

    fn image<'r>(&self, media: &'r Media) -> Result<Source<'r>, Refusal> {
        if self.abilities.vision == Some(false) {
            return Err(refused("This model takes no pictures: choose one that does, or leave them out."));
        }
        match &media.source {
            request::Source::Url { url, .. } => Ok(Source::Url { url }),
            request::Source::Base64 { media_type, data } if IMAGES.contains(&media_type.as_str()) => {
                Ok(Source::Base64 { media_type, data })
            }
            request::Source::Base64 { media_type, .. } => {
                let taken = "Claude takes image/jpeg, image/png, image/gif and image/webp: convert it.";
                Err(refused(format!("A picture has the type `{media_type}`. {taken}")))
            }
            request::Source::Text(_) => Err(refused("Text is no picture: send it as a text part.")),
            request::Source::File { maker, id } => file(*maker, id),
        }
    }

    fn document<'r>(&self, media: &'r Media) -> Result<Source<'r>, Refusal> {
        let plain = |data| Ok(Source::Text { media_type: "text/plain", data });
        match &media.source {
            request::Source::Text(text) if text.trim().is_empty() => plain(Cow::Borrowed(NOTHING_SAID)),
            request::Source::Text(text) => plain(Cow::Borrowed(text.as_str())),
            request::Source::Base64 { media_type, .. } | request::Source::Url { media_type: Some(media_type), .. }
                if media_type == "application/pdf" && self.abilities.pdf_input == Some(false) =>
            {
                Err(refused("This model takes no PDF: send its text, or choose one that does."))
            }
            request::Source::Url { url, .. } => Ok(Source::Url { url }),
            request::Source::Base64 { media_type, data } if media_type == "application/pdf" => {
                Ok(Source::Base64 { media_type, data })
            }
            request::Source::Base64 { media_type, data } if media_type.starts_with("text/") => {
                let text = STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                match text {
                    Some(text) => plain(Cow::Owned(text)),
                    None => Err(refused("A text file is not UTF-8 in base64: encode it so.")),
                }
            }
            request::Source::Base64 { media_type, .. } => {
                let taken = "Claude takes PDF and plain text: convert it.";
                Err(refused(format!("A file has the type `{media_type}`. {taken}")))
            }
            request::Source::File { maker, id } => file(*maker, id),
        }
    }

    fn call<'r>(&mut self, call: &'r ToolCall, block: &Block) -> Result<Piece<'r>, Refusal> {
        let name = tool_name(&call.name, call.custom, "messages")?;
        let input = if call.custom { Input::Made(json!({ "input": call.input })) } else { self.input(&call.input) };
        let cache_control = self.marks.next(block.cache);
        Ok(Piece::ToolUse { id: carry::conform(&call.id), name, input, cache_control })
    }

    /// Another model's call may hold what is no object; it stays readable, and the conversation goes on.
    fn input<'r>(&mut self, input: &'r str) -> Input<'r> {
        if input.trim().is_empty() {
            return Input::Made(json!({}));
        }
        match serde_json::from_str::<&RawValue>(input) {
            Ok(raw) if raw.get().starts_with('{') => Input::Verbatim(raw),
            _ => {
                self.notes.drop("tool_calls.arguments");
                Input::Made(json!({ "_raw": input }))
            }
        }
    }

    fn result<'r>(&mut self, result: &'r ToolResult, block: &Block) -> Result<Piece<'r>, Refusal> {
        let mut content = Vec::with_capacity(result.content.len());
        for inner in &result.content {
            if matches!(inner.body, Body::ToolResult(_)) {
                return Err(refused("A tool's result holds another: send each on its own."));
            }
            content.extend(self.of_user(inner)?);
        }
        if content.is_empty() && result.is_error {
            content.push(Piece::text("The tool failed."));
        }
        let cache_control = self.marks.next(block.cache);
        Ok(Piece::ToolResult {
            tool_use_id: carry::conform(&result.id),
            content,
            is_error: result.is_error,
            cache_control,
        })
    }
}

/// Thinking that Anthropic sealed; anyone else's means nothing there.
fn own_thinking(thinking: &request::Thinking) -> Option<Piece<'_>> {
    let seal = thinking.seal.as_ref().filter(|seal| seal.maker == Maker::Anthropic)?;
    Some(match seal.redacted {
        true => Piece::RedactedThinking { data: &seal.data },
        false => Piece::Thinking { thinking: &thinking.text, signature: &seal.data },
    })
}

fn file(maker: Maker, id: &str) -> Result<Source<'_>, Refusal> {
    match maker {
        Maker::Anthropic => Ok(Source::File { file_id: id }),
        Maker::OpenAi | Maker::Google => {
            Err(refused("A file lies in another provider's store: send its content in the request."))
        }
    }
}

/// The name as it is written, if the format takes it.
pub(super) fn tool_name<'r>(name: &'r str, custom: bool, param: &'static str) -> Result<Cow<'r, str>, Refusal> {
    let name = if custom { Cow::Owned(format!("{name}{FREE_TEXT}")) } else { Cow::Borrowed(name) };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=128).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(name);
    }
    let rule = "Claude takes names of 1 to 128 letters, digits, `_` and `-`: rename it.";
    Err(Refusal::new(param, format!("The tool name `{name}` does not fit. {rule}")))
}

/// Blames the conversation: the place in the client's own body is not known here, and a wrong index would mislead.
fn refused(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new("messages", message)
}
