//! What a Gemini request may hold: the API reference and the official client's types (read 2026-11), as tables.
//!
//! Names are in camel case; a sender may spell any of them in snake case. Null means unset, as protobuf's JSON has it.

use crate::simulator::shape::{Member, Shape, null};

/// `:generateContent` and `:streamGenerateContent`.
pub(super) static GENERATE: Shape = Shape::Object(&GENERATE_MEMBERS);

static GENERATE_MEMBERS: [Member; 11] = [
    null("contents", Shape::List(&CONTENT)),
    null("systemInstruction", Shape::See(&CONTENT)),
    null("tools", Shape::List(&TOOL)),
    null("toolConfig", TOOL_CONFIG),
    null("generationConfig", Shape::See(&GENERATION_CONFIG)),
    null("safetySettings", Shape::List(&SAFETY)),
    null("cachedContent", Shape::Text),
    null("labels", Shape::Each(&Shape::Text)),
    null("serviceTier", Shape::Text),
    null("store", Shape::Bool),
    null("model", Shape::Text),
];

/// `:countTokens`.
pub(super) static COUNT: Shape = Shape::Object(&[
    null("contents", Shape::List(&CONTENT)),
    null("generateContentRequest", Shape::See(&GENERATE)),
    null("model", Shape::Text),
]);

/// `:embedContent`.
pub(super) static EMBED: Shape = Shape::Object(&[
    null("model", Shape::Text),
    null("content", Shape::See(&CONTENT)),
    null("taskType", Shape::OneOf(&TASKS)),
    null("title", Shape::Text),
    null("outputDimensionality", Shape::Integer(1, 3072)),
    null("embedContentConfig", Shape::Free),
]);

/// `:batchEmbedContents`.
pub(super) static EMBED_BATCH: Shape = Shape::Object(&[null("requests", Shape::List(&EMBED))]);

const TASKS: [&str; 9] = [
    "TASK_TYPE_UNSPECIFIED",
    "RETRIEVAL_QUERY",
    "RETRIEVAL_DOCUMENT",
    "SEMANTIC_SIMILARITY",
    "CLASSIFICATION",
    "CLUSTERING",
    "QUESTION_ANSWERING",
    "FACT_VERIFICATION",
    "CODE_RETRIEVAL_QUERY",
];

static CONTENT: Shape = Shape::Object(&[null("role", Shape::Text), null("parts", Shape::List(&PART))]);

/// Members of a part that say something; a part has exactly one of them.
pub(super) const PART_DATA: [&str; 9] = [
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
];

static PART: Shape = Shape::Object(&[
    null("text", Shape::Text),
    null("inlineData", BLOB),
    null("fileData", FILE),
    null(
        "functionCall",
        Shape::Object(&[null("id", Shape::Text), null("name", Shape::Text), null("args", Shape::Free)]),
    ),
    null(
        "functionResponse",
        Shape::Object(&[
            null("id", Shape::Text),
            null("name", Shape::Text),
            null("response", Shape::Free),
            null("parts", Shape::List(&RESPONSE_PART)),
            null("willContinue", Shape::Bool),
            null("scheduling", Shape::OneOf(&["SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT"])),
        ]),
    ),
    null(
        "executableCode",
        Shape::Object(&[null("id", Shape::Text), null("language", Shape::Text), null("code", Shape::Text)]),
    ),
    null(
        "codeExecutionResult",
        Shape::Object(&[null("id", Shape::Text), null("outcome", Shape::Text), null("output", Shape::Text)]),
    ),
    null("toolCall", Shape::Free),
    null("toolResponse", Shape::Free),
    null("thought", Shape::Bool),
    null("thoughtSignature", Shape::Text),
    null("videoMetadata", Shape::Free),
    null("mediaResolution", Shape::Free),
    null("partMetadata", Shape::Free),
]);

const BLOB: Shape =
    Shape::Object(&[null("mimeType", Shape::Text), null("data", Shape::Text), null("displayName", Shape::Text)]);
const FILE: Shape =
    Shape::Object(&[null("mimeType", Shape::Text), null("fileUri", Shape::Text), null("displayName", Shape::Text)]);
static RESPONSE_PART: Shape = Shape::Object(&[null("inlineData", BLOB), null("fileData", FILE)]);

static TOOL: Shape = Shape::Object(&[
    null("functionDeclarations", Shape::List(&FUNCTION)),
    null("googleSearch", Shape::Free),
    null("googleSearchRetrieval", Shape::Free),
    null("googleMaps", Shape::Free),
    null("codeExecution", Shape::Free),
    null("urlContext", Shape::Free),
    null("fileSearch", Shape::Free),
    null("computerUse", Shape::Free),
    null("mcpServers", Shape::List(&Shape::Free)),
]);

static FUNCTION: Shape = Shape::Object(&[
    null("name", Shape::Text),
    null("description", Shape::Text),
    null("behavior", Shape::OneOf(&["UNSPECIFIED", "BLOCKING", "NON_BLOCKING"])),
    null("parameters", Shape::See(&SCHEMA)),
    null("parametersJsonSchema", Shape::Any),
    null("response", Shape::See(&SCHEMA)),
    null("responseJsonSchema", Shape::Any),
]);

const TOOL_CONFIG: Shape = Shape::Object(&[
    null(
        "functionCallingConfig",
        Shape::Object(&[
            null("mode", Shape::OneOf(&["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"])),
            null("allowedFunctionNames", Shape::List(&Shape::Text)),
            null("streamFunctionCallArguments", Shape::Bool),
        ]),
    ),
    null("retrievalConfig", Shape::Free),
    null("includeServerSideToolInvocations", Shape::Bool),
]);

static GENERATION_CONFIG: Shape = Shape::Object(&[
    null("temperature", Shape::Number(0.0, 2.0)),
    null("topP", Shape::Number(0.0, 1.0)),
    null("topK", Shape::Number(1.0, 1000.0)),
    null("candidateCount", Shape::Integer(1, 8)),
    null("maxOutputTokens", Shape::Integer(1, i32::MAX as i64)),
    null("stopSequences", Shape::List(&Shape::Text)),
    null("presencePenalty", Shape::Number(-2.0, 2.0)),
    null("frequencyPenalty", Shape::Number(-2.0, 2.0)),
    null("seed", Shape::Integer(i32::MIN as i64, i32::MAX as i64)),
    null("responseMimeType", Shape::Text),
    null("responseSchema", Shape::See(&SCHEMA)),
    null("responseJsonSchema", Shape::Any),
    null("responseLogprobs", Shape::Bool),
    null("logprobs", Shape::Integer(0, 20)),
    null("enableEnhancedCivicAnswers", Shape::Bool),
    null("responseModalities", Shape::List(&Shape::OneOf(&["MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO"]))),
    null("mediaResolution", Shape::Text),
    null("speechConfig", Shape::Free),
    null("imageConfig", Shape::Free),
    null(
        "thinkingConfig",
        Shape::Object(&[
            null("includeThoughts", Shape::Bool),
            null("thinkingBudget", Shape::Integer(-1, 32_768)),
            null(
                "thinkingLevel",
                Shape::OneOf(&[
                    "THINKING_LEVEL_UNSPECIFIED",
                    "MINIMAL",
                    "LOW",
                    "MEDIUM",
                    "HIGH",
                    "XHIGH",
                    "minimal",
                    "low",
                    "medium",
                    "high",
                    "xhigh",
                ]),
            ),
        ]),
    ),
]);

static SAFETY: Shape = Shape::Object(&[
    null(
        "category",
        Shape::OneOf(&[
            "HARM_CATEGORY_HARASSMENT",
            "HARM_CATEGORY_HATE_SPEECH",
            "HARM_CATEGORY_SEXUALLY_EXPLICIT",
            "HARM_CATEGORY_DANGEROUS_CONTENT",
            "HARM_CATEGORY_CIVIC_INTEGRITY",
        ]),
    ),
    null(
        "threshold",
        Shape::OneOf(&[
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
            "BLOCK_LOW_AND_ABOVE",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_NONE",
            "OFF",
        ]),
    ),
]);

/// The subset of OpenAPI's schemas that `parameters` and `responseSchema` take; whole JSON Schemas have their own members.
static SCHEMA: Shape = Shape::Object(&[
    null(
        "type",
        Shape::OneOf(&[
            "TYPE_UNSPECIFIED",
            "STRING",
            "NUMBER",
            "INTEGER",
            "BOOLEAN",
            "ARRAY",
            "OBJECT",
            "NULL",
            "string",
            "number",
            "integer",
            "boolean",
            "array",
            "object",
            "null",
        ]),
    ),
    null("format", Shape::Text),
    null("title", Shape::Text),
    null("description", Shape::Text),
    null("nullable", Shape::Bool),
    null("enum", Shape::List(&Shape::Text)),
    null("maxItems", COUNTED),
    null("minItems", COUNTED),
    null("properties", Shape::Each(&SCHEMA)),
    null("required", Shape::List(&Shape::Text)),
    null("minProperties", COUNTED),
    null("maxProperties", COUNTED),
    null("minLength", COUNTED),
    null("maxLength", COUNTED),
    null("pattern", Shape::Text),
    null("example", Shape::Any),
    null("anyOf", Shape::List(&SCHEMA)),
    null("propertyOrdering", Shape::List(&Shape::Text)),
    null("default", Shape::Any),
    null("items", Shape::See(&SCHEMA)),
    null("minimum", Shape::Number(f64::MIN, f64::MAX)),
    null("maximum", Shape::Number(f64::MIN, f64::MAX)),
]);

/// A 64-bit count, which protobuf's JSON may write as text.
const COUNTED: Shape = Shape::Or(&Shape::Text, &Shape::Integer(0, i64::MAX));
