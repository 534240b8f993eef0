//! Every direct dependency has one line of reason in `docs/dependencies.md`, and no line outlives its dependency (rule X1).
//!
//! The document has one section per manifest, whose heading names the file in backticks, and one list item per dependency:
//! ``- `name`: reason``. Crates of this repository itself need none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::source::Finding;

const DOCUMENT: &str = "docs/dependencies.md";
const MANIFESTS: [&str; 3] = ["Cargo.toml", "loadtest/Cargo.toml", "xtask/Cargo.toml"];
const WHY: &str = "each dependency is code we ship and must trust; the line says what it is trusted for";

/// Compares the manifests with the document.
pub fn reasons(root: &Path) -> Vec<Finding> {
    let document = fs::read_to_string(root.join(DOCUMENT)).unwrap_or_default();
    let mut findings = Vec::new();
    for manifest in MANIFESTS {
        let text = fs::read_to_string(root.join(manifest)).unwrap_or_else(|error| panic!("{manifest}: {error}"));
        compare(manifest, &dependencies(&text), &document, &mut findings);
    }
    findings
}

/// Packages of the lock file that come from anywhere but a registry or this repository.
pub fn sources(root: &Path) -> Vec<Finding> {
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_else(|error| panic!("Cargo.lock: {error}"));
    let foreign = |line: &str| line.strip_prefix("source = ").is_some_and(|source| !source.starts_with("\"registry+"));
    let lines = lock.lines().enumerate().filter(|(_, line)| foreign(line));
    let say = |(index, line): (usize, &str)| Finding {
        path: "Cargo.lock".to_owned(),
        line: index + 1,
        what: line.to_owned(),
        why: "what is not from a registry has no version that others can check",
        remedy: "use a published version".to_owned(),
    };
    lines.map(say).collect()
}

fn compare(manifest: &str, dependencies: &BTreeSet<String>, document: &str, findings: &mut Vec<Finding>) {
    let mut finding = |line: usize, what: String, remedy: &str| {
        let path = DOCUMENT.to_owned();
        findings.push(Finding { path, line, what, why: WHY, remedy: remedy.to_owned() });
    };
    let rows = rows(document, manifest);
    for name in dependencies.iter().filter(|name| !rows.iter().any(|row| row.name == **name)) {
        let what = format!("`{name}` of {manifest} has no line");
        finding(1, what, &format!("add ``- `{name}`: reason`` to the section of {manifest}"));
    }
    for row in rows {
        if !dependencies.contains(&row.name) {
            finding(row.line, format!("`{}` is no dependency of {manifest}", row.name), "remove the line");
        } else if row.reason.split_whitespace().count() < 3 {
            finding(row.line, format!("`{}` has no reason", row.name), "say in a few words what it is trusted for");
        }
    }
}

struct Row {
    line: usize,
    name: String,
    reason: String,
}

/// The list items of the section whose heading names the manifest, its subsections included.
fn rows(document: &str, manifest: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut inside = false;
    for (index, line) in document.lines().enumerate() {
        if line.starts_with("# ") || line.starts_with("## ") {
            inside = line.contains(&format!("`{manifest}`"));
        } else if let (true, Some(item)) = (inside, line.strip_prefix("- `"))
            && let Some((name, reason)) = item.split_once('`')
        {
            rows.push(Row {
                line: index + 1,
                name: name.to_owned(),
                reason: reason.trim_start_matches(':').to_owned(),
            });
        }
    }
    rows
}

/// Names in every dependency table of a manifest, `path` dependencies left out.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            inside = table.ends_with("dependencies");
            // `[dependencies.serde]` names one dependency in its heading.
            if let Some((_, name)) = table.split_once("dependencies.") {
                names.insert(name.to_owned());
            }
        } else if let (true, Some((name, value))) = (inside && !line.starts_with('#'), line.split_once('='))
            && !value.contains("path = ")
        {
            names.insert(name.trim().split('.').next().unwrap_or_default().to_owned());
        }
    }
    names
}

#[test]
fn missing_stale_and_empty_lines_are_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\nb.workspace = true\nours = { path = \"ours\" }\n\
                    [target.'cfg(unix)'.dev-dependencies]\nc = { version = \"1\" }\n[features]\nd = []\n";
    let dependencies = dependencies(manifest);
    assert_eq!(dependencies.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    let document = "# X (`Cargo.toml`)\n- `a`: reads the a format\n- `c`: x\n- `e`: not there any more\n# Y (`y/Cargo.toml`)\n- `b`: of y alone\n";
    let mut findings = Vec::new();
    compare("Cargo.toml", &dependencies, document, &mut findings);
    let what: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(what, ["`b` of Cargo.toml has no line", "`c` has no reason", "`e` is no dependency of Cargo.toml"]);
}
