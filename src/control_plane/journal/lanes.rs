//! Reads the lanes and adds what they say: piece by piece, each in one transaction with how far it goes.

use super::repeats::Repeats;
use super::{Reach, SOURCE_PREFIX};
use crate::control_plane::ingest::Sums;
use crate::domain::id::{AccessKeyId, TenantId};
use crate::domain::money::Money;
use crate::ledger::{LaneName, LedgerFault, Reader};
use crate::limits::INGEST_TICK;
use crate::limits::books::{BATCH_LINES, BATCH_RECORDS, LANE_QUIET_MAX};
use crate::report::brief::Brief;
use crate::store::{Ingested, Store, StoreError};
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
    /// Its name among the sources.
    source: String,
    /// Whether this process writes it.
    is_own: bool,
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
}

/// What an attempt of another process cost.
pub(super) struct Spent {
    pub(super) tenant: TenantId,
    pub(super) access_key: AccessKeyId,
    pub(super) cost: Money,
}

// === impl Lanes ===

impl Lanes {
    pub(super) fn new(mut reader: Reader, run: String) -> Self {
        reader.trust(&run);
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

    /// How far each lane was seen to be written.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&LaneName, u64)> {
        self.lanes.iter().map(|(name, lane)| (name, lane.at.max(lane.booked)))
    }

    /// Whether a lane is known.
    pub(super) fn has(&self, name: &str) -> bool {
        self.lanes.contains_key(name)
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
        let mut batch = Batch::default();
        loop {
            // What was read must be added: only with nothing in hand somebody is asked who may refuse.
            if batch.sums.is_empty() {
                self.meet(store, &names)?;
            }
            let is_last = self.read(&names, &mut batch) < BATCH_RECORDS;
            let is_late = end.is_some_and(|end| Instant::now() >= end);
            if (is_last || is_late || batch.is_heavy()) && !batch.sums.is_empty() {
                self.add(store, std::mem::take(&mut batch))?;
            }
            if is_last {
                self.is_thorough = false;
                return Ok(if self.faults.is_empty() { Reach::End } else { Reach::Part });
            }
            if is_late {
                return Ok(Reach::Part);
            }
        }
    }

    /// Asks the store how far the books are in lanes that were not seen before.
    fn meet(&mut self, store: &mut Store, names: &[LaneName]) -> Result<(), StoreError> {
        for name in names {
            if !self.lanes.contains_key(name) {
                let source = format!("{SOURCE_PREFIX}{name}");
                let booked = store.admin().usage_sequence(&source)?.unwrap_or(0);
                let is_own = name.split('/').next() == Some(&*self.run);
                self.lanes.insert(name.clone(), Lane::behind(source, is_own, booked, Instant::now()));
            }
        }
        Ok(())
    }

    /// Reads the next piece, over all lanes that are due. Answers how many records there were.
    fn read(&mut self, names: &[LaneName], batch: &mut Batch) -> usize {
        let (mut records, now) = (0usize, Instant::now());
        for name in names {
            let room = BATCH_RECORDS.saturating_sub(records);
            if room == 0 {
                break;
            }
            let Some(lane) = self.lanes.get_mut(name) else { continue };
            if lane.due > now && !self.is_thorough {
                continue;
            }
            let (is_own, mut has_closes) = (lane.is_own, false);
            let close = |attempt: &Brief<'_>| {
                has_closes = true;
                batch.count(attempt, is_own);
            };
            match lane.read(&mut self.reader, name, room, close) {
                Ok(count) => {
                    self.faults.remove(name);
                    records = records.saturating_add(count);
                }
                Err(fault) => drop(self.faults.insert(name.clone(), fault.to_string())),
            }
            if has_closes {
                batch.ends.insert(lane.source.clone(), lane.at);
            }
            if let Some(end) = batch.ends.get_mut(&lane.source) {
                *end = lane.at;
                lane.booked = lane.at;
            }
        }
        records
    }

    fn add(&mut self, store: &mut Store, mut batch: Batch) -> Result<(), StoreError> {
        let ends: Vec<(&str, u64)> = batch.ends.iter().map(|(source, end)| (source.as_str(), *end)).collect();
        match store.admin().add_usage_of(&ends, batch.sums.lines()) {
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
    fn behind(source: String, is_own: bool, booked: u64, now: Instant) -> Self {
        let at = Repeats::begin_of(booked);
        Self {
            source,
            is_own,
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
            let last = reader.read_briefly(name, before, 2, &mut |_, _| ())?;
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
        mut close: impl FnMut(&Brief<'_>),
    ) -> Result<usize, LedgerFault> {
        if !self.has_more(reader, name)? {
            self.rest();
            return Ok(0);
        }
        let before = self.at;
        let Self { booked, at, repeats, .. } = self;
        let mut records = 0;
        let read = reader.read_briefly(name, before, room, &mut |number, closed| {
            *at = number;
            records += 1;
            if let Some(attempt) = closed
                && repeats.is_first(number, attempt.attempt)
                && number > *booked
            {
                close(&attempt);
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
    /// Counts a close; how far its lane was read is known after it was.
    fn count(&mut self, attempt: &Brief<'_>, is_own: bool) {
        self.sums.add(attempt);
        if let Some(cost) = attempt.cost.filter(|_| !is_own) {
            let (tenant, access_key) = (TenantId::new(attempt.tenant), attempt.access_key);
            self.spent.push(Spent { tenant, access_key, cost });
        }
    }

    /// Whether it is to be added before anything more is read.
    fn is_heavy(&self) -> bool {
        self.sums.len() >= BATCH_LINES || self.spent.len() >= BATCH_RECORDS
    }
}
