//! Keys that their providers refuse, as people hear of them: an event when one is first refused, and one when it is used again.
//!
//! The cores find out and act by themselves (`routing::key_pause`); the control plane only reads their board, and clears away what nobody has
//! asked for long. It names ids, never a key.

use super::Control;
use crate::board::{Halts, Scope};
use crate::domain::text::bounded;
use crate::limits::{BREAKER_NOTES_MAX, MODEL_NAME_BYTES_MAX};
use std::collections::BTreeSet;
use std::time::Instant;

/// The refused keys as they stood at the last look.
#[derive(Debug, Default)]
pub(super) struct RefusedKeys {
    known: BTreeSet<Scope>,
}

impl Control {
    /// Notes which keys are refused, and which no more, since the last look.
    pub(super) fn watch_refused_keys(&mut self) {
        let (halts, now) = (self.board.halts(), Instant::now());
        if halts.keys_are_good() && self.refused_keys.known.is_empty() {
            return;
        }
        let refused = refused_now(&halts, now);
        let known = &self.refused_keys.known;
        let mut notes: Vec<String> = refused.difference(known).map(refused_note).collect();
        notes.extend(known.difference(&refused).map(|scope| format!("{} is no longer held back", named(scope))));
        let more = notes.len().saturating_sub(BREAKER_NOTES_MAX);
        notes.truncate(BREAKER_NOTES_MAX);
        if more > 0 {
            notes.push(format!("{more} more keys were refused, or are used again"));
        }
        self.board.forget_keys(now);
        self.refused_keys.known = refused_now(&self.board.halts(), now);
        self.note_all("key", notes);
    }
}

fn refused_now(halts: &Halts, now: Instant) -> BTreeSet<Scope> {
    halts.keys(now).map(|(scope, _)| scope.clone()).collect()
}

fn refused_note(scope: &Scope) -> String {
    format!(
        "{} was refused by its provider: other keys go first, and it is tried again now and then; check it there, or rotate it",
        named(scope)
    )
}

fn named(scope: &Scope) -> String {
    match scope {
        Scope::Credential(credential) => credential.to_string(),
        Scope::Provider(provider) => format!("the key of provider `{provider}`"),
        Scope::Lane(lane) => {
            let key = lane.credential.map_or_else(|| "the key".to_owned(), |id| id.to_string());
            // A passthrough names no model, and a client may make one up: those of the lists are the operator's own words.
            let model = if lane.model.is_empty() { "calls that name no model" } else { &*lane.model };
            format!("{key} for {} at `{}`", bounded(model, MODEL_NAME_BYTES_MAX), lane.provider)
        }
    }
}
