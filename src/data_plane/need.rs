//! What a request needs of a model, read from its body once, before anybody is asked.
//!
//! One pass over a body that `ask` has found valid, in whatever dialect it is; no tree, no allocation. What cannot be seen is not needed: a
//! key spelt with escapes is overlooked, and of a body beyond [`limits::NEED_BYTES_MAX`] nothing is said. No text is kept (rule R1).
//!
//! The beginning that providers cache is what they see first: tools, then the system prompt, then the first turns. If tools and system prompt
//! are long enough to be cached, they alone are the beginning, so that all conversations of one application share it. Else as many bytes of the
//! first turns belong to it as make it long enough, and later turns change none of them.

use super::ask::Ask;
use super::count::MEDIA_TOKENS;
use super::surface::Task;
use crate::json::walk::Walk;
use crate::json::{Kind, Span};
use crate::limits;
use crate::metering::tap;
use crate::routing::affinity;
use crate::routing::need::Need;

/// Reads the needs of a request. `body` is what the client sent; what cannot be seen in it is not needed.
pub fn read(ask: &Ask, body: &[u8]) -> Need {
    let quality_min = ask.wishes.quality_min;
    let Some(object) = ask.object.filter(|_| body.len() <= limits::NEED_BYTES_MAX) else {
        return Need { quality_min, ..Need::default() };
    };
    match ask.task {
        Task::Generate | Task::CountTokens => {
            let mut reader = Reader { body, need: Need { quality_min, ..Need::default() }, ..Reader::default() };
            reader.request(object.span.start);
            reader.close()
        }
        // Texts, mostly of one kind.
        Task::Completions | Task::Embeddings | Task::EmbedContent(_) | Task::Moderations | Task::Rerank => {
            Need { quality_min, input_tokens: tap::estimate_tokens(body.len()), ..Need::default() }
        }
        Task::Images(_) | Task::Audio(_) | Task::Object(_) | Task::Raw(_) | Task::Realtime => {
            Need { quality_min, ..Need::default() }
        }
    }
}

/// What one pass gathers.
#[derive(Default)]
struct Reader<'b> {
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

impl Reader<'_> {
    fn request(&mut self, start: usize) {
        let mut walk = Walk::new(self.body, start);
        walk.members(|walk, key| match key {
            b"messages" | b"contents" | b"input" => self.conversation(walk),
            b"system" | b"instructions" | b"systemInstruction" | b"system_instruction" => {
                let span = self.said(walk, |_, walk| {
                    walk.skip();
                });
                self.system = Some(span);
            }
            b"tools" | b"functions" => {
                let span = self.said(walk, |_, walk| {
                    walk.skip();
                });
                if has_elements(span.of(self.body)) {
                    self.need.tools = true;
                    self.tools = Some(span);
                }
            }
            b"response_format" => self.need.json_schema |= is_schema(self.body, walk),
            b"text" | b"output_config" => walk.members(|walk, key| {
                if key == b"format" {
                    self.need.json_schema |= is_schema(self.body, walk);
                }
            }),
            b"output_format" => self.need.json_schema |= is_schema(self.body, walk),
            b"generationConfig" | b"generation_config" => self.generation_config(walk),
            b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens" => self.output_tokens_max(walk),
            b"prompt_cache_key" => self.cache_key = Some(walk.skip()),
            _ => {}
        });
    }

    fn generation_config(&mut self, walk: &mut Walk<'_>) {
        walk.members(|walk, key| match key {
            b"maxOutputTokens" | b"max_output_tokens" => self.output_tokens_max(walk),
            b"responseSchema" | b"response_schema" | b"responseJsonSchema" | b"response_json_schema" => {
                self.need.json_schema |= walk.kind() == Some(Kind::Object);
            }
            _ => {}
        });
    }

    fn output_tokens_max(&mut self, walk: &mut Walk<'_>) {
        let stated = crate::json::text::as_u64(self.body, walk.skip());
        self.need.output_tokens_max = stated.or(self.need.output_tokens_max);
    }

    /// Visits something that is said to the model, and counts its bytes as the characters they stand for.
    fn said<'w>(&mut self, walk: &mut Walk<'w>, visit: impl FnOnce(&mut Self, &mut Walk<'w>)) -> Span {
        let (start, surplus) = (walk.position(), walk.surplus());
        visit(self, walk);
        let end = walk.position();
        self.spoken += (end - start).saturating_sub(walk.surplus() - surplus);
        Span { start, end }
    }

    fn conversation(&mut self, walk: &mut Walk<'_>) {
        self.said(walk, |reader, walk| {
            if walk.kind() != Some(Kind::Array) {
                // Responses' `input` as a plain string.
                reader.turns = Some(walk.skip());
                return;
            }
            walk.elements(|walk| reader.turn(walk));
        });
    }

    fn turn(&mut self, walk: &mut Walk<'_>) {
        let start = walk.position();
        let (mut role, mut kind) = (None, None);
        let body = self.body;
        if walk.kind() == Some(Kind::Object) {
            walk.members(|walk, key| match key {
                b"role" => role = Some(unquoted(body, walk.skip())),
                b"type" => kind = Some(unquoted(body, walk.skip())),
                b"content" | b"parts" | b"output" => self.parts(walk, 0),
                _ => {}
            });
        } else {
            walk.skip();
        }
        let span = Span { start, end: walk.position() };
        let is_system = matches!(role, Some(b"system" | b"developer"));
        if is_system && self.turns.is_none() {
            extend(&mut self.preface, span);
            return;
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
    }

    /// The pieces of a turn, or of a tool's result inside one.
    fn parts(&mut self, walk: &mut Walk<'_>, depth: usize) {
        if walk.kind() == Some(Kind::Array) && depth < PARTS_DEPTH_MAX {
            walk.elements(|walk| {
                if walk.kind() == Some(Kind::Object) {
                    self.part(walk, depth);
                }
            });
        }
    }

    fn part(&mut self, walk: &mut Walk<'_>, depth: usize) {
        let body = self.body;
        let mut found = Medium::None;
        let (mut media_bytes, mut file) = (0, false);
        walk.members(|walk, key| match key {
            b"type" => found = found.or(Medium::of_type(unquoted(body, walk.skip()))),
            b"image_url" | b"input_audio" | b"video_url" => media_bytes += walk.skip().len(),
            // In Gemini's snake case `file_data` is an object with a type, in Responses a string.
            b"file" | b"file_url" | b"filename" => file |= is_pdf(counted(&mut media_bytes, walk.skip()).of(body)),
            b"file_data" if walk.kind() == Some(Kind::String) => {
                file |= is_pdf(counted(&mut media_bytes, walk.skip()).of(body));
            }
            b"source" | b"inlineData" | b"inline_data" | b"fileData" | b"file_data" => {
                let start = walk.position();
                let named = source(body, walk);
                found = named.or(found);
                media_bytes += walk.position() - start;
            }
            // A tool's result has pieces of its own.
            b"content" | b"output" => self.parts(walk, depth + 1),
            b"functionResponse" | b"function_response" => walk.members(|walk, key| {
                if key == b"parts" {
                    self.parts(walk, depth + 1);
                }
            }),
            _ => {}
        });
        match found {
            Medium::None | Medium::Words => return,
            Medium::Picture => self.need.vision = true,
            Medium::Document => self.need.pdf = true,
            Medium::File => self.need.pdf |= file,
            Medium::Sound => self.need.audio = true,
            Medium::Other => {}
        }
        self.media += 1;
        self.media_bytes += media_bytes;
    }

    fn close(mut self) -> Need {
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
fn source(body: &[u8], walk: &mut Walk<'_>) -> Medium {
    let mut found = Medium::None;
    walk.members(|walk, key| {
        if matches!(key, b"type" | b"media_type" | b"mimeType" | b"mime_type") {
            let named = Medium::of_source(unquoted(body, walk.skip()));
            found = found.or(named);
        }
    });
    found
}

/// Whether a format, or what wraps it, is a JSON schema.
fn is_schema(body: &[u8], walk: &mut Walk<'_>) -> bool {
    let mut found = false;
    walk.members(|walk, key| found |= key == b"type" && unquoted(body, walk.skip()) == b"json_schema");
    found
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

fn counted(bytes: &mut usize, span: Span) -> Span {
    *bytes += span.len();
    span
}

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
