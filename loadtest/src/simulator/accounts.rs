//! What a provider's own books would say: sums for each key and model, and a receipt for each request that named itself.
//!
//! Both are bounded, so that they can be kept over any number of requests: so many accounts and so many receipts, and what finds no room is
//! counted. A receipt is written when its request has ended; the sums tell those under way as `requests - ended`.

use super::truth::Ending;
use super::truth::{Outcome, masked};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whose request it is: who pays, and for what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The shown key, masked as in [`Record::key`](super::Record::key): keys that end in the same four characters share an account.
    pub key: Arc<str>,
    /// The model asked for; empty where none was named.
    pub model: Arc<str>,
}

/// Sums over the requests of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCounts {
    /// Requests read.
    pub requests: u64,
    /// Requests that ended, one way or another: the sum of the next three.
    pub ended: u64,
    /// Whole answers, refusals included.
    pub completed: u64,
    /// Answers that lost their client.
    pub client_closed: u64,
    /// Faults played.
    pub faulted: u64,
    /// Prompt tokens billed.
    pub prompt_tokens: u64,
    /// Completion tokens billed: what was produced before the end.
    pub completion_tokens: u64,
}

/// One request that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What it called itself, in the field that the builder was told.
    pub id: Box<str>,
    /// Who pays.
    pub account: Account,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Status of the answer; 0 where there was none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Prompt tokens billed.
    pub prompt_tokens: u32,
    /// Completion tokens produced before the end.
    pub completion_tokens: u32,
}

impl Account {
    /// The account of a shown key and a model, both empty where there is none.
    pub(super) fn of(key: &str, model: &str) -> Self {
        let key = if key.is_empty() { String::new() } else { masked(key) };
        Self { key: key.into(), model: model.into() }
    }
}

/// A request as it arrives, for its account.
pub(super) struct Arrival<'r> {
    pub account: &'r Account,
    pub key_accepted: bool,
    pub stream: bool,
    /// What it calls itself.
    pub id: Option<&'r str>,
}

/// A request under way.
pub(super) struct Open {
    account: Account,
    stream: bool,
    id: Option<Box<str>>,
}

/// All accounts of one simulator.
#[derive(Default)]
pub(super) struct Accounts {
    sums: BTreeMap<Account, AccountCounts>,
    receipts: Vec<Receipt>,
    receipts_lost: u64,
}

/// Accounts kept apart; what comes later is in the simulator's own sums alone.
const ACCOUNTS_KEPT: usize = 4_096;
/// Bytes of a name that are kept.
const ID_BYTES_MAX: usize = 64;

impl Accounts {
    pub(super) fn arrive(&mut self, arrival: &Arrival<'_>) -> Open {
        let account = arrival.account.clone();
        if let Some(sums) = self.sums_of(&account) {
            sums.requests += 1;
        }
        let id = arrival.id.map(|id| id.chars().take(ID_BYTES_MAX).collect::<String>().into_boxed_str());
        Open { account, stream: arrival.stream, id }
    }

    pub(super) fn end(&mut self, open: &Open, ending: &Ending, receipts_max: usize) {
        if let Some(sums) = self.sums_of(&open.account) {
            sums.ended += 1;
            match ending.outcome {
                Outcome::Open => {}
                Outcome::Completed => sums.completed += 1,
                Outcome::ClientClosed { .. } => sums.client_closed += 1,
                Outcome::Faulted(_) => sums.faulted += 1,
            }
            sums.prompt_tokens += u64::from(ending.prompt_tokens);
            sums.completion_tokens += u64::from(ending.completion_tokens);
        }
        let Some(id) = &open.id else { return };
        if self.receipts.len() >= receipts_max {
            self.receipts_lost += 1;
            return;
        }
        self.receipts.push(Receipt {
            id: id.clone(),
            account: open.account.clone(),
            stream: open.stream,
            status: ending.status,
            outcome: ending.outcome.clone(),
            prompt_tokens: ending.prompt_tokens,
            completion_tokens: ending.completion_tokens,
        });
    }

    pub(super) fn sums(&self) -> BTreeMap<Account, AccountCounts> {
        self.sums.clone()
    }

    pub(super) fn receipts(&self) -> (Vec<Receipt>, u64) {
        (self.receipts.clone(), self.receipts_lost)
    }

    fn sums_of(&mut self, account: &Account) -> Option<&mut AccountCounts> {
        if self.sums.len() < ACCOUNTS_KEPT && !self.sums.contains_key(account) {
            self.sums.insert(account.clone(), AccountCounts::default());
        }
        self.sums.get_mut(account)
    }
}
