//! What a person types: the sidecar without a configuration, exit codes, and the sentences that go with them.

mod support;

use igris_load::Simulator;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use support::{Client, SOON, bearer, chat, post_with, wait_until};

const PROVIDER_KEY: &str = "sk-canary-sidecar-0123456789";

/// A folder of one test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn igris(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igris"));
    command.args(words).current_dir(folder).env_clear().env("PATH", "/usr/bin:/bin");
    command
}

fn run(folder: &Path, words: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = igris(folder, words).output().expect("the binary runs");
    (status.code().expect("it ends by itself"), String::from_utf8_lossy(&stderr).into_owned())
}

/// A child process, ended by its pid when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running sidecar.
struct Sidecar {
    _process: Process,
    address: SocketAddr,
    minted: Option<String>,
}

impl Sidecar {
    fn start(folder: &Path, simulator: &Simulator) -> Self {
        let io = std::env::var("IGRIS_TEST_IO").unwrap_or_else(|_| "auto".to_owned());
        let mut command = igris(folder, &["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--io", &io]);
        command.env("OPENAI_API_KEY", PROVIDER_KEY).env("IGRIS_OPENAI_BASE_URL", simulator.base_url());
        let mut process =
            Process(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs"));
        let mut lines = BufReader::new(process.0.stdout.take().expect("piped")).lines();
        let mut minted = None;
        loop {
            let line = lines.next().expect("it says where it listens").expect("text");
            if let Some(key) = line.strip_prefix("access key (shown once): ") {
                minted = Some(key.to_owned());
            }
            if let Some(address) = line.strip_prefix("listening on http://") {
                let address = address.parse().expect("an address");
                return Self { _process: process, address, minted };
            }
        }
    }

    fn ask(&self, key: &str) -> support::Answer {
        let request = post_with("/v1/chat/completions", &bearer(key), chat("hello").as_bytes());
        Client::connect(self.address).ask(&request)
    }
}

#[test]
fn a_sidecar_needs_nothing_but_a_provider_key() {
    let folder = Folder::new("sidecar");
    let simulator = Simulator::builder().keys([PROVIDER_KEY]).start().expect("a loopback port");
    let first = Sidecar::start(&folder.0, &simulator);
    let key = first.minted.clone().expect("the first start makes an access key");
    assert!(key.starts_with("sk-igris-") && key.len() == 9 + 43 + 6, "rule V9: {key}");
    assert_eq!(first.ask(&key).status, 200);
    assert!(folder.0.join("igris-data/root.key").is_file(), "state lives in ./igris-data");
    drop(first);
    let second = Sidecar::start(&folder.0, &simulator);
    assert_eq!(second.minted, None, "shown once");
    assert_eq!(second.ask(&key).status, 200, "and kept");
}

#[test]
fn two_processes_do_not_share_a_data_directory() {
    let folder = Folder::new("twice");
    let simulator = Simulator::builder().keys([PROVIDER_KEY]).start().expect("a loopback port");
    let running = Sidecar::start(&folder.0, &simulator);
    let (code, said) = run(&folder.0, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("igris") && said.lines().count() == 1, "one sentence: {said}");
    assert_eq!(running.ask(running.minted.as_deref().expect("made")).status, 200, "the first one is unharmed");
}

#[test]
fn a_port_in_use_is_a_failure_with_a_remedy() {
    let folder = Folder::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, said) = run(&folder.0, &["serve", "--listen", &address]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn mistakes_exit_with_2_and_say_what_to_do() {
    let folder = Folder::new("mistakes");
    std::fs::write(folder.0.join("bad.toml"), "[server]\nlisten = [\"127.0.0.1:0\"]\nworkres = 2\n").expect("written");
    std::fs::write(folder.0.join("good.toml"), "version = 1\n").expect("written");
    let cases: [(&[&str], &str); 6] = [
        (&["serv"], "serve"),
        (&["serve", "--io", "kqueue"], "io_uring"),
        (&["serve", "--listen", "localhost"], "127.0.0.1:8081"),
        (&["check", "bad.toml"], "bad.toml:3:1"),
        (&["serve", "--config", "bad.toml"], "`workers`"),
        (&["serve", "--config", "absent.toml"], "absent.toml"),
    ];
    for (words, expected) in cases {
        let (code, said) = run(&folder.0, words);
        assert_eq!(code, 2, "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
    assert_eq!(run(&folder.0, &["check", "good.toml"]).0, 0);
}

#[test]
fn the_demo_prints_a_request_that_works() {
    let folder = Folder::new("demo");
    let mut command = igris(&folder.0, &["demo", "--listen", "127.0.0.1:0"]);
    let mut demo = Process(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs"));
    let mut lines = BufReader::new(demo.0.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let curl: Vec<String> = lines.by_ref().skip_while(|line| !line.contains("curl -N")).take(3).collect();
    let address = curl[0].split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let key = curl[1].split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next()).expect("an access key");
    let body = curl[2].split('\'').nth(1).expect("a body");
    let request = post_with("/v1/chat/completions", &bearer(key), body.as_bytes());
    let stream = {
        let mut client = Client::connect(address.parse().expect("an address"));
        client.send(&request);
        client.stream()
    };
    assert_eq!(stream.answer.status, 200, "{}", stream.answer.text());
    assert!(stream.answer.text().ends_with("data: [DONE]\n\n"), "{}", stream.answer.text());
    // An orderly end also removes its folder.
    let ended = Command::new("kill").args(["-TERM", &demo.0.id().to_string()]).status().expect("kill runs");
    assert!(ended.success());
    wait_until(SOON, "it ends when told", || demo.0.try_wait().expect("our own child").is_some());
}
