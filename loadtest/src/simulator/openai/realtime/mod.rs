//! The realtime interface: a WebSocket on which a conversation of events is answered in text, with usage.
//!
//! Audio that is appended is taken and committed, but nothing listens to it: answers are text or calls of functions. Every
//! event that a client sends is checked against a table. Shapes: Realtime API reference and official clients (read 2026-11).

mod frame;
mod session;

pub(in crate::simulator) use frame::{Message, frame, take};
pub(in crate::simulator) use session::Conversation;

use super::Refusal;
use crate::simulator::seal::{base64, unbase64};
use crate::simulator::surface::Call;

/// A handshake that passed every check.
pub(in crate::simulator) struct Opening {
    pub(in crate::simulator) model: String,
    /// The value of `sec-websocket-accept`.
    pub(in crate::simulator) accept: String,
    /// The subprotocol that was asked for and is spoken.
    pub(in crate::simulator) protocol: Option<&'static str>,
}

/// What a handshake's key is joined with (RFC 6455 §1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `GET /realtime?model=…` with an upgrade.
pub(super) fn open(call: &Call<'_>) -> Result<Opening, Refusal> {
    let head = call.head;
    let has = |name: &str, word: &str| {
        let words = head.field(name).unwrap_or_default().split(',');
        words.into_iter().any(|found| found.trim().eq_ignore_ascii_case(word))
    };
    let bad = |what: &str| Err(Refusal::invalid(None, "", format!("Expected a WebSocket handshake: {what}.")));
    if !has("upgrade", "websocket") || !has("connection", "upgrade") {
        return bad("the connection is not upgraded to websocket");
    }
    if head.field("sec-websocket-version") != Some("13") {
        return bad("sec-websocket-version must be 13");
    }
    let key = head.field("sec-websocket-key").unwrap_or_default();
    if unbase64(key).is_none_or(|bytes| bytes.len() != 16) {
        return bad("sec-websocket-key must be sixteen bytes in base64");
    }
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let model = query.split('&').find_map(|pair| pair.strip_prefix("model="));
    let model = model.ok_or_else(|| Refusal::missing("model"))?;
    if !call.site.knows_model(model) {
        return Err(Refusal::unknown_model(model));
    }
    let accept = base64(&frame::sha1(format!("{key}{MAGIC}").as_bytes()));
    let protocol = has("sec-websocket-protocol", "realtime").then_some("realtime");
    Ok(Opening { model: model.to_owned(), accept, protocol })
}
