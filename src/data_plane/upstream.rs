//! Connections to providers: per-core pools, liveness, and new connections by happy eyeballs.
//!
//! A pool is last in, first out, keyed by origin and TLS profile. An unused connection keeps a read under way: end of file or stray bytes
//! show up as its completion, so checking liveness costs no system call, and the same read then receives the answer. Addresses come from
//! the snapshot, already checked; nothing is resolved here.
//!
//! Where a provider speaks HTTP/2, exchanges share connections: an exchange gets a stream of one that has room, and only the connection is
//! kept afterwards.

use super::per_core::Core;
use crate::domain::protocol::ProviderHttp;
use crate::http::head::ResponseHead;
use crate::http2::{ClientStream, SharedConnection};
use crate::limits;
use crate::routing::quota::Allowances;
use crate::rt::{self, Conn};
use crate::snapshot::Origin;
use crate::tls::{self, Stream, Transport};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// A connection to a provider, with the head parser it reuses.
pub struct Upstream {
    /// The bytes.
    pub transport: Transport,
    /// The answer's head.
    pub head: ResponseHead,
    /// How many bytes of input that head takes.
    pub head_bytes: usize,
    /// Memory of the latest answer's header lines, lent to the next one.
    pub kept: Vec<u8>,
    /// Memory of what the latest answer said of limits, lent to the next one.
    pub allowances: Allowances,
    /// When the latest request on it began to leave.
    pub asked_at: Instant,
    /// What the TLS handshake took of connecting; zero without TLS and for a connection that stood already.
    pub tls: Duration,
    /// Whether it has served an exchange before: then, and only then, may a request that died on it be sent once more.
    pub reused: bool,
}

/// Unused connections of one core.
#[derive(Default)]
pub struct Pools {
    by_origin: HashMap<Arc<str>, Vec<Idle>>,
    /// Connections that exchanges share, in use or not.
    shared: HashMap<Arc<str>, Vec<SharedConnection>>,
}

struct Idle {
    upstream: Box<Upstream>,
    since: Instant,
}

impl Pools {
    /// The most recently used live connection to an origin, or a stream of one that is shared; `alone`: a whole connection.
    pub fn checkout(&mut self, origin: &Origin, now: Instant, alone: bool) -> Option<Box<Upstream>> {
        if origin.http != ProviderHttp::One
            && !alone
            && let Some(stream) = self.share(origin)
        {
            return Some(Box::new(Upstream { reused: true, ..Upstream::over(Transport::Shared(Box::new(stream))) }));
        }
        let idle = self.by_origin.get_mut(&origin.key)?;
        while let Some(Idle { mut upstream, since }) = idle.pop() {
            if now.duration_since(since) < limits::UPSTREAM_IDLE && is_quiet(&mut upstream.transport) {
                upstream.reused = true;
                upstream.tls = Duration::ZERO;
                return Some(upstream);
            }
        }
        None
    }

    fn share(&mut self, origin: &Origin) -> Option<ClientStream> {
        let connections = self.shared.get_mut(&origin.key)?;
        connections.retain(SharedConnection::is_usable);
        connections.iter().find_map(SharedConnection::stream)
    }

    /// Keeps a new connection for others to share.
    fn keep(&mut self, origin: &Origin, connection: SharedConnection) {
        let connections = self.shared.entry(origin.key.clone()).or_default();
        if connections.len() < limits::http2::SHARED_CONNECTIONS_MAX {
            connections.push(connection);
        }
    }

    /// Keeps a connection whose last message ended exactly at a border (rule H14); drops it if bytes follow or the pool is full.
    pub fn give_back(&mut self, origin: &Origin, mut upstream: Box<Upstream>, now: Instant) {
        if matches!(upstream.transport, Transport::Shared(_)) {
            return leave(upstream, now);
        }
        if !upstream.transport.input().is_empty() || !is_quiet(&mut upstream.transport) {
            return;
        }
        let idle = match self.by_origin.get_mut(&origin.key) {
            Some(idle) => idle,
            None => self.by_origin.entry(origin.key.clone()).or_default(),
        };
        if idle.len() < limits::UPSTREAM_IDLE_MAX {
            idle.push(Idle { upstream, since: now });
        }
    }

    /// Closes what has been unused for so long.
    pub fn sweep(&mut self, now: Instant, idle_max: Duration) {
        self.by_origin.retain(|_, idle| {
            idle.retain_mut(|entry| {
                now.duration_since(entry.since) < idle_max && is_quiet(&mut entry.upstream.transport)
            });
            !idle.is_empty()
        });
        self.shared.retain(|_, connections| {
            connections.retain(|connection| connection.is_usable() && connection.idle_for(now) < idle_max);
            !connections.is_empty()
        });
    }

    /// Closes all of them.
    pub fn clear(&mut self) {
        self.by_origin.clear();
        self.shared.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_origin.values().map(Vec::len).sum::<usize>() + self.shared.values().map(Vec::len).sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty() && self.shared.is_empty()
    }
}

/// Lets a stream end whose answer is whole: its last frame may still be on its way, and a reset now would look like a change of mind.
fn leave(mut upstream: Box<Upstream>, now: Instant) {
    if is_quiet(&mut upstream.transport) {
        rt::spawn(async move {
            let _ = rt::with_deadline(now + limits::DRAIN_DEADLINE, upstream.transport.fill()).await;
        });
    }
}

impl Upstream {
    fn over(transport: Transport) -> Self {
        let (head, asked_at) = (ResponseHead::default(), Instant::now());
        let (kept, allowances) = (Vec::new(), Allowances::default());
        Self { transport, head, head_bytes: 0, kept, allowances, asked_at, tls: Duration::ZERO, reused: false }
    }
}

/// Whether a read under way brings neither bytes nor an end. Starts the read if there is none.
fn is_quiet(transport: &mut Transport) -> bool {
    transport.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Opens a connection, addresses tried in order with a head start each (RFC 8305 §5), TLS included. Where the provider speaks HTTP/2 it is
/// kept for others to share, unless it is to be had `alone`.
pub async fn connect(core: &Core, origin: &Origin, timeout: Duration, alone: bool) -> io::Result<Box<Upstream>> {
    let deadline = Instant::now() + timeout;
    let connected = rt::with_deadline(deadline, first_to_connect(&origin.addresses)).await;
    let conn = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    core.reports.gauges.upstream_connections.fetch_add(1, Ordering::Relaxed);
    let mut tls_took = Duration::ZERO;
    let transport = match &origin.tls {
        None => Transport::from(conn),
        Some(profile) => {
            let began = Instant::now();
            let deadline = began + limits::TLS_HANDSHAKE_DEADLINE;
            let config = core.tls_config(&profile.config);
            let config = if alone && origin.http != ProviderHttp::One { tls::http1_only(&config) } else { config };
            let mut stream = Stream::client(conn, config, profile.server_name.clone()).map_err(io::Error::other)?;
            let shaken = rt::with_deadline(deadline, stream.handshake()).await;
            shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)?;
            tls_took = began.elapsed();
            Transport::from(stream)
        }
    };
    let transport = match !alone && is_multiplexed(origin, &transport)? {
        true => share(core, origin, transport).await?,
        false => transport,
    };
    Ok(Box::new(Upstream { tls: tls_took, ..Upstream::over(transport) }))
}

/// Whether a new connection speaks HTTP/2.
fn is_multiplexed(origin: &Origin, transport: &Transport) -> io::Result<bool> {
    match (origin.http, transport.alpn()) {
        (ProviderHttp::One, _) => Ok(false),
        (_, Some(tls::HTTP2)) => Ok(true),
        (ProviderHttp::Auto, _) => Ok(false),
        (ProviderHttp::Two, _) if !transport.is_tls() => Ok(true),
        (ProviderHttp::Two, _) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "the provider does not agree to HTTP/2"))
        }
    }
}

/// A stream of a new connection, which is kept for others.
async fn share(core: &Core, origin: &Origin, transport: Transport) -> io::Result<Transport> {
    let deadline = Instant::now() + limits::TLS_HANDSHAKE_DEADLINE;
    let opened = rt::with_deadline(deadline, SharedConnection::open(transport)).await;
    let connection = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let stream = connection.stream().ok_or(io::ErrorKind::ConnectionReset)?;
    core.pools.borrow_mut().keep(origin, connection);
    Ok(Transport::Shared(Box::new(stream)))
}

/// The first connection to stand. The next address joins the race when the one before has failed or had its head start.
async fn first_to_connect(addresses: &[SocketAddr]) -> io::Result<Conn> {
    let Some((first, rest)) = addresses.split_first() else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the provider's name has not been resolved"));
    };
    if rest.is_empty() {
        return Conn::connect(*first).await;
    }
    let mut leader = pin!(Conn::connect(*first));
    let head_start = Instant::now() + limits::HAPPY_EYEBALLS_DELAY;
    match rt::with_deadline(head_start, leader.as_mut()).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(_)) => Box::pin(first_to_connect(rest)).await,
        Err(_) => {
            let mut others = pin!(Box::pin(first_to_connect(rest)));
            match rt::race(leader.as_mut(), others.as_mut()).await {
                rt::Either::Left(Ok(conn)) | rt::Either::Right(Ok(conn)) => Ok(conn),
                rt::Either::Left(Err(_)) => others.await,
                rt::Either::Right(Err(_)) => leader.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::{DriverChoice, block_on, resolve};
    use std::net::TcpListener;

    fn closed() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        listener.local_addr().expect("bound")
    }

    #[test]
    fn the_first_address_where_somebody_listens_wins() {
        let living = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = living.local_addr().expect("bound");
        let driver = resolve(DriverChoice::Auto).expect("a driver");
        let peers = block_on(driver, async {
            let mut peers = Vec::new();
            for addresses in [vec![address], vec![closed(), address], vec![closed(), closed(), address, closed()]] {
                peers.push(first_to_connect(&addresses).await.expect("somebody listens").peer_addr());
            }
            assert!(first_to_connect(&[closed(), closed()]).await.is_err(), "nobody listens");
            assert!(first_to_connect(&[]).await.is_err(), "there is no address");
            peers
        });
        assert_eq!(peers.expect("the driver ran"), [Some(address); 3]);
    }
}
