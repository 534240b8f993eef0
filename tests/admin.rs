//! The admin socket as people use it: with curl, by users of different roles, within its bounds, and never in the way of the data plane.

mod support;

use igris_load::Simulator;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::{
    ACCESS_KEY, BOOKS_KEY, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, chat, post, provider_key, wait_until,
};

/// Every page of the admin socket that ends; `{id}`s are filled in with what the gateway has.
const PAGES: &[&str] = &[
    "/health",
    "/status",
    "/config",
    "/metrics",
    "/providers",
    "/breakers",
    "/routes",
    "/scores",
    "/histograms/openai/gpt-4o",
    "/tenants",
    "/tenants/default",
    "/usage?tenant=default&period=day",
    "/usage",
    "/costs?group_by=tenant,model&bucket=day",
    "/costs/forecast?tenant=default",
    "/access-keys?tenant=default",
    "/providers/openai/keys",
    "/rotations",
    "/rollout",
    "/providers/openai/keys/{key}",
    "/decisions",
    "/decisions?format=jsonl",
    "/decisions/{decision}",
    "/audit",
    "/audit?after=1&limit=2",
    "/audit?tenant=default",
    "/budgets",
    "/alerts",
    "/alerts/webhooks",
    "/series",
    "/config/texts",
    "/ledger",
    "/ledger/export?format=jsonl",
];

const TOKEN: &str = "igris-admin-canary-0123456789";
const NOBODY: u32 = 65_534;

/// A gateway that has answered something, and has keys of its own.
fn used() -> (Simulator, Gateway) {
    let simulator = Simulator::builder().keys([provider_key("openai")]).start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    assert_eq!(gateway.chat(&chat("x")).status, 200);
    // Scores are computed twice a second.
    wait_until(SOON, "the answer is scored", || gateway.admin("/histograms/openai/gpt-4o").status == 200);
    (simulator, gateway)
}

fn filled(gateway: &Gateway, page: &str) -> String {
    let first = |list: &str| {
        let listed = gateway.admin(list).json();
        let id = &listed["data"][0]["id"];
        id.as_str().unwrap_or_else(|| panic!("no id in {listed}")).to_owned()
    };
    match page {
        page if page.contains("{key}") => page.replace("{key}", &first("/providers/openai/keys")),
        page if page.contains("{decision}") => page.replace("{decision}", &first("/decisions")),
        page => page.to_owned(),
    }
}

/// curl over the socket: status and body.
fn curl(socket: &Path, words: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}", "--unix-socket"])
        .arg(socket)
        .args(words)
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or_else(|_| panic!("{words:?}: {text}")), body.to_owned())
}

fn has_curl() -> bool {
    let there = Command::new("curl").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: there is no curl on this machine");
    }
    there
}

#[test]
fn curl_reads_every_page_changes_something_and_sees_no_secret() {
    if !has_curl() {
        return;
    }
    let (_simulator, gateway) = used();
    let socket = gateway.home().join("admin.sock");
    let secrets = [ACCESS_KEY, INFERENCE_KEY, BOOKS_KEY, STRANGER_KEY].map(str::to_owned);
    let root = fs::read_to_string(gateway.home().join("data/root.key")).expect("a root key");
    let secrets: Vec<String> = secrets.into_iter().chain([provider_key("openai"), root.trim().to_owned()]).collect();
    for page in PAGES {
        let page = filled(&gateway, page);
        let (status, body) = curl(&socket, &[&format!("http://igris{page}")]);
        assert_eq!(status, 200, "{page}: {body}");
        for secret in &secrets {
            assert!(
                !body.contains(secret.as_str()) && !body.contains(&secret[..secret.len() - 8]),
                "{page} shows a secret"
            );
        }
    }
    let (status, body) = curl(&socket, &["--json", r#"{"id":"acme"}"#, "http://igris/tenants"]);
    assert_eq!(status, 201, "{body}");
    let (status, body) = curl(&socket, &["http://igris/audit?tenant=acme"]);
    let rows: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &rows["data"][0]["what"]), (200, &Value::from("tenant.create")), "{body}");
    assert_eq!(rows["data"].as_array().map(Vec::len), Some(1), "only its own rows: {body}");
    assert!(rows["data"][0]["after"].as_str().is_some_and(|after| after.len() == 32), "{body}");
    let (status, body) = curl(&socket, &["--request", "POST", "http://igris/audit/verify"]);
    assert!(status == 200 && body.contains(r#""whole":true"#), "{body}");
    let (status, body) = curl(&socket, &["--request", "DELETE", "http://igris/tenants/acme"]);
    assert_eq!(status, 200, "{body}");
    // The live feed begins at once; curl gives it up.
    let fed = Command::new("curl")
        .args(["--silent", "--max-time", "2", "--unix-socket"])
        .arg(&socket)
        .arg("http://igris/events")
        .output();
    let fed = String::from_utf8_lossy(&fed.expect("curl runs").stdout).into_owned();
    assert!(fed.contains("data: ") && fed.contains("the audit log stands at"), "{fed}");
}

#[test]
fn every_page_of_the_sources_is_walked() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin");
    let shape = |page: &str| {
        let path = page.split('?').next().unwrap_or_default();
        path.split('/').take(3).map(|part| if part.starts_with('{') { "*" } else { part }).collect::<Vec<_>>().join("/")
    };
    let walked: Vec<String> = PAGES.iter().map(|page| shape(page)).collect();
    // Walked by tests of their own, or without an end.
    let elsewhere = ["/events", "/rotations", "/rollout", "/access-keys/{id}"];
    for entry in fs::read_dir(folder).expect("the sources") {
        let file = entry.expect("an entry").path();
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.ends_with(".rs") || name.ends_with("tests.rs") || name == "tenant_api.rs" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source");
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in shipped.split(".route(").skip(1) {
            let Some(route) = call.split('"').nth(1).filter(|route| !route.starts_with("/v1/")) else { continue };
            let call = call.split("\n        .").next().unwrap_or_default();
            if !call.contains("get(") || elsewhere.iter().any(|page| route.starts_with(page)) {
                continue;
            }
            let parts: Vec<&str> = route.split('/').take(3).collect();
            let fits = |page: &&String| {
                let page: Vec<&str> = page.split('/').collect();
                page.len() == parts.len()
                    && page.iter().zip(&parts).all(|(seen, part)| *seen == "*" || part.starts_with('{') || seen == part)
            };
            assert!(
                walked.iter().any(|page| fits(&page)),
                "{name}: GET {route} is not among the pages that are walked"
            );
        }
    }
}

#[test]
fn who_may_change_what_depends_on_user_and_token() {
    let simulator = Simulator::builder().keys([provider_key("openai")]).start().expect("a loopback port");
    let own = fs::metadata("/proc/self").map(|process| std::os::unix::fs::MetadataExt::uid(&process)).expect("asked");
    if own != 0 || !has_curl() {
        println!("skipped: only root can be another user");
        return;
    }
    let start = |admin: &str| {
        let gateway = Gateway::builder().file("token", TOKEN).admin(admin).provider("openai", &simulator).start();
        fs::set_permissions(gateway.home(), fs::Permissions::from_mode(0o711)).expect("set");
        gateway
    };
    let as_user = |gateway: &Gateway, uid: u32, method: &str, page: &str, token: Option<&str>| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}", "--request", method]);
        if let Some(token) = token {
            command.args(["--header", &format!("authorization: Bearer {token}")]);
        }
        command.arg("--unix-socket").arg(gateway.home().join("admin.sock")).arg(format!("http://igris{page}"));
        let output = command.uid(uid).current_dir("/").output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.rsplit_once('\n').and_then(|(_, status)| status.parse::<u16>().ok()).unwrap_or(0)
    };
    let gateway = start(&format!("allowed_uids = [{NOBODY}, {{ uid = 65533, roles = [\"operate\"] }}]"));
    for (uid, method, page, status) in [
        (NOBODY, "GET", "/status", 200),
        (NOBODY, "POST", "/reload", 403),
        (NOBODY, "POST", "/audit/verify", 200),
        (65_533, "POST", "/reload", 200),
        (65_533, "POST", "/vault/rotate-master", 403),
        (65_533, "POST", "/breakers/openai/reset", 200),
        (65_533, "DELETE", "/tenants/other", 403),
        (65_532, "GET", "/status", 0),
        (0, "POST", "/vault/rotate-master", 200),
    ] {
        assert_eq!(as_user(&gateway, uid, method, page, None), status, "{uid} {method} {page}");
    }
    let audit = gateway.admin("/audit").text();
    assert!(audit.contains("breaker.reset") && audit.contains("uid:65533"), "{audit}");
    drop(gateway);

    let tokens = "[[admin.tokens]]\nname = \"deploy\"\nroles = [\"operate\"]\nkey = { file = \"{home}/token\" }\n";
    let gateway =
        start(&format!("allowed_uids = [{NOBODY}, {{ uid = 65533, roles = [\"keys\", \"operate\"] }}]\n{tokens}"));
    for (uid, method, page, token, status) in [
        (NOBODY, "POST", "/reload", None, 401),
        (NOBODY, "POST", "/reload", Some(TOKEN), 200),
        (NOBODY, "POST", "/reload", Some("igris-admin-canary-0123456780"), 401),
        (NOBODY, "POST", "/backup", Some(TOKEN), 403),
        (NOBODY, "GET", "/status", None, 200),
        (65_533, "POST", "/vault/rotate-master", None, 401),
        (0, "POST", "/vault/rotate-master", None, 200),
        (0, "GET", "/status", Some("wrong"), 401),
    ] {
        assert_eq!(as_user(&gateway, uid, method, page, token), status, "{uid} {method} {page} {token:?}");
    }
    assert_eq!(as_user(&gateway, NOBODY, "POST", "/breakers/openai/reset", Some(TOKEN)), 200);
    let audit = gateway.admin("/audit").text();
    assert!(audit.contains("uid:65534 token:deploy") && !audit.contains("canary"), "{audit}");
    let said = gateway.stdout() + &gateway.stderr();
    assert!(!said.contains(TOKEN), "{said}");
}

/// A request on a connection of its own that may be cut; status, or 0 when the connection was closed without one.
fn raw(socket: &Path, bytes: &[u8]) -> u16 {
    let mut stream = UnixStream::connect(socket).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    // The answer may come before everything is read.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn a3_frames_are_bounded_at_n_minus_one_n_and_n_plus_one() {
    let (_simulator, gateway) = used();
    let socket = gateway.home().join("admin.sock");
    const BODY: usize = 1024 * 1024;
    for (length, status) in [(BODY - 1, 201), (BODY, 201), (BODY + 1, 413)] {
        let id = format!(r#"{{"id":"t{length}"}}"#);
        let body = format!("{id}{}", " ".repeat(length - id.len()));
        let head =
            format!("POST /tenants HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        assert_eq!(raw(&socket, (head + &body).as_bytes()), status, "a body of {length}");
        // The same in chunks, where no length is announced.
        let id = format!(r#"{{"id":"c{length}"}}"#);
        let body = format!("{id}{}", " ".repeat(length - id.len()));
        let head = "POST /tenants HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(
            raw(&socket, format!("{head}{length:x}\r\n{body}\r\n0\r\n\r\n").as_bytes()),
            status,
            "chunks of {length}"
        );
    }
    const HEAD: usize = 32 * 1024;
    let mut seen = Vec::new();
    for length in [HEAD - 1, HEAD, HEAD + 1, 2 * HEAD] {
        let bare = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: \r\n\r\n";
        let head = bare.replace("x: ", &format!("x: {}", "y".repeat(length - bare.len())));
        assert_eq!(head.len(), length);
        seen.push(raw(&socket, head.as_bytes()));
    }
    assert_eq!(seen, [200, 200, 431, 431], "a head of {HEAD} bytes and around");
    // Whatever was refused concerned its own connection.
    for junk in [
        "",
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "\u{0}\u{1}",
        "GET /health HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    ] {
        assert!(matches!(raw_closed(&socket, junk.as_bytes()), 0 | 400), "{junk:?}");
    }
    assert_eq!(gateway.admin("/health").status, 200);
}

/// As [`raw`], with the end of what is sent.
fn raw_closed(socket: &Path, bytes: &[u8]) -> u16 {
    let mut stream = UnixStream::connect(socket).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn a3_the_seventeenth_connection_is_turned_away_and_a_slow_body_ends() {
    let (_simulator, gateway) = used();
    let socket = gateway.home().join("admin.sock");
    let held: Vec<UnixStream> = (0..16)
        .map(|number| {
            let mut stream = UnixStream::connect(&socket).expect("connected");
            // One by one, so that each has its place before the next comes.
            stream.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").expect("sent");
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).expect("answered");
            assert_eq!(&answer, b"HTTP/1.1 200", "connection {number}");
            stream
        })
        .collect();
    assert_eq!(raw(&socket, b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), 503, "the seventeenth");
    drop(held);
    support::wait_until(support::SOON, "a place is free", || {
        raw(&socket, b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n") == 200
    });
    let slow = b"POST /tenants HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{";
    assert_eq!(raw(&socket, slow), 408, "a body that never comes");
}

#[test]
fn a4_a_flood_of_the_admin_socket_delays_no_request() {
    let (_simulator, gateway) = used();
    let (over, admin) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (over, admin, gateway) = (&over, &admin, &gateway);
            scope.spawn(move || {
                let socket = gateway.home().join("admin.sock");
                while !over.load(Ordering::Relaxed) {
                    let request = match number % 4 {
                        0 => "GET /scores HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
                        1 => "POST /reload HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                        2 => "POST /audit/verify HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                        _ => "POST /breakers/openai/reset HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    };
                    assert!(matches!(raw(&socket, request.as_bytes()), 200 | 503));
                    admin.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut client = gateway.client();
        let mut asked = 0;
        while asked < 300 || admin.load(Ordering::Relaxed) < 100 {
            let answer = client.ask(&post(&chat("x")));
            assert_eq!(answer.status, 200, "{}", answer.text());
            asked += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(gateway.admin("/audit/verify").status, 405);
    let proof = gateway.admin_ask("POST", "/audit/verify", "");
    assert_eq!(proof.json()["whole"], true, "{}", proof.text());
}
