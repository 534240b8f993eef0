//! Whatever deltas come, in whatever order: the events of a stream keep the rules that clients build their state on.

use super::CLIENT;
use super::dump::delta_of;
use super::golden_tests::{events, setting};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const REQUEST: &[u8] = br#"{"model":"m","input":"x","tools":[{"type":"custom","name":"patch"}]}"#;

fn any_delta() -> impl Strategy<Value = Value> {
    let index = 0..3u32;
    let words = "[a-z\"\\\\\n é]{0,4}";
    prop_oneof![
        3 => words.prop_map(|text| json!({"text": text})),
        1 => words.prop_map(|text| json!({"refusal": text})),
        2 => words.prop_map(|text| json!({"thinking": text})),
        1 => Just(json!({"seal": {"maker": "anthropic", "data": "s"}})),
        2 => (index.clone(), any::<bool>()).prop_map(|(index, patch)| {
            let name = if patch { "patch" } else { "look" };
            json!({"tool_start": {"index": index, "id": format!("call_{index}"), "name": name}})
        }),
        3 => (index.clone(), words).prop_map(|(index, json)| json!({"tool_input": {"index": index, "json": json}})),
        2 => index.prop_map(|index| json!({"tool_end": index})),
        1 => Just(json!({"image": {"media_type": "image/png", "data": "AA=="}})),
        1 => Just(json!({"annotation": {"type": "file_path", "file_id": "f", "index": 0}})),
        1 => Just(json!({"logprobs": {"content": [{"token": "a", "logprob": -1.5, "top_logprobs": []}]}})),
        1 => prop_oneof![Just("stop"), Just("length"), Just("tool_calls")].prop_map(|word| json!({"finish": word})),
    ]
}

/// A client's state: what each open item was given in deltas.
#[derive(Default)]
struct Client {
    open: BTreeMap<u64, (Value, String)>,
    done: BTreeMap<u64, Value>,
}

impl Client {
    fn take(&mut self, event: &Value) {
        let kind = event["type"].as_str().expect("a type");
        let Some(output) = event["output_index"].as_u64() else { return };
        match kind {
            "response.output_item.added" => {
                let next = self.open.len() + self.done.len();
                assert_eq!(usize::try_from(output).ok(), Some(next), "items count up in order of appearance");
                self.open.insert(output, (event["item"]["id"].clone(), String::new()));
            }
            "response.output_item.done" => {
                let (id, given) = self.open.remove(&output).expect("it was added");
                assert_eq!(event["item"]["id"], id);
                assert_eq!(text_of(&event["item"]), given, "what is done is what was given");
                self.done.insert(output, event["item"].clone());
            }
            _ => {
                let (id, given) = self.open.get_mut(&output).expect("it is open");
                assert_eq!(event["item_id"], *id);
                if kind.ends_with(".delta") {
                    given.push_str(event["delta"].as_str().expect("a text"));
                }
            }
        }
    }
}

/// All generated text of an item, in order.
fn text_of(item: &Value) -> String {
    let list = |name: &str| item[name].as_array().cloned().unwrap_or_default();
    let parts = list("content").into_iter().chain(list("summary"));
    let texts = parts.map(|part| part["text"].as_str().or(part["refusal"].as_str()).unwrap_or_default().to_owned());
    let input = item["arguments"].as_str().or(item["input"].as_str()).unwrap_or_default();
    texts.collect::<String>() + input
}

proptest! {
    #[test]
    fn clients_can_follow_every_stream(deltas in proptest::collection::vec(any_delta(), 0..30)) {
        let mut writer = (CLIENT.stream_writer)(&setting(REQUEST));
        let mut out = Vec::new();
        for delta in &deltas {
            writer.write(&delta_of(delta), &mut out);
        }
        writer.finish(None, None, &mut out);
        let events = events(&out);
        let mut client = Client::default();
        events.iter().for_each(|event| client.take(event));
        prop_assert!(client.open.is_empty(), "every item is completed");
        let last = events.last().expect("there is always an end");
        prop_assert!(["response.completed", "response.incomplete"].contains(&last["type"].as_str().expect("a type")));
        let items: Vec<&Value> = client.done.values().collect();
        prop_assert_eq!(json!(items), last["response"]["output"].clone());
    }
}
