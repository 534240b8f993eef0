//! What each model of Anthropic allows (its model pages, read 2026-11), and the list of models.

use super::refusal;
use crate::simulator::surface::Denial;
use crate::simulator::text::quote;
use std::fmt::Write as _;

/// What a family of models allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Caps {
    /// Temperature and its kin.
    pub(super) sampling: bool,
    /// A last turn of the assistant that the model goes on with.
    pub(super) prefill: bool,
    /// Thinking by a budget of tokens.
    pub(super) budget: bool,
    /// Thinking at the model's own discretion.
    pub(super) adaptive: bool,
    /// Thinking cannot be switched off.
    pub(super) always_thinks: bool,
    /// A choice that forces a tool.
    pub(super) forced_tools: bool,
    /// Thoughts belong to the model that had them.
    pub(super) bound_thoughts: bool,
    /// Thoughts are not shown unless asked for.
    pub(super) silent: bool,
    /// Words of `output_config.effort`.
    pub(super) efforts: &'static [&'static str],
    /// Tokens of an answer at most.
    pub(super) tokens_max: i64,
}

const CLASSIC: Caps = Caps {
    sampling: true,
    prefill: true,
    budget: true,
    adaptive: false,
    always_thinks: false,
    forced_tools: true,
    bound_thoughts: false,
    silent: false,
    efforts: &[],
    tokens_max: 64_000,
};
const FOUR_SIX: Caps =
    Caps { prefill: false, adaptive: true, efforts: &["low", "medium", "high", "max"], tokens_max: 128_000, ..CLASSIC };
const MODERN: Caps = Caps {
    sampling: false,
    budget: false,
    silent: true,
    efforts: &["low", "medium", "high", "xhigh", "max"],
    ..FOUR_SIX
};
const THINKER: Caps = Caps { always_thinks: true, ..MODERN };
const BOUND: Caps = Caps { forced_tools: false, bound_thoughts: true, ..THINKER };

/// The longest start of a name wins; other names are taken for the newest kind.
const FAMILIES: [(&str, Caps); 21] = [
    ("claude-haiku-4-5", CLASSIC),
    ("claude-sonnet-4-5", CLASSIC),
    ("claude-opus-4-5", Caps { efforts: &["low", "medium", "high"], ..CLASSIC }),
    ("claude-opus-4-1", CLASSIC),
    ("claude-sonnet-4-2", CLASSIC),
    ("claude-opus-4-2", CLASSIC),
    ("claude-3", CLASSIC),
    ("claude-sonnet-4-6", FOUR_SIX),
    ("claude-opus-4-6", FOUR_SIX),
    ("claude-opus-4-7", MODERN),
    ("claude-opus-4-8", MODERN),
    ("claude-opus-5", MODERN),
    ("claude-opus-5-5", BOUND),
    ("claude-sonnet-5", MODERN),
    ("claude-sonnet-5-5", THINKER),
    ("claude-haiku-5-5", MODERN),
    ("claude-fable-5", THINKER),
    ("claude-fable-5-1", BOUND),
    ("claude-mythos-5", THINKER),
    ("claude-mythos-preview", THINKER),
    ("claude-", MODERN),
];

/// What this model allows.
pub(super) fn caps(model: &str) -> Caps {
    let known = FAMILIES.iter().filter(|(start, _)| model.starts_with(start));
    known.max_by_key(|(start, _)| start.len()).map_or(MODERN, |(_, caps)| *caps)
}

/// The body of `GET /v1/models`, after the query's `after_id` and up to its `limit`.
pub(super) fn list(names: &[String], query: &str) -> Result<String, Denial> {
    let asked = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.rfind(|(known, _)| *known == name).map(|(_, value)| value)
    };
    let limit = asked("limit").unwrap_or("20");
    let Some(limit) = limit.parse::<usize>().ok().filter(|limit| (1..=1000).contains(limit)) else {
        return Err(refusal::invalid("limit: Input should be between 1 and 1000"));
    };
    let after = asked("after_id").and_then(|id| names.iter().position(|name| name == id)).map_or(0, |at| at + 1);
    let page: Vec<_> = names[after..].iter().take(limit).collect();
    let end = |name: Option<&&String>| name.map_or("null".to_owned(), |name| quote(name));
    let mut out = String::from(r#"{"data":["#);
    for (position, name) in page.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}", entry(name));
    }
    let more = after + page.len() < names.len();
    let (first, last) = (end(page.first()), end(page.last()));
    let _ = write!(out, r#"],"has_more":{more},"first_id":{first},"last_id":{last}}}"#);
    Ok(out)
}

/// One entry of the list.
pub(super) fn entry(name: &str) -> String {
    let caps = caps(name);
    let id = quote(name);
    format!(
        r#"{{"type":"model","id":{id},"display_name":{id},"created_at":"2026-10-01T00:00:00Z","lifecycle":"active","max_input_tokens":1000000,"max_tokens":{},"capabilities":{{"thinking":{{"supported":true}},"effort":{{"supported":{}}},"structured_outputs":{{"supported":true}}}}}}"#,
        caps.tokens_max,
        !caps.efforts.is_empty(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_decides() {
        assert_eq!(caps("claude-opus-5-5-20261001"), BOUND);
        assert_eq!(caps("claude-opus-5"), MODERN);
        assert_eq!(caps("claude-sonnet-4-5-20250929"), CLASSIC);
        assert_eq!(caps("somebody-else"), MODERN);
    }
}
