//! Traces and metrics for an OpenTelemetry collector, by OTLP over HTTP in protobuf (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! Spans are made here of what exchanges left behind, one for each exchange and one for each attempt below it, by the semantic conventions for
//! HTTP and generative AI. They wait in a bounded queue; a collector that is slow or gone costs spans, which are counted, and nothing else.
//! No text of a prompt or an answer is in a span, and no setting puts any there (rules R1, R4).

mod attributes;
mod metrics;
mod proto;
mod send;
mod spans;

use super::resolve::Resolver;
use super::ticks::lock;
use super::{Control, metrics::Page};
use crate::config::Otlp;
use crate::domain::clock::UnixMillis;
use crate::limits::telemetry as bounds;
use crate::report::exchange::ExchangeReport;
use crate::tls::ClientConfig;
use prost::Message;
use send::{Send, Sent};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An exchange that is to be exported, with where its attempts went.
pub(super) struct Telling {
    pub(super) exchange: ExchangeReport,
    /// Host and port of each attempt's provider, where known.
    pub(super) servers: Vec<Option<(String, u16)>>,
}

/// What is sent where.
pub(super) struct Exporter {
    terms: Otlp,
    /// Values of the headers, read from where their references lead.
    headers: Vec<(String, String)>,
    trust: Option<Arc<ClientConfig>>,
    began: UnixMillis,
    waiting: Mutex<VecDeque<Telling>>,
    /// Spans that were taken by the collector.
    exported: AtomicU64,
    /// Spans that were dropped.
    dropped: AtomicU64,
    /// Exports of spans and of metrics that failed.
    failures: [AtomicU64; 2],
}

/// Places in [`Exporter::failures`].
const SIGNALS: [&str; 2] = ["traces", "metrics"];

impl Exporter {
    /// An exporter on these terms.
    pub(super) fn new(
        terms: Otlp,
        headers: Vec<(String, String)>,
        trust: Option<Arc<ClientConfig>>,
        began: UnixMillis,
    ) -> Self {
        let waiting = Mutex::default();
        let (exported, dropped, failures) = Default::default();
        Self { terms, headers, trust, began, waiting, exported, dropped, failures }
    }

    /// On what terms it works.
    pub(super) fn terms(&self) -> &Otlp {
        &self.terms
    }

    /// The values of its headers.
    pub(super) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Whether an exchange is to be exported: sampled, or wanted in any case.
    pub(super) fn wants(&self, exchange: &ExchangeReport) -> bool {
        let always = self.terms.always;
        let whole = Duration::from_micros(u64::from(exchange.times.total_us));
        self.terms.traces
            && (exchange.trace.sampled
                || always.errors && spans::failed(exchange)
                || always.slow.is_some_and(|slow| whole >= slow))
    }

    /// Takes an exchange in; one that finds no room is dropped and counted.
    pub(super) fn take(&self, telling: Telling) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= bounds::SPANS_WAITING_MAX {
            self.dropped.fetch_add(spans_of(&telling), Ordering::Relaxed);
        } else {
            waiting.push_back(telling);
        }
    }

    /// Spans exported and dropped, and failed exports by signal, since it began.
    pub(super) fn figures(&self) -> (u64, u64, [(&'static str, u64); 2]) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let failures = std::array::from_fn(|place| (SIGNALS[place], read(&self.failures[place])));
        (read(&self.exported), read(&self.dropped), failures)
    }

    fn batch(&self) -> Vec<Telling> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(bounds::SPANS_PER_EXPORT_MAX);
        waiting.drain(..count).collect()
    }

    /// Exports one batch of spans, if there is any; answers whether there may be more.
    async fn export_spans(&self, resolver: Option<&Resolver>, tries: u32, deadline: Duration) -> bool {
        let batch = self.batch();
        if batch.is_empty() {
            return false;
        }
        let count = batch.iter().map(spans_of).sum();
        let body = spans::request(&batch, &self.terms).encode_to_vec();
        match self.deliver("/v1/traces", &body, 0, resolver, tries, deadline).await {
            Some(rejected) => {
                let rejected = rejected.min(count);
                self.exported.fetch_add(count - rejected, Ordering::Relaxed);
                self.dropped.fetch_add(rejected, Ordering::Relaxed);
            }
            None => drop(self.dropped.fetch_add(count, Ordering::Relaxed)),
        }
        batch.len() == bounds::SPANS_PER_EXPORT_MAX
    }

    async fn export_metrics(
        &self,
        page: &Page,
        sizes: &super::stats::Sizes,
        resolver: Option<&Resolver>,
        deadline: Duration,
    ) {
        let body = metrics::request(page, sizes, &self.terms, self.began, UnixMillis::now()).encode_to_vec();
        // The next one says all that this one says, so it is not tried again.
        let _ = self.deliver("/v1/metrics", &body, 1, resolver, 1, deadline).await;
    }

    /// Sends until the collector has it; answers how much of it was rejected, or `None` if it was given up.
    async fn deliver(
        &self,
        path: &str,
        body: &[u8],
        signal: usize,
        resolver: Option<&Resolver>,
        tries: u32,
        deadline: Duration,
    ) -> Option<u64> {
        let mut wait = bounds::EXPORT_RETRY_FIRST;
        for attempt in 1..=tries {
            let url = &self.terms.endpoint;
            let send = Send { url, path, headers: &self.headers, trust: self.trust.as_ref(), body };
            match send.run(resolver, deadline).await {
                Sent::Taken { rejected } => return Some(rejected),
                Sent::Refused => {
                    self.failures[signal].fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                Sent::Later(asked) => {
                    self.failures[signal].fetch_add(1, Ordering::Relaxed);
                    if attempt < tries {
                        tokio::time::sleep(asked.unwrap_or(wait).min(bounds::EXPORT_RETRY_MAX)).await;
                        wait = (wait * 2).min(bounds::EXPORT_RETRY_MAX);
                    }
                }
            }
        }
        None
    }
}

/// An exchange is a span, and so is each attempt.
fn spans_of(telling: &Telling) -> u64 {
    1 + telling.exchange.attempts.len() as u64
}

/// Exports spans as they come, until it is dropped.
pub(super) async fn export_always(control: Arc<Mutex<Control>>, resolver: Option<Resolver>) {
    let mut tick = super::every(bounds::SPANS_INTERVAL);
    loop {
        tick.tick().await;
        let Some(exporter) = exporter_of(&control) else { continue };
        while exporter.export_spans(resolver.as_ref(), bounds::EXPORT_TRIES_MAX, bounds::EXPORT_DEADLINE).await {}
    }
}

/// Exports metrics at their interval, until it is dropped.
pub(super) async fn measure_always(control: Arc<Mutex<Control>>, resolver: Option<Resolver>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(bounds::SPANS_INTERVAL.min(bounds::METRICS_INTERVAL_MIN)).await;
        let due = exporter_of(&control).filter(|exporter| {
            exporter.terms.metrics && last.elapsed() + Duration::from_millis(20) >= exporter.terms.metrics_interval
        });
        let Some(exporter) = due else { continue };
        last = Instant::now();
        measure(&control, &exporter, resolver.as_ref(), bounds::EXPORT_DEADLINE).await;
    }
}

/// Sends what still waits, once, before the process ends.
pub(super) async fn export_rest(control: &Mutex<Control>, resolver: Option<&Resolver>) {
    let Some(exporter) = exporter_of(control) else { return };
    let work = async {
        while exporter.export_spans(resolver, 1, bounds::EXPORT_LAST_DEADLINE).await {}
        if exporter.terms.metrics {
            measure(control, &exporter, resolver, bounds::EXPORT_LAST_DEADLINE).await;
        }
    };
    let _ = tokio::time::timeout(bounds::EXPORT_LAST_DEADLINE, work).await;
}

fn exporter_of(control: &Mutex<Control>) -> Option<Arc<Exporter>> {
    lock(control).teller.exporter()
}

async fn measure(control: &Mutex<Control>, exporter: &Exporter, resolver: Option<&Resolver>, deadline: Duration) {
    let (sheet, sizes) = {
        let control = lock(control);
        (control.metrics_sheet(), control.stats.sizes())
    };
    let page = sheet.whole();
    exporter.export_metrics(&page, &sizes, resolver, deadline).await;
}
