//! Whether the machine and the tester's threads kept the plan of the pairs: the stamp of a result.

use super::pairs::Sent;
use super::schedule::Schedule;
use crate::measure::{Reason, Stamp, Weight};
use crate::stats::{quantile, sorted};

/// Share of requests that may find their connection busy: beyond, quantiles tell of queues in the tester's threads.
const HELD_SHARE_DEGRADED: f64 = 0.01;
/// Share from which the planned load was not sent at all.
const HELD_SHARE_INVALID: f64 = 0.25;
/// Share of requests that may meet a connection just opened: it is not the path that is measured.
const REOPENED_SHARE_DEGRADED: f64 = 0.01;
/// Share of the time between two requests by which one may leave late before they stand together.
const LATE_SHARE_DEGRADED: f64 = 0.5;
/// By how many medians of the direct path a sleeping thread may wake late: the same delay meets every answer.
const STARVED_TIMES: (f64, f64) = (3.0, 10.0);
/// ... and by how much at least, microseconds: a healthy timer is late by a tenth of a millisecond.
const STARVED_US: (f64, f64) = (1000.0, 5000.0);
/// Pairs below which no interval is narrow enough for a decision.
const PAIRS_FEW: u64 = 30;

/// Judges a run of pairs.
pub(super) fn judge(sent: &Sent, schedule: &Schedule, stopped: bool) -> Stamp {
    let all = sent.rows.len() as f64;
    if sent.rows.is_empty() {
        return Stamp::of(vec![reason(
            "empty",
            Weight::Invalidates,
            (0.0, 1.0, "requests"),
            ("No request was sent.", "Let it run longer."),
        )]);
    }
    let mut reasons = Vec::new();
    let held = sent.rows.iter().filter(|row| row.held).count() as f64 / all;
    if held > HELD_SHARE_DEGRADED {
        let weight = if held > HELD_SHARE_INVALID { Weight::Invalidates } else { Weight::Degrades };
        let says = "Requests were due while their connection was busy; they count from the planned instant.";
        reasons.push(reason(
            "queued",
            weight,
            (held, HELD_SHARE_DEGRADED, "share"),
            (says, "Raise --lanes or lower --rate."),
        ));
    }
    let reopened = sent.reopened as f64 / all;
    if reopened > REOPENED_SHARE_DEGRADED {
        let says = "Requests went over a connection just opened, for a target closes them early.";
        let figures = (reopened, REOPENED_SHARE_DEGRADED, "share");
        reasons.push(reason("reopened", Weight::Degrades, figures, (says, "Let the target keep connections alive.")));
    }
    let slot = 1e6 / (schedule.rate * schedule.targets as f64);
    let late =
        sent.rows.iter().filter(|row| !row.held).map(|row| row.reply.sent.saturating_sub(row.planned) as f64 / 1e3);
    let late = quantile(&sorted(late.collect()), 0.99).unwrap_or(0.0);
    reasons.extend(starved(sent, late));
    if late > LATE_SHARE_DEGRADED * slot {
        let says = "One request in a hundred left so late that it met the next one of its pair.";
        let figures = (late, LATE_SHARE_DEGRADED * slot, "us");
        reasons.push(reason("late", Weight::Degrades, figures, (says, "Lower --rate, or free a core for the tester.")));
    }
    let pairs = sent.rows.len() as u64 / schedule.targets as u64;
    if pairs < PAIRS_FEW {
        let figures = (pairs as f64, PAIRS_FEW as f64, "requests");
        reasons.push(reason(
            "samples",
            Weight::Degrades,
            figures,
            ("There are few pairs.", "Raise --pairs or --duration."),
        ));
    }
    if stopped {
        let figures = (pairs as f64, schedule.pairs as f64, "requests");
        reasons.push(reason("stopped", Weight::Degrades, figures, ("It was stopped early.", "Let it run to its end.")));
    }
    Stamp::of(reasons)
}

/// Whether threads wake so late that answers are read late by more than what is measured.
fn starved(sent: &Sent, late: f64) -> Option<Reason> {
    let direct = sent.rows.iter().filter(|row| row.target == 0 && row.reply.is_ok());
    let direct = direct.map(|row| row.reply.ended.saturating_sub(row.begin()) as f64 / 1e3);
    let median = quantile(&sorted(direct.collect()), 0.5)?;
    let limit = (STARVED_TIMES.0 * median).max(STARVED_US.0);
    let far = (STARVED_TIMES.1 * median).max(STARVED_US.1);
    let weight = if late > far { Weight::Invalidates } else { Weight::Degrades };
    let says = "Other work holds the tester's threads back: one in a hundred wakes later than a direct answer takes.";
    let remedy = "Free the machine, and see igris-load doctor.";
    (late > limit).then(|| reason("starved", weight, (late, limit, "us"), (says, remedy)))
}

fn reason(
    check: &str,
    weight: Weight,
    (figure, limit, unit): (f64, f64, &str),
    (says, remedy): (&str, &str),
) -> Reason {
    Reason { check: check.into(), weight, figure, limit, unit: unit.into(), says: says.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::super::link::Reply;
    use super::super::pairs::Row;
    use super::*;
    use crate::measure::Outcome;

    /// A hundred pairs whose requests leave and wake so late, and take so long, microseconds.
    fn sent(late: u64, took: u64, held: bool) -> Sent {
        let row = |pair: u64, target: usize| {
            let planned = 1_000_000_000 + pair * 10_000_000;
            let sent = planned + late * 1000;
            let outcome = Some(Outcome::Ok);
            let reply = Reply { sent, ended: sent + took * 1000, outcome, ..Reply::default() };
            Row { pair, target, planned, held, reply }
        };
        Sent { rows: (0..100).flat_map(|pair| [row(pair, 0), row(pair, 1)]).collect(), ..Sent::default() }
    }

    #[test]
    fn a_rig_that_cannot_keep_up_is_called_so() {
        let schedule = Schedule { pairs: 100, targets: 2, rate: 20.0, seed: 1 };
        let checks = |sent: &Sent| -> (String, Vec<String>) {
            let stamp = judge(sent, &schedule, false);
            (stamp.word().to_owned(), stamp.reasons().iter().map(|reason| reason.check.clone()).collect())
        };
        assert_eq!(checks(&sent(80, 200, false)), ("VALID".into(), vec![]));
        assert_eq!(checks(&sent(2000, 200, false)), ("DEGRADED".into(), vec!["starved".into()]));
        assert_eq!(checks(&sent(2000, 2000, false)), ("VALID".into(), vec![]));
        assert_eq!(checks(&sent(9000, 200, false)), ("INVALID".into(), vec!["starved".into()]));
        assert_eq!(checks(&sent(80, 200, true)), ("INVALID".into(), vec!["queued".into()]));
        assert_eq!(checks(&Sent::default()).0, "INVALID");
        assert_eq!(judge(&sent(80, 200, false), &schedule, true).word(), "DEGRADED");
    }
}
