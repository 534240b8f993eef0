//! What a Converse request may hold: the Bedrock Runtime API reference (read 2026-11), as tables.

use crate::simulator::shape::{Shape, must, null};

/// `POST /model/{id}/converse` and `/converse-stream`.
pub(super) static CONVERSE: Shape = Shape::Object(&[
    must("messages", Shape::List(&MESSAGE)),
    null("system", Shape::List(&SYSTEM)),
    null(
        "inferenceConfig",
        Shape::Object(&[
            null("maxTokens", Shape::Integer(1, i32::MAX as i64)),
            null("temperature", Shape::Number(0.0, 1.0)),
            null("topP", Shape::Number(0.0, 1.0)),
            null("stopSequences", Shape::List(&Shape::Text)),
        ]),
    ),
    null(
        "toolConfig",
        Shape::Object(&[
            must("tools", Shape::List(&TOOL)),
            null(
                "toolChoice",
                Shape::Object(&[
                    null("auto", Shape::Free),
                    null("any", Shape::Free),
                    null("tool", Shape::Object(&[must("name", Shape::Text)])),
                ]),
            ),
        ]),
    ),
    null("guardrailConfig", Shape::Free),
    null("additionalModelRequestFields", Shape::Free),
    null("additionalModelResponseFieldPaths", Shape::List(&Shape::Text)),
    null("promptVariables", Shape::Free),
    null("requestMetadata", Shape::Each(&Shape::Text)),
    null("performanceConfig", Shape::Object(&[null("latency", Shape::OneOf(&["standard", "optimized"]))])),
    null("serviceTier", Shape::Object(&[must("type", Shape::OneOf(&["priority", "default", "flex", "reserved"]))])),
    null(
        "outputConfig",
        Shape::Object(&[null(
            "textFormat",
            Shape::Object(&[
                must("type", Shape::OneOf(&["json_schema"])),
                must(
                    "structure",
                    Shape::Object(&[must(
                        "jsonSchema",
                        Shape::Object(&[
                            must("schema", Shape::Text),
                            null("name", Shape::Text),
                            null("description", Shape::Text),
                        ]),
                    )]),
                ),
            ]),
        )]),
    ),
]);

static MESSAGE: Shape =
    Shape::Object(&[must("role", Shape::OneOf(&["user", "assistant"])), must("content", Shape::List(&BLOCK))]);

static SYSTEM: Shape =
    Shape::Object(&[null("text", Shape::Text), null("cachePoint", CACHE), null("guardContent", Shape::Free)]);

const CACHE: Shape =
    Shape::Object(&[must("type", Shape::OneOf(&["default"])), null("ttl", Shape::OneOf(&["5m", "1h"]))]);

const SOURCE: Shape = Shape::Object(&[
    null("bytes", Shape::Text),
    null("s3Location", Shape::Free),
    null("text", Shape::Text),
    null("content", Shape::List(&Shape::Free)),
]);

const IMAGE: Shape =
    Shape::Object(&[must("format", Shape::OneOf(&["png", "jpeg", "gif", "webp"])), must("source", SOURCE)]);

const DOCUMENT: Shape = Shape::Object(&[
    null("format", Shape::OneOf(&["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"])),
    must("name", Shape::Text),
    must("source", SOURCE),
    null("context", Shape::Text),
    null("citations", Shape::Free),
]);

/// Members of a block; a block has exactly one of them.
pub(super) const BLOCK_KINDS: [&str; 12] = [
    "text",
    "image",
    "document",
    "video",
    "audio",
    "toolUse",
    "toolResult",
    "guardContent",
    "cachePoint",
    "reasoningContent",
    "citationsContent",
    "searchResult",
];

static BLOCK: Shape = Shape::Object(&[
    null("text", Shape::Text),
    null("image", IMAGE),
    null("document", DOCUMENT),
    null("video", Shape::Free),
    null("audio", Shape::Free),
    null(
        "toolUse",
        Shape::Object(&[
            must("toolUseId", Shape::Text),
            must("name", Shape::Text),
            must("input", Shape::Any),
            null("type", Shape::Text),
        ]),
    ),
    null(
        "toolResult",
        Shape::Object(&[
            must("toolUseId", Shape::Text),
            must("content", Shape::List(&RESULT)),
            null("status", Shape::OneOf(&["success", "error"])),
            null("type", Shape::Text),
        ]),
    ),
    null("guardContent", Shape::Free),
    null("cachePoint", CACHE),
    null(
        "reasoningContent",
        Shape::Object(&[
            null("reasoningText", Shape::Object(&[must("text", Shape::Text), null("signature", Shape::Text)])),
            null("redactedContent", Shape::Text),
        ]),
    ),
    null("citationsContent", Shape::Free),
    null("searchResult", Shape::Free),
]);

static RESULT: Shape = Shape::Object(&[
    null("text", Shape::Text),
    null("json", Shape::Any),
    null("image", IMAGE),
    null("document", DOCUMENT),
    null("video", Shape::Free),
    null("searchResult", Shape::Free),
]);

static TOOL: Shape = Shape::Object(&[
    null(
        "toolSpec",
        Shape::Object(&[
            must("name", Shape::Text),
            null("description", Shape::Ink),
            must("inputSchema", Shape::Object(&[must("json", Shape::Free)])),
            null("strict", Shape::Bool),
        ]),
    ),
    null("cachePoint", CACHE),
    null("systemTool", Shape::Object(&[must("name", Shape::Text)])),
]);

/// What a model of Anthropic takes in `additionalModelRequestFields`.
pub(super) const CLAUDE_FIELDS: [&str; 7] =
    ["thinking", "top_k", "anthropic_beta", "output_config", "tools", "tool_choice", "metadata"];
