//! HTTP/2 with the face of HTTP/1.1: each stream of a connection looks like a connection of its own (RFC 9113).
//!
//! Frames, header compression and flow control are the `h2` crate's; here is the thin adapter around it. What the rest of the house sees of
//! a stream is a [`Channel`](crate::tls::Channel) whose bytes are one HTTP/1.1 message each way, so that heads, bodies, sessions and relays
//! have one code path and one set of rules. A head that came as HTTP/2 is written as HTTP/1.1 text and read again by our own strict parser.
//! Rule H22 holds what a peer may make us do.

mod client;
mod fields;
mod flow;
mod server;
mod socket;
mod watch;

pub use client::{ClientStream, Settling, SharedConnection};
pub use server::{Requests, ServerStream};
pub use watch::{PREFACE, Preface, preface_in};
