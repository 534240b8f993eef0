//! Who tells of exchanges: the access log and the exporter, with what the journal and the books say of themselves.
//!
//! Exchanges come over bounded queues of the cores and go on into bounded queues: whoever cannot keep up loses lines or spans, counted, and
//! never slows an exchange.

use super::access_log::AccessLog;
use super::metrics::{self as m, Page, Value};
use super::otlp::{Exporter, Telling};
use super::providers::Trusts;
use super::{Control, Environment};
use crate::config::{Otlp, Telemetry, secrets};
use crate::domain::clock::UnixMillis;
use crate::ledger::LedgerStatus;
use crate::limits::telemetry::EXPORT_LAST_DEADLINE;
use crate::tls::ClientConfig;
use std::sync::Arc;
use std::time::Instant;

/// How the journal is asked how it is.
pub type LedgerWatch = Box<dyn Fn() -> LedgerStatus + Send>;

/// What tells of exchanges.
#[derive(Default)]
pub(super) struct Teller {
    log: Option<AccessLog>,
    exporter: Option<Arc<Exporter>>,
    /// What those before them came to, so that counters never decrease.
    before: Before,
    /// The journal, if there is one.
    ledger: Option<LedgerWatch>,
    /// When the books last took in all that waited.
    booked: Option<Instant>,
}

/// Figures of logs and exporters that are closed.
#[derive(Default)]
struct Before {
    lines: u64,
    lines_dropped: u64,
    spans: u64,
    spans_dropped: u64,
    failures: [u64; 2],
}

// === impl Teller ===

impl Teller {
    /// The books have taken in all that waited.
    pub(super) fn booked(&mut self, now: Instant) {
        self.booked = Some(now);
    }

    /// The exporter, if there is one.
    pub(super) fn exporter(&self) -> Option<Arc<Exporter>> {
        self.exporter.clone()
    }

    /// Opens the file of the access log again.
    fn reopen(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    /// Turns to what configuration says now. Answers what could not be had; what can be goes on without it.
    fn turn_to(&mut self, terms: &Telemetry, env: &Environment, trusts: &mut Trusts, now: UnixMillis) -> Vec<String> {
        let mut notes = Vec::new();
        if self.log.as_ref().map(AccessLog::terms) != terms.access_log.as_ref() {
            self.close_log();
            match terms.access_log.clone().map(AccessLog::open).transpose() {
                Ok(log) => self.log = log,
                Err(note) => notes.push(note),
            }
        }
        let read = terms.otlp.as_ref().map(|otlp| read(otlp, env, trusts));
        match read.transpose() {
            Err(note) => {
                self.close_exporter();
                notes.push(note);
            }
            Ok(None) => self.close_exporter(),
            Ok(Some((headers, trust))) => {
                let known = |exporter: &Arc<Exporter>| {
                    Some(exporter.terms()) == terms.otlp.as_ref() && exporter.headers() == headers
                };
                if !self.exporter.as_ref().is_some_and(known) {
                    self.close_exporter();
                    let made = |otlp: Otlp| Arc::new(Exporter::new(otlp, headers, trust, now));
                    self.exporter = terms.otlp.clone().map(made);
                }
            }
        }
        notes
    }

    fn close_log(&mut self) {
        if let Some(log) = self.log.take() {
            let (lines, dropped) = log.figures();
            self.before.lines += lines;
            self.before.lines_dropped += dropped;
            log.close(EXPORT_LAST_DEADLINE);
        }
    }

    fn close_exporter(&mut self) {
        if let Some(exporter) = self.exporter.take() {
            let (spans, dropped, failures) = exporter.figures();
            self.before.spans += spans;
            self.before.spans_dropped += dropped;
            self.before.failures.iter_mut().zip(failures).for_each(|(sum, (_, count))| *sum += count);
        }
    }

    /// Its families.
    pub(super) fn add_to(&self, page: &mut Page) {
        if let Some(booked) = self.booked {
            page.one(&m::BOOKS_AGE, booked.elapsed().as_millis() as f64 / 1e3);
        }
        if let Some(status) = self.ledger.as_ref().map(|ask| ask()) {
            page.one(&m::LEDGER_RECORDS, status.records);
            page.one(&m::LEDGER_BYTES, status.bytes);
            page.one(&m::LEDGER_SYNCS, status.syncs);
            page.one(&m::LEDGER_SYNC_FAILURES, status.sync_failures);
            page.one(&m::LEDGER_FULL, status.full);
            page.one(&m::LEDGER_TROUBLE, status.trouble.is_some());
        }
        if let Some((lines, dropped)) = self.log.as_ref().map(AccessLog::figures) {
            page.one(&m::LOG_LINES, self.before.lines + lines);
            page.one(&m::LOG_DROPPED, self.before.lines_dropped + dropped);
        }
        if let Some((spans, dropped, failures)) = self.exporter.as_ref().map(|exporter| exporter.figures()) {
            page.one(&m::SPANS, self.before.spans + spans);
            page.one(&m::SPANS_DROPPED, self.before.spans_dropped + dropped);
            let failed = failures.iter().zip(self.before.failures);
            let failed =
                failed.map(|((signal, count), before)| (vec![(*signal).to_owned()], Value::Count(count + before)));
            page.each(&m::EXPORT_FAILURES, failed);
        }
    }
}

/// The headers for a collector, and whom to trust where it is asked over TLS.
type Read = (Vec<(String, String)>, Option<Arc<ClientConfig>>);

fn read(otlp: &Otlp, env: &Environment, trusts: &mut Trusts) -> Result<Read, String> {
    let mut headers = Vec::with_capacity(otlp.headers.len());
    for (name, source) in &otlp.headers {
        // Values such as `Bearer …` have a space, which keys have not.
        let secret = secrets::bytes(source, &**env)
            .map_err(|fault| format!("the header `{name}` for the collector: {fault}"))?;
        let value = std::str::from_utf8(secret.expose()).map(str::trim).unwrap_or_default();
        if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(format!("the header `{name}` for the collector: {source} holds what no header can carry"));
        }
        headers.push((name.clone(), value.to_owned()));
    }
    let authority = otlp.ca.as_ref().map(|path| std::fs::read(path).map_err(|error| (path, error))).transpose();
    let authority =
        authority.map_err(|(path, error)| format!("the collector's authorities {}: {error}", path.display()))?;
    let trust = otlp.endpoint.is_tls().then(|| trusts.client(authority.as_deref())).transpose();
    Ok((headers, trust.map_err(|error| format!("the collector's authorities: {error}"))?))
}

// === impl Control ===

impl Control {
    /// From now on metrics say how the journal is.
    pub fn watch_ledger(&mut self, ask: LedgerWatch) {
        self.teller.ledger = Some(ask);
    }

    /// Opens the file of the access log again, because somebody may have moved it away.
    pub fn reopen_access_log(&self) {
        self.teller.reopen();
    }

    /// Tells of exchanges as configuration says now.
    pub(super) fn turn_teller(&mut self) {
        let now = self.now();
        let Self { teller, config, env, trusts, .. } = self;
        let notes = teller.turn_to(&config.telemetry, env, trusts, now);
        self.note_all("telemetry", notes);
    }

    /// Takes the exchanges that are over off the cores' queues and tells of them.
    pub(super) fn tell_exchanges(&mut self) {
        let Self { teller, reports, configured, .. } = self;
        for core in reports {
            // What a core pushes meanwhile waits for the next turn, so that a busy core cannot keep us here.
            for _ in 0..core.exchanges_waiting() {
                let Some(exchange) = core.pop_exchange() else { break };
                if let Some(log) = &mut teller.log {
                    log.tell(&exchange);
                }
                let Some(exporter) = teller.exporter.as_ref().filter(|exporter| exporter.wants(&exchange)) else {
                    continue;
                };
                let server = |name: &str| {
                    let provider = configured.iter().find(|provider| provider.config.id.as_str() == name)?;
                    Some((provider.url.host().to_owned(), provider.url.port()))
                };
                let servers = exchange.attempts.iter().map(|attempt| server(attempt.provider.as_str())).collect();
                exporter.take(Telling { exchange, servers });
            }
        }
        if let Some(log) = &mut teller.log {
            log.hand_over();
        }
    }

    /// Writes the last lines of the access log, and waits for them a moment.
    pub(super) fn close_access_log(&mut self) {
        self.tell_exchanges();
        self.teller.close_log();
    }
}
