//! Streams pass as they are made, to the byte; one that breaks off never looks complete.

mod support;

use igris_load::Simulator;
use igris_load::dialect::{Expectation, without_metadata};
use igris_load::simulator::{Answer as SimulatedAnswer, Behaviour, Body};
use serde_json::Value;
use std::time::{Duration, Instant};
use support::{Event, Gateway, SOON, Scripted, Stream, chat_of, post, provider_key, stream_of};

const WITH_USAGE: &str = r#","stream_options":{"include_usage":true}"#;

fn simulator() -> Simulator {
    Simulator::builder().keys([provider_key("openai")]).keep_bodies().start().expect("a loopback port")
}

/// The simulator's own events for a request, as they leave it when usage is asked for (or not).
fn made(body: &str, usage: bool) -> Vec<Vec<u8>> {
    let request = Body::parse(body.as_bytes()).and_then(|body| body.check()).expect("a good request");
    let answer = SimulatedAnswer::new(&request, Behaviour::default().tokens).with_usage(usage);
    (0..answer.events())
        .map(|index| {
            let mut event = Vec::new();
            answer.event(index, &mut event);
            event
        })
        .collect()
}

/// An event without the `metadata` member of its data.
fn cleaned(event: &[u8]) -> Vec<u8> {
    let data = event.strip_prefix(b"data: ").and_then(|rest| rest.strip_suffix(b"\n\n"));
    match data {
        Some(data) => [b"data: ", without_metadata(data).as_slice(), b"\n\n"].concat(),
        None => event.to_vec(),
    }
}

fn data(event: &Event) -> Value {
    let text = String::from_utf8_lossy(&event.bytes).into_owned();
    let json = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_else(|| panic!("no data in {text}"));
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Metadata stands in the last event before `[DONE]`, once.
fn metadata(stream: &Stream) -> Value {
    let count = stream.events.len();
    assert_eq!(stream.events[count - 1].bytes, b"data: [DONE]\n\n", "the terminator comes last");
    for event in &stream.events[..count - 2] {
        assert!(data(event).get("metadata").is_none(), "{}", String::from_utf8_lossy(&event.bytes));
    }
    let metadata = data(&stream.events[count - 2])["metadata"].clone();
    assert!(metadata.is_object(), "{}", String::from_utf8_lossy(&stream.events[count - 2].bytes));
    metadata
}

#[test]
fn a_stream_with_usage_is_the_providers_to_the_byte_beside_its_metadata() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for members in ["", r#","n":2"#, r#","user":"sim:tokens=300;cached=1;reasoning=2""#, r#","max_tokens":1"#] {
        let body = stream_of("hello there", &format!("{WITH_USAGE}{members}"));
        let stream = gateway.stream(&body);
        assert_eq!((stream.answer.status, stream.answer.whole), (200, true), "{}", stream.answer.text());
        let received: Vec<u8> = stream.events.iter().flat_map(|event| cleaned(&event.bytes)).collect();
        assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(&made(&body, true).concat()));
        let metadata = metadata(&stream);
        let usage = data(&stream.events[stream.events.len() - 2])["usage"].clone();
        assert_eq!(metadata["cost_breakdown"]["output_tokens"], usage["completion_tokens"]);
        assert_eq!(metadata["cost_breakdown"]["cached_tokens"], usage["prompt_tokens_details"]["cached_tokens"]);
        assert!(metadata["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0), "{metadata}");
        assert_eq!(metadata["trace_id"].as_str(), stream.answer.header("x-request-id"));
        assert_eq!(simulator.truth().last().and_then(|record| record.body), Some(body.into_bytes()));
    }
    assert_eq!(simulator.truth().violations(), []);
}

#[test]
fn usage_that_only_we_asked_for_stays_with_us() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for members in
        ["", r#","stream_options":{"include_usage":false}"#, r#","stream_options":{}"#, r#","stream_options":null"#]
    {
        let body = stream_of("hello there", members);
        let stream = gateway.stream(&body);
        assert_eq!((stream.answer.status, stream.answer.whole), (200, true), "{members}: {}", stream.answer.text());
        Expectation::new(body.as_bytes(), None).expect("good").check(&stream.answer.body).expect(members);
        for event in &stream.events[..stream.events.len() - 1] {
            let data = data(event);
            assert!(data.get("usage").is_none_or(Value::is_null), "{data}");
            assert!(
                data["choices"].as_array().is_some_and(|choices| !choices.is_empty()),
                "strict clients index it: {data}"
            );
        }
        let metadata = metadata(&stream);
        assert_eq!(metadata["cost_breakdown"]["output_tokens"], 16, "metered all the same: {metadata}");
        assert!(metadata["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0), "{metadata}");
    }
}

#[test]
fn metadata_can_be_turned_off_and_then_every_byte_is_the_providers() {
    let simulator = simulator();
    let gateway = Gateway::builder().provider("openai", &simulator).server("metadata = \"off\"").start();
    let body = stream_of("hello there", WITH_USAGE);
    let stream = gateway.stream(&body);
    assert_eq!(stream.answer.text(), String::from_utf8_lossy(&made(&body, true).concat()));
}

#[test]
fn events_arrive_as_they_are_made() {
    const GAP: Duration = Duration::from_millis(40);
    let simulator = Simulator::builder().event_gap(GAP).tokens(12).start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let mut client = gateway.client();
    let began = Instant::now();
    client.send(&post(&stream_of("slowly", WITH_USAGE)));
    let stream = client.stream();
    let late: Vec<Duration> = stream
        .events
        .iter()
        .enumerate()
        .map(|(index, event)| event.at.duration_since(began).saturating_sub(GAP * index as u32))
        .collect();
    println!("lateness of each event: {late:?}");
    // The role, twelve words; then the finish reason and the usage may wait for one another (rule H18).
    for (index, late) in late.iter().take(13).enumerate() {
        assert!(*late < GAP * 2, "event {index} came {late:?} after it was made");
    }
    let total = stream.events.last().expect("events").at.duration_since(began);
    assert!(total >= GAP * 15, "the stream was not slow at all: {total:?}");
}

#[test]
fn any_cut_of_the_providers_writes_gives_the_same_stream() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for members in [WITH_USAGE, ""] {
        for split in [1, 2, 3, 7] {
            let body = stream_of("hello there", &format!(r#"{members},"user":"sim:tokens=6;split={split}""#));
            let stream = gateway.stream(&body);
            assert_eq!((stream.answer.status, stream.answer.whole), (200, true));
            Expectation::new(body.as_bytes(), None).expect("good").check(&stream.answer.body).expect("the same events");
            metadata(&stream);
        }
        let body = stream_of("hello there", &format!(r#"{members},"user":"sim:tokens=6;split=1""#))
            .replace("\"stream\":true", "\"stream\":false");
        let body = body.replace(WITH_USAGE, "");
        let answer = gateway.chat(&body);
        Expectation::new(body.as_bytes(), None).expect("good").check(&answer.body).expect("the same bytes");
    }
}

/// The stream that a fault of the simulator leaves, and whether the connection was closed behind it.
fn broken(gateway: &Gateway, fault: &str) -> (Stream, bool) {
    let mut client = gateway.client();
    client.send(&post(&stream_of("hello there", &format!(r#"{WITH_USAGE},"user":"sim:fault={fault}""#))));
    let stream = client.stream();
    let closed = !stream.answer.whole && client.closes_within(SOON);
    (stream, closed)
}

/// Whole events of the provider first, then one event that says what happened, and no clean end (rule H17).
fn must_be_cut_after(stream: &Stream, whole_events: usize) {
    let body = stream_of("hello there", WITH_USAGE);
    assert!(!stream.answer.whole, "a cut stream must not end cleanly: {}", stream.answer.text());
    assert_eq!(stream.events.len(), whole_events + 1, "{}", stream.answer.text());
    for (index, event) in stream.events[..whole_events].iter().enumerate() {
        assert_eq!(event.bytes, made(&body, true)[index], "event {index}");
    }
    let last = &stream.events[whole_events];
    assert!(last.bytes.starts_with(b"event: error\n"), "{}", String::from_utf8_lossy(&last.bytes));
    let error = data(last)["error"].clone();
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()) && error["code"].is_string(), "{error}");
    assert!(!stream.answer.text().contains("[DONE]"));
}

#[test]
fn a_stream_cut_inside_an_event_ends_with_an_error_and_no_end() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    for whole_events in [1, 3, 17] {
        let (stream, closed) = broken(&gateway, &format!("cut@{whole_events}"));
        must_be_cut_after(&stream, whole_events);
        assert!(closed);
    }
    assert_eq!(gateway.chat(&support::chat("and on")).status, 200);
}

#[test]
fn a_stream_that_is_reset_ends_with_an_error_and_no_end() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    // Somewhere behind head and first events; the bytes that made it before the reset are anyone's guess.
    let (stream, closed) = broken(&gateway, "reset@1500");
    assert!(!stream.answer.whole && closed, "{}", stream.answer.text());
    let last = stream.events.last().expect("an error event at least");
    assert!(last.bytes.starts_with(b"event: error\n"), "{}", String::from_utf8_lossy(&last.bytes));
}

#[test]
fn a_stream_that_falls_silent_is_ended_for_the_client() {
    let simulator = simulator();
    let gateway =
        Gateway::builder().provider("openai", &simulator).limits("stream_silence_deadline = \"400ms\"").start();
    let began = Instant::now();
    let (stream, closed) = broken(&gateway, "stall@3");
    let took = began.elapsed();
    must_be_cut_after(&stream, 3);
    assert!(closed);
    assert!(took >= Duration::from_millis(390) && took < Duration::from_secs(3), "{took:?}");
    assert!(simulator.truth().wait_settled(SOON), "the provider's connection was closed, too");
}

#[test]
fn an_error_inside_a_stream_reaches_the_client_as_the_last_event() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let (stream, _) = broken(&gateway, "error@3");
    let errors: Vec<usize> =
        (0..stream.events.len()).filter(|index| data(&stream.events[*index]).get("error").is_some()).collect();
    assert_eq!(errors, [3], "{}", stream.answer.text());
    assert!(!stream.answer.text().contains("[DONE]"), "{}", stream.answer.text());
    assert!(data(&stream.events[3])["error"]["message"].as_str().is_some_and(|text| text.contains("error")));
}

#[test]
fn tools_and_structured_output_stream_unchanged() {
    let simulator = simulator();
    let gateway = Gateway::before(&simulator);
    let tools = r#","tools":[{"type":"function","function":{"name":"look_up","parameters":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}}}}}],"tool_choice":"required""#;
    let schema = r#","response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object","properties":{"x":{"type":"string"}}}}}"#;
    for members in [tools, schema] {
        for usage in ["", WITH_USAGE] {
            let body = stream_of("use the tool", &format!("{members}{usage}"));
            let stream = gateway.stream(&body);
            assert_eq!(stream.answer.status, 200, "{}", stream.answer.text());
            Expectation::new(body.as_bytes(), None).expect("good").check(&stream.answer.body).expect("the same events");
            metadata(&stream);
        }
    }
}

#[test]
fn a_thousand_events_in_one_write_come_out_whole() {
    let simulator = Simulator::builder().behaviour(Behaviour { events_per_write: 500, ..Behaviour::default() });
    let simulator = simulator.start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let body = stream_of("much", &format!(r#"{WITH_USAGE},"user":"sim:tokens=1000""#));
    let stream = gateway.stream(&body);
    Expectation::new(body.as_bytes(), None).expect("good").check(&stream.answer.body).expect("the same events");
    assert_eq!(stream.events.len(), made(&body, true).len());
}

#[test]
fn our_wish_for_usage_joins_what_the_client_says_of_its_stream() {
    let simulator = Simulator::builder().keep_bodies().start().expect("a loopback port");
    let gateway = Gateway::before(&simulator);
    let cases = [
        ("", r#""stream_options":{"include_usage":true}"#),
        (r#","stream_options":null"#, r#""stream_options":{"include_usage":true}"#),
        (r#","stream_options":{}"#, r#""stream_options":{"include_usage":true}"#),
        (r#","stream_options":{"include_usage":false}"#, r#""stream_options":{"include_usage":true}"#),
        (r#","stream_options":{"include_usage":true}"#, r#""stream_options":{"include_usage":true}"#),
    ];
    for (members, sent) in cases {
        let body =
            format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"hi"}}],"stream":true{members}}}"#);
        let stream = gateway.stream(&body);
        assert_eq!(stream.answer.status, 200, "{members}: {}", stream.answer.text());
        let record = simulator.truth().last().expect("a request arrived");
        let received = String::from_utf8(record.body.expect("bodies are kept")).expect("what we send is text");
        assert!(received.contains(sent), "{members}: {received}");
        assert_eq!(received.matches("stream_options").count(), 1, "{members}: {received}");
    }
}

#[test]
fn an_answer_that_only_a_closed_connection_ends_must_say_itself_that_it_is_whole() {
    let upstream = Scripted::start(b"");
    let gateway = Gateway::builder().own_provider("scripted", &upstream.base_url(), "").start();
    let say = |media: &str, body: &str| {
        upstream.say(format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\nconnection: close\r\n\r\n{body}").as_bytes());
    };
    let delta = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n";
    let request = stream_of("x", "");

    say("text/event-stream", &[delta, "data: [DONE]\n\n"].concat());
    let whole = gateway.stream(&request);
    assert!(whole.answer.whole && whole.answer.text().ends_with("data: [DONE]\n\n"), "{}", whole.answer.text());

    say("text/event-stream", &[delta, &delta[..30]].concat());
    let cut = gateway.stream(&request);
    assert!(!cut.answer.whole, "{}", cut.answer.text());
    assert_eq!(cut.events.len(), 2, "the whole event, then the error: {}", cut.answer.text());
    assert!(cut.events[1].bytes.starts_with(b"event: error\n"), "no half event before it: {}", cut.answer.text());
    assert!(data(&cut.events[1])["error"]["code"].is_string());

    say("text/event-stream", "");
    gateway.chat(&request).must_be_fault(502, "upstream_broken");

    say("application/json", "{\"id\":\"x\",\"choices\":[{\"index\":0");
    gateway.chat(&chat_of("gpt-4o", "x", "")).must_be_fault(502, "upstream_broken");
}

/// A stream that waits for its provider keeps what it needs to go on, and little else. The bound is that of a build without optimisation,
/// whose futures are larger; docs/performance.md has what a release takes.
#[test]
fn a_stream_that_waits_holds_little() {
    const STREAMS: u64 = 400;
    const BYTES_EACH_MAX: u64 = 28 * 1024;
    let simulator = simulator();
    let gateway = Gateway::builder().provider("openai", &simulator).workers(1).start();
    let request = post(&stream_of("hello there", r#","user":"sim:fault=stall@3""#));
    let opened = |count: u64| -> Vec<_> {
        let open = |_| {
            let mut client = gateway.client();
            client.send(&request);
            assert!(!client.read_bytes(600).is_empty());
            client
        };
        (0..count).map(open).collect()
    };
    let _first = opened(50);
    let before = gateway.resident_bytes();
    let _waiting = opened(STREAMS);
    let each = gateway.resident_bytes().saturating_sub(before) / STREAMS;
    assert!(each <= BYTES_EACH_MAX, "{each} bytes for a stream that waits");
}
