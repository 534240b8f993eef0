//! Rotations as people and programs see them.

use super::{Written, read};
use crate::domain::clock::UnixMillis;
use crate::domain::id::TenantId;
use crate::store::RotationRow;
use crate::vault::rotation::{Rotation, State, Step, Tally, Which};
use serde::Serialize;
use std::time::Duration;

/// A rotation as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RotationView {
    /// `rot_…`
    pub rotation_id: String,
    /// `in_progress`, `held`, `completed` or `cancelled`.
    pub status: &'static str,
    /// RFC 3339, UTC: when the grace ends, or ended.
    pub grace_period_ends: String,
    /// The key that goes.
    pub old_key_id: String,
    /// The key that comes.
    pub new_key_id: String,
    /// Whose keys they are.
    pub provider: String,
    /// `grace`, `held`, `promoted`, `finished` or `cancelled`.
    pub state: &'static str,
    /// Whole seconds until the grace ends; 0 when it is over.
    pub seconds_left: u64,
    /// Share of requests that try the new key first.
    pub canary_percent: u8,
    /// How the provider took the keys since the rotation began.
    pub counts: Counts,
    /// Why it is held, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_reason: Option<&'static str>,
    /// The same as a sentence with its remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_because: Option<&'static str>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC: when it last moved or was written down.
    pub updated_at: String,
    /// What looks wrong about the new key without being refused; only on the answer to its begin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The evidence on both keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// On the key that goes.
    pub old: Count,
    /// On the key that comes.
    pub new: Count,
}

/// The evidence on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Attempts that were answered.
    pub good: u64,
    /// Attempts at which the provider refused the key.
    pub refused: u64,
}

// === impl RotationView ===

impl RotationView {
    /// As the machine stands; `row` says the rest.
    pub(super) fn of(row: &RotationRow, rotation: &Rotation, grace_ends: UnixMillis) -> Self {
        let state = rotation.state();
        let left = if state.is_undecided() { state.left() } else { Duration::ZERO };
        let held = rotation.detail().held;
        Self {
            rotation_id: row.id.to_string(),
            status: status(state),
            grace_period_ends: grace_ends.to_rfc3339(),
            old_key_id: row.old.to_string(),
            new_key_id: row.new.to_string(),
            provider: row.provider.to_string(),
            state: state.name(),
            seconds_left: left.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX),
            canary_percent: rotation.canary_percent(),
            counts: Counts { old: rotation.tally(Which::Old).into(), new: rotation.tally(Which::New).into() },
            held_reason: held.map(|why| why.name()),
            held_because: held.map(|why| why.sentence()),
            created_at: row.created.to_rfc3339(),
            updated_at: row.updated.to_rfc3339(),
            warnings: Vec::new(),
        }
    }

    /// As it was written down; `None` when it cannot be read.
    pub(super) fn of_row(row: &RotationRow, now: UnixMillis) -> Option<Self> {
        let left = crate::vault::rotation::left_at(row.deadline, row.updated, now);
        let (rotation, grace_ends) = read(row, left)?;
        Some(Self::of(row, &rotation, grace_ends))
    }
}

impl From<Tally> for Count {
    fn from(tally: Tally) -> Self {
        Self { good: tally.good, refused: tally.refused }
    }
}

/// What a written rotation makes of its keys, old and new; `None` where a key is an ordinary one.
pub(super) fn words(row: &RotationRow) -> [Option<&'static str>; 2] {
    let written: Option<Written> = serde_json::from_str(&row.detail).ok();
    let rotation = written.and_then(|written| Rotation::restore(&row.state, written.detail, Duration::ZERO));
    let Some(rotation) = rotation else { return [None, None] };
    [Which::Old, Which::New].map(|which| Some(rotation.state().word(which)).filter(|word| !ORDINARY.contains(word)))
}

const ORDINARY: [&str; 2] = ["active", "revoked"];

const fn status(state: State) -> &'static str {
    match state {
        State::Grace { .. } => "in_progress",
        State::Held { .. } => "held",
        State::Promoted { .. } | State::Finished => "completed",
        State::Cancelled => "cancelled",
    }
}

/// A step as an event.
pub(super) fn sentence(step: Step, tenant: &TenantId, row: &RotationRow, next: &Rotation, who: &str) -> String {
    let RotationRow { id, provider, old, new, .. } = row;
    let what = match step {
        Step::Hold => {
            let why = next.detail().held.map_or("", |why| why.sentence());
            return format!("{id} of provider `{provider}`, tenant {tenant}, is held and {old} serves: {why}");
        }
        Step::Resume => {
            let ends = row.deadline.to_rfc3339();
            format!("goes on: {new} was accepted, is tried first again and will be promoted at {ends}")
        }
        Step::Promote => format!("is completed: {new} serves, {old} is out of use"),
        Step::Complete => format!("was completed by {who}: {new} serves, {old} is out of use"),
        Step::Cancel => format!("was cancelled by {who}: {old} serves, {new} is erased"),
        Step::Finish => format!("is finished: {old} is erased"),
    };
    format!("{id} of provider `{provider}`, tenant {tenant}, {what}")
}
