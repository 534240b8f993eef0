//! What each model of Google allows (its model pages, read 2026-11), and the list of models.

use crate::simulator::text::quote;
use std::fmt::Write as _;

/// What a family of models allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Caps {
    /// Temperature and its kin.
    pub(super) sampling: bool,
    /// Thinks unless told not to.
    pub(super) thinks: bool,
    /// Thinking cannot be switched off.
    pub(super) always_thinks: bool,
    /// Thinking by levels instead of budgets alone.
    pub(super) levels: bool,
    /// Signs its calls, gives them ids, and wants both back.
    pub(super) signs: bool,
    /// Tools and a JSON format at once.
    pub(super) tools_with_format: bool,
    /// Makes vectors and nothing else.
    pub(super) embeds: bool,
}

const SECOND: Caps = Caps {
    sampling: true,
    thinks: true,
    always_thinks: false,
    levels: false,
    signs: false,
    tools_with_format: false,
    embeds: false,
};
const THIRD: Caps = Caps { always_thinks: true, levels: true, signs: true, tools_with_format: true, ..SECOND };
const COLD: Caps = Caps { sampling: false, ..THIRD };

/// The longest start of a name wins; other names are taken for the newest kind.
const FAMILIES: [(&str, Caps); 10] = [
    ("gemini-2", SECOND),
    ("gemini-2.5-flash-lite", Caps { thinks: false, ..SECOND }),
    ("gemini-2.5-pro", Caps { always_thinks: true, ..SECOND }),
    ("gemini-3", THIRD),
    ("gemini-3.5-flash-lite", COLD),
    ("gemini-3.6-flash", COLD),
    ("gemini-3.7-flash", COLD),
    ("gemini-3.8-flash", COLD),
    ("gemini-embedding", Caps { embeds: true, ..SECOND }),
    ("text-embedding", Caps { embeds: true, ..SECOND }),
];

/// What this model allows.
pub(super) fn caps(model: &str) -> Caps {
    let known = FAMILIES.iter().filter(|(start, _)| model.starts_with(start));
    known.max_by_key(|(start, _)| start.len()).map_or(THIRD, |(_, caps)| *caps)
}

/// The body of `GET /models`.
pub(super) fn list(names: &[String]) -> String {
    let mut out = String::from(r#"{"models":["#);
    for (position, name) in names.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}", entry(name));
    }
    out.push_str("]}");
    out
}

/// One entry of the list.
pub(super) fn entry(name: &str) -> String {
    let (path, shown) = (quote(&format!("models/{name}")), quote(name));
    let caps = caps(name);
    let methods = if caps.embeds {
        r#"["embedContent","batchEmbedContents"]"#
    } else {
        r#"["generateContent","streamGenerateContent","countTokens"]"#
    };
    format!(
        r#"{{"name":{path},"version":"001","displayName":{shown},"inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":{methods},"thinking":{}}}"#,
        caps.thinks && !caps.embeds
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_decides() {
        assert!(!caps("gemini-2.5-flash-lite").thinks && caps("gemini-2.5-flash").thinks);
        assert!(caps("gemini-pro-latest").signs && !caps("gemini-2.5-pro").signs);
        assert!(!caps("gemini-3.7-flash").sampling && caps("gemini-3.5-flash").sampling);
    }
}
