//! The stand of the black-box tests: the real binary as a child process, simulated providers beside it, and a plain client before it.
//!
//! Everything here speaks to the gateway from outside: its command line, its configuration file, its sockets, its signals. Nothing is
//! shared with its codec, so that what one side gets wrong the other does not get wrong the same way.

// Each test file uses a part of the stand.
#![allow(dead_code)]

mod client;
mod gate;
mod gateway;
mod namespace;
mod scripted;
mod speaker;
pub mod websocket;

#[allow(unused_imports)]
pub use client::{Answer, Client, Event, Stream, events_of};
#[allow(unused_imports)]
pub use gate::{Gate, SHORT_ANSWER};
#[allow(unused_imports)]
pub use gateway::{
    ACCESS_KEY, BOOKS_KEY, Builder, Gateway, INFERENCE_KEY, STRANGER_KEY, closed_address, provider_key, wait_until,
};
#[allow(unused_imports)]
pub use namespace::Namespace;
#[allow(unused_imports)]
pub use scripted::Scripted;
#[allow(unused_imports)]
pub use speaker::{Heard, Speaker, Wish, named};

use std::fmt::Write as _;
use std::time::Duration;

/// How long anything may take that is expected to happen at once.
pub const SOON: Duration = Duration::from_secs(10);

/// A chat request for `gpt-4o` with one user message.
pub fn chat(content: &str) -> String {
    chat_of("gpt-4o", content, "")
}

/// A chat request for a model, with further members (each with its comma in front).
pub fn chat_of(model: &str, content: &str, members: &str) -> String {
    let content = serde_json::Value::from(content);
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":{content}}}]{members}}}"#)
}

/// A streamed chat request; `members` as for [`chat_of`].
pub fn stream_of(content: &str, members: &str) -> String {
    chat_of("gpt-4o", content, &format!(r#","stream":true{members}"#))
}

/// The bytes of a chat request with the access key that has every scope.
pub fn post(body: &str) -> Vec<u8> {
    post_with("/v1/chat/completions", &bearer(ACCESS_KEY), body.as_bytes())
}

/// The bytes of a POST of JSON with a length; `fields` are whole header lines.
pub fn post_with(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    with_body("POST", path, "application/json", fields, body)
}

/// The bytes of a request with a body of this type and its length; `fields` are whole header lines.
pub fn with_body(method: &str, path: &str, content_type: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: {content_type}\r\n{fields}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The content type of what [`form`] makes.
pub const FORM: &str = "multipart/form-data; boundary=igris-5f0e";

/// A multipart form; a value that belongs to a file has the file's name before a bar: `speech.wav|RIFF…`.
pub fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parts {
        let bar = value.iter().position(|byte| *byte == b'|').filter(|_| *name == "file" || *name == "image");
        let (filename, value) = match bar {
            Some(bar) => (format!("; filename=\"{}\"", String::from_utf8_lossy(&value[..bar])), &value[bar + 1..]),
            None => (String::new(), *value),
        };
        let head = format!("--igris-5f0e\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--igris-5f0e--\r\n");
    body
}

/// The bytes of a POST of a form.
pub fn post_form(path: &str, fields: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    with_body("POST", path, FORM, fields, &form(parts))
}

/// The bytes of a request without a body.
pub fn bare(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n").into_bytes()
}

/// The header line of an access key.
pub fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

/// A body in the chunked coding, `size` bytes a chunk.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(size) {
        let mut line = String::new();
        write!(line, "{:X};name=\"value\"\r\n", piece.len()).expect("a String takes everything");
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nX-Trailer: dropped\r\n\r\n");
    out
}
