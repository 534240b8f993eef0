//! Connections to providers: per-core pools, liveness, and new connections by happy eyeballs.
//!
//! A pool is last in, first out, keyed by origin and TLS profile. An unused connection keeps a read under way: end of file or stray bytes
//! show up as its completion, so checking liveness costs no system call, and the same read then receives the answer. Addresses come from
//! the snapshot, already checked; nothing is resolved here.

use super::per_core::Core;
use crate::http::head::ResponseHead;
use crate::limits;
use crate::rt::{self, Conn};
use crate::snapshot::Origin;
use crate::tls::{Stream, Transport};
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
}

struct Idle {
    upstream: Upstream,
    since: Instant,
}

impl Pools {
    /// The most recently used live connection to an origin.
    pub fn checkout(&mut self, origin: &Origin, now: Instant) -> Option<Upstream> {
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

    /// Keeps a connection whose last message ended exactly at a border (rule H14); drops it if bytes follow or the pool is full.
    pub fn give_back(&mut self, origin: &Origin, mut upstream: Upstream, now: Instant) {
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
    }

    /// Closes all of them.
    pub fn clear(&mut self) {
        self.by_origin.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_origin.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_origin.is_empty()
    }
}

/// Whether a read under way brings neither bytes nor an end. Starts the read if there is none.
fn is_quiet(transport: &mut Transport) -> bool {
    transport.poll_fill(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Opens a connection, addresses tried in order with a head start each (RFC 8305 §5), TLS included.
pub async fn connect(core: &Core, origin: &Origin, timeout: Duration) -> io::Result<Upstream> {
    let deadline = Instant::now() + timeout;
    let connected = rt::with_deadline(deadline, first_to_connect(&origin.addresses)).await;
    let conn = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    core.reports.gauges.upstream_connections.fetch_add(1, Ordering::Relaxed);
    let mut tls = Duration::ZERO;
    let transport = match &origin.tls {
        None => Transport::from(conn),
        Some(profile) => {
            let began = Instant::now();
            let deadline = began + limits::TLS_HANDSHAKE_DEADLINE;
            let mut stream = Stream::client(conn, core.tls_config(&profile.config), profile.server_name.clone())
                .map_err(io::Error::other)?;
            let shaken = rt::with_deadline(deadline, stream.handshake()).await;
            shaken.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)?;
            tls = began.elapsed();
            Transport::from(stream)
        }
    };
    let head = ResponseHead::default();
    Ok(Upstream { transport, head, head_bytes: 0, asked_at: Instant::now(), tls, reused: false })
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
