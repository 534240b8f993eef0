//! Any client speaks to any provider: whole answers, streams, tool loops and failures, through dialects that are not the provider's own.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, Surface, When};
use serde_json::{Value, json};
use support::{ACCESS_KEY, Builder, Gateway, Heard, SOON, Speaker, Wish, bare, named, post_with, provider_key};

/// A provider of each wire format, and a model of it that thinks.
const PROVIDERS: [(&str, Surface, &str); 3] = [
    ("openai", Surface::OpenAi, "gpt-4.1"),
    ("anthropic", Surface::Anthropic, "claude-sonnet-4-6"),
    ("google", Surface::Gemini, "gemini-3.1-pro-preview"),
];

struct House {
    gateway: Gateway,
    simulators: Vec<(&'static str, &'static str, Simulator)>,
}

impl House {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(more: impl FnOnce(Builder) -> Builder) -> Self {
        let mut builder = Gateway::builder();
        let mut simulators = Vec::new();
        for (name, surface, model) in PROVIDERS {
            let simulator = Simulator::builder()
                .dialect(surface)
                .keys([provider_key(name)])
                .models(Vec::<String>::new())
                .keep_bodies()
                .start()
                .expect("a loopback port");
            builder = builder.provider(name, &simulator);
            simulators.push((name, model, simulator));
        }
        Self { gateway: more(builder).start(), simulators }
    }

    /// Every provider with the model's full name.
    fn models(&self) -> impl Iterator<Item = (&'static str, String, &Simulator)> {
        self.simulators.iter().map(|(name, model, simulator)| (*name, format!("{name}/{model}"), simulator))
    }

    fn must_be_clean(&self) {
        for (name, _, simulator) in &self.simulators {
            assert_eq!(simulator.truth().violations(), [], "{name}");
        }
    }
}

fn last_body(simulator: &Simulator) -> Value {
    let record = simulator.truth().last().expect("a request arrived");
    serde_json::from_slice(&record.body.expect("bodies are kept")).expect("what we send is JSON")
}

// ---- Answers and streams ------------------------------------------------------------------------------------------------

#[test]
fn every_client_gets_an_answer_of_every_provider() {
    let house = House::new();
    for speaker in Speaker::ALL {
        for (name, model, simulator) in house.models() {
            let whole = speaker.ask(&house.gateway, &model, &[speaker.user("hello there")], Wish::default());
            let what = format!("{speaker:?} to {name}: {whole:?}");
            assert!(!whole.text.is_empty() && whole.calls.is_empty(), "{what}");
            // The client may have its answer before the simulator has noted how it ended.
            simulator.truth().wait_settled(SOON);
            let record = simulator.truth().last().expect("a request arrived");
            assert_eq!(
                (whole.input_tokens, whole.output_tokens),
                (u64::from(record.prompt_tokens), u64::from(record.completion_tokens)),
                "{what}"
            );
            let wish = Wish { stream: true, ..Wish::default() };
            let streamed = speaker.ask(&house.gateway, &model, &[speaker.user("hello there")], wish);
            assert_eq!(streamed.text, whole.text, "the same words: {what}");
            assert_eq!(streamed.finish, whole.finish, "{what}");
            if speaker != Speaker::Chat {
                assert_eq!(streamed.output_tokens, whole.output_tokens, "{what}");
            }
        }
    }
    house.must_be_clean();
}

#[test]
fn a_tool_loop_with_thinking_survives_in_every_pair() {
    let house = House::new();
    for speaker in Speaker::ALL {
        for (name, model, _) in house.models() {
            for stream in [false, true] {
                two_turns(&house.gateway, speaker, name, &model, stream);
            }
        }
    }
    house.must_be_clean();
}

/// The simulators of Anthropic and Gemini refuse the second turn if the seal on the first one's thinking is lost or bent.
fn two_turns(gateway: &Gateway, speaker: Speaker, name: &str, model: &str, stream: bool) {
    let wish = Wish { stream, tools: true, thinking: name != "openai" };
    let asked = vec![speaker.user("please use the tool")];
    let first = speaker.ask(gateway, model, &asked, wish);
    let what = format!("{speaker:?} to {name}, stream {stream}: {first:?}");
    let [(id, tool, input)] = &first.calls[..] else { panic!("one call: {what}") };
    assert!(!id.is_empty() && tool == "weather" && input["city"].is_string(), "{what}");
    if wish.thinking {
        assert!(!first.thought.is_empty(), "the thinking is shown: {what}");
    }
    let second = speaker.ask(gateway, model, &speaker.after(asked, &first), wish);
    assert!(!second.text.is_empty() && second.calls.is_empty(), "{what} then {second:?}");
}

#[test]
fn a_loop_may_move_to_another_provider() {
    let house = House::new();
    for speaker in Speaker::ALL {
        for (_, from, _) in house.models() {
            for (_, to, _) in house.models() {
                let wish = Wish { tools: true, thinking: !from.starts_with("openai"), ..Wish::default() };
                let asked = vec![speaker.user("please use the tool")];
                let first = speaker.ask(&house.gateway, &from, &asked, wish);
                let wish = Wish { tools: true, ..Wish::default() };
                let second = speaker.ask(&house.gateway, &to, &speaker.after(asked, &first), wish);
                assert!(!second.text.is_empty(), "{speaker:?} from {from} to {to}: {second:?}");
            }
        }
    }
    house.must_be_clean();
}

#[test]
fn several_calls_keep_their_order_and_their_results() {
    let house = House::new();
    let extra = json!({ "type": "object", "properties": { "place": { "type": "string" } }, "required": ["place"] });
    for (name, model, _) in house.models() {
        for stream in [false, true] {
            let mut body = json!({ "model": model, "stream": stream, "messages": [
                { "role": "user", "content": "please use the tools" }] });
            body["tools"] = json!([
                { "type": "function", "function": { "name": "weather", "parameters": extra } },
                { "type": "function", "function": { "name": "traffic", "parameters": extra } },
            ]);
            let heard = ask_chat(&house.gateway, &body);
            let names: Vec<&str> = heard.calls.iter().map(|(_, name, _)| &**name).collect();
            assert_eq!(names, ["weather", "traffic"], "{name}, stream {stream}");
            let mut messages = vec![body["messages"][0].clone()];
            messages = Speaker::Chat.after(messages, &heard);
            messages.swap(2, 3);
            body["messages"] = json!(messages);
            assert!(!ask_chat(&house.gateway, &body).text.is_empty(), "{name}: results in any order");
        }
    }
}

fn ask_chat(gateway: &Gateway, body: &Value) -> Heard {
    let bytes = post_with("/v1/chat/completions", &Speaker::Chat.key_line(ACCESS_KEY), body.to_string().as_bytes());
    let mut client = gateway.client();
    client.send(&bytes);
    if body["stream"] == true {
        let stream = client.stream();
        assert_eq!(stream.answer.status, 200, "{}", stream.answer.text());
        return Speaker::Chat.heard_stream(&stream);
    }
    let answer = client.answer();
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    Speaker::Chat.heard(&answer.json())
}

#[test]
fn an_answer_by_schema_is_json_everywhere() {
    let house = House::new();
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } },
        "required": ["city"], "additionalProperties": false });
    for (name, model, _) in house.models() {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "where?" }],
            "response_format": { "type": "json_schema", "json_schema": { "name": "place", "schema": schema } } });
        let heard = ask_chat(&house.gateway, &body);
        let said: Value =
            serde_json::from_str(&heard.text).unwrap_or_else(|error| panic!("{name}: {error}: {heard:?}"));
        assert!(said["city"].is_string(), "{name}: {said}");
    }
    house.must_be_clean();
}

#[test]
fn pictures_travel_in_every_dialects_own_form() {
    let house = House::new();
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let url = format!("data:image/png;base64,{png}");
    let body = |model: &str| {
        json!({ "model": model, "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "what is it?" }, { "type": "image_url", "image_url": { "url": url } }] }] })
    };
    for (name, model, simulator) in house.models() {
        assert!(!ask_chat(&house.gateway, &body(&model)).text.is_empty(), "{name}");
        let sent = last_body(simulator).to_string();
        assert!(sent.contains(png), "{name}: {sent}");
        assert!(name == "openai" || !sent.contains("data:image"), "{name} takes plain base64: {sent}");
    }
    house.must_be_clean();
}

// ---- What is known of an answer -----------------------------------------------------------------------------------------

#[test]
fn metadata_and_headers_tell_who_answered() {
    let house = House::new();
    for speaker in Speaker::ALL {
        for (name, model, _) in house.models() {
            let answer = speaker.ask_raw(&house.gateway, &model, &[speaker.user("hi")], Wish::default());
            assert_eq!(answer.header("x-igris-provider"), Some(name));
            assert!(answer.header("x-igris-cost-usd").is_some(), "{model}: {:?}", answer.headers);
            let metadata = &answer.json()["metadata"];
            match speaker {
                Speaker::Chat | Speaker::Responses => assert_eq!(metadata["provider"], name, "{}", answer.text()),
                Speaker::Messages | Speaker::Gemini => {
                    assert!(metadata.is_null(), "native clients see nothing foreign")
                }
            }
            assert_eq!(answer.header("request-id").is_some(), speaker == Speaker::Messages, "{speaker:?}");
        }
    }
}

#[test]
fn metadata_stands_in_the_last_event_of_the_openai_dialects() {
    let house = House::new();
    let wish = Wish { stream: true, ..Wish::default() };
    for (name, model, _) in house.models() {
        for (speaker, last) in [(Speaker::Chat, 2), (Speaker::Responses, 1)] {
            let (path, body) = speaker.question(&model, &[speaker.user("hi")], wish);
            let mut client = house.gateway.client();
            client.send(&post_with(&path, &speaker.key_line(ACCESS_KEY), body.to_string().as_bytes()));
            let stream = client.stream();
            let (_, data) = named(&stream.events[stream.events.len() - last].bytes).expect("data");
            let metadata = if speaker == Speaker::Chat { &data["metadata"] } else { &data["response"]["metadata"] };
            assert_eq!(metadata["provider"], name, "{speaker:?}: {data}");
            assert!(metadata["cost_usd"].is_number(), "{speaker:?}: {data}");
        }
    }
}

#[test]
fn what_is_left_out_is_named_and_what_would_change_the_meaning_is_refused() {
    let house = House::new();
    let model = "anthropic/claude-sonnet-4-6";
    let body = json!({ "model": model, "seed": 7, "logit_bias": { "1": 2 },
        "messages": [{ "role": "user", "content": "hi" }] });
    let answer = house.gateway.chat(&body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let dropped = answer.header("x-igris-dropped").expect("named");
    assert!(dropped.contains("seed") && dropped.contains("logit_bias"), "{dropped}");
    let body = json!({ "model": model, "logprobs": true, "messages": [{ "role": "user", "content": "hi" }] });
    let answer = house.gateway.chat(&body.to_string());
    answer.must_be_fault(400, "invalid_request");
    assert_eq!(answer.json()["error"]["param"], "logprobs", "{}", answer.text());
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": [
        { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } }] }] });
    let answer = house.gateway.chat(&body.to_string());
    answer.must_be_fault(400, "invalid_request");
    let param = answer.json()["error"]["param"].as_str().expect("a member").to_owned();
    assert!(param.starts_with("messages"), "{param}");
}

#[test]
fn header_names_of_a_clients_making_are_tamed() {
    let house = House::new();
    let body =
        r#"{"model":"anthropic/claude-sonnet-4-6","messages":[{"role":"user","content":"hi"}],"evil\r\nx: y":1}"#;
    let answer = house.gateway.chat(body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-igris-dropped"), Some("evilx:y"), "{:?}", answer.headers);
}

// ---- The same dialect on both sides --------------------------------------------------------------------------------------

#[test]
fn the_same_dialect_passes_unknown_members_and_its_own_headers() {
    let house = House::new();
    let (_, _, anthropic) = &house.simulators[1];
    let body = r#"{"model":"claude-sonnet-4-6","max_tokens":64, "metadata" : {"user_id":"u-1"},"messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]}"#;
    let fields = "x-api-key: {}\r\nanthropic-version: 2026-10-21\r\nanthropic-beta: context-1m-2025-08-07\r\n"
        .replace("{}", ACCESS_KEY);
    let answer = house.gateway.ask(&post_with("/v1/messages?beta=true", &fields, body.as_bytes()));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = anthropic.truth().last().expect("a request arrived");
    assert_eq!(record.body.as_deref(), Some(body.as_bytes()), "to the byte");
    assert_eq!(record.header("anthropic-version"), Some("2026-10-21"));
    assert_eq!(record.header("anthropic-beta"), Some("context-1m-2025-08-07"));
    assert!(answer.header("x-igris-dropped").is_none());
}

#[test]
fn a_gemini_client_without_events_gets_an_array() {
    let house = House::new();
    for (name, model, _) in house.models() {
        let body = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }] }).to_string();
        let path = format!("/v1beta/models/{model}:streamGenerateContent");
        let answer = house.gateway.ask(&post_with(&path, &Speaker::Gemini.key_line(ACCESS_KEY), body.as_bytes()));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{name}");
        let chunks: Vec<Value> = serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(chunks.last().expect("elements")["candidates"][0]["finishReason"].is_string(), "{name}");
    }
}

#[test]
fn the_list_of_models_has_the_form_of_the_client_that_asks() {
    let house = House::new();
    for (speaker, rows, name) in
        [(Speaker::Chat, "data", "id"), (Speaker::Messages, "data", "id"), (Speaker::Gemini, "models", "name")]
    {
        let list = house.gateway.ask(&bare("GET", "/v1/models", &speaker.key_line(ACCESS_KEY))).json();
        let names: Vec<&str> =
            list[rows].as_array().expect("rows").iter().filter_map(|row| row[name].as_str()).collect();
        let expected = if speaker == Speaker::Gemini { "models/gpt-4.1" } else { "gpt-4.1" };
        assert!(names.contains(&expected), "{speaker:?}: {list}");
        assert_eq!(list["object"] == "list", speaker == Speaker::Chat, "{speaker:?}: {list}");
    }
}

#[test]
fn tokens_are_counted_by_their_maker_or_estimated_aloud() {
    let house = House::new();
    let body = |model: &str| json!({ "model": model, "messages": [{ "role": "user", "content": "hello there" }] });
    let count = |model: &str| {
        let path = "/v1/messages/count_tokens";
        let line = Speaker::Messages.key_line(ACCESS_KEY);
        let mut body = body(model);
        if model.starts_with("openai") {
            body["max_tokens"] = json!(1);
        }
        house.gateway.ask(&post_with(path, &line, body.to_string().as_bytes()))
    };
    let own = count("anthropic/claude-sonnet-4-6");
    assert_eq!((own.status, own.header("x-igris-estimated")), (200, None), "{}", own.text());
    assert!(own.json()["input_tokens"].as_u64() > Some(0));
    let other = count("openai/gpt-4.1");
    assert_eq!((other.status, other.header("x-igris-estimated")), (200, Some("true")), "{}", other.text());
    assert_eq!(other.json()["input_tokens"], 3);
}

// ---- Failures -------------------------------------------------------------------------------------------------------------

#[test]
fn errors_speak_the_dialect_of_the_client() {
    let house = House::new();
    for speaker in Speaker::ALL {
        let (path, body) = speaker.question("nobody/such-model", &[speaker.user("hi")], Wish::default());
        for (key, status) in [("sk-igris-wrong-key-0123456789abcdef", 401), (ACCESS_KEY, 404)] {
            let answer = house.gateway.ask(&post_with(&path, &speaker.key_line(key), body.to_string().as_bytes()));
            assert_eq!(answer.status, status, "{speaker:?}: {}", answer.text());
            let error = answer.json();
            let kind = if status == 401 { "invalid_api_key" } else { "model_not_found" };
            match speaker {
                Speaker::Chat | Speaker::Responses => assert_eq!(error["error"]["code"], kind, "{error}"),
                Speaker::Messages => {
                    let expected = if status == 401 { "authentication_error" } else { "not_found_error" };
                    assert_eq!(
                        (&error["type"], &error["error"]["type"]),
                        (&json!("error"), &json!(expected)),
                        "{error}"
                    );
                    assert_eq!(error["error"]["details"]["error_code"], kind, "{error}");
                }
                Speaker::Gemini => {
                    assert_eq!(error["error"]["code"], status, "{error}");
                    let expected = if status == 401 { "UNAUTHENTICATED" } else { "NOT_FOUND" };
                    assert_eq!(error["error"]["status"], expected, "{error}");
                }
            }
        }
    }
}

#[test]
fn a_cut_stream_never_ends_cleanly_in_any_dialect() {
    let house = House::new();
    for (name, model, simulator) in house.models() {
        for speaker in Speaker::ALL {
            simulator
                .set_behaviour(Behaviour::default().with_fault(Fault::CutMidEvent { after_events: 8 }, When::Always));
            let wish = Wish { stream: true, ..Wish::default() };
            let (path, body) = speaker.question(&model, &[speaker.user("hello")], wish);
            let mut client = house.gateway.client();
            client.send(&post_with(&path, &speaker.key_line(ACCESS_KEY), body.to_string().as_bytes()));
            let bytes = client.read_to_close();
            let text = String::from_utf8_lossy(&bytes);
            let told = match speaker {
                Speaker::Chat => text.contains("data: {\"error\":") && !text.contains("[DONE]"),
                Speaker::Responses => text.contains("response.failed") && !text.contains("response.completed"),
                Speaker::Messages => text.contains("event: error") && !text.contains("message_stop"),
                Speaker::Gemini => text.contains("data: {\"error\":"),
            };
            assert!(told && !text.ends_with("0\r\n\r\n"), "{speaker:?} to {name}: {text}");
        }
    }
}

#[test]
fn an_overload_before_the_first_word_is_answered_elsewhere() {
    let house = House::with(|builder| {
        builder.config_toml(
            "[[models]]\nname = \"any\"\npolicy = \"ordered\"\ntargets = [\
             { provider = \"anthropic\", model = \"claude-sonnet-4-6\" }, { provider = \"google\", model = \"gemini-3.1-pro-preview\" }]\n",
        )
    });
    let (_, _, anthropic) = &house.simulators[1];
    for speaker in Speaker::ALL {
        for stream in [false, true] {
            let overloaded = Fault::Status { code: 529, retry_after: None, body: None };
            anthropic.set_behaviour(Behaviour::default().with_fault(overloaded, When::Always));
            let wish = Wish { stream, ..Wish::default() };
            let heard = speaker.ask(&house.gateway, "any", &[speaker.user("hello")], wish);
            assert!(!heard.text.is_empty(), "{speaker:?}");
        }
    }
}
