//! Where a provider departs from the plain OpenAI shape, as data that generic code applies.
//!
//! Request bodies are edited by splicing single members, never rebuilt, so a rewrite names one top-level member and what becomes of
//! it; every member that no rule names passes untouched, known to us or not.

use crate::metering::usage::Accounting;

/// What becomes of one top-level member of a chat request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Left out: the provider refuses it, and the answer does not depend on it or could not honour it.
    Drop(&'static str),
    /// Sent under another name, value unchanged. Where the request already has a member of the new name, that one stays and the
    /// old one is dropped, so that no name occurs twice.
    Rename(&'static str, &'static str),
}

impl Rewrite {
    /// The member it is about.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Drop(member) | Self::Rename(member, _) => member,
        }
    }
}

/// A rewrite and the models it holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Prefixes of model names; empty means every model.
    pub models: &'static [&'static str],
    /// What to do.
    pub rewrite: Rewrite,
}

impl Rule {
    /// A rule for every model.
    pub const fn always(rewrite: Rewrite) -> Self {
        Self { models: &[], rewrite }
    }

    /// A rule for models whose name starts so.
    pub const fn of(models: &'static [&'static str], rewrite: Rewrite) -> Self {
        Self { models, rewrite }
    }

    fn holds_for(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|prefix| model.starts_with(prefix))
    }
}

/// How a provider takes top-level request members that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownMembers {
    /// With a 4xx: what is ours must be gone before it is sent.
    Refused,
    /// Silently.
    Ignored,
    /// It does not say.
    Unstated,
}

/// When a provider reports usage in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamUsage {
    /// When `stream_options.include_usage` asks for it.
    OnRequest,
    /// On the last chunk, asked or not; asking is needless and may be refused.
    Unasked,
}

/// A model family that one name stands for but another provider serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Prefix of the family's model names.
    pub prefix: &'static str,
    /// The id of the row that serves it.
    pub provider: &'static str,
}

/// Everything a provider does in its own way. The rewrites hold for chat completions; other endpoints pass as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Members to drop or rename on the way out.
    pub rules: &'static [Rule],
    /// How members that are not OpenAI's are taken.
    pub unknown_members: UnknownMembers,
    /// When usage comes in streams.
    pub stream_usage: StreamUsage,
    /// How usage figures relate to each other.
    pub accounting: Accounting,
    /// Streams carry SSE comments to stay alive: they are neither events nor a first token.
    pub keep_alive_comments: bool,
    /// Unary bodies may begin with blank lines sent to stay alive: they are not a first byte.
    pub leading_blank_lines: bool,
    /// Model families that belong to another row.
    pub splits: &'static [Split],
    /// Whether it also speaks OpenAI's Responses, at `/responses`.
    pub responses: bool,
    /// The field that names a request, so that the same sent twice is done once; `None` where there is none (rule Q5).
    pub idempotency_field: Option<&'static str>,
}

impl Quirks {
    /// A provider that does everything as OpenAI does.
    pub const PLAIN: Self = Self {
        rules: &[],
        unknown_members: UnknownMembers::Unstated,
        stream_usage: StreamUsage::OnRequest,
        accounting: Accounting::OpenAi,
        keep_alive_comments: false,
        leading_blank_lines: false,
        splits: &[],
        responses: false,
        idempotency_field: None,
    };

    /// The rewrites that hold for a model, in the order to apply them. No two name the same member.
    pub fn rewrites(&self, model: &str) -> impl Iterator<Item = Rewrite> {
        self.rules.iter().filter(move |rule| rule.holds_for(model)).map(|rule| rule.rewrite)
    }

    /// What becomes of `member` in a request for `model`; `None` when it passes as it is.
    pub fn rewrite(&self, model: &str, member: &str) -> Option<Rewrite> {
        self.rewrites(model).find(|rewrite| rewrite.member() == member)
    }

    /// The member that bounds the answer's tokens, when we write a request ourselves.
    pub fn output_limit_member(&self, model: &str) -> &'static str {
        match self.rewrite(model, "max_tokens") {
            Some(Rewrite::Rename(_, sent)) => sent,
            _ => "max_tokens",
        }
    }

    /// The id of the row that serves `model` in this one's stead, if any.
    pub fn split_of(&self, model: &str) -> Option<&'static str> {
        self.splits.iter().find(|split| model.starts_with(split.prefix)).map(|split| split.provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Quirks = Quirks {
        rules: &[
            Rule::always(Rewrite::Drop("user")),
            Rule::of(&["o1", "gpt-5"], Rewrite::Rename("max_tokens", "max_completion_tokens")),
        ],
        ..Quirks::PLAIN
    };

    #[test]
    fn a_rule_holds_for_its_models_only() {
        assert_eq!(STRICT.output_limit_member("gpt-5.1"), "max_completion_tokens");
        assert_eq!(STRICT.output_limit_member("gpt-4o"), "max_tokens");
        assert_eq!(STRICT.rewrite("gpt-4o", "user"), Some(Rewrite::Drop("user")));
        assert_eq!(STRICT.rewrites("gpt-4o").count(), 1);
    }

    #[test]
    fn what_no_rule_names_passes() {
        for member in ["model", "messages", "stream", "x_vendor_extension"] {
            assert_eq!(STRICT.rewrite("o1", member), None);
        }
    }
}
