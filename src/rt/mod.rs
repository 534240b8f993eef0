//! The seam to the runtime: the only place that names monoio and io_uring.
//!
//! One thread per core, nothing shared, futures that are not `Send`. It promises that waiting may be abandoned: fills, flushes,
//! accepts and connects can be dropped (in a [`race`], at a deadline) without losing a byte, a socket or a descriptor. A panic costs
//! one task. A busy task lets its siblings run. It refuses blocking work and host names: addresses only.
//! Decision 002 in `docs/decisions` has the reasons.

mod buf;
mod conn;
mod cpu;
mod deadline;
mod driver;
mod fd;
mod latch;
mod listener;
mod pool;
mod pump;
mod task;
mod wall;
mod wheel;
mod workers;

use std::io;
use std::task::{Context, Poll};

pub use buf::Buf;
pub use conn::Conn;
pub use cpu::{allowed_cpus, pin};
pub use deadline::{Deadline, Elapsed, with_deadline};
pub use driver::{Driver, DriverChoice, RtError, block_on, current as current_driver, resolve};
pub use latch::Latch;
pub use listener::{Listener, Stop};
pub use pool::pooled_bytes;
pub use task::{Either, breathe, coarse_now, every, now, panics, race, sleep, spawn, tasks};
pub use wall::wall;
pub use workers::{WorkerIndex, WorkerSpec, Workers};

/// Bytes both ways, in the shape of [`Conn`]: what a layer such as TLS needs from what it stands on.
pub trait Duplex {
    /// As [`Conn::poll_fill`].
    ///
    /// # Errors
    /// As there.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
    /// As [`Conn::input`].
    fn input(&mut self) -> &mut Buf;
    /// As [`Conn::output`].
    fn output(&mut self) -> &mut Buf;
    /// Input and output at once.
    fn buffers(&mut self) -> (&mut Buf, &mut Buf);
    /// As [`Conn::poll_flush`].
    ///
    /// # Errors
    /// As there.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
