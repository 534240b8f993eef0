//! Alerts over HTTP: listed, shown, acknowledged; for the operator on the admin socket and for a tenant on the public API.

use super::answer::{Outcome, Refusal, fine};
use super::query::{Asked, At, is_name};
use super::routes::{Desk, listed, only_tenant};
use super::socket::Peer;
use super::tenant_api::Principal;
use super::webhooks;
use super::{Shared, locked};
use crate::control_plane::AlertQuery;
use crate::domain::id::{AlertId, TenantId};
use crate::domain::scope::Scope;
use crate::limits::alerts::{ALERT_PAGE_ROWS, ALERT_PAGE_ROWS_MAX};
use axum::Router;
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::routing::{get, post};

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/alerts", get(list_as_operator))
        .route("/alerts/{id}/acknowledge", post(acknowledge_as_operator))
}

/// The routes behind the public API.
pub(super) fn tenant_routes() -> Router<Shared> {
    Router::new()
        .route("/v1/tenants/{tenant}/alerts", get(list_as_tenant).post(webhooks::replace))
        .route("/v1/tenants/{tenant}/alerts/{id}", get(show_as_tenant))
        .route("/v1/tenants/{tenant}/alerts/{id}/acknowledge", post(acknowledge_as_tenant))
}

/// Takes `type`, `state`, `active`, `before` and `limit`.
fn query(asked: &mut Asked) -> Result<AlertQuery, Refusal> {
    let number = |asked: &mut Asked, name: &str, most: u64| {
        let Some(text) = asked.take(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|number| digits && (1..=most).contains(number));
        let message = || Refusal::member(name, format!("`{name}` must be a whole number from 1 to {most}."));
        number.map(Some).ok_or_else(message)
    };
    let active = match asked.take("active").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Refusal::member("active", "`active` must be true or false.")),
    };
    let (before, limit) =
        (number(asked, "before", i64::MAX as u64)?, number(asked, "limit", ALERT_PAGE_ROWS_MAX.into())?);
    let most = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(ALERT_PAGE_ROWS);
    Ok(AlertQuery { before, kind: asked.take("type"), state: asked.take("state"), active, most })
}

const QUERY: &str = "`type`, `state`, `active`, `before` and `limit`";

/// An id that cannot be one of ours is one that does not exist.
fn known(id: &str) -> Result<AlertId, Refusal> {
    AlertId::parse(id).ok_or_else(|| Refusal::no_such("alert", "GET …/alerts"))
}

fn acknowledge(control: &Shared, who: &str, tenant: &TenantId, id: &str) -> Outcome {
    let (id, mut control) = (known(id)?, locked(control));
    control.acknowledge_alert(who, tenant, id)?;
    fine(&control.alert(tenant, id)?)
}

// === The operator's routes ===

async fn list_as_operator(State(desk): State<Desk>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let (tenant, query) = (asked.take("tenant"), query(&mut asked)?);
    asked.end(&format!("`tenant`, {QUERY}"))?;
    if tenant.as_deref().is_some_and(|tenant| !is_name(tenant)) {
        return Err(Refusal::member("tenant", "`tenant` must be the id of a tenant; see GET /tenants."));
    }
    let tenant = tenant.map(|tenant| TenantId::new(&tenant));
    fine(&listed(locked(&desk.control).alerts(tenant.as_ref(), query)?))
}

async fn acknowledge_as_operator(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At(id): At<String>,
    uri: Uri,
) -> Outcome {
    acknowledge(&desk.control, &peer.to_string(), &only_tenant(&uri)?, &id)
}

// === A tenant's routes ===

async fn list_as_tenant(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Costs, &uri)?;
    let mut asked = Asked::read(&uri)?;
    let query = query(&mut asked)?;
    asked.end(QUERY)?;
    fine(&listed(locked(&control).alerts(Some(&tenant), query)?))
}

async fn show_as_tenant(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, id)): At<(String, String)>,
    uri: Uri,
) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Costs, &uri)?;
    Asked::read(&uri)?.end("nothing")?;
    fine(&locked(&control).alert(&tenant, known(&id)?)?)
}

async fn acknowledge_as_tenant(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, id)): At<(String, String)>,
    uri: Uri,
) -> Outcome {
    let tenant = asks.acts_for(&tenant, Scope::Admin, &uri)?;
    acknowledge(&control, &asks.who(), &tenant, &id)
}
