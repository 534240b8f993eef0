//! What an OpenAI-shaped answer says it used, in our accounting, whoever the vendor is.
//!
//! All places and names of the same figure are looked at. Where `completion_tokens` leaves reasoning out, the total says so.
//!
//! Sources, read 2026-11: the chat completion object of OpenAI, xAI, Mistral, DeepSeek, Kimi, Qwen, Groq and OpenRouter.

use crate::domain::token::Usage;
use crate::json::scan::{self, Names};
use crate::json::{Kind, Member, Span, text};

/// What the `usage` object `raw` says; nothing if it is no object or has no count.
pub(super) fn stated(raw: &str) -> Option<Usage> {
    let bytes = raw.as_bytes();
    let span = Span { start: 0, end: bytes.len() };
    let [prompt, input, completion, output, total, prompt_parts, input_parts, output_parts, other_parts, flat @ ..] =
        members::<12>(bytes, span, &COUNTS)?;
    let prompt = count(bytes, prompt).or_else(|| count(bytes, input));
    let completion = count(bytes, completion).or_else(|| count(bytes, output));
    let total = count(bytes, total);
    if prompt.is_none() && completion.is_none() && total.is_none() {
        return None;
    }
    let [cached, written, created, audio_input] =
        parts(bytes, prompt_parts).or_else(|| parts(bytes, input_parts)).unwrap_or_default();
    let [reasoning, _, _, audio_output] =
        parts_of(bytes, output_parts, &OUTPUT).or_else(|| parts_of(bytes, other_parts, &OUTPUT)).unwrap_or_default();
    let cached = cached.or_else(|| flat.into_iter().find_map(|member| count(bytes, member)));

    let completion = completion.unwrap_or(0);
    let input = prompt.unwrap_or_else(|| total.unwrap_or(0).saturating_sub(completion));
    let reasoning = reasoning.unwrap_or(0);
    let apart = input.saturating_add(completion).saturating_add(reasoning);
    // xAI: reasoning is beside the completion, and counted in the total.
    let output = if reasoning > 0 && total == Some(apart) { completion.saturating_add(reasoning) } else { completion };
    let cached_input = cached.unwrap_or(0).min(input);
    Some(Usage {
        input,
        output,
        cached_input,
        cache_write: written.or(created).unwrap_or(0).min(input.saturating_sub(cached_input)),
        cache_write_long: 0,
        audio_input: audio_input.unwrap_or(0).min(input),
        audio_output: audio_output.unwrap_or(0).min(output),
        reasoning: reasoning.min(output),
    })
}

/// What the `usage` member inside the object `raw` says (`x_groq`).
pub(super) fn nested(raw: &str) -> Option<Usage> {
    static NAMES: Names = Names::new(&["usage"]);
    let bytes = raw.as_bytes();
    let [usage] = members(bytes, Span { start: 0, end: bytes.len() }, &NAMES)?;
    stated(raw.get(usage?.value.start..usage?.value.end)?)
}

fn members<const N: usize>(bytes: &[u8], span: Span, names: &Names) -> Option<[Option<Member>; N]> {
    let mut found = [None; N];
    scan::members_at(bytes, span, names, &mut found).ok()?;
    Some(found)
}

fn parts(bytes: &[u8], member: Option<Member>) -> Option<[Option<u64>; 4]> {
    parts_of(bytes, member, &INPUT)
}

fn parts_of(bytes: &[u8], member: Option<Member>, names: &Names) -> Option<[Option<u64>; 4]> {
    let object = member.filter(|member| member.kind == Kind::Object)?;
    Some(members::<4>(bytes, object.value, names)?.map(|member| count(bytes, member)))
}

fn count(bytes: &[u8], member: Option<Member>) -> Option<u64> {
    text::as_u64(bytes, member?.value)
}

static COUNTS: Names = Names::new(&[
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "input_tokens_details",
    "completion_tokens_details",
    "output_tokens_details",
    // From here on: the flat names of cached tokens, Kimi's, DeepSeek's and Mistral's.
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "num_cached_tokens",
]);

static INPUT: Names =
    Names::new(&["cached_tokens", "cache_write_tokens", "cache_creation_input_tokens", "audio_tokens"]);

/// The two in the middle are not looked for on this side.
static OUTPUT: Names = Names::new(&["reasoning_tokens", "-", "--", "audio_tokens"]);
