//! Messages: any split of a stream gives the same deltas, nothing follows an error, and what our own writers make is read back.
#![no_main]

use igris::chat::delta::Delta;
use igris::dialects::anthropic::tap::UsageTap;
use igris::dialects::anthropic::{CLIENT, PROVIDER};
use igris::dialects::{Aim, Setting};
use libfuzzer_sys::fuzz_target;

/// Every delta as text, and whether the end was seen.
fn in_steps(stream: &[u8], step: usize) -> (Vec<String>, bool) {
    let mut reader = (PROVIDER.stream_reader)();
    let mut deltas = Vec::new();
    for read in stream.chunks(step) {
        reader.push(read, &mut |delta| deltas.push(format!("{delta:?}")));
    }
    (deltas, reader.is_complete())
}

fn setting() -> Setting<'static> {
    Setting { id: "1", model: "m", created: 0, usage_event: false, request: b"{}" }
}

/// What comes out of the reader goes through the writer and is a whole stream again.
fn written_again(stream: &[u8]) {
    let (mut reader, mut writer) = ((PROVIDER.stream_reader)(), (CLIENT.stream_writer)(&setting()));
    let mut out = Vec::new();
    let mut failed = false;
    reader.push(stream, &mut |delta| {
        assert!(!failed, "nothing follows an error");
        failed = matches!(delta, Delta::Error { .. });
        writer.write(&delta, &mut out);
    });
    writer.finish(None, None, &mut out);
    let (deltas, complete) = in_steps(&out, out.len());
    assert!(complete, "{deltas:?}");
}

fuzz_target!(|input: &[u8]| {
    let Some((step, rest)) = input.split_first() else { return };
    let whole = in_steps(rest, rest.len().max(1));
    assert_eq!(in_steps(rest, usize::from(*step) + 1), whole);
    assert_eq!(in_steps(rest, 1), whole);
    written_again(rest);
    UsageTap::default().look(None, rest);
    if let Ok(request) = (CLIENT.read_request)(rest) {
        let abilities = Default::default();
        let aim = Aim { model: "claude-opus-5", abilities: &abilities, provider: "anthropic" };
        if let Ok(written) = (PROVIDER.write_request)(&request, &aim) {
            (CLIENT.read_request)(&written.body).expect("a request of our own");
        }
    }
    if let Ok(response) = (PROVIDER.read_response)(rest) {
        let mut out = Vec::new();
        (CLIENT.write_response)(&response, &setting(), &mut out);
        (PROVIDER.read_response)(&out).expect("an answer of our own");
    }
});
