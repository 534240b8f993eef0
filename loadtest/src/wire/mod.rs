//! HTTP/1.1 and server-sent events as the tester reads them: bytes in, values out, no socket and no clock (RFC 9112; WHATWG HTML 9.2).
//!
//! Strict: what a client library might forgive is an error here, since the tester is there to find it.

mod body;
mod head;
mod sse;

pub use body::{Body, Framing};
pub use head::Head;
pub use sse::{Cutter, Endless, Event};

/// Why bytes are no HTTP/1.1 answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);
