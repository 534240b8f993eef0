//! What may be named where, and which names say nothing.

use crate::source::{Finding, Source, name_at, words};

/// A path or crate, the modules (or single files) that may name it, and the reason.
struct Reserved {
    name: &'static str,
    modules: &'static [&'static str],
    why: &'static str,
    remedy: &'static str,
}

const CONTROL: &[&str] = &["control_plane", "admin", "dashboard", "demo", "app"];
const DATABASE: &str = "the database that machines share is spoken to in one module (rule T2)";
const DATABASE_REMEDY: &str = "change the store; what it shares goes there by itself";
const PLANES: &str = "the data plane is one thread per core without tokio; only the control side may name it";
const PLANES_REMEDY: &str = "hand the data plane a snapshot; take a report back";
const BLOCKS: &str = "it blocks the core that calls it, and every connection of that core";

const RESERVED: [Reserved; 18] = [
    // `http2` names two traits of tokio that the `h2` crate asks for, and nothing that runs.
    Reserved {
        name: "tokio",
        modules: &["control_plane", "admin", "dashboard", "demo", "app", "fleet", "http2"],
        why: PLANES,
        remedy: PLANES_REMEDY,
    },
    Reserved {
        name: "h2",
        modules: &["http2"],
        why: "one adapter around the frames of HTTP/2 holds the limits of rule H22",
        remedy: "use what `http2` offers, or extend it",
    },
    Reserved { name: "tokio_postgres", modules: &["fleet"], why: DATABASE, remedy: DATABASE_REMEDY },
    Reserved { name: "tokio_postgres_rustls", modules: &["fleet"], why: DATABASE, remedy: DATABASE_REMEDY },
    Reserved { name: "deadpool_postgres", modules: &["fleet"], why: DATABASE, remedy: DATABASE_REMEDY },
    Reserved { name: "tokio_rustls", modules: CONTROL, why: PLANES, remedy: PLANES_REMEDY },
    Reserved { name: "axum", modules: CONTROL, why: PLANES, remedy: PLANES_REMEDY },
    Reserved { name: "hyper", modules: CONTROL, why: PLANES, remedy: PLANES_REMEDY },
    Reserved { name: "tower_service", modules: CONTROL, why: PLANES, remedy: PLANES_REMEDY },
    Reserved { name: "hickory_resolver", modules: CONTROL, why: PLANES, remedy: PLANES_REMEDY },
    Reserved {
        name: "monoio",
        modules: &["rt"],
        why: "one seam to the runtime can be tested on both drivers",
        remedy: "use what `rt` offers, or extend it",
    },
    Reserved {
        name: "io_uring",
        modules: &["rt"],
        why: "one seam to the runtime can be tested on both drivers",
        remedy: "use what `rt` offers, or extend it",
    },
    Reserved {
        name: "aws_lc_rs",
        modules: &["vault", "tls", "control_plane", "store"],
        why: "one crypto provider, named where secrets are kept (rule V13)",
        remedy: "call the vault",
    },
    Reserved {
        name: "rusqlite",
        modules: &["store"],
        why: "no SQL outside the store (rule T2)",
        remedy: "give the store a function with the tenant as an argument",
    },
    Reserved {
        name: "igris_load",
        modules: &["demo"],
        why: "the load tester and its simulator are tools, not parts of the gateway",
        remedy: "only `igris demo` starts simulated providers",
    },
    Reserved {
        name: "thread::sleep",
        modules: &["app", "cli", "demo", "src/rt/workers.rs"],
        why: BLOCKS,
        remedy: "wait on the runtime's timer",
    },
    Reserved {
        name: "to_socket_addrs",
        modules: &["cli"],
        why: BLOCKS,
        remedy: "addresses are resolved by the control plane and arrive in the snapshot",
    },
    Reserved {
        name: "env::var",
        modules: &["main", "cli", "app", "config", "demo"],
        why: "after start-up nobody reads the environment",
        remedy: "read it into the configuration and pass the value",
    },
];

/// Names outside of the modules they belong to.
pub fn reserved(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let Some(module) = source.module() else { continue };
        let allowed = |row: &&Reserved| row.modules.iter().any(|name| *name == module || *name == source.path);
        for row in RESERVED.iter().filter(|row| !allowed(row)) {
            for place in words(&source.shipped, row.name) {
                if names_a_path(&source.shipped, place, row.name) {
                    let what = format!("`{module}` names `{}`", row.name);
                    findings.push(source.finding(place, what, row.why, row.remedy));
                }
            }
        }
    }
    findings
}

/// True for `name::…`, `use name…`, `a::name` and a call `.name(`; false for a field or variable that happens to be
/// called so.
fn names_a_path(code: &str, place: usize, name: &str) -> bool {
    let before = code[..place].trim_end();
    let after = &code[place + name.len()..];
    // `rt::monoio` would be our own module of that name; the crate itself is never behind another path.
    let inside = before.ends_with("::") && !name.contains("::");
    let called = name.contains("::") || name == "to_socket_addrs";
    called || (!inside && (after.starts_with("::") || before.ends_with("use") || before.ends_with("crate")))
}

/// Words that label a heap instead of a thing.
const EMPTY_WORDS: [&str; 10] =
    ["util", "utils", "common", "helper", "helpers", "manager", "processor", "handler", "handlers", "misc"];
const EMPTY_FILES: [&str; 2] = ["types", "info"];

/// Types, functions, modules and files with empty names, and functions called `get_…`.
pub fn empty_names(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        empty_names_of(source, &mut findings);
    }
    findings
}

fn empty_names_of(source: &Source, findings: &mut Vec<Finding>) {
    const WHY: &str = "a name is what the reader has; a thing lives with what it is about";
    let stem = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if EMPTY_FILES.contains(&stem) || has_empty_word(stem) {
        let what = format!("the file is called `{stem}`");
        findings.push(source.finding(0, what, WHY, "call it after the one idea it holds, or move its parts home"));
    }
    for keyword in ["struct", "enum", "trait", "type", "fn", "mod", "union"] {
        for place in words(&source.code, keyword) {
            let name = name_at(&source.code, place + keyword.len() + 1);
            if has_empty_word(name) {
                let what = format!("`{keyword} {name}`");
                findings.push(source.finding(
                    place,
                    what,
                    WHY,
                    "say what it is or does: session, exchange, plan, relay, publish, …",
                ));
            } else if keyword == "fn" && name.starts_with("get_") {
                let what = format!("`fn {name}`");
                findings.push(source.finding(place, what, WHY, "drop the `get_`: the noun alone says it"));
            }
        }
    }
}

fn has_empty_word(name: &str) -> bool {
    parts(name).iter().any(|part| EMPTY_WORDS.contains(&part.as_str()))
}

/// `HTTPHandler`, `HttpHandler` and `http_handler` all have the parts `http` and `handler`.
fn parts(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let is_low = |index: usize| chars.get(index).is_some_and(|char| char.is_lowercase());
    let mut parts = vec![String::new()];
    for (index, char) in chars.iter().enumerate() {
        let after_low = index > 0 && is_low(index - 1);
        if *char == '_' || (char.is_uppercase() && (after_low || is_low(index + 1))) {
            parts.push(String::new());
        }
        if *char != '_' {
            parts.last_mut().expect("there is always one").extend(char.to_lowercase());
        }
    }
    parts
}

/// Code that says it is not there yet.
pub fn unfinished(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for name in ["todo", "unimplemented"] {
            let calls = words(&source.code, name).filter(|place| source.code[place + name.len()..].starts_with('!'));
            for place in calls {
                let why = "a program that ships panics here";
                findings.push(source.finding(
                    place,
                    format!("`{name}!`"),
                    why,
                    "build it, or refuse it with an error that says so",
                ));
            }
        }
    }
    findings
}

/// Folders that exist on one machine; written in two parts so that this file does not name them.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "tmp/"), concat!("/", "home/")];

/// Paths of one machine outside of tests.
pub fn machine_paths(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for path in MACHINE_PATHS {
            for (place, _) in source.text.match_indices(path) {
                let before = source.text[..place].chars().next_back();
                let whole = before.is_none_or(|char| !(char.is_alphanumeric() || "._-/}".contains(char)));
                if whole && !in_a_test(source, place) {
                    let why = "the program runs on other machines too";
                    let what = format!("a path below `{path}`");
                    findings.push(source.finding(
                        place,
                        what,
                        why,
                        "take it from the configuration, the arguments or the system",
                    ));
                }
            }
        }
    }
    findings
}

/// A line whose code was blanked as a test's.
fn in_a_test(source: &Source, place: usize) -> bool {
    let start = source.text[..place].rfind('\n').map_or(0, |newline| newline + 1);
    let end = source.text[place..].find('\n').map_or(source.text.len(), |newline| place + newline);
    let (code, shipped) = (&source.code[start..end], &source.shipped[start..end]);
    shipped.trim().is_empty() && !code.trim().is_empty() || source.shipped.trim().is_empty()
}

#[test]
fn reserved_names_are_found_and_fields_are_not() {
    let found = |path: &str, text: &str| reserved(&[Source::new(path, text)]).len();
    assert_eq!(found("src/data_plane/a.rs", "use tokio::net::TcpStream;"), 1);
    assert_eq!(found("src/http/a.rs", "fn f() { monoio::spawn(x); }"), 1);
    assert_eq!(found("src/routing/a.rs", "use aws_lc_rs::aead;"), 1);
    assert_eq!(found("src/routing/a.rs", "std::thread::sleep(d); std::env::var(n);"), 2);
    assert_eq!(found("src/data_plane/a.rs", "let x = name.to_socket_addrs();"), 1);
    assert_eq!(found("src/app.rs", "use tokio::net::UnixListener;"), 0);
    assert_eq!(found("src/rt/a.rs", "use monoio::net::TcpStream; use io_uring::IoUring;"), 0);
    assert_eq!(found("src/config/a.rs", "enum Io { A } let io_uring = probe.io_uring; // tokio::spawn"), 0);
    assert_eq!(found("src/http/a.rs", "#[cfg(test)] mod tests { use tokio::net; }"), 0);
}

#[test]
fn empty_names_are_found() {
    let found = |path: &str, text: &str| empty_names(&[Source::new(path, text)]).len();
    for text in
        ["struct KeyManager;", "fn get_key() {}", "mod utils {}", "pub fn http_helper() {}", "enum HTTPHandler {}"]
    {
        assert_eq!(found("src/a.rs", text), 1, "{text}");
    }
    assert_eq!(found("src/types.rs", ""), 1);
    assert_eq!(found("src/a.rs", "fn target() {} struct Session; fn budget_left() {} let x = a.get_mut();"), 0);
}

#[test]
fn unfinished_code_and_machine_paths_are_found() {
    assert_eq!(unfinished(&[Source::new("src/a.rs", "fn a() { todo!() }\nfn b() { unimplemented!(\"x\") }")]).len(), 2);
    assert_eq!(unfinished(&[Source::new("src/a.rs", "// todo!\nfn todo() {}")]).len(), 0);
    let text = format!(
        "const A: &str = \"{}x\";\n#[cfg(test)]\nmod tests {{ const B: &str = \"{}x\"; }}",
        MACHINE_PATHS[0], MACHINE_PATHS[2]
    );
    assert_eq!(machine_paths(&[Source::new("src/a.rs", &text)]).len(), 1);
    assert_eq!(machine_paths(&[Source::new("src/a.rs", "const A: &str = \"api/work/x\";")]).len(), 0);
}
