//! A conversation as Gemini checks it: roles, parts, responses that follow their calls, and the signatures of thoughts.

use super::models::Caps;
use super::refusal::invalid;
use super::tables::PART_DATA;
use crate::simulator::seal;
use crate::simulator::surface::Denial;
use crate::simulator::text::{digest_value, mix};
use serde_json::Value;

/// What the answer depends on.
pub(super) struct Conversation {
    /// Digest of contents, system instruction and seed.
    pub(super) digest: u64,
    /// Bytes of all text, arguments and responses.
    pub(super) text_bytes: usize,
    /// The text of the last user turn that has any.
    pub(super) last_user: String,
    /// Whether the last turn answers calls of functions.
    pub(super) after_tool: bool,
}

/// The word by which a history from elsewhere asks to be let through, and its base64.
const SKIP: &str = "skip_thought_signature_validator";
const SKIP_BASE64: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// Checks the contents of a request that fits the tables.
///
/// # Errors
/// The 400 that Gemini would send.
pub(super) fn check(body: &Value, caps: Caps) -> Result<Conversation, Denial> {
    let no_contents = Vec::new();
    let contents = body["contents"].as_array().unwrap_or(&no_contents);
    if contents.is_empty() {
        return Err(invalid("* GenerateContentRequest.contents: contents is not specified\n"));
    }
    for (position, content) in contents.iter().enumerate() {
        check_content(&format!("contents[{position}]"), content)?;
    }
    if let Some(system) = body.get("systemInstruction") {
        check_parts("system_instruction", system)?;
    }
    let turns = turns(contents);
    pair_calls(&turns)?;
    check_signatures(&turns, caps)?;
    let last = turns.last();
    if last.is_some_and(|turn| turn.model) {
        return Err(invalid("Please ensure that multiturn requests end with a user role or a function response."));
    }
    let seed = digest_value(&body["generationConfig"]["seed"]);
    let digest = mix(mix(digest_value(&body["contents"]), digest_value(&body["systemInstruction"])), seed);
    let said: Vec<String> = turns.iter().filter(|turn| !turn.model).map(Turn::text).collect();
    let all = contents.iter().chain(body.get("systemInstruction"));
    Ok(Conversation {
        digest,
        text_bytes: all.flat_map(parts).map(part_bytes).sum(),
        last_user: said.into_iter().rev().find(|text| !text.is_empty()).unwrap_or_default(),
        after_tool: last.is_some_and(|turn| turn.has("functionResponse")),
    })
}

/// Checks a content that is not part of a conversation.
pub(super) fn check_parts(at: &str, content: &Value) -> Result<(), Denial> {
    if parts(content).next().is_none() {
        return Err(invalid(&format!("* GenerateContentRequest.{at}.parts: contents.parts must not be empty.\n")));
    }
    for (position, part) in parts(content).enumerate() {
        let found: Vec<_> = PART_DATA.iter().filter(|name| part.get(**name).is_some()).collect();
        match found[..] {
            [] => {
                return Err(invalid(&format!(
                    "* GenerateContentRequest.{at}.parts[{position}].data: required oneof field 'data' must have one \
                     initialized field\n"
                )));
            }
            [_] => {}
            [_, second, ..] => {
                return Err(invalid(&format!(
                    "Invalid value at '{at}.parts[{position}]' (oneof), oneof field 'data' is already set. Cannot set \
                     '{second}'"
                )));
            }
        }
        if part["inlineData"]["data"].as_str().is_some_and(|data| seal::unbase64(data).is_none()) {
            return Err(invalid(&format!(
                "Invalid value at '{at}.parts[{position}].inline_data.data' (TYPE_BYTES), Base64 decoding failed"
            )));
        }
    }
    Ok(())
}

fn check_content(at: &str, content: &Value) -> Result<(), Denial> {
    match content["role"].as_str() {
        None | Some("user" | "model" | "function") => {}
        Some(_) => return Err(invalid("Please use a valid role: user, model.")),
    }
    check_parts(at, content)?;
    for part in parts(content) {
        for kind in ["functionCall", "functionResponse"] {
            if part.get(kind).is_some_and(|inner| inner["name"].as_str().unwrap_or_default().is_empty()) {
                let kind = if kind == "functionCall" { "function_call" } else { "function_response" };
                return Err(invalid(&format!(
                    "* GenerateContentRequest.{at}.parts[0].{kind}.name: Name cannot be empty.\n"
                )));
            }
        }
        if part.get("functionResponse").is_some_and(|inner| inner.get("response").is_none()) {
            return Err(invalid(&format!(
                "* GenerateContentRequest.{at}.parts[0].function_response.response: must be set\n"
            )));
        }
    }
    Ok(())
}

/// Consecutive contents of one role.
struct Turn<'a> {
    model: bool,
    parts: Vec<&'a Value>,
}

impl Turn<'_> {
    fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.get(name).is_some())
    }

    fn all(&self, name: &str) -> Vec<&Value> {
        self.parts.iter().filter_map(|part| part.get(name)).collect()
    }

    fn text(&self) -> String {
        self.parts.iter().filter_map(|part| part["text"].as_str()).collect()
    }
}

fn turns(contents: &[Value]) -> Vec<Turn<'_>> {
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for content in contents {
        let model = content["role"] == "model";
        match turns.last_mut().filter(|turn| turn.model == model) {
            Some(turn) => turn.parts.extend(parts(content)),
            None => turns.push(Turn { model, parts: parts(content).collect() }),
        }
    }
    turns
}

/// Every call turn is followed by as many responses, of the same names, in whatever order their ids allow.
fn pair_calls(turns: &[Turn<'_>]) -> Result<(), Denial> {
    for (position, turn) in turns.iter().enumerate() {
        let before = position.checked_sub(1).map(|at| &turns[at]);
        if turn.model {
            if turn.has("functionCall") && before.is_none() {
                let message = "Please ensure that function call turn comes immediately after a user turn or after a \
                               function response turn.";
                return Err(invalid(message));
            }
            continue;
        }
        let calls = before.map(|turn| turn.all("functionCall")).unwrap_or_default();
        let responses = turn.all("functionResponse");
        if calls.is_empty() && !responses.is_empty() {
            return Err(invalid(
                "Please ensure that function response turn comes immediately after a function call turn.",
            ));
        }
        if calls.len() != responses.len() {
            let message = "Please ensure that the number of function response parts is equal to the number of function \
                           call parts of the function call turn.";
            return Err(invalid(message));
        }
        for (at, call) in calls.iter().enumerate() {
            let same_id = |response: &&&Value| call.get("id").is_some() && response["id"] == call["id"];
            let response = responses.iter().find(same_id).unwrap_or(&responses[at]);
            if response["name"] != call["name"] {
                return Err(invalid(&format!(
                    "Please ensure that function response {} has the name of its function call {}.",
                    response["name"], call["name"]
                )));
            }
            if response.get("id").is_some() && call.get("id").is_some() && response["id"] != call["id"] {
                return Err(invalid(&format!(
                    "Function response id {} does not match function call id {}.",
                    response["id"], call["id"]
                )));
            }
        }
    }
    Ok(())
}

/// What the signature of a call is put on; no arguments are an empty object, as protobuf has it.
pub(super) fn call_text(name: &str, args: &Value) -> String {
    let empty = Value::Object(serde_json::Map::new());
    format!("{name} {:016x}", digest_value(if args.is_null() { &empty } else { args }))
}

/// What signatures are made for.
pub(super) const CALL_PURPOSE: &str = "gemini call";
pub(super) const TEXT_PURPOSE: &str = "gemini text";

/// Signatures must be whole wherever they are, and since the last user's words the first call of each turn must have one.
fn check_signatures(turns: &[Turn<'_>], caps: Caps) -> Result<(), Denial> {
    let started = turns.iter().rposition(|turn| !turn.model && !turn.has("functionResponse")).unwrap_or(0);
    let mut place = 0;
    for (position, turn) in turns.iter().enumerate() {
        let mut first = true;
        for part in &turn.parts {
            place += 1;
            let call = part.get("functionCall");
            match part["thoughtSignature"].as_str().filter(|mark| !mark.is_empty()) {
                Some(SKIP | SKIP_BASE64) => {}
                Some(mark) => {
                    let whole = match call {
                        Some(call) => {
                            let text = call_text(call["name"].as_str().unwrap_or_default(), &call["args"]);
                            seal::is_sealed(CALL_PURPOSE, &text, mark)
                        }
                        None => seal::unwrap(TEXT_PURPOSE, mark).is_some(),
                    };
                    if !whole {
                        return Err(invalid("Corrupted thought signature."));
                    }
                }
                None if call.is_some() && first && caps.signs && position > started => {
                    let name = part["functionCall"]["name"].as_str().unwrap_or_default();
                    return Err(invalid(&format!(
                        "Function call is missing a thought_signature in functionCall parts. This is required for tools \
                         to work correctly, and missing thought_signature may lead to degraded model performance. \
                         Additional data, function call `default_api:{name}` , position {place}. Please refer to \
                         https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
                    )));
                }
                None => {}
            }
            first &= call.is_none();
        }
    }
    Ok(())
}

fn parts(content: &Value) -> impl Iterator<Item = &Value> {
    content["parts"].as_array().into_iter().flatten()
}

/// Bytes of a part that a model reads.
pub(super) fn part_bytes(part: &Value) -> usize {
    let json = |value: &Value| if value.is_null() { 0 } else { value.to_string().len() };
    part["text"].as_str().map_or(0, str::len)
        + json(&part["functionCall"]["args"])
        + json(&part["functionResponse"]["response"])
}

/// Bytes of a content that a model reads.
pub(super) fn content_bytes(content: &Value) -> usize {
    parts(content).map(part_bytes).sum()
}
