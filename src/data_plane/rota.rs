//! Whose turn it is among the credentials of one target: what a rotation means for a request.
//!
//! In its grace the new credential goes first for its share of requests and the old one stands right behind it, else the other way round; one
//! on standby goes last, but for a request now and then that finds out whether it is good. This stands above caches, prices and scores, and
//! changes only the order within a target: for the choice of a target the two of a rotation count as one lane, since they lead to one
//! account, and a policy that saw a lane without a past would try it out or leave it.
//!
//! A request that can be sent once only cannot be put right by the second key. It takes the one of the two that answered this core last; the
//! old one where neither has, for that served until now. It finds nothing out for others: a key that was refused a while ago and one on
//! standby come after all that are in use.

use super::plan::Candidate;
use super::steer::Steering;
use crate::routing::order::{Facts, Turn};
use crate::routing::standing::{Standing, Why};
use crate::snapshot::Role;
use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Instant;

/// What one exchange decides by.
pub struct Rota<'a> {
    /// What this core knows of keys.
    pub steer: &'a Steering,
    /// Whether the request can be sent once only.
    pub once: bool,
    /// The instant of the decision.
    pub now: Instant,
    /// A number below a hundred, drawn when it is first needed: one for the exchange, whatever the number of targets.
    pub draw: &'a dyn Fn() -> u64,
    /// What was drawn.
    pub drawn: OnceCell<u64>,
}

// === impl Rota ===

impl Rota<'_> {
    /// Seats all candidates. Those of one target stand together.
    pub fn seat(&self, candidates: &[Rc<Candidate>], facts: &mut [Facts<'_>]) {
        if self.once {
            facts.iter_mut().for_each(|facts| self.keep_off_the_doubtful(facts));
        }
        if candidates.iter().all(|candidate| role(candidate) == Role::Usual) {
            return;
        }
        let mut begin = 0;
        while begin < facts.len() {
            let target = facts[begin].target;
            let count = facts[begin..].iter().take_while(|facts| facts.target == target).count();
            self.seat_target(candidates, facts, begin, begin + count);
            begin += count;
        }
    }

    fn keep_off_the_doubtful(&self, facts: &mut Facts<'_>) {
        if facts.standing == Standing::KeyDue {
            facts.standing = Standing::Halted { why: Why::KeyRefused, until: self.now };
        }
    }

    fn seat_target(&self, candidates: &[Rc<Candidate>], facts: &mut [Facts<'_>], begin: usize, end: usize) {
        let places = |wanted: fn(Role) -> bool| (begin..end).filter(move |place| wanted(role(&candidates[*place])));
        let fresh = places(|role| matches!(role, Role::Fresh { .. }));
        let outgoing = places(|role| role == Role::Outgoing);
        // Two rotations at once have a pair each; a pair whose other half is missing is a usual credential.
        for (fresh, outgoing) in fresh.zip(outgoing) {
            let goes_first = self.goes_first(&candidates[fresh], &candidates[outgoing]);
            let (leader, other) = if goes_first { (fresh, outgoing) } else { (outgoing, fresh) };
            facts[other].behind = Some(leader);
            if goes_first {
                facts[fresh].turn = Turn::First;
            }
            share(facts, fresh, outgoing);
        }
        for place in places(|role| role == Role::Standby) {
            let in_use =
                |other: usize| role(&candidates[other]) != Role::Standby && facts[other].standing == Standing::Free;
            let proven = (begin..end).find(|other| in_use(*other));
            let is_open = matches!(facts[place].standing, Standing::Free | Standing::KeyDue);
            match proven {
                Some(proven) if is_open && !self.once && self.steer.is_trial_due(&candidates[place].lane, self.now) => {
                    facts[place].turn = Turn::First;
                    share(facts, place, proven);
                }
                _ => facts[place].turn = Turn::Last,
            }
        }
    }

    /// Whether the new one of a pair goes before the old one.
    fn goes_first(&self, fresh: &Candidate, outgoing: &Candidate) -> bool {
        if self.once {
            let worked =
                |it: &Candidate| it.lane.credential.and_then(|credential| self.steer.last_accepted(credential));
            return worked(fresh) > worked(outgoing);
        }
        match role(fresh) {
            Role::Fresh { canary_percent: 100.. } => true,
            Role::Fresh { canary_percent } => *self.drawn.get_or_init(self.draw) < u64::from(canary_percent),
            _ => false,
        }
    }
}

/// What is known of the lane of one credential holds for that of another one of the same account: the more is known, the better.
fn share(facts: &mut [Facts<'_>], one: usize, other: usize) {
    let (first, second) = (facts[one], facts[other]);
    let samples = |facts: &Facts<'_>| facts.score.filter(|score| !score.is_prior).map_or(0.0, |score| score.samples);
    let known = if samples(&first) > samples(&second) { first } else { second };
    for place in [one, other] {
        let facts = &mut facts[place];
        (facts.score, facts.posterior) = (known.score, known.posterior);
        facts.in_flight = first.in_flight.saturating_add(second.in_flight);
        facts.warm = first.warm || second.warm;
        facts.affinity_weight = first.affinity_weight.max(second.affinity_weight);
    }
}

/// The part that a candidate's credential has.
pub fn role(candidate: &Candidate) -> Role {
    candidate.credential.as_ref().map_or(Role::Usual, |credential| credential.role)
}

/// The same as a word for explanations; `None` for the usual one.
pub fn word(role: Role) -> Option<&'static str> {
    match role {
        Role::Usual => None,
        Role::Fresh { .. } => Some("fresh"),
        Role::Outgoing => Some("outgoing"),
        Role::Standby => Some("standby"),
    }
}

#[cfg(test)]
#[path = "rota_tests.rs"]
pub(super) mod tests;
