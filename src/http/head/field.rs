//! The fields of one head and what they say about its framing (rules H4 to H7, H10).
//!
//! Fields whose name holds an underscore are kept only as a mark and never shown: a CGI-style reader behind us could not
//! tell `content_length` from `content-length` (rule H11).

use super::known::of_family;
use super::{HeadFault, KnownField, KnownSet, Span, Version};
use crate::http::syntax::{is_field_text, is_plain_name, is_token, leading_token, list, trim_whitespace};
use crate::http::syntax::{next_byte, next_control};
use crate::limits;
use std::ops::Range;

/// One header field, lent from the bytes of its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was sent.
    pub name: &'a str,
    /// The value without surrounding whitespace; no control characters but tab, not necessarily UTF-8.
    pub value: &'a [u8],
    /// Its meaning.
    pub known: KnownField,
    named_by_connection: bool,
}

impl Field<'_> {
    /// Whether the field ends at this hop: by its meaning, or because a `Connection` field names it (rule H10).
    pub fn is_hop_by_hop(&self) -> bool {
        self.named_by_connection || self.known.is_hop_by_hop()
    }
}

#[derive(Debug, Clone, Copy)]
struct FieldSpan {
    name: Span,
    value: Span,
    known: KnownField,
    underscore: bool,
    named_by_connection: bool,
}

/// All fields of a head, as spans.
#[derive(Debug, Default)]
pub(super) struct FieldTable {
    spans: Vec<FieldSpan>,
    /// Which meanings visible fields have: most questions are about fields that are not there.
    seen: KnownSet,
    /// How many fields show a credential, and which is the last of them.
    credentials: (u32, u32),
}

/// Room for the fields of most heads, taken at once.
const FIELDS_ROOM: usize = 16;

/// What the fields say about the message as a whole.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MessageFacts {
    pub length: Option<u64>,
    pub chunked: bool,
    pub persist: bool,
}

impl FieldTable {
    pub fn clear(&mut self) {
        self.spans.clear();
        self.seen = KnownSet::default();
        self.credentials = (0, 0);
    }

    /// How many fields there are, hidden ones included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    #[inline]
    fn add(&mut self, name: Span, value: Span, known: KnownField, underscore: bool) {
        if !underscore {
            self.seen.insert(known);
        }
        if known.is_credential() && !underscore {
            let place = u32::try_from(self.spans.len()).unwrap_or(u32::MAX);
            self.credentials = (self.credentials.0.saturating_add(1), place);
        }
        if self.spans.capacity() == 0 {
            self.spans.reserve_exact(FIELDS_ROOM);
        }
        self.spans.push(FieldSpan { name, value, known, underscore, named_by_connection: false });
    }

    /// Takes the field line that starts at `start`, if it is a plain one and whole; the place behind its CR LF. What is refused here
    /// (controls and tabs, names that are no token, lines near a limit) is for [`FieldTable::push`] to judge, so that there is one verdict.
    #[inline]
    pub fn push_plain(&mut self, bytes: &[u8], start: usize, field_bytes: usize, fields_max: usize) -> Option<usize> {
        let colon = next_byte(bytes, start, b':')?;
        let name = bytes.get(start..colon)?;
        let value_start = colon.checked_add(1)?;
        let padded = value_start.checked_add(usize::from(bytes.get(value_start) == Some(&b' ')))?;
        let end = next_control(bytes, padded)?;
        let next = end.checked_add(2)?;
        if bytes.get(end..next) != Some(b"\r\n")
            || end.checked_sub(start)? > field_bytes
            || self.spans.len() >= fields_max
        {
            return None;
        }
        let (known, underscore) = match KnownField::of_exact(name) {
            Some(known) => (known, false),
            None if is_plain_name(name) => (of_family(name), false),
            None => {
                let (length, underscore) = leading_token(name);
                if length == 0 || length != name.len() {
                    return None;
                }
                (of_family(name), underscore)
            }
        };
        let text = bytes.get(padded..end)?;
        let value = trim_whitespace(text);
        let blanks = text.len().checked_sub(value.len())?;
        if blanks > 0 && text.first() == Some(&b' ') {
            return None;
        }
        let value_end = padded.checked_add(value.len())?;
        self.add(Span::new(start, colon), Span::new(padded, value_end), known, underscore);
        Some(next)
    }

    /// Takes the fields of a head that begins as `former` does, whose fields these are, and whose fields have the same names: lines that are
    /// the same are not read, and other values are as [`FieldTable::push_plain`] wants them. The head's length, and what has another value;
    /// where there is none, the table is in disorder and another reader judges.
    pub fn follow(&mut self, former: &[u8], bytes: &[u8]) -> Option<(usize, KnownSet)> {
        let mut place = self.spans.first()?.name.start as usize;
        if bytes.get(..place) != former.get(..place) {
            return None;
        }
        let end = former.len().checked_sub(2)?;
        let mut changed = KnownSet::default();
        for index in 0..self.spans.len() {
            let next = self.spans.get(index.checked_add(1)?).map_or(end, |span| span.name.start as usize);
            let span = self.spans.get_mut(index)?;
            let line = former.get(span.name.start as usize..next)?;
            let behind = place.checked_add(line.len())?;
            if bytes.get(place..behind) == Some(line) {
                span.move_to(place)?;
                place = behind;
            } else {
                changed.insert(span.known);
                place = span.follow(former, bytes, place)?;
            }
        }
        let length = place.checked_add(2)?;
        (bytes.get(place..length) == Some(b"\r\n")).then_some((length, changed))
    }

    /// Takes one field line, given without its CR LF (RFC 9112 §5).
    pub fn push(&mut self, bytes: &[u8], line: Range<usize>, fields_max: usize) -> Result<(), HeadFault> {
        let text = bytes.get(line.clone()).unwrap_or_default();
        if matches!(text.first(), Some(b' ' | b'\t')) {
            return Err(HeadFault::FoldedField);
        }
        if self.spans.len() >= fields_max {
            return Err(HeadFault::TooManyFields);
        }
        let (colon, underscore) = leading_token(text);
        if colon == 0 || text.get(colon) != Some(&b':') {
            return Err(HeadFault::FieldName);
        }
        let (name, rest) = text.split_at_checked(colon).unwrap_or_default();
        let padded = rest.get(1..).unwrap_or_default();
        if !is_field_text(padded) {
            return Err(HeadFault::ControlByte);
        }
        let value = trim_whitespace(padded);
        let leading = padded.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let name_end = line.start.saturating_add(colon);
        // An all-blank value has no start of its own; one past the colon, with no length, will do.
        let value_start = name_end.saturating_add(1).saturating_add(if value.is_empty() { 0 } else { leading });
        let value = Span::new(value_start, value_start.saturating_add(value.len()));
        self.add(Span::new(line.start, name_end), value, KnownField::of(name), underscore);
        Ok(())
    }

    /// The fields in the order they came, without those dropped for an underscore.
    pub fn iter<'a>(&'a self, bytes: &'a [u8]) -> Fields<'a> {
        Fields { spans: self.spans.iter(), bytes }
    }

    /// The fields of these meanings, in the order they came.
    pub fn among<'a>(&'a self, bytes: &'a [u8], wanted: KnownSet) -> impl Iterator<Item = Field<'a>> {
        let spans = self.spans.iter().filter(move |span| wanted.has(span.known) && !span.underscore);
        spans.map(move |span| span.field(bytes))
    }

    /// All fields, unless none has this meaning.
    #[inline]
    fn spans_if(&self, known: KnownField) -> std::slice::Iter<'_, FieldSpan> {
        if self.seen.has(known) { self.spans.iter() } else { [].iter() }
    }

    /// Where the values of all fields of one meaning lie, in order.
    pub fn spans_of(&self, known: KnownField) -> impl Iterator<Item = Span> {
        self.spans_if(known).filter(move |span| span.known == known && !span.underscore).map(|span| span.value)
    }

    /// The values of all fields of one meaning, in order.
    pub fn values<'a>(&'a self, bytes: &'a [u8], known: KnownField) -> impl Iterator<Item = &'a [u8]> {
        self.spans_of(known).map(|value| value.of(bytes))
    }

    /// How many fields show a credential, and the last of them.
    pub fn credentials<'a>(&self, bytes: &'a [u8]) -> (u32, Option<(KnownField, &'a [u8])>) {
        let (count, place) = self.credentials;
        let shown = if count == 0 { None } else { self.spans.get(place as usize) };
        (count, shown.map(|span| (span.known, span.value.of(bytes))))
    }

    /// Framing and persistence (RFC 9112 §6.3 and §9.3); marks what `Connection` names.
    pub fn message(&mut self, bytes: &[u8], version: Version) -> Result<MessageFacts, HeadFault> {
        let persist = self.connection(bytes, version)?;
        let length = self.content_length(bytes)?;
        let chunked = self.transfer_encoding(bytes, version)?;
        if chunked && length.is_some() {
            return Err(HeadFault::LengthAndChunked);
        }
        Ok(MessageFacts { length, chunked, persist })
    }

    /// Rule H5: once, digits only, at most 63 bits.
    pub fn content_length(&self, bytes: &[u8]) -> Result<Option<u64>, HeadFault> {
        let mut values = self.values(bytes, KnownField::ContentLength);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(HeadFault::ContentLengthRepeated);
        }
        decimal(value).map(Some).ok_or(HeadFault::ContentLength)
    }

    /// Rule H6: once, `chunked` alone, on HTTP/1.1 only.
    fn transfer_encoding(&self, bytes: &[u8], version: Version) -> Result<bool, HeadFault> {
        let mut values = self.values(bytes, KnownField::TransferEncoding);
        let Some(value) = values.next() else { return Ok(false) };
        if values.next().is_some() || version == Version::Http10 {
            return Err(HeadFault::TransferEncoding);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(true);
        }
        Err(if is_coding_list(value) { HeadFault::TransferCoding } else { HeadFault::TransferEncoding })
    }

    /// Rules H7 and H10 over all `Connection` fields; answers whether the connection may persist (RFC 9112 §9.3).
    fn connection(&mut self, bytes: &[u8], version: Version) -> Result<bool, HeadFault> {
        let (mut close, mut keep_alive, mut options) = (false, false, 0_usize);
        let count = if self.seen.has(KnownField::Connection) { self.spans.len() } else { 0 };
        for at in 0..count {
            let Some(span) = self.spans.get(at).filter(|span| span.known == KnownField::Connection) else { continue };
            for option in list(span.value.of(bytes)) {
                options = options.saturating_add(1);
                let known = KnownField::of(option);
                // The bound keeps the marking below linear in the head.
                if options > limits::CONNECTION_OPTIONS_MAX || !is_token(option) || known.is_end_to_end_always() {
                    return Err(HeadFault::ConnectionOption);
                }
                let closes = option.eq_ignore_ascii_case(b"close");
                close |= closes;
                keep_alive |= known == KnownField::KeepAlive;
                if !closes && !known.is_hop_by_hop() {
                    self.mark_named(bytes, option);
                }
            }
        }
        Ok(!close && (version == Version::Http11 || keep_alive))
    }

    fn mark_named(&mut self, bytes: &[u8], option: &[u8]) {
        for span in &mut self.spans {
            span.named_by_connection |= span.name.of(bytes).eq_ignore_ascii_case(option);
        }
    }
}

/// `1*DIGIT` below 2^63. Unlike `str::parse` it takes no sign.
fn decimal(text: &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    for byte in text {
        let digit = byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0'))?;
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (!text.is_empty() && i64::try_from(value).is_ok()).then_some(value)
}

/// A list of codings with optional parameters (RFC 9112 §7), as far as it takes to tell 501 from 400.
fn is_coding_list(value: &[u8]) -> bool {
    let name = |coding: &[u8]| -> bool {
        coding.split(|byte| *byte == b';').next().map(trim_whitespace).is_some_and(is_token)
    };
    list(value).next().is_some() && list(value).all(name)
}

// === FieldSpan ===

impl FieldSpan {
    /// The same field, whose line now starts at `place`.
    #[inline]
    fn move_to(&mut self, place: usize) -> Option<()> {
        let shift = u32::try_from(place).ok()?.wrapping_sub(self.name.start);
        if shift != 0 {
            for at in [&mut self.name.start, &mut self.name.end, &mut self.value.start, &mut self.value.end] {
                *at = at.wrapping_add(shift);
            }
        }
        Some(())
    }

    /// The field of this name whose line starts at `place` and has another value than in `former`; the place behind its CR LF.
    fn follow(&mut self, former: &[u8], bytes: &[u8], place: usize) -> Option<usize> {
        let opening = former.get(self.name.start as usize..self.value.start as usize)?;
        let start = place.checked_add(opening.len())?;
        // What `Connection` names is marked in the table.
        if self.known == KnownField::Connection || bytes.get(place..start) != Some(opening) {
            return None;
        }
        let end = next_control(bytes, start)?;
        let next = end.checked_add(2)?;
        let value = bytes.get(start..end)?;
        let is_padded = value.first() == Some(&b' ') || value.last() == Some(&b' ');
        if bytes.get(end..next) != Some(b"\r\n") || is_padded {
            return None;
        }
        self.move_to(place)?;
        self.value = Span::new(start, end);
        Some(next)
    }

    fn field<'a>(&self, bytes: &'a [u8]) -> Field<'a> {
        Field {
            name: self.name.text(bytes),
            value: self.value.of(bytes),
            known: self.known,
            named_by_connection: self.named_by_connection,
        }
    }
}

// === Fields ===

/// The visible fields of a head, in the order they came.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    spans: std::slice::Iter<'a, FieldSpan>,
    bytes: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let span = self.spans.by_ref().find(|span| !span.underscore)?;
        Some(span.field(self.bytes))
    }
}

impl DoubleEndedIterator for Fields<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let span = self.spans.by_ref().rfind(|span| !span.underscore)?;
        Some(span.field(self.bytes))
    }
}
