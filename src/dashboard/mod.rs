//! The dashboard: pages for people, embedded whole, over a TCP listener of its own that is off unless asked for.
//!
//! It is a client of the admin API and nothing more: under `/api` a request goes to the same router that the admin socket has, as a peer
//! with the roles of its session. A session begins with the token that is printed at start, or with one of `[[admin.tokens]]`; the
//! browser keeps a random id in a cookie that no script can read and no other site can send. Every change must come from our own page:
//! the right `Origin`, and the session's word in a field. Nothing is loaded from elsewhere, and every answer says so to the browser.
//!
//! It refuses names that are not ours (rebinding), guesses beyond a few a minute, and whatever its pages do not need: the vault, the
//! store and the process itself stay with the admin socket.

mod assets;
mod gate;
mod login;
mod passage;
mod policy;
mod sessions;
mod token;
mod turnstile;

pub use token::Token;

use crate::admin::{self, Admission, Ceiling, Hold, Refusal, Shared};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use sessions::Sessions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use turnstile::Turnstile;

/// A bound dashboard.
#[derive(Debug)]
pub struct Dashboard {
    listener: TcpListener,
    token: Token,
}

/// What a dashboard stands before.
pub struct Behind {
    /// The admin API, whole.
    pub api: Router,
    /// Whose tokens open sessions beside the printed one.
    pub admission: Arc<Admission>,
    /// For the events.
    pub control: Shared,
    /// Names under which it may be reached beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// What its routes share.
struct Door {
    token: Token,
    cookie: String,
    behind: Behind,
    sessions: Mutex<Sessions>,
    turnstile: Mutex<Turnstile>,
    reports: Mutex<policy::Reports>,
}

impl Dashboard {
    /// A dashboard on a listening socket. Must be made on a tokio runtime.
    ///
    /// # Errors
    /// The kernel's.
    pub fn over(listener: std::net::TcpListener, token: Token) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, token })
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

    /// The link to print once at start: whoever has it may do everything that the dashboard can.
    ///
    /// # Errors
    /// As [`Dashboard::address`].
    pub fn link(&self) -> io::Result<String> {
        Ok(format!("http://{}/?token={}", self.address()?, self.token.expose()))
    }

    /// Serves until `stop` is true; takes no connections while they are held.
    pub async fn serve(self, behind: Behind, hold: Hold, stop: watch::Receiver<bool>) {
        // Cookies know no ports: two gateways on one machine must not sign each other out.
        let port = self.address().map_or(0, |address| address.port());
        let door = Door {
            token: self.token,
            cookie: format!("igris_session_{port}"),
            behind,
            sessions: Mutex::default(),
            turnstile: Mutex::default(),
            reports: Mutex::default(),
        };
        admin::serve(hold.over_listener(self.listener), router(Arc::new(door)), Ceiling::DASHBOARD, stop).await;
    }
}

fn router(door: Arc<Door>) -> Router {
    Router::new()
        .route("/", get(login::page))
        .route("/login", get(login::form).post(login::enter))
        .route("/logout", post(login::leave))
        .route("/session", get(login::session))
        .route("/csp-report", post(policy::take).get(policy::show))
        .route("/assets/{*name}", get(assets::serve))
        .route("/api/{*path}", any(passage::pass))
        .fallback(async || Refusal::no_such("path", "the dashboard at /"))
        .method_not_allowed_fallback(async || Refusal::wrong_method())
        .layer(from_fn_with_state(door.clone(), gate::hosts))
        .layer(from_fn(policy::fields))
        .with_state(door)
}

impl Door {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Every step of it leaves it whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turnstile(&self) -> MutexGuard<'_, Turnstile> {
        self.turnstile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reports(&self) -> MutexGuard<'_, policy::Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
