//! Speech out of text, as bytes or as events, and text out of uploaded speech.

use super::Refusal;
use super::breach::fit;
use super::work::{directives, tokens, work};
use crate::simulator::multipart::{Part, parts};
use crate::simulator::plan::{Choice, Format, Question, Speech};
use crate::simulator::seal::base64;
use crate::simulator::shape::{Shape, must, null};
use crate::simulator::surface::{Asked, Call, Told};
use crate::simulator::text::{digest, mix, quote};
use serde_json::Value;

static SPEECH: Shape = Shape::Object(&[
    must("model", Shape::Text),
    must("input", Shape::Ink),
    must("voice", Shape::Or(&Shape::Text, &Shape::Object(&[must("id", Shape::Text)]))),
    null("instructions", Shape::Text),
    null("response_format", Shape::OneOf(&["mp3", "opus", "aac", "flac", "wav", "pcm"])),
    null("speed", Shape::Number(0.25, 4.0)),
    null("stream_format", Shape::OneOf(&["sse", "audio"])),
]);

/// Bytes of one piece of speech.
const PIECE_BYTES: usize = 400;

/// `POST /audio/speech`: a piece for every word.
pub(super) fn speech(call: &Call<'_>, body: &Value) -> Result<Asked, Refusal> {
    let body = &fit(&SPEECH, body)?;
    let (model, input) = (body["model"].as_str().unwrap_or_default(), body["input"].as_str().unwrap_or_default());
    if input.chars().count() > 4096 {
        let message = "Invalid 'input': string too long. Expected a string with maximum length 4096.";
        return Err(Refusal::invalid(Some("string_above_max_length"), "input", message));
    }
    let directives = directives(&[body["instructions"].as_str().unwrap_or_default(), input])?;
    let format = body["response_format"].as_str().unwrap_or("mp3");
    let seed = mix(digest(input.as_bytes()), digest(format.as_bytes()));
    let count = input.split_whitespace().count().max(1) as u64;
    let pieces = (0..count).map(|number| piece(mix(seed, number), number == 0, format));
    let (prompt, produced) = (tokens(input.len()), 0);
    let told = if body["stream_format"] == "sse" {
        let delta = |piece: Vec<u8>| format!(r#"{{"type":"speech.audio.delta","audio":"{}"}}"#, base64(&piece));
        let usage = format!(
            r#"{{"input_tokens":{prompt},"output_tokens":{count},"total_tokens":{}}}"#,
            u64::from(prompt) + count
        );
        let done = format!(r#"{{"type":"speech.audio.done","usage":{usage}}}"#);
        let events = pieces.map(delta).chain([done]).zip(1..);
        let event =
            |(event, number): (String, u32)| (format!("data: {event}\n\n").into_bytes(), number.min(count as u32));
        Told {
            kind: "text/event-stream; charset=utf-8",
            events: events.map(event).collect(),
            completion_tokens: count as u32,
            broken: Some(|_| Refusal::for_status(500).event().into_bytes()),
            ..Told::default()
        }
    } else {
        Told { kind: kind(format), events: pieces.map(|piece| (piece, produced)).collect(), ..Told::default() }
    };
    work(call, model, true, prompt, directives, told)
}

fn kind(format: &str) -> &'static str {
    match format {
        "opus" => "audio/opus",
        "aac" => "audio/aac",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "pcm" => "audio/pcm",
        _ => "audio/mpeg",
    }
}

/// Bytes of every value, the first ones with the mark of their format.
fn piece(seed: u64, first: bool, format: &str) -> Vec<u8> {
    let mark: &[u8] = match format {
        _ if !first => b"",
        "opus" => b"OggS",
        "flac" => b"fLaC",
        "wav" => b"RIFF\xff\xff\xff\xffWAVE",
        "pcm" => b"",
        _ => b"ID3",
    };
    let mut out = mark.to_vec();
    let mut state = seed;
    while out.len() < PIECE_BYTES {
        state = mix(state, out.len() as u64);
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(PIECE_BYTES);
    out
}

/// Fields that a form of speech may have.
const FIELDS: [&str; 12] = [
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "include[]",
    "stream",
    "chunking_strategy",
    "known_speaker_names[]",
    "known_speaker_references[]",
];

/// The parts of a form, each of them known.
pub(super) fn form<'a>(call: &Call<'a>, known: &[&str]) -> Result<Vec<Part<'a>>, Refusal> {
    let kind = call.head.field("content-type").unwrap_or_default();
    let parts = parts(kind, call.body)
        .map_err(|reason| Refusal::invalid(None, "", format!("Could not parse multipart form: {reason}.")))?;
    match parts.iter().find(|part| !known.contains(&part.name.as_str())) {
        Some(part) => Err(Refusal::unknown_parameter(&part.name)),
        None => Ok(parts),
    }
}

/// The text of a part.
pub(super) fn field<'a>(parts: &[Part<'a>], name: &str) -> Option<&'a str> {
    let part = parts.iter().find(|part| part.name == name)?;
    std::str::from_utf8(part.data).ok()
}

/// `POST /audio/transcriptions` and `/audio/translations`.
pub(super) fn transcriptions(call: &Call<'_>) -> Result<Asked, Refusal> {
    let parts = form(call, &FIELDS)?;
    let model = call.model.or(field(&parts, "model")).ok_or_else(|| Refusal::missing("model"))?;
    let file = parts.iter().find(|part| part.name == "file").ok_or_else(|| Refusal::missing("file"))?;
    if file.data.is_empty() || file.filename.is_none() {
        let message = "Audio file is too short. Minimum audio length is 0.1 seconds.";
        return Err(Refusal::invalid(Some("audio_too_short"), "file", message));
    }
    let format = field(&parts, "response_format").unwrap_or("json");
    let whisper = model.starts_with("whisper");
    let known: &[&str] = if whisper { &["json", "text", "srt", "verbose_json", "vtt"] } else { &["json", "text"] };
    if !known.contains(&format) {
        let message = format!("response_format '{format}' is not compatible with model '{model}'.");
        return Err(Refusal::invalid(Some("unsupported_value"), "response_format", message));
    }
    let stream = field(&parts, "stream") == Some("true") && !whisper;
    let directives = directives(&[field(&parts, "prompt").unwrap_or_default()])?;
    let question = Question {
        seed: digest(file.data),
        last_user: "",
        after_tool: false,
        tools: Vec::new(),
        choice: Choice::Never,
        parallel: false,
        format: Format::Words,
        tokens_max: None,
        stops: Vec::new(),
        thinks: false,
    };
    let said = Speech::of(&question, &directives, call.tokens);
    let (input, output) = (tokens(file.data.len() / 100), said.spoken_tokens());
    let seconds = file.data.len().div_ceil(16_000);
    let usage = match whisper {
        true => format!(r#"{{"type":"duration","seconds":{seconds}}}"#),
        false => format!(
            r#"{{"type":"tokens","input_tokens":{input},"input_token_details":{{"text_tokens":0,"audio_tokens":{input}}},"output_tokens":{output},"total_tokens":{}}}"#,
            input + output
        ),
    };
    let told =
        if stream { told_events(&said, &usage) } else { told_text(&said.text.concat(), format, &usage, seconds) };
    let (input, told) = if whisper {
        (0, Told { completion_tokens: 0, ..told })
    } else {
        (input, Told { completion_tokens: output, ..told })
    };
    work(call, model, stream, input, directives, told)
}

fn told_events(said: &Speech, usage: &str) -> Told {
    let delta = |piece: &String| format!(r#"{{"type":"transcript.text.delta","delta":{}}}"#, quote(piece));
    let done = format!(r#"{{"type":"transcript.text.done","text":{},"usage":{usage}}}"#, quote(&said.text.concat()));
    let count = said.text.len() as u32;
    let events = said.text.iter().map(delta).chain([done]).zip(1..);
    Told {
        kind: "text/event-stream; charset=utf-8",
        events: events
            .map(|(event, number): (String, u32)| (format!("data: {event}\n\n").into_bytes(), number.min(count)))
            .collect(),
        broken: Some(|_| Refusal::for_status(500).event().into_bytes()),
        ..Told::default()
    }
}

fn told_text(text: &str, format: &str, usage: &str, seconds: usize) -> Told {
    let span = format!("00:00:00.000 --> 00:00:{seconds:02}.000");
    let (kind, whole) = match format {
        "text" => ("text/plain; charset=utf-8", format!("{text}\n")),
        "srt" => ("text/plain; charset=utf-8", format!("1\n{}\n{text}\n\n", span.replace('.', ","))),
        "vtt" => ("text/plain; charset=utf-8", format!("WEBVTT\n\n{span}\n{text}\n\n")),
        "verbose_json" => (
            "application/json",
            format!(
                r#"{{"task":"transcribe","language":"english","duration":{seconds},"text":{},"segments":[],"usage":{usage}}}"#,
                quote(text)
            ),
        ),
        _ => ("application/json", format!(r#"{{"text":{},"usage":{usage}}}"#, quote(text))),
    };
    Told { kind, ..Told::json(whole, 0) }
}
