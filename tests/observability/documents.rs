//! What is written about metrics is what there is: the list in the docs, the dashboard and the alert rules.

use igris::control_plane::{FAMILIES, Kind};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

const PAGE: &str = "docs/metrics.md";
const HEAD: &str = "# Metrics

Every family that `GET /metrics` can show, on the admin socket and at `[admin] metrics`. The list is generated from the table that the page
itself is made of (`src/control_plane/metrics/families.rs`); a test keeps it in step: `IGRIS_WRITE_DOCS=1 cargo test --test observability documents`
writes it. How to scrape, and what the formats are, is in [observability.md](observability.md).

Labels have few values, and all of them are ours: surfaces, outcomes, reasons, configured providers, models in a list of ours. Whatever else a
client asks for is `other`. A family without any series is left out.

| name | type | labels | means |
|---|---|---|---|
";

fn written() -> String {
    let mut page = HEAD.to_owned();
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(page, "| `{}` | {kind} | {} | {} |", family.name, labels.join(", "), family.help).expect("memory");
    }
    page
}

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Words that begin as our names do, without the endings of histograms.
fn names(text: &str) -> BTreeSet<String> {
    let word = |byte: char| !(byte.is_ascii_alphanumeric() || byte == '_');
    let ours = text.split(word).filter(|word| word.starts_with("igris_") || word.starts_with("process_"));
    let histograms: Vec<&str> =
        FAMILIES.iter().filter(|family| family.kind == Kind::Histogram).map(|family| family.name).collect();
    let bare = |word: &str| {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        base.filter(|base| histograms.contains(base)).unwrap_or(word).to_owned()
    };
    ours.map(bare).collect()
}

#[test]
fn the_page_of_metrics_is_the_table() {
    if std::env::var_os("IGRIS_WRITE_DOCS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE), written()).expect("the docs can be written");
    }
    assert_eq!(file(PAGE), written(), "write it anew: IGRIS_WRITE_DOCS=1 cargo test --test observability documents");
}

#[test]
fn dashboard_and_alerts_name_only_what_there_is() {
    let known: BTreeSet<String> = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
    let dashboard: serde_json::Value = serde_json::from_str(&file("config/grafana/igris.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut expressions = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().expect("an expression").to_owned());
        }
    }
    assert!(expressions.len() > 20);
    for expression in &expressions {
        let used = names(expression);
        assert!(!used.is_empty(), "{expression}");
        assert!(used.is_subset(&known), "{expression}: {:?}", used.difference(&known));
    }
    let alerts = file("config/prometheus/alerts.yml");
    let used = names(&alerts);
    let used: BTreeSet<String> = used.into_iter().filter(|name| name != "igris_").collect();
    assert!(used.is_subset(&known), "{:?}", used.difference(&known));
    assert!(
        alerts.matches("- alert: ").count() >= 10
            && alerts.matches("expr: ").count() == alerts.matches("- alert: ").count()
    );
}
