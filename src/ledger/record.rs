//! What a record says, and its bytes: numbers little-endian, texts behind their length. Framing, checksums and the chain are the segment's.
//!
//! A close repeats what its intent said, so that it can be read by itself: whoever goes on in the middle of a journal needs nothing before.

use crate::domain::clock::UnixMillis;
use crate::domain::id::{AccessKeyId, AttemptId, CredentialId, ProviderId, RequestId, TenantId};
use crate::domain::money::Money;
use crate::domain::token::{Usage, UsageSource};
use crate::limits::ledger::TEXT_BYTES_MAX;
use crate::report::brief::Brief;
use crate::report::{AttemptReport, Outcome};
use crate::routing::policy::Policy;
use std::sync::Arc;

/// What an attempt would cost by the token, at the terms it began on; for the close that it may never write itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Picodollars for a token in.
    pub input_pico: u64,
    /// Picodollars for a token out.
    pub output_pico: u64,
}

/// An attempt that is about to be made.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Everything that is known of it before; as a close it would say *interrupted*, with nothing used.
    pub report: AttemptReport,
    /// Tokens that it sends, by estimate.
    pub input_tokens: u64,
    /// What they cost, if the price is known.
    pub rates: Option<Rates>,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which attempt's.
    pub attempt: AttemptId,
    /// What it has used so far, by the best figure there is.
    pub usage: Usage,
    /// Where that is from.
    pub source: UsageSource,
}

/// A record, read.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An attempt begins.
    Intent(Intent),
    /// It goes on.
    Mark(Mark),
    /// It has ended.
    Close(AttemptReport),
}

/// The first byte of a record's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Entry::Intent`].
    Intent = 1,
    /// [`Entry::Mark`].
    Mark = 2,
    /// [`Entry::Close`].
    Close = 3,
}

// === Writing ===

/// Appends an intent's content.
pub fn write_intent(report: &AttemptReport, input_tokens: u64, rates: Option<Rates>, out: &mut Vec<u8>) {
    out.push(Kind::Intent as u8);
    write_identity(report, out);
    number(input_tokens, out);
    out.push(u8::from(rates.is_some()));
    let rates = rates.unwrap_or(Rates { input_pico: 0, output_pico: 0 });
    number(rates.input_pico, out);
    number(rates.output_pico, out);
}

/// Appends a mark's content.
pub fn write_mark(mark: &Mark, out: &mut Vec<u8>) {
    out.push(Kind::Mark as u8);
    out.extend_from_slice(&mark.attempt.bits().to_le_bytes());
    out.push(source_code(mark.source));
    write_usage(&mark.usage, out);
}

/// Appends a close's content.
pub fn write_close(report: &AttemptReport, out: &mut Vec<u8>) {
    out.push(Kind::Close as u8);
    write_identity(report, out);
    out.push(outcome_code(report.outcome));
    out.extend_from_slice(&report.status.to_le_bytes());
    out.push(u8::from(report.last) | u8::from(report.key_refused) << 1 | u8::from(report.cost.is_some()) << 2);
    out.push(source_code(report.usage_source));
    write_usage(&report.usage, out);
    out.extend_from_slice(&report.cost.unwrap_or_default().pico().to_le_bytes());
    for micros in [report.connect_us, report.tls_us, report.first_byte_us, report.first_token_us, report.total_us] {
        out.extend_from_slice(&micros.to_le_bytes());
    }
}

fn write_identity(report: &AttemptReport, out: &mut Vec<u8>) {
    for bits in [
        report.attempt.bits(),
        report.exchange.bits(),
        report.access_key.bits(),
        report.credential.map_or(0, CredentialId::bits),
    ] {
        out.extend_from_slice(&bits.to_le_bytes());
    }
    number(report.started.0, out);
    number(report.price_version, out);
    out.push(policy_code(report.policy));
    out.push(u8::from(report.stream));
    text(report.tenant.as_str(), out);
    text(report.provider.as_str(), out);
    text(&report.model, out);
}

fn write_usage(usage: &Usage, out: &mut Vec<u8>) {
    for tokens in [
        usage.input,
        usage.output,
        usage.cached_input,
        usage.cache_write,
        usage.cache_write_long,
        usage.audio_input,
        usage.audio_output,
        usage.reasoning,
    ] {
        number(tokens, out);
    }
}

fn number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A text of bounded length; longer ones are cut, on a character's border.
fn text(value: &str, out: &mut Vec<u8>) {
    let mut end = value.len().min(TEXT_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let (kept, _) = value.split_at(end);
    out.extend_from_slice(&u16::try_from(end).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(kept.as_bytes());
}

// === Reading ===

/// Reads a record's content; `None` if it is none, or has bytes to spare.
pub fn read(content: &[u8]) -> Option<Entry> {
    let mut cursor = Cursor { rest: content };
    let entry = match cursor.byte()? {
        1 => {
            let report = read_identity(&mut cursor)?.report();
            let input_tokens = cursor.number()?;
            let has_rates = cursor.flag()?;
            let rates = Rates { input_pico: cursor.number()?, output_pico: cursor.number()? };
            Entry::Intent(Intent { report, input_tokens, rates: has_rates.then_some(rates) })
        }
        2 => {
            let attempt = AttemptId::from_bits(cursor.bits()?);
            let source = source_of(cursor.byte()?)?;
            Entry::Mark(Mark { attempt, usage: read_usage(&mut cursor)?, source })
        }
        3 => {
            let mut report = read_identity(&mut cursor)?.report();
            read_ending(&mut cursor)?.complete(&mut report);
            Entry::Close(report)
        }
        _ => return None,
    };
    cursor.rest.is_empty().then_some(entry)
}

/// Reads what the books need of a close; `Some(None)` of another kind of record, which is not looked into, `None` of what is no record.
pub fn read_brief(content: &[u8]) -> Option<Option<Brief<'_>>> {
    let mut cursor = Cursor { rest: content };
    match cursor.byte()? {
        1 | 2 => Some(None),
        3 => {
            let (identity, ending) = (read_identity(&mut cursor)?, read_ending(&mut cursor)?);
            cursor.rest.is_empty().then(|| Some(identity.brief(&ending)))
        }
        _ => None,
    }
}

/// What an intent and a close begin with.
struct Identity<'a> {
    attempt: AttemptId,
    exchange: RequestId,
    access_key: AccessKeyId,
    credential: Option<CredentialId>,
    started: UnixMillis,
    price_version: u64,
    policy: Policy,
    stream: bool,
    tenant: &'a str,
    provider: &'a str,
    model: &'a str,
}

/// What a close says beyond that.
struct Ending {
    outcome: Outcome,
    status: u16,
    last: bool,
    key_refused: bool,
    usage_source: UsageSource,
    usage: Usage,
    cost: Option<Money>,
    /// Until connected, TLS alone, first byte, first token, in all; microseconds.
    times: [u32; 5],
}

fn read_identity<'a>(cursor: &mut Cursor<'a>) -> Option<Identity<'a>> {
    let (attempt, exchange) = (AttemptId::from_bits(cursor.bits()?), RequestId::from_bits(cursor.bits()?));
    let (access_key, credential) = (AccessKeyId::from_bits(cursor.bits()?), cursor.bits()?);
    let (started, price_version) = (UnixMillis(cursor.number()?), cursor.number()?);
    let policy = policy_of(cursor.byte()?)?;
    let stream = cursor.flag()?;
    let credential = (credential != 0).then(|| CredentialId::from_bits(credential));
    let (tenant, provider, model) = (cursor.text()?, cursor.text()?, cursor.text()?);
    Some(Identity {
        attempt,
        exchange,
        access_key,
        credential,
        started,
        price_version,
        policy,
        stream,
        tenant,
        provider,
        model,
    })
}

fn read_ending(cursor: &mut Cursor<'_>) -> Option<Ending> {
    let outcome = outcome_of(cursor.byte()?)?;
    let status = u16::from_le_bytes(cursor.take()?);
    let flags = cursor.byte()?;
    if flags & !0b111 != 0 {
        return None;
    }
    let usage_source = source_of(cursor.byte()?)?;
    let usage = read_usage(cursor)?;
    let cost = Money::from_pico(i128::from_le_bytes(cursor.take()?));
    let mut times = [0; 5];
    for slot in &mut times {
        *slot = u32::from_le_bytes(cursor.take()?);
    }
    let (last, key_refused, cost) = (flags & 1 != 0, flags & 2 != 0, (flags & 4 != 0).then_some(cost));
    Some(Ending { outcome, status, last, key_refused, usage_source, usage, cost, times })
}

impl<'a> Identity<'a> {
    /// As a report: *interrupted*, with nothing used.
    fn report(&self) -> AttemptReport {
        AttemptReport {
            exchange: self.exchange,
            attempt: self.attempt,
            last: false,
            tenant: TenantId::new(self.tenant),
            access_key: self.access_key,
            provider: ProviderId::new(self.provider),
            credential: self.credential,
            model: Arc::from(self.model),
            policy: self.policy,
            outcome: Outcome::Interrupted,
            status: 0,
            key_refused: false,
            stream: self.stream,
            usage: Usage::default(),
            usage_source: UsageSource::Unknown,
            cost: None,
            price_version: self.price_version,
            started: self.started,
            connect_us: 0,
            tls_us: 0,
            first_byte_us: 0,
            first_token_us: 0,
            total_us: 0,
        }
    }

    fn brief(&self, ending: &Ending) -> Brief<'a> {
        Brief {
            attempt: self.attempt,
            last: ending.last,
            tenant: self.tenant,
            access_key: self.access_key,
            provider: self.provider,
            credential: self.credential,
            model: self.model,
            policy: self.policy,
            outcome: ending.outcome,
            usage: ending.usage,
            usage_source: ending.usage_source,
            cost: ending.cost,
            started: self.started,
        }
    }
}

impl Ending {
    fn complete(&self, report: &mut AttemptReport) {
        (report.outcome, report.status) = (self.outcome, self.status);
        (report.last, report.key_refused) = (self.last, self.key_refused);
        (report.usage, report.usage_source, report.cost) = (self.usage, self.usage_source, self.cost);
        let [connect_us, tls_us, first_byte_us, first_token_us, total_us] = self.times;
        (report.connect_us, report.tls_us, report.first_byte_us) = (connect_us, tls_us, first_byte_us);
        (report.first_token_us, report.total_us) = (first_token_us, total_us);
    }
}

fn read_usage(cursor: &mut Cursor<'_>) -> Option<Usage> {
    Some(Usage {
        input: cursor.number()?,
        output: cursor.number()?,
        cached_input: cursor.number()?,
        cache_write: cursor.number()?,
        cache_write_long: cursor.number()?,
        audio_input: cursor.number()?,
        audio_output: cursor.number()?,
        reasoning: cursor.number()?,
    })
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn bits(&mut self) -> Option<u128> {
        self.take().map(u128::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.take()?);
        std::str::from_utf8(self.bytes(usize::from(length))?).ok()
    }
}

// === Codes: never renumbered, only added to ===

const OUTCOMES: [Outcome; 8] = [
    Outcome::Completed,
    Outcome::Refused,
    Outcome::Unreachable,
    Outcome::TimedOut,
    Outcome::Broken,
    Outcome::ClientGone,
    Outcome::Superseded,
    Outcome::Interrupted,
];

const SOURCES: [UsageSource; 3] = [UsageSource::Provider, UsageSource::Estimated, UsageSource::Unknown];

// The code of a value is its place, in its list and in its declaration; who moves one there must write a table here.
const _: () = {
    let mut place = 0;
    while place < OUTCOMES.len() {
        assert!(OUTCOMES[place] as usize == place);
        place += 1;
    }
    let mut place = 0;
    while place < SOURCES.len() {
        assert!(SOURCES[place] as usize == place);
        place += 1;
    }
    let mut place = 0;
    while place < Policy::ALL.len() {
        assert!(Policy::ALL[place] as usize == place);
        place += 1;
    }
};

fn outcome_code(outcome: Outcome) -> u8 {
    outcome as u8
}

fn outcome_of(code: u8) -> Option<Outcome> {
    OUTCOMES.get(usize::from(code)).copied()
}

fn source_code(source: UsageSource) -> u8 {
    source as u8
}

fn source_of(code: u8) -> Option<UsageSource> {
    SOURCES.get(usize::from(code)).copied()
}

fn policy_code(policy: Policy) -> u8 {
    policy as u8
}

fn policy_of(code: u8) -> Option<Policy> {
    Policy::ALL.get(usize::from(code)).copied()
}
