//! A change that another machine was faster with is made again, as soon as this one knows what came before. Who asked hears nothing of it.

use super::{Shared, locked};
use crate::limits::ADMIN_REQUEST_DEADLINE;
use crate::limits::fleet::CATCH_UP_PAUSE;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;

/// On a refusal: it may be asked for again without change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again;

/// Asks again, within the deadline of a request, as long as others are faster.
pub(super) async fn again(State(control): State<Shared>, request: Request, next: Next) -> Response {
    let until = Instant::now() + ADMIN_REQUEST_DEADLINE / 2;
    let is_alone = locked(&control).standing_of_fleet().is_none();
    if is_alone || matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    // Whoever serves the sockets has bounded it and holds it already.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return super::Refusal::new(400, "invalid_request", "The body could not be read; send it again.").into();
    };
    loop {
        let before = locked(&control).shared_generation();
        let response = next.clone().run(Request::from_parts(parts.clone(), Body::from(body.clone()))).await;
        if response.extensions().get::<Again>().is_none() || Instant::now() > until {
            return response;
        }
        locked(&control).look_for_news();
        while locked(&control).shared_generation() <= before {
            if Instant::now() > until {
                return response;
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    }
}
