//! The end of an exchange, whatever it was: counted by this core, and told of where somebody wants to know of each.
//!
//! Counting takes no lock and no allocation; a report is made only where traces or the access log are on. What the time of an exchange was
//! spent on is known from its clock; here it becomes what we added to it (see `timing.rs`).

use super::client_address::client_address;
use super::downstream::Downstream;
use super::exchange::{Exchange, Next};
use super::explain::{Refusal, Told, trace_of};
use super::timing::micros;
use crate::http::head::{KnownField, RequestHead};
use crate::report::Outcome;
use crate::report::exchange::{ExchangeReport, Finish, Surface, Times};
use crate::rt;
use std::net::IpAddr;

/// Notes what of a request is known from its head alone, if a report of the exchange is wanted.
pub fn open(exchange: &mut Exchange<'_>, head: &RequestHead, head_bytes: usize, bytes: &[u8]) {
    let telemetry = exchange.snapshot.settings.telemetry;
    if telemetry.reports {
        let trace = trace_of(head, bytes, exchange.id, telemetry.sampling.unwrap_or_default());
        exchange.books.keep_reports();
        exchange.notes.told = Some(Told::of(trace, client_of(exchange, head, bytes), head_bytes));
    }
}

/// Where a request comes from, as far as its proxies are believed (rule H11).
pub fn client_of(exchange: &Exchange<'_>, head: &RequestHead, bytes: &[u8]) -> Option<IpAddr> {
    let proxies = &exchange.snapshot.settings.trusted_proxies;
    let lines = head
        .fields(bytes)
        .rev()
        .filter(|field| field.known == KnownField::XForwarded && field.name.eq_ignore_ascii_case("x-forwarded-for"));
    client_address(exchange.peer, proxies, lines.map(|field| field.value))
}

/// Counts an exchange that is over, and tells of it.
pub fn close(exchange: &mut Exchange<'_>, down: &Downstream, head: &RequestHead, next: Next) {
    let whole = rt::coarse_now().saturating_duration_since(exchange.began);
    let surface = exchange.notes.surface.get();
    let (first, status) = down.first.map_or((None, 0), |(at, status)| (Some(at), status));
    let times = Times {
        overhead_us: micros(exchange.clock.own(whole, exchange.waited, down.flushed)),
        first_byte_us: first.map_or(0, |at| micros(at.saturating_duration_since(exchange.began)).max(1)),
        total_us: micros(whole),
    };
    let finish = finish(exchange, status, next);
    // A session goes both ways for as long as both sides like.
    let is_answer = exchange.attempts > 0 && (200..300).contains(&status) && surface != Surface::Realtime;
    let reports = &exchange.core.reports;
    reports.figures.count(surface, status, finish, is_answer.then_some(&times));
    let Some(told) = exchange.notes.told.take() else { return };
    let (model, policy) = told.plan.into_inner().unzip();
    reports.push_exchange(ExchangeReport {
        id: exchange.id,
        trace: told.trace,
        began: exchange.at,
        client: told.client,
        method: head.method().as_str(),
        surface,
        asker: told.asker.into_inner(),
        model: model.filter(|name| !name.is_empty()),
        policy,
        status,
        finish,
        error: told.error.into_inner(),
        attempts: exchange.books.take_reports(),
        times,
        bytes_in: told.bytes_in.get(),
        bytes_out: down.sent,
    });
}

fn finish(exchange: &Exchange<'_>, status: u16, next: Next) -> Finish {
    let refusal = exchange.notes.refusal.get();
    match (refusal, exchange.books.latest()) {
        (Some(_), _) if next == Next::Abort || status == 0 => Finish::ClientGone,
        (Some(Refusal::Shed), _) => Finish::Shed,
        (Some(Refusal::Refused), _) => Finish::Refused,
        (None, Some(Outcome::ClientGone)) => Finish::ClientGone,
        (None, Some(Outcome::Broken | Outcome::TimedOut | Outcome::Interrupted)) => Finish::Broken,
        _ if next == Next::Abort => Finish::ClientGone,
        _ => Finish::Completed,
    }
}
