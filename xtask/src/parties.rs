//! Who takes part in a bench: the simulated provider, plaintext or behind TLS, and the proxies before it: igris on each I/O driver, nginx and
//! HAProxy. Loader and provider share one processor, the proxies have another.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::account::Cost;
use crate::certs::Certs;
use crate::place::{Place, on_path};
use crate::process::Background;
use crate::{debian, haproxy, nginx};

const START_LIMIT: Duration = Duration::from_secs(60);

/// What clients show to igris.
pub(crate) const ACCESS_KEY: &str = "sk-bench-access-key-0123456789";
/// What the provider wants to see.
pub(crate) const CREDENTIAL: &str = "sk-bench-credential-0123456789";
/// The one model there is.
pub(crate) const MODEL: &str = "gpt-4o-mini";

/// One proxy under test.
pub(crate) struct Proxy {
    /// What it is called in tables.
    pub(crate) name: String,
    /// Where it listens on loopback.
    pub(crate) port: u16,
    /// What the loader shows it: plain proxies pass the provider's credential through, igris puts it in.
    pub(crate) key: &'static str,
    /// The process; it is all of the proxy.
    pub(crate) process: Background,
    /// What its rounds cost.
    pub(crate) rounds: Vec<Cost>,
}

/// Which proxies there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// nginx with a bare `proxy_pass`.
    Nginx,
    /// HAProxy with a bare backend.
    HaProxy,
    /// igris on io_uring.
    IoUring,
    /// igris on epoll.
    Epoll,
}

/// The provider as a proxy sees it.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    /// Where it listens on loopback.
    pub(crate) port: u16,
    /// Its certificates, where it is behind TLS.
    pub(crate) certs: Option<Certs>,
}

/// A gateway to be started.
pub(crate) struct Gateway<'a> {
    /// The build profile whose program is run.
    pub(crate) profile: &'a str,
    /// Its folder: configuration, store and log.
    pub(crate) home: &'a Path,
    /// Addresses it listens on, all with this port.
    pub(crate) listen: (&'a [&'a str], u16),
    /// Who is behind it.
    pub(crate) upstream: &'a Upstream,
    /// `io_uring` or `epoll`.
    pub(crate) driver: &'a str,
    /// Threads of the data plane.
    pub(crate) workers: u32,
    /// Processors it may use, as taskset(1) lists them.
    pub(crate) processors: &'a str,
    /// Further lines of configuration.
    pub(crate) lines: &'a str,
    /// Further lines of its provider's table.
    pub(crate) provider_lines: &'a str,
    /// What it shows its provider.
    pub(crate) credential: &'a str,
    /// What it is called in messages.
    pub(crate) name: &'a str,
}

// === impl Kind ===

impl Kind {
    /// All of them, the yardsticks first.
    pub(crate) const ALL: [Kind; 4] = [Kind::Nginx, Kind::HaProxy, Kind::IoUring, Kind::Epoll];

    /// What it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Nginx => "nginx",
            Kind::HaProxy => "haproxy",
            Kind::IoUring => "igris io_uring",
            Kind::Epoll => "igris epoll",
        }
    }

    /// What it is called on the command line.
    pub(crate) fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == word || kind.name() == format!("igris {word}"))
    }

    /// The driver, where it is igris.
    fn driver(self) -> Option<&'static str> {
        self.name().strip_prefix("igris ")
    }
}

// === impl Upstream ===

impl Upstream {
    /// One without TLS.
    pub(crate) fn plain(port: u16) -> Upstream {
        Upstream { port, certs: None }
    }

    /// Its address for those who ask it themselves.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.certs.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/v1", self.port)
    }
}

// ---- The provider -----------------------------------------------------------------------------------------------------------

/// A simulated provider that takes so long for an answer.
pub(crate) fn start_provider(
    place: &Place,
    profile: &str,
    folder: &Path,
    port: u16,
    latency: &str,
) -> Result<Background> {
    start_mock(place, profile, folder, &Upstream::plain(port), &["--latency", latency])
}

/// A simulated provider with these manners.
pub(crate) fn start_mock(
    place: &Place,
    profile: &str,
    folder: &Path,
    upstream: &Upstream,
    manners: &[&str],
) -> Result<Background> {
    let port = upstream.port;
    let mut command = Command::new(place.built(profile, "igris-load"));
    command.args(["mock", "--listen", &format!("127.0.0.1:{port}"), "--name", "openai", "--key", CREDENTIAL]);
    command.args(["--model", MODEL, "--threads", "1"]).args(manners);
    if let Some(certs) = &upstream.certs {
        command.arg("--tls-cert").arg(&certs.server).arg("--tls-key").arg(&certs.key);
    }
    let mut provider = Background::start(&mut pinned(command, Side::Load), &folder.join("provider.log"))?;
    wait_for(&mut provider, port, "the simulated provider", START_LIMIT)?;
    Ok(provider)
}

// ---- The proxies ------------------------------------------------------------------------------------------------------------

/// Starts the proxies that are asked for and can run here; says of the others why not.
///
/// # Errors
/// One that is there does not start.
pub(crate) fn start_proxies(
    place: &Place,
    profile: &str,
    folder: &Path,
    upstream: &Upstream,
    (kinds, stream): (&[Kind], bool),
) -> Result<Vec<Proxy>> {
    let mut proxies = Vec::new();
    for kind in kinds {
        match start_proxy(place, profile, folder, upstream, (*kind, stream))? {
            Ok(proxy) => proxies.push(proxy),
            Err(why) => println!("{}: skipped: {why}", kind.name()),
        }
    }
    Ok(proxies)
}

/// Starts one; the inner error says why it cannot run here.
fn start_proxy(
    place: &Place,
    profile: &str,
    folder: &Path,
    upstream: &Upstream,
    (kind, stream): (Kind, bool),
) -> Result<Result<Proxy, String>> {
    let (port, name) = (free_port()?, kind.name());
    let home = folder.join(name.replace(' ', "-"));
    let pin = |command| pinned(command, Side::Proxy);
    let program = match kind {
        Kind::Nginx => program("nginx", "nginx-light"),
        Kind::HaProxy => program("haproxy", "haproxy"),
        Kind::IoUring if io_uring::IoUring::new(8).is_err() => Err("this kernel gives us no io_uring".to_owned()),
        Kind::IoUring | Kind::Epoll => Ok(place.built(profile, "igris")),
    };
    let program = match program {
        Ok(program) => program,
        Err(why) => return Ok(Err(why)),
    };
    let mut process = match kind.driver() {
        None if kind == Kind::Nginx => nginx::start(&program, &home, port, upstream, stream, pin)?,
        None => haproxy::start(&program, &home, port, upstream, pin)?,
        // Streams that stand still for a while are part of what is measured.
        Some(driver) => Gateway {
            lines: "[server.limits]\nstream_silence_deadline = \"600s\"\nkeep_alive_idle = \"600s\"\n",
            ..Gateway::usual(profile, &home, (&["127.0.0.1"], port), upstream, driver)
        }
        .start(place)?,
    };
    wait_for(&mut process, port, name, START_LIMIT)?;
    let key = if kind.driver().is_some() { ACCESS_KEY } else { CREDENTIAL };
    Ok(Ok(Proxy { name: name.to_owned(), port, key, process, rounds: Vec::new() }))
}

/// A program for whose place the search path of an ordinary user says nothing.
fn program(name: &str, package: &str) -> Result<PathBuf, String> {
    let system = PathBuf::from("/usr/sbin").join(name);
    if system.is_file() { Ok(system) } else { debian::program(name, package) }
}

/// A gateway on one core before a provider, with further lines of configuration.
pub(crate) fn start_gateway(
    place: &Place,
    profile: &str,
    home: &Path,
    (port, provider_port): (u16, u16),
    driver: &str,
    lines: &str,
    name: &str,
) -> Result<Background> {
    let upstream = Upstream::plain(provider_port);
    let gateway = Gateway::usual(profile, home, (&["127.0.0.1"], port), &upstream, driver);
    Gateway { lines, name, ..gateway }.start(place)
}

// === impl Gateway ===

impl<'a> Gateway<'a> {
    /// One worker on the proxies' processor.
    pub(crate) fn usual(
        profile: &'a str,
        home: &'a Path,
        listen: (&'a [&'a str], u16),
        upstream: &'a Upstream,
        driver: &'a str,
    ) -> Gateway<'a> {
        Gateway {
            profile,
            home,
            listen,
            upstream,
            driver,
            workers: 1,
            processors: PROXY,
            lines: "",
            provider_lines: "",
            credential: CREDENTIAL,
            name: "igris",
        }
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// Its folder cannot be written, or it ends instead.
    pub(crate) fn start(&self, place: &Place) -> Result<Background> {
        fs::create_dir_all(self.home)?;
        let config = self.home.join("igris.toml");
        fs::write(&config, self.configuration())?;
        let mut command = Command::new(place.built(self.profile, "igris"));
        command.arg("serve").arg("--config").arg(&config).arg("--data-dir").arg(self.home);
        for address in self.listen.0 {
            command.args(["--listen", &format!("{address}:{}", self.listen.1)]);
        }
        command.args(["--io", self.driver, "--workers", &self.workers.to_string()]);
        command.env("BENCH_ACCESS_KEY", ACCESS_KEY).env("BENCH_CREDENTIAL", self.credential);
        let mut command = pinned_at(command, self.processors);
        let mut process = Background::start(&mut command, &self.home.join("output.log"))?;
        wait_for(&mut process, self.listen.1, self.name, START_LIMIT)?;
        Ok(process)
    }

    fn configuration(&self) -> String {
        let (home, lines, url) = (self.home.display(), self.lines, self.upstream.url());
        let provider_lines = self.provider_lines;
        let authority = self
            .upstream
            .certs
            .as_ref()
            .map_or_else(String::new, |certs| format!("ca = \"{}\"\n", certs.authority.display()));
        format!(
            "version = 1
{lines}[admin]
socket = \"{home}/admin.sock\"
[store]
url = \"sqlite:{home}/igris.db\"
[vault]
root_key = {{ file = \"{home}/root.key\" }}
[[providers]]
name = \"openai\"
base_url = \"{url}\"
allow_private_address = true
api_key = {{ env = \"BENCH_CREDENTIAL\" }}
{authority}{provider_lines}[[tenants]]
id = \"default\"
[[access_keys]]
name = \"bench\"
tenant = \"default\"
key = {{ env = \"BENCH_ACCESS_KEY\" }}
"
        )
    }
}

// ---- Places and ports -------------------------------------------------------------------------------------------------------

/// Who shares a processor.
pub(crate) enum Side {
    /// Loader and provider.
    Load,
    /// Proxies.
    Proxy,
}

/// The processor of loader and provider.
pub(crate) const LOAD: &str = "0";
/// The processor of the proxies.
pub(crate) const PROXY: &str = "1";

/// Loader and provider on processor 0, the proxies on processor 1.
pub(crate) fn pinned(command: Command, side: Side) -> Command {
    let processor = match side {
        Side::Load => LOAD,
        Side::Proxy => PROXY,
    };
    pinned_at(command, processor)
}

/// On these processors, where there are two and `taskset` is there.
pub(crate) fn pinned_at(command: Command, processors: &str) -> Command {
    let enough = thread::available_parallelism().is_ok_and(|count| count.get() >= 2);
    if !enough || on_path("taskset").is_none() {
        return command;
    }
    // taskset replaces itself with the program: the process id stays the program's own.
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", processors]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}

/// A loopback port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("no loopback port is free")?.local_addr()?.port())
}

/// Waits until a program listens, at most so long.
pub(crate) fn wait_for(process: &mut Background, port: u16, name: &str, limit: Duration) -> Result<()> {
    let started = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(process.alive(), "{name} ended at once:\n{}", process.output());
        ensure!(started.elapsed() < limit, "{name} does not listen after {} s", limit.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_have_names_for_tables_and_for_fingers() {
        for kind in Kind::ALL {
            let word = kind.driver().unwrap_or_else(|| kind.name());
            assert_eq!(Kind::parse(word), Some(kind));
        }
        assert_eq!(Kind::parse("apache"), None);
    }

    #[test]
    fn a_gateway_trusts_the_authority_of_its_provider() {
        let certs = Certs { authority: "/tmp/ca.pem".into(), server: "s".into(), key: "k".into() };
        let upstream = Upstream { port: 7, certs: Some(certs) };
        let gateway = Gateway::usual("fast", Path::new("/tmp/h"), (&["127.0.0.1"], 8), &upstream, "epoll");
        let text = gateway.configuration();
        assert!(
            text.contains("base_url = \"https://127.0.0.1:7/v1\"") && text.contains("ca = \"/tmp/ca.pem\""),
            "{text}"
        );
    }
}
