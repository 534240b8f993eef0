//! A client's `contents`: turns with their parts, calls joined to their results, and sealed thinking put back where it
//! was.
//!
//! SDKs keep a streamed answer as many contents of one role, so neighbours of the model's side become one turn, and
//! pieces of words and of thoughts are joined again: a thought must go back to its maker exactly as it came. A
//! signature ends the thought it stands on.

use super::members::Members;
use super::seal::{self, Signature};
use super::{answer, media};
use crate::chat::carry;
use crate::chat::request::{Block, Body, Maker, Media, Refusal, Seal, Source, Thinking, ToolCall, ToolResult, Turn};
use serde_json::value::RawValue;

/// The conversation as far as it is read.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    turns: Vec<Turn>,
    /// Calls that have no result yet, in order.
    unanswered: Vec<Unanswered>,
    dropped: Vec<String>,
}

#[derive(Debug)]
struct Unanswered {
    id: String,
    name: String,
}

/// Whose content it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    User,
    Model,
    System,
}

/// A part's place: of its content among the contents, and of the part inside.
#[derive(Clone, Copy, Debug)]
struct Place {
    content: usize,
    part: usize,
}

impl Conversation {
    /// Reads one entry of `contents`.
    pub(super) fn content(&mut self, raw: &RawValue, path: String, at: usize) -> Result<(), Refusal> {
        if let Ok(text) = serde_json::from_str::<String>(raw.get()) {
            self.turns.push(Turn::User(vec![Block::text(text)]));
            return Ok(());
        }
        let mut members = Members::of(raw, path)?;
        let side = match members.text("role")?.as_deref() {
            None | Some("" | "user" | "function" | "tool") => Side::User,
            Some("model" | "assistant") => Side::Model,
            Some("system") => Side::System,
            Some(_) => {
                return Err(Refusal::new(members.path_of("role"), "The role of a content is `user` or `model`."));
            }
        };
        let parts = members.list("parts")?;
        members.note_rest(&mut self.dropped);
        let mut blocks = self.begin(side);
        for (part, (raw, path)) in parts.into_iter().enumerate() {
            let place = Place { content: at, part };
            self.part(Members::of(raw, path)?, side, place, &mut blocks)?;
        }
        if !blocks.is_empty() {
            self.turns.push(match side {
                Side::User => Turn::User(blocks),
                Side::Model => Turn::Assistant(blocks),
                Side::System => Turn::System(blocks),
            });
        }
        Ok(())
    }

    /// The turns, and the names of what was left out.
    pub(super) fn finish(self) -> (Vec<Turn>, Vec<String>) {
        (self.turns, self.dropped)
    }

    /// The blocks that a content goes on with: those of the model's turn that it continues, else none.
    fn begin(&mut self, side: Side) -> Vec<Block> {
        if side == Side::Model
            && let Some(Turn::Assistant(blocks)) = self.turns.pop_if(|turn| matches!(turn, Turn::Assistant(_)))
        {
            return blocks;
        }
        Vec::new()
    }

    fn part(
        &mut self,
        mut part: Members<'_>,
        side: Side,
        place: Place,
        blocks: &mut Vec<Block>,
    ) -> Result<(), Refusal> {
        let signature = part.text("thoughtSignature")?.map_or(Signature::None, |text| seal::read(&text));
        let thought = part.flag("thought")? == Some(true);
        if let Some(call) = part.object("functionCall")? {
            self.call(call, signature, place, blocks)?;
        } else if let Some(response) = part.object("functionResponse")? {
            let result = self.result(response)?;
            blocks.push(Block::of(Body::ToolResult(result)));
        } else if let Some(text) = part.text("text")? {
            words(&text, thought, signature, side, blocks);
        } else if let Some(body) = self.media(&mut part)? {
            blocks.push(Block::of(body));
        } else if let Some(text) = fenced(&mut part)? {
            add_text(&text, side, blocks);
        } else if thought {
            words("", thought, signature, side, blocks);
        }
        part.note_rest(&mut self.dropped);
        Ok(())
    }

    // === Calls and results ===

    fn call(
        &mut self,
        mut call: Members<'_>,
        signature: Signature,
        place: Place,
        blocks: &mut Vec<Block>,
    ) -> Result<(), Refusal> {
        let Some(name) = call.text("name")? else { return Err(call.refusal("A call of a tool needs a `name`.")) };
        let args = call.take("args")?;
        let input = args.map_or("{}", RawValue::get).to_owned();
        if !input.starts_with('{') {
            return Err(Refusal::new(call.path_of("args"), "The `args` of a call must be a JSON object."));
        }
        let given = call.text("id")?.unwrap_or_default();
        let (own, carried) = carry::unpack(&given);
        let id = if own.is_empty() { format!("call_{}_{}", place.content, place.part) } else { own.to_owned() };
        restore(carried.thinking, blocks);
        let seal = match signature {
            Signature::None => carried.seal,
            Signature::Seal(seal) => Some(seal),
            Signature::Carried(on_call) => {
                restore(on_call.thinking, blocks);
                on_call.seal.or(carried.seal)
            }
        };
        call.note_rest(&mut self.dropped);
        self.unanswered.push(Unanswered { id: id.clone(), name: name.to_string() });
        blocks.push(Block::of(Body::ToolCall(ToolCall { id, name: name.into_owned(), input, custom: false, seal })));
        Ok(())
    }

    fn result(&mut self, mut response: Members<'_>) -> Result<ToolResult, Refusal> {
        let name = response.text("name")?;
        let given = response.text("id")?.unwrap_or_default();
        let Some(id) = self.answered(carry::unpack(&given).0, name.as_deref()) else {
            return Err(response.refusal("No call before this result has its `id` or its `name`: send the call too."));
        };
        let (text, is_error) = response.take("response")?.map(text_of_response).unwrap_or_default();
        let mut content = Vec::new();
        if !text.is_empty() {
            content.push(Block::text(text));
        }
        for (raw, path) in response.list("parts")? {
            let mut part = Members::of(raw, path)?;
            if let Some(text) = part.text("text")? {
                content.push(Block::text(text));
            }
            content.extend(self.media(&mut part)?.map(Block::of));
            part.note_rest(&mut self.dropped);
        }
        response.note_rest(&mut self.dropped);
        Ok(ToolResult { id, name: name.map(Into::into), content, is_error })
    }

    /// The id of the call that a result answers: the one it names, else the first unanswered one of the tool's name.
    fn answered(&mut self, given: &str, name: Option<&str>) -> Option<String> {
        let by_id = self.unanswered.iter().position(|call| !given.is_empty() && call.id == given);
        let by_name = || self.unanswered.iter().position(|call| Some(call.name.as_str()) == name);
        if let Some(at) = by_id.or_else(by_name) {
            return Some(self.unanswered.remove(at).id);
        }
        // A second result for a call, or one whose call the client cut off: its id is all there is.
        (!given.is_empty()).then(|| given.to_owned())
    }

    // === Media ===

    fn media(&mut self, part: &mut Members<'_>) -> Result<Option<Body>, Refusal> {
        if let Some(mut blob) = part.object("inlineData")? {
            let media_type = blob.text("mimeType")?.unwrap_or_default().to_ascii_lowercase();
            let Some(data) = blob.text("data")? else {
                return Err(blob.refusal("`inlineData` needs `data` in base64."));
            };
            if media_type.is_empty() {
                return Err(blob.refusal("`inlineData` needs a `mimeType`."));
            }
            let name = blob.text("displayName")?.map(Into::into);
            blob.note_rest(&mut self.dropped);
            return Ok(Some(inline(media_type, &data, name)));
        }
        let Some(mut file) = part.object("fileData")? else { return Ok(None) };
        let media_type = file.text("mimeType")?.map(|text| text.to_ascii_lowercase()).filter(|text| !text.is_empty());
        let Some(uri) = file.text("fileUri")?.filter(|uri| !uri.is_empty()) else {
            return Err(file.refusal("`fileData` needs a `fileUri`."));
        };
        let name = file.text("displayName")?.map(Into::into);
        file.note_rest(&mut self.dropped);
        Ok(Some(by_uri(&uri, media_type, name)))
    }
}

fn inline(media_type: String, data: &str, name: Option<String>) -> Body {
    let plain = if media_type == "text/plain" { seal::decode(data) } else { None };
    let source = match plain.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Source::Text(text),
        None => Source::Base64 { media_type: media_type.clone(), data: seal::standard(data).into_owned() },
    };
    media::block(&media_type, Media { source, name, detail: None })
}

fn by_uri(uri: &str, media_type: Option<String>, name: Option<String>) -> Body {
    let told = media_type.as_deref().or_else(|| media::media_type_of(uri));
    let kind = if media::is_video_page(uri) { "video/mp4" } else { told.unwrap_or_default() }.to_owned();
    let source = if is_googles_file(uri) {
        Source::File { maker: Maker::Google, id: uri.to_owned() }
    } else {
        Source::Url { url: uri.to_owned(), media_type }
    };
    media::block(&kind, Media { source, name, detail: None })
}

/// Whether only Google can read what stands there: its cloud storage, or the Files API.
fn is_googles_file(uri: &str) -> bool {
    let files_api = uri.starts_with("https://generativelanguage.googleapis.com/") && uri.contains("/files/");
    uri.starts_with("gs://") || uri.starts_with("files/") || files_api
}

/// The text of a tool's result, and whether it says that the tool failed. The wrappers that SDKs put around plain
/// results go.
fn text_of_response(raw: &RawValue) -> (String, bool) {
    let whole = || (raw.get().to_owned(), false);
    let Ok(mut members) = Members::of(raw, "response".to_owned()) else { return whole() };
    let mut rest = members.remaining();
    let (Some((key, value)), true) = (rest.pop(), rest.is_empty()) else { return whole() };
    let is_error = match &*key {
        "error" => true,
        "result" | "output" => false,
        _ => return whole(),
    };
    let text = serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned());
    (text, is_error)
}

// === Words and thoughts ===

/// Words of the model: a signature on a thought is the thought's, on other words a thought that follows them.
fn words(text: &str, thought: bool, signature: Signature, side: Side, blocks: &mut Vec<Block>) {
    if side != Side::Model {
        return add_text(text, side, blocks);
    }
    let seal = match signature {
        Signature::Seal(seal) => Some(seal),
        Signature::Carried(carried) => {
            restore(carried.thinking, blocks);
            None
        }
        Signature::None => None,
    };
    if thought {
        return add_thought(text, seal, blocks);
    }
    add_text(text, side, blocks);
    if seal.is_some() {
        blocks.push(Block::of(Body::Thinking(Thinking { text: String::new(), seal })));
    }
}

fn add_text(text: &str, side: Side, blocks: &mut Vec<Block>) {
    match blocks.last_mut().map(|block| &mut block.body) {
        _ if text.is_empty() => {}
        Some(Body::Text(last)) if side == Side::Model => last.push_str(text),
        _ => blocks.push(Block::text(text)),
    }
}

fn add_thought(text: &str, seal: Option<Seal>, blocks: &mut Vec<Block>) {
    let redacted = seal.as_ref().is_some_and(|seal| seal.redacted);
    match blocks.last_mut().map(|block| &mut block.body) {
        Some(Body::Thinking(open)) if open.seal.is_none() && !redacted => {
            open.text.push_str(text);
            open.seal = seal;
        }
        _ if text.is_empty() && seal.is_none() => {}
        _ => blocks.push(Block::of(Body::Thinking(Thinking { text: text.to_owned(), seal }))),
    }
}

/// Puts back thoughts that a call carried, unless the client kept them itself; one that lost its seal alone gets it
/// back.
fn restore(thoughts: Vec<Thinking>, blocks: &mut Vec<Block>) {
    for thought in thoughts {
        let mut native = blocks.iter_mut().filter_map(|block| match &mut block.body {
            Body::Thinking(native) => Some(native),
            _ => None,
        });
        let kept = native.find(|native| {
            native.seal == thought.seal
                || (native.seal.is_none() && native.text == thought.text && !native.text.is_empty())
        });
        match kept {
            Some(native) => native.seal = thought.seal,
            None => blocks.push(Block::of(Body::Thinking(thought))),
        }
    }
}

/// Code that Google ran for an earlier answer, and what it printed: words to every other model.
fn fenced(part: &mut Members<'_>) -> Result<Option<String>, Refusal> {
    let code = part.take("executableCode")?.and_then(|raw| serde_json::from_str::<answer::Code<'_>>(raw.get()).ok());
    let outcome = part.take("codeExecutionResult")?;
    let outcome = outcome.and_then(|raw| serde_json::from_str::<answer::Outcome<'_>>(raw.get()).ok());
    Ok(answer::Part { executable_code: code, code_execution_result: outcome, ..answer::Part::default() }.fenced())
}
