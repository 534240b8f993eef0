//! Keys that were refused, keys that are being changed, and when each was last accepted.
//!
//! A refusal goes to the board, so that every core lets other keys go first; see `routing::key_pause`. Of credentials in a rotation and on
//! standby this core remembers when they last worked: what can be sent only once is not put on one that never did. Bounded by
//! [`limits::ROTATING_MAX`]; what is forgotten is found out anew.

use super::Steering;
use super::health::key_scopes;
use crate::board::Scope;
use crate::chat::fault::FaultClass;
use crate::domain::id::CredentialId;
use crate::domain::map::Map;
use crate::limits;
use crate::routing::lane::LaneKey;
use std::cell::RefCell;
use std::hash::Hash;
use std::time::Instant;

/// What one core knows of credentials that are not the usual ones.
#[derive(Default)]
pub struct Rotating {
    accepted: RefCell<Map<CredentialId, Instant>>,
    trials: RefCell<Map<LaneKey, Instant>>,
}

/// For what a key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// For everything: the provider does not know it.
    Everywhere,
    /// For this model, or this call.
    Here,
}

impl Refused {
    /// What a failure says of the key, if it says anything. `is_carried` says that the client chose the provider's own endpoint: one that
    /// takes another kind of key says nothing of this one elsewhere, and must not be a way to park a key that others use (rule T3).
    pub fn of(class: FaultClass, is_carried: bool) -> Option<Self> {
        match class {
            FaultClass::BadKey if is_carried => Some(Self::Here),
            FaultClass::BadKey => Some(Self::Everywhere),
            FaultClass::NoPermission => Some(Self::Here),
            _ => None,
        }
    }
}

impl Steering {
    /// A lane's key was refused, at a question that was asked at `began`: others go first for a while, on every core.
    pub fn key_refused(&self, lane: &LaneKey, refused: Refused, began: Instant, now: Instant) {
        let Some(credential) = lane.credential else { return };
        let scope = match refused {
            Refused::Everywhere => Scope::Credential(credential),
            Refused::Here => Scope::Lane(lane.clone()),
        };
        self.board.key_refused(&scope, began, now);
        self.rotating.accepted.borrow_mut().remove(&credential);
    }

    /// A lane's key was accepted, at a question that was asked at `began`. `is_usual` says that it is no part of a rotation.
    pub fn key_accepted(&self, lane: &LaneKey, is_usual: bool, began: Instant, now: Instant) {
        if !self.watch.borrow_mut().look().keys_are_good() {
            key_scopes(lane).for_each(|scope| self.board.key_accepted(&scope, began, now));
        }
        if let Some(credential) = lane.credential.filter(|_| !is_usual) {
            keep(&mut self.rotating.accepted.borrow_mut(), credential, now);
        }
    }

    /// When a credential in a rotation last worked on this core; `None` if it never did, or was refused since.
    pub fn last_accepted(&self, credential: CredentialId) -> Option<Instant> {
        self.rotating.accepted.borrow().get(&credential).copied()
    }

    /// Whether it is time that a request tries a lane on standby.
    pub fn is_trial_due(&self, lane: &LaneKey, now: Instant) -> bool {
        let tried = self.rotating.trials.borrow().get(lane).copied();
        tried.is_none_or(|tried| now.saturating_duration_since(tried) >= limits::STANDBY_TRIAL)
    }

    /// A request tries a lane on standby.
    pub fn begin_trial(&self, lane: &LaneKey, now: Instant) {
        keep(&mut self.rotating.trials.borrow_mut(), lane.clone(), now);
    }
}

/// Keeps an instant; when there is no room, all others are forgotten.
fn keep<K: Eq + Hash>(known: &mut Map<K, Instant>, key: K, now: Instant) {
    if known.len() >= limits::ROTATING_MAX && !known.contains_key(&key) {
        known.clear();
    }
    known.insert(key, now);
}

#[cfg(test)]
mod tests {
    use super::super::{Known, Leave, Standing, Why};
    use super::*;
    use crate::board::Board;
    use crate::domain::id::ProviderId;
    use std::sync::Arc;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn lane(model: &str, credential: u128) -> LaneKey {
        let credential = Some(CredentialId::from_bits(credential));
        LaneKey { provider: ProviderId::new("p"), model: model.into(), credential }
    }

    fn cores() -> [Steering; 2] {
        let board = Arc::new(Board::default());
        [Steering::new(board.clone()), Steering::new(board)]
    }

    fn why(core: &Steering, lane: &LaneKey, now: Instant) -> Option<Why> {
        match core.standing(&core.halts(), lane, now) {
            Standing::Halted { why, .. } => Some(why),
            _ => None,
        }
    }

    #[test]
    fn a_refused_key_lets_others_go_first_on_every_core_until_one_request_finds_it_good() {
        let ([one, other], now) = (cores(), Instant::now());
        let (a, b) = (lane("m", 1), lane("m", 2));
        one.key_refused(&a, Refused::Everywhere, now, now);
        assert_eq!(why(&other, &a, now), Some(Why::KeyRefused));
        assert_eq!(why(&other, &lane("n", 1), now), Some(Why::KeyRefused), "it is one key");
        assert_eq!(why(&other, &b, now), None, "another key of the same provider");
        assert_eq!(other.leave(&a, false, now), Leave::Halted);
        let due = now + SECOND;
        assert_eq!(other.standing(&other.halts(), &a, due), Standing::KeyDue);
        assert_eq!(one.leave(&a, true, due), Leave::Halted, "a second dead key is not risked in one exchange");
        assert_eq!(other.leave(&a, false, due), Leave::Granted);
        assert_eq!(one.leave(&a, false, due), Leave::Probing, "the other core finds out");
        let permit = other.begin(&a, &Known::default(), 1, due);
        assert_eq!(why(&one, &lane("n", 1), due), Some(Why::KeyRefused), "nobody else asks meanwhile");
        other.key_accepted(&a, true, due, due);
        assert_eq!(one.standing(&one.halts(), &a, due), Standing::Free);
        drop(permit);
        assert!(one.halts().is_empty());
    }

    #[test]
    fn a_probe_that_comes_to_nothing_is_given_back_and_one_that_is_refused_doubles_the_pause() {
        let ([one, _], now) = (cores(), Instant::now());
        let a = lane("m", 1);
        one.key_refused(&a, Refused::Everywhere, now, now);
        let due = now + SECOND;
        assert_eq!(one.leave(&a, false, due), Leave::Granted);
        drop(one.begin(&a, &Known::default(), 1, due));
        assert_eq!(one.standing(&one.halts(), &a, due), Standing::KeyDue, "the client went away");
        assert_eq!(one.leave(&a, false, due), Leave::Granted);
        let permit = one.begin(&a, &Known::default(), 1, due);
        one.key_refused(&a, Refused::Everywhere, due, due);
        drop(permit);
        assert_eq!(why(&one, &a, due + SECOND), Some(Why::KeyRefused), "two seconds now");
        assert_eq!(one.standing(&one.halts(), &a, due + 2 * SECOND), Standing::KeyDue);
    }

    #[test]
    fn what_is_refused_for_one_model_is_not_refused_for_others() {
        let ([one, other], now) = (cores(), Instant::now());
        one.key_refused(&lane("m", 1), Refused::Here, now, now);
        assert_eq!(why(&other, &lane("m", 1), now), Some(Why::KeyRefused));
        assert_eq!((why(&other, &lane("n", 1), now), why(&other, &lane("m", 2), now)), (None, None));
        assert_eq!(Refused::of(FaultClass::BadKey, true), Some(Refused::Here), "a client's own choice of endpoint");
        assert_eq!(Refused::of(FaultClass::RateLimit, false), None);
    }

    #[test]
    fn refused_keys_are_bounded_apart_from_everything_else() {
        let ([one, _], now) = (cores(), Instant::now());
        let refuse = |number: usize, at| {
            one.key_refused(&lane("m", number as u128), Refused::Everywhere, at, at);
        };
        (0..limits::KEY_PAUSES_MAX + 9).for_each(|number| refuse(number, now));
        assert_eq!(one.halts().len(), limits::KEY_PAUSES_MAX);
        one.park(&Scope::Provider(ProviderId::new("p")), Why::RateLimit, now + SECOND, now);
        assert_eq!(one.halts().len(), limits::KEY_PAUSES_MAX + 1, "there is room for what matters more");
        refuse(limits::KEY_PAUSES_MAX + 10, now + 2 * SECOND);
        assert_eq!(one.halts().len(), 2, "those that nobody asks made room");
    }

    #[test]
    fn credentials_in_a_rotation_are_remembered_by_their_last_answer() {
        let ([one, _], now) = (cores(), Instant::now());
        let (fresh, id) = (lane("m", 1), CredentialId::from_bits(1));
        one.key_accepted(&lane("m", 2), true, now, now);
        assert_eq!(one.last_accepted(CredentialId::from_bits(2)), None, "no part of a rotation");
        one.key_accepted(&fresh, false, now, now);
        assert_eq!(one.last_accepted(id), Some(now));
        one.key_refused(&fresh, Refused::Everywhere, now, now);
        assert_eq!(one.last_accepted(id), None);
        assert!(one.is_trial_due(&fresh, now));
        one.begin_trial(&fresh, now);
        assert!(!one.is_trial_due(&fresh, now) && one.is_trial_due(&fresh, now + limits::STANDBY_TRIAL));
    }
}
