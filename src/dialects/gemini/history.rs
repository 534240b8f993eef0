//! Whether a history that would pass as it is holds calls without the signature that newer models demand back.
//!
//! Calls that another maker's model made have none, and a client of this dialect cannot tell. A look that costs one search for requests
//! without calls.

use super::generation::Generation;
use crate::json::scan::{self, Names};
use crate::json::{Kind, Span};
use memchr::memmem;

static CONTENTS: Names = Names::new(&["contents"]);
static PARTS: Names = Names::new(&["parts"]);
static PART: Names = Names::new(&["functionCall", "function_call", "thoughtSignature", "thought_signature"]);

/// Whether the model wants signatures and some model turn begins its calls with one that is not signed. Only the first call of a turn has to be
/// (<https://ai.google.dev/gemini-api/docs/thought-signatures>, read 2026-11-23).
pub fn has_unsealed_calls(body: &[u8], model: &str) -> bool {
    if Generation::of(model) != Generation::ThreeOn {
        return false;
    }
    let names = [&b"\"functionCall\""[..], b"\"function_call\""];
    if names.iter().all(|name| memmem::find(body, name).is_none()) {
        return false;
    }
    let mut found = [None];
    let Ok(_) = scan::members(body, &CONTENTS, &mut found) else { return false };
    let Some(contents) = found[0].filter(|member| member.kind == Kind::Array) else { return false };
    objects(body, contents.value).any(|turn| begins_unsealed(body, turn))
}

fn begins_unsealed(body: &[u8], turn: Span) -> bool {
    let mut found = [None];
    if scan::members_at(body, turn, &PARTS, &mut found).is_err() {
        return false;
    }
    let Some(parts) = found[0].filter(|member| member.kind == Kind::Array) else { return false };
    let first = objects(body, parts.value).find_map(|part| {
        let mut found = [None; 4];
        scan::members_at(body, part, &PART, &mut found).ok()?;
        let [call, snake_call, seal, snake_seal] = found;
        call.or(snake_call).map(|_| seal.or(snake_seal).is_some())
    });
    first == Some(false)
}

fn objects(body: &[u8], array: Span) -> impl Iterator<Item = Span> {
    let values = scan::elements(body, array).filter_map(Result::ok);
    values.filter(|element| element.kind == Kind::Object).map(|element| element.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_call_of_a_turn_must_be_signed() {
        let history = |parts: &str| {
            format!(r#"{{"contents":[{{"parts":[{{"text":"x"}}]}},{{"role":"model","parts":[{parts}]}}]}}"#)
        };
        let (call, signed) =
            (r#"{"functionCall":{"name":"f"}}"#, r#"{"functionCall":{"name":"f"},"thoughtSignature":"Ci"}"#);
        for (parts, expected) in [
            (call.to_owned(), true),
            (signed.to_owned(), false),
            (format!("{signed},{call}"), false),
            (format!(r#"{{"text":"y"}},{call},{signed}"#), true),
            (r#"{"function_call":{"name":"f"},"thought_signature":"Ci"}"#.to_owned(), false),
            (r#"{"text":"\"functionCall\""}"#.to_owned(), false),
        ] {
            assert_eq!(has_unsealed_calls(history(&parts).as_bytes(), "gemini-3.1-pro"), expected, "{parts}");
        }
        assert!(!has_unsealed_calls(history(call).as_bytes(), "gemini-2.5-pro"));
        for body in ["", "{}", r#"{"contents":"functionCall"}"#, r#"{"contents":[{"parts":["functionCall"]}]}"#] {
            assert!(!has_unsealed_calls(body.as_bytes(), "gemini-3.1-pro"), "{body}");
        }
    }
}
