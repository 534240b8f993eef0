//! A second attempt for a request that is in danger of being late (rule Q4).
//!
//! ```text
//! first runs ──answers──────────────────────────────▶ first wins
//!     │ the moment that the distribution names; budget left
//!     ▼
//! both run ────the first to show content────────────▶ that one wins, the other is cancelled
//! ```
//!
//! The moment comes from `routing::hedge`; without a known distribution there is none, and the request goes the plain way. When the first
//! fails before that moment, nothing has been hedged: the usual failover goes on.

use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::failover::Course;
use super::heat::{self, Event, Heat, Seats};
use super::steer::Waste;
use super::tryout::Sender;
use crate::domain::money::PICO_PER_MICRO;
use crate::limits;
use crate::routing::hedge::{self, Awaited, Trigger};
use crate::routing::policy::Policy;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Who runs, and when the second starts.
pub struct Lineup {
    first: usize,
    second: usize,
    after: Duration,
}

/// Seats of the two.
const FIRST: usize = 0;
const SECOND: usize = 1;

/// Whether a request may be hedged, and how; `None` sends it the plain way.
pub fn lineup(exchange: &Exchange<'_>, course: &Course<'_>) -> Option<Lineup> {
    let ask = course.inquiry.ask;
    let trigger = match ask.wishes.deadline {
        Some(deadline) => Trigger::Deadline(deadline.saturating_sub(exchange.began.elapsed())),
        None if course.plan.policy == Policy::Hedged => Trigger::Percentile(percentile(course)),
        None => return None,
    };
    let tenant = &course.inquiry.key.tenant;
    let (books, now) = (&exchange.core.steer.hedges, Instant::now());
    books.earn(tenant, exchange.snapshot.settings.routing.tenant(tenant).hedged_share_max, now);
    if books.is_paused(tenant, now) {
        return None;
    }
    let (first, second) = pair(exchange, course)?;
    let score = |place: usize| exchange.snapshot.scores.score(&course.plan.candidates[place].lane);
    let awaited = if ask.stream { Awaited::FirstToken } else { Awaited::Whole };
    let after = hedge::when(score(first)?, score(second)?, awaited, trigger)?;
    Some(Lineup { first, second, after })
}

/// The percentile that the owner wants waited for.
fn percentile(course: &Course<'_>) -> f64 {
    course.plan.percentile.unwrap_or(limits::HEDGE_PERCENTILE)
}

/// The plan's first, and the best at another provider; failing that, the next credential.
fn pair(exchange: &Exchange<'_>, course: &Course<'_>) -> Option<(usize, usize)> {
    let candidates = &course.plan.candidates;
    let mut open = (0..candidates.len()).filter(|place| course.may_ask(exchange, *place));
    let first = open.next()?;
    let rest: Vec<usize> = open.collect();
    let elsewhere = |place: &&usize| candidates[**place].target.provider != candidates[first].target.provider;
    let second = rest.iter().find(elsewhere).or_else(|| rest.first())?;
    Some((first, *second))
}

/// Runs the first and, if its time comes, the second.
pub async fn run<'a>(
    exchange: &mut Exchange<'_>,
    down: &mut Downstream,
    course: &mut Course<'a>,
    lineup: Lineup,
) -> Option<Next> {
    let Lineup { first, second, after } = lineup;
    let snapshot = exchange.snapshot.clone();
    let end = exchange.began + snapshot.settings.exchange_deadline;
    let sender = Sender { core: exchange.core, request: exchange.id, settings: &snapshot.settings, end };
    let tenant = &course.inquiry.key.tenant;
    let seats = Seats::default();
    let entrant = course.enter(exchange, first)?;
    let mut heat = Heat::new(sender);
    heat.start(FIRST, seats.take(FIRST, entrant));
    let mut moment = heat.began() + after;
    let winner = loop {
        match heat.next(down, moment).await {
            Event::Gone => {
                let shown = heat.stop();
                return Some(heat::abandon(exchange, seats, shown));
            }
            Event::Late => {
                moment = end + limits::DEADLINE_TICK * 2;
                if seats.at(SECOND).is_none()
                    && exchange.core.steer.hedges.take(tenant, Instant::now())
                    && let Some(entrant) = course.enter(exchange, second)
                {
                    heat.start(SECOND, seats.take(SECOND, entrant));
                    exchange.core.reports.gauges.together.hedges.fetch_add(1, Ordering::Relaxed);
                }
            }
            Event::Shown(seat) if heat.arrived(seat).is_some() => break Some(seat),
            Event::Shown(_) if heat.is_any_running() => {}
            Event::Shown(_) => break None,
        }
    };
    let mut shown = heat.stop();
    shown.late = (winner == Some(SECOND)).then_some(FIRST);
    let won = u64::from(winner == Some(SECOND));
    exchange.core.reports.gauges.together.hedges_won.fetch_add(won, Ordering::Relaxed);
    let (next, bill) = heat::conclude(exchange, down, course, &[first, second], seats, shown, winner).await;
    settle(exchange, course, &bill);
    next
}

/// Enters what a heat cost in the tenant's books.
pub fn settle(exchange: &Exchange<'_>, course: &Course<'_>, bill: &heat::Bill) {
    let tenant = &course.inquiry.key.tenant;
    let waste_max = exchange.snapshot.settings.routing.tenant(tenant).waste_share_max;
    let (books, figures) = (&exchange.core.steer.hedges, &exchange.core.reports.gauges.together);
    figures.losers.fetch_add(u64::from(bill.losers), Ordering::Relaxed);
    let micro = u64::try_from(bill.lost / PICO_PER_MICRO).unwrap_or(0);
    figures.waste_micro.fetch_add(micro, Ordering::Relaxed);
    if books.settle(tenant, (bill.won, bill.lost), bill.losers, waste_max, Instant::now()) == Waste::Pausing {
        exchange.core.reports.gauges.hedging_pauses.fetch_add(1, Ordering::Relaxed);
    }
}
