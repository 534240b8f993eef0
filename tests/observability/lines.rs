//! The access log: one line for each exchange, redacted, in a file that may be moved away.

use crate::support::{
    ACCESS_KEY, Gateway, SOON, bare, bearer, chat, chat_of, post_with, provider_key, stream_of, wait_until,
};
use igris_load::Simulator;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const MARK: &str = "a-prompt-that-no-line-may-have";

fn logging(simulator: &Simulator, lines: &str) -> Gateway {
    let builder = Gateway::builder().own_provider("p1", &simulator.base_url(), "");
    builder.config_toml(&format!("[telemetry.access_log]\npath = \"{{home}}/access.log\"\n{lines}")).start()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
    // The stand also asks whether the gateway is ready.
    lines.filter(|line: &Value| line["path"] != "/{page}").collect()
}

fn wait_for(path: &Path, count: usize) -> Vec<Value> {
    wait_until(SOON, "the lines are there", || lines(path).len() >= count);
    lines(path)
}

#[test]
fn each_exchange_has_one_line_with_its_figures_and_nobodys_secret() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = logging(&simulator, "");
    let path = gateway.home().join("access.log");
    let answer = gateway.chat(&chat(MARK));
    let stream = gateway.stream(&stream_of(MARK, ""));
    let lost = gateway.chat(&chat_of("no-such-model", MARK, ""));
    let query = format!("/v1/models?token={MARK}");
    gateway.ask(&bare("GET", &query, &bearer(ACCESS_KEY)));
    gateway.ask(&post_with(&format!("/v1/{MARK}"), &bearer("sk-wrong-canary"), MARK.as_bytes()));
    let lines = wait_for(&path, 4);
    assert_eq!(lines.len(), 4);
    assert!(fs::read_to_string(&path).expect("a log").contains("\"path\":\"/{page}\""), "of a page, too");
    let id = answer.header("x-request-id").expect("on every answer");
    let line = lines.iter().find(|line| line["request_id"] == id).expect("a line");
    for (member, value) in [
        ("tenant", json!("default")),
        ("client", json!("127.0.0.0")),
        ("method", json!("POST")),
        ("surface", json!("chat")),
        ("path", json!("/v1/chat/completions")),
        ("status", json!(200)),
        ("finish", json!("completed")),
        ("error", Value::Null),
        ("model_requested", json!("gpt-4o")),
        ("model_used", json!("gpt-4o")),
        ("provider", json!("p1")),
        ("attempts", json!(1)),
        ("stream", json!(false)),
        ("usage_source", json!("provider")),
    ] {
        assert_eq!(line[member], value, "{member} of {line}");
    }
    let usage = &answer.json()["usage"];
    assert_eq!((&line["input_tokens"], &line["output_tokens"]), (&usage["prompt_tokens"], &usage["completion_tokens"]));
    let figure = |line: &Value, member: &str| line[member].as_u64().unwrap_or_else(|| panic!("{member} of {line}"));
    assert!(figure(line, "overhead_us") <= figure(line, "total_us"));
    assert!(figure(line, "first_byte_us") > 0 && figure(line, "first_byte_us") <= figure(line, "total_us"));
    assert!(figure(line, "bytes_in") > MARK.len() as u64 && figure(line, "bytes_out") > answer.body.len() as u64);
    assert!(line["access_key"].as_str().is_some_and(|id| id.starts_with("ak_")), "its public id");
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32));
    let stream = stream.answer.header("x-request-id").expect("on every answer").to_owned();
    let line = lines.iter().find(|line| line["request_id"] == stream.as_str()).expect("a line");
    assert!(line["stream"] == true && figure(line, "first_token_us") > 0, "{line}");
    let lost = lost.header("x-request-id").expect("on every answer").to_owned();
    let line = lines.iter().find(|line| line["request_id"] == lost.as_str()).expect("a line");
    assert_eq!(
        (&line["status"], &line["error"], &line["finish"]),
        (&json!(404), &json!("model_not_found"), &json!("refused"))
    );
    let text = fs::read_to_string(&path).expect("a log");
    for canary in [MARK, ACCESS_KEY, "sk-wrong-canary", &provider_key("p1")] {
        assert!(!text.contains(canary), "rules R1, R2, R4: {canary}");
    }
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_owner_chooses_members_address_and_share() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = logging(&simulator, "fields = [\"status\", \"client\", \"path\"]\nclient_address = \"none\"");
    let path = gateway.home().join("access.log");
    assert_eq!(gateway.chat(&chat(MARK)).status, 200);
    wait_for(&path, 1);
    let text = fs::read_to_string(&path).expect("a log");
    let line = "{\"client\":null,\"path\":\"/v1/chat/completions\",\"status\":200}\n";
    assert!(text.ends_with(line), "{text}");
    let gateway = logging(&simulator, "sample = 0.0\nalways = [\"errors\"]\nfields = [\"path\", \"status\"]");
    let path = gateway.home().join("access.log");
    assert_eq!(gateway.chat(&chat(MARK)).status, 200);
    assert_eq!(gateway.chat(&chat_of("no-such-model", MARK, "")).status, 404);
    assert_eq!(wait_for(&path, 1), [json!({ "path": "/v1/chat/completions", "status": 404 })]);
}

#[test]
fn a_log_that_was_moved_away_is_begun_anew_on_sighup() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let mut gateway = logging(&simulator, "fields = [\"path\", \"status\"]");
    let (path, moved) = (gateway.home().join("access.log"), gateway.home().join("access.log.1"));
    assert_eq!(gateway.chat(&chat(MARK)).status, 200);
    wait_for(&path, 1);
    fs::rename(&path, &moved).expect("a move");
    gateway.signal("HUP");
    wait_until(SOON, "lines go to a new file", || {
        gateway.chat(&chat(MARK));
        path.exists() && !lines(&path).is_empty()
    });
    let before = lines(&moved).len();
    // What is not written yet is, before the process ends.
    assert_eq!(gateway.chat(&chat(MARK)).status, 200);
    let written = || lines(&path).len();
    let so_far = written();
    gateway.signal("TERM");
    gateway.wait(SOON).expect("it ends");
    assert!(written() > 0 && written() >= so_far, "{so_far}");
    assert_eq!(lines(&moved).len(), before, "the old one is left alone");
}
