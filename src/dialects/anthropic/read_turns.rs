//! The conversation of a Messages request: system text, turns, and every kind of content block that a client may send.
//!
//! Blocks of tools that Anthropic ran itself mean nothing elsewhere and are noted; a kind that is not known is refused, for it may be content.

use super::foreign;
use super::walk::{Fields, at, inside, list, text, wrong};
use crate::chat::carry;
use crate::chat::request::{
    Block, Body, CacheHint, Maker, Media, Refusal, Source, Thinking, ToolCall, ToolResult, Turn,
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// How the text begins by which Claude Code tells Anthropic whom to bill.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// Reads a conversation; keeps what is left out on the way.
#[derive(Default)]
pub(super) struct TurnReader {
    pub(super) dropped: Vec<String>,
}

impl TurnReader {
    /// `system`: one text, or text blocks.
    pub(super) fn system(&mut self, raw: &RawValue) -> Result<Vec<Block>, Refusal> {
        let mut blocks = self.content(raw)?;
        if let Some(place) = blocks.iter().position(|block| !matches!(block.body, Body::Text(_))) {
            let refusal = Refusal::new("type", "System instructions are text: send text blocks.");
            return Err(at(place, refusal));
        }
        blocks.retain(|block| !matches!(&block.body, Body::Text(text) if text.starts_with(BILLING_HEADER)));
        Ok(blocks)
    }

    /// `messages`.
    pub(super) fn turns(&mut self, messages: Vec<&RawValue>) -> Result<Vec<Turn>, Refusal> {
        let read = |(index, raw)| self.turn(raw).map_err(|refusal| at(index, refusal));
        messages.into_iter().enumerate().map(read).collect()
    }

    fn turn(&mut self, raw: &RawValue) -> Result<Turn, Refusal> {
        let mut fields = Fields::of(raw)?;
        let role = fields.need_text("role")?;
        let content = match fields.take("content") {
            Some(raw) => self.content(raw).map_err(|refusal| inside("content", refusal))?,
            None => return Err(super::walk::missing("content")),
        };
        self.note_rest("messages", fields);
        match role.as_ref() {
            "user" => Ok(Turn::User(content)),
            "assistant" => Ok(Turn::Assistant(content)),
            "system" => Ok(Turn::System(content)),
            _ => Err(Refusal::new("role", "The role is not known: send `user`, `assistant` or `system`.")),
        }
    }

    /// One text, or blocks.
    fn content(&mut self, raw: &RawValue) -> Result<Vec<Block>, Refusal> {
        if let Some(text) = text(raw) {
            return Ok(vec![Block::text(text)]);
        }
        let raws = list(raw).ok_or_else(|| wrong("a string or a list of content blocks"))?;
        let mut blocks = Vec::with_capacity(raws.len());
        for (index, raw) in raws.into_iter().enumerate() {
            self.block(raw, &mut blocks).map_err(|refusal| at(index, refusal))?;
        }
        Ok(blocks)
    }

    fn block(&mut self, raw: &RawValue, blocks: &mut Vec<Block>) -> Result<(), Refusal> {
        let mut fields = Fields::of(raw)?;
        let kind = fields.need_text("type")?;
        let cache = cache(&mut fields)?;
        let body = match kind.as_ref() {
            "text" => {
                fields.take("citations");
                Body::Text(fields.need_text("text")?.into_owned())
            }
            "image" => Body::Image(self.image(&mut fields)?),
            "document" => Body::Document(self.document(&mut fields, blocks)?),
            "search_result" => Body::Document(self.search_result(&mut fields)?),
            "thinking" => Body::Thinking(Thinking {
                text: fields.need_text("thinking")?.into_owned(),
                seal: fields.text("signature")?.and_then(|signature| foreign::from_client(&signature, false)),
            }),
            "redacted_thinking" => {
                let seal = foreign::from_client(&fields.need_text("data")?, true);
                Body::Thinking(Thinking { text: String::new(), seal })
            }
            "tool_use" => {
                fields.take("caller");
                Body::ToolCall(call(&mut fields, blocks)?)
            }
            "tool_result" => Body::ToolResult(self.result(&mut fields)?),
            hosted if is_of_hosted_tool(hosted) => {
                self.note(format!("messages.content.{hosted}"));
                return Ok(());
            }
            unknown => {
                let remedy = "Send text, images, documents, tool calls and tool results.";
                return Err(Refusal::new("type", format!("The block type `{unknown}` is not known. {remedy}")));
            }
        };
        self.note_rest(&kind, fields);
        blocks.push(Block { body, cache });
        Ok(())
    }

    fn image(&mut self, fields: &mut Fields<'_>) -> Result<Media, Refusal> {
        let mut source = fields.object("source")?.ok_or_else(|| super::walk::missing("source"))?;
        let read = source_of(&mut source).map_err(|refusal| inside("source", refusal))?;
        Ok(Media { source: read, name: None, detail: None })
    }

    /// A document, and the pictures inside of one that is made of blocks before it.
    fn document(&mut self, fields: &mut Fields<'_>, blocks: &mut Vec<Block>) -> Result<Media, Refusal> {
        let mut source = fields.object("source")?.ok_or_else(|| super::walk::missing("source"))?;
        let content = source.take("content");
        let read = match content {
            Some(raw) => self.content(raw).map(|content| Source::Text(text_of(content, blocks))),
            None => source_of(&mut source),
        };
        let source = read.map_err(|refusal| inside("source", refusal))?;
        self.citations(fields)?;
        Ok(Media { source, name: fields.text("title")?.map(Cow::into_owned), detail: None })
    }

    /// What a search of the client's own found: a text with a title.
    fn search_result(&mut self, fields: &mut Fields<'_>) -> Result<Media, Refusal> {
        let address = fields.text("source")?.unwrap_or_default();
        let content = match fields.take("content") {
            Some(raw) => self.content(raw).map_err(|refusal| inside("content", refusal))?,
            None => Vec::new(),
        };
        self.citations(fields)?;
        let found = text_of(content, &mut Vec::new());
        let text = if address.is_empty() { found } else { format!("{address}\n{found}") };
        Ok(Media { source: Source::Text(text), name: fields.text("title")?.map(Cow::into_owned), detail: None })
    }

    /// Wanted citations have no word of their own.
    fn citations(&mut self, fields: &mut Fields<'_>) -> Result<(), Refusal> {
        let wanted = fields.object("citations")?.map(|mut citations| citations.flag("enabled")).transpose()?.flatten();
        if wanted == Some(true) {
            self.note("citations".to_owned());
        }
        Ok(())
    }

    fn result(&mut self, fields: &mut Fields<'_>) -> Result<ToolResult, Refusal> {
        let id = fields.need_text("tool_use_id")?;
        let content = match fields.take("content") {
            Some(raw) => self.content(raw).map_err(|refusal| inside("content", refusal))?,
            None => Vec::new(),
        };
        let is_error = fields.flag("is_error")?.unwrap_or(false);
        Ok(ToolResult { id: carry::unpack(&id).0.to_owned(), name: None, content, is_error })
    }

    fn note_rest(&mut self, place: &str, fields: Fields<'_>) {
        for name in fields.rest() {
            self.note(format!("{place}.{name}"));
        }
    }

    fn note(&mut self, name: String) {
        if !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
    }
}

/// Reads a call; thinking that its id carries goes before it, unless the client gave the same thinking back itself.
fn call(fields: &mut Fields<'_>, blocks: &mut Vec<Block>) -> Result<ToolCall, Refusal> {
    let id = fields.need_text("id")?;
    let name = fields.need_text("name")?.into_owned();
    let input = match fields.take("input") {
        Some(raw) if raw.get().starts_with('{') => raw.get().to_owned(),
        Some(_) => return Err(inside("input", wrong("an object"))),
        None => "{}".to_owned(),
    };
    let (own, carried) = carry::unpack(&id);
    for thinking in carried.thinking {
        let there = blocks.iter().any(|block| matches!(&block.body, Body::Thinking(known) if *known == thinking));
        if !there {
            blocks.push(Block::of(Body::Thinking(thinking)));
        }
    }
    Ok(ToolCall { id: own.to_owned(), name, input, custom: false, seal: carried.seal })
}

/// Where the bytes of a picture or document are.
fn source_of(fields: &mut Fields<'_>) -> Result<Source, Refusal> {
    let kind = fields.need_text("type")?;
    Ok(match kind.as_ref() {
        "base64" => Source::Base64 {
            media_type: fields.need_text("media_type")?.to_ascii_lowercase(),
            data: fields.need_text("data")?.into_owned(),
        },
        "url" => Source::Url { url: fields.need_text("url")?.into_owned(), media_type: None },
        "text" => Source::Text(fields.need_text("data")?.into_owned()),
        "file" => Source::File { maker: Maker::Anthropic, id: fields.need_text("file_id")?.into_owned() },
        unknown => {
            let remedy = "Send `base64`, `url`, `text`, `content` or `file`.";
            return Err(Refusal::new("type", format!("The source type `{unknown}` is not known. {remedy}")));
        }
    })
}

/// The text of blocks as one; what is not text goes to `others`.
fn text_of(content: Vec<Block>, others: &mut Vec<Block>) -> String {
    let mut whole = String::new();
    for block in content {
        match block.body {
            Body::Text(text) => {
                if !whole.is_empty() {
                    whole.push('\n');
                }
                whole.push_str(&text);
            }
            body => others.push(Block::of(body)),
        }
    }
    whole
}

/// `cache_control`, wherever it stands.
pub(super) fn cache(fields: &mut Fields<'_>) -> Result<Option<CacheHint>, Refusal> {
    let Some(mut mark) = fields.object("cache_control")? else { return Ok(None) };
    let ttl = mark.text("ttl").map_err(|refusal| inside("cache_control", refusal))?;
    Ok(Some(if ttl.as_deref() == Some("1h") { CacheHint::Long } else { CacheHint::Short }))
}

/// Blocks that only Anthropic can read: of tools it ran itself, of its containers, of histories it has shortened.
fn is_of_hosted_tool(kind: &str) -> bool {
    const KINDS: [&str; 5] = ["server_tool_use", "mcp_tool_use", "tool_reference", "container_upload", "compaction"];
    KINDS.contains(&kind) || kind.ends_with("_tool_result")
}
