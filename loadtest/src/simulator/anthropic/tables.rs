//! What an Anthropic request may hold: the Messages API reference and the official clients' types (read 2026-11), as tables.

use crate::simulator::shape::{Member, Shape, may, must, null};

/// `POST /v1/messages`.
pub(super) static MESSAGES: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("messages", Shape::List(&MESSAGE)),
    must("max_tokens", Shape::Integer(0, u32::MAX as i64)),
    may("system", SYSTEM),
    may("stop_sequences", Shape::List(&Shape::Text)),
    may("stream", Shape::Bool),
    may("temperature", Shape::Number(0.0, 1.0)),
    may("top_p", Shape::Number(0.0, 1.0)),
    may("top_k", Shape::Integer(0, u32::MAX as i64)),
    may("tools", Shape::List(&Shape::Free)),
    may("tool_choice", TOOL_CHOICE),
    may("thinking", THINKING),
    may("output_config", OUTPUT_CONFIG),
    may("metadata", Shape::Object(&[null("user_id", Shape::Text)])),
    may("service_tier", Shape::OneOf(&["auto", "standard_only"])),
    null("speed", Shape::OneOf(&["standard", "fast"])),
    null("inference_geo", Shape::Text),
    null("cache_control", CACHE),
    null("container", Shape::Or(&Shape::Text, &Shape::Free)),
    null("diagnostics", Shape::Free),
]);

/// `POST /v1/messages/count_tokens`.
pub(super) static COUNT: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("messages", Shape::List(&MESSAGE)),
    may("system", SYSTEM),
    may("tools", Shape::List(&Shape::Free)),
    may("tool_choice", TOOL_CHOICE),
    may("thinking", THINKING),
    may("output_config", OUTPUT_CONFIG),
    null("cache_control", CACHE),
]);

/// A tool of the caller's own.
pub(super) static CUSTOM_TOOL: Shape = Shape::Object(&[
    may("type", Shape::OneOf(&["custom"])),
    must("name", Shape::Text),
    may("description", Shape::Text),
    must("input_schema", Shape::Free),
    null("cache_control", CACHE),
    may("strict", Shape::Bool),
    may("defer_loading", Shape::Bool),
    null("eager_input_streaming", Shape::Bool),
    may("input_examples", Shape::List(&Shape::Free)),
    may("allowed_callers", Shape::List(&Shape::Text)),
]);

/// How the types of tools start that the provider runs or defines itself; a date follows.
pub(super) const OWN_TOOLS: [&str; 8] = [
    "web_search_",
    "web_fetch_",
    "bash_",
    "text_editor_",
    "computer_",
    "code_execution_",
    "memory_",
    "tool_search_tool_",
];

static MESSAGE: Shape = Shape::Object(&[
    must("role", Shape::OneOf(&["user", "assistant"])),
    must("content", Shape::Or(&Shape::Text, &Shape::List(&BLOCK))),
]);

const SYSTEM: Shape = Shape::Or(&Shape::Text, &Shape::List(&SYSTEM_BLOCK));
static SYSTEM_BLOCK: Shape = Shape::Tagged("type", &[("text", &TEXT)]);

const CACHE: Shape =
    Shape::Object(&[must("type", Shape::OneOf(&["ephemeral"])), may("ttl", Shape::OneOf(&["5m", "1h"]))]);

const TEXT: [Member; 3] =
    [must("text", Shape::Ink), null("cache_control", CACHE), null("citations", Shape::List(&Shape::Free))];

const IMAGE: [Member; 2] = [
    must(
        "source",
        Shape::Tagged(
            "type",
            &[
                (
                    "base64",
                    &[
                        must("media_type", Shape::OneOf(&["image/jpeg", "image/png", "image/gif", "image/webp"])),
                        must("data", Shape::Text),
                    ],
                ),
                ("url", &[must("url", Shape::Text)]),
                ("file", &[must("file_id", Shape::Text)]),
            ],
        ),
    ),
    null("cache_control", CACHE),
];

static DOCUMENT: [Member; 5] = [
    must(
        "source",
        Shape::Tagged(
            "type",
            &[
                ("base64", &[must("media_type", Shape::OneOf(&["application/pdf"])), must("data", Shape::Text)]),
                ("text", &[must("media_type", Shape::OneOf(&["text/plain"])), must("data", Shape::Text)]),
                ("content", &[must("content", Shape::Or(&Shape::Text, &Shape::List(&RESULT_BLOCK)))]),
                ("url", &[must("url", Shape::Text)]),
                ("file", &[must("file_id", Shape::Text)]),
            ],
        ),
    ),
    null("title", Shape::Text),
    null("context", Shape::Text),
    null("citations", CITATIONS),
    null("cache_control", CACHE),
];

const CITATIONS: Shape = Shape::Object(&[may("enabled", Shape::Bool)]);

const SEARCH_RESULT: [Member; 5] = [
    must("source", Shape::Text),
    must("title", Shape::Text),
    must("content", Shape::List(&SYSTEM_BLOCK)),
    may("citations", CITATIONS),
    null("cache_control", CACHE),
];

/// What the provider's own tools leave in a conversation.
const OWN_RESULT: [Member; 4] = [
    must("tool_use_id", Shape::Text),
    must("content", Shape::Any),
    may("caller", Shape::Free),
    null("cache_control", CACHE),
];

const OWN_USE: [Member; 5] = [
    must("id", Shape::Text),
    must("name", Shape::Text),
    must("input", Shape::Free),
    may("caller", Shape::Free),
    null("cache_control", CACHE),
];

static RESULT_BLOCK: Shape = Shape::Tagged(
    "type",
    &[
        ("text", &TEXT),
        ("image", &IMAGE),
        ("document", &DOCUMENT),
        ("search_result", &SEARCH_RESULT),
        ("tool_reference", &[must("tool_name", Shape::Text), null("cache_control", CACHE)]),
    ],
);

static BLOCK: Shape = Shape::Tagged(
    "type",
    &[
        ("text", &TEXT),
        ("image", &IMAGE),
        ("document", &DOCUMENT),
        ("search_result", &SEARCH_RESULT),
        ("tool_use", &OWN_USE),
        (
            "tool_result",
            &[
                must("tool_use_id", Shape::Text),
                may("content", Shape::Or(&Shape::Text, &Shape::List(&RESULT_BLOCK))),
                may("is_error", Shape::Bool),
                null("cache_control", CACHE),
            ],
        ),
        ("thinking", &[must("thinking", Shape::Text), must("signature", Shape::Text)]),
        ("redacted_thinking", &[must("data", Shape::Text)]),
        ("server_tool_use", &OWN_USE),
        ("web_search_tool_result", &OWN_RESULT),
        ("web_fetch_tool_result", &OWN_RESULT),
        ("code_execution_tool_result", &OWN_RESULT),
        ("bash_code_execution_tool_result", &OWN_RESULT),
        ("text_editor_code_execution_tool_result", &OWN_RESULT),
        ("tool_search_tool_result", &OWN_RESULT),
        ("container_upload", &[must("file_id", Shape::Text), null("cache_control", CACHE)]),
    ],
);

const TOOL_CHOICE: Shape = Shape::Tagged(
    "type",
    &[
        ("auto", &[may("disable_parallel_tool_use", Shape::Bool)]),
        ("any", &[may("disable_parallel_tool_use", Shape::Bool)]),
        ("tool", &[must("name", Shape::Text), may("disable_parallel_tool_use", Shape::Bool)]),
        ("none", &[]),
    ],
);

const DISPLAY: Member = null("display", Shape::OneOf(&["summarized", "omitted"]));

const THINKING: Shape = Shape::Tagged(
    "type",
    &[
        ("enabled", &[must("budget_tokens", Shape::Integer(1024, u32::MAX as i64)), DISPLAY]),
        ("adaptive", &[DISPLAY]),
        ("between_tools", &[DISPLAY]),
        ("disabled", &[]),
    ],
);

const OUTPUT_CONFIG: Shape = Shape::Object(&[
    null("effort", Shape::OneOf(&["low", "medium", "high", "xhigh", "max"])),
    null("format", Shape::Tagged("type", &[("json_schema", &[must("schema", Shape::Free)])])),
]);
