//! Both faces over real sockets.

use super::house::{CANARY, CONFIG, House, Seen, ask};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const KEYS: &str = "/v1/tenants/acme/providers/groq/keys";

/// What the data plane says about who asks.
fn principal(tenant: &str, scopes: &str) -> String {
    let key = crate::domain::id::AccessKeyId::from_bits(7);
    format!(
        "x-igris-principal-tenant: {tenant}\r\nx-igris-principal-key: {key}\r\nx-igris-principal-scopes: {scopes}\r\n"
    )
}

fn internal() -> House {
    let house = House::new();
    for tenant in ["acme", "other"] {
        super::locked(&house.control).create_tenant("test", tenant).expect("made");
    }
    house.open_internal();
    house
}

async fn as_principal(house: &House, who: &str, request: &str, body: &str) -> Seen {
    ask(&house.control_path(), request, who, body).await
}

#[tokio::test]
async fn the_key_api_end_to_end_never_shows_a_key() {
    let house = internal();
    let who = principal("acme", "keys");
    let body = json!({ "api_key": CANARY, "config": { "timeout": 12.5, "max_retries": 2 } }).to_string();
    let added = as_principal(&house, &who, &format!("POST {KEYS}"), &body).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let view = added.json();
    assert_eq!(view["config"], json!({ "timeout": 12.5, "max_retries": 2 }));
    assert_eq!((&view["provider"], &view["status"]), (&json!("groq"), &json!("active")));
    assert_eq!(view["key"], "sk-proj-…6789");
    assert_eq!(view["warnings"].as_array().map(Vec::len), Some(1), "an OpenAI key for Groq");
    let id = view["id"].as_str().expect("an id").to_owned();
    let listed = as_principal(&house, &who, &format!("GET {KEYS}"), "").await;
    assert_eq!(listed.json()["data"][0]["id"], json!(id));
    let shown = as_principal(&house, &who, &format!("GET {KEYS}/{id}"), "").await;
    assert_eq!((shown.status, &shown.json()["id"]), (200, &json!(id)));
    let elsewhere = format!("GET /v1/tenants/acme/providers/openai/keys/{id}");
    as_principal(&house, &who, &elsewhere, "").await.refused(404, "not_found");
    let removed = as_principal(&house, &who, &format!("DELETE {KEYS}/{id}"), "").await;
    assert_eq!((removed.status, &removed.json()["status"]), (200, &json!("revoked")));
    as_principal(&house, &who, &format!("DELETE {KEYS}/{id}"), "").await.refused(404, "not_found");
    for seen in [&added, &listed, &shown, &removed] {
        assert!(!seen.body.contains("CANARY") && !seen.head.contains("canary"), "{}", seen.body);
    }
    let events = super::locked(&house.control).recent_events();
    assert!(events.iter().any(|event| event.text.contains("by ak_")), "the access key is named: {events:?}");
    assert!(!format!("{events:?}").contains("CANARY"));
}

#[tokio::test]
async fn t1_another_tenant_looks_like_a_path_that_is_not_there() {
    let house = internal();
    let acme = principal("acme", "keys,costs,inference,admin");
    for path in ["/v1/tenants/other/providers/openai/keys", "/v1/tenants/nobody/usage", "/v1/tenants/default/usage"] {
        let foreign = as_principal(&house, &acme, &format!("GET {path}"), "").await;
        foreign.refused(404, "not_found");
        let odd = path.replace("/v1/tenants/", "/v1/tenantz/");
        let unknown = as_principal(&house, &acme, &format!("GET {odd}"), "").await;
        assert_eq!(unknown.body.replace("tenantz", "tenants"), foreign.body);
    }
    let body = json!({ "api_key": CANARY }).to_string();
    let path = "POST /v1/tenants/other/providers/openai/keys";
    as_principal(&house, &principal("acme", "inference"), path, &body).await.refused(404, "not_found");
    let default = principal("default", "keys,costs");
    as_principal(&house, &default, "GET /v1/tenants/acme/usage", "").await.refused(404, "not_found");
    let operator = principal("default", "admin");
    let seen = as_principal(&house, &operator, "GET /v1/tenants/acme/usage?period=week", "").await;
    assert_eq!((seen.status, &seen.json()["period"]), (200, &json!("week")));
    assert_eq!(as_principal(&house, &operator, path, &body).await.status, 201);
}

#[tokio::test]
async fn a_missing_scope_is_403_and_admin_has_them_all() {
    let house = internal();
    let cases = [
        (format!("GET {KEYS}"), "keys", "inference,costs"),
        ("GET /v1/tenants/acme/usage".to_owned(), "costs", "inference,keys"),
        ("GET /v1/providers/openai/stats".to_owned(), "inference", "keys,costs"),
    ];
    for (request, right, wrong) in cases {
        as_principal(&house, &principal("acme", wrong), &request, "").await.refused(403, "insufficient_scope");
        assert_eq!(as_principal(&house, &principal("acme", right), &request, "").await.status, 200, "{request}");
        assert_eq!(as_principal(&house, &principal("acme", "admin"), &request, "").await.status, 200, "{request}");
    }
    let doubled = principal("acme", "keys") + "x-igris-principal-tenant: other\r\n";
    as_principal(&house, &doubled, &format!("GET {KEYS}"), "").await.refused(401, "invalid_api_key");
    as_principal(&house, "", &format!("GET {KEYS}"), "").await.refused(401, "invalid_api_key");
}

#[tokio::test]
async fn t3_a_tenant_does_not_see_what_others_ask_and_pay() {
    let house = internal();
    let request = "GET /v1/providers/openai/stats";
    let own = as_principal(&house, &principal("default", "inference"), request, "").await.json();
    assert!(own["requests"].is_number() && own["cost_usd"].is_number(), "{own}");
    let shared = as_principal(&house, &principal("acme", "admin"), request, "").await.json();
    assert!(shared["latency_ms_p99"].is_number() && shared["error_rate"].is_number(), "{shared}");
    for member in ["requests", "input_tokens", "output_tokens", "cost_usd", "alpha", "beta", "last_error"] {
        assert!(shared.get(member).is_none(), "{member} in {shared}");
    }
    let nobody = as_principal(&house, &principal("acme", "inference"), "GET /v1/providers/nobody/stats", "").await;
    nobody.refused(404, "not_found");
    // A provider that only another tenant's key brought in is not there.
    let body = json!({ "api_key": CANARY }).to_string();
    let path = "POST /v1/tenants/other/providers/groq/keys";
    assert_eq!(as_principal(&house, &principal("other", "keys"), path, &body).await.status, 201);
    let request = "GET /v1/providers/groq/stats";
    assert_eq!(as_principal(&house, &principal("other", "inference"), request, "").await.status, 200);
    assert_eq!(as_principal(&house, &principal("default", "inference"), request, "").await.status, 200);
    let hidden = as_principal(&house, &principal("acme", "admin"), request, "").await;
    assert_eq!((hidden.status, &hidden.body), (404, &nobody.body), "as one that does not exist");
    let published = super::locked(&house.control).published().load_full();
    let groq = published.provider_named("groq").and_then(|ix| published.provider(ix)).expect("brought in");
    assert!(
        !groq.configured
            && published.provider_named("openai").and_then(|ix| published.provider(ix)).is_some_and(|it| it.configured)
    );
}

#[tokio::test]
async fn a_bad_body_is_refused_by_the_name_of_its_member() {
    let house = internal();
    let who = principal("acme", "keys");
    let post = format!("POST {KEYS}");
    for (body, param) in [
        (json!({ "api_key": CANARY, "base_url": CANARY }), "base_url"),
        (json!({ "api_key": CANARY, "config": { "timout": CANARY } }), "config.timout"),
        (json!({ "api_key": [CANARY] }), "api_key"),
        (json!({ "key": CANARY }), "api_key"),
        (json!({ "api_key": CANARY, "config": CANARY }), "config"),
    ] {
        let seen = as_principal(&house, &who, &post, &body.to_string()).await;
        seen.refused(400, "invalid_request");
        assert_eq!(seen.json()["error"]["param"], json!(param), "{body}");
        assert_eq!(seen.json()["error"]["type"], "invalid_request_error");
    }
    let newline = json!({ "api_key": format!("{CANARY}\r\nx: y") }).to_string();
    as_principal(&house, &who, &post, &newline).await.refused(400, "invalid_request");
    as_principal(&house, &who, &post, &format!("{{\"api_key\":\"{CANARY}\"")).await.refused(400, "invalid_request");
    let nobody = "POST /v1/tenants/acme/providers/nobody/keys";
    as_principal(&house, &who, nobody, &json!({ "api_key": CANARY }).to_string()).await.refused(404, "not_found");
    as_principal(&house, &who, &format!("PUT {KEYS}"), "").await.refused(405, "method_not_allowed");
    for path in ["keys/rotation", "rotations/rot_1/cancel", "rotations/rot_1/explode", "rotations"] {
        let request = format!("POST /v1/tenants/acme/providers/groq/{path}");
        as_principal(&house, &who, &request, "{}").await.refused(404, "not_found");
    }
    let costs = principal("acme", "costs");
    as_principal(&house, &costs, "GET /v1/tenants/acme/usage?period=year", "").await.refused(400, "invalid_request");
}

#[tokio::test]
async fn the_admin_socket_makes_and_removes_tenants_and_keys() {
    let house = House::new();
    house.open_admin();
    let path = house.admin_path();
    let on = async |request: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        ask(&path, request, "", &body).await
    };
    assert_eq!(on("POST /tenants", json!({ "id": "acme" })).await.status, 201);
    on("POST /tenants", json!({ "id": "acme" })).await.refused(409, "conflict");
    on("POST /tenants", json!({ "id": "a/b" })).await.refused(400, "invalid_request");
    assert_eq!(on("GET /tenants", Value::Null).await.json()["data"][0]["id"], "acme");
    assert_eq!(on("GET /tenants/acme", Value::Null).await.status, 200);

    let terms = json!({ "name": "app", "scopes": ["inference", "keys"], "limits": { "requests_per_minute": 60 },
        "expires_at": "2999-01-01T00:00:00Z" });
    let made = on("POST /access-keys?tenant=acme", terms).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    let text = made["key"].as_str().expect("the text").to_owned();
    assert!(text.starts_with("sk-igris-") && made["scopes"] == json!(["inference", "keys"]), "{made}");
    let listed = on("GET /access-keys?tenant=acme", Value::Null).await;
    assert!(!listed.body.contains(&text), "shown once: {}", listed.body);
    let id = made["id"].as_str().expect("an id");
    let revoked = on(&format!("DELETE /access-keys/{id}?tenant=acme"), Value::Null).await;
    assert_eq!(revoked.json()["status"], "revoked");
    on(&format!("DELETE /access-keys/{id}?tenant=acme"), Value::Null).await.refused(404, "not_found");
    on("POST /access-keys?tenant=acme", json!({ "name": "app", "scopes": ["root"] }))
        .await
        .refused(400, "invalid_request");
    on("POST /access-keys?tenant=nobody", json!({ "name": "app" })).await.refused(404, "not_found");

    let added =
        on("POST /providers/openai/keys?tenant=acme", json!({ "api_key": CANARY, "config": { "timeout": "45s" } }))
            .await;
    assert_eq!((added.status, &added.json()["config"]["timeout"]), (201, &json!(45)));
    let id = added.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(on(&format!("GET /providers/openai/keys/{id}?tenant=acme"), Value::Null).await.status, 200);
    on(&format!("GET /providers/openai/keys/{id}"), Value::Null).await.refused(404, "not_found");
    let removed = on(&format!("DELETE /providers/openai/keys/{id}?tenant=acme"), Value::Null).await;
    assert_eq!(removed.json()["status"], "revoked");
    assert_eq!(on("DELETE /tenants/acme", Value::Null).await.status, 200);
    on("DELETE /tenants/acme", Value::Null).await.refused(404, "not_found");
    on("DELETE /tenants/default", Value::Null).await.refused(409, "conflict");
    let events = super::locked(&house.control).recent_events();
    assert!(events.iter().any(|event| event.text.contains("by uid:")), "the user is named: {events:?}");
}

#[tokio::test]
async fn the_admin_socket_shows_the_state_and_no_key() {
    let house = House::new();
    house.open_admin();
    for (path, sign) in [
        ("/health", "ok"),
        ("/status", "generation"),
        ("/config", "digest"),
        ("/providers", "latency_ms_p99"),
        ("/routes", "models"),
        ("/scores", "unscored"),
        ("/tenants", "default"),
        ("/usage?tenant=default&period=month", "by_provider"),
        ("/access-keys", "list"),
        ("/providers/openai/keys", "key_"),
        ("/metrics", "# TYPE igris_"),
    ] {
        let seen = ask(&house.admin_path(), &format!("GET {path}"), "", "").await;
        assert!(seen.status == 200 && seen.body.contains(sign), "{path}: {} {}", seen.status, seen.body);
        assert!(!seen.body.contains("CANARY"), "{path}: {}", seen.body);
        assert!(seen.head.contains("cache-control: no-store"), "{path}");
    }
    ask(&house.admin_path(), "GET /histograms/openai/gpt-4o", "", "").await.refused(404, "not_found");
    ask(&house.admin_path(), "GET /nothing", "", "").await.refused(404, "not_found");
    ask(&house.admin_path(), "DELETE /status", "", "").await.refused(405, "method_not_allowed");
    ask(&house.admin_path(), "GET /usage?tenant=a%2Fb", "", "").await.refused(400, "invalid_request");
    ask(&house.admin_path(), "GET /usage?peroid=day", "", "").await.refused(400, "invalid_request");
    let drained = ask(&house.admin_path(), "POST /drain", "", "").await;
    assert_eq!((drained.status, house.drains.load(Ordering::Relaxed)), (202, 1));
}

#[tokio::test]
async fn c6_a_bad_configuration_changes_nothing_and_says_why() {
    let house = House::new();
    house.open_admin();
    let path = house.admin_path();
    let before = ask(&path, "GET /config", "", "").await.json();
    let refused = ask(&path, "PUT /config", "", "version = 2\n[[providers]]\nname = \"opennai\"\n[sevrer]\n").await;
    refused.refused(422, "invalid_config");
    assert!(refused.json()["problems"].as_array().is_some_and(|problems| problems.len() >= 2), "{}", refused.body);
    assert_eq!(ask(&path, "GET /config", "", "").await.json(), before);
    ask(&path, "PUT /config", "", " \n").await.refused(400, "invalid_request");
    let larger = CONFIG.replace("version = 1", "version = 2") + &"# padding\n".repeat(200_000);
    assert!(larger.len() > crate::limits::ADMIN_BODY_BYTES_MAX);
    let put = ask(&path, "PUT /config", "", &larger).await;
    assert_eq!((put.status, &put.json()["version"], &put.json()["changed"]), (200, &json!(2), &json!(true)));
    let reloaded = ask(&path, "POST /reload", "", "").await.json();
    assert_eq!((&reloaded["version"], &reloaded["changed"]), (&json!(1), &json!(true)), "the file is read again");
    std::fs::write(house.config_file(), "versoin = 3").expect("written");
    ask(&path, "POST /reload", "", "").await.refused(422, "invalid_config");
}

#[tokio::test]
async fn events_are_replayed_and_go_on_live() {
    let house = House::new();
    let served = house.open_admin();
    let mut feed = UnixStream::connect(house.admin_path()).await.expect("connected");
    feed.write_all(b"GET /events HTTP/1.1\r\nhost: igris\r\n\r\n").await.expect("asked");
    let mut seen = String::new();
    read_until(&mut feed, &mut seen, "\"kind\":\"start\"").await;
    assert!(seen.to_ascii_lowercase().contains("content-type: text/event-stream"), "{seen}");
    super::locked(&house.control).create_tenant("test", "later").expect("made");
    read_until(&mut feed, &mut seen, "tenant.create later").await;
    assert_eq!(seen.matches("\"kind\":\"start\"").count(), 1, "each event once: {seen}");

    let newest = super::locked(&house.control).recent_events().last().map_or(0, |event| event.sequence);
    let mut resumed = UnixStream::connect(house.admin_path()).await.expect("connected");
    let request = format!("GET /events HTTP/1.1\r\nhost: igris\r\nlast-event-id: {}\r\n\r\n", newest - 1);
    resumed.write_all(request.as_bytes()).await.expect("asked");
    let mut rest = String::new();
    read_until(&mut resumed, &mut rest, "tenant.create later").await;
    assert!(!rest.contains("\"kind\":\"start\""), "only what is new: {rest}");

    // An endless answer does not hold up the end.
    let began = Instant::now();
    house.stop.send(true).expect("served");
    served.await.expect("ended");
    assert!(began.elapsed() < crate::limits::CUT_GRACE + Duration::from_secs(2));
}

async fn read_until(stream: &mut UnixStream, seen: &mut String, sign: &str) {
    let whole = async {
        while !seen.contains(sign) {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.expect("read");
            assert_ne!(count, 0, "the feed ended: {seen}");
            seen.push_str(std::str::from_utf8(&piece[..count]).expect("text"));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), whole).await.unwrap_or_else(|_| panic!("{sign} did not come"));
}

#[tokio::test]
async fn a3_bounds_hold_and_concern_one_connection() {
    let house = House::new();
    house.open_admin();
    let path = house.admin_path();
    let announced = "content-length: 99999999\r\n";
    let mut large = UnixStream::connect(&path).await.expect("connected");
    large
        .write_all(format!("POST /tenants HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{announced}\r\n").as_bytes())
        .await
        .expect("sent");
    let mut answer = String::new();
    large.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    // Four connections fill this house's ceiling; two never finish their heads, one its body, one is idle.
    let mut held = Vec::new();
    for opening in [
        "GET /sta",
        "",
        "POST /tenants HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{",
        "GET /health HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        stream.write_all(opening.as_bytes()).await.expect("sent");
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    ask(&path, "GET /health", "", "").await.refused(503, "overloaded");
    let began = Instant::now();
    for mut stream in held {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
    }
    let waited = began.elapsed();
    let deadline = crate::limits::ADMIN_REQUEST_DEADLINE;
    assert!(waited > deadline / 2 && waited < deadline * 3, "{waited:?}");
    assert_eq!(ask(&path, "GET /health", "", "").await.status, 200, "others go on");
}
