//! What a Cohere request may hold: its API reference, version 2, and the official client's types (read 2026-11), as tables.

use crate::simulator::shape::{Member, Shape, must, null};

/// `POST /v2/chat`.
pub(super) static CHAT: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("messages", Shape::List(&MESSAGE)),
    null("stream", Shape::Bool),
    null("tools", Shape::List(&TOOL)),
    null("strict_tools", Shape::Bool),
    null("tool_choice", Shape::OneOf(&["REQUIRED", "NONE"])),
    null("documents", Shape::List(&Shape::Or(&Shape::Text, &Shape::Free))),
    null(
        "citation_options",
        Shape::Object(&[null("mode", Shape::OneOf(&["FAST", "ACCURATE", "OFF", "ENABLED", "DISABLED"]))]),
    ),
    null(
        "response_format",
        Shape::Tagged(
            "type",
            &[("text", &[]), ("json_object", &[null("json_schema", Shape::Free), null("schema", Shape::Free)])],
        ),
    ),
    null("safety_mode", Shape::OneOf(&["CONTEXTUAL", "STRICT", "OFF"])),
    null("max_tokens", Shape::Integer(1, u32::MAX as i64)),
    null("stop_sequences", Shape::List(&Shape::Text)),
    null("temperature", Shape::Number(0.0, 1.0)),
    null("seed", Shape::Integer(0, i64::MAX)),
    null("frequency_penalty", Shape::Number(0.0, 1.0)),
    null("presence_penalty", Shape::Number(0.0, 1.0)),
    null("k", Shape::Integer(0, 500)),
    null("p", Shape::Number(0.01, 0.99)),
    null("logprobs", Shape::Bool),
    null(
        "thinking",
        Shape::Object(&[
            must("type", Shape::OneOf(&["enabled", "disabled"])),
            null("token_budget", Shape::Integer(1, u32::MAX as i64)),
        ]),
    ),
    null("priority", Shape::Integer(0, 999)),
]);

const CALLS: Member = null(
    "tool_calls",
    Shape::List(&Shape::Object(&[
        must("id", Shape::Text),
        must("type", Shape::OneOf(&["function"])),
        must("function", Shape::Object(&[must("name", Shape::Text), must("arguments", Shape::Text)])),
    ])),
);

static MESSAGE: Shape = Shape::Tagged(
    "role",
    &[
        ("system", &[must("content", Shape::Or(&Shape::Text, &Shape::List(&TEXT_PART)))]),
        ("user", &[must("content", Shape::Or(&Shape::Text, &Shape::List(&USER_PART)))]),
        (
            "assistant",
            &[
                null("content", Shape::Or(&Shape::Text, &Shape::List(&ASSISTANT_PART))),
                CALLS,
                null("tool_plan", Shape::Text),
                null("citations", Shape::List(&Shape::Free)),
            ],
        ),
        (
            "tool",
            &[must("tool_call_id", Shape::Text), must("content", Shape::Or(&Shape::Text, &Shape::List(&TOOL_PART)))],
        ),
    ],
);

const TEXT: [Member; 1] = [must("text", Shape::Text)];
static TEXT_PART: Shape = Shape::Tagged("type", &[("text", &TEXT)]);
static USER_PART: Shape = Shape::Tagged(
    "type",
    &[
        ("text", &TEXT),
        (
            "image_url",
            &[must(
                "image_url",
                Shape::Object(&[must("url", Shape::Text), null("detail", Shape::OneOf(&["auto", "low", "high"]))]),
            )],
        ),
    ],
);
static ASSISTANT_PART: Shape =
    Shape::Tagged("type", &[("text", &TEXT), ("thinking", &[must("thinking", Shape::Text)])]);
static TOOL_PART: Shape = Shape::Tagged("type", &[("text", &TEXT), ("document", &[must("document", Shape::Free)])]);

static TOOL: Shape = Shape::Object(&[
    must("type", Shape::OneOf(&["function"])),
    must(
        "function",
        Shape::Object(&[must("name", Shape::Text), null("description", Shape::Text), must("parameters", Shape::Free)]),
    ),
]);

/// `POST /v2/embed`.
pub(super) static EMBED: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("input_type", Shape::OneOf(&["search_document", "search_query", "classification", "clustering", "image"])),
    null("texts", Shape::List(&Shape::Text)),
    null("images", Shape::List(&Shape::Text)),
    null("inputs", Shape::List(&Shape::Object(&[must("content", Shape::List(&USER_PART))]))),
    null("embedding_types", Shape::List(&Shape::OneOf(&["float", "int8", "uint8", "binary", "ubinary", "base64"]))),
    null("output_dimension", Shape::Integer(1, 1536)),
    null("max_tokens", Shape::Integer(1, 128_000)),
    null("truncate", Shape::OneOf(&["NONE", "START", "END"])),
    null("priority", Shape::Integer(0, 999)),
]);

/// `POST /v2/rerank`.
pub(super) static RERANK: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("query", Shape::Ink),
    must("documents", Shape::List(&Shape::Text)),
    null("top_n", Shape::Integer(1, i64::MAX)),
    null("max_tokens_per_doc", Shape::Integer(1, 128_000)),
    null("priority", Shape::Integer(0, 999)),
]);
