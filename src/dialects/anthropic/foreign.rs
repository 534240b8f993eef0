//! Seals of other makers on their way through a client that speaks Messages.
//!
//! Such a client gives `thinking.signature` and `redacted_thinking.data` back unread, so another maker's seal may travel there:
//! `igc1.<letter of the maker>.<the seal as it was>`. Anthropic's own travel as they are. Nothing is stored, so any core or machine can take
//! the history back; one that somebody forged is refused by the maker whose seal it breaks.

use crate::chat::request::{Maker, Seal};
use std::borrow::Cow;

const MARK: &str = "igc1.";

/// What the client sees as signature or data.
pub(super) fn to_client(seal: &Seal) -> Cow<'_, str> {
    let letter = match seal.maker {
        Maker::Anthropic => return Cow::Borrowed(&seal.data),
        Maker::OpenAi => 'o',
        Maker::Google => 'g',
    };
    Cow::Owned(format!("{MARK}{letter}.{}", seal.data))
}

/// The seal that a client gave back; `None` for an empty one, which stands on thinking that nobody sealed.
pub(super) fn from_client(data: &str, redacted: bool) -> Option<Seal> {
    let marked = data.strip_prefix(MARK).and_then(|rest| {
        let (letter, own) = rest.split_once('.')?;
        let maker = match letter {
            "o" => Maker::OpenAi,
            "g" => Maker::Google,
            _ => return None,
        };
        Some((maker, own))
    });
    let (maker, data) = marked.unwrap_or((Maker::Anthropic, data));
    (!data.is_empty()).then(|| Seal { maker, data: data.to_owned(), redacted })
}

/// Whether a seal is on plain text that stands before it. Google seals its last words and does not insist on having that back; as a block of
/// its own it would be the last of a message, where clients look for the answer.
pub(super) fn is_on_text(seal: &Seal) -> bool {
    seal.maker == Maker::Google && !seal.redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seal_comes_back_as_it_went() {
        for maker in [Maker::OpenAi, Maker::Anthropic, Maker::Google] {
            for (data, redacted) in [("EqQB+/==", false), ("a.b.c", true), ("igc1.x", false)] {
                let seal = Seal { maker, data: data.to_owned(), redacted };
                assert_eq!(from_client(&to_client(&seal), redacted), Some(seal));
            }
        }
    }

    #[test]
    fn what_is_not_marked_is_anthropic_s() {
        for data in ["igc1.", "igc1.z.data", "igc1.o", "EqQB"] {
            let seal = from_client(data, false).expect("a seal");
            assert_eq!((seal.maker, seal.data.as_str()), (Maker::Anthropic, data));
        }
        assert_eq!(from_client("", false), None);
        assert_eq!(from_client("igc1.g.", false), None);
    }
}
