#![cfg(all(feature = "load", feature = "certs"))]
//! `igris-load mock` as a server for other people's tests: what it prints, writes, takes and refuses.

use igris_load::certs::Authority;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");
const SOON: Duration = Duration::from_secs(10);

/// A running mock that is told to end when it goes.
struct Mock {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    url: String,
}

impl Mock {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["mock", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut url = String::new();
        output.read_line(&mut url).expect("its first line");
        Self { child, output, url: url.trim().to_owned() }
    }

    fn authority(&self) -> &str {
        self.url.split('/').nth(2).expect("scheme, nothing, authority")
    }

    /// Sends a request and returns status and body.
    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.authority()).expect("the mock listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\nauthorization: Bearer sk-mock-test-0001\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("the mock reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), body.to_owned())
    }

    fn chat(&self) -> u16 {
        let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}"#;
        self.send("POST", "/v1/chat/completions", body).0
    }

    fn control(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.send(method, path, body);
        (status, serde_json::from_str(&text).unwrap_or_else(|reason| panic!("{reason}: {text}")))
    }

    /// Interrupts it and returns what it said on standard error.
    fn stop(mut self) -> String {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(self.child.wait().expect("it ends").success());
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        said
    }
}

fn refused(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(["mock", "--listen", "127.0.0.1:0"]).args(arguments).output().expect("the program runs")
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("igris-load-mock-{}-{name}", std::process::id()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the file");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|reason| panic!("{reason}: {line}"))).collect()
}

#[test]
fn all_dialects_have_their_urls_in_lines_and_in_the_ready_file() {
    let ready = file("ready.json");
    let mut mock = Mock::start(&["--dialect", "all", "--ready-file", text(&ready)]);
    let mut names = Vec::new();
    for _ in 0..6 {
        let mut line = String::new();
        mock.output.read_line(&mut line).expect("a line");
        let (name, url) = line.trim().split_once(' ').expect("a name and a URL");
        assert!(url.trim().starts_with(&format!("http://{}", mock.authority())), "{line}");
        names.push(name.to_owned());
    }
    assert_eq!(names, ["openai", "anthropic", "gemini", "bedrock", "cohere", "azure"]);
    let limit = Instant::now() + SOON;
    while !ready.exists() {
        assert!(Instant::now() < limit, "the ready file is written soon");
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = &lines(&ready)[0];
    std::fs::remove_file(&ready).expect("the file is there");
    assert_eq!((&told["url"], &told["urls"]["openai"]), (&mock.url.as_str().into(), &mock.url.as_str().into()));
    assert_eq!(told["urls"]["gemini"], format!("http://{}", mock.authority()));
    assert_eq!((mock.chat(), mock.send("POST", "/v2/chat", "{}").0), (200, 400), "both are served");
    mock.stop();
}

#[test]
fn faults_come_from_flags_and_files_and_the_log_is_there_while_it_runs() {
    let (rules, log, truth) = (file("rules.txt"), file("log.jsonl"), file("truth.json"));
    std::fs::write(&rules, "# the second rule\n2nd -> 503\n").expect("a file");
    let mock = Mock::start(&[
        "--fault",
        "nth 1 -> 429 retry-after=2",
        "--faults",
        text(&rules),
        "--truth-log",
        text(&log),
        "--truth",
        text(&truth),
    ]);
    // Rule 2 looks at what rule 1 let through: its second request is the third.
    assert_eq!([mock.chat(), mock.chat(), mock.chat(), mock.chat()], [429, 200, 503, 200]);
    let limit = Instant::now() + SOON;
    while lines(&log).len() < 4 {
        assert!(Instant::now() < limit, "a line for each request");
        std::thread::sleep(Duration::from_millis(5));
    }
    let told: Vec<_> = lines(&log).iter().map(|line| (line["status"].clone(), line["fault_rule"].clone())).collect();
    let wanted = [(429, Some(1)), (200, None), (503, Some(2)), (200, None)];
    assert_eq!(told, wanted.map(|(status, rule)| (Value::from(status), Value::from(rule))));
    assert_eq!(lines(&log)[0]["key"], "…0001", "keys are masked");
    let said = mock.stop();
    assert!(said.contains(r#""requests":4"#), "{said}");
    let truth_log: Value = serde_json::from_str(&std::fs::read_to_string(&truth).expect("the log")).expect("JSON");
    assert_eq!(truth_log["counts"]["by_rule"], serde_json::json!({ "1": 1, "2": 1 }));
    assert_eq!(truth_log["requests"].as_array().map(Vec::len), Some(4));
    for path in [rules, log, truth] {
        std::fs::remove_file(path).expect("the file is there");
    }
}

#[test]
fn it_can_be_asked_and_told_while_it_runs() {
    let mock = Mock::start(&["--key", "sk-mock-test-0001", "--key", "sk-mock-late-0002@1m.."]);
    assert_eq!(mock.chat(), 200);
    let (status, health) = mock.control("GET", "/_mock/health", "");
    assert_eq!((status, &health["status"], &health["requests"]), (200, &"ok".into(), &1.into()));
    let (_, keys) = mock.control("GET", "/_mock/keys", "");
    let accepted: Vec<_> = keys["keys"].as_array().expect("a list").iter().map(|key| key["accepted"].clone()).collect();
    assert_eq!((accepted, &keys["keys"][1]["key"]), (vec![true.into(), false.into()], &"…0002".into()));

    let (status, rules) = mock.control("POST", "/_mock/faults", "always -> 418\n5% -> 500");
    assert_eq!((status, rules["rules"].as_array().map(Vec::len)), (200, Some(2)));
    assert_eq!(mock.chat(), 418);
    let (_, rules) = mock.control("GET", "/_mock/faults", "");
    assert_eq!((&rules["rules"][0]["text"], &rules["rules"][0]["struck"]), (&"always -> 418".into(), &1.into()));
    let (status, error) = mock.control("POST", "/_mock/faults", "always -> explode");
    assert!(status == 400 && error["error"].as_str().is_some_and(|text| text.contains("column 11")), "{error}");
    assert_eq!(mock.chat(), 418, "a bad rule changes nothing");
    assert_eq!(mock.control("DELETE", "/_mock/faults", "").0, 200);
    assert_eq!(mock.chat(), 200);

    assert_eq!(mock.control("POST", "/_mock/keys", "sk-mock-test-0001@..0.001s").0, 200);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(mock.chat(), 401);
    let (_, counts) = mock.control("GET", "/_mock/counts", "");
    assert_eq!((&counts["requests"], &counts["by_status"]["418"]), (&5.into(), &2.into()), "{counts}");
    assert_eq!(counts["accounts"][0]["requests"], 5);
    assert_eq!((mock.control("GET", "/_mock/x", "").0, mock.control("PUT", "/_mock/keys", "").0), (404, 405));
    mock.stop();
    let closed = Mock::start(&["--no-control"]);
    assert_eq!(closed.send("GET", "/_mock/health", "").0, 404, "then it is one more unknown path");
    closed.stop();
}

#[test]
fn limits_and_waits_are_flags() {
    let mock =
        Mock::start(&["--requests-per-minute", "1", "--latency", "uniform:60ms,61ms", "--gap", "lognormal:1ms,0.5"]);
    let started = Instant::now();
    assert_eq!(mock.chat(), 200);
    assert!(started.elapsed() >= Duration::from_millis(60));
    assert_eq!(mock.chat(), 429);
    mock.stop();
}

#[test]
fn it_serves_tls_with_a_certificate_of_ones_own() {
    let authority = Authority::new("mock tests").expect("an authority");
    let issued = authority.issue(&["localhost", "127.0.0.1"]).expect("a certificate");
    let (cert_file, key_file) = (file("cert.pem"), file("key.pem"));
    std::fs::write(&cert_file, issued.cert_pem)
        .and_then(|()| std::fs::write(&key_file, issued.key_pem))
        .expect("files");
    let mock = Mock::start(&["--tls-cert", text(&cert_file), "--tls-key", text(&key_file)]);
    assert!(mock.url.starts_with("https://"), "{}", mock.url);
    mock.stop();
    for path in [cert_file, key_file] {
        std::fs::remove_file(path).expect("the file is there");
    }
    assert_eq!(refused(&["--tls-cert", "x.pem"]).status.code(), Some(2), "one without the other");
}

#[test]
fn wrong_use_names_the_remedy() {
    for (arguments, part) in [
        (&["--fault", "every -> 503"][..], "column 7"),
        (&["--fault", "503"], "write one of always"),
        (&["--faults", "/no/such/file"], "cannot read /no/such/file"),
        (&["--latency", "soon"], "lognormal:300ms,0.5"),
        (&["--latency", "recorded:/no/such/file"], "can be read"),
        (&["--latency", "uniform:1ms,2ms", "--latency-sigma", "1"], "lognormal:300ms,0.5"),
        (&["--dialect", "esperanto"], "or all"),
        (&["--truth-log-max", "3"], "--truth-log"),
    ] {
        let output = refused(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let help = Command::new(PROGRAM).args(["mock", "--help"]).output().expect("the program runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for part in ["WHEN -> WHAT", "every 10th -> 429", "/_mock/counts", "sim:tokens=40", "bimodal:200ms,2s,0.05"] {
        assert!(help.contains(part), "{part}");
    }
}
