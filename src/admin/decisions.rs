//! Explanations over HTTP: one decision, the latest ones, and a dump to replay.

use super::answer::{Outcome, Refusal, fine, text};
use super::query::{Asked, At, is_name};
use super::{Shared, locked};
use crate::control_plane::DecisionFilter;
use crate::domain::id::{RequestId, TenantId};
use crate::limits::{DECISIONS_LISTED, MODEL_NAME_BYTES_MAX};
use crate::routing::decision::Decision;
use crate::routing::record::{self, View};
use axum::extract::State;
use axum::http::Uri;
use serde_json::json;

/// What a query may have.
const KNOWN: &str = "`tenant`, `model`, `provider`, `status`, `limit` and `format`";

/// `GET /decisions/{id}`.
pub(super) async fn show(State(control): State<Shared>, At(id): At<String>) -> Outcome {
    one(&control, &id, View::Operator, None)
}

/// `GET /decisions?tenant=&model=&provider=&status=&limit=&format=json|jsonl`.
pub(super) async fn list(State(control): State<Shared>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let is_dump = match asked.take("format").as_deref() {
        None | Some("json") => false,
        Some("jsonl") => true,
        Some(_) => return Err(Refusal::member("format", "`format` must be json or jsonl.")),
    };
    let limit = number(&mut asked, "limit")?.or((!is_dump).then_some(DECISIONS_LISTED));
    let filter = DecisionFilter {
        tenant: asked.take("tenant").map(|name| named(&name, "tenant")).transpose()?.map(|name| TenantId::new(&name)),
        model: asked.take("model").map(bounded_model).transpose()?,
        provider: asked.take("provider").map(|name| named(&name, "provider")).transpose()?,
        status: number(&mut asked, "status")?,
        limit,
    };
    asked.end(KNOWN)?;
    // Copied first: writing them takes longer than others should wait for the lock.
    let found: Vec<Decision> = locked(&control).decisions(&filter).into_iter().cloned().collect();
    let row = |decision: &Decision| record::write(decision, View::Operator);
    if !is_dump {
        return fine(&json!({ "object": "list", "data": found.iter().map(row).collect::<Vec<_>>() }));
    }
    let mut lines = String::new();
    for decision in found.iter().rev() {
        lines.push_str(&row(decision).to_string());
        lines.push('\n');
    }
    Ok(text("application/jsonl", lines))
}

/// One decision as it may be seen; with a tenant, only of that one: others' and unknown ids answer alike (rule T1).
pub(super) fn one(control: &Shared, id: &str, view: View, only: Option<&TenantId>) -> Outcome {
    let mut control = locked(control);
    let decision = RequestId::parse(id).and_then(|id| control.decision(id));
    let decision = decision.filter(|decision| only.is_none_or(|tenant| decision.tenant == *tenant));
    let refused = || {
        let message =
            "There is no decision of this request, or it is no longer remembered; the id is in `x-request-id`.";
        Refusal::new(404, "not_found", message)
    };
    fine(&record::write(decision.ok_or_else(refused)?, view))
}

fn named(name: &str, member: &str) -> Result<String, Refusal> {
    match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(Refusal::member(member, format!("`{member}` must be a name of letters, digits and `-_.`."))),
    }
}

fn bounded_model(name: String) -> Result<String, Refusal> {
    match name.len() <= MODEL_NAME_BYTES_MAX {
        true => Ok(name),
        false => Err(Refusal::member("model", format!("`model` has at most {MODEL_NAME_BYTES_MAX} bytes."))),
    }
}

fn number<N: std::str::FromStr>(asked: &mut Asked, member: &str) -> Result<Option<N>, Refusal> {
    let read =
        |text: String| text.parse().map_err(|_| Refusal::member(member, format!("`{member}` must be a whole number.")));
    asked.take(member).map(read).transpose()
}
