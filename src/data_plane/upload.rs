//! Request bodies that are not one JSON text: multipart forms, files, and whatever a passthrough carries.
//!
//! The beginning, up to [`limits::REPLAY_BYTES_MAX`], is read first: most bodies end there, and then they can be sent again like any other. A
//! longer one streams: the beginning from memory, the rest as it arrives, once, with never more than a buffer's worth in between.

use super::attempt::Failure;
use super::downstream::{BodyClock, BodyTrouble, Downstream};
use super::exchange::{Exchange, ReadTrouble, Received, check_encoding, invite, read_trouble};
use super::fault::Fault;
use super::upstream::Upstream;
use crate::http::body::BodyReader;
use crate::http::head::{RequestFraming, RequestHead};
use crate::http::write;
use crate::json::Span;
use crate::limits;
use crate::rt::{self, Buf};
use memchr::memmem;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

/// What is still to come of a body whose beginning is in memory.
pub struct Upload {
    reader: BodyReader,
    clock: BodyClock,
    left: u64,
}

impl Upload {
    /// Bytes still to come, if the client said how many.
    pub fn remaining(&self) -> Option<u64> {
        self.reader.remaining()
    }

    /// Whether all of it has been read.
    pub fn is_end(&self) -> bool {
        self.reader.is_end()
    }

    /// Sends the rest to a provider as it arrives, chunked if its length is not known; whether the provider took all of it. One that stopped
    /// reading, or began to answer before the end, has made up its mind.
    pub async fn pass_on(&mut self, down: &mut Downstream, upstream: &mut Upstream) -> Result<bool, Failure> {
        let chunked = self.remaining().is_none();
        let mut piece = Buf::new();
        while !self.reader.is_end() {
            let room = limits::RELAY_BUFFER_BYTES;
            let taken = down.take_piece(&mut self.reader, &mut piece, room, &mut self.clock).await;
            match taken {
                Err(BodyTrouble::Closed) => return Err(Failure::ClientGone),
                Err(_) => return Err(Failure::BodyBroken),
                Ok(()) => {}
            }
            self.left = self.left.saturating_sub(piece.len() as u64);
            if self.left == 0 && !self.reader.is_end() {
                return Err(Failure::BodyBroken);
            }
            let out = upstream.transport.output().vec_mut();
            match chunked {
                true => write::chunk(out, piece.bytes()),
                false => out.extend_from_slice(piece.bytes()),
            }
            piece.clear();
            if !send(upstream).await {
                return Ok(false);
            }
        }
        if chunked {
            upstream.transport.output().extend(write::LAST_CHUNK);
        }
        Ok(send(upstream).await)
    }
}

/// Sends what is in the output; false if the provider takes no more of it, or has begun its answer.
async fn send(upstream: &mut Upstream) -> bool {
    let transport = &mut upstream.transport;
    let sent = poll_fn(|cx| {
        if let Poll::Ready(flushed) = transport.poll_flush(cx) {
            return Poll::Ready(flushed.is_ok());
        }
        while let Poll::Ready(filled) = transport.poll_fill(cx) {
            let is_interim = transport.input().bytes().starts_with(INTERIM);
            if !(is_interim && matches!(filled, Ok(count) if count > 0)) {
                return Poll::Ready(false);
            }
        }
        Poll::Pending
    });
    let deadline = Instant::now() + limits::CLIENT_STALL_DEADLINE;
    rt::with_deadline(deadline, sent).await.unwrap_or(false)
}

/// How an interim answer begins, which says nothing yet.
const INTERIM: &[u8] = b"HTTP/1.1 1";

/// Reads a request's head and the beginning of its body. The second part is `None` where that was all of it.
pub async fn begin(
    exchange: &Exchange<'_>,
    down: &mut Downstream,
    head: &RequestHead,
    head_bytes: usize,
) -> Result<(Received, Option<Upload>), ReadTrouble> {
    check_encoding(down, head)?;
    let max = limits::BODY_BYTES_CEILING;
    if let RequestFraming::Length(length) = head.framing()
        && length > max
    {
        return Err(ReadTrouble::Fault { fault: Fault::RequestTooLarge { max }, unread: true });
    }
    let mut clock = BodyClock::start(exchange.began, limits::BODY_DEADLINE_CEILING);
    let trouble = |trouble| read_trouble(trouble, max);
    let at_head = down.take(head_bytes, clock).await.map_err(trouble)?;
    let mut reader = BodyReader::from(head.framing());
    if head.expect_continue() && !reader.is_end() && down.input().is_empty() {
        invite(down).await?;
    }
    let mut body = Buf::new();
    while !reader.is_end() && body.len() < limits::REPLAY_BYTES_MAX {
        let (before, room) = (body.len(), limits::REPLAY_BYTES_MAX - body.len());
        down.take_piece(&mut reader, &mut body, room, &mut clock).await.map_err(trouble)?;
        if !exchange.reserve((body.len() - before) as u64) {
            return Err(ReadTrouble::NoRoom);
        }
    }
    let left = max.saturating_sub(body.len() as u64);
    let upload = (!reader.is_end()).then_some(Upload { reader, clock, left });
    Ok((Received::of(at_head, head_bytes, body), upload))
}

// ---- Forms ------------------------------------------------------------------------------------------------------------------

/// The value of the form's part called `model`, and where it lies, if it is whole in the beginning of the body (RFC 7578 §4.2; RFC 2046
/// §5.1.1). SDKs write fields before files, so it nearly always is.
pub fn model_of_form(content_type: &[u8], body: &[u8]) -> Option<(String, Span)> {
    let delimiter = [b"--", boundary(content_type)?].concat();
    for at in memmem::find_iter(body, &delimiter) {
        let part = body.get(at + delimiter.len()..)?.strip_prefix(b"\r\n");
        let Some(part) = part else { continue };
        let head_end = memmem::find(part, b"\r\n\r\n")?;
        if !is_model(part.get(..head_end)?) {
            continue;
        }
        let start = at + delimiter.len() + 2 + head_end + 4;
        let closing = [b"\r\n", delimiter.as_slice()].concat();
        let length = memmem::find(body.get(start..)?, &closing)?;
        let span = Span { start, end: start + length };
        let value = std::str::from_utf8(span.of(body)).ok()?;
        let usable = !value.is_empty() && value.len() <= limits::MODEL_NAME_BYTES_MAX;
        return usable.then(|| (value.to_owned(), span));
    }
    None
}

/// The boundary of a `multipart/form-data` content type.
fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let text = std::str::from_utf8(content_type).ok()?;
    let (media, parameters) = text.split_once(';')?;
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let value = value.trim_matches('"');
    ((1..=70).contains(&value.len())).then_some(value.as_bytes())
}

/// Whether a part's head names the field `model`.
fn is_model(head: &[u8]) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    head.split("\r\n").any(|line| {
        let Some((name, value)) = line.split_once(':') else { return false };
        name.eq_ignore_ascii_case("content-disposition")
            && value.split(';').any(|parameter| matches!(parameter.trim(), "name=\"model\"" | "name=model"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &[u8] = b"multipart/form-data; boundary=x-1";

    fn form(parts: &[(&str, &str)]) -> String {
        let part = |(name, value): &(&str, &str)| {
            format!("--x-1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        parts.iter().map(part).collect::<String>() + "--x-1--\r\n"
    }

    #[test]
    fn the_model_is_found_among_the_fields() {
        let body = form(&[("language", "de"), ("model", "whisper-1"), ("file", "RIFF--x-1")]);
        let (model, span) = model_of_form(TYPE, body.as_bytes()).expect("it is there");
        assert_eq!((model.as_str(), span.of(body.as_bytes())), ("whisper-1", b"whisper-1".as_slice()));
        let quoted = b"Multipart/Form-Data; charset=x; boundary=\"x-1\"";
        assert!(model_of_form(quoted, body.as_bytes()).is_some());
    }

    #[test]
    fn what_is_no_whole_model_is_none() {
        let body = form(&[("model", "whisper-1")]);
        for size in 0..body.len() - 8 {
            let _ = model_of_form(TYPE, &body.as_bytes()[..size]);
        }
        assert_eq!(model_of_form(TYPE, &body.as_bytes()[..70]), None);
        assert_eq!(model_of_form(b"application/json", body.as_bytes()), None);
        assert_eq!(model_of_form(TYPE, form(&[("model", "")]).as_bytes()), None);
        assert_eq!(model_of_form(TYPE, form(&[("model2", "a")]).as_bytes()), None);
        assert_eq!(model_of_form(TYPE, form(&[("model", &"a".repeat(300))]).as_bytes()), None);
    }
}
