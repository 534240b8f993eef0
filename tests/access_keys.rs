//! Access keys from outside: what they are held to, how they change, and how fast a change holds on every core.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use igris_load::Simulator;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{
    ACCESS_KEY, Answer, BOOKS_KEY, Builder, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, bare, bearer, chat, chat_of,
    post_with, stream_of, wait_until,
};

const CHAT: &str = "/v1/chat/completions";
const OWN: &str = "/v1/tenants/default/access-keys";

fn simulator() -> Simulator {
    Simulator::builder().start().expect("a loopback port")
}

/// An access key of the tenant `default` by the admin socket: its id and its text.
#[track_caller]
fn made(gateway: &Gateway, terms: &Value) -> (String, String) {
    let mut body = json!({ "name": "made" });
    body.as_object_mut().expect("an object").extend(terms.as_object().cloned().expect("an object"));
    let answer = gateway.admin_ask("POST", "/access-keys", &body.to_string());
    assert_eq!(answer.status, 201, "{}", answer.text());
    id_and_text(&answer)
}

fn id_and_text(answer: &Answer) -> (String, String) {
    let member = |name: &str| answer.json()[name].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
    (member("id"), member("key"))
}

/// A request with this key, its JSON body where there is one.
fn ask(gateway: &Gateway, method: &str, path: &str, key: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    gateway.ask(&support::with_body(method, path, "application/json", &bearer(key), body.as_bytes()))
}

fn chat_with(gateway: &Gateway, key: &str, fields: &str) -> Answer {
    gateway.ask(&post_with(CHAT, &format!("{}{fields}", bearer(key)), chat("hello").as_bytes()))
}

/// An answer without what differs between any two requests.
fn bare_bones(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let own = ["x-request-id", "date", "x-igris-overhead-us"];
    let kept = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    (answer.status, kept.cloned().collect(), answer.text())
}

/// The stored digest of a key.
fn digest_of(gateway: &Gateway, id: &str) -> Vec<u8> {
    let listed = gateway.admin("/access-keys").json();
    let place = listed["data"].as_array().and_then(|all| all.iter().position(|key| key["id"] == id)).expect("listed");
    let store = rusqlite::Connection::open(gateway.home().join("data/igris.db")).expect("the store");
    let sql = "SELECT digest FROM access_keys WHERE tenant = 'default' ORDER BY created, id";
    let mut rows = store.prepare(sql).expect("the table");
    let digests = rows.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
    digests.map(|row| row.expect("a digest")).nth(place).expect("as many as are listed")
}

// === Which key it is ===

#[test]
fn rules_v9_v10_v11_what_is_no_key_gets_one_answer_whatever_it_is() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let (id, text) = made(&gateway, &json!({}));
    assert_eq!(chat_with(&gateway, &text, "").status, 200);
    let digest = digest_of(&gateway, &id);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut mistyped = text.clone().into_bytes();
    mistyped[20] = if mistyped[20] == b'a' { b'b' } else { b'a' };
    let (revoked_id, revoked) = made(&gateway, &json!({}));
    assert_eq!(gateway.admin_ask("DELETE", &format!("/access-keys/{revoked_id}"), "").status, 200);
    let (expired_id, expired) = made(&gateway, &json!({}));
    let rotated = gateway.admin_ask("POST", &format!("/access-keys/{expired_id}/rotate"), r#"{"overlap_minutes":0}"#);
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let unknown = bare_bones(&chat_with(&gateway, "sk-igris-nobody-ever-made-this-one", ""));
    assert_eq!((unknown.0, unknown.2.contains("invalid_api_key")), (401, true), "{unknown:?}");
    for (what, shown) in [
        ("another kind of text", "a-text-of-some-other-gateway".to_owned()),
        ("mistyped", String::from_utf8(mistyped).expect("ASCII")),
        ("cut short", text[..57].to_owned()),
        ("too long", format!("{text}0")),
        ("revoked", revoked),
        ("ended", expired),
        ("a digest in hex", hex),
        ("a digest in base64", STANDARD.encode(&digest)),
        (
            "a digest in the form of a key",
            format!("sk-igris-{}", STANDARD.encode(&digest).replace(['+', '/', '='], "0")),
        ),
        ("an id", id),
    ] {
        assert_eq!(bare_bones(&chat_with(&gateway, &shown, "")), unknown, "{what}: {shown}");
    }
    assert_eq!(chat_with(&gateway, &text, "").status, 200);
    assert_eq!(simulator.truth().counts().requests, 2, "nothing of the others went out");
}

#[test]
fn an_owners_text_is_a_key_whatever_its_checksum() {
    let simulator = simulator();
    let supplied = format!("sk-igris-{}", "a".repeat(49));
    let gateway = Gateway::builder()
        .provider("openai", &simulator)
        .config_toml("[[access_keys]]\nname = \"odd\"\nkey = { env = \"ODD_KEY\" }\n")
        .env("ODD_KEY", &supplied)
        .start();
    assert_eq!(chat_with(&gateway, &supplied, "").status, 200);
    assert_eq!(chat_with(&gateway, &supplied.replace("aaa", "aab"), "").status, 401);
}

// === What a key is held to ===

/// Every kind of task with a path that asks for it.
const TASKS: [(&str, &str, &str); 16] = [
    ("chat", "POST", CHAT),
    ("chat", "POST", "/v1/infer"),
    ("chat", "POST", "/v1/responses"),
    ("chat", "POST", "/v1/messages"),
    ("chat", "POST", "/v1/messages/count_tokens"),
    ("chat", "POST", "/v1beta/models/gpt-4o:generateContent"),
    ("chat", "POST", "/v1/routing/preview"),
    ("completions", "POST", "/v1/completions"),
    ("embeddings", "POST", "/v1/embeddings"),
    ("moderations", "POST", "/v1/moderations"),
    ("images", "POST", "/v1/images/generations"),
    ("audio", "POST", "/v1/audio/speech"),
    ("rerank", "POST", "/v1/rerank"),
    ("files", "GET", "/v1/files"),
    ("batches", "GET", "/v1/batches"),
    ("passthrough", "GET", "/v1/passthrough/openai/models"),
];

#[test]
fn a_key_is_held_to_its_endpoints() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "x" }], "input": "x" });
    for endpoint in [
        "chat",
        "completions",
        "embeddings",
        "moderations",
        "images",
        "audio",
        "rerank",
        "files",
        "batches",
        "realtime",
        "passthrough",
    ] {
        let (_, key) = made(&gateway, &json!({ "limits": { "endpoints": [endpoint] } }));
        let before = simulator.truth().counts().requests;
        for (kind, method, path) in TASKS.iter().filter(|(kind, ..)| *kind != endpoint) {
            let answer = ask(&gateway, method, path, &key, if *method == "POST" { &body } else { &Value::Null });
            assert_eq!(answer.status, 403, "{endpoint}: {path}: {}", answer.text());
            assert!(
                answer.text().contains(&format!("may not ask for {kind}")),
                "{endpoint}: {path}: {}",
                answer.text()
            );
        }
        assert_eq!(simulator.truth().counts().requests, before, "{endpoint}");
        for (_, method, path) in TASKS.iter().filter(|(kind, ..)| *kind == endpoint) {
            let answer = ask(&gateway, method, path, &key, if *method == "POST" { &body } else { &Value::Null });
            assert!(!answer.text().contains("may not ask"), "{endpoint}: {path}: {}", answer.text());
        }
        // What a key may use is no task.
        assert_eq!(ask(&gateway, "GET", "/v1/models", &key, &Value::Null).status, 200);
    }
    let (_, key) = made(&gateway, &json!({ "limits": { "endpoints": ["realtime"] } }));
    let refused = chat_with(&gateway, &key, "");
    refused.must_be_fault(403, "endpoint_not_allowed");
}

#[test]
fn rule_h11_a_key_is_held_to_its_sources_by_the_word_of_listed_proxies() {
    let simulator = simulator();
    let behind = Gateway::builder().provider("openai", &simulator).server(r#"trusted_proxies = ["127.0.0.1"]"#).start();
    let (_, key) =
        made(&behind, &json!({ "scopes": ["inference", "admin"], "limits": { "sources": ["192.0.2.0/24"] } }));
    for (fields, status) in [
        ("", 403),
        ("X-Forwarded-For: 192.0.2.7\r\n", 200),
        ("x-forwarded-for: 192.0.2.7:1234\r\n", 200),
        ("X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\n", 200),
        ("X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n", 200),
        ("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 192.0.2.7\r\n", 200),
        ("X-Forwarded-For: 192.0.2.7, 198.51.100.1\r\n", 403),
        ("X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 198.51.100.1\r\n", 403),
        ("X-Forwarded-For: 192.0.2.7, unknown\r\n", 403),
        ("X-Forwarded-For: ::ffff:192.0.2.7\r\n", 200),
        ("X-Forwarded-Host: 192.0.2.7\r\n", 403),
        ("X_Forwarded_For: 192.0.2.7\r\n", 403),
        ("X-Real-IP: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n", 403),
    ] {
        let answer = chat_with(&behind, &key, fields);
        assert_eq!(answer.status, status, "{fields}: {}", answer.text());
        if status == 403 {
            answer.must_be_fault(403, "source_not_allowed");
        }
        let own = behind.ask(&bare("GET", OWN, &format!("{}{fields}", bearer(&key))));
        assert_eq!(own.status, status, "the tenant's own API, {fields}: {}", own.text());
    }
    for path in ["/v1/models", "/v1/files", "/v1/passthrough/openai/models", "/v1/tenants/default/usage"] {
        let answer = behind.ask(&bare("GET", path, &bearer(&key)));
        answer.must_be_fault(403, "source_not_allowed");
    }
    assert_eq!(chat_with(&behind, ACCESS_KEY, "").status, 200, "a key without sources comes from anywhere");
    assert_eq!(chat_with(&behind, &format!("{key}x"), "").status, 401, "first whether it is a key");

    let alone = Gateway::before(&simulator);
    let (_, key) = made(&alone, &json!({ "limits": { "sources": ["192.0.2.0/24"] } }));
    chat_with(&alone, &key, "X-Forwarded-For: 192.0.2.7\r\n").must_be_fault(403, "source_not_allowed");
    let (_, local) = made(&alone, &json!({ "limits": { "sources": ["127.0.0.0/8", "::1"] } }));
    assert_eq!(chat_with(&alone, &local, "X-Forwarded-For: 203.0.113.9\r\n").status, 200);
}

#[test]
fn configuration_holds_its_keys_to_endpoints_and_sources_too() {
    let simulator = simulator();
    let entry = |name: &str, limits: &str| {
        format!("[[access_keys]]\nname = \"{name}\"\nkey = {{ file = \"{{home}}/{name}\" }}\nlimits = {{ {limits} }}\n")
    };
    let (near, far) = ("an-owners-key-for-near-0001", "an-owners-key-for-afar-0001");
    let gateway = Gateway::builder()
        .provider("openai", &simulator)
        .file("near", near)
        .file("far", far)
        .config_toml(&entry("near", r#"endpoints = ["chat"], sources = ["127.0.0.1"]"#))
        .config_toml(&entry("far", r#"sources = ["10.0.0.0/8"]"#))
        .start();
    assert_eq!(chat_with(&gateway, near, "").status, 200);
    ask(&gateway, "GET", "/v1/files", near, &Value::Null).must_be_fault(403, "endpoint_not_allowed");
    chat_with(&gateway, far, "").must_be_fault(403, "source_not_allowed");
    let listed = gateway.admin("/access-keys").json();
    let shown = listed["data"].as_array().expect("a list").iter().find(|key| key["name"] == "near").expect("listed");
    assert_eq!(shown["limits"], json!({ "endpoints": ["chat"], "sources": ["127.0.0.1/32"] }));
}

/// Every public path with the scopes that open it; `None`: any key, or none at all.
const SCOPED: [(&str, &str, &[&str]); 37] = [
    ("POST", CHAT, &["inference"]),
    ("POST", "/v1/infer", &["inference"]),
    ("POST", "/v1/responses", &["inference"]),
    ("POST", "/v1/messages", &["inference"]),
    ("POST", "/v1/messages/count_tokens", &["inference"]),
    ("POST", "/v1beta/models/gpt-4o:generateContent", &["inference"]),
    ("POST", "/v1/models/gpt-4o:streamGenerateContent", &["inference"]),
    ("POST", "/v1/completions", &["inference"]),
    ("POST", "/v1/embeddings", &["inference"]),
    ("POST", "/v1/moderations", &["inference"]),
    ("POST", "/v1/images/generations", &["inference"]),
    ("POST", "/v1/audio/speech", &["inference"]),
    ("POST", "/v1/rerank", &["inference"]),
    ("GET", "/v1/files", &["inference"]),
    ("GET", "/v1/batches", &["inference"]),
    ("GET", "/v1/passthrough/openai/models", &["inference"]),
    ("GET", "/v1/realtime?model=gpt-4o", &["inference"]),
    ("GET", "/v1/models", &["inference"]),
    ("GET", "/v1/models/gpt-4o", &["inference"]),
    ("GET", "/v1beta/models", &["inference"]),
    ("GET", "/v1/providers", &["inference"]),
    ("POST", "/v1/routing/preview", &["inference", "admin"]),
    ("GET", "/v1/providers/openai/stats", &["inference", "admin"]),
    ("GET", "/v1/routing/decisions/req_00000000000000000000000000", &["inference", "admin"]),
    ("GET", "/v1/tenants/default/providers/openai/keys", &["keys", "admin"]),
    ("POST", "/v1/tenants/default/providers/openai/keys", &["keys", "admin"]),
    ("GET", "/v1/tenants/default/providers/openai/keys/key_00000000000000000000000000", &["keys", "admin"]),
    ("POST", "/v1/tenants/default/providers/openai/keys/rotate", &["keys", "admin"]),
    ("GET", "/v1/tenants/default/rotations", &["keys", "admin"]),
    ("GET", "/v1/tenants/default/providers/openai/rotations", &["keys", "admin"]),
    ("GET", "/v1/tenants/default/usage", &["costs", "admin"]),
    ("GET", OWN, &["admin"]),
    ("POST", OWN, &["admin"]),
    ("GET", "/v1/tenants/default/access-keys/ak_00000000000000000000000000", &["admin"]),
    ("PATCH", "/v1/tenants/default/access-keys/ak_00000000000000000000000000", &["admin"]),
    ("DELETE", "/v1/tenants/default/access-keys/ak_00000000000000000000000000", &["admin"]),
    ("POST", "/v1/tenants/default/access-keys/ak_00000000000000000000000000/rotate", &["admin"]),
];

#[test]
fn every_path_wants_its_scope() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "x" }], "input": "x" });
    let keys =
        ["inference", "keys", "costs", "admin"].map(|scope| (scope, made(&gateway, &json!({ "scopes": [scope] })).1));
    for (method, path, opened_by) in SCOPED {
        let body = if method == "GET" || method == "DELETE" { &Value::Null } else { &body };
        assert_eq!(gateway.ask(&bare(method, path, "")).status, 401, "{method} {path} without a key");
        for (scope, key) in &keys {
            let answer = ask(&gateway, method, path, key, body);
            let refused = answer.status == 403 && answer.text().contains("lacks the scope");
            assert_eq!(!refused, opened_by.contains(scope), "{method} {path} with {scope}: {}", answer.text());
        }
    }
}

// === How a key changes ===

#[test]
fn a_key_is_changed_member_by_member() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let (id, key) = made(&gateway, &json!({ "limits": { "models": ["gpt-4o"], "endpoints": ["chat"] } }));
    let path = format!("/access-keys/{id}");
    let patch = |body: Value| gateway.admin_ask("PATCH", &path, &body.to_string());
    let shown = patch(json!({ "limits": { "endpoints": ["embeddings"] } }));
    assert_eq!((shown.status, &shown.json()["limits"]["models"]), (200, &json!(["gpt-4o"])), "{}", shown.text());
    chat_with(&gateway, &key, "").must_be_fault(403, "endpoint_not_allowed");
    let shown = patch(json!({ "limits": { "endpoints": null }, "name": "renamed" }));
    assert_eq!(shown.json()["limits"], json!({ "models": ["gpt-4o"] }), "{}", shown.text());
    assert_eq!((&shown.json()["name"], &shown.json()["scopes"]), (&json!("renamed"), &json!(["inference"])));
    assert_eq!(chat_with(&gateway, &key, "").status, 200);
    assert_eq!(patch(json!({ "scopes": ["costs"], "limits": null })).json()["limits"], json!({}));
    chat_with(&gateway, &key, "").must_be_fault(403, "insufficient_scope");
    let end = "2100-01-01T00:00:00Z";
    assert_eq!(patch(json!({ "expires_at": end })).json()["expires_at"], end);
    assert!(patch(json!({ "expires_at": null })).json()["expires_at"].is_null());
    assert_eq!(gateway.admin(&path).json()["name"], "renamed");
    for bad in [
        json!({ "name": null }),
        json!({ "name": "" }),
        json!({ "scopes": null }),
        json!({ "scopes": [] }),
        json!({ "scopes": ["root"] }),
        json!({ "limits": { "endpoints": ["everything"] } }),
        json!({ "limits": [] }),
        json!({ "expires_at": "tomorrow" }),
        json!({ "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "tenant": "other" }),
        json!({ "key": "sk-igris-mine" }),
    ] {
        assert_eq!(patch(bad.clone()).status, 400, "{bad}: {}", patch(bad.clone()).text());
    }
    assert_eq!(gateway.admin(&path).json()["scopes"], json!(["costs"]), "nothing of it was done");
}

#[test]
fn what_the_configuration_brought_is_changed_there_and_revoked_here() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let listed = gateway.admin("/access-keys").json();
    let all = listed["data"].as_array().expect("a list");
    let id = all.iter().find(|key| key["name"] == "narrow").expect("listed")["id"].as_str().expect("an id").to_owned();
    for (method, path) in [("PATCH", format!("/access-keys/{id}")), ("POST", format!("/access-keys/{id}/rotate"))] {
        let refused = gateway.admin_ask(method, &path, "{}");
        assert_eq!(refused.status, 409, "{}", refused.text());
        assert!(refused.text().contains("change it there and reload"), "{}", refused.text());
    }
    assert_eq!(chat_with(&gateway, INFERENCE_KEY, "").status, 200);
    assert_eq!(gateway.admin_ask("DELETE", &format!("/access-keys/{id}"), "").status, 200);
    chat_with(&gateway, INFERENCE_KEY, "").must_be_fault(401, "invalid_api_key");
    gateway.write_config(&gateway.config().replace("version = 1\n", "version = 2\n"));
    assert_eq!(gateway.admin_ask("POST", "/reload", "").status, 200);
    chat_with(&gateway, INFERENCE_KEY, "").must_be_fault(401, "invalid_api_key");
}

#[test]
fn a_rotated_key_and_its_successor_work_beside_each_other_and_end_apart() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let (old, old_text) = made(&gateway, &json!({ "limits": { "models": ["gpt-4o"] } }));
    let rotate =
        |gateway: &Gateway, id: &str, body: &str| gateway.admin_ask("POST", &format!("/access-keys/{id}/rotate"), body);
    let rotated = rotate(&gateway, &old, "");
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let (new, new_text) = id_and_text(&rotated);
    let answer = rotated.json();
    assert_eq!((&answer["succeeds"], &answer["limits"]), (&json!(old), &json!({ "models": ["gpt-4o"] })));
    assert!(answer["old_expires_at"].as_str().is_some_and(|end| end.starts_with("20")), "{answer}");
    for text in [&old_text, &new_text] {
        assert_eq!(chat_with(&gateway, text, "").status, 200);
    }
    let again = rotate(&gateway, &old, "{}");
    assert_eq!(again.status, 409, "{}", again.text());
    assert!(again.text().contains("successor"), "{}", again.text());
    let patched = gateway.admin_ask("PATCH", &format!("/access-keys/{old}"), r#"{"expires_at":null}"#);
    assert_eq!(patched.status, 409, "its end cannot be put off: {}", patched.text());
    // Twice, and over a kill: all that are due live.
    let (newer, newer_text) = id_and_text(&rotate(&gateway, &new, r#"{"overlap_minutes":60}"#));
    gateway.kill();
    gateway.restart();
    for text in [&old_text, &new_text, &newer_text] {
        assert_eq!(chat_with(&gateway, text, "").status, 200);
    }
    let revoke = |gateway: &Gateway, id: &str| gateway.admin_ask("DELETE", &format!("/access-keys/{id}"), "").status;
    assert_eq!(revoke(&gateway, &new), 200);
    let works = |text: &str| chat_with(&gateway, text, "").status == 200;
    assert_eq!((works(&old_text), works(&new_text), works(&newer_text)), (true, false, true));
    assert_eq!(revoke(&gateway, &newer), 200);
    assert_eq!((works(&old_text), works(&newer_text)), (true, false));
    // Without an overlap the old one ends with the answer.
    let (_, last) = id_and_text(&rotate(&gateway, &old, r#"{"overlap_minutes":0}"#));
    assert_eq!((works(&old_text), works(&last)), (false, true));
    for bad in
        [r#"{"overlap_minutes":-1}"#, r#"{"overlap_minutes":10081}"#, r#"{"overlap":5}"#, r#"{"overlap_minutes":"5m"}"#]
    {
        assert_eq!(rotate(&gateway, &newer, bad).status, 400, "{bad}");
    }
}

#[test]
fn a_rotation_does_not_double_what_a_key_may_do() {
    let simulator = simulator();
    let mut gateway = Gateway::before(&simulator);
    let (old, old_text) = made(&gateway, &json!({ "limits": { "requests_per_minute": 1 } }));
    let rotated = gateway.admin_ask("POST", &format!("/access-keys/{old}/rotate"), "");
    let (new, new_text) = id_and_text(&rotated);
    assert_eq!(chat_with(&gateway, &old_text, "").status, 200);
    for text in [&old_text, &new_text] {
        chat_with(&gateway, text, "").must_be_fault(429, "rate_limit_exceeded");
    }
    // The last of a line is counted as its first, also after a restart and once the first is gone.
    let (_, last_text) = id_and_text(&gateway.admin_ask("POST", &format!("/access-keys/{new}/rotate"), ""));
    assert_eq!(gateway.admin_ask("DELETE", &format!("/access-keys/{old}"), "").status, 200);
    chat_with(&gateway, &last_text, "").must_be_fault(429, "rate_limit_exceeded");
    wait_until(SOON, "it is written down", || gateway.admin("/usage?period=hour").json()["requests"] == 1);
    thread::sleep(Duration::from_millis(500));
    gateway.kill();
    gateway.restart();
    chat_with(&gateway, &last_text, "").must_be_fault(429, "rate_limit_exceeded");
    assert_eq!(simulator.truth().counts().requests, 1);
}

#[test]
fn a_tenants_administrator_gives_no_more_than_it_has() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let post = |key: &str, body: Value| ask(&gateway, "POST", OWN, key, &body);
    let refused = |answer: Answer, word: &str| {
        assert_eq!((answer.status, answer.code().as_str()), (403, "insufficient_scope"), "{}", answer.text());
        assert!(answer.text().contains(word), "{}", answer.text());
    };
    let limits = json!({ "models": ["gpt-4*"], "sources": ["127.0.0.0/8"] });
    let terms = json!({ "scopes": ["inference", "admin"], "limits": limits, "expires_at": "2100-01-01T00:00:00Z" });
    let (own, admin) = made(&gateway, &terms);
    let fine = json!({ "name": "app", "limits": { "models": ["gpt-4o"], "sources": ["127.0.0.1"] }, "expires_at": "2099-01-01T00:00:00Z" });
    let with = |member: &str, value: Value| {
        let mut body = fine.clone();
        body[member] = value;
        body
    };
    let answer = post(&admin, fine.clone());
    assert_eq!(answer.status, 201, "{}", answer.text());
    let (app, text) = id_and_text(&answer);
    assert_eq!(chat_with(&gateway, &text, "").status, 200, "it works at once");
    refused(post(&admin, with("scopes", json!(["keys"]))), "`keys`");
    refused(post(&admin, with("scopes", json!(["inference", "costs"]))), "`costs`");
    refused(post(&admin, with("expires_at", Value::Null)), "`expires_at`");
    refused(post(&admin, with("expires_at", json!("2100-01-01T00:00:01Z"))), "`expires_at`");
    refused(post(&admin, with("limits", json!({ "models": ["gpt-4o"] }))), "`sources`");
    refused(post(&admin, with("limits", json!({ "models": ["*"], "sources": ["127.0.0.1"] }))), "`models`");
    let place = format!("{OWN}/{app}");
    let patch = |path: &str, body: Value| ask(&gateway, "PATCH", path, &admin, &body);
    refused(patch(&place, json!({ "scopes": ["keys"] })), "`keys`");
    refused(patch(&place, json!({ "limits": { "sources": null } })), "`sources`");
    refused(patch(&place, json!({ "expires_at": null })), "`expires_at`");
    refused(patch(&format!("{OWN}/{own}"), json!({ "limits": null })), "`models`");
    assert_eq!(patch(&place, json!({ "name": "renamed", "limits": { "models": ["gpt-4o-mini"] } })).status, 200);
    // The text of a key that may do more is not to be had by rotating it.
    let (wide, wide_text) = made(&gateway, &json!({ "scopes": ["inference", "keys", "costs", "admin"] }));
    refused(ask(&gateway, "POST", &format!("{OWN}/{wide}/rotate"), &admin, &Value::Null), "`keys`");
    assert_eq!(ask(&gateway, "POST", &format!("{place}/rotate"), &admin, &Value::Null).status, 201);
    assert_eq!(
        ask(&gateway, "DELETE", &format!("{OWN}/{wide}"), &admin, &Value::Null).status,
        200,
        "taking is no giving"
    );
    assert_eq!(chat_with(&gateway, &wide_text, "").status, 401);
    let listed = ask(&gateway, "GET", OWN, &admin, &Value::Null);
    assert!(listed.status == 200 && !listed.text().contains(&text) && !listed.text().contains("origin"));
    // Others neither see these keys nor touch them.
    for (method, path) in [
        ("GET", OWN.to_owned()),
        ("GET", place.clone()),
        ("PATCH", place.clone()),
        ("DELETE", place.clone()),
        ("POST", format!("{place}/rotate")),
    ] {
        assert_eq!(ask(&gateway, method, &path, STRANGER_KEY, &Value::Null).status, 404, "{method} {path}");
        let foreign = path.replace("/default/", "/other/");
        if path != OWN {
            assert_eq!(ask(&gateway, method, &foreign, STRANGER_KEY, &Value::Null).status, 404, "{method} {foreign}");
        }
        assert_eq!(ask(&gateway, method, &path, BOOKS_KEY, &Value::Null).status, 403, "{method} {path}");
    }
    // The operator's own administrators may act for every tenant.
    let theirs = ask(&gateway, "POST", "/v1/tenants/other/access-keys", ACCESS_KEY, &json!({ "name": "app" }));
    assert_eq!((theirs.status, &theirs.json()["tenant"]), (201, &json!("other")), "{}", theirs.text());
}

// === How fast a change holds ===

/// What one client saw: when it began to ask, and the status.
type Seen = Vec<(Instant, u16)>;

/// Asks with a key on connections of its own until told to stop; a connection that is closed is opened anew.
fn hammer(gateway: &Gateway, key: &str, stop: &AtomicBool) -> Seen {
    let mut seen = Vec::new();
    let request = post_with(CHAT, &bearer(key), chat_of("gpt-4o", "again", r#","provider":"openai""#).as_bytes());
    let mut client = gateway.client();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        client.send(&request);
        let status = client.try_answer().map(|answer| answer.status);
        seen.push((began, status.clone().unwrap_or(0)));
        if status.is_err() {
            client = gateway.client();
        }
    }
    seen
}

/// Requests that began later than the rule allows after a change was answered, and were still admitted; and all that began later at all.
fn admitted_after(seen: &[Seen], changed: Instant, allowance: Duration) -> (usize, usize) {
    let after = |allowance| {
        let late = seen.iter().flatten().filter(|(began, status)| *began > changed + allowance && *status == 200);
        late.count()
    };
    (after(allowance), after(Duration::ZERO))
}

const CORES: usize = 4;
const CLIENTS: usize = 8;

fn over_cores(simulator: &Simulator) -> Gateway {
    let builder: Builder = Gateway::builder().provider("openai", simulator).workers(CORES);
    builder.start()
}

/// Changes a key while it is used on every core, and answers what its users saw after that. `others` is a key that nothing is done to.
fn under_load(gateway: &Gateway, key: &str, change: impl FnOnce()) -> (Vec<Seen>, Seen, Instant) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let users: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| hammer(gateway, key, &stop))).collect();
        let other = scope.spawn(|| hammer(gateway, ACCESS_KEY, &stop));
        thread::sleep(Duration::from_millis(400));
        change();
        let changed = Instant::now();
        thread::sleep(Duration::from_millis(1_500));
        stop.store(true, Ordering::Relaxed);
        let seen = users.into_iter().map(|user| user.join().expect("a client")).collect();
        (seen, other.join().expect("a client"), changed)
    })
}

#[test]
fn rule_v10_a_revoked_key_is_out_of_use_on_every_core_within_a_second_and_its_streams_finish() {
    let slow = Simulator::builder().event_gap(Duration::from_millis(150)).tokens(20).start().expect("a loopback port");
    let quick = simulator();

    let builder = Gateway::builder().provider("openai", &quick).own_provider("slow", &slow.base_url(), "");
    let gateway = builder.workers(CORES).start();
    let (id, key) = made(&gateway, &json!({}));
    let request = post_with(CHAT, &bearer(&key), stream_of("long", r#","provider":"slow""#).as_bytes());
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| gateway.client()).collect();
    streams.iter_mut().for_each(|client| client.send(&request));
    wait_until(SOON, "the streams have begun", || slow.truth().counts().requests >= CLIENTS as u64);
    let (seen, other, revoked) = under_load(&gateway, &key, || {
        let answer = gateway.admin_ask("DELETE", &format!("/access-keys/{id}"), "");
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
    let (late, after) = admitted_after(&seen, revoked, Duration::from_secs(1));
    println!("{after} requests were admitted after the answer, {late} of them a second later");
    assert_eq!(late, 0, "rule V10");
    assert!(
        seen.iter().all(|one| one.iter().any(|(_, status)| *status == 200)),
        "it worked on every connection before"
    );
    let refused = seen.iter().flatten().filter(|(began, _)| *began > revoked + Duration::from_secs(1));
    assert!(refused.clone().count() > 0 && refused.clone().all(|(_, status)| *status == 401), "one answer");
    assert!(other.iter().all(|(_, status)| *status == 200), "nobody else noticed");
    for client in &mut streams {
        let stream = client.stream();
        assert!(
            stream.answer.whole && stream.events.last().is_some_and(|event| event.bytes.starts_with(b"data: [DONE]"))
        );
    }
}

#[test]
fn rule_v10_other_changes_hold_within_a_second_too() {
    let simulator = simulator();
    let gateway = over_cores(&simulator);
    let (id, key) = made(&gateway, &json!({}));
    let path = format!("/access-keys/{id}");
    let (seen, other, changed) = under_load(&gateway, &key, || {
        let answer = gateway.admin_ask("PATCH", &path, r#"{"limits":{"sources":["192.0.2.1"]}}"#);
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
    assert_eq!(admitted_after(&seen, changed, Duration::from_secs(1)).0, 0, "rule V10");
    assert!(other.iter().all(|(_, status)| *status == 200), "nobody else noticed");
    assert_eq!(gateway.admin_ask("PATCH", &path, r#"{"limits":null}"#).status, 200);
    let (seen, other, changed) = under_load(&gateway, &key, || {
        let answer = gateway.admin_ask("POST", &format!("{path}/rotate"), r#"{"overlap_minutes":0}"#);
        assert_eq!(answer.status, 201, "{}", answer.text());
    });
    assert_eq!(admitted_after(&seen, changed, Duration::from_secs(1)).0, 0, "rule V10");
    assert!(other.iter().all(|(_, status)| *status == 200), "nobody else noticed");
}
