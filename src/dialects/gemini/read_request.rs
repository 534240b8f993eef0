//! A client's `generateContent` request. The model and whether to stream stand in the address: the caller sets them.
//!
//! Everything Google documents is understood in either spelling. What only Google's own models could do and would
//! change the answer is refused by name (a cached content, answers that are sound or pictures); what would not is noted
//! as dropped.

use super::members::{Members, elements};
use super::read_contents::Conversation;
use super::{read_config, read_tools};
use crate::chat::request::{Block, Refusal, Request};
use serde_json::value::RawValue;

/// Reads a request.
///
/// # Errors
/// When it is malformed, or means something that the inner language has no word for.
pub(super) fn read(body: &[u8]) -> Result<Request, Refusal> {
    let mut members = Members::of_body(body)?;
    let mut request = Request::default();
    if members.take("cachedContent")?.is_some() {
        let message = "A cached content is in Google's store alone: send the content itself.";
        return Err(Refusal::new("cachedContent", message));
    }
    if let Some(raw) = members.take("systemInstruction")? {
        request.system = instruction(raw, "systemInstruction")?;
    }
    let mut conversation = Conversation::default();
    let contents = members.list("contents")?;
    if contents.is_empty() {
        return Err(Refusal::new("contents", "Send at least one content."));
    }
    for (at, (raw, path)) in contents.into_iter().enumerate() {
        conversation.content(raw, path, at)?;
    }
    (request.turns, request.dropped) = conversation.finish();
    let tools = members.list("tools")?;
    read_tools::tools(tools, &mut request)?;
    if let Some(config) = members.object("toolConfig")? {
        read_tools::config(config, &mut request)?;
    }
    if let Some(config) = members.object("generationConfig")? {
        read_config::config(config, &mut request)?;
    }
    request.safety = members.value("safetySettings")?;
    request.service_tier = members.text("serviceTier")?.and_then(|tier| tier_of(&tier));
    // The address names the model; some clients repeat it.
    members.take("model")?;
    members.note_rest(&mut request.dropped);
    Ok(request)
}

/// A string, a content, a part, or an array of those.
fn instruction(raw: &RawValue, path: &str) -> Result<Vec<Block>, Refusal> {
    let mut blocks = Vec::new();
    for (raw, path) in elements(raw, path)? {
        if raw.get().starts_with('"') {
            let text: String = serde_json::from_str(raw.get())
                .map_err(|_| Refusal::new(path.clone(), format!("`{path}` must be a string.")))?;
            blocks.push(Block::text(text));
            continue;
        }
        let mut members = Members::of(raw, path)?;
        let parts = members.list("parts")?;
        if let Some(text) = members.text("text")? {
            blocks.push(Block::text(text));
        }
        for (part, path) in parts {
            let mut part = Members::of(part, path)?;
            let Some(text) = part.text("text")? else {
                return Err(part.refusal("Instructions are text: put other parts into `contents`."));
            };
            blocks.push(Block::text(text));
        }
    }
    blocks.retain(|block| block.body != crate::chat::request::Body::Text(String::new()));
    Ok(blocks)
}

/// The class of service by the name that the inner language has.
fn tier_of(tier: &str) -> Option<String> {
    let tier = tier.to_ascii_lowercase();
    let tier = tier.strip_prefix("service_tier_").unwrap_or(&tier);
    match tier {
        "" | "unspecified" => None,
        "standard" => Some("default".to_owned()),
        other => Some(other.to_owned()),
    }
}

#[cfg(test)]
#[path = "read_request_tests.rs"]
mod tests;
