//! The admin API: everything the operator may ask and change, for `curl --unix-socket`, `igris admin` and the dashboard.
//!
//! [`read_router`] holds what only looks. [`router`] adds what changes something. Whoever gets here was admitted by the kernel's word on
//! the user (rule A2) or has a session of the dashboard, and the audit log names them. Nothing here reads a secret back; the text
//! of a new access key is in the answer that makes it, once.

use super::admission::{self, Admission};
use super::again::again;
use super::answer::{Outcome, Refusal, bytes, created, fine, json_answer};
use super::events::feed;
use super::keys::{self, Owner};
use super::members::Members;
use super::query::{Asked, At, is_name};
use super::socket::Peer;
use super::{Shared, locked};
use super::{
    access_keys, alerts, audit, budgets, config, costs, decisions, ledger, rotations, upgrade, vault, webhooks,
};
use crate::config::TENANT_DEFAULT;
use crate::control_plane::{BreakerMove, Format};
use crate::domain::id::TenantId;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// What `POST /drain` calls: it starts the drain and returns at once.
pub type Drain = Arc<dyn Fn() + Send + Sync>;

/// What the routes that change something need.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) control: Shared,
    drain: Drain,
}

/// The whole admin API, for our own user and root alone.
pub fn router(control: Shared, drain: Drain) -> Router {
    router_for(control, drain, Admission::default())
}

/// The whole admin API, for whom it admits.
pub fn router_for(control: Shared, drain: Drain, admission: impl Into<Arc<Admission>>) -> Router {
    let writing = Router::new()
        .route("/drain", post(start_drain))
        .route("/metrics", get(async |State(desk): State<Desk>, wants: HeaderMap| metrics(&desk.control, &wants)))
        .route("/breakers/{provider}/{to}", post(move_breaker))
        .route("/tenants", post(add_tenant))
        .route("/tenants/{tenant}", get(show_tenant).delete(remove_tenant))
        .route("/providers/{provider}/keys", get(list_keys).post(add_key))
        .route("/providers/{provider}/keys/{id}", get(show_key).delete(remove_key))
        .merge(access_keys::routes())
        .merge(rotations::routes())
        .merge(audit::routes())
        .merge(budgets::routes())
        .merge(alerts::routes())
        .merge(webhooks::routes())
        .merge(config::routes())
        .merge(vault::routes())
        .merge(upgrade::routes())
        .with_state(Desk { control: control.clone(), drain });
    let admit = middleware::from_fn_with_state(admission.into(), admission::admit);
    let again = middleware::from_fn_with_state(control.clone(), again);
    with_fallbacks(read_router(control).merge(writing)).layer(again).layer(admit)
}

/// What only looks: `/health`, `/status`, `/providers`, `/breakers`, `/routes`, `/scores`, `/histograms`, `/tenants`, `/usage`, `/costs`,
/// `/series`, `/events`, `/decisions`, `/ledger`.
fn read_router(control: Shared) -> Router {
    Router::new()
        .route("/health", get(async || fine(&json!({ "status": "ok" }))))
        .route("/status", get(async |State(control): State<Shared>| fine(&locked(&control).status())))
        .route("/providers", get(providers))
        .route("/breakers", get(async |State(control): State<Shared>| fine(&listed(locked(&control).breakers()))))
        .route("/routes", get(async |State(control): State<Shared>| fine(&locked(&control).routes())))
        .route("/scores", get(scores))
        .route("/histograms/{provider}/{*model}", get(histograms))
        .route("/tenants", get(tenants))
        .merge(costs::routes())
        .route("/series", get(series))
        .route("/events", get(events))
        .route("/decisions", get(decisions::list))
        .route("/decisions/{id}", get(decisions::show))
        .merge(ledger::routes())
        .with_state(control)
}

/// A router of only `GET /metrics`, for a listener of its own.
pub fn metrics_router(control: Shared) -> Router {
    let metrics = get(async |State(control): State<Shared>, wants: HeaderMap| metrics(&control, &wants));
    with_fallbacks(Router::new().route("/metrics", metrics).with_state(control))
}

/// JSON also where nothing is.
fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Refusal::no_such("path", "GET /status and `igris admin --help`"))
        .method_not_allowed_fallback(async || Refusal::wrong_method())
}

// === Looking ===

async fn providers(State(control): State<Shared>) -> Outcome {
    let mut control = locked(&control);
    let mut rows = match control.status()["providers"].take() {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    };
    for row in &mut rows {
        let figures = row["name"].as_str().and_then(|name| control.provider_stats(name));
        if let (Value::Object(row), Some(Value::Object(figures))) = (row, figures) {
            row.extend(figures);
        }
    }
    fine(&listed(rows))
}

async fn scores(State(control): State<Shared>) -> Outcome {
    // Written without the lock: there may be thousands of lanes.
    let sheet = locked(&control).score_sheet();
    fine(&sheet.page(Instant::now()))
}

async fn histograms(State(control): State<Shared>, At((provider, model)): At<(String, String)>) -> Outcome {
    let page = locked(&control).histograms(&provider, &model);
    fine(&page.ok_or_else(|| Refusal::no_such("model with answers", "GET /scores"))?)
}

async fn tenants(State(control): State<Shared>) -> Outcome {
    fine(&listed(locked(&control).tenants()?))
}

/// `?after=N`: only what came since the point `N`, the `last` of an answer before.
async fn series(State(control): State<Shared>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let refused = || Refusal::member("after", "`after` must be a whole number, the `last` of an answer before.");
    let after = asked.take("after").map(|text| text.parse::<u32>().map_err(|_| refused())).transpose()?;
    asked.end("`after`")?;
    fine(&locked(&control).series(u64::from(after.unwrap_or(0))))
}

/// `Last-Event-ID` says where a reader that was cut off goes on (HTML living standard, 9.2.4).
async fn events(State(control): State<Shared>, fields: HeaderMap) -> Response {
    let last = fields.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    feed(control, last.unwrap_or(0))
}

/// Puts a visit of the dashboard among the events.
pub fn note_visit(control: &Shared, text: String) {
    locked(control).note_visit(text);
}

/// Gathered under the lock, written down without it.
fn metrics(control: &Shared, wants: &HeaderMap) -> Response {
    let accept = wants.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::wanted(accept);
    let sheet = locked(control).metrics_sheet();
    bytes(format.content_type(), sheet.write(format))
}

// === Changing the process ===

async fn start_drain(State(desk): State<Desk>, Extension(peer): Extension<Peer>) -> Outcome {
    locked(&desk.control).note_drain(&peer.to_string())?;
    (desk.drain)();
    Ok(json_answer(StatusCode::ACCEPTED, &json!({ "status": "draining" })))
}

async fn move_breaker(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At((provider, to)): At<(String, String)>,
) -> Outcome {
    let to = BreakerMove::parse(&to)
        .ok_or_else(|| Refusal::no_such("path", "POST /breakers/{provider}/open, close or reset"))?;
    fine(&locked(&desk.control).move_breaker(&peer.to_string(), &provider, to)?)
}

// === Tenants ===

async fn add_tenant(State(desk): State<Desk>, Extension(peer): Extension<Peer>, body: Bytes) -> Outcome {
    let mut members = Members::read(&body)?;
    let id = members.required("id")?;
    members.end("`id`")?;
    created(&locked(&desk.control).create_tenant(&peer.to_string(), &id)?)
}

async fn show_tenant(State(desk): State<Desk>, At(id): At<String>) -> Outcome {
    let tenants = locked(&desk.control).tenants()?;
    let found = tenants.iter().find(|tenant| tenant.id == id);
    fine(found.ok_or_else(|| Refusal::no_such("tenant", "GET /tenants"))?)
}

async fn remove_tenant(State(desk): State<Desk>, Extension(peer): Extension<Peer>, At(id): At<String>) -> Outcome {
    locked(&desk.control).delete_tenant(&peer.to_string(), &TenantId::new(&id))?;
    fine(&json!({ "id": id, "deleted": true }))
}

// === Provider keys ===

async fn add_key(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At(provider): At<String>,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    let owner = Owner { who: peer.to_string(), tenant: only_tenant(&uri)?, provider };
    keys::add(&desk.control, &owner, &body)
}

async fn list_keys(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At(provider): At<String>,
    uri: Uri,
) -> Outcome {
    keys::list(&desk.control, &Owner { who: peer.to_string(), tenant: only_tenant(&uri)?, provider })
}

async fn show_key(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At((provider, id)): At<(String, String)>,
    uri: Uri,
) -> Outcome {
    keys::show(&desk.control, &Owner { who: peer.to_string(), tenant: only_tenant(&uri)?, provider }, &id)
}

async fn remove_key(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At((provider, id)): At<(String, String)>,
    uri: Uri,
) -> Outcome {
    keys::remove(&desk.control, &Owner { who: peer.to_string(), tenant: only_tenant(&uri)?, provider }, &id)
}

// === Queries ===

/// A query of nothing but `tenant`.
pub(super) fn only_tenant(uri: &Uri) -> Result<TenantId, Refusal> {
    let mut asked = Asked::read(uri)?;
    let tenant = tenant(&mut asked)?;
    asked.end("`tenant`")?;
    Ok(tenant)
}

pub(super) fn tenant(asked: &mut Asked) -> Result<TenantId, Refusal> {
    let name = asked.take("tenant").unwrap_or_else(|| TENANT_DEFAULT.to_owned());
    if !is_name(&name) {
        return Err(Refusal::member("tenant", "`tenant` must be the id of a tenant; see GET /tenants."));
    }
    Ok(TenantId::new(&name))
}

pub(super) fn listed(rows: impl Serialize) -> impl Serialize {
    #[derive(Serialize)]
    struct List<R> {
        object: &'static str,
        data: R,
    }
    List { object: "list", data: rows }
}
