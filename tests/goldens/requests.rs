//! Rich requests of each client format, by what is in them: what the crossing of all formats sends everywhere.
//!
//! Each says the same thing in its own format as the case of the same name in the others, as far as the format can.

use igris::chat::carry;
use igris::chat::request::Maker;
use igris::dialects::Wire;
use serde_json::{Value, json};

/// A picture of one pixel.
pub const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// A document, as far as its first bytes tell.
pub const DOCUMENT: &str = "JVBERi0xLjQKJSVFT0YK";
/// What a maker's seal may look like: base64, so that every format takes it.
pub const SEAL: &str = "RXVZQkNrWUlDaEFCR0FJcVFN";

/// A case: what is in it, who says it, and the body.
pub type Case = (&'static str, Wire, Value);

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": { "city": { "type": "string", "description": "A city" }, "days": { "type": "integer" } },
        "required": ["city", "days"],
        "additionalProperties": false,
    })
}

/// Every case of every client format.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add =
        |wire, list: Vec<(&'static str, Value)>| cases.extend(list.into_iter().map(|(name, body)| (name, wire, body)));
    add(Wire::Chat, chat());
    add(Wire::Responses, responses());
    add(Wire::Messages, messages());
    add(Wire::Gemini, gemini());
    cases
}

/// A body with further members.
fn with(mut body: Value, members: Value) -> Value {
    let (Value::Object(own), Value::Object(more)) = (&mut body, members) else { panic!("both are objects") };
    own.extend(more);
    body
}

/// A tool loop of a Chat client whose call has this id.
pub fn chat_with_carried(id: &str) -> Value {
    json!({ "model": "m",
        "messages": [
            { "role": "user", "content": "How is Köln?" },
            { "role": "assistant", "content": null, "tool_calls": [{ "id": id, "type": "function",
                "function": { "name": "weather", "arguments": r#"{"city":"Köln","days":2}"# } }] },
            { "role": "tool", "tool_call_id": id, "content": "fine" },
        ],
        "tools": [{ "type": "function", "function": { "name": "weather", "parameters": schema() } }] })
}

fn chat() -> Vec<(&'static str, Value)> {
    let of = |messages: Value| json!({ "model": "m", "messages": messages });
    let call = |id: &str, name: &str, input: &str| {
        json!({ "id": id, "type": "function", "function": { "name": name,
        "arguments": input } })
    };
    let tool = |name: &str| {
        json!({ "type": "function", "function": { "name": name, "description": "A tool",
        "parameters": schema() } })
    };
    let tools = json!([tool("weather"), tool("traffic")]);
    let user = json!({ "role": "user", "content": "How is Köln?" });
    let two_calls = json!([
        { "role": "system", "content": "Be brief." }, user,
        { "role": "assistant", "content": "I look.", "tool_calls": [
            call("call_a", "weather", r#"{"city":"Köln","days":2}"#), call("call_b", "traffic",
                r#"{"city":"Köln","days":1}"#)] },
        { "role": "tool", "tool_call_id": "call_a", "content": "21.50 degrees" },
        { "role": "tool", "tool_call_id": "call_b", "content": [{ "type": "text", "text": "no jam" }] },
        { "role": "user", "content": "And tomorrow?" },
    ]);
    vec![
        (
            "text",
            of(json!([{ "role": "system", "content": "Be brief." }, { "role": "developer", "content": "Be kind." },
            user, { "role": "assistant", "content": "Fine." }, { "role": "user",
                "content": "\"Why?\"\n\u{1F600}\u{7f}" }])),
        ),
        (
            "picture",
            of(json!([{ "role": "user", "content": [
            { "type": "text", "text": "What is it?" },
            { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{PICTURE}"),
                "detail": "low" } }] }])),
        ),
        (
            "picture elsewhere",
            of(json!([{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "https://pictures.example/a.png" } }, { "type": "text",
                "text": "What is it?" }] }])),
        ),
        (
            "document",
            of(json!([{ "role": "user", "content": [
            { "type": "file", "file": { "filename": "a.pdf",
                "file_data": format!("data:application/pdf;base64,{DOCUMENT}") } },
            { "type": "text", "text": "Sum it up." }] }])),
        ),
        (
            "tools",
            with(of(json!([user])), json!({ "tools": tools, "tool_choice": "auto", "parallel_tool_calls": true })),
        ),
        (
            "forced tool",
            with(
                of(json!([user])),
                json!({ "tools": tools,
            "tool_choice": { "type": "function", "function": { "name": "traffic" } }, "parallel_tool_calls": false }),
            ),
        ),
        ("any tool", with(of(json!([user])), json!({ "tools": tools, "tool_choice": "required" }))),
        ("no tool", with(of(json!([user])), json!({ "tools": tools, "tool_choice": "none" }))),
        ("calls and results", with(of(two_calls), json!({ "tools": tools }))),
        (
            "sealed thinking",
            chat_with_carried(&carry::pack("call_c", &super::crossing::sealed_thinking(Maker::Anthropic))),
        ),
        (
            "schema",
            with(
                of(json!([user])),
                json!({ "response_format": { "type": "json_schema",
            "json_schema": { "name": "trip", "strict": true, "schema": schema() } } }),
            ),
        ),
        ("object", with(of(json!([user])), json!({ "response_format": { "type": "json_object" } }))),
        (
            "drawing and bounds",
            with(
                of(json!([user])),
                json!({ "temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 2000,
            "stop": ["END", "STOP"], "seed": 7, "user": "u-1", "presence_penalty": 0.1 }),
            ),
        ),
        ("reasoning", with(of(json!([user])), json!({ "reasoning_effort": "high", "max_completion_tokens": 9000 }))),
        (
            "several",
            with(
                of(json!([user])),
                json!({ "n": 2, "logprobs": true, "top_logprobs": 3, "logit_bias": { "50256": -100 } }),
            ),
        ),
        (
            "sound",
            with(
                of(json!([{ "role": "user", "content": [
            { "type": "input_audio", "input_audio": { "data": "UklGRg==", "format": "wav" } }] }])),
                json!({ "modalities": ["text", "audio"], "audio": { "voice": "alloy", "format": "wav" } }),
            ),
        ),
        (
            "free text tool",
            with(of(json!([user])), json!({ "tools": [{ "type": "custom", "custom": { "name": "code" } }] })),
        ),
        (
            "cache marks",
            of(json!([{ "role": "system", "content": [
            { "type": "text", "text": "Long.", "cache_control": { "type": "ephemeral" } }] }, user])),
        ),
    ]
}

fn responses() -> Vec<(&'static str, Value)> {
    let of = |input: Value| json!({ "model": "m", "store": false, "instructions": "Be brief.", "input": input });
    let tool = |name: &str| {
        json!({ "type": "function", "name": name, "description": "A tool", "parameters": schema(),
        "strict": false })
    };
    let tools = json!([tool("weather"), tool("traffic")]);
    let user =
        json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "How is Köln?" }] });
    let call = |id: &str, name: &str| {
        json!({ "type": "function_call", "call_id": id, "name": name,
        "arguments": r#"{"city":"Köln","days":2}"# })
    };
    let result = |id: &str, text: &str| json!({ "type": "function_call_output", "call_id": id, "output": text });
    vec![
        (
            "text",
            of(json!([user, { "type": "message", "role": "assistant", "content": [{ "type": "output_text",
                    "text": "Fine.", "annotations": [] }] },
            { "role": "user", "content": "\"Why?\"\n\u{1F600}\u{7f}" }])),
        ),
        (
            "picture",
            of(json!([{ "role": "user", "content": [{ "type": "input_text", "text": "What is it?" },
            { "type": "input_image", "image_url": format!("data:image/png;base64,{PICTURE}"), "detail": "low" }] }])),
        ),
        (
            "document",
            of(json!([{ "role": "user", "content": [
            { "type": "input_file", "filename": "a.pdf",
                "file_data": format!("data:application/pdf;base64,{DOCUMENT}") },
            { "type": "input_text", "text": "Sum it up." }] }])),
        ),
        (
            "tools",
            with(of(json!([user])), json!({ "tools": tools, "tool_choice": "auto", "parallel_tool_calls": true })),
        ),
        (
            "forced tool",
            with(
                of(json!([user])),
                json!({ "tools": tools, "tool_choice": { "type": "function", "name": "traffic" } }),
            ),
        ),
        ("any tool", with(of(json!([user])), json!({ "tools": tools, "tool_choice": "required" }))),
        (
            "calls and results",
            with(
                of(json!([user, call("call_a", "weather"), call("call_b", "traffic"),
            result("call_a", "21.50 degrees"), result("call_b", "no jam"),
            { "role": "user", "content": "And tomorrow?" }])),
                json!({ "tools": tools }),
            ),
        ),
        (
            "sealed thinking",
            with(
                of(json!([user,
            { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "I think." }],
                "encrypted_content": SEAL },
            call("call_c", "weather"), result("call_c", "fine")])),
                json!({ "tools": tools, "include": ["reasoning.encrypted_content"] }),
            ),
        ),
        (
            "schema",
            with(
                of(json!([user])),
                json!({ "text": { "format": {
            "type": "json_schema", "name": "trip", "strict": true, "schema": schema() } } }),
            ),
        ),
        ("object", with(of(json!([user])), json!({ "text": { "format": { "type": "json_object" } } }))),
        (
            "drawing and bounds",
            with(of(json!([user])), json!({ "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 2000 })),
        ),
        (
            "reasoning",
            with(
                of(json!([user])),
                json!({ "reasoning": { "effort": "high", "summary": "auto" }, "max_output_tokens": 9000 }),
            ),
        ),
        ("free text tool", with(of(json!([user])), json!({ "tools": [{ "type": "custom", "name": "code" }] }))),
        ("hosted tool", with(of(json!([user])), json!({ "tools": [{ "type": "web_search" }] }))),
    ]
}

fn messages() -> Vec<(&'static str, Value)> {
    let of = |messages: Value| json!({ "model": "m", "max_tokens": 4096, "system": "Be brief.", "messages": messages });
    let tool = |name: &str| json!({ "name": name, "description": "A tool", "input_schema": schema() });
    let tools = json!([tool("weather"), tool("traffic")]);
    let user = json!({ "role": "user", "content": "How is Köln?" });
    let call = |id: &str, name: &str| {
        json!({ "type": "tool_use", "id": id, "name": name, "input": { "city": "Köln",
        "days": 2 } })
    };
    let text = |text: &str| json!({ "type": "text", "text": text });
    let thinking = json!({ "type": "enabled", "budget_tokens": 2048 });
    vec![
        (
            "text",
            of(json!([user, { "role": "assistant", "content": "Fine." }, { "role": "user",
                    "content": [text("\"Why?\"\n\u{1F600}\u{7f}")] }])),
        ),
        (
            "picture",
            of(json!([{ "role": "user", "content": [text("What is it?"),
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": PICTURE } }] }])),
        ),
        (
            "picture elsewhere",
            of(json!([{ "role": "user", "content": [
            { "type": "image", "source": { "type": "url", "url": "https://pictures.example/a.png" } },
                text("What is it?")] }])),
        ),
        (
            "document",
            of(json!([{ "role": "user", "content": [
            { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": DOCUMENT },
                "title": "a.pdf" },
            text("Sum it up.")] }])),
        ),
        ("tools", with(of(json!([user])), json!({ "tools": tools, "tool_choice": { "type": "auto" } }))),
        (
            "forced tool",
            with(
                of(json!([user])),
                json!({ "tools": tools,
            "tool_choice": { "type": "tool", "name": "traffic", "disable_parallel_tool_use": true } }),
            ),
        ),
        ("any tool", with(of(json!([user])), json!({ "tools": tools, "tool_choice": { "type": "any" } }))),
        (
            "calls and results",
            with(
                of(json!([user,
            { "role": "assistant", "content": [text("I look."), call("toolu_a", "weather"), call("toolu_b",
                "traffic")] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_a", "content": "21.50 degrees" },
                { "type": "tool_result", "tool_use_id": "toolu_b", "content": [text("no jam")], "is_error": true },
                text("And tomorrow?")] }])),
                json!({ "tools": tools }),
            ),
        ),
        (
            "sealed thinking",
            with(
                of(json!([user,
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "I think.", "signature": SEAL }, { "type": "redacted_thinking",
                    "data": SEAL },
                call("toolu_c", "weather")] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_c", "content": "fine" }] }])),
                json!({ "tools": tools, "thinking": thinking }),
            ),
        ),
        (
            "schema",
            with(
                of(json!([user])),
                json!({ "output_config": { "format": { "type": "json_schema", "schema": schema() } } }),
            ),
        ),
        (
            "drawing and bounds",
            with(
                of(json!([user])),
                json!({ "temperature": 0.5, "top_k": 40, "stop_sequences": ["END", "STOP"],
            "metadata": { "user_id": "u-1" } }),
            ),
        ),
        (
            "reasoning",
            with(
                of(json!([user])),
                json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" } }),
            ),
        ),
        ("thinking budget", with(of(json!([user])), json!({ "thinking": thinking }))),
        (
            "hosted tool",
            with(of(json!([user])), json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] })),
        ),
        (
            "cache marks",
            json!({ "model": "m", "max_tokens": 100,
            "system": [{ "type": "text", "text": "Long.", "cache_control": { "type": "ephemeral", "ttl": "1h" } }],
                "messages": [user] }),
        ),
    ]
}

fn gemini() -> Vec<(&'static str, Value)> {
    let of =
        |contents: Value| json!({ "contents": contents, "systemInstruction": { "parts": [{ "text": "Be brief." }] } });
    let tool = |name: &str| json!({ "name": name, "description": "A tool", "parametersJsonSchema": schema() });
    let tools = json!([{ "functionDeclarations": [tool("weather"), tool("traffic")] }]);
    let user = json!({ "role": "user", "parts": [{ "text": "How is Köln?" }] });
    let call = |id: &str, name: &str| {
        json!({ "functionCall": { "id": id, "name": name, "args": { "city": "Köln",
        "days": 2 } } })
    };
    let result = |id: &str, name: &str, text: &str| {
        json!({ "functionResponse": { "id": id, "name": name,
        "response": { "output": text } } })
    };
    let config = |members: Value| json!({ "generationConfig": members });
    let mode = |members: Value| json!({ "tools": tools, "toolConfig": { "functionCallingConfig": members } });
    vec![
        (
            "text",
            of(json!([user, { "role": "model", "parts": [{ "text": "Fine." }] },
            { "role": "user", "parts": [{ "text": "\"Why?\"\n\u{1F600}\u{7f}" }] }])),
        ),
        (
            "picture",
            of(json!([{ "role": "user", "parts": [{ "text": "What is it?" },
            { "inlineData": { "mimeType": "image/png", "data": PICTURE } }] }])),
        ),
        (
            "document",
            of(json!([{ "role": "user", "parts": [
            { "inlineData": { "mimeType": "application/pdf", "data": DOCUMENT } }, { "text": "Sum it up." }] }])),
        ),
        ("tools", with(of(json!([user])), mode(json!({ "mode": "AUTO" })))),
        ("forced tool", with(of(json!([user])), mode(json!({ "mode": "ANY", "allowedFunctionNames": ["traffic"] })))),
        ("any tool", with(of(json!([user])), mode(json!({ "mode": "ANY" })))),
        ("no tool", with(of(json!([user])), mode(json!({ "mode": "NONE" })))),
        (
            "calls and results",
            with(
                of(json!([user,
            { "role": "model", "parts": [{ "text": "I look." }, call("a", "weather"), call("b", "traffic")] },
            { "role": "user", "parts": [result("a", "weather", "21.50 degrees"), result("b", "traffic", "no jam")] },
            { "role": "model", "parts": [{ "text": "Well." }] },
            { "role": "user", "parts": [{ "text": "And tomorrow?" }] }])),
                json!({ "tools": tools }),
            ),
        ),
        (
            "sealed thinking",
            with(
                of(json!([user,
            { "role": "model", "parts": [{ "text": "I think.", "thought": true },
                { "functionCall": { "id": "c", "name": "weather", "args": { "city": "Köln", "days": 2 } },
                    "thoughtSignature": SEAL }] },
            { "role": "user", "parts": [result("c", "weather", "fine")] }])),
                json!({ "tools": tools }),
            ),
        ),
        (
            "schema",
            with(
                of(json!([user])),
                config(json!({ "responseMimeType": "application/json", "responseJsonSchema": schema() })),
            ),
        ),
        ("object", with(of(json!([user])), config(json!({ "responseMimeType": "application/json" })))),
        (
            "drawing and bounds",
            with(
                of(json!([user])),
                config(json!({ "temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7,
            "maxOutputTokens": 2000, "stopSequences": ["END", "STOP"] })),
            ),
        ),
        (
            "reasoning",
            with(
                of(json!([user])),
                config(json!({ "thinkingConfig": { "thinkingLevel": "high", "includeThoughts": true } })),
            ),
        ),
        ("thinking budget", with(of(json!([user])), config(json!({ "thinkingConfig": { "thinkingBudget": 2048 } })))),
        ("hosted tool", with(of(json!([user])), json!({ "tools": [{ "googleSearch": {} }] }))),
    ]
}
