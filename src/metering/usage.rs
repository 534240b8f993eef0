//! What an OpenAI-shaped answer says it used, in our accounting.
//!
//! One reader serves every vendor of that shape: the places and names where they put the same figure are all looked at, and only
//! what contradicts is told apart by [`Accounting`]. Nothing here allocates. An answer that says nothing readable, or is not JSON,
//! gives nothing; the caller then estimates.
//!
//! Sources, read 2026-11: the chat completion object of OpenAI, xAI, Mistral, DeepSeek, Kimi, Qwen, Groq and OpenRouter.

use super::answer::{Answer, Bill, Part};
use crate::domain::token::Usage;
use crate::json::cursor::{Cursor, Stop};
use crate::json::scan::Names;
use crate::json::{Kind, Member, Span};
use crate::metering::terms::Tier;

/// How a vendor adds up its figures, where the names alone do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accounting {
    /// `completion_tokens` includes reasoning: OpenAI and nearly all others.
    #[default]
    OpenAi,
    /// `completion_tokens` leaves reasoning out while `total_tokens` counts it (xAI). Folded in only if the total says so.
    Xai,
}

/// What a complete chat, completion, embedding or Responses answer says it used.
///
/// Looked for in `usage`, then `x_groq.usage`, then `choices[0].usage`. Blank lines before the object are fine (DeepSeek sends them
/// while it thinks).
#[must_use]
pub fn usage_from_body(bytes: &[u8], accounting: Accounting) -> Option<Usage> {
    answer_of_body(bytes, accounting).usage
}

/// All that one pass over such an answer finds.
#[must_use]
pub fn answer_of_body(bytes: &[u8], accounting: Accounting) -> Answer {
    answer_with_figures(bytes, accounting).0
}

/// The same, and the figures that its usage is made of.
pub(super) fn answer_with_figures(bytes: &[u8], accounting: Accounting) -> (Answer, Option<Figures>) {
    let mut places = Places { accounting, found: [None; 3] };
    let answer = Answer::read(bytes, &mut places);
    (answer, places.figures())
}

/// The places where vendors of this shape put their usage, the official one first.
struct Places {
    accounting: Accounting,
    found: [Option<Figures>; 3],
}

impl Places {
    fn figures(&self) -> Option<Figures> {
        let [official, groq, choice] = self.found;
        official.or(groq).or(choice)
    }
}

impl Bill for Places {
    const PARTS: &'static [Part] = &[Part::Usage, Part::XGroq, Part::Choices];

    fn part(&mut self, part: Part, cursor: &mut Cursor<'_>) -> Result<Option<Option<Tier>>, Stop> {
        match part {
            Part::Usage => {
                let read = Read::object(cursor)?;
                self.found[0] = read.figures;
                return Ok(read.tier);
            }
            Part::XGroq => self.found[1] = nested(cursor)?,
            Part::Choices => {
                cursor.elements(|cursor, place| {
                    if place == 0 {
                        self.found[2] = nested(cursor)?;
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(None)
    }

    fn usage(&self) -> Option<Usage> {
        Some(balanced(&stated(&self.figures()?), self.accounting))
    }
}

/// What the `usage` object at `span` says.
///
/// Nothing if it is not an object or holds no count we know. Parts larger than their whole are cut to it.
#[must_use]
pub fn usage_from_object(bytes: &[u8], span: Span, accounting: Accounting) -> Option<Usage> {
    alone(bytes, span, accounting, |cursor| Ok(Read::object(cursor)?.figures))
}

/// As [`usage_from_object`], if the member is there and is an object.
pub(super) fn stated_in(bytes: &[u8], usage: Option<Member>, accounting: Accounting) -> Option<Usage> {
    usage_from_object(bytes, object(usage)?, accounting)
}

/// The `usage` member of the object at `span`: of `x_groq`, of a choice, of a Responses event's `response`.
pub fn nested_usage(bytes: &[u8], span: Span, accounting: Accounting) -> Option<Usage> {
    alone(bytes, span, accounting, nested)
}

/// Where the member's value is, if it is an object.
pub(super) fn object(member: Option<Member>) -> Option<Span> {
    member.filter(|member| member.kind == Kind::Object).map(|member| member.value)
}

/// Reads the one value that fills `span`.
fn alone<'t>(
    bytes: &'t [u8],
    span: Span,
    accounting: Accounting,
    read: impl FnOnce(&mut Cursor<'t>) -> Result<Option<Figures>, Stop>,
) -> Option<Usage> {
    let mut cursor = Cursor::new(bytes.get(..span.end).unwrap_or(bytes), span.start);
    let figures = read(&mut cursor).ok()??;
    cursor.end().ok()?;
    Some(balanced(&stated(&figures), accounting))
}

/// The `usage` member of the next value, if that is an object.
fn nested(cursor: &mut Cursor<'_>) -> Result<Option<Figures>, Stop> {
    static NAMES: Names = Names::new(&["usage"]);
    let mut figures = None;
    let visited = cursor.members(&NAMES, |cursor, _| {
        figures = Read::object(cursor)?.figures;
        Ok(())
    })?;
    Ok(figures.filter(|_| visited.is_some_and(|visited| visited.twice == 0)))
}

/// A figure as a vendor gave it.
#[derive(Clone, Copy)]
pub(super) struct Figure {
    /// The number.
    pub(super) count: u64,
    /// Where it begins in the text.
    pub(super) at: usize,
}

/// The figures that a usage is made of, where they are stated: prompt, completion, both, cached, written to the cache, reasoning, sound in the
/// prompt, sound in the answer.
pub(super) type Figures = [Option<Figure>; FIGURES_COUNT];
/// The same without where they stand.
pub(super) type Stated = [Option<u64>; FIGURES_COUNT];
/// How many they are.
pub(super) const FIGURES_COUNT: usize = 8;

/// The numbers of figures.
pub(super) fn stated(figures: &Figures) -> Stated {
    figures.map(|figure| figure.map(|figure| figure.count))
}

/// What a `usage` object says.
#[derive(Default)]
struct Read {
    figures: Option<Figures>,
    /// The service tier, where a vendor puts it there; as in [`Answer::tier`].
    tier: Option<Option<Tier>>,
}

impl Read {
    /// The next value; nothing if it is no object.
    fn object(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let mut found = Found::default();
        let visited = cursor.members(&COUNTS, |cursor, index| found.take(cursor, index))?;
        let Some(visited) = visited else { return Ok(Self::default()) };
        let once = |bits: u64| visited.twice & bits == 0;
        Ok(Self {
            figures: once(!(1 << TIER)).then(|| found.figures()).flatten(),
            tier: found.tier.filter(|_| once(1 << TIER)),
        })
    }
}

/// The members of a `usage` object.
#[derive(Default)]
struct Found {
    /// By the place of their names in [`COUNTS`].
    counts: [Option<Figure>; DETAILS],
    inputs: [Option<InputParts>; 2],
    outputs: [Option<OutputParts>; 2],
    flat: [Option<Figure>; TIER - FLAT],
    tier: Option<Option<Tier>>,
}

impl Found {
    #[inline]
    fn take(&mut self, cursor: &mut Cursor<'_>, index: usize) -> Result<(), Stop> {
        match index {
            DETAILS..OUTPUT_DETAILS => self.inputs[index - DETAILS] = InputParts::read(cursor)?,
            OUTPUT_DETAILS..FLAT => self.outputs[index - OUTPUT_DETAILS] = OutputParts::read(cursor)?,
            FLAT..TIER => self.flat[index - FLAT] = figure(cursor)?,
            TIER => self.tier = cursor.text()?.map(Tier::named),
            _ => self.counts[index] = figure(cursor)?,
        }
        Ok(())
    }

    fn figures(&self) -> Option<Figures> {
        let [prompt, input, completion, output, total] = self.counts;
        let (prompt, completion) = (prompt.or(input), completion.or(output));
        if prompt.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        let InputParts { cached, cache_write, audio: audio_input } =
            self.inputs[0].or(self.inputs[1]).unwrap_or_default();
        // Kimi, DeepSeek and Mistral also, or only, say it beside the other counts.
        let cached = cached.or_else(|| self.flat.into_iter().flatten().next());
        let OutputParts { reasoning, audio: audio_output } = self.outputs[0].or(self.outputs[1]).unwrap_or_default();
        Some([prompt, completion, total, cached, cache_write, reasoning, audio_input, audio_output])
    }
}

/// Our accounting of what was stated.
pub(super) fn balanced(stated: &Stated, accounting: Accounting) -> Usage {
    let [prompt, completion, total, cached, cache_write, reasoning, audio_input, audio_output] = *stated;
    let completion = completion.unwrap_or(0);
    // Some embedding and rerank servers state the total alone, and all of it is input.
    let input = prompt.unwrap_or_else(|| total.unwrap_or(0).saturating_sub(completion));
    let reasoning = reasoning.unwrap_or(0);
    let left_out = accounting == Accounting::Xai
        && total.is_some_and(|total| {
            Some(total) == input.checked_add(completion).and_then(|sum| sum.checked_add(reasoning))
        });
    let output = if left_out { completion.saturating_add(reasoning) } else { completion };
    let cached_input = cached.unwrap_or(0).min(input);
    Usage {
        input,
        output,
        cached_input,
        cache_write: cache_write.unwrap_or(0).min(input - cached_input),
        reasoning: reasoning.min(output),
        audio_input: audio_input.unwrap_or(0).min(input),
        audio_output: audio_output.unwrap_or(0).min(output),
        ..Usage::default()
    }
}

/// What the details of a prompt say.
#[derive(Clone, Copy, Default)]
struct InputParts {
    cached: Option<Figure>,
    cache_write: Option<Figure>,
    audio: Option<Figure>,
}

impl InputParts {
    /// Tokens read from and written to the cache, and tokens of sound; `None` if the value is no object.
    fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, Stop> {
        // `cache_creation_input_tokens`: Qwen, for its explicit cache.
        static NAMES: Names =
            Names::new(&["cached_tokens", "cache_write_tokens", "cache_creation_input_tokens", "audio_tokens"]);
        let read = counts::<4>(cursor, &NAMES)?;
        Ok(read.map(|[cached, written, created, audio]| Self { cached, cache_write: written.or(created), audio }))
    }
}

/// What the details of an answer say.
#[derive(Clone, Copy, Default)]
struct OutputParts {
    reasoning: Option<Figure>,
    audio: Option<Figure>,
}

impl OutputParts {
    /// Tokens of reasoning, and tokens of sound; `None` if the value is no object.
    fn read(cursor: &mut Cursor<'_>) -> Result<Option<Self>, Stop> {
        static NAMES: Names = Names::new(&["reasoning_tokens", "audio_tokens"]);
        let read = counts::<2>(cursor, &NAMES)?;
        Ok(read.map(|[reasoning, audio]| Self { reasoning, audio }))
    }
}

/// The counts of the next value by their names; none of them if one is there twice, `None` if it is no object. `null`, negative and fractional
/// figures are none.
fn counts<const N: usize>(cursor: &mut Cursor<'_>, names: &Names) -> Result<Option<[Option<Figure>; N]>, Stop> {
    let mut found = [None; N];
    let visited = cursor.members(names, |cursor, index| {
        if let Some(slot) = found.get_mut(index) {
            *slot = figure(cursor)?;
        }
        Ok(())
    })?;
    Ok(visited.map(|visited| if visited.twice == 0 { found } else { [None; N] }))
}

/// The next value, if it is a count.
fn figure(cursor: &mut Cursor<'_>) -> Result<Option<Figure>, Stop> {
    let at = cursor.position();
    Ok(cursor.count()?.map(|count| Figure { count, at }))
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
    // Anthropic's place for the tier, which others share.
    "service_tier",
]);
/// Places in [`COUNTS`].
const DETAILS: usize = 5;
const OUTPUT_DETAILS: usize = 7;
const FLAT: usize = 9;
const TIER: usize = 12;

#[cfg(test)]
mod tests {
    use super::Accounting::{OpenAi, Xai};
    use super::*;

    /// Input, output, cached, cache write, reasoning.
    type Row = [u64; 5];

    fn read(body: &str, accounting: Accounting) -> Option<Row> {
        let usage = usage_from_body(body.as_bytes(), accounting)?;
        Some([usage.input, usage.output, usage.cached_input, usage.cache_write, usage.reasoning])
    }

    /// A chat answer around a `usage` value.
    fn chat(usage: &str) -> String {
        format!(
            "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"choices\":[{{\"index\":0,\"message\":{{\"role\":\
             \"assistant\",\"content\":\"say \\\"usage\\\": {{}}\"}},\"finish_reason\":\"stop\"}}],\"usage\":{usage}}}"
        )
    }

    #[test]
    fn usage_of_every_vendor() {
        let rows: &[(&str, Accounting, &str, Row)] = &[
            (
                "openai",
                OpenAi,
                r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"cache_write_tokens":64,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":192,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
                [2006, 300, 1920, 64, 192],
            ),
            (
                "openai null details",
                OpenAi,
                r#"{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10,"prompt_tokens_details":null,"completion_tokens_details":null}"#,
                [9, 1, 0, 0, 0],
            ),
            (
                "openai responses",
                OpenAi,
                r#"{"input_tokens":328,"input_tokens_details":{"cached_tokens":128,"cache_write_tokens":0},"output_tokens":52,"output_tokens_details":{"reasoning_tokens":20},"total_tokens":380}"#,
                [328, 52, 128, 0, 20],
            ),
            ("embeddings", OpenAi, r#"{"prompt_tokens":8,"total_tokens":8}"#, [8, 0, 0, 0, 0]),
            ("total alone", OpenAi, r#"{"total_tokens":11}"#, [11, 0, 0, 0, 0]),
            (
                "xai",
                Xai,
                r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"prompt_tokens_details":{"text_tokens":32,"audio_tokens":0,"image_tokens":0,"cached_tokens":6},"completion_tokens_details":{"reasoning_tokens":94,"audio_tokens":0},"num_sources_used":0,"cost_in_usd_ticks":512000}"#,
                [32, 103, 6, 0, 94],
            ),
            (
                "xai included after all",
                Xai,
                r#"{"prompt_tokens":32,"completion_tokens":103,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
                [32, 103, 0, 0, 94],
            ),
            (
                "same figures, not xai",
                OpenAi,
                r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}"#,
                [32, 9, 0, 0, 9],
            ),
            (
                "mistral",
                OpenAi,
                r#"{"prompt_audio_seconds":null,"prompt_tokens":40,"total_tokens":52,"completion_tokens":12,"num_cached_tokens":16}"#,
                [40, 12, 16, 0, 0],
            ),
            (
                "deepseek",
                OpenAi,
                r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":30},"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#,
                [100, 50, 64, 0, 30],
            ),
            (
                "deepseek, flat only",
                OpenAi,
                r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#,
                [100, 50, 64, 0, 0],
            ),
            (
                "kimi",
                OpenAi,
                r#"{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40,"cached_tokens":10}"#,
                [19, 21, 10, 0, 0],
            ),
            (
                "qwen",
                OpenAi,
                r#"{"prompt_tokens":1200,"completion_tokens":14,"total_tokens":1214,"prompt_tokens_details":{"cached_tokens":0,"cache_creation_input_tokens":1024}}"#,
                [1200, 14, 0, 1024, 0],
            ),
            (
                "openrouter",
                OpenAi,
                r#"{"prompt_tokens":14,"completion_tokens":163,"total_tokens":177,"cost":0.00014,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0},"cost_details":{"upstream_inference_cost":null},"completion_tokens_details":{"reasoning_tokens":100,"image_tokens":0}}"#,
                [14, 163, 0, 0, 100],
            ),
            (
                "groq",
                OpenAi,
                r#"{"queue_time":0.018,"prompt_tokens":18,"prompt_time":0.0007,"completion_tokens":556,"completion_time":0.463,"total_tokens":574,"total_time":0.464}"#,
                [18, 556, 0, 0, 0],
            ),
            (
                "parts cut to the whole",
                OpenAi,
                r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":99,"cache_write_tokens":99},"completion_tokens_details":{"reasoning_tokens":99}}"#,
                [10, 5, 10, 0, 5],
            ),
            (
                "no overflow",
                Xai,
                r#"{"prompt_tokens":18446744073709551615,"completion_tokens":18446744073709551615,"completion_tokens_details":{"reasoning_tokens":18446744073709551615}}"#,
                [u64::MAX, u64::MAX, 0, 0, u64::MAX],
            ),
        ];
        for (vendor, accounting, usage, expected) in rows {
            assert_eq!(read(&chat(usage), *accounting), Some(*expected), "{vendor}");
            assert_eq!(
                read(&format!("\n\n\n{}", chat(usage)), *accounting),
                Some(*expected),
                "{vendor} after blank lines"
            );
        }
    }

    #[test]
    fn usage_in_other_places() {
        let groq = r#"{"id":"c","choices":[{"delta":{}}],"x_groq":{"id":"req_1","usage":{"prompt_tokens":18,"completion_tokens":5}}}"#;
        assert_eq!(read(groq, OpenAi), Some([18, 5, 0, 0, 0]));
        let kimi = r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":19,"completion_tokens":21,"cached_tokens":3}}]}"#;
        assert_eq!(read(kimi, OpenAi), Some([19, 21, 3, 0, 0]));
        let both = r#"{"usage":{"prompt_tokens":1},"x_groq":{"usage":{"prompt_tokens":2}},"choices":[{"usage":{"prompt_tokens":3}}]}"#;
        assert_eq!(read(both, OpenAi), Some([1, 0, 0, 0, 0]), "the official place first");
        let null = r#"{"usage":null,"x_groq":{"usage":{"prompt_tokens":2}}}"#;
        assert_eq!(read(null, OpenAi), Some([2, 0, 0, 0, 0]));
    }

    #[test]
    fn nothing_readable_is_nothing() {
        let bodies = [
            "",
            "[]",
            "{}",
            "{\"usage\":null}",
            "{\"usage\":[]}",
            "{\"usage\":{}}",
            "{\"usage\":{\"prompt_tokens\":null}}",
            "{\"usage\":{\"prompt_tokens\":-1}}",
            "{\"usage\":{\"prompt_tokens\":1.5}}",
            "{\"usage\":{\"prompt_tokens\":\"7\"}}",
            "{\"usage\":{\"prompt_tokens\":7}",
            "{\"usage\":{\"prompt_tokens\":7},\"usage\":{\"prompt_tokens\":8}}",
            "{\"message\":{\"usage\":{\"prompt_tokens\":7}}}",
            "{\"choices\":[]}",
            "{\"x_groq\":{\"id\":\"r\"}}",
        ];
        for body in bodies {
            assert_eq!(read(body, OpenAi), None, "{body}");
        }
    }
}
