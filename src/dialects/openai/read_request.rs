//! A client's chat request, read into the inner language.
//!
//! Every documented member is known here: it becomes a word of the inner language, or it is of no effect on the answer and goes silently, or
//! it is noted as dropped. What is not known is noted as dropped too. Wrong types, and meanings without a word, are refused by their path.
//!
//! Source: OpenAI's chat completion reference, read 2026-11, and the extensions that compatible servers and SDKs share (`top_k`, `thinking`,
//! `reasoning_content`, `cache_control`).

use super::member::{self, Path};
use super::{read_message, read_tool};
use crate::chat::request::{AudioOut, Effort, Format, Refusal, Request, Tool, ToolChoice};
use serde_json::{Map, Value};

/// Reads a request.
pub(super) fn read(body: &[u8]) -> Result<Request, Refusal> {
    let Ok(map) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return Err(Refusal::new("", "The body must be one JSON object: serialise it with a JSON library."));
    };
    let mut draft = Draft::default();
    let root = Path::Root;
    for (name, value) in member::given(map) {
        draft.member(&name, value, &root.member(&name))?;
    }
    draft.done()
}

/// A request while its members come in, with those that only make sense together.
#[derive(Default)]
struct Draft {
    request: Request,
    messages_seen: bool,
    max_tokens: Option<u64>,
    logprobs: bool,
    top_logprobs: Option<u64>,
    wants_sound: bool,
    user: Option<String>,
    functions: Vec<Tool>,
    function_call: Option<ToolChoice>,
}

// === impl Draft ===

impl Draft {
    fn member(&mut self, name: &str, value: Value, at: &Path<'_>) -> Result<(), Refusal> {
        let request = &mut self.request;
        match name {
            // The gateway's own business, or without effect on the answer.
            "model" | "stream_options" | "metadata" | "prompt_cache_options" | "prompt_cache_retention" => {}
            "messages" => {
                self.messages_seen = true;
                read_message::read(member::array(value, at)?, at, request)?;
            }
            "tools" => request.tools = read_tool::tools(member::array(value, at)?, at)?,
            "tool_choice" => request.tool_choice = Some(read_tool::choice(value, at)?),
            "functions" => self.functions = read_tool::functions(member::array(value, at)?, at)?,
            "function_call" => self.function_call = Some(read_tool::function_choice(value, at)?),
            "parallel_tool_calls" => request.parallel_tools = Some(member::flag(&value, at)?),
            "max_completion_tokens" => request.output_max = Some(member::count(&value, at)?),
            "max_tokens" => self.max_tokens = Some(member::count(&value, at)?),
            "stop" => request.stop = stops(value, at)?,
            "n" => request.choices = Some(choices(&value, at)?),
            "logprobs" => self.logprobs = member::flag(&value, at)?,
            "top_logprobs" => self.top_logprobs = Some(member::count(&value, at)?),
            "response_format" => request.format = format(value, at)?,
            "reasoning_effort" => request.reasoning.effort = Some(effort(value, at)?),
            "thinking" => self.thinking(value, at)?,
            "verbosity" => request.verbosity = Some(member::text(value, at)?),
            "audio" => request.audio = Some(AudioOut { raw: Value::Object(member::object(value, at)?) }),
            "modalities" => self.modalities(value, at)?,
            "user" => self.user = Some(member::text(value, at)?),
            "safety_identifier" => request.user = Some(member::text(value, at)?),
            "service_tier" => request.service_tier = Some(member::text(value, at)?),
            "prompt_cache_key" => request.prompt_cache_key = Some(member::text(value, at)?),
            "safety_settings" | "safety" => request.safety = Some(Value::Array(member::array(value, at)?)),
            "stream" => request.stream = member::flag(&value, at)?,
            "store" if value == Value::Bool(false) => {}
            _ => self.sampling(name, value, at)?,
        }
        Ok(())
    }

    fn sampling(&mut self, name: &str, value: Value, at: &Path<'_>) -> Result<(), Refusal> {
        let sampling = &mut self.request.sampling;
        match name {
            "temperature" => sampling.temperature = Some(member::number(&value, at)?),
            "top_p" => sampling.top_p = Some(member::number(&value, at)?),
            "top_k" => sampling.top_k = Some(member::count(&value, at)?),
            "frequency_penalty" => sampling.frequency_penalty = Some(member::number(&value, at)?),
            "presence_penalty" => sampling.presence_penalty = Some(member::number(&value, at)?),
            "seed" => sampling.seed = Some(member::integer(&value, at)?),
            "logit_bias" => sampling.logit_bias = Some(Value::Object(member::object(value, at)?)),
            _ => self.request.dropped.push(name.to_owned()),
        }
        Ok(())
    }

    /// `{"type":"enabled","budget_tokens":2048}`, as several vendors and gateways take it.
    fn thinking(&mut self, value: Value, at: &Path<'_>) -> Result<(), Refusal> {
        let reasoning = &mut self.request.reasoning;
        for (name, value) in member::given(member::object(value, at)?) {
            let here = at.member(&name);
            match name.as_str() {
                "type" => {
                    reasoning.enabled = match member::text(value, &here)?.as_str() {
                        "enabled" => Some(true),
                        "disabled" => Some(false),
                        "adaptive" | "auto" => None,
                        _ => return Err(here.refuse("Use `enabled`, `disabled` or `adaptive`.")),
                    }
                }
                "budget_tokens" => reasoning.budget = Some(member::count(&value, &here)?),
                _ => self.request.dropped.push(format!("thinking.{name}")),
            }
        }
        Ok(())
    }

    fn modalities(&mut self, value: Value, at: &Path<'_>) -> Result<(), Refusal> {
        for (index, item) in member::array(value, at)?.into_iter().enumerate() {
            match member::text(item, &at.item(index))?.as_str() {
                "text" => {}
                "audio" => self.wants_sound = true,
                _ => self.request.dropped.push("modalities".to_owned()),
            }
        }
        Ok(())
    }

    fn done(self) -> Result<Request, Refusal> {
        let mut request = self.request;
        if !self.messages_seen {
            return Err(Refusal::new("messages", "`messages` is missing: send the conversation as an array."));
        }
        if self.wants_sound && request.audio.is_none() {
            return Err(Refusal::new("audio", "`modalities` asks for audio: send `audio` with a voice and a format."));
        }
        request.output_max = request.output_max.or(self.max_tokens);
        request.user = request.user.or(self.user);
        request.tool_choice = request.tool_choice.or(self.function_call);
        request.tools.extend(self.functions);
        if self.logprobs {
            request.logprobs = Some(u32::try_from(self.top_logprobs.unwrap_or(0)).unwrap_or(u32::MAX));
        }
        Ok(request)
    }
}

// === Single members ===

fn stops(value: Value, at: &Path<'_>) -> Result<Vec<String>, Refusal> {
    match value {
        Value::String(stop) => Ok(vec![stop]),
        Value::Array(items) => {
            items.into_iter().enumerate().map(|(index, item)| member::text(item, &at.item(index))).collect()
        }
        _ => Err(at.refuse("`stop` must be a string or an array of strings.")),
    }
}

fn choices(value: &Value, at: &Path<'_>) -> Result<u32, Refusal> {
    let wanted = member::count(value, at)?;
    match u32::try_from(wanted) {
        Ok(wanted @ 1..=128) => Ok(wanted),
        _ => Err(at.refuse("`n` must be between 1 and 128.")),
    }
}

fn effort(value: Value, at: &Path<'_>) -> Result<Effort, Refusal> {
    let word = member::text(value, at)?;
    Effort::parse(&word)
        .ok_or_else(|| at.refuse("Use one of `none`, `minimal`, `low`, `medium`, `high`, `xhigh` and `max`."))
}

fn format(value: Value, at: &Path<'_>) -> Result<Format, Refusal> {
    let mut map = member::object(value, at)?;
    match member::needed_text(&mut map, "type", at)?.as_str() {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let here = at.member("json_schema");
            let mut inside = member::object(map.get_mut("json_schema").map(Value::take).unwrap_or_default(), &here)?;
            let schema_at = here.member("schema");
            let schema = match inside.get_mut("schema").map(Value::take).unwrap_or_default() {
                Value::Null => Map::new(),
                schema => member::object(schema, &schema_at)?,
            };
            Ok(Format::JsonSchema {
                name: member::optional_text(&mut inside, "name", &here)?.unwrap_or_default(),
                description: member::optional_text(&mut inside, "description", &here)?,
                schema: Value::Object(schema),
                strict: inside.get("strict").and_then(Value::as_bool),
            })
        }
        _ => Err(at.member("type").refuse("Use `text`, `json_object` or `json_schema`.")),
    }
}
