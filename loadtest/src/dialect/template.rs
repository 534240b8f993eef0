//! The common event of a stream, known by the bytes around its text.
//!
//! Nearly every event of a stream differs from the one before in one string only: the text it brings. Once such an event has been
//! read, the next one with the same bytes before and after a plain text is known to say the same in other words, since one string
//! in place of another leaves JSON what it is. Such an event costs two comparisons. Every other one is parsed.

use super::Dialect;
use super::notes::Notes;
use super::reading::read_data;
use crate::wire::Event;
use memchr::memmem;
use std::borrow::Cow;

/// What is known of a stream's common event.
#[derive(Debug, Default)]
pub(super) struct Template {
    known: Option<Box<Known>>,
    /// How often something was learnt: a stream whose events differ in more is not worth the effort.
    lessons: u8,
}

#[derive(Debug)]
struct Known {
    name: Vec<u8>,
    /// Up to the quote before the text.
    before: Vec<u8>,
    /// From the quote behind it.
    after: Vec<u8>,
}

impl Template {
    /// The text of an event that is like the one learnt, or `None` where the dialect must read it.
    pub(super) fn text<'a>(&self, event: &'a Event<'_>) -> Option<&'a str> {
        let known = self.known.as_deref()?;
        let rest = event.data.as_deref()?.strip_prefix(known.before.as_slice())?;
        let text = rest.strip_suffix(known.after.as_slice())?;
        (event.name == known.name).then(|| plain(text)).flatten()
    }

    /// Learns from an event that brought text.
    pub(super) fn learn(&mut self, dialect: Dialect, event: &Event<'_>) {
        let Some(Cow::Borrowed(data)) = event.data else { return };
        if self.lessons == LESSONS_MAX {
            return;
        }
        self.lessons += 1;
        let Some(text) = text_alone(dialect, event.name, data) else { return };
        if plain(text.as_bytes()).is_none() {
            return;
        }
        let quoted = format!("\"{text}\"");
        let mut places = memmem::find_iter(data, quoted.as_bytes());
        let (Some(at), None) = (places.next(), places.next()) else { return };
        let (before, after) = (&data[..=at], &data[at + 1 + text.len()..]);
        // The proof that this string is the text: with another one in its place, the event says that one.
        let other = if text == "x" { "y" } else { "x" };
        let probe = [before, other.as_bytes(), after].concat();
        if text_alone(dialect, event.name, &probe).as_deref() == Some(other) {
            let (before, after) = (before.to_vec(), after.to_vec());
            self.known = Some(Box::new(Known { name: event.name.to_vec(), before, after }));
        }
    }
}

/// The text of an event that brings nothing else.
fn text_alone(dialect: Dialect, name: &[u8], data: &[u8]) -> Option<String> {
    let mut notes = Notes::new(true);
    read_data(dialect, name, data, &mut notes).then(|| notes.text_alone()).flatten()
}

/// Bytes that stand for themselves in a JSON string, at least one.
fn plain(bytes: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    if bytes.is_empty() || !bytes.iter().all(is_plain) { None } else { std::str::from_utf8(bytes).ok() }
}

/// Lessons of one stream.
const LESSONS_MAX: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(name: &'a str, data: &'a str) -> Event<'a> {
        Event { name: name.as_bytes(), data: Some(Cow::Borrowed(data.as_bytes())) }
    }

    #[test]
    fn what_differs_in_its_text_alone_is_known() {
        let chunk = |text: &str| format!(r#"{{"id":"a","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
        let block = |text: &str| {
            format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#)
        };
        let (one, other) = (chunk("one"), chunk("日本"));
        let mut template = Template::default();
        assert_eq!(template.text(&event("", &one)), None, "nothing is known yet");
        template.learn(Dialect::OpenAi, &event("", &one));
        assert_eq!(template.text(&event("", &other)), Some("日本"));
        for text in ["", "a\\\"b", "a\\n", "a\"},{\"delta\":{\"content\":\"b", "a\nb"] {
            assert_eq!(template.text(&event("", &chunk(text))), None, "{text}");
        }
        assert_eq!(template.text(&event("x", &other)), None);
        assert_eq!(template.text(&event("", &other.replace("\"a\"", "\"b\""))), None);
        let (one, other) = (block("one"), block("two"));
        let mut template = Template::default();
        template.learn(Dialect::Anthropic, &event("content_block_delta", &one));
        assert_eq!(template.text(&event("content_block_delta", &other)), Some("two"));
        assert_eq!(template.text(&event("", &other)), None);
    }

    #[test]
    fn what_brings_more_than_text_is_not_learnt() {
        let chunks = [
            r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":3}}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"metadata":{"cost_usd":0.5}}"#,
            r#"{"choices":[{"delta":{"content":"a","tool_calls":[{"index":0,"function":{"name":"f"}}]}}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"a"}}]}"#,
            r#"{"id":"a","choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"content":["a"]}}]}"#,
        ];
        for (place, chunk) in chunks.into_iter().enumerate() {
            let mut template = Template::default();
            template.learn(Dialect::OpenAi, &event("", chunk));
            // A part of a list is text as well, and another one in its place says so.
            assert_eq!(template.known.is_some(), place == 5, "{chunk}");
        }
    }
}
