//! OpenAI's other endpoints and Azure's paths to them: vectors, old completions, moderation, images, speech, files, batches.

mod wire;

use igris_load::Simulator;
use igris_load::simulator::{Outcome, Surface};
use serde_json::{Value, json};
use wire::{Reply, Request, SOON, with};

const KEY: &str = "sk-sim-0123456789abcdef";
const MODELS: [&str; 8] = [
    "gpt-4o",
    "gpt-3.5-turbo-instruct",
    "text-embedding-3-small",
    "omni-moderation-latest",
    "gpt-image-1",
    "dall-e-3",
    "gpt-4o-mini-tts",
    "whisper-1",
];

fn simulator() -> Simulator {
    Simulator::builder().keys([KEY]).models(MODELS).start().expect("a loopback port")
}

fn keyed(request: Request) -> Request {
    request.field("authorization", &format!("Bearer {KEY}"))
}

fn post(path: &str, body: &Value) -> Request {
    keyed(Request::post(path, body))
}

fn good(simulator: &Simulator, path: &str, body: &Value) -> Value {
    let reply = post(path, body).send(simulator);
    assert_eq!(reply.status, 200, "{path} {body} gave {}", reply.text());
    reply.json()
}

fn fetch(simulator: &Simulator, method: &str, path: &str) -> Reply {
    keyed(Request::new(method, path)).send(simulator)
}

/// A form; a file has a name after its field's, separated by a colon.
fn form(path: &str, parts: &[(&str, &[u8])]) -> Request {
    let mut body = Vec::new();
    for (name, data) in parts {
        let (name, file) = name.split_once(':').map_or((*name, String::new()), |(name, file)| {
            (name, format!("; filename=\"{file}\"\r\nContent-Type: application/octet-stream"))
        });
        body.extend_from_slice(
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    keyed(Request::new("POST", path)).field("content-type", "multipart/form-data; boundary=edge").body(body)
}

#[test]
fn transcripts_are_kept() {
    let simulator = simulator();
    let chat = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "sim:tokens=4;cached=1" }] });
    post("/v1/chat/completions", &chat).transcript(&simulator, "openai-chat-unary");
    let streamed = with(&chat, &json!({ "stream": true, "stream_options": { "include_usage": true } }));
    post("/v1/chat/completions", &streamed).transcript(&simulator, "openai-chat-stream");
    let vectors = json!({ "model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 3 });
    post("/v1/embeddings", &vectors).transcript(&simulator, "openai-embeddings");
    let old = json!({ "model": "gpt-3.5-turbo-instruct", "prompt": "x", "max_tokens": 3, "stream": true,
        "stream_options": { "include_usage": true } });
    post("/v1/completions", &old).transcript(&simulator, "openai-completions-stream");
    let heard = form("/v1/audio/transcriptions", &[("model", b"whisper-1"), ("file:a.wav", b"RIFF....WAVE")]);
    heard.transcript(&simulator, "openai-transcription");
    let azure = Simulator::builder().dialect(Surface::Azure).keys([KEY]).start().expect("a loopback port");
    let chat = json!({ "messages": [{ "role": "user", "content": "sim:tokens=3" }], "stream": true });
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    let stream = Request::post(path, &chat).field("api-key", KEY).transcript(&azure, "azure-stream");
    assert_eq!(stream.events()[0].1["choices"], json!([]), "the filter speaks first");
    let unary = with(&chat, &json!({ "stream": null }));
    Request::post(path, &unary).field("api-key", KEY).transcript(&azure, "azure-unary");
}

#[test]
fn vectors_come_as_numbers_or_bytes() {
    let simulator = simulator();
    let body = |extra: Value| {
        with(&json!({ "model": "text-embedding-3-small", "input": "abcdefgh", "dimensions": 4 }), &extra)
    };
    let numbers = good(&simulator, "/v1/embeddings", &body(json!({})));
    let coded = good(&simulator, "/v1/embeddings", &body(json!({ "encoding_format": "base64" })));
    assert_eq!(numbers["usage"], json!({ "prompt_tokens": 2, "total_tokens": 2 }));
    let length: f64 = numbers["data"][0]["embedding"]
        .as_array()
        .expect("numbers")
        .iter()
        .filter_map(Value::as_f64)
        .map(|part| part * part)
        .sum();
    assert!((length - 1.0).abs() < 1e-5, "a vector has unit length");
    let text = coded["data"][0]["embedding"].as_str().expect("base64");
    assert_eq!(text.len(), 24, "four numbers of four bytes");
    let tokens = good(&simulator, "/v1/embeddings", &body(json!({ "input": [[1, 2, 3], [4]] })));
    assert_eq!((tokens["data"].as_array().map(Vec::len), &tokens["usage"]["prompt_tokens"]), (Some(2), &json!(4)));
    let default = good(&simulator, "/v1/embeddings", &body(json!({ "dimensions": null })));
    assert_eq!(default["data"][0]["embedding"].as_array().map(Vec::len), Some(1536));
    for (extra, status) in [
        (json!({ "colour": 1 }), 400),
        (json!({ "input": "" }), 400),
        (json!({ "input": [] }), 400),
        (json!({ "input": [{}] }), 400),
        (json!({ "encoding_format": "roman" }), 400),
        (json!({ "model": "gpt-4o" }), 403),
        (json!({ "model": "text-embedding-9" }), 404),
    ] {
        let reply = post("/v1/embeddings", &body(extra.clone())).send(&simulator);
        assert_eq!(reply.status, status, "{extra} gave {}", reply.text());
    }
}

#[test]
fn old_completions_answer_every_prompt() {
    let simulator = simulator();
    let body = json!({ "model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"], "n": 2, "max_tokens": 3 });
    let answer = good(&simulator, "/v1/completions", &body);
    assert_eq!((&answer["object"], answer["choices"].as_array().map(Vec::len)), (&json!("text_completion"), Some(4)));
    assert_eq!(
        (&answer["choices"][3]["finish_reason"], &answer["usage"]["completion_tokens"]),
        (&json!("length"), &json!(12))
    );
    let stream = post("/v1/completions", &with(&body, &json!({ "stream": true }))).send(&simulator);
    let said: String = stream
        .events()
        .iter()
        .filter(|(_, data)| data["choices"][0]["index"] == 1)
        .filter_map(|(_, data)| data["choices"][0]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(answer["choices"][1]["text"], said);
    assert_eq!(stream.events().last().expect("events").1, "[DONE]");
    let chat = post("/v1/completions", &with(&body, &json!({ "model": "gpt-4o" }))).send(&simulator);
    assert!(chat.status == 404 && chat.text().contains("This is a chat model"), "{}", chat.text());
    assert_eq!(post("/v1/completions", &with(&body, &json!({ "messages": [] }))).send(&simulator).status, 400);
}

#[test]
fn moderation_and_images_are_served() {
    let simulator = simulator();
    let two = good(&simulator, "/v1/moderations", &json!({ "input": ["peace", "violence"] }));
    assert_eq!(
        (&two["results"][0]["flagged"], &two["results"][1]["categories"]["violence"]),
        (&json!(false), &json!(true))
    );
    let parts = json!({ "model": "omni-moderation-latest", "input": [{ "type": "text", "text": "x" }] });
    assert_eq!(good(&simulator, "/v1/moderations", &parts)["results"].as_array().map(Vec::len), Some(1));
    let image =
        good(&simulator, "/v1/images/generations", &json!({ "model": "gpt-image-1", "prompt": "a cat", "n": 2 }));
    assert_eq!((image["data"].as_array().map(Vec::len), &image["usage"]["output_tokens"]), (Some(2), &json!(544)));
    let url = good(&simulator, "/v1/images/generations", &json!({ "model": "dall-e-3", "prompt": "a cat" }));
    assert!(url["data"][0]["url"].is_string() && url.get("usage").is_none());
    for body in [
        json!({ "model": "gpt-image-1", "prompt": "x", "response_format": "url" }),
        json!({ "model": "gpt-image-1", "prompt": "x", "n": 11 }),
        json!({ "model": "gpt-image-1" }),
    ] {
        assert_eq!(post("/v1/images/generations", &body).send(&simulator).status, 400, "{body}");
    }
}

#[test]
fn speech_goes_both_ways() {
    let simulator = simulator();
    let body = json!({ "model": "gpt-4o-mini-tts", "input": "three little words", "voice": "alloy" });
    let spoken = post("/v1/audio/speech", &body).send(&simulator);
    assert_eq!((spoken.status, spoken.field("content-type")), (200, Some("audio/mpeg")));
    assert!(spoken.whole && spoken.body.len() == 1200 && spoken.body.starts_with(b"ID3"));
    let events = post("/v1/audio/speech", &with(&body, &json!({ "stream_format": "sse" }))).send(&simulator).events();
    assert_eq!((events.len(), &events[3].1["type"]), (4, &json!("speech.audio.done")));
    assert_eq!(post("/v1/audio/speech", &with(&body, &json!({ "voice": null }))).send(&simulator).status, 400);
    let cut = post("/v1/audio/speech", &with(&body, &json!({ "instructions": "sim:fault=cut@1" }))).send(&simulator);
    assert!(!cut.whole && cut.body.len() == 600, "one piece and a half");
    let file: (&str, &[u8]) = ("file:a.wav", b"RIFF....WAVE");
    let heard = |parts: &[(&str, &[u8])]| form("/v1/audio/transcriptions", parts).send(&simulator);
    let whisper = heard(&[("model", b"whisper-1"), file]);
    assert_eq!(whisper.json()["usage"], json!({ "type": "duration", "seconds": 1 }));
    let text = heard(&[("model", b"whisper-1"), ("response_format", b"text"), file]);
    assert_eq!(
        text.text().trim_end_matches('\n'),
        whisper.json()["text"].as_str().expect("text").trim_end_matches('\n')
    );
    let vtt = heard(&[("model", b"whisper-1"), ("response_format", b"vtt"), file]);
    assert!(vtt.text().starts_with("WEBVTT\n"));
    let stream = heard(&[("model", b"gpt-4o-mini-tts"), ("stream", b"true"), file]).events();
    assert_eq!(stream.last().expect("events").1["usage"]["output_tokens"], 16);
    assert_eq!(heard(&[("model", b"whisper-1")]).json()["error"]["param"], "file");
    assert_eq!(heard(&[("model", b"whisper-1"), ("colour", b"1"), file]).json()["error"]["param"], "colour");
    let json = post("/v1/audio/transcriptions", &json!({ "model": "whisper-1" })).send(&simulator);
    assert!(json.status == 400 && json.text().contains("multipart"), "{}", json.text());
}

#[test]
fn files_and_batches_live() {
    let simulator = simulator();
    let line = |id: &str, model: &str| {
        json!({ "custom_id": id, "method": "POST", "url": "/v1/chat/completions",
            "body": { "model": model, "messages": [{ "role": "user", "content": "hello" }] } })
    };
    let lines = format!("{}\n{}\n", line("one", "gpt-4o"), line("two", "gpt-none"));
    let file = form("/v1/files", &[("purpose", b"batch"), ("file:in.jsonl", lines.as_bytes())]).send(&simulator).json();
    let id = file["id"].as_str().expect("an id");
    assert_eq!((&file["bytes"], &file["purpose"]), (&json!(lines.len()), &json!("batch")));
    assert_eq!(fetch(&simulator, "GET", &format!("/v1/files/{id}/content")).text(), lines);
    assert_eq!(fetch(&simulator, "GET", "/v1/files").json()["data"], json!([file]));
    let wanted = json!({ "input_file_id": id, "endpoint": "/v1/chat/completions", "completion_window": "24h" });
    let batch = good(&simulator, "/v1/batches", &wanted);
    assert_eq!(batch["status"], "validating");
    let path = format!("/v1/batches/{}", batch["id"].as_str().expect("an id"));
    assert_eq!(fetch(&simulator, "GET", &path).json()["status"], "in_progress");
    let done = fetch(&simulator, "GET", &path).json();
    assert_eq!(done["request_counts"], json!({ "total": 2, "completed": 1, "failed": 1 }));
    let output = format!("/v1/files/{}/content", done["output_file_id"].as_str().expect("an id"));
    let output = fetch(&simulator, "GET", &output).text();
    let answers: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let direct = good(&simulator, "/v1/chat/completions", &line("", "gpt-4o")["body"]);
    assert_eq!((&answers[0]["custom_id"], &answers[0]["response"]["body"]), (&json!("one"), &direct));
    assert_eq!(answers[1]["response"]["status_code"], 404);
    assert_eq!(
        post(&format!("{path}/cancel"), &json!({})).send(&simulator).status,
        409,
        "what is done cannot be cancelled"
    );
    let again = good(&simulator, "/v1/batches", &wanted);
    let cancelled = post(&format!("{path}/cancel"), &json!({})).send(&simulator).json();
    assert_eq!((&cancelled["id"], &cancelled["status"]), (&again["id"], &json!("cancelling")));
    assert_eq!(fetch(&simulator, "GET", &path).json()["status"], "cancelled");
    assert_eq!(fetch(&simulator, "DELETE", &format!("/v1/files/{id}")).json()["deleted"], true);
    assert_eq!(fetch(&simulator, "GET", &format!("/v1/files/{id}")).status, 404);
    assert_eq!(post("/v1/batches", &wanted).send(&simulator).status, 400, "its file is gone");
    let odd = form("/v1/files", &[("purpose", b"fun"), ("file:x", b"y")]).send(&simulator);
    assert_eq!((odd.status, &odd.json()["error"]["param"]), (400, &json!("purpose")));
}

#[test]
fn azure_has_deployments_and_a_key_of_its_own() {
    let simulator = Simulator::builder().dialect(Surface::Azure).keys([KEY]).start().expect("a loopback port");
    assert_eq!(simulator.base_url(), simulator.origin());
    let chat = json!({ "messages": [{ "role": "user", "content": "hello" }] });
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    let ask = |path: &str, body: &Value| Request::post(path, body).field("api-key", KEY).send(&simulator);
    let answer = ask(path, &chat).json();
    assert_eq!((&answer["model"], &answer["prompt_filter_results"][0]["prompt_index"]), (&json!("gpt-4o"), &json!(0)));
    let new = ask("/openai/v1/chat/completions", &with(&chat, &json!({ "model": "gpt-4o" })));
    assert_eq!(new.json(), answer, "both paths lead to the same answer");
    let refused = |reply: Reply, status: u16, code: &str| {
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &json!(code)), "{}", reply.text());
    };
    refused(Request::post(path, &chat).field("api-key", "wrong").send(&simulator), 401, "401");
    refused(ask(path.split('?').next().expect("a path"), &chat), 404, "404");
    refused(ask("/openai/deployments/none/chat/completions?api-version=2024-10-21", &chat), 404, "DeploymentNotFound");
    refused(ask(path, &with(&chat, &json!({ "colour": 1 }))), 400, "unknown_parameter");
    let blocked = json!({ "messages": [{ "role": "user", "content": "sim:block=1" }] });
    let blocked = ask(path, &blocked);
    assert_eq!(blocked.json()["error"]["innererror"]["code"], "ResponsibleAIPolicyViolation");
    refused(blocked, 400, "content_filter");
    let limited = ask(path, &json!({ "messages": [{ "role": "user", "content": "sim:fault=429/2" }] }));
    assert_eq!(limited.field("retry-after"), Some("2"));
    refused(limited, 429, "429");
    let stream = ask(path, &with(&chat, &json!({ "stream": true, "stream_options": { "include_usage": true } })));
    let events = stream.events();
    let usage = &events[events.len() - 2].1["usage"];
    assert_eq!((events.len(), usage), (1 + 1 + 16 + 1 + 1 + 1, &answer["usage"]));
    let vectors = json!({ "input": "x", "dimensions": 2 });
    let vectors = ask("/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21", &vectors);
    assert_eq!(vectors.json()["data"][0]["embedding"].as_array().map(Vec::len), Some(2));
    assert!(simulator.truth().wait_settled(SOON));
    let record = simulator.truth().requests()[0].clone();
    assert_eq!(
        (record.surface, record.model.as_deref(), &record.outcome),
        ("azure", Some("gpt-4o"), &Outcome::Completed)
    );
    assert_eq!(record.completion_tokens, 16);
}
