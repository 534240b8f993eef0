//! `[[tenants]]` and `[[access_keys]]`: who may ask, for what, and how much.
//!
//! An access key names its secret by reference. Without any `[[tenants]]` there is one tenant, `default`.

use super::cidr::{Cidr, cidr};
use super::leaf::{count, instant, model_pattern, name, one_of, text};
use super::model::provider_id;
use super::operation::{KeySource, key_source};
use super::problem::{Complaint, Findings, nearest, quoted, suggestion};
use super::read::{At, Leaf, Typed};
use super::unit;
use super::{Known, Provider, raw};
use crate::domain::budget::{Budget, Cap, Period};
use crate::domain::clock::UnixMillis;
use crate::domain::endpoint::Endpoint;
use crate::domain::id::{ProviderId, TenantId};
use crate::domain::scope::{Scope, Scopes};
use std::collections::HashSet;

pub use crate::domain::id::TENANT_DEFAULT;

/// Tenants that a misspelt one is compared with.
const TENANTS_COMPARED_MAX: usize = 100;

/// Who owns keys and pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// What paths and access keys call it.
    pub id: TenantId,
    /// What people call it.
    pub name: Option<String>,
    /// How much all its access keys together may do.
    pub limits: TenantLimits,
}

/// How much all access keys of a tenant together may do; `None` and empty mean no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Exchanges begun in a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens of both directions in a minute.
    pub tokens_per_minute: Option<u64>,
    /// Exchanges at a time.
    pub concurrent: Option<u32>,
    /// Money by period.
    pub budgets: Vec<Budget>,
}

/// One access key that the owner supplies.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Its name in lists and reports; no two alike.
    pub name: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where its secret is; never a descriptor. No two alike.
    pub key: KeySource,
    /// What it may do, at least one.
    pub scopes: Scopes,
    /// How much it may do.
    pub limits: KeyLimits,
    /// When it stops being one.
    pub expires_at: Option<UnixMillis>,
}

/// How much an access key may do; `None` and empty mean no limit of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Exchanges begun in a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens of both directions in a minute.
    pub tokens_per_minute: Option<u64>,
    /// Exchanges at a time.
    pub concurrent: Option<u32>,
    /// Money by period.
    pub budgets: Vec<Budget>,
    /// Names or patterns of models; empty means all.
    pub models: Vec<String>,
    /// Providers; empty means all.
    pub providers: Vec<ProviderId>,
    /// Kinds of task; empty means all.
    pub endpoints: Vec<Endpoint>,
    /// Addresses that it may be shown from; empty means all.
    pub sources: Vec<Cidr>,
}

// === Tenants ===

/// All tenants, for each listed one its position, and the terms of those that have their own.
type Tenants = (Vec<Tenant>, Vec<At<String>>, Vec<(TenantId, raw::TenantRouting)>);

/// All tenants as meant; their terms of routing as typed.
pub(super) fn tenants(raw: Option<Vec<raw::Tenant>>, findings: &mut Findings) -> Tenants {
    let Some(raw) = raw.filter(|raw| !raw.is_empty()) else {
        return (
            vec![Tenant { id: TenantId::new(TENANT_DEFAULT), name: None, limits: TenantLimits::default() }],
            Vec::new(),
            Vec::new(),
        );
    };
    let mut ids: Vec<At<String>> = Vec::new();
    let (mut meant, mut routings) = (Vec::new(), Vec::new());
    for entry in raw {
        let id = findings.required(("`[[tenants]]`", entry.at, "id", "\"default\""), entry.id, name);
        let name = findings.value("name", entry.name, text);
        let limits = entry.limits.map_or_else(TenantLimits::default, |limits| tenant_limits(limits, findings));
        let Some(id) = id else { continue };
        meant.push(Tenant { id: TenantId::new(&id.value), name, limits });
        routings.extend(entry.routing.map(|routing| (TenantId::new(&id.value), routing)));
        ids.push(id);
    }
    findings.distinct("tenant", &ids);
    (meant, ids, routings)
}

/// Warns of listed tenants that no access key names; theirs may come by the API.
pub(super) fn warn_unreferenced(listed: &[At<String>], keys: &[AccessKey], findings: &mut Findings) {
    let used: HashSet<&str> = keys.iter().map(|key| key.tenant.as_str()).collect();
    for id in listed.iter().filter(|id| !used.contains(id.value.as_str())) {
        let what = format!("no access key names the tenant {}", quoted(&id.value));
        findings.warning(id.at, what, "add an `[[access_keys]]` entry, or make its keys through the API");
    }
}

// === Access keys ===

/// What entries of `[[access_keys]]` may refer to.
pub(super) struct Referents<'a> {
    /// Ids, sorted.
    pub(super) tenants: Vec<&'a str>,
    pub(super) providers: &'a [Provider],
    pub(super) known: &'a Known<'a>,
}

/// All access keys as meant. Two of one name, or with one secret, are refused.
pub(super) fn access_keys(
    raw: Vec<raw::AccessKey>,
    referents: &Referents<'_>,
    findings: &mut Findings,
) -> Vec<AccessKey> {
    let mut names: Vec<At<String>> = Vec::new();
    let mut sources: Vec<At<KeySource>> = Vec::new();
    let mut meant = Vec::new();
    for mut entry in raw {
        let name = findings.required(("`[[access_keys]]`", entry.at, "name", "\"app\""), entry.name.take(), name);
        let source = source(entry.at, entry.key.take(), findings);
        let rest = rest(entry, referents, findings);
        names.extend(name.clone());
        sources.extend(source.clone());
        if let (Some(name), Some(source), Some((tenant, scopes, limits, expires_at))) = (name, source, rest) {
            meant.push(AccessKey { name: name.value, tenant, key: source.value, scopes, limits, expires_at });
        }
    }
    findings.distinct("access key", &names);
    findings.distinct("the secret in", &sources);
    meant
}

type Rest = (TenantId, Scopes, KeyLimits, Option<UnixMillis>);

/// What is left of an entry once its name and key are taken out.
fn rest(entry: raw::AccessKey, referents: &Referents<'_>, findings: &mut Findings) -> Option<Rest> {
    let tenant = tenant(entry.at, entry.tenant, &referents.tenants, findings);
    let scopes = scopes(entry.at, entry.scopes, findings);
    let limits = entry.limits.map_or_else(KeyLimits::default, |limits| key_limits(limits, referents, findings));
    let expires_at = findings.value("expires_at", entry.expires_at, instant);
    Some((tenant?, scopes, limits, expires_at))
}

fn source(at: usize, raw: Option<raw::KeyReference>, findings: &mut Findings) -> Option<At<KeySource>> {
    let Some(raw) = raw else {
        findings.error(at, "`[[access_keys]]` has no `key`", "add `key = { env = \"IGRIS_API_KEY\" }`");
        return None;
    };
    key_source("key", raw, false, findings)
}

fn tenant(at: usize, leaf: Option<Leaf>, tenants: &[&str], findings: &mut Findings) -> Option<TenantId> {
    let typed = match leaf {
        Some(leaf) => findings.meant("tenant", Some(leaf), name)?,
        None => At { value: TENANT_DEFAULT.to_owned(), at },
    };
    if tenants.binary_search(&typed.value.as_str()).is_ok() {
        return Some(TenantId::new(&typed.value));
    }
    // A file with very many tenants may have very many slips: comparing all with all would take minutes.
    let compared = &tenants[..tenants.len().min(TENANTS_COMPARED_MAX)];
    let remedy = match nearest(&typed.value, compared.iter().copied()) {
        Some(id) => format!("add a `[[tenants]]` entry; did you mean `{id}`?"),
        None => "add a `[[tenants]]` entry".to_owned(),
    };
    findings.error(typed.at, format!("unknown tenant {}", quoted(&typed.value)), remedy);
    None
}

fn scopes(at: usize, leaves: Option<Vec<Leaf>>, findings: &mut Findings) -> Scopes {
    let Some(leaves) = leaves else { return Scopes::INFERENCE };
    if leaves.is_empty() {
        findings.error(at, "`scopes` is empty, so the key may do nothing", "write `scopes = [\"inference\"]`");
    }
    let scopes = findings.all("scopes", leaves, scope);
    let names: Vec<At<&str>> = scopes.iter().map(|scope| At { value: scope.value.name(), at: scope.at }).collect();
    findings.distinct("scope", &names);
    scopes.into_iter().map(|scope| scope.value).collect()
}

fn scope(typed: &Typed) -> Result<Scope, Complaint> {
    let text = text(typed)?;
    Scope::parse(&text).ok_or_else(|| {
        Complaint::new(format!("is {}", quoted(&text)), suggestion(&text, Scope::ALL.into_iter().map(Scope::name)))
    })
}

fn tenant_limits(raw: raw::TenantLimits, findings: &mut Findings) -> TenantLimits {
    let per_minute = count(1, i64::MAX as u64);
    TenantLimits {
        requests_per_minute: findings.value("requests_per_minute", raw.requests_per_minute, &per_minute),
        tokens_per_minute: findings.value("tokens_per_minute", raw.tokens_per_minute, &per_minute),
        concurrent: findings.value("concurrent", raw.concurrent, count(1, 1_000_000)).map(|most| most as u32),
        budgets: budgets(raw.budget, raw.budgets, findings),
    }
}

fn key_limits(raw: raw::KeyLimits, referents: &Referents<'_>, findings: &mut Findings) -> KeyLimits {
    let per_minute = count(1, i64::MAX as u64);
    let models = findings.all("models", raw.models.unwrap_or_default(), model_pattern);
    findings.distinct("model", &models);
    KeyLimits {
        requests_per_minute: findings.value("requests_per_minute", raw.requests_per_minute, &per_minute),
        tokens_per_minute: findings.value("tokens_per_minute", raw.tokens_per_minute, &per_minute),
        concurrent: findings.value("concurrent", raw.concurrent, count(1, 1_000_000)).map(|most| most as u32),
        budgets: budgets(raw.budget, raw.budgets, findings),
        models: models.into_iter().map(|model| model.value).collect(),
        providers: limited_to(raw.providers, referents, findings),
        endpoints: endpoints(raw.endpoints, findings),
        sources: sources(raw.sources, findings),
    }
}

fn endpoints(leaves: Option<Vec<Leaf>>, findings: &mut Findings) -> Vec<Endpoint> {
    let typed = findings.all("endpoints", leaves.unwrap_or_default(), endpoint);
    let names: Vec<At<&str>> = typed.iter().map(|kind| At { value: kind.value.name(), at: kind.at }).collect();
    findings.distinct("endpoint", &names);
    typed.into_iter().map(|kind| kind.value).collect()
}

fn endpoint(typed: &Typed) -> Result<Endpoint, Complaint> {
    let text = text(typed)?;
    let known = Endpoint::ALL.into_iter().map(Endpoint::name);
    Endpoint::parse(&text).ok_or_else(|| Complaint::new(format!("is {}", quoted(&text)), suggestion(&text, known)))
}

fn sources(leaves: Option<Vec<Leaf>>, findings: &mut Findings) -> Vec<Cidr> {
    let typed = findings.all("sources", leaves.unwrap_or_default(), cidr);
    let shown: Vec<At<String>> =
        typed.iter().map(|range| At { value: range.value.to_string(), at: range.at }).collect();
    findings.distinct("source", &shown);
    typed.into_iter().map(|range| range.value).collect()
}

fn limited_to(leaves: Option<Vec<Leaf>>, referents: &Referents<'_>, findings: &mut Findings) -> Vec<ProviderId> {
    let typed = findings.all("providers", leaves.unwrap_or_default(), name);
    let resolve = |typed: At<String>| {
        let at = typed.at;
        provider_id(&typed, referents.providers, referents.known, findings).map(|value| At { value, at })
    };
    let providers: Vec<At<ProviderId>> = typed.into_iter().filter_map(resolve).collect();
    findings.distinct("provider", &providers);
    providers.into_iter().map(|provider| provider.value).collect()
}

/// All budgets, at most one for each period and cap.
fn budgets(one: Option<Leaf>, many: Option<Vec<raw::Spend>>, findings: &mut Findings) -> Vec<Budget> {
    let mut meant: Vec<At<Budget>> = Vec::new();
    meant.extend(one.and_then(|leaf| findings.meant("budget", Some(leaf), budget)));
    for spend in many.unwrap_or_default() {
        meant.extend(match spend {
            raw::Spend::Text(leaf) => findings.meant("budgets", Some(leaf), budget),
            raw::Spend::Table(table) => budget_of_parts(table, findings),
        });
    }
    let kinds: Vec<At<String>> = meant
        .iter()
        .map(|At { value, at }| At { value: format!("{} {}", value.period.name(), value.cap.name()), at: *at })
        .collect();
    findings.distinct("budget", &kinds);
    meant.into_iter().map(|budget| budget.value).collect()
}

fn budget_of_parts(raw: raw::Budget, findings: &mut Findings) -> Option<At<Budget>> {
    const PERIODS: &[(&str, Period)] = &[
        ("hour", Period::Hour),
        ("day", Period::Day),
        ("week", Period::Week),
        ("month", Period::Month),
        ("total", Period::Total),
    ];
    const CAPS: &[(&str, Cap)] = &[("hard", Cap::Hard), ("soft", Cap::Soft)];
    let at = raw.at;
    let amount = |typed: &Typed| unit::money(&text(typed)?);
    let amount = findings.required(("`budgets`", at, "amount", "\"$100\""), raw.amount, amount);
    let period = findings.required(("`budgets`", at, "period", "\"month\""), raw.period, one_of(PERIODS));
    let cap = match raw.cap {
        None => Some(Cap::Hard),
        given => findings.value("cap", given, one_of(CAPS)),
    };
    Some(At { value: Budget { amount: amount?.value, period: period?.value, cap: cap? }, at })
}

fn budget(typed: &Typed) -> Result<Budget, Complaint> {
    match typed {
        Typed::Integer(number) => Err(Complaint::new(
            format!("is `{number}`, an amount without currency and period"),
            format!("write \"${number}/month\""),
        )),
        other => unit::budget(&text(other)?),
    }
}
