//! Sealed thinking that must survive clients without a place for it: carried inside the id of the tool call that follows.
//!
//! A client of the Chat Completions dialect knows ids of tool calls and echoes them with the results; most drop every member they do not
//! know, and with it the seals that Anthropic and Google demand back before the next turn of a tool loop. So the id that the client sees is
//! the provider's own id, a mark, and the thinking in base64url; [`unpack`] takes it apart again when the history comes back. Nothing is
//! stored, so it works across cores, restarts and machines. A forged one is refused by the maker whose seal it breaks, not by us.
//!
//! Shape: `<id>-igc1-<base64url of a JSON array>`; each entry is `[maker, kind, text, data]`. Letters, digits, `-` and `_` only, beyond
//! what the provider's own id has.

use super::request::{Maker, Seal, Thinking};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;

/// What is carried with one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Thinking that came right before the call, in order. Only sealed thoughts are worth carrying.
    pub thinking: Vec<Thinking>,
    /// The seal on the call itself.
    pub seal: Option<Seal>,
}

impl Carried {
    /// Whether there is nothing to carry.
    pub fn is_empty(&self) -> bool {
        self.thinking.is_empty() && self.seal.is_none()
    }
}

const MARK: &str = "-igc1-";
/// What an entry is.
const SEALED: u8 = 0;
const REDACTED: u8 = 1;
const ON_CALL: u8 = 2;

/// The id that the client sees; the provider's own if there is nothing to carry.
pub fn pack<'i>(id: &'i str, carried: &Carried) -> Cow<'i, str> {
    let sealed = |thinking: &Thinking| {
        let seal = thinking.seal.as_ref()?;
        let kind = if seal.redacted { REDACTED } else { SEALED };
        Some((maker_letter(seal.maker), kind, thinking.text.clone(), seal.data.clone()))
    };
    let mut entries: Vec<(char, u8, String, String)> = carried.thinking.iter().filter_map(sealed).collect();
    if let Some(seal) = &carried.seal {
        entries.push((maker_letter(seal.maker), ON_CALL, String::new(), seal.data.clone()));
    }
    if entries.is_empty() {
        return Cow::Borrowed(id);
    }
    // Strings and small numbers: this cannot fail, and if it did the bare id would still be right.
    let Ok(json) = serde_json::to_vec(&entries) else { return Cow::Borrowed(id) };
    Cow::Owned(format!("{id}{MARK}{}", URL_SAFE_NO_PAD.encode(json)))
}

/// The provider's own id and what was carried with it. An id that is not of ours comes back as it is.
pub fn unpack(id: &str) -> (&str, Carried) {
    let plain = (id, Carried::default());
    let Some((own, packed)) = id.rsplit_once(MARK) else { return plain };
    let Ok(json) = URL_SAFE_NO_PAD.decode(packed) else { return plain };
    let Ok(entries) = serde_json::from_slice::<Vec<(char, u8, String, String)>>(&json) else { return plain };
    let mut carried = Carried::default();
    for (letter, kind, text, data) in entries {
        let Some(maker) = maker_of(letter) else { return plain };
        match kind {
            SEALED | REDACTED => {
                let seal = Some(Seal { maker, data, redacted: kind == REDACTED });
                carried.thinking.push(Thinking { text, seal });
            }
            ON_CALL => carried.seal = Some(Seal { maker, data, redacted: false }),
            _ => return plain,
        }
    }
    (own, carried)
}

/// An id made of letters, digits, `_` and `-` only, at most 64 of them, as Anthropic demands: itself if it is one, else a digest of it. The
/// same id always gives the same one, so calls and results stay joined.
pub fn conform(id: &str) -> Cow<'_, str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !id.is_empty() && id.len() <= 64 && id.bytes().all(fits) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(format!("call_{}", digest(id, 16)))
}

/// An id of exactly nine letters and digits, as several of Mistral's models demand: itself if it is one, else a digest of it.
pub fn conform_nine(id: &str) -> Cow<'_, str> {
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(digest(id, 9))
}

/// So many letters and digits that depend on the whole id. Not for secrets: two rounds of FNV-1a with different starts.
fn digest(id: &str, letters: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash =
        |start: u64| id.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut left = (u128::from(hash(0xcbf2_9ce4_8422_2325)) << 64) | u128::from(hash(0x6c62_272e_07bb_0142));
    let mut out = String::with_capacity(letters);
    for _ in 0..letters {
        let place = usize::try_from(left % 62).unwrap_or(0);
        out.push(char::from(ALPHABET.get(place).copied().unwrap_or(b'0')));
        left /= 62;
    }
    out
}

const fn maker_letter(maker: Maker) -> char {
    match maker {
        Maker::OpenAi => 'o',
        Maker::Anthropic => 'a',
        Maker::Google => 'g',
    }
}

const fn maker_of(letter: char) -> Option<Maker> {
    match letter {
        'o' => Some(Maker::OpenAi),
        'a' => Some(Maker::Anthropic),
        'g' => Some(Maker::Google),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(maker: Maker, data: &str, redacted: bool) -> Seal {
        Seal { maker, data: data.to_owned(), redacted }
    }

    #[test]
    fn what_is_packed_comes_back() {
        let carried = Carried {
            thinking: vec![
                Thinking { text: "Hm, 5 °C.".into(), seal: Some(seal(Maker::Anthropic, "EqQB+/==", false)) },
                Thinking { text: String::new(), seal: Some(seal(Maker::Anthropic, "opaque", true)) },
            ],
            seal: Some(seal(Maker::Google, "CiQB", false)),
        };
        let id = pack("toolu_01-A", &carried);
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')), "{id}");
        assert_eq!(unpack(&id), ("toolu_01-A", carried));
    }

    #[test]
    fn unsealed_thinking_is_not_worth_an_id() {
        let carried = Carried { thinking: vec![Thinking { text: "words".into(), seal: None }], seal: None };
        assert_eq!(pack("call_1", &carried), "call_1");
    }

    #[test]
    fn ids_that_are_not_ours_stay_as_they_are() {
        for id in ["", "call_1", "a-igc1-", "a-igc1-!!", "a-igc1-e30", "a-igc1-W1sieCIsMCwiIiwiIl1d"] {
            assert_eq!(unpack(id), (id, Carried::default()), "{id}");
        }
    }

    #[test]
    fn ids_conform_and_stay_distinct() {
        assert_eq!(conform("toolu_01-A"), "toolu_01-A");
        assert_ne!(conform("functions.a:0"), conform("functions.a:1"));
        assert_eq!(conform("functions.a:0"), conform("functions.a:0"));
        assert_eq!(conform_nine("abcDEF123"), "abcDEF123");
        assert_eq!(conform_nine("call_1").len(), 9);
    }

    proptest! {
        #[test]
        fn no_id_breaks_the_reader(id in "\\PC{0,80}|[a-zA-Z0-9_-]{0,20}-igc1-[a-zA-Z0-9_-]{0,60}") {
            let (own, _) = unpack(&id);
            prop_assert!(id.starts_with(own));
            prop_assert!(conform(&id).len() <= 64);
            prop_assert_eq!(conform_nine(&id).len(), 9);
        }
    }
}
