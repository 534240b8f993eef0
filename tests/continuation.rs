//! A stream that breaks off ends in an error, unless its tenant wants it to go on elsewhere: then the client sees one stream with one end.

mod support;

use igris_load::Simulator;
use igris_load::simulator::{Fault, Surface, When};
use serde_json::Value;
use support::{ACCESS_KEY, Builder, Gateway, SOON, Scripted, Stream, bearer, chat_of, named, post_with};

const WANTED: &str = "[routing]\ncontinue_streams = true";
/// What the provider says that goes on.
const REST: &str = "and so it ends.";

fn failing(fault: Fault) -> Simulator {
    Simulator::builder().fault(fault, When::Always).tokens(12).start().expect("a loopback port")
}

/// A provider that streams [`REST`], beginning with a blank.
fn rest() -> Scripted {
    let chunk = |inside: &str| {
        format!("data: {{\"id\":\"theirs\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",{inside}}}\n\n")
    };
    let body = [
        chunk(r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]"#),
        chunk(r#""choices":[{"index":0,"delta":{"content":" and so"},"finish_reason":null}]"#),
        chunk(r#""choices":[{"index":0,"delta":{"content":" it ends."},"finish_reason":null}]"#),
        chunk(r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#),
        chunk(r#""choices":[],"usage":{"prompt_tokens":30,"completion_tokens":5,"total_tokens":35}"#),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length:";
    Scripted::start(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes())
}

fn chain(urls: &[String]) -> Builder {
    let names = ["p1", "p2", "p3", "p4"];
    let mut builder = Gateway::builder().limits("stream_silence_deadline = \"1s\"");
    for (name, url) in names.iter().zip(urls) {
        builder = builder.own_provider(name, url, "");
    }
    builder.ordered(&names[..urls.len()])
}

fn chat(gateway: &Gateway, members: &str) -> Stream {
    gateway.stream(&chat_of("any", "hello", &format!(r#","stream":true{members}"#)))
}

/// The words of a Chat stream, and its events.
fn words(stream: &Stream) -> (String, Vec<Value>) {
    let events: Vec<Value> =
        stream.events.iter().filter_map(|event| named(&event.bytes)).map(|(_, data)| data).collect();
    let text = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    (text, events)
}

/// What a provider was told that it had said.
fn replayed(provider: &Scripted) -> (String, Value) {
    let body: Value = serde_json::from_slice(&provider.last_body()).expect("a request");
    let turns = body["messages"].as_array().expect("turns").clone();
    let said = turns.iter().find(|turn| turn["role"] == "assistant").expect("a turn of its own");
    (said["content"].as_str().expect("text").to_owned(), Value::from(turns))
}

#[test]
fn a_stream_that_breaks_off_goes_on_as_the_same_stream() {
    let faults = [
        Fault::CutMidEvent { after_events: 5 },
        Fault::ErrorInStream { after_events: 5 },
        Fault::Stall { after_events: 5 },
    ];
    for fault in faults {
        let name = fault.name();
        let (first, second) = (failing(fault), rest());
        let gateway = chain(&[first.base_url(), second.base_url()]).config_toml(WANTED).start();
        let stream = chat(&gateway, r#","stream_options":{"include_usage":true}"#);
        assert!(stream.answer.whole, "{name}: {}", stream.answer.text());
        let body = stream.answer.text();
        let (text, events) = words(&stream);
        let (said, turns) = replayed(&second);
        assert!(said.split_whitespace().count() >= 4, "{name}: {said}");
        assert_eq!(text, format!("{said} {REST}"), "{name}");
        assert_eq!((body.matches("\"role\"").count(), body.matches("[DONE]").count()), (1, 1), "{name}: {body}");
        assert!(!body.contains("\"error\""), "{name}: {body}");
        assert!(events.iter().all(|event| event["id"] == events[0]["id"] && event["id"] != "theirs"), "{name}: {body}");
        // OpenAI's format has no beginnings of answers: the model is told to go on.
        assert_eq!(turns.as_array().map(Vec::len), Some(3), "{name}: {turns}");

        let last = events.last().expect("events");
        let metadata = &last["metadata"];
        assert_eq!((&metadata["provider"], &metadata["attempts"]), (&"p2".into(), &2.into()), "{name}: {body}");
        assert_eq!(metadata["continued"], true, "{name}: {body}");
        assert_eq!(metadata["continued_from"], serde_json::json!(["p1"]), "{name}: {body}");
        let used = |member: &str| last["usage"][member].as_u64().expect("a figure");
        assert!(used("prompt_tokens") > 30 && used("completion_tokens") > 5, "both attempts are counted: {last}");
        assert!(first.truth().wait_settled(SOON));
        assert_eq!((first.truth().counts().requests, second.requests()), (1, 1), "{name}");
    }
}

#[test]
fn unless_wanted_it_ends_in_an_error() {
    let (first, second) = (failing(Fault::CutMidEvent { after_events: 5 }), rest());
    let gateway = chain(&[first.base_url(), second.base_url()]).start();
    let stream = chat(&gateway, "");
    let body = stream.answer.text();
    assert!(!stream.answer.whole && body.contains("upstream_stream_broken") && !body.contains("[DONE]"), "{body}");
    assert_eq!(second.requests(), 0);
}

#[test]
fn what_is_not_words_alone_is_not_continued() {
    let tools = r#","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}]"#;
    let json = r#","response_format":{"type":"json_object"}"#;
    for (content, members) in [("use the tool", tools), ("say json", json), ("hello", r#","n":2"#)] {
        let (first, second) = (failing(Fault::CutMidEvent { after_events: 4 }), rest());
        let gateway = chain(&[first.base_url(), second.base_url()]).config_toml(WANTED).start();
        let stream = gateway.stream(&chat_of("any", content, &format!(r#","stream":true{members}"#)));
        let body = stream.answer.text();
        assert!(!stream.answer.whole && body.contains("\"error\""), "{content}: {body}");
        assert_eq!(second.requests(), 0, "{content}");
    }
}

#[test]
fn when_nobody_can_go_on_it_ends_in_one_error() {
    for count in [1, 2, 4] {
        let simulators: Vec<Simulator> = (0..count).map(|_| failing(Fault::CutMidEvent { after_events: 4 })).collect();
        let urls: Vec<String> = simulators.iter().map(Simulator::base_url).collect();
        let gateway = chain(&urls).config_toml(WANTED).start();
        let stream = chat(&gateway, "");
        let body = stream.answer.text();
        assert!(!stream.answer.whole && !body.contains("[DONE]"), "{body}");
        assert_eq!(body.matches("upstream_stream_broken").count(), 1, "{body}");
        let asked: Vec<u64> = simulators.iter().map(|simulator| simulator.truth().counts().requests).collect();
        let expected: Vec<u64> = (0..count).map(|place| u64::from(place < 3)).collect();
        assert_eq!(asked, expected, "three attempts at most");
        assert!(
            words(&stream).0.split_whitespace().count() > count.min(3),
            "every part has reached the client: {body}"
        );
    }
}

#[test]
fn clients_of_other_formats_see_one_stream_too() {
    let messages = r#"{"model":"any","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let responses = r#"{"model":"any","stream":true,"input":"hello"}"#;
    let cases = [
        ("/v1/messages", messages, "event: message_start", "event: message_stop"),
        ("/v1/responses", responses, "event: response.created", "event: response.completed"),
    ];
    for (path, request, start, end) in cases {
        let (first, second) = (failing(Fault::CutMidEvent { after_events: 5 }), rest());
        let gateway = chain(&[first.base_url(), second.base_url()]).config_toml(WANTED).start();
        let mut client = gateway.client();
        client.send(&post_with(path, &bearer(ACCESS_KEY), request.as_bytes()));
        let stream = client.stream();
        let body = stream.answer.text();
        assert!(stream.answer.whole && !body.contains("event: error"), "{path}: {body}");
        assert_eq!((body.matches(start).count(), body.matches(end).count()), (1, 1), "{path}: {body}");
        let (said, _) = replayed(&second);
        let deltas: String = stream
            .events
            .iter()
            .filter_map(|event| named(&event.bytes))
            .filter_map(|(name, data)| {
                let text = if name == "response.output_text.delta" { &data["delta"] } else { &data["delta"]["text"] };
                text.as_str().map(str::to_owned)
            })
            .collect();
        assert_eq!(deltas, format!("{said} {REST}"), "{path}: {body}");
    }
}

#[test]
fn a_stream_that_would_have_passed_as_it_is_goes_on_too() {
    let fault = Fault::CutMidEvent { after_events: 6 };
    let simulator = Simulator::builder().dialect(Surface::Anthropic).fault(fault, When::Always).tokens(12);
    let first = simulator.models(Vec::<String>::new()).start().expect("a loopback port");
    let second = rest();
    let model = "[[models]]\nname = \"claude\"\npolicy = \"ordered\"\ntargets = [\
                 { provider = \"anthropic\", model = \"claude-sonnet-4-5\" }, { provider = \"p2\", model = \"gpt-4o\" }]\n";
    let gateway = Gateway::builder()
        .provider("anthropic", &first)
        .own_provider("p2", &second.base_url(), "")
        .config_toml(&format!("{model}{WANTED}"))
        .start();
    let request = r#"{"model":"claude","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"hello"}]}"#;
    let mut client = gateway.client();
    client.send(&post_with("/v1/messages", &bearer(ACCESS_KEY), request.as_bytes()));
    let stream = client.stream();
    let body = stream.answer.text();
    assert_eq!(stream.answer.header("x-igris-provider"), Some("anthropic"), "{body}");
    assert!(stream.answer.whole && !body.contains("event: error"), "{body}");
    for event in
        ["event: message_start", "event: content_block_start", "event: content_block_stop", "event: message_stop"]
    {
        assert_eq!(body.matches(event).count(), 1, "{event}: {body}");
    }
    let (said, _) = replayed(&second);
    let events = stream.events.iter().filter_map(|event| named(&event.bytes));
    let text: String = events.filter_map(|(_, data)| data["delta"]["text"].as_str().map(str::to_owned)).collect();
    assert_eq!(text, format!("{said} {REST}"), "{body}");
}

#[test]
fn a_gemini_client_sees_one_end() {
    let (first, second) = (failing(Fault::CutMidEvent { after_events: 5 }), rest());
    let gateway = chain(&[first.base_url(), second.base_url()]).config_toml(WANTED).start();
    for alt in ["?alt=sse", ""] {
        let request = r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#;
        let path = format!("/v1beta/models/any:streamGenerateContent{alt}");
        let answer = gateway.ask(&post_with(&path, &bearer(ACCESS_KEY), request.as_bytes()));
        let body = answer.text();
        assert!(answer.whole && !body.contains("\"error\""), "{alt}: {body}");
        assert_eq!(body.matches("finishReason").count(), 1, "{alt}: {body}");
        assert!(body.contains("it ends."), "{alt}: {body}");
        if alt.is_empty() {
            assert!(answer.json().is_array(), "{body}");
        }
    }
}
