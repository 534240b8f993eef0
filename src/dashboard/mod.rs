//! The dashboard: one page, embedded whole, that looks and never changes anything.
//!
//! It has a TCP listener of its own, off unless asked for. Everything but the way in needs the token that was printed at start: the
//! link `/?token=…` sets a cookie that no script can read and no other site can send, and leads to the bare address. Programs may
//! show it as `Authorization: Bearer`. Under `/api` it serves what the admin API reads, and nothing else.

mod token;

pub use token::Token;

use crate::admin::{self, Ceiling, Hold, Refusal, Shared};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A bound dashboard.
#[derive(Debug)]
pub struct Dashboard {
    listener: TcpListener,
    token: Arc<Token>,
}

/// Binds the dashboard's address. Must be called on a tokio runtime.
///
/// # Errors
/// The kernel's, with the address and a remedy.
pub async fn bind(address: SocketAddr, token: Token) -> io::Result<Dashboard> {
    let listener = TcpListener::bind(address).await.map_err(|cause| {
        let sentence = format!("cannot listen on {address} for the dashboard: {cause}; choose another address");
        io::Error::new(cause.kind(), sentence)
    })?;
    Ok(Dashboard { listener, token: Arc::new(token) })
}

impl Dashboard {
    /// A dashboard on a listening socket. Must be made on a tokio runtime.
    ///
    /// # Errors
    /// The kernel's.
    pub fn over(listener: std::net::TcpListener, token: Token) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, token: Arc::new(token) })
    }

    /// The same socket for another process.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The link to print once at start: whoever has it may look.
    ///
    /// # Errors
    /// As [`Dashboard::address`].
    pub fn link(&self) -> io::Result<String> {
        Ok(format!("http://{}/?token={}", self.address()?, self.token.expose()))
    }

    /// Serves until `stop` is true; takes no connections while they are held.
    pub async fn serve(self, control: Shared, hold: Hold, stop: watch::Receiver<bool>) {
        let router = router(control, self.token);
        admin::serve(hold.over_listener(self.listener), router, Ceiling::DASHBOARD, stop).await;
    }
}

/// Binds and serves in one step.
///
/// # Errors
/// As [`bind`].
pub async fn serve(address: SocketAddr, control: Shared, token: Token, stop: watch::Receiver<bool>) -> io::Result<()> {
    bind(address, token).await?.serve(control, Hold::default(), stop).await;
    Ok(())
}

fn router(control: Shared, token: Arc<Token>) -> Router {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", PAGE)))
        .route("/dashboard.css", get(async || file("text/css; charset=utf-8", STYLE)))
        .route("/dashboard.js", get(async || file("text/javascript; charset=utf-8", SCRIPT)))
        .nest("/api", admin::read_router(control))
        .fallback(async || Refusal::no_such("path", "the dashboard at /"))
        .layer(from_fn_with_state(token, admit))
        .layer(from_fn(fields))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// Lets in who shows the token, and only to look. A wrong token and none get the same answer (rule V11).
async fn admit(State(token): State<Arc<Token>>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return Refusal::new(405, "method_not_allowed", "The dashboard only looks; change things with `igris admin`.")
            .into();
    }
    // A page elsewhere may point its own name at our address; the cookie would not come along, and this answers nothing either.
    if token.is_in_cookie(request.headers()) || token.is_in_authorization(request.headers()) {
        return next.run(request).await;
    }
    if request.uri().path() == "/" && request.uri().query().is_some_and(|query| token.is_in_query(query)) {
        return enter(&token);
    }
    let page = request.uri().path() == "/";
    let message = "Open the dashboard by the link with its token that igris printed at start.";
    match page {
        true => {
            (StatusCode::UNAUTHORIZED, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], message).into_response()
        }
        false => Refusal::new(401, "invalid_token", message).into(),
    }
}

/// The cookie, and the address without the token, so that the address bar and the list of pages to go back to do not hold it. A browser may keep
/// the link itself in its history; it is good for the life of this process.
fn enter(token: &Token) -> Response {
    let cookie = HeaderValue::try_from(token.cookie());
    let Ok(mut cookie) = cookie else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    cookie.set_sensitive(true);
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// What every answer says to a browser.
async fn fields(request: Request, next: Next) -> Response {
    const FIELDS: [(HeaderName, &str); 6] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in FIELDS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

#[cfg(test)]
mod tests;
