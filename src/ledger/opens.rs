//! Attempts that are open: what a replay closes, and what a core writes again after a failed sync. Pure.

use super::record::{self, Entry, Mark};
use crate::domain::id::{AttemptId, RequestId};
use crate::domain::id_hash::IdHash;
use crate::domain::money::Money;
use crate::domain::token::{Usage, UsageSource};
use crate::report::AttemptReport;
use std::collections::HashMap;

/// An attempt without a close.
pub(super) struct Open {
    /// Its exchange.
    exchange: RequestId,
    /// Its intent, as it was written.
    pub(super) intent: Vec<u8>,
    /// How far it has come.
    pub(super) mark: Option<Mark>,
    /// Where its intent was first.
    first: u64,
    /// Where its intent is now.
    pub(super) sequence: u64,
    /// The segment that has it now.
    pub(super) segment: u64,
    /// How often it was written again.
    pub(super) moves: u32,
    /// Where its intent was before it was written again.
    pub(super) before: u64,
}

#[derive(Clone, Copy, Default)]
struct Exchange {
    open: u32,
    /// Whether an attempt of it was closed as its last.
    answered: bool,
}

/// All open attempts of a lane.
#[derive(Default)]
pub(super) struct Opens {
    attempts: HashMap<AttemptId, Open, IdHash>,
    exchanges: HashMap<RequestId, Exchange, IdHash>,
    /// Buffers of intents that were closed, so that a steady load allocates nothing.
    spare: Vec<Vec<u8>>,
}

impl Opens {
    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// An intent was written; one with a known id is the same attempt, written again.
    pub(super) fn intent(&mut self, ids: (AttemptId, RequestId), sequence: u64, segment: u64, content: &[u8]) {
        let (attempt, exchange) = ids;
        if let Some(open) = self.attempts.get_mut(&attempt) {
            open.before = open.sequence;
            (open.sequence, open.segment, open.moves) = (sequence, segment, open.moves + 1);
            return;
        }
        let mut intent = self.spare.pop().unwrap_or_default();
        intent.clear();
        intent.extend_from_slice(content);
        let (first, mark, moves, before) = (sequence, None, 0, sequence);
        self.attempts.insert(attempt, Open { exchange, intent, mark, first, sequence, segment, moves, before });
        self.exchanges.entry(exchange).or_default().open += 1;
    }

    /// A mark was written.
    pub(super) fn mark(&mut self, mark: &Mark) {
        if let Some(open) = self.attempts.get_mut(&mark.attempt) {
            open.mark = Some(*mark);
        }
    }

    /// A close was written. `false` if the attempt was not open.
    pub(super) fn close(&mut self, attempt: AttemptId, last: bool) -> bool {
        let Some(open) = self.attempts.remove(&attempt) else { return false };
        self.spare.push(open.intent);
        if let Some(exchange) = self.exchanges.get_mut(&open.exchange) {
            exchange.open -= 1;
            exchange.answered |= last;
            if exchange.open == 0 {
                self.exchanges.remove(&open.exchange);
            }
        }
        true
    }

    /// Any record.
    pub(super) fn take(&mut self, entry: &Entry, sequence: u64, segment: u64, content: &[u8]) {
        match entry {
            Entry::Intent(intent) => {
                self.intent((intent.report.attempt, intent.report.exchange), sequence, segment, content)
            }
            Entry::Mark(mark) => self.mark(mark),
            Entry::Close(report) => drop(self.close(report.attempt, report.last)),
        }
    }

    /// The first segment that has an open attempt; `now` if there is none.
    pub(super) fn floor(&self, now: u64) -> u64 {
        self.attempts.values().map(|open| open.segment).min().unwrap_or(now).min(now)
    }

    /// In the order in which they were opened.
    pub(super) fn in_order(&self) -> Vec<(AttemptId, &Open)> {
        let mut all: Vec<_> = self.attempts.iter().map(|(attempt, open)| (*attempt, open)).collect();
        all.sort_by_key(|(_, open)| open.first);
        all
    }

    /// What is known of an open attempt.
    pub(super) fn of(&self, attempt: AttemptId) -> Option<(RequestId, &[u8])> {
        self.attempts.get(&attempt).map(|open| (open.exchange, open.intent.as_slice()))
    }

    /// The one whose intent was there before it was written again.
    pub(super) fn moved_from(&self, sequence: u64) -> Option<&Open> {
        self.attempts.values().find(|open| open.moves > 0 && open.before == sequence)
    }

    /// What closes them when nobody else will (rule L6): a function of what was written and of nothing else.
    pub(super) fn interrupted(&self) -> Vec<AttemptReport> {
        let open = self.in_order();
        let mut last_of: HashMap<RequestId, AttemptId> = HashMap::new();
        for (attempt, open) in &open {
            last_of.insert(open.exchange, *attempt);
        }
        let answered = |exchange: &RequestId| self.exchanges.get(exchange).is_some_and(|exchange| exchange.answered);
        let close = |(attempt, open): &(AttemptId, &Open)| {
            let Some(Entry::Intent(intent)) = record::read(&open.intent) else { return None };
            let mut report = intent.report;
            let usage = Usage { input: intent.input_tokens, ..Usage::default() };
            report.usage = open.mark.map_or(usage, |mark| mark.usage);
            report.usage_source = UsageSource::Estimated;
            report.cost = intent.rates.map(|rates| {
                let of = |pico: u64, tokens: u64| Money::from_pico(i128::from(pico).saturating_mul(i128::from(tokens)));
                of(rates.input_pico, report.usage.input) + of(rates.output_pico, report.usage.output)
            });
            report.last = last_of.get(&open.exchange) == Some(attempt) && !answered(&open.exchange);
            Some(report)
        };
        open.iter().filter_map(close).collect()
    }
}
