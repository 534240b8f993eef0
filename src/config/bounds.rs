//! `[server.limits]`: the bounds of downstream connections and exchanges.
//!
//! Every bound has its default and its ceiling in `crate::limits`; a value beyond the ceiling is refused, never clamped.

use super::leaf::{bytes, count, duration};
use super::problem::Findings;
use super::raw;
use super::read::Typed;
use crate::limits;
use std::time::Duration;

/// What still lets an honest client through.
const DEADLINE_LEAST: Duration = Duration::from_millis(100);
const HEAD_BYTES_LEAST: usize = 1_024;
const FIELDS_LEAST: usize = 8;
const EXCHANGES_PER_CONNECTION_CEILING: u64 = 1_000_000;

/// Bounds of downstream connections and exchanges; the table of security rules, section 7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Fields of a request head.
    pub fields: usize,
    /// Bytes of a request body.
    pub body_bytes: u64,
    /// For a whole head, from the first wait.
    pub head_deadline: Duration,
    /// For a whole request body.
    pub body_deadline: Duration,
    /// For a TLS handshake with a client.
    pub tls_handshake_deadline: Duration,
    /// Idle time of a downstream connection between exchanges.
    pub keep_alive_idle: Duration,
    /// Exchanges on one downstream connection.
    pub exchanges_per_connection: u32,
    /// Downstream connections of one core, if the file-descriptor limit allows.
    pub connections_per_core: usize,
    /// First response byte of a streaming exchange, where the provider sets none.
    pub first_byte_streaming_deadline: Duration,
    /// First response byte of a unary exchange, where the provider sets none.
    pub first_byte_unary_deadline: Duration,
    /// Silence inside a stream.
    pub stream_silence_deadline: Duration,
    /// A whole exchange, over all its attempts.
    pub exchange_deadline: Duration,
    /// A client that does not read.
    pub client_stall_deadline: Duration,
    /// Relay buffer per direction.
    pub relay_buffer_bytes: usize,
    /// Memory of the process above which no request is admitted; `None`: found from the machine.
    pub memory_bytes: Option<u64>,
    /// Exchanges that one core has under way at a time.
    pub exchanges_per_core: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: limits::HEAD_BYTES_MAX,
            fields: limits::FIELDS_MAX,
            body_bytes: limits::BODY_BYTES_MAX,
            head_deadline: limits::HEAD_DEADLINE,
            body_deadline: limits::BODY_DEADLINE,
            tls_handshake_deadline: limits::TLS_HANDSHAKE_DEADLINE,
            keep_alive_idle: limits::KEEP_ALIVE_IDLE,
            exchanges_per_connection: limits::EXCHANGES_PER_CONNECTION_MAX,
            connections_per_core: limits::CONNECTIONS_PER_CORE_MAX,
            first_byte_streaming_deadline: limits::FIRST_BYTE_STREAMING_DEADLINE,
            first_byte_unary_deadline: limits::FIRST_BYTE_UNARY_DEADLINE,
            stream_silence_deadline: limits::STREAM_SILENCE_DEADLINE,
            exchange_deadline: limits::EXCHANGE_DEADLINE,
            client_stall_deadline: limits::CLIENT_STALL_DEADLINE,
            relay_buffer_bytes: limits::RELAY_BUFFER_BYTES,
            memory_bytes: None,
            exchanges_per_core: limits::EXCHANGES_PER_CORE_MAX,
        }
    }
}

/// The section as meant.
pub(super) fn bounds(mut raw: raw::ServerLimits, findings: &mut Findings) -> Limits {
    let first_byte = raw.first_byte_unary_deadline.as_ref().or(raw.first_byte_streaming_deadline.as_ref());
    let at = first_byte.or(raw.exchange_deadline.as_ref()).map_or(raw.at, |leaf| leaf.at);
    let mut meant = Limits::default();
    deadlines(&mut raw, &mut meant, findings);
    sizes_and_counts(raw, &mut meant, findings);
    if meant.first_byte_unary_deadline.max(meant.first_byte_streaming_deadline) > meant.exchange_deadline {
        findings.error(
            at,
            "a first-byte deadline is longer than `exchange_deadline`",
            "lower it or raise `exchange_deadline`",
        );
    }
    meant
}

fn deadlines(raw: &mut raw::ServerLimits, meant: &mut Limits, findings: &mut Findings) {
    let (first_byte, whole) = (limits::FIRST_BYTE_DEADLINE_CEILING, limits::EXCHANGE_DEADLINE_CEILING);
    let (handshake, stall) = (limits::CONNECT_DEADLINE_CEILING, limits::CLIENT_STALL_DEADLINE_CEILING);
    let rows = [
        ("head_deadline", &mut raw.head_deadline, limits::HEAD_DEADLINE_CEILING, &mut meant.head_deadline),
        ("body_deadline", &mut raw.body_deadline, limits::BODY_DEADLINE_CEILING, &mut meant.body_deadline),
        ("tls_handshake_deadline", &mut raw.tls_handshake_deadline, handshake, &mut meant.tls_handshake_deadline),
        ("keep_alive_idle", &mut raw.keep_alive_idle, limits::KEEP_ALIVE_IDLE_CEILING, &mut meant.keep_alive_idle),
        (
            "first_byte_streaming_deadline",
            &mut raw.first_byte_streaming_deadline,
            first_byte,
            &mut meant.first_byte_streaming_deadline,
        ),
        (
            "first_byte_unary_deadline",
            &mut raw.first_byte_unary_deadline,
            first_byte,
            &mut meant.first_byte_unary_deadline,
        ),
        ("stream_silence_deadline", &mut raw.stream_silence_deadline, whole, &mut meant.stream_silence_deadline),
        ("exchange_deadline", &mut raw.exchange_deadline, whole, &mut meant.exchange_deadline),
        ("client_stall_deadline", &mut raw.client_stall_deadline, stall, &mut meant.client_stall_deadline),
    ];
    for (key, leaf, ceiling, slot) in rows {
        if let Some(value) = findings.value(key, leaf.take(), duration(DEADLINE_LEAST, ceiling)) {
            *slot = value;
        }
    }
}

fn sizes_and_counts(raw: raw::ServerLimits, meant: &mut Limits, findings: &mut Findings) {
    let head = bytes(HEAD_BYTES_LEAST as u64, limits::HEAD_BYTES_CEILING as u64);
    if let Some(value) = findings.value("head_bytes", raw.head_bytes, head) {
        meant.head_bytes = value as usize;
    }
    if let Some(value) = findings.value("body_bytes", raw.body_bytes, bytes(1, limits::BODY_BYTES_CEILING)) {
        meant.body_bytes = value;
    }
    let relay = bytes(limits::READ_BUFFER_BYTES as u64, limits::RELAY_BUFFER_BYTES_CEILING as u64);
    if let Some(value) = findings.value("relay_buffer_bytes", raw.relay_buffer_bytes, relay) {
        meant.relay_buffer_bytes = value as usize;
    }
    let memory = |typed: &Typed| match typed {
        Typed::Text(text) if text == "auto" => Ok(None),
        other => bytes(limits::MEMORY_BYTES_LEAST, limits::MEMORY_BYTES_CEILING)(other).map(Some),
    };
    meant.memory_bytes = findings.value("memory_bytes", raw.memory_bytes, memory).flatten();
    let under_way = count(1, limits::EXCHANGES_PER_CORE_MAX as u64);
    if let Some(value) = findings.value("exchanges_per_core", raw.exchanges_per_core, under_way) {
        meant.exchanges_per_core = value as usize;
    }
    let fields = count(FIELDS_LEAST as u64, limits::FIELDS_CEILING as u64);
    if let Some(value) = findings.value("fields", raw.fields, fields) {
        meant.fields = value as usize;
    }
    let exchanges = count(1, EXCHANGES_PER_CONNECTION_CEILING);
    if let Some(value) = findings.value("exchanges_per_connection", raw.exchanges_per_connection, exchanges) {
        meant.exchanges_per_connection = value as u32;
    }
    let connections = count(1, limits::CONNECTIONS_PER_CORE_MAX as u64);
    if let Some(value) = findings.value("connections_per_core", raw.connections_per_core, connections) {
        meant.connections_per_core = value as usize;
    }
}
