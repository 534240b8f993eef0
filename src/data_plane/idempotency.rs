//! A client's `Idempotency-Key`: the same request twice is one piece of work, billed once (rule Q5).
//!
//! ```text
//!            claim                     keep: answered 2xx, whole, small enough
//!   (free) --------> Running ----------------------------------------------> Done --24 h, or room is needed--> (free)
//!      ^                |
//!      '----------------'  release: refused, failed, cut, the client went, too large to keep
//! ```
//!
//! While `Running` the same request is told to come back (409); from `Done` it is answered without asking a provider. Another request under
//! the same key is refused (422) in both. Only answers are kept: a refusal cost nothing, so its key is free for another try at once.
//!
//! A client's second try may reach another core, so this is the one thing on the request path that cores share and change: shards behind
//! short mutexes, never held across an await or a copy of a body, and touched only by requests that carry the header. Memory alone: a restart
//! forgets it. Bounded in entries and bytes; who has half of a shard makes room out of its own before others do.

use super::downstream::Downstream;
use super::exchange::{Exchange, Next, Received};
use super::fault::Fault;
use super::reply;
use crate::domain::id::TenantId;
use crate::domain::pressure::ShedReason;
use crate::http::body::{BodyReader, Step};
use crate::http::head::{HeadLimits, KnownField, Method, Progress, RequestHead, ResponseHead};
use crate::limits;
use crate::vault::access_key;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A keyed digest of method, path and body.
pub type Fingerprint = [u8; 32];

/// What a key stands for: keys of different tenants never meet (rule T1).
type Name = (TenantId, Box<str>);

/// The outcomes of all cores.
pub struct Outcomes {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Name, Entry>,
    /// Names of outcomes, the oldest first.
    oldest: VecDeque<Name>,
    bytes: usize,
    bytes_by_tenant: HashMap<TenantId, usize>,
}

struct Entry {
    fingerprint: Fingerprint,
    state: State,
}

enum State {
    Running,
    Done { outcome: Arc<Outcome>, until: Instant },
}

/// An answer as it is given again.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Outcome {
    /// HTTP status.
    pub status: u16,
    /// Its `Content-Type`; empty if it had none.
    pub content_type: Vec<u8>,
    /// Its whole body, without framing.
    pub body: Vec<u8>,
}

/// What a request under a key finds.
pub enum Found {
    /// Nothing: the work is its own.
    Free(Claim),
    /// The same request is at work.
    Running,
    /// The same request was answered so.
    Done(Arc<Outcome>),
    /// The key was given to another request.
    Other,
    /// All places are taken by requests at work.
    Full,
}

/// A key that this request works under; free again when dropped without an outcome.
pub struct Claim {
    outcomes: Arc<Outcomes>,
    name: Option<Name>,
}

/// Whether a header's value can be a key: 1 to [`limits::IDEMPOTENCY_KEY_CHARS_MAX`] visible characters.
pub fn read_key(value: &[u8]) -> Option<&str> {
    let fits = (1..=limits::IDEMPOTENCY_KEY_CHARS_MAX).contains(&value.len());
    let visible = value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    std::str::from_utf8(value).ok().filter(|_| fits && visible)
}

// === impl Outcomes ===

impl Default for Outcomes {
    fn default() -> Self {
        let shards = (0..limits::IDEMPOTENCY_SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl Outcomes {
    /// What stands under a tenant's key; if nothing, it is claimed.
    pub fn claim(self: &Arc<Self>, tenant: &TenantId, key: &str, fingerprint: Fingerprint, now: Instant) -> Found {
        let name: Name = (tenant.clone(), key.into());
        let mut shard = self.shard(&name);
        shard.expire(now);
        if let Some(entry) = shard.entries.get(&name) {
            return match &entry.state {
                _ if entry.fingerprint != fingerprint => Found::Other,
                State::Running => Found::Running,
                State::Done { outcome, .. } => Found::Done(outcome.clone()),
            };
        }
        while shard.entries.len() >= limits::IDEMPOTENCY_ENTRIES_MAX / limits::IDEMPOTENCY_SHARDS {
            if !shard.forget_one(tenant) {
                return Found::Full;
            }
        }
        shard.entries.insert(name.clone(), Entry { fingerprint, state: State::Running });
        drop(shard);
        Found::Free(Claim { outcomes: self.clone(), name: Some(name) })
    }

    fn shard(&self, name: &Name) -> MutexGuard<'_, Shard> {
        let place = self.hasher.hash_one(name) % self.shards.len() as u64;
        // Every step leaves a shard whole; a panic elsewhere in a task takes nothing with it.
        self.shards[place as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Claim ===

impl Claim {
    /// The work is done: from now on this is the answer, for [`limits::IDEMPOTENCY_LIFE`].
    pub fn keep(mut self, outcome: Outcome, now: Instant) {
        let Some(name) = self.name.take() else { return };
        let bytes = outcome.bytes();
        let state = State::Done { outcome: Arc::new(outcome), until: now + limits::IDEMPOTENCY_LIFE };
        let mut shard = self.outcomes.shard(&name);
        shard.expire(now);
        while shard.bytes + bytes > limits::IDEMPOTENCY_BYTES_MAX / limits::IDEMPOTENCY_SHARDS {
            if !shard.forget_one(&name.0) {
                break;
            }
        }
        let Some(entry) = shard.entries.get_mut(&name) else { return };
        entry.state = state;
        shard.bytes += bytes;
        *shard.bytes_by_tenant.entry(name.0.clone()).or_default() += bytes;
        shard.oldest.push_back(name);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.outcomes.shard(&name).entries.remove(&name);
        }
    }
}

// === impl Shard ===

impl Shard {
    fn expire(&mut self, now: Instant) {
        // All live equally long, so the oldest ends first.
        while self.oldest.front().is_some_and(|name| self.is_over(name, now)) {
            self.forget_at(0);
        }
    }

    fn is_over(&self, name: &Name, now: Instant) -> bool {
        match self.entries.get(name).map(|entry| &entry.state) {
            Some(State::Done { until, .. }) => *until <= now,
            _ => true,
        }
    }

    /// Forgets the oldest outcome, of this tenant if it has half of the room; whether there was one.
    fn forget_one(&mut self, tenant: &TenantId) -> bool {
        let own = self.bytes_by_tenant.get(tenant).copied().unwrap_or_default();
        let of_own = || self.oldest.iter().position(|(owner, _)| owner == tenant);
        let place = if own * 2 >= self.bytes { of_own() } else { None };
        self.forget_at(place.unwrap_or(0))
    }

    fn forget_at(&mut self, place: usize) -> bool {
        let Some(name) = self.oldest.remove(place) else { return false };
        if let Some(Entry { state: State::Done { outcome, .. }, .. }) = self.entries.remove(&name) {
            self.bytes -= outcome.bytes();
            if let Some(held) = self.bytes_by_tenant.get_mut(&name.0) {
                *held -= outcome.bytes();
                if *held == 0 {
                    self.bytes_by_tenant.remove(&name.0);
                }
            }
        }
        true
    }
}

// === impl Outcome ===

impl Outcome {
    fn bytes(&self) -> usize {
        // What the maps hold for it beside its own bytes.
        const BESIDE: usize = 512;
        self.body.len() + self.content_type.len() + BESIDE
    }

    /// The answer in the bytes that went to a client, if it is whole, a success, and small enough to keep.
    pub fn of_sent(sent: &[u8]) -> Option<Self> {
        let mut head = ResponseHead::default();
        let Ok(Progress::Complete { consumed }) = head.parse(sent, &HeadLimits::UPSTREAM) else { return None };
        if !(200..300).contains(&head.status()) {
            return None;
        }
        let mut reader = BodyReader::from(head.framing(Method::Post));
        let (mut rest, mut body) = (sent.get(consumed..)?, Vec::new());
        while !reader.is_end() {
            let step = reader.feed(rest).ok()?;
            if let Step::Data { data, .. } = &step {
                body.extend_from_slice(rest.get(data.clone())?);
            }
            rest = rest.get(step.consumed()..)?;
            if matches!(step, Step::NeedMore { .. }) {
                // Only where the end of the connection is the end of the body.
                reader.close().ok()?;
            }
        }
        let content_type = head.find(sent, KnownField::ContentType).unwrap_or_default().to_vec();
        (body.len() <= limits::IDEMPOTENCY_OUTCOME_BYTES_MAX).then(|| Self {
            status: head.status(),
            content_type,
            body,
        })
    }
}

// ---- Within an exchange -------------------------------------------------------------------------------------------------------

/// What a request with or without a key is to do next.
pub enum Turn {
    /// Work, and keep the outcome if it has a claim.
    Work(Option<Claim>),
    /// Say again what was said.
    Replay(Arc<Outcome>),
    /// Hear why not.
    Refuse(Fault),
    /// Come back when there is room.
    Shed(ShedReason),
}

/// Whether a request has one, usable or not.
pub fn has_key(head: &RequestHead, bytes: &[u8]) -> bool {
    head.find(bytes, KnownField::IdempotencyKey).is_some()
}

/// Looks for the key of a request that has been read whole.
pub fn begin(exchange: &Exchange<'_>, tenant: &TenantId, head: &RequestHead, received: &Received) -> Turn {
    let bytes = received.head();
    let Some(value) = head.find(bytes, KnownField::IdempotencyKey) else { return Turn::Work(None) };
    let Some(key) = read_key(value) else {
        let most = limits::IDEMPOTENCY_KEY_CHARS_MAX;
        let message = format!("The header Idempotency-Key is empty or unusable; send 1 to {most} visible characters.");
        return Turn::Refuse(Fault::invalid(message, None));
    };
    let digest = |text: &[u8]| access_key::digest(&exchange.snapshot.access.pepper, text);
    let mut request = [head.method().as_str(), " ", head.path(bytes), "?", head.query(bytes).unwrap_or_default(), "\n"]
        .concat()
        .into_bytes();
    request.extend_from_slice(&digest(received.body()));
    match exchange.core.outcomes.claim(tenant, key, digest(&request), Instant::now()) {
        Found::Free(claim) => Turn::Work(Some(claim)),
        Found::Running => Turn::Refuse(Fault::IdempotencyConflict),
        Found::Done(outcome) => Turn::Replay(outcome),
        Found::Other => Turn::Refuse(Fault::IdempotencyKeyReused),
        Found::Full => Turn::Shed(ShedReason::Bodies),
    }
}

/// The exchange has ended: keeps what went to its client, if it is an outcome.
pub fn end(claim: Option<Claim>, down: &mut Downstream, next: Next) {
    let Some(claim) = claim else { return };
    let outcome = down.recorded().filter(|_| next != Next::Abort);
    if let Some(outcome) = outcome {
        claim.keep(outcome, Instant::now());
    }
}

/// Says an outcome again, in one piece; no provider is asked and nothing is billed.
pub async fn replay(exchange: &mut Exchange<'_>, down: &mut Downstream, outcome: &Outcome) -> Next {
    let mut out = Vec::with_capacity(outcome.body.len() + 512);
    reply::begin_head(&mut out, outcome.status, exchange.stamp());
    if !outcome.content_type.is_empty() {
        reply::field(&mut out, "content-type", &outcome.content_type);
    }
    reply::number_field(&mut out, "x-igris-attempts", 0_u32);
    reply::field(&mut out, "x-igris-idempotent-replay", b"true");
    reply::number_field(&mut out, "content-length", outcome.body.len());
    reply::end_head(&mut out);
    out.extend_from_slice(&outcome.body);
    down.output().extend(&out);
    exchange.finish(down).await
}

// ---- What went to the client --------------------------------------------------------------------------------------------------

/// Copies what goes to a client, until it is more than would be kept.
#[derive(Default)]
pub struct Recorder {
    sent: Vec<u8>,
    spoiled: bool,
}

impl Recorder {
    /// These bytes leave now.
    pub fn note(&mut self, bytes: &[u8]) {
        // Framing and head come on top of the body.
        const BESIDE: usize = limits::UPSTREAM_HEAD_BYTES_MAX + limits::IDEMPOTENCY_OUTCOME_BYTES_MAX / 4;
        if self.spoiled || self.sent.len() + bytes.len() > limits::IDEMPOTENCY_OUTCOME_BYTES_MAX + BESIDE {
            self.spoil();
        } else {
            self.sent.extend_from_slice(bytes);
        }
    }

    /// What goes is no outcome to give again.
    pub fn spoil(&mut self) {
        *self = Self { sent: Vec::new(), spoiled: true };
    }

    /// The outcome that went, if it is one.
    pub fn outcome(&self) -> Option<Outcome> {
        if self.spoiled { None } else { Outcome::of_sent(&self.sent) }
    }
}

#[cfg(test)]
#[path = "idempotency_tests.rs"]
mod tests;
