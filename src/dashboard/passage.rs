//! `/api`: a request of a page goes to the admin API, as a peer with the roles of its session.
//!
//! Looking passes for everybody who is signed in. Of the changes only those pass that the pages offer; what may ruin a gateway (keys of
//! the vault, backups, upgrades, another configuration, the end of the process) is for the admin socket.

use super::Door;
use super::gate::Caller;
use crate::admin::{Peer, Refusal};
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tower_service::Service;

/// The changes that pages offer; `*` stands for one part of a path.
#[rustfmt::skip]
const CHANGES: &[(Method, &str)] = &[
    (Method::POST,   "/reload"),
    (Method::POST,   "/rollout/accept"),
    (Method::POST,   "/rollout/revert"),
    (Method::POST,   "/breakers/*/*"),
    (Method::POST,   "/access-keys"),
    (Method::PATCH,  "/access-keys/*"),
    (Method::DELETE, "/access-keys/*"),
    (Method::POST,   "/access-keys/*/rotate"),
    (Method::POST,   "/providers/*/keys"),
    (Method::DELETE, "/providers/*/keys/*"),
    (Method::POST,   "/providers/*/keys/rotate"),
    (Method::POST,   "/rotations/*/cancel"),
    (Method::POST,   "/rotations/*/complete"),
    (Method::POST,   "/audit/verify"),
    (Method::POST,   "/budgets"),
    (Method::DELETE, "/budgets"),
    (Method::POST,   "/alerts/*/acknowledge"),
];

/// What of a request's head goes on.
const PASSED: [HeaderName; 3] = [header::CONTENT_TYPE, header::ACCEPT, HeaderName::from_static("last-event-id")];

/// A page asks this way for what may not be there; a browser logs a 404 as an error.
const OPTIONAL: HeaderName = HeaderName::from_static("x-igris-optional");

/// Anything under `/api`.
pub(super) async fn pass(
    State(door): State<Arc<Door>>,
    Extension(from): Extension<SocketAddr>,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let caller = door.caller(&head.headers, from.ip())?;
    let target = head.uri.path_and_query().and_then(|target| target.as_str().strip_prefix("/api"));
    let target: Uri = target.and_then(|target| target.parse().ok()).ok_or_else(nothing)?;
    let looks = matches!(head.method, Method::GET | Method::HEAD);
    let (holder, session) = match caller {
        Caller::Page(seated, id) => {
            if !looks {
                door.check_change(&head.headers, &id)?;
            }
            (seated.holder, Some(seated.number))
        }
        Caller::Program(_) if !looks => {
            let message =
                "A token alone only looks here; change things in the dashboard's pages or with `igris admin`.";
            return Err(Refusal::new(403, "read_only", message));
        }
        Caller::Program(holder) => (holder, None),
    };
    if !looks && !offers(&head.method, target.path()) {
        let message = "The dashboard does not offer this change; use `igris admin` on the machine itself.";
        return Err(Refusal::new(403, "not_offered", message));
    }
    let mut passed = Request::new(body);
    (*passed.method_mut(), *passed.uri_mut()) = (head.method, target);
    for name in PASSED {
        if let Some(value) = head.headers.get(&name) {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    passed.extensions_mut().insert(Peer::at_dashboard(holder.name, holder.roles));
    let Ok(response) = door.behind.api.clone().call(passed).await;
    if head.headers.contains_key(OPTIONAL) && response.status() == StatusCode::NOT_FOUND {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(while_signed_in(response, door, session))
}

fn offers(method: &Method, path: &str) -> bool {
    let fits = |pattern: &str| {
        let (mut parts, mut wanted) = (path.split('/'), pattern.split('/'));
        parts.by_ref().zip(wanted.by_ref()).all(|(part, wanted)| wanted == part || wanted == "*" && !part.is_empty())
            && path.split('/').count() == pattern.split('/').count()
    };
    CHANGES.iter().any(|(offered, pattern)| offered == method && fits(pattern))
}

fn nothing() -> Refusal {
    Refusal::no_such("path", "the dashboard at /")
}

/// A feed never ends by itself; it must not outlive the session that opened it.
fn while_signed_in(response: Response, door: Arc<Door>, session: Option<u64>) -> Response {
    let feeds = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    match session.filter(|_| feeds) {
        Some(session) => response.map(|inner| Body::new(Watched { inner, door, session })),
        None => response,
    }
}

struct Watched {
    inner: Body,
    door: Arc<Door>,
    session: u64,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let watched = self.get_mut();
        match Pin::new(&mut watched.inner).poll_frame(cx) {
            Poll::Ready(Some(_)) if !watched.door.sessions().stands(watched.session, Instant::now()) => {
                Poll::Ready(None)
            }
            frame => frame,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pages_offer_is_offered() {
        for (method, path) in [
            (Method::POST, "/breakers/openai/reset"),
            (Method::PATCH, "/access-keys/ak_1"),
            (Method::POST, "/providers/openai/keys/rotate"),
            (Method::DELETE, "/providers/openai/keys/key_1"),
        ] {
            assert!(offers(&method, path), "{method} {path}");
        }
        for (method, path) in [
            (Method::POST, "/drain"),
            (Method::POST, "/upgrade"),
            (Method::PUT, "/config"),
            (Method::POST, "/vault/rotate-root"),
            (Method::POST, "/backup"),
            (Method::DELETE, "/tenants/default"),
            (Method::POST, "/breakers/openai"),
            (Method::POST, "/breakers//open"),
            (Method::POST, "/breakers/openai/open/more"),
            (Method::GET, "/breakers/openai/open"),
        ] {
            assert!(!offers(&method, path), "{method} {path}");
        }
    }
}
