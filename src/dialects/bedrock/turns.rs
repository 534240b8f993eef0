//! The conversation as Converse takes it: turns that alternate and begin with the user, no blank text, every call answered.
//!
//! Results of tools come first in the user's turn, calls last in the model's. Instructions in the middle keep their place, marked, in the
//! user's turn. Pictures and documents are sent along; an address is taken only where it is in S3, since nobody fetches others.

use super::body::{
    Content, Document, Input, Medium, Message, Reasoning, Role, S3Location, Source, ToolResult, ToolUse,
};
use super::tools::{is_name, sent_name, unfit_name};
use super::write_request::Writing;
use crate::chat::carry::conform;
use crate::chat::request::{self as inner, Block, Body, Maker, Media, Refusal, Thinking, Turn};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Stands where Converse wants text and the client has none; blank text is refused.
const FILLER: &str = ".";

/// A message whose parts are not in order yet.
struct Draft<'a> {
    role: Role,
    /// Results of tools, or what the model said before it called some.
    first: Vec<Content<'a>>,
    /// Everything else of the user, or calls of tools.
    last: Vec<Content<'a>>,
}

/// Writes the turns.
pub(super) fn messages<'a>(writing: &mut Writing<'a>) -> Result<Vec<Message<'a>>, Refusal> {
    let mut drafts: Vec<Draft<'a>> = Vec::new();
    let mut documents = Vec::new();
    for turn in &writing.request.turns {
        let (role, blocks) = match turn {
            Turn::User(blocks) | Turn::System(blocks) => (Role::User, blocks),
            Turn::Assistant(blocks) => (Role::Assistant, blocks),
        };
        let is_instruction = matches!(turn, Turn::System(_));
        for block in blocks {
            let Some(content) = content(writing, block, is_instruction, &mut documents)? else { continue };
            let draft = draft_of(&mut drafts, role);
            let place = match (role, &content) {
                (Role::User, Content::ToolResult(_)) => &mut draft.first,
                (Role::Assistant, content) if !matches!(content, Content::ToolUse(_)) => &mut draft.first,
                _ => &mut draft.last,
            };
            place.push(content);
            place.extend(writing.cache_point(block.cache).map(Content::CachePoint));
        }
    }
    if drafts.is_empty() {
        return Err(Refusal::new("messages", "The conversation is empty; send at least one message with text."));
    }
    if drafts.first().is_some_and(|draft| draft.role == Role::Assistant) {
        drafts.insert(0, Draft { role: Role::User, first: vec![Content::Text(FILLER.into())], last: Vec::new() });
    }
    let mut messages: Vec<Message<'a>> = drafts.into_iter().map(finished).collect();
    distinguish_calls(&mut messages);
    check_calls(&messages)?;
    end_prefix(writing, &mut messages)?;
    Ok(messages)
}

fn draft_of<'d, 'a>(drafts: &'d mut Vec<Draft<'a>>, role: Role) -> &'d mut Draft<'a> {
    let at = match drafts.last() {
        Some(last) if last.role == role => drafts.len() - 1,
        _ => {
            drafts.push(Draft { role, first: Vec::new(), last: Vec::new() });
            drafts.len() - 1
        }
    };
    &mut drafts[at]
}

fn finished(draft: Draft<'_>) -> Message<'_> {
    let Draft { role, first: mut content, last } = draft;
    // A thought that travelled inside a call's id comes back after the text before the call; a turn with thoughts must begin with one.
    let is_thought = |content: &Content<'_>| matches!(content, Content::Thought(_));
    if content.first().is_some_and(|first| !is_thought(first)) {
        content.sort_by_key(|content| !is_thought(content));
    }
    content.extend(last);
    // A document needs words beside it.
    let has = |wanted: fn(&Content<'_>) -> bool| content.iter().any(wanted);
    if has(|content| matches!(content, Content::Document(_))) && !has(|content| matches!(content, Content::Text(_))) {
        content.push(Content::Text(FILLER.into()));
    }
    Message { role, content }
}

/// Ids of calls are unique in a conversation. Some makers count from zero in every turn: the second of a name, and its result, get another.
fn distinguish_calls(messages: &mut [Message<'_>]) {
    let mut seen: Vec<(String, usize)> = Vec::new();
    for content in messages.iter_mut().flat_map(|message| &mut message.content) {
        let (id, is_call) = match content {
            Content::ToolUse(call) => (&mut call.tool_use_id, true),
            Content::ToolResult(result) => (&mut result.tool_use_id, false),
            _ => continue,
        };
        let times = match seen.iter_mut().find(|(known, _)| known == id.as_ref()) {
            Some((_, times)) => {
                *times += usize::from(is_call);
                *times
            }
            None => {
                seen.push((id.as_ref().to_owned(), 1));
                1
            }
        };
        if times > 1 {
            *id = Cow::Owned(conform(&format!("{id}-{times}")).into_owned());
        }
    }
}

/// Each call must be answered in the turn after it; the service would refuse the request with less of a hint.
fn check_calls(messages: &[Message<'_>]) -> Result<(), Refusal> {
    for (at, message) in messages.iter().enumerate() {
        let answers = messages.get(at + 1).map(|next| next.content.as_slice()).unwrap_or_default();
        for content in &message.content {
            let Content::ToolUse(call) = content else { continue };
            let is_answer = |content: &Content<'_>| matches!(content, Content::ToolResult(result) if result.tool_use_id == call.tool_use_id);
            if !answers.iter().any(is_answer) {
                let message = format!("The call of the tool {:?} has no result; send one for every call.", call.name);
                return Err(Refusal::new("messages", message));
            }
        }
    }
    Ok(())
}

/// A last turn of the model is a prefix it goes on from, where it takes one; it must not end in blanks.
fn end_prefix(writing: &Writing<'_>, messages: &mut [Message<'_>]) -> Result<(), Refusal> {
    let Some(last) = messages.last_mut().filter(|last| last.role == Role::Assistant) else { return Ok(()) };
    let older = || !writing.family.claude().is_some_and(|claude| claude.is_at_least(4, 6));
    if !writing.aim.abilities.assistant_prefill.unwrap_or_else(older) {
        let message = "This model does not continue a turn of its own; end the conversation with a user message.";
        return Err(Refusal::new("messages", message));
    }
    if let Some(Content::Text(text)) = last.content.last_mut() {
        *text = Cow::Owned(text.trim_end().to_owned());
    }
    Ok(())
}

fn content<'a>(
    writing: &Writing<'a>,
    block: &'a Block,
    is_instruction: bool,
    documents: &mut Vec<String>,
) -> Result<Option<Content<'a>>, Refusal> {
    let abilities = writing.aim.abilities;
    Ok(Some(match &block.body {
        Body::Text(text) | Body::Refusal(text) if text.trim().is_empty() => return Ok(None),
        Body::Text(text) if is_instruction => Content::Text(Cow::Owned(format!("[system] {text}"))),
        Body::Text(text) | Body::Refusal(text) => Content::Text(Cow::Borrowed(text)),
        Body::Image(_) if abilities.vision == Some(false) => return Err(unable("pictures")),
        Body::Audio(_) if abilities.audio_input == Some(false) => return Err(unable("sound")),
        Body::Image(media) => Content::Image(medium(media, IMAGES, "a picture as png, jpeg, gif or webp")?),
        Body::Audio(media) => Content::Audio(medium(media, SOUNDS, "sound as wav, mp3, flac, ogg, aac or opus")?),
        Body::Video(media) => Content::Video(medium(media, FILMS, "a film as mp4, mov, mkv, webm or mpeg")?),
        Body::Document(media) => Content::Document(document(media, documents)?),
        Body::Thinking(thinking) => return Ok(reasoning(writing, thinking)),
        Body::ToolCall(call) => Content::ToolUse(tool_use(call)?),
        Body::ToolResult(result) => Content::ToolResult(tool_result(writing, result, documents)?),
    }))
}

fn unable(what: &str) -> Refusal {
    Refusal::new("messages", format!("This model does not take {what}; choose another model or leave them out."))
}

/// Only its maker can take a thought back. Words alone are of no use to it, and other models refuse the block.
fn reasoning<'a>(writing: &Writing<'a>, thinking: &'a Thinking) -> Option<Content<'a>> {
    let seal = thinking.seal.as_ref().filter(|seal| seal.maker == Maker::Anthropic && writing.family.takes_seals())?;
    if !seal.redacted {
        return Some(Content::Thought(Reasoning::ReasoningText { text: &thinking.text, signature: &seal.data }));
    }
    // The member is bytes: whatever is no base64 did not come from here.
    STANDARD.decode(&seal.data).ok()?;
    Some(Content::Thought(Reasoning::RedactedContent(&seal.data)))
}

fn tool_use(call: &inner::ToolCall) -> Result<ToolUse<'_>, Refusal> {
    let name = sent_name(&call.name, call.custom);
    if !is_name(&name) {
        return Err(unfit_name("messages", &call.name));
    }
    let input = match call.input.trim() {
        _ if call.custom => Input::Text(&call.input),
        "" => Input::Empty,
        text => match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) if raw.get().starts_with('{') => Input::Object(raw),
            _ => {
                let message = format!("The input of the call {:?} must be the text of a JSON object.", call.id);
                return Err(Refusal::new("messages", message));
            }
        },
    };
    Ok(ToolUse { tool_use_id: conform(&call.id), name, input })
}

fn tool_result<'a>(
    writing: &Writing<'a>,
    result: &'a inner::ToolResult,
    documents: &mut Vec<String>,
) -> Result<ToolResult<'a>, Refusal> {
    let mut content = Vec::new();
    for block in &result.content {
        content.push(match &block.body {
            Body::Text(text) | Body::Refusal(text) => Content::Text(Cow::Borrowed(text)),
            Body::Image(_) | Body::Document(_) | Body::Video(_) => {
                match self::content(writing, block, false, documents)? {
                    Some(content) => content,
                    None => continue,
                }
            }
            _ => {
                return Err(Refusal::new(
                    "messages",
                    "A tool's result may hold text, pictures, films and documents only.",
                ));
            }
        });
    }
    let mut status = None;
    if result.is_error {
        let is_said = content.iter().any(|content| !matches!(content, Content::Text(text) if text.trim().is_empty()));
        if !is_said {
            content = vec![Content::Text("The tool failed.".into())];
        }
        if writing.family.takes_result_status() {
            status = Some("error");
        } else {
            content.insert(0, Content::Text("Error:".into()));
        }
    }
    Ok(ToolResult { tool_use_id: conform(&result.id), content, status })
}

/// Media types and Converse's names for them; a name is its own extension too.
type Formats = &'static [(&'static str, &'static str)];

const IMAGES: Formats = &[
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
];
const SOUNDS: Formats = &[
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("audio/mpeg", "mp3"),
    ("audio/mp3", "mp3"),
    ("audio/flac", "flac"),
    ("audio/ogg", "ogg"),
    ("audio/aac", "aac"),
    ("audio/opus", "opus"),
    ("audio/mp4", "mp4"),
    ("audio/m4a", "m4a"),
    ("audio/webm", "webm"),
    ("audio/pcm", "pcm"),
];
const FILMS: Formats = &[
    ("video/mp4", "mp4"),
    ("video/quicktime", "mov"),
    ("video/mov", "mov"),
    ("video/x-matroska", "mkv"),
    ("video/webm", "webm"),
    ("video/mpeg", "mpeg"),
    ("video/x-flv", "flv"),
    ("video/x-ms-wmv", "wmv"),
    ("video/wmv", "wmv"),
    ("video/3gpp", "three_gp"),
];
const DOCUMENTS: Formats = &[
    ("application/pdf", "pdf"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
    ("text/html", "html"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
];

fn format_of(formats: Formats, media_type: &str) -> Option<&'static str> {
    let bare = media_type.split(';').next().unwrap_or_default().trim();
    formats.iter().find(|(known, _)| known.eq_ignore_ascii_case(bare)).map(|(_, format)| *format)
}

fn medium<'a>(media: &'a Media, formats: Formats, wanted: &str) -> Result<Medium<'a>, Refusal> {
    let (format, source) = located(media, formats, wanted)?;
    Ok(Medium { format, source })
}

/// The format and the place of something that is not text.
fn located<'a>(media: &'a Media, formats: Formats, wanted: &str) -> Result<(&'static str, Source<'a>), Refusal> {
    let refused =
        || Refusal::new("messages", format!("Bedrock takes {wanted}, inside the request or at an s3:// address."));
    match &media.source {
        inner::Source::Base64 { media_type, data } => {
            let format = format_of(formats, media_type).ok_or_else(refused)?;
            Ok((format, Source::Bytes(Cow::Borrowed(data))))
        }
        inner::Source::Text(text) => {
            let format = format_of(formats, "text/plain").ok_or_else(refused)?;
            Ok((format, Source::Bytes(Cow::Owned(STANDARD.encode(text)))))
        }
        inner::Source::Url { url, media_type } if url.starts_with("s3://") => {
            let extension = url.rsplit_once('.').map_or("", |(_, extension)| extension);
            let by_extension =
                || formats.iter().find(|(_, format)| format.eq_ignore_ascii_case(extension)).map(|(_, format)| *format);
            let format = media_type.as_deref().and_then(|kind| format_of(formats, kind)).or_else(by_extension);
            Ok((format.ok_or_else(refused)?, Source::S3Location(S3Location { uri: url })))
        }
        inner::Source::Url { .. } | inner::Source::File { .. } => Err(refused()),
    }
}

fn document<'a>(media: &'a Media, taken: &mut Vec<String>) -> Result<Document<'a>, Refusal> {
    let (format, source) = located(media, DOCUMENTS, "a document as pdf, txt, md, html, csv, doc, docx, xls or xlsx")?;
    let name = document_name(media.name.as_deref().unwrap_or_default());
    // Two documents of one name are refused.
    let mut distinct = name.clone();
    for number in 2..=taken.len() + 1 {
        if !taken.contains(&distinct) {
            break;
        }
        distinct = format!("{name} {number}");
    }
    taken.push(distinct.clone());
    Ok(Document { format, name: distinct, source })
}

/// A name as Converse takes it: letters, digits, single blanks, hyphens, parentheses and brackets.
fn document_name(name: &str) -> String {
    let is_extension = |end: &str| (1..=5).contains(&end.len()) && end.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let stem = name.rsplit_once('.').filter(|(_, end)| is_extension(end)).map_or(name, |(stem, _)| stem);
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-()[] ".contains(letter);
    let plain: String = stem.chars().map(|letter| if fits(letter) { letter } else { '-' }).take(180).collect();
    let single = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if single.is_empty() { "document".to_owned() } else { single }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
