//! What a request to the Responses API may hold: its reference and the official clients' types (read 2026-11), as tables.

use crate::simulator::shape::{Member, Shape, must, null};

/// `POST /responses`.
pub(super) static RESPONSES: Shape = Shape::Object(&[
    null("model", Shape::Text),
    null("input", Shape::Or(&Shape::Text, &Shape::List(&ITEM))),
    null("instructions", Shape::Text),
    null("stream", Shape::Bool),
    null("stream_options", Shape::Object(&[null("include_obfuscation", Shape::Bool)])),
    null("max_output_tokens", Shape::Integer(16, u32::MAX as i64)),
    null("max_tool_calls", Shape::Integer(1, u32::MAX as i64)),
    null("temperature", Shape::Number(0.0, 2.0)),
    null("top_p", Shape::Number(0.0, 1.0)),
    null("top_logprobs", Shape::Integer(0, 20)),
    null("tools", Shape::List(&TOOL)),
    null("tool_choice", Shape::Or(&Shape::OneOf(&["none", "auto", "required"]), &CHOICE)),
    null("parallel_tool_calls", Shape::Bool),
    null("text", Shape::Object(&[null("format", FORMAT), null("verbosity", Shape::OneOf(&["low", "medium", "high"]))])),
    null(
        "reasoning",
        Shape::Object(&[
            null("effort", Shape::OneOf(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])),
            null("summary", Shape::OneOf(&["auto", "concise", "detailed"])),
            null("generate_summary", Shape::OneOf(&["auto", "concise", "detailed"])),
            null("context", Shape::OneOf(&["auto", "current_turn", "all_turns"])),
        ]),
    ),
    null(
        "include",
        Shape::List(&Shape::OneOf(&[
            "file_search_call.results",
            "web_search_call.results",
            "web_search_call.action.sources",
            "message.input_image.image_url",
            "computer_call_output.output.image_url",
            "code_interpreter_call.outputs",
            "reasoning.encrypted_content",
            "message.output_text.logprobs",
        ])),
    ),
    null("store", Shape::Bool),
    null("previous_response_id", Shape::Text),
    null("conversation", Shape::Or(&Shape::Text, &Shape::Object(&[must("id", Shape::Text)]))),
    null("prompt", Shape::Free),
    null("background", Shape::Bool),
    null("context_management", Shape::List(&Shape::Free)),
    null("truncation", Shape::OneOf(&["auto", "disabled"])),
    null("metadata", Shape::Each(&Shape::Text)),
    null("client_metadata", Shape::Each(&Shape::Text)),
    null("moderation", Shape::Free),
    null("prompt_cache_key", Shape::Text),
    null("prompt_cache_options", Shape::Free),
    null("prompt_cache_retention", Shape::Text),
    null("safety_identifier", Shape::Text),
    null("service_tier", Shape::OneOf(&["auto", "default", "flex", "scale", "priority", "fast"])),
    null("user", Shape::Text),
]);

const STATUS: Member = null("status", Shape::OneOf(&["in_progress", "completed", "incomplete"]));
const ID: Member = null("id", Shape::Text);

/// Items of the provider's own tools: whatever it once said may come back.
const OWN: [Member; 12] = [
    null("id", Shape::Text),
    STATUS,
    null("call_id", Shape::Text),
    null("action", Shape::Any),
    null("output", Shape::Any),
    null("result", Shape::Any),
    null("results", Shape::Any),
    null("queries", Shape::Any),
    null("code", Shape::Any),
    null("outputs", Shape::Any),
    null("container_id", Shape::Text),
    null("pending_safety_checks", Shape::Any),
];

static ITEM: Shape = Shape::Tagged(
    "type",
    &[
        (
            "message",
            &[
                ID,
                STATUS,
                must("role", Shape::OneOf(&["assistant", "system", "developer", "user"])),
                must("content", Shape::Or(&Shape::Text, &Shape::List(&PART))),
                null("phase", Shape::OneOf(&["commentary", "final_answer"])),
            ],
        ),
        (
            "function_call",
            &[
                ID,
                STATUS,
                must("call_id", Shape::Text),
                must("name", Shape::Text),
                must("arguments", Shape::Text),
                null("namespace", Shape::Text),
            ],
        ),
        (
            "function_call_output",
            &[ID, STATUS, must("call_id", Shape::Text), must("output", Shape::Or(&Shape::Text, &Shape::List(&PART)))],
        ),
        (
            "custom_tool_call",
            &[ID, STATUS, must("call_id", Shape::Text), must("name", Shape::Text), must("input", Shape::Text)],
        ),
        (
            "custom_tool_call_output",
            &[ID, STATUS, must("call_id", Shape::Text), must("output", Shape::Or(&Shape::Text, &Shape::List(&PART)))],
        ),
        (
            "reasoning",
            &[
                ID,
                STATUS,
                must("summary", Shape::List(&SUMMARY)),
                null("content", Shape::List(&Shape::Free)),
                null("encrypted_content", Shape::Text),
            ],
        ),
        ("item_reference", &[must("id", Shape::Text)]),
        ("web_search_call", &OWN),
        ("file_search_call", &OWN),
        ("computer_call", &OWN),
        ("computer_call_output", &OWN),
        ("image_generation_call", &OWN),
        ("code_interpreter_call", &OWN),
        ("local_shell_call", &OWN),
        ("local_shell_call_output", &OWN),
        ("shell_call", &OWN),
        ("shell_call_output", &OWN),
        ("apply_patch_call", &OWN),
        ("apply_patch_call_output", &OWN),
        ("additional_tools", &[ID, null("role", Shape::Text), must("tools", Shape::List(&Shape::Free))]),
    ],
);

static SUMMARY: Shape = Shape::Tagged("type", &[("summary_text", &[must("text", Shape::Text)])]);

static PART: Shape = Shape::Tagged(
    "type",
    &[
        ("input_text", &[must("text", Shape::Text), null("prompt_cache_breakpoint", Shape::Free)]),
        (
            "input_image",
            &[
                null("image_url", Shape::Text),
                null("file_id", Shape::Text),
                null("detail", Shape::OneOf(&["low", "high", "auto", "original"])),
                null("prompt_cache_breakpoint", Shape::Free),
            ],
        ),
        (
            "input_file",
            &[
                null("file_id", Shape::Text),
                null("filename", Shape::Text),
                null("file_data", Shape::Text),
                null("file_url", Shape::Text),
                null("detail", Shape::OneOf(&["low", "high", "auto"])),
                null("prompt_cache_breakpoint", Shape::Free),
            ],
        ),
        (
            "output_text",
            &[
                must("text", Shape::Text),
                null("annotations", Shape::List(&Shape::Free)),
                null("logprobs", Shape::List(&Shape::Free)),
            ],
        ),
        ("refusal", &[must("refusal", Shape::Text)]),
    ],
);

/// A tool of the provider's own, whose settings are its business.
const OWN_TOOL: [Member; 10] = [
    null("search_context_size", Shape::Text),
    null("user_location", Shape::Free),
    null("filters", Shape::Free),
    null("vector_store_ids", Shape::List(&Shape::Text)),
    null("max_num_results", Shape::Integer(1, 50)),
    null("ranking_options", Shape::Free),
    null("container", Shape::Any),
    null("environment", Shape::Any),
    null("display_width", Shape::Integer(1, 100_000)),
    null("display_height", Shape::Integer(1, 100_000)),
];

static TOOL: Shape = Shape::Tagged(
    "type",
    &[
        (
            "function",
            &[
                must("name", Shape::Text),
                null("description", Shape::Text),
                null("parameters", Shape::Free),
                null("strict", Shape::Bool),
                null("defer_loading", Shape::Bool),
            ],
        ),
        (
            "custom",
            &[
                must("name", Shape::Text),
                null("description", Shape::Text),
                null("format", Shape::Free),
                null("defer_loading", Shape::Bool),
            ],
        ),
        ("web_search", &OWN_TOOL),
        ("web_search_preview", &OWN_TOOL),
        ("file_search", &OWN_TOOL),
        ("computer", &OWN_TOOL),
        ("code_interpreter", &OWN_TOOL),
        ("image_generation", &OWN_TOOL),
        ("local_shell", &OWN_TOOL),
        ("shell", &OWN_TOOL),
        ("apply_patch", &OWN_TOOL),
        ("tool_search", &OWN_TOOL),
        (
            "mcp",
            &[
                must("server_label", Shape::Text),
                null("server_url", Shape::Text),
                null("server_description", Shape::Text),
                null("connector_id", Shape::Text),
                null("authorization", Shape::Text),
                null("headers", Shape::Free),
                null("allowed_tools", Shape::Any),
                null("require_approval", Shape::Any),
            ],
        ),
    ],
);

static CHOICE: Shape = Shape::Tagged(
    "type",
    &[
        ("function", &[must("name", Shape::Text)]),
        ("custom", &[must("name", Shape::Text)]),
        (
            "allowed_tools",
            &[must("mode", Shape::OneOf(&["auto", "required"])), must("tools", Shape::List(&Shape::Free))],
        ),
        ("mcp", &[must("server_label", Shape::Text), null("name", Shape::Text)]),
        ("web_search", &[]),
        ("file_search", &[]),
        ("code_interpreter", &[]),
        ("image_generation", &[]),
        ("shell", &[]),
        ("apply_patch", &[]),
    ],
);

const FORMAT: Shape = Shape::Tagged(
    "type",
    &[
        ("text", &[]),
        ("json_object", &[]),
        (
            "json_schema",
            &[
                must("name", Shape::Text),
                must("schema", Shape::Free),
                null("description", Shape::Text),
                null("strict", Shape::Bool),
            ],
        ),
    ],
);
