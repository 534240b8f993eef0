//! Heads between the two protocols: text that our own parsers read and wrote on one side, the `http` crate's values on the other.
//!
//! Nothing is believed twice: what comes as values is written as text and parsed by [`crate::http::head`], with all its rules; what goes was
//! written by our writers. Fields that belong to one connection cross in neither direction (rule H10; RFC 9113 §8.2.2).

use std::io;

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use zeroize::Zeroizing;

use crate::http::head::{Field, HeadLimits, KnownField, RequestHead, ResponseHead};
use crate::limits;
use crate::rt::Buf;

/// Bounds of the heads of answers that are ours.
pub(super) const ANSWER: HeadLimits = HeadLimits {
    head_bytes: limits::http2::ANSWER_HEAD_BYTES_MAX,
    fields: limits::http2::ANSWER_FIELDS_MAX,
    ..HeadLimits::UPSTREAM
};
/// Bounds of the heads of requests that are ours.
pub(super) const REQUEST: HeadLimits = HeadLimits {
    field_bytes: limits::http2::REQUEST_HEAD_BYTES_MAX,
    head_bytes: limits::http2::REQUEST_HEAD_BYTES_MAX,
    start_line_bytes: limits::http2::REQUEST_HEAD_BYTES_MAX,
    fields: limits::http2::ANSWER_FIELDS_MAX,
};

/// Bytes of a field line beside name and value.
const LINE_BYTES: usize = 4;
/// Bytes of a head beside its fields and its target: method, version, framing, line ends.
const HEAD_ROOM: usize = 128;

/// Writes the head of a request as HTTP/1.1 text, and says whether its body is to be chunked.
///
/// # Errors
/// What the stream is to be reset with: two authorities, or a field that belongs to one connection.
pub(super) fn write_request(request: &Request<RecvStream>, out: &mut Buf) -> Result<bool, Reason> {
    let (uri, fields) = (request.uri(), request.headers());
    let authority = authority(uri, fields)?;
    let target = match uri.path_and_query() {
        Some(target) => target.as_str(),
        // CONNECT has an authority alone (RFC 9113 §8.5); the parser refuses it by its method.
        None => authority.unwrap_or_default(),
    };
    let sizes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES);
    out.reserve(HEAD_ROOM + 2 * target.len() + authority.map_or(0, str::len) + sizes.sum::<usize>());
    let text = out.vec_mut();
    for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
        text.extend_from_slice(part.as_bytes());
    }
    if let Some(authority) = authority {
        line(text, "host", authority.as_bytes());
    }
    let mut has_length = false;
    for (name, value) in fields {
        if is_of_one_connection(name) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        if name == header::HOST && authority.is_some() {
            continue;
        }
        has_length |= name == header::CONTENT_LENGTH;
        line(text, name.as_str(), value.as_bytes());
    }
    let chunked = !has_length && !request.body().is_end_stream();
    if chunked {
        line(text, "transfer-encoding", b"chunked");
    }
    text.extend_from_slice(b"\r\n");
    Ok(chunked)
}

/// The authority, which a `Host` beside it must repeat (RFC 9113 §8.3.1).
fn authority<'a>(uri: &'a Uri, fields: &HeaderMap) -> Result<Option<&'a str>, Reason> {
    let Some(authority) = uri.authority().map(|authority| authority.as_str()) else { return Ok(None) };
    let mut hosts = fields.get_all(header::HOST).iter();
    match hosts.all(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())) {
        true => Ok(Some(authority)),
        false => Err(Reason::PROTOCOL_ERROR),
    }
}

/// Fields that HTTP/2 has no place for. The `h2` crate refuses them too; what frames a body is checked twice.
fn is_of_one_connection(name: &HeaderName) -> bool {
    *name == header::TRANSFER_ENCODING || *name == header::CONNECTION || *name == header::UPGRADE
}

fn line(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(b": ");
    text.extend_from_slice(value);
    text.extend_from_slice(b"\r\n");
}

/// The head of an answer of ours as values.
///
/// # Errors
/// A value that HTTP/2 cannot carry; our writers make none.
pub(super) fn response(head: &ResponseHead, bytes: &[u8]) -> io::Result<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status()).map_err(unsaid)?;
    let fields = response.headers_mut();
    fields.reserve(head.fields(bytes).count());
    for field in head.fields(bytes).filter(crosses) {
        fields.append(name(&field)?, HeaderValue::from_bytes(field.value).map_err(unsaid)?);
    }
    Ok(response)
}

/// The head of a request of ours as values; what shows a credential is marked as such, never enters a compression table, and is wiped with
/// its last copy (rule V12).
///
/// # Errors
/// As for [`response`].
pub(super) fn request(head: &RequestHead, bytes: &[u8], is_tls: bool) -> io::Result<Request<()>> {
    let authority = head.authority(bytes).unwrap_or_default();
    let scheme = if is_tls { "https" } else { "http" };
    let target = match head.query(bytes) {
        Some(query) => format!("{}?{query}", head.path(bytes)),
        None => head.path(bytes).to_owned(),
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().map_err(unsaid)?;
    let mut request = Request::new(());
    *request.version_mut() = http::Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(head.method().as_str().as_bytes()).map_err(unsaid)?;
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    fields.reserve(head.fields(bytes).count());
    for field in head.fields(bytes).filter(crosses).filter(|field| field.known != KnownField::Host) {
        let value = match field.known {
            known if shows_secret(known) => secret(field.value)?,
            _ => HeaderValue::from_bytes(field.value).map_err(unsaid)?,
        };
        fields.append(name(&field)?, value);
    }
    Ok(request)
}

/// Fields that nobody here knows may be what an owner adds to reach a proxy in between, and that may be a secret too.
fn shows_secret(known: KnownField) -> bool {
    known.is_credential() || matches!(known, KnownField::Other | KnownField::Cookie)
}

fn secret(value: &[u8]) -> io::Result<HeaderValue> {
    let wiped = Bytes::from_owner(Zeroizing::new(value.to_vec()));
    let mut value = HeaderValue::from_maybe_shared(wiped).map_err(unsaid)?;
    value.set_sensitive(true);
    Ok(value)
}

fn crosses(field: &Field<'_>) -> bool {
    !field.is_hop_by_hop()
}

fn name(field: &Field<'_>) -> io::Result<HeaderName> {
    HeaderName::from_bytes(field.name.as_bytes()).map_err(unsaid)
}

fn unsaid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Writes the head of a provider's answer as HTTP/1.1 text, and says whether its body is chunked there. `bodiless`: the answer to a HEAD.
pub(super) fn write_response(response: &Response<RecvStream>, bodiless: bool, out: &mut Buf) -> bool {
    let fields = response.headers();
    let sizes = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES);
    out.reserve(HEAD_ROOM + sizes.sum::<usize>());
    let text = out.vec_mut();
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(response.status().as_str().as_bytes());
    text.extend_from_slice(b" \r\n");
    for (name, value) in fields.iter().filter(|(name, _)| !is_of_one_connection(name)) {
        line(text, name.as_str(), value.as_bytes());
    }
    let framed = fields.contains_key(header::CONTENT_LENGTH);
    let bodiless = bodiless || matches!(response.status().as_u16(), 204 | 304);
    let chunked = !framed && !bodiless && !response.body().is_end_stream();
    match chunked {
        true => line(text, "transfer-encoding", b"chunked"),
        false if !framed && !bodiless => line(text, "content-length", b"0"),
        false => {}
    }
    text.extend_from_slice(b"\r\n");
    chunked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_crosses_with_its_credential_marked_and_without_what_is_of_one_connection() {
        let text = b"POST /v1/chat/completions?beta=true HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer sk-1\r\n\
                     x-amz-security-token: session\r\naccept: */*\r\nconnection: x-hop\r\nx-hop: 1\r\ncontent-length: 2\r\n\r\n";
        let mut head = RequestHead::default();
        head.parse(text, &REQUEST).expect("a head");
        let request = request(&head, text, true).expect("values");
        assert_eq!(request.uri().to_string(), "https://api.example.com/v1/chat/completions?beta=true");
        let fields = request.headers();
        let names: Vec<&str> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["authorization", "x-amz-security-token", "accept", "content-length"]);
        assert!(fields["authorization"].is_sensitive() && fields["x-amz-security-token"].is_sensitive());
        assert!(!fields["accept"].is_sensitive());
    }

    #[test]
    fn an_answer_crosses_without_what_is_of_one_connection() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut head = ResponseHead::default();
        head.parse(text, &ANSWER).expect("a head");
        let response = response(&head, text).expect("values");
        assert_eq!((response.status(), response.headers().len()), (StatusCode::OK, 1));
    }
}
