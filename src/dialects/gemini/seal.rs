//! `thoughtSignature`, the one place this format has for sealed thinking: Google's own, and other makers' in an
//! envelope of ours.
//!
//! Google's clients echo the parts of an answer with their signatures, so what must go back to another maker travels
//! there: standard base64 of `igc1.<maker>.<kind>.<data>`, since clients decode and encode the member as bytes. Kind
//! `s` seals the thought it stands on, `r` is a redacted thought, and `p` stands on a call of a tool and holds what
//! [`carry::pack`] packs. A forged one is refused by the maker whose seal it breaks. The documented
//! `skip_thought_signature_validator`, which tells Gemini 3 that a call in the history has no signature, is no seal.

use crate::chat::carry::{self, Carried};
use crate::chat::request::{Maker, Seal};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use std::borrow::Cow;

/// `skip_thought_signature_validator` as the wire has bytes: in base64.
pub(super) const SKIP: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
const SKIP_PLAIN: &str = "skip_thought_signature_validator";
const MARK: &str = "igc1.";

/// What a `thoughtSignature` of a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// Nothing to keep.
    None,
    /// A seal: Google's own, or out of our envelope.
    Seal(Seal),
    /// What was carried with a call.
    Carried(Carried),
}

/// How a seal is written on a part.
pub(super) fn written(seal: &Seal) -> Cow<'_, str> {
    match seal.maker {
        Maker::Google => Cow::Borrowed(&seal.data),
        maker => Cow::Owned(envelope(maker, if seal.redacted { 'r' } else { 's' }, &seal.data)),
    }
}

/// What is written on a call of a tool: its own seal if Google made it, else all that must come back with it.
pub(super) fn on_call(carried: &Carried) -> Option<Cow<'_, str>> {
    let first =
        carried.seal.iter().chain(carried.thinking.iter().filter_map(|thinking| thinking.seal.as_ref())).next()?;
    match &carried.seal {
        Some(seal) if seal.maker == Maker::Google => Some(Cow::Borrowed(&seal.data)),
        _ => Some(Cow::Owned(envelope(first.maker, 'p', &carry::pack("", carried)))),
    }
}

fn envelope(maker: Maker, kind: char, data: &str) -> String {
    let letter = match maker {
        Maker::OpenAi => 'o',
        Maker::Anthropic => 'a',
        Maker::Google => 'g',
    };
    STANDARD.encode(format!("{MARK}{letter}.{kind}.{data}"))
}

/// Reads a signature that a client sent.
pub(super) fn read(signature: &str) -> Signature {
    if signature.is_empty() || signature == SKIP_PLAIN {
        return Signature::None;
    }
    let google = || Signature::Seal(Seal { maker: Maker::Google, data: signature.to_owned(), redacted: false });
    let Some(plain) = decode(signature).and_then(|bytes| String::from_utf8(bytes).ok()) else { return google() };
    if plain == SKIP_PLAIN {
        return Signature::None;
    }
    unsealed(&plain).unwrap_or_else(google)
}

fn unsealed(plain: &str) -> Option<Signature> {
    let (letter, rest) = plain.strip_prefix(MARK)?.split_once('.')?;
    let (kind, data) = rest.split_once('.')?;
    let maker = match letter {
        "o" => Maker::OpenAi,
        "a" => Maker::Anthropic,
        "g" => Maker::Google,
        _ => return None,
    };
    match kind {
        "s" | "r" => Some(Signature::Seal(Seal { maker, data: data.to_owned(), redacted: kind == "r" })),
        "p" => Some(Signature::Carried(carry::unpack(data).1)),
        _ => None,
    }
}

/// The bytes of base64 in either alphabet, padded or not: Google's clients differ in both.
pub(super) fn decode(base64: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    ENGINE.decode(standard(base64).as_bytes()).ok()
}

/// Base64 in the standard alphabet, padded: as it is if it is that already.
pub(super) fn standard(base64: &str) -> Cow<'_, str> {
    let urlsafe = memchr::memchr2(b'-', b'_', base64.as_bytes()).is_some();
    let missing = base64.len().wrapping_neg() % 4;
    if !urlsafe && missing == 0 {
        return Cow::Borrowed(base64);
    }
    let mut text = base64.replace('-', "+").replace('_', "/");
    text.extend(std::iter::repeat_n('=', missing));
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::request::Thinking;

    fn seal(maker: Maker, data: &str, redacted: bool) -> Seal {
        Seal { maker, data: data.to_owned(), redacted }
    }

    #[test]
    fn foreign_seals_come_back_in_either_alphabet() {
        for sealed in [seal(Maker::Anthropic, "EqQB+/~~==", false), seal(Maker::OpenAi, "gAAA", true)] {
            let signature = written(&sealed).into_owned();
            let urlsafe = signature.replace('+', "-").replace('/', "_");
            for echoed in [signature.as_str(), &urlsafe, urlsafe.trim_end_matches('=')] {
                assert_eq!(read(echoed), Signature::Seal(sealed.clone()), "{echoed}");
            }
        }
    }

    #[test]
    fn googles_own_stays_as_it_came() {
        let own = seal(Maker::Google, "CiQB_-8", false);
        assert_eq!(written(&own), "CiQB_-8");
        assert_eq!(read("CiQB_-8"), Signature::Seal(own));
        assert_eq!(read("not base64!"), Signature::Seal(seal(Maker::Google, "not base64!", false)));
    }

    #[test]
    fn the_skip_word_is_no_seal() {
        assert_eq!(STANDARD.encode(SKIP_PLAIN), SKIP);
        for word in ["", SKIP, SKIP.trim_end_matches('='), SKIP_PLAIN] {
            assert_eq!(read(word), Signature::None, "{word}");
        }
    }

    #[test]
    fn what_a_call_carries_comes_back() {
        let thinking = vec![Thinking { text: "Hm.".into(), seal: Some(seal(Maker::Anthropic, "Eq", false)) }];
        let carried = Carried { thinking, seal: None };
        let signature = on_call(&carried).expect("something to carry");
        assert_eq!(read(&signature), Signature::Carried(carried.clone()));
        assert_eq!(on_call(&Carried::default()), None);
        let own = Carried { seal: Some(seal(Maker::Google, "CiQB", false)), ..carried };
        assert_eq!(on_call(&own).as_deref(), Some("CiQB"));
    }

    #[test]
    fn base64_becomes_standard() {
        assert_eq!(standard("_-8"), "/+8=");
        assert!(matches!(standard("AAAA"), Cow::Borrowed("AAAA")));
        assert_eq!(decode("_-8"), Some(vec![0xff, 0xef]));
    }
}
