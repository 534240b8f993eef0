//! Who is next after which failure, and what is left alone.

use super::super::rota::tests::candidate;
use super::super::steer::Refused;
use super::*;
use crate::board::{Board, Scope};
use crate::chat::fault::{FaultClass, UpstreamFault};
use crate::domain::protocol::ProviderHttp;
use crate::limits;
use crate::providers::{ProviderSpec, table};
use crate::report::Outcome;
use crate::routing::standing::Why;
use crate::routing::terms::Repeat;
use crate::snapshot::{Origin, Provider, Role};
use std::sync::Arc;
use std::time::Duration;

fn provider() -> Provider {
    let row = table::find("openai").expect("a built-in row");
    let origin = Origin {
        key: Arc::from(""),
        authority: Box::from(""),
        tls: None,
        http: ProviderHttp::One,
        ready: 0,
        addresses: Vec::new(),
    };
    Provider {
        id: crate::domain::id::ProviderId::new("p"),
        spec: Arc::new(ProviderSpec::built_in(row, None).expect("it has an address")),
        origin: Arc::new(origin),
        base_path: Box::from(""),
        head: crate::providers::head::StandingHead::default(),
        timeout: None,
        connect_timeout: Duration::ZERO,
        headers: Vec::new(),
        models: Vec::new(),
        keyless: false,
        configured: true,
    }
}

/// Two keys of one provider with another provider between them, as an order has it where the second is short of quota.
fn candidates() -> [Rc<Candidate>; 3] {
    [candidate(0, 1, Role::Usual), candidate(1, 9, Role::Usual), candidate(0, 2, Role::Usual)]
}

/// Places in the order in which they get their turns when each fails in this way.
fn course(steer: &Steering, candidates: &[Rc<Candidate>], class: FaultClass, now: Instant) -> Vec<usize> {
    let (mut turns, mut trail) = (Turns::of(candidates, false), Trail::of(false, Repeat::Errors));
    let mut places = Vec::new();
    while let Some(Turn { place, .. }) = turns.next(steer, &mut trail, now) {
        places.push(place);
        let fault = UpstreamFault::without_answer(class, "no");
        trail.note(&candidates[place], &provider(), fault.into(), Outcome::Refused, false);
    }
    places
}

#[test]
fn a_refused_key_is_followed_by_another_one_of_its_provider() {
    let (steer, now) = (Steering::new(Arc::new(Board::default())), Instant::now());
    let candidates = candidates();
    for class in [FaultClass::BadKey, FaultClass::NoPermission, FaultClass::NoCredit, FaultClass::RateLimit] {
        assert_eq!(course(&steer, &candidates, class, now), [0, 2, 1], "{class:?}");
    }
    assert_eq!(course(&steer, &candidates, FaultClass::Overloaded, now), [0, 1], "another key changes nothing there");
}

#[test]
fn a_key_that_is_halted_comes_after_another_provider() {
    let (steer, now) = (Steering::new(Arc::new(Board::default())), Instant::now());
    let candidates = candidates();
    let second = Duration::from_secs(1);
    steer.park(&Scope::Lane(candidates[2].lane.clone()), Why::RateLimit, now + second, now);
    assert_eq!(course(&steer, &candidates, FaultClass::BadKey, now), [0, 1, 2]);
    steer.key_refused(&candidates[2].lane, Refused::Everywhere, now, now);
    assert_eq!(course(&steer, &candidates, FaultClass::BadKey, now), [0, 1, 2], "asked all the same, at last");
}

#[test]
fn one_exchange_finds_out_about_one_dead_key() {
    let (steer, now) = (Steering::new(Arc::new(Board::default())), Instant::now());
    let keys: Vec<Rc<Candidate>> = (1..=4).map(|key| candidate(0, key, Role::Usual)).collect();
    for dead in &keys[..3] {
        steer.key_refused(&dead.lane, Refused::Everywhere, now, now);
    }
    let due = now + limits::KEY_PAUSE_MIN;
    let turns = course(&steer, &keys, FaultClass::BadKey, due);
    assert_eq!(turns[..2], [0, 3], "the first finds out, and then the live one answers");
    assert_eq!(turns.len(), 4, "the others are asked for want of a better one");
}

#[test]
fn keys_in_place_of_refused_ones_are_counted_and_charged_to_nobody() {
    let candidates = candidates();
    let mut trail = Trail::of(false, Repeat::Errors);
    let fault = |class| UpstreamFault::without_answer(class, "no").into();
    trail.note(&candidates[0], &provider(), fault(FaultClass::BadKey), Outcome::Refused, false);
    assert_eq!((trail.keys_refused(), trail.charged(), trail.may_pass()), (1, None, false));
    trail.note(&candidates[1], &provider(), fault(FaultClass::RateLimit), Outcome::Refused, false);
    assert_eq!(trail.keys_refused(), 1);
    assert!(trail.charged().is_some(), "the provider was asked to work");
}
