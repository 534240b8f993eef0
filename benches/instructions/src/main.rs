//! Pieces of the request path for counting instructions: not a clock's bench, but what `cargo xtask gate` runs under valgrind.
//!
//! `instructions NAME COUNT` does one piece COUNT times; two counts and a subtraction leave what the piece itself takes, start-up excluded.
//! `instructions` alone lists the names. The counts are the same on every run of one build, whatever else the machine does.

use igris::data_plane::native_stream::NativeRelay;
use igris::data_plane::stream::{StreamRelay, StreamWishes};
use igris::data_plane::translate_stream::TranslateRelay;
use igris::dialects::{Setting, Wire};
use igris::http::body::{ChunkedReader, Step};
use igris::http::head::{HeadLimits, Method, RequestHead, ResponseHead};
use igris::http::write;
use igris::json::scan::{self, Names};
use igris::json::splice::Edits;
use igris::limits::JSON_DEPTH_MAX;
use igris::metering::mould::Recall;
use igris::metering::usage::{Accounting, usage_from_body};
use igris::vault::access_key::{Pepper, digest};
use std::hint::black_box;
use std::process::ExitCode;

/// Makes what a piece needs and gives the piece.
type Piece = fn() -> Box<dyn FnMut()>;

const PIECES: [(&str, Piece); 14] = [
    ("head of a request", || request_head(false)),
    ("head of a request like the last one", || request_head(true)),
    ("head of an answer", || response_head(false)),
    ("head of an answer like the last one", || response_head(true)),
    ("chunked body, 64 pieces", chunked),
    ("json, 2 KB checked", json_checked),
    ("json, members and splice of 2 KB", json_spliced),
    ("usage of an answer", usage),
    ("usage of an answer like the last one", usage_again),
    ("stream of 64 events passed, Chat", || passed(Wire::Chat)),
    ("stream of 64 events passed, Messages", || passed(Wire::Messages)),
    ("stream of 64 events passed, Gemini", || passed(Wire::Gemini)),
    ("stream of 64 events, Messages to Chat", translated),
    ("digest of an access key", access_key),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [name, count] = words.as_slice() else {
        PIECES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let Some((_, piece)) = PIECES.iter().find(|(known, _)| known == name) else {
        eprintln!("there is no piece `{name}`");
        return ExitCode::from(2);
    };
    let Ok(count) = count.parse::<u32>() else {
        eprintln!("`{count}` is no count");
        return ExitCode::from(2);
    };
    let mut piece = piece();
    // What is made once and kept is made now.
    piece();
    for _ in 0..count {
        piece();
    }
    ExitCode::SUCCESS
}

const REQUEST: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8081\r\nAccept-Encoding: gzip, deflate\r\n\
Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.1\r\n\
X-Stainless-Lang: python\r\nX-Stainless-Package-Version: 2.8.1\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\n\
X-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.13.1\r\n\
Authorization: Bearer sk-igris-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG012345\r\nX-Stainless-Async: false\r\n\
x-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\nContent-Length: 2048\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Thu, 26 Nov 2026 20:00:00 GMT\r\ncontent-type: application/json\r\n\
content-length: 700\r\nopenai-processing-ms: 412\r\nopenai-version: 2020-10-01\r\nx-ratelimit-limit-requests: 10000\r\n\
x-ratelimit-limit-tokens: 2000000\r\nx-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 1999000\r\n\
x-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 30ms\r\nx-request-id: req_0123456789abcdef\r\n\
strict-transport-security: max-age=31536000; includeSubDomains; preload\r\ncf-cache-status: DYNAMIC\r\n\r\n";

/// `again`: on a connection that had the same head before.
fn request_head(again: bool) -> Box<dyn FnMut()> {
    let mut head = RequestHead::default();
    Box::new(move || {
        if again {
            head.reset();
        } else {
            head = RequestHead::default();
        }
        head.parse(black_box(REQUEST), &HeadLimits::REQUEST).expect("a good head");
        black_box((head.path(REQUEST), head.framing(), head.credentials(REQUEST)));
    })
}

fn response_head(again: bool) -> Box<dyn FnMut()> {
    let mut head = ResponseHead::default();
    Box::new(move || {
        if again {
            head.reset();
        } else {
            head = ResponseHead::default();
        }
        head.parse(black_box(RESPONSE), &HeadLimits::UPSTREAM).expect("a good head");
        black_box((head.status(), head.framing(Method::Post), head.persist(Method::Post)));
    })
}

fn chunked() -> Box<dyn FnMut()> {
    let mut wire = Vec::new();
    (0..64).for_each(|_| write::chunk(&mut wire, &[b'x'; 200]));
    wire.extend_from_slice(write::LAST_CHUNK);
    Box::new(move || {
        let mut reader = ChunkedReader::new();
        let (mut at, mut payload) = (0, 0);
        loop {
            let step = reader.feed(black_box(&wire[at..])).expect("a good body");
            at += step.consumed();
            match step {
                Step::Data { data, .. } => payload += data.len(),
                Step::NeedMore { .. } | Step::End { .. } => break,
            }
        }
        assert_eq!(payload, 64 * 200);
    })
}

/// A chat of about 2 KB, escapes as prose has them.
fn body() -> Vec<u8> {
    let turn = "Explain how a reverse proxy keeps its connections to an upstream alive, what happens when one is closed under a \
                request, and which may be sent again.\\nQuote the \\\"idempotent\\\" methods and say why POST is not one. Give \
                one example from the field with its timings in milliseconds.";
    let message = format!("{{\"role\":\"user\",\"content\":\"{turn}\"}}");
    let messages = vec![message; 6].join(",");
    format!("{{\"model\":\"gpt-4o-mini\",\"temperature\":0.7,\"stream\":true,\"messages\":[{messages}]}}").into_bytes()
}

fn json_checked() -> Box<dyn FnMut()> {
    let body = body();
    Box::new(move || scan::validate(black_box(&body), JSON_DEPTH_MAX).expect("valid"))
}

static NAMES: Names = Names::new(&["model", "stream", "stream_options"]);

fn json_spliced() -> Box<dyn FnMut()> {
    let (body, mut found, mut edits, mut out) = (body(), [None; 3], Edits::new(), Vec::new());
    Box::new(move || {
        edits.clear();
        out.clear();
        let object = scan::members(black_box(&body), &NAMES, &mut found).expect("valid");
        edits.replace(found[0].expect("a model").value, b"\"gpt-5.6-terra\"");
        edits.append_member(object, br#""stream_options":{"include_usage":true}"#);
        edits.write(&body, &mut out);
    })
}

const ANSWER: &[u8] = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1764000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"A reverse proxy keeps a pool of connections and sends each request on one that is free.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29}}"#;

fn usage() -> Box<dyn FnMut()> {
    Box::new(|| {
        black_box(usage_from_body(black_box(ANSWER), Accounting::OpenAi)).expect("usage");
    })
}

fn usage_again() -> Box<dyn FnMut()> {
    let mut recall = Recall::default();
    Box::new(move || {
        black_box(recall.read(black_box(ANSWER), Accounting::OpenAi)).usage.expect("usage");
    })
}

/// A stream of 64 pieces of text, as its provider sends it.
fn events(wire: Wire) -> Vec<Vec<u8>> {
    let (before, middle, after): (&str, &str, &str) = match wire {
        Wire::Messages => (
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-opus-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":19,\"output_tokens\":1}}}\n\n\
             event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" connection\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
             event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":64}}\n\n\
             event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        Wire::Gemini => (
            "",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\" connection\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":19,\"candidatesTokenCount\":10,\"totalTokenCount\":29},\"modelVersion\":\"gemini-3.8-flash\",\"responseId\":\"r1\"}\n\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\".\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":19,\"candidatesTokenCount\":65,\"totalTokenCount\":84},\"modelVersion\":\"gemini-3.8-flash\",\"responseId\":\"r1\"}\n\n",
        ),
        _ => (
            "",
            "data: {\"id\":\"chatcmpl-Bx1aZ9QmYt3wE\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_44added55e\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" connection\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n",
            "data: {\"id\":\"chatcmpl-Bx1aZ9QmYt3wE\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}\n\n\
             data: {\"id\":\"chatcmpl-Bx1aZ9QmYt3wE\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":64,\"total_tokens\":83}}\n\n\
             data: [DONE]\n\n",
        ),
    };
    let each = |text: &str| text.split_inclusive("\n\n").map(|event| event.as_bytes().to_vec()).collect::<Vec<_>>();
    [each(before), vec![middle.as_bytes().to_vec(); 64], each(after)].concat()
}

fn passed(wire: Wire) -> Box<dyn FnMut()> {
    let (events, mut out) = (events(wire), Vec::new());
    if wire == Wire::Chat {
        let wishes = StreamWishes { metadata: true, usage_event: true, accounting: Accounting::OpenAi };
        return Box::new(move || {
            let mut relay = StreamRelay::new(wishes);
            out.clear();
            events.iter().for_each(|event| relay.feed(black_box(event), &mut out, &mut |_, _| {}));
            relay.finish(&mut out, &mut |_, _| {});
            assert!(relay.facts().usage.is_some());
        });
    }
    Box::new(move || {
        let mut relay = NativeRelay::new(wire, false, false).expect("a format that passes");
        out.clear();
        events.iter().for_each(|event| relay.feed(black_box(event), &mut out, &mut |_, _| {}));
        relay.finish(&mut out);
        assert!(relay.facts().usage.is_some());
    })
}

fn translated() -> Box<dyn FnMut()> {
    let (events, mut out) = (events(Wire::Messages), Vec::new());
    let setting =
        Setting { id: "01JDW3Z6YQ", model: "a-model", created: 1_795_416_713, usage_event: true, request: b"{}" };
    Box::new(move || {
        let reader = (Wire::Messages.provider_side().stream_reader)();
        let writer = (Wire::Chat.client_side().expect("a client format").stream_writer)(&setting);
        let mut relay = TranslateRelay::new(reader, writer, false);
        out.clear();
        events.iter().for_each(|event| relay.feed(black_box(event), &mut out));
        relay.finish(&mut out, &mut |_, _| {});
        assert!(relay.facts().usage.is_some());
    })
}

fn access_key() -> Box<dyn FnMut()> {
    let pepper = Pepper::new(1, &[7; 32]);
    let key = b"sk-igris-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG012345";
    Box::new(move || {
        black_box(digest(&pepper, black_box(key)));
    })
}
