//! The canary rule (R4): keys with a marker go in, and after everything that happened the marker is nowhere.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, When};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::{
    ACCESS_KEY, BOOKS_KEY, Gateway, INFERENCE_KEY, STRANGER_KEY, bare, bearer, chat, chat_of, post, post_with,
    provider_key, stream_of,
};

const ADDED_KEY: &str = "sk-canary-added-by-api-fedcba9876543210";
const QUOTED: &str = "Incorrect API key provided: KEY. Header was Authorization: Bearer KEY";

/// Every secret of the test, and each in the encodings in which it might hide.
fn needles() -> Vec<(String, Vec<u8>)> {
    let keys = [ACCESS_KEY, INFERENCE_KEY, BOOKS_KEY, STRANGER_KEY, ADDED_KEY].map(str::to_owned);
    let mut needles = Vec::new();
    for key in keys.into_iter().chain([provider_key("openai"), provider_key("second")]) {
        let hex: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        let reversed: String = key.chars().rev().collect();
        needles.push((key.clone(), base64(key.as_bytes()).into_bytes()));
        needles.push((key.clone(), hex.to_uppercase().into_bytes()));
        needles.push((key.clone(), hex.into_bytes()));
        needles.push((key.clone(), reversed.into_bytes()));
        needles.push((key.clone(), key.clone().into_bytes()));
        // Half of it is too much as well.
        needles.push((key.clone(), key.as_bytes()[..key.len() - 8].to_vec()));
    }
    needles
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // The whole groups are enough: a secret that is there shows in them.
    let letter = |group: u32, shift: u32| char::from(LETTERS[(group >> shift) as usize & 63]);
    let groups = bytes
        .chunks_exact(3)
        .map(|three| (u32::from(three[0]) << 16) | (u32::from(three[1]) << 8) | u32::from(three[2]));
    groups.flat_map(|group| [letter(group, 18), letter(group, 12), letter(group, 6), letter(group, 0)]).collect()
}

/// Says which secret is in these bytes, and what stands around it.
fn secret_in(bytes: &[u8]) -> Option<String> {
    needles().into_iter().find_map(|(key, needle)| {
        let at = bytes.windows(needle.len()).position(|window| window == needle)?;
        let around = String::from_utf8_lossy(&bytes[at.saturating_sub(60)..bytes.len().min(at + 60)]).into_owned();
        Some(format!("{key} as {:?}: …{around}…", String::from_utf8_lossy(&needle)))
    })
}

#[track_caller]
fn must_be_clean(place: &str, bytes: &[u8]) {
    if let Some(found) = secret_in(bytes) {
        panic!("{place} holds {found}");
    }
}

/// All files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// Everything that clients of this gateway are told while it goes through good and bad times.
fn a_busy_day(gateway: &Gateway, first: &Simulator) -> Vec<u8> {
    let mut client = gateway.client();
    let mut ask = |request: &[u8]| client.ask(request).status;
    assert_eq!(ask(&post(&chat("good"))), 200);
    assert_eq!(ask(&post(&stream_of("good", ""))), 200);
    for fault in [400, 401, 403, 404, 429, 500, 503] {
        for (kind, quoted) in
            [("json", format!(r#"{{"error":{{"message":"{QUOTED}","code":"KEY"}}}}"#)), ("text", QUOTED.to_owned())]
        {
            let body = Some(quoted.replace("KEY", &provider_key("openai")));
            let rule = Fault::Status { code: fault, retry_after: None, body };
            first.set_behaviour(Behaviour::default().with_fault(rule, When::Always));
            let status = ask(&post(&chat_of("gpt-4o", kind, r#","provider":"openai""#)));
            assert!(status >= 400, "{fault} {kind}: {status}");
        }
    }
    first.set_behaviour(Behaviour::default());
    // Keys in all the wrong places; some of these close the connection.
    let key = ACCESS_KEY;
    for request in [
        bare("GET", &format!("/v1/models?key={key}"), ""),
        bare("GET", &format!("/v1/{key}"), &bearer(key)),
        bare("GET", "/v1/models", &bearer(&format!("{key}x"))),
        bare("GET", "/v1/models", &bearer(key).repeat(2)),
        bare("GET", &format!("/v1/models/{key}"), &bearer(key)),
        post(&chat_of(key, "a key for a model", "")),
        post(&chat_of("gpt-4o", "x", &format!(r#","provider":"{key}""#))),
        post(&chat_of("gpt-4o", "x", &format!(r#","routing_policy":"{key}""#))),
        post(&chat_of("gpt-4o", "x", &format!(r#","{key}":1"#))),
        post_with("/v1/chat/completions", &bearer(INFERENCE_KEY), b"{"),
        post_with("/v1/tenants/default/providers/openai/keys", &bearer(INFERENCE_KEY), ADDED_KEY.as_bytes()),
        post_with(
            "/v1/tenants/default/providers/openai/keys",
            &bearer(key),
            format!(r#"{{"api_key":"{ADDED_KEY}"}}"#).as_bytes(),
        ),
        post_with(
            "/v1/tenants/default/providers/openai/keys",
            &bearer(key),
            format!(r#"{{"api_key":{ADDED_KEY}}}"#).as_bytes(),
        ),
        bare("GET", "/v1/tenants/default/providers/openai/keys", &bearer(key)),
        bare("GET", "/v1/providers", &bearer(key)),
    ] {
        let mut other = gateway.client();
        other.ask(&request);
        client.received.extend_from_slice(&echo_free(&other.received));
    }
    client.received
}

/// What a client is told, without what it sent itself and may see again: an answer may quote the name of an unknown model or member.
fn echo_free(received: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(received).into_owned();
    let quoted = [
        format!("`{ACCESS_KEY}`"),
        format!("'{ACCESS_KEY}'"),
        format!("/v1/{ACCESS_KEY}"),
        format!("\"param\":\"{ACCESS_KEY}\""),
    ];
    quoted.iter().fold(text, |text, own| text.replace(own.as_str(), "(the client's own word)")).into_bytes()
}

#[test]
fn keys_are_nowhere_but_where_they_are_shown_to_a_provider() {
    let first = Simulator::builder().start().expect("a loopback port");
    let second = Simulator::builder().start().expect("a loopback port");
    let mut gateway = Gateway::builder()
        .provider("openai", &first)
        .own_provider("second", &second.base_url(), "")
        .word("-v")
        .config_toml("[log]\nlevel = \"trace\"\n")
        .start();
    // The search finds what is there: the file that the operator keeps the key in.
    assert!(secret_in(&fs::read(gateway.home().join("openai.key")).expect("our own file")).is_some());
    let mut told = a_busy_day(&gateway, &first);
    gateway.write_config(&(gateway.config().to_owned() + "\n[broken\n"));
    gateway.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    gateway.write_config(&gateway.config().replace("version = 1\n", "version = 2\n"));
    gateway.signal("HUP");
    std::thread::sleep(Duration::from_millis(500));
    for page in ["/status", "/metrics", "/config", "/routes", "/providers", "/tenants", "/access-keys", "/scores"] {
        told.extend_from_slice(&gateway.admin(page).body);
    }
    told.extend(a_busy_day(&gateway, &first));
    gateway.restart();
    told.extend(a_busy_day(&gateway, &first));
    gateway.signal("TERM");
    assert!(gateway.wait(Duration::from_secs(10)).is_some());
    must_be_clean("what clients were told", &told);
    must_be_clean("stdout", gateway.stdout().as_bytes());
    must_be_clean("stderr", gateway.stderr().as_bytes());
    let files = files_below(&gateway.home().join("data"));
    assert!(files.len() >= 2, "the state is somewhere: {files:?}");
    for file in files {
        must_be_clean(&file.display().to_string(), &fs::read(&file).expect("our own file"));
    }
    assert_eq!(first.truth().violations(), [], "no access key went to a provider");
}

#[test]
fn nobody_else_may_read_the_state() {
    use std::os::unix::fs::PermissionsExt;
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    assert_eq!(gateway.chat(&chat("x")).status, 200);
    let files = files_below(&gateway.home().join("data"));
    assert!(!files.is_empty());
    for file in files.into_iter().chain([gateway.home().join("admin.sock")]) {
        let mode = fs::metadata(&file).expect("our own file").permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.display());
    }
    let arguments = fs::read(format!("/proc/{}/cmdline", gateway.pid())).expect("it runs");
    must_be_clean("the command line", &arguments);
}

#[test]
fn a_dump_of_the_process_is_not_to_be_had() {
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert!(core.split_whitespace().nth(4) == Some("0"), "rule V12: {core}");
}

#[test]
fn a_crash_leaves_no_memory_on_disk() {
    // Rule V12: the kernel is told to dump nothing of this process.
    let simulator = Simulator::builder().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let limits = fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).expect("our own child");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit for core files");
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
}
