//! Gathers the seconds that each thread sends, shows each whole one, keeps it packed, and looks at the watched process.

use super::interval::{Interval, Second, fold};
use super::process::Usage;
use super::{Measured, Recorder};
use crate::engine::{Driven, Stop, drive};
use crate::workload::Plan;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Rows that are kept; one more, and every two become one.
pub const ROWS_MAX: usize = 3600;
/// A second is shown without the threads that are this many seconds behind.
const SECONDS_BEHIND_MAX: u64 = 2;

/// Carries a plan out and tells what it measured. `on_second` sees each second, warm-up included, shortly after its end, on a
/// thread that measures nothing.
///
/// # Errors
/// The plan cannot be carried out, or a thread could not be started.
pub fn run(plan: &Plan, stop: &Stop, on_second: impl FnMut(&Interval) + Send + 'static) -> anyhow::Result<Measured> {
    let collector = Collector::start(plan, on_second)?;
    let driven = drive(plan, stop, |_| Recorder::for_plan(plan, collector.sender()))?;
    Ok(collector.finish(plan, driven))
}

/// Gathers the seconds of one run.
pub struct Collector {
    thread: JoinHandle<Vec<Second>>,
    sender: Sender<Interval>,
}

impl Collector {
    /// Starts to gather.
    ///
    /// # Errors
    /// The process to watch is not there, or a thread could not be started.
    pub fn start(plan: &Plan, on_second: impl FnMut(&Interval) + Send + 'static) -> anyhow::Result<Self> {
        let watch = plan.watch_pid.map(watched).transpose()?;
        let (sender, receiver) = channel();
        let gathering = Gathering {
            threads: plan.threads.max(1),
            warm_up: plan.warm_up.0,
            pending: BTreeMap::new(),
            rows: Rows::default(),
            watch,
            on_second: Box::new(on_second),
        };
        let thread = std::thread::Builder::new()
            .name("seconds".into())
            .spawn(move || gathering.gather(&receiver))
            .context("cannot start the thread that gathers seconds; allow this user more threads (ulimit -u)")?;
        Ok(Self { thread, sender })
    }

    /// Where a recorder sends its seconds.
    pub fn sender(&self) -> Sender<Interval> {
        self.sender.clone()
    }

    /// Puts together what a run measured, once it has ended.
    pub fn finish(self, plan: &Plan, mut driven: Driven<Recorder>) -> Measured {
        driven.observers.iter_mut().for_each(Recorder::finish);
        let mut measured = Measured::of(plan, driven);
        drop(self.sender);
        // The thread ends when nobody can send any more; its own failure would be a bug here, not the run's.
        measured.seconds = self.thread.join().unwrap_or_default();
        measured
    }
}

/// A process and what it has used before the run.
fn watched(pid: u32) -> anyhow::Result<(u32, Usage)> {
    let usage =
        Usage::of(pid).with_context(|| format!("there is no process {pid} to watch; give the pid of a running one"))?;
    Ok((pid, usage))
}

/// What the gathering thread holds.
struct Gathering {
    threads: usize,
    warm_up: Duration,
    /// Seconds that some threads have not sent yet, and how many have.
    pending: BTreeMap<u64, (Interval, usize)>,
    rows: Rows,
    watch: Option<(u32, Usage)>,
    on_second: Box<dyn FnMut(&Interval) + Send>,
}

impl Gathering {
    fn gather(mut self, receiver: &Receiver<Interval>) -> Vec<Second> {
        while let Ok(interval) = receiver.recv() {
            self.take(interval);
            while self.is_first_whole() {
                self.show_first();
            }
        }
        while !self.pending.is_empty() {
            self.show_first();
        }
        self.rows.rows
    }

    fn take(&mut self, interval: Interval) {
        if self.rows.end().is_some_and(|end| interval.second < end) {
            self.rows.amend(&Second::from(&interval));
            return;
        }
        match self.pending.get_mut(&interval.second) {
            Some((sum, threads)) => {
                sum.add(&interval);
                *threads += 1;
            }
            None => {
                self.pending.insert(interval.second, (interval, 1));
            }
        }
    }

    fn is_first_whole(&self) -> bool {
        let newest = self.pending.last_key_value().map_or(0, |(second, _)| *second);
        let first = self.pending.first_key_value();
        first.is_some_and(|(second, (_, threads))| {
            *threads >= self.threads || newest >= second.saturating_add(SECONDS_BEHIND_MAX)
        })
    }

    fn show_first(&mut self) {
        let Some((second, (mut interval, _))) = self.pending.pop_first() else {
            return;
        };
        interval.warm_up = Duration::from_secs(second) < self.warm_up;
        if let Some((pid, before)) = &mut self.watch
            && let Some(now) = Usage::of(*pid)
        {
            interval.watched = Some((now.cpu.saturating_sub(before.cpu), now.resident));
            *before = now;
        }
        (self.on_second)(&interval);
        self.rows.push(Second::from(&interval));
    }
}

/// Rows of seconds, at most [`ROWS_MAX`].
struct Rows {
    rows: Vec<Second>,
    /// Seconds that a full row covers.
    span: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self { rows: Vec::new(), span: 1 }
    }
}

impl Rows {
    /// The second after the last row; `None` before the first.
    fn end(&self) -> Option<u64> {
        self.rows.last().map(|row| row.second + row.span)
    }

    /// Adds the second that follows, and empty rows for those in between, in which no thread came to look at a clock.
    fn push(&mut self, row: Second) {
        let between = self.end().unwrap_or(0)..row.second;
        for second in between {
            self.push_next(Second { second, span: 1, warm_up: row.warm_up, ..Second::default() });
        }
        self.push_next(row);
    }

    fn push_next(&mut self, row: Second) {
        match self.rows.last_mut() {
            Some(last) if last.span < self.span => last.absorb(&row),
            _ => self.rows.push(row),
        }
        if self.rows.len() > ROWS_MAX {
            fold(&mut self.rows);
            self.span *= 2;
        }
    }

    /// Adds what a thread sent of a second that was shown without it.
    fn amend(&mut self, late: &Second) {
        if let Some(row) = self.rows.iter_mut().rev().find(|row| row.second <= late.second) {
            row.amend(late);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Second {
        let mut interval = Interval::new(number);
        interval.sums.good = 1;
        interval.timings.e2e.saturating_record(1_000_000);
        Second::from(&interval)
    }

    #[test]
    fn rows_stay_bounded_and_lose_nothing() {
        let (mut rows, one) = (Rows::default(), second(0));
        for number in 0..20_000 {
            rows.push(Second { second: number, ..one.clone() });
            assert!(rows.rows.len() <= ROWS_MAX);
        }
        assert_eq!((rows.span, rows.end()), (8, Some(20_000)));
        assert_eq!(rows.rows.iter().map(|row| row.sums.good).sum::<u64>(), 20_000);
        assert!(rows.rows.windows(2).all(|pair| pair[0].second + pair[0].span == pair[1].second));
        assert!(rows.rows.iter().map(Second::size).sum::<usize>() < 4_000_000);
    }

    #[test]
    fn seconds_without_news_are_rows_too() {
        let mut rows = Rows::default();
        rows.push(second(0));
        rows.push(second(3));
        rows.amend(&second(1));
        let good: Vec<_> = rows.rows.iter().map(|row| (row.second, row.sums.good)).collect();
        assert_eq!(good, [(0, 1), (1, 1), (2, 0), (3, 1)]);
    }

    #[test]
    fn a_second_is_shown_once_all_threads_have_sent_it_or_are_far_behind() {
        let (shown, seen) = channel();
        let plan = Plan { threads: 2, warm_up: crate::workload::Span(Duration::from_secs(1)), ..Plan::default() };
        let collector = Collector::start(&plan, move |second: &Interval| {
            shown.send((second.second, second.sums.good)).expect("it is read");
        })
        .expect("a thread");
        for number in [0, 0, 1, 2, 3, 1] {
            let mut interval = Interval::new(number);
            interval.sums.good = 1;
            collector.sender().send(interval).expect("it listens");
        }
        let driven =
            Driven { observers: Vec::new(), health: Vec::new(), elapsed: Duration::from_secs(4), stopped: false };
        let measured = collector.finish(&plan, driven);
        assert_eq!(seen.iter().collect::<Vec<_>>(), [(0, 2), (1, 1), (2, 1), (3, 1)]);
        let rows: Vec<_> = measured.seconds.iter().map(|row| (row.warm_up, row.sums.good)).collect();
        assert_eq!(rows, [(true, 2), (false, 2), (false, 1), (false, 1)]);
    }
}
