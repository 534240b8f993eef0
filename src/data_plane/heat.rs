//! Attempts that run beside each other until it is known which of them the client gets.
//!
//! A heat owns the work and not the attempts: those lie in [`Seats`], so that one whose work is cancelled still closes its books. Cancelling is
//! dropping: the loser's connection closes at once. Nothing goes to the client before the heat is over; then the failures are noted, the losers
//! leave their reports, and the winner is settled like any other attempt.

use super::attempt::{Failure, unless_gone};
use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::failover::Course;
use super::prime::{Primed, Showing};
use super::together::Together;
use super::tryout::{Ended, Entrant, Sender, open};
use crate::limits::RACE_RUNNERS_MAX;
use crate::report::{AttemptReport, Outcome};
use crate::rt;
use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Where the attempts of a heat sit; they outlive its work.
#[derive(Default)]
pub struct Seats<'a>([OnceCell<Entrant<'a>>; RACE_RUNNERS_MAX]);

impl<'a> Seats<'a> {
    /// Gives an attempt a seat that is free.
    pub fn take(&self, seat: usize, entrant: Entrant<'a>) -> &Entrant<'a> {
        self.0[seat].get_or_init(|| entrant)
    }

    /// Who sits there.
    pub fn at(&self, seat: usize) -> Option<&Entrant<'a>> {
        self.0.get(seat)?.get()
    }

    /// Says of whoever sits there what its answer's `metadata` tells.
    pub fn mark(&mut self, seat: usize, together: Together) {
        if let Some(entrant) = self.0.get_mut(seat).and_then(OnceCell::get_mut) {
            entrant.passage.together = Some(Box::new(together));
        }
    }

    /// Everybody leaves, seat by seat.
    pub fn leave(self) -> impl Iterator<Item = Option<Entrant<'a>>> {
        self.0.into_iter().map(OnceCell::into_inner)
    }
}

type Work<'h> = Pin<Box<dyn Future<Output = Result<Primed, Failure>> + 'h>>;

/// What happens in a heat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The attempt in this seat has shown what it is.
    Shown(usize),
    /// The time that was set has passed.
    Late,
    /// The client has gone.
    Gone,
}

/// Attempts at work.
pub struct Heat<'h> {
    sender: Sender<'h>,
    began: Instant,
    work: [Option<Work<'h>>; RACE_RUNNERS_MAX],
    shown: [Option<Result<Primed, Failure>>; RACE_RUNNERS_MAX],
}

impl<'h> Heat<'h> {
    /// Nobody is at work yet.
    pub fn new(sender: Sender<'h>) -> Self {
        Self { sender, began: Instant::now(), work: Default::default(), shown: Default::default() }
    }

    /// Sends an attempt on its way.
    pub fn start<'a: 'h>(&mut self, seat: usize, entrant: &'h Entrant<'a>) {
        let sender = self.sender;
        self.work[seat] = Some(Box::pin(async move {
            let answer = open(sender, &entrant.passage).await?;
            entrant.headed.set(true);
            Primed::of(answer, &entrant.passage, sender.patience()).await
        }));
    }

    /// Waits for the next thing to happen, no longer than `until`.
    pub async fn next(&mut self, down: &mut Downstream, until: Instant) -> Event {
        let Self { work, shown, .. } = self;
        let polled = poll_fn(|cx| {
            for (seat, slot) in work.iter_mut().enumerate() {
                let polled = slot.as_mut().map(|work| work.as_mut().poll(cx));
                if let Some(Poll::Ready(outcome)) = polled {
                    *slot = None;
                    shown[seat] = Some(outcome);
                    return Poll::Ready(seat);
                }
            }
            Poll::Pending
        });
        match unless_gone(down, rt::with_deadline(until, polled)).await {
            Ok(Ok(seat)) => Event::Shown(seat),
            Ok(Err(_elapsed)) => Event::Late,
            Err(_gone) => Event::Gone,
        }
    }

    /// Since when it runs.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Whether an attempt is still at work.
    pub fn is_running(&self, seat: usize) -> bool {
        self.work.get(seat).is_some_and(Option::is_some)
    }

    /// Whether any is.
    pub fn is_any_running(&self) -> bool {
        self.work.iter().any(Option::is_some)
    }

    /// When the content of a seat's answer was there, from the start; `None` while it is not, or is none.
    pub fn arrived(&self, seat: usize) -> Option<Duration> {
        match self.shown.get(seat)? {
            Some(Ok(primed)) if primed.is_content() => Some(primed.at - self.began),
            _ => None,
        }
    }

    /// Cancels everybody at work but one.
    pub fn keep(&mut self, kept: usize) {
        for (seat, work) in self.work.iter_mut().enumerate() {
            if seat != kept {
                *work = None;
            }
        }
    }

    /// Cancels everybody at work and hands over what was shown.
    pub fn stop(self) -> Shown {
        let waited = self.began.elapsed();
        Shown { outcomes: self.shown, waited, late: None }
    }
}

/// What came of a heat.
pub struct Shown {
    outcomes: [Option<Result<Primed, Failure>>; RACE_RUNNERS_MAX],
    waited: Duration,
    /// The seat of an attempt that had its chance before another was started for its sake.
    pub late: Option<usize>,
}

impl Shown {
    /// What each seat has shown, and how long that took.
    pub fn parts(self) -> ([Option<Result<Primed, Failure>>; RACE_RUNNERS_MAX], Duration) {
        (self.outcomes, self.waited)
    }
}

/// What a heat cost, in the tenant's books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// What the answer that the client got cost, picodollars.
    pub won: i128,
    /// What the attempts that lost cost.
    pub lost: i128,
    /// How many they were.
    pub losers: u32,
}

/// Closes a heat. `places` says which candidate of the plan sits where; `winner` is the seat whose answer the client gets. Back comes what
/// becomes of the connection, or `None` if nothing has gone to the client and others may be tried.
pub async fn conclude<'a>(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    course: &mut Course<'a>,
    places: &[usize],
    seats: Seats<'a>,
    shown: Shown,
    winner: Option<usize>,
) -> (Option<Next>, Bill) {
    let late = shown.late;
    exchange.waited += shown.waited;
    let mut bill = Bill::default();
    let mut first = None;
    let mut seated = seats.leave().zip(shown.outcomes).zip(places).enumerate();
    while let Some((seat, ((entrant, outcome), place))) = seated.next() {
        let Some(mut entrant) = entrant else { continue };
        if winner == Some(seat) {
            first = Some((entrant, outcome, *place));
            continue;
        }
        let ended = match outcome {
            Some(outcome) if !matches!(&outcome, Ok(primed) if primed.is_content()) => {
                fail(exchange, down, &mut entrant, outcome).await
            }
            outcome => {
                entrant.superseded(exchange, outcome.and_then(Result::ok).as_ref(), late == Some(seat));
                bill.losers += 1;
                bill.lost += spent(&entrant.passage.folio.report());
                entrant.close(exchange);
                continue;
            }
        };
        let outcome = entrant.close(exchange);
        if let Some(next) = course.absorb(exchange, *place, ended, outcome) {
            // The client has gone: so have all the others.
            let rest = seated.filter_map(|(_, ((entrant, _), _))| entrant);
            give_up(exchange, first.map(|(entrant, ..)| entrant).into_iter().chain(rest));
            return (Some(next), bill);
        }
    }
    let Some((mut entrant, Some(Ok(primed)), place)) = first else { return (None, bill) };
    exchange.waited = exchange.waited.saturating_sub(primed.answer.waited + primed.answer.connecting);
    let ended = entrant.settle_primed(exchange, down, primed).await;
    bill.won = spent(&entrant.passage.folio.report());
    let outcome = entrant.close(exchange);
    (course.absorb(exchange, place, ended, outcome), bill)
}

/// What an attempt means that has shown no content.
pub async fn fail(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    entrant: &mut Entrant<'_>,
    outcome: Result<Primed, Failure>,
) -> Ended {
    match outcome {
        Err(failure) => entrant.failed(failure),
        Ok(Primed { answer, showing: Showing::Fault(fault), .. }) => entrant.faulted(exchange, &answer, fault),
        Ok(Primed { answer, .. }) => {
            // Its wait is a part of the heat's, which has been counted.
            exchange.waited = exchange.waited.saturating_sub(answer.waited + answer.connecting);
            entrant.settle(exchange, down, answer).await
        }
    }
}

/// The client has gone: everybody at work is cancelled, and every attempt is closed.
pub fn abandon(exchange: &mut Exchange<'_>, seats: Seats<'_>, shown: Shown) -> Next {
    exchange.waited += shown.waited;
    give_up(exchange, seats.leave().flatten());
    Next::Abort
}

fn give_up<'a>(exchange: &Exchange<'_>, entrants: impl Iterator<Item = Entrant<'a>>) {
    exchange.books.note_gone();
    for mut entrant in entrants {
        let ended = entrant.failed(Failure::ClientGone);
        debug_assert!(matches!(ended, Ended::Gone), "a client that has gone is no failure of a provider");
        entrant.close(exchange);
    }
    exchange.books.finish();
}

/// What an attempt cost, in picodollars; where no price is known, its tokens at a dollar a million, so that shares can still be compared.
pub fn spent(report: &AttemptReport) -> i128 {
    const NOMINAL_PICO: i128 = 1_000_000;
    let tokens = i128::from(report.usage.input) + i128::from(report.usage.output);
    let is_billed = !matches!(report.outcome, Outcome::Unreachable);
    report.cost.map_or(if is_billed { tokens * NOMINAL_PICO } else { 0 }, |cost| cost.pico())
}
