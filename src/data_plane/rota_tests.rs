//! Turns among the credentials of one target, with what a core knows of them, through the whole order.

use super::super::plan::Target;
use super::*;
use crate::board::Board;
use crate::domain::id::{CredentialId, ProviderId, TenantId};
use crate::domain::secret::Secret;
use crate::limits;
use crate::routing::lane::LaneKey;
use crate::routing::need::Need;
use crate::routing::order::{Question, order};
use crate::routing::policy::Policy;
use crate::routing::score::{Quantiles, Score};
use crate::routing::standing::Headroom;
use crate::routing::terms::Goal;
use crate::snapshot::{Credential, ProviderIx};
use std::cell::Cell;
use std::sync::Arc;

const FRESH: Role = Role::Fresh { canary_percent: 100 };

/// A candidate of a provider by its number, with a credential of the role.
pub(in crate::data_plane) fn candidate(provider: u16, credential: u128, role: Role) -> Rc<Candidate> {
    let target = Target {
        provider: ProviderIx(provider),
        model: Arc::from("m"),
        weight: 1,
        price: None,
        abilities: Arc::default(),
        insert: None,
    };
    let id = CredentialId::from_bits(credential);
    let lane = LaneKey {
        provider: ProviderId::new(&format!("p{provider}")),
        model: target.model.clone(),
        credential: Some(id),
    };
    let secret = Arc::new(Secret::copy_of(b"sk-canary-0123456789abcdef"));
    let credential = Credential { id, secret, timeout: None, max_retries: None, role };
    let (tenant, known, figures) = (TenantId::new("t"), Default::default(), Default::default());
    Rc::new(Candidate { target, credential: Some(Arc::new(credential)), lane, quality: None, tenant, known, figures })
}

fn facts(candidates: &[Rc<Candidate>]) -> Vec<Facts<'static>> {
    let of = |candidate: &Rc<Candidate>| Facts {
        target: usize::from(candidate.target.provider.0),
        turn: Turn::Usual,
        behind: None,
        weight: 1,
        quality: None,
        lacks: None,
        context_window: None,
        score: None,
        posterior: Default::default(),
        cost: None,
        standing: Standing::Free,
        headroom: Headroom::default(),
        in_flight: 0,
        warm: false,
        affinity_weight: 0,
    };
    candidates.iter().map(of).collect()
}

/// A core, and what its draws come to.
struct Desk {
    steer: Steering,
    draw: Cell<u64>,
    draws: Cell<u32>,
    once: bool,
    now: Instant,
}

impl Desk {
    fn new() -> Self {
        let steer = Steering::new(Arc::new(Board::default()));
        Self { steer, draw: Cell::new(0), draws: Cell::new(0), once: false, now: Instant::now() }
    }

    fn seat(&self, candidates: &[Rc<Candidate>], facts: &mut [Facts<'_>]) {
        let draw = || {
            self.draws.set(self.draws.get() + 1);
            self.draw.get()
        };
        let rota = Rota { steer: &self.steer, once: self.once, now: self.now, draw: &draw, drawn: OnceCell::new() };
        rota.seat(candidates, facts);
    }

    /// Credentials in the order in which they are to be tried.
    fn order(&self, candidates: &[Rc<Candidate>], facts: &mut [Facts<'_>]) -> Vec<u128> {
        self.seat(candidates, facts);
        let need = Need::default();
        let question = question(Policy::Ordered, &need, self.now);
        let ranking = order(&question, facts, &mut fastrand::Rng::with_seed(1)).expect("somebody may be tried");
        let id = |place: usize| candidates[place].lane.credential.expect("each has one").bits();
        ranking.lanes.iter().map(|lane| id(lane.place)).collect()
    }
}

fn question(policy: Policy, need: &Need, now: Instant) -> Question<'_> {
    Question { policy, goal: Goal::Balanced, percentile: None, need, streaming: false, deadline: None, now }
}

#[test]
fn the_new_one_goes_first_for_its_share_and_the_old_one_right_behind_it() {
    let desk = Desk::new();
    let with_canary = |canary_percent| {
        [candidate(0, 1, Role::Outgoing), candidate(0, 2, Role::Usual), candidate(0, 3, Role::Fresh { canary_percent })]
    };
    let ordered = |canary_percent, draw| {
        desk.draw.set(draw);
        let candidates = with_canary(canary_percent);
        desk.order(&candidates, &mut facts(&candidates))
    };
    assert_eq!(ordered(100, 99), [3, 1, 2]);
    assert_eq!(desk.draws.get(), 0, "nothing to draw");
    assert_eq!(ordered(10, 9), [3, 1, 2]);
    assert_eq!(ordered(10, 10), [1, 3, 2], "the old one first, and the new one at once behind it");
    let candidates = with_canary(10);
    let mut warm = facts(&candidates);
    warm[1].warm = true;
    assert_eq!(desk.order(&candidates, &mut warm), [2, 1, 3], "a third one keeps what it had");
    let candidates = with_canary(100);
    let mut warm = facts(&candidates);
    warm[1].warm = true;
    assert_eq!(desk.order(&candidates, &mut warm), [3, 1, 2], "a cache is worth less than a rotation");
}

#[test]
fn one_draw_holds_for_all_targets_of_an_exchange() {
    let desk = Desk::new();
    let fresh = Role::Fresh { canary_percent: 50 };
    let pair = |provider: u16, first: u128| {
        [candidate(provider, first, Role::Outgoing), candidate(provider, first + 1, fresh)]
    };
    let candidates = [pair(0, 1), pair(1, 3)].concat();
    desk.draw.set(49);
    assert_eq!(desk.order(&candidates, &mut facts(&candidates)), [2, 1, 4, 3]);
    assert_eq!(desk.draws.get(), 1);
}

#[test]
fn two_rotations_at_once_each_keep_their_pair() {
    let desk = Desk::new();
    let candidates = [
        candidate(0, 1, Role::Outgoing),
        candidate(0, 2, Role::Outgoing),
        candidate(0, 3, FRESH),
        candidate(0, 4, FRESH),
    ];
    assert_eq!(desk.order(&candidates, &mut facts(&candidates)), [3, 1, 4, 2]);
}

#[test]
fn a_rotation_does_not_change_whom_a_policy_chooses() {
    let at = |median: f64| [0.7, 0.85, 1.0, 1.2, 1.5, 1.8, 2.5].map(|factor| (median * factor) as u32);
    let score = |median| Score {
        samples: 200.0,
        first_byte_us: Some(Quantiles { at: at(median) }),
        posterior: crate::routing::score::Beta { alpha: 200.0, beta: 2.0 },
        ..Score::default()
    };
    let (mine, theirs) = (score(300_000.0), score(302_000.0));
    // What the table says of a lane that was never asked: its siblings' figures, and hardly any weight.
    let new = Score {
        samples: 0.0,
        is_prior: true,
        posterior: crate::routing::score::Beta { alpha: 10.0, beta: 1.0 },
        ..mine.clone()
    };
    let need = Need::default();
    let share = |policy: Policy, rotating: bool| {
        let desk = Desk::new();
        let mut candidates =
            vec![candidate(0, 1, if rotating { Role::Outgoing } else { Role::Usual }), candidate(1, 9, Role::Usual)];
        if rotating {
            candidates.insert(1, candidate(0, 2, FRESH));
        }
        let mut facts = facts(&candidates);
        for (place, facts) in facts.iter_mut().enumerate() {
            let score = if facts.target == 1 {
                &theirs
            } else if place == 1 {
                &new
            } else {
                &mine
            };
            (facts.score, facts.posterior) = (Some(score), score.posterior);
        }
        desk.seat(&candidates, &mut facts);
        let mut dice = fastrand::Rng::with_seed(5);
        let question = question(policy, &need, desk.now);
        let firsts =
            (0..2_000).map(|_| order(&question, &facts, &mut dice).expect("somebody may be tried").lanes[0].place);
        firsts.filter(|place| facts[*place].target == 0).count()
    };
    for policy in [Policy::Thompson, Policy::Latency, Policy::Hedged, Policy::Cost, Policy::Quality, Policy::Ordered] {
        let (before, during) = (share(policy, false), share(policy, true));
        // Five standard deviations of a fair coin: with the new key's own figures it is nearly all or nothing.
        assert!(before.abs_diff(during) <= 112, "{policy:?}: {before} and then {during} of 2000");
    }
}

#[test]
fn one_on_standby_is_tried_now_and_then_and_only_before_one_that_works() {
    let desk = Desk::new();
    let candidates = [candidate(0, 1, Role::Standby), candidate(0, 2, Role::Usual)];
    assert_eq!(desk.order(&candidates, &mut facts(&candidates)), [1, 2]);
    let mut parked = facts(&candidates);
    parked[1].standing = Standing::Halted { why: Why::RateLimit, until: desk.now + limits::STANDBY_TRIAL };
    assert_eq!(desk.order(&candidates, &mut parked), [1, 2], "the only one that is free");
    assert_eq!(parked[0].turn, Turn::Last, "and no trial: nobody stands behind it");
    desk.steer.begin_trial(&candidates[0].lane, desk.now);
    assert_eq!(desk.order(&candidates, &mut facts(&candidates)), [2, 1], "it was tried just now");
    let later = Desk { now: desk.now + limits::STANDBY_TRIAL, ..desk };
    assert_eq!(later.order(&candidates, &mut facts(&candidates)), [1, 2]);
    let once = Desk { once: true, ..later };
    assert_eq!(
        once.order(&candidates, &mut facts(&candidates)),
        [2, 1],
        "nothing is tried with what cannot be sent twice"
    );
}

#[test]
fn what_can_be_sent_once_goes_with_the_key_that_worked_last() {
    let mut desk = Desk::new();
    desk.once = true;
    let candidates = [candidate(0, 1, Role::Outgoing), candidate(0, 2, FRESH), candidate(0, 3, Role::Usual)];
    let (old, new) = (&candidates[0].lane, &candidates[1].lane);
    let second = std::time::Duration::from_secs(1);
    let at = |desk: &Desk, seconds: u32| desk.now + second * seconds;
    assert_eq!(desk.order(&candidates, &mut facts(&candidates)), [1, 2, 3], "nobody knows the new one yet");
    desk.steer.key_accepted(new, false, at(&desk, 1), at(&desk, 1));
    assert_eq!(desk.order(&candidates, &mut facts(&candidates)), [2, 1, 3]);
    desk.steer.key_accepted(old, false, at(&desk, 2), at(&desk, 2));
    assert_eq!(desk.order(&candidates, &mut facts(&candidates)), [1, 2, 3]);
    let mut due = facts(&candidates);
    due[0].standing = Standing::KeyDue;
    assert_eq!(desk.order(&candidates, &mut due), [2, 3, 1], "whether it is good again is another's to find out");
}
