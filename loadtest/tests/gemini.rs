//! The simulator speaks Gemini as the real service does: both spellings, both stream forms, its refusals, its signatures.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Outcome, Surface};
use serde_json::{Value, json};
use wire::{Reply, Request, SOON, with};

const KEY: &str = "AIzaSy0123456789012345678901234567890ab";
const PLAIN: &str = "gemini-2.5-flash-lite";
const SIGNING: &str = "gemini-pro-latest";

fn simulator() -> Simulator {
    Simulator::builder().dialect(Surface::Gemini).keys([KEY]).start().expect("a loopback port")
}

fn request(model: &str, verb: &str, body: &Value) -> Request {
    Request::post(&format!("/v1beta/models/{model}:{verb}"), body).field("x-goog-api-key", KEY)
}

fn chat(extra: Value) -> Value {
    with(&json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }] }), &extra)
}

fn saying(text: &str) -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }] })
}

fn ask(simulator: &Simulator, model: &str, body: &Value) -> Reply {
    request(model, "generateContent", body).send(simulator)
}

fn good(simulator: &Simulator, model: &str, body: &Value) -> Value {
    let reply = ask(simulator, model, body);
    assert_eq!(reply.status, 200, "{body} gave {}", reply.text());
    reply.json()
}

fn refused(reply: &Reply, status: u16, word: &str, message: &str) {
    let error = reply.json()["error"].clone();
    assert_eq!((reply.status, &error["code"], &error["status"]), (status, &json!(status), &json!(word)), "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains(message)), "{message:?} is not in {error}");
}

fn weather() -> Value {
    let schema = json!({ "type": "OBJECT", "properties": { "city": { "type": "STRING" } } });
    json!([{ "functionDeclarations": [{ "name": "weather", "description": "x", "parameters": schema }] }])
}

#[test]
fn transcripts_are_kept() {
    let simulator = simulator();
    assert_eq!(simulator.base_url(), simulator.origin());
    let unary = request(PLAIN, "generateContent", &saying("sim:tokens=6;cached=1 please"));
    assert_eq!(unary.transcript(&simulator, "gemini-unary").status, 200);
    let body = with(
        &saying("use the tool"),
        &json!({ "tools": weather(), "generationConfig": { "thinkingConfig": { "includeThoughts": true } } }),
    );
    let stream = request(SIGNING, "streamGenerateContent?alt=sse", &body).transcript(&simulator, "gemini-stream");
    assert!(stream.whole && stream.text().ends_with("\r\n\r\n"));
    request(PLAIN, "streamGenerateContent", &saying("sim:tokens=3 please")).transcript(&simulator, "gemini-list");
    request(PLAIN, "generateContent", &chat(json!({ "colour": 1 }))).transcript(&simulator, "gemini-refusal");
}

#[test]
fn wrong_requests_are_refused_in_its_words() {
    let simulator = simulator();
    let config = |config: Value| json!({ "generationConfig": config });
    let parts = |parts: Value| json!({ "contents": [{ "role": "user", "parts": parts }] });
    let function = |function: Value| json!({ "tools": [{ "functionDeclarations": [function] }] });
    let table = [
        (json!({ "colour": 1 }), "Unknown name \"colour\": Cannot find field."),
        (config(json!({ "top_z": 1 })), "Unknown name \"top_z\" at 'generation_config': Cannot find field."),
        (parts(json!([{ "text": "x", "mood": 1 }])), "Unknown name \"mood\" at 'contents[0].parts[0]'"),
        (
            config(json!({ "temperature": "hot" })),
            "Invalid value at 'generation_config.temperature' (TYPE_FLOAT), \"hot\"",
        ),
        (config(json!({ "maxOutputTokens": 0 })), "value must be in the range [1, "),
        (config(json!({ "stopSequences": ["a", "b", "c", "d", "e", "f"] })), "at most 5"),
        (config(json!({ "responseLogprobs": true })), "Logprobs is not enabled"),
        (config(json!({ "responseMimeType": "text/html" })), "allowed mimetypes are"),
        (config(json!({ "responseSchema": { "type": "STRING" } })), "only supported with response mime type"),
        (
            config(
                json!({ "responseMimeType": "application/json", "responseSchema": { "additionalProperties": false } }),
            ),
            "Unknown name \"additionalProperties\" at 'generation_config.response_schema'",
        ),
        (
            config(json!({ "thinkingConfig": { "thinkingBudget": 5, "thinkingLevel": "LOW" } })),
            "You can only set only one",
        ),
        (config(json!({ "thinkingConfig": { "thinkingLevel": "LOW" } })), "Thinking level is not supported"),
        (json!({ "contents": [] }), "contents is not specified"),
        (json!({ "contents": null }), "contents is not specified"),
        (parts(json!([])), "contents.parts must not be empty"),
        (parts(json!([{ "thought": true }])), "required oneof field 'data' must have one initialized field"),
        (parts(json!([{ "text": "x", "fileData": { "fileUri": "gs://x" } }])), "oneof field 'data' is already set"),
        (parts(json!([{ "inlineData": { "mimeType": "image/png", "data": "*" } }])), "Base64 decoding failed"),
        (json!({ "contents": [{ "role": "assistant", "parts": [{ "text": "x" }] }] }), "Please use a valid role"),
        (json!({ "contents": [{ "role": "model", "parts": [{ "text": "x" }] }] }), "requests end with a user role"),
        (function(json!({ "name": "1f" })), "Invalid function name."),
        (function(json!({ "name": "f", "parameters": { "type": "OBJECT" } })), "should be non-empty for OBJECT type"),
        (function(json!({ "name": "f", "parameters": { "$schema": "x" } })), "Unknown name \"$schema\""),
        (json!({ "toolConfig": { "functionCallingConfig": { "mode": "ANY" } } }), "without function_declarations"),
        (json!({ "toolConfig": { "functionCallingConfig": { "mode": "SOME" } } }), "Enum), \"SOME\""),
        (
            json!({ "tools": weather(), "toolConfig": { "functionCallingConfig": { "allowedFunctionNames": ["weather"] } } }),
            "only when function calling mode is ANY",
        ),
        (
            json!({ "tools": weather(), "generationConfig": { "responseMimeType": "application/json" } }),
            "Function calling with a response mime type: 'application/json' is unsupported",
        ),
        (json!({ "safetySettings": [{ "category": "BAD_LUCK" }] }), "\"BAD_LUCK\""),
    ];
    for (extra, words) in table {
        let mut body = chat(json!({}));
        for (name, value) in extra.as_object().expect("an object") {
            body[name] = value.clone();
        }
        refused(&ask(&simulator, PLAIN, &body), 400, "INVALID_ARGUMENT", words);
    }
    refused(&ask(&simulator, PLAIN, &saying("sim:fault=nonsense")), 400, "INVALID_ARGUMENT", "sim: unknown fault");
    let cold = with(&chat(json!({})), &config(json!({ "temperature": 0.5 })));
    refused(&ask(&simulator, "gemini-3.8-flash", &cold), 400, "INVALID_ARGUMENT", "Temperature is not supported");
    assert!(simulator.truth().wait_settled(SOON));
    assert_eq!(simulator.truth().counts().prompt_tokens, 0, "refusals cost nothing");
}

#[test]
fn both_spellings_mean_the_same() {
    let simulator = simulator();
    let camel = json!({ "contents": [{ "parts": [{ "text": "x" }] }], "systemInstruction": { "parts": [{ "text": "y" }] },
        "generationConfig": { "maxOutputTokens": 4, "stopSequences": ["zzz"] } });
    let mixed = json!({ "contents": [{ "parts": [{ "text": "x" }] }], "system_instruction": { "parts": [{ "text": "y" }] },
        "generationConfig": { "max_output_tokens": 4, "stopSequences": ["zzz"] } });
    let answer = good(&simulator, PLAIN, &camel);
    assert_eq!(answer, good(&simulator, PLAIN, &mixed));
    assert_eq!(answer["candidates"][0]["finishReason"], "MAX_TOKENS");
    assert_eq!(answer["usageMetadata"]["candidatesTokenCount"], 4);
    let old = Request::post(&format!("/v1/models/{PLAIN}:generateContent"), &camel).field("x-goog-api-key", KEY);
    assert_eq!(old.send(&simulator).json(), answer, "both versions answer alike");
}

#[test]
fn keys_models_and_paths_are_checked() {
    let simulator = simulator();
    let body = chat(json!({}));
    let bare = request(PLAIN, "generateContent", &body).without("x-goog-api-key");
    refused(&bare.send(&simulator), 403, "PERMISSION_DENIED", "unregistered callers");
    let bearer = bare.clone().field("authorization", &format!("Bearer {KEY}")).send(&simulator);
    refused(&bearer, 401, "UNAUTHENTICATED", "Expected OAuth 2 access token");
    let wrong = bare.field("x-goog-api-key", "AIzaWrong").send(&simulator);
    refused(&wrong, 400, "INVALID_ARGUMENT", "API key not valid.");
    assert_eq!(wrong.json()["error"]["details"][0]["reason"], "API_KEY_INVALID");
    refused(
        &ask(&simulator, "gemini-none", &body),
        404,
        "NOT_FOUND",
        "models/gemini-none is not found for API version",
    );
    refused(&ask(&simulator, "gemini-embedding-001", &body), 404, "NOT_FOUND", "not supported for generateContent");
    refused(&request(PLAIN, "sing", &body).send(&simulator), 404, "NOT_FOUND", "was not found on this server");
    let query = Request::post(&format!("/v1beta/models/{PLAIN}:generateContent?key={KEY}"), &body).send(&simulator);
    assert_eq!(query.status, 200);
    assert_eq!(simulator.truth().violations()[0].rule, "key-in-url");
    let path = simulator.truth().last().expect("a request").path;
    assert!(path.ends_with("?key=…90ab"), "{path}");
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let simulator = simulator();
    let thinking = json!({ "thinkingConfig": { "includeThoughts": true } });
    for (model, body) in [
        (PLAIN, saying("hello")),
        (SIGNING, with(&saying("hello"), &json!({ "generationConfig": thinking }))),
        (SIGNING, with(&saying("use the tools"), &json!({ "tools": weather() }))),
        ("gemini-2.5-flash", with(&saying("sim:preface=2 use the tools"), &json!({ "tools": weather() }))),
        (PLAIN, saying("sim:block=1 hello")),
    ] {
        let whole = good(&simulator, model, &body);
        let events = request(model, "streamGenerateContent?alt=sse", &body).send(&simulator);
        assert!(!events.text().replace("\r\n", "").contains('\n'), "lines end in CRLF");
        let list = request(model, "streamGenerateContent", &body).send(&simulator);
        let listed: Vec<Value> = serde_json::from_slice(&list.body).expect("a JSON list");
        let named: Vec<Value> =
            events.events().into_iter().map(|(name, data)| (name.is_empty(), data)).map(|both| both.1).collect();
        assert_eq!(named, listed);
        assert_eq!(assemble(&named), whole, "{model} {body}");
    }
}

/// The answer that a client puts together from the objects of a stream.
fn assemble(objects: &[Value]) -> Value {
    let mut answer = objects.last().expect("an object").clone();
    if answer.get("candidates").is_none() {
        return answer;
    }
    let mut parts: Vec<Value> = Vec::new();
    for object in objects {
        for part in object["candidates"][0]["content"]["parts"].as_array().into_iter().flatten() {
            match parts.last_mut().filter(|last| {
                last["text"].is_string()
                    && part["text"].is_string()
                    && (last["thought"] == part["thought"] || part["text"] == "")
            }) {
                Some(last) => {
                    let text =
                        format!("{}{}", last["text"].as_str().expect("text"), part["text"].as_str().expect("text"));
                    last["text"] = json!(text);
                    if let Some(mark) = part.get("thoughtSignature") {
                        last["thoughtSignature"] = mark.clone();
                    }
                }
                None if part["text"] == "" => {}
                None => parts.push(part.clone()),
            }
        }
    }
    answer["candidates"][0]["content"]["parts"] = json!(parts);
    answer
}

#[test]
fn usage_keeps_thoughts_apart() {
    let simulator = simulator();
    let thoughtful = good(&simulator, SIGNING, &saying("sim:tokens=5;reasoning=9 hello"));
    let usage = &thoughtful["usageMetadata"];
    assert_eq!((&usage["candidatesTokenCount"], &usage["thoughtsTokenCount"]), (&json!(5), &json!(9)));
    assert_eq!(usage["totalTokenCount"], json!(usage["promptTokenCount"].as_u64().expect("a count") + 14));
    let plain = good(&simulator, PLAIN, &saying("sim:tokens=5 hello"));
    assert!(plain["usageMetadata"].get("thoughtsTokenCount").is_none(), "what is zero is absent");
    let starved = with(&saying("hello"), &json!({ "generationConfig": { "maxOutputTokens": 3 } }));
    let starved = good(&simulator, SIGNING, &starved);
    assert_eq!(
        starved["candidates"][0],
        json!({ "content": { "role": "model" }, "finishReason": "MAX_TOKENS", "index": 0 })
    );
    let blocked = good(&simulator, PLAIN, &saying("sim:block=1 hello"));
    assert!(blocked.get("candidates").is_none());
    assert_eq!(blocked["promptFeedback"]["blockReason"], "PROHIBITED_CONTENT");
    let two = good(&simulator, PLAIN, &with(&saying("hello"), &json!({ "generationConfig": { "candidateCount": 2 } })));
    assert_ne!(two["candidates"][0]["content"], two["candidates"][1]["content"]);
    assert!(simulator.truth().wait_settled(SOON));
    let records = simulator.truth().requests();
    assert_eq!(
        (records[0].completion_tokens, records[0].surface, &records[0].outcome),
        (14, "gemini", &Outcome::Completed)
    );
    assert_eq!(records[0].model.as_deref(), Some(SIGNING));
}

#[test]
fn responses_follow_their_calls() {
    let simulator = simulator();
    let user = json!({ "role": "user", "parts": [{ "text": "x" }] });
    let call = |names: &[&str]| {
        let parts: Vec<_> = names.iter().map(|name| json!({ "functionCall": { "name": name, "args": {} } })).collect();
        json!({ "role": "model", "parts": parts })
    };
    let answer = |names: &[&str]| {
        let part = |name: &&str| json!({ "functionResponse": { "name": name, "response": { "result": 42 } } });
        json!({ "role": "user", "parts": names.iter().map(part).collect::<Vec<_>>() })
    };
    let table = [
        (json!([user, call(&["a", "b"]), answer(&["a", "b"])]), ""),
        (json!([user, call(&["a", "b"]), answer(&["a"]), answer(&["b"])]), ""),
        (json!([user, call(&["a", "b"]), answer(&["a"])]), "number of function response parts is equal"),
        (json!([user, call(&["a"]), user]), "number of function response parts is equal"),
        (json!([user, call(&["a"]), answer(&["b"])]), "has the name of its function call"),
        (json!([user, answer(&["a"])]), "function response turn comes immediately after a function call"),
        (json!([call(&["a"]), answer(&["a"])]), "function call turn comes immediately after a user turn"),
        (
            json!([user, call(&["a"]), { "role": "user", "parts": [{ "functionResponse": { "name": "a" } }] }]),
            "function_response.response: must be set",
        ),
    ];
    for (contents, words) in table {
        let reply = ask(&simulator, PLAIN, &json!({ "contents": contents, "tools": weather() }));
        match words {
            "" => assert_eq!(reply.status, 200, "{contents} gave {}", reply.text()),
            words => refused(&reply, 400, "INVALID_ARGUMENT", words),
        }
    }
}

#[test]
fn signatures_must_come_back() {
    let simulator = simulator();
    let base = with(&saying("use the tool"), &json!({ "tools": weather() }));
    let answer = good(&simulator, SIGNING, &base);
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP", "calls end like everything else");
    let part = answer["candidates"][0]["content"]["parts"][0].clone();
    assert!(part["thoughtSignature"].is_string() && part["functionCall"]["id"].is_string());
    let go_on = |part: &Value, model: &str| {
        let response = json!({ "id": part["functionCall"]["id"], "name": "weather", "response": { "result": 42 } });
        let contents = json!([base["contents"][0], { "role": "model", "parts": [part] },
            { "role": "user", "parts": [{ "functionResponse": response }] }]);
        ask(&simulator, model, &with(&base, &json!({ "contents": contents })))
    };
    assert_eq!(go_on(&part, SIGNING).status, 200);
    let lost = with(&part, &json!({ "thoughtSignature": null }));
    refused(&go_on(&lost, SIGNING), 400, "INVALID_ARGUMENT", "missing a thought_signature in functionCall parts");
    assert_eq!(go_on(&lost, "gemini-2.5-flash").status, 200, "older models sign nothing");
    let mut bent = part.clone();
    bent["functionCall"]["args"]["city"] = json!("elsewhere");
    refused(&go_on(&bent, SIGNING), 400, "INVALID_ARGUMENT", "Corrupted thought signature.");
    let bare =
        with(&saying("use the tool"), &json!({ "tools": [{ "functionDeclarations": [{ "name": "weather" }] }] }));
    let mut call = good(&simulator, SIGNING, &bare)["candidates"][0]["content"]["parts"][0].clone();
    call["functionCall"].as_object_mut().expect("a call").remove("args");
    assert_eq!(go_on(&call, SIGNING).status, 200, "no arguments are an empty object");
    for word in ["skip_thought_signature_validator", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="] {
        assert_eq!(go_on(&with(&bent, &json!({ "thoughtSignature": word })), SIGNING).status, 200, "{word}");
    }
}

#[test]
fn formats_counts_vectors_and_models_are_served() {
    let simulator = simulator();
    let schema =
        json!({ "type": "object", "properties": { "list": { "type": "array", "items": { "type": "number" } } } });
    let format =
        json!({ "generationConfig": { "responseMimeType": "application/json", "responseJsonSchema": schema } });
    let answer = good(&simulator, PLAIN, &with(&saying("hello"), &format));
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], r#"{"list":[2.5]}"#);
    let count = request(PLAIN, "countTokens", &saying(&"x".repeat(40))).send(&simulator).json();
    assert_eq!(count["totalTokens"], 10);
    let embedding = "gemini-embedding-001";
    let content = json!({ "content": { "parts": [{ "text": "x" }] }, "outputDimensionality": 4 });
    let one = request(embedding, "embedContent", &content).send(&simulator).json();
    assert_eq!(one["embedding"]["values"].as_array().map(Vec::len), Some(4));
    let named = with(&content, &json!({ "model": format!("models/{embedding}") }));
    let many = request(embedding, "batchEmbedContents", &json!({ "requests": [named, named] })).send(&simulator).json();
    assert_eq!((&many["embeddings"][1], many["embeddings"].as_array().map(Vec::len)), (&one["embedding"], Some(2)));
    let unnamed = request(embedding, "batchEmbedContents", &json!({ "requests": [content] })).send(&simulator);
    refused(&unnamed, 400, "INVALID_ARGUMENT", "requests[0].model");
    let list = Request::new("GET", "/v1beta/models").field("x-goog-api-key", KEY).send(&simulator).json();
    assert_eq!(list["models"][0]["name"], format!("models/{SIGNING}"));
}

#[test]
fn faults_speak_its_words() {
    let simulator = simulator();
    let wish =
        |directives: &str| request(PLAIN, "streamGenerateContent?alt=sse", &saying(&format!("sim:{directives} x")));
    let limited = wish("fault=429/2.5").send(&simulator);
    refused(&limited, 429, "RESOURCE_EXHAUSTED", "Please retry in 2.5s.");
    assert_eq!(limited.json()["error"]["details"][2]["retryDelay"], "2.5s");
    assert_eq!(limited.field("retry-after"), None, "the wait is in the body alone");
    let spent = wish("fault=429-quota").send(&simulator).json();
    let id = spent["error"]["details"][0]["violations"][0]["quotaId"].as_str().expect("an id").to_owned();
    assert!(id.contains("PerDay"), "{id}");
    refused(&wish("fault=503").send(&simulator), 503, "UNAVAILABLE", "The model is overloaded");
    refused(&wish("fault=400").send(&simulator), 400, "INVALID_ARGUMENT", "API key not valid");
    let broken = wish("fault=error@2").send(&simulator);
    let events = broken.events();
    assert_eq!((events.len(), &events[2].1["error"]["status"]), (3, &json!("UNAVAILABLE")));
    let list = request(PLAIN, "streamGenerateContent", &saying("sim:fault=error@2 x")).send(&simulator);
    let listed: Vec<Value> = serde_json::from_slice(&list.body).expect("a JSON list");
    assert_eq!((listed.len(), &listed[2]["error"]["code"]), (3, &json!(503)));
    let cut = wish("fault=cut@2").send(&simulator);
    assert!(!cut.whole && cut.text().matches("\r\n\r\n").count() == 2, "{}", cut.text());
}
