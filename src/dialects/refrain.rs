//! The refrain of a stream: events that say again what one before them said, but for their words and counts.
//!
//! A stream is hundreds of events of one making. Once a reader has understood one of them, it names what may differ in the next ([`Values`]),
//! and a [`Refrain`] knows the next ones by comparing bytes: their facts are the first one's, with other words. Whatever does not compare
//! equal is read in full as before, and may become the refrain in turn; a stream in which nothing repeats is soon left alone.

use crate::http::sse::EventScanner;
use crate::json::Span;
use crate::json::shape::{self, Found, HOLES_MAX, NOTHING_FOUND, Shape, Values};
use std::borrow::Cow;

/// How often in a row an event is learnt of which none follows.
const PATIENCE: u8 = 8;

/// The last event that was understood, as a shape.
#[derive(Debug)]
pub struct Refrain {
    shape: Option<Shape>,
    /// Where the holes of [`Values::words`] and [`Values::others`] are among those of the shape.
    words: usize,
    others: [Option<usize>; HOLES_MAX - 1],
    /// Content of the event beside its words, in bytes.
    frame_bytes: usize,
    ends_in_return: bool,
    /// The event after the last verse was none: it may have been the only one.
    missed: bool,
    patience: u8,
    found: Found,
    /// How many events were known.
    #[cfg(test)]
    pub(crate) verses: usize,
}

/// An event that was known by the refrain.
#[derive(Clone, Copy, Debug)]
pub struct Verse<'a> {
    /// The event with the line ends that close it.
    pub event: &'a [u8],
    /// Its words, as JSON writes them.
    pub words: &'a [u8],
    /// Bytes of content in it, as the first one's reader counts them.
    pub content_bytes: usize,
}

/// Words of a verse as text.
#[must_use]
pub fn written(words: &[u8]) -> Cow<'_, str> {
    // A shape lets nothing else pass.
    let text = std::str::from_utf8(words).unwrap_or_default();
    let Some(first) = memchr::memchr(b'\\', words) else { return Cow::Borrowed(text) };
    let (plain, rest) = text.split_at_checked(first).unwrap_or_default();
    let mut written = String::with_capacity(words.len());
    written.push_str(plain);
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        written.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some(itself) => itself,
                None => break,
            },
            plain => plain,
        });
    }
    Cow::Owned(written)
}

impl Default for Refrain {
    fn default() -> Self {
        Self {
            shape: None,
            words: 0,
            others: [None; HOLES_MAX - 1],
            frame_bytes: 0,
            ends_in_return: false,
            missed: false,
            patience: PATIENCE,
            found: NOTHING_FOUND,
            #[cfg(test)]
            verses: 0,
        }
    }
}

impl Refrain {
    /// One that never learns: every event is read in full.
    #[must_use]
    pub fn never() -> Self {
        Self { patience: 0, ..Self::default() }
    }

    /// Whether another event may be learnt, asked after one was read in full: a single one that is different changes nothing.
    #[inline]
    #[must_use]
    pub fn is_open(&mut self) -> bool {
        let has_another = self.shape.is_some() && !std::mem::replace(&mut self.missed, true);
        self.patience > 0 && !has_another
    }

    /// Takes the next event of `buffer`, which begins where `scanner` stands, if it is like the one learnt.
    #[inline]
    pub fn next<'a>(&mut self, scanner: &mut EventScanner, buffer: &'a [u8]) -> Option<Verse<'a>> {
        let shape = self.shape.as_ref()?;
        let start = scanner.border(buffer)?;
        let rest = buffer.get(start..)?;
        let found = &mut self.found;
        let end = shape.fit(rest, |place, span| {
            if let Some(slot) = found.get_mut(place) {
                *slot = span;
            }
        })?;
        scanner.step_over(end, self.ends_in_return);
        (self.patience, self.missed) = (PATIENCE, false);
        #[cfg(test)]
        {
            self.verses += 1;
        }
        let words = self.found.get(self.words)?.of(rest);
        let content_bytes = self.frame_bytes.saturating_add(words.len());
        Some(Verse { event: rest.get(..end)?, words, content_bytes })
    }

    /// The number in one of [`Values::others`] of the verse taken last.
    #[must_use]
    pub fn number(&self, verse: &Verse<'_>, other: usize) -> Option<u64> {
        let hole = (*self.others.get(other)?)?;
        Some(shape::number(self.found.get(hole)?.of(verse.event)))
    }

    /// Learns an event that was read in full. `event` is it with the line ends that close it, `data` its one line of data, a part of it, with
    /// `content_bytes` of content.
    pub fn learn(&mut self, event: &[u8], data: &[u8], values: &Values, content_bytes: usize) {
        self.patience = self.patience.saturating_sub(1);
        (self.shape, self.missed) = (None, false);
        // `data` is a part of `event`: where it begins there is the distance of the two.
        let offset = (data.as_ptr() as usize).wrapping_sub(event.as_ptr() as usize);
        let within = |span: Span| Span { start: offset.wrapping_add(span.start), end: offset.wrapping_add(span.end) };
        let is_string = values.words.of(data).first() == Some(&b'"');
        if !is_string || within(Span { start: 0, end: data.len() }).of(event) != data {
            return;
        }
        let mut order = [(Span { start: usize::MAX, end: usize::MAX }, 0); HOLES_MAX];
        let all = std::iter::once(Some(values.words)).chain(values.others);
        let mut count = 0;
        for (slot, (place, span)) in order.iter_mut().zip(all.enumerate().filter_map(|(at, it)| Some((at, it?)))) {
            *slot = (within(span), place);
            count += 1;
        }
        order.sort_unstable_by_key(|(span, _)| span.start);
        let mut spans = [Span { start: 0, end: 0 }; HOLES_MAX];
        self.others = [None; HOLES_MAX - 1];
        for (hole, ((span, place), slot)) in order.iter().take(count).zip(&mut spans).enumerate() {
            *slot = *span;
            match place.checked_sub(1) {
                None => self.words = hole,
                Some(other) => self.others[other] = Some(hole),
            }
        }
        let Some(frame_bytes) = content_bytes.checked_sub(values.words.len().saturating_sub(2)) else { return };
        self.frame_bytes = frame_bytes;
        self.ends_in_return = event.last() == Some(&b'\r');
        self.shape = spans.get(..count).and_then(|spans| Shape::of(event, spans));
    }
}
