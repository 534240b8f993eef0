//! The exposition read and judged by the rules of `promtool check metrics` and of the formats, without any code of the gateway's.

use std::collections::{BTreeMap, BTreeSet};

/// A page, read.
#[derive(Debug, Default)]
pub struct Page {
    /// Type by family, in order.
    pub kinds: Vec<(String, String)>,
    pub helps: BTreeMap<String, String>,
    /// Value by series, labels sorted.
    pub series: BTreeMap<String, f64>,
}

impl Page {
    /// Reads the text format or OpenMetrics; panics with the line that is wrong.
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut last_family = String::new();
        for line in text.lines() {
            if line == "# EOF" {
                break;
            }
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(page.helps.insert(name.to_owned(), help.to_owned()).is_none(), "HELP twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(page.kinds.iter().all(|(known, _)| known != name), "TYPE twice: {line}");
                assert!(page.helps.contains_key(name), "TYPE without HELP: {line}");
                page.kinds.push((name.to_owned(), kind.to_owned()));
                last_family = name.to_owned();
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                let name = series.split('{').next().unwrap_or_default();
                assert!(name.starts_with(&last_family), "{line} stands below {last_family}");
                let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
                assert!(page.series.insert(series.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        page
    }

    /// The value of a series; 0 where it is absent.
    pub fn value(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or(0.0)
    }

    /// The sum over all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let of = |series: &&String| series.split('{').next() == Some(name);
        self.series.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }

    /// What `promtool check metrics` would say, and what the text format demands.
    pub fn lint(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut say = |name: &str, what: &str| found.push(format!("{name}: {what}"));
        for (name, kind) in &self.kinds {
            if self.helps[name].trim().is_empty() {
                say(name, "no help text");
            }
            if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
                say(name, "not in lower snake case, or with a colon");
            }
            if !(name.starts_with("igris_") || name.starts_with("process_")) {
                say(name, "without our prefix");
            }
            if (kind == "counter") != name.ends_with("_total") {
                say(name, "counters, and only they, end in _total");
            }
            if kind != "histogram" && ["_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end)) {
                say(name, "ends as a part of a histogram");
            }
            for part in name.split('_') {
                if ["counter", "gauge", "histogram", "summary"].contains(&part) {
                    say(name, "has its type in its name");
                }
                if ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"].contains(&part) {
                    say(name, "has an abbreviated unit");
                }
                let scaled = ["milli", "micro", "nano", "kilo", "mega", "giga", "kibi", "mebi"];
                let odd = ["minutes", "hours", "days", "weeks", "percent"];
                if odd.contains(&part) || scaled.iter().any(|by| part.starts_with(by) && part.ends_with('s')) {
                    say(name, "has a unit that is no base unit");
                }
            }
            if kind == "histogram" {
                self.lint_histogram(name, &mut say);
            }
        }
        found
    }

    fn lint_histogram(&self, name: &str, say: &mut impl FnMut(&str, &str)) {
        let mut ends: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        let prefix = format!("{name}_bucket{{");
        for (series, count) in self.series.iter().filter(|(series, _)| series.starts_with(&prefix)) {
            let (labels, end) = series.split_once("le=\"").expect("a bucket has an end");
            let end = end.trim_end_matches("\"}");
            let end = if end == "+Inf" { f64::INFINITY } else { end.parse().expect("a number") };
            ends.entry(labels[prefix.len()..].trim_end_matches(',').to_owned()).or_default().push((end, *count));
        }
        if ends.is_empty() {
            say(name, "no buckets");
        }
        for (labels, mut buckets) in ends {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            if buckets.windows(2).any(|two| two[0].1 > two[1].1) {
                say(name, "buckets that shrink");
            }
            let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let count = self.series.get(&format!("{name}_count{braced}"));
            let last = buckets.last().filter(|last| last.0 == f64::INFINITY).map(|last| last.1);
            if last.is_none() || count.copied() != last {
                say(name, "no bucket without end that holds all");
            }
            if !self.series.contains_key(&format!("{name}_sum{braced}")) {
                say(name, "no sum");
            }
        }
    }

    /// Counters of this page that a later one has less of.
    pub fn shrunk(&self, later: &Self) -> Vec<String> {
        let counters: BTreeSet<&str> =
            self.kinds.iter().filter(|(_, kind)| kind == "counter").map(|(name, _)| &**name).collect();
        let is_counter = |series: &str| counters.contains(series.split('{').next().unwrap_or_default());
        let before = self.series.iter().filter(|(series, _)| is_counter(series));
        before.filter(|(series, value)| later.value(series) < **value).map(|(series, _)| series.clone()).collect()
    }
}

#[test]
fn the_lint_finds_what_is_wrong() {
    let bad = "# HELP igris_a_ms Is.\n# TYPE igris_a_ms gauge\nigris_a_ms 1\n\
        # HELP igris_b Is.\n# TYPE igris_b counter\nigris_b 1\n\
        # HELP igris_c_days Is.\n# TYPE igris_c_days gauge\nigris_c_days 1\n\
        # HELP igris_d_seconds Is.\n# TYPE igris_d_seconds histogram\nigris_d_seconds_bucket{le=\"1.0\"} 3\n\
        igris_d_seconds_bucket{le=\"2.0\"} 2\nigris_d_seconds_count 3\n";
    let found = Page::read(bad).lint().join("\n");
    for what in ["abbreviated", "_total", "base unit", "shrink", "without end", "no sum"] {
        assert!(found.contains(what), "{what}: {found}");
    }
}
