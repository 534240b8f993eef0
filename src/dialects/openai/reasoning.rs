//! Thinking as Chat Completions show it by extension: words in `reasoning_content`, seals in `reasoning_details`.
//!
//! An entry of `reasoning_details` is `{"type":"reasoning.text","text":…,"signature":…,"format":…}` or
//! `{"type":"reasoning.encrypted","data":…,"format":…}`; `format` begins with the maker's name. One without it is Anthropic's, whose seals
//! were the first to be shown so. Source: OpenRouter's reasoning tokens page, read 2026-11.

use crate::chat::request::{Maker, Seal, Thinking};
use crate::json::splice::escape_into;
use serde_json::Value;

/// What a client kept of a turn's thinking, sealed or not.
pub(super) fn read(words: Option<String>, details: Option<&Value>) -> Vec<Thinking> {
    let entries = details.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut thoughts: Vec<Thinking> = entries.iter().filter_map(entry).collect();
    // Both say the same words; the details alone have the seals.
    if let Some(text) = words.filter(|text| !text.is_empty())
        && thoughts.iter().all(|thought| thought.text.is_empty())
    {
        thoughts.insert(0, Thinking { text, seal: None });
    }
    thoughts
}

fn entry(entry: &Value) -> Option<Thinking> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let maker = maker_of(text("format"));
    let kind = text("type").unwrap_or("text");
    match kind.strip_prefix("reasoning.").unwrap_or(kind) {
        "text" => {
            let seal = text("signature")
                .filter(|data| !data.is_empty())
                .and_then(|data| Some(Seal { maker: maker?, data: data.to_owned(), redacted: false }));
            let words = text("text").unwrap_or_default();
            (seal.is_some() || !words.is_empty()).then(|| Thinking { text: words.to_owned(), seal })
        }
        "encrypted" => {
            let seal = Seal { maker: maker?, data: text("data")?.to_owned(), redacted: true };
            Some(Thinking { text: String::new(), seal: Some(seal) })
        }
        "summary" => Some(Thinking { text: text("summary")?.to_owned(), seal: None }),
        _ => None,
    }
}

/// Whose format it is; `None` for one that nobody here can take back.
pub(super) fn maker_of(format: Option<&str>) -> Option<Maker> {
    match format {
        None => Some(Maker::Anthropic),
        Some(format) if format.starts_with("anthropic") => Some(Maker::Anthropic),
        Some(format) if format.starts_with("openai") => Some(Maker::OpenAi),
        Some(format) if format.starts_with("google") => Some(Maker::Google),
        Some(_) => None,
    }
}

const fn format_of(maker: Maker) -> &'static str {
    match maker {
        Maker::Anthropic => "anthropic-claude-v1",
        Maker::OpenAi => "openai-responses-v1",
        Maker::Google => "google-gemini-v1",
    }
}

/// Appends the entry of a sealed thought, the `index`th of its answer.
pub(super) fn write_entry(text: &str, seal: &Seal, index: usize, out: &mut Vec<u8>) {
    if seal.redacted {
        out.extend_from_slice(b"{\"type\":\"reasoning.encrypted\",\"data\":");
    } else {
        out.extend_from_slice(b"{\"type\":\"reasoning.text\",\"text\":");
        escape_into(text, out);
        out.extend_from_slice(b",\"signature\":");
    }
    escape_into(&seal.data, out);
    out.extend_from_slice(b",\"format\":\"");
    out.extend_from_slice(format_of(seal.maker).as_bytes());
    out.extend_from_slice(b"\",\"index\":");
    out.extend_from_slice(itoa::Buffer::new().format(index).as_bytes());
    out.push(b'}');
}
