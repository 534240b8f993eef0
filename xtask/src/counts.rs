//! Counting tests in what the runners print: cargo-nextest, `cargo test`, pytest and node.
//!
//! Each has its own closing words; a run may hold several of them (one per test binary), and they add up.

use std::fmt;
use std::ops::AddAssign;

/// Tests of one or more runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that ran and held.
    pub passed: u64,
    /// Tests that ran and did not hold, or ran too long, or could not be set up.
    pub failed: u64,
    /// Tests that were known and not run.
    pub skipped: u64,
}

impl Counts {
    /// True when no test was counted at all.
    pub fn is_empty(self) -> bool {
        self == Counts::default()
    }

    /// Adds up every summary found in a runner's output; lines of any other kind count nothing.
    pub fn read(output: &str) -> Counts {
        let mut sum = Counts::default();
        for line in output.lines() {
            let line = without_colour(line);
            let line = line.trim();
            if let Some((_, rest)) = line.split_once("tests run: ").or_else(|| line.split_once("test run: ")) {
                sum += numbered_words(rest);
            } else if let Some(rest) = line.strip_prefix("test result: ") {
                sum += numbered_words(rest.split_once(". ").map_or("", |(_, rest)| rest));
            } else if line.starts_with('=') && line.ends_with('=') && line.contains(" in ") {
                sum += numbered_words(line.trim_matches(['=', ' ']));
            } else if let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) {
                sum += node_line(rest);
            }
        }
        sum
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `10 passed (1 slow), 2 failed; 1 ignored` in any of the runners' orders and separators.
fn numbered_words(text: &str) -> Counts {
    let mut counts = Counts::default();
    for part in text.split([',', ';']) {
        let mut words = part.split_whitespace();
        let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse::<u64>), words.next()) else { continue };
        match word {
            "passed" | "xpassed" => counts.passed += number,
            "failed" | "timed" | "error" | "errors" | "exec" => counts.failed += number,
            "skipped" | "ignored" | "xfailed" => counts.skipped += number,
            _ => {}
        }
    }
    counts
}

/// One line of node's closing block: `pass 3`.
fn node_line(text: &str) -> Counts {
    let mut words = text.split_whitespace();
    let (Some(word), Some(Ok(number)), None) = (words.next(), words.next().map(str::parse::<u64>), words.next()) else {
        return Counts::default();
    };
    match word {
        "pass" => Counts { passed: number, ..Counts::default() },
        "fail" | "cancelled" => Counts { failed: number, ..Counts::default() },
        "skipped" | "todo" => Counts { skipped: number, ..Counts::default() },
        _ => Counts::default(),
    }
}

/// Drops terminal colour sequences (ESC `[` … letter).
fn without_colour(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(char) = rest.next() {
        if char != '\u{1b}' {
            out.push(char);
            continue;
        }
        for char in rest.by_ref() {
            if char.is_ascii_alphabetic() {
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn reads_what_each_runner_prints() {
        let cases = [
            ("     Summary [   0.123s] 12 tests run: 12 passed, 1 skipped", counts(12, 0, 1)),
            ("     Summary [   0.1s] 1 test run: 1 passed, 0 skipped", counts(1, 0, 0)),
            (
                "Summary [ 1s] 9 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 1 exec failed, 3 skipped",
                counts(5, 4, 3),
            ),
            (
                "\u{1b}[32m     Summary\u{1b}[0m [ 1s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m passed",
                counts(2, 0, 0),
            ),
            (
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
                counts(3, 0, 1),
            ),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", counts(3, 2, 0)),
            ("===== 2 failed, 5 passed, 1 skipped, 3 warnings in 1.23s =====", counts(5, 2, 1)),
            ("======================== 1 passed, 1 error in 0.02s =========================", counts(1, 1, 0)),
            ("# tests 4\n# pass 3\n# fail 1\n# cancelled 0\n# skipped 0\n# todo 0", counts(3, 1, 0)),
            ("ℹ tests 2\nℹ pass 2\nℹ fail 0", counts(2, 0, 0)),
            ("running 3 tests\ntest a ... ok\n12 passed the gate\n# pass the salt", counts(0, 0, 0)),
        ];
        for (text, expected) in cases {
            assert_eq!(Counts::read(text), expected, "{text}");
        }
    }

    #[test]
    fn summaries_of_one_run_add_up() {
        let text = "test result: ok. 3 passed; 0 failed; 0 ignored\n\ntest result: ok. 4 passed; 0 failed; 2 ignored";
        assert_eq!(Counts::read(text), counts(7, 0, 2));
    }
}
