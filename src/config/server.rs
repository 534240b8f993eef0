//! `[server]`: where and how the data plane listens.
//!
//! Files that are named here are read by whoever uses them, not by the reader of the configuration.

use super::bounds::{Limits, bounds};
use super::cidr::{Cidr, cidr};
use super::leaf::{count, duration, one_of, path, socket_address};
use super::problem::Findings;
use super::raw;
use super::read::{At, Leaf, Typed};
use crate::domain::protocol::ClientHttp2;
use crate::limits;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where `igris serve` listens when nothing says otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8081";

/// The data plane's own settings.
#[derive(Clone, Debug)]
pub struct Server {
    /// Addresses of the public listener, at least one, no two alike.
    pub listen: Vec<SocketAddr>,
    /// Threads of the data plane; 0 means one for each core.
    pub workers: usize,
    /// How the data plane waits for the kernel.
    pub io: Io,
    /// TLS towards clients; plaintext when absent.
    pub tls: Option<Tls>,
    /// How long exchanges in flight may finish on SIGTERM (rule S1).
    pub drain_timeout: Duration,
    /// Peers whose `X-Forwarded-*` fields are believed (rule H11).
    pub trusted_proxies: Vec<Cidr>,
    /// Whether answers of the OpenAI dialects carry the `metadata` member.
    pub metadata: Metadata,
    /// What clients may speak beside HTTP/1.1.
    pub http2: ClientHttp2,
    /// Bounds of downstream connections and exchanges.
    pub limits: Limits,
}

/// How the data plane waits for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// io_uring where the kernel has it, else epoll.
    Auto,
    /// io_uring, or refuse to start.
    IoUring,
    /// epoll.
    Epoll,
}

/// Whether answers carry our `metadata` member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// In the OpenAI dialects, where clients ignore foreign members.
    Auto,
    /// Never.
    Off,
}

/// Certificate files, in PEM. They are read later and again on reload (rule S4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Clients must show a certificate that one of these signed.
    pub client_ca: Option<PathBuf>,
}

const IO: &[(&str, Io)] = &[("auto", Io::Auto), ("io_uring", Io::IoUring), ("epoll", Io::Epoll)];
const METADATA: &[(&str, Metadata)] = &[("auto", Metadata::Auto), ("off", Metadata::Off)];
const HTTP2: &[(&str, ClientHttp2)] =
    &[("off", ClientHttp2::Off), ("tls", ClientHttp2::Tls), ("all", ClientHttp2::All)];
const WORKERS_MAX: u64 = 1_024;

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8081))],
            workers: 0,
            io: Io::Auto,
            tls: None,
            drain_timeout: limits::SHUTDOWN_GRACE,
            trusted_proxies: Vec::new(),
            metadata: Metadata::Auto,
            http2: ClientHttp2::default(),
            limits: Limits::default(),
        }
    }
}

/// The section as meant, and the listening addresses with their positions for comparison with other sections.
pub(super) fn server(raw: Option<raw::Server>, findings: &mut Findings) -> (Server, Vec<At<SocketAddr>>) {
    let Some(raw) = raw else { return (Server::default(), Vec::new()) };
    let standard = Server::default();
    let listen = listen(raw.at, raw.listen, findings);
    let most = limits::SHUTDOWN_GRACE_CEILING;
    let server = Server {
        listen: if listen.is_empty() { standard.listen } else { listen.iter().map(|at| at.value).collect() },
        workers: workers(raw.workers, findings),
        io: findings.value("io", raw.io, one_of(IO)).unwrap_or(standard.io),
        tls: raw.tls.and_then(|tls| self::tls(tls, findings)),
        drain_timeout: findings
            .value("drain_timeout", raw.drain_timeout, duration(Duration::ZERO, most))
            .unwrap_or(standard.drain_timeout),
        trusted_proxies: trusted_proxies(raw.trusted_proxies, findings),
        metadata: findings.value("metadata", raw.metadata, one_of(METADATA)).unwrap_or(standard.metadata),
        http2: findings.value("http2", raw.http2, one_of(HTTP2)).unwrap_or(standard.http2),
        limits: raw.limits.map_or(standard.limits, |limits| bounds(limits, findings)),
    };
    (server, listen)
}

fn listen(at: usize, leaves: Option<Vec<Leaf>>, findings: &mut Findings) -> Vec<At<SocketAddr>> {
    let Some(leaves) = leaves else { return Vec::new() };
    if leaves.is_empty() {
        findings.error(at, "`listen` is empty", format!("write `listen = [\"{LISTEN_DEFAULT}\"]`"));
    }
    findings.all("listen", leaves, socket_address)
}

/// `"auto"` or a number; both spellings of "one for each core" give 0.
fn workers(leaf: Option<Leaf>, findings: &mut Findings) -> usize {
    let reading = |typed: &Typed| match typed {
        Typed::Text(text) if text == "auto" => Ok(0),
        other => count(0, WORKERS_MAX)(other),
    };
    findings.value("workers", leaf, reading).unwrap_or(0) as usize
}

fn tls(raw: raw::Tls, findings: &mut Findings) -> Option<Tls> {
    let cert = findings.required(("`tls`", raw.at, "cert", "\"cert.pem\""), raw.cert, path);
    let key = findings.required(("`tls`", raw.at, "key", "\"key.pem\""), raw.key, path);
    let client_ca = findings.value("client_ca", raw.client_ca, path);
    Some(Tls { cert: cert?.value, key: key?.value, client_ca })
}

fn trusted_proxies(leaves: Option<Vec<Leaf>>, findings: &mut Findings) -> Vec<Cidr> {
    let ranges = findings.all("trusted_proxies", leaves.unwrap_or_default(), cidr);
    findings.distinct("the range", &ranges);
    ranges.into_iter().map(|range| range.value).collect()
}
