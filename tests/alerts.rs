//! Budgets by the API and alerts, over the real gateway: told once and in order, over restarts and kills, signed, and to whom they belong.

#[path = "alerts/receiver.rs"]
mod receiver;
mod support;

use igris_load::Simulator;
use receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};
use support::{
    ACCESS_KEY, Answer, BOOKS_KEY, Builder, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, bare, bearer, chat_of,
    post_with, wait_until,
};

const CAPPED_KEY: &str = "sk-igris-canary-capped-0123456789abcdef";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FORMER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A token of the answer costs a tenth of a cent, the prompt next to nothing.
const PRICES: &str =
    "[[prices]]\nprovider = \"openai\"\nmodel = \"gpt-4o\"\ninput = \"$0.001/Mtok\"\noutput = \"$1000/Mtok\"\n";

/// Answers of ten tokens: a cent each.
fn simulator() -> Simulator {
    Simulator::builder().tokens(10).start().expect("a loopback port")
}

fn gateway(simulator: &Simulator) -> Builder {
    let builder = Gateway::builder().provider("openai", simulator).config_toml(PRICES);
    builder.env("HOOK_SECRET", SECRET).env("HOOK_FORMER", FORMER)
}

fn webhook(name: &str, receiver: &Receiver, members: &str) -> String {
    format!(
        "[[alerts.webhooks]]\nname = \"{name}\"\nurl = \"{}\"\nsecret = {{ env = \"HOOK_SECRET\" }}\nallow_private_address = true\n{members}\n",
        receiver.url()
    )
}

/// Costs a cent.
fn ask(gateway: &Gateway, key: &str) -> Answer {
    let body = chat_of("gpt-4o", "hello", ",\"max_tokens\":10");
    gateway.ask(&post_with("/v1/chat/completions", &bearer(key), body.as_bytes()))
}

fn spend(gateway: &Gateway, key: &str, cents: usize) {
    for _ in 0..cents {
        let answer = ask(gateway, key);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn get(gateway: &Gateway, key: &str, path: &str) -> Answer {
    gateway.ask(&bare("GET", path, &bearer(key)))
}

fn post(gateway: &Gateway, key: &str, path: &str, body: &Value) -> Answer {
    gateway.ask(&post_with(path, &bearer(key), body.to_string().as_bytes()))
}

fn set_budget(gateway: &Gateway, key: &str, tenant: &str, body: &Value) -> Value {
    let answer = post(gateway, key, &format!("/v1/tenants/{tenant}/budget"), body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The alerts of a tenant, the oldest first.
fn alerts(gateway: &Gateway, key: &str, tenant: &str) -> Vec<Value> {
    let answer = get(gateway, key, &format!("/v1/tenants/{tenant}/alerts?limit=500"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut rows = answer.json()["data"].as_array().cloned().expect("a list");
    rows.reverse();
    rows
}

fn thresholds(rows: &[Value]) -> Vec<u64> {
    let of = |row: &Value| row["data"]["threshold_percent"].as_u64();
    rows.iter().filter(|row| row["type"] == "budget_alert").filter_map(of).collect()
}

fn wait_for_thresholds(gateway: &Gateway, key: &str, tenant: &str, expected: &[u64]) {
    wait_until(SOON, &format!("{expected:?} are told"), || thresholds(&alerts(gateway, key, tenant)) == expected);
}

/// What the event feed says until it has this in it.
fn feed(gateway: &Gateway, until: &str) -> String {
    let mut stream = UnixStream::connect(gateway.home().join("admin.sock")).expect("the admin socket");
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: igris\r\n\r\n").expect("sent");
    let (mut said, mut piece) = (String::new(), [0; 4_096]);
    while !said.contains(until) {
        let count = stream.read(&mut piece).unwrap_or_else(|error| panic!("{error}: no {until} in {said}"));
        said.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    said
}

/// Long enough for a wrong second alert to be told.
fn a_while() {
    thread::sleep(Duration::from_secs(2));
}

// ---- Budgets ----------------------------------------------------------------------------------------------------------------

#[test]
fn a_hard_budget_by_the_api_refuses_and_lasts_over_a_restart() {
    let simulator = simulator();
    let mut gateway = gateway(&simulator).start();
    let shown = set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.031/month"}));
    assert_eq!(shown["budgets"][0]["set_by"], "operator", "{shown}");
    assert_eq!((&shown["budgets"][0]["hard"], &shown["budgets"][0]["limit_usd"]), (&json!(true), &json!(0.031)));
    spend(&gateway, INFERENCE_KEY, 3);
    ask(&gateway, INFERENCE_KEY).must_be_fault(402, "budget_exceeded");
    ask(&gateway, STRANGER_KEY);
    wait_until(SOON, "the books have it", || {
        let shown = get(&gateway, BOOKS_KEY, "/v1/tenants/default/budget").json();
        shown["budgets"][0]["percent"].as_f64().is_some_and(|percent| (96.0..97.0).contains(&percent))
    });
    thread::sleep(Duration::from_secs(1));
    gateway.kill();
    gateway.restart();
    ask(&gateway, INFERENCE_KEY).must_be_fault(402, "budget_exceeded");
    assert_eq!(ask(&gateway, STRANGER_KEY).status, 200, "another tenant's");
    // Whoever has no right to set one cannot take it away either.
    let refused = gateway.ask(&bare("DELETE", "/v1/tenants/default/budget", &bearer(BOOKS_KEY)));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let removed = gateway.ask(&bare("DELETE", "/v1/tenants/default/budget?period=month", &bearer(ACCESS_KEY)));
    assert_eq!((removed.status, &removed.json()["budgets"]), (200, &json!([])), "{}", removed.text());
    assert_eq!(ask(&gateway, INFERENCE_KEY).status, 200);
}

#[test]
fn the_operators_cap_is_never_raised_and_a_tenant_removes_only_its_own() {
    let simulator = simulator();
    let tenant = "[[tenants]]\nid = \"capped\"\nlimits = { budget = \"$0.021/month\" }\n[[access_keys]]\nname = \"capped\"\n\
                  tenant = \"capped\"\nkey = { file = \"{home}/capped.key\" }\nscopes = [\"inference\", \"costs\", \"admin\"]\n";
    let gateway = gateway(&simulator).file("capped.key", CAPPED_KEY).config_toml(tenant).start();
    let shown = set_budget(&gateway, CAPPED_KEY, "capped", &json!({"amount_usd": 100, "period": "month"}));
    let set_by: Vec<&Value> = shown["budgets"].as_array().expect("a list").iter().map(|row| &row["set_by"]).collect();
    assert_eq!(set_by, ["limits", "tenant"], "{shown}");
    spend(&gateway, CAPPED_KEY, 2);
    ask(&gateway, CAPPED_KEY).must_be_fault(402, "budget_exceeded");
    // What the operator sets by the API stays when the tenant removes its own.
    let body = json!({"budget": "$0.01/total"}).to_string();
    let set = gateway.admin_ask("POST", "/budgets?tenant=capped", &body);
    assert_eq!(set.status, 200, "{}", set.text());
    let removed = gateway.ask(&bare("DELETE", "/v1/tenants/capped/budget", &bearer(CAPPED_KEY)));
    assert_eq!(removed.status, 200, "{}", removed.text());
    let left = removed.json()["budgets"].clone();
    let left: Vec<&Value> = left.as_array().expect("a list").iter().map(|row| &row["set_by"]).collect();
    assert_eq!(left, ["limits", "operator"]);
    let none = gateway.ask(&bare("DELETE", "/v1/tenants/capped/budget", &bearer(CAPPED_KEY)));
    assert_eq!(none.status, 404, "{}", none.text());
    let all = gateway.admin("/budgets").json();
    assert!(all["data"].as_array().is_some_and(|rows| rows.iter().any(|row| row["tenant"] == "capped")), "{all}");
}

#[test]
fn an_access_keys_budget_stops_that_key_alone_and_its_successor() {
    let simulator = simulator();
    let gateway = gateway(&simulator).start();
    let made = post(&gateway, ACCESS_KEY, "/v1/tenants/default/access-keys", &json!({"name": "spender"})).json();
    let (id, text) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("its text"));
    let shown = set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.021/day", "access_key": id}));
    assert_eq!(shown["access_key"], id, "{shown}");
    spend(&gateway, text, 2);
    ask(&gateway, text).must_be_fault(402, "budget_exceeded");
    assert_eq!(ask(&gateway, INFERENCE_KEY).status, 200, "others go on");
    let path = format!("/v1/tenants/default/access-keys/{id}/rotate");
    let next = post(&gateway, ACCESS_KEY, &path, &json!({})).json();
    let next = next["key"].as_str().expect("its text");
    ask(&gateway, next).must_be_fault(402, "budget_exceeded");
    wait_for_thresholds(&gateway, ACCESS_KEY, "default", &[75, 90]);
    let rows = alerts(&gateway, ACCESS_KEY, "default");
    assert!(rows.iter().all(|row| row["subject"] == id && row["data"]["scope"] == "access_key"), "{rows:?}");
    // A key of another tenant is none (rule T1).
    let foreign =
        post(&gateway, STRANGER_KEY, "/v1/tenants/other/budget", &json!({"budget": "$1/day", "access_key": id}));
    assert_eq!(foreign.status, 404, "{}", foreign.text());
}

// ---- Thresholds -------------------------------------------------------------------------------------------------------------

#[test]
fn thresholds_are_told_once_in_order_and_signed_while_many_spend() {
    let simulator = simulator();
    let receiver = Receiver::start(|_| Manner::Status(200));
    let hook = webhook("pager", &receiver, "former_secret = { env = \"HOOK_FORMER\" }\nevents = [\"budget_alert\"]");
    let gateway = gateway(&simulator).config_toml(&hook).workers(2).start();
    set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.40/day soft", "alert_at": [100, 25, 50, 75]}));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| spend(&gateway, INFERENCE_KEY, 12));
        }
    });
    wait_for_thresholds(&gateway, ACCESS_KEY, "default", &[25, 50, 75, 100]);
    wait_until(SOON, "four messages", || receiver.distinct().len() == 4);
    a_while();
    assert_eq!(thresholds(&alerts(&gateway, ACCESS_KEY, "default")), [25, 50, 75, 100]);
    let messages = receiver.heard();
    assert_eq!(messages.len(), 4, "{messages:?}");
    let bodies: Vec<Value> = messages.iter().map(receiver::Message::json).collect();
    assert_eq!(thresholds(&bodies), [25, 50, 75, 100], "one after the other");
    for (message, body) in messages.iter().zip(&bodies) {
        assert!(message.is_signed_by(SECRET) && message.is_signed_by(FORMER), "{message:?}");
        assert!(!message.is_signed_by("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "the check can fail");
        assert_eq!((&body["tenant"], body["id"].as_str().map(|id| &id[..3])), (&json!("default"), Some("al_")));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let sent: u64 = message.timestamp.parse().expect("seconds");
        assert!(now.abs_diff(sent) < 60, "{sent} {now}");
    }
    let said = feed(&gateway, r#""threshold_percent":100"#);
    assert!(said.contains(r#""kind":"alert""#) && said.contains(r#""threshold_percent":25"#), "{said}");
}

#[test]
fn what_was_told_is_told_once_over_kills_and_a_raised_budget_is_told_anew() {
    let simulator = simulator();
    let mut gateway = gateway(&simulator).start();
    set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.10/day soft"}));
    spend(&gateway, INFERENCE_KEY, 8);
    wait_for_thresholds(&gateway, ACCESS_KEY, "default", &[75]);
    gateway.kill();
    gateway.restart();
    spend(&gateway, INFERENCE_KEY, 3);
    wait_for_thresholds(&gateway, ACCESS_KEY, "default", &[75, 90, 100]);
    gateway.kill();
    gateway.restart();
    a_while();
    assert_eq!(thresholds(&alerts(&gateway, ACCESS_KEY, "default")), [75, 90, 100]);
    // Raised: eleven cents are half of it, and 75 % is told again when it is reached.
    set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.20/day soft"}));
    a_while();
    assert_eq!(thresholds(&alerts(&gateway, ACCESS_KEY, "default")), [75, 90, 100]);
    spend(&gateway, INFERENCE_KEY, 5);
    wait_for_thresholds(&gateway, ACCESS_KEY, "default", &[75, 90, 100, 75]);
    // Lowered again: nothing that was told is told twice.
    set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.10/day soft"}));
    a_while();
    assert_eq!(thresholds(&alerts(&gateway, ACCESS_KEY, "default")), [75, 90, 100, 75]);
}

#[test]
fn alerts_belong_to_their_tenant_and_are_acknowledged_once() {
    let simulator = simulator();
    let gateway = gateway(&simulator).start();
    set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.01/day soft", "alert_at": [50]}));
    spend(&gateway, INFERENCE_KEY, 1);
    spend(&gateway, STRANGER_KEY, 1);
    wait_for_thresholds(&gateway, ACCESS_KEY, "default", &[50]);
    assert_eq!(alerts(&gateway, STRANGER_KEY, "other"), Vec::<Value>::new());
    let own = alerts(&gateway, ACCESS_KEY, "default");
    let id = own[0]["id"].as_str().expect("an id");
    assert_eq!(get(&gateway, STRANGER_KEY, &format!("/v1/tenants/other/alerts/{id}")).status, 404);
    let path = format!("/v1/tenants/other/alerts/{id}/acknowledge");
    assert_eq!(post(&gateway, STRANGER_KEY, &path, &json!({})).status, 404, "rule T1");
    let seen = post(&gateway, ACCESS_KEY, &format!("/v1/tenants/default/alerts/{id}/acknowledge"), &json!({}));
    assert_eq!((seen.status, &seen.json()["state"]), (200, &json!("acknowledged")), "{}", seen.text());
    let listed = |filter: &str| {
        let answer = get(&gateway, ACCESS_KEY, &format!("/v1/tenants/default/alerts?{filter}")).json();
        answer["data"].as_array().map(Vec::len)
    };
    assert_eq!((listed("state=open"), listed("state=acknowledged&type=budget_alert")), (Some(0), Some(1)));
    assert_eq!((listed("before=1"), listed("limit=1")), (Some(0), Some(1)));
    assert_eq!(get(&gateway, ACCESS_KEY, "/v1/tenants/default/alerts?state=new").status, 400);
    let operators = gateway.admin("/alerts?state=acknowledged").json();
    assert_eq!(operators["data"].as_array().map(Vec::len), Some(1), "{operators}");
}

// ---- Webhooks ---------------------------------------------------------------------------------------------------------------

#[test]
fn a_receiver_that_fails_gets_the_same_message_again_and_delays_nobody() {
    let simulator = simulator();
    let failing = Receiver::start(|n| match n {
        0 => Manner::Status(503),
        1 => Manner::Close,
        _ => Manner::Status(204),
    });
    let (hanging, sound) = (Receiver::start(|_| Manner::Hang), Receiver::start(|_| Manner::Status(200)));
    let hooks = [webhook("failing", &failing, ""), webhook("hanging", &hanging, ""), webhook("sound", &sound, "")];
    let gateway = gateway(&simulator).config_toml(&hooks.concat()).start();
    set_budget(&gateway, ACCESS_KEY, "default", &json!({"budget": "$0.01/day soft", "alert_at": [50, 100]}));
    let began = Instant::now();
    spend(&gateway, INFERENCE_KEY, 1);
    wait_until(SOON, "two messages", || sound.distinct().len() == 2);
    assert!(began.elapsed() < Duration::from_secs(10), "nobody waits for who hangs");
    wait_until(Duration::from_secs(30), "both in the end", || failing.heard().len() >= 4);
    let heard = failing.heard();
    assert_eq!(failing.distinct().len(), 2, "{heard:?}");
    assert!(heard.iter().all(|message| message.is_signed_by(SECRET)), "{heard:?}");
    assert_eq!(hanging.distinct().len(), 1, "one at a time");
    wait_until(SOON, "all is noted", || {
        let messages = gateway.admin("/alerts/webhooks/config:failing/messages").json();
        let states = messages["data"].as_array().cloned().unwrap_or_default();
        states.len() == 2 && states.iter().all(|message| message["state"] == "delivered")
    });
    assert_eq!(gateway.admin("/status").status, 200, "the control plane answers");
}

#[test]
fn a_kill_between_sending_and_noting_sends_the_same_message_again() {
    let simulator = simulator();
    let receiver = Receiver::start(|n| if n == 0 { Manner::Hang } else { Manner::Status(200) });
    let mut gateway = gateway(&simulator).config_toml(&webhook("pager", &receiver, "")).start();
    let sent = gateway.admin_ask("POST", "/alerts/webhooks/config:pager/test", "");
    assert_eq!(sent.status, 202, "{}", sent.text());
    wait_until(SOON, "it was sent", || receiver.heard().len() == 1);
    gateway.kill();
    gateway.restart();
    wait_until(SOON, "it is sent again", || receiver.heard().len() == 2);
    let heard = receiver.heard();
    assert_eq!((&heard[0].id, &heard[0].body), (&heard[1].id, &heard[1].body));
    assert_eq!(heard[0].json()["type"], "test");
    assert_eq!(sent.json()["id"], heard[0].id.as_str());
}

#[test]
fn a_redirect_is_not_followed() {
    let simulator = simulator();
    let inside = Receiver::start(|_| Manner::Status(200));
    let to = inside.url();
    let receiver = Receiver::start(move |_| Manner::Redirect(to.clone()));
    let gateway = gateway(&simulator).config_toml(&webhook("pager", &receiver, "")).start();
    assert_eq!(gateway.admin_ask("POST", "/alerts/webhooks/config:pager/test", "").status, 202);
    wait_until(SOON, "it was tried twice", || receiver.heard().len() >= 2);
    assert_eq!(inside.heard().len(), 0);
    let shown = gateway.admin("/alerts/webhooks/config:pager/messages").json();
    assert!(shown["data"][0]["outcome"].as_str().is_some_and(|said| said.contains("307")), "{shown}");
}

#[test]
fn a_tenants_webhook_is_public_https_and_its_secret_is_shown_once() {
    let simulator = simulator();
    let gateway = gateway(&simulator).start();
    let path = "/v1/tenants/other/alerts";
    for url in [
        "http://hooks.example.com/x",
        "https://127.0.0.1/x",
        "https://10.1.2.3/x",
        "https://169.254.169.254/latest",
        "https://[::1]/x",
        "https://user:pass@hooks.example.com/",
        "https://hooks.example.com/?token=x",
        "ftp://hooks.example.com/",
    ] {
        let refused = post(&gateway, STRANGER_KEY, path, &json!({"webhooks": [{"url": url}]}));
        assert_eq!(refused.status, 400, "{url}: {}", refused.text());
    }
    assert_eq!(post(&gateway, STRANGER_KEY, path, &json!({})).status, 400, "an empty body takes nothing away");
    let new = json!({"webhooks": [{"url": "https://hooks.example.invalid/x", "events": ["budget_alert"]}]});
    let made = post(&gateway, STRANGER_KEY, path, &new);
    assert_eq!(made.status, 201, "{}", made.text());
    let (id, secret) = (made.json()["data"][0]["id"].clone(), made.json()["data"][0]["secret"].clone());
    assert!(secret.as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{}", made.text());
    let again = post(&gateway, STRANGER_KEY, path, &new);
    assert_eq!((&again.json()["data"][0]["id"], again.json()["data"][0].get("secret")), (&id, None));
    let id = id.as_str().expect("an id");
    let own = |rest: &str| format!("/v1/tenants/other/alerts/webhooks{rest}");
    let rotated = post(&gateway, STRANGER_KEY, &own(&format!("/{id}/rotate")), &json!({}));
    assert!(rotated.status == 201 && rotated.json()["secret"] != secret, "{}", rotated.text());
    let shown = get(&gateway, STRANGER_KEY, &own("")).text();
    assert!(shown.contains(id) && !shown.contains("whsec_"), "{shown}");
    assert_eq!(post(&gateway, STRANGER_KEY, &own(&format!("/{id}/test")), &json!({})).status, 202);
    wait_until(SOON, "its name leads nowhere", || {
        let messages = get(&gateway, STRANGER_KEY, &own(&format!("/{id}/messages"))).json();
        messages["data"][0]["attempts"].as_u64().is_some_and(|attempts| attempts >= 1)
    });
    // Whose it is not, for them it is none (rule T1).
    assert_eq!(get(&gateway, STRANGER_KEY, "/v1/tenants/default/alerts/webhooks").status, 404);
    let foreign = format!("/v1/tenants/default/alerts/webhooks/{id}/test");
    assert_eq!(post(&gateway, ACCESS_KEY, &foreign, &json!({})).status, 404);
    let removed = gateway.ask(&bare("DELETE", &own(&format!("/{id}")), &bearer(STRANGER_KEY)));
    assert_eq!(removed.status, 200, "{}", removed.text());
    assert!(!gateway.stdout().contains("whsec_") && !gateway.stderr().contains("whsec_"));
}
