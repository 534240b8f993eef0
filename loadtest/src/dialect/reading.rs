//! An answer's body on its way in: events are judged as they come, a whole answer at its end.

use super::frames::{self, Frames};
use super::notes::{self, Notes};
use super::template::Template;
use super::{Dialect, Flaw, Seen, Told, anthropic, bedrock, cohere, gemini, openai, responses};
use crate::wire::{Cutter, Endless, Event};
use crate::workload::Ask;
use serde_json::Value;

/// An answer's body being read.
pub struct Reading {
    dialect: Dialect,
    form: Form,
    notes: Notes,
}

/// What the bytes of a body are.
enum Form {
    /// Server-sent events.
    Events(Cutter, Template),
    /// Amazon's binary frames.
    Frames(Frames),
    /// One JSON text.
    Whole(Vec<u8>),
    /// The body of an answer with another status than 200.
    Refusal(Vec<u8>),
}

impl Reading {
    /// A body whose head said this status and media type. `keep_text`: keep the words, for a session's next turn.
    ///
    /// With another status than 200 the body is no answer: [`Self::finish`] then gives the error's message as the text.
    pub fn new(ask: &Ask, status: u16, media_type: &str, keep_text: bool) -> Self {
        let mut notes = Notes::new(keep_text);
        let kind = media_type.split(';').next().unwrap_or_default().trim();
        let is_stream = if ask.dialect == Dialect::Bedrock {
            kind.eq_ignore_ascii_case("application/vnd.amazon.eventstream")
        } else {
            kind.eq_ignore_ascii_case("text/event-stream")
        };
        let form = if status == 200 {
            match (ask.stream, is_stream) {
                (true, false) => notes.malformed("a stream was asked for, and the answer's media type is none"),
                (false, true) => notes.malformed("no stream was asked for, and the answer's media type is one"),
                _ => {}
            }
            match (is_stream, ask.dialect) {
                (false, _) => Form::Whole(Vec::new()),
                (true, Dialect::Bedrock) => Form::Frames(Frames::default()),
                (true, _) => Form::Events(Cutter::default(), Template::default()),
            }
        } else {
            Form::Refusal(Vec::new())
        };
        Self { dialect: ask.dialect, form, notes }
    }

    /// Takes more bytes of the body, without transfer coding, cut anywhere. After a flaw nothing more is looked at.
    pub fn push(&mut self, bytes: &[u8]) -> Seen {
        let mut seen = Seen::default();
        if self.notes.flaw.is_some() {
            return seen;
        }
        let (dialect, notes) = (self.dialect, &mut self.notes);
        match &mut self.form {
            Form::Events(cutter, template) => {
                let pushed = cutter.push(bytes, |event| {
                    let Some(event) = Event::parse(event).filter(|_| notes.flaw.is_none()) else { return };
                    seen.events += 1;
                    let known = template.text(&event).filter(|_| !notes.ended);
                    if let Some(text) = known {
                        notes.say(text);
                        seen.generated += 1;
                        return;
                    }
                    notes.spoke = false;
                    let generated = read_event(dialect, &event, notes);
                    seen.generated += u32::from(generated);
                    if generated && notes.spoke && notes.flaw.is_none() {
                        template.learn(dialect, &event);
                    }
                });
                if pushed == Err(Endless) {
                    notes.malformed("an event of more than 8 MiB");
                }
            }
            Form::Frames(frames) => {
                let pushed = frames.push(bytes, |frame| {
                    if notes.flaw.is_none() {
                        seen.events += 1;
                        seen.generated += u32::from(bedrock::event(frame, notes));
                        verdict_on_event(notes);
                    }
                });
                if let Err(frames::Broken(what)) = pushed {
                    notes.malformed(what);
                }
            }
            Form::Whole(body) if body.len() + bytes.len() > BODY_BYTES_MAX => {
                *body = Vec::new();
                notes.malformed("a body of more than 8 MiB");
            }
            Form::Whole(body) => body.extend_from_slice(bytes),
            Form::Refusal(body) => {
                let room = REFUSAL_BYTES_MAX - body.len();
                body.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
        seen
    }

    /// What is known to be wrong already, before the end: an error inside a stream outweighs how its connection ends.
    pub fn flaw(&self) -> Option<&Flaw> {
        self.notes.flaw.as_ref()
    }

    /// The body is at its end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn finish(mut self) -> Result<Told, Flaw> {
        match &self.form {
            Form::Refusal(body) => {
                let text = match serde_json::from_slice::<Value>(body) {
                    Ok(value) => notes::sentence(value.get("error").unwrap_or(&value)),
                    Err(_) => notes::sentence(&String::from_utf8_lossy(body).into()),
                };
                return Ok(Told { text, ..Told::default() });
            }
            _ if self.notes.flaw.is_some() => {}
            Form::Events(cutter, _) => {
                if !self.notes.ended || !cutter.unfinished().trim_ascii().is_empty() {
                    self.notes.flaw = Some(Flaw::Truncated);
                }
            }
            Form::Frames(frames) => {
                if !self.notes.ended || frames.is_unfinished() {
                    self.notes.flaw = Some(Flaw::Truncated);
                }
            }
            Form::Whole(body) => read_whole(self.dialect, body, &mut self.notes),
        }
        self.notes.conclude()
    }
}

/// Notes one event; whether it brought generated tokens.
fn read_event(dialect: Dialect, event: &Event<'_>, notes: &mut Notes) -> bool {
    // Comments, and events without data, keep a connection alive and say nothing.
    let Some(data) = event.data.as_deref().filter(|data| !data.is_empty()) else { return false };
    let generated = read_data(dialect, event.name, data, notes);
    verdict_on_event(notes);
    generated
}

/// Notes what stands in an event.
pub(super) fn read_data(dialect: Dialect, name: &[u8], data: &[u8], notes: &mut Notes) -> bool {
    match dialect {
        Dialect::OpenAi => openai::event(data, notes),
        Dialect::Responses => responses::event(data, notes),
        Dialect::Anthropic => anthropic::event(name, data, notes),
        Dialect::Gemini => gemini::event(data, notes),
        Dialect::Cohere => cohere::event(data, notes),
        // Bedrock's streams are frames.
        Dialect::Bedrock => false,
    }
}

/// An event that was whole is not cut off by the connection: JSON that is not whole was sent so.
fn verdict_on_event(notes: &mut Notes) {
    if notes.flaw == Some(Flaw::Truncated) {
        notes.flaw = Some(Flaw::Malformed("an event that is not whole JSON"));
    }
}

/// Notes a whole answer.
fn read_whole(dialect: Dialect, body: &[u8], notes: &mut Notes) {
    match dialect {
        Dialect::OpenAi => openai::whole(body, notes),
        Dialect::Responses => responses::whole(body, notes),
        Dialect::Anthropic => anthropic::whole(body, notes),
        Dialect::Gemini => gemini::whole(body, notes),
        Dialect::Bedrock => bedrock::whole(body, notes),
        Dialect::Cohere => cohere::whole(body, notes),
    }
}

/// Bytes of a whole answer at most.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of an error's body that are looked at.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
