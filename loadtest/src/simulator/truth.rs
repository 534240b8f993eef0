//! What truly happened at the provider: every request with its outcome, every connection, every breach of manners.
//!
//! Books are checked against this log, so an entry is made when a request has been read and closed exactly once. For long
//! runs the log can be kept to counters.

use super::accounts::{Account, AccountCounts, Accounts, Arrival, Open, Receipt};
use super::journal::Journal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How a request ended, as its provider sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not yet.
    Open,
    /// The whole answer left; refusals (4xx) included.
    Completed,
    /// The client was gone before the answer was; `after` counts from the request's arrival.
    ClientClosed {
        /// Time from arrival to the moment the simulator knew.
        after: Duration,
    },
    /// A fault was played to its end; the name is that of its directive.
    Faulted(String),
}

/// One request as it was seen.
#[derive(Clone, Debug)]
pub struct Record {
    /// 1 for the first request of this server.
    pub sequence: u64,
    /// 1 for the first connection of this server.
    pub connection: u64,
    /// When the head and body had been read.
    pub arrived: Instant,
    /// The same moment, milliseconds since 1970.
    pub arrived_unix_ms: u64,
    /// The method.
    pub method: String,
    /// The target, query included; a key in it is masked.
    pub path: String,
    /// The shown key, masked but for its last four characters; see [`masked`].
    pub key: Option<String>,
    /// Whether that key was accepted when the request was read.
    pub key_accepted: bool,
    /// The surface it was meant for, see [`Surface::name`](super::Surface::name).
    pub surface: &'static str,
    /// The model asked for.
    pub model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Field names in lower case and values, in order; the value of `authorization` is masked.
    pub headers: Vec<(String, String)>,
    /// The request body, where the builder asked to keep bodies.
    pub body: Option<Vec<u8>>,
    /// Bytes of the request body.
    pub body_bytes: usize,
    /// Status of the answer; 0 while there is none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// The fault that struck it, by its short name, also where the answer ended well, as a slow one does.
    pub fault: Option<String>,
    /// The number of the rule by which it was struck, 1 for the first; none where the request itself asked for its fault.
    pub fault_rule: Option<u32>,
    /// Events that left, `[DONE]` included.
    pub events: u32,
    /// Prompt tokens that a provider would bill; 0 for refusals.
    pub prompt_tokens: u32,
    /// Completion tokens produced before the end.
    pub completion_tokens: u32,
    /// Time from arrival to the end.
    pub took: Option<Duration>,
}

impl Record {
    /// Field names, as they came.
    pub fn header_names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The value of the first field of this (lower case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One breach of manners that a real provider might not have noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The connection it was seen on.
    pub connection: u64,
    /// What rule: `malformed-http`, `gateway-header`, `gateway-field`, `repeated-field`, `accept-encoding`,
    /// `access-key-leaked`, `hop-by-hop-header`, `key-in-url`, `unknown-field`,
    /// `malformed-websocket`.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Sums over all requests; kept in every mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests read.
    pub requests: u64,
    /// Requests that ended, one way or another.
    pub ended: u64,
    /// Whole answers, refusals included.
    pub completed: u64,
    /// Answers that lost their client.
    pub client_closed: u64,
    /// Faults played.
    pub faulted: u64,
    /// Events sent.
    pub events: u64,
    /// Prompt tokens billed.
    pub prompt_tokens: u64,
    /// Completion tokens billed.
    pub completion_tokens: u64,
    /// Connections accepted.
    pub connections_opened: u64,
    /// Breaches of manners.
    pub violations: u64,
    /// Answers by status; 0 stands for answers without one.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests by masked key.
    pub by_key: BTreeMap<String, KeyCounts>,
    /// Requests by the number of the fault rule that struck them.
    pub by_rule: BTreeMap<u32, u64>,
}

/// Requests with one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounts {
    /// While it was accepted.
    pub accepted: u64,
    /// While it was refused.
    pub refused: u64,
}

#[derive(Default)]
struct Log {
    counts: Counts,
    records: Vec<Record>,
    violations: Vec<Violation>,
    accounts: Accounts,
}

/// The log of one simulator, shared by all its threads.
pub struct Truth {
    log: Mutex<Log>,
    changed: Condvar,
    /// Threads that wait for a change: without any, nobody need be told, which would be a system call.
    waiting: AtomicUsize,
    keep_records: bool,
    keep_bodies: bool,
    receipts: Option<Receipts>,
    journal: Option<Mutex<Journal>>,
}

/// The field by which requests name themselves, in lower case, and how many receipts are kept.
#[derive(Clone, Debug)]
pub(super) struct Receipts {
    pub(super) field: String,
    pub(super) max: usize,
}

/// Violations kept with their text; later ones are only counted.
const VIOLATIONS_KEPT: usize = 1000;
/// Keys counted apart; later ones are counted in the sums only.
const KEYS_KEPT: usize = 1000;

impl Truth {
    pub(super) fn new(keep_records: bool, keep_bodies: bool, receipts: Option<Receipts>) -> Self {
        let (log, changed, waiting) = (Mutex::default(), Condvar::new(), AtomicUsize::new(0));
        Self { log, changed, waiting, keep_records, keep_bodies, receipts, journal: None }
    }

    /// Writes a line for every request that ends, too.
    pub(super) fn with_journal(mut self, journal: Option<Journal>) -> Self {
        self.journal = journal.map(Mutex::new);
        self
    }

    /// Lines that found no room in the journal, and failed writes; 0 without a journal.
    pub fn journal_lost(&self) -> u64 {
        self.journal.as_ref().map_or(0, |journal| lock(journal).lost())
    }

    /// Sums for each key and model; kept in every mode.
    pub fn accounts(&self) -> BTreeMap<Account, AccountCounts> {
        self.lock().accounts.sums()
    }

    /// A receipt for each request that has ended and named itself, in the order of their ends, where the builder asked for them; and how
    /// many more there would have been.
    pub fn receipts(&self) -> (Vec<Receipt>, u64) {
        self.lock().accounts.receipts()
    }

    /// Every request so far, in order of arrival; empty in constant-memory mode.
    pub fn requests(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// The last request.
    pub fn last(&self) -> Option<Record> {
        self.lock().records.last().cloned()
    }

    /// All sums.
    pub fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    /// Connections accepted so far.
    pub fn connections_opened(&self) -> u64 {
        self.lock().counts.connections_opened
    }

    /// Breaches of manners, the first thousand.
    pub fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// Requests that showed this key.
    pub fn requests_with_key(&self, key: &str) -> u64 {
        let counts = self.key_counts(key);
        counts.accepted + counts.refused
    }

    /// How requests with this key fared. Keys that end in the same four characters are counted together.
    pub fn key_counts(&self, key: &str) -> KeyCounts {
        self.lock().counts.by_key.get(&masked(key)).copied().unwrap_or_default()
    }

    /// Waits until so many requests have ended; false if the time runs out first.
    pub fn wait_ended(&self, count: u64, at_most: Duration) -> bool {
        self.wait(at_most, |counts| counts.ended >= count)
    }

    /// Waits until no request is open. A client may hold its whole answer a moment before the log knows, so a test that has
    /// read an answer calls this before it looks.
    pub fn wait_settled(&self, at_most: Duration) -> bool {
        self.wait(at_most, |counts| counts.ended == counts.requests)
    }

    /// Waits until so many requests have arrived; false if the time runs out first.
    pub fn wait_arrived(&self, count: u64, at_most: Duration) -> bool {
        self.wait(at_most, |counts| counts.requests >= count)
    }

    fn wait(&self, at_most: Duration, done: impl Fn(&Counts) -> bool) -> bool {
        // Before the lock is taken: whoever changes something later sees that somebody waits.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waited = self.changed.wait_timeout_while(self.lock(), at_most, |log| !done(&log.counts));
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let (log, _) = waited.unwrap_or_else(PoisonError::into_inner);
        done(&log.counts)
    }

    /// Forgets everything seen so far.
    pub fn clear(&self) {
        *self.lock() = Log::default();
    }

    /// The whole log as JSON: `{"counts":{…},"violations":[…],"requests":[…]}`.
    pub fn to_json(&self) -> serde_json::Value {
        let log = self.lock();
        let violations: Vec<_> = log.violations.iter().map(Violation::to_json).collect();
        let requests: Vec<_> = log.records.iter().map(Record::to_json).collect();
        serde_json::json!({ "counts": log.counts.to_json(), "violations": violations, "requests": requests })
    }

    /// The field by which a request names itself, if receipts are kept.
    pub(super) fn receipt_field(&self) -> Option<&str> {
        self.receipts.as_ref().map(|receipts| receipts.field.as_str())
    }

    pub(super) fn keeps_bodies(&self) -> bool {
        self.keep_bodies
    }

    pub(super) fn connected(&self) -> u64 {
        let mut log = self.lock();
        log.counts.connections_opened += 1;
        log.counts.connections_opened
    }

    pub(super) fn violate(&self, connection: u64, rule: &'static str, detail: impl Into<String>) {
        let mut log = self.lock();
        log.counts.violations += 1;
        if log.violations.len() < VIOLATIONS_KEPT {
            log.violations.push(Violation { connection, rule, detail: detail.into() });
        }
    }

    /// Notes an arrival; the ticket closes it.
    pub(super) fn arrive(&self, arrival: &Arrival<'_>, record: impl FnOnce(u64) -> Record) -> Ticket {
        let mut log = self.lock();
        log.counts.requests += 1;
        let account = arrival.account;
        if !account.key.is_empty() {
            let by_key = &mut log.counts.by_key;
            if by_key.len() < KEYS_KEPT && !by_key.contains_key(&*account.key) {
                by_key.insert(account.key.as_ref().into(), KeyCounts::default());
            }
            if let Some(counts) = by_key.get_mut(&*account.key) {
                counts.accepted += u64::from(arrival.key_accepted);
                counts.refused += u64::from(!arrival.key_accepted);
            }
        }
        let open = log.accounts.arrive(arrival);
        let sequence = log.counts.requests;
        let (mut position, mut apart) = (None, None);
        if self.keep_records {
            log.records.push(record(sequence));
            position = Some(log.records.len() - 1);
        } else if self.journal.is_some() {
            apart = Some(Box::new(record(sequence)));
        }
        drop(log);
        self.tell_waiting();
        Ticket { sequence, position, apart, open, arrived: Instant::now() }
    }

    pub(super) fn end(&self, ticket: &mut Ticket, ending: Ending) {
        let took = ticket.arrived.elapsed();
        let mut log = self.lock();
        let receipts_max = self.receipts.as_ref().map_or(0, |receipts| receipts.max);
        log.accounts.end(&ticket.open, &ending, receipts_max);
        let counts = &mut log.counts;
        counts.ended += 1;
        match ending.outcome {
            Outcome::Open => {}
            Outcome::Completed => counts.completed += 1,
            Outcome::ClientClosed { .. } => counts.client_closed += 1,
            Outcome::Faulted(_) => counts.faulted += 1,
        }
        counts.events += u64::from(ending.events);
        counts.prompt_tokens += u64::from(ending.prompt_tokens);
        counts.completion_tokens += u64::from(ending.completion_tokens);
        *counts.by_status.entry(ending.status).or_default() += 1;
        if let Some(rule) = ending.fault_rule {
            *counts.by_rule.entry(rule).or_default() += 1;
        }
        let known = ticket.position.and_then(|position| log.records.get_mut(position));
        let known = known.filter(|record| record.sequence == ticket.sequence);
        let line = known.or(ticket.apart.as_deref_mut()).and_then(|record| {
            record.end(ending, took);
            self.journal.as_ref().map(|_| record.to_json())
        });
        drop(log);
        if let (Some(journal), Some(line)) = (&self.journal, line) {
            lock(journal).write(&line);
        }
        self.tell_waiting();
    }

    fn tell_waiting(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves sums that are still worth reading.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handle by which a request's record is closed.
pub(super) struct Ticket {
    pub(super) sequence: u64,
    position: Option<usize>,
    /// The record, where it goes to the journal alone.
    apart: Option<Box<Record>>,
    open: Open,
    pub(super) arrived: Instant,
}

/// How a request ended, for its record.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    pub(super) events: u32,
    pub(super) prompt_tokens: u32,
    pub(super) completion_tokens: u32,
    pub(super) fault: Option<String>,
    pub(super) fault_rule: Option<u32>,
}

impl Record {
    fn end(&mut self, ending: Ending, took: Duration) {
        self.status = ending.status;
        self.outcome = ending.outcome;
        self.fault = ending.fault;
        self.fault_rule = ending.fault_rule;
        self.events = ending.events;
        self.prompt_tokens = ending.prompt_tokens;
        self.completion_tokens = ending.completion_tokens;
        self.took = Some(took);
    }

    fn to_json(&self) -> serde_json::Value {
        let (outcome, detail) = match &self.outcome {
            Outcome::Open => ("open", None),
            Outcome::Completed => ("completed", None),
            Outcome::ClientClosed { after } => ("client_closed", Some(format!("{} us", after.as_micros()))),
            Outcome::Faulted(name) => ("faulted", Some(name.clone())),
        };
        serde_json::json!({
            "sequence": self.sequence, "connection": self.connection, "arrived_unix_ms": self.arrived_unix_ms,
            "method": self.method, "path": self.path, "key": self.key, "key_accepted": self.key_accepted,
            "surface": self.surface, "model": self.model, "stream": self.stream,
            "headers": self.headers, "body_bytes": self.body_bytes, "status": self.status,
            "outcome": outcome, "detail": detail, "fault": self.fault, "fault_rule": self.fault_rule, "events": self.events,
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens,
            "took_us": self.took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        })
    }
}

impl Counts {
    /// All sums as one JSON object, with the names of the fields.
    pub fn to_json(&self) -> serde_json::Value {
        let by_key: BTreeMap<_, _> = self.by_key.iter().map(|(key, counts)| (key, counts.to_json())).collect();
        serde_json::json!({
            "requests": self.requests, "ended": self.ended, "completed": self.completed,
            "client_closed": self.client_closed, "faulted": self.faulted, "events": self.events,
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens,
            "connections_opened": self.connections_opened, "violations": self.violations,
            "by_status": self.by_status, "by_key": by_key, "by_rule": self.by_rule,
        })
    }
}

impl KeyCounts {
    fn to_json(self) -> serde_json::Value {
        serde_json::json!({ "accepted": self.accepted, "refused": self.refused })
    }
}

impl Violation {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "connection": self.connection, "rule": self.rule, "detail": self.detail })
    }
}

/// A key as the log shows it: its last four characters, or nothing of a short one.
pub fn masked(key: &str) -> String {
    let letters = key.chars().count();
    if letters < 8 {
        return "…".into();
    }
    format!("…{}", key.chars().skip(letters - 4).collect::<String>())
}

/// Milliseconds since 1970.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
