//! The shape of files: sizes, heads, `unsafe` and `.unwrap()`.

use crate::source::{Finding, Source, behind_closing, name_at, words};

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 100;
/// Above this a function is shown, so that someone looks at it again.
const FUNCTION_LINES_SHOWN: usize = 70;

/// The only files with `unsafe` in them: each is one idea with its argument (rule X2).
const UNSAFE_FILES: [&str; 7] = [
    "src/handover/descriptor.rs",
    "src/json/lanes.rs",
    "src/ledger/map.rs",
    "src/rt/buf.rs",
    "src/rt/cpu.rs",
    "src/rt/fd.rs",
    "src/vault/locked.rs",
];
/// Lines above an `unsafe` in which its argument may start.
const ARGUMENT_LINES: usize = 12;

/// Modules that read the wire or hold secrets: nothing there may panic on what it reads.
const NEVER_UNWRAP: [&str; 9] =
    ["http", "json", "vault", "data_plane", "providers", "chat", "dialects", "metering", "store"];

/// Files above the size of one idea.
pub fn file_sizes(sources: &[Source]) -> Vec<Finding> {
    let long = sources.iter().filter(|source| source.text.lines().count() > FILE_LINES_MAX);
    let say = |source: &Source| {
        let what = format!("{} lines, and {FILE_LINES_MAX} is the most", source.text.lines().count());
        let why = "a file is one idea, typically 100 to 400 lines";
        source.finding(0, what, why, "split it by mechanism: which part could be understood alone?")
    };
    long.map(say).collect()
}

/// Functions above the limit, and lines about those that come near it.
pub fn function_sizes(sources: &[Source]) -> (Vec<Finding>, Vec<String>) {
    let (mut findings, mut shown) = (Vec::new(), Vec::new());
    for source in sources {
        for (place, name, lines) in functions(&source.shipped) {
            if lines > FUNCTION_LINES_MAX {
                let what = format!("`fn {name}` has {lines} lines, and {FUNCTION_LINES_MAX} is the most");
                let why = "most functions have less than 35 lines; 70 is a good moment to look again";
                findings.push(source.finding(place, what, why, "keep the branches here and move the leaves out"));
            } else if lines > FUNCTION_LINES_SHOWN {
                shown.push(format!("{}:{}: `fn {name}` has {lines} lines", source.path, source.line_of(place)));
            }
        }
    }
    (findings, shown)
}

/// Place, name and length in lines of every function with a body.
fn functions(code: &str) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for place in words(code, "fn") {
        let name = name_at(code, place + "fn ".len());
        let Some(stop) = body_of(code, place) else { continue };
        if !name.is_empty() {
            let end = behind_closing(code, stop);
            found.push((place, name, code[place..end].lines().count()));
        }
    }
    found
}

/// The opening brace of a function's body; `None` for a declaration. A `;` inside `[u8; 4]` does not end one.
fn body_of(code: &str, place: usize) -> Option<usize> {
    let mut brackets = 0usize;
    for (offset, byte) in code.bytes().enumerate().skip(place) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.checked_sub(1)?,
            b'{' if brackets == 0 => return Some(offset),
            b';' if brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Files that do not say what they are for.
pub fn module_heads(sources: &[Source]) -> Vec<Finding> {
    let says_nothing = |source: &&Source| {
        let mut lines = source.text.lines().map(str::trim).filter(|line| !line.is_empty());
        !lines.find(|line| !line.starts_with("#!")).is_some_and(|line| line.starts_with("//! ") && line.len() > 12)
    };
    let say = |source: &Source| {
        let why = "a reader opens the file with the question what it is for, what it promises and what it refuses";
        source.finding(0, "no module head".to_owned(), why, "start it with three to ten lines of `//!`")
    };
    // The tests of a module in a file of their own are spoken for by that module.
    let is_own = |source: &&Source| !(source.path.starts_with("src/") && source.shipped.trim().is_empty());
    sources.iter().filter(is_own).filter(says_nothing).map(say).collect()
}

/// `unsafe` outside the named files, or without its argument.
pub fn unsafe_code(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for place in words(&source.code, "unsafe") {
            if !UNSAFE_FILES.contains(&source.path.as_str()) {
                let why = "`unsafe` lives in few files with one idea each, so that it can be reviewed (rule X2)";
                let remedy =
                    "do it safely, or add the file to UNSAFE_FILES in tests/tidy/shape.rs with its measured gain";
                findings.push(source.finding(place, "`unsafe` in a file that is not named".to_owned(), why, remedy));
            } else if !is_private_function(&source.code, place) && !argued(source, place) {
                let why = "the next reader must be able to check the argument";
                let remedy = "write `// SAFETY: …` right above it (`# Safety` for an unsafe function)";
                findings.push(source.finding(place, "`unsafe` without its argument".to_owned(), why, remedy));
            }
        }
    }
    findings
}

/// An `unsafe fn` that is not `pub`: a method whose contract is its trait's, or a leaf whose callers argue.
fn is_private_function(code: &str, place: usize) -> bool {
    let head = code[..place].rsplit(['\n', ';', '{', '}']).next().unwrap_or_default();
    code[place..].starts_with("unsafe fn") && !head.contains("pub")
}

/// True when a SAFETY comment stands on the line or among the comments, attributes and statement lines right above it.
fn argued(source: &Source, place: usize) -> bool {
    let line = source.line_of(place);
    let lines: Vec<&str> = source.text.lines().collect();
    let says = |line: &str| line.contains("SAFETY:") || line.contains("# Safety");
    let above = lines[..line - 1].iter().rev().take(ARGUMENT_LINES);
    let mut above = above.take_while(|line| {
        let line = line.trim();
        line.starts_with("//") || line.starts_with("#[") || line.ends_with(['(', '=', ',', '.'])
    });
    says(lines[line - 1]) || above.any(|line| says(line))
}

/// `.unwrap()` where the wire or secrets are read.
pub fn unwraps(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.module().is_some_and(|name| NEVER_UNWRAP.contains(&name))) {
        for (place, _) in source.shipped.match_indices(".unwrap()") {
            let why = "nothing off the wire may panic; a panic costs a connection and tells nobody why";
            let remedy = "return an error, or state the invariant with `.expect(\"…\")`";
            findings.push(source.finding(place, "`.unwrap()`".to_owned(), why, remedy));
        }
    }
    findings
}

#[test]
fn sizes_are_counted_over_bodies() {
    let long = format!("fn a(x: [u8; 4]) {{\n{}}}\ntrait T {{ fn b(&self); }}\nfn c() {{}}\n", "x();\n".repeat(100));
    let source = Source::new("src/a.rs", &long);
    let found: Vec<(&str, usize)> =
        functions(&source.shipped).into_iter().map(|(_, name, lines)| (name, lines)).collect();
    assert_eq!(found, [("a", 102), ("c", 1)]);
    assert_eq!(function_sizes(&[source]).0.len(), 1);
    let near = Source::new("src/a.rs", &format!("fn a() {{\n{}}}\n", "x();\n".repeat(80)));
    let (findings, shown) = function_sizes(&[near]);
    assert!(findings.is_empty() && shown.len() == 1);
    assert_eq!(file_sizes(&[Source::new("src/a.rs", &"\n".repeat(701))]).len(), 1);
    assert_eq!(file_sizes(&[Source::new("src/a.rs", &"\n".repeat(700))]).len(), 0);
}

#[test]
fn heads_unsafe_and_unwraps_are_found() {
    let one = |path: &str, text: &str| [Source::new(path, text)];
    assert_eq!(module_heads(&one("src/a.rs", "use x;\n//! Too late by a line.")).len(), 1);
    assert_eq!(module_heads(&one("src/a.rs", "#![allow(unsafe_code)]\n//! What it is for.")).len(), 0);
    assert_eq!(unsafe_code(&one("src/a.rs", "unsafe { x() }")).len(), 1);
    assert_eq!(unsafe_code(&one(UNSAFE_FILES[0], "unsafe { x() }")).len(), 1);
    assert_eq!(unsafe_code(&one(UNSAFE_FILES[0], "// SAFETY: x is whole.\nunsafe { x() }")).len(), 0);
    assert_eq!(
        unsafe_code(&one(UNSAFE_FILES[0], "// SAFETY: for y.\nunsafe { y() }\nfn z() {}\nunsafe { x() }")).len(),
        1
    );
    assert_eq!(unsafe_code(&one(UNSAFE_FILES[0], "pub unsafe fn x() {}")).len(), 1);
    assert_eq!(unsafe_code(&one(UNSAFE_FILES[0], "unsafe fn x() {}")).len(), 0);
    assert_eq!(unsafe_code(&one("src/a.rs", "#![allow(unsafe_code)] // unsafe")).len(), 0);
    assert_eq!(
        unwraps(&one("src/http/a.rs", "fn a() { b.unwrap() }\n#[cfg(test)]\nmod tests { fn c() { d.unwrap() } }"))
            .len(),
        1
    );
    assert_eq!(unwraps(&one("src/cli.rs", "fn a() { b.unwrap() }")).len(), 0);
}
