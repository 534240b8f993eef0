//! A file as the rules see it: its lines, the same with comments and strings blanked, and the same without its tests.
//!
//! Blanking keeps every byte's place, so that a position in one view is the position in all of them.

use std::fmt;
use std::fs;
use std::path::Path;

/// One Rust file.
pub struct Source {
    /// Path from the root of the repository, with forward slashes.
    pub path: String,
    /// As written.
    pub text: String,
    /// Comments, string and character literals are spaces.
    pub code: String,
    /// As `code`, and `#[cfg(test)]` items are spaces too.
    pub shipped: String,
}

/// One thing to tidy.
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub what: String,
    pub why: &'static str,
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}\n    why: {}\n    do:  {}", self.path, self.line, self.what, self.why, self.remedy)
    }
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code = blank_literals(text);
        let is_test = path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
            || code.contains("#![cfg(test)]");
        let shipped = if is_test { spaces(&code) } else { blank_tests(&code) };
        Source { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    /// Every `.rs` file below these folders, in order of path. Build output and generated files are left out.
    pub fn all(root: &Path, folders: &[&str]) -> Vec<Source> {
        let mut sources = Vec::new();
        for folder in folders {
            read_folder(root, folder, &mut sources);
        }
        sources.sort_by(|left, right| left.path.cmp(&right.path));
        sources
    }

    pub fn finding(&self, place: usize, what: String, why: &'static str, remedy: &str) -> Finding {
        Finding { path: self.path.clone(), line: self.line_of(place), what, why, remedy: remedy.to_owned() }
    }

    /// Line number of a byte position, from 1.
    pub fn line_of(&self, place: usize) -> usize {
        self.code.as_bytes().iter().take(place).filter(|byte| **byte == b'\n').count() + 1
    }

    /// The top module a file of `src/` belongs to: `src/http/head.rs` and `src/http.rs` are both `http`.
    pub fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs"))
    }
}

fn read_folder(root: &Path, folder: &str, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    for entry in entries {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{folder}/{name}");
        if entry.path().is_dir() {
            if name != "target" && name != "node_modules" {
                read_folder(root, &path, sources);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).unwrap_or_else(|error| panic!("{path}: {error}"));
            if !text.lines().take(3).any(|line| line.contains("@generated")) {
                sources.push(Source::new(&path, &text));
            }
        }
    }
}

/// Places where `word` stands alone in `code` (not as a part of a longer name).
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(place, _)| place).filter(move |&place| {
        let before = place.checked_sub(1).is_none_or(|index| !is_name(bytes[index]));
        let after = bytes.get(place + word.len()).is_none_or(|byte| !is_name(*byte));
        before && after
    })
}

pub fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The name that starts at a place, empty if none does.
pub fn name_at(code: &str, place: usize) -> &str {
    let rest = code.get(place..).unwrap_or("");
    let end = rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len());
    &rest[..end]
}

/// The place just behind the brace that closes the one at `open`.
pub fn behind_closing(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return offset + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

fn spaces(text: &str) -> String {
    text.chars().map(|char| if char == '\n' { '\n' } else { ' ' }).collect()
}

fn blank(bytes: &mut [u8], from: usize, to: usize) {
    let end = to.min(bytes.len());
    for byte in &mut bytes[from.min(end)..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn blank_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for start in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (place, _) in code.match_indices(start) {
            let rest = &code[place..];
            let item = rest.find("]").map_or(place, |end| place + end + 1);
            let stop = code[item..].find(['{', ';']).map_or(code.len(), |end| item + end);
            let end = if code.as_bytes().get(stop) == Some(&b'{') { behind_closing(code, stop) } else { stop + 1 };
            blank(&mut bytes, place, end);
        }
    }
    String::from_utf8(bytes).expect("whole characters were blanked")
}

fn blank_literals(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut place = 0;
    while place < text.len() {
        let end = literal_end(text.as_bytes(), place);
        if end > place {
            blank(&mut bytes, place, end);
            place = end;
        } else {
            place += 1;
        }
    }
    // A character outside of literals and comments may still be wider than a byte: nothing was cut inside of one.
    String::from_utf8(bytes).expect("literals start and end at whole characters")
}

/// The end of the comment or literal that starts at a place; the place itself if none does.
fn literal_end(text: &[u8], place: usize) -> usize {
    let rest = &text[place..];
    let in_name = place > 0 && is_name(text[place - 1]);
    match rest {
        [b'/', b'/', ..] => place + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => place + block_comment(rest),
        [b'"', ..] => place + quoted(rest, 1),
        [b'b' | b'c', b'"', ..] if !in_name => place + quoted(rest, 2),
        [b'r', b'"' | b'#', ..] if !in_name => place + raw(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !in_name => place + raw(rest, 2),
        [b'\'', ..] => place + character(rest),
        _ => place,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0usize;
    let mut place = 0;
    while place < rest.len() {
        match &rest[place..] {
            [b'/', b'*', ..] => (depth, place) = (depth + 1, place + 2),
            [b'*', b'/', ..] => (depth, place) = (depth - 1, place + 2),
            _ => place += 1,
        }
        if depth == 0 {
            return place;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], from: usize) -> usize {
    let mut place = from;
    while place < rest.len() {
        match rest[place] {
            b'\\' => place += 2,
            b'"' => return place + 1,
            _ => place += 1,
        }
    }
    rest.len()
}

fn raw(rest: &[u8], from: usize) -> usize {
    let hashes = rest[from..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(from + hashes) != Some(&b'"') {
        return 0; // a raw name such as r#type
    }
    let mut close = vec![b'"'];
    close.extend(std::iter::repeat_n(b'#', hashes));
    let body = from + hashes + 1;
    rest[body..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(rest.len(), |end| body + end + close.len())
}

/// A character literal, or nothing for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|byte| *byte == b'\'');
        return close.map_or(0, |end| end + 4);
    }
    let text = std::str::from_utf8(&rest[1..rest.len().min(8)]);
    let text =
        text.unwrap_or_else(|error| std::str::from_utf8(&rest[1..1 + error.valid_up_to()]).expect("valid up to there"));
    let width = text.chars().next().map_or(0, char::len_utf8);
    if width > 0 && rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

#[test]
fn literals_and_comments_are_blank_and_places_stay() {
    let text =
        "let a = \"x // {\"; // } \"\nlet b = '{'; let c: &'static str = r#\"}\"#; /* { /* } */ */ b'\\'' r#type 'é' z";
    let source = Source::new("src/x.rs", text);
    assert_eq!(source.code.len(), text.len());
    for left in ["let a =", "let b =", "&'static str", "r#type", "z"] {
        assert_eq!(source.code.find(left), text.find(left), "{left}");
    }
    assert!(!source.code.contains(['{', '}', '"', 'x']), "{}", source.code);
    assert_eq!(source.line_of(text.find("let b").unwrap()), 2);
}

#[test]
fn tests_are_not_shipped() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { x }\n}\n#[cfg(test)]\nuse c::D;\nfn e() {}";
    let source = Source::new("src/x.rs", text);
    assert!(source.shipped.contains("fn a()") && source.shipped.contains("fn e()"));
    assert!(!source.shipped.contains("fn b") && !source.shipped.contains("c::D"));
    assert!(Source::new("src/http/tests.rs", "fn b() {}").shipped.trim().is_empty());
}
