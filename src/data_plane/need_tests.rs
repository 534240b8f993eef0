//! The needs of requests in every dialect, and the beginnings that they share.

use super::*;
use crate::data_plane::surface::Asked;
use crate::dialects::Wire;
use crate::http::head::RequestHead;
use serde_json::{Value, json};

fn ask_for(task: Task, wire: Wire, body: &str) -> Ask {
    let model = (wire == Wire::Gemini).then(|| "m".to_owned());
    Ask::read(body.as_bytes(), &RequestHead::default(), b"", &Asked { wire, task, model, delivery: None })
        .unwrap_or_else(|_| panic!("a usable body: {body}"))
}

fn need_of(wire: Wire, body: &Value) -> Need {
    let text = body.to_string();
    read(&ask_for(Task::Generate, wire, &text), text.as_bytes())
}

fn chat(extra: Value) -> Need {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    need_of(Wire::Chat, &body)
}

/// Tools, pictures, documents, sound, schema.
fn flags(need: &Need) -> [bool; 5] {
    [need.tools, need.vision, need.pdf, need.audio, need.json_schema]
}

const NOTHING: [bool; 5] = [false; 5];
const TOOLS: [bool; 5] = [true, false, false, false, false];
const VISION: [bool; 5] = [false, true, false, false, false];
const PDF: [bool; 5] = [false, false, true, false, false];
const AUDIO: [bool; 5] = [false, false, false, true, false];
const SCHEMA: [bool; 5] = [false, false, false, false, true];

#[test]
fn chat_says_what_it_needs() {
    assert_eq!(flags(&chat(json!({}))), NOTHING);
    assert_eq!(flags(&chat(json!({"tools": [{"type": "function"}]}))), TOOLS);
    assert_eq!(flags(&chat(json!({"functions": [{"name": "f"}]}))), TOOLS);
    assert_eq!(flags(&chat(json!({"tools": [], "functions": null}))), NOTHING);
    assert_eq!(flags(&chat(json!({"response_format": {"type": "json_schema", "json_schema": {}}}))), SCHEMA);
    assert_eq!(flags(&chat(json!({"response_format": {"type": "json_object"}}))), NOTHING);
    let with = |part: Value| {
        let content = json!([{"type": "text", "text": "look"}, part]);
        flags(&chat(json!({"messages": [{"role": "user", "content": content}]})))
    };
    assert_eq!(with(json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})), VISION);
    assert_eq!(with(json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})), AUDIO);
    let file = |name: &str, kind: &str| {
        let data = format!("data:{kind};base64,AAAA");
        with(json!({"type": "file", "file": {"filename": name, "file_data": data}}))
    };
    assert_eq!(file("a.pdf", "application/pdf"), PDF);
    assert_eq!(file("a.txt", "text/plain"), NOTHING);
    assert_eq!(with(json!({"type": "text", "text": "image_url"})), NOTHING, "words are no pictures");
}

#[test]
fn responses_say_what_they_need() {
    let with = |extra: Value| {
        let mut body = json!({"model": "m", "input": "Hi"});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        need_of(Wire::Responses, &body)
    };
    assert_eq!(flags(&with(json!({}))), NOTHING);
    assert_eq!(flags(&with(json!({"tools": [{"type": "web_search"}]}))), TOOLS);
    assert_eq!(flags(&with(json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}}))), SCHEMA);
    assert_eq!(flags(&with(json!({"text": {"format": {"type": "text"}}}))), NOTHING);
    let item = |part: Value| flags(&with(json!({"input": [{"type": "message", "role": "user", "content": [part]}]})));
    assert_eq!(item(json!({"type": "input_image", "image_url": "https://a.example/x.png"})), VISION);
    assert_eq!(item(json!({"type": "input_file", "file_url": "https://a.example/x.pdf"})), PDF);
    assert_eq!(item(json!({"type": "input_file", "filename": "x.pdf", "file_data": "AAAA"})), PDF);
    let shown = json!([{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": "u"}]}]);
    assert_eq!(flags(&with(json!({"input": shown}))), VISION, "a tool may show pictures");
    assert_eq!(with(json!({"max_output_tokens": 77})).output_tokens_max, Some(77));
}

#[test]
fn messages_say_what_they_need() {
    let with = |part: Value, extra: Value| {
        let mut body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [part]}]});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        need_of(Wire::Messages, &body)
    };
    let text = || json!({"type": "text", "text": "Hi"});
    assert_eq!(flags(&with(text(), json!({}))), NOTHING);
    assert_eq!(with(text(), json!({})).output_tokens_max, Some(9));
    assert_eq!(flags(&with(text(), json!({"tools": [{"name": "f", "input_schema": {}}]}))), TOOLS);
    let format = json!({"type": "json_schema", "schema": {}});
    assert_eq!(flags(&with(text(), json!({"output_config": {"effort": "low", "format": format.clone()}}))), SCHEMA);
    assert_eq!(flags(&with(text(), json!({"output_format": format}))), SCHEMA);
    let source = |kind: &str| json!({"type": "base64", "media_type": kind, "data": "AAAA"});
    assert_eq!(flags(&with(json!({"type": "image", "source": source("image/png")}), json!({}))), VISION);
    assert_eq!(flags(&with(json!({"type": "document", "source": source("application/pdf")}), json!({}))), PDF);
    let plain = json!({"type": "text", "media_type": "text/plain", "data": "words"});
    assert_eq!(flags(&with(json!({"source": plain, "type": "document"}), json!({}))), NOTHING, "a document of words");
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source("image/png")}]});
    assert_eq!(flags(&with(result, json!({}))), VISION, "a tool may show pictures");
}

#[test]
fn gemini_says_what_it_needs() {
    let with = |part: Value, extra: Value| {
        let mut body = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}, part]}]});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        need_of(Wire::Gemini, &body)
    };
    let text = || json!({"text": "Hi"});
    assert_eq!(flags(&with(text(), json!({}))), NOTHING);
    assert_eq!(flags(&with(text(), json!({"tools": [{"functionDeclarations": [{"name": "f"}]}]}))), TOOLS);
    for key in ["responseSchema", "responseJsonSchema", "response_json_schema"] {
        assert_eq!(flags(&with(text(), json!({"generationConfig": {key: {"type": "OBJECT"}}}))), SCHEMA, "{key}");
    }
    let limited =
        with(text(), json!({"generation_config": {"max_output_tokens": 5, "responseMimeType": "text/plain"}}));
    assert_eq!((limited.output_tokens_max, flags(&limited)), (Some(5), NOTHING));
    let inline = |kind: &str| json!({"inlineData": {"mimeType": kind, "data": "AAAA"}});
    assert_eq!(flags(&with(inline("image/webp"), json!({}))), VISION);
    assert_eq!(flags(&with(inline("application/pdf"), json!({}))), PDF);
    assert_eq!(flags(&with(inline("audio/mp3"), json!({}))), AUDIO);
    assert_eq!(flags(&with(json!({"inline_data": {"mime_type": "image/png", "data": "AA"}}), json!({}))), VISION);
    assert_eq!(flags(&with(json!({"file_data": {"mime_type": "image/png", "file_uri": "u"}}), json!({}))), VISION);
}

#[test]
fn tokens_are_those_of_the_words_not_of_the_bytes() {
    let words = "word ".repeat(800);
    let tokens = |need: &Need| need.input_tokens;
    let plain = tokens(&chat(json!({"messages": [{"role": "user", "content": words}]})));
    assert!((1_000..1_030).contains(&plain), "{plain}");
    let picture = format!("data:image/png;base64,{}", "A".repeat(4_000_000));
    let content = json!([{"type": "text", "text": words}, {"type": "image_url", "image_url": {"url": picture}}]);
    let shown = tokens(&chat(json!({"messages": [{"role": "user", "content": content}]})));
    assert!((plain + MEDIA_TOKENS..plain + MEDIA_TOKENS + 50).contains(&shown), "{shown}");
    // A client that escapes everything above ASCII asks for no more than one that does not.
    let cyrillic = "слово ".repeat(400);
    let raw = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{cyrillic}"}}]}}"#);
    let escaped: String = cyrillic
        .chars()
        .map(|letter| if letter.is_ascii() { letter.to_string() } else { format!("\\u{:04x}", letter as u32) })
        .collect();
    let escaped = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{escaped}"}}]}}"#);
    let of = |text: &str| read(&ask_for(Task::Generate, Wire::Chat, text), text.as_bytes()).input_tokens;
    assert_eq!(of(&raw), of(&escaped));
    let schema = "s".repeat(4_000);
    let with_tools = tokens(&chat(json!({"tools": [{"description": schema}]})));
    assert!((1_000..1_040).contains(&with_tools), "tools are read, too: {with_tools}");
    assert!(tokens(&chat(json!({"metadata": {"x": schema}}))) < 20, "nobody shows this to the model");
}

#[test]
fn other_tasks_are_only_sized() {
    let body = r#"{"model":"m","input":["some words to make vectors of"],"tools":[1]}"#;
    let need = read(&ask_for(Task::Embeddings, Wire::Chat, body), body.as_bytes());
    assert_eq!(need, Need { input_tokens: tap::estimate_tokens(body.len()), ..Need::default() });
    let picture = r#"{"model":"m","prompt":"x","image":"AAAAAAAAAAAAAAAAAAAAAA"}"#;
    assert_eq!(read(&ask_for(Task::Images("edits"), Wire::Chat, picture), picture.as_bytes()), Need::default());
    let mut form = ask_for(Task::Generate, Wire::Chat, r#"{"model":"m","messages":[]}"#);
    form.object = None;
    assert_eq!(read(&form, b"--boundary"), Need::default());
}

// === Beginnings ===

fn long(tokens: usize) -> String {
    "abcd".repeat(tokens)
}

fn turns(first: &str, later: usize) -> Vec<Value> {
    let mut turns = vec![json!({"role": "user", "content": first})];
    for turn in 0..later {
        turns.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
        turns.push(json!({"role": "user", "content": format!("question {turn}")}));
    }
    turns
}

fn talk(system: &str, turns: Vec<Value>) -> Need {
    let mut messages = vec![json!({"role": "system", "content": system})];
    messages.extend(turns);
    chat(json!({ "messages": messages }))
}

#[test]
fn a_short_beginning_is_not_cached() {
    assert_eq!(chat(json!({})).prefix, None);
    assert_eq!(talk(&long(600), turns(&long(300), 0)).prefix, None);
    assert_eq!(chat(json!({"messages": []})).prefix, None);
}

#[test]
fn requests_with_one_long_system_prompt_share_it() {
    let one = talk(&long(1_100), turns("What is a cat?", 0));
    let other = talk(&long(1_100), turns("What is a dog, and why does it bark?", 3));
    assert!(one.prefix.is_some());
    assert_eq!(one.prefix, other.prefix);
    assert!((1_100..1_120).contains(&one.prefix_tokens), "{}", one.prefix_tokens);
    assert_ne!(one.prefix, talk(&long(1_101), turns("What is a cat?", 0)).prefix);
    let tools = |tools: Value| chat(json!({ "tools": tools })).prefix;
    let (ab, ba) = (tools(json!([{"d": long(1_100)}, {"n": "b"}])), tools(json!([{"n": "b"}, {"d": long(1_100)}])));
    assert!(ab.is_some() && ab != ba, "tools are part of it, in their order");
}

#[test]
fn a_conversation_keeps_its_beginning() {
    for (system, first) in [(long(300), long(900)), (String::new(), long(2_000)), (long(1_020), long(50))] {
        let one = talk(&system, turns(&first, 0));
        assert!(one.prefix.is_some(), "{} {}", system.len(), first.len());
        for later in 1..4 {
            let next = talk(&system, turns(&first, later));
            assert_eq!(next.prefix, one.prefix, "{later}");
        }
    }
    let (one, other) =
        (talk("x", turns(&format!("a{}", long(2_000)), 0)), talk("x", turns(&format!("b{}", long(2_000)), 0)));
    assert_ne!(one.prefix, other.prefix, "another conversation");
    // One that grows long enough later has its beginning from then on.
    let grown = |turns_more| talk("x", turns(&long(900), turns_more)).prefix;
    assert_eq!(grown(1), None);
    assert!(grown(60).is_some());
    assert_eq!(grown(60), grown(61));
}

#[test]
fn a_later_turn_spares_what_was_sent_before() {
    let first = talk("x", turns(&long(3_000), 0));
    assert!((1_024..1_040).contains(&first.prefix_tokens), "the beginning alone: {}", first.prefix_tokens);
    let later = talk("x", turns(&long(3_000), 1));
    assert!((3_000..3_050).contains(&later.prefix_tokens), "{}", later.prefix_tokens);
    assert!(later.prefix_tokens <= later.input_tokens);
}

#[test]
fn the_place_of_members_and_the_clients_own_key_count_as_they_should() {
    let prefix = |text: &str| read(&ask_for(Task::Generate, Wire::Chat, text), text.as_bytes()).prefix;
    let (tools, turns) =
        (format!(r#""tools":[{{"d":"{}"}}]"#, long(1_100)), r#""messages":[{"role":"user","content":"Hi"}]"#);
    let before = prefix(&format!(r#"{{"model":"m",{tools},{turns}}}"#));
    assert!(before.is_some());
    assert_eq!(before, prefix(&format!(r#"{{{turns},"model":"other",{tools}}}"#)));
    let keyed = |key: &str| prefix(&format!(r#"{{"model":"m",{tools},{turns},"prompt_cache_key":"{key}"}}"#));
    assert!(keyed("a") != before && keyed("a") == keyed("a") && keyed("a") != keyed("b"));
}

#[test]
fn every_dialect_has_beginnings() {
    let text = long(1_100);
    let responses = json!({"model": "m", "instructions": text, "input": "Hi"});
    let plain = json!({"model": "m", "input": text});
    let messages = json!({"model": "m", "system": [{"type": "text", "text": text}], "messages": [{"role": "user", "content": "Hi"}]});
    let gemini = json!({"systemInstruction": {"parts": [{"text": text}]}, "contents": [{"parts": [{"text": "Hi"}]}]});
    for (wire, body) in
        [(Wire::Responses, responses), (Wire::Responses, plain), (Wire::Messages, messages), (Wire::Gemini, gemini)]
    {
        let need = need_of(wire, &body);
        assert!(need.prefix.is_some() && need.prefix_tokens >= 1_024, "{wire:?} {need:?}");
    }
}
