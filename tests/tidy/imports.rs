//! Who may import whom: arrows only run down.
//!
//! The table is the architecture in one screen. A row names everything a module may reach in this crate besides itself;
//! `vault::scrub` stands for that part of a module alone.

use crate::source::{Finding, Source, is_name, name_at, words};

/// A module and what it may import.
struct Row(&'static str, &'static [&'static str]);

#[rustfmt::skip]
const TABLE: [Row; 33] = [
    Row("main",          &["cli"]),
    Row("lib",           &[]),
    Row("cli",           &["app", "demo", "admin", "export", "ledger", "fleet", "report", "control_plane", "store", "vault", "config", "providers", "routing", "metering", "json", "domain", "limits", "telemetry", "rt"]),
    Row("demo",          &["app", "config", "vault", "json", "domain", "limits", "telemetry"]),
    Row("app",           &["admin", "handover", "ledger", "dashboard", "data_plane", "control_plane", "snapshot", "report", "board", "providers", "store", "routing", "metering", "vault", "http", "config", "domain", "limits", "telemetry", "rt", "tls"]),
    Row("dashboard",     &["admin", "vault", "json", "domain", "limits", "telemetry"]),
    Row("admin",         &["control_plane", "export", "snapshot", "ledger", "report", "providers", "store", "routing", "metering", "vault", "json", "chat", "config", "domain", "limits", "telemetry"]),
    Row("data_plane",    &["rt", "tls", "http2", "http", "json", "snapshot", "allowance", "ledger", "report", "board", "routing", "metering", "chat", "dialects", "providers", "domain", "limits", "vault::scrub", "vault::access_key", "vault::sign"]),
    Row("control_plane", &["tls", "fleet", "store", "vault", "config", "snapshot", "allowance", "ledger", "report", "board", "providers", "routing", "metering", "chat", "domain", "limits", "json", "telemetry"]),
    Row("export",        &["report", "domain", "limits"]),
    Row("snapshot",      &["allowance", "providers", "routing", "metering", "vault", "chat", "dialects", "tls", "domain", "limits"]),
    Row("ledger",        &["report", "routing", "metering", "vault", "domain", "limits", "telemetry"]),
    Row("report",        &["routing", "metering", "chat", "domain", "limits"]),
    Row("allowance",     &["domain", "limits"]),
    Row("handover",      &["domain", "limits", "telemetry"]),
    Row("board",         &["routing", "domain", "limits"]),
    Row("providers",     &["routing", "metering", "http", "chat", "dialects", "json", "domain", "limits", "vault::sign"]),
    Row("dialects",      &["metering", "chat", "http", "json", "domain", "limits"]),
    Row("fleet",         &["store", "tls", "domain", "limits"]),
    Row("store",         &["report", "metering", "vault", "json", "domain", "limits"]),
    Row("routing",       &["metering", "chat", "domain", "limits"]),
    Row("metering",      &["json", "domain", "limits"]),
    Row("vault",         &["domain", "limits"]),
    Row("http2",         &["rt", "tls", "http", "domain", "limits"]),
    Row("tls",           &["rt", "domain", "limits"]),
    Row("http",          &["domain", "limits"]),
    Row("chat",          &["json", "domain", "limits"]),
    Row("json",          &["domain", "limits"]),
    Row("config",        &["providers", "routing", "metering", "chat", "domain", "limits"]),
    Row("rt",            &["domain", "limits"]),
    Row("telemetry",     &["domain", "limits"]),
    Row("domain",        &["limits"]),
    Row("limits",        &[]),
];

const WHY: &str =
    "requests fall straight down and decisions arrive as a snapshot; an arrow upwards ties the planes together";

/// One path into this crate: where it is named, its first two parts.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    place: usize,
    module: String,
    part: String,
}

/// Imports that the table does not have.
pub fn arrows(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let Some(from) = source.module() else { continue };
        let Some(Row(_, allowed)) = TABLE.iter().find(|row| row.0 == from) else { continue };
        for arrow in arrows_of(source) {
            let exact = format!("{}::{}", arrow.module, arrow.part);
            let known = TABLE.iter().any(|row| row.0 == arrow.module);
            if !known || arrow.module == from || allowed.iter().any(|name| *name == arrow.module || *name == exact) {
                continue;
            }
            let what = format!("`{from}` imports `{}`", exact.trim_end_matches(':'));
            let remedy = "move the thing down to where both may see it, pass it as a value, or let it travel in the snapshot \
                          or a report; a new arrow is a line in tests/tidy/imports.rs with its reason";
            findings.push(source.finding(arrow.place, what, WHY, remedy));
        }
    }
    // One `use` of many names is one arrow.
    findings.dedup_by(|next, kept| next.path == kept.path && next.line == kept.line);
    findings
}

/// Modules that the table does not know.
pub fn rows(sources: &[Source]) -> Vec<Finding> {
    let mut unknown: Vec<&Source> = sources.iter().collect();
    unknown.retain(|source| source.module().is_some_and(|module| !TABLE.iter().any(|row| row.0 == module)));
    let say = |source: &&Source| {
        let what = format!("the module `{}` has no row", source.module().unwrap_or_default());
        let why = "a module without a row may import anything";
        source.finding(0, what, why, "add its row to the table in tests/tidy/imports.rs")
    };
    unknown.iter().map(say).collect()
}

/// Paths that start at the root of the crate: by `crate::`, or by as many `super::` as the module is deep.
fn arrows_of(source: &Source) -> Vec<Arrow> {
    let code = &source.shipped;
    let mut arrows = Vec::new();
    for place in words(code, "crate") {
        if code.as_bytes().get(place.wrapping_sub(1)) != Some(&b'$') {
            tree(code, place + "crate".len(), place, &mut arrows);
        }
    }
    let depth = depth_of(&source.path);
    for place in words(code, "super") {
        let mut end = place + "super".len();
        let mut climbs = 1;
        while code[end..].starts_with("::super") {
            end += "::super".len();
            climbs += 1;
        }
        let first = place < 2 || &code.as_bytes()[place - 2..place] != b"::";
        if first && climbs >= depth {
            tree(code, end, place, &mut arrows);
        }
    }
    arrows
}

/// How many `super` lead from a file to the root of the crate.
fn depth_of(path: &str) -> usize {
    let parts = path.trim_start_matches("src/").trim_end_matches(".rs");
    parts.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).count().max(1)
}

/// Reads `::name`, `::name::part`, `::name::{…}` or `::{…}` from a place on.
fn tree(code: &str, from: usize, place: usize, arrows: &mut Vec<Arrow>) {
    let Some(rest) = code[from..].strip_prefix("::") else { return };
    let start = code.len() - rest.len();
    for (at, module) in branches(code, start) {
        let behind = at + module.len();
        let parts = match code[behind..].strip_prefix("::") {
            Some(rest) => branches(code, code.len() - rest.len()),
            None => Vec::new(),
        };
        let place = if at == start { place } else { at };
        if parts.is_empty() {
            arrows.push(Arrow { place, module: module.to_owned(), part: String::new() });
        }
        for (_, part) in parts {
            arrows.push(Arrow { place, module: module.to_owned(), part: part.to_owned() });
        }
    }
}

/// The names at the head of a path: one, or those of a `{…}` group on its own level.
fn branches(code: &str, start: usize) -> Vec<(usize, &str)> {
    let bytes = code.as_bytes();
    if bytes.get(start) != Some(&b'{') {
        let name = name_at(code, start);
        return if name.is_empty() { Vec::new() } else { vec![(start, name)] };
    }
    let mut names = Vec::new();
    let (mut depth, mut place, mut fresh) = (0usize, start, true);
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 1 => fresh = true,
            byte if is_name(*byte) && depth == 1 && fresh => {
                let name = name_at(code, place);
                names.push((place, name));
                (fresh, place) = (false, place + name.len() - 1);
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        place += 1;
    }
    names
}

#[test]
fn no_row_allows_what_the_planes_must_not_see() {
    let row = |name: &str| TABLE.iter().find(|row| row.0 == name).expect("the row is there").1;
    for never in ["store", "config", "vault", "control_plane", "app", "cli", "admin"] {
        assert!(!row("data_plane").contains(&never), "{never}");
    }
    for never in ["data_plane", "rt", "http", "app", "cli", "admin"] {
        assert!(!row("control_plane").contains(&never), "{never}");
    }
    // Arrows run down: no two modules may reach each other, on however long a way.
    for Row(from, _) in &TABLE {
        let (mut reached, mut open) = (Vec::new(), vec![*from]);
        while let Some(name) = open.pop() {
            for next in row(name).iter().map(|name| name.split("::").next().unwrap_or(name)) {
                assert_ne!(next, *from, "{from} can be reached from itself");
                if !reached.contains(&next) {
                    reached.push(next);
                    open.push(next);
                }
            }
        }
    }
}

#[test]
fn forbidden_arrows_are_found_in_every_form() {
    let bad = [
        ("src/data_plane/a.rs", "use crate::store::Db;"),
        ("src/data_plane/a.rs", "use crate::{domain::id, store};"),
        ("src/data_plane/a.rs", "use crate::vault::{scrub, keyring};"),
        ("src/data_plane/a.rs", "fn f() { crate::config::load() }"),
        ("src/data_plane/a.rs", "use super::super::store::Db;"),
        ("src/data_plane/mod.rs", "use super::store::Db;"),
        ("src/control_plane/a.rs", "use crate::data_plane::worker;"),
        ("src/http/a.rs", "use crate::chat;"),
    ];
    for (path, text) in bad {
        assert_eq!(arrows(&[Source::new(path, text)]).len(), 1, "{path}: {text}");
    }
    let good = [
        (
            "src/data_plane/a.rs",
            "use crate::vault::{access_key::Pepper, scrub};\nuse super::fault; use crate::{http, rt};",
        ),
        ("src/data_plane/a/b.rs", "use super::super::store;"),
        ("src/data_plane/a.rs", "// crate::store\nconst S: &str = \"crate::store\";\npub(crate) fn f() {}"),
        ("src/data_plane/a.rs", "#[cfg(test)]\nmod tests { use crate::store::Db; }"),
    ];
    for (path, text) in good {
        let found: Vec<String> = arrows(&[Source::new(path, text)]).iter().map(Finding::to_string).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    assert_eq!(rows(&[Source::new("src/utilities.rs", "")]).len(), 1);
}
