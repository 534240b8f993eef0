//! Rotations of provider keys: begun, watched, promoted, held, cancelled, finished; each step is one transaction (rule V8).
//!
//! The machine is [`Rotation`]; here it meets store, clocks and reports. What is in memory moves only after the store has it, so that a
//! crash or a store that refuses leaves a rotation where it was, with exactly one active key, and the next tick tries again. Counts are
//! written with each step and every few seconds.

mod begin;
mod operations;
mod view;

pub use begin::NewRotation;
pub use view::RotationView;

use super::credentials::Credentials;
use super::supply::Means;
use super::{Control, ControlError, means};
use crate::domain::clock::UnixMillis;
use crate::domain::id::{CredentialId, RotationId, TenantId};
use crate::limits::{
    ROTATION_LINGERING, ROTATION_LOOK_INTERVAL, ROTATION_STEPS_PER_TICK, ROTATION_WRITE_CEILING,
    ROTATION_WRITE_INTERVAL,
};
use crate::report::{AttemptReport, Outcome};
use crate::snapshot::Role;
use crate::store::{AuditEntry, CredentialState, CredentialStep, Origin, RotationRow, Store, StoreError};
use crate::vault::rotation::{
    ClockStep, Detail, Evidence, Look, Rotation, State, Step, TooLate, Watch, Which, left_at, retired_digest,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// What is known of the open rotations.
#[derive(Debug, Default)]
pub(super) struct Rotations {
    open: BTreeMap<RotationId, Open>,
    /// The keys that are in question: those of rotations in grace or held.
    by_key: HashMap<CredentialId, (RotationId, Which)>,
    watch: Option<Watch>,
    /// Keeps replaced keys for another time than [`ROTATION_LINGERING`].
    lingering: Option<Duration>,
    /// What keeps going wrong, until it goes right.
    trouble: Option<String>,
}

/// An open rotation.
#[derive(Debug)]
struct Open {
    tenant: TenantId,
    /// As it was written last, but for counts and clocks.
    row: RotationRow,
    rotation: Rotation,
    /// When the grace ends, or ended.
    grace_ends: UnixMillis,
    /// Whether there are counts that are not written.
    unwritten: bool,
    /// When it was written, by the monotonic clock.
    written: Duration,
}

/// The row's `detail`.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(flatten)]
    detail: Detail,
    /// When the grace ends or ended, milliseconds since the Unix epoch; the row's deadline moves on to the erasing.
    grace_ends: u64,
}

// === impl Rotations ===

impl Rotations {
    /// Takes up what was open when the last process ended. Answers also what could not be read.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn take_up(store: &mut Store, now: UnixMillis) -> Result<(Self, Vec<String>), StoreError> {
        let (mut rotations, mut notes) = (Self::default(), Vec::new());
        for (tenant, row) in store.admin().open_rotations()? {
            let left = left_at(row.deadline, row.updated, now);
            let Some((rotation, grace_ends)) = read(&row, left) else {
                notes.push(format!("{} of tenant {tenant} cannot be read and stays where it is", row.id));
                continue;
            };
            let written = Duration::ZERO;
            let mut open = Open { tenant, row, rotation, grace_ends, unwritten: false, written };
            open.set_deadline(now);
            rotations.insert(open);
        }
        Ok((rotations, notes))
    }

    /// Takes the place of these, with what is known here of the keys.
    pub(super) fn join(&mut self, mut next: Self) {
        for (id, open) in &mut next.open {
            let Some(known) = self.open.get(id) else { continue };
            open.rotation.learn(&known.rotation);
            open.written = known.written;
            open.unwritten = known.unwritten;
        }
        (self.open, self.by_key) = (next.open, next.by_key);
    }

    /// Takes in how an attempt came out.
    pub(super) fn count(&mut self, report: &AttemptReport) {
        let Some((id, which)) = report.credential.and_then(|key| self.by_key.get(&key)) else { return };
        if let (Some(open), Some(evidence)) = (self.open.get_mut(id), evidence(report)) {
            open.rotation.count(*which, evidence);
            open.unwritten = true;
        }
    }

    /// What a rotation makes of a key, if one does.
    pub(super) fn role(&self, key: CredentialId) -> Option<Role> {
        let (id, which) = self.by_key.get(&key)?;
        let open = self.open.get(id)?;
        Some(match (open.rotation.state(), which) {
            (State::Grace { .. }, Which::New) => Role::Fresh { canary_percent: open.rotation.canary_percent() },
            (State::Grace { .. }, Which::Old) => Role::Outgoing,
            (_, Which::New) => Role::Standby,
            (_, Which::Old) => Role::Usual,
        })
    }

    /// How many are in grace, held, and waiting for the old key to be erased.
    pub(super) fn counts(&self) -> [(&'static str, usize); 3] {
        ["grace", "held", "promoted"].map(|name| {
            let alike = self.open.values().filter(|open| open.rotation.state().name() == name);
            (name, alike.count())
        })
    }

    /// Forgets those of a tenant that is gone.
    pub(super) fn forget(&mut self, tenant: &TenantId) {
        self.open.retain(|_, open| open.tenant != *tenant);
        let open = &self.open;
        self.by_key.retain(|_, (id, _)| open.contains_key(id));
    }

    /// Whether a key takes part in a rotation that is not decided.
    pub(super) fn is_in_question(&self, key: CredentialId) -> bool {
        self.by_key.contains_key(&key)
    }

    /// The rotation in grace or held that a key takes part in.
    fn in_question(&self, key: CredentialId) -> Option<RotationId> {
        self.by_key.get(&key).map(|(id, _)| *id)
    }

    /// The rotation that has replaced a key and not yet erased it.
    fn replaced(&self, key: CredentialId) -> Option<RotationId> {
        let mut open = self.open.values();
        let found = open.find(|open| open.row.old == key && !open.rotation.state().is_undecided());
        found.map(|open| open.row.id)
    }

    fn insert(&mut self, open: Open) {
        let id = open.row.id;
        if open.rotation.state().is_undecided() {
            self.by_key.insert(open.row.old, (id, Which::Old));
            self.by_key.insert(open.row.new, (id, Which::New));
        }
        self.open.insert(id, open);
    }

    /// Takes in that a step was written.
    fn moved(&mut self, id: RotationId, row: RotationRow, next: Rotation, grace_ends: UnixMillis, at: Duration) {
        let state = next.state();
        if !state.is_undecided() {
            self.by_key.retain(|_, (of, _)| *of != id);
        }
        if !state.is_open() {
            self.open.remove(&id);
        } else if let Some(open) = self.open.get_mut(&id) {
            (open.row, open.rotation, open.grace_ends) = (row, next, grace_ends);
            (open.unwritten, open.written) = (false, at);
        }
    }

    /// Lets the time pass that really passed.
    fn look(&mut self, now: UnixMillis, monotonic: Duration) -> Option<ClockStep> {
        let watch = self.watch.get_or_insert_with(|| Watch::new(now, monotonic));
        let Look { passed, stepped } = watch.look(now, monotonic);
        for open in self.open.values_mut() {
            open.rotation.pass(passed);
            open.set_deadline(now);
        }
        stepped.filter(|_| !self.open.is_empty())
    }
}

// === impl Open ===

impl Open {
    /// The deadline as an instant of the wall clock. It stays as it was said, unless the clock was set.
    fn set_deadline(&mut self, now: UnixMillis) {
        let state = self.rotation.state();
        let deadline = after(now, state.left());
        if !state.left().is_zero() && deadline.0.abs_diff(self.row.deadline.0) > DEADLINE_DRIFT_MS {
            self.row.deadline = deadline;
            self.unwritten = true;
        }
        if state.is_undecided() {
            self.grace_ends = self.row.deadline;
        }
    }

    /// The row of `next`, a step away or the same with other counts.
    fn row_of(&self, next: &Rotation, now: UnixMillis) -> (RotationRow, UnixMillis) {
        let (before, state) = (self.rotation.state(), next.state());
        let same = std::mem::discriminant(&before) == std::mem::discriminant(&state);
        let deadline = match state {
            State::Grace { .. } | State::Promoted { .. } if !same => after(now, state.left()),
            _ => self.row.deadline,
        };
        let grace_ends = match state {
            State::Grace { .. } | State::Held { .. } => deadline,
            State::Promoted { .. } | State::Cancelled if !same => self.row.deadline.min(now),
            _ => self.grace_ends,
        };
        let written = Written { detail: next.detail(), grace_ends: grace_ends.0 };
        let row = RotationRow {
            state: state.name().to_owned(),
            open: state.is_open(),
            detail: serde_json::to_string(&written).unwrap_or_default(),
            deadline,
            updated: now,
            ..self.row.clone()
        };
        (row, grace_ends)
    }
}

// === impl Control ===

impl Control {
    /// Takes the steps that are due.
    pub(super) fn turn_rotations(&mut self, now: UnixMillis) {
        self.turn_rotations_at(now, Instant::now());
    }

    /// The same by these clocks.
    pub(super) fn turn_rotations_at(&mut self, now: UnixMillis, instant: Instant) {
        self.look_at_clocks(now, instant);
        let published = self.published.load();
        let lingering = self.lingering();
        let turn = |(id, open): (&RotationId, &Open)| {
            let serving = published.credentials.find(&open.tenant, &open.row.provider);
            let in_service = serving.iter().any(|credential| credential.id == open.row.new);
            let (step, next) = open.rotation.turn(in_service, lingering)?;
            Some((*id, step, next))
        };
        let due: Vec<(RotationId, Step, Rotation)> =
            self.rotations.open.iter().filter_map(turn).take(ROTATION_STEPS_PER_TICK).collect();
        drop(published);
        let mut trouble = None;
        for (id, step, next) in due {
            // Another machine may have taken it: the next tick knows.
            if let Err(error) = self.take_step(BY_ITSELF, id, step, next, (now, instant))
                && !error.is_behind()
            {
                trouble = Some(format!("{id} cannot take its next step and will try again: {error}"));
            }
        }
        if let Err(error) = self.write_rotations(now, instant)
            && !error.is_behind()
        {
            trouble = trouble.or(Some(format!("the counts of rotations cannot be written: {error}")));
        }
        if trouble != self.rotations.trouble
            && let Some(sentence) = &trouble
        {
            self.note("rotation", sentence.clone());
        }
        self.rotations.trouble = trouble;
    }

    /// Lets the time pass, and says so when somebody has set the wall clock (rule L9).
    fn look_at_clocks(&mut self, now: UnixMillis, instant: Instant) {
        let monotonic = instant.saturating_duration_since(self.started);
        match self.rotations.look(now, monotonic) {
            None => {}
            Some(ClockStep::Forward(by)) => {
                let by = by.as_secs();
                self.note("rotation", format!("the clock was set forward by {by} s; no rotation ends sooner for it"));
            }
            Some(ClockStep::Backward(by)) => {
                let by = by.as_secs();
                self.note("rotation", format!("the clock was set back by {by} s; no rotation ends later for it"));
            }
        }
    }

    /// One arrow of the diagram: row, credentials and audit entry in one transaction, then memory. The caller publishes.
    fn take_step(
        &mut self,
        who: &str,
        id: RotationId,
        step: Step,
        next: Rotation,
        (now, instant): (UnixMillis, Instant),
    ) -> Result<(), ControlError> {
        let open = self.rotations.open.get(&id).ok_or_else(|| ControlError::no_such("open rotation"))?;
        let (tenant, from) = (open.tenant.clone(), open.rotation.state().name());
        let (row, grace_ends) = open.row_of(&next, now);
        let Means { store, keyring, entropy, now } = Means { now, ..means(self) };
        store.all_or_nothing(|store| {
            if matches!(step, Step::Promote | Step::Complete) {
                remember(Means { store, keyring, entropy, now }, &tenant, &row)?;
            }
            store.step_rotation(&tenant, from, &row, moves(step, &row).as_slice())?;
            let (what, target, after) = (audit_word(step), row.id.to_string(), row.state.as_str());
            let entry = AuditEntry { at: now, tenant: Some(&tenant), who, what, target: &target, before: from, after };
            store.admin().append_audit(&entry)?;
            Ok::<(), StoreError>(())
        })?;
        let sentence = view::sentence(step, &tenant, &row, &next, who);
        self.rotations.moved(id, row, next, grace_ends, instant.saturating_duration_since(self.started));
        self.touch_credentials(&tenant);
        if matches!(step, Step::Hold) {
            self.alerts.hear_held(&tenant, id, &sentence);
        }
        self.note("rotation", sentence);
        Ok(())
    }

    /// Writes counts, and how much time is left, where the store's are too old. Each machine of a fleet does so the more seldom the more
    /// there are: what is written is read by all of them, and all together write as often as one alone.
    fn write_rotations(&mut self, now: UnixMillis, instant: Instant) -> Result<(), ControlError> {
        let monotonic = instant.saturating_duration_since(self.started);
        let machines = u32::try_from(self.machines()).unwrap_or(u32::MAX).max(1);
        let old = |open: &&Open| {
            let age = monotonic.saturating_sub(open.written);
            let interval = if open.unwritten { ROTATION_WRITE_INTERVAL } else { ROTATION_LOOK_INTERVAL };
            age >= interval.saturating_mul(machines).min(ROTATION_WRITE_CEILING.max(interval))
        };
        let due: Vec<(TenantId, RotationRow)> = self
            .rotations
            .open
            .values()
            .filter(old)
            .map(|open| {
                let (row, _) = open.row_of(&open.rotation, now);
                (open.tenant.clone(), row)
            })
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        self.store.all_or_nothing(|store| {
            due.iter().try_for_each(|(tenant, row)| store.step_rotation(tenant, &row.state, row, &[]))
        })?;
        for (_, row) in due {
            if let Some(open) = self.rotations.open.get_mut(&row.id) {
                (open.row, open.unwritten, open.written) = (row, false, monotonic);
            }
        }
        Ok(())
    }

    /// How long an exchange that began with the old key may still be under way.
    fn lingering(&self) -> Duration {
        let longest = ROTATION_LINGERING.max(self.config.server.limits.exchange_deadline);
        self.rotations.lingering.unwrap_or(longest)
    }
}

/// What an attempt says about the key it was made with: an answer that began well, a refusal of the key itself, or nothing.
fn evidence(report: &AttemptReport) -> Option<Evidence> {
    if report.key_refused {
        return Some(Evidence::Refused);
    }
    let good = report.outcome == Outcome::Completed || (200..300).contains(&report.status);
    good.then_some(Evidence::Good)
}

/// What a step does to the two credentials.
fn moves(step: Step, row: &RotationRow) -> Vec<CredentialStep> {
    use CredentialState::{Active, Pending, Retiring, Revoked};
    let to = |id, from, to| CredentialStep { id, from, to };
    match step {
        Step::Hold | Step::Resume => Vec::new(),
        Step::Promote | Step::Complete => vec![to(row.new, Pending, Active), to(row.old, Active, Retiring)],
        Step::Cancel => vec![to(row.new, Pending, Revoked)],
        Step::Finish => vec![to(row.old, Retiring, Revoked)],
    }
}

/// Remembers the text of a key that configuration brought and that goes, so that the configuration does not bring it back; and forgets
/// that the new one may have gone this way before.
fn remember(means: Means<'_>, tenant: &TenantId, row: &RotationRow) -> Result<(), StoreError> {
    let Means { store, keyring, entropy, now } = means;
    let pepper = keyring.pepper()?;
    let of_configuration = store.credential(tenant, row.old)?.origin != Origin::Api;
    let credentials = Credentials::new(store, keyring, entropy, now);
    let digest = |id| {
        let secret = credentials.open_one(tenant, id)?;
        Ok::<_, StoreError>(retired_digest(pepper, &row.provider, secret.expose()))
    };
    // A damaged record has no text that anyone could bring back; it must not keep the new key from being promoted.
    let (old, new) = (digest(row.old).ok(), digest(row.new).ok());
    if let Some(new) = new {
        store.readmit_key(tenant, &row.provider, &new)?;
    }
    if let Some(old) = old.filter(|_| of_configuration) {
        store.retire_key(tenant, &row.provider, (pepper.version(), &old), now)?;
    }
    Ok(())
}

/// Machine and end of grace from a row.
fn read(row: &RotationRow, left: Duration) -> Option<(Rotation, UnixMillis)> {
    let written: Written = serde_json::from_str(&row.detail).ok()?;
    Some((Rotation::restore(&row.state, written.detail, left)?, UnixMillis(written.grace_ends)))
}

fn after(now: UnixMillis, left: Duration) -> UnixMillis {
    UnixMillis(now.0.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
}

const fn audit_word(step: Step) -> &'static str {
    match step {
        Step::Hold => "rotation.hold",
        Step::Resume => "rotation.resume",
        Step::Promote => "rotation.promote",
        Step::Complete => "rotation.complete",
        Step::Cancel => "rotation.cancel",
        Step::Finish => "rotation.finish",
    }
}

/// Who takes the steps that are due by clock or evidence, for the audit log.
const BY_ITSELF: &str = "rotation";
/// Clocks that differ by less than this are the same; a deadline that was told to somebody stays as it is.
const DEADLINE_DRIFT_MS: u64 = 2_000;
