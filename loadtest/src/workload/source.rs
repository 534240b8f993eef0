//! The arrivals of one thread of a run, one after the other.

use super::mix::Mix;
use super::schedule::Schedule;
use super::{Arrivals, Ask, Plan, trace};
use std::time::Duration;

/// A request that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// When it is due, from the run's start; `None` in a closed loop: now.
    pub at: Option<Duration>,
    /// Whether it counts, or is warm-up.
    pub counts: bool,
    /// What it asks.
    pub ask: Ask,
}

/// The arrivals that belong to one thread of `parts`: every `parts`-th. All threads together give out the same requests at the
/// same instants, however many they are.
pub struct Source {
    schedule: Schedule,
    mix: Mix,
    part: u64,
    parts: u64,
    warm_up: Duration,
    /// Requests that may still be begun, turns included; `None` without a bound.
    left: Option<u64>,
    /// The session that the bound cuts short, and the turns it has left.
    cut: Option<(u64, u32)>,
}

impl Source {
    /// The arrivals of thread number `part` of `parts`.
    ///
    /// # Errors
    /// The plan cannot be carried out; the sentence says why and what would help.
    pub fn new(plan: &Plan, part: usize, parts: usize) -> anyhow::Result<Self> {
        if let Some(problem) = plan.schedule_problems().into_iter().next() {
            anyhow::bail!(problem);
        }
        if let (Arrivals::Trace { file, speed }, 0) = (&plan.arrivals, part) {
            trace::check(file, *speed, plan.end(), plan.requests)?;
        }
        Ok(Self {
            schedule: Schedule::new(plan)?,
            mix: Mix::new(plan)?,
            part: part as u64,
            parts: parts.max(1) as u64,
            warm_up: plan.warm_up.0,
            left: plan.requests,
            cut: None,
        })
    }

    /// The next arrival, in the order of their instants; `None` when all have been given out.
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        loop {
            let index = self.schedule.index();
            self.take_turns(index)?;
            if index % self.parts == self.part {
                break;
            }
            self.schedule.skip();
        }
        let due = self.schedule.take()?;
        let ask = self.mix.first(due.index, due.row.as_ref());
        Some(Arrival { at: due.at, counts: due.at.is_none_or(|at| at >= self.warm_up), ask })
    }

    /// What follows in the same session once an answer has come: how long its person thinks first, and what they ask then.
    /// `None` where the session ends. `answer` is the text of the answer, [`super::WORDLESS`] where it had none, empty where it
    /// failed (the session ends then).
    pub fn follow_up(&mut self, ask: &Ask, answer: &str) -> Option<(Duration, Ask)> {
        let (index, turn) = ask.session?;
        let turns = match self.cut {
            Some((cut, turns)) if cut == index => turns,
            _ => self.mix.turns(index),
        };
        (turn + 1 < turns && !answer.is_empty()).then(|| self.mix.next(ask, answer))
    }

    /// Counts the requests that the session of this number may send; `None` where nothing may be sent any more.
    fn take_turns(&mut self, index: u64) -> Option<()> {
        let Some(left) = &mut self.left else { return Some(()) };
        if *left == 0 {
            return None;
        }
        let turns = if self.mix.has_sessions() { self.mix.turns(index) } else { 1 };
        if u64::from(turns) > *left {
            self.cut = Some((index, *left as u32));
        }
        *left = left.saturating_sub(turns.into());
        Some(())
    }
}
