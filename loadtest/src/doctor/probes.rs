//! Measures this machine: timers, loopback, wake-ups, clock. Each returns waits in nanoseconds, or nothing where it could not.

use hdrhistogram::Histogram;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn empty() -> Option<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).ok()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How late a timer of 1 ms wakes a thread, one after the other.
pub(super) fn timer_lateness(time: Duration) -> Option<Histogram<u64>> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).ok()?;
    let mut late = empty()?;
    let wait = Duration::from_millis(1);
    let once = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: 0, tv_nsec: 1_000_000 },
    };
    let start = Instant::now();
    while start.elapsed() < time {
        let set = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once).ok()?;
        let mut expirations = [0; 8];
        rustix::io::read(&timer, &mut expirations).ok()?;
        late.saturating_record(nanos(set.elapsed().saturating_sub(wait)));
    }
    Some(late)
}

/// Round trips of 64 bytes between two threads over loopback.
pub(super) fn loopback_round_trips(time: Duration) -> Option<Histogram<u64>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let mut client = TcpStream::connect(listener.local_addr().ok()?).ok()?;
    let (mut server, _) = listener.accept().ok()?;
    for socket in [&client, &server] {
        socket.set_nodelay(true).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    }
    let echo = thread::spawn(move || {
        let mut bytes = [0; 64];
        while server.read_exact(&mut bytes).is_ok() && server.write_all(&bytes).is_ok() {}
    });
    let measured = ping(&mut client, time);
    drop(client);
    echo.join().ok()?;
    measured
}

fn ping(client: &mut TcpStream, time: Duration) -> Option<Histogram<u64>> {
    let mut trips = empty()?;
    let start = Instant::now();
    let mut bytes = [7; 64];
    while start.elapsed() < time {
        let sent = Instant::now();
        client.write_all(&bytes).ok()?;
        client.read_exact(&mut bytes).ok()?;
        trips.saturating_record(nanos(sent.elapsed()));
        // As requests do: not all at once, so that the core may doze between two.
        thread::sleep(Duration::from_micros(200));
    }
    Some(trips)
}

/// From the moment one thread wakes another to the moment that runs.
pub(super) fn thread_wakes(time: Duration) -> Option<Histogram<u64>> {
    let (wake, woken) = mpsc::channel::<Instant>();
    let sleeper = thread::spawn(move || {
        let mut waits = empty()?;
        for sent in woken {
            waits.saturating_record(nanos(sent.elapsed()));
        }
        Some(waits)
    });
    let start = Instant::now();
    while start.elapsed() < time {
        wake.send(Instant::now()).ok()?;
        thread::sleep(Duration::from_micros(200));
    }
    drop(wake);
    sleeper.join().ok()?
}

/// What one reading of the clock costs, nanoseconds.
pub(super) fn clock_cost() -> f64 {
    const READINGS: u32 = 20_000;
    let start = Instant::now();
    let mut last = start;
    for _ in 0..READINGS {
        last = std::hint::black_box(Instant::now());
    }
    last.duration_since(start).as_nanos() as f64 / f64::from(READINGS)
}
