//! The threads of the data plane: one per core, named, pinned, restarted when one panics.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::{Driver, RtError, cpu, driver, task};
use crate::limits::{WORKER_RESTART_PAUSE, WORKER_RESTART_WINDOW, WORKER_RESTARTS_MAX};

/// The place of a worker among the workers, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkerIndex(pub usize);

/// One worker thread to be.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    /// Name of the thread, at most 15 bytes are shown by the system.
    pub name: String,
    /// CPU to pin it to; `None` leaves it to the scheduler.
    pub cpu: Option<usize>,
}

impl WorkerSpec {
    /// `count` workers named `igris-0` and so on. Pinned to the allowed CPUs unless there are more workers than CPUs.
    pub fn one_per_core(count: usize) -> Vec<WorkerSpec> {
        let cpus = cpu::allowed_cpus();
        let pinned = count <= cpus.len();
        let spec = |index| WorkerSpec { name: format!("igris-{index}"), cpu: pinned.then(|| cpus[index]) };
        (0..count).map(spec).collect()
    }
}

/// The running workers.
pub struct Workers {
    threads: Vec<JoinHandle<Result<(), RtError>>>,
    restarts: Arc<AtomicU64>,
}

impl Workers {
    /// Starts a thread per spec, each with its own runtime, and runs what `make` makes there. A worker ends when its future does.
    ///
    /// A worker whose future panics loses its tasks (their descriptors are closed) and is started again with a new one, at most
    /// [`WORKER_RESTARTS_MAX`] times within [`WORKER_RESTART_WINDOW`]. Pinning that fails is not an error: it runs unpinned.
    ///
    /// # Errors
    /// [`RtError::Thread`]. Workers that started already go on; give them their stop and exit.
    pub fn start<M, F>(driver: Driver, specs: Vec<WorkerSpec>, make: M) -> Result<Workers, RtError>
    where
        M: Fn(WorkerIndex) -> F + Send + Sync + 'static,
        F: Future<Output = ()>,
    {
        let make = Arc::new(make);
        let restarts = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::with_capacity(specs.len());
        for (index, spec) in specs.into_iter().enumerate() {
            let (make, restarts) = (make.clone(), restarts.clone());
            let builder = thread::Builder::new().name(spec.name.clone());
            let body = move || {
                if let Some(cpu) = spec.cpu {
                    let _unpinned_is_fine = cpu::pin(cpu);
                }
                supervise(driver, &spec.name, &restarts, || make(WorkerIndex(index)))
            };
            threads.push(builder.spawn(body).map_err(RtError::Thread)?);
        }
        Ok(Workers { threads, restarts })
    }

    /// Restarts so far, over all workers.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// How many workers are running.
    pub fn alive(&self) -> usize {
        self.threads.iter().filter(|thread| !thread.is_finished()).count()
    }

    /// Waits until every worker has ended.
    ///
    /// # Errors
    /// The first of the workers that did not start or stayed down.
    pub fn join(self) -> Result<(), RtError> {
        let mut first = Ok(());
        for thread in self.threads {
            let ended =
                thread.join().unwrap_or_else(|_| Err(RtError::WorkerDown { name: "supervisor".into(), panics: 1 }));
            first = first.and(ended);
        }
        first
    }
}

/// Runs a worker again and again until it ends by itself or panics too often.
fn supervise<F>(driver: Driver, name: &str, restarts: &AtomicU64, make: impl Fn() -> F) -> Result<(), RtError>
where
    F: Future<Output = ()>,
{
    let mut panics: VecDeque<Instant> = VecDeque::new();
    loop {
        match catch_unwind(AssertUnwindSafe(|| driver::block_on(driver, async { make().await }))) {
            Ok(ended) => return ended,
            Err(_) => task::count_panic(),
        }
        let now = Instant::now();
        panics.retain(|at| now.duration_since(*at) < WORKER_RESTART_WINDOW);
        panics.push_back(now);
        if panics.len() > WORKER_RESTARTS_MAX {
            return Err(RtError::WorkerDown { name: name.to_owned(), panics: panics.len() });
        }
        restarts.fetch_add(1, Ordering::Relaxed);
        thread::sleep(WORKER_RESTART_PAUSE);
    }
}
