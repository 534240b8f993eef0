//! What is said on a realtime connection: every event of the client checked, and answered by the events that follow from it.

use crate::simulator::fault::Directives;
use crate::simulator::openai::Refusal;
use crate::simulator::openai::breach::refusal;
use crate::simulator::plan::{Choice, Ending, Format, Question, Speech, SpokenCall, Tool};
use crate::simulator::shape::{Member, Shape, Spelling, must, null};
use crate::simulator::text::{alphanumeric, digest, digest_value, mix};
use serde_json::{Value, json};

const EVENT: Member = null("event_id", Shape::Text);
const MODES: Shape = Shape::List(&Shape::OneOf(&["text", "audio"]));
const LIMIT: Shape = Shape::Or(&Shape::OneOf(&["inf"]), &Shape::Integer(1, 4096));

static TOOLS: Shape = Shape::List(&Shape::Tagged(
    "type",
    &[
        ("function", &[must("name", Shape::Text), null("description", Shape::Text), null("parameters", Shape::Free)]),
        (
            "mcp",
            &[must("server_label", Shape::Text), null("server_url", Shape::Text), null("allowed_tools", Shape::Any)],
        ),
    ],
));

static CHOICE: Shape = Shape::Or(
    &Shape::OneOf(&["none", "auto", "required"]),
    &Shape::Tagged("type", &[("function", &[must("name", Shape::Text)])]),
);

static CLIENT: Shape = Shape::Tagged(
    "type",
    &[
        (
            "session.update",
            &[
                EVENT,
                must(
                    "session",
                    Shape::Object(&[
                        null("type", Shape::OneOf(&["realtime"])),
                        null("model", Shape::Text),
                        null("instructions", Shape::Text),
                        null("output_modalities", MODES),
                        null("audio", Shape::Free),
                        null("include", Shape::List(&Shape::Text)),
                        null("max_output_tokens", LIMIT),
                        null("tool_choice", Shape::See(&CHOICE)),
                        null("tools", Shape::See(&TOOLS)),
                        null("tracing", Shape::Any),
                        null("truncation", Shape::Any),
                        null("prompt", Shape::Free),
                    ]),
                ),
            ],
        ),
        ("conversation.item.create", &[EVENT, null("previous_item_id", Shape::Text), must("item", Shape::See(&ITEM))]),
        ("conversation.item.delete", &[EVENT, must("item_id", Shape::Text)]),
        ("input_audio_buffer.append", &[EVENT, must("audio", Shape::Text)]),
        ("input_audio_buffer.commit", &[EVENT]),
        ("input_audio_buffer.clear", &[EVENT]),
        (
            "response.create",
            &[
                EVENT,
                null(
                    "response",
                    Shape::Object(&[
                        null("conversation", Shape::Text),
                        null("instructions", Shape::Text),
                        null("input", Shape::List(&ITEM)),
                        null("output_modalities", MODES),
                        null("audio", Shape::Free),
                        null("max_output_tokens", LIMIT),
                        null("metadata", Shape::Each(&Shape::Text)),
                        null("tool_choice", Shape::See(&CHOICE)),
                        null("tools", Shape::See(&TOOLS)),
                    ]),
                ),
            ],
        ),
        ("response.cancel", &[EVENT, null("response_id", Shape::Text)]),
    ],
);

const NAMED: [Member; 3] = [null("id", Shape::Text), null("object", Shape::Text), null("status", Shape::Text)];
static ITEM: Shape = Shape::Tagged(
    "type",
    &[
        (
            "message",
            &[
                null("id", Shape::Text),
                null("object", Shape::Text),
                null("status", Shape::Text),
                must("role", Shape::OneOf(&["user", "assistant", "system"])),
                must("content", Shape::List(&PART)),
            ],
        ),
        (
            "function_call",
            &[
                null("id", Shape::Text),
                null("status", Shape::Text),
                must("call_id", Shape::Text),
                must("name", Shape::Text),
                must("arguments", Shape::Text),
            ],
        ),
        ("function_call_output", &[null("id", Shape::Text), must("call_id", Shape::Text), must("output", Shape::Text)]),
        ("item_reference", &NAMED),
    ],
);
static PART: Shape = Shape::Tagged(
    "type",
    &[
        ("input_text", &[must("text", Shape::Text)]),
        ("input_audio", &[must("audio", Shape::Text), null("transcript", Shape::Text)]),
        ("input_image", &[must("image_url", Shape::Text), null("detail", Shape::Text)]),
        ("output_text", &[must("text", Shape::Text)]),
        ("output_audio", &[null("audio", Shape::Text), null("transcript", Shape::Text)]),
    ],
);

/// One connection's conversation.
pub(in crate::simulator) struct Conversation {
    session: Value,
    items: Vec<Value>,
    audio: usize,
    /// Events sent, for their ids.
    sent: u64,
    seed: u64,
    /// Words of an answer that does not say otherwise.
    tokens: u32,
    /// Tokens billed so far.
    pub(in crate::simulator) prompt_tokens: u32,
    pub(in crate::simulator) completion_tokens: u32,
}

impl Conversation {
    /// A new conversation with a model that says `tokens` words unless asked otherwise.
    pub(in crate::simulator) fn new(model: &str, tokens: u32) -> Self {
        let session = json!({
            "type": "realtime", "object": "realtime.session", "id": "sess_simulated", "model": model,
            "output_modalities": ["text"], "instructions": "", "tools": [], "tool_choice": "auto",
            "max_output_tokens": "inf", "tracing": null, "truncation": "auto", "prompt": null, "expires_at": 0,
        });
        let seed = digest(model.as_bytes());
        Self { session, items: Vec::new(), audio: 0, sent: 0, seed, tokens, prompt_tokens: 0, completion_tokens: 0 }
    }

    /// The event that opens every conversation.
    pub(in crate::simulator) fn greeting(&mut self) -> String {
        let session = self.session.clone();
        self.event("session.created", json!({ "session": session }))
    }

    /// The events that follow from what the client said.
    pub(in crate::simulator) fn hear(&mut self, text: &str) -> Vec<String> {
        let Ok(said) = serde_json::from_str::<Value>(text) else {
            let refusal = Refusal::invalid(Some("invalid_json"), "", "The server could not parse the event as JSON.");
            return vec![self.complain(&refusal, &Value::Null)];
        };
        match CLIENT.check(&said, Spelling::Exact) {
            Ok(event) => self.obey(&event).unwrap_or_else(|refusal| vec![self.complain(&refusal, &said["event_id"])]),
            Err(found) => vec![self.complain(&refusal(&found), &said["event_id"])],
        }
    }

    fn obey(&mut self, event: &Value) -> Result<Vec<String>, Refusal> {
        match event["type"].as_str().unwrap_or_default() {
            "session.update" => {
                for (name, value) in event["session"].as_object().into_iter().flatten() {
                    self.session[name] = value.clone();
                }
                let session = self.session.clone();
                Ok(vec![self.event("session.updated", json!({ "session": session }))])
            }
            "conversation.item.create" => self.add(event["item"].clone()),
            "conversation.item.delete" => {
                let id = &event["item_id"];
                let before = self.items.len();
                self.items.retain(|item| item["id"] != *id);
                if self.items.len() == before {
                    let message = format!("Error deleting item: the item with id {id} does not exist.");
                    return Err(Refusal::invalid(Some("item_delete_invalid_item_id"), "item_id", message));
                }
                Ok(vec![self.event("conversation.item.deleted", json!({ "item_id": id }))])
            }
            "input_audio_buffer.append" => {
                self.audio += event["audio"].as_str().map_or(0, str::len);
                Ok(Vec::new())
            }
            "input_audio_buffer.clear" => {
                self.audio = 0;
                Ok(vec![self.event("input_audio_buffer.cleared", json!({}))])
            }
            "input_audio_buffer.commit" => self.commit(),
            "response.cancel" => {
                let message = "Cancellation failed: no active response found";
                Err(Refusal::invalid(Some("response_cancel_not_active"), "", message))
            }
            _ => self.respond(&event["response"]),
        }
    }

    fn commit(&mut self) -> Result<Vec<String>, Refusal> {
        if self.audio == 0 {
            let message = "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, but \
                           buffer only has 0.00ms of audio.";
            return Err(Refusal::invalid(Some("input_audio_buffer_commit_empty"), "", message));
        }
        self.audio = 0;
        let id = self.id("item_", 7);
        let mut events =
            vec![self.event("input_audio_buffer.committed", json!({ "item_id": id, "previous_item_id": null }))];
        let part = json!({ "type": "input_audio", "transcript": null });
        events.extend(self.add(json!({ "type": "message", "id": id, "role": "user", "content": [part] }))?);
        Ok(events)
    }

    fn add(&mut self, mut item: Value) -> Result<Vec<String>, Refusal> {
        if item["type"] == "function_call_output" {
            let called = |known: &Value| known["type"] == "function_call" && known["call_id"] == item["call_id"];
            if !self.items.iter().any(called) {
                let message = format!("Tool call ID {} not found in conversation.", item["call_id"]);
                return Err(Refusal::invalid(Some("invalid_tool_call_id"), "item.call_id", message));
            }
        }
        if item.get("id").is_none() {
            item["id"] = self.id("item_", self.items.len() as u64 + 11).into();
        }
        item["object"] = "realtime.item".into();
        item["status"] = "completed".into();
        let before = self.items.last().map_or(Value::Null, |item| item["id"].clone());
        self.items.push(item.clone());
        let members = json!({ "previous_item_id": before, "item": item });
        Ok(["conversation.item.added", "conversation.item.done"].map(|name| self.event(name, members.clone())).into())
    }

    fn respond(&mut self, wanted: &Value) -> Result<Vec<String>, Refusal> {
        let session = self.session.clone();
        let setting = |name: &str| wanted.get(name).unwrap_or(&session[name]).clone();
        let (tools, choice, most) = (setting("tools"), setting("tool_choice"), setting("max_output_tokens"));
        let last = self.items.iter().rev().find(|item| item["role"] == "user").map(text_of).unwrap_or_default();
        let directives = Directives::first_of(&[&last]).map_err(|reason| Refusal::wrong_value("sim", reason))?;
        let seed = self.items.iter().fold(self.seed, |seed, item| mix(seed, digest_value(&without_id(item))));
        let functions = tools.as_array().into_iter().flatten().filter(|tool| tool["type"] == "function");
        let question = Question {
            seed,
            last_user: &last,
            after_tool: self.items.last().is_some_and(|item| item["type"] == "function_call_output"),
            tools: functions
                .map(|tool| Tool {
                    name: tool["name"].as_str().unwrap_or_default(),
                    schema: &tool["parameters"],
                    custom: false,
                })
                .collect(),
            choice: match (choice.as_str(), choice["name"].as_str()) {
                (_, Some(name)) => Choice::Named(name),
                (Some("none"), _) => Choice::Never,
                (Some("required"), _) => Choice::Any,
                _ => Choice::Auto,
            },
            parallel: true,
            format: Format::Words,
            tokens_max: most.as_u64().map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
            stops: Vec::new(),
            thinks: false,
        };
        let said = Speech::of(&question, &directives, self.tokens);
        let bytes: usize = self.items.iter().map(|item| text_of(item).len()).sum();
        let prompt = u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX).max(1);
        let usage = json!({
            "total_tokens": prompt + said.tokens(), "input_tokens": prompt, "output_tokens": said.tokens(),
            "input_token_details": { "text_tokens": prompt, "audio_tokens": 0, "image_tokens": 0,
                "cached_tokens": directives.cached.min(prompt) },
            "output_token_details": { "text_tokens": said.tokens(), "audio_tokens": 0 },
        });
        self.prompt_tokens = self.prompt_tokens.saturating_add(prompt);
        self.completion_tokens = self.completion_tokens.saturating_add(said.tokens());
        Ok(self.speak(&said, mix(seed, 3), usage))
    }

    /// The events of one answer in their order.
    fn speak(&mut self, said: &Speech, seed: u64, usage: Value) -> Vec<String> {
        let id = |start: &str, salt: u64| {
            let mut id = start.to_owned();
            alphanumeric(mix(seed, salt), 21, &mut id);
            id
        };
        let response = id("resp_", 0);
        let mut shown = json!({ "object": "realtime.response", "id": response, "status": "in_progress",
            "status_details": null, "output": [], "output_modalities": ["text"], "metadata": null, "usage": null });
        let mut events = vec![self.event("response.created", json!({ "response": shown }))];
        let mut output = Vec::new();
        if !said.text.is_empty() {
            let at = json!({ "response_id": response, "item_id": id("item_", 1), "output_index": 0 });
            let message = json!({ "id": at["item_id"], "object": "realtime.item", "type": "message",
                "status": "completed", "role": "assistant",
                "content": [{ "type": "output_text", "text": said.text.concat() }] });
            self.tell(&at, &message, &mut events, |this, events| this.tell_text(&at, said, events));
            output.push(message);
        }
        for (number, call) in said.calls.iter().enumerate() {
            let salt = number as u64 + 2;
            let at = json!({ "response_id": response, "item_id": id("item_", salt), "output_index": output.len() });
            let item = json!({ "id": at["item_id"], "object": "realtime.item", "type": "function_call",
                "status": "completed", "name": call.name, "call_id": id("call_", salt), "arguments": call.input.concat() });
            let call_id = item["call_id"].clone();
            self.tell(&at, &item, &mut events, |this, events| this.tell_call(&at, &call_id, call, events));
            output.push(item);
        }
        self.items.extend(output.iter().cloned());
        let (status, details) = match said.ending {
            Ending::Limit => ("incomplete", json!({ "type": "incomplete", "reason": "max_output_tokens" })),
            Ending::Blocked => ("incomplete", json!({ "type": "incomplete", "reason": "content_filter" })),
            _ => ("completed", Value::Null),
        };
        shown["status"] = status.into();
        shown["status_details"] = details;
        shown["output"] = output.into();
        shown["usage"] = usage;
        events.push(self.event("response.done", json!({ "response": shown })));
        events
    }

    /// One item of an answer: begun, told, done.
    fn tell(
        &mut self,
        at: &Value,
        item: &Value,
        events: &mut Vec<String>,
        inside: impl FnOnce(&mut Self, &mut Vec<String>),
    ) {
        let mut begun = item.clone();
        begun["status"] = "in_progress".into();
        for (member, empty) in [("content", json!([])), ("arguments", json!(""))] {
            if begun.get(member).is_some() {
                begun[member] = empty;
            }
        }
        let place = |item: &Value| json!({ "response_id": at["response_id"], "output_index": at["output_index"], "item": item });
        events.push(self.event("response.output_item.added", place(&begun)));
        inside(self, events);
        events.push(self.event("response.output_item.done", place(item)));
    }

    fn tell_text(&mut self, at: &Value, said: &Speech, events: &mut Vec<String>) {
        let with = |member: &str, value: Value| {
            let mut out = at.clone();
            out["content_index"] = 0.into();
            out[member] = value;
            out
        };
        let part = |text: &str| json!({ "type": "text", "text": text });
        events.push(self.event("response.content_part.added", with("part", part(""))));
        for piece in &said.text {
            events.push(self.event("response.output_text.delta", with("delta", json!(piece))));
        }
        let whole = said.text.concat();
        events.push(self.event("response.output_text.done", with("text", json!(whole))));
        events.push(self.event("response.content_part.done", with("part", part(&whole))));
    }

    fn tell_call(&mut self, at: &Value, call_id: &Value, call: &SpokenCall, events: &mut Vec<String>) {
        let with = |member: &str, value: Value| {
            let mut out = at.clone();
            out["call_id"] = call_id.clone();
            out[member] = value;
            out
        };
        for piece in &call.input {
            events.push(self.event("response.function_call_arguments.delta", with("delta", json!(piece))));
        }
        let whole = json!(call.input.concat());
        events.push(self.event("response.function_call_arguments.done", with("arguments", whole)));
    }

    fn complain(&mut self, refusal: &Refusal, event_id: &Value) -> String {
        let error = json!({ "type": refusal.kind, "code": refusal.code, "message": refusal.message,
            "param": refusal.param, "event_id": event_id });
        self.event("error", json!({ "error": error }))
    }

    /// The event that breaks a conversation.
    pub(in crate::simulator) fn breakdown(&mut self) -> String {
        self.complain(&Refusal::for_status(500), &Value::Null)
    }

    fn id(&self, start: &str, salt: u64) -> String {
        let mut id = start.to_owned();
        alphanumeric(mix(self.seed, salt), 21, &mut id);
        id
    }

    fn event(&mut self, name: &str, mut members: Value) -> String {
        self.sent += 1;
        members["type"] = name.into();
        members["event_id"] = format!("event_{:021}", self.sent).into();
        members.to_string()
    }
}

/// An item without what only names it.
fn without_id(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(members) = item.as_object_mut() {
        members.remove("id");
    }
    item
}

/// The text of an item: of its parts, of a call's arguments, or of an output.
fn text_of(item: &Value) -> String {
    let parts = item["content"].as_array().into_iter().flatten();
    let said: String = parts.filter_map(|part| part["text"].as_str().or(part["transcript"].as_str())).collect();
    let more = item["arguments"].as_str().or(item["output"].as_str()).unwrap_or_default();
    format!("{said}{more}")
}
