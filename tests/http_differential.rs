//! The evidence behind decision 001: the same bytes to our codec and to `monoio-http`, the codec of our runtime's family.
//!
//! Where both agree, they must agree exactly. Where they do not, the test pins what each of them does, so that the decision is
//! looked at again when a new release of the peer changes its answer.

use igris::http::body::{BodyReader, Step};
use igris::http::head::{HeadFault, HeadLimits, Progress, RequestHead};
use monoio::io::stream::Stream;
use monoio_http::common::body::Body;
use monoio_http::h1::codec::decoder::{FillPayload, RequestDecoder};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// One request as a server behind the codec would see it: method, target, body.
type Seen = (String, String, Vec<u8>);

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// At a message border.
    Clean,
    /// By a fault of the codec.
    Refused,
    /// In the middle of a message, which is waited for.
    Waiting,
    /// By a panic.
    Panicked,
}

fn seen(method: &str, target: &str, body: &[u8]) -> Seen {
    (method.to_owned(), target.to_owned(), body.to_vec())
}

fn ours(wire: &[u8]) -> (Vec<Seen>, Ending) {
    let mut requests = Vec::new();
    let mut rest = wire;
    let mut head = RequestHead::default();
    while !rest.is_empty() {
        let consumed = match head.parse(rest, &HeadLimits::REQUEST) {
            Ok(Progress::Complete { consumed }) => consumed,
            Ok(Progress::Partial) => return (requests, Ending::Waiting),
            Err(_) => return (requests, Ending::Refused),
        };
        let query = head.query(rest).map_or_else(String::new, |query| format!("?{query}"));
        let target = format!("{}{query}", head.path(rest));
        let mut reader = BodyReader::from(head.framing());
        rest = &rest[consumed..];
        let mut body = Vec::new();
        loop {
            match reader.feed(rest) {
                Ok(Step::Data { consumed, data }) => {
                    body.extend_from_slice(&rest[data]);
                    rest = &rest[consumed..];
                }
                Ok(Step::End { consumed }) => {
                    rest = &rest[consumed..];
                    break;
                }
                Ok(Step::NeedMore { .. }) => return (requests, Ending::Waiting),
                Err(_) => return (requests, Ending::Refused),
            }
        }
        requests.push(seen(head.method().as_str(), &target, &body));
    }
    (requests, Ending::Clean)
}

/// Runs their decoder in their runtime, on a thread of its own so that a panic is an outcome like any other.
fn theirs(wire: &[u8]) -> (Vec<Seen>, Ending) {
    let wire = wire.to_vec();
    let run = move || {
        let mut runtime =
            monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().build().expect("the epoll driver is always there");
        runtime.block_on(read_theirs(wire))
    };
    std::thread::spawn(run).join().unwrap_or((Vec::new(), Ending::Panicked))
}

async fn read_theirs(wire: Vec<u8>) -> (Vec<Seen>, Ending) {
    let (mut client, server) = UnixStream::pair().expect("a socket pair");
    client.write_all(&wire).expect("a test message fits the socket buffer");
    client.shutdown(Shutdown::Write).expect("half-close");
    server.set_nonblocking(true).expect("non-blocking mode");
    let mut decoder = RequestDecoder::new(monoio::net::UnixStream::from_std(server).expect("a stream of the runtime"));
    let mut requests = Vec::new();
    loop {
        let mut request = match decoder.next().await {
            None => return (requests, Ending::Clean),
            Some(Err(_)) => return (requests, Ending::Refused),
            Some(Ok(request)) => request,
        };
        if decoder.fill_payload().await.is_err() {
            return (requests, Ending::Refused);
        }
        let mut body = Vec::new();
        while let Some(Ok(part)) = request.body_mut().next_data().await {
            body.extend_from_slice(&part);
        }
        requests.push(seen(request.method().as_str(), &request.uri().to_string(), &body));
    }
}

#[test]
fn plain_messages_are_read_alike() {
    let cases: [(&str, usize); 7] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("GET /v1/models?limit=5 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", 1),
        ("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 1),
        ("POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1),
        (
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n, world!!!\r\n0\r\n\r\n",
            1,
        ),
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        ("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxyDELETE /b HTTP/1.1\r\nHost: a\r\n\r\n", 2),
    ];
    for (wire, count) in cases {
        let read = ours(wire.as_bytes());
        assert_eq!(read, theirs(wire.as_bytes()), "{wire:?}");
        assert_eq!((read.0.len(), read.1), (count, Ending::Clean), "{wire:?}");
    }
}

#[test]
fn both_refuse_what_no_reader_could_take() {
    for wire in [
        "GET / HTTP/1.1\r\nbad name: x\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ] {
        assert_eq!(ours(wire.as_bytes()), (Vec::new(), Ending::Refused), "{wire:?}");
        assert_eq!(theirs(wire.as_bytes()), (Vec::new(), Ending::Refused), "{wire:?}");
    }
}

/// Rule H5: the peer believes the first of two lengths, and the rest of the body becomes a request of its own.
#[test]
fn conflicting_lengths_smuggle_a_request_past_the_peer_only() {
    let wire = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 42\r\n\r\nxyGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ours(wire), (Vec::new(), Ending::Refused));
    assert_eq!(theirs(wire), (vec![seen("POST", "/a", b"xy"), seen("GET", "/hidden", b"")], Ending::Clean));
}

/// Rule H7: the peer lets chunked win and forwards the contradiction.
#[test]
fn length_with_chunked_is_accepted_by_the_peer_only() {
    let wire =
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ours(wire), (Vec::new(), Ending::Refused));
    assert_eq!(theirs(wire), (vec![seen("POST", "/a", b""), seen("GET", "/hidden", b"")], Ending::Clean));
}

/// Rule H8: the peer reads an empty size line as the last chunk.
#[test]
fn an_empty_size_line_ends_the_body_for_the_peer_only() {
    let wire =
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ours(wire), (Vec::new(), Ending::Refused));
    assert_eq!(theirs(wire), (vec![seen("POST", "/a", b"xy"), seen("GET", "/hidden", b"")], Ending::Clean));
}

/// Rule H2: the peer looks for CR LF CR LF but parses bare LF, so a whole request vanishes inside a head.
#[test]
fn a_bare_line_feed_head_swallows_a_request_in_the_peer_only() {
    let wire = b"GET /a HTTP/1.1\nHost: a\n\nPOST /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(ours(wire), (Vec::new(), Ending::Refused));
    assert_eq!(theirs(wire), (vec![seen("GET", "/a", b"")], Ending::Clean));
}

/// Section 7 of the rules: the peer has no head limit and unwraps what a name limit refuses.
#[test]
fn a_giant_field_name_panics_the_peer_only() {
    let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{}: b\r\n\r\n", "a".repeat(70 * 1024));
    let verdict = RequestHead::default().parse(wire.as_bytes(), &HeadLimits::REQUEST);
    assert_eq!(verdict, Err(HeadFault::FieldTooLong));
    assert_eq!(theirs(wire.as_bytes()), (Vec::new(), Ending::Panicked));
}
