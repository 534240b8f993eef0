//! A control plane in a directory of its own, behind real sockets, for tests.

use super::{AdminSocket, Admission, Ceiling, Drain, Shared, bind, router, serve, tenant_api};
use crate::config::{Admin, AdminToken, KeySource};
use crate::control_plane::{ConfigSource, Control, Start, parse_config};
use crate::domain::clock::UnixMillis;
use crate::domain::role::Roles;
use crate::vault::OsEntropy;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// What provider keys are made of in tests; it must never come back (rule R4).
pub(crate) const CANARY: &str = "sk-proj-CANARYcanaryCANARYcanary0123456789";
/// The configuration that a house starts with.
pub(crate) const CONFIG: &str =
    "version = 1\n[[providers]]\nname = \"openai\"\napi_key = { env = \"OPENAI_API_KEY\" }\n";

/// The house; its directory goes with it.
pub(crate) struct House {
    pub(crate) control: Shared,
    pub(crate) drains: Arc<AtomicUsize>,
    pub(crate) stop: watch::Sender<bool>,
    place: PathBuf,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl House {
    pub(crate) fn new() -> Self {
        let place = std::env::temp_dir().join(format!("igris-house-{}-{:x}", std::process::id(), fastrand::u64(..)));
        std::fs::create_dir(&place).expect("a directory");
        let file = place.join("igris.toml");
        std::fs::write(&file, CONFIG).expect("written");
        let (config, stamp, _) = parse_config("igris.toml", CONFIG).expect("a configuration");
        let start = Start {
            config,
            stamp,
            footing: Default::default(),
            source: ConfigSource::File(file),
            data_dir: place.join("data"),
            board: Arc::default(),
            reports: Vec::new(),
            driver: "test".to_owned(),
            workers: 1,
            control_socket: place.join("data/control.sock"),
            env: Box::new(|name| (name == "OPENAI_API_KEY").then(|| format!("{CANARY}-env"))),
            clock: UnixMillis::now,
            entropy: Box::new(OsEntropy),
        };
        let control = Control::open(start).expect("a control plane").control;
        let (stop, _) = watch::channel(false);
        Self { control: Arc::new(Mutex::new(control)), drains: Arc::default(), stop, place }
    }

    /// A house with an open admin socket on a thread of its own: control plane, socket, and what ends it.
    pub(crate) fn in_thread() -> (Shared, PathBuf, impl FnOnce()) {
        let house = Self::new();
        let (control, path, stop) = (house.control.clone(), house.admin_path(), house.stop.clone());
        let (ready, opened) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let served = house.open_admin();
                ready.send(()).expect("awaited");
                served.await.expect("served");
            });
        });
        opened.recv().expect("opened");
        let end = move || {
            stop.send_replace(true);
            thread.join().expect("ended");
        };
        (control, path, end)
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.place.join("igris.toml")
    }

    pub(crate) fn admin_path(&self) -> PathBuf {
        self.place.join("data/admin.sock")
    }

    pub(crate) fn control_path(&self) -> PathBuf {
        self.place.join("data/control.sock")
    }

    /// Opens the admin socket.
    pub(crate) fn open_admin(&self) -> tokio::task::JoinHandle<()> {
        let drains = self.drains.clone();
        let drain: Drain = Arc::new(move || {
            drains.fetch_add(1, Ordering::Relaxed);
        });
        let socket: AdminSocket = bind(&self.admin_path(), &[]).expect("bound");
        tokio::spawn(serve(socket, router(self.control.clone(), drain), Ceiling::Refuse(4), self.stop.subscribe()))
    }

    /// Opens the internal socket.
    pub(crate) fn open_internal(&self) -> tokio::task::JoinHandle<()> {
        let socket = bind(&self.control_path(), &[]).expect("bound");
        let router = tenant_api::router(self.control.clone());
        tokio::spawn(serve(socket, router, Ceiling::Wait(2), self.stop.subscribe()))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// An admission with these tokens: name, roles, text.
pub(crate) fn admission(tokens: &[(&str, Roles, &str)]) -> Admission {
    let named = |(name, roles, _): &(&str, Roles, &str)| AdminToken {
        name: (*name).to_owned(),
        roles: *roles,
        key: KeySource::Env((*name).to_owned()),
    };
    let admin = Admin { tokens: tokens.iter().map(named).collect(), ..Admin::default() };
    let env = |name: &str| tokens.iter().find(|token| token.0 == name).map(|token| token.2.to_owned());
    Admission::new(&admin, &env).expect("tokens are there")
}

/// The texts of the events so far.
pub(crate) fn events(house: &House) -> Vec<String> {
    super::locked(&house.control).recent_events().into_iter().map(|event| event.text).collect()
}

/// One request on a connection of its own.
pub(crate) async fn ask(path: &Path, request: &str, fields: &str, body: &str) -> Seen {
    let stream = UnixStream::connect(path).await.expect("connected");
    exchange(stream, request, fields, body).await
}

/// One request on a given connection, which the answer ends.
pub(crate) async fn exchange<T>(mut stream: T, request: &str, fields: &str, body: &str) -> Seen
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: igris\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n{body}"
    );
    // The answer may come before everything is read.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: no head in {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Seen { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

impl Seen {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Asserts the status and the error's code, and that no key is shown.
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["error"]["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert!(!self.body.contains("CANARY"), "{}", self.body);
    }
}
