//! The figures for Prometheus, and whoever speaks its formats: gathered under the control plane's lock as plain numbers, written down without
//! it.
//!
//! What there is stands in [`FAMILIES`]; what a scraper gets is what it asks for, text or protobuf, and native histograms only in the
//! latter. No tenant, no key and nothing that a client chose is a label (rule R5), but for tenants where the owner wants them.

mod families;
mod gather;
mod histogram;
mod page;
mod process;
mod protobuf;
mod text;

pub(super) use families::{
    ATTEMPT_DURATION, BOOKS_AGE, EXPORT_FAILURES, FIRST_TOKEN, LEDGER_BYTES, LEDGER_FULL, LEDGER_RECORDS,
    LEDGER_SYNC_FAILURES, LEDGER_SYNCS, LEDGER_TROUBLE, LOG_DROPPED, LOG_LINES, SPANS, SPANS_DROPPED,
};
pub use families::{FAMILIES, Family, Kind};
pub(super) use histogram::{Native, Spread, ZERO};
pub(super) use page::{Page, Sample, Value};

use super::scores::{SharedScores, shared};
use crate::report::CoreReports;
use crate::report::exchange::{CLASSES, Finish, Surface};
use crate::report::figures::Durations;
use crate::routing::observed::Lap;
use families::{FINISHED, FIRST_BYTE, OVERHEAD, REQUEST_DURATION, REQUEST_FIRST_BYTE, REQUESTS};
use std::sync::Arc;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Delimited protobuf, with native histograms.
    Protobuf,
}

/// The figures of one moment. What can be read without the control plane is read when they are written down.
pub struct MetricsSheet {
    page: Page,
    scores: SharedScores,
    reports: Vec<Arc<CoreReports>>,
}

// === impl Format ===

impl Format {
    /// What a scraper wants most of what there is, by its `Accept` (RFC 9110 §12.5.1); text where it says nothing of use.
    pub fn wanted(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for offer in accept.split(',') {
            let mut parts = offer.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parts: Vec<&str> = parts.collect();
            let value = |name: &str| {
                let mut pairs = parts.iter().filter_map(|part| part.split_once('='));
                pairs
                    .find(|(known, _)| known.trim().eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.trim().trim_matches('"'))
            };
            let quality = value("q").and_then(|text| text.parse::<f64>().ok()).unwrap_or(1.0);
            let format = match kind.as_str() {
                "application/vnd.google.protobuf"
                    if value("proto").is_none_or(|proto| proto == "io.prometheus.client.MetricFamily")
                        && value("encoding").is_none_or(|encoding| encoding == "delimited") =>
                {
                    Self::Protobuf
                }
                "application/openmetrics-text" if value("version").is_none_or(|version| version == "1.0.0") => {
                    Self::OpenMetrics
                }
                "text/plain" if value("version").is_none_or(|version| version == "0.0.4") => Self::Text,
                _ => continue,
            };
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }

    /// What the answer says it is.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

// === impl MetricsSheet ===

impl MetricsSheet {
    /// Writes them down.
    pub fn write(self, format: Format) -> Vec<u8> {
        let page = self.whole();
        match format {
            Format::Text => text::write(&page, text::Dialect::Prometheus).into_bytes(),
            Format::OpenMetrics => text::write(&page, text::Dialect::OpenMetrics).into_bytes(),
            Format::Protobuf => protobuf::write(&page),
        }
    }

    /// All of it.
    pub(super) fn whole(self) -> Page {
        let Self { mut page, scores, reports } = self;
        exchanges(&mut page, &reports);
        attempts(&mut page, &scores);
        process::add(&mut page);
        page.sort();
        page
    }
}

fn exchanges(page: &mut Page, reports: &[Arc<CoreReports>]) {
    let requests = Surface::ALL.iter().flat_map(|surface| {
        let mut sums = [0; CLASSES.len()];
        for core in reports {
            let counts = core.figures.requests(*surface);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let some = CLASSES.iter().zip(sums).filter(|(_, sum)| *sum > 0);
        some.map(|(class, sum)| (vec![surface.as_str().to_owned(), (*class).to_owned()], Value::Count(sum)))
    });
    page.each(&REQUESTS, requests);
    let finished = |finish: &Finish| {
        let sum = reports.iter().map(|core| core.figures.finished(*finish)).sum();
        (vec![finish.as_str().to_owned()], Value::Count(sum))
    };
    page.each(&FINISHED, Finish::ALL.iter().map(finished));
    let spread = |read: fn(&CoreReports) -> &Durations| {
        let mut spread = Spread::default();
        reports.iter().for_each(|core| spread.merge(read(core).read()));
        spread
    };
    page.one(&OVERHEAD, spread(|core| &core.figures.overhead));
    page.one(&REQUEST_FIRST_BYTE, spread(|core| &core.figures.first_byte));
    page.one(&REQUEST_DURATION, spread(|core| &core.figures.total));
}

fn attempts(page: &mut Page, scores: &SharedScores) {
    let scores = shared(scores);
    let shown = [(&ATTEMPT_DURATION, Lap::Total), (&FIRST_BYTE, Lap::FirstByte), (&FIRST_TOKEN, Lap::FirstToken)];
    for (family, lap) in shown {
        let series = scores.series().map(|(provider, model, laps)| {
            let labels = vec![provider.to_owned(), model.to_owned()];
            (labels, Value::Spread(Spread::of_histogram(&laps[lap as usize])))
        });
        page.each(family, series);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_what_it_wants_most() {
        let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
            application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
        let usual = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::Protobuf),
            (usual, Format::OpenMetrics),
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html, application/xhtml+xml", Format::Text),
            ("text/plain;q=0.1, application/openmetrics-text; version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0, text/plain", Format::Text),
            ("application/vnd.google.protobuf;encoding=text", Format::Text),
            ("application/vnd.google.protobuf;q=0", Format::Text),
        ] {
            assert_eq!(Format::wanted(accept), format, "{accept}");
        }
    }
}
