//! A core's knowledge of its lanes' quotas, and what the other cores must hear of it at once.
//!
//! Every answer that names its limits is learnt from. When it shows that nothing is left, or less than the cores together could send before
//! the next one hears of it, the lane is halted on the board until there is enough again; when a request that was sent all the same comes
//! back with a healthy figure, the halt is lifted.

use super::{Permit, Steering};
use crate::board::{Halt, Scope};
use crate::limits;
use crate::routing::lane::LaneKey;
use crate::routing::quota::{Allowances, Shortage};
use crate::routing::standing::{Standing, Why};
use std::time::{Duration, Instant};

impl Steering {
    /// Learns from the rate-limit fields of the answer to a permit's request.
    pub fn learn_quota(&self, permit: &Permit, lane: &LaneKey, told: &Allowances, now: Instant) {
        if !permit.lane.quota.borrow_mut().learn(&permit.sent, told, now) {
            return;
        }
        let (quota, cores) = (permit.lane.quota.borrow(), self.cores());
        let short = if quota.is_ample(1, cores) { None } else { quota.shortage(cores, now) };
        match short {
            None if !permit.under_quota_halt => {}
            Some(short) if short.until > now + limits::QUOTA_HALT_MIN => self.tell_shortage(lane, short, now),
            Some(_) => {}
            None => self.lift_shortage(lane),
        }
    }

    /// How long until the first of these lanes may be asked, if each of them was told to wait or has nothing left. Lanes whose accounts
    /// have no money count, but are no reason to wait on their own.
    pub fn limited<'l>(&self, lanes: impl Iterator<Item = &'l LaneKey>, now: Instant) -> Option<Duration> {
        if self.is_calm() {
            return None;
        }
        let halts = self.halts();
        let mut soonest: Option<Instant> = None;
        let mut waiting_helps = false;
        for lane in lanes {
            let Standing::Halted { why, until } = self.standing(&halts, lane, now) else { return None };
            match why {
                Why::RateLimit | Why::Quota => waiting_helps = true,
                Why::NoCredit | Why::KeyRefused => {}
                Why::QuotaLow | Why::Breaker | Why::Forced => return None,
            }
            soonest = Some(soonest.map_or(until, |known| known.min(until)));
        }
        soonest.filter(|_| waiting_helps).map(|until| until.saturating_duration_since(now))
    }

    /// How many cores share a lane's quota.
    pub(super) fn cores(&self) -> u64 {
        self.board.cores().max(1) as u64
    }

    /// Whether the board says that a lane has little or nothing left.
    pub(super) fn is_short(&self, lane: &LaneKey, now: Instant) -> bool {
        let halts = self.halts();
        !halts.is_empty()
            && halts.get(&Scope::Lane(lane.clone())).is_some_and(|halt| is_quota(halt) && now < halt.until)
    }

    fn tell_shortage(&self, lane: &LaneKey, short: Shortage, now: Instant) {
        let why = if short.is_total { Why::Quota } else { Why::QuotaLow };
        let until = short.until.min(now + limits::QUOTA_HALT_MAX);
        let scope = Scope::Lane(lane.clone());
        // What the provider said itself, and what holds as long, stands.
        let known = self.halts().get(&scope).is_some_and(|halt| {
            now < halt.until && halt.until + limits::QUOTA_HALT_MIN >= until && (halt.why == why || !is_quota(halt))
        });
        if !known {
            self.board.halt(&scope, &Halt { why, until }, now);
        }
    }

    fn lift_shortage(&self, lane: &LaneKey) {
        let scope = Scope::Lane(lane.clone());
        if self.halts().get(&scope).is_some_and(is_quota) {
            self.board.lift(&scope);
        }
    }
}

fn is_quota(halt: &Halt) -> bool {
    matches!(halt.why, Why::Quota | Why::QuotaLow)
}

#[cfg(test)]
mod tests {
    use super::super::Known;
    use super::*;
    use crate::board::Board;
    use crate::domain::clock::UnixMillis;
    use crate::domain::id::ProviderId;
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    fn left(requests: u64) -> Allowances {
        let mut told = Allowances::default();
        let fields = [("limit", "10".to_owned()), ("remaining", requests.to_string()), ("reset", "60".to_owned())];
        for (word, value) in fields {
            told.read(&format!("x-ratelimit-{word}"), value.as_bytes(), UnixMillis(0));
        }
        told
    }

    fn lane(model: &str) -> LaneKey {
        LaneKey { provider: ProviderId::new("p"), model: model.into(), credential: None }
    }

    #[test]
    fn what_one_core_hears_of_a_shortage_holds_on_every_core() {
        let board = Arc::new(Board::default());
        let (one, other) = (Steering::new(board.clone()), Steering::new(board));
        let (lane, now) = (lane("m"), Instant::now());
        let why = |steer: &Steering, at| match steer.standing(&steer.halts(), &lane, at) {
            Standing::Halted { why, .. } => Some(why),
            _ => None,
        };
        let answer = |steer: &Steering, requests, at| {
            let permit = steer.begin(&lane, &Known::default(), 1, at);
            steer.learn_quota(&permit, &lane, &left(requests), at);
        };
        answer(&one, 5, now);
        assert_eq!(why(&other, now), None);
        answer(&one, 1, now);
        assert_eq!((why(&one, now), why(&other, now)), (Some(Why::QuotaLow), Some(Why::QuotaLow)));
        assert_eq!(other.limited([&lane].into_iter(), now), None, "the last one may still be sent");
        answer(&one, 0, now);
        assert_eq!(why(&other, now), Some(Why::Quota));
        assert_eq!(other.limited([&lane].into_iter(), now), Some(60 * SECOND));
        assert_eq!(why(&other, now + 60 * SECOND), None);
        // A plan was changed: whoever asks in spite of the halt finds out.
        answer(&one, 9, now + SECOND);
        assert_eq!((why(&one, now + SECOND), why(&other, now + SECOND)), (None, None));
    }

    #[test]
    fn an_answer_to_what_was_sent_before_the_halt_does_not_lift_it() {
        let steer = Steering::new(Arc::new(Board::default()));
        let (lane, now) = (lane("m"), Instant::now());
        let (early, late) =
            (steer.begin(&lane, &Known::default(), 1, now), steer.begin(&lane, &Known::default(), 1, now));
        steer.learn_quota(&early, &lane, &left(0), now);
        steer.learn_quota(&late, &lane, &left(9), now);
        assert_ne!(steer.standing(&steer.halts(), &lane, now), Standing::Free);
    }

    #[test]
    fn no_money_alone_is_no_reason_to_wait_and_other_lanes_are_asked() {
        let steer = Steering::new(Arc::new(Board::default()));
        let (a, b, now) = (lane("a"), lane("b"), Instant::now());
        assert_eq!(steer.limited([&a, &b].into_iter(), now), None);
        steer.park(&Scope::Lane(a.clone()), Why::NoCredit, now + 300 * SECOND, now);
        assert_eq!(steer.limited([&a].into_iter(), now), None);
        assert_eq!(steer.limited([&a, &b].into_iter(), now), None);
        steer.park(&Scope::Lane(b.clone()), Why::RateLimit, now + 7 * SECOND, now);
        assert_eq!(steer.limited([&a, &b].into_iter(), now), Some(7 * SECOND));
        steer.park(&Scope::Lane(b.clone()), Why::RateLimit, now + 2 * SECOND, now);
        assert_eq!(steer.limited([&a, &b].into_iter(), now), Some(7 * SECOND), "the longer wait stands");
    }
}
