//! The journal on real files: what is written is read, through rolls, restarts, kills, full disks and failing syncs.

mod damage;
mod faults;
mod kill;
mod life;
mod props;

use super::*;
use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId, ProviderId, RequestId, TenantId};
use crate::domain::money::Money;
use crate::domain::token::{Usage, UsageSource};
use crate::limits::ledger::SEGMENT_BYTES_MIN;
use crate::report::{AttemptReport, Outcome};
use crate::routing::policy::Policy;
use crate::vault::LedgerKey;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A directory of its own that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("igris-ledger-{name}-{}-{number}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }

    fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    /// A copy of everything, as it is now: what a kill at this instant would leave.
    fn copy(&self, name: &str) -> Self {
        let copy = Self::new(name);
        copy_tree(&self.0, &copy.0);
        copy
    }

    /// Every segment's path, in the order of runs, lanes and numbers.
    fn segments(&self) -> Vec<PathBuf> {
        let mut found: Vec<(String, (u32, u64), PathBuf)> = Vec::new();
        for run in fs::read_dir(self.ledger()).expect("runs").flatten().filter(|run| run.path().is_dir()) {
            for file in fs::read_dir(run.path()).expect("files").flatten() {
                if let Some(place) = lane::segment_of(&file.file_name().to_string_lossy()) {
                    found.push((run.file_name().to_string_lossy().into_owned(), place, file.path()));
                }
            }
        }
        found.sort();
        found.into_iter().map(|(_, _, path)| path).collect()
    }

    /// The bytes of every file but locks.
    fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for run in fs::read_dir(self.ledger()).expect("runs").flatten().filter(|run| run.path().is_dir()) {
            for file in fs::read_dir(run.path()).expect("files").flatten() {
                if file.file_name() != "lock" {
                    let path = file.path().strip_prefix(&self.0).expect("below").to_owned();
                    all.insert(path, fs::read(file.path()).expect("a file"));
                }
            }
        }
        all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).expect("a directory");
            copy_tree(&entry.path(), &target);
        } else if entry.file_name() != "reserve" {
            // A spare may go while it is copied.
            drop(fs::copy(entry.path(), &target));
        }
    }
}

fn key() -> Arc<LedgerKey> {
    Arc::new(LedgerKey::for_tests())
}

/// Small segments, a small reserve, and a clock that stands.
fn plan(place: &Place) -> LedgerPlan {
    LedgerPlan {
        reserve: 64 * 1024,
        segment_bytes: SEGMENT_BYTES_MIN,
        clock: || UnixMillis(1_795_416_713_000),
        ..LedgerPlan::new(place.ledger(), key(), Durability::Process, 1)
    }
}

fn open(plan: LedgerPlan) -> (Arc<Ledger>, Recovered) {
    Ledger::open(plan).expect("the ledger opens")
}

fn report(attempt: u64) -> AttemptReport {
    AttemptReport {
        exchange: RequestId::from_bits(u128::from(attempt) << 64 | 1),
        attempt: AttemptId::from_bits(u128::from(attempt)),
        last: true,
        tenant: TenantId::new("acme"),
        access_key: AccessKeyId::from_bits(7),
        provider: ProviderId::new("openai"),
        credential: Some(CredentialId::from_bits(9)),
        model: Arc::from("gpt-5"),
        policy: Policy::Cost,
        outcome: Outcome::Completed,
        status: 200,
        key_refused: false,
        stream: true,
        usage: Usage { input: 100 + attempt, output: 50, ..Usage::default() },
        usage_source: UsageSource::Provider,
        cost: Some(Money::from_pico(i128::from(attempt) * 1_000)),
        price_version: 3,
        started: UnixMillis(1_795_416_713_000 + attempt),
        connect_us: 1,
        tls_us: 2,
        first_byte_us: 3,
        first_token_us: 4,
        total_us: 5,
    }
}

const RATES: Rates = Rates { input_pico: 2_500_000, output_pico: 10_000_000 };

fn mark(attempt: u64, output: u64) -> Mark {
    let usage = Usage { input: 80, output, ..Usage::default() };
    Mark { attempt: AttemptId::from_bits(u128::from(attempt)), usage, source: UsageSource::Estimated }
}

fn begin(journal: &Journal, attempt: u64) -> Position {
    journal.open(&report(attempt), 90, Some(RATES))
}

/// All entries of all lanes, lane by lane, with their numbers.
fn entries(place: &Place) -> Vec<(LaneName, u64, Entry)> {
    try_entries(place).expect("the journal is whole")
}

fn try_entries(place: &Place) -> Result<Vec<(LaneName, u64, Entry)>, LedgerFault> {
    let mut reader = Reader::new(&place.ledger(), Some(key()));
    let mut all = Vec::new();
    for lane in reader.lanes()? {
        let mut after = 0;
        loop {
            let last = reader.read(&lane, after, 7, &mut |number, entry| all.push((lane.clone(), number, entry)))?;
            if last == after {
                break;
            }
            after = last;
        }
    }
    Ok(all)
}

/// Closes by attempt; panics on a second one.
fn closes(entries: &[(LaneName, u64, Entry)]) -> BTreeMap<u64, AttemptReport> {
    let mut closes = BTreeMap::new();
    for (_, _, entry) in entries {
        if let Entry::Close(report) = entry {
            let attempt = u64::try_from(report.attempt.bits()).expect("a small id");
            assert!(closes.insert(attempt, report.clone()).is_none(), "attempt {attempt} is closed twice");
        }
    }
    closes
}

/// Intents by attempt; the same attempt may come again.
fn intents(entries: &[(LaneName, u64, Entry)]) -> BTreeMap<u64, Intent> {
    let intent = |(_, _, entry): &(LaneName, u64, Entry)| match entry {
        Entry::Intent(intent) => Some((u64::try_from(intent.report.attempt.bits()).expect("small"), intent.clone())),
        _ => None,
    };
    entries.iter().filter_map(intent).collect()
}

/// Polls until it is ready; the keeper is another thread.
fn synced(journal: &Journal, position: Position) -> Result<(), Option<Position>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut result = None;
    wait_until("a record is synced", || match journal.poll_synced(position, &mut cx) {
        Poll::Ready(ready) => {
            result = Some(ready);
            true
        }
        Poll::Pending => false,
    });
    result.expect("it is ready")
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The process ends without a word: nothing is dropped but the lock.
fn die(ledger: Arc<Ledger>, journals: Vec<Journal>) {
    journals.into_iter().for_each(std::mem::forget);
    drop(ledger);
}
