//! How the answer is drawn, how much is thought first, and what it must look like.
//!
//! Every model takes the four figures of `inferenceConfig`; reasoning has a name of its own at each maker and goes to
//! `additionalModelRequestFields`. Claude's efforts go to Converse's own `outputConfig.effort`.

use super::body::{InferenceConfig, JsonSchema, OutputConfig, Structure, TextFormat};
use super::family::{Claude, Family};
use super::schema::narrowed;
use super::tools::{enforces_schemas, is_forced};
use super::write_request::Writing;
use crate::chat::request::{Block, Body, Effort, Format, Maker, Reasoning, Thinking as Thought, Turn};
use serde_json::{Map, Value, json};

/// The least budget that Claude takes, in tokens.
const BUDGET_MIN: u64 = 1024;

/// How much is thought first.
#[derive(Default)]
pub(super) struct Thinking {
    /// The model's own members.
    pub fields: Map<String, Value>,
    /// Converse's own member.
    pub effort: Option<&'static str>,
    /// Whether the model is told to think: sampling is fixed then.
    pub is_on: bool,
}

impl Thinking {
    fn of(name: &str, value: Value) -> Self {
        let mut fields = Map::new();
        fields.insert(name.to_owned(), value);
        Self { fields, effort: None, is_on: true }
    }
}

/// What the client wants of reasoning, as the model's maker names it.
pub(super) fn thinking(writing: &mut Writing<'_>) -> Thinking {
    let reasoning = &writing.request.reasoning;
    let can = |claude: Claude| writing.aim.abilities.reasoning.unwrap_or_else(|| claude.can_think());
    if writing.family.claude().is_some_and(|claude| !can(claude)) {
        if reasoning.is_stated() && !is_off(reasoning) {
            writing.drop("reasoning_effort");
        }
        return Thinking::default();
    }
    match writing.family {
        Family::Claude(claude) => claude_thinking(writing, claude),
        _ if !reasoning.is_stated() || is_off(reasoning) => Thinking::default(),
        Family::Nova { reasons: true } => {
            let effort = three_efforts(reasoning);
            Thinking::of("reasoningConfig", json!({"type": "enabled", "maxReasoningEffort": effort}))
        }
        Family::OpenAi { open: true } => Thinking::of("reasoning_effort", json!(three_efforts(reasoning))),
        Family::OpenAi { open: false } => {
            let effort = writing.aim.abilities.nearest_effort(effort_of(reasoning).unwrap_or(Effort::Medium));
            Thinking::of("reasoning", json!({"effort": effort.as_str()}))
        }
        Family::Nova { reasons: false } | Family::Other | Family::Opaque => {
            writing.drop("reasoning_effort");
            Thinking::default()
        }
    }
}

fn is_off(reasoning: &Reasoning) -> bool {
    reasoning.enabled == Some(false) || reasoning.effort == Some(Effort::None) || reasoning.budget == Some(0)
}

/// The wanted effort, or the one nearest to the wanted budget.
fn effort_of(reasoning: &Reasoning) -> Option<Effort> {
    let by_budget = |budget| match budget {
        0..2048 => Effort::Low,
        2048..8192 => Effort::Medium,
        _ => Effort::High,
    };
    reasoning.effort.or(reasoning.budget.map(by_budget))
}

fn three_efforts(reasoning: &Reasoning) -> &'static str {
    effort_of(reasoning).unwrap_or(Effort::Medium).clamp(Effort::Low, Effort::High).as_str()
}

fn claude_thinking(writing: &mut Writing<'_>, claude: Claude) -> Thinking {
    let reasoning = &writing.request.reasoning;
    let always = writing.aim.abilities.thinking_always_on.unwrap_or_else(|| claude.always_thinks());
    let off = is_off(reasoning);
    if off && always {
        writing.drop("reasoning_effort");
    }
    if always || (claude.thinks_adaptively() && reasoning.is_stated() && !off) {
        return adaptive(writing, off, always, claude);
    }
    if off && claude.thinks_adaptively() {
        let mut thinking = Thinking::of("thinking", json!({"type": "disabled"}));
        thinking.is_on = false;
        return thinking;
    }
    if off || !reasoning.is_stated() {
        return Thinking::default();
    }
    budgeted(writing)
}

/// Thinking as much as it finds fit. Without `display` the text between calls of tools would come as thoughts without words, and a stream
/// would look dead.
fn adaptive(writing: &mut Writing<'_>, off: bool, always: bool, claude: Claude) -> Thinking {
    let reasoning = &writing.request.reasoning;
    let forced = is_forced(writing.request.tool_choice.as_ref()) && !claude.refuses_forced_tools();
    if !always && (forced || continues(writing)) {
        writing.drop("reasoning_effort");
        return Thinking::default();
    }
    let display = if reasoning.shown == Some(false) { "omitted" } else { "summarized" };
    let mut thinking = Thinking::of("thinking", json!({"type": "adaptive", "display": display}));
    let wanted = if off { Some(Effort::Low) } else { effort_of(reasoning) };
    let nearest = |wanted: Effort| writing.aim.abilities.nearest_effort(wanted.max(Effort::Low)).as_str();
    thinking.effort = wanted.map(nearest);
    thinking
}

/// Whether the last turn is the model's own, to go on from: refused beside thinking.
fn continues(writing: &Writing<'_>) -> bool {
    matches!(writing.request.turns.last(), Some(Turn::Assistant(_)))
}

/// Whether a tool's result waits for an answer and the turn that called it has no sealed thought: refused beside a budget.
fn is_unsealed_loop(turns: &[Turn]) -> bool {
    let Some(at) = turns.iter().rposition(|turn| matches!(turn, Turn::Assistant(_))) else { return false };
    let Some(Turn::Assistant(blocks)) = turns.get(at) else { return false };
    let is_call = |block: &Block| matches!(block.body, Body::ToolCall(_));
    let is_sealed = |block: &Block| matches!(&block.body, Body::Thinking(Thought { seal: Some(seal), .. }) if seal.maker == Maker::Anthropic);
    blocks.iter().any(is_call) && !blocks.iter().any(is_sealed)
}

/// Thinking with a budget, as Claude had it before 4.6. It is a part of the tokens of the answer: where it would be the whole of them, half
/// is left. It forbids a forced call.
fn budgeted(writing: &mut Writing<'_>) -> Thinking {
    let reasoning = &writing.request.reasoning;
    let by_effort = match reasoning.effort {
        Some(Effort::None | Effort::Minimal | Effort::Low) => 1024,
        Some(Effort::Medium) | None => 2048,
        Some(Effort::High) => 4096,
        Some(Effort::XHigh) => 8192,
        Some(Effort::Max) => 16_384,
    };
    let most = output_max(writing).unwrap_or(u64::MAX);
    let wanted = reasoning.budget.unwrap_or(by_effort).max(BUDGET_MIN);
    let budget = if wanted < most { wanted } else { most / 2 };
    let is_refused = is_forced(writing.request.tool_choice.as_ref())
        || continues(writing)
        || is_unsealed_loop(&writing.request.turns);
    if budget < BUDGET_MIN || is_refused {
        writing.drop("reasoning_effort");
        return Thinking::default();
    }
    Thinking::of("thinking", json!({"type": "enabled", "budget_tokens": budget}))
}

/// Tokens of the answer at most: the client's figure, as far as the model goes.
fn output_max(writing: &Writing<'_>) -> Option<u64> {
    let wanted = writing.request.output_max?;
    Some(writing.aim.abilities.output_max.map_or(wanted, |most| wanted.min(most)))
}

/// What every model takes; `top_k` goes to `fields` under the model's own name.
pub(super) fn inference<'a>(
    writing: &mut Writing<'a>,
    thinks: bool,
    fields: &mut Map<String, Value>,
) -> InferenceConfig<'a> {
    let request = writing.request;
    let mut config = InferenceConfig {
        max_tokens: output_max(writing),
        temperature: request.sampling.temperature.map(|temperature| temperature.clamp(0.0, 1.0)),
        top_p: request.sampling.top_p.map(|top_p| top_p.clamp(0.0, 1.0)),
        stop_sequences: request.stop.iter().map(String::as_str).filter(|stop| !stop.trim().is_empty()).collect(),
    };
    if config.temperature != request.sampling.temperature {
        writing.drop("temperature");
    }
    if config.stop_sequences.len() < request.stop.len() {
        writing.drop("stop");
    }
    let mut top_k = request.sampling.top_k;
    let claude = writing.family.claude().is_some();
    let hardest = matches!(writing.family, Family::Nova { .. }) && fields_say_high(fields);
    let samples = || writing.family.claude().is_none_or(|claude| claude.samples());
    if !writing.aim.abilities.sampling_params.unwrap_or_else(samples) || (claude && thinks) || hardest {
        unset(writing, "temperature", &mut config.temperature);
        unset(writing, "top_p", &mut config.top_p);
        unset(writing, "top_k", &mut top_k);
    }
    if hardest {
        unset(writing, "max_tokens", &mut config.max_tokens);
    }
    // Claude 4 and later refuse the two together.
    if config.temperature.is_some() && writing.family.claude().is_some_and(|claude| claude.is_at_least(4, 0)) {
        unset(writing, "top_p", &mut config.top_p);
    }
    match (top_k, writing.family) {
        (None, _) => {}
        (Some(top_k), Family::Claude(_)) => {
            fields.insert("top_k".to_owned(), json!(top_k));
        }
        (Some(top_k), Family::Nova { .. }) => {
            fields.insert("inferenceConfig".to_owned(), json!({"topK": top_k}));
        }
        (Some(_), _) => writing.drop("top_k"),
    }
    config
}

fn unset<T>(writing: &mut Writing<'_>, name: &str, figure: &mut Option<T>) {
    if figure.take().is_some() {
        writing.drop(name);
    }
}

/// Nova at its highest effort wants temperature, top_p, top_k and the limit on tokens unset.
fn fields_say_high(fields: &Map<String, Value>) -> bool {
    fields.get("reasoningConfig").is_some_and(|config| config["maxReasoningEffort"] == "high")
}

/// What the answer must look like: enforced where the model can be held to it, else said in a sentence.
pub(super) fn output<'a>(writing: &mut Writing<'a>) -> OutputConfig<'a> {
    let request = writing.request;
    match &request.format {
        Format::Text => OutputConfig::default(),
        Format::JsonObject => {
            writing.told.push("Answer with one JSON object and nothing else, without code fences.".to_owned());
            writing.drop("response_format");
            OutputConfig::default()
        }
        Format::JsonSchema { schema, .. } if !enforces_schemas(writing) => {
            let told =
                "Answer with one JSON value that conforms to this JSON schema, and nothing else, without code fences:";
            writing.told.push(format!("{told} {schema}"));
            writing.drop("response_format");
            OutputConfig::default()
        }
        Format::JsonSchema { name, description, schema, .. } => {
            let (closed, lost) = narrowed(schema);
            if lost {
                writing.drop("response_format.json_schema");
            }
            let json_schema = JsonSchema {
                schema: closed.to_string(),
                name: Some(name.as_str()).filter(|name| super::tools::is_name(name)),
                description: description.as_deref().filter(|text| !text.is_empty()),
            };
            let text_format = Some(TextFormat { r#type: "json_schema", structure: Structure { json_schema } });
            OutputConfig { text_format, effort: None }
        }
    }
}

/// Claude tells which stop text it met if it is asked to; in a stream it stands a level deeper.
pub(super) fn response_paths(writing: &Writing<'_>) -> &'static [&'static str] {
    if writing.family.claude().is_none() || writing.request.stop.is_empty() {
        return &[];
    }
    if writing.request.stream { &["/delta/stop_sequence"] } else { &["/stop_sequence"] }
}
