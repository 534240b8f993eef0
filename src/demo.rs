//! `igris demo`: the real gateway in front of three simulated providers, with a trickle of traffic and a dashboard.
//!
//! Nothing is mocked but the providers: configuration, vault, store and both planes are those of `igris serve`, in a directory that is
//! removed at the end. No key and no network is needed.

use crate::app::{self, Running, ServeOptions};
use crate::domain::secret::Secret;
use crate::vault::access_key::AccessKeyText;
use crate::vault::entropy::OsEntropy;
use anyhow::Context;
use igris_load::Simulator;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// One simulated provider.
struct Cast {
    name: &'static str,
    /// What the model is called there.
    model: &'static str,
    weight: u32,
    /// Until the first byte.
    latency: Duration,
    /// Between two events.
    gap: Duration,
}

/// The providers that are simulated.
const PROVIDERS: [Cast; 3] = [
    cast("openai", "gpt-4o-mini", 3, 40, 25),
    cast("mistral", "mistral-small-latest", 2, 60, 15),
    cast("deepseek", "deepseek-flash", 1, 90, 35),
];

const fn cast(name: &'static str, model: &'static str, weight: u32, latency_ms: u64, gap_ms: u64) -> Cast {
    Cast { name, model, weight, latency: Duration::from_millis(latency_ms), gap: Duration::from_millis(gap_ms) }
}

/// What each of them accepts as its key.
const PROVIDER_KEY: &str = "sk-demo-simulated-provider-key";
/// What they accept as well: keys to add and to rotate to.
const FURTHER_KEYS: [&str; 2] = ["sk-demo-second-provider-key-2", "sk-demo-third-provider-key-3"];
/// Pause between two requests of the trickle.
const TRICKLE_PAUSE: Duration = Duration::from_millis(700);

/// Runs the demonstration until interrupted.
pub fn run(listen: Option<SocketAddr>) -> anyhow::Result<()> {
    let place = Place::make()?;
    let simulators = PROVIDERS.iter().map(simulate).collect::<Result<Vec<_>, _>>();
    let simulators = simulators.context("cannot start the simulated providers")?;
    let key = AccessKeyText::make(&mut OsEntropy)?;
    place.write("access.key", key.expose())?;
    let viewer = AccessKeyText::make(&mut OsEntropy)?;
    place.write("viewer.token", viewer.expose())?;
    place.write("provider.key", PROVIDER_KEY.as_bytes())?;
    let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8081)));
    // The next port; with port 0 the kernel chooses both.
    let dashboard = SocketAddr::new(listen.ip(), if listen.port() == 0 { 0 } else { listen.port().saturating_add(1) });
    place.write("igris.toml", configuration(&place, &simulators, dashboard).as_bytes())?;
    let running = app::start(
        ServeOptions {
            config: Some(place.file("igris.toml")),
            listen: vec![listen],
            data_dir: place.file("data"),
            dashboard: Some(dashboard),
            ..ServeOptions::default()
        },
        |name| std::env::var(name).ok(),
    )?;
    introduce(&running, &key, &viewer);
    if let Some(address) = running.addresses.first() {
        let (address, key) = (*address, Secret::copy_of(key.expose()));
        thread::Builder::new().name("demo-trickle".to_owned()).spawn(move || trickle(address, &key))?;
    }
    running.wait()
}

fn simulate(cast: &Cast) -> std::io::Result<Simulator> {
    let provider =
        Simulator::builder().name(cast.name).keys([&[PROVIDER_KEY], &FURTHER_KEYS[..]].concat()).models([cast.model]);
    provider.latency(cast.latency).event_gap(cast.gap).counters_only().start()
}

/// What the gateway is configured with: one model that three providers serve, each under its own name for it.
fn configuration(place: &Place, simulators: &[Simulator], dashboard: SocketAddr) -> String {
    let mut text = String::from("version = 1\n");
    let mut targets = String::new();
    for (Cast { name, model, weight, .. }, simulator) in PROVIDERS.iter().zip(simulators) {
        let (url, key) = (simulator.base_url(), place.file("provider.key"));
        text.push_str(&format!(
            "[[providers]]\nname = \"{name}\"\nbase_url = \"{url}\"\napi_key = {{ file = {key:?} }}\nallow_private_address = true\n"
        ));
        targets.push_str(&format!("  {{ provider = \"{name}\", model = \"{model}\", weight = {weight} }},\n"));
    }
    text.push_str(&format!("[[models]]\nname = \"demo\"\npolicy = \"weighted\"\ntargets = [\n{targets}]\n"));
    let key = place.file("access.key");
    text.push_str("[[tenants]]\nid = \"default\"\n[[access_keys]]\nname = \"demo\"\ntenant = \"default\"\n");
    text.push_str(&format!("key = {{ file = {key:?} }}\nscopes = [\"inference\", \"keys\", \"costs\", \"admin\"]\n"));
    let viewer = place.file("viewer.token");
    text.push_str(&format!(
        "[[admin.tokens]]\nname = \"viewer\"\nroles = [\"read\"]\nkey = {{ file = {viewer:?} }}\n[admin]\ndashboard = \"{dashboard}\"\n"
    ));
    text
}

fn introduce(running: &Running, key: &AccessKeyText, viewer: &AccessKeyText) {
    let Some(address) = running.addresses.first() else { return };
    println!("Igris Overture is up, in front of {} simulated providers.\n", PROVIDERS.len());
    println!("Stream an answer through it:\n");
    println!(
        "  curl -N http://{address}/v1/chat/completions \\\n    -H 'Authorization: Bearer {}' \\\n    -d '{{\"model\":\"demo\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'\n",
        String::from_utf8_lossy(key.expose())
    );
    if let Some(url) = &running.dashboard_url {
        println!("Dashboard: {url}\n");
        println!("Token that may only look: {}", String::from_utf8_lossy(viewer.expose()));
        println!("Provider keys to add and to rotate to: {}\n", FURTHER_KEYS.join(", "));
    }
    println!("Ctrl-C ends it.");
}

/// A little traffic, so that there is something to see. A failed request is the gateway's to report, not ours.
fn trickle(address: SocketAddr, key: &Secret) {
    let bodies = [
        r#"{"model":"demo","messages":[{"role":"user","content":"sim:tokens=24 How are you?"}]}"#,
        r#"{"model":"demo","stream":true,"messages":[{"role":"user","content":"sim:tokens=40 Tell me a story."}]}"#,
    ];
    for body in bodies.iter().cycle() {
        let _ = ask(address, key, body);
        thread::sleep(TRICKLE_PAUSE);
    }
}

fn ask(address: SocketAddr, key: &Secret, body: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = Vec::with_capacity(512);
    write!(
        request,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer "
    )?;
    request.extend_from_slice(key.expose());
    write!(request, "\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(())
}

/// The directory of one demonstration, removed with everything in it when dropped.
struct Place(PathBuf);

impl Place {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("igris-demo-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        let path: &Path = &self.file(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
