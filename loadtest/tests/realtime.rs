//! The simulator converses over a WebSocket as OpenAI's realtime interface does: its handshake, its events, its usage.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Fault, Outcome, When};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use wire::{Request, SOON};

const KEY: &str = "sk-sim-0123456789abcdef";
const MODEL: &str = "gpt-realtime";

fn simulator() -> Simulator {
    Simulator::builder().keys([KEY]).models([MODEL]).start().expect("a loopback port")
}

fn handshake(path: &str) -> Request {
    Request::new("GET", path)
        .field("authorization", &format!("Bearer {KEY}"))
        .field("upgrade", "websocket")
        .field("sec-websocket-version", "13")
        .field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// A client's side of an open conversation.
struct Talk {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Talk {
    fn open(simulator: &Simulator) -> Self {
        let mut stream = TcpStream::connect(simulator.addr()).expect("the simulator listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let request = format!(
            "GET /v1/realtime?model={MODEL} HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer {KEY}\r\nconnection: Upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: realtime\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("the simulator reads");
        let mut talk = Self { stream, input: Vec::new() };
        while !talk.input.windows(4).any(|four| four == b"\r\n\r\n") {
            talk.fill();
        }
        let end = talk.input.windows(4).position(|four| four == b"\r\n\r\n").expect("an end of the head") + 4;
        let head = String::from_utf8(talk.input.drain(..end).collect()).expect("text");
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert!(head.contains("sec-websocket-protocol: realtime\r\n"), "{head}");
        talk
    }

    fn fill(&mut self) {
        let mut room = [0; 4096];
        let read = self.stream.read(&mut room).expect("the simulator writes");
        assert!(read > 0, "the connection ended; so far {:?}", String::from_utf8_lossy(&self.input));
        self.input.extend_from_slice(&room[..read]);
    }

    /// Sends one masked frame.
    fn send(&mut self, kind: u8, payload: &[u8]) {
        let mask = [7, 11, 13, 17];
        let mut frame = vec![0x80 | kind, 0x80 | 126];
        frame.extend_from_slice(&u16::try_from(payload.len()).expect("a short message").to_be_bytes());
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).expect("the simulator reads");
    }

    fn say(&mut self, event: &Value) {
        self.send(1, event.to_string().as_bytes());
    }

    /// The next frame: its kind and payload.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [first, second, rest @ ..] = &self.input[..] {
                let (length, extra) = match second {
                    126 => (rest.first_chunk::<2>().map(|two| usize::from(u16::from_be_bytes(*two))), 2),
                    length => (Some(usize::from(*length)), 0),
                };
                if let Some(payload) = length.and_then(|length| rest.get(extra..extra + length)) {
                    let (kind, payload) = (first & 0x0f, payload.to_vec());
                    self.input.drain(..2 + extra + payload.len());
                    return (kind, payload);
                }
            }
            self.fill();
        }
    }

    fn hear(&mut self) -> Value {
        let (kind, payload) = self.frame();
        assert_eq!(kind, 1, "a text");
        serde_json::from_slice(&payload).expect("JSON")
    }

    /// Events up to the one of this type.
    fn until(&mut self, last: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            events.push(self.hear());
            if events.last().is_some_and(|event| event["type"] == last) {
                return events;
            }
        }
    }

    fn ask(&mut self, text: &str) -> Vec<Value> {
        let item = json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }] });
        self.say(&json!({ "type": "conversation.item.create", "item": item }));
        self.until("conversation.item.done");
        self.say(&json!({ "type": "response.create" }));
        self.until("response.done")
    }
}

#[test]
fn a_conversation_is_answered_with_usage() {
    let simulator = simulator();
    let mut talk = Talk::open(&simulator);
    assert_eq!(talk.hear()["session"]["model"], MODEL);
    let events = talk.ask("sim:tokens=5 hello");
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let around = ["response.created", "response.output_item.added", "response.content_part.added"];
    assert_eq!(kinds[..3], around);
    assert_eq!(kinds[3..8], ["response.output_text.delta"; 5]);
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let done = &events.last().expect("events")["response"];
    assert_eq!((&done["status"], &done["output"][0]["content"][0]["text"]), (&json!("completed"), &json!(text)));
    assert_eq!((&done["usage"]["output_tokens"], &done["usage"]["input_tokens"]), (&json!(5), &json!(5)));
    talk.send(9, b"alive");
    assert_eq!(talk.frame(), (10, b"alive".to_vec()));
    talk.send(8, &1000_u16.to_be_bytes());
    assert_eq!(talk.frame(), (8, 1000_u16.to_be_bytes().to_vec()));
    assert!(simulator.truth().wait_settled(SOON));
    let record = simulator.truth().last().expect("a request");
    assert_eq!((record.status, record.completion_tokens, &record.outcome), (101, 5, &Outcome::Completed));
    assert_eq!(simulator.truth().violations(), []);
}

#[test]
fn functions_are_called_and_answered() {
    let simulator = simulator();
    let mut talk = Talk::open(&simulator);
    talk.hear();
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object",
        "properties": { "city": { "type": "string" } } } });
    talk.say(&json!({ "type": "session.update", "session": { "type": "realtime", "tools": [tool] } }));
    assert_eq!(talk.hear()["session"]["tools"], json!([tool]));
    let events = talk.ask("use the tool");
    let pieces: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let call = events.last().expect("events")["response"]["output"][0].clone();
    assert_eq!((&call["type"], &call["arguments"]), (&json!("function_call"), &json!(pieces)));
    let output = json!({ "type": "function_call_output", "call_id": call["call_id"], "output": "42" });
    talk.say(&json!({ "type": "conversation.item.create", "item": output }));
    talk.until("conversation.item.done");
    talk.say(&json!({ "type": "response.create" }));
    let done = talk.until("response.done").pop().expect("events");
    assert_eq!(done["response"]["output"][0]["type"], "message");
}

#[test]
fn wrong_events_are_refused_and_the_conversation_lives() {
    let simulator = simulator();
    let mut talk = Talk::open(&simulator);
    talk.hear();
    let stray = json!({ "type": "function_call_output", "call_id": "x", "output": "y" });
    let table = [
        (json!({ "type": "sing" }), "type", "invalid_value"),
        (json!({ "type": "session.update", "session": { "colour": 1 } }), "session.colour", "unknown_parameter"),
        (json!({ "type": "response.create", "response": { "tools": 1 } }), "response.tools", "invalid_type"),
        (json!({ "type": "conversation.item.create", "item": stray }), "item.call_id", "invalid_tool_call_id"),
        (json!({ "type": "conversation.item.delete", "item_id": "x" }), "item_id", "item_delete_invalid_item_id"),
    ];
    for (event, param, code) in table {
        talk.say(&event);
        let error = talk.hear();
        assert_eq!((&error["type"], &error["error"]["param"]), (&json!("error"), &json!(param)), "{error}");
        assert_eq!(error["error"]["code"], code, "{error}");
    }
    talk.send(1, b"{");
    assert_eq!(talk.hear()["error"]["code"], "invalid_json");
    talk.say(&json!({ "type": "input_audio_buffer.commit" }));
    assert_eq!(talk.hear()["error"]["code"], "input_audio_buffer_commit_empty");
    talk.say(&json!({ "type": "input_audio_buffer.append", "audio": "AAAA" }));
    talk.say(&json!({ "type": "input_audio_buffer.commit" }));
    assert_eq!(talk.until("conversation.item.done").len(), 3);
    talk.stream.write_all(&[0x81, 0x01, b'x']).expect("the simulator reads");
    assert_eq!(talk.frame(), (8, 1002_u16.to_be_bytes().to_vec()), "a frame without a mask ends it");
    assert!(simulator.truth().wait_settled(SOON));
    assert_eq!(simulator.truth().violations()[0].rule, "malformed-websocket");
}

#[test]
fn handshakes_are_checked_and_faults_strike() {
    let simulator = simulator();
    let path = format!("/v1/realtime?model={MODEL}");
    // The client of these tests says `connection: close`, which upgrades nothing.
    assert_eq!(handshake(&path).send(&simulator).status, 400);
    assert_eq!(handshake(&path).without("authorization").send(&simulator).status, 401);
    let broken =
        Simulator::builder().keys([KEY]).models([MODEL]).fault(Fault::ErrorInStream { after_events: 4 }, When::Always);
    let broken = broken.start().expect("a loopback port");
    let mut talk = Talk::open(&broken);
    talk.hear();
    let item = json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "x" }] });
    talk.say(&json!({ "type": "conversation.item.create", "item": item }));
    talk.say(&json!({ "type": "response.create" }));
    assert_eq!(talk.until("error").len(), 4, "two of the item, one of the answer, then the error");
    assert_eq!(talk.frame(), (8, 1011_u16.to_be_bytes().to_vec()));
    assert!(broken.truth().wait_settled(SOON));
    assert_eq!(broken.truth().last().expect("a request").outcome, Outcome::Faulted("error@4".into()));
    let gone = Talk::open(&simulator);
    drop(gone);
    assert!(simulator.truth().wait_settled(SOON));
    assert!(matches!(simulator.truth().last().expect("a request").outcome, Outcome::ClientClosed { .. }));
}
