//! What `bench proxy` found: as tables for the terminal and for `docs/performance.md`, as JSON for the next tool, and as pictures.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::account::Cost;
use crate::bench::{machine, median};
use crate::plot::{Chart, figure};

/// Where the tables stand in the page of figures.
const PAGE: &str = "docs/performance.md";

/// What is asked for, over how many connections, and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Situation {
    /// Streams instead of whole answers.
    pub(crate) stream: bool,
    /// The provider is behind TLS.
    pub(crate) tls: bool,
    /// Keep-alive connections of clients, each with a request under way.
    pub(crate) connections: u64,
}

/// What one proxy costs in one situation.
pub(crate) struct CostRow {
    /// The situation.
    pub(crate) situation: Situation,
    /// The proxy.
    pub(crate) proxy: String,
    /// Processor time of a request or a stream, by round, microseconds.
    pub(crate) rounds: Vec<Cost>,
    /// Events of a stream.
    pub(crate) events: f64,
    /// System calls of a request or a stream, where they were counted.
    pub(crate) calls: Option<f64>,
}

/// What one proxy adds to latency, microseconds: value and both ends of its interval, at p50, p99 and p99.9.
pub(crate) struct Added {
    /// The proxy.
    pub(crate) proxy: String,
    /// The provider is behind TLS.
    pub(crate) tls: bool,
    /// Pairs with both answers.
    pub(crate) pairs: u64,
    /// The shifts; nothing where fewer than ten values lie beyond.
    pub(crate) at: [Option<[f64; 3]>; 3],
}

/// Resident memory of a stream that waits.
pub(crate) struct Memory {
    /// The proxy.
    pub(crate) proxy: String,
    /// The provider is behind TLS.
    pub(crate) tls: bool,
    /// Streams that were opened.
    pub(crate) streams: usize,
    /// KiB for each of them.
    pub(crate) each_kib: f64,
}

/// Everything.
pub(crate) struct Figures {
    command: String,
    /// Costs in the order they were measured.
    pub(crate) costs: Vec<CostRow>,
    /// Latency.
    pub(crate) added: Vec<Added>,
    /// Memory of streams.
    pub(crate) memory: Vec<Memory>,
    /// Resident memory of a proxy right after its start, KiB.
    pub(crate) idle: Vec<(String, f64)>,
}

impl fmt::Display for Situation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.stream { "streams" } else { "whole answers" };
        let connections = if self.connections == 1 { "connection" } else { "connections" };
        write!(out, "{what}, {} upstream, {} {connections}", upstream(self.tls), self.connections)
    }
}

fn upstream(tls: bool) -> &'static str {
    if tls { "TLS" } else { "plaintext" }
}

// === impl CostRow ===

impl CostRow {
    /// One without rounds yet.
    pub(crate) fn new(situation: Situation, proxy: String) -> CostRow {
        CostRow { situation, proxy, rounds: Vec::new(), events: 0.0, calls: None }
    }

    /// The medians of user, system and total time.
    fn medians(&self) -> (Cost, f64) {
        let of = |part: fn(Cost) -> f64| median(self.rounds.iter().map(|cost| part(*cost)));
        (Cost { user: of(|cost| cost.user), system: of(|cost| cost.system) }, of(Cost::total))
    }

    /// The least and the most of all rounds.
    fn spread(&self) -> (f64, f64) {
        let totals = self.rounds.iter().map(|cost| cost.total());
        (totals.clone().fold(f64::INFINITY, f64::min), totals.fold(0.0, f64::max))
    }

    fn json(&self) -> Value {
        let (Cost { user, system }, total) = self.medians();
        json!({
            "proxy": self.proxy, "stream": self.situation.stream, "tls_upstream": self.situation.tls,
            "connections": self.situation.connections, "user_us": user, "system_us": system, "total_us": total,
            "rounds_us": self.rounds.iter().map(|cost| json!([cost.user, cost.system])).collect::<Vec<_>>(),
            "events": self.events, "calls": self.calls,
        })
    }
}

// === impl Figures ===

impl Figures {
    /// Nothing yet, by this command.
    pub(crate) fn new(command: String) -> Figures {
        Figures { command, costs: Vec::new(), added: Vec::new(), memory: Vec::new(), idle: Vec::new() }
    }

    /// Prints the tables, writes `proxy.json` and the pictures into a folder, and with the root of the repository into its documents too.
    ///
    /// # Errors
    /// A file cannot be written, or the page has lost its place for the tables.
    pub(crate) fn deliver(&self, folder: &Path, root: Option<&Path>) -> Result<()> {
        let tables = self.tables();
        println!("\n{tables}");
        fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(&self.json()).context("the figures are no JSON")?;
        fs::write(folder.join("proxy.json"), json + "\n")?;
        for (name, chart) in self.charts() {
            fs::write(folder.join(name), chart.svg())?;
            if let Some(root) = root {
                fs::write(root.join("docs").join(name), chart.svg())?;
            }
        }
        println!("figures and pictures: {}", folder.display());
        root.map_or(Ok(()), |root| insert(&root.join(PAGE), "proxy", &tables))
    }

    fn tables(&self) -> String {
        let mut out = format!("`{}`; {}.\n", self.command, machine());
        let costs = |stream: bool| {
            self.costs.iter().filter(move |row| row.situation.stream == stream && !row.rounds.is_empty())
        };
        if costs(false).next().is_some() {
            out.push_str("\nProcessor time of a request, us:\n\n| upstream | connections | proxy | user | system | total | least to most | requests a CPU-second | system calls |\n|---|---|---|---|---|---|---|---|---|\n");
        }
        for row in costs(false) {
            let (cost, total) = row.medians();
            let _ = writeln!(out, "{} {} | {} |", start(row, cost, total), figure(1e6 / total.max(1e-9)), calls(row));
        }
        if costs(true).next().is_some() {
            out.push_str("\nProcessor time of a stream, us:\n\n| upstream | connections | proxy | user | system | total | least to most | user an event | total an event | system calls an event |\n|---|---|---|---|---|---|---|---|---|---|\n");
        }
        for row in costs(true) {
            let (cost, total) = row.medians();
            let events = row.events.max(1.0);
            let each = row.calls.map_or("-".to_owned(), |calls| figure(calls / events));
            let _ = writeln!(
                out,
                "{} {} | {} | {each} |",
                start(row, cost, total),
                figure(cost.user / events),
                figure(total / events)
            );
        }
        self.further_tables(&mut out);
        out
    }

    fn further_tables(&self, out: &mut String) {
        if !self.added.is_empty() {
            out.push_str("\nLatency added at 100 pairs a second, us, with 95 % intervals:\n\n| upstream | proxy | p50 | p99 | p99.9 | pairs |\n|---|---|---|---|---|---|\n");
        }
        for Added { proxy, tls, pairs, at } in &self.added {
            let [p50, p99, p999] = at.map(|shift| {
                let told =
                    |[value, low, high]: [f64; 3]| format!("{} ({} to {})", figure(value), figure(low), figure(high));
                shift.map_or("-".to_owned(), told)
            });
            let _ = writeln!(out, "| {} | {proxy} | {p50} | {p99} | {p999} | {pairs} |", upstream(*tls));
        }
        if !self.memory.is_empty() {
            out.push_str("\nResident memory:\n\n| upstream | proxy | KiB a waiting stream | streams | MiB after the start |\n|---|---|---|---|---|\n");
        }
        for Memory { proxy, tls, streams, each_kib } in &self.memory {
            let idle = self
                .idle
                .iter()
                .find(|(name, _)| name == proxy)
                .map_or("-".to_owned(), |(_, kib)| figure(kib / 1024.0));
            let _ = writeln!(out, "| {} | {proxy} | {} | {streams} | {idle} |", upstream(*tls), figure(*each_kib));
        }
    }

    fn json(&self) -> Value {
        let added = |row: &Added| json!({ "proxy": row.proxy, "tls_upstream": row.tls, "pairs": row.pairs, "p50_p99_p999_us": row.at });
        let memory = |row: &Memory| json!({ "proxy": row.proxy, "tls_upstream": row.tls, "streams": row.streams, "each_kib": row.each_kib });
        json!({
            "command": self.command, "machine": machine(),
            "costs": self.costs.iter().map(CostRow::json).collect::<Vec<_>>(),
            "added": self.added.iter().map(added).collect::<Vec<_>>(),
            "memory": self.memory.iter().map(memory).collect::<Vec<_>>(),
            "idle_kib": self.idle,
        })
    }

    /// The pictures of what was measured.
    fn charts(&self) -> Vec<(&'static str, Chart)> {
        let mut charts = Vec::new();
        for (name, title, stream, tls) in [
            ("proxy-unary.svg", "Processor time of a request, us, by connections", false, false),
            ("proxy-unary-tls.svg", "Processor time of a request, TLS upstream, us, by connections", false, true),
            ("proxy-stream.svg", "Processor time of an event of a stream, us, by connections", true, false),
            (
                "proxy-stream-tls.svg",
                "Processor time of an event of a stream, TLS upstream, us, by connections",
                true,
                true,
            ),
        ] {
            let rows = self.costs.iter().filter(|row| row.situation.stream == stream && row.situation.tls == tls);
            let bars = rows.filter(|row| !row.rounds.is_empty()).map(|row| {
                let (cost, _) = row.medians();
                let share = if stream { row.events.max(1.0) } else { 1.0 };
                (row.situation.connections.to_string(), row.proxy.clone(), [cost.user / share, cost.system / share])
            });
            charts.extend(chart(title, ["user", "system"], bars).map(|chart| (name, chart)));
        }
        let added = self.added.iter().filter(|row| !row.tls).flat_map(|row| {
            let named = ["p50", "p99", "p99.9"].into_iter().zip(row.at);
            named.filter_map(|(name, shift)| Some((name.to_owned(), row.proxy.clone(), [shift?[0].max(0.0), 0.0])))
        });
        charts.extend(
            chart("Latency added at 100 requests a second, us", ["", ""], added)
                .map(|chart| ("proxy-latency.svg", chart)),
        );
        let memory = self
            .memory
            .iter()
            .map(|row| (format!("{} upstream", upstream(row.tls)), row.proxy.clone(), [row.each_kib.max(0.0), 0.0]));
        charts.extend(
            chart("Resident memory of a waiting stream, KiB", ["", ""], memory)
                .map(|chart| ("proxy-memory.svg", chart)),
        );
        charts
    }
}

/// The columns that both tables of costs begin with.
fn start(row: &CostRow, cost: Cost, total: f64) -> String {
    let (least, most) = row.spread();
    let Situation { tls, connections, .. } = row.situation;
    format!(
        "| {} | {connections} | {} | {} | {} | {} | {} to {} |",
        upstream(tls),
        row.proxy,
        figure(cost.user),
        figure(cost.system),
        figure(total),
        figure(least),
        figure(most)
    )
}

fn calls(row: &CostRow) -> String {
    row.calls.map_or("-".to_owned(), figure)
}

/// Bars by group and party, in the order they come; nothing where there are none.
fn chart(
    title: &str,
    parts: [&'static str; 2],
    bars: impl Iterator<Item = (String, String, [f64; 2])>,
) -> Option<Chart> {
    let bars: Vec<_> = bars.collect();
    let mut groups: Vec<String> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (group, name, _) in &bars {
        if !groups.contains(group) {
            groups.push(group.clone());
        }
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    let bar = |group: &String, name: &String| {
        bars.iter().find(|(its, whose, _)| its == group && whose == name).map(|bar| bar.2)
    };
    let series =
        names.iter().map(|name| (name.clone(), groups.iter().map(|group| bar(group, name)).collect())).collect();
    (!bars.is_empty()).then(|| Chart { title: title.to_owned(), parts, groups: groups.clone(), series })
}

/// Puts tables between `<!-- NAME -->` and `<!-- /NAME -->` of a page.
///
/// # Errors
/// The page cannot be read or written, or has no such place.
pub(crate) fn insert(page: &Path, name: &str, tables: &str) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("{} cannot be read", page.display()))?;
    let text =
        replaced(&text, name, tables).with_context(|| format!("{} has no place for `{name}`", page.display()))?;
    fs::write(page, text).with_context(|| format!("{} cannot be written", page.display()))
}

fn replaced(text: &str, name: &str, tables: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n\n{tables}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::new("cargo xtask bench proxy".to_owned());
        for (stream, proxy, user) in [(false, "nginx", 7.0), (false, "igris epoll", 5.0), (true, "nginx", 140.0)] {
            let mut row = CostRow::new(Situation { stream, tls: false, connections: 64 }, proxy.to_owned());
            row.rounds = [user, user + 1.0, user + 2.0].map(|user| Cost { user, system: 18.0 }).to_vec();
            row.events = 200.0;
            row.calls = Some(400.0);
            figures.costs.push(row);
        }
        figures.added.push(Added {
            proxy: "nginx".to_owned(),
            tls: true,
            pairs: 900,
            at: [Some([60.0, 58.5, 61.0]), Some([150.0, 140.0, 160.0]), None],
        });
        figures.memory.push(Memory { proxy: "nginx".to_owned(), tls: false, streams: 2_000, each_kib: 7.5 });
        figures.idle.push(("nginx".to_owned(), 2_048.0));
        figures
    }

    #[test]
    fn tables_tell_medians_and_spread() {
        let text = figures().tables();
        for line in [
            "| plaintext | 64 | nginx | 8.00 | 18.0 | 26.0 | 25.0 to 27.0 | 38462 | 400 |",
            "| plaintext | 64 | nginx | 141 | 18.0 | 159 | 158 to 160 | 0.70 | 0.80 | 2.00 |",
            "| TLS | nginx | 60.0 (58.5 to 61.0) | 150 (140 to 160) | - | 900 |",
            "| plaintext | nginx | 7.50 | 2000 | 2.00 |",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn there_is_a_picture_of_what_was_measured() {
        let charts = figures().charts();
        let names: Vec<&str> = charts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["proxy-unary.svg", "proxy-stream.svg", "proxy-memory.svg"]);
        assert_eq!(charts[0].1.series.len(), 2);
        assert!(figures().json()["costs"][0]["total_us"].as_f64().is_some_and(|total| total == 26.0));
    }

    #[test]
    fn tables_replace_what_stood_there() {
        let page = "before <!-- proxy -->old<!-- /proxy --> after";
        assert_eq!(
            replaced(page, "proxy", "new").expect("a place"),
            "before <!-- proxy -->\n\nnew\n<!-- /proxy --> after"
        );
        assert_eq!(replaced("no place", "proxy", "new"), None);
    }
}
