//! What the view knows: sums since the start, the last seconds, and a short history for its chart, in bounded memory.

use crate::measure::{Interval, Objective, Outcome, Sums, Timings};
use crate::report::svg::Level;
use crate::workload::Plan;
use std::collections::VecDeque;
use std::time::Duration;

/// Seconds that "lately" means.
pub const LATELY: usize = 5;
/// Seconds of history; more than any terminal has columns.
const HISTORY: usize = 600;

/// The figures of one second that a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Past {
    /// Number of the second.
    pub second: u64,
    /// Requests that ended.
    pub ended: u64,
    /// Median and 99th percentile of the time to first token, nanoseconds; 0 where nothing ended well.
    pub ttft: [u64; 2],
}

/// All that the view shows.
pub struct Board {
    /// What is measured.
    pub name: String,
    /// Where it is.
    pub target: String,
    /// Requests that are planned, if their number ends the run.
    pub requests: Option<u64>,
    /// How long it is planned to last, if time ends it.
    pub duration: Option<Duration>,
    /// Its part that does not count.
    pub warm_up: Duration,
    /// Threads of the tester.
    pub threads: usize,
    /// Whether it has planned instants.
    pub open: bool,
    /// What an answer must hold.
    pub objectives: Vec<Objective>,
    /// Sums since the warm-up, or of the warm-up while it lasts.
    pub sums: Sums,
    /// Latencies of the same.
    pub timings: Timings,
    /// Seconds behind [`Self::sums`].
    pub seconds: u64,
    /// Whether these are still the warm-up's.
    pub warming: bool,
    /// Requests that ended, warm-up included.
    pub ended: u64,
    /// The last few seconds, together.
    pub lately: Interval,
    /// How many those are.
    pub lately_seconds: u64,
    /// The latest second.
    pub last: Interval,
    /// Figures of earlier seconds, the latest at the end.
    pub history: VecDeque<Past>,
    recent: VecDeque<Interval>,
}

impl Board {
    /// An empty one.
    pub fn new(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            target: plan.endpoints.first().map(|endpoint| endpoint.url.clone()).unwrap_or_default(),
            requests: plan.requests,
            duration: plan.end(),
            warm_up: plan.warm_up.0,
            threads: plan.threads.max(1),
            open: plan.arrivals.is_open(),
            objectives: plan.objectives.clone(),
            sums: Sums::default(),
            timings: Timings::default(),
            seconds: 0,
            warming: false,
            ended: 0,
            lately: Interval::new(0),
            lately_seconds: 0,
            last: Interval::new(0),
            history: VecDeque::new(),
            recent: VecDeque::new(),
        }
    }

    /// Takes in the second that has just ended.
    pub fn take(&mut self, interval: &Interval) {
        if self.warming && !interval.warm_up {
            self.sums = Sums::default();
            self.timings = Timings::default();
            self.seconds = 0;
        }
        self.warming = interval.warm_up;
        self.sums.add(&interval.sums);
        self.timings.add(&interval.timings);
        self.seconds += 1;
        self.ended += interval.sums.total();
        self.last = interval.clone();
        self.recent.push_back(interval.clone());
        if self.recent.len() > LATELY {
            self.recent.pop_front();
        }
        self.lately = Interval::new(interval.second);
        for second in &self.recent {
            self.lately.add(second);
        }
        // Of what is a level and not a sum, the last counts.
        self.lately.in_flight = interval.in_flight;
        self.lately_seconds = self.recent.len() as u64;
        let ttft = &interval.timings.ttft;
        let quantile = |quantile| if ttft.is_empty() { 0 } else { ttft.value_at_quantile(quantile) };
        let ttft = [quantile(0.5), quantile(0.99)];
        self.history.push_back(Past { second: interval.second, ended: interval.sums.total(), ttft });
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// How long the run is planned to last, if anybody knows.
    pub fn planned_time(&self) -> Option<Duration> {
        self.duration
    }

    /// The part of the run that is done after so long, 0 to 1; `None` where nothing ends it.
    pub fn progress(&self, elapsed: Duration) -> Option<f64> {
        let by_time = self.duration.map(|whole| elapsed.as_secs_f64() / whole.as_secs_f64().max(1e-9));
        let by_count = self.requests.map(|whole| self.ended as f64 / whole.max(1) as f64);
        // Whichever comes first ends it.
        let done = by_time.into_iter().chain(by_count).reduce(f64::max)?;
        Some(done.clamp(0.0, 1.0))
    }

    /// How long it may still last.
    pub fn remaining(&self, elapsed: Duration) -> Option<Duration> {
        let by_time = self.duration.map(|whole| whole.saturating_sub(elapsed));
        let by_count = self.requests.filter(|_| self.ended > 0).map(|whole| {
            let left = whole.saturating_sub(self.ended) as f64;
            Duration::from_secs_f64((elapsed.as_secs_f64() * left / self.ended as f64).min(1e9))
        });
        by_time.into_iter().chain(by_count).min()
    }

    /// Requests that fell due each second lately; `None` in a closed loop.
    pub fn due_rate(&self) -> Option<f64> {
        self.open.then(|| self.each_second(self.lately.late.len()))
    }

    /// Requests that ended each second lately.
    pub fn ended_rate(&self) -> f64 {
        self.each_second(self.lately.sums.total())
    }

    /// Output tokens each second lately; those that answers stated, or else events with tokens.
    pub fn token_rate(&self) -> f64 {
        let sums = &self.lately.sums;
        self.each_second(if sums.output_tokens > 0 { sums.output_tokens } else { sums.generated })
    }

    /// The share of ended requests that held all objectives; `None` without objectives or requests.
    pub fn good_share(&self) -> Option<f64> {
        let total = self.sums.total();
        (!self.objectives.is_empty() && total > 0).then(|| self.sums.good as f64 / total as f64)
    }

    /// Kinds of ends there were, with their counts.
    pub fn outcomes(&self) -> Vec<(Outcome, u64)> {
        let all = Outcome::ALL.into_iter().map(|outcome| (outcome, self.sums.ended(outcome)));
        all.filter(|(outcome, count)| *count > 0 || *outcome == Outcome::Ok).collect()
    }

    /// 99th percentile of the tester's lateness lately, nanoseconds, and the share of their time that its threads worked.
    pub fn own_figures(&self) -> (u64, f64) {
        let late = if self.lately.late.is_empty() { 0 } else { self.lately.late.value_at_quantile(0.99) };
        let time = (self.lately_seconds.max(1) * self.threads as u64) as f64;
        (late, self.lately.cpu.as_secs_f64() / time)
    }

    /// How fit the tester is.
    pub fn health(&self) -> Level {
        let (late, cpu) = self.own_figures();
        let typical =
            if self.timings.ttft.is_empty() { f64::INFINITY } else { self.timings.ttft.value_at_quantile(0.5) as f64 };
        Level::of_late(late as f64, typical).max(Level::of_cpu(cpu))
    }

    /// Cores that the watched process used in the last second, and its resident bytes.
    pub fn watched(&self) -> Option<(f64, u64)> {
        self.last.watched.map(|(cpu, resident)| (cpu.as_secs_f64(), resident))
    }

    fn each_second(&self, count: u64) -> f64 {
        count as f64 / self.lately_seconds.max(1) as f64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::workload::{Arrivals, Endpoint, Span};

    /// A run of ten seconds at 200 requests a second, its first two warm-up, seven seconds old.
    pub fn sample() -> Board {
        let plan = Plan {
            name: "chat".into(),
            endpoints: vec![Endpoint { url: "http://127.0.0.1:8081/v1".into(), ..Endpoint::default() }],
            arrivals: Arrivals::Constant { rate: 200.0 },
            duration: Some(Span(Duration::from_secs(10))),
            warm_up: Span(Duration::from_secs(2)),
            objectives: vec![Objective::Ttft { max: Span(Duration::from_millis(50)) }],
            ..Plan::default()
        };
        let mut board = Board::new(&plan);
        for second in 0..7 {
            board.take(&interval(second));
        }
        board
    }

    pub fn interval(second: u64) -> Interval {
        let mut interval = Interval::new(second);
        interval.warm_up = second < 2;
        interval.sums.outcomes[Outcome::Ok as usize] = 198;
        interval.sums.outcomes[Outcome::Timeout as usize] = 2;
        interval.sums.good = 190;
        interval.sums.output_tokens = 3200;
        for number in 0..198 {
            interval.timings.ttft.saturating_record(10_000_000 + number * 50_000);
            interval.timings.e2e.saturating_record(60_000_000 + number * 50_000);
            interval.timings.gap.saturating_record(2_000_000);
        }
        for _ in 0..200 {
            interval.late.saturating_record(60_000);
        }
        interval.in_flight = 12;
        interval.cpu = Duration::from_millis(150);
        interval.watched = Some((Duration::from_millis(420), 48 << 20));
        interval
    }

    #[test]
    fn the_warm_up_is_forgotten_once_it_is_over() {
        let board = sample();
        assert_eq!((board.seconds, board.sums.total(), board.ended), (5, 1000, 1400));
        assert_eq!((board.due_rate(), board.ended_rate(), board.token_rate()), (Some(200.0), 200.0, 3200.0));
        assert_eq!(board.good_share(), Some(0.95));
        assert_eq!(board.outcomes(), [(Outcome::Ok, 990), (Outcome::Timeout, 10)]);
        assert_eq!(board.health(), Level::Fine);
    }

    #[test]
    fn progress_follows_what_ends_first() {
        let mut board = sample();
        let second = Duration::from_secs;
        assert_eq!((board.progress(second(5)), board.remaining(second(7))), (Some(0.5), Some(second(3))));
        board.requests = Some(1400);
        assert_eq!((board.progress(second(5)), board.remaining(second(7))), (Some(1.0), Some(Duration::ZERO)));
        board.requests = None;
        board.duration = None;
        assert_eq!((board.progress(second(5)), board.remaining(second(7))), (None, None));
    }

    #[test]
    fn memory_stays_bounded() {
        let mut board = sample();
        // Empty histograms add quickly.
        let interval = Interval::new(9);
        for _ in 0..HISTORY + 10 {
            board.take(&interval);
        }
        assert_eq!((board.history.len(), board.recent.len(), board.lately_seconds), (HISTORY, LATELY, LATELY as u64));
    }
}
