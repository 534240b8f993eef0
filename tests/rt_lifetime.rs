//! Descriptors: none is left behind, however a connection, a connect or an accept ends. One test at a time, since they count.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;

use igris::rt::{self, Conn, Driver, Listener, Stop};

/// Descriptors are counted over the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
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

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("proc").count()
}

fn poll_once(conn: &mut Conn) {
    let _ = conn.poll_fill(&mut Context::from_waker(Waker::noop()));
}

/// Waits for the count to come down, for cancellations take a few turns of the core.
async fn settles_at(count: usize) {
    for _ in 0..200 {
        if descriptors() == count {
            return;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} descriptors are open, {count} were before", descriptors());
}

#[test]
fn ten_thousand_connections_leave_no_descriptor() {
    on_both(|| async {
        let listener = Listener::bind(loopback(), true).expect("bind");
        let (stop, before) = (Stop::new(), descriptors());
        for round in 0..10_000 {
            let mut client = Conn::connect(listener.local_addr()).await.expect("connect");
            let (mut server, _) = listener.accept(&stop).await.expect("not stopped").expect("accept");
            match round % 4 {
                // Dropped unused; with a pending read; with one pending on both sides; with a write in between.
                0 => {}
                1 => poll_once(&mut server),
                2 => {
                    poll_once(&mut client);
                    poll_once(&mut server);
                }
                _ => {
                    client.output().extend(b"x");
                    client.flush().await.expect("flush");
                    server.fill().await.expect("fill");
                    poll_once(&mut server);
                }
            }
        }
        settles_at(before).await;
    });
}

#[test]
fn an_abandoned_connect_leaves_no_descriptor() {
    on_both(|| async {
        let full = std::net::TcpListener::bind(loopback()).expect("bind");
        let addr = full.local_addr().expect("addr");
        let before = descriptors();
        for _ in 0..200 {
            let _ = rt::race(std::future::ready(()), Conn::connect(addr)).await;
        }
        settles_at(before).await;
        // One that hangs: an address nobody answers for, given up at a deadline.
        let nowhere = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 1), 9));
        let _ = rt::with_deadline(rt::now() + Duration::from_millis(20), Conn::connect(nowhere)).await;
        settles_at(before).await;
    });
}

#[test]
fn the_end_of_a_runtime_closes_what_its_tasks_held() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut drivers = vec![Driver::Epoll];
    drivers.extend(rt::resolve(rt::DriverChoice::IoUring).ok());
    let before = descriptors();
    for driver in drivers {
        let ended = rt::block_on(driver, async {
            for _ in 0..50 {
                let (mut a, mut b) = Conn::pair().expect("pair");
                rt::spawn(async move { drop(a.fill().await) });
                rt::spawn(async move { drop(b.fill().await) });
            }
            let listener = Listener::bind(loopback(), false).expect("bind");
            rt::spawn(async move { drop(listener.accept(&Stop::new()).await) });
            rt::sleep(Duration::from_millis(5)).await;
            assert!(rt::tasks() > 100);
            7
        });
        assert_eq!(ended.expect("runtime"), 7);
        assert_eq!(descriptors(), before, "{driver}: descriptors are left");
    }
}

#[test]
fn a_stop_ends_a_waiting_accept_and_nothing_is_lost() {
    on_both(|| async {
        let before = descriptors();
        let listener = Rc::new(Listener::bind(loopback(), false).expect("bind"));
        let stop = Stop::new();
        // An accept that was given up and taken up again brings the connection.
        let early = rt::with_deadline(rt::now() + Duration::from_millis(10), listener.accept(&stop)).await;
        assert!(early.is_err(), "nobody connects yet");
        let client = Conn::connect(listener.local_addr()).await.expect("connect");
        let (server, peer) = listener.accept(&stop).await.expect("not stopped").expect("accept");
        assert_eq!(Some(peer), server.peer_addr());
        drop((client, server));
        let stopping = stop.clone();
        rt::spawn(async move {
            rt::sleep(Duration::from_millis(20)).await;
            stopping.stop();
        });
        let waited = rt::now();
        assert!(listener.accept(&stop).await.is_none());
        assert!(waited.elapsed() >= Duration::from_millis(19));
        assert!(listener.accept(&stop).await.is_none(), "stopped for good");
        drop(listener);
        settles_at(before).await;
    });
}

#[test]
fn a_listener_of_the_standard_library_and_a_shared_port_accept() {
    on_both(|| async {
        let stop = Stop::new();
        let handed = Listener::from_std(std::net::TcpListener::bind(loopback()).expect("bind")).expect("take over");
        let _client = Conn::connect(handed.local_addr()).await.expect("connect");
        assert!(handed.accept(&stop).await.expect("not stopped").is_ok());
        let first = Listener::bind(loopback(), true).expect("bind");
        let second = Listener::bind(first.local_addr(), true).expect("the port is shared");
        assert_eq!(first.local_addr(), second.local_addr());
        assert!(Listener::bind(first.local_addr(), false).is_err(), "without reuse the port is taken");
    });
}
