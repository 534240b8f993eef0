//! The page as Prometheus's protobuf, delimited, with native histograms beside the classic ones
//! (<https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>, read 2026-11-26).

use super::families::{Family, Kind};
use super::histogram::{Spread, ZERO};
use super::page::{Page, Sample, Value};
use prost::Message;

/// `io.prometheus.client.MetricFamily`.
#[derive(Clone, PartialEq, Message)]
pub struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    /// Counter 0, gauge 1, histogram 4.
    #[prost(int32, optional, tag = "3")]
    pub kind: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
    #[prost(string, optional, tag = "5")]
    pub unit: Option<String>,
}

/// `io.prometheus.client.Metric`.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

/// `io.prometheus.client.LabelPair`.
#[derive(Clone, PartialEq, Message)]
pub struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// `io.prometheus.client.Gauge` and `Counter`, which are alike as far as we fill them.
#[derive(Clone, PartialEq, Message)]
pub struct Number {
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

/// `io.prometheus.client.Histogram`.
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    pub schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    pub zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    pub zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub positive_delta: Vec<i64>,
}

/// `io.prometheus.client.Bucket`.
#[derive(Clone, PartialEq, Message)]
pub struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub upper_bound: Option<f64>,
}

/// `io.prometheus.client.BucketSpan`.
#[derive(Clone, PartialEq, Message)]
pub struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    pub offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub length: Option<u32>,
}

/// Writes all of it.
pub(super) fn write(page: &Page) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 * 1024);
    for (family, samples) in &page.families {
        let said = family_of(family, samples);
        // Into a vector, which takes any length.
        let _ = said.encode_length_delimited(&mut out);
    }
    out
}

fn family_of(family: &Family, samples: &[Sample]) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge | Kind::Info => 1,
        Kind::Histogram => 4,
    };
    MetricFamily {
        name: Some(family.name.to_owned()),
        help: Some(family.help.to_owned()),
        kind: Some(kind),
        metric: samples.iter().map(|sample| metric(family, sample)).collect(),
        unit: family.unit().map(str::to_owned),
    }
}

fn metric(family: &Family, sample: &Sample) -> Metric {
    let pair =
        |(name, value): (&&str, &String)| LabelPair { name: Some((*name).to_owned()), value: Some(value.clone()) };
    let label = family.labels.iter().zip(&sample.labels).map(pair).collect();
    let number = match &sample.value {
        Value::Spread(spread) => {
            return Metric { label, gauge: None, counter: None, histogram: Some(histogram(family, spread)) };
        }
        Value::Count(count) => Number { value: Some(*count as f64) },
        Value::Number(number) => Number { value: Some(*number) },
    };
    let (gauge, counter) = if family.kind == Kind::Counter { (None, Some(number)) } else { (Some(number), None) };
    Metric { label, gauge, counter, histogram: None }
}

fn histogram(family: &Family, spread: &Spread) -> Histogram {
    let native = spread.native(1e-6);
    let count = spread.count();
    let bucket = |(end, below): (f64, u64)| Bucket { cumulative_count: Some(below), upper_bound: Some(end) };
    let all = [(f64::INFINITY, count)];
    let spans = native.spans();
    // An empty one needs a span of nothing to be known as native.
    let nothing = spans.is_empty().then_some(BucketSpan { offset: Some(0), length: Some(0) });
    let span = |(gap, counts): &(i32, Vec<u64>)| BucketSpan { offset: Some(*gap), length: Some(counts.len() as u32) };
    let mut before = 0;
    let deltas = spans.iter().flat_map(|(_, counts)| counts).map(|count| {
        let delta = *count as i64 - before;
        before = *count as i64;
        delta
    });
    Histogram {
        sample_count: Some(count),
        sample_sum: Some(spread.sum),
        bucket: spread.below(family.bounds()).chain(all).map(bucket).collect(),
        schema: Some(native.schema),
        zero_threshold: Some(ZERO),
        zero_count: Some(native.zero),
        positive_delta: deltas.collect(),
        positive_span: spans.iter().map(span).chain(nothing).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::{FIRST_BYTE, REQUESTS};
    use super::*;

    #[test]
    fn families_read_back_with_their_histograms() {
        let mut page = Page::default();
        page.each(&REQUESTS, [(vec!["chat".to_owned(), "2xx".to_owned()], Value::Count(5))]);
        let spread = Spread::of(vec![(0, 1), (1_000, 4), (1_100, 2), (64_000, 3)], 200_000);
        page.each(&FIRST_BYTE, [(vec!["p".to_owned(), "m".to_owned()], Value::from(spread))]);
        let (bytes, mut families) = (write(&page), Vec::new());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut rest).expect("a family"));
        }
        assert_eq!(families.len(), 2);
        assert_eq!(families[0].metric[0].counter.as_ref().and_then(|counter| counter.value), Some(5.0));
        let read = families[1].metric[0].histogram.as_ref().expect("a histogram");
        assert_eq!((read.sample_count, read.zero_count, read.schema), (Some(10), Some(1), Some(3)));
        let (mut count, mut counts) = (0, Vec::new());
        for delta in &read.positive_delta {
            count += delta;
            counts.push(count);
        }
        assert_eq!(counts, [4, 2, 3], "by bucket");
        let lengths: u32 = read.positive_span.iter().filter_map(|span| span.length).sum();
        assert_eq!(lengths, 3);
        assert_eq!(
            read.bucket.last().map(|last| (last.cumulative_count, last.upper_bound)),
            Some((Some(10), Some(f64::INFINITY)))
        );
    }
}
