//! Webhooks over HTTP: a tenant's own on the public API, and what the operator may ask of those of the configuration.
//!
//! The secret of a new one is in the answer that makes it, once.

use super::answer::{Outcome, Refusal, created, fine, json_answer};
use super::members::Members;
use super::query::{Asked, At};
use super::routes::{Desk, listed, only_tenant};
use super::tenant_api::Principal;
use super::{Shared, locked};
use crate::control_plane::{MadeWebhook, NewWebhook};
use crate::domain::id::WebhookId;
use crate::domain::scope::Scope;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/alerts/webhooks", get(list_configured))
        .route("/alerts/webhooks/{id}/test", post(test_as_operator))
        .route("/alerts/webhooks/{id}/messages", get(messages_as_operator))
}

/// The routes behind the public API.
pub(super) fn tenant_routes() -> Router<Shared> {
    Router::new()
        .route("/v1/tenants/{tenant}/alerts/webhooks", get(list).post(replace))
        .route("/v1/tenants/{tenant}/alerts/webhooks/{id}", get(show).delete(remove))
        .route("/v1/tenants/{tenant}/alerts/webhooks/{id}/rotate", post(rotate))
        .route("/v1/tenants/{tenant}/alerts/webhooks/{id}/test", post(test))
        .route("/v1/tenants/{tenant}/alerts/webhooks/{id}/messages", get(messages))
}

/// One entry of `webhooks`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    url: String,
    #[serde(default)]
    events: Vec<String>,
}

type Place = At<(String, String)>;

async fn list(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    Asked::read(&uri)?.end("nothing")?;
    fine(&listed(locked(&control).webhooks(&tenant)?))
}

async fn show(State(control): State<Shared>, asks: Principal, At((tenant, id)): Place, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    let (id, views) = (known(&id)?.to_string(), locked(&control).webhooks(&tenant)?);
    fine(views.iter().find(|view| view.id == id).ok_or_else(none)?)
}

/// `{"webhooks":[{"url":"https://…","events":["budget_alert"]}]}`; 201 with the secrets of those that are new.
pub(super) async fn replace(
    State(control): State<Shared>,
    asks: Principal,
    At(tenant): At<String>,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    const MUST: &str = "a list of {\"url\", \"events\"}; an empty one takes all away";
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    Asked::read(&uri)?.end("nothing")?;
    let mut members = Members::read(&body)?;
    let entries = members.take::<Vec<Entry>>("webhooks", MUST)?.ok_or_else(|| members.wrong("webhooks", MUST))?;
    members.end("`webhooks`")?;
    let new = entries.into_iter().map(|Entry { url, events }| NewWebhook { url, events });
    let new: Vec<NewWebhook> = new.collect();
    let (views, made) = locked(&control).replace_webhooks(&asks.who(), &tenant, &new)?;
    let mut data = serde_json::to_value(views).unwrap_or_default();
    for row in data.as_array_mut().into_iter().flatten() {
        let fresh = made.iter().find(|made| row["id"] == made.view.id.as_str());
        if let Some(made) = fresh {
            *row = with_secret(made);
        }
    }
    created(&json!({ "object": "list", "data": data }))
}

async fn rotate(State(control): State<Shared>, asks: Principal, At((tenant, id)): Place, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    created(&with_secret(&locked(&control).rotate_webhook(&asks.who(), &tenant, known(&id)?)?))
}

async fn remove(State(control): State<Shared>, asks: Principal, At((tenant, id)): Place, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    locked(&control).remove_webhook(&asks.who(), &tenant, known(&id)?)?;
    fine(&json!({ "id": id, "deleted": true }))
}

async fn test(State(control): State<Shared>, asks: Principal, At((tenant, id)): Place, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    let id = known(&id)?.to_string();
    Ok(json_answer(StatusCode::ACCEPTED, &locked(&control).test_webhook(&tenant, &id)?))
}

async fn messages(State(control): State<Shared>, asks: Principal, At((tenant, id)): Place, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    let id = known(&id)?.to_string();
    fine(&listed(locked(&control).webhook_messages(&tenant, &id)?))
}

async fn list_configured(State(desk): State<Desk>) -> Outcome {
    fine(&listed(locked(&desk.control).configured_webhooks()))
}

async fn test_as_operator(State(desk): State<Desk>, At(id): At<String>, uri: Uri) -> Outcome {
    let tenant = only_tenant(&uri)?;
    Ok(json_answer(StatusCode::ACCEPTED, &locked(&desk.control).test_webhook(&tenant, &id)?))
}

async fn messages_as_operator(State(desk): State<Desk>, At(id): At<String>, uri: Uri) -> Outcome {
    let tenant = only_tenant(&uri)?;
    fine(&listed(locked(&desk.control).webhook_messages(&tenant, &id)?))
}

/// An id that cannot be one of ours is one that does not exist.
fn known(id: &str) -> Result<WebhookId, Refusal> {
    WebhookId::parse(id).ok_or_else(none)
}

fn none() -> Refusal {
    Refusal::no_such("webhook", "GET …/alerts/webhooks")
}

/// A webhook with its secret, in the one answer that has it. Secrets made here are ASCII.
fn with_secret(made: &MadeWebhook) -> Value {
    let mut value = serde_json::to_value(&made.view).unwrap_or_default();
    value["secret"] = Value::from(std::str::from_utf8(made.secret.expose()).unwrap_or_default());
    value
}
