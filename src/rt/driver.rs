//! Which kernel interface drives a core, and the runtime of a worker thread.
//!
//! `auto` takes io_uring when a ring of the kind we use can be built and really moves bytes here (containers often forbid it), else
//! epoll. Both are first class: every test of this folder runs on both.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, Runtime, RuntimeBuilder};

use super::{Conn, deadline, task, with_deadline};
use crate::limits::RING_ENTRIES;

/// How long the probe waits for its few bytes.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
/// Rounds of the driver that cancelled operations and closes get at the end of a runtime: one to submit the cancellations, one to
/// reap them and submit the closes, and one to spare.
const ENDING_ROUNDS: usize = 3;

thread_local! {
    static CURRENT: Cell<Option<Driver>> = const { Cell::new(None) };
}

/// What was asked for: `--io auto|io_uring|epoll`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// io_uring if it works here, else epoll.
    #[default]
    Auto,
    /// io_uring or fail.
    IoUring,
    /// epoll.
    Epoll,
}

impl FromStr for DriverChoice {
    type Err = RtError;

    fn from_str(text: &str) -> Result<DriverChoice, RtError> {
        match text {
            "auto" => Ok(DriverChoice::Auto),
            "io_uring" => Ok(DriverChoice::IoUring),
            "epoll" => Ok(DriverChoice::Epoll),
            _ => Err(RtError::UnknownDriver(text.chars().take(32).collect())),
        }
    }
}

/// What a core runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A ring per core (Linux 6.0 or later).
    IoUring,
    /// Readiness, edge-triggered.
    Epoll,
}

impl std::fmt::Display for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        })
    }
}

/// Why there is no runtime. The operator's to mend; trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum RtError {
    /// A word that names no driver.
    #[error("`{0}` is no I/O driver; use auto, io_uring or epoll")]
    UnknownDriver(String),
    /// io_uring was asked for and does not work here.
    #[error(
        "io_uring does not work here ({0}); it needs Linux 6.0, sysctl kernel.io_uring_disabled=0 and a seccomp profile that allows \
         io_uring_setup: change that, or use `--io epoll`"
    )]
    NoIoUring(#[source] io::Error),
    /// The driver could not be built.
    #[error(
        "the {0} runtime did not start ({1}); raise the limit on open files (ulimit -n) and on locked memory (ulimit -l)"
    )]
    Build(Driver, #[source] io::Error),
    /// A thread could not be started.
    #[error("a worker thread did not start ({0}); raise the limit on processes (ulimit -u) or lower `workers`")]
    Thread(#[source] io::Error),
    /// A worker panicked too often.
    #[error(
        "worker {name} panicked {panics} times in a short while and stays down; see the panic messages above and restart igris"
    )]
    WorkerDown {
        /// Name of the thread.
        name: String,
        /// Panics within the window.
        panics: usize,
    },
}

/// Decides what to run on, by trying it.
///
/// # Errors
/// [`RtError::NoIoUring`] when io_uring was asked for and does not work.
pub fn resolve(choice: DriverChoice) -> Result<Driver, RtError> {
    match choice {
        DriverChoice::Epoll => Ok(Driver::Epoll),
        DriverChoice::IoUring => probe().map(|()| Driver::IoUring).map_err(RtError::NoIoUring),
        DriverChoice::Auto => Ok(probe().map_or(Driver::Epoll, |()| Driver::IoUring)),
    }
}

/// Builds a ring like a worker's on a thread of its own and moves four bytes through it.
fn probe() -> io::Result<()> {
    let moved = || -> io::Result<()> {
        let probe = async {
            let (mut a, mut b) = Conn::pair()?;
            a.output().extend(b"ping");
            a.flush().await?;
            b.fill().await?;
            match b.input().bytes() {
                b"ping" => Ok(()),
                _ => Err(io::Error::other("bytes changed on the way")),
            }
        };
        let timed = async { with_deadline(task::now() + PROBE_DEADLINE, probe).await };
        match block_on(Driver::IoUring, timed) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(io::ErrorKind::TimedOut.into()),
            Err(RtError::Build(_, error)) => Err(error),
            Err(other) => Err(io::Error::other(other)),
        }
    };
    let thread = std::thread::Builder::new().name("io-probe".into()).spawn(moved)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the probe panicked")))
}

/// The driver of the runtime this thread is in.
pub fn current() -> Option<Driver> {
    CURRENT.get()
}

/// Runs a worker runtime on this thread until `future` ends; then drops every task of the core, and waits until their operations
/// are cancelled and their descriptors closed.
///
/// # Errors
/// [`RtError::Build`].
///
/// # Panics
/// With the panic of `future`, after the same clean-up; and inside of another runtime.
pub fn block_on<F: Future>(driver: Driver, future: F) -> Result<F::Output, RtError> {
    match driver {
        Driver::IoUring => {
            let mut ring = io_uring::IoUring::builder();
            ring.setup_coop_taskrun().setup_single_issuer().setup_cqsize(4 * RING_ENTRIES);
            let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).with_entries(RING_ENTRIES);
            let runtime = builder.enable_timer().build().map_err(|error| RtError::Build(driver, error))?;
            Ok(run(runtime, driver, future))
        }
        Driver::Epoll => {
            let builder = RuntimeBuilder::<LegacyDriver>::new();
            let runtime = builder.enable_timer().build().map_err(|error| RtError::Build(driver, error))?;
            Ok(run(runtime, driver, future))
        }
    }
}

fn run<D, F>(mut runtime: Runtime<TimeDriver<D>>, driver: Driver, future: F) -> F::Output
where
    D: monoio::Driver + 'static,
    F: Future,
{
    CURRENT.set(Some(driver));
    let out = runtime.block_on(async {
        deadline::start();
        let out = caught(future).await;
        for _ in 0..ENDING_ROUNDS {
            task::end_all();
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
        deadline::stop();
        out
    });
    drop(runtime);
    CURRENT.set(None);
    out.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Polls the main future like a task, and gives its panic out as a value.
async fn caught<F: Future>(future: F) -> std::thread::Result<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        task::begin_turn();
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(out)) => Poll::Ready(Ok(out)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}
