//! Connections: waiting may be abandoned without losing a byte, a liveness check works, and every descriptor is closed again.

use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use igris::rt::{self, Conn, Driver, Either, Listener, Stop};

/// Runs a test on both drivers; io_uring only where the kernel lets us.
fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    rt::block_on(Driver::Epoll, test()).expect("epoll");
    if rt::resolve(rt::DriverChoice::IoUring).is_ok() {
        rt::block_on(Driver::IoUring, test()).expect("io_uring");
    } else {
        assert!(std::env::var_os("IGRIS_REQUIRE_IO_URING").is_none(), "io_uring is required here and does not work");
        eprintln!("io_uring does not work here: tested on epoll only");
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn tcp_pair() -> (Conn, Conn) {
    let listener = Listener::bind(loopback(), false).expect("bind");
    let stop = Stop::new();
    let (a, b) = (Conn::connect(listener.local_addr()).await, listener.accept(&stop).await);
    (a.expect("connect"), b.expect("not stopped").expect("accept").0)
}

/// A small generator so that a failure replays; the seed is printed by the assertion messages.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

fn counter_bytes(from: u64, n: usize) -> Vec<u8> {
    (from..from + n as u64).map(|i| (i % 251) as u8).collect()
}

#[test]
fn abandoned_fills_lose_no_byte() {
    const TOTAL: u64 = 1_500_000;
    const SEED: u64 = 7;
    on_both(|| async {
        let (mut reader, mut writer) = tcp_pair().await;
        rt::spawn(async move {
            let mut random = Lcg(SEED);
            let mut sent = 0;
            while sent < TOTAL {
                let n = (1 + random.below(8_000)).min(TOTAL - sent) as usize;
                writer.output().extend(&counter_bytes(sent, n));
                // Writes are abandoned as well: dropped at once, sometimes with more appended meanwhile.
                let soon = rt::now() + Duration::from_micros(random.below(300));
                let _ = rt::with_deadline(soon, writer.flush()).await;
                if random.below(3) == 0 {
                    writer.flush().await.expect("flush");
                }
                sent += n as u64;
                if random.below(4) == 0 {
                    rt::sleep(Duration::from_millis(1)).await;
                }
            }
            writer.shutdown_write().await.expect("shutdown");
        });
        let mut random = Lcg(SEED + 1);
        let (mut seen, mut abandoned) = (0u64, 0u64);
        loop {
            let n = match random.below(3) {
                0 => Some(reader.fill().await.expect("fill")),
                1 => {
                    let soon = rt::now() + Duration::from_micros(random.below(200));
                    rt::with_deadline(soon, reader.fill()).await.ok().map(|n| n.expect("fill"))
                }
                _ => match rt::race(std::future::ready(()), reader.fill()).await {
                    Either::Left(()) => None,
                    Either::Right(n) => Some(n.expect("fill")),
                },
            };
            abandoned += u64::from(n.is_none());
            // Leave some unread now and then: what is read next must come after it.
            let take = if random.below(4) == 0 { reader.input().len() / 2 } else { reader.input().len() };
            let bytes = &reader.input().bytes()[..take];
            assert!(bytes == counter_bytes(seen, take), "bytes differ after {seen}, seed {SEED}");
            reader.input().consume(take);
            seen += take as u64;
            if n == Some(0) {
                seen += reader.input().len() as u64;
                break;
            }
        }
        assert_eq!(seen, TOTAL, "seed {SEED}");
        assert!(abandoned > 10, "the test abandoned only {abandoned} fills");
    });
}

#[test]
fn a_pending_read_tells_the_living_from_the_dead() {
    on_both(|| async {
        let (mut idle, mut peer) = tcp_pair().await;
        let alive = |conn: &mut Conn| conn.poll_fill(&mut Context::from_waker(Waker::noop()));
        assert!(alive(&mut idle).is_pending());
        rt::sleep(Duration::from_millis(5)).await;
        assert!(alive(&mut idle).is_pending() && idle.is_filling());
        // An answer on the armed read is not lost, and wakes whoever waits then.
        peer.output().extend(b"hi");
        peer.flush().await.expect("flush");
        assert_eq!(idle.fill().await.expect("fill"), 2);
        assert_eq!(idle.take_input().bytes(), b"hi");
        assert!(alive(&mut idle).is_pending());
        drop(peer);
        rt::sleep(Duration::from_millis(20)).await;
        assert!(matches!(alive(&mut idle), Poll::Ready(Ok(0))));
        assert!(matches!(alive(&mut idle), Poll::Ready(Ok(0))), "the end of the stream comes again");
    });
}

#[test]
fn output_appended_during_a_flush_follows_in_order() {
    on_both(|| async {
        let (mut reader, mut writer) = Conn::pair().expect("pair");
        const FIRST: usize = 2_000_000;
        writer.output().extend(&counter_bytes(0, FIRST));
        let blocked = rt::with_deadline(rt::now() + Duration::from_millis(10), writer.flush()).await;
        assert!(blocked.is_err() && writer.is_flushing(), "nobody reads, so the socket is full");
        writer.output().extend(&counter_bytes(FIRST as u64, 1000));
        rt::spawn(async move {
            writer.flush().await.expect("flush");
        });
        while reader.fill().await.expect("fill") != 0 {}
        assert!(reader.input().bytes() == counter_bytes(0, FIRST + 1000));
    });
}

#[test]
fn errors_come_again() {
    on_both(|| async {
        let (mut a, b) = tcp_pair().await;
        drop(b);
        rt::sleep(Duration::from_millis(5)).await;
        let mut failed = None;
        for _ in 0..50 {
            a.output().extend(b"into the void");
            if let Err(error) = a.flush().await {
                failed = Some(error.kind());
                break;
            }
            rt::sleep(Duration::from_millis(1)).await;
        }
        let kind = failed.expect("writing to a closed connection fails in the end");
        a.output().extend(b"again");
        assert_eq!(a.flush().await.expect_err("still broken").kind(), kind);
        let refused = Conn::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))).await;
        assert_eq!(refused.err().expect("nobody listens on port 1").kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_unix_socket_can_be_connected_to() {
    on_both(|| async {
        let path =
            std::env::temp_dir().join(format!("igris-rt-{}-{:?}.sock", std::process::id(), rt::current_driver()));
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().expect("accept");
            let mut request = [0; 4];
            stream.read_exact(&mut request).expect("read");
            stream.write_all(b"pong").expect("write");
            request
        });
        let mut conn = Conn::connect_unix(&path).await.expect("connect");
        assert_eq!(conn.peer_addr(), None);
        conn.output().extend(b"ping");
        conn.flush().await.expect("flush");
        while conn.fill().await.expect("fill") != 0 {}
        assert_eq!(conn.input().bytes(), b"pong");
        assert_eq!(&server.join().expect("server"), b"ping");
        std::fs::remove_file(&path).expect("remove");
    });
}
