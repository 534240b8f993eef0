//! A chat request as OpenAI checks it: every field known, of its type and in its range, before anything is answered.
//!
//! Fields and limits: OpenAI API reference, chat completions, and the official Python client (both read 2026-11).

use super::messages;
use super::refusal::Refusal;
use crate::simulator::fault::Directives;
use crate::simulator::members::Members;
use crate::simulator::text::{digest_value, mix};
use serde_json::Value;
use std::fmt;

/// What kind of answer a request gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Words.
    Text,
    /// One JSON text (`response_format`).
    Json(String),
    /// Calls of tools: name, argument text, and whether the tool is a `custom` one.
    Calls(Vec<(String, String, bool)>),
}

/// A chat request that passed every check, reduced to what its answer depends on.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The model asked for; echoed.
    pub model: String,
    /// Whether the answer is a stream.
    pub stream: bool,
    /// `stream_options.include_usage`.
    pub include_usage: bool,
    /// `n`: answers wanted.
    pub choices: u32,
    /// `max_completion_tokens` or `max_tokens`.
    pub tokens_max: Option<u32>,
    /// Digest of messages, `seed` and `n`; every identifier and word of the answer follows from it. What a gateway may
    /// rewrite on the way (model, stream options) is no part of it.
    pub seed: u64,
    /// A quarter of the bytes of all message text, rounded up.
    pub prompt_tokens: u32,
    /// What the request asks of the simulator itself.
    pub directives: Directives,
    /// What kind of answer it gets.
    pub reply: Reply,
}

/// A body that is a JSON object, before its fields are checked.
pub struct Body(Members);

impl Body {
    /// Parses a request body.
    ///
    /// # Errors
    /// A 400 in OpenAI's words where it is not one JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(bytes).map(Self).map_err(|_| Refusal::not_json())
    }

    /// Names the model in place of what the body says.
    pub(in crate::simulator) fn name_model(&mut self, model: &str) {
        self.0.0.retain(|(name, _)| name != "model");
        self.0.0.push(("model".into(), model.into()));
    }

    /// The value of a top-level field; null counts as absent.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// The model, if the request names one.
    pub fn model(&self) -> Option<&str> {
        self.field("model").and_then(Value::as_str)
    }

    /// What this body shows of a careless sender: repeated top-level fields, fields that are the gateway's own.
    pub fn violations(&self) -> Vec<(&'static str, String)> {
        self.0.violations()
    }

    /// Checks every field and reduces the request to what its answer depends on.
    ///
    /// # Errors
    /// The 400 that OpenAI would send.
    pub fn check(&self) -> Result<ChatRequest, Refusal> {
        for (name, value) in &self.0.0 {
            let Some((_, shape)) = FIELDS.iter().find(|(known, _)| known == name) else {
                return Err(Refusal::unknown_parameter(name));
            };
            shape.check(name, value)?;
        }
        let model = self.model().ok_or_else(|| Refusal::invalid(None, "", "you must provide a model parameter"))?;
        let messages = self.field("messages").and_then(Value::as_array).ok_or_else(|| Refusal::missing("messages"))?;
        let conversation = messages::check(messages)?;
        self.check_model_limits(model)?;
        let stream = self.truth("stream");
        if self.field("stream_options").is_some() && !stream {
            let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
            return Err(Refusal::invalid(None, "stream_options", message));
        }
        let reply = super::reply::choose(self, &conversation)?;
        super::nested::check(self)?;
        let choices = self.count("n").unwrap_or(1);
        let seed = self.field("seed").map_or(0, digest_value);
        Ok(ChatRequest {
            model: model.to_owned(),
            stream,
            include_usage: self.include_usage(),
            choices,
            tokens_max: self.count("max_completion_tokens").or_else(|| self.count("max_tokens")),
            seed: mix(mix(conversation.digest, seed), choices.into()),
            prompt_tokens: u32::try_from(conversation.text_bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1),
            directives: self.directives(&conversation.last_user)?,
            reply,
        })
    }

    /// A field that is `true`.
    pub(super) fn truth(&self, name: &str) -> bool {
        self.field(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn count(&self, name: &str) -> Option<u32> {
        self.field(name).and_then(Value::as_u64).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn include_usage(&self) -> bool {
        let option = self.field("stream_options").and_then(|options| options.get("include_usage"));
        option.and_then(Value::as_bool).unwrap_or(false)
    }

    /// Directives of the `user` field, else of the last user message.
    fn directives(&self, last_user: &str) -> Result<Directives, Refusal> {
        let user = self.field("user").and_then(Value::as_str).unwrap_or_default();
        Directives::first_of(&[user, last_user]).map_err(|reason| Refusal::wrong_value("sim", reason))
    }

    /// Reasoning models refuse `max_tokens` and, unless effort is `none`, any temperature but 1.
    fn check_model_limits(&self, model: &str) -> Result<(), Refusal> {
        if !Model::of(model).reasons {
            return Ok(());
        }
        if self.field("max_tokens").is_some() {
            let message = "Unsupported parameter: 'max_tokens' is not supported with this model. \
                           Use 'max_completion_tokens' instead.";
            return Err(Refusal::invalid(Some("unsupported_parameter"), "max_tokens", message));
        }
        let thinks = self.field("reasoning_effort").and_then(Value::as_str) != Some("none");
        let temperature = self.field("temperature").and_then(Value::as_f64);
        if thinks && temperature.is_some_and(|value| value != 1.0) {
            let message = "Unsupported value: 'temperature' does not support this value with this model. \
                           Only the default (1) value is supported.";
            return Err(Refusal::invalid(Some("unsupported_value"), "temperature", message));
        }
        Ok(())
    }
}

/// What a model allows (its model pages, read 2026-11).
#[derive(Clone, Copy)]
pub(super) struct Model {
    pub(super) reasons: bool,
    /// Words of the reasoning effort.
    pub(super) efforts: &'static [&'static str],
    /// Served by the Responses API alone.
    pub(super) responses_only: bool,
}

impl Model {
    pub(super) fn of(name: &str) -> Self {
        let starts = |families: &[&str]| families.iter().any(|family| name.starts_with(family));
        let efforts: &[&str] = match name {
            "gpt-5" | "gpt-5-mini" | "gpt-5-nano" => &["minimal", "low", "medium", "high"],
            _ if starts(&["o1", "o3", "o4"]) => &["low", "medium", "high"],
            _ if starts(&["gpt-6-astra", "gpt-6.1-sol"]) => &["low", "medium", "high", "xhigh", "max"],
            _ if starts(&["gpt-6"]) => &["none", "low", "medium", "high", "xhigh", "max"],
            _ => &["none", "low", "medium", "high", "xhigh"],
        };
        let reasons = starts(&["o1", "o3", "o4", "gpt-5", "gpt-6"]);
        Self { reasons, efforts, responses_only: reasons && (name.ends_with("-pro") || name.contains("-codex")) }
    }
}

/// Why a schema cannot be held to strictly, if it cannot.
pub(super) fn wrong_schema(schema: &Value) -> Option<String> {
    let inner = |value: &Value| wrong_schema(value);
    if schema["type"] == "object" {
        let empty = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        if schema["additionalProperties"] != false {
            return Some("In context=(), 'additionalProperties' is required to be supplied and to be false.".into());
        }
        let required =
            |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|word| word == name));
        if let Some(missing) = properties.keys().find(|name| !required(name)) {
            return Some(format!(
                "In context=(), 'required' is required to be supplied and to be an array including every key in \
                 properties. Missing '{missing}'."
            ));
        }
        if let Some(reason) = properties.values().find_map(inner) {
            return Some(reason);
        }
    }
    let lists = ["anyOf", "$defs"].iter().filter_map(|word| schema.get(*word));
    let all = lists.flat_map(|list| match list {
        Value::Array(items) => items.iter().collect::<Vec<_>>(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    });
    all.chain(schema.get("items")).find_map(inner)
}

/// The JSON type and range of one field.
enum Shape {
    Bool,
    Text,
    Object,
    Array,
    Integer(i64, i64),
    Number(f64, f64),
    OneOf(&'static [&'static str]),
    TextOrObject,
    Stop,
}

impl Shape {
    fn check(&self, name: &str, value: &Value) -> Result<(), Refusal> {
        if value.is_null() && !matches!(name, "model" | "messages") {
            return Ok(());
        }
        let fits = match self {
            Self::Bool => value.is_boolean(),
            Self::Text | Self::OneOf(_) => value.is_string(),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::Integer(..) => value.is_i64() || value.is_u64(),
            Self::Number(..) => value.is_number(),
            Self::Stop => value.is_string() || value.is_array(),
            Self::TextOrObject => value.is_string() || value.is_object(),
        };
        if !fits {
            return Err(Refusal::wrong_type(name, self.expected(), kind(value)));
        }
        self.check_range(name, value)
    }

    fn check_range(&self, name: &str, value: &Value) -> Result<(), Refusal> {
        let range = |low: &dyn fmt::Display, high: &dyn fmt::Display| {
            let message =
                format!("Invalid value for '{name}': expected a value >= {low} and <= {high}, but got {value}.");
            Err(Refusal::wrong_value(name, message))
        };
        match self {
            Self::Integer(low, high) if !value.as_i64().is_some_and(|number| (*low..=*high).contains(&number)) => {
                range(low, high)
            }
            Self::Number(low, high) if !value.as_f64().is_some_and(|number| (*low..=*high).contains(&number)) => {
                range(low, high)
            }
            Self::OneOf(words) if !value.as_str().is_some_and(|word| words.contains(&word)) => {
                let message = format!("Invalid value: {value}. Supported values are: {}.", words.join(", "));
                Err(Refusal::wrong_value(name, message))
            }
            Self::Stop
                if value.as_array().is_some_and(|words| words.len() > 4 || !words.iter().all(Value::is_string)) =>
            {
                Err(Refusal::wrong_value(name, "Invalid 'stop': expected at most 4 strings."))
            }
            _ => Ok(()),
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Text | Self::OneOf(_) => "a string",
            Self::Object => "an object",
            Self::Array => "an array of objects",
            Self::Integer(..) => "an integer",
            Self::Number(..) => "a decimal",
            Self::Stop => "one of a string or array",
            Self::TextOrObject => "one of a string or object",
        }
    }
}

/// The JSON type of a value, as OpenAI's messages name it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Every top-level field that is known, with its shape.
const FIELDS: [(&str, Shape); 37] = [
    ("messages", Shape::Array),
    ("model", Shape::Text),
    ("stream", Shape::Bool),
    ("stream_options", Shape::Object),
    ("max_completion_tokens", Shape::Integer(1, u32::MAX as i64)),
    ("max_tokens", Shape::Integer(1, u32::MAX as i64)),
    ("temperature", Shape::Number(0.0, 2.0)),
    ("top_p", Shape::Number(0.0, 1.0)),
    ("tools", Shape::Array),
    ("tool_choice", Shape::TextOrObject),
    ("parallel_tool_calls", Shape::Bool),
    ("response_format", Shape::Object),
    ("n", Shape::Integer(1, 128)),
    ("seed", Shape::Integer(i64::MIN, i64::MAX)),
    ("stop", Shape::Stop),
    ("user", Shape::Text),
    ("metadata", Shape::Object),
    ("store", Shape::Bool),
    ("audio", Shape::Object),
    ("frequency_penalty", Shape::Number(-2.0, 2.0)),
    ("presence_penalty", Shape::Number(-2.0, 2.0)),
    ("function_call", Shape::TextOrObject),
    ("functions", Shape::Array),
    ("logit_bias", Shape::Object),
    ("logprobs", Shape::Bool),
    ("top_logprobs", Shape::Integer(0, 20)),
    ("modalities", Shape::Array),
    ("moderation", Shape::Object),
    ("prediction", Shape::Object),
    ("prompt_cache_key", Shape::Text),
    ("prompt_cache_options", Shape::Object),
    ("prompt_cache_retention", Shape::Text),
    ("reasoning_effort", Shape::OneOf(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])),
    ("safety_identifier", Shape::Text),
    ("service_tier", Shape::OneOf(&["auto", "default", "flex", "scale", "priority", "fast"])),
    ("verbosity", Shape::OneOf(&["low", "medium", "high"])),
    ("web_search_options", Shape::Object),
];
