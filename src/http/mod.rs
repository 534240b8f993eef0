//! HTTP/1.1 as values: heads, bodies, server-sent events, and the writers for them.
//!
//! Pure functions and small state machines over slices: no socket, no clock, no panic from input, and no allocation once
//! the vectors have grown. Stricter than RFC 9112 wherever leniency lets two parsers read one message differently; each
//! refusal names its rule (H1 to H21 of the security rules) next to the section of the RFC.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod body;
pub mod head;
pub mod sse;
mod syntax;
pub mod websocket;
pub mod write;
