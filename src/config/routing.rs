//! `[routing]`: how requests are ordered, repeated, hedged and kept warm; and what a tenant has of its own.
//!
//! Shares are typed with a percent sign, so that `5` cannot be meant as five times everything. What is absent keeps the default of
//! `crate::routing::terms`; a tenant keeps what the section says.

use super::leaf::{count, duration, keyword, model_name, model_pattern, name, number, one_of, percent, truth};
use super::problem::{Complaint, Findings, quoted, suggestion};
use super::raw;
use super::read::{At, Leaf, Typed};
use crate::domain::id::TenantId;
use crate::domain::map::Map;
use crate::limits;
use crate::routing::glob::NamePattern;
use crate::routing::semantic::{CATEGORIES, Category, Conditions, LANGUAGES, Language, Rule};
use crate::routing::terms::{BreakerTerms, GOALS, ON_CLIENT_GONE, REPEATS, RoutingTerms, TenantTerms};
use std::sync::Arc;
use std::time::Duration;

/// What still is a pause: shorter ones would hammer a provider that is down.
const PAUSE_LEAST: Duration = Duration::from_millis(100);
const BREAKER_FAILURES_CEILING: u64 = 100;

/// The section as meant, without the tenants' own terms.
pub(super) fn routing(raw: Option<raw::Routing>, findings: &mut Findings) -> RoutingTerms {
    let mut meant = RoutingTerms { decisions_kept: limits::DECISIONS_KEPT, ..RoutingTerms::default() };
    let Some(raw) = raw else { return meant };
    let own = raw::TenantRouting {
        at: raw.at,
        optimization: raw.optimization,
        repeat: raw.repeat,
        hedging: raw.hedging,
        hedged_share: raw.hedged_share,
        waste_share: raw.waste_share,
        continue_streams: raw.continue_streams,
        on_client_gone: raw.on_client_gone,
    };
    meant.usual = terms(own, &TenantTerms::default(), findings);
    meant.no_affinity = findings.value("affinity", raw.affinity, truth) == Some(false);
    if let Some(raw) = raw.breaker {
        meant.breaker = breaker(raw, findings);
    }
    let pause = duration(PAUSE_LEAST, limits::ROUTING_PAUSE_CEILING);
    meant.probe_interval = findings.value("probe_interval", raw.probe_interval, pause);
    let kept = count(0, limits::DECISIONS_KEPT_CEILING as u64);
    if let Some(kept) = findings.value("decisions", raw.decisions, kept) {
        meant.decisions_kept = kept as usize;
    }
    meant.quality = quality(raw.quality.unwrap_or_default(), findings);
    meant.rules = rules(raw.at, raw.rules.unwrap_or_default(), findings);
    meant
}

/// Tenants with terms of their own; each keeps `usual` where it says nothing.
pub(super) fn tenants(
    raw: Vec<(TenantId, raw::TenantRouting)>,
    usual: &TenantTerms,
    findings: &mut Findings,
) -> Map<TenantId, TenantTerms> {
    raw.into_iter().map(|(tenant, raw)| (tenant, terms(raw, usual, findings))).collect()
}

fn terms(raw: raw::TenantRouting, usual: &TenantTerms, findings: &mut Findings) -> TenantTerms {
    let share = percent(0.0, 1.0);
    TenantTerms {
        repeat: findings.value("repeat", raw.repeat, one_of(REPEATS)).unwrap_or(usual.repeat),
        goal: findings.value("optimization", raw.optimization, one_of(GOALS)).unwrap_or(usual.goal),
        hedging: findings.value("hedging", raw.hedging, truth).unwrap_or(usual.hedging),
        hedged_share_max: findings.value("hedged_share", raw.hedged_share, &share).unwrap_or(usual.hedged_share_max),
        waste_share_max: findings.value("waste_share", raw.waste_share, &share).unwrap_or(usual.waste_share_max),
        continue_streams: findings
            .value("continue_streams", raw.continue_streams, truth)
            .unwrap_or(usual.continue_streams),
        on_client_gone: findings
            .value("on_client_gone", raw.on_client_gone, one_of(ON_CLIENT_GONE))
            .unwrap_or(usual.on_client_gone),
    }
}

fn breaker(raw: raw::Breaker, findings: &mut Findings) -> BreakerTerms {
    let usual = BreakerTerms::default();
    let failures = findings.value("failures", raw.failures, count(1, BREAKER_FAILURES_CEILING));
    let open = findings.value("open", raw.open, duration(PAUSE_LEAST, limits::ROUTING_PAUSE_CEILING));
    BreakerTerms {
        failures: failures.map_or(usual.failures, |failures| failures as u32),
        open_for: open.unwrap_or(usual.open_for),
    }
}

fn quality(raw: Vec<raw::Quality>, findings: &mut Findings) -> Vec<(NamePattern, f64)> {
    let mut patterns: Vec<At<String>> = Vec::new();
    let mut meant = Vec::new();
    for entry in raw {
        let at = entry.at;
        let model = findings.required(("`[[routing.quality]]`", at, "model", "\"gpt-5*\""), entry.model, model_pattern);
        let score = findings.required(("`[[routing.quality]]`", at, "score", "0.95"), entry.score, number(0.0, 1.0));
        if let (Some(model), Some(score)) = (model, score) {
            meant.push((NamePattern::parse(&model.value), score.value));
            patterns.push(model);
        }
    }
    findings.distinct("model", &patterns);
    meant
}

// === Rules for `auto` ===

fn rules(at: usize, raw: Vec<raw::Rule>, findings: &mut Findings) -> Vec<Rule> {
    if raw.len() > limits::SEMANTIC_RULES_MAX {
        let what = format!("`[routing]` has {} rules, above the limit of {}", raw.len(), limits::SEMANTIC_RULES_MAX);
        findings.error(at, what, "join rules that ask for the same model");
        return Vec::new();
    }
    let mut meant: Vec<Rule> = Vec::new();
    for entry in raw {
        let at = entry.at;
        if meant.last().is_some_and(|before| before.when == Conditions::default()) {
            let remedy = "move the rule without conditions to the end";
            findings.warning(at, "this rule is never reached: the one before it fits every request", remedy);
        }
        meant.extend(rule(entry, findings));
    }
    meant
}

fn rule(raw: raw::Rule, findings: &mut Findings) -> Option<Rule> {
    let at = raw.at;
    let model = findings.required(("`[[routing.rules]]`", at, "model", "\"gpt-4o\""), raw.model, model_name);
    let category = findings.meant("category", raw.category, name);
    let mut when = Conditions {
        class: None,
        any: keywords("keywords", raw.keywords, at, findings),
        all: keywords("keywords_all", raw.keywords_all, at, findings),
        input_tokens_min: findings.value("min_tokens", raw.min_tokens, count(0, i64::MAX as u64)).unwrap_or(0),
        input_tokens_max: findings.value("max_tokens", raw.max_tokens, count(0, i64::MAX as u64)),
        tools: findings.value("tools", raw.tools, truth),
        languages: languages(raw.languages, at, findings),
        code_share_min: findings.value("code_share", raw.code_share, percent(0.0, 1.0)),
    };
    if when.input_tokens_max.is_some_and(|most| most < when.input_tokens_min) {
        findings.error(at, "`max_tokens` is below `min_tokens`, so the rule never fits", "raise it or remove one");
    }
    let by_words = !when.any.is_empty() || !when.all.is_empty() || when.code_share_min.is_some();
    if let Some(category) = category.as_ref().filter(|_| !by_words) {
        when.class = Category::parse(&category.value);
        if when == Conditions::default() {
            let known = suggestion(&category.value, CATEGORIES.iter().map(|(word, _)| *word));
            let what = format!("nothing says which requests are {}", quoted(&category.value));
            findings.error(category.at, what, format!("add `keywords` or another condition, or {known}"));
        }
    }
    Some(Rule { category: category.map(|typed| Arc::from(typed.value)), model: Arc::from(model?.value), when })
}

fn keywords(key: &str, leaves: Option<Vec<Leaf>>, at: usize, findings: &mut Findings) -> Vec<Box<str>> {
    let Some(leaves) = leaves else { return Vec::new() };
    let count = leaves.len();
    if count == 0 || count > limits::SEMANTIC_KEYWORDS_MAX {
        let what = format!("`{key}` has {count} entries");
        findings.error(at, what, format!("list 1 to {} words", limits::SEMANTIC_KEYWORDS_MAX));
        return Vec::new();
    }
    findings.all(key, leaves, keyword).into_iter().map(|word| word.value).collect()
}

fn languages(leaves: Option<Vec<Leaf>>, at: usize, findings: &mut Findings) -> Vec<Language> {
    let Some(leaves) = leaves else { return Vec::new() };
    if leaves.is_empty() {
        findings.error(at, "`languages` is empty", "write it as in [\"de\", \"fr\"], or remove it");
    }
    findings.all("languages", leaves, language).into_iter().map(|language| language.value).collect()
}

fn language(typed: &Typed) -> Result<Language, Complaint> {
    let code = name(typed)?;
    Language::parse(&code).ok_or_else(|| {
        Complaint::new(
            format!("is {}, which is not recognised in texts", quoted(&code)),
            format!("use one of {}", LANGUAGES.join(", ")),
        )
    })
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
