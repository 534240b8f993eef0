//! The hand-over to a new process over HTTP: `POST /upgrade` with `{}`, or with `binary` and `timeout_ms`.
//!
//! `binary` is for our own user and root: it is run with everything that the gateway has. The answer comes when it is over: 200 with the
//! new process, or 409 with the reason why this one goes on.

use super::answer::{Outcome, Refusal, fine};
use super::members::Members;
use super::routes::Desk;
use super::socket::Peer;
use axum::Router;
use axum::body::Bytes;
use axum::http::request::Parts;
use axum::routing::post;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

/// What the operator wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpgradeAsk {
    /// Another binary than the one at our own path.
    pub binary: Option<PathBuf>,
    /// How long each step may take.
    pub patience: Option<Duration>,
    /// Who wants it, for the audit log.
    pub who: String,
}

/// The process that serves now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upgraded {
    /// Its id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The id of the process that finishes what it has.
    pub draining_pid: u32,
}

/// How it ended.
pub type UpgradeOutcome = Result<Upgraded, String>;

/// Takes an upgrade in hand and says later how it ended.
#[derive(Clone)]
pub struct UpgradeDesk(Arc<dyn Fn(UpgradeAsk) -> oneshot::Receiver<UpgradeOutcome> + Send + Sync>);

impl UpgradeDesk {
    /// A desk that calls `begin`.
    pub fn new(begin: impl Fn(UpgradeAsk) -> oneshot::Receiver<UpgradeOutcome> + Send + Sync + 'static) -> Self {
        Self(Arc::new(begin))
    }
}

/// The routes on the admin socket; the desk is an extension of the request.
pub(super) fn routes() -> Router<Desk> {
    Router::new().route("/upgrade", post(upgrade))
}

/// Whoever names a program to be run has all that the gateway has, so other users that are let in may not.
fn is_owner(peer: &Peer) -> bool {
    let own = UnixStream::pair().and_then(|(one, _other)| one.peer_cred());
    peer.uid == 0 || own.is_ok_and(|own| own.uid() == peer.uid)
}

async fn upgrade(parts: Parts, body: Bytes) -> Outcome {
    let refused = |why: String| Refusal::new(409, "upgrade_refused", why);
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let mut members = Members::read(body)?;
    let binary: Option<PathBuf> = members.take("binary", "the path of a program")?;
    let patience: Option<u64> = members.take("timeout_ms", "a number of milliseconds")?;
    members.end("`binary` and `timeout_ms`")?;
    if binary.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(Refusal::member("binary", "`binary` must be an absolute path; the gateway has its own directory."));
    }
    let peer = parts.extensions.get::<Peer>();
    if binary.is_some() && !peer.is_some_and(is_owner) {
        let message = "Another binary may be named by the gateway's own user and root alone; leave `binary` out.";
        return Err(Refusal::new(403, "not_allowed", message));
    }
    let desk = parts.extensions.get::<UpgradeDesk>();
    let desk = desk.ok_or_else(|| refused("This process cannot be upgraded; stop it and start another.".to_owned()))?;
    let who = peer.map_or_else(|| "unknown".to_owned(), Peer::to_string);
    let outcome = (desk.0)(UpgradeAsk { binary, patience: patience.map(Duration::from_millis), who });
    match outcome.await {
        Ok(Ok(upgraded)) => fine(&upgraded),
        Ok(Err(why)) => Err(refused(format!("The running process goes on: {why}"))),
        Err(_) => Err(refused("The process is on its way down; start another.".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::house::{House, ask};

    #[tokio::test]
    async fn an_upgrade_is_asked_for_exactly_and_without_a_desk_refused() {
        let house = House::new();
        let served = house.open_admin();
        let path = house.admin_path();
        for (body, status) in [
            ("", 409),
            ("{}", 409),
            (r#"{"binary":"/bin/false","timeout_ms":1000}"#, 409),
            (r#"{"binary":"igris"}"#, 400),
            (r#"{"binary":7}"#, 400),
            (r#"{"timeout_ms":"1s"}"#, 400),
            (r#"{"force":true}"#, 400),
        ] {
            let seen = ask(&path, "POST /upgrade", "content-type: application/json\r\n", body).await;
            assert_eq!(seen.status, status, "{body}: {}", seen.body);
        }
        assert!(is_owner(&Peer { uid: 0, trusted: true, token: None, seat: None }));
        assert!(
            !is_owner(&Peer { uid: u32::MAX - 7, trusted: false, token: None, seat: None }),
            "a guest of the admin socket"
        );
        house.stop.send_replace(true);
        served.await.expect("ended");
    }
}
