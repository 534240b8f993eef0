//! A request of the inner language as Converse takes it.
//!
//! What Converse has no place for is refused where the answer would be another one, and dropped by name where only its quality would. What
//! can be said in words instead (JSON without a schema, no call of a tool) is said in a sentence at the end of the instructions.

use super::body::{Body, CachePoint, Content, Typed};
use super::family::Family;
use super::{options, tools, turns};
use crate::chat::request::{Block, Body as Inner, CacheHint, Refusal, Request};
use crate::dialects::{Aim, Written};
use std::borrow::Cow;

/// A request on its way, and what was noticed.
pub(super) struct Writing<'a> {
    pub request: &'a Request,
    pub aim: &'a Aim<'a>,
    pub family: Family,
    /// Sentences that stand in for members that Converse lacks.
    pub told: Vec<String>,
    dropped: Vec<String>,
}

impl Writing<'_> {
    /// Notes a member that is left out, by the name that OpenAI has for it.
    pub fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }

    /// A cache point for a mark, if the model takes any.
    pub fn cache_point(&self, hint: Option<CacheHint>) -> Option<CachePoint> {
        let hint = hint.filter(|_| self.family.takes_cache_points())?;
        let keeps_long = self.family.claude().is_some_and(|claude| claude.is_at_least(4, 5));
        let ttl = (hint == CacheHint::Long && keeps_long).then_some("1h");
        Some(CachePoint { r#type: "default", ttl })
    }
}

/// Writes a request for Converse.
///
/// # Errors
/// When it wants what neither Converse nor a sentence can ask for.
pub(super) fn write_request(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    refuse_what_changes_the_answer(request)?;
    let family = Family::of(aim.model);
    let mut writing = Writing { request, aim, family, told: Vec::new(), dropped: Vec::new() };
    drop_what_does_not(&mut writing);
    let thinking = options::thinking(&mut writing);
    let mut fields = thinking.fields;
    let tool_config = tools::config(&mut writing, &mut fields)?;
    let mut output_config = options::output(&mut writing);
    output_config.effort = thinking.effort;
    let inference_config = options::inference(&mut writing, thinking.is_on, &mut fields);
    let messages = turns::messages(&mut writing)?;
    let body = Body {
        messages,
        system: system(&writing),
        inference_config,
        tool_config,
        output_config,
        additional_model_request_fields: fields,
        additional_model_response_field_paths: options::response_paths(&writing),
        service_tier: service_tier(&mut writing),
    };
    let body = serde_json::to_vec(&body)
        .map_err(|_| Refusal::new("messages", "The request cannot be written as JSON; check its numbers."))?;
    Ok(Written { body, dropped: writing.dropped })
}

fn refuse_what_changes_the_answer(request: &Request) -> Result<(), Refusal> {
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(Refusal::new("n", "Bedrock Converse gives one answer a request; send the request several times."));
    }
    if request.logprobs.is_some() {
        return Err(Refusal::new("logprobs", "Bedrock Converse gives no log probabilities; leave `logprobs` out."));
    }
    if request.audio.is_some() {
        return Err(Refusal::new("audio", "Bedrock Converse answers with text; ask for text alone."));
    }
    Ok(())
}

fn drop_what_does_not(writing: &mut Writing<'_>) {
    let request = writing.request;
    let sampling = &request.sampling;
    let is_set = |figure: Option<f64>| figure.is_some_and(|figure| figure != 0.0);
    let lost = [
        ("seed", sampling.seed.is_some()),
        ("frequency_penalty", is_set(sampling.frequency_penalty)),
        ("presence_penalty", is_set(sampling.presence_penalty)),
        ("logit_bias", sampling.logit_bias.is_some()),
        ("verbosity", request.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium")),
        ("safety", request.safety.is_some()),
    ];
    for (name, _) in lost.into_iter().filter(|(_, lost)| *lost) {
        writing.drop(name);
    }
}

/// Instructions, and after them the sentences that stand in for something.
fn system<'a>(writing: &Writing<'a>) -> Vec<Content<'a>> {
    let mut system = Vec::new();
    for Block { body, cache } in &writing.request.system {
        let Inner::Text(text) = body else { continue };
        if text.trim().is_empty() {
            continue;
        }
        system.push(Content::Text(Cow::Borrowed(text)));
        system.extend(writing.cache_point(*cache).map(Content::CachePoint));
    }
    system.extend(writing.told.iter().map(|told| Content::Text(Cow::Owned(told.clone()))));
    system
}

fn service_tier(writing: &mut Writing<'_>) -> Option<Typed> {
    let r#type = match writing.request.service_tier.as_deref()? {
        "default" => "default",
        "flex" => "flex",
        "priority" | "fast" => "priority",
        "auto" => return None,
        _ => {
            writing.drop("service_tier");
            return None;
        }
    };
    Some(Typed { r#type })
}
