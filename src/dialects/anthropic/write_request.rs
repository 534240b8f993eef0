//! An inner request as the body of `POST /v1/messages`, or of the same on Vertex and Bedrock.
//!
//! Written for version `2023-06-01`, which still takes sampling figures where the model does. What changes the answer and has no word here is
//! refused; what only shapes it is left out and noted.

use super::model::Claude;
use super::outgoing::{self, Body, Marks, Metadata, Notes, OutputConfig, Piece, Role};
use super::write_blocks::BlockWriter;
use super::write_thinking::Around;
use super::{schema, write_thinking, write_tools, write_turns};
use crate::chat::request::{self, Block, Format, Refusal, Request, Turn};
use crate::dialects::{Aim, Written};

/// Whose endpoint it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Anthropic,
    /// A platform that has model and stream in the address, and the version in the body.
    Other(&'static str),
}

/// The body for Anthropic's own API.
pub(super) fn write(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    write_on(Platform::Anthropic, request, aim)
}

/// The body for Vertex `rawPredict` and `streamRawPredict`: with `anthropic_version`, without `model` and `stream`.
///
/// # Errors
/// As every [`crate::dialects::WriteRequest`].
pub fn write_for_vertex(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    write_on(Platform::Other("vertex-2023-10-16"), request, aim)
}

/// The body for Bedrock `InvokeModel` and `InvokeModelWithResponseStream`: with `anthropic_version`, without `model` and `stream`.
///
/// # Errors
/// As every [`crate::dialects::WriteRequest`].
pub fn write_for_bedrock_invoke(request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    write_on(Platform::Other("bedrock-2023-05-31"), request, aim)
}

fn write_on(platform: Platform, request: &Request, aim: &Aim<'_>) -> Result<Written, Refusal> {
    refuse_what_has_no_word(request)?;
    let claude = Claude::of(aim.model, aim.abilities);
    let mut notes = Notes::default();
    let mut marks = Marks::of(marks_in(request));
    let tools = write_tools::plan(request, &claude, &mut marks, &mut notes)?;
    let mut writer = BlockWriter { abilities: aim.abilities, marks: &mut marks, notes: &mut notes };
    let system = system(request, tools.plea, &mut writer)?;
    let messages = write_turns::messages(&request.turns, &mut writer, claude.prefill)?;
    let around = Around {
        forced_call: tools.choice.as_ref().is_some_and(outgoing::Choice::is_forced),
        prefill: messages.last().is_some_and(|last| last.role == Role::Assistant),
        unsigned_loop: write_turns::loop_lacks_thinking(&messages),
        output_max: aim.abilities.output_max,
    };
    let thinking = write_thinking::plan(request, &claude, around, &mut notes);
    let (temperature, top_p, top_k) = sampling(request, &claude, thinking.thinks(), &mut notes);
    note_what_is_left_out(request, &mut notes);
    let is_own = platform == Platform::Anthropic;
    let body = Body {
        anthropic_version: platform.version(),
        model: is_own.then_some(aim.model),
        max_tokens: thinking.max_tokens,
        system,
        messages,
        tools: tools.tools,
        tool_choice: tools.choice,
        thinking: thinking.thinking,
        output_config: OutputConfig { effort: thinking.effort, format: format(request, &claude, &mut notes) },
        temperature,
        top_p,
        top_k,
        stop_sequences: stop(request, &mut notes),
        metadata: request.user.as_deref().map(|user| Metadata { user_id: pseudonym(user) }),
        service_tier: service_tier(request, platform, &mut notes),
        stream: request.stream && is_own,
    };
    let body = serde_json::to_vec(&body)
        .map_err(|_| Refusal::new("messages", "The request cannot be written as JSON: send finite numbers."))?;
    Ok(Written { body, dropped: notes.0 })
}

impl Platform {
    fn version(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => None,
            Self::Other(version) => Some(version),
        }
    }
}

fn refuse_what_has_no_word(request: &Request) -> Result<(), Refusal> {
    if request.choices.is_some_and(|choices| choices > 1) {
        return Err(Refusal::new("n", "Claude gives one answer a request: send several requests."));
    }
    if request.logprobs.is_some() {
        return Err(Refusal::new("logprobs", "Claude tells no log probabilities: leave the member out."));
    }
    if request.audio.is_some() {
        return Err(Refusal::new("audio", "Claude makes no sound: ask for text."));
    }
    Ok(())
}

/// The system prompt: the client's, then what stands for members without a word.
fn system<'r>(
    request: &'r Request,
    plea: Option<String>,
    writer: &mut BlockWriter<'_>,
) -> Result<Vec<Piece<'r>>, Refusal> {
    let mut pieces = Vec::with_capacity(request.system.len());
    for block in &request.system {
        pieces.extend(writer.of_user(block)?);
    }
    if pieces.iter().any(|piece| !matches!(piece, Piece::Text { .. })) {
        return Err(Refusal::new("messages", "System messages hold text alone."));
    }
    pieces.extend(plea.map(Piece::text));
    if request.format == Format::JsonObject {
        let sentence = "Answer with one JSON object and nothing else: no other words, no code fence.";
        pieces.push(Piece::text(sentence));
    }
    Ok(pieces)
}

/// The schema that the answer is held to, where the model can be; else the answer tool has it.
fn format(request: &Request, claude: &Claude, notes: &mut Notes) -> Option<outgoing::Format> {
    let Format::JsonSchema { schema, .. } = &request.format else { return None };
    if !claude.json_schema {
        return None;
    }
    let (schema, lost) = schema::conform(schema);
    lost.iter().for_each(|keyword| notes.drop(&format!("response_format.{keyword}")));
    Some(outgoing::Format { r#type: "json_schema", schema })
}

/// Temperature, top_p and top_k, as far as the model takes them.
fn sampling(
    request: &Request,
    claude: &Claude,
    thinks: bool,
    notes: &mut Notes,
) -> (Option<f64>, Option<f64>, Option<u64>) {
    let wanted = &request.sampling;
    if !claude.samples || thinks {
        let defaults = [("temperature", wanted.temperature), ("top_p", wanted.top_p)];
        for (name, _) in defaults.iter().filter(|(_, figure)| figure.is_some_and(|figure| figure != 1.0)) {
            notes.drop(name);
        }
        if wanted.top_k.is_some() {
            notes.drop("top_k");
        }
        return (None, None, None);
    }
    let temperature = wanted.temperature.map(|temperature| {
        if temperature > 1.0 {
            notes.drop("temperature");
        }
        temperature.min(1.0)
    });
    let mut top_p = wanted.top_p;
    let is_too_much = temperature.is_some() && !claude.samples_both_ways;
    if is_too_much && top_p.take().is_some_and(|top_p| top_p != 1.0) {
        notes.drop("top_p");
    }
    (temperature, top_p, wanted.top_k)
}

fn stop<'r>(request: &'r Request, notes: &mut Notes) -> Vec<&'r str> {
    let mut texts = Vec::with_capacity(request.stop.len());
    for text in &request.stop {
        if text.trim().is_empty() {
            notes.drop("stop");
        } else {
            texts.push(text.as_str());
        }
    }
    texts
}

fn service_tier(request: &Request, platform: Platform, notes: &mut Notes) -> Option<&'static str> {
    let wanted = request.service_tier.as_deref()?;
    let tier = match wanted {
        // Priority capacity that the account has bought is used by `auto`.
        "auto" | "priority" | "fast" => Some("auto"),
        "default" | "standard" | "standard_only" => Some("standard_only"),
        _ => None,
    };
    if tier.is_none() || (platform != Platform::Anthropic && wanted != "auto" && wanted != "default") {
        notes.drop("service_tier");
    }
    tier.filter(|_| platform == Platform::Anthropic)
}

/// What has no word here and leaves the answer right; figures at their defaults are no loss.
fn note_what_is_left_out(request: &Request, notes: &mut Notes) {
    let sampling = &request.sampling;
    let is_set = |figure: Option<f64>| figure.is_some_and(|figure| figure != 0.0);
    let left_out = [
        ("seed", sampling.seed.is_some()),
        ("logit_bias", sampling.logit_bias.is_some()),
        ("frequency_penalty", is_set(sampling.frequency_penalty)),
        ("presence_penalty", is_set(sampling.presence_penalty)),
        ("verbosity", request.verbosity.as_deref().is_some_and(|verbosity| verbosity != "medium")),
        ("safety", request.safety.is_some()),
    ];
    for (name, _) in left_out.iter().filter(|(_, is_left_out)| *is_left_out) {
        notes.drop(name);
    }
}

/// Prompt-cache marks that the writers will meet.
fn marks_in(request: &Request) -> usize {
    let of_block = |block: &Block| match &block.body {
        request::Body::Thinking(_) => 0,
        request::Body::ToolResult(result) => {
            usize::from(block.cache.is_some()) + result.content.iter().filter(|inner| inner.cache.is_some()).count()
        }
        _ => usize::from(block.cache.is_some()),
    };
    let of_turn = |turn: &Turn| match turn {
        Turn::User(blocks) | Turn::Assistant(blocks) | Turn::System(blocks) => {
            blocks.iter().map(of_block).sum::<usize>()
        }
    };
    let tools = request.tools.iter().filter(|tool| tool.cache.is_some()).count();
    tools + request.system.iter().map(of_block).sum::<usize>() + request.turns.iter().map(of_turn).sum::<usize>()
}

/// A pseudonym of the end user: addresses and names stay here. The same user always has the same one. FNV-1a of 128 bits; it hides a name
/// from a reader, not from somebody who tries out names.
fn pseudonym(user: &str) -> String {
    let hash = user.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("user_{hash:032x}")
}
