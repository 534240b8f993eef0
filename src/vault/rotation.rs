//! The life of a provider key's rotation, as a state machine without clock or store (rule V8).
//!
//! Time that passed, evidence and the wish of a person are arguments; what comes out is the next state and the step that leads there,
//! which the control plane writes down as one transaction. Of the two keys exactly one is the active one in every state.
//!
//! ```text
//!            begin        its end, and nothing speaks against the new key;
//!              |                  or a person completes it
//!              v         +----------------------------------------------> promoted ----------> finished
//!            grace ------+                                                   ^    what began with the old key is over
//!             | ^  |                                                         |
//!     refused | |  +--- a person cancels ---> cancelled                      |
//!     too     | | accepted                        ^                          |
//!     often   v | in a row                        |                          |
//!            held --------------------------------+--------------------------+
//!                        a person cancels                 a person completes
//! ```
//!
//! ```text
//!              old key          new key          which is active
//! grace        fallback         grace            old
//! held         active           pending          old
//! promoted     retired          active           new
//! finished     erased           active           new
//! cancelled    active           revoked          old
//! ```

use super::access_key::{DIGEST_BYTES, Pepper, digest};
use crate::domain::clock::UnixMillis;
use crate::domain::id::ProviderId;
use crate::limits::{
    CLOCK_STEP_MAX, GRACE, GRACE_MAX, GRACE_MIN, ROTATION_GOOD_TO_RESUME, ROTATION_REFUSALS_AFTER_GOOD,
    ROTATION_REFUSALS_TO_HOLD,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

/// One of the two keys of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The key that goes.
    Old,
    /// The key that comes.
    New,
}

/// How a provider took a key. What says nothing about the key, as an overloaded provider does, is no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It answered.
    Good,
    /// It refused the key itself: 401, 403, or its own words for it.
    Refused,
}

/// The evidence on one key since the rotation began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Attempts that were answered.
    pub good: u64,
    /// Attempts at which the key was refused.
    pub refused: u64,
    /// The latest attempts that were answered one after the other.
    pub good_in_a_row: u32,
    /// The latest refusals one after the other.
    pub refused_in_a_row: u32,
}

/// Why the new key is not promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldReason {
    /// It was refused, and not answered once.
    NeverAccepted,
    /// It had worked, and is refused now.
    RefusedAgain,
    /// The grace was over while the key could not be used at all.
    NotInService,
}

/// Where a rotation stands. Durations are whole milliseconds that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Both keys are in use, the new one first.
    Grace {
        /// Until its end.
        left_ms: u64,
    },
    /// The new key waits, the old one serves.
    Held {
        /// Why.
        why: HeldReason,
        /// Until the end of the grace that was meant; it goes on passing.
        left_ms: u64,
    },
    /// The new key serves, the old one is out of use and not yet erased.
    Promoted {
        /// Until nothing that began with the old key can still be under way.
        left_ms: u64,
    },
    /// The old key is erased.
    Finished,
    /// The new key is erased.
    Cancelled,
}

/// A rotation: its state and what is known of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    state: State,
    canary_percent: u8,
    old: Tally,
    new: Tally,
}

/// What is written down beside the state's name and its deadline. No secret is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Share of requests that try the new key first, 1 to 100.
    pub canary_percent: u8,
    /// The evidence on the old key.
    pub old: Tally,
    /// The evidence on the new key.
    pub new: Tally,
    /// Why it is held, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldReason>,
}

/// One arrow of the diagram; it is one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The new key is taken out of use for now.
    Hold,
    /// The new key works after all: its grace goes on.
    Resume,
    /// The grace is over: the new key is the active one.
    Promote,
    /// The same by a person's wish.
    Complete,
    /// The new key is erased by a person's wish.
    Cancel,
    /// The old key is erased.
    Finish,
}

/// What cannot be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARotation {
    /// A grace outside what is allowed.
    #[error("the grace period must be between 1 minute and 24 hours")]
    Grace,
    /// A share that is none.
    #[error("the canary share must be a whole number from 1 to 100, percent")]
    Canary,
}

/// A step that a person asked for and that is not possible any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLate {
    /// The new key is the active one already.
    #[error("the rotation is completed already; to change the key once more, rotate the new one")]
    Completed,
    /// The new key is erased already.
    #[error("the rotation is cancelled already; begin another one")]
    Cancelled,
}

// === impl Tally ===

impl Tally {
    fn count(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Good => {
                self.good = self.good.saturating_add(1);
                self.good_in_a_row = self.good_in_a_row.saturating_add(1);
                self.refused_in_a_row = 0;
            }
            Evidence::Refused => {
                self.refused = self.refused.saturating_add(1);
                self.refused_in_a_row = self.refused_in_a_row.saturating_add(1);
                self.good_in_a_row = 0;
            }
        }
    }
}

impl Tally {
    fn learn(&mut self, other: &Self) {
        self.good = self.good.max(other.good);
        self.refused = self.refused.max(other.refused);
        self.good_in_a_row = self.good_in_a_row.max(other.good_in_a_row);
        self.refused_in_a_row = self.refused_in_a_row.max(other.refused_in_a_row);
    }
}

// === impl HeldReason ===

impl HeldReason {
    /// The word in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NeverAccepted => "never_accepted",
            Self::RefusedAgain => "refused_again",
            Self::NotInService => "not_in_service",
        }
    }

    /// A sentence with the remedy.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NeverAccepted => {
                "the provider refused the new key and has not accepted it once; check the key at the provider, then wait, cancel or complete"
            }
            Self::RefusedAgain => {
                "the provider accepted the new key before and refuses it now; check the key at the provider, then wait, cancel or complete"
            }
            Self::NotInService => {
                "the new key could not be used when its grace ended (no token for it, or its provider is not configured); repair that, then wait, cancel or complete"
            }
        }
    }
}

// === impl State ===

impl State {
    /// The name in the store and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grace { .. } => "grace",
            Self::Held { .. } => "held",
            Self::Promoted { .. } => "promoted",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether steps are still to come.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Grace { .. } | Self::Held { .. } | Self::Promoted { .. })
    }

    /// Whether both keys are still in question.
    pub const fn is_undecided(self) -> bool {
        matches!(self, Self::Grace { .. } | Self::Held { .. })
    }

    /// What is left of the time that leads on by itself.
    pub const fn left(self) -> Duration {
        match self {
            Self::Grace { left_ms } | Self::Held { left_ms, .. } | Self::Promoted { left_ms } => {
                Duration::from_millis(left_ms)
            }
            Self::Finished | Self::Cancelled => Duration::ZERO,
        }
    }

    /// The key that is the active one.
    pub const fn active(self) -> Which {
        match self {
            Self::Grace { .. } | Self::Held { .. } | Self::Cancelled => Which::Old,
            Self::Promoted { .. } | Self::Finished => Which::New,
        }
    }

    /// What the state makes of a key, in the words that people see.
    pub const fn word(self, which: Which) -> &'static str {
        match (self, which) {
            (Self::Grace { .. }, Which::Old) => "fallback",
            (Self::Grace { .. }, Which::New) => "grace",
            (Self::Held { .. }, Which::New) => "pending",
            (Self::Promoted { .. }, Which::Old) => "retired",
            (Self::Finished, Which::Old) => "erased",
            (Self::Cancelled, Which::New) => "revoked",
            (Self::Held { .. } | Self::Cancelled, Which::Old)
            | (Self::Promoted { .. } | Self::Finished, Which::New) => "active",
        }
    }
}

// === impl Rotation ===

impl Rotation {
    /// Begins one: both keys are in use from now on, for this long.
    ///
    /// # Errors
    /// [`NotARotation`].
    pub fn begin(grace: Duration, canary_percent: u8) -> Result<Self, NotARotation> {
        if !(GRACE_MIN..=GRACE_MAX).contains(&grace) {
            return Err(NotARotation::Grace);
        }
        if !(1..=100).contains(&canary_percent) {
            return Err(NotARotation::Canary);
        }
        let state = State::Grace { left_ms: milliseconds(grace) };
        Ok(Self { state, canary_percent, old: Tally::default(), new: Tally::default() })
    }

    /// One that was written down; `None` when no rotation looks like that.
    pub fn restore(state: &str, detail: Detail, left: Duration) -> Option<Self> {
        let left_ms = milliseconds(left);
        let state = match (state, detail.held) {
            ("grace", _) => State::Grace { left_ms },
            ("held", Some(why)) => State::Held { why, left_ms },
            ("promoted", _) => State::Promoted { left_ms },
            ("finished", _) => State::Finished,
            ("cancelled", _) => State::Cancelled,
            _ => return None,
        };
        let Detail { canary_percent, old, new, .. } = detail;
        (1..=100).contains(&canary_percent).then_some(Self { state, canary_percent, old, new })
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Share of requests that try the new key first, 1 to 100.
    pub const fn canary_percent(&self) -> u8 {
        self.canary_percent
    }

    /// The evidence on a key.
    pub const fn tally(&self, which: Which) -> Tally {
        match which {
            Which::Old => self.old,
            Which::New => self.new,
        }
    }

    /// What is to be written down beside state and deadline.
    pub const fn detail(&self) -> Detail {
        let held = match self.state {
            State::Held { why, .. } => Some(why),
            _ => None,
        };
        Detail { canary_percent: self.canary_percent, old: self.old, new: self.new, held }
    }

    /// Takes in how a provider took a key. Nothing moves before [`Rotation::turn`].
    pub fn count(&mut self, which: Which, evidence: Evidence) {
        match which {
            Which::Old => self.old.count(evidence),
            Which::New => self.new.count(evidence),
        }
    }

    /// Takes in what another machine knows of the keys. Whatever one of them has seen was seen; counts are the greater of the two, since
    /// nobody can tell which attempts both have counted.
    pub fn learn(&mut self, other: &Self) {
        self.old.learn(&other.old);
        self.new.learn(&other.new);
    }

    /// Lets time pass.
    pub fn pass(&mut self, passed: Duration) {
        if let State::Grace { left_ms } | State::Held { left_ms, .. } | State::Promoted { left_ms } = &mut self.state {
            *left_ms = left_ms.saturating_sub(milliseconds(passed));
        }
    }

    /// The step that is due by itself, and where it leads. `in_service` says whether requests can use the new key at all; `lingering` is
    /// how long something that began with the old key may go on.
    pub fn turn(&self, in_service: bool, lingering: Duration) -> Option<(Step, Self)> {
        match self.state {
            State::Grace { left_ms } => match self.doubt(left_ms == 0, in_service) {
                Some(why) => Some((Step::Hold, self.held(why, left_ms))),
                None if left_ms == 0 => Some((Step::Promote, self.promoted(lingering))),
                None => None,
            },
            State::Held { left_ms, .. } if self.new.good_in_a_row >= ROTATION_GOOD_TO_RESUME => {
                let left_ms = left_ms.max(milliseconds(GRACE_MIN));
                Some((Step::Resume, Self { state: State::Grace { left_ms }, ..*self }))
            }
            State::Promoted { left_ms: 0 } => Some((Step::Finish, Self { state: State::Finished, ..*self })),
            State::Held { .. } | State::Promoted { .. } | State::Finished | State::Cancelled => None,
        }
    }

    /// Promotes the new key by a person's wish, whatever the evidence says.
    ///
    /// # Errors
    /// [`TooLate`].
    pub fn complete(&self, lingering: Duration) -> Result<(Step, Self), TooLate> {
        self.undecided()?;
        Ok((Step::Complete, self.promoted(lingering)))
    }

    /// Gives the new key up by a person's wish.
    ///
    /// # Errors
    /// [`TooLate`].
    pub fn cancel(&self) -> Result<(Step, Self), TooLate> {
        self.undecided()?;
        Ok((Step::Cancel, Self { state: State::Cancelled, ..*self }))
    }

    /// Erases the old key of a promoted one before its time; `None` in any other state.
    pub fn finish(&self) -> Option<(Step, Self)> {
        matches!(self.state, State::Promoted { .. }).then_some((Step::Finish, Self { state: State::Finished, ..*self }))
    }

    /// What speaks against the new key.
    fn doubt(&self, at_the_end: bool, in_service: bool) -> Option<HeldReason> {
        let Tally { good, refused, refused_in_a_row, .. } = self.new;
        let (enough, at_the_end_enough) = (ROTATION_REFUSALS_TO_HOLD, at_the_end && refused > 0);
        if good == 0 && (refused_in_a_row >= enough || at_the_end_enough) {
            return Some(HeldReason::NeverAccepted);
        }
        let many = if at_the_end { enough } else { ROTATION_REFUSALS_AFTER_GOOD };
        if refused_in_a_row >= many {
            return Some(HeldReason::RefusedAgain);
        }
        (at_the_end && !in_service).then_some(HeldReason::NotInService)
    }

    fn held(&self, why: HeldReason, left_ms: u64) -> Self {
        // What was good before does not count for the way back.
        let new = Tally { good_in_a_row: 0, ..self.new };
        Self { state: State::Held { why, left_ms }, new, ..*self }
    }

    fn promoted(&self, lingering: Duration) -> Self {
        Self { state: State::Promoted { left_ms: milliseconds(lingering) }, ..*self }
    }

    fn undecided(&self) -> Result<(), TooLate> {
        match self.state {
            State::Grace { .. } | State::Held { .. } => Ok(()),
            State::Promoted { .. } | State::Finished => Err(TooLate::Completed),
            State::Cancelled => Err(TooLate::Cancelled),
        }
    }
}

/// The digest under which the text of a key that was rotated away is remembered, so that a configuration which still names it does not
/// bring it back. It meets no digest of an access key: it is made for another purpose.
pub fn retired_digest(pepper: &Pepper, provider: &ProviderId, text: &[u8]) -> [u8; DIGEST_BYTES] {
    let name = provider.as_str().as_bytes();
    let mut bound = Zeroizing::new(Vec::with_capacity(
        RETIRED_PURPOSE.len().saturating_add(name.len()).saturating_add(text.len()).saturating_add(8),
    ));
    bound.extend_from_slice(RETIRED_PURPOSE);
    bound.extend_from_slice(&u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
    bound.extend_from_slice(name);
    bound.extend_from_slice(text);
    digest(pepper, &bound)
}

/// Begins with a byte that no header field can hold, so that no access key does.
const RETIRED_PURPOSE: &[u8] = b"\0igris/retired-provider-key/v1";

// ---- Time -----------------------------------------------------------------------------------------------------------------------

/// Says how much time really passed between two looks, whatever happens to the wall clock (rule L9).
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    wall: UnixMillis,
    monotonic: Duration,
}

/// What a look at the clocks shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Time since the look before, by the monotonic clock.
    pub passed: Duration,
    /// How the wall clock was set in between, if by more than [`CLOCK_STEP_MAX`].
    pub stepped: Option<ClockStep>,
}

/// A wall clock that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// By so much too far ahead.
    Forward(Duration),
    /// By so much back.
    Backward(Duration),
}

impl Watch {
    /// Begins to look. The monotonic clock may count from anywhere.
    pub fn new(wall: UnixMillis, monotonic: Duration) -> Self {
        Self { wall, monotonic }
    }

    /// Looks at both clocks.
    pub fn look(&mut self, wall: UnixMillis, monotonic: Duration) -> Look {
        let passed = monotonic.saturating_sub(self.monotonic);
        let expected = self.wall.0.saturating_add(milliseconds(passed));
        let ahead = Duration::from_millis(wall.0.saturating_sub(expected));
        let behind = Duration::from_millis(expected.saturating_sub(wall.0));
        let stepped = if ahead > CLOCK_STEP_MAX {
            Some(ClockStep::Forward(ahead))
        } else if behind > CLOCK_STEP_MAX {
            Some(ClockStep::Backward(behind))
        } else {
            None
        };
        *self = Self { wall, monotonic: monotonic.max(self.monotonic) };
        Look { passed, stepped }
    }
}

/// What is left until a deadline that was written down at `looked`, after a start at `wall`. The time in between counts, by the wall
/// clock; a clock that went back since then adds nothing.
pub fn left_at(deadline: UnixMillis, looked: UnixMillis, wall: UnixMillis) -> Duration {
    Duration::from_millis(deadline.0.saturating_sub(looked.max(wall).0))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const _: () = assert!(GRACE_MIN.as_millis() <= GRACE.as_millis() && GRACE.as_millis() <= GRACE_MAX.as_millis());

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
