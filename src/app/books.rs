//! Who keeps the books when there is more than one process: this one, or the one it handed over to.
//!
//! What this process still counts after it handed over, and what those before it still count, goes to whoever has the store, in numbered
//! batches: a batch that was booked and not acknowledged is offered again under its number and booked once.
//!
//! With a journal nothing is passed on: each process writes a run of its own, and whoever has the store reads them all.
//!
//! ```text
//! Ours --hand_over--> Theirs --the other process is gone--> Lost --the store is free--> Ours
//! ```

use super::{ServeOptions, Shared};
use crate::config;
use crate::control_plane::{Control, JournalSeat, PassedOn, lock};
use crate::domain::clock::UnixMillis;
use crate::handover::{Batch, Channel, HandoverFault, Message};
use crate::ledger::{self, Ledger, LedgerPlan};
use crate::limits;
use crate::telemetry::{self, LogFormat};
use anyhow::Context;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Opens the journal, unless the owner wants none. Runs that are over are replayed, and everything is in the books, before anybody is
/// served (rule L6).
pub(super) fn open_ledger(
    options: &ServeOptions,
    wanted: &config::Ledger,
    cores: usize,
    control: &mut Control,
) -> anyhow::Result<Option<Arc<Ledger>>> {
    let durability = match wanted.durability {
        config::Durability::Process => ledger::Durability::Process,
        config::Durability::Power => ledger::Durability::Power,
        config::Durability::None => {
            control.keep_no_journal()?;
            return Ok(None);
        }
    };
    let directory = wanted.directory.clone().unwrap_or_else(|| options.data_dir.join("ledger"));
    let key = control.ledger_key()?;
    let reader = ledger::Reader::new(&directory, Some(key.clone()));
    let mut plan = LedgerPlan::new(directory.clone(), key, durability, cores);
    plan.degraded = options.ledger_degraded;
    if let Some(disk) = &options.ledger_disk {
        plan.disk = disk.clone();
    }
    let (ledger, recovered) = Ledger::open(plan).context("the ledger journal cannot be opened")?;
    let durability = wanted.durability.name();
    control.keep_journal(JournalSeat { ledger: ledger.clone(), reader, directory, durability, recovered })?;
    Ok(Some(ledger))
}

/// The books as the threads of one process share them.
pub(super) struct Books {
    control: Shared,
    keeper: Mutex<Keeper>,
    log: LogFormat,
}

enum Keeper {
    /// This process, unless the store is on its way.
    Ours,
    /// The process at the other end.
    Theirs(Channel),
    /// The process that had them is gone.
    Lost,
}

impl Books {
    pub(super) fn new(control: Shared, log: LogFormat) -> Arc<Self> {
        Arc::new(Self { control, keeper: Mutex::new(Keeper::Ours), log })
    }

    /// Another process keeps them from here on.
    pub(super) fn hand_over(&self, channel: Channel) {
        *self.keeper() = Keeper::Theirs(channel);
    }

    /// Passes on what this process has counted; without a hand-over there is nothing to pass.
    pub(super) fn turn(&self) {
        loop {
            let batch = lock(&self.control).next_batch();
            match batch {
                Some(batch) if self.book(&batch) => lock(&self.control).batch_booked(),
                _ => return,
            }
        }
    }

    /// Passes on the last of it. Answers whether everything is in the books.
    pub(super) fn settle(&self) -> bool {
        let end = Instant::now() + limits::HANDOVER_ANSWER_DEADLINE + limits::HANDOVER_STORE_DEADLINE;
        loop {
            self.turn();
            // A store that was taken back is filled by the control plane itself.
            if lock(&self.control).next_batch().is_none() {
                break;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(limits::HANDOVER_SLICE);
        }
        let source = lock(&self.control).passes_on_as();
        if let Keeper::Theirs(channel) = &mut *self.keeper() {
            // At worst its name stays in the store.
            let _ = channel.send(&Message::Done { source });
        }
        true
    }

    /// Has a batch booked by whoever can; false if nobody can now.
    fn book(&self, batch: &PassedOn) -> bool {
        let mut keeper = self.keeper();
        if let Keeper::Lost = &*keeper {
            match lock(&self.control).reclaim() {
                Ok(()) => *keeper = Keeper::Ours,
                Err(_) => return false,
            }
        }
        match &mut *keeper {
            Keeper::Ours => {
                let mut control = lock(&self.control);
                !control.rests() && control.book(batch).is_ok()
            }
            Keeper::Theirs(channel) => {
                let PassedOn { source, number, lines } = batch.clone();
                match channel.book(Batch { source, number, lines }) {
                    Ok(()) => true,
                    Err(HandoverFault::Late) => false,
                    Err(fault) => {
                        let at = UnixMillis::now().to_rfc3339();
                        let text = format!("the process that has the books is gone ({fault}); taking the store back");
                        telemetry::log(self.log, &at, "upgrade", &text);
                        *keeper = Keeper::Lost;
                        false
                    }
                }
            }
            Keeper::Lost => false,
        }
    }

    /// There will be no more of this source.
    fn forget(&self, source: String) {
        match &mut *self.keeper() {
            Keeper::Ours => drop(lock(&self.control).forget_source(&source)),
            Keeper::Theirs(channel) => drop(channel.send(&Message::Done { source })),
            Keeper::Lost => {}
        }
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Books what the process before this one still counts, on a thread of its own, until that process has ended.
pub(super) fn attend(mut channel: Channel, books: Arc<Books>) -> std::io::Result<JoinHandle<()>> {
    let attending = move || {
        loop {
            match channel.listen(&mut || None) {
                Ok(Message::Batch(Batch { source, number, lines })) => {
                    let batch = PassedOn { source, number, lines };
                    // Between two processes nobody has the store for a moment.
                    while !books.book(&batch) {
                        thread::sleep(Duration::from_millis(50));
                    }
                    let PassedOn { source, number, .. } = batch;
                    if channel.send(&Message::Booked { source, number }).is_err() {
                        return;
                    }
                }
                Ok(Message::Done { source }) => books.forget(source),
                _ => return,
            }
        }
    };
    thread::Builder::new().name("igris-before".to_owned()).spawn(attending)
}
