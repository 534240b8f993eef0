//! Every dialect's requests are what the strict simulator takes, and its answers are read for what they are however they are cut.
#![cfg(feature = "load")]

mod wire;

use igris_load::Simulator;
use igris_load::dialect::{Address, Dialect, Flaw, Reading, Seen, Told, compose};
use igris_load::simulator::{Fault, Outcome, Record, When};
use igris_load::workload::{Ask, Role, Turn};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;
use wire::{Reply, SOON, exchange};

/// A key that every surface takes, Amazon's by its first letters.
const KEY: &str = "ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5";

fn simulator(dialect: Dialect) -> Simulator {
    Simulator::builder().dialect(dialect.surface()).keys([KEY]).start().expect("a loopback port")
}

/// A question of three turns with everything a question may have.
fn ask(dialect: Dialect, stream: bool, last: &str) -> Ask {
    let turn = |role, text: &str| Turn { role, text: text.into() };
    Ask {
        index: 0,
        endpoint: 0,
        tenant: 0,
        share: 0,
        dialect,
        model: dialect.default_model().into(),
        stream,
        include_usage: true,
        system: Some("Answer in \"plain\" words.\n日本".into()),
        turns: vec![turn(Role::User, "First?"), turn(Role::Assistant, "Yes."), turn(Role::User, last)],
        output_tokens: Some(500),
        tools: 2,
        session: None,
    }
}

fn composed(ask: &Ask, host: &str) -> Vec<u8> {
    let mut out = Vec::new();
    compose(ask, &Address { host: host.to_owned(), path: String::new() }, KEY, &mut out);
    out
}

/// Sends a question as composed, but for a request to close the connection after the answer.
fn send(simulator: &Simulator, ask: &Ask) -> Reply {
    let request = composed(ask, &simulator.addr().to_string());
    let line = request.iter().position(|byte| *byte == b'\n').expect("a request line") + 1;
    let reply = exchange(simulator, &[&request[..line], b"connection: close\r\n", &request[line..]].concat());
    assert!(simulator.truth().wait_settled(SOON));
    assert_eq!(simulator.truth().violations(), [], "{ask:?}");
    reply
}

fn last(simulator: &Simulator) -> Record {
    simulator.truth().last().expect("a request was sent")
}

fn read(ask: &Ask, reply: &Reply, pieces: &[&[u8]]) -> (Seen, Result<Told, Flaw>) {
    let mut reading = Reading::new(ask, reply.status, reply.field("content-type").unwrap_or_default(), true);
    let mut sum = Seen::default();
    for piece in pieces {
        let seen = reading.push(piece);
        sum.events += seen.events;
        sum.generated += seen.generated;
    }
    (sum, reading.finish())
}

/// Reads an answer whole, in two pieces at every `step`-th place, and byte by byte; all must come to the same.
fn read_every_way(step: usize, ask: &Ask, reply: &Reply) -> (Seen, Result<Told, Flaw>) {
    let whole = read(ask, reply, &[&reply.body]);
    for cut in (0..=reply.body.len()).step_by(step) {
        let (first, second) = reply.body.split_at(cut);
        assert_eq!(read(ask, reply, &[first, second]), whole, "cut at {cut}: {}", reply.text());
    }
    let bytes: Vec<&[u8]> = reply.body.chunks(1).collect();
    assert_eq!(read(ask, reply, &bytes), whole, "byte by byte");
    whole
}

#[test]
fn streams_are_read_however_they_are_cut() {
    for dialect in DIALECTS {
        let simulator = simulator(dialect);
        let ask = ask(dialect, true, "sim:tokens=4 Go on?");
        let reply = send(&simulator, &ask);
        assert_eq!(reply.status, 200, "{dialect}: {}", reply.text());
        let (seen, told) = read_every_way(1, &ask, &reply);
        let told = told.unwrap_or_else(|flaw| panic!("{dialect}: {flaw:?} {}", reply.text()));
        let truth = last(&simulator);
        assert_eq!(truth.outcome, Outcome::Completed);
        assert_eq!(seen.events, truth.events, "{dialect}");
        assert_eq!(seen.generated, 4, "{dialect}");
        assert_eq!(told.output_tokens, Some(u64::from(truth.completion_tokens)), "{dialect}");
        assert_eq!(told.input_tokens, Some(u64::from(truth.prompt_tokens)), "{dialect}");
        assert_eq!((told.output_tokens, told.tool_calls, told.cost_usd), (Some(4), 0, None), "{dialect}");
        let unary = Ask { stream: false, ..ask };
        let reply = send(&simulator, &unary);
        let (seen, whole) = read_every_way(1, &unary, &reply);
        assert_eq!(seen, Seen::default(), "{dialect}");
        assert_eq!(whole, Ok(told), "{dialect}: {}", reply.text());
    }
}

#[test]
fn calls_of_tools_are_counted() {
    for dialect in DIALECTS {
        let simulator = simulator(dialect);
        for (words, calls) in [("use the tool", 1), ("use the tools", 2)] {
            for stream in [true, false] {
                let ask = ask(dialect, stream, words);
                let reply = send(&simulator, &ask);
                let (seen, told) = read_every_way(23, &ask, &reply);
                let told = told.unwrap_or_else(|flaw| panic!("{dialect}: {flaw:?} {}", reply.text()));
                let truth = last(&simulator);
                assert_eq!(told.tool_calls, calls, "{dialect}: {}", reply.text());
                assert_eq!(told.output_tokens, Some(u64::from(truth.completion_tokens)), "{dialect}");
                assert_eq!(seen.generated > 0, stream, "{dialect}");
            }
        }
    }
}

/// A composed request with more members at the end of its body, and the right length.
fn with_members(ask: &Ask, host: &str, members: &str) -> Vec<u8> {
    let request = String::from_utf8(composed(ask, host)).expect("requests are text");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    let (head, _) = head.rsplit_once("content-length: ").expect("a length");
    let body = format!("{},{members}}}", &body[..body.len() - 1]);
    format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn thoughts_are_generated_tokens_but_no_text() {
    let table = [
        (Dialect::Responses, "gpt-5.6-sol", r#""reasoning":{"effort":"high","summary":"auto"}"#),
        (Dialect::Anthropic, "claude-sonnet-4-5", r#""thinking":{"type":"enabled","budget_tokens":1024}"#),
        (Dialect::Bedrock, "anthropic.claude-sonnet-4-5-20250929-v1:0", BEDROCK_THINKS),
        (Dialect::Cohere, "command-a-reasoning-08-2025", r#""thinking":{"type":"enabled"}"#),
        (Dialect::Gemini, "gemini-2.5-flash", GEMINI_THINKS),
    ];
    for (dialect, model, members) in table {
        let simulator = simulator(dialect);
        let base = Ask { system: None, tools: 0, ..ask(dialect, true, "sim:tokens=5;reasoning=7 Go on?") };
        let output_tokens = if dialect == Dialect::Gemini { None } else { Some(2000) };
        let ask = Ask { model: model.into(), output_tokens, ..base };
        let reply = exchange(&simulator, &with_members(&ask, "sim", members));
        assert_eq!(reply.status, 200, "{dialect}: {}", reply.text());
        let (seen, told) = read_every_way(7, &ask, &reply);
        let told = told.unwrap_or_else(|flaw| panic!("{dialect}: {flaw:?} {}", reply.text()));
        assert_eq!((seen.generated, told.output_tokens), (12, Some(12)), "{dialect}: {}", reply.text());
        let unary = Ask { stream: false, ..ask };
        let reply = exchange(&simulator, &with_members(&unary, "sim", members));
        let (_, whole) = read_every_way(7, &unary, &reply);
        assert_eq!(whole, Ok(told), "{dialect}: {}", reply.text());
    }
}

const BEDROCK_THINKS: &str = r#""additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}"#;
const GEMINI_THINKS: &str = r#""generationConfig":{"thinkingConfig":{"includeThoughts":true}}"#;

#[test]
fn a_part_of_an_answer_is_never_taken_for_one() {
    for dialect in DIALECTS {
        let simulator = simulator(dialect);
        for stream in [true, false] {
            let ask = ask(dialect, stream, "sim:tokens=4 Go on?");
            let reply = send(&simulator, &ask);
            let whole = reply.body.trim_ascii_end().len() + if stream && dialect != Dialect::Bedrock { 1 } else { 0 };
            for cut in 0..whole {
                let (_, told) = read(&ask, &reply, &[&reply.body[..cut]]);
                assert_eq!(told, Err(Flaw::Truncated), "{dialect} cut at {cut}: {}", reply.text());
            }
        }
    }
}

/// Some bytes of an answer become others, go away, or come twice.
fn damaged(body: &[u8], dice: &mut Pcg64Mcg) -> Vec<u8> {
    let mut out = body.to_vec();
    for _ in 0..dice.random_range(1..4) {
        if out.is_empty() {
            break;
        }
        let at = dice.random_range(0..out.len());
        let end = (at + dice.random_range(1..40)).min(out.len());
        match dice.random_range(0..5) {
            0 => out[at] = dice.random(),
            1 => out[at] = *b"{}[]\",:\n\\0".choose(dice).expect("a list of letters"),
            2 => drop(out.drain(at..end)),
            3 => drop(out.splice(at..at, out[at..end].to_vec())),
            _ => out.truncate(at),
        }
    }
    out
}

#[test]
fn damage_is_judged_alike_however_it_is_cut() {
    for dialect in DIALECTS {
        let simulator = simulator(dialect);
        let mut judged_good = 0;
        for (stream, words) in [(true, "sim:tokens=9 Go on?"), (true, "use the tools"), (false, "use the tools")] {
            let ask = ask(dialect, stream, words);
            let reply = send(&simulator, &ask);
            for seed in 0..250 {
                let mut dice = Pcg64Mcg::seed_from_u64(seed);
                let body = damaged(&reply.body, &mut dice);
                let whole = read(&ask, &reply, &[&body]);
                let mut pieces = Vec::new();
                let mut rest = &body[..];
                while !rest.is_empty() {
                    let (piece, more) = rest.split_at(dice.random_range(1..120).min(rest.len()));
                    pieces.push(piece);
                    rest = more;
                }
                assert_eq!(read(&ask, &reply, &pieces), whole, "{dialect}, seed {seed}: {words}");
                judged_good += usize::from(whole.1.is_ok());
                if whole.1.is_ok() && stream && dialect != Dialect::Bedrock {
                    let alone = body.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>();
                    let events = alone.split_inclusive(|line| *line == b"\n").map(<[&[u8]]>::concat);
                    let generated: u32 = events.map(|event| read(&ask, &reply, &[&event]).0.generated).sum();
                    assert_eq!(generated, whole.0.generated, "{dialect}, seed {seed}: what was learnt misled");
                }
            }
        }
        // Damage to a word is none to its dialect, but most damage must be told. A frame has checksums.
        let most = if dialect == Dialect::Bedrock { 250 } else { 610 };
        assert!((1..most).contains(&judged_good), "{dialect}: {judged_good} of 750");
    }
}

#[test]
fn every_fault_is_told_from_the_others() {
    for dialect in DIALECTS {
        let simulator = simulator(dialect);
        let flaw = |fault: Fault, stream: bool| {
            simulator.set_behaviour(simulator::behaviour(fault));
            let ask = ask(dialect, stream, "sim:tokens=9 Go on?");
            let reply = send(&simulator, &ask);
            (reply.status, read_every_way(5, &ask, &reply).1)
        };
        for after_events in [1, 3] {
            let (status, cut) = flaw(Fault::CutMidEvent { after_events }, true);
            assert_eq!((status, cut), (200, Err(Flaw::Truncated)), "{dialect}");
            match flaw(Fault::ErrorInStream { after_events }, true) {
                (200, Err(Flaw::StreamError(message))) => assert!(message.len() > 8, "{dialect}: {message}"),
                other => panic!("{dialect}: {other:?}"),
            }
        }
        assert_eq!(flaw(Fault::CutMidEvent { after_events: 0 }, false), (200, Err(Flaw::Truncated)), "{dialect}");
        let (status, told) = flaw(Fault::status(429), false);
        let text = told.expect("a refusal is no flaw of its body").text;
        assert!(status == 429 && text.len() > 8 && !text.starts_with('{'), "{dialect}: {status} {text}");
    }
}

/// Behaviours of the simulator.
mod simulator {
    use super::{Fault, When};
    use igris_load::simulator::Behaviour;

    /// One fault, always.
    pub fn behaviour(fault: Fault) -> Behaviour {
        Behaviour::default().with_fault(fault, When::Always)
    }
}

const DIALECTS: [Dialect; 6] = Dialect::ALL;

#[test]
fn requests_are_what_the_official_clients_send() {
    for (dialect, expected) in GOLDEN {
        let request = composed(&Ask { tools: 1, ..ask(dialect, true, "Go on?") }, "host:1");
        assert_eq!(String::from_utf8_lossy(&request), expected.replace('\n', "\r\n"), "{dialect}");
    }
}

const GOLDEN: [(Dialect, &str); 6] = [
    (
        Dialect::OpenAi,
        r#"POST /v1/chat/completions HTTP/1.1
host: host:1
user-agent: igris-load/0.1.0
accept: text/event-stream
content-type: application/json
authorization: Bearer ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5
content-length: 501

{"model":"gpt-4o","messages":[{"role":"system","content":"Answer in \"plain\" words.\n日本"},{"role":"user","content":"First?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Go on?"}],"max_completion_tokens":500,"tools":[{"type":"function","function":{"name":"tool_0","description":"Looks something up.","parameters":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}}}],"stream":true,"stream_options":{"include_usage":true}}"#,
    ),
    (
        Dialect::Responses,
        r#"POST /v1/responses HTTP/1.1
host: host:1
user-agent: igris-load/0.1.0
accept: text/event-stream
content-type: application/json
authorization: Bearer ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5
content-length: 443

{"model":"gpt-4o","instructions":"Answer in \"plain\" words.\n日本","input":[{"role":"user","content":"First?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Go on?"}],"max_output_tokens":500,"tools":[{"type":"function","name":"tool_0","description":"Looks something up.","parameters":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]},"strict":false}],"stream":true}"#,
    ),
    (
        Dialect::Anthropic,
        r#"POST /v1/messages HTTP/1.1
host: host:1
user-agent: igris-load/0.1.0
accept: text/event-stream
content-type: application/json
anthropic-version: 2023-06-01
x-api-key: ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5
content-length: 412

{"model":"claude-haiku-4-5","max_tokens":500,"system":"Answer in \"plain\" words.\n日本","messages":[{"role":"user","content":"First?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Go on?"}],"tools":[{"name":"tool_0","description":"Looks something up.","input_schema":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}}],"stream":true}"#,
    ),
    (
        Dialect::Gemini,
        r#"POST /v1beta/models/gemini-2.5-flash-lite:streamGenerateContent?alt=sse HTTP/1.1
host: host:1
user-agent: igris-load/0.1.0
accept: text/event-stream
content-type: application/json
x-goog-api-key: ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5
content-length: 477

{"contents":[{"role":"user","parts":[{"text":"First?"}]},{"role":"model","parts":[{"text":"Yes."}]},{"role":"user","parts":[{"text":"Go on?"}]}],"systemInstruction":{"parts":[{"text":"Answer in \"plain\" words.\n日本"}]},"generationConfig":{"maxOutputTokens":500},"tools":[{"functionDeclarations":[{"name":"tool_0","description":"Looks something up.","parameters":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}}]}]}"#,
    ),
    (
        Dialect::Bedrock,
        r#"POST /model/amazon.nova-pro-v1%3A0/converse-stream HTTP/1.1
host: host:1
user-agent: igris-load/0.1.0
accept: application/vnd.amazon.eventstream
content-type: application/json
authorization: Bearer ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5
content-length: 470

{"messages":[{"role":"user","content":[{"text":"First?"}]},{"role":"assistant","content":[{"text":"Yes."}]},{"role":"user","content":[{"text":"Go on?"}]}],"system":[{"text":"Answer in \"plain\" words.\n日本"}],"inferenceConfig":{"maxTokens":500},"toolConfig":{"tools":[{"toolSpec":{"name":"tool_0","description":"Looks something up.","inputSchema":{"json":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}}}}]}}"#,
    ),
    (
        Dialect::Cohere,
        r#"POST /v2/chat HTTP/1.1
host: host:1
user-agent: igris-load/0.1.0
accept: text/event-stream
content-type: application/json
authorization: Bearer ABSKQmVkcm9ja0FQSUtleS0wMTIzNDU2Nzg5
content-length: 461

{"model":"command-a-03-2025","messages":[{"role":"system","content":"Answer in \"plain\" words.\n日本"},{"role":"user","content":"First?"},{"role":"assistant","content":"Yes."},{"role":"user","content":"Go on?"}],"max_tokens":500,"tools":[{"type":"function","function":{"name":"tool_0","description":"Looks something up.","parameters":{"type":"object","properties":{"query":{"type":"string"},"limit":{"type":"integer"}},"required":["query"]}}}],"stream":true}"#,
    ),
];

/// What is wrong with a body, or what it told.
fn judged(dialect: Dialect, stream: bool, body: &str) -> (Seen, Result<Told, Flaw>) {
    let media_type = if stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    let mut reading = Reading::new(&ask(dialect, stream, "x"), 200, media_type, true);
    (reading.push(body.as_bytes()), reading.finish())
}

#[test]
fn breaches_of_a_dialect_are_told_for_what_they_are() {
    let openai = r#"data: {"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    let table = [
        (Dialect::OpenAi, format!("{openai}\n\ndata: [DONE]\n\n{openai}\n\n"), "an event after [DONE]"),
        (Dialect::OpenAi, format!("{openai}\n\ndata: [DONE]\n\ndata: [DONE]\n\n"), "an event after [DONE]"),
        (Dialect::OpenAi, "data: {\"choices\":[}\n\n".into(), "not JSON"),
        (Dialect::OpenAi, "data: {\"choices\":[\n\n".into(), "an event that is not whole JSON"),
        (Dialect::OpenAi, "data: {\"choices\":7}\n\n".into(), "JSON of another shape than the dialect's"),
        (Dialect::OpenAi, "data: {\"object\":\"x\"}\n\n".into(), "a chunk without choices"),
        (Dialect::Anthropic, "data: {\"type\":\"ping\"}\n\n".into(), "an event whose name is not its type"),
        (
            Dialect::Anthropic,
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n"
                .into(),
            "an event after message_stop",
        ),
        (Dialect::Cohere, "data: {}\n\n".into(), "an event without a type"),
    ];
    for (dialect, body, what) in table {
        assert_eq!(judged(dialect, true, &body).1, Err(Flaw::Malformed(what)), "{body}");
    }
    let table = [
        (Dialect::OpenAi, r#"{"choices":[]}"#, "an answer without choices"),
        (Dialect::Responses, "{}", "an answer without output"),
        (Dialect::Anthropic, "{}", "an answer without content"),
        (Dialect::Gemini, r#"{"candidates":[{}]}"#, "an answer that does not say why it ends"),
        (Dialect::Bedrock, "{}", "an answer without output"),
        (Dialect::Cohere, "{}", "an answer without a message"),
        (Dialect::OpenAi, "<html></html>", "not JSON"),
        (Dialect::OpenAi, r#"{"choices":[]} {}"#, "not JSON"),
    ];
    for (dialect, body, what) in table {
        assert_eq!(judged(dialect, false, body).1, Err(Flaw::Malformed(what)), "{dialect} {body}");
    }
    for (stream, media_type) in [(true, "application/json"), (false, "text/event-stream")] {
        let reading = Reading::new(&ask(Dialect::OpenAi, stream, "x"), 200, media_type, false);
        assert!(matches!(reading.finish(), Err(Flaw::Malformed(_))), "{stream} {media_type}");
    }
}

#[test]
fn an_error_with_status_200_is_none_of_the_answers() {
    let table = [
        (Dialect::OpenAi, false, r#"{"error":{"message":"no room"}}"#),
        (Dialect::OpenAi, true, "data: {\"error\":{\"message\":\"no room\",\"code\":500}}\n\n"),
        (Dialect::OpenAi, true, "event: error\ndata: {\"error\":\"no room\"}\n\n"),
        (Dialect::Responses, false, r#"{"output":[],"error":{"message":"no room"}}"#),
        (Dialect::Responses, true, "data: {\"type\":\"error\",\"message\":\"no room\"}\n\n"),
        (
            Dialect::Responses,
            true,
            "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"no room\"}}}\n\n",
        ),
        (Dialect::Anthropic, false, r#"{"type":"error","error":{"message":"no room"}}"#),
        (Dialect::Anthropic, true, "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"no room\"}}\n\n"),
        (Dialect::Gemini, true, "data: {\"error\":{\"message\":\"no room\"}}\r\n\r\n"),
        (
            Dialect::Cohere,
            true,
            "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"no room\"}}\n\n",
        ),
    ];
    for (dialect, stream, body) in table {
        assert_eq!(judged(dialect, stream, body).1, Err(Flaw::StreamError("no room".into())), "{dialect} {body}");
    }
}

#[test]
fn a_gateway_may_comment_and_name_its_price() {
    let body = concat!(
        ": igris is thinking\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"caf\\u00e9\"}}]}\n\n",
        "\n\n",
        "event: ping\ndata:\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"metadata\":{\"cost_usd\":0.0025}}\r\n\r\n",
        "data: [DONE]\n\n",
    );
    let (seen, told) = judged(Dialect::OpenAi, true, body);
    let told = told.expect("a good stream");
    assert_eq!((seen.events, seen.generated), (5, 1));
    assert_eq!((told.text.as_str(), told.cost_usd), ("café", Some(0.0025)));
    let body = "\n\n {\"choices\":[{\"message\":{\"content\":\"a\"}}],\"metadata\":{\"cost_usd\":null}}\n";
    let told = judged(Dialect::OpenAi, false, body).1.expect("a good answer");
    assert_eq!((told.text.as_str(), told.cost_usd), ("a", None));
}
