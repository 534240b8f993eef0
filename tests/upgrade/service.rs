//! The gateway as a service: what systemd hears, and sockets that systemd made.

use crate::support::{Client, Gateway, SOON, bare, chat, post, wait_until};
use crate::{ENDS, is_running, simulator};
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The manager's ear.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Manager {
    fn listens() -> Self {
        let path = std::env::temp_dir().join(format!("igris-notify-{}.sock", std::process::id()));
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        Self { socket, path, heard: Vec::new() }
    }

    /// Waits for a message with this line, and answers its lines.
    fn hears(&mut self, line: &str) -> Vec<String> {
        let end = Instant::now() + SOON;
        let mut room = [0; 4096];
        loop {
            assert!(Instant::now() < end, "no {line} in {:#?}", self.heard);
            let Ok(bytes) = self.socket.recv(&mut room) else { continue };
            let text = String::from_utf8_lossy(&room[..bytes]).into_owned();
            self.heard.push(text.clone());
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            if lines.iter().any(|found| found == line) {
                return lines;
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[test]
fn the_service_manager_hears_every_turn_and_follows_the_main_process() {
    let mut manager = Manager::listens();
    let simulator = simulator();
    let builder = Gateway::builder().provider("openai", &simulator);
    let path = manager.path.to_str().expect("text").to_owned();
    let mut gateway = builder.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000").start();
    let lines = manager.hears("READY=1");
    assert!(lines.iter().any(|line| line.starts_with("STATUS=serving at http://127.0.0.1:")), "{lines:?}");
    manager.hears("WATCHDOG=1");
    gateway.signal("HUP");
    let lines = manager.hears("RELOADING=1");
    assert!(lines.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{lines:?}");
    manager.hears("READY=1");
    let old = gateway.pid();
    assert_eq!(gateway.upgrade("{}").status, 200, "{}", gateway.stderr());
    let lines = manager.hears(&format!("MAINPID={}", gateway.pid()));
    assert!(lines.iter().any(|line| line == "READY=1"), "{lines:?}");
    manager.hears("WATCHDOG=1");
    assert_eq!(gateway.wait(ENDS).and_then(|status| status.code()), Some(0));
    let spoke_after = manager.heard.iter().filter(|text| text.contains("STOPPING=1")).count();
    assert_eq!(spoke_after, 0, "process {old} is not the service any more");
    gateway.signal("TERM");
    manager.hears("STOPPING=1");
}

/// Starts the gateway as systemd does: listening sockets from descriptor 3 on, and three variables.
fn activated(gateway: &Gateway, public: &TcpListener, admin: Option<&UnixListener>) -> Child {
    let command = gateway.command();
    let (names, count) = if admin.is_some() { ("public:admin", 2) } else { ("public", 1) };
    let text = format!(
        "exec 3<&0 </dev/null; {} export LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names}; exec \"$0\" \"$@\"",
        if admin.is_some() { "exec 4>&1 >/dev/null;" } else { "" }
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &text]).arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let twin = OwnedFd::from(public.try_clone().expect("a descriptor"));
    shell.stdin(Stdio::from(twin));
    match admin {
        Some(admin) => shell.stdout(Stdio::from(OwnedFd::from(admin.try_clone().expect("a descriptor")))),
        None => shell.stdout(Stdio::null()),
    };
    let log = fs::File::create(gateway.home().join("activated.log")).expect("a file");
    shell.stderr(log).spawn().expect("there is a shell")
}

fn ready_at(address: SocketAddr) -> bool {
    // The queue takes connections also while nobody runs, so the answer decides.
    let Ok(mut client) = Client::try_connect(address) else { return false };
    client.send(&bare("GET", "/v1/health/ready", ""));
    client.try_answer().is_ok_and(|answer| answer.status == 200)
}

fn term(child: &mut Child) {
    let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status();
    let end = Instant::now() + ENDS;
    while child.try_wait().expect("a child").is_none() {
        assert!(Instant::now() < end, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sockets_that_systemd_made_are_used_shared_by_the_cores_and_outlive_the_process() {
    let simulator = simulator();
    let mut gateway = Gateway::builder().provider("openai", &simulator).workers(3).start();
    gateway.kill();
    let public = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let address = public.local_addr().expect("an address");
    let path = gateway.home().join("by-systemd.sock");
    let admin = UnixListener::bind(&path).expect("bound");
    let mut child = activated(&gateway, &public, Some(&admin));
    wait_until(SOON, "it serves on the passed socket", || ready_at(address));
    for _ in 0..12 {
        assert_eq!(Client::connect(address).ask(&post(&chat("x"))).status, 200);
    }
    let status = |path: &Path| {
        let mut client = Client::unix(path).expect("the passed admin socket");
        client.ask(&bare("GET", "/status", "Connection: close\r\n")).json()["pid"].as_u64()
    };
    assert_eq!(status(&path), Some(u64::from(child.id())));
    // An upgrade passes them on.
    let mut client = Client::unix(&path).expect("the passed admin socket");
    let upgraded = client.ask(&bare("POST", "/upgrade", "Connection: close\r\nContent-Length: 0\r\n"));
    assert_eq!(upgraded.status, 200, "{}", upgraded.text());
    let new = u32::try_from(upgraded.json()["pid"].as_u64().expect("a pid")).expect("a pid");
    assert_eq!(Client::connect(address).ask(&post(&chat("x"))).status, 200);
    assert_eq!(status(&path), Some(u64::from(new)));
    term(&mut child);
    let _ = Command::new("sh").args(["-c", &format!("kill -TERM {new}")]).status();
    wait_until(ENDS, "it ends", || !is_running(new));
    assert!(path.exists(), "the name is systemd's");
    // Nobody runs, and nobody is refused.
    let mut early = Client::connect(address);
    early.send(&post(&chat("early")));
    let mut child = activated(&gateway, &public, None);
    assert_eq!(early.answer().status, 200, "who came meanwhile is served");
    term(&mut child);
}

#[test]
fn the_stock_activator_starts_it() {
    let activator = Path::new("/usr/bin/systemd-socket-activate");
    if !activator.exists() {
        println!("skipped: there is no {}", activator.display());
        return;
    }
    let simulator = simulator();
    let mut gateway = Gateway::builder().provider("openai", &simulator).workers(2).start();
    gateway.kill();
    let address = crate::support::closed_address();
    let command = gateway.command();
    let mut shell = Command::new(activator);
    shell.arg(format!("--listen={address}")).arg("--fdname=igris");
    for (name, value) in command.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        shell.env(name, value).arg(format!("--setenv={}", name.to_str().expect("text")));
    }
    shell.arg(command.get_program()).args(command.get_args());
    let mut child = shell.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    wait_until(SOON, "it serves at the activator's address", || ready_at(address));
    assert_eq!(Client::connect(address).ask(&post(&chat("x"))).status, 200);
    term(&mut child);
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn the_units_are_well_formed() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("skipped: there is no systemd-analyze");
        return;
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd");
    let checked = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args([units.join("igris.service"), units.join("igris.socket")])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    let complaints: Vec<&str> =
        said.lines().filter(|line| line.contains("igris.") && !line.contains("is not executable")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}
