//! Thinking that comes inside the content, between `<think>` and `</think>` at its very start, told apart from the answer.
//!
//! Tags may straddle deltas, so a few bytes are held until it is plain what they are; nothing is lost, and elsewhere in the content the
//! tags are words like others.
//!
//! ```text
//! Start --"<think>"--> Inside --"</think>"--> After --first word--> Plain
//!   +-----anything else-----------------------------------------------^
//! ```

use std::borrow::Cow;

/// The scanner of one answer's content.
pub(super) enum Think {
    /// Nothing yet but these bytes, white space or the beginning of a tag.
    Start(String),
    /// Within the tags; these bytes may be the beginning of the closing one.
    Inside(String),
    /// Past the closing tag, and nothing but white space since.
    After,
    /// Words.
    Plain,
}

/// What a piece of content turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// Words of the answer.
    Text(Cow<'a, str>),
    /// Words of thinking.
    Thinking(Cow<'a, str>),
}

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

impl Default for Think {
    fn default() -> Self {
        Self::Start(String::new())
    }
}

// === impl Think ===

impl Think {
    /// Takes the next piece of content. No empty piece comes out.
    pub(super) fn push(&mut self, text: Cow<'_, str>, each: &mut dyn FnMut(Said<'_>)) {
        if text.is_empty() {
            return;
        }
        match self {
            Self::Plain => each(Said::Text(text)),
            Self::Start(held) => {
                let first = held.as_bytes().first().or(text.as_bytes().first());
                if first.is_some_and(|byte| *byte != b'<' && !byte.is_ascii_whitespace()) {
                    *self = Self::Plain;
                    return each(Said::Text(text));
                }
                held.push_str(&text);
                self.start(each);
            }
            Self::Inside(held) => {
                held.push_str(&text);
                self.inside(each);
            }
            Self::After => {
                let words = text.trim_start();
                if !words.is_empty() {
                    let words = words.to_owned();
                    *self = Self::Plain;
                    each(Said::Text(Cow::Owned(words)));
                }
            }
        }
    }

    /// No thinking comes inside this content: the vendor has a place of its own for it, or the content has ended. What was held comes out.
    pub(super) fn settle(&mut self, each: &mut dyn FnMut(Said<'_>)) {
        match std::mem::replace(self, Self::Plain) {
            Self::Start(held) if !held.is_empty() => each(Said::Text(Cow::Owned(held))),
            Self::Inside(held) if !held.is_empty() => each(Said::Thinking(Cow::Owned(held))),
            _ => {}
        }
    }

    fn start(&mut self, each: &mut dyn FnMut(Said<'_>)) {
        let Self::Start(held) = self else { return };
        let begun = held.trim_start();
        if let Some(rest) = begun.strip_prefix(OPEN) {
            *self = Self::Inside(rest.to_owned());
            self.inside(each);
        } else if !OPEN.starts_with(begun) {
            let words = std::mem::take(held);
            *self = Self::Plain;
            each(Said::Text(Cow::Owned(words)));
        }
    }

    fn inside(&mut self, each: &mut dyn FnMut(Said<'_>)) {
        let Self::Inside(held) = self else { return };
        if let Some(end) = memchr::memmem::find(held.as_bytes(), CLOSE.as_bytes()) {
            let mut thought = std::mem::take(held);
            let rest = thought.split_off(end).split_off(CLOSE.len());
            *self = Self::After;
            if !thought.is_empty() {
                each(Said::Thinking(Cow::Owned(thought)));
            }
            return self.push(Cow::Owned(rest), each);
        }
        let tail = (1..CLOSE.len()).rev().find(|length| held.ends_with(&CLOSE[..*length])).unwrap_or(0);
        let kept = held.split_off(held.len() - tail);
        let thought = std::mem::replace(held, kept);
        if !thought.is_empty() {
            each(Said::Thinking(Cow::Owned(thought)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thinking and text of a content that came in pieces of so many bytes.
    fn split(content: &str, step: usize) -> (String, String) {
        let mut think = Think::default();
        let (mut thought, mut text) = (String::new(), String::new());
        let mut each = |said: Said<'_>| match said {
            Said::Text(words) => text.push_str(&words),
            Said::Thinking(words) => thought.push_str(&words),
        };
        for piece in content.as_bytes().chunks(step) {
            think.push(Cow::Borrowed(std::str::from_utf8(piece).expect("ASCII")), &mut each);
        }
        think.settle(&mut each);
        (thought, text)
    }

    #[test]
    fn tags_are_found_at_the_start_only_and_in_any_pieces() {
        let cases = [
            ("<think>Hm, 1 < 2</th</think>\n\nYes", "Hm, 1 < 2</th", "Yes"),
            ("\n <think></think>Yes", "", "Yes"),
            ("<think>cut", "cut", ""),
            ("<think>cut</thi", "cut</thi", ""),
            ("<thin air> is <think>x</think>", "", "<thin air> is <think>x</think>"),
            ("Say <think>x</think>", "", "Say <think>x</think>"),
            ("<think>a</think><think>b</think>", "a", "<think>b</think>"),
            ("  ", "", "  "),
            ("<", "", "<"),
            ("", "", ""),
        ];
        for (content, thought, text) in cases {
            for step in 1..=content.len().max(1) {
                assert_eq!(split(content, step), (thought.to_owned(), text.to_owned()), "{content} by {step}");
            }
        }
    }

    #[test]
    fn plain_words_are_lent() {
        let mut think = Think::default();
        let mut lent = 0;
        for _ in 0..2 {
            think.push(Cow::Borrowed("words"), &mut |said| {
                lent += u32::from(matches!(said, Said::Text(Cow::Borrowed("words"))));
            });
        }
        assert_eq!(lent, 2);
    }
}
