//! Reads the lanes and adds what they say: piece by piece, each in one transaction with how far it goes.

use super::repeats::Repeats;
use super::{Reach, SOURCE_PREFIX};
use crate::control_plane::ingest::{Sums, count};
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::money::Money;
use crate::ledger::{Entry, LaneName, LedgerFault, Reader};
use crate::limits::INGEST_TICK;
use crate::limits::books::{BATCH_RECORDS, LANE_QUIET_MAX};
use crate::report::AttemptReport;
use crate::store::{Ingested, Store, StoreError, UsageRow};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// All lanes, and how far the books are in each.
pub(in crate::control_plane) struct Lanes {
    reader: Reader,
    /// The run of this process.
    run: String,
    lanes: BTreeMap<LaneName, Lane>,
    /// What the store did not take; nothing is read before it does.
    refused: Option<Batch>,
    /// Costs of other processes' attempts that came into the books.
    others_spent: Vec<Spent>,
    /// Whether also lanes are looked at in which nothing has happened for a while.
    is_thorough: bool,
    /// What is wrong with a lane; the others go on.
    faults: BTreeMap<LaneName, String>,
}

/// How far a lane is.
struct Lane {
    /// The last record that is in the books, or in `refused`, or means nothing to them.
    booked: u64,
    /// The last record that was read.
    at: u64,
    repeats: Repeats,
    /// Whether what lies before `booked` was read as far as repeats need it.
    is_primed: bool,
    /// Whether it ends before what the books have of it: a machine that went down takes along what was not synced.
    is_short: bool,
    /// Not looked at before.
    due: Instant,
    quiet: Duration,
}

/// Lines, and the last record of each lane they come from.
#[derive(Default)]
struct Batch {
    sums: Sums,
    /// By the name of the source.
    ends: BTreeMap<String, u64>,
    spent: Vec<Spent>,
    records: usize,
}

/// What an attempt of another process cost.
pub(super) struct Spent {
    pub(super) tenant: TenantId,
    pub(super) access_key: AccessKeyId,
    pub(super) cost: Money,
}

// === impl Lanes ===

impl Lanes {
    pub(super) fn new(reader: Reader, run: String) -> Self {
        Self {
            reader,
            run,
            lanes: BTreeMap::new(),
            refused: None,
            others_spent: Vec::new(),
            is_thorough: true,
            faults: BTreeMap::new(),
        }
    }

    /// How many lanes are known.
    pub(super) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// What is wrong with the first lane that cannot be read.
    pub(super) fn fault(&self) -> Option<&str> {
        self.faults.values().next().map(String::as_str)
    }

    /// What came into the books of other processes, to be taken out.
    pub(super) fn others_spent(&mut self) -> &mut Vec<Spent> {
        &mut self.others_spent
    }

    /// Whether to look at every lane, since somebody waits for what is in it.
    pub(super) fn be_thorough(&mut self, is_thorough: bool) {
        self.is_thorough = is_thorough;
    }

    /// Somebody else may have moved on in the store: everything is looked up again.
    pub(super) fn forget(&mut self) {
        self.lanes.clear();
        self.refused = None;
        self.is_thorough = true;
    }

    /// How far the books are in every lane that there is.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(super) fn present(&self) -> Result<Vec<LaneName>, LedgerFault> {
        self.reader.lanes()
    }

    /// The lanes that end before what the books have of them, each told once.
    pub(super) fn take_short(&mut self) -> Vec<LaneName> {
        let told = |(name, lane): (&LaneName, &mut Lane)| std::mem::take(&mut lane.is_short).then(|| name.clone());
        self.lanes.iter_mut().filter_map(told).collect()
    }

    /// Forgets lanes that are gone.
    pub(super) fn drop_lanes(&mut self, gone: &[LaneName]) {
        for lane in gone {
            self.lanes.remove(lane);
            self.faults.remove(lane);
        }
    }

    /// Adds what was written to the books until there is no more, or until `end`.
    ///
    /// # Errors
    /// The store refuses; nothing is lost, and the next call offers the same.
    pub(in crate::control_plane) fn take(
        &mut self,
        store: &mut Store,
        end: Option<Instant>,
    ) -> Result<Reach, StoreError> {
        if let Some(batch) = self.refused.take() {
            self.add(store, batch)?;
        }
        let names = match self.reader.lanes() {
            Ok(names) => names,
            Err(fault) => {
                self.faults.insert(String::new(), fault.to_string());
                return Ok(Reach::Part);
            }
        };
        self.faults.remove("");
        loop {
            let batch = self.read(store, &names)?;
            let is_last = batch.records < BATCH_RECORDS;
            if !batch.sums.is_empty() {
                self.add(store, batch)?;
            }
            if is_last {
                self.is_thorough = false;
                return Ok(if self.faults.is_empty() { Reach::End } else { Reach::Part });
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(Reach::Part);
            }
        }
    }

    /// The next piece, over all lanes that are due.
    fn read(&mut self, store: &mut Store, names: &[LaneName]) -> Result<Batch, StoreError> {
        let (mut batch, now) = (Batch::default(), Instant::now());
        for name in names {
            let room = BATCH_RECORDS.saturating_sub(batch.records);
            if room == 0 {
                break;
            }
            let source = format!("{SOURCE_PREFIX}{name}");
            if !self.lanes.contains_key(name) {
                let booked = store.admin().usage_sequence(&source)?.unwrap_or(0);
                self.lanes.insert(name.clone(), Lane::behind(booked, now));
            }
            let Some(lane) = self.lanes.get_mut(name) else { continue };
            if lane.due > now && !self.is_thorough {
                continue;
            }
            let is_own = name.split('/').next() == Some(&*self.run);
            match lane.read(&mut self.reader, name, room, |report| batch.count(&source, report, is_own)) {
                Ok(records) => {
                    self.faults.remove(name);
                    batch.records = batch.records.saturating_add(records);
                }
                Err(fault) => drop(self.faults.insert(name.clone(), fault.to_string())),
            }
            if let Some(end) = batch.ends.get_mut(&source) {
                *end = lane.at;
                lane.booked = lane.at;
            }
        }
        Ok(batch)
    }

    fn add(&mut self, store: &mut Store, mut batch: Batch) -> Result<(), StoreError> {
        let ends: Vec<(&str, u64)> = batch.ends.iter().map(|(source, end)| (source.as_str(), *end)).collect();
        let rows: Vec<UsageRow> = batch.sums.values().cloned().collect();
        match store.admin().add_usage_of(&ends, &rows) {
            Ok(Ingested::Added) => {
                self.others_spent.append(&mut batch.spent);
                Ok(())
            }
            // It was committed although the answer said otherwise, or somebody else was here: the store knows how far.
            Ok(Ingested::Known) => {
                self.others_spent.append(&mut batch.spent);
                self.forget();
                Ok(())
            }
            Err(error) => {
                self.refused = Some(batch);
                Err(error)
            }
        }
    }
}

// === impl Lane ===

impl Lane {
    /// A lane whose records up to `booked` are in the books. It is read from far enough before, so that a repeat is known as one.
    fn behind(booked: u64, now: Instant) -> Self {
        let at = Repeats::begin_of(booked);
        Self {
            booked,
            at,
            repeats: Repeats::default(),
            is_primed: booked == 0,
            is_short: false,
            due: now,
            quiet: Duration::ZERO,
        }
    }

    /// Whether there is anything to read; most lanes are of processes that are gone, and need not be read again from far before.
    fn has_more(&mut self, reader: &mut Reader, name: &str) -> Result<bool, LedgerFault> {
        if !self.is_primed {
            let before = self.booked.saturating_sub(1);
            let last = reader.read(name, before, 2, &mut |_, _| ())?;
            (self.is_primed, self.is_short) = (last > self.booked, last < self.booked);
        }
        Ok(self.is_primed)
    }

    /// Reads on, and shows each close that is not in the books. Answers how many records there were.
    fn read(
        &mut self,
        reader: &mut Reader,
        name: &str,
        room: usize,
        mut close: impl FnMut(&AttemptReport),
    ) -> Result<usize, LedgerFault> {
        if !self.has_more(reader, name)? {
            self.rest();
            return Ok(0);
        }
        let before = self.at;
        let Self { booked, at, repeats, .. } = self;
        let mut records = 0;
        let read = reader.read(name, before, room, &mut |number, entry| {
            *at = number;
            records += 1;
            if let Entry::Close(report) = entry
                && repeats.is_first(number, report.attempt)
                && number > *booked
            {
                close(&report);
            }
        });
        if self.at > before {
            (self.due, self.quiet) = (Instant::now(), Duration::ZERO);
        } else {
            self.rest();
        }
        read.map(|_| records)
    }

    /// Nothing was there: it is left alone, for longer each time.
    fn rest(&mut self) {
        self.quiet = (self.quiet * 2).clamp(INGEST_TICK, LANE_QUIET_MAX);
        self.due = Instant::now() + self.quiet;
    }
}

// === impl Batch ===

impl Batch {
    fn count(&mut self, source: &str, report: &AttemptReport, is_own: bool) {
        count(&mut self.sums, report);
        // How far the lane was read is known after it was.
        if !self.ends.contains_key(source) {
            self.ends.insert(source.to_owned(), 0);
        }
        if let Some(cost) = report.cost.filter(|_| !is_own) {
            let (tenant, access_key) = (report.tenant.clone(), report.access_key);
            self.spent.push(Spent { tenant, access_key, cost });
        }
    }
}
