//! The books from the journal: every close is added once, whatever ends this process, and nothing else fills them.
//!
//! ```text
//!   lane --read a bounded piece--> lines --one transaction--> usage_hours, usage_days, spent_totals
//!     ^                                                       usage_sources("ledger/<lane>") = number of the last record
//!     +-- after a refusal the same piece is offered again; after a restart it goes on behind that number
//! ```
//!
//! Lanes of all runs are read: this process's own, those of processes that are gone, and those of one that still finishes what it has
//! after an upgrade (rule S3). Closing the open attempts of a run whose process is gone is the ledger's part ([`Ledger::recover`]); what it
//! writes is read here like any other record.

pub(super) mod lanes;
pub mod proof;
pub mod repeats;
mod retention;
pub mod scan;
pub(super) mod ship;
mod view;

use super::{Control, ControlError};
use crate::domain::clock::UnixMillis;
use crate::ledger::{LaneName, Ledger, LedgerStatus, Reader, Recovered};
use crate::limits::books::{BEHIND_ALARM, INGEST_READ_SLICE, INGEST_SLICE, RECOVER_TICK};
use crate::store::{Store, StoreError};
use lanes::Lanes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
pub use view::LedgerView;

/// The first part of a lane's name among the sources of usage.
pub(super) const SOURCE_PREFIX: &str = "ledger/";
/// Since when everything in the books is from the journal, milliseconds since the Unix epoch; 0: always.
const MARK_SINCE: &str = "journal.since";
/// From when on the journal is kept, milliseconds since the Unix epoch.
const MARK_KEPT: &str = "journal.kept";

/// What control needs of an open ledger.
pub struct JournalSeat {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// A reader at its beginning.
    pub reader: Reader,
    /// Where its runs lie.
    pub directory: PathBuf,
    /// What its records survive, by the word of the configuration.
    pub durability: &'static str,
    /// What was found of runs that were over.
    pub recovered: Recovered,
}

/// The journal as the control plane has it.
pub(super) struct JournalBooks {
    ledger: Arc<Ledger>,
    pub(super) lanes: Lanes,
    directory: PathBuf,
    durability: &'static str,
    /// When runs of others were last looked for.
    recovered: Instant,
    /// When old segments were last looked for.
    pruned: Option<Instant>,
    /// When the books last had everything that was written.
    complete: Instant,
    /// What is on the disk, at the last look.
    disk: retention::OnDisk,
    /// What was said of it last.
    trouble: Option<String>,
    /// Where this machine is one of several.
    pub(super) shipper: Option<ship::Shipper>,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everything that was written is in the books.
    End,
    /// Its time was up.
    Part,
}

impl Control {
    /// Keeps the books by a journal from here on. Takes everything in that it holds, which the budgets then count too; nobody may be served
    /// before this returns (rule L6).
    ///
    /// # Errors
    /// The store refuses.
    pub fn keep_journal(&mut self, seat: JournalSeat) -> Result<(), ControlError> {
        let JournalSeat { ledger, reader, directory, durability, recovered } = seat;
        // What lanes of other runs say is news to this process's budgets.
        let run = ledger.run().to_owned();
        let now = Instant::now();
        let mut books = JournalBooks {
            ledger,
            lanes: Lanes::new(reader, run),
            directory,
            durability,
            recovered: now,
            pruned: None,
            complete: now,
            disk: retention::OnDisk::default(),
            trouble: None,
            shipper: None,
        };
        self.mark_beginning()?;
        books.lanes.take(&mut self.store, None)?;
        // What others spent is in the books now, and nothing of it in the counters.
        books.lanes.others_spent().clear();
        books.look_at_disk();
        self.journal = Some(books);
        self.allowances.read_anew(&mut self.store)?;
        self.begin_to_ship()?;
        self.note_recovered(&recovered);
        self.note_journal();
        Ok(())
    }

    /// There is no journal: what fills the books cannot be proven by one that comes later.
    ///
    /// # Errors
    /// The store refuses.
    pub fn keep_no_journal(&mut self) -> Result<(), ControlError> {
        if self.shares().is_some() {
            self.note("alarm", ship::NO_JOURNAL);
        }
        Ok(self.store.admin().forget_usage_source(MARK_SINCE)?)
    }

    /// Whether the books are filled by a journal.
    pub fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Everything in the books since a certain hour is from the journal: the mark says which.
    fn mark_beginning(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let mut admin = self.store.admin();
        if admin.usage_sequence(MARK_SINCE)?.is_none() {
            let since = if admin.has_usage()? { now.0 } else { 0 };
            admin.set_usage_mark(MARK_SINCE, since)?;
        }
        Ok(())
    }

    /// Something other than the journal fills the books: what comes later than this hour can be compared again.
    pub(super) fn mark_other_source(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        self.store.admin().set_usage_mark(MARK_SINCE, now.0)
    }

    /// Takes what was written into the books; within its time, which is longer where somebody waits for it.
    pub(super) fn ingest_journal(&mut self, is_awaited: bool) -> Result<(), ControlError> {
        let Some(books) = &mut self.journal else { return Ok(()) };
        let now = Instant::now();
        let end = now + if is_awaited { INGEST_READ_SLICE } else { INGEST_SLICE };
        books.lanes.be_thorough(is_awaited);
        let reach = books.lanes.take(&mut self.store, Some(end))?;
        if reach == Reach::End {
            books.complete = now;
        }
        for spent in books.lanes.others_spent().drain(..) {
            self.alerts.reread();
            self.allowances.spend(&spent.tenant, spent.access_key, spent.cost);
        }
        Ok(())
    }

    /// The journal's part of a tick, after its records were taken in: runs of others, old segments, alarms.
    pub(super) fn tend_journal(&mut self, now: UnixMillis, instant: Instant) {
        let Some(books) = &mut self.journal else { return };
        if instant.saturating_duration_since(books.recovered) >= RECOVER_TICK {
            books.recovered = instant;
            books.look_at_disk();
            match books.ledger.recover() {
                Ok(recovered) => self.note_recovered(&recovered),
                Err(fault) => self.note_trouble_of_journal(Some(fault.to_string())),
            }
        }
        self.prune_journal(now, instant);
        self.tend_shipping(now);
        self.note_journal();
    }

    /// Says what was found of runs that are over. What should not be there is an alarm.
    fn note_recovered(&mut self, recovered: &Recovered) {
        let Recovered { runs, interrupted, torn_bytes, quarantined } = recovered;
        if *runs > 0 {
            self.note(
                "ledger",
                format!("{runs} runs of the journal were left open; {interrupted} attempts are closed as interrupted"),
            );
        }
        if *torn_bytes > 0 {
            self.note(
                "alarm",
                format!("{torn_bytes} bytes of records that were never finished were cut off the journal"),
            );
        }
        for path in quarantined {
            let path = path.display();
            self.note("alarm", format!("segment {path} of the journal is damaged and was put aside; what follows in it is not in the books: igris ledger verify"));
        }
    }

    /// Says once what is wrong with the journal, and once that it no longer is.
    fn note_journal(&mut self) {
        let Some(books) = &mut self.journal else { return };
        for lane in books.lanes.take_short() {
            self.note("alarm", format!("lane {lane} of the journal ends before what the books have of it, as after a loss of power; compare with the provider's bill: igris ledger verify"));
        }
        let Some(books) = &self.journal else { return };
        let is_late = books.complete.elapsed() > BEHIND_ALARM;
        let late =
            || "the books are more than a minute behind the journal; nothing is lost, see `trouble` in GET /status";
        let trouble = books.ledger.status().trouble.or_else(|| books.lanes.fault().map(str::to_owned));
        let trouble = trouble.or_else(|| is_late.then(|| late().to_owned()));
        self.note_trouble_of_journal(trouble);
    }

    fn note_trouble_of_journal(&mut self, trouble: Option<String>) {
        let Some(books) = &mut self.journal else { return };
        if books.trouble == trouble {
            return;
        }
        let before = std::mem::replace(&mut books.trouble, trouble.clone());
        match trouble {
            Some(sentence) => self.note("alarm", sentence),
            None if before.is_some() => self.note("ledger", "the journal is well again"),
            None => {}
        }
    }

    /// Another process had the store meanwhile and may have taken lanes in: goes on where the store says.
    pub(super) fn resume_journal(&mut self) {
        if let Some(books) = &mut self.journal {
            books.lanes.forget();
        }
        self.rest_shipping(false);
    }

    /// Whoever has the store ships the journal, of all processes of this machine.
    pub(super) fn rest_shipping(&mut self, rests: bool) {
        if let Some(shipper) = self.journal.as_ref().and_then(|books| books.shipper.as_ref()) {
            shipper.rest(rests);
        }
    }

    /// How the journal is.
    pub fn ledger_status(&self) -> Value {
        let Some(books) = &self.journal else { return json!({ "durability": "none" }) };
        let LedgerStatus { trouble, records, bytes, syncs, sync_failures, full } = books.ledger.status();
        json!({
            "durability": books.durability,
            "directory": books.directory.display().to_string(),
            "records": records,
            "bytes": bytes,
            "syncs": syncs,
            "sync_failures": sync_failures,
            "full": full,
            "lanes": books.lanes.count(),
            "segments": books.disk.segments,
            "bytes_on_disk": books.disk.bytes,
            "behind_seconds": books.complete.elapsed().as_secs(),
            "keep_seconds": self.config.ledger.keep.map(|keep| keep.as_secs()),
            "trouble": trouble.or_else(|| books.trouble.clone()),
        })
    }

    /// Where the journal lies, and what reads it.
    pub fn ledger_directory(&self) -> Option<PathBuf> {
        self.journal.as_ref().map(|books| books.directory.clone())
    }
}

impl JournalBooks {
    fn look_at_disk(&mut self) {
        self.disk = retention::OnDisk::of(&self.directory);
    }

    /// How far the books are in each lane.
    fn booked(&self, store: &mut Store) -> Result<BTreeMap<LaneName, u64>, StoreError> {
        let known = store.admin().usage_sources(SOURCE_PREFIX)?;
        let lane = |(source, number): (String, u64)| Some((source.strip_prefix(SOURCE_PREFIX)?.to_owned(), number));
        Ok(known.into_iter().filter_map(lane).collect())
    }
}
