//! Relays that know events by their refrain against twins that read each in full: the same bytes, the same facts after every read.

use super::*;
use crate::data_plane::native_stream::NativeRelay;
use crate::dialects::Wire;
use proptest::prelude::*;

/// Words as JSON writes them, among them such as would mean something outside of a string.
const WORDS: [&str; 14] = [
    "",
    " the",
    " größer",
    "漢字",
    "\\n",
    "\\\"usage\\\":{\\\"prompt_tokens\\\":1}",
    "usage",
    "finish_reason",
    "error",
    "\\u00e4",
    "\\ud83d\\ude00",
    "\\\\",
    " a longer run of words without anything special in it",
    // Broken: a control character, and an escape that is none.
    "\u{1}\\x",
];

const CHAT: [&str; 15] = [
    r#"{"id":"c-1","object":"chat.completion.chunk","created":1795416713,"model":"m","choices":[{"index":0,"delta":{"content":"WORDS"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"PAD"}"#,
    r#"{"id":"c-1","created":NUMBER,"choices":[{"index":0,"delta":{"content":"WORDS"},"finish_reason":null}]}"#,
    r#"{"id":"c-1","created":NUMBER,"choices":[{"index":0,"delta":{"content":"WORDS"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":1,"delta":{"content":"WORDS"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":null,"reasoning_content":"WORDS"},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"","reasoning":"WORDS","reasoning_details":[{"type":"reasoning.text","text":"WORDS"}]},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"WORDS"}}]},"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"WORDS","arguments":"{"}}]},"finish_reason":null}]}"#,
    r#"{"choices":[{"text":"WORDS","index":0,"finish_reason":null}]}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"WORDS"},"finish_reason":null}],"usage":{"prompt_tokens":NUMBER,"completion_tokens":2}}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"WORDS"},"finish_reason":"stop"}]}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":NUMBER,"completion_tokens":7}}"#,
    r#"{"error":{"message":"WORDS"}}"#,
    r#"{"choices":[{"index":0,"delta":{"content":"WORDS"},"finish_reason":null}]"#,
    "[DONE]",
];

const GEMINI: [&str; 7] = [
    r#"{"candidates": [{"content": {"parts": [{"text": "WORDS"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 12,"candidatesTokenCount": NUMBER,"totalTokenCount": NUMBER,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 12}]},"modelVersion": "g"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"WORDS"}]}}],"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":NUMBER,"thoughtsTokenCount":NUMBER}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"WORDS","thought":true}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"WORDS","thoughtSignature":"Ci"}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"WORDS"},{"functionCall":{"name":"n"}}]}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"WORDS"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":NUMBER}}"#,
    r#"{"error":{"message":"WORDS"}}"#,
];

const MESSAGES: [&str; 6] = [
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"WORDS"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"WORDS"}}"#,
    r#"{"type":"content_block_delta","index":NUMBER,"delta":{"type":"thinking_delta","thinking":"WORDS"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"WORDS"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"PAD"}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":NUMBER}}"#,
];

const RESPONSES: [&str; 5] = [
    r#"{"type":"response.output_text.delta","sequence_number":NUMBER,"item_id":"i","delta":"WORDS","logprobs":[],"obfuscation":"PAD"}"#,
    r#"{"type":"response.output_text.delta","sequence_number":NUMBER,"item_id":"i","delta":"WORDS"}"#,
    r#"{"type":"response.function_call_arguments.delta","sequence_number":NUMBER,"delta":"WORDS"}"#,
    r#"{"type":"response.output_item.added","item":{"type":"function_call","name":"WORDS"}}"#,
    r#"{"type":"response.completed","response":{"usage":{"input_tokens":NUMBER,"output_tokens":3}}}"#,
];

/// An event: which of the texts, its words, its numbers, how its lines end, and whether it has a name.
type Draw = (prop::sample::Index, usize, u32, usize, bool);

fn stream(texts: &[&str], draws: &[Draw]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (text, words, number, end, named) in draws {
        let end = ["\n", "\n", "\r\n", "\r"][end % 4];
        let data = text
            .get(texts)
            .replace("WORDS", WORDS[words % WORDS.len()])
            .replace("NUMBER", &number.to_string())
            .replace("PAD", &"x".repeat(words % 5));
        let kind = data.split('"').nth(3).unwrap_or_default().to_owned();
        if *named && data.starts_with("{\"type\"") {
            stream.extend_from_slice(format!("event: {kind}{end}").as_bytes());
        }
        stream.extend_from_slice(format!("data: {data}{end}{end}").as_bytes());
        if words % 7 == 0 {
            stream.extend_from_slice(format!(": ping{end}{end}{end}").as_bytes());
        }
    }
    stream
}

/// What is to be the same: all bytes so far, and what is known.
type Seen = (Vec<u8>, String, Progress);

fn chat(stream: &[u8], cuts: &[usize], wishes: StreamWishes, twin: bool) -> Vec<Seen> {
    let mut relay = StreamRelay::new(wishes);
    if twin {
        relay.refrain = Refrain::never();
    }
    let (mut out, mut seen) = (Vec::new(), Vec::new());
    for piece in pieces(stream, cuts) {
        relay.feed(piece, &mut out, &mut |facts, out| out.extend_from_slice(format!("{facts:?}").as_bytes()));
        seen.push((out.clone(), format!("{:?}", relay.facts()), relay.progress()));
    }
    seen
}

fn native(wire: Wire, stream: &[u8], cuts: &[usize], twin: bool) -> Vec<Seen> {
    let mut relay = NativeRelay::new(wire, false, true).expect("it passes");
    if twin {
        relay.reads_all();
    }
    let (mut out, mut seen) = (Vec::new(), Vec::new());
    for piece in pieces(stream, cuts) {
        relay.feed(piece, &mut out, &mut |_, out| out.extend_from_slice(b"\"metadata\":{\"a\":1}"));
        seen.push((out.clone(), format!("{:?}", relay.facts()), relay.progress()));
    }
    seen
}

fn pieces<'s>(stream: &'s [u8], cuts: &[usize]) -> Vec<&'s [u8]> {
    let (mut at, mut pieces) = (0, Vec::new());
    for end in cuts.iter().map(|cut| cut % (stream.len() + 1)).chain([stream.len()]) {
        if end > at {
            pieces.push(&stream[at..end]);
            at = end;
        }
    }
    pieces
}

#[test]
fn a_plain_stream_is_known_by_its_refrain() {
    for (wire, text) in [
        (Wire::Chat, CHAT[0]),
        (Wire::Gemini, GEMINI[0]),
        (Wire::Messages, MESSAGES[0]),
        (Wire::Responses, RESPONSES[0]),
    ] {
        let event = |words: &str| format!("data: {}\n\n", text.replace("WORDS", words).replace("NUMBER", "5"));
        let stream = [event("one"), event("two"), event("three")].concat();
        let mut chat =
            StreamRelay::new(StreamWishes { metadata: true, usage_event: false, accounting: Accounting::OpenAi });
        let mut native = NativeRelay::new(wire, false, true);
        let mut out = Vec::new();
        let known = match &mut native {
            None => {
                chat.feed(stream.as_bytes(), &mut out, &mut |_, _| {});
                chat.refrain.verses
            }
            Some(relay) => {
                relay.feed(stream.as_bytes(), &mut out, &mut |_, _| {});
                relay.verses()
            }
        };
        assert_eq!(known, 2, "{wire:?}");
        assert_eq!(out, stream.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn chat_streams_are_what_their_twins_say(
        draws in prop::collection::vec(any::<Draw>(), 0..14),
        steady in any::<prop::sample::Index>(),
        mut cuts in prop::collection::vec(0_usize..4000, 0..10),
        metadata in any::<bool>(),
    ) {
        cuts.sort_unstable();
        let wishes = StreamWishes { metadata, usage_event: !metadata, accounting: Accounting::OpenAi };
        // Of one kind mostly, as streams are.
        let texts = [&[*steady.get(&CHAT); 20][..], &CHAT].concat();
        let stream = stream(&texts, &draws);
        prop_assert_eq!(chat(&stream, &cuts, wishes, false), chat(&stream, &cuts, wishes, true));
    }

    #[test]
    fn native_streams_are_what_their_twins_say(
        draws in prop::collection::vec(any::<Draw>(), 0..14),
        steady in any::<prop::sample::Index>(),
        mut cuts in prop::collection::vec(0_usize..4000, 0..10),
    ) {
        cuts.sort_unstable();
        let formats = [(Wire::Gemini, &GEMINI[..]), (Wire::Messages, &MESSAGES[..]), (Wire::Responses, &RESPONSES[..])];
        for (wire, texts) in formats {
            let texts = [&[*steady.get(texts); 20][..], texts].concat();
            let stream = stream(&texts, &draws);
            prop_assert_eq!(native(wire, &stream, &cuts, false), native(wire, &stream, &cuts, true), "{:?}", wire);
        }
    }
}
