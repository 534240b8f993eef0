//! Streams are what the real service streams, faults strike where they were planned, and the truth log knows how it ended.

use igris_load::Simulator;
use igris_load::simulator::{Behaviour, Fault, FaultRule, Outcome, When};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const KEY: &str = "sk-sim-0123456789abcdef";
const SOON: Duration = Duration::from_secs(5);

fn simulator() -> Simulator {
    Simulator::builder().keys([KEY]).start().expect("a loopback port")
}

fn send(stream: &mut TcpStream, body: &Value, close: bool) {
    let body = body.to_string();
    let length = body.len();
    let connection = if close { "connection: close\r\n" } else { "" };
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer {KEY}\r\n{connection}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("the simulator reads");
}

fn connect(simulator: &Simulator) -> TcpStream {
    let stream = TcpStream::connect(simulator.addr()).expect("the simulator listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    stream
}

/// Everything up to the end of the connection, and whether that end was a reset.
fn read_all(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return (all, false),
            Ok(read) => all.extend_from_slice(&room[..read]),
            Err(reason) if reason.kind() == ErrorKind::ConnectionReset => return (all, true),
            Err(reason) => panic!("{reason}; so far {:?}", String::from_utf8_lossy(&all)),
        }
    }
}

fn ask(simulator: &Simulator, body: &Value) -> (String, bool) {
    let mut stream = connect(simulator);
    send(&mut stream, body, true);
    let (bytes, reset) = read_all(&mut stream);
    (String::from_utf8_lossy(&bytes).into_owned(), reset)
}

/// Undoes the chunked coding; the second value is false if its end is missing.
fn unchunk(mut body: &str) -> (String, bool) {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            return (out, rest == "\r\n");
        }
        let Some(data) = rest.get(..size) else { break };
        out.push_str(data);
        body = rest[size..].strip_prefix("\r\n").expect("a chunk ends in CRLF");
    }
    (out, false)
}

fn events(answer: &str) -> (Vec<String>, bool) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
    let (body, whole) = unchunk(body);
    let events = body.split_inclusive("\n\n").map(|event| {
        let payload = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}"));
        payload.trim_end_matches("\n\n").to_owned()
    });
    (events.collect(), whole)
}

fn chat(extra: Value) -> Value {
    let mut body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "hello" }], "stream": true });
    for (name, value) in extra.as_object().expect("an object of fields") {
        body[name] = value.clone();
    }
    body
}

fn wish(directives: &str) -> Value {
    chat(json!({ "user": format!("sim:{directives}") }))
}

fn parse(event: &str) -> Value {
    serde_json::from_str(event).unwrap_or_else(|reason| panic!("{reason}: {event}"))
}

/// The text of choice `index` put together from its deltas.
fn text(events: &[String], index: u64) -> String {
    let chunks = events.iter().filter(|event| *event != "[DONE]").map(|event| parse(event));
    let choices = chunks.flat_map(|chunk| chunk["choices"].as_array().cloned().unwrap_or_default());
    let wanted = choices.filter(|choice| choice["index"] == index);
    wanted.filter_map(|choice| choice["delta"]["content"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_stream_says_what_the_unary_answer_says() {
    let simulator = simulator();
    let (answer, _) = ask(&simulator, &chat(json!({ "n": 2 })));
    let (events, whole) = events(&answer);
    assert!(whole);
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(events.len(), 2 * (1 + 16 + 1) + 1);
    assert_eq!(parse(&events[0])["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(parse(&events[events.len() - 2])["choices"][0]["finish_reason"], "stop");
    assert!(parse(&events[0]).get("usage").is_none(), "nobody asked for usage");
    let (unary, _) = ask(&simulator, &chat(json!({ "n": 2, "stream": false })));
    let unary = parse(unary.split_once("\r\n\r\n").expect("a whole head").1);
    for choice in 0..2 {
        let expected = unary["choices"][choice as usize]["message"]["content"].as_str().expect("text");
        assert_eq!(text(&events, choice), expected);
    }
    assert_ne!(text(&events, 0), text(&events, 1));
}

#[test]
fn usage_comes_when_asked_for() {
    let simulator = simulator();
    let (answer, _) = ask(&simulator, &chat(json!({ "stream_options": { "include_usage": true }, "max_tokens": 4 })));
    let (events, _) = events(&answer);
    assert_eq!(events.len(), 1 + 4 + 1 + 1 + 1);
    for event in &events[..events.len() - 2] {
        assert_eq!(parse(event).get("usage"), Some(&Value::Null), "{event}");
    }
    let last = parse(&events[events.len() - 2]);
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 4);
    assert_eq!(parse(&events[events.len() - 3])["choices"][0]["finish_reason"], "length");
}

#[test]
fn tools_are_called_alike_in_both_forms() {
    let simulator = simulator();
    let schema = json!({ "type": "object", "properties": {
        "city": { "type": "string" }, "days": { "type": "integer" }, "unit": { "enum": ["C", "F"] } } });
    let tool = |name: &str| json!({ "type": "function", "function": { "name": name, "parameters": schema } });
    let wanted = json!({ "tools": [tool("weather"), tool("tide")],
        "messages": [{ "role": "user", "content": "please use the tools" }] });
    let (answer, _) = ask(&simulator, &chat(wanted.clone()));
    let (events, _) = events(&answer);
    let mut streamed = [String::new(), String::new()];
    let mut names = Vec::new();
    for event in events.iter().filter(|event| *event != "[DONE]") {
        for call in parse(event)["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            names.extend(call["function"]["name"].as_str().map(str::to_owned));
            let index = call["index"].as_u64().expect("an index") as usize;
            streamed[index].push_str(call["function"]["arguments"].as_str().expect("a piece"));
        }
    }
    assert_eq!(names, ["weather", "tide"]);
    assert_eq!(parse(&streamed[0]), json!({ "city": "harbour light", "days": 3, "unit": "C" }));
    let mut unary = chat(wanted);
    unary["stream"] = false.into();
    let (answer, _) = ask(&simulator, &unary);
    let answer = parse(answer.split_once("\r\n\r\n").expect("a whole head").1);
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(answer["choices"][0]["message"]["content"], Value::Null);
    for (position, arguments) in streamed.iter().enumerate() {
        let call = &answer["choices"][0]["message"]["tool_calls"][position];
        assert_eq!(call["function"]["arguments"], arguments.as_str());
    }
}

#[test]
fn structured_answers_fit_their_schema() {
    let simulator = simulator();
    let format = json!({ "type": "json_schema", "json_schema": { "name": "s", "schema": {
        "type": "object", "properties": { "list": { "type": "array", "items": { "type": "number" } } } } } });
    let (answer, _) = ask(&simulator, &chat(json!({ "response_format": format })));
    assert_eq!(text(&events(&answer).0, 0), r#"{"list":[2.5]}"#);
}

#[test]
fn every_fault_does_what_it_says() {
    let simulator = simulator();
    let (answer, _) = ask(&simulator, &wish("fault=429/2"));
    assert!(
        answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 2\r\nretry-after-ms: 2000\r\n"),
        "{answer}"
    );
    assert!(answer.contains("rate_limit_exceeded"));
    let (answer, _) = ask(&simulator, &wish("fault=429-quota"));
    assert!(answer.contains("insufficient_quota"), "{answer}");

    let (answer, reset) = ask(&simulator, &wish("fault=cut@3"));
    let (_, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let (body, whole) = unchunk(body);
    assert_eq!((body.matches("\n\n").count(), whole, reset), (3, false, false), "{body}");
    assert!(!body.ends_with('\n'), "half an event must follow");

    let (answer, _) = ask(&simulator, &wish("fault=error@2"));
    let (events, whole) = events(&answer);
    assert_eq!((events.len(), whole), (3, true));
    assert_eq!(parse(&events[2])["error"]["type"], "server_error");

    for bytes in [0, 1, 300, 700] {
        let (answer, reset) = ask(&simulator, &wish(&format!("fault=reset@{bytes}")));
        assert_eq!((answer.len(), reset), (bytes, true));
        assert!(simulator.truth().wait_settled(SOON));
        let record = simulator.truth().last().expect("a request");
        assert_eq!(record.outcome, Outcome::Faulted(format!("reset@{bytes}")));
    }
    let (answer, _) = ask(&simulator, &wish("fault=garbage"));
    assert!(!answer.is_empty() && !answer.starts_with("HTTP/1.1"), "{answer:?}");
    assert_eq!(ask(&simulator, &wish("fault=close")), (String::new(), false));
    let started = Instant::now();
    let (answer, _) = ask(&simulator, &wish("fault=slow@120ms"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && started.elapsed() >= Duration::from_millis(120));

    assert!(simulator.truth().wait_settled(SOON));
    assert_eq!(simulator.truth().counts().requests, 11);
    let faulted = |record: &igris_load::simulator::Record| matches!(record.outcome, Outcome::Faulted(_));
    assert_eq!(simulator.truth().requests().iter().filter(|record| faulted(record)).count(), 10);
}

#[test]
fn a_stale_connection_dies_on_its_second_request() {
    let simulator = simulator();
    simulator.set_behaviour(Behaviour::default().with_fault(Fault::StaleKeepAlive, When::Always));
    let mut stream = connect(&simulator);
    send(&mut stream, &chat(json!({ "stream": false })), false);
    let mut room = [0; 8192];
    let read = stream.read(&mut room).expect("the first request is served");
    assert!(room[..read].starts_with(b"HTTP/1.1 200 "));
    send(&mut stream, &chat(json!({ "stream": false })), false);
    assert_eq!(read_all(&mut stream), (Vec::new(), true));
    assert!(simulator.truth().wait_ended(2, SOON));
    let counts = simulator.truth().counts();
    assert_eq!((counts.completed, counts.faulted, counts.connections_opened), (1, 1, 1));
}

#[test]
fn rules_pick_their_requests() {
    let simulator = simulator();
    let mut behaviour = Behaviour::default().with_fault(Fault::status(503), When::Nth(2));
    behaviour.faults.push(FaultRule::new(Fault::status(500), When::Always).for_model("gpt-4.1"));
    simulator.set_behaviour(behaviour);
    let status = |model: &str| ask(&simulator, &chat(json!({ "model": model }))).0[9..12].to_owned();
    assert_eq!([status("gpt-4o"), status("gpt-4o"), status("gpt-4o"), status("gpt-4.1")], ["200", "503", "200", "500"]);
    assert!(simulator.truth().wait_settled(SOON));
    let by_status = simulator.truth().counts().by_status;
    assert_eq!((by_status[&200], by_status[&500], by_status[&503]), (2, 1, 1));
}

#[test]
fn a_hang_up_is_known_within_a_tenth_of_a_second() {
    let simulator = simulator();
    for directives in ["gap=10s;tokens=50", "latency=30s", "fault=stall@2"] {
        simulator.truth().clear();
        let mut stream = connect(&simulator);
        send(&mut stream, &wish(directives), false);
        assert!(simulator.truth().wait_arrived(1, SOON));
        if directives != "latency=30s" {
            assert!(stream.read(&mut [0; 4096]).expect("a head and an event") > 0);
        }
        std::thread::sleep(Duration::from_millis(30));
        drop(stream);
        let hung_up = Instant::now();
        assert!(simulator.truth().wait_ended(1, SOON), "{directives}");
        let noticed = hung_up.elapsed();
        assert!(noticed < Duration::from_millis(100), "{directives}: {noticed:?}");
        let record = simulator.truth().last().expect("one request");
        match directives {
            "fault=stall@2" => assert_eq!((&record.outcome, record.events), (&Outcome::Faulted("stall@2".into()), 2)),
            "latency=30s" => assert_eq!(record.events, 0),
            _ => {
                assert!(
                    matches!(record.outcome, Outcome::ClientClosed { after } if after >= Duration::from_millis(30))
                );
                assert_eq!((record.events, record.completion_tokens), (1, 0), "the role alone had left");
            }
        }
    }
}

#[test]
fn split_writes_change_nothing_but_timing() {
    let simulator = simulator();
    let (whole, _) = ask(&simulator, &wish("tokens=5"));
    let (split, _) = ask(&simulator, &wish("tokens=5;split=1"));
    assert_eq!(events(&whole), events(&split));
}

#[test]
fn a_stopped_simulator_is_gone() {
    let simulator = simulator();
    let addr = simulator.addr();
    let mut open = connect(&simulator);
    let truth = simulator.truth_shared();
    assert!(ask(&simulator, &chat(json!({}))).0.starts_with("HTTP/1.1 200 "));
    assert!(truth.wait_settled(SOON));
    simulator.stop();
    assert_eq!(read_all(&mut open).0, b"");
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
    assert_eq!(truth.counts().completed, 1);
    let again = Simulator::builder().listen(addr).keys([KEY]).start().expect("the address is free again");
    assert!(ask(&again, &chat(json!({}))).0.starts_with("HTTP/1.1 200 "));
}
