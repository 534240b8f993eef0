//! What is wrong with a configuration, where, and what to write instead.
//!
//! Every problem is one line, `FILE:LINE:COL: error: what; remedy`, and all of them are collected before anything is refused, so that a
//! person repairs a file once. Text from the file is shown escaped and bounded (rule R5); secrets are never shown (rule R1).

use crate::limits::{LOG_TEXT_BYTES_MAX, PROBLEMS_MAX};
use std::fmt;

/// Whether a problem stops the file from loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file loads, but probably means something else.
    Warning,
}

/// Where a problem is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line and column in the file, both from 1; columns count characters.
    Text {
        /// Line, from 1.
        line: usize,
        /// Character in the line, from 1.
        column: usize,
    },
    /// An environment variable, in the mode without a file.
    Variable(String),
}

/// One thing that is wrong, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// Whether it stops the file.
    pub severity: Severity,
    /// What is wrong, naming the key and the offending text.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// All problems of one file, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    shown: Vec<Problem>,
    unshown: usize,
}

// === impl Problems ===

impl Problems {
    /// How many errors and warnings there are, including those beyond the [`PROBLEMS_MAX`] that are kept.
    pub fn count(&self) -> usize {
        self.shown.len() + self.unshown
    }

    /// The problems that were kept, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.shown.iter()
    }

    /// Whether any of them stops the file.
    pub(super) fn refuses(&self) -> bool {
        self.shown.iter().any(|problem| problem.severity == Severity::Error)
    }
}

/// One line for each problem, without a final line end.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.shown.iter().enumerate() {
            let line_end = if index == 0 { "" } else { "\n" };
            let Problem { place, severity, what, remedy } = problem;
            let severity = if *severity == Severity::Error { "error" } else { "warning" };
            match place {
                Place::Text { line, column } => write!(f, "{line_end}{}:{line}:{column}: ", self.file)?,
                Place::Variable(name) => write!(f, "{line_end}{}:{name}: ", self.file)?,
            }
            write!(f, "{severity}: {what}; {remedy}")?;
        }
        if self.unshown > 0 {
            write!(f, "\n{}: {} more; repair these first", self.file, self.unshown)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

// === Findings ===

/// Problems while they are being found, by byte offset in the text. Bounded: beyond [`PROBLEMS_MAX`] only the number grows.
#[derive(Default)]
pub(super) struct Findings {
    found: Vec<Found>,
    beyond: usize,
}

struct Found {
    at: usize,
    severity: Severity,
    what: String,
    remedy: String,
}

impl Findings {
    /// Notes an error at a byte offset.
    pub(super) fn error(&mut self, at: usize, what: impl Into<String>, remedy: impl Into<String>) {
        self.note(Found { at, severity: Severity::Error, what: what.into(), remedy: remedy.into() });
    }

    /// Notes a warning at a byte offset.
    pub(super) fn warning(&mut self, at: usize, what: impl Into<String>, remedy: impl Into<String>) {
        self.note(Found { at, severity: Severity::Warning, what: what.into(), remedy: remedy.into() });
    }

    /// Whether an error was noted.
    pub(super) fn refuse(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// Turns offsets into lines and columns of `text`.
    pub(super) fn placed(mut self, file: &str, text: &str) -> Problems {
        self.found.sort_by_key(|found| found.at);
        let mut lines = LineCursor::default();
        let shown = self.found.into_iter().map(|found| {
            let place = lines.place(text, found.at);
            Problem { place, severity: found.severity, what: found.what, remedy: found.remedy }
        });
        Problems { file: file.to_owned(), shown: shown.collect(), unshown: self.beyond }
    }

    /// An error must never be pushed out by warnings, or a bad file would load.
    fn note(&mut self, found: Found) {
        if self.found.len() < PROBLEMS_MAX || (found.severity == Severity::Error && !self.refuse()) {
            self.found.push(found);
        } else {
            self.beyond += 1;
        }
    }
}

/// Problems that name environment variables, for the mode without a file.
pub(super) fn of_environment(found: Vec<(String, Complaint)>) -> Problems {
    let shown = found.into_iter().map(|(name, complaint)| Problem {
        place: Place::Variable(name),
        severity: Severity::Error,
        what: format!("the value {}", complaint.what),
        remedy: complaint.remedy,
    });
    Problems { file: "environment".to_owned(), shown: shown.collect(), unshown: 0 }
}

/// Walks the text once, since offsets come sorted.
#[derive(Default)]
struct LineCursor {
    line: usize,
    line_start: usize,
}

impl LineCursor {
    fn place(&mut self, text: &str, at: usize) -> Place {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let passed = &text[self.line_start..at];
        self.line += passed.matches('\n').count();
        self.line_start += passed.rfind('\n').map_or(0, |end| end + 1);
        Place::Text { line: self.line + 1, column: text[self.line_start..at].chars().count() + 1 }
    }
}

// === Complaint ===

/// Why one value is refused: `what` reads on after the key's name (`is `30`, a number without a unit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong, without its subject.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Complaint {
    /// Both halves.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

// === Text in messages ===

/// Text from the file in backticks: one line, escaped, bounded (rule R5).
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::from("`");
    for ch in text.chars() {
        if shown.len() >= LOG_TEXT_BYTES_MAX / 4 {
            shown.push('…');
            break;
        }
        if breaks_a_line(ch) { shown.extend(ch.escape_unicode()) } else { shown.push(ch) }
    }
    shown.push('`');
    shown
}

/// Controls, line separators and direction marks, which could forge or reorder a line of output.
fn breaks_a_line(ch: char) -> bool {
    ch.is_control()
        || matches!(ch, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A remedy naming the nearest of the known words, or all of them when none is near.
pub(super) fn suggestion<'w>(typed: &str, known: impl Iterator<Item = &'w str> + Clone) -> String {
    match nearest(typed, known.clone()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("known are {}", known.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// The known word that most likely was meant: within a third of its length in edits, swaps of neighbours counted as one.
pub(super) fn nearest<'w>(typed: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // Edit distance is quadratic: a very long key cannot be near a known one, so it is not compared.
    if typed.len() > LOG_TEXT_BYTES_MAX / 4 {
        return None;
    }
    let typed = typed.to_lowercase().replace('-', "_");
    let edits = |word: &str| strsim::damerau_levenshtein(&typed, &word.replace('-', "_"));
    let (distance, word) = known.map(|word| (edits(word), word)).min_by_key(|(distance, _)| *distance)?;
    (distance <= word.len().max(3) / 3).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_character_columns() {
        let text = "a\nbä = 1\n\nend";
        let mut findings = Findings::default();
        for at in [text.len(), 0, 2, 6, 9_999] {
            findings.error(at, "x", "y");
        }
        let places: Vec<String> = findings.placed("f", text).to_string().lines().map(str::to_owned).collect();
        let expected = ["f:1:1", "f:2:1", "f:2:4", "f:4:4", "f:4:4"].map(|place| format!("{place}: error: x; y"));
        assert_eq!(places, expected);
    }

    #[test]
    fn text_from_the_file_stays_on_one_short_line() {
        assert_eq!(quoted("a\nb\u{202e}"), "`a\\u{a}b\\u{202e}`");
        assert!(quoted(&"x".repeat(10_000)).len() < 100);
    }

    #[test]
    fn the_nearest_word_is_found_and_far_ones_are_not() {
        let known = ["listen", "workers", "io"];
        assert_eq!(nearest("lisen", known.iter().copied()), Some("listen"));
        assert_eq!(nearest("Listne", known.iter().copied()), Some("listen"));
        assert_eq!(nearest("flavour", known.iter().copied()), None);
    }

    #[test]
    fn a_flood_is_counted_and_an_error_is_never_pushed_out() {
        let mut findings = Findings::default();
        for _ in 0..PROBLEMS_MAX + 7 {
            findings.warning(0, "w", "r");
        }
        findings.error(0, "e", "r");
        assert!(findings.refuse());
        let problems = findings.placed("f", "");
        assert!(problems.refuses());
        assert_eq!(problems.count(), PROBLEMS_MAX + 8);
        assert!(problems.to_string().ends_with("f: 7 more; repair these first"));
    }
}
