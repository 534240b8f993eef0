//! Breakers as people see and move them.

use super::*;
use crate::board::Scope as HaltScope;
use crate::control_plane::BreakerMove;
use crate::limits;
use crate::routing::breaker::Cause;
use crate::routing::lane::LaneKey;
use crate::routing::standing::{Standing, Why};
use crate::routing::terms::BreakerTerms;
use std::time::Instant;

fn lane(model: &str) -> LaneKey {
    LaneKey { provider: ProviderId::new("openai"), model: Arc::from(model), credential: None }
}

fn trip(control: &Control, scope: &HaltScope) {
    control.board.trip(scope, Cause::Failures, &BreakerTerms::default(), 0.0, Instant::now());
}

fn noted(control: &Control) -> Vec<String> {
    control.recent_events().into_iter().filter(|event| event.kind == "breaker").map(|event| event.text).collect()
}

#[test]
fn what_opens_and_closes_is_noted_once() {
    let house = House::new("breakers-noted");
    let mut control = house.open(CONFIG);
    let scope = HaltScope::Lane(lane("gpt-4o"));
    trip(&control, &scope);
    (0..3).for_each(|_| control.tick());
    assert_eq!(noted(&control).len(), 1, "{:?}", noted(&control));
    assert!(noted(&control)[0].starts_with("the breaker of gpt-4o at `openai` is open (failures)"));
    let lanes: Vec<_> = control.breakers().into_iter().filter(|view| view.model.is_some()).collect();
    assert_eq!((lanes.len(), lanes[0].state, lanes[0].cause), (1, "open", Some("failures")));
    control.board.close(&scope, Instant::now());
    (0..3).for_each(|_| control.tick());
    assert_eq!(noted(&control).len(), 2, "{:?}", noted(&control));
    assert!(control.breakers().iter().all(|view| view.state == "closed"));
}

#[test]
fn many_changes_at_once_are_summed_up() {
    let house = House::new("breakers-many");
    let mut control = house.open(CONFIG);
    for number in 0..limits::BREAKER_NOTES_MAX + 5 {
        trip(&control, &HaltScope::Lane(lane(&format!("m{number:02}"))));
    }
    control.tick();
    let noted = noted(&control);
    assert_eq!(noted.len(), limits::BREAKER_NOTES_MAX + 1);
    assert!(noted.last().is_some_and(|text| text.starts_with("5 more breakers")), "{noted:?}");
}

#[test]
fn the_owner_halts_a_provider_and_lets_it_go_and_both_are_in_the_audit_log() {
    let house = House::new("breakers-owner");
    let mut control = house.open(CONFIG);
    let standing = |control: &Control| control.board.halts().standing(&lane("gpt-4o"), Instant::now());
    trip(&control, &HaltScope::Lane(lane("gpt-4o")));
    let view = control.move_breaker(WHO, "openai", BreakerMove::Open).expect("configured");
    assert_eq!((view.state, view.cause), ("forced", Some("operator")));
    assert!(matches!(standing(&control), Standing::Halted { why: Why::Forced, .. }));
    control.tick();
    assert_eq!(noted(&control), ["breaker.open openai by uid:1000"], "the owner is not told what it did");
    let view = control.move_breaker(WHO, "openai", BreakerMove::Reset).expect("configured");
    assert_eq!((view.state, standing(&control)), ("closed", Standing::Free));
    assert_eq!(control.board.halts().resets(&ProviderId::new("openai")), 1);
    let audit = control.store.admin().audit_tail(100).expect("readable");
    let deeds: Vec<_> = audit.iter().filter(|row| row.what.starts_with("breaker.")).collect();
    assert_eq!(deeds.len(), 2);
    assert_eq!((deeds[1].who.as_str(), deeds[1].target.as_str(), deeds[1].after.as_str()), (WHO, "openai", "forced"));
    let refused = control.move_breaker(WHO, "nobody", BreakerMove::Open).expect_err("unknown");
    assert_eq!(refused.status(), 404);
}
