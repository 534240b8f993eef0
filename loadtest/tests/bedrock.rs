//! The simulator speaks Bedrock's Converse as the real service does: its checks, its binary frames, its two kinds of keys.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Outcome, Surface};
use serde_json::{Value, json};
use wire::{Reply, Request, SOON, with};

const KEY: &str = "ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5";
const CLAUDE: &str = "anthropic.claude-sonnet-4-5-20250929-v1:0";

fn simulator() -> Simulator {
    Simulator::builder().dialect(Surface::Bedrock).keys([KEY, "AKIDEXAMPLE"]).start().expect("a loopback port")
}

fn request(model: &str, verb: &str, body: &Value) -> Request {
    let path = format!("/model/{}/{verb}", model.replace(':', "%3A"));
    Request::post(&path, body).field("authorization", &format!("Bearer {KEY}"))
}

fn saying(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": [{ "text": text }] }] })
}

fn chat(extra: Value) -> Value {
    with(&saying("hello"), &extra)
}

fn ask(simulator: &Simulator, body: &Value) -> Reply {
    request(CLAUDE, "converse", body).send(simulator)
}

fn good(simulator: &Simulator, body: &Value) -> Value {
    let reply = ask(simulator, body);
    assert_eq!(reply.status, 200, "{body} gave {}", reply.text());
    reply.json()
}

fn tools() -> Value {
    let schema = json!({ "json": { "type": "object", "properties": { "city": { "type": "string" } } } });
    json!({ "tools": [{ "toolSpec": { "name": "weather", "inputSchema": schema } }] })
}

/// The checksum of gzip, by a table.
fn crc32(bytes: &[u8]) -> u32 {
    let entry = |byte: u32| (0..8).fold(byte, |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 });
    let table: Vec<u32> = (0..256).map(entry).collect();
    !bytes.iter().fold(!0, |sum: u32, byte| table[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ sum >> 8)
}

/// The frames of a stream, each checked and taken apart: the value of its kind, and its payload.
fn frames(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
    let mut found = Vec::new();
    while bytes.len() >= 16 {
        let (total, headers) = (number(bytes), number(&bytes[4..]));
        let Some(frame) = bytes.get(..total) else { break };
        assert_eq!(number(&frame[8..]), crc32(&frame[..8]) as usize, "the prelude's checksum");
        assert_eq!(number(&frame[total - 4..]), crc32(&frame[..total - 4]) as usize, "the message's checksum");
        let mut rest = &frame[12..12 + headers];
        let mut kind = String::new();
        while let [length, more @ ..] = rest {
            let (name, more) = more.split_at(usize::from(*length));
            assert_eq!(more[0], 7, "every header is a string");
            let length = usize::from(u16::from_be_bytes([more[1], more[2]]));
            if name.ends_with(b"-type") && !name.starts_with(b":content") && !name.starts_with(b":message") {
                kind = String::from_utf8_lossy(&more[3..3 + length]).into_owned();
            }
            rest = &more[3 + length..];
        }
        let payload = serde_json::from_slice(&frame[12 + headers..total - 4]).expect("a JSON payload");
        found.push((kind, payload));
        bytes = &bytes[total..];
    }
    found
}

#[test]
fn transcripts_are_kept() {
    let simulator = simulator();
    assert_eq!(simulator.base_url(), simulator.origin());
    request(CLAUDE, "converse", &saying("sim:tokens=6;cached=1")).transcript(&simulator, "bedrock-unary");
    let body = with(&saying("sim:preface=2 use the tool"), &json!({ "toolConfig": tools() }));
    let stream = request(CLAUDE, "converse-stream", &body).transcript(&simulator, "bedrock-stream");
    assert_eq!(stream.field("content-type"), Some("application/vnd.amazon.eventstream"));
    assert_eq!(frames(&stream.body).last().expect("frames").0, "metadata");
    request(CLAUDE, "converse", &chat(json!({ "messages": [] }))).transcript(&simulator, "bedrock-refusal");
}

#[test]
fn wrong_requests_are_refused_in_its_words() {
    let simulator = simulator();
    let said = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let config = |config: Value| json!({ "inferenceConfig": config });
    let user = json!({ "role": "user", "content": [{ "text": "x" }] });
    let assistant = json!({ "role": "assistant", "content": [{ "text": "x" }] });
    let named = |name: &str| {
        let mut tools = tools();
        tools["tools"][0]["toolSpec"]["name"] = json!(name);
        json!({ "toolConfig": tools })
    };
    let table = [
        (json!({ "messages": [] }), "ValidationException", "Value '[]' at 'messages' failed to satisfy constraint"),
        (json!({ "messages": [assistant, user] }), "ValidationException", "must start with a user message"),
        (json!({ "messages": [user, user] }), "ValidationException", "must alternate between user and assistant"),
        (json!({ "messages": [user, assistant] }), "ValidationException", "must end with a user message"),
        (json!({ "messages": "x" }), "SerializationException", "STRING_VALUE can not be converted to array"),
        (said(json!([])), "ValidationException", "The content field in the Message object at messages.0 is empty."),
        (
            said(json!([{ "text": " " }])),
            "ValidationException",
            "The text field in the ContentBlock object at messages.0.content.0 is blank.",
        ),
        (said(json!([{}])), "ValidationException", "must set one of the following keys"),
        (said(json!([{ "text": "x", "cachePoint": { "type": "default" } }])), "ValidationException", "must set one of"),
        (
            said(json!([{ "image": { "format": "bmp", "source": {} } }])),
            "ValidationException",
            "enum value set: [png, jpeg",
        ),
        (
            said(json!([{ "image": { "format": "png", "source": { "bytes": "*" } } }])),
            "ValidationException",
            "not valid base64",
        ),
        (
            config(json!({ "temperature": 1.5 })),
            "ValidationException",
            "Member must have value less than or equal to 1",
        ),
        (config(json!({ "maxTokens": 0 })), "ValidationException", "Member must have value greater than or equal to 1"),
        (
            config(json!({ "maxTokens": "many" })),
            "SerializationException",
            "STRING_VALUE can not be converted to integer",
        ),
        (named("a b"), "ValidationException", "regular expression pattern: [a-zA-Z0-9_-]+"),
        (json!({ "toolConfig": { "tools": [] } }), "ValidationException", "Value '[]' at 'toolConfig.tools'"),
        (
            json!({ "toolConfig": with(&tools(), &json!({ "toolChoice": { "tool": { "name": "g" } } })) }),
            "ValidationException",
            "The tool g in toolChoice",
        ),
        (json!({ "additionalModelRequestFields": { "colour": 1 } }), "ValidationException", "colour: Extra inputs"),
        (saying("sim:fault=nonsense"), "ValidationException", "sim: unknown fault"),
    ];
    for (extra, kind, words) in table {
        let mut body = chat(json!({}));
        for (name, value) in extra.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let reply = ask(&simulator, &body);
        assert_eq!((reply.status, reply.field("x-amzn-ErrorType")), (400, Some(kind)), "{extra} gave {}", reply.text());
        assert!(reply.json()["message"].as_str().is_some_and(|text| text.contains(words)), "{extra}: {}", reply.text());
    }
    let unknown = request("nobody.none-v1:0", "converse", &chat(json!({}))).send(&simulator);
    assert!(unknown.text().contains("The provided model identifier is invalid."));
    assert_eq!(simulator.truth().violations(), []);
    assert_eq!(ask(&simulator, &chat(json!({ "colour": 1 }))).status, 200, "what nobody knows is ignored there");
    let noted = simulator.truth().violations();
    assert_eq!((noted[0].rule, noted[0].detail.as_str()), ("unknown-field", "/colour"));
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let simulator = simulator();
    let thinking =
        json!({ "additionalModelRequestFields": { "thinking": { "type": "enabled", "budget_tokens": 1024 } } });
    for body in [
        saying("hello"),
        with(&saying("hello"), &json!({ "inferenceConfig": { "maxTokens": 3 } })),
        with(&saying("hello"), &thinking),
        with(&saying("think in secret"), &thinking),
        with(&saying("sim:preface=2 use the tools"), &json!({ "toolConfig": tools() })),
        saying("sim:block=1"),
    ] {
        let whole = good(&simulator, &body);
        let stream = request(CLAUDE, "converse-stream", &body).send(&simulator);
        assert!(stream.whole);
        assert_eq!(assemble(&frames(&stream.body)), whole, "{body}");
    }
}

/// The answer that a client puts together from the frames of a stream.
fn assemble(frames: &[(String, Value)]) -> Value {
    let mut answer = json!({ "output": { "message": { "content": [] } } });
    let mut blocks: Vec<Value> = Vec::new();
    let add = |text: &mut Value, piece: &Value| {
        *text = json!(text.as_str().unwrap_or_default().to_owned() + piece.as_str().expect("a piece"));
    };
    for (kind, data) in frames {
        let index = data["contentBlockIndex"].as_u64().unwrap_or_default() as usize;
        match kind.as_str() {
            "messageStart" => answer["output"]["message"]["role"] = data["role"].clone(),
            "contentBlockStart" => blocks.push(data["start"].clone()),
            "contentBlockDelta" => {
                if blocks.len() == index {
                    blocks.push(json!({}));
                }
                let (block, delta) = (&mut blocks[index], &data["delta"]);
                let reasoning = &delta["reasoningContent"];
                if delta.get("text").is_some() {
                    add(&mut block["text"], &delta["text"]);
                } else if delta.get("toolUse").is_some() {
                    add(&mut block["toolUse"]["input"], &delta["toolUse"]["input"]);
                } else if reasoning.get("redactedContent").is_some() {
                    block["reasoningContent"] = reasoning.clone();
                } else {
                    for (member, piece) in reasoning.as_object().expect("a piece of reasoning") {
                        add(&mut block["reasoningContent"]["reasoningText"][member.as_str()], piece);
                    }
                }
            }
            "contentBlockStop" => {
                if let Some(input) = blocks[index]["toolUse"].get("input").cloned() {
                    let input: Value = serde_json::from_str(input.as_str().expect("text")).expect("whole JSON");
                    blocks[index]["toolUse"]["input"] = input;
                }
            }
            "messageStop" => answer["stopReason"] = data["stopReason"].clone(),
            "metadata" => {
                answer["usage"] = data["usage"].clone();
                answer["metrics"] = data["metrics"].clone();
            }
            other => panic!("{other}"),
        }
    }
    // Looking for members has left nulls in blocks that have none.
    for block in &mut blocks {
        block.as_object_mut().expect("a block").retain(|_, value| !value.is_null());
    }
    answer["output"]["message"]["content"] = json!(blocks);
    answer
}

#[test]
fn results_follow_their_calls_and_reasoning_comes_back() {
    let simulator = simulator();
    let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } });
    let base =
        with(&saying("use the tool"), &json!({ "toolConfig": tools(), "additionalModelRequestFields": thinking }));
    let answer = good(&simulator, &base);
    assert_eq!(answer["stopReason"], "tool_use");
    let content = answer["output"]["message"]["content"].clone();
    let id = &content[1]["toolUse"]["toolUseId"];
    let result = |id: &Value| json!({ "toolResult": { "toolUseId": id, "content": [{ "json": { "degrees": 7 } }] } });
    let go_on = |assistant: Value, user: Value| {
        let messages = json!([base["messages"][0], { "role": "assistant", "content": assistant },
            { "role": "user", "content": user }]);
        ask(&simulator, &with(&base, &json!({ "messages": messages })))
    };
    assert_eq!(go_on(content.clone(), json!([result(id)])).status, 200);
    let table = [
        (json!([content[1]]), json!([result(id)]), "Expected `thinking` or `redacted_thinking`"),
        (
            content.clone(),
            json!([{ "text": "x" }]),
            "Expected toolResult blocks at messages.2.content for the following Ids",
        ),
        (content.clone(), json!([result(id), result(&json!("x"))]), "exceeds the number of toolUse blocks"),
        (json!([{ "text": "x" }]), json!([result(id)]), "exceeds the number of toolUse blocks"),
        (
            json!([{ "reasoningContent": { "reasoningText": { "text": "other", "signature": "x" } } }, content[1]]),
            json!([result(id)]),
            "Invalid `signature` in `thinking` block",
        ),
    ];
    for (assistant, user, words) in table {
        let reply = go_on(assistant.clone(), user);
        assert!(reply.status == 400 && reply.text().contains(words), "{assistant} gave {}", reply.text());
    }
    let messages = json!([base["messages"][0], { "role": "assistant", "content": content },
        { "role": "user", "content": [result(id)] }]);
    let without = ask(&simulator, &json!({ "messages": messages }));
    assert!(without.text().contains("The toolConfig field must be defined"), "{}", without.text());
}

#[test]
fn keys_are_bearers_or_signatures() {
    let simulator = simulator();
    let body = chat(json!({}));
    let bare = request(CLAUDE, "converse", &body).without("authorization");
    let refused = |reply: Reply, kind: &str| {
        assert_eq!((reply.status, reply.field("x-amzn-ErrorType")), (403, Some(kind)), "{}", reply.text());
    };
    refused(bare.send(&simulator), "MissingAuthenticationTokenException");
    refused(bare.clone().field("authorization", "Bearer sk-other").send(&simulator), "AccessDeniedException");
    let signed = |id: &str, names: &str| {
        let signature = "0123456789abcdef".repeat(4);
        let field = format!(
            "AWS4-HMAC-SHA256 Credential={id}/20261126/us-east-1/bedrock/aws4_request, SignedHeaders={names}, Signature={signature}"
        );
        bare.clone().field("x-amz-date", "20261126T120000Z").field("authorization", &field)
    };
    assert_eq!(signed("AKIDEXAMPLE", "host;x-amz-date").send(&simulator).status, 200, "the form is right");
    refused(signed("AKIDEXAMPLE", "host").send(&simulator), "IncompleteSignatureException");
    refused(signed("AKIDOTHER", "host;x-amz-date").send(&simulator), "UnrecognizedClientException");
    let strict = Simulator::builder().dialect(Surface::Bedrock).secret("AKIDEXAMPLE", "secret").start();
    let strict = strict.expect("a loopback port");
    refused(signed("AKIDEXAMPLE", "host;x-amz-date").send(&strict), "InvalidSignatureException");
    refused(signed("AKIDOTHER", "host;x-amz-date").send(&strict), "UnrecognizedClientException");
    refused(
        signed("AKIDEXAMPLE", "host;x-amz-date").without("x-amz-date").send(&strict),
        "IncompleteSignatureException",
    );
}

#[test]
fn faults_break_streams_in_their_own_form() {
    let simulator = simulator();
    let wish =
        |directives: &str| request(CLAUDE, "converse-stream", &saying(&format!("sim:{directives}"))).send(&simulator);
    let limited = wish("fault=429");
    assert_eq!((limited.status, limited.field("x-amzn-ErrorType")), (429, Some("ThrottlingException")));
    assert!(wish("fault=429-quota").text().contains("Too many tokens per day"));
    let broken = frames(&wish("fault=error@3").body);
    assert_eq!((broken.len(), broken[3].0.as_str()), (4, "internalServerException"));
    let cut = wish("fault=cut@3");
    assert!(!cut.whole && frames(&cut.body).len() == 3, "half a frame follows");
    let answer = frames(&wish("tokens=5;cached=2").body);
    let usage = &answer.last().expect("frames").1["usage"];
    assert_eq!((&usage["cacheReadInputTokens"], &usage["outputTokens"]), (&json!(2), &json!(5)));
    assert!(simulator.truth().wait_settled(SOON));
    let last = simulator.truth().last().expect("requests");
    assert_eq!((last.surface, last.model.as_deref(), last.stream), ("bedrock", Some(CLAUDE), true));
    assert_eq!((last.completion_tokens, &last.outcome), (5, &Outcome::Completed));
    assert_eq!(usage["totalTokens"], json!(last.prompt_tokens + 5));
}
