//! Bedrock's surface: Converse whole and as a binary stream, with bearer keys or signed requests.
//!
//! Shapes and words: Bedrock Runtime API reference (read 2026-11). Members nobody knows are not refused there, so they are
//! noted as breaches of manners.

mod answer;
mod conversation;
mod frame;
mod refusal;
mod sha256;
mod signature;
mod tables;

pub(super) use answer::breakdown;
pub(super) use refusal::{failure, invalid, quota};

use super::Site;
use super::fault::Directives;
use super::plan::{Choice, Format, Question, Speech, Tool};
use super::shape::{Breach, Spelling, Step, Wrong};
use super::surface::{Asked, Call, Denial, Script, Seen, Work, bearer};
use super::truth::unix_ms;
use super::wire::Head;
use answer::Frame;
use refusal::denial;
use serde_json::Value;
use std::io::Write as _;

/// Whether a path is one of Bedrock's.
pub(super) fn claims(head: &Head) -> bool {
    head.path().starts_with("/model/")
}

/// The bearer key, or the id of the access key that signed.
pub(super) fn key(head: &Head) -> Option<&str> {
    bearer(head).or_else(|| signature::read(head).map(|signed| signed.id))
}

/// Decides what a request asks for: key, path, body, model.
pub(super) fn read(call: &Call<'_>, seen: &mut Seen) -> Result<Asked, Denial> {
    let (site, head) = (call.site, call.head);
    let body = call.object();
    let parts = head.path().strip_prefix("/model/").and_then(|rest| rest.split_once('/'));
    let model = parts.and_then(|(model, _)| decoded(model));
    let verb = parts.map_or("", |(_, verb)| verb);
    seen.model.clone_from(&model);
    seen.stream = verb == "converse-stream";
    check_key(call)?;
    let (Some(model), "POST", "converse" | "converse-stream") = (model, head.method.as_str(), verb) else {
        return Err(denial(404, "UnknownOperationException", "The requested operation does not exist."));
    };
    let Some(body) = body.filter(|_| call.says_json()) else {
        return Err(denial(400, "SerializationException", "The body is not a JSON object."));
    };
    let body = fit(call, body)?;
    if !site.knows_model(&model) {
        return Err(invalid("The provided model identifier is invalid."));
    }
    converse(call, &model, &body, seen.stream)
}

/// A percent-decoded step of a path.
fn decoded(step: &str) -> Option<String> {
    let mut out = Vec::with_capacity(step.len());
    let mut rest = step.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(more.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &more[2..];
    }
    String::from_utf8(out).ok()
}

fn check_key(call: &Call<'_>) -> Result<(), Denial> {
    let head = call.head;
    if bearer(head).is_some() {
        return match call.key_accepted && call.key.starts_with("ABSK") {
            true => Ok(()),
            false => {
                let message = "Authentication failed: Please make sure your API Key is valid.";
                Err(denial(403, "AccessDeniedException", message))
            }
        };
    }
    if head.field("authorization").is_none() {
        return Err(denial(403, "MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    let Some(signed) = signature::read(head) else {
        let message = "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters.";
        return Err(denial(403, "IncompleteSignatureException", message));
    };
    let secret = call.site.secrets.iter().find(|(id, _)| id == signed.id).map(|(_, secret)| secret.as_str());
    if !call.key_accepted || (secret.is_none() && !call.site.secrets.is_empty()) {
        let message = "The security token included in the request is invalid.";
        return Err(denial(403, "UnrecognizedClientException", message));
    }
    let checked = signed.check(head, call.body, secret, unix_ms() / 1000);
    checked.map_err(|(kind, message)| denial(403, kind, &message))
}

/// Unknown members noted before the whole is refused.
const UNKNOWN_MAX: usize = 20;

/// Checks a body; what nobody knows is taken out and noted.
fn fit(call: &Call<'_>, mut body: Value) -> Result<Value, Denial> {
    for _ in 0..UNKNOWN_MAX {
        match tables::CONVERSE.check(&body, Spelling::Exact) {
            Ok(body) => return Ok(body),
            Err(Breach { path, wrong }) if *wrong == Wrong::Unknown => {
                let name = path.iter().map(|step| match step {
                    Step::Member(name) => name.clone(),
                    Step::Item(position) => position.to_string(),
                    Step::Tag(_) => String::new(),
                });
                let pointer = name
                    .fold(String::new(), |all, step| format!("{all}/{}", step.replace('~', "~0").replace('/', "~1")));
                call.truth().violate(call.connection, "unknown-field", pointer.as_str());
                let (above, name) = pointer.rsplit_once('/').unwrap_or(("", ""));
                let name = name.replace("~1", "/").replace("~0", "~");
                if let Some(members) = body.pointer_mut(above).and_then(Value::as_object_mut) {
                    members.remove(&name);
                }
            }
            Err(found) => return Err(refusal::breach(&found)),
        }
    }
    Err(denial(400, "SerializationException", "Too many fields that nobody knows."))
}

fn converse(call: &Call<'_>, model: &str, body: &Value, stream: bool) -> Result<Asked, Denial> {
    let more = &body["additionalModelRequestFields"];
    let claude = model.contains("anthropic.");
    let unknown = |name: &&String| !tables::CLAUDE_FIELDS.contains(&name.as_str());
    if let Some(name) = more.as_object().into_iter().flat_map(|all| all.keys()).find(unknown).filter(|_| claude) {
        return Err(invalid(&format!(
            "The model returned the following errors: {name}: Extra inputs are not permitted"
        )));
    }
    let thinks = claude && matches!(more["thinking"]["type"].as_str(), Some("enabled" | "adaptive" | "between_tools"));
    let conversation = conversation::check(body, thinks)?;
    let tools = tools(body)?;
    let choice = choice(body, &tools, thinks)?;
    let schema = schema(body)?;
    let directives = Directives::first_of(&[&conversation.last_user]);
    let directives = directives.map_err(|reason| invalid(&format!("sim: {reason}")))?;
    let config = &body["inferenceConfig"];
    let most = config["maxTokens"].as_u64().map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    let mut question = Question {
        seed: conversation.digest,
        last_user: &conversation.last_user,
        after_tool: conversation.after_tool,
        tools,
        choice,
        parallel: true,
        format: schema.as_ref().map_or(Format::Words, Format::Schema),
        tokens_max: most,
        stops: config["stopSequences"].as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        thinks,
    };
    let thought = Speech::of(&question, &directives, 0).thought_tokens();
    question.tokens_max = most.map(|most| most.saturating_sub(if thinks { thought } else { 0 }).max(1));
    let said = Speech::of(&question, &directives, call.tokens);
    let prompt_tokens = u32::try_from(conversation.text_bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1);
    let cached = directives.cached.min(prompt_tokens);
    let written = directives.written.min(prompt_tokens - cached);
    let told = answer::told(&said, &Frame { seed: conversation.digest, prompt_tokens, cached, written }, stream);
    let script = Script::Told(told);
    Ok(Asked::Work(Box::new(Work { model: model.to_owned(), stream, prompt_tokens, directives, script })))
}

fn tools(body: &Value) -> Result<Vec<Tool<'_>>, Denial> {
    let Some(config) = body.get("toolConfig") else { return Ok(Vec::new()) };
    let offered = config["tools"].as_array().map_or(&[][..], Vec::as_slice);
    if offered.is_empty() {
        return Err(invalid(
            "1 validation error detected: Value '[]' at 'toolConfig.tools' failed to satisfy constraint: Member must have \
             length greater than or equal to 1",
        ));
    }
    let mut found: Vec<Tool<'_>> = Vec::new();
    for (position, tool) in offered.iter().enumerate() {
        let Some(spec) = tool.get("toolSpec") else { continue };
        let name = spec["name"].as_str().unwrap_or_default();
        let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if name.is_empty() || name.len() > 64 || !letters {
            return Err(invalid(&format!(
                "1 validation error detected: Value '{name}' at 'toolConfig.tools.{}.member.toolSpec.name' failed to satisfy \
                 constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+",
                position + 1
            )));
        }
        if spec["inputSchema"]["json"]["type"] != "object" {
            return Err(invalid(&format!(
                "The value at toolConfig.tools.{position}.toolSpec.inputSchema.json.type must be one of the following: object."
            )));
        }
        if found.iter().any(|known| known.name == name) {
            return Err(invalid(&format!("The tool name {name} at toolConfig.tools.{position} is not unique.")));
        }
        found.push(Tool { name, schema: &spec["inputSchema"]["json"], custom: false });
    }
    Ok(found)
}

fn choice<'a>(body: &'a Value, tools: &[Tool<'_>], thinks: bool) -> Result<Choice<'a>, Denial> {
    let choice = &body["toolConfig"]["toolChoice"];
    let forced = choice.get("any").is_some() || choice.get("tool").is_some();
    if choice.as_object().is_some_and(|kinds| kinds.len() != 1) {
        return Err(invalid("The toolChoice field must set exactly one of the following keys: auto, any, tool."));
    }
    if forced && thinks {
        return Err(invalid(
            "The model returned the following errors: Thinking may not be enabled when tool_choice forces tool use.",
        ));
    }
    match choice["tool"]["name"].as_str() {
        Some(name) if tools.iter().any(|tool| tool.name == name) => Ok(Choice::Named(name)),
        Some(name) => Err(invalid(&format!("The tool {name} in toolChoice is not in the tools of toolConfig."))),
        None if forced => Ok(Choice::Any),
        None => Ok(Choice::Auto),
    }
}

/// The schema of the answer, which travels as text.
fn schema(body: &Value) -> Result<Option<Value>, Denial> {
    let Some(text) = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"].as_str() else {
        return Ok(None);
    };
    serde_json::from_str(text).map(Some).map_err(|_| invalid("The JSON schema in outputConfig is not valid JSON."))
}

/// The id of a request.
pub(super) fn request_id(site: &Site, sequence: u64) -> String {
    format!("{:08x}-0000-4000-9000-{sequence:012x}", site.seed)
}

/// The fields of every answer.
pub(super) fn head(out: &mut Vec<u8>, site: &Site, sequence: u64) {
    let _ = write!(out, "x-amzn-requestid: {}\r\n", request_id(site, sequence));
}
