//! Tables of what each vendor gets, and a slow cleaner over trees that must agree with the splicing one.

use super::*;
use crate::chat::carry::Carried;
use crate::chat::request::{Maker, Seal, Thinking};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The messages as they are sent, and whether anything was edited.
fn cleaned(messages: &str, vendor: &str, model: &str, abilities: &Abilities) -> (String, bool) {
    static NAMES: Names = Names::new(&["messages"]);
    let body = format!("{{\"model\":\"m\",\"messages\":{messages},\"x\":1}}");
    let mut found = [None; 1];
    scan::members(body.as_bytes(), &NAMES, &mut found).expect("an object");
    let mut noted = Edits::new();
    let ways = Ways::of(vendor).for_model(model);
    edits(body.as_bytes(), found[0].expect("messages").value, ways, abilities, &mut noted);
    let mut out = Vec::new();
    noted.write(body.as_bytes(), &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    let inside = out.strip_prefix("{\"model\":\"m\",\"messages\":").and_then(|rest| rest.strip_suffix(",\"x\":1}"));
    (inside.expect("the rest stays").to_owned(), !noted.is_empty())
}

fn packed(id: &str) -> String {
    let seal = Some(Seal { maker: Maker::Anthropic, data: "sig".to_owned(), redacted: false });
    let thinking = vec![Thinking { text: "Hm.".to_owned(), seal }];
    carry::pack(id, &Carried { thinking, seal: None }).into_owned()
}

#[test]
fn each_vendor_gets_what_it_takes() {
    let carried = packed("toolu_1");
    let with_id = |id: &str| {
        format!(
            r#"[{{"role":"assistant","tool_calls":[{{ "x":1, "id":"{id}","function":{{"name":"f"}}}}]}},{{"role":"tool","tool_call_id":"{id}"}}]"#
        )
    };
    let (long, bare) = (with_id(&carried), with_id("toolu_1"));
    let nine = with_id(&carry::conform_nine("toolu_1"));
    let call = r#""tool_calls":[{"id":"a"}]"#;
    let lost = format!(r#"[{{"role":"assistant",{call}}}]"#);
    let lost_null = format!(r#"[{{"role":"assistant","reasoning_content":null,{call} }}]"#);
    let lost_empty = format!(r#"[{{"role":"assistant",{call},"reasoning_content":"" }}]"#);
    let space = format!(r#"[{{"role":"assistant",{call},"reasoning_content":" "}}]"#);
    let space_first = format!(r#"[{{"role":"assistant","reasoning_content":" ",{call} }}]"#);
    let space_last = format!(r#"[{{"role":"assistant",{call},"reasoning_content":" " }}]"#);
    let thought = r#"[{"role":"assistant","reasoning_content":"Hm.","content":"x", "reasoning_details":[{"a":[1.0]}]},{"role":"user","content":"y"}]"#;
    let rows: &[(&str, &str, &str, &str)] = &[
        ("openai", "gpt-5.6", &long, &bare),
        ("openai", "gpt-5.6", thought, r#"[{"role":"assistant","content":"x"},{"role":"user","content":"y"}]"#),
        ("groq", "llama", thought, r#"[{"role":"assistant","content":"x"},{"role":"user","content":"y"}]"#),
        ("qwen", "qwen-max", thought, thought),
        ("mistral", "mistral-small", &long, &nine),
        ("mistral", "mistral-small", &nine, &nine),
        ("openai", "gpt-5.6", r#"[{"role":"developer","content":"x"}]"#, r#"[{"role":"developer","content":"x"}]"#),
        (
            "vllm",
            "any",
            r#"[ {"content":"developer", "role" : "developer"} ]"#,
            r#"[ {"content":"developer", "role" : "system"} ]"#,
        ),
        (
            "vllm",
            "any",
            r#"[{"role":"dev\u0065loper"},{"role":"developer"}]"#,
            r#"[{"role":"system"},{"role":"system"}]"#,
        ),
        ("groq", "llama", r#"[{"role":"user","name":"ada","content":"x"}]"#, r#"[{"role":"user","content":"x"}]"#),
        (
            "mistral",
            "m",
            r#"[{"name":"ada","role":"user"},{"role":"tool","name":"f"}]"#,
            r#"[{"role":"user"},{"role":"tool","name":"f"}]"#,
        ),
        ("deepseek", "deepseek-v4-pro", &lost, &space),
        ("deepseek", "deepseek-v4-pro", &lost_null, &space_first),
        ("kimi", "kimi-k3", &lost_empty, &space_last),
        ("kimi", "moonshot-v1-8k", &lost, &lost),
        (
            "mistral",
            "m",
            r#"[{"role":"user"},{"role":"assistant","content":"It"}]"#,
            r#"[{"role":"user"},{"role":"assistant","content":"It","prefix":true}]"#,
        ),
        ("mistral", "m", r#"[{"role":"assistant","reasoning":"x"}]"#, r#"[{"role":"assistant","prefix":true}]"#),
        (
            "kimi",
            "kimi-k3",
            r#"[{"role":"assistant","content":"It"}]"#,
            r#"[{"role":"assistant","content":"It","partial":true}]"#,
        ),
        ("kimi", "kimi-k3", r#"[{"role":"assistant","partial":false}]"#, r#"[{"role":"assistant","partial":false}]"#),
        ("kimi", "kimi-k3", r#"[{"role":"assistant"},{"role":"user"}]"#, r#"[{"role":"assistant"},{"role":"user"}]"#),
        (
            "mistral",
            "m",
            r#"["developer",{"role":1,"name":"x"},{"role":"user","role":"developer"}, 5]"#,
            r#"["developer",{"role":1},{"role":"user","role":"developer"}, 5]"#,
        ),
    ];
    for (vendor, model, messages, expected) in rows {
        let (sent, edited) = cleaned(messages, vendor, model, &Abilities::default());
        assert_eq!((sent.as_str(), edited), (*expected, messages != expected), "{vendor} {model}");
    }
}

#[test]
fn abilities_say_what_is_needless() {
    let not_thinking = Abilities { reasoning: Some(false), ..Abilities::default() };
    let lost = r#"[{"role":"assistant","tool_calls":[{"id":"a"}]}]"#;
    assert!(!cleaned(lost, "deepseek", "deepseek-flash", &not_thinking).1);
    let no_prefill = Abilities { assistant_prefill: Some(false), ..Abilities::default() };
    assert!(!cleaned(r#"[{"role":"assistant"}]"#, "mistral", "m", &no_prefill).1);
}

#[test]
fn plain_bodies_are_not_even_scanned() {
    let plain = br#"[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]"#;
    for ways in super::super::ways::VENDORS {
        assert!(!concerns(plain, ways), "{}", ways.vendor);
    }
}

// === The slow cleaner ===

fn put_right(value: &mut Value, ways: &Ways) {
    if let Some(shown) = value.as_str() {
        let own = carry::unpack(shown).0;
        let sent = if ways.nine_ids { carry::conform_nine(own).into_owned() } else { own.to_owned() };
        *value = Value::from(sent);
    }
}

fn slowly(message: &mut Map<String, Value>, ways: &Ways, is_last: bool) {
    let Some(role) = message.get("role").cloned() else { return };
    let role = role.as_str().unwrap_or_default();
    if role == "developer" && !ways.developer_role {
        message["role"] = json!("system");
    }
    if let Some(id) = message.get_mut("tool_call_id") {
        put_right(id, ways);
    }
    let mut calls = false;
    for call in message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        calls = true;
        if let Some(id) = call.get_mut("id") {
            put_right(id, ways);
        }
    }
    let keeps_name = match ways.names {
        NamePlaces::Everywhere => true,
        NamePlaces::OnResults => role == "tool",
        NamePlaces::Nowhere => false,
    };
    if !keeps_name {
        message.shift_remove("name");
    }
    if ways.history == History::Refused {
        for name in ["reasoning_content", "reasoning_details", "reasoning"] {
            message.shift_remove(name);
        }
    }
    if ways.history == History::Demanded && role == "assistant" && calls {
        let thought = message.entry("reasoning_content").or_insert(Value::Null);
        if thought.is_null() || thought == "" {
            *thought = json!(" ");
        }
    }
    if let Some(mark) = ways.prefill
        && is_last
        && role == "assistant"
        && !calls
    {
        message.insert(mark.to_owned(), json!(true));
    }
}

fn any_message() -> impl Strategy<Value = Value> {
    let id = prop_oneof![Just("aB3dE6gH9".to_owned()), "[a-z_\"é]{0,12}", "[a-z]{1,4}".prop_map(|id| packed(&id))];
    let role = prop::sample::select(vec!["developer", "system", "user", "assistant", "assistant", "tool"]);
    let thought = prop_oneof![Just(json!(null)), Just(json!("")), Just(json!("Hm.")), Just(json!([{"a": 1}]))];
    let members = prop::collection::vec(
        prop::sample::select(vec![
            "name",
            "tool_calls",
            "tool_call_id",
            "reasoning_content",
            "reasoning_details",
            "reasoning",
            "content",
            "unheard",
        ]),
        0..6,
    );
    (role, members, prop::collection::vec(id, 3), thought, 0usize..7).prop_map(|(role, members, ids, thought, role_at)| {
        let mut message = Map::new();
        for (place, name) in members.into_iter().enumerate() {
            if place == role_at {
                message.insert("role".to_owned(), json!(role));
            }
            let value = match name {
                "tool_calls" => json!([{"id": ids[0], "developer": "\"name\""}, {"function": {"id": "x", "name": "y"}, "id": ids[1]}]),
                "tool_call_id" => json!(ids[2]),
                "name" => json!("ada"),
                "content" | "unheard" => json!([{"role": "developer", "reasoning": 1.0}]),
                _ => thought.clone(),
            };
            message.insert(name.to_owned(), value);
        }
        message.entry("role").or_insert(json!(role));
        Value::Object(message)
    })
}

proptest! {
    #[test]
    fn splicing_does_what_a_tree_would_and_nothing_else(
        messages in prop::collection::vec(any_message(), 0..5),
        vendor in prop::sample::select(super::super::ways::VENDORS.iter().map(|ways| ways.vendor).collect::<Vec<_>>()),
        pretty in any::<bool>(),
    ) {
        let ways = Ways::of(vendor);
        let text = if pretty { serde_json::to_string_pretty(&messages) } else { serde_json::to_string(&messages) }.expect("JSON");
        let (sent, edited) = cleaned(&text, vendor, "", &Abilities::default());
        let mut expected = messages.clone();
        let last = expected.len().saturating_sub(1);
        for (place, message) in expected.iter_mut().enumerate() {
            slowly(message.as_object_mut().expect("an object"), ways, place == last);
        }
        let sent_tree: Vec<Value> = serde_json::from_str(&sent).expect("still JSON");
        prop_assert_eq!(&sent_tree, &expected);
        prop_assert_eq!(edited, sent != text);
        prop_assert_eq!(edited, expected != messages, "no edit without a need");
        prop_assert!(!cleaned(&sent, vendor, "", &Abilities::default()).1, "once is enough");
    }
}
