#![cfg(feature = "load")]
//! What the documents show of `igris-load` is so: every command line in their shell blocks is one that the program takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_igris-load");

/// The README, the documents, and the scenario files, whose comments say how to run them.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned();
    let mut found = vec![root.join("README.md")];
    for (folder, ending) in [("docs", "md"), ("config/load", "toml")] {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|found| found == ending)));
    }
    found
}

/// The words behind the program's name of every command line in a text.
fn commands(text: &str) -> Vec<Vec<String>> {
    let whole = text.replace("\\\n", " ");
    let lines = whole.lines().map(|line| line.trim_start_matches(['#', '$', ' ']));
    let of = |line: &str| {
        let line = line.strip_prefix("cargo run --release -p igris-load -- ").or_else(|| {
            let rest = line.strip_prefix("target/release/").unwrap_or(line);
            rest.strip_prefix("igris-load ")
        })?;
        // What stands behind a pipe or a comment is another's.
        let line = line.split(['|', '#', '>', '&']).next().unwrap_or_default();
        Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    lines.filter_map(of).collect()
}

#[test]
fn the_commands_shown_exist() {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document");
        for words in commands(&text) {
            // A sentence that begins with the program's name shows no command.
            let Some(name) = words.first().filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())) else {
                continue;
            };
            let help = helps.entry(name.clone()).or_insert_with(|| {
                let ran = Command::new(PROGRAM).args([name, "--help"]).output().expect("the program starts");
                String::from_utf8_lossy(&ran.stdout).into_owned()
            });
            let flags: Vec<_> = words.iter().filter(|word| word.starts_with("--")).collect();
            assert!(!help.is_empty() || flags.is_empty(), "{}: there is no `igris-load {name}`", document.display());
            for flag in flags {
                let flag = flag.split('=').next().unwrap_or(flag);
                assert!(help.contains(flag), "{}: `igris-load {name}` has no {flag}", document.display());
                count += 1;
            }
        }
    }
    assert!(count > 10, "the documents show how to use it: {count} flags");
}
