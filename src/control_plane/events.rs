//! The latest events, for people: a ring in memory that forgets the oldest.
//!
//! An event names places, ids and counts; never a secret, never text of a client (rules R1, R5).

use crate::domain::clock::UnixMillis;
use crate::domain::text::bounded;
use crate::limits::{EVENTS_KEPT_MAX, LOG_TEXT_BYTES_MAX};
use serde::Serialize;
use serde_json::Value;
use std::collections::VecDeque;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Counts from 1 since start, without gaps.
    pub sequence: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// What sort: `start`, `config`, `credential`, `rotation`, `access_key`, `tenant`, `dns`, `ledger`, `price`, `breaker`, `overload`, `vault`, `audit`,
    /// `clock`, `upgrade`, `alarm`, `budget`, `alert`, `dashboard`.
    pub kind: &'static str,
    /// One sentence.
    pub text: String,
    /// What a program may want of it, of an alert: its id, type, tenant and figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// The latest [`EVENTS_KEPT_MAX`] events.
#[derive(Debug, Default)]
pub(super) struct Events {
    kept: VecDeque<Event>,
    noted: u64,
}

impl Events {
    /// Notes one.
    pub(super) fn note(&mut self, at: UnixMillis, kind: &'static str, text: impl AsRef<str>) {
        self.add(at, kind, text.as_ref(), None);
    }

    /// Notes one that programs read, too.
    pub(super) fn note_with(&mut self, at: UnixMillis, kind: &'static str, text: impl AsRef<str>, data: Value) {
        self.add(at, kind, text.as_ref(), Some(data));
    }

    fn add(&mut self, at: UnixMillis, kind: &'static str, text: &str, data: Option<Value>) {
        if self.kept.len() >= EVENTS_KEPT_MAX {
            self.kept.pop_front();
        }
        self.noted += 1;
        let text = bounded(text, 4 * LOG_TEXT_BYTES_MAX);
        self.kept.push_back(Event { sequence: self.noted, at: at.to_rfc3339(), kind, text, data });
    }

    /// Those after number `last`, the oldest first. Takes no memory where there is none.
    pub(super) fn after(&self, last: u64) -> Vec<Event> {
        self.kept.iter().skip_while(|event| event.sequence <= last).cloned().collect()
    }

    /// Oldest first.
    pub(super) fn latest(&self) -> Vec<Event> {
        self.kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_the_count_goes_on() {
        let mut events = Events::default();
        for n in 0..EVENTS_KEPT_MAX + 3 {
            events.note(UnixMillis(0), "config", format!("event\n{n}"));
        }
        let kept = events.latest();
        let last = kept.last().map_or(0, |event| event.sequence);
        assert!(events.after(last).is_empty() && events.after(last - 2) == kept[kept.len() - 2..]);
        assert_eq!(events.after(0), kept);
        assert_eq!((kept.len(), kept[0].sequence, kept[0].text.as_str()), (EVENTS_KEPT_MAX, 4, "event 3"));
    }
}
