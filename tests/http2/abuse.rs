//! What a hostile client tries over HTTP/2 (rule H22): its connection ends, the process lives, and its memory stays.

use crate::gateway_before;
use crate::raw::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, PING, PRIORITY,
    PROTOCOL_ERROR, RST_STREAM, Raw, SETTINGS, block, frame, request,
};
use crate::speaker::{Speaker, converse};
use crate::support::{ACCESS_KEY, Gateway, SOON, chat, stream_of, wait_until};
use igris_load::Simulator;
use std::time::{Duration, Instant};

/// What one hostile connection may add to the process's memory.
const GROWTH_MAX: u64 = 24 * 1024 * 1024;

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

fn must_serve(gateway: &Gateway) {
    converse(async {
        let client = Speaker::connect(gateway.address()).await;
        assert_eq!(client.post(&chat("and on")).await.status, 200);
    });
}

fn goaway(frames: &[Frame]) -> Option<u32> {
    frames.iter().rfind(|frame| frame.kind == GOAWAY).map(Frame::reason)
}

/// A connection that sends this again and again until it is closed.
fn flood(gateway: &Gateway, what: &str, mut next: impl FnMut(u32) -> Vec<u8>) {
    let before = gateway.peak_bytes();
    let mut raw = Raw::open(gateway.address());
    raw.wait_for(SETTINGS);
    let mut batch = Vec::new();
    for round in 0..2_000 {
        batch.extend_from_slice(&next(round));
        if batch.len() > 1_000 && !raw.send(&std::mem::take(&mut batch)) {
            break;
        }
    }
    let _ = raw.send(&batch);
    let frames = raw.until_end(SOON);
    println!("{what}: {} frames came, goodbye {:?}", frames.len(), goaway(&frames));
    // A connection that is closed while more arrives may lose its last words.
    assert!(matches!(goaway(&frames), Some(ENHANCE_YOUR_CALM) | None), "{what}: {:?}", goaway(&frames));
    let grown = gateway.peak_bytes().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{what}: {grown} bytes more");
    must_serve(gateway);
}

#[test]
fn floods_end_their_connection() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    must_serve(&gateway);
    let head = block(&request("GET", "/v1/models", &[]));
    let short = block(&request("POST", "/v1/models", &[("content-length", "5")]));
    flood(&gateway, "rapid reset", |round| {
        let stream = 2 * round + 1;
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head);
        bytes.extend_from_slice(&frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        bytes
    });
    flood(&gateway, "made resets", |round| {
        let stream = 2 * round + 1;
        // A body that is shorter than it says is an error of the stream, and the reset is ours.
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &short)
    });
    flood(&gateway, "PING", |_| frame(PING, 0, 0, b"12345678"));
    flood(&gateway, "SETTINGS", |_| frame(SETTINGS, 0, 0, &[]));
    flood(&gateway, "PRIORITY", |round| frame(PRIORITY, 0, 2 * round + 1, &[0, 0, 0, 0, 1]));
    flood(&gateway, "CONTINUATION", |round| match round {
        0 => frame(HEADERS, 0, 1, &head),
        _ => frame(CONTINUATION, 0, 1, &[]),
    });
    let authorization = format!("Bearer {ACCESS_KEY}");
    let post = block(&request("POST", "/v1/chat/completions", &[("authorization", &authorization)]));
    flood(&gateway, "empty DATA", |round| match round {
        0 => frame(HEADERS, END_HEADERS, 1, &post),
        _ => frame(DATA, 0, 1, &[]),
    });
    assert_eq!(gateway.admin("/status").json()["exchanges"], 0);
}

#[test]
fn a_slow_flood_is_thrown_out_with_its_reason() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    let mut raw = Raw::open(gateway.address());
    raw.wait_for(SETTINGS);
    let mut answered = 0;
    for _ in 0..250 {
        if !raw.send(&frame(PING, 0, 0, b"12345678")) {
            break;
        }
        match raw.next(SOON) {
            Some(frame) if frame.kind == PING && frame.flags & ACK != 0 => answered += 1,
            Some(frame) if frame.kind == GOAWAY => {
                assert_eq!(frame.reason(), ENHANCE_YOUR_CALM);
                assert!((150..=201).contains(&answered), "{answered}");
                assert!(raw.until_end(SOON).is_empty());
                return must_serve(&gateway);
            }
            Some(_) => {}
            None => panic!("it ended without a word after {answered}"),
        }
    }
    panic!("{answered} PINGs were answered");
}

#[test]
fn heads_that_are_too_large_or_wrong_end_their_stream_or_their_connection() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    let before = gateway.peak_bytes();
    // Above what is allowed: 431. Far above: the connection ends.
    let mut raw = Raw::open(gateway.address());
    raw.wait_for(SETTINGS);
    let large = "x".repeat(12_000);
    let fields = request("GET", "/v1/models", &[("a", &large), ("b", &large), ("c", &large)]);
    send_split(&mut raw, 1, &block(&fields));
    let answer = raw.wait_for(HEADERS);
    assert_eq!(answer.stream, 1);
    let endless = "y".repeat(15_000);
    let fields: Vec<(&str, &str)> = (0..40).map(|_| ("z", endless.as_str())).collect();
    send_split(&mut raw, 3, &block(&request("GET", "/v1/models", &fields)));
    let frames = raw.until_end(SOON);
    assert!(frames.iter().any(|frame| frame.kind == GOAWAY || frame.kind == RST_STREAM), "{frames:?}");
    assert!(gateway.peak_bytes() < before + GROWTH_MAX);
    must_serve(&gateway);
}

/// A block in as many frames as it takes.
fn send_split(raw: &mut Raw, stream: u32, block: &[u8]) {
    let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
    for (number, piece) in pieces.iter().enumerate() {
        let last = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
        let (kind, flags) = if number == 0 { (HEADERS, END_STREAM | last) } else { (CONTINUATION, last) };
        if !raw.send(&frame(kind, flags, stream, piece)) {
            return;
        }
    }
}

#[test]
fn malformed_requests_are_reset_and_reach_nobody() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    let authorization = format!("Bearer {ACCESS_KEY}");
    let shown = [("authorization", authorization.as_str())];
    let with = |more: &[(&'static str, &'static str)]| {
        let mut fields = request("POST", "/v1/chat/completions", &shown);
        fields.extend_from_slice(more);
        fields
    };
    let bad: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("no method", vec![(":scheme", "http"), (":authority", "g"), (":path", "/v1/models")]),
        ("no path", vec![(":method", "GET"), (":scheme", "http"), (":authority", "g")]),
        ("no scheme", vec![(":method", "GET"), (":authority", "g"), (":path", "/v1/models")]),
        ("two paths", [request("GET", "/v1/models", &[]), vec![(":path", "/")]].concat()),
        ("a pseudo-header behind", with(&[(":path", "/")])),
        ("an unknown pseudo-header", vec![(":method", "GET"), (":scheme", "http"), (":weird", "x"), (":path", "/")]),
        ("a status", [request("GET", "/v1/models", &[]), vec![(":status", "200")]].concat()),
        ("connection", with(&[("connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("another host", with(&[("host", "elsewhere")])),
        ("upper case", with(&[("X-Upper", "1")])),
        ("a line end", with(&[("x-field", "a\r\nb: c")])),
        ("an empty path", vec![(":method", "GET"), (":scheme", "http"), (":authority", "g"), (":path", "")]),
    ];
    for (what, fields) in bad {
        let mut raw = Raw::open(gateway.address());
        raw.wait_for(SETTINGS);
        raw.head(1, END_STREAM, &fields);
        let end = loop {
            let frame = raw.next(SOON).unwrap_or_else(|| panic!("{what}: it ended without a word"));
            if matches!(frame.kind, RST_STREAM | GOAWAY | HEADERS) {
                break frame;
            }
        };
        assert!(end.kind != HEADERS && end.reason() == PROTOCOL_ERROR || end.kind == GOAWAY, "{what}: {end:?}");
    }
    // What only our own parser knows to be wrong is answered.
    for fields in [
        vec![(":method", "GET"), (":scheme", "http"), (":authority", "user:pass@g"), (":path", "/v1/models")],
        vec![(":method", "GET"), (":scheme", "http"), (":path", "/v1/models")],
        request("GET", "/v1/%2e%2e/models", &[]),
        with(&[("content-length", "0"), ("content-length", "0")]),
    ] {
        let mut raw = Raw::open(gateway.address());
        raw.wait_for(SETTINGS);
        raw.head(1, END_STREAM, &fields);
        let frame = raw.wait_for_any(&[HEADERS, RST_STREAM]);
        let refused = frame.kind == RST_STREAM || !frame.payload.starts_with(&[0x88]);
        assert!(refused, "{fields:?}: {frame:?}");
    }
    must_serve(&gateway);
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).limits("client_stall_deadline = \"500ms\"").start();
    // No window at all (SETTINGS_INITIAL_WINDOW_SIZE).
    let mut raw = Raw::open_with(gateway.address(), &[(4, 0)]);
    raw.wait_for(SETTINGS);
    let authorization = format!("Bearer {ACCESS_KEY}");
    let fields = request("POST", "/v1/chat/completions", &[("authorization", &authorization)]);
    let body = stream_of("deaf", r#","user":"sim:tokens=2000""#);
    assert!(raw.head(1, 0, &fields));
    assert!(raw.send(&frame(DATA, END_STREAM, 1, body.as_bytes())));
    let reset = raw.wait_for(RST_STREAM);
    assert_eq!(reset.stream, 1);
    assert!(simulator.truth().wait_ended(1, SOON), "a deaf client held its provider");
    must_serve(&gateway);
}

#[test]
fn heads_have_a_deadline_and_silence_too() {
    let simulator = simulator();
    let limits = "head_deadline = \"400ms\"\nkeep_alive_idle = \"60s\"";
    let gateway = gateway_before(&simulator).limits(limits).start();
    let closes = |begin: &dyn Fn(&mut Raw)| {
        let began = Instant::now();
        let mut raw = Raw::open(gateway.address());
        raw.wait_for(SETTINGS);
        begin(&mut raw);
        raw.until_end(SOON);
        began.elapsed() < Duration::from_secs(5)
    };
    assert!(closes(&|_| {}), "nothing is asked");
    let head = block(&request("GET", "/v1/health", &[]));
    assert!(closes(&|raw| assert!(raw.send(&frame(HEADERS, END_STREAM, 1, &head)))), "a head without its end");
    let whole = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head);
    assert!(closes(&|raw| assert!(raw.send(&whole[..whole.len() - 3]))), "a frame without its end");
    // Also after a good exchange.
    let late = |raw: &mut Raw| {
        assert!(raw.send(&whole));
        raw.wait_for(DATA);
        assert!(raw.send(&frame(HEADERS, END_STREAM, 3, &head)));
    };
    assert!(closes(&late), "a later head without its end");
    wait_until(SOON, "sessions are gone", || gateway.admin("/status").json()["connections"] == 0);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let simulator = simulator();
    let gateway = gateway_before(&simulator).start();
    let mut raw = Raw::open(gateway.address());
    raw.wait_for(SETTINGS);
    let authorization = format!("Bearer {ACCESS_KEY}");
    let fields = request("POST", "/v1/chat/completions", &[("authorization", &authorization)]);
    for number in 0..110 {
        assert!(raw.head(2 * number + 1, 0, &fields), "bodies never come");
    }
    let mut refused = 0;
    while refused < 10 {
        let reset = raw.wait_for(RST_STREAM);
        assert_eq!(reset.reason(), 7, "{reset:?}");
        refused += 1;
    }
    drop(raw);
    wait_until(SOON, "exchanges end with their client", || gateway.admin("/status").json()["exchanges"] == 0);
    must_serve(&gateway);
}
