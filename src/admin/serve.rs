//! Serving HTTP/1.1 for the control plane: a ceiling on connections, a deadline on every head and body, an end when told.
//!
//! Whatever comes in is bounded before a route sees it: routes get whole bodies. A connection that breaks a bound is closed, and nothing
//! else happens (rule A3).

use super::answer::Refusal;
use crate::limits::{
    ACCEPT_BACK_OFF, ADMIN_BODY_BYTES_MAX, ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_BYTES_MAX, ADMIN_REQUEST_DEADLINE,
    CONFIG_PUSH_BYTES_MAX, CONTROL_CONNECTIONS_MAX, CUT_GRACE, DASHBOARD_CONNECTIONS_MAX,
};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Extension;
use axum::http::request::Parts;
use axum::http::{Method, Request, header};
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service;

/// How many connections at a time, and what becomes of one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// One more is told so at once: for people, who can close another.
    Refuse(usize),
    /// One more waits: for the data plane, whose clients have deadlines of their own.
    Wait(usize),
}

impl Ceiling {
    /// Of the admin socket (rule A3).
    pub const ADMIN: Self = Self::Refuse(ADMIN_CONNECTIONS_MAX);
    /// Of the internal socket.
    pub const INTERNAL: Self = Self::Wait(CONTROL_CONNECTIONS_MAX);
    /// Of the dashboard, and of a metrics listener.
    pub const DASHBOARD: Self = Self::Refuse(DASHBOARD_CONNECTIONS_MAX);
}

/// Serves until `stop` is true, or its sender is gone; then what is in flight has [`CUT_GRACE`] to finish. Requests carry the peer's
/// address as an extension.
pub async fn serve<L>(mut listener: L, router: Router, ceiling: Ceiling, mut stop: watch::Receiver<bool>)
where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
{
    let (Ceiling::Refuse(most) | Ceiling::Wait(most)) = ceiling;
    let slots = Arc::new(Semaphore::new(most));
    let (ending, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let next = next(&mut listener, &slots, ceiling);
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = next => accepted,
        };
        match accepted {
            (io, peer, Some(slot)) => {
                let router = router.clone().layer(Extension(peer));
                connections.spawn(connection(io, router, ended.clone(), slot));
            }
            (io, _, None) => {
                connections.spawn(turn_away(io));
            }
        }
    }
    drop(ending);
    drop(listener);
    let rest = async { while connections.join_next().await.is_some() {} };
    if timeout(CUT_GRACE, rest).await.is_err() {
        connections.shutdown().await;
    }
}

/// The next connection, with its slot unless there is none left.
async fn next<L: Listener>(
    listener: &mut L,
    slots: &Arc<Semaphore>,
    ceiling: Ceiling,
) -> (L::Io, L::Addr, Option<OwnedSemaphorePermit>) {
    match ceiling {
        Ceiling::Wait(_) => {
            // The semaphore lives as long as the loop and is never closed.
            let slot = slots.clone().acquire_owned().await.ok();
            let (io, peer) = listener.accept().await;
            (io, peer, slot)
        }
        Ceiling::Refuse(_) => {
            let (io, peer) = listener.accept().await;
            (io, peer, slots.clone().try_acquire_owned().ok())
        }
    }
}

async fn connection<T>(io: T, router: Router, mut ended: watch::Receiver<()>, _slot: OwnedSemaphorePermit)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(router.clone(), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(ADMIN_REQUEST_DEADLINE).max_buf_size(ADMIN_HEAD_BYTES_MAX);
    let mut served = pin!(http.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        // A broken connection concerns its client alone, who has seen it break.
        _ = served.as_mut() => return,
        _ = ended.changed() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

/// One request, its body read whole, within size and time.
async fn answer(mut router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    if head_bytes(&head) > ADMIN_HEAD_BYTES_MAX {
        let message = format!("The request head is larger than {ADMIN_HEAD_BYTES_MAX} bytes; send shorter fields.");
        return Ok(Refusal::new(431, "request_header_fields_too_large", message).into());
    }
    let most = body_bytes_max(&head.method, head.uri.path());
    let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > most) {
        return Ok(too_large(most).into());
    }
    match timeout(ADMIN_REQUEST_DEADLINE, to_bytes(Body::new(body), most)).await {
        Ok(Ok(body)) => router.call(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => Ok(too_large(most).into()),
        Err(_) => {
            Ok(Refusal::new(408, "request_timeout", "The request body arrived too slowly; send it again.").into())
        }
    }
}

/// A head as it is written without needless spaces. The reader's own bound counts whole reads, so a little more may get through it.
fn head_bytes(head: &Parts) -> usize {
    let target = head.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let line = head.method.as_str().len() + target + "  HTTP/1.1\r\n\r\n".len();
    line + head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>()
}

/// A whole configuration may be larger than anything else.
fn body_bytes_max(method: &Method, path: &str) -> usize {
    if *method == Method::PUT && path == "/config" { CONFIG_PUSH_BYTES_MAX } else { ADMIN_BODY_BYTES_MAX }
}

fn too_large(most: usize) -> Refusal {
    let message = format!("The request body broke off or is larger than {most} bytes; send less.");
    Refusal::new(413, "request_too_large", message)
}

/// 503 before a byte is read, and a moment to fetch it.
async fn turn_away<T: AsyncRead + AsyncWrite + Unpin>(mut io: T) {
    const BODY: &str = r#"{"error":{"message":"All admin connections are taken; close one, such as an event feed.","type":"server_error","param":null,"code":"overloaded"}}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 1\r\n\
         connection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let _ = timeout(Duration::from_secs(1), io.write_all(answer.as_bytes())).await;
    let _ = timeout(ACCEPT_BACK_OFF, io.shutdown()).await;
}
