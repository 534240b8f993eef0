//! Which listed model an unlisted name belongs to: `claude-opus-5-5-20261001` to `claude-opus-5-5`.
//!
//! A family shares abilities, never prices. A name belongs to the longest listed name that it begins with and that ends where a part of
//! it ends, once what only says where the model is served is gone: `models/` and its kin, and Bedrock's regions and makers.

/// The model's own name in a name that also says where or by whom it is served.
pub(super) fn bare(model: &str) -> &str {
    // `models/gemini-…`, `publishers/anthropic/models/claude-…`, `anthropic/claude-…`.
    let model = model.rsplit_once('/').map_or(model, |(_, name)| name);
    let after_region =
        model.split_once('.').filter(|(region, _)| REGIONS.contains(region)).map_or(model, |(_, rest)| rest);
    after_region.split_once('.').filter(|(maker, _)| MAKERS.contains(maker)).map_or(model, |(_, rest)| rest)
}

/// `name` and the names that it begins with, longest first, each ending where a part of it ends. A dot ends no part: it stands inside
/// the number of a version.
pub(super) fn lineage(name: &str) -> impl Iterator<Item = &str> {
    let ends = name.match_indices(['-', '@', ':']).map(|(place, _)| place).rev();
    std::iter::once(name).chain(ends.filter_map(|end| name.get(..end)))
}

/// What stands before a maker in the ids of Bedrock's inference profiles, read 2026-11.
const REGIONS: [&str; 9] = ["us", "eu", "apac", "jp", "au", "ca", "sa", "us-gov", "global"];

/// Makers in Bedrock's model ids, read 2026-11.
const MAKERS: [&str; 10] =
    ["anthropic", "openai", "mistral", "deepseek", "qwen", "moonshotai", "moonshot", "minimax", "zai", "cohere"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_model_is_served_is_no_part_of_its_name() {
        for (model, name) in [
            ("models/gemini-2.5-pro", "gemini-2.5-pro"),
            ("publishers/anthropic/models/claude-opus-4-5@20251101", "claude-opus-4-5@20251101"),
            ("anthropic.claude-opus-5-5-v1:0", "claude-opus-5-5-v1:0"),
            ("us.anthropic.claude-opus-5-5-v1:0", "claude-opus-5-5-v1:0"),
            ("gpt-5.6-sol", "gpt-5.6-sol"),
            ("us.something-else", "us.something-else"),
            ("", ""),
        ] {
            assert_eq!(bare(model), name, "{model}");
        }
    }

    #[test]
    fn a_name_ends_where_a_part_ends() {
        let names: Vec<_> = lineage("claude-opus-5.5-v1:0").collect();
        assert_eq!(names, ["claude-opus-5.5-v1:0", "claude-opus-5.5-v1", "claude-opus-5.5", "claude-opus", "claude"]);
        assert_eq!(lineage("-").collect::<Vec<_>>(), ["-", ""]);
    }
}
