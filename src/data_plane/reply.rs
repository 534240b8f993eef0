//! The one file that turns a fault into bytes a client SDK understands, and writes the heads of every answer.
//!
//! Answers are written from values, never copied from a provider's head (rule H1). Every answer carries `x-request-id`; every fault after
//! our own failover says `x-should-retry: false`, so that an SDK does not repeat what we have already repeated; what was turned away before
//! anything was tried says `true`.

use super::allowance::Grant;
use super::fault::Fault;
use super::limit_fields;
use super::timing::Receipt;
use crate::chat::shown::Shown;
use crate::dialects::{Wire, openai};
use crate::domain::id::RequestId;
use crate::domain::money::Money;
use crate::http::write;
use crate::json::splice::escape_into;

/// What stands in every answer of one exchange.
#[derive(Clone, Copy)]
pub struct Stamp<'a> {
    /// Shown as `x-request-id`.
    pub request: RequestId,
    /// The dialect of the client, some of whose SDKs look for the id under another name.
    pub face: Wire,
    /// Current `Date` (RFC 9110 §6.6.1).
    pub date: &'a str,
    /// Whether the connection stays open afterwards.
    pub persist: bool,
    /// Whether the request was a HEAD, which has no body in its answer.
    pub head_only: bool,
    /// Where the time went, if the client asked.
    pub receipt: Option<Receipt<'a>>,
    /// What is left of the limits of its access key, if it has any.
    pub grant: Option<&'a Grant>,
}

/// Writes status line and the fields of every answer; the caller goes on with its own and ends with [`end_head`].
pub fn begin_head(out: &mut Vec<u8>, status: u16, stamp: Stamp<'_>) {
    status_line(out, status);
    field(out, "date", stamp.date.as_bytes());
    number_field(out, "x-request-id", stamp.request);
    if stamp.face == Wire::Messages {
        number_field(out, "request-id", stamp.request);
    }
    if !stamp.persist {
        field(out, "connection", b"close");
    }
    if let Some(receipt) = stamp.receipt {
        number_field(out, "server-timing", receipt);
    }
    if let Some(grant) = stamp.grant {
        limit_fields::write(out, grant, stamp.face);
    }
}

fn status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    status.append(out);
    out.push(b' ');
    out.extend_from_slice(write::reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

// Writing a piece stays a function of its own: a head has some twenty of them, and a copy of the code for each would be read only once.

/// Writes one field whose value is ours or was checked when it was parsed.
#[inline(never)]
pub fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[inline(never)]
fn begin_field(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
}

#[inline(never)]
fn end_line(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[inline(never)]
fn digits(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A value of ours that goes into a field as it is written: digits, and nothing that could end the line.
pub trait FieldValue {
    /// Appends it.
    fn append(&self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl FieldValue for $number {
            #[inline]
            fn append(&self, out: &mut Vec<u8>) {
                digits(out, *self as u64);
            }
        })*
    };
}

numbers!(u16, u32, u64, usize);

impl FieldValue for RequestId {
    fn append(&self, out: &mut Vec<u8>) {
        (*self).append(out);
    }
}

impl FieldValue for Money {
    fn append(&self, out: &mut Vec<u8>) {
        (*self).append(out);
    }
}

/// Writes one field from a number, an id or an amount.
#[inline]
pub fn number_field(out: &mut Vec<u8>, name: &str, value: impl FieldValue) {
    begin_field(out, name);
    value.append(out);
    end_line(out);
}

/// Ends a head.
pub fn end_head(out: &mut Vec<u8>) {
    end_line(out);
}

/// Writes a whole JSON answer of our own.
pub fn json(out: &mut Vec<u8>, status: u16, stamp: Stamp<'_>, body: &[u8]) {
    begin_head(out, status, stamp);
    field(out, "content-type", b"application/json");
    number_field(out, "content-length", body.len());
    end_head(out);
    if !stamp.head_only {
        out.extend_from_slice(body);
    }
}

/// Writes a fault in the dialect of the client.
pub fn fault(out: &mut Vec<u8>, fault: &Fault, stamp: Stamp<'_>, attempts: u32) {
    let mut body = Vec::with_capacity(256);
    fault_body(&mut body, fault, stamp);
    begin_head(out, fault.status(), Stamp { persist: stamp.persist && !fault.closes(), ..stamp });
    field(out, "content-type", b"application/json");
    number_field(out, "content-length", body.len());
    number_field(out, "x-igris-attempts", attempts);
    field(out, "x-should-retry", if fault.may_repeat() { b"true" } else { b"false" });
    if let Some(seconds) = fault.retry_after_s() {
        number_field(out, "retry-after", seconds);
    }
    if let Fault::MethodNotAllowed { allow } = fault {
        field(out, "allow", allow.as_bytes());
    }
    if matches!(fault, Fault::InvalidAccessKey { .. }) {
        field(out, "www-authenticate", b"Bearer realm=\"igris\"");
    }
    end_head(out);
    if !stamp.head_only {
        out.extend_from_slice(&body);
    }
}

/// The body of a fault: each dialect's own form, so that its SDK finds message and code where it looks for them.
fn fault_body(out: &mut Vec<u8>, fault: &Fault, stamp: Stamp<'_>) {
    let (message, request_id) = (fault.message(), stamp.request.to_string());
    let shown = Shown {
        status: fault.status(),
        code: fault.code(),
        kind: fault.kind(),
        message: &message,
        param: fault.param(),
        request_id: &request_id,
    };
    let side = stamp.face.client_side().unwrap_or(&openai::CLIENT);
    (side.write_error)(&shown, out);
}

/// The event that ends a stream which broke off (rule H17): OpenAI clients raise on the `error` member, whatever the event's name.
pub fn stream_fault(out: &mut Vec<u8>, message: &str, code: &str) {
    out.extend_from_slice(b"event: error\ndata: {\"error\":{\"message\":");
    escape_into(message, out);
    out.extend_from_slice(b",\"type\":\"server_error\",\"param\":null,\"code\":");
    escape_into(code, out);
    out.extend_from_slice(b"}}\n\n");
}
