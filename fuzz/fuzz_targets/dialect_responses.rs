//! The Responses format: any split of a provider's stream gives the same deltas, and what a client's writer makes of them ends once and whole.
#![no_main]

use igris::chat::shown::Shown;
use igris::dialects::Setting;
use igris::dialects::responses::{CLIENT, PROVIDER, tap};
use igris::http::sse::{self, EventAssembler};
use libfuzzer_sys::fuzz_target;

const REQUEST: &[u8] = br#"{"model":"m","input":"x","metadata":{"a":"b"},"tools":[{"type":"custom","name":"f"}]}"#;

/// The deltas as text, and whether the end was seen.
fn deltas(stream: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    for read in stream.chunks(step) {
        reader.push(read, &mut |delta| deltas.push(format!("{delta:?}")));
    }
    (deltas, reader.is_complete())
}

/// What a client gets: every event is JSON on one line with the next number, and the last one alone is an end.
fn relayed(stream: &[u8]) {
    let setting = Setting { id: "1", model: "m", created: 1, usage_event: false, request: REQUEST };
    let mut writer = (CLIENT.stream_writer)(&setting);
    let mut reader = (PROVIDER.stream_reader)();
    let mut out = Vec::new();
    reader.push(stream, &mut |delta| writer.write(&delta, &mut out));
    if reader.is_complete() {
        writer.finish(None, Some(b"\"provider\":\"p\""), &mut out);
    } else {
        let shown = Shown { status: 502, code: "c", kind: "k", message: "m", param: None, request_id: "r" };
        writer.fail(&shown, &mut out);
    }
    let (mut count, mut ends) = (0u64, Vec::new());
    let mut assembler = EventAssembler::new(1 << 24);
    assembler.push(&out, |event| {
        let mut spare = Vec::new();
        let data = sse::data(event).joined(&mut spare).expect("every event has data");
        let value: serde_json::Value = serde_json::from_slice(data).expect("JSON on one line");
        assert_eq!(value["sequence_number"].as_u64(), Some(count));
        count += 1;
        if tap::look(sse::name(event), data).kind != tap::Kind::Plain {
            ends.push(count);
        }
    });
    assert!(assembler.unfinished().is_empty());
    assert_eq!(ends, [count]);
}

fuzz_target!(|input: &[u8]| {
    let Some((step, stream)) = input.split_first() else { return };
    let whole = deltas(stream, stream.len().max(1));
    assert_eq!(deltas(stream, usize::from(*step) + 1), whole);
    assert_eq!(deltas(stream, 1), whole);
    relayed(stream);
    if let Ok(request) = (CLIENT.read_request)(stream) {
        let abilities = igris::chat::ability::Abilities::default();
        let aim = igris::dialects::Aim { model: "m", abilities: &abilities, provider: "openai" };
        if let Ok(written) = (PROVIDER.write_request)(&request, &aim) {
            serde_json::from_slice::<serde_json::Value>(&written.body).expect("what is sent is JSON");
        }
    }
    if let Ok(response) = (PROVIDER.read_response)(stream) {
        let setting = Setting { id: "1", model: "m", created: 1, usage_event: false, request: REQUEST };
        let mut out = Vec::new();
        (CLIENT.write_response)(&response, &setting, &mut out);
        serde_json::from_slice::<serde_json::Value>(&out).expect("what is answered is JSON");
    }
    if let Some(with) = tap::with_metadata(stream, b"\"a\":1") {
        // Numbers beyond a `f64` pass as they came, and `serde_json` refuses those.
        igris::json::scan::validate(&with, 64).expect("what is spliced is JSON");
    }
});
