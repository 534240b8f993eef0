//! Results in the files of HdrHistogram, which its plotters and processors read: interval logs and percentile tables.

use super::Report;
use crate::measure::Sparse;
use anyhow::Context as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::fmt::Write as _;
use std::time::Duration;

/// Nanoseconds in the unit of both files' figures, a millisecond.
const NANOS_PER_UNIT: f64 = 1e6;
/// Steps of a percentile table for each halving of the distance to 100 %.
const STEPS_PER_HALF: u32 = 5;

/// The seconds of a result as an interval log (`.hlog`), its histograms tagged `ttft`, `e2e` and `gap`, in nanoseconds.
///
/// # Errors
/// The library cannot write it, which would be a bug.
pub fn interval_log(report: &Report) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    let comment = format!("igris-load {}: {}", report.version, report.title().replace(['\n', '\r'], " "));
    builder.add_comment(&comment).with_start_time(report.started).with_base_time(report.started);
    builder.with_max_value_divisor(NANOS_PER_UNIT);
    let mut log = builder.begin_log_with(&mut bytes, &mut serializer).context("cannot begin an interval log")?;
    for row in &report.measured.seconds {
        let start = Duration::from_secs(row.second);
        let tagged: [(&str, &Sparse); 3] = [("ttft", &row.ttft), ("e2e", &row.e2e), ("gap", &row.gap)];
        for (tag, sparse) in tagged.into_iter().filter(|(_, sparse)| sparse.count() > 0) {
            log.write_histogram(&sparse.whole(), start, Duration::from_secs(row.span), Tag::new(tag))
                .map_err(|reason| anyhow::anyhow!("cannot write a histogram of an interval log: {reason:?}"))?;
        }
    }
    Ok(bytes)
}

/// The percentiles of one figure of a result (`.hgrm`), in milliseconds; `None` if there is no such figure.
pub fn percentiles(report: &Report, figure: &str) -> Option<String> {
    report.measured.histogram(figure).map(|histogram| percentile_table(&histogram))
}

/// A histogram of nanoseconds as a percentile table in milliseconds.
pub fn percentile_table(whole: &Histogram<u64>) -> String {
    let mut out = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for step in whole.iter_quantiles(STEPS_PER_HALF) {
        let (value, quantile) = (step.value_iterated_to() as f64 / NANOS_PER_UNIT, step.quantile_iterated_to());
        let count = whole.count_between(0, step.value_iterated_to());
        // Writing to memory does not fail.
        let _ = if quantile < 1.0 {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {count:>10} {:>14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {count:>10}")
        };
    }
    let (mean, deviation) = (whole.mean() / NANOS_PER_UNIT, whole.stdev() / NANOS_PER_UNIT);
    let _ = writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]");
    let _ = writeln!(
        out,
        "#[Max     = {:>12.3}, Total count    = {:>12}]",
        whole.max() as f64 / NANOS_PER_UNIT,
        whole.len()
    );
    let _ = writeln!(out, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", whole.buckets(), sub_buckets(whole));
    out
}

/// Buckets of a bucket: at three digits they are 2048 (HdrHistogram's own rule: the power of two at or above 2 * 10^digits).
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}
