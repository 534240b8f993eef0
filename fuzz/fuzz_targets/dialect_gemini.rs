//! Gemini: any split of a stream gives the same deltas, nothing follows an error, and what our own writers make is read
//! back.
#![no_main]

use igris::chat::delta::Delta;
use igris::dialects::gemini::tap::UsageTap;
use igris::dialects::gemini::{CLIENT, PROVIDER, array_stream_writer, embeddings};
use igris::dialects::{Aim, Setting};
use libfuzzer_sys::fuzz_target;

/// Every delta as text, and whether the end was seen. Ids that the reader makes are other each time.
fn in_steps(stream: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    for read in stream.chunks(step) {
        reader.push(read, &mut |mut delta| {
            if let Delta::ToolStart { id, .. } = &mut delta
                && id.starts_with("call_")
            {
                *id = "call_".into();
            }
            deltas.push(format!("{delta:?}"));
        });
    }
    (deltas, reader.is_complete())
}

fn setting() -> Setting<'static> {
    Setting { id: "1", model: "m", created: 0, usage_event: false, request: b"{}" }
}

/// What comes out of the reader goes through the writers and is a whole stream, and a whole array, again.
fn written_again(stream: &[u8]) {
    let mut reader = (PROVIDER.stream_reader)();
    let (mut events, mut array) = ((CLIENT.stream_writer)(&setting()), array_stream_writer(&setting()));
    let (mut out, mut elements) = (Vec::new(), Vec::new());
    let mut failed = false;
    reader.push(stream, &mut |delta| {
        assert!(!failed, "nothing follows an error");
        failed = matches!(delta, Delta::Error { .. });
        events.write(&delta, &mut out);
        array.write(&delta, &mut elements);
    });
    events.finish(None, None, &mut out);
    array.finish(None, None, &mut elements);
    let (deltas, complete) = in_steps(&out, out.len());
    assert!(complete, "{deltas:?}");
    serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(&elements).expect("a JSON array");
}

fuzz_target!(|input: &[u8]| {
    let Some((step, rest)) = input.split_first() else { return };
    let whole = in_steps(rest, rest.len().max(1));
    assert_eq!(in_steps(rest, usize::from(*step) + 1), whole);
    assert_eq!(in_steps(rest, 1), whole);
    written_again(rest);
    UsageTap::default().look(rest);
    if let Ok(request) = (CLIENT.read_request)(rest) {
        let abilities = Default::default();
        for model in ["gemini-3.8-flash", "gemini-2.5-pro", "gemma-3-27b-it"] {
            let aim = Aim { model, abilities: &abilities, provider: "google" };
            if let Ok(written) = (PROVIDER.write_request)(&request, &aim) {
                (CLIENT.read_request)(&written.body).expect("a request of our own");
            }
        }
    }
    if let Ok(response) = (PROVIDER.read_response)(rest) {
        let mut out = Vec::new();
        (CLIENT.write_response)(&response, &setting(), &mut out);
        (PROVIDER.read_response)(&out).expect("an answer of our own");
    }
    let _ = embeddings::write_batch(rest, "m");
    let mut out = Vec::new();
    if embeddings::read_batch(rest, "m", *step > 127, 1, &mut out).is_ok() {
        serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("a list of our own");
    }
});
