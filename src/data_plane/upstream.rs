//! Connections to providers: per-core pools, liveness, and new connections by happy eyeballs.
//!
//! A pool is last in, first out, keyed by origin and TLS profile. An unused connection keeps a read under way: end of file or stray bytes
//! show up as its completion, so checking liveness costs no system call, and the same read then receives the answer. On epoll, where a read
//! asks the kernel when it begins, it begins with the check. Addresses come from the snapshot, already checked; nothing is resolved here.
//!
//! Where a provider speaks HTTP/2, exchanges share connections: an exchange gets a stream of one that has room, and only the connection is
//! kept afterwards.

use super::attempt::Facts;
use super::per_core::Core;
use crate::domain::map::Map;
use crate::domain::protocol::ProviderHttp;
use crate::http::head::ResponseHead;
use crate::http2::{ClientStream, Settling, SharedConnection};
use crate::limits;
use crate::routing::quota::Allowances;
use crate::rt::{self, Conn, Driver, Latch};
use crate::snapshot::Origin;
use crate::tls::{self, Stream, Transport};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
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
    /// What the head of the latest answer says.
    pub facts: Facts,
    /// When the latest request on it began to leave.
    pub asked_at: Instant,
    /// What the TLS handshake took of connecting; zero without TLS and for a connection that stood already.
    pub tls: Duration,
    /// Whether it stood before its exchange: then, and only then, may a request that died on it be sent once more.
    pub reused: bool,
}

/// Unused connections of one core.
#[derive(Default)]
pub struct Pools {
    by_origin: Vec<Pool>,
    /// Connections that exchanges share, in use or not.
    shared: Map<Arc<str>, Vec<SharedConnection>>,
    /// Those of the kind that are being opened.
    opening: Map<Arc<str>, Rc<Opening>>,
    /// Memories of what answers said of limits, of connections that could not keep theirs; bounded by [`limits::ALLOWANCES_KEPT`].
    said: Vec<Allowances>,
}

/// A connection that exchanges will share, if the provider agrees to that: who comes while it is being opened waits for it.
#[derive(Default)]
struct Opening {
    over: Latch,
    /// Whether the provider speaks HTTP/1.1 on it, so that it is not shared.
    is_alone: Cell<bool>,
}

/// Opens one, until it is dropped.
struct Opener<'c> {
    core: &'c Core,
    key: Arc<str>,
    opening: Rc<Opening>,
}

impl<'c> Opener<'c> {
    /// Nobody waits for a second one: where one is being opened already this is `None`.
    fn begin(core: &'c Core, origin: &Origin) -> Option<Self> {
        let mut pools = core.pools.borrow_mut();
        if pools.opening.contains_key(&origin.key) {
            return None;
        }
        let (key, opening) = (origin.key.clone(), Rc::new(Opening::default()));
        pools.opening.insert(key.clone(), opening.clone());
        Some(Self { core, key, opening })
    }
}

impl Drop for Opener<'_> {
    fn drop(&mut self) {
        self.core.pools.borrow_mut().opening.remove(&self.key);
        self.opening.over.open();
    }
}

/// The unused connections to one origin.
struct Pool {
    key: Arc<str>,
    idle: Vec<Idle>,
    /// How many there are to be while it is in use, and until when it counts as that.
    ready: usize,
    in_use_until: Instant,
    /// How many are being opened ahead of need.
    opening: usize,
    /// Until when nothing is opened ahead of need, after that failed.
    paused_until: Option<Instant>,
}

struct Idle {
    upstream: Box<Upstream>,
    since: Instant,
}

impl Pool {
    fn new(origin: &Origin, now: Instant) -> Self {
        let (key, in_use_until) = (origin.key.clone(), now + limits::READY_FOR);
        Self { key, idle: Vec::new(), ready: origin.ready, in_use_until, opening: 0, paused_until: None }
    }

    /// Whether it is to have connections that nobody has asked for.
    fn is_looked_after(&self, now: Instant) -> bool {
        self.ready > 0 && now < self.in_use_until
    }
}

impl Pools {
    /// The most recently used live connection to an origin, or a stream of one that is shared; `alone`: a whole connection.
    pub fn checkout(&mut self, origin: &Origin, now: Instant, alone: bool) -> Option<Box<Upstream>> {
        if origin.http != ProviderHttp::One
            && !alone
            && let Some(stream) = self.share(origin)
        {
            let mut upstream = Upstream { reused: true, ..Upstream::over(Transport::Shared(Box::new(stream))) };
            upstream.facts.allowances = self.said.pop().unwrap_or_default();
            return Some(Box::new(upstream));
        }
        let pool = self.pool(origin)?;
        let mut upstream = loop {
            let Idle { mut upstream, since } = pool.idle.pop()?;
            if now.duration_since(since) < limits::UPSTREAM_IDLE && is_quiet(&mut upstream.transport) {
                break upstream;
            }
        };
        upstream.reused = true;
        upstream.tls = Duration::ZERO;
        if !upstream.facts.allowances.remembers()
            && let Some(said) = self.said.pop()
        {
            upstream.facts.allowances = said;
        }
        Some(upstream)
    }

    /// The pool of an origin, if it has one. They are few, and all snapshots in which an origin stays share its key, so that hardly ever more
    /// than addresses are compared.
    fn pool(&mut self, origin: &Origin) -> Option<&mut Pool> {
        let place = self.place(origin)?;
        self.by_origin.get_mut(place)
    }

    fn place(&mut self, origin: &Origin) -> Option<usize> {
        let known = self.by_origin.iter().position(|pool| Arc::ptr_eq(&pool.key, &origin.key));
        known.or_else(|| self.find(origin))
    }

    /// Finds the pool by what its key says, and takes over the key that stands for that now.
    #[cold]
    fn find(&mut self, origin: &Origin) -> Option<usize> {
        let place = self.by_origin.iter().position(|pool| pool.key == origin.key)?;
        self.by_origin[place].key = origin.key.clone();
        Some(place)
    }

    fn share(&mut self, origin: &Origin) -> Option<ClientStream> {
        let connections = self.shared.get_mut(&origin.key)?;
        connections.retain(SharedConnection::is_usable);
        connections.iter().find_map(SharedConnection::stream)
    }

    /// A shared connection of which it will soon be known how many exchanges it may have.
    fn settling(&self, origin: &Origin) -> Option<Settling> {
        self.shared.get(&origin.key)?.iter().find_map(SharedConnection::settling)
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
            self.keep_said(std::mem::take(&mut upstream.facts.allowances));
            return leave(upstream, now);
        }
        let is_ring = rt::current_driver() != Some(Driver::Epoll);
        if !upstream.transport.input().is_empty() || is_ring && !is_quiet(&mut upstream.transport) {
            return;
        }
        let pool = self.used(origin, now);
        if pool.idle.len() < limits::UPSTREAM_IDLE_MAX {
            pool.idle.push(Idle { upstream, since: now });
        }
    }

    /// Notes that an origin is in use; its pool.
    fn used(&mut self, origin: &Origin, now: Instant) -> &mut Pool {
        let place = self.place(origin).unwrap_or_else(|| {
            self.by_origin.push(Pool::new(origin, now));
            self.by_origin.len() - 1
        });
        let pool = &mut self.by_origin[place];
        (pool.ready, pool.in_use_until) = (origin.ready, now + limits::READY_FOR);
        pool
    }

    /// A request opened a connection: there was none, and the next one may find one ready.
    pub fn note_use(&mut self, origin: &Origin, now: Instant) {
        if origin.ready > 0 {
            self.used(origin, now);
        }
    }

    /// An origin that is in use and has fewer unused connections than it is to have, counted as one that is being opened from here on.
    pub fn next_short(&mut self, now: Instant) -> Option<Arc<str>> {
        let pool = self.by_origin.iter_mut().find(|pool| {
            let is_paused = pool.paused_until.is_some_and(|until| now < until);
            pool.is_looked_after(now) && pool.idle.len() + pool.opening < pool.ready && !is_paused
        })?;
        pool.opening += 1;
        Some(pool.key.clone())
    }

    /// A connection that was opened ahead of need stands, or could not be opened.
    pub fn opened(&mut self, origin: &Origin, upstream: Option<Box<Upstream>>, now: Instant) {
        let Some(pool) = self.pool(origin) else { return };
        pool.opening = pool.opening.saturating_sub(1);
        match upstream {
            Some(upstream) if pool.idle.len() < limits::UPSTREAM_IDLE_MAX => {
                pool.idle.push(Idle { upstream, since: now })
            }
            Some(_) => {}
            None => pool.paused_until = Some(now + limits::READY_PAUSE),
        }
    }

    /// Nobody is behind this key any more: what there is serves to its end, and nothing is opened.
    pub fn forget(&mut self, key: &Arc<str>) {
        if let Some(pool) = self.by_origin.iter_mut().find(|pool| pool.key == *key) {
            (pool.ready, pool.opening) = (0, 0);
        }
    }

    /// Keeps the memory of what an answer said of limits for another connection, where its own shall hold little or ends. Should it be of
    /// another provider, it is read anew there.
    pub fn keep_said(&mut self, allowances: Allowances) {
        if allowances.remembers() && self.said.len() < limits::ALLOWANCES_KEPT {
            self.said.push(allowances);
        }
    }

    /// Closes what has been unused for so long.
    pub fn sweep(&mut self, now: Instant, idle_max: Duration) {
        self.by_origin.retain_mut(|pool| {
            pool.idle.retain_mut(|entry| {
                now.duration_since(entry.since) < idle_max && is_quiet(&mut entry.upstream.transport)
            });
            !pool.idle.is_empty() || pool.opening > 0 || pool.is_looked_after(now)
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
        self.by_origin.iter().map(|pool| pool.idle.len()).sum::<usize>()
            + self.shared.values().map(Vec::len).sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
        let facts = Facts::default();
        Self { transport, head, head_bytes: 0, facts, asked_at, tls: Duration::ZERO, reused: false }
    }
}

/// Whether a read under way brings neither bytes nor an end. Starts the read if there is none.
fn is_quiet(transport: &mut Transport) -> bool {
    transport.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Opens a connection, addresses tried in order with a head start each (RFC 8305 §5), TLS included. Where the provider speaks HTTP/2 it is
/// kept for others to share, unless it is to be had `alone`.
pub async fn connect(core: &Core, origin: &Origin, timeout: Duration, alone: bool) -> io::Result<Box<Upstream>> {
    let opener = if alone || origin.http == ProviderHttp::One { None } else { Opener::begin(core, origin) };
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
        false => {
            if let Some(opener) = &opener {
                opener.opening.is_alone.set(true);
            }
            transport
        }
    };
    Ok(Box::new(Upstream { tls: tls_took, ..Upstream::over(transport) }))
}

/// A stream of a connection that another exchange is opening, once that is done and the provider has said how many it allows; `None` where
/// nobody is, or nothing came of it.
///
/// A provider that turns out to speak HTTP/1.1 costs those who waited one handshake, each time its connections are all in use.
pub async fn shared_soon(core: &Core, origin: &Origin, timeout: Duration) -> Option<Box<Upstream>> {
    let deadline = rt::coarse_now() + timeout;
    loop {
        let (settling, opening) = {
            let pools = core.pools.borrow();
            (pools.settling(origin), pools.opening.get(&origin.key).cloned())
        };
        match (&settling, &opening) {
            (Some(settling), _) => rt::with_deadline(deadline, settling.over()).await.ok()?,
            (None, Some(opening)) => rt::with_deadline(deadline, opening.over.opened()).await.ok()?,
            (None, None) => return None,
        }
        let stream = core.pools.borrow_mut().checkout(origin, rt::coarse_now(), false);
        // With more who wait than one connection has room for, another one is being opened by now.
        if stream.is_some() || opening.is_some_and(|opening| opening.is_alone.get()) {
            return stream;
        }
    }
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
