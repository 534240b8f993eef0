//! The configuration over HTTP: which one runs, another one, and the trial that another one may be put on.
//!
//! A pushed one is TOML as the whole body, its signature in the field `x-igris-signature` (base64 of the `.minisig` text); or a JSON
//! object `{"config": …, "signature": …}` of the two texts as they are.

use super::answer::{Outcome, Refusal, fine};
use super::locked;
use super::members::Members;
use super::query::Asked;
use super::routes::Desk;
use super::socket::Peer;
use crate::config::unit;
use crate::control_plane::{Change, ControlError, Offer};
use crate::limits::ROLLOUT_WATCH_CEILING;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Uri};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

/// Base64 of the text of a `.minisig` file.
const SIGNATURE_FIELD: &str = "x-igris-signature";

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/config", get(show).put(put))
        .route("/config/texts", get(async |State(desk): State<Desk>| fine(&locked(&desk.control).config_texts()?)))
        .route("/reload", post(reload))
        .route("/rollout", get(async |State(desk): State<Desk>| fine(&locked(&desk.control).rollout_status())))
        .route("/rollout/accept", post(accept))
        .route("/rollout/revert", post(revert))
}

async fn show(State(desk): State<Desk>) -> Outcome {
    fine(&locked(&desk.control).config_status())
}

async fn reload(State(desk): State<Desk>, Extension(peer): Extension<Peer>, uri: Uri) -> Outcome {
    applied(&desk, &peer, Change { pushed: None, watch: watch(&uri)? })
}

async fn put(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    fields: HeaderMap,
    body: Bytes,
) -> Outcome {
    let watch = watch(&uri)?;
    let offer = offer(&fields, &body)?;
    if offer.bytes.trim_ascii().is_empty() {
        return Err(Refusal::new(400, "invalid_request", "The body is empty; send the whole configuration as TOML."));
    }
    applied(&desk, &peer, Change { pushed: Some(offer), watch })
}

async fn accept(State(desk): State<Desk>, Extension(peer): Extension<Peer>) -> Outcome {
    fine(&locked(&desk.control).end_trial(&peer.to_string(), true)?)
}

async fn revert(State(desk): State<Desk>, Extension(peer): Extension<Peer>) -> Outcome {
    fine(&locked(&desk.control).end_trial(&peer.to_string(), false)?)
}

/// `?watch=30s`: how long to try it; `0s` does without.
fn watch(uri: &Uri) -> Result<Option<Duration>, Refusal> {
    let mut asked = Asked::read(uri)?;
    let watch = asked.take("watch").map(|text| {
        let watch = unit::duration(&text).ok().filter(|watch| *watch <= ROLLOUT_WATCH_CEILING);
        let refused =
            || Refusal::member("watch", "`watch` must be a duration up to an hour, as in watch=30s; 0s: no trial.");
        watch.ok_or_else(refused)
    });
    let watch = watch.transpose()?;
    asked.end("`watch`")?;
    Ok(watch)
}

/// What was pushed, with its signature.
fn offer(fields: &HeaderMap, body: &Bytes) -> Result<Offer, Refusal> {
    // No TOML begins with a brace.
    if body.trim_ascii_start().starts_with(b"{") {
        let mut members = Members::read(body)?;
        let config = members.required("config")?;
        let signature = members.take("signature", "the text of a .minisig file")?;
        members.end("`config` and `signature`")?;
        return Ok(Offer::pushed(config.into_bytes(), signature));
    }
    // Whether it is text is asked after its signature (rule C2); without one, at once.
    let signature = fields.get(SIGNATURE_FIELD).map(|value| {
        let text = STANDARD.decode(value.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| Refusal::member(SIGNATURE_FIELD, "`x-igris-signature` must be base64 of the .minisig text."))
    });
    let signature = signature.transpose()?;
    if signature.is_none() && std::str::from_utf8(body).is_err() {
        return Err(Refusal::new(400, "invalid_request", "The configuration is not UTF-8; send TOML."));
    }
    Ok(Offer::pushed(body.to_vec(), signature))
}

/// All or nothing (rule C6): 200 with what is live now, or 422 with every problem.
fn applied(desk: &Desk, peer: &Peer, change: Change) -> Outcome {
    match locked(&desk.control).change_config(&peer.to_string(), change) {
        Ok(reloaded) => fine(&reloaded),
        Err(error @ ControlError::Config(_)) => {
            let message = "The configuration was refused and nothing changed; repair every line of `problems`.";
            Err(Refusal::new(422, error.code(), message).with_problems(error.lines()))
        }
        Err(error) => Err(error.into()),
    }
}
