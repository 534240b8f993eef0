//! Sockets of the control plane that stop taking connections while the store is on its way to another process.
//!
//! Connections wait in the sockets meanwhile, and whoever has the store afterwards answers them: this process, or the next one, which
//! has the same sockets. Requests on connections that stood already wait at the gate.

use super::answer::Refusal;
use crate::limits::{HANDOVER_PATIENCE, HANDOVER_PATIENCE_MIN};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::serve::Listener;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::timeout;

/// Whether connections are taken. Clones are the same word.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Word>);

#[derive(Debug)]
struct Word {
    gate: watch::Sender<Gate>,
    open: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Held,
    /// Another process answers, for good.
    Over,
}

/// A listener that obeys a [`Hold`].
#[derive(Debug)]
pub struct Held<L> {
    inner: L,
    hold: Hold,
}

/// A connection that is counted while it lives.
#[derive(Debug)]
pub struct Counted<T> {
    inner: T,
    hold: Hold,
}

impl Default for Hold {
    fn default() -> Self {
        Self(Arc::new(Word { gate: watch::Sender::new(Gate::Open), open: AtomicUsize::new(0) }))
    }
}

impl Hold {
    /// Takes no connections from here on.
    pub fn hold(&self) {
        self.0.gate.send_replace(Gate::Held);
    }

    /// Goes on.
    pub fn release(&self) {
        self.0.gate.send_replace(Gate::Open);
    }

    /// Another process answers.
    pub fn over(&self) {
        self.0.gate.send_replace(Gate::Over);
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }

    /// Puts a listener under this word.
    pub fn over_listener<L>(&self, inner: L) -> Held<L> {
        Held { inner, hold: self.clone() }
    }

    /// Waits until it is decided who answers; whether it is this process.
    async fn opens(&self) -> bool {
        let mut gate = self.subscribe();
        let patience = HANDOVER_PATIENCE + HANDOVER_PATIENCE_MIN;
        match timeout(patience, gate.wait_for(|gate| *gate != Gate::Held)).await {
            Ok(Ok(gate)) => *gate == Gate::Open,
            _ => false,
        }
    }

    fn subscribe(&self) -> watch::Receiver<Gate> {
        self.0.gate.subscribe()
    }
}

impl<L: Listener> Listener for Held<L> {
    type Io = Counted<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let mut gate = self.hold.subscribe();
        loop {
            if gate.wait_for(|gate| *gate == Gate::Open).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::select! {
                biased;
                _ = gate.changed() => {}
                (inner, peer) = self.inner.accept() => {
                    self.hold.0.open.fetch_add(1, Ordering::AcqRel);
                    return (Counted { inner, hold: self.hold.clone() }, peer);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.hold.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, room)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A router whose requests wait while the store is on its way. What needs no store is answered.
pub fn gated(router: Router, hold: Hold) -> Router {
    router.layer(from_fn_with_state(hold, wait))
}

async fn wait(State(hold): State<Hold>, request: Request, next: Next) -> Response {
    let storeless = ["/health", "/status", "/metrics", "/events"].contains(&request.uri().path());
    if storeless && *request.method() == Method::GET {
        return next.run(request).await;
    }
    if hold.opens().await {
        return next.run(request).await;
    }
    let message = "Another process of this gateway has taken over; send it again on a new connection.";
    Refusal::new(503, "handed_over", message).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::house::ask;
    use crate::admin::{Ceiling, bind, serve};
    use axum::routing::get;
    use std::time::Duration;

    #[tokio::test]
    async fn who_comes_while_it_is_held_waits_and_is_answered() {
        let place = std::env::temp_dir().join(format!("igris-hold-{}-{:x}", std::process::id(), fastrand::u64(..)));
        let path = place.join("a.sock");
        let socket = bind(&path, &[]).expect("bound");
        let (hold, stop) = (Hold::default(), watch::Sender::new(false));
        let router = gated(Router::new().route("/x", get(async || "fine")), hold.clone());
        let served = tokio::spawn(serve(hold.over_listener(socket), router, Ceiling::Wait(4), stop.subscribe()));
        assert_eq!(ask(&path, "GET /x", "", "").await.status, 200);
        hold.hold();
        let waiting = tokio::spawn({
            let path = path.clone();
            async move { ask(&path, "GET /x", "", "").await.status }
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!((waiting.is_finished(), hold.connections()), (false, 0), "it waits in the socket");
        hold.release();
        assert_eq!(waiting.await.expect("answered"), 200);
        // A connection that stood already waits at the gate, and hears where to go.
        let stood = tokio::net::UnixStream::connect(&path).await.expect("connected");
        while hold.connections() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        hold.hold();
        let waiting = tokio::spawn(crate::admin::house::exchange(stood, "GET /x", "", ""));
        tokio::time::sleep(Duration::from_millis(50)).await;
        hold.over();
        assert_eq!(waiting.await.expect("answered").status, 503);
        stop.send_replace(true);
        served.await.expect("ended");
        let _ = std::fs::remove_dir_all(&place);
    }
}
