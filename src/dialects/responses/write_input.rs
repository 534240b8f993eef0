//! The conversation as `input` items for a provider.
//!
//! A turn of the model becomes several items in their order: reasoning that OpenAI sealed, messages, calls. Thinking
//! without OpenAI's seal cannot go back there and is left out. Ids of calls conform to OpenAI's 64 characters, the same
//! for a call and its result.

use crate::chat::carry;
use crate::chat::request::{
    Block, Body, Maker, Media, Refusal, Request, Seal, Source, Thinking, ToolCall, ToolResult, Turn,
};
use crate::json::splice::escape_into;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Writes the array. `instructions` stand in it if nothing else does.
pub(super) fn input(
    request: &Request,
    instructions: &str,
    out: &mut Vec<u8>,
    dropped: &mut Vec<String>,
) -> Result<(), Refusal> {
    let mut items = Items { out, any: false, role: Role::User, parts: false, customs: Vec::new(), dropped };
    items.out.push(b'[');
    for turn in &request.turns {
        let (role, blocks) = match turn {
            Turn::User(blocks) => (Role::User, blocks),
            Turn::Assistant(blocks) => (Role::Assistant, blocks),
            Turn::System(blocks) => (Role::Developer, blocks),
        };
        items.role = role;
        for block in blocks {
            items.block(block)?;
        }
        items.end_message();
    }
    if !items.any && !instructions.is_empty() {
        items.role = Role::Developer;
        items.text_part(instructions);
        items.end_message();
    }
    items.out.push(b']');
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    Assistant,
    Developer,
}

/// The array while it is written.
struct Items<'o, 'r> {
    out: &'o mut Vec<u8>,
    /// Whether an item stands there.
    any: bool,
    /// Who speaks.
    role: Role,
    /// Whether a message is open, for more parts.
    parts: bool,
    /// Ids of calls with free text: their results have a type of their own.
    customs: Vec<&'r str>,
    dropped: &'o mut Vec<String>,
}

// === impl Items ===

impl<'r> Items<'_, 'r> {
    fn block(&mut self, block: &'r Block) -> Result<(), Refusal> {
        match &block.body {
            Body::Text(text) if text.is_empty() => {}
            Body::Text(text) => self.text_part(text),
            Body::Refusal(text) if self.role == Role::Assistant => {
                self.part();
                self.member("{\"type\":\"refusal\",\"refusal\":", text);
                self.out.push(b'}');
            }
            Body::Refusal(text) => self.text_part(text),
            Body::Thinking(Thinking { text, seal: Some(Seal { maker: Maker::OpenAi, data, .. }) }) => {
                self.reasoning(text, data);
            }
            Body::Thinking(_) => {}
            Body::ToolCall(call) => self.call(call),
            Body::ToolResult(result) => self.result(result)?,
            Body::Image(_) | Body::Document(_) | Body::Audio(_) | Body::Video(_) if self.role != Role::User => {
                // The model's own pictures have no place in its history.
                self.dropped.push("image".to_owned());
            }
            media => {
                self.part();
                write_media(media, self.out)?;
            }
        }
        Ok(())
    }

    fn item(&mut self) {
        self.end_message();
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
    }

    /// Makes ready for a part of the message that is open, opening it first if it is not.
    fn part(&mut self) {
        if self.parts {
            self.out.push(b',');
            return;
        }
        self.item();
        self.parts = true;
        self.out.extend_from_slice(match self.role {
            Role::User => b"{\"type\":\"message\",\"role\":\"user\",\"content\":[".as_slice(),
            Role::Assistant => b"{\"type\":\"message\",\"role\":\"assistant\",\"content\":[",
            Role::Developer => b"{\"type\":\"message\",\"role\":\"developer\",\"content\":[",
        });
    }

    fn end_message(&mut self) {
        if std::mem::take(&mut self.parts) {
            self.out.extend_from_slice(b"]}");
        }
    }

    fn member(&mut self, before: &str, text: &str) {
        self.out.extend_from_slice(before.as_bytes());
        escape_into(text, self.out);
    }

    fn text_part(&mut self, text: &str) {
        self.part();
        if self.role == Role::Assistant {
            self.member("{\"type\":\"output_text\",\"text\":", text);
            self.out.extend_from_slice(b",\"annotations\":[]}");
        } else {
            self.member("{\"type\":\"input_text\",\"text\":", text);
            self.out.push(b'}');
        }
    }

    fn reasoning(&mut self, text: &str, data: &str) {
        self.item();
        self.out.extend_from_slice(b"{\"type\":\"reasoning\",\"summary\":[");
        if !text.is_empty() {
            self.member("{\"type\":\"summary_text\",\"text\":", text);
            self.out.push(b'}');
        }
        self.member("],\"encrypted_content\":", data);
        self.out.push(b'}');
    }

    fn call(&mut self, call: &'r ToolCall) {
        self.item();
        let (kind, input) = match call.custom {
            true => ("{\"type\":\"custom_tool_call\",\"call_id\":", ",\"input\":"),
            false => ("{\"type\":\"function_call\",\"call_id\":", ",\"arguments\":"),
        };
        if call.custom {
            self.customs.push(&call.id);
        }
        self.member(kind, &carry::conform(&call.id));
        self.member(",\"name\":", &call.name);
        self.member(input, &call.input);
        self.out.push(b'}');
    }

    fn result(&mut self, result: &'r ToolResult) -> Result<(), Refusal> {
        self.item();
        let custom = self.customs.contains(&result.id.as_str());
        let kind = if custom { "custom_tool_call_output" } else { "function_call_output" };
        self.member("{\"type\":", kind);
        self.member(",\"call_id\":", &carry::conform(&result.id));
        self.out.extend_from_slice(b",\"output\":");
        // There is no member for a failure: the words have to say it.
        let before = if result.is_error { "Error: " } else { "" };
        match result.content.as_slice() {
            [] => escape_into(before.trim_end(), self.out),
            [Block { body: Body::Text(text), .. }] if before.is_empty() => escape_into(text, self.out),
            [Block { body: Body::Text(text), .. }] => escape_into(&format!("{before}{text}"), self.out),
            several => self.result_parts(before, several)?,
        }
        self.out.push(b'}');
        Ok(())
    }

    fn result_parts(&mut self, before: &str, blocks: &[Block]) -> Result<(), Refusal> {
        self.out.push(b'[');
        if !before.is_empty() {
            self.member("{\"type\":\"input_text\",\"text\":", before.trim_end());
            self.out.extend_from_slice(b"},");
        }
        for (nth, block) in blocks.iter().enumerate() {
            if nth > 0 {
                self.out.push(b',');
            }
            match &block.body {
                Body::Text(text) | Body::Refusal(text) => {
                    self.member("{\"type\":\"input_text\",\"text\":", text);
                    self.out.push(b'}');
                }
                media => write_media(media, self.out)?,
            }
        }
        self.out.push(b']');
        Ok(())
    }
}

/// Writes a picture or document as a part.
fn write_media(body: &Body, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match body {
        Body::Image(media) => image(media, out),
        Body::Document(media) => document(media, out),
        Body::Audio(_) => {
            Err(refusal("This model takes no sound: send what was said, or choose a model that listens."))
        }
        _ => Err(refusal("This model takes no moving pictures: send stills, or choose another model.")),
    }
}

fn refusal(message: &'static str) -> Refusal {
    Refusal::new("messages", message)
}

fn foreign() -> Refusal {
    refusal("A file in another provider's store cannot be read by this model: send its content.")
}

fn member(before: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    escape_into(text, out);
}

fn image(media: &Media, out: &mut Vec<u8>) -> Result<(), Refusal> {
    out.extend_from_slice(b"{\"type\":\"input_image\"");
    match &media.source {
        Source::Url { url, .. } => member(",\"image_url\":", url, out),
        Source::Base64 { media_type, data } => member(",\"image_url\":", &data_url(media_type, data), out),
        Source::File { maker: Maker::OpenAi, id } => member(",\"file_id\":", id, out),
        Source::File { .. } => return Err(foreign()),
        Source::Text(_) => return Err(refusal("A picture cannot be plain text: send it as a URL or in base64.")),
    }
    member(",\"detail\":", media.detail.as_deref().unwrap_or("auto"), out);
    out.push(b'}');
    Ok(())
}

fn document(media: &Media, out: &mut Vec<u8>) -> Result<(), Refusal> {
    out.extend_from_slice(b"{\"type\":\"input_file\"");
    let embedded = match &media.source {
        Source::Url { url, .. } => {
            member(",\"file_url\":", url, out);
            None
        }
        Source::File { maker: Maker::OpenAi, id } => {
            member(",\"file_id\":", id, out);
            None
        }
        Source::File { .. } => return Err(foreign()),
        Source::Base64 { media_type, data } => Some((data_url(media_type, data), "document.pdf")),
        Source::Text(text) => Some((data_url("text/plain", &STANDARD.encode(text)), "document.txt")),
    };
    if let Some((data, name)) = embedded {
        // Content needs a name; a stored or fetched file has its own.
        member(",\"filename\":", media.name.as_deref().unwrap_or(name), out);
        member(",\"file_data\":", &data, out);
    }
    out.push(b'}');
    Ok(())
}

fn data_url(media_type: &str, data: &str) -> String {
    format!("data:{media_type};base64,{data}")
}
