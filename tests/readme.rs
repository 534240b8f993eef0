//! What the documents say is so: the provider table, the examples, the commands, the links, the names of files and settings.
//!
//! The README's provider table is generated from the rows; with `IGRIS_BLESS=1` this test writes it between its markers. The rest
//! is only checked, each failure naming the document and the words to mend.

use igris::config::{Config, Known, KnownProvider, raw};
use igris::providers::table::ROWS;
use igris::providers::{Dialect, Row};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "docs/ARCHITECTURE.md",
    "docs/configuration.md",
    "docs/api.md",
    "docs/dialects.md",
    "docs/operations.md",
];
const TABLE_BEGIN: &str = "<!-- providers: written by IGRIS_BLESS=1 cargo test --test readme -->\n";
const TABLE_END: &str = "<!-- /providers -->";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The texts of all code blocks of one language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let text = read(document);
    let starts = text.split(&fence).skip(1);
    starts.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

// ---- The provider table -----------------------------------------------------------------------------------------------------

fn provider_table() -> String {
    let mut table = "| provider | also called | key from | address |\n|---|---|---|---|\n".to_owned();
    for row in ROWS {
        let variables: Vec<String> = row.env_keys.iter().map(|name| format!("`{name}`")).collect();
        let from = if variables.is_empty() { "needs none".to_owned() } else { variables.join(", ") };
        let address = row.base_url.map_or("stated by you".to_owned(), |url| format!("`{url}`"));
        // Writing to a String does not fail.
        let _ = writeln!(table, "| {} | {} | {from} | {address} |", row.id, row.aliases.join(", "));
    }
    table
}

#[test]
fn the_provider_table_is_what_the_rows_say() {
    let readme = read("README.md");
    let (before, rest) = readme.split_once(TABLE_BEGIN).expect("README.md has the marker before the provider table");
    let (shown, after) = rest.split_once(TABLE_END).expect("README.md has the marker after the provider table");
    let expected = provider_table();
    if shown == expected {
        return;
    }
    if std::env::var_os("IGRIS_BLESS").is_some() {
        let written = [before, TABLE_BEGIN, &expected, TABLE_END, after].concat();
        return fs::write(path("README.md"), written).expect("README.md can be written");
    }
    panic!(
        "README.md's provider table is out of date; run IGRIS_BLESS=1 cargo test --test readme. Expected:\n\n{expected}"
    );
}

// ---- Configuration ----------------------------------------------------------------------------------------------------------

#[test]
fn the_configuration_examples_are_accepted() {
    let known_provider = |row: &'static Row| KnownProvider {
        name: row.id,
        aliases: row.aliases,
        key_envs: row.env_keys,
        dialect: row.dialect.as_str(),
        base_url: row.base_url,
    };
    let providers: Vec<_> = ROWS.iter().map(known_provider).collect();
    let dialects: Vec<_> = Dialect::ALL.into_iter().map(Dialect::as_str).collect();
    let known = Known { providers: &providers, dialects: &dialects };
    for document in ["README.md", "docs/configuration.md"] {
        let examples = blocks(document, "toml");
        assert!(!examples.is_empty(), "{document} has no example");
        for example in examples {
            if let Err(problems) = Config::parse(document, &example, &known) {
                panic!("{document} shows a configuration that is refused:\n{problems}\n{example}");
            }
        }
    }
}

#[test]
fn every_setting_is_described() {
    let text = read("docs/configuration.md");
    let described = |key: &str| text.contains(&format!("`{key}`")) || text.contains(&format!("`{key} ="));
    for (table, keys) in raw::TABLES {
        for key in *keys {
            let is_table = text.contains(&format!("[{key}")) || text.contains(&format!(".{key}]"));
            assert!(described(key) || is_table, "docs/configuration.md does not describe `{key}` of {table}");
        }
    }
}

// ---- Commands ---------------------------------------------------------------------------------------------------------------

/// Every command line of the documents' shell blocks that calls one of our programs, by its words behind the program's name.
fn commands(start: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for document in DOCUMENTS {
        for block in blocks(document, "sh") {
            let whole = block.replace("\\\n", " ");
            for line in whole.lines().filter_map(|line| line.split_once(start)) {
                let words = line.1.split('#').next().unwrap_or_default().split_whitespace();
                found.push(words.map(str::to_owned).collect());
            }
        }
    }
    found
}

fn is_flag(word: &str) -> bool {
    word.starts_with("--")
}

/// The words that name a command: everything before the first flag, path or placeholder.
fn command_words(words: &[String]) -> Vec<&str> {
    let names =
        |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-');
    words.iter().map(String::as_str).take_while(names).collect()
}

#[test]
fn igris_has_the_commands_shown() {
    let mut shown = commands("cargo run --release -- ");
    assert!(
        shown.iter().any(|words| words.first().is_some_and(|word| word == "demo")),
        "README.md lost its quick start"
    );
    shown.extend(commands("target/release/igris "));
    for words in shown {
        let command = command_words(&words);
        let mut program = Command::new(env!("CARGO_BIN_EXE_igris"));
        let ran = program.args(&command).arg("--help").output().expect("igris starts");
        assert!(ran.status.success(), "`igris {}` does not exist", command.join(" "));
        let help = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(!command.is_empty() && !help.is_empty(), "`igris {}` has no help", command.join(" "));
        for flag in words.iter().filter(|word| is_flag(word)) {
            assert!(help.contains(flag.as_str()), "`igris {}` has no {flag}", command.join(" "));
        }
    }
}

#[test]
fn xtask_has_the_commands_shown() {
    let help = read("xtask/src/main.rs");
    let shown = commands("cargo xtask ");
    assert!(
        shown.iter().any(|words| words.first().is_some_and(|word| word == "test")),
        "README.md lost `cargo xtask test`"
    );
    for words in shown {
        let line = format!("\n  {} ", command_words(&words).join(" "));
        assert!(help.contains(&line), "cargo xtask has no `{}`", line.trim());
        for flag in words.iter().filter(|word| is_flag(word)) {
            assert!(help.contains(&format!("{flag} ")), "cargo xtask has no {flag}");
        }
    }
}

// ---- Names ------------------------------------------------------------------------------------------------------------------

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let folder = path(document).parent().expect("a folder").to_owned();
        let text = read(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.starts_with("https://");
            assert!(elsewhere || folder.join(target).exists(), "{document} links to {link}, which is not there");
        }
    }
}

/// Every source file by its path from the root, with `/` between the parts.
fn source_files(folder: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let entry = entry.expect("a readable entry");
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().expect("a type").is_dir() {
            true => source_files(&name, found),
            false if name.ends_with(".rs") => drop(found.insert(name)),
            false => {}
        }
    }
}

#[test]
fn source_files_that_are_named_exist() {
    let mut files = BTreeSet::new();
    for folder in ["src", "tests", "loadtest/src", "xtask/src"] {
        source_files(folder, &mut files);
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_/.-".contains(&byte);
    for document in DOCUMENTS {
        let text = read(document);
        for word in text.split(|ch: char| !ch.is_ascii() || !is_name(ch as u8)).filter(|word| word.ends_with(".rs")) {
            let behind = format!("/{}", word.trim_start_matches("../"));
            let exists = files.iter().any(|file| format!("/{file}").ends_with(&behind));
            assert!(exists, "{document} names {word}, which is not there");
        }
    }
}

#[test]
fn the_plan_names_every_module() {
    let plan = read("docs/ARCHITECTURE.md");
    for entry in fs::read_dir(path("src")).expect("src is readable") {
        let name = entry.expect("a readable entry").file_name().to_string_lossy().into_owned();
        let module = name.trim_end_matches(".rs");
        let named = [format!("`{module}`"), format!("\n{module} "), format!("\n{module}/ ")];
        let found = module == "lib" || named.iter().any(|form| plan.contains(form.as_str()));
        assert!(found, "docs/ARCHITECTURE.md does not say what src/{name} is for");
    }
}

#[test]
fn measured_figures_have_their_place() {
    let readme = read("README.md");
    let begin = readme.find("<!-- numbers -->").expect("README.md has the marker before the figures");
    let end = readme.find("<!-- /numbers -->").expect("README.md has the marker after the figures");
    let between = readme.get(begin..end).expect("the markers stand in order");
    for command in ["cargo xtask bench proxy", "igris-load -- run"] {
        assert!(between.contains(command), "figures without `{command}`, the command that makes them");
    }
}
