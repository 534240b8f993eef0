//! Refused keys as people hear of them.

use super::*;
use crate::board::Scope as HaltScope;
use crate::limits;
use std::time::Instant;

fn noted(control: &Control) -> Vec<String> {
    control.recent_events().into_iter().filter(|event| event.kind == "key").map(|event| event.text).collect()
}

#[test]
fn a_key_that_is_refused_and_one_that_is_good_again_are_noted_once() {
    let house = House::new("refused-keys");
    let mut control = house.open(CONFIG);
    let scope = HaltScope::Credential(CredentialId::from_bits(7));
    let began = Instant::now();
    control.board.key_refused(&scope, began, began);
    (0..3).for_each(|_| control.tick());
    control.board.key_refused(&scope, began + limits::KEY_PAUSE_MAX, began + limits::KEY_PAUSE_MAX);
    control.tick();
    let id = CredentialId::from_bits(7).to_string();
    assert_eq!(noted(&control).len(), 1, "{:?}", noted(&control));
    assert!(noted(&control)[0].starts_with(&format!("{id} was refused by its provider")), "{:?}", noted(&control));
    let now = began + 2 * limits::KEY_PAUSE_MAX;
    control.board.key_accepted(&scope, now, now);
    (0..3).for_each(|_| control.tick());
    assert_eq!(noted(&control).len(), 2, "{:?}", noted(&control));
}

#[test]
fn what_nobody_has_asked_for_long_is_forgotten() {
    let board = crate::board::Board::default();
    let now = Instant::now();
    board.key_refused(&HaltScope::Credential(CredentialId::from_bits(7)), now, now);
    let over = now + limits::KEY_PAUSE_MIN;
    board.forget_keys(over + limits::KEY_PAUSE_KEPT / 2);
    assert!(!board.halts().keys_are_good());
    board.forget_keys(over + limits::KEY_PAUSE_KEPT);
    assert!(board.halts().is_empty());
}
