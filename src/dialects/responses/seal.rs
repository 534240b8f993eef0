//! Seals as `encrypted_content` of reasoning items.
//!
//! A client of this dialect gives reasoning items back as it got them, so any maker's seal can travel there. OpenAI's
//! own stand as they are; others are marked as ours: `igc1.<maker letter>.<kind>.<base64url of the data>`, kind `s` for
//! a seal and `r` for a whole redacted thought.

use crate::chat::request::{Maker, Seal};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;

const MARK: &str = "igc1.";

/// The seal as a client gets it. Letters, digits and `.`, `_`, `-` only, unless OpenAI made it.
pub(super) fn shown(seal: &Seal) -> Cow<'_, str> {
    let letter = match seal.maker {
        Maker::OpenAi => return Cow::Borrowed(&seal.data),
        Maker::Anthropic => 'a',
        Maker::Google => 'g',
    };
    let kind = if seal.redacted { 'r' } else { 's' };
    Cow::Owned(format!("{MARK}{letter}.{kind}.{}", URL_SAFE_NO_PAD.encode(&seal.data)))
}

/// The seal in what a client gave back. What is not marked as ours is OpenAI's, and so is what is marked but cannot be
/// read: its maker refuses it, not we.
pub(super) fn read(text: String) -> Seal {
    marked(&text).unwrap_or(Seal { maker: Maker::OpenAi, data: text, redacted: false })
}

fn marked(text: &str) -> Option<Seal> {
    let mut parts = text.strip_prefix(MARK)?.splitn(3, '.');
    let maker = match parts.next()? {
        "a" => Maker::Anthropic,
        "g" => Maker::Google,
        _ => return None,
    };
    let redacted = match parts.next()? {
        "s" => false,
        "r" => true,
        _ => return None,
    };
    let data = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
    Some(Seal { maker, data, redacted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_makers_seal_comes_back() {
        for maker in [Maker::OpenAi, Maker::Anthropic, Maker::Google] {
            for redacted in [false, true] {
                let seal = Seal { maker, data: "EqQB+/é==".into(), redacted: redacted && maker != Maker::OpenAi };
                assert_eq!(read(shown(&seal).into_owned()), seal);
            }
        }
        let anthropic = Seal { maker: Maker::Anthropic, data: "sig".into(), redacted: false };
        assert_eq!(shown(&anthropic), "igc1.a.s.c2ln");
    }

    #[test]
    fn what_is_not_ours_is_openais() {
        for text in ["gAAAAAB", "", "igc1.", "igc1.x.s.c2ln", "igc1.a.q.c2ln", "igc1.a.s.!!", "igc1.a.s"] {
            assert_eq!(read(text.into()), Seal { maker: Maker::OpenAi, data: text.into(), redacted: false }, "{text}");
        }
    }
}
