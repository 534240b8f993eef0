//! A request as an OpenAI-shaped vendor takes it.
//!
//! The vendor's row of [`Ways`] and the model's [`Abilities`](crate::chat::ability::Abilities) say which members go out and under which
//! names. What the vendor does not take is left out and noted where only quality hangs on it, said as an instruction where that serves, and
//! refused where the answer would be another one than was asked for.

use super::ways::{Sampling, Ways};
use super::{write_messages, write_thinking, write_tools};
use crate::chat::request::{Format, Refusal, Request};
use crate::dialects::{Aim, Written};
use serde_json::{Map, Value, json};

/// Writes a request.
pub(super) fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    let ways = Ways::of(aim.provider).for_model(aim.model);
    let mut draft = Draft { request, aim, ways, out: Map::new(), dropped: Vec::new(), instructions: Vec::new() };
    draft.out.insert("model".to_owned(), Value::from(aim.model));
    // Their place is here, their content depends on what follows.
    draft.out.insert("messages".to_owned(), Value::Null);
    draft.limits()?;
    let thinking_off =
        write_thinking::write(&request.reasoning, ways, aim.abilities, &mut draft.out, &mut draft.dropped);
    draft.sampling(thinking_off)?;
    write_tools::write(&mut draft)?;
    draft.format();
    draft.rest()?;
    let messages = write_messages::write(&mut draft)?;
    draft.set("messages", messages);
    let Draft { out, dropped, .. } = draft;
    let body = serde_json::to_vec(&out).map_err(|_| Refusal::new("", "The request cannot be written as JSON."))?;
    Ok(Written { body, dropped })
}

/// Bytes of the end user's name that every vendor takes.
const USER_BYTES_MAX: usize = 64;

/// A body in the making.
pub(super) struct Draft<'a> {
    pub(super) request: &'a Request,
    pub(super) aim: &'a Aim<'a>,
    pub(super) ways: &'static Ways,
    out: Map<String, Value>,
    dropped: Vec<String>,
    /// Sentences for the model in place of members that the vendor does not take.
    pub(super) instructions: Vec<String>,
}

// === impl Draft ===

impl Draft<'_> {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.out.insert(name.to_owned(), value.into());
    }

    /// Notes that something was left out, once.
    pub(super) fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }

    /// Sends a member if the vendor takes it, else notes it.
    fn offer(&mut self, taken: bool, name: &str, value: Option<impl Into<Value>>) {
        match value {
            Some(value) if taken => self.set(name, value),
            Some(_) => self.drop(name),
            None => {}
        }
    }

    fn limits(&mut self) -> Result<(), Refusal> {
        let (request, ways) = (self.request, self.ways);
        if let Some(wanted) = request.output_max {
            let most = self.aim.abilities.output_max.unwrap_or(u64::MAX);
            self.set(ways.output_limit, wanted.min(most));
        }
        match request.choices {
            Some(several) if several > 1 && !ways.several_choices => {
                Err(Refusal::new("n", "This model answers once only: send `n` as 1, or ask several times."))
            }
            Some(several) if several > 1 => {
                self.set("n", several);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn sampling(&mut self, thinking_off: bool) -> Result<(), Refusal> {
        let (sampling, ways, abilities) = (&self.request.sampling, self.ways, self.aim.abilities);
        let fixed = match ways.sampling {
            Sampling::Free => false,
            Sampling::FixedWhileThinking => !thinking_off,
            Sampling::Fixed => true,
        };
        let free = abilities.sampling_params.unwrap_or(!fixed);
        self.temperature(free);
        // One is the default: to send it would change nothing, and some refuse even that.
        self.offer(free, "top_p", sampling.top_p.filter(|figure| free || *figure != 1.0));
        self.offer(free && ways.top_k, "top_k", sampling.top_k);
        let stated = |penalty: Option<f64>| penalty.filter(|figure| *figure != 0.0);
        self.offer(free && ways.frequency_penalty, "frequency_penalty", stated(sampling.frequency_penalty));
        self.offer(free && ways.presence_penalty, "presence_penalty", stated(sampling.presence_penalty));
        self.offer(ways.logit_bias && free, "logit_bias", sampling.logit_bias.clone());
        match ways.seed {
            Some(name) => self.offer(true, name, sampling.seed),
            None => self.offer(false, "seed", sampling.seed),
        }
        self.stops();
        let Some(alternatives) = self.request.logprobs else { return Ok(()) };
        if !ways.logprobs || !free {
            return Err(Refusal::new("logprobs", "This model gives no log probabilities: leave `logprobs` out."));
        }
        self.set("logprobs", true);
        if alternatives > 0 {
            self.set("top_logprobs", alternatives);
        }
        Ok(())
    }

    fn temperature(&mut self, free: bool) {
        let Some(wanted) = self.request.sampling.temperature else { return };
        if !free {
            if wanted != 1.0 {
                self.drop("temperature");
            }
            return;
        }
        let (least, most) = self.ways.temperature;
        let sent = wanted.clamp(least, most);
        // Zero that becomes a hair above it is what was asked for.
        if (sent - wanted).abs() > 0.011 {
            self.drop("temperature");
        }
        self.set("temperature", sent);
    }

    fn stops(&mut self) {
        let stops = &self.request.stop;
        if stops.is_empty() {
            return;
        }
        let fits = |stop: &&String| !stop.is_empty() && stop.len() <= self.ways.stop_bytes_max;
        let sent: Vec<&String> = stops.iter().filter(fits).take(self.ways.stop_max).collect();
        let all = sent.len() == stops.len();
        if !sent.is_empty() {
            let sent = json!(sent);
            self.set("stop", sent);
        }
        if !all {
            self.drop("stop");
        }
    }

    fn format(&mut self) {
        let (ways, request) = (self.ways, self.request);
        match &request.format {
            Format::Text => {}
            Format::JsonObject => {
                if ways.json_object {
                    self.set("response_format", json!({"type": "json_object"}));
                } else {
                    self.drop("response_format");
                }
                // Several vendors refuse the format unless the conversation speaks of it.
                if !ways.json_object || !write_messages::mentions_json(request) {
                    self.instructions.push("Answer with one JSON object and nothing else.".to_owned());
                }
            }
            Format::JsonSchema { name, description, schema, strict } => {
                if ways.json_schema && self.aim.abilities.json_schema != Some(false) {
                    let name = if name.is_empty() { "answer" } else { name };
                    let mut inside = json!({"name": name, "schema": schema});
                    if let Some(description) = description {
                        inside["description"] = Value::from(description.as_str());
                    }
                    if let Some(strict) = strict {
                        inside["strict"] = Value::from(*strict);
                    }
                    self.set("response_format", json!({"type": "json_schema", "json_schema": inside}));
                    return;
                }
                if ways.json_object {
                    self.set("response_format", json!({"type": "json_object"}));
                }
                self.drop("response_format.json_schema");
                self.instructions.push(format!(
                    "Answer with one JSON object and nothing else. It must keep to this JSON schema: {schema}"
                ));
            }
        }
    }

    fn rest(&mut self) -> Result<(), Refusal> {
        let (request, ways) = (self.request, self.ways);
        self.offer(ways.verbosity, "verbosity", request.verbosity.clone());
        self.offer(ways.service_tier, "service_tier", request.service_tier.clone());
        if ways.prompt_cache_key {
            self.offer(true, "prompt_cache_key", request.prompt_cache_key.clone());
        }
        // A longer one is no name but a record, and is refused.
        let fits = request.user.as_ref().is_some_and(|user| user.len() <= USER_BYTES_MAX);
        self.offer(fits && ways.user.is_some(), ways.user.unwrap_or("user"), request.user.clone());
        self.offer(false, "safety_settings", request.safety.clone());
        if let Some(audio) = &request.audio {
            if !ways.sound || request.stream {
                return Err(Refusal::new("audio", "No sound comes from this model, or none in streams: ask for text."));
            }
            self.set("modalities", json!(["text", "audio"]));
            self.set("audio", audio.raw.clone());
        }
        for (name, text) in ways.always {
            // Checked by a test of the rows.
            self.set(name, serde_json::from_str::<Value>(text).unwrap_or_default());
        }
        if request.stream {
            self.set("stream", true);
            if ways.include_usage {
                self.set("stream_options", json!({"include_usage": true}));
            }
        }
        Ok(())
    }
}
