//! What rules for `auto` look at, read from a request of any dialect: the last thing that a user said; and which rule that leads to.
//!
//! The text is cut to its two ends, unescaped for this one decision, and dropped with it (rule R1).

use super::ask::Ask;
use super::surface::Task;
use crate::json::walk::Walk;
use crate::json::{Kind, Span, text};
use crate::limits;
use crate::routing::need::Need;
use crate::routing::resolve::AUTO;
use crate::routing::semantic::{self, Features, Match};
use crate::snapshot::{AccessKey, Snapshot};

/// The rule that decides what a request is asked of, if it is to be asked by rule at all.
///
/// `auto` is, unless the request turns that off; any other name only if the request wishes it, and then only for a model that the access
/// key may ask for: who may use a cheap model must not talk itself into another one.
pub fn chosen(snapshot: &Snapshot, key: &AccessKey, ask: &Ask, body: &[u8], need: &Need) -> Option<Match> {
    let rules = &snapshot.settings.routing.rules;
    let is_auto = *ask.model_name == *AUTO;
    let applies = !rules.is_empty()
        && matches!(ask.task, Task::Generate | Task::CountTokens)
        && ask.wishes.semantic.unwrap_or(is_auto);
    if !applies {
        return None;
    }
    let text = last_words(ask, body);
    let found = semantic::choose(rules, &Features { text: &text, input_tokens: need.input_tokens, tools: need.tools })?;
    let allowed = is_auto || key.models.is_empty() || key.models.iter().any(|pattern| pattern.matches(&found.model));
    allowed.then_some(found)
}

/// What the user said last; empty where there is no text.
pub fn last_words(ask: &Ask, body: &[u8]) -> String {
    let Some(object) = ask.object.filter(|_| body.len() <= limits::NEED_BYTES_MAX) else { return String::new() };
    let (mut said, mut turn) = (Vec::new(), Vec::new());
    Walk::new(body, object.span.start).members(|walk, key| match (key, walk.kind()) {
        (b"messages" | b"contents" | b"input", Some(Kind::Array)) => walk.elements(|walk| {
            turn.clear();
            let is_user = user_turn(body, walk, &mut turn);
            if is_user && !turn.is_empty() {
                std::mem::swap(&mut said, &mut turn);
            }
        }),
        (b"input", Some(Kind::String)) => said = vec![walk.skip()],
        _ => {}
    });
    ends(body, &said)
}

/// Notes where the texts of a turn are; whether it is the user's. A turn without a role is, as Gemini has it.
fn user_turn(body: &[u8], walk: &mut Walk<'_>, texts: &mut Vec<Span>) -> bool {
    let mut is_user = true;
    walk.members(|walk, key| match (key, walk.kind()) {
        (b"role", _) => is_user = walk.skip().of(body) == b"\"user\"",
        (b"content", Some(Kind::String)) => texts.push(walk.skip()),
        (b"content" | b"parts", Some(Kind::Array)) => walk.elements(|walk| {
            walk.members(|walk, key| {
                if key == b"text" && walk.kind() == Some(Kind::String) {
                    texts.push(walk.skip());
                }
            });
        }),
        _ => {}
    });
    is_user
}

/// The texts as one, unescaped; of a long one the beginning and the end, where what is wanted usually stands.
fn ends(body: &[u8], texts: &[Span]) -> String {
    const HALF: usize = limits::SEMANTIC_TEXT_BYTES_MAX / 2;
    let mut whole = Vec::new();
    for span in texts {
        if !whole.is_empty() {
            whole.push(b'\n');
        }
        text::unescape(body, *span, &mut whole);
    }
    let whole = String::from_utf8(whole).unwrap_or_default();
    if whole.len() <= 2 * HALF {
        return whole;
    }
    let border = |at: &usize| whole.is_char_boundary(*at);
    let head = (0..=HALF).rev().find(border).unwrap_or(0);
    let tail = (whole.len() - HALF..=whole.len()).find(border).unwrap_or(whole.len());
    format!("{}\n{}", &whole[..head], &whole[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_plane::surface::Asked;
    use crate::dialects::Wire;
    use crate::http::head::RequestHead;
    use serde_json::{Value, json};

    fn said(wire: Wire, mut body: Value) -> String {
        body["model"] = json!("auto");
        let text = body.to_string();
        let model = (wire == Wire::Gemini).then(|| "auto".to_owned());
        let asked = Asked { wire, task: Task::Generate, model, delivery: None };
        let Ok(ask) = Ask::read(text.as_bytes(), &RequestHead::default(), b"", &asked) else { panic!("{text}") };
        last_words(&ask, text.as_bytes())
    }

    #[test]
    fn the_last_thing_a_user_said_is_found_in_every_dialect() {
        let parts = json!([{"type": "text", "text": "last"}, {"type": "image_url", "image_url": {"url": "u"}}]);
        let chat = json!([
            {"role": "system", "content": "s"}, {"role": "user", "content": "first"},
            {"role": "assistant", "content": "a"}, {"content": parts, "role": "user"}, {"role": "assistant", "content": "b"},
        ]);
        assert_eq!(said(Wire::Chat, json!({ "messages": chat })), "last");
        assert_eq!(said(Wire::Responses, json!({"input": "plain \u{e9}\n"})), "plain \u{e9}\n");
        let items = json!([
            {"role": "user", "content": [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "output": "data"},
        ]);
        assert_eq!(said(Wire::Responses, json!({ "input": items })), "one\ntwo");
        let result = json!([{"type": "tool_result", "content": [{"type": "text", "text": "found"}]}]);
        let talk = json!([{"role": "user", "content": "why?"}, {"role": "assistant", "content": "x"}, {"role": "user", "content": result}]);
        assert_eq!(said(Wire::Messages, json!({ "messages": talk })), "why?", "what a tool found, nobody said");
        let contents = json!([{"parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "no"}]}]);
        assert_eq!(said(Wire::Gemini, json!({ "contents": contents })), "hi");
        assert_eq!(said(Wire::Chat, json!({"messages": []})), "");
        assert_eq!(said(Wire::Chat, json!({"messages": [1, null, [], {"role": "user", "content": null}]})), "");
    }

    #[test]
    fn of_a_long_text_both_ends_are_looked_at() {
        let long = format!("begin {} end", "ä".repeat(5_000));
        let seen = said(Wire::Chat, json!({"messages": [{"role": "user", "content": long}]}));
        assert!(seen.starts_with("begin ä") && seen.ends_with("ä end"));
        assert!(seen.len() <= limits::SEMANTIC_TEXT_BYTES_MAX + 1);
    }
}
