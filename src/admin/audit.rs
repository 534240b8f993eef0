//! The audit log over HTTP: pages of it, and whether it holds together.

use super::answer::{Outcome, Refusal, fine};
use super::locked;
use super::query::{Asked, is_name};
use super::routes::{Desk, listed};
use super::vault::{anchor, beside};
use crate::domain::id::TenantId;
use crate::limits::{AUDIT_PAGE_ROWS, AUDIT_PAGE_ROWS_MAX};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::{get, post};

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/audit", get(list)).route("/audit/verify", post(verify))
}

/// `?after=SEQUENCE&limit=N&tenant=ID`: oldest first from there on; without `after` the newest, in the order they were made.
async fn list(State(desk): State<Desk>, uri: Uri) -> Outcome {
    let mut asked = Asked::read(&uri)?;
    let after = number(&mut asked, "after", u64::MAX)?;
    let limit = number(&mut asked, "limit", u64::from(AUDIT_PAGE_ROWS_MAX))?;
    let tenant = asked.take("tenant");
    asked.end("`after`, `limit` and `tenant`")?;
    if tenant.as_deref().is_some_and(|tenant| !is_name(tenant)) {
        return Err(Refusal::member("tenant", "`tenant` must be the id of a tenant; see GET /tenants."));
    }
    let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(AUDIT_PAGE_ROWS);
    let mut control = locked(&desk.control);
    match (after, tenant.map(|tenant| TenantId::new(&tenant))) {
        (None, None) => fine(&listed(control.audit_latest(limit)?)),
        (after, tenant) => fine(&listed(control.audit(after.unwrap_or(0), limit, tenant.as_ref())?)),
    }
}

/// `{}` or `{"expect":"12:0123456789abcdef"}`.
async fn verify(State(desk): State<Desk>, body: Bytes) -> Outcome {
    let anchor = anchor(&body)?;
    let reader = locked(&desk.control).reader()?;
    fine(&beside(reader, move |reader| reader.verify_audit(anchor)).await?)
}

fn number(asked: &mut Asked, name: &str, most: u64) -> Result<Option<u64>, Refusal> {
    let Some(text) = asked.take(name) else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= most);
    let message = || Refusal::member(name, format!("`{name}` must be a whole number of at most {most}."));
    number.map(Some).ok_or_else(message)
}
