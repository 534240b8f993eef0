//! Realtime sessions: a WebSocket to the client, another to the provider, and nothing passes between them unread.

mod support;

use igris_load::Simulator;
use igris_load::simulator::Surface;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::websocket::{
    BINARY, CLOSE, CONTINUATION, KEY, Manner, PING, PONG, PROOF, Peer, Sessions, TEXT, field, frame, goodbye,
    handshake, open, proof_of,
};
use support::{ACCESS_KEY, Answer, BOOKS_KEY, Gateway, INFERENCE_KEY, SOON, bare, bearer, provider_key, wait_until};

const PATH: &str = "/v1/realtime?model=voice/gpt-4o";

fn before(provider: &Sessions) -> Gateway {
    Gateway::builder().own_provider("voice", &provider.base_url(), "").start()
}

/// An open session: the client's side, and the provider's.
fn session(gateway: &Gateway, provider: &Sessions) -> (Peer, Peer) {
    let (head, client) = open(gateway.address(), &handshake(PATH, &bearer(ACCESS_KEY)));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (_, there) = provider.next();
    (client, there)
}

fn refused(gateway: &Gateway, request: &[u8]) -> Answer {
    gateway.ask(request)
}

// ---- The handshake ----------------------------------------------------------------------------------------------------------

#[test]
fn a_session_opens_with_two_handshakes() {
    assert_eq!(proof_of(KEY), PROOF, "the stand knows the standard's own example");
    let provider = Sessions::start(Manner::Proper("Sec-WebSocket-Protocol: realtime\r\n"));
    let gateway = before(&provider);
    let mut keys = BTreeSet::new();
    for _ in 0..3 {
        let fields = format!(
            "{}OpenAI-Beta: realtime=v1\r\nSec-WebSocket-Protocol: realtime, openai-beta.realtime-v1\r\nCookie: a=b\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\nOrigin: https://page.invalid\r\n",
            bearer(INFERENCE_KEY)
        );
        let (head, _client) = open(gateway.address(), &handshake(&format!("{PATH}&intent=talk"), &fields));
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert_eq!(field(&head, "sec-websocket-accept"), Some(PROOF), "{head}");
        assert_eq!(field(&head, "upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"), "{head}");
        assert_eq!(field(&head, "connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"), "{head}");
        assert_eq!(field(&head, "sec-websocket-protocol"), Some("realtime"), "{head}");
        assert_eq!(field(&head, "x-igris-provider"), Some("voice"), "{head}");
        for absent in ["sec-websocket-extensions", "content-length", "transfer-encoding"] {
            assert_eq!(field(&head, absent), None, "{head}");
        }
        let (asked, _there) = provider.next();
        assert!(asked.starts_with("GET /v1/realtime?model=gpt-4o HTTP/1.1\r\n"), "{asked}");
        let own = provider_key("voice");
        assert_eq!(field(&asked, "authorization"), Some(&*format!("Bearer {own}")), "{asked}");
        assert_eq!(field(&asked, "openai-beta"), Some("realtime=v1"), "{asked}");
        assert_eq!(field(&asked, "sec-websocket-protocol"), Some("realtime"), "{asked}");
        assert_eq!(field(&asked, "sec-websocket-version"), Some("13"), "{asked}");
        for absent in ["cookie", "origin", "sec-websocket-extensions"] {
            assert_eq!(field(&asked, absent), None, "{asked}");
        }
        assert!(!asked.contains(INFERENCE_KEY) && !asked.contains(KEY), "{asked}");
        assert!(
            keys.insert(field(&asked, "sec-websocket-key").expect("a key").to_owned()),
            "a key of its own each time"
        );
    }
}

#[test]
fn what_is_no_handshake_is_told_so() {
    let provider = Sessions::start(Manner::Proper(""));
    let gateway = before(&provider);
    let proper = String::from_utf8(handshake(PATH, &bearer(ACCESS_KEY))).expect("text");
    for (what, request) in [
        ("no upgrade", proper.replace("Upgrade: websocket\r\n", "")),
        ("no upgrade at all", String::from_utf8(bare("GET", PATH, &bearer(ACCESS_KEY))).expect("text")),
        ("another protocol", proper.replace("websocket\r\n", "h2c\r\n")),
        ("no word of it in connection", proper.replace("Connection: Upgrade\r\n", "")),
        ("an old version", proper.replace("Version: 13", "Version: 8")),
        ("no key", proper.replace("Sec-WebSocket-Key", "Sec-WebSocket-Kez")),
        ("a short key", proper.replace(KEY, "AAAA")),
        ("no model", proper.replace("?model=voice/gpt-4o", "")),
        ("an empty model", proper.replace("voice/gpt-4o", "")),
    ] {
        let answer = refused(&gateway, request.as_bytes());
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        answer.must_be_fault(400, "invalid_request");
    }
    for (key, status) in [(BOOKS_KEY, 403), ("sk-nobody", 401)] {
        let answer = refused(&gateway, &handshake(PATH, &bearer(key)));
        assert_eq!(answer.status, status, "{key}: {}", answer.text());
    }
    // A line that was refused is at a message border.
    let mut client = gateway.client();
    assert_eq!(client.ask(&bare("GET", PATH, &bearer(ACCESS_KEY))).status, 400);
    assert_eq!(client.ask(&bare("GET", "/v1/health/live", "")).status, 200);
}

#[test]
fn a_provider_that_does_not_switch_is_an_http_error() {
    let error = |status: u16| {
        let body = format!(r#"{{"error":{{"message":"told {status}","type":"x","param":null,"code":null}}}}"#);
        let length = body.len();
        format!("HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    for (answer, expected) in [
        (error(401), 502),
        (error(404), 404),
        (error(429), 429),
        (error(500), 503),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n".to_owned(), 502),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(), 502),
    ] {
        let provider = Sessions::start(Manner::Instead(answer.clone()));
        let gateway = before(&provider);
        let told = refused(&gateway, &handshake(PATH, &bearer(ACCESS_KEY)));
        assert_eq!(told.status, expected, "{answer}: {}", told.text());
        assert!(told.json()["error"]["message"].is_string(), "{}", told.text());
    }
    for manner in [
        Manner::Unproven,
        Manner::Proper("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        Manner::Proper("Sec-WebSocket-Protocol: other\r\n"),
    ] {
        let provider = Sessions::start(manner);
        let gateway = before(&provider);
        let told = refused(&gateway, &handshake(PATH, &bearer(ACCESS_KEY)));
        assert_eq!(told.status, 502, "no proven 101, no session (rule H12): {}", told.text());
    }
}

// ---- Frames -----------------------------------------------------------------------------------------------------------------

#[test]
fn frames_pass_both_ways_as_they_are() {
    let provider = Sessions::start(Manner::Proper(""));
    let gateway = before(&provider);
    let (mut client, mut there) = session(&gateway, &provider);
    let long = vec![0xa5; 200_000];
    let sent: [(bool, u8, &[u8]); 12] = [
        (true, TEXT, r#"{"type":"session.update"}"#.as_bytes()),
        (true, TEXT, "naïve ☂".as_bytes()),
        (true, BINARY, &[0, 255, 13, 10]),
        (true, TEXT, b""),
        (true, BINARY, &long[..125]),
        (true, BINARY, &long[..126]),
        (true, BINARY, &long[..65_535]),
        (true, BINARY, &long),
        (false, TEXT, b"one "),
        (true, PING, b"still there?"),
        (false, CONTINUATION, b"two "),
        (true, CONTINUATION, b"three"),
    ];
    let mut masks = BTreeSet::new();
    for (last, opcode, payload) in sent {
        client.send(last, opcode, payload);
        let frame = there.frame();
        assert_eq!((frame.last, frame.opcode, frame.payload.len()), (last, opcode, payload.len()));
        assert!(frame.payload == payload, "the payload is unchanged");
        assert!(masks.insert(frame.mask.expect("a client masks")), "with a fresh key each time");
        there.send(last, opcode, payload);
        let frame = client.frame();
        assert_eq!((frame.last, frame.opcode, frame.mask), (last, opcode, None), "a server does not");
        assert!(frame.payload == payload, "the payload is unchanged");
    }
    there.send(true, PONG, b"yes");
    assert_eq!(client.frame().opcode, PONG);
    // Many at once, in one piece and byte by byte.
    let many: Vec<u8> =
        (0..50).flat_map(|number| frame(true, TEXT, format!("n{number}").as_bytes(), Some([1, 2, 3, 4]))).collect();
    client.send_bytes(&many);
    many.iter().for_each(|byte| client.send_bytes(&[*byte]));
    for number in (0..50).chain(0..50) {
        assert_eq!(there.frame().payload, format!("n{number}").as_bytes());
    }
}

#[test]
fn either_side_may_say_goodbye() {
    for client_first in [true, false] {
        let provider = Sessions::start(Manner::Proper(""));
        let gateway = before(&provider);
        let (mut client, mut there) = session(&gateway, &provider);
        let (first, second) = if client_first { (&mut client, &mut there) } else { (&mut there, &mut client) };
        first.send(true, CLOSE, &goodbye(3000, "done for today"));
        let frame = second.frame();
        assert_eq!((frame.opcode, frame.payload), (CLOSE, goodbye(3000, "done for today")));
        second.send(true, CLOSE, &goodbye(3000, ""));
        let frame = first.frame();
        assert_eq!((frame.opcode, frame.payload), (CLOSE, goodbye(3000, "")));
        assert!(client.is_closed() && there.is_closed(), "and then both connections end");
    }
}

#[test]
fn frames_that_break_the_protocol_end_the_session() {
    let mask = Some([9, 8, 7, 6]);
    let mut reserved = frame(true, TEXT, b"x", mask);
    reserved[0] |= 0x40;
    let mut endless = frame(true, BINARY, &[0; 70_000], mask);
    endless[2..10].copy_from_slice(&u64::MAX.to_be_bytes());
    for (what, bytes, status) in [
        ("unmasked", frame(true, TEXT, b"plain", None), 1002),
        ("a reserved bit", reserved, 1002),
        ("an unknown opcode", frame(true, 3, b"x", mask), 1002),
        ("a ping in pieces", frame(false, PING, b"x", mask), 1002),
        ("a long ping", frame(true, PING, &[0; 126], mask), 1002),
        ("longer than allowed", endless, 1009),
    ] {
        let provider = Sessions::start(Manner::Proper(""));
        let gateway = before(&provider);
        let (mut client, mut there) = session(&gateway, &provider);
        client.send_bytes(&bytes);
        let frame = client.frame();
        assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &u16::to_be_bytes(status)[..]), "{what}");
        assert!(client.is_closed(), "{what}");
        loop {
            match there.next() {
                None => break,
                Some(frame) => assert_eq!(frame.opcode, CLOSE, "{what}: nothing of it went on"),
            }
        }
    }
}

#[test]
fn a_provider_that_masks_or_babbles_is_cut_off() {
    for bytes in [frame(true, TEXT, b"masked", Some([1, 2, 3, 4])), b"HTTP/1.1 200 OK\r\n\r\n".to_vec()] {
        let provider = Sessions::start(Manner::Proper(""));
        let gateway = before(&provider);
        let (mut client, mut there) = session(&gateway, &provider);
        there.send_bytes(&bytes);
        let frame = client.frame();
        assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &u16::to_be_bytes(1014)[..]));
        assert!(client.is_closed());
    }
}

// ---- Ends -------------------------------------------------------------------------------------------------------------------

#[test]
fn a_provider_that_is_gone_is_a_bad_gateway() {
    let provider = Sessions::start(Manner::Proper(""));
    let gateway = before(&provider);
    let (mut client, mut there) = session(&gateway, &provider);
    there.say(r#"{"type":"session.created"}"#);
    drop(there);
    assert_eq!(client.frame().opcode, TEXT, "what came is passed on");
    let frame = client.frame();
    assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &u16::to_be_bytes(1014)[..]));
    assert!(client.is_closed());
}

#[test]
fn a_client_that_is_gone_takes_the_provider_along() {
    let provider = Sessions::start(Manner::Proper(""));
    let gateway = before(&provider);
    let open_before = gateway.sockets();
    let (mut client, mut there) = session(&gateway, &provider);
    client.say("the last words");
    drop(client);
    assert_eq!(there.frame().payload, b"the last words");
    let frame = there.frame();
    assert_eq!((frame.opcode, &frame.payload[..2]), (CLOSE, &u16::to_be_bytes(1001)[..]));
    assert!(there.is_closed(), "an open session costs money");
    wait_until(SOON, "nothing is left open", || gateway.sockets() <= open_before);
}

#[test]
fn a_gateway_that_stops_ends_its_sessions() {
    let provider = Sessions::start(Manner::Proper(""));
    let mut gateway =
        Gateway::builder().own_provider("voice", &provider.base_url(), "").server("drain_timeout = \"1s\"").start();
    let (mut client, mut there) = session(&gateway, &provider);
    gateway.signal("TERM");
    assert_eq!(gateway.wait(SOON).and_then(|status| status.code()), Some(0), "{}", gateway.stderr());
    let at_end = |peer: &mut Peer| peer.next().is_none_or(|frame| frame.opcode == CLOSE);
    assert!(at_end(&mut client) && at_end(&mut there));
}

// ---- The bill ---------------------------------------------------------------------------------------------------------------

#[test]
fn what_the_answers_of_a_session_used_is_in_the_books() {
    let provider = Sessions::start(Manner::Proper(""));
    let gateway = before(&provider);
    let (mut client, mut there) = session(&gateway, &provider);
    client.say(r#"{"type":"response.create"}"#);
    assert_eq!(there.frame().opcode, TEXT);
    let usage = json!({ "total_tokens": 30, "input_tokens": 20, "output_tokens": 10,
        "input_token_details": { "text_tokens": 5, "audio_tokens": 15, "cached_tokens": 4 },
        "output_token_details": { "text_tokens": 2, "audio_tokens": 8 } });
    let done = json!({ "type": "response.done", "response": { "id": "resp_1", "usage": usage } }).to_string();
    there.say(&done);
    there.say(r#"{"type":"response.output_text.delta","delta":"\"response.done\""}"#);
    // The second answer in two fragments: it costs no less.
    let (first, second) = done.split_at(40);
    there.send(false, TEXT, first.as_bytes());
    there.send(true, PING, b"");
    there.send(true, CONTINUATION, second.as_bytes());
    for opcode in [TEXT, TEXT, TEXT, PING, CONTINUATION] {
        assert_eq!(client.frame().opcode, opcode);
    }
    client.send(true, CLOSE, &goodbye(1000, ""));
    assert_eq!(there.frame().opcode, CLOSE);
    there.send(true, CLOSE, &goodbye(1000, ""));
    assert_eq!(client.frame().opcode, CLOSE);
    assert!(client.is_closed());
    wait_until(SOON, "the books have both answers", || {
        let usage = gateway.page("/v1/tenants/default/usage").json();
        usage["attempts"] == 1 && usage["input_tokens"] == 40 && usage["output_tokens"] == 20
    });
}

#[test]
fn a_conversation_with_openai_is_carried_and_billed() {
    let simulator = Simulator::builder()
        .keys([provider_key("openai")])
        .models(Vec::<String>::new())
        .start()
        .expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let fields = format!("{}Sec-WebSocket-Protocol: realtime\r\n", bearer(ACCESS_KEY));
    let (head, mut client) = open(gateway.address(), &handshake("/v1/realtime?model=gpt-realtime", &fields));
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(field(&head, "x-igris-model"), Some("gpt-realtime"), "{head}");
    let item =
        json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "hello there" }] });
    client.say(&json!({ "type": "conversation.item.create", "item": item }).to_string());
    client.say(r#"{"type":"response.create"}"#);
    let done = loop {
        let event: Value = serde_json::from_slice(&client.frame().payload).expect("JSON");
        assert_ne!(event["type"], "error", "{event}");
        if event["type"] == "response.done" {
            break event;
        }
    };
    let tokens = |name: &str| done["response"]["usage"][name].as_u64().expect("a count");
    let seen = (tokens("input_tokens"), tokens("output_tokens"));
    assert!(seen.0 > 0 && seen.1 > 0, "{done}");
    client.send(true, CLOSE, &goodbye(1000, ""));
    assert_eq!(client.frame().opcode, CLOSE);
    assert!(client.is_closed());
    wait_until(SOON, "the books have the answer", || {
        let usage = gateway.page("/v1/tenants/default/usage").json();
        (usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64()) == (Some(seen.0), Some(seen.1))
    });
    assert_eq!(simulator.truth().violations(), []);
}

#[test]
fn a_provider_without_sessions_says_so() {
    let keyed = Simulator::builder().dialect(Surface::Compatible).keys([provider_key("openai")]);
    let simulator = keyed.start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let answer = refused(&gateway, &handshake("/v1/realtime?model=openai/gpt-4o", &bearer(ACCESS_KEY)));
    assert_eq!(answer.status, 404, "{}", answer.text());
}
