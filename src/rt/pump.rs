//! The long-lived future that performs the reads or the writes of one connection.
//!
//! A kernel operation must outlive the future of whoever waits for it: dropping a monoio read in flight loses what it read
//! (rule S6). So each direction of a connection has one boxed loop that takes a job from a slot, runs it to its completion and puts
//! the result back. Callers only poll the loop, and may stop doing so at any time. One allocation per direction and connection,
//! none per operation.
//!
//! ```text
//!           start(job)                       completion
//!   idle ---------------> busy (in kernel) -------------> done --poll--> idle
//! ```

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use monoio::io::{AsyncReadRent, AsyncWriteRent};

use super::Buf;

/// What a pump is asked to do.
pub(super) enum Job {
    /// Read into the spare room, or write the unread part.
    Move(Buf),
    /// Say that no more will be written.
    ShutdownWrite,
}

/// Result of a job, and its buffer.
pub(super) type Done = (io::Result<usize>, Buf);

#[derive(Default)]
struct Slot {
    job: Cell<Option<Job>>,
    done: Cell<Option<Done>>,
}

impl Slot {
    async fn job(&self) -> Job {
        // Whoever puts a job in polls the pump next, so there is no one to wake.
        poll_fn(|_| self.job.take().map_or(Poll::Pending, Poll::Ready)).await
    }
}

/// One direction of a connection.
pub(super) struct Pump {
    slot: Rc<Slot>,
    work: Pin<Box<dyn Future<Output = ()>>>,
    busy: bool,
}

impl Pump {
    /// A pump that reads from `half`.
    pub(super) fn reading(mut half: impl AsyncReadRent + 'static) -> Pump {
        let slot = Rc::new(Slot::default());
        let shared = slot.clone();
        let work = Box::pin(async move {
            loop {
                if let Job::Move(buf) = shared.job().await {
                    shared.done.set(Some(half.read(buf).await));
                }
            }
        });
        Pump { slot, work, busy: false }
    }

    /// A pump that writes to `half`.
    pub(super) fn writing(mut half: impl AsyncWriteRent + 'static) -> Pump {
        let slot = Rc::new(Slot::default());
        let shared = slot.clone();
        let work = Box::pin(async move {
            loop {
                let done = match shared.job().await {
                    Job::Move(buf) => half.write(buf).await,
                    Job::ShutdownWrite => (half.shutdown().await.map(|()| 0), Buf::new()),
                };
                shared.done.set(Some(done));
            }
        });
        Pump { slot, work, busy: false }
    }

    /// Whether a job was started and its result not taken yet.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Hands over a job. Only when not busy.
    pub(super) fn start(&mut self, job: Job) {
        assert!(!self.busy, "one job at a time");
        self.busy = true;
        self.slot.job.set(Some(job));
    }

    /// Drives the job. Only when busy.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        debug_assert!(self.busy, "a job was started");
        let _never_ends = self.work.as_mut().poll(cx);
        match self.slot.done.take() {
            Some(done) => {
                self.busy = false;
                Poll::Ready(done)
            }
            None => Poll::Pending,
        }
    }
}
