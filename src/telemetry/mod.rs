//! What the process says about itself on stderr: one line per event, as text or JSON.
//!
//! Lines are one line (rule R5): callers pass text that `domain::text` has bounded; control characters left in it are escaped here. No line
//! holds a secret, a header, a query or a body (rule R1).

use serde::Serialize;
use std::io::Write;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-11-23T06:51:53Z config reloaded version 7`
    #[default]
    Text,
    /// `{"at":"…","kind":"config","text":"reloaded version 7"}`
    Json,
}

#[derive(Serialize)]
struct Line<'a> {
    at: &'a str,
    kind: &'a str,
    text: &'a str,
}

/// Writes one line. A stderr that is gone is no reason to stop serving.
pub fn log(format: LogFormat, at: &str, kind: &str, text: &str) {
    let line = match format {
        LogFormat::Json => serde_json::to_string(&Line { at, kind, text }).unwrap_or_default(),
        LogFormat::Text => format!("{at} {kind} {}", escaped(text)),
    };
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(escaped("a\nb\u{1b}[31mc"), "a\\nb\\u{1b}[31mc");
    }
}
