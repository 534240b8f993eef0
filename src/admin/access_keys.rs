//! Access keys over HTTP, for the operator on the admin socket and for a tenant's own administrators on the public API: made, listed,
//! changed, rotated, revoked. The text of a new one is in the answer that makes it, once.

use super::answer::{Outcome, Refusal, created, fine};
use super::members::Members;
use super::query::At;
use super::routes::{Desk, listed, only_tenant};
use super::socket::Peer;
use super::tenant_api::Principal;
use super::{Shared, locked};
use crate::config::unit;
use crate::control_plane::{AccessKeyView, Amendment, Grantor, NewAccess};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::scope::{Scope, Scopes};
use crate::limits::{ACCESS_KEY_OVERLAP_MINUTES, ACCESS_KEY_OVERLAP_MINUTES_MAX};
use crate::vault::AccessKeyText;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Whose keys, and who asks.
pub struct Owner {
    /// Who, for the audit log.
    pub who: String,
    /// Whose.
    pub tenant: TenantId,
    /// The access key that asks; `None`: the operator.
    pub by: Option<Grantor>,
}

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/access-keys", get(list_as_operator).post(make_as_operator))
        .route("/access-keys/{id}", get(show_as_operator).patch(amend_as_operator).delete(revoke_as_operator))
        .route("/access-keys/{id}/rotate", post(rotate_as_operator))
}

/// The routes behind the public API.
pub(super) fn tenant_routes() -> Router<Shared> {
    Router::new()
        .route("/v1/tenants/{tenant}/access-keys", get(list_as_tenant).post(make_as_tenant))
        .route(
            "/v1/tenants/{tenant}/access-keys/{id}",
            get(show_as_tenant).patch(amend_as_tenant).delete(revoke_as_tenant),
        )
        .route("/v1/tenants/{tenant}/access-keys/{id}/rotate", post(rotate_as_tenant))
}

// === What both do ===

fn list(control: &Shared, owner: &Owner) -> Outcome {
    fine(&listed(locked(control).access_keys(&owner.tenant)?))
}

fn show(control: &Shared, owner: &Owner, id: &str) -> Outcome {
    fine(&locked(control).access_key(&owner.tenant, known(id)?)?)
}

/// `{"name":"app","scopes":["inference"],"limits":{…},"expires_at":"2027-01-31T00:00:00Z"}`; 201 with the text.
fn make(control: &Shared, owner: &Owner, body: &[u8]) -> Outcome {
    let new = new_access(body)?;
    let mut control = locked(control);
    control.check_grant(owner.by.as_ref(), new.scopes, &new.limits, new.expires)?;
    let (view, text) = control.make_access_key(&owner.who, &owner.tenant, new)?;
    created(&with_text(&view, &text))
}

/// The members of a new key, each on its own: what is not named stays, null takes away.
fn amend(control: &Shared, owner: &Owner, id: &str, body: &[u8]) -> Outcome {
    let (id, amendment) = (known(id)?, amendment(body)?);
    let by = owner.by.as_ref();
    fine(&locked(control).amend_access_key(&owner.who, by, &owner.tenant, id, amendment)?)
}

/// `{"overlap_minutes":15}`; 201 with the new key and its text.
fn rotate(control: &Shared, owner: &Owner, id: &str, body: &[u8]) -> Outcome {
    let (id, overlap) = (known(id)?, overlap(body)?);
    let rotated = locked(control).rotate_access_key(&owner.who, owner.by.as_ref(), &owner.tenant, id, overlap)?;
    let mut answer = with_text(&rotated.view, &rotated.text);
    answer["old_expires_at"] = Value::from(rotated.old_ends.to_rfc3339());
    created(&answer)
}

fn revoke(control: &Shared, owner: &Owner, id: &str) -> Outcome {
    locked(control).revoke_access_key(&owner.who, &owner.tenant, known(id)?)?;
    fine(&json!({ "id": id, "status": "revoked" }))
}

/// An id that cannot be one of ours is one that does not exist.
fn known(id: &str) -> Result<AccessKeyId, Refusal> {
    AccessKeyId::parse(id).ok_or_else(|| Refusal::no_such("access key", "GET …/access-keys"))
}

/// An access key as shown, its text in the place of the redacted form: the one answer with the text. Made keys are ASCII (rule V9).
fn with_text(view: &AccessKeyView, text: &AccessKeyText) -> Value {
    let mut value = serde_json::to_value(view).unwrap_or_default();
    value["key"] = Value::from(std::str::from_utf8(text.expose()).unwrap_or_default());
    value
}

// === What a body says ===

const SCOPES: &str = "a list of `inference`, `keys`, `costs` and `admin`";
const INSTANT: &str = "an instant such as \"2027-01-31T00:00:00Z\"";
const LIMITS: &str = "an object such as {\"requests_per_minute\":600}";
const MEMBERS: &str = "`name`, `scopes`, `limits` and `expires_at`";

fn new_access(body: &[u8]) -> Result<NewAccess, Refusal> {
    let mut members = Members::read(body)?;
    let name = members.required("name")?;
    let scopes = members.take("scopes", SCOPES)?.map(|names| scopes(&members, names)).transpose()?;
    let limits = members.take::<Map<String, Value>>("limits", LIMITS)?;
    let expires = members.take("expires_at", INSTANT)?.map(|text| instant(&members, text)).transpose()?;
    members.end(MEMBERS)?;
    Ok(NewAccess { name, scopes: scopes.unwrap_or(Scopes::INFERENCE), limits: limits.unwrap_or_default(), expires })
}

fn amendment(body: &[u8]) -> Result<Amendment, Refusal> {
    const NAME: &str = "a text that is not empty; leave it out to keep the name";
    let mut members = Members::read(body)?;
    let name = match members.take_nullable::<String>("name", NAME)? {
        None => None,
        Some(name) => Some(name.filter(|name| !name.is_empty()).ok_or_else(|| members.wrong("name", NAME))?),
    };
    let scopes = match members.take_nullable("scopes", SCOPES)? {
        None => None,
        Some(names) => Some(scopes(&members, names.ok_or_else(|| members.wrong("scopes", SCOPES))?)?),
    };
    let limits = members.take_nullable::<Map<String, Value>>("limits", LIMITS)?;
    let expires = match members.take_nullable("expires_at", INSTANT)? {
        None => None,
        Some(text) => Some(text.map(|text| instant(&members, text)).transpose()?),
    };
    members.end(MEMBERS)?;
    Ok(Amendment { name, scopes, limits, expires })
}

fn overlap(body: &[u8]) -> Result<Duration, Refusal> {
    let must = format!("a whole number of minutes from 0 to {ACCESS_KEY_OVERLAP_MINUTES_MAX}");
    let mut members = Members::read(body)?;
    let minutes = members.take::<u64>("overlap_minutes", &must)?.unwrap_or(ACCESS_KEY_OVERLAP_MINUTES);
    if minutes > ACCESS_KEY_OVERLAP_MINUTES_MAX {
        return Err(members.wrong("overlap_minutes", &must));
    }
    members.end("`overlap_minutes`")?;
    Ok(Duration::from_secs(minutes.saturating_mul(60)))
}

fn scopes(members: &Members<'_>, names: Vec<String>) -> Result<Scopes, Refusal> {
    let scopes: Option<Scopes> = names.iter().map(|name| Scope::parse(name)).collect();
    scopes.ok_or_else(|| members.wrong("scopes", SCOPES))
}

fn instant(members: &Members<'_>, text: String) -> Result<UnixMillis, Refusal> {
    unit::instant(&text).map_err(|_| members.wrong("expires_at", INSTANT))
}

// === The operator's routes ===

type Id = At<String>;

fn operators(peer: &Peer, uri: &Uri) -> Result<Owner, Refusal> {
    Ok(Owner { who: peer.to_string(), tenant: only_tenant(uri)?, by: None })
}

async fn list_as_operator(State(desk): State<Desk>, Extension(peer): Extension<Peer>, uri: Uri) -> Outcome {
    list(&desk.control, &operators(&peer, &uri)?)
}

async fn make_as_operator(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    make(&desk.control, &operators(&peer, &uri)?, &body)
}

async fn show_as_operator(State(desk): State<Desk>, Extension(peer): Extension<Peer>, At(id): Id, uri: Uri) -> Outcome {
    show(&desk.control, &operators(&peer, &uri)?, &id)
}

async fn amend_as_operator(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At(id): Id,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    amend(&desk.control, &operators(&peer, &uri)?, &id, &body)
}

async fn rotate_as_operator(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At(id): Id,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    rotate(&desk.control, &operators(&peer, &uri)?, &id, &body)
}

async fn revoke_as_operator(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At(id): Id,
    uri: Uri,
) -> Outcome {
    revoke(&desk.control, &operators(&peer, &uri)?, &id)
}

// === A tenant's routes ===

type Place = At<(String, String)>;

async fn list_as_tenant(State(control): State<Shared>, asks: Principal, At(tenant): At<String>, uri: Uri) -> Outcome {
    list(&control, &asks.access_owner(&tenant, &uri)?)
}

async fn make_as_tenant(
    State(control): State<Shared>,
    asks: Principal,
    At(tenant): At<String>,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    make(&control, &asks.access_owner(&tenant, &uri)?, &body)
}

async fn show_as_tenant(State(control): State<Shared>, asks: Principal, At((tenant, id)): Place, uri: Uri) -> Outcome {
    show(&control, &asks.access_owner(&tenant, &uri)?, &id)
}

async fn amend_as_tenant(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, id)): Place,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    amend(&control, &asks.access_owner(&tenant, &uri)?, &id, &body)
}

async fn rotate_as_tenant(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, id)): Place,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    rotate(&control, &asks.access_owner(&tenant, &uri)?, &id, &body)
}

async fn revoke_as_tenant(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, id)): Place,
    uri: Uri,
) -> Outcome {
    revoke(&control, &asks.access_owner(&tenant, &uri)?, &id)
}
