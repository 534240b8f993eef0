//! Rotations over HTTP: the same operations for a tenant on the public API and for the operator on the admin socket.
//!
//! The text of the new key comes in with the request that begins a rotation, and nowhere goes out.

use super::answer::{Outcome, Refusal, fine};
use super::keys::{Owner, known, limits};
use super::members::Members;
use super::query::{Asked, At};
use super::routes::{Desk, listed, only_tenant, tenant};
use super::socket::Peer;
use super::tenant_api::{Principal, nothing};
use super::{Shared, locked};
use crate::control_plane::{Control, ControlError, NewRotation, RotationView};
use crate::domain::id::{RotationId, TenantId};
use crate::domain::scope::Scope;
use crate::limits::GRACE;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::Uri;
use axum::routing::{get, post};
use std::time::Duration;

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/providers/{provider}/keys/rotate", post(begin))
        .route("/rotations", get(list))
        .route("/rotations/{id}", get(show))
        .route("/rotations/{id}/cancel", post(cancel))
        .route("/rotations/{id}/complete", post(complete))
}

/// The routes behind the public API. A rotation is found under its provider, under its keys, or under the tenant alone.
pub(super) fn tenant_routes() -> Router<Shared> {
    let mut router = Router::new().route("/v1/tenants/{tenant}/providers/{provider}/keys/rotate", post(tenant_begin));
    for under in ["/providers/{provider}", "/providers/{provider}/keys", ""] {
        let path = format!("/v1/tenants/{{tenant}}{under}/rotations");
        router = router
            .route(&path, get(tenant_list).fallback(nothing))
            .route(&format!("{path}/{{id}}"), get(tenant_show).fallback(nothing))
            .route(&format!("{path}/{{id}}/{{verb}}"), post(tenant_decide).fallback(nothing));
    }
    router
}

// === On the admin socket ===

async fn begin(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    At(provider): At<String>,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    begun(&desk.control, &Owner { who: peer.to_string(), tenant: only_tenant(&uri)?, provider }, &body)
}

async fn list(State(desk): State<Desk>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let (tenant, provider) = (tenant(&mut asked)?, asked.take("provider"));
    asked.end("`tenant` and `provider`")?;
    fine(&listed(locked(&desk.control).rotations(&tenant, provider.as_deref())?))
}

async fn show(State(desk): State<Desk>, At(id): At<String>, uri: Uri) -> Outcome {
    let tenant = only_tenant(&uri)?;
    fine(&locked(&desk.control).rotation(&tenant, None, parsed(&id)?)?)
}

async fn cancel(State(desk): State<Desk>, Extension(peer): Extension<Peer>, At(id): At<String>, uri: Uri) -> Outcome {
    decided(&desk.control, "cancel", &peer.to_string(), &only_tenant(&uri)?, None, &id, &uri)
}

async fn complete(State(desk): State<Desk>, Extension(peer): Extension<Peer>, At(id): At<String>, uri: Uri) -> Outcome {
    decided(&desk.control, "complete", &peer.to_string(), &only_tenant(&uri)?, None, &id, &uri)
}

// === On the public API ===

/// The parts of a path that ends in a rotation; a provider is there or not.
#[derive(serde::Deserialize)]
struct Parts {
    tenant: String,
    provider: Option<String>,
    #[serde(default)]
    id: String,
    #[serde(default)]
    verb: String,
}

async fn tenant_begin(
    State(control): State<Shared>,
    asks: Principal,
    At((tenant, provider)): At<(String, String)>,
    uri: Uri,
    body: Bytes,
) -> Outcome {
    begun(&control, &asks.owner(&tenant, provider, &uri)?, &body)
}

async fn tenant_list(State(control): State<Shared>, asks: Principal, At(parts): At<Parts>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&parts.tenant, Scope::Keys, &uri)?;
    fine(&listed(locked(&control).rotations(&tenant, parts.provider.as_deref())?))
}

async fn tenant_show(State(control): State<Shared>, asks: Principal, At(parts): At<Parts>, uri: Uri) -> Outcome {
    let tenant = asks.acts_for(&parts.tenant, Scope::Keys, &uri)?;
    fine(&locked(&control).rotation(&tenant, parts.provider.as_deref(), parsed(&parts.id)?)?)
}

async fn tenant_decide(State(control): State<Shared>, asks: Principal, At(parts): At<Parts>, uri: Uri) -> Outcome {
    let owner = asks.owner(&parts.tenant, parts.provider.clone().unwrap_or_default(), &uri)?;
    decided(&control, &parts.verb, &owner.who, &owner.tenant, parts.provider.as_deref(), &parts.id, &uri)
}

// === Both ===

/// `POST …/keys/rotate`: `{"new_api_key":"sk-…","grace_period_minutes":15}`; 200 with the rotation as shown.
fn begun(control: &Shared, owner: &Owner, body: &[u8]) -> Outcome {
    let mut members = Members::read(body)?;
    let asked = asked(&mut members)?;
    members.end("`new_api_key`, `grace_period_minutes`, `canary_percent`, `key_id` and `config`")?;
    fine(&locked(control).begin_rotation(&owner.who, &owner.tenant, &owner.provider, asked)?)
}

fn asked(members: &mut Members<'_>) -> Result<NewRotation, Refusal> {
    let new_key = members.secret("new_api_key")?;
    let mut asked = NewRotation { grace: grace(members)?, ..NewRotation::to(new_key) };
    let must = "a whole number from 1 to 100, the percentage of requests that try the new key first";
    if let Some(percent) = members.take::<u8>("canary_percent", must)? {
        if !(1..=100).contains(&percent) {
            return Err(members.wrong("canary_percent", must));
        }
        asked.canary_percent = percent;
    }
    let key_id: Option<String> = members.take("key_id", "the id of a key, `key_…`")?;
    asked.key_id = key_id.map(|id| known(&id)).transpose()?;
    (asked.timeout_ms, asked.max_retries) = limits(members)?;
    Ok(asked)
}

/// `grace_period_minutes`; parts of a minute are possible.
fn grace(members: &mut Members<'_>) -> Result<Duration, Refusal> {
    let must = "a number of minutes from 1 to 1440";
    let Some(minutes) = members.take::<f64>("grace_period_minutes", must)? else { return Ok(GRACE) };
    // A NaN is in no range.
    if !(1.0..=1_440.0).contains(&minutes) {
        return Err(members.wrong("grace_period_minutes", must));
    }
    Ok(Duration::from_millis((minutes * 60_000.0).round() as u64))
}

/// `POST …/rotations/{id}/cancel` and `…/complete`: 200 with the rotation as it is then.
fn decided(
    control: &Shared,
    verb: &str,
    who: &str,
    tenant: &TenantId,
    provider: Option<&str>,
    id: &str,
    uri: &Uri,
) -> Outcome {
    type Wish = fn(&mut Control, &str, &TenantId, Option<&str>, RotationId) -> Result<RotationView, ControlError>;
    let wish: Wish = match verb {
        "cancel" => Control::cancel_rotation,
        "complete" => Control::complete_rotation,
        _ => return Err(Refusal::no_such_path(uri.path())),
    };
    fine(&wish(&mut locked(control), who, tenant, provider, parsed(id)?)?)
}

/// An id that cannot be one of ours is one that does not exist.
fn parsed(id: &str) -> Result<RotationId, Refusal> {
    RotationId::parse(id).ok_or_else(|| Refusal::no_such("rotation", "GET …/rotations"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<NewRotation, String> {
        let asked = Members::read(body.as_bytes()).and_then(|mut members| asked(&mut members));
        asked.map_err(|refusal| format!("{refusal:?}"))
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let asked = read(r#"{"new_api_key":"sk-x"}"#).expect("a rotation");
        assert_eq!((asked.grace, asked.canary_percent, asked.key_id), (GRACE, 100, None));
        assert_eq!((asked.timeout_ms, asked.max_retries), (None, None));
        let asked =
            read(r#"{"new_api_key":"sk-x","grace_period_minutes":1.5,"canary_percent":10,"config":{"timeout":5}}"#)
                .expect("a rotation");
        assert_eq!((asked.grace, asked.canary_percent), (Duration::from_secs(90), 10));
        assert_eq!((asked.timeout_ms, asked.max_retries), (Some(5_000), None));
    }

    #[test]
    fn nothing_outside_its_range_begins() {
        for (member, values) in [
            ("grace_period_minutes", ["0", "0.99", "1440.1", "-1", "1e99", "\"15m\""].as_slice()),
            ("canary_percent", &["0", "101", "-1", "1.5", "\"10\""]),
            ("key_id", &["1", "\"rot_1\""]),
        ] {
            for value in values {
                let body = format!(r#"{{"new_api_key":"sk-x","{member}":{value}}}"#);
                assert!(read(&body).is_err(), "{body}");
            }
        }
        assert!(read(r#"{"new_api_key":"sk-x","key_id":"key_1"}"#).is_err());
        assert!(read("{}").is_err_and(|refusal| refusal.contains("new_api_key")));
    }
}
