//! One request over the admin socket and its answer: HTTP/1.1 in as much as our own server speaks it.
//!
//! Each request has a connection of its own. Answers come with a length, in chunks, or until the end of the connection; a head and a
//! whole answer are bounded, so that something else behind the path cannot fill our memory.

use anyhow::{Context as _, anyhow, bail};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An answer whose body is still to be read.
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    body: Body,
}

/// Where a body ends.
enum Body {
    /// After so many bytes.
    Length(BufReader<UnixStream>, u64),
    /// After the chunk of size zero.
    Chunked(BufReader<UnixStream>),
    /// With the connection.
    Close(BufReader<UnixStream>),
}

/// A request without its connection.
pub(super) struct Request<'a> {
    /// `GET`, `POST`, …
    pub(super) method: &'a str,
    /// Path and query, from checked parts.
    pub(super) target: &'a str,
    /// What goes along; wiped by whoever made it.
    pub(super) body: Option<(&'a str, &'a [u8])>,
}

/// The variable that holds a token of `[[admin.tokens]]`, where this user must show one.
const ADMIN_TOKEN_VARIABLE: &str = "IGRIS_ADMIN_TOKEN";

/// Whether somebody listens on a socket.
pub(super) fn answers(socket: &Path) -> bool {
    connect(socket).is_ok()
}

/// Sends a request. `patience` bounds each wait; `None` waits for ever, as a live feed must.
///
/// # Errors
/// A sentence with a remedy when nobody answers there, or not in HTTP.
pub(super) fn send(socket: &Path, request: &Request<'_>, patience: Option<Duration>) -> anyhow::Result<Answer> {
    let mut stream = connect(socket).with_context(|| {
        format!("cannot reach a gateway at {}; start `igris serve`, or name its socket with --socket", socket.display())
    })?;
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let Request { method, target, body } = request;
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: igris\r\naccept: */*\r\nconnection: close\r\n");
    if let Some((content_type, bytes)) = body {
        head.push_str(&format!("content-type: {content_type}\r\ncontent-length: {}\r\n", bytes.len()));
    }
    if let Ok(token) = std::env::var(ADMIN_TOKEN_VARIABLE) {
        if !token.trim().bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{ADMIN_TOKEN_VARIABLE} holds a character that no token has; set it to the token alone, or unset it");
        }
        head.push_str(&format!("authorization: Bearer {}\r\n", token.trim()));
    }
    head.push_str("\r\n");
    // A server that refuses early closes before it has read everything: its answer counts, not our broken pipe.
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.map_or(&[], |(_, bytes)| bytes)));
    read_head(BufReader::new(stream)).map_err(|error| match sent {
        Err(broken) => anyhow!(broken).context("the gateway closed the connection; is its socket open to this user?"),
        Ok(()) => error,
    })
}

/// Connects through the open directory: a socket's address holds 108 bytes, and paths may be longer.
fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let (Some(parent), Some(name)) = (socket.parent(), socket.file_name()) else {
        return UnixStream::connect(socket);
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_PATH).open(parent)?;
    UnixStream::connect(PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

fn read_head(mut input: BufReader<UnixStream>) -> anyhow::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let line = (&mut input).take(HEAD_BYTES_MAX).read_until(b'\n', &mut head);
        let line = line.context("no answer came in time; is the gateway alive? see its log")?;
        if line == 0 || head.len() as u64 > HEAD_BYTES_MAX {
            bail!("what answers there is no gateway, or does not admit this user; see --socket");
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(&head).context("what answers there does not speak HTTP; see --socket")?;
    let status = parsed.code.unwrap_or(0);
    let field = |name: &str| {
        let found = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
    };
    let chunked = field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = match field("content-length").map(str::parse) {
        _ if chunked => Body::Chunked(input),
        Some(length) => Body::Length(input, length.context("the answer's length is no number")?),
        None if status == 204 => Body::Length(input, 0),
        None => Body::Close(input),
    };
    Ok(Answer { status, body })
}

// === impl Answer ===

impl Answer {
    /// The whole body.
    ///
    /// # Errors
    /// When it breaks off or is larger than any answer of ours.
    pub(super) fn whole(self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.each(|piece| {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                bail!("the answer is larger than {ANSWER_BYTES_MAX} bytes");
            }
            body.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(body)
    }

    /// Hands the body on piece by piece, as it comes.
    ///
    /// # Errors
    /// When it breaks off, or what `take` answers.
    pub(super) fn each(self, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self.body {
            Body::Length(input, length) => {
                let passed = pass(input.take(length), &mut take)?;
                if passed < length {
                    bail!("the answer broke off; is the gateway shutting down?");
                }
            }
            Body::Close(input) => {
                pass(input, &mut take)?;
            }
            Body::Chunked(mut input) => while chunk(&mut input, &mut take)? {},
        }
        Ok(())
    }
}

/// One chunk (RFC 9112 §7.1). Answers whether another may follow.
fn chunk(
    input: &mut BufReader<UnixStream>,
    take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let mut line = Vec::new();
    input.take(CHUNK_LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    let digits = std::str::from_utf8(&line)?.trim_end().split(';').next().unwrap_or_default();
    let length = u64::from_str_radix(digits, 16).context("the answer broke off; is the gateway shutting down?")?;
    if length == 0 {
        return Ok(false);
    }
    if pass(input.take(length), take)? < length {
        bail!("the answer broke off; is the gateway shutting down?");
    }
    let mut end = [0; 2];
    input.read_exact(&mut end)?;
    Ok(true)
}

fn pass(mut input: impl BufRead, take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<u64> {
    let mut passed = 0;
    loop {
        let piece = input.fill_buf().context("the rest of the answer did not come in time")?;
        if piece.is_empty() {
            return Ok(passed);
        }
        let length = piece.len();
        take(piece)?;
        input.consume(length);
        passed += length as u64;
    }
}

const HEAD_BYTES_MAX: u64 = 64 * 1024;
const CHUNK_LINE_BYTES_MAX: u64 = 256;
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(bytes: &'static [u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(bytes).expect("written");
        drop(theirs);
        let answer = read_head(BufReader::new(ours))?;
        Ok((answer.status, answer.whole()?))
    }

    #[test]
    fn bodies_end_by_length_chunk_or_close() {
        let length = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!").expect("an answer");
        assert_eq!(length, (200, b"hi".to_vec()));
        let chunked =
            b"HTTP/1.1 422 No\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(answered(chunked).expect("an answer"), (422, b"abc0123456789".to_vec()));
        assert_eq!(answered(b"HTTP/1.1 200 OK\r\n\r\nrest").expect("an answer"), (200, b"rest".to_vec()));
        assert_eq!(answered(b"HTTP/1.1 204 No Content\r\n\r\n").expect("an answer"), (204, Vec::new()));
    }

    #[test]
    fn broken_answers_are_refused() {
        for bytes in [
            &b""[..],
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert!(answered(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
