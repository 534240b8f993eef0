//! The way in and out: the printed link, the form, the session that a page has, and the end of it.

use super::gate::{Caller, is_from_us, signed_out};
use super::sessions::Holder;
use super::{Door, assets};
use crate::admin::{Asked, Refusal};
use crate::domain::secret::Secret;
use crate::limits::dashboard::SESSION_LIFETIME;
use crate::vault::OsEntropy;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// `GET /`: the page for who is signed in; with `?token=` the way in; else to the form.
pub(super) async fn page(
    State(door): State<Arc<Door>>,
    Extension(from): Extension<SocketAddr>,
    uri: Uri,
    fields: HeaderMap,
) -> Response {
    // The token's letters need no percent encoding.
    let shown = uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")));
    match shown {
        Some(text) => admit(&door, &fields, &Secret::copy_of(text.as_bytes()), from),
        None if door.seated(&fields).is_some() => assets::page(assets::PAGE.to_owned()),
        None => to("/login"),
    }
}

/// `GET /login`.
pub(super) async fn form(State(door): State<Arc<Door>>, fields: HeaderMap) -> Response {
    match door.seated(&fields) {
        Some(_) => to("/"),
        None => assets::page(assets::login(None)),
    }
}

/// `POST /login`: `token=…` as forms send it. Only our own form may sign somebody in.
pub(super) async fn enter(
    State(door): State<Arc<Door>>,
    Extension(from): Extension<SocketAddr>,
    fields: HeaderMap,
    body: Bytes,
) -> Response {
    if !is_from_us(&fields) {
        let message = "This does not come from the dashboard's own form; open the dashboard and sign in there.";
        return Refusal::new(403, "forged_request", message).into_response();
    }
    let form = std::str::from_utf8(&body).ok().and_then(|text| Asked::of_target(&format!("/?{text}"))?.ok());
    let shown = form.and_then(|mut form| form.take("token")).map(|text| Secret::copy_of(text.trim().as_bytes()));
    admit(&door, &fields, &shown.unwrap_or_else(|| Secret::copy_of(b"")), from)
}

/// `GET /session`: who this is, what they may, and the word that changes must repeat.
pub(super) async fn session(State(door): State<Arc<Door>>, fields: HeaderMap) -> Result<Response, Refusal> {
    let (seated, id) = door.seated(&fields).ok_or_else(signed_out)?;
    let csrf = door.sessions().csrf(&id, Instant::now()).ok_or_else(signed_out)?;
    let roles: Vec<&str> = seated.holder.roles.names().collect();
    let body = json!({
        "user": seated.holder.name.as_deref().unwrap_or("printed token"),
        "roles": roles,
        "csrf": csrf,
        "expires_in_seconds": seated.left.as_secs(),
    });
    Ok(Json(body).into_response())
}

/// `POST /logout`: the session is over, here and in the browser.
pub(super) async fn leave(
    State(door): State<Arc<Door>>,
    Extension(from): Extension<SocketAddr>,
    fields: HeaderMap,
) -> Result<Response, Refusal> {
    let Caller::Page(_, id) = door.caller(&fields, from.ip())? else { return Err(signed_out()) };
    door.check_change(&fields, &id)?;
    door.sessions().end(&id);
    let cookie = format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", door.cookie);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// A session for a right token, and the bare address, so that neither address bar nor history of the page holds the token; the form again
/// for a wrong one.
fn admit(door: &Door, fields: &HeaderMap, shown: &Secret, from: SocketAddr) -> Response {
    let holder = match door.holder(shown, from.ip()) {
        Ok(holder) => holder,
        Err(refusal) => return refused(&refusal),
    };
    if let Some((_, old)) = door.seated(fields) {
        door.sessions().end(&old);
    }
    match opened(door, holder) {
        Some(cookie) => {
            let mut response = to("/");
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        None => {
            Refusal::new(500, "internal_error", "The machine gives no random numbers; see the log.").into_response()
        }
    }
}

fn opened(door: &Door, holder: Holder) -> Option<HeaderValue> {
    let who = holder.name.as_deref().map_or("the printed token".to_owned(), |name| format!("token {name}"));
    let id = door.sessions().open(holder, &mut OsEntropy, Instant::now()).ok()?;
    let (name, age) = (&door.cookie, SESSION_LIFETIME.as_secs());
    // For this host, not for scripts, not from other sites (RFC 6265bis §5.6).
    let mut cookie =
        HeaderValue::try_from(format!("{name}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}")).ok()?;
    cookie.set_sensitive(true);
    crate::admin::note_visit(&door.behind.control, format!("somebody signed in with {who}"));
    Some(cookie)
}

fn refused(refusal: &Refusal) -> Response {
    let (status, sentence) = match refusal.status() {
        429 => (StatusCode::TOO_MANY_REQUESTS, "Too many wrong tokens. Wait a minute, then try again."),
        _ => (StatusCode::UNAUTHORIZED, "This token opens nothing here. Copy the one that igris printed at start."),
    };
    let mut response = assets::page(assets::login(Some(sentence)));
    *response.status_mut() = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
    }
    response
}

fn to(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}
