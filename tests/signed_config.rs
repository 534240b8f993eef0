//! Only what trusted keys signed is served, versions never come back, and a configuration that makes requests fail is taken back.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Fault, When};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::{
    ACCESS_KEY, Answer, BOOKS_KEY, Client, Gateway, INFERENCE_KEY, SOON, STRANGER_KEY, chat_of, post, wait_until,
};

/// The stock tool, where there is one; `cargo xtask test` installs it.
fn minisign() -> Option<PathBuf> {
    let found = ["/usr/bin/minisign", "/usr/local/bin/minisign"].iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no stock minisign here; `apt-get install minisign`");
    }
    found
}

/// A folder of one test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-sign-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(program: impl AsRef<Path>, words: &[&str]) -> (i32, String) {
    let mut command = Command::new(program.as_ref());
    command.args(words).stdin(Stdio::null()).env("IGRIS_TEST_PASSWORD", "correct horse");
    // What the configurations of the stand refer to.
    for (name, key) in
        [("APP", ACCESS_KEY), ("NARROW", INFERENCE_KEY), ("BOOKS", BOOKS_KEY), ("STRANGER", STRANGER_KEY)]
    {
        command.env(format!("IGRIS_TEST_{name}_KEY"), key);
    }
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("it ends by itself"), said)
}

fn igris(words: &[&str]) -> (i32, String) {
    run(env!("CARGO_BIN_EXE_igris"), words)
}

#[track_caller]
fn fine((code, said): (i32, String)) -> String {
    assert_eq!(code, 0, "{said}");
    said
}

/// A key pair in files `name.key` and `name.pub`.
fn keygen(folder: &Folder, name: &str) {
    let (secret, public) = (folder.path(&format!("{name}.key")), folder.path(&format!("{name}.pub")));
    fine(igris(&["sign", "keygen", "--no-password", "--secret", &secret, "--public", &public]));
}

const SIGNED: &str = "version = 7\nconfig_id = \"prod\"\n";

#[test]
fn the_stock_tool_and_ours_read_each_other() {
    let Some(minisign) = minisign() else { return };
    let folder = Folder::new("stock");
    let (file, beside) = (folder.path("c.toml"), folder.path("c.toml.minisig"));
    fs::write(&file, SIGNED).expect("written");
    let (stock, stock_pub) = (folder.path("stock.key"), folder.path("stock.pub"));
    fine(run(&minisign, &["-G", "-W", "-s", &stock, "-p", &stock_pub]));
    keygen(&folder, "ours");
    let (ours, ours_pub) = (folder.path("ours.key"), folder.path("ours.pub"));
    // Signed by the stock tool in both forms, with either secret key; verified by ours with either form of the public key.
    for form in ["-H", "-l"] {
        for (secret, public) in [(&stock, &stock_pub), (&ours, &ours_pub)] {
            fine(run(&minisign, &["-S", form, "-s", secret, "-m", &file]));
            fine(igris(&["sign", "verify", &file, "--key", public]));
            let text = fs::read_to_string(public).expect("read");
            let key = text.lines().nth(1).expect("the key's line");
            fine(igris(&["sign", "verify", &file, "--key", key]));
        }
    }
    // Signed by ours with either secret key; verified by the stock tool.
    for (secret, public) in [(&ours, &ours_pub), (&stock, &stock_pub)] {
        fs::remove_file(&beside).expect("removed");
        let said = fine(igris(&["sign", "sign", &file, "--secret", secret]));
        assert!(said.contains("igris-config-v1 config_id=prod version=7"), "{said}");
        let said = fine(run(&minisign, &["-V", "-p", public, "-m", &file]));
        assert!(said.contains("igris-config-v1 config_id=prod version=7 sha512="), "{said}");
        fine(igris(&["sign", "verify", &file, "--key", public]));
    }
    fs::write(&file, format!("{SIGNED}# changed\n")).expect("written");
    let (code, said) = igris(&["sign", "verify", &file, "--key", &stock_pub]);
    assert!(code == 1 && said.contains("does not fit") && said.contains("; "), "{code}: {said}");
}

#[test]
fn keys_have_passwords_and_are_never_written_over() {
    let folder = Folder::new("keys");
    let (file, secret, public) = (folder.path("c.toml"), folder.path("a.key"), folder.path("a.pub"));
    fs::write(&file, SIGNED).expect("written");
    let pair = ["sign", "keygen", "--secret", &secret, "--public", &public];
    let (code, said) = igris(&pair);
    assert!(code == 1 && said.contains("--no-password"), "no terminal: {said}");
    assert!(!Path::new(&secret).exists());
    fine(igris(&[&pair[..], &["--password-env", "IGRIS_TEST_PASSWORD"]].concat()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&secret).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&secret).expect("read");
    let (code, said) = igris(&[&pair[..], &["--no-password"]].concat());
    assert!(code == 1 && said.contains("not written over"), "{said}");
    assert_eq!(fs::read(&secret).expect("read"), before);
    fine(igris(&["sign", "sign", &file, "--secret", &secret, "--password-env", "IGRIS_TEST_PASSWORD"]));
    fine(igris(&["sign", "verify", &file, "--key", &public]));
    let wrong = folder.path("wrong");
    fs::write(&wrong, "battery staple\n").expect("written");
    let (code, said) = igris(&["sign", "sign", &file, "--secret", &secret, "--password-file", &wrong]);
    assert!(code == 1 && said.contains("password is another"), "{said}");
    let (code, said) = igris(&["sign", "verify", &file, "--key", "RWnonsense"]);
    assert!(code == 2 && said.contains("56 characters"), "{said}");
    let plain = folder.path("plain.toml");
    fs::write(&plain, "version = 7\n").expect("written");
    keygen(&folder, "b");
    let said = fine(igris(&["sign", "sign", &plain, "--secret", &folder.path("b.key")]));
    assert!(said.contains("config_id") && said.contains("will refuse"), "{said}");
}

#[test]
fn several_sign_one_file_and_the_threshold_counts_them() {
    let folder = Folder::new("several");
    let file = folder.path("c.toml");
    fs::write(&file, SIGNED).expect("written");
    let names = ["a", "b", "c"];
    names.iter().for_each(|name| keygen(&folder, name));
    let (keys, publics): (Vec<_>, Vec<_>) =
        names.iter().map(|name| (folder.path(&format!("{name}.key")), folder.path(&format!("{name}.pub")))).unzip();
    let verify = |threshold: &str| {
        let mut words = vec!["sign", "verify", file.as_str(), "--threshold", threshold];
        publics.iter().for_each(|public| words.extend(["--key", public.as_str()]));
        igris(&words).0
    };
    fine(igris(&["sign", "sign", &file, "--secret", &keys[0]]));
    fine(igris(&["sign", "sign", &file, "--secret", &keys[1], "--add"]));
    fine(igris(&["sign", "sign", &file, "--secret", &keys[1], "--add"]));
    assert_eq!((verify("1"), verify("2"), verify("3")), (0, 0, 1), "one who signs twice counts once");
    fine(igris(&["sign", "sign", &file, "--secret", &keys[2], "--add"]));
    assert_eq!(verify("3"), 0);
    fs::write(&file, format!("{SIGNED}# changed\n")).expect("written");
    let (code, said) = igris(&["sign", "sign", &file, "--secret", &keys[0], "--add"]);
    assert!(code == 1 && said.contains("another content"), "{said}");
}

// ---- Gateways ---------------------------------------------------------------------------------------------------------------

/// A gateway that takes what the key `a` of its folder signed, or `b` where a test makes one.
struct Stand {
    folder: Folder,
    gateway: Gateway,
    text: String,
    _providers: [Simulator; 2],
}

fn any() -> String {
    chat_of("any", "hello", "")
}

impl Stand {
    /// `p1` serves the model `any`; `p2` is there, too, and fails with every request.
    fn new(name: &str, trusted: bool) -> Self {
        let folder = Folder::new(name);
        let good = Simulator::builder().start().expect("a loopback port");
        let bad = Simulator::builder().fault(Fault::status(500), When::Always).start().expect("a loopback port");
        let gateway = Gateway::builder()
            .own_provider("p1", &good.base_url(), "")
            .own_provider("p2", &bad.base_url(), "")
            .ordered(&["p1"])
            .start();
        let text = gateway.config().replace("version = 1\n", "");
        let mut stand = Self { folder, gateway, text, _providers: [good, bad] };
        if trusted {
            keygen(&stand.folder, "a");
            stand.lay(&stand.version(1, ""), &["a"]);
            let public = stand.folder.path("a.pub");
            stand.gateway.restart_with(&["--trust-key", &public, "--fleet-label", "edge"]);
        }
        stand
    }

    fn version(&self, number: u64, lines: &str) -> String {
        format!("version = {number}\nconfig_id = \"prod\"\n{lines}\n{}", self.text)
    }

    /// The same with the model `any` at the provider that fails.
    fn broken(&self, number: u64, lines: &str) -> String {
        self.version(number, lines).replace("provider = \"p1\"", "provider = \"p2\"")
    }

    fn file(&self) -> String {
        self.gateway.home().join("igris.toml").display().to_string()
    }

    /// Puts a configuration where the gateway reads it, with these signatures.
    fn lay(&self, text: &str, keys: &[&str]) {
        self.gateway.write_config(text);
        let _ = fs::remove_file(self.gateway.home().join("igris.toml.minisig"));
        for key in keys {
            let secret = self.folder.path(&format!("{key}.key"));
            fine(igris(&["sign", "sign", &self.file(), "--secret", &secret, "--add"]));
        }
    }

    /// Pushes a configuration with these signatures by `igris admin config --put`.
    fn push(&self, text: &str, keys: &[&str]) -> (i32, String) {
        let file = self.folder.path("pushed.toml");
        fs::write(&file, text).expect("written");
        let _ = fs::remove_file(self.folder.path("pushed.toml.minisig"));
        for key in keys {
            let secret = self.folder.path(&format!("{key}.key"));
            fine(igris(&["sign", "sign", &file, "--secret", &secret, "--add"]));
        }
        igris(&["admin", "config", "--put", &file, "--socket", &self.socket()])
    }

    fn socket(&self) -> String {
        self.gateway.home().join("admin.sock").display().to_string()
    }

    fn reload(&self) -> Answer {
        self.gateway.admin_ask("POST", "/reload", "")
    }

    fn config(&self) -> serde_json::Value {
        serde_json::from_str(&self.gateway.admin("/config").text()).expect("JSON")
    }

    fn live(&self) -> u64 {
        self.config()["version"].as_u64().expect("a version")
    }

    /// How a start with these words ends that must be refused.
    fn refused_start(&self, words: &[&str]) -> (i32, String) {
        let data = self.gateway.home().join("data").display().to_string();
        let usual =
            ["serve", "--config", &self.file(), "--data-dir", &data, "--listen", "127.0.0.1:0"].map(str::to_owned);
        let words: Vec<&str> = usual.iter().map(String::as_str).chain(words.iter().copied()).collect();
        igris(&words)
    }
}

#[test]
fn a_gateway_takes_only_signed_files_and_its_versions_grow() {
    let mut stand = Stand::new("versions", true);
    assert_eq!((stand.live(), stand.config()["trust"]["threshold"].as_u64()), (1, Some(1)));
    keygen(&stand.folder, "b");
    for (text, keys, part) in [
        (stand.version(2, ""), &[][..], "not signed"),
        (stand.version(2, ""), &["b"], "rule C5"),
        (stand.version(2, "not_for = [\"edge\"]"), &["a"], "not_for"),
        (stand.version(2, "expires_at = 2020-01-01T00:00:00Z"), &["a"], "rule C4"),
    ] {
        stand.lay(&text, keys);
        let answer = stand.reload();
        assert!(answer.status == 422 && answer.text().contains(part), "{part}: {}", answer.text());
        let (code, said) = stand.push(&text, keys);
        assert!(code == 1 && said.contains(part), "{part}: {said}");
    }
    stand.lay(&stand.version(2, ""), &["a"]);
    assert_eq!(stand.reload().status, 200);
    stand.lay(&stand.version(1, ""), &["a"]);
    let answer = stand.reload();
    assert!(answer.status == 422 && answer.text().contains("rule C3"), "{}", answer.text());
    assert_eq!((stand.live(), stand.gateway.chat(&any()).status), (2, 200));
    // Pushed beside the file, and live after a restart although the file is older.
    fine(stand.push(&stand.version(3, ""), &["a"]));
    assert_eq!(stand.live(), 3);
    stand.gateway.restart();
    assert_eq!(stand.live(), 3);
    let said = stand.gateway.stdout() + &stand.gateway.stderr();
    assert!(said.contains("version 3 from the store"), "{said}");
}

#[test]
fn a_raw_push_carries_its_signature_in_a_field() {
    use base64::Engine as _;
    let stand = Stand::new("field", true);
    let text = stand.version(2, "");
    let file = stand.folder.path("f.toml");
    fs::write(&file, &text).expect("written");
    fine(igris(&["sign", "sign", &file, "--secret", &stand.folder.path("a.key")]));
    let signature = fs::read(stand.folder.path("f.toml.minisig")).expect("read");
    let signature = base64::engine::general_purpose::STANDARD.encode(signature);
    let ask = |field: &str, body: &str| {
        let head = format!(
            "PUT /config HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n{field}content-length: {}\r\n\r\n",
            body.len()
        );
        let mut client = Client::unix(&stand.gateway.home().join("admin.sock")).expect("the admin socket");
        client.ask((head + body).as_bytes()).status
    };
    assert_eq!(ask("", &text), 422);
    assert_eq!(ask("x-igris-signature: nonsense\r\n", &text), 400);
    assert_eq!(ask(&format!("x-igris-signature: {signature}\r\n"), &text.replace("prod", "prid")), 422);
    assert_eq!(ask(&format!("x-igris-signature: {signature}\r\n"), &text), 200);
    assert_eq!(stand.live(), 2);
}

#[test]
fn a_start_without_a_good_signature_ends_with_2() {
    let mut stand = Stand::new("start", true);
    keygen(&stand.folder, "b");
    stand.gateway.kill();
    let (a, b) = (stand.folder.path("a.pub"), stand.folder.path("b.pub"));
    let (code, said) = stand.refused_start(&["--trust-key", &b]);
    assert!(code == 2 && said.contains("igris sign repin"), "{code}: {said}");
    let text = stand.version(2, "");
    stand.lay(&text, &["a"]);
    stand.gateway.write_config(&text.replace("p1", "p3"));
    let (code, said) = stand.refused_start(&["--trust-key", &a]);
    assert!(code == 2 && said.contains("does not fit"), "{code}: {said}");
    let _ = fs::remove_file(stand.gateway.home().join("igris.toml.minisig"));
    let (code, said) = stand.refused_start(&["--trust-key", &a]);
    assert!(code == 2 && said.contains("not signed"), "{code}: {said}");
    assert_eq!(igris(&["serve", "--trust-key", &a]).0, 2, "nothing to be signed");
    assert_eq!(stand.refused_start(&["--trust-threshold", "1"]).0, 2);
}

#[test]
fn who_is_trusted_changes_by_a_file_that_both_signed_or_by_hand() {
    let mut stand = Stand::new("change", true);
    keygen(&stand.folder, "b");
    let text = fs::read_to_string(stand.folder.path("b.pub")).expect("read");
    let b = text.lines().nth(1).expect("the key's line");
    let change = stand.version(2, &format!("trust.keys = [\"{b}\"]"));
    stand.lay(&change, &["a"]);
    assert_eq!(stand.reload().status, 422, "those who come must sign");
    stand.lay(&change, &["a", "b"]);
    assert_eq!(stand.reload().status, 200);
    stand.lay(&stand.version(3, ""), &["a"]);
    assert_eq!(stand.reload().status, 422, "who went is trusted no more");
    stand.lay(&stand.version(3, ""), &["b"]);
    assert_eq!(stand.reload().status, 200);
    stand.gateway.restart();
    assert_eq!(stand.live(), 3, "the old --trust-key still leads to the new one");
    // Both keys lost: somebody at the machine pins another.
    stand.gateway.kill();
    keygen(&stand.folder, "c");
    let (data, c) = (stand.gateway.home().join("data").display().to_string(), stand.folder.path("c.pub"));
    fine(igris(&["sign", "repin", "--data-dir", &data, "--key", &c]));
    stand.lay(&stand.version(3, "# again"), &["c"]);
    let (code, said) = stand.refused_start(&["--trust-key", &c]);
    assert!(code == 2 && said.contains("rule C3"), "versions stay: {said}");
    stand.lay(&stand.version(4, ""), &["c"]);
    stand.gateway.restart_with(&["--trust-key", &c]);
    assert_eq!(stand.live(), 4);
}

#[test]
fn the_stock_tools_signature_starts_a_gateway() {
    let Some(minisign) = minisign() else { return };
    let mut stand = Stand::new("stock-start", false);
    let (secret, public) = (stand.folder.path("stock.key"), stand.folder.path("stock.pub"));
    fine(run(&minisign, &["-G", "-W", "-s", &secret, "-p", &public]));
    stand.gateway.write_config(&stand.version(5, ""));
    fine(run(&minisign, &["-S", "-s", &secret, "-m", &stand.file()]));
    stand.gateway.restart_with(&["--trust-key", &public]);
    assert_eq!((stand.live(), stand.gateway.chat(&any()).status), (5, 200));
}

// ---- Trials -----------------------------------------------------------------------------------------------------------------

const ROLLOUT: &str = "rollout = { watch = \"600s\", error_rate = \"10%\", min_requests = 20 }";

/// Four clients at work while `body` runs; how many requests were answered and how many failed.
fn under_load(gateway: &Gateway, body: impl FnOnce(&AtomicU64)) -> (u64, u64) {
    let (stop, served, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.ask(&post(&any()));
                    assert!(answer.whole, "{}", answer.text());
                    let count = if answer.status == 200 { &served } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&served)));
        stop.store(true, Ordering::Relaxed);
        run.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    (served.into_inner(), failed.into_inner())
}

#[test]
fn a_configuration_that_makes_requests_fail_is_taken_back_under_load() {
    let mut stand = Stand::new("revert", false);
    let bad = stand.broken(9, ROLLOUT);
    let (served, failed) = under_load(&stand.gateway, |served| {
        wait_until(SOON, "there is a share before", || served.load(Ordering::Relaxed) > 50);
        stand.gateway.write_config(&bad);
        let answer = stand.reload();
        assert_eq!(answer.status, 200, "{}", answer.text());
        wait_until(SOON * 3, "it is taken back", || stand.live() == 1);
        let before = served.load(Ordering::Relaxed);
        wait_until(SOON, "requests are answered again", || served.load(Ordering::Relaxed) > before + 50);
    });
    println!("{served} served, {failed} failed while the bad configuration was live");
    let status = stand.config();
    assert_eq!(status["rollout"]["last"]["outcome"], "reverted", "{status}");
    assert_eq!(status["rollout"]["last"]["version"], 9);
    let metrics = stand.gateway.admin("/metrics").text();
    assert!(metrics.contains("igris_config_reverts_total 1\n"), "a figure of it");
    assert!(failed > 0, "it was live for a while");
    let answer = stand.reload();
    assert!(answer.status == 422 && answer.text().contains("taken back"), "{}", answer.text());
    // A restart finds the bad file, and serves the good one from the store.
    stand.gateway.restart();
    assert_eq!((stand.live(), stand.gateway.chat(&any()).status), (1, 200));
    wait_until(SOON, "it says so", || {
        let said = stand.gateway.stdout() + &stand.gateway.stderr();
        said.contains("was taken back") && said.contains("from the store")
    });
}

#[test]
fn routes_that_vanish_are_taken_back_too() {
    let stand = Stand::new("vanish", false);
    let bad = stand.version(2, ROLLOUT).replace("name = \"any\"", "name = \"other\"");
    let (_, failed) = under_load(&stand.gateway, |served| {
        wait_until(SOON, "there is a share before", || served.load(Ordering::Relaxed) > 50);
        assert_eq!(stand.push(&bad, &[]).0, 0);
        wait_until(SOON * 3, "it is taken back", || stand.live() == 1);
    });
    assert!(failed > 0, "they had vanished for a while");
    assert_eq!(stand.gateway.chat(&any()).status, 200);
}

#[test]
fn a_signed_one_that_was_taken_back_stays_back_and_the_next_is_higher() {
    let mut stand = Stand::new("signed-revert", true);
    let bad = stand.broken(2, ROLLOUT);
    under_load(&stand.gateway, |served| {
        wait_until(SOON, "there is a share before", || served.load(Ordering::Relaxed) > 50);
        fine(stand.push(&bad, &["a"]));
        wait_until(SOON * 3, "it is taken back", || stand.live() == 1);
    });
    assert_eq!(stand.push(&bad, &["a"]).0, 1);
    let (code, said) = stand.push(&stand.version(2, ""), &["a"]);
    assert!(code == 1 && said.contains("rule C3"), "its version is used up: {said}");
    stand.gateway.restart();
    assert_eq!(stand.live(), 1);
    fine(stand.push(&stand.version(3, ""), &["a"]));
    assert_eq!((stand.live(), stand.gateway.chat(&any()).status), (3, 200));
}

#[test]
fn one_change_at_a_time_and_a_hand_may_end_it() {
    let stand = Stand::new("by-hand", false);
    let (socket, ending) = (stand.socket(), |end: &'static str| ["admin", "rollout", end, "--socket"]);
    for query in ["watch=soon", "watch=2h", "wach=1s"] {
        assert_eq!(stand.gateway.admin_ask("POST", &format!("/reload?{query}"), "").status, 400, "{query}");
    }
    stand.gateway.write_config(&stand.version(2, ""));
    fine(igris(&["admin", "reload", "--watch", "600s", "--socket", &socket]));
    let (code, said) = stand.push(&stand.version(3, ""), &[]);
    assert!(code == 1 && said.contains("on trial"), "{said}");
    fine(igris(&[&ending("revert")[..], &[socket.as_str()]].concat()));
    assert_eq!(stand.live(), 1);
    fine(stand.push(&stand.version(3, ROLLOUT), &[]));
    fine(igris(&[&ending("accept")[..], &[socket.as_str()]].concat()));
    fine(stand.push(&stand.version(4, ""), &[]));
    assert_eq!(stand.live(), 4);
}

#[test]
fn sigkill_at_any_time_of_a_push_leaves_the_old_or_the_new_one() {
    let mut stand = Stand::new("sigkill", true);
    // Signed beforehand, so that pushes come quickly.
    let texts: Vec<(String, String)> = (2..40)
        .map(|number| {
            let (text, file) = (stand.version(number, ""), stand.folder.path("k.toml"));
            fs::write(&file, &text).expect("written");
            fine(igris(&["sign", "sign", &file, "--secret", &stand.folder.path("a.key")]));
            (text, fs::read_to_string(stand.folder.path("k.toml.minisig")).expect("read"))
        })
        .collect();
    let seed: u64 = std::env::var("IGRIS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut next = 0;
    for round in 0..6 {
        let confirmed = AtomicU64::new(stand.live());
        let delay = Duration::from_millis(dice.u64(0..120));
        let (gateway, texts) = (&stand.gateway, &texts);
        let pushed = std::thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                let mut number = next;
                while let Some((config, signature)) = texts.get(number).filter(|_| number < next + 6) {
                    let body = serde_json::json!({ "config": config, "signature": signature }).to_string();
                    let Ok(mut client) = Client::unix(&gateway.home().join("admin.sock")) else { break };
                    let length = body.len();
                    let head = format!(
                        "PUT /config HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                    );
                    client.send((head + &body).as_bytes());
                    number += 1;
                    match client.try_answer() {
                        Ok(answer) if answer.status == 200 => confirmed.store(number as u64 + 1, Ordering::SeqCst),
                        _ => break,
                    }
                }
                number
            });
            std::thread::sleep(delay);
            let pid = gateway.pid();
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            pushing.join().expect("it ends")
        });
        stand.gateway.restart();
        let (live, confirmed, tried) = (stand.live(), confirmed.into_inner(), pushed as u64 + 1);
        assert!(
            live >= confirmed && live <= tried.max(confirmed),
            "round {round}: {confirmed} confirmed, {tried} tried, {live} live"
        );
        assert_eq!(stand.gateway.chat(&any()).status, 200, "round {round}");
        next = (live - 1) as usize;
    }
}
