//! The key hierarchy over HTTP: rotation of root, master and data keys, verification, backup. No key goes in or out here: files hold them.
//!
//! What reads for long does so on a thread of its own; the control plane goes on meanwhile.

use super::answer::{Outcome, Refusal, created, fine};
use super::locked;
use super::members::Members;
use super::query::{At, is_name};
use super::routes::Desk;
use super::socket::Peer;
use crate::control_plane::{ControlError, MasterRotated, NewRoot, Reader};
use crate::domain::id::TenantId;
use crate::store::AuditHead;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::routing::post;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The routes on the admin socket.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/vault/rotate-root", post(rotate_root))
        .route("/vault/rotate-master", post(rotate_master))
        .route("/vault/rotate-data/{tenant}", post(rotate_data))
        .route("/vault/verify", post(verify))
        .route("/backup", post(back_up))
}

/// `{}` to replace the root key's file, or `{"new_root_key_file":"/path"}` where igris does not own it.
async fn rotate_root(State(desk): State<Desk>, Extension(peer): Extension<Peer>, body: Bytes) -> Outcome {
    let mut members = Members::read(&body)?;
    let file = path(&mut members, "new_root_key_file")?;
    members.end("`new_root_key_file`")?;
    let new = file.map_or(NewRoot::InPlace, NewRoot::File);
    fine(&locked(&desk.control).rotate_root(&peer.to_string(), &new)?)
}

/// Answers once everything is moved. Whoever does not wait for that loses nothing: the ticks of the control plane go on with it.
async fn rotate_master(State(desk): State<Desk>, Extension(peer): Extension<Peer>) -> Outcome {
    let version = locked(&desk.control).begin_master(&peer.to_string())?;
    let mut rewrapped = 0;
    loop {
        let moved = locked(&desk.control).step_master()?;
        rewrapped += moved;
        if moved == 0 {
            return fine(&MasterRotated { version, rewrapped });
        }
        // Others get their turn between two batches.
        tokio::task::yield_now().await;
    }
}

async fn rotate_data(State(desk): State<Desk>, Extension(peer): Extension<Peer>, At(tenant): At<String>) -> Outcome {
    if !is_name(&tenant) {
        return Err(Refusal::no_such("tenant", "GET /tenants"));
    }
    fine(&locked(&desk.control).rotate_data(&peer.to_string(), &TenantId::new(&tenant))?)
}

/// `{}` or `{"expect":"12:0123456789abcdef"}`, an anchor from an earlier verification.
async fn verify(State(desk): State<Desk>, body: Bytes) -> Outcome {
    let anchor = anchor(&body)?;
    let reader = locked(&desk.control).reader()?;
    fine(&beside(reader, move |reader| reader.verify(anchor)).await?)
}

/// `{"path":"/somewhere/igris-backup.db"}`.
async fn back_up(State(desk): State<Desk>, Extension(peer): Extension<Peer>, body: Bytes) -> Outcome {
    let mut members = Members::read(&body)?;
    let to = path(&mut members, "path")?.ok_or_else(|| members.wrong("path", PATH))?;
    members.end("`path`")?;
    let reader = {
        let mut control = locked(&desk.control);
        control.note_backup(&peer.to_string(), &to)?;
        control.reader()?
    };
    let written = to.clone();
    beside(reader, move |reader| reader.back_up(&to)).await?;
    created(&json!({ "path": written, "bytes": std::fs::metadata(&written).map_or(0, |file| file.len()) }))
}

/// Reads an optional anchor, which is all a verification may be told.
pub(super) fn anchor(body: &[u8]) -> Result<Option<AuditHead>, Refusal> {
    const ANCHOR: &str = "an anchor as a verification printed it, such as \"12:0123456789abcdef\"";
    let mut members = Members::read(body)?;
    let text = members.take::<String>("expect", ANCHOR)?;
    let anchor = text.map(|text| AuditHead::parse(&text).ok_or_else(|| members.wrong("expect", ANCHOR))).transpose()?;
    members.end("`expect`")?;
    Ok(anchor)
}

/// Lets a reader work on a thread of its own.
pub(super) async fn beside<T: Send + 'static>(
    reader: Reader,
    work: impl FnOnce(Reader) -> Result<T, ControlError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(move || work(reader)).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Refusal::new(
            500,
            "internal_error",
            "Reading the store broke off; run igris vault verify with the gateway stopped.",
        )),
    }
}

const PATH: &str = "an absolute path in the file system of the gateway";

fn path(members: &mut Members<'_>, name: &str) -> Result<Option<PathBuf>, Refusal> {
    let Some(text) = members.take::<String>(name, PATH)? else { return Ok(None) };
    if !Path::new(&text).is_absolute() || text.contains('\0') {
        return Err(members.wrong(name, PATH));
    }
    Ok(Some(PathBuf::from(text)))
}
