//! What is shipped at a time: closes as columns, and how far their lanes are with them.

use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId, RequestId};
use crate::domain::money::Money;
use crate::limits::books::ATTEMPT_TOKENS_MAX;
use std::collections::{BTreeSet, HashSet};
use tokio_postgres::types::ToSql;

/// A closed attempt: ids, names and figures.
#[derive(Clone, Copy, Debug)]
pub struct Close<'a> {
    /// The attempt; by it each counts once.
    pub attempt: AttemptId,
    /// The exchange it belongs to.
    pub exchange: RequestId,
    /// When it began; the day of it is a part of its key.
    pub started: UnixMillis,
    /// Who asked.
    pub tenant: &'a str,
    /// With which access key.
    pub access_key: AccessKeyId,
    /// Who was asked.
    pub provider: &'a str,
    /// For which model.
    pub model: &'a str,
    /// The policy that chose it.
    pub policy: &'static str,
    /// With which credential; none for a provider without keys.
    pub credential: Option<CredentialId>,
    /// How it ended.
    pub outcome: &'static str,
    /// HTTP status of the provider, 0 if none came.
    pub status: u16,
    /// Whether it was the exchange's last one.
    pub last: bool,
    /// Whether it counts as failed.
    pub failed: bool,
    /// Whether it used tokens without a known price.
    pub unpriced: bool,
    /// Where its tokens are from.
    pub source: &'static str,
    /// Tokens in.
    pub input_tokens: u64,
    /// Tokens out.
    pub output_tokens: u64,
    /// Of the tokens in, those read from a cache.
    pub cached_tokens: u64,
    /// What it cost, if that is known.
    pub cost: Option<Money>,
}

/// How far a lane of a journal is with a shipment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneEnd {
    /// Its name.
    pub lane: String,
    /// The number of the record up to which the database has it; 0 for a lane that it does not know.
    pub since: u64,
    /// The number of its last record in this shipment.
    pub number: u64,
    /// How many closes of it are in this shipment.
    pub closes: u64,
}

/// Closes, and the lanes that they come from.
#[derive(Debug, Default)]
pub struct Shipment {
    lanes: Vec<LaneEnd>,
    /// What is in it, since a close may stand twice in a journal.
    known: HashSet<u128>,
    days: Vec<i32>,
    attempts: Vec<Vec<u8>>,
    exchanges: Vec<Vec<u8>>,
    started: Vec<i64>,
    tenants: Vec<String>,
    access_keys: Vec<Vec<u8>>,
    providers: Vec<String>,
    models: Vec<String>,
    policies: Vec<&'static str>,
    credentials: Vec<Vec<u8>>,
    outcomes: Vec<&'static str>,
    statuses: Vec<i32>,
    last: Vec<bool>,
    failed: Vec<bool>,
    unpriced: Vec<bool>,
    sources: Vec<&'static str>,
    input_tokens: Vec<i64>,
    output_tokens: Vec<i64>,
    cached_tokens: Vec<i64>,
    costs: Vec<Option<String>>,
}

// === impl Shipment ===

impl Shipment {
    /// Takes a close up; one that is in it already changes nothing.
    pub fn add(&mut self, close: &Close<'_>) {
        if !self.known.insert(close.attempt.bits()) {
            return;
        }
        let id = |bits: u128| bits.to_be_bytes().to_vec();
        self.days.push(day_of(close.started));
        self.attempts.push(id(close.attempt.bits()));
        self.exchanges.push(id(close.exchange.bits()));
        self.started.push(i64::try_from(close.started.0).unwrap_or(i64::MAX));
        self.tenants.push(storable(close.tenant));
        self.access_keys.push(id(close.access_key.bits()));
        self.providers.push(storable(close.provider));
        self.models.push(storable(close.model));
        self.policies.push(close.policy);
        self.credentials.push(id(close.credential.map_or(0, CredentialId::bits)));
        self.outcomes.push(close.outcome);
        self.statuses.push(close.status.into());
        self.last.push(close.last);
        self.failed.push(close.failed);
        self.unpriced.push(close.unpriced);
        self.sources.push(close.source);
        self.input_tokens.push(tokens(close.input_tokens));
        self.output_tokens.push(tokens(close.output_tokens));
        self.cached_tokens.push(tokens(close.cached_tokens));
        self.costs.push(close.cost.map(|cost| cost.pico().to_string()));
    }

    /// How far a lane is with it.
    pub fn end(&mut self, lane: LaneEnd) {
        self.lanes.push(lane);
    }

    /// The lanes.
    pub fn lanes(&self) -> &[LaneEnd] {
        &self.lanes
    }

    /// The ids of its attempts, in the order in which they came.
    pub fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        let id = |bytes: &Vec<u8>| bytes.as_slice().try_into().map_or(0, u128::from_be_bytes);
        self.attempts.iter().map(move |bytes| AttemptId::from_bits(id(bytes)))
    }

    /// How many attempts there are.
    pub fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// The days that its attempts began on, since the Unix epoch.
    pub(super) fn days(&self) -> BTreeSet<i32> {
        self.days.iter().copied().collect()
    }

    /// The columns, in the order of [`super::ship::CLOSES`].
    pub(super) fn columns(&self) -> [&(dyn ToSql + Sync); 20] {
        [
            &self.days,
            &self.attempts,
            &self.exchanges,
            &self.started,
            &self.tenants,
            &self.access_keys,
            &self.providers,
            &self.models,
            &self.policies,
            &self.credentials,
            &self.outcomes,
            &self.statuses,
            &self.last,
            &self.failed,
            &self.unpriced,
            &self.sources,
            &self.input_tokens,
            &self.output_tokens,
            &self.cached_tokens,
            &self.costs,
        ]
    }

    /// Days and attempts alone.
    pub(super) fn keys(&self) -> [&(dyn ToSql + Sync); 2] {
        [&self.days, &self.attempts]
    }
}

/// The day of an instant, since the Unix epoch.
pub(super) fn day_of(at: UnixMillis) -> i32 {
    i32::try_from(at.0 / DAY_MS).unwrap_or(i32::MAX)
}

/// The engine holds no zero byte in a text, and a client may have put one into the name of a model.
fn storable(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

fn tokens(count: u64) -> i64 {
    i64::try_from(count.min(ATTEMPT_TOKENS_MAX)).unwrap_or(i64::MAX)
}

pub(super) const DAY_MS: u64 = 86_400_000;
