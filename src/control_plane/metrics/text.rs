//! The page as text: Prometheus's format 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>) and OpenMetrics 1.0
//! (<https://prometheus.io/docs/specs/om/open_metrics_spec/>).

use super::families::{Family, Kind};
use super::page::{Page, Sample, Value};
use std::fmt::Write;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// Writes all of it.
pub(super) fn write(page: &Page, dialect: Dialect) -> String {
    let mut out = String::with_capacity(32 * 1024);
    for (family, samples) in &page.families {
        head(&mut out, family, dialect);
        samples.iter().for_each(|sample| series(&mut out, family, sample));
    }
    if dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn head(out: &mut String, family: &Family, dialect: Dialect) {
    let (name, kind) = match (dialect, family.kind) {
        (Dialect::OpenMetrics, Kind::Counter) => (family.base(), "counter"),
        (Dialect::OpenMetrics, Kind::Info) => (family.base(), "info"),
        (_, Kind::Counter) => (family.name, "counter"),
        (_, Kind::Gauge | Kind::Info) => (family.name, "gauge"),
        (_, Kind::Histogram) => (family.name, "histogram"),
    };
    line(out, format_args!("# HELP {name} {}", family.help.replace('\\', "\\\\")));
    line(out, format_args!("# TYPE {name} {kind}"));
    if let Some(unit) = family.unit().filter(|_| dialect == Dialect::OpenMetrics) {
        line(out, format_args!("# UNIT {name} {unit}"));
    }
}

fn series(out: &mut String, family: &Family, sample: &Sample) {
    let labels: Vec<String> = family
        .labels
        .iter()
        .zip(&sample.labels)
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    let (name, labels) = (family.name, labels.join(","));
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    match &sample.value {
        Value::Count(count) => line(out, format_args!("{name}{braced} {count}")),
        Value::Number(number) => line(out, format_args!("{name}{braced} {number}")),
        Value::Spread(spread) => {
            let comma = if labels.is_empty() { "" } else { "," };
            for (end, below) in spread.below(family.bounds()) {
                line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"{}\"}} {below}", number(end)));
            }
            let count = spread.count();
            line(out, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
            line(out, format_args!("{name}_sum{braced} {}", spread.sum));
            line(out, format_args!("{name}_count{braced} {count}"));
        }
    }
}

/// A number as Go writes it, which is the one form that OpenMetrics takes for the end of a bucket.
fn number(value: f64) -> String {
    if value >= 1e-4 {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, power) = text.split_once("e-").unwrap_or((&text, "0"));
    format!("{digits}e-{power:0>2}")
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::families::{ATTEMPTS, BUILD, FIRST_BYTE, OVERHEAD};
    use super::super::histogram::Spread;
    use super::*;

    fn sample_page() -> Page {
        let mut page = Page::default();
        page.each(&BUILD, [(vec!["1".to_owned()], Value::Count(1))]);
        page.one(&OVERHEAD, Spread::of(vec![(30, 2)], 61));
        page.each(
            &ATTEMPTS,
            [(vec!["p".to_owned(), "a\"b\\c\nd".to_owned(), "completed".to_owned()], Value::Count(3))],
        );
        page.each(&FIRST_BYTE, [(vec!["p".to_owned(), "m".to_owned()], Value::from(Spread::default()))]);
        page
    }

    #[test]
    fn both_dialects_say_the_same_in_their_own_way() {
        let old = write(&sample_page(), Dialect::Prometheus);
        let new = write(&sample_page(), Dialect::OpenMetrics);
        for line in [
            "igris_build_info{version=\"1\"} 1",
            "igris_attempts_total{provider=\"p\",model=\"a\\\"b\\\\c\\nd\",outcome=\"completed\"} 3",
            "igris_overhead_seconds_bucket{le=\"2.5e-05\"} 0",
            "igris_overhead_seconds_bucket{le=\"5e-05\"} 2",
            "igris_overhead_seconds_bucket{le=\"1.0\"} 2",
            "igris_overhead_seconds_bucket{le=\"+Inf\"} 2",
            "igris_overhead_seconds_sum 0.000061",
            "igris_overhead_seconds_count 2",
            "igris_first_byte_seconds_bucket{provider=\"p\",model=\"m\",le=\"+Inf\"} 0",
        ] {
            assert!(old.lines().any(|known| known == line) && new.lines().any(|known| known == line), "{line}\n{old}");
        }
        assert!(old.contains("# TYPE igris_attempts_total counter") && old.contains("# TYPE igris_build_info gauge"));
        assert!(new.contains("# TYPE igris_attempts counter") && new.contains("# TYPE igris_build info"));
        assert!(new.contains("# UNIT igris_overhead_seconds seconds") && new.ends_with("# EOF\n"));
    }

    #[test]
    fn ends_of_buckets_are_written_as_go_writes_them() {
        let ends = [0.00001, 0.000025, 0.0001, 0.25, 1.0, 300.0].map(number);
        assert_eq!(ends, ["1e-05", "2.5e-05", "0.0001", "0.25", "1.0", "300.0"]);
    }
}
