//! Output items while they are written: what each one has so far, and the JSON of its stages.
//!
//! Texts are kept escaped, as they stand between quotes: a delta is escaped once, into its event, and copied from
//! there.

use super::seal;
use crate::chat::request::Seal;
use crate::json::splice::escape_into;
use serde_json::Value;

/// Where an item stands in the answer.
#[derive(Debug)]
pub(super) struct Place {
    /// Counts the items in order of appearance.
    pub(super) output: u32,
    /// The item's own id.
    pub(super) id: String,
}

// === impl Place ===

impl Place {
    /// Writes `,"item_id":…,"output_index":…`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"item_id\":\"");
        out.extend_from_slice(self.id.as_bytes());
        out.push(b'"');
        self.write_output(out);
    }

    /// Writes `,"output_index":…`.
    pub(super) fn write_output(&self, out: &mut Vec<u8>) {
        number(",\"output_index\":", self.output, out);
    }

    fn open_item(&self, kind: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":\"");
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
    }
}

/// Writes `before` and a number.
pub(super) fn number(before: &str, number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes `before`, then `escaped` in quotes.
pub(super) fn quoted(before: &str, escaped: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(before.as_bytes());
    out.push(b'"');
    out.extend_from_slice(escaped);
    out.push(b'"');
}

/// Writes `text` as a JSON string, and adds what stands between its quotes to `kept`.
pub(super) fn escape_and_keep(text: &str, kept: &mut Vec<u8>, out: &mut Vec<u8>) {
    let from = out.len() + 1;
    escape_into(text, out);
    kept.extend_from_slice(out.get(from..out.len() - 1).unwrap_or_default());
}

// === Reasoning ===

/// A reasoning item: one summary with all of the visible words.
#[derive(Debug)]
pub(super) struct Reasoning {
    pub(super) place: Place,
    /// Whether the summary has begun.
    pub(super) has_summary: bool,
    /// Escaped.
    pub(super) text: Vec<u8>,
}

// === impl Reasoning ===

impl Reasoning {
    /// The summary as it is now.
    pub(super) fn part(&self, out: &mut Vec<u8>) {
        quoted("{\"type\":\"summary_text\",\"text\":", &self.text, out);
        out.push(b'}');
    }

    /// The item; without a seal it can be read but not sent back to any maker.
    pub(super) fn item(&self, seal: Option<&Seal>, out: &mut Vec<u8>) {
        self.place.open_item("reasoning", out);
        out.extend_from_slice(b",\"summary\":[");
        if self.has_summary {
            self.part(out);
        }
        out.push(b']');
        if let Some(seal) = seal {
            out.extend_from_slice(b",\"encrypted_content\":");
            escape_into(&seal::shown(seal), out);
        }
        out.push(b'}');
    }
}

// === Messages ===

/// A message item.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) place: Place,
    /// Parts that are complete, JSON with commas between.
    pub(super) parts: Vec<u8>,
    /// How many those are: the index of the part that is open.
    pub(super) content: u32,
    /// The part that is open.
    pub(super) part: Option<Part>,
}

/// A part of a message.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) refusal: bool,
    /// Escaped.
    pub(super) text: Vec<u8>,
    /// Entries with commas between.
    pub(super) annotations: Vec<u8>,
    pub(super) annotation_count: u32,
    /// Entries with commas between.
    pub(super) logprobs: Vec<u8>,
}

// === impl Message ===

impl Message {
    /// Writes the item's id, its place and that of its open part.
    pub(super) fn write_place(&self, out: &mut Vec<u8>) {
        self.place.write(out);
        number(",\"content_index\":", self.content, out);
    }

    /// The item with its complete parts.
    pub(super) fn item(&self, status: &str, out: &mut Vec<u8>) {
        self.place.open_item("message", out);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(status.as_bytes());
        out.extend_from_slice(b"\",\"role\":\"assistant\",\"content\":[");
        out.extend_from_slice(&self.parts);
        out.extend_from_slice(b"]}");
    }
}

// === impl Part ===

impl Part {
    /// The part as it is now.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.refusal {
            quoted("{\"type\":\"refusal\",\"refusal\":", &self.text, out);
        } else {
            quoted("{\"type\":\"output_text\",\"text\":", &self.text, out);
            out.extend_from_slice(b",\"annotations\":[");
            out.extend_from_slice(&self.annotations);
            out.push(b']');
            self.write_logprobs(out);
        }
        out.push(b'}');
    }

    /// Writes `,"logprobs":[…]`.
    pub(super) fn write_logprobs(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"logprobs\":[");
        out.extend_from_slice(&self.logprobs);
        out.push(b']');
    }
}

/// Adds an entry to a list with commas between.
pub(super) fn add_entry(list: &mut Vec<u8>, entry: &[u8]) {
    if !list.is_empty() {
        list.push(b',');
    }
    list.extend_from_slice(entry);
}

/// The entries of `{"content":[…]}`, with commas between.
pub(super) fn logprob_entries(logprobs: &Value) -> Vec<u8> {
    let mut entries = Vec::new();
    for entry in logprobs.get("content").and_then(Value::as_array).into_iter().flatten() {
        add_entry(&mut entries, entry.to_string().as_bytes());
    }
    entries
}

/// An annotation as this dialect has it: flat, where Chat puts the members one level deeper.
pub(super) fn flat_annotation(annotation: &Value) -> Vec<u8> {
    let inner = annotation.get("type").and_then(Value::as_str).and_then(|kind| {
        let mut members = annotation.get(kind)?.as_object()?.clone();
        members.insert("type".to_owned(), Value::from(kind));
        Some(Value::Object(members))
    });
    inner.as_ref().unwrap_or(annotation).to_string().into_bytes()
}

// === Calls ===

/// A call of a tool.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) place: Place,
    /// Which call of the answer it is.
    pub(super) index: u32,
    /// Escaped members, as `,"call_id":…,"name":…`.
    pub(super) head: Vec<u8>,
    pub(super) custom: bool,
    /// Escaped.
    pub(super) input: Vec<u8>,
    /// What a provider gives as a function's JSON although the tool is a custom one: kept back, to be unwrapped at the
    /// end.
    pub(super) wrapped: Option<String>,
}

// === impl Call ===

impl Call {
    /// The members that say which call it is.
    pub(super) fn head(call_id: &str, namespace: Option<&str>, name: &str) -> Vec<u8> {
        let mut head = b",\"call_id\":".to_vec();
        escape_into(call_id, &mut head);
        if let Some(namespace) = namespace {
            head.extend_from_slice(b",\"namespace\":");
            escape_into(namespace, &mut head);
        }
        head.extend_from_slice(b",\"name\":");
        escape_into(name, &mut head);
        head
    }

    /// The item with the input that is there.
    pub(super) fn item(&self, status: &str, out: &mut Vec<u8>) {
        self.place.open_item(if self.custom { "custom_tool_call" } else { "function_call" }, out);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(status.as_bytes());
        out.push(b'"');
        out.extend_from_slice(&self.head);
        quoted(if self.custom { ",\"input\":" } else { ",\"arguments\":" }, &self.input, out);
        out.push(b'}');
    }
}

/// A picture, before its bytes are there (`None`) and with them.
pub(super) fn image_item(place: &Place, media_type: &str, data: Option<&str>, out: &mut Vec<u8>) {
    place.open_item("image_generation_call", out);
    match data {
        None => out.extend_from_slice(b",\"status\":\"in_progress\",\"result\":null}"),
        Some(data) => {
            out.extend_from_slice(b",\"status\":\"completed\",\"output_format\":");
            escape_into(media_type.strip_prefix("image/").unwrap_or(media_type), out);
            out.extend_from_slice(b",\"result\":");
            escape_into(data, out);
            out.push(b'}');
        }
    }
}
