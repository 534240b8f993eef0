//! What is inside the fields of a chat request: parts of messages, calls, tools, formats, each member known and of its type.
//!
//! Source: OpenAI API reference, chat completions, and the official clients' types (read 2026-11). It looks where the first
//! checks have found nothing wrong.

use super::breach::refusal;
use super::chat::Body;
use super::refusal::Refusal;
use crate::simulator::shape::{Member, Shape, Spelling, Step, must, null};
use serde_json::Value;

/// Checks the inside of every field.
///
/// # Errors
/// The 400 that OpenAI would send.
pub(super) fn check(body: &Body) -> Result<(), Refusal> {
    for (name, table) in TABLES {
        let Some(value) = body.field(name) else { continue };
        table.fit(value, Spelling::Exact).map_err(|mut found| {
            found.path.insert(0, Step::Member(name.into()));
            refusal(&found)
        })?;
    }
    let messages = body.field("messages").and_then(Value::as_array);
    messages.into_iter().flatten().enumerate().try_for_each(|(position, message)| check_parts(position, message))
}

/// Only users show pictures, sounds and files, and only the assistant refuses.
fn check_parts(position: usize, message: &Value) -> Result<(), Refusal> {
    let role = message["role"].as_str().unwrap_or_default();
    for (at, part) in message["content"].as_array().into_iter().flatten().enumerate() {
        let kind = part["type"].as_str().unwrap_or_default();
        let fits = match kind {
            "text" => true,
            "refusal" => role == "assistant",
            _ => role == "user",
        };
        if fits {
            continue;
        }
        let param = format!("messages[{position}].content[{at}].type");
        let message = match kind {
            "image_url" => format!(
                "Invalid 'messages[{position}]'. Image URLs are only allowed for messages with role 'user', but this \
                 message with role '{role}' contains an image URL."
            ),
            _ => format!("Invalid value: '{kind}'. It is not allowed in a message with role '{role}'."),
        };
        return Err(Refusal::wrong_value(&param, message));
    }
    Ok(())
}

const TABLES: [(&str, &Shape); 7] = [
    ("messages", &Shape::List(&MESSAGE)),
    ("tools", &Shape::List(&TOOL)),
    ("tool_choice", &CHOICE),
    ("response_format", &FORMAT),
    ("stream_options", &Shape::Object(&[null("include_usage", Shape::Bool), null("include_obfuscation", Shape::Bool)])),
    ("metadata", &Shape::Each(&Shape::Text)),
    ("modalities", &Shape::List(&Shape::OneOf(&["text", "audio"]))),
];

const FUNCTION_CALL: Shape = Shape::Object(&[must("name", Shape::Text), must("arguments", Shape::Text)]);

static MESSAGE: Shape = Shape::Object(&[
    must("role", Shape::Text),
    null("content", Shape::Or(&Shape::Text, &Shape::List(&PART))),
    null("name", Shape::Text),
    null("tool_calls", Shape::List(&CALL)),
    null("tool_call_id", Shape::Text),
    null("refusal", Shape::Text),
    null("audio", Shape::Object(&[must("id", Shape::Text)])),
    null("function_call", FUNCTION_CALL),
    null("annotations", Shape::List(&Shape::Free)),
]);

const BREAKPOINT: Member = null(
    "prompt_cache_breakpoint",
    Shape::Object(&[must("mode", Shape::OneOf(&["explicit"])), null("ttl", Shape::OneOf(&["30m", "12h"]))]),
);

static PART: Shape = Shape::Tagged(
    "type",
    &[
        ("text", &[must("text", Shape::Text), BREAKPOINT]),
        (
            "image_url",
            &[
                must(
                    "image_url",
                    Shape::Object(&[
                        must("url", Shape::Text),
                        null("detail", Shape::OneOf(&["auto", "low", "high", "original"])),
                    ]),
                ),
                BREAKPOINT,
            ],
        ),
        (
            "input_audio",
            &[
                must(
                    "input_audio",
                    Shape::Object(&[must("data", Shape::Text), must("format", Shape::OneOf(&["wav", "mp3"]))]),
                ),
                BREAKPOINT,
            ],
        ),
        (
            "file",
            &[
                must(
                    "file",
                    Shape::Object(&[
                        null("file_data", Shape::Text),
                        null("file_id", Shape::Text),
                        null("filename", Shape::Text),
                    ]),
                ),
                BREAKPOINT,
            ],
        ),
        ("refusal", &[must("refusal", Shape::Text)]),
    ],
);

static CALL: Shape = Shape::Tagged(
    "type",
    &[
        ("function", &[must("id", Shape::Text), must("function", FUNCTION_CALL)]),
        (
            "custom",
            &[
                must("id", Shape::Text),
                must("custom", Shape::Object(&[must("name", Shape::Text), must("input", Shape::Text)])),
            ],
        ),
    ],
);

static TOOL: Shape = Shape::Tagged(
    "type",
    &[
        (
            "function",
            &[must(
                "function",
                Shape::Object(&[
                    must("name", Shape::Text),
                    null("description", Shape::Text),
                    null("parameters", Shape::Free),
                    null("strict", Shape::Bool),
                ]),
            )],
        ),
        (
            "custom",
            &[must(
                "custom",
                Shape::Object(&[
                    must("name", Shape::Text),
                    null("description", Shape::Text),
                    null("format", Shape::Free),
                ]),
            )],
        ),
    ],
);

const NAME: Shape = Shape::Object(&[must("name", Shape::Text)]);

static CHOICE: Shape = Shape::Or(
    &Shape::Text,
    &Shape::Tagged(
        "type",
        &[
            ("function", &[must("function", NAME)]),
            ("custom", &[must("custom", NAME)]),
            (
                "allowed_tools",
                &[must(
                    "allowed_tools",
                    Shape::Object(&[
                        must("mode", Shape::OneOf(&["auto", "required"])),
                        must("tools", Shape::List(&Shape::Free)),
                    ]),
                )],
            ),
        ],
    ),
);

static FORMAT: Shape = Shape::Tagged(
    "type",
    &[
        ("text", &[]),
        ("json_object", &[]),
        (
            "json_schema",
            &[must(
                "json_schema",
                Shape::Object(&[
                    must("name", Shape::Text),
                    null("description", Shape::Text),
                    null("schema", Shape::Free),
                    null("strict", Shape::Bool),
                ]),
            )],
        ),
    ],
);
