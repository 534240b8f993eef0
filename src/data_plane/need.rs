//! What a request needs of a model, read from its body once, before anybody is asked.
//!
//! Gathered in the pass in which `ask` validates the body, in whatever dialect it is; no tree, no allocation. What cannot be seen is not needed:
//! of a body beyond [`limits::NEED_BYTES_MAX`] nothing is said. No text is kept (rule R1).
//!
//! The beginning that providers cache is what they see first: tools, then the system prompt, then the first turns. If tools and system prompt
//! are long enough to be cached, they alone are the beginning, so that all conversations of one application share it. Else as many bytes of the
//! first turns belong to it as make it long enough, and later turns change none of them.

use super::ask::Ask;
use super::count::MEDIA_TOKENS;
use super::surface::Task;
use crate::json::cursor::{Cursor, Stop};
use crate::json::scan::Names;
use crate::json::{Kind, Span};
use crate::limits;
use crate::metering::tap;
use crate::routing::affinity;
use crate::routing::need::Need;

/// The needs of a request. `body` is what the client sent; what cannot be seen in it is not needed.
pub fn read(ask: &Ask, body: &[u8]) -> Need {
    let quality_min = ask.wishes.quality_min;
    let is_read = ask.object.is_some() && body.len() <= limits::NEED_BYTES_MAX;
    match ask.task {
        _ if !is_read => Need { quality_min, ..Need::default() },
        Task::Generate | Task::CountTokens => Need { quality_min, ..ask.need.clone() },
        // Texts, mostly of one kind.
        Task::Completions | Task::Embeddings | Task::EmbedContent(_) | Task::Moderations | Task::Rerank => {
            Need { quality_min, input_tokens: tap::estimate_tokens(body.len()), ..Need::default() }
        }
        Task::Images(_) | Task::Audio(_) | Task::Object(_) | Task::Raw(_) | Task::Realtime => {
            Need { quality_min, ..Need::default() }
        }
    }
}

/// Members of a request that say what it needs.
pub(super) const MEMBERS: [&str; 19] = [
    "messages",
    "contents",
    "input",
    "system",
    "instructions",
    "systemInstruction",
    "system_instruction",
    "tools",
    "functions",
    "response_format",
    "output_format",
    "text",
    "output_config",
    "generationConfig",
    "generation_config",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "prompt_cache_key",
];

/// What one pass gathers.
#[derive(Default)]
pub(super) struct Reader<'b> {
    body: &'b [u8],
    need: Need,
    /// Bytes of what is said, in all its places.
    spoken: usize,
    /// Of these, bytes of pictures, documents and sound.
    media_bytes: usize,
    /// How many of them there are.
    media: u64,
    tools: Option<Span>,
    /// The system prompt where it is a member of its own.
    system: Option<Span>,
    /// Turns of the system that stand before all others.
    preface: Option<Span>,
    /// All other turns.
    turns: Option<Span>,
    /// Where the last answer of the model in the conversation begins.
    last_answer: Option<usize>,
    /// The client's own word for what shares a cache.
    cache_key: Option<Span>,
}

// === impl Reader ===

impl<'b> Reader<'b> {
    /// One that has seen nothing of this body.
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self { body, ..Self::default() }
    }

    /// Reads the value of the member of this place in [`MEMBERS`], which comes next.
    pub(super) fn member(&mut self, cursor: &mut Cursor<'_>, place: usize) -> Result<(), Stop> {
        match place {
            0..=2 => self.conversation(cursor)?,
            3..=6 => self.system = Some(self.said(cursor, |_, cursor| cursor.skip().map(|_| ()))?),
            7..=8 => {
                let span = self.said(cursor, |_, cursor| cursor.skip().map(|_| ()))?;
                if has_elements(span.of(self.body)) {
                    self.need.tools = true;
                    self.tools = Some(span);
                }
            }
            9..=10 => self.need.json_schema |= is_schema(self.body, cursor)?,
            11..=12 => {
                static NAMES: Names = Names::new(&["format"]);
                cursor.members(&NAMES, |cursor, _| {
                    self.need.json_schema |= is_schema(self.body, cursor)?;
                    Ok(())
                })?;
            }
            13..=14 => self.generation_config(cursor)?,
            15..=17 => self.output_tokens_max(cursor)?,
            _ => self.cache_key = Some(cursor.skip()?.value),
        }
        Ok(())
    }

    fn generation_config(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        static NAMES: Names = Names::new(&[
            "maxOutputTokens",
            "max_output_tokens",
            "responseSchema",
            "response_schema",
            "responseJsonSchema",
            "response_json_schema",
        ]);
        cursor.members(&NAMES, |cursor, place| {
            match place {
                0..=1 => self.output_tokens_max(cursor)?,
                _ => self.need.json_schema |= cursor.kind()? == Kind::Object,
            }
            Ok(())
        })?;
        Ok(())
    }

    fn output_tokens_max(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        self.need.output_tokens_max = cursor.count()?.or(self.need.output_tokens_max);
        Ok(())
    }

    /// Visits something that is said to the model, and counts its bytes as the characters they stand for.
    fn said<'c>(
        &mut self,
        cursor: &mut Cursor<'c>,
        visit: impl FnOnce(&mut Self, &mut Cursor<'c>) -> Result<(), Stop>,
    ) -> Result<Span, Stop> {
        let (start, surplus) = (cursor.position(), cursor.surplus());
        visit(self, cursor)?;
        let end = cursor.position();
        self.spoken += (end - start).saturating_sub(cursor.surplus() - surplus);
        Ok(Span { start, end })
    }

    fn conversation(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        self.said(cursor, |reader, cursor| {
            if cursor.kind()? != Kind::Array {
                // Responses' `input` as a plain string.
                reader.turns = Some(cursor.skip()?.value);
                return Ok(());
            }
            cursor.elements(|cursor, _| reader.turn(cursor))?;
            Ok(())
        })?;
        Ok(())
    }

    fn turn(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        static NAMES: Names = Names::new(&["role", "type", "content", "parts", "output"]);
        let start = cursor.position();
        let (mut role, mut kind) = (None, None);
        let body = self.body;
        cursor.members(&NAMES, |cursor, place| {
            match place {
                0 => role = Some(unquoted(body, cursor.skip()?.value)),
                1 => kind = Some(unquoted(body, cursor.skip()?.value)),
                _ => self.parts(cursor, 0)?,
            }
            Ok(())
        })?;
        let span = Span { start, end: cursor.position() };
        let is_system = matches!(role, Some(b"system" | b"developer"));
        if is_system && self.turns.is_none() {
            extend(&mut self.preface, span);
            return Ok(());
        }
        extend(&mut self.turns, span);
        let is_answer = match role {
            Some(role) => matches!(role, b"assistant" | b"model"),
            // Responses has calls and thoughts of the model as items without a role.
            None => kind.is_some_and(|kind| kind.ends_with(b"_call") || kind == b"reasoning"),
        };
        if is_answer {
            self.last_answer = Some(start);
        }
        Ok(())
    }

    /// The pieces of a turn, or of a tool's result inside one.
    fn parts(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Stop> {
        if cursor.kind()? == Kind::Array && depth < PARTS_DEPTH_MAX {
            cursor.elements(|cursor, _| self.part(cursor, depth))?;
        }
        Ok(())
    }

    fn part(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Stop> {
        let mut part = Part { found: Medium::None, media_bytes: 0, file: false };
        let visited = cursor.members(&PART, |cursor, place| part.member(self, cursor, place, depth))?;
        if visited.is_none() {
            return Ok(());
        }
        match part.found {
            Medium::None | Medium::Words => return Ok(()),
            Medium::Picture => self.need.vision = true,
            Medium::Document => self.need.pdf = true,
            Medium::File => self.need.pdf |= part.file,
            Medium::Sound => self.need.audio = true,
            Medium::Other => {}
        }
        self.media += 1;
        self.media_bytes += part.media_bytes;
        Ok(())
    }

    /// All that was gathered.
    pub(super) fn close(mut self) -> Need {
        let text = self.spoken.saturating_sub(self.media_bytes);
        self.need.input_tokens = tap::estimate_tokens(text) + self.media * MEDIA_TOKENS;
        self.prefix();
        self.need
    }

    fn prefix(&mut self) {
        const LEAST: usize = limits::PREFIX_TOKENS_MIN as usize * 4;
        let fixed = [self.tools, self.system, self.preface];
        let fixed_bytes: usize = fixed.iter().flatten().map(|span| span.len()).sum();
        let turns = self.turns.unwrap_or(Span { start: 0, end: 0 });
        let lacking = LEAST.saturating_sub(fixed_bytes);
        if lacking > turns.len() {
            return;
        }
        let mut digest = 0;
        for span in fixed.iter().chain([&self.cache_key]) {
            let bytes = span.map_or(&[][..], |span| span.of(self.body));
            digest = affinity::digest(digest, &bytes[..bytes.len().min(limits::PREFIX_BYTES_MAX)]);
        }
        digest = affinity::digest(digest, &turns.of(self.body)[..lacking]);
        let before = self.last_answer.map_or(0, |answer| answer.saturating_sub(turns.start));
        let spared = tap::estimate_tokens(fixed_bytes + lacking.max(before));
        self.need.prefix = Some(digest);
        self.need.prefix_tokens = spared.min(self.need.input_tokens);
    }
}

/// Results of tools lie inside turns, and nothing that we look for lies deeper.
const PARTS_DEPTH_MAX: usize = 2;

static PART: Names = Names::new(&[
    "type",
    "image_url",
    "input_audio",
    "video_url",
    "file",
    "file_url",
    "filename",
    "file_data",
    "source",
    "inlineData",
    "inline_data",
    "fileData",
    "content",
    "output",
    "functionResponse",
    "function_response",
]);

/// A piece of a turn.
struct Part {
    found: Medium,
    media_bytes: usize,
    /// Whether a file among it is a PDF document.
    file: bool,
}

// === impl Part ===

impl Part {
    fn member(
        &mut self,
        reader: &mut Reader<'_>,
        cursor: &mut Cursor<'_>,
        place: usize,
        depth: usize,
    ) -> Result<(), Stop> {
        let body = reader.body;
        match place {
            0 => self.found = self.found.or(Medium::of_type(unquoted(body, cursor.skip()?.value))),
            1..=3 => self.media_bytes += cursor.skip()?.value.len(),
            // In Gemini's snake case `file_data` is an object with a type, in Responses a string.
            4..=6 => self.file(body, cursor)?,
            7 if cursor.kind()? == Kind::String => self.file(body, cursor)?,
            7..=11 => {
                let start = cursor.position();
                self.found = source(body, cursor)?.or(self.found);
                self.media_bytes += cursor.position() - start;
            }
            // A tool's result has pieces of its own.
            12..=13 => reader.parts(cursor, depth + 1)?,
            _ => {
                static NAMES: Names = Names::new(&["parts"]);
                cursor.members(&NAMES, |cursor, _| reader.parts(cursor, depth + 1))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, body: &[u8], cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        let span = cursor.skip()?.value;
        self.media_bytes += span.len();
        self.file |= is_pdf(span.of(body));
        Ok(())
    }
}

/// What a piece of a turn is besides words.
#[derive(Clone, Copy)]
enum Medium {
    None,
    Words,
    Picture,
    /// A PDF document.
    Document,
    /// A document of some kind.
    File,
    Sound,
    Other,
}

// === impl Medium ===

impl Medium {
    fn of_type(kind: &[u8]) -> Self {
        match kind {
            b"image_url" | b"input_image" | b"image" => Self::Picture,
            b"document" => Self::Document,
            b"file" | b"input_file" => Self::File,
            b"input_audio" => Self::Sound,
            b"video_url" | b"input_video" => Self::Other,
            _ => Self::None,
        }
    }

    /// By a MIME type, or the kind of a source of Anthropic's.
    fn of_source(word: &[u8]) -> Self {
        match word {
            b"application/pdf" => Self::Document,
            word if word.starts_with(b"image/") => Self::Picture,
            word if word.starts_with(b"audio/") => Self::Sound,
            word if word.starts_with(b"video/") => Self::Other,
            word if word.starts_with(b"text/") || word == b"text" || word == b"content" => Self::Words,
            _ => Self::None,
        }
    }

    /// Itself, unless it says nothing.
    fn or(self, other: Self) -> Self {
        if matches!(self, Self::None) { other } else { self }
    }
}

/// What the source of a picture or document says of it.
fn source(body: &[u8], cursor: &mut Cursor<'_>) -> Result<Medium, Stop> {
    static NAMES: Names = Names::new(&["type", "media_type", "mimeType", "mime_type"]);
    let mut found = Medium::None;
    cursor.members(&NAMES, |cursor, _| {
        found = found.or(Medium::of_source(unquoted(body, cursor.skip()?.value)));
        Ok(())
    })?;
    Ok(found)
}

/// Whether a format, or what wraps it, is a JSON schema.
fn is_schema(body: &[u8], cursor: &mut Cursor<'_>) -> Result<bool, Stop> {
    static NAMES: Names = Names::new(&["type"]);
    let mut found = false;
    cursor.members(&NAMES, |cursor, _| {
        found = unquoted(body, cursor.skip()?.value) == b"json_schema";
        Ok(())
    })?;
    Ok(found)
}

fn has_elements(array: &[u8]) -> bool {
    let inside = array.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inside.is_some_and(|inside| !inside.starts_with(b"]"))
}

/// Whether the beginning of a file, or its name before it, says that it is a PDF; other kinds are read as text.
fn is_pdf(file: &[u8]) -> bool {
    memchr::memmem::find(&file[..file.len().min(FILE_HEAD_BYTES)], b"pdf").is_some()
}

/// A file's name and the head of a data URI are shorter.
const FILE_HEAD_BYTES: usize = 512;

fn unquoted(body: &[u8], span: Span) -> &[u8] {
    let quoted = span.of(body);
    quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or_default()
}

fn extend(known: &mut Option<Span>, span: Span) {
    *known = Some(Span { start: known.map_or(span.start, |known| known.start), end: span.end });
}

#[cfg(test)]
#[path = "need_tests.rs"]
mod tests;
