//! What is carried as it is: stored files and batches, a provider's own API, and bodies too large to be kept.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, Surface, When};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;
use support::{
    ACCESS_KEY, Answer, Client, FORM, Gateway, SOON, Scripted, bare, bearer, chunked, closed_address, form, post_form,
    post_with, provider_key, wait_until, with_body,
};

fn simulator(name: &str, surface: Surface) -> Simulator {
    let keyed = Simulator::builder().dialect(surface).keys([provider_key(name)]);
    keyed.models(Vec::<String>::new()).keep_bodies().start().expect("a loopback port")
}

/// A gateway before OpenAI and Mistral, whose file API is OpenAI's.
fn two() -> (Gateway, Simulator, Simulator) {
    let (openai, mistral) = (simulator("openai", Surface::OpenAi), simulator("mistral", Surface::OpenAi));
    let gateway = Gateway::builder().provider("openai", &openai).provider("mistral", &mistral).start();
    (gateway, openai, mistral)
}

fn key() -> String {
    bearer(ACCESS_KEY)
}

/// The access key's line, and one that picks the provider.
fn at(provider: &str) -> String {
    format!("{}x-igris-provider: {provider}\r\n", key())
}

fn ask(gateway: &Gateway, method: &str, path: &str) -> Answer {
    gateway.ask(&bare(method, path, &key()))
}

#[track_caller]
fn good(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["metadata"]["trace_id"].is_null(), "nothing of ours is added: {}", answer.text());
    answer.json()
}

fn last_path(simulator: &Simulator) -> String {
    simulator.truth().last().expect("a request arrived").path
}

const LINES: &[u8] = br#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}}
"#;

fn upload(gateway: &Gateway, fields: &str) -> Value {
    let file = [b"lines.jsonl|".as_slice(), LINES].concat();
    let parts: [(&str, &[u8]); 2] = [("purpose", b"batch"), ("file", &file)];
    good(gateway.ask(&post_form("/v1/files", fields, &parts)))
}

// ---- Files and batches ----------------------------------------------------------------------------------------------------

#[test]
fn files_live_at_the_provider_that_took_them() {
    let (gateway, openai, mistral) = two();
    for (provider, simulator, mark) in [("openai", &openai, ""), ("mistral", &mistral, "~mistral")] {
        let file = upload(&gateway, &at(provider));
        let id = file["id"].as_str().expect("an id").to_owned();
        assert!(id.starts_with("file-") && id.ends_with(mark) && id.contains('~') != mark.is_empty(), "{id}");
        let own = id.trim_end_matches(mark);
        assert_eq!(good(ask(&gateway, "GET", &format!("/v1/files/{id}")))["id"], json!(id));
        assert_eq!(last_path(simulator), format!("/v1/files/{own}"), "its own id, without the mark");
        let content = ask(&gateway, "GET", &format!("/v1/files/{id}/content"));
        assert_eq!((content.status, &*content.body), (200, LINES), "to the byte");
        let list = good(gateway.ask(&bare("GET", "/v1/files?limit=5", &at(provider))));
        assert_eq!((&list["data"][0]["id"], &list["first_id"], &list["last_id"]), (&json!(id), &json!(id), &json!(id)));
        good(gateway.ask(&bare("GET", &format!("/v1/files?after={id}&limit=5"), &key())));
        assert_eq!(last_path(simulator), format!("/v1/files?after={own}&limit=5"), "the cursor finds its provider");
        let gone = good(ask(&gateway, "DELETE", &format!("/v1/files/{id}")));
        assert_eq!((&gone["id"], &gone["deleted"]), (&json!(id), &json!(true)));
        let answer = ask(&gateway, "GET", &format!("/v1/files/{id}"));
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!(simulator.truth().violations(), []);
    }
}

#[test]
fn batches_find_their_files_again() {
    let (gateway, openai, mistral) = two();
    for (provider, simulator, mark) in [("openai", &openai, ""), ("mistral", &mistral, "~mistral")] {
        let file = upload(&gateway, &at(provider))["id"].as_str().expect("an id").to_owned();
        let body = json!({ "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "metadata": { "mine": "kept" } });
        // Nothing but the file's id says where.
        let batch = good(gateway.ask(&post_with("/v1/batches", &key(), body.to_string().as_bytes())));
        let id = batch["id"].as_str().expect("an id").to_owned();
        assert!(id.starts_with("batch_") && id.ends_with(mark), "{id}");
        assert_eq!((&batch["input_file_id"], &batch["metadata"]), (&json!(file), &json!({ "mine": "kept" })));
        let record = simulator.truth().last().expect("a request arrived");
        let sent: Value = serde_json::from_slice(&record.body.expect("bodies are kept")).expect("JSON");
        assert_eq!(sent["input_file_id"], file.trim_end_matches(mark));
        let mut seen = batch;
        for _ in 0..3 {
            seen = good(ask(&gateway, "GET", &format!("/v1/batches/{id}")));
        }
        assert_eq!((&seen["id"], &seen["status"]), (&json!(id), &json!("completed")), "{seen}");
        let output = seen["output_file_id"].as_str().expect("an id");
        assert!(output.ends_with(mark), "{output}");
        let lines = ask(&gateway, "GET", &format!("/v1/files/{output}/content"));
        assert!(lines.status == 200 && lines.text().contains("\"custom_id\":\"a\""), "{}", lines.text());
        let list = good(gateway.ask(&bare("GET", "/v1/batches", &at(provider))));
        assert_eq!((&list["data"][0]["id"], &list["data"][0]["output_file_id"]), (&json!(id), &json!(output)));
        let late = ask(&gateway, "POST", &format!("/v1/batches/{id}/cancel"));
        assert_eq!(late.status, 409, "the provider's own refusal: {}", late.text());
        assert!(late.message().contains("completed"), "{}", late.text());
        let other = upload_other(&gateway, &at(provider));
        let body = body.to_string().replace(&file, &other);
        let batch = good(gateway.ask(&post_with("/v1/batches", &key(), body.as_bytes())));
        let path = format!("/v1/batches/{}/cancel", batch["id"].as_str().expect("an id"));
        assert_eq!(good(ask(&gateway, "POST", &path))["status"], "cancelling");
        assert_eq!(simulator.truth().violations(), []);
    }
}

fn upload_other(gateway: &Gateway, fields: &str) -> String {
    let parts: [(&str, &[u8]); 2] = [("purpose", b"batch"), ("file", b"other.jsonl|{}\n")];
    good(gateway.ask(&post_form("/v1/files", fields, &parts)))["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_stored_object_is_never_looked_for_elsewhere() {
    let down = Scripted::start(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let mistral = simulator("mistral", Surface::OpenAi);
    let gateway = Gateway::builder().provider_at("openai", &down.base_url(), "").provider("mistral", &mistral).start();
    for (method, path) in [("GET", "/v1/files/file-1"), ("GET", "/v1/files"), ("DELETE", "/v1/files/file-1")] {
        let answer = ask(&gateway, method, path);
        answer.must_be_fault(503, "all_providers_unavailable");
    }
    assert_eq!(down.requests(), 3);
    assert_eq!(mistral.truth().counts().requests, 0, "what is stored at one provider is not at another");
    let unknown = ask(&gateway, "GET", "/v1/files/file-1~nobody");
    assert!(unknown.status >= 400, "{}", unknown.text());
}

#[test]
fn the_content_of_a_file_is_no_object_of_ours() {
    let content = r#"{"id":"mine","data":[{"id":"also mine"}],"usage":{"prompt_tokens":5}}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{content}",
        content.len()
    );
    let scripted = Scripted::start(answer.as_bytes());
    let gateway = Gateway::builder().own_provider("store", &scripted.base_url(), "").start();
    let answer = ask(&gateway, "GET", "/v1/files/file-1~store/content");
    assert_eq!((answer.status, answer.text()), (200, content.to_owned()), "to the byte");
}

// ---- A provider's own API -------------------------------------------------------------------------------------------------

#[test]
fn a_passthrough_changes_nothing_but_the_key() {
    let simulator = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::before(&simulator);
    // Odd white space, an escape and a number that no parser may touch; a member that elsewhere would be ours.
    let body = "{ \"model\":\"gpt-4o\",\n\t\"messages\" : [{\"role\":\"user\",\"content\":\"na\\u00efve\"}],\"temperature\":0.70, \"user\":\"sim:tokens=9\"}";
    let path = "/v1/passthrough/openai/chat/completions?trace=1&x=%20";
    let answer = gateway.ask(&with_body("POST", path, "application/json; charset=utf-8", &key(), body.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = simulator.truth().last().expect("a request arrived");
    assert_eq!(record.body.as_deref(), Some(body.as_bytes()), "to the byte");
    assert_eq!(record.path, "/v1/chat/completions?trace=1&x=%20");
    assert_eq!(record.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(simulator.truth().requests_with_key(&provider_key("openai")), 1);
    let request = with_body(
        "POST",
        "/v1/chat/completions",
        "application/json",
        &bearer(&provider_key("openai")),
        body.as_bytes(),
    );
    assert_eq!(answer.text(), Client::connect(simulator.addr()).ask(&request).text(), "and so is the answer");
    let used = (answer.json()["usage"]["prompt_tokens"].as_u64(), answer.json()["usage"]["completion_tokens"].as_u64());
    wait_until(SOON, "the books show attempt and tokens", || {
        let usage = gateway.page("/v1/tenants/default/usage").json();
        usage["attempts"] == 1 && (usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64()) == used
    });
    assert_eq!(simulator.truth().violations(), []);
}

#[test]
fn a_passed_stream_is_the_providers_to_the_byte() {
    let (openai, anthropic) = (simulator("openai", Surface::OpenAi), simulator("anthropic", Surface::Anthropic));
    let gateway = Gateway::builder().provider("openai", &openai).provider("anthropic", &anthropic).start();
    let message = json!([{ "role": "user", "content": "hello" }]);
    let usage = json!({ "include_usage": true });
    for (provider, simulator, path, body) in [
        ("openai", &openai, "/v1/chat/completions", json!({ "model": "gpt-4o", "messages": message, "stream": true })),
        (
            "openai",
            &openai,
            "/v1/chat/completions",
            json!({ "model": "gpt-4o", "messages": message, "stream": true, "stream_options": usage }),
        ),
        ("openai", &openai, "/v1/responses", json!({ "model": "gpt-4.1", "input": "hello", "stream": true })),
        (
            "anthropic",
            &anthropic,
            "/v1/messages",
            json!({ "model": "claude-sonnet-4-6", "max_tokens": 50, "messages": message, "stream": true }),
        ),
    ] {
        let own = if provider == "openai" { path.trim_start_matches("/v1") } else { path };
        let bytes = body.to_string();
        let answer = gateway.ask(&post_with(&format!("/v1/passthrough/{provider}{own}"), &key(), bytes.as_bytes()));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let key = provider_key(provider);
        let fields = format!("x-api-key: {key}\r\nanthropic-version: 2023-06-01\r\n");
        let fields = if provider == "openai" { bearer(&key) } else { fields };
        let direct = Client::connect(simulator.addr()).ask(&post_with(path, &fields, bytes.as_bytes()));
        assert_eq!(direct.status, 200, "{}", direct.text());
        assert_eq!(answer.text(), direct.text(), "{path}");
        assert!(answer.whole);
    }
}

#[test]
fn every_method_and_every_slash_reaches_the_provider() {
    let scripted = Scripted::start(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Gateway::builder().own_provider("raw", &scripted.base_url(), "").start();
    for (method, path, expected) in [
        ("GET", "/things/", "/v1/things/"),
        ("DELETE", "/things/a%20b?x=1&x=2", "/v1/things/a%20b?x=1&x=2"),
        ("OPTIONS", "/things", "/v1/things"),
        ("GET", "", "/v1"),
        ("GET", "?page=2", "/v1?page=2"),
    ] {
        let answer = ask(&gateway, method, &format!("/v1/passthrough/raw{path}"));
        assert_eq!((answer.status, &*answer.body), (200, b"ok".as_slice()), "{method} {path}");
        let line = format!("{method} {expected} HTTP/1.1\r\n");
        assert!(scripted.heard().starts_with(&line), "{}", scripted.heard());
    }
    for method in ["PUT", "PATCH", "POST"] {
        let answer = gateway.ask(&with_body(method, "/v1/passthrough/raw/things", "text/csv", &key(), b"a,b\n1,2\n"));
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        let heard = scripted.heard();
        assert!(heard.starts_with(&format!("{method} /v1/things HTTP/1.1\r\n")), "{heard}");
        assert!(heard.contains("content-type: text/csv\r\n") && heard.ends_with("\r\n\r\na,b\n1,2\n"), "{heard}");
    }
    for escape in ["/../admin", "/a/../../b", "/./a", "/a%2Fb", "/%2e%2e/admin"] {
        let before = scripted.requests();
        let answer = ask(&gateway, "GET", &format!("/v1/passthrough/raw{escape}"));
        assert!(
            answer.status == 400 && scripted.requests() == before,
            "{escape}: {} {}",
            answer.text(),
            scripted.heard()
        );
    }
}

#[test]
fn answers_without_a_body_stay_without_one() {
    let scripted = Scripted::start(b"HTTP/1.1 204 No Content\r\n\r\n");
    let gateway = Gateway::builder().own_provider("raw", &scripted.base_url(), "").start();
    for (script, method, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "DELETE", 204),
        ("HTTP/1.1 204 No Content\r\ncontent-type: application/json\r\n\r\n", "DELETE", 204),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n", "HEAD", 200),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "GET", 200),
    ] {
        scripted.say(script.as_bytes());
        let mut client = gateway.client();
        for _ in 0..2 {
            client.send(&bare(method, "/v1/passthrough/raw/x", &key()));
            let answer = if method == "HEAD" { client.answer_to_head() } else { client.answer() };
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{script:?}: {}", answer.text());
            if status == 204 {
                let framing = (answer.header("content-length"), answer.header("transfer-encoding"));
                assert_eq!(framing, (None, None), "RFC 9112 §6: a 204 has no framing");
            }
        }
    }
}

/// A chat in the provider's own API.
fn chat(gateway: &Gateway) -> Answer {
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "hi" }] }).to_string();
    gateway.ask(&post_with("/v1/passthrough/openai/chat/completions", &key(), body.as_bytes()))
}

#[test]
fn a_providers_refusal_keeps_its_status_and_its_words() {
    let simulator = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::before(&simulator);
    let nowhere = ask(&gateway, "GET", "/v1/passthrough/openai/nowhere");
    assert_eq!(nowhere.status, 404, "{}", nowhere.text());
    let body = json!({ "model": "gpt-4o", "messages": 5 }).to_string();
    let wrong = gateway.ask(&post_with("/v1/passthrough/openai/chat/completions", &key(), body.as_bytes()));
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (400, &json!("messages")), "{}", wrong.text());
    for status in [405, 406, 409, 410, 412, 415, 416, 418, 422, 428] {
        let body = format!(r#"{{"error":{{"message":"because of {status}","type":"x","param":null,"code":null}}}}"#);
        let fault = Fault::Status { code: status, retry_after: None, body: Some(body) };
        simulator.set_behaviour(Behaviour::default().with_fault(fault, When::Always));
        let answer = chat(&gateway);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.message().contains(&format!("because of {status}")), "{}", answer.text());
    }
    // What is about our key, our money or the provider's health is ours to say.
    for (status, expected) in [(401, 502), (402, 503), (429, 429), (500, 503)] {
        simulator.set_behaviour(Behaviour::default().with_fault(Fault::status(status), When::Always));
        let answer = chat(&gateway);
        assert_eq!(answer.status, expected, "{status}: {}", answer.text());
    }
}

#[test]
fn a_provider_that_is_not_there_is_named_as_such() {
    let simulator = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::before(&simulator);
    for path in ["/v1/passthrough/nobody/models", "/v1/passthrough//models", "/v1/passthrough/anthropic/v1/models"] {
        let answer = ask(&gateway, "GET", path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(answer.message().contains("not configured"), "{path}: {}", answer.text());
    }
    assert_eq!(simulator.truth().counts().requests, 0);
}

#[test]
fn no_key_of_either_side_crosses_over() {
    let simulator = simulator("openai", Surface::OpenAi);
    let mut gateway =
        Gateway::builder().provider("openai", &simulator).config_toml("[log]\nlevel = \"trace\"\n").start();
    let secret = provider_key("openai");
    let quoted = format!(r#"{{"error":{{"message":"Incorrect key {secret}","code":"{secret}","param":"{secret}"}}}}"#);
    let mut told = Vec::new();
    for status in [200, 400, 401, 404, 409, 429, 500] {
        let fault = Fault::Status { code: status, retry_after: None, body: Some(quoted.clone()) };
        if status > 200 {
            simulator.set_behaviour(Behaviour::default().with_fault(fault, When::Always));
        }
        for header in [
            key(),
            format!("x-api-key: {ACCESS_KEY}\r\n"),
            format!("x-goog-api-key: {ACCESS_KEY}\r\n"),
            format!("api-key: {ACCESS_KEY}\r\n"),
        ] {
            let fields =
                format!("{header}cookie: {ACCESS_KEY}\r\nx-mine: {ACCESS_KEY}\r\nopenai-organization: mine\r\n");
            let body = br#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;
            for request in [
                post_with("/v1/passthrough/openai/chat/completions", &fields, body),
                bare("GET", "/v1/files", &fields),
                bare("GET", "/v1/files/file-1", &fields),
            ] {
                let mut client = gateway.client();
                client.ask(&request);
                told.extend_from_slice(&client.received);
            }
        }
    }
    for record in simulator.truth().requests() {
        assert_eq!(record.key.as_deref().map(|key| &key[key.len() - 4..]), Some("cdef"));
        for name in ["x-api-key", "x-goog-api-key", "api-key", "cookie", "x-mine", "openai-organization"] {
            assert_eq!(record.header(name), None, "{:?}", record.headers);
        }
        assert!(!format!("{:?}", record.headers).contains("canary-all-scopes"), "{:?}", record.headers);
    }
    gateway.signal("TERM");
    assert!(gateway.wait(SOON).is_some());
    for (place, text) in [
        ("what clients were told", String::from_utf8_lossy(&told).into_owned()),
        ("stdout", gateway.stdout()),
        ("stderr", gateway.stderr()),
    ] {
        for secret in [&*secret, ACCESS_KEY] {
            assert!(!text.contains(secret), "{place} holds {secret}");
        }
    }
}

#[test]
fn a_key_for_some_models_or_providers_is_held_to_them() {
    let (openai, mistral) = (simulator("openai", Surface::OpenAi), simulator("mistral", Surface::OpenAi));
    let restricted = |name: &str, limits: &str| {
        format!(
            "[[access_keys]]\nname = \"{name}\"\nkey = {{ file = \"{{home}}/{name}.txt\" }}\nscopes = [\"inference\"]\nlimits = {limits}\n"
        )
    };
    let gateway = Gateway::builder()
        .provider("openai", &openai)
        .provider("mistral", &mistral)
        .file("one-model.txt", "sk-igris-canary-one-model-0123456789abcdef")
        .file("one-provider.txt", "sk-igris-canary-one-provider-0123456789abcdef")
        .config_toml(&restricted("one-model", r#"{ models = ["omni-*"] }"#))
        .config_toml(&restricted("one-provider", r#"{ providers = ["mistral"] }"#))
        .start();
    let ask = |name: &str, path: &str, body: &str| {
        let fields = bearer(&format!("sk-igris-canary-{name}-0123456789abcdef"));
        match body {
            "" => gateway.ask(&bare("GET", path, &fields)),
            body => gateway.ask(&post_with(path, &fields, body.as_bytes())),
        }
    };
    let chat = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}"#;
    for (path, body) in [
        ("/v1/passthrough/openai/chat/completions", chat),
        ("/v1/files", ""),
        ("/v1/moderations", r#"{"input":"x"}"#),
        ("/v1/moderations", r#"{"input":"x","model":"text-moderation-latest"}"#),
    ] {
        let answer = ask("one-model", path, body);
        answer.must_be_fault(403, "model_not_allowed");
    }
    assert_eq!(ask("one-model", "/v1/moderations", r#"{"input":"x","model":"omni-moderation-latest"}"#).status, 200);
    let used = openai.truth().counts().requests;
    assert_eq!(used, 1);
    assert_eq!(ask("one-provider", "/v1/passthrough/openai/models", "").status, 400);
    assert_eq!(ask("one-provider", "/v1/files", "").header("x-igris-provider"), Some("mistral"));
    assert_eq!(openai.truth().counts().requests, used);
}

#[test]
fn anthropics_files_and_batches_stand_where_it_has_them() {
    let said = r#"{"id":"x_1","type":"file","data":[{"id":"y_2"}],"first_id":"y_2"}"#;
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{said}", said.len());
    let scripted = Scripted::start(answer.as_bytes());
    let origin = scripted.base_url().trim_end_matches("/v1").to_owned();
    let gateway = Gateway::builder().provider_at("anthropic", &origin, "").start();
    let fields = format!("{}anthropic-beta: files-api-2025-04-14\r\n", key());
    for (path, there) in [
        ("/v1/files/x_1~anthropic", "/v1/files/x_1"),
        ("/v1/files?after_id=y_2~anthropic", "/v1/files?after_id=y_2"),
        ("/v1/batches/x_1~anthropic", "/v1/messages/batches/x_1"),
    ] {
        let answer = gateway.ask(&bare("GET", path, &fields)).json();
        let ids = (&answer["id"], &answer["data"][0]["id"], &answer["first_id"]);
        assert_eq!(ids, (&json!("x_1~anthropic"), &json!("y_2~anthropic"), &json!("y_2~anthropic")), "{path}");
        let heard = scripted.heard();
        assert!(heard.starts_with(&format!("GET {there} HTTP/1.1\r\n")), "{heard}");
        assert!(
            heard.contains("anthropic-version: ") && heard.contains("anthropic-beta: files-api-2025-04-14\r\n"),
            "{heard}"
        );
    }
}

#[test]
fn long_fields_of_a_client_fit_beside_the_credential() {
    let scripted = Scripted::start(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Gateway::builder().own_provider("raw", &scripted.base_url(), "").start();
    let long = "x".repeat(3000);
    let fields = format!("{}OpenAI-Beta: assistants=v2, {long}\r\n", key());
    let request = with_body("POST", "/v1/passthrough/raw/threads", &format!("text/plain; name={long}"), &fields, b"{}");
    assert_eq!(gateway.ask(&request).status, 200);
    let heard = scripted.heard();
    assert!(heard.contains(&format!("openai-beta: assistants=v2, {long}\r\n")), "{heard}");
    assert!(heard.contains(&format!("content-type: text/plain; name={long}\r\n")), "{heard}");
}

// ---- Large bodies ---------------------------------------------------------------------------------------------------------

const MIB: usize = 1024 * 1024;

/// A form with a file of so many bytes, its model before it.
fn recording(bytes: usize) -> Vec<u8> {
    let mut file = b"speech.wav|".to_vec();
    file.extend((0..bytes).map(|place| (place * 31 + place / 7) as u8));
    form(&[("model", b"openai/whisper-1"), ("file", &file)])
}

fn transcription_head(framing: &str) -> Vec<u8> {
    let key = key();
    format!("POST /v1/audio/transcriptions HTTP/1.1\r\nHost: gateway\r\nContent-Type: {FORM}\r\n{key}{framing}\r\n\r\n")
        .into_bytes()
}

#[test]
fn a_large_upload_streams_through() {
    let simulator = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::before(&simulator);
    let body = recording(40 * MIB);
    let sent = String::from_utf8_lossy(&body[..88]).replace("openai/whisper-1", "whisper-1");
    let mut client = gateway.client();
    let before = gateway.peak_bytes();
    client.send(&transcription_head(&format!("Content-Length: {}", body.len())));
    client.send(&body);
    let answer = client.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let grown = gateway.peak_bytes().saturating_sub(before);
    assert!(grown < 12 * MIB as u64, "the gateway grew by {grown} bytes for a body of {}", body.len());
    let record = simulator.truth().last().expect("a request arrived");
    assert_eq!(record.body_bytes, body.len() - "openai/".len());
    let there = record.body.clone().expect("bodies are kept");
    assert!(there.starts_with(sent.as_bytes()) && there.ends_with(&body[body.len() - MIB..]));
    assert_eq!(record.header("content-length"), Some(&*there.len().to_string()));
    // The line stands at a message border.
    assert_eq!(client.ask(&bare("GET", "/v1/health/live", "")).status, 200);
}

#[test]
fn a_chunked_upload_streams_too() {
    let simulator = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::before(&simulator);
    for (bytes, size) in [(2 * MIB + 17, 65_521), (9, 3)] {
        let body = recording(bytes);
        let mut client = gateway.client();
        client.send(&transcription_head("Transfer-Encoding: chunked"));
        client.send(&chunked(&body, size));
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let record = simulator.truth().last().expect("a request arrived");
        assert_eq!(record.body_bytes, body.len() - "openai/".len());
        assert_eq!(client.ask(&bare("GET", "/v1/health/live", "")).status, 200, "the line stands at a message border");
    }
    assert_eq!(simulator.truth().violations(), []);
}

#[test]
fn a_client_that_waits_is_invited() {
    let simulator = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::before(&simulator);
    let body = recording(2 * MIB);
    let mut client = gateway.client();
    client.send(&transcription_head(&format!("Expect: 100-continue\r\nContent-Length: {}", body.len())));
    assert_eq!(client.next_answer().status, 100);
    client.send(&body);
    assert_eq!(client.answer().status, 200);
    let mut client = gateway.client();
    let head = transcription_head(&format!("Expect: 100-continue\r\nContent-Length: {}", body.len()));
    client.send(&String::from_utf8_lossy(&head).replace(ACCESS_KEY, "sk-nobody").into_bytes());
    assert_eq!(client.next_answer().status, 401, "who may not ask is not invited (rule H13)");
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_behind() {
    let simulator = simulator("openai", Surface::OpenAi);
    let gateway = Gateway::before(&simulator);
    let body = recording(8 * MIB);
    let before = gateway.sockets();
    for framing in [format!("Content-Length: {}", body.len()), "Transfer-Encoding: chunked".to_owned()] {
        let mut client = gateway.client();
        client.send(&transcription_head(&framing));
        let part =
            if framing.starts_with('T') { chunked(&body, MIB)[..4 * MIB].to_vec() } else { body[..4 * MIB].to_vec() };
        client.send(&part);
        drop(client);
    }
    wait_until(SOON, "both sides are closed", || gateway.sockets() <= before);
    assert_eq!(simulator.truth().counts().requests, 0, "half a request is none");
    wait_until(SOON, "the books have the attempts", || {
        gateway.page("/v1/tenants/default/usage").json()["attempts"] == 2
    });
}

#[test]
fn a_failed_connection_costs_an_upload_nothing() {
    let simulator = simulator("openai", Surface::OpenAi);
    let route = "[[models]]\nname = \"ears\"\npolicy = \"ordered\"\ntargets = [{ provider = \"closed\", model = \"gpt-4o\" }, { provider = \"openai\", model = \"gpt-4o-transcribe\" }]\n";
    let gateway = Gateway::builder()
        .own_provider("closed", &format!("http://{}/v1", closed_address()), "")
        .provider("openai", &simulator)
        .config_toml(route)
        .start();
    let mut file = b"a.wav|".to_vec();
    file.resize(2 * MIB, 7);
    let answer = gateway.ask(&post_form("/v1/audio/transcriptions", &key(), &[("model", b"ears"), ("file", &file)]));
    assert_eq!(answer.status, 200, "nothing of the body had gone: {}", answer.text());
    assert_eq!(answer.header("x-igris-attempts"), Some("2"));
}

/// A provider that answers as soon as it has the head, and reads no further for a while.
fn hasty(answer: &'static str) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    let url = format!("http://{}/v1", listener.local_addr().expect("a bound socket has an address"));
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut room = [0; 4096];
        let _ = stream.read(&mut room);
        let _ = stream.write_all(answer.as_bytes());
        std::thread::sleep(Duration::from_secs(2));
    });
    (url, thread)
}

#[test]
fn an_answer_before_the_end_of_an_upload_closes_the_line() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"text\":\"hi\"}", 200),
        ("HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", 413),
    ] {
        let (url, thread) = hasty(answer);
        let gateway = Gateway::builder().own_provider("hasty", &url, "").start();
        // What is left of the body would be requests, were it read as such (rule H14).
        let poison = bare("GET", "/v1/models", &key()).repeat(400_000 / 10);
        let file = [b"a.wav|".as_slice(), &poison, &vec![0; 12 * MIB]].concat();
        let mut client = gateway.client();
        let body = form(&[("model", b"hasty/gpt-4o"), ("file", &file)]);
        client.send(&transcription_head(&format!("Content-Length: {}", body.len())));
        client.send(&body);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.read_to_close(), b"", "nothing of the body was taken for a request");
        thread.join().expect("it only sleeps");
    }
}

#[test]
fn an_error_in_a_200_is_the_callers_own_on_a_passthrough() {
    let body = r#"{"choices":null,"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#;
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let minimax = Scripted::start(answer.as_bytes());
    let gateway = Gateway::builder().provider_at("minimax", &minimax.base_url(), "").start();
    let answer = ask(&gateway, "GET", "/v1/passthrough/minimax/anything");
    assert_eq!((answer.status, answer.text().as_str()), (200, body), "to the byte");
}
