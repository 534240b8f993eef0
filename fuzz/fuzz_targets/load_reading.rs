//! Answers as the load tester reads them: any split gives the same counts and the same verdict, and what it learnt of a stream's
//! common event never changes what an event is, since each event read alone, where nothing was learnt, counts the same.
#![no_main]

use igris_load::dialect::{Dialect, Flaw, Reading, Seen, Told};
use igris_load::workload::{Ask, Role, Turn};
use libfuzzer_sys::fuzz_target;

fn ask(dialect: Dialect, stream: bool) -> Ask {
    Ask {
        index: 0,
        endpoint: 0,
        tenant: 0,
        share: 0,
        dialect,
        model: dialect.default_model().into(),
        stream,
        include_usage: true,
        system: None,
        turns: vec![Turn { role: Role::User, text: "x".into() }],
        output_tokens: None,
        tools: 0,
        session: None,
    }
}

fn read(ask: &Ask, body: &[u8], step: usize) -> (Seen, Result<Told, Flaw>) {
    let media_type = match (ask.stream, ask.dialect) {
        (false, _) => "application/json",
        (true, Dialect::Bedrock) => "application/vnd.amazon.eventstream",
        (true, _) => "text/event-stream",
    };
    let mut reading = Reading::new(ask, 200, media_type, true);
    let mut sum = Seen::default();
    for piece in body.chunks(step) {
        let seen = reading.push(piece);
        sum.events += seen.events;
        sum.generated += seen.generated;
    }
    (sum, reading.finish())
}

fuzz_target!(|input: &[u8]| {
    let [choice, step, body @ ..] = input else { return };
    let dialect = Dialect::ALL[usize::from(choice / 2) % Dialect::ALL.len()];
    let ask = ask(dialect, choice % 2 == 1);
    let whole = read(&ask, body, body.len().max(1));
    assert_eq!(read(&ask, body, usize::from(*step).max(1)), whole);
    if !ask.stream || dialect == Dialect::Bedrock || whole.1.is_err() || body.contains(&b'\r') {
        return;
    }
    let lines: Vec<&[u8]> = body.split_inclusive(|byte| *byte == b'\n').collect();
    let events = lines.split_inclusive(|line| *line == b"\n").map(<[&[u8]]>::concat);
    let generated: u32 = events.map(|event| read(&ask, &event, event.len()).0.generated).sum();
    assert_eq!(generated, whole.0.generated);
});
