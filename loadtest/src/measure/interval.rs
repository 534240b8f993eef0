//! One second of a run: whole while it is shown, packed once it is kept.

use super::sparse::Sparse;
use super::timings::{Sums, Timings, add};
use hdrhistogram::Histogram;
use std::time::Duration;

/// One second of one run, all threads together once merged; warm-up included.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Number of the second since the run's start.
    pub second: u64,
    /// Whether it belongs to the warm-up.
    pub warm_up: bool,
    /// What ended in it.
    pub sums: Sums,
    /// Its latencies.
    pub timings: Timings,
    /// Requests in flight at its end.
    pub in_flight: u64,
    /// How late the tester was in it, nanoseconds.
    pub late: Histogram<u64>,
    /// CPU time of the tester in it.
    pub cpu: Duration,
    /// CPU time of the watched process in it, and its resident bytes at its end.
    pub watched: Option<(Duration, u64)>,
}

impl Interval {
    /// A second in which nothing has happened yet.
    pub fn new(second: u64) -> Self {
        Self {
            second,
            warm_up: false,
            sums: Sums::default(),
            timings: Timings::default(),
            in_flight: 0,
            late: super::histogram(),
            cpu: Duration::ZERO,
            watched: None,
        }
    }

    /// Adds what another thread has of the same second.
    pub fn add(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.timings.add(&other.timings);
        self.in_flight += other.in_flight;
        add(&mut self.late, &other.late);
        self.cpu += other.cpu;
        self.watched = self.watched.or(other.watched);
    }
}

/// A row of a finished run's time series: a second, or several that were folded into one. It holds histograms packed, and
/// only those that a picture, a log or a bootstrap of blocks needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    /// Number of its first second since the run's start.
    pub second: u64,
    /// How many seconds it covers: 1 unless the run was long.
    pub span: u64,
    /// Whether it began in the warm-up.
    pub warm_up: bool,
    /// What ended in it, warm-up included.
    pub sums: Sums,
    /// Planned instant to first token, nanoseconds.
    pub ttft: Sparse,
    /// Planned instant to last byte, nanoseconds.
    pub e2e: Sparse,
    /// Between events with generated tokens, nanoseconds.
    pub gap: Sparse,
    /// Planned instant to first byte sent, nanoseconds.
    pub send_delay: Sparse,
    /// How late the tester was in it, nanoseconds.
    pub late: Sparse,
    /// Requests in flight at its end.
    pub in_flight: u64,
    /// CPU time of the tester in it.
    pub cpu: Duration,
    /// CPU time of the watched process in it, and its resident bytes at its end.
    pub watched: Option<(Duration, u64)>,
}

impl From<&Interval> for Second {
    fn from(interval: &Interval) -> Self {
        Self {
            second: interval.second,
            span: 1,
            warm_up: interval.warm_up,
            sums: interval.sums.clone(),
            ttft: Sparse::of(&interval.timings.ttft),
            e2e: Sparse::of(&interval.timings.e2e),
            gap: Sparse::of(&interval.timings.gap),
            send_delay: Sparse::of(&interval.timings.send_delay),
            late: Sparse::of(&interval.late),
            in_flight: interval.in_flight,
            cpu: interval.cpu,
            watched: interval.watched,
        }
    }
}

impl Second {
    /// Adds what another thread has of the same second.
    pub(super) fn amend(&mut self, other: &Self) {
        self.sums.add(&other.sums);
        self.add_timings(other);
        self.cpu += other.cpu;
        // Of a row of several seconds only the last one's end is told.
        if other.second + other.span == self.second + self.span {
            self.in_flight += other.in_flight;
        }
    }

    /// Takes in the row that follows: one row then covers both.
    pub(super) fn absorb(&mut self, next: &Self) {
        self.sums.add(&next.sums);
        self.add_timings(next);
        self.span = next.second + next.span - self.second;
        self.in_flight = next.in_flight;
        self.cpu += next.cpu;
        self.watched = match (self.watched, next.watched) {
            (Some((before, _)), Some((cpu, resident))) => Some((before + cpu, resident)),
            (watched, None) | (None, watched) => watched,
        };
    }

    fn add_timings(&mut self, other: &Self) {
        self.ttft.add(&other.ttft);
        self.e2e.add(&other.e2e);
        self.gap.add(&other.gap);
        self.send_delay.add(&other.send_delay);
        self.late.add(&other.late);
    }

    /// Its histograms by their names in reports.
    pub fn series(&self) -> [(&'static str, &Sparse); 5] {
        [
            ("ttft", &self.ttft),
            ("e2e", &self.e2e),
            ("event_gap", &self.gap),
            ("send_delay", &self.send_delay),
            ("late", &self.late),
        ]
    }

    /// Bytes it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.series().iter().map(|(_, sparse)| sparse.size() - size_of::<Sparse>()).sum::<usize>()
    }
}

/// Makes one row of every two.
pub(super) fn fold(rows: &mut Vec<Second>) {
    let mut folded: Vec<Second> = Vec::with_capacity(rows.len().div_ceil(2));
    let mut odd = true;
    for row in rows.drain(..) {
        match folded.last_mut() {
            Some(last) if !odd => last.absorb(&row),
            _ => folded.push(row),
        }
        odd = !odd;
    }
    *rows = folded;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_halves_rows_and_keeps_sums() {
        let mut rows: Vec<Second> = (0..7)
            .map(|second| {
                let mut interval = Interval::new(second);
                interval.sums.good = 1;
                interval.timings.ttft.saturating_record(1000 * (second + 1));
                interval.in_flight = second;
                interval.watched = Some((Duration::from_millis(2), second));
                Second::from(&interval)
            })
            .collect();
        fold(&mut rows);
        let spans: Vec<_> = rows.iter().map(|row| (row.second, row.span, row.in_flight)).collect();
        assert_eq!(spans, [(0, 2, 1), (2, 2, 3), (4, 2, 5), (6, 1, 6)]);
        assert_eq!(rows.iter().map(|row| row.sums.good).sum::<u64>(), 7);
        assert_eq!((rows[0].ttft.count(), rows[0].watched), (2, Some((Duration::from_millis(4), 1))));
        fold(&mut rows);
        assert_eq!(rows.iter().map(|row| (row.second, row.span)).collect::<Vec<_>>(), [(0, 4), (4, 3)]);
    }
}
