//! What is to be sent next and when: the plan's arrivals, and the next turns of sessions whose answers have come.

use super::clock::nanos;
use crate::workload::{Arrivals, Ask, Plan, Source};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A request that is due.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) ask: Ask,
    /// Nanoseconds since the run's start; of a closed loop's request, when it was taken up.
    pub(super) planned: u64,
    /// Whether its instant was fixed beforehand.
    pub(super) fixed: bool,
    pub(super) counts: bool,
}

/// The next turn of a session, ordered by its instant alone.
struct Turn {
    at: u64,
    ask: Ask,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Turn {}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// The arrivals of one thread, in the order of their instants.
pub(super) struct Agenda {
    source: Source,
    /// The source's next arrival, where it has an instant.
    next: Option<Due>,
    /// The source has no more, or they are not wanted any more.
    exhausted: bool,
    closed: bool,
    turns: BinaryHeap<Reverse<Turn>>,
    warm_up: u64,
    /// Nothing is planned from here on.
    end: u64,
}

impl Agenda {
    /// The arrivals of thread number `part` of `parts`.
    ///
    /// # Errors
    /// The plan cannot be carried out.
    pub(super) fn new(plan: &Plan, part: usize, parts: usize) -> anyhow::Result<Self> {
        let mut agenda = Self {
            source: Source::new(plan, part, parts)?,
            next: None,
            exhausted: false,
            closed: plan.arrivals == Arrivals::Closed,
            turns: BinaryHeap::new(),
            warm_up: nanos(plan.warm_up.0),
            end: plan.end().map_or(u64::MAX, nanos),
        };
        if !agenda.closed {
            agenda.draw();
        }
        Ok(agenda)
    }

    /// Draws the next arrival of an open loop.
    fn draw(&mut self) {
        let arrival = if self.exhausted { None } else { self.source.next_arrival() };
        self.exhausted = arrival.is_none();
        self.next = arrival.map(|arrival| Due {
            planned: arrival.at.map_or(0, nanos),
            fixed: true,
            counts: arrival.counts,
            ask: arrival.ask,
        });
    }

    /// When the next request is due; `None` where that depends on a connection, or nothing comes any more.
    pub(super) fn next_at(&self) -> Option<u64> {
        let turn = self.turns.peek().map(|Reverse(turn)| turn.at);
        match (turn, self.next.as_ref().map(|due| due.planned)) {
            (Some(turn), Some(arrival)) => Some(turn.min(arrival)),
            (turn, arrival) => turn.or(arrival),
        }
    }

    /// Whether nothing is left, now or later, but what answers may bring.
    pub(super) fn is_empty(&self) -> bool {
        self.exhausted && self.next.is_none() && self.turns.is_empty()
    }

    /// Persons who think about their next turn.
    pub(super) fn thinking(&self) -> usize {
        self.turns.len()
    }

    /// Takes a request that is due. `free`: in a closed loop, whether one more person may begin.
    pub(super) fn due(&mut self, now: u64, free: bool) -> Option<Due> {
        let turn_at = self.turns.peek().map(|Reverse(turn)| turn.at).filter(|at| *at <= now);
        let arrival_at = self.next.as_ref().map(|due| due.planned).filter(|at| *at <= now);
        match (turn_at, arrival_at) {
            (Some(turn), arrival) if arrival.is_none_or(|arrival| turn <= arrival) => {
                let Reverse(Turn { at, ask }) = self.turns.pop()?;
                Some(Due { ask, planned: at, fixed: true, counts: at >= self.warm_up })
            }
            (_, Some(_)) => {
                let due = self.next.take();
                self.draw();
                due
            }
            _ if self.closed && free => self.begin(now),
            _ => None,
        }
    }

    /// The next request of a closed loop.
    fn begin(&mut self, now: u64) -> Option<Due> {
        if now >= self.end {
            self.exhausted = true;
        }
        let arrival = if self.exhausted { None } else { self.source.next_arrival() };
        self.exhausted = arrival.is_none();
        arrival.map(|arrival| Due { ask: arrival.ask, planned: now, fixed: false, counts: now >= self.warm_up })
    }

    /// An answer has come: its session may go on. `answer` is empty where it failed.
    pub(super) fn follow(&mut self, ask: &Ask, answer: &str, ended: u64) {
        if ask.session.is_none() {
            return;
        }
        if let Some((think, ask)) = self.source.follow_up(ask, answer) {
            let at = ended.saturating_add(nanos(think));
            if at < self.end {
                self.turns.push(Reverse(Turn { at, ask }));
            }
        }
    }

    /// Drops all that is left, and counts what was due by now.
    pub(super) fn close(&mut self, now: u64) -> u64 {
        let mut dropped = 0;
        while self.due(now, false).is_some() {
            dropped += 1;
        }
        (self.next, self.exhausted) = (None, true);
        self.turns.clear();
        dropped
    }
}
