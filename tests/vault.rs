//! Keys above the keys: rotation of root and master keys under load and under SIGKILL, backup and restore, and who rewrites the audit log.

mod support;

use igris_load::Simulator;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use support::{ACCESS_KEY, Gateway, bearer, chat, post, post_with, provider_key};

const ADDED_KEY: &str = "sk-canary-of-the-vault-0123456789abcdef";

fn igris(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igris"));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code, stdout and stderr.
fn run(words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = igris(words).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().expect("it ends by itself"), text(stdout), text(stderr))
}

fn done(words: &[&str]) -> Value {
    let (code, out, err) = run(words);
    assert_eq!(code, 0, "{words:?}: {out}{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{words:?}: {error} in {out}"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a text")
}

/// A folder of one test, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("igris-vault-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks one chat after another, from so many threads, while `meanwhile` runs; answers how many there were. All must be 200.
fn under_load(gateway: &Gateway, threads: usize, meanwhile: impl FnOnce()) -> usize {
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !over.load(Ordering::Relaxed) {
                    let answer = client.ask(&post(&chat("x")));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        meanwhile();
        over.store(true, Ordering::Relaxed);
    });
    count.into_inner()
}

#[test]
fn keys_rotate_online_without_a_failed_request_and_the_store_opens_afterwards() {
    let simulator = Simulator::builder().keys([provider_key("openai")]).start().expect("a loopback port");
    let mut gateway = Gateway::before(&simulator);
    let (data, socket) = (gateway.home().join("data"), gateway.home().join("admin.sock"));
    let root = || fs::read(data.join("root.key")).expect("a root key");
    let (before, socket) = (root(), path(&socket).to_owned());
    let vault = |verb: &str| done(&["vault", verb, "--socket", &socket, "--json"]);
    let asked = under_load(&gateway, 2, || {
        for version in 2..5 {
            let kept = root();
            assert!(vault("rotate-root")["remedy"].is_null());
            assert_ne!(root(), kept);
            let rotated = vault("rotate-master");
            assert_eq!(rotated["version"], version);
            done(&["vault", "rotate-data", "default", "--socket", &socket, "--json"]);
        }
        let report = vault("verify");
        assert_eq!((&report["whole"], &report["credentials"]), (&Value::Bool(true), &Value::from(1)), "{report}");
    });
    assert!(asked > 0);
    assert_ne!(root(), before);
    let names = fs::read_dir(&data).expect("listed").map(|entry| entry.expect("an entry").file_name());
    let keys: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("root.key")).collect();
    assert_eq!(keys, ["root.key"], "the old one is gone");
    gateway.restart();
    assert_eq!(gateway.chat(&chat("x")).status, 200);
    let audit = gateway.admin("/audit?limit=1000").json();
    let deeds: Vec<&str> =
        audit["data"].as_array().expect("rows").iter().filter_map(|row| row["what"].as_str()).collect();
    for (what, times) in [("vault.rotate_root", 3), ("vault.rotate_master", 3), ("vault.rotate_data", 3)] {
        assert_eq!(deeds.iter().filter(|deed| **deed == what).count(), times, "{what} in {deeds:?}");
    }
}

#[test]
fn a_root_rotation_killed_at_any_instant_leaves_a_key_that_opens() {
    let folder = Folder::new("kill");
    let (data, place) = (folder.file("data"), folder.file("data"));
    let at = ["--data-dir", path(&place), "--json"];
    let vault = |verb: &'static str| [&["vault", verb][..], &at].concat();
    done(&vault("init"));
    // How long one takes here decides when to kill.
    let began = Instant::now();
    done(&vault("rotate-root"));
    let usual = began.elapsed();
    let seed = std::env::var("IGRIS_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x1915_0005_u64);
    println!("seed {seed}: set IGRIS_TEST_SEED to replay");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut cut, mut changed) = (0, 0);
    for round in 0..30 {
        let before = fs::read(data.join("root.key")).expect("a root key");
        let mut child = igris(&vault("rotate-root")).spawn().expect("the binary runs");
        std::thread::sleep(usual.mul_f64(random.f64() * 1.2));
        let ended = child.try_wait().expect("asked").is_some();
        let _ = child.kill();
        let _ = child.wait();
        cut += usize::from(!ended);
        let report = done(&vault("verify"));
        assert_eq!(report["whole"], true, "round {round}, seed {seed}: {report}");
        let names: Vec<_> =
            fs::read_dir(&data).expect("listed").map(|entry| entry.expect("an entry").file_name()).collect();
        let keys = names.iter().filter(|name| name.to_string_lossy().starts_with("root.key"));
        assert_eq!(keys.collect::<Vec<_>>(), ["root.key"], "round {round}, seed {seed}");
        changed += usize::from(fs::read(data.join("root.key")).expect("a root key") != before);
    }
    println!("{cut} of 30 were cut, {changed} rotated");
    assert!(cut > 0, "none was cut: {usual:?} is no measure");
    done(&vault("rotate-master"));
    assert_eq!(done(&vault("verify"))["whole"], true);
}

#[test]
fn a_backup_taken_under_load_serves_with_its_root_key_and_with_no_other() {
    let simulator =
        Simulator::builder().keys([provider_key("openai"), ADDED_KEY.to_owned()]).start().expect("a loopback port");
    let mut gateway = Gateway::before(&simulator);
    let home = gateway.home().to_owned();
    let (backup, socket) = (home.join("backup.db"), home.join("admin.sock"));
    let keys = "/v1/tenants/default/providers/groq/keys";
    let add = |gateway: &Gateway| {
        let body = format!(r#"{{"api_key":"{ADDED_KEY}"}}"#);
        let added = gateway.ask(&post_with(keys, &bearer(ACCESS_KEY), body.as_bytes()));
        assert_eq!(added.status, 201, "{}", added.text());
        added.json()["id"].as_str().expect("an id").to_owned()
    };
    let kept = add(&gateway);
    let mut words = vec!["admin", "backup", path(&backup), "--socket", path(&socket)];
    under_load(&gateway, 1, || {
        // Writes go on beside the copy: keys come and go.
        let (over, gateway) = (AtomicBool::new(false), &gateway);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let id = add(gateway);
                    let gone = gateway.admin_ask("DELETE", &format!("/providers/groq/keys/{id}"), "");
                    assert_eq!(gone.status, 200, "{}", gone.text());
                }
            });
            let (code, out, err) = run(&words);
            over.store(true, Ordering::Relaxed);
            assert_eq!(code, 0, "{out}{err}");
        });
    });
    let bytes = fs::read(&backup).expect("a backup");
    assert_eq!(fs::metadata(&backup).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(memchr::memmem::find(&bytes, b"canary-").is_none(), "no key in the clear");
    let (code, _, err) = run(&words);
    assert!(code == 1 && err.contains("not overwritten"), "{code}: {err}");
    words[2] = "relative/of/nowhere.db";
    assert_eq!(run(&words).0, 1);
    assert_eq!(fs::read(&backup).expect("a backup"), bytes);

    // Stop, put store and root key in place, verify, start.
    let root = fs::read(home.join("data/root.key")).expect("a root key");
    gateway.kill();
    fs::remove_dir_all(home.join("data")).expect("all is lost");
    fs::create_dir(home.join("data")).expect("made");
    fs::set_permissions(home.join("data"), fs::Permissions::from_mode(0o700)).expect("set");
    let put = |name: &str, bytes: &[u8], mode: u32| {
        let file = home.join("data").join(name);
        let _ = fs::remove_file(&file);
        fs::write(&file, bytes).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
    };
    put("igris.db", &bytes, 0o600);
    let other = format!("{}\n", "0f".repeat(32));
    put("root.key", other.as_bytes(), 0o400);
    let data = home.join("data");
    let verify = ["vault", "verify", "--data-dir", path(&data)];
    let (code, _, err) = run(&verify);
    assert!(code == 1 && err.contains("did not seal this store"), "{code}: {err}");
    let (code, _, err) = run(&["serve", "--data-dir", path(&data), "--listen", "127.0.0.1:0"]);
    assert!(code == 1 && err.contains("did not seal this store"), "{code}: {err}");
    fs::remove_file(home.join("data/root.key")).expect("removed");
    let (code, _, err) = run(&["serve", "--data-dir", path(&data), "--listen", "127.0.0.1:0"]);
    assert!(code == 1 && err.contains("holds no root key"), "{code}: {err}");
    assert!(!home.join("data/root.key").exists(), "none is made");
    assert_eq!(fs::read(home.join("data/igris.db")).expect("there"), bytes, "nothing is overwritten");
    put("root.key", &root, 0o400);
    let (code, out, err) = run(&verify);
    assert!(code == 0 && out.contains("whole"), "{code}: {out}{err}");
    gateway.restart();
    assert_eq!(gateway.chat(&chat("x")).status, 200);
    let listed = gateway.admin("/providers/groq/keys").text();
    assert!(listed.contains(&kept), "{listed}");
}

#[test]
fn who_rewrites_the_audit_log_is_found_out() {
    let folder = Folder::new("audit");
    let data = folder.file("data");
    let at = ["--data-dir", path(&data), "--json"];
    let vault = |words: &[&'static str]| [words, &at[..]].concat();
    done(&vault(&["vault", "init"]));
    for _ in 0..3 {
        done(&vault(&["vault", "rotate-master"]));
    }
    let report = done(&vault(&["vault", "verify"]));
    let anchor = report["audit_head"].as_str().expect("an anchor").to_owned();
    let older = fs::read(data.join("igris.db")).expect("a store");
    done(&vault(&["vault", "rotate-master"]));
    done(&[&vault(&["vault", "verify"])[..], &["--expect", &anchor]].concat());
    let newer = done(&vault(&["vault", "verify"]))["audit_head"].as_str().expect("an anchor").to_owned();
    let whole = fs::read(data.join("igris.db")).expect("a store");
    for (sql, sign) in [
        ("UPDATE audit SET who = 'uid:7' WHERE sequence = 2", "audit row 2"),
        ("DELETE FROM audit WHERE sequence = 5", "its head says 5"),
        ("DELETE FROM audit WHERE sequence = 5; UPDATE audit_head SET sequence = 4", "its head says"),
        ("DELETE FROM audit_head", "head is missing"),
    ] {
        let raw = rusqlite::Connection::open(data.join("igris.db")).expect("opened");
        raw.execute_batch(sql).expect("changed");
        drop(raw);
        let (code, out, err) = run(&vault(&["vault", "verify"]));
        assert!(code == 1 && out.contains(sign), "{sql}: {code}: {out}{err}");
        fs::write(data.join("igris.db"), &whole).expect("put back");
    }
    // An older copy of everything holds together; only who kept an anchor elsewhere sees it.
    fs::write(data.join("igris.db"), older).expect("written");
    assert_eq!(run(&vault(&["vault", "verify"])).0, 0);
    let (code, out, _) = run(&[&vault(&["vault", "verify"])[..], &["--expect", &newer]].concat());
    assert!(code == 1 && out.contains("expected is not there"), "{code}: {out}");
}

#[test]
fn usage_errors_and_missing_stores_say_what_to_do() {
    let folder = Folder::new("usage");
    let nowhere = folder.file("nowhere");
    for (words, code, sign) in [
        (&["vault"][..], 2, "command is missing"),
        (&["vault", "verify", "--expect", "soon"], 2, "anchor"),
        (&["vault", "verify", "--data-dir", path(&nowhere)], 1, "no key hierarchy"),
        (&["vault", "rotate-root", "--data-dir", path(&nowhere)], 1, "no key hierarchy"),
        (&["vault", "rotate-root", "--socket", path(&nowhere)], 1, "no gateway answers"),
        (&["vault", "verify", "--store", path(&nowhere)], 1, "cannot use"),
    ] {
        let (seen, _, err) = run(words);
        assert!(seen == code && err.contains(sign) && err.trim().lines().count() == 1, "{words:?}: {seen}: {err}");
    }
    assert!(!nowhere.exists(), "looking makes nothing");
}
