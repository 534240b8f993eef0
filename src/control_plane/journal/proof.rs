//! Whether the books balance (rule L12): the journal holds together, every attempt in it has exactly one close, and what the closes come to
//! is what the sums say, per tenant and hour, to the last unit.
//!
//! Read beside a gateway that runs, or with none: the store is seen as of one instant, and of each lane as much is compared as it had
//! taken in by then. Compared are the hours of which both have everything: after other sources than the journal last filled the books
//! (`journal.since`), and from where the journal is kept on (`journal.kept`).

use super::repeats::Repeats;
use super::scan::walk;
use super::{MARK_KEPT, MARK_SINCE, SOURCE_PREFIX};
use crate::control_plane::ControlError;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AttemptId, TenantId};
use crate::domain::money::Money;
use crate::ledger::{self, Entry, LaneReport, LedgerFault, Reader};
use crate::limits::books::PROBLEMS_MAX;
use crate::report::AttemptReport;
use crate::store::{Store, StoreError, UsageFilter, UsageRow};
use crate::vault::LedgerKey;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What a verification came to.
#[derive(Debug, Default, Serialize)]
pub struct LedgerProof {
    /// Whether there is no problem.
    pub whole: bool,
    /// Whether the chain was verified, not only checksums: for that the root key must be there.
    pub chain: bool,
    /// Whether there were books to compare with.
    pub has_books: bool,
    /// Lanes.
    pub lanes: usize,
    /// Records.
    pub records: u64,
    /// Attempts that were closed.
    pub attempts: u64,
    /// Closes that were written again after a failed sync, and count once.
    pub repeats: u64,
    /// Attempts that were begun and are not closed: of a process that runs, or of one that was killed and whose run the next start ends.
    pub open: u64,
    /// Closed attempts that the sums do not have yet.
    pub not_yet_booked: u64,
    /// Since when sums and journal are compared, RFC 3339; `null`: from the beginning.
    pub compared_from: Option<String>,
    /// Closed attempts of the time that is compared.
    pub compared: u64,
    /// Both sides of the time that is compared, by tenant.
    pub tenants: BTreeMap<String, Balance>,
    /// What is wrong, in sentences.
    pub problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which file, lane or table.
    pub path: String,
    /// Where in it: a byte of a file, a record of a lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What the journal says of a tenant, and what the sums do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// By the closes.
    pub journal: Amounts,
    /// By the sums.
    pub books: Amounts,
}

/// Everything that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amounts {
    /// Exchanges.
    pub requests: u64,
    /// Calls made to providers.
    pub attempts: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those whose tokens were estimated.
    pub estimated: u64,
    /// Those without a known price.
    pub unpriced: u64,
    /// Tokens in.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// Tokens from a cache.
    pub cached_tokens: u64,
    /// Money, whole picodollars as a text.
    #[serde(rename = "cost_picodollars", serialize_with = "picodollars")]
    pub cost: Money,
}

fn picodollars<S: Serializer>(amount: &Money, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&amount.pico())
}

/// What is compared: hours of tenants.
type Sums = HashMap<(TenantId, u64), Amounts>;

/// Verifies a journal alone, without the books: of a copy, or where there is no store.
///
/// # Errors
/// The directory cannot be read.
pub fn verify_journal(directory: &Path, key: Option<Arc<LedgerKey>>) -> Result<LedgerProof, ControlError> {
    let mut prover = Prover::new(key.is_some());
    prover.read_files(directory, key.as_deref());
    prover.walk_all(&mut Reader::new(directory, key), &BTreeMap::new())?;
    prover.hold_files();
    Ok(prover.finish())
}

/// Verifies a journal and the books over it. `store` is one from [`Store::open_reading`], so that nobody waits.
///
/// # Errors
/// The directory or the store cannot be read at all; everything else is a problem in the answer.
pub fn verify(store: &mut Store, directory: &Path, key: Option<Arc<LedgerKey>>) -> Result<LedgerProof, ControlError> {
    let mut prover = Prover::new(key.is_some());
    let mut admin = store.admin();
    let since = admin.usage_sequence(MARK_SINCE)?.unwrap_or(0);
    let kept = admin.usage_sequence(MARK_KEPT)?.unwrap_or(0);
    // An hour of which part is from elsewhere cannot be compared.
    let first = since.div_ceil(HOUR).max(kept.div_ceil(HOUR));
    prover.first_hour = first;
    prover.is_ours_from_the_beginning = since == 0;
    prover.proof.compared_from = (first > 0).then(|| UnixMillis(first * HOUR).to_rfc3339());
    let booked = admin.usage_sources(SOURCE_PREFIX)?;
    prover.read_files(directory, key.as_deref());
    prover.walk_all(&mut Reader::new(directory, key), &booked)?;
    prover.hold_files();
    for (source, number) in &booked {
        let lane = source.trim_start_matches(SOURCE_PREFIX);
        if !prover.seen.contains_key(lane) {
            let what = format!("the lane is gone, and the books have {number} of its records");
            prover.problem(lane, None, what, REMEDY_GONE);
        }
    }
    prover.compare(store)?;
    prover.proof.has_books = true;
    Ok(prover.finish())
}

/// The state of a verification.
struct Prover {
    proof: LedgerProof,
    first_hour: u64,
    is_ours_from_the_beginning: bool,
    sums: Sums,
    /// By lane, what its files say by themselves.
    files: BTreeMap<String, LaneReport>,
    /// The last record of every lane.
    seen: BTreeMap<String, u64>,
    more_problems: usize,
}

/// The attempts of one lane.
#[derive(Default)]
struct LaneState {
    /// Begun, with the number of their intent.
    open: HashMap<AttemptId, u64>,
    repeats: Repeats,
    first: Option<u64>,
}

// === impl Prover ===

impl Prover {
    fn new(chain: bool) -> Self {
        let proof = LedgerProof { chain, ..LedgerProof::default() };
        Self {
            proof,
            first_hour: 0,
            is_ours_from_the_beginning: false,
            sums: Sums::new(),
            files: BTreeMap::new(),
            seen: BTreeMap::new(),
            more_problems: 0,
        }
    }

    fn walk_all(&mut self, reader: &mut Reader, booked: &BTreeMap<String, u64>) -> Result<(), ControlError> {
        let lanes = reader.lanes().map_err(|fault| ControlError::NotFound(fault.to_string()))?;
        self.proof.lanes = lanes.len();
        for lane in lanes {
            let booked = booked.get(&format!("{SOURCE_PREFIX}{lane}")).copied().unwrap_or(0);
            let last = self.walk_lane(reader, &lane, booked);
            self.seen.insert(lane, last);
        }
        Ok(())
    }

    /// Walks a lane to its end, or to where it is damaged. Answers the number of the last record.
    fn walk_lane(&mut self, reader: &mut Reader, lane: &str, booked: u64) -> u64 {
        let (mut state, mut last) = (LaneState::default(), 0_u64);
        let walked = walk::<Infallible>(reader, lane, &mut |number, entry| {
            if last > 0 && number != last.saturating_add(1) {
                let what = format!("record {number} follows record {last}; what stood between is missing");
                self.problem(lane, Some(number), what, REMEDY_DAMAGED);
            }
            last = number;
            state.first.get_or_insert(number);
            self.proof.records += 1;
            self.record(lane, &mut state, (number, entry), booked);
            ControlFlow::Continue(())
        });
        self.proof.open += u64::try_from(state.open.len()).unwrap_or(u64::MAX);
        match walked {
            Err(LedgerFault::Damaged { .. }) if self.is_torn(lane) => {}
            Err(LedgerFault::Damaged { path, offset, what }) => {
                self.problem(&path.display().to_string(), Some(offset), what.to_owned(), REMEDY_DAMAGED);
            }
            Err(fault) => self.problem(lane, None, fault.to_string(), REMEDY_UNREADABLE),
            Ok(_) if last < booked => {
                let what = format!("the lane ends with record {last}, and the books have it as far as {booked}");
                self.problem(lane, Some(last), what, REMEDY_GONE);
            }
            Ok(_) => {}
        }
        last
    }

    /// What the files say by themselves.
    fn read_files(&mut self, directory: &Path, key: Option<&LedgerKey>) {
        match ledger::verify(directory, key) {
            Ok(found) => self.files = found.lanes.into_iter().map(|lane| (lane.lane.clone(), lane)).collect(),
            Err(fault) => self.problem(&directory.display().to_string(), None, fault.to_string(), REMEDY_UNREADABLE),
        }
    }

    /// Whether a lane only ends in a record that was never finished, as a kill leaves it: the next start cuts that off.
    fn is_torn(&self, lane: &str) -> bool {
        self.files.get(lane).is_some_and(|lane| !lane.finished && lane.problem.is_none() && lane.torn_bytes > 0)
    }

    /// Of runs that are over, every attempt was closed: by its process, or when the run was replayed.
    fn hold_files(&mut self) {
        for lane in std::mem::take(&mut self.files).into_values().filter(|lane| lane.finished) {
            if lane.open > 0 && lane.problem.is_none() {
                let what = format!("{} attempts of a run that is over have no close", lane.open);
                self.problem(&lane.lane, None, what, REMEDY_GONE);
            }
            let Some(problem) = lane.problem else { continue };
            let (path, offset) = (problem.path.display().to_string(), Some(problem.offset));
            if !self.proof.problems.iter().any(|known| known.path == path && known.offset == offset) {
                self.problem(&path, offset, problem.what.to_owned(), REMEDY_DAMAGED);
            }
        }
    }

    fn record(&mut self, lane: &str, state: &mut LaneState, (number, entry): (u64, Entry), booked: u64) {
        match entry {
            Entry::Intent(intent) => drop(state.open.insert(intent.report.attempt, number)),
            Entry::Mark(_) => {}
            Entry::Close(report) => {
                let was_open = state.open.remove(&report.attempt).is_some();
                if !state.repeats.is_first(number, report.attempt) {
                    self.proof.repeats += 1;
                    return;
                }
                // What stood before the first segment that is kept is gone, with the intents in it.
                if !was_open && state.first == Some(1) {
                    let what = format!("attempt {} is closed by record {number} and was not open", report.attempt);
                    self.problem(lane, Some(number), what, REMEDY_TWICE);
                }
                self.proof.attempts += 1;
                if number <= booked { self.count(&report) } else { self.proof.not_yet_booked += 1 }
            }
        }
    }

    fn count(&mut self, report: &AttemptReport) {
        let line = UsageRow::of(report);
        if line.hour >= self.first_hour {
            self.proof.compared += 1;
            self.sums.entry((line.tenant.clone(), line.hour)).or_default().add(&line);
        }
    }

    /// Holds the closes against the sums by the hour, and those against the sums by the day and the totals.
    fn compare(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let mut books = Sums::new();
        let mut spent: BTreeMap<TenantId, Money> = BTreeMap::new();
        let all = UsageFilter { hours: 0..u64::MAX >> 1 };
        let first = self.first_hour;
        let mut days = Sums::new();
        store.admin().for_each_usage(&all, |row| {
            *spent.entry(row.tenant.clone()).or_default() += row.cost;
            days.entry((row.tenant.clone(), row.hour / 24)).or_default().add(&row);
            if row.hour >= first {
                books.entry((row.tenant.clone(), row.hour)).or_default().add(&row);
            }
        })?;
        self.hold("usage_hours", HOUR, books, |prover| &mut prover.sums);
        store.admin().for_each_usage_day(|row| {
            let place = days.entry((row.tenant.clone(), row.hour)).or_default();
            place.subtract(&row);
        })?;
        for ((tenant, day), left) in days {
            if left != Amounts::default() {
                let at = UnixMillis(day * 24 * HOUR).to_rfc3339();
                let what =
                    format!("the hours of tenant {tenant} on the day of {at} do not come to its line of the day");
                self.problem("usage_days", None, what, REMEDY_BOOKS);
            }
        }
        // Totals were not kept from the very beginning.
        if !self.is_ours_from_the_beginning {
            return Ok(());
        }
        for (tenant, cost) in spent {
            let total = store.admin().spent_total(&crate::store::HolderName::Tenant(tenant.clone()))?;
            if total != cost {
                let what = format!("tenant {tenant} spent ${cost} by its hours and ${total} by its total");
                self.problem("spent_totals", None, what, REMEDY_BOOKS);
            }
        }
        Ok(())
    }

    fn hold(&mut self, table: &str, period: u64, mut books: Sums, journal: fn(&mut Self) -> &mut Sums) {
        let journal = std::mem::take(journal(self));
        let mut keys: Vec<(TenantId, u64)> = journal.keys().chain(books.keys()).cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let journal = journal.get(&key).copied().unwrap_or_default();
            let sums = books.remove(&key).unwrap_or_default();
            let (tenant, hour) = key;
            let balance = self.proof.tenants.entry(tenant.to_string()).or_default();
            balance.journal.plus(&journal);
            balance.books.plus(&sums);
            if let Some(difference) = journal.difference(&sums) {
                let at = UnixMillis(hour * period).to_rfc3339();
                let what = format!("tenant {tenant}, hour from {at}: {difference}");
                self.problem(table, None, what, REMEDY_BOOKS);
            }
        }
    }

    fn problem(&mut self, path: &str, offset: Option<u64>, what: String, remedy: &'static str) {
        if self.proof.problems.len() >= PROBLEMS_MAX {
            self.more_problems += 1;
            return;
        }
        self.proof.problems.push(Problem { path: path.to_owned(), offset, what, remedy });
    }

    fn finish(mut self) -> LedgerProof {
        if self.more_problems > 0 {
            let what = format!("{} more problems", self.more_problems);
            self.proof.problems.push(Problem { path: "-".to_owned(), offset: None, what, remedy: "solve those first" });
        }
        self.proof.whole = self.proof.problems.is_empty();
        self.proof
    }
}

// === impl Amounts ===

impl Amounts {
    fn fields(&mut self) -> [(&'static str, &mut u64); 8] {
        [
            ("requests", &mut self.requests),
            ("attempts", &mut self.attempts),
            ("failed attempts", &mut self.failed),
            ("estimated attempts", &mut self.estimated),
            ("unpriced attempts", &mut self.unpriced),
            ("input tokens", &mut self.input_tokens),
            ("output tokens", &mut self.output_tokens),
            ("cached tokens", &mut self.cached_tokens),
        ]
    }

    fn of(row: &UsageRow) -> Self {
        Self {
            requests: row.requests,
            attempts: row.attempts,
            failed: row.failed,
            estimated: row.estimated,
            unpriced: row.unpriced,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cached_tokens: row.cached_tokens,
            cost: row.cost,
        }
    }

    pub(super) fn add(&mut self, row: &UsageRow) {
        self.plus(&Self::of(row));
    }

    fn plus(&mut self, other: &Self) {
        let mut other = *other;
        for ((_, sum), (_, amount)) in self.fields().into_iter().zip(other.fields()) {
            *sum = sum.wrapping_add(*amount);
        }
        self.cost += other.cost;
    }

    /// What is left of both are the same when all of it is taken away: wrapping, so that more on either side is seen.
    fn subtract(&mut self, row: &UsageRow) {
        let mut other = Self::of(row);
        for ((_, sum), (_, amount)) in self.fields().into_iter().zip(other.fields()) {
            *sum = sum.wrapping_sub(*amount);
        }
        self.cost += Money::from_pico(-other.cost.pico());
    }

    /// In what two sides differ, as a sentence.
    fn difference(&self, books: &Self) -> Option<String> {
        let (mut journal, mut books) = (*self, *books);
        let cost = (journal.cost != books.cost)
            .then(|| format!("${} in the journal and ${} in the books", journal.cost, books.cost));
        let counts = journal.fields().into_iter().zip(books.fields()).filter(|((_, one), (_, other))| one != other);
        let said =
            counts.map(|((name, one), (_, other))| format!("{one} {name} in the journal and {other} in the books"));
        let parts: Vec<String> = said.chain(cost).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

const HOUR: u64 = 3_600_000;
const REMEDY_DAMAGED: &str = "keep a copy of the file; it changed after it was written: restore it, or go on without what follows with igris serve --ledger-degraded";
const REMEDY_UNREADABLE: &str = "check the disk and the owner of the files, then verify again";
const REMEDY_GONE: &str = "restore the segments from a copy: the sums are right, and what they are made of is missing";
const REMEDY_TWICE: &str = "report this: an attempt is opened once and closed once";
const REMEDY_BOOKS: &str = "somebody changed the store, or restored one that does not belong to this journal; restore both of one time, or keep the journal as the truth and export it";
