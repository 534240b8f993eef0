//! `[[models]]`: what clients may ask for, and who serves it by which policy.
//!
//! A name may be a pattern with `*`. A target without `model` asks its provider for the very name that the client used.

use super::leaf::{count, model_name, model_pattern, name, number, one_of};
use super::problem::{Findings, quoted, suggestion};
use super::read::At;
use super::{Known, Provider, raw};
use crate::domain::id::ProviderId;
use crate::routing::policy::{POLICIES, Policy};

/// One name or pattern and its targets.
#[derive(Clone, Debug)]
pub struct Model {
    /// What the client asks for; `*` stands for any characters.
    pub name: String,
    /// How a target is chosen.
    pub policy: Policy,
    /// The percentile that `latency` and `hedged` look at, 0 to 1.
    pub percentile: Option<f64>,
    /// Who may serve it, in the order of the file; at least one.
    pub targets: Vec<Target>,
}

/// One provider and model that may serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Canonical name.
    pub provider: ProviderId,
    /// The provider's name for the model; `None` means the name that the client used.
    pub model: Option<String>,
    /// Share against the other targets, 1 unless stated.
    pub weight: u32,
}

const WEIGHT_MAX: u64 = 1_000_000;
/// Percentiles that say how long a wait is; below the median none does.
const PERCENTILE_LEAST: f64 = 50.0;
/// The last one that observations are kept for.
const PERCENTILE_MOST: f64 = 99.0;

/// All entries as meant. Two entries of one name are refused.
pub(super) fn models(
    raw: Vec<raw::Model>,
    providers: &[Provider],
    known: &Known<'_>,
    findings: &mut Findings,
) -> Vec<Model> {
    let mut names: Vec<At<String>> = Vec::new();
    let mut meant = Vec::new();
    for entry in raw {
        let at = entry.at;
        let typed = findings.required(("`[[models]]`", at, "name", "\"gpt-4\""), entry.name, model_pattern);
        let policy = findings.meant("policy", entry.policy, one_of(POLICIES));
        let targets = targets(at, entry.targets, providers, known, findings);
        if let Some(policy) = policy.as_ref().filter(|policy| policy.value == Policy::Hedged && targets.len() == 1) {
            findings.warning(policy.at, "`hedged` has one target, so nothing is ever hedged", "add a second target");
        }
        let percentile = findings.meant("percentile", entry.percentile, number(PERCENTILE_LEAST, PERCENTILE_MOST));
        let policy = policy.map_or(Policy::default(), |policy| policy.value);
        if let Some(percentile) = percentile.as_ref().filter(|_| !matches!(policy, Policy::Latency | Policy::Hedged)) {
            let what = format!("the policy `{}` looks at no percentile", policy.as_str());
            findings.warning(percentile.at, what, "remove it, or set `policy` to \"latency\" or \"hedged\"");
        }
        let Some(typed) = typed else { continue };
        names.push(typed.clone());
        meant.push(Model {
            name: typed.value,
            policy,
            percentile: percentile.map(|percentile| percentile.value / 100.0),
            targets,
        });
    }
    findings.distinct("model", &names);
    meant
}

fn targets(
    at: usize,
    raw: Option<Vec<raw::Target>>,
    providers: &[Provider],
    known: &Known<'_>,
    findings: &mut Findings,
) -> Vec<Target> {
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        let remedy = "add `targets = [ { provider = \"openai\", model = \"gpt-4o\" } ]`";
        findings.error(at, "`[[models]]` has no `targets`", remedy);
    }
    let mut pairs: Vec<At<String>> = Vec::new();
    let mut meant = Vec::new();
    for entry in raw {
        let at = entry.at;
        let provider = findings.required(("a target", at, "provider", "\"openai\""), entry.provider, name);
        let provider = provider.and_then(|typed| provider_id(&typed, providers, known, findings));
        let model = findings.value("model", entry.model, model_name);
        let weight = findings.value("weight", entry.weight, count(1, WEIGHT_MAX)).unwrap_or(1) as u32;
        let Some(provider) = provider else { continue };
        pairs.push(At { value: format!("{provider}/{}", model.as_deref().unwrap_or("*")), at });
        meant.push(Target { provider, model, weight });
    }
    findings.distinct("the target", &pairs);
    meant
}

/// A configured or built-in provider by any of its names. One that is built in but not configured may get its key by the API: a warning.
pub(super) fn provider_id(
    typed: &At<String>,
    providers: &[Provider],
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<ProviderId> {
    let canonical = known.canonical(&typed.value);
    let sought = canonical.unwrap_or(&typed.value);
    if let Some(provider) = providers.iter().find(|provider| provider.id.as_str() == sought) {
        return Some(provider.id.clone());
    }
    if canonical.is_some() {
        let what = format!("provider {} has no `[[providers]]` entry", quoted(sought));
        findings.warning(typed.at, what, "add one, or add its key through the API");
        return Some(ProviderId::new(sought));
    }
    let own = providers.iter().filter(|provider| !provider.built_in);
    let names = own.map(|provider| provider.id.as_str()).chain(known.provider_names());
    findings.error(typed.at, format!("unknown provider {}", quoted(&typed.value)), suggestion(&typed.value, names));
    None
}
