//! The books of one exchange: which attempts of it are open, which has ended, and which of them was the last (rules L1 to L4).
//!
//! ```text
//!   open ──▶ intent in the journal        before anything of the attempt leaves (rule L2)
//!   close ─┬ it answers the client     ──▶ close, `last`; an earlier one that waits is closed first, not as the last
//!          ├ others are open           ──▶ close, not the last
//!          └ nobody else is            ──▶ waits: another attempt may follow (not the last), or none (last)
//! ```
//!
//! A close goes to the journal and, with the same figures, to the report queue, the notes of the exchange and the limits of its key. There is
//! one `Books` a client connection, used for one exchange after another, so that an exchange allocates nothing for it. Whatever is dropped in
//! the middle, a panic included, ends here: attempts close themselves when they are dropped, and the books when they are.

use super::allowance::Grant;
use super::explain::{attempted, renote};
use super::folio::Page;
use super::per_core::{Core, Phase};
use crate::dialects::Wire;
use crate::domain::id::RequestId;
use crate::ledger::{Mark, Position, Rates};
use crate::limits;
use crate::report::{AttemptReport, Outcome};
use crate::routing::decision::Attempted;
use crate::rt;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

/// How an attempt stands to the rest of its exchange when it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What the client gets is its: no other attempt follows.
    Answers,
    /// Another attempt may follow.
    Ended,
}

/// The books of the exchange that is under way on a client's connection.
pub struct Books {
    core: Rc<Core>,
    /// Which of its attempts is the last.
    sequence: RefCell<Sequence<Box<AttemptReport>>>,
    /// Whether any has been opened.
    has_asked: Cell<bool>,
    /// Whether a request of it was sent again after a kept connection had lost it.
    has_resent: Cell<bool>,
    /// Whether the client has gone.
    is_gone: Cell<bool>,
    /// Whether the latest intent survives power loss.
    survival: Cell<Survival>,
    /// The page of its latest attempt, to be written over once that attempt is over.
    page: Cell<Option<Rc<Page>>>,
    /// What its attempts are charged to.
    grant: RefCell<Option<Rc<Grant>>>,
    /// Its closed attempts, for explanations.
    attempts: RefCell<Vec<Attempted>>,
    /// How many of these are of this exchange; what follows them is written over.
    noted: Cell<usize>,
    /// How the one ended that the client heard of, or so far the latest.
    latest: Cell<Option<Outcome>>,
    /// Its closed attempts, where somebody is told of each exchange.
    reports: RefCell<Option<Vec<AttemptReport>>>,
    /// Whose exchange it is, and in what dialect its client understands errors.
    whose: Cell<Option<(RequestId, Wire)>>,
}

impl Books {
    /// The books of a connection on which nothing has been asked yet.
    pub fn new(core: &Rc<Core>) -> Rc<Self> {
        Rc::new(Self {
            core: core.clone(),
            sequence: RefCell::default(),
            has_asked: Cell::new(false),
            has_resent: Cell::new(false),
            is_gone: Cell::new(false),
            survival: Cell::default(),
            page: Cell::new(None),
            grant: RefCell::default(),
            attempts: RefCell::default(),
            noted: Cell::new(0),
            latest: Cell::new(None),
            reports: RefCell::default(),
            whose: Cell::new(None),
        })
    }

    /// Another exchange begins.
    pub fn begin(&self, request: RequestId, face: Wire) {
        let before = self.sequence.take();
        debug_assert!(before.open == 0 && before.waiting.is_none(), "an attempt outlived its exchange");
        self.has_asked.set(false);
        self.has_resent.set(false);
        self.is_gone.set(false);
        self.survival.set(Survival::Certain);
        self.latest.set(None);
        self.whose.set(Some((request, face)));
    }

    /// It is over.
    pub fn end(&self) {
        self.finish();
        self.grant.take();
        self.reports.take();
        self.noted.set(0);
    }

    /// What its attempts are charged to from here on.
    pub fn charge_to(&self, grant: Rc<Grant>) {
        self.grant.replace(Some(grant));
    }

    /// Its attempts that are closed, each told once, in place of a list that nobody reads any more.
    pub fn swap_attempts(&self, list: &mut Vec<Attempted>) {
        let mut attempts = self.attempts.borrow_mut();
        attempts.truncate(self.noted.take());
        std::mem::swap(&mut *attempts, list);
    }

    /// Somebody is told of this exchange: its attempts are kept until then.
    pub fn keep_reports(&self) {
        self.reports.replace(Some(Vec::new()));
    }

    /// The attempts that were kept.
    pub fn take_reports(&self) -> Vec<AttemptReport> {
        self.reports.take().unwrap_or_default()
    }

    /// How the attempt ended that the client heard of.
    pub fn latest(&self) -> Option<Outcome> {
        self.latest.get()
    }

    /// The client has gone: what is cut from here on is cut for that.
    pub fn note_gone(&self) {
        self.is_gone.set(true);
    }

    /// What an attempt's outcome is called, all things considered: a client that seems to go when the process cuts is not the one who went,
    /// and nobody has the answer that was read to its end for the bill alone (rule L5).
    pub fn outcome_of(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Completed if self.is_gone.get() => Outcome::ClientGone,
            Outcome::ClientGone if self.survival.get() == Survival::Lost || self.core.phase() == Phase::Cutting => {
                Outcome::Interrupted
            }
            outcome => outcome,
        }
    }

    /// How an attempt ended that was dropped in the middle: by its client, or by the process.
    pub fn outcome_of_dropped(&self) -> Outcome {
        self.outcome_of(if self.is_gone.get() { Outcome::ClientGone } else { Outcome::Interrupted })
    }

    /// An attempt begins: nothing of it has left. Its intent is in the journal when this returns (rule L2).
    pub fn open(&self, report: &AttemptReport, input_tokens: u64, rates: Option<Rates>) {
        self.has_asked.set(true);
        let earlier = self.sequence.borrow_mut().open();
        self.deliver_waiting(earlier);
        if let Some(journal) = &self.core.journal {
            self.survival.set(Survival::Unknown(journal.open(report, input_tokens, rates)));
        }
    }

    /// Whether a request that a kept connection lost may be sent again; once in an exchange, because admission has counted on no more.
    pub fn may_send_again(&self) -> bool {
        !self.has_resent.replace(true)
    }

    /// The page of an attempt that is over, if there is one to be written over.
    pub fn used_page(&self) -> Option<Rc<Page>> {
        self.page.take()
    }

    /// Keeps a page that is written on, for when its attempt is over.
    pub fn keep_page(&self, page: &Rc<Page>) {
        self.page.set(Some(page.clone()));
    }

    /// How far an attempt has come.
    pub fn mark(&self, mark: &Mark) {
        if let Some(journal) = &self.core.journal {
            journal.mark(mark);
        }
    }

    /// An attempt is over; exactly once for each that was opened.
    pub fn close(&self, report: &mut AttemptReport, standing: Standing) {
        let (earlier, fate) = self.sequence.borrow_mut().close(standing);
        self.deliver_waiting(earlier);
        match fate {
            Fate::Closed { last } => self.deliver(report, last),
            // One that has failed, so that its copy costs nobody an answer's time.
            Fate::Waits => self.sequence.borrow_mut().waits(Box::new(report.clone())),
        }
    }

    /// No other attempt follows: the one that waits, if any, was the last.
    pub fn finish(&self) {
        let last = self.sequence.borrow_mut().finish();
        self.deliver_waiting(last);
    }

    fn deliver_waiting(&self, closed: Option<Closed<Box<AttemptReport>>>) {
        if let Some(Closed { entry: mut report, last }) = closed {
            self.deliver(&mut report, last);
        }
    }

    fn deliver(&self, report: &mut AttemptReport, last: bool) {
        report.last = last;
        let report = &*report;
        // Who lost against the one that answered is closed after it.
        if last || !self.sequence.borrow().is_over {
            self.latest.set(Some(report.outcome));
        }
        if let Some(reports) = &mut *self.reports.borrow_mut() {
            reports.push(report.clone());
        }
        if let Some(journal) = &self.core.journal {
            journal.close(report);
        }
        if self.core.latest().settings.routing.decisions_kept > 0 {
            self.note_attempt(report);
        }
        if let Some(grant) = &*self.grant.borrow() {
            grant.charge(report);
        }
        let delivered = self.core.reports.push(report);
        debug_assert!(delivered, "a report found no room although admission had reserved it");
    }

    /// Keeps what explanations tell of an attempt, over what stood there in an exchange before: nearly always the same lane.
    fn note_attempt(&self, report: &AttemptReport) {
        let (mut attempts, noted) = (self.attempts.borrow_mut(), self.noted.get());
        match attempts.get_mut(noted) {
            Some(known) => renote(known, report),
            None if noted < limits::DECISION_ATTEMPTS_MAX => attempts.push(attempted(report)),
            None => return,
        }
        self.noted.set(noted + 1);
    }

    // ---- Power loss (rule L2) -----------------------------------------------------------------------------------------------

    /// Whether an intent has been written that is not known to be synced; asked before every byte that goes to the client.
    pub fn is_unsynced(&self) -> bool {
        self.survival.get() != Survival::Certain
    }

    /// Waits until what was written of attempts survives what the owner wants it to survive; whether it does. Without durability against
    /// power loss that is at once; with it, the provider's own time has nearly always hidden it.
    pub async fn synced(&self) -> bool {
        let (Some(journal), Survival::Unknown(position)) = (&self.core.journal, self.survival.get()) else {
            return self.survival.get() == Survival::Certain;
        };
        let mut awaited = position;
        let is_synced = match poll_fn(|cx| Poll::Ready(follow(&mut awaited, |at| journal.poll_synced(at, cx)))).await {
            Poll::Ready(is_synced) => is_synced,
            // Seldom, so only now a clock is set.
            Poll::Pending => {
                let deadline = Instant::now() + limits::ledger::SYNC_DEADLINE;
                let synced = poll_fn(|cx| follow(&mut awaited, |at| journal.poll_synced(at, cx)));
                rt::with_deadline(deadline, synced).await.unwrap_or(false)
            }
        };
        self.survival.set(if is_synced { Survival::Certain } else { Survival::Lost });
        is_synced
    }

    /// Whether an attempt has been made, so that what goes to the client may speak of it.
    pub fn has_asked(&self) -> bool {
        self.has_asked.get()
    }

    /// Whose exchange it is, and in what dialect its client understands errors.
    pub fn whose(&self) -> Option<(RequestId, Wire)> {
        self.whose.get()
    }
}

/// Whether the latest intent of an exchange survives what the owner wants it to survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Survival {
    /// It does, or there is none.
    #[default]
    Certain,
    /// It stands here, and nobody has looked.
    Unknown(Position),
    /// The disk did not take it (rule L8): nothing more goes to the client.
    Lost,
}

/// An attempt that is closed, and whether as the last of its exchange.
#[derive(Debug, PartialEq, Eq)]
struct Closed<T> {
    entry: T,
    last: bool,
}

/// What becomes of an attempt that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is closed at once.
    Closed {
        /// Whether as the last of its exchange.
        last: bool,
    },
    /// It waits until it is known whether another follows.
    Waits,
}

/// The attempts of an exchange in their order: exactly one of them is closed as the last.
struct Sequence<T> {
    /// Attempts that are not closed.
    open: usize,
    /// The one that ended last, until it is known whether another follows.
    waiting: Option<T>,
    /// Whether one has been closed as the last.
    is_over: bool,
}

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Self { open: 0, waiting: None, is_over: false }
    }
}

impl<T> Sequence<T> {
    fn earlier(&mut self) -> Option<Closed<T>> {
        self.waiting.take().map(|entry| Closed { entry, last: false })
    }

    fn open(&mut self) -> Option<Closed<T>> {
        debug_assert!(!self.is_over, "an attempt follows the last one");
        self.open += 1;
        self.earlier()
    }

    /// What becomes of an attempt that is over, and which one is closed before it.
    fn close(&mut self, standing: Standing) -> (Option<Closed<T>>, Fate) {
        self.open = self.open.saturating_sub(1);
        if standing == Standing::Answers && !self.is_over {
            self.is_over = true;
            return (self.earlier(), Fate::Closed { last: true });
        }
        if self.is_over || self.open > 0 {
            return (None, Fate::Closed { last: false });
        }
        (self.earlier(), Fate::Waits)
    }

    /// Keeps one that is over until it is known whether another follows.
    fn waits(&mut self, entry: T) {
        self.waiting = Some(entry);
    }

    fn finish(&mut self) -> Option<Closed<T>> {
        let entry = self.waiting.take()?;
        self.is_over = true;
        Some(Closed { entry, last: true })
    }
}

/// Asks whether a record is synced, and follows one that was written again elsewhere.
fn follow<P: Copy + PartialEq>(position: &mut P, mut poll: impl FnMut(P) -> Poll<Result<(), Option<P>>>) -> Poll<bool> {
    loop {
        match poll(*position) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => return Poll::Ready(true),
            Poll::Ready(Err(Some(elsewhere))) if elsewhere != *position => *position = elsewhere,
            Poll::Ready(Err(_)) => return Poll::Ready(false),
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl<T> Sequence<T> {
        /// As the books close an attempt: at once, or by letting it wait.
        fn shut(&mut self, entry: T, standing: Standing) -> [Option<Closed<T>>; 2] {
            let (earlier, fate) = self.close(standing);
            match fate {
                Fate::Waits => {
                    self.waits(entry);
                    [earlier, None]
                }
                Fate::Closed { last } => [earlier, Some(Closed { entry, last })],
            }
        }
    }

    /// What a sequence closes, in order.
    fn closed(work: impl FnOnce(&mut Sequence<u32>, &mut Vec<Closed<u32>>)) -> Vec<(u32, bool)> {
        let (mut sequence, mut closed) = (Sequence::default(), Vec::new());
        work(&mut sequence, &mut closed);
        closed.extend(sequence.finish());
        closed.into_iter().map(|closed| (closed.entry, closed.last)).collect()
    }

    #[test]
    fn a_failure_is_the_last_only_if_nobody_follows() {
        let chain = closed(|sequence, out| {
            for attempt in 0..3 {
                out.extend(sequence.open());
                out.extend(sequence.shut(attempt, Standing::Ended).into_iter().flatten());
            }
        });
        assert_eq!(chain, [(0, false), (1, false), (2, true)]);
        let answered = closed(|sequence, out| {
            out.extend(sequence.open());
            out.extend(sequence.shut(0, Standing::Ended).into_iter().flatten());
            out.extend(sequence.open());
            out.extend(sequence.shut(1, Standing::Answers).into_iter().flatten());
        });
        assert_eq!(answered, [(0, false), (1, true)]);
    }

    #[test]
    fn who_runs_beside_others_is_closed_at_once() {
        let raced = closed(|sequence, out| {
            out.extend(sequence.open());
            out.extend(sequence.open());
            out.extend(sequence.shut(0, Standing::Ended).into_iter().flatten());
            assert_eq!(out.len(), 1, "nothing waits while the other runs");
            out.extend(sequence.shut(1, Standing::Answers).into_iter().flatten());
        });
        assert_eq!(raced, [(0, false), (1, true)]);
        let dropped_after_the_answer = closed(|sequence, out| {
            out.extend(sequence.open());
            out.extend(sequence.open());
            out.extend(sequence.shut(1, Standing::Answers).into_iter().flatten());
            out.extend(sequence.shut(0, Standing::Ended).into_iter().flatten());
        });
        assert_eq!(dropped_after_the_answer, [(1, true), (0, false)]);
    }

    #[test]
    fn a_record_is_followed_to_where_it_was_written_again() {
        type Answer = (u32, Poll<Result<(), Option<u32>>>);
        let at = |position: u32, answers: &[Answer]| {
            let mut position = position;
            let answer = |at| answers.iter().find(|(known, _)| *known == at).expect("asked for").1;
            (follow(&mut position, answer), position)
        };
        assert_eq!(at(1, &[(1, Poll::Ready(Ok(())))]), (Poll::Ready(true), 1));
        let moved = (1, Poll::Ready(Err(Some(7))));
        assert_eq!(at(1, &[moved, (7, Poll::Pending)]), (Poll::Pending, 7));
        assert_eq!(at(1, &[moved, (7, Poll::Ready(Ok(())))]), (Poll::Ready(true), 7));
        assert_eq!(at(1, &[moved, (7, Poll::Ready(Err(None)))]), (Poll::Ready(false), 7));
        assert_eq!(at(7, &[(7, Poll::Ready(Err(Some(7))))]), (Poll::Ready(false), 7), "no circle");
    }

    proptest! {
        #[test]
        fn everybody_is_closed_once_and_one_as_the_last(steps in prop::collection::vec(0..4_u8, 1..40)) {
            let mut begun = 0;
            let closed = closed(|sequence, out| {
                let mut running = Vec::new();
                for step in steps {
                    if step < 2 || running.is_empty() {
                        running.push(begun);
                        out.extend(sequence.open());
                        begun += 1;
                    } else {
                        let attempt = running.remove(usize::from(step) % running.len());
                        out.extend(sequence.shut(attempt, Standing::Ended).into_iter().flatten());
                    }
                }
                for attempt in running {
                    out.extend(sequence.shut(attempt, Standing::Ended).into_iter().flatten());
                }
            });
            let mut seen: Vec<u32> = closed.iter().map(|(attempt, _)| *attempt).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..begun).collect::<Vec<_>>());
            prop_assert_eq!(closed.iter().filter(|(_, last)| *last).count(), 1);
            prop_assert!(closed.last().is_some_and(|(_, last)| *last));
        }
    }
}
