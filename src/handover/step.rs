//! Where the old process stands in a hand-over, what may come next, and what must be undone if nothing good does: pure.
//!
//! ```text
//! Preparing --Prepared--> Opening --Ready--> Taking --Serving--> Over
//!     |                      |                  |
//!     +---- Refused, the end of the channel, a deadline, a message out of turn, a word to stop ----> failed: undo()
//! ```

use super::channel::HandoverFault;
use super::message::Message;
use crate::limits::{HANDOVER_PATIENCE_MAX, HANDOVER_PATIENCE_MIN, HANDOVER_TAKE_DEADLINE};
use std::time::Duration;

/// A step of the old process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The new process reads its configuration; the old one serves as ever.
    Preparing,
    /// The store is closed here and being opened there.
    Opening,
    /// Nobody accepts; the new process is about to.
    Taking,
    /// The new process serves.
    Over,
}

/// Something that was given up for the new process and can be had again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Accept connections again.
    Accept,
    /// Open the store again.
    OpenStore,
    /// Answer on the control plane's sockets again.
    AnswerOperators,
}

/// A message that does not belong to the step.
pub type StepFault = HandoverFault;

impl Step {
    /// The step after a message of the new process.
    ///
    /// # Errors
    /// [`HandoverFault::Refused`] with its reason; [`HandoverFault::OutOfTurn`].
    pub fn after(self, message: Message) -> Result<Self, StepFault> {
        match (self, message) {
            (Self::Preparing, Message::Prepared(_)) => Ok(Self::Opening),
            (Self::Opening, Message::Ready) => Ok(Self::Taking),
            (Self::Taking, Message::Serving) => Ok(Self::Over),
            (Self::Preparing | Self::Opening | Self::Taking, Message::Refused(why)) => Err(HandoverFault::Refused(why)),
            (_, other) => Err(HandoverFault::OutOfTurn(other.name())),
        }
    }

    /// How long this step may take; `asked` is the operator's word.
    pub fn patience(self, asked: Duration) -> Duration {
        let asked = asked.clamp(HANDOVER_PATIENCE_MIN, HANDOVER_PATIENCE_MAX);
        match self {
            Self::Preparing | Self::Opening => asked,
            // Connections wait meanwhile.
            Self::Taking | Self::Over => asked.min(HANDOVER_TAKE_DEADLINE),
        }
    }

    /// What must be undone, in this order, when it fails here.
    pub fn undo(self) -> &'static [Undo] {
        match self {
            Self::Preparing | Self::Over => &[],
            Self::Opening => &[Undo::OpenStore, Undo::AnswerOperators],
            Self::Taking => &[Undo::Accept, Undo::OpenStore, Undo::AnswerOperators],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::{Batch, Prepared};

    fn every_word() -> Vec<Message> {
        let batch = Batch { source: String::new(), number: 1, lines: Vec::new() };
        vec![
            Message::Prepared(Prepared { version: String::new(), pid: 1 }),
            Message::Ready,
            Message::Serving,
            Message::StoreFree,
            Message::Take,
            Message::Batch(batch),
            Message::Booked { source: String::new(), number: 1 },
            Message::Done { source: String::new() },
        ]
    }

    #[test]
    fn each_step_has_one_word_that_leads_on() {
        let way =
            [(Step::Preparing, 0, Step::Opening), (Step::Opening, 1, Step::Taking), (Step::Taking, 2, Step::Over)];
        for (step, word, next) in way {
            for (number, message) in every_word().into_iter().enumerate() {
                match step.after(message) {
                    Ok(reached) => assert_eq!((number, reached), (word, next)),
                    Err(fault) => assert!(number != word && matches!(fault, HandoverFault::OutOfTurn(_)), "{fault}"),
                }
            }
            let refused = step.after(Message::Refused("no".to_owned()));
            assert!(matches!(refused, Err(HandoverFault::Refused(why)) if why == "no"));
        }
        assert!(every_word().into_iter().all(|message| Step::Over.after(message).is_err()), "there is no way back");
    }

    #[test]
    fn what_was_given_up_is_taken_back_in_the_reverse_order() {
        assert!(Step::Preparing.undo().is_empty(), "the old one never noticed");
        assert_eq!(Step::Opening.undo(), &Step::Taking.undo()[1..]);
        assert_eq!(Step::Taking.undo().first(), Some(&Undo::Accept), "clients come first");
        assert!(Step::Over.undo().is_empty());
    }

    #[test]
    fn patience_is_bounded_and_shortest_while_connections_wait() {
        assert_eq!(Step::Opening.patience(Duration::ZERO), HANDOVER_PATIENCE_MIN);
        assert_eq!(Step::Preparing.patience(Duration::MAX), HANDOVER_PATIENCE_MAX);
        assert_eq!(Step::Taking.patience(Duration::MAX), HANDOVER_TAKE_DEADLINE);
    }
}
