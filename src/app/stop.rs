//! Serving until told otherwise, and the end in order: no new connections, exchanges in flight finish, what is left is cut, the last
//! reports are stored (rule S1).

use super::Running;
use super::inbox::Wake;
use crate::control_plane::lock;
use crate::data_plane::per_core::Phase;
use crate::domain::clock::UnixMillis;
use crate::limits;
use crate::report::CoreGauges;
use crate::telemetry;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

impl Running {
    /// Serves until told to stop, or until another process serves; then ends in order.
    pub fn wait(mut self) -> anyhow::Result<()> {
        self.inbox.hear_signals()?;
        self.service.ready(&self.serving_at());
        loop {
            self.service.tend(self.workers.alive() == self.reports.len());
            let patience = if self.recover() { self.service.patience() } else { limits::HANDOVER_PATIENCE_MIN };
            match self.inbox.next(patience) {
                Some(Wake::Reload) => self.reload(),
                Some(Wake::Upgrade(ask, reply)) => {
                    let outcome = self.upgrade(&ask);
                    let serves = outcome.is_ok();
                    if let Some(reply) = reply {
                        // Whoever asked may have gone; the event says it, too.
                        let _ = reply.send(outcome);
                    }
                    if serves {
                        break;
                    }
                }
                Some(Wake::Stop | Wake::Drain) => {
                    self.phase.advance(Phase::Draining);
                    break;
                }
                None => {}
            }
        }
        self.drain()
    }

    /// Whether this process has its store; after an upgrade that failed it tries until it has.
    fn recover(&self) -> bool {
        lock(&self.control).reclaim().is_ok()
    }

    pub(super) fn serving_at(&self) -> String {
        let addresses: Vec<String> =
            self.addresses.iter().map(|address| format!("{}://{address}", self.scheme)).collect();
        format!("serving at {}", addresses.join(", "))
    }

    fn reload(&self) {
        self.service.reloading();
        let outcome = {
            let mut control = lock(&self.control);
            control.reopen_access_log();
            control.reload("signal", None)
        };
        // What came of it is among the events; every problem of a refused file is said here.
        if let Err(error) = outcome {
            let at = UnixMillis::now().to_rfc3339();
            error.lines().iter().for_each(|line| telemetry::log(self.log, &at, "config", line));
        }
        self.service.ready(&self.serving_at());
    }

    /// Lets exchanges finish, cuts what is left, stores or passes on the last reports.
    fn drain(mut self) -> anyhow::Result<()> {
        self.service.stopping("finishing what is in flight");
        self.listening.close();
        let (began, mut passed) = (Instant::now(), Instant::now());
        while self.workers.alive() > 0 {
            self.hurry(began);
            if passed.elapsed() >= limits::INGEST_TICK {
                self.books.turn();
                passed = Instant::now();
            }
            thread::sleep(limits::WORKER_TICK);
        }
        let ended = self.workers.join();
        // What comes after this would not be written any more; nothing does.
        let finished = self.ledger.as_ref().map_or(Ok(()), |ledger| ledger.finish());
        // Those before us book through us; they began to drain before we did.
        while self.parted && began.elapsed() < limits::SHUTDOWN_STREAM_GRACE + self.drain_timeout {
            if self.before.iter().all(thread::JoinHandle::is_finished) {
                break;
            }
            thread::sleep(limits::WORKER_TICK);
        }
        if !self.parted {
            // Where the store cannot be had, the last line says what that costs.
            let _ = lock(&self.control).reclaim();
        }
        let settled = self.books.settle();
        self.office.close();
        lock(&self.control).ingest()?;
        ended?;
        finished?;
        anyhow::ensure!(settled, "the last usage could not be booked, because the process that has the store is gone");
        Ok(())
    }

    /// Moves the phase on when its time is up, or at another word to stop.
    fn hurry(&mut self, began: Instant) {
        let streams: u64 = self.sum(|gauges| gauges.streams.load(Ordering::Relaxed));
        let patience =
            if streams > 0 { limits::SHUTDOWN_STREAM_GRACE.max(self.drain_timeout) } else { self.drain_timeout };
        let mut told = false;
        while let Some(wake) = self.inbox.next(Duration::ZERO) {
            // An upgrade that is asked for now is answered by the end of its sender.
            told |= matches!(wake, Wake::Stop);
        }
        if began.elapsed() > patience {
            self.phase.advance(Phase::Cutting);
        }
        match self.phase.phase() {
            Phase::Leaving if told || began.elapsed() > limits::HANDOVER_IDLE_GRACE => {
                self.phase.advance(Phase::Draining);
            }
            Phase::Draining if told => self.phase.advance(Phase::Cutting),
            _ => {}
        }
    }

    fn sum(&self, gauge: impl Fn(&CoreGauges) -> u64) -> u64 {
        self.reports.iter().map(|core| gauge(&core.gauges)).sum()
    }
}

/// Waits until every core has accepted the word and runs; false if one does not.
pub(super) fn all_accept(running: &Running) -> bool {
    let end = Instant::now() + limits::HANDOVER_TAKE_DEADLINE;
    let word = running.phase.hold_word();
    loop {
        if running.reports.iter().all(|core| core.gauges.hold_seen.is(word)) {
            return true;
        }
        if running.workers.alive() < running.reports.len() || Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
