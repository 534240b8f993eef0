//! The access log: one JSON object a line for each exchange that is over, written by a thread of its own.
//!
//! A line holds names, ids and figures, never a header, a query, a body or an address beyond what the owner wants (rules R1, R4). Whoever
//! reads slowly loses lines, which are counted; an exchange never waits for its line.

mod line;
mod place;

pub(super) use line::cost;

use crate::config::AccessLog as Terms;
use crate::domain::trace::Sampling;
use crate::limits::telemetry::{ACCESS_BATCH_LINES, ACCESS_LINES_WAITING_MAX};
use crate::report::exchange::{ExchangeReport, Finish};
use place::Writer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::Duration;

/// An open log.
pub(super) struct AccessLog {
    terms: Terms,
    sampling: Sampling,
    /// Lines that are not handed over yet.
    batch: Batch,
    batches: SyncSender<Batch>,
    /// Says when the writer has ended.
    ended: Receiver<()>,
    reopen: Arc<AtomicBool>,
    /// Lines that were handed over.
    lines: u64,
    dropped: Arc<AtomicU64>,
}

/// Lines that are written at once.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    lines: u64,
}

impl AccessLog {
    /// Opens the place and starts the writer.
    ///
    /// # Errors
    /// A sentence with a remedy: the file cannot be opened, or there is no thread for it.
    pub(super) fn open(terms: Terms) -> Result<Self, String> {
        let writer = Writer::open(&terms.place)?;
        let (batches, waiting) = sync_channel::<Batch>(ACCESS_LINES_WAITING_MAX / ACCESS_BATCH_LINES);
        let (done, ended) = channel();
        let (reopen, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (wish, lost) = (reopen.clone(), dropped.clone());
        let work = move || {
            write_all(writer, &waiting, &wish, &lost);
            let _ = done.send(());
        };
        let thread = std::thread::Builder::new().name("igris-access-log".to_owned()).spawn(work);
        thread.map_err(|error| format!("the access log has no thread ({error}); raise the limit of processes"))?;
        let sampling = Sampling::of(terms.sample);
        Ok(Self { terms, sampling, batch: Batch::default(), batches, ended, reopen, lines: 0, dropped })
    }

    /// What it was opened with.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Writes an exchange's line, if it has one. The draw is by our own id, so that no client chooses.
    pub(super) fn tell(&mut self, exchange: &ExchangeReport) {
        let is_error = exchange.status >= 500 || !matches!(exchange.finish, Finish::Completed);
        if !(self.sampling.picks(exchange.id.bits()) || self.terms.always_errors && is_error) {
            return;
        }
        line::write(exchange, &self.terms, &mut self.batch.text);
        self.batch.lines += 1;
        if self.batch.lines >= ACCESS_BATCH_LINES as u64 {
            self.hand_over();
        }
    }

    /// Hands over what there is; what finds no room is dropped and counted.
    pub(super) fn hand_over(&mut self) {
        if self.batch.lines == 0 {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let lines = batch.lines;
        match self.batches.try_send(batch) {
            Ok(()) => self.lines += lines,
            Err(_) => drop(self.dropped.fetch_add(lines, Ordering::Relaxed)),
        }
    }

    /// Opens the file again before the next line, because somebody has moved it away.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }

    /// Lines handed over, and lines dropped, since it was opened.
    pub(super) fn figures(&self) -> (u64, u64) {
        (self.lines, self.dropped.load(Ordering::Relaxed))
    }

    /// Hands over what there is and waits for the writer, for so long at most.
    pub(super) fn close(mut self, patience: Duration) {
        self.hand_over();
        let Self { batches, ended, .. } = self;
        drop(batches);
        let _: Result<(), RecvTimeoutError> = ended.recv_timeout(patience);
    }
}

fn write_all(mut writer: Writer, waiting: &Receiver<Batch>, reopen: &AtomicBool, lost: &AtomicU64) {
    while let Ok(batch) = waiting.recv() {
        if reopen.swap(false, Ordering::AcqRel) {
            writer.reopen();
        }
        if writer.write(&batch.text).is_err() {
            lost.fetch_add(batch.lines, Ordering::Relaxed);
        }
    }
}
