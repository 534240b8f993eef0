//! Tasks: a panic costs one, a busy one does not starve the rest, deadlines are kept, workers come back.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use igris::rt::{self, Conn, Deadline, Driver, Either, WorkerSpec, Workers};

/// Panics are counted over the whole process, and times are measured: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn drivers() -> Vec<Driver> {
    let mut drivers = vec![Driver::Epoll];
    match rt::resolve(rt::DriverChoice::IoUring) {
        Ok(driver) => drivers.push(driver),
        Err(error) => {
            assert!(std::env::var_os("IGRIS_REQUIRE_IO_URING").is_none(), "io_uring is required here: {error}");
            eprintln!("tested on epoll only: {error}");
        }
    }
    drivers
}

fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for driver in drivers() {
        rt::block_on(driver, test()).expect("runtime");
    }
}

#[test]
fn a_panic_costs_its_task_only() {
    on_both(|| async {
        let panics = rt::panics();
        let alive = Rc::new(Cell::new(0));
        let seen = alive.clone();
        rt::spawn(async move {
            for _ in 0..5 {
                rt::sleep(Duration::from_millis(2)).await;
                seen.set(seen.get() + 1);
            }
        });
        let (mut held, mut peer) = Conn::pair().expect("pair");
        rt::spawn(async move {
            held.fill().await.expect("fill");
            panic!("injected");
        });
        peer.output().extend(b"now");
        peer.flush().await.expect("flush");
        assert_eq!(peer.fill().await.expect("fill"), 0, "the connection of the task was closed");
        rt::sleep(Duration::from_millis(30)).await;
        assert_eq!((rt::panics() - panics, alive.get()), (1, 5));
    });
}

#[test]
fn a_busy_session_does_not_starve_its_siblings() {
    // Everything the busy one asks for is there at once: with epoll it would never wait.
    on_both(|| async {
        let (mut reader, mut writer) = Conn::pair().expect("pair");
        let moved = Rc::new(Cell::new(0usize));
        let counted = moved.clone();
        rt::spawn(async move {
            loop {
                writer.output().extend(&[1; 512]);
                let deadline = rt::coarse_now() + Duration::from_secs(5);
                if !matches!(rt::with_deadline(deadline, writer.flush()).await, Ok(Ok(()))) {
                    return;
                }
                // Takes its own bytes back, so that the next write never has to wait.
                reader.input().clear();
                if !matches!(rt::with_deadline(deadline, reader.fill()).await, Ok(Ok(_))) {
                    return;
                }
                counted.set(counted.get() + 1);
            }
        });
        let ticks = Rc::new(Cell::new(0));
        let seen = ticks.clone();
        rt::every(Duration::from_millis(5), move || {
            seen.set(seen.get() + 1);
            ControlFlow::Continue(())
        });
        let begun = rt::now();
        rt::sleep(Duration::from_millis(200)).await;
        assert!(begun.elapsed() < Duration::from_millis(400), "the timer came after {:?}", begun.elapsed());
        assert!(ticks.get() >= 10, "only {} ticks in 200 ms", ticks.get());
        assert!(moved.get() > 500, "the busy one moved only {} pieces", moved.get());
    });
}

#[test]
fn deadlines_fire_late_by_a_tick_at_most_and_never_early() {
    on_both(|| async {
        let worst = Rc::new(Cell::new(Duration::ZERO));
        let done = Rc::new(Cell::new(0));
        for n in 0..200u64 {
            let (worst, done) = (worst.clone(), done.clone());
            rt::spawn(async move {
                let at = rt::now() + Duration::from_micros(500 + n * 1700);
                let late = rt::with_deadline(at, std::future::pending::<()>()).await;
                assert_eq!(late, Err(rt::Elapsed));
                let now = rt::now();
                assert!(now >= at, "fired early");
                worst.set(worst.get().max(now - at));
                done.set(done.get() + 1);
            });
        }
        rt::sleep(Duration::from_millis(500)).await;
        assert_eq!(done.get(), 200);
        eprintln!("{}: latest by {:?}", rt::current_driver().expect("inside"), worst.get());
        // 4 ms of tick and 2 of timer; the rest is for a busy machine. A lost turn of the wheel would be 256 ms.
        assert!(worst.get() < Duration::from_millis(100), "late by {:?}", worst.get());
    });
}

#[test]
fn a_deadline_moves_and_is_lifted() {
    on_both(|| async {
        let (mut conn, _peer) = Conn::pair().expect("pair");
        let mut deadline = Deadline::new();
        deadline.at(rt::now() + Duration::from_secs(60));
        assert!(rt::with_deadline(rt::now() + Duration::from_millis(5), deadline.run(conn.fill())).await.is_err());
        // Armed far away, then moved near.
        let at = rt::now() + Duration::from_millis(20);
        deadline.at(at);
        assert!(matches!(deadline.run(conn.fill()).await, Err(rt::Elapsed)));
        assert!(rt::now() >= at && at.elapsed() < Duration::from_millis(60));
        // Armed near, then moved away.
        deadline.at(rt::now() + Duration::from_millis(10));
        let _ = rt::race(std::future::ready(()), deadline.run(conn.fill())).await;
        deadline.at(rt::now() + Duration::from_millis(80));
        let begun = rt::now();
        assert!(deadline.run(conn.fill()).await.is_err());
        assert!(begun.elapsed() >= Duration::from_millis(79), "after {:?}", begun.elapsed());
        deadline.clear();
        let waited = rt::race(deadline.run(conn.fill()), rt::sleep(Duration::from_millis(30))).await;
        assert!(matches!(waited, Either::Right(())));
    });
}

#[test]
fn a_race_is_fair_and_drops_the_loser() {
    on_both(|| async {
        assert_eq!(rt::race(std::future::pending::<()>(), async { 5 }).await, Either::Right(5));
        assert_eq!(rt::race(async { 5 }, std::future::pending::<()>()).await, Either::Left(5));
        let begun = rt::now();
        rt::breathe().await;
        assert!(begun.elapsed() >= Duration::from_micros(900));
    });
}

#[test]
fn a_worker_that_panics_comes_back_and_its_connections_are_closed() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for driver in drivers() {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
        let theirs = Mutex::new(Some(theirs));
        let workers = Workers::start(driver, WorkerSpec::one_per_core(1), move |index| {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            let held = theirs.lock().expect("lock").take();
            async move {
                assert_eq!(index.0, 0);
                rt::spawn(async move {
                    let _held = held;
                    std::future::pending::<()>().await;
                });
                rt::sleep(Duration::from_millis(5)).await;
                assert!(run > 1, "injected: the first two runs fail");
            }
        })
        .expect("start");
        use std::io::Read;
        ours.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        assert_eq!((&ours).read(&mut [0; 1]).expect("closed by the panic"), 0);
        while workers.alive() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(workers.restarts(), 2);
        workers.join().expect("the third run ends well");
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }
}

#[test]
fn a_worker_that_always_panics_stays_down() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let workers = Workers::start(Driver::Epoll, WorkerSpec::one_per_core(1), |_| async { panic!("injected: always") });
    let error = workers.expect("start").join().expect_err("it stays down");
    assert!(error.to_string().contains("igris-0 panicked"), "{error}");
}

#[test]
fn a_choice_is_parsed_and_an_unknown_one_comes_with_a_remedy() {
    assert_eq!("io_uring".parse::<rt::DriverChoice>().expect("known"), rt::DriverChoice::IoUring);
    let error = "kqueue".parse::<rt::DriverChoice>().expect_err("unknown").to_string();
    assert!(error.contains("kqueue") && error.contains("use auto, io_uring or epoll"), "{error}");
    assert!(rt::resolve(rt::DriverChoice::Auto).is_ok());
}
