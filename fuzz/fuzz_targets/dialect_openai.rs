//! Chat Completions: any split of a stream gives the same deltas, what is written is JSON, and nothing breaks a reader.
#![no_main]

use igris::chat::ability::Abilities;
use igris::chat::delta::Delta;
use igris::dialects::openai::ways::{VENDORS, Ways};
use igris::dialects::openai::{CLIENT, PROVIDER, clean};
use igris::dialects::{Aim, Setting};
use igris::json::scan::{self, Names};
use igris::json::splice::Edits;
use libfuzzer_sys::fuzz_target;

const SETTING: Setting<'static> = Setting { id: "1", model: "m", created: 0, usage_event: true, request: b"{}" };

/// The deltas, whether the stream is whole, and what a Chat client is sent of it.
fn in_steps(stream: &[u8], step: usize) -> (Vec<String>, bool, Vec<u8>) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut writer = (CLIENT.stream_writer)(&SETTING);
    let (mut deltas, mut out) = (Vec::new(), Vec::new());
    for read in stream.chunks(step) {
        reader.push(read, &mut |delta: Delta<'_>| {
            deltas.push(format!("{delta:?}"));
            writer.write(&delta, &mut out);
        });
    }
    writer.finish(None, Some(b"\"a\":1"), &mut out);
    (deltas, reader.is_complete(), out)
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
}

/// Every vendor's body for a request that reads, and the request itself cleaned for every vendor.
fn requests(body: &[u8]) {
    let abilities = Abilities::default();
    if let Ok(request) = (CLIENT.read_request)(body) {
        for ways in VENDORS {
            let aim = Aim { model: "m", abilities: &abilities, provider: ways.vendor };
            if let Ok(written) = (PROVIDER.write_request)(&request, &aim) {
                assert!((CLIENT.read_request)(&written.body).is_ok(), "{}: what is written reads", ways.vendor);
            }
        }
    }
    static NAMES: Names = Names::new(&["messages"]);
    let mut found = [None; 1];
    if scan::members(body, &NAMES, &mut found).is_err() {
        return;
    }
    let Some(messages) = found[0] else { return };
    for ways in VENDORS {
        let mut edits = Edits::new();
        clean::edits(body, messages.value, Ways::of(ways.vendor), &abilities, &mut edits);
        let mut sent = Vec::new();
        edits.write(body, &mut sent);
        assert!(scan::validate(&sent, 64).is_ok(), "{}: what is cleaned is JSON", ways.vendor);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((step, bytes)) = input.split_first() else { return };
    let whole = in_steps(bytes, bytes.len().max(1));
    assert_eq!(in_steps(bytes, usize::from(*step) + 1), whole);
    assert_eq!(in_steps(bytes, 1), whole);
    let text = String::from_utf8(whole.2).expect("what is written is UTF-8");
    for event in text.split_terminator("\n\n") {
        let data = event.strip_prefix("data: ").expect("one line of data");
        assert!(data == "[DONE]" || is_json(data.as_bytes()), "{data}");
    }
    if let Ok(response) = (PROVIDER.read_response)(bytes) {
        let mut out = Vec::new();
        (CLIENT.write_response)(&response, &SETTING, &mut out);
        assert!(is_json(&out));
    }
    requests(bytes);
});
