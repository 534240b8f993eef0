//! One attempt's page in the books: opened before anything of it leaves, closed exactly once, with the best figure there is (rules L1 to L5).
//!
//! ```text
//!   open ──settle──▶ settled ──close──▶ closed
//!    │  figures are known   written to journal and queue, before the client has the last byte
//!    └──── dropped in the middle: settled and closed by `Drop`, as the client's or the process's doing
//! ```
//!
//! The figure is the provider's where it has stated one; where an answer was cut after the provider's last word, what was relayed since is
//! counted on top; where it never stated any, prompt and relayed text are counted. Both are then marked as estimates.

use super::books::{Books, Standing};
use super::meter;
use super::stream::StreamFacts;
use super::timing::whole_micros;
use crate::domain::id::AttemptId;
use crate::domain::token::{Usage, UsageSource};
use crate::ledger::{Mark, Rates};
use crate::limits;
use crate::limits::books::ATTEMPT_TOKENS_MAX;
use crate::metering::price::{Cost, PriceList};
use crate::metering::tap;
use crate::metering::terms::{Terms, Tier};
use crate::report::{AttemptReport, Opening, Outcome};
use crate::rt;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What an attempt sends, in figures.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    /// Bytes of its prompt, for an estimate where nobody states better.
    pub bytes: usize,
    /// Its tokens, as the plan has them.
    pub tokens: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Settled,
    Closed,
}

/// One attempt's page, in the hands of who makes the attempt. What is written on it lies in one place as long as the client's connection
/// lasts, one attempt over another, so that an attempt moves a pointer.
pub struct Folio {
    books: Rc<Books>,
    page: Rc<Page>,
}

/// What is written of one attempt.
pub struct Page {
    report: RefCell<AttemptReport>,
    began: Instant,
    price: Option<Arc<PriceList>>,
    rates: Option<Rates>,
    terms: Cell<Terms>,
    sending: Sending,
    /// Whether a byte of it may have left.
    sent: Cell<bool>,
    state: Cell<State>,
    /// What has been learnt of its answer so far.
    facts: Cell<StreamFacts>,
    first_content: Cell<Option<Instant>>,
    /// When its first content was read ahead, if it was.
    read_ahead: Cell<Option<Instant>>,
    /// When the last mark was written, and what has been relayed since.
    marked: Cell<(Instant, usize)>,
}

impl Page {
    fn blank(opening: &Opening<'_>, began: Instant) -> Rc<Self> {
        Rc::new(Self {
            report: RefCell::new(AttemptReport::of(opening)),
            began,
            price: None,
            rates: None,
            terms: Cell::new(Terms::usual(opening.started)),
            sending: Sending { bytes: 0, tokens: 0 },
            sent: Cell::new(false),
            state: Cell::new(State::Open),
            facts: Cell::default(),
            first_content: Cell::new(None),
            read_ahead: Cell::new(None),
            marked: Cell::new((began, 0)),
        })
    }

    /// Begins an attempt on it, over one that is over.
    fn begin(&mut self, opening: &Opening<'_>, began: Instant) {
        self.report.get_mut().begin_over(opening);
        self.began = began;
        self.sent.set(false);
        self.state.set(State::Open);
        self.facts.set(StreamFacts::default());
        (self.first_content, self.read_ahead) = (Cell::new(None), Cell::new(None));
        self.marked.set((began, 0));
    }

    /// Sets what the attempt sends, and what that costs.
    fn charge(&mut self, price: Option<&Arc<PriceList>>, terms: Terms, sending: Sending) {
        if self.price.as_ref().map(Arc::as_ptr) != price.map(Arc::as_ptr) {
            self.price = price.cloned();
        }
        let rates = price.and_then(|list| list.rates(sending.tokens, &terms));
        self.rates = rates.map(|(input_pico, output_pico)| Rates { input_pico, output_pico });
        self.terms.set(terms);
        self.sending = sending;
    }
}

impl Folio {
    /// Opens an attempt's page: its intent is written when this returns.
    pub fn open(
        books: &Rc<Books>,
        opening: &Opening<'_>,
        price: Option<&Arc<PriceList>>,
        terms: Terms,
        sending: Sending,
    ) -> Self {
        let began = rt::coarse_now();
        let used = books.used_page().filter(|page| Rc::strong_count(page) == 1);
        let mut page = used.unwrap_or_else(|| Page::blank(opening, began));
        if let Some(page) = Rc::get_mut(&mut page) {
            page.begin(opening, began);
            page.charge(price, terms, sending);
        }
        books.keep_page(&page);
        books.open(&page.report.borrow(), sending.tokens, page.rates);
        Self { books: books.clone(), page }
    }

    /// What is reported of it; final once it is settled.
    pub fn report(&self) -> Ref<'_, AttemptReport> {
        self.page.report.borrow()
    }

    /// The same, to be added to while it is open.
    pub fn report_mut(&self) -> RefMut<'_, AttemptReport> {
        debug_assert!(self.page.state.get() == State::Open, "a settled attempt does not change");
        self.page.report.borrow_mut()
    }

    /// A kept connection lost its request, and it shall be sent once more: the first sending is closed, and the second one has an intent of its
    /// own when this returns. Whether there is room for that in the books, which there is once in an exchange.
    pub fn begins_again(&self, attempt: AttemptId) -> bool {
        if self.page.state.get() != State::Open || !self.books.may_send_again() {
            return false;
        }
        let mut lost = self.page.report.borrow().clone();
        (lost.outcome, lost.total_us) = (Outcome::Unreachable, micros(self.elapsed()));
        self.books.close(&mut lost, Standing::Ended);
        let mut report = self.page.report.borrow_mut();
        (report.attempt, report.started) = (attempt, rt::wall(rt::coarse_now()));
        self.books.open(&report, self.page.sending.tokens, self.page.rates);
        true
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.page.began
    }

    /// When the first content of its answer was there.
    pub fn first_content(&self) -> Option<Instant> {
        self.page.first_content.get()
    }

    /// Set once a byte of it may have left.
    pub fn sent(&self) -> &Cell<bool> {
        &self.page.sent
    }

    /// What its answer costs.
    pub fn cost(&self, usage: Option<&Usage>) -> Option<Cost> {
        meter::cost(self.page.price.as_ref(), usage, &self.page.terms.get())
    }

    /// Notes the tier that its answer names.
    pub fn served_by(&self, tier: Option<Tier>) {
        self.page.terms.set(Terms { service_tier: tier, ..self.page.terms.get() });
    }

    /// The first content of its answer was read ahead, and is passed on later.
    pub fn was_read_ahead(&self, at: Instant) {
        self.page.read_ahead.set(Some(at));
    }

    /// The first content of its answer is there.
    pub fn has_content(&self, at: Instant) {
        if self.page.first_content.get().is_none() {
            self.page.first_content.set(Some(self.page.read_ahead.get().map_or(at, |ahead| ahead.min(at))));
        }
    }

    /// What is known of its answer after another `bytes` of it, which came at about `now`. Writes a mark now and then, so that little is lost if the process ends here
    /// (rule L3); it rides on what passes and has no timer of its own.
    pub fn passed(&self, facts: &StreamFacts, bytes: usize, now: Instant) {
        self.page.facts.set(*facts);
        let (at, unmarked) = self.page.marked.get();
        let unmarked = unmarked + bytes;
        let is_due = unmarked >= limits::ledger::MARK_RELAYED_BYTES
            || now.saturating_duration_since(at) >= limits::ledger::MARK_INTERVAL;
        self.page.marked.set(if is_due { (now, 0) } else { (at, unmarked) });
        if is_due && self.page.state.get() == State::Open {
            let (usage, source) = self.figure(Outcome::Interrupted, facts);
            self.books.mark(&Mark { attempt: self.attempt(), usage, source });
        }
    }

    /// Settles it with what is known of its answer: outcome, usage, cost and times. What has been settled stays.
    pub fn settle(&self, outcome: Outcome, facts: &StreamFacts) {
        if self.page.state.get() != State::Open {
            return;
        }
        let figure = self.figure(outcome, facts);
        self.write(outcome, figure);
    }

    /// Settles one that failed or was refused before anything of its answer could be passed on. Nobody bills a refusal; what was sent in vain
    /// is counted where the provider may have worked on it.
    pub fn settle_failed(&self, outcome: Outcome) {
        if self.page.state.get() != State::Open {
            return;
        }
        let has_begun = (200..300).contains(&self.page.report.borrow().status);
        let is_worked_on = match outcome {
            Outcome::Refused | Outcome::Unreachable => false,
            Outcome::Broken => has_begun,
            _ => true,
        };
        let facts = self.page.facts.get();
        let figure = match is_worked_on {
            true => self.figure(outcome, &facts),
            false => (Usage::default(), UsageSource::Unknown),
        };
        self.write(outcome, figure);
    }

    /// What is learnt of an answer that is not passed on, for an estimate.
    pub fn heard(&self, facts: &StreamFacts) {
        self.page.facts.set(*facts);
    }

    /// It is what the client gets, and no attempt follows: closes it, before the last byte goes out (rule L3).
    pub fn answers(&self, outcome: Outcome, facts: &StreamFacts) {
        self.settle(outcome, facts);
        self.close(Standing::Answers);
    }

    /// Closes it, if it is not yet.
    pub fn close(&self, standing: Standing) {
        if self.page.state.get() == State::Open {
            self.settle_failed(self.books.outcome_of_dropped());
        }
        if self.page.state.replace(State::Closed) != State::Closed {
            self.books.close(&mut self.page.report.borrow_mut(), standing);
        }
    }

    /// How it ended, once it is settled.
    pub fn outcome(&self) -> Outcome {
        self.page.report.borrow().outcome
    }

    fn elapsed(&self) -> Duration {
        rt::coarse_now().saturating_duration_since(self.page.began)
    }

    fn attempt(&self) -> AttemptId {
        self.page.report.borrow().attempt
    }

    fn write(&self, outcome: Outcome, (usage, source): (Usage, UsageSource)) {
        self.page.state.set(State::Settled);
        let usage = usage.at_most(ATTEMPT_TOKENS_MAX);
        let mut report = self.page.report.borrow_mut();
        report.outcome = self.books.outcome_of(outcome);
        (report.usage, report.usage_source) = (usage, source);
        if source != UsageSource::Unknown {
            report.cost = self.cost(Some(&usage)).map(|cost| cost.total);
        }
        report.total_us = micros(self.elapsed());
        let until_content = self.page.first_content.get().map(|at| at.saturating_duration_since(self.page.began));
        report.first_token_us = until_content.map_or(0, |until| micros(until).max(1));
    }

    fn figure(&self, outcome: Outcome, facts: &StreamFacts) -> (Usage, UsageSource) {
        let sent_bytes = self.page.sent.get().then_some(self.page.sending.bytes);
        best_figure(facts, outcome == Outcome::Completed, sent_bytes)
    }
}

/// The best figure there is, and where it is from. `is_whole` says that the answer came to its end; `sent_bytes` is what was sent for it, if
/// anything was.
fn best_figure(facts: &StreamFacts, is_whole: bool, sent_bytes: Option<usize>) -> (Usage, UsageSource) {
    match (facts.usage, sent_bytes) {
        (Some(usage), _) if is_whole || facts.unstated_bytes == 0 => (usage, UsageSource::Provider),
        (Some(usage), _) => {
            let output = usage.output.saturating_add(tap::estimate_tokens(facts.unstated_bytes));
            (Usage { output, ..usage }, UsageSource::Estimated)
        }
        (None, _) if is_whole && facts.content_bytes == 0 => (Usage::default(), UsageSource::Unknown),
        (None, None) => (Usage::default(), UsageSource::Unknown),
        (None, Some(sent)) => {
            let (input, output) = (tap::estimate_tokens(sent), tap::estimate_tokens(facts.content_bytes));
            (Usage { input, output, ..Usage::default() }, UsageSource::Estimated)
        }
    }
}

impl Drop for Folio {
    /// Nothing drops an attempt without its close (rule L4).
    fn drop(&mut self) {
        self.close(Standing::Ended);
    }
}

/// Whole microseconds, at most what a report holds.
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(whole_micros(duration)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, output: u64) -> Usage {
        Usage { input, output, ..Usage::default() }
    }

    #[test]
    fn the_best_figure_is_the_providers_and_then_what_went_by() {
        let mut facts = StreamFacts::default();
        assert_eq!(best_figure(&facts, false, None), (usage(0, 0), UsageSource::Unknown), "nothing was sent");
        assert_eq!(best_figure(&facts, false, Some(40)), (usage(10, 0), UsageSource::Estimated));
        assert_eq!(best_figure(&facts, true, Some(40)), (usage(0, 0), UsageSource::Unknown), "sound, say");
        facts.note(None, 80, true);
        assert_eq!(best_figure(&facts, false, Some(40)), (usage(10, 20), UsageSource::Estimated));
        // As Messages begins: the prompt is known, and what follows is not.
        let mut facts = StreamFacts::default();
        facts.note(Some(usage(12, 1)), 0, false);
        assert_eq!(best_figure(&facts, false, Some(40)), (usage(12, 1), UsageSource::Provider));
        facts.note(None, 80, true);
        assert_eq!(best_figure(&facts, false, Some(40)), (usage(12, 21), UsageSource::Estimated));
        // The last word comes with or after the text.
        facts.note(Some(usage(12, 19)), 4, true);
        assert_eq!(best_figure(&facts, false, Some(40)), (usage(12, 19), UsageSource::Provider));
        assert_eq!(best_figure(&facts, true, Some(40)), (usage(12, 19), UsageSource::Provider));
    }
}
