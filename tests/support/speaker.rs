//! A client of each dialect, reduced to what a tool loop needs: ask, read the answer whole or streamed, and send the history back.
//!
//! The Chat client is the forgetful kind: it keeps only the members that the official types know, as most frameworks do.

use super::{ACCESS_KEY, Answer, Gateway, Stream, bearer, post_with};
use serde_json::{Value, json};

/// A dialect that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    Chat,
    Responses,
    Messages,
    Gemini,
}

/// What came back, whatever the dialect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub text: String,
    pub thought: String,
    /// Id, name and input of each call.
    pub calls: Vec<(String, String, Value)>,
    pub finish: String,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// The model's turn as this client would send it back.
    pub turn: Value,
}

/// What is asked beside the words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    pub stream: bool,
    pub tools: bool,
    pub thinking: bool,
}

impl Speaker {
    pub const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Messages, Self::Gemini];

    /// The path and body of a question; `history` holds this dialect's own turns.
    pub fn question(self, model: &str, history: &[Value], wish: Wish) -> (String, Value) {
        let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
        let about = "Tells the weather.";
        let (path, mut body) = match self {
            Self::Chat => ("/v1/chat/completions".to_owned(), json!({ "model": model, "messages": history })),
            Self::Responses => ("/v1/responses".to_owned(), json!({ "model": model, "input": history })),
            Self::Messages => {
                ("/v1/messages".to_owned(), json!({ "model": model, "max_tokens": 4096, "messages": history }))
            }
            Self::Gemini => {
                let method = if wish.stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                (format!("/v1beta/models/{model}:{method}"), json!({ "contents": history }))
            }
        };
        if wish.stream && self != Self::Gemini {
            body["stream"] = json!(true);
        }
        if wish.tools {
            body["tools"] = match self {
                Self::Chat => {
                    json!([{ "type": "function",
                        "function": { "name": "weather", "description": about, "parameters": schema } }])
                }
                Self::Responses => {
                    json!([{ "type": "function", "name": "weather", "description": about, "parameters": schema }])
                }
                Self::Messages => json!([{ "name": "weather", "description": about, "input_schema": schema }]),
                Self::Gemini => {
                    json!([{ "functionDeclarations": [{ "name": "weather", "description": about,
                        "parametersJsonSchema": schema }] }])
                }
            };
        }
        if wish.thinking {
            match self {
                Self::Chat => body["reasoning_effort"] = json!("medium"),
                Self::Responses => body["reasoning"] = json!({ "effort": "medium", "summary": "auto" }),
                Self::Messages => body["thinking"] = json!({ "type": "enabled", "budget_tokens": 2048 }),
                Self::Gemini => body["generationConfig"] = json!({ "thinkingConfig": { "includeThoughts": true } }),
            }
        }
        if self == Self::Responses && wish.thinking {
            body["include"] = json!(["reasoning.encrypted_content"]);
            body["store"] = json!(false);
        }
        (path, body)
    }

    /// A user's words as a turn.
    pub fn user(self, words: &str) -> Value {
        match self {
            Self::Chat | Self::Responses | Self::Messages => json!({ "role": "user", "content": words }),
            Self::Gemini => json!({ "role": "user", "parts": [{ "text": words }] }),
        }
    }

    /// The tool's results as turns.
    pub fn results(self, heard: &Heard) -> Vec<Value> {
        let said = "Rain, 12 degrees";
        match self {
            Self::Chat => heard
                .calls
                .iter()
                .map(|(id, ..)| json!({ "role": "tool", "tool_call_id": id, "content": said }))
                .collect(),
            Self::Responses => heard
                .calls
                .iter()
                .map(|(id, ..)| json!({ "type": "function_call_output", "call_id": id, "output": said }))
                .collect(),
            Self::Messages => {
                let blocks: Vec<Value> = heard
                    .calls
                    .iter()
                    .map(|(id, ..)| json!({ "type": "tool_result", "tool_use_id": id, "content": said }))
                    .collect();
                vec![json!({ "role": "user", "content": blocks })]
            }
            Self::Gemini => {
                let parts: Vec<Value> = heard
                    .calls
                    .iter()
                    .map(|(id, name, _)| {
                        json!({ "functionResponse": { "id": id, "name": name, "response": { "result": said } } })
                    })
                    .collect();
                vec![json!({ "role": "user", "parts": parts })]
            }
        }
    }

    /// The history after an answer: the model's turn and the tool's results.
    pub fn after(self, mut history: Vec<Value>, heard: &Heard) -> Vec<Value> {
        match (self, &heard.turn) {
            (Self::Responses, Value::Array(items)) => history.extend(items.iter().cloned()),
            (_, turn) => history.push(turn.clone()),
        }
        history.extend(self.results(heard));
        history
    }

    /// The key in the header that this dialect's SDK uses.
    pub fn key_line(self, key: &str) -> String {
        match self {
            Self::Chat | Self::Responses => bearer(key),
            Self::Messages => format!("x-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n"),
            Self::Gemini => format!("x-goog-api-key: {key}\r\n"),
        }
    }

    /// Asks and reads the answer, which must be a 200.
    pub fn ask(self, gateway: &Gateway, model: &str, history: &[Value], wish: Wish) -> Heard {
        let (path, body) = self.question(model, history, wish);
        let bytes = post_with(&path, &self.key_line(ACCESS_KEY), body.to_string().as_bytes());
        if wish.stream {
            let mut client = gateway.client();
            client.send(&bytes);
            let stream = client.stream();
            assert_eq!(stream.answer.status, 200, "{self:?} {model}: {}", stream.answer.text());
            return self.heard_stream(&stream);
        }
        let answer = gateway.ask(&bytes);
        assert_eq!(answer.status, 200, "{self:?} {model} {body}: {}", answer.text());
        self.heard(&answer.json())
    }

    /// Asks and gives the answer as it came.
    pub fn ask_raw(self, gateway: &Gateway, model: &str, history: &[Value], wish: Wish) -> Answer {
        let (path, body) = self.question(model, history, wish);
        gateway.ask(&post_with(&path, &self.key_line(ACCESS_KEY), body.to_string().as_bytes()))
    }

    /// Reads a whole answer.
    pub fn heard(self, body: &Value) -> Heard {
        match self {
            Self::Chat => heard_chat(body),
            Self::Responses => heard_responses(body),
            Self::Messages => heard_messages(body),
            Self::Gemini => heard_gemini(std::slice::from_ref(body)),
        }
    }

    /// Reads a stream, which must come to its proper end.
    pub fn heard_stream(self, stream: &Stream) -> Heard {
        let events: Vec<(String, Value)> = stream.events.iter().filter_map(|event| named(&event.bytes)).collect();
        match self {
            Self::Chat => {
                let last = stream.events.last().expect("events");
                assert_eq!(last.bytes, b"data: [DONE]\n\n", "the terminator");
                heard_chat(&chat_of_chunks(events.into_iter().map(|(_, data)| data)))
            }
            Self::Responses => {
                for (place, (name, data)) in events.iter().enumerate() {
                    assert_eq!((data["type"].as_str(), &data["sequence_number"]), (Some(&**name), &json!(place)));
                }
                let (name, data) = events.last().expect("events");
                assert!(matches!(&**name, "response.completed" | "response.incomplete"), "{name}: {data}");
                heard_responses(&data["response"])
            }
            Self::Messages => {
                let (name, _) = events.last().expect("events");
                assert_eq!(name, "message_stop");
                heard_messages(&message_of_events(&events))
            }
            Self::Gemini => {
                let chunks: Vec<Value> = events.into_iter().map(|(_, data)| data).collect();
                heard_gemini(&chunks)
            }
        }
    }
}

/// Name and data of an event; nothing for comments and `[DONE]`.
pub fn named(event: &[u8]) -> Option<(String, Value)> {
    let text = std::str::from_utf8(event).expect("events are text");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data = field("data:")?;
    if data == "[DONE]" {
        return None;
    }
    let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {text}"));
    Some((field("event:").unwrap_or_default().to_owned(), data))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn heard_chat(body: &Value) -> Heard {
    let choice = &body["choices"][0];
    let message = &choice["message"];
    let mut turn = json!({ "role": "assistant", "content": message["content"] });
    let mut calls = Vec::new();
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        let text = call["function"]["arguments"].as_str().expect("arguments are a string");
        let input = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        calls.push((call["id"].as_str().expect("an id").to_owned(), text_of(&call["function"]["name"]), input));
    }
    if !calls.is_empty() {
        turn["tool_calls"] = message["tool_calls"].clone();
    }
    Heard {
        text: text_of(&message["content"]),
        thought: text_of(&message["reasoning_content"]),
        calls,
        finish: text_of(&choice["finish_reason"]),
        input_tokens: number(&body["usage"]["prompt_tokens"]),
        output_tokens: number(&body["usage"]["completion_tokens"]),
        turn,
    }
}

/// Chunks put together as the official client's accumulator does.
fn chat_of_chunks(chunks: impl Iterator<Item = Value>) -> Value {
    let mut body = json!({ "choices": [{ "message": { "content": null }, "finish_reason": null }] });
    for chunk in chunks {
        assert!(chunk.get("error").is_none(), "{chunk}");
        if chunk["usage"].is_object() {
            body["usage"] = chunk["usage"].clone();
        }
        let Some(choice) = chunk["choices"].get(0) else { continue };
        let message = &mut body["choices"][0]["message"];
        for name in ["content", "reasoning_content"] {
            if let Some(text) = choice["delta"][name].as_str().filter(|text| !text.is_empty()) {
                message[name] = json!(text_of(&message[name]) + text);
            }
        }
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let place = number(&call["index"]) as usize;
            if message["tool_calls"].get(place).is_none() {
                let calls = message.as_object_mut().expect("an object").entry("tool_calls").or_insert(json!([]));
                calls.as_array_mut().expect("an array").push(json!({ "id": call["id"], "type": "function",
                    "function": { "name": call["function"]["name"], "arguments": "" } }));
            }
            let arguments = &mut message["tool_calls"][place]["function"]["arguments"];
            *arguments = json!(text_of(arguments) + &text_of(&call["function"]["arguments"]));
        }
        if choice["finish_reason"].is_string() {
            body["choices"][0]["finish_reason"] = choice["finish_reason"].clone();
        }
    }
    body
}

fn heard_responses(body: &Value) -> Heard {
    let items = body["output"].as_array().expect("output items");
    let of = |kind: &'static str| items.iter().filter(move |item| item["type"] == kind).collect::<Vec<_>>();
    let texts = |item: &&Value, list: &str| {
        item[list].as_array().into_iter().flatten().map(|part| text_of(&part["text"])).collect::<String>()
    };
    let calls = of("function_call")
        .iter()
        .map(|call| {
            let text = text_of(&call["arguments"]);
            let input = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            (text_of(&call["call_id"]), text_of(&call["name"]), input)
        })
        .collect();
    for details in ["input_tokens_details", "output_tokens_details"] {
        assert!(body["usage"][details].is_object(), "typed clients need both: {body}");
    }
    Heard {
        text: of("message").iter().map(|item| texts(item, "content")).collect(),
        thought: of("reasoning").iter().map(|item| texts(item, "summary")).collect(),
        calls,
        finish: text_of(&body["status"]),
        input_tokens: number(&body["usage"]["input_tokens"]),
        output_tokens: number(&body["usage"]["output_tokens"]),
        turn: body["output"].clone(),
    }
}

fn heard_messages(body: &Value) -> Heard {
    let blocks = body["content"].as_array().expect("content blocks");
    let of = |kind: &'static str| blocks.iter().filter(move |block| block["type"] == kind);
    let calls = of("tool_use").map(|call| (text_of(&call["id"]), text_of(&call["name"]), call["input"].clone()));
    let usage = &body["usage"];
    let caches = number(&usage["cache_read_input_tokens"]) + number(&usage["cache_creation_input_tokens"]);
    Heard {
        text: of("text").map(|block| text_of(&block["text"])).collect(),
        thought: of("thinking").map(|block| text_of(&block["thinking"])).collect(),
        calls: calls.collect(),
        finish: text_of(&body["stop_reason"]),
        input_tokens: number(&usage["input_tokens"]) + caches,
        output_tokens: number(&usage["output_tokens"]),
        turn: json!({ "role": "assistant", "content": blocks }),
    }
}

/// Events put together as the official client's accumulator does; blocks must be strictly sequential.
fn message_of_events(events: &[(String, Value)]) -> Value {
    let (first, start) = &events[0];
    assert_eq!(first, "message_start");
    let mut message = start["message"].clone();
    let (mut input, mut open) = (String::new(), None::<usize>);
    for (name, data) in &events[1..] {
        assert_eq!(data["type"].as_str(), Some(&**name), "the name of an event is its type");
        let blocks = message["content"].as_array_mut().expect("an array");
        match &**name {
            "content_block_start" => {
                assert_eq!((open, number(&data["index"]) as usize), (None, blocks.len()), "{data}");
                open = Some(blocks.len());
                input.clear();
                blocks.push(data["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(open, data["index"].as_u64().map(|index| index as usize), "{data}");
                let block = blocks.last_mut().expect("an open block");
                let delta = &data["delta"];
                match delta["type"].as_str() {
                    Some("text_delta") => block["text"] = json!(text_of(&block["text"]) + &text_of(&delta["text"])),
                    Some("thinking_delta") => {
                        block["thinking"] = json!(text_of(&block["thinking"]) + &text_of(&delta["thinking"]));
                    }
                    Some("signature_delta") => block["signature"] = delta["signature"].clone(),
                    Some("input_json_delta") => input += &text_of(&delta["partial_json"]),
                    other => panic!("{other:?}"),
                }
            }
            "content_block_stop" => {
                let block = blocks.last_mut().expect("an open block");
                if block["type"] == "tool_use" && !input.is_empty() {
                    block["input"] = serde_json::from_str(&input).unwrap_or_else(|error| panic!("{error}: {input}"));
                }
                open = None;
            }
            "message_delta" => {
                message["stop_reason"] = data["delta"]["stop_reason"].clone();
                for (name, value) in data["usage"].as_object().into_iter().flatten() {
                    message["usage"][name] = value.clone();
                }
            }
            "message_stop" | "ping" => {}
            other => panic!("{other}: {data}"),
        }
    }
    assert_eq!(open, None, "every block is closed");
    message
}

fn heard_gemini(chunks: &[Value]) -> Heard {
    let mut heard = Heard::default();
    let mut parts = Vec::new();
    for chunk in chunks {
        assert!(chunk.get("error").is_none(), "{chunk}");
        let candidate = &chunk["candidates"][0];
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            if let Some(call) = part.get("functionCall") {
                heard.calls.push((text_of(&call["id"]), text_of(&call["name"]), call["args"].clone()));
            } else if part["thought"] == true {
                heard.thought += &text_of(&part["text"]);
            } else {
                heard.text += &text_of(&part["text"]);
            }
            parts.push(part.clone());
        }
        if candidate["finishReason"].is_string() {
            heard.finish = text_of(&candidate["finishReason"]);
        }
        let usage = &chunk["usageMetadata"];
        if usage.is_object() {
            heard.input_tokens = number(&usage["promptTokenCount"]);
            heard.output_tokens = number(&usage["candidatesTokenCount"]) + number(&usage["thoughtsTokenCount"]);
        }
    }
    heard.turn = json!({ "role": "model", "parts": parts });
    heard
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
