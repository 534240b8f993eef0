//! Provider keys through the public listener: taken in, used within a second, never shown, kept over a restart, closed to strangers.

mod support;

use igris_load::Simulator;
use igris_load::simulator::masked;
use std::time::{Duration, Instant};
use support::{ACCESS_KEY, Answer, Gateway, INFERENCE_KEY, STRANGER_KEY, bare, bearer, chat, post_with, wait_until};

const KEYS: &str = "/v1/tenants/default/providers/openai/keys";
const NEW_KEY: &str = "sk-canary-added-by-api-0123456789abcdef";

/// A gateway whose provider takes only the key that comes by the API.
fn without_a_key() -> (Simulator, Gateway) {
    let simulator = Simulator::builder().keys([NEW_KEY]).start().expect("a loopback port");
    let gateway = Gateway::builder().provider("openai", &simulator).key(None).start();
    (simulator, gateway)
}

fn add(gateway: &Gateway, path: &str, access_key: &str, key: &str) -> Answer {
    let body = format!(r#"{{"api_key":"{key}","config":{{"timeout":30,"max_retries":3}}}}"#);
    gateway.ask(&post_with(path, &bearer(access_key), body.as_bytes()))
}

fn ask(gateway: &Gateway, method: &str, path: &str, access_key: &str) -> Answer {
    gateway.ask(&bare(method, path, &bearer(access_key)))
}

fn id_of(answer: &Answer) -> String {
    let id = answer.json()["id"].as_str().unwrap_or_else(|| panic!("no id in {}", answer.text())).to_owned();
    assert!(id.starts_with("key_") && id.len() > 20, "{id}");
    id
}

#[test]
fn a_key_that_comes_by_the_api_is_used_within_a_second_and_never_shown() {
    let (simulator, gateway) = without_a_key();
    assert_eq!(gateway.chat(&chat("x")).status, 503, "there is no key yet");
    let added = add(&gateway, KEYS, ACCESS_KEY, NEW_KEY);
    let began = Instant::now();
    assert!(matches!(added.status, 200 | 201), "{} {}", added.status, added.text());
    let view = added.json();
    for member in ["id", "provider", "status", "created_at"] {
        assert!(view[member].as_str().is_some_and(|text| !text.is_empty()), "no {member} in {view}");
    }
    assert_eq!((view["provider"].as_str(), view["status"].as_str()), (Some("openai"), Some("active")), "{view}");
    assert!(!added.text().contains(NEW_KEY) && added.text().contains("cdef"), "redacted to its end: {view}");
    assert!(added.header("x-request-id").is_some());
    wait_until(Duration::from_secs(1), "the key is used", || gateway.chat(&chat("x")).status == 200);
    println!("the key was in use {:?} after it was taken in", began.elapsed());
    assert_eq!(simulator.truth().last().and_then(|record| record.key), Some(masked(NEW_KEY)));
    let id = id_of(&added);
    let list = ask(&gateway, "GET", KEYS, ACCESS_KEY);
    assert_eq!(list.status, 200, "{}", list.text());
    assert!(list.text().contains(&id) && !list.text().contains(NEW_KEY), "{}", list.text());
    let one = ask(&gateway, "GET", &format!("{KEYS}/{id}"), ACCESS_KEY);
    assert_eq!((one.status, one.json()["id"].as_str()), (200, Some(id.as_str())), "{}", one.text());
    let gone = ask(&gateway, "DELETE", &format!("{KEYS}/{id}"), ACCESS_KEY);
    assert!(matches!(gone.status, 200 | 204), "{} {}", gone.status, gone.text());
    wait_until(Duration::from_secs(1), "the key is out of use", || gateway.chat(&chat("x")).status == 503);
    assert!(
        !ask(&gateway, "GET", KEYS, ACCESS_KEY)
            .text()
            .contains(&format!("\"{id}\",\"provider\":\"openai\",\"status\":\"active\""))
    );
}

#[test]
fn keys_of_a_tenant_are_its_own() {
    let (simulator, gateway) = without_a_key();
    let id = id_of(&add(&gateway, KEYS, ACCESS_KEY, NEW_KEY));
    // Rule T1: 404, not 403, and in the same words for what exists and what does not: nobody learns what there is.
    let unknown = id.chars().map(|letter| if letter == '2' { '3' } else { letter }).collect::<String>();
    assert_eq!(ask(&gateway, "GET", KEYS, STRANGER_KEY).status, 404);
    for method in ["GET", "DELETE"] {
        let [known, unknown] = [&id, &unknown].map(|id| {
            let answer = ask(&gateway, method, &format!("{KEYS}/{id}"), STRANGER_KEY);
            assert_eq!(answer.status, 404, "{method}: {}", answer.text());
            answer.text().replace(id.as_str(), "ID")
        });
        assert_eq!(known, unknown);
    }
    assert_eq!(add(&gateway, KEYS, STRANGER_KEY, NEW_KEY).status, 404);
    assert_eq!(add(&gateway, "/v1/tenants/nobody/providers/openai/keys", ACCESS_KEY, NEW_KEY).status, 404);
    let theirs = "/v1/tenants/other/providers/openai/keys";
    let own = ask(&gateway, "GET", theirs, STRANGER_KEY);
    assert_eq!(own.status, 200, "{}", own.text());
    assert!(!own.text().contains(&id), "{}", own.text());
    assert_eq!(ask(&gateway, "GET", &format!("{theirs}/{id}"), STRANGER_KEY).status, 404);
    assert_eq!(ask(&gateway, "DELETE", &format!("{theirs}/{id}"), STRANGER_KEY).status, 404);
    wait_until(Duration::from_secs(1), "the key is used", || gateway.chat(&chat("x")).status == 200);
    let used = simulator.truth().counts().requests;
    let answer = gateway.ask(&post_with("/v1/chat/completions", &bearer(STRANGER_KEY), chat("x").as_bytes()));
    assert_eq!(answer.status, 503, "one tenant's key never serves another: {}", answer.text());
    assert_eq!(simulator.truth().counts().requests, used);
}

#[test]
fn an_inference_key_may_not_touch_keys() {
    let (_simulator, gateway) = without_a_key();
    let answer = add(&gateway, KEYS, INFERENCE_KEY, NEW_KEY);
    answer.must_be_fault(403, "insufficient_scope");
    assert!(answer.message().contains("keys"), "{}", answer.text());
    assert_eq!(ask(&gateway, "GET", KEYS, INFERENCE_KEY).status, 403);
    assert_eq!(add(&gateway, KEYS, "sk-igris-wrong-0123456789abcdef0123456789", NEW_KEY).status, 401);
    // A client cannot name itself to the control plane.
    let forged = format!(
        "{}x-igris-principal-tenant: default\r\nx-igris-principal-scopes: keys,admin\r\n",
        bearer(INFERENCE_KEY)
    );
    let body = format!(r#"{{"api_key":"{NEW_KEY}"}}"#);
    assert_eq!(gateway.ask(&post_with(KEYS, &forged, body.as_bytes())).status, 403);
    let forged = forged.replace(INFERENCE_KEY, STRANGER_KEY);
    assert_eq!(gateway.ask(&post_with(KEYS, &forged, body.as_bytes())).status, 404);
    assert_eq!(gateway.chat(&chat("x")).status, 503, "no key was taken in");
}

#[test]
fn a_key_outlives_a_kill() {
    let (_simulator, mut gateway) = without_a_key();
    let id = id_of(&add(&gateway, KEYS, ACCESS_KEY, NEW_KEY));
    gateway.restart();
    let answer = gateway.chat(&chat("x"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(ask(&gateway, "GET", KEYS, ACCESS_KEY).text().contains(&id));
}

#[test]
fn a_reload_keeps_what_came_by_the_api() {
    let (_simulator, gateway) = without_a_key();
    let id = id_of(&add(&gateway, KEYS, ACCESS_KEY, NEW_KEY));
    gateway.write_config(&gateway.config().replace("version = 1\n", "version = 2\n"));
    gateway.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(gateway.chat(&chat("x")).status, 200, "{}", gateway.stderr());
    assert!(ask(&gateway, "GET", KEYS, ACCESS_KEY).text().contains(&id));
}

#[test]
fn a_refused_key_falls_back_to_the_next_one() {
    let simulator = Simulator::builder().keys([NEW_KEY]).start().expect("a loopback port");
    let gateway = Gateway::builder().provider("openai", &simulator).start();
    gateway.chat(&chat("x")).must_be_fault(502, "provider_authentication_failed");
    id_of(&add(&gateway, KEYS, ACCESS_KEY, NEW_KEY));
    wait_until(Duration::from_secs(1), "the good key is found", || gateway.chat(&chat("x")).status == 200);
    for _ in 0..5 {
        assert_eq!(gateway.chat(&chat("x")).status, 200);
    }
}

#[test]
fn what_is_no_key_is_refused_with_a_remedy() {
    let (_simulator, gateway) = without_a_key();
    let post = |path: &str, body: &str| gateway.ask(&post_with(path, &bearer(ACCESS_KEY), body.as_bytes()));
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"api_key":""}"#,
        r#"{"api_key":"   "}"#,
        r#"{"api_key":5}"#,
        r#"{"api_key":"sk-canary-with\r\nInjected: header"}"#,
        r#"{"api_key":"sk-canary-a","api_key":"sk-canary-b"}"#,
        r#"{"api_key":"sk-canary-x","config":{"timeout":-1}}"#,
        r#"{"api_key":"sk-canary-x","config":{"timeout":"soon"}}"#,
        r#"{"api_key":"sk-canary-x","config":{"max_retries":1000}}"#,
    ] {
        let answer = post(KEYS, body);
        assert!(matches!(answer.status, 400 | 422), "{body}: {} {}", answer.status, answer.text());
        assert!(answer.message().len() > 10 && !answer.text().contains("canary"), "{body}: {}", answer.text());
    }
    let long = format!(r#"{{"api_key":"{}"}}"#, "k".repeat(8 * 1024 + 1));
    assert!(matches!(post(KEYS, &long).status, 400 | 413 | 422));
    let good = format!(r#"{{"api_key":"{NEW_KEY}"}}"#);
    let unknown = post("/v1/tenants/default/providers/nobody/keys", &good);
    assert!(matches!(unknown.status, 400 | 404 | 422), "{} {}", unknown.status, unknown.text());
    assert_eq!(ask(&gateway, "GET", &format!("{KEYS}/key_0000000000000000000000"), ACCESS_KEY).status, 404);
    assert_eq!(ask(&gateway, "PATCH", KEYS, ACCESS_KEY).status, 405);
    assert_eq!(gateway.chat(&chat("x")).status, 503, "no key was taken in");
}
