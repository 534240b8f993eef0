//! The rules of the house, held by a machine: who may import whom, what may be named where, sizes, words, and reasons.
//!
//! A single crate has no walls; this test is the wall. Each finding says where, what, why, and what to do. The scan is
//! lexical on purpose: comments and strings are blanked, braces are matched, and nothing is parsed further, so that it
//! needs no dependency, takes milliseconds, and also reads files that do not compile yet.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;

#[path = "tidy/tenants.rs"]
mod tenants;

use std::path::Path;

use source::{Finding, Source};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn hold(findings: Vec<Finding>) {
    if findings.is_empty() {
        return;
    }
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    panic!("{} to tidy:\n\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn arrows_only_run_down() {
    hold(imports::arrows(&Source::all(root(), &["src"])));
}

#[test]
fn every_module_has_its_row() {
    hold(imports::rows(&Source::all(root(), &["src"])));
}

#[test]
fn crates_are_named_where_they_belong() {
    hold(names::reserved(&Source::all(root(), &["src"])));
}

#[test]
fn unsafe_is_rare_and_argued() {
    hold(shape::unsafe_code(&Source::all(root(), &["src", "loadtest", "xtask"])));
}

#[test]
fn files_and_functions_have_a_size() {
    let sources = Source::all(root(), &["src", "loadtest", "xtask", "tests", "benches", "fuzz"]);
    hold(shape::file_sizes(&sources));
    let (findings, long) = shape::function_sizes(&sources);
    for line in long {
        println!("{line}");
    }
    hold(findings);
}

#[test]
fn every_file_says_what_it_is_for() {
    hold(shape::module_heads(&Source::all(root(), &["src", "loadtest", "xtask", "tests", "benches", "fuzz"])));
}

#[test]
fn nothing_off_the_wire_unwraps() {
    hold(shape::unwraps(&Source::all(root(), &["src"])));
}

#[test]
fn rule_t2_the_store_is_asked_for_a_tenant() {
    let sources = Source::all(root(), &["src"]);
    hold(tenants::store_calls(&sources));
    hold(tenants::statements(&sources));
}

#[test]
fn names_say_something() {
    hold(names::empty_names(&Source::all(root(), &["src", "loadtest", "xtask"])));
}

#[test]
fn nothing_is_left_undone() {
    hold(names::unfinished(&Source::all(root(), &["src", "loadtest", "xtask"])));
}

#[test]
fn no_path_of_one_machine() {
    hold(names::machine_paths(&Source::all(root(), &["src", "loadtest", "xtask"])));
}

#[test]
fn every_dependency_has_its_reason() {
    hold(dependencies::reasons(root()));
}

#[test]
fn every_locked_package_comes_from_a_registry() {
    hold(dependencies::sources(root()));
}

/// The scan finds the real tree: without this, a moved folder would make every other test pass.
#[test]
fn there_is_something_to_read() {
    let sources = Source::all(root(), &["src"]);
    assert!(sources.iter().any(|source| source.path == "src/limits.rs"), "src/ was not read");
}
