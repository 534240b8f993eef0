//! Answers that the snapshot alone can give: health, the models and the providers that an access key may use.

use super::account;
use super::exchange::Exchange;
use super::fault::Fault;
use super::per_core::Phase;
use crate::dialects::Wire;
use crate::json::splice::escape_into;
use crate::snapshot::{AccessKey, ListedModel, Provider, ProviderIx, Snapshot};
use std::io::Write as _;

/// A page answered here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/`: that somebody is there.
    Root,
    /// `/v1/health`: status, version and the state behind it.
    Health,
    /// `/v1/health/live`: the process answers.
    Live,
    /// `/v1/health/ready`: it takes requests.
    Ready,
    /// `/v1/models`: what may be asked for.
    Models,
    /// `/v1/models/{id}`: one of them.
    Model(String),
    /// `/v1beta/models`: the same list as Google's clients read it.
    GeminiModels,
    /// `/v1beta/models/{id}`.
    GeminiModel(String),
    /// `/v1/providers`: who may answer.
    Providers,
}

impl Page {
    /// Whether an access key is needed.
    pub fn needs_key(&self) -> bool {
        !matches!(self, Page::Root | Page::Health | Page::Live | Page::Ready)
    }
}

/// The page at a path.
pub fn page(path: &str) -> Option<Page> {
    Some(match path {
        "/" | "*" => Page::Root,
        "/v1/health" => Page::Health,
        "/v1/health/live" => Page::Live,
        "/v1/health/ready" => Page::Ready,
        "/v1/models" => Page::Models,
        "/v1/providers" => Page::Providers,
        "/v1beta/models" => Page::GeminiModels,
        _ if path.starts_with("/v1beta/models/") => {
            Page::GeminiModel(path.strip_prefix("/v1beta/models/").filter(|id| !id.contains(':'))?.to_owned())
        }
        _ => Page::Model(path.strip_prefix("/v1/models/").filter(|id| !id.contains(':'))?.to_owned()),
    })
}

/// Writes the body of a page.
pub fn write(exchange: &Exchange<'_>, page: &Page, key: Option<&AccessKey>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let snapshot = &exchange.snapshot;
    match (page, key) {
        (Page::Root, _) => out.extend_from_slice(b"{\"service\":\"igris\",\"docs\":\"POST /v1/chat/completions\"}"),
        (Page::Live, _) => out.extend_from_slice(b"{\"status\":\"ok\"}"),
        (Page::Ready, _) if exchange.core.phase() >= Phase::Draining => return Err(Fault::Overloaded),
        (Page::Ready, _) => out.extend_from_slice(b"{\"status\":\"ready\"}"),
        (Page::Health, _) => health(snapshot, out),
        (Page::Models, Some(key)) => models(snapshot, key, Shape::of(exchange.face), out),
        (Page::GeminiModels, Some(key)) => models(snapshot, key, Shape::Google, out),
        (Page::Model(id), Some(key)) => return model(snapshot, key, id, Shape::of(exchange.face), out),
        (Page::GeminiModel(id), Some(key)) => return model(snapshot, key, id, Shape::Google, out),
        (Page::Providers, Some(key)) => providers(snapshot, key, out),
        (_, None) => return Err(Fault::ScopeMissing { needs: "inference" }),
    }
    Ok(())
}

fn health(snapshot: &Snapshot, out: &mut Vec<u8>) {
    // Writing to a Vec does not fail.
    let _ = write!(
        out,
        "{{\"status\":\"healthy\",\"version\":\"{}\",\"uptime_seconds\":{},\"snapshot_generation\":{},\"config_version\":{}}}",
        env!("CARGO_PKG_VERSION"),
        snapshot.started.elapsed().as_secs(),
        snapshot.generation,
        snapshot.config.version
    );
}

/// Whether a key may use a provider, and could.
fn usable<'s>(snapshot: &'s Snapshot, key: &AccessKey, ix: ProviderIx) -> Option<&'s Provider> {
    let provider = snapshot.provider(ix)?;
    let allowed = key.providers.is_empty() || key.providers.contains(&provider.id);
    let keyed = provider.keyless || !snapshot.credentials.find(&key.tenant, &provider.id).is_empty();
    (allowed && keyed).then_some(provider)
}

fn may_ask(key: &AccessKey, model: &str) -> bool {
    key.models.is_empty() || key.models.iter().any(|pattern| pattern.matches(model))
}

fn listed<'s>(snapshot: &'s Snapshot, key: &'s AccessKey) -> impl Iterator<Item = (&'s ListedModel, &'s Provider)> {
    snapshot.routes.listed.iter().filter_map(move |model| {
        let provider = model.providers.iter().find_map(|ix| usable(snapshot, key, *ix))?;
        may_ask(key, &model.name).then_some((model, provider))
    })
}

/// How a list of models is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// <https://platform.openai.com/docs/api-reference/models/list>, read 2026-11-23.
    OpenAi,
    /// <https://platform.claude.com/docs/en/api/models-list>, read 2026-11-23.
    Anthropic,
    /// <https://ai.google.dev/api/models>, read 2026-11-23.
    Google,
}

impl Shape {
    /// The form that a client of this dialect reads.
    fn of(face: Wire) -> Self {
        match face {
            Wire::Messages => Shape::Anthropic,
            Wire::Gemini => Shape::Google,
            _ => Shape::OpenAi,
        }
    }
}

fn models(snapshot: &Snapshot, key: &AccessKey, shape: Shape, out: &mut Vec<u8>) {
    let listed: Vec<_> = listed(snapshot, key).collect();
    out.extend_from_slice(match shape {
        Shape::OpenAi => b"{\"object\":\"list\",\"data\":[".as_slice(),
        Shape::Anthropic => b"{\"data\":[",
        Shape::Google => b"{\"models\":[",
    });
    for (place, (model, provider)) in listed.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_model(model, provider, shape, out);
    }
    out.push(b']');
    if shape == Shape::Anthropic {
        for (member, end) in [("first_id", listed.first()), ("last_id", listed.last())] {
            let _ = write!(out, ",\"{member}\":");
            match end {
                Some((model, _)) => escape_into(&model.name, out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b",\"has_more\":false");
    }
    out.push(b'}');
}

fn model(snapshot: &Snapshot, key: &AccessKey, id: &str, shape: Shape, out: &mut Vec<u8>) -> Result<(), Fault> {
    let found = listed(snapshot, key).find(|(model, _)| &*model.name == id);
    let Some((model, provider)) = found else {
        return Err(Fault::ModelNotFound { model: crate::domain::text::bounded(id, 128), near: Vec::new() });
    };
    write_model(model, provider, shape, out);
    Ok(())
}

fn write_model(model: &ListedModel, provider: &Provider, shape: Shape, out: &mut Vec<u8>) {
    match shape {
        Shape::OpenAi => {
            out.extend_from_slice(b"{\"id\":");
            escape_into(&model.name, out);
            out.extend_from_slice(b",\"object\":\"model\",\"created\":0,\"owned_by\":");
            escape_into(provider.id.as_str(), out);
        }
        Shape::Anthropic => {
            out.extend_from_slice(b"{\"type\":\"model\",\"id\":");
            escape_into(&model.name, out);
            out.extend_from_slice(b",\"display_name\":");
            escape_into(&model.name, out);
            out.extend_from_slice(b",\"created_at\":\"1970-01-01T00:00:00Z\"");
        }
        Shape::Google => {
            out.extend_from_slice(b"{\"name\":");
            escape_into(&format!("models/{}", model.name), out);
            out.extend_from_slice(b",\"displayName\":");
            escape_into(&model.name, out);
            out.extend_from_slice(
                b",\"supportedGenerationMethods\":[\"generateContent\",\"streamGenerateContent\",\"countTokens\"]",
            );
        }
    }
    out.push(b'}');
}

fn providers(snapshot: &Snapshot, key: &AccessKey, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"providers\":[");
    let mut first = true;
    for (place, provider) in snapshot.providers.iter().enumerate() {
        let allowed = key.providers.is_empty() || key.providers.contains(&provider.id);
        if !allowed || !account::is_visible(snapshot, &key.tenant, provider) {
            continue;
        }
        if !std::mem::replace(&mut first, false) {
            out.push(b',');
        }
        let ix = ProviderIx(place as u16);
        write_provider(snapshot, key, ix, provider, out);
    }
    out.extend_from_slice(b"]}");
}

fn write_provider(snapshot: &Snapshot, key: &AccessKey, ix: ProviderIx, provider: &Provider, out: &mut Vec<u8>) {
    let status = if usable(snapshot, key, ix).is_some() { "active" } else { "no_credential" };
    let health = if provider.origin.addresses.is_empty() { "unresolved" } else { "healthy" };
    out.extend_from_slice(b"{\"name\":");
    escape_into(provider.id.as_str(), out);
    let _ = write!(out, ",\"status\":\"{status}\",\"models\":[");
    let models = provider.models.iter().filter(|model| may_ask(key, model));
    for (place, model) in models.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        escape_into(model, out);
    }
    let _ = write!(out, "],\"health\":\"{health}\"}}");
}
