//! The view as one line, where there is no terminal to draw on.

use super::Board;
use crate::measure::Outcome;
use crate::report::svg::{Level, unit};
use std::fmt::Write as _;
use std::time::Duration;

/// The figures of the last second, and the failures so far.
pub fn line(board: &Board) -> String {
    let last = &board.last;
    let elapsed = Duration::from_secs(last.second + 1);
    let mut text = format!("{:>4} s", elapsed.as_secs());
    if let Some(done) = board.progress(elapsed) {
        let _ = write!(text, " {:>3.0} %", done * 100.0);
    }
    if board.open {
        let _ = write!(text, "  due {}/s", unit::count(last.late.len() as f64));
    }
    let _ = write!(text, "  ended {}/s  in flight {}", unit::count(last.sums.total() as f64), last.in_flight);
    let ttft = &last.timings.ttft;
    if !ttft.is_empty() {
        let [p50, p99] = [0.5, 0.99].map(|quantile| unit::time(ttft.value_at_quantile(quantile) as f64));
        let _ = write!(text, "  TTFT p50 {p50} p99 {p99}");
    }
    let failed = board.sums.total() - board.sums.ended(Outcome::Ok);
    if failed > 0 {
        let _ = write!(text, "  failed {}", unit::whole(failed));
    }
    if last.warm_up {
        text.push_str("  (warm-up)");
    }
    match board.health() {
        Level::Fine => {}
        Level::Watch => text.push_str("  tester strained"),
        Level::Bad => text.push_str("  TESTER TOO SLOW"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::{interval, sample};
    use super::*;

    #[test]
    fn a_line_says_what_matters() {
        let mut board = sample();
        let text = line(&board);
        assert!(text.starts_with("   7 s  70 %  due 200/s  ended 200/s  in flight 12  TTFT p50 "), "{text}");
        assert!(text.ends_with("failed 10"), "{text}");
        let mut slow = interval(7);
        for _ in 0..2000 {
            slow.late.saturating_record(30_000_000);
        }
        board.take(&slow);
        assert!(line(&board).ends_with("TESTER TOO SLOW"));
    }
}
