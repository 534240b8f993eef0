//! Connections that are held open and say nothing: streams in the middle of their answer, and clients between two requests.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::parties::MODEL;

/// How long one connection may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens so many streams and reads each up to its first event; the provider must be one that stands still behind it.
///
/// # Errors
/// A stream does not begin.
pub(crate) fn streams(port: u16, key: &str, count: usize) -> Result<Vec<TcpStream>> {
    let body =
        format!(r#"{{"model":"{MODEL}","stream":true,"messages":[{{"role":"user","content":"Wait with me."}}]}}"#);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = head + &body;
    (0..count).map(|_| rest("127.0.0.1", port, &request, b"data: ")).collect()
}

/// Opens so many connections, each of which has had one answer; `addresses` take turns, since there are fewer ports than connections.
///
/// # Errors
/// A connection has no answer.
pub(crate) fn idle(addresses: &[&str], port: u16, key: &str, count: usize) -> Result<Vec<TcpStream>> {
    let request = format!("GET /v1/models HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\r\n");
    let addresses = addresses.iter().cycle();
    addresses.take(count).map(|address| rest(address, port, &request, b"\r\n\r\n")).collect()
}

/// Sends a request and reads until the answer has come so far.
fn rest(address: &str, port: u16, request: &str, until: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect((address, port)).context("the proxy takes no more connections")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let (mut seen, mut room) = (Vec::new(), [0_u8; 4096]);
    while !seen.windows(until.len()).any(|window| window == until) {
        let count = stream.read(&mut room).context("the proxy does not answer")?;
        ensure!(count > 0, "the proxy closed a connection that was to be held: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&room[..count]);
    }
    ensure!(seen.starts_with(b"HTTP/1.1 200"), "the proxy refused: {}", String::from_utf8_lossy(&seen));
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn what_is_refused_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = thread::spawn(move || {
            for answer in ["HTTP/1.1 200 OK\r\n\r\ndata: {}\n\n", "HTTP/1.1 503 Busy\r\n\r\ndata: {}\n\n"] {
                let (mut peer, _) = listener.accept().expect("a client");
                assert!(peer.read(&mut [0; 1024]).expect("a request") > 0);
                peer.write_all(answer.as_bytes()).expect("taken");
            }
        });
        assert_eq!(streams(port, "sk", 1).expect("it begins").len(), 1);
        let refused = streams(port, "sk", 1).expect_err("it is refused");
        assert!(format!("{refused:#}").contains("503 Busy"), "{refused:#}");
        server.join().expect("both were served");
    }
}
