//! How long a key that its provider refused lets others go first, and how it comes back.
//!
//! ```text
//!              refused                 its pause is over                one request takes it
//!  accepted ------------> Parked --------------------------> Due -----------------------------> Asked
//!     ^                     ^                                 ^                                 |  |  |
//!     |                     +---- refused: for twice as long -|---------------------------------+  |  |
//!     |                                                       +---- it was lost, or says nothing --+  |
//!     +---------------------------------- accepted, of whoever asked since the refusal --------------+
//! ```
//!
//! Pure: `now` is an argument. A refused key is its owner's affair and never the provider's health: it opens no breaker and counts in no
//! score (rules Q7, T3). Without the pause a dead key would cost every request one attempt; without the probe nobody would notice that it
//! is good again. Who finds every key parked asks all the same: the pause orders, it forbids nothing.

use crate::limits;
use std::time::{Duration, Instant};

/// The state of a key that was refused; one that is accepted has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPause {
    /// Others go first.
    Parked(Pause),
    /// One request may find out whether it is good again.
    Due(Pause),
    /// One is finding out.
    Asked {
        /// What it is to end.
        pause: Pause,
        /// From then on it counts as lost.
        lost_at: Instant,
    },
}

/// One pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it began: at a refusal.
    pub since: Instant,
    /// When it is over.
    pub until: Instant,
    /// How long it is.
    span: Duration,
}

// === impl KeyPause ===

impl KeyPause {
    /// A key that was accepted, or never asked, is refused.
    pub fn first(now: Instant) -> Self {
        Self::Parked(Pause::new(limits::KEY_PAUSE_MIN, now))
    }

    /// The state once time has passed.
    #[must_use]
    pub fn at(self, now: Instant) -> Self {
        match self {
            Self::Parked(pause) if now >= pause.until => Self::Due(pause),
            Self::Asked { pause, lost_at } if now >= lost_at => Self::Due(pause),
            other => other,
        }
    }

    /// Refused again, at a question that was asked at `began`. What was asked before the last refusal says nothing new: a key that dies
    /// under load is refused many times at once, and that is one refusal. Nor do those who ask it during its pause, for want of another.
    #[must_use]
    pub fn refused(self, began: Instant, now: Instant) -> Self {
        let pause = *self.pause();
        match self.at(now) {
            Self::Due(_) | Self::Asked { .. } if began >= pause.since => {
                Self::Parked(Pause::new(pause.span.saturating_mul(2).min(limits::KEY_PAUSE_MAX), now))
            }
            other => other,
        }
    }

    /// Lets one request find out, if it is time: the new state, with that request on its way.
    pub fn claimed(self, now: Instant) -> Option<Self> {
        match self.at(now) {
            Self::Due(pause) => Some(Self::Asked { pause, lost_at: now + limits::PROBE_LIFE }),
            _ => None,
        }
    }

    /// That request came to nothing: the next one may find out.
    #[must_use]
    pub fn probe_dropped(self) -> Self {
        match self {
            Self::Asked { pause, .. } => Self::Due(pause),
            other => other,
        }
    }

    /// Whether an answer to a question that was asked at `began` ends the pause. One to an older question does not: a stream that began
    /// before the key was revoked may end well long after.
    pub fn ends_with(&self, began: Instant) -> bool {
        began >= self.pause().since
    }

    /// The pause itself.
    pub fn pause(&self) -> &Pause {
        match self {
            Self::Parked(pause) | Self::Due(pause) | Self::Asked { pause, .. } => pause,
        }
    }
}

impl Pause {
    fn new(span: Duration, now: Instant) -> Self {
        Self { since: now, until: now + span, span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn left(state: KeyPause, now: Instant) -> Duration {
        state.pause().until.saturating_duration_since(now)
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_each_ends_in_one_probe() {
        let mut now = Instant::now();
        let mut state = KeyPause::first(now);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!((left(state, now), state.claimed(now)), (SECOND * seconds, None));
            now += SECOND * seconds;
            assert!(matches!(state.at(now - SECOND / 1_000), KeyPause::Parked(_)));
            let asked = state.claimed(now).expect("its pause is over");
            assert_eq!(asked.claimed(now), None, "one alone finds out");
            state = asked.refused(now, now);
        }
    }

    #[test]
    fn a_key_that_dies_under_load_is_refused_once() {
        let now = Instant::now();
        let state = KeyPause::first(now);
        assert_eq!(state.refused(now - SECOND, now), state);
        assert_eq!(state.refused(now, now + SECOND / 2), state, "asked during its pause, for want of another");
        // The answer to what was asked before the refusal comes when the pause is over.
        assert_eq!(state.refused(now - SECOND, now + 5 * SECOND).pause(), state.pause());
        let twice = state.refused(now + SECOND, now + SECOND);
        assert_eq!(left(twice, now + SECOND), 2 * SECOND, "whoever asks without a claim finds out, too");
    }

    #[test]
    fn only_an_answer_to_a_newer_question_ends_it() {
        let now = Instant::now();
        let state = KeyPause::first(now);
        assert!(!state.ends_with(now - SECOND / 1_000) && state.ends_with(now) && state.ends_with(now + SECOND));
    }

    #[test]
    fn a_probe_that_stays_out_is_replaced() {
        let now = Instant::now();
        let due = now + SECOND;
        let asked = KeyPause::first(now).claimed(due).expect("its pause is over");
        assert_eq!(asked.at(due + limits::PROBE_LIFE), KeyPause::Due(*asked.pause()));
        assert_eq!(asked.probe_dropped(), KeyPause::Due(*asked.pause()));
        assert_eq!(KeyPause::first(now).probe_dropped(), KeyPause::first(now));
    }
}
